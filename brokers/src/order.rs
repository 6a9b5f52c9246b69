//! Orders: what is asked for, what became of it, and which changes of state are legal.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use smol_str::SmolStr;

use crate::time::Timestamp;
use crate::{Book, ClientOrderId, InstrumentKey, Price, Quantity};

/// Buy or sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Buy.
    Buy,
    /// Sell.
    Sell,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `quantity` as a change of position: above zero for a buy.
    #[must_use]
    pub fn signed(self, quantity: Quantity) -> i64 {
        match self {
            Self::Buy => quantity.signed(),
            Self::Sell => -quantity.signed(),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        })
    }
}

/// How the price of an order is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderType {
    /// At once, no further from the last price than the protection.
    Market(MarketProtection),
    /// At this price or better.
    Limit(Price),
    /// Stop-limit (`SL`): a limit order once the trigger is reached.
    StopLimit {
        /// A buy is triggered at or above, a sell at or below.
        trigger: Price,
        /// Limit from then on.
        limit: Price,
    },
    /// Stop-market (`SL-M`): a protected market order once the trigger is reached.
    StopMarket {
        /// A buy is triggered at or above, a sell at or below.
        trigger: Price,
        /// How far from the last price it may then trade.
        protection: MarketProtection,
    },
}

impl OrderType {
    /// The limit price; `None` for market and stop-market.
    #[must_use]
    pub const fn limit(self) -> Option<Price> {
        match self {
            Self::Limit(limit) | Self::StopLimit { limit, .. } => Some(limit),
            Self::Market(_) | Self::StopMarket { .. } => None,
        }
    }

    /// The trigger price of a stop order.
    #[must_use]
    pub const fn trigger(self) -> Option<Price> {
        match self {
            Self::StopLimit { trigger, .. } | Self::StopMarket { trigger, .. } => Some(trigger),
            Self::Market(_) | Self::Limit(_) => None,
        }
    }
}

/// How far from the last price a market order may trade. There is no "none": since 1 April 2026 exchanges refuse
/// unprotected market orders sent by API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MarketProtection {
    /// As far as the broker thinks right.
    #[default]
    Automatic,
    /// That many hundredths of a percent, 1 to 10,000.
    BasisPoints(u16),
}

/// How long an order stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity {
    /// Until the day ends.
    Day,
    /// Filled at once as far as possible, the rest cancelled.
    Ioc,
    /// So many minutes.
    Ttl {
        /// 1 or more.
        minutes: u16,
    },
}

/// Which product an order makes or closes a position in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Delivery of shares.
    Cnc,
    /// Intraday; squared off by the broker before the close.
    Mis,
    /// Overnight futures and options.
    Nrml,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cnc => "CNC",
            Self::Mis => "MIS",
            Self::Nrml => "NRML",
        })
    }
}

/// What an order is for: only with this can the engine tell an exit of live exposure from a new paper trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// New exposure, wherever orders go now.
    Open,
    /// Less exposure in that book, and nowhere else.
    Reduce(Book),
}

/// An order as a strategy asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    /// What.
    pub instrument: InstrumentKey,
    /// Buy or sell.
    pub side: Side,
    /// How many, a multiple of the lot.
    pub quantity: Quantity,
    /// At what price.
    pub order_type: OrderType,
    /// For how long at the exchange.
    pub validity: Validity,
    /// In which product.
    pub product: Product,
    /// What for.
    pub intent: Intent,
    /// How long after it is submitted it may still be sent. After that it is refused, never sent late.
    pub valid_for: Duration,
}

impl OrderRequest {
    /// A day order in MIS for new exposure, to be sent within 5 seconds: change the fields that differ.
    #[must_use]
    pub fn new(instrument: InstrumentKey, side: Side, quantity: u64, order_type: OrderType) -> Self {
        Self {
            instrument,
            side,
            quantity: Quantity::new(quantity),
            order_type,
            validity: Validity::Day,
            product: Product::Mis,
            intent: Intent::Open,
            valid_for: Duration::from_secs(5),
        }
    }
}

/// What an order in the market is changed to. `None` leaves a field as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OrderChange {
    /// New total quantity, what is filled already included.
    pub quantity: Option<Quantity>,
    /// New type with its prices.
    pub order_type: Option<OrderType>,
    /// New validity.
    pub validity: Option<Validity>,
}

/// The broker's number for an order. Text: up to 19 digits, more than a double holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerOrderId(pub SmolStr);

impl BrokerOrderId {
    /// That number.
    #[must_use]
    pub fn new(number: impl Into<SmolStr>) -> Self {
        Self(number.into())
    }
}

impl fmt::Display for BrokerOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderStatus {
    /// Written to the journal; no byte has left.
    Journalled,
    /// Bytes may have left; no answer yet.
    Sent,
    /// The answer was lost or made no sense: the order may or may not exist.
    Unknown,
    /// Registered with the broker, not yet at the exchange.
    Accepted,
    /// A stop waiting for its trigger.
    TriggerPending,
    /// In the book, perhaps partly filled.
    Open,
    /// Filled to the last unit.
    Filled,
    /// Cancelled, perhaps after a part was filled.
    Cancelled,
    /// The broker or the exchange said no.
    Rejected,
    /// Never acted on: refused by us, or by the broker before it looked at the order.
    Refused,
    /// Believed never to have reached the broker, after an unknown. Later evidence may overturn it.
    NotPlaced,
    /// Still unknown when the trading day ended: an operator must look.
    Unresolved,
}

