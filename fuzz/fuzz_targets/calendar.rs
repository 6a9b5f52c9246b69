//! A calendar's file: any bytes are a calendar that answers for every market and moment, or one error with its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::time::Timestamp;
use nirantar_exchange_mock::calendar::{Calendar, Market};

fuzz_target!(|bytes: &[u8]| {
    let calendar = match Calendar::parse("calendar.csv", bytes) {
        Ok(calendar) => calendar,
        Err(error) => {
            assert!(error.to_string().contains("calendar.csv, line "), "{error}");
            return;
        }
    };
    for day in ["2021-04-12", "2026-11-08", "2026-11-20", "2026-11-24", "2027-01-01"] {
        for time in ["00:00:00", "09:07:30", "15:14:59", "15:29:00", "23:59:59"] {
            let Some(at) = Timestamp::parse_ist(&format!("{day} {time}")) else { continue };
            for market in Market::all() {
                let span = calendar.span(market, at);
                assert!(span.contains(at), "{market} {at}: {span:?}");
                assert!(span.random_from.is_none_or(|from| span.from <= from && from < span.until));
            }
        }
    }
});
