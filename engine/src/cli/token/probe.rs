//! Asking a broker, once, whose a stored token is, and saying in a trader's words what follows.

use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Cause, Expiry, Failure, Fingerprint, Outcome, Profile, Refusal};

use crate::config::Account;
use crate::engine::{Setup, Transport, Vault};
use crate::token::store::{Store, StoreError, StorePlace, Stored};

/// How long all of one account may take; the transport's own limit is shorter.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The broker accepts it, and it is the account's own.
    Live,
    /// The same, but the store says that its time is over. An engine believes the store, and does not use it.
    Expired,
    /// The broker says that it is dead.
    Dead,
    /// There is none in the store, or none that could be sent.
    Missing,
    /// It is a valid token of somebody else.
    Stranger,
    /// The broker refuses, and says nothing about the token by it.
    Refused,
    /// The broker did not answer, or not in a way that makes sense.
    Unreachable,
}

impl State {
    /// Its name in output.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired_in_store",
            Self::Dead => "dead",
            Self::Missing => "missing",
            Self::Stranger => "stranger",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Where one account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The account's name.
    pub(crate) account: String,
    /// Its broker's.
    pub(crate) broker: &'static str,
    /// What is known of its token.
    pub(crate) state: State,
    /// Which token.
    pub(crate) token: Option<Fingerprint>,
    /// Whose account it is.
    pub(crate) user_id: String,
    /// When the token dies at the latest, as far as anybody knows.
    pub(crate) expires_at: Option<Timestamp>,
    /// What is not there and would be needed.
    pub(crate) missing: Vec<String>,
    /// Why the state is what it is, where a word more helps.
    pub(crate) why: Option<String>,
    /// What to do next.
    pub(crate) next: String,
    /// Where to log in, where that is what to do.
    pub(crate) login_url: Option<String>,
}

/// Looks at every account, all at once; in their order.
pub(crate) async fn all(accounts: &[Account], now: Timestamp) -> Vec<Standing> {
    let asked: Vec<_> =
        accounts.iter().cloned().map(|account| tokio::spawn(async move { one(&account, now).await })).collect();
    let mut standings = Vec::with_capacity(asked.len());
    for (task, account) in asked.into_iter().zip(accounts) {
        let standing = match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(standing)) => standing,
            Ok(Err(_)) | Err(_) => {
                let finding = Finding::of(State::Unreachable, "it took too long".to_owned());
                describe(account, &Setup::from(account), &Stored::default(), finding, now)
            }
        };
        standings.push(standing);
    }
    standings
}

/// Looks at one account: the first of its stores that holds a token.
async fn one(account: &Account, now: Timestamp) -> Standing {
    let setup = Setup::from(account);
    let stores: Vec<_> = std::iter::once(&setup.store).chain(&setup.fallback_stores).cloned().collect();
    let read = tokio::task::spawn_blocking(move || read_first(&stores)).await;
    let (stored, finding) = match read {
        Ok(Ok(stored)) => {
            let finding = ask(&setup, &stored).await;
            (stored, finding)
        }
        Ok(Err(StoreError::NotFound { .. })) => (Stored::default(), Finding::from(State::Missing)),
        Ok(Err(error)) => (Stored::default(), Finding::of(State::Missing, error.to_string())),
        Err(_) => (Stored::default(), Finding::of(State::Missing, "its store could not be read".to_owned())),
    };
    describe(account, &setup, &stored, finding, now)
}

/// Asks the broker about what a store was seen to hold.
pub(super) async fn of(account: &Account, stored: &Stored, now: Timestamp) -> Standing {
    let setup = Setup::from(account);
    let finding = match tokio::time::timeout(PATIENCE, ask(&setup, stored)).await {
        Ok(finding) => finding,
        Err(_) => Finding::of(State::Unreachable, "it took too long".to_owned()),
    };
    describe(account, &setup, stored, finding, now)
}

/// What the first store that holds a token says, as an engine would start with it; else what the first store says.
pub(crate) fn read_first(stores: &[std::sync::Arc<dyn Store>]) -> Result<Stored, StoreError> {
    let mut read = stores.iter().map(|store| store.read());
    let first = read.next().unwrap_or_else(|| Ok(Stored::default()));
    let none = matches!(&first, Ok(Stored { access_token: None, .. }) | Err(StoreError::NotFound { .. }));
    let later = if none { read.flatten().find(|stored| stored.access_token.is_some()) } else { None };
    later.map_or(first, Ok)
}

