//! What can happen to the whole core, in the shortest words.

use std::time::Duration;

use nirantar_brokers::{Book, Cause, Intent, OrderStatus, Side};

use super::dice::Dice;
use super::events::{self, Of, Step, refusal};

/// How a message to a broker is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Well.
    Good,
    /// With this.
    Bad(Cause),
}

/// What a read of the live account brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// All of our live orders that have a number, as we know them, and such a position.
    Whole(i64),
    /// No order at all.
    Empty,
    /// A failure.
    Failed(Cause),
}

/// What a socket of the feed says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// It is open.
    Connected,
    /// So many ticks.
    Frame(usize),
    /// Its handshake was refused.
    Refused(Cause),
    /// It is gone.
    Lost,
    /// The one that was closed last is off the broker's list.
    Closed,
}

/// What an order is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which way.
    pub side: Side,
    /// What for.
    pub intent: Intent,
    /// How long it may wait.
    pub valid_for: Duration,
}

/// One thing that happens. Numbers pick one of what there is, counted from the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// To the session, or to time.
    Session(Step),
    /// Time passes, and the next to happen is none of the session's business.
    Nap(Duration),
    /// Some call outside the desk is answered.
    Answered(Of, Answer),
    /// A strategy wants an order.
    Submit(Wish),
    /// A strategy cancels an order.
    Cancel(usize),
    /// A strategy changes an order.
    Modify(usize),
    /// A message is answered.
    Reply(usize, Answer),
    /// A message that nobody sent is answered.
    StrayReply,
    /// The gate was shut before a message.
    GateShut(usize),
    /// The last change of venue is complete.
    Settled,
    /// An older change of venue is complete.
    StraySettled,
    /// The last read is done.
    Read(Of, Read),
    /// An order changed, in the book it belongs to, or in the wrong one.
    Update { order: usize, right_book: bool, status: OrderStatus, filled: u64 },
    /// An order nobody here placed.
    Foreign(Book, u64),
    /// A word of the last socket.
    Socket(Socket),
}

/// How a core comes to life.
pub const PRELUDE: [Move; 8] = [
    Move::Session(events::PRELUDE[0]),
    Move::Session(events::PRELUDE[1]),
    Move::Session(events::PRELUDE[2]),
    Move::Settled,
    Move::Read(Of::Current, Read::Empty),
    Move::Settled,
    Move::Socket(Socket::Connected),
    Move::Socket(Socket::Frame(1)),
];

/// How often each kind comes.
pub const KINDS: usize = 72;

/// The move of that kind.
pub fn step(kind: usize, mut dice: Dice) -> Move {
    match kind {
        // The session's own kinds, but for those that are told here by the desk, the feed and the calendar.
        0..20 => Move::Session(events::step(kind, dice)),
        20..22 => Move::Session(events::step(15, dice)),
        22 | 23 => Move::Session(events::step(28, dice)),
        24 => Move::Session(events::step(21, dice)),
        25 | 26 => Move::Session(events::step(38, dice)),
        27 | 28 => Move::Answered(dice.pick(&[Of::Current, Of::Older, Of::Never]), answer(&mut dice)),
        29..39 => Move::Submit(wish(&mut dice)),
        39 | 40 => Move::Cancel(dice.roll(4) as usize),
        41 => Move::Modify(dice.roll(4) as usize),
        42..47 => Move::Reply(dice.roll(3) as usize, answer(&mut dice)),
        47 => Move::StrayReply,
        48 => Move::GateShut(dice.roll(3) as usize),
        49..57 => Move::Settled,
        57 => Move::StraySettled,
        58..63 => Move::Read(dice.pick(&[Of::Current, Of::Current, Of::Current, Of::Older]), read(&mut dice)),
        63..66 => Move::Update {
            order: dice.roll(5) as usize,
            right_book: dice.roll(4) > 0,
            status: status(&mut dice),
            filled: dice.roll(11),
        },
        67 => Move::Nap(Duration::from_secs(dice.pick(&[1, 60, 3600, 40_000]))),
        66 => Move::Foreign(dice.pick(&[Book::Live, Book::Paper]), dice.roll(11)),
        _ => Move::Socket(match dice.roll(9) {
            0..3 => Socket::Connected,
            3..6 => Socket::Frame(dice.roll(2) as usize),
            6 => Socket::Refused(cause(&mut dice)),
            7 => Socket::Lost,
            _ => Socket::Closed,
        }),
    }
}

fn answer(dice: &mut Dice) -> Answer {
    if dice.roll(3) == 0 { Answer::Bad(cause(dice)) } else { Answer::Good }
}

fn cause(dice: &mut Dice) -> Cause {
    let refusal = refusal(dice);
    dice.pick(&[
        Cause::Unknown,
        Cause::Rejected,
        Cause::Throttled { retry_after: None },
        Cause::Throttled { retry_after: Some(Duration::from_secs(1)) },
        Cause::NotSent,
        Cause::Misconfigured,
        Cause::Refused(refusal),
    ])
}

fn read(dice: &mut Dice) -> Read {
    match dice.roll(6) {
        0..3 => Read::Whole(dice.pick(&[0, 0, 10, -10])),
        3 | 4 => Read::Empty,
        _ => Read::Failed(cause(dice)),
    }
}

fn wish(dice: &mut Dice) -> Wish {
    Wish {
        side: dice.pick(&[Side::Buy, Side::Sell]),
        intent: dice.pick(&[Intent::Open, Intent::Open, Intent::Reduce(Book::Live), Intent::Reduce(Book::Paper)]),
        valid_for: Duration::from_secs(dice.pick(&[5, 0, 60, 3600, 100_000])),
    }
}

fn status(dice: &mut Dice) -> OrderStatus {
    use OrderStatus::{Accepted, Cancelled, Filled, Open, Rejected, TriggerPending};
    dice.pick(&[Open, Filled, Accepted, TriggerPending, Cancelled, Rejected])
}
