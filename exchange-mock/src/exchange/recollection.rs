//! What a journal remembers of the paper exchange, put together again: its orders, the fills they grew by, and the
//! contracts that were settled.
//!
//! A journal keeps what was asked for and how each order stood from then on; it keeps neither the market nor a trade of
//! its own. [`Recollection`] reads such a story in its order. A fill is found where an order's units grew, and its price
//! from how the average moved; the average is rounded, so a price that must have been whole paise is made so again.

use std::collections::BTreeMap;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, ClientOrderId, InstrumentKey, Money, OrderChange, OrderRequest, OrderStatus, Price, Product,
    Quantity, Trade,
};

/// An order of before, as far as its story was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastOrder {
    /// Its number.
    pub order_id: BrokerOrderId,
    /// Its tag.
    pub client_id: Option<ClientOrderId>,
    /// What was asked for, with the changes that were taken.
    pub request: OrderRequest,
    /// How it stood last.
    pub status: OrderStatus,
    /// The last words about it.
    pub message: Option<String>,
    /// When it came.
    pub placed_at: Timestamp,
    /// From when its time to live counts.
    pub valid_from: Timestamp,
    /// Only ticks stamped then or later may fill it.
    pub entered: Timestamp,
    /// Rank in the queue: lower came first.
    pub rank: u64,
}

/// A position in a contract that had ended was closed at what it was worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The contract.
    pub instrument: InstrumentKey,
    /// In which product it was held.
    pub product: Product,
    /// Worth of a unit.
    pub price: Price,
    /// When.
    pub at: Timestamp,
}

/// What an exchange had, for [`MockExchange::restore`](crate::MockExchange::restore).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Orders the exchange gave a number, in that order.
    pub orders: Vec<PastOrder>,
    /// Every fill, oldest first.
    pub trades: Vec<Trade>,
    /// Every contract that was settled, oldest first.
    pub settlements: Vec<Settlement>,
}

/// How an order stands, by one line of its story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Its status.
    pub status: OrderStatus,
    /// Its number at the exchange, once it has one.
    pub order_id: Option<BrokerOrderId>,
    /// Units filled so far.
    pub filled: Quantity,
    /// At what price on average.
    pub average_price: Price,
    /// Words about it.
    pub message: Option<String>,
}

/// Reads a story, oldest line first, and knows in the end what [`MockExchange::restore`](crate::MockExchange::restore)
/// needs. Lines about an order that was never asked for are passed over.
#[derive(Clone, Debug, Default)]
pub struct Recollection {
    orders: BTreeMap<ClientOrderId, Remembered>,
    /// Orders the exchange has given a number, in that order.
    placed: Vec<ClientOrderId>,
    trades: Vec<Trade>,
    settlements: Vec<Settlement>,
    lines: u64,
}

#[derive(Clone, Debug)]
struct Remembered {
    past: PastOrder,
    /// A change on its way; the next row that reads as accepted says that it was taken.
    changing: Option<OrderChange>,
    filled: Quantity,
    value: Money,
}

impl Recollection {
    /// Somebody asked for an order.
    pub fn asked(&mut self, id: &ClientOrderId, request: &OrderRequest, at: Timestamp) {
        let past = PastOrder {
            order_id: BrokerOrderId::new(""),
            client_id: Some(id.clone()),
            request: request.clone(),
            status: OrderStatus::Journalled,
            message: None,
            placed_at: at,
            valid_from: at,
            entered: at,
            rank: 0,
        };
        let remembered = Remembered { past, changing: None, filled: Quantity::ZERO, value: Money::ZERO };
        self.orders.insert(id.clone(), remembered);
    }

    /// A change of it was sent.
    pub fn changing(&mut self, id: &ClientOrderId, change: &OrderChange) {
        if let Some(order) = self.orders.get_mut(id) {
            order.changing = Some(change.clone());
        }
    }

    /// A change of it, or a cancel, got an answer that is no state: the exchange refused it, and the order is as it was.
    pub fn refused(&mut self, id: &ClientOrderId) {
        if let Some(order) = self.orders.get_mut(id) {
            order.changing = None;
        }
    }

