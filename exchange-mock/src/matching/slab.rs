//! Orders by slot: freed slots are used again before new ones are made, so that a book which has reached its size
//! allocates no more.
//!
//! What a slot knows lies in three places, by how often it is looked at: the [`Node`], which every event of its order
//! touches, is half a cache line; the [`Link`]s of its neighbours change when it comes or goes, eight bytes each and
//! mostly in cache; the [`Terms`] are written once, and read when an order is asked for or shows its next part.

use std::num::NonZeroU32;

use nirantar_brokers::time::Timestamp;

use super::ladder::NONE;
use super::order::{Account, Key};
use super::queue::Queue;

/// What matching looks at.
#[derive(Clone, Debug)]
#[repr(align(32))]
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

/// An order's neighbours at its price; `next` of a free slot is the next free one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) next: u32,
    pub(super) prev: u32,
}

impl Link {
    pub(super) const NONE: Self = Self { next: NONE, prev: NONE };
}

/// The three are of one length.
#[derive(Clone, Debug)]
pub(super) struct Slab {
    nodes: Vec<Node>,
    links: Vec<Link>,
    terms: Vec<Terms>,
    free: u32,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), links: Vec::new(), terms: Vec::new(), free: NONE }
    }

    /// Makes free slots until there are so many in all. Their memory is written to, so that no order pays for fresh
    /// pages later.
    pub(super) fn reserve(&mut self, orders: usize) {
        let more = orders.saturating_sub(self.nodes.len());
        self.nodes.reserve_exact(more);
        self.links.reserve_exact(more);
        self.terms.reserve_exact(more);
        let made = self.nodes.len();
        while self.nodes.len() < orders && self.make().is_some() {}
        // Given out in the order in which they lie.
        for slot in (made..self.nodes.len()).rev() {
            if let Some(link) = self.links.get_mut(slot) {
                link.next = std::mem::replace(&mut self.free, slot as u32);
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Node> {
        self.nodes.get(slot as usize)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Node> {
        self.nodes.get_mut(slot as usize)
    }

    #[inline]
    pub(super) fn terms(&self, slot: u32) -> Option<&Terms> {
        self.terms.get(slot as usize)
    }

    #[inline]
    pub(super) fn terms_mut(&mut self, slot: u32) -> Option<&mut Terms> {
        self.terms.get_mut(slot as usize)
    }

    /// The neighbours of a slot; none of a slot that is not there.
    #[inline]
    pub(super) fn link(&self, slot: u32) -> Link {
        self.links.get(slot as usize).copied().unwrap_or(Link::NONE)
    }

    #[inline]
    pub(super) fn link_mut(&mut self, slot: u32) -> Option<&mut Link> {
        self.links.get_mut(slot as usize)
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

    /// `None` when there are 2^32 orders.
    #[inline]
    pub(super) fn insert(&mut self, node: Node, terms: Terms) -> Option<Key> {
        let slot = if self.free == NONE { self.make()? } else { self.free };
        let place = self.nodes.get_mut(slot as usize)?;
        let generation = NonZeroU32::new(place.generation.wrapping_add(1))?;
        *place = Node { generation: generation.get(), ..node };
        *self.terms.get_mut(slot as usize)? = terms;
        self.free = self.links.get(slot as usize)?.next;
        Some(Key { slot, generation })
    }

    /// A new slot, which is not in the list of free ones.
    #[cold]
    fn make(&mut self) -> Option<u32> {
        let slot = u32::try_from(self.nodes.len()).ok().filter(|slot| *slot != NONE)?;
        let (queue, rested, ioc) = (Queue::Buys, false, false);
        self.nodes.push(Node { rank: 0, open: 0, shown: 0, order: 0, generation: 0, account: 0, queue, rested, ioc });
        self.terms.push(Terms { arrival: 0, entered: Timestamp::default(), limit: 0, peak: 0, protection: 0 });
        self.links.push(Link::NONE);
        Some(slot)
    }

    #[inline]
    pub(super) fn free(&mut self, slot: u32) {
        if let (Some(node), Some(link)) = (self.nodes.get_mut(slot as usize), self.links.get_mut(slot as usize)) {
            node.generation = node.generation.wrapping_add(1);
            link.next = std::mem::replace(&mut self.free, slot);
        }
    }
}
