//! What the core is told and what it answers; events print as English.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    Block, Book, BrokerOrderId, ClientOrderId, Exchange, Failure, Fingerprint, Instrument, InstrumentKey, Mode,
    OrderRequest, OrderRow, Outcome, Product, Quote, Renewal, Tick, Venue,
};
use nirantar_exchange_mock::{Expired, Update};

use crate::feed::{self, FeedStatus, Gap};
use crate::orders::{Command, Comparison, Difference, LiveState, OpenOrder, Record, Route, SendId, Tracked};
use crate::session::{AttemptEnd, Candidate, Generation, Notice, Operator, State, Transition, Verdict};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The journal has been replayed.
    Started,
    /// There is a token to prove.
    Candidate(Candidate),
    /// A probe came back.
    Probed {
        /// Which.
        probe: u64,
        /// With what.
        verdict: Verdict,
    },
    /// A renewal ended.
    Attempted {
        /// Which.
        attempt: u64,
        /// How.
        end: AttemptEnd,
    },
    /// A message was answered.
    Reply {
        /// Which.
        send: SendId,
        /// How.
        outcome: Outcome<BrokerOrderId>,
    },
    /// The gate was shut before a message: no byte left.
    GateShut {
        /// Which.
        send: SendId,
    },
    /// A message was kept back here, since its record could not be written: the broker has not heard of it.
    NotWritten {
        /// Which.
        send: SendId,
        /// What its order is told.
        failure: Failure,
    },
    /// A read was not asked for at all: its token is gone.
    NotRead {
        /// Which.
        read: u64,
    },
    /// Live positions, orders and trades were read.
    Read {
        /// Which read.
        read: u64,
        /// Under which token.
        generation: Generation,
        /// What the broker says.
        state: Outcome<LiveState>,
    },
    /// The quotes that were asked for, or why there are none.
    Quoted {
        /// Under which token.
        generation: Generation,
        /// What the broker says.
        quotes: Outcome<Vec<(InstrumentKey, Quote)>>,
    },
    /// Some other call was answered, under that token: the session judges by it.
    Answer {
        /// Under which token.
        generation: Generation,
        /// Its failure, or `None` for a good answer.
        failure: Option<Failure>,
    },
    /// The change of venue of that number is complete: nobody is inside the gate.
    Settled {
        /// Which change.
        epoch: u64,
    },
    /// Something happened on the feed's sockets.
    Feed(feed::Input),
    /// An order changed, says the broker's feed or the paper exchange.
    Update {
        /// In which book.
        book: Book,
        /// How it stands.
        row: Arc<OrderRow>,
    },
    /// A contract has ended with a position in it, says the paper exchange.
    PaperExpired(Expired),
    /// The day's instruments of some exchanges.
    Instruments(Vec<Instrument>),
    /// These instruments are wanted in that mode.
    Subscribe(BTreeSet<InstrumentKey>, Mode),
    /// These instruments are wanted no more.
    Unsubscribe(BTreeSet<InstrumentKey>),
    /// The operator spoke.
    Operator(Operator),
    /// Time has passed.
    Wake,
}

