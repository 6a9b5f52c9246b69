//! Must show 1 and 2 of issue 5, in virtual time: token swaps under a running market, held against the server's own
//! numbering of every packet it sent; and what a dead token costs until there is a new one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use nirantar_brokers::BrokerToken;
use nirantar_brokers::time::Timestamp;
use nirantar_exchange_mock::kite::{NewLogin, OldSocket};

use self::world::{Plan, TRAVEL, World};
use super::{Gap, Input, Verdict};
use crate::session::Generation;

/// What came through, by the server's numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    ticks: usize,
    /// Missing, with no gap to say so.
    lost: usize,
    /// Missing inside declared gaps.
    in_gaps: usize,
    /// That the gaps say are missing.
    declared: usize,
    duplicated: usize,
    disordered: usize,
    gaps: usize,
    /// Milliseconds between two ticks of an instrument, outside of gaps.
    silence_ms: u128,
    closed_early: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7} ticks | lost {:>3} | in gaps {:>5} (declared {:>5}) | twice {:>2} | disordered {:>2} | gaps {:>2} | \
             silence {:>3} ms",
            self.ticks,
            self.lost,
            self.in_gaps,
            self.declared,
            self.duplicated,
            self.disordered,
            self.gaps,
            self.silence_ms
        )
    }
}

/// Holds what was handed on between two moments against the server's log.
fn tally(world: &World, from: Timestamp, to: Timestamp) -> Tally {
    let log = world.log();
    let sockets: BTreeMap<u16, _> = log.sockets.iter().map(|socket| (socket.port, socket)).collect();
    let arrived = |at: Timestamp| at + TRAVEL;
    let inside = |at: Timestamp, gap: &&Gap| gap.from < at && gap.to.is_some_and(|to| at <= to);
    let in_gap = |at: Timestamp| world.gaps.iter().find(|gap| inside(at, gap));
    let mut numbers: BTreeMap<BrokerToken, Vec<(u64, Timestamp)>> = BTreeMap::new();
    for (token, port, packet, now) in &world.taken {
        let sent = sockets[port].packets[usize::try_from(*packet - 1).unwrap()];
        assert_eq!(sent.token, *token, "the packets are counted alike on both sides");
        if !sent.snapshot {
            numbers.entry(*token).or_default().push((sent.tick, now.wall));
        }
    }
    let mut tally = Tally { gaps: world.gaps.iter().filter(|gap| gap.from >= from).count(), ..Tally::default() };
    tally.closed_early = world.closed_early;
    for (token, ticks) in &log.ticks {
        let got = numbers.remove(token).unwrap_or_default();
        let (mut last, mut last_at) = (0, None);
        let mut seen = vec![false; ticks.len()];
        for (number, at) in got {
            let place = usize::try_from(number - 1).unwrap();
            tally.duplicated += usize::from(std::mem::replace(&mut seen[place], true));
            tally.disordered += usize::from(number < last);
            let silence = last_at.map_or(0, |last: Timestamp| at.since(last).as_millis());
            if at >= from
                && last_at.is_some_and(|last| {
                    !world.gaps.iter().any(|gap| inside(gap.from, &gap) || (gap.from >= last && gap.from <= at))
                })
            {
                tally.silence_ms = tally.silence_ms.max(silence);
            }
            (last, last_at) = (number, Some(at));
        }
        for (at, seen) in ticks.iter().map(|at| arrived(*at)).zip(seen).filter(|(at, _)| *at > from && *at <= to) {
            tally.ticks += usize::from(seen);
            let missing_there = in_gap(at).is_some();
            tally.declared += usize::from(missing_there);
            match (seen, missing_there) {
                (false, true) => tally.in_gaps += 1,
                (false, false) => tally.lost += 1,
                (true, _) => {}
            }
        }
    }
    tally
}

