//! The way back to live trading (rule 9), as a core of its own: a value that the session embeds.
//!
//! ```text
//!           Accepted            Compared               feed delivers long enough,
//!   Away ─────────────> Comparing ──────> ReduceOnly   the operator agrees where asked  ─────────> Away (live)
//!                        │      ^            │
//!                blocked │      │ free again │ blocked
//!                        └──> Blocked <──────┘
//! ```
//!
//! Promises: exits and cancels may go as soon as live orders and positions have been compared, entries not before the
//! end; whatever comes between a living token and live orders (a refusal, a halt, an outage) ends it at once, and it
//! begins again with a comparison and with the operator's word; with the token it ends altogether.
//!
//! It knows of no broker, token or book: [`Failback::on`] takes what happened and answers with the next step.

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use nirantar_brokers::time::Monotonic;

use super::Resume;
use super::future::View;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The broker accepts a token, and orders do not go live.
    Accepted,
    /// Live orders and positions agree with the broker's.
    Compared,
    /// The feed delivers, or no longer does.
    Feed(bool),
    /// Whether ticks are to be expected.
    Market(bool),
    /// The operator agrees.
    Confirmed,
    /// Time has passed. `blocked`: something stands between the token and live orders.
    Look { blocked: bool },
    /// The token is dead.
    Dead,
}

/// What the session is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Compare live orders and positions with the broker's.
    Compare,
    /// A comparison under way is worth nothing any more.
    Forget,
    /// Live trading goes on, for entries too.
    Complete,
}

/// How far the way back has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Nobody is on it: trading is live, or there is no token to go live with.
    Away,
    /// Something stands in the way.
    Blocked,
    /// Live orders and positions are being compared.
    Comparing,
    /// Exits and cancels of live exposure may go; entries wait for the feed, the hysteresis and the operator.
    ReduceOnly { confirmed: bool },
}

/// The way back to live trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Failback {
    resume: Resume,
    hysteresis: Duration,
    stage: Stage,
    market_open: bool,
    /// Since when the new token's feed has delivered.
    feed_since: Option<Monotonic>,
}

impl Failback {
    /// Nobody is on the way. `hysteresis`: how long the feed must have delivered.
    pub(super) const fn new(resume: Resume, hysteresis: Duration) -> Self {
        Self { resume, hysteresis, stage: Stage::Away, market_open: false, feed_since: None }
    }

    /// Takes what happened.
    pub(super) fn on(&mut self, input: Input, now: Monotonic) -> Option<Output> {
        match (input, self.stage) {
            (Input::Accepted, _) => {
                self.feed_since = None;
                self.compare()
            }
            (Input::Compared, Stage::Comparing) => {
                self.stage = Stage::ReduceOnly { confirmed: false };
                None
            }
            (Input::Confirmed, Stage::ReduceOnly { .. }) => {
                self.stage = Stage::ReduceOnly { confirmed: true };
                None
            }
            (Input::Look { blocked: true }, Stage::Comparing | Stage::ReduceOnly { .. }) => {
                self.stage = Stage::Blocked;
                Some(Output::Forget)
            }
            (Input::Look { blocked: false }, Stage::Blocked) => self.compare(),
            (Input::Look { blocked: false }, Stage::ReduceOnly { .. })
                if self.complete_at().is_some_and(|at| now >= at) =>
            {
                self.end();
                Some(Output::Complete)
            }
            (Input::Feed(delivers), stage) => {
                let counts = delivers && stage != Stage::Away;
                self.feed_since = counts.then(|| self.feed_since.unwrap_or(now));
                None
            }
            (Input::Market(open), _) => {
                self.market_open = open;
                None
            }
            (Input::Dead, _) => {
                self.end();
                None
            }
            (Input::Compared | Input::Confirmed | Input::Look { .. }, _) => None,
        }
    }

