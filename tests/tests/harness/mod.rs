//! A Kite server and an engine on one clock, as the sandbox puts them together, and a script between them.
//!
//! * On a *stepped* clock market time passes only while the script waits ([`World::pass`], [`World::wait_for`]): an hour
//!   is over in seconds, and nothing happens between two lines of the script that the script did not ask for.
//! * On the machine's clock, shifted so that the market is open ([`OffsetClock`]), files are written and watched as in life.
//!
//! Nothing sleeps to wait for a condition: the script waits for an event, with a deadline by the wall clock.
#![allow(dead_code, unreachable_pub, reason = "each file of stories uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

pub mod writing;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use nirantar::core::Event;
use nirantar::engine::{Builder, Engine, EventMessage, OnStop, Setup};
use nirantar::feed::PaperSource;
use nirantar::orders::{Journal, MemoryJournal, RiskLimits, Tracked};
use nirantar::session::{FallbackOrders, Notice, Policy, State};
use nirantar::token::store::StorePlace;
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Busy, Clock, OffsetClock, SteppedClock, Timestamp};
use nirantar_brokers::{
    Broker, ClientOrderId, Exchange, Instrument, InstrumentKey, MarketProtection, OrderRequest, OrderStatus, OrderType,
    Price, Side, Venue,
};
use nirantar_exchange_mock::kite::{Control, KiteServer, OrderAction, OrderLog, Settings};
use nirantar_exchange_mock::prices::Walk;
use nirantar_exchange_mock::{Calendar, Config as PaperConfig, MockExchange, PaperBroker, universe};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// The trading morning every story begins on: a Friday without a holiday.
const BEGINNING: &str = "2026-11-20 10:00:00";
/// By the wall clock, far beyond anything a story waits for, for a machine under load.
const DEADLINE: Duration = Duration::from_secs(30);
/// What is traded.
const SYMBOL: &str = "RELIANCE";

/// How a story begins.
pub struct Plan {
    /// What the server is like.
    pub settings: Settings,
    /// Whether a human has logged in and the token is in the store.
    pub logged_in: bool,
    /// What kind of app the engine is told it has.
    pub app: App,
    /// Its stores, the first of which is written to.
    pub stores: Vec<&'static str>,
    /// Which of them the token is in.
    pub held_by: usize,
    /// What becomes of resting orders at its end.
    pub on_stop: OnStop,
    /// The broker's codec, around Kite's own or that itself.
    pub broker: fn(Kite) -> Arc<dyn Broker>,
    /// Its journal, if not the one in memory that [`World::journal`] reads.
    pub journal: Option<Box<dyn Journal>>,
    /// The one in memory, with what engines before it have written.
    pub earlier: MemoryJournal,
    /// When it begins, IST.
    pub begins: &'static str,
    /// What the account risks at most.
    pub risk: RiskLimits,
    /// What is in its halt file from the start; it is `halt` in the story's folder.
    pub halted: Option<&'static str>,
    /// What becomes of orders in Fallback.
    pub fallback_orders: FallbackOrders,
    /// Shares that the server has prices of, beside the one that is traded.
    pub others: &'static [&'static str],
}

impl Plan {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            logged_in: true,
            app: App::Individual,
            stores: vec![".env"],
            held_by: 0,
            on_stop: OnStop::Leave,
            broker: |kite| Arc::new(kite),
            journal: None,
            earlier: MemoryJournal::default(),
            begins: BEGINNING,
            risk: RiskLimits::default(),
            halted: None,
            fallback_orders: FallbackOrders::Paper,
            others: &[],
        }
    }

    /// The server has that fault from the start.
    pub fn with_fault(fault: &str) -> Self {
        Self::new(Settings { faults: vec![fault.parse().unwrap()], ..Settings::default() })
    }
}

/// A running engine with its broker, its store, and everything it has said.
pub struct World {
    pub control: Control,
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub store: PathBuf,
    pub folder: TempDir,
    pub journal: MemoryJournal,
    /// Every event so far.
    pub seen: Vec<Event>,
    /// How many of them the script has looked at.
    looked_at: usize,
    events: nirantar::engine::Events,
    hold: Busy,
    _stepping: JoinSet<()>,
    server: KiteServer,
    setup: Setup,
}

/// An account beside that of the story.
pub struct Neighbour {
    pub control: Control,
    pub engine: Engine,
    _server: KiteServer,
    _folder: TempDir,
}

impl World {
    /// A story on a stepped clock, under way: the session is Valid and orders go to the broker.
    pub async fn stepped(plan: Plan) -> Self {
        let mut world = Self::stepped_until(plan, Venue::Live).await;
        world.wait_for_list().await;
        world
    }

