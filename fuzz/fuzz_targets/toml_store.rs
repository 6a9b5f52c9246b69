//! TOML stores: any text is a store or a flaw on one of its lines; what is written into a good one is read back, and
//! nothing else it says changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar::token::store::{Change, Flaw, Format as _, TomlFormat};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{AccessToken, Secret};

fuzz_target!(|text: &str| {
    let format = TomlFormat::new("upstox");
    let before = match format.parse(text) {
        Ok(stored) => stored,
        Err(Flaw::Malformed { line, .. }) => {
            assert!((1..=text.split('\n').count()).contains(&line), "line {line}");
            return;
        }
        Err(Flaw::Unfit { .. }) => panic!("reading writes nothing"),
    };
    let change = Change {
        access_token: Some(AccessToken::new("fresh$'\"\\ token")),
        refresh_token: Some(Secret::new("é")),
        expires_at: Some(Timestamp::from_unix_seconds(1_775_089_800)),
    };
    let Ok(written) = format.apply(text, &change) else { return };
    let after = format.parse(&written).expect("what was written can be read");
    assert_eq!(after.access_token, change.access_token);
    assert_eq!(after.refresh_token, change.refresh_token);
    assert_eq!(after.expires_at, change.expires_at);
    assert_eq!(
        (after.user_id, after.api_key, after.api_secret, after.redirect_uri),
        (before.user_id, before.api_key, before.api_secret, before.redirect_uri),
    );
    assert_eq!(format.apply(&written, &change).as_ref(), Ok(&written), "writing twice is writing once");
});
