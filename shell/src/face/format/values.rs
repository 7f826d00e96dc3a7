//! One value in each of the forms.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, json};

use crate::Value;
use crate::exec::time_text;

/// A value in csv and tsv: as in a table, but null is a thing of its own, bytes are as they are, and times and durations are for programs.
pub(super) fn field(value: &Value) -> Option<Cow<'_, [u8]>> {
    let text = match value {
        Value::Null => return None,
        Value::Bytes(bytes) => return Some(Cow::Borrowed(&bytes[..])),
        Value::Text(text) => return Some(Cow::Borrowed(text.as_bytes())),
        Value::Time(at) => rfc3339(&time_text(*at)),
        Value::Elapsed(elapsed) => format!("{:.3}", elapsed.as_secs_f64() * 1_000.0),
        other => other.to_string(),
    };
    Some(Cow::Owned(text.into_bytes()))
}

/// A value as JSON text. Bytes that are no text are an object, so that nobody takes them for text; a version is text, because its
/// number is larger than JSON's readers count exactly.
pub(super) fn json(value: &Value) -> Cow<'_, str> {
    let made = match value {
        Value::Json(text) => return Cow::Borrowed(text.as_str()),
        Value::Null => json!(null),
        Value::Bool(value) => json!(value),
        Value::Integer(value) => json!(value),
        // JSON has no infinity.
        Value::Float(value) => Number::from_f64(*value).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
        },
        Value::Version(version) => json!(version.to_string()),
        Value::Time(at) => json!(rfc3339(&time_text(*at))),
        Value::Elapsed(elapsed) => json!((elapsed.as_secs_f64() * 1e6).round() / 1e3),
    };
    Cow::Owned(made.to_string())
}

fn rfc3339(shown: &str) -> String {
    format!("{}Z", shown.replacen(' ', "T", 1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use holdfast_types::Timestamp;

    use super::*;

    fn all() -> Vec<Value> {
        vec![
            Value::Null,
            Value::Bool(true),
            Value::Integer(-7),
            Value::Float(1.5),
            Value::Text("NULL".into()),
            Value::Bytes(Bytes::from_static(&[0, 255])),
            Value::Json("{\"a\":[1.10]}".into()),
            Value::Version(Timestamp::from_ms(1_763_841_600_123)),
            Value::Time(Timestamp::from_ms(1_763_841_600_123)),
            Value::Elapsed(Duration::from_micros(1_250)),
        ]
    }

    #[test]
    fn values_for_people_are_readable() {
        let shown: Vec<_> = all().iter().map(Value::to_string).collect();
        let expected = "NULL|true|-7|1.5|NULL|x'00ff'|{\"a\":[1.10]}|1763841600123.0|2025-11-22 20:00:00.123|1.2 ms";
        assert_eq!(shown.join("|"), expected);
    }

    #[test]
    fn null_is_told_from_the_text_that_looks_like_it() {
        assert_eq!((field(&Value::Null), field(&Value::Text("NULL".into())).unwrap().as_ref()), (None, &b"NULL"[..]));
        assert_eq!((json(&Value::Null), json(&Value::Text("NULL".into()))), ("null".into(), "\"NULL\"".into()));
    }

    #[test]
    fn values_for_programs_keep_their_kind() {
        let shown: Vec<_> = all().iter().map(|value| json(value).into_owned()).collect();
        let expected = r#"null|true|-7|1.5|"NULL"|{"base64":"AP8="}|{"a":[1.10]}|"1763841600123.0"|"2025-11-22T20:00:00.123Z"|1.25"#;
        assert_eq!(shown.join("|"), expected);
        assert_eq!(json(&Value::Float(f64::INFINITY)), "null");
        assert_eq!(json(&Value::Bytes(Bytes::from_static(b"a\x1b"))), "\"a\\u001b\"");
        assert_eq!(field(&Value::Time(Timestamp::from_ms(0))).unwrap().as_ref(), b"1970-01-01T00:00:00.000Z");
    }
}
