//! Bytes in formats that hold texts alone.
//!
//! A cell that is not UTF-8 is written `base64:` and then its bytes in base64 (RFC 4648, with padding). So is a text that begins with `base64:`
//! itself: then every cell that begins so stands for other bytes, and no two cells are written alike.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// What a cell begins with that stands for other bytes.
pub const MARK: &str = "base64:";

/// A cell that begins with the mark, and is not base64 behind it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a cell that begins with base64: goes on with what is not base64")]
pub struct NotBase64;

/// The text that stands for these bytes in a cell.
#[must_use]
pub fn encode_cell(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(MARK) => Cow::Borrowed(text),
        _ => {
            let mut text = MARK.to_owned();
            STANDARD.encode_string(bytes, &mut text);
            Cow::Owned(text)
        }
    }
}

/// The bytes that the text of a cell stands for.
///
/// # Errors
/// When it begins with the mark, and base64 does not follow.
pub fn decode_cell(text: &[u8]) -> Result<Cow<'_, [u8]>, NotBase64> {
    match text.strip_prefix(MARK.as_bytes()) {
        None => Ok(Cow::Borrowed(text)),
        Some(encoded) => STANDARD.decode(encoded).map(Cow::Owned).map_err(|_| NotBase64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_as_they_are_and_other_bytes_get_the_mark() {
        assert_eq!(encode_cell("é, ü".as_bytes()), "é, ü");
        assert_eq!(encode_cell(b""), "");
        assert_eq!(encode_cell(b"\xff\x00"), "base64:/wA=");
        assert_eq!(encode_cell(b"base64 is not the mark"), "base64 is not the mark");
    }

    #[test]
    fn a_text_that_looks_like_the_mark_is_told_from_it() {
        for text in ["base64:", "base64:/wA=", "base64:no base64 at all"] {
            let written = encode_cell(text.as_bytes());
            assert_ne!(written, text);
            assert_eq!(decode_cell(written.as_bytes()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_follows_the_mark_must_be_base64() {
        for wrong in ["base64:/w", "base64:/wA", "base64:!", "base64:/wB=", "base64: /wA="] {
            assert_eq!(decode_cell(wrong.as_bytes()), Err(NotBase64), "{wrong}");
        }
    }
}
