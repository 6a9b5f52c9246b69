//! The search for a secret in everything that was written: raw, URL-encoded, and base64 at any of its three alignments.
#![allow(dead_code, unreachable_pub, reason = "each file of tests uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use nirantar_brokers::Secret;

/// The forms in which a secret could show, each with its name.
pub fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let percent = |plain: fn(u8) -> bool| -> String {
        secret
            .bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let encoded = percent(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let in_query = percent(|byte| byte.is_ascii_alphanumeric() || b"-._~/+=".contains(&byte));
    let mut forms = vec![
        ("raw", secret.to_owned()),
        ("URL-encoded", encoded.clone()),
        ("URL-encoded in small letters", encoded.to_lowercase()),
        ("URL-encoded as in a query", in_query),
    ];
    for shift in 0..3 {
        let standard = base64_of_the_middle(secret.as_bytes(), shift);
        forms.push(("base64 for URLs", standard.replace('+', "-").replace('/', "_")));
        forms.push(("base64", standard));
    }
    forms
}

/// The letters of a base64 text that depend on nothing but these bytes, when `shift` bytes stand before them.
fn base64_of_the_middle(bytes: &[u8], shift: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let first_bit = (8 * shift).next_multiple_of(6);
    let bits: Vec<bool> = vec![0; shift]
        .iter()
        .chain(bytes)
        .flat_map(|byte: &u8| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .collect();
    bits[first_bit..]
        .chunks_exact(6)
        .map(|six| char::from(LETTERS[six.iter().fold(0, |number, bit| number << 1 | usize::from(*bit))]))
        .collect()
}

/// The secrets found in a text, by name and form, with what stands around them.
pub fn leaks(text: &str, secrets: &[(&str, Secret)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, secret) in secrets {
        for (form, shown) in forms(secret.expose()) {
            if let Some(at) = text.find(&shown) {
                let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
                found.push(format!("{name}, {form}, in: {}", text[line..at].chars().take(300).collect::<String>()));
            }
        }
    }
    found
}
