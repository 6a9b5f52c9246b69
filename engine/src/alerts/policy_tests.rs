//! Every kind of alert by its words, and repetition.

use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{
    Block, Endpoint, Exchange, Fingerprint, InstrumentKey, MarketProtection, OrderRequest, OrderType, Product, Renewal,
    Side, Venue,
};
use proptest::prelude::*;

use super::{Alert, Kind, Severity, Watch};
use crate::core::Event;
use crate::feed::FeedStatus;
use crate::orders::{Comparison, Difference};
use crate::session::{AttemptEnd, Candidate, Generation, NotTaken, Notice, Source, State, Transition, Why};

const TOKEN: Fingerprint = Fingerprint(0x1234_abcd);
const LINK: &str = "https://kite.zerodha.com/connect/login?v=3";

fn morning() -> Timestamp {
    Timestamp::parse_ist("2026-11-20 09:14:00").unwrap()
}

fn after(seconds: u64) -> Now {
    let span = Duration::from_secs(seconds);
    Now { mono: Monotonic::default() + span, wall: morning() + span }
}

fn login() -> Event {
    Event::LoginNeeded { at: morning(), link: Some(LINK.to_owned()) }
}

fn step(from: State, to: State, why: Why) -> Event {
    Event::Transition(Transition { at: morning(), from, to, why })
}

fn into_fallback() -> Event {
    step(State::Expired, State::Fallback, Why::NoToken)
}

fn out_of_fallback() -> Event {
    step(State::Fallback, State::Valid, Why::FailbackComplete)
}

fn notice(notice: Notice) -> Event {
    Event::Notice { at: morning(), notice }
}

fn alarm(words: &str) -> Event {
    Event::Alarm { at: morning(), words: words.to_owned() }
}

fn venue(venue: Venue) -> Event {
    Event::Venue { at: morning(), venue, reduce_only: false }
}

fn candidate(source: Source) -> Event {
    let candidate =
        Candidate { fingerprint: TOKEN, source, issued_at: None, expires_at: None, refresh: None, refresh_dies: None };
    Event::Candidate { at: morning(), candidate }
}

fn token() -> Event {
    let expires = Timestamp::parse_ist("2026-11-21 06:00:00").unwrap();
    Event::Token { at: morning(), generation: Generation(2), fingerprint: TOKEN, expires }
}

fn not_taken(source: Source, why: NotTaken) -> Event {
    notice(Notice::NotTaken { fingerprint: TOKEN, source, why })
}

fn stranger() -> NotTaken {
    NotTaken::Stranger { user_id: "XY9876".to_owned(), expected: "AB1234".to_owned() }
}

/// What a fresh watch makes of the last of these events.
fn alert_of(events: &[Event]) -> Option<Alert> {
    let mut watch = Watch::new("main");
    events.iter().map(|event| watch.on(event, after(0))).last().flatten()
}

fn exit() -> OrderRequest {
    let market = OrderType::Market(MarketProtection::Automatic);
    OrderRequest::new(InstrumentKey::new(Exchange::Nse, "INFY"), Side::Sell, 10, market)
}

fn unmanaged(at: Timestamp) -> Event {
    let future = InstrumentKey::new(Exchange::Nfo, "NIFTY26NOVFUT");
    let positions = vec![(exit().instrument, Product::Mis, 10), (future, Product::Nrml, -65)];
    Event::Unmanaged { at, positions, resting: Vec::new(), unknown: Vec::new() }
}

/// A comparison that found so many differences.
fn compared(overnight: bool, count: usize) -> Event {
    let difference = Difference { instrument: exit().instrument, product: Product::Mis, ours: 1, brokers: 4 };
    let differences = vec![difference; count];
    let comparison = Comparison { number: 1, complete: true, orders: 2, positions: 1, differences, overnight };
    Event::Compared { at: morning(), comparison }
}

#[test]
fn a_comparison_names_what_differs_and_alerts_unless_a_night_explains_it() {
    let words = compared(false, 1).to_string();
    assert!(words.contains("1 differences (NSE:INFY MIS: 1 here, 4 at the broker)"), "{words}");
    assert!(compared(false, 7).to_string().ends_with("and 2 more)"));
    assert!(alert_of(&[compared(false, 1)]).is_some());
    assert_eq!(alert_of(&[compared(true, 1)]), None, "what a night does to positions");
    assert_eq!(alert_of(&[compared(false, 0)]), None, "nothing differs");
}

#[test]
fn what_is_unmanaged_overnight_wakes_nobody() {
    let night = Timestamp::parse_ist("2026-11-20 23:00:00").unwrap();
    assert_eq!(alert_of(&[unmanaged(night)]).unwrap().severity, Severity::Info);
}

