//! The halt file, as whoever halts sees it: its first word is `halted` or `reduce-only`, then when and why.
//!
//! Promise: what cannot be understood is a halt. Only a file that is surely not there is none.

use std::io::{self, Write as _};
use std::path::Path;

use nirantar_brokers::time::Timestamp;

use crate::session::TradingMode;
use crate::token::store::folder_of;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Halt {
    /// What orders may do.
    pub(crate) mode: TradingMode,
    /// Its text in one line, as it stands there.
    pub(crate) words: String,
}

/// Most bytes of the file that are looked at.
const LONGEST: usize = 500;

/// What stands there; `None` where there is no such file.
pub(crate) fn read(path: &Path) -> Option<Halt> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let words = format!("halted ({} is there and cannot be read: {error})", path.display());
            return Some(Halt { mode: TradingMode::Halted, words });
        }
    };
    let text = String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(&bytes)).replace(char::is_control, " ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mode = if words.first() == Some(&"reduce-only") { TradingMode::ReduceOnly } else { TradingMode::Halted };
    Some(Halt { mode, words: if words.is_empty() { "halted".to_owned() } else { words.join(" ") } })
}

/// Writes it, whole or not at all, readable by its owner alone, and surely on the disk when it returns.
///
/// # Errors
/// The system's words: nothing was written.
pub(super) fn write(path: &Path, mode: TradingMode, at: Timestamp, why: &str) -> io::Result<()> {
    let word = if mode == TradingMode::ReduceOnly { "reduce-only" } else { "halted" };
    let folder = folder_of(path);
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{word}\nsince {} IST\n{why}", at.to_ist().format("%Y-%m-%d %H:%M:%S"))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name has to last too.
    std::fs::File::open(folder)?.sync_all()
}

/// Takes it away. Where there is none it is well.
///
/// # Errors
/// The system's words: it is still there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_understood_is_a_halt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("halt");
        assert_eq!(read(&path), None);
        for (bytes, mode) in [
            (&b""[..], TradingMode::Halted),
            (b"reduce-only since noon", TradingMode::ReduceOnly),
            (b"\xff\xfe", TradingMode::Halted),
            (b"resume", TradingMode::Halted),
            (b"reduce-onlyx", TradingMode::Halted),
            (b"\n\nreduce-only", TradingMode::ReduceOnly),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap().mode, mode, "{bytes:?}");
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(read(&path).unwrap().mode, TradingMode::Halted, "a folder is no permission");
    }

    #[cfg(unix)]
    #[test]
    fn it_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("halt");
        let at = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        write(&path, TradingMode::Halted, at, "a test").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().words, "halted since 2026-11-20 10:00:00 IST a test");
    }
}
