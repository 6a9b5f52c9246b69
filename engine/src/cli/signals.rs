//! The wish to end: Ctrl-C, or SIGTERM from whoever supervises the process.

use super::CliError;

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Ctrl-C or SIGTERM: end.
    End,
    /// SIGUSR1: the operator says that live trading may go on.
    GoOn,
}

/// Watches for the wish from when it is made, so that none is missed while a command starts.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    go_on: tokio::signal::unix::Signal,
}

impl Signals {
    /// Starts to watch. Within a tokio runtime.
    ///
    /// # Errors
    /// [`CliError::System`]: the system does not allow it.
    #[cfg(unix)]
    pub(super) fn watch() -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let watch = |kind| signal(kind).map_err(|error| CliError::System("watch for signals", error));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            go_on: watch(SignalKind::user_defined1())?,
        })
    }

    /// Starts to watch.
    #[cfg(not(unix))]
    pub(super) fn watch() -> Result<Self, CliError> {
        Ok(Self {})
    }

    /// Waits for the next word from outside.
    pub(super) async fn next(&mut self) -> Word {
        #[cfg(unix)]
        {
            tokio::select! {
                _ = self.interrupt.recv() => Word::End,
                _ = self.terminate.recv() => Word::End,
                _ = self.go_on.recv() => Word::GoOn,
            }
        }
        #[cfg(not(unix))]
        {
            self.wait().await;
            Word::End
        }
    }

    /// Waits for the first of those that end the command.
    pub(super) async fn wait(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
