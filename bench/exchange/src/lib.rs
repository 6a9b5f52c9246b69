//! One stream of events, and everybody who can run it.

#![allow(clippy::unwrap_used, clippy::panic)]

pub mod events;
pub mod ours;
pub mod peers;

/// An order book under test.
pub trait Engine {
    /// An event as its calls want it, made before the clock starts.
    type Command;
    /// Its name and release.
    const NAME: &'static str;

    fn new(events: usize) -> Self;

    fn translate(event: &events::Event) -> Self::Command;

    fn apply(&mut self, command: &Self::Command);

    /// Units traded so far: everybody must come to the same.
    fn traded(&self) -> u64;
}
