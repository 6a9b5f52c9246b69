//! What can be read from the exchange. Nothing here changes it.

use std::sync::Arc;

use nirantar_brokers::{
    BrokerOrderId, BrokerToken, Instrument, InstrumentKey, Margins, Money, OrderRow, Position, Price, Product, Trade,
};

use super::{Config, MarketState, MockExchange};
use crate::account::InstrumentNo;
use crate::{Calendar, Step};

impl MockExchange {
    /// The day's orders in the order they were placed, each in its latest state.
    pub fn book(&self) -> impl Iterator<Item = &Arc<OrderRow>> {
        self.orders.iter().map(|order| &order.row)
    }

    /// The latest state of one order.
    #[must_use]
    pub fn order(&self, id: &BrokerOrderId) -> Option<&OrderRow> {
        self.find(id).map(|order| &*order.row)
    }

    /// One order's states, oldest first.
    #[must_use]
    pub fn history(&self, id: &BrokerOrderId) -> Option<&[Arc<OrderRow>]> {
        self.find(id).map(|order| order.rows.as_slice())
    }

    /// The protection in hundredths of a percent of an order that came as MARKET or SL-M; its row shows a limit.
    #[must_use]
    pub fn was_market(&self, id: &BrokerOrderId) -> Option<u16> {
        self.find(id).and_then(|order| order.plan.was_market)
    }

    /// The day's trades, oldest first.
    #[must_use]
    pub fn trades(&self) -> &[Arc<Trade>] {
        &self.trades
    }

    /// The trades of one order; `None` if there is no such order.
    #[must_use]
    pub fn trades_of(&self, id: &BrokerOrderId) -> Option<Vec<Arc<Trade>>> {
        let order = self.find(id)?;
        Some(order.trades.iter().filter_map(|index| self.trades.get(*index)).cloned().collect())
    }

    /// Every position of the day; flat ones stay.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let name = |no: InstrumentNo| {
            let listing = self.listings.get(no)?;
            let last = listing.market.map_or(Price::ZERO, |market| market.last_price);
            Some((listing.instrument.key.clone(), last))
        };
        self.account.positions(name).collect()
    }

    /// What was gained or lost by closing, in one position; charges are not taken.
    #[must_use]
    pub fn realised(&self, key: &InstrumentKey, product: Product) -> Money {
        self.by_key.get(key).map_or(Money::ZERO, |no| self.account.realised(*no, product))
    }

    /// Funds. `cash` is the opening cash plus realised profit less charges; `used` is approximate (see
    /// [`crate::MarginRates`]).
    #[must_use]
    pub fn margins(&self) -> Margins {
        self.account.margins()
    }

    /// The market in one instrument; `None` before its first tick.
    #[must_use]
    pub fn market(&self, key: &InstrumentKey) -> Option<MarketState> {
        self.listings.get(*self.by_key.get(key)?)?.market
    }

    /// What an instrument's market does now; `None` if it is not listed.
    #[must_use]
    pub fn market_step(&self, key: &InstrumentKey) -> Option<Step> {
        self.by_key.get(key).and_then(|no| self.listings.get(*no)).map(|listing| self.step_of(listing))
    }

    /// A listed instrument.
    #[must_use]
    pub fn instrument(&self, key: &InstrumentKey) -> Option<&Instrument> {
        self.by_key.get(key).and_then(|no| self.listings.get(*no)).map(|listing| &listing.instrument)
    }

    /// A listed instrument by the broker's number.
    #[must_use]
    pub fn instrument_by_token(&self, token: BrokerToken) -> Option<&Instrument> {
        self.by_token.get(&token).and_then(|no| self.listings.get(*no)).map(|listing| &listing.instrument)
    }

    /// Every listed instrument, in the order given.
    pub fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        self.listings.iter().map(|listing| &listing.instrument)
    }

    /// The calendar.
    #[must_use]
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// How the exchange was set up.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}
