//! Judging: from what was found to words. Pure; the same facts always give the same checks, in the same order.

mod orders;
mod session;

use std::path::Path;

use super::facts::{AccountFacts, AlertFacts, Facts, Port, Reach, ServerFacts, Spilt, StoreFacts};
use crate::config::{Account, ConfigError, Problem, SHORTEST_SECRET, is_loopback};
use crate::engine::TOLERATED_OFFSET;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be, or as good as can be known.
    Ok,
    /// It works, or will not for long.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    /// Its name in output.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// Of what: `main: token`.
    pub(super) about: String,
    pub(super) level: Level,
    /// What was found and what it means.
    pub(super) words: String,
    /// How to mend it, where there is something to mend.
    pub(super) mend: Option<String>,
}

impl Check {
    fn ok(about: impl Into<String>, words: impl Into<String>) -> Self {
        Self { about: about.into(), level: Level::Ok, words: words.into(), mend: None }
    }

    fn warn(about: impl Into<String>, words: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about: about.into(), level: Level::Warn, words: words.into(), mend: Some(mend.into()) }
    }

    fn fail(about: impl Into<String>, words: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about: about.into(), level: Level::Fail, words: words.into(), mend: Some(mend.into()) }
    }
}

/// The configuration could be read.
pub(super) fn configuration(file: &Path, accounts: &[Account]) -> Check {
    let names: Vec<String> =
        accounts.iter().map(|account| format!("{} ({})", account.name, account.broker.as_str())).collect();
    Check::ok("configuration", format!("{} can be used: {}", file.display(), names.join(", ")))
}

/// It could not: nothing else can be looked at.
pub(super) fn no_configuration(error: &ConfigError) -> Check {
    let mend = match &error.problem {
        Problem::Unreadable(_) => {
            "write one with `nirantar init --guide NAME`, or say where it is with --config FILE".to_owned()
        }
        Problem::CredentialMissing { store, .. } => {
            let key = error.key.as_deref().unwrap_or("the key");
            format!("write {key}=... into {}, or set the environment variable {key}", store.display())
        }
        Problem::Store { .. } => {
            "mend that line of the store: nothing overwrites a file that makes no sense".to_owned()
        }
        Problem::VariableMissing { .. } | Problem::VariableInvalid { .. } => {
            let key = error.key.as_deref().unwrap_or("the variable");
            format!("set {key} in the environment nirantar is started from; never in a file that is committed")
        }
        Problem::NoAccounts => "write one with `nirantar init --guide NAME --force`".to_owned(),
        _ => "change that line; nirantar.toml.example explains every key".to_owned(),
    };
    Check::fail("configuration", error.to_string(), mend)
}

/// Every finding, accounts first, in their order.
pub(super) fn all(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for account in &facts.accounts {
        checks.extend(account.warnings.iter().map(|warning| {
            Check::warn(about(account, "configuration"), warning.clone(), "see the words; nothing else has to be done")
        }));
        checks.extend(account.stores.iter().enumerate().flat_map(|(index, store)| stores(account, index == 0, store)));
        checks.extend(hosts(account));
        checks.extend(account.orders.as_ref().into_iter().flat_map(|of| orders::all(account, of)));
        checks.extend(session::all(account, facts.server.as_ref(), facts.now));
    }
    checks.push(server(facts.server.as_ref()));
    checks.extend(facts.server.as_ref().and_then(open_server));
    checks.push(alerts(facts.alerts));
    checks.extend(facts.spilt.iter().map(spilt));
    checks
}

fn about(account: &AccountFacts, what: &str) -> String {
    format!("{}: {what}", account.name)
}

