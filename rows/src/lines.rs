//! Lines of a text, and a look ahead at those that follow.
//!
//! Lines are found before they are decoded, so a byte that means nothing spoils its own line, and what is reported is what the file holds. That
//! is right because no encoding but UTF-16 has the bytes of `\n` and `\r` within another letter.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::borrow::Cow;
use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use holdfast_types::limits;

use crate::encoding::{Encoding, Unit};
use crate::source::Source;

/// The lines of a source. Bytes stay in the buffer until they are taken.
///
/// - The buffer begins with line `line`, at byte `position` of the unpacked input.
/// - It never holds more than one record of the largest size and what is read at once.
pub(crate) struct Lines {
    reader: Box<dyn Read + Send>,
    encoding: Encoding,
    buffer: BytesMut,
    line: u64,
    position: u64,
    end: Option<Result<(), io::Error>>,
}

/// What lies ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// A line: where what it says ends, and where its line end ends, in bytes from the position.
    Line { content_end: usize, end: usize },
    /// It would go beyond the size of the largest record.
    TooLong,
    /// No whole line: everything was looked at, or the input cannot be read any further.
    End,
}

impl Lines {
    pub(crate) fn new(source: Source) -> Self {
        let Source { reader, encoding, mark_bytes, .. } = source;
        let position = u64::try_from(mark_bytes).unwrap_or(u64::MAX);
        Self { reader, encoding, buffer: BytesMut::new(), line: 1, position, end: None }
    }

    /// The number of the first line in the buffer, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Bytes of the unpacked input before the buffer.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Why the input cannot be read any further, once all that could be read was looked at.
    pub(crate) fn failure(&self) -> Option<&io::Error> {
        self.end.as_ref().and_then(|end| end.as_ref().err())
    }

    /// Looks at the line that begins `from` bytes behind the position.
    pub(crate) fn look(&mut self, from: usize) -> Ahead {
        let mut searched = from;
        loop {
            if let Some(content_end) = find_line_end(&self.buffer, searched, self.encoding.unit())
                && let Some(end) = self.line_end_at(content_end)
            {
                return if end > limits::MAX_RECORD_BYTES { Ahead::TooLong } else { Ahead::Line { content_end, end } };
            }
            // The last unit may be half there, or the first half of a line end.
            searched = searched.max(self.buffer.len().saturating_sub(4) & !1);
            match &self.end {
                _ if self.buffer.len() > limits::MAX_RECORD_BYTES => return Ahead::TooLong,
                None => self.fill(),
                Some(Ok(())) if self.buffer.len() > from => {
                    return Ahead::Line { content_end: self.buffer.len(), end: self.buffer.len() };
                }
                Some(_) => return Ahead::End,
            }
        }
    }

    /// Where the line end that begins at `at` ends; `None` as long as that is not known.
    fn line_end_at(&self, at: usize) -> Option<usize> {
        let unit_bytes = if self.encoding.unit() == Unit::Byte { 1 } else { 2 };
        let end = at.saturating_add(unit_bytes);
        if unit_at(&self.buffer, at, self.encoding.unit()) == Some(b'\n') {
            return Some(end);
        }
        match unit_at(&self.buffer, end, self.encoding.unit()) {
            Some(b'\n') => Some(end.saturating_add(unit_bytes)),
            Some(_) => Some(end),
            // Nobody knows yet what follows the carriage return.
            None if self.end.is_none() && self.buffer.len() <= limits::MAX_RECORD_BYTES => None,
            None => Some(end),
        }
    }

    /// The bytes from one place to another, behind the position.
    pub(crate) fn bytes(&self, from: usize, to: usize) -> &[u8] {
        self.buffer.get(from..to).unwrap_or_default()
    }

    /// The same as UTF-8, and whether all of it meant something.
    pub(crate) fn text(&self, from: usize, to: usize) -> (Cow<'_, str>, bool) {
        self.encoding.decode(self.bytes(from, to))
    }

    /// Takes so many bytes, which hold so many line ends.
    pub(crate) fn take(&mut self, size_bytes: usize, lines: u64) -> Bytes {
        let taken = self.buffer.split_to(size_bytes.min(self.buffer.len())).freeze();
        self.line = self.line.saturating_add(lines);
        self.position = self.position.saturating_add(u64::try_from(taken.len()).unwrap_or(u64::MAX));
        taken
    }

