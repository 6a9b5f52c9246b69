use nirantar_brokers::time::Timestamp;
use proptest::prelude::*;

use super::*;

fn token(token: &str) -> Change {
    Change { access_token: Some(AccessToken::new(token)), ..Change::default() }
}

fn applied(format: JsonFormat, text: &str, change: &Change) -> String {
    let after = format.apply(text, change).unwrap();
    assert_eq!(format.apply(&after, change).unwrap(), after, "writing twice is writing once");
    after
}

#[test]
fn the_kite_guides_file_is_read_with_its_token_under_api_secret_and_only_that_changes() {
    let text = "{\r\n    \"api_key\": \"key\",\r\n    \"api_secret\" : \"old\",\r\n    \"refresh_token\": \"\",\r\n    \
                \"client_id\": \"AB1234\",\r\n    \"token_expires_at\": null,\r\n    \
                \"base_url\": \"https://kite.zerodha.com\",\r\n    \
                \"rate_limit\": {\"requests_per_second\": 3.0, \"burst_size\": 20}\r\n}\r\n";
    let format = JsonFormat::broker_config();
    let stored = format.parse(text).unwrap();
    assert_eq!(stored.access_token, Some(AccessToken::new("old")));
    assert_eq!((stored.api_secret, stored.refresh_token, stored.expires_at), (None, None, None));
    assert_eq!((stored.api_key.as_deref(), stored.user_id.as_deref()), (Some("key"), Some("AB1234")));
    assert_eq!((stored.base_url.as_deref(), stored.burst_size), (Some("https://kite.zerodha.com"), Some(20)));
    assert_eq!(applied(format, text, &token("new")), text.replace("\"old\"", "\"new\""));
}

