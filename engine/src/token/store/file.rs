//! What every store in a file needs: reading within bounds, and replacing the file durably.
//!
//! Promise: a write leaves the old content or the new one, never a mixture, and is on the disk when it returns; a change
//! another program made is never lost, also if that program knows nothing of our lock: what it wrote over the old file
//! while that was being replaced is found there and merged. (A program that itself replaces the file between our last
//! comparison and our rename, which takes some microseconds, loses: a file system has no compare-and-rename.) Where the file
//! cannot be replaced it is overwritten, and [`Written::in_place`] says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nirantar_brokers::{Fingerprint, Secret};
use tempfile::NamedTempFile;

use super::{Change, Format, Store, StoreError, Stored, Written, backup};
use crate::token::lock::{self, Held};

/// A store is a handful of lines; what is larger is some other file.
const MAX_BYTES: u64 = 1 << 20;
/// Links from one name to the next, as Linux bounds them.
const MAX_LINKS: usize = 40;
/// How often a write starts again because another program changed the file meanwhile.
const MAX_MERGES: usize = 16;
/// How long a write waits for another writer's lock, which is held for some milliseconds.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// How often, and after which pauses, the replaced file is looked at for what another program wrote into it.
const LOOKS: u32 = 25;
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// A store in a file of some [`Format`].
#[derive(Debug)]
pub struct FileStore<F> {
    path: PathBuf,
    format: F,
}

impl<F: Format> FileStore<F> {
    /// The store at `path`. Touches nothing yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, format: F) -> Self {
        Self { path: path.into(), format }
    }

    fn parse(&self, text: &str) -> Result<Stored, StoreError> {
        self.format.parse(text).map_err(|flaw| StoreError::flaw(&self.path, Fingerprint::of(text), flaw))
    }
}

impl<F: Format> Store for FileStore<F> {
    fn read(&self) -> Result<Stored, StoreError> {
        let content = read_file(&self.path).map_err(|error| StoreError::unreadable(&self.path, &error))?;
        self.parse(text(&self.path, &content)?.expose())
    }

    fn write(&self, change: &Change) -> Result<Written, StoreError> {
        let mut stored = Stored::default();
        let mut not_backed_up = None;
        let replaced = replace(&self.path, rename, |before| {
            let after = self
                .format
                .apply(before, change)
                .map_err(|flaw| StoreError::flaw(&self.path, Fingerprint::of(before), flaw))?;
            stored = self.parse(&after)?;
            let previous = self.format.parse(before).ok().and_then(|before| before.refresh_token);
            if let Some(previous) = previous.filter(|previous| stored.refresh_token.as_ref() != Some(previous)) {
                // First, so that a crash between the two leaves the token twice and not nowhere.
                let kept = backup::keep(&self.path, &self.format.label(), previous);
                not_backed_up = kept.err().map(|error| error.to_string());
            }
            Ok(after)
        })?;
        let Replaced { in_place, merged, created } = replaced;
        Ok(Written { in_place, merged, created, not_backed_up, stored })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The file itself, which may not exist.
    pub real: PathBuf,
    /// Every name on the way, the first and the last included.
    pub names: Vec<PathBuf>,
}

/// Follows the symlinks of a file's own name, also of one that does not exist (yet).
///
/// # Errors
/// `Unreadable`: a link that cannot be read, or links in a circle.
pub fn follow(path: &Path) -> Result<Followed, StoreError> {
    let mut names = vec![path.to_owned()];
    let mut real = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&real) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&real).map_err(|error| StoreError::unreadable(path, &error))?;
                real = folder_of(&real).join(target);
                names.push(real.clone());
            }
            // What is wrong with the last name shows when it is used.
            _ => return Ok(Followed { real, names }),
        }
    }
    Err(StoreError::Unreadable { path: path.to_owned(), reason: "its symlinks lead in a circle".to_owned() })
}

/// The hidden file beside `real` that belongs to it: `.NAME.ending`, with one dot in front.
#[must_use]
pub fn beside(real: &Path, ending: &str) -> PathBuf {
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    folder_of(real).join(format!(".{}.{ending}", name.trim_start_matches('.')))
}

/// The folder a file is in; the working folder for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How a replacement went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replaced {
    in_place: bool,
    merged: bool,
    created: bool,
}

fn rename(temporary: NamedTempFile, real: &Path) -> io::Result<()> {
    temporary.persist(real).map(drop).map_err(|failed| failed.error)
}

/// Replaces the file's text by what `edit` makes of it. `edit` is called again when another program changed the file.
fn replace(
    path: &Path,
    rename: impl Fn(NamedTempFile, &Path) -> io::Result<()>,
    mut edit: impl FnMut(&str) -> Result<String, StoreError>,
) -> Result<Replaced, StoreError> {
    let not_writable = |error: io::Error| StoreError::not_writable(path, &error);
    let real = follow(path)?.real;
    let folder = folder_of(&real);
    fs::create_dir_all(folder).map_err(not_writable)?;
    let _lock = write_lock(path, &real)?;
    sweep(folder, &real);

    let mut replaced = Replaced { in_place: false, merged: false, created: false };
    // What another program wrote over the old file while we replaced it.
    let mut slipped: Option<Vec<u8>> = None;
    for _ in 0..MAX_MERGES {
        let before = read_if_there(&real).map_err(|error| StoreError::unreadable(path, &error))?;
        let after = Secret::new(match slipped.take().as_ref().or(before.as_ref()) {
            Some(content) => edit(text(path, content)?.expose())?,
            None => edit("")?,
        });
        replaced.created = before.is_none();
        if before.as_deref() == Some(after.expose().as_bytes()) {
            return Ok(replaced);
        }
        let unchanged = || read_if_there(&real).map(|now| now == before);
        let old = File::open(&real).ok();
        let swapped = temporary(folder, &real, after.expose()).and_then(|file| {
            if !unchanged()? {
                return Ok(false);
            }
            rename(file, &real)?;
            sync_folder(folder)?;
            Ok(true)
        });
        if let (Ok(true), Some(old), Some(before)) = (&swapped, old, &before) {
            let found = written_meanwhile(old, before)
                .filter(|found| text(path, found).is_ok_and(|text| edit(text.expose()).is_ok()));
            if found.is_some() {
                (slipped, replaced.merged) = (found, true);
                continue;
            }
        }
        let done = match swapped {
            Err(error) if cannot_replace(&error) => {
                replaced.in_place = true;
                overwrite(&real, after.expose(), unchanged)
            }
            other => other,
        };
        if done.map_err(not_writable)? {
            return Ok(replaced);
        }
        replaced.merged = true;
    }
    Err(StoreError::not_writable(path, &io::Error::other("another program keeps changing it")))
}

