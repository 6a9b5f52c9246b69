//! How fast the simulator is:
//!
//! * `minute`, `second`: a trading year (250 days, one account, renewals, faults) at a tick a minute and at a tick a second,
//!   on one core;
//! * `session`: the session core alone under virtual time, against tokio's paused clock (`start_paused`, `sleep_until`)
//!   doing the same wake-ups: with the same machine, and with nothing to do at all. The last is what a wake costs there.
//!
//! ```sh
//! cargo run --release --manifest-path bench/Cargo.toml --bin simulate [-- PART...]
//! ```
//!
//! Time is the processor's for this thread, so that what else runs on the machine disturbs it as little as may be.

use std::time::Duration;

use nirantar::session::{AttemptEnd, Candidate, Effect, Event, Machine, Policy, Source, Verdict};
use nirantar::simulate::Simulation;
use nirantar_brokers::kite::{App, facts};
use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{Expiry, Fingerprint};

/// As in the `nirantar` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
/// What a session is simulated for.
const SPAN: Duration = Duration::from_secs(250 * 24 * 3600);
/// The same for tokio's clock, which is slower.
const SHORT_SPAN: Duration = Duration::from_secs(25 * 24 * 3600);

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wants = |part: &str| asked.is_empty() || asked.iter().any(|one| one == part);
    println!("median of {ROUNDS} rounds (3 of the year at a tick a second) [min, max], processor time of one thread");
    for (part, name, tick, rounds, most) in
        [("minute", "a tick a minute", 60_000, ROUNDS, 1.0), ("second", "a tick a second", 1_000, 3, 10.0)]
    {
        if wants(part) {
            let simulation = Simulation::new(1).days(250).tick(Duration::from_millis(tick));
            let [low, median, high] = measured(rounds, || {
                let report = simulation.run();
                assert!(report.is_ok(), "{report}");
            });
            println!("  a trading year at {name}: {median:.2} s [{low:.2}, {high:.2}]; at most {most} s is asked");
        }
    }
    if wants("session") {
        session();
    }
}

/// The session core alone, and tokio's paused clock waking it as often.
fn session() {
    let instants = instants(SHORT_SPAN);
    let short_wakes = instants.len() as f64;
    let wakes = in_virtual_time(SPAN, |_| {}) as f64;
    let ours = measured(ROUNDS, || assert!(in_virtual_time(SPAN, |_| {}) > 0));
    let theirs = measured(ROUNDS, || assert!(under_paused_clock(SHORT_SPAN) > 0));
    let empty = measured(ROUNDS, || clock_alone(&instants));
    let hours = |span: Duration, seconds: f64| span.as_secs_f64() / 3600.0 / seconds;
    let ours_hours = hours(SPAN, ours[1]);
    let each = |name: &str, span: Duration, wakes: f64, [low, median, high]: [f64; 3]| {
        let nanos = |seconds: f64| seconds * 1e9 / wakes;
        println!(
            "  {name}: {:.0} simulated hours a second, {:.0} ns a wake-up [{:.0}, {:.0}]; virtual time is {:.1} times as fast",
            hours(span, median),
            nanos(median),
            nanos(low),
            nanos(high),
            ours_hours / hours(span, median)
        );
    };
    println!(
        "  the session core wakes {:.0} times in a simulated day; 100 times tokio's hours are asked",
        wakes / 250.0
    );
    each("session core, virtual time", SPAN, wakes, ours);
    each("the same, tokio's paused clock", SHORT_SPAN, short_wakes, theirs);
    each("tokio's paused clock alone, the same instants", SHORT_SPAN, short_wakes, empty);
}

fn measured(rounds: usize, mut work: impl FnMut()) -> [f64; 3] {
    let mut seconds: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = thread_time();
            work();
            (thread_time() - start).as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    [seconds[0], seconds[rounds / 2], seconds[rounds - 1]]
}

/// How long this thread was on a processor.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
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

    /// Tells the machine.
    fn tell(&mut self, event: &Event, now: Now) {
        self.machine.on(event, now, &mut self.effects);
        if !self.effects.is_empty() {
            self.answer(now);
        }
    }

    /// Answers at once what the machine asks. Seldom: most wake-ups ask nothing.
    #[cold]
    fn answer(&mut self, now: Now) {
        loop {
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::Probe { probe, .. } => {
                        let verdict = Verdict::Accepted { user_id: "AB1234".to_owned() };
                        self.answers.push(Event::Probed { probe, verdict });
                    }
                    Effect::Attempt { attempt, .. } => {
                        self.tokens += 1;
                        let end = AttemptEnd::Token(candidate(self.tokens, now));
                        self.answers.push(Event::Attempted { attempt, end });
                    }
                    Effect::Reconcile { number } => self.answers.push(Event::Reconciled { number, complete: true }),
                    Effect::OpenFeed { generation } => self.answers.push(Event::Feed { generation, delivers: true }),
                    _ => {}
                }
            }
            let Some(event) = self.answers.pop() else { return };
            self.machine.on(&event, now, &mut self.effects);
        }
    }

    fn begin(&mut self, now: Now) {
        self.tell(&Event::Started, now);
        self.tell(&Event::Candidate(candidate(self.tokens, now)), now);
    }
}

fn candidate(token: u32, now: Now) -> Candidate {
    Candidate {
        fingerprint: Fingerprint(token),
        source: Source::Renewal,
        issued_at: Some(now.wall),
        expires_at: None,
        refresh: Some(Fingerprint(token + 1_000_000)),
        refresh_dies: None,
    }
}

fn start() -> Now {
    Now { mono: Monotonic::default(), wall: Timestamp::parse_ist("2026-01-05 09:00:00").expect("a time") }
}

/// Wakes it whenever it wants to be woken, and says when that was. Returns how often.
fn in_virtual_time(span: Duration, mut each: impl FnMut(Duration)) -> u64 {
    let (mut session, begin, mut wakes) = (Session::new(), start(), 0);
    let mut now = begin;
    session.begin(now);
    while now.mono < begin.mono + span {
        now = now.when(session.machine.next_wake(now));
        session.tell(&Event::Wake, now);
        each(now.mono.since(begin.mono));
        wakes += 1;
    }
    wakes
}

/// When it wants to be woken in that span.
fn instants(span: Duration) -> Vec<Duration> {
    let mut instants = Vec::new();
    in_virtual_time(span, |at| instants.push(at));
    instants
}

/// The same under tokio's paused clock.
fn under_paused_clock(span: Duration) -> u64 {
    paused().block_on(async {
        let (mut session, begin, mut wakes) = (Session::new(), start(), 0);
        let (zero, mut now) = (tokio::time::Instant::now(), begin);
        session.begin(now);
        while now.mono < begin.mono + span {
            let wait = session.machine.next_wake(now).since(begin.mono);
            tokio::time::sleep_until(zero + wait).await;
            now = begin + zero.elapsed();
            session.tell(&Event::Wake, now);
            wakes += 1;
        }
        wakes
    })
}

/// tokio's paused clock, waking at these instants for nothing.
fn clock_alone(instants: &[Duration]) {
    paused().block_on(async {
        let zero = tokio::time::Instant::now();
        for at in instants {
            tokio::time::sleep_until(zero + *at).await;
        }
        assert!(zero.elapsed() >= *instants.last().expect("wake-ups"));
    });
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}
