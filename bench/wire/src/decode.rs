//! What decoding a frame costs, beside every other Rust client of Kite.
//!
//! `cargo run --release --manifest-path bench/wire/Cargo.toml --bin decode`
//!
//! One frame of 100 full packets is read over and over, every peer in its turn, several rounds in one process; the middle
//! round counts. Time is the thread's own time on the processor, so that a busy machine shows in the spread only.
//! Who the peers are and what they do is in `peers.rs`; how often they allocate, `--bin allocations` says.

mod common;
mod peers;

use std::hint::black_box;

use common::{PACKETS, frame, machine, spread, thread_time};
use peers::{MEMCPY, OFFICIAL, OTHERS, PEERS, PORTABLE, Scratch, VECTOR};

/// How often each peer takes its turn, and how many frames it reads in one.
const ROUNDS: usize = 101;
const FRAMES: usize = 200;

fn main() {
    println!("{}", machine());
    let frame = frame();
    let mut scratch = Scratch::for_frame(&frame);
    let mut times: Vec<Vec<f64>> = PEERS.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (peer, times) in PEERS.iter().zip(&mut times) {
            (peer.read)(&frame, &mut scratch); // whoever came before has left the caches to himself
            let began = thread_time();
            for _ in 0..FRAMES {
                (peer.read)(black_box(&frame), &mut scratch);
            }
            times.push((thread_time() - began).as_secs_f64() * 1e9 / (FRAMES * PACKETS) as f64);
        }
    }

    let times: Vec<_> = times.into_iter().map(spread).collect();
    println!("\n{PACKETS} full packets a frame, {ROUNDS} rounds of {FRAMES} frames, the middle round (least to most):");
    println!("{:<42} {:>9}  {:>19} {:>10}", "", "ns/packet", "", "x memcpy");
    for (peer, (time, least, most)) in PEERS.iter().zip(&times) {
        let range = format!("({least:.2} to {most:.2})");
        println!("{:<42} {time:>9.2}  {range:>19} {:>10.2}", peer.name, time / times[MEMCPY].0);
    }

    let others = PEERS.iter().zip(&times).take(OFFICIAL + 1).skip(OTHERS);
    let Some((fastest, (quickest, ..))) = others.min_by(|one, other| one.1.0.total_cmp(&other.1.0)) else { return };
    println!("\n{:<42} {:>10} {:>10}", "how many times as fast", "vectors", "portable");
    for (name, time) in [(fastest.name, *quickest), (PEERS[OFFICIAL].name, times[OFFICIAL].0)] {
        println!("{name:<42} {:>10.1} {:>10.1}", time / times[VECTOR].0, time / times[PORTABLE].0);
    }
    println!("\nvectors against memcpy: {:.2}x; load after: {}", times[VECTOR].0 / times[MEMCPY].0, common::load());
}
