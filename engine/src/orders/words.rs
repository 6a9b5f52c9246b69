//! What the order desk decides by, what it wants done, and why it refuses.

use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::{
    Block, Book, BrokerOrderId, ClientOrderId, Exchange, Failure, OrderChange, OrderRequest, OrderStatus, RateLimit,
    Venue,
};

use super::{OverLimit, Record, RiskLimits, RuleBroken, Tracked};
use crate::session::Generation;
use nirantar_exchange_mock::FreezeTable;

/// What the desk decides by. The default is a broker without limits, for tests to change what they are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskPolicy {
    /// Marks the order numbers of this run of the engine; two runs of an account never share it.
    pub run: u64,
    /// The broker's limits on placing, changing and cancelling together.
    pub limits: Vec<RateLimit>,
    /// Whether reads count against the same limits.
    pub reads_share_limits: bool,
    /// How often the broker lets one order be changed.
    pub modifications_per_order: u32,
    /// What the account risks at most.
    pub risk: RiskLimits,
    /// Whether an entry to the live book needs the day's list of its exchange.
    pub needs_lists: bool,
    /// The largest quantity of one order, where the broker's list does not say it.
    pub freeze: FreezeTable,
    /// What becomes of paper when live trading goes on.
    pub settle_paper: SettlePaper,
    /// How long an accepted order may be missing from the broker's book.
    pub propagation: Duration,
    /// Wait between two looks for an unknown order, and after a throttled message where the broker names none.
    pub look_again: Duration,
    /// Why no order may go to the live book at all, if none may: without a durable journal only a broker on loopback gets
    /// any.
    pub refuse_live: Option<Refused>,
}

impl Default for DeskPolicy {
    fn default() -> Self {
        Self {
            run: 1,
            limits: Vec::new(),
            reads_share_limits: false,
            modifications_per_order: u32::MAX,
            risk: RiskLimits::default(),
            needs_lists: false,
            freeze: FreezeTable::nse(),
            settle_paper: SettlePaper::default(),
            propagation: Duration::from_secs(10),
            look_again: Duration::from_secs(1),
            refuse_live: None,
        }
    }
}

/// What becomes of paper when live trading goes on. Its open orders are cancelled in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SettlePaper {
    /// Its positions are closed at the market. The default: they mirror nothing.
    #[default]
    Flatten,
    /// They are kept, and can be reduced.
    Keep,
}

/// Where orders go, and under which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where.
    pub venue: Venue,
    /// Whether only exits and cancels of live exposure may go there.
    pub reduce_only: bool,
    /// Number of the token in use.
    pub generation: Generation,
}

/// Number of a message to a broker or to the paper exchange; its reply carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Place this order under our number.
    Place(Box<OrderRequest>),
    /// Change this order.
    Modify(BrokerOrderId, OrderChange),
    /// Cancel this order.
    Cancel(BrokerOrderId),
}

/// What the desk wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this; what follows must not happen if it cannot be written.
    Journal(Record),
    /// Send this. To the live book through the gate, which must find `route` unchanged.
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
    /// Read positions, the order book and trades of the live broker and hand them to [`Desk::read`](super::Desk::read).
    Read {
        /// Number of the read.
        read: u64,
    },
    /// An order changed: tell whoever listens.
    Changed(Arc<Tracked>),
    /// A change or a cancel is answered, in words; more may follow when the broker's book has been read.
    Answered {
        /// Our number of the order.
        id: ClientOrderId,
        /// By the broker, or why it was not sent.
        words: String,
    },
    /// The broker's story and ours have parted, or something unusual was found.
    Alarm(String),
    /// Live exits may go again, and this one was asked for while they could not: whoever asked must decide whether they
    /// still want it. Its quantity is what is left to exit, if that is less.
    ExitWanted(Box<OrderRequest>),
    /// A comparison asked for by the session is done.
    Compared(super::Comparison),
}

/// Why the desk does not take an order or a command. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The quantity is zero.
    #[error("the quantity is zero")]
    NoQuantity,
    /// Orders go nowhere, and waiting would not help.
    #[error("orders are blocked ({0})")]
    Blocked(Block),
    /// Live trading is being taken up again: exits and cancels first.
    #[error("only exits and cancels of live positions are taken until the feed has settled")]
    ReduceOnly,
    /// It breaks a rule of the exchange.
    #[error("{0}")]
    Rule(#[from] RuleBroken),
    /// It passes a bound of the trader's own.
    #[error("{0}")]
    Risk(#[from] OverLimit),
    /// Lot and tick of its instrument are not known yet.
    #[error(
        "the day's list of {0} instruments is not here yet: it is asked for as soon as there is a token to ask with; try again then"
    )]
    ListNotHere(Exchange),
    /// The operator takes exits and cancels only.
    #[error("trading is reduce-only by the operator's word: only exits and cancels are taken until it is resumed")]
    OnlyExits,
    /// An exit of live exposure while orders do not go to the broker. It comes back as an event, on the same day, when they
    /// do and there still is something to exit.
    #[error("there is no live session: this exit of a live position cannot be sent now, and comes back as an event")]
    NoLiveSession,
    /// A cancel of a live order that cannot be reached now: it is written down, and sent once the broker's book has been
    /// compared, if the order still works then. It may be filled until then.
    #[error(
        "it cannot be cancelled now: that is remembered, and done when its broker can be reached and it still works"
    )]
    Remembered,
    /// It says that it reduces a position, and would not, or by more than there is.
    #[error("it would not reduce what that book holds, or by more than is held and not already on its way out")]
    ReducesNothing,
    /// What is sent must be written where it survives.
    #[error("live orders need a durable journal: without one only a broker on loopback takes them")]
    NeedsDurableJournal,
    /// Only this broker's sessions are kept.
    #[error("this version keeps the sessions of this broker only, and speaks neither its orders nor its feed")]
    SessionOnly,
    /// It would reduce what the other book holds: say so with its intent.
    #[error("the {0} book holds a position that this order would reduce: give it the intent Reduce({0})")]
    ExposureOnOtherVenue(Book),
    /// Its time was over before it could be sent.
    #[error("it could not be sent within its time")]
    TooLate,
    /// Live trading stopped while it was waiting: a held order never becomes paper.
    #[error("live trading stopped before it could be sent; a live order never becomes paper")]
    LiveStopped,
    /// Live trading was taken up again while it was waiting: a paper order never becomes live.
    #[error("orders no longer go to paper; a paper order never becomes live")]
    PaperStopped,
    /// It was cancelled before it was sent.
    #[error("cancelled before it was sent")]
    CancelledInTime,
    /// There is no such order.
    #[error("there is no such order")]
    NoSuchOrder,
    /// It is finished already.
    #[error("it is already {0}")]
    Finished(OrderStatus),
    /// Only an unresolved order that nobody has acknowledged yet can be acknowledged.
    #[error("there is nothing to acknowledge: it is {0}")]
    NotUnresolved(OrderStatus),
    /// The broker lets one order be changed only so often.
    #[error("it was changed {0} times, and the broker allows no more: cancel and place again")]
    TooManyChanges(u32),
    /// Nobody knows the broker's number of it yet.
    #[error("the broker has not confirmed it yet")]
    NotConfirmed,
}

/// What a reply tells the session machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The token the message went out under.
    pub generation: Generation,
    /// Its failure, or `None` for a good answer.
    pub failure: Option<Failure>,
}
