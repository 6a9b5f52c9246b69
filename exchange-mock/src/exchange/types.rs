//! What goes into the exchange and what comes out of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveTime;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Exchange, Holding, Money, Ohlc, OrderRow, Price, Product, Quantity, Trade};

use super::expiry::Expired;
use super::lines::Latencies;
use crate::FreezeTable;
use crate::charges::Tariff;
use crate::matching::FillsFrom;

/// How an exchange is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Seed of the order numbers. Two exchanges with different seeds give different numbers.
    pub seed: u64,
    /// Whose account it is.
    pub user_id: String,
    /// Cash at the start of the day.
    pub cash: Money,
    /// Shares in the demat account at the start of the day.
    pub holdings: Vec<Holding>,
    /// Oldest price an order may be filled at.
    pub freshness: Duration,
    /// How many units trade in a tick whose volume is not known: an instrument whose feed brings none, and the first
    /// tick of a day, whose volume is the sum since the open.
    pub default_liquidity: Quantity,
    /// What fills orders, beside each other.
    pub fills: FillsFrom,
    /// How long orders are on their way to the exchange, and prices on their way back.
    pub latency: Latencies,
    /// What share of an order's value it needs.
    pub margin: MarginRates,
    /// What trades cost; `None`: nothing is charged. Where the tariff does not cover the day, orders that open a position
    /// are rejected: what they would cost is not known.
    pub charges: Option<Tariff>,
    /// Largest quantity of one order in derivatives.
    pub freeze: FreezeTable,
    /// When the broker closes intraday positions; `None`: never.
    pub square_off: Option<SquareOff>,
}

impl Default for Config {
    /// Seed 1, user `NR0001`, 10 lakh rupees, no holdings, 5 s, 1,000 units, fills from the last price and at once,
    /// the approximate margins, Zerodha's charges, NSE's freeze quantities, no square-off.
    fn default() -> Self {
        Self {
            seed: 1,
            user_id: "NR0001".to_owned(),
            cash: Money::from_rupees(1_000_000),
            holdings: Vec::new(),
            freshness: Duration::from_secs(5),
            default_liquidity: Quantity::new(1_000),
            fills: FillsFrom::LastPrice,
            latency: Latencies::default(),
            margin: MarginRates::default(),
            charges: Some(Tariff::zerodha()),
            freeze: FreezeTable::nse(),
            square_off: None,
        }
    }
}

/// When the broker closes intraday (MIS) positions and takes no new ones that day. IST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SquareOff {
    /// Of shares.
    pub cash: NaiveTime,
    /// Of everything else.
    pub derivatives: NaiveTime,
}

impl SquareOff {
    /// The time of an exchange.
    #[must_use]
    pub const fn of(self, exchange: Exchange) -> NaiveTime {
        if exchange.is_cash() { self.cash } else { self.derivatives }
    }
}

impl Default for SquareOff {
    /// 15:10 and 15:25: an assumption. Brokers' times since the closing auction (2026-08-03) are not known to us.
    fn default() -> Self {
        let time = |minute| NaiveTime::from_hms_opt(15, minute, 0).unwrap_or_default();
        Self { cash: time(10), derivatives: time(25) }
    }
}

/// Margin in percent of value, per product. Approximate: real margins of derivatives come from SPAN files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarginRates {
    /// Delivery.
    pub cnc_percent: u8,
    /// Intraday.
    pub mis_percent: u8,
    /// Overnight derivatives.
    pub nrml_percent: u8,
    /// What part of the proceeds of a delivery sale new orders may use on the same day; the rest comes on the next trading
    /// day (T+1).
    pub cnc_sale_percent: u8,
}

impl MarginRates {
    /// The rate of a product.
    #[must_use]
    pub const fn percent(self, product: Product) -> u8 {
        match product {
            Product::Cnc => self.cnc_percent,
            Product::Mis => self.mis_percent,
            Product::Nrml => self.nrml_percent,
        }
    }
}

impl Default for MarginRates {
    /// 100 %, 20 % (the floor under SEBI's peak-margin rules), 100 %; 80 % of a sale (Kite blocks 20 % of what is sold
    /// from holdings as `utilised.delivery`, by its documentation).
    fn default() -> Self {
        Self { cnc_percent: 100, mis_percent: 20, nrml_percent: 100, cnc_sale_percent: 80 }
    }
}

