//! From a frame's bytes in hand to the order's bytes handed over.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml --bin tick_to_order`
//!
//! The real engine on loopback, through its own tasks, against the Kite server in the same process: the socket's task
//! decodes, the engine's task judges the tick and hands it to the hub, a strategy in a task of its own orders at once, the
//! desk takes it through rules, risk and limits, the gate lets it pass. Journal off: in memory. One tick every 5 ms.
//!
//! Three moments are held against the first, the call of the decoder with the frame's bytes: the strategy has the tick; the
//! order's request is made (behind the gate, its bytes go to the HTTP client next); the server has read the whole request
//! (so with the HTTP client, the kernel's loopback and the server's parser: more than what was asked for, and its bound).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nirantar::engine::{Engine, Setup};
use nirantar::feed::TickMessage;
use nirantar::orders::RiskLimits;
use nirantar::session::Policy;
use nirantar::token::store::StorePlace;
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Clock, Now, OffsetClock, Timestamp};
use nirantar_brokers::{
    AccessToken, Auth, BadRedirect, Broker, BrokerFacts, BrokerOrderId, BrokerToken, Call, Candle, ClientOrderId,
    Exchange, Failure, Feed, FeedEvent, Form, Holding, HttpResponse, Instrument, InstrumentKey, Interval, Limits,
    Margins, MarketData, Mode, OrderChange, OrderRequest, OrderRow, OrderType, Orders, Position, Price, Profile,
    Quantity, Quote, RateLimit, Secret, Session, Side, SocketRequest, Trade, Trading, Venue, WireMessage,
};
use nirantar_exchange_mock::kite::{KiteServer, OrderAction, Settings};
use nirantar_exchange_mock::prices::{PriceEvent, PriceSource};

/// Ticks, each of which brings an order. The first are for warming up.
const TICKS: u32 = 4_000;
const WARM_UP: usize = 500;
const EVERY: Duration = Duration::from_millis(5);
/// No limit is in the way, and all are looked at.
const LIMITS: &[RateLimit] = &[RateLimit::new(100_000, 1)];

/// When what happened, in nanoseconds of the one clock.
#[derive(Debug, Default)]
struct Stamps {
    frame: AtomicI64,
    made: Mutex<BTreeMap<String, i64>>,
}

/// Kite, with a stamp where a frame comes in and where an order goes out.
#[derive(Debug)]
struct Stamped {
    kite: Kite,
    facts: BrokerFacts,
    clock: Arc<dyn Clock>,
    stamps: Arc<Stamps>,
}

struct StampedTrading {
    inner: Arc<dyn Trading>,
    clock: Arc<dyn Clock>,
    stamps: Arc<Stamps>,
}

