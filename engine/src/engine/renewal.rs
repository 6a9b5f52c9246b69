//! Getting a token without a human: by refresh token, or by the user's own command.
//!
//! Rule 2: a lock file beside the store is held from before the store is read again until the new token is written.
//! Whoever finds a newer token there takes it instead of renewing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::{Busy, Clock, Timestamp};
use nirantar_brokers::{Broker, Cause, Fingerprint, Renewal, Session};

use super::events::EventSender;
use super::transport::Transport;
use super::vault::Vault;
use crate::core::Event;
use crate::session::{AttemptEnd, Candidate, Policy, Source};
use crate::token::store::{Change, Store, StoreError, Stored};
use crate::token::{FileLock, Flight, Writer, single_flight};

/// How long to wait before the lock that somebody else holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(500);

/// A command of the user's that writes a new token into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What to run.
    pub program: PathBuf,
    /// With which arguments. Secrets do not belong here: everybody on the machine can read them.
    pub arguments: Vec<String>,
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

impl Renewer {
    /// One attempt to get a new token. Takes as long as it takes: whoever started it cuts it off.
    ///
    /// `spent` are the tokens that are no news: dead, refused, or replaced. `busy` holds a stepped clock still; it is let
    /// go while the attempt waits for something that takes market time, and held again when it ends.
    pub(crate) async fn attempt(self, way: Renewal, spent: BTreeSet<Fingerprint>, busy: &mut Busy) -> AttemptEnd {
        match way {
            Renewal::RefreshGrant => self.by_grant(&spent, busy).await,
            Renewal::External => self.by_command(busy).await,
            // These two wait for a human and are never attempted.
            Renewal::Login | Renewal::Approval => AttemptEnd::FailedForGood,
        }
    }

    async fn by_grant(&self, spent: &BTreeSet<Fingerprint>, busy: &mut Busy) -> AttemptEnd {
        loop {
            let (store, spent) = (Arc::clone(&self.store), spent.clone());
            let decided = tokio::task::spawn_blocking(move || {
                let lock = FileLock::of(store.path());
                let mut refresh = None;
                let read = || store.read().inspect(|stored| refresh = stored.refresh_token.clone());
                let flight = single_flight(&lock, read, &spent);
                flight.map(|flight| (flight, refresh))
            })
            .await;
            let (held, refresh) = match decided {
                Ok(Ok((Flight::Renew(held), Some(refresh)))) => (held, refresh),
                Ok(Ok((Flight::Renew(_), None))) => {
                    tracing::warn!("renewal: there is no refresh token in {}", self.store.path().display());
                    return AttemptEnd::FailedForGood;
                }
                Ok(Ok((Flight::Take(stored), _))) => return self.taken(&stored),
                Ok(Ok((Flight::Busy, _))) => {
                    let over = self.clock.sleep(LOCK_RETRY);
                    *busy = Busy::idle();
                    *busy = over.await;
                    continue;
                }
                Ok(Err(error)) => return failed_at_store(&error),
                Err(_) => return AttemptEnd::Failed,
            };
            let renewed = self.transport.call(self.broker.renew(&refresh), None).await;
            let session = match renewed {
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
            // A broker that does not rotate its refresh token sends none: the old one stays good.
            let session = Session { refresh_token: session.refresh_token.or(Some(refresh)), ..session };
            let Some(candidate) = offered(&self.vault, &session, Source::Renewal) else {
                tracing::warn!("the renewal brought a token that no header can carry");
                return AttemptEnd::Failed;
            };
            self.keep(&session).await;
            drop(held);
            return AttemptEnd::Token(candidate);
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

    async fn by_command(&self, busy: &mut Busy) -> AttemptEnd {
        let Some(Command { program, arguments }) = &self.command else { return AttemptEnd::FailedForGood };
        let run = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        let mut run = std::pin::pin!(run);
        let output = match tokio::time::timeout(self.policy.command_timeout, &mut run).await {
            Ok(output) => output,
            // It works in real time, while a stepped clock stands still. One that hangs is cut off by the session, whose
            // time must go on for that.
            Err(_) => {
                *busy = Busy::idle();
                let output = run.await;
                *busy = self.clock.busy();
                output
            }
        };
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let words = self.vault.redactor().clean(&String::from_utf8_lossy(&output.stderr));
                let words: String = words.chars().take(500).collect();
                tracing::warn!("the external command ended with {}: {words}", output.status);
                return AttemptEnd::Failed;
            }
            Err(error) => {
                tracing::error!("the external command {} cannot be run: {error}", program.display());
                return AttemptEnd::Failed;
            }
        }
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || store.read()).await {
            Ok(Ok(stored)) => self.taken(&stored),
            Ok(Err(error)) => failed_at_store(&error),
            Err(_) => AttemptEnd::Failed,
        }
    }

    /// A token that is in the store already.
    fn taken(&self, stored: &Stored) -> AttemptEnd {
        match candidate(&self.vault, stored, Source::Store) {
            Some(candidate) => AttemptEnd::Token(candidate),
            None => AttemptEnd::Failed,
        }
    }
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
        renewable: stored.refresh_token.is_some(),
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
        renewable: session.refresh_token.is_some(),
        refresh_dies: session.refresh_token.as_ref().and_then(|refresh| vault.life(refresh).expires_at),
    })
}
