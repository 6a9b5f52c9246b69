//! Rows as Kite sends them, and round trips of everything the server writes.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::time::Timestamp;
use crate::{
    AccessToken, BrokerOrderId, BrokerToken, Candle, ClientOrderId, Depth, Exchange, InstrumentKey, Level,
    MarketProtection, Money, OpenInterest, OrderRow, OrderStatus, OrderType, Price, Product, Quantity, Quote, Secret,
    Side, TradeStats, Validity,
};

fn there_and_back<T: Serialize + DeserializeOwned>(data: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(data).unwrap()).unwrap()
}

fn order(changes: serde_json::Value) -> Order {
    let mut row = json!({
        "order_id": "1914227164488687616", "status": "OPEN", "exchange": "NSE", "tradingsymbol": "INFY",
        "order_type": "LIMIT", "transaction_type": "BUY", "product": "CNC", "quantity": 10, "price": 1500,
        "order_timestamp": "2026-11-20 10:00:00", "validity": "DAY",
    });
    for (field, value) in changes.as_object().unwrap() {
        row[field] = value.clone();
    }
    serde_json::from_value(row).unwrap()
}

#[test]
fn a_row_without_the_fields_of_newer_releases_is_read() {
    let row = order(json!({"tag": null, "tags": null, "meta": "text", "exchange_timestamp": null})).to_row().unwrap();
    assert_eq!(row.order_id.0, "1914227164488687616");
    assert_eq!(row.order_type, OrderType::Limit(Price::from_paise(150_000)));
    assert_eq!((row.client_id, row.exchange_at), (None, None));
}

#[test]
fn our_number_is_found_among_the_tags_of_the_system() {
    let row = order(json!({"tag": null, "tags": ["mktp", "mktp:2.5", "autoslice", "autoslice:7", "N1"]}));
    assert_eq!(row.client_id().unwrap().as_str(), "N1");
    assert_eq!(row.to_row().unwrap().parent_id, Some(BrokerOrderId::new("7")), "a slice names its whole in a tag");
    assert_eq!(order(json!({"tag": "mktp"})).client_id(), None);
    assert_eq!(order(json!({"tag": "A1", "tags": ["B2"]})).client_id().unwrap().as_str(), "A1");
}

#[test]
fn a_word_nobody_knows_stands_in_the_row_and_ends_nothing() {
    let row = order(json!({"status": "HELD BY RMS"})).to_row().unwrap();
    assert_eq!((row.status, &*row.broker_status), (OrderStatus::Accepted, "HELD BY RMS"));
}

#[test]
fn a_foreign_order_is_left_out_unless_it_could_be_ours() {
    for change in [json!({"product": "CO"}), json!({"exchange": "MF"}), json!({"order_type": "X"})] {
        assert!(matches!(order(change.clone()).to_row(), Err(BadRow::Foreign { .. })), "{change}");
        let mut ours = change.clone();
        ours["tag"] = json!("N1");
        assert!(matches!(order(ours).to_row(), Err(BadRow::Unreadable { .. })), "{change}");
    }
    assert_eq!(order(json!({"order_id": ""})).to_row(), Err(BadRow::Unreadable { field: "order_id" }));
}

#[test]
fn an_order_id_of_nineteen_digits_loses_none() {
    let row: Order = serde_json::from_str(
        r#"{"order_id":1914227164488687617,"status":"OPEN","exchange":"NSE","tradingsymbol":"X","order_type":"LIMIT",
            "transaction_type":"BUY","product":"CNC","quantity":1.0,"price":-0}"#,
    )
    .unwrap();
    assert_eq!(row.order_id, "1914227164488687617");
    assert_eq!((row.quantity, row.price), (Quantity::new(1), Price::ZERO));
}

#[test]
fn all_three_shapes_of_a_placed_order_are_read() {
    let read = |value| serde_json::from_value::<Placed>(value).unwrap();
    assert_eq!(read(json!({"order_id": "7"})), Placed::one("7"));
    let error = json!({"code": 400, "error_type": "MarginException", "message": "no funds", "data": null});
    let sliced = read(json!({"order_id": "7", "children": [{"order_id": "8"}, {"error": error}]}));
    assert_eq!((sliced.order_id.as_str(), sliced.children.len(), sliced.failed()), ("7", 2, None));
    assert_eq!(there_and_back(&sliced), sliced);
    let old = read(json!([{"error": error}, {"order_id": "8"}]));
    assert_eq!((old.order_id.as_str(), old.failed()), ("8", None));
    let none = read(json!([{"error": error}]));
    assert_eq!(none.failed().unwrap().message, "no funds");
    assert!(serde_json::from_value::<Placed>(json!([])).is_err());
}

