//! Nirantar's matching core against its peers, round-robin in one process.
//!
//! `cargo run --release --manifest-path bench/exchange/Cargo.toml -- [ROUNDS] [EVENTS]`

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the machine's own time")]

mod costs;

use std::hint::black_box;
use std::time::{Duration, Instant};

use nirantar_bench_exchange::Engine;
use nirantar_bench_exchange::events::{Event, Size, Stream, stream};
use nirantar_bench_exchange::ours::{Bare, Counted, Whole, market};
use nirantar_bench_exchange::peers::{Matchcore, OrderbookRs, RustOb, barter};
use nirantar_brokers::time::Timestamp;
use nirantar_exchange_mock::matching::NewOrder;

/// The time this thread has had a processor: others on the machine do not count, as far as they leave the caches alone.
struct Worked(Duration);

impl Worked {
    fn so_far() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn now() -> Self {
        Self(Self::so_far())
    }

    fn elapsed(&self) -> Duration {
        Self::so_far() - self.0
    }
}

/// Nanoseconds per event of one round. Like [`each`] a function of its own for everybody: in one with all the others it
/// would depend on them where the compiler keeps what.
#[inline(never)]
fn round<E: Engine>(commands: &[E::Command]) -> (f64, u64) {
    let mut engine = E::new(commands.len());
    let start = Worked::now();
    for command in commands {
        engine.apply(command);
    }
    let nanos = start.elapsed().as_nanos() as f64;
    (nanos / commands.len() as f64, black_box(engine).traded())
}

/// Nanoseconds of every event of one round, sorted.
#[inline(never)]
fn each<E: Engine>(commands: &[E::Command]) -> Vec<u32> {
    let mut engine = E::new(commands.len());
    let mut nanos = vec![0; commands.len()];
    for (command, nanos) in commands.iter().zip(&mut nanos) {
        let start = Instant::now();
        engine.apply(command);
        *nanos = start.elapsed().as_nanos() as u32;
    }
    black_box(engine);
    nanos.sort_unstable();
    nanos
}

#[derive(Default)]
struct Line {
    name: &'static str,
    nanos: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn range(figures: &[f64]) -> String {
    let (low, high) = figures.iter().fold((f64::MAX, 0f64), |(low, high), it| (low.min(*it), high.max(*it)));
    format!("{low:.1}-{high:.1}")
}

fn commands<E: Engine>(events: &[Event]) -> Vec<E::Command> {
    events.iter().map(E::translate).collect()
}

fn take_round<E: Engine>(line: &mut Line, commands: &[E::Command], tails: bool, traded: &mut Option<u64>) {
    line.name = E::NAME;
    let (nanos, units) = round::<E>(commands);
    line.nanos.push(nanos);
    assert_eq!(*traded.get_or_insert(units), units, "{} traded something else", E::NAME);
    if tails {
        let each = each::<E>(commands);
        let at = |share: f64| f64::from(each[(each.len() as f64 * share) as usize]);
        line.p50.push(at(0.5));
        line.p99.push(at(0.99));
        line.p999.push(at(0.999));
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().unwrap());
    let (rounds, count) = (args.next().unwrap_or(7), args.next().unwrap_or(1_000_000));
    println!("{count} events, {rounds} rounds, round-robin; ns of processor per event, median (min-max)");
    println!("a book that keeps its size:");
    let lines = compare(rounds, count, Size::Steady);
    println!("a book that grows:");
    compare(rounds, count, Size::Growing);
    market_orders(rounds, count.min(200_000));
    costs::print(rounds, &lines);
}

/// Everybody on the same stream.
fn compare(rounds: usize, count: usize, size: Size) -> [Line; 6] {
    let Stream { events, resting } = stream(1, count, size);
    let (whole, bare, counted) = (commands::<Whole>(&events), commands::<Bare>(&events), commands::<Counted>(&events));
    let (matchcore, orderbook, rust_ob) =
        (commands::<Matchcore>(&events), commands::<OrderbookRs>(&events), commands::<RustOb>(&events));
    let mut lines: [Line; 6] = Default::default();
    let mut traded = None;
    for _ in 0..rounds {
        let [one, two, three, four, five, six] = &mut lines;
        take_round::<Whole>(one, &whole, true, &mut traded);
        take_round::<Matchcore>(two, &matchcore, true, &mut traded);
        take_round::<RustOb>(three, &rust_ob, false, &mut traded);
        take_round::<OrderbookRs>(four, &orderbook, false, &mut traded);
        take_round::<Bare>(five, &bare, false, &mut traded);
        take_round::<Counted>(six, &counted, false, &mut traded);
    }
    println!("  {} units traded by everybody, {resting} orders rest at the end", traded.unwrap_or(0));
    // Ratios of the same round, so that a slow moment of the machine counts on both sides.
    let against = |figures: fn(&Line) -> &Vec<f64>, line: &Line| {
        let pairs = figures(&lines[0]).iter().zip(figures(line));
        median(&pairs.map(|(ours, theirs)| theirs / ours).collect::<Vec<_>>())
    };
    for (line, wanted) in lines.iter().zip(["", ", wanted 2.5", ", wanted 5", ", wanted 30", "", ""]) {
        let ratio = against(|line| &line.nanos, line);
        println!(
            "  {:<24} {:>8.1} ({:>15})  {ratio:>6.2}x{wanted}",
            line.name,
            median(&line.nanos),
            range(&line.nanos)
        );
    }
    println!("  each event by itself, by the wall clock, timer included:");
    for line in &lines[..2] {
        println!(
            "  {:<24} p50 {:>6.0}  p99 {:>6.0}  p99.9 {:>6.0}",
            line.name,
            median(&line.p50),
            median(&line.p99),
            median(&line.p999)
        );
    }
    println!(
        "  p99 {:.2}x and p99.9 {:.2}x matchcore's, wanted 0.6",
        1.0 / against(|line| &line.p99, &lines[1]),
        1.0 / against(|line| &line.p999, &lines[1])
    );
    lines
}

/// Market orders, one unit each, against `barter-execution`'s mock exchange, called directly.
fn market_orders(rounds: usize, count: usize) {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let requests: Vec<barter::Request> = (0..count as u64).map(|no| barter::request(no, no % 2 == 0)).collect();
        let mut exchange = barter::exchange();
        let start = Worked::now();
        for request in requests {
            let (order, notifications) = exchange.open_order(request);
            assert!(order.state.is_ok());
            // As its own loop does with every trade.
            if let Some(notifications) = notifications {
                exchange.account.ack_trade(notifications.trade.clone());
                black_box(notifications);
            }
            black_box(order);
        }
        theirs.push(start.elapsed().as_nanos() as f64 / count as f64);

        let (mut engine, orders) = market(count);
        ours.push(all(&mut engine, &orders));
        assert_eq!(engine.traded(), count as u64);
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours).collect();
    println!(
        "market orders: nirantar {:.1} ({}), barter-execution 0.9.0 {:.1} ({}): {:.1}x, wanted 8",
        median(&ours),
        range(&ours),
        median(&theirs),
        range(&theirs),
        median(&ratios)
    );
}

/// Nanoseconds per order.
#[inline(never)]
fn all(engine: &mut Whole, orders: &[NewOrder]) -> f64 {
    let start = Worked::now();
    for order in orders {
        black_box(engine.matcher.submit(order, Timestamp::default(), &mut engine.sink).unwrap());
    }
    start.elapsed().as_nanos() as f64 / orders.len() as f64
}
