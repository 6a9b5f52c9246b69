//! `nirantar exchange`: a broker's wire protocol over the paper exchange, as a server for any client.

mod fyers;
mod upstox;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use clap::Args;
use nirantar_brokers::kite::wire::instruments as dump;
use nirantar_brokers::time::{Clock, OffsetClock, SystemClock, Timestamp};
use nirantar_brokers::{Instrument, Secret};
use nirantar_exchange_mock::kite::{Control, FaultRule, KiteServer, NewLogin, OldSocket, Refresh, Settings};
use nirantar_exchange_mock::matching::Latency;
use nirantar_exchange_mock::{Calendar, Latencies, SquareOff, universe};

use super::market::{Market, ReplayArg, last_trading_day};
use super::signals::Signals;
use super::{CliError, log, print};
use crate::config::{BrokerName, EXPECTED_LATENCY, parse_latency};
use crate::timetables::{CHANGED, Timetables, left_as_it_was};

/// Where the api secret is looked for.
const SECRET_VARIABLE: &str = "NIRANTAR_EXCHANGE_SECRET";
const SECRET: &str = "nirantar-secret";

/// Serve a paper exchange over a broker's own wire protocol
///
/// REST, login page and WebSocket stand on one address, and take the broker's official SDKs as clients. The login page
/// approves at once and redirects with a request token. The market clock starts at 10:00 IST, whatever the hour, and
/// runs at the pace of real time; prices are a seeded walk, or a replay of a recorded day. Prints `listening on ADDR` on
/// stderr once it accepts, and ends with Ctrl-C or SIGTERM.
///
/// While it runs, this machine may make things go wrong:
///   curl -d fault=no-reply@1 http://ADDR/nirantar/control    a fault, written as for --fault
///   curl -d kill-token=1     http://ADDR/nirantar/control    every living token dies now
///   curl -d clear=all        http://ADDR/nirantar/control    faults end
///   curl http://ADDR/nirantar/log                            what was sent, numbered
///
/// Of fyers (PIN 1234) and upstox only the sessions are served, with a login page that asks; there --fault, --replay,
/// --old-socket, --connections and --no-rate-limits are of no use. What goes wrong is thrown as
///   curl -d fault=renew=lost-reply@1 -d rotate=1 http://ADDR/nirantar/control    fyers: ROUTE=WHAT[@COUNT]; a renewal
///                                                                              is acted on and its answer lost
///   curl -d fault=orders=401:UDAPI100050@3 http://ADDR/nirantar/control    upstox: TARGET=STATUS[:CODE][@COUNT]
///   curl -d notifier-url=URL -d approve=1  http://ADDR/nirantar/control    upstox: the human grants what was asked
///
/// Examples:
///   nirantar exchange --broker kite --listen 127.0.0.1:8080
///   nirantar exchange --broker fyers --listen 127.0.0.1:8082 --api-key ABCDE12345-100 --wall-clock
///   nirantar exchange --broker upstox --listen 127.0.0.1:8081 --refresh works
///   nirantar exchange --broker kite --listen 127.0.0.1:8080 --replay "NIFTY.csv=NIFTY 50" --token-dies-at 10:05:00
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ExchangeArgs {
    /// Whose wire protocol to speak: kite, fyers or upstox
    #[arg(long, value_name = "NAME", value_parser = broker)]
    broker: BrokerName,
    /// Address to listen on, like 127.0.0.1:8080; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: SocketAddr,
    /// A recorded day (CSV: timestamp,ltp,volume; IST) as the prices of SYMBOL, like RELIANCE, "NIFTY 50" or
    /// BSE:SENSEX; may be repeated. A FILE of nirantar record is known by its first bytes: with =SYMBOL its ticks of
    /// SYMBOL, without it those of every instrument known here. What is not replayed moves by a seeded walk
    #[arg(long, value_name = "FILE[=SYMBOL]", verbatim_doc_comment)]
    replay: Vec<ReplayArg>,
    /// Every token issued before that time of day (IST, market clock) dies then
    #[arg(long, value_name = "HH:MM:SS", value_parser = time_of_day)]
    token_dies_at: Option<NaiveTime>,
    /// Something that goes wrong from the start on; may be repeated. One of token-exception, permission-exception,
    /// permission-data, throttle or throttle=DURATION, no-reply, reply-cut, reset=before, reset=after, reset=accepted,
    /// garbage, timed-out or timed-out=accepted, late=DURATION, 500, 502, 503, 504 (each also =orders or =accepted),
    /// socket-cut, socket-mute, slow=DURATION, book-delay=DURATION, halt or halt=TOKEN, widen=TICKS or
    /// widen=TICKS:TOKEN, reject, freeze, duplicate, reorder; any with @COUNT, like no-reply@1
    #[arg(long, value_name = "NAME[=ARG]", verbatim_doc_comment)]
    fault: Vec<FaultRule>,
    /// Api key that clients must use
    #[arg(long, value_name = "KEY", default_value = "nirantar")]
    api_key: String,
    /// Environment variable that holds the api secret (a secret never stands in a process list); without it
    /// NIRANTAR_EXCHANGE_SECRET if that is set, or else the secret is nirantar-secret
    #[arg(long, value_name = "VAR", verbatim_doc_comment)]
    api_secret_env: Option<String>,
    /// User who owns the account
    #[arg(long, value_name = "ID", default_value = "NR0001")]
    user_id: String,
    /// What a new login does to the token before it: kills or keeps
    #[arg(long, value_name = "WHAT", default_value_t)]
    new_login: NewLogin,
    /// What becomes of a socket whose token died: cut, mute or lives
    #[arg(long, value_name = "WHAT", default_value_t)]
    old_socket: OldSocket,
    /// How many sockets may be open at once; a further handshake is answered 429 (kite) [default: 3]
    #[arg(long, value_name = "N")]
    connections: Option<u16>,
    /// Whether refresh tokens are given out and work: works or withdrawn
    #[arg(long, value_name = "WHAT", default_value_t)]
    refresh: Refresh,
    /// Where the login page sends the browser, with the request token added
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1/")]
    redirect_url: String,
    /// Follow real time instead of starting at 10:00: outside trading hours the market is closed
    #[arg(long)]
    wall_clock: bool,
    /// Time of day (IST) at which the market clock starts, instead of 10:00
    #[arg(long, value_name = "HH:MM:SS", value_parser = time_of_day, conflicts_with = "wall_clock")]
    start_at: Option<NaiveTime>,
    /// Sessions and holidays in place of the built-in ones: a CSV file whose first line may be `built-in`. A change of
    /// it is taken up within a minute; prices that are made up keep to the sessions of the start
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    calendar: Option<PathBuf>,
    /// Instruments besides the built-in ones: a dump as the broker's /instruments gives it (CSV)
    #[arg(long, value_name = "FILE")]
    instruments: Option<PathBuf>,
    /// Close intraday (MIS) positions at 15:10 (shares) and 15:25, and take no new ones after that
    #[arg(long)]
    square_off: bool,
    /// How long orders are on their way to the market, in market time, like 40ms or from 20ms..80ms (kite)
    #[arg(long, value_name = "LATENCY", value_parser = latency)]
    order_latency: Option<Latency>,
    /// How long prices and what becomes of orders are on their way back, written likewise: an order meets the prices that
    /// its sender sees after both (kite)
    #[arg(long, value_name = "LATENCY", value_parser = latency, verbatim_doc_comment)]
    data_latency: Option<Latency>,
    /// Do not enforce the broker's rate limits
    #[arg(long)]
    no_rate_limits: bool,
    /// Seed of everything made up: prices, tokens, order numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Serves until it is told to end.
pub(super) async fn exchange(arguments: ExchangeArgs) -> Result<ExitCode, CliError> {
    let api_secret = api_secret(arguments.api_secret_env.as_deref(), |name| std::env::var(name).ok())?;
    match arguments.broker {
        BrokerName::Kite => {}
        BrokerName::Fyers => return fyers::serve(arguments, api_secret).await,
        BrokerName::Upstox => return upstox::serve(arguments, api_secret).await,
    }
    let (timetables, calendar) = match arguments.calendar.clone() {
        Some(file) => Timetables::load(file).map(|(file, calendar)| (Some(file), calendar))?,
        None => (None, Calendar::nse()),
    };
    let real = SystemClock::start();
    let today = real.now().wall.ist_date();
    let day = if arguments.wall_clock { today } else { last_trading_day(today, &calendar) };
    let market = Market::load(&arguments.replay, arguments.seed, day, &calendar)?;
    let clock: Arc<dyn Clock> = if arguments.wall_clock {
        if market.date != today {
            return Err(CliError::NotToday { replay: market.date, today });
        }
        Arc::new(real)
    } else {
        let start = arguments.start_at.map(|time| Timestamp::from_ist_parts(market.date, time));
        Arc::new(OffsetClock::starting_at(start.unwrap_or_else(|| market.ten_o_clock())))
    };
    log::start(Arc::clone(&clock), log::Default::Info)?;
    let mut signals = Signals::watch()?;
    let instruments = arguments.instruments.as_deref().map(|file| instruments(file, market.date)).transpose()?;
    let trades_today = calendar.is_trading_day(market.date);
    let defaults = Settings::default();
    let settings = Settings {
        calendar,
        instruments,
        square_off: arguments.square_off.then(SquareOff::default),
        latency: Latencies {
            order_entry: arguments.order_latency.unwrap_or_default(),
            market_data: arguments.data_latency.unwrap_or_default(),
        },
        api_key: arguments.api_key,
        api_secret,
        user_id: arguments.user_id,
        redirect_url: arguments.redirect_url,
        new_login: arguments.new_login,
        old_socket: arguments.old_socket,
        connections: arguments.connections.map_or(defaults.connections, usize::from),
        refresh: arguments.refresh,
        token_dies_at: arguments.token_dies_at,
        faults: arguments.fault,
        rate_limits: !arguments.no_rate_limits,
        seed: arguments.seed,
        ..defaults
    };
    for (instrument, first, last) in &market.replayed {
        tracing::info!("{instrument} is replayed, {first} to {last} IST");
    }
    if !trades_today {
        tracing::warn!("the market is closed on {}: only what is replayed has prices", market.date);
    }
    let address = arguments.listen;
    let started = KiteServer::start(address, settings, Arc::clone(&clock), market.prices).await;
    let server = started.map_err(|reason| CliError::Listen { address, reason })?;
    tracing::info!("the market shows {} IST", clock.now().wall);
    print::complain(&format!("listening on {}", server.addr()));
    let control = server.control();
    tokio::select! {
        () = signals.wait() => {}
        () = follow(timetables, &control, &*clock) => {}
    }
    server.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Takes up what the calendar's file says whenever it has changed. Ends never.
async fn follow(timetables: Option<Timetables>, control: &Control, clock: &dyn Clock) {
    let Some(mut file) = timetables else { return std::future::pending().await };
    loop {
        drop(clock.sleep_until(file.next_look()).await);
        match file.changed(clock.now()) {
            None => {}
            Some(Ok(calendar)) => {
                tracing::warn!("{CHANGED}");
                control.set_calendar(calendar);
            }
            Some(Err(error)) => tracing::error!("{}", left_as_it_was(&error)),
        }
    }
}

/// The built-in instruments, and those of a dump, of which every row must be tradable as it stands. Of one that is in both
/// the dump's row counts: the exchange takes the last.
fn instruments(file: &Path, date: NaiveDate) -> Result<Vec<Instrument>, CliError> {
    let bad = |why: String| CliError::Instruments { file: file.to_owned(), why };
    let bytes = std::fs::read(file).map_err(|why| bad(format!("cannot be read: {why}")))?;
    let dump = dump::read(&bytes).map_err(|why| bad(why.to_string()))?;
    universe::check(&dump.instruments, &[]).map_err(|why| bad(why.to_string()))?;
    let mut all = universe::instruments(date);
    all.extend(dump.instruments);
    Ok(all)
}

/// The secret of the variable that was named, of the usual one, or the default.
fn api_secret(named: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Secret, CliError> {
    let value = |name: &str| variable(name).filter(|value| !value.is_empty());
    match named {
        Some(name) => value(name).map(Secret::new).ok_or_else(|| CliError::Variable {
            name: name.to_owned(),
            problem: "--api-secret-env names it, and it is not set",
        }),
        None => Ok(Secret::new(value(SECRET_VARIABLE).unwrap_or_else(|| SECRET.to_owned()))),
    }
}

/// Real time, or from 10:00 of the last trading day on: a server of sessions needs no prices to know that.
fn sessions_clock(arguments: &ExchangeArgs) -> Arc<dyn Clock> {
    let real = SystemClock::start();
    if arguments.wall_clock {
        return Arc::new(real);
    }
    let ten = NaiveTime::from_hms_opt(10, 0, 0).unwrap_or_default();
    let day = last_trading_day(real.now().wall.ist_date(), &Calendar::nse());
    Arc::new(OffsetClock::starting_at(Timestamp::from_ist_parts(day, ten)))
}

/// Refuses the options that mean something to a market only: none is silently forgotten.
fn without_market(arguments: &ExchangeArgs) -> Result<(), CliError> {
    let given = [
        ("--replay", !arguments.replay.is_empty()),
        ("--fault", !arguments.fault.is_empty()),
        ("--connections", arguments.connections.is_some()),
        ("--old-socket", arguments.old_socket != OldSocket::default()),
        ("--no-rate-limits", arguments.no_rate_limits),
        ("--start-at", arguments.start_at.is_some()),
        ("--calendar", arguments.calendar.is_some()),
        ("--instruments", arguments.instruments.is_some()),
        ("--square-off", arguments.square_off),
        ("--order-latency", arguments.order_latency.is_some()),
        ("--data-latency", arguments.data_latency.is_some()),
    ];
    let broker = arguments.broker.as_str();
    let first = given.into_iter().find(|(_, given)| *given);
    first.map_or(Ok(()), |(option, _)| Err(CliError::NotOfThisBroker { option, broker }))
}

fn broker(text: &str) -> Result<BrokerName, String> {
    let known = || BrokerName::ALL.map(BrokerName::as_str).join(", ");
    let found = BrokerName::ALL.into_iter().find(|broker| broker.as_str() == text);
    found.ok_or_else(|| format!("there is no broker of that name: expected {}", known()))
}

fn latency(text: &str) -> Result<Latency, String> {
    parse_latency(text).ok_or_else(|| format!("expected {EXPECTED_LATENCY}"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    const EXPECTED: &str = "expected HOST:PORT, like 127.0.0.1:8080";
    match text.to_socket_addrs() {
        Ok(mut found) => found.next().ok_or_else(|| EXPECTED.to_owned()),
        Err(_) => Err(EXPECTED.to_owned()),
    }
}

fn time_of_day(text: &str) -> Result<NaiveTime, String> {
    let read = NaiveTime::parse_from_str(text, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
    read.map_err(|_| "expected a time of day like 10:05:00".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use nirantar_exchange_mock::kite::Fault;

    use super::*;

    /// What that line says.
    pub(super) fn arguments(broker: &str, more: &[&str]) -> ExchangeArgs {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: ExchangeArgs,
        }
        let line = ["nirantar", "--broker", broker, "--listen", "127.0.0.1:0"];
        Line::try_parse_from(line.iter().chain(more)).unwrap().arguments
    }

    #[test]
    fn the_secret_comes_from_the_named_variable_the_usual_one_or_the_default() {
        let set = |name: &str| match name {
            SECRET_VARIABLE => Some("usual".to_owned()),
            "MINE" => Some("mine".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        assert_eq!(api_secret(Some("MINE"), set).unwrap().expose(), "mine");
        assert_eq!(api_secret(None, set).unwrap().expose(), "usual");
        assert_eq!(api_secret(None, |_| None).unwrap().expose(), SECRET);
        for name in ["EMPTY", "UNSET"] {
            assert!(api_secret(Some(name), set).unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn the_help_lists_every_fault_there_is() {
        let command = super::super::Cli::command();
        let exchange = command.find_subcommand("exchange").unwrap();
        let fault = exchange.get_arguments().find(|argument| argument.get_id() == "fault").unwrap();
        let help = fault.get_help().unwrap().to_string().replace('\n', " ");
        assert!(help.contains(Fault::HELP), "{help}");
    }

    #[test]
    fn a_dump_is_refused_with_the_row_named_that_could_not_be_traded() {
        let date = "2026-11-20".parse().unwrap();
        let mut listed = universe::instruments(date);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), dump::write(&listed)).unwrap();
        let all = instruments(file.path(), date).unwrap();
        assert_eq!(all.len(), 2 * listed.len(), "the dump's rows come last, and count");
        listed[1].tick = nirantar_brokers::Price::ZERO;
        std::fs::write(file.path(), dump::write(&listed)).unwrap();
        let error = instruments(file.path(), date).unwrap_err().to_string();
        assert!(error.contains("instrument 2, NSE:TCS: its tick size is 0.00"), "{error}");
    }

    #[test]
    fn addresses_and_times_read_as_they_are_written() {
        assert_eq!(address("127.0.0.1:0").unwrap().port(), 0);
        assert!(address("localhost:81").unwrap().ip().is_loopback());
        for bad in ["", "8080", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(address(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
        assert_eq!(time_of_day("10:05"), time_of_day("10:05:00"));
        assert!(time_of_day("25:00:00").is_err());
        assert_eq!(latency("40ms").unwrap().least.as_millis(), 40);
        assert!(latency("fast").unwrap_err().contains("20ms..80ms"));
    }
}
