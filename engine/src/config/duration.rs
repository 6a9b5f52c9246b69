//! Durations as people write them: `250ms`, `2s`, `5m`, `1h30m`.

use std::time::Duration;

/// What a duration looks like, for errors.
pub(super) const EXPECTED: &str = "a duration like \"250ms\", \"2s\", \"5m\" or \"1h30m\"";

/// The longest that is accepted. No deadline of ours is beyond it, and sums of a few stay far from overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads whole numbers with units (`d`, `h`, `m`, `s`, `ms`), the larger unit first, each at most once. `None` for
/// anything else, or for more than 366 days.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        // Taking from the one iterator makes the order of units, and that none comes twice, a matter of course.
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(*milliseconds)?.checked_add(total)?;
        rest = tail;
    }
    let total = Duration::from_millis(total);
    (!text.is_empty() && total <= LONGEST).then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("2s", 2_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("1d1h1m1s1ms", 90_061_001),
            ("366d", 31_622_400_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            " 1s",
            "1s ",
            "1m1h",
            "1s1s",
            "1S",
            "1w",
            "367d",
            "99999999999999999999s",
            "１s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn whole_seconds_come_back(seconds in 0u64..31_622_400) {
            prop_assert_eq!(parse_duration(&format!("{seconds}s")), Some(Duration::from_secs(seconds)));
        }
    }
}
