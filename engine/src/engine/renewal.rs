//! Getting a token without a human: by refresh token, or by the user's own command.
//!
//! Rule 2: a lock file beside the store is held from before the store is read again until the new token is written.
//! Whoever finds a newer token there takes it instead of renewing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::{Busy, Clock, Timestamp};
use nirantar_brokers::{AccessToken, Broker, Cause, Fingerprint, Renewal, Secret, Session};

use super::events::EventSender;
use super::transport::Transport;
use super::vault::Vault;
use crate::core::Event;
use crate::session::{AttemptEnd, Candidate, Policy, Source};
use crate::token::store::{Change, Store, StoreError, Stored};
use crate::token::{FileLock, Flight, Held, RenewalLock as _, Writer, single_flight};

/// So much of what a command prints is shown.
const MOST_OUTPUT: usize = 500;
/// What is shorter is a word.
const SHORTEST_TOKEN: usize = 16;
/// How long to wait before the lock that somebody else holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(500);
/// How often a refresh token that is known to be spent is waited out before the broker is asked all the same.
const MOST_STALE: u32 = 10;
/// How often the lock is tried to put a token back into the store.
const PUT_BACK_TRIES: usize = 20;

/// A command of the user's that writes a new token into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What to run.
    pub program: PathBuf,
    /// With which arguments. Secrets do not belong here: everybody on the machine can read them.
    pub arguments: Vec<String>,
}

/// What a session knows of tokens when an attempt begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Those that are no news: dead, refused, or replaced.
    pub(crate) spent: BTreeSet<Fingerprint>,
    /// Of those, the ones that were in use before the last.
    pub(crate) replaced: Vec<Fingerprint>,
    /// The last that was in use.
    pub(crate) last: Option<Fingerprint>,
}

/// What one attempt works with.
#[derive(Clone, Debug)]
pub(crate) struct Renewer {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) transport: Transport,
    pub(crate) vault: Vault,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) command: Option<Command>,
    pub(crate) policy: Policy,
    pub(crate) events: EventSender,
}

/// A renewal that nobody else has under way.
struct InFlight {
    lock: Held,
    /// The refresh token that is in the store.
    refresh: Option<Secret>,
}

impl Renewer {
    /// One attempt to get a new token. Takes as long as it takes: whoever started it cuts it off. `busy` holds a stepped
    /// clock still; it is let go while another process' renewal is waited for, and held again when the attempt ends.
    pub(crate) async fn attempt(self, way: Renewal, known: Known, busy: &mut Busy) -> AttemptEnd {
        match way {
            Renewal::RefreshGrant | Renewal::External => {
                let flight = match self.flight(way, &known, busy).await {
                    Ok(flight) => flight,
                    Err(over) => return over,
                };
                if way == Renewal::External { self.by_command(flight).await } else { self.by_grant(flight).await }
            }
            // These two wait for a human and are never attempted.
            Renewal::Login | Renewal::Approval => AttemptEnd::FailedForGood,
        }
    }

    /// Takes the lock that is held through a renewal (rule 2), waiting for whoever has it, and reads the store under it.
    ///
    /// # Errors
    /// The attempt is over: somebody else has brought a token already, or the store does not work.
    async fn flight(&self, way: Renewal, known: &Known, busy: &mut Busy) -> Result<InFlight, AttemptEnd> {
        let mut stale = 0;
        let give_up = self.clock.now().mono + self.policy.lock_wait(way);
        loop {
            let (store, vault, known) = (Arc::clone(&self.store), self.vault.clone(), known.clone());
            let decided = tokio::task::spawn_blocking(move || {
                let lock = FileLock::of(store.path());
                let mut refresh = None;
                let read = || {
                    let stored = match store.read() {
                        // Whoever renews will make it.
                        Err(StoreError::NotFound { .. }) => Stored::default(),
                        other => other?,
                    };
                    refresh = refresh_token(&stored, &known, &vault);
                    Ok::<_, StoreError>(stored)
                };
                let flight = single_flight(&lock, read, &known.spent);
                flight.map(|flight| (flight, refresh))
            })
            .await;
            match decided {
                // An older copy was written over what another process has just renewed, and that one puts it back.
                Ok(Ok((Flight::Renew(lock), Some(refresh))))
                    if way == Renewal::RefreshGrant && stale < MOST_STALE && lock.is_spent(&refresh) =>
                {
                    stale += 1;
                }
                Ok(Ok((Flight::Renew(lock), refresh))) => return Ok(InFlight { lock, refresh }),
                Ok(Ok((Flight::Take(stored), _))) => return Err(self.taken(&stored)),
                Ok(Ok((Flight::Busy, _))) => {}
                Ok(Err(error)) => return Err(failed_at_store(&error)),
                Err(_) => return Err(AttemptEnd::Failed),
            }
            if self.clock.now().mono >= give_up {
                tracing::warn!("renewal: another process holds the lock beside {}", self.store.path().display());
                return Err(AttemptEnd::Failed);
            }
            let over = self.clock.sleep(LOCK_RETRY);
            *busy = Busy::idle();
            *busy = over.await;
        }
    }

