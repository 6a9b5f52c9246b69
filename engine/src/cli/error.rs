//! Why a command could not do its work: one line each, which says what to mend.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::NaiveDate;
use nirantar_brokers::InstrumentKey;
use nirantar_exchange_mock::prices::ReplayError;

use crate::config::ConfigError;
use crate::engine::StartError;

/// Why a command ended with exit code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A recording cannot be replayed.
    #[error("--replay: {0}")]
    Replay(#[from] ReplayError),
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
    /// A recording of another day under today's clock.
    #[error("--wall-clock: the replay is of {replay}, and today is {today}: leave --wall-clock out")]
    NotToday {
        /// Its day.
        replay: NaiveDate,
        /// Today's, in India.
        today: NaiveDate,
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
    /// The system refuses something a program can expect.
    #[error("the system does not let it {0}: {1}")]
    System(&'static str, io::Error),
}
