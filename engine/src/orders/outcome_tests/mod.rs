//! The outcome policy, rule by rule: each test's name begins with the number of the rule it shows.

mod answers;
mod insisting;
mod interleaved;
mod page;
mod shown;

use std::time::Duration;

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{
    Block, Book, BrokerOrderId, Cause, ClientOrderId, Endpoint, Exchange, Failure, InstrumentKey, Money, OrderRequest,
    OrderRow, OrderStatus, OrderType, Outcome, Position, Price, Product, Quantity, Refusal, Side, Trade, Validity,
    Venue,
};

use super::{Action, Command, Desk, DeskPolicy, LiveState, Route, SendId, Tracked, What};
use crate::session::Generation;

pub(super) const CONCLUSIVE: Cause = Cause::Refused(Refusal::Conclusive);
pub(super) const SUSPECT: Cause = Cause::Refused(Refusal::Suspect);
const MARKET_CLOSES: &str = "2026-11-20 15:30:00";

/// A desk under live orders, and what it has said since it was last asked.
pub(super) struct Scene {
    pub(super) desk: Desk,
    pub(super) now: Now,
    pub(super) out: Vec<Action>,
    comparisons: u64,
    /// A read that was asked for before the last question.
    under_way: Option<u64>,
}

pub(super) fn share() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "INFY")
}

pub(super) fn number(text: &str) -> BrokerOrderId {
    BrokerOrderId::new(text)
}

pub(super) fn failed(cause: Cause) -> Outcome<BrokerOrderId> {
    Err(Failure::new(cause, Endpoint::Place, "the broker's words"))
}

/// A row of ten shares bought, with nobody's tag.
pub(super) fn row(order_id: &str, status: OrderStatus, filled: u64) -> OrderRow {
    OrderRow {
        order_id: number(order_id),
        parent_id: None,
        exchange_order_id: None,
        client_id: None,
        status,
        broker_status: status.to_string().into(),
        message: None,
        instrument: share(),
        side: Side::Buy,
        order_type: OrderType::Limit(Price::from_paise(150_000)),
        product: Product::Mis,
        validity: Validity::Day,
        quantity: Quantity::new(10),
        filled: Quantity::new(filled),
        average_price: if filled == 0 { Price::ZERO } else { Price::from_paise(150_000) },
        placed_at: Timestamp::default(),
        exchange_at: None,
    }
}

/// The row of an order of ours, of which so much is filled at that price.
pub(in crate::orders) fn row_of(
    order: &Tracked,
    number: &BrokerOrderId,
    status: OrderStatus,
    filled: u64,
    paise: i64,
) -> OrderRow {
    OrderRow {
        client_id: Some(order.id.clone()),
        instrument: order.request.instrument.clone(),
        side: order.request.side,
        order_type: order.request.order_type,
        product: order.request.product,
        quantity: order.request.quantity,
        average_price: Price::from_paise(paise),
        placed_at: order.submitted.wall,
        ..row(&number.0, status, filled)
    }
}

/// A slice of that many units, of the whole with that number.
pub(super) fn slice(order_id: &str, whole: &str, units: u64, status: OrderStatus, filled: u64) -> OrderRow {
    OrderRow { parent_id: Some(number(whole)), quantity: Quantity::new(units), ..row(order_id, status, filled) }
}

pub(super) fn bought(units: i64) -> Position {
    Position {
        instrument: share(),
        product: Product::Mis,
        quantity: units,
        average_price: Price::ZERO,
        last_price: Price::ZERO,
        bought: Quantity::ZERO,
        buy_value: Money::ZERO,
        sold: Quantity::ZERO,
        sell_value: Money::ZERO,
    }
}

pub(super) fn trade(order_id: &str) -> Trade {
    Trade {
        trade_id: "1".to_owned(),
        order_id: number(order_id),
        instrument: share(),
        side: Side::Buy,
        product: Product::Mis,
        quantity: Quantity::new(10),
        price: Price::from_paise(150_000),
        at: Timestamp::default(),
    }
}

pub(super) fn book_of(rows: &[OrderRow]) -> LiveState {
    LiveState::new(Vec::new(), rows.to_vec(), Vec::new())
}

impl Scene {
    /// Live orders, in the first generation, an hour before the close.
    pub(super) fn new() -> Self {
        let close = Timestamp::parse_ist(MARKET_CLOSES).expect("a time");
        let now = Now { wall: close - Duration::from_secs(3600), ..Now::default() };
        let (desk, out) = (Desk::new(DeskPolicy::default()), Vec::new());
        let mut scene = Self { desk, now, out, comparisons: 0, under_way: None };
        scene.under_token(1);
        scene
    }

