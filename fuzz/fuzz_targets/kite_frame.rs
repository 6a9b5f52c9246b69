//! Kite's feed: any bytes are ticks, heartbeats or garbage; what was read as ticks is written and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::FeedEvent;
use nirantar_brokers::kite::wire::packet;
use nirantar_brokers::kite::wire::text::{ClientText, ServerText};

fuzz_target!(|bytes: &[u8]| {
    let mut events = Vec::new();
    packet::decode(bytes, &mut events);
    let ticks: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            FeedEvent::Tick(tick) => Some(*tick),
            _ => None,
        })
        .collect();
    if !ticks.is_empty() {
        let mut again = Vec::new();
        packet::decode(&packet::encode(&ticks), &mut again);
        let expected: Vec<_> = ticks.into_iter().map(FeedEvent::Tick).collect();
        assert_eq!(again, expected);
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
