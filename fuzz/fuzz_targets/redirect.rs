//! A login's redirect: any query is fields, read as a plain decoder of percents reads them (the second implementation), and
//! is written and read as the same; whatever it says, a broker finds a code in it or says why not, and never an empty one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::kite::{self, Kite};
use nirantar_brokers::{Auth, Form, Secret, fyers, upstox};

/// `+` and `%xx` of one name or value.
fn plain(encoded: &[u8]) -> String {
    let (mut bytes, mut rest) = (Vec::new(), encoded);
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let hex = hex.filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (byte, _) => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the fields are, in order.
fn fields(query: &[u8]) -> Vec<(String, String)> {
    let parts = query.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            let mut half = || plain(halves.next().unwrap_or_default());
            (half(), half())
        })
        .collect()
}

fuzz_target!(|bytes: &[u8]| {
    let form = Form::parse(bytes);
    let expected = fields(bytes);
    assert!(form.names().eq(expected.iter().map(|(name, _)| name)), "other names: {expected:?}");
    for (name, _) in &expected {
        let values = expected.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        assert!(form.all(name).eq(values), "other values of {name}");
    }
    let again = Form::parse(form.encode().as_bytes());
    assert!(again.names().eq(form.names()) && form.names().all(|name| again.all(name).eq(form.all(name))));

    let secret = || Some(Secret::new("secret"));
    let uri = "http://127.0.0.1:5000/callback";
    let kite = Kite::new(kite::App::Approved, "key", secret());
    let fyers = fyers::Fyers::new(fyers::App::RefreshGrant, "ABCDE12345-100", secret(), secret(), uri);
    let upstox = upstox::Upstox::new(upstox::App::Guide, "key", secret(), uri);
    for broker in [&kite as &dyn Auth, &fyers, &upstox] {
        match broker.code(&form) {
            Ok(code) => assert!(!code.is_empty(), "an empty code"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(kite.read_notice(bytes).is_err(), "Kite posts no notices");
});
