//! The simulator: the cores that trade, under a driver with one thread, virtual time and faults on demand.
//!
//! A trader or an auditor asks what happens if the token dies at 09:14, the renewal hangs, the store is half written and an
//! order is in flight, and gets the same answer every time, with the seed. `nirantar simulate` is its command; here it is
//! for embedders' own tests. What is and is not simulated is written in `docs/simulate.md`.
//!
//! Its parts are separate: the driver (`world`, on a `queue` ordered by time and sequence), the workload ([`Strategy`],
//! [`Trades`]), the faults ([`FaultKind`], [`Fault`], [`FaultPlan`]), the checkers of the ten rules ([`Violation`]), the
//! shrinker and the report ([`Report`]).
//!
//! # Your own strategy
//!
//! ```
//! use nirantar::core::Event;
//! use nirantar::simulate::{FaultPlan, SimulatedTick, Simulation, Strategy, Trader};
//! use nirantar_brokers::{Book, OrderRequest, OrderStatus, OrderType, Price, Side, Venue};
//!
//! /// Buys one share whenever a minute begins, wherever orders go, and counts what became of them.
//! #[derive(Default)]
//! struct EveryMinute {
//!     last: Option<(nirantar_brokers::InstrumentKey, Price)>,
//!     live: u32,
//!     paper: u32,
//!     fell_back: bool,
//! }
//!
//! impl Strategy for EveryMinute {
//!     fn on_tick(&mut self, tick: SimulatedTick<'_>, _: &mut Trader<'_>) {
//!         self.last = Some((tick.instrument.clone(), tick.price));
//!     }
//!
//!     fn on_time(&mut self, trader: &mut Trader<'_>) {
//!         let Some((instrument, price)) = self.last.clone() else { return };
//!         let limit = OrderType::Limit(price + Price::from_paise(100));
//!         // Refused is an answer too: while the token is in doubt nothing is taken.
//!         let _ = trader.submit(OrderRequest::new(instrument, Side::Buy, 1, limit));
//!         self.fell_back |= trader.standing().route.venue == Venue::Paper;
//!     }
//!
//!     fn on_event(&mut self, event: &Event, _: &mut Trader<'_>) {
//!         if let Event::Order { order, .. } = event
//!             && order.status == OrderStatus::Filled
//!         {
//!             match order.book {
//!                 Book::Live => self.live += 1,
//!                 Book::Paper => self.paper += 1,
//!             }
//!         }
//!     }
//! }
//!
//! // The broker ends the session at ten. The human logs in again within a quarter of an hour.
//! let mut mine = EveryMinute::default();
//! let report = Simulation::new(7).days(1).human_only().faults(FaultPlan::parse("token-dies@1/10:00")?).run_with(&mut mine);
//! assert!(report.is_ok(), "{report}");
//! assert!(mine.fell_back && mine.paper > 0, "orders went to paper meanwhile, and were marked as paper");
//! assert!(mine.live > 300, "and to the broker before and after");
//! # Ok::<(), nirantar::simulate::BadFault>(())
//! ```

mod broker;
mod checkers;
mod faults;
mod many;
mod market;
mod policies;
mod queue;
mod report;
mod shrink;
mod story;
#[cfg(test)]
mod tests;
mod time;
mod workload;
mod world;

use std::time::Duration;

use chrono::NaiveDate;

use crate::session::Policy;

pub use checkers::{Checked, Violation};
pub use faults::{BadFault, Fault, FaultKind, FaultPlan};
pub use report::{Counts, Failure, Report};
pub use story::{Keep, Log};
pub use workload::{SimulatedTick, Strategy, Trader, Trades};

use world::World;

/// The account's own user, whom the broker names for its tokens.
const OWN_USER: &str = "AB1234";
/// The account's API secret.
const API_SECRET: &str = "sentinel-api-secret";

/// The most ticks, days and instruments that are simulated.
const MOST_DAYS: u32 = 2_500;
const MOST_INSTRUMENTS: usize = 10;
const SHORTEST_TICK: Duration = Duration::from_millis(50);

/// What is simulated.
#[derive(Clone, Debug)]
struct Options {
    start: NaiveDate,
    days: u32,
    tick: Duration,
    order_every: Duration,
    instruments: usize,
    policy: Option<Policy>,
    keep: Keep,
}

