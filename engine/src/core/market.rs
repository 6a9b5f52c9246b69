//! What the core knows of the market: when it is open, and the day's instruments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{BrokerToken, Exchange, Instrument, InstrumentKey, Mode};
use nirantar_exchange_mock::Phase;

use super::{Core, Event, Output, Told};
use crate::feed;
use crate::orders::{Key, list_day};

/// How long after it was asked for a list that has not come is asked for again, if an order needs it.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How long before the market opens a session should be ready.
const SOON: Duration = Duration::from_secs(30 * 60);

impl Core {
    /// Whether the market is open, as far as the core has looked.
    #[must_use]
    pub fn market_is_open(&self) -> bool {
        self.market_open == Some(true)
    }

    /// What the market does at `now`.
    #[must_use]
    pub fn phase(&self, now: Timestamp) -> Phase {
        self.calendar.phase(Exchange::Nse, now)
    }

    /// Whether trading should be possible at `now`: the market is open, or opens within half an hour.
    #[must_use]
    pub fn trading_is_expected(&self, now: Timestamp) -> bool {
        let soon = self.calendar.next_open(Exchange::Nse, now).is_some_and(|open| open.since(now) <= SOON);
        self.phase(now) == Phase::Continuous || soon
    }

    // --- whether it is open ------------------------------------------------------------------------------------

    pub(super) fn look_at_the_market(&mut self, now: Now, out: &mut Vec<Output>) {
        let open = self.calendar.phase(Exchange::Nse, now.wall) == Phase::Continuous;
        if self.market_open != Some(open) {
            self.market_open = Some(open);
            // The session waits for the feed while the market is open; where none is spoken there is none to wait for.
            self.tell_session(&Told::Market { open: open && self.trades }, now, out);
            self.tell_feed(feed::Input::Market { expected: open }, now, out);
        }
    }

    pub(super) fn next_market_change(&self, now: Timestamp) -> Option<Timestamp> {
        let today = self.calendar.continuous_on(Exchange::Nse, now.ist_date());
        let close = today.map(|(_, close)| close).filter(|close| *close > now);
        close.into_iter().chain(self.calendar.next_open(Exchange::Nse, now)).filter(|at| *at > now).min()
    }

    // --- instruments -------------------------------------------------------------------------------------------

    pub(super) fn subscribe(&mut self, now: Now, out: &mut Vec<Output>) {
        let known: BTreeMap<BrokerToken, Mode> = self
            .wanted
            .iter()
            .filter_map(|(instrument, mode)| self.catalog.get(instrument).map(|token| (*token, *mode)))
            .collect();
        if !known.is_empty() {
            self.tell_feed(feed::Input::Subscribe(known), now, out);
        }
    }

    pub(super) fn unsubscribe(&mut self, instruments: &BTreeSet<InstrumentKey>, now: Now, out: &mut Vec<Output>) {
        self.wanted.retain(|instrument, _| !instruments.contains(instrument));
        let known = instruments.iter().filter_map(|instrument| self.catalog.get(instrument).copied()).collect();
        self.tell_feed(feed::Input::Unsubscribe(known), now, out);
    }

    /// Asks once a day for the lists of the exchanges that are wanted, as soon as there is a token to ask with. NSE's is
    /// always wanted: orders are held against it. One that an order was refused for is asked for again after a while.
    pub(super) fn fetch_instruments(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.trades || self.token.is_none() {
            return;
        }
        let today = list_day(now.wall);
        let missed = std::mem::take(&mut self.lists_missed);
        let wanted = self.wanted.keys().map(|instrument| instrument.exchange).chain([Exchange::Nse]);
        let due = |exchange: &Exchange| match self.fetched.get(exchange) {
            Some((day, _)) if *day != today => true,
            Some((_, at)) => missed.contains(exchange) && now.mono.since(*at) >= ASK_AGAIN,
            None => true,
        };
        let exchanges: BTreeSet<Exchange> = wanted.chain(missed.iter().copied()).filter(due).collect();
        if !exchanges.is_empty() {
            self.fetched.extend(exchanges.iter().map(|exchange| (*exchange, (today, now.mono))));
            let calls = u32::try_from(exchanges.len()).unwrap_or(u32::MAX);
            self.desk.read_leaves(Key::Instruments, calls, now);
            out.push(Output::FetchInstruments(exchanges));
        }
    }

    /// The dump is some hundred thousand rows: the numbers of what is wanted are kept, and for the desk what orders need.
    pub(super) fn learn(&mut self, instruments: &[Instrument], now: Now, out: &mut Vec<Output>) {
        for (exchange, count) in self.desk.learn(instruments, now) {
            out.push(Output::Tell(Event::Instruments { at: now.wall, exchange, count }));
        }
        for instrument in instruments.iter().filter(|instrument| self.wanted.contains_key(&instrument.key)) {
            self.catalog.insert(instrument.key.clone(), instrument.token);
        }
        // Numbers are reused: one that named an instrument yesterday may be another's today. So the names are made anew.
        self.names = self.catalog.iter().map(|(key, token)| (*token, Arc::new(key.clone()))).collect();
        // Exchanges come one by one: of the others this list says nothing.
        let told: BTreeSet<Exchange> = instruments.iter().map(|instrument| instrument.key.exchange).collect();
        let missing = |key: &&InstrumentKey| told.contains(&key.exchange) && !self.catalog.contains_key(*key);
        let unknown = self.wanted.keys().filter(missing);
        for instrument in unknown {
            let words = format!("the broker's list of instruments has no {instrument}: no ticks will come for it");
            out.push(Output::Tell(Event::Alarm { at: now.wall, words }));
        }
        self.subscribe(now, out);
    }
}
