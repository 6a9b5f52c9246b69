//! Kite's feed: any bytes are ticks, heartbeats or garbage, and every way to read them says what the plain decoder of the
//! tests says; what was read as ticks is written and read as the same.
#![no_main]

// What the plain decoder needs, which is a file of the tests.
use libfuzzer_sys::fuzz_target;
use nirantar_brokers::kite::wire::packet::{self, Packet, Part};
use nirantar_brokers::kite::wire::text::{ClientText, ServerText};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerToken, Depth, Detail, FeedEvent, Full, Level, Ohlc, OpenInterest, Price, Quantity, Tick, TickQuote,
    TradeStats,
};

#[path = "../../brokers/src/kite/wire/packet/tests/plain.rs"]
mod plain;

fuzz_target!(|bytes: &[u8]| {
    let expected = plain::frame(bytes);
    let mut events = Vec::new();
    packet::decode(bytes, &mut events);
    assert_eq!(events, expected);
    assert_eq!(read(|each| packet::visit(bytes, each)), expected);
    assert_eq!(read(|each| packet::visit_portable(bytes, each)), expected);
    assert_eq!(packet::decode_packet(bytes), plain::packet(bytes));

    let ticks: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            FeedEvent::Tick(tick) => Some(*tick),
            _ => None,
        })
        .collect();
    if !ticks.is_empty() {
        let written = packet::encode(&ticks);
        let expected: Vec<_> = ticks.into_iter().map(FeedEvent::Tick).collect();
        assert_eq!(plain::frame(&written), expected);
    }

    // The same socket carries text both ways.
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(message) = ClientText::decode(text) {
            assert_eq!(ClientText::decode(&message.encode()).as_ref(), Ok(&message));
        }
        if let Ok(message) = ServerText::decode(text) {
            assert_eq!(ServerText::decode(&message.encode()).as_ref(), Ok(&message));
        }
    }
});

/// What a visitor is told.
fn read(visit: impl FnOnce(&mut dyn FnMut(Part<&Packet>))) -> Vec<FeedEvent> {
    let mut events = Vec::new();
    visit(&mut |part| events.push(part.into()));
    events
}
