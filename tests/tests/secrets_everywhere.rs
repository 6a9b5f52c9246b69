//! Issue 3, "Must show" 4, from outside: no secret leaves a `nirantar` process.
//!
//! A `nirantar run` that logs at trace level keeps four accounts: one that is led through logins, renewals, refusals and
//! Fallback, one of FYERS with a PIN, and two at a broker that refuses everything and quotes all that it was sent. Beside it
//! run the commands that handle tokens. Everything that any of them writes or sends (logs, stdout, stderr, pages, health
//! replies, alerts, process arguments) is searched for every secret there was. (`stories_secrets.rs` is the same for an
//! engine inside a program.)
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "processes are started and ended, in real time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;
mod fyers_world;
mod leaks;
mod sink_server;

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nirantar::config::{AlertSettings, Config, ServerSettings, TelegramSettings};
use nirantar::engine::Setup;
use nirantar::token::store::{Change, EnvFormat, EnvStore, Store as _};
use nirantar_brokers::fyers::app_id_hash;
use nirantar_brokers::time::{Clock, SystemClock};
use nirantar_brokers::{AccessToken, Form, Secret};
use nirantar_exchange_mock::Calendar;
use nirantar_exchange_mock::fyers::{self, FyersServer, TokenEnd};
use nirantar_exchange_mock::kite::{Control, KiteServer, Refresh, Settings};
use nirantar_exchange_mock::prices::Walk;
use nirantar_exchange_mock::universe;
use nirantar_tests::ReservedPort;
use reqwest::{Client, Method};
use sink_server::SinkServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(30);
const CHAT: &str = "-1001234";
// Characters that every encoding changes, where they are allowed.
const API_SECRET: &str = "sentinel+api/secret=of&the%app";
const PIN: &str = "sentinel+pin/4=7&8%9";
const APP_SECRET: &str = "sentinel+fyers/secret=x&y%z";
const BOT_TOKEN: &str = "123456:sentinel-bot_token";
const HOOK: &str = "sentinel-hook-path";
const SHARED: &str = "sentinel-server-secret";
const NOTIFIER: &str = "sentinel-notifier-path";
const NOTICED: &str = "sentinel-noticed-token";
const QUOTED_TOKEN: &str = "sentinel+quoted/token=a&b%c";
const QUOTED_REFRESH: &str = "sentinel+quoted/refresh=a&b%c";
const UPSTOX_SECRET: &str = "sentinel+upstox/secret=a&b%c";
const BAD_CODE: &str = "sentinel-bad-code-of-a-login";

/// A broker that refuses everything, now as a dead token and now as an error of its own, in words that quote the request.
async fn quoting_broker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0_u32;
        while let Ok((mut stream, _)) = listener.accept().await {
            number += 1;
            let (status, kind) = [(403, "TokenException"), (400, "InputException"), (500, "GeneralException")]
                [usize::try_from(number % 3).unwrap()];
            tokio::spawn(async move {
                let mut asked = vec![0; 16 << 10];
                let read = stream.read(&mut asked).await.unwrap_or(0);
                let words = String::from_utf8_lossy(&asked[..read]).into_owned();
                let body = serde_json::json!({
                    "status": "error", "error_type": kind, "message": words, "s": "error", "code": -50,
                    "errors": [{ "errorCode": "UDAPI100050", "message": words }],
                })
                .to_string();
                let reply = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nX-Quoted: {}\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{body}",
                    words.lines().next().unwrap_or_default(),
                    body.len()
                );
                // The client may have gone away.
                let _ = stream.write_all(reply.as_bytes()).await;
            });
        }
    });
    address
}

/// Every value of a key that ends in `_TOKEN`, in any store of the folder, as long as this watches.
fn collect_tokens(folder: &Path, into: &Mutex<Vec<Secret>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|ending| ending != "env") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap_or_default();
        let values = text.lines().filter_map(|line| line.split_once("_TOKEN=").map(|(_, value)| value));
        let mut known = into.lock().unwrap();
        for value in values.map(|value| value.trim_matches(['\'', '"'])).filter(|value| value.len() > 8) {
            if !known.iter().any(|secret| secret.expose() == value) {
                known.push(Secret::new(value));
            }
        }
    }
}

