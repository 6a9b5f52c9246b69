//! `nirantar doctor`, `token status`, `token refresh`, `token watch` and `init` in processes of their own: what they say of
//! broken set-ups, on real files, against `nirantar exchange` where a broker is needed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use child::{Exchange, nirantar};
use nirantar_tests::ReservedPort;
use serde_json::Value;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "nirantar-secret";
const TOKEN: &str = "ZERODHA_ACCESS_TOKEN";

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

async fn log_in(exchange: &Exchange) -> String {
    control(exchange, "login=1").await["session"]["access_token"].as_str().unwrap().to_owned()
}

/// One account at that address.
fn account(address: &str) -> String {
    format!(
        "[[account]]\nname = \"main\"\nbroker = \"kite\"\nuser_id = \"NR0001\"\nrest_url = \"http://{address}\"\n\
         feed_url = \"ws://{address}\"\nlogin_url = \"http://{address}\"\n"
    )
}

/// The app's keys, and a token if there is one.
fn keys(token: Option<&str>) -> String {
    let token = token.map(|token| format!("{TOKEN}={token}\n")).unwrap_or_default();
    format!("ZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET={SECRET}\n{token}")
}

/// A folder with a configuration and, if it is given, a store that only its owner can read.
fn folder(config: &str, store: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nirantar.toml"), config).unwrap();
    if let Some(store) = store {
        write_private(&folder.path().join(".env"), store);
    }
    folder
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    nirantar().args(arguments).envs(variables.iter().copied()).current_dir(folder).output().unwrap()
}

/// A host that answers everything with that status and that body, and a Date of long ago.
fn host(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let answer = format!(
                    "HTTP/1.1 {status}\r\nDate: Fri, 20 Nov 2020 04:30:00 GMT\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                // Whatever it asks: the request is read, or the answer could be cut by a reset.
                let mut request = [0_u8; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

/// What Kite answers where the app has no right to a call.
const NO_PERMISSION: &str = r#"{"status":"error","message":"Insufficient permission for that call.","data":null,"error_type":"PermissionException"}"#;

/// One broken set-up.
struct Broken {
    name: &'static str,
    config: String,
    store: Option<String>,
    variables: Vec<(&'static str, &'static str)>,
    /// Mode of the store.
    mode: u32,
    /// What the doctor must name, how bad it is, and words of the finding and of how to mend it.
    doctor: (&'static str, &'static str, &'static [&'static str], &'static [&'static str]),
    /// What `token status` must say, on stdout or stderr.
    status: &'static [&'static str],
}

fn broken(name: &'static str, config: String, store: String) -> Broken {
    Broken {
        name,
        config,
        store: Some(store),
        variables: Vec::new(),
        mode: 0o600,
        doctor: ("", "", &[], &[]),
        status: &[],
    }
}

