//! What can happen to a session, in the shortest words: a failing sequence is read, line by line.

use std::fmt;
use std::time::Duration;

use nirantar::session::{AttemptEnd, Candidate, Generation, Operator, Source, Verdict};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Endpoint, Fingerprint, Refusal};

use super::dice::Dice;
use super::policies::{OWN, STRANGER};

/// The token an answer is stamped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The one in use.
    Current,
    /// The one before.
    Older,
    /// One that never was.
    Never,
}

impl Of {
    /// Its number.
    pub fn number(self, current: Generation) -> Generation {
        match self {
            Self::Current => current,
            Self::Older => Generation(current.0.saturating_sub(1)),
            Self::Never => Generation(current.0 + 1),
        }
    }

    fn any(dice: &mut Dice) -> Self {
        dice.pick(&[Self::Current, Self::Current, Self::Current, Self::Older, Self::Never])
    }
}

/// What a probe finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Accepted, and it is ours.
    Ours,
    /// Accepted, and it is somebody else's.
    Strangers,
    /// Refused.
    Dead,
    /// Nothing.
    Nothing,
}

impl Found {
    /// As the machine hears it.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Ours => Verdict::Accepted { user_id: OWN.to_owned() },
            Self::Strangers => Verdict::Accepted { user_id: STRANGER.to_owned() },
            Self::Dead => Verdict::Refused,
            Self::Nothing => Verdict::Inconclusive,
        }
    }

    fn any(dice: &mut Dice) -> Self {
        dice.pick(&[Self::Ours, Self::Ours, Self::Ours, Self::Dead, Self::Nothing, Self::Strangers])
    }
}

/// A token that turns up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    token: u32,
    source: Source,
    /// Seconds from now; below zero in the past.
    issued: Option<i64>,
    expires: Option<i64>,
    renewable: bool,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} {:?}", self.token, self.source)?;
        self.issued.map_or(Ok(()), |seconds| write!(f, ", issued {seconds:+} s"))?;
        self.expires.map_or(Ok(()), |seconds| write!(f, ", expires {seconds:+} s"))?;
        f.write_str(if self.renewable { ", renewable" } else { "" })
    }
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a token.
    Token(Offer),
    /// Without.
    Failed,
    /// Without, for ever.
    ForGood,
    /// Nobody knows.
    Unknown,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The machine is left alone until it asks to be woken.
    Wait,
    /// Time passes, and the machine is woken late.
    Pass(Duration),
    /// The wall clock steps by so many seconds.
    Clock(i64),
    /// The journal has been replayed.
    Started,
    /// A token turns up.
    Offer(Offer),
    /// The last probe asked for comes back.
    Probed(Found),
    /// A probe comes back that is long over, or was never asked for.
    StrayProbe(u64, Found),
    /// The broker refuses for the token's sake.
    Refused(Of, Refusal, Endpoint),
    /// The broker refuses for another reason.
    Misconfigured(Of, Endpoint),
    /// No answer.
    Unanswered(Of),
    /// A good answer.
    Answered(Of),
    /// The last attempt ends.
    Attempted(End),
    /// An attempt ends that is long over, or never was.
    StrayAttempt(u64, End),
    /// The last comparison ends.
    Compared(bool),
    /// A comparison ends that is long over, or never was.
    StrayCompared(u64, bool),
    /// The feed delivers, or no longer does.
    Feed(Of, bool),
    /// The market opens or closes.
    Market(bool),
    /// The operator speaks.
    Says(Operator),
}

/// How often each kind comes; the first is what shrinking leads to.
pub const KINDS: usize = 40;

