//! `nirantar orders`, its export and its acknowledging, and the journal of `nirantar run`, as a shell sees them: over
//! journals that were written record by record, and over one that a real engine has written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;
mod harness;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use child::nirantar;
use harness::{Plan, World, market_order};
use nirantar::orders::{CommandKind, Journal as _, Record, SqliteJournal, What, read_records};
use nirantar::session::Generation;
use nirantar_brokers::time::{Clock as _, SystemClock, Timestamp};
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, InstrumentKey, OrderRequest, OrderStatus, OrderType, Price, Quantity, Side,
};
use nirantar_exchange_mock::kite::Settings;
use serde_json::{Value, json};

/// Nobody listens there, and no credential is missing.
const CONFIGURATION: &str = "[[account]]\nname = \"main\"\nbroker = \"kite\"\nuser_id = \"AB1234\"\n\
                             rest_url = \"http://127.0.0.1:9\"\nfeed_url = \"ws://127.0.0.1:9\"\n";

/// One test at a time: a child that another test is about to start holds copies of all our locks until it is another
/// program, and a journal would be in use by nobody one can name.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run_in(folder: &Path, arguments: &[&str]) -> Ended {
    let output = nirantar().args(arguments).current_dir(folder).output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn refused(folder: &Path, arguments: &[&str], words: &[&str]) {
    let ended = run_in(folder, arguments);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{arguments:?}: `{word}` is not in {}", ended.stderr);
    }
}

