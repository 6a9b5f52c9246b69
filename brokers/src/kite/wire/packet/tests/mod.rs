//! Known answers, round trips in every segment, and arbitrary bytes: the vector path, the portable one and the plain
//! decoder say the same of all of them.

mod plain;

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;
use crate::{Depth, Detail, Full, Level, Ohlc, OpenInterest, Price, Quantity, Stamp, TickQuote, TradeStats};

fn decoded(frame: &[u8]) -> Vec<FeedEvent> {
    let mut out = Vec::new();
    decode(frame, &mut out);
    out
}

type Visit = fn(&[u8], &mut dyn FnMut(Part<&Packet>));

/// What a reader says of a frame, with every packet as the words it is made of.
fn visited(read: Visit, frame: &[u8]) -> Vec<Part<Packet>> {
    let mut out = Vec::new();
    read(frame, &mut |part| {
        out.push(match part {
            Part::Packet(packet) => Part::Packet(*packet),
            Part::Heartbeat => Part::Heartbeat,
            Part::Garbage(what) => Part::Garbage(what),
        });
    });
    out
}

/// Holds every way to read a frame against the plain decoder.
fn read_every_way(frame: &[u8]) {
    let expected = plain::frame(frame);
    assert_eq!(decoded(frame), expected);
    let fast = visited(|frame, each| visit(frame, each), frame);
    assert_eq!(fast, visited(|frame, each| visit_portable(frame, each), frame));
    let ticks: Vec<_> = expected
        .iter()
        .filter_map(|event| match event {
            FeedEvent::Tick(tick) => Some(*tick),
            _ => None,
        })
        .collect();
    let packets: Vec<_> = fast
        .iter()
        .filter_map(|part| match part {
            Part::Packet(packet) => Some(packet),
            _ => None,
        })
        .collect();
    assert_eq!(packets.iter().map(|packet| packet.tick()).collect::<Vec<_>>(), ticks);
    for (packet, tick) in packets.into_iter().zip(ticks) {
        let volume = match tick.detail {
            Detail::Quote(quote) | Detail::Full(quote, _) => quote.trades.map(|trades| trades.volume),
            Detail::Ltp => None,
        };
        assert_eq!((packet.token(), packet.last_price(), packet.volume()), (tick.token, tick.last_price, volume));
        assert_eq!(packet.stamp(), Stamp::from(&tick));
    }
}

/// A frame that may be: whole packets of known and unknown lengths, of any bytes, with a count that may be wrong.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => prop::sample::select(vec![8usize, 28, 32, 44, 184]), 1 => 0usize..200];
    let packet = length.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    let packet = (packet, prop::sample::select(vec![1u8, 3, 6, 7, 9, 12])).prop_map(|(mut packet, segment)| {
        if let Some(last) = packet.get_mut(3) {
            *last = segment;
        }
        packet
    });
    let packets = prop::collection::vec(packet, 0..12);
    (packets, prop_oneof![8 => Just(0i32), 1 => -3..4], prop::collection::vec(any::<u8>(), 0..3)).prop_map(
        |(packets, wrong, behind)| {
            let count = (packets.len() as i32 + wrong).max(0) as u16;
            let mut frame = count.to_be_bytes().to_vec();
            for packet in packets {
                frame.extend((packet.len() as u16).to_be_bytes());
                frame.extend(packet);
            }
            frame.extend(behind);
            frame
        },
    )
}

/// A price the wire of that segment can hold.
fn price(divisor: i64) -> impl Strategy<Value = Price> + Clone {
    any::<u32>().prop_map(move |raw| match divisor {
        10_000_000 => Price::from_units(i64::from(raw / 1_000)),
        10_000 => Price::from_units(i64::from(raw)),
        _ => Price::from_paise(i64::from(raw)),
    })
}

fn quantity() -> impl Strategy<Value = Quantity> + Clone {
    any::<u32>().prop_map(|raw| Quantity::new(u64::from(raw)))
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    any::<u32>().prop_map(|seconds| (seconds > 0).then(|| Timestamp::from_unix_seconds(i64::from(seconds))))
}

fn ohlc(divisor: i64) -> impl Strategy<Value = Ohlc> {
    prop::array::uniform4(price(divisor)).prop_map(|[open, high, low, close]| Ohlc { open, high, low, close })
}