/// The step of that kind.
pub fn step(kind: usize, mut dice: Dice) -> Step {
    let dice = &mut dice;
    match kind {
        0..5 => Step::Wait,
        5 | 6 => Step::Pass(span(dice)),
        7 => Step::Clock(dice.pick(&[-1, 1, -3, 3, -60, 60, -7200, 7200, 86_400, -86_400])),
        8 | 9 => Step::Started,
        10..15 => Step::Offer(offer(dice)),
        15..21 => Step::Probed(Found::any(dice)),
        21 => Step::StrayProbe(dice.roll(30), Found::any(dice)),
        22 | 23 => Step::Refused(Of::any(dice), refusal(dice), endpoint(dice)),
        24 => Step::Misconfigured(Of::any(dice), endpoint(dice)),
        25 | 26 => Step::Unanswered(Of::any(dice)),
        27 => Step::Answered(Of::any(dice)),
        28 | 29 => Step::Attempted(end(dice)),
        30 => Step::StrayAttempt(dice.roll(10), end(dice)),
        31..34 => Step::Compared(dice.roll(4) > 0),
        34 => Step::StrayCompared(dice.roll(20), dice.flip()),
        35 | 36 => Step::Feed(Of::any(dice), dice.roll(4) > 0),
        37 => Step::Market(dice.flip()),
        _ => Step::Says(dice.pick(&[
            Operator::Confirm,
            Operator::Resume,
            Operator::Confirm,
            Operator::Resume,
            Operator::Renew,
            Operator::Halt,
            Operator::ReduceOnly,
            Operator::Mended,
        ])),
    }
}

fn span(dice: &mut Dice) -> Duration {
    let millis =
        dice.pick(&[1, 1000, 100, 2000, 5000, 11_000, 31_000, 60_000, 600_000, 3_600_000, 36_000_000, 200_000_000]);
    Duration::from_millis(millis)
}

fn offer(dice: &mut Dice) -> Offer {
    use Source::{Login, Operator, Renewal, Revived, Store, Stored};
    Offer {
        token: 1 + dice.roll(6) as u32,
        source: dice.pick(&[Store, Stored, Login, Operator, Renewal, Revived]),
        issued: dice.pick(&[None, Some(-60), Some(-7200), Some(-100_000), Some(60)]),
        expires: dice.pick(&[None, None, Some(3600), Some(60), Some(400), Some(-10), Some(200_000)]),
        renewable: dice.flip(),
    }
}

fn end(dice: &mut Dice) -> End {
    match dice.roll(5) {
        0 | 1 => End::Token(offer(dice)),
        2 => End::Failed,
        3 => End::ForGood,
        _ => End::Unknown,
    }
}

/// How surely a refusal speaks.
pub fn refusal(dice: &mut Dice) -> Refusal {
    dice.pick(&[Refusal::Conclusive, Refusal::Suspect])
}

fn endpoint(dice: &mut Dice) -> Endpoint {
    dice.pick(&[Endpoint::Place, Endpoint::Positions, Endpoint::Feed, Endpoint::Cancel])
}

/// How a session comes to life.
pub const PRELUDE: [Step; 6] = [
    Step::Offer(Offer { renewable: true, ..Offer::plain(1) }),
    Step::Started,
    Step::Probed(Found::Ours),
    Step::Compared(true),
    Step::Market(true),
    Step::Feed(Of::Current, true),
];

impl Offer {
    /// A token of which nothing is known but that it was stored.
    pub const fn plain(token: u32) -> Self {
        Self { token, source: Source::Stored, issued: None, expires: None, renewable: false }
    }

    /// As the machine hears it at `now`.
    pub fn candidate(self, now: Timestamp) -> Candidate {
        let at = |seconds: i64| {
            let span = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { now - span } else { now + span }
        };
        Candidate {
            fingerprint: Fingerprint(self.token),
            source: self.source,
            issued_at: self.issued.map(at),
            expires_at: self.expires.map(at),
            refresh: self.renewable.then_some(Fingerprint(0xfeed)),
            refresh_dies: None,
        }
    }
}

impl End {
    /// As the machine hears it at `now`.
    pub fn told(self, now: Timestamp) -> AttemptEnd {
        match self {
            Self::Token(offer) => AttemptEnd::Token(offer.candidate(now)),
            Self::Failed => AttemptEnd::Failed,
            Self::ForGood => AttemptEnd::FailedForGood,
            Self::Unknown => AttemptEnd::Unknown,
        }
    }
}
