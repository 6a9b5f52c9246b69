//! What goes wrong, as data: [`FaultKind`] says what, [`Fault`] when and for how long, [`FaultPlan`] which.
//!
//! A fault is written as it is printed: `token-dies@1/10:00:00`, `broker-forgets@2/11:30:00+90s` (the second trading day
//! of the run, half past eleven, for a minute and a half). [`FaultKind::ALL`] is the whole catalogue, with words.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::NaiveTime;
use nirantar_brokers::time::Rng;

/// Declares the catalogue once: variant, name, how long it lasts unless it is said, words.
macro_rules! catalogue {
    ($($kind:ident, $name:literal, $seconds:literal, $words:literal;)*) => {
        /// What can go wrong. The words of each are [`FaultKind::words`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind {
            $(#[doc = $words] $kind,)*
        }

        impl FaultKind {
            /// Every fault there is.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// As it is written: `token-dies`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What happens, in words.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$kind => $words,)* }
            }

            /// How long it lasts unless it is said; zero for what happens in a moment.
            #[must_use]
            pub const fn usual(self) -> Duration {
                Duration::from_secs(match self { $(Self::$kind => $seconds,)* })
            }
        }
    };
}

catalogue! {
    TokenDies, "token-dies", 0, "the broker ends the session of the token in use";
    TokenOutlives, "token-outlives", 0, "the broker goes on accepting the token in use for a day beyond its time";
    TokenDiesTwice, "token-dies-twice", 120, "the broker ends the session, and that of every new token until the end of this but the last";
    LoginElsewhere, "login-elsewhere", 0, "the owner logs in with the broker's own app: where a new login replaces, the token in use dies, and the new one is nobody's here";
    RenewalFails, "renewal-fails", 60, "the operator asks for a renewal; every renewal fails";
    RenewalHangs, "renewal-hangs", 60, "the operator asks for a renewal; no renewal is answered";
    RenewalReplyLost, "renewal-reply-lost", 60, "the operator asks for a renewal; every renewal is made and its reply is lost";
    RenewalLate, "renewal-late", 60, "the operator asks for a renewal; every renewal succeeds after its deadline";
    RenewalDeadToken, "renewal-dead-token", 60, "the operator asks for a renewal; every renewal brings a token that is dead";
    RenewalStranger, "renewal-stranger", 60, "the operator asks for a renewal; every renewal brings somebody else's token";
    StoreReadOnly, "store-read-only", 900, "the token store cannot be written by us";
    StoreTorn, "store-torn", 10, "somebody writes the first half of a new token into the store, and the whole of it at the end";
    StoreTwoWriters, "store-two-writers", 0, "one writer puts a new token into the store, another overwrites it with an old one a second later";
    StoreStranger, "store-stranger", 0, "somebody writes a living token of another account into the store";
    StoreDeadToken, "store-dead-token", 0, "somebody writes a token that never lived into the store";
    BrokerRefuses, "broker-refuses", 20, "the broker says that the living token is dead, to every call";
    BrokerSuspects, "broker-suspects", 10, "the broker refuses orders and reads in words that may mean a dead token";
    BrokerRefusesLate, "broker-refuses-late", 30, "the next order is refused for the token's sake; a human logs in at once, and the refusal arrives after that, at the end";
    BrokerThrottles, "broker-throttles", 30, "the broker says that it is asked too often, to every call";
    BrokerForgets, "broker-forgets", 60, "the broker does not act on calls and answers none";
    BrokerLosesReplies, "broker-loses-replies", 45, "the broker acts on orders, and its answers are lost";
    BrokerAnswersTwice, "broker-answers-twice", 60, "every answer to an order arrives twice";
    BrokerMisconfigured, "broker-misconfigured", 60, "the broker refuses orders for a wrong address; the operator mends it at the end";
    BrokerQuotesToken, "broker-quotes-token", 60, "the broker rejects orders with a page that quotes the token";
    SocketCut, "socket-cut", 0, "the feed's connection is cut";
    SocketMute, "socket-mute", 180, "nothing comes on the feed's connection, which stays open";
    SocketLate, "socket-late", 60, "what the feed sends arrives up to seven seconds late";
    FeedRefused, "feed-refused", 30, "the feed refuses connections, although the token lives; the connection there is cut";
    ClockForward, "clock-forward", 60, "the machine's wall clock is set forward by as long as this lasts, and set right ten minutes later";
    ClockBack, "clock-back", 60, "the machine's wall clock is set back by as long as this lasts, and set right ten minutes later";
    MachineSleeps, "machine-sleeps", 600, "the machine sleeps; its connections are cut";
    ProcessDies, "process-dies", 180, "within this time the process dies, between two things it does, with what its journal has not synced; another one starts five seconds later";
    HolidayMoves, "holiday-moves", 0, "the exchange declares the rest of the day a holiday, which our calendar does not know";
    OperatorHalts, "operator-halts", 60, "the operator halts trading, and lets it go on at the end";
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let found = Self::ALL.iter().find(|kind| kind.name() == text);
        found
            .copied()
            .ok_or_else(|| BadFault(format!("`{text}` is no fault: `nirantar simulate --list-faults` names them")))
    }
}

