//! Records frames of a made-up market without a pause, until it is killed.
//!
//! `nirantar-recorder FILE SKIP`: goes on after the first SKIP frames. Prints how many frames are in the file since it
//! began, again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper may fail, loudly")]

use std::path::Path;

use nirantar::feed::{Recorder, SocketId};
use nirantar_brokers::recording::FrameKind;
use nirantar_tests::ticks::Frames;

/// Frames that are on their way to the file at most: far fewer than the recorder would lose.
const AHEAD: u64 = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, skip] = arguments.as_slice() else { panic!("expected FILE SKIP") };
    let recorder = Recorder::start(Path::new(file), "kite").unwrap();
    let (tap, mut frames) = (recorder.tap(), Frames::default());
    for _ in 0..skip.parse().unwrap() {
        frames.make();
    }
    println!("0");
    for handed_over in 1_u64.. {
        let (at, bytes) = frames.make();
        tap.frame(at, SocketId(1), FrameKind::Binary, bytes);
        if handed_over.is_multiple_of(50) {
            loop {
                let recorded = recorder.recorded();
                assert_eq!((recorded.lost, recorded.failed), (0, None));
                if recorded.frames + AHEAD > handed_over {
                    println!("{}", recorded.frames);
                    break;
                }
                // It is at the disk: nothing else to be done here.
                std::thread::yield_now();
            }
        }
    }
}
