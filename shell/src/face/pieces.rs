//! Cuts what is typed or read, line by line, into statements and commands of the shell.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use crate::lang::{BYTE_ORDER_MARK, Open, Splitter, Start, is_blank};
use crate::steps;

/// Longest statement of a script. A missing `;` or quote would otherwise read the whole of a long file into memory.
const MAX_STATEMENT_BYTES: usize = 16 << 20;

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
    pub(super) start: Start,
}

/// Collects lines until they make a whole.
///
/// Invariants:
/// - `pending` begins at `start`, with the statement or comment that is not whole; without one it is empty
#[derive(Default, Debug)]
pub(super) struct Collector {
    pending: String,
    start: Start,
    splitter: Splitter,
}

impl Collector {
    /// True when no statement has begun.
    pub(super) fn is_clear(&self) -> bool {
        self.splitter.unfinished().is_none()
    }

    /// What is typed so far ends in the middle of this.
    pub(super) fn open(&self) -> Option<Open> {
        self.splitter.open().map(|(_, open)| open)
    }

    /// What is typed so far. It may be lent, and must come back as it was.
    pub(super) fn pending_mut(&mut self) -> &mut String {
        &mut self.pending
    }

    /// Takes one line, with its line feed, and gives what is whole now.
    pub(super) fn take_line(&mut self, line: &str, found: &mut VecDeque<Piece>) {
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(behind) if self.splitter.open().is_none() => behind,
            _ => line,
        };
        let blank = line.len() - line.trim_start_matches(is_blank).len();
        let mut command = (self.is_clear() && line[blank..].starts_with('\\')).then_some(blank);
        self.pending.push_str(line);
        let mut given = 0;
        if command.is_none() {
            while let Some(statement) = self.splitter.next(&self.pending) {
                given = self.give(given, statement, found);
            }
            // Behind a semicolon a command of the shell takes the rest of its line.
            command = self.splitter.unfinished().filter(|begun| kind_of(&self.pending[*begun..]) == Kind::Meta);
        }
        let rest = if let Some(begun) = command {
            self.splitter = Splitter::default();
            given = self.give(given, begun..self.pending.len(), found);
            given
        } else {
            let rest = self.splitter.unfinished().unwrap_or(self.pending.len());
            self.splitter.forget(rest);
            rest
        };
        self.start.pass(&self.pending[given..rest]);
        steps::count(if rest > 0 { self.pending.len() } else { 0 });
        self.pending.drain(..rest);
    }

    /// The end of the script: its last statement may lack the semicolon. A comment without an end is one too: the parser says so.
    pub(super) fn finish(&mut self, found: &mut VecDeque<Piece>) {
        if let Some(begun) = self.splitter.unfinished() {
            self.give(0, begun..self.pending.len(), found);
        }
        *self = Self::default();
    }

    /// Gives a piece; what stands before it is passed from `given` on. Returns where it ends.
    fn give(&mut self, given: usize, whole: Range<usize>, found: &mut VecDeque<Piece>) -> usize {
        self.start.pass(&self.pending[given..whole.start]);
        let text = self.pending[whole.clone()].trim_end_matches(is_blank).to_owned();
        found.push_back(Piece { kind: kind_of(&text), text, start: self.start.clone() });
        self.start.pass(&self.pending[whole.clone()]);
        whole.end
    }
}

fn kind_of(text: &str) -> Kind {
    if text.starts_with('\\') { Kind::Meta } else { Kind::Statement }
}

/// Reads a script piece by piece; holds one statement at a time, and the lines that came with it.
pub(super) struct Script<R> {
    source: R,
    collector: Collector,
    found: VecDeque<Piece>,
    /// Of a line that is read in parts: what is taken with the next one.
    held: Vec<u8>,
    is_ended: bool,
}

