//! Issue 3, "Must show" 2, across processes: two `nirantar run` on the same stores and a script that knows nothing of any
//! lock, over a hundred renewals in real time.
//!
//! The broker's refresh tokens work once, and a renewal kills the token before it. So whatever goes wrong (two renewals
//! for one refresh token, an old token that comes back, a spent refresh token left in a store) is a refusal at the server,
//! or a broken sequence in what a process says it uses. A process asks the broker about a new token at most once a second,
//! so several accounts, each with a store of its own, share the hundred.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "processes are started and ended, in real time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;
mod fyers_world;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nirantar_brokers::Fingerprint;
use nirantar_brokers::time::{Clock, SystemClock, Timestamp};
use nirantar_exchange_mock::fyers::{Control, Done, FyersServer, How, Route, Settings, TokenEnd};

const ACCOUNTS: usize = 6;
const RENEWALS: usize = 100;
/// A token says its issue in whole seconds: it is renewed two seconds after it.
const TTL: &str = "3s";
const MARGIN: &str = "1s";
/// Far beyond what it takes, for a machine under load.
const DEADLINE: Duration = Duration::from_secs(85);
/// The script: how long it holds what it has read, and how long it rests.
const HOLDS: Duration = Duration::from_millis(250);
const RESTS: Duration = Duration::from_millis(350);

/// One account with its broker.
struct Account {
    name: String,
    store: PathBuf,
    control: Control,
    _server: FyersServer,
}

/// One `nirantar run`, and the tokens it said it uses, by account.
struct Running {
    child: Child,
    said: JoinHandle<BTreeMap<String, Vec<String>>>,
    log: PathBuf,
}

impl Running {
    fn start(folder: &Path, number: usize) -> Self {
        let log = folder.join(format!("run{number}.log"));
        let mut child = child::nirantar()
            .arg("run")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let said = std::thread::spawn(move || {
            let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for line in stdout.lines().map_while(Result::ok) {
                // `10:00:00 main: Valid, orders live, token #1234abcd`
                let account = line.split(' ').nth(1).and_then(|word| word.strip_suffix(':'));
                let token = line.split_once(", token ").map(|(_, token)| token.to_owned());
                if let (Some(account), Some(token)) = (account, token) {
                    said.entry(account.to_owned()).or_default().push(token);
                }
            }
            said
        });
        Self { child, said, log }
    }

    fn terminate(mut self) -> (BTreeMap<String, Vec<String>>, String) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let status = self.child.wait().unwrap();
        let log = fs::read_to_string(&self.log).unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        (self.said.join().unwrap(), log)
    }
}

/// What the script has done.
struct Scripted {
    keys: Vec<String>,
    /// How often it wrote a copy whose token was no longer the last.
    stale: usize,
}

/// Reads a whole store, thinks, and writes it back with a key of its own, as if it were alone.
fn script(store: &Path, control: &Control, stop: &AtomicBool) -> Scripted {
    let mut scripted = Scripted { keys: Vec::new(), stale: 0 };
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = fs::read_to_string(store).unwrap();
        std::thread::sleep(HOLDS);
        let held = text.lines().find_map(|line| line.strip_prefix("FYERS_ACCESS_TOKEN=")).unwrap();
        let last = control.with_log(|log| log.sessions().last().unwrap().token);
        scripted.stale += usize::from(Fingerprint::of(held.trim_matches('"')) != last);
        let key = format!("SCRIPT_{number}={number}");
        fs::write(store, format!("{text}{key}\n")).unwrap();
        scripted.keys.push(key);
        number += 1;
        std::thread::sleep(RESTS);
    }
    scripted
}

async fn account(folder: &Path, number: usize) -> Account {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    // Each broker has tokens of its own.
    let settings = Settings {
        switches: fyers_world::rotating(TokenEnd::After(Duration::from_secs(43_200))),
        seed: u64::try_from(number).unwrap() + 1,
        ..Settings::default()
    };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = FyersServer::start(anywhere, settings.clone(), clock).await.unwrap();
    let control = server.control();
    let name = format!("a{number}");
    let store = folder.join(format!("{name}.env"));
    fs::write(&store, fyers_world::env(&settings, &control.login())).unwrap();
    Account { name, store, control, _server: server }
}

fn configuration(accounts: &[Account]) -> String {
    let one = |account: &Account| {
        let (name, address) = (&account.name, account._server.addr());
        format!(
            "[[account]]\nname = \"{name}\"\nbroker = \"fyers\"\nstore = \"{name}.env\"\nrefresh = \"works\"\n\
             rest_url = \"http://{address}\"\nfeed_url = \"ws://{address}\"\n\
             token_ttl = \"{TTL}\"\nrenew_margin = \"{MARGIN}\"\n"
        )
    };
    accounts.iter().map(one).collect()
}

