//! Orders that are refused before they are written or sent, with words that name the rule: rules of the exchange, and the
//! trader's own bounds. Over the broker's own wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::time::Duration;

use harness::{Plan, World, instrument, market_order};
use nirantar::core::Event;
use nirantar::engine::NotTaken;
use nirantar::orders::{Journal as _, OverLimit, Refused, RiskLimits};
use nirantar::session::{Operator, State};
use nirantar_brokers::{
    Book, BrokerToken, Exchange, Instrument, InstrumentKey, InstrumentKind, Intent, MarketProtection, Money,
    OrderChange, OrderRequest, OrderStatus, OrderType, Price, Product, Quantity, Side, Validity,
};
use nirantar_exchange_mock::kite::Settings;
use nirantar_exchange_mock::universe;

fn limit(paise: i64) -> OrderType {
    OrderType::Limit(Price::from_paise(paise))
}

fn order(quantity: u64, order_type: OrderType) -> OrderRequest {
    OrderRequest::new(instrument(), Side::Buy, quantity, order_type)
}

/// Far below the market: it rests.
fn resting(quantity: u64) -> OrderRequest {
    order(quantity, limit(140_000))
}

fn future() -> Instrument {
    Instrument {
        key: InstrumentKey::new(Exchange::Nfo, "NIFTY26NOVFUT"),
        token: BrokerToken(12_345_602),
        exchange_token: 48_225,
        name: "NIFTY".to_owned(),
        kind: InstrumentKind::Future,
        segment: "NFO-FUT".to_owned(),
        lot: Quantity::new(65),
        tick: Price::from_paise(10),
        expiry: "2026-11-24".parse().ok(),
        strike: Price::ZERO,
    }
}

impl World {
    /// The words an order is refused with; it has left no trace.
    async fn refuses(&mut self, request: OrderRequest) -> Refused {
        // What was on its way is answered and written.
        self.pass(Duration::from_millis(1)).await;
        let (before, seen) = (self.journal.read().unwrap().len(), self.order_requests());
        let said = self.engine.submit(request.clone()).await;
        assert_eq!(self.journal.read().unwrap().len(), before, "{request:?} was written");
        assert_eq!(self.order_requests(), seen, "{request:?} reached the broker");
        match said {
            Err(NotTaken::Refused(why)) => why,
            other => panic!("{request:?} was taken: {other:?}"),
        }
    }

