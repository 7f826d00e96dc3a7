//! Text in the columns of a terminal. What would move the cursor was escaped before, by [`holdfast_output::visible`].

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for what was cut off.
pub(crate) const ELLIPSIS: char = '…';

/// How many columns of a terminal the text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most so many columns; `true` when something was cut off, which the last column says.
pub(crate) fn cut(text: &str, columns: usize) -> (Cow<'_, str>, bool) {
    // Most cells are short and plain: their bytes are their columns at most.
    if text.len() <= columns || width(text) <= columns {
        return (Cow::Borrowed(text), false);
    }
    if columns == 0 {
        return (Cow::Borrowed(""), true);
    }
    let mut taken = 0;
    let mut kept = String::new();
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide + 1 > columns {
            break;
        }
        taken += wide;
        kept.push(c);
    }
    kept.push(ELLIPSIS);
    (Cow::Owned(kept), true)
}

/// The end of the text in at most so many columns, behind what says that something was cut off.
pub(crate) fn cut_start(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut taken = 1;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken <= columns
    };
    let kept: Vec<char> = text.chars().rev().take_while(fits).collect();
    Cow::Owned(std::iter::once(ELLIPSIS).chain(kept.into_iter().rev()).collect())
}

/// A count with its noun: `1 row`, `1,234 rows`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Bytes as people read them: `999 B`, `4.2 MiB`.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = count as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_letters_are_cut_by_columns_and_not_by_bytes() {
        assert_eq!(cut("東京都", 6), (Cow::Borrowed("東京都"), false));
        assert_eq!(cut("東京都", 5), (Cow::Owned("東京…".to_owned()), true));
        assert_eq!(cut("東京都", 4), (Cow::Owned("東…".to_owned()), true));
        assert_eq!(cut("abc", 3), (Cow::Borrowed("abc"), false));
        assert_eq!(cut("abcd", 3), (Cow::Owned("ab…".to_owned()), true));
        assert_eq!(
            (cut_start("東京都", 5), cut_start("東京都", 6)),
            (Cow::Owned("…京都".to_owned()), Cow::Borrowed("東京都"))
        );
        // A letter and its accent are two characters and one column.
        assert_eq!(cut("e\u{301}e\u{301}", 2), (Cow::Borrowed("e\u{301}e\u{301}"), false));
    }

    #[test]
    fn numbers_are_grouped_and_bytes_rounded() {
        assert_eq!((grouped(0).as_str(), grouped(999).as_str(), grouped(1000).as_str()), ("0", "999", "1,000"));
        assert_eq!((counted(1, "row"), counted(1_234_567, "row")), ("1 row".into(), "1,234,567 rows".into()));
        assert_eq!(
            (bytes(1023), bytes(1024), bytes(5 * 1024 * 1024)),
            ("1023 B".into(), "1.0 KiB".into(), "5.0 MiB".into())
        );
    }
}
