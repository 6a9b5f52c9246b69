//! A plain breadth-first search over all that can happen: every state once, by its hash, and the shortest way to the first
//! one that breaks a property. The sort of thing `stateright` does, in a page; it needs no web server for it.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::hash::Hasher;

/// What is explored.
pub trait Model {
    /// All that decides what happens next.
    type State: Clone;
    /// One thing that happens.
    type Action: Copy + Debug;

    /// Where everything begins.
    fn initial(&self) -> Self::State;
    /// What may happen now.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);
    /// Lets it happen; words for what came of it are added if there is somebody to read them.
    ///
    /// # Errors
    /// The property that is broken.
    fn step(&self, state: &mut Self::State, action: Self::Action, words: Option<&mut String>) -> Result<(), String>;
    /// What the state is told apart by.
    fn key(&self, state: &Self::State) -> u128;
    /// What must hold in every state, seen once in each.
    ///
    /// # Errors
    /// The property that is broken.
    fn check(&mut self, state: &Self::State) -> Result<(), String>;
}

/// A complete exploration.
#[derive(Clone, Copy, Debug)]
pub struct Explored {
    /// States, each reached in some way.
    pub states: usize,
    /// Steps from one to another, or to the same.
    pub steps: usize,
    /// The most steps it takes to reach a state.
    pub depth: u32,
    /// States that were reached again in another way, and whose next steps were compared with those of the first.
    pub compared: usize,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, compared } = self;
        write!(
            f,
            "{states} states, {steps} steps, the farthest {depth} steps away; {compared} states reached twice compared"
        )
    }
}

/// The shortest story that breaks a property.
#[derive(Debug)]
pub struct Counterexample {
    /// What is broken.
    pub why: String,
    /// What happened, a line a step.
    pub story: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  after {} steps:\n{}", self.why, self.story.len(), self.story.join("\n"))
    }
}

/// How many states that were taken for one are compared.
const MOST_COMPARED: usize = 2000;
/// One in so many.
const COMPARE_EVERY: usize = 61;

/// Where a state was reached from, by what, and what its next steps led to.
struct Reached<A> {
    from: u32,
    by: Option<A>,
    depth: u32,
    next: u64,
}

/// Explores everything, or up to the first thing that is wrong.
///
/// # Errors
/// What is wrong, with the shortest way there.
///
/// # Panics
/// Beyond `most` states: then the bound that was stated is none.
pub fn explore<M: Model>(model: &mut M, most: usize) -> Result<Explored, Counterexample> {
    let mut search = Search { known: Known::default(), reached: Vec::new() };
    let (initial, mut frontier, mut twice) = (model.initial(), VecDeque::new(), Vec::new());
    let (mut steps, mut again, mut actions) = (0, 0_usize, Vec::new());
    search.add(model.key(&initial), Reached { from: 0, by: None, depth: 0, next: 0 });
    model.check(&initial).map_err(|why| search.told(model, 0, None, why))?;
    frontier.push_back((0_u32, initial));
    while let Some((from, state)) = frontier.pop_front() {
        let depth = search.reached[from as usize].depth + 1;
        let mut next = 0;
        actions.clear();
        model.actions(&state, &mut actions);
        for action in &actions {
            let mut after = state.clone();
            model.step(&mut after, *action, None).map_err(|why| search.told(model, from, Some(*action), why))?;
            let key = model.key(&after);
            (steps, next) = (steps + 1, mixed(next, key as u64));
            if let Some(known) = search.known.get(key) {
                again += 1;
                if again.is_multiple_of(COMPARE_EVERY) && twice.len() < MOST_COMPARED {
                    twice.push((known, after));
                }
                continue;
            }
            let id = search.add(key, Reached { from, by: Some(*action), depth, next: 0 });
            model.check(&after).map_err(|why| search.told(model, id, None, why))?;
            assert!(search.reached.len() <= most, "more than {most} states: the bound is none");
            frontier.push_back((id, after));
        }
        search.reached[from as usize].next = next;
    }
    // States of one key were taken for one: what follows from the one must follow from the other.
    for (known, state) in &twice {
        let mut next = 0;
        actions.clear();
        model.actions(state, &mut actions);
        for action in &actions {
            let mut after = state.clone();
            model.step(&mut after, *action, None).map_err(|why| search.told(model, *known, Some(*action), why))?;
            next = mixed(next, model.key(&after) as u64);
        }
        if next != search.reached[*known as usize].next {
            let why = "two states were taken for one, and different things follow from them".to_owned();
            return Err(search.told(model, *known, None, why));
        }
    }
    let depth = search.reached.iter().map(|reached| reached.depth).max().unwrap_or(0);
    Ok(Explored { states: search.reached.len(), steps, depth, compared: twice.len() })
}

struct Search<A> {
    known: Known,
    reached: Vec<Reached<A>>,
}

impl<A: Copy + Debug> Search<A> {
    fn add(&mut self, key: u128, reached: Reached<A>) -> u32 {
        let id = u32::try_from(self.reached.len()).expect("four billion states fit no memory");
        self.known.insert(key, id);
        self.reached.push(reached);
        id
    }

    /// Plays the way to that state, and one step more, once again, with words.
    fn told<M: Model<Action = A>>(&self, model: &M, mut id: u32, last: Option<A>, why: String) -> Counterexample {
        let mut way: Vec<A> = last.into_iter().collect();
        while let Reached { from, by: Some(action), .. } = self.reached[id as usize] {
            way.push(action);
            id = from;
        }
        let (mut state, mut story) = (model.initial(), Vec::new());
        for action in way.into_iter().rev() {
            let mut words = String::new();
            // The last one breaks the property again, which is known.
            let _ = model.step(&mut state, action, Some(&mut words));
            story.push(format!("  {:?}{words}", action));
        }
        Counterexample { why, story }
    }
}

/// Which keys are known, and as what. Nobody walks over it, so its order is nobody's.
#[derive(Default)]
#[allow(clippy::disallowed_types, reason = "it is asked for single keys only, and speed is what the bound is made of")]
pub struct Known(std::collections::HashMap<u128, u32, PassedOn>);

impl Known {
    /// What is known of that key.
    pub fn get(&self, key: u128) -> Option<u32> {
        self.0.get(&key).copied()
    }

    /// Remembers it.
    pub fn insert(&mut self, key: u128, value: u32) {
        self.0.insert(key, value);
    }
}

type PassedOn = std::hash::BuildHasherDefault<LowHalf>;

/// A key is a good hash already.
#[derive(Default)]
pub struct LowHalf(u64);

impl Hasher for LowHalf {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

const fn mixed(before: u64, word: u64) -> u64 {
    (before.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A hasher of 128 bits: two states in a million share a key with a chance of 1 in 10^26. Quick without optimisation.
pub struct Wide {
    low: u64,
    high: u64,
}

impl Wide {
    /// A hasher of nothing so far.
    pub const fn new() -> Self {
        Self { low: 0x243f_6a88_85a3_08d3, high: 0x1319_8a2e_0370_7344 }
    }

    /// All of the hash.
    pub fn key(&self) -> u128 {
        let (low, high) = (self.low ^ (self.low >> 29), self.high ^ (self.high >> 31));
        (u128::from(mixed(high, low)) << 64) | u128::from(mixed(low, self.high))
    }

    const fn word(&mut self, word: u64) {
        self.low = mixed(self.low, word) ^ (self.low >> 32);
        self.high = (self.high.rotate_left(41) ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ (self.high >> 30);
    }
}

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        self.key() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.word(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.word(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.word(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_i64(&mut self, number: i64) {
        self.word(number as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.word(number as u64);
    }
}
