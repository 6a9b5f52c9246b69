//! A process that is killed while it writes a token leaves the old file or the new one, whole: 1,000 kills of a real
//! `nirantar token set`, by SIGKILL, spread over the whole of the write, over every format.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use child::nirantar;
use nirantar_brokers::time::{Clock as _, SystemClock};

/// Kills in all.
const KILLS: u32 = 1_000;
/// Children that have started and wait for their token while others are killed.
const WAITING: usize = 6;
/// The steps in which the kill moves through the time a write takes.
const STEPS: u32 = 50;

/// A file, and its text around the token.
type Shape = (&'static str, fn(&str) -> String);

const SHAPES: [Shape; 4] = [
    (".env", |token| format!("# {}\nUPSTOX_API_KEY=key\nUPSTOX_ACCESS_TOKEN={token}\nOTHER='x y'\n", filler())),
    ("broker-config.json", |token| {
        format!(
            "{{\n    \"api_secret\": \"{token}\",\n    \"note\": \"{}\",\n    \"x\": {{\"y\": 1e9}}\n}}\n",
            filler()
        )
    }),
    ("upstox_tokens.json", |token| format!("{{\"note\": \"{}\", \"access_token\": \"{token}\"}}", filler())),
    ("secrets.toml", |token| format!("# {}\n[upstox]\naccess_token = '{token}' # daily\n[z]\na = 1\n", filler())),
];

/// Long enough for the file to be more than one page.
fn filler() -> String {
    "0123456789abcdef".repeat(1_500)
}

/// A child that waits for its token on standard input.
fn waiting(store: &Path) -> Child {
    let mut command = nirantar();
    command.args(["token", "set", "--key-prefix", "UPSTOX", "--store"]).arg(store);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn give(child: &mut Child, token: &str) {
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
}

/// The files that killed writers have left beside the store.
fn left_over(folder: &Path) -> u32 {
    let temporary = |name: &str| name.contains(".nirantar-");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    u32::try_from(entries.filter(|name| temporary(&name.to_string_lossy())).count()).unwrap()
}

/// What became of the kills on one file.
#[derive(Debug, Default)]
struct Tally {
    old: u32,
    new: u32,
    in_the_middle: u32,
}

fn kill_writers(folder: &Path, (name, text): Shape, kills: u32) -> Tally {
    let clock = SystemClock::start();
    let store: PathBuf = folder.join(name);
    let mut held = "token-0".to_owned();
    fs::write(&store, text(&held)).unwrap();

    // How long a write takes from its token on, when nobody kills it: the longest of some, on a busy machine.
    let mut whole = Duration::from_millis(1);
    for round in 0..5 {
        let mut child = waiting(&store);
        // The child is up when it has been waiting for longer than it takes to start.
        std::thread::sleep(Duration::from_millis(150));
        let began = clock.now().mono;
        held = format!("measured-{round}");
        give(&mut child, &held);
        assert!(child.wait().unwrap().success());
        whole = whole.max(clock.now().mono.since(began));
    }
    assert_eq!(fs::read_to_string(&store).unwrap(), text(&held));

    let mut tally = Tally::default();
    let mut children: VecDeque<Child> = (0..WAITING).map(|_| waiting(&store)).collect();
    for kill in 0..kills {
        let mut child = children.pop_front().unwrap();
        let next = format!("token-{kill}");
        give(&mut child, &next);
        // The delay is the kill point; nothing is waited for.
        std::thread::sleep(whole * (kill % STEPS) / STEPS);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = fs::read_to_string(&store).unwrap();
        if found == text(&next) {
            tally.new += 1;
            held = next;
        } else {
            assert_eq!(found, text(&held), "{name}: neither the old nor the new file after kill {kill}");
            tally.old += 1;
        }
        // What one left is there until a writer lives long enough to take it away.
        tally.in_the_middle += left_over(folder).min(1);
        children.push_back(waiting(&store));
    }
    // The next writer that lives takes away what the dead have left, and is not kept out by their lock.
    let mut last = children.pop_front().unwrap();
    give(&mut last, "last");
    assert!(last.wait().unwrap().success());
    assert_eq!((fs::read_to_string(&store).unwrap(), left_over(folder)), (text("last"), 0), "{name}");
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    tally
}

#[test]
fn a_thousand_kills_during_a_write_leave_the_old_or_the_new_file_whole() {
    let each = KILLS / u32::try_from(SHAPES.len()).unwrap();
    let tallies: Vec<Tally> = SHAPES
        .into_iter()
        .map(|shape| {
            let folder = tempfile::tempdir().unwrap();
            let tally = kill_writers(folder.path(), shape, each);
            println!("{}: {tally:?}", shape.0);
            tally
        })
        .collect();
    for Tally { old, new, .. } in &tallies {
        assert!(*old > 0 && *new > 0, "the kills came all too early or all too late: {tallies:?}");
        assert_eq!(old + new, each);
    }
    let middle: u32 = tallies.iter().map(|tally| tally.in_the_middle).sum();
    assert!(middle > 0, "no kill fell between the first byte and the rename: {tallies:?}");
}
