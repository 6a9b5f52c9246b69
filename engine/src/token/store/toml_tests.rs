use nirantar_brokers::time::Timestamp;
use proptest::prelude::*;

use super::*;

fn format() -> TomlFormat {
    TomlFormat::new("upstox")
}

fn token(token: &str) -> Change {
    Change { access_token: Some(AccessToken::new(token)), ..Change::default() }
}

fn applied(text: &str, change: &Change) -> String {
    let after = format().apply(text, change).unwrap();
    assert_eq!(format().apply(&after, change).unwrap(), after, "writing twice is writing once");
    after
}

#[test]
fn streamlits_file_is_read_and_only_the_value_changes() {
    let text = "# secrets\r\ntitle = \"mine\"\r\n\r\n[db]\r\naccess_token = \"not ours\"\r\n\r\n[ upstox ] # here\r\n\
                api_key = 'key'\r\napi_secret=\"s\"\r\n  access_token = \"old\" # today's\r\n\
                expires_at = 2026-04-02T00:30:00Z\r\nuser_id = \"3ABC\"\r\n";
    let stored = format().parse(text).unwrap();
    assert_eq!(stored.access_token, Some(AccessToken::new("old")));
    assert_eq!(stored.expires_at, Timestamp::parse_ist("2026-04-02 06:00:00"));
    assert_eq!((stored.api_key.as_deref(), stored.user_id.as_deref()), (Some("key"), Some("3ABC")));
    assert_eq!(stored.api_secret, Some(Secret::new("s")));
    assert_eq!(applied(text, &token("new")), text.replace("\"old\"", "\"new\""));
    assert_eq!(TomlFormat::new("zerodha").parse(text).unwrap(), Stored::default());
}

#[test]
fn a_missing_key_or_table_is_added_where_it_belongs() {
    for (before, after) in [
        ("", "[upstox]\naccess_token = \"t\"\n"),
        ("a = 1", "a = 1\n\n[upstox]\naccess_token = \"t\"\n"),
        ("a = 1\r\n", "a = 1\r\n\r\n[upstox]\r\naccess_token = \"t\"\r\n"),
        ("[upstox]", "[upstox]\naccess_token = \"t\""),
        ("[upstox]\n\n[z]\nb = 1\n", "[upstox]\naccess_token = \"t\"\n\n[z]\nb = 1\n"),
        (
            "[upstox]\n  api_key = \"k\" # key\n\n[upstox.more]\nb = 1\n",
            "[upstox]\n  api_key = \"k\" # key\n  access_token = \"t\"\n\n[upstox.more]\nb = 1\n",
        ),
        ("[upstox]\na = '''\nx\n'''\n[z]", "[upstox]\na = '''\nx\n'''\naccess_token = \"t\"\n[z]"),
        ("upstox = {}", "upstox = { access_token = \"t\" }"),
        ("upstox = { api_key = \"k\" }\n", "upstox = { access_token = \"t\", api_key = \"k\" }\n"),
        ("upstox.api_key = \"k\"\nb = 1\n", "upstox.api_key = \"k\"\nupstox.access_token = \"t\"\nb = 1\n"),
        ("[upstox.more]\nb = 1\n", "[upstox.more]\nb = 1\n\n[upstox]\naccess_token = \"t\"\n"),
    ] {
        assert_eq!(format().apply(before, &token("t")).as_deref(), Ok(after), "{before:?}");
    }
}

#[test]
fn a_value_keeps_its_quotes_where_they_can_hold_it() {
    for (before, new, after) in [
        ("[upstox]\naccess_token='old'", "new", "[upstox]\naccess_token='new'"),
        ("[upstox]\naccess_token='old'", "n'ew", "[upstox]\naccess_token=\"n'ew\""),
        ("[upstox]\naccess_token=\"\"\"old\n\"\"\"\n", "n\"e\\w", "[upstox]\naccess_token=\"n\\\"e\\\\w\"\n"),
        ("[upstox]\naccess_token=''", "new", "[upstox]\naccess_token='new'"),
        ("upstox={access_token='''old'''}", "new", "upstox={access_token='new'}"),
    ] {
        assert_eq!(applied(before, &token(new)), after);
    }
}

