//! Time as values: [`Timestamp`] (an instant), [`Monotonic`] (time since the clock started), [`Now`] (both), and the
//! [`Clock`] that hands them out.
//!
//! Nothing outside [`SystemClock`] reads the machine's clock. Instants are UTC inside and IST at the edges: parsing and
//! printing speak Indian Standard Time (UTC+05:30, no daylight saving), because every broker and trader here does.

mod clock;
mod offset;
mod rng;
mod stepped;

pub use clock::{Clock, SystemClock};
pub use offset::OffsetClock;
pub use rng::Rng;
pub use stepped::{Busy, Sleep, SteppedClock};

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};

/// Seconds that Indian Standard Time is ahead of UTC.
const IST_OFFSET_S: i32 = 5 * 3600 + 30 * 60;
const NANOS_PER_S: i64 = 1_000_000_000;

/// A span in nanoseconds, saturating: 64 bits hold 584 years, and half of time's arithmetic would else be in 128.
const fn nanos(span: Duration) -> u64 {
    span.as_secs().saturating_mul(NANOS_PER_S as u64).saturating_add(span.subsec_nanos() as u64)
}

/// An instant: nanoseconds since the Unix epoch, UTC. Prints as IST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The instant `seconds` after the Unix epoch, saturating at the ends of the range (years 1677 and 2262).
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_S))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_unix_seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_S)
    }

    /// The instant of a wall-clock reading in India.
    #[must_use]
    pub fn from_ist(ist: NaiveDateTime) -> Self {
        let utc = ist.and_utc().timestamp() - i64::from(IST_OFFSET_S);
        Self(utc.saturating_mul(NANOS_PER_S).saturating_add(i64::from(ist.and_utc().timestamp_subsec_nanos())))
    }

    /// The instant of a wall-clock date and time in India.
    #[must_use]
    pub fn from_ist_parts(date: NaiveDate, time: NaiveTime) -> Self {
        Self::from_ist(date.and_time(time))
    }

    /// Parses `yyyy-mm-dd hh:mm:ss` as IST: the form of every Kite REST timestamp. `None` on anything else.
    #[must_use]
    pub fn parse_ist(text: &str) -> Option<Self> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok().map(Self::from_ist)
    }

    /// What a wall clock in India shows at this instant.
    #[must_use]
    pub fn to_ist(self) -> NaiveDateTime {
        let offset = FixedOffset::east_opt(IST_OFFSET_S).unwrap_or_else(|| chrono::offset::Offset::fix(&chrono::Utc));
        DateTime::from_timestamp_nanos(self.0).with_timezone(&offset).naive_local()
    }

    /// RFC 3339 with India's offset, cut off to whole seconds: `2021-04-12T09:15:09+05:30`. For programs; every one reads
    /// it.
    #[must_use]
    pub fn to_rfc3339_ist(self) -> String {
        format!("{}+05:30", self.to_ist().format("%Y-%m-%dT%H:%M:%S"))
    }

    /// As an HTTP `Date` header: `Sun, 06 Nov 1994 08:49:37 GMT`, cut off to whole seconds.
    #[must_use]
    pub fn to_http_date(self) -> String {
        DateTime::from_timestamp_nanos(self.0).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Reads an HTTP `Date` header. Total.
    #[must_use]
    pub fn parse_http_date(header: &str) -> Option<Self> {
        let seconds = DateTime::parse_from_rfc2822(header).ok()?.timestamp();
        (1..=9_000_000_000).contains(&seconds).then(|| Self::from_unix_seconds(seconds))
    }

    /// The date in India.
    #[must_use]
    pub fn ist_date(self) -> NaiveDate {
        i32::try_from(self.ist_day()).ok().and_then(NaiveDate::from_epoch_days).unwrap_or_default()
    }

    /// Whether both have the same date in India. Asked for with every tick, so no date is made for it.
    #[must_use]
    pub const fn is_same_ist_date(self, other: Self) -> bool {
        self.ist_day() == other.ist_day()
    }

    /// Days of India since the epoch's.
    const fn ist_day(self) -> i64 {
        (self.as_unix_seconds() + IST_OFFSET_S as i64).div_euclid(86_400)
    }

    /// The time of day in India.
    #[must_use]
    pub fn ist_time(self) -> NaiveTime {
        self.to_ist().time()
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    /// Saturates at the end of the range.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(nanos(span)).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    /// Saturates at the start of the range.
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(nanos(span)).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// `2021-04-12 09:15:09`, IST. Milliseconds are added only when there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ist = self.to_ist();
        match ist.and_utc().timestamp_subsec_millis() {
            0 => write!(f, "{}", ist.format("%Y-%m-%d %H:%M:%S")),
            _ => write!(f, "{}", ist.format("%Y-%m-%d %H:%M:%S%.3f")),
        }
    }
}

