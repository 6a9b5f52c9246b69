//! How an engine is, for whoever asks from outside: monitors, load balancers, `token status`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, Fingerprint, OrderStatus, Venue};
use nirantar_exchange_mock::Phase;

use super::{Engine, NotTaken};
use crate::core::Event;
use crate::feed::FeedStatus;
use crate::orders::Desk;
use crate::session::{Generation, Notice, State, TradingMode};

/// How one account stands. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The account's name.
    pub account: String,
    /// Its broker's.
    pub broker: &'static str,
    /// When this was looked at.
    pub at: Timestamp,
    /// What the session is in.
    pub state: State,
    /// Where orders go.
    pub venue: Venue,
    /// Whether only exits and cancels of live exposure may.
    pub reduce_only: bool,
    /// What the operator lets orders do.
    pub mode: TradingMode,
    /// Live orders that are not over.
    pub live: OrderHealth,
    /// Paper orders that are not over.
    pub paper: OrderHealth,
    /// Whether what the journal holds survives the process.
    pub durable_journal: bool,
    /// Why the journal takes nothing any more, so that no order leaves.
    pub journal_failed: Option<String>,
    /// The live feed.
    pub feed: FeedStatus,
    /// What the market does.
    pub phase: Phase,
    /// The token in use, while it is alive.
    pub token: Option<TokenHealth>,
    /// What went wrong last, and when.
    pub last_error: Option<(Timestamp, String)>,
    /// Whether trading should be possible: the market is open, or opens within half an hour.
    pub expected: bool,
    /// Whether orders go where the account wants them: to the broker, or to paper where it trades on paper only.
    pub possible: bool,
}

/// How many orders of one book are not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderHealth {
    /// Waiting to leave, or working as far as is known.
    pub working: usize,
    /// On their way, or their answer was lost: nobody knows yet whether the broker has them.
    pub unknown: usize,
    /// Still unknown when their day ended, and no operator has looked at them.
    pub unresolved: usize,
}

impl OrderHealth {
    fn of(desk: &Desk, book: Book) -> Self {
        let mut counts = Self::default();
        for order in desk.orders().filter(|order| order.book == book) {
            match order.status {
                OrderStatus::Sent | OrderStatus::Unknown => counts.unknown += 1,
                OrderStatus::Unresolved if !order.acknowledged => counts.unresolved += 1,
                status if !status.is_final() => counts.working += 1,
                _ => {}
            }
        }
        counts
    }
}

/// The token in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHealth {
    /// Which.
    pub fingerprint: Fingerprint,
    /// Its number.
    pub generation: Generation,
    /// When it was issued, or first seen.
    pub since: Timestamp,
    /// When it dies, as far as anybody knows.
    pub expires: Timestamp,
}

impl Health {
    /// False only when trading should be possible and is not.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        (self.possible && self.journal_failed.is_none()) || !self.expected
    }
}

impl Engine {
    /// How the account stands now.
    ///
    /// # Errors
    /// [`NotTaken::Stopped`].
    pub async fn health(&self) -> Result<Health, NotTaken> {
        let (account, broker) = (self.name.clone(), self.broker.facts().name);
        let (durable_journal, journal_failed) =
            (self.durable_journal, self.journal_watch.failure().map(|error| error.to_string()));
        let (at, last_error) = (self.clock.now().wall, self.last_error.get());
        self.look(move |core| {
            let standing = core.standing();
            let session = core.session();
            Health {
                account,
                broker,
                at,
                state: standing.state,
                venue: standing.route.venue,
                reduce_only: standing.route.reduce_only,
                mode: session.trading_mode(),
                live: OrderHealth::of(core.desk(), Book::Live),
                paper: OrderHealth::of(core.desk(), Book::Paper),
                durable_journal,
                journal_failed,
                feed: core.feed().status(),
                phase: core.phase(at),
                token: standing.token.zip(session.life()).map(|(fingerprint, (since, expires))| TokenHealth {
                    fingerprint,
                    generation: session.generation(),
                    since,
                    expires,
                }),
                last_error,
                expected: core.trading_is_expected(at),
                possible: standing.route.venue == session.policy().venue_when_valid(),
            }
        })
        .await
    }
}

/// The last thing that went wrong. Clones are handles to the same one.
#[derive(Clone, Default)]
pub(crate) struct LastError(Arc<Mutex<Option<(Timestamp, String)>>>);

impl LastError {
    pub(crate) fn note(&self, event: &Event) {
        let bad = match event {
            Event::Alarm { .. } | Event::NotStored { .. } => true,
            Event::Notice { notice, .. } => {
                !matches!(notice, Notice::OutageOver | Notice::OldGeneration { .. } | Notice::ClockStepped { .. })
            }
            Event::Transition(step) => !step.to.is_live(),
            _ => false,
        };
        if bad {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((event.at(), event.to_string()));
        }
    }

    fn get(&self) -> Option<(Timestamp, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
