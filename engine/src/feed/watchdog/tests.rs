//! Every phase, segment and kind of heartbeat; a mute socket, a slow instrument, and a whole real day without a false
//! alarm.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::Now;
use nirantar_brokers::{BrokerToken, InstrumentKey, Mode};
use nirantar_exchange_mock::calendar::DaySession;
use nirantar_exchange_mock::prices::{Merge, Replay};
use nirantar_exchange_mock::{Market, PriceSource};

use super::*;
use crate::feed::{FeedPolicy, FeedStatus, Gap, GapReason, Input, Output, SocketId, Supervisor};
use crate::session::Generation;

const CASH: &[Exchange] = &[Exchange::Nse];
const BOTH: &[Exchange] = &[Exchange::Nse, Exchange::Nfo];
const FUTURES: &[Exchange] = &[Exchange::Nfo];
const COMMODITY: &[Exchange] = &[Exchange::Mcx];
const NOTHING: &[Exchange] = &[];

/// 2026-11-08, a Sunday, trades from 18:00 to 19:00.
fn calendar() -> Calendar {
    let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    let muhurat: NaiveDate = "2026-11-08".parse().unwrap();
    let session = DaySession::continuous_only(time(18), time(19));
    Calendar::nse().with_special_session(muhurat, Market::of(Exchange::Nse), session)
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_ist(text).unwrap()
}

#[test]
fn what_is_due_by_phase_and_segment() {
    // When, which exchanges, whether ticks are due, whether life is.
    let rows: &[(&str, &[Exchange], bool, bool)] = &[
        ("2026-11-20 08:59:59", BOTH, false, false),
        ("2026-11-20 09:01:00", CASH, false, true), // opening auction, limit and market
        ("2026-11-20 09:06:00", CASH, false, true), // limit only
        ("2026-11-20 09:11:00", CASH, false, true), // matching
        ("2026-11-20 09:13:00", CASH, false, true), // buffer
        ("2026-11-20 09:13:00", FUTURES, false, true),
        ("2026-11-20 09:13:00", COMMODITY, true, true),
        ("2026-11-20 09:15:00", CASH, true, true),
        ("2026-11-20 15:14:59", CASH, true, true),
        ("2026-11-20 15:15:00", CASH, false, true), // closing auction: reference price
        ("2026-11-20 15:15:00", BOTH, true, true),  // … while futures go on
        ("2026-11-20 15:22:00", CASH, false, true), // entry
        ("2026-11-20 15:27:00", CASH, false, true), // limit only
        ("2026-11-20 15:32:00", CASH, false, true), // matching
        ("2026-11-20 15:32:00", FUTURES, true, true),
        ("2026-11-20 15:39:59", BOTH, true, true),
        ("2026-11-20 15:40:00", BOTH, false, true), // transition
        ("2026-11-20 15:55:00", CASH, false, true), // post-close
        ("2026-11-20 16:00:00", BOTH, false, false),
        ("2026-11-20 16:00:00", COMMODITY, true, true),
        ("2026-11-20 23:30:00", COMMODITY, false, false),
        ("2026-11-20 11:00:00", NOTHING, false, true),
        ("2026-11-21 11:00:00", BOTH, false, false), // Saturday
        ("2026-11-24 11:00:00", BOTH, false, false), // holiday
        ("2026-11-08 17:59:59", BOTH, false, false), // Muhurat, a Sunday
        ("2026-11-08 18:00:00", CASH, true, true),
        ("2026-11-08 18:30:00", FUTURES, false, true),
        ("2026-11-08 19:00:00", CASH, false, false),
        ("2021-04-12 15:29:59", CASH, true, true), // before the closing auction
        ("2026-07-31 15:35:00", FUTURES, false, true),
    ];
    let calendar = calendar();
    for (time, exchanges, ticks, life) in rows {
        let outlook = Outlook::at(&calendar, &exchanges.iter().copied().collect(), at(time));
        assert_eq!(outlook.expected, Expected { ticks: *ticks, life: *life }, "{time} {exchanges:?}");
        assert!(outlook.contains(at(time)));
        // It holds for as long as it says.
        let last = Timestamp::from_nanos(outlook.until.as_nanos() - 1);
        let then = Outlook::at(&calendar, &exchanges.iter().copied().collect(), last);
        assert_eq!((then.expected, then.open), (outlook.expected, outlook.open), "{time} {exchanges:?}");
    }
}

/// A feed with its clock, told what is due as the core tells it.
struct Watched {
    feed: Supervisor,
    calendar: Calendar,
    exchanges: BTreeSet<Exchange>,
    now: Now,
    gaps: Vec<Gap>,
    cut: u32,
    socket: u64,
    told: Option<Expected>,
}

