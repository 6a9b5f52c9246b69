//! What the doctor says of a session: the token, what renews it, and what a login needs.

use std::time::Duration;

use nirantar_brokers::Expiry;
use nirantar_brokers::time::Timestamp;

use super::super::facts::{AccountFacts, ServerFacts, TokenFacts};
use super::{Check, about};
use crate::cli::token::probe::State;
use crate::config::{BrokerName, SHORTEST_SECRET, is_loopback};
use crate::server::CALLBACKS;

/// How long before its end a refresh token is worth a word.
const SOON: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Every finding of one account's session.
pub(super) fn all(account: &AccountFacts, server: Option<&ServerFacts>, now: Timestamp) -> Vec<Check> {
    let mut checks = vec![standing(account, now)];
    checks.extend(account.token.as_ref().and_then(|token| shape(account, token, now)));
    checks.push(place(account));
    checks.extend(refresh(account, now));
    checks.extend(login(account, server));
    checks.extend(approval(account, server));
    checks.extend(command(account));
    if account.paper_only {
        checks.push(Check::ok(about(account, "venue"), "every order goes to paper, whatever the session"));
    }
    checks
}

/// What the broker says of the token.
fn standing(account: &AccountFacts, now: Timestamp) -> Check {
    let name = about(account, "token");
    let standing = &account.standing;
    let why = standing.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    if account.token.is_some_and(|token| !token.fits_header || token.has_junk) {
        return Check::fail(
            name,
            "what stands in the store is no token: there is a space, a line break or a quotation mark in it",
            "copy it again, whole and alone: nirantar token set reads it from its input",
        );
    }
    match standing.state {
        State::Live => {
            let until = standing.expires_at.map(|at| format!(", good until {at} IST")).unwrap_or_default();
            Check::ok(name, format!("live: the broker knows it as {}'s{until}", standing.user_id))
        }
        State::Expired => {
            Check::fail(name, format!("not used{why}: no feed, and no order goes to the broker"), &standing.next)
        }
        State::Missing => Check::warn(
            name,
            format!("there is none yet{why}: no feed, and no order goes to the broker"),
            &standing.next,
        ),
        State::Dead => Check::fail(
            name,
            format!("dead{why}: no feed, and every order is refused{}", at_night(account, now)),
            &standing.next,
        ),
        State::Stranger => Check::fail(
            name,
            format!("it is somebody else's{why}, and this account is {}'s: it is never used", standing.user_id),
            format!("log in as {} in a private window of the browser, or correct user_id", standing.user_id),
        ),
        State::Refused => Check::fail(
            name,
            format!("nothing is known of it, because the broker refuses for another reason{why}"),
            "a new login changes nothing: see the line about IP and plan",
        ),
        State::Unreachable => Check::fail(
            name,
            format!("nothing is known of it, because the broker did not answer{why}"),
            "check the way to the broker first; do not log in again, a new login may end a good token",
        ),
    }
}

/// A token that died in the broker's own nightly hours is no accident.
fn at_night(account: &AccountFacts, now: Timestamp) -> String {
    match account.declared.expiry {
        Expiry::Cutoff { suspect_from, mint_after, .. }
            if now.ist_time() < mint_after && now.ist_time() >= suspect_from =>
        {
            format!("; at this hour that is every day's end: log in from {} IST on", mint_after.format("%H:%M"))
        }
        Expiry::Cutoff { .. } | Expiry::Ttl(_) => String::new(),
    }
}

/// What can be seen of the token itself.
fn shape(account: &AccountFacts, token: &TokenFacts, now: Timestamp) -> Option<Check> {
    let name = about(account, "token shape");
    let jwt_expected = account.broker != BrokerName::Kite;
    let live = matches!(account.standing.state, State::Live | State::Expired);
    if token.is_jwt != jwt_expected && !live {
        let broker = account.declared.name;
        let words = if jwt_expected {
            format!("it does not look like a token of {broker}, which has three parts with dots between them")
        } else {
            format!("it does not look like a token of {broker}, which has no dots: is it another broker's?")
        };
        return Some(Check::warn(
            name,
            words,
            "a code from the address bar, an API key or a secret is no access token: log in",
        ));
    }
    if let Some(at) = token.life.expires_at.filter(|at| *at <= now && !live) {
        return Some(Check::ok(name, format!("it says itself that it ended at {at} IST")));
    }
    None
}

/// The rule about registered addresses, as far as it shows without an order.
fn place(account: &AccountFacts) -> Check {
    let name = about(account, "IP and plan");
    match account.standing.state {
        State::Refused => Check::fail(
            name,
            "the broker refuses a read of the profile for a reason no token mends: a wrong IP, or a missing plan",
            "register this machine's public IP (curl -4 https://ifconfig.me) in the broker's developer console, and look \
             whether the app's plan is paid",
        ),
        State::Live | State::Expired => Check::ok(
            name,
            "nothing speaks against it; whether this machine's IP may trade shows at the first order, since brokers check it there",
        ),
        State::Dead | State::Missing | State::Stranger | State::Unreachable => {
            Check::ok(name, "cannot be known without a good token")
        }
    }
}

