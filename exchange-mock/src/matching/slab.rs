//! Orders by slot: freed slots are used again before new ones are made, so that a book which has reached its size
//! allocates no more.

use nirantar_brokers::Side;
use nirantar_brokers::time::Timestamp;

use super::ladder::NONE;
use super::order::{Account, Key};

/// An order, in one cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Node {
    /// In units of [`Price`](nirantar_brokers::Price).
    pub(super) limit: i64,
    /// Rank in time; of a stop that waits, its trigger: it has no rank until it fires.
    pub(super) place: i64,
    pub(super) entered: Timestamp,
    pub(super) open: u32,
    /// How many are disclosed at a time; zero for all.
    pub(super) peak: u32,
    /// How many of the open ones the market sees now. Never zero for an order in the book.
    pub(super) shown: u32,
    pub(super) order: u32,
    pub(super) generation: u32,
    pub(super) account: Account,
    /// Of a stop-market order, in hundredths of a percent.
    pub(super) protection: u16,
    pub(super) side: Side,
    pub(super) status: Status,
    pub(super) rested: bool,
    pub(super) ioc: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Free,
    Waits,
    Rests,
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

#[derive(Clone, Debug)]
pub(super) struct Slab {
    nodes: Vec<Node>,
    /// Apart from the orders: an order that comes or goes touches its neighbours' links, eight bytes each and mostly in
    /// cache, and never the neighbours.
    links: Vec<Link>,
    free: u32,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), links: Vec::new(), free: NONE }
    }

    pub(super) fn reserve(&mut self, orders: usize) {
        self.nodes.reserve(orders.saturating_sub(self.nodes.len()));
        self.links.reserve(orders.saturating_sub(self.links.len()));
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Node> {
        self.nodes.get(slot as usize)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Node> {
        self.nodes.get_mut(slot as usize)
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

    /// The slot a key names, if its order is still there.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<&Node> {
        self.get(key.slot).filter(|node| node.generation == key.generation && node.status != Status::Free)
    }

    /// `None` when there are 2^32 orders.
    #[inline]
    pub(super) fn insert(&mut self, mut node: Node) -> Option<Key> {
        let slot = self.free;
        if let Some(place) = self.nodes.get_mut(slot as usize) {
            self.free = self.links.get(slot as usize).map_or(NONE, |link| link.next);
            node.generation = place.generation;
            let key = Key { slot, generation: node.generation };
            *place = node;
            return Some(key);
        }
        self.grow(node)
    }

    #[cold]
    fn grow(&mut self, mut node: Node) -> Option<Key> {
        let slot = u32::try_from(self.nodes.len()).ok().filter(|slot| *slot != NONE)?;
        node.generation = 0;
        self.nodes.push(node);
        self.links.push(Link::NONE);
        Some(Key { slot, generation: 0 })
    }

    #[inline]
    pub(super) fn free(&mut self, slot: u32) {
        if let Some(node) = self.nodes.get_mut(slot as usize) {
            node.status = Status::Free;
            node.generation = node.generation.wrapping_add(1);
            if let Some(link) = self.links.get_mut(slot as usize) {
                link.next = self.free;
                self.free = slot;
            }
        }
    }
}