impl Input {
    /// What the paper exchange says, if the core has to hear it: a fill is in its order's row as well.
    pub(crate) fn of_paper(update: Update) -> Option<Self> {
        match update {
            Update::Order(row) => Some(Self::Update { book: Book::Paper, row }),
            Update::Trade(_) => None,
            Update::Expired(expired) => Some(Self::PaperExpired(expired)),
        }
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Show everybody this; if `epoch` is given, wait until nobody is inside the gate and answer [`Input::Settled`].
    Publish {
        /// What everybody sees.
        standing: Standing,
        /// Number of the change of venue, if it is one.
        epoch: Option<u64>,
    },
    /// Ask the broker whose token this is; answer [`Input::Probed`].
    Probe {
        /// Number of the probe.
        probe: u64,
        /// Which token.
        fingerprint: Fingerprint,
    },
    /// Try to get a token without a human; answer [`Input::Attempted`].
    Attempt {
        /// Number of the attempt.
        attempt: u64,
        /// How.
        way: Renewal,
    },
    /// Stop that attempt.
    Abandon {
        /// Number of the attempt.
        attempt: u64,
    },
    /// Write this; if it cannot be written, what follows for that order must not happen.
    Journal(Record),
    /// Send this; answer [`Input::Reply`], [`Input::GateShut`] or [`Input::NotWritten`].
    Send {
        /// Number of the message.
        send: SendId,
        /// Our number of the order.
        id: ClientOrderId,
        /// To which book.
        book: Book,
        /// What the gate must find.
        route: Route,
        /// What.
        command: Command,
    },
    /// Read live positions, the order book and the day's trades; answer [`Input::Read`] or [`Input::NotRead`].
    Read {
        /// Number of the read.
        read: u64,
        /// The token to read under.
        generation: Generation,
    },
    /// Ask the broker how these instruments stand; answer [`Input::Quoted`].
    Quote {
        /// The token to ask under.
        generation: Generation,
        /// Which, no more than a call takes.
        instruments: Vec<InstrumentKey>,
    },
    /// Hand these on: how instruments stand after a gap. They are no ticks, and marked as a snapshot.
    Snapshot {
        /// Under which token they were asked for.
        generation: Generation,
        /// Of which instrument, and how it stands.
        ticks: Vec<(InstrumentKey, Tick)>,
    },
    /// Fetch the day's instruments of these exchanges; answer [`Input::Instruments`].
    FetchInstruments(BTreeSet<Exchange>),
    /// The paper exchange lists these, as the broker does.
    List(Vec<Instrument>),
    /// Something for the feed's sockets.
    Feed(feed::Output),
    /// Tell whoever listens.
    Tell(Event),
}

/// What everybody sees at one moment, but for the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the session is in.
    pub state: State,
    /// Where orders go, and under which token.
    pub route: Route,
    /// The token in use, while it is alive.
    pub token: Option<Fingerprint>,
}

/// What the engine tells whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session's state changed.
    Transition(Transition),
    /// Orders go somewhere else now.
    Venue {
        /// When.
        at: Timestamp,
        /// Where.
        venue: Venue,
        /// Whether only exits and cancels of live exposure may.
        reduce_only: bool,
    },
    /// A token turned up; the broker is being asked about it.
    Candidate {
        /// When.
        at: Timestamp,
        /// Which, and from where.
        candidate: Candidate,
    },
    /// A new token is in use.
    Token {
        /// When.
        at: Timestamp,
        /// Its number.
        generation: Generation,
        /// Which.
        fingerprint: Fingerprint,
        /// When it dies, as far as anybody knows.
        expires: Timestamp,
    },
    /// A human has to log in.
    LoginNeeded {
        /// When it was found out.
        at: Timestamp,
        /// The page to log in at, where the broker has one. The core knows none; the driver adds it.
        link: Option<String>,
    },
    /// The broker has asked the human on the phone to grant a token.
    ApprovalAsked {
        /// When.
        at: Timestamp,
        /// Until when it can be granted, where the broker says.
        lapses_at: Option<Timestamp>,
    },
    /// The refresh token dies soon; after that only a login helps.
    RefreshTokenDies {
        /// When this was said.
        at: Timestamp,
        /// When it dies.
        dies: Timestamp,
        /// The page to log in at, for a new one.
        link: Option<String>,
    },
    /// A new token is in use, but the store could not be written: another process will not see it, and after a restart
    /// it is gone.
    NotStored {
        /// When.
        at: Timestamp,
        /// Why, naming the file.
        reason: String,
    },
    /// Ticks may have been missed, or no longer are.
    Gap {
        /// When it was found out.
        at: Timestamp,
        /// From when to when, and why.
        gap: Gap,
    },
    /// The feed's status changed.
    Feed {
        /// When.
        at: Timestamp,
        /// To what.
        status: FeedStatus,
    },
    /// An order changed.
    Order {
        /// When.
        at: Timestamp,
        /// How it stands.
        order: Arc<Tracked>,
    },
    /// A change or a cancel of an order is answered. Of a lost reply the first answer says so, and a second one says what
    /// the broker's book showed later.
    Answered {
        /// When.
        at: Timestamp,
        /// Our number of the order.
        id: ClientOrderId,
        /// By the broker, or why it was not sent.
        words: String,
    },
    /// Live orders and positions were compared with the broker's.
    Compared {
        /// When.
        at: Timestamp,
        /// How it went.
        comparison: Comparison,
    },
    /// There is no live session, and this is open at the broker: it stays there until the session is back.
    Unmanaged {
        /// When.
        at: Timestamp,
        /// What is held, in which product, above zero long.
        positions: Vec<(InstrumentKey, Product, i64)>,
        /// Orders that rest at the broker.
        resting: Vec<OpenOrder>,
        /// Orders of which nobody knows whether they are there.
        unknown: Vec<OpenOrder>,
    },
    /// Live exits may go again, and this one was asked for today while they could not. It was not sent: submit it if it
    /// is still wanted.
    ExitWanted {
        /// When.
        at: Timestamp,
        /// What was asked for, for no more than there is left to exit.
        request: Box<OrderRequest>,
    },
    /// An exchange's list of the day is here: orders are held against its lots and ticks.
    Instruments {
        /// When.
        at: Timestamp,
        /// Which exchange's.
        exchange: Exchange,
        /// How many instruments it lists.
        count: usize,
    },
    /// Something about the session the operator should know.
    Notice {
        /// When.
        at: Timestamp,
        /// What.
        notice: Notice,
    },
    /// Something unusual.
    Alarm {
        /// When.
        at: Timestamp,
        /// What, in words.
        words: String,
    },
}

