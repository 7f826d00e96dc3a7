//! Objects of JSON lines.
//!
//! serde_json says whether a line is JSON. What it would make of it is not wanted: a number with more digits than a float has would lose some,
//! and of two fields with the same name one would be gone. So the text stays as it is, and one pass over it finds where the fields are, reads
//! every text within it, which serde_json does not do when it skips one, and compares the names.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use holdfast_types::limits;
use serde::de::IgnoredAny;

/// A JSON object of one line: fields in their order with the exact text of each value.
///
/// - The text is one JSON object, without space around it.
/// - Names are unique in every object within it, and every text is Unicode: whatever reads it later reads what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonRow {
    text: Bytes,
    fields: Vec<FieldSpan>,
}

/// Where a field lies within the text: its name with the quotes, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldSpan {
    name: Range<usize>,
    value: Range<usize>,
}

/// A field of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonField<'a> {
    name: &'a str,
    text: &'a str,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number of any size.
    Number,
    /// A text in quotes.
    Text,
    /// A list.
    Array,
    /// An object.
    Object,
}

impl JsonRow {
    /// Reads an object. The error says what is wrong, for people.
    pub fn parse(line: &Bytes) -> Result<Self, String> {
        let text = line.slice_ref(line.trim_ascii());
        let is_object = text.first() == Some(&b'{');
        match serde_json::from_slice::<IgnoredAny>(&text) {
            Ok(IgnoredAny) if is_object => {}
            Ok(IgnoredAny) => return Err("not a JSON object: every line must be one".to_owned()),
            Err(error) if is_object => return Err(sentence(&error)),
            Err(_) => return Err("not a JSON object: every line must be one, from { to }".to_owned()),
        }
        let checked = std::str::from_utf8(&text).map_err(|error| error.to_string())?;
        let fields = Walk::over(checked)?;
        Ok(Self { text, fields })
    }

    /// The whole object as it was written, without the space around it.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The same without a copy.
    pub fn bytes(&self) -> Bytes {
        self.text.clone()
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<JsonField<'_>> {
        self.fields().find(|field| field.name() == name)
    }

    /// All fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = JsonField<'_>> {
        let text = self.text();
        let part = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
        self.fields.iter().map(move |field| JsonField { name: part(&field.name), text: part(&field.value) })
    }
}

impl<'a> JsonField<'a> {
    /// Its name, with escapes read.
    pub fn name(&self) -> Cow<'a, str> {
        string(self.name).unwrap_or_default()
    }

    /// The exact text of its value: digits as they were written, a text with its quotes and escapes.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What its value is.
    pub fn kind(&self) -> JsonKind {
        match self.text.as_bytes().first() {
            Some(b'"') => JsonKind::Text,
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b't' | b'f') => JsonKind::Bool,
            Some(b'n') | None => JsonKind::Null,
            Some(_) => JsonKind::Number,
        }
    }

    /// The text of its value with escapes read; `None` if it is no text.
    pub fn string(&self) -> Option<Cow<'a, str>> {
        if self.kind() == JsonKind::Text { string(self.text) } else { None }
    }

    /// The bytes of its value: those of a text, or those that `{"base64": "..."}` stands for. `None` if it is neither.
    pub fn bytes(&self) -> Option<Bytes> {
        if let Some(text) = self.string() {
            return Some(Bytes::from(text.into_owned()));
        }
        if self.kind() != JsonKind::Object {
            return None;
        }
        let object = JsonRow::parse(&Bytes::copy_from_slice(self.text.as_bytes())).ok()?;
        let [field] = &object.fields().collect::<Vec<_>>()[..] else { return None };
        if field.name() != "base64" {
            return None;
        }
        STANDARD.decode(field.string()?.as_bytes()).ok().map(Bytes::from)
    }
}

/// Reads a text in quotes; `None` if its escapes are no Unicode. Without escapes nothing is copied.
fn string(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// What serde_json says, without the line, which is always the first one.
fn sentence(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or_default();
    format!("not a JSON object: {what} at column {}", error.column())
}

/// A pass over a text that is known to be JSON.
struct Walk<'a> {
    text: &'a str,
    /// The names of each object that is open; `None` for a list.
    open: Vec<Option<HashSet<Cow<'a, str>>>>,
    names: usize,
    fields: Vec<FieldSpan>,
}

