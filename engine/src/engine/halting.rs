//! The kill switch as a file: while it is there trading is halted, over every restart, and any program can halt by writing
//! it.
//!
//! Its first word says how: `reduce-only` lets exits through; anything else, also an empty or unreadable file, halts all.
//! What follows is for humans: since when, and why. The engine looks before it starts anything; what its operator says by
//! API is written there too.
//!
//! Promise: a second after the file was written no new order is taken, and what works is being cancelled. The engine looks
//! before it takes an order, and every second while something is open that could be cancelled; when there is nothing to
//! halt it looks less often, so that its nights stay quiet. A file that cannot be written or removed changes nothing about
//! what the operator said, and is said aloud.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};

use super::task::Task;
use crate::core::{Core, Event, Input};
use crate::session::{Operator, TradingMode};
use crate::token::store::folder_of;

/// How often the file is looked at, by the engine's clock, while something is open; and never more often than that.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while nothing is open, in trading hours and outside them.
const IDLE: Duration = Duration::from_secs(10);
const CLOSED: Duration = Duration::from_secs(60);
/// Of a file of somebody else's making, so much is read.
const MOST_READ: usize = 4096;

/// The first word of a file that lets exits through.
const REDUCE_ONLY: &str = "reduce-only";

/// What a halt file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// What orders may do: never [`TradingMode::Active`].
    pub mode: TradingMode,
    /// Its text in one line, for a human: since when and why; or why it could not be read.
    pub words: String,
}

/// What the file at `path` says; `None` where there is none, and trading goes on. Total: whatever is there.
#[must_use]
pub fn read(path: &Path) -> Option<Halt> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(bytes.get(..MOST_READ).unwrap_or(&bytes)).replace(char::is_control, " ");
            let words: Vec<&str> = text.split_whitespace().collect();
            let mode = if words.first() == Some(&REDUCE_ONLY) { TradingMode::ReduceOnly } else { TradingMode::Halted };
            Some(Halt { mode, words: if words.is_empty() { "halted".to_owned() } else { words.join(" ") } })
        }
        // A link that leads nowhere is there, too.
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => None,
        Err(error) => Some(Halt { mode: TradingMode::Halted, words: format!("it cannot be read: {error}") }),
    }
}

/// Halts, or lets exits only through, as of now: the file is on the disk when this returns, readable by its owner only.
/// Its folder is made where there is none.
/// [`TradingMode::Active`] removes it.
///
/// # Errors
/// The file could not be written whole; an older one is as it was.
pub fn write(path: &Path, mode: TradingMode, since: Timestamp, why: &str) -> io::Result<()> {
    let word = match mode {
        TradingMode::Active => return remove(path),
        TradingMode::ReduceOnly => REDUCE_ONLY,
        TradingMode::Halted => "halted",
    };
    let why: String = why.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let text = format!("{word}\nsince {} IST\n{why}\n", since.to_ist().format("%Y-%m-%d %H:%M:%S"));
    fs::create_dir_all(folder_of(path))?;
    let fresh = beside(path);
    let written = write_new(&fresh, text.as_bytes()).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // What is left of it means nothing to anybody.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_folder(path)
}

/// Lets trading go on: the file is gone from the disk when this returns. None there is no error.
///
/// # Errors
/// It is still there, and trading stays halted.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name in the same folder, so that the rename replaces the file in one step.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

/// A new or removed name is safe only once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The halt file of a running engine.
#[derive(Debug)]
pub(super) struct HaltFile {
    path: PathBuf,
    /// What it said, or was written to say, when we last looked.
    known: TradingMode,
    looked: Monotonic,
}

impl HaltFile {
    /// Looks for the first time.
    pub(super) fn look(path: PathBuf, now: Now) -> (Self, TradingMode) {
        let found = read(&path);
        let known = found.as_ref().map_or(TradingMode::Active, |halt| halt.mode);
        if let Some(Halt { mode, words }) = found {
            let what = if mode == TradingMode::ReduceOnly { "only exits are taken" } else { "orders are halted" };
            tracing::warn!("{} is there: {what} ({words}); remove it to resume", path.display());
        }
        (Self { path, known, looked: now.mono }, known)
    }

