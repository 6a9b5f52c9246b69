//! What the core knows of the market: when it is open, and the day's instruments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{BrokerToken, Exchange, Instrument, InstrumentKey, Mode};
use nirantar_exchange_mock::Phase;

use super::{Core, Event, Output, Told};
use crate::feed;
use crate::orders::Key;

/// Time of day, IST, from which the broker's list of instruments is the day's.
const DUMP_READY: Duration = Duration::from_secs(8 * 3600 + 30 * 60);
/// How long after an exchange's day orders have ended its trading day is over: by then the broker's book tells of them.
const BOOK_FINAL: Duration = Duration::from_secs(30 * 60);
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

    // --- the end of the day ------------------------------------------------------------------------------------

    /// Tells the desk when an exchange's trading day is over, and of every new date.
    pub(super) fn look_at_the_day(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.same_day.as_ref().is_some_and(|span| span.contains(&now.wall)) {
            return;
        }
        let today = now.wall.ist_date();
        let ends = Exchange::ALL.into_iter().filter_map(|one| Some((one, self.day_ends_at(one, today)?)));
        let (closed, open): (Vec<_>, Vec<_>) = ends.partition(|(_, end)| *end <= now.wall);
        let midnight = today.succ_opt().map(|date| Timestamp::from_ist_parts(date, NaiveTime::MIN));
        let next = open.into_iter().map(|(_, end)| end).chain(midnight).min();
        self.same_day = next.map(|next| now.wall..next);
        let closed: Vec<Exchange> = closed.into_iter().map(|(exchange, _)| exchange).collect();
        self.at_desk(now, out, |desk, now, out| {
            desk.day_ends(|exchange, date| date < today || closed.contains(&exchange), now, out);
        });
    }

    /// When the next exchange's day is over, or the next date begins.
    pub(super) fn next_day_change(&self) -> Option<Timestamp> {
        self.same_day.as_ref().map(|span| span.end)
    }

    fn day_ends_at(&self, exchange: Exchange, date: NaiveDate) -> Option<Timestamp> {
        self.calendar.day_orders_end(exchange, date).map(|end| end + BOOK_FINAL)
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

    /// Asks for the day's instruments once a day, as soon as there is a token to ask with.
    pub(super) fn fetch_instruments(&mut self, now: Now, out: &mut Vec<Output>) {
        // The day's dump is there from half past eight on (kite.md 2.11); before, it is still yesterday's.
        let today = (now.wall - DUMP_READY).ist_date();
        if self.trades && self.token.is_some() && self.fetched_on != Some(today) && !self.wanted.is_empty() {
            self.fetched_on = Some(today);
            let exchanges: BTreeSet<Exchange> = self.wanted.keys().map(|instrument| instrument.exchange).collect();
            let calls = u32::try_from(exchanges.len()).unwrap_or(u32::MAX);
            self.desk.read_leaves(Key::Instruments, calls, now);
            out.push(Output::FetchInstruments(exchanges));
        }
    }

    /// The dump is some hundred thousand rows; only what is wanted is kept.
    pub(super) fn learn(&mut self, instruments: &[Instrument], now: Now, out: &mut Vec<Output>) {
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
