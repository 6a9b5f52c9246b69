//! A guide's user at a desk: the configuration `nirantar init` wrote, the files and variables it asks for, and an engine
//! with its login server on a stepped clock.
//!
//! Market time passes only while the script waits ([`World::pass`], [`World::pass_until`], [`World::wait_for`]). Files are
//! watched in real time, so [`World::write`] waits for the watcher while market time stands still.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use nirantar::config::{Config, Outside, Process};
use nirantar::core::Event;
use nirantar::engine::{Engine, EventMessage, Events, Setup};
use nirantar::server::Server;
use nirantar::session::{Notice, State};
use nirantar::token::store::{StoreError, StorePlace, Stored};
use nirantar_brokers::time::{Busy, Clock, SteppedClock, Timestamp};
use nirantar_brokers::{Fingerprint, Venue};
use nirantar_tests::ReservedPort;
use reqwest::header::LOCATION;
use reqwest::{Client, RequestBuilder};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// By the wall clock, far beyond anything a story waits for, for a machine under load.
const DEADLINE: Duration = Duration::from_secs(60);

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_ist(text).unwrap()
}

/// What a user has before the engine runs: a folder with the guide's configuration, and an environment.
pub struct Desk {
    folder: TempDir,
    text: String,
    variables: BTreeMap<String, String>,
    /// The login server's port, which the redirect address registered with the broker names.
    port: ReservedPort,
}

impl Desk {
    /// What `nirantar init --guide NAME` leaves behind, with the port of the login server made a free one.
    pub fn init(guide: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nirantar.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nirantar-child"));
        let output = command.args(["init", "--guide", guide, "--file"]).arg(&file).stdin(Stdio::null()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let port = ReservedPort::new().unwrap();
        let text = fs::read_to_string(file).unwrap().replace("127.0.0.1:5000", &format!("127.0.0.1:{port}"));
        Self { folder, text, variables: BTreeMap::new(), port }
    }

    /// Says something else than the guide does, in one place.
    pub fn say(&mut self, line: &str, instead: &str) {
        assert_eq!(self.text.lines().filter(|found| *found == line).count(), 1, "`{line}` is not there once");
        self.text = self.text.replace(&format!("\n{line}\n"), &format!("\n{instead}\n"));
    }

    /// Sends everything to a server on this machine in place of the broker.
    pub fn at_broker(&mut self, broker: SocketAddr) {
        let line = self.text.lines().find(|line| line.starts_with("broker = ")).unwrap().to_owned();
        let here = format!("{line}\nrest_url = \"http://{broker}\"\nfeed_url = \"ws://{broker}\"");
        self.say(&line, &here);
    }

    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub fn write(&self, file: &str, text: &str) {
        write(&self.folder.path().join(file), text);
    }

    /// The address of a path at the login server.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Runs it as `nirantar run` does, on that clock, which stands still for as long as nobody waits.
    pub async fn run(self, clock: &SteppedClock) -> World {
        let hold = clock.busy();
        let file = self.folder.path().join("nirantar.toml");
        fs::write(&file, &self.text).unwrap();
        let config = Config::read(&self.text, &file, &self).unwrap_or_else(|error| panic!("{error}"));
        let account = &config.accounts[0];
        assert!(account.loopback, "nothing may leave this machine");
        let settings = config.server.as_ref().unwrap();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut builder = Engine::builder(Setup::from(account))
            .clock(Arc::clone(&shared))
            .login_link(settings.login_link(&account.name));
        let events = builder.events();
        let engine = Arc::new(builder.start().await.unwrap());
        let server = Server::start(settings, vec![Arc::clone(&engine)], Arc::clone(&shared)).await.unwrap();
        let mut stepping = JoinSet::new();
        let stepped = clock.clone();
        stepping.spawn(async move { stepped.run(None).await });
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let (seen, looked_at) = (Vec::new(), 0);
        let folder = self.folder;
        World { engine, seen, looked_at, events, hold, clock: shared, client, folder, server, _stepping: stepping }
    }
}

impl Outside for Desk {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn stored(&self, place: &StorePlace, key_prefix: &str) -> Result<Stored, StoreError> {
        Process.stored(place, key_prefix)
    }

    fn real_path(&self, store: &Path) -> PathBuf {
        Process.real_path(store)
    }
}

/// Whole, and made anew, as an editor does.
fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let swap = file.with_extension("swap");
    fs::write(&swap, text).unwrap();
    fs::rename(&swap, file).unwrap();
}

/// A running engine, and everything it has said.
pub struct World {
    pub engine: Arc<Engine>,
    /// Every event so far.
    pub seen: Vec<Event>,
    /// How many of them the script has looked at.
    looked_at: usize,
    events: Events,
    hold: Busy,
    clock: Arc<dyn Clock>,
    client: Client,
    folder: TempDir,
    server: Server,
    _stepping: JoinSet<()>,
}

