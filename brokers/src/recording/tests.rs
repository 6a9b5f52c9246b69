use proptest::prelude::*;

use super::*;
use crate::Exchange;

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(1_800_000_000_000_000_000 + nanos)
}

fn frame(nanos: i64, kind: FrameKind, bytes: &[u8]) -> Entry {
    Entry::Frame(Frame { at: at(nanos), connection: 3, kind, bytes: bytes.to_vec() })
}

/// A frame of packets of these lengths whose first word is the token.
fn packets(of: &[(u32, usize, u8)]) -> Vec<u8> {
    let mut frame = u16::try_from(of.len()).unwrap().to_be_bytes().to_vec();
    for (token, length, fill) in of {
        frame.extend(u16::try_from(*length).unwrap().to_be_bytes());
        let packet = token.to_be_bytes().into_iter().chain(std::iter::repeat(*fill));
        frame.extend(packet.take(*length));
    }
    frame
}

/// One block for each of these.
fn file(blocks: &[&[Entry]]) -> Vec<u8> {
    let mut out = header("kite").unwrap();
    let mut encoder = Encoder::new();
    for block in blocks {
        for entry in *block {
            match entry {
                Entry::Frame(frame) => encoder.frame(frame.at, frame.connection, frame.kind, &frame.bytes),
                Entry::Name { token, instrument } => encoder.name(*token, instrument),
                Entry::Lost { at, frames } => encoder.lost(*at, *frames),
            }
        }
        encoder.block(&mut out);
    }
    out
}

/// Everything up to the end or the first error.
fn read(bytes: &[u8]) -> (Vec<Entry>, Result<Option<Torn>, RecordingError>) {
    let mut entries = Vec::new();
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (entries, Err(error)),
    };
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, Ok(reader.torn())),
            Err(error) => return (entries, Err(error)),
        }
    }
}

/// None ends with a zero, so that zeros behind one that is cut never make it whole again.
fn some_blocks() -> [Vec<Entry>; 3] {
    let name = Entry::Name { token: BrokerToken(7), instrument: InstrumentKey::new(Exchange::Nse, "NIFTY 50") };
    let (first, second) = (packets(&[(7, 184, 9), (9, 44, 1)]), packets(&[(9, 44, 2), (7, 184, 9), (7, 8, 1)]));
    [
        vec![name, frame(0, FrameKind::Binary, &first), frame(1_000, FrameKind::Binary, &[1])],
        vec![frame(900, FrameKind::Text, b"{\"type\":\"order\"}"), Entry::Lost { at: at(950), frames: 12 }],
        vec![
            frame(5_000_000, FrameKind::Binary, &second),
            frame(5_000_000, FrameKind::Binary, &second),
            frame(5_000_001, FrameKind::Text, b"the end"),
        ],
    ]
}

#[test]
fn what_was_recorded_comes_back_and_a_second_writer_may_go_on() {
    let blocks = some_blocks();
    let blocks: Vec<&[Entry]> = blocks.iter().map(Vec::as_slice).collect();
    let mut bytes = file(&blocks);
    let (entries, end) = read(&bytes);
    assert_eq!(entries, blocks.concat());
    assert!(matches!(end, Ok(None)), "{end:?}");
    assert!(is_recording(&bytes));
    // Another process, which knows nothing of the packets before.
    let more = file(&blocks);
    bytes.extend(&more[header("kite").unwrap().len()..]);
    assert_eq!(read(&bytes).0, [blocks.concat(), blocks.concat()].concat());
}

