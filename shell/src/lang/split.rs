//! Where one statement ends and the next begins: quotes, comments and `;`.

use std::ops::Range;

use crate::steps;

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

/// A byte order mark. Where files were put together it stands in the middle of a script, and at its end when the last of them holds nothing else.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// True for what means nothing between two statements.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == BYTE_ORDER_MARK
}

/// Cuts a text into its statements. Empty ones are left out; the last one may lack its `;`.
#[must_use]
pub fn split_statements(text: &str) -> Vec<Piece<'_>> {
    let mut splitter = Splitter::default();
    let mut pieces: Vec<_> = std::iter::from_fn(|| splitter.next(text)).map(|range| piece(text, range, true)).collect();
    pieces.extend(splitter.begun.map(|start| piece(text, start..text.len(), false)));
    pieces
}

fn piece(text: &str, range: Range<usize>, ended: bool) -> Piece<'_> {
    let trimmed = text[range.clone()].trim_end_matches(is_blank);
    Piece { text: trimmed, range: range.start..range.start + trimmed.len(), ended }
}

/// What the text ends in the middle of, and where that begins.
#[must_use]
pub fn open_at_end(text: &str) -> Option<(usize, Open)> {
    let mut splitter = Splitter::default();
    while splitter.next(text).is_some() {}
    splitter.open()
}

/// How long the word or sign at a place is, in bytes; 0 at the end.
pub(super) fn word_at(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) }
}

/// What the splitter is in the middle of.
#[derive(Clone, Copy, Default, Debug)]
enum Inside {
    #[default]
    Nothing,
    /// A comment up to the end of the line.
    Line,
    /// Between quotes. A doubled quote stands for itself: it ends one quoted piece and begins the next, which comes to the same.
    Quoted(char),
    /// Comments nest, as in SQL: so deep.
    Comment(usize),
}

/// Finds the ends of statements in a text that grows: it looks at each byte once. What is added must not begin within `--`, `/*` or `*/`.
#[derive(Clone, Default, Debug)]
pub(crate) struct Splitter {
    /// So far it has looked.
    at: usize,
    /// Where the statement begins that it is in.
    begun: Option<usize>,
    inside: Inside,
    /// Where that begins.
    inside_from: usize,
}

impl Splitter {
    /// The next statement of the text that a `;` ends, without that; `None`: there is none yet.
    pub(crate) fn next(&mut self, text: &str) -> Option<Range<usize>> {
        while let Some(first) = text[self.at..].chars().next() {
            let start = self.at;
            let rest = &text[start..];
            match self.inside {
                Inside::Nothing if first == ';' => {
                    self.at += 1;
                    if let Some(begun) = self.begun.take() {
                        return Some(begun..start);
                    }
                }
                Inside::Nothing => self.enter(first, rest),
                Inside::Line => self.leave(rest.find('\n'), rest),
                Inside::Quoted(quote) => self.leave(rest.find(quote).map(|at| at + 1), rest),
                Inside::Comment(depth) => match rest.find(['*', '/']) {
                    None => self.at += rest.len(),
                    Some(sign) => {
                        let (step, depth) = match &rest.as_bytes()[sign..] {
                            [b'/', b'*', ..] => (2, depth + 1),
                            [b'*', b'/', ..] => (2, depth - 1),
                            _ => (1, depth),
                        };
                        self.at += sign + step;
                        self.inside = if depth == 0 { Inside::Nothing } else { Inside::Comment(depth) };
                    }
                },
            }
            steps::count(self.at - start);
        }
        None
    }

    fn enter(&mut self, first: char, rest: &str) {
        let (inside, length) = match first {
            '\'' | '"' => (Inside::Quoted(first), 1),
            '-' if rest.starts_with("--") => (Inside::Line, 2),
            '/' if rest.starts_with("/*") => (Inside::Comment(1), 2),
            _ => (Inside::Nothing, first.len_utf8()),
        };
        if !is_blank(first) && !matches!(inside, Inside::Line | Inside::Comment(_)) {
            self.begun.get_or_insert(self.at);
        }
        (self.inside, self.inside_from) = (inside, self.at);
        self.at += length;
    }

    fn leave(&mut self, end: Option<usize>, rest: &str) {
        self.at += end.unwrap_or(rest.len());
        if end.is_some() {
            self.inside = Inside::Nothing;
        }
    }

    /// What it is in the middle of, and where that begins.
    pub(crate) fn open(&self) -> Option<(usize, Open)> {
        let open = match self.inside {
            Inside::Nothing | Inside::Line => return None,
            Inside::Quoted('"') => Open::Name,
            Inside::Quoted(_) => Open::Quote,
            Inside::Comment(_) => Open::Comment,
        };
        Some((self.inside_from, open))
    }

    /// Where the statement or the comment begins that is not at its end; `None`: nothing is.
    pub(crate) fn unfinished(&self) -> Option<usize> {
        self.begun.or_else(|| self.open().map(|(from, _)| from))
    }

    /// The first `bytes` of the text are gone, which hold nothing unfinished.
    pub(crate) fn forget(&mut self, bytes: usize) {
        self.at -= bytes;
        self.begun = self.begun.map(|begun| begun - bytes);
        self.inside_from = self.inside_from.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert_eq!(texts("\u{feff}a;\u{feff}b '\u{feff}';\n\u{feff}c\u{feff}"), ["a", "b '\u{feff}'", "c"]);
        assert_eq!(texts("a;\u{feff}"), ["a"]);
    }

    #[test]
    fn pieces_say_where_they_lie() {
        let text = "  SELECT 1 ;\n zoë; ";
        for piece in split_statements(text) {
            assert_eq!(&text[piece.range.clone()], piece.text);
        }
    }

    #[test]
    fn what_is_open_at_the_end_is_known_with_its_place() {
        assert_eq!(open_at_end("a 'b"), Some((2, Open::Quote)));
        assert_eq!(open_at_end("a \"b"), Some((2, Open::Name)));
        assert_eq!(open_at_end("; /* /* */"), Some((2, Open::Comment)));
        assert_eq!(open_at_end("a 'it''s' -- 'x"), None);
    }

    proptest! {
        #[test]
        fn a_text_that_grows_line_by_line_is_split_as_the_whole_is(text in "[ab;'\"\n/*-]{0,40}") {
            let (mut splitter, mut found, mut so_far) = (Splitter::default(), Vec::new(), String::new());
            for line in text.split_inclusive('\n') {
                so_far.push_str(line);
                found.extend(std::iter::from_fn(|| splitter.next(&so_far)));
            }
            let whole: Vec<_> = split_statements(&text).into_iter().filter(|piece| piece.ended).collect();
            let found: Vec<_> = found.into_iter().map(|range| piece(&text, range, true)).collect();
            prop_assert_eq!(found, whole);
            prop_assert_eq!(splitter.open(), open_at_end(&text));
        }
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let split = |text: String| drop(split_statements(&text));
        steps::grows_linearly("semicolons in text", |lines| "SELECT ';';\n".repeat(lines), split);
        steps::grows_linearly("nested comments", |depth| "/*".repeat(depth) + &"*/".repeat(depth), split);
        steps::grows_linearly("signs in a comment", |signs| "/* */ /".repeat(signs), split);
    }
}
