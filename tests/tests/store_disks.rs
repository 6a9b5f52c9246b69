//! A full disk and a read-only one: a write says so in words, and the file stays as it was.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use nirantar::token::store::{Change, StoreError, StorePlace};
use nirantar_brokers::{AccessToken, Secret};
use tempfile::TempDir;

/// A small file system of its own, or nothing where this machine does not let us mount one.
struct Disk(TempDir);

impl Disk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], folder.path()) {
            return Some(Self(folder));
        }
        println!("skipped: no leave to mount a file system here");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    Command::new("mount").args(options).arg(folder).output().is_ok_and(|output| output.status.success())
}

fn change(token: &str) -> Change {
    Change {
        access_token: Some(AccessToken::new(token)),
        refresh_token: Some(Secret::new(format!("refresh-{token}"))),
        expires_at: None,
    }
}

const NAMES: [&str; 4] = [".env", "broker-config.json", "tokens.json", "secrets.toml"];

/// Writes each store, breaks the disk, and expects each write to fail with `words` and to change nothing.
fn refuses(disk: &Disk, break_it: impl Fn(&Path), words: &str) {
    let folder = disk.0.path();
    let stores = NAMES.map(|name| StorePlace::named(name, folder).open("UPSTOX", "upstox"));
    for store in &stores {
        store.write(&change("old")).unwrap();
    }
    break_it(folder);
    for store in &stores {
        let before = fs::read(store.path()).unwrap();
        let long = "hunter2".repeat(2_000);
        let error = store.write(&change(&long)).unwrap_err();
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
        let shown = error.to_string();
        assert!(shown.contains(&format!("cannot be written: {words}")), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(fs::read(store.path()).unwrap(), before, "{}", store.path().display());
        assert_eq!(store.read().unwrap().access_token, Some(AccessToken::new("old")));
    }
    let left = fs::read_dir(folder)
        .unwrap()
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().contains(".nirantar-")));
    assert_eq!(left.count(), 0, "no temporary file stays");
}

#[test]
fn a_full_disk_is_said_and_leaves_the_old_file() {
    let Some(disk) = Disk::new() else { return };
    let fill = |folder: &Path| {
        let mut file = File::create(folder.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    };
    refuses(&disk, fill, "the disk is full: ");
}

#[test]
fn a_read_only_file_system_is_said_and_leaves_the_old_file() {
    let Some(disk) = Disk::new() else { return };
    refuses(&disk, |folder| assert!(mount(&["-o", "remount,ro"], folder)), "the file system is read-only: ");
}
