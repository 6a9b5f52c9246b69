//! Looking: the only part of the doctor that touches files, hosts and the environment. It judges nothing.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::{Clock as _, SystemClock, Timestamp};
use nirantar_brokers::{Renewal, Secret, jwt};

use super::facts::{
    AccountFacts, AlertFacts, BackupFacts, Facts, OrderFacts, Port, Reach, ServerFacts, Spilt, StoreFacts, TokenFacts,
};
use crate::cli::orders::story::{self, Counts};
use crate::cli::token::{probe, running};
use crate::config::{Account, Config, ServerSettings};
use crate::engine::Setup;
use crate::engine::halting;
use crate::orders::{Record, RiskLimits, read_records};
use crate::token::LiveToken;
use crate::token::store::{Store, StoreError, Stored, Trial, backup_of, folder_of, follow, owner, plain, trial};

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(7);
/// Shorter values are looked for nowhere: a PIN of four digits is found in every file.
const SHORTEST_SECRET: usize = 8;

/// Looks at everything the configuration names.
pub(super) async fn at(config: &Config) -> Facts {
    let clock = SystemClock::start();
    let now = clock.now().wall;
    let standings = probe::all(&config.accounts, now).await;
    let mut accounts = Vec::with_capacity(config.accounts.len());
    let mut spilt = Vec::new();
    let text = fs::read_to_string(&config.file).unwrap_or_default();
    for (account, standing) in config.accounts.iter().zip(standings) {
        let setup = Setup::from(account);
        let stores: Vec<Arc<dyn Store>> =
            std::iter::once(&setup.store).chain(&setup.fallback_stores).map(Arc::clone).collect();
        let stored = probe::read_first(&stores).unwrap_or_default();
        spilt.extend(spills(config, &text, account, &stored));
        spilt.extend(two_values(account, &stored));
        let feed_url = account.feed_url.as_str().replacen("ws", "http", 1);
        let (rest, feed, login) = tokio::join!(
            reach(&clock, account.rest_url.as_str()),
            reach(&clock, &feed_url),
            reach(&clock, account.login_url.as_str()),
        );
        let life = |secret: &Secret| setup.broker.life(secret);
        let refresh_works = setup.policy.automatic.contains(&Renewal::RefreshGrant);
        accounts.push(AccountFacts {
            name: account.name.clone(),
            broker: account.broker,
            declared: setup.broker.facts().clone(),
            prefix: account.key_prefix.clone(),
            warnings: account.warnings.clone(),
            stores: stores.iter().map(|store| store_facts(store.as_ref(), refresh_works)).collect(),
            loopback: account.loopback,
            rest,
            feed: Reach { url: account.feed_url.to_string(), ..feed },
            login,
            token: stored.access_token.as_ref().map(|token| TokenFacts {
                is_jwt: jwt::payload(token.expose()).is_some(),
                fits_header: LiveToken::new(token.clone(), &setup.broker.authorization(token)).is_ok(),
                has_junk: token.expose().contains(|c: char| c.is_whitespace() || c == '"' || c == '\''),
                life: life(token.secret()),
            }),
            standing,
            refresh: stored.refresh_token.as_ref().map(life),
            refresh_works,
            redirect_url: account.redirect_url.clone(),
            has_secret: account.credentials.api_secret.is_some(),
            has_pin: account.credentials.pin.is_some(),
            approval: account.approval,
            command: account
                .external_command
                .as_ref()
                .map(|command| (command.program.clone(), not_runnable(&command.program))),
            paper_only: account.paper_only,
            orders: setup.broker.trading().is_some().then(|| order_facts(account, now)),
        });
    }
    let server = match &config.server {
        Some(settings) => Some(ServerFacts { settings: settings.clone(), port: port(settings).await }),
        None => None,
    };
    let telegram = config.alerts.telegram.is_some();
    let alerts = AlertFacts {
        telegram,
        webhook: config.alerts.webhook.is_some(),
        token_without_chat: !telegram
            && std::env::var_os("NIRANTAR_TELEGRAM_TOKEN").is_some_and(|token| !token.is_empty()),
    };
    Facts { now, accounts, server, alerts, spilt }
}