/// Live, then `swaps` token swaps, one every `every`; the tally of it all and how long each took to end its gaps.
fn swapped(plan: Plan, swaps: usize, every: Duration) -> (Tally, World) {
    let mut world = World::new(plan);
    world.swap();
    world.settle();
    let begin = world.now.wall + Duration::from_millis(u64::from(plan.interval_ms)) + plan.slower;
    world.run(Duration::from_millis(u64::from(plan.interval_ms) * 2));
    for _ in 0..swaps {
        let next = world.now + every;
        let had_it = world.swap();
        world.settle();
        let ends = world.gaps.iter().filter_map(|gap| gap.to).filter(|to| *to > had_it);
        let late = ends.map(|to| to.since(had_it)).max().unwrap_or_default();
        assert!(late <= Duration::from_secs(1), "the gap ends {late:?} after the token");
        world.run(next.mono.since(world.now.mono));
    }
    // What is still on a slow way is not missing.
    let end = world.now.wall - plan.slower;
    (tally(&world, begin, end), world)
}

const QUICK: Plan = Plan {
    instruments: 100,
    interval_ms: 50,
    connections: 3,
    room: 3_000,
    new_login: NewLogin::Keeps,
    old_socket: OldSocket::Lives,
    learns_after: Duration::from_millis(200),
    slower: Duration::ZERO,
};

#[test]
fn swaps_under_a_thousand_instruments_lose_repeat_and_disorder_nothing() {
    // Two connections carry them and a third is free, so that each swap rolls.
    let plan = Plan { instruments: 1_000, room: 500, learns_after: Duration::from_millis(20), ..QUICK };
    let (tally, world) = swapped(plan, 50, Duration::from_millis(130));
    println!("50 swaps, 1,000 instruments, 20,000 ticks/s: {tally}");
    let seconds = tally.ticks / 20_000;
    assert!(seconds >= 6 && world.log().handshakes_accepted >= 2 * 51, "{tally}");
    let clean = Tally { ticks: tally.ticks, silence_ms: tally.silence_ms, ..Tally::default() };
    assert_eq!(tally, clean);
    assert!(tally.silence_ms <= 50 + 50, "{tally}");
    assert_eq!(world.log().handshakes_refused, 0);
}

#[test]
fn swaps_between_a_quick_and_a_slow_socket_lose_repeat_and_disorder_nothing() {
    for slower in [5, 30, 45] {
        let plan = Plan { slower: Duration::from_millis(slower), learns_after: Duration::from_millis(20), ..QUICK };
        let (tally, _) = swapped(plan, 10, Duration::from_millis(600));
        println!("every second socket {slower} ms slower: {tally}");
        let clean = Tally { ticks: tally.ticks, silence_ms: tally.silence_ms, ..Tally::default() };
        assert_eq!(tally, clean);
        assert!(tally.silence_ms <= 50 + 50, "{tally}");
    }
    // Slower than instruments tick: the old socket never says as much as the new one, and what that drops is a gap.
    let plan = Plan { slower: Duration::from_millis(400), learns_after: Duration::from_millis(20), ..QUICK };
    let (tally, _) = swapped(plan, 4, Duration::from_millis(2_500));
    println!("every second socket 400 ms slower: {tally}");
    assert_eq!((tally.lost, tally.duplicated, tally.disordered), (0, 0, 0), "{tally}");
    assert!((1..=4).contains(&tally.gaps), "{tally}");
}

#[test]
fn swaps_at_every_connection_limit_lose_only_what_a_gap_declares() {
    for (connections, room, instruments) in [(1, 3_000, 100), (2, 3_000, 100), (2, 50, 100), (3, 50, 100), (3, 40, 100)]
    {
        let plan = Plan { connections, room, instruments, ..QUICK };
        let (tally, _) = swapped(plan, 5, Duration::from_millis(500));
        let lanes = instruments.div_ceil(room);
        println!("{connections} connections of {room:>4}, {lanes} used: {tally}");
        assert_eq!((tally.lost, tally.duplicated, tally.disordered), (0, 0, 0), "{tally}");
        if lanes < connections {
            assert_eq!((tally.gaps, tally.in_gaps, tally.closed_early), (0, 0, 0), "a slot is free: {tally}");
        } else {
            assert_eq!(tally.gaps, 5, "one gap each: {tally}");
        }
        if lanes == 1 {
            assert_eq!(tally.in_gaps, tally.declared, "to the tick: {tally}");
        }
    }
}

