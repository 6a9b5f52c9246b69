//! What goes into the matching core and what comes out of it.

use std::num::NonZeroU32;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Money, Price, Quantity, Side};

/// An order's number: its place in the list of whoever drives the core. The core only hands it back.
pub type OrderNo = usize;

/// Whose order it is. Positions are counted by account, and [`SelfTrade`] looks at it.
pub type Account = u16;

/// Names an order that rests or waits, in constant time and for as long as it is there: a key whose order is gone names
/// nothing, even when another order has taken its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) slot: u32,
    pub(super) generation: NonZeroU32,
}

/// What happens when an order meets one of the same account.
///
/// NSE's self-trade prevention looks at the PAN and cancels one of the two orders, as the member chose; which one NSE
/// takes by default is not asserted here. The paper exchange trades them, as it always has ([`SelfTrade::Trade`]): its
/// one account is a stand-in for a market, and strategies in it meet each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SelfTrade {
    /// They trade.
    #[default]
    Trade,
    /// The order that was there first is cancelled, and the later one goes on.
    CancelResting,
    /// What is left of the later order is cancelled.
    CancelIncoming,
}

/// A limit order as it lies in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Working {
    /// Its number.
    pub order: OrderNo,
    /// Whose it is.
    pub account: Account,
    /// Buy or sell.
    pub side: Side,
    /// It trades at this price or better.
    pub limit: Price,
    /// How many are still wanted; at most [`MAX_QUANTITY`](super::MAX_QUANTITY), more is cut to that.
    pub open: Quantity,
    /// How many of the open ones the market sees at a time; zero for all of them.
    pub disclosed: Quantity,
    /// Rank in time within its book; lower came first. Given by the book: what is handed in is not looked at.
    pub priority: u64,
    /// Only ticks stamped then or later may fill it.
    pub entered: Timestamp,
    /// Whether a tick that did not reach it has passed, so that the market has to come to its limit.
    pub rested: bool,
}

/// A stop that waits for its trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// A buy fires at or above, a sell at or below.
    pub trigger: Price,
    /// The limit order it becomes. Of a stop-market order, `limit` is what it would be with the market at the trigger.
    pub working: Working,
    /// Of a stop-market order, how far from the last price it may trade, in hundredths of a percent; zero for a
    /// stop-limit.
    pub protection: u16,
}

/// One order filled by so many at that price. A trade between two orders of a book is two of these: the buyer's, then
/// the seller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The order's number.
    pub order: OrderNo,
    /// Whose it is.
    pub account: Account,
    /// Whether it bought or sold.
    pub side: Side,
    /// How many.
    pub quantity: Quantity,
    /// At what price.
    pub price: Price,
    /// The price times how many; the most there is where that is more.
    pub value: Money,
    /// How many it still wants.
    pub open: Quantity,
}

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A stop that waits for its trigger.
    Waiting,
    /// In the market.
    Open,
    /// A stop was triggered, and is in the market now.
    Triggered,
    /// Wholly filled.
    Filled,
    /// What was left of it is gone.
    Cancelled(Cause),
}

impl State {
    /// Whether nothing can become of it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled(_))
    }
}

/// Why what was left of an order was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was asked for.
    Asked,
    /// Immediate or cancel.
    Ioc,
    /// It met an order of its own account.
    SelfTrade,
    /// The day ended.
    DayEnd,
}

/// An order's record, told whenever it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub order: OrderNo,
    /// Whose it is.
    pub account: Account,
    /// Buy or sell.
    pub side: Side,
    /// How it stands now.
    pub state: State,
    /// Its limit.
    pub limit: Price,
    /// How many are still wanted, or were when it was cancelled.
    pub open: Quantity,
}

/// Takes what the core tells, in the order in which it happens. Nothing is allocated on the way.
pub trait Sink {
    /// An order stands so now.
    fn record(&mut self, record: Record);

    /// The price that triggered a stop. The record that says so follows.
    fn fired(&mut self, order: OrderNo, last: Price) {
        let _ = (order, last);
    }

    /// An order was filled. The record that counts it follows.
    fn fill(&mut self, fill: Fill);

    /// An order was filled, and stands so now. Here for who tells both on as one.
    #[inline(always)]
    fn filled(&mut self, fill: Fill, record: Record) {
        self.fill(fill);
        self.record(record);
    }

    /// A position changed, where [`Positions`](super::Positions) are kept. Follows the fill that changed it, and the
    /// record that counts that.
    fn position(&mut self, account: Account, position: super::Position) {
        let _ = (account, position);
    }

    /// The limit of a stop-market order that is triggered with the market at `last`, where it is not just the
    /// protection it came with.
    fn protected_limit(&mut self, order: OrderNo, last: Price) -> Option<Price> {
        let _ = (order, last);
        None
    }
}

/// Nobody listens.
impl Sink for () {
    fn record(&mut self, _: Record) {}
    fn fill(&mut self, _: Fill) {}
}

/// Why the core does not take an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It wants nothing, or more than [`MAX_QUANTITY`](super::MAX_QUANTITY).
    #[error("order {order}: quantity {quantity} is not between 1 and 4294967295")]
    Quantity {
        /// The order.
        order: OrderNo,
        /// What it wanted.
        quantity: Quantity,
    },
    /// A stop whose trigger lies beyond its limit could never trade at its trigger.
    #[error("order {order}: the trigger {trigger} lies beyond the limit {limit}")]
    Trigger {
        /// The order.
        order: OrderNo,
        /// Its trigger.
        trigger: Price,
        /// Its limit.
        limit: Price,
    },
    /// The disclosed part is less than a tenth of the order, the least NSE takes, or more than the whole.
    #[error("order {order}: disclosed {disclosed} of {quantity}: at least a tenth and at most all of it is expected")]
    Disclosed {
        /// The order.
        order: OrderNo,
        /// What it disclosed.
        disclosed: Quantity,
        /// What it wanted.
        quantity: Quantity,
    },
    /// A market order before there was any price to protect it with.
    #[error("order {order}: a market order needs a last price for its protection, and there is none yet")]
    NoLastPrice {
        /// The order.
        order: OrderNo,
    },
}