fn renewals(account: &Account) -> Vec<(Timestamp, Fingerprint)> {
    account.control.with_log(|log| {
        let renewed = log.sessions().iter().filter(|session| session.how == How::Renewal);
        renewed.map(|session| (session.at, session.token)).collect()
    })
}

/// Waits until each account was renewed `more` times from `before` on.
async fn until_renewed(accounts: &[Account], before: &[usize], more: usize, deadline: Instant) {
    while accounts.iter().zip(before).any(|(account, before)| renewals(account).len() < before + more) {
        let counts: Vec<usize> = accounts.iter().map(|account| renewals(account).len()).collect();
        assert!(Instant::now() < deadline, "{counts:?} renewals only");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_and_a_script_without_locks_renew_once_each_time_and_lose_nothing() {
    let deadline = Instant::now() + DEADLINE;
    let folder = tempfile::tempdir().unwrap();
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        accounts.push(account(folder.path(), number).await);
    }
    fs::write(folder.path().join("nirantar.toml"), configuration(&accounts)).unwrap();
    let processes = [1, 2].map(|number| Running::start(folder.path(), number));
    let stop = Arc::new(AtomicBool::new(false));
    let scripts: Vec<JoinHandle<Scripted>> = accounts
        .iter()
        .map(|account| {
            let (store, control, stop) = (account.store.clone(), account.control.clone(), Arc::clone(&stop));
            std::thread::spawn(move || script(&store, &control, &stop))
        })
        .collect();

    until_renewed(&accounts, &[0; ACCOUNTS], RENEWALS.div_ceil(ACCOUNTS), deadline).await;
    stop.store(true, Ordering::Relaxed);
    let scripted: Vec<Scripted> = scripts.into_iter().map(|script| script.join().unwrap()).collect();
    // One more without the script, so that nothing of it is under way.
    let so_far: Vec<usize> = accounts.iter().map(|account| renewals(account).len()).collect();
    until_renewed(&accounts, &so_far, 1, deadline).await;
    let ended = processes.map(Running::terminate);

    let stale: usize = scripted.iter().map(|scripted| scripted.stale).sum();
    assert!(stale >= ACCOUNTS, "the script wrote an old token back {stale} times only: it would prove nothing");
    for (account, scripted) in accounts.iter().zip(&scripted) {
        let name = &account.name;
        let logs = || ended.iter().map(|(_, log)| only(log, name)).collect::<Vec<_>>().join("\n---\n");
        let renewed = renewals(account);
        account.control.with_log(|log| {
            let counts = [Done::Accepted, Done::Refused, Done::AnswerLost, Done::Faulted];
            let counts = counts.map(|done| log.count(Route::Renew, done));
            assert_eq!(counts, [renewed.len() as u64, 0, 0, 0], "one renewal for each refresh token: {}", logs());
            assert_eq!(log.sessions().len(), renewed.len() + 1, "nobody logged in");
        });
        for pair in renewed.windows(2) {
            let gap = pair[1].0.since(pair[0].0);
            assert!(gap > Duration::from_secs(1), "{gap:?} between two renewals of {name}: {}", logs());
        }
        let generations: Vec<String> =
            account.control.with_log(|log| log.sessions().iter().map(|session| session.token.to_string()).collect());
        for (said, log) in &ended {
            let used: Vec<usize> = said[name]
                .iter()
                .map(|token| generations.iter().position(|known| known == token).expect("a token of this broker"))
                .collect();
            assert!(used.is_sorted(), "an older token came back in {name}: {used:?} {}", only(log, name));
            assert!(used.len() > renewed.len() / 2, "{name} lived on: {used:?} {}", only(log, name));
        }
        let (token, _) = fyers_world::held(&account.store);
        assert_eq!(Some(&token.fingerprint().to_string()), generations.last(), "the last token is stored: {}", logs());
        let text = fs::read_to_string(&account.store).unwrap();
        let lost: Vec<&String> = scripted.keys.iter().filter(|key| !text.lines().any(|line| line == *key)).collect();
        assert!(lost.is_empty() && !scripted.keys.is_empty(), "{name} lost {lost:?} of {}", scripted.keys.len());
    }
    println!(
        "{} renewals, {stale} old tokens written back, {:?} left",
        accounts.iter().map(|account| renewals(account).len()).sum::<usize>(),
        deadline.saturating_duration_since(Instant::now())
    );

    // And the refresh token that is stored is the one that works.
    let output = child::nirantar().args(["token", "refresh"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The lines of a log that tell of an account.
fn only(log: &str, account: &str) -> String {
    let of_it = format!("name={account}");
    log.lines().filter(|line| line.contains(&of_it)).collect::<Vec<_>>().join("\n")
}