#[test]
fn swaps_whatever_a_login_does_to_the_old_token_and_its_socket() {
    for new_login in [NewLogin::Kills, NewLogin::Keeps] {
        for old_socket in [OldSocket::Cut, OldSocket::Mute, OldSocket::Lives] {
            for connections in [1, 2, 3] {
                let plan = Plan { connections, new_login, old_socket, ..QUICK };
                let (tally, world) = swapped(plan, 2, Duration::from_millis(700));
                println!("{new_login:>5} {old_socket:>5}, {connections} connections: {tally}");
                assert_eq!((tally.lost, tally.duplicated, tally.disordered), (0, 0, 0), "{tally}");
                let survives = new_login == NewLogin::Keeps || old_socket == OldSocket::Lives;
                let expected = if survives && connections > 1 { 0 } else { 2 };
                assert_eq!(tally.gaps, expected, "{tally}");
                assert_eq!(
                    tally.in_gaps, tally.declared,
                    "each gap is what the server's log says, to the tick: {tally}"
                );
                assert_eq!(tally.in_gaps > 0, expected > 0);
                assert_eq!(world.feed.gap(), None);
            }
        }
    }
}

/// The afternoon after the close, until the next morning's opening bell is near.
const NIGHT: Duration = Duration::from_secs((17 * 60 + 20) * 60);

#[test]
fn swaps_wait_a_dead_token_costs_one_refused_handshake_and_one_probe_all_night() {
    let plan = Plan { instruments: 50, ..QUICK };
    for told in [true, false] {
        let mut world = World::quiet(plan, "2026-11-20 15:40:00");
        world.swap();
        world.settle();
        // The broker flushes the token: the socket is cut, and the next handshake refused.
        world.kill_tokens();
        world.run(Duration::from_secs(5));
        assert_eq!((world.log().handshakes_refused, world.probes), (1, 1));
        if told {
            let generation = Generation(1);
            world.tell(Input::Probed { generation, verdict: Verdict::Dead });
            world.run(NIGHT);
            assert_eq!((world.log().handshakes_refused, world.probes), (1, 1), "until there is a new token");
        } else {
            // The probe's answer is lost: the slow schedule, never a storm.
            world.run(Duration::from_secs(4 * 60));
            assert_eq!((world.log().handshakes_refused, world.probes), (1, 1));
        }
        world.swap();
        world.settle();
        println!("dead token, probe answered: {told}: {} refused all night", world.log().handshakes_refused);
    }
}

#[test]
fn swaps_wait_a_living_token_that_is_refused_follows_the_slow_schedule_all_night() {
    let mut world = World::quiet(Plan { instruments: 50, ..QUICK }, "2026-11-20 15:40:00");
    world.refuse_data();
    world.swap();
    let mut heard = 0;
    let end = world.now + NIGHT;
    while world.now.mono < end.mono {
        world.run(Duration::from_secs(60));
        if world.probes > heard {
            heard = world.probes;
            world.tell(Input::Probed { generation: Generation(1), verdict: Verdict::Alive });
        }
    }
    let refused = world.log().handshakes_refused;
    println!("living token, refused handshake: {refused} handshakes in {} h", NIGHT.as_secs() / 3600);
    // 5, 10 and 20 minutes, then every half hour.
    let minutes = NIGHT.as_secs() / 60;
    assert_eq!(refused, 1 + 3 + (minutes - 35) / 30);
    assert_eq!(u64::try_from(world.probes).unwrap(), refused, "each is asked about once");
}
