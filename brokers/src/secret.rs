//! Secrets that cannot be printed by accident.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

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

/// Takes known secrets out of texts that come from outside (a broker's message, a transport error), raw and
/// URL-encoded.
#[derive(Clone, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// One that knows these secrets. Empty ones are ignored.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().filter(|secret| !secret.is_empty()).collect())
    }

    /// `text` with every known secret replaced by its fingerprint.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.0 {
            let shown = secret.fingerprint().to_string();
            clean = clean.replace(secret.expose(), &shown);
            let encoded: String = form_urlencoded::byte_serialize(secret.expose().as_bytes()).collect();
            clean = clean.replace(&encoded, &shown);
        }
        clean
    }
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
}
