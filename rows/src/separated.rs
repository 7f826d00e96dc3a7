//! Cells between delimiters.
//!
//! The csv crate reads quotes leniently: one without an end takes all that follows as its cell, text behind a closing quote becomes part of the
//! cell, and nobody hears of either. Here both are bad records. A quote opens a cell only where the cell begins; elsewhere it is a letter, as in
//! `5" nail`. What is well formed is read as the csv crate reads it, which the tests compare.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use bytes::Bytes;

use crate::format::Dialect;

/// Finds the cells of one record, line by line.
pub(crate) struct Splitter {
    delimiter: u8,
    quote: Option<u8>,
    /// Cells that are kept; more are only counted.
    most: usize,
    spans: Vec<Span>,
    count: usize,
    /// The cell whose quote is open.
    open: Option<Span>,
}

/// Where a cell lies within the text of its record, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    is_quoted: bool,
    /// It holds doubled quotes.
    is_doubled: bool,
}

/// What a line does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// The record ends with it.
    Whole,
    /// A quote is open: the record goes on.
    Open,
    /// Text stands behind the quote that closes this cell, from 1.
    Trailing { cell: usize },
}

impl Splitter {
    /// Keeps at most so many cells.
    pub(crate) fn new(dialect: &Dialect, most: usize) -> Self {
        let Dialect { delimiter, quote, .. } = *dialect;
        Self { delimiter, quote, most, spans: Vec::new(), count: 0, open: None }
    }

    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.count = 0;
        self.open = None;
    }

    /// The cells so far, the open one not counted.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Reads the line that begins `at` bytes into the text of the record.
    pub(crate) fn feed(&mut self, text: &[u8], mut at: usize, content_end: usize, end: usize) -> Fed {
        let mut open = self.open.take();
        loop {
            if open.is_none() && self.quote.is_some() && text.get(at).copied() == self.quote && at < content_end {
                at = at.saturating_add(1);
                open = Some(Span { start: at, end: at, is_quoted: true, is_doubled: false });
            }
            let span = match open.take() {
                Some(span) => match self.close(span, text, at, end) {
                    Ok(span) => span,
                    Err(span) => {
                        self.open = Some(span);
                        return Fed::Open;
                    }
                },
                None => {
                    let rest = text.get(at..content_end).unwrap_or_default();
                    let size = memchr::memchr(self.delimiter, rest).unwrap_or(rest.len());
                    Span { start: at, end: at.saturating_add(size), is_quoted: false, is_doubled: false }
                }
            };
            at = span.end.saturating_add(usize::from(span.is_quoted));
            self.push(span);
            if at >= content_end {
                return Fed::Whole;
            }
            if text.get(at).copied() != Some(self.delimiter) {
                return Fed::Trailing { cell: self.count };
            }
            at = at.saturating_add(1);
        }
    }

    /// Looks for the quote that closes a cell, and returns the cell as still open if there is none.
    fn close(&self, mut span: Span, text: &[u8], mut at: usize, end: usize) -> Result<Span, Span> {
        let quote = self.quote.unwrap_or_default();
        while let Some(found) = memchr::memchr(quote, text.get(at..end).unwrap_or_default()) {
            span.end = at.saturating_add(found);
            at = span.end.saturating_add(1);
            if at < end && text.get(at).copied() == Some(quote) {
                span.is_doubled = true;
                at = at.saturating_add(1);
            } else {
                return Ok(span);
            }
        }
        Err(span)
    }

    fn push(&mut self, span: Span) {
        self.count = self.count.saturating_add(1);
        if self.spans.len() < self.most {
            self.spans.push(span);
        }
    }

    /// The cells of a whole record, of which `text` is all: `None` where the null text stands. The error is the number of a cell, from 1, and
    /// what is wrong with it.
    pub(crate) fn cells(&self, text: &Bytes, dialect: &Dialect) -> Result<Vec<Option<Bytes>>, (usize, String)> {
        let mut cells = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            let written = text.get(span.start..span.end).unwrap_or_default();
            if !span.is_quoted && dialect.null.as_deref() == Some(written) {
                cells.push(None);
                continue;
            }
            let cell = if span.is_doubled { undoubled(written, self.quote) } else { text.slice_ref(written) };
            let cell = if dialect.escapes && memchr::memchr(b'\\', &cell).is_some() {
                unescaped(&cell).map_err(|reason| (cells.len().saturating_add(1), reason))?
            } else {
                cell
            };
            cells.push(Some(cell));
        }
        Ok(cells)
    }
}

fn undoubled(written: &[u8], quote: Option<u8>) -> Bytes {
    let mut is_second = false;
    let is_kept = |byte: &u8| {
        is_second = Some(*byte) == quote && !is_second;
        is_second || Some(*byte) != quote
    };
    written.iter().copied().filter(is_kept).collect()
}