#[test]
fn every_kind_says_what_happened_what_is_safe_and_what_to_do() {
    use Severity::{Info, Urgent, Warning};
    let dies = Timestamp::parse_ist("2026-11-22 09:00:00").unwrap();
    let cases: Vec<(Vec<Event>, Kind, Severity, [&str; 3])> = vec![
        (vec![login()], Kind::LoginDue, Urgent, ["login is due", "no live order leaves", "open the link"]),
        (vec![venue(Venue::Live), login()], Kind::LoginDue, Urgent, ["login is due", "feed go on", "open the link"]),
        (vec![venue(Venue::Paper), login()], Kind::LoginDue, Urgent, ["is due", "orders go to paper", "log in"]),
        (
            vec![Event::LoginNeeded { at: morning(), link: None }],
            Kind::LoginDue,
            Urgent,
            ["new token is due", "no live order leaves", "write it into the token store"],
        ),
        (
            vec![Event::ApprovalAsked { at: morning(), lapses_at: Some(morning() + Duration::from_secs(600)) }],
            Kind::ApprovalAsked,
            Urgent,
            ["on the phone", "no live order leaves", "approve it before 09:24"],
        ),
        (
            vec![Event::RefreshTokenDies { at: morning(), dies, link: Some(LINK.to_owned()) }],
            Kind::RefreshTokenDies,
            Warning,
            ["dies on Sun 22 Nov 09:00", "Trading goes on until then", "Log in once before that"],
        ),
        (
            vec![candidate(Source::Renewal), token()],
            Kind::Renewed,
            Info,
            ["was renewed", "until Sat 21 Nov 06:00", "Nothing to do"],
        ),
        (
            vec![step(State::Expiring, State::Refreshing, Why::RenewalStarted(Renewal::RefreshGrant)), token()],
            Kind::Renewed,
            Info,
            ["was renewed", "in use", "Nothing to do"],
        ),
        (vec![candidate(Source::Login), token()], Kind::Renewed, Info, ["login worked", "in use", "Nothing to do"]),
        (vec![candidate(Source::Approval), token()], Kind::Renewed, Info, ["approval worked", "in use", "Nothing"]),
        (
            vec![into_fallback(), candidate(Source::Store), token()],
            Kind::Renewed,
            Info,
            ["written into the store works", "in use", "Live trading comes back once"],
        ),
        (
            vec![into_fallback()],
            Kind::FallbackEntered,
            Urgent,
            ["Live trading is off", "No live order leaves", "broker's own app"],
        ),
        (
            vec![unmanaged(morning())],
            Kind::Unmanaged,
            Urgent,
            ["positions: 10 NSE:INFY, -65 NFO:NIFTY26NOVFUT", "Nothing here can change it", "broker's own app"],
        ),
        (
            vec![compared(false, 1)],
            Kind::PositionsDiffer,
            Warning,
            ["NSE:INFY MIS: 1 here, 4 at the broker", "trading goes on", "broker's own app"],
        ),
        (
            vec![Event::ExitWanted { at: morning(), request: Box::new(exit()) }],
            Kind::ExitWanted,
            Warning,
            ["sell 10 NSE:INFY", "was not sent", "Submit it again if"],
        ),
        (vec![out_of_fallback()], Kind::FallbackLeft, Warning, ["Live trading is back", "agree", "Nothing to do"]),
        (
            vec![Event::NotStored { at: morning(), reason: "conf/.env: no space left".to_owned() }],
            Kind::NotStored,
            Urgent,
            ["conf/.env: no space left", "Trading goes on", "Mend the file's folder"],
        ),
        (
            vec![notice(Notice::Misconfigured { endpoint: Endpoint::Place })],
            Kind::Misconfigured,
            Urgent,
            ["static IP", "blocked and none is sent to paper", "developer console, then resume"],
        ),
        (
            vec![notice(Notice::Misconfigured { endpoint: Endpoint::Historical })],
            Kind::Misconfigured,
            Urgent,
            ["(historical)", "orders are blocked", "check the plan"],
        ),
        (
            vec![notice(Notice::Suspect { endpoint: Endpoint::Profile })],
            Kind::Suspect,
            Warning,
            ["may mean a dead token", "New live orders wait", "Nothing to do unless"],
        ),
        (vec![notice(Notice::Outage)], Kind::Outage, Urgent, ["does not answer", "the session stays", "own app"]),
        (vec![notice(Notice::OutageOver)], Kind::OutageOver, Warning, ["answers again", "go on once", "Nothing"]),
        (
            vec![notice(Notice::RenewalFailed { end: AttemptEnd::FailedForGood })],
            Kind::RenewalFailed,
            Warning,
            ["no more", "stays in use until it dies", "new login"],
        ),
        (
            vec![notice(Notice::RenewalFailed { end: AttemptEnd::Unknown })],
            Kind::RenewalFailed,
            Warning,
            ["reply to a renewal was lost", "lives on", "log in before"],
        ),
        (vec![notice(Notice::RenewalUseless)], Kind::RenewalFailed, Warning, ["no longer", "lives on", "log in"]),
        (
            vec![not_taken(Source::Stored, stranger())],
            Kind::TokenNotTaken,
            Warning,
            ["belongs to XY9876", "nothing else changed", "Log in as AB1234"],
        ),
        (
            vec![not_taken(Source::Store, NotTaken::Refused)],
            Kind::TokenNotTaken,
            Warning,
            ["refuses the token", "nothing else changed", "new one"],
        ),
        (
            vec![not_taken(Source::Operator, NotTaken::Expired)],
            Kind::TokenNotTaken,
            Warning,
            ["time of the token", "nothing else changed", "new one, or correct expires_at in the store"],
        ),
        (
            vec![Event::Feed { at: morning(), status: FeedStatus::Refused }],
            Kind::FeedRefused,
            Warning,
            ["refuses the live feed", "Orders go on", "check the data plan"],
        ),
        (
            vec![notice(Notice::ClockStepped { seconds: -7 })],
            Kind::Clock,
            Warning,
            ["jumped by -7 s", "trading goes on", "NTP"],
        ),
        (vec![alarm("the journal cannot be written")], Kind::Alarm, Urgent, ["the journal", "cannot be", "written."]),
    ];
    for (events, kind, severity, parts) in &cases {
        let alert = alert_of(events).unwrap_or_else(|| panic!("no alert: {events:?}"));
        println!("{alert}");
        assert_eq!((alert.kind, alert.severity, alert.at), (*kind, *severity, morning()), "{events:?}");
        for part in parts {
            assert!(alert.words.contains(part), "`{part}` is not in: {}", alert.words);
        }
        assert!(alert.words.len() < 400 && alert.words.ends_with('.'), "{}", alert.words);
        let asks_for_login = matches!(kind, Kind::LoginDue | Kind::RefreshTokenDies) && !alert.words.contains("store");
        assert_eq!(alert.link.is_some(), asks_for_login, "{}", alert.words);
    }
    let told: Vec<Kind> = cases.iter().map(|(_, kind, ..)| *kind).collect();
    for kind in Kind::ALL {
        // These two are no event's.
        let of_no_event = matches!(kind, Kind::EventsMissed | Kind::HeldBack);
        assert!(of_no_event || told.contains(&kind), "no case for {kind}");
    }
}

