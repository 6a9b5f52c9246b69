//! Every fault does what it says, to what it says, as often as it says.

use std::time::Duration;

use nirantar_brokers::WireMessage;

use super::*;
use crate::kite::Transport;

const ORDER: &str = "exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=10&transaction_type=BUY&order_type=LIMIT&price=1990&tag=N1";

fn place(desk: &mut Desk) -> Reply {
    desk.send(Method::Post, "/orders/regular", "", ORDER)
}

fn orders(desk: &mut Desk) -> usize {
    desk.get("/orders").as_array().unwrap().len()
}

#[test]
fn a_token_exception_hits_reads_and_orders_and_spares_the_living_token() {
    let mut desk = Desk::broken("token-exception@2");
    assert_eq!(desk.refusal(Method::Get, "/user/profile", "", "").1, "TokenException");
    assert_eq!(place(&mut desk).status, 403);
    assert_eq!(orders(&mut desk), 0);
}

#[test]
fn the_ip_rule_hits_orders_only() {
    let mut desk = Desk::broken("permission-exception");
    let (status, error, message) = desk.refusal(Method::Post, "/orders/regular", "", ORDER);
    assert_eq!((status, error.as_str()), (403, "PermissionException"));
    assert!(message.contains("IPs"), "{message}");
    assert_eq!(orders(&mut desk), 0);
    assert!(desk.socket(4001).is_ok());
}

#[test]
fn a_missing_plan_hits_quotes_candles_and_the_feed() {
    let mut desk = Desk::broken("permission-data");
    let refusal = desk.refusal(Method::Get, "/quote/ltp", "i=NSE:RELIANCE", "");
    assert_eq!(refusal, (403, "PermissionException".into(), "Insufficient permission for that call.".into()));
    assert_eq!(desk.socket(4001).unwrap_err().status, 403);
    assert_eq!(place(&mut desk).status, 200);
}

#[test]
fn a_throttle_is_429_and_nothing_happens() {
    let mut desk = Desk::broken("throttle@1");
    assert_eq!(place(&mut desk).status, 429);
    assert_eq!(orders(&mut desk), 0);
}

#[test]
fn a_lost_reply_hides_an_order_that_exists() {
    for (fault, transport) in [("no-reply@1", Transport::Hang), ("reply-cut@1", Transport::Cut)] {
        let mut desk = Desk::broken(fault);
        assert_eq!(desk.send(Method::Get, "/user/profile", "", "").transport, Transport::Normal);
        assert_eq!(place(&mut desk).transport, transport);
        assert_eq!(orders(&mut desk), 1);
        let logged = &desk.exchange.log().orders[0];
        assert_eq!((logged.accepted, logged.status), (true, None));
        assert!(logged.order_id.is_some());
        assert_eq!(place(&mut desk).transport, Transport::Normal, "{fault} happens once");
    }
}

#[test]
fn a_throttle_says_how_long_to_wait_where_it_is_told_to() {
    for (fault, header) in [("throttle@1", None), ("throttle=2s@1", Some("2")), ("throttle=1500ms@1", Some("2"))] {
        let mut desk = Desk::broken(fault);
        let reply = place(&mut desk);
        assert_eq!((reply.status, reply.header("Retry-After")), (429, header), "{fault}");
        assert_eq!(orders(&mut desk), 0);
    }
}

#[test]
fn a_reset_leaves_an_order_only_where_it_says_so() {
    for (fault, placed, tag) in
        [("reset=before@1", 0, None), ("reset=after@1", 0, Some("N1")), ("reset=accepted@1", 1, Some("N1"))]
    {
        let mut desk = Desk::broken(fault);
        assert_eq!(desk.send(Method::Get, "/orders", "", "").transport, Transport::Normal, "reads are spared");
        assert_eq!(place(&mut desk).transport, Transport::Reset, "{fault}");
        let logged = desk.exchange.log().orders[0].clone();
        assert_eq!((logged.accepted, logged.status, logged.tag.as_deref()), (placed == 1, None, tag), "{fault}");
        assert_eq!(orders(&mut desk), placed, "{fault}");
        assert_eq!(place(&mut desk).transport, Transport::Normal, "{fault} happens once");
    }
}

#[test]
fn garbage_is_a_200_that_is_no_json_for_an_order_that_exists() {
    let mut desk = Desk::broken("garbage@1");
    let reply = place(&mut desk);
    assert_eq!((reply.status, reply.transport), (200, Transport::Normal));
    assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    assert_eq!(orders(&mut desk), 1);
}

