//! The hub's promises, each by what a subscriber sees.

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, SteppedClock, SystemClock, Timestamp};
use nirantar_brokers::{BrokerToken, Detail, Exchange, Price};

use super::*;

fn key(number: u32) -> Arc<InstrumentKey> {
    Arc::new(InstrumentKey::new(Exchange::Nse, format!("SHARE{number}")))
}

/// A tick of that instrument whose price says the packet's number.
fn tick_of(instrument: &Arc<InstrumentKey>, token: u32, packet: u64) -> TickEvent {
    let last_price = Price::from_paise(i64::try_from(packet).unwrap());
    TickEvent {
        tick: Tick { token: BrokerToken(token), last_price, detail: Detail::Ltp },
        instrument: Arc::clone(instrument),
        source: Source::Live { generation: Generation(1) },
        socket_port: 4000,
        packet,
        received: Now::default(),
    }
}

fn tick(packet: u64) -> TickEvent {
    tick_of(&key(0), 738_561, packet)
}

fn stepped() -> SteppedClock {
    SteppedClock::starting_at(Timestamp::from_unix_seconds(1_618_199_109))
}

fn unstepped(capacity: usize) -> Publisher {
    Publisher::new(capacity, Arc::new(SystemClock::start()))
}

fn packet(message: Option<TickMessage>) -> u64 {
    match message {
        Some(TickMessage::Tick(event)) => event.packet,
        other => panic!("expected a tick, got {other:?}"),
    }
}

/// All that is there: packets, and how many were lost before which of them.
fn everything(ticks: &mut Ticks) -> (Vec<u64>, u64) {
    let (mut packets, mut lost) = (Vec::new(), 0);
    while let Some(message) = ticks.try_next() {
        match message {
            TickMessage::Tick(event) => packets.push(event.packet),
            TickMessage::Lagged(count) => lost += count,
        }
    }
    (packets, lost)
}

#[tokio::test]
async fn a_slow_subscriber_is_told_what_it_lost_and_costs_the_others_nothing() {
    let mut publisher = Publisher::new(4, Arc::new(stepped()));
    let (mut slow, mut quick) = (publisher.hub().subscribe(), publisher.hub().subscribe());
    for number in 1..=10 {
        assert_eq!(publisher.publish(tick(number)), 2);
        assert_eq!(packet(quick.next().await), number);
    }
    assert_eq!(slow.next().await, Some(TickMessage::Lagged(6)));
    assert_eq!(packet(slow.next().await), 7);
    drop(publisher);
    for number in 8..=10 {
        assert_eq!(packet(slow.next().await), number);
    }
    assert_eq!(slow.next().await, None);
}

#[tokio::test]
async fn market_time_stands_still_until_every_strategy_has_thought() {
    let clock = stepped();
    let mut publisher = Publisher::new(16, Arc::new(clock.clone()));
    let (mut first, mut second) = (publisher.hub().subscribe(), publisher.hub().subscribe());
    let _sleeper = clock.sleep(Duration::from_secs(1));
    publisher.publish(tick(1));
    let stepping = {
        let clock = clock.clone();
        tokio::spawn(async move { clock.step(Monotonic::from_nanos(u64::MAX)).await })
    };
    assert_eq!(packet(first.next().await), 1);
    first.done();
    tokio::task::yield_now().await;
    assert_eq!(clock.now().mono, Monotonic::default(), "the second has not even read it");
    assert_eq!(packet(second.next().await), 1);
    tokio::task::yield_now().await;
    assert_eq!(clock.now().mono, Monotonic::default(), "the second is at work");
    second.done();
    assert!(stepping.await.unwrap());
    assert_eq!(clock.now().mono, Monotonic::default() + Duration::from_secs(1));
}

#[tokio::test]
async fn ticks_nobody_wants_hold_nothing() {
    let clock = stepped();
    let mut publisher = Publisher::new(16, Arc::new(clock.clone()));
    let gone = publisher.hub().subscribe();
    publisher.publish(tick(1));
    drop(gone);
    assert_eq!(publisher.publish(tick(2)), 0);
    let _sleeper = clock.sleep(Duration::from_secs(1));
    assert!(clock.step(Monotonic::from_nanos(u64::MAX)).await);
}

