//! What prices come from while the account has no live feed of its own, the best first: another account's live feed; then,
//! where it was asked for, a recording or a seeded walk that goes on from the last live price; else there is no price.
//!
//! A value, judged per instrument: a share that another account's feed brings is not played as well.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{InstrumentKey, Price, Quantity};
use nirantar_exchange_mock::PriceEvent;

/// For so long after another account's last tick nothing is played for an instrument: what that feed is silent about does
/// not trade.
const TRUSTED: Duration = Duration::from_secs(15);
/// The lowest price that is played.
const LOWEST: Price = Price::from_paise(5);

/// Where each instrument's price comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PriceChain {
    /// The last tick that another account's feed brought.
    others: BTreeMap<InstrumentKey, Monotonic>,
    /// How far what is played is from where the live feed stopped.
    shifts: BTreeMap<InstrumentKey, Shift>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shift {
    /// In a price's units.
    price: i64,
    /// The source's own volume at first, and the market's.
    volume: (Quantity, Quantity),
}

impl PriceChain {
    /// Another account's feed has brought a tick.
    pub(crate) fn other_account(&mut self, instrument: &InstrumentKey, at: Monotonic) {
        self.others.insert(instrument.clone(), at);
    }

    /// The account's own feed is back: the next fallback goes on from where it stops then.
    pub(crate) fn live(&mut self) {
        self.others.clear();
        self.shifts.clear();
    }

    /// What is played in place of `event`, if anything. `last` is what the market stood at when the live feed stopped,
    /// with its volume; without it the source's own price is taken.
    pub(crate) fn played(
        &mut self,
        event: PriceEvent,
        now: Monotonic,
        last: impl FnOnce() -> Option<(Price, Quantity)>,
    ) -> Option<PriceEvent> {
        if self.others.get(&event.instrument).is_some_and(|at| now.since(*at) < TRUSTED) {
            // It will go on from what that feed says last.
            self.shifts.remove(&event.instrument);
            return None;
        }
        let shift = self.shifts.entry(event.instrument.clone()).or_insert_with(|| {
            let (price, volume) = last().unwrap_or((event.ltp, event.volume));
            Shift { price: price.units().saturating_sub(event.ltp.units()), volume: (event.volume, volume) }
        });
        let (first, market) = shift.volume;
        let traded = event.volume.get().saturating_sub(first.get());
        let ltp = Price::from_units(event.ltp.units().saturating_add(shift.price)).max(LOWEST);
        Some(PriceEvent { ltp, volume: Quantity::new(market.get().saturating_add(traded)), ..event })
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Exchange;
    use nirantar_brokers::time::Timestamp;

    use super::*;

    fn event(paise: i64, volume: u64) -> PriceEvent {
        PriceEvent {
            at: Timestamp::from_unix_seconds(1_618_199_109),
            instrument: InstrumentKey::new(Exchange::Nse, "RELIANCE"),
            ltp: Price::from_paise(paise),
            volume: Quantity::new(volume),
        }
    }

    fn shown(event: Option<PriceEvent>) -> Option<(Price, u64)> {
        event.map(|event| (event.ltp, event.volume.get()))
    }

    #[test]
    fn what_is_played_goes_on_from_the_last_live_price_and_volume() {
        let (mut chain, now) = (PriceChain::default(), Monotonic::default());
        let last = || Some((Price::from_paise(200_000), Quantity::new(900)));
        let price = |paise, volume| Some((Price::from_paise(paise), volume));
        assert_eq!(shown(chain.played(event(150_000, 10), now, last)), price(200_000, 900));
        assert_eq!(shown(chain.played(event(150_050, 25), now, || panic!("known"))), price(200_050, 915));
        chain.live();
        let later = || Some((Price::from_paise(210_000), Quantity::new(2_000)));
        assert_eq!(shown(chain.played(event(150_100, 30), now, later)), price(210_000, 2_000));
        assert_eq!(shown(chain.played(event(-500_000, 30), now, later)), price(5, 2_000), "never below the lowest");
    }

    #[test]
    fn nothing_is_played_while_another_account_sees_the_market() {
        let (mut chain, now) = (PriceChain::default(), Monotonic::default());
        let share = event(0, 0).instrument;
        chain.other_account(&share, now);
        assert_eq!(chain.played(event(150_000, 10), now + Duration::from_secs(14), || None), None);
        let last = || Some((Price::from_paise(190_000), Quantity::new(5)));
        let played = shown(chain.played(event(150_000, 10), now + Duration::from_secs(15), last));
        assert_eq!(played, Some((Price::from_paise(190_000), 5)), "and then from where it stopped");
    }
}
