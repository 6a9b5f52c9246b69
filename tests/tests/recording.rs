//! Must show: a recorder that is killed (SIGKILL) leaves every frame it had written, bit for bit, and the next one goes on
//! behind them; and what `nirantar record` writes of a feed replays as the same ticks in the same order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use child::nirantar;
use nirantar_brokers::kite::wire::packet;
use nirantar_brokers::recording::{Entry, Frame, FrameKind, Reader};
use nirantar_brokers::time::{Clock as _, OffsetClock, SystemClock, Timestamp};
use nirantar_brokers::{FeedEvent, InstrumentKey};
use nirantar_exchange_mock::kite::{KiteServer, Settings};
use nirantar_exchange_mock::prices::{Replay, Walk};
use nirantar_exchange_mock::{Calendar, PriceSource as _, universe};
use nirantar_tests::ticks::{Frames, PACKETS};

/// Frames of a hundred ticks that are in the file before the recorder is killed for good.
const FRAMES: u64 = 10_000;

/// Records from frame `skip` on, and is killed once `frames` are written. How many it had said were.
fn record_and_kill(file: &Path, skip: u64, frames: u64) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nirantar-recorder"))
        .arg(file)
        .arg(skip.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut written = 0;
    let mut began = false;
    for line in lines {
        // The last line may be cut off by the kill.
        let Ok(said) = line.parse::<u64>() else { break };
        written = if began { written.max(said) } else { said };
        if written >= frames && began {
            child.kill().unwrap();
            child.wait().unwrap();
            // What it had said before and nobody had read yet counts as well, and is not waited for.
            return written;
        }
        began = true;
    }
    panic!("the recorder ended by itself after {written} frames: {:?}", child.wait());
}

/// Holds the file against the frames that were made. How many there are.
fn compare(file: &Path) -> u64 {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 16, File::open(file).unwrap())).unwrap();
    let mut frames = Frames::default();
    let mut count = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        let Entry::Frame(Frame { at, connection, kind, bytes }) = entry else { panic!("{entry:?}") };
        let (made_at, made) = frames.make();
        assert!(bytes == made, "frame {count} is another");
        assert_eq!((at, connection, kind), (made_at, 1, FrameKind::Binary), "frame {count}");
        count += 1;
    }
    count
}

#[test]
fn killed_at_any_moment_a_recorder_loses_no_frame_it_had_written_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.nrec");
    let mut there = 0;
    // Killed early, several times; each goes on where the file ends.
    for frames in [1, 300, 700] {
        let written = record_and_kill(&file, there, frames);
        let found = compare(&file);
        assert!(found >= there + written, "{found} frames of {there} and {written}");
        there = found;
    }
    let written = record_and_kill(&file, there, FRAMES);
    let found = compare(&file);
    assert!(found >= there + written && written >= FRAMES, "{found} frames of {there} and {written}");
    let ticks = found as usize * PACKETS;
    let (size, raw) = (std::fs::metadata(&file).unwrap().len() as f64, (2.0 + 186.0 * PACKETS as f64) / PACKETS as f64);
    println!(
        "{ticks} ticks in {found} frames came back bit for bit after 4 kills; {:.1} bytes a tick in the file, {raw:.1} raw: {:.1}x \
         smaller",
        size / ticks as f64,
        raw / (size / ticks as f64)
    );
    assert!(size / (ticks as f64) < raw / 2.0);
}

/// The real command, at a real socket, killed while the feed runs; then what it wrote, as prices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nirantar_record_writes_replays_as_the_ticks_the_server_sent_in_their_order() {
    let date = "2026-11-20".parse().unwrap();
    let clock = OffsetClock::starting_at(Timestamp::parse_ist("2026-11-20 10:00:00").unwrap());
    let prices = Walk::new(3, &universe::with_start_prices(date), &Calendar::nse(), date);
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = Settings { rate_limits: false, ..Settings::default() };
    let server = KiteServer::start(anywhere, settings, Arc::new(clock), Box::new(prices)).await.unwrap();
    let (control, address) = (server.control(), server.addr());
    let token = control.login().access_token;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let keys = format!(
        "ZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET=nirantar-secret\nZERODHA_ACCESS_TOKEN={}\n",
        token.expose()
    );
    std::fs::write(path(".env"), keys).unwrap();
    let wanted = ["NSE:TCS", "NSE:RELIANCE", "NSE:NIFTY 50"];
    let config = format!(
        "[[account]]\nname = \"main\"\nbroker = \"kite\"\nstore = \".env\"\nuser_id = \"NR0001\"\n\
         rest_url = \"http://{address}\"\nfeed_url = \"ws://{address}\"\nlogin_url = \"http://{address}\"\n\
         instruments = {wanted:?}\n"
    );
    std::fs::write(path("nirantar.toml"), config).unwrap();
    let mut child = nirantar()
        .args(["record", "--out", "day.nrec"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    // A few dozen ticks of each.
    let patience = SystemClock::start();
    let sent = || control.with_log(|log| log.sockets.first().map_or(0, |socket| socket.packets.len()));
    while sent() < 12 {
        assert!(patience.now().mono.as_nanos() < 60_000_000_000, "no ticks were sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    child.kill().unwrap();
    child.wait().unwrap();

    // What the server says it sent, in its order; the last may have been on its way at the kill.
    let packets = control.with_log(|log| log.sockets[0].packets.clone());
    let mut reader = Reader::new(BufReader::new(File::open(path("day.nrec")).unwrap())).unwrap();
    let (mut ticks, mut names) = (Vec::new(), std::collections::BTreeMap::new());
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry {
            Entry::Name { token, instrument } => drop(names.insert(token, instrument)),
            Entry::Frame(frame) if frame.kind == FrameKind::Binary => {
                let mut events = Vec::new();
                packet::decode(&frame.bytes, &mut events);
                ticks.extend(
                    events
                        .into_iter()
                        .filter_map(|one| if let FeedEvent::Tick(tick) = one { Some(tick) } else { None }),
                );
            }
            Entry::Frame(_) => {}
            Entry::Lost { .. } => panic!("{entry:?}"),
        }
    }
    assert!(ticks.len() >= 12 && ticks.len() <= packets.len(), "{} of {}", ticks.len(), packets.len());
    let sent: Vec<_> = packets.iter().take(ticks.len()).map(|packet| packet.token).collect();
    assert_eq!(ticks.iter().map(|tick| tick.token).collect::<Vec<_>>(), sent);

    // As prices, all instruments in the order they came.
    let keys: Vec<InstrumentKey> = universe::keys();
    let mut replay = Replay::load_recording(&path("day.nrec"), &keys).unwrap();
    let replayed: Vec<_> = std::iter::from_fn(|| replay.next()).map(|price| (price.instrument, price.ltp)).collect();
    let recorded: Vec<_> = ticks.iter().map(|tick| (names[&tick.token].clone(), tick.last_price)).collect();
    assert_eq!(replayed, recorded);

    // And the command takes it beside CSV, by its first bytes, damaged or not.
    let mut damaged = std::fs::read(path("day.nrec")).unwrap();
    damaged[60] ^= 1;
    std::fs::write(path("bad.nrec"), damaged).unwrap();
    let refused = nirantar()
        .args(["exchange", "--broker", "kite", "--listen", "127.0.0.1:0", "--replay", "bad.nrec"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("--replay: bad.nrec: byte 18: the recording is damaged"), "{words}");
    let good = path("day.nrec").display().to_string();
    let exchange = child::Exchange::start(&["--replay", &good]);
    assert!(exchange.terminate().success());
}
