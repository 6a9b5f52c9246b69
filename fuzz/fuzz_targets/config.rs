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
        let value = match name {
            "NIRANTAR_SERVER_SECRET" | "NIRANTAR_NOTIFIER_PATH" => "hunter2-hunter2-hunter2",
            "NIRANTAR_TELEGRAM_TOKEN" => "123456:hunter2",
            "NIRANTAR_WEBHOOK_URL" => "https://example.in/hunter2",
            name if name.ends_with("_SANDBOX") => return None,
            name if name.ends_with("_REDIRECT_URI") => "http://127.0.0.1:5000/callback",
            _ => "hunter2",
        };
        Some(value.to_owned())
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
            assert!(!format!("{config:?}").contains("hunter2-"), "a secret prints");
            if let Some(server) = &config.server {
                // Nobody else on the network reaches it by an oversight.
                assert!(server.listen.ip().is_loopback() || (server.beyond_loopback && server.secret.is_some()));
            }
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
