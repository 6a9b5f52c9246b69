//! Login, tokens, profile, funds, control.

use nirantar_brokers::{Form, Method, Secret};

use super::*;
use crate::kite::{How, NewLogin, Refresh};

#[test]
fn a_login_by_the_page_yields_a_session_that_works() {
    let mut desk = Desk::open();
    let (status, json) = log_in_by_page(&mut desk, "nirantar-secret");
    assert_eq!(status, 200);
    let data = &json["data"];
    assert_eq!((&data["user_id"], &data["refresh_token"]), (&"NR0001".into(), &"".into()));
    assert_eq!(data["login_time"], "2021-04-12 10:00:05", "19 characters, Python insists");
    desk.token = data["access_token"].as_str().unwrap().to_owned();
    assert_eq!(desk.get("/user/profile")["user_id"], "NR0001");
}

#[test]
fn the_login_page_sends_back_what_it_was_given_and_nothing_overrides_its_own_words() {
    let mut desk = Desk::open();
    let query = Form::new()
        .with("v", 3)
        .with("api_key", "nirantar")
        .with("redirect_params", "state=a%26b&status=failed&request_token=mine")
        .encode();
    let reply = desk.send(Method::Get, "/connect/login", &query, "");
    assert_eq!(reply.status, 302);
    let location = reply.header("Location").unwrap();
    let back = Form::parse(location.strip_prefix("http://127.0.0.1/?").unwrap().as_bytes());
    assert_eq!(back.get("state"), Some("a&b"));
    assert_eq!(back.all("status").collect::<Vec<_>>(), ["success"]);
    assert_eq!(back.get("action").zip(back.get("type")), Some(("login", "login")));
    assert_eq!(back.all("request_token").count(), 1);
    let (status, error, _) = desk.refusal(Method::Get, "/connect/login", "v=3&api_key=other", "");
    assert_eq!((status, error.as_str()), (400, "InputException"));
}

#[test]
fn a_wrong_checksum_is_a_token_exception_that_kills_nothing() {
    let mut desk = Desk::open();
    let (status, json) = log_in_by_page(&mut desk, "wrong");
    assert_eq!((status, &json["error_type"]), (403, &"TokenException".into()));
    assert_eq!(json["message"], "Invalid `checksum`.");
    assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 200, "the old token lives");
}

#[test]
fn a_new_login_kills_the_old_token_unless_told_to_keep_it() {
    for (new_login, status) in [(NewLogin::Kills, 403), (NewLogin::Keeps, 200)] {
        let mut desk = Desk::with(Settings { new_login, ..Settings::default() });
        assert_eq!(log_in_by_page(&mut desk, "nirantar-secret").0, 200);
        assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, status);
    }
}

#[test]
fn another_users_login_spares_the_owners_token_and_opens_nothing_but_its_own_profile() {
    let mut desk = Desk::open();
    let stranger = desk.exchange.log_in_as("XY0001", desk.now).access_token.expose().to_owned();
    assert_eq!(desk.get("/user/profile")["user_id"], "NR0001", "the owner's token lives");
    desk.token = stranger;
    assert_eq!(desk.get("/user/profile")["user_id"], "XY0001");
    let (status, error, _) = desk.refusal(Method::Get, "/orders", "", "");
    assert_eq!((status, error.as_str()), (403, "PermissionException"));
    let query = Form::new().with("api_key", "nirantar").with("access_token", desk.token.as_str());
    assert_eq!(desk.exchange.open(&query, 4000, desk.now).unwrap_err().status, 403);
    let reply = desk.send(Method::Post, "/nirantar/control", "", "login=1&user=XY0002");
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(json["data"]["session"]["user_id"], "XY0002");
}

#[test]
fn a_dead_token_is_refused_in_the_brokers_words_everywhere_but_at_the_dump() {
    let mut desk = Desk::open();
    desk.token = "dead".to_owned();
    for path in ["/user/profile", "/orders", "/portfolio/positions", "/quote/ltp", "/user/margins/equity"] {
        let refusal = desk.refusal(Method::Get, path, "", "");
        assert_eq!(refusal, (403, "TokenException".into(), "Incorrect `api_key` or `access_token`.".into()), "{path}");
    }
    assert_eq!(desk.send(Method::Get, "/instruments", "", "").status, 200);
    let log = desk.exchange.log();
    assert_eq!((log.probes_accepted, log.probes_refused), (0, 1));
    let reads = log.reads[&nirantar_brokers::Fingerprint::of("dead")];
    assert_eq!((reads.accepted, reads.refused), (0, 3), "book, positions, margins");
}

