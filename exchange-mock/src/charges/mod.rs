//! What trading costs: brokerage and the charges of exchange, SEBI and state, by trade date, item by item.
//!
//! Every rate stands in one dated table ([`ChargeTable`]; the built-in one is `rates.csv`, each row with its source and
//! how sure it is), because all of them have changed within two years. A table that says nothing, or two things, about
//! some day is refused when it is loaded; a trade on a day that it does not cover is an error ([`Uncovered`]), never a
//! silent zero.
//!
//! The rounding rule, kept in [`Rounding`] and nowhere else: a contract note has a column for each exchange and
//! [`Segment`]; in a column each item is worked out over the turnover of the whole day and then rounded once, half up, to
//! the paisa. Brokerage is rounded by order, before it is summed. GST is taken of the rounded brokerage, transaction
//! charge and SEBI fee of its column, so that a reader can check a note from what is printed on it. Brokers are said to
//! round STT and stamp duty to the rupee; that is unconfirmed, so it is a setting ([`Rounding::to_the_rupee`]) and not
//! the default.
//!
//! What it gets wrong: shares that are bought and sold on one day under CNC are charged as delivery, though brokers turn
//! them into intraday; groups of BSE shares and options with a charge of their own are not told apart; currency and
//! commodities are not in the built-in table; levies a broker adds for itself (call and trade, square-off) are not taken.

#[cfg(test)]
mod contract_notes;
mod day;
mod rate;
mod table;
#[cfg(test)]
mod table_tests;

use std::fmt;
use std::ops::Add;
use std::sync::{Arc, LazyLock};

use chrono::NaiveDate;
use nirantar_brokers::{Exchange, InstrumentKind, Money, Product};

pub use day::{Column, DayCharges, Fill, Note};
pub use rate::{Rounding, Step};
pub use table::{BadTable, ChargeTable};

/// What is traded, as far as charges tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Shares that are delivered (CNC).
    Delivery,
    /// Shares within the day (MIS).
    Intraday,
    /// Futures.
    Futures,
    /// Options; their turnover is the premium.
    Options,
    /// Options that end in the money; their turnover is what they are settled at.
    Exercise,
}

impl Segment {
    /// Every segment, in order.
    pub const ALL: [Self; 5] = [Self::Delivery, Self::Intraday, Self::Futures, Self::Options, Self::Exercise];

