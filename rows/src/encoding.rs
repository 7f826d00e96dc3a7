//! Encodings of texts.

use std::borrow::Cow;
use std::str::FromStr;

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE};
use thiserror::Error;

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
    pub(crate) fn decode(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
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
}
