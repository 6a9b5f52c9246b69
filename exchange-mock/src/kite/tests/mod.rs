//! The server's behaviour, seen from outside: the core without sockets, then the same over loopback.

mod account;
mod faults;
mod feed;
mod loopback;
mod orders;
mod quotes;
mod total;

use nirantar_brokers::kite::wire::rest::checksum;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Exchange, Form, InstrumentKey, Method, Secret};
use serde_json::Value;

use super::{HttpParts, KiteExchange, Output, Reply, Settings, SocketId};
use crate::prices::{Merge, PriceSource, Replay};

/// Kite's tokens of what the tests trade.
const RELIANCE: u32 = 738_561;
const NIFTY: u32 = 256_265;

fn at(time: &str) -> Timestamp {
    Timestamp::parse_ist(&format!("2021-04-12 {time}")).unwrap()
}

/// RELIANCE at 2000.00 plus five paise a second, 1,000 traded a second, for ten minutes from 10:00:01; NIFTY 50 beside it
/// every ten seconds, without volume.
fn prices() -> Box<dyn PriceSource + Send> {
    let (mut share, mut index) = ("timestamp,ltp,volume\n".to_owned(), "timestamp,ltp,volume\n".to_owned());
    for second in 1..=600u32 {
        let time = format!("2021-04-12 10:{:02}:{:02}", second / 60, second % 60);
        let paise = 200_000 + second * 5;
        share += &format!("{time},{}.{:02},{}\n", paise / 100, paise % 100, second * 1_000);
        if second % 10 == 0 {
            index += &format!("{time},14500.{:02},0\n", second / 10);
        }
    }
    let key = |symbol| InstrumentKey::new(Exchange::Nse, symbol);
    let share = Replay::parse("share.csv", share.as_bytes(), key("RELIANCE")).unwrap();
    let index = Replay::parse("index.csv", index.as_bytes(), key("NIFTY 50")).unwrap();
    Box::new(Merge::new(vec![Box::new(share), Box::new(index)]).unwrap())
}

/// A server at a moment of its day, and a client with a token.
struct Desk {
    exchange: KiteExchange,
    now: Timestamp,
    token: String,
}

impl Desk {
    /// At 10:00:05, with a living token.
    fn open() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let (mut exchange, now) = (KiteExchange::new(settings, prices()), at("10:00:05"));
        let token = exchange.log_in(now).access_token.expose().to_owned();
        Self { exchange, now, token }
    }

    /// The same with a fault in force.
    fn broken(fault: &str) -> Self {
        Self::with(Settings { faults: vec![fault.parse().unwrap()], ..Settings::default() })
    }

    fn wait_until(&mut self, time: &str) {
        self.now = at(time);
        self.exchange.advance(self.now);
    }

    fn send(&mut self, method: Method, path: &str, query: &str, body: &str) -> Reply {
        let parts = HttpParts {
            query: Form::parse(query.as_bytes()),
            body: Form::parse(body.as_bytes()),
            authorization: Some(Secret::new(format!("token nirantar:{}", self.token))),
            ..HttpParts::new(method, path)
        };
        self.exchange.handle(&parts, self.now)
    }

    /// The status and the whole JSON body.
    fn ask(&mut self, method: Method, path: &str, query: &str, body: &str) -> (u16, Value) {
        let reply = self.send(method, path, query, body);
        assert_eq!(reply.content_type, "application/json", "{path}");
        let json: Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(json.get("data").is_some(), "{path}: Python looks for `data` in every answer");
        (reply.status, json)
    }

    /// The data of an answer that must succeed.
    fn data(&mut self, method: Method, path: &str, query: &str, body: &str) -> Value {
        let (status, mut json) = self.ask(method, path, query, body);
        assert_eq!((status, &json["status"]), (200, &Value::from("success")), "{path}: {json}");
        json["data"].take()
    }

    /// Status, type and words of an answer that must fail.
    fn refusal(&mut self, method: Method, path: &str, query: &str, body: &str) -> (u16, String, String) {
        let (status, json) = self.ask(method, path, query, body);
        assert_eq!(json["status"], "error", "{path}: {json}");
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (status, text("error_type"), text("message"))
    }

    fn get(&mut self, path: &str) -> Value {
        self.data(Method::Get, path, "", "")
    }

    /// Places an order and returns its number.
    fn place(&mut self, body: &str) -> String {
        let form = format!("exchange=NSE&tradingsymbol=RELIANCE&product=MIS&quantity=10&{body}");
        self.data(Method::Post, "/orders/regular", "", &form)["order_id"].as_str().unwrap().to_owned()
    }

    /// The order's rows, oldest first, by one field.
    fn history(&mut self, id: &str, field: &str) -> Vec<Value> {
        let rows = self.get(&format!("/orders/{id}"));
        rows.as_array().unwrap().iter().map(|row| row[field].clone()).collect()
    }

    /// Opens a socket under the token.
    fn socket(&mut self, port: u16) -> Result<SocketId, Reply> {
        let query = Form::new().with("api_key", "nirantar").with("access_token", &self.token);
        self.exchange.open(&query, port, self.now)
    }

    fn tell(&mut self, socket: SocketId, message: &str) {
        self.exchange.message(socket, message, self.now);
    }

    fn sent(&mut self) -> Vec<Output> {
        self.exchange.drain()
    }
}

/// A login by the page and the exchange of its request token: the session's data.
fn log_in_by_page(desk: &mut Desk, secret: &str) -> (u16, Value) {
    let reply = desk.send(Method::Get, "/connect/login", "v=3&api_key=nirantar", "");
    let location = reply.header("Location").unwrap();
    let back = Form::parse(location.split_once('?').unwrap().1.as_bytes());
    let request = Secret::new(back.get("request_token").unwrap());
    let body = Form::new()
        .with("api_key", "nirantar")
        .with_secret("request_token", &request)
        .with("checksum", checksum("nirantar", &request, &Secret::new(secret)));
    desk.ask(Method::Post, "/session/token", "", &body.encode())
}
