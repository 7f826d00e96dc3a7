//! Cells between delimiters.

use std::io;

use super::cell::encode_cell;
use crate::format::Dialect;

/// Appends one row with its line end.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a cell that the dialect cannot hold. The line is then of no use.
pub(super) fn push_row(line: &mut Vec<u8>, dialect: &Dialect, cells: &[Option<&[u8]>]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push(dialect.delimiter);
        }
        match cell {
            None => push_null(line, dialect)?,
            Some(bytes) => push_text(line, dialect, encode_cell(bytes).as_bytes(), cells.len() == 1)?,
        }
    }
    line.push(b'\n');
    Ok(())
}

fn unwritable(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}

fn push_null(line: &mut Vec<u8>, dialect: &Dialect) -> io::Result<()> {
    match &dialect.null {
        Some(null) => line.extend_from_slice(null),
        None => return Err(unwritable("a cell has no value, and no text was named that stands for none")),
    }
    Ok(())
}

/// `alone`: it is the only cell of its row, which would be a blank line without a character.
fn push_text(line: &mut Vec<u8>, dialect: &Dialect, text: &[u8], alone: bool) -> io::Result<()> {
    let null = dialect.null.as_deref();
    let Some(quote) = dialect.quote else {
        let begins = line.len();
        push_unquoted(line, dialect, text)?;
        if line.get(begins..) == null {
            return Err(unwritable(
                "a cell is the text that stands for no value, and there are no quotes to tell them apart",
            ));
        }
        return Ok(());
    };
    let special = |byte: &u8| *byte == quote || *byte == dialect.delimiter || matches!(byte, b'\n' | b'\r');
    let needs_quotes =
        text.iter().any(special) || null == Some(text) || (alone && text.is_empty()) || has_outer_space(text);
    if !needs_quotes {
        push_escaped(line, dialect, text, None);
        return Ok(());
    }
    line.push(quote);
    push_escaped(line, dialect, text, Some(quote));
    line.push(quote);
    Ok(())
}

fn push_unquoted(line: &mut Vec<u8>, dialect: &Dialect, text: &[u8]) -> io::Result<()> {
    let ends_it = |byte: &u8| match byte {
        b'\n' | b'\r' => !dialect.escapes,
        b'\t' => dialect.delimiter == b'\t' && !dialect.escapes,
        byte => *byte == dialect.delimiter,
    };
    if text.iter().any(ends_it) {
        return Err(unwritable(
            "a cell holds a delimiter or a line end, and there are neither quotes nor escapes for it",
        ));
    }
    push_escaped(line, dialect, text, None);
    Ok(())
}

/// `quote` is doubled.
fn push_escaped(line: &mut Vec<u8>, dialect: &Dialect, text: &[u8], quote: Option<u8>) {
    if !dialect.escapes && quote.is_none() {
        line.extend_from_slice(text);
        return;
    }
    for byte in text {
        match byte {
            b'\t' if dialect.escapes => line.extend_from_slice(b"\\t"),
            b'\n' if dialect.escapes => line.extend_from_slice(b"\\n"),
            b'\r' if dialect.escapes => line.extend_from_slice(b"\\r"),
            b'\\' if dialect.escapes => line.extend_from_slice(b"\\\\"),
            byte if Some(*byte) == quote => line.extend_from_slice(&[*byte, *byte]),
            byte => line.push(*byte),
        }
    }
}

/// Some readers cut the space around a cell without quotes, and a mark at the beginning of a file.
fn has_outer_space(text: &[u8]) -> bool {
    let is_outer = |c: char| c.is_whitespace() || c == '\u{feff}';
    std::str::from_utf8(text).is_ok_and(|text| text.starts_with(is_outer) || text.ends_with(is_outer))
}
