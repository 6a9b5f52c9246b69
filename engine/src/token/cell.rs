//! The token in use, and where orders go: one value, replaced whole.
//!
//! Promise (rule 4): whoever loads a [`Snapshot`] holds a token, a state, a venue and a generation that were published
//! together. Loading takes no lock and never waits for whoever publishes.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache, Guard};
use http::HeaderValue;
use nirantar_brokers::{AccessToken, Block, Fingerprint, Secret, Venue};

use super::gate::Published;
use crate::session::{Generation, State};

/// What everybody must agree on at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of the token; stamped on every request sent under it.
    pub generation: Generation,
    /// What the session is in.
    pub state: State,
    /// Where orders go.
    pub venue: Venue,
    /// Only orders that reduce live exposure may pass: recovery is not finished (rule 9).
    pub reduce_only: bool,
    /// The token, if there is one worth sending.
    pub token: Option<Arc<LiveToken>>,
}

impl Snapshot {
    /// How every engine starts: no token, and nothing routes anywhere before the journal is replayed.
    #[must_use]
    pub const fn starting() -> Self {
        Self {
            generation: Generation(0),
            state: State::Expired,
            venue: Venue::Blocked(Block::Starting),
            reduce_only: false,
            token: None,
        }
    }
}

/// An access token with the header that carries it, made once so that a request only clones a reference count.
#[derive(Clone)]
pub struct LiveToken {
    token: AccessToken,
    /// Asked for with every message.
    fingerprint: Fingerprint,
    authorization: HeaderValue,
}

impl LiveToken {
    /// Joins a token with the value of its `Authorization` header, as the broker's
    /// [`Auth::authorization`](nirantar_brokers::Auth::authorization) spells it.
    ///
    /// # Errors
    /// [`BadToken`] if a header cannot carry the value (a line break, a control character): such a token came from a
    /// damaged store and no broker issued it.
    pub fn new(token: AccessToken, authorization: &Secret) -> Result<Self, BadToken> {
        let mut header = HeaderValue::from_str(authorization.expose()).map_err(|_| BadToken)?;
        header.set_sensitive(true);
        Ok(Self { fingerprint: token.fingerprint(), token, authorization: header })
    }

    /// The token, for what carries it elsewhere than in the header (the feed's query).
    #[must_use]
    pub const fn token(&self) -> &AccessToken {
        &self.token
    }

    /// What it is called where nobody may see it.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The ready header, marked sensitive: HTTP libraries neither print nor index it.
    #[must_use]
    pub const fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }
}

impl fmt::Debug for LiveToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveToken({})", self.fingerprint)
    }
}

/// The token cannot be put into a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token holds a character that no HTTP header can carry")]
pub struct BadToken;

/// The one place of an account where its [`Snapshot`] is published and read.
pub struct TokenCell {
    current: Arc<ArcSwap<Snapshot>>,
}

impl TokenCell {
    /// A cell that holds `first`.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(first)) }
    }

    /// The current snapshot. For a look that ends soon: do not hold the guard across an `.await`; clone its `Arc`.
    #[must_use]
    #[inline]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// A handle for a hot loop: it looks at one pointer and touches nothing shared while nothing was published.
    #[must_use]
    pub fn cache(&self) -> Cached {
        Cached { cache: Cache::new(Arc::clone(&self.current)) }
    }

    /// Replaces the snapshot. Whoever loads from now on reads the new one; orders already inside the
    /// [`Gate`](super::Gate) hold the old one until they leave, so a change of venue is complete only after
    /// [`drained`](super::gate::Gate::drained).
    pub fn publish(&self, next: Snapshot) {
        self.current.store(Arc::new(next));
    }
}

impl Published for TokenCell {
    fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

impl fmt::Debug for TokenCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenCell").field(&**self.load()).finish()
    }
}

/// One reader's handle to a [`TokenCell`].
pub struct Cached {
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
}

impl Cached {
    /// The current snapshot.
    #[inline]
    pub fn load(&mut self) -> &Arc<Snapshot> {
        self.cache.load()
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cached")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(generation: u64, token: &str) -> Snapshot {
        let token = AccessToken::new(token);
        let authorization = Secret::new(format!("token key:{}", token.expose()));
        Snapshot {
            generation: Generation(generation),
            state: State::Valid,
            venue: Venue::Live,
            reduce_only: false,
            token: Some(Arc::new(LiveToken::new(token, &authorization).unwrap())),
        }
    }

    #[test]
    fn every_reader_sees_token_and_generation_of_one_publication() {
        let cell = TokenCell::new(live(0, "t0"));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut cached = cell.cache();
                    let mut last = Generation(0);
                    while last < Generation(500) {
                        for snapshot in [Arc::clone(&cell.load()), Arc::clone(cached.load())] {
                            let token = snapshot.token.as_ref().unwrap();
                            assert_eq!(token.token().expose(), format!("t{}", snapshot.generation.0));
                            last = last.max(snapshot.generation);
                        }
                    }
                });
            }
            scope.spawn(|| (1..=500).for_each(|number| cell.publish(live(number, &format!("t{number}")))));
        });
    }

    #[test]
    fn a_cached_handle_sees_what_was_published_after_it_was_made() {
        let cell = TokenCell::new(Snapshot::starting());
        let mut cached = cell.cache();
        assert_eq!(cached.load().venue, Venue::Blocked(Block::Starting));
        cell.publish(live(1, "one"));
        assert_eq!(cached.load().generation, Generation(1));
    }

    #[test]
    fn a_token_is_never_printed_by_the_cell_or_its_header() {
        let cell = TokenCell::new(live(1, "sentinel-token"));
        let header = cell.load().token.as_ref().unwrap().authorization().clone();
        for shown in [format!("{cell:?}"), format!("{:#?}", cell.load()), format!("{header:?}")] {
            assert!(!shown.contains("sentinel"), "{shown}");
        }
        assert_eq!(header.to_str().unwrap(), "token key:sentinel-token");
    }

    #[test]
    fn a_token_with_a_line_break_is_refused() {
        let token = AccessToken::new("a\nb");
        assert_eq!(LiveToken::new(token, &Secret::new("token k:a\nb")).unwrap_err(), BadToken);
    }
}