#[test]
fn what_mends_itself_is_no_alert() {
    let silent = [
        vec![candidate(Source::Store)],
        vec![candidate(Source::Stored), token()],
        vec![venue(Venue::Blocked(Block::Holding))],
        vec![step(State::Valid, State::Expiring, Why::Due)],
        vec![step(State::Expiring, State::Refreshing, Why::RenewalStarted(Renewal::RefreshGrant))],
        vec![step(State::Fallback, State::Fallback, Why::NoToken)],
        vec![not_taken(Source::Stored, NotTaken::Refused)],
        vec![notice(Notice::Inconclusive { fingerprint: TOKEN })],
        vec![notice(Notice::OldGeneration { generation: Generation(1) })],
        vec![notice(Notice::AttemptTimedOut)],
        vec![notice(Notice::RenewalFailed { end: AttemptEnd::Failed })],
        vec![Event::Feed { at: morning(), status: FeedStatus::Connecting }],
    ];
    for events in silent {
        assert_eq!(alert_of(&events), None, "{events:?}");
    }
}

#[test]
fn a_death_in_the_night_wakes_nobody() {
    let night = Timestamp::parse_ist("2026-11-21 06:00:00").unwrap();
    let (from, to) = (State::Expired, State::Fallback);
    let death = Event::Transition(Transition { at: night, from, to, why: Why::NoToken });
    assert_eq!(alert_of(&[death]).unwrap().severity, Severity::Info);
}

#[test]
fn a_login_that_stays_due_is_told_again_after_an_hour_and_at_once_after_a_token_has_died() {
    let mut watch = Watch::new("main");
    let told: Vec<u64> = (0..=120).filter(|minute| watch.on(&login(), after(minute * 60)).is_some()).collect();
    assert_eq!(told, [0, 60, 120]);
    assert!(watch.on(&token(), after(7_260)).is_some());
    assert!(watch.on(&login(), after(7_320)).is_some(), "that login was done; this is another");
}

