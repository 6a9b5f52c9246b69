//! The broker as its callers see it: what a call sends, and what each answer means.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::time::{Now, Timestamp};
use crate::{
    AccessToken, Auth as _, Body, BrokerOrderId, BrokerToken, Call, Cause, ClientOrderId, Exchange, Feed as _,
    FeedEvent, HttpResponse, InstrumentKey, Interval, Lost, MarketData as _, MarketProtection, Mode, OrderChange,
    OrderRequest, OrderType, Orders as _, Outcome, Price, Refusal, Side, WireMessage,
};

fn kite() -> Kite {
    Kite::new(App::Individual, "key", Some(Secret::new("secret")))
}

fn infy() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "INFY")
}

fn id() -> BrokerOrderId {
    BrokerOrderId::new("151220000000000")
}

fn market_order() -> OrderRequest {
    OrderRequest::new(infy(), Side::Buy, 10, OrderType::Market(MarketProtection::Automatic))
}

fn sent<T>(call: &Call<T>) -> &HttpRequest {
    match call {
        Call::Http { request, .. } => request,
        Call::Ready(_) => panic!("nothing is sent"),
    }
}

fn answered<T>(call: Call<T>, answer: Result<HttpResponse, Lost>) -> Outcome<T> {
    match call {
        Call::Http { decode, .. } => decode(answer),
        Call::Ready(outcome) => outcome,
    }
}

fn response(status: u16, body: impl Into<Vec<u8>>) -> HttpResponse {
    HttpResponse { status, content_type: Some("application/json".to_owned()), retry_after: None, body: body.into() }
}

fn ok<T>(call: Call<T>, data: &Value) -> Outcome<T> {
    answered(call, Ok(response(200, json!({"status": "success", "data": data}).to_string())))
}

fn refusal<T>(call: Call<T>, status: u16, error_type: &str, message: &str) -> Cause {
    let body = json!({"status": "error", "error_type": error_type, "message": message, "data": null}).to_string();
    answered(call, Ok(response(status, body))).map(drop).unwrap_err().cause
}

#[test]
fn the_login_page_is_told_the_app_and_gives_the_state_back() {
    assert_eq!(kite().login_url(None).unwrap(), "https://kite.zerodha.com/connect/login?v=3&api_key=key");
    let here = kite().with_login_root("http://127.0.0.1:8080");
    assert_eq!(
        here.login_url(Some("a b&c")).unwrap(),
        "http://127.0.0.1:8080/connect/login?v=3&api_key=key&redirect_params=state%3Da%2Bb%2526c"
    );
}

#[test]
fn a_login_is_exchanged_with_a_checksum() {
    let call = kite().exchange(&Secret::new("token"));
    let request = sent(&call);
    assert_eq!((request.method, request.path.as_str(), request.authorized), (Method::Post, "/session/token", false));
    let Body::Form(form) = &request.body else { panic!("no form") };
    assert_eq!(
        form.encode(),
        "api_key=key&request_token=token&checksum=08a03d928417ea4085557933d3b187ff2a3515b039d6054dbd230c95d978a17a"
    );
    let session = ok(call, &json!({"user_id": "AB1234", "access_token": "new", "refresh_token": ""})).unwrap();
    assert_eq!((session.user_id.as_str(), session.access_token.expose()), ("AB1234", "new"));
    assert_eq!(session.refresh_token, None, "an empty refresh token is none");
}

#[test]
fn a_renewal_brings_the_next_refresh_token() {
    let call = kite().renew(&Secret::new("refresh"));
    assert_eq!(sent(&call).path, "/session/refresh_token");
    let session = ok(call, &json!({"user_id": "AB1234", "access_token": "new", "refresh_token": "next"})).unwrap();
    assert_eq!(session.refresh_token, Some(Secret::new("next")));
}

