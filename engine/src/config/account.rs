//! One `[[account]]`: its keys, their defaults, and what may stand there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{NaiveTime, WeekdaySet};
use nirantar_brokers::kite::App;
use nirantar_brokers::{InstrumentKey, Mode, ParseInstrumentError, Secret};
use nirantar_exchange_mock::Latencies;
use nirantar_exchange_mock::matching::FillsFrom;

use super::broker::BrokerName;
use super::credentials::Credentials;
use super::duration::{self, parse_duration};
use super::error::{ConfigError, Problem};
use super::lifecycle::{self, RefreshGrant};
use super::schedule::{self, parse_days, parse_time};
use super::table::{At, Table};
use super::trading;
use super::url::{RootKind, RootUrl};
use crate::engine::{Command, OnStop};
use crate::orders::{RiskLimits, SettlePaper};
use crate::session::{FallbackOrders, Resume};
use crate::token::store::StorePlace;

/// Every key of `[[account]]`.
pub(super) const KEYS: [&str; 38] = [
    "name",
    "broker",
    "store",
    "key_prefix",
    "user_id",
    "api_secret",
    "app",
    "rest_url",
    "feed_url",
    "login_url",
    "instruments",
    "mode",
    "orders",
    "resume",
    "hold",
    "token_ttl",
    "renew_margin",
    "renew_at",
    "renew_days",
    "external_command",
    "external_timeout",
    "venue",
    "check_every",
    "renew_on_holidays",
    "refresh",
    "redirect_url",
    "approval",
    "on_stop",
    "ask_from",
    "journal",
    "halt_file",
    "calendar",
    "settle_paper",
    "paper_fills",
    "paper_order_latency",
    "paper_data_latency",
    "fallback_prices",
    "risk",
];

/// One account, checked.
#[derive(Clone, Debug)]
pub struct Account {
    /// Unique in the file, of `a-z`, `0-9` and `-`.
    pub name: String,
    /// Its broker.
    pub broker: BrokerName,
    /// Where its token is kept and written, resolved against the configuration's folder: the first of `stores`.
    pub store: PathBuf,
    /// Every place its token may be found in, in the order they are looked at: the first is written to, the others are
    /// fallbacks. At least one.
    pub stores: Vec<StorePlace>,
    /// What the names of its keys start with, in the store and in the environment: `ZERODHA`.
    pub key_prefix: String,
    /// What its app may do.
    pub app: App,
    /// Root of the REST service.
    pub rest_url: RootUrl,
    /// Root of the feed.
    pub feed_url: RootUrl,
    /// Root of the login page.
    pub login_url: RootUrl,
    /// Whether REST and feed are both on this machine, so that no order and no token can reach a real broker. (The
    /// login page does not count: a human opens it, no order goes there.)
    pub loopback: bool,
    /// What to subscribe to, in the file's order, without repeats.
    pub instruments: Vec<InstrumentKey>,
    /// How much of each. Full by default.
    pub mode: Mode,
    /// What becomes of a new order in Fallback.
    pub orders: FallbackOrders,
    /// How new entries start again after Fallback.
    pub resume: Resume,
    /// How long an order may be held while an attempt to renew is in flight. 2 s by default; zero holds none.
    pub hold: Duration,
    /// A token lives so long after it was issued, instead of until the broker's cut-off.
    pub token_ttl: Option<Duration>,
    /// How long before its expiry a token is renewed, where it has a lifetime. 5 min by default, always shorter than
    /// `token_ttl`.
    pub renew_margin: Duration,
    /// When to renew, IST, in order of the day. Empty: no schedule.
    pub renew_at: Vec<NaiveTime>,
    /// On which days. Monday to Friday by default.
    pub renew_days: WeekdaySet,
    /// Whether a day without trading has its scheduled renewal too. False by default.
    pub renew_on_holidays: bool,
    /// How often to look whether something is due. `None`: only when it is known to be. At least 30 s.
    pub check_every: Option<Duration>,
    /// A command that brings a new token.
    pub external_command: Option<Command>,
    /// How long that command may take before it is ended. 5 min by default.
    pub external_timeout: Duration,
    /// Whether a refresh token still buys a new access token (FYERS, Upstox; Kite says it by its app).
    pub refresh: RefreshGrant,
    /// Where the broker sends the browser after a login, exactly as it is registered with the broker: the file's, else
    /// `<PREFIX>_REDIRECT_URI`. FYERS and Upstox need it to log in.
    pub redirect_url: Option<String>,
    /// Ask for an approval on the phone by ourselves when a login is due (Upstox). False by default.
    pub approval: bool,
    /// From what time of day, IST, a human may be asked to log in. 07:45 by default.
    pub ask_from: NaiveTime,
    /// Whether every order goes to paper: `venue = "paper"`, or `<PREFIX>_SANDBOX` set to true. It chooses no URL.
    pub paper_only: bool,
    /// What becomes of resting live orders when `nirantar run` ends.
    pub on_stop: OnStop,
    /// Where its orders are written before they leave, resolved against the configuration's folder. Never that of another
    /// account.
    pub journal: PathBuf,
    /// The file that halts its trading while it is there, resolved likewise.
    pub halt_file: PathBuf,
    /// Sessions and holidays in place of the built-in ones, resolved likewise; looked at again while the engine runs.
    pub calendar: Option<PathBuf>,
    /// Whether a made-up market goes on from the last live price while there is none. False by default: no price.
    pub synthetic_prices: bool,
    /// What becomes of paper positions when live trading goes on. They are closed by default.
    pub settle_paper: SettlePaper,
    /// What fills its orders on paper, beside each other. The last price by default.
    pub paper_fills: FillsFrom,
    /// How long its paper orders take to the exchange, and prices back. Nothing by default.
    pub paper_latency: Latencies,
    /// What it risks at most. Nothing is bounded by default.
    pub risk: RiskLimits,
    /// Fewer orders a second than the broker takes, where the store asks for it (`rate_limit.burst_size`).
    pub orders_per_second: Option<u32>,
    /// Whose account it is, and the app's key.
    pub credentials: Credentials,
    /// What will not go as the user may think, one sentence each. None holds a secret.
    pub warnings: Vec<String>,
}