#[test]
fn an_order_request_that_timed_out_may_exist_or_not() {
    for (fault, placed) in [("timed-out@1", 0), ("timed-out=accepted@1", 1)] {
        let mut desk = Desk::broken(fault);
        let (status, error, message) = desk.refusal(Method::Post, "/orders/regular", "", ORDER);
        assert_eq!((status, error.as_str()), (400, "OrderException"));
        assert!(message.starts_with("Order request timed out."), "{message}");
        assert_eq!(orders(&mut desk), placed, "{fault}");
        assert_eq!(desk.exchange.log().orders[0].accepted, placed == 1);
    }
}

#[test]
fn a_late_answer_belongs_to_an_order_that_exists_and_spares_reads() {
    let mut desk = Desk::broken("late=8s@1");
    assert_eq!(desk.send(Method::Get, "/user/profile", "", "").transport, Transport::Normal);
    assert_eq!(place(&mut desk).transport, Transport::Delay(Duration::from_secs(8)));
    assert_eq!(orders(&mut desk), 1);
    assert_eq!(place(&mut desk).transport, Transport::Normal);
}

#[test]
fn a_refused_order_is_answered_although_replies_get_lost() {
    let mut desk = Desk::broken("no-reply");
    let bad = desk.refusal(Method::Post, "/orders/regular", "", "quantity=1");
    assert_eq!(bad.0, 400);
}

#[test]
fn a_5xx_comes_in_three_scopes() {
    for status in [500u16, 502, 503, 504] {
        let mut all = Desk::broken(&format!("{status}@2"));
        assert_eq!(all.ask(Method::Get, "/user/profile", "", "").0, status);
        assert_eq!(place(&mut all).status, status);
        assert_eq!(orders(&mut all), 0);

        let mut some = Desk::broken(&format!("{status}=orders"));
        assert_eq!(place(&mut some).status, status);
        assert_eq!(orders(&mut some), 0);

        let mut lie = Desk::broken(&format!("{status}=accepted"));
        assert_eq!(place(&mut lie).status, status);
        assert_eq!(orders(&mut lie), 1, "the order exists although the answer says error");
        assert_eq!(lie.exchange.log().orders[0].status, Some(status));
    }
}

#[test]
fn a_slow_reply_is_late_in_real_time() {
    let mut desk = Desk::broken("slow=250ms@1");
    assert_eq!(place(&mut desk).transport, Transport::Delay(Duration::from_millis(250)));
    assert_eq!(place(&mut desk).transport, Transport::Normal);
}

#[test]
fn a_young_order_cannot_be_seen_under_a_book_delay_and_comes_out_later() {
    let mut desk = Desk::broken("book-delay=10s");
    let market = "transaction_type=BUY&order_type=MARKET&market_protection=-1";
    let id = desk.place(market);
    desk.wait_until("10:00:14");
    assert_eq!(orders(&mut desk), 0);
    assert_eq!(desk.refusal(Method::Get, &format!("/orders/{id}"), "", "").0, 400);
    assert_eq!(desk.refusal(Method::Get, &format!("/orders/{id}/trades"), "", "").0, 400);
    assert_eq!(desk.get("/trades"), serde_json::json!([]));
    desk.wait_until("10:00:15");
    assert_eq!(orders(&mut desk), 1);
    assert_ne!(desk.get("/trades"), serde_json::json!([]));
}

#[test]
fn a_fault_can_be_set_and_cleared_while_the_server_runs() {
    let mut desk = Desk::open();
    desk.exchange.set_fault("503".parse().unwrap(), desk.now);
    assert_eq!(place(&mut desk).status, 503);
    assert!(desk.exchange.clear_fault("503", desk.now));
    assert!(!desk.exchange.clear_fault("503", desk.now));
    assert_eq!(place(&mut desk).status, 200);
}

/// What a market order that has gone through was filled at.
fn paid(desk: &mut Desk, id: &str) -> f64 {
    desk.get(&format!("/orders/{id}/trades"))[0]["average_price"].as_f64().unwrap()
}

#[test]
fn a_wide_spread_is_paid_by_who_takes_and_keeps_who_waits_waiting() {
    // 2,000.25 at 10:00:05, five paise (a tick) more each second.
    let mut desk = Desk::broken("widen=20:738561");
    let buy = desk.place("transaction_type=BUY&order_type=MARKET&market_protection=-1");
    let sell = desk.place("transaction_type=SELL&order_type=MARKET&market_protection=-1");
    assert_eq!((paid(&mut desk, &buy), paid(&mut desk, &sell)), (2_001.25, 1_999.25));
    let waits = desk.place("transaction_type=SELL&order_type=LIMIT&price=2000.40");
    desk.wait_until("10:00:27");
    assert_eq!(desk.history(&waits, "status").last().unwrap(), "OPEN", "2,001.35 less a rupee");
    desk.wait_until("10:00:28");
    assert_eq!(desk.history(&waits, "status").last().unwrap(), "COMPLETE");
}

