//! Bad input: one clear error on stderr that names file, line and key, exit code 2, no panic. And the help texts, the
//! end by signal and the closed pipe: what a shell sees of the command.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use child::{Exchange, nirantar};

const GOOD: &str = "[[account]]\nname = \"main\"\nbroker = \"kite\"\n";
const CREDENTIALS: &str = "ZERODHA_API_KEY=key\nZERODHA_USER_ID=AB1234\n";

/// How a child ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run_in(folder: &Path, arguments: &[&str]) -> Ended {
    let output = nirantar().args(arguments).current_dir(folder).env("RUST_BACKTRACE", "1").output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Expects exit code 2 and one line of error that holds each of `words`.
fn assert_refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "not one line: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` is not in: {}", ended.stderr);
    }
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace", "Error {"] {
        assert!(!ended.stderr.contains(word), "{}", ended.stderr);
    }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Expects `run` and `token status` to refuse that configuration alike.
fn assert_config_refused(files: &[(&str, &str)], words: &[&str]) {
    let folder = folder(files);
    for command in [&["run"][..], &["token", "status"]] {
        let ended = run_in(folder.path(), command);
        assert_refused(&ended, words);
        assert_eq!(ended.stdout, "");
    }
}

fn refused_exchange(options: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["exchange", "--broker", "kite", "--listen", "127.0.0.1:0"];
    assert_refused(&run_in(folder.path(), &[&arguments[..], options].concat()), words);
}

