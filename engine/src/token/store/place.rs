//! Where a token is kept, as a configuration or a command names it. The name says the kind.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{self, EnvironmentStore};
use super::{EnvFormat, FileStore, JsonFormat, Store, TomlFormat};

/// One place: a file of some kind, or the environment of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlace {
    path: PathBuf,
    kind: StoreKind,
}

/// What is found at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// `KEY=value` lines: `.env`, and every name that says nothing else.
    Env,
    /// The Kite guide's file: `broker-config*.json`.
    BrokerConfig,
    /// A JSON object of tokens: any other `.json`.
    Tokens,
    /// A table of a TOML file: `.toml`.
    Toml,
    /// The variables of this process, which cannot be written: `environment`.
    Environment,
}

impl StorePlace {
    /// The place of that name, as a configuration in `folder` has it: `environment`, or a file. (A file that is called
    /// so is `./environment`.)
    #[must_use]
    pub fn named(name: &str, folder: &Path) -> Self {
        if name == environment::NAME {
            return Self { path: PathBuf::from(name), kind: StoreKind::Environment };
        }
        Self::file(folder.join(name))
    }

    /// The file at `path`, of the kind its name says. Upper and lower case are the same.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let kind = if name.ends_with(".json") {
            if name.starts_with("broker-config") { StoreKind::BrokerConfig } else { StoreKind::Tokens }
        } else if name.ends_with(".toml") {
            StoreKind::Toml
        } else {
            StoreKind::Env
        };
        Self { path, kind }
    }

    /// What is found there.
    #[must_use]
    pub const fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Its path; of the environment the word.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store. `key_prefix` begins the keys of a `.env` file and the variables, `table` is the one of a TOML file (see
    /// [`table_of`](Self::table_of)); a JSON file needs neither. Touches no file; the environment is read at once.
    #[must_use]
    pub fn open(&self, key_prefix: &str, table: &str) -> Arc<dyn Store> {
        match self.kind {
            StoreKind::Env => Arc::new(FileStore::new(&self.path, EnvFormat::new(key_prefix))),
            StoreKind::BrokerConfig => Arc::new(FileStore::new(&self.path, JsonFormat::broker_config())),
            StoreKind::Tokens => Arc::new(FileStore::new(&self.path, JsonFormat::tokens())),
            StoreKind::Toml => Arc::new(FileStore::new(&self.path, TomlFormat::new(table))),
            StoreKind::Environment => Arc::new(EnvironmentStore::of_process(key_prefix)),
        }
    }

    /// The TOML table of an account with that prefix: `upstox` for `UPSTOX`. So two accounts of one broker can share a
    /// file.
    #[must_use]
    pub fn table_of(key_prefix: &str) -> String {
        key_prefix.to_ascii_lowercase()
    }

    /// What the access token is called there, for people: `ZERODHA_ACCESS_TOKEN`, `[upstox] access_token`.
    #[must_use]
    pub fn token_name(&self, key_prefix: &str) -> String {
        match self.kind {
            StoreKind::Env | StoreKind::Environment => format!("{key_prefix}_ACCESS_TOKEN"),
            StoreKind::BrokerConfig => "api_secret (this file's word for the access token)".to_owned(),
            StoreKind::Tokens => "access_token".to_owned(),
            StoreKind::Toml => format!("[{}] access_token", Self::table_of(key_prefix)),
        }
    }

    /// Whether two accounts with these prefixes would read each other's token where both have this place.
    #[must_use]
    pub fn is_shared(&self, one: &str, other: &str) -> bool {
        match self.kind {
            StoreKind::BrokerConfig | StoreKind::Tokens => true,
            StoreKind::Env | StoreKind::Toml | StoreKind::Environment => one == other,
        }
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::*;
    use nirantar_brokers::AccessToken;

    #[test]
    fn the_name_says_the_kind() {
        for (name, kind) in [
            (".env", StoreKind::Env),
            ("keys", StoreKind::Env),
            ("./environment", StoreKind::Env),
            ("environment", StoreKind::Environment),
            ("broker-config.json", StoreKind::BrokerConfig),
            ("conf/Broker-Config-paper.JSON", StoreKind::BrokerConfig),
            ("data/upstox_tokens.json", StoreKind::Tokens),
            (".streamlit/secrets.toml", StoreKind::Toml),
            ("", StoreKind::Env),
        ] {
            assert_eq!(StorePlace::named(name, Path::new("conf")).kind(), kind, "{name}");
        }
        assert_eq!(StorePlace::named("environment", Path::new("conf")).path(), Path::new("environment"));
        assert_eq!(StorePlace::named(".env", Path::new("conf")).path(), Path::new("conf/.env"));
    }

    #[test]
    fn a_token_goes_where_the_guides_program_looks_for_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            (".env", "UPSTOX_ACCESS_TOKEN=t\n"),
            ("broker-config.json", "{\n  \"api_secret\": \"t\"\n}\n"),
            ("data/upstox_tokens.json", "{\n  \"access_token\": \"t\"\n}\n"),
            (".streamlit/secrets.toml", "[upstox]\naccess_token = \"t\"\n"),
        ] {
            let place = StorePlace::named(name, folder.path());
            let change = Change { access_token: Some(AccessToken::new("t")), ..Change::default() };
            let written = place.open("UPSTOX", &StorePlace::table_of("UPSTOX")).write(&change).unwrap();
            assert_eq!(written.stored.access_token, Some(AccessToken::new("t")), "{name}");
            assert_eq!(std::fs::read_to_string(place.path()).unwrap(), text, "{name}");
        }
    }
}
