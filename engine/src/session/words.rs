//! What the machine is told and what it answers, each printing as English.

use std::fmt;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Endpoint, Fingerprint, Refusal, Renewal, Venue};

use super::{Generation, State, TradingDays};

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Found in the store when the engine started.
    Stored,
    /// Somebody wrote it into the store.
    Store,
    /// Our own renewal brought it.
    Renewal,
    /// A human logged in.
    Login,
    /// A human granted it on the phone, says whoever posted it to the notifier.
    Approval,
    /// The operator handed it over. Probed even if it was refused before.
    Operator,
    /// The last token in use, taken for dead, is accepted after all.
    Revived,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "found in the store",
            Self::Store => "written into the store",
            Self::Renewal => "from the renewal",
            Self::Login => "from the login",
            Self::Approval => "granted on the phone",
            Self::Operator => "from the operator",
            Self::Revived => "thought dead",
        })
    }
}

/// A token that is to be proven. The token itself stays outside the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Which token.
    pub fingerprint: Fingerprint,
    /// Where it came from.
    pub source: Source,
    /// When the broker issued it, if known.
    pub issued_at: Option<Timestamp>,
    /// When the token itself or its store says it dies, the earlier of the two.
    pub expires_at: Option<Timestamp>,
    /// Which refresh token came with it, if one did.
    pub refresh: Option<Fingerprint>,
    /// When that refresh token dies, if it says so.
    pub refresh_dies: Option<Timestamp>,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The broker accepts the token and says whose it is.
    Accepted {
        /// The broker's id of its owner.
        user_id: String,
    },
    /// The broker says it is dead.
    Refused,
    /// No answer, or one that proves nothing.
    Inconclusive,
}

/// How a renewal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptEnd {
    /// It brought a token, still to be proven.
    Token(Candidate),
    /// It failed and may be tried again.
    Failed,
    /// It failed and will fail again: the grant is withdrawn.
    FailedForGood,
    /// Its reply was lost: a one-use grant may be spent and is not tried again.
    Unknown,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// A new token now.
    Renew,
    /// Live trading may go on after a Fallback.
    Confirm,
    /// No orders anywhere; what rests is cancelled.
    Halt,
    /// Only exits and cancels.
    ReduceOnly,
    /// What was misconfigured is mended: live orders may be tried again. A halt stays.
    Mended,
    /// Orders again, of every kind; what was misconfigured is mended.
    Resume,
}

/// What the operator lets orders do. It holds until the operator says otherwise, over tokens and restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TradingMode {
    /// Everything.
    #[default]
    Active,
    /// Less exposure, never more: exits and cancels.
    ReduceOnly,
    /// Nothing but cancels.
    Halted,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The journal has been replayed: orders may go somewhere from now on.
    Started,
    /// There is a token to prove.
    Candidate(Candidate),
    /// A probe came back.
    Probed {
        /// Which probe.
        probe: u64,
        /// With what.
        verdict: Verdict,
    },
    /// The broker refused a request for the token's sake.
    Refused {
        /// The token it went out under.
        generation: Generation,
        /// How surely.
        refusal: Refusal,
        /// What was asked.
        endpoint: Endpoint,
    },
    /// The broker refused a request for a reason that no token mends.
    Misconfigured {
        /// The token it went out under.
        generation: Generation,
        /// What was asked.
        endpoint: Endpoint,
    },
    /// A call brought no connection, or no answer that makes sense.
    Unanswered {
        /// The token it went out under.
        generation: Generation,
    },
    /// A call brought a good answer.
    Answered {
        /// The token it went out under.
        generation: Generation,
    },
    /// A renewal ended.
    Attempted {
        /// Which.
        attempt: u64,
        /// How.
        end: AttemptEnd,
    },
    /// Live orders and positions have been compared with the broker's; or could not be.
    Reconciled {
        /// Which comparison.
        number: u64,
        /// Whether the broker's answers were complete.
        complete: bool,
    },
    /// The feed of that token delivers, or no longer does.
    Feed {
        /// Its token.
        generation: Generation,
        /// Whether it delivers.
        delivers: bool,
    },
    /// The feed could not connect, or lost its connection, for no reason of the token's.
    FeedFailed {
        /// Its token.
        generation: Generation,
    },
    /// Whether ticks are to be expected now.
    Market {
        /// True in trading hours.
        open: bool,
    },
    /// On which days there is trading, from now on: a holiday was announced late.
    Days(TradingDays),
    /// The operator spoke.
    Operator(Operator),
    /// Time has passed.
    Wake,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Ask the broker whose token this is; answer with [`Event::Probed`].
    Probe {
        /// Number of the probe.
        probe: u64,
        /// Which token.
        fingerprint: Fingerprint,
    },
    /// Try to get a token without a human; answer with [`Event::Attempted`].
    Attempt {
        /// Number of the attempt.
        attempt: u64,
        /// How.
        way: Renewal,
    },
    /// Stop that attempt: its time is up. Its answer will be ignored.
    Abandon {
        /// Number of the attempt.
        attempt: u64,
    },
    /// A human has to log in: say so, with the link.
    AskLogin,
    /// The refresh token dies soon: say so, with the link.
    RefreshTokenDies {
        /// When.
        dies: Timestamp,
    },
    /// Use this token from now on, under this number.
    Adopt {
        /// The token's number.
        generation: Generation,
        /// Which token.
        fingerprint: Fingerprint,
        /// When it dies, as far as anybody knows.
        expires: Timestamp,
    },
    /// The token of that number is dead: nothing may use it any more.
    Bury {
        /// The token's number.
        generation: Generation,
    },
    /// Orders go there from now on.
    Route {
        /// Where.
        venue: Venue,
        /// Whether only exits and cancels of live exposure may go there.
        reduce_only: bool,
    },
    /// Compare live orders and positions with the broker's; answer with [`Event::Reconciled`].
    Reconcile {
        /// Number of the comparison.
        number: u64,
    },
    /// Open the feed under that token.
    OpenFeed {
        /// The token's number.
        generation: Generation,
    },
    /// Close the feed.
    CloseFeed,
    /// The state changed.
    Transition(Transition),
    /// Something the operator should know.
    Notice(Notice),
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// From which state.
    pub from: State,
    /// To which.
    pub to: State,
    /// Why.
    pub why: Why,
}