impl World {
    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    // --- the user's files ----------------------------------------------------------------------------------------

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap()
    }

    pub fn has(&self, file: &str) -> bool {
        self.folder.path().join(file).exists()
    }

    /// Another program, or the user's editor, writes a file. Market time stands still until the watcher has seen it.
    pub async fn write(&mut self, file: &str, text: &str) {
        self.mark().await;
        write(&self.folder.path().join(file), text);
        self.sees().await;
    }

    // --- time and events -----------------------------------------------------------------------------------------

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
        self.catch_up().await;
    }

    /// Lets market time pass until then.
    pub async fn pass_until(&mut self, time: Timestamp) {
        assert!(time > self.now(), "{time} is past: {self}");
        self.pass(time.since(self.now())).await;
    }

    /// Lets market time pass until an event that the script has not looked at yet.
    pub async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        self.look_for(what, true, is_it).await
    }

    /// Waits for a candidate after the last [`mark`](Self::mark), while market time stands still.
    pub async fn sees(&mut self) -> Event {
        self.look_for("a candidate", false, |event| matches!(event, Event::Candidate { .. })).await
    }

    async fn look_for(&mut self, what: &str, moving: bool, is_it: impl Fn(&Event) -> bool) -> Event {
        let search = async {
            loop {
                while let Some(event) = self.seen.get(self.looked_at) {
                    self.looked_at += 1;
                    if is_it(event) {
                        return event.clone();
                    }
                }
                if moving {
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

    /// Lets market time pass for as long as that work takes.
    pub async fn while_passing<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        // It has begun, and holds the clock itself where it must.
        let early = futures_util::poll!(&mut work);
        self.hold = Busy::idle();
        let done = async {
            if let std::task::Poll::Ready(done) = early {
                return done;
            }
            loop {
                tokio::select! {
                    done = &mut work => return done,
                    message = self.events.next() => self.note(message),
                }
            }
        };
        let done = tokio::time::timeout(DEADLINE, done).await.expect("it ends");
        self.hold = self.clock.busy();
        self.catch_up().await;
        done
    }

    fn note(&mut self, message: Option<EventMessage>) {
        match message {
            Some(EventMessage::Event(event)) => self.seen.push(event),
            other => panic!("the events broke off with {other:?}: {self}"),
        }
    }

    /// Reads what was said so far without letting time pass.
    async fn catch_up(&mut self) {
        self.engine.look(|_| ()).await.unwrap();
        while let Some(message) = tokio::task::unconstrained(self.events.next()).now_or_never() {
            self.note(message);
        }
        self.hold = self.clock.busy();
    }

    /// A place in the story, to look back to. What came before it counts as looked at.
    pub async fn mark(&mut self) -> usize {
        self.catch_up().await;
        self.looked_at = self.seen.len();
        self.looked_at
    }

    // --- what was said -------------------------------------------------------------------------------------------

    pub fn state(&self) -> State {
        self.engine.snapshot().state
    }

    pub fn venue(&self) -> Venue {
        self.engine.snapshot().venue
    }

    /// The number of the last token in use.
    pub fn generation(&self) -> u64 {
        self.engine.snapshot().generation.0
    }

    /// The token in use.
    pub fn token(&self) -> Option<Fingerprint> {
        self.engine.snapshot().token.as_ref().map(|live| live.fingerprint())
    }

    pub fn assert_trading(&self) {
        assert_eq!((self.state(), self.venue()), (State::Valid, Venue::Live), "{self}");
    }

    fn since<T>(&self, mark: usize, what: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.seen[mark..].iter().filter_map(what).collect()
    }

    /// When the end of a refresh token was announced, and for when.
    pub fn ends_announced(&self, mark: usize) -> Vec<(Timestamp, Timestamp)> {
        let announced = |event: &Event| match event {
            Event::RefreshTokenDies { at, dies, .. } => Some((*at, *dies)),
            _ => None,
        };
        self.since(mark, announced)
    }

    pub fn notices(&self, mark: usize) -> Vec<Notice> {
        let notice = |event: &Event| if let Event::Notice { notice, .. } = event { Some(notice.clone()) } else { None };
        self.since(mark, notice)
    }

    /// Nobody was alarmed, called or asked from `mark` on.
    pub fn assert_quiet(&self, mark: usize) {
        let loud = |event: &Event| {
            matches!(
                event,
                Event::Alarm { .. } | Event::LoginNeeded { .. } | Event::NotStored { .. } | Event::ApprovalAsked { .. }
            )
            .then(|| event.to_string())
        };
        assert_eq!(self.since(mark, loud), Vec::<String>::new(), "{self}");
    }

    /// Where our login server listens.
    pub const fn login_server(&self) -> SocketAddr {
        self.server.addr()
    }

    // --- a browser -----------------------------------------------------------------------------------------------

    /// One request, while which market time stands still: status, where it sends the browser, body.
    pub async fn ask(&self, request: impl FnOnce(&Client) -> RequestBuilder) -> (u16, Option<String>, String) {
        let whole = async {
            let response = request(&self.client).send().await.unwrap();
            let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
            (response.status().as_u16(), location, response.text().await.unwrap())
        };
        tokio::time::timeout(DEADLINE, whole).await.expect("an answer")
    }

    /// From our login link through the broker's page, where the human answers with `yes`, to the address the browser is
    /// sent back to.
    pub async fn log_in_at_broker(&self, link: &str, yes: &str) -> String {
        let (status, there, page) = self.ask(|client| client.get(link)).await;
        let there = there.unwrap_or_else(|| panic!("{link}: {status} {page}"));
        let (status, back, page) = self.ask(|client| client.get(format!("{there}&{yes}"))).await;
        back.unwrap_or_else(|| panic!("{there}: {status} {page}"))
    }

    /// The browser comes back from the broker: the page that the login ends with. Market time passes once the token is a
    /// candidate.
    pub async fn come_back(&mut self, url: &str) -> String {
        self.mark().await;
        let request = self.client.get(url.to_owned());
        let page = tokio::spawn(async move { request.send().await.unwrap().text().await.unwrap() });
        self.sees().await;
        self.hold = Busy::idle();
        let page = tokio::time::timeout(DEADLINE, page).await.expect("a page").unwrap();
        self.hold = self.clock.busy();
        self.catch_up().await;
        page
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
