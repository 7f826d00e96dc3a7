//! Text that others chose, made safe to show: keys, names, addresses, and whatever another process said.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character escaped that a terminal or a viewer obeys instead of showing: control characters, line separators, and those
/// that turn the direction of writing. The escapes are those of JSON, so that a line of JSON stays one.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            letter if is_obeyed(letter) => {
                write!(escaped, "\\u{:04x}", u32::from(letter)).expect("a string takes all");
            }
            letter => escaped.push(letter),
        }
    }
    Cow::Owned(escaped)
}

/// All of them are below U+10000, where JSON needs one escape.
fn is_obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_all_else_is_left() {
        assert!(matches!(escaped("Grüße, 世界 \\ \"x\""), Cow::Borrowed(_)));
        assert_eq!(escaped("a\n\r\tb\0\u{1b}[31m"), "a\\n\\r\\tb\\u0000\\u001b[31m");
        assert_eq!(escaped("\u{9b}\u{202e}\u{2066}\u{feff}"), "\\u009b\\u202e\\u2066\\ufeff");
    }
}
