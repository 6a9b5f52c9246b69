//! Writing the journal: records in the order they are made, and who waits for them to be safe.
//!
//! A durable journal is written by a thread of its own with *group commit*: it takes all that is waiting, appends it and
//! syncs once, and then everybody waits no more whose record was among it. A journal that is not durable is written on the
//! spot, so that a stepped clock meets the same order of events at every run.
//!
//! Promises: records are appended in the order of [`Journalling::append`]; a [`Ticket`] is good only once its record and
//! all before it are synced; and after the first failure every later ticket fails, so that nothing is sent any more.

use std::sync::mpsc;

use nirantar_brokers::time::{Busy, Clock};
use tokio::sync::watch;

use crate::orders::{Journal, JournalError, Record};

/// Records that are synced together at most: those behind them wait no longer than one sync more.
const LARGEST_BATCH: usize = 1_024;

/// The engine's way to its journal.
#[derive(Debug)]
pub(crate) struct Journalling {
    writer: Writer,
    progress: watch::Receiver<Progress>,
    appended: u64,
    /// The failure has been handed out.
    told: bool,
}

#[derive(Debug)]
enum Writer {
    /// On the spot.
    Inline(Box<dyn Journal>, watch::Sender<Progress>),
    /// By a thread, which ends when this end of the channel is gone.
    Thread(mpsc::Sender<(Record, Busy)>),
    /// Nothing is written any more.
    Closed,
}

/// How far the writing has got.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Records that are safe, counted from the first.
    synced: u64,
    failed: Option<JournalError>,
}

impl Progress {
    /// What became of the first `number` records, if it is decided.
    fn of(&self, number: u64) -> Option<Result<(), JournalError>> {
        if self.synced >= number { Some(Ok(())) } else { self.failed.clone().map(Err) }
    }
}

/// Whether the records up to one of them are safe.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    number: u64,
    progress: watch::Receiver<Progress>,
}

impl Ticket {
    /// What is known now; `None`: it is being written.
    pub(crate) fn now(&self) -> Option<Result<(), JournalError>> {
        let ended = self.progress.has_changed().is_err();
        let known = self.progress.borrow().of(self.number);
        if ended { known.or_else(|| Some(Err(ended_early()))) } else { known }
    }

    /// Waits until the records are safe, or are known not to be. The caller holds a [`Busy`] meanwhile.
    ///
    /// # Errors
    /// [`JournalError`]: what was to follow must not happen.
    pub(crate) async fn written(mut self) -> Result<(), JournalError> {
        let number = self.number;
        match self.progress.wait_for(|progress| progress.of(number).is_some()).await {
            Ok(progress) => progress.of(number).unwrap_or(Ok(())),
            Err(_) => Err(ended_early()),
        }
    }
}

/// How the writing goes, for whoever asks from elsewhere. Clones look at the same journal.
#[derive(Clone, Debug)]
pub(crate) struct JournalWatch(watch::Receiver<Progress>);

impl JournalWatch {
    /// Why nothing is written any more, if that is so.
    pub(crate) fn failure(&self) -> Option<JournalError> {
        self.0.borrow().failed.clone()
    }
}

impl Journalling {
    /// How the writing goes, from now on.
    pub(crate) fn watch(&self) -> JournalWatch {
        JournalWatch(self.progress.clone())
    }

    /// Writes to `journal` from now on.
    ///
    /// # Errors
    /// [`JournalError::NotWritten`]: the machine gives no thread for it.
    pub(crate) fn start(journal: Box<dyn Journal>) -> Result<Self, JournalError> {
        let (sender, progress) = watch::channel(Progress::default());
        let writer = if journal.is_durable() {
            let (records, waiting) = mpsc::channel();
            let thread = std::thread::Builder::new().name("journal".to_owned());
            let span = tracing::Span::current();
            thread
                .spawn(move || span.in_scope(|| write(journal, &waiting, sender)))
                .map_err(|error| JournalError::NotWritten(format!("there is no thread to write it: {error}")))?;
            Writer::Thread(records)
        } else {
            Writer::Inline(journal, sender)
        };
        Ok(Self { writer, progress, appended: 0, told: false })
    }

    /// Takes a record, behind all before it.
    pub(crate) fn append(&mut self, record: Record, clock: &dyn Clock) -> Ticket {
        self.appended += 1;
        match &mut self.writer {
            Writer::Inline(journal, progress) => {
                let before = progress.borrow().failed.clone();
                let done = before.map_or_else(|| journal.append(&record).and_then(|()| journal.sync()), Err);
                report(progress, 1, done);
            }
            // A disk sync takes real time: a stepped clock stands still until the record is safe. A writer that has
            // ended shows in the ticket.
            Writer::Thread(records) => drop(records.send((record, clock.busy()))),
            Writer::Closed => {}
        }
        self.last()
    }