    pub(super) fn under_token(&mut self, generation: u64) {
        let route = Route { venue: Venue::Live, reduce_only: false, generation: Generation(generation) };
        self.desk.leave(route);
        self.desk.arrive(route, self.now, &mut self.out);
    }

    /// The token is in doubt: orders are held.
    pub(super) fn hold(&mut self) {
        let venue = Venue::Blocked(Block::Holding);
        self.desk.leave(Route { venue, reduce_only: false, generation: Generation(1) });
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    pub(super) fn wake(&mut self) {
        self.desk.wake(self.now, &mut self.out);
    }

    /// Ten shares, on their way to the broker.
    pub(super) fn place(&mut self) -> (ClientOrderId, SendId) {
        let request = OrderRequest::new(share(), Side::Buy, 10, OrderType::Limit(Price::from_paise(150_000)));
        let id = self.desk.submit(request, self.now, &mut self.out).expect("the desk takes it");
        (id, self.sent().expect("it is sent").0)
    }

    /// Ten shares, in the market under number 7.
    pub(super) fn working(&mut self) -> ClientOrderId {
        let (id, send) = self.place();
        self.reply(send, Ok(number("7")));
        self.show(&row("7", OrderStatus::Open, 0));
        id
    }

    /// Ten shares whose reply was lost.
    pub(super) fn unknown(&mut self) -> ClientOrderId {
        let (id, send) = self.place();
        self.reply(send, failed(Cause::Unknown));
        id
    }

    pub(super) fn cancel(&mut self, id: &ClientOrderId) -> SendId {
        self.desk.cancel(id, self.now, &mut self.out).expect("the desk takes it");
        self.sent().expect("it is sent").0
    }

    pub(super) fn reply(&mut self, send: SendId, outcome: Outcome<BrokerOrderId>) {
        self.desk.reply(send, outcome, self.now, &mut self.out);
    }

    pub(super) fn show(&mut self, row: &OrderRow) {
        self.desk.update(Book::Live, row, self.now, &mut self.out);
    }

    /// A read that begins and ends now.
    pub(super) fn read(&mut self, state: Option<&LiveState>) {
        let read = self.begin_read();
        self.desk.read(read, state, self.now, &mut self.out);
    }

    pub(super) fn begin_read(&mut self) -> u64 {
        self.comparisons += 1;
        self.desk.compare(self.comparisons, self.now, &mut self.out);
        self.newest_read().or(self.under_way).expect("a read")
    }

    /// The newest read that was asked for since the last question.
    pub(super) fn newest_read(&self) -> Option<u64> {
        let newest = |one: &Action| if let Action::Read { read } = one { Some(*read) } else { None };
        self.out.iter().rev().find_map(newest)
    }

    /// The day of every exchange is over.
    pub(super) fn close(&mut self) {
        self.desk.day_ends(|_, _| true, self.now, &mut self.out);
    }

    pub(super) fn order(&self, id: &ClientOrderId) -> &Tracked {
        self.desk.order(id).expect("an order")
    }

    pub(super) fn status(&self, id: &ClientOrderId) -> OrderStatus {
        self.order(id).status
    }

    pub(super) fn held(&self) -> i64 {
        self.desk.exposure().of(Book::Live, &share(), Product::Mis)
    }

    /// The newest message that was sent since the last question, if there was one.
    pub(super) fn sent(&mut self) -> Option<(SendId, Command)> {
        let newest = |one| if let Action::Send { send, command, .. } = one { Some((send, command)) } else { None };
        std::mem::take(&mut self.out).into_iter().rev().find_map(newest)
    }

    /// Whether the desk wants to look at the broker's book by then.
    pub(super) fn looks_within(&mut self, seconds: u64) -> bool {
        self.pass(seconds);
        self.wake();
        self.under_way = self.newest_read();
        self.out.clear();
        self.under_way.is_some()
    }

    /// The alarms since the last question.
    pub(super) fn alarms(&mut self) -> Vec<String> {
        let out = std::mem::take(&mut self.out).into_iter();
        out.filter_map(|one| if let Action::Alarm(words) = one { Some(words) } else { None }).collect()
    }

    /// What was recorded since the last question.
    pub(super) fn recorded(&mut self) -> Vec<What> {
        let out = std::mem::take(&mut self.out).into_iter();
        out.filter_map(|one| if let Action::Journal(record) = one { Some(record.what) } else { None }).collect()
    }

    /// The answers recorded since the last question.
    pub(super) fn answers(&mut self) -> Vec<String> {
        let what = self.recorded().into_iter();
        what.filter_map(|one| if let What::Answer(words) = one { Some(words) } else { None }).collect()
    }
}
