//! Writing to stdout and stderr. A closed pipe is the reader's choice, never our panic: `println!` would make it one.

use std::io::Write as _;

/// One or more lines on stdout.
pub(super) fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // Nobody reads any more: nothing is left to be done about it.
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// One line on stderr.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
