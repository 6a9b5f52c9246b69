//! The tokio engine: one account, running.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use nirantar::engine::{Engine, EventMessage, Setup};
//! # use nirantar_brokers::{InstrumentKey, Mode, OrderRequest, OrderType, Price, Side};
//! # async fn trade(setup: Setup) -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder(setup).start().await?;
//! let reliance: InstrumentKey = "NSE:RELIANCE".parse()?;
//! engine.subscribe([reliance.clone()], Mode::Quote).await?;
//!
//! let mut ticks = engine.ticks();
//! let first = ticks.next().await;
//! println!("orders go to {}; first tick: {first:?}", engine.snapshot().venue);
//!
//! let limit = OrderType::Limit(Price::from_paise(195_000));
//! let id = engine.submit(OrderRequest::new(reliance, Side::Buy, 1, limit)).await?;
//! println!("order {id} is journalled, and marked as live or paper for ever");
//! # Ok(())
//! # }
//! ```
//!
//! A handle ([`Engine`]) talks to one task that owns the [`Core`]; snapshots are read from an atomic cell without asking
//! anybody.

mod account;
mod asking;
mod broker_time;
mod events;
mod feeding;
pub mod halting;
mod health;
mod journalling;
mod keeping;
mod login;
#[cfg(feature = "cli")]
mod once;
mod paper;
mod reading;
mod renewal;
mod setup;
mod task;
mod timetables;
mod transport;
pub(crate) mod vault;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nirantar_brokers::time::Clock;
use nirantar_brokers::{Book, Broker, ClientOrderId, InstrumentKey, Mode, OrderChange, OrderRequest};
use tokio::sync::{mpsc, oneshot};

#[cfg(feature = "cli")]
pub(crate) use broker_time::TOLERATED_OFFSET;
pub use events::{EventMessage, Events};
pub use health::{Health, OrderHealth, TokenHealth};
pub use login::LoginError;
#[cfg(feature = "cli")]
pub(crate) use login::exchange_code;
#[cfg(feature = "cli")]
pub(crate) use once::{Renewed, renew_once};
pub use reading::ReadError;
pub use renewal::Command;
#[cfg(feature = "cli")]
pub(crate) use renewal::{change_for, dies_at};
pub use setup::{Builder, OnStop, Setup, StartError};
#[cfg(feature = "cli")]
pub(crate) use transport::Transport;
pub use vault::Redaction;
#[cfg(feature = "cli")]
pub(crate) use vault::Vault;

use crate::core::{Core, Input};
use crate::feed::{Backlog, Hub, TickEvent, TickMessage, Ticks};
use crate::orders::{JournalError, Refused, Tracked};
use crate::session::Operator;
use crate::token::{Cached, Snapshot, TokenCell, WatcherHandle};
use task::Message;

/// How long the cancels at the end may take, by the wall clock.
const CANCEL_WITHIN: Duration = Duration::from_millis(600);

/// A running engine for one account. Dropping it stops it.
#[derive(Debug)]
pub struct Engine {
    name: String,
    inbox: mpsc::Sender<Message>,
    cell: Arc<TokenCell>,
    hub: Hub,
    events: events::EventSender,
    clock: Arc<dyn Clock>,
    broker: Arc<dyn Broker>,
    renewer: renewal::Renewer,
    on_stop: OnStop,
    spent_codes: login::SpentCodes,
    last_error: health::LastError,
    durable_journal: bool,
    journal_watch: journalling::JournalWatch,
    wants_others: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
    _watchers: Vec<WatcherHandle>,
}

/// Why the engine did not take an order or a command. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The desk refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The journal did not keep it, and will keep nothing more: this engine sends no order again.
    #[error("{0}; nothing was sent")]
    NotWritten(JournalError),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

impl Engine {
    /// Starts to put an engine together.
    #[must_use]
    pub fn builder(setup: Setup) -> Builder {
        Builder::new(setup)
    }

