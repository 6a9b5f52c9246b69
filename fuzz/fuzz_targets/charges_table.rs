//! A table of charges from a file: any bytes are a table without holes, or one error.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::{Exchange, Money, Side};
use nirantar_exchange_mock::charges::{ChargeTable, Fill, Item, Segment, Tariff};

/// A sum of a thousand crore, and one as small as can be.
const WORTHS: [i64; 2] = [100_000_000_000_000, 1];

fuzz_target!(|bytes: &[u8]| {
    let table = match ChargeTable::read(bytes) {
        Ok(table) => Arc::new(table),
        Err(error) => {
            let words = error.to_string();
            assert!(words.starts_with("line ") || words.starts_with("the charge table"), "{words}");
            return;
        }
    };
    let brokers: Vec<String> = table.brokers().map(str::to_owned).collect();
    for broker in brokers {
        let tariff = Tariff::new(Arc::clone(&table), &broker).expect("the table has named it");
        for date in ["2024-09-30", "2024-10-01", "2026-03-01", "2026-11-20", "2100-01-01"] {
            let date = date.parse().expect("a date");
            for (exchange, segment) in
                [Exchange::Nse, Exchange::Nfo, Exchange::Bse].into_iter().flat_map(|on| Segment::ALL.map(|of| (on, of)))
            {
                let mut day = tariff.day(date);
                let covered = day.covers(exchange, segment).is_ok();
                for (side, worth) in [Side::Buy, Side::Sell].into_iter().flat_map(|on| WORTHS.map(|worth| (on, worth)))
                {
                    let fill = Fill { exchange, segment, side, worth: Money::from_units(worth), before: Money::ZERO };
                    assert_eq!(day.fill(fill).is_ok(), covered, "a fill is charged where the day is covered");
                }
                let note = day.note();
                assert_eq!((note.total(), note.columns.len()), (day.total(), usize::from(covered)));
                for item in Item::ALL {
                    assert!(note.charges().of(item) >= Money::ZERO, "{item} below zero");
                }
            }
        }
    }
});
