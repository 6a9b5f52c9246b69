//! Every fault does what it says, to what it says, as often as it says.

use std::time::Duration;

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
