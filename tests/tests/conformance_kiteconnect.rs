//! Zerodha's official Rust crate `kiteconnect`, as its users use it, against `nirantar exchange` in a process of its own.
//!
//! The crate's own types decode every answer: what it cannot read fails here. Waiting is always for a condition, with a
//! deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::future::Future;
use std::time::Duration;

use child::Exchange;
use kiteconnect::error::ErrorKind;
use kiteconnect::{
    AccessToken, ApiSecret, CloseReason, Exchange as Market, KiteConnect, KiteTicker, Mode, Order, OrderParams,
    OrderType, Product, Tick, TickerEvent, TickerEvents, TransactionType, Validity, Variety,
};

const API_KEY: &str = "nirantar";
const API_SECRET: &str = "nirantar-secret";
const USER: &str = "NR0001";
const RELIANCE: u32 = 738_561;
const TCS: u32 = 2_953_217;
const NIFTY: u32 = 256_265;
const MARKET_REFUSED: &str = "Market orders without market protection are not allowed via API. Please set market \
                              protection or use a Limit order.";
const DEAD_TOKEN: &str = "Incorrect `api_key` or `access_token`.";
/// How long a test waits for what must come. Ticks come about once a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// An exchange with a session at it.
struct Desk {
    kite: KiteConnect,
    exchange: Exchange,
}

impl Desk {
    async fn open(options: &[&str]) -> Self {
        let exchange = Exchange::start(&[&["--no-rate-limits"][..], options].concat());
        let kite = KiteConnect::builder(API_KEY).base_url(exchange.root()).build().unwrap();
        let mut desk = Self { kite, exchange };
        desk.log_in().await;
        desk
    }

    /// Logs in on the login page the SDK names, which approves at once, and takes the code off the redirect.
    async fn request_token(&self) -> String {
        let url = self.kite.login_url().replace("https://kite.zerodha.com", &self.exchange.root());
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = browser.get(url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 302);
        let location = answer.headers()["location"].to_str().unwrap();
        let query = location.split_once('?').unwrap().1;
        assert!(query.split('&').any(|pair| pair == "status=success"), "{query}");
        let code = query.split('&').find_map(|pair| pair.strip_prefix("request_token="));
        code.unwrap().to_owned()
    }

    /// A whole login; returns the token.
    async fn log_in(&mut self) -> AccessToken {
        let code = self.request_token().await;
        let session = self.kite.generate_session(&code, &ApiSecret::new(API_SECRET).unwrap()).await.unwrap();
        assert_eq!((session.profile.user_id.as_str(), session.api_key.as_str()), (USER, API_KEY));
        assert!(session.refresh_token.is_none(), "an individual's app has no refresh token");
        self.kite.set_access_token(session.access_token.clone());
        session.access_token
    }