    async fn by_grant(&self, InFlight { mut lock, refresh }: InFlight) -> AttemptEnd {
        let Some(refresh) = refresh else {
            tracing::warn!("renewal: there is no refresh token in {}", self.store.path().display());
            return AttemptEnd::FailedForGood;
        };
        self.vault.hide(refresh.clone());
        let session = match self.transport.call(self.broker.renew(&refresh), None).await {
            Ok(session) => session,
            Err(failure) => {
                tracing::warn!("renewal: {failure}");
                return match failure.cause {
                    Cause::Unknown => AttemptEnd::Unknown,
                    Cause::NotSent | Cause::Throttled { .. } => AttemptEnd::Failed,
                    Cause::Rejected | Cause::Refused(_) | Cause::Misconfigured => AttemptEnd::FailedForGood,
                };
            }
        };
        if session.refresh_token.as_ref().is_some_and(|new| *new != refresh)
            && let Err(error) = lock.note_spent(&refresh)
        {
            tracing::debug!("the spent refresh token is not noted in the lock file: {error}");
        }
        // A broker that does not rotate its refresh token sends none: the old one stays good.
        let session = Session { refresh_token: session.refresh_token.or(Some(refresh)), ..session };
        let Some(candidate) = offered(&self.vault, &session, Source::Renewal) else {
            tracing::warn!("the renewal brought a token that no header can carry");
            return AttemptEnd::Failed;
        };
        self.keep(&session).await;
        drop(lock);
        AttemptEnd::Token(candidate)
    }