    /// Its name in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Intraday => "intraday",
            Self::Futures => "futures",
            Self::Options => "options",
            Self::Exercise => "exercise",
        }
    }

    /// Where a trade of such an instrument under that product counts. An index is not traded; if it were, as a share.
    #[must_use]
    pub const fn of(kind: InstrumentKind, product: Product) -> Self {
        match (kind, product) {
            (InstrumentKind::Future, _) => Self::Futures,
            (InstrumentKind::Call | InstrumentKind::Put, _) => Self::Options,
            (InstrumentKind::Equity | InstrumentKind::Index, Product::Cnc) => Self::Delivery,
            (InstrumentKind::Equity | InstrumentKind::Index, _) => Self::Intraday,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of a contract note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// The broker's own.
    Brokerage,
    /// Securities transaction tax.
    Stt,
    /// The exchange's transaction charge, its investor protection fund included.
    Exchange,
    /// SEBI's turnover fee.
    Sebi,
    /// Stamp duty.
    Stamp,
    /// Goods and services tax on brokerage, transaction charge and SEBI fee.
    Gst,
    /// What the depository participant takes for a scrip that leaves the demat account, its GST included. It is
    /// debited beside the contract note.
    Dp,
}

impl Item {
    /// Every item, in the order of a contract note.
    pub const ALL: [Self; 7] =
        [Self::Brokerage, Self::Stt, Self::Exchange, Self::Sebi, Self::Stamp, Self::Gst, Self::Dp];

    /// Its name in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brokerage => "brokerage",
            Self::Stt => "stt",
            Self::Exchange => "exchange",
            Self::Sebi => "sebi",
            Self::Stamp => "stamp",
            Self::Gst => "gst",
            Self::Dp => "dp",
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sums by item. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each field is the item of its name")]
pub struct Charges {
    pub brokerage: Money,
    pub stt: Money,
    pub exchange: Money,
    pub sebi: Money,
    pub stamp: Money,
    pub gst: Money,
    pub dp: Money,
}

impl Charges {
    /// One item.
    #[must_use]
    pub const fn of(&self, item: Item) -> Money {
        match item {
            Item::Brokerage => self.brokerage,
            Item::Stt => self.stt,
            Item::Exchange => self.exchange,
            Item::Sebi => self.sebi,
            Item::Stamp => self.stamp,
            Item::Gst => self.gst,
            Item::Dp => self.dp,
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> Money {
        Item::ALL.into_iter().fold(Money::ZERO, |sum, item| sum + self.of(item))
    }
}

impl Add for Charges {
    type Output = Self;
    /// Item by item; saturates.
    fn add(self, other: Self) -> Self {
        Self {
            brokerage: self.brokerage + other.brokerage,
            stt: self.stt + other.stt,
            exchange: self.exchange + other.exchange,
            sebi: self.sebi + other.sebi,
            stamp: self.stamp + other.stamp,
            gst: self.gst + other.gst,
            dp: self.dp + other.dp,
        }
    }
}

/// Whose rates are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payee {
    /// The state's and SEBI's.
    Law,
    /// An exchange's.
    Exchange(Exchange),
    /// The broker's.
    Broker,
}

/// The table does not cover a trade date. What the trade costs is not known, and it is not nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the charge table has no rates {} for {date}", of(*.payee))]
pub struct Uncovered {
    /// Of which day.
    pub date: NaiveDate,
    /// Whose rates.
    pub payee: Payee,
}

fn of(payee: Payee) -> String {
    match payee {
        Payee::Law => "of taxes and SEBI".to_owned(),
        Payee::Exchange(exchange) => format!("of {exchange}"),
        Payee::Broker => "of the broker".to_owned(),
    }
}

/// The table has no such broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the charge table has no broker `{name}`: expected one of {known}")]
pub struct NoSuchBroker {
    /// What was asked for, shortened.
    pub name: String,
    /// Those there are.
    pub known: String,
}

/// A table, the broker whose customer the account is, and how sums are rounded: all that a charge depends on but the
/// trade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tariff {
    table: Arc<ChargeTable>,
    broker: String,
    rounding: Rounding,
}

impl Tariff {
    /// What that broker's customers pay by that table.
    ///
    /// # Errors
    /// [`NoSuchBroker`].
    pub fn new(table: Arc<ChargeTable>, broker: &str) -> Result<Self, NoSuchBroker> {
        if table.brokers().any(|known| known == broker) {
            return Ok(Self { table, broker: broker.to_owned(), rounding: Rounding::default() });
        }
        let known = table.brokers().collect::<Vec<_>>().join(", ");
        Err(NoSuchBroker { name: broker.chars().take(40).collect(), known })
    }

    /// The built-in table for the customers of the broker behind an API: `kite` is Zerodha's.
    ///
    /// # Errors
    /// [`NoSuchBroker`].
    pub fn of_api(name: &str) -> Result<Self, NoSuchBroker> {
        Self::new(ChargeTable::built_in(), if name == "kite" { "zerodha" } else { name })
    }

    /// The built-in table for Zerodha's customers.
    #[must_use]
    pub fn zerodha() -> Self {
        Self { table: ChargeTable::built_in(), broker: "zerodha".to_owned(), rounding: Rounding::default() }
    }

    /// The same with another rounding.
    #[must_use]
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// Whose customers pay it.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// An empty contract note of that trade date.
    #[must_use]
    pub fn day(&self, date: NaiveDate) -> DayCharges {
        DayCharges::new(&self.table, &self.broker, self.rounding, date)
    }
}

/// The built-in rates.
static BUILT_IN: LazyLock<Arc<ChargeTable>> =
    // A table that cannot be read would cover no day, and every trade would say so; a test keeps it readable.
    LazyLock::new(|| Arc::new(ChargeTable::read(include_bytes!("rates.csv")).unwrap_or_default()));

impl ChargeTable {
    /// The rates known to us: NSE from 2021-04-01, BSE from 2024-10-01; Zerodha from 2021-04-01, Upstox and FYERS from
    /// 2024-10-01.
    #[must_use]
    pub fn built_in() -> Arc<Self> {
        Arc::clone(&BUILT_IN)
    }
}
