//! Somebody who did what a Kite guide says: its `nirantar init` file, the store it speaks of, the engine that
//! `nirantar run` makes of both, and a broker on loopback, all on one stepped clock.
//!
//! Of the guide's file only the addresses are changed (the broker is the server here, the login page is on a free port)
//! and what a test names. Market time passes only where the script waits, as in `harness`.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use nirantar::config::{Config, Outside, Process};
use nirantar::core::Event;
use nirantar::engine::{Engine, EventMessage, Events, Setup};
use nirantar::feed::{FeedStatus, Source, TickEvent, TickMessage};
use nirantar::server::Server;
use nirantar::session::{State, Transition};
use nirantar::token::store::{StoreError, StorePlace, Stored};
use nirantar_brokers::time::{Busy, Clock, SteppedClock, Timestamp};
use nirantar_brokers::{Fingerprint, InstrumentKey, Session, Venue};
use nirantar_exchange_mock::kite::{Control, KiteServer, OrderAction, OrderLog, ServerLog, Settings};
use nirantar_exchange_mock::prices::Walk;
use nirantar_exchange_mock::{Calendar, universe};
use nirantar_tests::ReservedPort;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::child::nirantar;

/// By the wall clock, far beyond anything a story waits for, for a machine under load.
const DEADLINE: Duration = Duration::from_secs(300);

