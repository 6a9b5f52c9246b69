//! The words for what a real machine cannot be made to show in a test: offsets, ends of refresh tokens, other users' files.

use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Fingerprint, TokenLife, fyers};

use super::super::facts::{BackupFacts, OrderFacts, TokenFacts};
use super::*;
use crate::cli::orders::story::Counts;
use crate::cli::token::probe::{Standing, State};
use crate::config::{BrokerName, ServerSettings};

fn now() -> Timestamp {
    Timestamp::parse_ist("2026-11-20 10:00:00").unwrap()
}

fn reach(ahead: i64) -> Reach {
    Reach { url: "https://api-t1.fyers.in".to_owned(), answer: Ok(Some(ahead)) }
}

/// An account with nothing wrong.
fn well() -> AccountFacts {
    AccountFacts {
        name: "main".to_owned(),
        broker: BrokerName::Fyers,
        declared: fyers::facts(fyers::App::RefreshGrant),
        prefix: "FYERS".to_owned(),
        warnings: Vec::new(),
        stores: vec![StoreFacts {
            place: ".env".to_owned(),
            environment: false,
            exists: true,
            unreadable: None,
            unwritable: None,
            in_place: false,
            mode: Some(0o600),
            foreign: false,
            in_git: false,
            backup: Some(BackupFacts { place: ".env.refresh.previous".to_owned(), mode: Some(0o600), in_git: false }),
        }],
        loopback: false,
        rest: reach(200),
        feed: Reach { url: "wss://socket.fyers.in".to_owned(), answer: Ok(None) },
        login: reach(200),
        token: Some(TokenFacts { is_jwt: true, fits_header: true, has_junk: false, life: TokenLife::default() }),
        standing: Standing {
            account: "main".to_owned(),
            broker: "fyers",
            state: State::Live,
            token: Some(Fingerprint::of("hunter2")),
            user_id: "XA00001".to_owned(),
            expires_at: Timestamp::parse_ist("2026-11-21 06:00:00"),
            missing: Vec::new(),
            why: None,
            next: "log in at the link".to_owned(),
            login_url: None,
        },
        refresh: Some(TokenLife { issued_at: None, expires_at: Some(now() + Duration::from_secs(864_000)) }),
        refresh_works: true,
        redirect_url: Some("http://127.0.0.1:5000/api/fyers/callback".to_owned()),
        has_secret: true,
        has_pin: true,
        approval: false,
        command: None,
        paper_only: false,
        orders: Some(OrderFacts {
            journal: "nirantar-main.journal.db".to_owned(),
            held: Ok(Some(Counts { known: 3, ..Counts::default() })),
            unwritable: None,
            halted: None,
            halt_unwritable: None,
            bounded: true,
        }),
    }
}

fn judged(account: AccountFacts) -> Vec<Check> {
    let server = ServerFacts { settings: ServerSettings::default(), port: Port::Free };
    let facts = Facts {
        now: now(),
        accounts: vec![account],
        server: Some(server),
        alerts: AlertFacts::default(),
        spilt: Vec::new(),
    };
    all(&facts)
}

#[test]
fn what_is_well_is_ok_throughout() {
    let checks = judged(well());
    assert!(checks.iter().all(|check| check.level == Level::Ok && check.mend.is_none()), "{checks:#?}");
    let abouts: Vec<&str> = checks.iter().map(|check| check.about.as_str()).collect();
    for about in [
        "main: store",
        "main: journal",
        "main: risk",
        "main: REST",
        "main: feed",
        "main: clock",
        "main: token",
        "main: IP and plan",
        "server",
    ] {
        assert!(abouts.contains(&about), "{about}");
    }
}

fn of(account: &mut AccountFacts) -> &mut OrderFacts {
    account.orders.as_mut().unwrap()
}

#[test]
fn an_account_without_bounds_or_a_journal_is_told_so_and_nothing_is_wrong() {
    let mut account = well();
    (of(&mut account).bounded, of(&mut account).held) = (false, Ok(None));
    let checks = judged(account);
    assert!(checks.iter().all(|check| check.level == Level::Ok), "{checks:#?}");
    let words = |about: &str| &checks.iter().find(|check| check.about == about).unwrap().words;
    assert!(words("main: risk").contains("[account.risk]"), "{checks:#?}");
    assert!(words("main: journal").contains("not there yet"), "{checks:#?}");
}

/// Something to break in an account.
type Break = fn(&mut AccountFacts);

