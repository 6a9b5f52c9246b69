//! Issue 3, "Must show" 8, second half: a read-only file system and a full disk are reported, and trading goes on under
//! every token that comes, renewal after renewal, although none of them can be stored.
//!
//! The store's folder becomes a small file system of its own while the engine runs; where this machine does not let us
//! mount one, the test says that it was skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Plan, World, writing};
use nirantar::core::Event;
use nirantar::session::State;
use nirantar_brokers::Venue;
use nirantar_brokers::kite::App;
use nirantar_exchange_mock::kite::{OrderAction, Refresh, Settings};

/// A file system mounted over a folder, for as long as this lives.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    Command::new("mount").args(options).arg(folder).output().is_ok_and(|output| output.status.success())
}

/// Puts a small disk with the same store in the place of the store's folder.
fn small_disk(store: &Path) -> Option<Mounted> {
    let folder = store.parent().unwrap();
    let text = fs::read(store).unwrap();
    if !mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], folder) {
        println!("skipped: no leave to mount a file system here");
        return None;
    }
    let mounted = Mounted(folder.to_owned());
    fs::write(store, text).unwrap();
    Some(mounted)
}

fn is_token(event: &Event) -> bool {
    matches!(event, Event::Token { .. })
}

/// Leads a session through three renewals on a broken disk, and then through one on a mended disk.
async fn trading_goes_on(break_it: impl Fn(&Path), words: &str, mend_it: impl Fn(&Path)) {
    let settings = Settings { refresh: Refresh::Works, ..Settings::default() };
    let mut world = World::stepped(Plan { app: App::Approved, ..Plan::new(settings) }).await;
    let session = world.control.login();
    let refresh = session.refresh_token.as_ref().unwrap().expose();
    let text = writing::env(session.access_token.expose());
    fs::write(&world.store, format!("{text}ZERODHA_REFRESH_TOKEN={refresh}\n")).unwrap();
    world.wait_for("the token of the login", is_token).await;
    world.wait_for_venue(Venue::Live).await;
    world.an_order_passes().await;

    let folder = world.folder.path().to_owned();
    let Some(disk) = small_disk(&world.store) else { return };
    break_it(&folder);
    let before = fs::read(&world.store).unwrap();
    for round in 1..=3 {
        let mark = world.mark().await;
        // A cut-off token is renewed once it is dead: before, nothing would be gained.
        assert_eq!(world.control.kill_tokens(), 1);
        world.wait_for("the renewed token", is_token).await;
        world.wait_for_venue(Venue::Live).await;
        world.an_order_passes().await;
        let reasons: Vec<&String> = world
            .since(mark)
            .iter()
            .filter_map(|event| if let Event::NotStored { reason, .. } = event { Some(reason) } else { None })
            .collect();
        assert_eq!(reasons.len(), 1, "told once a token: {reasons:?}");
        assert!(reasons[0].contains(words), "{reasons:?}");
        let (renewals, refused, last, under) = world.control.with_log(|log| {
            let placed = log.orders.iter().rfind(|order| order.action == OrderAction::Place).unwrap();
            (log.renewals(), log.renewals_refused, log.sessions.last().unwrap().token, placed.token)
        });
        assert_eq!((renewals, refused), (round, 0), "each by the refresh token that the one before brought");
        assert_eq!(under, Some(last), "orders go out under the renewed token");
        assert_eq!(fs::read(&world.store).unwrap(), before);
    }

    mend_it(&folder);
    assert_eq!(world.control.kill_tokens(), 1);
    world.wait_for("the renewed token", is_token).await;
    world.wait_for_venue(Venue::Live).await;
    let last = world.control.with_log(|log| log.sessions.last().unwrap().token);
    let stored = fs::read_to_string(&world.store).unwrap();
    let token = stored.lines().find_map(|line| line.strip_prefix("ZERODHA_ACCESS_TOKEN=")).unwrap();
    assert_eq!(nirantar_brokers::Fingerprint::of(token.trim_matches('\'')), last, "stored as soon as it can be");
    assert_eq!(world.state(), State::Valid);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_and_trading_goes_on_under_every_renewed_token() {
    let fill = |folder: &Path| {
        let mut file = File::create(folder.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    };
    trading_goes_on(fill, "the disk is full", |folder| fs::remove_file(folder.join("filler")).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_file_system_is_reported_and_trading_goes_on_under_every_renewed_token() {
    let remount = |how| move |folder: &Path| assert!(mount(&["-o", how], folder), "{how}");
    trading_goes_on(remount("remount,ro"), "read-only", remount("remount,rw")).await;
}
