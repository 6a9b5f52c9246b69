//! `nirantar token login` in a process of its own, against `nirantar exchange` in another: a login whose redirect reached
//! no server, pasted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use child::{Exchange, nirantar};

const SECRET: &str = "nirantar-secret";

fn account(user_id: &str, address: &str) -> String {
    format!(
        "[[account]]\nname = \"main\"\nbroker = \"kite\"\nstore = \"main.env\"\nuser_id = \"{user_id}\"\n\
         rest_url = \"http://{address}\"\nfeed_url = \"ws://{address}\"\nlogin_url = \"http://{address}\"\n"
    )
}

/// A folder with one account of that user, which has no token yet.
fn furnished(user_id: &str, exchange: &Exchange) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nirantar.toml"), account(user_id, &exchange.address.to_string())).unwrap();
    let store = format!("# mine\nZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET={SECRET}\n");
    fs::write(folder.path().join("main.env"), store).unwrap();
    folder
}

/// `nirantar token …`, with that on its standard input.
fn token(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = nirantar();
    command.arg("token").args(arguments).current_dir(folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Where the broker sends the browser after a login at the link that the command prints, and the code in it.
async fn log_in(folder: &Path, exchange: &Exchange) -> (String, String) {
    let shown = token(folder, &["login"], "");
    assert!(shown.status.success(), "{}", said(&shown));
    let shown = said(&shown);
    let link = shown.split_whitespace().find(|word| word.starts_with(&exchange.root())).expect(&shown);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let answer = client.get(link).send().await.unwrap();
    let back = answer.headers()["location"].to_str().unwrap().to_owned();
    let code = back.split(['?', '&']).find_map(|field| field.strip_prefix("request_token=")).unwrap().to_owned();
    (back, code)
}

fn store(folder: &Path) -> String {
    fs::read_to_string(folder.join("main.env")).unwrap()
}

#[tokio::test]
async fn a_pasted_login_is_finished_once_and_its_token_is_good() {
    let exchange = Exchange::start(&[]);
    let folder = furnished("NR0001", &exchange);
    let (back, code) = log_in(folder.path(), &exchange).await;

    let pasted = token(folder.path(), &["login", "--paste", "-"], &format!("{back}\n"));
    assert!(pasted.status.success(), "{}", said(&pasted));
    assert!(said(&pasted).contains("of NR0001 written to"), "{}", said(&pasted));
    assert!(!said(&pasted).contains(&code) && !said(&pasted).contains(SECRET), "{}", said(&pasted));
    let stored = store(folder.path());
    assert!(stored.starts_with("# mine\n") && stored.contains("ZERODHA_ACCESS_TOKEN="), "the rest of the file stays");
    assert!(token(folder.path(), &["status"], "").status.success(), "the broker accepts the token");

    let again = token(folder.path(), &["login", "--paste", "-"], &back);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).contains("log in again") && !said(&again).contains(&code), "{}", said(&again));
    assert_eq!(store(folder.path()), stored);
}

#[tokio::test]
async fn where_the_token_could_not_be_kept_the_code_is_not_spent() {
    let exchange = Exchange::start(&[]);
    let folder = furnished("NR0001", &exchange);
    let (back, code) = log_in(folder.path(), &exchange).await;
    let good = store(folder.path());
    let config = fs::read_to_string(folder.path().join("nirantar.toml")).unwrap();
    let elsewhere = config.replace("store = \"main.env\"", "store = \"/proc/nirantar.env\"");
    fs::write(folder.path().join("nirantar.toml"), elsewhere).unwrap();
    let variables = [("ZERODHA_API_KEY", "nirantar"), ("ZERODHA_API_SECRET", SECRET)];
    let mut child = nirantar();
    child.args(["token", "login", "--paste", &back]).envs(variables).current_dir(folder.path());
    let pasted = child.output().unwrap();
    assert_eq!(pasted.status.code(), Some(2));
    for words in ["could not be kept", "/proc", "is not spent", "paste the same address again"] {
        assert!(said(&pasted).contains(words), "`{words}` is not in {}", said(&pasted));
    }
    assert!(!said(&pasted).contains(&code), "{}", said(&pasted));

    fs::write(folder.path().join("nirantar.toml"), config).unwrap();
    assert_eq!(store(folder.path()), good);
    let again = token(folder.path(), &["login", "--paste", "-"], &back);
    assert!(again.status.success(), "the code still works: {}", said(&again));
}

#[tokio::test]
async fn an_address_given_as_an_argument_works_and_is_warned_about() {
    let exchange = Exchange::start(&[]);
    let folder = furnished("NR0001", &exchange);
    let (back, code) = log_in(folder.path(), &exchange).await;
    let pasted = token(folder.path(), &["login", "--account", "main", "--paste", &back], "");
    assert!(pasted.status.success(), "{}", said(&pasted));
    assert!(said(&pasted).contains("process list") && !said(&pasted).contains(&code), "{}", said(&pasted));
}

#[tokio::test]
async fn a_pasted_login_of_somebody_else_is_not_stored() {
    let exchange = Exchange::start(&[]);
    let folder = furnished("ZZ9999", &exchange);
    let before = store(folder.path());
    let (back, _) = log_in(folder.path(), &exchange).await;
    let pasted = token(folder.path(), &["login", "--paste", "-"], &back);
    assert_eq!(pasted.status.code(), Some(2));
    assert!(said(&pasted).contains("log in as ZZ9999"), "{}", said(&pasted));
    assert_eq!(store(folder.path()), before);
    let unknown = token(folder.path(), &["login", "--account", "nobody"], "");
    assert!(said(&unknown).contains("expected one of main"), "{}", said(&unknown));
}