    /// Writes the token in use into the store again, if an older one stands there: `session` over any of `replaced`. A
    /// renewal under way elsewhere is waited for, since it brings a newer one.
    pub(crate) async fn put_back(&self, session: &Session, replaced: Vec<Fingerprint>) {
        for _ in 0..PUT_BACK_TRIES {
            let (store, replaced) = (Arc::clone(&self.store), replaced.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let held = FileLock::of(store.path()).acquire()?;
                let token = store.read()?.access_token;
                let old = token.is_some_and(|token| replaced.contains(&token.fingerprint()));
                Ok::<_, StoreError>(held.map(|held| (held, old)))
            })
            .await;
            match looked {
                Ok(Ok(Some((held, old)))) => {
                    if old {
                        self.keep(session).await;
                    }
                    drop(held);
                    return;
                }
                Ok(Ok(None)) => drop(self.clock.sleep(LOCK_RETRY).await),
                Ok(Err(error)) => {
                    tracing::warn!("the old token in the store stays there: {error}");
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Writes a new token into the store. A store that cannot be written is reported and does not stop trading.
    pub(crate) async fn keep(&self, session: &Session) {
        let (writer, store) = (self.writer.clone(), Arc::clone(&self.store));
        let dies = dies_at(&self.vault, &self.policy, session, self.clock.now().wall);
        let session = session.clone();
        let write = move || writer.write(&change_for(&session, dies, store.as_ref()));
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(written)) => {
                if written.in_place {
                    tracing::warn!("the store could not be replaced and was written in place");
                }
                if let Some(reason) = written.not_backed_up {
                    tracing::warn!("the refresh token before is not kept as a backup: {reason}");
                }
            }
            Ok(Err(error)) => {
                let event = Event::NotStored { at: self.clock.now().wall, reason: error.to_string() };
                tracing::error!("{event}");
                self.events.send(event);
            }
            Err(_) => {}
        }
    }

    async fn by_command(&self, InFlight { lock, .. }: InFlight) -> AttemptEnd {
        let Some(Command { program, arguments }) = &self.command else { return AttemptEnd::FailedForGood };
        let running = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        // By the wall clock: it is another process, and drives a browser perhaps.
        let ended = tokio::time::timeout(self.policy.command_timeout, running).await;
        let store = Arc::clone(&self.store);
        let read = tokio::task::spawn_blocking(move || store.read()).await;
        // Before anything it printed is shown: that may be the new token.
        let found = match &read {
            Ok(Ok(stored)) => self.taken(stored),
            Ok(Err(error)) => failed_at_store(error),
            Err(_) => AttemptEnd::Failed,
        };
        let good = match ended {
            Err(_) => {
                let limit = self.policy.command_timeout;
                tracing::error!("the external command was cut off after {limit:?} (external_timeout)");
                false
            }
            Ok(Err(error)) => {
                tracing::error!("the external command {} cannot be run: {error}", program.display());
                false
            }
            Ok(Ok(output)) => {
                let status = output.status;
                if status.success() {
                    // What it printed is not shown: it may be the token.
                    tracing::info!("the external command ended well");
                } else {
                    let complained = self.vault.redactor().clean(&String::from_utf8_lossy(&output.stderr));
                    let complained: String = mask_tokens(complained.trim()).chars().take(MOST_OUTPUT).collect();
                    tracing::warn!("the external command ended with {status}: {complained}");
                }
                status.success()
            }
        };
        drop(lock);
        if good { found } else { AttemptEnd::Failed }
    }

    /// A token that is in the store already.
    fn taken(&self, stored: &Stored) -> AttemptEnd {
        match candidate(&self.vault, stored, Source::Store) {
            Some(candidate) => AttemptEnd::Token(candidate),
            None => AttemptEnd::Failed,
        }
    }
}

/// The refresh token to renew with: the store's, unless it stands beside a token of the past or none. Then somebody wrote
/// an old copy of the file back, or is writing, or ours could not be stored; what came with the last token is the one that
/// still buys something.
fn refresh_token(stored: &Stored, known: &Known, vault: &Vault) -> Option<Secret> {
    let stands = stored.access_token.as_ref().map(AccessToken::fingerprint);
    let kept = || known.last.and_then(|last| vault.refresh_token(last));
    match stands {
        Some(stands) if !known.replaced.contains(&stands) => stored.refresh_token.clone(),
        Some(_) | None => kept().or_else(|| stored.refresh_token.clone()),
    }
}

/// The text with everything masked that is long and unbroken enough to be a token nobody here knows.
fn mask_tokens(text: &str) -> String {
    let like_a_token = |letter: char| letter.is_ascii_alphanumeric() || "+/=_-.".contains(letter);
    let mut masked = String::with_capacity(text.len());
    let mut run = String::new();
    for letter in text.chars().chain(['\n']) {
        if like_a_token(letter) {
            run.push(letter);
            continue;
        }
        let digits = run.bytes().any(|byte| byte.is_ascii_digit());
        masked.push_str(if run.len() >= SHORTEST_TOKEN && digits { "***" } else { &run });
        run.clear();
        masked.push(letter);
    }
    masked.pop();
    masked
}

fn failed_at_store(error: &StoreError) -> AttemptEnd {
    tracing::error!("no renewal without the store: {error}");
    AttemptEnd::Failed
}

/// When the token of a session dies, as far as anybody knows: the earliest of what the broker, the token and the rule say.
pub(crate) fn dies_at(vault: &Vault, policy: &Policy, session: &Session, now: Timestamp) -> Timestamp {
    let by_rule = policy.dies_by_rule(session.login_time.unwrap_or(now));
    let life = vault.life(session.access_token.secret());
    session.expires_at.into_iter().chain(life.expires_at).fold(by_rule, Ord::min)
}

/// What a store is told of a session. Blocking.
pub(crate) fn change_for(session: &Session, dies: Timestamp, store: &dyn Store) -> Change {
    // An expiry that stands in the store is the old token's: it must not outlive it there.
    let expires_at = store.read().ok().and_then(|stored| stored.expires_at).map(|_| dies);
    Change {
        access_token: Some(session.access_token.clone()),
        refresh_token: session.refresh_token.clone(),
        expires_at,
    }
}

/// The token a store holds, as a candidate; the token itself goes into the vault.
pub(crate) fn candidate(vault: &Vault, stored: &Stored, source: Source) -> Option<Candidate> {
    let token = stored.access_token.as_ref()?;
    if !vault.add(token, stored.refresh_token.clone()) {
        tracing::warn!("the token {} in the store cannot be sent in a header: ignored", token.fingerprint());
        return None;
    }
    let life = vault.life(token.secret());
    Some(Candidate {
        fingerprint: token.fingerprint(),
        source,
        issued_at: life.issued_at,
        expires_at: stored.expires_at.into_iter().chain(life.expires_at).min(),
        refresh: stored.refresh_token.as_ref().map(Secret::fingerprint),
        refresh_dies: stored.refresh_token.as_ref().and_then(|refresh| vault.life(refresh).expires_at),
    })
}

/// The token of a session that the broker has just given, as a candidate; the token itself goes into the vault.
pub(crate) fn offered(vault: &Vault, session: &Session, source: Source) -> Option<Candidate> {
    let life = vault.life(session.access_token.secret());
    vault.add(&session.access_token, session.refresh_token.clone()).then(|| Candidate {
        fingerprint: session.access_token.fingerprint(),
        source,
        issued_at: session.login_time.or(life.issued_at),
        expires_at: session.expires_at.into_iter().chain(life.expires_at).min(),
        refresh: session.refresh_token.as_ref().map(Secret::fingerprint),
        refresh_dies: session.refresh_token.as_ref().and_then(|refresh| vault.life(refresh).expires_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token_is_masked_and_words_are_not() {
        let said = "wrong password for AB1234\ngot eyJhbGciOiJIUzI1NiJ9.e30.c2ln, sent q7Wm2yEXAMPLEtokenXYZ0123 to /home/trader/login.sh";
        let shown = mask_tokens(said);
        assert_eq!(shown, "wrong password for AB1234\ngot ***, sent *** to /home/trader/login.sh");
        assert_eq!(mask_tokens(""), "");
    }
}
