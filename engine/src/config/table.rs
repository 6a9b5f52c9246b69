//! Reads a TOML table key by key, remembering where each stood, so that every error can name its line.
//!
//! Not serde: its errors name a line or a key, seldom both, and here each must.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};
use super::nearest::nearest;

/// A file's name and text: what turns an offset into a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// Its path, as the errors show it.
    pub(super) file: &'a Path,
    /// Its text.
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The line of a byte offset, from 1. An offset beyond the end is on the last line.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    /// An error about `key` at `offset`.
    pub(super) fn error(&self, offset: usize, key: Option<&str>, problem: Problem) -> ConfigError {
        ConfigError { file: self.file.to_owned(), line: Some(self.line(offset)), key: key.map(str::to_owned), problem }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    /// Byte offset of the value.
    pub(super) offset: usize,
    /// The value.
    pub(super) value: T,
}

/// One table, whose keys are all known.
#[derive(Debug)]
pub(super) struct Table<'a, 'i> {
    source: Source<'a>,
    offset: usize,
    fields: &'a DeTable<'i>,
}

impl<'a, 'i> Table<'a, 'i> {
    /// The table that starts at `offset`.
    ///
    /// # Errors
    /// [`Problem::UnknownKey`] for the first key that is not in `known`.
    pub(super) fn new(
        source: Source<'a>,
        offset: usize,
        fields: &'a DeTable<'i>,
        known: &[&str],
    ) -> Result<Self, ConfigError> {
        const SECRETS: &str = "credentials stand in the account's store or in the environment, never here";
        Self::of_section(source, offset, fields, known, SECRETS)
    }