#[test]
fn a_wide_spread_ends_after_its_ticks_or_when_it_is_cleared() {
    let mut desk = Desk::broken("widen=20:738561@7");
    desk.wait_until("10:00:06");
    let wide = desk.place("transaction_type=BUY&order_type=MARKET&market_protection=-1");
    desk.wait_until("10:00:08");
    let usual = desk.place("transaction_type=BUY&order_type=MARKET&market_protection=-1");
    assert_eq!((paid(&mut desk, &wide), paid(&mut desk, &usual)), (2_001.30, 2_000.40));
    assert!(desk.exchange.faults().is_empty());

    let mut desk = Desk::broken("widen=20");
    assert!(desk.exchange.clear_fault("widen", desk.now));
    desk.wait_until("10:00:06");
    let usual = desk.place("transaction_type=BUY&order_type=MARKET&market_protection=-1");
    assert_eq!(paid(&mut desk, &usual), 2_000.30);
    // A number that names nothing widens nothing.
    desk.exchange.set_fault("widen=20:1".parse().unwrap(), desk.now);
    let usual = desk.place("transaction_type=BUY&order_type=MARKET&market_protection=-1");
    assert_eq!(paid(&mut desk, &usual), 2_000.30);
}

#[test]
fn frozen_prices_stand_still_for_so_many_ticks_and_fill_nothing() {
    let last = |desk: &mut Desk| {
        desk.data(Method::Get, "/quote/ltp", "i=NSE:RELIANCE", "")["NSE:RELIANCE"]["last_price"].as_f64().unwrap()
    };
    let mut desk = Desk::open();
    let socket = desk.socket(4001).unwrap();
    desk.tell(socket, r#"{"a":"subscribe","v":[738561]}"#);
    let waits = desk.place("transaction_type=SELL&order_type=LIMIT&price=2000.30");
    desk.exchange.set_fault("freeze@3".parse().unwrap(), desk.now);
    desk.sent();
    desk.wait_until("10:00:08");
    assert_eq!(last(&mut desk), 2_000.25);
    assert_eq!(desk.history(&waits, "status").last().unwrap(), "OPEN");
    let ticks = |outputs: Vec<Output>| {
        let long = |output: &Output| matches!(output, Output::Send { message: WireMessage::Binary(frame), .. } if frame.len() > 1);
        outputs.iter().filter(|output| long(output)).count()
    };
    assert_eq!(ticks(desk.sent()), 0, "nothing but signs of life");
    desk.wait_until("10:00:09");
    assert_eq!((last(&mut desk), ticks(desk.sent())), (2_000.45, 1));
    assert_eq!(desk.history(&waits, "status").last().unwrap(), "COMPLETE");
}

/// What a socket is told of a market order: status and how much is filled, in the order it is told.
fn told_of_an_order(fault: Option<&str>) -> Vec<(String, u64)> {
    let mut desk = Desk::open();
    desk.socket(4001).unwrap();
    if let Some(fault) = fault {
        desk.exchange.set_fault(fault.parse().unwrap(), desk.now);
    }
    desk.sent();
    desk.place("transaction_type=BUY&order_type=MARKET&market_protection=-1");
    let texts = desk.sent().into_iter().filter_map(|output| match output {
        Output::Send { message: WireMessage::Text(text), .. } => Some(text),
        _ => None,
    });
    let told = texts.map(|text| {
        let update: Value = serde_json::from_str(&text).unwrap();
        let data = &update["data"];
        (data["status"].as_str().unwrap().to_owned(), data["filled_quantity"].as_u64().unwrap())
    });
    told.collect()
}

#[test]
fn a_duplicate_tells_an_update_twice_in_a_row() {
    let usual = told_of_an_order(None);
    assert_eq!(usual.last(), Some(&("COMPLETE".to_owned(), 10)));
    let mut twice = usual.clone();
    twice.insert(0, usual[0].clone());
    assert_eq!(told_of_an_order(Some("duplicate@1")), twice);
    let all: Vec<_> = usual.iter().flat_map(|update| [update.clone(), update.clone()]).collect();
    assert_eq!(told_of_an_order(Some("duplicate")), all);
}

#[test]
fn updates_of_one_moment_come_in_the_wrong_order_under_reorder() {
    let mut usual = told_of_an_order(None);
    assert!(usual.len() > 1);
    usual.reverse();
    assert_eq!(told_of_an_order(Some("reorder@1")), usual);
}