impl Event {
    /// When it was told, by the wall clock.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Transition(transition) => transition.at,
            Self::Gap { at, .. }
            | Self::Venue { at, .. }
            | Self::Candidate { at, .. }
            | Self::Token { at, .. }
            | Self::LoginNeeded { at, .. }
            | Self::ApprovalAsked { at, .. }
            | Self::RefreshTokenDies { at, .. }
            | Self::NotStored { at, .. }
            | Self::Feed { at, .. }
            | Self::Order { at, .. }
            | Self::Answered { at, .. }
            | Self::Compared { at, .. }
            | Self::Unmanaged { at, .. }
            | Self::ExitWanted { at, .. }
            | Self::Instruments { at, .. }
            | Self::Notice { at, .. }
            | Self::Alarm { at, .. } => *at,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transition(transition) => write!(f, "{transition}"),
            Self::Venue { venue, reduce_only, .. } => f.write_str(where_orders_go(*venue, *reduce_only)),
            Self::Candidate { candidate, .. } => {
                write!(f, "token {} {}: asking the broker", candidate.fingerprint, candidate.source)
            }
            Self::Token { generation, fingerprint, expires, .. } => {
                let expires = expires.to_ist().format("%Y-%m-%d %H:%M:%S");
                write!(f, "token {fingerprint} is in use ({generation}), until {expires} at the latest")
            }
            Self::LoginNeeded { link: Some(link), .. } => write!(f, "a human has to log in: {link}"),
            Self::LoginNeeded { link: None, .. } => f.write_str("a human has to write a new token into the store"),
            Self::ApprovalAsked { lapses_at, .. } => {
                f.write_str("the broker asks you on the phone to approve a new token")?;
                lapses_at.map_or(Ok(()), |at| write!(f, ", until {}", at.to_ist().format("%Y-%m-%d %H:%M")))
            }
            Self::RefreshTokenDies { dies, link, .. } => {
                write!(f, "the refresh token dies at {}: log in before that", dies.to_ist().format("%Y-%m-%d %H:%M"))?;
                link.as_ref().map_or(Ok(()), |link| write!(f, ", at {link}"))
            }
            Self::NotStored { reason, .. } => write!(f, "the new token is in use but could not be stored: {reason}"),
            Self::Gap { gap, .. } => write!(f, "feed: {gap}"),
            Self::Feed { status, .. } => write!(f, "feed: {status}"),
            Self::Order { order, .. } => {
                let (id, book, status, filled) = (&order.id, order.book, order.status, order.filled);
                let elsewhere = if order.external { " (placed elsewhere)" } else { "" };
                write!(f, "{book} order {id}{elsewhere}: {status}, {filled} of {} filled", order.request.quantity)?;
                order.message.as_ref().map_or(Ok(()), |message| write!(f, " ({message})"))
            }
            Self::Answered { id, words, .. } => write!(f, "change or cancel of order {id}: {words}"),
            Self::Compared { comparison, .. } => write!(
                f,
                "live book compared with the broker's: {} orders, {} positions, {} differences{}{}",
                comparison.orders,
                comparison.positions,
                comparison.differences.len(),
                match &comparison.differences[..] {
                    [] => String::new(),
                    some => format!(" ({})", differences(some)),
                },
                match (comparison.complete, comparison.overnight && !comparison.differences.is_empty()) {
                    (false, _) => "; reading again",
                    (true, true) =>
                        " to what was held on an earlier day: the broker's word was taken, as every morning",
                    (true, false) => "",
                }
            ),
            Self::Unmanaged { positions, resting, unknown, .. } => {
                f.write_str(&unmanaged(positions, resting, unknown))?;
                f.write_str("; until the session is back only the broker's own app reaches it")
            }
            Self::ExitWanted { request, .. } => {
                let OrderRequest { side, quantity, instrument, .. } = &**request;
                write!(
                    f,
                    "live exits may go again: {side} {quantity} {instrument} was asked for; submit it if still wanted"
                )
            }
            Self::Instruments { exchange, count, .. } => write!(f, "the day's list of {exchange}: {count} instruments"),
            Self::Notice { notice, .. } => write!(f, "{notice}"),
            Self::Alarm { words, .. } => f.write_str(words),
        }
    }
}

