//! One renewal of an account by its automatic ways, without an engine: what `token refresh` does.
//!
//! It holds the same lock beside the store as every engine on the machine (rule 2), so that it never renews beside one;
//! an engine that runs sees the new token in the store and proves it as any other.

use std::sync::Arc;

use nirantar_brokers::time::Clock;
use nirantar_brokers::{Fingerprint, Renewal};
use tokio::sync::mpsc;

use super::Setup;
use super::events::EventSender;
use super::renewal::{Known, Renewer};
use super::transport::Transport;
use super::vault::Vault;
use crate::session::AttemptEnd;
use crate::token::Watcher;
use crate::token::store::StoreError;

/// How one renewal ended. The reasons of a failure are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// There is another token than before. Whether it is good is still to be asked.
    Token(Fingerprint),
    /// The external command ended well and left the token as it was.
    Unchanged,
    /// Nothing renews this account without a human.
    NoWay,
    /// A refresh token would renew it, and there is none in the store.
    NoRefreshToken,
    /// A new token could not be kept: the store is read only.
    ReadOnly,
    /// It failed, and may work later.
    Failed,
    /// It failed, and will fail again.
    FailedForGood,
    /// The reply was lost: the refresh token may be spent.
    Unknown,
}

/// Renews once, by the first of the account's ways that can.
///
/// # Errors
/// The store makes no sense, or there is no HTTP client; in words.
pub(crate) async fn renew_once(setup: Setup, clock: Arc<dyn Clock>) -> Result<Renewed, String> {
    let (sender, _unheard) = mpsc::channel(1);
    let (reader, watched) = (Arc::clone(&setup.store), Arc::clone(&setup.store));
    let stored = match tokio::task::spawn_blocking(move || reader.read()).await {
        Ok(Ok(stored)) => stored,
        Ok(Err(StoreError::NotFound { .. })) => Default::default(),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("its store could not be read".to_owned()),
    };
    if setup.policy.automatic.is_empty() {
        return Ok(Renewed::NoWay);
    }
    if setup.store.is_read_only() {
        return Ok(Renewed::ReadOnly);
    }
    let watcher = Watcher::spawn(watched, sender);
    let vault = Vault::new(Arc::clone(&setup.broker), setup.secrets);
    let before = stored.access_token.as_ref().map(|token| {
        vault.add(token, stored.refresh_token.clone());
        token.fingerprint()
    });
    let policy = setup.policy;
    let renewer = Renewer {
        broker: setup.broker,
        transport: Transport::new(&setup.rest_url, vault.clone())?,
        vault,
        store: setup.store,
        writer: watcher.writer(),
        clock: Arc::clone(&clock),
        command: setup.command,
        policy: policy.clone(),
        events: EventSender::new(Arc::clone(&clock)),
    };
    let mut last = Renewed::NoWay;
    for way in &policy.automatic {
        if *way == Renewal::RefreshGrant && stored.refresh_token.is_none() {
            last = Renewed::NoRefreshToken;
            continue;
        }
        let known = Known { spent: before.into_iter().collect(), ..Known::default() };
        let mut busy = clock.busy();
        let attempt = renewer.clone().attempt(*way, known, &mut busy);
        // It ends by itself: the lock, the call, the store and the command each have their own limit. Cut off from here a
        // new token could be lost.
        last = match attempt.await {
            AttemptEnd::Token(candidate) if Some(candidate.fingerprint) == before => Renewed::Unchanged,
            AttemptEnd::Token(candidate) => return Ok(Renewed::Token(candidate.fingerprint)),
            AttemptEnd::Failed => Renewed::Failed,
            AttemptEnd::FailedForGood => Renewed::FailedForGood,
            // Nothing else is tried on top of something that may have worked.
            AttemptEnd::Unknown => return Ok(Renewed::Unknown),
        };
    }
    Ok(last)
}