    /// The same, under way as soon as orders go there.
    pub async fn stepped_until(plan: Plan, venue: Venue) -> Self {
        let clock = SteppedClock::starting_at(Timestamp::parse_ist(plan.begins).unwrap());
        let mut world = Self::start(plan, Arc::new(clock.clone())).await;
        world._stepping.spawn(async move { clock.run(None).await });
        world.wait_for_venue(venue).await;
        world
    }

    /// A story in real time, just begun.
    pub async fn real(plan: Plan) -> Self {
        Self::start(plan, Arc::new(OffsetClock::starting_at(beginning()))).await
    }

    async fn start(plan: Plan, clock: Arc<dyn Clock>) -> Self {
        let Plan { settings, logged_in, app, stores, held_by, on_stop, broker, journal: own, earlier: journal, .. } =
            plan;
        let (risk, fallback_orders) = (plan.risk, plan.fallback_orders);
        let hold = clock.busy();
        let (user_id, api_key) = (settings.user_id.clone(), settings.api_key.clone());
        let api_secret = settings.api_secret.clone();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let played = prices(&clock, plan.others);
        let server = KiteServer::start(anywhere, settings, Arc::clone(&clock), played).await.unwrap();
        let control = server.control();
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join(stores[0]);
        if logged_in {
            writing::token(&folder.path().join(stores[held_by]), control.login().access_token.expose());
        }
        let mut opened = stores.iter().map(|name| StorePlace::named(name, folder.path()).open("ZERODHA", "zerodha"));
        let origin = format!("127.0.0.1:{}", server.addr().port());
        let kite = Kite::new(app, api_key, Some(api_secret.clone())).with_login_root(format!("http://{origin}"));
        let broker = broker(kite);
        let policy = Policy { user_id: Some(user_id), fallback_orders, ..Policy::for_broker(broker.facts()) };
        let (rest, feed) = (format!("http://{origin}"), format!("ws://{origin}"));
        let halt_file = folder.path().join("halt");
        if let Some(text) = plan.halted {
            std::fs::write(&halt_file, text).unwrap();
        }
        let setup = Setup {
            risk,
            halt_file: Some(halt_file),
            loopback: true,
            policy,
            secrets: vec![api_secret],
            on_stop,
            instruments: vec![instrument()],
            ..Setup::new("story", broker, rest, feed, opened.next().unwrap())
        };
        let setup = Setup { fallback_stores: opened.collect(), ..setup };
        let first = builder(setup.clone(), &clock, &journal);
        let first = if let Some(own) = own { first.journal(own) } else { first };
        let engine = first.start().await.unwrap();
        let events = engine.events();
        let (seen, looked_at, _stepping) = (Vec::new(), 0, JoinSet::new());
        Self { control, engine, clock, store, folder, journal, seen, looked_at, events, hold, _stepping, server, setup }
    }

    /// Another account, at a broker of its own, on this story's clock. Nobody listens to it, so that it holds no time.
    pub async fn neighbour(&self, plan: Plan) -> Neighbour {
        let Self { control, engine, server, folder, .. } = Self::start(plan, Arc::clone(&self.clock)).await;
        Neighbour { control, engine, _server: server, _folder: folder }
    }

    /// The engine dies where it stands, and another one goes on with its store and its journal. What was seen so far is
    /// kept.
    pub async fn restart_engine(&mut self) {
        let mut builder = builder(self.setup.clone(), &self.clock, &self.journal);
        // The replay has something to say before the engine is there to be listened to.
        self.events = builder.events();
        // No time passes between the two lives: the old one has said its last word.
        self.engine = builder.start().await.unwrap();
        self.hold = self.clock.busy();
    }

