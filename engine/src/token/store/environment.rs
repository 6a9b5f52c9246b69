//! The environment variables of this process as a store: for hosts that inject tokens.
//!
//! Read only. They are read once, when the store is made: what a host injects later reaches a process that it starts
//! later, and no other. So a watcher never sees a change here.

use std::fmt;
use std::path::Path;

use nirantar_brokers::{Fingerprint, Secret};

use super::env::read;
use super::{Change, Flaw, Store, StoreError, Stored, Written};

/// The name of this store in a configuration, and its path in errors.
pub(super) const NAME: &str = "environment";

/// The variables `<PREFIX>_ACCESS_TOKEN` and so on of this process, by the names a `.env` file has.
pub struct EnvironmentStore {
    held: Result<Stored, StoreError>,
}

impl EnvironmentStore {
    /// The variables that start with `prefix` and an underscore, as `variable` gives them now. Unset is `None`.
    #[must_use]
    pub fn new(prefix: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        let held = read(prefix, |name| variable(name).map(Secret::new)).map_err(|bad| {
            let content = Fingerprint::of(&bad.name);
            let flaw = Flaw::Malformed { line: 1, key: Some(bad.name), expected: bad.expected };
            StoreError::flaw(Path::new(NAME), content, flaw)
        });
        Self { held }
    }

    /// Those of this very process. A variable that is no Unicode counts as unset.
    #[must_use]
    pub fn of_process(prefix: &str) -> Self {
        Self::new(prefix, |name| std::env::var(name).ok())
    }
}

impl Store for EnvironmentStore {
    fn read(&self) -> Result<Stored, StoreError> {
        self.held.clone()
    }

    fn write(&self, _: &Change) -> Result<Written, StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn path(&self) -> &Path {
        Path::new(NAME)
    }

    fn is_read_only(&self) -> bool {
        true
    }
}

impl fmt::Debug for EnvironmentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentStore").field("held", &self.held).finish()
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::AccessToken;

    use super::*;

    fn of(pairs: &'static [(&'static str, &'static str)]) -> EnvironmentStore {
        EnvironmentStore::new("UPSTOX", |name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_read_by_the_guides_names() {
        let store = of(&[("UPSTOX_ACCESS_TOKEN", "hunter2"), ("UPSTOX_CLIENT_ID", "key"), ("UPSTOX_API_KEY", "")]);
        let stored = store.read().unwrap();
        assert_eq!(stored.access_token, Some(AccessToken::new("hunter2")));
        assert_eq!(stored.api_key.as_deref(), Some("key"));
        assert!(!format!("{store:?}").contains("hunter2"));
    }

    #[test]
    fn it_cannot_be_written_and_says_what_to_do() {
        let error = of(&[]).write(&Change::default()).unwrap_err();
        assert_eq!(error, StoreError::ReadOnly);
        assert!(error.to_string().ends_with("must restart nirantar, or use a file"), "{error}");
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_named_without_its_value() {
        let shown = of(&[("UPSTOX_TOKEN_EXPIRES_AT", "hunter2")]).read().unwrap_err().to_string();
        assert!(shown.starts_with("environment:1: UPSTOX_TOKEN_EXPIRES_AT: expected"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
