//! The real world beyond the configuration file.

use std::path::{Path, PathBuf};

use super::credentials::Outside;
use crate::token::store::{StoreError, StorePlace, Stored};

/// This process' environment, and stores on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

impl Outside for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn stored(&self, place: &StorePlace, key_prefix: &str) -> Result<Stored, StoreError> {
        match place.open(key_prefix, &StorePlace::table_of(key_prefix)).read() {
            Err(StoreError::NotFound { .. }) => Ok(Stored::default()),
            answer => answer,
        }
    }

    fn real_path(&self, store: &Path) -> PathBuf {
        if let Ok(real) = store.canonicalize() {
            return real;
        }
        // A store that will be made: its folder is there.
        let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match (folder.canonicalize(), store.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => store.to_owned(),
        }
    }
}
