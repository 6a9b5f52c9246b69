//! How stops fire.

use nirantar_brokers::Price;
use nirantar_brokers::time::Timestamp;

use super::super::order::{Cause, Key, OrderNo, Sink, State, Working};
use super::super::queue::Queue;
use super::{Book, Taker, narrow, protected, record};

impl Book {
    /// Sets off the stops that a price at `last`, stamped `at`, reaches: nearest trigger first, then by time. They
    /// become limit orders behind those at their price, under the same keys, and may be filled by what set them off.
    pub fn fire<S: Sink>(&mut self, last: Price, at: Timestamp, sink: &mut S) {
        let mut fired = std::mem::take(&mut self.fired);
        fired.clear();
        for queue in [Queue::BuyStops, Queue::SellStops] {
            let reach = queue.rank(last);
            let reached = |key: &Key| self.slab.find(*key).is_some_and(|node| node.rank <= reach);
            let in_time = |key: &Key| self.slab.terms(key.slot).is_some_and(|terms| terms.entered <= at);
            fired.extend(self.queue(queue).take_while(reached).filter(in_time));
        }
        for key in &fired {
            self.trigger(key.slot, last, sink);
            self.queue_up(key.slot);
            if self.slab.find(*key).is_some_and(|node| !node.rested) {
                self.unrested.push(*key);
            }
        }
        self.fired = fired;
    }

    /// Sets off the first stop that a price at `last` reaches, and no other: it comes to the market like any order, and
    /// what it leaves rests under its key. Whether there was one.
    #[cold]
    pub(in super::super) fn fire_first<S: Sink>(&mut self, last: Price, sink: &mut S) -> bool {
        let first = |queue: Queue| {
            let best = self.ladders.of(queue).best().filter(|(rank, _)| *rank <= queue.rank(last));
            best.map(|(_, level)| level.head)
        };
        let Some(slot) = first(Queue::BuyStops).or_else(|| first(Queue::SellStops)) else { return false };
        self.fire_alone(slot, last, sink);
        true
    }

    fn fire_alone<S: Sink>(&mut self, slot: u32, last: Price, sink: &mut S) {
        self.trigger(slot, last, sink);
        let Some(Working { order, account, side, limit, open, .. }) = self.working(slot) else { return };
        let mut taker = Taker { order, account, side, limit, open, barred: false };
        // In no queue now, so nothing can meet it.
        self.sweep(&mut taker, sink);
        let Some(node) = self.slab.get_mut(slot) else { return };
        node.open = narrow(taker.open);
        let ended = match (taker.barred, node.ioc) {
            (true, _) => Some(Cause::SelfTrade),
            (false, true) => Some(Cause::Ioc),
            (false, false) => None,
        };
        if node.open == 0 {
            self.slab.free(slot);
        } else if let Some(cause) = ended {
            sink.record(record(node, limit, State::Cancelled(cause)));
            self.slab.free(slot);
        } else {
            self.queue_up(slot);
        }
    }

    /// Cancels what is left of the IOC orders among the stops that the last call of [`fire`](Self::fire) set off.
    pub(in super::super) fn cancel_fired_ioc<S: Sink>(&mut self, sink: &mut S) {
        let fired = std::mem::take(&mut self.fired);
        for key in &fired {
            if self.is_ioc(*key) {
                self.cancel_slot(key.slot, Cause::Ioc, sink);
            }
        }
        self.fired = fired;
    }

    /// Takes a stop out of its queue and makes it the limit order it becomes, in no queue yet.
    fn trigger<S: Sink>(&mut self, slot: u32, last: Price, sink: &mut S) {
        let (Some(node), Some(terms)) = (self.slab.get(slot), self.slab.terms(slot)) else { return };
        let (side, protection) = (node.queue.side(), terms.protection);
        let limit = if protection == 0 {
            Price::from_units(terms.limit)
        } else {
            let limit = sink.protected_limit(node.order as OrderNo, last);
            limit.unwrap_or_else(|| protected(self.tick, side, last, protection))
        };
        self.leave(slot, node.queue, node.rank, node.shown);
        let Some(node) = self.slab.get_mut(slot) else { return };
        node.queue = Queue::limits(side);
        node.rank = node.queue.rank(limit);
        sink.fired(node.order as OrderNo, last);
        sink.record(record(node, limit, State::Triggered));
    }
}