/// A change of state that cannot happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {from} cannot become {to}")]
pub struct IllegalTransition {
    /// What the order is.
    pub from: OrderStatus,
    /// What it was to become.
    pub to: OrderStatus,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 12] = [
        Self::Journalled,
        Self::Sent,
        Self::Unknown,
        Self::Accepted,
        Self::TriggerPending,
        Self::Open,
        Self::Filled,
        Self::Cancelled,
        Self::Rejected,
        Self::Refused,
        Self::NotPlaced,
        Self::Unresolved,
    ];

    /// Whether nothing more is expected. [`NotPlaced`](Self::NotPlaced) and [`Unresolved`](Self::Unresolved) are final
    /// until evidence to the contrary.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Filled | Self::Cancelled | Self::Rejected | Self::Refused | Self::NotPlaced | Self::Unresolved
        )
    }

    /// Whether the order may be working at the exchange now.
    #[must_use]
    pub const fn may_be_working(self) -> bool {
        matches!(self, Self::Sent | Self::Unknown | Self::Accepted | Self::TriggerPending | Self::Open)
    }

    /// Whether an order that is `self` may become `next`. Staying what it is is no transition.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        use OrderStatus as S;
        match self {
            S::Journalled => matches!(next, S::Sent | S::Refused),
            // What the broker knows, it may tell at any moment, an update often before the reply.
            S::Sent => !matches!(next, S::Journalled | S::Sent | S::NotPlaced | S::Unresolved),
            S::Unknown => !matches!(next, S::Journalled | S::Sent | S::Unknown),
            S::Accepted => {
                matches!(next, S::TriggerPending | S::Open | S::Filled | S::Cancelled | S::Rejected | S::Unresolved)
            }
            // A broker's transitional rows (MODIFY PENDING …) read as Accepted again.
            S::TriggerPending => {
                matches!(next, S::Accepted | S::Open | S::Filled | S::Cancelled | S::Rejected | S::Unresolved)
            }
            S::Open => {
                matches!(next, S::Accepted | S::TriggerPending | S::Filled | S::Cancelled | S::Rejected | S::Unresolved)
            }
            S::NotPlaced | S::Unresolved => {
                matches!(next, S::Accepted | S::TriggerPending | S::Open | S::Filled | S::Cancelled | S::Rejected)
            }
            S::Filled | S::Cancelled | S::Rejected | S::Refused => false,
        }
    }

    /// The next status, if the step is legal or no step at all.
    ///
    /// # Errors
    /// [`IllegalTransition`] if an order in this state cannot become `next`: the caller keeps the old state and says so
    /// loudly, since the broker's story and ours have parted.
    pub fn become_(self, next: Self) -> Result<Self, IllegalTransition> {
        if self == next || self.can_become(next) { Ok(next) } else { Err(IllegalTransition { from: self, to: next }) }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Journalled => "journalled",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::TriggerPending => "trigger pending",
            Self::Open => "open",
            Self::Filled => "filled",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::NotPlaced => "not placed",
            Self::Unresolved => "unresolved",
        })
    }
}

/// An order as the broker's book, history or update stream shows it. Open size is `quantity - filled` while it works:
/// brokers' own "pending" columns are not to be trusted after a cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// The broker's number.
    pub order_id: BrokerOrderId,
    /// The auto-sliced or bracket order it belongs to.
    pub parent_id: Option<BrokerOrderId>,
    /// The exchange's number, once it got there.
    pub exchange_order_id: Option<SmolStr>,
    /// Our number, if one of the row's tags is one.
    pub client_id: Option<ClientOrderId>,
    /// What the row says of its state, in our words.
    pub status: OrderStatus,
    /// The broker's own word for it.
    pub broker_status: Cow<'static, str>,
    /// Why, in the broker's words.
    pub message: Option<String>,
    /// What.
    pub instrument: InstrumentKey,
    /// Buy or sell.
    pub side: Side,
    /// The type as the row shows it. A protected market order shows as a limit order: never match on this.
    pub order_type: OrderType,
    /// Its product.
    pub product: Product,
    /// How long it stays.
    pub validity: Validity,
    /// How many were asked for.
    pub quantity: Quantity,
    /// How many are filled.
    pub filled: Quantity,
    /// At what price on average; zero if none.
    pub average_price: Price,
    /// When the broker took it.
    pub placed_at: Timestamp,
    /// When the exchange last touched it.
    pub exchange_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_order_stays_finished() {
        for done in [OrderStatus::Filled, OrderStatus::Cancelled, OrderStatus::Rejected, OrderStatus::Refused] {
            for next in OrderStatus::ALL {
                assert!(done == next || done.become_(next).is_err(), "{done} became {next}");
            }
        }
    }

    #[test]
    fn nothing_becomes_unsent_again() {
        for from in OrderStatus::ALL {
            assert!(!from.can_become(OrderStatus::Journalled), "{from}");
            assert!(from == OrderStatus::Journalled || !from.can_become(OrderStatus::Sent), "{from}");
        }
    }

    #[test]
    fn a_believed_absence_can_be_overturned() {
        assert!(OrderStatus::NotPlaced.can_become(OrderStatus::Filled));
        assert!(!OrderStatus::Sent.can_become(OrderStatus::NotPlaced), "absence is believed only after an unknown");
    }
}
