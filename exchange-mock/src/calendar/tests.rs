//! What the built-in calendar says, and what a file is refused for.

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_ist(text).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").unwrap()
}

const CASH_ONLY: Market = Market { exchange: Exchange::Nse, segment: MarketSegment::CashOnly };
const OPTIONS: Market = Market { exchange: Exchange::Nfo, segment: MarketSegment::Options };

#[test]
fn the_built_in_file_has_no_error_and_tells_of_every_market() {
    let calendar = file::parse_built_in().unwrap();
    assert_eq!(calendar, Calendar::nse());
    for market in Market::all() {
        for date in ["2021-04-12", "2025-12-08", "2026-08-03", "2026-11-20"] {
            assert!(calendar.session(market, day(date)).is_some(), "{market} on {date}");
        }
    }
    assert_eq!(calendar.holidays().count(), 14 + 16);
    assert!(calendar.holidays().all(|date| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun)));
}

#[test]
fn cash_trades_to_half_past_three_before_the_closing_auction_and_to_quarter_past_since() {
    let calendar = Calendar::nse();
    assert_eq!(calendar.phase(Exchange::Nse, at("2021-04-12 15:29:59")), Phase::Continuous);
    assert_eq!(calendar.phase(Exchange::Nse, at("2021-04-12 15:30:00")), Phase::Closing);
    assert_eq!(calendar.phase(Exchange::Nse, at("2026-08-04 15:14:59")), Phase::Continuous);
    assert_eq!(calendar.phase(Exchange::Nse, at("2026-08-04 15:15:00")), Phase::Closing);
    assert_eq!(calendar.phase(Exchange::Nfo, at("2026-08-04 15:39:59")), Phase::Continuous);
    assert_eq!(calendar.phase(Exchange::Nfo, at("2026-08-04 15:40:00")), Phase::Closed);
    assert_eq!(calendar.phase(Exchange::Nfo, at("2026-07-31 15:30:00")), Phase::Closed);
}

#[test]
fn shares_without_derivatives_trade_on_while_the_others_have_their_closing_auction() {
    let calendar = Calendar::nse();
    assert_eq!(calendar.span(CASH_ONLY, at("2026-08-04 15:29:59")).step, Step::Continuous);
    assert_eq!(calendar.span(CASH_ONLY, at("2026-08-04 15:30:00")).step, Step::Transition);
    assert_eq!(calendar.day_orders_end_of(CASH_ONLY, day("2026-08-04")), Some(at("2026-08-04 15:30:00")));
    assert_eq!(calendar.day_orders_end(Exchange::Nse, day("2026-08-04")), Some(at("2026-08-04 15:35:00")));
}

#[test]
fn the_day_goes_through_its_phases() {
    let calendar = Calendar::nse();
    let phases = ["08:59:59", "09:00:00", "09:15:00", "15:15:00", "15:50:00", "16:00:00"]
        .map(|time| calendar.phase(Exchange::Nse, at(&format!("2026-11-20 {time}"))));
    use Phase::{Closed, Closing, Continuous, PostClose, PreOpen};
    assert_eq!(phases, [Closed, PreOpen, Continuous, Closing, PostClose, Closed]);
}

/// Every step of a market's day with its start, from midnight on.
fn steps(market: Market, date: &str) -> Vec<(String, Step)> {
    let calendar = Calendar::nse();
    let mut found = Vec::new();
    let mut now = at(&format!("{date} 00:00:00"));
    while now.ist_date() == day(date) {
        let span = calendar.span(market, now);
        assert!(span.contains(now) && span.until > now);
        found.push((now.ist_time().format("%H:%M").to_string(), span.step));
        now = span.until;
    }
    found
}