/// The set-ups. `here` is an exchange where `token` lives, `blocked` a host that gives no permission, `wrong` a host whose
/// clock is wrong, `nowhere` an address nobody listens at, `taken` one where another program does.
fn set_ups(here: &str, token: &str, blocked: &str, wrong: &str, nowhere: &str, taken: &str) -> Vec<Broken> {
    let good = || account(here);
    let living = || keys(Some(token));
    vec![
        Broken {
            doctor: (
                "configuration",
                "fail",
                &["nirantar.toml:8: instrumnts", "did you mean `instruments`?"],
                &["change that line"],
            ),
            status: &["did you mean `instruments`?"],
            ..broken("a misspelt key", good() + "instrumnts = []\n", living())
        },
        Broken {
            doctor: ("configuration", "fail", &["ZERODHA_API_KEY"], &["write ZERODHA_API_KEY=... into .env"]),
            status: &["ZERODHA_API_KEY", "not in the environment variable"],
            ..broken("no keys yet", good(), String::new())
        },
        Broken {
            doctor: ("configuration", "fail", &[".env:1: ZERODHA_API_KEY"], &["mend that line of the store"]),
            status: &[".env:1: ZERODHA_API_KEY"],
            ..broken("an open quotation mark in .env", good(), "ZERODHA_API_KEY=\"open\n".to_owned())
        },
        Broken {
            doctor: (
                "configuration",
                "fail",
                &["NIRANTAR_SERVER_SECRET", "other machines"],
                &["set NIRANTAR_SERVER_SECRET in the environment"],
            ),
            status: &["NIRANTAR_SERVER_SECRET"],
            ..broken(
                "a server for the world without a secret",
                good() + "[server]\nlisten = \"0.0.0.0:0\"\nbeyond_loopback = true\n",
                living(),
            )
        },
        Broken {
            doctor: ("main: token", "fail", &["dead", "every order is refused"], &["log in as NR0001 at http://"]),
            status: &["main is dead", "what you see: ", "log in as NR0001 at http://"],
            ..broken("yesterday's token", good(), keys(Some("yesterdaysTokenOf32LettersLong00")))
        },
        Broken {
            doctor: (
                "main: token",
                "fail",
                &["somebody else's", "NR0001", "ZZ9999"],
                &["log in as ZZ9999", "correct user_id"],
            ),
            status: &["main is stranger: the token belongs to NR0001", "log in as ZZ9999"],
            ..broken("somebody else's token", good().replace("user_id = \"NR0001\"", "user_id = \"ZZ9999\""), living())
        },
        Broken {
            doctor: (
                "main: token",
                "fail",
                &["the store says that it ended at 2020-11-20 06:00:00 IST", "will not use"],
                &["correct expires_at in .env", "token set --store .env"],
            ),
            status: &["main is expired_in_store", "the store says that it ended", "next: correct expires_at in .env"],
            ..broken(
                "a living token beside yesterday's expiry",
                good(),
                living() + "ZERODHA_TOKEN_EXPIRES_AT=\"2020-11-20 06:00:00\"\n",
            )
        },
        Broken {
            doctor: ("main: token", "warn", &["there is none yet"], &["log in as NR0001", "token set --store .env"]),
            status: &["main is missing", "missing: ZERODHA_ACCESS_TOKEN in .env"],
            ..broken("no token yet", good(), keys(None))
        },
        Broken {
            doctor: ("main: token", "fail", &["is no token", "space"], &["copy it again"]),
            status: &["main is "],
            ..broken("a token pasted with its label", good(), keys(Some("\"token: abc\"")))
        },
        Broken {
            doctor: (
                "main: IP and plan",
                "fail",
                &["wrong IP", "no token mends"],
                &["register this machine's public IP"],
            ),
            status: &["main is refused", "no new token mends", "check the static IP"],
            ..broken("a wrong IP", account(blocked), living())
        },
        Broken {
            doctor: ("main: REST", "fail", &["does not answer"], &["check the network", "a new login would not help"]),
            status: &["main is unreachable", "do not log in again", "check the network"],
            ..broken("no network", account(nowhere), living())
        },
        Broken {
            doctor: ("main: clock", "warn", &["ahead of the broker's", "a simulator"], &["--wall-clock"]),
            status: &["main is unreachable"],
            ..broken("another time", account(wrong), living())
        },
        Broken {
            mode: 0o644,
            doctor: ("main: file mode", "warn", &["mode 0644", "others on this machine"], &["chmod 600 .env"]),
            status: &["main is live", "what you see: "],
            ..broken("a store that everybody reads", good(), living())
        },
        Broken {
            variables: vec![("ZERODHA_API_KEY", "nirantar"), ("ZERODHA_API_SECRET", SECRET)],
            doctor: ("main: store", "fail", &["cannot be kept", "gone at the next start"], &["move `store`"]),
            status: &["main is missing"],
            ..broken("a store that cannot be written", good() + "store = \"/proc/nirantar.env\"\n", String::new())
        },
        Broken {
            doctor: ("main: secrets", "fail", &["the app's secret stands in nirantar.toml:8"], &["get a new one"]),
            status: &["main is live"],
            ..broken("a secret in a comment", format!("{}# secret: {SECRET}\n", good()), living())
        },
        Broken {
            doctor: ("main: secrets", "warn", &["nirantar.toml holds the app's secret"], &["chmod 600 nirantar.toml"]),
            status: &["main is live"],
            ..broken(
                "a configuration that has become a secret",
                format!("{}api_secret = \"{SECRET}\"\n", good()),
                living(),
            )
        },
        Broken {
            doctor: ("main: external command", "fail", &["login.sh cannot be run"], &["correct external_command"]),
            status: &["main is live"],
            ..broken("a script that is not there", good() + "external_command = [\"./login.sh\"]\n", living())
        },
        Broken {
            doctor: ("server", "fail", &["another program listens"], &["another port"]),
            status: &["main is live", "a running nirantar was asked and did not answer"],
            ..broken("a port that is taken", format!("{}[server]\nlisten = \"{taken}\"\n", good()), living())
        },
        Broken {
            variables: vec![("FYERS_API_KEY", "ABCDE12345-100"), ("FYERS_API_SECRET", SECRET)],
            doctor: ("main: refresh token", "fail", &["wants the PIN"], &["set FYERS_PIN"]),
            status: &["main is missing", "FYERS_ACCESS_TOKEN"],
            ..broken(
                "a renewal without the PIN",
                good().replace("kite", "fyers") + "refresh = \"works\"\n",
                String::new(),
            )
        },
    ]
}

