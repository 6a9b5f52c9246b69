//! What is explored: a policy, what may go wrong under it, and how often.

use std::time::Duration;

use nirantar::session::{FallbackOrders, Operator, Policy, Resume};
use nirantar_brokers::kite::{App, facts};
use nirantar_brokers::{Expiry, Renewal, Sessions};

use super::world::Token;

/// The account's own user.
pub const OWN: &str = "AB1234";
/// Somebody else.
pub const STRANGER: &str = "ZZ9999";

/// Time is quantised: every duration of a policy here is a few of these, and between two events any number of them passes.
pub const UNIT: Duration = Duration::from_secs(10);

/// What may go wrong, or comes uncalled for. Each costs one of the scope's disturbances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The broker kills the token in use before its time.
    Dies,
    /// Somebody writes that token into the store.
    Written(Token),
    /// Somebody writes a living token into the store, with an expiry that is over.
    StaleExpiry,
    /// A human logs in unasked.
    Login,
    /// A human logs in to the wrong account.
    StrangersLogin,
    /// The operator hands that token over.
    Handed(Token),
    /// A probe brings an answer that proves nothing.
    ProbeUndecided,
    /// A probe is not answered in time; its answer may come later.
    ProbeHangs,
    /// The broker refuses a probe although the token lives.
    ProbeLies,
    /// A renewal fails and may be tried again.
    RenewalFails,
    /// A renewal fails for good.
    RenewalForbidden,
    /// The reply to a renewal is lost: the broker has made a token that nobody knows.
    RenewalLost,
    /// A renewal brings somebody else's token.
    RenewalStrangers,
    /// A renewal brings a token that is dead.
    RenewalDead,
    /// A renewal is not answered in time; its answer may come later.
    RenewalHangs,
    /// The broker's answers to a comparison are not complete.
    ComparisonFails,
    /// A comparison is not answered in time; its answer may come later.
    ComparisonHangs,
    /// The feed delivers no longer.
    FeedStops,
    /// The feed cannot connect.
    FeedFails,
    /// The market closes or opens.
    MarketTurns,
    /// The broker refuses an order in words that may mean a dead token.
    Suspect,
    /// The broker refuses the feed's handshake.
    SuspectFeed,
    /// The broker refuses for a reason that no token mends.
    Misconfigured,
    /// The broker does not answer.
    Unanswered,
    /// A refusal comes for a token that was replaced.
    OldRefusal,
    /// The broker refuses a living token as dead.
    FalseRefusal,
    /// The operator speaks.
    Says(Operator),
    /// The machine is woken far too late.
    Oversleeps,
}

/// What is explored.
pub struct Scope {
    /// In words.
    pub name: &'static str,
    /// What the machine decides by.
    pub policy: Policy,
    /// What may go wrong.
    pub troubles: Vec<Trouble>,
    /// How often something may go wrong in one story.
    pub disturbances: u8,
    /// How many tokens may be made for the account, the first one included.
    pub tokens: u8,
    /// Orders are routed, and stand before the gate for any time.
    pub orders: bool,
}

fn policy() -> Policy {
    Policy {
        user_id: Some(OWN.to_owned()),
        automatic: Vec::new(),
        hold: UNIT,
        attempt_timeout: UNIT * 2,
        // With the seventeen seconds that are added to it, two units.
        command_timeout: Duration::from_secs(3),
        retry_first: UNIT,
        retry_cap: UNIT,
        jitter_percent: 0,
        probe_spacing: UNIT,
        probe_timeout: UNIT * 2,
        probe_retry: UNIT,
        reprobe: UNIT * 2,
        outage_after: 2,
        reconcile_retry: UNIT,
        hysteresis: UNIT,
        remind: UNIT,
        ..Policy::for_broker(&facts(App::Approved))
    }
}

/// Tokens live for five units, a command renews them two units before, and a new one leaves the old one alone.
pub fn command() -> Policy {
    Policy {
        automatic: vec![Renewal::External],
        expiry: Expiry::Ttl(UNIT * 5),
        sessions: Sessions::Coexist,
        margin: UNIT * 2,
        ..policy()
    }
}

/// A refresh token renews nine units before the end, and each new token kills the one before.
pub fn grant() -> Policy {
    Policy {
        automatic: vec![Renewal::RefreshGrant],
        expiry: Expiry::Ttl(UNIT * 11),
        sessions: Sessions::Replace,
        margin: UNIT * 9,
        ..policy()
    }
}

/// Only a human brings a token, each login kills the one before, nothing goes to paper, and the operator agrees to go live.
pub fn human() -> Policy {
    Policy {
        expiry: Expiry::Ttl(UNIT * 5),
        sessions: Sessions::Replace,
        margin: UNIT * 2,
        resume: Resume::Confirm,
        fallback_orders: FallbackOrders::Reject,
        ..policy()
    }
}

/// Everything that may go wrong.
pub fn everything() -> Vec<Trouble> {
    use Trouble::{
        ComparisonFails, ComparisonHangs, Dies, FalseRefusal, FeedFails, FeedStops, Handed, Login, MarketTurns,
        Misconfigured, OldRefusal, Oversleeps, ProbeHangs, ProbeLies, ProbeUndecided, RenewalDead, RenewalFails,
        RenewalForbidden, RenewalHangs, RenewalLost, RenewalStrangers, Says, StaleExpiry, StrangersLogin, Suspect,
        SuspectFeed, Unanswered, Written,
    };
    use nirantar::session::Operator::{Confirm, Halt, Mended, ReduceOnly, Renew, Resume};
    let tokens =
        [Dies, Written(Token(0)), Written(Token::STRANGERS), StaleExpiry, Login, StrangersLogin, Handed(Token(0))];
    let probes = [ProbeUndecided, ProbeHangs, ProbeLies, OldRefusal, FalseRefusal, Oversleeps];
    let renewals =
        [RenewalFails, RenewalForbidden, RenewalLost, RenewalStrangers, RenewalDead, RenewalHangs, Says(Renew)];
    let broker = [Suspect, SuspectFeed, Misconfigured, Unanswered, ComparisonFails, ComparisonHangs];
    let rest =
        [FeedStops, FeedFails, MarketTurns, Says(Halt), Says(ReduceOnly), Says(Resume), Says(Confirm), Says(Mended)];
    [&tokens[..], &probes, &renewals, &broker, &rest].concat()
}
