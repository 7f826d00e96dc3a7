//! From the lines and columns that `sqlparser` counts, in characters, to bytes.

use sqlparser::tokenizer::Location;

use crate::steps;

/// Every so many characters the byte is noted: few to walk from there, and few to hold.
const STRIDE: usize = 32;

/// The places of a text. A place is found in the same time wherever it lies, also in a line that is the whole of a long text.
pub(super) struct Places<'a> {
    text: &'a str,
    /// The character, from 0, that each line begins with.
    lines: Vec<usize>,
    /// The byte of every [`STRIDE`]th character.
    marks: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (mut lines, mut marks) = (vec![0], Vec::new());
        for (index, (at, letter)) in text.char_indices().enumerate() {
            if index.is_multiple_of(STRIDE) {
                marks.push(at);
            }
            if letter == '\n' {
                lines.push(index + 1);
            }
        }
        steps::count(text.len());
        Self { text, lines, marks }
    }

    /// The byte of a place; the end of the text for one that lies behind it.
    pub(super) fn byte(&self, location: Location) -> usize {
        self.known_byte(location).unwrap_or(self.text.len())
    }

    fn known_byte(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line.max(1) - 1).ok()?;
        let column = usize::try_from(location.column.max(1) - 1).ok()?;
        let index = self.lines.get(line)?.checked_add(column)?;
        let mark = *self.marks.get(index / STRIDE)?;
        steps::count(index % STRIDE + 1);
        self.text[mark..].char_indices().nth(index % STRIDE).map(|(at, _)| mark + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_found_by_its_line_and_column() {
        let text = "a\n".to_owned() + &"zoë, ".repeat(30) + "\n\nend";
        let places = Places::of(&text);
        let (mut line, mut column) = (1, 1);
        for (at, letter) in text.char_indices() {
            assert_eq!(places.byte(Location { line, column }), at);
            (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        for (line, column) in [(line, column), (line, u64::MAX), (u64::MAX, 1)] {
            assert_eq!(places.byte(Location { line, column }), text.len());
        }
        assert_eq!(Places::of("").byte(Location { line: 1, column: 1 }), 0);
    }
}
