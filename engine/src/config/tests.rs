//! Every way a configuration can be wrong, each with the file, line and key its error must name; and what a good one
//! says.

mod beside;
mod stores;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{NaiveTime, Weekday};
use nirantar_brokers::kite::App;
use nirantar_brokers::{Exchange, InstrumentKey, Mode, Money, Quantity, Secret};
use proptest::prelude::*;

use super::*;
use crate::orders::{RiskLimits, SettlePaper};
use crate::session::{FallbackOrders, Resume};
use crate::token::store::{StoreError, StoreKind, StorePlace, Stored};

/// Variables and stores that a test names.
#[derive(Default)]
struct Fake {
    variables: BTreeMap<&'static str, &'static str>,
    stored: Stored,
    broken: Option<StoreError>,
    links: BTreeMap<&'static str, &'static str>,
    /// What a place of its own says, instead of `stored`.
    by_name: BTreeMap<&'static str, Result<Stored, StoreError>>,
}

impl Outside for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn stored(&self, place: &StorePlace, _: &str) -> Result<Stored, StoreError> {
        if let Some(answer) = self.by_name.get(place.path().to_str().unwrap_or_default()) {
            return answer.clone();
        }
        self.broken.clone().map_or_else(|| Ok(self.stored.clone()), Err)
    }

    fn real_path(&self, store: &Path) -> PathBuf {
        store.to_str().and_then(|path| self.links.get(path)).map_or_else(|| store.to_owned(), PathBuf::from)
    }
}

/// A world where the store holds all that an account needs.
fn furnished() -> Fake {
    let stored = Stored {
        user_id: Some("AB1234".to_owned()),
        api_key: Some("stored-key".to_owned()),
        api_secret: Some(Secret::new("stored-secret")),
        ..Stored::default()
    };
    Fake { stored, ..Fake::default() }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::read(text, Path::new("conf/nirantar.toml"), &furnished())
}

/// A configuration of one account with `line` as its fourth line.
fn with(line: &str) -> String {
    format!("[[account]]\nname = \"main\"\nbroker = \"kite\"\n{line}\n")
}

fn one(text: &str) -> Account {
    let mut accounts = read(text).unwrap().accounts;
    assert_eq!(accounts.len(), 1);
    accounts.remove(0)
}

