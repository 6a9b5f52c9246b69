//! Secrets that cannot be printed by accident.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

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

/// Takes known secrets out of texts that come from outside (a broker's message, a transport error): raw, escaped
/// (as in JSON), URL-encoded (as a form and strictly, in capitals or not) and in base64 (both alphabets, wherever in a longer text the secret
/// began). Of a secret in the middle of a longer base64 text, up to five bits at either end may stay.
///
/// The shapes of every secret are made once, with the redactor; its clones share them.
#[derive(Clone, Default)]
pub struct Redactor(Arc<[Arc<Known>]>);

/// A secret in every shape it may be quoted in, itself first.
struct Known(Vec<Zeroizing<String>>);

impl Known {
    fn is(&self, secret: &Secret) -> bool {
        self.0.first().is_some_and(|itself| **itself == *secret.expose())
    }

    fn shown(&self) -> String {
        self.0.first().map(|secret| Fingerprint::of(secret).to_string()).unwrap_or_default()
    }
}

/// Shorter pieces of base64 are left alone: they would be found in any text.
const SHORTEST_BASE64: usize = 8;

impl Redactor {
    /// One that knows these secrets. Empty ones are ignored.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self::default().now_with(secrets)
    }

    /// One that knows these secrets, and no others. What this one knows of them is not worked out again.
    #[must_use]
    pub fn now_with(&self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<Secret> = secrets.into_iter().filter(|secret| !secret.is_empty()).collect();
        // Of two secrets one may be the start of the other: the longer first, or its tail would stay.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        let known = |secret: &Secret| self.0.iter().find(|known| known.is(secret)).map(Arc::clone);
        let shapes_of = |secret: &Secret| Arc::new(Known(shapes(secret.expose())));
        Self(secrets.iter().map(|secret| known(secret).unwrap_or_else(|| shapes_of(secret))).collect())
    }

    /// `text` with every known secret replaced by its fingerprint.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for known in &*self.0 {
            for shape in &known.0 {
                if clean.contains(&**shape) {
                    clean = clean.replace(&**shape, &known.shown());
                }
            }
        }
        clean
    }
}

/// A secret in every shape it may be quoted in, each once.
fn shapes(secret: &str) -> Vec<Zeroizing<String>> {
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let strict: String = secret.bytes().map(percent_encoded).collect();
    let escaped = secret.replace('\\', r"\\").replace('"', r#"\""#);
    let mut shapes = vec![secret.to_owned(), escaped, lower_hex(&form), form, lower_hex(&strict), strict];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        // What stands before it in the encoded text moves it by 0, 1 or 2 bytes; the characters it shares with its
        // neighbours are left out, since they depend on them.
        for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
            let moved = Zeroizing::new([&[0; 2][..before], secret.as_bytes()].concat());
            let whole = moved.len() * 8 / 6;
            let encoded = Zeroizing::new(engine.encode(&*moved));
            let own = encoded.get(shared..whole).unwrap_or_default();
            if own.len() >= SHORTEST_BASE64 {
                shapes.push(own.to_owned());
            }
        }
    }
    let mut different: Vec<Zeroizing<String>> = Vec::new();
    for shape in shapes.into_iter().map(Zeroizing::new) {
        if !different.contains(&shape) {
            different.push(shape);
        }
    }
    different
}

/// A byte as the strictest of encoders writes it (RFC 3986's unreserved characters stay).
fn percent_encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// The same with its escapes in lower case.
fn lower_hex(encoded: &str) -> String {
    let mut escaped = 0;
    let lower = |character: char| {
        escaped = if character == '%' { 2_u8 } else { escaped };
        let inside = escaped > 0 && character != '%';
        escaped -= u8::from(inside);
        if inside { character.to_ascii_lowercase() } else { character }
    };
    encoded.chars().map(lower).collect()
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
    fn a_secret_is_found_in_base64_wherever_it_begins() {
        let redactor = Redactor::new([Secret::new("hunter2/plus+hunter3")]);
        for before in ["", "t", "to", "token key:"] {
            let quoted = STANDARD_NO_PAD.encode(format!("{before}hunter2/plus+hunter3 and more"));
            let clean = redactor.clean(&quoted);
            assert!(clean.contains(&redactor.0[0].shown()), "{before:?}: {clean}");
        }
    }

    #[test]
    fn the_longer_of_two_secrets_is_taken_out_whole() {
        let redactor = Redactor::new([Secret::new("hunter2"), Secret::new("hunter2-and-more")]);
        assert!(!redactor.clean("refused hunter2-and-more").contains("more"));
    }

    #[test]
    fn escapes_are_found_in_small_letters_too() {
        let redactor = Redactor::new([Secret::new("hunter2/plus+ me")]);
        for quoted in ["hunter2%2fplus%2b+me", "hunter2%2Fplus%2B%20me", "hunter2%2fplus%2b%20me"] {
            assert!(!redactor.clean(quoted).contains("hunter2"), "{quoted}");
        }
    }
}
