//! What `tests/tests/rules/runner.rs` decides by chance, decided by the fuzzer's bytes: eight for the policy, four for each
//! step, of which the first is its kind.
#![allow(dead_code, reason = "each target uses a part")]

/// More steps teach nothing new and cost time.
const MOST: usize = 160;

/// A number, spent piece by piece.
#[derive(Clone, Copy)]
pub struct Dice(u64);

impl Dice {
    /// The plainest choice, always.
    pub const ZERO: Self = Self(0);

    pub fn roll(&mut self, sides: u64) -> u64 {
        let rolled = self.0 % sides;
        self.0 /= sides;
        rolled
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.roll(from.len() as u64);
        from[index as usize]
    }

    pub fn flip(&mut self) -> bool {
        self.roll(2) == 1
    }
}

/// A sequence of steps.
pub struct Sequence<S> {
    pub policy: Dice,
    pub steps: Vec<S>,
}

impl<S: Clone> Sequence<S> {
    /// What the bytes say.
    pub fn read(bytes: &[u8], kinds: usize, step: fn(usize, Dice) -> S) -> Self {
        let (policy, rest) = bytes.split_at(bytes.len().min(8));
        let mut number = [0; 8];
        number[..policy.len()].copy_from_slice(policy);
        let steps = rest.chunks_exact(4).take(MOST).map(|four| {
            let dice = u32::from_le_bytes([four[1], four[2], four[3], 0]);
            step(usize::from(four[0]) % kinds, Dice(u64::from(dice)))
        });
        Self { policy: Dice(u64::from_le_bytes(number)), steps: steps.collect() }
    }

    /// All that happens: half of the stories begin with a session that lives.
    pub fn after(&self, prelude: &[S]) -> Vec<S> {
        let prelude = if self.policy.0 >> 63 == 1 { prelude } else { &[] };
        prelude.iter().chain(&self.steps).cloned().collect()
    }
}