#[test]
fn a_trade_writes_the_time_its_order_was_placed_without_the_date() {
    let at = Timestamp::parse_ist("2026-11-20 10:00:01").unwrap();
    let trade = crate::Trade {
        trade_id: "1".to_owned(),
        order_id: BrokerOrderId::new("7"),
        instrument: InstrumentKey::new(Exchange::Nse, "INFY"),
        side: Side::Buy,
        product: Product::Mis,
        quantity: Quantity::new(5),
        price: Price::from_paise(150_005),
        at,
    };
    let row = Trade::from_trade(&trade, BrokerToken(408_065), None, at);
    let sent = serde_json::to_value(&row).unwrap();
    assert_eq!(
        (&sent["order_timestamp"], &sent["fill_timestamp"]),
        (&json!("10:00:01"), &json!("2026-11-20 10:00:01"))
    );
    assert_eq!(sent["exchange_order_id"], "", "the Rust SDK refuses null");
    assert_eq!(there_and_back(&row).to_trade(), Ok(trade));
}

#[test]
fn the_checksum_is_the_hash_of_the_three_in_a_row() {
    // printf keytokensecret | sha256sum
    let expected = "08a03d928417ea4085557933d3b187ff2a3515b039d6054dbd230c95d978a17a";
    let sum = checksum("key", &Secret::new("token"), &Secret::new("secret"));
    assert_eq!(sum, expected);
}

#[test]
fn a_session_shows_no_token_and_an_empty_refresh_token_is_none() {
    let session = Session {
        profile: Profile::individual("AB1234", "Asha B"),
        api_key: "key".to_owned(),
        access_token: Secret::new("sentinel-access"),
        public_token: Secret::new("sentinel-public"),
        enctoken: Secret::new("sentinel-enc"),
        refresh_token: Secret::new(""),
        silo: String::new(),
        login_time: Timestamp::parse_ist("2026-11-20 07:50:00"),
    };
    assert!(!format!("{session:?}").contains("sentinel"));
    let sent = serde_json::to_value(&session).unwrap();
    assert_eq!((&sent["login_time"], &sent["user_id"]), (&json!("2026-11-20 07:50:00"), &json!("AB1234")));
    let read = there_and_back(&session);
    assert_eq!(read, session);
    let ours = read.to_session().unwrap();
    assert_eq!((ours.access_token, ours.refresh_token), (AccessToken::new("sentinel-access"), None));
    let renewed: Renewed = serde_json::from_value(json!({"user_id": "A", "access_token": ""})).unwrap();
    assert_eq!(renewed.to_session(), None, "no token is no session");
}

