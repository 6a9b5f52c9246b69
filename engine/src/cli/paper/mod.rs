//! `nirantar paper report`: a day of the paper book, from what the account's journal tells.
//!
//! Promises: it changes nothing and needs no token, whether an engine runs or not; the same journal always gives the same
//! report; what a trade cost is never left out silently.

mod day;
mod export;
mod show;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::NaiveDate;
use clap::Args;
use nirantar_brokers::time::{Clock as _, SystemClock};

use super::orders::chosen;
use super::{CliError, print};
use crate::config::{Config, OrderFiles};
use crate::orders::read_records;
use day::Day;

/// A day of the paper book: orders, trades, positions, charges and profit
///
/// Reads each account's journal, also while nirantar runs, and changes nothing. The paper account is put together again
/// from every paper fill up to that day (it began with 1000000.00): shares bought are delivered on the next trading day,
/// and each day's charges are those in force on that day at the account's broker, item by item. The journal has no
/// prices of the market: an open position is valued at the price it was last traded at on paper. Margins are a
/// percentage of value, not SPAN.
///
/// --json prints {"accounts": [{account, journal, exists, date, broker, orders, trades, positions, settlements, holdings,
/// charges: {columns, total}, uncharged, profit: {realised, unrealised, charges, net}, funds}]}. Prices and sums are decimal texts
/// in rupees, times are RFC 3339 in IST, and what is not known is null. Fields are added, never changed. --csv prints one
/// row for each order, trade, position, settlement, charge and sum; the column `section` says which.
///
/// Examples:
///   nirantar paper report
///   nirantar paper report --account main --date 2026-11-20
///   nirantar paper report --csv > day.csv
///   nirantar paper report --json | jq '.accounts[].profit.net'
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ReportArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
    /// Only this account; all of them if it is not given
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The trading day, in India; today if it is not given
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = date)]
    date: Option<NaiveDate>,
    /// Print one JSON object on stdout
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV on stdout, with a header
    #[arg(long)]
    csv: bool,
}

/// What one account's journal tells of the day.
struct Told {
    account: String,
    journal: PathBuf,
    /// `None` where there is no journal yet.
    day: Option<Day>,
}

/// Shows the day.
pub(super) fn report(arguments: &ReportArgs) -> Result<ExitCode, CliError> {
    let now = SystemClock::start().now().wall;
    let today = now.ist_date();
    let date = arguments.date.unwrap_or(today);
    if date > today {
        return Err(CliError::NotYet { date, today });
    }
    let told = |OrderFiles { account, broker, journal, .. }: OrderFiles| {
        let day = match journal.try_exists() {
            Ok(false) => None,
            // What cannot be looked at is explained by the one who reads it.
            Ok(true) | Err(_) => {
                let failed = |reason| CliError::Journal { account: account.clone(), reason };
                let records = read_records(&journal).map_err(failed)?;
                Some(Day::of(&records, broker, date, now))
            }
        };
        Ok(Told { account, journal, day })
    };
    let files = chosen(Config::order_files(&arguments.config)?, arguments.account.as_deref())?;
    let told = files.into_iter().map(told).collect::<Result<Vec<_>, CliError>>()?;
    if arguments.json {
        print::say(&show::object(&told, date).to_string());
    } else if arguments.csv {
        print::say(export::csv(&told).trim_end_matches('\n'));
    } else {
        print::say(show::text(&told, date).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn date(text: &str) -> Result<NaiveDate, String> {
    let read = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    read.ok_or_else(|| "expected a date like 2026-11-20".to_owned())
}
