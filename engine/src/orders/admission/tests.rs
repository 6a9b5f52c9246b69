//! Changes and prices: what each book is judged by, and what an exit may become.

use nirantar_brokers::time::{Monotonic, Timestamp};
use nirantar_brokers::{
    BrokerOrderId, Exchange, InstrumentKey, MarketProtection, Money, OrderStatus, OrderType, Price,
};

use super::*;
use crate::orders::outcome_tests::row_of;
use crate::orders::{Action, Command, DeskPolicy, RiskLimits, Route};
use crate::session::Generation;

const NOON: Now = Now { mono: Monotonic::from_nanos(0), wall: Timestamp::from_nanos(1_763_620_200_000_000_000) };

fn infy() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "INFY")
}

fn entry(units: u64) -> OrderRequest {
    OrderRequest::new(infy(), Side::Buy, units, OrderType::Market(MarketProtection::Automatic))
}

fn exit(units: u64) -> OrderRequest {
    OrderRequest { intent: Intent::Reduce(Book::Live), ..OrderRequest::new(infy(), Side::Sell, units, stop(9_000)) }
}

fn stop(trigger: i64) -> OrderType {
    OrderType::StopMarket { trigger: Price::from_paise(trigger), protection: MarketProtection::Automatic }
}

fn to_units(units: u64) -> OrderChange {
    OrderChange { quantity: Some(Quantity::new(units)), ..OrderChange::default() }
}

fn trailed(trigger: i64) -> OrderChange {
    OrderChange { order_type: Some(stop(trigger)), ..OrderChange::default() }
}

fn live(reduce_only: bool) -> Route {
    Route { venue: Venue::Live, reduce_only, generation: Generation(1) }
}

fn trading(policy: DeskPolicy) -> Desk {
    let mut desk = Desk::new(policy);
    desk.arrive(live(false), NOON, &mut Vec::new());
    desk
}

/// An order that the broker has, at 100 rupees, and so much of which is filled.
fn at_broker(desk: &mut Desk, request: &OrderRequest, filled: u64) -> ClientOrderId {
    let mut out = Vec::new();
    let id = desk.submit(request.clone(), NOON, &mut out).unwrap();
    let send = out.iter().find_map(|action| if let Action::Send { send, .. } = action { Some(*send) } else { None });
    let number = BrokerOrderId::new(format!("B-{id}"));
    desk.reply(send.unwrap(), Ok(number.clone()), NOON, &mut out);
    let done = request.quantity.get() == filled;
    let status = if done { OrderStatus::Filled } else { OrderStatus::Open };
    let row = row_of(desk.order(&id).unwrap(), &number, status, filled, 10_000);
    desk.update(Book::Live, &row, NOON, &mut out);
    id
}

fn change(desk: &mut Desk, id: &ClientOrderId, change: OrderChange) -> Result<(), Refused> {
    let mut out = Vec::new();
    let taken = desk.modify(id, change, NOON, &mut out);
    let sent = out.iter().any(|action| matches!(action, Action::Send { command: Command::Modify(..), .. }));
    assert_eq!(sent, taken.is_ok(), "what is taken is sent at once, and nothing else: {out:?}");
    taken
}

#[test]
fn an_exit_never_becomes_larger_than_what_the_others_leave_of_its_position() {
    for mode in [TradingMode::Active, TradingMode::ReduceOnly] {
        let mut desk = trading(DeskPolicy::default());
        at_broker(&mut desk, &entry(100), 100);
        let one = at_broker(&mut desk, &exit(60), 10);
        at_broker(&mut desk, &exit(30), 0);
        desk.set_mode(mode, NOON, &mut Vec::new());
        assert_eq!(change(&mut desk, &one, to_units(1_000)), Err(Refused::ReducesNothing), "{mode:?}");
        assert_eq!(change(&mut desk, &one, to_units(71)), Err(Refused::ReducesNothing), "90 held, 30 by the other");
        assert_eq!(change(&mut desk, &one, to_units(70)), Ok(()), "ten of them are filled");
    }
}

#[test]
fn while_only_exits_are_taken_a_stop_is_trailed_and_an_entry_is_left_as_it_is() {
    let mut desk = trading(DeskPolicy::default());
    at_broker(&mut desk, &entry(10), 10);
    let (resting, protecting) = (at_broker(&mut desk, &entry(5), 0), at_broker(&mut desk, &exit(10), 0));
    desk.arrive(live(true), NOON, &mut Vec::new());
    assert_eq!(change(&mut desk, &resting, to_units(4)), Err(Refused::ReduceOnly), "on the way back");
    assert_eq!(change(&mut desk, &protecting, trailed(9_100)), Ok(()));
    desk.set_mode(TradingMode::ReduceOnly, NOON, &mut Vec::new());
    assert_eq!(change(&mut desk, &resting, to_units(4)), Err(Refused::OnlyExits), "by the operator's word");
    assert_eq!(change(&mut desk, &protecting, trailed(9_200)), Ok(()));
}

#[test]
fn a_price_played_into_paper_stops_no_live_trading_and_values_no_live_order() {
    let risk = RiskLimits {
        daily_loss: Some(Money::from_rupees(100)),
        order_value: Some(Money::from_rupees(500)),
        ..RiskLimits::default()
    };
    let mut desk = trading(DeskPolicy { risk, ..DeskPolicy::default() });
    desk.mark(&[Book::Live, Book::Paper], &infy(), Price::from_paise(10_000), NOON.wall);
    at_broker(&mut desk, &entry(5), 5);
    let (paper, mut out) = (Price::from_paise(100), Vec::new());
    assert!(!desk.mark(&[Book::Paper], &infy(), paper, NOON.wall), "paper holds nothing");
    desk.wake(NOON, &mut out);
    assert_eq!(out, [], "99 % down in paper only");
    let said = desk.submit(entry(6), NOON, &mut out);
    assert!(matches!(said, Err(Refused::Risk(OverLimit::Value { .. }))), "600 rupees: {said:?}");
    assert!(desk.mark(&[Book::Live, Book::Paper], &infy(), Price::from_paise(8_000), NOON.wall));
    desk.wake(NOON, &mut out);
    assert!(matches!(&out[..], [Action::Alarm(words)] if words.contains("the live book has lost")), "{out:?}");
}

#[test]
fn an_entry_that_would_reduce_what_the_other_book_holds_is_refused() {
    let mut desk = trading(DeskPolicy::default());
    at_broker(&mut desk, &entry(10), 10);
    let (paper, mut out) = (Route { venue: Venue::Paper, ..live(false) }, Vec::new());
    desk.arrive(paper, NOON, &mut out);
    let opposite = OrderRequest { side: Side::Sell, ..entry(1) };
    assert_eq!(desk.submit(opposite, NOON, &mut out), Err(Refused::ExposureOnOtherVenue(Book::Live)));
    assert!(desk.submit(entry(1), NOON, &mut out).is_ok(), "what adds to it reduces nothing");
}

#[test]
fn while_trading_is_halted_nothing_is_taken_whatever_the_route_says() {
    let mut desk = trading(DeskPolicy::default());
    at_broker(&mut desk, &entry(10), 10);
    desk.set_mode(TradingMode::Halted, NOON, &mut Vec::new());
    for request in [entry(1), exit(1)] {
        assert_eq!(desk.submit(request, NOON, &mut Vec::new()), Err(Refused::Blocked(Block::Halted)));
    }
}