#[test]
fn an_expiry_keeps_its_kind() {
    let at = Timestamp::parse_ist("2026-04-03 03:30:00");
    for (before, after) in [
        ("1_775_089_800", "1775167200"),
        ("1775089800000", "1775167200000"),
        ("1775089800.5", "1775167200"),
        ("'1775089800'", "'1775167200'"),
        ("2026-04-02T06:00:00+05:30", "2026-04-03T03:30:00+05:30"),
        ("2026-04-02 06:00:00", "2026-04-03 03:30:00"),
        ("\"2026-04-02 06:00:00\"", "\"2026-04-03 03:30:00\""),
        ("\"\"", "\"2026-04-03T03:30:00+05:30\""),
        ("0x10", "\"2026-04-03T03:30:00+05:30\""),
    ] {
        let text = |value: &str| format!("[upstox]\nexpires_at = {value}\n");
        assert_eq!(applied(&text(before), &Change { expires_at: at, ..Change::default() }), text(after));
        assert_eq!(format().parse(&text(after)).unwrap().expires_at, at);
    }
}

#[test]
fn each_flaw_names_its_line_and_never_a_value() {
    let flaw = |text: &str| match format().parse(text) {
        Err(Flaw::Malformed { line, key, expected }) => (line, key, expected),
        other => panic!("{other:?}"),
    };
    let key = |name: &str| Some(name.to_owned());
    assert_eq!(flaw("[upstox]\naccess_token = sentinel"), (2, None, "TOML, each key once"));
    assert_eq!(flaw("[upstox]\naccess_token='1'\naccess_token='2'").0, 3);
    assert_eq!(flaw("[upstox]\naccess_token = 1"), (2, key("access_token"), TEXT));
    assert_eq!(flaw("[upstox]\nexpires_at = true"), (2, key("expires_at"), expiry::EXPECTED));
    assert_eq!(flaw("\n[[upstox]]\n"), (2, key("upstox"), "one table, like [upstox]"));
    let refused = format().apply("", &token("a\u{7f}")).unwrap_err();
    assert_eq!(refused, Flaw::Unfit { key: "access_token".into(), reason: "it holds a control character" });
    let refused = format().apply("", &token("")).unwrap_err();
    assert_eq!(refused, Flaw::Unfit { key: "access_token".into(), reason: "it is blank" });
}

#[test]
fn a_table_that_has_no_place_for_a_key_is_refused_by_name() {
    let refused = format().apply("upstox.more.b = 1\n[upstox.other]\n", &token("t"));
    assert!(matches!(refused, Err(Flaw::Unfit { .. } | Flaw::Malformed { .. })), "{refused:?}");
}

/// A value somebody else has, as it stands in the text.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "\"[ !#-\\[\\]-~\u{e9}\u{1f600}]{0,8}\"",
        "'[ -&(-~]{0,8}'",
        "[1-9][0-9]{0,6}",
        Just("0x_F".replace('_', "")),
        Just("1_000.5e3".to_owned()),
        Just("2026-04-02T06:00:00.5Z".to_owned()),
        Just("\"\"\"\n[upstox]\naccess_token = 'x'\n\"\"\"".to_owned()),
        Just("'''\n# \"\n'''".to_owned()),
        Just("[ 1,\n  2, # two\n]".to_owned()),
        Just("{ access_token = 'inner', b = {} }".to_owned()),
    ]
}

/// Lines somebody else has; the keys of each group differ.
fn foreign(name: &'static str) -> impl Strategy<Value = String> {
    let line = (any::<bool>(), "[ \t]{0,2}", "[ \t]{0,2}", value(), "( # [ -~]{0,6})?");
    (proptest::collection::vec(line, 0..4), prop_oneof!["\n", "\r\n"]).prop_map(move |(lines, end)| {
        let lines = lines.into_iter().enumerate().map(|(index, (comment, one, two, value, tail))| {
            if comment {
                format!("{one}# {two}{end}")
            } else {
                format!("{one}{name}{index}{two}={two}{value}{tail}{end}")
            }
        });
        lines.collect()
    })
}

fn any_token() -> impl Strategy<Value = String> {
    "[ -~\u{a1}-\u{ff}\u{1f600}]{1,24}".prop_filter("a blank token is refused", |token| !token.trim().is_empty())
}