#[test]
fn without_the_apps_secret_the_failure_names_the_key_to_set() {
    for secret in [None, Some(Secret::new(""))] {
        let kite = Kite::new(App::Individual, "key", secret);
        for call in [kite.exchange(&Secret::new("token")), kite.renew(&Secret::new("token"))] {
            let Call::Ready(Err(failure)) = call else { panic!("something is sent") };
            assert_eq!(failure.cause, Cause::Rejected);
            assert!(failure.message.contains("api_secret"), "{failure}");
        }
    }
}

#[test]
fn a_wrong_code_says_nothing_about_the_living_token() {
    let call = || kite().exchange(&Secret::new("used"));
    assert_eq!(refusal(call(), 403, "TokenException", "Invalid `checksum`."), Cause::Rejected);
    let lost = answered(call(), Err(Lost::NoReply("timeout".to_owned()))).unwrap_err();
    assert_eq!(lost.cause, Cause::Unknown, "the code may be spent");
}

#[test]
fn nothing_printed_holds_a_secret() {
    let kite = Kite::new(App::Individual, "sentinel-key", Some(Secret::new("sentinel-secret")));
    let token = AccessToken::new("sentinel-token");
    let mut shown = format!("{kite:?} {:?} {:?}", kite.connect(&token), kite.authorization(&token));
    shown += &format!("{:?} {:?}", kite.exchange(token.secret()), kite.invalidate(&token));
    // A token where a number belongs must not come back in the words of the failure.
    let answer = json!({"status": "success", "data": {"user_id": 7, "access_token": "sentinel-new"}}).to_string();
    let failure = answered(kite.exchange(token.secret()), Ok(response(200, answer))).unwrap_err();
    let answer = json!({"status": "success", "data": "sentinel-new"}).to_string();
    let other = answered(kite.renew(token.secret()), Ok(response(200, answer))).unwrap_err();
    shown += &format!("{failure} {other:?}");
    assert!(!shown.contains("sentinel"), "{shown}");
}

#[test]
fn a_token_goes_with_the_key() {
    assert_eq!(kite().authorization(&AccessToken::new("t")).expose(), "token key:t");
}

#[test]
fn the_probe_tells_whose_token_it_is() {
    let call = kite().probe();
    let request = sent(&call);
    assert_eq!((request.path.as_str(), request.authorized), ("/user/profile", true));
    assert_eq!(request.headers, [("X-Kite-Version", "3".to_owned())]);
    assert_eq!(ok(call, &json!({"user_id": "AB1234", "user_name": "Asha B"})).unwrap().user_id, "AB1234");
    assert_eq!(refusal(kite().probe(), 403, "TokenException", "no"), Cause::Refused(Refusal::Conclusive));
    assert_eq!(ok(kite().probe(), &json!({"user_id": ""})).unwrap_err().cause, Cause::Unknown);
}

#[test]
fn ending_a_session_sends_the_token_to_be_ended() {
    let call = kite().invalidate(&AccessToken::new("t"));
    assert_eq!(
        (sent(&call).method, sent(&call).query.encode().as_str()),
        (Method::Delete, "api_key=key&access_token=t")
    );
    assert_eq!(ok(call, &json!(true)), Ok(()));
    assert_eq!(refusal(kite().invalidate(&AccessToken::new("t")), 403, "TokenException", "dead"), Cause::Rejected);
}

#[test]
fn an_order_is_placed_changed_and_cancelled_under_its_paths() {
    let now = Now::default();
    let call = kite().place(&market_order(), &ClientOrderId::numbered(1, 1), now);
    let request = sent(&call);
    assert_eq!((request.method, request.path.as_str(), request.authorized), (Method::Post, "/orders/regular", true));
    let Body::Form(form) = &request.body else { panic!("no form") };
    assert_eq!((form.get("market_protection"), form.get("tag")), (Some("-1"), Some("N0000000001000000001")));
    assert_eq!(ok(call, &json!({"order_id": "7"})), Ok(BrokerOrderId::new("7")));

    let change =
        OrderChange { order_type: Some(OrderType::Limit(Price::from_paise(150_005))), ..OrderChange::default() };
    let call = kite().modify(&id(), &change, now);
    assert_eq!((sent(&call).method, sent(&call).path.as_str()), (Method::Put, "/orders/regular/151220000000000"));
    let Body::Form(form) = &sent(&call).body else { panic!("no form") };
    assert_eq!(form.encode(), "order_type=LIMIT&price=1500.05");

    let call = kite().cancel(&BrokerOrderId::new("1/../2"), now);
    assert_eq!((sent(&call).method, sent(&call).path.as_str()), (Method::Delete, "/orders/regular/1%2F%2E%2E%2F2"));
}

