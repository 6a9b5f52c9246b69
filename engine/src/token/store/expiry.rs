//! How token files spell the moment a token expires. Whatever kind stands in a file is the kind that is written back, so
//! that the program which reads the file next still understands it.

use chrono::{DateTime, NaiveDateTime};
use nirantar_brokers::time::Timestamp;

/// What may stand there, for an error.
pub(super) const EXPECTED: &str =
    "`yyyy-mm-dd hh:mm:ss` (IST), an RFC 3339 time, or seconds or milliseconds since 1970";

/// From this number on it is milliseconds: as seconds it would be the year 5138, as milliseconds it is 1973.
const FIRST_MILLIS: u64 = 100_000_000_000;

/// One way to spell a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// `2026-04-02T06:00:00+05:30`.
    Rfc3339,
    /// `2026-04-02 06:00:00`, a wall clock in India.
    Ist,
    /// `2026-04-02T06:00:00`, the same as Python's `isoformat` writes it.
    IstWithT,
}

impl Spelling {
    /// The moment in this spelling, in whole seconds.
    pub(super) fn write(self, at: Timestamp) -> String {
        let seconds = at.as_unix_seconds();
        let written = |pattern| at.to_ist().format(pattern).to_string();
        match self {
            Self::Seconds => seconds.to_string(),
            Self::Millis => match seconds.saturating_mul(1_000) {
                // So early that it would be read as seconds.
                millis if millis.unsigned_abs() < FIRST_MILLIS => seconds.to_string(),
                millis => millis.to_string(),
            },
            Self::Rfc3339 => written("%Y-%m-%dT%H:%M:%S+05:30"),
            Self::Ist => written("%Y-%m-%d %H:%M:%S"),
            Self::IstWithT => written("%Y-%m-%dT%H:%M:%S"),
        }
    }
}

/// Reads a moment, and how it was spelt. Total.
pub(super) fn parse(text: &str) -> Option<(Timestamp, Spelling)> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some((Timestamp::from_nanos(time.timestamp_nanos_opt()?), Spelling::Rfc3339));
    }
    let ist = |pattern| NaiveDateTime::parse_from_str(text, pattern).ok().map(Timestamp::from_ist);
    if let Some(at) = ist("%Y-%m-%d %H:%M:%S%.f") {
        return Some((at, Spelling::Ist));
    }
    if let Some(at) = ist("%Y-%m-%dT%H:%M:%S%.f") {
        return Some((at, Spelling::IstWithT));
    }
    number(text)
}

/// `1775089800`, `1775089800000` or, as Python's `time.time()` gives it, `1775089800.25`.
fn number(text: &str) -> Option<(Timestamp, Spelling)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole.strip_prefix('-').unwrap_or(whole)) || !digits(fraction) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    if whole.unsigned_abs() >= FIRST_MILLIS {
        return Some((Timestamp::from_nanos(whole.saturating_mul(1_000_000)), Spelling::Millis));
    }
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let at = Timestamp::from_unix_seconds(whole).as_nanos().saturating_add(nanos);
    Some((Timestamp::from_nanos(at), Spelling::Seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_in_the_field_is_read_as_the_moment_it_means() {
        let six = Timestamp::parse_ist("2026-04-02 06:00:00").unwrap();
        for (text, spelling) in [
            ("1775089800", Spelling::Seconds),
            ("1775089800.0", Spelling::Seconds),
            ("1775089800000", Spelling::Millis),
            ("2026-04-02T00:30:00Z", Spelling::Rfc3339),
            ("2026-04-02T06:00:00.000+05:30", Spelling::Rfc3339),
            ("2026-04-02 06:00:00", Spelling::Ist),
            ("2026-04-02T06:00:00.000000", Spelling::IstWithT),
        ] {
            assert_eq!(parse(text), Some((six, spelling)), "{text}");
        }
        for text in ["", "soon", "2026-04-02", "1e9", "-", "1.", ".5", "1.2.3", "99999999999999999999", "٣"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_in_the_same_spelling(seconds in 200_000_000_i64..9_000_000_000) {
            let at = Timestamp::from_unix_seconds(seconds);
            for spelling in
                [Spelling::Seconds, Spelling::Millis, Spelling::Rfc3339, Spelling::Ist, Spelling::IstWithT]
            {
                prop_assert_eq!(parse(&spelling.write(at)), Some((at, spelling)));
            }
        }

        #[test]
        fn any_text_is_read_and_any_moment_written_without_a_panic(text in "[-0-9.TZ :+e]{0,30}|.{0,12}", nanos: i64) {
            let _ = parse(&text);
            for spelling in
                [Spelling::Seconds, Spelling::Millis, Spelling::Rfc3339, Spelling::Ist, Spelling::IstWithT]
            {
                let _ = parse(&spelling.write(Timestamp::from_nanos(nanos)));
            }
        }
    }
}