    /// When the file is to be looked at again.
    pub(super) fn next_look(&self, core: &Core) -> Monotonic {
        let open = core.market_is_open();
        let every = match core.desk().has_open(open) {
            true => LOOK_EVERY,
            false if open => IDLE,
            false => CLOSED,
        };
        self.looked + every
    }

    /// What the operator wants by the file, if that has changed.
    fn changed(&mut self, now: Now) -> Option<Operator> {
        if now.mono < self.looked + LOOK_EVERY {
            return None;
        }
        self.looked = now.mono;
        let mode = read(&self.path).map_or(TradingMode::Active, |halt| halt.mode);
        (std::mem::replace(&mut self.known, mode) != mode).then(|| wish(mode))
    }
}

/// What an operator says who wants that.
pub(super) const fn wish(mode: TradingMode) -> Operator {
    match mode {
        TradingMode::Active => Operator::Resume,
        TradingMode::ReduceOnly => Operator::ReduceOnly,
        TradingMode::Halted => Operator::Halt,
    }
}

impl Task {
    /// Does what the file says, if that has changed. It is a few bytes on the disk that the token store is on: they are
    /// read here and not in a task of their own, so that nothing happens between the look and its consequence.
    pub(super) fn look_at_halt_file(&mut self) {
        let now = self.clock.now();
        let Some(wish) = self.halt_file.as_mut().and_then(|file| file.changed(now)) else { return };
        tracing::warn!("the halt file changed: {wish:?}");
        self.tell(Input::Operator(wish));
    }

    /// The operator has spoken by API: the file says the same from now on.
    pub(super) fn keep_halt(&mut self, wish: Operator) {
        let mode = match wish {
            Operator::Halt => TradingMode::Halted,
            Operator::ReduceOnly => TradingMode::ReduceOnly,
            Operator::Resume => TradingMode::Active,
            Operator::Renew | Operator::Confirm | Operator::Mended => return,
        };
        let at = self.clock.now().wall;
        let Some(file) = self.halt_file.as_mut() else { return };
        if read(&file.path).map_or(TradingMode::Active, |halt| halt.mode) == mode {
            file.known = mode; // it says so already, with its own reason
            return;
        }
        let path = file.path.display();
        let failed = match write(&file.path, mode, at, "the operator's word to the running engine") {
            Ok(()) => {
                file.known = mode;
                return;
            }
            Err(error) if mode == TradingMode::Active => {
                format!("trading goes on, but {path} cannot be removed ({error}): the next start would be halted")
            }
            Err(error) => {
                format!("the halt holds, but {path} cannot be written ({error}): it ends with this process")
            }
        };
        self.announce(Event::Alarm { at, words: failed });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        Timestamp::parse_ist("2026-11-20 10:00:00").unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.halt");
        assert_eq!(read(&path), None);
        for mode in [TradingMode::Halted, TradingMode::ReduceOnly] {
            write(&path, mode, at(), "a fat\nfinger").unwrap();
            let halt = read(&path).unwrap();
            assert_eq!(halt.mode, mode);
            assert!(halt.words.ends_with("since 2026-11-20 10:00:00 IST a fat finger"), "{}", halt.words);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        write(&path, TradingMode::Active, at(), "").unwrap();
        assert_eq!(read(&path), None);
        remove(&path).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.halt");
        write(&path, TradingMode::Halted, at(), "").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn whatever_else_is_there_halts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.halt");
        for bytes in [&b""[..], b"reduce", b"REDUCE-ONLY", b"resume", &[0xff, 0xfe, 0], &[b'x'; 100_000]] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap().mode, TradingMode::Halted, "{:?}", bytes.get(..10));
        }
        fs::write(&path, "  reduce-only, says Asha\n").unwrap();
        assert_eq!(read(&path).unwrap().mode, TradingMode::Halted, "not the word itself");
        fs::write(&path, "\n reduce-only since noon\n").unwrap();
        assert_eq!(read(&path).unwrap().mode, TradingMode::ReduceOnly);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(&path).unwrap().mode, TradingMode::Halted, "unreadable");
        assert!(remove(&path).is_err(), "and it stays");
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_nowhere_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.halt");
        std::os::unix::fs::symlink(folder.path().join("gone"), &path).unwrap();
        assert_eq!(read(&path).unwrap().mode, TradingMode::Halted);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.halt");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, TradingMode::Halted, at(), "").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the folder that stands in the way");
    }
}
