//! `nirantar.toml`: any text is a configuration or one error that names a line of the text.
#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use nirantar::config::{Config, Outside};
use nirantar::token::store::{StoreError, StorePlace, Stored};

/// A world without files: every key is in the environment.
struct Furnished;

impl Outside for Furnished {
    fn variable(&self, name: &str) -> Option<String> {
        // The one variable that is no credential.
        (!name.ends_with("_SANDBOX")).then(|| "hunter2".to_owned())
    }

    fn stored(&self, _: &StorePlace, _: &str) -> Result<Stored, StoreError> {
        Ok(Stored::default())
    }

    fn real_path(&self, store: &Path) -> PathBuf {
        store.to_owned()
    }
}

fuzz_target!(|text: &str| {
    match Config::read(text, Path::new("nirantar.toml"), &Furnished) {
        Ok(config) => {
            assert!(!config.accounts.is_empty());
            for account in &config.accounts {
                // Nothing unencrypted leaves this machine.
                for root in [&account.rest_url, &account.feed_url, &account.login_url] {
                    assert!(
                        root.is_loopback()
                            || root.as_str().starts_with("https://")
                            || root.as_str().starts_with("wss://")
                    );
                }
            }
        }
        Err(error) => {
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
});
