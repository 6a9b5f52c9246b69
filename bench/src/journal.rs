//! What the journal costs an order, and what group commit saves.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml --bin journal [FOLDER]`: journals are made in FOLDER (default:
//! the system's temporary folder; it should be on the disk that a real journal would be on).
//!
//! An order's cost is the time of `Engine::submit`, which returns when the order is written where it survives. The engine
//! trades on paper, so nothing else waits for a disk or a network. Four peers take turns in one process, several rounds
//! each: no journal (kept in memory), the SQLite journal with group commit, the same database with one sync for each
//! order, and a bare file with one `fdatasync` for each order (no engine: the limit of one sync per order). The disk's own
//! `fdatasync` is measured before them: where it takes less than 30 µs, the ratios mean little.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures the machine's own time")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nirantar::engine::{Engine, Setup};
use nirantar::orders::{Journal, JournalError, MemoryJournal, Record, SqliteJournal, What};
use nirantar::session::Policy;
use nirantar::token::store::StorePlace;
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{OffsetClock, Timestamp};
use nirantar_brokers::{Broker as _, Exchange, InstrumentKey, OrderRequest, OrderType, Price, Side, Venue};

/// How often each peer takes its turn; the median round counts.
const ROUNDS: usize = 7;
/// Orders of a round with one submitter, and of each of 64.
const ALONE: usize = 400;
const EACH_OF_MANY: usize = 40;

/// A journal that syncs for each order by itself, as one does who has not heard of group commit.
#[derive(Debug)]
struct SyncEach(SqliteJournal);

impl Journal for SyncEach {
    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.0.append(record)?;
        if matches!(record.what, What::Intent(_)) { self.0.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn read(&self) -> Result<Vec<Record>, JournalError> {
        self.0.read()
    }
}

#[derive(Clone, Copy, Debug)]
enum Peer {
    Memory,
    GroupCommit,
    SyncEach,
    BareFile,
}

impl Peer {
    const ALL: [Self; 4] = [Self::Memory, Self::GroupCommit, Self::SyncEach, Self::BareFile];

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "no journal (in memory)",
            Self::GroupCommit => "journal, group commit",
            Self::SyncEach => "journal, one sync per order",
            Self::BareFile => "bare file, one fdatasync per order",
        }
    }
}

/// One round: how long each order took, and all of them together.
struct Round {
    each: Vec<Duration>,
    whole: Duration,
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("journals in {}, load before: {}", folder.display(), load());
    println!("the disk's own fdatasync of 200 bytes: p50 {:?}", disk(&folder));
    for (submitters, orders) in [(1, ALONE), (64, EACH_OF_MANY)] {
        println!(
            "\n{submitters} submitter(s), {ROUNDS} rounds of {} orders, medians (min to max):",
            submitters * orders
        );
        let mut rates = Vec::new();
        let mut rounds: Vec<Vec<Round>> = Peer::ALL.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (peer, rounds) in Peer::ALL.into_iter().zip(&mut rounds) {
                rounds.push(round(peer, &folder, submitters, orders).await);
            }
        }
        for (peer, rounds) in Peer::ALL.into_iter().zip(&rounds) {
            let of = |part: f64| spread(rounds.iter().map(|round| quantile(&round.each, part).as_secs_f64() * 1e6));
            let rate = spread(rounds.iter().map(|round| round.each.len() as f64 / round.whole.as_secs_f64()));
            rates.push(rate.0);
            let (p50, p99) = (of(0.5), of(0.99));
            println!(
                "  {:<36} p50 {:>7.0} µs ({:.0} to {:.0})   p99 {:>7.0} µs ({:.0} to {:.0})   {:>7.0} orders/s",
                peer.name(),
                p50.0,
                p50.1,
                p50.2,
                p99.0,
                p99.1,
                p99.2,
                rate.0
            );
        }
        println!(
            "  group commit against one sync per order: {:.1}x the orders a second (engine), {:.1}x (bare file)",
            rates[1] / rates[2],
            rates[1] / rates[3]
        );
    }
    println!("\nload after: {}", load());
}

async fn round(peer: Peer, folder: &Path, submitters: usize, orders: usize) -> Round {
    let home = tempfile::tempdir_in(folder).expect("a folder to write in");
    let open = || SqliteJournal::open(&home.path().join("journal.db")).expect("a journal");
    let journal: Box<dyn Journal> = match peer {
        Peer::Memory => Box::new(MemoryJournal::default()),
        Peer::GroupCommit => Box::new(open()),
        Peer::SyncEach => Box::new(SyncEach(open())),
        Peer::BareFile => return bare_file(&home.path().join("file"), submitters * orders),
    };
    let engine = Arc::new(engine(home.path(), journal).await);
    while engine.snapshot().venue != Venue::Paper {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    let tasks: Vec<_> = (0..submitters)
        .map(|_| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move {
                let mut each = Vec::with_capacity(orders);
                for _ in 0..orders {
                    let began = Instant::now();
                    engine.submit(order()).await.expect("the order is taken");
                    each.push(began.elapsed());
                }
                each
            })
        })
        .collect();
    let mut each = Vec::new();
    for task in tasks {
        each.extend(task.await.expect("it ends well"));
    }
    let whole = began.elapsed();
    if let Ok(engine) = Arc::try_unwrap(engine) {
        engine.stop().await;
    }
    Round { each, whole }
}

/// An engine on paper, in market hours. Its broker is never asked.
async fn engine(home: &Path, journal: Box<dyn Journal>) -> Engine {
    let broker = Kite::new(App::Individual, "key".to_owned(), None);
    let policy = Policy { paper_only: true, ..Policy::for_broker(broker.facts()) };
    let store = StorePlace::named(".env", home).open("ZERODHA", "zerodha");
    let nobody = "127.0.0.1:9";
    let setup = Setup {
        loopback: true,
        policy,
        ..Setup::new("bench", Arc::new(broker), format!("http://{nobody}"), format!("ws://{nobody}"), store)
    };
    let ten = Timestamp::parse_ist("2026-11-20 10:00:00").expect("a time");
    let clock = Arc::new(OffsetClock::starting_at(ten));
    Engine::builder(setup).clock(clock).journal(journal).start().await.expect("it starts")
}

fn order() -> OrderRequest {
    let limit = OrderType::Limit(Price::from_paise(140_000));
    OrderRequest::new(InstrumentKey::new(Exchange::Nse, "RELIANCE"), Side::Buy, 1, limit)
}

/// The limit of one sync per order: nothing but the writing.
fn bare_file(path: &Path, orders: usize) -> Round {
    let mut file = File::create(path).expect("a file");
    let began = Instant::now();
    let each = (0..orders).map(|_| write_and_sync(&mut file)).collect();
    Round { each, whole: began.elapsed() }
}

fn write_and_sync(file: &mut File) -> Duration {
    let began = Instant::now();
    file.write_all(&[b'x'; 200]).and_then(|()| file.sync_data()).expect("the disk takes it");
    began.elapsed()
}

fn disk(folder: &Path) -> Duration {
    let mut file = tempfile::tempfile_in(folder).expect("a file");
    quantile(&(0..500).map(|_| write_and_sync(&mut file)).collect::<Vec<_>>(), 0.5)
}

fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Median, least and most.
fn spread(of: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
