//! What an engine is made of.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::{Clock, Rng, SystemClock};
use nirantar_brokers::{Broker, Fingerprint, InstrumentKey, Mode, RateLimit, Renewal, Secret};
use nirantar_exchange_mock::calendar::CalendarError;
use nirantar_exchange_mock::charges::Tariff;
use nirantar_exchange_mock::matching::FillsFrom;
use nirantar_exchange_mock::{
    Calendar, Config as PaperConfig, FreezeTable, Latencies, MockExchange, PaperBroker, PriceSource, universe,
};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::Engine;
use super::broker_time::{BrokerClock, TimeReports};
use super::events::{EventSender, Events};
use super::halting::{HaltFile, wish};
use super::health::LastError;
use super::journalling::Journalling;
use super::login::SpentCodes;
use super::renewal::{Command, Renewer, candidate};
use super::task::{Doing, Task};
use super::transport::Transport;
use super::vault::Vault;
use crate::core::{Core, Input};
use crate::feed::{BadFeedAddress, FeedAddress, FeedPolicy, PaperSource, Publisher, Supervisor, Tap};
use crate::orders::{Desk, DeskPolicy, Journal, MemoryJournal, Refused, Restored, RiskLimits, SettlePaper};
use crate::session::{Machine, Policy, Source, TradingDays, TradingMode};
use crate::timetables::Timetables;
use crate::token::store::{Store, StoreError};
use crate::token::{Gate, Sighting, Snapshot, TokenCell, Watcher, WatcherHandle};

/// Messages that may wait for the engine's task.
const INBOX: usize = 4096;
/// Frames that may wait for it: so few that they are still in the processor's cache when they are read. More wait in the
/// kernel, and with the server.
const SOCKET_EVENTS: usize = 8;
/// Ticks that the slowest strategy may be behind.
const TICKS: usize = 1 << 16;

/// An account: its broker, its hosts, its store and its policy.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name of the account, for logs.
    pub name: String,
    /// The broker's codec.
    pub broker: Arc<dyn Broker>,
    /// Root of its REST service: `https://api.kite.trade`.
    pub rest_url: String,
    /// Root of its feed: `wss://ws.kite.trade`.
    pub feed_url: String,
    /// Whether both are on this machine. Live orders to any other host need a durable journal.
    pub loopback: bool,
    /// Where the token is kept: what is renewed is written there, under its lock.
    pub store: Arc<dyn Store>,
    /// Where else a token may appear, in the order they are looked at when the engine starts. Never written to.
    pub fallback_stores: Vec<Arc<dyn Store>>,
    /// What the session decides by.
    pub policy: Policy,
    /// Secrets beside the tokens that no text may show: the API secret.
    pub secrets: Vec<Secret>,
    /// A command that writes a new token into the store.
    pub command: Option<Command>,
    /// Whether a human is asked on the phone when a login is due, where the broker can do that.
    pub ask_approval: bool,
    /// What becomes of orders that rest at the broker when the engine stops.
    pub on_stop: OnStop,
    /// Fewer orders a second than the broker takes; more is cut to the broker's own limit.
    pub orders_per_second: Option<u32>,
    /// What the account risks at most.
    pub risk: RiskLimits,
    /// What becomes of paper when live trading goes on.
    pub settle_paper: SettlePaper,
    /// What fills orders on paper, beside each other. Of the builder's own paper exchange only.
    pub paper_fills: FillsFrom,
    /// How long orders take to the paper exchange, and prices back. Of the builder's own paper exchange only.
    pub paper_latency: Latencies,
    /// Where the halt is kept while trading is halted, so that it survives a restart and any program can halt by writing
    /// the file. `None`: a halt ends with the process.
    pub halt_file: Option<PathBuf>,
    /// Sessions and holidays in place of those of the builder. Looked at again once a minute.
    pub calendar_file: Option<PathBuf>,
    /// What to subscribe to from the start.
    pub instruments: Vec<InstrumentKey>,
    /// In which mode.
    pub mode: Mode,
}

