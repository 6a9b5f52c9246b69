//! How fast the simulator is, in three figures:
//!
//! 1. a trading year (250 days, one account, renewals, faults) at a tick a minute and at a tick a second, on one core;
//! 2. the session core alone under virtual time: simulated hours a second;
//! 3. tokio's paused clock doing the same wake-ups: the same machine, woken at the same instants, by `sleep_until`.
//!
//! ```sh
//! cargo run --release --manifest-path bench/Cargo.toml --bin simulate
//! ```

use std::time::{Duration, Instant};

use nirantar::session::{Candidate, Effect, Event, Machine, Policy, Source, Verdict};
use nirantar::simulate::Simulation;
use nirantar_brokers::kite::{App, facts};
use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{Expiry, Fingerprint};

const ROUNDS: usize = 7;
/// What a session is simulated for.
const SPAN: Duration = Duration::from_secs(250 * 24 * 3600);
/// The same for tokio's clock, which is slower.
const SHORT_SPAN: Duration = Duration::from_secs(25 * 24 * 3600);

fn main() {
    println!("median of {ROUNDS} rounds [min, max], wall time");
    for (name, tick, most) in [("a tick a minute", 60_000, 1.0), ("a tick a second", 1_000, 10.0)] {
        let simulation = Simulation::new(1).days(250).tick(Duration::from_millis(tick));
        let rounds = if tick < 60_000 { 3 } else { ROUNDS };
        let seconds = measured(rounds, || {
            let report = simulation.run();
            assert!(report.is_ok(), "{report}");
        });
        let [low, median, high] = seconds;
        println!("  a trading year at {name}: {median:.2} s [{low:.2}, {high:.2}]; at most {most} s is asked");
    }
    let virtual_time = measured(ROUNDS, || assert!(in_virtual_time(SPAN) > 0));
    let paused = measured(ROUNDS, || assert!(under_paused_clock(SHORT_SPAN) > 0));
    let hours = |span: Duration, seconds: f64| span.as_secs_f64() / 3600.0 / seconds;
    let (ours, theirs) = (hours(SPAN, virtual_time[1]), hours(SHORT_SPAN, paused[1]));
    println!("  session core, virtual time: {ours:.0} simulated hours a second");
    println!("  session core, tokio's paused clock: {theirs:.0} simulated hours a second");
    println!(
        "  ratio: {:.1} times; the wake-ups are the same: {} in a day",
        ours / theirs,
        in_virtual_time(SPAN / 250)
    );
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the machine's own time")]
fn measured(rounds: usize, mut work: impl FnMut()) -> [f64; 3] {
    let mut seconds: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    [seconds[0], seconds[rounds / 2], seconds[rounds - 1]]
}

/// A session with a token that is renewed every few hours, and the world that answers it.
struct Session {
    machine: Machine,
    tokens: u32,
    effects: Vec<Effect>,
    answers: Vec<Event>,
}

impl Session {
    fn new() -> Self {
        let policy =
            Policy { expiry: Expiry::Ttl(Duration::from_secs(6 * 3600)), ..Policy::for_broker(&facts(App::Approved)) };
        Self { machine: Machine::new(policy), tokens: 1, effects: Vec::new(), answers: Vec::new() }
    }

    fn candidate(&self, now: Now) -> Candidate {
        Candidate {
            fingerprint: Fingerprint(self.tokens),
            source: Source::Renewal,
            issued_at: Some(now.wall),
            expires_at: None,
            refresh: Some(Fingerprint(self.tokens + 1_000_000)),
            refresh_dies: None,
        }
    }

    /// Tells the machine, and answers what it asks at once.
    fn tell(&mut self, event: Event, now: Now) {
        self.answers.push(event);
        while let Some(event) = self.answers.pop() {
            self.machine.on(&event, now, &mut self.effects);
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Probe { probe, .. } => {
                        let verdict = Verdict::Accepted { user_id: "AB1234".to_owned() };
                        self.answers.push(Event::Probed { probe, verdict });
                    }
                    Effect::Attempt { attempt, .. } => {
                        self.tokens += 1;
                        let end = nirantar::session::AttemptEnd::Token(self.candidate(now));
                        self.answers.push(Event::Attempted { attempt, end });
                    }
                    Effect::Reconcile { number } => self.answers.push(Event::Reconciled { number, complete: true }),
                    Effect::OpenFeed { generation } => self.answers.push(Event::Feed { generation, delivers: true }),
                    _ => {}
                }
            }
        }
    }

    fn begin(&mut self, now: Now) {
        let first = self.candidate(now);
        self.tell(Event::Started, now);
        self.tell(Event::Candidate(first), now);
    }
}

fn start() -> Now {
    Now { mono: Monotonic::default(), wall: Timestamp::parse_ist("2026-01-05 09:00:00").expect("a time") }
}

/// Wakes it whenever it wants to be woken. Returns how often.
fn in_virtual_time(span: Duration) -> u64 {
    let (mut session, begin, mut wakes) = (Session::new(), start(), 0);
    let mut now = begin;
    session.begin(now);
    while now.mono.since(begin.mono) < span {
        now = now + session.machine.next_wake(now).since(now.mono);
        session.tell(Event::Wake, now);
        wakes += 1;
    }
    wakes
}

/// The same under tokio's paused clock.
fn under_paused_clock(span: Duration) -> u64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let (mut session, begin, mut wakes) = (Session::new(), start(), 0);
        let (zero, mut now) = (tokio::time::Instant::now(), begin);
        session.begin(now);
        while now.mono.since(begin.mono) < span {
            let wait = session.machine.next_wake(now).since(begin.mono);
            tokio::time::sleep_until(zero + wait).await;
            now = begin + zero.elapsed();
            session.tell(Event::Wake, now);
            wakes += 1;
        }
        wakes
    })
}