#[test]
fn a_bad_value_is_refused_with_its_line_its_key_and_what_was_expected() {
    // The line, the key that must be named, and a piece of what was expected.
    for (line, key, expected) in [
        ("store = \"\"", "store", "a path"),
        ("store = 7", "store", "found a value of type integer"),
        ("store = []", "store", "an empty list"),
        ("store = [\".env\", \"\"]", "store", "a list of paths whose first is written to"),
        ("store = [\".env\", \".env\"]", "store", ".env twice"),
        ("store = [\"a.json\", 1]", "store", "found a value of type integer"),
        ("key_prefix = \"zerodha\"", "key_prefix", "A-Z"),
        ("key_prefix = \"\"", "key_prefix", "A-Z"),
        ("key_prefix = \"1X\"", "key_prefix", "starting with a letter"),
        ("user_id = \" \"", "user_id", "AB1234"),
        ("app = \"apprved\"", "app", "\"individual\", \"approved\""),
        ("rest_url = \"http://api.kite.trade\"", "rest_url", "https://"),
        ("rest_url = \"https://api.kite.trade/v3\"", "rest_url", "host and port only"),
        ("feed_url = \"https://ws.kite.trade\"", "feed_url", "wss://"),
        ("feed_url = \"ws://10.0.0.1\"", "feed_url", "loopback"),
        ("login_url = \"nowhere\"", "login_url", "https://"),
        ("instruments = \"NSE:INFY\"", "instruments", "a list of EXCHANGE:SYMBOL"),
        ("instruments = [\"INFY\"]", "instruments", "EXCHANGE:SYMBOL"),
        ("instruments = [\"NYSE:IBM\"]", "instruments", "NSE, BSE"),
        ("instruments = [1]", "instruments", "a list of"),
        ("instruments = [\"NSE:INFY\", \"NSE:INFY\"]", "instruments", "NSE:INFY twice"),
        ("mode = \"deep\"", "mode", "\"ltp\", \"quote\", \"full\""),
        ("orders = \"hold\"", "orders", "\"paper\", \"reject\""),
        ("resume = true", "resume", "found a value of type boolean"),
        ("hold = 2", "hold", "a duration like"),
        ("hold = \"2\"", "hold", "a duration like"),
        ("hold = \"-2s\"", "hold", "found `-2s`"),
        ("token_ttl = \"0s\"", "token_ttl", "above zero"),
        ("renew_margin = \"soon\"", "renew_margin", "a duration like"),
        ("renew_at = \"08:45\"", "renew_at", "a list of"),
        ("renew_at = [\"8.45\"]", "renew_at", "found `8.45`"),
        ("renew_at = [\"08:45\", \"08:45:00\"]", "renew_at", "different times"),
        ("renew_days = \"weekdays\"", "renew_days", "mon-fri"),
        ("venue = \"sandbox\"", "venue", "\"live\", \"paper\""),
        ("check_every = \"29s\"", "check_every", "at least 30 s"),
        ("renew_on_holidays = \"yes\"", "renew_on_holidays", "true or false"),
        ("external_timeout = \"0s\"", "external_timeout", "a duration like"),
        ("redirect_url = \"http://example.in/callback\"", "redirect_url", "https:// beyond this machine"),
        ("on_stop = \"sell\"", "on_stop", "\"leave\", \"cancel\""),
        ("ask_from = \"7:45\"", "ask_from", "like \"07:45\""),
        // Keys of another broker must not look as if they did something.
        ("refresh = \"works\"", "refresh", "means nothing at kite: app = "),
        ("approval = true", "approval", "means nothing at kite: it has no approval"),
        ("external_command = \"./login.sh\"", "external_command", "a program and its arguments"),
        ("external_command = [\"\"]", "external_command", "an empty program"),
        ("external_command = [\"a\", \"b\\u0000\"]", "external_command", "a zero byte"),
        ("journal = \"\"", "journal", "the path of a file, like \"nirantar-main.journal.db\""),
        ("journal = \"data/\"", "journal", "the path of a file"),
        ("journal = true", "journal", "found a value of type boolean"),
        ("halt_file = \"..\"", "halt_file", "like \"nirantar-main.halt\""),
        ("halt_file = 1", "halt_file", "found a value of type integer"),
        ("calendar = \"days/\"", "calendar", "the path of a calendar file"),
        ("settle_paper = \"sell\"", "settle_paper", "\"flatten\", \"keep\""),
        ("paper_fills = \"best\"", "paper_fills", "\"last-price\""),
        ("paper_order_latency = \"80ms..20ms\"", "paper_order_latency", "like \"20ms..80ms\""),
        ("paper_data_latency = \"2m\"", "paper_data_latency", "at most a minute"),
        ("paper_fills = \"depth\"\nmode = \"quote\"", "paper_fills", "with mode = \"full\" \"depth\""),
        ("risk = 5", "risk", "expected a [account.risk] table, found a value of type integer"),
        ("risk = { order_value = -1 }", "order_value", "rupees above zero"),
        ("risk = { order_value = 0 }", "order_value", "found `0`"),
        ("risk = { order_value = \"5 lakh\" }", "order_value", "found a value of type string"),
        ("risk = { order_value = 1e5 }", "order_value", "found `1e5`"),
        ("risk = { order_value = 0x10 }", "order_value", "found a value of type integer"),
        ("risk = { order_value = 1.00001 }", "order_value", "four decimals"),
        ("risk = { daily_loss = -2500.0 }", "daily_loss", "found `-2500.0`"),
        ("risk = { daily_loss = nan }", "daily_loss", "found `nan`"),
        ("risk = { order_quantity = -5 }", "order_quantity", "a whole number of units above zero"),
        ("risk = { order_quantity = 1.5 }", "order_quantity", "found `1.5`"),
        ("risk = { position = 99999999999999999999 }", "position", "a whole number"),
        ("risk = { open_orders = 0 }", "open_orders", "a whole number of orders above zero"),
        ("risk = { open_orders = true }", "open_orders", "found a value of type boolean"),
        ("risk = { price_band = \"5\" }", "price_band", "found `5`"),
        ("risk = { price_band = \"-5%\" }", "price_band", "\"5%\" or 2.5"),
        ("risk = { price_band = \"101%\" }", "price_band", "at most 100"),
        ("risk = { price_band = 0.005 }", "price_band", "two decimals"),
        ("risk = { order_valu = 5 }", "order_valu", "did you mean `order_value`?"),
        // Keys that nobody reads.
        ("hodl = \"2s\"", "hodl", "did you mean `hold`?"),
        ("renew-margin = \"2s\"", "renew-margin", "did you mean `renew_margin`?"),
        ("colour = \"red\"", "colour", "expected one of name, broker, store"),
        ("api_secret = \" \"", "api_secret", "the app's secret"),
        ("api-secret = \"hunter2\"", "api-secret", "in the account's store or in the environment"),
        ("ZERODHA_ACCESS_TOKEN = \"hunter2\"", "ZERODHA_ACCESS_TOKEN", "in the environment"),
        ("pin = \"hunter2\"", "pin", "in the environment"),
        ("totp-key = \"hunter2\"", "totp-key", "in the environment"),
    ] {
        let error = read(&with(line)).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("conf/nirantar.toml:4: {key}: ")), "{line}: {shown}");
        assert!(shown.contains(expected), "{line}: {shown}");
        assert_eq!((error.line, error.key.as_deref()), (Some(4), Some(key)), "{line}");
        assert!(!shown.contains("hunter2") && !shown.contains('\n'), "{shown}");
    }
}

