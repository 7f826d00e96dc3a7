//! Cuts what is typed or read, line by line, into statements and commands of the shell.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use crate::lang::{is_complete, open_at_end, split_statements};

/// Longest statement of a script. A missing `;` or quote would otherwise read the whole of a long file into memory.
const MAX_STATEMENT_BYTES: usize = 16 << 20;
/// What stands before a statement on its line is kept for error messages, up to this.
const MAX_BEFORE_BYTES: usize = 1 << 10;

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A statement, without its semicolon.
    Statement,
    /// A line that begins with a backslash.
    Meta,
}

/// A piece of a script, or of what was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// The line, from 1, that it begins on.
    pub(super) line: u64,
    /// What stands before it on that line.
    pub(super) before: String,
}

/// Collects lines until they make a whole.
///
/// Invariants:
/// - `pending` begins where its first statement begins, on `line`, after `before`
#[derive(Debug)]
pub(super) struct Collector {
    pending: String,
    line: u64,
    before: String,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self { pending: String::new(), line: 1, before: String::new() }
    }

    /// True when no statement has begun.
    pub(super) fn is_clear(&self) -> bool {
        is_complete(&self.pending)
    }

    /// What is typed so far.
    pub(super) fn pending(&self) -> &str {
        &self.pending
    }

    /// Forgets what is typed so far.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Takes one line, with its line feed, and gives what is whole now.
    pub(super) fn take_line(&mut self, line: &str, found: &mut VecDeque<Piece>) {
        if line.trim_start().starts_with('\\') && self.is_clear() {
            self.drop_blank();
            found.push_back(self.piece(Kind::Meta, line.trim(), 0));
            self.line += lines_in(line);
            return;
        }
        self.pending.push_str(line);
        // Only a semicolon can end a statement: a line without one is no reason to look at all of them again.
        if line.contains(';') {
            self.cut(found);
        }
    }

    /// The line that was typed ended without a line feed of its own.
    pub(super) fn end_line(&mut self) {
        if !self.pending.is_empty() {
            self.pending.push('\n');
        }
    }

    /// The end of the script: its last statement may lack the semicolon.
    pub(super) fn finish(&mut self, found: &mut VecDeque<Piece>) {
        self.cut(found);
        if let Some(rest) = split_statements(&self.pending).first() {
            found.push_back(self.piece(kind_of(rest.text), rest.text, rest.range.start));
        } else if open_at_end(&self.pending).is_some() {
            // A comment without an end: the parser says so.
            let text = self.pending.trim();
            found.push_back(self.piece(Kind::Statement, text, self.pending.len() - self.pending.trim_start().len()));
        }
        self.pending.clear();
    }

    fn cut(&mut self, found: &mut VecDeque<Piece>) {
        let mut given = 0;
        for cut in split_statements(&self.pending) {
            // Behind a semicolon a command of the shell takes the rest of its line.
            let is_whole = cut.ended || kind_of(cut.text) == Kind::Meta;
            if !is_whole {
                break;
            }
            given = cut.range.end + usize::from(cut.ended);
            found.push_back(self.piece(kind_of(cut.text), cut.text, cut.range.start));
        }
        if given == 0 {
            return;
        }
        let line_start = self.pending[..given].rfind('\n').map(|at| at + 1);
        let before_first = line_start.map_or(self.before.clone(), |_| String::new());
        let before = before_first + &self.pending[line_start.unwrap_or(0)..given];
        self.before = if before.len() <= MAX_BEFORE_BYTES { before } else { String::new() };
        self.line += lines_in(&self.pending[..given]);
        self.pending.drain(..given);
        self.drop_blank();
    }

    /// Drops blanks before the first statement.
    fn drop_blank(&mut self) {
        let blank = self.pending.len() - self.pending.trim_start().len();
        if let Some(line_start) = self.pending[..blank].rfind('\n') {
            self.line += lines_in(&self.pending[..blank]);
            self.before = self.pending[line_start + 1..blank].to_owned();
        } else {
            self.before.push_str(&self.pending[..blank]);
        }
        self.pending.drain(..blank);
    }

    fn piece(&self, kind: Kind, text: &str, start: usize) -> Piece {
        let line_start = self.pending[..start].rfind('\n').map(|at| at + 1);
        let before_first = line_start.map_or(self.before.as_str(), |_| "");
        let before = format!("{before_first}{}", &self.pending[line_start.unwrap_or(0)..start]);
        Piece { kind, text: text.to_owned(), line: self.line + lines_in(&self.pending[..start]), before }
    }
}

fn kind_of(text: &str) -> Kind {
    if text.starts_with('\\') { Kind::Meta } else { Kind::Statement }
}

fn lines_in(text: &str) -> u64 {
    u64::try_from(text.matches('\n').count()).unwrap_or(u64::MAX)
}

/// Reads a script piece by piece; holds one statement at a time, and the lines that came with it.
pub(super) struct Script<R> {
    source: R,
    collector: Collector,
    found: VecDeque<Piece>,
    is_ended: bool,
}

