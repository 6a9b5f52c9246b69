//! Where tokens are kept and where credentials come from.

use super::*;

#[test]
fn two_accounts_on_one_store_key_are_refused_however_the_store_is_spelt() {
    let text = |store: &str, prefix: &str| {
        format!(
            "{}[[account]]\nname = \"b\"\nbroker = \"kite\"\nstore = \"{store}\"\nkey_prefix = \"{prefix}\"\n",
            with("")
        )
    };
    let mut outside = furnished();
    outside.links.insert("conf/link", "conf/.env");
    let read = |store: &str, prefix: &str| {
        Config::read(&text(store, prefix), Path::new("conf/nirantar.toml"), &outside)
            .map(|config| config.accounts.len())
    };
    let error = read("link", "ZERODHA").unwrap_err();
    assert_eq!((error.line, error.key.as_deref()), (Some(5), Some("store")));
    assert!(matches!(error.problem, Problem::StoreShared { .. }), "{error}");
    assert_eq!(read("link", "SECOND"), Ok(2), "another prefix is another key");
    assert_eq!(read("other.env", "ZERODHA"), Ok(2), "another store is another key");
}

#[test]
fn a_json_file_holds_one_account_and_the_environment_one_a_prefix() {
    let read = |store: &str, prefix: &str| {
        let text = format!(
            "{}[[account]]\nname = \"b\"\nbroker = \"kite\"\nstore = {store}\nkey_prefix = \"{prefix}\"\n",
            with("store = [\".env\", \"tokens.json\", \"secrets.toml\", \"environment\"]")
        );
        read(&text).map(|config| config.accounts.len())
    };
    for store in ["\"tokens.json\"", "[\"other.env\", \"tokens.json\"]"] {
        assert!(matches!(read(store, "SECOND").unwrap_err().problem, Problem::StoreShared { .. }), "{store}");
    }
    for store in ["\"secrets.toml\"", "\"environment\"", "[\"other.env\", \"environment\"]"] {
        assert!(matches!(read(store, "ZERODHA").unwrap_err().problem, Problem::StoreShared { .. }), "{store}");
        assert_eq!(read(store, "SECOND"), Ok(2), "{store}");
    }
}

#[test]
fn stores_are_one_or_a_list_and_credentials_come_from_the_first_that_has_them() {
    let mut outside = Fake::default();
    let stored = |user_id: Option<&str>, api_key: Option<&str>| {
        Ok(Stored { user_id: user_id.map(str::to_owned), api_key: api_key.map(str::to_owned), ..Stored::default() })
    };
    outside.by_name.insert("conf/data/tokens.json", stored(None, Some("json")));
    outside.by_name.insert("conf/secrets.toml", stored(Some("TOML"), Some("toml")));
    let text = with("store = [\"data/tokens.json\", \"secrets.toml\", \"environment\"]");
    let account = Config::read(&text, Path::new("conf/nirantar.toml"), &outside).unwrap().accounts.remove(0);
    assert_eq!((account.credentials.api_key.as_str(), account.credentials.user_id.as_str()), ("json", "TOML"));
    assert_eq!(account.store, Path::new("conf/data/tokens.json"));
    let kinds: Vec<StoreKind> = account.stores.iter().map(StorePlace::kind).collect();
    assert_eq!(kinds, [StoreKind::Tokens, StoreKind::Toml, StoreKind::Environment]);
    assert!(account.warnings[0].contains("must restart nirantar, or use a file"), "{:?}", account.warnings);

    let broken = || Err(StoreError::Unreadable { path: "secrets.toml".into(), reason: "permission denied".to_owned() });
    outside.by_name.insert("conf/data/tokens.json", stored(Some("AB1234"), Some("json")));
    outside.by_name.insert("conf/secrets.toml", broken());
    let account = Config::read(&text, Path::new("conf/nirantar.toml"), &outside).unwrap().accounts.remove(0);
    assert!(account.warnings[0].contains("secrets.toml: cannot be read: permission denied"), "{:?}", account.warnings);
    outside.by_name.insert("conf/data/tokens.json", broken());
    let error = Config::read(&text, Path::new("conf/nirantar.toml"), &outside).unwrap_err();
    assert!(matches!(error.problem, Problem::Store { .. }), "the first must be good: {error}");
}

