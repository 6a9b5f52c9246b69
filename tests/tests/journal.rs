//! Rule 5 through a whole engine: what is sent was written first, whoever is told of an order can rely on it, and a
//! journal that cannot be used stops the sending and is never changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use harness::{Plan, World, market_order};
use nirantar::core::Event;
use nirantar::engine::NotTaken;
use nirantar::orders::{CommandKind, Journal, JournalError, MemoryJournal, Record, SqliteJournal, What, read_records};
use nirantar_brokers::{Book, OrderStatus};
use nirantar_exchange_mock::kite::Settings;
use tempfile::TempDir;

/// By the wall clock, far more than a request to this machine takes.
const LONG: Duration = Duration::from_millis(300);

/// A journal on disk whose sync ends when the script says so, once it is told to wait for that.
#[derive(Debug)]
struct Watched {
    inner: Box<dyn Journal>,
    seen: Arc<Mutex<Seen>>,
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    verdicts: mpsc::Receiver<Result<(), JournalError>>,
    appended: usize,
}

#[derive(Debug, Default)]
struct Seen {
    /// Syncs wait for a verdict.
    held: bool,
    /// Intents that each sync made safe.
    intents: Vec<usize>,
}

/// The script's end of it.
struct Script {
    seen: Arc<Mutex<Seen>>,
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
    verdicts: Option<mpsc::Sender<Result<(), JournalError>>>,
}

impl Watched {
    fn over(inner: impl Journal + 'static) -> (Box<dyn Journal>, Script) {
        let (say_begun, begun) = tokio::sync::mpsc::unbounded_channel();
        let (verdicts, told) = mpsc::channel();
        let seen = Arc::<Mutex<Seen>>::default();
        let watched =
            Self { inner: Box::new(inner), seen: Arc::clone(&seen), begun: say_begun, verdicts: told, appended: 0 };
        (Box::new(watched), Script { seen, begun, verdicts: Some(verdicts) })
    }
}

impl Journal for Watched {
    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.appended += usize::from(matches!(record.what, What::Intent(_)));
        self.inner.append(record)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let held = self.seen.lock().unwrap().held;
        if held {
            self.begun.send(()).unwrap();
            // A script that has let go of its end lets everything pass.
            self.verdicts.recv().unwrap_or(Ok(()))?;
        }
        self.inner.sync()?;
        self.seen.lock().unwrap().intents.push(std::mem::take(&mut self.appended));
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn read(&self) -> Result<Vec<Record>, JournalError> {
        self.inner.read()
    }
}

impl Script {
    fn hold(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.held = true;
        seen.intents.clear();
    }

    /// Syncs pass again, the one under way too.
    fn release(&mut self) {
        self.seen.lock().unwrap().held = false;
        self.verdicts = None;
    }
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders/journal.db");
    (folder, file)
}

fn with(journal: Box<dyn Journal>) -> Plan {
    Plan { journal: Some(journal), ..Plan::new(Settings::default()) }
}

fn words_of(records: &[Record]) -> Vec<&'static str> {
    records.iter().map(|record| record.what.word()).collect()
}

#[tokio::test]
async fn an_order_is_safe_in_the_file_before_its_bytes_reach_the_broker() {
    let (_folder, file) = place();
    let (journal, mut script) = Watched::over(SqliteJournal::open(&file).unwrap());
    let mut world = World::stepped(with(journal)).await;
    let before = read_records(&file).unwrap().len();
    script.hold();

    let mut submitted = Box::pin(world.engine.submit(market_order()));
    tokio::select! {
        early = &mut submitted => panic!("{early:?} before it was safe"),
        begun = script.begun.recv() => begun.unwrap(),
    }
    let waited = tokio::time::timeout(LONG, &mut submitted).await;
    assert!(waited.is_err(), "the caller was told {waited:?} before it was safe");
    assert_eq!(world.order_requests(), 0, "the broker saw an order that a loss of power would have lost");
    assert_eq!(read_records(&file).unwrap().len(), before);

    script.release();
    let id = submitted.as_mut().await.unwrap();
    drop(submitted);
    let written: Vec<Record> =
        read_records(&file).unwrap().into_iter().filter(|r| r.id.as_ref() == Some(&id)).collect();
    assert_eq!(words_of(&written)[..2], ["intent", "sending"]);
    world.wait_for_order(&id, OrderStatus::Filled).await;
    assert_eq!(world.placements(&id).len(), 1);
}

