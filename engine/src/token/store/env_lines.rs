//! The lines of a `.env` file: what stands where, in which quotes.
//!
//! Promise: total over any text, and a flaw never shows a value.

use std::ops::Range;

use super::Flaw;
use super::text::BYTE_ORDER_MARK;

/// How a value is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// None at all.
    None,
    /// Literal.
    Single,
    /// With escapes.
    Double,
}

/// One `KEY=value`. No `Debug`: the value may be a secret.
pub(super) struct Entry {
    pub(super) name: String,
    /// Of the key, counted from 1.
    pub(super) line: usize,
    pub(super) value: String,
    /// The bytes of the value, quotes included.
    pub(super) span: Range<usize>,
    pub(super) quotes: Quotes,
}

/// Walks a text from assignment to assignment. Every index stands on a character that was just looked at.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 }, line: 1 }
    }

    /// The next assignment; `own` gives the name to put into a flaw, for owned keys only.
    pub(super) fn next_entry(&mut self, own: impl Fn(&str) -> Option<String>) -> Result<Option<Entry>, Flaw> {
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
pub(super) fn quote(value: &str, had: Quotes) -> String {
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
