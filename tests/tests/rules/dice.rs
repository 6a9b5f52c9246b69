//! What decides a story: random numbers (`runner.rs`), or a fuzzer's bytes (`fuzz/rules/bytes.rs`).

use std::fmt::Debug;

/// A number, spent piece by piece. Zero gives the plainest choice, so that shrinking leads there.
#[derive(Clone, Copy)]
pub struct Dice(pub u64);

impl Dice {
    /// The plainest choice, always.
    pub const ZERO: Self = Self(0);

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        let rolled = self.0 % sides;
        self.0 /= sides;
        rolled
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.roll(from.len() as u64);
        from[index as usize]
    }

    /// True or false; false first.
    pub fn flip(&mut self) -> bool {
        self.roll(2) == 1
    }
}

/// Chance that never runs out.
pub struct Chance(nirantar_brokers::time::Rng);

impl Chance {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0.below(sides)
    }

    /// True or false.
    pub fn flip(&mut self) -> bool {
        self.roll(2) == 1
    }
}

/// A sequence of steps: of which kind each is, and what it is decided by.
#[derive(Clone)]
pub struct Sequence<S> {
    /// Decides the policy.
    pub policy: Dice,
    /// What happens.
    pub steps: Vec<S>,
}

impl<S: Clone> Sequence<S> {
    /// Chance beside the steps themselves: the same for the same policy.
    pub fn chance(&self) -> Chance {
        Chance(nirantar_brokers::time::Rng::from_seed(self.policy.0))
    }

    /// All that happens: half of the stories begin with a session that lives.
    pub fn after(&self, prelude: &[S]) -> Vec<S> {
        let prelude = if self.policy.0 >> 63 == 1 { prelude } else { &[] };
        prelude.iter().chain(&self.steps).cloned().collect()
    }
}

impl<S: Debug> Debug for Sequence<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            write!(f, "\n  {:3}  {step:?}", number + 1)?;
        }
        Ok(())
    }
}
