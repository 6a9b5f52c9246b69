//! The outcome policy: what every answer, row, read and end of day means for an order. Written once.
//!
//! [`RULES`] is the policy as a table; `docs/orders.md` is the same table in words for a trader. The functions beside it
//! are the same policy as code: each is total, looks at nothing but its arguments, and names the rule it decides by.
//! The rest of this module acts on [`Decision`]s and decides nothing of this kind itself.
//!
//! Two promises run through it. What the broker surely did not act on may leave again, a bounded number of times, as a
//! new journalled message; what it may have acted on never does (rule 6 of the design). And what is known of an order is
//! never given up for a guess: absence is believed only when nothing is left that the order could explain.

use std::fmt;
use std::time::Duration;

use nirantar_brokers::{Cause, OrderStatus, Refusal};

use super::CommandKind;

/// One row of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number, in code, documentation and the names of tests.
    pub number: u8,
    /// On what occasion.
    pub when: When,
    /// What is learned.
    pub answer: &'static str,
    /// What the order is from then on.
    pub order: &'static str,
    /// What happens next.
    pub next: &'static str,
}

/// The occasion of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// An order was placed, and that was answered.
    Place,
    /// A change was asked for, and that was answered.
    Modify,
    /// A cancel was asked for, and that was answered.
    Cancel,
    /// Positions, book and trades were read.
    Read,
    /// An order is shown: by the broker's book or by an update.
    Row,
    /// The trading day of its exchange is over.
    Day,
    /// An operator speaks.
    Operator,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place => "place",
            Self::Modify => "modify",
            Self::Cancel => "cancel",
            Self::Read => "read",
            Self::Row => "row",
            Self::Day => "day",
            Self::Operator => "operator",
        })
    }
}

const fn rule(number: u8, when: When, answer: &'static str, order: &'static str, next: &'static str) -> Rule {
    Rule { number, when, answer, order, next }
}

/// The policy.
pub const RULES: [Rule; 36] = [
    rule(1, When::Place, "accepted", "accepted", "updates follow; without a feed the book is read"),
    rule(
        2,
        When::Place,
        "anything, after an update has shown the order",
        "as the update says",
        "a number is noted, if it names one",
    ),
    rule(
        3,
        When::Place,
        "refused surely, for the first time, under the token in use, in time",
        "still to be sent",
        "sent once more under a new token, inside valid_for",
    ),
    rule(4, When::Place, "refused otherwise", "refused", "the session hears of it; the strategy decides anew"),
    rule(
        5,
        When::Place,
        "throttled",
        "still to be sent",
        "sent again after the wait, as a new journalled send, inside valid_for",
    ),
    rule(6, When::Place, "rejected", "rejected", "final"),
    rule(7, When::Place, "misconfigured", "refused", "the session hears of it; live trading blocks"),
    rule(8, When::Place, "not sent", "refused", "final; no byte left"),
    rule(9, When::Place, "anything else", "unknown", "looked for by its tag, never sent again"),
    rule(10, When::Modify, "accepted", "as it was", "request received; an update tells of the change"),
    rule(11, When::Modify, "refused", "as it was", "answered; not changed"),
    rule(12, When::Modify, "throttled", "as it was", "asked again after the wait, inside valid_for"),
    rule(
        13,
        When::Modify,
        "rejected",
        "as it was",
        "answered, and the book is read: it may have been filled meanwhile",
    ),
    rule(14, When::Modify, "misconfigured or not sent", "as it was", "answered; not changed"),
    rule(
        15,
        When::Modify,
        "anything else",
        "as it was",
        "never asked again; the book is read until it shows the order",
    ),
    rule(16, When::Cancel, "accepted", "as it was", "request received; an update tells of the end"),
    rule(17, When::Cancel, "refused surely, for the first time", "as it was", "asked once more, under a new token"),
    rule(18, When::Cancel, "refused otherwise", "as it was", "answered; not cancelled"),
    rule(19, When::Cancel, "throttled", "as it was", "asked again after the wait"),
    rule(
        20,
        When::Cancel,
        "rejected",
        "as it was",
        "answered, and the book is read: it may have been filled meanwhile",
    ),
    rule(21, When::Cancel, "misconfigured or not sent", "as it was", "answered; not cancelled"),
    rule(22, When::Cancel, "anything else", "as it was", "the book is read until it shows the order"),
    rule(
        23,
        When::Read,
        "failed",
        "as it was",
        "read again, less and less often; a failed read is never an empty list",
    ),
    rule(
        24,
        When::Read,
        "does not show an unknown order, and that may have a reason",
        "unknown",
        "read again; reasons: too early, the first such read, a trade or a position nobody explains",
    ),
    rule(
        25,
        When::Read,
        "does not show an unknown order, for the second time in a row, and nothing explains it",
        "not placed",
        "believed, until evidence to the contrary",
    ),
    rule(
        26,
        When::Read,
        "shows finished slices of an order and not the rest, twice in a row",
        "cancelled or rejected",
        "the rest is believed never placed",
    ),
    rule(27, When::Row, "an order of ours", "as shown", "new fills are counted, once; older news is passed over"),
    rule(28, When::Row, "a slice of an order of ours", "open while a slice works", "fills of all slices are added up"),
    rule(
        29,
        When::Row,
        "our tag under a second number",
        "both are kept",
        "alarm; the second is adopted as placed elsewhere",
    ),
    rule(30, When::Row, "an order that is not ours", "as shown", "adopted, marked as placed elsewhere"),
    rule(31, When::Row, "a step that cannot be", "as it was", "alarm; its fills are counted all the same"),
    rule(32, When::Row, "an order believed never placed, or unresolved", "as shown", "alarm; it counts again"),
    rule(33, When::Day, "the order is unknown", "unresolved", "alarm; counts as exposure until an operator has looked"),
    rule(34, When::Day, "the order works", "as it was", "read once more after the close"),
    rule(
        35,
        When::Day,
        "that read does not show the order, or it still works on the next day",
        "unresolved",
        "alarm; counts as exposure until an operator has looked",
    ),
    rule(36, When::Operator, "acknowledges an unresolved order", "unresolved", "counts as exposure no more"),
];

