//! Kite's REST: any body is data, a refusal or unreadable, whatever was asked for; what was read can
//! be written and read again. And the server's side: any form is an order or an error.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::Form;
use nirantar_brokers::kite::wire::envelope::{self, Opened};
use nirantar_brokers::kite::wire::form::{Modification, Placement};
use nirantar_brokers::kite::wire::{instruments, rest};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads the body as the answer of one endpoint. What it reads may be cut to what our types hold (a time after 2262, a
/// seventh decimal); cut once, it is written and read as the same.
fn answer<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let Opened::Data(data) = envelope::open::<T>(body) else { return None };
    let once = written_and_read(&data);
    let twice = written_and_read(&once);
    assert_eq!(twice, once);
    Some(data)
}

fn written_and_read<T: Serialize + DeserializeOwned>(data: &T) -> T {
    let written = envelope::success(data).expect("what was read can be written");
    match envelope::open::<T>(&written) {
        Opened::Data(again) => again,
        _ => panic!("written as {}", String::from_utf8_lossy(&written)),
    }
}

fuzz_target!(|bytes: &[u8]| {
    for order in answer::<Vec<rest::Order>>(bytes).into_iter().flatten() {
        let _ = (order.to_row(), order.client_id());
    }
    for trade in answer::<Vec<rest::Trade>>(bytes).into_iter().flatten() {
        let _ = trade.to_trade();
    }
    for position in answer::<rest::Positions>(bytes).into_iter().flat_map(|both| both.net) {
        let _ = position.to_position();
    }
    for holding in answer::<Vec<rest::Holding>>(bytes).into_iter().flatten() {
        let _ = holding.to_holding();
    }
    if let Some(margins) = answer::<rest::Margins>(bytes) {
        let _ = margins.equity.to_margins();
    }
    for quote in answer::<BTreeMap<String, rest::FullQuote>>(bytes).into_iter().flat_map(BTreeMap::into_values) {
        let _ = quote.to_quote();
    }
    answer::<BTreeMap<String, rest::OhlcQuote>>(bytes);
    answer::<BTreeMap<String, rest::Ltp>>(bytes);
    answer::<rest::Candles>(bytes);
    answer::<rest::Profile>(bytes);
    if let Opened::Data(session) = envelope::open::<rest::Session>(bytes) {
        let _ = session.to_session();
    }
    let _ = envelope::open::<rest::Placed>(bytes);

    if let Ok(dump) = instruments::read(bytes) {
        let again = instruments::read(&instruments::write(&dump.instruments)).expect("what was read can be written");
        assert_eq!(again.instruments, dump.instruments);
    }

    let form = Form::parse(bytes);
    let placed = Placement::read(&form);
    if let (Ok(change), Ok(placed)) = (Modification::read(&form), placed) {
        let _ = change.apply(placed.order.order_type);
    }
});