    /// Takes the rest, when the input cannot be read any further.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        self.take(usize::MAX, 0)
    }

    fn fill(&mut self) {
        let held = self.buffer.len();
        self.buffer.resize(held.saturating_add(limits::ROWS_READ_BYTES), 0);
        let read = loop {
            match self.reader.read(self.buffer.get_mut(held..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(held.saturating_add(*read.as_ref().unwrap_or(&0)));
        match read {
            Ok(0) => self.end = Some(Ok(())),
            Ok(_) => {}
            Err(error) => self.end = Some(Err(error)),
        }
    }
}

/// Where the first `\n` or `\r` begins.
pub(crate) fn find_line_end(bytes: &[u8], from: usize, unit: Unit) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let is_end = |pair: &[u8]| matches!(unit_at(pair, 0, unit), Some(b'\n' | b'\r'));
    let found = match unit {
        Unit::Byte => memchr::memchr2(b'\n', b'\r', rest)?,
        Unit::LittleEndian | Unit::BigEndian => rest.chunks_exact(2).position(is_end)?.saturating_mul(2),
    };
    from.checked_add(found)
}

/// The unit at a place, where it is ASCII; 0xff, which is no ASCII, for every other one. `None` if it is not there, or not whole.
pub(crate) fn unit_at(bytes: &[u8], at: usize, unit: Unit) -> Option<u8> {
    const OTHER: u8 = 0xff;
    match (unit, bytes.get(at..)?) {
        (Unit::Byte, [byte, ..]) => Some(*byte),
        (Unit::LittleEndian, [byte, 0, ..]) | (Unit::BigEndian, [0, byte, ..]) => Some(*byte),
        (Unit::LittleEndian | Unit::BigEndian, [_, _, ..]) => Some(OTHER),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, so that every place is the end of what is known.
    struct Slow(io::Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    fn lines(bytes: &[u8], encoding: &str) -> Vec<(u64, String, Vec<u8>)> {
        let reader = Slow(io::Cursor::new(bytes.to_vec()));
        let mut lines = Lines::new(Source::from_reader("it", reader, None, encoding.parse().unwrap()).unwrap());
        let mut found = Vec::new();
        while let Ahead::Line { content_end, end } = lines.look(0) {
            let (line, text) = (lines.line(), lines.text(0, content_end).0.into_owned());
            found.push((line, text, lines.take(end, 1).to_vec()));
        }
        found
    }

    #[test]
    fn every_line_end_counts_once() {
        let expected = |ends: [&str; 5]| -> Vec<_> {
            let texts = ["a", "b", "", "c", "d"];
            (1..)
                .zip(texts.iter().zip(ends))
                .map(|(n, (text, end))| (n, (*text).to_owned(), format!("{text}{end}")))
                .collect()
        };
        let found: Vec<_> = lines(b"a\nb\r\n\rc\rd", "utf-8")
            .into_iter()
            .map(|(n, text, raw)| (n, text, String::from_utf8(raw).unwrap()))
            .collect();
        assert_eq!(found, expected(["\n", "\r\n", "\r", "\r", ""]));
    }

    #[test]
    fn lines_of_utf_16_end_at_whole_units() {
        // U+0A0D and U+0D0A hold the bytes of line ends and are none.
        let text = "a\u{a0d}\r\nb\u{d0a}\rc\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, encoding) in [(little, "utf-16le"), (big, "utf-16be")] {
            let texts: Vec<_> = lines(&bytes, encoding).into_iter().map(|(n, text, _)| (n, text)).collect();
            assert_eq!(texts, [(1, "a\u{a0d}".into()), (2, "b\u{d0a}".into()), (3, "c".into())], "{encoding}");
        }
    }

    #[test]
    fn what_was_taken_is_the_whole_input() {
        let bytes = b"\xff\xfea\0\r\0\n\0\n\0b\0x";
        let found = lines(bytes, "utf-8");
        let raw: Vec<u8> = found.iter().flat_map(|(_, _, raw)| raw.clone()).collect();
        assert_eq!(raw, bytes[2..]);
        assert_eq!(found.iter().map(|(line, _, _)| *line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_line_that_is_too_long_is_known_to_be_before_it_is_held() {
        let reader = io::repeat(b'x');
        let mut lines = Lines::new(Source::from_reader("it", reader, None, Encoding::default()).unwrap());
        assert_eq!(lines.look(0), Ahead::TooLong);
        assert!(lines.buffer.len() <= limits::MAX_RECORD_BYTES + limits::ROWS_READ_BYTES);
    }
}