#[test]
fn one_who_conflates_gets_the_newest_of_each_instrument_in_the_order_they_came() {
    // Within the ring, and after the ring has lost most of it.
    for capacity in [64, 4] {
        let mut publisher = unstepped(capacity);
        let mut ticks = publisher.hub().subscribe_with(Backlog::Conflate);
        let keys: Vec<_> = (0..3).map(key).collect();
        // The third stands still after its first tick.
        for (index, number) in [(2, 1), (0, 2), (1, 3), (0, 4), (0, 5), (1, 6), (0, 7), (1, 8), (0, 9)] {
            publisher.publish(tick_of(&keys[index], index as u32, number));
        }
        assert_eq!(everything(&mut ticks), (vec![1, 8, 9], 0), "a ring of {capacity}");
        assert_eq!(ticks.conflated(), 6);
        // One who keeps up is spared nothing.
        publisher.publish(tick_of(&keys[0], 0, 10));
        assert_eq!(packet(ticks.try_next()), 10);
        assert_eq!((ticks.try_next(), ticks.conflated()), (None, 6));
    }
}

#[test]
fn the_latest_tick_is_found_by_its_instrument_whatever_number_the_broker_gave_it() {
    let mut publisher = unstepped(4);
    let hub = publisher.hub();
    let (one, other) = (key(1), key(2));
    let watched = hub.watch(&one);
    assert_eq!((watched.get(), hub.latest(&other)), (None, None));
    publisher.publish(tick_of(&one, 7, 1));
    // A new day: the number is another's, and the name another value.
    publisher.publish(tick_of(&other, 7, 2));
    publisher.publish(tick_of(&key(1), 8, 3));
    assert_eq!(watched.get().map(|event| event.packet), Some(3));
    assert_eq!(hub.latest(&one).map(|event| event.packet), Some(3));
    assert_eq!(hub.latest(&other).map(|event| event.packet), Some(2));
}

#[test]
fn readers_on_other_threads_see_whole_ticks_in_their_order_and_miss_only_what_they_are_told() {
    const TICKS: u64 = 20_000;
    let mut publisher = unstepped(256);
    let hub = publisher.hub();
    let keys: Vec<_> = (0..8).map(key).collect();
    let whole = |event: &TickEvent| {
        assert_eq!(event.tick.last_price, Price::from_paise(i64::try_from(event.packet).unwrap()));
        assert_eq!(u64::from(event.tick.token.0), event.packet % 8);
        assert_eq!(*event.instrument, *keys[event.tick.token.0 as usize]);
    };
    std::thread::scope(|scope| {
        let mut lagging = hub.subscribe();
        scope.spawn(move || {
            let mut last = 0;
            while last < TICKS {
                match lagging.try_next() {
                    Some(TickMessage::Tick(event)) => {
                        whole(&event);
                        last += 1;
                        assert_eq!(event.packet, last);
                    }
                    Some(TickMessage::Lagged(count)) => last += count,
                    None => std::thread::yield_now(),
                }
            }
        });
        let mut conflating = hub.subscribe_with(Backlog::Conflate);
        scope.spawn(move || {
            let (mut newest, mut given) = (BTreeMap::new(), 0);
            while newest.get(&(TICKS % 8)) != Some(&TICKS) {
                let Some(message) = conflating.try_next() else {
                    std::thread::yield_now();
                    continue;
                };
                let TickMessage::Tick(event) = message else { panic!("{message:?}") };
                whole(&event);
                given += 1;
                let before = newest.insert(event.packet % 8, event.packet);
                assert!(before.is_none_or(|before| before < event.packet), "an instrument goes back");
            }
            // The last of every instrument came, and what did not come is counted.
            assert!(newest.values().all(|packet| *packet > TICKS - 8), "{newest:?}");
            assert_eq!(given + conflating.conflated(), TICKS);
        });
        let watched = hub.watch(&keys[3]);
        scope.spawn(move || {
            let mut last = 0;
            while last < TICKS - 8 {
                let Some(event) = watched.get() else { continue };
                whole(&event);
                assert!(last <= event.packet, "time goes back");
                last = event.packet;
            }
        });
        scope.spawn(|| {
            for number in 1..=TICKS {
                publisher.publish(tick_of(&keys[(number % 8) as usize], (number % 8) as u32, number));
            }
        });
    });
    let memory = hub.memory();
    assert!(memory.ticks <= memory.most, "{memory:?}");
}

