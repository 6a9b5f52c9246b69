//! Lock files beside a store.
//!
//! Promise: a lock is held by one handle at a time among all threads and processes of the machine that lock the same
//! file (`flock` on Linux), and is freed by the kernel when its holder dies. Lock files are never deleted: whoever
//! deleted one could split the waiters into two crowds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use nirantar_brokers::{Fingerprint, Secret};

use super::single_flight::RenewalLock;
use super::store::{StoreError, beside, cannot_replace, folder_of, follow};

/// Refresh tokens that are remembered as spent; the oldest is forgotten.
const MOST_SPENT: usize = 16;
/// Far more than those take.
const MOST_BYTES: u64 = 1_024;

/// The lock that is held through a renewal (rule 2): `.NAME.renew.lock` (one dot in front) beside the file the store's
/// path leads to. Where that folder forbids it (a file mounted into a folder of somebody else's) it is a file in a folder
/// of this user's own (mode 0700) in the temporary folder, named after the store's path: still one lock for all programs of
/// the user who see the same folders, and none that another user can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLock {
    store: PathBuf,
}

impl FileLock {
    /// The renewal lock of the store at `store`. Touches nothing yet.
    #[must_use]
    pub fn of(store: impl Into<PathBuf>) -> Self {
        Self { store: store.into() }
    }
}

impl RenewalLock for FileLock {
    type Held = Held;
    type Error = StoreError;

    /// Takes the lock if it is free, without waiting: blocking threads cannot be cancelled, and a renewal elsewhere may
    /// take its whole timeout.
    fn acquire(&self) -> Result<Option<Held>, StoreError> {
        let real = follow(&self.store)?.real;
        let place = beside(&real, "renew.lock");
        let tried = match try_lock(&place) {
            // The store's folder is made with its first write; the lock comes before that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(folder_of(&real)).and_then(|()| try_lock(&place))
            }
            other => other,
        };
        let tried = match tried {
            // A full disk must not keep a living session from being renewed: the temporary folder may be another disk.
            Err(error) if cannot_replace(&error) || error.kind() == io::ErrorKind::StorageFull => {
                elsewhere(&std::env::temp_dir(), &real).and_then(|place| try_lock(&place))
            }
            other => other,
        };
        tried.map_err(|error| StoreError::NotWritable {
            path: self.store.clone(),
            reason: format!("the renewal lock beside it cannot be taken: {error}"),
        })
    }
}

/// The lock's name where there is no place beside the store.
///
/// Not under `XDG_RUNTIME_DIR`: a login shell has it and cron has not, and the two must meet at one lock.
fn elsewhere(temporary: &Path, real: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(real).unwrap_or_else(|_| real.to_owned());
    let Fingerprint(number) = Fingerprint::of(&path.to_string_lossy());
    Ok(own_folder(temporary)?.join(format!("{number:08x}.renew.lock")))
}