#[test]
fn every_fallback_is_told_once_and_so_is_every_return() {
    let mut watch = Watch::new("main");
    for round in 0..3 {
        let now = after(round * 60);
        assert!(watch.on(&into_fallback(), now).is_some());
        assert_eq!(watch.on(&into_fallback(), now), None);
        assert!(watch.on(&out_of_fallback(), now).is_some());
        assert_eq!(watch.on(&out_of_fallback(), now), None);
    }
}

#[test]
fn one_wrong_ip_is_one_alert_whatever_was_asked_until_it_is_mended() {
    let wrong_ip = |endpoint| notice(Notice::Misconfigured { endpoint });
    let mut watch = Watch::new("main");
    assert!(watch.on(&wrong_ip(Endpoint::Place), after(0)).is_some());
    assert_eq!(watch.on(&wrong_ip(Endpoint::Cancel), after(1)), None);
    watch.on(&venue(Venue::Live), after(2));
    assert!(watch.on(&wrong_ip(Endpoint::Place), after(3)).is_some());
}

#[test]
fn lost_events_are_told() {
    let mut watch = Watch::new("main");
    let alert = watch.missed(17, after(0)).unwrap();
    assert!(alert.kind == Kind::EventsMissed && alert.words.starts_with("17 events"), "{alert}");
    assert_eq!(watch.missed(3, after(1)), None);
}

fn any_event() -> impl Strategy<Value = Event> {
    let whole_story = vec![
        login(),
        into_fallback(),
        out_of_fallback(),
        token(),
        candidate(Source::Login),
        venue(Venue::Live),
        notice(Notice::Outage),
        notice(Notice::OutageOver),
        notice(Notice::Suspect { endpoint: Endpoint::Profile }),
        notice(Notice::Misconfigured { endpoint: Endpoint::Place }),
        not_taken(Source::Store, stranger()),
    ];
    prop_oneof![prop::sample::select(whole_story), "[a-c]{1,2}".prop_map(|words| alarm(&words))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_event_twice_within_the_window_is_one_alert(
        story in prop::collection::vec((any_event(), 0_u64..2_000), 0..40),
        last in any_event(),
        gap in 0_u64..15 * 60,
    ) {
        let mut watch = Watch::new("main");
        let mut time = 0;
        for (event, wait) in &story {
            time += wait;
            watch.on(event, after(time));
        }
        if watch.on(&last, after(time)).is_some() {
            prop_assert_eq!(watch.on(&last, after(time + gap)), None);
        }
    }

    #[test]
    fn whatever_happens_there_is_no_panic_and_alerts_bear_the_accounts_name(
        story in prop::collection::vec((any_event(), 0_u64..2_000), 0..400),
    ) {
        let mut watch = Watch::new("main");
        let mut time = 0;
        for (event, wait) in &story {
            time += wait;
            if let Some(alert) = watch.on(event, after(time)) {
                prop_assert_eq!(&alert.account, "main");
                prop_assert!(!alert.words.contains('\n'));
            }
        }
    }
}

#[test]
fn a_link_that_no_phone_can_open_says_so_and_names_the_brokers_own_page() {
    let told = |event: Event| {
        let mut watch = Watch::new("main").login_page(Some(LINK.to_owned()));
        watch.on(&event, after(0)).unwrap().words
    };
    let dies = Timestamp::parse_ist("2026-11-22 09:00:00").unwrap();
    for (link, here) in [
        ("http://127.0.0.1:5000/api/auth/login/main", true),
        ("http://localhost:5000/api/auth/login/main", true),
        ("https://desk.example/api/auth/login/main", false),
        ("http://192.168.1.7:5000/api/auth/login/main", false),
        (LINK, false),
    ] {
        let link = Some(link.to_owned());
        for words in [
            told(Event::LoginNeeded { at: morning(), link: link.clone() }),
            told(Event::RefreshTokenDies { at: morning(), dies, link: link.clone() }),
        ] {
            for part in ["on the machine that trades", LINK, "then: nirantar token login --paste - --account main"] {
                assert_eq!(words.contains(part), here, "{link:?}: `{part}` in: {words}");
            }
        }
    }
}

#[test]
fn a_death_on_friday_evening_promises_no_login_tomorrow() {
    let at = Timestamp::parse_ist("2026-11-20 20:00:00").unwrap();
    let event = Event::Transition(Transition { at, from: State::Expired, to: State::Fallback, why: Why::NoToken });
    let alert = Watch::new("main").on(&event, after(0)).unwrap();
    assert_eq!(alert.severity, Severity::Info);
    assert!(alert.words.contains("on the next trading morning"), "{}", alert.words);
}