/// An account's money, item by item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funds {
    /// Cash when the trading day began.
    pub opening: Money,
    /// Cash now: the opening cash and what closing has brought, less charges.
    pub cash: Money,
    /// What new orders may use.
    pub available: Money,
    /// What positions and resting orders use.
    pub used: Money,
    /// Whether `used` is a percentage of value where a broker would take margins from SPAN or its own rules.
    pub approximate: bool,
    /// Gained or lost by closing today, charges not taken.
    pub realised: Money,
    /// What open positions would bring at the last prices, charges not taken. Shares in the demat account are no position.
    pub unrealised: Money,
    /// What today's trades cost so far.
    pub charges: Money,
    /// Worth of what was sold from the demat account today.
    pub delivered: Money,
    /// The part of it that comes on the next trading day only.
    pub withheld: Money,
}

/// What kind of rule a request broke. Brokers name their errors after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectionKind {
    /// A field is missing or wrong.
    Input,
    /// The order, or the market's state, does not allow it.
    Order,
    /// Not enough money.
    Margin,
    /// Not enough shares.
    Holding,
}

/// A request that was refused at once: no order exists, or the existing one is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which kind of rule.
    pub kind: RejectionKind,
    /// Why, in a broker's words.
    pub message: String,
}

impl Rejection {
    pub(crate) fn new(kind: RejectionKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(RejectionKind::Input, message)
    }

    pub(crate) fn no_such_order() -> Self {
        Self::order("Couldn't find that `order_id`.")
    }

    pub(crate) fn no_such_instrument() -> Self {
        Self::input("The instrument you are placing an order for has either expired or does not exist.")
    }

    pub(crate) fn order(message: impl Into<String>) -> Self {
        Self::new(RejectionKind::Order, message)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Rejection {}

/// Something happened to the account. In the order it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// An order has a new row; `broker_status` is the order management system's word.
    Order(Arc<OrderRow>),
    /// An order was filled, in part or whole. Follows the row that counts it.
    Trade(Arc<Trade>),
    /// A contract has expired with a position in it.
    Expired(Expired),
}

/// The market in one instrument, as the ticks of the day told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketState {
    /// Last traded price, or the index' value.
    pub last_price: Price,
    /// The day's range. `close` is the previous day's last price, or this day's first where none is known.
    pub ohlc: Ohlc,
    /// Volume of the day: the highest the feed has told.
    pub volume: Quantity,
    /// By how much the last tick raised the volume.
    pub last_quantity: Quantity,
    /// Worth of what was traded since the first tick seen.
    pub turnover: Money,
    /// When the last tick came.
    pub at: Timestamp,
    /// When the volume last rose.
    pub traded_at: Option<Timestamp>,
    /// Units the last tick offered.
    pub(crate) offered: Quantity,
    /// Volume seen by ticks after the first.
    pub(crate) seen: Quantity,
}

impl MarketState {
    /// Volume-weighted average price of what was traded since the first tick seen; the last price before that.
    #[must_use]
    pub fn average_price(&self) -> Price {
        if self.seen.is_zero() { self.last_price } else { self.turnover.per_unit(self.seen) }
    }

    /// The market after the first tick of a day.
    pub(crate) fn first(price: Price, close: Price, volume: Quantity, offered: Quantity, at: Timestamp) -> Self {
        Self {
            last_price: price,
            ohlc: Ohlc { open: price, high: price, low: price, close },
            volume,
            last_quantity: Quantity::ZERO,
            turnover: Money::ZERO,
            at,
            traded_at: None,
            offered,
            seen: Quantity::ZERO,
        }
    }

    /// Takes in the next tick of the same day. Replays and feeds may tell an older volume late: it counts once.
    pub(crate) fn tick(&mut self, price: Price, volume: Quantity, default_liquidity: Quantity, at: Timestamp) {
        let known = !(volume.is_zero() && self.volume.is_zero());
        let traded = volume.less(self.volume);
        self.last_price = price;
        self.ohlc.high = self.ohlc.high.max(price);
        self.ohlc.low = self.ohlc.low.min(price);
        self.at = at;
        self.offered = if known { traded } else { default_liquidity };
        if !traded.is_zero() {
            self.volume = volume;
            self.last_quantity = traded;
            self.traded_at = Some(at);
            if let Some(worth) = price.times(traded) {
                self.turnover = self.turnover + worth;
                self.seen = self.seen + traded;
            }
        }
    }
}