impl<R: BufRead> Script<R> {
    pub(super) fn new(source: R) -> Self {
        let collector = Collector::default();
        Self { source, collector, found: VecDeque::new(), held: Vec::new(), is_ended: false }
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

    /// The next line, or a part of one that is too long.
    fn read_line(&mut self) -> io::Result<Option<String>> {
        let line = self.collector.start.line;
        let room = MAX_STATEMENT_BYTES.saturating_sub(self.collector.pending.len() + self.held.len());
        if room == 0 {
            return Err(no_script(format!(
                "the statement on line {line} is longer than 16 MiB: is a ; or a quote missing?"
            )));
        }
        let mut bytes = std::mem::take(&mut self.held);
        let at_most = u64::try_from(room).unwrap_or(u64::MAX);
        let read = (&mut self.source).take(at_most).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if read == room && !bytes.ends_with(b"\n") {
            self.held = bytes.split_off(end_of_part(&bytes));
        }
        // A script is text; data that is not belongs into x'..' literals.
        let text = String::from_utf8(bytes).map_err(|_| {
            let line = line + u64::try_from(self.collector.pending.matches('\n').count()).unwrap_or(u64::MAX);
            no_script(format!("line {line} is not UTF-8; write bytes as x'00ff'"))
        })?;
        Ok(Some(text))
    }
}

fn no_script(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Where a part may end: not within a character, nor within what begins or ends a comment.
fn end_of_part(bytes: &[u8]) -> usize {
    let is_within = |byte: &u8| !byte.is_ascii() || matches!(byte, b'-' | b'/' | b'*');
    bytes.iter().rposition(|byte| !is_within(byte)).map_or(bytes.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(script: &str) -> Vec<(u64, String)> {
        let mut script = Script::new(script.as_bytes());
        std::iter::from_fn(|| script.next_piece().unwrap())
            .map(|piece| match piece.kind {
                Kind::Statement => (piece.start.line, piece.text),
                Kind::Meta => (piece.start.line, format!("meta {}", piece.text)),
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
        let before: Vec<_> =
            std::iter::from_fn(|| script.next_piece().unwrap()).map(|piece| piece.start.before).collect();
        assert_eq!(before, ["", "SELECT 1; ", "  ", "3; /* x */ "]);
    }

    #[test]
    fn nothing_is_a_script_too() {
        assert!(pieces("").is_empty() && pieces(" \n\n;;").is_empty() && pieces("-- only a comment\n").is_empty());
    }

    #[test]
    fn a_byte_order_mark_at_the_beginning_is_no_part_of_the_script() {
        let script = "\u{feff}\\timing on\nSELECT 1;\nSELECT '\u{feff}';";
        assert_eq!(pieces(script), owned(&[(1, "meta \\timing on"), (2, "SELECT 1"), (3, "SELECT '\u{feff}'")]));
        assert_eq!(pieces("\u{feff}"), owned(&[]));
    }

    #[test]
    fn byte_order_marks_of_files_that_were_put_together_are_no_part_of_the_script() {
        let script =
            "SELECT 1;\n\u{feff}SELECT\n2;\u{feff}SELECT 3;\n\u{feff} \\timing on\n\u{feff}-- end\nSELECT 4\n\u{feff}";
        let expected = [(1, "SELECT 1"), (2, "SELECT\n2"), (3, "SELECT 3"), (4, "meta \\timing on"), (6, "SELECT 4")];
        assert_eq!(pieces(script), owned(&expected));
        assert_eq!(pieces("SELECT 1;\u{feff}"), owned(&[(1, "SELECT 1")]));
        assert_eq!(pieces("SELECT 'a\n\u{feff}b';"), owned(&[(1, "SELECT 'a\n\u{feff}b'")]), "of a text it is a part");
    }

    #[test]
    fn commands_behind_comments_know_their_line() {
        let script = "-- one\n/* two\n*/\n\\timing on\nSELECT 1;\n";
        assert_eq!(pieces(script), owned(&[(4, "meta \\timing on"), (5, "SELECT 1")]));
    }

    #[test]
    fn a_line_longer_than_a_statement_may_be_is_read_in_parts() {
        // The parts end within letters, and within the signs of comments.
        let text = "ë".repeat(1 << 19);
        for blanks in 0..4 {
            let statement = format!("SELECT {}'{text}' /* ; */", " ".repeat(blanks));
            let script = format!("{statement};").repeat(17);
            assert!(pieces(&script).into_iter().eq(vec![(1, statement); 17]));
        }
        assert_eq!((end_of_part(b"a'b"), end_of_part("aë".as_bytes()), end_of_part(b"a /")), (3, 1, 2));
    }

    #[test]
    fn scripts_are_cut_in_steps_that_grow_with_their_length() {
        let cut = |script: String| drop(pieces(&script));
        let within = |line: &'static str| move |lines: usize| format!("SELECT '{}';", line.repeat(lines));
        steps::grows_linearly("semicolons in a text of many lines", within("a;b\n"), cut);
        steps::grows_linearly("backslashes at the beginning of lines in a text", within("\\d\n"), cut);
        steps::grows_linearly("statements on one line", |statements| "SELECT 1;".repeat(statements), cut);
        steps::grows_linearly("statements on a line each", |statements| "SELECT 1;\n".repeat(statements), cut);
        steps::grows_linearly("comments", |lines| "-- a;\n".repeat(lines) + "SELECT 1;", cut);
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
        let (mut collector, mut found) = (Collector::default(), VecDeque::new());
        collector.take_line("SELECT *\n", &mut found);
        assert!(found.is_empty() && !collector.is_clear());
        collector.take_line("FROM words; SELECT\n", &mut found);
        assert_eq!(found.pop_front().unwrap().text, "SELECT *\nFROM words");
        assert!(found.is_empty() && collector.pending_mut().trim() == "SELECT");
    }
}