/// What buys tomorrow's token.
fn refresh(account: &AccountFacts, now: Timestamp) -> Option<Check> {
    let name = about(account, "refresh token");
    if !account.refresh_works {
        return None;
    }
    let prefix = &account.prefix;
    if !account.has_secret {
        let words = "renewing is impossible without the app's secret";
        return Some(Check::fail(name, words, format!("set {prefix}_API_SECRET in the store or the environment")));
    }
    if account.broker == BrokerName::Fyers && !account.has_pin {
        let words = "FYERS wants the PIN beside it, and there is none: every renewal will be refused";
        return Some(Check::fail(name, words, format!("set {prefix}_PIN in the store or the environment")));
    }
    let Some(life) = account.refresh else {
        let words = "there is none: the token cannot be renewed by itself";
        return Some(Check::warn(name, words, "log in once: the broker gives one where it still does"));
    };
    Some(match life.expires_at {
        Some(at) if at <= now => Check::fail(name, format!("it ended at {at} IST: only a login helps"), "log in once"),
        Some(at) if at <= now + SOON => Check::warn(
            name,
            format!("it ends at {at} IST, and every morning after that wants a login"),
            "log in before then",
        ),
        Some(at) => Check::ok(name, format!("good until {at} IST")),
        None => Check::ok(name, "there is one; when it ends cannot be read from it"),
    })
}

/// What a human's login needs.
fn login(account: &AccountFacts, server: Option<&ServerFacts>) -> Vec<Check> {
    let name = about(account, "login");
    let prefix = &account.prefix;
    let mut checks = Vec::new();
    if !account.has_secret && account.command.is_none() {
        let words =
            "a login cannot be finished here without the app's secret: the token must come from another program";
        checks.push(Check::warn(
            name.clone(),
            words,
            format!("set {prefix}_API_SECRET in the store or the environment"),
        ));
    }
    let wants_redirect = account.broker != BrokerName::Kite;
    let Some(redirect) = &account.redirect_url else {
        if wants_redirect {
            let words = "there is no redirect_url, and the broker's login page wants the registered one";
            let mend = format!(
                "set redirect_url in the configuration (or {prefix}_REDIRECT_URI), letter by letter as registered"
            );
            checks.push(Check::fail(name, words, mend));
        }
        return checks;
    };
    checks.push(match server.map(|server| misses(redirect, server)) {
        None | Some(None) => Check::ok(name, format!("comes back to {redirect}")),
        Some(Some(words)) => Check::warn(
            name,
            words,
            "register the server's own address with the broker and say it as redirect_url, or finish logins with `nirantar \
             token login --paste -`",
        ),
    });
    checks
}

/// Why a browser that is sent to `redirect` does not come to the server.
fn misses(redirect: &str, server: &ServerFacts) -> Option<String> {
    let uri: http::Uri = redirect.parse().ok()?;
    let listen = server.settings.listen;
    let host = uri.host()?;
    let on_loopback = is_loopback(host);
    if on_loopback && uri.port_u16().unwrap_or(80) != listen.port() {
        return Some(format!("a login comes back to {redirect}, and the server listens at {listen}: nobody is there"));
    }
    let public = server.settings.public_url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
    let ours = on_loopback || public.and_then(|public| public.host().map(str::to_owned)).as_deref() == Some(host);
    let path = uri.path();
    // Every account has one of its own as well.
    let known = CALLBACKS.contains(&path) || path.starts_with("/api/auth/callback/");
    (ours && !known).then(|| format!("a login comes back to {redirect}, and the server has no page at {path}"))
}

fn approval(account: &AccountFacts, server: Option<&ServerFacts>) -> Option<Check> {
    if !account.approval {
        return None;
    }
    let name = about(account, "approval");
    let Some(server) = server else {
        let words = "the token of an approval is posted to a notifier, and without [server] there is none";
        return Some(Check::fail(name, words, "add [server] to the configuration"));
    };
    if server.settings.notifier.is_none() {
        let words = "the token of an approval is posted to a notifier, and NIRANTAR_NOTIFIER_PATH is not set";
        let mend = format!(
            "set it to {SHORTEST_SECRET} random characters or more (openssl rand -hex 16), and register \
             https://YOUR-HOST/api/auth/notify/THOSE-CHARACTERS with the broker"
        );
        return Some(Check::fail(name, words, mend));
    }
    Some(Check::ok(name, "asked for on the phone; its token comes to the notifier"))
}

fn command(account: &AccountFacts) -> Option<Check> {
    let (program, problem) = account.command.as_ref()?;
    let name = about(account, "external command");
    let program = program.display();
    Some(match problem {
        None => Check::ok(name, format!("{program} is there")),
        Some(why) => Check::fail(
            name,
            format!("{program} cannot be run: {why}; no token will come of it"),
            "correct external_command, or: chmod +x the script",
        ),
    })
}
