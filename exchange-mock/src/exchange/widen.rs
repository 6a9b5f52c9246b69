//! A fault: the spread is wide. Whoever takes pays more, and whoever waits inside it waits on.
//!
//! While it lasts, an instrument's orders are filled from what the market shows and from nothing else: what it trades
//! inside the spread goes past us. With [`FillsFrom::Depth`] that is the depth told with a tick, every level moved away by
//! so many ticks. With [`FillsFrom::LastPrice`] it is the last price with so many ticks on either side, and the units of
//! the last tick at each. The last price itself, which stops and protections look at, stays what it is.

use nirantar_brokers::{Depth, InstrumentKey, Level, Price};

use super::listing::Listing;
use super::{MarketState, MockExchange};
use crate::account::InstrumentNo;
use crate::matching::{FillsFrom, Model};

impl MockExchange {
    /// Makes the spread of one instrument, or with `None` of all, so many ticks wider on either side. Zero ends it; what
    /// is then there to take is told by the next tick.
    pub fn widen(&mut self, key: Option<&InstrumentKey>, ticks: u32) {
        match key {
            None => {
                self.wide = ticks;
                (0..self.listings.len()).for_each(|no| self.widen_one(no, ticks));
            }
            Some(key) => {
                if let Some(no) = self.by_key.get(key).copied() {
                    self.widen_one(no, ticks);
                }
            }
        }
    }

    pub(super) fn widen_one(&mut self, no: InstrumentNo, ticks: u32) {
        let fills = self.config.fills;
        let Some(listing) = self.listings.get_mut(no) else { return };
        let (was, is) = (listing.wide > 0, ticks > 0);
        listing.wide = ticks;
        if was != is && fills == FillsFrom::LastPrice {
            listing.matcher.liquidity = Model::new(if is { FillsFrom::Depth } else { fills });
        }
        // Until the next tick the last one counts; it fills nothing a second time.
        if let Some(market) = listing.market.filter(|_| is && fills == FillsFrom::LastPrice) {
            let shown = listing.shown_wide(None, market);
            self.ask(no, |matcher, sink| matcher.depth(&shown, market.at, false, sink));
        }
    }
}