#[test]
fn the_opening_auction_has_both_its_regimes_and_the_closing_one_its_first_day() {
    use Step::*;
    let named = |rows: &[(&str, Step)]| rows.iter().map(|(at, step)| ((*at).to_owned(), *step)).collect::<Vec<_>>();
    let old = [
        ("00:00", Closed),
        ("09:00", PreOpenEntry),
        ("09:08", PreOpenMatch),
        ("09:12", Buffer),
        ("09:15", Continuous),
        ("15:30", Transition),
        ("15:40", PostClose),
        ("16:00", Closed),
    ];
    assert_eq!(steps(Market::of(Exchange::Nse), "2026-07-31"), named(&old));
    let closing = [
        ("15:15", ClosingReference),
        ("15:20", ClosingEntry),
        ("15:25", ClosingLimit),
        ("15:30", ClosingMatch),
        ("15:35", Transition),
        ("15:50", PostClose),
        ("16:00", Closed),
    ];
    let both = [&old[..5], &closing].concat();
    assert_eq!(steps(Market::of(Exchange::Nse), "2026-08-03"), named(&both));
    let new = [
        ("00:00", Closed),
        ("09:00", PreOpenEntry),
        ("09:05", PreOpenLimit),
        ("09:10", PreOpenMatch),
        ("09:12", Buffer),
        ("09:15", Continuous),
    ];
    assert_eq!(steps(Market::of(Exchange::Nse), "2026-09-07"), named(&[&new[..], &closing].concat()));
    assert_eq!(
        steps(Market::of(Exchange::Nfo), "2025-12-05"),
        named(&[("00:00", Closed), ("09:15", Continuous), ("15:30", Closed)])
    );
    assert_eq!(
        steps(Market::of(Exchange::Nfo), "2026-08-03"),
        named(&[
            ("00:00", Closed),
            ("09:00", PreOpenEntry),
            ("09:08", PreOpenMatch),
            ("09:12", Buffer),
            ("09:15", Continuous),
            ("15:40", Closed)
        ])
    );
    assert_eq!(steps(OPTIONS, "2026-08-03")[1], ("09:15".to_owned(), Continuous), "options have no opening auction");
}

#[test]
fn a_random_close_says_from_when_on_it_may_come() {
    let calendar = Calendar::nse();
    let random = |at_time: &str| calendar.span(Market::of(Exchange::Nse), at(at_time)).random_from;
    assert_eq!(random("2026-07-31 09:01:00"), Some(at("2026-07-31 09:07:00")));
    assert_eq!(random("2026-11-20 09:01:00"), None);
    assert_eq!(random("2026-11-20 09:06:00"), Some(at("2026-11-20 09:08:00")));
    assert_eq!(random("2026-11-20 15:26:00"), Some(at("2026-11-20 15:28:00")));
}

#[test]
fn weekends_and_holidays_are_closed_and_the_next_open_skips_them() {
    let calendar = Calendar::nse();
    assert!(!calendar.is_trading_day(day("2026-11-21")), "a Saturday");
    assert!(!calendar.is_trading_day(day("2026-11-24")), "a holiday");
    assert!(!calendar.is_trading_day(day("2026-01-15")), "announced late");
    assert_eq!(calendar.next_open(Exchange::Nse, at("2026-11-20 09:15:00")), Some(at("2026-11-20 09:15:00")));
    assert_eq!(calendar.next_open(Exchange::Nse, at("2026-11-20 09:15:01")), Some(at("2026-11-23 09:15:00")));
    assert_eq!(calendar.next_open(Exchange::Nse, at("2026-11-23 12:00:00")), Some(at("2026-11-25 09:15:00")));
    assert_eq!(Calendar::empty().next_open(Exchange::Nse, at("2026-11-20 09:15:00")), None);
    assert_eq!(calendar.trading_days(Exchange::Nse, day("2026-11-20"), day("2026-11-25")), 3);
}

#[test]
fn a_holiday_or_a_sunday_session_announced_late_is_data() {
    let nse = Market::of(Exchange::Nse);
    let session = DaySession::continuous_only(time("18:00"), time("19:00"));
    let calendar = Calendar::nse().with_holiday(day("2026-11-20"), "announced yesterday").with_special_session(
        day("2026-11-08"),
        nse,
        session,
    );
    assert_eq!(calendar.phase(Exchange::Nse, at("2026-11-20 11:00:00")), Phase::Closed);
    assert_eq!(calendar.holiday(day("2026-11-20")), Some("announced yesterday"));
    assert_eq!(calendar.phase(Exchange::Nse, at("2026-11-08 18:30:00")), Phase::Continuous);
    let hour = (at("2026-11-08 18:00:00"), at("2026-11-08 19:00:00"));
    assert_eq!(calendar.continuous_on(Exchange::Nse, day("2026-11-08")), Some(hour));
    assert_eq!(calendar.continuous_on(Exchange::Nfo, day("2026-11-08")), None);
    let file = "built-in\n\
        holiday,NSE BSE,*,2026-11-20,,,,,,C,announced yesterday\n\
        special,NSE,cash,2026-11-08,,continuous,18:00,19:00,,U,\"an hour, they say\"\n";
    let same = Calendar::parse("late.csv", file.as_bytes()).unwrap();
    assert_eq!(same.continuous_on(Exchange::Nse, day("2026-11-08")), Some(hour));
    assert_eq!(same.phase(Exchange::Nse, at("2026-11-20 11:00:00")), Phase::Closed);
    assert_eq!(same.phase(Exchange::Nfo, at("2026-11-20 11:00:00")), Phase::Continuous, "not of that exchange");
}