#[tokio::test]
async fn each_broken_set_up_is_named_and_the_way_to_mend_it_is_said() {
    let exchange = Exchange::start(&["--no-rate-limits"]);
    let token = log_in(&exchange).await;
    let (wrong, blocked) = (host("200 OK", "{}"), host("403 Forbidden", NO_PERMISSION));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    // Accepts nothing: whoever asks waits, and gives up.
    let taken = other.local_addr().unwrap().to_string();
    let nobody = ReservedPort::new().unwrap();
    let nowhere = nobody.address().to_string();
    let here = exchange.address.to_string();
    for set_up in set_ups(&here, &token, &blocked, &wrong, &nowhere, &taken) {
        let Broken { name, config, store, variables, mode, doctor, status } = set_up;
        let folder = folder(&config, store.as_deref());
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder.path().join(".env"), fs::Permissions::from_mode(mode)).unwrap();

        let json = run(folder.path(), &["doctor", "--json"], &variables);
        let report: Value =
            serde_json::from_slice(&json.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {json:?}"));
        let (about, level, words, mend) = doctor;
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["about"] == about && check["level"] == level);
        let check = check.unwrap_or_else(|| panic!("{name}: no {level} of {about} in {report:#}"));
        for word in words {
            assert!(check["words"].as_str().unwrap().contains(word), "{name}: `{word}` is not in {check}");
        }
        for word in mend {
            assert!(check["mend"].as_str().unwrap().contains(word), "{name}: `{word}` is not in {check}");
        }
        let failed = checks.iter().any(|check| check["level"] == "fail");
        assert_eq!((json.status.code(), &report["ok"]), (Some(i32::from(failed)), &Value::Bool(!failed)), "{name}");

        let text = run(folder.path(), &["doctor"], &variables);
        assert_eq!(text.status.code(), json.status.code(), "{name}");
        assert!(String::from_utf8_lossy(&text.stdout).contains(&format!("{level:<4}  {about}")), "{name}: {text:?}");

        let said = run(folder.path(), &["token", "status"], &variables);
        let shown = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        for word in status {
            assert!(shown.contains(word), "{name}: `{word}` is not in {shown}");
        }
        for output in [&json.stdout, &json.stderr, &text.stdout, &text.stderr, &said.stdout, &said.stderr] {
            let shown = String::from_utf8_lossy(output);
            assert!(!shown.contains(SECRET) && !shown.contains(&token), "{name}: a secret is shown in {shown}");
        }
    }
}