    /// For all that was appended so far. Of an empty journal it is good at once.
    pub(crate) fn last(&self) -> Ticket {
        Ticket { number: self.appended, progress: self.progress.clone() }
    }

    /// Waits until writing fails, and says so once; else for ever. Dropped and asked again, it misses nothing.
    pub(crate) async fn failure(&mut self) -> JournalError {
        if !self.told {
            let failed = match self.progress.wait_for(|progress| progress.failed.is_some()).await {
                Ok(progress) => progress.failed.clone(),
                Err(_) => Some(ended_early()),
            };
            if let Some(error) = failed {
                self.told = true;
                return error;
            }
        }
        std::future::pending().await
    }

    /// Writes what is waiting, gives the journal back, and returns when it is free for the next engine.
    pub(crate) async fn close(&mut self) {
        // The writer drops the journal first and its end of the watch after that.
        self.writer = Writer::Closed;
        self.told = true;
        while self.progress.changed().await.is_ok() {}
    }
}

/// The writer thread: until nobody can append any more.
fn write(mut journal: Box<dyn Journal>, waiting: &mpsc::Receiver<(Record, Busy)>, progress: watch::Sender<Progress>) {
    let mut failed = None;
    while let Ok(first) = waiting.recv() {
        let batch: Vec<(Record, Busy)> =
            std::iter::once(first).chain(waiting.try_iter().take(LARGEST_BATCH - 1)).collect();
        let done = match &failed {
            // What came before is missing: the log must have no hole.
            Some(error) => Err(JournalError::clone(error)),
            None => batch.iter().try_for_each(|(record, _)| journal.append(record)).and_then(|()| journal.sync()),
        };
        failed = done.clone().err();
        report(&progress, batch.len() as u64, done);
    }
    drop(journal);
    drop(progress);
}

fn report(progress: &watch::Sender<Progress>, count: u64, done: Result<(), JournalError>) {
    progress.send_modify(|progress| match done {
        Ok(()) => progress.synced += count,
        Err(error) => progress.failed = Some(error),
    });
}