#[test]
fn a_moved_holiday_and_a_new_timetable_replace_what_is_built_in() {
    let file = "built-in\n\
        trading,*,*,2026-11-24,,,,,,C,moved\n\
        holiday,*,*,2026-11-25,,,,,,C,moved\n\
        phase,NSE,cash-only,2027-01-01,,continuous,09:15,15:15,,U,a test\n";
    let calendar = Calendar::parse("moved.csv", file.as_bytes()).unwrap();
    assert!(calendar.is_trading_day(day("2026-11-24")) && !calendar.is_trading_day(day("2026-11-25")));
    assert_eq!(calendar.span(CASH_ONLY, at("2026-12-31 15:20:00")).step, Step::Continuous);
    assert_eq!(calendar.span(CASH_ONLY, at("2027-01-01 15:20:00")).step, Step::Closed);
    assert_eq!(calendar.timetable(CASH_ONLY, day("2027-01-01")).unwrap().sure, Certainty::Unconfirmed);
}

#[test]
fn bands_and_breakers_are_those_of_the_day() {
    let calendar = Calendar::nse();
    let nse = Market::of(Exchange::Nse);
    let band = |kind, date: &str| calendar.band(nse, kind, day(date)).map(|band| band.basis_points);
    assert_eq!(band(BandKind::Closing, "2026-08-02"), None);
    assert_eq!(band(BandKind::Closing, "2026-08-03"), Some(300));
    assert_eq!(band(BandKind::Price, "2021-04-12"), Some(1_000));
    let halt = |points, time: &str| {
        calendar.breaker(Exchange::Nse, points, at(&format!("2026-11-20 {time}"))).map(|row| row.halt)
    };
    let minutes =
        |halt: u64| Some(Halt::For { halt: Duration::from_secs(halt * 60), auction: Duration::from_secs(900) });
    assert_eq!(halt(999, "10:00:00"), None);
    assert_eq!(halt(1_000, "12:59:59"), minutes(45));
    assert_eq!(halt(1_000, "13:00:00"), minutes(15));
    assert_eq!(halt(1_400, "14:30:00"), Some(Halt::None));
    assert_eq!(halt(1_500, "10:00:00"), minutes(105));
    assert_eq!(halt(1_500, "13:30:00"), minutes(45));
    assert_eq!(halt(1_999, "14:00:00"), Some(Halt::Day));
    assert_eq!(halt(2_500, "10:00:00"), Some(Halt::Day));
}