    /// The account's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its broker.
    #[must_use]
    pub fn broker(&self) -> &'static str {
        self.broker.facts().name
    }

    /// Token, state, venue and generation at this moment, read together.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.cell.load())
    }

    /// A handle for hot loops that reads the snapshot for the price of one atomic load while nothing changes.
    #[must_use]
    pub fn cached(&self) -> Cached {
        self.cell.cache()
    }

    /// What happens, from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.subscribe()
    }

    /// Takes the secrets this engine knows, now and later, out of texts.
    #[must_use]
    pub fn redaction(&self) -> Redaction {
        Redaction::new(self.renewer.vault.clone())
    }

    /// While this account has no live feed of its own, it takes the live prices of `other`, for the instruments both have,
    /// marked as [`OtherAccount`](crate::feed::Source::OtherAccount). Nothing is traded live on them.
    pub fn take_prices_of(&self, other: &Self) {
        let (mut ticks, wanted) = (other.ticks(), Arc::clone(&self.wants_others));
        let (inbox, clock) = (self.inbox.downgrade(), Arc::clone(&self.clock));
        tokio::spawn(async move {
            while let Some(message) = ticks.next().await {
                let Some(inbox) = inbox.upgrade() else { return };
                // What this account is too slow for is lost to it, and slows nobody else.
                if let TickMessage::Tick(event) = message
                    && event.source.is_live()
                    && wanted.load(Ordering::Relaxed)
                    && inbox.send(Message::Lent(Box::new(event), clock.busy())).await.is_err()
                {
                    return;
                }
            }
        });
    }

    /// Every tick, from now on, each labelled with its source.
    #[must_use]
    pub fn ticks(&self) -> Ticks {
        self.hub.subscribe()
    }

    /// The same, with that policy for when the subscriber is slow.
    #[must_use]
    pub fn ticks_with(&self, backlog: Backlog) -> Ticks {
        self.hub.subscribe_with(backlog)
    }

    /// The latest tick of that instrument; `None` before the first. From any thread, without a lock.
    #[must_use]
    pub fn latest(&self, instrument: &InstrumentKey) -> Option<TickEvent> {
        self.hub.latest(instrument)
    }

    /// Where ticks are subscribed to and looked up, to be handed to other threads.
    #[must_use]
    pub fn hub(&self) -> Hub {
        self.hub.clone()
    }

    /// Takes an order. When it returns the order is safe in the journal, and on its way or held for at most `valid_for`.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing was sent; the words say what to do.
    pub async fn submit(&self, request: OrderRequest) -> Result<ClientOrderId, NotTaken> {
        let (taken, answer) = oneshot::channel();
        self.send(Message::Submit { request, taken, busy: self.clock.busy() }).await.ok_or(NotTaken::Stopped)?;
        answer.await.map_err(|_| NotTaken::Stopped)?
    }

    /// Asks to cancel an order. When this returns the wish is safe in the journal; the answer comes as an
    /// [`Event::Answered`](crate::core::Event::Answered).
    ///
    /// # Errors
    /// [`NotTaken`]: nothing was sent; with [`Refused::Remembered`] it is safe in the journal and leaves by itself later.
    pub async fn cancel(&self, id: &ClientOrderId) -> Result<(), NotTaken> {
        let (taken, answer) = oneshot::channel();
        let message = Message::Cancel { id: id.clone(), taken, busy: self.clock.busy() };
        self.send(message).await.ok_or(NotTaken::Stopped)?;
        answer.await.map_err(|_| NotTaken::Stopped)?
    }

    /// Asks to change an order. The answer comes as an [`Event::Answered`](crate::core::Event::Answered).
    ///
    /// # Errors
    /// [`NotTaken`]: nothing was sent.
    pub async fn modify(&self, id: &ClientOrderId, change: OrderChange) -> Result<(), NotTaken> {
        let (taken, answer) = oneshot::channel();
        let message = Message::Modify { id: id.clone(), change, taken, busy: self.clock.busy() };
        self.send(message).await.ok_or(NotTaken::Stopped)?;
        Ok(answer.await.map_err(|_| NotTaken::Stopped)??)
    }

    /// An operator has looked, at the broker's own app or by phone, at an order that was unresolved when its day ended: it
    /// counts as exposure no more.
    ///
    /// # Errors
    /// [`NotTaken`]: there is no such order, or it is not unresolved.
    pub async fn acknowledge(&self, id: &ClientOrderId) -> Result<(), NotTaken> {
        let (taken, answer) = oneshot::channel();
        let message = Message::Acknowledge { id: id.clone(), taken, busy: self.clock.busy() };
        self.send(message).await.ok_or(NotTaken::Stopped)?;
        answer.await.map_err(|_| NotTaken::Stopped)?
    }

    /// Wants ticks of these instruments from now on, in that mode.
    ///
    /// # Errors
    /// [`NotTaken::Stopped`].
    pub async fn subscribe(
        &self,
        instruments: impl IntoIterator<Item = InstrumentKey>,
        mode: Mode,
    ) -> Result<(), NotTaken> {
        let wanted: BTreeSet<InstrumentKey> = instruments.into_iter().collect();
        self.tell(Input::Subscribe(wanted, mode)).await.ok_or(NotTaken::Stopped)
    }

    /// Wants no more ticks of these instruments, whoever subscribed to them.
    ///
    /// # Errors
    /// [`NotTaken::Stopped`].
    pub async fn unsubscribe(&self, instruments: impl IntoIterator<Item = InstrumentKey>) -> Result<(), NotTaken> {
        self.tell(Input::Unsubscribe(instruments.into_iter().collect())).await.ok_or(NotTaken::Stopped)
    }

    /// What the operator wants: a new token, live trading again, a halt, or its end. When this returns it is done: a halt
    /// is in its file, and every cancel that can leave is on its way.
    ///
    /// # Errors
    /// [`NotTaken::Stopped`].
    pub async fn operator(&self, wish: Operator) -> Result<(), NotTaken> {
        self.tell(Input::Operator(wish)).await.ok_or(NotTaken::Stopped)?;
        self.look(|_| ()).await
    }

    /// Looks at the core, between two of its steps.
    ///
    /// # Errors
    /// [`NotTaken::Stopped`].
    pub async fn look<T: Send + 'static>(&self, at: impl FnOnce(&Core) -> T + Send + 'static) -> Result<T, NotTaken> {
        let (seen, answer) = oneshot::channel();
        let at = Box::new(move |core: &Core| {
            // The one who asked may have gone away.
            let _ = seen.send(at(core));
        });
        self.send(Message::Look { at, busy: self.clock.busy() }).await.ok_or(NotTaken::Stopped)?;
        answer.await.map_err(|_| NotTaken::Stopped)
    }

    /// Stops: nothing more is sent, and a renewal under way is stored if it ends within a moment. Orders that rest at the
    /// broker stay there, or are cancelled where the account says so.
    pub async fn stop(mut self) {
        self.wind_down().await;
        if !self.task.is_finished() {
            // It has nothing to say any more, whether it ended well or not.
            let _ = (&mut self.task).await;
        }
    }

    /// The same for whoever is not the only one to hold the engine. When it returns the engine takes nothing more.
    pub(crate) async fn wind_down(&self) {
        if self.on_stop == OnStop::Cancel {
            self.cancel_resting().await;
        }
        if self.send(Message::Stop).await.is_some() {
            // The task holds the inbox until it has ended.
            self.inbox.closed().await;
        }
    }

    /// Asks to cancel every live order that works, and waits a moment for the answers.
    async fn cancel_resting(&self) {
        let mut events = self.events();
        let resting = |core: &Core| -> Vec<ClientOrderId> {
            let working = |order: &&Tracked| order.book == Book::Live && !order.status.is_final();
            core.desk().orders().filter(working).map(|order| order.id.clone()).collect()
        };
        for id in self.look(resting).await.unwrap_or_default() {
            if let Err(why) = self.cancel(&id).await {
                tracing::warn!("order {id} could not be cancelled: {why}");
            }
        }
        let cancelled = async {
            while self.look(resting).await.is_ok_and(|left| !left.is_empty()) && events.next().await.is_some() {}
        };
        if tokio::time::timeout(CANCEL_WITHIN, cancelled).await.is_err() {
            tracing::warn!("not every live order was cancelled in time: look at the broker's own app");
        }
    }

    async fn tell(&self, input: Input) -> Option<()> {
        self.send(Message::Do(input, self.clock.busy())).await
    }

    async fn send(&self, message: Message) -> Option<()> {
        self.inbox.send(message).await.ok()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}