/// Why a state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// A candidate was accepted.
    TokenProven {
        /// Which token.
        fingerprint: Fingerprint,
        /// Where it came from.
        source: Source,
    },
    /// The token will expire soon.
    Due,
    /// A renewal was scheduled for this time.
    Scheduled,
    /// The operator asked.
    OperatorAsked,
    /// A renewal starts.
    RenewalStarted(Renewal),
    /// The renewal did not bring a good token.
    RenewalFailed,
    /// The broker said the token is dead.
    RefusedBy(Endpoint),
    /// A probe found the token dead.
    ProbeRefused,
    /// The token's time is over.
    ExpiryPassed,
    /// Nothing brought a token in time.
    NoToken,
    /// Live orders and positions agree with the broker, the feed delivers: trading goes on.
    FailbackComplete,
}

/// Why a candidate was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NotTaken {
    /// The broker does not accept it.
    Refused,
    /// It is somebody else's.
    Stranger {
        /// Whose.
        user_id: String,
        /// Whose it should be.
        expected: String,
    },
    /// It was refused before.
    RefusedBefore,
    /// It was in use before, and a newer one has replaced it.
    Replaced,
    /// The broker accepts it, but the expiry that came with it, or the broker's own rule, says that it is dead.
    Expired,
}

/// Something the operator should know that is no change of state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// A candidate was not taken; what was alive before goes on.
    NotTaken {
        /// Which token.
        fingerprint: Fingerprint,
        /// Where it came from.
        source: Source,
        /// Why.
        why: NotTaken,
    },
    /// A probe proved nothing; it will be repeated.
    Inconclusive {
        /// Of which token.
        fingerprint: Fingerprint,
    },
    /// The broker refuses, but says the token is good: a human has to look.
    Misconfigured {
        /// At which endpoint.
        endpoint: Endpoint,
    },
    /// The broker refused in words that may mean a dead token, or something else: it is being asked.
    Suspect {
        /// At which endpoint.
        endpoint: Endpoint,
    },
    /// The broker does not answer.
    Outage,
    /// The broker answers again.
    OutageOver,
    /// An answer under an older token was ignored.
    OldGeneration {
        /// The answer's.
        generation: Generation,
    },
    /// The clock jumped against the time that really passed.
    ClockStepped {
        /// By so many seconds; above zero forwards.
        seconds: i64,
    },
    /// A renewal brought no token.
    RenewalFailed {
        /// How it ended.
        end: AttemptEnd,
    },
    /// A renewal took too long and was given up.
    AttemptTimedOut,
    /// The user's command failed so often that it is not run again on that day.
    CommandGivenUp {
        /// How often it was run in vain.
        times: u32,
    },
    /// A renewal brought a token that lives no longer than the one before: not tried again until the cut-off.
    RenewalUseless,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenProven { fingerprint, source } => {
                write!(f, "the broker accepts the token {source} ({fingerprint})")
            }
            Self::Due => f.write_str("the token expires soon"),
            Self::Scheduled => f.write_str("it is time for the scheduled renewal"),
            Self::OperatorAsked => f.write_str("the operator asked for a new token"),
            Self::RenewalStarted(way) => write!(f, "renewing by itself ({})", way_in_words(*way)),
            Self::RenewalFailed => f.write_str("the renewal brought no token"),
            Self::RefusedBy(endpoint) => write!(f, "the broker says the token is dead ({endpoint})"),
            Self::ProbeRefused => f.write_str("the broker says the token is dead (asked by a probe)"),
            Self::ExpiryPassed => f.write_str("the token's time is over"),
            Self::NoToken => f.write_str("no token can be had now"),
            Self::FailbackComplete => {
                f.write_str("live orders and positions agree with the broker, and the feed delivers")
            }
        }
    }
}

