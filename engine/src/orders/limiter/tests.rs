//! The limiter against an adversarial network: each message reaches the server anywhere between its leaving and its
//! answer, in any order, and the windows are looked at from there.

use std::collections::BTreeSet;

use nirantar_brokers::time::Rng;
use proptest::prelude::*;

use super::*;

/// What the network does to a message: how long until its answer, and after which part of that (in 255ths) it is there.
#[derive(Clone, Copy, Debug)]
struct Trip {
    class: Class,
    answer: Duration,
    part: u8,
}

/// Where a flood ends.
struct Flood {
    limiter: Limiter,
    /// When each message reached the server, sorted.
    arrivals: Vec<Monotonic>,
    /// When each left, by its number.
    left: Vec<Monotonic>,
    end: Monotonic,
}

/// Sends all of them as soon as the limiter lets it, urgent ones first.
fn flood(limits: &[RateLimit], trips: &[Trip]) -> Flood {
    let mut limiter = Limiter::new(limits);
    let mut now = Monotonic::default();
    let mut waiting: Vec<usize> = (0..trips.len()).collect();
    waiting.sort_by_key(|index| trips[*index].class);
    let mut waiting = waiting.into_iter().peekable();
    let mut answers: BTreeSet<(Monotonic, Key)> = BTreeSet::new();
    let (mut arrivals, mut left) = (Vec::new(), vec![Monotonic::default(); trips.len()]);
    while let Some(index) = waiting.peek().copied() {
        while let Some((at, key)) = answers.first().copied().filter(|(at, _)| *at <= now) {
            limiter.answered(key, at);
            answers.remove(&(at, key));
        }
        let trip = trips[index];
        let first_answer = answers.first().map(|(at, _)| *at);
        match limiter.next_free(now, trip.class) {
            Room::Now => {
                waiting.next();
                let key = Key::Message(SendId(index as u64));
                limiter.leaves(key, now);
                left[index] = now;
                arrivals.push(now + trip.answer / 255 * u32::from(trip.part));
                answers.insert((now + trip.answer, key));
            }
            Room::At(at) => {
                assert!(at > now, "it says when, and there is no room then");
                now = first_answer.map_or(at, |answer| answer.min(at));
            }
            Room::AfterAnAnswer => now = first_answer.expect("somebody is still unanswered"),
        }
    }
    arrivals.sort();
    Flood { limiter, arrivals, left, end: now }
}

/// The most that any sliding window of the server ever held is within the rule, both ends counted.
fn assert_kept(limits: &[RateLimit], arrivals: &[Monotonic]) {
    for limit in limits {
        let count = limit.count as usize;
        for bunch in arrivals.windows(count + 1) {
            let span = bunch[count].since(bunch[0]);
            assert!(span > limit.per, "{} messages within {span:?}, where {limit:?}", count + 1);
        }
    }
}

fn network(seed: u64, messages: usize, longest: Duration) -> Vec<Trip> {
    let mut rng = Rng::from_seed(seed);
    let longest = u64::try_from(longest.as_nanos()).unwrap();
    let trip = |_| Trip {
        class: if rng.below(5) == 0 { Class::Urgent } else { Class::Entry },
        answer: Duration::from_nanos(rng.below(longest)),
        part: u8::try_from(rng.below(256)).unwrap(),
    };
    (0..messages).map(trip).collect()
}

#[test]
fn a_flood_of_hours_never_fills_any_window_of_the_server_beyond_the_rule_and_all_of_it_is_sent() {
    let limits =
        [RateLimit::new(10, 1), RateLimit::new(200, 60), RateLimit::new(2_000, 1_800), RateLimit::new(5_000, 86_400)];
    for seed in 0..4 {
        let flood = flood(&limits, &network(seed, 6_000, Duration::from_millis(400 << seed)));
        assert_kept(&limits, &flood.arrivals);
        assert_eq!(flood.arrivals.len(), 6_000);
        assert!(flood.limiter.answered.len() <= 5_000, "memory is bounded by the largest count");
        // The day is used well: all but the last thousand went within the first two hours.
        let mut left = flood.left.clone();
        left.sort();
        let first_day = left.partition_point(|at| *at < Monotonic::default() + Duration::from_secs(2 * 3600));
        assert!(first_day > 4_900, "only {first_day} went on the first day");
        assert!(flood.end.since(Monotonic::default()) > Duration::from_secs(86_400), "and the rest on the next");
    }
}

#[test]
fn an_hour_of_flood_is_as_fast_as_the_minute_allows() {
    let limits = [RateLimit::new(10, 1), RateLimit::new(200, 60)];
    let flood = flood(&limits, &network(7, 10_000, Duration::from_millis(300)));
    assert_kept(&limits, &flood.arrivals);
    // 200 a minute would be 3000 s; the reserve takes a tenth of the minute from entries.
    assert!(flood.end.since(Monotonic::default()) < Duration::from_secs(3_500), "{:?}", flood.end);
}