    /// The same; `secrets` says where a secret that somebody wrote here belongs.
    fn of_section(
        source: Source<'a>,
        offset: usize,
        fields: &'a DeTable<'i>,
        known: &[&str],
        secrets: &str,
    ) -> Result<Self, ConfigError> {
        // In the order of the file, so that the error is the first a reader meets.
        let stranger =
            fields.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).min_by_key(|key| key.span().start);
        match stranger {
            Some(key) => {
                let hint = hint_for(key.get_ref(), known, secrets);
                Err(source.error(key.span().start, Some(key.get_ref()), Problem::UnknownKey { hint }))
            }
            None => Ok(Self { source, offset, fields }),
        }
    }

    /// The line of the table's own header.
    pub(super) fn line(&self) -> usize {
        self.source.line(self.offset)
    }

    /// An error about `key`, on the line of the table's header.
    pub(super) fn error(&self, key: &str, problem: Problem) -> ConfigError {
        self.source.error(self.offset, Some(key), problem)
    }

    /// An error about the value under `key`, on that value's line (the header's, where there is none).
    pub(super) fn error_at_value(&self, key: &str, problem: Problem) -> ConfigError {
        let offset = self.value(key).map_or(self.offset, |value| value.span().start);
        self.source.error(offset, Some(key), problem)
    }

    /// The items of the list under `key`. None if it is not there.
    pub(super) fn tables(&self, key: &str, expected: &str) -> Result<&'a [Spanned<DeValue<'i>>], ConfigError> {
        match self.value(key).map(|value| (value.span().start, value.get_ref())) {
            None => Ok(&[]),
            Some((_, DeValue::Array(items))) => Ok(items),
            Some((offset, other)) => Err(self.wrong_type(key, offset, other, expected)),
        }
    }

    /// The table of this file under `key`, if it is there, with the keys it may have.
    pub(super) fn table(&self, key: &str, known: &[&str], secrets: &str) -> Result<Option<Table<'a, 'i>>, ConfigError> {
        self.table_headed(key, key, known, secrets)
    }

    /// The same for a table within a table, whose header is more than its key.
    pub(super) fn table_headed(
        &self,
        key: &str,
        header: &str,
        known: &[&str],
        secrets: &str,
    ) -> Result<Option<Table<'a, 'i>>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(fields) => {
                Self::of_section(self.source, value.span().start, fields, known, secrets).map(Some)
            }
            other => Err(self.wrong_type(key, value.span().start, other, &format!("a [{header}] table"))),
        }
    }

    /// Yes or no under `key`, if it is there.
    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(yes) => Ok(Some(*yes)),
            other => Err(self.wrong_type(key, value.span().start, other, "true or false, without quotes")),
        }
    }

    /// The number under `key`, if it is there, as plain decimal text (`-12.5`, `1e3`, `nan`): never a float, which could not
    /// hold it exactly. Underscores between digits are taken out.
    pub(super) fn number(&self, key: &str, expected: &str) -> Result<Option<At<String>>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            other => return Err(self.wrong_type(key, value.span().start, other, expected)),
        };
        let text = text.strip_prefix('+').unwrap_or(text).replace('_', "");
        Ok(Some(At { offset: value.span().start, value: text }))
    }

    /// Whether a text stands under `key`.
    pub(super) fn is_text(&self, key: &str) -> bool {
        matches!(self.value(key).map(Spanned::get_ref), Some(DeValue::String(_)))
    }

    /// Whether `key` is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The text under `key`, if it is there. `expected` is for the error.
    pub(super) fn text(&self, key: &str, expected: &str) -> Result<Option<At<&'a str>>, ConfigError> {
        self.value(key).map(|value| self.as_text(key, value, expected)).transpose()
    }

    /// The text under `key`, read by `read`, if it is there. `read` says with `None` that it is not what was expected.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key, expected)? else { return Ok(None) };
        read(text.value).map(Some).ok_or_else(|| self.invalid(key, &text, expected))
    }

    /// The list of texts under `key`, if it is there.
    pub(super) fn texts(&self, key: &str, expected: &str) -> Result<Option<Vec<At<&'a str>>>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().map(|item| self.as_text(key, item, expected)).collect::<Result<_, _>>().map(Some)
            }
            other => Err(self.wrong_type(key, value.span().start, other, expected)),
        }
    }

    /// The texts under `key`, if it is there: a list of them, or one that stands alone.
    pub(super) fn text_or_texts(&self, key: &str, expected: &str) -> Result<Option<Vec<At<&'a str>>>, ConfigError> {
        match self.value(key).map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => self.texts(key, expected),
            _ => Ok(self.text(key, expected)?.map(|text| vec![text])),
        }
    }

    /// The error for a text that is not what was expected. Shows the text: not for what may hold a secret.
    pub(super) fn invalid(&self, key: &str, text: &At<&str>, expected: &str) -> ConfigError {
        let found = format!("`{}`", text.value.chars().take(40).collect::<String>().escape_debug());
        self.invalid_as(key, text.offset, expected, found)
    }

    /// The error for something that is not what was expected, in our own words.
    pub(super) fn invalid_as(&self, key: &str, offset: usize, expected: &str, found: impl Into<String>) -> ConfigError {
        let problem = Problem::Invalid { expected: expected.to_owned(), found: found.into() };
        self.source.error(offset, Some(key), problem)
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.fields.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn as_text(&self, key: &str, value: &'a Spanned<DeValue<'i>>, expected: &str) -> Result<At<&'a str>, ConfigError> {
        let offset = value.span().start;
        match value.get_ref() {
            DeValue::String(text) => Ok(At { offset, value: text.as_ref() }),
            other => Err(self.wrong_type(key, offset, other, expected)),
        }
    }

    fn wrong_type(&self, key: &str, offset: usize, found: &DeValue<'_>, expected: &str) -> ConfigError {
        self.invalid_as(key, offset, expected, format!("a value of type {}", found.type_str()))
    }
}

/// What to do about an unknown key. A credential in the wrong file gets words of its own: it is the likeliest mistake,
/// and this file is the one people commit.
fn hint_for(key: &str, known: &[&str], secrets: &str) -> String {
    /// How the names of secrets end.
    const ENDS: [&str; 11] = [
        "api_key",
        "secret",
        "token",
        "pin",
        "password",
        "totp",
        "totp_key",
        "webhook",
        "webhook_url",
        "notifier",
        "notifier_path",
    ];
    let lower = key.to_ascii_lowercase().replace('-', "_");
    if ENDS.iter().any(|end| lower.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))) {
        return secrets.to_owned();
    }
    match nearest(key, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}
