//! One value in each of the forms.

use std::borrow::Cow;

use serde_json::{Number, json};

use super::separated::Field;
use super::{Cell, Heading};
use crate::exec::{hex, time_text};
use crate::{Column, ColumnKind, Value};

/// The name of a column.
pub(super) fn name(column: &Column) -> String {
    column.name.clone()
}

/// The head of a column in a table.
pub(super) fn heading(column: &Column) -> Heading {
    Heading { name: column.name.clone(), is_number: matches!(column.kind, ColumnKind::Number | ColumnKind::Version) }
}

/// A value in a table.
pub(super) fn cell(value: &Value) -> Cell {
    Cell { text: value.to_string() }
}

/// A value in csv and tsv: as in a table, but null is a thing of its own and times and durations are for programs.
pub(super) fn field(value: &Value) -> Field<'_> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Time(at) => Some(Cow::Owned(rfc3339(&time_text(*at)))),
        Value::Elapsed(elapsed) => Some(Cow::Owned(format!("{:.3}", elapsed.as_secs_f64() * 1_000.0))),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// A value in JSON. Bytes that are no text are an object, so that nobody takes them for text; a version is text, because its
/// number is larger than JSON's readers count exactly.
pub(super) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Integer(value) => json!(value),
        // JSON has no infinity.
        Value::Float(value) => Number::from_f64(*value).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "$hex": hex(bytes) }),
        Value::Json(value) => value.clone(),
        Value::Version(version) => json!(version.to_string()),
        Value::Time(at) => json!(rfc3339(&time_text(*at))),
        Value::Elapsed(elapsed) => json!((elapsed.as_secs_f64() * 1e6).round() / 1e3),
    }
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
            Value::Json(json!({ "a": [1] })),
            Value::Version(Timestamp::from_ms(1_763_841_600_123)),
            Value::Time(Timestamp::from_ms(1_763_841_600_123)),
            Value::Elapsed(Duration::from_micros(1_250)),
        ]
    }

    #[test]
    fn values_for_people_are_readable() {
        let shown: Vec<_> = all().iter().map(|value| cell(value).text).collect();
        let expected = [
            "NULL",
            "true",
            "-7",
            "1.5",
            "NULL",
            "x'00ff'",
            "{\"a\":[1]}",
            "1763841600123.0",
            "2025-11-22 20:00:00.123",
            "1.2 ms",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn null_is_told_from_the_text_that_looks_like_it() {
        assert_eq!((field(&Value::Null), field(&Value::Text("NULL".into()))), (None, Some("NULL".into())));
        assert_eq!((json(&Value::Null), json(&Value::Text("NULL".into()))), (json!(null), json!("NULL")));
    }

    #[test]
    fn values_for_programs_keep_their_kind() {
        let shown = serde_json::Value::from(all().iter().map(json).collect::<Vec<_>>());
        let expected = json!([
            null, true, -7, 1.5, "NULL", { "$hex": "00ff" }, { "a": [1] }, "1763841600123.0", "2025-11-22T20:00:00.123Z", 1.25
        ]);
        assert_eq!(shown, expected);
        assert_eq!(json(&Value::Float(f64::INFINITY)), json!(null));
        assert_eq!(field(&Value::Time(Timestamp::from_ms(0))), Some("1970-01-01T00:00:00.000Z".into()));
    }
}
