//! JSON stores: any text is a store or a flaw on one of its lines; what is written into a good one is read back, and
//! nothing else it says changes. Both dialects.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar::token::store::{Change, Flaw, Format as _, JsonFormat};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{AccessToken, Secret};

fuzz_target!(|text: &str| {
    for format in [JsonFormat::tokens(), JsonFormat::broker_config()] {
        let before = match format.parse(text) {
            Ok(stored) => stored,
            Err(Flaw::Malformed { line, .. }) => {
                assert!((1..=text.split('\n').count()).contains(&line), "line {line}");
                continue;
            }
            Err(Flaw::Unfit { .. }) => panic!("reading writes nothing"),
        };
        let change = Change {
            access_token: Some(AccessToken::new("fresh$'\"\\ token")),
            refresh_token: Some(Secret::new("é")),
            expires_at: Some(Timestamp::from_unix_seconds(1_775_089_800)),
        };
        let Ok(written) = format.apply(text, &change) else { continue };
        let after = format.parse(&written).expect("what was written can be read");
        assert_eq!(after.access_token, change.access_token);
        assert_eq!(after.refresh_token, change.refresh_token);
        assert_eq!(after.expires_at, change.expires_at);
        assert_eq!(
            (after.user_id, after.api_key, after.api_secret, after.base_url, after.burst_size),
            (before.user_id, before.api_key, before.api_secret, before.base_url, before.burst_size),
        );
        assert_eq!(format.apply(&written, &change).as_ref(), Ok(&written), "writing twice is writing once");
    }
});
