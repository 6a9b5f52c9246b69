use proptest::prelude::*;

use nirantar_brokers::time::Timestamp;

use super::*;

fn format() -> EnvFormat {
    EnvFormat::new("ZERODHA")
}

fn token(token: &str) -> Change {
    Change { access_token: Some(AccessToken::new(token)), ..Change::default() }
}

fn flaw(text: &str) -> (usize, Option<String>, &'static str) {
    match format().parse(text) {
        Err(Flaw::Malformed { line, key, expected }) => (line, key, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_owned_key_is_read_in_every_spelling() {
    let text = "\u{feff}# Kite\r\nexport ZERODHA_API_KEY=abc\r\n\r\n  ZERODHA_API_SECRET = 'it#s' # comment\r\n\
        ZERODHA_ACCESS_TOKEN=\"a\\\"b\\\\c\"\nZERODHA_REFRESH_TOKEN=r#1 # note\nZERODHA_USER_ID=AB1234\n\
        ZERODHA_TOKEN_EXPIRES_AT=2026-04-02 06:00:00\nPEM=\"one\ntwo=2\n\"\nFYERS_ACCESS_TOKEN=other";
    let stored = format().parse(text).unwrap();
    assert_eq!(stored.api_key.as_deref(), Some("abc"));
    assert_eq!(stored.api_secret, Some(Secret::new("it#s")));
    assert_eq!(stored.access_token, Some(AccessToken::new("a\"b\\c")));
    assert_eq!(stored.refresh_token, Some(Secret::new("r#1")));
    assert_eq!(stored.user_id.as_deref(), Some("AB1234"));
    assert_eq!(stored.expires_at, Timestamp::parse_ist("2026-04-02 06:00:00"));
}

#[test]
fn a_missing_and_an_empty_token_are_none() {
    for text in ["", "ZERODHA_ACCESS_TOKEN=", "ZERODHA_ACCESS_TOKEN=  # soon\n", "ZERODHA_ACCESS_TOKEN=''", "A=1\n"] {
        assert_eq!(format().parse(text).unwrap(), Stored::default(), "{text:?}");
    }
}

#[test]
fn an_expiry_may_be_rfc_3339() {
    let stored = format().parse("ZERODHA_TOKEN_EXPIRES_AT=2026-04-02T00:30:00Z").unwrap();
    assert_eq!(stored.expires_at, Timestamp::parse_ist("2026-04-02 06:00:00"));
}

#[test]
fn each_flaw_names_its_line_and_only_an_owned_key() {
    let key = |name: &str| Some(format!("ZERODHA_{name}"));
    assert_eq!(flaw("A=1\nZERODHA_USER_ID=a\nZERODHA_USER_ID=b"), (3, key("USER_ID"), "the key only once in the file"));
    assert_eq!(flaw("A='1\n2'\nZERODHA_ACCESS_TOKEN='x"), (3, key("ACCESS_TOKEN"), "a closing quote"));
    assert_eq!(flaw("ZERODHA_ACCESS_TOKEN='x\ny'"), (1, key("ACCESS_TOKEN"), "a closing quote on the same line"));
    assert_eq!(flaw("ZERODHA_API_KEY='x' y"), (1, key("API_KEY"), "nothing but a comment after the closing quote"));
    assert_eq!(flaw("\n\npasted-token"), (3, None, "`KEY=value`, a comment or a blank line"));
    assert_eq!(flaw("pasted token=="), (1, None, "a key of one word before `=`"));
    assert_eq!(flaw("pasted='token"), (1, None, "a closing quote"));
    assert_eq!(flaw("ZERODHA_TOKEN_EXPIRES_AT=soon"), (1, key("TOKEN_EXPIRES_AT"), expiry::EXPECTED));
}

#[test]
fn a_guides_other_names_are_read_where_the_main_one_is_absent_or_empty() {
    let fyers = |text: &str| EnvFormat::new("FYERS").parse(text).unwrap();
    let stored = fyers(
        "FYERS_APP_ID=ABCDEFGHIJ-100\nFYERS_SECRET_KEY=s\nFYERS_PIN=1234\nFYERS_ID=XA12345\nFYERS_API_SECRET=\n\
         FYERS_REDIRECT_URI=http://127.0.0.1:8080/callback\nFYERS_SANDBOX=Yes\n",
    );
    assert_eq!((stored.api_key.as_deref(), stored.user_id.as_deref()), (Some("ABCDEFGHIJ-100"), Some("XA12345")));
    assert_eq!((stored.api_secret, stored.pin), (Some(Secret::new("s")), Some(Secret::new("1234"))));
    assert_eq!(stored.redirect_uri.as_deref(), Some("http://127.0.0.1:8080/callback"));
    assert!(stored.sandbox);
    assert_eq!(fyers("FYERS_SECRET_ID=other\nFYERS_API_SECRET=main").api_secret, Some(Secret::new("main")));

    let upstox = "UPSTOX_CLIENT_ID=k\nUPSTOX_CLIENT_SECRET=s\nUPSTOX_REDIRECT_URI=http://127.0.0.1/\n";
    let stored = EnvFormat::new("UPSTOX").parse(upstox).unwrap();
    assert_eq!((stored.api_key.as_deref(), stored.api_secret), (Some("k"), Some(Secret::new("s"))));
    assert!(!stored.sandbox);
    assert_eq!(
        format().parse("ZERODHA_CLIENT_ID=AB1234").unwrap(),
        Stored::default(),
        "no name of that broker's guides"
    );
}

#[test]
fn a_client_id_of_fyers_is_the_apps_unless_it_looks_like_a_persons() {
    let fyers = |text: &str| {
        let stored = EnvFormat::new("FYERS").parse(text).unwrap();
        (stored.api_key, stored.user_id)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(fyers("FYERS_CLIENT_ID=ABCDEFGHIJ-100"), (some("ABCDEFGHIJ-100"), None));
    assert_eq!(fyers("FYERS_CLIENT_ID=L9NY305RTW"), (some("L9NY305RTW"), None), "without its suffix");
    assert_eq!(fyers("FYERS_CLIENT_ID=XA12345\nFYERS_APP_ID=A-100"), (some("A-100"), some("XA12345")));
    assert_eq!(fyers("FYERS_CLIENT_ID=XA12345"), (None, some("XA12345")));
    assert_eq!(fyers("FYERS_CLIENT_ID=A-100\nFYERS_USER_ID=XA1"), (some("A-100"), some("XA1")));
}

#[test]
fn a_sandbox_word_that_nobody_knows_is_a_flaw_and_never_live() {
    for (word, sandbox) in [("", false), ("false", false), ("0", false), ("OFF", false), ("no", false), ("on", true)] {
        assert_eq!(format().parse(&format!("ZERODHA_SANDBOX={word}")).unwrap().sandbox, sandbox, "{word}");
    }
    assert_eq!(flaw("\nZERODHA_SANDBOX=ture"), (2, Some("ZERODHA_SANDBOX".to_owned()), "true or false"));
}

#[test]
fn only_the_value_changes_and_it_keeps_its_quotes() {
    for (before, after) in [
        ("ZERODHA_ACCESS_TOKEN=old", "ZERODHA_ACCESS_TOKEN=new"),
        (
            "  export ZERODHA_ACCESS_TOKEN =  old  # today\r\nA=1",
            "  export ZERODHA_ACCESS_TOKEN =  new  # today\r\nA=1",
        ),
        ("ZERODHA_ACCESS_TOKEN='old'\n", "ZERODHA_ACCESS_TOKEN='new'\n"),
        ("ZERODHA_ACCESS_TOKEN=\"old\"", "ZERODHA_ACCESS_TOKEN=\"new\""),
        ("ZERODHA_ACCESS_TOKEN= # paste here\n", "ZERODHA_ACCESS_TOKEN=new # paste here\n"),
        ("ZERODHA_ACCESS_TOKEN=", "ZERODHA_ACCESS_TOKEN=new"),
        ("", "ZERODHA_ACCESS_TOKEN=new\n"),
        ("A=1\r\nB=2\r\n", "A=1\r\nB=2\r\nZERODHA_ACCESS_TOKEN=new\r\n"),
        ("A=1", "A=1\nZERODHA_ACCESS_TOKEN=new"),
        ("ZERODHA_ACCESS_TOKEN='new'", "ZERODHA_ACCESS_TOKEN='new'"),
    ] {
        assert_eq!(format().apply(before, &token("new")).unwrap(), after);
    }
}

#[test]
fn an_expiry_is_written_in_the_spelling_it_had() {
    let change = Change { expires_at: Timestamp::parse_ist("2026-04-03 06:00:00"), ..Change::default() };
    for (before, after) in [
        ("ZERODHA_TOKEN_EXPIRES_AT=\"2026-04-02 06:00:00\"", "ZERODHA_TOKEN_EXPIRES_AT=\"2026-04-03 06:00:00\""),
        ("ZERODHA_TOKEN_EXPIRES_AT=2026-04-02T00:30:00Z", "ZERODHA_TOKEN_EXPIRES_AT=2026-04-03T06:00:00+05:30"),
        ("", "ZERODHA_TOKEN_EXPIRES_AT='2026-04-03 06:00:00'\n"),
    ] {
        assert_eq!(format().apply(before, &change).unwrap(), after);
        assert_eq!(format().parse(after).unwrap().expires_at, change.expires_at);
    }
}

#[test]
fn a_token_no_line_can_hold_is_refused_by_name() {
    let refused = format().apply("", &token("a\nB=c")).unwrap_err();
    assert_eq!(refused, Flaw::Unfit { key: "ZERODHA_ACCESS_TOKEN".into(), reason: "it holds a control character" });
    let refused = format().apply("", &token(" ")).unwrap_err();
    assert_eq!(refused, Flaw::Unfit { key: "ZERODHA_ACCESS_TOKEN".into(), reason: "it is blank" });
}

/// One line of the format that is not ours, with its line end.
fn foreign_line() -> impl Strategy<Value = String> {
    let value = prop_oneof!["[a-z0-9:/._-]{0,8}", "'[ -&(-~]{0,8}'", "\"[ !#-\\[\\]-~]{0,8}\"", "'a\nb=\"'"];
    let line = prop_oneof![
        "[ \t]{0,2}#[ -~]{0,12}",
        "[ \t]{0,3}",
        ("(export )?[A-Y][A-Z0-9_]{0,6} ?= ?", value, "( # [ -~]{0,6})?")
            .prop_map(|(key, value, end)| key + &value + &end),
    ];
    (line, prop_oneof!["\n", "\r\n"]).prop_map(|(line, end)| line + &end)
}

fn any_token() -> impl Strategy<Value = String> {
    "[ -~\u{a1}-\u{ff}]{1,24}".prop_filter("a blank token is refused", |token| !token.trim().is_empty())
}

proptest! {
    #[test]
    fn any_token_is_read_back_and_unowned_bytes_never_change(
        head in proptest::collection::vec(foreign_line(), 0..6).prop_map(|lines| lines.concat()),
        tail in proptest::collection::vec(foreign_line(), 0..6).prop_map(|lines| lines.concat()),
        spelling in prop_oneof![
            Just(None),
            Just(Some(("export ZERODHA_ACCESS_TOKEN=", "old", ""))),
            Just(Some(("ZERODHA_ACCESS_TOKEN = ", "'o l d'", " # why\r"))),
            Just(Some(("ZERODHA_ACCESS_TOKEN=", "\"o\\\"ld\"", "  "))),
            Just(Some(("ZERODHA_ACCESS_TOKEN=", "", " # empty"))),
        ],
        final_end in any::<bool>(),
        new in any_token(),
    ) {
        let own = spelling.map_or_else(String::new, |(key, value, end)| format!("{key}{value}{end}\n"));
        let mut before = format!("{head}{own}{tail}");
        if !final_end && before.ends_with('\n') {
            before.pop();
        }
        let after = format().apply(&before, &token(&new)).unwrap();
        prop_assert_eq!(format().parse(&after).unwrap().access_token, Some(AccessToken::new(new.clone())));
        match spelling {
            None => prop_assert!(after.starts_with(&before)),
            Some((key, value, _)) => {
                let (kept_head, kept_tail) = (head.len() + key.len(), head.len() + key.len() + value.len());
                prop_assert_eq!(&after[..kept_head], &before[..kept_head]);
                prop_assert!(after.ends_with(&before[kept_tail..]));
            }
        }
        prop_assert_eq!(format().apply(&after, &token(&new)).unwrap(), after, "writing twice changes nothing");
    }

    #[test]
    fn any_text_is_read_without_panic_and_a_flaw_never_shows_it(
        text in "([A-Z_=#'\"\\\\ \n\r\t]|ZERODHA_ACCESS_TOKEN=|sentinel|\u{e9}){0,24}"
    ) {
        if let Err(flaw) = format().parse(&text) {
            let shown = format!("{flaw:?}");
            prop_assert!(!shown.contains("sentinel"));
        }
        let _ = format().apply(&text, &token("x"));
    }
}