/// An account as the file declares it, before anything else is looked at.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// All but the credentials, which are still blank.
    pub(super) account: Account,
    /// The account's own user id, if the file says it.
    pub(super) user_id: Option<String>,
    /// The app's own secret, for those whose store has no place for it (the Kite guide's `broker-config.json`).
    pub(super) api_secret: Option<Secret>,
    /// Line of its header.
    pub(super) line: usize,
}

/// Reads one account. `folder` is the configuration's own.
pub(super) fn declared(table: &Table<'_, '_>, folder: &Path) -> Result<Declared, ConfigError> {
    const NAME: &str = "a name of a-z, 0-9 and -, at most 32 long, like \"main\"";
    let name = required(table, "name", NAME, |text| is_name(text).then(|| text.to_owned()))?;
    let known = BrokerName::ALL.map(BrokerName::as_str).join(", ");
    let broker = required(table, "broker", &format!("one of the brokers {known}"), |text| {
        BrokerName::ALL.into_iter().find(|broker| broker.as_str() == text)
    })?;
    let defaults = broker.defaults();
    let rest_url = root(table, "rest_url", RootKind::Http, defaults.rest_url)?;
    let feed_url = root(table, "feed_url", RootKind::WebSocket, defaults.feed_url)?;
    let login_url = root(table, "login_url", RootKind::Http, defaults.login_url.unwrap_or(rest_url.as_str()))?;
    let hold = table.parsed("hold", duration::EXPECTED, parse_duration)?;
    let stores = stores(table, folder)?;
    let modes = [Mode::Ltp, Mode::Quote, Mode::Full].map(|mode| (mode.as_str(), mode));
    let mode = choice(table, "mode", &modes)?.unwrap_or(Mode::Full);
    let account = Account {
        journal: trading::file(table, "journal", &name, "journal.db", folder)?,
        halt_file: trading::file(table, "halt_file", &name, "halt", folder)?,
        calendar: trading::calendar(table, folder)?,
        settle_paper: trading::settle_paper(table)?,
        paper_fills: trading::paper_fills(table, mode)?,
        paper_latency: trading::paper_latency(table)?,
        synthetic_prices: choice(table, "fallback_prices", &[("none", false), ("synthetic", true)])?
            .unwrap_or_default(),
        risk: trading::risk(table)?,
        name,
        broker,
        store: stores.first().map(|place| place.path().to_owned()).unwrap_or_default(),
        stores,
        key_prefix: key_prefix(table)?.unwrap_or_else(|| defaults.key_prefix.to_owned()),
        app: lifecycle::app(table, broker)?,
        loopback: rest_url.is_loopback() && feed_url.is_loopback(),
        rest_url,
        feed_url,
        login_url,
        instruments: instruments(table)?,
        mode,
        orders: choice(table, "orders", &[("paper", FallbackOrders::Paper), ("reject", FallbackOrders::Reject)])?
            .unwrap_or_default(),
        resume: choice(table, "resume", &[("auto", Resume::Auto), ("confirm", Resume::Confirm)])?.unwrap_or_default(),
        hold: hold.unwrap_or(Duration::from_secs(2)),
        token_ttl: table.parsed("token_ttl", "a duration above zero, like \"2h\"", |text| {
            parse_duration(text).filter(|ttl| !ttl.is_zero())
        })?,
        renew_margin: Duration::ZERO,
        renew_at: renew_at(table)?,
        renew_days: table.parsed("renew_days", schedule::EXPECTED_DAYS, parse_days)?.unwrap_or_else(schedule::weekdays),
        renew_on_holidays: table.boolean("renew_on_holidays")?.unwrap_or_default(),
        check_every: lifecycle::check_every(table)?,
        external_command: external_command(table, folder)?,
        external_timeout: lifecycle::external_timeout(table)?,
        refresh: lifecycle::refresh(table, broker)?,
        redirect_url: lifecycle::redirect_url(table)?,
        approval: lifecycle::approval(table, broker)?,
        ask_from: lifecycle::ask_from(table)?,
        paper_only: choice(table, "venue", &[("live", false), ("paper", true)])?.unwrap_or_default(),
        on_stop: choice(table, "on_stop", &[("leave", OnStop::Leave), ("cancel", OnStop::Cancel)])?.unwrap_or_default(),
        orders_per_second: None,
        credentials: Credentials::blank(),
        warnings: Vec::new(),
    };
    let renew_margin = renew_margin(table, account.token_ttl)?;
    let user_id = not_empty(table, "user_id", "the broker's id of the account's owner, like \"AB1234\"")?;
    let api_secret = api_secret(table)?;
    Ok(Declared { account: Account { renew_margin, ..account }, user_id, api_secret, line: table.line() })
}