/// What is open at the broker, in words: `live and unmanaged: 10 NSE:INFY; 1 order rests (…)`.
pub(crate) fn unmanaged(
    positions: &[(InstrumentKey, Product, i64)],
    resting: &[OpenOrder],
    unknown: &[OpenOrder],
) -> String {
    let mut parts = Vec::new();
    if !positions.is_empty() {
        parts.push(format!("positions: {}", listed(positions, |(instrument, _, held)| format!("{held} {instrument}"))));
    }
    if !resting.is_empty() {
        parts.push(format!("resting: {}", listed(resting, ToString::to_string)));
    }
    if !unknown.is_empty() {
        parts.push(format!("unknown: {}", listed(unknown, ToString::to_string)));
    }
    format!("live and unmanaged: {}", parts.join("; "))
}

/// Where our count and the broker's differ, in words: `NSE:INFY MIS: 1 here, 4 at the broker`.
pub(crate) fn differences(differences: &[Difference]) -> String {
    listed(differences, |Difference { instrument, product, ours, brokers }| {
        format!("{instrument} {product}: {ours} here, {brokers} at the broker")
    })
}

fn listed<T>(all: &[T], word: impl Fn(&T) -> String) -> String {
    const MOST_NAMED: usize = 5;
    let named: Vec<String> = all.iter().take(MOST_NAMED).map(word).collect();
    let more = all.len().saturating_sub(MOST_NAMED);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

fn where_orders_go(venue: Venue, reduce_only: bool) -> &'static str {
    match venue {
        Venue::Live if reduce_only => "orders go to the broker: exits and cancels of live positions first",
        Venue::Live => "orders go to the broker",
        Venue::Paper => "orders go to paper, and are marked as paper",
        Venue::Blocked(Block::Starting) => "orders wait: the engine is starting",
        Venue::Blocked(Block::Holding) => "orders are held for a moment: the broker is being asked about the token",
        Venue::Blocked(Block::Reconciling) => "orders wait: live orders and positions are being compared",
        Venue::Blocked(Block::Misconfigured) => "orders are refused: the broker refuses for a reason no token mends",
        Venue::Blocked(Block::Outage) => "orders are refused: the broker does not answer",
        Venue::Blocked(Block::Halted) => {
            "orders are refused: trading is halted, or there is no session and the account takes no orders without one"
        }
    }
}