/// What looking at the token brought.
struct Finding {
    state: State,
    why: Option<String>,
}

impl Finding {
    const fn of(state: State, why: String) -> Self {
        Self { state, why: Some(why) }
    }
}

impl Finding {
    /// The same, seen together with what stands beside the token: the earliest expiry counts, whoever says it.
    fn against(self, stored: &Stored, now: Timestamp) -> Self {
        match stored.expires_at.filter(|at| *at <= now && self.state == State::Live) {
            None => self,
            Some(at) => Self::of(
                State::Expired,
                format!(
                    "the broker accepts it, but the store says that it ended at {at} IST, and an engine believes the \
                     store: it will not use this token"
                ),
            ),
        }
    }
}

impl From<State> for Finding {
    fn from(state: State) -> Self {
        Self { state, why: None }
    }
}

/// Asks the broker about the stored token.
async fn ask(setup: &Setup, stored: &Stored) -> Finding {
    let Some(token) = &stored.access_token else { return State::Missing.into() };
    let vault = Vault::new(std::sync::Arc::clone(&setup.broker), setup.secrets.clone());
    if !vault.add(token, stored.refresh_token.clone()) {
        return Finding::of(State::Missing, "what stands in the store cannot be a token: no header can hold it".into());
    }
    let Some(live) = vault.live(token.fingerprint()) else { return State::Missing.into() };
    let transport = match Transport::new(&setup.rest_url, vault) {
        Ok(transport) => transport,
        Err(why) => return Finding::of(State::Unreachable, why),
    };
    let answer = transport.call(setup.broker.probe(), Some(live.authorization())).await;
    judge(answer, setup.policy.user_id.as_deref())
}

/// What the answer to a probe says of the token.
fn judge(answer: Outcome<Profile>, expected: Option<&str>) -> Finding {
    match answer {
        Ok(profile) => match expected.filter(|expected| *expected != profile.user_id) {
            None => State::Live.into(),
            Some(_) => Finding::of(State::Stranger, format!("the token belongs to {}", profile.user_id)),
        },
        Err(Failure { cause, message, .. }) => match cause {
            Cause::Refused(Refusal::Conclusive) => Finding::of(State::Dead, message),
            Cause::Refused(Refusal::Suspect) | Cause::Misconfigured | Cause::Rejected => {
                Finding::of(State::Refused, message)
            }
            Cause::Throttled { .. } | Cause::NotSent | Cause::Unknown => Finding::of(State::Unreachable, message),
        },
    }
}

fn describe(account: &Account, setup: &Setup, stored: &Stored, finding: Finding, now: Timestamp) -> Standing {
    let broker = setup.broker.as_ref();
    let Finding { state, why } = finding.against(stored, now);
    let needs_login = matches!(state, State::Dead | State::Missing | State::Stranger);
    let login_url = broker.login_url(None).filter(|_| needs_login);
    let mut missing = Vec::new();
    if state == State::Missing {
        missing.push(format!("{} in {}", token_name(account), account.store.display()));
    }
    if needs_login && account.credentials.api_secret.is_none() {
        missing.push(format!("{}_API_SECRET, to finish a login here", account.key_prefix));
    }
    Standing {
        account: account.name.clone(),
        broker: broker.facts().name,
        state,
        token: stored.fingerprint(),
        user_id: account.credentials.user_id.clone(),
        expires_at: expiry(state, setup, stored, now),
        missing,
        why,
        next: next(state, account, setup, login_url.as_deref(), now),
        login_url,
    }
}

/// The earlier of what the store says and what the broker's rule says of a token that lives now.
fn expiry(state: State, setup: &Setup, stored: &Stored, now: Timestamp) -> Option<Timestamp> {
    let by_rule = match setup.policy.expiry {
        Expiry::Cutoff { .. } if state == State::Live => Some(setup.policy.dies_by_rule(now)),
        // When it was issued is not known.
        Expiry::Cutoff { .. } | Expiry::Ttl(_) => None,
    };
    stored.expires_at.into_iter().chain(by_rule).min()
}