#[test]
fn a_bad_row_is_refused_with_its_line_and_key() {
    let row = "phase,NSE,cash,2026-01-01,,continuous,09:15,15:30,,C,a test";
    let only = "phase,NSE,cash-only,2026-01-01,,continuous,09:15,15:30,,C,a test";
    let cases: &[(&str, &str)] = &[
        ("", "line 0, phase NSE cash: there is no timetable"),
        ("closed,NSE,cash,2026-01-01,,,,,,C,x", "line 1, kind: `closed` is not phase"),
        ("phase,NSE,cash", "line 1, row: `phase,NSE,cash` is not a row of the eleven fields"),
        ("phase,NYSE,cash,2026-01-01,,continuous,09:15,15:30,,C,x", "line 1, exchanges: `NYSE` is not"),
        ("phase,NSE,options,2026-01-01,,continuous,09:15,15:30,,C,x", "line 1, segment: `options` is not"),
        ("phase,NSE,cash,2026-02-30,,continuous,09:15,15:30,,C,x", "line 1, from: `2026-02-30` is not a date"),
        (
            "phase,NSE,cash,2026-01-02,2026-01-01,continuous,09:15,15:30,,C,x",
            "line 1, to: `2026-01-01` is not a day at",
        ),
        ("phase,NSE,cash,2026-01-01,,open,09:15,15:30,,C,x", "line 1, name: `open` is not a step"),
        ("phase,NSE,cash,2026-01-01,,continuous,9.15,15:30,,C,x", "line 1, start: `9.15` is not a time"),
        ("phase,NSE,cash,2026-01-01,,continuous,09:15,15:30,15:30,C,x", "the random end of continuous lies outside"),
        ("phase,NSE,cash,2026-01-01,,continuous,09:15,15:30,,maybe,x", "line 1, sure: `maybe` is not C"),
        ("phase,NSE,cash,2026-01-01,,continuous,09:15,15:30,,C,", "line 1, source: `` is not the name"),
        (
            "phase,NSE,cash,2026-01-01,,continuous,15:30,09:15,,C,x",
            "line 1, phase NSE cash 2026-01-01: continuous ends",
        ),
        (
            "ROW\nphase,NSE,cash,2026-01-01,,transition,15:20,15:40,,C,x",
            "line 2, phase NSE cash 2026-01-01: transition overlaps continuous, which ends at 15:30:00",
        ),
        (
            "ROW\nphase,NSE,cash,2026-01-01,,transition,15:35,15:40,,C,x",
            "line 2, phase NSE cash 2026-01-01: nothing is said of 15:30:00 to 15:35:00",
        ),
        (
            "ROW\nphase,NSE,cash,2026-01-01,,buffer,15:30,15:40,,C,x",
            "line 2, phase NSE cash 2026-01-01: buffer cannot follow",
        ),
        (
            "ROW\nphase,NSE,cash,2026-03-01,,continuous,09:15,15:30,,C,x",
            "line 2, phase NSE cash 2026-03-01: overlaps line 1",
        ),
        (
            "phase,NSE,cash,2026-01-01,2026-01-31,continuous,09:15,15:30,,C,x\n\nphase,NSE,cash,2026-02-02,,continuous,09:15,15:30,,C,x",
            "line 3, phase NSE cash 2026-02-02: nothing is said of the days after 2026-01-31 and before 2026-02-02",
        ),
        (
            "phase,NSE,cash,2026-01-01,2026-01-31,continuous,09:15,15:30,,C,x",
            "nothing is said of the days after 2026-01-31",
        ),
        ("ROW", "line 1, phase NSE cash-only: there is no timetable, though the exchange has one"),
        ("ROW\nONLY\nphase,NFO,options,2026-01-01,,continuous,09:15,15:30,,C,x", "line 3, phase NFO futures"),
        (
            "ROW\nONLY\nphase,NSE,cash,2026-01-01,,closing-entry,15:30,15:40,,C,x",
            "line 3, band NSE cash 2026-01-01: there is a closing auction and no closing-band",
        ),
        ("ROW\nbuilt-in", "line 2, kind: `built-in` is not at its place"),
        ("built-in\nholiday,NSE,*,2026-01-01,2027-01-01,,,,,C,x", "line 2, to: `2027-01-01` is not at most 31 days"),
        (
            "built-in\nholiday,NSE,*,2026-01-01,,,,,,C,x\nholiday,*,*,2026-01-01,,,,,,C,x",
            "line 3, holiday NSE 2026-01-01: overlaps line 2",
        ),
        ("built-in\nband,NSE,cash,2026-01-01,,price-band,,,0%,C,x", "line 2, value: `0%` is not a percentage"),
        ("built-in\nband,NSE,cash,2026-01-01,,closing-band,,,3%,C,x", "line 2, start: `` is not a time of day before"),
        ("built-in\nband,NSE,cash,2026-01-01,,wide,,,3%,C,x", "line 2, name: `wide` is not price-band"),
        (
            "built-in\nband,NSE,cash,2026-01-01,,price-band,,,5%,C,x\nband,NSE,cash,2026-02-01,,price-band,,,9%,C,x",
            "line 3, band NSE cash 2026-02-01: overlaps line 2",
        ),
        ("built-in\nbreaker,NSE,*,2026-01-01,,10%,00:00,13:00,long,C,x", "line 2, value: `long` is not a halt"),
        (
            "built-in\nbreaker,NSE,*,2026-01-01,,10%,09:00,13:00,day,C,x",
            "line 2, breaker NSE 10% 2026-01-01: nothing is said of 00:00 to 09:00",
        ),
        (
            "built-in\nspecial,NSE,cash,2026-11-08,2026-11-09,continuous,18:00,19:00,,C,x",
            "line 2, to: `2026-11-09` is not empty",
        ),
    ];
    for (text, expected) in cases {
        let text = text.replace("ROW", row).replace("ONLY", only);
        let error = Calendar::parse("my.csv", text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("my.csv, line ") && error.contains(expected), "{text}\n  {error}");
    }
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let error = Calendar::load(std::path::Path::new("/nowhere/at-all.csv")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/at-all.csv: cannot be read"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_calendar_or_an_error(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = Calendar::parse("any.csv", &bytes);
    }

    #[test]
    fn a_changed_field_of_the_built_in_file_never_panics(line in 0usize..120, field in 0usize..11, text in "[ -~]{0,12}") {
        let changed: Vec<String> = include_str!("nse.csv").lines().enumerate().map(|(index, row)| {
            if index != line { return row.to_owned() }
            let fields: Vec<&str> = row.split(',').enumerate().map(|(index, old)| if index == field { text.as_str() } else { old }).collect();
            fields.join(",")
        }).collect();
        let _ = Calendar::parse("any.csv", changed.join("\n").as_bytes());
    }
}