    /// Whether there is a living token that new entries do not go out under yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.stage != Stage::Away
    }

    /// Whether exits and cancels of live exposure may go.
    pub(super) const fn exits_may_go(&self) -> bool {
        matches!(self.stage, Stage::ReduceOnly { .. })
    }

    /// When [`on`](Self::on) should be called again. `None` while something else must happen first.
    pub(super) fn next_wake(&self) -> Option<Monotonic> {
        self.complete_at()
    }

    /// What [`Session::hash_future`](super::memory::Session::hash_future) hashes of it.
    pub(super) fn hash_future(&self, view: View, state: &mut impl Hasher) {
        let Self { resume: _, hysteresis, stage, market_open, feed_since } = self;
        (stage, market_open, feed_since.map(|since| view.until(since + *hysteresis))).hash(state);
    }

    /// From when on entries may go, if nothing else happens; zero stands for at once.
    fn complete_at(&self) -> Option<Monotonic> {
        let Stage::ReduceOnly { confirmed } = self.stage else { return None };
        if !confirmed && self.resume == Resume::Confirm {
            return None;
        }
        if self.market_open { self.feed_since.map(|since| since + self.hysteresis) } else { Some(Monotonic::default()) }
    }

    fn compare(&mut self) -> Option<Output> {
        self.stage = Stage::Comparing;
        Some(Output::Compare)
    }

    fn end(&mut self) {
        self.stage = Stage::Away;
        self.feed_since = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const HYSTERESIS: Duration = Duration::from_secs(2);
    const FREE: Input = Input::Look { blocked: false };
    const BLOCKED: Input = Input::Look { blocked: true };

    fn at(millis: u64) -> Monotonic {
        Monotonic::default() + Duration::from_millis(millis)
    }

    /// In trading hours, so far.
    fn after(resume: Resume, inputs: &[Input]) -> Failback {
        let mut failback = Failback::new(resume, HYSTERESIS);
        failback.on(Input::Market(true), at(0));
        for input in inputs {
            failback.on(*input, at(0));
        }
        failback
    }

    #[test]
    fn exits_go_once_compared_and_entries_when_the_feed_has_settled() {
        let mut failback = after(Resume::Auto, &[]);
        assert_eq!(failback.on(Input::Accepted, at(0)), Some(Output::Compare));
        assert!(failback.is_under_way() && !failback.exits_may_go());
        failback.on(Input::Compared, at(0));
        assert!(failback.exits_may_go());
        assert_eq!((failback.on(FREE, at(9_000)), failback.next_wake()), (None, None), "no tick has come");
        failback.on(Input::Feed(true), at(9_000));
        assert_eq!((failback.on(FREE, at(10_999)), failback.next_wake()), (None, Some(at(11_000))));
        assert_eq!(failback.on(FREE, at(11_000)), Some(Output::Complete));
        assert!(!failback.is_under_way());
    }

    #[test]
    fn a_feed_that_stops_delivering_starts_the_wait_anew() {
        let mut failback = after(Resume::Auto, &[Input::Accepted, Input::Compared, Input::Feed(true)]);
        failback.on(Input::Feed(false), at(1_900));
        assert_eq!(failback.on(FREE, at(2_000)), None);
        failback.on(Input::Feed(true), at(3_000));
        assert_eq!(failback.on(FREE, at(4_999)), None);
        assert_eq!(failback.on(FREE, at(5_000)), Some(Output::Complete));
    }

    #[test]
    fn outside_trading_hours_no_tick_is_waited_for() {
        let mut failback = after(Resume::Auto, &[Input::Accepted, Input::Compared, Input::Market(false)]);
        assert_eq!(failback.on(FREE, at(0)), Some(Output::Complete));
    }

    #[test]
    fn where_asked_the_operators_word_is_waited_for_and_one_given_too_early_does_not_count() {
        let begun = [Input::Accepted, Input::Confirmed, Input::Compared, Input::Feed(true)];
        let mut failback = after(Resume::Confirm, &begun);
        assert_eq!((failback.on(FREE, at(60_000)), failback.next_wake()), (None, None));
        failback.on(Input::Confirmed, at(60_000));
        assert_eq!(failback.on(FREE, at(60_000)), Some(Output::Complete));
    }

    #[test]
    fn what_comes_between_ends_it_at_once_and_it_begins_again_with_a_comparison_and_a_word() {
        let confirmed = [Input::Accepted, Input::Compared, Input::Confirmed];
        let mut failback = after(Resume::Confirm, &confirmed);
        assert_eq!(failback.on(BLOCKED, at(0)), Some(Output::Forget));
        assert!(failback.is_under_way() && !failback.exits_may_go());
        failback.on(Input::Compared, at(0));
        assert!(!failback.exits_may_go(), "what was compared before is worth nothing");
        assert_eq!(failback.on(BLOCKED, at(0)), None, "said once");
        assert_eq!(failback.on(FREE, at(0)), Some(Output::Compare));
        failback.on(Input::Compared, at(0));
        failback.on(Input::Feed(true), at(0));
        assert_eq!(failback.on(FREE, at(60_000)), None, "the word was given to what was seen before");
        failback.on(Input::Confirmed, at(60_000));
        assert_eq!(failback.on(FREE, at(60_000)), Some(Output::Complete));
    }

    #[test]
    fn with_the_token_it_ends_altogether_and_the_next_ones_feed_has_to_prove_itself() {
        let mut failback = after(Resume::Auto, &[Input::Accepted, Input::Compared, Input::Feed(true), Input::Dead]);
        assert!(!failback.is_under_way() && !failback.exits_may_go());
        assert_eq!(failback.on(FREE, at(9_000)), None);
        failback.on(Input::Accepted, at(9_000));
        failback.on(Input::Compared, at(9_000));
        assert_eq!(failback.on(FREE, at(60_000)), None, "no tick of the new token's feed");
    }

    #[test]
    fn another_token_on_the_way_begins_it_anew_and_its_own_feed_has_to_prove_itself() {
        let twice = [Input::Accepted, Input::Feed(true), Input::Accepted, Input::Compared];
        let mut failback = after(Resume::Auto, &twice);
        assert_eq!(failback.on(FREE, at(60_000)), None, "no tick of the new token's feed");
        failback.on(Input::Feed(true), at(60_000));
        assert_eq!(failback.on(FREE, at(120_000)), Some(Output::Complete));
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Accepted),
            Just(Input::Compared),
            any::<bool>().prop_map(Input::Feed),
            any::<bool>().prop_map(Input::Market),
            Just(Input::Confirmed),
            Just(FREE),
            Just(FREE),
            Just(BLOCKED),
            Just(Input::Dead),
        ]
    }

    /// What happened since the last time that the way began, or began again.
    #[derive(Clone, Copy, Default)]
    struct Seen {
        compared: bool,
        confirmed: bool,
        feed_since: Option<Monotonic>,
        open: bool,
        blocked: bool,
        under_way: bool,
    }

    impl Seen {
        fn see(&mut self, input: Input, now: Monotonic) {
            match input {
                Input::Accepted => *self = Self { open: self.open, under_way: true, ..Self::default() },
                Input::Dead => *self = Self { open: self.open, ..Self::default() },
                Input::Compared => self.compared |= self.under_way && !self.blocked,
                Input::Confirmed => self.confirmed |= self.compared,
                Input::Look { blocked } => {
                    self.blocked = blocked && self.under_way;
                    (self.compared, self.confirmed) = (self.compared && !self.blocked, self.confirmed && !self.blocked);
                }
                Input::Feed(true) if self.under_way => drop(self.feed_since.get_or_insert(now)),
                Input::Feed(_) => self.feed_since = None,
                Input::Market(open) => self.open = open,
            }
        }

        fn may_complete(&self, resume: Resume, now: Monotonic) -> bool {
            let settled = !self.open || self.feed_since.is_some_and(|since| now >= since + HYSTERESIS);
            self.compared && settled && (self.confirmed || resume == Resume::Auto)
        }
    }

    proptest! {
        #[test]
        fn it_is_complete_exactly_when_all_that_is_asked_for_has_happened(
            story in vec((input(), 0..3_000_u64), 1..60),
            confirm in any::<bool>(),
        ) {
            let resume = if confirm { Resume::Confirm } else { Resume::Auto };
            let (mut failback, mut seen, mut now) = (Failback::new(resume, HYSTERESIS), Seen::default(), at(0));
            for (input, pause) in story {
                now = now + Duration::from_millis(pause);
                let output = failback.on(input, now);
                seen.see(input, now);
                let complete = input == FREE && seen.may_complete(resume, now);
                prop_assert_eq!(output == Some(Output::Complete), complete);
                if complete {
                    seen = Seen { open: seen.open, ..Seen::default() };
                }
                prop_assert_eq!(failback.exits_may_go(), seen.compared);
                prop_assert_eq!(failback.is_under_way(), seen.under_way);
                if let Some(wake) = failback.next_wake().filter(|wake| *wake <= now) {
                    let mut woken = failback;
                    prop_assert!(woken.on(FREE, now) == Some(Output::Complete), "woken at {wake:?} in vain");
                }
            }
        }

        #[test]
        fn from_wherever_it_has_come_to_a_fair_world_leads_to_its_end(
            story in vec((input(), 0..3_000_u64), 0..60),
        ) {
            let (mut failback, mut now) = (Failback::new(Resume::Confirm, HYSTERESIS), at(0));
            for (input, pause) in story {
                now = now + Duration::from_millis(pause);
                failback.on(input, now);
            }
            if failback.is_under_way() {
                for input in [FREE, Input::Compared, Input::Confirmed, Input::Feed(true), FREE] {
                    failback.on(input, now);
                }
                let last = failback.is_under_way().then(|| failback.on(FREE, now + HYSTERESIS));
                prop_assert!(last.is_none_or(|last| last == Some(Output::Complete)));
            }
        }
    }
}
