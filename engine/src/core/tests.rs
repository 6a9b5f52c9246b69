//! What session and desk owe each other.

use std::time::Duration;

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{
    Book, BrokerOrderId, Cause, ClientOrderId, Endpoint, Exchange, Failure, Fingerprint, InstrumentKey,
    MarketProtection, OrderRequest, OrderStatus, OrderType, Price, Product, Quantity, Refusal, Sessions, Side, Venue,
    kite,
};
use nirantar_exchange_mock::{Calendar, Expired, Unsettled, universe};

use super::{Core, Event, Input, Output};
use crate::feed::{FeedPolicy, Supervisor};
use crate::orders::{Desk, DeskPolicy, LiveState, Record, SendId, What};
use crate::session::{Candidate, Generation, Machine, Notice, Policy, Source, Verdict};

/// The market is closed: nobody waits for a feed.
pub(super) fn evening() -> Now {
    Now { wall: Timestamp::parse_ist("2026-11-20 18:00:00").unwrap(), ..Now::default() }
}

fn candidate(fingerprint: u32) -> Candidate {
    Candidate {
        fingerprint: Fingerprint(fingerprint),
        source: Source::Store,
        issued_at: None,
        expires_at: None,
        refresh: None,
        refresh_dies: None,
    }
}

fn accepted() -> Verdict {
    Verdict::Accepted { user_id: "AB1234".to_owned() }
}

/// A core under a living token, after the first comparison.
pub(super) fn live(now: Now) -> Core {
    live_by(Policy::for_broker(&kite::facts(kite::App::Individual)), now)
}

fn live_by(policy: Policy, now: Now) -> Core {
    let feed = Supervisor::new(FeedPolicy::default(), Duration::from_secs(5), 1);
    let mut core = Core::new(Machine::new(policy), Desk::new(DeskPolicy::default()), feed, Calendar::nse(), true);
    let mut inputs = vec![Input::Started, Input::Candidate(candidate(1))];
    while !inputs.is_empty() {
        let mut out = Vec::new();
        for input in std::mem::take(&mut inputs) {
            core.on(input, now, &mut out);
        }
        inputs.extend(out.into_iter().filter_map(|output| match output {
            Output::Publish { epoch: Some(epoch), .. } => Some(Input::Settled { epoch }),
            Output::Probe { probe, .. } => Some(Input::Probed { probe, verdict: accepted() }),
            Output::Read { read, generation } => {
                Some(Input::Read { read, generation, state: Ok(LiveState::default()) })
            }
            _ => None,
        }));
    }
    assert_eq!(core.standing().route.venue, Venue::Live);
    core
}

/// Sends an order, and says how its message ends.
fn order(core: &mut Core, now: Now, end: impl Fn(SendId) -> Input) -> (OrderStatus, Vec<Output>) {
    let mut out = Vec::new();
    let market = OrderType::Market(MarketProtection::Automatic);
    let request = OrderRequest::new(InstrumentKey::new(Exchange::Nse, "INFY"), Side::Buy, 1, market);
    let id = core.submit(request, now, &mut out).unwrap();
    let sent = |output: &Output| if let Output::Send { send, .. } = output { Some(*send) } else { None };
    let send = out.iter().find_map(sent).unwrap();
    core.on(end(send), now, &mut out);
    (core.desk().order(&id).unwrap().status, out)
}

fn outage(out: &[Output]) -> bool {
    out.iter().any(|output| matches!(output, Output::Tell(Event::Notice { notice: Notice::Outage, .. })))
}

fn not_sent() -> Failure {
    Failure::new(Cause::NotSent, Endpoint::Place, "no byte left")
}

#[test]
fn what_is_kept_back_for_want_of_a_record_is_no_outage_of_the_brokers() {
    let now = evening();
    let mut core = live(now);
    for _ in 0..5 {
        let (status, out) = order(&mut core, now, |send| Input::NotWritten { send, failure: not_sent() });
        assert_eq!(status, OrderStatus::Refused, "it surely never left");
        assert!(!outage(&out), "{out:?}");
    }
    assert_eq!(core.standing().route.venue, Venue::Live);

    // That no connection can be made is one.
    let mut outages = (0..5).map(|_| order(&mut core, now, |send| Input::Reply { send, outcome: Err(not_sent()) }));
    assert!(outages.any(|(_, out)| outage(&out)));
}

