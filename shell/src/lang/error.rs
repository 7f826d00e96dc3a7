//! What is wrong with a statement, and where.

use std::borrow::Cow;
use std::fmt;

use crate::{steps, text};

/// Columns that the line of an error takes: those of a usual screen.
const SCREEN_COLUMNS: usize = 80;

/// A place in the text of a statement, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The first byte behind it; the same as `start` for a place between characters.
    pub end: usize,
}

impl Span {
    /// From `start` to before `end`.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Both and what lies between.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// What is wrong with a statement, where, and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LangError {
    /// What is wrong, and what was expected.
    pub message: String,
    /// Where, in bytes of the statement's text.
    pub span: Span,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Where a text begins within a longer one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// The line, from 1.
    pub line: u64,
    /// Characters before it on its line.
    pub column: usize,
    /// The last of these, as many as an error may show.
    pub before: String,
}

impl Default for Start {
    fn default() -> Self {
        Self { line: 1, column: 0, before: String::new() }
    }
}

impl Start {
    /// Goes on to behind `text`, which begins here.
    pub(crate) fn pass(&mut self, text: &str) {
        steps::count(text.len());
        let mut rest = text;
        if let Some(last) = text.rfind('\n') {
            self.line += u64::try_from(text.matches('\n').count()).unwrap_or(u64::MAX);
            rest = &text[last + 1..];
            self.column = 0;
            self.before.clear();
        }
        self.column += rest.chars().count();
        self.before.push_str(rest);
        let cut = self.before.char_indices().nth_back(SCREEN_COLUMNS).map_or(0, |(at, _)| at);
        self.before.drain(..cut);
    }
}

impl LangError {
    /// An error without a hint.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: sentence(message.into()), span, hint: None }
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(sentence(hint.into()));
        self
    }

    /// The whole text for people: the sentence, the line of the place with carets under it, the hint.
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        self.render_in(source, &Start::default(), None)
    }

    /// The same for a text that is a part of a longer one, perhaps in a file.
    pub(crate) fn render_in(&self, source: &str, start: &Start, file: Option<&str>) -> String {
        let from = floor_boundary(source, self.span.start);
        let mut place = start.clone();
        place.pass(&source[..from]);
        let line_end = source[from..].find('\n').map_or(source.len(), |at| from + at);
        let marked_end = floor_boundary(source, self.span.end).clamp(from, line_end);
        let (line, column) = (place.line.to_string(), place.column + 1);
        let margin = " ".repeat(line.len());
        let clean = |text: &str| -> String {
            text.chars().take(SCREEN_COLUMNS + 1).map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        let (before, marked, behind) =
            (clean(&place.before), clean(&source[from..marked_end]), clean(&source[marked_end..line_end]));
        // Of a long line as much is shown as fits the screen, around the place; the caret may stand behind it.
        let room = SCREEN_COLUMNS.saturating_sub(line.len() + 4);
        let wide = [&before, &marked, &behind].iter().map(|part| text::width(part)).sum::<usize>() > room;
        let before = text::cut_start(&before, if wide { room / 3 } else { room });
        let (marked, _) = text::cut(&marked, room - text::width(&before));
        let (behind, _) = text::cut(&behind, room - text::width(&before) - text::width(&marked));
        let shown = format!("{before}{marked}{behind}");
        let carets = " ".repeat(text::width(&before)) + &"^".repeat(text::width(&marked).max(1));
        let label = match file {
            Some(file) => format!("{file}:{line}:{column}"),
            None => format!("line {line}, column {column}"),
        };
        let message = &self.message;
        let mut out = format!("error: {message}\n{margin}--> {label}\n{line} | {shown}\n{margin} | {carets}\n");
        if let Some(hint) = &self.hint {
            out.push_str("hint: ");
            out.push_str(hint);
            out.push('\n');
        }
        out
    }
}

/// What somebody wrote, as much of it as a sentence takes.
pub(crate) fn brief(text: &str) -> Cow<'_, str> {
    text::cut(text, SCREEN_COLUMNS / 2).0
}

/// Whatever is quoted in it, it is no longer than a sentence of ours.
fn sentence(text: String) -> String {
    if let (Cow::Owned(cut), _) = text::cut(&text, 3 * SCREEN_COLUMNS) {
        return cut;
    }
    text
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for LangError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LangError {}

/// The one of `known` that `word` was probably meant to be.
#[must_use]
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = if word.chars().count() <= 3 { 1 } else { 2 };
    let distance = |known: &str| strsim::damerau_levenshtein(&word, &known.to_lowercase());
    known.into_iter().map(|known| (distance(known), known)).filter(|(d, _)| *d <= allowed).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place_counted_in_characters() {
        let source = "SELECT *\nFROM zoë WHERE kez = 1";
        let at = source.find("kez").unwrap();
        let error = LangError::new(Span::new(at, at + 3), "there is no column kez").hint("did you mean key?");
        assert_eq!(
            error.render(source),
            "error: there is no column kez\n --> line 2, column 16\n2 | FROM zoë WHERE kez = 1\n  |                ^^^\nhint: did you mean key?\n"
        );
    }

    #[test]
    fn a_place_at_the_end_is_drawn_behind_the_last_character() {
        let error = LangError::new(Span::new(9, 9), "more was expected");
        assert!(error.render("SELECT ab").contains("1 | SELECT ab\n  |          ^\n"));
        assert!(error.render("").contains("line 1, column 1"));
    }

    #[test]
    fn of_a_long_line_no_more_is_shown_than_fits_the_screen() {
        let long = "東".repeat(9_000);
        for (before, marked, behind) in
            [("", &*long, ""), (&*long, "x", ""), ("", "x", &*long), (&*long, &*long, &*long), ("a", &*long, "b")]
        {
            let source = format!("one\n{before}{marked}{behind}\nthree");
            let start = 4 + before.len();
            let error = LangError::new(Span::new(start, start + marked.len()), format!("no {long}")).hint(long.clone());
            let drawn = error.render(&source);
            assert!(drawn.lines().all(|line| text::width(line) <= 3 * SCREEN_COLUMNS + 10), "{drawn}");
            let lines: Vec<_> = drawn.lines().skip(2).take(2).collect();
            assert!(lines.iter().all(|line| text::width(line) <= SCREEN_COLUMNS), "{drawn}");
            assert!(drawn.contains(&format!("--> line 2, column {}\n", before.chars().count() + 1)));
            assert!(lines[1].contains('^'), "{drawn}");
        }
    }

    #[test]
    fn a_part_of_a_line_is_shown_with_what_stands_before_it() {
        let mut start = Start::default();
        start.pass("SELECT 1;\n  SELECT 2; ");
        let error = LangError::new(Span::new(0, 6), "no");
        assert_eq!(
            error.render_in("SELEKT 3", &start, Some("a.sql")),
            "error: no\n --> a.sql:2:13\n2 |   SELECT 2; SELEKT 3\n  |             ^^^^^^\n"
        );
        start.pass(&"x".repeat(1_000));
        assert_eq!((start.line, start.column, start.before.len()), (2, 1_012, SCREEN_COLUMNS + 1));
    }

    #[test]
    fn only_near_names_are_offered() {
        assert_eq!(nearest("kye", ["key", "value"]), Some("key"));
        assert_eq!(nearest("valeu", ["key", "value"]), Some("value"));
        assert_eq!(nearest("name", ["key", "value"]), None);
    }
}
