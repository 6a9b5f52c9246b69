//! Nirantar's core alone on the stream of the comparison, with order records, positions and events out:
//!
//! `valgrind --tool=callgrind --toggle-collect='*core::work*' target/release/core EVENTS`

#![allow(clippy::unwrap_used)]

use nirantar_bench_exchange::Engine;
use nirantar_bench_exchange::events::stream;
use nirantar_bench_exchange::ours::{Command, Whole};

/// What is counted; a function of its own so that callgrind finds it.
#[inline(never)]
fn work(engine: &mut Whole, commands: &[Command]) {
    commands.iter().for_each(|command| engine.apply(command));
}

fn main() {
    let events = std::env::args().nth(1).map_or(1_000_000, |events| events.parse().unwrap());
    let commands: Vec<_> = stream(1, events).iter().map(Whole::translate).collect();
    let mut engine = Whole::new(events);
    work(&mut engine, &commands);
    println!("{events} events, {} units traded", engine.traded());
}