impl Setup {
    /// An account of that name at that broker, with the broker's own policy and nothing else said: hosts that are not on
    /// this machine, no command, no instruments.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        broker: Arc<dyn Broker>,
        rest_url: impl Into<String>,
        feed_url: impl Into<String>,
        store: Arc<dyn Store>,
    ) -> Self {
        Self {
            name: name.into(),
            rest_url: rest_url.into(),
            feed_url: feed_url.into(),
            loopback: false,
            store,
            fallback_stores: Vec::new(),
            policy: Policy::for_broker(broker.facts()),
            secrets: Vec::new(),
            command: None,
            ask_approval: false,
            on_stop: OnStop::Leave,
            orders_per_second: None,
            risk: RiskLimits::default(),
            settle_paper: SettlePaper::default(),
            paper_fills: FillsFrom::default(),
            paper_latency: Latencies::default(),
            halt_file: None,
            calendar_file: None,
            instruments: Vec::new(),
            mode: Mode::Full,
            broker,
        }
    }
}

/// What becomes of live orders that rest at the broker when the engine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnStop {
    /// They stay. The default.
    #[default]
    Leave,
    /// They are cancelled, as far as that is done within a second.
    Cancel,
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The token store makes no sense. Mend it first: starting without it could overwrite it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The calendar makes no sense.
    #[error("calendar: {0}")]
    Calendar(#[from] CalendarError),
    /// The feed's address is none.
    #[error("feed_url: {0}")]
    Feed(#[from] BadFeedAddress),
    /// No HTTP client can be made.
    #[error("{0}")]
    Transport(String),
    /// The journal cannot be read, or not be written.
    #[error(transparent)]
    Journal(#[from] crate::orders::JournalError),
}

/// Puts an engine together. What is not given is: the system's clock, a journal in memory, an own paper exchange, NSE's
/// calendar, and no prices in Fallback.
#[derive(Debug)]
pub struct Builder {
    setup: Setup,
    clock: Option<Arc<dyn Clock>>,
    events: Option<EventSender>,
    journal: Box<dyn Journal>,
    paper: Option<PaperBroker>,
    calendar: Calendar,
    fallback: Option<Fallback>,
    feed_policy: FeedPolicy,
    login_link: Option<String>,
    tap: Option<Tap>,
}

struct Fallback(Box<dyn PriceSource + Send>, PaperSource);

impl std::fmt::Debug for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fallback({:?})", self.1)
    }
}