#[test]
fn the_kite_guides_traps_are_said() {
    let config = Stored {
        user_id: Some("AB1234".to_owned()),
        api_key: Some("key".to_owned()),
        base_url: Some("https://kite.zerodha.com/".to_owned()),
        burst_size: Some(20),
        ..Stored::default()
    };
    let mut outside = Fake { stored: config.clone(), ..Fake::default() };
    let read = |outside: &Fake| {
        let text = with("store = \"broker-config.json\"");
        Config::read(&text, Path::new("nirantar.toml"), outside).unwrap().accounts.remove(0)
    };
    let account = read(&outside);
    assert_eq!(account.warnings.len(), 3, "{:?}", account.warnings);
    for (warning, words) in account.warnings.iter().zip([
        "impossible until ZERODHA_API_SECRET is set",
        "requests go to https://api.kite.trade",
        "burst_size 20 is above the broker's 10 orders a second: 10 is kept to",
    ]) {
        assert!(warning.starts_with("broker-config.json: ") && warning.contains(words), "{warning}");
    }
    outside.variables.insert("ZERODHA_API_SECRET", "hunter2");
    outside.stored = Stored { burst_size: Some(10), base_url: Some("https://api.kite.trade".to_owned()), ..config };
    let account = read(&outside);
    assert_eq!(account.warnings, Vec::<String>::new());
    assert_eq!(account.credentials.api_secret, Some(Secret::new("hunter2")));
    outside.stored.base_url = Some("https://user:hunter2@elsewhere".to_owned());
    let shown = read(&outside).warnings.join(" ");
    assert!(shown.contains("base_url is not used") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn paper_is_believed_wherever_it_is_said_and_a_word_nobody_knows_is_refused() {
    let mut outside = furnished();
    let read = |outside: &Fake| Config::read(&with(""), Path::new("nirantar.toml"), outside);
    assert!(!read(&outside).unwrap().accounts[0].credentials.sandbox);
    outside.variables.insert("ZERODHA_SANDBOX", "true");
    assert!(read(&outside).unwrap().accounts[0].credentials.sandbox);
    outside.variables.insert("ZERODHA_SANDBOX", "ture");
    let shown = read(&outside).unwrap_err().to_string();
    assert_eq!(shown, "nirantar.toml:1: ZERODHA_SANDBOX: this environment variable does not hold true or false");
    outside.variables.insert("ZERODHA_SANDBOX", "false");
    outside.stored.sandbox = true;
    assert!(read(&outside).unwrap().accounts[0].credentials.sandbox);
}

#[test]
fn a_missing_credential_names_its_key_and_both_places() {
    let text = with("store = \"keys.env\"\nkey_prefix = \"MINE\"");
    for (app, missing) in [("individual", "USER_ID"), ("individual", "API_KEY"), ("approved", "API_SECRET")] {
        let mut outside = furnished();
        match missing {
            "USER_ID" => outside.stored.user_id = None,
            "API_KEY" => outside.stored.api_key = None,
            _ => outside.stored.api_secret = None,
        }
        // An empty variable is what an unset one looks like in many a shell script.
        outside.variables.insert("MINE_API_KEY", " ");
        let text = format!("{text}app = \"{app}\"\n");
        let shown = Config::read(&text, Path::new("nirantar.toml"), &outside).unwrap_err().to_string();
        assert_eq!(
            shown,
            format!(
                "nirantar.toml:1: MINE_{missing}: the account `main` needs it: not in the store keys.env and not in the \
                 environment variable of that name"
            )
        );
    }
}

#[test]
fn a_broken_store_is_named_with_its_own_line() {
    let reason = StoreError::Unreadable { path: PathBuf::from(".env"), reason: "permission denied".to_owned() };
    let outside = Fake { broken: Some(reason), ..furnished() };
    let shown = Config::read(&with(""), Path::new("nirantar.toml"), &outside).unwrap_err().to_string();
    assert_eq!(
        shown,
        "nirantar.toml:1: store: the account `main` cannot use its store: .env: cannot be read: permission denied"
    );
}

#[test]
fn credentials_come_from_a_real_store_and_a_flaw_in_it_is_placed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nirantar.toml");
    let store = folder.path().join(".env");
    // A prefix that no machine has in its environment.
    std::fs::write(&file, with("key_prefix = \"NIRANTAR_CONFIG_TEST\"")).unwrap();
    let shown = Config::load(&file).unwrap_err().to_string();
    assert!(shown.contains(": NIRANTAR_CONFIG_TEST_API_KEY: ") && shown.contains(".env"), "no store yet: {shown}");

    std::fs::write(
        &store,
        "NIRANTAR_CONFIG_TEST_API_KEY=key\nNIRANTAR_CONFIG_TEST_API_SECRET='hunter2'\nNIRANTAR_CONFIG_TEST_USER_ID=AB1234\n",
    )
    .unwrap();
    let credentials = Config::load(&file).unwrap().accounts.remove(0).credentials;
    assert_eq!((credentials.api_key.as_str(), credentials.user_id.as_str()), ("key", "AB1234"));
    assert_eq!(credentials.api_secret, Some(Secret::new("hunter2")));

    std::fs::write(&store, "# keys\nNIRANTAR_CONFIG_TEST_API_SECRET='hunter2\n").unwrap();
    let shown = Config::load(&file).unwrap_err().to_string();
    assert!(shown.contains(&format!("{}:2: NIRANTAR_CONFIG_TEST_API_SECRET: ", store.display())), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains('\n'), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_link_to_the_same_store_is_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nirantar.toml");
    std::fs::write(folder.path().join(".env"), "").unwrap();
    std::os::unix::fs::symlink(".env", folder.path().join("link")).unwrap();
    let second = "[[account]]\nname = \"b\"\nbroker = \"kite\"\nstore = \"link\"\n";
    std::fs::write(&file, with("") + second).unwrap();
    let error = Config::load(&file).unwrap_err();
    assert!(matches!(error.problem, Problem::StoreShared { line: 1, .. }), "{error}");
}

#[test]
fn the_environment_goes_before_the_store_and_the_file_before_both_for_the_user() {
    let mut outside = furnished();
    outside.variables.insert("ZERODHA_API_KEY", "variable-key");
    outside.variables.insert("ZERODHA_API_SECRET", "variable-secret");
    outside.variables.insert("ZERODHA_USER_ID", "VARIABLE");
    let read = |line: &str| {
        Config::read(&with(line), Path::new("nirantar.toml"), &outside).unwrap().accounts.remove(0).credentials
    };
    let credentials = read("");
    assert_eq!(credentials.api_key, "variable-key");
    assert_eq!(credentials.api_secret, Some(Secret::new("variable-secret")));
    assert_eq!(credentials.user_id, "VARIABLE");
    assert_eq!(read("user_id = \"FILE\"").user_id, "FILE");
}

#[test]
fn an_individual_may_do_without_the_secret() {
    let mut outside = furnished();
    outside.stored.api_secret = None;
    let config = Config::read(&with(""), Path::new("nirantar.toml"), &outside).unwrap();
    assert_eq!(config.accounts[0].credentials.api_secret, None);
}