fn stores(account: &AccountFacts, first: bool, store: &StoreFacts) -> Vec<Check> {
    let name = about(account, "store");
    let place = &store.place;
    if store.environment {
        return vec![Check::ok(name, "the environment: read once, at the start")];
    }
    let mut checks = Vec::new();
    if let Some(why) = &store.unreadable {
        checks.push(Check::fail(
            name.clone(),
            format!("the token cannot be read: {why}"),
            "mend the file or its permissions",
        ));
    } else if let Some(why) = &store.unwritable {
        let words = format!("a new token cannot be kept: {why}; it would be used, and be gone at the next start");
        checks.push(Check::fail(name.clone(), words, "let the user who runs nirantar write there, or move `store`"));
    } else if store.in_place {
        let words =
            format!("{place} can be overwritten but not replaced: a crash during a write could leave half of it");
        checks.push(Check::warn(
            name.clone(),
            words,
            "let nirantar write in the file's folder (a mounted single file does not)",
        ));
    } else if store.exists {
        checks.push(Check::ok(name.clone(), format!("{place} can be read and written")));
    } else if first {
        checks.push(Check::ok(name.clone(), format!("{place} is not there yet: the first login makes it")));
    }
    let backup = store.backup.as_ref();
    let files = [Some((place, store.mode, "trades")), backup.map(|file| (&file.place, file.mode, "may buy new ones"))];
    for (place, mode, does) in files.into_iter().flatten() {
        if let Some(mode) = mode.filter(|mode| mode & 0o077 != 0) {
            let words =
                format!("{place} can be read by others on this machine (mode {mode:04o}), and the token in it {does}");
            checks.push(Check::warn(about(account, "file mode"), words, format!("chmod 600 {place}")));
        }
    }
    if store.foreign {
        let words = format!("{place} belongs to another user than the one who runs this");
        checks.push(Check::warn(
            about(account, "file owner"),
            words,
            format!("chown $(id -un) {place}, or run as that user"),
        ));
    }
    if store.in_git {
        let words =
            format!("{place} stands in a git work tree that does not ignore it: the next `git add .` publishes it");
        checks.push(Check::warn(
            about(account, "git"),
            words,
            format!("add {} to .gitignore; if it was committed, change the secrets", ignored(place)),
        ));
    } else if let Some(backup) = backup.filter(|backup| backup.in_git) {
        let words = format!(
            "git ignores {place}, but not {}, where the refresh token before is kept: the next `git add .` publishes it",
            backup.place
        );
        let mend = format!("add {} to .gitignore; if it was committed, log in again", ignored(place));
        checks.push(Check::warn(about(account, "git"), words, mend));
    }
    checks
}

/// What a `.gitignore` must say of a store and of the hidden files beside it.
fn ignored(place: &str) -> String {
    let name = Path::new(place).file_name().unwrap_or_default().to_string_lossy();
    match name.strip_prefix('.') {
        Some(hidden) => format!(".{}*", hidden.trim_start_matches('.')),
        None => format!("{name} and .{name}*"),
    }
}

fn hosts(account: &AccountFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut asked: Vec<&str> = Vec::new();
    for (what, reach, cost) in [
        ("REST", &account.rest, "no order passes, and nothing is known of the token"),
        ("feed", &account.feed, "no live prices"),
        ("login page", &account.login, "nobody can log in"),
    ] {
        // At some brokers two of them are one host.
        if asked.contains(&reach.url.as_str()) {
            continue;
        }
        asked.push(&reach.url);
        checks.push(match &reach.answer {
            Ok(_) => Check::ok(about(account, what), format!("{} answers", reach.url)),
            Err(why) => Check::fail(
                about(account, what),
                format!("{} does not answer: {why}; {cost}", reach.url),
                "check the network, DNS and the firewall; a new login would not help",
            ),
        });
    }
    checks.extend(clock(account, &account.rest));
    checks
}

fn clock(account: &AccountFacts, reach: &Reach) -> Option<Check> {
    let name = about(account, "clock");
    let ahead = *reach.answer.as_ref().ok()?;
    Some(match ahead {
        None => Check::ok(name, format!("{} does not say what time it is", reach.url)),
        Some(ms) if u128::from(ms.unsigned_abs()) <= TOLERATED_OFFSET.as_millis() => {
            Check::ok(name, format!("agrees with the broker's to {} s", TOLERATED_OFFSET.as_secs()))
        }
        Some(ms) => {
            let (seconds, which) = (ms.unsigned_abs() / 1_000, if ms > 0 { "ahead of" } else { "behind" });
            let words = format!("this machine's clock is {seconds} s {which} the broker's");
            if account.loopback {
                // A simulator may play another day: its clock is right for it.
                let words = format!("{words}, which is a simulator on this machine and keeps its own time");
                return Some(Check::warn(
                    name,
                    words,
                    "for a rehearsal nothing; `nirantar exchange --wall-clock` keeps real time",
                ));
            }
            let words = format!("{words}: logins and renewals come at the wrong minute");
            Check::fail(name, words, "switch time synchronisation on: timedatectl set-ntp true")
        }
    })
}