/// What is to be done, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Number of the rule.
    pub rule: u8,
    /// What.
    pub then: Then,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The order becomes that.
    Become(OrderStatus),
    /// Nothing: what is known stands.
    Stand,
    /// It was not acted on: the message leaves once more, under a new token.
    AgainUnderNewToken,
    /// It was not acted on: the message leaves again after that wait, or the usual one.
    AgainAfter(Option<Duration>),
    /// The caller is told, and no more.
    Answer,
    /// The caller is told, and the book is read until it shows the order.
    ReadUntilShown,
    /// The book is read again.
    ReadAgain,
    /// What the row shows is taken.
    Take,
    /// The row is one slice of the order: its fills and state are added to the others'.
    TakeSlice,
    /// The row is taken for an order placed elsewhere.
    Adopt,
}

const fn decide(rule: u8, then: Then) -> Decision {
    Decision { rule, then }
}

/// What matters beside the answer itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// It is an order of the live book: only there are tokens.
    pub live: bool,
    /// An update showed the order before the reply to placing it came.
    pub overtaken: bool,
    /// The message left under the token that is in use now.
    pub token_in_use: bool,
    /// This command was refused for a token's sake before.
    pub refused_before: bool,
    /// The order's `valid_for` is not over.
    pub in_time: bool,
}

/// What the answer to a command means.
#[must_use]
pub fn on_answer(command: &CommandKind, answer: Result<(), Cause>, seen: Circumstances) -> Decision {
    match command {
        CommandKind::Place if seen.overtaken => decide(2, Then::Stand),
        CommandKind::Place => on_placed(answer, seen),
        CommandKind::Modify(_) => match answer {
            Ok(()) => decide(10, Then::Stand),
            Err(Cause::Refused(_)) => decide(11, Then::Answer),
            Err(Cause::Throttled { retry_after }) => decide(12, Then::AgainAfter(retry_after)),
            Err(Cause::Rejected) => decide(13, Then::ReadUntilShown),
            Err(Cause::Misconfigured | Cause::NotSent) => decide(14, Then::Answer),
            Err(Cause::Unknown) => decide(15, Then::ReadUntilShown),
        },
        CommandKind::Cancel => match answer {
            Ok(()) => decide(16, Then::Stand),
            Err(Cause::Refused(Refusal::Conclusive)) if seen.live && !seen.refused_before => {
                decide(17, Then::AgainUnderNewToken)
            }
            Err(Cause::Refused(_)) => decide(18, Then::Answer),
            Err(Cause::Throttled { retry_after }) => decide(19, Then::AgainAfter(retry_after)),
            Err(Cause::Rejected) => decide(20, Then::ReadUntilShown),
            Err(Cause::Misconfigured | Cause::NotSent) => decide(21, Then::Answer),
            Err(Cause::Unknown) => decide(22, Then::ReadUntilShown),
        },
    }
}