/// Everything around the process, and all that it and its commands have written or sent.
struct World {
    folder: tempfile::TempDir,
    kite: Control,
    kite_address: SocketAddr,
    port: ReservedPort,
    client: Client,
    sink: SinkServer,
    run: Child,
    written: String,
    secrets: Vec<(&'static str, Secret)>,
    _servers: (KiteServer, FyersServer),
}

fn command(folder: &Path, sink: &SinkServer, arguments: &[&str]) -> Command {
    let mut command = child::nirantar();
    command
        .args(arguments)
        .current_dir(folder)
        .env("NIRANTAR_LOG", "trace")
        .env("NIRANTAR_SERVER_SECRET", SHARED)
        .env("NIRANTAR_NOTIFIER_PATH", NOTIFIER)
        .env("NIRANTAR_TELEGRAM_TOKEN", BOT_TOKEN)
        .env("NIRANTAR_WEBHOOK_URL", format!("{}/{HOOK}", sink.origin()));
    command
}

/// What everybody on the machine can read of a child's arguments. Between fork and exec they are still our own; a command
/// that has ended shows none.
fn cmdline(child: &mut Child) -> String {
    let ours = fs::read("/proc/self/cmdline").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let shown = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        // In the middle of its start a process shows nothing, as one does that has ended.
        let ended = shown.is_empty() && child.try_wait().unwrap().is_some();
        if shown != ours && (ended || !shown.is_empty()) {
            return String::from_utf8_lossy(&shown).into_owned();
        }
        assert!(Instant::now() < deadline, "the child does not start");
        std::thread::yield_now();
    }
}

