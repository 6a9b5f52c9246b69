//! The paper exchange, and the prices that are played into it while the live feed is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{
    Book, BrokerOrderId, BrokerToken, Call, Cause, ClientOrderId, Detail, Failure, InstrumentKey, Outcome, Price, Tick,
};
use nirantar_exchange_mock::{Expired, PriceEvent, Update};

use super::asking::call;
use super::feeding::Origin;
use super::task::Task;
use crate::core::Input;
use crate::feed::{FeedStatus, PaperSource, Source, TickEvent};
use crate::orders::Command;
use crate::session::State;

/// A tick of the live feed counts for both books.
const BOTH: &[Book] = &[Book::Live, Book::Paper];

/// Instruments whose last price on the paper exchange was played into it, each with what the live feed said last before
/// that, if anything: the live book goes on being judged by that.
pub(super) type Played = BTreeMap<InstrumentKey, Option<(Price, Timestamp)>>;

impl Task {
    /// Sends to the paper exchange, which answers at once.
    pub(super) fn send_to_paper(&self, id: &ClientOrderId, command: &Command) -> Outcome<BrokerOrderId> {
        at_once(call(&self.paper, id, command, self.clock.now()))
    }

    /// Tells the core what happened on the paper exchange.
    pub(super) fn drain_paper(&mut self) {
        loop {
            let updates = self.paper_updates();
            if updates.is_empty() {
                return;
            }
            for update in updates {
                self.tell(update);
            }
        }
    }

    pub(super) fn paper_updates(&self) -> Vec<Input> {
        let heard = self.paper.drain().into_iter().inspect(|update| {
            if let Update::Expired(Expired { instrument, on, settled: Ok(worth) }) = update {
                tracing::info!("{instrument} ended on {on}: the paper exchange has settled it at {worth} a unit");
            }
        });
        heard.filter_map(Input::of_paper).collect()
    }

    /// Tells the core the last prices of what an order is about and of what is held: it values and judges by them.
    pub(super) fn mark_before(&mut self, instrument: &InstrumentKey, now: Now) {
        let desk = self.core.desk();
        let held = BOTH.iter().flat_map(|book| desk.exposure().open(*book));
        let mut instruments: BTreeSet<InstrumentKey> = held.map(|(instrument, ..)| instrument.clone()).collect();
        instruments.insert(instrument.clone());
        for instrument in instruments {
            let last = self.last_price(&instrument);
            match self.state.played.get(&instrument).copied() {
                None => self.mark_if_today(BOTH, &instrument, last, now),
                Some(live) => {
                    self.mark_if_today(&[Book::Live], &instrument, live, now);
                    self.mark_if_today(&[Book::Paper], &instrument, last, now);
                }
            }
        }
    }

    /// A price of yesterday says nothing about today.
    fn mark_if_today(&mut self, books: &[Book], of: &InstrumentKey, last: Option<(Price, Timestamp)>, now: Now) {
        if let Some((price, at)) = last.filter(|(_, at)| at.is_same_ist_date(now.wall)) {
            self.core.mark(books, of, price, at);
        }
    }

    /// What an instrument costs on the paper exchange, and since when: the last tick of the live feed, or what was played.
    fn last_price(&self, instrument: &InstrumentKey) -> Option<(Price, Timestamp)> {
        self.paper.with(|exchange| exchange.market(instrument)).map(|market| (market.last_price, market.at))
    }

    /// A tick of the live feed. One of something that is held may pass the day's bound of loss.
    pub(super) fn mark_tick(&mut self, instrument: &InstrumentKey, price: Price, at: Timestamp) {
        if !self.state.played.is_empty() {
            self.state.played.remove(instrument);
        }
        self.mark_for(BOTH, instrument, price, at);
    }

    fn mark_for(&mut self, books: &[Book], instrument: &InstrumentKey, price: Price, at: Timestamp) {
        if self.core.watches(books, instrument) && self.core.mark(books, instrument, price, at) {
            self.tell(Input::Wake);
        }
    }

    /// Fallback prices play while there is no live feed, from the moment it is missed.
    pub(super) fn watch_fallback(&mut self) {
        let live = matches!(self.core.feed().status(), FeedStatus::Live { .. });
        let wanted = self.core.standing().state == State::Fallback && !live;
        if let Some((source, _)) = self.fallback.as_mut().filter(|_| wanted && !self.state.playing) {
            let now = self.clock.now().wall;
            while source.peek().is_some_and(|at| at <= now) {
                source.next();
            }
        }
        if live {
            self.state.chain.live();
        }
        self.wants_others.store(wanted, Ordering::Relaxed);
        self.state.playing = wanted && self.fallback.is_some();
    }

    pub(super) fn play_fallback_prices(&mut self, now: Now) {
        while let Some((price, kind)) = self.next_fallback_price(now) {
            let market = self.paper.with(|exchange| exchange.market(&price.instrument));
            let last = || market.map(|market| (market.last_price, market.volume));
            let Some(price) = self.state.chain.played(price, now.mono, last) else { continue };
            if !self.state.played.contains_key(&price.instrument) {
                let live = self.last_price(&price.instrument);
                self.state.played.insert(price.instrument.clone(), live);
            }
            self.mark_for(&[Book::Paper], &price.instrument, price.ltp, price.at);
            self.paper.price(&price.instrument, price.ltp, price.volume, price.at);
            let token = self.core.number(&price.instrument).unwrap_or(BrokerToken(0));
            let tick = Tick { token, last_price: price.ltp, detail: Detail::Ltp };
            self.hub.publish(TickEvent {
                tick,
                instrument: Arc::new(price.instrument),
                source: Source::Paper(kind),
                socket_port: 0,
                packet: 0,
                received: now,
            });
        }
    }

    /// Another account's live feed has a tick. It counts while this account has no live feed of its own.
    pub(super) fn lent(&mut self, event: TickEvent) {
        if !self.wants_others.load(Ordering::Relaxed) || !self.core.wants(&event.instrument) {
            return;
        }
        let now = self.clock.now();
        self.state.chain.other_account(&event.instrument, now.mono);
        // The numbers of an instrument are each broker's own, and not known before this one's list is here.
        let token = self.core.number(&event.instrument).unwrap_or(BrokerToken(0));
        let tick = Tick { token, ..event.tick };
        let origin = Origin { source: Source::OtherAccount, socket_port: 0, packet: 0, received: now };
        self.hand_on_tick(event.instrument, tick, origin);
        self.drain_paper();
    }

    fn next_fallback_price(&mut self, now: Now) -> Option<(PriceEvent, PaperSource)> {
        let (source, kind) = self.fallback.as_mut().filter(|_| self.state.playing)?;
        source.peek().filter(|at| *at <= now.wall)?;
        Some((source.next()?, *kind))
    }
}

/// The paper exchange answers at once.
fn at_once<T>(call: Call<T>) -> Outcome<T> {
    match call {
        Call::Ready(outcome) => outcome,
        Call::Http { request, .. } => {
            Err(Failure::new(Cause::NotSent, request.endpoint, "the paper exchange has no network"))
        }
    }
}