fn required<T>(
    table: &Table<'_, '_>,
    key: &str,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ConfigError> {
    table.parsed(key, expected, read)?.ok_or_else(|| table.error(key, Problem::Missing(format!("{key} = {expected}"))))
}

pub(super) fn choice<T: Copy>(
    table: &Table<'_, '_>,
    key: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, ConfigError> {
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    table.parsed(key, &format!("one of {}", names.join(", ")), |text| {
        choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
    })
}

/// Its text is not shown.
fn api_secret(table: &Table<'_, '_>) -> Result<Option<Secret>, ConfigError> {
    const EXPECTED: &str = "the app's secret, as the broker's developer console shows it";
    let Some(text) = table.text("api_secret", EXPECTED)? else { return Ok(None) };
    let good = !text.value.trim().is_empty() && !text.value.contains('\0');
    let secret = good.then(|| Secret::new(text.value));
    secret.map(Some).ok_or_else(|| table.invalid_as("api_secret", text.offset, EXPECTED, "something else"))
}

fn not_empty(table: &Table<'_, '_>, key: &str, expected: &str) -> Result<Option<String>, ConfigError> {
    table.parsed(key, expected, |text| (!text.trim().is_empty() && !text.contains('\0')).then(|| text.to_owned()))
}

fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    letters && (1..=32).contains(&text.len())
}

fn key_prefix(table: &Table<'_, '_>) -> Result<Option<String>, ConfigError> {
    table.parsed("key_prefix", "A-Z, 0-9 and _, starting with a letter, like \"ZERODHA\"", |text| {
        let letters = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        (letters && text.starts_with(|first: char| first.is_ascii_uppercase())).then(|| text.to_owned())
    })
}

fn stores(table: &Table<'_, '_>, folder: &Path) -> Result<Vec<StorePlace>, ConfigError> {
    const EXPECTED: &str = "a path, like \".env\", or a list of paths whose first is written to";
    let Some(names) = table.text_or_texts("store", EXPECTED)? else {
        return Ok(vec![StorePlace::named(".env", folder)]);
    };
    let mut places: Vec<StorePlace> = Vec::with_capacity(names.len());
    for name in names {
        if name.value.trim().is_empty() || name.value.contains('\0') {
            return Err(table.invalid("store", &name, EXPECTED));
        }
        let place = StorePlace::named(name.value, folder);
        if places.contains(&place) {
            return Err(table.invalid_as("store", name.offset, "each place once", format!("{place} twice")));
        }
        places.push(place);
    }
    if places.is_empty() {
        let problem = Problem::Invalid { expected: EXPECTED.to_owned(), found: "an empty list".to_owned() };
        return Err(table.error_at_value("store", problem));
    }
    Ok(places)
}

fn root(table: &Table<'_, '_>, key: &str, kind: RootKind, default: &str) -> Result<RootUrl, ConfigError> {
    let expected = kind.expected();
    let given = table.text(key, expected)?;
    let (text, offset) = given.map_or((default, 0), |given| (given.value, given.offset));
    // The text is not shown: a URL is where people leave a password.
    RootUrl::parse(text, kind).ok_or_else(|| table.invalid_as(key, offset, expected, "something else"))
}

fn instruments(table: &Table<'_, '_>) -> Result<Vec<InstrumentKey>, ConfigError> {
    const EXPECTED: &str = "a list of EXCHANGE:SYMBOL, like [\"NSE:RELIANCE\", \"NSE:NIFTY 50\"]";
    let mut instruments = Vec::new();
    for text in table.texts("instruments", EXPECTED)?.unwrap_or_default() {
        let instrument: InstrumentKey = text.value.parse().map_err(|error: ParseInstrumentError| {
            table.invalid_as("instruments", text.offset, EXPECTED, format!("something else: {error}"))
        })?;
        if instruments.contains(&instrument) {
            return Err(table.invalid_as(
                "instruments",
                text.offset,
                "each instrument once",
                format!("{instrument} twice"),
            ));
        }
        instruments.push(instrument);
    }
    Ok(instruments)
}

fn renew_margin(table: &Table<'_, '_>, token_ttl: Option<Duration>) -> Result<Duration, ConfigError> {
    let given = table.text("renew_margin", duration::EXPECTED)?;
    let Some(text) = given else {
        // A short-lived token (a sandbox's) is renewed in the last tenth of its life, where 5 min would be all of it.
        let usual = Duration::from_secs(300);
        return Ok(token_ttl.map_or(usual, |ttl| usual.min(ttl / 10)));
    };
    let margin = parse_duration(text.value).ok_or_else(|| table.invalid("renew_margin", &text, duration::EXPECTED))?;
    match token_ttl {
        // Otherwise every new token would be due at once.
        Some(ttl) if margin >= ttl => Err(table.invalid("renew_margin", &text, "a duration shorter than token_ttl")),
        _ => Ok(margin),
    }
}

fn renew_at(table: &Table<'_, '_>) -> Result<Vec<NaiveTime>, ConfigError> {
    let mut times: Vec<NaiveTime> = Vec::new();
    for text in table.texts("renew_at", schedule::EXPECTED_TIME)?.unwrap_or_default() {
        let time = parse_time(text.value).filter(|time| !times.contains(time));
        times.push(time.ok_or_else(|| table.invalid("renew_at", &text, schedule::EXPECTED_TIME))?);
    }
    times.sort_unstable();
    Ok(times)
}

fn external_command(table: &Table<'_, '_>, folder: &Path) -> Result<Option<Command>, ConfigError> {
    const EXPECTED: &str = "a program and its arguments, like [\"./login.sh\", \"--quiet\"]";
    let Some(words) = table.texts("external_command", EXPECTED)? else { return Ok(None) };
    // A word is not shown: an argument may be a password.
    let refuse = |offset, found: &str| Err(table.invalid_as("external_command", offset, EXPECTED, found));
    if let Some(At { offset, .. }) = words.iter().find(|word| word.value.contains('\0')) {
        return refuse(*offset, "a zero byte");
    }
    let Some((program, arguments)) = words.split_first() else {
        return Err(table.error(
            "external_command",
            Problem::Invalid { expected: EXPECTED.to_owned(), found: "an empty list".to_owned() },
        ));
    };
    if program.value.trim().is_empty() {
        return refuse(program.offset, "an empty program");
    }
    let here = program.value.contains('/');
    Ok(Some(Command {
        program: if here { folder.join(program.value) } else { PathBuf::from(program.value) },
        arguments: arguments.iter().map(|word| word.value.to_owned()).collect(),
    }))
}
