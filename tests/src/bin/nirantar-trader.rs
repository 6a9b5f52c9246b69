//! A strategy in a process of its own, for the test that kills it: it trades without a pause, over the journal of whoever
//! ran before it, and is killed at any moment.
//!
//! `nirantar-trader ORIGIN FOLDER WALL SEED trade|settle`: the Kite server's address, the folder of store and journal,
//! what the clock shows now (nanoseconds since the epoch), the seed of its choices. With `trade` it goes on until it is
//! killed. With `settle` it places nothing, waits until nothing is unknown, cancels what rests, prints how every order
//! and position stands, and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper may fail, loudly")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nirantar::core::Core;
use nirantar::engine::{Engine, EventMessage, Events, Setup};
use nirantar::orders::{SqliteJournal, Tracked};
use nirantar::session::Policy;
use nirantar::token::store::StorePlace;
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Clock, OffsetClock, Rng, Timestamp};
use nirantar_brokers::{
    Book, ClientOrderId, Exchange, InstrumentKey, MarketProtection, OrderChange, OrderRequest, OrderStatus, OrderType,
    Price, Quantity, Secret, Side, Venue,
};
use nirantar_tests::OtherLimits;

/// Between two wishes of the strategy.
const PACE: Duration = Duration::from_millis(15);
/// Between two looks of one who settles.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [origin, folder, wall, seed, what] = arguments.as_slice() else {
        panic!("expected ORIGIN FOLDER WALL SEED trade|settle");
    };
    let clock: Arc<dyn Clock> = Arc::new(OffsetClock::starting_at(Timestamp::from_nanos(wall.parse().unwrap())));
    let engine = start(origin, &PathBuf::from(folder), Arc::clone(&clock)).await;
    println!("started");
    if std::env::var_os("NIRANTAR_TRADER_EVENTS").is_some() {
        tokio::spawn(tell(engine.events(), Arc::clone(&clock)));
    }
    match what.as_str() {
        "trade" => trade(&engine, clock.as_ref(), Rng::from_seed(seed.parse().unwrap())).await,
        "settle" => settle(&engine, clock.as_ref()).await,
        other => panic!("`{other}` is neither trade nor settle"),
    }
    engine.stop().await;
}

/// Says what happens, for whoever looks for the reason of a failure.
async fn tell(mut events: Events, clock: Arc<dyn Clock>) {
    while let Some(EventMessage::Event(event)) = events.next().await {
        eprintln!("{:?} {event}", clock.now().mono);
    }
}

async fn start(origin: &str, folder: &Path, clock: Arc<dyn Clock>) -> Engine {
    let kite = Kite::new(App::Individual, "nirantar".to_owned(), Some(Secret::new("nirantar-secret")))
        .with_login_root(format!("http://{origin}"));
    // Lives are shorter than the second of the broker's limits: with those, most would send nothing.
    let broker = OtherLimits::around(kite, &[]);
    let policy = Policy { user_id: Some("NR0001".to_owned()), ..Policy::for_broker(broker.facts()) };
    let store = StorePlace::named(".env", folder).open("ZERODHA", "zerodha");
    let setup = Setup {
        loopback: true,
        policy,
        instruments: vec![instrument()],
        ..Setup::new("crash", broker, format!("http://{origin}"), format!("ws://{origin}"), store)
    };
    let journal = SqliteJournal::open(&folder.join("journal.db")).unwrap();
    Engine::builder(setup).clock(clock).journal(Box::new(journal)).start().await.unwrap()
}

/// Trades until it is killed.
async fn trade(engine: &Engine, clock: &dyn Clock, mut dice: Rng) {
    let mut said = false;
    loop {
        clock.sleep(PACE).await;
        let snapshot = engine.snapshot();
        if snapshot.venue != Venue::Live || snapshot.reduce_only {
            continue;
        }
        // Before the day's list is here no entry is taken.
        if !said && !engine.look(|core| core.desk().listings().knows(Exchange::Nse)).await.unwrap() {
            continue;
        }
        if !std::mem::replace(&mut said, true) {
            println!("live");
        }
        // What is refused (too many waiting, an exit of nothing) is as good a wish as any other here.
        match dice.below(10) {
            0..=4 => drop(engine.submit(limit(&mut dice)).await),
            5 => drop(engine.submit(market(&mut dice)).await),
            6..=7 => {
                if let Some(id) = any_working(engine, &mut dice).await {
                    drop(engine.cancel(&id).await);
                }
            }
            _ => {
                if let Some(id) = any_working(engine, &mut dice).await {
                    let quantity = Some(Quantity::new(100 + dice.below(100)));
                    drop(engine.modify(&id, OrderChange { quantity, ..OrderChange::default() }).await);
                }
            }
        }
    }
}

/// Waits until nothing is in doubt, cancels what rests, and tells how everything stands.
async fn settle(engine: &Engine, clock: &dyn Clock) {
    loop {
        clock.sleep(LOOK).await;
        let live = engine.snapshot().venue == Venue::Live;
        let open = engine.look(open_orders).await.unwrap();
        if live && open.is_empty() {
            break;
        }
        for id in open.into_iter().filter(|_| live) {
            // One that is still being looked for cannot be cancelled yet: next time.
            let _ = engine.cancel(&id).await;
        }
    }
    let lines = engine.look(told).await.unwrap();
    println!("{}\nsettled", lines.join("\n"));
}

fn told(core: &Core) -> Vec<String> {
    let order = |order: &Tracked| {
        let number = order.broker_id.as_ref().map_or("-", |id| id.0.as_str());
        format!("order {} {} {:?} {} {number}", order.id, order.book, order.status, order.filled)
    };
    let positions = core.desk().exposure().open(Book::Live);
    let positions = positions.map(|(key, product, held)| format!("position {key} {product:?} {held}"));
    core.desk().orders().map(order).chain(positions).collect()
}

/// Every live order that is not at its end.
fn open_orders(core: &Core) -> Vec<ClientOrderId> {
    let open = |order: &&Tracked| order.book == Book::Live && !order.status.is_final();
    core.desk().orders().filter(open).map(|order| order.id.clone()).collect()
}

async fn any_working(engine: &Engine, dice: &mut Rng) -> Option<ClientOrderId> {
    let working = |core: &Core| -> Vec<ClientOrderId> {
        let working = |order: &&Tracked| matches!(order.status, OrderStatus::Open | OrderStatus::Accepted);
        core.desk().orders().filter(working).map(|order| order.id.clone()).collect()
    };
    let ids = engine.look(working).await.ok()?;
    let index = dice.below(ids.len().max(1) as u64);
    ids.into_iter().nth(usize::try_from(index).ok()?)
}

fn instrument() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "RELIANCE")
}

fn side(dice: &mut Rng) -> Side {
    if dice.below(2) == 0 { Side::Buy } else { Side::Sell }
}

/// Near the market, in whole rupees: some fill at once, some in parts, some rest.
fn limit(dice: &mut Rng) -> OrderRequest {
    let around = i64::try_from(dice.below(11)).unwrap() - 5;
    let price = Price::from_paise(100 * (START + around));
    request(dice, OrderType::Limit(price))
}

fn market(dice: &mut Rng) -> OrderRequest {
    request(dice, OrderType::Market(MarketProtection::Automatic))
}

fn request(dice: &mut Rng, order_type: OrderType) -> OrderRequest {
    let quantity = 1 + dice.below(60);
    OrderRequest {
        valid_for: Duration::from_secs(2),
        ..OrderRequest::new(instrument(), side(dice), quantity, order_type)
    }
}

/// About where the simulated market starts, in rupees.
const START: i64 = 1_450;
