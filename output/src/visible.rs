//! Text as a terminal may be given it. Keys, values and names are anybody's bytes; printed as they are, they could clear the screen, rename
//! the window, or look like a line that we wrote.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text that stays within its line: control characters, and marks that change the direction of text or are not seen, are escaped as in
/// JSON, so that a line of JSON says what it said; line ends and tabs too. A backslash stays as it is: this is for reading.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// The same of a text that may have several lines: line ends and tabs stay.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t'))
}

/// Bytes as text: what is no UTF-8 becomes `\xff`, everything else stays.
#[must_use]
pub fn readable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        shown.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    Cow::Owned(shown)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(shown)
}

fn is_hidden(c: char) -> bool {
    // Beside control characters: line separators, directional marks, the byte order mark and tags, which terminals obey or swallow.
    c.is_control()
        || matches!(
            c,
            '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{061c}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_moves_the_cursor_or_ends_the_line() {
        assert_eq!(visible("a\tb\r\n\u{1b}[2J\u{7f}\u{85}\u{9b}1m"), "a\\tb\\r\\n\\u001b[2J\\u007f\\u0085\\u009b1m");
        assert_eq!(visible("safe\u{202e}gnp.exe"), "safe\\u202egnp.exe");
        assert!(matches!(visible("Zoë 東京 \\ {\"a\":1}"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_and_tabs_stay_where_there_may_be_several() {
        assert_eq!(visible_lines("a\tb\n\r\u{1b}]0;title\u{7}\n"), "a\tb\n\\r\\u001b]0;title\\u0007\n");
        assert!(matches!(visible_lines("a\n\tb\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        assert!(matches!(readable("é\u{1b}".as_bytes()), Cow::Borrowed("é\u{1b}")));
        assert_eq!(readable(b"a\xffb\xc3"), "a\\xffb\\xc3");
    }

    #[test]
    fn no_character_that_is_shown_is_a_control_character() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        assert!(!visible(&all).chars().any(char::is_control));
        let kept: std::collections::BTreeSet<_> = visible_lines(&all).chars().filter(|c| c.is_control()).collect();
        assert_eq!(kept, std::collections::BTreeSet::from(['\n', '\t']));
    }
}