impl Watched {
    /// Connected, with one instrument, at that moment.
    fn new(calendar: &Calendar, exchanges: &[Exchange], heartbeat: Duration, start: Timestamp) -> Self {
        let feed = Supervisor::new(FeedPolicy::default(), heartbeat, 1);
        let now = Now { mono: Monotonic::default(), wall: start };
        let (calendar, exchanges) = (calendar.clone(), exchanges.iter().copied().collect());
        let mut watched = Self { feed, calendar, exchanges, now, gaps: Vec::new(), cut: 0, socket: 0, told: None };
        watched.look();
        watched.say(Input::Subscribe(BTreeMap::from([(BrokerToken(1), Mode::Full)])));
        watched.say(Input::Open { generation: Generation(1) });
        watched.tick();
        watched
    }

    fn say(&mut self, input: Input) {
        let mut out = Vec::new();
        self.feed.on(input, self.now, &mut out);
        for output in out {
            match output {
                Output::Gap(gap) if gap.to.is_none() => self.gaps.push(gap),
                Output::Gap(gap) => *self.gaps.last_mut().unwrap() = gap,
                Output::Disconnect { .. } => self.cut += 1,
                Output::Connect { socket, .. } => {
                    self.socket = socket.0;
                    self.say(Input::Connected { socket });
                }
                _ => {}
            }
        }
    }

    fn look(&mut self) {
        let expected = Outlook::at(&self.calendar, &self.exchanges, self.now.wall).expected;
        if self.told != Some(expected) {
            self.told = Some(expected);
            self.say(Input::Market { expected: expected.ticks });
            self.say(Input::Life { expected: expected.life });
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.look();
        self.say(Input::Wake);
    }

    fn frame(&mut self, ticks: usize) {
        self.say(Input::Frame { socket: SocketId(self.socket), ticks });
    }

    fn tick(&mut self) {
        self.frame(1);
    }

    /// Seconds, each with what comes in it.
    fn seconds(&mut self, count: u32, mut each: impl FnMut(&mut Self, u32)) {
        for second in 0..count {
            self.pass(Duration::from_secs(1));
            each(self, second);
        }
    }
}

/// Kinds of heartbeat: often, as Kite is given, and none at all.
const HEARTBEATS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::ZERO];

#[test]
fn a_mute_socket_is_caught_within_seconds_in_market_hours_and_never_outside() {
    let hours = [
        ("2026-11-20 09:05:00", BOTH, true),
        ("2026-11-20 11:00:00", CASH, true),
        ("2026-11-20 15:20:00", CASH, true),
        ("2026-11-20 15:45:00", BOTH, true),
        ("2026-11-20 15:55:00", CASH, true),
        ("2026-11-08 18:10:00", CASH, true),
        ("2026-11-20 08:00:00", BOTH, false),
        ("2026-11-20 18:00:00", BOTH, false),
        ("2026-11-21 11:00:00", BOTH, false),
        ("2026-11-24 11:00:00", BOTH, false),
        ("2026-11-08 11:00:00", BOTH, false),
    ];
    for (start, exchanges, due) in hours {
        for heartbeat in HEARTBEATS {
            let mut watched = Watched::new(&calendar(), exchanges, heartbeat, at(start));
            let mut noticed = None;
            watched.seconds(60, |watched, second| {
                if watched.cut > 0 && noticed.is_none() {
                    noticed = Some(second + 1);
                }
            });
            let bound = u32::try_from(heartbeat.as_millis() * 3 / 2).unwrap().div_ceil(1000);
            let expected = (due && !heartbeat.is_zero()).then_some(bound);
            assert_eq!(noticed, expected, "{start}, heartbeat {heartbeat:?}");
        }
    }
}

#[test]
fn a_socket_that_was_quiet_all_night_is_judged_from_the_opening_on() {
    let mut watched = Watched::new(&calendar(), CASH, Duration::from_secs(5), at("2026-11-20 08:00:00"));
    watched.seconds(3_600, |_, _| {});
    assert_eq!(watched.cut, 0, "the market is closed");
    watched.seconds(7, |_, _| {});
    assert_eq!(watched.cut, 0);
    watched.pass(Duration::from_secs(1));
    assert_eq!(watched.cut, 1, "since nine o'clock there should be heartbeats");
}

#[test]
fn pongs_are_no_sign_of_life() {
    // The driver hands frames on and pongs not; a socket on which only those come is mute.
    let mut watched = Watched::new(&calendar(), CASH, Duration::from_secs(5), at("2026-11-20 11:00:00"));
    watched.seconds(8, |_, _| {});
    assert_eq!(watched.cut, 1);
}

