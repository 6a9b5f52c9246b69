//! `.env`: any text is a store or a flaw on one of its lines; a token written into a good one is read back, and nothing
//! else it says changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar::token::store::{Change, EnvFormat, Flaw, Format as _};
use nirantar_brokers::AccessToken;

fuzz_target!(|text: &str| {
    let format = EnvFormat::new("ZERODHA");
    let before = match format.parse(text) {
        Ok(stored) => stored,
        Err(Flaw::Malformed { line, .. }) => {
            assert!((1..=text.split('\n').count()).contains(&line), "line {line}");
            return;
        }
        Err(Flaw::Unfit { .. }) => panic!("reading writes nothing"),
    };
    let change = Change { access_token: Some(AccessToken::new("fresh$'\"\\ token")), ..Change::default() };
    let Ok(written) = format.apply(text, &change) else { return };
    let after = format.parse(&written).expect("what was written can be read");
    assert_eq!(after.access_token, change.access_token);
    assert_eq!(
        (after.refresh_token, after.expires_at, after.user_id, after.api_key, after.api_secret),
        (before.refresh_token, before.expires_at, before.user_id, before.api_key, before.api_secret),
    );
    assert_eq!(format.apply(&written, &change).as_ref(), Ok(&written), "writing twice is writing once");
});