impl Builder {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            clock: None,
            events: None,
            journal: Box::new(MemoryJournal::default()),
            paper: None,
            calendar: Calendar::nse(),
            fallback: None,
            feed_policy: FeedPolicy::default(),
            login_link: None,
            tap: None,
        }
    }

    /// The clock to run on.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self.events = None;
        self
    }

    /// What will happen, from the very start on. Choose the clock first.
    pub fn events(&mut self) -> Events {
        let clock = self.clock.get_or_insert_with(|| Arc::new(SystemClock::start()));
        self.events.get_or_insert_with(|| EventSender::new(Arc::clone(clock))).subscribe()
    }

    /// Where orders are written before they leave. A durable one ([`Journal::is_durable`]) is written by a thread of its
    /// own, which gives it back when the engine has stopped.
    #[must_use]
    pub fn journal(mut self, journal: Box<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// The paper exchange to fall back on.
    #[must_use]
    pub fn paper(mut self, paper: PaperBroker) -> Self {
        self.paper = Some(paper);
        self
    }

    /// Sessions and holidays.
    #[must_use]
    pub fn calendar(mut self, calendar: Calendar) -> Self {
        self.calendar = calendar;
        self
    }

    /// Prices while there is no live feed. Every tick and paper fill is marked with its source.
    #[must_use]
    pub fn fallback_prices(mut self, prices: Box<dyn PriceSource + Send>, source: PaperSource) -> Self {
        self.fallback = Some(Fallback(prices, source));
        self
    }

    /// What the feed's supervisor decides by.
    #[must_use]
    pub fn feed_policy(mut self, policy: FeedPolicy) -> Self {
        self.feed_policy = policy;
        self
    }

    /// Records what comes over the feed's sockets: a [`Recorder`](crate::feed::Recorder)'s tap.
    #[must_use]
    pub fn record(mut self, tap: Tap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Where a human is sent to log in, instead of to the broker's own page: the address of a login server, which then
    /// finishes the login by itself.
    #[must_use]
    pub fn login_link(mut self, link: Option<String>) -> Self {
        self.login_link = link;
        self
    }

    /// Starts the engine. Must be called inside a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs, nothing was sent.
    pub async fn start(self) -> Result<Engine, StartError> {
        let Self { mut setup, clock, events, journal, paper, calendar, fallback, feed_policy, login_link, tap } = self;
        let (timetables, calendar) = match setup.calendar_file.take() {
            Some(path) => Timetables::load(path).map(|(file, calendar)| (Some(file), calendar))?,
            None => (None, calendar),
        };
        setup.policy.days = TradingDays::new(calendar.holidays(), calendar.special_days());
        let machine = clock.unwrap_or_else(|| Arc::new(SystemClock::start()));
        let events = events.unwrap_or_else(|| EventSender::new(Arc::clone(&machine)));
        let broker_clock = BrokerClock::new(machine);
        let clock: Arc<dyn Clock> = Arc::new(broker_clock.clone());
        let _busy = clock.busy();
        let now = clock.now();
        let facts = setup.broker.facts().clone();
        let trading = setup.broker.trading();
        let feed_address: FeedAddress = setup.feed_url.parse()?;
        let vault = Vault::new(Arc::clone(&setup.broker), setup.secrets);
        let transport = Transport::new(&setup.rest_url, vault.clone())
            .map_err(StartError::Transport)?
            .reporting(TimeReports::new(broker_clock, events.clone()));
        let records = journal.read()?;
        let durable = journal.is_durable();
        let journal = Journalling::start(journal)?;
        let journal_watch = journal.watch();

        let (sightings, seen) = mpsc::channel(64);
        let watcher = Watcher::spawn(Arc::clone(&setup.store), sightings.clone());
        let fallbacks: Vec<WatcherHandle> =
            setup.fallback_stores.iter().map(|store| watch_fallback(store, sightings.clone())).collect();
        drop(sightings);
        let first = match watcher.first() {
            Ok(stored) => candidate(&vault, stored, Source::Stored),
            // No file yet: somebody will write it, or a login will.
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.clone().into()),
        };
        // Precedence holds now; afterwards a change in any store is a candidate.
        let first = first.or_else(|| {
            let held = fallbacks.iter().filter_map(|watcher| watcher.first().as_ref().ok());
            held.filter_map(|stored| candidate(&vault, stored, Source::Stored)).next()
        });

        let halt_file = setup.halt_file.map(|path| HaltFile::look(path, now));
        let halted = halt_file.as_ref().map(|(_, mode)| *mode).filter(|mode| *mode != TradingMode::Active);
        let halt_file = halt_file.map(|(file, _)| file);
        let desk = Desk::new(DeskPolicy {
            run: run_number(&setup.name, now.wall.as_nanos()),
            limits: order_limits(facts.limits.orders, setup.orders_per_second),
            reads_share_limits: facts.limits.reads_share,
            modifications_per_order: facts.limits.modifications_per_order,
            risk: setup.risk,
            needs_lists: trading.is_some(),
            freeze: FreezeTable::nse(),
            settle_paper: setup.settle_paper,
            propagation: facts.propagation,
            look_again: Duration::from_secs(1),
            refuse_live: match &trading {
                None => Some(Refused::SessionOnly),
                Some(_) if setup.loopback || durable => None,
                Some(_) => Some(Refused::NeedsDurableJournal),
            },
        });
        let seed = setup.policy.seed;
        let policy = setup.policy.clone();
        let supervisor = Supervisor::within(feed_policy, facts.limits.feed, seed);
        let mut core = Core::new(Machine::new(setup.policy), desk, supervisor, calendar.clone(), trading.is_some())
            .with_snapshots(facts.limits.quote_instruments, facts.limits.quotes);
        let paper = paper.unwrap_or_else(|| {
            let instruments = universe::instruments(now.wall.ist_date());
            let charges = Tariff::of_api(facts.name).unwrap_or_else(|_| Tariff::zerodha());
            let config = PaperConfig {
                charges: Some(charges),
                fills: setup.paper_fills,
                latency: setup.paper_latency,
                ..PaperConfig::default()
            };
            PaperBroker::new(MockExchange::new(config, instruments, calendar))
        });
        // Before anything else the books are as the last process left them; what is to be written and told of it is the
        // first that the task does.
        let mut opening = Vec::new();
        let Restored { paper: past, orders, working, unknown, unresolved } = core.restore(&records, now, &mut opening);
        if !records.is_empty() {
            paper.with(|exchange| exchange.restore(&past, now.wall));
            tracing::info!(orders, working, unknown, unresolved, "the journal was read");
        }

        let cell = Arc::new(TokenCell::new(Snapshot::starting()));
        let gate = Gate::new(Arc::clone(&cell));
        let ticks = Publisher::new(TICKS, Arc::clone(&clock));
        let hub = ticks.hub();
        let renewer = Renewer {
            broker: Arc::clone(&setup.broker),
            transport: transport.clone(),
            vault: vault.clone(),
            store: setup.store,
            writer: watcher.writer(),
            clock: Arc::clone(&clock),
            command: setup.command,
            policy,
            events: events.clone(),
        };
        let wants_others = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (inbox, messages) = mpsc::channel(INBOX);
        let last_error = LastError::default();
        let task = Task {
            core,
            clock: Arc::clone(&clock),
            broker: Arc::clone(&setup.broker),
            trading,
            transport,
            vault,
            cell: Arc::clone(&cell),
            gate,
            journal,
            renewer: renewer.clone(),
            paper,
            fallback: fallback.map(|Fallback(prices, source)| (prices, source)),
            wants_others: Arc::clone(&wants_others),
            feed_address,
            hub: ticks,
            tap,
            events: events.clone(),
            inbox: messages,
            myself: inbox.downgrade(),
            sightings: seen,
            socket_events: mpsc::channel(SOCKET_EVENTS),
            last_error: last_error.clone(),
            ask_approval: setup.ask_approval && facts.renewal.contains(&Renewal::Approval),
            login_link,
            halt_file,
            timetables,
            opening,
            state: Doing::default(),
        };
        let span = tracing::info_span!("account", name = %setup.name);
        let task = tokio::spawn(task.run().instrument(span));
        let engine = Engine {
            name: setup.name,
            inbox,
            cell,
            hub,
            events,
            clock,
            broker: setup.broker,
            renewer,
            on_stop: setup.on_stop,
            spent_codes: SpentCodes::default(),
            last_error,
            durable_journal: durable,
            journal_watch,
            wants_others,
            task,
            _watchers: std::iter::once(watcher).chain(fallbacks).collect(),
        };
        // First of all: nothing routes anywhere, nor is asked for, before a halt is known.
        if let Some(mode) = halted {
            engine.tell(Input::Operator(wish(mode))).await;
        }
        let wanted: BTreeSet<InstrumentKey> = setup.instruments.into_iter().collect();
        // The task was just started: it is there to take these.
        if !wanted.is_empty() {
            engine.tell(Input::Subscribe(wanted, setup.mode)).await;
        }
        if let Some(candidate) = first {
            engine.tell(Input::Candidate(candidate)).await;
        }
        engine.tell(Input::Started).await;
        Ok(engine)
    }
}