const fn on_placed(answer: Result<(), Cause>, seen: Circumstances) -> Decision {
    let once_more = seen.live && seen.token_in_use && !seen.refused_before && seen.in_time;
    match answer {
        Ok(()) => decide(1, Then::Become(OrderStatus::Accepted)),
        Err(Cause::Refused(Refusal::Conclusive)) if once_more => decide(3, Then::AgainUnderNewToken),
        Err(Cause::Refused(_)) => decide(4, Then::Become(OrderStatus::Refused)),
        Err(Cause::Throttled { retry_after }) => decide(5, Then::AgainAfter(retry_after)),
        Err(Cause::Rejected) => decide(6, Then::Become(OrderStatus::Rejected)),
        Err(Cause::Misconfigured) => decide(7, Then::Become(OrderStatus::Refused)),
        Err(Cause::NotSent) => decide(8, Then::Become(OrderStatus::Refused)),
        Err(Cause::Unknown) => decide(9, Then::Become(OrderStatus::Unknown)),
    }
}

/// What a complete read that does not show an unknown order has to go with it before it is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    /// The read began when the broker's propagation time had passed.
    pub waited: bool,
    /// The complete read before this one said the same.
    pub agrees: bool,
    /// There is a trade of its instrument and side under a number that the book does not show.
    pub trade: bool,
    /// The broker holds units that we cannot explain and that the order could.
    pub position: bool,
}

/// What it means that a complete read does not show an unknown order.
#[must_use]
pub const fn on_absence(absence: Absence) -> Decision {
    let Absence { waited, agrees, trade, position } = absence;
    if waited && agrees && !trade && !position {
        decide(25, Then::Become(OrderStatus::NotPlaced))
    } else {
        decide(24, Then::ReadAgain)
    }
}

/// What finished slices mean whose sum is less than the order. `rejected`: none of them was taken.
#[must_use]
pub const fn on_missing_slices(waited: bool, agrees: bool, rejected: bool) -> Decision {
    match (waited && agrees, rejected) {
        (true, true) => decide(26, Then::Become(OrderStatus::Rejected)),
        (true, false) => decide(26, Then::Become(OrderStatus::Cancelled)),
        (false, _) => decide(28, Then::ReadAgain),
    }
}

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Of that order of ours, which was that.
    Order(OrderStatus),
    /// Of a slice of an order of ours, which was that.
    Slice(OrderStatus),
    /// It carries the tag of an order that has another number already.
    SecondNumber,
    /// Nobody's that we know.
    Stranger,
}

/// What a row of the book or an update means.
#[must_use]
pub const fn on_row(shown: Shown) -> Decision {
    use OrderStatus::{NotPlaced, Unresolved};
    match shown {
        Shown::Order(NotPlaced | Unresolved) => decide(32, Then::Take),
        Shown::Slice(NotPlaced | Unresolved) => decide(32, Then::TakeSlice),
        Shown::Order(_) => decide(27, Then::Take),
        Shown::Slice(_) => decide(28, Then::TakeSlice),
        Shown::SecondNumber => decide(29, Then::Adopt),
        Shown::Stranger => decide(30, Then::Adopt),
    }
}

/// How far the day of a live order is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayEnd {
    /// Its exchange has closed.
    Closed,
    /// A complete read that began after the close does not show it.
    NotShown,
    /// Another day has begun.
    NextDay,
}

/// What the end of the day means for an order that is in the market or may be.
#[must_use]
pub const fn on_day_end(status: OrderStatus, end: DayEnd) -> Decision {
    match (status, end) {
        (OrderStatus::Unknown, _) => decide(33, Then::Become(OrderStatus::Unresolved)),
        (OrderStatus::Accepted | OrderStatus::TriggerPending | OrderStatus::Open, DayEnd::Closed) => {
            decide(34, Then::ReadUntilShown)
        }
        (OrderStatus::Accepted | OrderStatus::TriggerPending | OrderStatus::Open, _) => {
            decide(35, Then::Become(OrderStatus::Unresolved))
        }
        // Still to be sent, still to be answered, or finished: others see to it.
        _ => decide(34, Then::Stand),
    }
}
