//! Tokens on their way into the store, which the end of the engine waits for.
//!
//! Promises: a token of somebody's word only is stored once it is proven; an old token that somebody writes over the one
//! in use is replaced there again, so that whoever reads the store next finds the living one.

use nirantar_brokers::{Fingerprint, Session, Sessions};
use tracing::Instrument as _;

use super::task::Task;
use crate::session::Generation;

/// How often the token in use is put back. Two engines that disagree about which one is newer must not go on for ever.
const MOST_PUT_BACK: u32 = 16;

/// How often a token was put back into the store, and which.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PutBack {
    generation: Generation,
    times: u32,
}

impl Task {
    /// A token has been proven and is in use: if it still is to be stored, it is now.
    pub(super) fn keep_proven(&mut self, fingerprint: Fingerprint) {
        self.vault.in_use(fingerprint);
        if let Some(session) = self.vault.proven(fingerprint) {
            let renewer = self.renewer.clone();
            self.keeping(async move { renewer.keep(&session).await });
        }
    }

    /// Somebody has written a token of the past into the store. Where a new token ends the one before it, that one is
    /// dead, and its refresh token most likely spent.
    pub(super) fn put_back(&mut self) {
        let session = self.core.session();
        let (generation, expires_at) = (session.generation(), session.expires());
        let in_use = self.core.last_token().filter(|_| session.state().is_live());
        let Some(live) = in_use.and_then(|in_use| self.vault.live(in_use)) else { return };
        let times = if self.state.put_back.generation == generation { self.state.put_back.times } else { 0 };
        if session.policy().sessions != Sessions::Replace || times == MOST_PUT_BACK {
            return;
        }
        self.state.put_back = PutBack { generation, times: times + 1 };
        let session = Session {
            user_id: String::new(),
            refresh_token: self.vault.refresh_token(live.fingerprint()),
            access_token: live.token().clone(),
            login_time: None,
            expires_at,
        };
        let replaced = self.core.session().replaced_tokens().to_vec();
        let renewer = self.renewer.clone();
        self.keeping(async move { renewer.put_back(&session, replaced).await });
    }

    /// Does it beside everything else. A stepped clock stands meanwhile.
    fn keeping(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let busy = self.clock.busy();
        self.state.keeping.retain(|task| !task.is_finished());
        let keep = async move {
            work.await;
            drop(busy);
        };
        self.state.keeping.push(self.state.tasks.spawn(keep.in_current_span()));
    }
}
