//! The broker traits: a broker as a codec.
//!
//! A method builds a [`Call`]: either the answer (the paper exchange knows it at once) or an [`HttpRequest`] with the
//! way to read its reply. Nobody here opens a socket, so the code that trades is the code that is simulated.
//!
//! ```
//! # use nirantar_brokers::{Call, HttpRequest, HttpResponse, Lost, Outcome};
//! fn perform<T>(call: Call<T>, send: impl FnOnce(&HttpRequest) -> Result<HttpResponse, Lost>) -> Outcome<T> {
//!     match call {
//!         Call::Ready(outcome) => outcome,
//!         Call::Http { request, decode } => decode(send(&request)),
//!     }
//! }
//! ```
//!
//! What a caller may do with each [`Cause`](crate::Cause) of failure is written there, once. Every method below says
//! which causes it can return beyond the three that any call can: `Throttled`, `NotSent` and `Unknown`.

use std::fmt;
use std::sync::Arc;

use crate::time::Now;
use crate::time::Timestamp;
use crate::{
    AccessToken, Approval, BadNotice, BadRedirect, BrokerFacts, BrokerOrderId, BrokerToken, Candle, Cause,
    ClientOrderId, Endpoint, Exchange, Failure, Form, Holding, HttpRequest, HttpResponse, Instrument, InstrumentKey,
    Interval, Lost, Margins, Mode, OrderChange, OrderRequest, OrderRow, Outcome, Position, Profile, Quote, Secret,
    Session, SocketRequest, Stamp, Tick, TokenLife, Trade,
};

/// How the reply to a request is read. Total: any bytes give an [`Outcome`], never a panic.
pub type Decode<T> = Box<dyn FnOnce(Result<HttpResponse, Lost>) -> Outcome<T> + Send>;

/// One call to a broker.
pub enum Call<T> {
    /// Answered already.
    Ready(Outcome<T>),
    /// To be sent.
    Http {
        /// What to send.
        request: HttpRequest,
        /// How to read what comes back.
        decode: Decode<T>,
    },
}

impl<T> Call<T> {
    /// A call that needs a request.
    pub fn http(
        request: HttpRequest,
        decode: impl FnOnce(Result<HttpResponse, Lost>) -> Outcome<T> + Send + 'static,
    ) -> Self {
        Self::Http { request, decode: Box::new(decode) }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(outcome) => write!(f, "Call::Ready({})", if outcome.is_ok() { "ok" } else { "failed" }),
            Self::Http { request, .. } => f.debug_tuple("Call::Http").field(request).finish(),
        }
    }
}

/// Getting, proving and ending tokens.
pub trait Auth {
    /// The page where a human logs in. `state` comes back on the redirect. `None` where the broker has no such page.
    fn login_url(&self, state: Option<&str>) -> Option<String>;

    /// The one-use code in the query that a login's redirect comes back with.
    ///
    /// # Errors
    /// [`BadRedirect`]: the human cancelled, the broker says no, or this is no redirect of this broker's.
    fn code(&self, redirect: &Form) -> Result<Secret, BadRedirect>;

    /// Exchanges the one-use `code` of a login for a session.
    ///
    /// `Rejected`: the code is wrong, used or too old, or the checksum's secret is wrong: ask the human again, the
    /// living token is not affected. `Unknown`: the code may be spent; never send it again.
    fn exchange(&self, code: &Secret) -> Call<Session>;

    /// Buys a new token with a refresh token.
    ///
    /// `Rejected`: the grant is withdrawn or the refresh token is dead: it will not work again, use another way.
    /// `Unknown`: the refresh token may be spent.
    fn renew(&self, refresh_token: &Secret) -> Call<Session>;

    /// Asks the broker to ask the human on the phone. Granted, the token comes to the app's notifier; refused, nothing
    /// comes. Only for a broker that declares [`Renewal::Approval`](crate::Renewal::Approval).
    ///
    /// `Rejected`: the app's key or secret is wrong.
    fn ask_approval(&self) -> Call<Approval> {
        let words = "this broker has no approval on the phone";
        Call::Ready(Err(Failure::new(Cause::Rejected, Endpoint::Session, words)))
    }

    /// Reads what the broker posted to the app's notifier. Nothing in it proves anything: the token in it is a candidate.
    ///
    /// # Errors
    /// [`BadNotice`]: the bytes are no such notice, or are for another app. Total: any bytes.
    fn read_notice(&self, _body: &[u8]) -> Result<Session, BadNotice> {
        Err(BadNotice::NotSupported)
    }

    /// What a token (or a refresh token) says of its own life, where it can be read. Never a proof of anything. Total.
    fn life(&self, _token: &Secret) -> TokenLife {
        TokenLife::default()
    }

    /// Ends a session at the broker. `Rejected`: it was dead already.
    fn invalidate(&self, token: &AccessToken) -> Call<()>;

    /// Asks whose token this is: the probe. Cheap, harmless, and nothing else proves a token.
    ///
    /// `Refused(Conclusive)`: dead. `Refused(Suspect)` and `Misconfigured`: prove nothing about the token.
    fn probe(&self) -> Call<Profile>;

    /// The `Authorization` header that goes with the token.
    fn authorization(&self, token: &AccessToken) -> Secret;
}

