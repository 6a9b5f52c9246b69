//! What the formats share: where in a text something stands, and changing it there and nowhere else.

use std::ops::Range;

/// The byte order mark that Notepad writes; it belongs to no key.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The line of a byte offset, from 1. An offset beyond the end is on the last line.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// How the text ends its lines: as its first one ends.
pub(super) fn line_end(text: &str) -> &'static str {
    let first = text.split_once('\n').map(|(line, _)| line);
    if first.is_some_and(|line| line.ends_with('\r')) { "\r\n" } else { "\n" }
}

/// Why a value can be kept in no format; `None`: it can. A control character would end its line; a blank value is read as
/// none, so that whoever wrote it would believe in a token nobody finds.
pub(super) fn unfit(value: &str) -> Option<&'static str> {
    if value.trim().is_empty() {
        return Some("it is blank");
    }
    value.chars().any(char::is_control).then_some("it holds a control character")
}

/// `text` with each span replaced; every other byte stays. Spans lie on character borders and do not overlap. Of two
/// insertions at one place the first stands first.
pub(super) fn splice(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    let mut out = String::with_capacity(text.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>());
    let mut at = 0;
    for (span, new) in edits {
        out.push_str(text.get(at..span.start).unwrap_or_default());
        out.push_str(&new);
        at = span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spans_change_in_whatever_order_they_come() {
        let edits = vec![(4..5, "ü".to_owned()), (0..1, String::new()), (2..2, "x".to_owned()), (2..2, "y".to_owned())];
        assert_eq!(splice("ab cde", edits), "bxy cüe");
    }

    #[test]
    fn lines_are_counted_from_one_and_end_as_the_first_does() {
        assert_eq!((line_of("a\nb", 0), line_of("a\nb", 2), line_of("a\nb", 99)), (1, 2, 2));
        assert_eq!((line_end(""), line_end("a\r\nb\n"), line_end("a\nb\r\n")), ("\n", "\r\n", "\n"));
    }
}