#[test]
fn a_read_for_which_there_was_no_token_is_no_outage_and_is_asked_for_again() {
    let now = evening();
    let mut core = live(now);
    // An order that nobody knows the fate of is looked for again and again.
    let lost = || Failure::new(Cause::Unknown, Endpoint::Place, "no reply");
    let (_, mut out) = order(&mut core, now, |send| Input::Reply { send, outcome: Err(lost()) });
    let (mut now, mut reads) = (now, 0);
    while reads < 10 {
        let asked =
            out.drain(..).find_map(|output| if let Output::Read { read, .. } = output { Some(read) } else { None });
        if let Some(read) = asked {
            reads += 1;
            core.on(Input::NotRead { read }, now, &mut out);
            assert!(!outage(&out), "{out:?}");
        }
        now = now + core.next_wake(now).since(now.mono);
        core.on(Input::Wake, now, &mut out);
    }
    assert_eq!(core.standing().route.generation, Generation(1));
}

#[test]
fn what_is_finished_is_forgotten_at_the_end_of_the_next_trading_day_and_no_sooner() {
    let friday = evening();
    let mut core = live(friday);
    let rejected = || Err(Failure::new(Cause::Rejected, Endpoint::Place, "no money"));
    order(&mut core, friday, |send| Input::Reply { send, outcome: rejected() });
    let lost = || Err(Failure::new(Cause::Unknown, Endpoint::Place, "no reply"));
    order(&mut core, friday, |send| Input::Reply { send, outcome: lost() });
    let mut orders_on = |time: &str| {
        let span = Timestamp::parse_ist(time).unwrap().since(friday.wall);
        core.on(Input::Wake, friday + span, &mut Vec::new());
        core.desk().orders().map(|order| order.status).collect::<Vec<_>>()
    };
    let both = [OrderStatus::Rejected, OrderStatus::Unresolved];
    assert_eq!(orders_on("2026-11-21 12:00:00"), both, "Saturday");
    assert_eq!(orders_on("2026-11-23 09:00:00"), both, "the broker's book may still show them");
    assert_eq!(orders_on("2026-11-23 17:00:00"), [OrderStatus::Unresolved], "nobody has looked at it yet");
}

/// Adopts that token beside the living one; the number of the change of venue.
fn adopt(core: &mut Core, fingerprint: u32, now: &mut Now) -> u64 {
    let mut out = Vec::new();
    *now = *now + Duration::from_secs(1);
    core.on(Input::Candidate(candidate(fingerprint)), *now, &mut out);
    let probe =
        out.iter().find_map(|output| if let Output::Probe { probe, .. } = output { Some(*probe) } else { None });
    core.on(Input::Probed { probe: probe.unwrap(), verdict: accepted() }, *now, &mut out);
    assert_eq!(core.standing().route.venue, Venue::Live);
    let change = |output: &Output| if let Output::Publish { epoch, .. } = output { *epoch } else { None };
    out.iter().find_map(change).expect("a new token is a change of venue")
}

#[test]
fn no_order_leaves_under_a_new_token_before_the_newest_change_to_it_is_complete() {
    let mut now = evening();
    let mut policy = Policy::for_broker(&kite::facts(kite::App::Individual));
    policy.sessions = Sessions::Coexist;
    let mut core = live_by(policy, now);
    let older = adopt(&mut core, 2, &mut now);
    let newer = adopt(&mut core, 3, &mut now);
    let mut out = Vec::new();
    let market = OrderType::Market(MarketProtection::Automatic);
    let request = OrderRequest::new(InstrumentKey::new(Exchange::Nse, "INFY"), Side::Buy, 1, market);
    core.submit(request, now, &mut out).unwrap();
    core.on(Input::Settled { epoch: older }, now, &mut out);
    let sent = |out: &[Output]| out.iter().any(|output| matches!(output, Output::Send { .. }));
    assert!(!sent(&out), "{out:?}");
    core.on(Input::Settled { epoch: newer }, now, &mut out);
    assert!(sent(&out), "{out:?}");
}

