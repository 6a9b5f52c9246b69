//! Durations as people write them: `250ms`, `2s`, `5m`, `1h30m`.

use std::time::Duration;

use nirantar_exchange_mock::matching::Latency;

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

/// What a latency looks like, for errors.
pub(crate) const EXPECTED_LATENCY: &str =
    "how long a message takes, at most a minute, like \"40ms\", or from the least to the most, like \"20ms..80ms\"";

/// No line is slower: orders that are longer on their way say that a unit is wrong.
const SLOWEST: Duration = Duration::from_secs(60);

/// Reads a fixed delay (`40ms`), or the least and the most of one that differs (`20ms..80ms`). `None` for anything else.
pub(crate) fn parse_latency(text: &str) -> Option<Latency> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (parse_duration(least)?, parse_duration(most)?);
    (most <= SLOWEST).then_some(Latency { least, spread: most.checked_sub(least)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn latencies_read_as_they_are_written_and_what_is_none_is_refused() {
        let latency = |least, spread| {
            let [least, spread] = [least, spread].map(Duration::from_millis);
            Some(Latency { least, spread })
        };
        assert_eq!(parse_latency("40ms"), latency(40, 0));
        assert_eq!(parse_latency("20ms..1s"), latency(20, 980));
        assert_eq!(parse_latency("0s"), latency(0, 0));
        for text in ["", "40", "80ms..20ms", "20ms..", "..20ms", "1ms..2ms..3ms", "61s", "1s..1h", "-1s"] {
            assert_eq!(parse_latency(text), None, "{text}");
        }
    }

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
