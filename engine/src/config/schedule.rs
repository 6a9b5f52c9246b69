//! Times of day and days of the week, as a schedule is written.

use chrono::{NaiveTime, Weekday, WeekdaySet};

/// What a time of day looks like, for errors.
pub(super) const EXPECTED_TIME: &str = "a list of different times of day, IST, like [\"08:45\"]";

/// What days look like, for errors.
pub(super) const EXPECTED_DAYS: &str = "days of the week like \"mon-fri\" or \"mon,wed,fri\"";

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

/// Reads `hh:mm` or `hh:mm:ss`.
pub(super) fn parse_time(text: &str) -> Option<NaiveTime> {
    let mut parts = text.split(':').map(|part| {
        let two_digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        two_digits.then(|| part.parse::<u32>().ok()).flatten()
    });
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        Some(second) => second?,
        None => 0,
    };
    if parts.next().is_some() {
        return None;
    }
    NaiveTime::from_hms_opt(hour, minute, second)
}

/// Reads days and ranges of days, separated by commas. A range may run over the weekend: `sat-mon`.
pub(super) fn parse_days(text: &str) -> Option<WeekdaySet> {
    let mut days = WeekdaySet::EMPTY;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first)?, parse_day(last)?);
        let mut day = first;
        days.insert(day);
        while day != last {
            day = day.succ();
            days.insert(day);
        }
    }
    Some(days)
}

/// Monday to Friday.
pub(super) fn weekdays() -> WeekdaySet {
    WeekdaySet::from_array([Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri])
}

fn parse_day(text: &str) -> Option<Weekday> {
    let text = text.trim();
    DAYS.iter().find(|(name, _)| *name == text).map(|(_, day)| *day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_of_day_read_as_they_are_written() {
        assert_eq!(parse_time("08:45"), NaiveTime::from_hms_opt(8, 45, 0));
        assert_eq!(parse_time("23:59:59"), NaiveTime::from_hms_opt(23, 59, 59));
        for text in
            ["", "8:45", "08:60", "24:00", "08:45:60", "08:45:00:00", "08", "0845", " 08:45", "08:45 AM", "+8:45"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn days_read_as_lists_and_ranges() {
        let set = |days: &[Weekday]| days.iter().copied().collect::<WeekdaySet>();
        assert_eq!(parse_days("mon-fri"), Some(weekdays()));
        assert_eq!(parse_days("mon, wed,fri"), Some(set(&[Weekday::Mon, Weekday::Wed, Weekday::Fri])));
        assert_eq!(parse_days("sat-mon"), Some(set(&[Weekday::Sat, Weekday::Sun, Weekday::Mon])));
        assert_eq!(parse_days("sun"), Some(set(&[Weekday::Sun])));
        for text in ["", "mon-", "-fri", "mon-wed-fri", "monday", "Mon", "mon,,tue", "daily"] {
            assert_eq!(parse_days(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = (parse_time(&text), parse_days(&text));
        }
    }
}
