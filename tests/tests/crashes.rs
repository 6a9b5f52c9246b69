//! Must show: killed at any moment (SIGKILL), restarted each time, the engine loses no order, repeats none, and knows at
//! the end what became of each. The child is `src/bin/nirantar-trader.rs`; the broker is the Kite wire server in this
//! process, which outlives every child; the judge is the server's own book, order for order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nirantar::orders::{Record, What, read_records};
use nirantar_brokers::time::{Busy, Clock, Monotonic, Now, Rng, SystemClock, Timestamp};
use nirantar_brokers::{Book, Fingerprint, OrderStatus};
use nirantar_exchange_mock::kite::{Control, KiteServer, OrderAction, Settings};
use nirantar_exchange_mock::prices::{Merge, Walk};
use nirantar_exchange_mock::{Calendar, PriceSource, universe};
use serde_json::Value;
use tempfile::TempDir;

/// How often the child is killed.
const KILLS: usize = 200;
/// The longest, in milliseconds, from its start or its first order to its end.
const LONGEST_WAIT: u64 = 180;
/// A machine under load is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_two_hundred_times_the_engine_loses_no_order_and_repeats_none() {
    let seed = std::env::var("NIRANTAR_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fresh_seed);
    println!("seed {seed}: NIRANTAR_CRASH_SEED={seed} repeats the choices, not the moments");
    let mut dice = Rng::from_seed(seed);
    let world = World::start("2026-11-20 10:00:00").await;
    let (mut in_flight, mut unsettled) = (0, 0);
    for _ in 0..KILLS {
        let mut child = world.spawn("trade", dice.next_u64());
        // One in four dies somewhere on its way to the first order, the others while they trade.
        if dice.below(4) > 0 {
            child.wait_for("live");
        }
        std::thread::sleep(Duration::from_millis(dice.below(LONGEST_WAIT)));
        child.kill();
        let cut_off = cut_off(&world.records());
        in_flight += usize::from(cut_off > 0);
        unsettled += cut_off;
    }
    let told = world.settle(&mut dice);
    let (placed, filled) = world.compare(&told).await;
    println!(
        "{KILLS} kills, {in_flight} of them with an order on its way ({unsettled} orders); {placed} orders at the broker, \
         {filled} of them filled"
    );
    assert!(in_flight > KILLS / 20, "only {in_flight} kills hit an order on its way: the test shows too little");
    assert!(
        placed > KILLS / 2 && filled > 20,
        "{placed} orders at the broker, {filled} filled: the test shows too little"
    );

    // One more before the close, and the next start is in the morning.
    world.clock.set("2026-11-20 15:14:40");
    let mut child = world.spawn("trade", dice.next_u64());
    child.wait_for("live");
    std::thread::sleep(Duration::from_millis(1_500));
    child.kill();
    let open: BTreeSet<String> = open_at_the_end(&world.records());
    world.clock.set("2026-11-23 09:20:00");
    world.log_in();
    let told = world.settle(&mut dice);
    for (id, order) in &told.orders {
        let of_friday = open.contains(id);
        assert!(order.status.is_final(), "{id} is {:?}", order.status);
        assert!(order.status != OrderStatus::Unresolved || of_friday, "{id} was at its end, and is Unresolved");
    }
    let unresolved = told.orders.values().filter(|order| order.status == OrderStatus::Unresolved).count();
    println!("next morning: {} orders were open at the kill, {unresolved} are for a human to look at", open.len());
    assert_eq!(told.positions, world.positions().await, "positions of the next morning");
    world.no_tag_twice();
}

/// A clock at the machine's pace whose wall reading can be set: nights pass at once.
#[derive(Clone, Debug)]
struct SettableClock {
    machine: SystemClock,
    /// Wall minus monotonic reading, in nanoseconds.
    ahead: Arc<AtomicI64>,
}

impl SettableClock {
    fn starting_at(wall: &str) -> Self {
        let clock = Self { machine: SystemClock::start(), ahead: Arc::default() };
        clock.set(wall);
        clock
    }

    fn set(&self, wall: &str) {
        let since_start = i64::try_from(self.machine.now().mono.as_nanos()).unwrap();
        let wall = Timestamp::parse_ist(wall).unwrap().as_nanos();
        self.ahead.store(wall - since_start, Ordering::SeqCst);
    }
}

impl Clock for SettableClock {
    fn now(&self) -> Now {
        let mono = self.machine.now().mono;
        let since_start = i64::try_from(mono.as_nanos()).unwrap();
        Now { mono, wall: Timestamp::from_nanos(self.ahead.load(Ordering::SeqCst) + since_start) }
    }

    fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
        self.machine.sleep_until(at)
    }
}

struct World {
    server: KiteServer,
    control: Control,
    clock: SettableClock,
    folder: TempDir,
}

impl World {
    async fn start(wall: &str) -> Self {
        let clock = SettableClock::starting_at(wall);
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // Ten starts in a second read more than one engine ever would.
        // Order calls are acted on at once and answered later, as over a real network: many a kill falls in between.
        let faults = vec!["late=40ms".parse().unwrap()];
        let settings = Settings { rate_limits: false, faults, ..Settings::default() };
        let server = KiteServer::start(anywhere, settings, Arc::new(clock.clone()), two_days()).await.unwrap();
        let world = Self { control: server.control(), server, clock, folder: tempfile::tempdir().unwrap() };
        world.log_in();
        world
    }

    fn log_in(&self) {
        let token = self.control.login().access_token;
        let text = format!("ZERODHA_ACCESS_TOKEN={}\n", token.expose());
        std::fs::write(self.folder.path().join(".env"), text).unwrap();
    }

    fn spawn(&self, what: &str, seed: u64) -> Trader {
        let wall = self.clock.now().wall.as_nanos().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_nirantar-trader"))
            .arg(self.server.addr().to_string())
            .arg(self.folder.path())
            .args([&wall, &seed.to_string(), what])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        Trader { child, says }
    }

    /// Runs a child that finds out what became of everything, and hears what it says.
    fn settle(&self, dice: &mut Rng) -> Told {
        let mut child = self.spawn("settle", dice.next_u64());
        let lines = child.wait_for("settled");
        assert!(child.child.wait().unwrap().success());
        Told::read(&lines)
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn records(&self) -> Vec<Record> {
        if self.journal().exists() { read_records(&self.journal()).unwrap() } else { Vec::new() }
    }

    /// The server's book against the journal and what the last child says, order for order. How many orders the broker
    /// has, and how many of them are filled.
    async fn compare(&self, told: &Told) -> (usize, usize) {
        self.no_tag_twice();
        let book = self.get("/orders").await;
        let mut at_the_broker = BTreeMap::new();
        for row in book.as_array().unwrap() {
            let tag = row["tag"].as_str().expect("every order here is ours").to_owned();
            let there = (text(row, "order_id"), text(row, "status"), row["filled_quantity"].as_u64().unwrap());
            assert!(at_the_broker.insert(tag.clone(), there).is_none(), "{tag} is twice in the broker's book");
        }
        let journalled = last_states(&self.records());
        let mut filled = 0;
        for (tag, (number, status, units)) in &at_the_broker {
            let ours = told.orders.get(tag).unwrap_or_else(|| panic!("{tag} is at the broker and was lost here"));
            let expected = match status.as_str() {
                "COMPLETE" => OrderStatus::Filled,
                "CANCELLED" => OrderStatus::Cancelled,
                "REJECTED" => OrderStatus::Rejected,
                other => panic!("{tag} is {other} at the broker after all was settled"),
            };
            assert_eq!((ours.status, ours.filled, &ours.number), (expected, *units, number), "{tag}");
            assert_eq!(journalled.get(tag), Some(&(expected, *units)), "{tag} in the journal");
            filled += usize::from(expected == OrderStatus::Filled);
        }
        for (id, order) in told.orders.iter().filter(|(id, _)| !at_the_broker.contains_key(*id)) {
            let never_there = matches!(order.status, OrderStatus::Refused | OrderStatus::NotPlaced);
            // A placement that the broker refuses at once has no number there.
            let refused_at_once = order.status == OrderStatus::Rejected && order.number == "-";
            assert!(never_there || refused_at_once, "{id} is {:?} here and nowhere at the broker", order.status);
        }
        assert_eq!(told.positions, self.positions().await, "positions");
        (at_the_broker.len(), filled)
    }

    /// From the server's log, which forgets nothing overnight.
    fn no_tag_twice(&self) {
        let mut seen = BTreeSet::new();
        self.control.with_log(|log| {
            for order in log.orders.iter().filter(|order| order.action == OrderAction::Place && order.accepted) {
                assert!(seen.insert(order.tag.clone()), "{:?} was accepted twice", order.tag);
            }
        });
    }

    async fn positions(&self) -> BTreeMap<String, i64> {
        let net = self.get("/portfolio/positions").await["net"].clone();
        let rows = net.as_array().unwrap().iter();
        let named = rows.map(|row| (text(row, "tradingsymbol"), row["quantity"].as_i64().unwrap()));
        named.filter(|(_, quantity)| *quantity != 0).collect()
    }

    async fn get(&self, path: &str) -> Value {
        let env = std::fs::read_to_string(self.folder.path().join(".env")).unwrap();
        let token = env.trim().strip_prefix("ZERODHA_ACCESS_TOKEN=").unwrap();
        let client = reqwest::Client::new();
        let request = client.get(format!("http://{}{path}", self.server.addr()));
        let answer = request.header("Authorization", format!("token nirantar:{token}")).send().await.unwrap();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(body["status"], "success", "{body}");
        body["data"].clone()
    }
}

/// The child.
struct Trader {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Trader {
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Everything up to that line.
    fn wait_for(&mut self, wanted: &str) -> Vec<String> {
        let began = SystemClock::start();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.says.read_line(&mut line).unwrap();
            assert!(read > 0, "the child ended and said only {lines:?}");
            assert!(began.now().mono.since(Monotonic::default()) < PATIENCE, "no `{wanted}`, only {lines:?}");
            if line.trim() == wanted {
                return lines;
            }
            lines.push(line.trim().to_owned());
        }
    }
}

impl Drop for Trader {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child says at its end.
#[derive(Debug, Default)]
struct Told {
    orders: BTreeMap<String, ToldOrder>,
    positions: BTreeMap<String, i64>,
}

#[derive(Debug)]
struct ToldOrder {
    status: OrderStatus,
    filled: u64,
    number: String,
}

impl Told {
    fn read(lines: &[String]) -> Self {
        let mut told = Self::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["order", id, "live", status, filled, number] => {
                    let order = ToldOrder {
                        status: status_of(status),
                        filled: filled.parse().unwrap(),
                        number: (*number).to_owned(),
                    };
                    told.orders.insert((*id).to_owned(), order);
                }
                ["position", key, _, held] => {
                    let symbol = key.strip_prefix("NSE:").unwrap().to_owned();
                    *told.positions.entry(symbol).or_default() += held.parse::<i64>().unwrap();
                }
                _ => {}
            }
        }
        told.positions.retain(|_, held| *held != 0);
        told
    }
}

