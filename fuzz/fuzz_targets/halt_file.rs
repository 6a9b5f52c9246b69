//! The kill switch as a file: whatever it holds, it halts; only its first word lets exits through; its words are one line; and
//! what is written is read as the same.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nirantar::engine::halting::{read, write};
use nirantar::session::TradingMode;
use nirantar_brokers::time::Timestamp;

/// One file for all tries, in memory where the system has such a folder.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("nirantar-fuzz-halt-{}", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("the folder can be written");
    let halt = read(&FILE).expect("a file is there, so trading is halted");
    assert_ne!(halt.mode, TradingMode::Active);
    assert!(!halt.words.is_empty() && !halt.words.contains(char::is_control), "{:?}", halt.words);
    let lets_exits = halt.words.split(' ').next() == Some("reduce-only");
    assert_eq!(halt.mode == TradingMode::ReduceOnly, lets_exits, "{:?}", halt.words);

    let why = String::from_utf8_lossy(bytes);
    for mode in [TradingMode::Halted, TradingMode::ReduceOnly] {
        write(&FILE, mode, Timestamp::from_unix_seconds(1_790_000_000), &why).expect("the folder can be written");
        let again = read(&FILE).expect("it was written");
        assert_eq!(again.mode, mode);
        assert!(again.words.contains("since 2026-"), "{:?}", again.words);
    }
    std::fs::remove_file(&*FILE).expect("it is there");
});