/// Must show 5 of the feed: 20,000 ticks a second over 1,000 instruments, in virtual time.
#[tokio::test]
async fn a_subscriber_that_sleeps_for_ten_seconds_loses_what_its_policy_says_and_nothing_else() {
    const RING: usize = 1 << 16;
    const BATCH: u64 = 500;
    const EVERY: Duration = Duration::from_millis(25);
    const BATCHES: u64 = 399;
    let clock = stepped();
    let mut publisher = Publisher::new(RING, Arc::new(clock.clone()));
    let hub = publisher.hub();
    let (mut lagging, mut conflating) = (hub.subscribe(), hub.subscribe_with(Backlog::Conflate));
    let mut awake = hub.subscribe();
    let keys: Vec<_> = (0..1_000).map(key).collect();

    let sleep = |mut ticks: Ticks, clock: SteppedClock| async move {
        ticks.away();
        drop(clock.sleep(Duration::from_secs(10)).await);
        ticks
    };
    assert_eq!((lagging.try_next(), conflating.try_next()), (None, None));
    let held = clock.busy();
    let asleep = tokio::spawn({
        let clock = clock.clone();
        async move { tokio::join!(sleep(lagging, clock.clone()), sleep(conflating, clock)) }
    });
    // The third reads all along, and nobody's sleep costs it a tick or a moment.
    let reading = tokio::spawn(async move {
        let mut packets = 0;
        while let Some(message) = awake.next().await {
            packets += 1;
            assert_eq!(packet(Some(message)), packets);
        }
        packets
    });
    let publishing = tokio::spawn({
        let clock = clock.clone();
        async move {
            let mut wake = clock.sleep(EVERY);
            for batch in 0..BATCHES {
                let busy = wake.await;
                for number in batch * BATCH + 1..=(batch + 1) * BATCH {
                    let index = (number % 1_000) as usize;
                    publisher.publish(tick_of(&keys[index], index as u32, number));
                }
                // The next is asked for before this one is let go.
                wake = clock.sleep(EVERY);
                drop(busy);
            }
            publisher
        }
    });
    tokio::task::yield_now().await;
    drop(held);
    while !asleep.is_finished() {
        clock.step(Monotonic::default() + Duration::from_secs(10)).await;
        tokio::task::yield_now().await;
    }
    let (mut lagging, mut conflating) = asleep.await.unwrap();
    let publisher = publishing.await.unwrap();
    let last = BATCH * BATCHES;
    assert_eq!(clock.now().mono, Monotonic::default() + Duration::from_secs(10));

    let (packets, lost) = everything(&mut lagging);
    assert_eq!(lost, last - RING as u64, "told once, all of it");
    assert_eq!(packets, (last - RING as u64 + 1..=last).collect::<Vec<_>>(), "the newest, without a hole");
    let (packets, told) = everything(&mut conflating);
    assert_eq!(packets, (last - 999..=last).collect::<Vec<_>>(), "the newest of every instrument");
    assert_eq!((told, conflating.conflated()), (0, last - 1_000));

    let memory = hub.memory();
    println!(
        "{last} ticks in 10 s, two of three subscribers asleep: lag lost {lost} and was told, conflate passed over {}; \
         the hub holds {:.1} MB of ticks ({:.1} MB at most) and {:.1} MB of ring, for all subscribers together",
        conflating.conflated(),
        memory.ticks as f64 / 1e6,
        memory.most as f64 / 1e6,
        memory.ring as f64 / 1e6,
    );
    assert!(memory.ticks <= memory.most && memory.most < 64 << 20, "{memory:?}");
    drop(publisher);
    assert_eq!(reading.await.unwrap(), last);
}