/// A simulation: a seed, and what it is to be of.
#[derive(Clone, Debug)]
pub struct Simulation {
    seed: u64,
    options: Options,
    plan: FaultPlan,
}

impl Simulation {
    /// One trading day of that seed: a tick a minute of three instruments, an order a minute, and the faults of the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let minute = Duration::from_secs(60);
        let options = Options {
            // All of it lies in years whose holidays are built in.
            start: NaiveDate::from_ymd_opt(2025, 1, 1).unwrap_or_default(),
            days: 1,
            tick: minute,
            order_every: minute,
            instruments: 3,
            policy: None,
            keep: Keep::default(),
        };
        Self { seed, options, plan: FaultPlan::default() }
    }

    /// The same with another seed.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// So many trading days, 1 to 2,500.
    #[must_use]
    pub fn days(mut self, days: u32) -> Self {
        self.options.days = days.clamp(1, MOST_DAYS);
        self
    }

    /// From that day on. Holidays are built in for 2025 and 2026.
    #[must_use]
    pub const fn start(mut self, start: NaiveDate) -> Self {
        self.options.start = start;
        self
    }

    /// A tick of every instrument that often, in trading hours; 50 ms at least. The feed's heartbeat is as often, but 5 s at
    /// least; its watchdog and how long a price fills orders follow.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Self {
        self.options.tick = tick.max(SHORTEST_TICK);
        self
    }

    /// The strategy's turn comes that often; 50 ms at least.
    #[must_use]
    pub fn order_every(mut self, every: Duration) -> Self {
        self.options.order_every = every.max(SHORTEST_TICK);
        self
    }

    /// So many instruments, 1 to 10.
    #[must_use]
    pub fn instruments(mut self, count: usize) -> Self {
        self.options.instruments = count.clamp(1, MOST_INSTRUMENTS);
        self
    }

    /// What the account decides by, instead of what the seed chooses. The broker keeps the same expiry and sessions. The
    /// account's own user is `AB1234`.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.options.policy = Some(policy);
        self
    }

    /// An account as most have it since April 2026: Kite's daily cut-off, a new login kills the old token, and only a human
    /// can make one.
    #[must_use]
    pub fn human_only(self) -> Self {
        let facts = nirantar_brokers::kite::facts(nirantar_brokers::kite::App::Individual);
        self.policy(Policy { user_id: Some(OWN_USER.to_owned()), ..Policy::for_broker(&facts) })
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.plan = plan;
        self
    }

    /// How much of the event log is kept.
    #[must_use]
    pub const fn keep(mut self, keep: Keep) -> Self {
        self.options.keep = keep;
        self
    }

    /// Runs it with the default workload.
    #[must_use]
    pub fn run(&self) -> Report {
        self.run_boxed(Box::new(Trades::new(self.seed)))
    }

    /// Runs it with a strategy of your own.
    #[must_use]
    pub fn run_with(&self, strategy: &mut dyn Strategy) -> Report {
        self.run_boxed(Box::new(strategy))
    }

    /// Of a run of the default workload that broke a rule: the days and the faults that it takes, with a timeline.
    #[must_use]
    pub fn shrink(&self, found: Report) -> Report {
        let with = |days, plan| Self { plan, ..self.clone() }.with_seed(found.seed).days(days).keep(Keep::Nothing);
        let small = shrink::shrink(found.clone(), |days, plan| with(days, plan).run());
        with(small.days, FaultPlan::These(small.faults)).keep(Keep::Timeline).run()
    }

    fn run_boxed<'s>(&'s self, strategy: Box<dyn Strategy + 's>) -> Report {
        let Self { seed, options, plan } = self;
        let faults = plan.faults(*seed, options.days);
        let (counts, log, ended) = World::new(options, *seed, faults.clone(), strategy).run();
        let failure = ended.map(|(violation, at, day)| Failure { violation, at, day });
        Report { seed: *seed, days: options.days, faults, counts, failure, log, options: self.words() }
    }

    /// The options of the command that are not as usual.
    fn words(&self) -> String {
        let Options { tick, .. } = &self.options;
        let usual = *tick == Duration::from_secs(60);
        if usual { String::new() } else { format!(" --tick-ms {}", tick.as_millis()) }
    }
}
