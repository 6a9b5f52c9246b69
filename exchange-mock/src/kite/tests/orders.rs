//! Orders over REST and what becomes of them.

use super::*;

const LIMIT: &str = "transaction_type=BUY&order_type=LIMIT";

#[test]
fn a_limit_order_rests_is_changed_and_cancelled_and_its_history_says_so() {
    let mut desk = Desk::open();
    let id = desk.place(&format!("{LIMIT}&price=1990&validity=DAY&tag=N1"));
    assert_eq!(id.len(), 19, "19 digits catch a client that rounds through a double");
    let path = format!("/orders/regular/{id}");
    let changed = desk.data(Method::Put, &path, "", "price=1991&quantity=7&order_id=1&variety=regular");
    assert_eq!(changed["order_id"], id.as_str());
    assert_eq!(desk.data(Method::Delete, &path, "variety=regular", "")["order_id"], id.as_str());
    let words = desk.history(&id, "status");
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    assert_eq!(words[..4], ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN"]);
    assert_eq!(words[4..8], ["MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED", "OPEN"]);
    assert_eq!(words.last(), Some(&"CANCELLED"));
    let book = desk.get("/orders");
    assert_eq!(book.as_array().unwrap().len(), 1, "one row an order");
    let row = &book[0];
    assert_eq!((&row["tag"], &row["tags"][0]), (&"N1".into(), &"N1".into()));
    assert_eq!((&row["quantity"], &row["price"], &row["modified"]), (&7.into(), &1991.0.into(), &true.into()));
    assert_eq!((&row["cancelled_quantity"], &row["status_message"]), (&7.into(), &Value::Null));
    assert_eq!((&row["instrument_token"], &row["placed_by"]), (&RELIANCE.into(), &"NR0001".into()));
    assert!(row["meta"].is_object(), "a string breaks Go");
}

#[test]
fn a_market_order_needs_protection_and_shows_as_a_limit_order() {
    let mut desk = Desk::open();
    let market = "transaction_type=BUY&order_type=MARKET";
    for bare in [
        market.to_owned(),
        format!("{market}&market_protection=0"),
        "transaction_type=SELL&order_type=SL-M&trigger_price=1990".into(),
    ] {
        let form = format!("exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=10&{bare}");
        let (status, error, message) = desk.refusal(Method::Post, "/orders/regular", "", &form);
        assert_eq!((status, error.as_str()), (400, "InputException"));
        assert!(message.starts_with("Market orders without market protection are not allowed via API."), "{message}");
    }
    let id = desk.place(&format!("{market}&market_protection=2.5"));
    desk.wait_until("10:00:10");
    let row = &desk.get("/orders")[0];
    assert_eq!((&row["status"], &row["order_type"]), (&"COMPLETE".into(), &"LIMIT".into()));
    assert_eq!(row["tags"], serde_json::json!(["mktp", "mktp:2.5"]));
    assert_eq!((&row["market_protection"], &row["filled_quantity"]), (&0.0.into(), &10.into()));
    let trades = desk.get(&format!("/orders/{id}/trades"));
    let filled: u64 = trades.as_array().unwrap().iter().map(|trade| trade["quantity"].as_u64().unwrap()).sum();
    assert_eq!(filled, 10);
    assert_eq!(trades[0]["order_timestamp"].as_str().unwrap().len(), 8, "time of day only");
    assert_eq!(desk.get("/trades"), trades);
}

#[test]
fn a_stop_waits_for_its_trigger_and_a_flat_position_stays_in_the_list() {
    let mut desk = Desk::open();
    desk.place("transaction_type=BUY&order_type=MARKET&market_protection=-1");
    let stop = desk.place("transaction_type=SELL&order_type=SL&price=1990&trigger_price=1995");
    assert_eq!(desk.history(&stop, "status").last().unwrap(), "TRIGGER PENDING");
    desk.data(Method::Delete, &format!("/orders/regular/{stop}"), "", "");
    desk.wait_until("10:00:10");
    assert_eq!(desk.get("/portfolio/positions")["net"][0]["quantity"], 10);
    desk.place("transaction_type=SELL&order_type=MARKET&market_protection=-1");
    desk.wait_until("10:00:15");
    let positions = desk.get("/portfolio/positions");
    assert_eq!((&positions["net"][0]["quantity"], &positions["net"][0]["product"]), (&0.into(), &"MIS".into()));
    assert_eq!(positions["day"], positions["net"]);
}

#[test]
fn refusals_come_in_the_brokers_types() {
    let mut desk = Desk::open();
    let base = "exchange=NSE&tradingsymbol=RELIANCE&product=MIS&transaction_type=BUY&order_type=LIMIT&price=1990";
    for (path, form, error) in [
        ("/orders/regular", "quantity=0".to_owned(), "InputException"),
        ("/orders/regular", "quantity=10&tag=0123456789012345678901".to_owned(), "InputException"),
        ("/orders/regular", "quantity=10&product=CNX&variety=regular".to_owned(), ""),
        ("/orders/bo", "quantity=10".to_owned(), "InputException"),
        ("/orders/iceberg", "quantity=10".to_owned(), "InputException"),
    ] {
        let (status, json) = desk.ask(Method::Post, path, "", &format!("{base}&{form}"));
        if error.is_empty() {
            assert_eq!(status, 200, "the first of two equal fields counts: {json}");
        } else {
            assert_eq!((status, &json["error_type"]), (400, &error.into()), "{json}");
        }
    }
    let unknown =
        "exchange=NSE&tradingsymbol=NOSUCH&product=MIS&transaction_type=BUY&order_type=LIMIT&price=1&quantity=1";
    assert_eq!(desk.refusal(Method::Post, "/orders/regular", "", unknown).0, 400);
    for (method, path) in [
        (Method::Put, "/orders/regular/123"),
        (Method::Delete, "/orders/regular/123"),
        (Method::Get, "/orders/123"),
        (Method::Get, "/orders/123/trades"),
    ] {
        let (status, _, message) = desk.refusal(method, path, "", "price=1");
        assert_eq!((status, message.as_str()), (400, "Couldn't find that `order_id`."), "{path}");
    }
}

#[test]
fn an_auto_sliced_order_has_a_parent_that_is_in_no_book_and_children_that_are() {
    let settings = Settings { freeze_quantity: nirantar_brokers::Quantity::new(4), ..Settings::default() };
    let mut desk = Desk::with(settings);
    let form = format!("exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=10&{LIMIT}&price=1990&tag=N7");
    for word in ["True", "true"] {
        let placed = desk.data(Method::Post, "/orders/regular", "", &format!("{form}&autoslice={word}"));
        assert_eq!(placed["children"].as_array().unwrap().len(), 3);
    }
    let book = desk.get("/orders");
    let quantities: Vec<&Value> = book.as_array().unwrap().iter().map(|row| &row["quantity"]).collect();
    assert_eq!(quantities, [4, 4, 2, 4, 4, 2]);
    let tags: Vec<&str> = book[0]["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(tags[..2], ["N7", "autoslice"]);
    let parent = tags[2].strip_prefix("autoslice:").unwrap();
    assert_eq!(desk.refusal(Method::Get, &format!("/orders/{parent}"), "", "").0, 400);
    let many = form.replace("quantity=10", "quantity=41") + "&autoslice=true";
    assert_eq!(desk.refusal(Method::Post, "/orders/regular", "", &many).1, "InputException");
}

#[test]
fn the_log_knows_every_order_request_whatever_became_of_it() {
    let mut desk = Desk::open();
    let id = desk.place(&format!("{LIMIT}&price=1990&tag=N1"));
    let good = std::mem::replace(&mut desk.token, "dead".to_owned());
    desk.send(Method::Delete, &format!("/orders/regular/{id}"), "", "");
    let log = desk.exchange.log();
    let [placed, refused] = &log.orders[..] else { panic!("{:?}", log.orders) };
    assert_eq!((placed.tag.as_deref(), placed.order_id.as_deref()), (Some("N1"), Some(id.as_str())));
    assert_eq!((placed.accepted, placed.status), (true, Some(200)));
    assert_eq!(placed.token, Some(nirantar_brokers::Fingerprint::of(&good)));
    assert_eq!((refused.accepted, refused.status), (false, Some(403)));
    assert_eq!(refused.token, Some(nirantar_brokers::Fingerprint::of("dead")));
}

#[test]
fn the_eleventh_order_of_a_market_second_is_throttled_and_not_acted_on() {
    let mut desk = Desk::open();
    for _ in 0..10 {
        desk.place(&format!("{LIMIT}&price=1990"));
    }
    let form = format!("exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=10&{LIMIT}&price=1990");
    let refusal = desk.refusal(Method::Post, "/orders/regular", "", &form);
    assert_eq!(refusal, (429, "NetworkException".into(), "Too many requests".into()));
    desk.wait_until("10:00:06");
    assert_eq!(desk.get("/orders").as_array().unwrap().len(), 10);
    desk.place(&format!("{LIMIT}&price=1990"));
    let mut free = Desk::with(Settings { rate_limits: false, ..Settings::default() });
    for _ in 0..30 {
        free.place(&format!("{LIMIT}&price=1990"));
    }
}

#[test]
fn a_holiday_that_is_announced_late_closes_the_market_from_then_on() {
    let mut desk = Desk::open();
    desk.place(&format!("{LIMIT}&price=1990"));
    let file = "built-in\nholiday,*,*,2021-04-12,,,,,,C,announced late\n";
    let calendar = crate::Calendar::parse(std::path::Path::new("calendar.csv"), file.as_bytes()).unwrap();
    desk.exchange.set_calendar(calendar, desk.now);
    let form =
        "exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=10&transaction_type=BUY&order_type=LIMIT&price=1990";
    let (status, error, message) = desk.refusal(Method::Post, "/orders/regular", "", form);
    assert_eq!((status, error.as_str()), (400, "OrderException"));
    assert!(message.starts_with("Markets are closed right now."), "{message}");
}