#[tokio::test]
async fn a_good_set_up_has_no_failure_and_nothing_is_left_behind() {
    let exchange = Exchange::start(&["--wall-clock"]);
    let token = log_in(&exchange).await;
    let folder = folder(&account(&exchange.address.to_string()), Some(&keys(Some(&token))));
    let ended = run(folder.path(), &["doctor"], &[]);
    let shown = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{shown}");
    assert!(shown.contains("live: the broker knows it as NR0001's") && shown.contains("0 warn, 0 fail"), "{shown}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "only the configuration and the store");
    let status = run(folder.path(), &["token", "status"], &[]);
    let shown = String::from_utf8_lossy(&status.stdout);
    assert!(shown.contains("the market is ") && shown.contains("what you see: "), "{shown}");
}

#[test]
fn init_never_asks_without_a_terminal_and_its_file_leads_the_doctor_to_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let asked = run(folder.path(), &["init"], &[]);
    assert_eq!(asked.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&asked.stderr);
    assert!(stderr.contains("--guide: expected one of fyers, zerodha, zerodha-cron, upstox, kite-config"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    for (guide, key) in [
        ("fyers", "FYERS_API_KEY"),
        ("zerodha", "ZERODHA_API_KEY"),
        ("zerodha-cron", "ZERODHA_API_KEY"),
        ("upstox", "UPSTOX_API_KEY"),
        ("kite-config", "ZERODHA_API_KEY"),
    ] {
        let file = format!("{guide}.toml");
        let written = run(folder.path(), &["init", "--guide", guide, "--file", &file], &[]);
        assert_eq!(written.status.code(), Some(0), "{written:?}");
        let again = run(folder.path(), &["init", "--guide", "fyers", "--file", &file], &[]);
        assert_eq!(again.status.code(), Some(2), "{again:?}");
        assert!(String::from_utf8_lossy(&again.stderr).contains("--force"), "{again:?}");
        let doctor = run(folder.path(), &["doctor", "--config", &file], &[]);
        let shown = String::from_utf8_lossy(&doctor.stdout);
        assert!(shown.contains(&format!("mend: write {key}=...")), "{guide}: {shown}");
    }
}

#[tokio::test]
async fn token_refresh_renews_once_and_says_so_and_where_only_a_human_can_it_changes_nothing() {
    let exchange = Exchange::start(&["--refresh", "works"]);
    let session = control(&exchange, "login=1").await["session"].clone();
    let [token, refresh] = ["access_token", "refresh_token"].map(|key| session[key].as_str().unwrap().to_owned());
    let config = account(&exchange.address.to_string());
    let store = format!("{}ZERODHA_REFRESH_TOKEN={refresh}\n", keys(Some(&token)));
    let folder = folder(&config, Some(&store));
    let env = folder.path().join(".env");

    let human = run(folder.path(), &["token", "refresh"], &[]);
    assert_eq!(human.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&human.stdout).contains("only a human can log in here"), "{human:?}");
    assert_eq!(fs::read_to_string(&env).unwrap(), store);

    fs::write(folder.path().join("nirantar.toml"), config + "app = \"approved\"\n").unwrap();
    let unknown = run(folder.path(), &["token", "refresh", "--account", "mian"], &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no account `mian`: expected one of main"));
    let renewed = run(folder.path(), &["token", "refresh", "--account", "main"], &[]);
    let shown = String::from_utf8_lossy(&renewed.stdout).into_owned();
    assert_eq!(renewed.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&renewed.stderr));
    assert!(shown.contains("main: renewed: the token #") && shown.contains("NR0001 is live"), "{shown}");
    let after = fs::read_to_string(&env).unwrap();
    assert!(!after.contains(&token) && after.contains(TOKEN), "the new token is in the store");

    control(&exchange, "refresh=withdrawn").await;
    let withdrawn = run(folder.path(), &["token", "refresh"], &[]);
    let shown = String::from_utf8_lossy(&withdrawn.stdout);
    assert_eq!(withdrawn.status.code(), Some(1), "{shown}");
    assert!(shown.contains("main: not renewed") && shown.contains("log in"), "{shown}");
    assert_eq!(fs::read_to_string(&env).unwrap(), after, "the living token stays");
}

#[tokio::test]
async fn token_watch_says_each_change_with_the_brokers_word_and_ends_when_asked() {
    let exchange = Exchange::start(&[]);
    let folder = folder(&account(&exchange.address.to_string()), Some(&keys(None)));
    let mut child =
        nirantar().args(["token", "watch"]).current_dir(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (said, lines) = mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    let next = || lines.recv_timeout(PATIENCE).expect("a line comes");

    let line = next();
    assert!(line.contains("main .env: no token in it"), "{line}");
    write_private(&folder.path().join(".env"), &keys(Some("yesterdaysTokenOf32LettersLong00")));
    let line = next();
    assert!(line.contains("token #") && line.contains(" is dead: "), "{line}");
    let token = log_in(&exchange).await;
    write_private(&folder.path().join(".env"), &keys(Some(&token)));
    let line = next();
    assert!(line.contains(" is live, NR0001, good until ") && !line.contains(&token), "{line}");

    let asked = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(lines.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected), "nothing more was said");
}
