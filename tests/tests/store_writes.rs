//! Every way a token file is written in the field is seen by the watcher, as exactly one change, on a real file.
//!
//! "Exactly one" is shown without waiting for silence: after the change a closing one is written, and the very next
//! sighting must be that one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nirantar::token::store::{Change, EnvFormat, EnvStore, Store as _, Stored};
use nirantar::token::{Sighting, Watcher, WatcherHandle};
use nirantar_brokers::AccessToken;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Far beyond the two seconds of the comparison, for a machine under load.
const DEADLINE: Duration = Duration::from_secs(20);

struct Watched {
    folder: TempDir,
    path: PathBuf,
    handle: WatcherHandle,
    sightings: mpsc::Receiver<Sighting>,
}

impl Watched {
    /// Watches `name` in a folder that `prepare` has filled.
    fn new(name: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let path = folder.path().join(name);
        let (sender, sightings) = mpsc::channel(8);
        let handle = Watcher::spawn(Arc::new(store(&path)), sender);
        Self { folder, path, handle, sightings }
    }

    fn holding_old() -> Self {
        Self::new(".env", |folder| fs::write(folder.join(".env"), env("old")).unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn next(&mut self) -> Sighting {
        let next = tokio::time::timeout(DEADLINE, self.sightings.recv()).await;
        next.expect("nothing was sighted").expect("the watcher ended")
    }

    async fn sees(&mut self, token: &str) {
        match self.next().await {
            Sighting::Changed(stored) => assert_eq!(stored.access_token, Some(AccessToken::new(token))),
            other => panic!("{other:?}"),
        }
    }

    /// Sees `new`, and nothing more of it.
    async fn sees_new_once(&mut self) {
        self.sees("new").await;
        let closing = self.at("closing.tmp");
        fs::write(&closing, env("closing")).unwrap();
        fs::rename(&closing, &self.path).unwrap();
        self.sees("closing").await;
    }
}

fn store(path: &Path) -> EnvStore {
    EnvStore::new(path, EnvFormat::new("ZERODHA"))
}

fn env(token: &str) -> String {
    format!("# Kite\nZERODHA_API_KEY=key\nZERODHA_ACCESS_TOKEN={token}\nOTHER=1\n")
}

fn change(token: &str) -> Change {
    Change { access_token: Some(AccessToken::new(token)), ..Change::default() }
}

#[cfg(unix)]
fn swap_symlink(target: &str, link: &Path) {
    let next = link.parent().unwrap().join("next.link");
    std::os::unix::fs::symlink(target, &next).unwrap();
    fs::rename(&next, link).unwrap();
}

#[tokio::test]
async fn an_editor_that_renames_is_seen() {
    let mut watched = Watched::holding_old();
    assert_eq!(watched.handle.first().as_ref().unwrap().access_token, Some(AccessToken::new("old")));
    let swap = watched.at(".env.swp");
    fs::write(&swap, env("new")).unwrap();
    fs::rename(&swap, &watched.path).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn truncate_then_write_is_seen_once() {
    let mut watched = Watched::holding_old();
    let mut file = File::create(&watched.path).unwrap();
    let text = env("new");
    let (head, tail) = text.split_at(text.find("ZERODHA_ACCESS").unwrap());
    file.write_all(head.as_bytes()).unwrap();
    file.sync_all().unwrap();
    file.write_all(tail.as_bytes()).unwrap();
    drop(file);
    watched.sees_new_once().await;
}

#[tokio::test]
async fn a_write_in_place_is_seen() {
    let mut watched = Watched::holding_old();
    OpenOptions::new().write(true).open(&watched.path).unwrap().write_all(env("new").as_bytes()).unwrap();
    watched.sees_new_once().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_swapped_symlink_is_seen() {
    let mut watched = Watched::new(".env", |folder| {
        fs::write(folder.join("monday.env"), env("old")).unwrap();
        fs::write(folder.join("tuesday.env"), env("new")).unwrap();
        std::os::unix::fs::symlink("monday.env", folder.join(".env")).unwrap();
    });
    swap_symlink("tuesday.env", &watched.path);
    watched.sees_new_once().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_swapped_folder_behind_a_symlink_is_seen_as_kubernetes_does_it() {
    let mut watched = Watched::new(".env", |folder| {
        for (day, token) in [("..monday", "old"), ("..tuesday", "new")] {
            fs::create_dir(folder.join(day)).unwrap();
            fs::write(folder.join(day).join(".env"), env(token)).unwrap();
        }
        std::os::unix::fs::symlink("..monday", folder.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/.env", folder.join(".env")).unwrap();
    });
    swap_symlink("..tuesday", &watched.at("..data"));
    watched.sees_new_once().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_change_of_a_symlinks_target_in_another_folder_is_seen() {
    let mut watched = Watched::new(".env", |folder| {
        fs::create_dir(folder.join("secrets")).unwrap();
        fs::write(folder.join("secrets/kite.env"), env("old")).unwrap();
        std::os::unix::fs::symlink("secrets/kite.env", folder.join(".env")).unwrap();
    });
    let swap = watched.at("secrets/swap");
    fs::write(&swap, env("new")).unwrap();
    fs::rename(&swap, watched.at("secrets/kite.env")).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn a_file_that_appears_is_seen() {
    let mut watched = Watched::new(".env", |_| ());
    assert!(watched.handle.first().is_err());
    fs::write(&watched.path, env("new")).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn a_file_that_appears_with_its_folders_is_seen() {
    let mut watched = Watched::new("data/kite/.env", |_| ());
    fs::create_dir_all(watched.at("data/kite")).unwrap();
    fs::write(&watched.path, env("new")).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn a_folder_that_is_removed_and_made_again_is_still_watched() {
    let mut watched = Watched::new("data/.env", |folder| {
        fs::create_dir(folder.join("data")).unwrap();
        fs::write(folder.join("data/.env"), env("old")).unwrap();
    });
    fs::remove_dir_all(watched.at("data")).unwrap();
    fs::create_dir(watched.at("data")).unwrap();
    fs::write(&watched.path, env("new")).unwrap();
    watched.sees_new_once().await;
}

/// A second name in another folder: no event of ours crosses, as from outside a bind mount.
#[tokio::test]
async fn a_change_that_causes_no_event_is_seen_by_its_content() {
    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().join("host.env");
    fs::write(&outside, env("old")).unwrap();
    let mut watched = Watched::new(".env", |folder| fs::hard_link(&outside, folder.join(".env")).unwrap());
    OpenOptions::new().write(true).open(&outside).unwrap().write_all(env("new").as_bytes()).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn our_own_write_does_not_wake_us_and_the_next_foreign_one_does() {
    let mut watched = Watched::holding_old();
    let writer = watched.handle.writer();
    let written = tokio::task::spawn_blocking(move || writer.write(&change("ours"))).await.unwrap().unwrap();
    assert!(!written.in_place && !written.merged);
    assert_eq!(fs::read_to_string(&watched.path).unwrap(), env("ours"));
    fs::write(&watched.path, env("new")).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn a_write_by_another_nirantar_is_seen() {
    let mut watched = Watched::holding_old();
    store(&watched.path).write(&change("new")).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn malformed_content_is_reported_once_without_a_value_and_the_watch_goes_on() {
    let mut watched = Watched::holding_old();
    fs::write(&watched.path, "ZERODHA_ACCESS_TOKEN='sentinel\n").unwrap();
    match watched.next().await {
        Sighting::Malformed(error) => {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(".env:1: ZERODHA_ACCESS_TOKEN: expected a closing quote"), "{shown}");
            assert!(!shown.contains("sentinel"), "{shown}");
        }
        Sighting::Changed(stored) => panic!("{stored:?}"),
    }
    let swap = watched.at("swap");
    fs::write(&swap, env("new")).unwrap();
    fs::rename(&swap, &watched.path).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn an_emptied_token_is_no_sighting() {
    let mut watched = Watched::holding_old();
    fs::write(&watched.path, env("")).unwrap();
    fs::remove_file(&watched.path).unwrap();
    fs::write(&watched.path, env("old")).unwrap();
    let swap = watched.at("swap");
    fs::write(&swap, env("new")).unwrap();
    fs::rename(&swap, &watched.path).unwrap();
    watched.sees_new_once().await;
}

#[tokio::test]
async fn dropping_the_handle_ends_the_watch() {
    let Watched { handle, mut sightings, .. } = Watched::holding_old();
    drop(handle);
    assert_eq!(tokio::time::timeout(DEADLINE, sightings.recv()).await.unwrap(), None);
}

#[cfg(unix)]
#[test]
fn where_the_folder_forbids_new_files_the_file_is_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, env("old")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let closed = File::create(folder.path().join("probe")).is_err();
    let written = store(&path).write(&change("new"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), env("new"));
    if closed {
        assert!(written.unwrap().in_place);
    } else {
        println!("skipped in part: root may write into any folder");
    }
}

/// A file mounted over a file, as `docker run -v host.env:/app/.env` does: rename over it is refused (EBUSY).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn through_a_real_bind_mount_the_file_is_overwritten_and_the_other_side_is_seen() {
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
        }
    }

    let host = tempfile::tempdir().unwrap();
    let outside = host.path().join("host.env");
    fs::write(&outside, env("old")).unwrap();
    let inside = tempfile::tempdir().unwrap();
    let path = inside.path().join(".env");
    fs::write(&path, "").unwrap();
    let mounted = std::process::Command::new("mount").arg("--bind").args([&outside, &path]).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: no leave to bind-mount here");
        return;
    }
    let _mounted = Mounted(path.clone());

    let (sender, mut sightings) = mpsc::channel(8);
    let handle = Watcher::spawn(Arc::new(store(&path)), sender);
    let writer = handle.writer();
    let written = tokio::task::spawn_blocking(move || writer.write(&change("ours"))).await.unwrap().unwrap();
    assert!(written.in_place);
    assert_eq!(fs::read_to_string(&outside).unwrap(), env("ours"), "the change reached the host's file");

    fs::write(&outside, env("new")).unwrap();
    let seen = tokio::time::timeout(DEADLINE, sightings.recv()).await.unwrap();
    let expected =
        Stored { access_token: Some(AccessToken::new("new")), api_key: Some("key".to_owned()), ..Stored::default() };
    assert_eq!(seen, Some(Sighting::Changed(expected)));
}
