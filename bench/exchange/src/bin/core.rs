//! One of them alone on the stream of the comparison, for callgrind and for tails without the others' noise:
//!
//! `valgrind --tool=callgrind --toggle-collect='*core::work*' target/release/core ours|bare|market|matchcore EVENTS [growing]`

#![allow(clippy::unwrap_used)]

use nirantar_bench_exchange::Engine;
use nirantar_bench_exchange::events::{Size, stream};
use nirantar_bench_exchange::ours::{Bare, Command, Whole, market};
use nirantar_bench_exchange::peers::Matchcore;

/// What is counted; a function of its own so that callgrind finds it.
#[inline(never)]
fn work<E: Engine>(engine: &mut E, commands: &[E::Command]) {
    commands.iter().for_each(|command| engine.apply(command));
}

fn worked() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn run<E: Engine>(events: usize, size: Size) {
    let commands: Vec<_> = stream(1, events, size).events.iter().map(E::translate).collect();
    for _ in 0..3 {
        let mut engine = E::new(events);
        let start = worked();
        work(&mut engine, &commands);
        let nanos = (worked() - start) / events as f64;
        println!("{} {events} events, {} units traded, {nanos:.1} ns an event", E::NAME, engine.traded());
    }
}

fn market_orders(count: usize) {
    for _ in 0..3 {
        let (mut engine, orders) = market(count);
        let commands: Vec<_> = orders.into_iter().map(Command::Limit).collect();
        let start = worked();
        work(&mut engine, &commands);
        println!("{count} market orders, {:.1} ns an event", (worked() - start) / count as f64);
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (who, events) = (args.next(), args.next().map_or(1_000_000, |events| events.parse().unwrap()));
    let size = if args.next().is_some() { Size::Growing } else { Size::Steady };
    match who.as_deref() {
        Some("market") => market_orders(events),
        Some("matchcore") => run::<Matchcore>(events, size),
        Some("bare") => run::<Bare>(events, size),
        _ => run::<Whole>(events, size),
    }
}
