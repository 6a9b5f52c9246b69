//! Secrets that cannot be printed by accident.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

/// Bytes of the shortest secret that is looked for in base64.
const SHORTEST_IN_BASE64: usize = 6;

/// A text nobody may see: a token, an API secret, a one-use code. `Debug` and `Display` show its [`Fingerprint`]; the
/// memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that puts it on the wire or into its store.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What may be printed in its place.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.fingerprint())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.fingerprint(), f)
    }
}

/// The first 32 bits of a secret's SHA-256: enough to tell two tokens apart in a log, useless for finding one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u32);

impl Fingerprint {
    /// The fingerprint of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut first = [0; 4];
        first.copy_from_slice(&digest[..4]);
        Self(u32::from_be_bytes(first))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:08x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes known secrets out of texts that come from outside (a broker's message, a transport error): raw, URL-encoded
/// and base64, as rule 10 asks.
#[derive(Clone, Default)]
pub struct Redactor(Vec<Known>);

#[derive(Clone)]
struct Known {
    fingerprint: Fingerprint,
    /// Every form it may show in.
    forms: Vec<Secret>,
}

impl Redactor {
    /// One that knows these secrets. Empty ones are ignored.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let known = |secret: Secret| Known { fingerprint: secret.fingerprint(), forms: forms(&secret) };
        Self(secrets.into_iter().filter(|secret| !secret.is_empty()).map(known).collect())
    }

    /// `text` with every known secret replaced by its fingerprint.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for Known { fingerprint, forms } in &self.0 {
            for form in forms.iter().filter(|form| !form.is_empty()) {
                if clean.contains(form.expose()) {
                    clean = clean.replace(form.expose(), &fingerprint.to_string());
                }
            }
        }
        clean
    }
}

fn forms(secret: &Secret) -> Vec<Secret> {
    let bytes = secret.expose().as_bytes();
    let encoded: String = form_urlencoded::byte_serialize(bytes).collect();
    let mut forms = vec![secret.clone(), Secret::new(encoded.to_lowercase()), Secret::new(encoded)];
    // Shorter ones are found in any text.
    for shift in (0..3).filter(|_| bytes.len() >= SHORTEST_IN_BASE64) {
        let standard = base64_whatever_surrounds(bytes, shift);
        forms.push(Secret::new(standard.replace('+', "-").replace('/', "_")));
        forms.push(Secret::new(standard));
    }
    forms
}

/// The letters of a base64 text that hold nothing but these bytes, when `shift` other bytes stand before them: what
/// shows of a secret wherever it lies in what was encoded.
fn base64_whatever_surrounds(bytes: &[u8], shift: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Of the letter that straddles the beginning, the bits that are the secret's own.
    let foreign_bits = shift * 8;
    let skipped = foreign_bits.next_multiple_of(6) - foreign_bits;
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1));
    let bits: Vec<u8> = bits.skip(skipped).collect();
    bits.chunks_exact(6)
        .filter_map(|six| LETTERS.get(usize::from(six.iter().fold(0, |number, bit| (number << 1) | bit))))
        .map(|letter| char::from(*letter))
        .collect()
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        let secret = Secret::new("hunter2/plus+");
        for shown in [format!("{secret}"), format!("{secret:?}"), format!("{:#?}", Some(&secret))] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let redactor = Redactor::new([secret]);
        let clean = redactor.clean("refused hunter2/plus+ at /?t=hunter2%2Fplus%2B");
        assert!(!clean.contains("hunter2"), "{clean}");
    }

    #[test]
    fn a_secret_is_taken_out_in_base64_wherever_it_lies_in_what_was_encoded() {
        let secret = Secret::new("hunter2/plus+");
        let shown = secret.fingerprint().to_string();
        let redactor = Redactor::new([secret]);
        for text in
            ["aHVudGVyMi9wbHVzKw==", "eGh1bnRlcjIvcGx1cys=", "eHlodW50ZXIyL3BsdXMr", "a2V5Omh1bnRlcjIvcGx1cytlbmQ"]
        {
            let clean = redactor.clean(&format!("Basic {text}"));
            assert!(clean.contains(&shown), "{text}: {clean}");
        }
        assert_eq!(redactor.clean("nothing to hide: aHVudGVyMg"), "nothing to hide: aHVudGVyMg");
        assert_eq!(Redactor::new([Secret::new("ab")]).clean("YWI= is short"), "YWI= is short");
    }
}