/// One thing that goes wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// On which trading day of the run, counted from 1.
    pub day: u32,
    /// At what time of that day, IST.
    pub at: NaiveTime,
    /// What.
    pub kind: FaultKind,
    /// For how long. Zero is a moment.
    pub lasts: Duration,
}

/// Text that is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFault(String);

/// Longest time a fault lasts.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

impl Fault {
    /// What happens at that time of the first day, for as long as it usually does.
    #[must_use]
    pub const fn new(kind: FaultKind, day: u32, at: NaiveTime) -> Self {
        Self { day, at, kind, lasts: kind.usual() }
    }

    /// The same, for so long.
    #[must_use]
    pub const fn lasting(self, lasts: Duration) -> Self {
        Self { lasts, ..self }
    }
}

impl fmt::Display for Fault {
    /// `broker-forgets@2/11:30:00+90s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.kind, self.day, self.at.format("%H:%M:%S"))?;
        if self.lasts.is_zero() { Ok(()) } else { write!(f, "+{}s", self.lasts.as_secs()) }
    }
}

impl FromStr for Fault {
    type Err = BadFault;

    /// Reads `NAME@DAY/HH:MM[:SS][+SECONDSs]`. Total.
    fn from_str(text: &str) -> Result<Self, BadFault> {
        let bad = || BadFault(format!("`{text}`: expected NAME@DAY/HH:MM[:SS][+SECONDSs], like token-dies@1/10:00"));
        let (kind, when) = text.split_once('@').ok_or_else(bad)?;
        let kind: FaultKind = kind.parse()?;
        let (when, lasts) = when.split_once('+').map_or((when, None), |(when, lasts)| (when, Some(lasts)));
        let (day, time) = when.split_once('/').ok_or_else(bad)?;
        let day = day.parse().ok().filter(|day| *day > 0).ok_or_else(bad)?;
        let time = NaiveTime::parse_from_str(time, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(time, "%H:%M"));
        let lasts = match lasts {
            None => kind.usual(),
            Some(text) => {
                let seconds = text.strip_suffix('s').and_then(|text| text.parse().ok()).ok_or_else(bad)?;
                Duration::from_secs(seconds)
            }
        };
        if lasts > LONGEST {
            return Err(BadFault(format!("`{text}`: a fault lasts six hours at most")));
        }
        Ok(Self { day, at: time.map_err(|_| bad())?, kind, lasts })
    }
}

/// Which faults a run meets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FaultPlan {
    /// Chosen by the run's seed: one to four a day, of every kind. The default.
    #[default]
    BySeed,
    /// These and no others.
    These(Vec<Fault>),
}

impl FaultPlan {
    /// Nothing goes wrong but what does every day.
    #[must_use]
    pub const fn none() -> Self {
        Self::These(Vec::new())
    }

    /// Reads faults, separated by commas or lines; `#` begins a comment.
    ///
    /// # Errors
    /// [`BadFault`], with the number of the line where there is more than one.
    pub fn parse(text: &str) -> Result<Self, BadFault> {
        let lines = text.lines().count();
        let mut faults = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let said = line.split('#').next().unwrap_or_default();
            for one in said.split(',').map(str::trim).filter(|one| !one.is_empty()) {
                let located =
                    |BadFault(why)| BadFault(if lines > 1 { format!("line {}: {why}", number + 1) } else { why });
                faults.push(one.parse().map_err(located)?);
            }
        }
        faults.sort_unstable();
        Ok(Self::These(faults))
    }

    /// The faults of a run of that seed over so many days, in their order.
    #[must_use]
    pub fn faults(&self, seed: u64, days: u32) -> Vec<Fault> {
        match self {
            Self::These(faults) => faults.clone(),
            Self::BySeed => {
                let mut rng = Rng::from_seed(seed ^ 0xfa17);
                let mut faults: Vec<Fault> = (1..=days).flat_map(|day| day_of_faults(day, &mut rng)).collect();
                faults.sort_unstable();
                faults
            }
        }
    }
}