#[test]
fn a_steady_feed_that_stops_while_heartbeats_come_is_silent_after_fifteen_seconds() {
    for heartbeat in HEARTBEATS {
        let mut watched = Watched::new(&calendar(), CASH, heartbeat, at("2026-11-20 11:00:00"));
        watched.seconds(300, |watched, _| watched.tick());
        let from = watched.now.wall;
        watched.seconds(14, |watched, _| watched.frame(0));
        assert_eq!(watched.gaps, []);
        watched.seconds(1, |watched, _| watched.frame(0));
        assert_eq!(watched.gaps, [Gap { from, to: None, why: GapReason::Silent }]);
        assert_eq!(watched.feed.status(), FeedStatus::Silent);
        watched.tick();
        assert_eq!(watched.feed.status(), FeedStatus::Live { generation: Generation(1) });
        assert_eq!(watched.cut, 0);
    }
}

#[test]
fn a_slow_instrument_is_no_alarm() {
    for every in [5, 20, 40, 300] {
        let mut watched = Watched::new(&calendar(), CASH, Duration::from_secs(5), at("2026-11-20 10:00:00"));
        watched.seconds(3 * 3600, |watched, second| watched.frame(usize::from(second % every == 0)));
        assert_eq!((watched.gaps.len(), watched.cut), (0, 0), "a tick every {every} s");
    }
    // Nor is one that trades in bursts.
    let mut watched = Watched::new(&calendar(), CASH, Duration::from_secs(5), at("2026-11-20 10:00:00"));
    watched.seconds(3 * 3600, |watched, second| watched.frame(usize::from(second % 120 < 60)));
    assert_eq!((watched.gaps.len(), watched.cut), (0, 0));
}

#[test]
fn the_closing_auction_is_silent_for_shares_and_futures_are_due_to_the_end() {
    let cash_stops = at("2026-11-20 15:15:00");
    let mut watched = Watched::new(&calendar(), CASH, Duration::from_secs(5), at("2026-11-20 15:00:00"));
    watched.seconds(3_600, |watched, _| watched.frame(usize::from(watched.now.wall < cash_stops)));
    assert_eq!((watched.gaps.len(), watched.cut), (0, 0), "nothing is due from shares after 15:15");

    let mut watched = Watched::new(&calendar(), BOTH, Duration::from_secs(5), at("2026-11-20 15:00:00"));
    watched.seconds(3_600, |watched, _| watched.frame(usize::from(watched.now.wall < cash_stops)));
    let silent: Vec<_> = watched.gaps.iter().map(|gap| (gap.why, gap.from)).collect();
    let last_tick = at("2026-11-20 15:14:59");
    assert_eq!(silent, [(GapReason::Silent, last_tick)], "futures should have gone on");
}

#[test]
fn a_whole_real_day_raises_no_false_alarm() {
    let Some(fixtures) = std::env::var_os("NIRANTAR_FIXTURES").map(PathBuf::from) else {
        assert!(std::env::var_os("NIRANTAR_REQUIRE_FIXTURES").is_none(), "NIRANTAR_FIXTURES is not set");
        println!("skipped: NIRANTAR_FIXTURES is not set");
        return;
    };
    let load = |(file, symbol): (&str, &str)| -> Box<dyn PriceSource + Send> {
        let path = fixtures.join(format!("market/2021-04-12_{file}.csv"));
        Box::new(Replay::load(&path, InstrumentKey::new(Exchange::Nse, symbol)).unwrap())
    };
    let files = [("RELIANCE", "RELIANCE"), ("TCS", "TCS"), ("NIFTY", "NIFTY 50"), ("BANKNIFTY", "NIFTY BANK")];
    let mut day = Merge::new(files.map(load).into_iter().collect()).unwrap();
    let start = day.peek().unwrap();
    let mut watched = Watched::new(&calendar(), CASH, Duration::from_secs(5), start);
    let mut ticks = 0_u32;
    while let Some(next) = day.peek() {
        // A heartbeat a second, as Kite sends them, and every tick at its time.
        while watched.now.wall + Duration::from_secs(1) < next {
            watched.pass(Duration::from_secs(1));
            watched.frame(0);
        }
        watched.pass(next.since(watched.now.wall));
        day.next();
        watched.tick();
        ticks += 1;
    }
    assert!(ticks > 50_000, "{ticks}");
    // The recording itself has one hole, and it is found; it ends at 15:24.
    let gaps: Vec<_> =
        watched.gaps.iter().map(|gap| (gap.why, gap.from, gap.to.map(|to| to.since(gap.from)))).collect();
    let [(GapReason::Silent, from, Some(lasted))] = gaps.as_slice() else { panic!("{gaps:?}") };
    assert_eq!(from.ist_time().format("%H:%M").to_string(), "13:29");
    assert!((30..=32).contains(&lasted.as_secs()), "{lasted:?}");
    assert_eq!(watched.cut, 0);
}
