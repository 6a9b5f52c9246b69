//! The outbox: stories, and what holds in every order of pushes, answers and waits.

use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use proptest::prelude::*;

use super::outbox::{Delivery, MOST_AN_HOUR, Next, Outbox};
use super::{Alert, Kind, Severity};

fn at(seconds: u64) -> Now {
    let span = Duration::from_secs(seconds);
    Now { mono: Monotonic::default() + span, wall: Timestamp::parse_ist("2026-11-20 09:14:00").unwrap() + span }
}

fn alert(severity: Severity, number: u64) -> Alert {
    let (account, words) = ("main".to_owned(), number.to_string());
    Alert { account, kind: Kind::Alarm, severity, at: at(0).wall, words, link: None }
}

fn failed() -> Delivery {
    Delivery::Failed { after: None, words: "HTTP 500".to_owned() }
}

fn refused() -> Delivery {
    Delivery::Refused { words: "HTTP 400".to_owned() }
}

/// Sends, with success, all that may go now; the words of each.
fn drain(outbox: &mut Outbox, now: Now) -> Vec<String> {
    let mut sent = Vec::new();
    while let Next::Send(alert) = outbox.next(now) {
        outbox.done(&Delivery::Delivered, now.mono);
        sent.push(alert.words);
    }
    sent
}

#[test]
fn two_failures_and_a_success_are_one_delivery_with_growing_waits() {
    let mut outbox = Outbox::default();
    outbox.push(alert(Severity::Urgent, 1), at(0).mono);
    let wanted = Next::Send(alert(Severity::Urgent, 1));
    assert_eq!(outbox.next(at(0)), wanted);
    outbox.done(&failed(), at(0).mono);
    assert_eq!(outbox.next(at(1)), Next::Wait(at(2).mono));
    assert_eq!(outbox.next(at(2)), wanted);
    outbox.done(&failed(), at(2).mono);
    assert_eq!(outbox.next(at(5)), Next::Wait(at(6).mono));
    assert_eq!(outbox.next(at(6)), wanted);
    outbox.done(&Delivery::Delivered, at(6).mono);
    assert_eq!(outbox.next(at(6)), Next::Idle);
    assert_eq!(outbox.undelivered(), 0);
}

#[test]
fn a_sink_that_asks_to_wait_is_left_alone_for_so_long() {
    let mut outbox = Outbox::default();
    outbox.push(alert(Severity::Urgent, 1), at(0).mono);
    outbox.next(at(0));
    outbox.done(&Delivery::Failed { after: Some(Duration::from_secs(300)), words: String::new() }, at(0).mono);
    assert_eq!(outbox.next(at(299)), Next::Wait(at(300).mono));
    assert!(matches!(outbox.next(at(300)), Next::Send(_)));
}

#[test]
fn what_is_refused_is_not_tried_again_and_is_counted() {
    let mut outbox = Outbox::default();
    outbox.push(alert(Severity::Urgent, 1), at(0).mono);
    outbox.next(at(0));
    outbox.done(&refused(), at(0).mono);
    assert_eq!(outbox.next(at(0)), Next::Wait(at(900).mono));
    let told = drain(&mut outbox, at(900));
    assert!(matches!(&told[..], [words] if words.starts_with("1 more alert was held back")), "{told:?}");
    assert_eq!(outbox.undelivered(), 0);
}

#[test]
fn too_many_are_held_back_and_told_in_one_line_when_there_is_room() {
    let mut outbox = Outbox::default();
    let mut sent = Vec::new();
    for number in 0..50 {
        outbox.push(alert(Severity::Urgent, number), at(number).mono);
        sent.extend(drain(&mut outbox, at(number)));
    }
    assert_eq!(sent.len(), MOST_AN_HOUR);
    assert_eq!(outbox.next(at(50)), Next::Wait(at(3_600).mono));
    let told = drain(&mut outbox, at(3_600));
    assert!(matches!(&told[..], [words] if words.starts_with("30 more alerts were held back")), "{told:?}");
    assert_eq!(outbox.next(at(3_600)), Next::Idle);
}