#[test]
fn an_order_whose_answer_is_lost_or_makes_no_sense_is_unknown() {
    let place = || kite().place(&market_order(), &ClientOrderId::numbered(1, 1), Now::default());
    let cause = |answer| answered(place(), answer).unwrap_err().cause;
    assert_eq!(cause(Err(Lost::NoReply("reset".to_owned()))), Cause::Unknown);
    assert_eq!(cause(Err(Lost::NotSent("refused".to_owned()))), Cause::NotSent);
    for (status, body) in [
        (200, ""),
        (200, "<html>"),
        (200, r#"{"status":"success","data":null}"#),
        (200, r#"{"status":"success","data":{"order_id":""}}"#),
        (200, r#"{"status":"success","data":[]}"#),
        (503, r#"{"status":"success","data":{"order_id":"7"}}"#),
        (504, "gateway"),
    ] {
        assert_eq!(cause(Ok(response(status, body))), Cause::Unknown, "{status} {body}");
    }
}

#[test]
fn an_order_of_which_every_slice_failed_was_refused() {
    let place = || kite().place(&market_order(), &ClientOrderId::numbered(1, 1), Now::default());
    let error = json!({"error": {"code": 400, "error_type": "MarginException", "message": "no funds", "data": null}});
    let failure = ok(place(), &json!({"order_id": "7", "children": [error]})).unwrap_err();
    assert_eq!((failure.cause, failure.message.as_str(), failure.status), (Cause::Rejected, "no funds", Some(400)));
    assert_eq!(ok(place(), &json!({"order_id": "7", "children": [error, {"order_id": "8"}]})).unwrap().0, "7");
}

#[test]
fn a_failed_read_is_never_an_empty_list() {
    let (kite, now) = (kite(), Now::default());
    let row = json!({
        "order_id": "1", "status": "OPEN", "exchange": "NSE", "tradingsymbol": "INFY", "order_type": "LIMIT",
        "transaction_type": "BUY", "product": "CNC", "quantity": 1, "order_timestamp": "2026-11-20 10:00:00",
    });
    let mut cover = row.clone();
    cover["product"] = json!("CO");
    let mut broken = row.clone();
    broken["order_timestamp"] = json!(null);
    assert_eq!(ok(kite.book(now), &json!([row, cover])).unwrap().len(), 1, "a cover order cannot be ours");
    assert_eq!(ok(kite.book(now), &json!([])), Ok(Vec::new()));
    let failure = ok(kite.book(now), &json!([row, broken])).unwrap_err();
    assert_eq!(failure.cause, Cause::Unknown);
    assert!(failure.message.contains("row 2: order_timestamp"), "{failure}");
    for data in [json!(null), json!({}), json!([1])] {
        assert_eq!(ok(kite.book(now), &data).unwrap_err().cause, Cause::Unknown);
        assert_eq!(ok(kite.positions(now), &data).unwrap_err().cause, Cause::Unknown);
        assert_eq!(ok(kite.trades(now), &data).unwrap_err().cause, Cause::Unknown);
        assert_eq!(ok(kite.holdings(now), &data).unwrap_err().cause, Cause::Unknown);
    }
}

#[test]
fn funds_are_those_of_equity() {
    let call = kite().margins(Now::default());
    assert_eq!(sent(&call).path, "/user/margins/equity");
    let funds = json!({"enabled": true, "net": 75.5, "available": {"cash": 100}, "utilised": {"debits": 24.5}});
    let margins = ok(call, &funds).unwrap();
    assert_eq!(
        [margins.cash, margins.available, margins.used].map(|sum| sum.to_string()),
        ["100.00", "75.50", "24.50"]
    );
}

#[test]
fn quotes_come_in_the_order_asked_without_the_unknown() {
    let keys = [InstrumentKey::new(Exchange::Nse, "TCS"), infy(), InstrumentKey::new(Exchange::Nse, "NOPE")];
    let call = kite().ltp(&keys);
    assert_eq!(sent(&call).query.encode(), "i=NSE%3ATCS&i=NSE%3AINFY&i=NSE%3ANOPE");
    let quote = |token: u32| json!({"instrument_token": token, "last_price": 1});
    let quotes = ok(call, &json!({"NSE:INFY": quote(1), "NSE:TCS": quote(2)})).unwrap();
    assert_eq!(quotes.iter().map(|(_, quote)| quote.token.0).collect::<Vec<_>>(), [2, 1]);
    assert!(matches!(kite().quote(&[]), Call::Ready(Ok(none)) if none.is_empty()));
    assert_eq!(refusal(kite().ltp(&keys), 403, "PermissionException", "plan"), Cause::Misconfigured);
}

#[test]
fn a_refusal_in_place_of_the_dump_is_told_in_the_brokers_words() {
    let call = || kite().instruments(Some(Exchange::Nfo));
    assert_eq!(sent(&call()).path, "/instruments/NFO");
    let body = r#"{"status":"error","error_type":"TokenException","message":"dead"}"#;
    for status in [200, 403] {
        let failure = answered(call(), Ok(response(status, body))).unwrap_err();
        assert_eq!((failure.cause, failure.message.as_str()), (Cause::Refused(Refusal::Conclusive), "dead"));
    }
    let failure = answered(call(), Ok(response(200, "half a du"))).unwrap_err();
    assert_eq!(failure.cause, Cause::Unknown);
    let dump = format!("{}\n1,1,X,,0,,0,0.05,50,FUT,NFO-FUT,NFO\n", wire::instruments::COLUMNS.join(","));
    assert_eq!(answered(call(), Ok(response(200, dump))).unwrap().len(), 1);
}

#[test]
fn candles_are_asked_for_in_indian_time() {
    let from = Timestamp::parse_ist("2026-11-20 09:15:00").unwrap();
    let call = kite().historical(BrokerToken(408_065), Interval::Minute5, from, from + Duration::from_secs(3_600));
    assert_eq!(sent(&call).path, "/instruments/historical/408065/5minute");
    let query = sent(&call).query.encode();
    assert_eq!(query, "from=2026-11-20+09%3A15%3A00&to=2026-11-20+10%3A15%3A00&continuous=0&oi=1");
    let candles = ok(call, &json!({"candles": [["2026-11-20T09:15:00+0530", 1, 2.5, 1, 2, 10, 0]]})).unwrap();
    assert_eq!((candles[0].at, candles[0].open_interest), (from, Some(0)));
}

#[test]
fn the_feed_is_opened_with_the_token_and_told_the_mode() {
    let socket = kite().connect(&AccessToken::new("t"));
    assert_eq!((socket.path.as_str(), socket.query.encode().as_str()), ("/", "api_key=key&access_token=t"));
    let text = |text: &str| WireMessage::Text(text.to_owned());
    assert_eq!(
        kite().subscribe(&[BrokerToken(5)], Mode::Full),
        [text(r#"{"a":"subscribe","v":[5]}"#), text(r#"{"a":"mode","v":["full",[5]]}"#)]
    );
    assert_eq!(kite().unsubscribe(&[BrokerToken(5)]), [text(r#"{"a":"unsubscribe","v":[5]}"#)]);
    assert_eq!(kite().subscribe(&[], Mode::Ltp), []);
}

#[test]
fn a_refused_handshake_is_suspect() {
    let body = r#"{"status":"error","message":"Authentication failed."}"#;
    let failure = kite().refused(&response(403, body));
    assert_eq!(failure.cause, Cause::Refused(Refusal::Suspect));
    assert_eq!(failure.message, "Authentication failed.");
    assert_eq!(kite().refused(&response(502, "bad gateway")).cause, Cause::Unknown);
}

#[test]
fn text_frames_say_orders_errors_and_words() {
    let decode = |text: Value| {
        let mut out = Vec::new();
        kite().decode(&WireMessage::Text(text.to_string()), &mut out);
        out.pop().unwrap()
    };
    let order = json!({
        "order_id": "1", "status": "COMPLETE", "exchange": "NSE", "tradingsymbol": "INFY", "order_type": "LIMIT",
        "transaction_type": "BUY", "product": "CNC", "quantity": 1, "order_timestamp": "2026-11-20 10:00:00", "tag": "N1",
    });
    let FeedEvent::Order(row) = decode(json!({"type": "order", "data": order})) else { panic!("no order") };
    assert_eq!(row.client_id.unwrap().as_str(), "N1");
    let mut foreign = order;
    foreign["product"] = json!("MTF");
    foreign["tag"] = json!(null);
    assert!(matches!(decode(json!({"type": "order", "data": foreign})), FeedEvent::Notice(_)));
    assert!(matches!(decode(json!({"type": "order", "data": {}})), FeedEvent::Garbage(_)));
    assert_eq!(decode(json!({"type": "error", "data": "no"})), FeedEvent::Error("no".to_owned()));
    assert_eq!(decode(json!({"type": "message", "data": "hi"})), FeedEvent::Notice("hi".to_owned()));
}

/// Every call's cause, given one answer.
fn causes(answer: &Result<HttpResponse, Lost>) -> Vec<Option<Cause>> {
    fn cause<T>(call: Call<T>, answer: &Result<HttpResponse, Lost>) -> Option<Cause> {
        answered(call, answer.clone()).err().map(|failure| failure.cause)
    }
    let (kite, now, token) = (kite(), Now::default(), AccessToken::new("t"));
    vec![
        cause(kite.exchange(token.secret()), answer),
        cause(kite.renew(token.secret()), answer),
        cause(kite.invalidate(&token), answer),
        cause(kite.probe(), answer),
        cause(kite.place(&market_order(), &ClientOrderId::numbered(1, 1), now), answer),
        cause(kite.modify(&id(), &OrderChange::default(), now), answer),
        cause(kite.cancel(&id(), now), answer),
        cause(kite.book(now), answer),
        cause(kite.history(&id(), now), answer),
        cause(kite.trades(now), answer),
        cause(kite.positions(now), answer),
        cause(kite.holdings(now), answer),
        cause(kite.margins(now), answer),
        cause(kite.quote(&[infy()]), answer),
        cause(kite.ohlc(&[infy()]), answer),
        cause(kite.ltp(&[infy()]), answer),
        cause(kite.instruments(None), answer),
        cause(kite.historical(BrokerToken(1), Interval::Day, Timestamp::default(), Timestamp::default()), answer),
    ]
}

proptest! {
    #[test]
    fn any_bytes_under_any_code_are_an_outcome_and_never_a_panic(
        status in any::<u16>(),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            r#"\{"status":"success","data":(\[\{.{0,20}|\{"[a-z_]{1,12}":.{0,20}|null|true|\[\])\}"#.prop_map(String::into_bytes),
        ],
    ) {
        let causes = causes(&Ok(response(status, body.clone())));
        if !(200..300).contains(&status) {
            prop_assert!(causes.iter().all(Option::is_some), "a failure's code is no success: {:?}", causes);
        }
        prop_assert!(!causes.contains(&Some(Cause::NotSent)));
        let mut out = Vec::new();
        kite().decode(&WireMessage::Text(String::from_utf8_lossy(&body).into_owned()), &mut out);
        kite().decode(&WireMessage::Binary(body), &mut out);
    }
}
