//! A recording: any bytes are entries or one error, a block that was cut short at most; and what was read comes back when
//! it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::recording::{Encoder, Entry, Reader, RecordingError, header};
use nirantar_brokers::{Exchange, InstrumentKey};
use nirantar_exchange_mock::prices::Replay;

/// Everything up to the end or the first error, and how it ended.
fn read(bytes: &[u8]) -> (Vec<Entry>, Result<(), RecordingError>) {
    let mut entries = Vec::new();
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (entries, Err(error)),
    };
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {
                if let Some(torn) = reader.torn() {
                    assert_eq!(torn.offset + torn.bytes, bytes.len() as u64, "{torn}");
                }
                return (entries, Ok(()));
            }
            Err(error) => return (entries, Err(error)),
        }
    }
}

/// A file with the checksums put right, so that what they guard is reached: lengths as the fuzzer says, as far as they go.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut out = header("kite").expect("a short name");
    let mut rest = bytes;
    let mut first = true;
    while let Some((length, more)) = rest.split_first() {
        let (payload, more) = more.split_at(usize::from(*length).min(more.len()));
        let front = [payload.len() as u8, 0, 0, 0, u8::from(first)];
        out.extend(front);
        out.extend(((crc32fast::hash(&front) & 0xffff) as u16).to_le_bytes());
        out.extend(crc32fast::hash(payload).to_le_bytes());
        out.extend(payload);
        (rest, first) = (more, false);
    }
    out
}

fuzz_target!(|bytes: &[u8]| {
    for file in [bytes.to_vec(), with_checksums(bytes)] {
        let (entries, end) = read(&file);
        if let Err(error) = end {
            assert!(!error.to_string().is_empty());
        }
        let (mut again, mut encoder) = (header("kite").expect("a short name"), Encoder::new());
        for (number, entry) in entries.iter().enumerate() {
            match entry {
                Entry::Frame(frame) => encoder.frame(frame.at, frame.connection, frame.kind, &frame.bytes),
                Entry::Name { token, instrument } => encoder.name(*token, instrument),
                Entry::Lost { at, frames } => encoder.lost(*at, *frames),
            }
            if number % 3 == 2 {
                encoder.block(&mut again);
            }
        }
        encoder.block(&mut again);
        let (read_again, end) = read(&again);
        assert!(end.is_ok() && read_again == entries, "it does not come back");
        let instrument = InstrumentKey::new(Exchange::Nse, "RELIANCE");
        if let Err(error) = Replay::parse("day.nrec", &file, instrument) {
            assert!(error.to_string().contains("day.nrec"), "{error}");
        }
    }
});