    /// Makes something happen at the exchange.
    async fn control(&self, form: &'static str) -> serde_json::Value {
        let request = reqwest::Client::new()
            .post(format!("{}/nirantar/control", self.exchange.root()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// RELIANCE's last price times `percent` / 100, on its tick, in paise.
    async fn price(&self, percent: i64) -> f64 {
        let last = self.kite.ltp(&["NSE:RELIANCE"]).await.unwrap()["NSE:RELIANCE"].last_price;
        let rows = self.kite.instruments_by_exchange("NSE").await.unwrap();
        let tick = rows.iter().find(|row| row.tradingsymbol == "RELIANCE").unwrap().tick_size;
        let (last, tick) = ((last * 100.0).round() as i64, (tick * 100.0).round() as i64);
        rupees(last * percent / 100 / tick * tick)
    }

    async fn place(&self, order: OrderParams) -> String {
        self.kite.place_order(Variety::Regular, order).await.unwrap().order_id
    }

    async fn modify(&self, id: &str, change: OrderParams) {
        let answer = self.kite.modify_order(Variety::Regular, id, change).await.unwrap();
        assert_eq!(answer.order_id, id);
    }

    async fn cancel(&self, id: &str) {
        let answer = self.kite.cancel_order(Variety::Regular, id, None).await.unwrap();
        assert_eq!(answer.order_id, id);
    }

    async fn row(&self, id: &str) -> Order {
        let book = self.kite.orders().await.unwrap();
        let mut rows = book.into_iter().filter(|row| row.order_id == id);
        let row = rows.next().expect("the order is in the book");
        assert!(rows.next().is_none(), "two rows of one order");
        row
    }

    /// Waits until the order's row is as wanted.
    async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Order) -> bool) -> Order {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        within(what, async {
            loop {
                pace.tick().await;
                let row = self.row(id).await;
                if wanted(&row) {
                    return row;
                }
            }
        })
        .await
    }

    async fn becomes(&self, id: &str, status: &str) -> Order {
        self.until(id, status, |row| row.status == status).await
    }

    fn ticker(&self) -> (KiteTicker, TickerEvents) {
        let url = format!("ws://{}", self.exchange.address).parse().unwrap();
        self.kite.ticker().url(url).spawn().unwrap()
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "paise of a share price are far below 2^52")]
fn rupees(paise: i64) -> f64 {
    paise as f64 / 100.0
}

/// An intraday order of one RELIANCE.
fn order(side: TransactionType, order_type: OrderType) -> OrderParams {
    OrderParams::new()
        .exchange(Market::Nse)
        .tradingsymbol("RELIANCE")
        .transaction_type(side)
        .order_type(order_type)
        .product(Product::Mis)
        .validity(Validity::Day)
        .quantity(1)
}

fn buy(order_type: OrderType) -> OrderParams {
    order(TransactionType::Buy, order_type)
}

fn sell(order_type: OrderType) -> OrderParams {
    order(TransactionType::Sell, order_type)
}

/// Kind, HTTP status and words of a refusal.
fn refusal<T: std::fmt::Debug>(answer: kiteconnect::Result<T>) -> (ErrorKind, u16, String) {
    match answer {
        Err(kiteconnect::Error::Api(error)) => (error.kind, error.status, error.message),
        other => panic!("expected a refusal by the API, got {other:?}"),
    }
}

fn refused(kind: ErrorKind, status: u16, message: &str) -> (ErrorKind, u16, String) {
    (kind, status, message.to_owned())
}

#[tokio::test]
async fn a_login_gives_one_session_for_one_request_token() {
    let mut desk = Desk::open(&[]).await;
    let profile = desk.kite.profile().await.unwrap();
    assert_eq!((profile.user_id.as_str(), profile.broker.as_str()), (USER, "ZERODHA"));
    assert!(profile.exchanges.iter().any(|exchange| exchange == "NSE"), "{:?}", profile.exchanges);

    let code = desk.request_token().await;
    let wrong = desk.kite.generate_session(&code, &ApiSecret::new("wrong").unwrap()).await;
    let (kind, status, words) = refusal(wrong);
    assert_eq!((kind, status), (ErrorKind::Token, 403));
    assert!(words.contains("checksum"), "{words}");

    let old = desk.kite.clone();
    let code = desk.request_token().await;
    let secret = ApiSecret::new(API_SECRET).unwrap();
    let session = desk.kite.generate_session(&code, &secret).await.unwrap();
    desk.kite.set_access_token(session.access_token);
    let again = refusal(desk.kite.generate_session(&code, &secret).await);
    assert_eq!((again.0, again.1), (ErrorKind::Token, 403));

    desk.kite.profile().await.unwrap();
    assert_eq!(refusal(old.profile().await), refused(ErrorKind::Token, 403, DEAD_TOKEN));
}

#[tokio::test]
async fn market_data_reads_as_the_sdk_expects() {
    let desk = Desk::open(&[]).await;
    let rows = desk.kite.instruments().await.unwrap();
    let token = |symbol: &str| rows.iter().find(|row| row.tradingsymbol == symbol).unwrap().instrument_token;
    assert_eq!([token("RELIANCE"), token("NIFTY 50"), token("SENSEX")], [RELIANCE, NIFTY, 265]);
    let bse = desk.kite.instruments_by_exchange("BSE").await.unwrap();
    assert!(!bse.is_empty() && bse.iter().all(|row| row.exchange == "BSE"));

    let ltp = desk.kite.ltp(&["NSE:RELIANCE", "NSE:NOSUCH"]).await.unwrap();
    assert_eq!(ltp.keys().collect::<Vec<_>>(), ["NSE:RELIANCE"], "an unknown instrument is absent");
    assert!(ltp["NSE:RELIANCE"].last_price > 0.0);

    let ohlc = desk.kite.ohlc(&["NSE:INFY", "NSE:NIFTY 50", "BSE:SENSEX"]).await.unwrap();
    assert_eq!(ohlc.len(), 3);
    for row in ohlc.values() {
        assert!(row.ohlc.low <= row.last_price && row.last_price <= row.ohlc.high, "{row:?}");
    }

    let quote = desk.kite.quote(&["NSE:RELIANCE", "NSE:NIFTY 50"]).await.unwrap();
    let share = &quote["NSE:RELIANCE"];
    assert_eq!(share.instrument_token, RELIANCE);
    assert!(share.volume.unwrap() > 0 && share.average_price.unwrap() > 0.0);
    let depth = share.depth.as_ref().unwrap();
    assert_eq!((depth.buy.len(), depth.sell.len()), (5, 5));
    let at = share.timestamp.format("%H:%M:%S").to_string();
    assert!(("09:59:50".."10:30:00").contains(&at.as_str()), "the market clock starts at ten, not at {at}");
    assert_eq!(quote["NSE:NIFTY 50"].volume, Some(0), "nobody trades an index");
}

#[tokio::test]
async fn a_limit_order_is_placed_changed_and_cancelled() {
    let desk = Desk::open(&[]).await;
    let (first, second) = (desk.price(97).await, desk.price(96).await);
    let id = desk.place(buy(OrderType::Limit).price(first).tag("conformance1")).await;
    let row = desk.becomes(&id, "OPEN").await;
    assert_eq!((row.tag.as_deref(), row.order_type.as_str(), row.price), (Some("conformance1"), "LIMIT", first));
    assert!(row.exchange_order_id.is_some());

    desk.modify(&id, OrderParams::new().price(second).quantity(3)).await;
    let row = desk.until(&id, "the change", |row| row.price == second && row.status == "OPEN").await;
    assert_eq!((row.quantity, row.pending_quantity, row.filled_quantity), (3.0, 3.0, 0.0));

    desk.cancel(&id).await;
    let row = desk.becomes(&id, "CANCELLED").await;
    assert_eq!((row.filled_quantity, row.cancelled_quantity), (0.0, 3.0));

    let states: Vec<String> = desk.kite.order_history(&id).await.unwrap().into_iter().map(|row| row.status).collect();
    let mut rest = states.iter();
    for state in ["PUT ORDER REQ RECEIVED", "OPEN", "MODIFIED", "CANCELLED"] {
        assert!(rest.any(|seen| seen == state), "`{state}` is not in its place in {states:?}");
    }
    assert!(desk.kite.order_trades(&id).await.unwrap().is_empty());
    let again = refusal(desk.kite.cancel_order(Variety::Regular, &id, None).await);
    assert_ne!(again.0, ErrorKind::Token, "cancelling what is cancelled is no dead token: {again:?}");
}

#[tokio::test]
async fn a_market_order_needs_protection_and_then_fills_with_trades_position_and_margin() {
    let desk = Desk::open(&[]).await;
    let bare = desk.kite.place_order(Variety::Regular, buy(OrderType::Market)).await;
    assert_eq!(refusal(bare), refused(ErrorKind::Input, 400, MARKET_REFUSED));
    assert!(desk.kite.orders().await.unwrap().is_empty(), "what was refused is not in the book");
    let cash = desk.kite.segment_margins("equity").await.unwrap().net;
    assert!(cash > 0.0);

    let id = desk.place(buy(OrderType::Market).quantity(2).market_protection(-1.0).tag("conformance2")).await;
    let row = desk.becomes(&id, "COMPLETE").await;
    assert_eq!((row.filled_quantity, row.pending_quantity), (2.0, 0.0));
    assert_eq!(row.order_type, "LIMIT", "a protected market order is shown as a limit order");
    assert!(row.average_price > 0.0 && row.average_price <= row.price, "{row:?}");
    assert!(row.tags.iter().any(|tag| tag == "conformance2"), "{:?}", row.tags);

    let fills = desk.kite.order_trades(&id).await.unwrap();
    assert_eq!(fills.iter().map(|fill| fill.quantity).sum::<f64>(), 2.0);
    let day = desk.kite.trades().await.unwrap();
    assert!(fills.iter().all(|fill| day.iter().any(|trade| trade.trade_id == fill.trade_id)));

    let net = desk.kite.positions().await.unwrap().net;
    assert_eq!(net.len(), 1);
    assert_eq!((net[0].instrument_token, net[0].quantity, net[0].product.as_str()), (RELIANCE, 2, "MIS"));
    assert!((net[0].buy_price - row.average_price).abs() < 0.01);
    let margins = desk.kite.margins().await.unwrap();
    assert!(margins.equity.net < cash, "a position takes margin");

    let id = desk.place(sell(OrderType::Market).quantity(2).market_protection(2.0)).await;
    desk.becomes(&id, "COMPLETE").await;
    let net = desk.kite.positions().await.unwrap().net;
    assert_eq!((net.len(), net[0].quantity, net[0].sell_quantity), (1, 0, 2), "a flat position stays in net");
    assert!(desk.kite.holdings().await.unwrap().is_empty());
}

#[tokio::test]
async fn stop_orders_wait_for_their_trigger() {
    let desk = Desk::open(&[]).await;
    let (below, lower, above, higher) =
        (desk.price(95).await, desk.price(94).await, desk.price(105).await, desk.price(106).await);

    let id = desk.place(buy(OrderType::Sl).price(above).trigger_price(above)).await;
    let row = desk.becomes(&id, "TRIGGER PENDING").await;
    assert_eq!((row.order_type.as_str(), row.trigger_price), ("SL", above));
    desk.modify(&id, OrderParams::new().order_type(OrderType::Sl).price(higher).trigger_price(higher)).await;
    desk.until(&id, "the changed trigger", |row| row.trigger_price == higher && row.price == higher).await;
    desk.cancel(&id).await;
    desk.becomes(&id, "CANCELLED").await;

    let bare = desk.kite.place_order(Variety::Regular, sell(OrderType::SlM).trigger_price(below)).await;
    let (kind, status, _) = refusal(bare);
    assert_eq!((kind, status), (ErrorKind::Input, 400));
    let id = desk.place(sell(OrderType::SlM).trigger_price(below).market_protection(2.0)).await;
    desk.becomes(&id, "TRIGGER PENDING").await;
    let change = OrderParams::new().order_type(OrderType::SlM).trigger_price(lower).market_protection(2.0);
    desk.modify(&id, change).await;
    desk.until(&id, "the changed trigger", |row| row.trigger_price == lower).await;
    desk.cancel(&id).await;
    let row = desk.becomes(&id, "CANCELLED").await;
    assert_eq!(row.filled_quantity, 0.0);
}

/// Reads events until one is as wanted; a ticker that stops meanwhile fails.
async fn next<T>(events: &mut TickerEvents, what: &str, wanted: impl Fn(TickerEvent) -> Option<T>) -> T {
    within(what, async {
        loop {
            let event = events.recv().await.expect("events end with Closed");
            if let TickerEvent::InvalidOrderUpdate { error, frame } = &event {
                panic!("an order update the SDK cannot read: {error}: {frame}");
            }
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
}

async fn tick(events: &mut TickerEvents, token: u32, what: &str, wanted: impl Fn(&Tick) -> bool) -> Tick {
    next(events, what, |event| match event {
        TickerEvent::Ticks(ticks) => ticks.into_iter().find(|tick| tick.instrument_token == token && wanted(tick)),
        _ => None,
    })
    .await
}

async fn update(events: &mut TickerEvents, id: &str, status: &str) -> Order {
    next(events, status, |event| match event {
        TickerEvent::OrderUpdate(order) if order.order_id == id && order.status == status => Some(*order),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn the_ticker_delivers_in_three_modes_and_tells_of_orders() {
    let desk = Desk::open(&[]).await;
    let (ticker, mut events) = desk.ticker();
    next(&mut events, "a connection", |event| matches!(event, TickerEvent::Connected).then_some(())).await;

    ticker.subscribe(&[RELIANCE], Mode::Ltp).unwrap();
    // A subscription begins in quote mode, until the SDK's second message arrives.
    let ltp = tick(&mut events, RELIANCE, "ltp mode", |tick| tick.volume.is_none()).await;
    assert!(ltp.last_price.unwrap() > 0.0 && ltp.open.is_none() && ltp.depth.is_none(), "{ltp:?}");

    ticker.set_mode(Mode::Quote, &[RELIANCE]).unwrap();
    let quote = tick(&mut events, RELIANCE, "quote mode", |tick| tick.volume.is_some()).await;
    assert!(quote.depth.is_none() && quote.exchange_time.is_none(), "{quote:?}");
    assert!(quote.low <= quote.last_price && quote.last_price <= quote.high, "{quote:?}");

    ticker.set_mode(Mode::Full, &[RELIANCE]).unwrap();
    let full = tick(&mut events, RELIANCE, "full mode", |tick| tick.depth.is_some()).await;
    assert_eq!(full.depth.as_ref().unwrap().buy.len(), 5);
    let later = tick(&mut events, RELIANCE, "the next tick", |tick| tick.volume > full.volume).await;
    assert!(later.exchange_time >= full.exchange_time, "exchange time went back: {full:?} {later:?}");

    ticker.subscribe(&[NIFTY], Mode::Full).unwrap();
    let index = tick(&mut events, NIFTY, "an index", |tick| tick.exchange_time.is_some()).await;
    assert!(index.is_index && index.volume.is_none() && index.last_price.unwrap() > 0.0, "{index:?}");

    let id = desk.place(buy(OrderType::Limit).price(desk.price(97).await).tag("conformance3")).await;
    let open = update(&mut events, &id, "OPEN").await;
    assert_eq!((open.tradingsymbol.as_str(), open.tag.as_deref()), ("RELIANCE", Some("conformance3")));
    desk.cancel(&id).await;
    let cancelled = update(&mut events, &id, "CANCELLED").await;
    assert_eq!(cancelled.filled_quantity, 0.0);

    ticker.close();
    let why = next(&mut events, "the end", |event| match event {
        TickerEvent::Closed(reason) => Some(reason),
        _ => None,
    })
    .await;
    assert!(matches!(why, CloseReason::Requested), "{why}");
}

#[tokio::test]
async fn a_dead_token_is_told_by_rest_and_by_the_ticker_and_a_new_login_goes_on() {
    let mut desk = Desk::open(&[]).await;
    let price = desk.price(97).await;
    let id = desk.place(buy(OrderType::Limit).price(price)).await;
    desk.becomes(&id, "OPEN").await;
    let (ticker, mut events) = desk.ticker();
    ticker.subscribe(&[TCS], Mode::Full).unwrap();
    tick(&mut events, TCS, "a tick under the living token", |_| true).await;

    let answer = desk.control("kill-token=1").await;
    assert_eq!(answer["data"]["killed"], 1);
    let dead = desk.kite.profile().await.unwrap_err();
    assert!(dead.is_session_expired());
    for refused_call in [
        refusal(desk.kite.profile().await),
        refusal(desk.kite.orders().await),
        refusal(desk.kite.place_order(Variety::Regular, buy(OrderType::Limit).price(price)).await),
    ] {
        assert_eq!(refused_call, refused(ErrorKind::Token, 403, DEAD_TOKEN));
    }
    // The server cuts the socket; the SDK knocks again by itself, with the same token, and gives up at the 403.
    let why = next(&mut events, "the ticker gives up", |event| match event {
        TickerEvent::Closed(reason) => Some(reason),
        _ => None,
    })
    .await;
    assert!(matches!(&why, CloseReason::AuthRejected(words) if words.contains("403")), "{why}");

    desk.log_in().await;
    let book = desk.kite.orders().await.unwrap();
    assert_eq!(book.len(), 1, "the order of the dead token works on, and the refused one was never placed");
    assert_eq!((book[0].order_id.as_str(), book[0].status.as_str()), (id.as_str(), "OPEN"));
    let (ticker, mut events) = desk.ticker();
    ticker.subscribe(&[TCS], Mode::Full).unwrap();
    tick(&mut events, TCS, "a tick under the new token", |_| true).await;
    assert!(desk.exchange.terminate().success(), "it ends well with a socket open");
}

#[tokio::test]
async fn a_wrong_ip_is_no_dead_token() {
    let desk = Desk::open(&["--fault", "permission-exception@1"]).await;
    let price = desk.price(97).await;
    let refused = desk.kite.place_order(Variety::Regular, buy(OrderType::Limit).price(price)).await.unwrap_err();
    assert!(!refused.is_session_expired());
    assert_eq!(refusal::<()>(Err(refused)).0, ErrorKind::Permission);
    let id = desk.place(buy(OrderType::Limit).price(price)).await;
    desk.becomes(&id, "OPEN").await;
}