#[test]
fn noise_leaves_room_for_what_is_urgent() {
    let mut outbox = Outbox::default();
    for number in 0..30 {
        outbox.push(alert(Severity::Info, number), at(0).mono);
    }
    assert_eq!(drain(&mut outbox, at(0)).len(), 12);
    outbox.push(alert(Severity::Urgent, 99), at(1).mono);
    assert_eq!(drain(&mut outbox, at(1)), ["99"]);
}

#[test]
fn a_full_queue_drops_the_oldest_of_the_least_severe() {
    let mut outbox = Outbox::default();
    outbox.push(alert(Severity::Urgent, 1_000), at(0).mono);
    outbox.next(at(0)); // hangs from now on
    outbox.push(alert(Severity::Info, 1_001), at(0).mono);
    for number in 0..64 {
        outbox.push(alert(Severity::Urgent, number), at(0).mono);
    }
    outbox.push(alert(Severity::Info, 1_002), at(0).mono);
    assert_eq!(outbox.undelivered(), 67, "none is lost silently");
    outbox.done(&Delivery::Delivered, at(0).mono);
    let sent = drain(&mut outbox, at(0));
    let wanted: Vec<String> = (0..19).map(|number: u64| number.to_string()).collect();
    assert_eq!(sent, wanted);
}

#[test]
fn what_waits_is_tried_once_when_there_is_no_more_time() {
    let mut outbox = Outbox::default();
    for number in 0..3 {
        outbox.push(alert(Severity::Urgent, number), at(0).mono);
    }
    outbox.next(at(0));
    outbox.done(&failed(), at(0).mono);
    outbox.close(at(1).mono);
    let mut tries = 0;
    while let Next::Send(_) = outbox.next(at(1)) {
        tries += 1;
        outbox.done(&failed(), at(1).mono);
    }
    assert_eq!(tries, 4, "each of three, and the line that counts them");
    assert_eq!(outbox.next(at(1)), Next::Idle);
    assert_eq!(outbox.undelivered(), 3);
}

#[derive(Clone, Debug)]
enum Step {
    Push(Severity),
    Try(Delivery),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let severity = prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Urgent]);
    let delivery = prop_oneof![
        4 => Just(Delivery::Delivered),
        2 => Just(failed()),
        1 => Just(refused()),
        1 => (0_u64..8_000).prop_map(|seconds| {
            Delivery::Failed { after: Some(Duration::from_secs(seconds)), words: String::new() }
        }),
    ];
    prop_oneof![
        4 => severity.prop_map(Step::Push),
        4 => delivery.prop_map(Step::Try),
        1 => (0_u64..1_800).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rate_is_never_exceeded_and_every_alert_is_delivered_or_counted(
        steps in prop::collection::vec(any_step(), 0..400),
    ) {
        let (mut outbox, mut time) = (Outbox::default(), 0_u64);
        let (mut pushed, mut delivered, mut told) = (0_u64, 0_u64, 0_u64);
        let mut arrivals: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Push(severity) => {
                    outbox.push(alert(severity, pushed), at(time).mono);
                    pushed += 1;
                }
                Step::Pass(seconds) => time += seconds,
                Step::Try(delivery) => match outbox.next(at(time)) {
                    Next::Send(alert) => {
                        outbox.done(&delivery, at(time).mono);
                        if delivery == Delivery::Delivered {
                            arrivals.push(time);
                            if alert.kind == Kind::HeldBack {
                                let count: u64 = alert.words.split(' ').next().unwrap().parse().unwrap();
                                told += count;
                            } else {
                                delivered += 1;
                            }
                        }
                    }
                    Next::Wait(until) => prop_assert!(until > at(time).mono, "a wait that is over"),
                    Next::Idle => {}
                },
            }
            prop_assert_eq!(pushed, delivered + told + outbox.undelivered());
        }
        for window in arrivals.windows(MOST_AN_HOUR + 1) {
            prop_assert!(window[MOST_AN_HOUR] - window[0] >= 3_600, "{window:?}");
        }
        // Left alone with a willing sink, it ends: everything delivered or told.
        for _ in 0..200 {
            match outbox.next(at(time)) {
                Next::Send(_) => outbox.done(&Delivery::Delivered, at(time).mono),
                Next::Wait(until) => time = until.as_nanos() / 1_000_000_000,
                Next::Idle => break,
            }
        }
        prop_assert_eq!(outbox.next(at(time)), Next::Idle);
        prop_assert_eq!(outbox.undelivered(), 0);
    }
}
