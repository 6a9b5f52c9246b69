//! How often each reader of `decode` allocates for a frame. Apart from it, because counting costs those who allocate time.
//!
//! `cargo run --release --manifest-path bench/wire/Cargo.toml --bin allocations`

#[allow(dead_code, reason = "of the machine and the ratios only `decode` speaks")]
mod common;
#[allow(dead_code, reason = "as above")]
mod peers;

use common::{PACKETS, frame};
use peers::{PEERS, Scratch};

fn main() {
    let frame = frame();
    let mut scratch = Scratch::for_frame(&frame);
    println!("{PACKETS} full packets a frame{:>35}", "allocations");
    for peer in PEERS {
        (peer.read)(&frame, &mut scratch); // what is made once is not counted
        let counted = allocation_counter::measure(|| (peer.read)(&frame, &mut scratch));
        println!("{:<42} {:>16}", peer.name, counted.count_total);
    }
}
