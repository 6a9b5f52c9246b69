//! Known answers, round trips in every segment, and arbitrary bytes.

use proptest::prelude::*;

use super::*;

fn decoded(frame: &[u8]) -> Vec<FeedEvent> {
    let mut out = Vec::new();
    decode(frame, &mut out);
    out
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
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decoded(&bytes);
        let _ = decode_packet(&bytes);
    }

    #[test]
    fn any_packet_of_a_known_length_is_a_tick(bytes in prop::collection::vec(any::<u8>(), 184), kind in 0usize..5) {
        prop_assert!(decode_packet(&bytes[..[8, 28, 32, 44, 184][kind]]).is_some());
    }
}
