//! The `nirantar` command: what it takes, what it prints, and with which code it ends.
//!
//! Promises: what goes wrong is one line on stderr that names file, line and key where there are any, and exit code 2;
//! no argument has to hold a secret, since everybody on the machine can read a process list; whoever closes the other end
//! of stdout ends the output and nothing else.

mod doctor;
mod error;
mod exchange;
mod halt;
mod init;
mod log;
mod market;
mod orders;
mod paper;
mod print;
mod record;
mod run;
mod sandbox;
mod signals;
mod simulate;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use error::CliError;

use crate::config::BrokerName;

/// Exit code of a command that could not do its work.
const FAILED: u8 = 2;

/// Keeps a trading engine running when the broker's login dies.
///
/// A broker token in India lives less than a day. Nirantar owns the session: it watches and proves tokens, keeps one
/// live feed across them, sends orders to the broker while there is a good token, to a paper exchange while there is
/// none, and comes back without losing, repeating or mixing up an order.
#[derive(Debug, Parser)]
#[command(
    name = "nirantar",
    bin_name = "nirantar",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sandbox(sandbox::SandboxArgs),
    Simulate(simulate::SimulateArgs),
    Exchange(exchange::ExchangeArgs),
    Run(run::RunArgs),
    Record(record::RecordArgs),
    Init(init::InitArgs),
    Doctor(doctor::DoctorArgs),
    Orders(orders::OrdersArgs),
    /// Look at the paper book.
    #[command(subcommand, arg_required_else_help = true)]
    Paper(PaperCommand),
    Halt(halt::HaltArgs),
    Resume(halt::ResumeArgs),
    /// Look after the accounts' tokens.
    #[command(subcommand, arg_required_else_help = true)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
enum PaperCommand {
    Report(paper::ReportArgs),
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Status(token::StatusArgs),
    Set(token::SetArgs),
    Login(token::LoginArgs),
    Refresh(token::RefreshArgs),
    Watch(token::WatchArgs),
}

/// Runs the command with the process' own arguments and says how it ended: 0 when all is well, 2 when it could not do
/// its work. `token status` ends with 1 when some token is not live.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&CliError::System("start its threads", error)),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Sandbox(arguments) => sandbox::sandbox(arguments).await,
            Command::Simulate(arguments) => simulate::simulate(&arguments),
            Command::Exchange(arguments) => exchange::exchange(arguments).await,
            Command::Run(arguments) => run::run(&arguments).await,
            Command::Record(arguments) => record::record(arguments).await,
            Command::Doctor(arguments) => doctor::doctor(&arguments).await,
            Command::Orders(arguments) => orders::orders(&arguments),
            Command::Paper(PaperCommand::Report(arguments)) => paper::report(&arguments),
            Command::Halt(arguments) => halt::halt(&arguments),
            Command::Resume(arguments) => halt::resume(&arguments),
            Command::Init(arguments) => init::init(&arguments),
            Command::Token(TokenCommand::Status(arguments)) => token::status(&arguments).await,
            Command::Token(TokenCommand::Refresh(arguments)) => token::refresh(&arguments).await,
            Command::Token(TokenCommand::Watch(arguments)) => token::watch(&arguments).await,
            Command::Token(TokenCommand::Set(arguments)) => token::set(&arguments),
            Command::Token(TokenCommand::Login(arguments)) => token::login(&arguments).await,
        }
    });
    match ended {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &CliError) -> ExitCode {
    print::complain(&format!("nirantar: {error}"));
    ExitCode::from(FAILED)
}

/// Help goes to stdout, anything else is one line on stderr.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print::say(error.render().to_string().trim_end());
        return ExitCode::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        print::complain(error.render().to_string().trim_end());
        return ExitCode::from(FAILED);
    }
    print::complain(&format!("nirantar: {} (see `nirantar --help`)", one_line(&error.render().to_string())));
    ExitCode::from(FAILED)
}

/// clap's paragraphs without those that repeat the usage, in one line.
fn one_line(rendered: &str) -> String {
    let rendered = rendered.strip_prefix("error: ").unwrap_or(rendered);
    let said = |paragraph: &&str| !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information");
    let paragraphs = rendered.split("\n\n").map(str::trim).filter(said);
    let lines = paragraphs.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("; ")
}

/// Brokers whose whole wire is served here.
const SERVED: [BrokerName; 1] = [BrokerName::Kite];

/// Reads the name of a broker that can be served.
fn broker(text: &str) -> Result<BrokerName, String> {
    let known = SERVED.map(BrokerName::as_str).join(", ");
    let found = SERVED.into_iter().find(|broker| broker.as_str() == text);
    found.ok_or_else(|| format!("there is no exchange of that broker here: expected {known}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound_and_every_option_has_a_help_text() {
        Cli::command().debug_assert();
        let mut waiting = vec![Cli::command()];
        while let Some(command) = waiting.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            waiting.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn a_wrong_argument_is_one_line_that_names_it() {
        for (arguments, expected) in [
            (&["exchange", "--broker", "kite", "--listen", "1.2.3.4:5", "--fualt", "503"][..], "--fualt"),
            (&["exchange", "--broker", "nobody", "--listen", "1.2.3.4:5"], "expected kite"),
            (&["exchange", "--broker", "kite"], "--listen"),
            (&["exchange", "--broker", "kite", "--listen", "1.2.3.4:5", "--fault", "fire"], "is not a fault"),
            (&["exchange", "--broker", "kite", "--listen", "1.2.3.4:5", "--token-dies-at", "25:00"], "25:00"),
            (&["exchange", "--broker", "kite", "--listen", "1.2.3.4:5", "--old-socket", "burn"], "cut or mute"),
            (&["exchange", "--broker", "kite", "--listen", "1.2.3.4:5", "--replay", "a.csv"], "FILE=SYMBOL"),
            (&["token", "stat"], "stat"),
        ] {
            let error = Cli::try_parse_from(std::iter::once(&"nirantar").chain(arguments)).unwrap_err();
            let line = one_line(&error.render().to_string());
            assert!(line.contains(expected), "{line}");
            assert!(!line.contains('\n') && !line.contains("Usage:"), "{line}");
        }
    }
}
