//! The `.env` format: `KEY=value` lines, comments, `export`, quotes.
//!
//! Reads what python-dotenv, docker and a shell agree on: `#` starts a comment at the head of a line or after a blank;
//! single quotes are literal; in double quotes a backslash escapes `"`, `\`, `$` and `` ` ``; a quoted value of somebody
//! else's key may span lines. Writes only the value of an owned key, in the quotes it had where they can hold it.

use std::ops::Range;

use chrono::DateTime;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{AccessToken, Secret};

use super::{Change, Flaw, Format, Stored};

/// The keys `<PREFIX>_ACCESS_TOKEN`, `_REFRESH_TOKEN`, `_TOKEN_EXPIRES_AT`, `_USER_ID`, `_API_KEY`, `_API_SECRET` of a
/// `.env` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFormat {
    prefix: String,
}

impl EnvFormat {
    /// The keys that start with `prefix` and an underscore, e.g. `ZERODHA`.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    fn name(&self, key: Owned) -> String {
        format!("{}_{}", self.prefix, key.suffix())
    }

    fn own(&self, name: &str) -> Option<Owned> {
        let suffix = name.strip_prefix(self.prefix.as_str())?.strip_prefix('_')?;
        Owned::ALL.into_iter().find(|key| key.suffix() == suffix)
    }

    /// The assignments of owned keys, each at most once.
    fn entries(&self, text: &str) -> Result<Vec<(Owned, Entry)>, Flaw> {
        let mut entries: Vec<(Owned, Entry)> = Vec::new();
        let mut scan = Scan::new(text);
        while let Some(entry) = scan.next_entry(|name| self.own(name).map(|key| self.name(key)))? {
            let Some(key) = self.own(&entry.name) else { continue };
            let flaw = |expected| Flaw::Malformed { line: entry.line, key: Some(entry.name.clone()), expected };
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(flaw("the key only once in the file"));
            }
            if entry.value.contains(['\n', '\r']) {
                return Err(flaw("a closing quote on the same line"));
            }
            entries.push((key, entry));
        }
        Ok(entries)
    }
}

impl Format for EnvFormat {
    fn parse(&self, text: &str) -> Result<Stored, Flaw> {
        let mut stored = Stored::default();
        for (key, mut entry) in self.entries(text)? {
            let value = std::mem::take(&mut entry.value);
            if value.is_empty() {
                continue;
            }
            match key {
                Owned::AccessToken => stored.access_token = Some(AccessToken::new(value)),
                Owned::RefreshToken => stored.refresh_token = Some(Secret::new(value)),
                Owned::ExpiresAt => {
                    let at = parse_expiry(&value).ok_or(Flaw::Malformed {
                        line: entry.line,
                        key: Some(entry.name),
                        expected: "`yyyy-mm-dd hh:mm:ss` (IST) or an RFC 3339 time",
                    })?;
                    stored.expires_at = Some(at);
                }
                Owned::UserId => stored.user_id = Some(value),
                Owned::ApiKey => stored.api_key = Some(value),
                Owned::ApiSecret => stored.api_secret = Some(Secret::new(value)),
            }
        }
        Ok(stored)
    }