#[test]
fn a_bad_file_is_refused_with_its_line_and_key() {
    let second = |more: &str| format!("{}\n[[account]]\nname = \"other\"\nbroker = \"kite\"\n{more}", with(""));
    // The text, the place that must be named, and a piece of what is said.
    for (text, place, said) in [
        (String::new(), "conf/nirantar.toml: ", "expected at least one [[account]]"),
        ("# nothing\n".to_owned(), "conf/nirantar.toml: ", "no account"),
        ("account = []\n".to_owned(), "conf/nirantar.toml: ", "no account"),
        ("\n[account]\nname = \"main\"\n".to_owned(), "conf/nirantar.toml:2: account: ", "expected [[account]] tables"),
        ("account = [1]\n".to_owned(), "conf/nirantar.toml:1: account: ", "found a value of type integer"),
        ("\n\n[[acount]]\n".to_owned(), "conf/nirantar.toml:3: acount: ", "did you mean `account`?"),
        ("speed = 1\n".to_owned(), "conf/nirantar.toml:1: speed: ", "expected one of account, server, alerts"),
        ("[[account]]\nname = \"main\n".to_owned(), "conf/nirantar.toml:2: is not TOML: ", ""),
        (
            "[[account]]\nname = \"a\"\nname = \"b\"\n".to_owned(),
            "conf/nirantar.toml:3: is not TOML: ",
            "duplicate key",
        ),
        ("\n[[account]]\nbroker = \"kite\"\n".to_owned(), "conf/nirantar.toml:2: name: ", "missing, expected name = "),
        ("[[account]]\nname = \"main\"\n".to_owned(), "conf/nirantar.toml:1: broker: ", "one of the brokers kite"),
        (
            "[[account]]\nname = \"Main\"\nbroker = \"kite\"".to_owned(),
            "conf/nirantar.toml:2: name: ",
            "a-z, 0-9 and -",
        ),
        ("[[account]]\nname = \"\"\nbroker = \"kite\"".to_owned(), "conf/nirantar.toml:2: name: ", "a-z, 0-9 and -"),
        (
            "[[account]]\nname = \"a\"\nbroker = \"robinhood\"".to_owned(),
            "conf/nirantar.toml:3: broker: ",
            "expected one of the brokers kite, fyers, upstox, found `robinhood`",
        ),
        (with("external_command = []"), "conf/nirantar.toml:1: external_command: ", "an empty list"),
        (
            with("token_ttl = \"5m\"\nrenew_margin = \"5m\""),
            "conf/nirantar.toml:5: renew_margin: ",
            "shorter than token_ttl, found `5m`",
        ),
        (
            with("instruments = [\n  \"NSE:INFY\",\n  \"NSE\",\n]"),
            "conf/nirantar.toml:6: instruments: ",
            "`NSE` is not an instrument",
        ),
        (
            second("key_prefix = \"OTHER\"").replace("other", "main"),
            "conf/nirantar.toml:7: name: ",
            "`main` is the name of the account at line 1 already",
        ),
        (
            second(""),
            "conf/nirantar.toml:6: store: ",
            "the account `main` at line 1 keeps its token in the same store under the same key_prefix",
        ),
    ] {
        let shown = read(&text).unwrap_err().to_string();
        assert!(shown.starts_with(place), "{text}: {shown}");
        assert!(shown.contains(said), "{text}: {shown}");
        assert!(!shown.contains('\n'), "{shown}");
    }
}

