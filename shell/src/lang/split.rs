//! Where one statement ends and the next begins: quotes, comments and `;`.

use std::ops::Range;

/// One statement of a longer text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// Its text, without the `;` behind it and without blanks and comments before it.
    pub text: &'a str,
    /// Where it lies in the longer text, in bytes.
    pub range: Range<usize>,
    /// A `;` ends it.
    pub ended: bool,
}

/// What the reader is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// A text between single quotes.
    Quote,
    /// A name between double quotes.
    Name,
    /// A comment between `/*` and `*/`.
    Comment,
}

/// Cuts a text into its statements. Empty ones are left out; the last one may lack its `;`.
#[must_use]
pub fn split_statements(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut scanner = Scanner::new(text);
    let mut start = None;
    while let Some(token) = scanner.next() {
        match token.kind {
            Kind::Blank => {}
            Kind::End => {
                if let Some(start) = start.take() {
                    pieces.push(piece(text, start..token.range.start, true));
                }
            }
            Kind::Text => {
                start.get_or_insert(token.range.start);
            }
        }
    }
    if let Some(start) = start {
        pieces.push(piece(text, start..text.len(), false));
    }
    pieces
}

fn piece(text: &str, range: Range<usize>, ended: bool) -> Piece<'_> {
    let trimmed = text[range.clone()].trim_end();
    Piece { text: trimmed, range: range.start..range.start + trimmed.len(), ended }
}

/// True when nothing more has to be typed: every statement is ended by `;`, or there is none.
#[must_use]
pub fn is_complete(text: &str) -> bool {
    open_at_end(text).is_none() && split_statements(text).last().is_none_or(|last| last.ended)
}

/// What the text ends in the middle of; for prompts.
#[must_use]
pub fn open_at_end(text: &str) -> Option<Open> {
    let mut scanner = Scanner::new(text);
    while scanner.next().is_some() {}
    scanner.open
}

/// Where what is not closed begins, and what it is.
pub(super) fn unclosed(text: &str) -> Option<(usize, Open)> {
    let mut scanner = Scanner::new(text);
    let mut last = 0;
    while let Some(token) = scanner.next() {
        last = token.range.start;
    }
    scanner.open.map(|open| (last, open))
}

/// How long the word or sign at a place is, in bytes; 0 at the end.
pub(super) fn word_at(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Blank,
    End,
}

struct Token {
    kind: Kind,
    range: Range<usize>,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    open: Option<Open>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: None }
    }

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let rest = &self.text[start..];
        let first = rest.chars().next()?;
        let (kind, length) = if first == ';' {
            (Kind::End, 1)
        } else if first.is_whitespace() {
            (Kind::Blank, first.len_utf8())
        } else if rest.starts_with("--") {
            (Kind::Blank, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (Kind::Blank, self.comment(rest))
        } else if first == '\'' {
            (Kind::Text, self.quoted(rest, '\'', Open::Quote))
        } else if first == '"' {
            (Kind::Text, self.quoted(rest, '"', Open::Name))
        } else {
            (Kind::Text, first.len_utf8())
        };
        self.at += length;
        Some(Token { kind, range: start..self.at })
    }

    /// A doubled quote stands for itself: it ends one quoted piece and begins the next, which comes to the same.
    fn quoted(&mut self, rest: &str, quote: char, open: Open) -> usize {
        if let Some(length) = rest[1..].find(quote) {
            return length + 2;
        }
        self.open = Some(open);
        rest.len()
    }

    /// Comments nest, as in SQL.
    fn comment(&mut self, rest: &str) -> usize {
        let (mut depth, mut at) = (0_u32, 0);
        loop {
            let inner = &rest[at..];
            let Some(next) = [inner.find("/*"), inner.find("*/")].into_iter().flatten().min() else {
                self.open = Some(Open::Comment);
                return rest.len();
            };
            depth = if inner[next..].starts_with("/*") { depth + 1 } else { depth - 1 };
            at += next + 2;
            if depth == 0 {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split_statements(text).into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        assert_eq!(texts("a; b ;;\n c"), ["a", "b", "c"]);
        assert_eq!(texts("a 'x;y''z;' b; c"), ["a 'x;y''z;' b", "c"]);
        assert_eq!(texts("a -- ;\n b; \"x;\""), ["a -- ;\n b", "\"x;\""]);
        assert_eq!(texts("/* ; /* ; */ ; */ a; -- end"), ["a"]);
        assert_eq!(texts(" -- nothing\n"), Vec::<&str>::new());
    }

    #[test]
    fn pieces_say_where_they_lie() {
        let text = "  SELECT 1 ;\n zoë; ";
        for piece in split_statements(text) {
            assert_eq!(&text[piece.range.clone()], piece.text);
        }
    }

    #[test]
    fn a_statement_is_complete_with_its_semicolon() {
        assert!(is_complete("") && is_complete("a;") && is_complete("a; -- done") && is_complete("a; /* b */ "));
        assert!(!is_complete("a") && !is_complete("a; b") && !is_complete("a '; ") && !is_complete("a; /* "));
        assert_eq!(open_at_end("a 'b"), Some(Open::Quote));
        assert_eq!(open_at_end("a \"b"), Some(Open::Name));
        assert_eq!(open_at_end("/* /* */"), Some(Open::Comment));
        assert_eq!(open_at_end("a 'it''s'"), None);
    }
}
