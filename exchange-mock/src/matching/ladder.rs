//! The price levels of one side, best first.
//!
//! A price is known by its *rank*: the lower, the earlier it is served. A sell's rank is its price, a buy's is its price
//! negated; so one ladder serves both sides, and stops as well.
//!
//! Levels round the market lie in an array, one per tick, with a bitmap of those that hold orders: 64 words of 64 bits,
//! and one word that says which of them are not empty. Finding, adding and leaving a level, and finding the best, are a
//! few instructions each, whatever rests. Prices outside the window, and prices that are on no tick, lie in an ordered
//! map. When prices have moved away from the window, it moves after them; that costs one pass over it per 4,096 orders
//! that missed it.

use std::collections::BTreeMap;

/// The slot that holds no order.
pub(super) const NONE: u32 = 0;

const WORDS: usize = 64;
const LEVELS: usize = WORDS * 64;

/// The orders at one price, first to last, by their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) head: u32,
    pub(super) tail: u32,
    /// Units that are shown: hidden parts of disclosed orders are not.
    pub(super) shown: u64,
}

impl Level {
    const EMPTY: Self = Self { head: NONE, tail: NONE, shown: 0 };

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

#[derive(Clone, Debug)]
pub(super) struct Ladder {
    tick: u64,
    /// Two to the power of 64 divided by the tick, rounded up: dividing by the tick is one multiplication.
    inverse: u64,
    /// Rank of the window's first level; a whole number of ticks.
    base: i64,
    /// Ranks from the first level to the end of the window; none before there is one.
    span: u64,
    levels: Vec<Level>,
    words: [u64; WORDS],
    /// Which words are not zero.
    summary: u64,
    /// Levels outside the window. None of them is empty.
    far: BTreeMap<i64, Level>,
    /// Orders that came to `far` since the window last moved.
    missed: usize,
}

impl Ladder {
    /// Nothing is allocated before the first order.
    pub(super) fn new(tick: i64) -> Self {
        // Offsets in the window stay below 2^32, where the multiplication is exact.
        let tick = u64::try_from(tick).unwrap_or(1).clamp(1, (u64::from(u32::MAX) - 1) / LEVELS as u64);
        Self {
            tick,
            inverse: (u64::MAX / tick).wrapping_add(1),
            base: 0,
            span: 0,
            levels: Vec::new(),
            words: [0; WORDS],
            summary: 0,
            far: BTreeMap::new(),
            missed: 0,
        }
    }

    /// The level at a rank, if it holds an order.
    #[inline]
    pub(super) fn get_mut(&mut self, rank: i64) -> Option<&mut Level> {
        match self.near(rank) {
            Some(index) => self.levels.get_mut(index).filter(|level| !level.is_empty()),
            None => self.far.get_mut(&rank),
        }
    }

    /// The level at a rank, to which an order is about to be added.
    #[inline]
    pub(super) fn enter(&mut self, rank: i64) -> &mut Level {
        if let Some(index) = self.near(rank)
            && index < self.levels.len()
        {
            let word = index / 64 % WORDS;
            self.words[word] |= 1 << (index % 64);
            self.summary |= 1 << word;
            return &mut self.levels[index];
        }
        self.enter_far(rank)
    }

    #[cold]
    fn enter_far(&mut self, rank: i64) -> &mut Level {
        self.missed += 1;
        if self.is_on_tick(rank) && (self.summary == 0 || self.missed > LEVELS) && self.centre(rank) {
            return self.enter(rank);
        }
        self.far.entry(rank).or_insert(Level::EMPTY)
    }

    /// Changes the level at a rank, from which an order leaves. If that was the last one, the level goes too.
    #[inline(always)]
    pub(super) fn leave(&mut self, rank: i64, change: impl FnOnce(&mut Level)) {
        if let Some(index) = self.near(rank)
            && let Some(level) = self.levels.get_mut(index)
        {
            change(level);
            // No branch: whether it was the last one is anybody's guess.
            let word = index / 64 % WORDS;
            self.words[word] &= !(u64::from(level.is_empty()) << (index % 64));
            self.summary &= !(u64::from(self.words[word] == 0) << word);
        } else if let Some(level) = self.far.get_mut(&rank) {
            change(level);
            if level.is_empty() {
                self.far.remove(&rank);
            }
        }
    }

    /// Whether there is no level.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.summary == 0 && self.far.is_empty()
    }

    /// The best rank.
    #[inline]
    pub(super) fn first(&self) -> Option<i64> {
        self.best().map(|(rank, _)| rank)
    }

    /// The best level, and its rank.
    #[inline]
    pub(super) fn best(&self) -> Option<(i64, &Level)> {
        // With no word that is not empty this is past the end.
        let word = self.summary.trailing_zeros() as usize;
        let near = self.words.get(word).and_then(|bits| {
            let index = word * 64 + bits.trailing_zeros() as usize;
            Some((self.rank(index), self.levels.get(index)?))
        });
        if self.far.is_empty() { near } else { self.better_of(near) }
    }

    #[cold]
    fn better_of<'a>(&'a self, near: Option<(i64, &'a Level)>) -> Option<(i64, &'a Level)> {
        let far = self.far.first_key_value().map(|(rank, level)| (*rank, level));
        near.into_iter().chain(far).min_by_key(|(rank, _)| *rank)
    }

    /// The best rank after this one.
    pub(super) fn after(&self, rank: i64) -> Option<i64> {
        let next = rank.checked_add(1)?;
        let past = i128::from(next) - i128::from(self.base);
        // The first level at or past `next`.
        let index = usize::try_from((past.max(0) + i128::from(self.tick) - 1) / i128::from(self.tick)).ok();
        let near = index.and_then(|index| self.first_near(index)).map(|index| self.rank(index));
        let far = self.far.range(next..).next().map(|(rank, _)| *rank);
        near.into_iter().chain(far).min()
    }

