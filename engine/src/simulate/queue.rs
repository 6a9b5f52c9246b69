//! What is going to happen, ordered by (time, sequence): of two things due at one moment the one asked for first comes
//! first, on every machine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::time::Instant;

/// The simulator's only source of order.
#[derive(Debug)]
pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    /// `what` happens at `at`, after all that was put there before it.
    pub(super) fn put(&mut self, at: Instant, what: T) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, what }));
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next thing.
    pub(super) fn take(&mut self) -> Option<(Instant, T)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_together_comes_in_the_order_in_which_it_was_asked_for() {
        let mut queue = Queue::new();
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        for (seconds, what) in [(2, "c"), (1, "a"), (2, "d"), (1, "b"), (0, "first")] {
            queue.put(at(seconds), what);
        }
        assert_eq!(queue.next_at(), Some(at(0)));
        let order: Vec<&str> = std::iter::from_fn(|| queue.take()).map(|(_, what)| what).collect();
        assert_eq!(order, ["first", "a", "b", "c", "d"]);
    }
}