#[test]
fn each_thing_that_is_broken_is_the_one_thing_that_is_named() {
    let cases: [(Break, &str, Level, &str); 27] = [
        (|a| of(a).held = Err("made by a newer nirantar".to_owned()), "journal", Level::Fail, "made by a newer"),
        (|a| of(a).unwritable = Some("read-only".to_owned()), "journal", Level::Fail, "none leaves: read-only"),
        (
            |a| of(a).held = Ok(Some(Counts { unresolved: 2, ..Counts::default() })),
            "journal",
            Level::Warn,
            "2 unresolved",
        ),
        (|a| of(a).halted = Some("halted since noon".to_owned()), "halt", Level::Warn, "halted since noon"),
        (|a| of(a).halt_unwritable = Some("read-only".to_owned()), "halt", Level::Warn, "cannot write its file"),
        (|a| a.rest = reach(5_001), "clock", Level::Fail, "5 s ahead of the broker's"),
        (|a| a.rest = reach(-61_000), "clock", Level::Fail, "61 s behind the broker's"),
        (|a| (a.rest, a.loopback) = (reach(86_400_000), true), "clock", Level::Warn, "a simulator on this machine"),
        (|a| a.stores[0].mode = Some(0o644), "file mode", Level::Warn, "mode 0644"),
        (|a| a.stores[0].foreign = true, "file owner", Level::Warn, "another user"),
        (|a| a.stores[0].in_git = true, "git", Level::Warn, "publishes it"),
        (
            |a| a.stores[0].backup.as_mut().unwrap().mode = Some(0o640),
            "file mode",
            Level::Warn,
            ".env.refresh.previous can be read by others on this machine (mode 0640)",
        ),
        (
            |a| a.stores[0].backup.as_mut().unwrap().in_git = true,
            "git",
            Level::Warn,
            "git ignores .env, but not .env.refresh.previous",
        ),
        (|a| a.stores[0].in_place = true, "store", Level::Warn, "not replaced"),
        (|a| a.stores[0].unwritable = Some("read-only".to_owned()), "store", Level::Fail, "gone at the next start"),
        (|a| a.feed.answer = Err("refused".to_owned()), "feed", Level::Fail, "does not answer: refused"),
        (|a| a.has_pin = false, "refresh token", Level::Fail, "wants the PIN"),
        (|a| a.refresh = None, "refresh token", Level::Warn, "there is none"),
        (
            |a| a.refresh = Some(TokenLife { issued_at: None, expires_at: Some(now() + Duration::from_secs(86_400)) }),
            "refresh token",
            Level::Warn,
            "it ends at 2026-11-21",
        ),
        (
            |a| a.refresh = Some(TokenLife { issued_at: None, expires_at: Some(now()) }),
            "refresh token",
            Level::Fail,
            "only a login helps",
        ),
        (|a| a.redirect_url = None, "login", Level::Fail, "no redirect_url"),
        (
            |a| a.redirect_url = Some("http://127.0.0.1:8000/callback".to_owned()),
            "login",
            Level::Warn,
            "listens at 127.0.0.1:5000",
        ),
        (|a| a.redirect_url = Some("http://127.0.0.1:5000/done".to_owned()), "login", Level::Warn, "no page at /done"),
        (|a| a.approval = true, "approval", Level::Fail, "NIRANTAR_NOTIFIER_PATH"),
        (
            |a| a.command = Some(("./x.sh".into(), Some("no such file".to_owned()))),
            "external command",
            Level::Fail,
            "no such file",
        ),
        (|a| a.token = a.token.map(|token| TokenFacts { has_junk: true, ..token }), "token", Level::Fail, "no token"),
        (
            |a| (a.standing.state, a.standing.why) = (State::Expired, Some("the store is believed".to_owned())),
            "token",
            Level::Fail,
            "not used: the store is believed",
        ),
    ];
    for (breaks, about, level, said) in cases {
        let mut account = well();
        breaks(&mut account);
        let wrong: Vec<Check> = judged(account).into_iter().filter(|check| check.level != Level::Ok).collect();
        assert_eq!(wrong.len(), 1, "{about}: {wrong:#?}");
        assert_eq!((wrong[0].about.as_str(), wrong[0].level), (format!("main: {about}").as_str(), level), "{wrong:#?}");
        assert!(wrong[0].words.contains(said), "`{said}` is not in: {}", wrong[0].words);
        assert!(wrong[0].mend.is_some());
    }
}

#[test]
fn what_is_to_be_ignored_covers_the_files_beside_the_store() {
    assert_eq!(ignored("conf/.env"), ".env*");
    assert_eq!(ignored("data/upstox_tokens.json"), "upstox_tokens.json and .upstox_tokens.json*");
}

#[test]
fn a_refusal_that_is_no_death_never_sends_anybody_to_log_in() {
    for state in [State::Refused, State::Unreachable] {
        let mut account = well();
        account.standing.state = state;
        let checks = judged(account);
        let token = checks.iter().find(|check| check.about == "main: token").unwrap();
        assert_eq!(token.level, Level::Fail);
        let mend = token.mend.as_deref().unwrap();
        assert!(mend.contains("login changes nothing") || mend.contains("do not log in again"), "{mend}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_a_failure_with_the_place() {
    let file = Path::new("nirantar.toml").to_owned();
    let check = spilt(&Spilt::Configuration { account: "main".to_owned(), what: "the access token", file, line: 7 });
    assert_eq!(check.level, Level::Fail);
    assert!(check.words.contains("the access token stands in nirantar.toml:7"), "{}", check.words);
}

#[test]
fn a_configuration_that_holds_the_apps_secret_is_kept_as_one() {
    let level = |open, in_git| {
        let file = Path::new("nirantar.toml").to_owned();
        spilt(&Spilt::AsConfigured { account: "main".to_owned(), file, open, in_git }).level
    };
    assert_eq!(level(false, false), Level::Ok);
    assert_eq!(level(true, false), Level::Warn);
    assert_eq!(level(false, true), Level::Fail);
}

#[test]
fn a_server_for_the_world_wants_a_secret_and_encryption() {
    let open = |public: Option<&str>| ServerFacts {
        settings: ServerSettings {
            public_url: public.map(str::to_owned),
            beyond_loopback: true,
            ..ServerSettings::default()
        },
        port: Port::Free,
    };
    assert!(open_server(&open(Some("https://trade.example.in"))).unwrap().words.contains("no secret"));
    assert!(open_server(&open(None)).unwrap().words.contains("without encryption"));
    // An address that only looks like this machine's is one of the world's.
    assert!(open_server(&open(Some("https://127.example.in"))).unwrap().words.contains("no secret"));
    for here in ["http://[::1]:5000", "http://127.0.0.1:5000", "http://LOCALHOST"] {
        assert!(open_server(&open(Some(here))).unwrap().words.contains("without encryption"), "{here}");
    }
    assert_eq!(open_server(&ServerFacts { settings: ServerSettings::default(), port: Port::Free }), None);
}