fn status_of(word: &str) -> OrderStatus {
    OrderStatus::ALL.into_iter().find(|status| format!("{status:?}") == word).unwrap()
}

/// How each live order stands after the last word of the journal on it.
fn last_states(records: &[Record]) -> BTreeMap<String, (OrderStatus, u64)> {
    let mut states = BTreeMap::new();
    for record in records.iter().filter(|record| record.book == Book::Live) {
        let Some(id) = &record.id else { continue };
        match &record.what {
            What::Intent(_) | What::External { .. } => {
                states.insert(id.to_string(), (OrderStatus::Journalled, 0));
            }
            What::Sending { .. } => {
                let state = states.entry(id.to_string()).or_insert((OrderStatus::Sent, 0));
                if state.0 == OrderStatus::Journalled {
                    state.0 = OrderStatus::Sent;
                }
            }
            What::State { status, filled, .. } => {
                states.insert(id.to_string(), (*status, filled.get()));
            }
            _ => {}
        }
    }
    states
}

/// Orders that were written as leaving and of which nothing came back.
fn cut_off(records: &[Record]) -> usize {
    last_states(records).values().filter(|(status, _)| *status == OrderStatus::Sent).count()
}

fn open_at_the_end(records: &[Record]) -> BTreeSet<String> {
    last_states(records).into_iter().filter(|(_, (status, _))| !status.is_final()).map(|(id, _)| id).collect()
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_else(|| panic!("{field} in {row}")).to_owned()
}

fn fresh_seed() -> u64 {
    // Differs from run to run, and is printed.
    u64::from(Fingerprint::of(&format!("{}{:?}", std::process::id(), tempfile::tempdir().unwrap().path())).0)
}

/// Friday and Monday of one share.
fn two_days() -> Box<dyn PriceSource + Send> {
    let of = |date: &str, seed| -> Box<dyn PriceSource + Send> {
        let date = date.parse().unwrap();
        let listed = universe::with_start_prices(date);
        let one: Vec<_> = listed.into_iter().filter(|(known, _)| known.key.symbol == "RELIANCE").collect();
        Box::new(Walk::new(seed, &one, &Calendar::nse(), date))
    };
    Box::new(Merge::new(vec![of("2026-11-20", 1), of("2026-11-23", 2)]).unwrap())
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({})", self.server.addr())
    }
}
