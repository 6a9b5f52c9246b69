//! Whether a store could be written, found out without writing to it.
//!
//! For whoever must know before something is spent that cannot be had back (the one-use code of a login), and for the
//! doctor. Promise: nothing is left behind.

use std::fs;
use std::io;
use std::path::Path;

use super::{folder_of, follow};

/// What a write would meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    /// Why it would fail; `None` if nothing speaks against it.
    pub(crate) unwritable: Option<String>,
    /// Whether the file would be overwritten, because it cannot be replaced.
    pub(crate) in_place: bool,
    /// Who a new file there would belong to, where the system has owners and a file can be made.
    pub(crate) owner: Option<u32>,
}

/// Tries it at the file that `path` leads to.
pub(crate) fn trial(path: &Path) -> Trial {
    // Through links, to where a write would go.
    let real = follow(path).map_or_else(|_| path.to_owned(), |followed| followed.real);
    let made = make_beside(&real);
    let owner = made.as_ref().ok().and_then(|made| owner(made.path()));
    let unwritable = if real.exists() {
        let opened = fs::OpenOptions::new().append(true).open(&real);
        opened.err().map(|error| format!("{}: {}", real.display(), plain(&error)))
    } else {
        made.as_ref().err().cloned()
    };
    Trial { in_place: unwritable.is_none() && made.is_err(), unwritable, owner }
}

/// Makes a file beside the store, as writing to it does; it is gone with the value.
fn make_beside(real: &Path) -> Result<tempfile::NamedTempFile, String> {
    let mut folder = folder_of(real);
    // A folder that is not there yet is made by the first write.
    while !folder.exists() {
        let above = folder_of(folder);
        if above == folder {
            break;
        }
        folder = above;
    }
    let made = tempfile::Builder::new().prefix(".nirantar-trial-").tempfile_in(folder);
    made.map_err(|error| format!("{}: {}", folder.display(), plain(&error)))
}

/// The system's own words, without the path that `tempfile` adds.
pub(crate) fn plain(error: &io::Error) -> String {
    let code = error.raw_os_error().or_else(|| {
        let inner = error.get_ref().and_then(std::error::Error::source);
        inner.and_then(|inner| inner.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error)
    });
    code.map_or_else(|| error.to_string(), |code| io::Error::from_raw_os_error(code).to_string())
}

/// The user a file belongs to.
#[cfg(unix)]
pub(crate) fn owner(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).ok().map(|data| data.uid())
}

/// The user a file belongs to: not known here.
#[cfg(not(unix))]
pub(crate) fn owner(_: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_told_from_what_cannot_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        for store in [path.clone(), folder.path().join("not/there/yet/tokens.json")] {
            let found = trial(&store);
            assert!(found.unwritable.is_none() && !found.in_place, "{found:?}");
        }
        fs::write(&path, "A=1\n").unwrap();
        assert_eq!(trial(&path).unwritable, None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // A folder where the file should be, and a file where the folder should be.
        for store in [folder.path().to_owned(), path.join("tokens.json")] {
            assert!(trial(&store).unwritable.is_some(), "{}", store.display());
        }
    }
}
