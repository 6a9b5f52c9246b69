//! `nirantar orders`: what the journals say of every order, and marking those that an operator has looked at.
//!
//! Promises: showing and exporting change nothing and need no token, whether an engine runs or not; only `acknowledge`
//! writes, one record, and never beside a running engine.

pub(super) mod export;
pub(super) mod show;
pub(super) mod story;
#[cfg(test)]
mod tests_support;
pub(super) mod words;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nirantar_brokers::time::{Clock as _, SystemClock};
use nirantar_brokers::{ClientOrderId, OrderStatus};

use super::{CliError, print};
use crate::config::{Config, OrderFiles};
use crate::orders::{Journal as _, JournalError, Record, SqliteJournal, What, read_records};
use crate::token::store::folder_of;
use story::{Story, stories};

/// Show every order with its whole history, live and paper apart
///
/// Reads each account's journal, also while nirantar runs, and changes nothing. Shown are the orders of today (IST) and
/// those that are not over; --all shows every day. An unknown order is one whose answer was lost: the engine looks for it
/// and never sends it again on a guess. An unresolved one was still unknown when its day ended: look for it in the broker's
/// app, then acknowledge it.
///
/// --json prints {"accounts": [{account, journal, exists, open, unknown, unresolved, orders: [...]}]}. An order is {id,
/// venue, external, status, final, acknowledged, instrument, side, quantity, type, limit, trigger, validity, product,
/// intent, filled, average_price, broker_id, message, history: [{at, what, words, detail}]}. Prices are decimal texts in
/// rupees, times are RFC 3339 in IST, and what is not known is null. Fields are added, never changed.
///
/// Examples:
///   nirantar orders
///   nirantar orders --account main --all
///   nirantar orders --json | jq '.accounts[].orders[] | select(.final | not) | {id, venue, status}'
///   nirantar orders export --output orders.csv
///   nirantar orders acknowledge N00000000070000000001
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub(super) struct OrdersArgs {
    #[command(subcommand)]
    command: Option<OrdersCommand>,
    #[command(flatten)]
    of: Of,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Orders of every day, not only today's and those that are not over
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum OrdersCommand {
    Export(ExportArgs),
    Acknowledge(AcknowledgeArgs),
}

/// Whose orders.
#[derive(Clone, Debug, Args)]
struct Of {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    config: PathBuf,
    /// Only this account; all of them if it is not given
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

/// Write every order of every day as CSV
///
/// One row an order: account, venue, id, broker_id, placed_at, updated_at, instrument, side, quantity, type, limit, trigger,
/// validity, product, intent, status, filled, average_price, external, acknowledged, message. With --history one row for
/// each record of it: account, venue, id, at, what, words. Prices are decimals in rupees, times are IST. Changes nothing.
///
/// Examples:
///   nirantar orders export --output orders.csv
///   nirantar orders export --account main --history | grep unknown
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
struct ExportArgs {
    #[command(flatten)]
    of: Of,
    /// The file to write, readable by you alone; it must not be there yet. Standard output if it is not given
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One row for each record instead of one for each order
    #[arg(long)]
    history: bool,
}

/// Say that you have looked at an unresolved order
///
/// Look for the order in the broker's own app first, and square off by hand what should not be there: from here on it counts
/// as exposure no more. While nirantar runs it writes the journal itself, and this command says what to ask it instead.
///
/// Example:
///   nirantar orders acknowledge N00000000070000000001
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
struct AcknowledgeArgs {
    /// The order's number, as `nirantar orders` shows it
    #[arg(value_name = "ID")]
    id: ClientOrderId,
    #[command(flatten)]
    of: Of,
}

/// What one account's journal tells.
struct Told {
    account: String,
    journal: PathBuf,
    /// `None` where there is no journal yet.
    stories: Option<Vec<Story>>,
}

/// Shows, exports or acknowledges.
pub(super) fn orders(arguments: &OrdersArgs) -> Result<ExitCode, CliError> {
    match &arguments.command {
        Some(OrdersCommand::Export(arguments)) => return export(arguments),
        Some(OrdersCommand::Acknowledge(arguments)) => return acknowledge(arguments),
        None => {}
    }
    let mut told = read(&arguments.of)?;
    if !arguments.all {
        let today = SystemClock::start().now().wall.to_ist().date();
        for stories in told.iter_mut().filter_map(|told| told.stories.as_mut()) {
            stories.retain(|story| story.concerns(today));
        }
    }
    if arguments.json {
        print::say(&show::object(&told).to_string());
    } else {
        print::say(show::text(&told, if arguments.all { "of any day" } else { "today" }).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn export(arguments: &ExportArgs) -> Result<ExitCode, CliError> {
    let csv = export::csv(&read(&arguments.of)?, arguments.history);
    let Some(file) = &arguments.output else {
        print::say(csv.trim_end_matches('\n'));
        return Ok(ExitCode::SUCCESS);
    };
    write_new(file, &csv).map_err(|reason| CliError::NotWritten { file: file.clone(), reason })?;
    // Its header is no row.
    print::say(&format!("wrote {} rows to {}", csv.lines().count().saturating_sub(1), file.display()));
    Ok(ExitCode::SUCCESS)
}

/// Writes the whole text or nothing, and never over something: a slip of the hand must not cost a journal.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    let mut whole = tempfile::NamedTempFile::new_in(folder_of(file))?;
    whole.write_all(text.as_bytes())?;
    whole.as_file().sync_all()?;
    whole.persist_noclobber(file).map(drop).map_err(|error| error.error)
}

fn acknowledge(arguments: &AcknowledgeArgs) -> Result<ExitCode, CliError> {
    let id = &arguments.id;
    let told = read(&arguments.of)?;
    let is_it = |story: &&Story| story.id == *id;
    let found = told.iter().find_map(|told| Some((told, told.stories.iter().flatten().find(is_it)?)));
    let Some((Told { account, journal, .. }, story)) = found else {
        let accounts = told.iter().map(|told| told.account.as_str()).collect::<Vec<_>>().join(", ");
        return Err(CliError::NoSuchOrder { id: id.clone(), accounts });
    };
    may_be_acknowledged(story)?;
    let failed = |reason| CliError::Journal { account: account.clone(), reason };
    let mut writer = match SqliteJournal::open(journal) {
        Ok(writer) => writer,
        Err(JournalError::InUse { .. }) => return Err(running(&arguments.of, account, id)),
        Err(reason) => return Err(failed(reason)),
    };
    // An engine may have come and gone since it was read.
    let records = writer.read().map_err(failed)?;
    stories(&records).iter().find(is_it).map_or(Ok(()), may_be_acknowledged)?;
    let at = SystemClock::start().now().wall;
    let record = Record { at, id: Some(id.clone()), book: story.book, what: What::Acknowledged };
    writer.append(&record).and_then(|()| writer.sync()).map_err(failed)?;
    print::say(&format!("{account}: order {id} is acknowledged: it counts as exposure no more"));
    Ok(ExitCode::SUCCESS)
}

fn may_be_acknowledged(story: &Story) -> Result<(), CliError> {
    let id = story.id.clone();
    if story.status == OrderStatus::Unresolved {
        return if story.acknowledged { Err(CliError::AcknowledgedBefore { id }) } else { Ok(()) };
    }
    let next = if story.status.is_final() {
        "there is nothing to do about it"
    } else {
        "`nirantar run` looks for it in the broker's book as soon as it has a good token"
    };
    Err(CliError::NotUnresolved { id, status: story.status, next })
}

/// What to do where the engine holds the journal.
fn running(of: &Of, account: &str, id: &ClientOrderId) -> CliError {
    let server = Config::load(&of.config).ok().and_then(|config| config.server);
    let path = format!("/api/operator/{account}/acknowledge/{id}");
    let ask = match server {
        Some(server) => {
            let secret =
                if server.secret.is_some() { " -H \"Authorization: Bearer $NIRANTAR_SERVER_SECRET\"" } else { "" };
            // The server takes no order from a web page, and this says that it is none.
            format!(
                "ask it with curl -X POST -H \"X-Nirantar: 1\"{secret} http://{}{path}",
                super::token::running::here(server.listen)
            )
        }
        None => format!("stop it, repeat this and start it again; with a [server] it takes POST {path}"),
    };
    CliError::Running { account: account.to_owned(), ask }
}

fn read(of: &Of) -> Result<Vec<Told>, CliError> {
    let told = |OrderFiles { account, journal, .. }: OrderFiles| {
        let stories = match journal.try_exists() {
            Ok(false) => None,
            // What cannot be looked at is explained by the one who reads it.
            Ok(true) | Err(_) => {
                let records = read_records(&journal);
                Some(stories(&records.map_err(|reason| CliError::Journal { account: account.clone(), reason })?))
            }
        };
        Ok(Told { account, journal, stories })
    };
    chosen(Config::order_files(&of.config)?, of.account.as_deref())?.into_iter().map(told).collect()
}

/// The one account that is named, or all.
pub(super) fn chosen(mut files: Vec<OrderFiles>, account: Option<&str>) -> Result<Vec<OrderFiles>, CliError> {
    let Some(name) = account else { return Ok(files) };
    let known = files.iter().map(|files| files.account.as_str()).collect::<Vec<_>>().join(", ");
    files.retain(|files| files.account == name);
    if files.is_empty() { Err(CliError::NoAccount { name: name.to_owned(), known }) } else { Ok(files) }
}
