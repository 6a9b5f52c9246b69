//! Issue 4, "Must show" 7, the half in real time: a flood of orders, changes and cancels against the Kite wire server,
//! whose answers take now long, now short. Judged by the server's own log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Plan, World, market_order};
use nirantar_brokers::time::Rng;
use nirantar_brokers::{
    ClientOrderId, OrderChange, OrderRequest, OrderStatus, OrderType, Price, Quantity, RateLimit, Venue,
};
use nirantar_exchange_mock::kite::{OrderAction, OrderLog, Settings};

/// How often the server's slowness changes, in real time.
const BEAT: Duration = Duration::from_millis(100);
/// By then the flood, about 20 s long, must be over, on a machine under load.
const MOST_BEATS: usize = 900;
/// Kite's rule for order calls.
const RULE: RateLimit = RateLimit::new(10, 1);
/// How many orders are submitted at once, far beyond the rule.
const ORDERS: usize = 104;
/// One in so many rests in the book, is changed, and is cancelled.
const RESTING: usize = 8;
/// Beats from a change to the cancel: a change that still waited would give way to it.
const STEPS: u32 = 30;

#[tokio::test]
async fn a_flood_of_twenty_seconds_never_shows_the_server_more_than_the_rule_and_loses_no_order() {
    let mut world = World::real(Plan::new(Settings { rate_limits: true, ..Settings::default() })).await;
    world.wait_for_venue(Venue::Live).await;
    world.wait_for_feed().await;
    let mut ids = Vec::new();
    for number in 0..ORDERS {
        ids.push(world.engine.submit(order(number)).await.unwrap());
    }
    let resting: Vec<ClientOrderId> = ids.iter().step_by(RESTING).cloned().collect();
    let (mut rng, mut beats) = (Rng::from_seed(4), BTreeMap::new());
    for _ in 0..MOST_BEATS {
        // From the next request on answers take so long: some come after those to messages that left later.
        world.fault(&format!("slow={}ms", rng.below(300)));
        world.pass(BEAT).await;
        let open = with_status(&world, |status| status == OrderStatus::Open).await;
        for id in resting.iter().filter(|id| open.contains(id)) {
            let beat = beats.entry(id.clone()).or_insert(0);
            *beat += 1;
            if *beat == 1 {
                let change = OrderChange { quantity: Some(Quantity::new(2)), ..OrderChange::default() };
                world.engine.modify(id, change).await.unwrap();
            } else if *beat == STEPS {
                world.engine.cancel(id).await.unwrap();
            }
        }
        if with_status(&world, OrderStatus::is_final).await.len() == ORDERS {
            break;
        }
    }
    for id in &ids {
        let wanted = if resting.contains(id) { OrderStatus::Cancelled } else { OrderStatus::Filled };
        world.wait_for_order(id, wanted).await;
        assert_eq!(world.placements(id).len(), 1, "order {id}: {world}");
    }

    let log = world.control.with_log(|log| log.orders.clone());
    assert_rule_kept(&log);
    let throttled: Vec<&OrderLog> = log.iter().filter(|call| call.status == Some(429)).collect();
    assert!(throttled.is_empty(), "{throttled:?}");
    for (action, count) in
        [(OrderAction::Place, ORDERS), (OrderAction::Modify, resting.len()), (OrderAction::Cancel, resting.len())]
    {
        let accepted = log.iter().filter(|call| call.action == action && call.accepted).count();
        assert_eq!(accepted, count, "{action:?}");
    }
    // It was a flood: the rule is what it waited for.
    let span = log.last().unwrap().at.since(log.first().unwrap().at);
    assert!(span > RULE.per * (ORDERS as u32 / RULE.count - 1), "{} calls within {span:?}", log.len());
    println!("{} order calls within {span:?}", log.len());
}

/// No second of the server's clock, wherever it begins, holds more than the rule.
fn assert_rule_kept(log: &[OrderLog]) {
    let count = RULE.count as usize;
    for bunch in log.windows(count + 1) {
        let span = bunch[count].at.since(bunch[0].at);
        assert!(span > RULE.per, "{} calls within {span:?}, from {}", count + 1, bunch[0].at);
    }
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for call in log {
        *seconds.entry(call.at.as_unix_seconds()).or_default() += 1;
    }
    assert!(seconds.values().all(|calls| *calls <= count), "{seconds:?}");
}

fn order(number: usize) -> OrderRequest {
    let valid_for = Duration::from_secs(600);
    if number.is_multiple_of(RESTING) {
        // Far below the market.
        OrderRequest { order_type: OrderType::Limit(Price::from_paise(132_000)), valid_for, ..market_order() }
    } else {
        OrderRequest { valid_for, ..market_order() }
    }
}

/// The orders that stand like that.
async fn with_status(world: &World, which: impl Fn(OrderStatus) -> bool + Send + 'static) -> Vec<ClientOrderId> {
    let find = move |core: &nirantar::core::Core| {
        core.desk().orders().filter(|order| which(order.status)).map(|order| order.id.clone()).collect()
    };
    world.engine.look(find).await.unwrap()
}