impl<'a> Walk<'a> {
    fn over(text: &'a str) -> Result<Vec<FieldSpan>, String> {
        let mut walk = Self { text, open: Vec::new(), names: 0, fields: Vec::new() };
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    let end = walk.string_end(at);
                    walk.string(at..end)?;
                    at = end;
                    continue;
                }
                b'{' => walk.open.push(Some(HashSet::new())),
                b'[' => walk.open.push(None),
                b',' => walk.end_value(at),
                b'}' | b']' => {
                    walk.end_value(at);
                    walk.open.pop();
                }
                _ => {}
            }
            if walk.open.len() > limits::MAX_ROW_DEPTH {
                return Err(format!("lists and objects within each other, more than {} deep", limits::MAX_ROW_DEPTH));
            }
            at = at.saturating_add(1);
        }
        Ok(walk.fields)
    }

    /// Where the text in quotes that begins at `start` ends, behind its quote.
    fn string_end(&self, start: usize) -> usize {
        let mut at = start.saturating_add(1);
        while let Some(rest) = self.text.as_bytes().get(at..)
            && let Some(found) = memchr::memchr2(b'"', b'\\', rest)
        {
            let is_escape = rest.get(found) == Some(&b'\\');
            at = at.saturating_add(found).saturating_add(if is_escape { 2 } else { 1 });
            if !is_escape {
                return at;
            }
        }
        self.text.len()
    }

    /// Reads a text, which may be the name of a field.
    fn string(&mut self, range: Range<usize>) -> Result<(), String> {
        let quoted = self.text.get(range.clone()).unwrap_or_default();
        let Some(read) = string(quoted) else { return Err(format!("{} is no Unicode", shown(quoted))) };
        let rest = self.text.get(range.end..).unwrap_or_default();
        let behind = rest.trim_ascii_start();
        if !behind.starts_with(':') {
            return Ok(());
        }
        self.names = self.names.saturating_add(1);
        if self.names > limits::MAX_ROW_NAMES {
            return Err(format!("more than {} names", limits::MAX_ROW_NAMES));
        }
        if self.open.len() == 1 {
            let value_start = self.text.len().saturating_sub(behind.len()).saturating_add(1);
            self.fields.push(FieldSpan { name: range, value: value_start..value_start });
        }
        let is_new = self.open.last_mut().and_then(Option::as_mut).is_none_or(|names| names.insert(read));
        if is_new { Ok(()) } else { Err(format!("the name {} stands twice in one object", shown(quoted))) }
    }

    /// Notes where the value of a field of the row ends.
    fn end_value(&mut self, at: usize) {
        if self.open.len() != 1 {
            return;
        }
        if let Some(field) = self.fields.last_mut() {
            let written = self.text.get(field.value.start..at).unwrap_or_default();
            let start =
                field.value.start.saturating_add(written.len().saturating_sub(written.trim_ascii_start().len()));
            field.value = start..start.saturating_add(written.trim_ascii().len());
        }
    }
}

/// A text of somebody else's within a sentence: its beginning.
fn shown(quoted: &str) -> String {
    const MOST: usize = 60;
    match quoted.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", quoted.get(..end).unwrap_or_default()),
        None => quoted.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Result<JsonRow, String> {
        JsonRow::parse(&Bytes::from(text.to_owned()))
    }

    #[test]
    fn fields_keep_their_order_and_the_exact_text_of_their_values() {
        let text = r#" {"z" : 1.10 ,"a":100000000000000000000001, "t":"x\u00e9,}", "o":{"b":[1,{}],"c":null}, "e":1e400,"f":false } "#;
        let row = row(text).unwrap();
        assert_eq!(row.text(), text.trim());
        let fields: Vec<_> =
            row.fields().map(|field| (field.name().into_owned(), field.text(), field.kind())).collect();
        let expected = [
            ("z", "1.10", JsonKind::Number),
            ("a", "100000000000000000000001", JsonKind::Number),
            ("t", r#""x\u00e9,}""#, JsonKind::Text),
            ("o", r#"{"b":[1,{}],"c":null}"#, JsonKind::Object),
            ("e", "1e400", JsonKind::Number),
            ("f", "false", JsonKind::Bool),
        ];
        assert_eq!(fields, expected.map(|(name, text, kind)| (name.to_owned(), text, kind)));
        assert_eq!(row.field("t").unwrap().string().unwrap(), "xé,}");
        assert_eq!(row.field("z").unwrap().string(), None);
        assert_eq!(row.field("b"), None);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_at_every_depth_and_however_it_is_written() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"o":[{"x":1},{"a":1,"b":2,"a" : 3}]}"#] {
            let refused = row(text).unwrap_err();
            assert!(refused.ends_with("stands twice in one object"), "{refused}");
        }
        row(r#"{"a":{"a":[{"a":"a"},{"a":"a:"}]},"b":"a"}"#).unwrap();
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_reason() {
        for (text, said) in [
            ("[1]", "every line must be one"),
            ("3", "every line must be one"),
            ("nonsense", "from { to }"),
            (r#"{"a":NaN}"#, "expected value at column 6"),
            (r#"{"a":-Infinity}"#, "invalid number at column"),
            (r#"{"a":1} {"b":2}"#, "trailing characters at column 9"),
            (r#"{"a":1"#, "EOF while parsing an object at column 6"),
            (r#"{"a":01}"#, "invalid number"),
            (r#"{"a":"\ud83d"}"#, "is no Unicode"),
            (r#"{"a":["\ude00\ud83d"]}"#, "is no Unicode"),
            ("{\"a\":\"x\ty\"}", "control character"),
        ] {
            let refused = row(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        row(r#"{"a":"\ud83d\ude00"}"#).unwrap();
    }

    #[test]
    fn what_is_stored_can_be_read_by_every_reader_of_json() {
        let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        let deepest = nested(limits::MAX_ROW_DEPTH - 1);
        row(&deepest).unwrap();
        serde_json::from_str::<serde_json::Value>(&deepest).unwrap();
        assert!(row(&nested(limits::MAX_ROW_DEPTH)).unwrap_err().contains("deep"));
        // A reader that called itself for each of these would have no stack left.
        assert!(row(&nested(1_000_000)).is_err());
    }

    #[test]
    fn bytes_are_a_text_or_marked() {
        let row =
            row(r#"{"t":"x\ny","b":{"base64":"/wA="},"n":1,"o":{"base64":"/wA=","x":1},"p":{"base64":"?"}}"#).unwrap();
        let bytes = |name: &str| row.field(name).unwrap().bytes();
        assert_eq!(bytes("t").unwrap(), "x\ny");
        assert_eq!(bytes("b").unwrap(), &b"\xff\0"[..]);
        assert_eq!([bytes("n"), bytes("o"), bytes("p")], [None, None, None]);
    }
}