    async fn rests(&mut self, request: OrderRequest) -> nirantar_brokers::ClientOrderId {
        let id = self.engine.submit(request).await.unwrap();
        self.wait_for_order(&id, OrderStatus::Open).await;
        self.pass(Duration::from_millis(1)).await;
        id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_against_a_rule_of_the_exchange_is_refused_before_the_journal_and_the_rule_is_named() {
    let today = "2026-11-20".parse().unwrap();
    let listed: Vec<Instrument> = universe::instruments(today).into_iter().chain([future()]).collect();
    let plan = Plan::new(Settings { instruments: Some(listed), ..Settings::default() });
    let mut world = World::stepped(plan).await;
    world.wait_for_feed().await;

    let nfo = |quantity, product| OrderRequest {
        product,
        ..OrderRequest::new(future().key, Side::Buy, quantity, limit(2_600_000))
    };
    // Nobody has wanted anything of NFO until now.
    let said = world.refuses(nfo(65, Product::Nrml)).await;
    assert_eq!(said, Refused::ListNotHere(Exchange::Nfo));
    assert_eq!(
        said.to_string(),
        "the day's list of NFO instruments is not here yet: it is asked for as soon as there is a token to ask with; try again then"
    );
    let here = |event: &Event| matches!(event, Event::Instruments { exchange: Exchange::Nfo, count: 1, .. });
    world.wait_for("the list of NFO", here).await;

    let stop =
        |trigger, limit| OrderType::StopLimit { trigger: Price::from_paise(trigger), limit: Price::from_paise(limit) };
    let of = |symbol: &str| OrderRequest::new(InstrumentKey::new(Exchange::Nse, symbol), Side::Buy, 1, limit(150_000));
    let with = |order: OrderRequest, validity, product| OrderRequest { validity, product, ..order };
    let (day, mis) = (Validity::Day, Product::Mis);
    let unprotected = OrderType::Market(MarketProtection::BasisPoints(0));
    for (request, words) in [
        (of("RELIANCEX"), "symbol: the day's list of NSE instruments has no `RELIANCEX`"),
        (of("NIFTY 50"), "symbol: NSE:NIFTY 50 is an index"),
        (order(1, limit(145_005)), "price: 1450.05 is not a multiple of the tick of NSE:RELIANCE, 0.10"),
        (order(1, limit(0)), "price: 0.00 is not above zero"),
        (order(1, limit(-145_000)), "price: -1450.00 is not above zero"),
        (order(1, stop(145_005, 145_100)), "trigger: 1450.05 is not a multiple of the tick"),
        (order(1, stop(145_100, 145_000)), "trigger: a buy with the trigger 1451.00 and the limit 1450.00"),
        (order(0, limit(145_000)), "the quantity is zero"),
        (nfo(64, Product::Nrml), "quantity: 64 is not a multiple of the lot of NFO:NIFTY26NOVFUT, 65"),
        (nfo(1_820, Product::Nrml), "quantity: 1820 is above the freeze quantity of NFO:NIFTY26NOVFUT, 1800"),
        (nfo(65, Product::Cnc), "product: Cnc does not go with NFO: use NRML or MIS"),
        (with(order(1, limit(145_000)), day, Product::Nrml), "product: Nrml does not go with NSE: use CNC or MIS"),
        (with(order(1, stop(146_000, 146_000)), Validity::Ioc, mis), "validity: a stop order waits"),
        (with(order(1, limit(145_000)), Validity::Ttl { minutes: 0 }, mis), "validity: 0 minutes"),
        (order(1, unprotected), "market protection: 0"),
    ] {
        let said = world.refuses(request).await.to_string();
        assert!(said.starts_with(words), "{said}");
    }

    // A change is held against the same rules.
    let id = world.rests(resting(2)).await;
    let (before, seen) = (world.journal.read().unwrap().len(), world.order_requests());
    let off = OrderChange { order_type: Some(limit(140_005)), ..OrderChange::default() };
    let said = world.engine.modify(&id, off).await.unwrap_err().to_string();
    assert!(said.starts_with("price: 1400.05 is not a multiple of the tick"), "{said}");
    assert_eq!((world.journal.read().unwrap().len(), world.order_requests()), (before, seen));
    world.an_order_passes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bound_of_the_trader_refuses_entries_before_the_journal_and_lets_exits_through() {
    let risk = RiskLimits {
        order_value: Some(Money::from_rupees(15_000)),
        order_quantity: Some(Quantity::new(10)),
        price_band: Some(500),
        open_orders: Some(2),
        position: Some(Quantity::new(12)),
        daily_loss: None,
    };
    let mut world = World::stepped(Plan { risk, ..Plan::new(Settings::default()) }).await;
    world.wait_for_feed().await;
    world.pass(Duration::from_secs(5)).await;

    for (request, words) in [
        (order(11, limit(100)), "order quantity: 11 units, and 10 are allowed"),
        (order(10, limit(152_000)), "order value: 15200.00 rupees, and 15000.00 are allowed"),
        (order(1, limit(100_000)), "price band: the price 1000.00 is further than 5.00% from the last tick"),
        (OrderRequest { side: Side::Sell, ..order(1, limit(190_000)) }, "price band: the price 1900.00"),
    ] {
        let said = world.refuses(request).await.to_string();
        assert!(said.starts_with(words), "{said}");
    }

    let bought = world.engine.submit(OrderRequest { quantity: Quantity::new(9), ..market_order() }).await.unwrap();
    world.wait_for_order(&bought, OrderStatus::Filled).await;
    world.pass(Duration::from_millis(1)).await;
    let first = world.rests(resting(2)).await;
    // Nine held, two that may be filled, and two more would be thirteen.
    let said = world.refuses(resting(2)).await;
    assert_eq!(said, OverLimit::Position { would: 13, most: Quantity::new(12) }.into());
    world.rests(resting(1)).await;
    let said = world.refuses(OrderRequest { side: Side::Sell, ..order(1, limit(150_000)) }).await;
    assert_eq!(said, OverLimit::OpenOrders { book: Book::Live, working: 2, most: 2 }.into());

    let exit = OrderRequest {
        side: Side::Sell,
        intent: Intent::Reduce(Book::Live),
        ..OrderRequest { quantity: Quantity::new(9), ..market_order() }
    };
    let out = world.engine.submit(exit).await.unwrap();
    world.wait_for_order(&out, OrderStatus::Filled).await;
    world.engine.cancel(&first).await.unwrap();
    world.wait_for_order(&first, OrderStatus::Cancelled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_days_loss_cancels_entries_takes_exits_only_and_ends_with_the_operators_word() {
    let risk = RiskLimits { daily_loss: Some(Money::from_rupees(20)), ..RiskLimits::default() };
    let mut world = World::stepped(Plan { risk, ..Plan::new(Settings::default()) }).await;
    world.wait_for_feed().await;
    let entry = world.rests(resting(1)).await;
    let held = world.engine.submit(OrderRequest { quantity: Quantity::new(100), ..market_order() }).await.unwrap();
    world.wait_for_order(&held, OrderStatus::Filled).await;
    let mark = world.mark().await;
    // A hundred shares and a walk of ten paise a step: sooner or later it is twenty rupees down.
    let lost = |event: &Event| matches!(event, Event::Alarm { words, .. } if words.contains("has lost"));
    world.wait_for("the bound", lost).await;
    world.wait_for_order(&entry, OrderStatus::Cancelled).await;
    let most = Money::from_rupees(20);
    assert_eq!(world.refuses(market_order()).await, OverLimit::DailyLoss { most }.into());
    world.pass(Duration::from_secs(60)).await;
    let alarms = world.alarms(mark).await;
    assert_eq!(alarms.len(), 1, "told once: {alarms:?}");
    assert!(alarms[0].starts_with("the live book has lost ") && alarms[0].contains("20.00 are allowed"), "{alarms:?}");

    let exit = OrderRequest { side: Side::Sell, intent: Intent::Reduce(Book::Live), ..market_order() };
    let out = world.engine.submit(exit).await.unwrap();
    world.wait_for_order(&out, OrderStatus::Filled).await;
    world.engine.operator(Operator::Resume).await.unwrap();
    world.an_order_passes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_played_into_paper_pass_the_bound_of_paper_and_never_that_of_live_positions() {
    let risk = RiskLimits { daily_loss: Some(Money::from_rupees(200)), ..RiskLimits::default() };
    let mut world = World::stepped(Plan { risk, ..Plan::new(Settings::default()) }).await;
    world.wait_for_feed().await;
    let hundred = OrderRequest { quantity: Quantity::new(100), ..market_order() };
    let held = world.engine.submit(hundred.clone()).await.unwrap();
    world.wait_for_order(&held, OrderStatus::Filled).await;
    world.control.kill_tokens();
    let dead = |event: &Event| matches!(event, Event::Transition(step) if step.to == State::Fallback);
    world.wait_for("Fallback", dead).await;
    let mark = world.mark().await;
    // The walk that is played goes down as far for what is held live as for what paper holds.
    let paper = world.engine.submit(hundred).await.unwrap();
    world.wait_for_order(&paper, OrderStatus::Filled).await;
    let lost = |event: &Event| matches!(event, Event::Alarm { words, .. } if words.contains("has lost"));
    world.wait_for("the bound of paper", lost).await;
    // An order is judged anew, by the last prices of all that is held.
    let most = Money::from_rupees(200);
    assert_eq!(world.refuses(market_order()).await, OverLimit::DailyLoss { most }.into());
    world.pass(Duration::from_secs(600)).await;
    let alarms = world.alarms(mark).await;
    let lost: Vec<&String> = alarms.iter().filter(|words| words.contains("has lost")).collect();
    assert!(matches!(&lost[..], [words] if words.starts_with("the paper book has lost")), "{alarms:?}");
}
