//! Encodings of texts.

use std::borrow::Cow;
use std::str::FromStr;

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE};
use thiserror::Error;

use crate::lines::{find_line_end, unit_at};

/// The encoding of a text. By default UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

/// No encoding has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no encoding is called {0:?}: there are utf-8, utf-16le, utf-16be, windows-1252, iso-8859-15, shift_jis, gb18030, and the others of \
    encoding.spec.whatwg.org"
)]
pub struct UnknownEncoding(String);

/// What a line end looks like: the size and the order of the units of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A byte below 0x20 is itself wherever it stands: true of every encoding but UTF-16.
    Byte,
    /// Two bytes, the smaller one first.
    LittleEndian,
    /// Two bytes, the larger one first.
    BigEndian,
}

impl Default for Encoding {
    fn default() -> Self {
        Self(UTF_8)
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(name: &str) -> Result<Self, UnknownEncoding> {
        encoding_rs::Encoding::for_label_no_replacement(name.as_bytes())
            .map(Self)
            .ok_or_else(|| UnknownEncoding(name.to_owned()))
    }
}

impl Encoding {
    /// The name that the standard has for it, for example `windows-1252`, which it also reads `latin1` as.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// How a line ends in it.
    pub fn line_end(self) -> &'static [u8] {
        match self.unit() {
            Unit::Byte => b"\n",
            Unit::LittleEndian => b"\n\0",
            Unit::BigEndian => b"\0\n",
        }
    }

    /// True when what stands there ends with a line end. It begins where a letter does.
    pub fn ends_line(self, bytes: &[u8]) -> bool {
        let last = bytes.len().checked_sub(self.line_end().len());
        last.is_some_and(|last| matches!(unit_at(bytes, last, self.unit()), Some(b'\n' | b'\r')))
    }

    /// Why a text that begins so can hardly be in this encoding, as a sentence. `beginning` is at least the first line, if that is not too long.
    pub fn doubt(self, beginning: &[u8]) -> Option<String> {
        let name = self.name();
        if let Some(found) = Self::of_pairs(beginning)
            && found != self
        {
            let found = found.name();
            return Some(format!("its bytes are those of {found} without a mark, and {name} was to be read"));
        }
        let has_line_end = find_line_end(beginning, 0, self.unit()).is_some();
        let is_other = self.unit() != Unit::Byte && !beginning.is_empty() && !has_line_end && !beginning.contains(&0);
        is_other.then(|| format!("it is no {name}: no line ends in its beginning, and no byte of that is zero"))
    }

    /// UTF-16, where half of the bytes are zero because most letters are Latin.
    fn of_pairs(beginning: &[u8]) -> Option<Self> {
        let (mut pairs, mut little, mut big) = (0_usize, 0_usize, 0_usize);
        for pair in beginning.chunks_exact(2) {
            pairs = pairs.saturating_add(1);
            match pair {
                [0, 0] => {}
                [_, 0] => little = little.saturating_add(1),
                [0, _] => big = big.saturating_add(1),
                _ => {}
            }
        }
        let is_most = |these: usize, others: usize| {
            these >= 2 && these.saturating_mul(2) >= pairs && these > others.saturating_mul(8)
        };
        if is_most(little, big) {
            Some(Self(UTF_16LE))
        } else if is_most(big, little) {
            Some(Self(UTF_16BE))
        } else {
            None
        }
    }

    pub(crate) fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    pub(crate) fn unit(self) -> Unit {
        if self.0 == UTF_16LE {
            Unit::LittleEndian
        } else if self.0 == UTF_16BE {
            Unit::BigEndian
        } else {
            Unit::Byte
        }
    }

    /// The encoding whose byte order mark stands at the beginning, and the length of the mark.
    pub(crate) fn of_mark(beginning: &[u8]) -> Option<(Self, usize)> {
        encoding_rs::Encoding::for_bom(beginning).map(|(encoding, mark_bytes)| (Self(encoding), mark_bytes))
    }

    /// Bytes as UTF-8, and whether all of them meant something. What does not is replaced, so that it can be seen where a line ends.
    pub fn decode(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        let (text, is_damaged) = self.0.decode_without_bom_handling(bytes);
        (text, !is_damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_found_by_any_of_its_names() {
        for (name, expected) in
            [("latin1", "windows-1252"), ("UTF8", "UTF-8"), ("sjis", "Shift_JIS"), ("utf-16", "UTF-16LE")]
        {
            assert_eq!(name.parse::<Encoding>().unwrap().name(), expected);
        }
        let refused = "klingon".parse::<Encoding>().unwrap_err().to_string();
        assert!(refused.contains("\"klingon\"") && refused.contains("windows-1252"), "{refused}");
        // The standard reads nothing at all in these, on purpose.
        assert!("iso-2022-kr".parse::<Encoding>().is_err());
    }

    fn named(name: &str) -> Encoding {
        name.parse().unwrap()
    }

    #[test]
    fn a_line_ends_with_a_whole_unit() {
        let (utf8, little, big) = (Encoding::default(), named("utf-16le"), named("utf-16be"));
        assert!(utf8.ends_line(b"a\n") && utf8.ends_line(b"a\r") && !utf8.ends_line(b"a") && !utf8.ends_line(b""));
        assert!(little.ends_line(b"a\0\n\0") && little.ends_line(b"\r\0") && big.ends_line(b"\0a\0\n"));
        // U+0A61 and U+610A hold the byte of a newline.
        assert!(!little.ends_line(b"\x61\x0a") && !big.ends_line(b"\x61\x0a") && !little.ends_line(b"\n"));
        for encoding in [utf8, little, big] {
            assert!(encoding.ends_line(encoding.line_end()));
        }
    }

    #[test]
    fn text_of_eight_bits_and_of_sixteen_are_told_apart() {
        let text = "id,name\n1,one\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (encoding, bytes) in [("utf-8", text.as_bytes()), ("utf-16le", &little), ("utf-16be", &big)] {
            assert_eq!(named(encoding).doubt(bytes), None);
        }
        for (encoding, bytes) in [
            ("utf-16le", text.as_bytes()),
            ("utf-16be", text.as_bytes()),
            ("utf-8", &little),
            ("windows-1252", &big),
            ("utf-16be", &little),
            ("utf-16le", &big),
        ] {
            assert!(named(encoding).doubt(bytes).is_some(), "{encoding}: {}", bytes.escape_ascii());
        }
        // Letters of two bytes each, and a text with zero bytes in it.
        let other: Vec<u8> = "\u{540d}\u{524d}\n\u{592a}\u{90ce}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(named("utf-16le").doubt(&other), None);
        assert_eq!(named("utf-8").doubt(b"id,n\n1,\0\0\0\n2,a\0b\n"), None);
        assert_eq!(named("utf-8").doubt(b""), None);
        assert_eq!(named("utf-16le").doubt(b""), None);
    }
}