/// A day's faults: in trading hours mostly, and never in the last quarter of an hour of them, so that what is broken can
/// be seen to mend.
fn day_of_faults(day: u32, rng: &mut Rng) -> Vec<Fault> {
    let count = 1 + rng.below(4);
    let mut faults: Vec<Fault> = Vec::new();
    for _ in 0..count {
        let Some(fault) = one_fault(day, rng) else { continue };
        // Troubles come together: half of them within a minute and a half of the one before.
        let soon = chrono::TimeDelta::seconds(i64::try_from(rng.below(90)).unwrap_or(0));
        let at = match faults.last().filter(|_| rng.below(2) == 0) {
            Some(before) => before.at.overflowing_add_signed(soon).0,
            None => fault.at,
        };
        faults.push(Fault { at, ..fault });
    }
    faults
}

fn one_fault(day: u32, rng: &mut Rng) -> Option<Fault> {
    let index = usize::try_from(rng.below(FaultKind::ALL.len() as u64)).ok()?;
    let kind = *FaultKind::ALL.get(index)?;
    let (from, span) = if rng.below(6) == 0 { (7 * 3600 + 40 * 60, 95 * 60) } else { (9 * 3600 + 15 * 60, 350 * 60) };
    let second = u32::try_from(from + rng.below(span)).ok()?;
    let at = NaiveTime::from_num_seconds_from_midnight_opt(second, 0)?;
    let usual = kind.usual();
    let lasts = if usual.is_zero() { usual } else { Duration::from_secs(1 + rng.below(2 * usual.as_secs())) };
    // A holiday ends the day's trading: rare, or there would be no days left.
    let rare = kind == FaultKind::HolidayMoves && rng.below(4) > 0;
    (!rare).then_some(Fault { day, at, kind, lasts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_it_is_printed() {
        let mut rng = Rng::from_seed(3);
        for _ in 0..500 {
            let Some(fault) = one_fault(7, &mut rng) else { continue };
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let read: Fault = "token-dies@1/10:00".parse().unwrap();
        assert_eq!(read.to_string(), "token-dies@1/10:00:00");
        assert_eq!("socket-mute@2/09:20".parse::<Fault>().unwrap().lasts, FaultKind::SocketMute.usual());
    }

    #[test]
    fn what_is_no_fault_is_refused_in_words() {
        for (text, said) in [
            ("token-dise@1/10:00", "`token-dise` is no fault"),
            ("token-dies", "expected NAME@DAY/HH:MM"),
            ("token-dies@0/10:00", "expected NAME@DAY/HH:MM"),
            ("token-dies@1/25:00", "expected NAME@DAY/HH:MM"),
            ("token-dies@1/10:00+5", "expected NAME@DAY/HH:MM"),
            ("token-dies@1/10:00+99999s", "six hours at most"),
            ("# a file\ntoken-dies@1/10:00\nfire@1/10:00", "line 3: `fire`"),
        ] {
            let why = FaultPlan::parse(text).unwrap_err().to_string();
            assert!(why.contains(said), "{text}: {why}");
        }
    }

    #[test]
    fn a_plan_reads_lists_and_files_and_a_seed_gives_the_same_faults_again() {
        let list = FaultPlan::parse("token-dies@1/10:00, socket-cut@1/09:30").unwrap();
        let file = FaultPlan::parse("# why\ntoken-dies@1/10:00 # here\n\nsocket-cut@1/09:30\n").unwrap();
        assert_eq!(list, file);
        assert_eq!(list.faults(9, 5).first().map(|fault| fault.kind), Some(FaultKind::SocketCut));
        let by_seed = FaultPlan::BySeed;
        assert_eq!(by_seed.faults(9, 5), by_seed.faults(9, 5));
        assert_ne!(by_seed.faults(9, 5), by_seed.faults(10, 5));
        assert!(FaultPlan::none().faults(9, 5).is_empty());
        let many = by_seed.faults(1, 1000);
        for kind in FaultKind::ALL {
            assert!(many.iter().any(|fault| fault.kind == *kind), "{kind} never happens");
        }
    }
}