proptest! {
    #[test]
    fn any_token_is_read_back_and_unowned_bytes_never_change(
        root in foreign("r"),
        above in foreign("a"),
        below in foreign("b"),
        header in prop_oneof![Just("[upstox]"), Just(" [ \"upstox\" ] # ours"), Just("['upstox']\t")],
        own in prop_oneof![
            Just(None),
            Just(Some(("access_token = ", "\"old\"", " # why"))),
            Just(Some(("\t\"access_token\"=", "'o l d'", ""))),
            Just(Some(("access_token\t= ", "\"\"\"o\nld\"\"\"", "  "))),
            Just(Some(("access_token = ", "\"\"", " # empty"))),
        ],
        last in prop_oneof![Just(""), Just("[upstox.more]\naccess_token = \"z\"\n"), Just("[[z]]\n[[z]]\n")],
        final_end: bool,
        new in any_token(),
    ) {
        let front = format!("{root}{header}\n{above}");
        let back = format!("\n{below}{last}");
        let mut before = match own {
            Some((key, value, end)) => format!("{front}{key}{value}{end}{back}"),
            None => format!("{front}{below}{last}"),
        };
        if !final_end && before.ends_with('\n') {
            before.pop();
        }
        prop_assume!(format().parse(&before).is_ok());
        let after = format().apply(&before, &token(&new)).unwrap();
        prop_assert_eq!(format().parse(&after).unwrap().access_token, Some(AccessToken::new(new.clone())));
        match own {
            Some((key, value, _)) => {
                let (start, end) = (front.len() + key.len(), front.len() + key.len() + value.len());
                prop_assert_eq!(&after[..start], &before[..start]);
                prop_assert!(after.ends_with(&before[end..]), "{before:?} became {after:?}");
                prop_assert!(after.len() >= start + before.len() - end);
            }
            None => {
                let shared = before.bytes().zip(after.bytes()).take_while(|(one, other)| one == other).count();
                let back = before.bytes().rev().zip(after.bytes().rev()).take_while(|(one, other)| one == other).count();
                prop_assert!(shared + back >= before.len(), "{before:?} became {after:?}");
            }
        }
        prop_assert_eq!(format().apply(&after, &token(&new)).unwrap(), after, "writing twice changes nothing");
    }

    #[test]
    fn every_owned_value_is_read_back_together(
        root in foreign("r"),
        below in foreign("b"),
        access in any_token(),
        refresh in any_token(),
        seconds in 200_000_000_i64..9_000_000_000,
        standing in prop_oneof![
            Just(""), Just("[upstox]\n"), Just("[upstox]\nexpires_at = 1775089800000\n"),
            Just("[upstox]\nrefresh_token = 'r'\nexpires_at = '2026-04-02 06:00:00'\n"),
        ],
    ) {
        let before = format!("{root}{standing}{below}");
        prop_assume!(format().parse(&before).is_ok());
        let change = Change {
            access_token: Some(AccessToken::new(access)),
            refresh_token: Some(Secret::new(refresh)),
            expires_at: Some(Timestamp::from_unix_seconds(seconds)),
        };
        let after = format().apply(&before, &change).unwrap();
        let stored = format().parse(&after).unwrap();
        prop_assert_eq!(stored.access_token, change.access_token.clone());
        prop_assert_eq!(stored.refresh_token, change.refresh_token.clone());
        prop_assert_eq!(stored.expires_at, change.expires_at);
        prop_assert!(after.starts_with(&root));
        for line in below.lines() {
            prop_assert!(after.contains(line), "{line:?} is gone from {after:?}");
        }
    }

    #[test]
    fn any_text_is_read_without_panic_and_a_flaw_never_shows_it(
        text in "([{}\\[\\]=,.\"'# \n\r]|upstox|access_token|expires_at|\\[upstox\\]\n|= '|sentinel|-1|\u{e9}|\u{feff}){0,24}"
    ) {
        match format().parse(&text) {
            Err(Flaw::Malformed { line, key, expected }) => {
                prop_assert!((1..=text.split('\n').count()).contains(&line), "line {line} of {text:?}");
                let shown = format!("{key:?}{expected}");
                    prop_assert!(!shown.contains("sentinel"));
            }
            Err(flaw) => prop_assert!(false, "{flaw:?}"),
            Ok(_) => {
                if let Ok(after) = format().apply(&text, &token("x")) {
                    prop_assert_eq!(format().parse(&after).unwrap().access_token, Some(AccessToken::new("x")));
                }
            }
        }
    }
}
