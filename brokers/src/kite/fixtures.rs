//! Samples of the real wire, read where `NIRANTAR_FIXTURES` names the folder that holds them: every JSON that has a
//! shape here, the packets and the instrument dump.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::envelope::{self, Opened};
use super::wire::text::ServerText;
use super::wire::{instruments, packet, rest};
use crate::{Detail, FeedEvent, OrderStatus, Price};

/// The folder; `None`, said aloud, where there is none. With `NIRANTAR_REQUIRE_FIXTURES=1` that is a failure.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("NIRANTAR_FIXTURES").map(|root| PathBuf::from(root).join("kite"));
    if folder.is_none() {
        assert_ne!(std::env::var("NIRANTAR_REQUIRE_FIXTURES").as_deref(), Ok("1"), "NIRANTAR_FIXTURES is not set");
        println!("skipped: NIRANTAR_FIXTURES is not set");
    }
    folder
}

fn file(name: &str) -> Option<Vec<u8>> {
    folder().map(|folder| std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn decode(frame: &[u8]) -> Vec<FeedEvent> {
    let mut out = Vec::new();
    packet::decode(frame, &mut out);
    out
}

/// Reads the data of a sample as a `T` and checks that writing it says the same of every field, but for `unread`.
fn sample<T: Serialize + DeserializeOwned>(name: &str, unread: &[&str]) -> Option<T> {
    let body = file(name)?;
    let Opened::Data(data) = envelope::open::<T>(&body) else { panic!("{name} cannot be read") };
    let original = serde_json::from_slice::<Value>(&body).unwrap()["data"].take();
    let mut dropped = BTreeSet::new();
    same(name, &original, &serde_json::to_value(&data).unwrap(), &mut dropped);
    assert_eq!(dropped, unread.iter().map(|field| (*field).to_owned()).collect(), "{name}: fields not read");
    Some(data)
}

/// Checks that `written` says what `original` says. Null and "nothing" (0, "", {}, []) are the same.
fn same(at: &str, original: &Value, written: &Value, dropped: &mut BTreeSet<String>) {
    match (original, written) {
        (Value::Object(fields), Value::Object(others)) => {
            for (name, value) in fields {
                match others.get(name) {
                    Some(other) => same(&format!("{at}.{name}"), value, other, dropped),
                    None => drop(dropped.insert(name.clone())),
                }
            }
        }
        (Value::Array(items), Value::Array(others)) => {
            assert_eq!(items.len(), others.len(), "{at}");
            for (index, (item, other)) in items.iter().zip(others).enumerate() {
                same(&format!("{at}[{index}]"), item, other, dropped);
            }
        }
        (Value::Number(_), Value::Number(_)) => {
            let (left, right) = (original.as_f64().unwrap(), written.as_f64().unwrap());
            assert!((left - right).abs() <= 0.000_05 + 1e-9, "{at}: {left} became {right}");
        }
        (Value::Null, nothing) => {
            let empty = [serde_json::json!(0), serde_json::json!(""), serde_json::json!({}), serde_json::json!([])];
            assert!(nothing.is_null() || empty.contains(nothing), "{at}: null became {nothing}");
        }
        _ => assert_eq!(original, written, "{at}"),
    }
}

#[test]
fn sessions_and_accounts() {
    let Some(session) = sample::<rest::Session>("generate_session.json", &[]) else { return };
    assert!(session.to_session().is_some_and(|session| session.login_time.is_some()));
    sample::<rest::Profile>("profile.json", &[]);
    sample::<rest::Margins>("margins.json", &[]);
}

#[test]
fn orders_and_trades() {
    let Some(history) = sample::<Vec<rest::Order>>("order_info.json", &[]) else { return };
    let rows: Vec<_> = history.iter().map(|row| row.to_row().unwrap()).collect();
    assert_eq!(rows.last().unwrap().status, OrderStatus::Open);
    assert!(rows.windows(2).all(|pair| pair[0].status.become_(pair[1].status).is_ok()), "an illegal step");
    for name in ["order_response.json", "order_modify.json", "autoslice_response.json"] {
        assert_eq!(sample::<rest::Placed>(name, &[]).unwrap().failed(), None, "{name}");
    }
    for trade in sample::<Vec<rest::Trade>>("trades.json", &[]).unwrap() {
        trade.to_trade().unwrap();
    }
}

#[test]
fn positions_leave_out_only_what_is_not_traded_here() {
    let Some(positions) = sample::<rest::Positions>("positions.json", &[]) else { return };
    for position in positions.net.iter().chain(&positions.day) {
        match position.to_position() {
            Ok(read) => assert_eq!(read.quantity, position.quantity),
            Err(bad) => assert_eq!(position.product, "CO", "{bad}"),
        }
    }
    // Auctions are holdings with a number of their own.
    let auctions = sample::<Vec<rest::Holding>>("auctions_list.json", &["auction_number"]).unwrap();
    assert!(auctions.iter().all(|holding| holding.to_holding().is_ok()));
}

#[test]
fn quotes_and_candles() {
    type Map<T> = std::collections::BTreeMap<String, T>;
    let Some(quotes) = sample::<Map<rest::FullQuote>>("quote.json", &[]) else { return };
    assert!(quotes.values().all(|quote| quote.to_quote().depth.is_some()));
    sample::<Map<rest::Ltp>>("ltp.json", &[]);
    assert!(!sample::<rest::Candles>("historical_minute.json", &[]).unwrap().candles.is_empty());
    assert_eq!(sample::<bool>("convert_position.json", &[]), Some(true));
}

#[test]
fn a_postback_is_an_order_update() {
    let Some(body) = file("postback.json") else { return };
    let original: Value = serde_json::from_slice(&body).unwrap();
    let frame = serde_json::json!({"type": "order", "data": original}).to_string();
    let ServerText::Order(order) = ServerText::decode(&frame).unwrap() else { panic!("no order") };
    assert_eq!(order.to_row().unwrap().status, OrderStatus::Filled);
    let mut dropped = BTreeSet::new();
    same("postback", &original, &serde_json::to_value(&order).unwrap(), &mut dropped);
    let own = ["app_id", "checksum", "unfilled_quantity", "user_id"];
    assert_eq!(dropped, own.map(str::to_owned).into(), "fields of the envelope only");
}

#[test]
fn frames_are_written_back_byte_for_byte() {
    for (name, length) in [("js_ltpMode_binary.packet", 12), ("js_fullMode_binary.packet", 188)] {
        let Some(frame) = file(name) else { return };
        assert_eq!(frame.len(), length);
        let [FeedEvent::Tick(tick)] = decode(&frame)[..] else { panic!("{name}") };
        assert_eq!(packet::encode(&[tick]), frame, "{name}");
    }
}

#[test]
fn a_quote_packet_says_what_its_sample_says() {
    let Some(text) = file("ticker_quote.packet") else { return };
    let tick = packet::decode_packet(&base64(&text)).unwrap();
    let expected: Value = serde_json::from_slice(&file("ticker_quote.json").unwrap()).unwrap();
    let Detail::Quote(quote) = tick.detail else { panic!("{tick:?}") };
    let trades = quote.trades.unwrap();
    assert_eq!(u64::from(tick.token.0), expected["instrument_token"]);
    for (found, field) in [
        (tick.last_price, &expected["last_price"]),
        (trades.average_price, &expected["average_price"]),
        (quote.ohlc.open, &expected["ohlc"]["open"]),
        (quote.ohlc.high, &expected["ohlc"]["high"]),
        (quote.ohlc.low, &expected["ohlc"]["low"]),
        (quote.ohlc.close, &expected["ohlc"]["close"]),
    ] {
        assert_eq!(Some(found), field.as_f64().and_then(Price::from_f64));
    }
    for (found, field) in [
        (trades.last_quantity, "last_quantity"),
        (trades.volume, "volume"),
        (trades.buy_quantity, "buy_quantity"),
        (trades.sell_quantity, "sell_quantity"),
    ] {
        assert_eq!(found.get(), expected[field], "{field}");
    }
}

#[test]
fn the_dump_is_read_whole() {
    let Some(bytes) = file("instruments_nse.csv") else { return };
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let dump = instruments::read(&bytes).unwrap();
    assert!(dump.instruments.len() + 1 >= lines, "{} of {lines} lines", dump.instruments.len());
    assert_eq!(dump.left_out, 0);
    assert!(dump.instruments.iter().all(|row| row.token.0 == row.exchange_token * 256 + 1), "NSE is segment 1");
    assert_eq!(instruments::read(&instruments::write(&dump.instruments)), Ok(dump));
}

/// Base64 with padding, for the one sample that is stored so.
fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    out
}
