//! Randomness that is the same on every machine: ChaCha8, seeded by number.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A named generator (ChaCha8): the same seed gives the same numbers on every platform and release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The generator of that seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Any 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; 0 if `bound` is 0. The bias of the multiplication method is below 2^-32 for the bounds
    /// used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.next_u64()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// `span` made up to `percent` % shorter, so that many waiters do not come back at once.
    pub fn jitter(&mut self, span: Duration, percent: u32) -> Duration {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let cut = self.below((nanos / 100).saturating_mul(u64::from(percent.min(100))).saturating_add(1));
        Duration::from_nanos(nanos - cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_for_ever() {
        let mut rng = Rng::from_seed(7);
        let first: Vec<u64> = (0..3).map(|_| rng.below(1000)).collect();
        let mut again = Rng::from_seed(7);
        assert_eq!(first, (0..3).map(|_| again.below(1000)).collect::<Vec<_>>());
    }

    #[test]
    fn jitter_never_lengthens_and_never_cuts_more_than_asked() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..1000 {
            let span = rng.jitter(Duration::from_secs(10), 20);
            assert!(span <= Duration::from_secs(10) && span >= Duration::from_secs(8));
        }
    }
}