    /// Where the server listens.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    pub fn fault(&self, rule: &str) {
        self.control.fault(rule.parse::<nirantar_exchange_mock::kite::FaultRule>().unwrap());
    }

    // --- time and events ---------------------------------------------------------------------------------------

    /// Lets market time pass.
    pub async fn pass(&mut self, span: Duration) {
        let mut alarm = self.clock.sleep(span);
        let deadline = tokio::time::sleep(DEADLINE);
        tokio::pin!(deadline);
        self.hold = Busy::idle();
        self.hold = loop {
            tokio::select! {
                busy = &mut alarm => break busy,
                message = self.events.next() => self.note(message),
                () = &mut deadline => panic!("{span:?} of market time did not pass: {self}"),
            }
        };
    }

    /// Waits for an event that the script has not looked at yet. What came before it counts as looked at, and is
    /// returned with it, last.
    pub async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Vec<Event> {
        let from = self.looked_at;
        let search = async {
            loop {
                while let Some(event) = self.seen.get(self.looked_at) {
                    self.looked_at += 1;
                    if is_it(event) {
                        return;
                    }
                }
                self.hold = Busy::idle();
                let message = self.events.next().await;
                self.hold = self.clock.busy();
                self.note(message);
            }
        };
        if tokio::time::timeout(DEADLINE, search).await.is_err() {
            panic!("waited in vain for {what}: {self}");
        }
        self.seen[from..self.looked_at].to_vec()
    }

    /// Lets market time pass while something is done with the engine, and comes back with what it brought.
    pub async fn during<T>(&mut self, work: impl AsyncFnOnce(&Engine) -> T) -> T {
        self.hold = Busy::idle();
        let Self { engine, events, seen, .. } = self;
        let both = async {
            let work = work(engine);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    done = &mut work => return Some(done),
                    message = events.next() => match message {
                        Some(EventMessage::Event(event)) => seen.push(event),
                        _ => return None,
                    },
                }
            }
        };
        let done = tokio::time::timeout(DEADLINE, both).await.ok().flatten();
        self.hold = self.clock.busy();
        done.unwrap_or_else(|| panic!("it did not end: {self}"))
    }

    fn note(&mut self, message: Option<EventMessage>) {
        match message {
            Some(EventMessage::Event(event)) => self.seen.push(event),
            other => panic!("the events broke off with {other:?}: {self}"),
        }
    }

    /// Reads what was said so far without letting time pass: all that a step of the engine says is there once the step
    /// is over.
    async fn catch_up(&mut self) {
        self.engine.look(|_| ()).await.unwrap();
        while let Some(message) = tokio::task::unconstrained(self.events.next()).now_or_never() {
            self.note(message);
        }
        self.hold = self.clock.busy();
    }

    /// A place in the story, to look back to.
    pub async fn mark(&mut self) -> usize {
        self.catch_up().await;
        self.seen.len()
    }

    /// What the engine has said from `mark` on, as far as it was read.
    pub fn since(&self, mark: usize) -> &[Event] {
        &self.seen[mark..]
    }

    /// Waits until orders go there, now or next.
    pub async fn wait_for_venue(&mut self, wanted: Venue) {
        let there = |event: &Event| matches!(event, Event::Venue { venue, reduce_only: false, .. } if *venue == wanted);
        while !{
            let snapshot = self.engine.snapshot();
            snapshot.venue == wanted && !snapshot.reduce_only
        } {
            self.wait_for(&format!("orders to go to {wanted}"), there).await;
        }
        // The venue is read from the cell, which is ahead of the events that led to it.
        self.catch_up().await;
    }

    /// Waits until the day's list of NSE is here: before that no entry is taken.
    pub async fn wait_for_list(&mut self) {
        let knows = |core: &nirantar::core::Core| core.desk().listings().knows(Exchange::Nse);
        if !self.engine.look(knows).await.unwrap() {
            let is_it = |event: &Event| matches!(event, Event::Instruments { exchange: Exchange::Nse, .. });
            self.wait_for("the list of NSE", is_it).await;
        }
    }

    /// Waits until the feed delivers.
    pub async fn wait_for_feed(&mut self) {
        let live = |status| matches!(status, nirantar::feed::FeedStatus::Live { .. });
        if !self.engine.look(move |core| live(core.feed().status())).await.unwrap() {
            self.wait_for("a live feed", |event| matches!(event, Event::Feed { status, .. } if live(*status))).await;
        }
    }

    // --- orders ------------------------------------------------------------------------------------------------

    /// Submits a market order for one share; it must be taken.
    pub async fn buy(&self) -> ClientOrderId {
        self.engine.submit(market_order()).await.unwrap()
    }

    /// Waits until an order stands like that, or has already.
    pub async fn wait_for_order(&mut self, id: &ClientOrderId, status: OrderStatus) -> Tracked {
        let known = self.seen.iter().find_map(|event| match event {
            Event::Order { order, .. } if order.id == *id && order.status == status => Some((**order).clone()),
            _ => None,
        });
        if let Some(order) = known {
            return order;
        }
        let is_it =
            |event: &Event| matches!(event, Event::Order { order, .. } if order.id == *id && order.status == status);
        let events = self.wait_for(&format!("order {id} to be {status}"), is_it).await;
        match events.last() {
            Some(Event::Order { order, .. }) => (**order).clone(),
            other => panic!("{other:?}"),
        }
    }

    /// A live order goes to the broker and is filled.
    pub async fn an_order_passes(&mut self) {
        let id = self.buy().await;
        let order = self.wait_for_order(&id, OrderStatus::Filled).await;
        assert_eq!(order.book, nirantar_brokers::Book::Live);
        assert_eq!(self.placements(&id).len(), 1, "{self}");
        // The feed may tell of the fill before the reply is in, and until then the order is inside the gate. A stepped
        // clock moves only once the reply is dealt with.
        self.pass(Duration::from_millis(1)).await;
    }

    /// Every status an order has had, as events told of it.
    pub fn statuses(&self, id: &ClientOrderId) -> Vec<OrderStatus> {
        let mut statuses: Vec<OrderStatus> = self
            .seen
            .iter()
            .filter_map(|event| match event {
                Event::Order { order, .. } if order.id == *id => Some(order.status),
                _ => None,
            })
            .collect();
        statuses.dedup();
        statuses
    }

    /// What the server saw of an order: its place requests.
    pub fn placements(&self, id: &ClientOrderId) -> Vec<OrderLog> {
        let tag = id.to_string();
        let of_it = |order: &&OrderLog| order.action == OrderAction::Place && order.tag.as_ref() == Some(&tag);
        self.control.with_log(|log| log.orders.iter().filter(of_it).cloned().collect())
    }

    /// Order requests of every kind that the server saw.
    pub fn order_requests(&self) -> usize {
        self.control.with_log(|log| log.orders.len())
    }

    // --- what was said -----------------------------------------------------------------------------------------

    pub fn state(&self) -> State {
        self.engine.snapshot().state
    }

    /// No event from `mark` on tells of another state.
    pub async fn assert_state_untouched(&mut self, mark: usize) {
        self.catch_up().await;
        let moved: Vec<_> = self.since(mark).iter().filter(|event| matches!(event, Event::Transition(_))).collect();
        assert!(moved.is_empty(), "{moved:?}");
        assert_eq!(self.state(), State::Valid, "{self}");
    }

    pub async fn alarms(&mut self, mark: usize) -> Vec<String> {
        self.catch_up().await;
        let words = |event: &Event| if let Event::Alarm { words, .. } = event { Some(words.clone()) } else { None };
        self.since(mark).iter().filter_map(words).collect()
    }

    pub async fn notices(&mut self, mark: usize) -> Vec<Notice> {
        self.catch_up().await;
        let notice = |event: &Event| if let Event::Notice { notice, .. } = event { Some(notice.clone()) } else { None };
        self.since(mark).iter().filter_map(notice).collect()
    }
}

