//! Prices reach the process: the feed's frames and snapshots, handed on to the paper exchange, the desk and the strategy.

use std::sync::Arc;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, InstrumentKey, Price, Tick};

use super::super::checkers::Violation;
use super::super::market::Market;
use super::super::workload::SimulatedTick;
use super::World;
use super::engine::Process;
use crate::core::Input;
use crate::feed::{self, FeedStatus, SocketId};
use crate::session::State;

const BOTH: &[Book] = &[Book::Live, Book::Paper];

impl Process {
    pub(super) fn price_paper(&mut self, market: &Market, at: Timestamp) {
        self.priced = true;
        for quoted in &market.quoted {
            self.paper_mut().price(&quoted.key, quoted.price, quoted.volume, at);
        }
    }
}

impl World<'_> {
    /// A frame arrives on a socket.
    pub(super) fn frame(&mut self, socket: SocketId, ticks: usize) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.sockets.get(&socket).is_none_or(|socket| !socket.open) {
            return Ok(());
        }
        let accepted = process.core.accepts(socket);
        self.tell(Input::Feed(feed::Input::Frame { socket, ticks }))?;
        if accepted && ticks > 0 { self.hand_on(true) } else { Ok(()) }
    }

    /// The prices of now, to the paper exchange, the desk and the strategy.
    pub(super) fn hand_on(&mut self, live: bool) -> Result<(), Violation> {
        let books = if live { BOTH } else { &[Book::Paper] };
        let now = self.clock.now(self.now);
        let Some(process) = &mut self.process else { return Ok(()) };
        process.priced = false;
        // Where nothing works on paper nobody can tell whether its prices came now or with the next order.
        if process.paper().next_wake(now.wall).is_some() {
            process.price_paper(&self.market, now.wall);
        }
        let mut passed = false;
        for quoted in &self.market.quoted {
            passed |= process.core.watches(books, &quoted.key)
                && process.core.mark(books, &quoted.key, quoted.price, now.wall);
        }
        self.drain_paper()?;
        if passed {
            self.tell(Input::Wake)?;
        }
        for index in 0..self.market.quoted.len() {
            let Some(quoted) = self.market.quoted.get(index) else { break };
            let (instrument, price) = (Arc::clone(&quoted.key), quoted.price);
            self.show(&instrument, price, live)?;
        }
        Ok(())
    }

    /// How instruments stand after a gap, as the broker was asked: like ticks, but told apart by nobody here.
    pub(super) fn snapshot(&mut self, ticks: Vec<(InstrumentKey, Tick)>) -> Result<(), Violation> {
        let (now, mut passed) = (self.clock.now(self.now).wall, false);
        let Some(process) = &mut self.process else { return Ok(()) };
        for (instrument, tick) in &ticks {
            passed |= process.core.mark(BOTH, instrument, tick.last_price, now);
        }
        if passed {
            self.tell(Input::Wake)?;
        }
        ticks.iter().try_for_each(|(instrument, tick)| self.show(instrument, tick.last_price, true))
    }

    fn show(&mut self, instrument: &InstrumentKey, price: Price, live: bool) -> Result<(), Violation> {
        let tick = SimulatedTick { instrument, price, at: self.market.at, live };
        self.with_strategy(|strategy, trader| strategy.on_tick(tick, trader))
    }

    /// Prices are played to paper while the live feed is missed.
    pub(super) fn plays_fallback(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            let live = matches!(process.core.feed().status(), FeedStatus::Live { .. });
            process.core.standing().state == State::Fallback && !live
        })
    }

    pub(super) fn drain_paper(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        for update in process.paper_updates() {
            self.tell(update)?;
        }
        Ok(())
    }
}