fn next(state: State, account: &Account, setup: &Setup, link: Option<&str>, now: Timestamp) -> String {
    let store = account.store.display();
    let prefix = &account.key_prefix;
    match state {
        State::Live => "nothing".to_owned(),
        State::Expired => format!(
            "correct expires_at in {store} or take it out, or let the token be written there again (nirantar token set \
             --store {store} --key-prefix {prefix}), which corrects it"
        ),
        State::Refused => {
            "check the static IP and the plan in the broker's developer console, then ask again".to_owned()
        }
        State::Unreachable => format!("check the network and {}, then ask again", account.rest_url),
        State::Dead | State::Missing | State::Stranger => {
            let mut steps = String::new();
            if account.external_command.is_some() {
                steps.push_str("wait for the external command of `nirantar run`, or ");
            }
            if let Some(from) = too_early(setup.policy.expiry, now) {
                steps.push_str(&format!("from {from} IST on (an earlier login may not last the day) "));
            }
            let owner = &account.credentials.user_id;
            match link {
                Some(link) => steps.push_str(&format!("log in as {owner} at {link} and ")),
                None => steps.push_str(&format!("get a new token for {owner} and ")),
            }
            steps.push_str(&format!("let the token be written into {store} as {}", token_name(account)));
            steps.push_str(&format!(" (by hand: nirantar token set --store {store} --key-prefix {prefix})"));
            steps
        }
    }
}

/// What the access token is called where it is kept.
fn token_name(account: &Account) -> String {
    let place = account.stores.first().cloned().unwrap_or_else(|| StorePlace::file(&account.store));
    place.token_name(&account.key_prefix)
}

/// From when a login lasts, if one made now would not.
fn too_early(expiry: Expiry, now: Timestamp) -> Option<chrono::NaiveTime> {
    match expiry {
        Expiry::Cutoff { mint_after, .. } if now.ist_time() < mint_after => Some(mint_after),
        Expiry::Cutoff { .. } | Expiry::Ttl(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Endpoint;

    use super::*;

    fn judged(cause: Cause) -> State {
        judge(Err(Failure::new(cause, Endpoint::Profile, "words")), Some("AB1234")).state
    }

    #[test]
    fn only_a_conclusive_refusal_is_a_dead_token() {
        assert_eq!(judged(Cause::Refused(Refusal::Conclusive)), State::Dead);
        assert_eq!(judged(Cause::Refused(Refusal::Suspect)), State::Refused);
        assert_eq!(judged(Cause::Misconfigured), State::Refused);
        for cause in [Cause::NotSent, Cause::Unknown, Cause::Throttled { retry_after: None }] {
            assert_eq!(judged(cause), State::Unreachable);
        }
    }

    #[test]
    fn a_valid_token_of_somebody_else_is_not_live() {
        let profile = |user_id: &str| Profile { user_id: user_id.to_owned(), user_name: "A Trader".to_owned() };
        assert_eq!(judge(Ok(profile("AB1234")), Some("AB1234")).state, State::Live);
        let stranger = judge(Ok(profile("ZZ9999")), Some("AB1234"));
        assert_eq!(stranger.state, State::Stranger);
        assert!(stranger.why.unwrap().contains("ZZ9999"));
    }

    #[test]
    fn a_token_that_the_store_calls_expired_is_not_reported_as_one_an_engine_uses() {
        let now = Timestamp::parse_ist("2026-11-20 09:00:00").unwrap();
        let seen = |state: State, expires_at| {
            Finding::from(state).against(&Stored { expires_at: Some(expires_at), ..Stored::default() }, now)
        };
        let expired = seen(State::Live, now);
        assert_eq!(expired.state, State::Expired);
        assert!(expired.why.unwrap().contains("ended at 2026-11-20 09:00:00 IST"));
        assert_eq!(seen(State::Live, now + Duration::from_secs(1)).state, State::Live);
        assert_eq!(seen(State::Dead, now).state, State::Dead);
    }

    #[test]
    fn before_the_brokers_flush_is_over_a_login_is_not_asked_for_yet() {
        let kite = nirantar_brokers::kite::facts(nirantar_brokers::kite::App::Individual).expiry;
        let at = |time: &str| Timestamp::parse_ist(&format!("2026-11-20 {time}")).unwrap();
        assert_eq!(too_early(kite, at("06:30:00")).map(|time| time.to_string()), Some("07:45:00".to_owned()));
        assert_eq!(too_early(kite, at("07:45:00")), None);
        assert_eq!(too_early(Expiry::Ttl(Duration::from_secs(60)), at("06:30:00")), None);
    }
}