#[test]
fn renewal_works_once_for_each_refresh_token_and_only_while_it_is_not_withdrawn() {
    let mut desk = Desk::with(Settings { refresh: Refresh::Works, ..Settings::default() });
    let session = desk.exchange.log_in(desk.now);
    let refresh = session.refresh_token.unwrap();
    let form = Form::new()
        .with("api_key", "nirantar")
        .with_secret("refresh_token", &refresh)
        .with("checksum", checksum("nirantar", &refresh, &Secret::new("nirantar-secret")))
        .encode();
    desk.exchange.set_refresh(Refresh::Withdrawn);
    assert_eq!(desk.refusal(Method::Post, "/session/refresh_token", "", &form).1, "TokenException");
    desk.exchange.set_refresh(Refresh::Works);
    let renewed = desk.data(Method::Post, "/session/refresh_token", "", &form);
    assert_ne!(renewed["refresh_token"], refresh.expose());
    desk.token = renewed["access_token"].as_str().unwrap().to_owned();
    assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 200);
    assert_eq!(desk.refusal(Method::Post, "/session/refresh_token", "", &form).0, 403);
    let log = desk.exchange.log();
    assert_eq!((log.renewals(), log.renewals_refused), (1, 2));
    let last = log.sessions.last().unwrap();
    assert_eq!((last.how, last.token), (How::Renewal, nirantar_brokers::Fingerprint::of(&desk.token)));
}

#[test]
fn a_logout_ends_the_token_at_once() {
    let mut desk = Desk::open();
    let query = format!("api_key=nirantar&access_token={}", desk.token);
    assert_eq!(desk.data(Method::Delete, "/session/token", &query, ""), true);
    assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 403);
    assert_eq!(desk.refusal(Method::Delete, "/session/token", &query, "").1, "TokenException");
}

#[test]
fn a_token_dies_at_its_time_of_day_and_of_old_age() {
    let by_time = Settings { token_dies_at: Some("10:02:00".parse().unwrap()), ..Settings::default() };
    let by_age = Settings { token_ttl: Some(std::time::Duration::from_secs(115)), ..Settings::default() };
    for settings in [by_time, by_age] {
        let mut desk = Desk::with(settings);
        desk.wait_until("10:01:59");
        assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 200);
        desk.wait_until("10:02:00");
        assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 403);
    }
}

#[test]
fn funds_are_those_of_the_paper_account() {
    let mut desk = Desk::open();
    assert_eq!(desk.get("/user/margins")["equity"]["available"]["cash"], 1_000_000.0);
    assert_eq!(desk.get("/user/margins/equity")["net"], 1_000_000.0);
    assert_eq!(desk.get("/user/margins/commodity")["enabled"], false);
    assert_eq!(desk.refusal(Method::Get, "/user/margins/forex", "", "").0, 400);
    assert_eq!(desk.get("/portfolio/holdings"), serde_json::json!([]));
}

#[test]
fn what_a_trade_costs_and_brings_is_seen_in_funds_and_positions_at_once() {
    let mut desk = Desk::open();
    desk.place("transaction_type=BUY&order_type=MARKET&market_protection=2.5");
    desk.wait_until("10:00:06");
    // Bought 10 x 2,000.25 = 20,002.50 in April 2021: brokerage 6.00, exchange 0.69, SEBI 0.02, stamp 0.60, GST 18% of
    // 6.71 = 1.21; together 8.52.
    let funds = desk.get("/user/margins/equity");
    let (available, utilised) = (&funds["available"], &funds["utilised"]);
    assert_eq!((&available["opening_balance"], &available["cash"]), (&1_000_000.0.into(), &999_991.48.into()));
    assert_eq!((&utilised["debits"], &funds["net"]), (&4_000.5.into(), &995_990.98.into()));
    // Five paise up since.
    assert_eq!((&utilised["m2m_unrealised"], &utilised["m2m_realised"]), (&0.5.into(), &0.0.into()));
    let positions = desk.get("/portfolio/positions");
    assert_eq!(positions["day"], positions["net"]);
    assert_eq!((&positions["net"][0]["quantity"], &positions["net"][0]["day_buy_quantity"]), (&10.into(), &10.into()));
}