#[test]
fn a_config_never_prints_a_credential() {
    let shown = format!("{:#?}", read(&with("")).unwrap());
    assert!(!shown.contains("stored-key") && !shown.contains("stored-secret"), "{shown}");
}

#[test]
fn what_the_file_leaves_out_has_a_default() {
    let account = one(&with(""));
    assert_eq!(account.store, Path::new("conf/.env"), "relative to the configuration's folder");
    assert_eq!((account.key_prefix.as_str(), account.app), ("ZERODHA", App::Individual));
    assert_eq!(account.rest_url.as_str(), "https://api.kite.trade");
    assert_eq!(account.feed_url.as_str(), "wss://ws.kite.trade");
    assert_eq!(account.login_url.as_str(), "https://kite.zerodha.com");
    assert!(!account.loopback);
    assert_eq!((account.instruments.len(), account.mode), (0, Mode::Full));
    assert_eq!((account.orders, account.resume), (FallbackOrders::Paper, Resume::Auto));
    assert_eq!((account.hold, account.token_ttl), (Duration::from_secs(2), None));
    assert_eq!(account.renew_margin, Duration::from_secs(300));
    assert_eq!(account.renew_at, []);
    assert!(account.renew_days.contains(Weekday::Fri) && !account.renew_days.contains(Weekday::Sat));
    assert_eq!(account.external_command, None);
    assert_eq!((account.check_every, account.external_timeout), (None, Duration::from_secs(300)));
    assert!(!account.renew_on_holidays && !account.approval && !account.paper_only);
    assert_eq!((account.refresh, account.on_stop), (RefreshGrant::Withdrawn, OnStop::Leave));
    assert_eq!(account.journal, Path::new("conf/nirantar-main.journal.db"));
    assert_eq!(account.halt_file, Path::new("conf/nirantar-main.halt"));
    assert_eq!((account.settle_paper, account.risk), (SettlePaper::Flatten, RiskLimits::default()));
    assert_eq!((account.redirect_url, account.ask_from.to_string()), (None, "07:45:00".to_owned()));
    let config = read(&with("")).unwrap();
    assert_eq!((config.server, config.alerts), (None, AlertSettings::default()));
}

