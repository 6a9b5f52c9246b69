//! A day of the paper book, put together from records. Pure: the same records always give the same day.
//!
//! The fills and settlements of the journal are played into an account of the paper exchange, day by day, so that settlement, charges and
//! profit are reckoned by the code that trades.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, Holding, InstrumentKey, Money, Position, Price, Product, Quantity, Trade,
};
use nirantar_exchange_mock::charges::{Note, Tariff};
use nirantar_exchange_mock::{Calendar, Config, Funds, MockExchange, Past, Recollection, Settlement, Stand};

use crate::cli::orders::story::{Story, stories};
use crate::config::BrokerName;
use crate::orders::{CommandKind, Record, What};

/// A trading day of one account's paper book.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) date: NaiveDate,
    /// Whose charges are taken.
    pub(super) broker: String,
    /// Orders of that day.
    pub(super) orders: Vec<Story>,
    /// Fills of that day.
    pub(super) trades: Vec<Fill>,
    /// Contracts that had ended and were settled on that day.
    pub(super) settlements: Vec<Settlement>,
    /// Positions at its end, or now; flat ones of that day too.
    pub(super) positions: Vec<Held>,
    pub(super) holdings: Vec<Holding>,
    pub(super) note: Note,
    /// Why some fill of the day is not charged.
    pub(super) uncharged: Option<String>,
    pub(super) funds: Funds,
}

/// A fill and the order it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Fill {
    pub(super) order: Option<ClientOrderId>,
    pub(super) trade: Trade,
}

/// A position and what it has brought.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) position: Position,
    pub(super) realised: Money,
    pub(super) unrealised: Money,
}

impl Held {
    /// Whether something of it is open. What was sold out of the demat account is not.
    pub(super) fn is_open(&self) -> bool {
        self.position.quantity > 0 || (self.position.quantity < 0 && self.position.product != Product::Cnc)
    }
}

impl Day {
    /// The day as these records tell it; of today until `now`.
    pub(super) fn of(records: &[Record], broker: BrokerName, date: NaiveDate, now: Timestamp) -> Self {
        let Past { orders, trades, settlements } = recollected(records).into_past();
        let ids: BTreeMap<BrokerOrderId, ClientOrderId> =
            orders.into_iter().filter_map(|order| Some((order.order_id, order.client_id?))).collect();
        let trades = trades.into_iter().filter(|trade| trade.at.ist_date() <= date).collect();
        let settlements = settlements.into_iter().filter(|settlement| settlement.at.ist_date() <= date).collect();
        let past = Past { orders: Vec::new(), trades, settlements };

        let tariff = Tariff::of_api(broker.as_str()).unwrap_or_else(|_| Tariff::zerodha());
        let charged_by = tariff.broker().to_owned();
        let config = Config { charges: Some(tariff), ..Config::default() };
        let mut exchange = MockExchange::new(config, Vec::new(), Calendar::nse());
        let end = date.succ_opt().map_or(now, |next| Timestamp::from_ist_parts(next, NaiveTime::MIN));
        let end = Timestamp::from_nanos(end.as_nanos().saturating_sub(1)).min(now);
        exchange.restore(&past, end);
        let mut last: BTreeMap<&InstrumentKey, Price> = BTreeMap::new();
        for trade in &past.trades {
            last.insert(&trade.instrument, trade.price);
        }
        for settlement in &past.settlements {
            last.insert(&settlement.instrument, settlement.price);
        }
        for (instrument, price) in last {
            exchange.price(instrument, price, Quantity::ZERO, end);
        }

        let began = |story: &Story| story.began().is_some_and(|at| at.ist_date() == date);
        let of_the_day = |story: &Story| story.book == Book::Paper && began(story);
        Self {
            date,
            broker: charged_by,
            orders: stories(records).into_iter().filter(of_the_day).collect(),
            positions: exchange.positions().into_iter().map(|position| held(&exchange, position)).collect(),
            holdings: exchange.holdings(),
            note: exchange.contract_note(date).unwrap_or(Note { date, columns: Vec::new() }),
            uncharged: exchange.uncharged().map(|uncovered| uncovered.to_string()),
            funds: exchange.funds(),
            settlements: past.settlements.into_iter().filter(|settled| settled.at.ist_date() == date).collect(),
            trades: past
                .trades
                .into_iter()
                .filter(|trade| trade.at.ist_date() == date)
                .map(|trade| Fill { order: ids.get(&trade.order_id).cloned(), trade })
                .collect(),
        }
    }

    /// Whether nothing happened and nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.trades.is_empty() && self.positions.is_empty() && self.holdings.is_empty()
    }

    /// Realised and unrealised less charges.
    pub(super) fn net(&self) -> Money {
        self.funds.realised + self.funds.unrealised - self.funds.charges
    }
}

/// What the records tell of paper, as the engine reads them at its start.
fn recollected(records: &[Record]) -> Recollection {
    let mut story = Recollection::default();
    for Record { at, id, what, .. } in records.iter().filter(|record| record.book == Book::Paper) {
        if let What::Settled { instrument, product, price } = what {
            let (instrument, product, price) = (instrument.clone(), *product, *price);
            story.settled(Settlement { instrument, product, price, at: *at });
        }
        let Some(id) = id else { continue };
        match what {
            What::Intent(request) => story.asked(id, request, *at),
            What::Sending { command: CommandKind::Modify(change), .. } => story.changing(id, change),
            What::Answer(_) => story.refused(id),
            What::State { status, broker_id, filled, average_price, message, .. } => {
                let (order_id, message) = (broker_id.clone(), message.clone());
                let (status, filled, average_price) = (*status, *filled, *average_price);
                story.stands(id, &Stand { status, order_id, filled, average_price, message }, *at);
            }
            _ => {}
        }
    }
    story
}

fn held(exchange: &MockExchange, position: Position) -> Held {
    let realised = exchange.realised(&position.instrument, position.product);
    let open = Quantity::new(position.quantity.unsigned_abs());
    let worth = position.last_price.times(open).unwrap_or(Money::ZERO);
    let worth = if position.quantity < 0 { -worth } else { worth };
    let gained = position.sell_value - position.buy_value + worth - realised;
    let held = Held { position, realised, unrealised: gained };
    if held.is_open() { held } else { Held { unrealised: Money::ZERO, ..held } }
}