#[tokio::main]
async fn main() {
    let key = InstrumentKey::new(Exchange::Nse, "RELIANCE");
    let ten = Timestamp::parse_ist("2026-11-20 10:00:00").expect("a time");
    let clock: Arc<dyn Clock> = Arc::new(OffsetClock::starting_at(ten));
    let pulse = Pulse { at: ten + Duration::from_secs(3), left: TICKS, key: key.clone() };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = Settings { rate_limits: false, ..Settings::default() };
    let server = KiteServer::start(anywhere, settings, Arc::clone(&clock), Box::new(pulse)).await.expect("a port");
    let control = server.control();
    let home = tempfile::tempdir().expect("a folder");
    let token = control.login().access_token;
    std::fs::write(home.path().join(".env"), format!("ZERODHA_ACCESS_TOKEN={}\n", token.expose())).expect("a file");

    let stamps: Arc<Stamps> = Arc::default();
    let kite = Kite::new(App::Individual, "nirantar".to_owned(), Some(Secret::new("nirantar-secret")));
    let facts =
        BrokerFacts { limits: Limits { orders: LIMITS, ..kite.facts().limits.clone() }, ..kite.facts().clone() };
    let broker: Arc<dyn Broker> =
        Arc::new(Stamped { kite, facts, clock: Arc::clone(&clock), stamps: Arc::clone(&stamps) });
    let policy = Policy { user_id: Some("NR0001".to_owned()), ..Policy::for_broker(broker.facts()) };
    let store = StorePlace::named(".env", home.path()).open("ZERODHA", "zerodha");
    let origin = server.addr();
    let risk = RiskLimits {
        order_quantity: Some(Quantity::new(1_000)),
        open_orders: Some(1_000),
        position: Some(Quantity::new(1_000)),
        ..RiskLimits::default()
    };
    let setup = Setup {
        loopback: true,
        policy,
        risk,
        instruments: vec![key.clone()],
        ..Setup::new("bench", broker, format!("http://{origin}"), format!("ws://{origin}"), store)
    };
    let engine = Engine::builder(setup).clock(Arc::clone(&clock)).start().await.expect("it starts");
    let mut ticks = engine.ticks();
    while engine.snapshot().venue != Venue::Live || engine.snapshot().reduce_only {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("load before: {}", load());

    // The strategy: an order for every tick.
    let (mut ordered, mut refused, mut side) = (Vec::new(), 0, Side::Buy);
    while ordered.len() + refused < TICKS as usize {
        let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(5), ticks.next()).await else { break };
        let (got, frame) = (clock.now().wall.as_nanos(), stamps.frame.load(Ordering::SeqCst));
        let TickMessage::Tick(_) = message else { continue };
        let paise = if side == Side::Buy { 146_000 } else { 144_000 };
        let limit = OrderType::Limit(Price::from_paise(paise));
        match engine.submit(OrderRequest::new(key.clone(), side, 1, limit)).await {
            Ok(id) => {
                ordered.push((id.to_string(), frame, got));
                side = if side == Side::Buy { Side::Sell } else { Side::Buy };
            }
            Err(why) => {
                if refused == 0 {
                    println!("an order was refused: {why}");
                }
                refused += 1;
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    println!("load after: {}", load());

    let read: BTreeMap<String, i64> = control.with_log(|log| {
        let placed = log.orders.iter().filter(|order| order.action == OrderAction::Place && order.accepted);
        placed.filter_map(|order| Some((order.tag.clone()?, order.at.as_nanos()))).collect()
    });
    let made = stamps.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let after = |of: Moment<'_>| -> Vec<f64> {
        let counted = ordered.iter().skip(WARM_UP);
        let mut times: Vec<f64> = counted.filter_map(|one| Some((of(one)? - one.1) as f64 / 1e3)).collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    };
    println!(
        "\n{} orders of {TICKS} ticks ({refused} refused), µs since the frame's bytes were in hand:",
        ordered.len()
    );
    for (what, times) in [
        ("the strategy has the tick", after(&|(_, _, got)| Some(*got))),
        ("the order's request is made", after(&|(id, ..)| made.get(id).copied())),
        ("the server has read the request", after(&|(id, ..)| read.get(id).copied())),
    ] {
        let of = |part: f64| times.get((times.len().saturating_sub(1) as f64 * part) as usize).copied().unwrap_or(0.0);
        println!(
            "  {what:<34} p50 {:>7.1}   p99 {:>7.1}   p99.9 {:>7.1}   ({} orders)",
            of(0.5),
            of(0.99),
            of(0.999),
            times.len()
        );
    }
    engine.stop().await;
}

/// When something became of an order (its id, when its frame came, when the strategy had the tick), in nanoseconds.
type Moment<'a> = &'a dyn Fn(&(String, i64, i64)) -> Option<i64>;

/// One share that ticks every few milliseconds.
struct Pulse {
    at: Timestamp,
    left: u32,
    key: InstrumentKey,
}

impl PriceSource for Pulse {
    fn peek(&self) -> Option<Timestamp> {
        (self.left > 0).then_some(self.at)
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let at = self.peek()?;
        self.at = at + EVERY;
        self.left -= 1;
        let ltp = Price::from_paise(145_000 + 5 * i64::from(self.left % 2));
        let volume = Quantity::new(100 * u64::from(TICKS - self.left));
        Some(PriceEvent { at, instrument: self.key.clone(), ltp, volume })
    }

    fn date(&self) -> chrono::NaiveDate {
        self.at.ist_date()
    }
}

impl Auth for Stamped {
    fn login_url(&self, state: Option<&str>) -> Option<String> {
        self.kite.login_url(state)
    }

    fn code(&self, redirect: &Form) -> Result<Secret, BadRedirect> {
        self.kite.code(redirect)
    }

    fn exchange(&self, code: &Secret) -> Call<Session> {
        self.kite.exchange(code)
    }

    fn renew(&self, refresh_token: &Secret) -> Call<Session> {
        self.kite.renew(refresh_token)
    }

    fn invalidate(&self, token: &AccessToken) -> Call<()> {
        self.kite.invalidate(token)
    }

    fn probe(&self) -> Call<Profile> {
        self.kite.probe()
    }

    fn authorization(&self, token: &AccessToken) -> Secret {
        self.kite.authorization(token)
    }
}

impl Broker for Stamped {
    fn facts(&self) -> &BrokerFacts {
        &self.facts
    }

    fn trading(&self) -> Option<Arc<dyn Trading>> {
        let (inner, clock, stamps) = (self.kite.trading()?, Arc::clone(&self.clock), Arc::clone(&self.stamps));
        Some(Arc::new(StampedTrading { inner, clock, stamps }))
    }
}

impl Feed for StampedTrading {
    fn connect(&self, token: &AccessToken) -> SocketRequest {
        self.inner.connect(token)
    }

    fn refused(&self, response: &HttpResponse) -> Failure {
        self.inner.refused(response)
    }

    fn subscribe(&self, instruments: &[BrokerToken], mode: Mode) -> Vec<WireMessage> {
        self.inner.subscribe(instruments, mode)
    }

    fn unsubscribe(&self, instruments: &[BrokerToken]) -> Vec<WireMessage> {
        self.inner.unsubscribe(instruments)
    }

    fn decode(&self, message: &WireMessage, out: &mut Vec<FeedEvent>) {
        if matches!(message, WireMessage::Binary(frame) if frame.len() > 1) {
            self.stamps.frame.store(self.clock.now().wall.as_nanos(), Ordering::SeqCst);
        }
        self.inner.decode(message, out);
    }
}

impl Orders for StampedTrading {
    fn place(&self, order: &OrderRequest, id: &ClientOrderId, now: Now) -> Call<BrokerOrderId> {
        let call = self.inner.place(order, id, now);
        let made = self.clock.now().wall.as_nanos();
        self.stamps.made.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string(), made);
        call
    }

    fn modify(&self, id: &BrokerOrderId, change: &OrderChange, now: Now) -> Call<BrokerOrderId> {
        self.inner.modify(id, change, now)
    }

    fn cancel(&self, id: &BrokerOrderId, now: Now) -> Call<BrokerOrderId> {
        self.inner.cancel(id, now)
    }

    fn book(&self, now: Now) -> Call<Vec<OrderRow>> {
        self.inner.book(now)
    }

    fn history(&self, id: &BrokerOrderId, now: Now) -> Call<Vec<OrderRow>> {
        self.inner.history(id, now)
    }

    fn trades(&self, now: Now) -> Call<Vec<Trade>> {
        self.inner.trades(now)
    }

    fn positions(&self, now: Now) -> Call<Vec<Position>> {
        self.inner.positions(now)
    }

    fn holdings(&self, now: Now) -> Call<Vec<Holding>> {
        self.inner.holdings(now)
    }

    fn margins(&self, now: Now) -> Call<Margins> {
        self.inner.margins(now)
    }
}

impl MarketData for StampedTrading {
    fn quote(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>> {
        self.inner.quote(instruments)
    }

    fn ohlc(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>> {
        self.inner.ohlc(instruments)
    }

    fn ltp(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>> {
        self.inner.ltp(instruments)
    }

    fn instruments(&self, exchange: Option<Exchange>) -> Call<Vec<Instrument>> {
        self.inner.instruments(exchange)
    }

    fn historical(&self, token: BrokerToken, interval: Interval, from: Timestamp, to: Timestamp) -> Call<Vec<Candle>> {
        self.inner.historical(token, interval, from, to)
    }
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