    /// The levels that hold orders, best first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Level)> {
        let mut rank = self.first();
        std::iter::from_fn(move || {
            let here = rank?;
            rank = self.after(here);
            self.get(here).map(|level| (here, level))
        })
    }

    fn get(&self, rank: i64) -> Option<&Level> {
        match self.near(rank) {
            Some(index) => self.levels.get(index),
            None => self.far.get(&rank),
        }
    }

    /// The place of a rank in the window.
    #[inline]
    fn near(&self, rank: i64) -> Option<usize> {
        let offset = rank.wrapping_sub(self.base) as u64;
        if offset >= self.span {
            return None;
        }
        if self.tick == 1 {
            return Some(offset as usize);
        }
        let index = ((u128::from(offset) * u128::from(self.inverse)) >> 64) as u64;
        (index * self.tick == offset).then_some(index as usize)
    }

    #[inline]
    fn rank(&self, index: usize) -> i64 {
        // Below the end of the window, which was checked when it was laid.
        self.base + (index as u64 * self.tick) as i64
    }

    /// The first level of the window, at this place or later, that holds an order.
    #[inline]
    fn first_near(&self, from: usize) -> Option<usize> {
        let (word, bit) = (from / 64, from % 64);
        let here = self.words.get(word)? & (u64::MAX << bit);
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros() as usize);
        }
        let later = self.summary & u64::MAX.checked_shl(word as u32 + 1).unwrap_or(0);
        let word = later.trailing_zeros() as usize;
        Some(word * 64 + self.words.get(word)?.trailing_zeros() as usize)
    }

    fn clear(&mut self, index: usize) {
        let word = index / 64 % WORDS;
        self.words[word] &= !(1 << (index % 64));
        if self.words[word] == 0 {
            self.summary &= !(1 << word);
        }
        if let Some(level) = self.levels.get_mut(index) {
            *level = Level::EMPTY;
        }
    }

    fn is_on_tick(&self, rank: i64) -> bool {
        rank.rem_euclid(self.tick as i64) == 0
    }

    /// Lays the window so that `rank` is in its middle. Levels change between it and the map; orders do not notice.
    /// Nothing is done, and false returned, at the ends of the number range.
    fn centre(&mut self, rank: i64) -> bool {
        self.missed = 0;
        let span = self.tick * LEVELS as u64;
        let half = (span / 2) as i64;
        let (Some(base), Some(_)) = (rank.checked_sub(half), rank.checked_add(half)) else { return false };
        while let Some(index) = self.first_near(0) {
            if let Some(level) = self.levels.get(index) {
                self.far.insert(self.rank(index), *level);
            }
            self.clear(index);
        }
        self.levels.resize(LEVELS, Level::EMPTY);
        (self.base, self.span) = (base, span);
        let end = base.saturating_add(span as i64);
        let inside: Vec<i64> = self.far.range(base..end).map(|(rank, _)| *rank).collect();
        for rank in inside {
            if self.is_on_tick(rank)
                && let Some(level) = self.far.remove(&rank)
            {
                *self.enter(rank) = level;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nirantar_brokers::time::Rng;

    #[test]
    fn it_is_an_ordered_set_of_ranks_wherever_they_lie() {
        let mut rng = Rng::from_seed(1);
        for (tick, spread) in [(1, 500), (5, 20_000), (7, 100_000), (500, 1 << 40)] {
            let (mut ladder, mut model) = (Ladder::new(tick), BTreeMap::new());
            // The middle wanders, so that the window has to follow.
            let mut middle = 1_000_000i64;
            for step in 0..20_000u32 {
                middle += rng.below(40 * tick as u64) as i64 - 20 * tick;
                // One price in eight is on no tick.
                let off = if rng.below(8) == 0 { 1 } else { 0 };
                let rank = (middle + rng.below(spread) as i64 - spread as i64 / 2) / tick * tick + off;
                if rng.below(2) == 0 {
                    ladder.enter(rank).head = step + 1;
                    model.insert(rank, step + 1);
                } else if let Some((&rank, _)) = model.range(rank..).next() {
                    assert_eq!(ladder.get_mut(rank).map(|level| level.head), model.remove(&rank));
                    ladder.leave(rank, |level| *level = Level::EMPTY);
                }
                assert_eq!(ladder.get_mut(rank).map(|level| level.head), model.get(&rank).copied());
                assert_eq!(ladder.first(), model.keys().next().copied());
                if step % 1_000 == 0 {
                    let levels: Vec<_> = ladder.iter().map(|(rank, level)| (rank, level.head)).collect();
                    assert_eq!(levels, model.iter().map(|(rank, head)| (*rank, *head)).collect::<Vec<_>>());
                }
            }
            assert!(ladder.levels.len() == LEVELS && ladder.summary != 0, "the window was used");
        }
    }

    #[test]
    fn ranks_at_the_ends_of_the_number_range_are_no_trouble() {
        let mut ladder = Ladder::new(5);
        let ranks = [i64::MIN, i64::MIN + 5, -5, 0, 5, i64::MAX - 5, i64::MAX];
        for (head, rank) in ranks.into_iter().enumerate() {
            ladder.enter(rank).head = 1 + head as u32;
        }
        assert_eq!(ladder.iter().map(|(rank, _)| rank).collect::<Vec<_>>(), ranks);
        for rank in ranks {
            assert_eq!(ladder.first(), Some(rank));
            ladder.leave(rank, |level| *level = Level::EMPTY);
        }
        assert_eq!(ladder.first(), None);
        let huge = Ladder::new(i64::MAX);
        assert_eq!(huge.first(), None);
    }
}