/// What another program has made of the file that was just replaced, if it changed it: it had it open already. A program
/// that has emptied it is about to write.
fn written_meanwhile(mut old: File, before: &[u8]) -> Option<Vec<u8>> {
    let mut last = None;
    for _ in 0..LOOKS {
        std::thread::sleep(LOOK_PAUSE);
        let mut now = Vec::new();
        old.rewind().ok()?;
        (&old).take(MAX_BYTES).read_to_end(&mut now).ok()?;
        if now == before {
            return None;
        }
        // Twice the same: it is done.
        if !now.is_empty() && last.as_ref() == Some(&now) {
            return Some(now);
        }
        last = Some(now);
    }
    None
}

/// An empty file of mode 0600 that is gone when it is dropped, with a name that says which store it belongs to.
pub(super) fn private_file(folder: &Path, real: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(&temporary_prefix(real)).suffix(TEMPORARY).tempfile_in(folder)
}

const TEMPORARY: &str = ".tmp";

fn temporary_prefix(real: &Path) -> std::ffi::OsString {
    beside(real, "nirantar-").file_name().unwrap_or_default().to_owned()
}

/// Takes away what a writer that was killed half way left of its new text: it holds a token. Under the lock no other
/// writer of that store is at work.
fn sweep(folder: &Path, real: &Path) {
    let prefix = temporary_prefix(real);
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(TEMPORARY.as_bytes()) {
            // What cannot be removed now is tried again at the next write.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file beside the real one with the new text, on the disk, with the mode and owner of the one it will replace. New
/// files keep the temporary's 0600.
fn temporary(folder: &Path, real: &Path, after: &str) -> io::Result<NamedTempFile> {
    let mut file = private_file(folder, real)?;
    file.write_all(after.as_bytes())?;
    if let Ok(existing) = fs::metadata(real) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, fchown};
            let ours = file.as_file().metadata()?;
            if (ours.uid(), ours.gid()) != (existing.uid(), existing.gid()) {
                // Only root may give a file away. Who may not is refused here and overwrites: that keeps the owner.
                fchown(&file, Some(existing.uid()), Some(existing.gid()))?;
            }
        }
        // After the owner, because giving a file away takes bits from its mode.
        file.as_file().set_permissions(existing.permissions())?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// A new name is on the disk only when its folder is. Where a folder cannot be opened (no leave to list it; Windows) the
/// file system is trusted to keep its order.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => folder.sync_all().map_err(|error| io::Error::other(format!("the disk failed: {error}"))),
        Err(_) => Ok(()),
    }
}

/// Whether the folder, not the moment, is what forbids a new file in it or a rename over the old one.
pub(in crate::token) fn cannot_replace(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(error.kind(), ResourceBusy | CrossesDevices | PermissionDenied | ReadOnlyFilesystem)
}

/// Writes over the old text: from the start and then cut, so that a crash half way leaves too much and not too little.
fn overwrite(real: &Path, after: &str, unchanged: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(real)?;
    if !unchanged()? {
        return Ok(false);
    }
    file.rewind()?;
    file.write_all(after.as_bytes())?;
    file.set_len(u64::try_from(after.len()).unwrap_or(u64::MAX))?;
    file.sync_all()?;
    Ok(true)
}

/// The lock every Nirantar takes before it writes that file: the lock file beside it, or, where none can be made there
/// (a folder that is not ours), the file itself, which is then never replaced either.
fn write_lock(path: &Path, real: &Path) -> Result<Option<Held>, StoreError> {
    let name = beside(real, "lock");
    for _ in 0..LOCK_TRIES {
        let tried = match lock::try_lock(&name) {
            Err(error) if cannot_replace(&error) => match OpenOptions::new().write(true).open(real) {
                Ok(file) => lock::lock(file),
                // No file and no place for one: the write itself will say so.
                Err(_) => return Ok(None),
            },
            other => other,
        };
        if let Some(held) = tried.map_err(|error| StoreError::not_writable(path, &error))? {
            return Ok(Some(held));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(StoreError::not_writable(path, &io::Error::other("another writer holds its lock")))
}

pub(super) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_file(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(content)
}

/// The text of a store's bytes, wiped when dropped.
fn text(path: &Path, content: &[u8]) -> Result<Secret, StoreError> {
    std::str::from_utf8(content).map(Secret::new).map_err(|error| {
        let good = content.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let shown = Fingerprint::of(&String::from_utf8_lossy(content));
        let flaw = super::Flaw::Malformed { line, key: None, expected: "UTF-8 text" };
        StoreError::flaw(path, shown, flaw)
    })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