#[test]
fn a_malformed_configuration_is_refused_with_file_and_line() {
    let text = format!("{GOOD}hold = \n");
    assert_config_refused(&[("nirantar.toml", &text), (".env", CREDENTIALS)], &["nirantar.toml:4:"]);
    let text = format!("{GOOD}hold = \"soon\"\n");
    assert_config_refused(&[("nirantar.toml", &text), (".env", CREDENTIALS)], &["nirantar.toml:4: hold: expected"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let text = format!("{GOOD}instrumnts = []\n");
    let words = ["nirantar.toml:4: instrumnts:", "`instruments`"];
    assert_config_refused(&[("nirantar.toml", &text), (".env", CREDENTIALS)], &words);
}

#[test]
fn a_malformed_env_is_refused_with_its_own_file_line_and_key() {
    let env = "# keys\nZERODHA_API_KEY=\"open\nZERODHA_USER_ID=AB1234\n";
    let words = ["nirantar.toml:1:", ".env:2: ZERODHA_API_KEY: expected"];
    assert_config_refused(&[("nirantar.toml", GOOD), (".env", env)], &words);
}

#[test]
fn a_missing_credential_is_refused_with_its_name_and_where_it_may_stand() {
    let words = ["nirantar.toml:1: ZERODHA_API_KEY:", "main", ".env", "environment"];
    assert_config_refused(&[("nirantar.toml", GOOD), (".env", "ZERODHA_USER_ID=AB1234\n")], &words);
    assert_config_refused(&[("nirantar.toml", GOOD)], &words);
}

#[test]
fn two_accounts_on_one_key_of_one_store_are_refused() {
    let text = format!("{GOOD}{}", GOOD.replace("main", "other"));
    let words = ["nirantar.toml:4: store:", "main", "key_prefix"];
    assert_config_refused(&[("nirantar.toml", &text), (".env", CREDENTIALS)], &words);
}

#[test]
fn what_an_account_says_of_its_orders_is_refused_with_line_and_key() {
    for (lines, words) in [
        ("journal = \"\"", &["nirantar.toml:4: journal: expected the path of a file"][..]),
        ("halt_file = 7", &["nirantar.toml:4: halt_file:", "found a value of type integer"]),
        ("settle_paper = \"sell\"", &["nirantar.toml:4: settle_paper:", "\"flatten\", \"keep\""]),
        ("risk = 5", &["nirantar.toml:4: risk:", "[account.risk] table"]),
        ("[account.risk]\norder_value = -5", &["nirantar.toml:5: order_value:", "above zero", "`-5`"]),
        ("[account.risk]\nprice_band = \"wide\"", &["nirantar.toml:5: price_band:", "\"5%\"", "`wide`"]),
        ("[account.risk]\nopen_orders = 2.5", &["nirantar.toml:5: open_orders:", "a whole number"]),
        ("[account.risk]\ndaily_los = 5", &["nirantar.toml:5: daily_los:", "`daily_loss`"]),
    ] {
        let text = format!("{GOOD}{lines}\n");
        assert_config_refused(&[("nirantar.toml", &text), (".env", CREDENTIALS)], words);
    }
    let other = GOOD.replace("main", "other");
    let text = format!("{GOOD}journal = \"j.db\"\n{other}key_prefix = \"OTHER\"\njournal = \"./j.db\"\n");
    let env = format!("{CREDENTIALS}OTHER_API_KEY=key\nOTHER_USER_ID=AB1235\n");
    let words = ["nirantar.toml:5: journal:", "the journal of the account main at line 1"];
    assert_config_refused(&[("nirantar.toml", &text), (".env", &env)], &words);
}

#[test]
fn a_halt_of_nobody_knows_whom_halts_nobody() {
    let other = GOOD.replace("main", "other");
    let text = format!("{GOOD}{other}key_prefix = \"OTHER\"\n");
    let folder = folder(&[("nirantar.toml", &text)]);
    assert_refused(&run_in(folder.path(), &["halt"]), &["main, other", "--all"]);
    assert_refused(&run_in(folder.path(), &["halt", "main", "othr"]), &["`othr`", "nothing was changed"]);
    assert_refused(&run_in(folder.path(), &["halt", "main", "--all"]), &["--all"]);
    assert_refused(&run_in(folder.path(), &["resume"]), &["main, other", "--all"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no halt file");
    let halted = run_in(folder.path(), &["halt", "--all", "--reason", "strategy runs away"]);
    assert_eq!((halted.code, halted.stderr.as_str()), (Some(0), ""));
    for words in ["main: halted", "other: halted", "until: nirantar resume main", "  safe: "] {
        assert!(halted.stdout.contains(words), "{words}: {}", halted.stdout);
    }
    let file = fs::read_to_string(folder.path().join("nirantar-main.halt")).unwrap();
    assert!(file.starts_with("halted") && file.contains("strategy runs away"), "{file}");
    let resumed = run_in(folder.path(), &["resume", "main"]);
    assert!(resumed.stdout.contains("strategy runs away"), "{}", resumed.stdout);
    assert!(!folder.path().join("nirantar-main.halt").exists() && folder.path().join("nirantar-other.halt").exists());
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    assert_config_refused(&[], &["nirantar.toml: cannot be read"]);
    let folder = tempfile::tempdir().unwrap();
    let ended = run_in(folder.path(), &["run", "--config", folder.path().to_str().unwrap()]);
    assert_refused(&ended, &["cannot be read", folder.path().to_str().unwrap()]);
}

#[test]
fn token_status_prints_its_object_even_without_a_configuration() {
    let text = format!("{GOOD}instrumnts = []\n");
    let folder = folder(&[("nirantar.toml", &text), (".env", CREDENTIALS)]);
    let ended = run_in(folder.path(), &["token", "status", "--json"]);
    assert_refused(&ended, &["nirantar.toml:4: instrumnts:"]);
    let object: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(object["ok"], false);
    assert_eq!(object["accounts"], serde_json::json!([]));
    assert_eq!((&object["error"]["line"], &object["error"]["key"]), (&4.into(), &"instrumnts".into()));
    assert_eq!(object["error"]["file"], "nirantar.toml");
    assert!(object["error"]["message"].as_str().unwrap().contains("unknown key"));
}

#[test]
fn a_replay_with_a_bad_row_is_refused_with_file_line_and_column() {
    let rows = "timestamp,ltp,volume\n2021-04-12 09:15:08,1950.00,10\n2021-04-12 09:15:09,1950.00,many\n";
    let folder = folder(&[("day.csv", rows)]);
    let file = folder.path().join("day.csv");
    let replay = format!("{}=RELIANCE", file.display());
    refused_exchange(&["--replay", &replay], &[file.to_str().unwrap(), "line 3", "column volume", "`many`"]);
    let unknown = format!("{}=ACME", file.display());
    refused_exchange(&["--replay", &unknown], &["`ACME` is not an instrument", "NSE:RELIANCE", "NSE:NIFTY 50"]);
}

#[test]
fn a_replay_that_cannot_be_read_is_refused_with_its_name() {
    refused_exchange(&["--replay", "no/such=file.csv=TCS"], &["--replay", "no/such=file.csv", "cannot be read"]);
    refused_exchange(&["--replay", "day.csv"], &["--replay", "FILE=SYMBOL"]);
}

#[test]
fn a_replay_of_another_day_does_not_run_on_todays_clock() {
    let folder = folder(&[("day.csv", "timestamp,ltp,volume\n2021-04-12 09:15:08,1950.00,10\n")]);
    let replay = format!("{}=RELIANCE", folder.path().join("day.csv").display());
    refused_exchange(&["--replay", &replay, "--wall-clock"], &["--wall-clock", "2021-04-12"]);
    refused_exchange(&["--replay", &replay, "--replay", &replay], &["NSE:RELIANCE is replayed twice"]);
}

#[test]
fn a_port_in_use_is_refused_with_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused_exchange_at(&address, &["--listen", &address, "in use"]);
    refused_exchange_at("nowhere", &["--listen", "HOST:PORT"]);
}

fn refused_exchange_at(address: &str, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(&run_in(folder.path(), &["exchange", "--broker", "kite", "--listen", address]), words);
}

#[test]
fn a_bad_option_of_the_exchange_is_refused_in_one_line() {
    refused_exchange(&["--fault", "fire"], &["--fault", "`fire` is not a fault", "no-reply"]);
    refused_exchange(&["--fault", "slow=2h"], &["--fault", "like 250ms"]);
    refused_exchange(&["--token-dies-at", "25:00:00"], &["--token-dies-at", "10:05:00"]);
    refused_exchange(&["--new-login", "kill"], &["--new-login", "kills or keeps"]);
    refused_exchange(&["--api-secret-env", "NIRANTAR_NO_SUCH_VARIABLE"], &["NIRANTAR_NO_SUCH_VARIABLE", "not set"]);
    refused_exchange(&["--colour"], &["--colour"]);
}

#[test]
fn a_bad_log_filter_is_refused_with_the_variable() {
    let folder = folder(&[("nirantar.toml", GOOD), (".env", CREDENTIALS)]);
    let output =
        nirantar().arg("run").current_dir(folder.path()).env("NIRANTAR_LOG", "nirantar=loud").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_refused(&Ended { code: output.status.code(), stdout: String::new(), stderr }, &["NIRANTAR_LOG"]);
}

#[test]
fn no_command_shows_what_there_is_and_an_unknown_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let none = run_in(folder.path(), &[]);
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("exchange") && none.stderr.contains("token"), "{}", none.stderr);
    assert_refused(&run_in(folder.path(), &["exchnage"]), &["exchnage"]);
}

#[test]
fn every_help_text_names_the_options_and_gives_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for (command, words) in [
        (&[][..], &["exchange", "run", "token", "Commands:"][..]),
        (
            &["exchange"],
            &[
                "--broker",
                "--listen",
                "--replay",
                "--token-dies-at",
                "--fault",
                "--api-key",
                "--api-secret-env",
                "--user-id",
                "--new-login",
                "--old-socket",
                "--refresh",
                "--redirect-url",
                "--wall-clock",
                "--no-rate-limits",
                "--seed",
                "Examples:",
            ],
        ),
        (&["run"], &["--config", "nirantar.toml", "Examples:"]),
        (&["record"], &["--config", "--account", "--out", "--replay", "Examples:"]),
        (
            &["simulate"],
            &[
                "--seed",
                "--runs",
                "--days",
                "--tick-ms",
                "--faults",
                "--until-failure",
                "--json",
                "--threads",
                "--log",
                "--digest",
                "--list-faults",
                "exit code 1",
                "Examples:",
            ],
        ),
        (&["token"], &["status"]),
        (&["orders"], &["--account", "--json", "--all", "export", "acknowledge", "broker_id", "Examples:"]),
        (&["orders", "export"], &["--output", "--history", "average_price", "Examples:"]),
        (&["orders", "acknowledge"], &["<ID>", "unresolved", "Example:"]),
        (&["paper"], &["report"]),
        (&["paper", "report"], &["--account", "--date", "--json", "--csv", "SPAN", "Examples:"]),
        (&["halt"], &["--all", "--reduce-only", "--reason", "nirantar resume", "Examples:"]),
        (&["resume"], &["--all", "--config", "stays cancelled", "Examples:"]),
        (&["token", "status"], &["--config", "--json", "Exit code", "Examples:"]),
    ] {
        let help = run_in(folder.path(), &[command, &["--help"][..]].concat());
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{command:?}");
        for word in words {
            assert!(help.stdout.contains(word), "`{word}` is not in the help of {command:?}: {}", help.stdout);
        }
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let help = nirantar().args(["exchange", "--help"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!(String::from_utf8(help.stderr).unwrap(), "");
    assert_eq!(help.status.code(), Some(0));
}

#[test]
fn the_exchange_ends_with_code_0_when_it_is_asked_to() {
    let exchange = Exchange::start(&[]);
    assert_ne!(exchange.address.port(), 0);
    let root = exchange.root();
    assert!(root.starts_with("http://127.0.0.1:"), "{root}");
    assert_eq!(exchange.terminate().code(), Some(0));
}