#[test]
fn a_dead_token_is_shown_to_nobody() {
    let now = evening();
    let mut core = live(now);
    assert!(core.standing().token.is_some());
    let dead = || Failure::new(Cause::Refused(Refusal::Conclusive), Endpoint::Place, "token is invalid");
    order(&mut core, now, |send| Input::Reply { send, outcome: Err(dead()) });
    assert_eq!(core.standing().token, None);
}

#[test]
fn a_paper_contract_that_has_ended_is_written_down_or_said_to_stay() {
    let contract = InstrumentKey::new(Exchange::Nfo, "NIFTY26NOV26000CE");
    let expired = |settled| Expired { instrument: contract.clone(), on: "2026-11-24".parse().unwrap(), settled };
    let now = evening();
    let asked = What::Intent(OrderRequest::new(contract.clone(), Side::Buy, 65, OrderType::Limit(Price::ZERO)));
    let filled = What::State {
        status: OrderStatus::Filled,
        quantity: None,
        broker_id: Some(BrokerOrderId::new("1")),
        filled: Quantity::new(65),
        average_price: Price::from_paise(1_240),
        message: None,
    };
    let id = ClientOrderId::numbered(2, 1);
    let record = |what| Record { at: now.wall, id: Some(id.clone()), book: Book::Paper, what };
    let feed = Supervisor::new(FeedPolicy::default(), Duration::from_secs(5), 1);
    let policy = Policy::for_broker(&kite::facts(kite::App::Individual));
    let mut core = Core::new(Machine::new(policy), Desk::new(DeskPolicy::default()), feed, Calendar::nse(), true);
    core.restore(&[record(asked), record(filled)], now, &mut Vec::new());
    let held = |core: &Core| core.desk().exposure().all_of(Book::Paper, &contract);
    assert_eq!(held(&core), 65);

    let mut out = Vec::new();
    core.on(Input::Instruments(vec![universe::by_name(&contract)]), now, &mut out);
    assert!(out.contains(&Output::List(vec![universe::by_name(&contract)])), "paper learns when it ends: {out:?}");

    let mut out = Vec::new();
    let unknown = Unsettled::NotListed(InstrumentKey::new(Exchange::Nse, "NIFTY 50"));
    core.on(Input::PaperExpired(expired(Err(unknown))), now, &mut out);
    let alarms = |out: &[Output]| {
        let alarm =
            |it: &Output| if let Output::Tell(Event::Alarm { words, .. }) = it { Some(words.clone()) } else { None };
        out.iter().filter_map(alarm).collect::<Vec<_>>()
    };
    let said = "NFO:NIFTY26NOV26000CE ended on 2026-11-24 and is not settled on paper, where it stays: NSE:NIFTY 50 is not \
                listed, and so its close was never seen";
    assert_eq!((alarms(&out), held(&core)), (vec![said.to_owned()], 65));

    let mut out = Vec::new();
    core.on(Input::PaperExpired(expired(Ok(Price::from_paise(2_500)))), now, &mut out);
    core.on(Input::PaperExpired(expired(Ok(Price::from_paise(2_500)))), now, &mut out);
    let (product, price) = (Product::Mis, Price::from_paise(2_500));
    let what = What::Settled { instrument: contract.clone(), product, price };
    let written: Vec<_> = out
        .iter()
        .filter_map(|output| if let Output::Journal(record) = output { Some(record.clone()) } else { None })
        .collect();
    assert_eq!(written, [Record { at: now.wall, id: None, book: Book::Paper, what }]);
    assert_eq!((alarms(&out), held(&core)), (Vec::<String>::new(), 0));
}

#[test]
fn a_token_whose_time_is_over_is_buried_with_whatever_comes_next_though_no_wake_is_due() {
    let now = evening();
    let mut core = live(now);
    let end = core.session().expires().expect("a token is in use");
    // The wall clock was set ahead; the session asked to be woken by the other one.
    let jumped = Now { wall: end, ..now };
    core.on(Input::NotRead { read: 99 }, jumped, &mut Vec::new());
    assert_eq!(core.standing().token, None, "{:?}", core.standing());
}