fn good(folder: &Path, arguments: &[&str]) -> String {
    let ended = run_in(folder, arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    ended.stdout
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nirantar.toml"), CONFIGURATION).unwrap();
    fs::write(folder.path().join(".env"), "ZERODHA_API_KEY=key\n").unwrap();
    let journal = folder.path().join("nirantar-main.journal.db");
    (folder, journal)
}

fn id(number: u64) -> ClientOrderId {
    ClientOrderId::numbered(7, number)
}

fn asked() -> What {
    let reliance: InstrumentKey = "NSE:RELIANCE".parse().unwrap();
    What::Intent(OrderRequest::new(reliance, Side::Buy, 10, OrderType::Limit(Price::from_paise(195_005))))
}

fn sent() -> What {
    What::Sending { generation: Generation(3), command: CommandKind::Place }
}

fn state(status: OrderStatus, filled: u64, message: Option<&str>) -> What {
    What::State {
        status,
        quantity: None,
        broker_id: (status == OrderStatus::Filled).then(|| BrokerOrderId::new("25112000001")),
        filled: Quantity::new(filled),
        average_price: if filled == 0 { Price::ZERO } else { Price::from_paise(195_000) },
        message: message.map(str::to_owned),
    }
}

/// Writes a live order's records, all of `at`.
fn write(journal: &Path, number: u64, at: Timestamp, book: Book, whats: &[What]) {
    let mut journal = SqliteJournal::open(journal).unwrap();
    for what in whats {
        journal.append(&Record { at, id: Some(id(number)), book, what: what.clone() }).unwrap();
    }
    journal.sync().unwrap();
}

/// A filled order, an unresolved one and a paper one of a day long gone.
fn furnished() -> (tempfile::TempDir, PathBuf) {
    let (folder, journal) = folder();
    let at = Timestamp::parse_ist("2025-11-20 10:00:00").unwrap();
    write(&journal, 1, at, Book::Live, &[asked(), sent(), state(OrderStatus::Filled, 10, None)]);
    let unknown = state(OrderStatus::Unknown, 0, Some("the reply, \"lost\""));
    write(&journal, 2, at, Book::Live, &[asked(), sent(), unknown, state(OrderStatus::Unresolved, 0, None)]);
    write(&journal, 3, at, Book::Paper, &[asked(), sent(), state(OrderStatus::Cancelled, 0, None)]);
    (folder, journal)
}

#[test]
fn without_an_order_it_says_so_and_makes_nothing() {
    let _alone = ALONE.blocking_lock();
    let (folder, journal) = folder();
    let said = good(folder.path(), &["orders"]);
    assert!(said.starts_with("main: no orders yet: ") && said.contains("nirantar run"), "{said}");
    assert!(!journal.exists());
    let object: Value = serde_json::from_str(&good(folder.path(), &["orders", "--json"])).unwrap();
    assert_eq!((&object["accounts"][0]["exists"], &object["accounts"][0]["orders"]), (&json!(false), &json!([])));
    write(&journal, 1, Timestamp::parse_ist("2025-11-20 10:00:00").unwrap(), Book::Live, &[]);
    assert!(good(folder.path(), &["orders"]).starts_with("main: no orders today in "), "an empty journal");
    // Its credentials are not asked for: whoever wants to see orders may have come because they are wrong.
    fs::remove_file(folder.path().join(".env")).unwrap();
    good(folder.path(), &["orders"]);
}

#[test]
fn orders_are_shown_by_venue_with_their_whole_history_and_what_to_do() {
    let _alone = ALONE.blocking_lock();
    let (folder, _) = furnished();
    let said = good(folder.path(), &["orders", "--all"]);
    for words in [
        "main, live: 2 orders of any day",
        "main, paper: 1 order of any day",
        "  2025-11-20 (IST)\n",
        "filled: buy 10 NSE:RELIANCE MIS, limit 1950.05, day; 10 filled at 1950.00",
        "10:00:00.000  asked for, as a new position\n",
        "the order leaves, under token 3",
        "the broker's number 25112000001",
        "3 orders, 0 open, 0 unknown, 1 unresolved",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    // Of another day only what somebody has to look at is shown.
    let today = good(folder.path(), &["orders"]);
    assert!(today.contains("main, live: 1 order today") && today.contains(id(2).as_str()), "{today}");
    assert!(!today.contains(id(1).as_str()) && today.contains("main, paper: no orders today"), "{today}");

    let object: Value = serde_json::from_str(&good(folder.path(), &["orders", "--json", "--all"])).unwrap();
    let account = &object["accounts"][0];
    assert_eq!((&account["account"], &account["unresolved"]), (&json!("main"), &json!(1)));
    let orders = account["orders"].as_array().unwrap();
    let venues: Vec<&str> = orders.iter().map(|order| order["venue"].as_str().unwrap()).collect();
    assert_eq!(venues, ["live", "live", "paper"]);
    assert_eq!((&orders[0]["limit"], &orders[0]["history"][2]["what"]), (&json!("1950.05"), &json!("state")));
    assert_eq!(orders[1]["history"].as_array().unwrap().len(), 4);
    refused(folder.path(), &["orders", "--account", "mian"], &["`mian`", "main"]);
}

#[test]
fn an_export_has_a_row_for_each_and_never_replaces_a_file() {
    let _alone = ALONE.blocking_lock();
    let (folder, journal) = furnished();
    let csv = good(folder.path(), &["orders", "export"]);
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 4);
    assert!(rows[0].starts_with("account,venue,id,broker_id,placed_at,"), "{csv}");
    assert!(rows[1].contains(",2025-11-20T10:00:00.000+05:30,NSE:RELIANCE,buy,10,limit,1950.05,,day,MIS,"), "{csv}");
    assert!(rows[2].ends_with("\"the reply, \"\"lost\"\"\""), "{csv}");
    let said = good(folder.path(), &["orders", "export", "--history", "--output", "all.csv"]);
    assert_eq!(said, "wrote 10 rows to all.csv\n");
    assert_eq!(fs::read_to_string(folder.path().join("all.csv")).unwrap().lines().count(), 11);
    let before = fs::read(&journal).unwrap();
    for there in ["all.csv", "nirantar-main.journal.db"] {
        refused(folder.path(), &["orders", "export", "--output", there], &[there, "cannot be written"]);
    }
    assert_eq!(fs::read(&journal).unwrap(), before);
}

#[test]
fn a_day_on_paper_is_reported_with_its_charges_and_bad_input_is_refused() {
    let _alone = ALONE.blocking_lock();
    let (folder, journal) = furnished();
    let at = Timestamp::parse_ist("2025-11-20 11:00:00").unwrap();
    write(&journal, 4, at, Book::Paper, &[asked(), sent(), state(OrderStatus::Filled, 10, None)]);
    let report = |more: &[&str]| good(folder.path(), &[&["paper", "report"], more].concat());
    // Bought 10 x 1,950.00 = 19,500.00 within the day, November 2025: brokerage 5.85, exchange 0.60, SEBI 0.02, stamp
    // 0.59, GST 18% of 6.47 = 1.16. The live order of that day is none of it.
    let said = report(&["--date", "2025-11-20"]);
    for words in [
        "main, paper, 2025-11-20 (IST)",
        "orders: 2\n",
        "cancelled: buy 10 NSE:RELIANCE MIS, limit 1950.05, day",
        "trades: 1\n",
        "charges: 8.22 (zerodha)",
        "profit: -8.22\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let csv = report(&["--date", "2025-11-20", "--csv"]);
    assert!(csv.starts_with("account,date,section,") && csv.contains(",brokerage,5.85,"), "{csv}");
    let object: Value = serde_json::from_str(&report(&["--date", "2025-11-20", "--json"])).unwrap();
    let account = &object["accounts"][0];
    assert_eq!((&account["charges"]["total"]["total"], &account["profit"]["net"]), (&json!("8.22"), &json!("-8.22")));
    assert_eq!(report(&["--date", "2025-11-20"]), said, "nothing was changed");

    let before = report(&["--date", "2025-11-19"]);
    assert!(before.starts_with("main: nothing on paper on 2025-11-19 in "), "{before}");
    for (arguments, words) in [
        (&["--date", "20-11-2025"][..], &["20-11-2025", "expected a date like 2026-11-20"][..]),
        (&["--date", "2025-02-30"], &["2025-02-30"]),
        (&["--date", "9999-01-01"], &["--date", "has not begun"]),
        (&["--account", "mian"], &["`mian`", "main"]),
        (&["--json", "--csv"], &["--csv"]),
    ] {
        refused(folder.path(), &[&["paper", "report"], arguments].concat(), words);
    }
    let (empty, _) = self::folder();
    let said = good(empty.path(), &["paper", "report"]);
    assert!(said.starts_with("main: no paper orders yet: ") && said.contains("nirantar run"), "{said}");
}

#[test]
fn only_an_unresolved_order_is_acknowledged_and_only_once() {
    let _alone = ALONE.blocking_lock();
    let (folder, journal) = furnished();
    let acknowledge = |number: u64, words: &[&str]| {
        refused(folder.path(), &["orders", "acknowledge", id(number).as_str()], words);
    };
    let before = read_records(&journal).unwrap();
    acknowledge(1, &["is filled", "nothing to do about it"]);
    acknowledge(9, &["no order", "main", "--all"]);
    refused(folder.path(), &["orders", "acknowledge", "no-number"], &["client order id"]);
    assert_eq!(read_records(&journal).unwrap(), before);
    let said = good(folder.path(), &["orders", "acknowledge", id(2).as_str()]);
    assert!(said.contains("is acknowledged"), "{said}");
    let records = read_records(&journal).unwrap();
    assert_eq!((records.len(), &records.last().unwrap().what), (before.len() + 1, &What::Acknowledged));
    acknowledge(2, &["already"]);
    assert!(!good(folder.path(), &["orders"]).contains(id(2).as_str()), "nobody has to look at it any more");

    let today = SystemClock::start().now().wall;
    write(&journal, 4, today, Book::Live, &[asked(), sent(), state(OrderStatus::Unknown, 0, None)]);
    acknowledge(4, &["is unknown", "nirantar run"]);
}

/// `nirantar run` in that folder, with what it has said up to the line of its journal.
fn running(folder: &Path) -> (Child, String) {
    let mut child = nirantar()
        .arg("run")
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.join("run.log")).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

#[test]
fn run_says_what_its_journal_holds_and_keeps_others_from_writing_it() {
    let _alone = ALONE.blocking_lock();
    let (folder, journal) = furnished();
    let (mut child, line) = running(folder.path());
    let server = format!("{CONFIGURATION}[server]\nlisten = \"127.0.0.1:5999\"\n");
    let outcome = std::panic::catch_unwind(|| {
        assert!(
            line.starts_with("main: journal ") && line.contains("3 orders, 0 open, 0 unknown, 1 unresolved"),
            "{line}"
        );
        assert!(line.contains("nirantar orders acknowledge ID"), "{line}");
        assert!(good(folder.path(), &["orders"]).contains(id(2).as_str()), "it can be read all the while");
        let acknowledge = ["orders", "acknowledge", id(2).as_str()].map(str::to_owned);
        let acknowledge: Vec<&str> = acknowledge.iter().map(String::as_str).collect();
        let path = format!("/api/operator/main/acknowledge/{}", id(2));
        refused(folder.path(), &acknowledge, &["nirantar is running", "POST", &path]);
        fs::write(folder.path().join("nirantar.toml"), server).unwrap();
        let curl = format!("curl -X POST -H \"X-Nirantar: 1\" http://127.0.0.1:5999{path}");
        refused(folder.path(), &acknowledge, &[&curl]);
        fs::write(folder.path().join("nirantar.toml"), CONFIGURATION).unwrap();
        refused(folder.path(), &["run"], &["in use by another engine", "nirantar-main.journal.db"]);
        let last = read_records(&journal).unwrap().pop().unwrap();
        assert_ne!(last.what, What::Acknowledged);
    });
    child.kill().unwrap();
    child.wait().unwrap();
    outcome.unwrap();
}

#[test]
fn a_damaged_journal_stops_every_command_and_stays_as_it_is() {
    let _alone = ALONE.blocking_lock();
    let (folder, journal) = folder();
    for bytes in [&b"not a journal at all, but somebody's notes\n"[..], &[0xff; 5_000]] {
        fs::write(&journal, bytes).unwrap();
        let acknowledge = ["orders", "acknowledge", "N1"];
        for arguments in [&["run"][..], &["orders"], &["orders", "export"], &acknowledge] {
            refused(folder.path(), arguments, &["account main", "nirantar-main.journal.db", "was not changed"]);
            assert_eq!(fs::read(&journal).unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn an_engines_own_journal_tells_the_story_of_its_order() {
    let _alone = ALONE.lock().await;
    let (folder, journal) = folder();
    let own = SqliteJournal::open(&journal).unwrap();
    let plan = Plan { journal: Some(Box::new(own)), ..Plan::new(Settings::default()) };
    let mut world = World::stepped(plan).await;
    let order = world.engine.submit(market_order()).await.unwrap();
    world.wait_for_order(&order, OrderStatus::Filled).await;
    // Another process, while the engine holds the lock.
    let shown = tokio::task::spawn_blocking(move || {
        let object: Value = serde_json::from_str(&good(folder.path(), &["orders", "--json", "--all"])).unwrap();
        object["accounts"][0]["orders"][0].clone()
    });
    let shown = shown.await.unwrap();
    assert_eq!((&shown["id"], &shown["venue"]), (&json!(order.as_str()), &json!("live")));
    let history = shown["history"].as_array().unwrap();
    let whats: Vec<&str> = history.iter().map(|record| record["what"].as_str().unwrap()).collect();
    assert_eq!(whats[..2], ["intent", "sending"]);
    assert!(history[0]["at"].as_str().unwrap().starts_with("2026-11-20T10:"), "{shown}");
}