#[test]
fn each_broker_has_its_own_hosts_and_key_prefix() {
    for (broker, prefix, rest, feed, login) in [
        ("kite", "ZERODHA", "https://api.kite.trade", "wss://ws.kite.trade", "https://kite.zerodha.com"),
        ("fyers", "FYERS", "https://api-t1.fyers.in", "wss://socket.fyers.in", "https://api-t1.fyers.in"),
        ("upstox", "UPSTOX", "https://api.upstox.com", "wss://api.upstox.com", "https://api.upstox.com"),
    ] {
        let account = one(&with("").replace("kite", broker));
        assert_eq!(account.broker.as_str(), broker);
        assert_eq!(account.key_prefix, prefix);
        assert_eq!(
            [&account.rest_url, &account.feed_url, &account.login_url].map(RootUrl::as_str),
            [rest, feed, login]
        );
    }
}

#[test]
fn a_short_token_lifetime_shortens_the_margin_nobody_asked_for() {
    assert_eq!(one(&with("token_ttl = \"2m\"")).renew_margin, Duration::from_secs(12));
    assert_eq!(one(&with("token_ttl = \"2h\"")).renew_margin, Duration::from_secs(300));
}

#[test]
fn loopback_needs_both_rest_and_feed_on_this_machine() {
    let account = |rest: &str, feed: &str| one(&with(&format!("rest_url = \"{rest}\"\nfeed_url = \"{feed}\"")));
    assert!(account("http://127.0.0.1:1", "ws://127.0.0.1:1").loopback);
    assert!(!account("https://api.kite.trade", "ws://127.0.0.1:1").loopback);
    assert!(!account("http://127.0.0.1:1", "wss://ws.kite.trade").loopback);
}

#[test]
fn the_example_at_the_root_is_a_good_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nirantar.toml.example");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut outside = furnished();
    outside.variables.insert("NIRANTAR_TELEGRAM_TOKEN", "123456:hunter2");
    let check = |text: &str| Config::read(text, Path::new("conf/nirantar.toml"), &outside);
    assert_eq!(check(&text).unwrap().accounts.len(), 1, "as it stands");

    // Every key it explains is a known one with a value that is accepted: `#key = value` is a setting left out.
    let settings: String = text
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix('#').filter(|s| !s.starts_with(' ')).unwrap_or(line)))
        .collect();
    let config = check(&settings).unwrap();
    assert_eq!(
        config.server,
        Some(ServerSettings { public_url: Some("https://trade.example.in".to_owned()), ..ServerSettings::default() })
    );
    assert!(config.alerts.telegram.is_some());
    assert!(config.accounts[2].approval);
    let paper = &config.accounts[1];
    assert_eq!(
        paper.instruments,
        [InstrumentKey::new(Exchange::Nse, "RELIANCE"), InstrumentKey::new(Exchange::Nse, "NIFTY 50")]
    );
    assert!(paper.loopback);
    assert_eq!(paper.token_ttl, Some(Duration::from_secs(7_200)));
    assert_eq!(config.accounts[0].renew_at, [NaiveTime::from_hms_opt(8, 45, 0).unwrap()]);
    let command = config.accounts[0].external_command.as_ref().unwrap();
    assert_eq!((command.program.as_path(), command.arguments.len()), (Path::new("conf/./login.sh"), 1));
    for key in account::KEYS.into_iter().filter(|key| *key != "risk").chain(trading::RISK_KEYS) {
        assert!(settings.lines().any(|line| line.starts_with(&format!("{key} ="))), "{key} is not explained");
    }
    assert!(settings.contains("\n[account.risk]\n"));
    let risk = &config.accounts[0].risk;
    assert_eq!((risk.order_value, risk.price_band), (Some(Money::from_rupees(500_000)), Some(500)));
}

