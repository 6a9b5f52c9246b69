//! Token swaps over loopback: the real adapter against the real Kite wire server, on a stepped clock. What came through is
//! held against the server's own numbering of every packet. The same in virtual time, and under load, is in
//! `engine/src/feed/swaps`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod harness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::writing;
use harness::{Plan, World};
use nirantar::core::Event;
use nirantar::feed::{FeedStatus, Gap, Source, TickEvent, TickMessage};
use nirantar_brokers::time::Timestamp;
use nirantar_exchange_mock::kite::{NewLogin, OldSocket, Settings};

/// Everything a strategy is handed.
fn listen(world: &World) -> Arc<Mutex<Vec<TickEvent>>> {
    let (heard, mut ticks) = (Arc::new(Mutex::new(Vec::new())), world.engine.ticks());
    let all = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(message) = ticks.next().await {
            match message {
                TickMessage::Tick(tick) => all.lock().unwrap().push(tick),
                TickMessage::Lagged(count) => panic!("{count} ticks behind"),
            }
        }
    });
    heard
}

/// Ticks the server has numbered and nobody was handed, in gaps and out of them; and how many were handed on twice or out
/// of order.
fn judged(world: &World, heard: &[TickEvent], gaps: &[Gap], from: Timestamp, to: Timestamp) -> (usize, usize, usize) {
    world.control.with_log(|log| {
        let ports: BTreeMap<u16, _> = log.sockets.iter().map(|socket| (socket.port, socket)).collect();
        let (mut last, mut wrong, mut seen) = (BTreeMap::new(), 0, BTreeMap::new());
        for event in heard.iter().filter(|event| event.socket_port != 0) {
            let sent = ports[&event.socket_port].packets[usize::try_from(event.packet - 1).unwrap()];
            if !sent.snapshot {
                wrong += usize::from(last.insert(sent.token, sent.tick).is_some_and(|last| last >= sent.tick));
                seen.insert((sent.token, sent.tick), ());
            }
        }
        let (mut inside, mut outside) = (0, 0);
        for (token, ticks) in log.ticks.iter().filter(|(token, _)| last.contains_key(*token)) {
            for (number, at) in (1..).zip(ticks).filter(|(_, at)| **at > from && **at <= to) {
                if !seen.contains_key(&(*token, number)) {
                    let declared = gaps.iter().any(|gap| gap.from <= *at && gap.to.is_some_and(|to| *at <= to));
                    *(if declared { &mut inside } else { &mut outside }) += 1;
                }
            }
        }
        (inside, outside, wrong)
    })
}

/// One swap in a running market: the gaps that were declared, and what was missed in them, out of them, and wrong.
async fn swapped(
    new_login: NewLogin,
    old_socket: OldSocket,
    connections: usize,
) -> (Vec<Gap>, usize, usize, usize, usize) {
    let settings = Settings { new_login, old_socket, connections, ..Settings::default() };
    let mut world = World::stepped(Plan::new(settings)).await;
    world.wait_for_feed().await;
    let heard = listen(&world);
    world.pass(Duration::from_secs(5)).await;
    let (from, mark) = (world.now(), world.mark().await);
    let token = world.control.login().access_token;
    writing::token(&world.store, token.expose());
    let adopted = world.wait_for("the new token", |event| matches!(event, Event::Token { .. })).await;
    let Some(Event::Token { generation, .. }) = adopted.last().cloned() else { panic!("{adopted:?}") };
    let live = FeedStatus::Live { generation };
    if world.engine.look(move |core| core.feed().status()).await.unwrap() != live {
        let is_it = |event: &Event| matches!(event, Event::Feed { status, .. } if *status == live);
        world.wait_for("the feed under the new token", is_it).await;
    }
    world.pass(Duration::from_secs(5)).await;
    world.mark().await;
    let of_gap = |event: &Event| if let Event::Gap { gap, .. } = event { Some(*gap) } else { None };
    let gaps: Vec<Gap> = world.since(mark).iter().filter_map(of_gap).filter(|gap| gap.to.is_some()).collect();
    let heard = heard.lock().unwrap();
    let quotes = heard.iter().filter(|tick| tick.socket_port == 0 && matches!(tick.source, Source::Snapshot { .. }));
    let (inside, outside, wrong) = judged(&world, &heard, &gaps, from, world.now() - Duration::from_secs(1));
    (gaps, inside, outside, wrong, quotes.count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_over_loopback_lose_only_what_a_gap_declares() {
    for new_login in [NewLogin::Kills, NewLogin::Keeps] {
        for old_socket in [OldSocket::Cut, OldSocket::Mute, OldSocket::Lives] {
            for connections in [1, 3] {
                let (gaps, inside, outside, wrong, quotes) = swapped(new_login, old_socket, connections).await;
                println!(
                    "{new_login:>5} {old_socket:>5}, {connections} connections: {} gaps with {inside} ticks, {outside} lost, \
                     {wrong} wrong, {quotes} quotes",
                    gaps.len()
                );
                assert_eq!((outside, wrong), (0, 0));
                let survives = new_login == NewLogin::Keeps || old_socket == OldSocket::Lives;
                if survives && connections > 1 {
                    // What is on its way on the old socket when the new one delivers is waited for.
                    assert!(gaps.is_empty(), "{gaps:?}");
                } else if old_socket != OldSocket::Mute {
                    assert_eq!(gaps.len(), 1, "{gaps:?}");
                    assert!(quotes >= 1, "the book is filled by a quote, marked as a snapshot");
                }
            }
        }
    }
}
