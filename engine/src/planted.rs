//! Ten bugs, one for each rule, for the simulator to find: a test-only feature (`planted-bugs`), never in the shipped
//! command. Without the feature [`planted`] is `false` at compile time, and nothing of them is left.

#[cfg(feature = "planted-bugs")]
use std::sync::atomic::{AtomicU8, Ordering};

/// A bug that can be planted: its number is that of the rule it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Bug {
    /// A conclusive refusal of an order is taken for any other answer.
    DeafToRefusals = 1,
    /// A renewal begins although one is in flight.
    TwoRenewals = 2,
    /// A probe that proved nothing is taken for a good one.
    UnprovenToken = 3,
    /// A new token is no change of venue: the desk goes on by the old one's number.
    StaleGeneration = 4,
    /// An order that leaves a second time is not written down again.
    UnwrittenResend = 5,
    /// An order whose reply was lost is sent again.
    ResendsUnknown = 6,
    /// An order that was held when live trading stopped becomes a paper order.
    HeldBecomesPaper = 7,
    /// An outage of the broker has no end.
    OutageForEver = 8,
    /// Exits go live again before the books have been compared.
    NoComparison = 9,
    /// What a broker's error page quotes is not cleaned.
    QuotesSecrets = 10,
}

/// The bug that is planted, by its number; 0 is none.
#[cfg(feature = "planted-bugs")]
static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Whether that bug is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as u8
}

/// Whether that bug is planted: it never is.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them, in the order of the rules.
    pub const ALL: [Self; 10] = [
        Self::DeafToRefusals,
        Self::TwoRenewals,
        Self::UnprovenToken,
        Self::StaleGeneration,
        Self::UnwrittenResend,
        Self::ResendsUnknown,
        Self::HeldBecomesPaper,
        Self::OutageForEver,
        Self::NoComparison,
        Self::QuotesSecrets,
    ];

    /// The rule it breaks.
    #[must_use]
    pub const fn rule(self) -> u8 {
        self as u8
    }
}

/// Plants a bug in the whole process, in place of any other; `None` digs it out.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
}