/// Reads the journal without its lock, and tries the folders: nothing that stays is changed.
fn order_facts(account: &Account, now: Timestamp) -> OrderFacts {
    let journal = &account.journal;
    let held = match journal.try_exists() {
        Ok(false) => Ok(None),
        Ok(true) | Err(_) => {
            let today = now.to_ist().date();
            let counts = |records: Vec<Record>| Counts::after_restart(&story::stories(&records), today);
            read_records(journal).map(|records| Some(counts(records))).map_err(|error| error.to_string())
        }
    };
    let Trial { unwritable, in_place, .. } = trial(journal);
    let folder = folder_of(journal).display();
    // SQLite keeps files of its own beside it.
    let beside = in_place.then(|| format!("{folder}: no file can be made beside it"));
    OrderFacts {
        journal: journal.display().to_string(),
        held,
        unwritable: unwritable.or(beside),
        halted: halting::read(&account.halt_file).map(|halt| halt.words),
        halt_unwritable: trial(&account.halt_file).unwritable,
        bounded: account.risk != RiskLimits::default(),
    }
}

/// Asks a host for its root, without any secret, and compares clocks.
async fn reach(clock: &SystemClock, url: &str) -> Reach {
    let answer = async {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| words(&error))?;
        let before = clock.now().wall;
        let response = client.get(url).send().await.map_err(|error| words(&error))?;
        let after = clock.now().wall;
        let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| ahead(before, after, date)))
    };
    Reach { url: url.to_owned(), answer: answer.await }
}

/// By how many milliseconds a clock that read `before` and `after` a call is ahead of the one that wrote `date` into its
/// answer. The header has whole seconds: half of one is added.
fn ahead(before: Timestamp, after: Timestamp, date: &str) -> Option<i64> {
    let theirs = chrono::DateTime::parse_from_rfc2822(date).ok()?.timestamp_millis().checked_add(500)?;
    let ours = (before + after.since(before) / 2).as_nanos().div_euclid(1_000_000);
    ours.checked_sub(theirs)
}

fn words(error: &reqwest::Error) -> String {
    let mut words = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        words = error.to_string();
        cause = error.source();
    }
    if error.is_timeout() { format!("no answer within {} s", PATIENCE.as_secs()) } else { words }
}

/// `rotates`: whether this account's refresh tokens are replaced by new ones.
fn store_facts(store: &dyn Store, rotates: bool) -> StoreFacts {
    let path = store.path();
    let environment = store.is_read_only();
    let (exists, unreadable) = match store.read() {
        Ok(_) => (true, None),
        Err(StoreError::NotFound { .. }) => (false, None),
        Err(error) => (true, Some(error.to_string())),
    };
    let blank = StoreFacts {
        place: path.display().to_string(),
        environment,
        exists,
        unreadable,
        unwritable: None,
        in_place: false,
        mode: None,
        foreign: false,
        in_git: false,
        backup: None,
    };
    if environment {
        return blank;
    }
    let Trial { unwritable, in_place, owner: me } = trial(path);
    StoreFacts {
        unwritable,
        in_place,
        mode: exists.then(|| mode(path)).flatten(),
        foreign: exists && me.zip(owner(path)).is_some_and(|(me, owner)| me != owner),
        in_git: would_be_published(path),
        backup: backup(path, rotates),
        ..blank
    }
}

/// The refresh token before the one in use, beside the store; `None` where there is none and none will come.
fn backup(store: &Path, rotates: bool) -> Option<BackupFacts> {
    let path = backup_of(&follow(store).ok()?.real);
    let exists = path.exists();
    (exists || rotates).then(|| BackupFacts {
        place: path.display().to_string(),
        mode: exists.then(|| mode(&path)).flatten(),
        in_git: would_be_published(&path),
    })
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).ok().map(|data| data.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

/// Whether the file stands in a git work tree that does not ignore it. Where git is not there, or says nothing: no.
fn would_be_published(path: &Path) -> bool {
    let (folder, Some(name)) = (folder_of(path), path.file_name()) else { return false };
    let ignored = std::process::Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["check-ignore", "--quiet", "--"])
        .arg(name)
        .stdin(std::process::Stdio::null())
        .output();
    // 0: ignored. 1: not. Anything else: no work tree, or none that git trusts.
    ignored.is_ok_and(|ended| ended.status.code() == Some(1))
}