#[tokio::test]
async fn sixty_four_who_submit_at_once_share_a_sync() {
    let (_folder, file) = place();
    let (journal, mut script) = Watched::over(SqliteJournal::open(&file).unwrap());
    let world = World::stepped(with(journal)).await;
    script.hold();
    let engine = &world.engine;
    let all = join_all((0..64).map(|_| engine.submit(market_order())));
    tokio::pin!(all);
    // Polled once each has put its order into the engine's inbox, and whoever looks then comes behind all of them.
    assert!(tokio::time::timeout(Duration::ZERO, &mut all).await.is_err(), "nothing is safe yet");
    let taken = |core: &nirantar::core::Core| core.desk().orders().filter(|order| order.book == Book::Live).count();
    assert_eq!(engine.look(taken).await.unwrap(), 64);
    script.begun.recv().await.unwrap();
    script.release();
    for submitted in all.await {
        submitted.unwrap();
    }
    let intents = script.seen.lock().unwrap().intents.clone();
    let syncs: Vec<usize> = intents.into_iter().filter(|count| *count > 0).collect();
    assert_eq!(syncs.iter().sum::<usize>(), 64);
    assert!(syncs.len() <= 2, "the first, and one for all who waited meanwhile: {syncs:?}");
    let kept = read_records(&file).unwrap();
    assert_eq!(kept.iter().filter(|record| matches!(record.what, What::Intent(_))).count(), 64);
}

#[tokio::test]
async fn once_the_disk_is_full_nothing_is_sent_any_more_and_the_alarm_says_so_once() {
    let (journal, mut script) = Watched::over(MemoryJournal::default());
    let mut world = World::stepped(with(journal)).await;
    let first = world.buy().await;
    world.wait_for_order(&first, OrderStatus::Filled).await;
    let mark = world.mark().await;
    let requests = world.order_requests();
    script.hold();
    let full = JournalError::NotWritten("/data/journal.db: the disk is full, make room".to_owned());
    script.verdicts.as_ref().unwrap().send(Err(full.clone())).unwrap();
    script.verdicts = None;
    for _ in 0..3 {
        let submitted = world.during(async |engine| engine.submit(market_order()).await).await;
        assert_eq!(submitted, Err(NotTaken::NotWritten(full.clone())));
    }
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.order_requests(), requests, "an order left that nobody would remember");
    let alarms = world.alarms(mark).await;
    let of_it: Vec<&String> = alarms.iter().filter(|words| words.contains("the disk is full, make room")).collect();
    assert_eq!(of_it.len(), 1, "{alarms:?}");
    assert!(of_it[0].contains("start the engine again") && of_it[0].contains("stays there"), "{of_it:?}");
    let refused = |event: &&Event| matches!(event, Event::Order { order, .. } if order.status == OrderStatus::Refused);
    assert_eq!(world.since(mark).iter().filter(refused).count(), 3, "each ends once");
}

#[tokio::test]
async fn an_engine_gives_its_journal_back_whole_when_it_has_stopped() {
    let (_folder, file) = place();
    let mut world = World::stepped(with(Box::new(SqliteJournal::open(&file).unwrap()))).await;
    let id = world.buy().await;
    world.wait_for_order(&id, OrderStatus::Filled).await;
    let error = SqliteJournal::open(&file).unwrap_err();
    assert!(error.to_string().contains("in use by another engine"), "{error}");
    world.engine.stop().await;
    let kept = SqliteJournal::open(&file).unwrap().read().unwrap();
    let of_it: Vec<&Record> = kept.iter().filter(|record| record.id.as_ref() == Some(&id)).collect();
    let place = |record: &&&Record| matches!(&record.what, What::Sending { command: CommandKind::Place, .. });
    assert_eq!(of_it.iter().filter(place).count(), 1);
    let last = of_it.iter().rev().find_map(|record| match &record.what {
        What::State { status, .. } => Some(*status),
        _ => None,
    });
    assert_eq!(last, Some(OrderStatus::Filled), "{:?}", words_of(&kept));
}

#[tokio::test]
async fn an_engine_does_not_start_on_a_journal_it_cannot_understand_and_leaves_it_as_it_was() {
    let (_folder, file) = place();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    for (content, words) in [(&b"id,side\n1,buy\n"[..], "it is no SQLite file"), (&b""[..], "it is empty")] {
        std::fs::write(&file, content).unwrap();
        let error = SqliteJournal::open(&file).unwrap_err();
        assert!(error.to_string().contains(words) && error.to_string().contains("move it away"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), content);
        assert_eq!(beside(&file), ["journal.db", "journal.db.lock"], "nothing was put beside it");
    }
    // Moved away, as the words say, there is room for a new one.
    std::fs::rename(&file, file.with_extension("old")).unwrap();
    let world = World::stepped(with(Box::new(SqliteJournal::open(&file).unwrap()))).await;
    world.buy().await;
}

fn beside(file: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