impl World {
    async fn start() -> Self {
        let port = ReservedPort::new().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let day = clock.now().wall.ist_date();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let settings = Settings {
            api_secret: Secret::new(API_SECRET),
            refresh: Refresh::Works,
            redirect_url: format!("http://127.0.0.1:{port}/callback"),
            rate_limits: false,
            ..Settings::default()
        };
        let prices = Walk::new(1, &universe::with_start_prices(day), &Calendar::nse(), day);
        let kite = KiteServer::start(anywhere, settings, Arc::clone(&clock), Box::new(prices)).await.unwrap();
        let fyers_settings = fyers::Settings {
            secret: Secret::new(APP_SECRET),
            pin: Secret::new(PIN),
            switches: fyers_world::rotating(TokenEnd::After(Duration::from_secs(43_200))),
            ..fyers::Settings::default()
        };
        let fyers = FyersServer::start(anywhere, fyers_settings.clone(), clock).await.unwrap();
        let (quoting, sink) = (quoting_broker().await, SinkServer::start().await);

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write(
            "main.env",
            format!("ZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET='{API_SECRET}'\nZERODHA_USER_ID=NR0001\n"),
        );
        let session = fyers.control().login();
        let plain = fyers_world::env(&fyers_settings, &session);
        let quoted: String = plain.lines().map(quote).collect();
        write("fy.env", quoted);
        write(
            "quoted.env",
            format!(
                "ZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET='{API_SECRET}'\nZERODHA_USER_ID=NR0001\n\
                 ZERODHA_ACCESS_TOKEN='{QUOTED_TOKEN}'\nZERODHA_REFRESH_TOKEN='{QUOTED_REFRESH}'\n"
            ),
        );
        write(
            "up.env",
            format!(
                "UPSTOX_API_KEY=upkey\nUPSTOX_API_SECRET='{UPSTOX_SECRET}'\nUPSTOX_USER_ID=AB1234\n\
                 UPSTOX_REDIRECT_URI=http://127.0.0.1:{port}/api/upstox/callback\nUPSTOX_ACCESS_TOKEN='{QUOTED_TOKEN}'\n"
            ),
        );
        let account = |name: &str, broker: &str, address: SocketAddr, more: &str| {
            format!(
                "[[account]]\nname = \"{name}\"\nbroker = \"{broker}\"\nstore = \"{name}.env\"\n\
                 rest_url = \"http://{address}\"\nfeed_url = \"ws://{address}\"\nlogin_url = \"http://{address}\"\n{more}\n"
            )
        };
        let renewing = "token_ttl = \"3s\"\nrenew_margin = \"1s\"";
        write(
            "nirantar.toml",
            [
                account(
                    "main",
                    "kite",
                    kite.addr(),
                    &format!("app = \"approved\"\ninstruments = [\"NSE:RELIANCE\"]\n{renewing}"),
                ),
                account("fy", "fyers", fyers.addr(), &format!("refresh = \"works\"\n{renewing}")),
                account("quoted", "kite", quoting, "app = \"approved\"\ninstruments = [\"NSE:RELIANCE\"]"),
                account("up", "upstox", quoting, "approval = true"),
                format!("[server]\nlisten = \"127.0.0.1:{port}\"\n"),
                format!("[alerts]\ntelegram_chat = \"{CHAT}\"\ntelegram_url = \"{}\"\n", sink.origin()),
            ]
            .concat(),
        );
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let mut run =
            command(folder.path(), &sink, &["run"]).stdout(file("out.log")).stderr(file("run.log")).spawn().unwrap();
        let written = cmdline(&mut run);
        let secrets = [
            ("API secret", API_SECRET),
            ("PIN", PIN),
            ("FYERS' secret", APP_SECRET),
            ("Upstox' secret", UPSTOX_SECRET),
            ("bot token", BOT_TOKEN),
            ("webhook", HOOK),
            ("server secret", SHARED),
            ("notifier path", NOTIFIER),
            ("noticed token", NOTICED),
            ("refused token", QUOTED_TOKEN),
            ("refused refresh token", QUOTED_REFRESH),
            ("bad code", BAD_CODE),
        ];
        let mut secrets: Vec<_> = secrets.into_iter().map(|(name, secret)| (name, Secret::new(secret))).collect();
        let hash = app_id_hash(&fyers_settings.client_id, &fyers_settings.secret);
        secrets.push(("appIdHash", Secret::new(hash)));
        let (control, kite_address) = (kite.control(), kite.addr());
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let servers = (kite, fyers);
        Self { folder, kite: control, kite_address, port, client, sink, run, written, secrets, _servers: servers }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Waits until the process has said `words` so many times on stdout.
    async fn until_said(&self, words: &str, times: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.file("out.log").matches(words).count() < times {
            assert!(Instant::now() < deadline, "`{words}` was not said: {}", self.file("out.log"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One request to the process' own server; what comes back is kept for the search. The redirect, if any.
    async fn ask(&mut self, method: Method, path: &str, bearer: Option<&str>, body: String) -> Option<String> {
        let mut request = self.client.request(method, format!("http://127.0.0.1:{}{path}", self.port)).body(body);
        if let Some(secret) = bearer {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        let response = tokio::time::timeout(DEADLINE, request.send()).await.unwrap().unwrap();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        self.written += &format!("{:?}\n", response.headers());
        self.written += std::str::from_utf8(&response.bytes().await.unwrap()).unwrap();
        location
    }

    /// Where the broker sends the browser after a login; the code in it is a secret from now on.
    async fn back_from_login(&mut self, link: &str) -> String {
        let answer = self.client.get(link).send().await.unwrap();
        let back = answer.headers()["location"].to_str().unwrap().to_owned();
        let (_, query) = back.split_once('?').unwrap();
        let code = Form::parse(query.as_bytes()).get("request_token").unwrap().to_owned();
        self.secrets.push(("request token", Secret::new(code)));
        back
    }

    /// Runs a command to its end, with something on its standard input.
    fn command(&mut self, arguments: &[&str], input: &str) {
        let mut command = command(self.folder.path(), &self.sink, arguments);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        self.written += &cmdline(&mut child);
        // A command that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.code().is_some(), "{arguments:?}: {}", output.status);
        for bytes in [output.stdout, output.stderr] {
            self.written += &String::from_utf8_lossy(&bytes);
        }
    }

    fn terminate(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.run.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(self.run.wait().unwrap().code(), Some(0));
        self.written += &self.file("out.log");
        self.written += &self.file("run.log");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.run.kill();
        let _ = self.run.wait();
    }
}

/// `KEY='value'`
fn quote(line: &str) -> String {
    line.split_once('=').map_or_else(|| format!("{line}\n"), |(key, value)| format!("{key}='{value}'\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_leaves_a_process_in_any_log_page_alert_or_argument() {
    let mut world = World::start().await;
    let tokens: Arc<Mutex<Vec<Secret>>> = Arc::default();
    let (folder, into) = (world.folder.path().to_owned(), Arc::clone(&tokens));
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let collecting = tokio::task::spawn_blocking(move || {
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            collect_tokens(&folder, &into);
            std::thread::sleep(Duration::from_millis(10));
        }
        collect_tokens(&folder, &into);
    });
    world.until_said("log in at", 1).await;
    world.until_said("fy: Valid", 1).await;

    // A login in the browser, loaded twice; one with a wrong code; a second one by --paste, into the running process.
    let link = world.ask(Method::GET, "/api/auth/login/main", None, String::new()).await.unwrap();
    let back = world.back_from_login(&link).await;
    let path = back.split_once(&format!(":{}", world.port)).unwrap().1.to_owned();
    world.ask(Method::GET, &path, None, String::new()).await;
    world.until_said("main: Valid", 1).await;
    world.ask(Method::GET, &path, None, String::new()).await;
    let wrong = format!("/callback?request_token={BAD_CODE}&status=success&state=0123456789abcdef0123456789abcdef");
    world.ask(Method::GET, &wrong, None, String::new()).await;
    for bearer in [None, Some(SHARED), Some("sentinel-server-secreT")] {
        world.ask(Method::GET, "/api/system/health", bearer, String::new()).await;
        world.ask(Method::POST, "/api/operator/main/renew", bearer, String::new()).await;
    }
    let notice = serde_json::json!({
        "client_id": "upkey", "user_id": "AB1234", "access_token": NOTICED, "token_type": "Bearer",
        "expires_at": "4102444800000", "issued_at": "1700000000000", "message_type": "access_token",
    });
    world.ask(Method::POST, &format!("/api/auth/notify/{NOTIFIER}"), None, notice.to_string()).await;

    // The token dies under the process, and its refresh token buys nothing any more: Fallback, a login, and back.
    world.kite.refresh(Refresh::Withdrawn);
    world.kite.kill_tokens();
    world.until_said("main: Fallback", 1).await;
    // Now it has a last error to tell, as have the accounts at the broker that quotes.
    for path in ["/api/system/health", "/live"] {
        world.ask(Method::GET, path, Some(SHARED), String::new()).await;
    }
    world.command(&["token", "refresh"], "");
    world.kite.refresh(Refresh::Works);
    let page = format!("http://{}/connect/login?v=3&api_key=nirantar", world.kite_address);
    let before = world.file("out.log").matches("main: Valid").count();
    let bad = format!("http://127.0.0.1/callback?request_token={BAD_CODE}&status=success\n");
    world.command(&["token", "login", "--account", "main", "--paste", "-"], &bad);
    let back = world.back_from_login(&page).await;
    world.command(&["token", "login", "--account", "main", "--paste", "-"], &format!("{back}\n"));
    world.until_said("main: Valid", before + 1).await;
    for arguments in [
        &["token", "status", "--json"][..],
        &["token", "status"],
        &["token", "login", "--account", "up"],
        &["token", "refresh"],
        &["doctor"],
    ] {
        world.command(arguments, "");
    }
    world.sink.wait_until("alerts", |sink| sink.texts().len() >= 3 && sink.requests() >= 8).await;
    world.terminate();
    stop.send(()).unwrap();
    collecting.await.unwrap();

    // What the parts of a program print of themselves.
    let file = world.file("nirantar.toml");
    let (accounts, _) = file.split_once("[alerts]").unwrap();
    let without_alerts = world.folder.path().join("without-alerts.toml");
    fs::write(&without_alerts, accounts).unwrap();
    let config = Config::load(&without_alerts).unwrap();
    let setups: Vec<Setup> = config.accounts.iter().map(Setup::from).collect();
    let server = ServerSettings {
        secret: Some(Secret::new(SHARED)),
        notifier: Some(Secret::new(NOTIFIER)),
        ..ServerSettings::default()
    };
    let telegram = TelegramSettings { url: String::new(), token: Secret::new(BOT_TOKEN), chat: CHAT.to_owned() };
    let alerts = AlertSettings { telegram: Some(telegram), webhook: Some(Secret::new(HOOK)) };
    let stored = EnvStore::new(world.folder.path().join("quoted.env"), EnvFormat::new("ZERODHA")).read();
    let change = Change {
        access_token: Some(AccessToken::new(QUOTED_TOKEN)),
        refresh_token: Some(Secret::new(QUOTED_REFRESH)),
        expires_at: None,
    };
    let printed = format!("{config:?} {config:#?} {setups:?} {server:?} {alerts:?} {stored:?} {change:?}");

    let tokens = std::mem::take(&mut *tokens.lock().unwrap());
    assert!(tokens.len() > 8, "tokens and refresh tokens of several generations: {}", tokens.len());
    let mut secrets = std::mem::take(&mut world.secrets);
    secrets.extend(tokens.into_iter().map(|token| ("a token of a store", token)));
    for expected in [
        " TRACE ",
        "Fallback",
        "main: Valid",
        "nirantar-child",
        "user-agent: nirantar/",
        // Of a health reply.
        "\"last_error\":{\"at\":",
        "\"state\":\"Fallback\"",
        // Of the arguments of a process.
        "token\0login\0--account\0main\0--paste\0-",
    ] {
        assert!(world.written.contains(expected), "`{expected}` was not captured: the search would prove nothing");
    }
    let bodies = world.sink.bodies().join("\n");
    println!(
        "{} bytes of logs, pages and output, {} of alerts and {} of Debug searched for {} secrets",
        world.written.len(),
        bodies.len(),
        printed.len(),
        secrets.len()
    );
    for (place, text) in [("output", &world.written), ("alerts", &bodies), ("Debug", &printed)] {
        let found = leaks::leaks(text, &secrets);
        assert!(found.is_empty(), "{} in {place}: {found:#?}", found.len());
    }
}
