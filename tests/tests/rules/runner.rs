//! Runs a property over random sequences, the same ones on every run, and says how many there were.
//!
//! `NIRANTAR_SEED=n` gives other sequences; the seed is printed, and it is the bug report.

use std::cell::Cell;
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::dice::{Dice, Sequence};

/// Sequences of so many steps, each decoded from a kind (the first being the plainest) and a [`Dice`].
fn sequences<S: Clone + Debug + 'static>(
    length: std::ops::Range<usize>,
    kinds: usize,
    decode: fn(usize, Dice) -> S,
) -> impl Strategy<Value = Sequence<S>> {
    let steps = vec((0..kinds, any::<u64>()), length);
    (any::<u64>(), steps).prop_map(move |(policy, raw)| {
        let steps = raw.into_iter().map(|(kind, dice)| decode(kind, Dice(dice))).collect();
        Sequence { policy: Dice(policy), steps }
    })
}

/// What a property is tried on.
pub struct Trial<S: 'static> {
    /// The rule's test.
    pub name: &'static str,
    /// How many sequences.
    pub sequences: u32,
    /// How many kinds of step there are.
    pub kinds: usize,
    /// What a kind and a dice make.
    pub decode: fn(usize, Dice) -> S,
}

/// The shortest and, but one, the longest sequence.
const LENGTHS: std::ops::Range<usize> = 100..140;

impl<S: Clone + Debug + 'static> Trial<S> {
    /// Runs `property` on every sequence; it returns how many events it made of it, or what is wrong.
    pub fn run(&self, property: impl Fn(&Sequence<S>) -> Result<usize, String>) {
        let seed: u64 = std::env::var("NIRANTAR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2026);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let config =
            Config { cases: self.sequences, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
        let events = Cell::new(0);
        let strategy = sequences(LENGTHS, self.kinds, self.decode);
        let result = TestRunner::new_with_rng(config, rng).run(&strategy, |sequence| {
            events.set(events.get() + property(&sequence).map_err(TestCaseError::fail)?);
            Ok(())
        });
        match result {
            Ok(()) => println!("{}: {} sequences, {} events, seed {seed}", self.name, self.sequences, events.get()),
            Err(TestError::Fail(_, sequence)) => {
                let sequence = shortest(sequence, &property);
                let why = property(&sequence).err().unwrap_or_default();
                panic!("{}, seed {seed}: {why}\nsteps: {sequence:?}", self.name)
            }
            Err(TestError::Abort(why)) => panic!("{}: {why}", self.name),
        }
    }
}

/// Leaves out every step without which the property still fails; proptest never goes below the shortest length.
fn shortest<S: Clone>(
    mut sequence: Sequence<S>,
    property: impl Fn(&Sequence<S>) -> Result<usize, String>,
) -> Sequence<S> {
    loop {
        let before = sequence.steps.len();
        for index in (0..before).rev() {
            let mut without = sequence.clone();
            without.steps.remove(index);
            if property(&without).is_err() {
                sequence = without;
            }
        }
        if sequence.steps.len() == before {
            return sequence;
        }
    }
}