impl std::fmt::Display for World {
    /// For a failed test: how things stand, and the last things said.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let snapshot = self.engine.snapshot();
        writeln!(f, "at {} the session is {}, orders: {}", self.now(), snapshot.state, snapshot.venue)?;
        for event in self.seen.iter().rev().take(25).rev() {
            writeln!(f, "  {event:?}")?;
        }
        Ok(())
    }
}

pub fn instrument() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, SYMBOL)
}

pub fn market_order() -> OrderRequest {
    OrderRequest::new(instrument(), Side::Buy, 1, OrderType::Market(MarketProtection::Automatic))
}

fn builder(setup: Setup, clock: &Arc<dyn Clock>, journal: &MemoryJournal) -> Builder {
    let instruments = market(clock, &[]).into_iter().map(|(instrument, _)| instrument).collect();
    Engine::builder(setup)
        .clock(Arc::clone(clock))
        .journal(Box::new(journal.clone()))
        .paper(PaperBroker::new(MockExchange::new(PaperConfig::default(), instruments, Calendar::nse())))
        .fallback_prices(prices(clock, &[]), PaperSource::Synthetic)
}

fn beginning() -> Timestamp {
    Timestamp::parse_ist(BEGINNING).unwrap()
}

fn market(clock: &Arc<dyn Clock>, others: &[&str]) -> Vec<(Instrument, Price)> {
    let of_the_day = universe::with_start_prices(clock.now().wall.ist_date());
    let is_traded = |key: &InstrumentKey| *key == instrument() || others.contains(&key.symbol.as_str());
    of_the_day.into_iter().filter(|(known, _)| is_traded(&known.key)).collect()
}

fn prices(clock: &Arc<dyn Clock>, others: &[&str]) -> Box<Walk> {
    Box::new(Walk::new(1, &market(clock, others), &Calendar::nse(), clock.now().wall.ist_date()))
}
