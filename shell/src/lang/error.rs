//! What is wrong with a statement, and where.

use std::fmt;
use std::ops::Range;

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

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
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

impl LangError {
    /// An error without a hint.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, hint: None }
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Line and column of the place, both from 1, in characters.
    #[must_use]
    pub fn position(&self, source: &str) -> (usize, usize) {
        let before = &source[..floor_boundary(source, self.span.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The whole text for people: the sentence, the line of the place with carets under it, the hint.
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        let start = floor_boundary(source, self.span.start);
        let end = floor_boundary(source, self.span.end.max(start));
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let (line, column) = self.position(source);
        let clean = |text: &str| text.replace(|c: char| c.is_control(), " ");
        let text = clean(&source[line_start..line_end]);
        let width = source[start..end.min(line_end).max(start)].chars().count().max(1);
        let label = format!("line {line}, column {column}");
        let margin = " ".repeat(line.to_string().len());
        let carets = format!("{}{}", " ".repeat(column - 1), "^".repeat(width));
        let mut out = format!("error: {}\n{margin}--> {label}\n{line} | {text}\n{margin} | {carets}\n", self.message);
        if let Some(hint) = &self.hint {
            out.push_str("hint: ");
            out.push_str(hint);
            out.push('\n');
        }
        out
    }
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
    fn only_near_names_are_offered() {
        assert_eq!(nearest("kye", ["key", "value"]), Some("key"));
        assert_eq!(nearest("valeu", ["key", "value"]), Some("value"));
        assert_eq!(nearest("name", ["key", "value"]), None);
    }
}