fn unescaped(written: &[u8]) -> Result<Bytes, String> {
    let mut read = Vec::with_capacity(written.len());
    let mut bytes = written.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            read.push(byte);
            continue;
        }
        read.push(match bytes.next() {
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'\\') => b'\\',
            Some(other) if other.is_ascii_graphic() => {
                return Err(format!("\\{} is no escape{ESCAPES}", char::from(other)));
            }
            Some(_) => return Err(format!("what follows a backslash is no escape{ESCAPES}")),
            None => return Err(format!("a backslash stands at its end{ESCAPES}")),
        });
    }
    Ok(Bytes::from(read))
}

/// What is said to those whose backslashes are meant as such.
const ESCAPES: &str = ": there are \\t, \\n, \\r and \\\\, unless backslashes are to be read as letters";

#[cfg(test)]
mod tests {
    use super::*;

    fn csv() -> Splitter {
        Splitter::new(&Dialect::csv(), 100)
    }

    fn cells(dialect: &Dialect, text: &str) -> Result<Vec<Option<String>>, (usize, String)> {
        let mut splitter = Splitter::new(dialect, 100);
        assert_eq!(splitter.feed(text.as_bytes(), 0, text.len(), text.len()), Fed::Whole, "{text}");
        let cells = splitter.cells(&Bytes::from(text.to_owned()), dialect)?;
        Ok(cells.into_iter().map(|cell| cell.map(|cell| String::from_utf8(cell.to_vec()).unwrap())).collect())
    }

    fn some(cells: &[&str]) -> Result<Vec<Option<String>>, (usize, String)> {
        Ok(cells.iter().map(|cell| Some((*cell).to_owned())).collect())
    }

    #[test]
    fn quotes_hold_what_would_end_a_cell() {
        let csv = Dialect::csv();
        assert_eq!(cells(&csv, "a,b,"), some(&["a", "b", ""]));
        assert_eq!(cells(&csv, r#""a,""b""","",c"#), some(&[r#"a,"b""#, "", "c"]));
        assert_eq!(cells(&csv, r#""""""",x"#), some(&[r#""""#, "x"]));
    }

    #[test]
    fn a_quote_within_a_cell_is_a_letter() {
        assert_eq!(cells(&Dialect::csv(), r#"5" nail, "x""#), some(&[r#"5" nail"#, r#" "x""#]));
    }

    #[test]
    fn text_behind_a_closing_quote_is_seen() {
        let text = br#"a,"b" ,c"#;
        assert_eq!(csv().feed(text, 0, text.len(), text.len()), Fed::Trailing { cell: 2 });
    }

    #[test]
    fn a_cell_goes_on_over_lines_until_its_quote() {
        let text = b"a,\"b\r\nc\",d\n";
        let mut splitter = csv();
        assert_eq!(splitter.feed(text, 0, 4, 6), Fed::Open);
        assert_eq!(splitter.count(), 1);
        assert_eq!(splitter.feed(text, 6, 10, 11), Fed::Whole);
        let cells = splitter.cells(&Bytes::from_static(text), &Dialect::csv()).unwrap();
        assert_eq!(cells, [Some(Bytes::from("a")), Some(Bytes::from("b\r\nc")), Some(Bytes::from("d"))]);
    }

    #[test]
    fn a_null_is_what_stands_for_it_without_quotes_and_before_escapes() {
        let csv = Dialect { null: Some(Vec::new()), ..Dialect::csv() };
        assert_eq!(cells(&csv, "a,,\"\"").unwrap(), [Some("a".into()), None, Some(String::new())]);
        assert_eq!(cells(&Dialect::tsv(), "\\N\t\\\\N").unwrap(), [None, Some("\\N".into())]);
    }

    #[test]
    fn escapes_are_read_and_what_is_none_is_refused() {
        let tsv = Dialect::tsv();
        assert_eq!(cells(&tsv, "a\\tb\\\\n\t\\r\\n"), some(&["a\tb\\n", "\r\n"]));
        assert_eq!(cells(&tsv, "\"5 inch\" nail\t\"x"), some(&["\"5 inch\" nail", "\"x"]));
        for (text, said) in [("a\tC:\\data", "\\d is no escape"), ("a\tb\\", "at its end"), ("a\t\\é", "no escape")] {
            let (cell, reason) = cells(&tsv, text).unwrap_err();
            assert_eq!(cell, 2);
            assert!(reason.contains(said), "{reason}");
        }
        let letters = Dialect { escapes: false, ..tsv };
        assert_eq!(cells(&letters, "C:\\data\t\\n"), some(&["C:\\data", "\\n"]));
    }

    #[test]
    fn cells_that_nobody_wants_are_counted_and_not_held() {
        let text = ",".repeat(1_000);
        let mut splitter = Splitter::new(&Dialect::csv(), 2);
        assert_eq!(splitter.feed(text.as_bytes(), 0, text.len(), text.len()), Fed::Whole);
        assert_eq!((splitter.count(), splitter.spans.len()), (1_001, 2));
    }
}
