//! What stands beside the accounts and outside the file: variables, `[server]`, `[alerts]`.

use super::*;

/// An account at FYERS with these variables in the environment.
fn with_variables(lines: &str, variables: &[(&'static str, &'static str)]) -> Result<Account, ConfigError> {
    let mut outside = furnished();
    outside.variables.extend(variables.iter().copied());
    let text = with(lines).replace("kite", "fyers");
    Config::read(&text, Path::new("nirantar.toml"), &outside).map(|mut config| config.accounts.remove(0))
}

#[test]
fn a_sandbox_is_paper_and_never_another_address() {
    for (lines, sandbox, paper) in [
        ("", "true", true),
        ("venue = \"live\"", "1", true),
        ("", "Yes", true),
        ("", "off", false),
        ("", " ", false),
        ("venue = \"paper\"", "false", true),
    ] {
        let account = with_variables(lines, &[("FYERS_SANDBOX", sandbox)]).unwrap();
        assert_eq!(account.paper_only, paper, "{lines} {sandbox}");
        assert_eq!(account.rest_url.as_str(), "https://api-t1.fyers.in");
    }
    let shown = with_variables("", &[("FYERS_SANDBOX", "ture")]).unwrap_err().to_string();
    assert!(
        shown.contains(": FYERS_SANDBOX: this environment variable does not hold true or false")
            && !shown.contains("ture"),
        "{shown}"
    );
}

#[test]
fn the_pin_and_the_redirect_may_stand_in_the_environment_and_the_pin_never_prints() {
    let variables = [("FYERS_PIN", "hunter2"), ("FYERS_REDIRECT_URI", "http://127.0.0.1:5000/callback")];
    let account = with_variables("", &variables).unwrap();
    assert_eq!(account.credentials.pin, Some(Secret::new("hunter2")));
    assert_eq!(account.redirect_url.as_deref(), Some("http://127.0.0.1:5000/callback"));
    assert!(!format!("{account:?}").contains("hunter2"));
    let account = with_variables("redirect_url = \"https://example.in/fyers\"", &variables).unwrap();
    assert_eq!(account.redirect_url.as_deref(), Some("https://example.in/fyers"), "the file goes first");
    let shown = with_variables("", &[("FYERS_REDIRECT_URI", "http://hunter2.in/")]).unwrap_err().to_string();
    assert!(shown.contains(": FYERS_REDIRECT_URI: ") && !shown.contains("hunter2"), "{shown}");
}

/// A good account, and `tail` after it, with these variables in the environment.
fn beside(tail: &str, variables: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    let mut outside = furnished();
    outside.variables.extend(variables.iter().copied());
    Config::read(&format!("{}{tail}", with("")), Path::new("nirantar.toml"), &outside)
}

#[test]
fn the_server_stays_on_this_machine_unless_it_is_told_otherwise_and_has_a_secret() {
    const SECRET: (&str, &str) = ("NIRANTAR_SERVER_SECRET", "hunter2-hunter2-hunter2");
    let server = beside("[server]\n", &[]).unwrap().server.unwrap();
    assert_eq!(server, ServerSettings::default());

    let open =
        "[server]\nlisten = \"0.0.0.0:5000\"\nbeyond_loopback = true\npublic_url = \"https://trade.example.in/\"\n";
    let path = ("NIRANTAR_NOTIFIER_PATH", "hunter2_hunter2_hunter2");
    let config = beside(open, &[SECRET, path]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let server = config.server.unwrap();
    assert_eq!((server.listen.to_string().as_str(), server.beyond_loopback), ("0.0.0.0:5000", true));
    assert_eq!(server.public_url.as_deref(), Some("https://trade.example.in"));
    assert!(server.secret.is_some() && server.notifier.is_some());

    for (tail, variables, key, said) in [
        ("[server]\nlisten = \"0.0.0.0:5000\"\n", &[SECRET][..], "listen", "beyond_loopback = true"),
        (open, &[], "NIRANTAR_SERVER_SECRET", "not set"),
        (open, &[("NIRANTAR_SERVER_SECRET", "hunter2")], "NIRANTAR_SERVER_SECRET", "at least 16"),
        (open, &[("NIRANTAR_SERVER_SECRET", "hunter2 hunter2 hunter2")], "NIRANTAR_SERVER_SECRET", "at least 16"),
        ("[server]\nlisten = \"5000\"\n", &[], "listen", "127.0.0.1:5000"),
        ("[server]\npublic_url = \"http://trade.example.in\"\n", &[], "public_url", "https://"),
        ("[server]\nsecret = \"hunter2\"\n", &[], "secret", "NIRANTAR_SERVER_SECRET"),
        ("[server]\nnotifier_path = \"hunter2\"\n", &[], "notifier_path", "NIRANTAR_NOTIFIER_PATH"),
        ("[server]\nlistn = \"127.0.0.1:1\"\n", &[], "listn", "did you mean `listen`?"),
    ] {
        let shown = beside(tail, variables).unwrap_err().to_string();
        assert!(shown.contains(&format!(": {key}: ")) && shown.contains(said), "{tail}: {shown}");
        assert!(!shown.contains("hunter2") && !shown.contains('\n'), "{shown}");
    }
}

#[test]
fn alerts_take_their_secrets_from_the_environment_alone() {
    const TOKEN: (&str, &str) = ("NIRANTAR_TELEGRAM_TOKEN", "123456:hunter2");
    let chat = "[alerts]\ntelegram_chat = \"-100123\"\n";
    let webhook = ("NIRANTAR_WEBHOOK_URL", "https://example.in/hunter2");
    let config = beside(chat, &[TOKEN, webhook]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let telegram = config.alerts.telegram.unwrap();
    assert_eq!((telegram.url.as_str(), telegram.chat.as_str()), ("https://api.telegram.org", "-100123"));
    assert!(config.alerts.webhook.is_some());
    let local = format!("{chat}telegram_url = \"http://127.0.0.1:9\"\n");
    assert_eq!(beside(&local, &[TOKEN]).unwrap().alerts.telegram.unwrap().url, "http://127.0.0.1:9");

    for (tail, variables, key, said) in [
        (chat, &[][..], "NIRANTAR_TELEGRAM_TOKEN", "not set"),
        (chat, &[("NIRANTAR_TELEGRAM_TOKEN", "1/hunter2")], "NIRANTAR_TELEGRAM_TOKEN", "@BotFather"),
        ("", &[("NIRANTAR_WEBHOOK_URL", "http://hunter2.in")], "NIRANTAR_WEBHOOK_URL", "https://"),
        ("[alerts]\ntelegram_chat = \"a b\"\n", &[], "telegram_chat", "the chat's id"),
        ("[alerts]\ntelegram_chat = 1\n", &[], "telegram_chat", "in quotes"),
        ("[alerts]\ntelegram_url = \"https://x/bothunter2\"\n", &[], "telegram_url", "host and port only"),
        ("[alerts]\ntelegram_token = \"hunter2\"\n", &[], "telegram_token", "NIRANTAR_TELEGRAM_TOKEN"),
        ("[alerts]\nwebhook_url = \"hunter2\"\n", &[], "webhook_url", "NIRANTAR_WEBHOOK_URL"),
        ("[[alerts]]\n", &[], "alerts", "a [alerts] table"),
    ] {
        let shown = beside(tail, variables).unwrap_err().to_string();
        assert!(shown.contains(&format!(": {key}: ")) && shown.contains(said), "{tail}: {shown}");
        assert!(!shown.contains("hunter2") && !shown.contains('\n'), "{shown}");
    }
}
