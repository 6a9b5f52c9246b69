//! The dump, quotes and candles.

use super::*;

#[test]
fn the_dump_is_exactly_csv_and_can_be_asked_for_by_exchange() {
    let mut desk = Desk::open();
    let all = desk.send(Method::Get, "/instruments", "", "");
    assert_eq!((all.status, all.content_type), (200, "text/csv"), "with a charset, JavaScript's SDK does not parse it");
    let text = String::from_utf8(all.body).unwrap();
    assert!(text.starts_with("instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"));
    assert!(text.contains("738561,2885,RELIANCE"), "{text}");
    let bse = String::from_utf8(desk.send(Method::Get, "/instruments/BSE", "", "").body).unwrap();
    assert!(bse.contains("SENSEX") && !bse.contains("RELIANCE"));
    assert_eq!(desk.refusal(Method::Get, "/instruments/NYSE", "", "").0, 400);
}

#[test]
fn quotes_leave_out_what_nobody_knows() {
    let mut desk = Desk::with(Settings { rate_limits: false, ..Settings::default() });
    desk.wait_until("10:00:20");
    let asked = "i=NSE:RELIANCE&i=NSE:NIFTY+50&i=NSE:NOSUCH&i=nonsense";
    let ltp = desk.data(Method::Get, "/quote/ltp", asked, "");
    assert_eq!(ltp["NSE:RELIANCE"], serde_json::json!({ "instrument_token": RELIANCE, "last_price": 2001.0 }));
    assert_eq!(ltp.as_object().unwrap().len(), 2);
    let ohlc = desk.data(Method::Get, "/quote/ohlc", asked, "");
    assert_eq!(ohlc["NSE:RELIANCE"]["ohlc"]["open"], 2000.05);
    let full = desk.data(Method::Get, "/quote", asked, "");
    let share = &full["NSE:RELIANCE"];
    assert_eq!((&share["volume"], &share["timestamp"]), (&20_000.into(), &"2021-04-12 10:00:20".into()));
    assert_eq!(share["depth"]["buy"].as_array().unwrap().len(), 5);
    assert_eq!(full["NSE:NIFTY 50"]["instrument_token"], NIFTY);
    let many: String = (0..501).map(|number| format!("i=NSE:X{number}&")).collect();
    assert_eq!(desk.refusal(Method::Get, "/quote", &many, "").1, "InputException");
    assert_eq!(desk.data(Method::Get, "/quote/ltp", &many, ""), serde_json::json!({}));
}

#[test]
fn quotes_are_limited_to_one_a_market_second() {
    let mut desk = Desk::open();
    desk.data(Method::Get, "/quote/ltp", "i=NSE:RELIANCE", "");
    assert_eq!(desk.refusal(Method::Get, "/quote", "i=NSE:RELIANCE", "").0, 429);
    desk.wait_until("10:00:06");
    desk.data(Method::Get, "/quote", "i=NSE:RELIANCE", "");
}

#[test]
fn candles_are_made_of_the_days_ticks() {
    let mut desk = Desk::open();
    desk.wait_until("10:05:30");
    let path = format!("/instruments/historical/{RELIANCE}/minute");
    let span = "from=2021-04-12+10:00:00&to=2021-04-12+10:04:59&interval=minute&oi=1";
    let data = desk.data(Method::Get, &path, span, "");
    let candles = data["candles"].as_array().unwrap();
    assert_eq!(candles.len(), 5);
    assert_eq!(
        candles[1],
        serde_json::json!(["2021-04-12T10:01:00+0530", 2003.0, 2005.95, 2003.0, 2005.95, 60_000, 0])
    );
    for (path, span, words) in [
        ("/instruments/historical/1/minute", span, "invalid token"),
        ("/instruments/historical/738561/2minute", span, "invalid interval"),
        (path.as_str(), "from=today&to=2021-04-12", "invalid from date"),
    ] {
        let (status, error, message) = desk.refusal(Method::Get, path, span, "");
        assert_eq!((status, error.as_str(), message.as_str()), (400, "InputException", words));
        desk.now = desk.now + std::time::Duration::from_secs(1);
    }
    let long = desk.refusal(Method::Get, &path, "from=2021-01-01&to=2021-04-12", "");
    assert_eq!(long.2, "interval exceeds max limit: 60 days");
}
