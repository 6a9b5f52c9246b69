//! `nirantar token status` and `nirantar run` in processes of their own, against `nirantar exchange` in another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use child::{Exchange, nirantar};
use nirantar_tests::ReservedPort;
use serde_json::Value;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "nirantar-secret";

/// Does something at the exchange and returns what it says of it.
async fn control(exchange: &Exchange, form: &'static str) -> Value {
    let request = reqwest::Client::new()
        .post(format!("{}/nirantar/control", exchange.root()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let answer = request.send().await.unwrap().bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"].clone()
}

/// A new token, as if a human had logged in.
async fn log_in(exchange: &Exchange) -> String {
    control(exchange, "login=1").await["session"]["access_token"].as_str().unwrap().to_owned()
}

/// One account at the exchange.
fn account(name: &str, user_id: &str, address: &str) -> String {
    format!(
        "[[account]]\nname = \"{name}\"\nbroker = \"kite\"\nstore = \"{name}.env\"\nuser_id = \"{user_id}\"\n\
         rest_url = \"http://{address}\"\nfeed_url = \"ws://{address}\"\nlogin_url = \"http://{address}\"\n\
         instruments = [\"NSE:RELIANCE\"]\n"
    )
}

/// Writes an account's store, with that token if there is one.
fn store(folder: &Path, name: &str, token: Option<&str>) {
    let token = token.map(|token| format!("ZERODHA_ACCESS_TOKEN={token}\n")).unwrap_or_default();
    let text = format!("ZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET={SECRET}\n{token}");
    fs::write(folder.join(format!("{name}.env")), text).unwrap();
}

fn token_status(folder: &Path, more: &[&str]) -> Output {
    nirantar().args(["token", "status"]).args(more).current_dir(folder).output().unwrap()
}

/// Expects that nothing that was written shows one of `secrets`.
fn assert_shows_none(shown: &[u8], secrets: &[&str]) {
    let shown = String::from_utf8_lossy(shown);
    for secret in secrets {
        assert!(!shown.contains(secret), "a secret is shown in: {shown}");
    }
}

#[tokio::test]
async fn token_status_tells_a_living_token_from_a_dead_a_missing_a_strange_and_an_unreachable_one() {
    let exchange = Exchange::start(&[]);
    let token = log_in(&exchange).await;
    let here = exchange.address.to_string();
    let nobody = ReservedPort::new().unwrap();
    let nowhere = nobody.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let accounts = [
        ("good", "NR0001", &here, Some(token.as_str()), "live"),
        ("old", "NR0001", &here, Some("yesterdays-token"), "dead"),
        ("fresh", "NR0001", &here, None, "missing"),
        ("other", "ZZ9999", &here, Some(token.as_str()), "stranger"),
        ("away", "NR0001", &nowhere, Some(token.as_str()), "unreachable"),
    ];
    let text: String = accounts.iter().map(|(name, user, address, ..)| account(name, user, address)).collect();
    fs::write(folder.path().join("nirantar.toml"), text).unwrap();
    for (name, _, _, token, _) in accounts {
        store(folder.path(), name, token);
    }

    let json = token_status(folder.path(), &["--json"]);
    assert_eq!(json.status.code(), Some(1), "{}", String::from_utf8_lossy(&json.stderr));
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&report["ok"], &report["error"]), (&Value::Bool(false), &Value::Null));
    for (index, (name, user, _, token, state)) in accounts.into_iter().enumerate() {
        let row = &report["accounts"][index];
        assert_eq!(
            (&row["name"], &row["state"], &row["user_id"]),
            (&name.into(), &state.into(), &user.into()),
            "{row}"
        );
        assert_eq!(row["token"].as_str().map(|shown| shown.starts_with('#')), token.map(|_| true), "{row}");
        let asks_for_login = ["dead", "missing", "stranger"].contains(&state);
        assert_eq!(row["login_url"].is_string(), asks_for_login, "{row}");
        assert_eq!(row["next"] == "nothing", state == "live", "{row}");
    }
    assert!(report["accounts"][0]["expires_at"].as_str().unwrap().ends_with("T07:30:00+05:30"));
    assert!(report["accounts"][2]["missing"][0].as_str().unwrap().contains("ZERODHA_ACCESS_TOKEN"));
    assert!(report["accounts"][3]["why"].as_str().unwrap().contains("NR0001"));

    let table = token_status(folder.path(), &[]);
    assert_eq!(table.status.code(), Some(1));
    let shown = String::from_utf8(table.stdout.clone()).unwrap();
    for words in ["fresh is missing", "other is stranger: the token belongs to NR0001", "log in as ZZ9999 at http://"] {
        assert!(shown.contains(words), "`{words}` is not in: {shown}");
    }
    for output in [&json.stdout, &json.stderr, &table.stdout, &table.stderr] {
        assert_shows_none(output, &[token.as_str(), "yesterdays-token", SECRET]);
    }

    fs::write(folder.path().join("nirantar.toml"), account("good", "NR0001", &here)).unwrap();
    assert_eq!(token_status(folder.path(), &[]).status.code(), Some(0));
}

/// `nirantar run` with what it says, line by line.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: std::path::PathBuf,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let log = folder.join("run.log");
        let mut child = nirantar()
            .arg("run")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, log }
    }

    /// Reads on until a line that holds all of `words`.
    fn until(&self, words: &[&str]) {
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if words.iter().all(|word| line.contains(word)) {
                return;
            }
            said.push(line);
        }
        panic!("{words:?} never came after {said:?}; log: {}", fs::read_to_string(&self.log).unwrap_or_default());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn run_goes_to_paper_when_the_token_dies_and_comes_back_with_the_one_written_into_the_store() {
    let exchange = Exchange::start(&[]);
    let first = log_in(&exchange).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nirantar.toml"), account("main", "NR0001", &exchange.address.to_string())).unwrap();
    store(folder.path(), "main", Some(&first));

    let mut running = Running::start(folder.path());
    running.until(&["main: Valid", "orders live"]);
    assert_eq!(control(&exchange, "kill-token=1").await["killed"], 1);
    running.until(&["main: Fallback", "orders paper", "no token"]);
    let second = log_in(&exchange).await;
    store(folder.path(), "main", Some(&second));
    running.until(&["main: Valid", "orders live"]);

    let asked = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
    let log = fs::read(&running.log).unwrap();
    assert!(String::from_utf8_lossy(&log).contains("Valid -> Expired"), "{}", String::from_utf8_lossy(&log));
    assert_shows_none(&log, &[&first, &second, SECRET]);
    assert!(exchange.terminate().success());
}
