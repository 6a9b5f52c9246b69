//! Records of the journal: any word with any bytes beside it is a record or none, and what was read is written back as
//! what reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nirantar::orders::What;

fuzz_target!(|bytes: &[u8]| {
    // A word to the end of the line, then the JSON.
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let word = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let json = parts.next().unwrap_or_default();
    if let Ok(what) = What::from_json(&word, json) {
        assert_eq!(what.word(), word);
        let written = what.to_json().expect("what was read can be written");
        assert_eq!(What::from_json(&word, written.as_bytes()), Ok(what));
    }
});