impl<R: BufRead> Script<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, collector: Collector::new(), found: VecDeque::new(), is_ended: false }
    }

    /// The next piece; `None`: the script is at its end.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        while self.found.is_empty() && !self.is_ended {
            match self.read_line()? {
                Some(line) => self.collector.take_line(&line, &mut self.found),
                None => {
                    self.is_ended = true;
                    self.collector.finish(&mut self.found);
                }
            }
        }
        Ok(self.found.pop_front())
    }

    fn read_line(&mut self) -> io::Result<Option<String>> {
        let pending = &self.collector.pending;
        let room = MAX_STATEMENT_BYTES.saturating_sub(pending.len());
        if room == 0 {
            let line = self.collector.line;
            let text = format!("the statement on line {line} is longer than 16 MiB: is a ; or a quote missing?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut bytes = Vec::new();
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        if (&mut self.source).take(room).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        // A script is text; data that is not belongs into x'..' literals.
        String::from_utf8(bytes).map(Some).map_err(|_| {
            let line = self.collector.line + lines_in(pending);
            io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8; write bytes as x'00ff'"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(script: &str) -> Vec<(u64, String)> {
        let mut script = Script::new(script.as_bytes());
        std::iter::from_fn(|| script.next_piece().unwrap())
            .map(|piece| match piece.kind {
                Kind::Statement => (piece.line, piece.text),
                Kind::Meta => (piece.line, format!("meta {}", piece.text)),
            })
            .collect()
    }

    fn owned(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn statements_end_with_a_semicolon_and_know_their_line() {
        let script = "SELECT 1;SELECT\n 2;\n\n  SELECT 3 ;\n-- now the last\nSELECT 4";
        let expected = [(1, "SELECT 1"), (1, "SELECT\n 2"), (4, "SELECT 3"), (6, "SELECT 4")];
        assert_eq!(pieces(script), owned(&expected));
    }

    #[test]
    fn a_semicolon_in_a_literal_or_a_comment_ends_nothing() {
        let script = "SELECT ';\n;' -- ; not here\n, 'it''s;';\nSELECT 2;";
        assert_eq!(pieces(script), owned(&[(1, "SELECT ';\n;' -- ; not here\n, 'it''s;'"), (4, "SELECT 2")]));
    }

    #[test]
    fn commands_of_the_shell_take_their_line_and_no_more() {
        let script = "\\timing on\nSELECT 1;\n  \\format csv\nSELECT '\n\\q';\\q\n";
        let expected = [
            (1, "meta \\timing on"),
            (2, "SELECT 1"),
            (3, "meta \\format csv"),
            (4, "SELECT '\n\\q'"),
            (5, "meta \\q"),
        ];
        assert_eq!(pieces(script), owned(&expected));
    }

    #[test]
    fn what_stands_before_a_statement_on_its_line_is_known() {
        let mut script = Script::new(&b"SELECT 1; SELECT 2;\n  SELECT\n3; /* x */ SELECT 4"[..]);
        let before: Vec<_> = std::iter::from_fn(|| script.next_piece().unwrap()).map(|piece| piece.before).collect();
        assert_eq!(before, ["", "SELECT 1; ", "  ", "3; /* x */ "]);
    }

    #[test]
    fn nothing_is_a_script_too() {
        assert!(pieces("").is_empty() && pieces(" \n\n;;").is_empty() && pieces("-- only a comment\n").is_empty());
    }

    #[test]
    fn a_comment_without_an_end_is_not_silently_dropped() {
        assert_eq!(pieces("SELECT 1;\n/* SELECT 2;"), owned(&[(1, "SELECT 1"), (2, "/* SELECT 2;")]));
    }

    #[test]
    fn a_script_that_is_no_text_says_on_which_line() {
        let mut script = Script::new(&b"SELECT 1;\n'\xff';\n"[..]);
        script.next_piece().unwrap();
        assert!(script.next_piece().unwrap_err().to_string().contains("line 2 is not UTF-8"));
    }

    #[test]
    fn a_missing_quote_does_not_eat_all_memory() {
        let endless = "'".to_owned() + &"x".repeat(MAX_STATEMENT_BYTES);
        let error = Script::new(endless.as_bytes()).next_piece().unwrap_err();
        assert!(error.to_string().contains("line 1 is longer than 16 MiB"), "{error}");
    }

    #[test]
    fn lines_that_are_typed_make_a_statement_when_the_semicolon_comes() {
        let (mut collector, mut found) = (Collector::new(), VecDeque::new());
        collector.take_line("SELECT *\n", &mut found);
        assert!(found.is_empty() && !collector.is_clear());
        collector.take_line("FROM words; SELECT\n", &mut found);
        assert_eq!(found.pop_front().unwrap().text, "SELECT *\nFROM words");
        assert_eq!(collector.pending().trim(), "SELECT");
        collector.clear();
        assert!(found.is_empty() && collector.is_clear());
    }
}
