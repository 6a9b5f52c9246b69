//! Why a command could not do its work: one line each, which says what to mend.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::NaiveDate;
use nirantar_brokers::{ClientOrderId, InstrumentKey, OrderStatus};
use nirantar_exchange_mock::prices::ReplayError;

use crate::alerts::BadSink;
use crate::config::ConfigError;
use crate::engine::StartError;

/// Why a command ended with exit code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Alerts cannot be sent.
    #[error(transparent)]
    Alerts(#[from] BadSink),
    /// A recording cannot be replayed.
    #[error("--replay: {0}")]
    Replay(#[from] ReplayError),
    /// A recording cannot begin.
    #[error("--out: {0}")]
    Record(#[from] crate::feed::RecordError),
    /// The account has no feed that could be recorded.
    #[error(
        "account {account}: there is nothing to record: its broker's feed is not spoken, or the configuration has no \
         `instruments` for it"
    )]
    NothingToRecord {
        /// Which.
        account: String,
    },
    /// The disk took no more of a recording.
    #[error("--out: {}: {why}: what was written before is whole", file.display())]
    RecordingFailed {
        /// The file.
        file: PathBuf,
        /// The system's words.
        why: String,
    },
    /// Nobody here knows that instrument.
    #[error("--replay {}={symbol}: `{symbol}` is not an instrument here: expected one of {known}", file.display())]
    UnknownSymbol {
        /// The recording.
        file: PathBuf,
        /// What was asked for.
        symbol: String,
        /// All there are.
        known: String,
    },
    /// Two recordings of one instrument.
    #[error("--replay: {instrument} is replayed twice, from {} and from {}", first.display(), second.display())]
    ReplayedTwice {
        /// Of what.
        instrument: InstrumentKey,
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Recordings of different days cannot be one market.
    #[error("--replay: {} is of {second}, the one before it of {first}: replays must be of one day", file.display())]
    DifferentDays {
        /// The later one.
        file: PathBuf,
        /// Its day.
        second: NaiveDate,
        /// The day of the others.
        first: NaiveDate,
    },
    /// A calendar makes no sense.
    #[error("--calendar: {0}")]
    Calendar(#[from] nirantar_exchange_mock::calendar::CalendarError),
    /// A list of instruments makes no sense.
    #[error("--instruments: {file}: {why}", file = file.display())]
    Instruments {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A recording of another day under today's clock.
    #[error("--wall-clock: the replay is of {replay}, and today is {today}: leave --wall-clock out")]
    NotToday {
        /// Its day.
        replay: NaiveDate,
        /// Today's, in India.
        today: NaiveDate,
    },
    /// An option of another broker's server.
    #[error("{option}: the server of {broker} has no use for it: leave it out")]
    NotOfThisBroker {
        /// Which.
        option: &'static str,
        /// Of which broker.
        broker: &'static str,
    },
    /// Faults that cannot be read.
    #[error("--faults: {place}{problem}")]
    Faults {
        /// The file, if it is one.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The address cannot be listened on.
    #[error("--listen: cannot listen on {address}: {reason}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The system's words.
        reason: io::Error,
    },
    /// An environment variable is not what it must be. Its value is never shown.
    #[error("environment variable {name}: {problem}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An engine does not start.
    #[error("account {account}: {reason}")]
    Start {
        /// Of which account.
        account: String,
        /// Why.
        reason: StartError,
    },
    /// The login server does not start.
    #[error("[server]: {0}")]
    Server(#[from] crate::server::ServerError),
    /// It was not said which account.
    #[error("--account: say which account: expected one of {known}")]
    WhichAccount {
        /// Those there are.
        known: String,
    },
    /// An account's broker has no login page.
    #[error(
        "account {account}: its broker has no login page: write a new token into the store with `nirantar token set`"
    )]
    NoLoginPage {
        /// Which.
        account: String,
    },
    /// What was pasted is not the address a login came back to.
    #[error("--paste: expected the whole address that the browser shows after the login, {0}")]
    NoAddress(&'static str),
    /// A login could not be finished. Nothing was written.
    #[error("account {account}: {reason}")]
    Login {
        /// Of which account.
        account: String,
        /// Why.
        reason: crate::engine::LoginError,
    },
    /// A login was not finished, because its token could not be kept. Nothing was spent.
    #[error(
        "account {account}: the login was not finished, because its token could not be kept: {reason}; the code in the \
         address is not spent: mend that, and paste the same address again within some minutes"
    )]
    NotKept {
        /// Of which account.
        account: String,
        /// Why, in words.
        reason: String,
    },
    /// A client for the broker cannot be made.
    #[error("account {account}: {reason}")]
    Client {
        /// Of which account.
        account: String,
        /// Why, in words.
        reason: String,
    },
    /// The sandbox could not play its day.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] crate::token::store::StoreError),
    /// There is no token on standard input.
    #[error("standard input: expected one line with the token, {0}")]
    NoToken(&'static str),
    /// There is no such account.
    #[error("--account: there is no account `{name}`: expected one of {known}")]
    NoAccount {
        /// What was asked for.
        name: String,
        /// All there are.
        known: String,
    },
    /// `init` does not know for which guide, and there is nobody to ask.
    #[error("--guide: expected one of {known}")]
    NoGuide {
        /// All there are.
        known: String,
    },
    /// `init` would overwrite something.
    #[error("{}: is there already, and stays as it is: give --force to replace it, or --file to write another", file.display())]
    FileThere {
        /// The file.
        file: PathBuf,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written: {reason}", file.display())]
    NotWritten {
        /// The file.
        file: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
    /// Several accounts, and nobody said which.
    #[error("say which accounts, or --all: expected some of {known}")]
    WhichAccounts {
        /// Those there are.
        known: String,
    },
    /// There is no account of a name that was given. Nothing was done for any.
    #[error("there is no account `{name}`: expected some of {known}; nothing was changed")]
    NoSuchAccount {
        /// What was asked for.
        name: String,
        /// All there are.
        known: String,
    },
    /// An account's halt could not be written or taken away.
    #[error(
        "account {account}: {} cannot be changed: {reason}; {instead}",
        file.display()
    )]
    Halt {
        /// Of which account.
        account: String,
        /// Its halt file.
        file: PathBuf,
        /// The system's words.
        reason: io::Error,
        /// What helps instead.
        instead: &'static str,
    },
    /// A journal cannot be used. Nothing was changed.
    #[error("account {account}: {reason}")]
    Journal {
        /// Of which account.
        account: String,
        /// Why, and what to do.
        reason: crate::orders::JournalError,
    },
    /// No journal has that order.
    #[error("there is no order {id} in the journal of {accounts}: `nirantar orders --all` lists every order")]
    NoSuchOrder {
        /// Its number.
        id: ClientOrderId,
        /// The accounts that were looked at.
        accounts: String,
    },
    /// Only an unresolved order is acknowledged.
    #[error("order {id} is {status}: only an unresolved order is acknowledged; {next}")]
    NotUnresolved {
        /// Its number.
        id: ClientOrderId,
        /// What it is.
        status: OrderStatus,
        /// What to do instead.
        next: &'static str,
    },
    /// Somebody has done it.
    #[error("order {id} has been acknowledged already: nothing was changed")]
    AcknowledgedBefore {
        /// Its number.
        id: ClientOrderId,
    },
    /// The engine that runs writes the journal, and nobody else may.
    #[error("account {account}: nirantar is running and writes this journal itself: {ask}")]
    Running {
        /// Of which account.
        account: String,
        /// What to do.
        ask: String,
    },
    /// A day that has not begun has no report.
    #[error("--date: {date} has not begun: today is {today} in India")]
    NotYet {
        /// What was asked for.
        date: NaiveDate,
        /// Today's, in India.
        today: NaiveDate,
    },
    /// The system refuses something a program can expect.
    #[error("the system does not let it {0}: {1}")]
    System(&'static str, io::Error),
}
