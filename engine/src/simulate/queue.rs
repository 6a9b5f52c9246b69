//! What is going to happen, ordered by (time, sequence): of two things due at one moment the one asked for first comes
//! first, on every machine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::time::Instant;

/// The simulator's only source of order.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// When, as which, and where in `what` it lies: what happens is large, and a heap moves its entries about.
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    what: Vec<Option<T>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), what: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    /// `what` happens at `at`, after all that was put there before it.
    pub(super) fn put(&mut self, at: Instant, what: T) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or(self.what.len());
        match self.what.get_mut(place) {
            Some(empty) => *empty = Some(what),
            None => self.what.push(Some(what)),
        }
        self.heap.push(Reverse((at, self.sequence, place)));
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next thing.
    pub(super) fn take(&mut self) -> Option<(Instant, T)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        let what = self.what.get_mut(place)?.take()?;
        self.free.push(place);
        Some((at, what))
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
