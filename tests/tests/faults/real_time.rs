//! The same troubles over loopback in real time: the engine as it is, its HTTP client and timeouts included.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nirantar::core::Event;
use nirantar_brokers::{ClientOrderId, OrderRow, OrderStatus, Venue};
use nirantar_exchange_mock::kite::{OrderAction, Settings};

use super::harness::{Plan, World};
use super::weather::TROUBLES;

/// All of it, engine and server included.
const AT_MOST: Duration = Duration::from_secs(20);

/// What the server makes of an order request under a fault: nothing, or an order.
fn is_acted_on(fault: &str) -> bool {
    !matches!(fault, "reset=before" | "reset=after" | "timed-out" | "502=orders" | "503=orders" | "504=orders")
}

#[tokio::test]
async fn fault_real_time_every_trouble_at_once_each_order_ends_once() {
    #[expect(clippy::disallowed_methods, reason = "the bound of this test is in real time")]
    let began = Instant::now();
    let mut world = World::real(Plan::new(Settings { rate_limits: false, ..Settings::default() })).await;
    world.wait_for_venue(Venue::Live).await;
    world.wait_for_feed().await;
    world.fault("book-delay=3s");
    let mut struck: BTreeMap<ClientOrderId, &str> = BTreeMap::new();
    let faults = TROUBLES.iter().flat_map(|trouble| trouble.orders);
    // What takes longest first. An order in good health between two that are struck: three unknowns in a row would be
    // an outage, which is not what is tried here.
    for fault in faults.clone().filter(|fault| !is_acted_on(fault)).chain(faults.filter(|fault| is_acted_on(fault))) {
        world.fault(&format!("{fault}@1"));
        struck.insert(order_arrives(&world).await, fault);
        world.control.clear(fault.split_once('=').map_or(*fault, |(name, _)| name));
        struck.insert(order_arrives(&world).await, "healthy");
    }
    while !struck.keys().all(|id| world.statuses(id).last().is_some_and(|status| status.is_final())) {
        let ends = |event: &Event| matches!(event, Event::Order { order, .. } if order.status.is_final());
        world.wait_for("an order's end", ends).await;
    }
    world.control.clear("all");
    let broker = world.engine.trading().unwrap();
    let rows = world.engine.read(|now| broker.book(now)).await.unwrap();
    for (id, fault) in &struck {
        let statuses = world.statuses(id);
        let rows: Vec<&OrderRow> = rows.iter().filter(|row| row.client_id.as_ref() == Some(id)).collect();
        let ended: Vec<&OrderStatus> = statuses.iter().filter(|status| status.is_final()).collect();
        let expected = match rows.as_slice() {
            [] if !is_acted_on(fault) => OrderStatus::NotPlaced,
            [row] if is_acted_on(fault) => row.status,
            other => panic!("{id} under {fault} is {} orders at the server: {statuses:?}", other.len()),
        };
        assert_eq!(ended, [&expected], "{id} under {fault}: {statuses:?}");
        let placed = world.placements(id);
        let again = placed.iter().rev().skip(1).all(|earlier| earlier.status == Some(429));
        assert!(again, "{id} under {fault} was sent again: {placed:?}");
    }
    let took = began.elapsed();
    println!("{} orders in {took:?}", struck.len());
    assert!(took < AT_MOST, "{took:?}");
}

/// Submits an order and waits until the server has dealt with it, answered or not.
async fn order_arrives(world: &World) -> ClientOrderId {
    let before = placements(world);
    let id = world.buy().await;
    let arrives = async {
        while placements(world) == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrives).await.expect("the order never reached the server");
    id
}

fn placements(world: &World) -> usize {
    world.control.with_log(|log| log.orders.iter().filter(|order| order.action == OrderAction::Place).count())
}