/// How a story begins.
pub struct Plan {
    /// The guide's name.
    pub guide: &'static str,
    /// When, IST.
    pub begins: &'static str,
    /// The day whose prices the market plays.
    pub trading_day: &'static str,
    /// What the broker is like. Where the browser comes back to is set from `callback`.
    pub broker: Settings,
    /// The callback path that is registered with the broker.
    pub callback: &'static str,
    /// What the user changed in the guide's file: each text stands there, and is replaced.
    pub edits: Vec<(&'static str, String)>,
    /// The environment.
    pub variables: Vec<(&'static str, String)>,
    /// The store's text with the token of a login in it.
    pub store: fn(&Session) -> String,
}

/// Files on disk, and an environment of the test's own: the process' is shared by all tests.
struct Environment(Vec<(&'static str, String)>);

impl Outside for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    fn stored(&self, place: &StorePlace, key_prefix: &str) -> Result<Stored, StoreError> {
        Process.stored(place, key_prefix)
    }

    fn real_path(&self, store: &Path) -> PathBuf {
        Process.real_path(store)
    }
}

/// A running engine with its broker, its store, and everything it has said.
pub struct World {
    pub control: Control,
    pub engine: Arc<Engine>,
    pub clock: SteppedClock,
    pub store: PathBuf,
    pub seen: Vec<Event>,
    looked_at: usize,
    events: Events,
    hold: Busy,
    client: reqwest::Client,
    _stepping: JoinSet<()>,
    _server: Option<Server>,
    _broker: KiteServer,
    _folder: TempDir,
}

impl World {
    /// A story under way: a human logged in at its beginning, and orders go to the broker. `prepare` puts what the guide
    /// needs beside into its folder.
    pub async fn begin(plan: Plan, prepare: impl FnOnce(&Path, &Control, &SteppedClock)) -> Self {
        let clock = SteppedClock::starting_at(at(plan.begins));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let hold = clock.busy();
        // The broker must know where the browser comes back to, and the login server comes after it.
        let port = ReservedPort::new().unwrap();
        let redirect_url = format!("http://127.0.0.1:{port}{}", plan.callback);
        let settings = Settings { redirect_url, ..plan.broker };
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let broker = KiteServer::start(anywhere, settings, Arc::clone(&shared), prices(plan.trading_day));
        let broker = broker.await.unwrap();
        let control = broker.control();

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nirantar.toml");
        let text = guides_own(plan.guide, &file);
        let text = changed(text, broker.addr(), &port, &plan.edits);
        fs::write(&file, &text).unwrap();
        let store = folder.path().join(if text.contains("store = \".env\"") { ".env" } else { "broker-config.json" });
        fs::write(&store, (plan.store)(&control.login())).unwrap();
        prepare(folder.path(), &control, &clock);

        let config = Config::read(&text, &file, &Environment(plan.variables)).unwrap();
        let account = &config.accounts[0];
        assert!(account.loopback && account.store == store, "{account:?}");
        // From here on as `nirantar run` does.
        let link = config.server.as_ref().and_then(|server| server.login_link(&account.name));
        let mut builder = Engine::builder(Setup::from(account)).clock(Arc::clone(&shared)).login_link(link);
        let events = builder.events();
        let engine = Arc::new(builder.start().await.unwrap());
        let server = match &config.server {
            Some(settings) => Some(Server::start(settings, vec![Arc::clone(&engine)], shared).await.unwrap()),
            None => None,
        };
        let mut stepping = JoinSet::new();
        let stepped = clock.clone();
        stepping.spawn(async move { stepped.run(None).await });
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let mut world = Self {
            control,
            engine,
            clock,
            store,
            seen: Vec::new(),
            looked_at: 0,
            events,
            hold,
            client,
            _stepping: stepping,
            _server: server,
            _broker: broker,
            _folder: folder,
        };
        world.wait_for_venue(Venue::Live).await;
        world
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    // --- time and events ---------------------------------------------------------------------------------------

    /// Lets market time pass until then.
    pub async fn until(&mut self, time: &str) {
        assert!(self.now() <= at(time), "it is later than {time} already: {self}");
        let span = at(time).since(self.now());
        let mut alarm = self.clock.sleep(span);
        let deadline = tokio::time::sleep(DEADLINE);
        tokio::pin!(deadline);
        self.hold = Busy::idle();
        self.hold = loop {
            tokio::select! {
                busy = &mut alarm => break busy,
                message = self.events.next() => self.note(message),
                () = &mut deadline => panic!("it did not become {time}: {self}"),
            }
        };
    }

    /// Waits for an event that the script has not looked at yet, and returns it.
    pub async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        self.search(what, true, is_it).await
    }

    /// The same while market time stands still: for what happens in real time, like the sighting of a file.
    pub async fn wait_at_once_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        self.search(what, false, is_it).await
    }

    async fn search(&mut self, what: &str, passing: bool, is_it: impl Fn(&Event) -> bool) -> Event {
        let search = async {
            loop {
                while let Some(event) = self.seen.get(self.looked_at) {
                    self.looked_at += 1;
                    if is_it(event) {
                        return event.clone();
                    }
                }
                if passing {
                    self.hold = Busy::idle();
                }
                let message = self.events.next().await;
                self.hold = self.clock.busy();
                self.note(message);
            }
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(event) => event,
            Err(_) => panic!("waited in vain for {what}: {self}"),
        }
    }

    /// Does something that takes market time from the first event on that `begun` tells.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>, begun: impl Fn(&Event) -> bool) -> T {
        let deadline = tokio::time::sleep(DEADLINE);
        tokio::pin!(work, deadline);
        let answer = loop {
            tokio::select! {
                answer = &mut work => break answer,
                message = self.events.next() => {
                    self.note(message);
                    if self.seen.last().is_some_and(&begun) {
                        self.hold = Busy::idle();
                    }
                }
                () = &mut deadline => panic!("it took too long: {self}"),
            }
        };
        self.hold = self.clock.busy();
        answer
    }

    fn note(&mut self, message: Option<EventMessage>) {
        match message {
            Some(EventMessage::Event(event)) => self.seen.push(event),
            other => panic!("the events broke off with {other:?}: {self}"),
        }
    }

    /// A place in the story, to look back to: everything said so far is in `seen`.
    pub async fn mark(&mut self) -> usize {
        self.engine.look(|_| ()).await.unwrap();
        while let Some(message) = tokio::task::unconstrained(self.events.next()).now_or_never() {
            self.note(message);
        }
        self.hold = self.clock.busy();
        self.seen.len()
    }

    pub async fn wait_for_venue(&mut self, wanted: Venue) {
        let there = |event: &Event| matches!(event, Event::Venue { venue, reduce_only: false, .. } if *venue == wanted);
        while !{
            let snapshot = self.engine.snapshot();
            snapshot.venue == wanted && !snapshot.reduce_only
        } {
            self.wait_for(&format!("orders to go to {wanted}"), there).await;
        }
    }

    pub async fn wait_for_fallback(&mut self) -> Transition {
        let fell = |event: &Event| matches!(event, Event::Transition(Transition { to: State::Fallback, .. }));
        match self.wait_for("Fallback", fell).await {
            Event::Transition(transition) => transition,
            other => panic!("{other:?}"),
        }
    }

    /// Changes of state from `mark` on.
    pub async fn steps(&mut self, mark: usize) -> Vec<(State, State)> {
        self.mark().await;
        let step = |event: &Event| if let Event::Transition(step) = event { Some((step.from, step.to)) } else { None };
        self.seen[mark..].iter().filter_map(step).collect()
    }

    /// When a human was asked to log in, from `mark` on.
    pub async fn asked_to_log_in(&mut self, mark: usize) -> Vec<Timestamp> {
        self.mark().await;
        let asked = |event: &Event| if let Event::LoginNeeded { at, .. } = event { Some(*at) } else { None };
        self.seen[mark..].iter().filter_map(asked).collect()
    }

    /// Waits until a human is asked to log in: when, and where.
    pub async fn wait_for_login_needed(&mut self) -> (Timestamp, String) {
        match self.wait_for("a login to be due", |event| matches!(event, Event::LoginNeeded { .. })).await {
            Event::LoginNeeded { at, link: Some(link) } => (at, link),
            other => panic!("{other:?}"),
        }
    }

    // --- the human ---------------------------------------------------------------------------------------------

    /// Logs in as a browser does: from the link to the broker's page and back. The page that says how it went.
    pub async fn log_in_at(&mut self, link: &str) -> String {
        let there = location(&self.client.get(link).send().await.unwrap());
        let back = location(&self.client.get(there).send().await.unwrap());
        let answer = self.client.get(back).send();
        let answer = async { answer.await.unwrap().bytes().await.unwrap() };
        let page = self.during(answer, |event| matches!(event, Event::Candidate { .. })).await;
        String::from_utf8(page.to_vec()).unwrap()
    }

    // --- what the broker and the store say ---------------------------------------------------------------------

    pub fn log(&self) -> ServerLog {
        self.control.log()
    }

    /// The token of the socket that is open at the broker, once the feed is live.
    pub async fn token_on_the_feed(&mut self) -> Fingerprint {
        let live = FeedStatus::Live { generation: self.engine.snapshot().generation };
        if self.engine.look(|core| core.feed().status()).await.unwrap() != live {
            self.wait_for("a live feed", |event| matches!(event, Event::Feed { status, .. } if *status == live)).await;
        }
        let log = self.log();
        let open: Vec<_> = log.sockets.iter().filter(|socket| socket.closed.is_none()).collect();
        assert_eq!(open.len(), 1, "one socket is open: {open:?}");
        open[0].token
    }

    pub fn store_text(&self) -> String {
        fs::read_to_string(&self.store).unwrap()
    }

    /// Order requests that the broker saw with that tag.
    pub fn placements(&self, tag: &str) -> Vec<OrderLog> {
        let of_it = |order: &&OrderLog| order.action == OrderAction::Place && order.tag.as_deref() == Some(tag);
        self.control.with_log(|log| log.orders.iter().filter(of_it).cloned().collect())
    }

    /// Waits for a live tick of each of these instruments under the token in use. Each is held against the broker's own
    /// numbering of the packets it sent on the socket that it came by.
    pub async fn live_ticks_of(&mut self, names: &[&str]) -> Vec<TickEvent> {
        let mut missing: BTreeSet<InstrumentKey> = names.iter().map(|name| name.parse().unwrap()).collect();
        let generation = self.engine.snapshot().generation;
        let mut ticks = self.engine.ticks();
        let deadline = tokio::time::sleep(DEADLINE);
        tokio::pin!(deadline);
        let mut found = Vec::new();
        self.hold = Busy::idle();
        while !missing.is_empty() {
            tokio::select! {
                tick = ticks.next() => match tick {
                    Some(TickMessage::Tick(tick)) => {
                        if tick.source == (Source::Live { generation }) && missing.remove(tick.instrument.as_ref()) {
                            found.push(tick);
                        }
                    }
                    other => panic!("the ticks broke off with {other:?}: {self}"),
                },
                message = self.events.next() => self.note(message),
                () = &mut deadline => panic!("no tick of {missing:?}: {self}"),
            }
        }
        self.hold = self.clock.busy();
        let log = self.log();
        for tick in &found {
            let socket = log.sockets.iter().rfind(|socket| socket.port == tick.socket_port).unwrap();
            assert_eq!(socket.closed, None, "it came by the socket that is open");
            let packet = socket.packets[usize::try_from(tick.packet).unwrap() - 1];
            assert_eq!(packet.token, tick.tick.token, "{tick:?}");
        }
        found
    }
}

impl std::fmt::Display for World {
    /// For a failed test: how things stand, and the last things said.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let snapshot = self.engine.snapshot();
        writeln!(f, "at {} the session is {}, orders: {}", self.now(), snapshot.state, snapshot.venue)?;
        for event in self.seen.iter().rev().take(25).rev() {
            writeln!(f, "  {} {event}", event.at())?;
        }
        Ok(())
    }
}