/// Why a program cannot be run; `None` if it can, or if nobody can know before it is.
fn not_runnable(program: &Path) -> Option<String> {
    if program.components().count() < 2 {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&folders).any(|folder: PathBuf| folder.join(program).is_file());
        return (!found).then(|| "there is no such program in the PATH".to_owned());
    }
    match fs::metadata(program) {
        Err(error) => Some(plain(&error)),
        Ok(data) if data.is_dir() => Some("it is a folder".to_owned()),
        Ok(_) if mode(program).is_some_and(|mode| mode & 0o111 == 0) => Some("it may not be executed".to_owned()),
        Ok(_) => None,
    }
}

/// The account's secrets, by what they are.
fn secrets(account: &Account, stored: &Stored) -> Vec<(&'static str, Secret)> {
    let credentials = &account.credentials;
    let known = [
        ("the app's secret", credentials.api_secret.clone()),
        ("the access token", stored.access_token.as_ref().map(|token| token.secret().clone())),
        ("the refresh token", stored.refresh_token.clone()),
        ("the PIN", credentials.pin.clone()),
    ];
    let long = |secret: &Secret| secret.expose().chars().count() >= SHORTEST_SECRET;
    known.into_iter().filter_map(|(what, secret)| Some((what, secret.filter(long)?))).collect()
}

fn spills(config: &Config, text: &str, account: &Account, stored: &Stored) -> Vec<Spilt> {
    let mut spilt = Vec::new();
    for (what, secret) in secrets(account, stored) {
        let name = &account.name;
        let command = account.external_command.as_ref();
        if command.is_some_and(|command| command.arguments.iter().any(|word| word.contains(secret.expose()))) {
            spilt.push(Spilt::Command { account: name.clone(), what });
            continue;
        }
        let file = config.file.clone();
        let found = text.lines().enumerate().find(|(_, line)| line.contains(secret.expose()));
        match found {
            Some((_, line)) if line.trim_start().starts_with("api_secret") => {
                let (open, in_git) = (mode(&file).is_some_and(|mode| mode & 0o077 != 0), would_be_published(&file));
                spilt.push(Spilt::AsConfigured { account: name.clone(), file, open, in_git });
            }
            Some((index, _)) => {
                spilt.push(Spilt::Configuration { account: name.clone(), what, file, line: index + 1 });
            }
            None => {}
        }
    }
    spilt
}

/// Keys that stand in the environment and, otherwise, in the store: people mend the one that is not used.
fn two_values(account: &Account, stored: &Stored) -> Vec<Spilt> {
    let pairs = [
        ("API_KEY", stored.api_key.clone().map(Secret::new)),
        ("API_SECRET", stored.api_secret.clone()),
        ("PIN", stored.pin.clone()),
    ];
    let differing = |(suffix, stored): (&str, Option<Secret>)| {
        let name = format!("{}_{suffix}", account.key_prefix);
        let variable = std::env::var(&name).ok().filter(|value| !value.trim().is_empty())?;
        (stored?.expose() != variable).then(|| Spilt::TwoValues {
            account: account.name.clone(),
            name,
            place: account.store.display().to_string(),
        })
    };
    pairs.into_iter().filter_map(differing).collect()
}

/// What is on the server's port.
async fn port(settings: &ServerSettings) -> Port {
    match TcpListener::bind(settings.listen) {
        Ok(_) => Port::Free,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => match running::ask(settings).await {
            running::Running::Says(_) => Port::Ours,
            running::Running::Silent(_) => Port::Taken,
        },
        Err(error) => Port::Refused(plain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_across_the_time_a_call_takes() {
        let at = |text: &str| Timestamp::parse_ist(text).unwrap();
        let date = "Fri, 20 Nov 2026 04:30:00 GMT";
        let (before, after) = (at("2026-11-20 10:00:00"), at("2026-11-20 10:00:01"));
        assert_eq!(ahead(before, after, date), Some(0));
        assert_eq!(ahead(before + Duration::from_secs(90), after + Duration::from_secs(90), date), Some(90_000));
        assert_eq!(ahead(before - Duration::from_secs(7), after - Duration::from_secs(7), date), Some(-7_000));
        assert_eq!(ahead(before, after, "yesterday"), None);
    }

    #[test]
    fn a_program_is_looked_for_where_the_system_would() {
        assert_eq!(not_runnable(Path::new("sh")), None);
        assert!(not_runnable(Path::new("no-such-program-anywhere")).unwrap().contains("PATH"));
        assert!(not_runnable(Path::new("./no/such/program")).is_some());
        assert!(not_runnable(Path::new("/tmp/.")).unwrap().contains("folder"));
    }
}
