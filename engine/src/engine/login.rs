//! Logins and approvals: how a human's yes becomes a candidate.
//!
//! Promises: a one-use code is sent to the broker at most once, whatever the browser does; a living token is not
//! affected by a login that fails, and the store not by somebody else's; what a notifier is told is a candidate and no
//! more.

use std::sync::{Mutex, PoisonError};

use nirantar_brokers::{
    AccessToken, Approval, BadNotice, BadRedirect, Broker, Failure, Fingerprint, Form, Secret, Session, Sessions,
};

use super::renewal::{self, Renewer};
use super::transport::Transport;
use super::vault::Vault;
use super::{Engine, NotTaken};
use crate::core::Input;
use crate::session::Source;

/// Codes that are remembered as spent. Codes live for minutes; this is more than anybody logs in within those.
const MOST_CODES: usize = 64;

/// Why a login could not be finished. The living token, if any, is not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The broker did not give a session for the code. The code may be spent: log in again.
    #[error("the login could not be finished: {0}; log in again")]
    Broker(#[from] Failure),
    /// The redirect brings no code.
    #[error("{0}; log in again")]
    Redirect(#[from] BadRedirect),
    /// This code was sent to the broker before: it works only once.
    #[error("this login was used before, and works only once: log in again")]
    CodeUsed,
    /// What was posted to the notifier is no token.
    #[error("{0}")]
    Notice(#[from] BadNotice),
    /// Somebody else logged in, or granted a token. Nothing was stored.
    #[error("this is the login of {user_id}, and the account is {owner}'s: log in as {owner}")]
    Stranger {
        /// Whose session the broker gave.
        user_id: String,
        /// Whose account it is.
        owner: String,
    },
    /// The broker gave something that is no token.
    #[error("the broker sent a token that no header can carry")]
    BadToken,
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// One-use codes that were sent to the broker, by fingerprint; the oldest is forgotten.
#[derive(Debug, Default)]
pub(super) struct SpentCodes(Mutex<Vec<Fingerprint>>);

impl SpentCodes {
    /// True if the code is new. It counts as spent from now on.
    fn spend(&self, code: &Secret) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = code.fingerprint();
        if spent.contains(&fingerprint) {
            return false;
        }
        if spent.len() == MOST_CODES {
            spent.remove(0);
        }
        spent.push(fingerprint);
        true
    }
}

impl Engine {
    /// Whose account it is, by the broker's id, where that is known.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.renewer.policy.user_id.as_deref()
    }

    /// The page where a human logs in. `state` comes back on the redirect.
    #[must_use]
    pub fn login_url(&self, state: Option<&str>) -> Option<String> {
        self.broker.login_url(state)
    }

    /// What a login would cost now, in words for the human who starts it: where a new login kills the token before it,
    /// that token is alive, and the market is open. `None`: nothing, go on.
    ///
    /// # Errors
    /// [`NotTaken::Stopped`].
    pub async fn login_cost(&self) -> Result<Option<&'static str>, NotTaken> {
        let replaces = self.broker.facts().sessions == Sessions::Replace;
        let open = self.look(|core| core.session().state().is_live() && core.market_is_open()).await?;
        Ok((replaces && open).then_some(
            "The market is open and this account has a living token. A new login ends that token: live orders and the \
             feed pause until the new one is proven, for some seconds if all goes well.",
        ))
    }

    /// Finishes a login with the query of its redirect. The token is written into the store and is a candidate.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn finish_redirect(&self, query: &Form) -> Result<Fingerprint, LoginError> {
        let code = self.broker.code(query)?;
        self.finish_login(&code).await
    }

    /// Finishes a login with the one-use code of its redirect. The token is written into the store and is a candidate.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn finish_login(&self, code: &Secret) -> Result<Fingerprint, LoginError> {
        let _busy = self.clock.busy();
        if !self.spent_codes.spend(code) {
            return Err(LoginError::CodeUsed);
        }
        let Renewer { transport, vault, policy, .. } = &self.renewer;
        let session = exchange_code(self.broker.as_ref(), transport, vault, policy.user_id.as_deref(), code).await?;
        self.offer(&session, Source::Login).await
    }

    /// Takes what a broker posted to the app's notifier. Nobody vouches for it: the token in it is used, and written into
    /// the store, only if the broker says that it is this account's.
    ///
    /// # Errors
    /// [`LoginError::Notice`], [`LoginError::Stranger`], [`LoginError::BadToken`], [`LoginError::Stopped`].
    pub async fn take_notice(&self, body: &[u8]) -> Result<Fingerprint, LoginError> {
        let _busy = self.clock.busy();
        let session = own(self.broker.read_notice(body)?, self.renewer.policy.user_id.as_deref())?;
        self.offer_unproven(session, Source::Approval).await
    }

    /// Asks the broker to ask the human on the phone.
    ///
    /// # Errors
    /// [`LoginError::Broker`].
    pub async fn ask_approval(&self) -> Result<Approval, LoginError> {
        let _busy = self.clock.busy();
        Ok(self.renewer.transport.call(self.broker.ask_approval(), None).await?)
    }

    /// Hands a token over, as the operator's own. It is proven even if it was refused before.
    ///
    /// # Errors
    /// [`LoginError::BadToken`], [`LoginError::Stopped`].
    pub async fn offer_token(&self, token: AccessToken) -> Result<Fingerprint, LoginError> {
        let session = Session {
            user_id: String::new(),
            access_token: token,
            refresh_token: None,
            login_time: None,
            expires_at: None,
        };
        self.offer_unproven(session, Source::Operator).await
    }

    /// A token the broker has just given us: it is kept at once, since it may have ended the one before it.
    async fn offer(&self, session: &Session, source: Source) -> Result<Fingerprint, LoginError> {
        let vault = &self.renewer.vault;
        let candidate = renewal::offered(vault, session, source).ok_or(LoginError::BadToken)?;
        // The session first: no order may go on under a token that this login has ended.
        let told = self.tell(Input::Candidate(candidate)).await;
        self.renewer.keep(session).await;
        told.ok_or(LoginError::Stopped)?;
        Ok(candidate.fingerprint)
    }

    /// A token somebody says is ours: it is written into the store once the broker has said so too.
    async fn offer_unproven(&self, session: Session, source: Source) -> Result<Fingerprint, LoginError> {
        let vault = &self.renewer.vault;
        let candidate = renewal::offered(vault, &session, source).ok_or(LoginError::BadToken)?;
        vault.keep_once_proven(session);
        self.tell(Input::Candidate(candidate)).await.ok_or(LoginError::Stopped)?;
        Ok(candidate.fingerprint)
    }
}

/// Exchanges the one-use code of a login for a session of the account's `owner`. The code is sent once, and is kept out
/// of every text.
pub(crate) async fn exchange_code(
    broker: &dyn Broker,
    transport: &Transport,
    vault: &Vault,
    owner: Option<&str>,
    code: &Secret,
) -> Result<Session, LoginError> {
    vault.hide(code.clone());
    own(transport.call(broker.exchange(code), None).await?, owner)
}

/// The session, unless the broker says that it is somebody else's. A probe asks again: not every broker says it here.
fn own(session: Session, owner: Option<&str>) -> Result<Session, LoginError> {
    match owner {
        Some(owner) if !session.user_id.is_empty() && session.user_id != owner => {
            Err(LoginError::Stranger { user_id: session.user_id, owner: owner.to_owned() })
        }
        _ => Ok(session),
    }
}
