//! What an export says of itself, before its rows and behind them.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where the rows come from. A later Holdfast of the same format version may say more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The keyspace, by its name or number, as it was asked for.
    pub keyspace: String,
    /// The id of the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// The first key that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Bound>,
    /// The first key behind those that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Bound>,
    /// The one version that everything was read at; without it each range was read at one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The program that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// How an export ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many rows it has.
    pub rows: u64,
    /// The SHA-256 of every byte before the last record, in hexadecimal digits.
    pub sha256: String,
    /// The earliest version that a range was read at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_from: Option<String>,
    /// The latest version that a range was read at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_to: Option<String>,
}

/// Bytes in JSON: a string, or `{"base64": "..."}` for what is no text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound(pub Bytes);

#[derive(Serialize)]
struct Encoded {
    base64: String,
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Encoded { base64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Bound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or an object with base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bound, E> {
                Ok(Bound(Bytes::copy_from_slice(text.as_bytes())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bound, A::Error> {
                let Some((name, text)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::custom("an empty object in place of bytes"));
                };
                if name != "base64" || map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom("bytes are an object with base64 and nothing else"));
                }
                STANDARD
                    .decode(text)
                    .map(|bytes| Bound(bytes.into()))
                    .map_err(|_| de::Error::custom("what is called base64 is none"))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_no_more_than_there_is_and_reads_what_a_later_one_says() {
        let head = Head { keyspace: "default".into(), ..Head::default() };
        assert_eq!(serde_json::to_string(&head).unwrap(), r#"{"keyspace":"default"}"#);
        let later = r#"{"holdfast_export":1,"keyspace":"default","weather":"fine"}"#;
        assert_eq!(serde_json::from_str::<Head>(later).unwrap(), head);
        let bound = Head {
            start: Some(Bound(Bytes::from_static(b"\xff"))),
            end: Some(Bound(Bytes::from_static(b"z"))),
            ..head
        };
        let text = serde_json::to_string(&bound).unwrap();
        assert_eq!(text, r#"{"keyspace":"default","start":{"base64":"/w=="},"end":"z"}"#);
        assert_eq!(serde_json::from_str::<Head>(&text).unwrap(), bound);
    }

    #[test]
    fn bytes_are_a_string_or_base64_and_nothing_else() {
        for wrong in
            ["1", "null", "{}", r#"{"base64":"/w"}"#, r#"{"base64":"/w==","x":"y"}"#, r#"{"hex":"ff"}"#, r#"["a"]"#]
        {
            assert!(serde_json::from_str::<Bound>(wrong).is_err(), "{wrong}");
        }
    }
}
