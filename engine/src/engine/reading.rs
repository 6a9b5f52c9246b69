//! Reads of the broker for whoever embeds the engine, repeated once under a new token.
//!
//! Promises: however many reads are refused for one dead token, the session renews once, and each of them is repeated
//! once, under the token that it brought; a read that no token mends comes back as it is. Nothing that changes an order
//! passes here: that is the gate's ([`Engine::submit`]).

use std::sync::Arc;

use nirantar_brokers::time::Now;
use nirantar_brokers::{Call, Cause, Failure, Trading};

use super::Engine;
use crate::core::{Core, Input};
use crate::session::{Generation, State};

/// Why a read brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no living token.
    #[error("there is no session with the broker now ({0})")]
    NoToken(State),
    /// The call would change an order: those go through [`Engine::submit`], [`Engine::modify`] and [`Engine::cancel`].
    #[error("a read may not change orders")]
    NoRead,
    /// The broker did not answer as asked.
    #[error(transparent)]
    Broker(#[from] Failure),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// What becomes of a read that was refused.
enum Next {
    /// There is a newer token.
    Again,
    /// The token is good, or none can be had.
    GiveUp,
    /// It is being found out, or a new token is on its way.
    Wait,
}

impl Engine {
    /// The broker's codec of orders, market data and feed, to build reads with. `None` where only its sessions are kept.
    #[must_use]
    pub fn trading(&self) -> Option<Arc<dyn Trading>> {
        self.broker.trading()
    }

    /// Asks the broker something under the token in use. Refused for the token's sake, it waits for what the session
    /// makes of that, and asks once more under the new token if one comes.
    ///
    /// ```no_run
    /// # async fn positions(engine: &nirantar::engine::Engine) -> Option<()> {
    /// let broker = engine.trading()?;
    /// let positions = engine.read(|now| broker.positions(now)).await;
    /// # Some(()) }
    /// ```
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read<T>(&self, call: impl Fn(Now) -> Call<T>) -> Result<T, ReadError> {
        let busy = self.clock.busy();
        let mut events = self.events();
        let (generation, failure) = match self.read_once(&call).await? {
            (_, Ok(answer)) => return Ok(answer),
            (generation, Err(failure)) => (generation, failure),
        };
        if !matches!(failure.cause, Cause::Refused(_)) {
            return Err(failure.into());
        }
        let patience = self.renewer.policy.attempt_patience();
        let mut over = self.clock.sleep(patience);
        drop(busy);
        loop {
            match self.look(move |core| next(core, generation)).await.map_err(|_| ReadError::Stopped)? {
                Next::Again => break,
                Next::GiveUp => return Err(failure.into()),
                Next::Wait => {}
            }
            tokio::select! {
                event = events.next() => if event.is_none() {
                    return Err(ReadError::Stopped);
                },
                _ = &mut over => return Err(failure.into()),
            }
        }
        // Whoever listens to the events holds the clock until here.
        let _busy = self.clock.busy();
        drop(events);
        Ok(self.read_once(&call).await?.1?)
    }

    /// One call, and what it says of the session told to the session.
    async fn read_once<T>(
        &self,
        call: &impl Fn(Now) -> Call<T>,
    ) -> Result<(Generation, Result<T, Failure>), ReadError> {
        let snapshot = self.snapshot();
        let call = call(self.clock.now());
        if matches!(&call, Call::Http { request, .. } if request.endpoint.changes_orders()) {
            return Err(ReadError::NoRead);
        }
        let token = snapshot.token.as_ref().ok_or(ReadError::NoToken(snapshot.state))?;
        let outcome = self.renewer.transport.call(call, Some(token.authorization())).await;
        let (generation, failure) = (snapshot.generation, outcome.as_ref().err().cloned());
        self.tell(Input::Answer { generation, failure }).await.ok_or(ReadError::Stopped)?;
        Ok((generation, outcome))
    }
}

fn next(core: &Core, refused: Generation) -> Next {
    let session = core.session();
    if session.generation() > refused && core.standing().token.is_some() {
        Next::Again
    } else if session.state() == State::Fallback && !session.is_renewing()
        || session.state().is_live() && !session.is_in_doubt()
    {
        Next::GiveUp
    } else {
        Next::Wait
    }
}