fn tick() -> impl Strategy<Value = Tick> {
    (0u32..1 << 24, prop::sample::select(vec![1u32, 2, 3, 4, 5, 6, 7, 8, 9, 12])).prop_flat_map(|(number, segment)| {
        let token = BrokerToken(number * 256 + segment);
        let divisor = divisor(token);
        let level = (price(divisor), quantity(), any::<u16>()).prop_map(|(price, quantity, orders)| Level {
            price,
            quantity,
            orders: u32::from(orders),
        });
        let trades = (quantity(), price(divisor), quantity(), quantity(), quantity()).prop_map(
            |(last_quantity, average_price, volume, buy_quantity, sell_quantity)| TradeStats {
                last_quantity,
                average_price,
                volume,
                buy_quantity,
                sell_quantity,
            },
        );
        let full = (
            time(),
            time(),
            prop::array::uniform3(quantity()),
            prop::array::uniform5(level.clone()),
            prop::array::uniform5(level),
        )
            .prop_map(|(exchange_time, last_trade_time, [now, day_high, day_low], buy, sell)| Full {
                exchange_time,
                last_trade_time,
                open_interest: Some(OpenInterest { now, day_high, day_low }),
                depth: Some(Depth { buy, sell }),
            });
        (price(divisor), 0..3, ohlc(divisor), trades, full).prop_map(move |(last_price, depth, ohlc, trades, full)| {
            let index = is_index(token);
            let quote = TickQuote { ohlc, trades: (!index).then_some(trades) };
            let full =
                if index { Full { last_trade_time: None, open_interest: None, depth: None, ..full } } else { full };
            let detail = match depth {
                0 => Detail::Ltp,
                1 => Detail::Quote(quote),
                _ => Detail::Full(quote, full),
            };
            Tick { token, last_price, detail }
        })
    })
}

#[test]
fn an_index_packet_has_its_own_order_of_prices() {
    let mut packet = Vec::new();
    for field in [265u32, 195_705, 3, 1, 2, 195_000, 705, 1_618_199_109] {
        packet.extend(field.to_be_bytes());
    }
    let tick = decode_packet(&packet).unwrap();
    let Detail::Full(quote, full) = tick.detail else { panic!("{tick:?}") };
    assert_eq!(tick.last_price.to_string(), "1957.05");
    assert_eq!([quote.ohlc.low, quote.ohlc.open, quote.ohlc.high].map(|price| price.units()), [100, 200, 300]);
    assert_eq!(full.exchange_time.unwrap().to_string(), "2021-04-12 09:15:09");
    assert_eq!(full.depth, None);
    let mut framed = vec![0, 1, 0, 32];
    framed.extend(&packet);
    assert_eq!(encode(&[tick]), framed, "the price change is last price less close");
}