fn ended_early() -> JournalError {
    JournalError::NotWritten("its writer has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use nirantar_brokers::Book;
    use nirantar_brokers::time::{SystemClock, Timestamp};

    use super::*;
    use crate::orders::{MemoryJournal, What};

    type Verdict = Result<(), JournalError>;

    /// A durable journal whose every sync says that it has begun, and ends as it is told to. Told nothing more, it ends
    /// well.
    #[derive(Debug)]
    struct Slow {
        memory: MemoryJournal,
        begun: tokio::sync::mpsc::UnboundedSender<()>,
        verdicts: mpsc::Receiver<Verdict>,
        syncs: Arc<AtomicUsize>,
        _alive: Arc<()>,
    }

    impl Journal for Slow {
        fn append(&mut self, record: &Record) -> Verdict {
            self.memory.append(record)
        }

        fn sync(&mut self) -> Verdict {
            self.syncs.fetch_add(1, Ordering::SeqCst);
            let _ = self.begun.send(());
            self.verdicts.recv().unwrap_or(Ok(()))?;
            self.memory.sync()
        }

        fn is_durable(&self) -> bool {
            true
        }

        fn read(&self) -> Result<Vec<Record>, JournalError> {
            self.memory.read()
        }
    }

    struct Bench {
        journalling: Journalling,
        memory: MemoryJournal,
        begun: tokio::sync::mpsc::UnboundedReceiver<()>,
        verdicts: mpsc::Sender<Verdict>,
        syncs: Arc<AtomicUsize>,
        alive: std::sync::Weak<()>,
        clock: SystemClock,
    }

    impl Bench {
        fn new() -> Self {
            let (say_begun, begun) = tokio::sync::mpsc::unbounded_channel();
            let (verdicts, told) = mpsc::channel();
            let (memory, syncs, alive) = (MemoryJournal::default(), Arc::default(), Arc::new(()));
            let weak = Arc::downgrade(&alive);
            let slow = Slow {
                memory: memory.clone(),
                begun: say_begun,
                verdicts: told,
                syncs: Arc::clone(&syncs),
                _alive: alive,
            };
            let journalling = Journalling::start(Box::new(slow)).unwrap();
            Self { journalling, memory, begun, verdicts, syncs, alive: weak, clock: SystemClock::start() }
        }

        fn append(&mut self, number: i64) -> Ticket {
            self.journalling.append(record(number), &self.clock)
        }

        /// The numbers that were appended, in their order.
        fn written(&self) -> Vec<i64> {
            self.memory.read().unwrap().iter().map(|record| record.at.as_nanos()).collect()
        }
    }

    fn record(number: i64) -> Record {
        Record { at: Timestamp::from_nanos(number), id: None, book: Book::Live, what: What::NotSent }
    }

    fn full() -> JournalError {
        JournalError::NotWritten("the disk is full".to_owned())
    }

    #[tokio::test]
    async fn a_ticket_is_good_only_when_the_sync_behind_its_record_is_over() {
        let mut bench = Bench::new();
        let ticket = bench.append(1);
        bench.begun.recv().await.unwrap();
        assert_eq!(bench.written(), [1], "appended");
        assert_eq!(ticket.now(), None, "and not yet safe");
        bench.verdicts.send(Ok(())).unwrap();
        assert_eq!(ticket.clone().written().await, Ok(()));
        assert_eq!(ticket.now(), Some(Ok(())));
    }

    #[tokio::test]
    async fn nobody_hears_that_a_wish_is_remembered_before_it_is_safe() {
        use super::super::NotTaken;
        use super::super::task::answer_once_written;
        use crate::orders::Refused;
        for (verdict, said) in
            [(Ok(()), NotTaken::Refused(Refused::Remembered)), (Err(full()), NotTaken::NotWritten(full()))]
        {
            let mut bench = Bench::new();
            let ticket = bench.append(1);
            bench.begun.recv().await.unwrap();
            let (taken, mut answer) = tokio::sync::oneshot::channel::<Result<(), NotTaken>>();
            answer_once_written(Err(Refused::Remembered), ticket, taken, bench.clock.busy());
            assert!((&mut answer).now_or_never().is_none(), "it is being written");
            bench.verdicts.send(verdict).unwrap();
            assert_eq!(answer.await.unwrap(), Err(said));
        }
    }

    #[tokio::test]
    async fn what_waits_during_one_sync_is_safe_after_one_more() {
        let mut bench = Bench::new();
        let mut tickets = vec![bench.append(0)];
        bench.begun.recv().await.unwrap();
        tickets.extend((1..500).map(|number| bench.append(number)));
        bench.verdicts.send(Ok(())).unwrap();
        bench.verdicts.send(Ok(())).unwrap();
        for ticket in tickets {
            assert_eq!(ticket.written().await, Ok(()));
        }
        assert_eq!(bench.syncs.load(Ordering::SeqCst), 2);
        assert_eq!(bench.written(), (0..500).collect::<Vec<_>>(), "in their order");
    }

    #[tokio::test]
    async fn after_a_failure_nothing_is_written_and_every_ticket_fails_and_it_is_said_once() {
        let mut bench = Bench::new();
        let good = bench.append(1);
        bench.verdicts.send(Ok(())).unwrap();
        assert_eq!(good.clone().written().await, Ok(()));
        let bad = bench.append(2);
        bench.verdicts.send(Err(full())).unwrap();
        assert_eq!(bad.written().await, Err(full()));
        let later = bench.append(3);
        assert_eq!(later.now(), Some(Err(full())), "known at once");
        assert_eq!(later.written().await, Err(full()));
        assert_eq!(good.now(), Some(Ok(())), "what was safe stays so");
        assert_eq!(bench.journalling.failure().now_or_never(), Some(full()));
        assert_eq!(bench.journalling.failure().now_or_never(), None, "said once");
        bench.journalling.close().await;
        assert_eq!(bench.written(), [1, 2], "nothing behind a hole");
    }

    #[tokio::test]
    async fn the_end_writes_what_waits_and_gives_the_journal_back() {
        let mut bench = Bench::new();
        let first = bench.append(1);
        bench.begun.recv().await.unwrap();
        let last = bench.append(2);
        drop(bench.verdicts);
        bench.journalling.close().await;
        assert_eq!((first.now(), last.now()), (Some(Ok(())), Some(Ok(()))));
        assert!(bench.alive.upgrade().is_none(), "the next engine can have it");
        let late = bench.journalling.append(record(3), &bench.clock);
        assert!(matches!(late.now(), Some(Err(JournalError::NotWritten(_)))), "nobody writes it");
        assert!(late.written().await.is_err());
    }

    #[tokio::test]
    async fn a_journal_that_is_not_durable_answers_on_the_spot() {
        let memory = MemoryJournal::default();
        let mut journalling = Journalling::start(Box::new(memory.clone())).unwrap();
        assert_eq!(journalling.last().now(), Some(Ok(())), "of nothing");
        let ticket = journalling.append(record(1), &SystemClock::start());
        assert_eq!(ticket.now(), Some(Ok(())));
        assert_eq!((memory.read().unwrap().len(), memory.unsynced()), (1, 0));
    }
}