/// Time since a clock was started, in nanoseconds. Never goes back, and knows nothing of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The reading `nanos` nanoseconds after the clock started.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock started.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    /// Saturates at the end of the range (584 years).
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// One reading of a clock: deadlines are kept in `mono`, expiries and schedules in `wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Now {
    /// Time since the clock started; never steps.
    pub mono: Monotonic,
    /// What a wall clock shows; may step when the operator or NTP sets it.
    pub wall: Timestamp,
}

impl Now {
    /// When `deadline` will be reached, as a monotonic reading; now if it has passed.
    #[must_use]
    pub fn mono_at(self, deadline: Timestamp) -> Monotonic {
        let left = u64::try_from(deadline.0.saturating_sub(self.wall.0)).unwrap_or(0);
        Monotonic(self.mono.0.saturating_add(left))
    }

    /// What both show when the monotonic one shows `mono`, if nobody sets the other: virtual time. The same if `mono` has
    /// passed.
    #[must_use]
    pub fn when(self, mono: Monotonic) -> Self {
        let span = mono.0.saturating_sub(self.mono.0);
        let wall = self.wall.0.saturating_add(i64::try_from(span).unwrap_or(i64::MAX));
        Self { mono: Monotonic(self.mono.0.saturating_add(span)), wall: Timestamp(wall) }
    }
}

impl Add<Duration> for Now {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self { mono: self.mono + span, wall: self.wall + span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_reads_as_it_is_written_and_anything_else_is_none() {
        let at = Timestamp::from_unix_seconds(784_111_777);
        assert_eq!(at.to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(Timestamp::parse_http_date(&at.to_http_date()), Some(at));
        for bad in ["", "now", "Sun, 99 Nov 1994 08:49:37 GMT", "1994-11-06", "Sun, 06 Nov 9994 08:49:37 GMT"] {
            assert_eq!(Timestamp::parse_http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_kite_timestamp_is_read_and_printed_as_ist() {
        let open = Timestamp::parse_ist("2021-04-12 09:15:09").unwrap();
        assert_eq!(open.as_unix_seconds(), 1_618_199_109);
        assert_eq!(open.to_string(), "2021-04-12 09:15:09");
        assert_eq!((open + Duration::from_millis(250)).to_string(), "2021-04-12 09:15:09.250");
    }

    #[test]
    fn what_programs_read_carries_indias_offset_and_means_the_same_instant() {
        let open = Timestamp::parse_ist("2021-04-12 09:15:09").unwrap() + Duration::from_millis(250);
        assert_eq!(open.to_rfc3339_ist(), "2021-04-12T09:15:09+05:30");
        let read = DateTime::parse_from_rfc3339(&open.to_rfc3339_ist()).unwrap();
        assert_eq!(read.timestamp(), open.as_unix_seconds());
    }

    #[test]
    fn the_date_turns_at_midnight_in_india() {
        let utc_evening = Timestamp::from_unix_seconds(1_618_165_800); // 18:30 UTC on the 11th
        assert_eq!(utc_evening.ist_date(), NaiveDate::from_ymd_opt(2021, 4, 12).unwrap());
        assert!(utc_evening.is_same_ist_date(utc_evening + Duration::from_secs(86_399)));
        assert!(!utc_evening.is_same_ist_date(utc_evening + Duration::from_secs(86_400)));
        assert!(!utc_evening.is_same_ist_date(utc_evening - Duration::from_nanos(1)));
    }

    #[test]
    fn virtual_time_goes_on_in_both_clocks_and_never_back() {
        let now = Now { mono: Monotonic(5), wall: Timestamp(70) };
        assert_eq!(now.when(Monotonic(8)), now + Duration::from_nanos(3));
        assert_eq!(now.when(Monotonic(2)), now);
        assert_eq!(now.mono_at(Timestamp(73)), Monotonic(8));
        assert_eq!(now.mono_at(Timestamp(3)), Monotonic(5));
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Monotonic(1) + Duration::MAX, Monotonic(u64::MAX));
        assert_eq!(Timestamp::from_nanos(1) - Duration::MAX, Timestamp::from_nanos(1 - i64::MAX));
        assert_eq!(Timestamp::from_nanos(i64::MAX) + Duration::from_secs(1), Timestamp::from_nanos(i64::MAX));
        assert_eq!(Timestamp::from_nanos(5).since(Timestamp::from_nanos(9)), Duration::ZERO);
    }
}
