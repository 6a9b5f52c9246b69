//! Login states: which login a redirect belongs to.
//!
//! A value without clock or socket. Promises: a state is taken once, within ten minutes, for the account it was made for;
//! what a login has come to is known to whoever loads its page again; no state can be read back out of it (it keeps
//! digests); it never grows beyond [`MOST`].

use std::collections::BTreeMap;
use std::time::Duration;

use nirantar_brokers::time::Monotonic;
use nirantar_brokers::{Fingerprint, Secret};

use super::access::{Digest, digest};

/// How long a human may take from the link to the redirect.
pub(super) const LIFE: Duration = Duration::from_secs(600);
/// How long the broker may take to say whose token a login brought, until another login is offered all the same.
const UNDECIDED: Duration = Duration::from_secs(600);
/// States that are remembered. The oldest is forgotten: a flood of new logins can make an old one start again, no more.
const MOST: usize = 256;

/// Every login that was begun, by the digest of its state.
#[derive(Debug, Default)]
pub(super) struct LoginStates {
    kept: BTreeMap<Digest, Login>,
    begun: u64,
}

#[derive(Clone, Copy, Debug)]
struct Login {
    account: usize,
    number: u64,
    began: Monotonic,
    stage: Stage,
}

/// How far a login has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The human is at the broker's.
    Begun,
    /// The code is on its way to the broker.
    Exchanging,
    /// The broker gave this token, then.
    Brought(Fingerprint, Monotonic),
    /// It brought nothing.
    Failed,
}

/// What a login that was used before has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// The code is on its way to the broker.
    NothingYet,
    /// A token, which the broker may have judged or not.
    Token(Fingerprint),
    /// Nothing, or nothing for so long that nobody waits for it.
    Nothing,
}

/// Why a state is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadState {
    /// Nobody here made it, or it is forgotten.
    Unknown,
    /// It was made for another account than the callback's.
    OtherAccount,
    /// It is older than [`LIFE`].
    Expired {
        /// Of which account.
        account: usize,
    },
    /// It was taken before.
    Used {
        /// Of which account.
        account: usize,
        /// What it has come to.
        brought: Brought,
    },
}

impl LoginStates {
    /// Remembers a login that begins now.
    pub(super) fn begin(&mut self, state: &Secret, account: usize, now: Monotonic) {
        if self.kept.len() >= MOST {
            let oldest = self.kept.iter().min_by_key(|(_, login)| login.number).map(|(digest, _)| *digest);
            if let Some(oldest) = oldest {
                self.kept.remove(&oldest);
            }
        }
        self.begun += 1;
        self.kept
            .insert(digest(state.expose()), Login { account, number: self.begun, began: now, stage: Stage::Begun });
    }

    /// Takes a state that came back, at the callback of that account if it is one's own. Whatever is the answer, the
    /// state is not taken again.
    ///
    /// # Errors
    /// [`BadState`].
    pub(super) fn take(&mut self, state: &str, callback_of: Option<usize>, now: Monotonic) -> Result<usize, BadState> {
        let login = self.kept.get_mut(&digest(state)).ok_or(BadState::Unknown)?;
        let account = login.account;
        let brought = match std::mem::replace(&mut login.stage, Stage::Failed) {
            Stage::Begun if now.since(login.began) >= LIFE => return Err(BadState::Expired { account }),
            Stage::Begun if callback_of.is_some_and(|other| other != account) => return Err(BadState::OtherAccount),
            Stage::Begun => {
                login.stage = Stage::Exchanging;
                return Ok(account);
            }
            Stage::Exchanging => {
                login.stage = Stage::Exchanging;
                Brought::NothingYet
            }
            Stage::Brought(token, at) if now.since(at) < UNDECIDED => {
                login.stage = Stage::Brought(token, at);
                Brought::Token(token)
            }
            Stage::Brought(..) | Stage::Failed => Brought::Nothing,
        };
        Err(BadState::Used { account, brought })
    }

    /// The exchange of a login that was taken has ended, with a token or without.
    pub(super) fn ended(&mut self, state: &str, token: Option<Fingerprint>, now: Monotonic) {
        // A flood of new logins may have pushed it out.
        if let Some(login) = self.kept.get_mut(&digest(state)) {
            login.stage = token.map_or(Stage::Failed, |token| Stage::Brought(token, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::default() + Duration::from_secs(seconds)
    }

    fn begun(names: &[&str]) -> LoginStates {
        let mut states = LoginStates::default();
        for (account, name) in names.iter().enumerate() {
            states.begin(&Secret::new(*name), account, at(0));
        }
        states
    }

    #[test]
    fn a_state_is_taken_once_for_the_account_it_was_made_for() {
        let mut states = begun(&["a", "b"]);
        assert_eq!(states.take("b", None, at(1)), Ok(1));
        assert_eq!(states.take("b", None, at(2)), Err(BadState::Used { account: 1, brought: Brought::NothingYet }));
        assert_eq!(states.take("a", Some(1), at(2)), Err(BadState::OtherAccount));
        assert_eq!(states.take("a", Some(0), at(2)), Err(BadState::Used { account: 0, brought: Brought::Nothing }));
        assert_eq!(states.take("c", None, at(2)), Err(BadState::Unknown));
        assert_eq!(states.take("", None, at(2)), Err(BadState::Unknown));
    }

    #[test]
    fn a_state_lives_for_ten_minutes() {
        assert_eq!(begun(&["a"]).take("a", None, at(599)), Ok(0));
        assert_eq!(begun(&["a"]).take("a", None, at(600)), Err(BadState::Expired { account: 0 }));
    }

    #[test]
    fn who_loads_a_used_redirect_again_learns_what_it_has_brought() {
        let (mut states, token) = (begun(&["a", "b"]), Fingerprint(7));
        let again = |states: &mut LoginStates, state: &str, seconds| match states.take(state, None, at(seconds)) {
            Err(BadState::Used { brought, .. }) => brought,
            other => panic!("{other:?}"),
        };
        for state in ["a", "b"] {
            assert!(states.take(state, None, at(1)).is_ok());
            assert_eq!(again(&mut states, state, 2), Brought::NothingYet);
        }
        states.ended("a", Some(token), at(3));
        states.ended("b", None, at(3));
        states.ended("c", Some(token), at(3));
        for seconds in [3, 8, 602] {
            assert_eq!(again(&mut states, "a", seconds), Brought::Token(token), "{seconds}");
        }
        assert_eq!(again(&mut states, "a", 603), Brought::Nothing, "nobody waits for ever");
        assert_eq!(again(&mut states, "b", 3), Brought::Nothing);
    }

    #[test]
    fn it_never_grows_beyond_its_bound_and_forgets_the_oldest_first() {
        let mut states = LoginStates::default();
        for number in 0..=MOST {
            states.begin(&Secret::new(format!("state {number}")), 0, at(0));
            assert!(states.kept.len() <= MOST);
        }
        assert_eq!(states.take("state 0", None, at(1)), Err(BadState::Unknown));
        assert_eq!(states.take("state 1", None, at(1)), Ok(0));
    }

    #[test]
    fn no_state_can_be_read_out_of_it() {
        assert!(!format!("{:?}", begun(&["sentinel"])).contains("sentinel"));
    }
}