#[test]
fn risk_limits_are_exact() {
    let risk = one(&with(
        "[account.risk]\norder_value = 2_50_000.5\norder_quantity = 1_000\nprice_band = 2.75\nopen_orders = 20\n\
         position = +500\ndaily_loss = 25000",
    ))
    .risk;
    let expected = RiskLimits {
        order_value: Some("250000.50".parse().unwrap()),
        order_quantity: Some(Quantity::new(1_000)),
        price_band: Some(275),
        open_orders: Some(20),
        position: Some(Quantity::new(500)),
        daily_loss: Some(Money::from_rupees(25_000)),
    };
    assert_eq!(risk, expected);
    for band in ["\"5%\"", "\"5 %\"", "5", "5.0", "5.00"] {
        let account = one(&with(&format!("risk = {{ price_band = {band} }}")));
        assert_eq!(account.risk.price_band, Some(500), "{band}");
    }
}

#[test]
fn a_journal_or_a_halt_is_nothing_elses_file() {
    let two = |first: &str, second: &str| {
        let other = "[[account]]\nname = \"other\"\nbroker = \"kite\"\nkey_prefix = \"OTHER\"";
        format!("{}{other}\n{second}\n", with(first))
    };
    assert_eq!(read(&two("", "")).unwrap().accounts.len(), 2, "the defaults differ by name");
    for (text, place, said) in [
        (
            two("journal = \"j.db\"", "journal = \"j.db\""),
            "conf/nirantar.toml:5: journal: ",
            "conf/j.db is already the journal of the account main at line 1",
        ),
        (two("halt_file = \"h\"", "halt_file = \"h\""), "conf/nirantar.toml:5: halt_file: ", "the halt file of"),
        (with("journal = \"x\"\nhalt_file = \"x\""), "conf/nirantar.toml:1: halt_file: ", "the journal of"),
        (with("journal = \".env\""), "conf/nirantar.toml:1: journal: ", "a store of the account main"),
        (with("halt_file = \"nirantar.toml\""), "conf/nirantar.toml:1: halt_file: ", "this configuration"),
        (two("", "journal = \"nirantar-main.journal.db\""), "conf/nirantar.toml:5: journal: ", "of the account main"),
    ] {
        let shown = read(&text).unwrap_err().to_string();
        assert!(shown.starts_with(place) && shown.contains(said), "{text}: {shown}");
    }
    // Through a link too.
    let mut outside = furnished();
    outside.links.insert("conf/a.db", "conf/b.db");
    let text = two("journal = \"a.db\"", "journal = \"b.db\"");
    let error = Config::read(&text, Path::new("conf/nirantar.toml"), &outside).unwrap_err();
    assert!(matches!(error.problem, Problem::FileTaken { .. }), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nirantar.toml");
    let error = Config::load(&file).unwrap_err();
    assert!(matches!(error.problem, Problem::Unreadable(_)), "{error}");
    assert!(error.to_string().starts_with(&format!("{}: cannot be read: ", file.display())), "{error}");
    assert!(matches!(Config::load(folder.path()).unwrap_err().problem, Problem::Unreadable(_)), "a folder");

    std::fs::write(&file, b"[[account]]\nname = \"\xff\"\n").unwrap();
    let shown = Config::load(&file).unwrap_err().to_string();
    assert_eq!(shown, format!("{}:2: is not TOML: it is not UTF-8", file.display()));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "(\\[\\[account\\]\\]\n)?(.{0,20}\n){0,6}") {
        let _ = read(&text);
    }

    #[test]
    fn any_value_of_any_key_is_read_without_a_panic(key in prop::sample::select(&account::KEYS[2..]), value in ".{0,40}") {
        let _ = read(&with(&format!("{key} = {value}")));
        let _ = read(&with(&format!("{key} = '''{value}'''")));
        let _ = read(&with(&format!("{key} = ['''{value}''']")));
    }

    #[test]
    fn any_value_of_any_limit_is_read_without_a_panic(key in prop::sample::select(&trading::RISK_KEYS[..]), value in "[-+0-9._e\"%a-z]{0,24}") {
        let _ = read(&with(&format!("[account.risk]\n{key} = {value}")));
    }
}
