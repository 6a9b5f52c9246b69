//! Orders by slot: freed slots are used again before new ones are made, so that a book which has reached its size
//! allocates no more.
//!
//! An order is one cache line: the [`Node`], which every event of it looks at, and the [`Terms`], which are written once
//! and seldom read. A slot that is used again was freed not long ago, so its line is still near.

use std::num::NonZeroU32;

use nirantar_brokers::time::Timestamp;

use super::ladder::NONE;
use super::order::{Account, Key};
use super::queue::Queue;

/// What matching looks at.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Of its limit, or of its trigger while it waits, in its queue.
    pub(super) rank: i64,
    pub(super) open: u32,
    /// How many of the open ones the market sees now. Never zero for an order in the book.
    pub(super) shown: u32,
    pub(super) order: u32,
    /// Odd while an order is here.
    pub(super) generation: u32,
    pub(super) account: Account,
    pub(super) queue: Queue,
    pub(super) rested: bool,
    pub(super) ioc: bool,
}

/// What else an order came with.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Rank in time; none for a stop before it fires.
    pub(super) arrival: u64,
    pub(super) entered: Timestamp,
    /// In units of [`Price`](nirantar_brokers::Price): the limit a stop will have.
    pub(super) limit: i64,
    /// How many are disclosed at a time; zero for all.
    pub(super) peak: u32,
    /// Of a stop-market order, in hundredths of a percent.
    pub(super) protection: u16,
}

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Slot {
    node: Node,
    terms: Terms,
}

const _: () = assert!(size_of::<Slot>() == 64, "an order is one cache line");

/// An order's neighbours at its price.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) next: u32,
    pub(super) prev: u32,
}

impl Link {
    pub(super) const NONE: Self = Self { next: NONE, prev: NONE };
}

/// The first slot is [`NONE`]: no order is ever in it. Its link may be written to like any other, so that an order joins
/// and leaves a queue without asking whether it has neighbours, which is a question that is guessed wrong half the time.
#[derive(Clone, Debug)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    /// As many as slots. Apart from the orders: one that comes or goes touches its neighbours' links, eight bytes each
    /// and mostly in cache, and never the neighbours.
    links: Vec<Link>,
    /// The first free slot; the next one is in its [`Node::order`].
    free: u32,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), links: Vec::new(), free: NONE }
    }

    /// Makes free slots until there are so many in all. Their memory is written to, so that no order pays for fresh
    /// pages later.
    pub(super) fn reserve(&mut self, orders: usize) {
        let made = self.slots.len().max(1);
        let wanted = orders.saturating_add(1);
        self.slots.reserve_exact(wanted.saturating_sub(self.slots.len()));
        self.links.reserve_exact(wanted.saturating_sub(self.links.len()));
        while self.slots.len() < wanted && self.make().is_some() {}
        // Given out in the order in which they lie.
        for (slot, place) in self.slots.iter_mut().enumerate().skip(made).rev() {
            place.node.order = std::mem::replace(&mut self.free, slot as u32);
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Node> {
        self.slots.get(slot as usize).map(|slot| &slot.node)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Node> {
        self.slots.get_mut(slot as usize).map(|slot| &mut slot.node)
    }

    #[inline]
    pub(super) fn terms(&self, slot: u32) -> Option<&Terms> {
        self.slots.get(slot as usize).map(|slot| &slot.terms)
    }

    #[inline]
    pub(super) fn terms_mut(&mut self, slot: u32) -> Option<&mut Terms> {
        self.slots.get_mut(slot as usize).map(|slot| &mut slot.terms)
    }

    /// The neighbours of a slot that holds an order.
    #[inline]
    pub(super) fn link(&self, slot: u32) -> Link {
        self.links.get(slot as usize).copied().unwrap_or(Link::NONE)
    }

    #[inline]
    pub(super) fn set_link(&mut self, slot: u32, link: Link) {
        if let Some(place) = self.links.get_mut(slot as usize) {
            *place = link;
        }
    }

    #[inline]
    pub(super) fn set_next(&mut self, slot: u32, next: u32) {
        if let Some(link) = self.links.get_mut(slot as usize) {
            link.next = next;
        }
    }

    #[inline]
    pub(super) fn set_prev(&mut self, slot: u32, prev: u32) {
        if let Some(link) = self.links.get_mut(slot as usize) {
            link.prev = prev;
        }
    }

    /// The key of the order in a slot.
    pub(super) fn key(&self, slot: u32) -> Option<Key> {
        let generation = NonZeroU32::new(self.get(slot)?.generation)?;
        Some(Key { slot, generation })
    }

    /// The slot a key names, if its order is still there. Keys are given out with odd generations only.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<&Node> {
        self.get(key.slot).filter(|node| node.generation == key.generation.get())
    }

    /// As [`find`](Self::find).
    #[inline]
    pub(super) fn find_mut(&mut self, key: Key) -> Option<&mut Node> {
        self.get_mut(key.slot).filter(|node| node.generation == key.generation.get())
    }

    /// `None` when there are 2^32 orders. Its link is not looked at.
    #[inline(always)]
    pub(super) fn insert(&mut self, node: Node, terms: Terms) -> Option<Key> {
        let slot = if self.free == NONE { self.make()? } else { self.free };
        let place = self.slots.get_mut(slot as usize)?;
        let generation = NonZeroU32::new(place.node.generation.wrapping_add(1))?;
        self.free = place.node.order;
        *place = Slot { node: Node { generation: generation.get(), ..node }, terms };
        Some(Key { slot, generation })
    }

    /// A new slot, which is not in the list of free ones.
    #[cold]
    fn make(&mut self) -> Option<u32> {
        let (queue, rested, ioc) = (Queue::Buys, false, false);
        let node = Node { rank: 0, open: 0, shown: 0, order: NONE, generation: 0, account: 0, queue, rested, ioc };
        let terms = Terms { arrival: 0, entered: Timestamp::default(), limit: 0, peak: 0, protection: 0 };
        let slot = u32::try_from(self.slots.len().max(1)).ok()?;
        self.slots.resize(slot as usize + 1, Slot { node, terms });
        self.links.resize(slot as usize + 1, Link::NONE);
        Some(slot)
    }

    #[inline(always)]
    pub(super) fn free(&mut self, slot: u32) {
        if let Some(Slot { node, .. }) = self.slots.get_mut(slot as usize) {
            node.generation = node.generation.wrapping_add(1);
            node.order = std::mem::replace(&mut self.free, slot);
        }
    }
}
