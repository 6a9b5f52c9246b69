//! Waiting, after a login, until the broker has said whose the new token is and orders go where they should.
//!
//! Event-driven: the core is looked at when something has happened, and after [`PATIENCE`] no more.

use std::time::Duration;

use nirantar_brokers::Fingerprint;
use nirantar_brokers::time::Clock;

use crate::core::Event;
use crate::engine::{Engine, EventMessage, Events, Health, NotTaken};
use crate::session::Notice;

/// How long a browser is kept waiting: a probe, the comparison of orders and positions, and some retries.
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is in use, and orders go where the account wants them.
    Connected(Health),
    /// It is in use, and the way back of the orders is not finished.
    Proven(Health),
    /// It was not taken.
    NotTaken {
        /// Why, in words that name it by fingerprint.
        why: String,
        /// How the account stands without it.
        health: Health,
    },
    /// The broker has not said.
    Undecided,
}

/// Waits for it. `events` must have been asked for before the token was offered.
///
/// # Errors
/// [`NotTaken::Stopped`].
pub(super) async fn wait(
    engine: &Engine,
    mut events: Events,
    token: Fingerprint,
    clock: &dyn Clock,
) -> Result<Proof, NotTaken> {
    let mut patience = clock.sleep(PATIENCE);
    loop {
        let health = engine.health().await?;
        let ours = health.token.is_some_and(|used| used.fingerprint == token);
        if ours && health.possible && !health.reduce_only {
            return Ok(Proof::Connected(health));
        }
        let news = async {
            loop {
                match events.next().await {
                    None => return Err(NotTaken::Stopped),
                    Some(EventMessage::Event(Event::Notice { notice, .. })) => match notice {
                        Notice::NotTaken { fingerprint, .. } if fingerprint == token => {
                            return Ok(Some(notice.to_string()));
                        }
                        _ => {}
                    },
                    Some(EventMessage::Event(Event::Venue { .. } | Event::Token { .. } | Event::Transition(_)))
                    | Some(EventMessage::Lagged(_)) => return Ok(None),
                    Some(EventMessage::Event(_)) => {}
                }
            }
        };
        tokio::select! {
            news = news => if let Some(why) = news? {
                return Ok(Proof::NotTaken { why, health: engine.health().await? });
            },
            _ = &mut patience => return Ok(if ours { Proof::Proven(health) } else { Proof::Undecided }),
        }
    }
}