pub fn at(time: &str) -> Timestamp {
    Timestamp::parse_ist(time).unwrap()
}

/// Within the moment that one knock at the feed and one at the broker take.
pub fn soon_after(time: &str, is: Timestamp) -> bool {
    is >= at(time) && is <= at(time) + Duration::from_secs(3)
}

/// What `nirantar init` writes for a guide.
fn guides_own(guide: &str, file: &Path) -> String {
    let written = nirantar().args(["init", "--guide", guide, "--file"]).arg(file).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    fs::read_to_string(file).unwrap()
}

/// The guide's text with the broker here, the login page on a free port, and what the user changed.
fn changed(text: String, broker: SocketAddr, port: &ReservedPort, edits: &[(&'static str, String)]) -> String {
    let here = format!(
        "broker = \"kite\"\nrest_url = \"http://{broker}\"\nfeed_url = \"ws://{broker}\"\nlogin_url = \"http://{broker}\""
    );
    let mut text = replaced(&text, "broker = \"kite\"", &here);
    for (from, to) in edits {
        text = replaced(&text, from, to);
    }
    text.replace("listen = \"127.0.0.1:5000\"", &format!("listen = \"127.0.0.1:{port}\""))
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` stands once in {text}");
    text.replace(from, to)
}

fn location(answer: &reqwest::Response) -> String {
    assert_eq!(answer.status().as_u16(), 302, "{answer:?}");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// What the guides' users trade, and a share to send orders of.
fn prices(day: &str) -> Box<Walk> {
    const TRADED: [&str; 4] = ["NIFTY 50", "NIFTY BANK", "SENSEX", "RELIANCE"];
    let day = day.parse().unwrap();
    let mut market = universe::with_start_prices(day);
    market.retain(|(instrument, _)| TRADED.contains(&instrument.key.symbol.as_str()));
    Box::new(Walk::new(1, &market, &Calendar::nse(), day))
}