    /// It stands so from `at` on.
    pub fn stands(&mut self, id: &ClientOrderId, stand: &Stand, at: Timestamp) {
        self.lines += 1;
        let line = self.lines;
        let Some(order) = self.orders.get_mut(id) else { return };
        let past = &mut order.past;
        if let Some(order_id) = stand.order_id.as_ref().filter(|_| past.order_id.0.is_empty()) {
            past.order_id = order_id.clone();
            (past.placed_at, past.valid_from, past.entered, past.rank) = (at, at, at, line);
            self.placed.push(id.clone());
        }
        if stand.status == OrderStatus::Accepted
            && let Some(change) = order.changing.take()
        {
            take_change(past, &change, line, at);
        }
        // A stop that fires goes behind those at its price.
        if past.status == OrderStatus::TriggerPending && stand.status == OrderStatus::Open {
            past.rank = line;
        }
        past.status = stand.status;
        past.message.clone_from(&stand.message);
        let new = stand.filled.less(order.filled);
        if new.is_zero() {
            return;
        }
        let price = fill_price(order.value, order.filled, stand.average_price, stand.filled);
        order.value = order.value + price.times(new).unwrap_or(Money::ZERO);
        order.filled = stand.filled;
        self.trades.push(Trade {
            trade_id: String::new(),
            order_id: past.order_id.clone(),
            instrument: past.request.instrument.clone(),
            side: past.request.side,
            product: past.request.product,
            quantity: new,
            price,
            at,
        });
    }

    /// A contract was settled.
    pub fn settled(&mut self, settlement: Settlement) {
        self.settlements.push(settlement);
    }

    /// Ends an order that the exchange will not have again.
    pub fn ends(&mut self, id: &ClientOrderId, status: OrderStatus) {
        if let Some(order) = self.orders.get_mut(id) {
            order.past.status = status;
        }
    }

    /// What the story told.
    #[must_use]
    pub fn into_past(mut self) -> Past {
        let orders = self.placed.iter().filter_map(|id| self.orders.remove(id)).map(|order| order.past).collect();
        Past { orders, trades: self.trades, settlements: self.settlements }
    }
}

/// The exchange took a change: another type, or more units, cost the order its place.
fn take_change(past: &mut PastOrder, change: &OrderChange, line: u64, at: Timestamp) {
    let before = past.request.clone();
    let request = &mut past.request;
    request.quantity = change.quantity.unwrap_or(request.quantity);
    request.order_type = change.order_type.unwrap_or(request.order_type);
    if let Some(validity) = change.validity {
        request.validity = validity;
        past.valid_from = at;
    }
    if request.order_type != before.order_type || request.quantity > before.quantity {
        (past.rank, past.entered) = (line, at);
    }
}

/// At what price an order was filled whose units and average price went from one stand to the next.
fn fill_price(value: Money, filled: Quantity, average: Price, now_filled: Quantity) -> Price {
    const PAISA: i64 = 100;
    let new = now_filled.less(filled);
    let worth = average.times(now_filled).unwrap_or(value) - value;
    let price = worth.per_unit(new);
    // Half a unit for each unit filled is what the rounding of the average can hide.
    let hidden = i128::from(now_filled.get()) / (2 * i128::from(new.get().max(1))) + 1;
    let units = i128::from(price.units());
    let whole = (units + i128::from(PAISA / 2)).div_euclid(i128::from(PAISA)) * i128::from(PAISA);
    let known = hidden < i128::from(PAISA / 2) && (whole - units).abs() <= hidden;
    i64::try_from(whole).ok().filter(|_| known).map_or(price, Price::from_units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nirantar_brokers::{Exchange, InstrumentKey, OrderType, Side};

    #[test]
    fn fills_and_their_prices_are_found_again_in_how_an_order_grew() {
        let (id, at) = ("N1".parse().unwrap(), Timestamp::default());
        let limit = OrderType::Limit(Price::from_paise(10_050));
        let request = OrderRequest::new(InstrumentKey::new(Exchange::Nse, "X"), Side::Buy, 10, limit);
        let mut story = Recollection::default();
        story.asked(&id, &request, at);
        let (mut value, mut filled) = (Money::ZERO, 0);
        let fills = [(3_u64, 10_005), (1, 9_999), (5, 10_001)];
        for (quantity, paise) in fills {
            filled += quantity;
            value = value + Price::from_paise(paise).times(Quantity::new(quantity)).unwrap();
            let stand = Stand {
                status: OrderStatus::Open,
                order_id: Some(BrokerOrderId::new("7")),
                filled: Quantity::new(filled),
                average_price: value.per_unit(Quantity::new(filled)),
                message: None,
            };
            story.stands(&id, &stand, at);
            story.stands(&id, &stand, at);
        }
        let Past { orders, trades, .. } = story.into_past();
        assert_eq!(orders.len(), 1);
        let found: Vec<_> = trades.iter().map(|trade| (trade.quantity.get(), trade.price)).collect();
        assert_eq!(found, fills.map(|(quantity, paise)| (quantity, Price::from_paise(paise))));
    }

    #[test]
    fn numbers_of_any_size_make_no_panic() {
        for (filled, average, now) in [(0, i64::MAX, u64::MAX), (u64::MAX - 1, i64::MIN, u64::MAX), (0, -5, 1)] {
            let (filled, now) = (Quantity::new(filled), Quantity::new(now));
            let _ = fill_price(Money::from_units(i64::MIN), filled, Price::from_units(average), now);
        }
    }
}