#[test]
fn a_file_that_is_cut_anywhere_gives_every_whole_block_and_says_what_was_cut() {
    let blocks = some_blocks();
    let blocks: Vec<&[Entry]> = blocks.iter().map(Vec::as_slice).collect();
    let bytes = file(&blocks);
    let ends: Vec<usize> = (0..=blocks.len()).map(|count| file(&blocks[..count]).len()).collect();
    for cut in ends[0]..=bytes.len() {
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        let expected =
            (cut > ends[whole]).then(|| Torn { offset: ends[whole] as u64, bytes: (cut - ends[whole]) as u64 });
        let (entries, end) = read(&bytes[..cut]);
        assert_eq!(entries, blocks[..whole].concat(), "cut at {cut}");
        assert_eq!(end.unwrap(), expected, "cut at {cut}");
        let (whole_to, torn) = Reader::new(&bytes[..cut]).unwrap().find_end().unwrap();
        assert_eq!((whole_to, torn), (ends[whole] as u64, expected));
        // A disk that kept the length and lost the bytes.
        let mut zeros = bytes[..cut].to_vec();
        zeros.resize(cut + 5_000, 0);
        let (entries, end) = read(&zeros);
        assert_eq!(entries, blocks[..whole].concat(), "cut at {cut}");
        assert_eq!(end.unwrap().map(|torn| torn.offset), Some(ends[whole] as u64));
    }
    for cut in 0..ends[0] {
        assert!(read(&bytes[..cut]).1.is_err(), "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_is_found_and_named_and_what_stands_before_it_is_given() {
    let blocks = some_blocks();
    let blocks: Vec<&[Entry]> = blocks.iter().map(Vec::as_slice).collect();
    let bytes = file(&blocks);
    let ends: Vec<usize> = (0..=blocks.len()).map(|count| file(&blocks[..count]).len()).collect();
    for changed in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[changed] ^= 0x10;
        let (entries, end) = read(&bad);
        match ends.iter().rposition(|end| *end <= changed) {
            None => assert!(entries.is_empty() && end.is_err(), "byte {changed}: {end:?}"),
            // The last block cannot be told from one that a dying disk has half written, but for its length.
            Some(whole) => {
                assert_eq!(entries, blocks[..whole].concat(), "byte {changed}");
                let in_the_last = whole + 1 == blocks.len() && changed >= ends[whole] + BLOCK_HEADER - 4;
                match end {
                    Ok(Some(torn)) => assert!(in_the_last && torn.offset == ends[whole] as u64, "byte {changed}"),
                    Err(RecordingError::Damaged { offset, .. }) => {
                        assert!(!in_the_last && offset == ends[whole] as u64, "byte {changed}");
                    }
                    other => panic!("byte {changed}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let words = |bytes: &[u8]| read(bytes).1.unwrap_err().to_string();
    assert!(words(b"timestamp,ltp,volume\n").contains("is no recording"));
    let mut newer = header("kite").unwrap();
    newer[8] = 9;
    assert!(words(&newer).contains("version 9"));
    let mut damaged = file(&[&[frame(0, FrameKind::Text, b"one")], &[frame(1, FrameKind::Text, b"two")]]);
    let first = header("kite").unwrap().len();
    damaged[first + BLOCK_HEADER] ^= 1;
    assert!(words(&damaged).starts_with(&format!("byte {first}: ")), "{}", words(&damaged));
    assert_eq!((header(""), header(&"k".repeat(33))), (Err(BadHeader), Err(BadHeader)));
}

#[test]
fn a_full_packet_that_changes_as_the_market_does_takes_less_than_a_quarter() {
    let mut rng = crate::time::Rng::from_seed(5);
    let mut frame = packets(&(0..100).map(|token| (token, 184, 0)).collect::<Vec<_>>());
    let mut encoder = Encoder::new();
    let (mut out, mut raw) = (Vec::new(), 0);
    for number in 0..200 {
        // In each packet some twenty of 45 words change a little.
        for packet in frame[2..].chunks_mut(186) {
            for _ in 0..20 {
                let word = 6 + 4 * usize::try_from(rng.below(45)).unwrap();
                let value = u32::from_be_bytes(packet[word..word + 4].try_into().unwrap());
                let moved = value.wrapping_add(u32::try_from(rng.below(400)).unwrap()).wrapping_sub(200);
                packet[word..word + 4].copy_from_slice(&moved.to_be_bytes());
            }
        }
        encoder.frame(at(number * 5_000_000), 1, FrameKind::Binary, &frame);
        encoder.block(&mut out);
        raw += frame.len();
    }
    assert!(out.len() * 4 < raw, "{} of {raw} bytes", out.len());
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let packet =
        (0_u32..6, prop_oneof![Just(8_usize), Just(11), Just(44), Just(184), Just(2), Just(1_500)], any::<u8>());
    let bytes = prop_oneof![
        3 => proptest::collection::vec(packet, 0..6).prop_map(|of| packets(&of)),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let kind = prop_oneof![4 => Just(FrameKind::Binary), 1 => Just(FrameKind::Text)];
    prop_oneof![
        8 => (any::<i64>(), any::<u64>(), kind, bytes).prop_map(|(nanos, connection, kind, bytes)| {
            Entry::Frame(Frame { at: Timestamp::from_nanos(nanos), connection, kind, bytes })
        }),
        1 => (any::<u32>(), "[A-Z]{1,9}").prop_map(|(token, symbol)| Entry::Name {
            token: BrokerToken(token),
            instrument: InstrumentKey::new(Exchange::Nse, symbol),
        }),
        1 => (any::<i64>(), any::<u64>())
            .prop_map(|(nanos, frames)| Entry::Lost { at: Timestamp::from_nanos(nanos), frames }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_entries_come_back_bit_for_bit(
        blocks in proptest::collection::vec(proptest::collection::vec(any_entry(), 1..8), 0..6),
    ) {
        let blocks: Vec<&[Entry]> = blocks.iter().map(Vec::as_slice).collect();
        let (entries, end) = read(&file(&blocks));
        prop_assert_eq!(entries, blocks.concat());
        prop_assert!(matches!(end, Ok(None)));
    }

    #[test]
    fn any_payload_is_entries_or_an_error(payload in proptest::collection::vec(any::<u8>(), 1..200)) {
        let mut bytes = file(&[&[frame(0, FrameKind::Binary, &packets(&[(1, 44, 3), (2, 184, 4)]))]]);
        let [one, two, three, four] = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let front = [one, two, three, four, 0];
        bytes.extend(front);
        bytes.extend(encode::check_of_front(front).to_le_bytes());
        bytes.extend(crc32fast::hash(&payload).to_le_bytes());
        bytes.extend(payload);
        let (entries, end) = read(&bytes);
        prop_assert!(!entries.is_empty() && (end.is_err() || entries.len() > 1));
    }
}