#[test]
fn a_full_packet_has_every_field_at_its_documented_place() {
    // Every word says its own place: 3 paise stand in word 3, and so on.
    let mut words: Vec<u32> = (0..46).collect();
    words[0] = 257;
    for level in words[16..].chunks_mut(3) {
        level[2] = level[2] << 16 | 0xffff; // orders, and padding that is nobody's
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let (paise, quantity) = (Price::from_paise, Quantity::new);
    let level =
        |word: u32| Level { quantity: quantity(u64::from(word)), price: paise(i64::from(word) + 1), orders: word + 2 };
    let quote = TickQuote {
        ohlc: Ohlc { open: paise(7), high: paise(8), low: paise(9), close: paise(10) },
        trades: Some(TradeStats {
            last_quantity: quantity(2),
            average_price: paise(3),
            volume: quantity(4),
            buy_quantity: quantity(5),
            sell_quantity: quantity(6),
        }),
    };
    let full = Full {
        last_trade_time: Some(Timestamp::from_unix_seconds(11)),
        open_interest: Some(OpenInterest { now: quantity(12), day_high: quantity(13), day_low: quantity(14) }),
        exchange_time: Some(Timestamp::from_unix_seconds(15)),
        depth: Some(Depth { buy: [16, 19, 22, 25, 28].map(level), sell: [31, 34, 37, 40, 43].map(level) }),
    };
    let tick = Tick { token: BrokerToken(257), last_price: paise(1), detail: Detail::Full(quote, full) };
    assert_eq!(decode_packet(&bytes), Some(tick));
    assert_eq!(decode_packet(&bytes[..44]), Some(Tick { detail: Detail::Quote(quote), ..tick }));
    assert_eq!(decode_packet(&bytes[..8]), Some(Tick { detail: Detail::Ltp, ..tick }));
}

#[test]
fn the_lengths_are_the_documented_ones() {
    let lengths = Kind::ALL.map(|kind| (kind, kind.bytes()));
    assert_eq!(
        lengths,
        [(Kind::Full, 184), (Kind::Quote, 44), (Kind::Ltp, 8), (Kind::IndexQuote, 28), (Kind::IndexFull, 32)]
    );
    for length in 0..400 {
        let kind = lengths.iter().find(|(_, bytes)| *bytes == length).map(|(kind, _)| *kind);
        assert_eq!(Kind::of_length(length), kind, "{length}");
    }
}

#[test]
fn the_longest_frame_there_can_be_is_read() {
    let ticks = vec![Tick { token: BrokerToken(257), last_price: Price::ZERO, detail: Detail::Ltp }; 70_000];
    let frame = encode(&ticks);
    assert_eq!(frame.len(), 2 + 65_535 * 10, "no more than the count can say");
    assert_eq!(decoded(&frame).len(), 65_535);
}

#[test]
fn each_segment_has_its_divisor() {
    for (segment, rupees) in [(1, "7275500.00"), (3, "72.7550"), (6, "72755.00"), (12, "72755.00"), (7, "7275500.00")] {
        let mut packet = (256 + segment as u32).to_be_bytes().to_vec();
        packet.extend(727_550_000u32.to_be_bytes());
        assert_eq!(decode_packet(&packet).unwrap().last_price.to_string(), rupees, "segment {segment}");
    }
}

#[test]
fn a_volume_above_two_thousand_million_stays_above_zero() {
    let trades = TradeStats {
        last_quantity: Quantity::new(1),
        average_price: Price::ZERO,
        volume: Quantity::new(3_000_000_000),
        buy_quantity: Quantity::ZERO,
        sell_quantity: Quantity::ZERO,
    };
    let quote = TickQuote { ohlc: Ohlc::default(), trades: Some(trades) };
    let tick = Tick { token: BrokerToken(257), last_price: Price::ZERO, detail: Detail::Quote(quote) };
    assert_eq!(decoded(&encode(&[tick])), [FeedEvent::Tick(tick)]);
}

#[test]
fn what_the_wire_cannot_hold_saturates() {
    let tick = |price| Tick { token: BrokerToken(257), last_price: price, detail: Detail::Ltp };
    let last = |price| decode_packet(&encode(&[tick(price)])[4..]).unwrap().last_price;
    assert_eq!(last(Price::from_paise(-5)), Price::ZERO);
    assert_eq!(last(Price::from_units(i64::MAX)), Price::from_paise(i64::from(u32::MAX)));
    assert_eq!(last(Price::from_units(150)), Price::from_paise(2), "half a paisa rounds up");
}

#[test]
fn one_byte_is_a_heartbeat() {
    assert_eq!(decoded(&HEARTBEAT), [FeedEvent::Heartbeat]);
    assert_eq!(decoded(&[]), [FeedEvent::Heartbeat]);
    assert_eq!(decoded(&[0, 0]), []);
}

#[test]
fn a_packet_of_unknown_length_is_skipped_and_the_next_one_read() {
    let mut frame = vec![0, 2, 0, 3, 9, 9, 9];
    frame.extend(&encode(&[Tick { token: BrokerToken(257), last_price: Price::ZERO, detail: Detail::Ltp }])[2..]);
    assert!(matches!(decoded(&frame)[..], [FeedEvent::Garbage(_), FeedEvent::Tick(_)]));
}

proptest! {
    #[test]
    fn ticks_come_back_as_they_were_sent(ticks in prop::collection::vec(tick(), 0..6)) {
        let expected: Vec<_> = ticks.iter().copied().map(FeedEvent::Tick).collect();
        prop_assert_eq!(decoded(&encode(&ticks)), expected);
    }

    #[test]
    fn a_cut_frame_delivers_every_whole_packet(ticks in prop::collection::vec(tick(), 1..5), cut in any::<prop::sample::Index>()) {
        let frame = encode(&ticks);
        let cut = cut.index(frame.len());
        let events = decoded(&frame[..cut]);
        let whole = events.iter().take_while(|event| matches!(event, FeedEvent::Tick(_))).count();
        for (event, tick) in events[..whole].iter().zip(&ticks) {
            prop_assert_eq!(event, &FeedEvent::Tick(*tick));
        }
        prop_assert!(matches!(events.last(), Some(FeedEvent::Garbage(_) | FeedEvent::Heartbeat)));
        prop_assert_eq!(events.len(), whole + 1);
    }

    #[test]
    fn every_way_to_read_a_frame_says_the_same(frame in framed(), cut in any::<prop::sample::Index>()) {
        read_every_way(&frame);
        read_every_way(&frame[..cut.index(frame.len() + 1)]);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_every_way(&bytes);
        prop_assert_eq!(decode_packet(&bytes), plain::packet(&bytes));
    }

    #[test]
    fn any_packet_of_a_known_length_is_a_tick(bytes in prop::collection::vec(any::<u8>(), 184), kind in 0usize..5) {
        prop_assert!(decode_packet(&bytes[..[8, 28, 32, 44, 184][kind]]).is_some());
    }
}
