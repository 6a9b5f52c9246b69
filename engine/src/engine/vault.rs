//! The tokens themselves, by fingerprint. The cores know fingerprints only; the driver looks the token up here at the
//! moment it is needed on the wire.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nirantar_brokers::{AccessToken, Broker, Failure, Fingerprint, Outcome, Redactor, Secret, Session, TokenLife};

use crate::planted::{Bug, planted};
use crate::token::LiveToken;

/// Tokens that are remembered; the oldest is forgotten, but never the one in use nor the one before it. More than can
/// wait to be proven, with room.
const MOST_TOKENS: usize = 16;

/// A store of living secrets. Clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct Vault {
    broker: Arc<dyn Broker>,
    inner: Arc<Mutex<Inner>>,
}

/// Takes an engine's secrets out of texts that leave it: those it knows at the moment it is asked. Clones are handles to
/// the same secrets.
#[derive(Clone, Debug)]
pub struct Redaction(Vault);

impl Redaction {
    pub(crate) const fn new(vault: Vault) -> Self {
        Self(vault)
    }

    /// `text` with every secret the engine knows replaced by its fingerprint.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        self.0.redactor().clean(text)
    }
}

#[derive(Default)]
struct Inner {
    tokens: BTreeMap<Fingerprint, Kept>,
    added: u64,
    /// The token in use, and the one before it, whose orders may still be under way and which may turn out to live.
    in_use: [Option<Fingerprint>; 2],
    always: Vec<Secret>,
    /// One-use codes: spent, but no text needs to show them.
    codes: Vec<Secret>,
    /// Tokens of somebody's word only, to be stored once they are proven.
    unproven: Vec<Session>,
    redactor: Redactor,
}

struct Kept {
    live: Arc<LiveToken>,
    refresh: Option<Secret>,
    order: u64,
}

impl Vault {
    /// A vault that also keeps `always` (the API secret) out of every text.
    pub(crate) fn new(broker: Arc<dyn Broker>, always: Vec<Secret>) -> Self {
        let redactor = Redactor::new(always.iter().cloned());
        let inner = Inner { always, redactor, ..Inner::default() };
        Self { broker, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Keeps a token. False if no header can carry it: then it is no broker's token.
    pub(crate) fn add(&self, token: &AccessToken, refresh: Option<Secret>) -> bool {
        let Ok(live) = LiveToken::new(token.clone(), &self.broker.authorization(token)) else { return false };
        let mut inner = self.lock();
        inner.added += 1;
        let order = inner.added;
        let fingerprint = token.fingerprint();
        // One that is offered again brings nothing new to be taken out of texts.
        let news = refresh.is_some() || !inner.tokens.contains_key(&fingerprint);
        let refresh = refresh.or_else(|| inner.tokens.get(&fingerprint).and_then(|kept| kept.refresh.clone()));
        inner.tokens.insert(fingerprint, Kept { live: Arc::new(live), refresh, order });
        if inner.tokens.len() > MOST_TOKENS {
            // Whoever writes junk into the store again and again must not push the living token out.
            let forgettable =
                inner.tokens.iter().filter(|(fingerprint, _)| !inner.in_use.contains(&Some(**fingerprint)));
            let oldest = forgettable.min_by_key(|(_, kept)| kept.order).map(|(fingerprint, _)| *fingerprint);
            if let Some(oldest) = oldest {
                inner.tokens.remove(&oldest);
            }
        }
        if news {
            inner.redact();
        }
        true
    }

    /// A token has come into use: it and the one before it are kept until others take their place.
    pub(crate) fn in_use(&self, fingerprint: Fingerprint) {
        let mut inner = self.lock();
        let [current, _] = inner.in_use;
        if current != Some(fingerprint) {
            inner.in_use = [Some(fingerprint), current];
        }
    }

    /// Keeps a one-use code out of every text.
    pub(crate) fn hide(&self, code: Secret) {
        let mut inner = self.lock();
        if inner.codes.len() == MOST_TOKENS {
            inner.codes.remove(0);
        }
        inner.codes.push(code);
        inner.redact();
    }

    /// Remembers a token to be stored once it is proven.
    pub(crate) fn keep_once_proven(&self, session: Session) {
        let mut inner = self.lock();
        if inner.unproven.len() == MOST_TOKENS {
            inner.unproven.remove(0);
        }
        inner.unproven.push(session);
    }

    /// The session of a token that has just been proven, if it is still to be stored.
    pub(crate) fn proven(&self, fingerprint: Fingerprint) -> Option<Session> {
        let mut inner = self.lock();
        let index = inner.unproven.iter().position(|session| session.access_token.fingerprint() == fingerprint)?;
        Some(inner.unproven.remove(index))
    }

    /// What a token says of its own life.
    pub(crate) fn life(&self, token: &Secret) -> TokenLife {
        self.broker.life(token)
    }

    pub(crate) fn live(&self, fingerprint: Fingerprint) -> Option<Arc<LiveToken>> {
        self.lock().tokens.get(&fingerprint).map(|kept| Arc::clone(&kept.live))
    }

    /// The refresh token that came with a token, if one did.
    pub(crate) fn refresh_token(&self, fingerprint: Fingerprint) -> Option<Secret> {
        self.lock().tokens.get(&fingerprint)?.refresh.clone()
    }

    pub(crate) fn redactor(&self) -> Redactor {
        self.lock().redactor.clone()
    }

    /// Takes every known secret out of a failure's words: brokers and transports quote what they were sent.
    pub(crate) fn clean<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        if planted(Bug::QuotesSecrets) {
            return outcome;
        }
        outcome.map_err(|failure| Failure { message: self.redactor().clean(&failure.message), ..failure })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn redact(&mut self) {
        let refreshes = self.tokens.values().filter_map(|kept| kept.refresh.clone());
        let tokens = self.tokens.values().map(|kept| kept.live.token().secret().clone());
        let known = self.always.iter().chain(&self.codes).cloned().chain(tokens).chain(refreshes);
        self.redactor = self.redactor.now_with(known);
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({} tokens)", self.lock().tokens.len())
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::kite::{App, Kite};

    use super::*;

    #[test]
    fn no_number_of_junk_tokens_pushes_out_the_one_in_use_or_the_one_before() {
        let vault = Vault::new(Arc::new(Kite::new(App::Individual, "key", None)), Vec::new());
        let [first, before, living] = ["sentinel-first", "sentinel-before", "sentinel-living"].map(AccessToken::new);
        for token in [&first, &before, &living] {
            assert!(vault.add(token, Some(Secret::new(format!("{}-refresh", token.expose())))));
            vault.in_use(token.fingerprint());
            // It is told more than once.
            vault.in_use(token.fingerprint());
        }
        for number in 0..5 * MOST_TOKENS {
            assert!(vault.add(&AccessToken::new(format!("junk-{number}")), None));
        }
        for token in [&before, &living] {
            assert!(vault.live(token.fingerprint()).is_some(), "{}", token.expose());
            assert!(vault.refresh_token(token.fingerprint()).is_some());
            let clean = vault.redactor().clean(&format!("{0} {0}-refresh", token.expose()));
            assert!(!clean.contains("sentinel"), "{clean}");
        }
        assert!(vault.live(first.fingerprint()).is_none(), "two are kept, not all that ever were");
        assert_eq!(vault.lock().tokens.len(), MOST_TOKENS);
        let last = AccessToken::new(format!("junk-{}", 5 * MOST_TOKENS - 1));
        assert!(vault.live(last.fingerprint()).is_some(), "a new candidate is there to be proven");
    }
}