#[test]
fn shares_bought_stand_in_holdings_from_the_next_day_and_other_positions_go_on() {
    let mut desk = Desk::open();
    let cnc = "exchange=NSE&tradingsymbol=RELIANCE&product=CNC&quantity=3";
    let form = format!("{cnc}&transaction_type=BUY&order_type=MARKET&market_protection=2.5");
    desk.data(Method::Post, "/orders/regular", "", &form);
    desk.place("transaction_type=BUY&order_type=MARKET&market_protection=2.5");
    desk.wait_until("10:00:10");
    assert_eq!(desk.get("/portfolio/holdings"), serde_json::json!([]));
    desk.now = nirantar_brokers::time::Timestamp::parse_ist("2021-04-13 10:00:00").unwrap();
    desk.exchange.advance(desk.now);
    let held = desk.get("/portfolio/holdings");
    let row = &held[0];
    assert_eq!((held.as_array().unwrap().len(), &row["quantity"], &row["t1_quantity"]), (1, &0.into(), &3.into()));
    assert_eq!(row["average_price"], 2000.25);
    let positions = desk.get("/portfolio/positions");
    let row = &positions["net"][0];
    let overnight = (&row["product"], &row["quantity"], &row["overnight_quantity"], &row["day_buy_quantity"]);
    assert_eq!(overnight, (&"MIS".into(), &10.into(), &10.into(), &0.into()));
    assert_eq!((positions["net"].as_array().unwrap().len(), &positions["day"]), (1, &serde_json::json!([])));
}

#[test]
fn holdings_show_what_is_in_the_demat_account() {
    let held = nirantar_brokers::Holding {
        instrument: InstrumentKey::new(Exchange::Nse, "RELIANCE"),
        quantity: nirantar_brokers::Quantity::new(5),
        t1_quantity: nirantar_brokers::Quantity::ZERO,
        average_price: nirantar_brokers::Price::from_paise(150_000),
        last_price: nirantar_brokers::Price::ZERO,
    };
    let mut desk = Desk::with(Settings { holdings: vec![held], ..Settings::default() });
    let row = &desk.get("/portfolio/holdings")[0];
    assert_eq!(
        (&row["quantity"], &row["average_price"], &row["last_price"]),
        (&5.into(), &1500.0.into(), &2000.25.into())
    );
}

#[test]
fn control_kills_tokens_logs_in_and_sets_faults() {
    let mut desk = Desk::open();
    let answer =
        desk.data(Method::Post, "/nirantar/control", "", "kill-token=1&login=1&fault=no-reply@1&refresh=works");
    assert_eq!((&answer["killed"], &answer["faults"]), (&1.into(), &serde_json::json!(["no-reply@1"])));
    assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 403, "the old token is dead");
    let session = &answer["session"];
    assert!(!session["refresh_token"].as_str().unwrap().is_empty());
    desk.token = session["access_token"].as_str().unwrap().to_owned();
    assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 200);
    assert_eq!(desk.data(Method::Post, "/nirantar/control", "", "clear=all")["faults"], serde_json::json!([]));
}

#[test]
fn control_does_nothing_of_a_form_with_a_bad_field_and_serves_this_machine_only() {
    let mut desk = Desk::open();
    for bad in ["fault=fire", "refresh=maybe", "login=yes", "kill-token=2", "bogus=1"] {
        let (status, _, message) = desk.refusal(Method::Post, "/nirantar/control", "", &format!("{bad}&kill-token=1"));
        assert_eq!(status, 400, "{message}");
    }
    assert_eq!(desk.send(Method::Get, "/user/profile", "", "").status, 200);
    let parts = HttpParts { local: false, ..HttpParts::new(Method::Get, "/nirantar/log") };
    assert_eq!(desk.exchange.handle(&parts, desk.now).status, 403);
    assert_eq!(desk.send(Method::Get, "/nirantar/log", "", "").status, 200);
}

#[test]
fn nothing_that_is_printed_holds_a_token() {
    let mut desk = Desk::open();
    let reply = desk.send(Method::Post, "/nirantar/control", "", "login=1");
    let log = desk.send(Method::Get, "/nirantar/log", "", "");
    let shown =
        format!("{:?} {reply:?} {} {:?}", desk.exchange, String::from_utf8_lossy(&log.body), desk.exchange.log());
    assert!(!shown.contains(&desk.token) && !shown.contains("nirantar-secret"), "{shown}");
}
