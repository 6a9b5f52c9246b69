//! Prices of the market as they come in, and what they set off.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Depth, InstrumentKey, InstrumentKind, Price, Quantity};

use super::checks::MAX_PRICE;
use super::{MarketState, MockExchange};
use crate::Step;
use crate::account::InstrumentNo;

impl MockExchange {
    /// A tick of the market, stamped `at`. `day_volume` is the volume of the day so far, zero where the feed tells
    /// none. Ignored: an unknown instrument, a price that is none, a tick older than the instrument's last.
    pub fn price(&mut self, key: &InstrumentKey, ltp: Price, day_volume: Quantity, at: Timestamp) {
        self.tick(key, ltp, day_volume, None, at);
    }

    /// The same with what the market shows after that trade, for [`FillsFrom::Depth`](crate::matching::FillsFrom::Depth).
    pub fn tick(
        &mut self,
        key: &InstrumentKey,
        ltp: Price,
        day_volume: Quantity,
        depth: Option<&Depth>,
        at: Timestamp,
    ) {
        let Some(&instrument_no) = self.by_key.get(key) else { return };
        if ltp <= Price::ZERO || ltp > MAX_PRICE {
            return;
        }
        self.wake(at);
        let default_liquidity = self.config.default_liquidity;
        let Some(listing) = self.listings.get_mut(instrument_no) else { return };
        let mut new_day = false;
        match &mut listing.market {
            Some(market) if market.at > at => return,
            Some(market) if market.at.is_same_ist_date(at) => {
                let before = market.volume;
                market.tick(ltp, day_volume, default_liquidity, at);
                let window = self.runs.get(listing.run).and_then(|run| run.window);
                listing.traded.count(window, ltp, market.volume.less(before), at);
            }
            market => {
                new_day = true;
                let close = listing.previous_close.take().or(market.map(|market| market.last_price)).unwrap_or(ltp);
                *market = Some(MarketState::first(ltp, close, day_volume, default_liquidity, at));
            }
        }
        if listing.instrument.kind == InstrumentKind::Index {
            self.look_at_breakers(instrument_no, ltp);
            return;
        }
        self.flex(instrument_no, ltp, new_day);
        match self.fresh_step(instrument_no) {
            Some(Step::Continuous) => self.match_tick(instrument_no, ltp, depth, at),
            Some(Step::PreOpenMatch | Step::Buffer | Step::ClosingMatch) => self.meet_auction_price(instrument_no, ltp),
            Some(Step::PostClose) => self.trade_at_close(instrument_no, ltp),
            _ => {}
        }
    }

    /// Whether the instrument's last tick may fill orders now.
    pub(super) fn is_fresh(&self, instrument_no: InstrumentNo) -> bool {
        self.fresh_step(instrument_no) == Some(Step::Continuous)
    }

    /// What the instrument's market does, if its last tick is fresh.
    pub(super) fn fresh_step(&self, instrument_no: InstrumentNo) -> Option<Step> {
        let listing = self.listings.get(instrument_no)?;
        let market = listing.market.filter(|market| self.clock.since(market.at) <= self.config.freshness);
        market.map(|_| self.step_of(listing))
    }
}
