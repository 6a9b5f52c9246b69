//! No bytes from outside make the server panic.

use nirantar_brokers::Form;
use proptest::prelude::*;

use super::*;

fn path() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "/connect/login",
        "/session/token",
        "/session/refresh_token",
        "/user/profile",
        "/user/margins/equity",
        "/orders",
        "/orders/regular",
        "/orders/regular/1",
        "/orders/1/trades",
        "/trades",
        "/portfolio/positions",
        "/instruments/NSE",
        "/quote",
        "/quote/ltp",
        "/instruments/historical/738561/minute",
        "/nirantar/control",
        "/nirantar/log",
    ]);
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => "(/[a-z0-9_]{0,8}){0,7}", 1 => ".{0,30}"]
}

/// A form whose names are often known and whose values are often almost right.
fn form() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "api_key",
        "request_token",
        "checksum",
        "refresh_token",
        "access_token",
        "exchange",
        "tradingsymbol",
        "transaction_type",
        "order_type",
        "quantity",
        "product",
        "price",
        "trigger_price",
        "validity",
        "validity_ttl",
        "market_protection",
        "autoslice",
        "disclosed_quantity",
        "tag",
        "i",
        "from",
        "to",
        "oi",
        "fault",
        "clear",
        "login",
        "kill-token",
        "refresh",
        "redirect_params",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "nirantar",
            "NSE",
            "RELIANCE",
            "BUY",
            "SELL",
            "LIMIT",
            "MARKET",
            "SL",
            "SL-M",
            "10",
            "MIS",
            "CNC",
            "2000",
            "TTL",
            "-1",
            "true",
            "NSE:RELIANCE",
            "2021-04-12",
            "9999-12-31",
            "0001-01-01",
            "socket-cut@3",
            "all",
            "1",
            "18446744073709551615",
            "9e99",
            "works",
        ])
        .prop_map(str::to_owned),
        ".{0,12}",
    ];
    prop::collection::vec((name, value), 0..14)
        .prop_map(|fields| fields.into_iter().fold(Form::new(), |form, (name, value)| form.with(name, value)).encode())
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::Get, Method::Post, Method::Put, Method::Delete])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_requests_are_answered_and_the_same_ones_alike(
        requests in prop::collection::vec((method(), path(), form(), form(), -5i64..5), 1..12),
    ) {
        let desk = || Desk::with(Settings { rate_limits: false, ..Settings::default() });
        let (mut desk, mut twin) = (desk(), desk());
        for (method, path, query, body, seconds) in requests {
            desk.now = Timestamp::from_nanos(desk.now.as_nanos() + seconds * 1_000_000_000);
            twin.now = desk.now;
            let reply = desk.send(method, &path, &query, &body);
            prop_assert!((200..600).contains(&reply.status));
            prop_assert_eq!(&reply, &twin.send(method, &path, &query, &body));
            prop_assert_eq!(desk.sent(), twin.sent());
        }
    }

    #[test]
    fn any_message_on_a_socket_is_taken(
        messages in prop::collection::vec(prop_oneof![
            ".{0,60}",
            (prop::sample::select(vec!["subscribe", "unsubscribe"]), any::<[u32; 3]>())
                .prop_map(|(a, v)| serde_json::json!({ "a": a, "v": v }).to_string()),
            prop::sample::select(vec![
                r#"{"a":"subscribe","v":[738561,256265]}"#, r#"{"a":"mode","v":["full",[738561,738561]]}"#,
                r#"{"a":"mode","v":[[],"full"]}"#, r#"{"a":"mode","v":"ltp"}"#,
            ]).prop_map(str::to_owned),
        ], 0..10),
        port in any::<u16>(),
    ) {
        let mut desk = Desk::open();
        let socket = desk.socket(port).unwrap();
        for message in messages {
            desk.tell(socket, &message);
            desk.exchange.message(SocketId(77), &message, desk.now);
        }
        desk.wait_until("10:00:30");
        prop_assert!(!desk.sent().is_empty());
    }
}