/// Orders and the account.
///
/// All reads: `Refused`, `Misconfigured`. A failed read is never an empty list.
pub trait Orders {
    /// Places an order under our own number, which travels as the tag. Success means registered, not accepted by the
    /// exchange: watch the updates.
    ///
    /// `Refused`: may be sent once more under a new token. `Rejected`: final. `Misconfigured`: no order will pass until
    /// the operator mends it. `Unknown`: look for the tag in the book, never send again.
    fn place(&self, order: &OrderRequest, id: &ClientOrderId, now: Now) -> Call<BrokerOrderId>;

    /// Changes a working order. Causes as for [`place`](Self::place); after any failure read the order's history, since
    /// the change may have lost the race with a fill.
    fn modify(&self, id: &BrokerOrderId, change: &OrderChange, now: Now) -> Call<BrokerOrderId>;

    /// Asks to cancel a working order. Success means the request was received. Causes as for [`modify`](Self::modify).
    fn cancel(&self, id: &BrokerOrderId, now: Now) -> Call<BrokerOrderId>;

    /// The day's orders, one row each in their latest state.
    fn book(&self, now: Now) -> Call<Vec<OrderRow>>;

    /// One order's states, oldest first. `Rejected`: there is no such order.
    fn history(&self, id: &BrokerOrderId, now: Now) -> Call<Vec<OrderRow>>;

    /// The day's trades.
    fn trades(&self, now: Now) -> Call<Vec<Trade>>;

    /// Net positions, flat rows included.
    fn positions(&self, now: Now) -> Call<Vec<Position>>;

    /// Holdings.
    fn holdings(&self, now: Now) -> Call<Vec<Holding>>;

    /// Funds of the equity segment.
    fn margins(&self, now: Now) -> Call<Margins>;
}

/// Market data that is asked for. All: `Refused`, `Misconfigured` (no data plan).
pub trait MarketData {
    /// Full snapshots. Instruments the broker does not know are absent from the answer.
    fn quote(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>>;

    /// Last price and the day's range.
    fn ohlc(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>>;

    /// Last price.
    fn ltp(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>>;

    /// The daily dump, of one exchange or all. Never a proof of a living token.
    fn instruments(&self, exchange: Option<Exchange>) -> Call<Vec<Instrument>>;

    /// Candles from `from` to `to`. `Rejected`: a longer span than the interval allows.
    fn historical(&self, token: BrokerToken, interval: Interval, from: Timestamp, to: Timestamp) -> Call<Vec<Candle>>;
}

/// A message on a broker's socket, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireMessage {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
}

/// What a frame says.
#[expect(clippy::large_enum_variant, reason = "ticks are the common case and must not be boxed")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// Market data.
    Tick(Tick),
    /// An order of the user changed, from whatever front end.
    Order(Box<OrderRow>),
    /// The broker is alive and has nothing to say.
    Heartbeat,
    /// Words for the user.
    Notice(String),
    /// The broker complains.
    Error(String),
    /// Bytes that make no sense; the rest of the frame was still read where possible.
    Garbage(&'static str),
}

/// The live feed.
pub trait Feed {
    /// The socket to open under that token.
    fn connect(&self, token: &AccessToken) -> SocketRequest;

    /// What a refused handshake means.
    fn refused(&self, response: &HttpResponse) -> Failure;

    /// The frames that ask for these instruments in that mode.
    fn subscribe(&self, instruments: &[BrokerToken], mode: Mode) -> Vec<WireMessage>;

    /// The frames that ask for these instruments no more.
    fn unsubscribe(&self, instruments: &[BrokerToken]) -> Vec<WireMessage>;

    /// Reads a frame and appends what it says. Total: any bytes.
    fn decode(&self, message: &WireMessage, out: &mut Vec<FeedEvent>);

    /// Reads a binary frame and hands over what it says, in order, as [`decode`](Self::decode) would say it. A broker
    /// whose ticks are binary does it without an allocation.
    fn decode_binary(&self, frame: &[u8], each: &mut dyn FnMut(FeedEvent)) {
        let mut events = Vec::new();
        self.decode(&WireMessage::Binary(frame.to_vec()), &mut events);
        events.into_iter().for_each(each);
    }

    /// Reads of every tick in a binary frame, in order, only where in the day it belongs: less work than making the tick.
    fn stamps(&self, frame: &[u8], each: &mut dyn FnMut(Stamp)) {
        self.decode_binary(frame, &mut |event| {
            if let FeedEvent::Tick(tick) = event {
                each(Stamp::from(&tick));
            }
        });
    }
}

/// A broker's orders, market data and feed.
pub trait Trading: Orders + MarketData + Feed + Send + Sync {}

impl<T: Orders + MarketData + Feed + Send + Sync> Trading for T {}

/// A broker: its facts, its sessions, and its trading where this engine speaks it.
pub trait Broker: Auth + Send + Sync + fmt::Debug {
    /// What it declares about itself.
    fn facts(&self) -> &BrokerFacts;

    /// Orders, market data and feed. `None` where only the sessions of this broker are kept: no order can go to it.
    fn trading(&self) -> Option<Arc<dyn Trading>>;
}