fn way_in_words(way: Renewal) -> &'static str {
    match way {
        Renewal::RefreshGrant => "refresh token",
        Renewal::Login => "login",
        Renewal::Approval => "approval on the phone",
        Renewal::External => "external command",
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTaken { fingerprint, source, why } => {
                write!(f, "token {fingerprint} {source} was not taken: ")?;
                match why {
                    NotTaken::Refused => f.write_str("the broker refuses it"),
                    NotTaken::Stranger { user_id, expected } => {
                        write!(f, "it belongs to {user_id}, this account is {expected}")
                    }
                    NotTaken::Replaced => f.write_str("it is an old one that the token in use has replaced"),
                    NotTaken::RefusedBefore => f.write_str("the broker refused it before"),
                    NotTaken::Expired => f.write_str(
                        "its time is over, by the expiry stored with it or the broker's rule; log in for a new one, or \
                             correct expires_at in the store",
                    ),
                }
            }
            Self::Inconclusive { fingerprint } => {
                write!(f, "the broker gave no clear answer about token {fingerprint}; asking again")
            }
            Self::Misconfigured { endpoint } => write!(
                f,
                "the token is good but the broker refuses ({endpoint}): check the static IP and the plan on the \
                 developer console; live orders are blocked until you resume"
            ),
            Self::Suspect { endpoint } => {
                write!(
                    f,
                    "the broker refused ({endpoint}) in words that may mean a dead token: asking it about the token"
                )
            }
            Self::Outage => f.write_str("the broker does not answer; live orders are blocked until it does"),
            Self::OutageOver => f.write_str("the broker answers again"),
            Self::OldGeneration { generation } => write!(f, "ignored a refusal of an older token ({generation})"),
            Self::ClockStepped { seconds } => write!(f, "the clock jumped by {seconds} s; every deadline was checked"),
            Self::RenewalFailed { end: AttemptEnd::FailedForGood } => {
                f.write_str("the broker renews no more: only a new login helps")
            }
            Self::RenewalFailed { end: AttemptEnd::Unknown } => {
                f.write_str("the reply to the renewal was lost; its refresh token may be spent and is not used again")
            }
            Self::RenewalFailed { end: AttemptEnd::Failed | AttemptEnd::Token(_) } => {
                f.write_str("the renewal failed; it will be tried again")
            }
            Self::CommandGivenUp { times } => write!(
                f,
                "your command failed {times} times today and is not run again until tomorrow, or until you ask for a \
                 renewal: too many wrong logins lock an account"
            ),
            Self::AttemptTimedOut => f.write_str("the renewal took too long and was given up"),
            Self::RenewalUseless => {
                f.write_str("the renewed token lives no longer than the old one; not tried again until the cut-off")
            }
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe { probe, fingerprint } => write!(f, "probe {probe}: ask the broker about token {fingerprint}"),
            Self::Attempt { attempt, way } => write!(f, "attempt {attempt}: get a token by {}", way_in_words(*way)),
            Self::Abandon { attempt } => write!(f, "give up attempt {attempt}"),
            Self::AskLogin => f.write_str("ask the human to log in"),
            Self::RefreshTokenDies { dies } => write!(f, "say that the refresh token dies at {dies}"),
            Self::Adopt { generation, fingerprint, expires } => {
                write!(f, "use token {fingerprint} as {generation}, until {expires}")
            }
            Self::Bury { generation } => write!(f, "use the token of {generation} no more"),
            Self::Route { venue, reduce_only: false } => write!(f, "orders: {venue}"),
            Self::Route { venue, reduce_only: true } => write!(f, "orders: {venue}, exits and cancels only"),
            Self::Reconcile { number } => write!(f, "comparison {number}: read live orders and positions"),
            Self::OpenFeed { generation } => write!(f, "open the feed under {generation}"),
            Self::CloseFeed => f.write_str("close the feed"),
            Self::Transition(transition) => write!(f, "{transition}"),
            Self::Notice(notice) => write!(f, "{notice}"),
        }
    }
}
