//! What a cell of a result is.

use std::fmt;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use holdfast_types::Timestamp;

/// One cell of a result.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing: no such JSON field, no expiry, a store that is not known.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A count, an id, a number of bytes.
    Integer(i64),
    /// A number from a JSON value.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes that are not text. Displayed as a literal that the shell reads: `x'00ff'`.
    Bytes(Bytes),
    /// A JSON value, on one line.
    Json(String),
    /// The version of a key. Displayed as milliseconds since the Unix epoch, a dot and a counter, as everywhere in Holdfast.
    Version(Timestamp),
    /// A point in time. Displayed in UTC.
    Time(Timestamp),
    /// How long something took.
    Elapsed(Duration),
}

impl Value {
    /// Bytes of a key or a value: text where they are printable text.
    #[must_use]
    pub fn from_bytes(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r')) => {
                Self::Text(text.to_owned())
            }
            _ => Self::Bytes(bytes.clone()),
        }
    }

    /// A count of things.
    #[must_use]
    pub fn count(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Text, or nothing.
    #[must_use]
    pub fn maybe_text(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.into()))
    }

    /// True for what is written to the right in a table.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::Float(_) | Self::Version(_) | Self::Elapsed(_))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(text) | Self::Json(text) => f.write_str(text),
            Self::Bytes(bytes) => write!(f, "x'{}'", hex(bytes)),
            Self::Version(version) => write!(f, "{version}"),
            Self::Time(at) => f.write_str(&time_text(*at)),
            Self::Elapsed(elapsed) => write!(f, "{:.1} ms", elapsed.as_secs_f64() * 1_000.0),
        }
    }
}

/// A point of fleet time in UTC, to the millisecond: `2026-11-22 20:13:00.123`.
#[must_use]
pub fn time_text(at: Timestamp) -> String {
    // The formatter knows four digits of a year.
    const LAST_MS: u64 = 253_402_300_799_999;
    let at = UNIX_EPOCH + Duration::from_millis(at.ms().min(LAST_MS));
    humantime::format_rfc3339_millis(at).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// Text as a literal that the shell reads.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Bytes of a key or a pattern as a literal that the shell reads.
#[must_use]
pub(crate) fn literal(bytes: &[u8]) -> String {
    match Value::from_bytes(&Bytes::copy_from_slice(bytes)) {
        Value::Text(text) => quoted(&text),
        other => other.to_string(),
    }
}

/// "1 row", "2 rows".
#[must_use]
pub(super) fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text_only_where_they_are_printable() {
        assert_eq!(Value::from_bytes(&Bytes::from_static(b"zo\xc3\xab")), Value::Text("zoë".into()));
        assert_eq!(Value::from_bytes(&Bytes::from_static(b"\x00\xff")).to_string(), "x'00ff'");
        assert_eq!(Value::from_bytes(&Bytes::from_static(b"a\x1b[2J")).to_string(), "x'611b5b324a'");
    }

    #[test]
    fn literals_are_as_they_would_be_typed() {
        assert_eq!((literal(b"it's").as_str(), literal(b"\x00\xff").as_str()), ("'it''s'", "x'00ff'"));
        assert_eq!((plural(1, "row").as_str(), plural(0, "row").as_str()), ("1 row", "0 rows"));
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(time_text(Timestamp::from_ms(1_763_841_600_123)), "2025-11-22 20:00:00.123");
        assert!(time_text(Timestamp::MAX).starts_with("9999-"));
    }
}
