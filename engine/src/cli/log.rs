//! The log: on stderr, in Indian time by the command's own clock, filtered by `NIRANTAR_LOG`.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;

use nirantar_brokers::time::Clock;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::CliError;

/// The variable that says what is logged: `info`, or `warn,nirantar::feed=debug`.
const VARIABLE: &str = "NIRANTAR_LOG";

/// Starts to log. Meant to be called once; a second call changes nothing.
///
/// # Errors
/// [`CliError::Variable`] for a filter that makes no sense.
pub(super) fn start(clock: Arc<dyn Clock>, default: Default) -> Result<(), CliError> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) => filter(&text, default)?,
        Err(std::env::VarError::NotPresent) => default.filter(),
        Err(std::env::VarError::NotUnicode(_)) => return Err(bad()),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(Ist(clock))
        .with_target(false)
        .log_internal_errors(false);
    // Somebody who embeds us may have a log already: theirs stays.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    Ok(())
}

/// What is logged when nobody asks for anything else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// The log is how the command speaks.
    Info,
    /// The command speaks for itself.
    Silent,
}

impl Default {
    fn filter(self) -> Targets {
        Targets::new().with_default(match self {
            Self::Info => LevelFilter::INFO,
            Self::Silent => LevelFilter::OFF,
        })
    }
}

fn filter(text: &str, default: Default) -> Result<Targets, CliError> {
    if text.trim().is_empty() {
        return Ok(default.filter());
    }
    text.parse().map_err(|_| bad())
}

fn bad() -> CliError {
    let problem = "not a filter: expected a level (error, warn, info, debug, trace), or a list like \
                   warn,nirantar::feed=debug";
    CliError::Variable { name: VARIABLE.to_owned(), problem }
}

/// What a wall clock in India shows, to the millisecond.
#[derive(Debug)]
struct Ist(Arc<dyn Clock>);

impl FormatTime for Ist {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", self.0.now().wall.to_ist().format("%Y-%m-%d %H:%M:%S%.3f"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_a_list_and_nonsense_is_refused() {
        let debug = filter("warn,nirantar::feed=debug", Default::Info).unwrap();
        assert!(debug.would_enable("nirantar::feed::socket", &tracing::Level::DEBUG));
        assert!(!debug.would_enable("nirantar::orders", &tracing::Level::INFO));
        assert!(filter(" ", Default::Info).unwrap().would_enable("nirantar", &tracing::Level::INFO));
        assert!(filter("nirantar=loud", Default::Info).unwrap_err().to_string().contains("NIRANTAR_LOG"));
    }
}
