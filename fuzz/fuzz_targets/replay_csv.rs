//! A day's prices from a file: any bytes are prices in order of time, or one error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::{Exchange, InstrumentKey};
use nirantar_exchange_mock::prices::{PriceSource as _, Replay};

fuzz_target!(|bytes: &[u8]| {
    let instrument = InstrumentKey::new(Exchange::Nse, "RELIANCE");
    let mut replay = match Replay::parse("prices.csv", bytes, instrument) {
        Ok(replay) => replay,
        Err(error) => {
            assert!(error.to_string().contains("prices.csv"), "{error}");
            return;
        }
    };
    let rows = replay.len();
    let (mut given, mut last) = (0, None);
    while let Some(event) = replay.next() {
        assert!(last.is_none_or(|last| last <= event.at), "time goes back");
        assert_eq!(event.at.ist_date(), replay.date(), "another day");
        last = Some(event.at);
        given += 1;
    }
    assert!(given == rows && given > 0, "{given} of {rows} rows");
});