#[test]
fn beside_an_access_token_only_an_api_secret_that_is_the_same_token_changes() {
    let format = JsonFormat::broker_config();
    let text = r#"{"api_secret":"yesterday","access_token":"today"}"#;
    assert_eq!(format.parse(text).unwrap().access_token, Some(AccessToken::new("today")));
    let left_alone = r#"{"api_secret":"yesterday","access_token":"new"}"#;
    assert_eq!(applied(format, text, &token("new")), left_alone, "it may be the app's own secret");
    let twice = r#"{"api_secret":"today","access_token":"today"}"#;
    assert_eq!(applied(format, twice, &token("new")), r#"{"api_secret":"new","access_token":"new"}"#);
    let text = r#"{"api_secret":"yesterday","access_token":""}"#;
    assert_eq!(format.parse(text).unwrap().access_token, Some(AccessToken::new("yesterday")));
    assert_eq!(applied(format, r#"{"access_token":""}"#, &token("new")), r#"{"access_token":"new"}"#);
}

#[test]
fn a_missing_key_is_added_in_the_files_own_style() {
    for (before, after) in [
        ("", "{\n  \"access_token\": \"t\"\n}\n"),
        ("\u{feff}", "\u{feff}{\n  \"access_token\": \"t\"\n}\n"),
        ("{}", "{\"access_token\": \"t\"}"),
        ("{\r\n}\r\n", "{\r\n  \"access_token\": \"t\"\r\n}\r\n"),
        ("{\"a\":1}", "{\"a\":1,\"access_token\":\"t\"}"),
        ("{\"a\": 1}", "{\"a\": 1, \"access_token\": \"t\"}"),
        ("{ \"a\": 1, \"b\": {} }", "{ \"a\": 1, \"b\": {}, \"access_token\": \"t\" }"),
        ("{\n\t\"a\" : [1]\n}", "{\n\t\"a\" : [1],\n\t\"access_token\" : \"t\"\n}"),
        ("\u{feff}{\n  \"a\": 1\n}\n", "\u{feff}{\n  \"a\": 1,\n  \"access_token\": \"t\"\n}\n"),
    ] {
        assert_eq!(applied(JsonFormat::tokens(), before, &token("t")), after);
    }
}

#[test]
fn an_expiry_keeps_its_kind() {
    let format = JsonFormat::tokens();
    let at = Timestamp::parse_ist("2026-04-03 03:30:00");
    for (before, after) in [
        (r#"{"expires_at": 1775089800}"#, r#"{"expires_at": 1775167200}"#),
        (r#"{"expires_at": 1775089800.75}"#, r#"{"expires_at": 1775167200}"#),
        (r#"{"expires_at": "1775089800"}"#, r#"{"expires_at": "1775167200"}"#),
        (r#"{"expires_at": 1775089800000}"#, r#"{"expires_at": 1775167200000}"#),
        (r#"{"expires_at": "2026-04-02T00:30:00Z"}"#, r#"{"expires_at": "2026-04-03T03:30:00+05:30"}"#),
        (r#"{"expires_at": "2026-04-02 06:00:00"}"#, r#"{"expires_at": "2026-04-03 03:30:00"}"#),
        (r#"{"expires_at": "2026-04-02T06:00:00.1"}"#, r#"{"expires_at": "2026-04-03T03:30:00"}"#),
        (r#"{"expires_at": null}"#, r#"{"expires_at": "2026-04-03T03:30:00+05:30"}"#),
        (r#"{"expires_at": "soon"}"#, r#"{"expires_at": "2026-04-03T03:30:00+05:30"}"#),
    ] {
        assert_eq!(applied(format, before, &Change { expires_at: at, ..Change::default() }), after);
        assert_eq!(format.parse(after).unwrap().expires_at, at);
    }
}

#[test]
fn each_flaw_names_its_line_and_never_a_value() {
    let flaw = |text: &str| match JsonFormat::broker_config().parse(text) {
        Err(Flaw::Malformed { line, key, expected }) => (line, key, expected),
        other => panic!("{other:?}"),
    };
    let key = |name: &str| Some(name.to_owned());
    assert_eq!(flaw("[1]"), (1, None, "a JSON object: { … }"));
    assert_eq!(flaw("{\n\"api_secret\": \"sentinel"), (2, None, "JSON"));
    assert_eq!(flaw("{}\n{}"), (2, None, "JSON"));
    assert_eq!(flaw("{\n\"api_key\":1\n}"), (2, key("api_key"), "text in double quotes"));
    assert_eq!(flaw("{\"a\":{\"api_key\":1},\n\"api_secret\":[]}"), (2, key("api_secret"), "text in double quotes"));
    assert_eq!(flaw("{\"expires_at\":\"soon\"}"), (1, key("expires_at"), expiry::EXPECTED));
    let twice = "{\"api_key\":\"a\",\n\"api\\u005fkey\":\"b\"}";
    assert_eq!(flaw(twice), (2, key("api_key"), "the key only once in the object"));
    assert!(JsonFormat::broker_config().apply(twice, &token("t")).is_err());
    let refused = JsonFormat::broker_config().apply("", &token("a\nb")).unwrap_err();
    assert_eq!(refused, Flaw::Unfit { key: "api_secret".into(), reason: "it holds a control character" });
    let refused = JsonFormat::broker_config().apply("", &token(" ")).unwrap_err();
    assert_eq!(refused, Flaw::Unfit { key: "api_secret".into(), reason: "it is blank" });
}

/// Blanks as JSON allows them.
fn blank() -> impl Strategy<Value = String> {
    "[ \t\n\r]{0,2}"
}

/// A value somebody else has, as it stands in the text.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        ".{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"\\u00e9\\/\\ud83d\\ude00\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"access_token\"".to_owned()),
    ];
    let number = prop_oneof!["-?[1-9][0-9]{0,20}", "0\\.[0-9]{1,4}", "1e[0-9]{1,3}", Just("-0".to_owned())];
    let leaf = prop_oneof![text, number, Just("null".to_owned()), Just("true".to_owned())];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let pair = (blank(), prop_oneof!["[a-z]{1,3}", "access_token"], blank(), inner.clone());
        prop_oneof![
            (proptest::collection::vec(inner, 0..3), blank())
                .prop_map(|(items, blank)| format!("[{}]", items.join(&format!(",{blank}")))),
            proptest::collection::vec(pair, 0..3).prop_map(|pairs| {
                let pairs: Vec<_> =
                    pairs.into_iter().map(|(one, key, two, value)| format!("{one}\"{key}\"{two}:{value}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

/// One pair somebody else has, with its blanks. Keys may repeat.
fn foreign() -> impl Strategy<Value = String> {
    (blank(), "x[a-z \u{e9}\u{1f600}]{0,4}", blank(), blank(), value(), blank())
        .prop_map(|(one, key, two, three, value, four)| format!("{one}\"{key}\"{two}:{three}{value}{four}"))
}

fn any_token() -> impl Strategy<Value = String> {
    "[ -~\u{a1}-\u{ff}\u{1f600}]{1,24}".prop_filter("a blank token is refused", |token| !token.trim().is_empty())
}

/// How many bytes two texts share at their beginning and at their end.
fn shared(one: &str, other: &str) -> (usize, usize) {
    let front = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let back = one.bytes().rev().zip(other.bytes().rev()).take_while(|(one, other)| one == other).count();
    (front, back)
}

proptest! {
    #[test]
    fn any_token_is_read_back_and_unowned_bytes_never_change(
        head in proptest::collection::vec(foreign(), 0..4),
        tail in proptest::collection::vec(foreign(), 0..4),
        own in prop_oneof![Just(None), prop_oneof![
            Just("null".to_owned()), any_token().prop_map(|old| serde_json::to_string(&old).unwrap()),
        ].prop_map(Some)],
        around in (blank(), blank(), blank(), blank()),
        new in any_token(),
        broker_config: bool,
    ) {
        let (outside, key_blank, colon, behind) = around;
        let format = if broker_config { JsonFormat::broker_config() } else { JsonFormat::tokens() };
        let name = if broker_config { "api_secret" } else { "access_token" };
        let mut front = format!("{outside}{{");
        for pair in &head {
            front.push_str(pair);
            front.push(',');
        }
        let mut back = String::new();
        for pair in &tail {
            back.push(',');
            back.push_str(pair);
        }
        back.push('}');
        back.push_str(&outside);
        let before = match &own {
            Some(own) => {
                front.push_str(&format!("{key_blank}\"{name}\"{key_blank}:{colon}"));
                back.insert_str(0, &behind);
                format!("{front}{own}{back}")
            }
            None => {
                let pairs: Vec<&str> = head.iter().chain(&tail).map(String::as_str).collect();
                format!("{outside}{{{}}}{outside}", pairs.join(","))
            }
        };
        let after = format.apply(&before, &token(&new)).unwrap();
        prop_assert_eq!(format.parse(&after).unwrap().access_token, Some(AccessToken::new(new.clone())));
        if own.is_some() {
            prop_assert!(after.starts_with(&front), "{before:?} became {after:?}");
            prop_assert!(after.ends_with(&back), "{before:?} became {after:?}");
            prop_assert_eq!(&after[front.len()..after.len() - back.len()], serde_json::to_string(&new).unwrap());
        } else {
            let (start, end) = shared(&before, &after);
            prop_assert!(start + end >= before.len(), "{before:?} became {after:?}");
        }
        prop_assert_eq!(format.apply(&after, &token(&new)).unwrap(), after, "writing twice changes nothing");
    }

    #[test]
    fn every_owned_value_is_read_back_together(
        pairs in proptest::collection::vec(foreign(), 0..4),
        access in any_token(),
        refresh in any_token(),
        seconds in 200_000_000_i64..9_000_000_000,
        standing in prop_oneof![
            Just(""), Just("\"expires_at\": 1775089800000,"), Just("\"refresh_token\": \"r\", \"expires_at\": 1,"),
        ],
    ) {
        let before = format!("{{{standing}\"z\":0{}}}", pairs.iter().map(|pair| format!(",{pair}")).collect::<String>());
        let change = Change {
            access_token: Some(AccessToken::new(access)),
            refresh_token: Some(Secret::new(refresh)),
            expires_at: Some(Timestamp::from_unix_seconds(seconds)),
        };
        let after = JsonFormat::tokens().apply(&before, &change).unwrap();
        let stored = JsonFormat::tokens().parse(&after).unwrap();
        prop_assert_eq!(stored.access_token, change.access_token.clone());
        prop_assert_eq!(stored.refresh_token, change.refresh_token.clone());
        prop_assert_eq!(stored.expires_at, change.expires_at);
        for pair in &pairs {
            prop_assert!(after.contains(pair.trim_end()));
        }
    }

    #[test]
    fn any_text_is_read_without_panic_and_a_flaw_never_shows_it(
        text in "([{}\\[\\],:\" \n\\\\]|\"(access_token|expires_at|api_secret)\":|sentinel|null|-1|\u{e9}|\\\\ud800){0,24}"
    ) {
        for format in [JsonFormat::tokens(), JsonFormat::broker_config()] {
            match format.parse(&text) {
                Err(Flaw::Malformed { line, key, expected }) => {
                    prop_assert!((1..=text.split('\n').count()).contains(&line));
                    let shown = format!("{key:?}{expected}");
                    prop_assert!(!shown.contains("sentinel"));
                }
                Err(flaw) => prop_assert!(false, "{flaw:?}"),
                Ok(_) => {
                    if let Ok(after) = format.apply(&text, &token("x")) {
                        prop_assert_eq!(format.parse(&after).unwrap().access_token, Some(AccessToken::new("x")));
                    }
                }
            }
        }
    }
}
