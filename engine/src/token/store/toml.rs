//! The TOML format: one table of a file such as Streamlit's `.streamlit/secrets.toml`.
//!
//! Reads the table with the parser the configuration uses, which knows where every value stands; writes only the bytes
//! of an owned value, or adds a missing key behind the table's last one. A file whose table has a shape that no key can
//! be added to is refused by name rather than rearranged.

use std::ops::Range;

use nirantar_brokers::{AccessToken, Secret};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expiry::{self, Spelling};
use super::text::{line_end, line_of, splice, unfit};
use super::{Change, Flaw, Format, Stored};

/// The keys `access_token`, `refresh_token`, `expires_at`, `user_id`, `api_key`, `api_secret`, `redirect_uri` of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TomlFormat {
    table: String,
}

const ACCESS_TOKEN: &str = "access_token";
const REFRESH_TOKEN: &str = "refresh_token";
const EXPIRES_AT: &str = "expires_at";

impl TomlFormat {
    /// The keys of the table of that name, e.g. `upstox` for `[upstox]`.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into() }
    }

    /// The table, if the text has it.
    fn find<'a, 'i>(&self, text: &str, root: &'a DeTable<'i>) -> Result<Option<Found<'a, 'i>>, Flaw> {
        let Some((_, value)) = root.iter().find(|(name, _)| name.get_ref() == self.table.as_str()) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::Table(fields) => Ok(Some(Found { span: value.span(), fields })),
            _ => Err(Flaw::Malformed {
                line: line_of(text, value.span().start),
                key: Some(self.table.clone()),
                expected: "one table, like [upstox]",
            }),
        }
    }

    /// Whether the text says what it was changed to say.
    fn took(&self, after: &str, change: &Change) -> bool {
        self.parse(after).is_ok_and(|stored| {
            let token = change.access_token.as_ref().is_none_or(|new| stored.access_token.as_ref() == Some(new));
            let refresh = change.refresh_token.as_ref().is_none_or(|new| stored.refresh_token.as_ref() == Some(new));
            token && refresh && (change.expires_at.is_none() || stored.expires_at.is_some())
        })
    }

    /// The edit that adds `key = value` lines where nothing of the table stands yet.
    fn new_table(&self, text: &str, added: &[(&str, String)]) -> (Range<usize>, String) {
        let end = line_end(text);
        // A blank line in front, and a line end first where the file ends without one.
        let gap = match text.chars().last() {
            None => 0,
            Some('\n') => 1,
            Some(_) => 2,
        };
        let mut new = end.repeat(gap);
        let bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        let name = if !self.table.is_empty() && self.table.chars().all(bare) {
            self.table.clone()
        } else {
            basic(&self.table)
        };
        new.push_str(&format!("[{name}]{end}"));
        for (key, value) in added {
            new.push_str(&format!("{key} = {value}{end}"));
        }
        (text.len()..text.len(), new)
    }
}

impl Format for TomlFormat {
    fn parse(&self, text: &str) -> Result<Stored, Flaw> {
        let root = document(text)?;
        let Some(table) = self.find(text, root.get_ref())? else { return Ok(Stored::default()) };
        let read = |key| table.text_of(text, key);
        let plain = |key| Ok(read(key)?.map(|value| value.expose().to_owned()));
        let expires_at = match table.expiry(text)? {
            Standing::Read(at, _) => Some(at),
            Standing::Empty => None,
            Standing::Senseless(flaw) => return Err(flaw),
        };
        Ok(Stored {
            access_token: read(ACCESS_TOKEN)?.map(|value| AccessToken::new(value.expose())),
            refresh_token: read(REFRESH_TOKEN)?,
            expires_at,
            user_id: plain("user_id")?,
            api_key: plain("api_key")?,
            api_secret: read("api_secret")?,
            redirect_uri: plain("redirect_uri")?,
            ..Stored::default()
        })
    }

    fn apply(&self, text: &str, change: &Change) -> Result<String, Flaw> {
        let root = document(text)?;
        let table = self.find(text, root.get_ref())?;
        let value_of = |key| table.as_ref().and_then(|table| table.value(key));
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut added: Vec<(&str, String)> = Vec::new();
        let values = [
            (ACCESS_TOKEN, change.access_token.as_ref().map(AccessToken::expose)),
            (REFRESH_TOKEN, change.refresh_token.as_ref().map(Secret::expose)),
        ];
        for (key, value) in values {
            let Some(value) = value else { continue };
            if let Some(reason) = unfit(value) {
                return Err(Flaw::Unfit { key: key.to_owned(), reason });
            }
            match value_of(key) {
                None => added.push((key, basic(value))),
                Some(standing) => match standing.get_ref() {
                    DeValue::String(same) if same.as_ref() == value => {}
                    DeValue::String(_) => {
                        let had = text.get(standing.span()).unwrap_or_default();
                        edits.push((standing.span(), quote_as(value, had)));
                    }
                    _ => return Err(flaw(text, key, standing, TEXT)),
                },
            }
        }
        if let Some(at) = change.expires_at {
            let spelling = match &table {
                Some(table) => match table.expiry(text)? {
                    Standing::Read(_, spelling) => Some(spelling),
                    Standing::Empty | Standing::Senseless(_) => None,
                },
                None => None,
            };
            let written = spelling.unwrap_or(Spelling::Rfc3339).write(at);
            match value_of(EXPIRES_AT) {
                None => added.push((EXPIRES_AT, basic(&written))),
                Some(standing) => {
                    let had = text.get(standing.span()).unwrap_or_default();
                    let bare = spelling.is_some() && !matches!(standing.get_ref(), DeValue::String(_));
                    edits.push((standing.span(), if bare { written } else { quote_as(&written, had) }));
                }
            }
        }
        if added.is_empty() {
            return Ok(splice(text, edits));
        }
        // A table that is only implied by others has no place of its own: under `[upstox.more]` it can be made, under
        // `upstox.more.x = 1` it cannot.
        let ways = table.iter().map(|table| table.adding(text, &added)).chain([self.new_table(text, &added)]);
        for way in ways {
            let after = splice(text, edits.iter().cloned().chain([way]).collect());
            if self.took(&after, change) {
                return Ok(after);
            }
        }
        let reason = "its table has no place for a key: write it as [table] with `key = value` lines";
        Err(Flaw::Unfit { key: self.table.clone(), reason })
    }