fn server(server: Option<&ServerFacts>) -> Check {
    let Some(ServerFacts { settings, port }) = server else {
        let words = "no [server]: there is no login page here, so a login's address has to be pasted into `nirantar token login \
                     --paste -`";
        return Check::ok("server", words);
    };
    let listen = settings.listen;
    let move_it = "end the other program, or let `listen` in [server] name another port (and change the redirect with the broker)";
    match port {
        Port::Free => Check::ok("server", format!("{listen} is free for `nirantar run`")),
        Port::Ours => Check::ok("server", format!("`nirantar run` answers at {listen}")),
        Port::Taken => {
            Check::fail("server", format!("another program listens at {listen}: no login can come back"), move_it)
        }
        Port::Refused(why) => Check::fail("server", format!("{listen} cannot be listened on: {why}"), move_it),
    }
}

/// What is wrong with a server that the world can reach.
fn open_server(server: &ServerFacts) -> Option<Check> {
    let settings = &server.settings;
    let here = |url: &str| url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some_and(is_loopback));
    let public = settings.public_url.as_deref().filter(|url| !here(url));
    if let (Some(url), None) = (public, &settings.secret) {
        let words = format!("it is public at {url}, and has no secret: status and operator routes turn everybody away");
        let mend =
            format!("set NIRANTAR_SERVER_SECRET to {SHORTEST_SECRET} random characters or more: openssl rand -hex 16");
        return Some(Check::warn("server", words, mend));
    }
    if settings.beyond_loopback && public.is_none() {
        let words = "other machines reach it without encryption: a login's code and the secret can be read on the way";
        return Some(Check::warn("server", words, "put an https proxy in front, and say its address as public_url"));
    }
    None
}

fn alerts(alerts: AlertFacts) -> Check {
    if alerts.token_without_chat {
        let words = "NIRANTAR_TELEGRAM_TOKEN is set, but no chat is: nobody is told on the phone";
        return Check::warn("alerts", words, "add [alerts] with telegram_chat = \"...\" to the configuration");
    }
    let sinks: Vec<&str> = [(alerts.telegram, "Telegram"), (alerts.webhook, "a webhook")]
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| *name)
        .collect();
    if sinks.is_empty() {
        return Check::ok("alerts", "only the log says when a login is due: [alerts] would tell your phone");
    }
    Check::ok("alerts", format!("go to the log and to {}", sinks.join(" and ")))
}

fn spilt(spilt: &Spilt) -> Check {
    match spilt {
        Spilt::Configuration { account, what, file, line } => Check::fail(
            format!("{account}: secrets"),
            format!("{what} stands in {}:{line}, the file that people commit", file.display()),
            "take it out, and get a new one: whoever has read it can trade",
        ),
        Spilt::AsConfigured { account, file, open, in_git } => {
            let (name, file) = (format!("{account}: secrets"), file.display());
            match (in_git, open) {
                (true, _) => Check::fail(
                    name,
                    format!("{file} holds the app's secret, and the next `git add .` publishes it"),
                    format!("let {file} be ignored by git, or write the secret into the environment instead"),
                ),
                (false, true) => Check::warn(
                    name,
                    format!("{file} holds the app's secret, and others on this machine can read it"),
                    format!("chmod 600 {file}"),
                ),
                (false, false) => Check::ok(name, format!("{file} holds the app's secret, and only you can read it")),
            }
        }
        Spilt::Command { account, what } => Check::fail(
            format!("{account}: secrets"),
            format!("{what} is an argument of external_command: everybody on the machine sees it in the process list"),
            "let the script read it from the store or the environment, and get a new one",
        ),
        Spilt::TwoValues { account, name, place } => Check::warn(
            format!("{account}: secrets"),
            format!("{name} is in the environment and, with another value, in {place}: the environment's is used"),
            format!("take one away: unset {name}, or remove its line from {place}"),
        ),
    }
}

#[cfg(test)]
mod tests;