    fn apply(&self, text: &str, change: &Change) -> Result<String, Flaw> {
        let entries = self.entries(text)?;
        let rfc = entries.iter().any(|(key, entry)| *key == Owned::ExpiresAt && entry.value.contains('T'));
        let expires_at = change.expires_at.map(|at| {
            let pattern = if rfc { "%Y-%m-%dT%H:%M:%S+05:30" } else { "%Y-%m-%d %H:%M:%S" };
            at.to_ist().format(pattern).to_string()
        });
        let values = [
            (Owned::AccessToken, change.access_token.as_ref().map(AccessToken::expose)),
            (Owned::RefreshToken, change.refresh_token.as_ref().map(Secret::expose)),
            (Owned::ExpiresAt, expires_at.as_deref()),
        ];

        let line_end = if text.find('\n').is_some_and(|at| text[..at].ends_with('\r')) { "\r\n" } else { "\n" };
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut added = Vec::new();
        for (key, value) in values {
            let Some(value) = value else { continue };
            let name = self.name(key);
            if value.chars().any(char::is_control) {
                return Err(Flaw::Unfit { key: name, reason: "it holds a control character" });
            }
            match entries.iter().find(|(known, _)| *known == key) {
                Some((_, entry)) if entry.value == value => {}
                Some((_, entry)) => edits.push((entry.span.clone(), quote(value, entry.quotes))),
                None => added.push(format!("{name}={}", quote(value, Quotes::None))),
            }
        }

        let mut out = text.to_owned();
        edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        for (span, value) in edits {
            out.replace_range(span, &value);
        }
        // A file without a final line end stays one.
        let bare_end = !out.is_empty() && !out.ends_with('\n');
        for line in added {
            if bare_end {
                out.extend([line_end, &line]);
            } else {
                out.extend([&line, line_end]);
            }
        }
        Ok(out)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owned {
    AccessToken,
    RefreshToken,
    ExpiresAt,
    UserId,
    ApiKey,
    ApiSecret,
}

impl Owned {
    const ALL: [Self; 6] =
        [Self::AccessToken, Self::RefreshToken, Self::ExpiresAt, Self::UserId, Self::ApiKey, Self::ApiSecret];

    const fn suffix(self) -> &'static str {
        match self {
            Self::AccessToken => "ACCESS_TOKEN",
            Self::RefreshToken => "REFRESH_TOKEN",
            Self::ExpiresAt => "TOKEN_EXPIRES_AT",
            Self::UserId => "USER_ID",
            Self::ApiKey => "API_KEY",
            Self::ApiSecret => "API_SECRET",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// One `KEY=value`. No `Debug`: the value may be a secret.
struct Entry {
    name: String,
    /// Of the key, counted from 1.
    line: usize,
    value: String,
    /// The bytes of the value, quotes included.
    span: Range<usize>,
    quotes: Quotes,
}

/// Walks a text from assignment to assignment. Every index stands on a character that was just looked at.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        // Notepad writes a byte order mark; it belongs to no key.
        Self { text, at: if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }, line: 1 }
    }

    /// The next assignment; `own` gives the name to put into a flaw, for owned keys only.
    fn next_entry(&mut self, own: impl Fn(&str) -> Option<String>) -> Result<Option<Entry>, Flaw> {
        while let Some(line) = self.current_line() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                self.advance(line.len());
                self.line_end();
                continue;
            }
            let number = self.line;
            let Some(equals) = line.find('=') else {
                return Err(Flaw::Malformed {
                    line: number,
                    key: None,
                    expected: "`KEY=value`, a comment or a blank line",
                });
            };
            let head = line.get(..equals).unwrap_or_default().trim();
            let name = match head.strip_prefix("export") {
                Some(rest) if rest.starts_with([' ', '\t']) => rest.trim(),
                _ => head,
            };
            let flaw = |expected| Flaw::Malformed { line: number, key: own(name), expected };
            if name.is_empty()
                || name.contains(|letter: char| letter.is_whitespace() || letter == '"' || letter == '\'')
            {
                return Err(flaw("a key of one word before `=`"));
            }
            self.advance(equals + 1);
            let (value, span, quotes) = self.value().map_err(flaw)?;
            return Ok(Some(Entry { name: name.to_owned(), line: number, value, span, quotes }));
        }
        Ok(None)
    }

    /// Reads a value, with `at` just behind the `=`, up to and including the end of its line.
    fn value(&mut self) -> Result<(String, Range<usize>, Quotes), &'static str> {
        let behind_equals = self.at;
        let line = self.current_line().unwrap_or_default();
        let rest = line.trim_start();
        let start = self.at + (line.len() - rest.len());
        let quotes = match rest.chars().next() {
            Some('\'') => Quotes::Single,
            Some('"') => Quotes::Double,
            _ => Quotes::None,
        };
        if quotes == Quotes::None {
            // A comment needs a blank before it; one that is all there is leaves an empty value right behind the `=`.
            let blank_before = |at: usize| line.get(..at).is_some_and(|head| head.ends_with([' ', '\t']));
            let comment = line.match_indices('#').map(|(at, _)| at).find(|at| blank_before(*at)).unwrap_or(line.len());
            let value = line.get(..comment).unwrap_or_default().trim().to_owned();
            let span = if value.is_empty() { behind_equals..behind_equals } else { start..start + value.len() };
            self.advance(line.len());
            self.line_end();
            return Ok((value, span, quotes));
        }
        let body = self.text.get(start + 1..).unwrap_or_default();
        let (value, inside) = unquote(body, quotes).ok_or("a closing quote")?;
        let end = start + 1 + inside + 1;
        self.line += self.text.get(self.at..end).unwrap_or_default().matches('\n').count();
        self.at = end;
        let tail = self.current_line().unwrap_or_default();
        if !(tail.trim().is_empty() || tail.trim_start().starts_with('#')) {
            return Err("nothing but a comment after the closing quote");
        }
        self.advance(tail.len());
        self.line_end();
        Ok((value, start..end, quotes))
    }

    /// What is left of the current line, without its `\n`. `None` at the end of the text.
    fn current_line(&self) -> Option<&'a str> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        Some(rest.split('\n').next().unwrap_or(rest))
    }

    const fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn line_end(&mut self) {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with('\n')) {
            self.at += 1;
            self.line += 1;
        }
    }
}

/// Reads up to the closing quote: the value, and how many bytes it took without that quote.
fn unquote(body: &str, quotes: Quotes) -> Option<(String, usize)> {
    if quotes == Quotes::Single {
        let end = body.find('\'')?;
        return Some((body.get(..end)?.to_owned(), end));
    }
    let mut value = String::new();
    let mut letters = body.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, at)),
            '\\' => match letters.peek() {
                Some((_, escaped)) if ESCAPED.contains(escaped) => {
                    value.push(*escaped);
                    letters.next();
                }
                _ => value.push('\\'),
            },
            _ => value.push(letter),
        }
    }
    None
}

/// What a backslash takes the meaning from in double quotes, in a shell and here.
const ESCAPED: [char; 4] = ['"', '\\', '$', '`'];

/// A value in the quotes it had, or in others that can hold it.
fn quote(value: &str, had: Quotes) -> String {
    let plain = !value.is_empty()
        && value.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./+:=@%,~".contains(letter));
    match had {
        Quotes::None if plain => value.to_owned(),
        // python-dotenv takes a backslash for an escape in single quotes, a shell does not: double quotes say it to both.
        Quotes::None | Quotes::Single if !value.contains(['\'', '\\']) => format!("'{value}'"),
        _ => {
            let mut out = String::from('"');
            for letter in value.chars() {
                if ESCAPED.contains(&letter) {
                    out.push('\\');
                }
                out.push(letter);
            }
            out.push('"');
            out
        }
    }
}

fn parse_expiry(text: &str) -> Option<Timestamp> {
    Timestamp::parse_ist(text).or_else(|| {
        let nanos = DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()?;
        Some(Timestamp::from_nanos(nanos))
    })
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