#[test]
fn a_reply_that_takes_longer_than_the_window_keeps_its_place_until_it_comes() {
    let mut limiter = Limiter::new(&[RateLimit::new(1, 1)]);
    let (start, key) = (Monotonic::default(), Key::Message(SendId(1)));
    limiter.leaves(key, start);
    let late = start + Duration::from_secs(60);
    assert_eq!(limiter.next_free(late, Class::Urgent), Room::AfterAnAnswer);
    limiter.answered(key, late);
    let Room::At(free) = limiter.next_free(late, Class::Urgent) else { panic!("it is answered") };
    assert!(free > late + Duration::from_secs(1) && free < late + Duration::from_millis(1_100), "{free:?}");
    assert_eq!(limiter.next_free(free, Class::Urgent), Room::Now);
}

#[test]
fn a_message_that_never_left_gives_its_place_back() {
    let mut limiter = Limiter::new(&[RateLimit::new(1, 60)]);
    let (now, key) = (Monotonic::default(), Key::Message(SendId(1)));
    limiter.leaves(key, now);
    limiter.returned(key);
    limiter.answered(key, now);
    assert_eq!(limiter.next_free(now, Class::Entry), Room::Now);
}

#[test]
fn entries_leave_the_reserve_to_exits_and_cancels() {
    for (count, kept) in [(1, 0), (2, 1), (3, 1), (5, 1), (10, 2), (11, 3), (100, 20), (5_000, 20)] {
        let mut limiter = Limiter::new(&[RateLimit::new(count, 60)]);
        let (now, mut entries, mut urgent) = (Monotonic::default(), 0, 0);
        while limiter.next_free(now, Class::Entry) == Room::Now {
            entries += 1;
            limiter.leaves(Key::Message(SendId(entries)), now);
        }
        while limiter.next_free(now, Class::Urgent) == Room::Now {
            urgent += 1;
            limiter.leaves(Key::Message(SendId(entries + urgent)), now);
        }
        assert_eq!((entries + urgent, urgent), (u64::from(count), kept), "of {count}");
    }
}

#[test]
fn nothing_leaves_during_a_pause_and_a_shorter_one_does_not_end_it() {
    let mut limiter = Limiter::new(&[]);
    let now = Monotonic::default();
    let (long, short) = (now + Duration::from_secs(9), now + Duration::from_secs(2));
    limiter.pause(long, now);
    limiter.pause(short, now);
    assert_eq!(limiter.next_free(short, Class::Urgent), Room::At(long));
    assert_eq!(limiter.next_free(long, Class::Urgent), Room::Now);
}

#[test]
fn what_an_earlier_run_of_the_engine_sent_still_counts() {
    let mut limiter = Limiter::new(&[RateLimit::new(2, 60)]);
    let now = Monotonic::default();
    for ago in [59, 1, 70] {
        limiter.count_earlier(Duration::from_secs(ago), now);
    }
    let Room::At(free) = limiter.next_free(now, Class::Urgent) else { panic!("the window is full") };
    assert!(free.since(now) > Duration::from_secs(1) && free.since(now) < Duration::from_secs(2), "{free:?}");
}

#[test]
fn a_read_of_three_calls_finds_three_places_and_a_smaller_window_empty() {
    let now = Monotonic::default();
    let mut limiter = Limiter::new(&[RateLimit::new(10, 1)]);
    limiter.count(7, now);
    assert_eq!(limiter.next_free_for(now, Class::Urgent, 3), Room::Now);
    limiter.count(1, now);
    assert_ne!(limiter.next_free_for(now, Class::Urgent, 3), Room::Now);
    let mut small = Limiter::new(&[RateLimit::new(2, 1)]);
    assert_eq!(small.next_free_for(now, Class::Urgent, 3), Room::Now);
    small.leave(Key::Read(1), 3, now);
    assert_eq!(small.next_free_for(now, Class::Urgent, 3), Room::AfterAnAnswer);
    small.answered_once(Key::Read(1), now);
    small.answered(Key::Read(1), now);
    assert!(matches!(small.next_free(now, Class::Urgent), Room::At(_)));
}

fn trips() -> impl Strategy<Value = Vec<Trip>> {
    let trip = (any::<bool>(), 0_u64..5_000_000_000, any::<u8>()).prop_map(|(urgent, nanos, part)| Trip {
        class: if urgent { Class::Urgent } else { Class::Entry },
        answer: Duration::from_nanos(nanos),
        part,
    });
    prop::collection::vec(trip, 0..120)
}

proptest! {
    #[test]
    fn no_window_of_the_server_ever_holds_more_than_the_rule(
        counts in prop::collection::vec((1_u32..12, 1_u64..90), 0..4),
        trips in trips(),
    ) {
        let limits: Vec<RateLimit> = counts.into_iter().map(|(count, per)| RateLimit::new(count, per)).collect();
        let flood = flood(&limits, &trips);
        assert_kept(&limits, &flood.arrivals);
        prop_assert_eq!(flood.arrivals.len(), trips.len());
        let most = limits.iter().map(|limit| limit.count).max().unwrap_or(0);
        prop_assert!(flood.limiter.answered.len() <= most as usize);
    }
}
