//! The refresh token before the one in use, kept beside its store.
//!
//! A rotated refresh token whose successor turns out bad, or never reached the broker's books, is the only way back
//! without a human. Promise: the file is 0600 from its first byte, replaced in one step, and never holds more than the
//! last one of each account.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nirantar_brokers::Secret;

use super::env::EnvFormat;
use super::file::{beside, folder_of, follow, private_file, read_if_there, sync_folder};
use super::{Change, Format as _, StoreError};

/// Ending of the backup's name.
const ENDING: &str = "refresh.previous";

/// Where the backup of the store that is the file `real` is, once there is one. A `.gitignore` that names the store does
/// not cover it.
pub(crate) fn backup_of(real: &Path) -> PathBuf {
    beside(real, ENDING)
}

/// Writes `token` into `.NAME.refresh.previous` beside the file that `path` leads to, as `LABEL_REFRESH_TOKEN=…`. What the
/// accounts that share the store have there stays. Call it under the store's lock.
pub(super) fn keep(path: &Path, label: &str, token: Secret) -> Result<(), StoreError> {
    let real = follow(path)?.real;
    let backup = backup_of(&real);
    let format = EnvFormat::new(label);
    let change = Change { refresh_token: Some(token), ..Change::default() };
    let before = read_if_there(&backup).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
    let before = Secret::new(before.unwrap_or_default());
    // A backup that somebody spoilt is no reason to have none.
    let after = format.apply(before.expose(), &change).or_else(|_| format.apply("", &change));
    let after = after.map_err(|flaw| StoreError::flaw(&backup, before.fingerprint(), flaw))?;
    write(&real, &backup, &Secret::new(after)).map_err(|error| StoreError::not_writable(&backup, &error))
}

fn write(real: &Path, backup: &Path, text: &Secret) -> io::Result<()> {
    let folder = folder_of(backup);
    let mut file = private_file(folder, real)?;
    file.write_all(text.expose().as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(backup).map_err(|failed| failed.error)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nirantar_brokers::AccessToken;

    use super::super::{EnvStore, FileStore, JsonFormat, Store as _};
    use super::*;

    fn refresh(token: &str) -> Change {
        Change { refresh_token: Some(Secret::new(token)), ..Change::default() }
    }

    #[test]
    fn the_refresh_token_before_is_kept_privately_and_each_account_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let backup = folder.path().join(".env.refresh.previous");
        let (fyers, upstox) =
            (EnvStore::new(&path, EnvFormat::new("FYERS")), EnvStore::new(&path, EnvFormat::new("UPSTOX")));
        fyers.write(&refresh("f1")).unwrap();
        upstox.write(&refresh("u1")).unwrap();
        assert!(!backup.exists(), "nothing was replaced yet");
        for (store, token) in [(&fyers, "f2"), (&upstox, "u2"), (&fyers, "f3"), (&fyers, "f3")] {
            assert_eq!(store.write(&refresh(token)).unwrap().not_backed_up, None);
        }
        assert_eq!(fs::read_to_string(&backup).unwrap(), "FYERS_REFRESH_TOKEN=f2\nUPSTOX_REFRESH_TOKEN=u1\n");
        let access = Change { access_token: Some(AccessToken::new("a")), ..Change::default() };
        fyers.write(&access).unwrap();
        assert!(fs::read_to_string(&backup).unwrap().contains("=f2"), "an access token alone replaces none");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&backup, fs::Permissions::from_mode(0o644)).unwrap();
            fyers.write(&refresh("f4")).unwrap();
            assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_backup_that_cannot_be_kept_is_said_and_does_not_stop_the_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let store = FileStore::new(&path, JsonFormat::tokens());
        store.write(&refresh("one")).unwrap();
        fs::create_dir(folder.path().join(".tokens.json.refresh.previous")).unwrap();
        let written = store.write(&refresh("two-hunter2")).unwrap();
        let reason = written.not_backed_up.clone().unwrap();
        assert!(reason.contains(".tokens.json.refresh.previous: cannot be written"), "{reason}");
        assert!(!format!("{reason} {written:?}").contains("hunter2"));
        assert_eq!(store.read().unwrap().refresh_token, Some(Secret::new("two-hunter2")));
    }
}
