//! What reading the token in use costs, against what else one could keep it in.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml --bin token_read`
//!
//! Every way of reading is asked for the same: the number of the token's generation, out of the same snapshot. They take
//! turns in one process, several rounds each; the median round counts. First alone, then while a thread on another core
//! reads the same without a pause, as a second strategy would: that is where locks hurt. On a machine whose cores are busy
//! with other work the second table shows too little; the load stands beside it.

#![allow(unsafe_code, reason = "a plain pointer is followed, to measure what the safe ways are held against")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures the machine's own time")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use nirantar::session::{Generation, State};
use nirantar::token::{LiveToken, Snapshot, TokenCell};
use nirantar_brokers::{AccessToken, Secret, Venue};
use tokio::sync::watch;

/// How often each way takes its turn.
const ROUNDS: usize = 101;
/// Reads of a round: less time than a busy machine gives to one thread.
const READS: u64 = 100_000;

/// A way of reading: so many times, and the nanoseconds of one.
type Read<'a> = Box<dyn FnMut(u64) -> f64 + Send + 'a>;

/// All the places at once, each with the same snapshot.
struct Places {
    snapshot: Box<Snapshot>,
    pointer: AtomicPtr<Snapshot>,
    cell: TokenCell,
    swap: ArcSwap<Snapshot>,
    rwlock: RwLock<Arc<Snapshot>>,
    mutex: Mutex<Arc<Snapshot>>,
    watch: watch::Sender<Arc<Snapshot>>,
}

fn main() {
    let mut places = Places::new();
    places.pointer = AtomicPtr::new(&raw mut *places.snapshot);
    println!("load before: {}", load());
    let alone = measure(&places, false);
    let contended = measure(&places, true);
    println!("\nnanoseconds a read, median of {ROUNDS} rounds of {READS} (least to most):");
    println!("  {:<34} {:>24}   {:>24}", "", "alone", "a second core reads too");
    for (name, (alone, contended)) in NAMES.iter().zip(alone.iter().zip(&contended)) {
        println!("  {name:<34} {:>24}   {:>24}", show(*alone), show(*contended));
    }
    let ratio = |of: &[(f64, f64, f64)], one: usize, other: usize| of[one].0 / of[other].0;
    println!(
        "\n  Cached::load against a plain atomic pointer load, alone:     {:.2}x (target: at most 2x)",
        ratio(&alone, CACHED, 0)
    );
    println!(
        "  TokenCell::load against ArcSwap::load, alone:                {:.2}x (target: at most 1.1x)",
        ratio(&alone, CELL, SWAP)
    );
    for (name, place) in [("RwLock", RWLOCK), ("Mutex", MUTEX), ("tokio's watch", WATCH)] {
        println!(
            "  {name:<14} against TokenCell::load, a second core reads too: {:.1}x as long (target: at least 8x); against \
             Cached::load {:.0}x",
            ratio(&contended, place, CELL),
            ratio(&contended, place, CACHED)
        );
    }
    println!("\nload after: {}", load());
}

const NAMES: [&str; 7] = [
    "plain atomic pointer load",
    "Cached::load (a task's own handle)",
    "TokenCell::load (any task)",
    "ArcSwap::load",
    "RwLock::read",
    "Mutex::lock",
    "tokio::sync::watch borrow",
];
const CACHED: usize = 1;
const CELL: usize = 2;
const SWAP: usize = 3;
const RWLOCK: usize = 4;
const MUTEX: usize = 5;
const WATCH: usize = 6;

impl Places {
    fn new() -> Self {
        let snapshot = || {
            let token = LiveToken::new(AccessToken::new("token"), &Secret::new("token key:token")).expect("a header");
            Snapshot {
                generation: Generation(7),
                state: State::Valid,
                venue: Venue::Live,
                reduce_only: false,
                token: Some(Arc::new(token)),
            }
        };
        Self {
            snapshot: Box::new(snapshot()),
            pointer: AtomicPtr::new(std::ptr::null_mut()),
            cell: TokenCell::new(snapshot()),
            swap: ArcSwap::from_pointee(snapshot()),
            rwlock: RwLock::new(Arc::new(snapshot())),
            mutex: Mutex::new(Arc::new(snapshot())),
            watch: watch::channel(Arc::new(snapshot())).0,
        }
    }

    /// In the order of [`NAMES`].
    fn readers(&self) -> Vec<Read<'_>> {
        let mut cached = self.cell.cache();
        let watched = self.watch.subscribe();
        vec![
            // SAFETY: it points into the box beside it, which nobody changes or drops before the readers.
            timed(|| unsafe { &*self.pointer.load(Ordering::Acquire) }.generation.0),
            timed(move || cached.load().generation.0),
            timed(|| self.cell.load().generation.0),
            timed(|| self.swap.load().generation.0),
            timed(|| self.rwlock.read().map_or(0, |snapshot| snapshot.generation.0)),
            timed(|| self.mutex.lock().map_or(0, |snapshot| snapshot.generation.0)),
            timed(move || watched.borrow().generation.0),
        ]
    }
}

fn timed<'a>(mut read: impl FnMut() -> u64 + Send + 'a) -> Read<'a> {
    Box::new(move |reads| {
        let began = Instant::now();
        for _ in 0..reads {
            black_box(read());
        }
        began.elapsed().as_secs_f64() * 1e9 / reads as f64
    })
}

/// Median, least and most of every way.
fn measure(places: &Places, contended: bool) -> Vec<(f64, f64, f64)> {
    let mut rounds: Vec<Vec<f64>> = NAMES.iter().map(|_| Vec::with_capacity(ROUNDS)).collect();
    let mut readers = places.readers();
    // What the other core does is the same way of reading.
    let mut others = places.readers();
    for _ in 0..ROUNDS {
        for (index, times) in rounds.iter_mut().enumerate() {
            let (read, other) = (&mut readers[index], &mut others[index]);
            if !contended {
                times.push(read(READS));
                continue;
            }
            let (reading, over) = (AtomicBool::new(false), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        other(1_000);
                        reading.store(true, Ordering::Relaxed);
                    }
                });
                while !reading.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                times.push(read(READS));
                over.store(true, Ordering::Relaxed);
            });
        }
    }
    rounds.into_iter().map(spread).collect()
}

fn show((median, least, most): (f64, f64, f64)) -> String {
    format!("{median:.2} ({least:.2} to {most:.2})")
}

fn spread(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_unstable_by(f64::total_cmp);
    (times[times.len() / 2], times[0], times[times.len() - 1])
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