/// Watches a store that is only a fallback: what is wrong with it is said and stops nothing.
fn watch_fallback(store: &Arc<dyn Store>, sightings: mpsc::Sender<Sighting>) -> WatcherHandle {
    if store.is_read_only() {
        tracing::warn!("the fallback store {} is read once and never again", store.path().display());
    }
    let watcher = Watcher::spawn(Arc::clone(store), sightings);
    match watcher.first() {
        Ok(_) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => tracing::warn!("a fallback store cannot be used until it is mended: {error}"),
    }
    watcher
}

/// Two runs of an account never share a number, nor do two accounts: its name and the time of the start, spread.
fn run_number(account: &str, nanos: i64) -> u64 {
    Rng::from_seed(nanos.unsigned_abs() ^ (u64::from(Fingerprint::of(account).0) << 32)).next_u64()
}

/// The broker's limits, with the account's own in place of that for a second where it is lower. None is no limit.
fn order_limits(limits: &[RateLimit], own: Option<u32>) -> Vec<RateLimit> {
    let own = own.filter(|count| *count > 0);
    let lower = |limit: &RateLimit| match own {
        Some(own) if limit.per == Duration::from_secs(1) => RateLimit { count: limit.count.min(own), ..*limit },
        Some(_) | None => *limit,
    };
    limits.iter().map(lower).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    /// What an engine of one account says to these stores when it starts. Its broker is a port nobody listens on.
    async fn start(folder: &Path, stores: &str) -> Result<Engine, StartError> {
        let file = folder.join("nirantar.toml");
        let text = format!(
            "[[account]]\nname = \"main\"\nbroker = \"kite\"\nuser_id = \"AB1234\"\nstore = {stores}\n\
             rest_url = \"http://127.0.0.1:9\"\nfeed_url = \"ws://127.0.0.1:9\"\nkey_prefix = \"NIRANTAR_SETUP_TEST\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let account = Config::load(&file).unwrap().accounts.remove(0);
        Engine::builder(Setup::from(&account)).start().await
    }

    #[test]
    fn an_accounts_own_limit_counts_only_where_it_is_lower_than_the_brokers() {
        let limit = |count, seconds| RateLimit { count, per: Duration::from_secs(seconds) };
        let brokers = [limit(10, 1), limit(200, 60)];
        assert_eq!(order_limits(&brokers, Some(3)), [limit(3, 1), limit(200, 60)]);
        for unchanged in [Some(20), Some(0), None] {
            assert_eq!(order_limits(&brokers, unchanged), brokers);
        }
    }

    #[tokio::test]
    async fn a_malformed_store_stops_the_start_only_where_it_is_the_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("good.json"), "{\"api_key\": \"key\"}").unwrap();
        let bad = folder.path().join("bad.json");
        std::fs::write(&bad, "{").unwrap();
        let engine = start(folder.path(), "[\"good.json\", \"bad.json\", \"environment\"]").await.unwrap();
        engine.stop().await;

        // The configuration refuses it too; an embedder's setup may not come from one.
        std::fs::write(&bad, "{\"api_key\": \"key\"}").unwrap();
        let file = folder.path().join("nirantar.toml");
        drop(start(folder.path(), "[\"bad.json\", \"good.json\"]").await.unwrap());
        let account = Config::load(&file).unwrap().accounts.remove(0);
        std::fs::write(&bad, "{").unwrap();
        let error = Engine::builder(Setup::from(&account)).start().await.unwrap_err();
        assert!(matches!(error, StartError::Store(StoreError::Malformed { .. })), "{error}");
    }

    #[tokio::test]
    async fn the_first_store_that_holds_a_token_gives_the_candidate() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, token: &str| {
            let text = format!("{{\"api_key\": \"key\", \"access_token\": \"{token}\"}}");
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        for (first, second, expected) in [("one", "two", "one"), ("", "two", "two")] {
            write("a.json", first);
            write("b.json", second);
            let engine = start(folder.path(), "[\"a.json\", \"b.json\"]").await.unwrap();
            let known = |token: &str| engine.renewer.vault.live(Fingerprint::of(token)).is_some();
            assert_eq!((known("one"), known("two")), (expected == "one", expected == "two"));
            engine.stop().await;
        }
    }
}
