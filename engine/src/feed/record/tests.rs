use std::fs::File;
use std::io::BufReader;

use nirantar_brokers::Exchange;
use nirantar_brokers::recording::{Entry, Reader};

use super::*;

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn entries(file: &Path) -> Vec<Entry> {
    let mut reader = Reader::new(BufReader::new(File::open(file).unwrap())).unwrap();
    std::iter::from_fn(|| reader.next_entry().unwrap()).collect()
}

fn frame(nanos: i64, socket: u64, bytes: &[u8]) -> Entry {
    let (at, kind, bytes) = (at(nanos), FrameKind::Binary, bytes.to_vec());
    Entry::Frame(nirantar_brokers::recording::Frame { at, connection: socket, kind, bytes })
}

#[test]
fn a_recording_is_gone_on_with_behind_what_a_killed_process_left_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.nrec");
    let name = Arc::new(InstrumentKey::new(Exchange::Nse, "RELIANCE"));
    let recorder = Recorder::start(&file, "kite").unwrap();
    let tap = recorder.tap();
    tap.name(BrokerToken(738_561), Arc::clone(&name));
    tap.frame(at(1), SocketId(1), FrameKind::Binary, b"one");
    assert!(matches!(Recorder::start(&file, "kite"), Err(RecordError::InUse { .. })));
    let recorded = recorder.finish();
    assert_eq!((recorded.frames, recorded.raw_bytes, recorded.lost, recorded.failed), (1, 3, 0, None));
    // What comes later is no error.
    tap.frame(at(2), SocketId(1), FrameKind::Binary, b"late");

    let whole = std::fs::read(&file).unwrap();
    let torn = [whole.as_slice(), &whole[whole.len() - 20..]].concat();
    std::fs::write(&file, &torn[..torn.len() - 12]).unwrap();
    let recorder = Recorder::start(&file, "kite").unwrap();
    assert_eq!(recorder.torn().map(|torn| (torn.offset, torn.bytes)), Some((whole.len() as u64, 8)));
    recorder.tap().frame(at(3), SocketId(1), FrameKind::Binary, b"two");
    assert_eq!(recorder.finish().frames, 1);
    let named = Entry::Name { token: BrokerToken(738_561), instrument: (*name).clone() };
    assert_eq!(entries(&file), [named, frame(1, 1, b"one"), frame(3, 1, b"two")]);
}

#[test]
fn what_is_no_recording_of_that_broker_is_left_alone_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prices.csv");
    for (bytes, expected) in [
        (b"timestamp,ltp,volume\n".to_vec(), "is no recording"),
        (nirantar_brokers::recording::header("upstox").unwrap(), "recording of upstox"),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        let error = Recorder::start(&file, "kite").unwrap_err().to_string();
        assert!(error.contains("prices.csv") && error.contains(expected), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
    let nowhere = Recorder::start(&folder.path().join("no/such/folder"), "kite");
    assert!(matches!(nowhere, Err(RecordError::File { .. })));
}

#[test]
fn a_socket_never_waits_for_a_disk_that_stands_still_and_the_file_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.nrec");
    let (file, _) = file::open(&path, "kite").unwrap();
    // The thread is not there yet: a disk that does not answer.
    let (queue, frames) = mpsc::sync_channel(QUEUE);
    let (names, named) = mpsc::channel();
    let shared = Arc::new(Shared::default());
    let tap = Tap { queue, names, shared: Arc::clone(&shared) };
    let many = QUEUE as u64 + 7;
    for number in 0..many {
        tap.frame(at(number as i64), SocketId(1), FrameKind::Binary, &number.to_le_bytes());
    }
    let large = vec![0; QUEUED_BYTES];
    tap.frame(at(0), SocketId(1), FrameKind::Binary, &large);
    assert_eq!(shared.recorded().lost, 8);
    assert_eq!(shared.queued_bytes.load(Ordering::SeqCst), 8 * QUEUE, "what is lost takes no memory");
    let writing = thread::Writing::new(file, frames, named, Arc::clone(&shared));
    let thread = std::thread::spawn(move || writing.run());
    while shared.recorded().frames == 0 {
        std::thread::yield_now();
    }
    drop(tap);
    thread.join().unwrap();
    let entries = entries(&path);
    assert_eq!(shared.recorded().frames, QUEUE as u64);
    let lost: u64 = entries.iter().map(|entry| if let Entry::Lost { frames, .. } = entry { *frames } else { 0 }).sum();
    let kept = entries.iter().filter(|entry| matches!(entry, Entry::Frame(_))).count();
    assert_eq!((kept, lost), (QUEUE, 8));
}
