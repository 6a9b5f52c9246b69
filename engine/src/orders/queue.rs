//! What waits to be sent: orders, changes, cancels and looks at the broker's book, in the order in which they leave.
//!
//! Cancels go first, then exits, then the desk's own look at the broker's book, then changes, then entries; of each kind
//! the oldest first. What goes to the paper exchange waits for the venue only, and stands behind nobody.

use std::collections::VecDeque;

use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{Book, ClientOrderId, Intent};

use super::limiter::Class;
use super::{CommandKind, Tracked};

/// In this order messages leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Whatever goes to the paper exchange.
    Paper,
    Cancel,
    Exit,
    /// The desk's own look at the broker's book, where that counts against the limits.
    Read,
    Modify,
    Entry,
}

impl Rank {
    pub(super) const ALL: [Self; 6] = [Self::Paper, Self::Cancel, Self::Exit, Self::Read, Self::Modify, Self::Entry];

    /// Where a message about that order stands.
    pub(super) fn of(order: &Tracked, kind: &CommandKind) -> Self {
        match (order.book, kind, order.request.intent) {
            (Book::Paper, ..) => Self::Paper,
            (Book::Live, CommandKind::Cancel, _) => Self::Cancel,
            (Book::Live, CommandKind::Modify(_), _) => Self::Modify,
            (Book::Live, CommandKind::Place, Intent::Reduce(_)) => Self::Exit,
            (Book::Live, CommandKind::Place, Intent::Open) => Self::Entry,
        }
    }

    /// How much of the broker's limits it may use.
    pub(super) const fn class(self) -> Class {
        match self {
            Self::Paper | Self::Cancel | Self::Exit | Self::Read => Class::Urgent,
            Self::Modify | Self::Entry => Class::Entry,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) id: ClientOrderId,
    pub(super) kind: CommandKind,
    /// When it was asked for.
    pub(super) asked: Monotonic,
    /// The last moment it may leave; a cancel has none.
    pub(super) deadline: Option<Monotonic>,
    /// It was turned back, and must not leave before.
    pub(super) not_before: Monotonic,
}

/// All that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    ranks: [VecDeque<Waiting>; Rank::ALL.len()],
    /// The look at the broker's book that waits.
    pub(super) read: Option<u64>,
}

impl Queue {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.read.is_none() && self.ranks.iter().all(VecDeque::is_empty)
    }

    /// Whether a message of that rank waits.
    pub(super) fn has(&self, rank: Rank) -> bool {
        self.ranks.get(rank.index()).is_some_and(|queue| !queue.is_empty())
    }

    /// Adds a message behind all of its rank that were asked for no later.
    pub(super) fn push(&mut self, rank: Rank, waiting: Waiting) {
        if let Some(queue) = self.ranks.get_mut(rank.index()) {
            let place = queue.partition_point(|other| other.asked <= waiting.asked);
            queue.insert(place, waiting);
        }
    }

    /// All of a rank, oldest first, out of the queue.
    pub(super) fn take(&mut self, rank: Rank) -> VecDeque<Waiting> {
        self.ranks.get_mut(rank.index()).map(std::mem::take).unwrap_or_default()
    }

    /// Puts back what [`take`](Self::take) took and did not leave.
    pub(super) fn put_back(&mut self, rank: Rank, left: VecDeque<Waiting>) {
        let came = self.take(rank);
        if let Some(queue) = self.ranks.get_mut(rank.index()) {
            *queue = left;
        }
        for waiting in came {
            self.push(rank, waiting);
        }
    }

    /// When the first of a rank may leave, the limits aside.
    pub(super) fn first_start(&self, rank: Rank) -> Option<Monotonic> {
        self.ranks.get(rank.index())?.iter().map(|waiting| waiting.not_before).min()
    }

    /// The first moment that is some message's last.
    pub(super) fn first_deadline(&self) -> Option<Monotonic> {
        self.iter().filter_map(|waiting| waiting.deadline).min()
    }

    /// All that waits, in the order of ranks.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.ranks.iter().flatten()
    }

    /// Takes those that `which` chooses out of the queue.
    pub(super) fn remove(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut gone = Vec::new();
        for queue in self.ranks.iter_mut().filter(|queue| queue.iter().any(&which)) {
            let (chosen, kept): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(queue).into_iter().partition(|waiting| which(waiting));
            gone.extend(chosen);
            *queue = kept;
        }
        gone
    }
}