impl Listing {
    /// What the market shows while its spread is wide.
    pub(super) fn shown_wide(&self, depth: Option<&Depth>, market: MarketState) -> Depth {
        let reach = Price::from_units(self.instrument.tick.units().saturating_mul(i64::from(self.wide)));
        let level = |price: Price, level: Level| {
            // Nothing is offered at a price that is none.
            if level.price > Price::ZERO && price > Price::ZERO { Level { price, ..level } } else { Level::default() }
        };
        let around = || {
            let last = Level { price: market.last_price, quantity: market.offered, orders: 1 };
            let none = Level::default();
            Depth { buy: [last, none, none, none, none], sell: [last, none, none, none, none] }
        };
        let depth = depth.copied().unwrap_or_else(around);
        Depth {
            buy: depth.buy.map(|it| level(it.price - reach, it)),
            sell: depth.sell.map(|it| level(it.price + reach, it)),
        }
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::Timestamp;
    use nirantar_brokers::{BrokerOrderId, Exchange, MarketProtection, OrderRequest, OrderType, Quantity, Side};

    use super::*;
    use crate::{Calendar, Config, universe};

    const MARKET: OrderType = OrderType::Market(MarketProtection::BasisPoints(100));

    /// RELIANCE at 1,000 with a tick of 0.10, and a spread that is 50 ticks wider on either side.
    struct Day(MockExchange);

    fn key() -> InstrumentKey {
        InstrumentKey::new(Exchange::Nse, "RELIANCE")
    }

    fn at(second: i64) -> Timestamp {
        let ten = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        Timestamp::from_unix_seconds(ten.as_unix_seconds() + second)
    }

    fn rupees(rupees: i64) -> Price {
        Price::from_paise(rupees * 100)
    }

    impl Day {
        fn new(fills: FillsFrom) -> Self {
            let instruments = universe::instruments("2026-11-20".parse().unwrap());
            let mut day = Self(MockExchange::new(Config { fills, ..Config::default() }, instruments, Calendar::nse()));
            day.tick(0, 1_000, 10_000);
            day.0.widen(Some(&key()), 50);
            day
        }

        /// A trade, and with the depth model a book a rupee round it.
        fn tick(&mut self, second: i64, price: i64, volume: u64) {
            let level = |price| Level { price: rupees(price), quantity: Quantity::new(100), orders: 1 };
            let mut depth = Depth::default();
            (depth.buy[0], depth.sell[0]) = (level(price - 1), level(price + 1));
            self.0.tick(&key(), rupees(price), Quantity::new(volume), Some(&depth), at(second));
        }

        fn place(&mut self, second: i64, side: Side, order_type: OrderType) -> BrokerOrderId {
            self.0.place(&OrderRequest::new(key(), side, 10, order_type), None, at(second)).unwrap()
        }

        fn paid(&self, id: &BrokerOrderId) -> Option<Price> {
            let trades = self.0.trades_of(id).unwrap();
            trades.first().map(|trade| trade.price)
        }
    }

    #[test]
    fn who_takes_pays_the_wide_spread() {
        let mut day = Day::new(FillsFrom::LastPrice);
        let buy = day.place(1, Side::Buy, MARKET);
        assert_eq!(day.paid(&buy), Some(rupees(1_005)), "at the tick that was there already");
        day.tick(2, 1_002, 10_100);
        let [buy, sell] = [Side::Buy, Side::Sell].map(|side| day.place(3, side, MARKET));
        assert_eq!((day.paid(&buy), day.paid(&sell)), (Some(rupees(1_007)), Some(rupees(997))));
        // Five rupees away is beyond its protection: it waits.
        let careful = day.place(3, Side::Buy, OrderType::Market(MarketProtection::BasisPoints(20)));
        assert_eq!(day.paid(&careful), None);

        let mut deep = Day::new(FillsFrom::Depth);
        deep.tick(1, 1_000, 10_100);
        let [buy, sell] = [Side::Buy, Side::Sell].map(|side| deep.place(2, side, MARKET));
        assert_eq!((deep.paid(&buy), deep.paid(&sell)), (Some(rupees(1_006)), Some(rupees(994))));
    }

    #[test]
    fn what_waits_inside_the_spread_is_not_filled_before_the_market_comes_to_it_or_the_spread_ends() {
        for (fills, far) in [(FillsFrom::LastPrice, 995), (FillsFrom::Depth, 994)] {
            let mut day = Day::new(fills);
            let [near, first] = [999, 1_000].map(|price| day.place(1, Side::Buy, OrderType::Limit(rupees(price))));
            day.tick(2, 998, 10_500);
            assert_eq!((day.paid(&near), day.paid(&first)), (None, None), "{fills:?}: the market went through both");
            day.tick(3, far, 11_000);
            assert_eq!((day.paid(&near), day.paid(&first)), (None, Some(rupees(1_000))), "{fills:?}");
            day.0.widen(None, 0);
            day.tick(4, 998, 11_500);
            assert_eq!(day.paid(&near), Some(rupees(999)), "{fills:?}");
        }
    }

    #[test]
    fn all_instruments_are_widened_at_once_and_no_width_makes_it_panic() {
        let mut day = Day::new(FillsFrom::LastPrice);
        day.0.widen(None, u32::MAX);
        day.tick(1, 1_000, 10_100);
        let first = day.place(2, Side::Buy, MARKET);
        assert_eq!(day.paid(&first), None);
        day.0.widen(None, 0);
        let second = day.place(2, Side::Buy, MARKET);
        day.tick(3, 1_001, 10_200);
        // The first has waited at its protected limit for the market to come to it.
        assert_eq!([first, second].map(|id| day.paid(&id)), [Some(rupees(1_010)), Some(rupees(1_001))]);
    }
}