    fn label(&self) -> String {
        let letters = self.table.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
        letters.collect::<String>().to_ascii_uppercase()
    }
}

const TEXT: &str = "text in quotes";

/// The table, and where its value stands.
struct Found<'a, 'i> {
    span: Range<usize>,
    fields: &'a DeTable<'i>,
}

/// What stands where the expiry should.
enum Standing {
    Read(nirantar_brokers::time::Timestamp, Spelling),
    Empty,
    Senseless(Flaw),
}

impl<'a, 'i> Found<'a, 'i> {
    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.fields.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn text_of(&self, text: &str, key: &'static str) -> Result<Option<Secret>, Flaw> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(value) => {
                Ok(Some(Secret::new(value.as_ref())).filter(|value| !value.expose().trim().is_empty()))
            }
            _ => Err(flaw(text, key, value, TEXT)),
        }
    }

    fn expiry(&self, text: &str) -> Result<Standing, Flaw> {
        let Some(value) = self.value(EXPIRES_AT) else { return Ok(Standing::Empty) };
        let read = match value.get_ref() {
            DeValue::String(value) if value.is_empty() => return Ok(Standing::Empty),
            DeValue::String(value) => expiry::parse(value),
            DeValue::Integer(number) if number.radix() == 10 => expiry::parse(&number.as_str().replace('_', "")),
            DeValue::Float(number) => expiry::parse(&number.as_str().replace('_', "")),
            DeValue::Datetime(_) => expiry::parse(text.get(value.span()).unwrap_or_default()),
            // Not ours to write over.
            DeValue::Table(_) | DeValue::Array(_) => return Err(flaw(text, EXPIRES_AT, value, expiry::EXPECTED)),
            DeValue::Integer(_) | DeValue::Boolean(_) => None,
        };
        Ok(match read {
            Some((at, spelling)) => Standing::Read(at, spelling),
            None => Standing::Senseless(flaw(text, EXPIRES_AT, value, expiry::EXPECTED)),
        })
    }

    /// The edit that adds keys: behind the last plain key of the table, written as that one is.
    fn adding(&self, text: &str, added: &[(&str, String)]) -> (Range<usize>, String) {
        let end = line_end(text);
        let plain = |value: &DeValue<'_>| !matches!(value, DeValue::Table(_) | DeValue::Array(_));
        let last =
            self.fields.iter().filter(|(_, value)| plain(value.get_ref())).max_by_key(|(_, value)| value.span().end);
        if text.get(self.span.clone()).is_some_and(|source| source.starts_with('{')) {
            let pairs = added.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ");
            // In front of the first key, so that a comma behind the last one makes no difference.
            let at = self.span.start + 1;
            return if self.fields.is_empty() {
                (at..at, format!(" {pairs} "))
            } else {
                (at..at, format!(" {pairs},"))
            };
        }
        // `upstox.access_token = "…"` says its table in front of each key, `[upstox]` only a blank or two.
        let (near, front) = match last {
            Some((key, value)) => (value.span().end, text.get(line_start(text, key.span().start)..key.span().start)),
            None => (self.span.end, None),
        };
        let front = front.unwrap_or_default();
        let rest = text.get(near..).unwrap_or_default();
        let lines = added.iter().map(|(key, value)| format!("{front}{key} = {value}"));
        match rest.find('\n') {
            Some(line) => {
                let at = near + line + 1;
                (at..at, lines.map(|line| line + end).collect())
            }
            // A file without a final line end stays one.
            None => (text.len()..text.len(), lines.map(|line| format!("{end}{line}")).collect()),
        }
    }
}

fn document(text: &str) -> Result<Spanned<DeTable<'_>>, Flaw> {
    // The parser's own words may quote the line, and with it a secret.
    DeTable::parse(text).map_err(|error| Flaw::Malformed {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        key: None,
        expected: "TOML, each key once",
    })
}

fn flaw(text: &str, key: &'static str, value: &Spanned<DeValue<'_>>, expected: &'static str) -> Flaw {
    Flaw::Malformed { line: line_of(text, value.span().start), key: Some(key.to_owned()), expected }
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|head| head.rfind('\n')).map_or(0, |line| line + 1)
}

/// A value in the quotes it had, where they can hold it.
fn quote_as(value: &str, had: &str) -> String {
    let literal = had.starts_with('\'') && !value.contains('\'');
    if literal { format!("'{value}'") } else { basic(value) }
}

/// In double quotes. What is written holds no control character, except a table's name that its owner chose so.
fn basic(value: &str) -> String {
    let mut out = String::from('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[path = "toml_tests.rs"]
mod tests;