#[test]
fn a_candle_has_an_offset_without_a_colon() {
    let text = r#"{"candles":[["2017-12-15T09:15:00+0530",1704.5,1705.0,1699.25,1702.8,2499]]}"#;
    let read: Candles = serde_json::from_str(text).unwrap();
    assert_eq!(read.candles[0].at, Timestamp::parse_ist("2017-12-15 09:15:00").unwrap());
    assert_eq!(read.candles[0].open_interest, None);
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert!(serde_json::from_str::<Candles>(r#"{"candles":[["yesterday",1,1,1,1,1]]}"#).is_err());
}

#[test]
fn a_time_of_never_is_no_time() {
    for never in [json!(null), json!(""), json!("0001-01-01 00:00:00")] {
        assert_eq!(order(json!({"exchange_timestamp": never})).exchange_timestamp, None);
    }
    assert_eq!(order(json!({"exchange_timestamp": "soon"})).exchange_timestamp, None);
    assert_eq!(
        order(json!({"order_timestamp": "soon"})).to_row(),
        Err(BadRow::Unreadable { field: "order_timestamp" })
    );
    for text in
        ["2026-11-20T10:00:00+0530", "2026-11-20T10:00:00+05:30", "2026-11-20T04:30:00Z", "2026-11-20 10:00:00.0"]
    {
        let read = order(json!({"exchange_timestamp": text})).exchange_timestamp;
        assert_eq!(read, Timestamp::parse_ist("2026-11-20 10:00:00"), "{text}");
    }
}

fn price() -> impl Strategy<Value = Price> + Clone {
    (0i64..1 << 40).prop_map(Price::from_units)
}

fn money() -> impl Strategy<Value = Money> {
    (0i64..1 << 48).prop_map(Money::from_units)
}

fn quantity() -> impl Strategy<Value = Quantity> + Clone {
    (0u64..1 << 40).prop_map(Quantity::new)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0i64..1 << 32).prop_map(Timestamp::from_unix_seconds)
}

fn key() -> impl Strategy<Value = InstrumentKey> {
    (prop::sample::select(Exchange::ALL.to_vec()), "[A-Z0-9& -]{1,20}")
        .prop_map(|(exchange, symbol)| InstrumentKey::new(exchange, symbol))
}

fn order_type() -> impl Strategy<Value = OrderType> {
    let protection =
        prop_oneof![Just(MarketProtection::Automatic), (1u16..=10_000).prop_map(MarketProtection::BasisPoints)];
    (0..4, price(), price(), protection).prop_map(|(kind, trigger, limit, protection)| match kind {
        0 => OrderType::Market(protection),
        1 => OrderType::Limit(limit),
        2 => OrderType::StopLimit { trigger, limit },
        _ => OrderType::StopMarket { trigger, protection },
    })
}

fn order_row() -> impl Strategy<Value = OrderRow> {
    let product = prop::sample::select(vec![Product::Cnc, Product::Mis, Product::Nrml]);
    let validity =
        prop_oneof![Just(Validity::Day), Just(Validity::Ioc), (1u16..).prop_map(|minutes| Validity::Ttl { minutes })];
    let word = prop::sample::select(crate::kite::wire::status::WORDS.to_vec());
    let ids = (
        "[0-9]{1,19}",
        prop::option::of("[0-9]{1,19}"),
        prop::option::of("[0-9]{1,16}"),
        prop::option::of(any::<u64>()),
    );
    let numbers = (quantity(), quantity(), price(), time(), prop::option::of(time()));
    (ids, numbers, (key(), any::<bool>(), order_type(), product, validity), (word, prop::option::of(".{0,30}")))
        .prop_map(
            |(
                (id, parent, exchange_id, client),
                (quantity, filled, average_price, placed_at, exchange_at),
                (instrument, buy, order_type, product, validity),
                ((word, status), message),
            )| OrderRow {
                order_id: BrokerOrderId::new(id),
                parent_id: parent.map(BrokerOrderId::new),
                exchange_order_id: exchange_id.map(Into::into),
                client_id: client.map(|run| ClientOrderId::numbered(run, 1)),
                status,
                broker_status: word.to_owned().into(),
                message,
                instrument,
                side: if buy { Side::Buy } else { Side::Sell },
                order_type,
                product,
                validity,
                quantity,
                filled,
                average_price,
                placed_at,
                exchange_at,
            },
        )
}

fn ohlc() -> impl Strategy<Value = crate::Ohlc> {
    prop::array::uniform4(price()).prop_map(|[open, high, low, close]| crate::Ohlc { open, high, low, close })
}

fn quote() -> impl Strategy<Value = Quote> {
    let level =
        (price(), quantity(), any::<u32>()).prop_map(|(price, quantity, orders)| Level { price, quantity, orders });
    let depth = (prop::array::uniform5(level.clone()), prop::array::uniform5(level))
        .prop_map(|(buy, sell)| Depth { buy, sell });
    let numbers = (prop::array::uniform4(quantity()), prop::array::uniform3(quantity()), price());
    (any::<u32>(), price(), ohlc(), numbers, prop::option::of(depth), prop::option::of(time())).prop_map(
        |(token, last_price, ohlc, ([last, volume, buy, sell], [now, day_high, day_low], average_price), depth, at)| {
            let trades =
                TradeStats { last_quantity: last, average_price, volume, buy_quantity: buy, sell_quantity: sell };
            Quote {
                token: BrokerToken(token),
                last_price,
                ohlc: Some(ohlc),
                trades: depth.map(|_| trades),
                open_interest: depth.map(|_| OpenInterest { now, day_high, day_low }),
                depth,
                exchange_time: at,
            }
        },
    )
}

proptest! {
    #[test]
    fn an_order_row_comes_back_as_it_was_sent(row in order_row(), mktp in any::<bool>(), token in any::<u32>()) {
        let mut extras = OrderExtras::new("AB1234", BrokerToken(token));
        if mktp {
            extras.system_tags = vec!["mktp".to_owned(), "mktp:2".to_owned()];
        }
        let sent = Order::from_row(&row, extras);
        let read = there_and_back(&sent);
        prop_assert_eq!(&read, &sent);
        prop_assert_eq!(read.to_row(), Ok(row));
    }

    #[test]
    fn a_quote_comes_back_as_it_was_sent(quote in quote(), last_trade in prop::option::of(time())) {
        prop_assert_eq!(there_and_back(&FullQuote::from_quote(&quote, last_trade)).to_quote(), quote);
        let Quote { token, last_price, ohlc, .. } = quote;
        let bare = Quote { token, last_price, ohlc, trades: None, open_interest: None, depth: None, exchange_time: None };
        prop_assert_eq!(there_and_back(&OhlcQuote::from_quote(&quote)).to_quote(), bare);
        prop_assert_eq!(there_and_back(&Ltp::from_quote(&quote)).to_quote(), Quote { ohlc: None, ..bare });
    }

    #[test]
    fn a_position_comes_back_as_it_was_sent(
        instrument in key(),
        quantity in -1_000_000i64..1_000_000,
        prices in (price(), price()),
        (bought, buy_value, sold, sell_value) in (quantity(), money(), quantity(), money()),
    ) {
        let last_price = Price::from_units(prices.1.units() % 100_000_000);
        let position = crate::Position {
            instrument,
            product: Product::Nrml,
            quantity,
            average_price: prices.0,
            last_price,
            bought,
            buy_value,
            sold,
            sell_value,
        };
        let read = there_and_back(&Position::from_position(&position, BrokerToken(1)));
        prop_assert_eq!(read.to_position(), Ok(position));
    }

    #[test]
    fn a_holding_comes_back_as_it_was_sent(
        instrument in key(),
        (quantity, t1_quantity) in (0u64..10_000, 0u64..10_000),
        (average, last, close) in (0i64..1_000_000_000, 0i64..1_000_000_000, 0i64..1_000_000_000),
    ) {
        let holding = crate::Holding {
            instrument,
            quantity: Quantity::new(quantity),
            t1_quantity: Quantity::new(t1_quantity),
            average_price: Price::from_units(average),
            last_price: Price::from_units(last),
        };
        let row = Holding::from_holding(&holding, BrokerToken(1), Price::from_units(close));
        prop_assert_eq!(there_and_back(&row).to_holding(), Ok(holding));
    }

    #[test]
    fn funds_come_back_as_they_were_sent(cash in money(), available in money(), used in money()) {
        let margins = crate::Margins { cash, available, used };
        let both = Margins { equity: Segment::from_margins(&margins), commodity: None };
        prop_assert_eq!(there_and_back(&both).equity.to_margins(), margins);
    }

    #[test]
    fn candles_come_back_as_they_were_sent(
        rows in prop::collection::vec((time(), ohlc(), 0u64..1 << 50, prop::option::of(any::<u64>())), 0..4),
    ) {
        let candles = rows
            .into_iter()
            .map(|(at, ohlc, volume, open_interest)| {
                let crate::Ohlc { open, high, low, close } = ohlc;
                Candle { at, open, high, low, close, volume, open_interest }
            })
            .collect();
        let candles = Candles { candles };
        prop_assert_eq!(there_and_back(&candles), candles);
    }

    #[test]
    fn any_text_in_any_field_is_read_without_a_panic(field in 0usize..40, text in ".{0,30}", number in any::<f64>()) {
        let sent = serde_json::to_value(order(json!({}))).unwrap();
        let name = sent.as_object().unwrap().keys().nth(field % sent.as_object().unwrap().len()).unwrap().clone();
        for value in [json!(text), json!(number), json!(null), json!([text]), json!({"a": number})] {
            let mut changed = sent.clone();
            changed[&name] = value;
            if let Ok(order) = serde_json::from_value::<Order>(changed) {
                let _ = order.to_row();
            }
        }
    }
}