/// A folder that is this user's alone, made if it is not there. Its name can be guessed, so what is there is looked at.
#[cfg(unix)]
fn own_folder(temporary: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    let me = tempfile::tempfile_in(temporary)?.metadata()?.uid();
    let folder = temporary.join(format!("nirantar-{me}"));
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    // The name itself: a link could lead to anybody's.
    let found = std::fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != me {
        let words = format!("{} is no folder of this user's own", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    if found.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(folder)
}

/// The temporary folder, which is each user's own here.
#[cfg(not(unix))]
fn own_folder(temporary: &Path) -> io::Result<PathBuf> {
    Ok(temporary.to_owned())
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it frees the lock"]
pub struct Held {
    file: File,
}

impl Held {
    /// Whether a renewal under this lock has used that refresh token up. A store that holds it was overwritten with an
    /// older copy.
    #[must_use]
    pub fn is_spent(&self, refresh_token: &Secret) -> bool {
        let wanted = refresh_token.fingerprint().to_string();
        self.spent().is_ok_and(|spent| spent.contains(&wanted))
    }

    /// Writes down, in the lock file, that a renewal has used that refresh token up. Of the token only its fingerprint is
    /// written, and of all of them the last sixteen.
    ///
    /// # Errors
    /// The lock file cannot be written: others may try that refresh token once more, and are refused.
    pub fn note_spent(&mut self, refresh_token: &Secret) -> io::Result<()> {
        // A file that makes no sense is begun anew.
        let mut spent = self.spent().unwrap_or_default();
        spent.push(refresh_token.fingerprint().to_string());
        let first = spent.len().saturating_sub(MOST_SPENT);
        let text = spent.split_off(first).join("\n");
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(u64::try_from(text.len()).unwrap_or(0))
    }

    fn spent(&self) -> io::Result<Vec<String>> {
        let mut text = String::new();
        let mut file = &self.file;
        file.rewind()?;
        file.take(MOST_BYTES).read_to_string(&mut text)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// Takes the lock file at `path`, which is made if it is not there. `None`: somebody holds it.
pub(super) fn try_lock(path: &Path) -> io::Result<Option<Held>> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    lock(options.open(path)?)
}

/// Takes the lock on an open file. `None`: somebody holds it.
pub(super) fn lock(file: File) -> io::Result<Option<Held>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(Held { file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nirantar_brokers::AccessToken;

    use super::super::single_flight::{Flight, single_flight};
    use super::super::store::{Change, EnvFormat, EnvStore, Store as _};
    use super::*;

    #[test]
    fn the_renewal_lock_has_one_holder_even_in_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FileLock::of(folder.path().join(".env"));
        let held = lock.acquire().unwrap().unwrap();
        assert!(lock.acquire().unwrap().is_none());
        assert!(lock.clone().acquire().unwrap().is_none());
        drop(held);
        assert!(lock.acquire().unwrap().is_some());
        assert!(folder.path().join(".env.renew.lock").exists());
    }

    #[test]
    fn the_next_holder_of_the_lock_knows_which_refresh_tokens_are_spent() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FileLock::of(folder.path().join(".env"));
        let token = |number: usize| Secret::new(format!("hunter{number}"));
        let mut held = lock.acquire().unwrap().unwrap();
        assert!(!held.is_spent(&token(0)));
        for number in 0..=MOST_SPENT {
            held.note_spent(&token(number)).unwrap();
        }
        drop(held);
        let held = lock.acquire().unwrap().unwrap();
        assert!(!held.is_spent(&token(0)), "forgotten");
        assert!((1..=MOST_SPENT).all(|number| held.is_spent(&token(number))));
        assert!(!held.is_spent(&token(99)));
        let written = std::fs::read(folder.path().join(".env.renew.lock")).unwrap();
        assert!(!String::from_utf8(written).unwrap().contains("hunter"));
        drop(held);
        std::fs::write(folder.path().join(".env.renew.lock"), [0xff; 5_000]).unwrap();
        let mut held = lock.acquire().unwrap().unwrap();
        assert!(!held.is_spent(&token(1)));
        held.note_spent(&token(1)).unwrap();
        assert!(held.is_spent(&token(1)), "what makes no sense is begun anew");
    }

    #[cfg(unix)]
    #[test]
    fn two_names_of_one_store_share_one_lock() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".env", folder.path().join("other")).unwrap();
        let _held = FileLock::of(folder.path().join(".env")).acquire().unwrap().unwrap();
        assert!(FileLock::of(folder.path().join("other")).acquire().unwrap().is_none());
    }

    #[test]
    fn rule_2_threads_over_one_real_file_renew_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "ZERODHA_ACCESS_TOKEN=dead\n").unwrap();
        let seen = BTreeSet::from([Fingerprint::of("dead")]);
        let renewals = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let store = EnvStore::new(&path, EnvFormat::new("ZERODHA"));
                    let token = loop {
                        match single_flight(&FileLock::of(&path), || store.read(), &seen).unwrap() {
                            Flight::Busy => std::thread::yield_now(),
                            Flight::Take(stored) => break stored.access_token,
                            Flight::Renew(held) => {
                                renewals.fetch_add(1, Ordering::Relaxed);
                                let access_token = Some(AccessToken::new("renewed"));
                                let written = store.write(&Change { access_token, ..Change::default() }).unwrap();
                                drop(held);
                                break written.stored.access_token;
                            }
                        }
                    };
                    assert_eq!(token, Some(AccessToken::new("renewed")));
                });
            }
        });
        assert_eq!(renewals.into_inner(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn where_the_folder_forbids_a_lock_file_there_is_still_one_lock() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let lock = FileLock::of(folder.path().join(".env"));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
        let (held, second) = (lock.acquire().unwrap(), lock.acquire().unwrap());
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        if folder.path().join(".env.renew.lock").exists() {
            println!("skipped in part: root may write into any folder");
        } else {
            let place = elsewhere(&std::env::temp_dir(), &folder.path().join(".env")).unwrap();
            std::fs::remove_file(place).unwrap();
        }
        assert!(held.is_some() && second.is_none());
    }

    #[cfg(unix)]
    #[test]
    fn the_lock_elsewhere_is_in_a_folder_that_no_other_user_can_enter_or_put_there() {
        use std::os::unix::fs::PermissionsExt as _;
        let temporary = tempfile::tempdir().unwrap();
        let store = Path::new("/mounted/.env");
        let place = elsewhere(temporary.path(), store).unwrap();
        let own = place.parent().unwrap();
        let mode = || std::fs::metadata(own).unwrap().permissions().mode() & 0o777;
        assert_eq!((own.parent(), mode()), (Some(temporary.path()), 0o700));
        std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(elsewhere(temporary.path(), store).unwrap(), place, "one lock for all who ask");
        assert_eq!(mode(), 0o700);
        assert_ne!(elsewhere(temporary.path(), Path::new("/mounted/other.env")).unwrap(), place);

        std::fs::remove_dir(own).unwrap();
        std::os::unix::fs::symlink("/tmp", own).unwrap();
        let error = elsewhere(temporary.path(), store).unwrap_err().to_string();
        assert!(error.contains("no folder of this user's own"), "{error}");
    }

    #[test]
    fn the_lock_comes_before_the_stores_own_folder_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FileLock::of(folder.path().join("data/upstox_tokens.json"));
        let _held = lock.acquire().unwrap().unwrap();
        assert!(lock.acquire().unwrap().is_none());
    }

    #[test]
    fn a_lock_that_cannot_be_made_names_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let store = file.join(".env");
        let error = FileLock::of(&store).acquire().unwrap_err();
        let expected = format!("{}: cannot be written: the renewal lock", store.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}
