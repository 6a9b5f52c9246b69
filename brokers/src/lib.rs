//! The vocabulary of an Indian trading engine and the wire protocols of its brokers, without any I/O.
//!
//! Three layers, each standing on the one before:
//!
//! * **words**: [`Price`], [`Instrument`], [`OrderRequest`], [`Tick`], [`Venue`], [`Secret`], [`time`] …
//! * **the broker traits**: [`Auth`], [`Orders`], [`MarketData`], [`Feed`]. A broker is a codec: a method returns a
//!   [`Call`], which is either an answer already or an [`HttpRequest`] to send together with the way to read its reply.
//!   Whoever owns the sockets (the tokio driver, the simulator, a test) sends the bytes.
//! * **one folder per broker**: [`kite`], and the sessions of [`fyers`] and [`upstox`]. All that is peculiar to a broker
//!   stays in its folder; the rest of the engine reads the [`BrokerFacts`] it declares.
//!
//! Beside them, [`recording`] keeps what came over a feed's sockets, bit for bit.
#![deny(unsafe_code)]

mod broker;
mod client_order_id;
mod facts;
pub mod fyers;
mod http;
mod instrument;
pub mod jwt;
pub mod kite;
mod lookup;
mod market;
mod money;
mod order;
mod outcome;
mod position;
pub mod recording;
mod reply;
mod secret;
mod tick;
pub mod time;
mod token;
pub mod upstox;
mod venue;

pub use broker::{Auth, Broker, Call, Decode, Feed, FeedEvent, MarketData, Orders, Trading, WireMessage};
pub use client_order_id::{BadClientOrderId, ClientOrderId, TagRule};
pub use facts::{BrokerFacts, Expiry, FeedLimits, Limits, RateLimit, Renewal, Sessions};
pub use http::{Body, Form, HttpRequest, HttpResponse, Lost, Method, SocketRequest};
pub use instrument::{BrokerToken, Exchange, Instrument, InstrumentKey, InstrumentKind, ParseInstrumentError};
pub use lookup::Lookup;
pub use market::{Candle, Interval, Ohlc, Quote};
pub use money::{BadPrice, Money, Price, Quantity};
pub use order::{
    BrokerOrderId, IllegalTransition, Intent, MarketProtection, OrderChange, OrderRequest, OrderRow, OrderStatus,
    OrderType, Product, Side, Validity,
};
pub use outcome::{Cause, Endpoint, Failure, Outcome, Refusal};
pub use position::{Holding, Margins, Position, Trade};
pub use secret::{Fingerprint, Redactor, Secret};
pub use smol_str::{SmolStr, ToSmolStr};
pub use tick::{Depth, Detail, Full, Level, Mode, OpenInterest, Stamp, Tick, TickQuote, TradeStats};
pub use token::{AccessToken, Approval, BadNotice, BadRedirect, Profile, Session, TokenLife};
pub use venue::{Block, Book, Venue};
