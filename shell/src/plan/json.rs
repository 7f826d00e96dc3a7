//! Parts of JSON texts, with their digits as they are written: nothing is rounded on the way.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::number;
use crate::lang::ast::Step;
use crate::steps;

/// A JSON value, as it is written. It is taken apart once at most, and only as far as somebody looks.
pub(super) struct Json<'a> {
    written: &'a str,
    parts: OnceCell<Parts<'a>>,
}

enum Parts<'a> {
    None,
    Array(Vec<Json<'a>>),
    Object(BTreeMap<String, Json<'a>>),
}

/// What a JSON value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl<'a> Json<'a> {
    /// A value as it is stored; `None` when it is no JSON.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self::new)
    }

    fn new(raw: &'a RawValue) -> Self {
        Self { written: raw.get(), parts: OnceCell::new() }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.written.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// As it is written, blanks around its parts included.
    pub(super) fn written(&self) -> &'a str {
        self.written
    }

    /// A part of it, where it has such a part. Of a name that is there twice, the last one.
    pub(super) fn part(&self, step: &Step) -> Option<&Self> {
        match (self.parts(), step) {
            (Parts::Object(fields), Step::Field(name)) => fields.get(name),
            (Parts::Array(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    fn parts(&self) -> &Parts<'a> {
        self.parts.get_or_init(|| {
            steps::count(self.written.len());
            match self.kind() {
                Kind::Object => serde_json::from_str::<BTreeMap<String, &RawValue>>(self.written)
                    .map_or(Parts::None, |raw| {
                        Parts::Object(raw.into_iter().map(|(name, raw)| (name, Self::new(raw))).collect())
                    }),
                Kind::Array => serde_json::from_str::<Vec<&RawValue>>(self.written)
                    .map_or(Parts::None, |raw| Parts::Array(raw.into_iter().map(Self::new).collect())),
                _ => Parts::None,
            }
        })
    }

    /// As text: what a text says, else as it is written. `None`: it is null.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::Null => None,
            Kind::Text => serde_json::from_str::<String>(self.written).ok().map(Cow::Owned),
            Kind::Bool | Kind::Number => Some(Cow::Borrowed(self.written)),
            Kind::Array | Kind::Object => Some(Cow::Owned(self.on_one_line())),
        }
    }

    /// As it is written, without the blanks around its parts.
    pub(super) fn on_one_line(&self) -> String {
        let (mut in_text, mut is_escaped) = (false, false);
        let is_kept = |c: &char| {
            let is_kept = in_text || !c.is_ascii_whitespace();
            in_text ^= *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_kept
        };
        self.written.chars().filter(is_kept).collect()
    }

    /// True when both say the same. Goes as deep as the shallower one.
    pub(super) fn is_same(&self, other: &Json<'_>) -> bool {
        match (self.parts(), other.parts()) {
            (Parts::Array(left), Parts::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.is_same(right))
            }
            (Parts::Object(left), Parts::Object(right)) => {
                let mut fields = left.iter().zip(right);
                left.len() == right.len() && fields.all(|(left, right)| left.0 == right.0 && left.1.is_same(right.1))
            }
            _ if self.kind() != other.kind() => false,
            _ if self.kind() == Kind::Number => number::compare(self.written, other.written) == Some(Ordering::Equal),
            _ => self.text() == other.text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::of(text.as_bytes()).unwrap()
    }

    #[test]
    fn parts_are_as_they_are_written() {
        let value = json(r#" {"n": 1.10, "big": 123456789012345678901234567890, "n": [ "a\" b" , {"x" : null} ]} "#);
        assert_eq!(value.part(&Step::Field("big".into())).unwrap().text().unwrap(), "123456789012345678901234567890");
        let last = value.part(&Step::Field("n".into())).unwrap();
        assert_eq!(last.on_one_line(), r#"["a\" b",{"x":null}]"#);
        assert_eq!(last.part(&Step::Index(0)).unwrap().text().unwrap(), "a\" b");
        assert!(last.part(&Step::Index(1)).unwrap().part(&Step::Field("x".into())).unwrap().text().is_none());
        assert!(last.part(&Step::Index(2)).is_none() && last.part(&Step::Field("a".into())).is_none());
        for no_json in ["", "{", "[1,]", "{\"a\": 1} 2", "\"\u{1}\"", "01"] {
            assert!(Json::of(no_json.as_bytes()).is_none(), "{no_json}");
        }
    }

    #[test]
    fn values_are_the_same_whatever_their_blanks_and_their_order() {
        assert!(json(r#"{"a": [1.0, "é"], "b": null}"#).is_same(&json(r#"{"b":null,"a":[1,"\u00e9"]}"#)));
        for other in ["[100000000000000000000001]", "[1e23, 1]", "[\"1e23\"]", "[true]", "[]", "{}", "[null]"] {
            assert!(!json("[1e23]").is_same(&json(other)), "{other}");
        }
        assert!(json("[1e23]").is_same(&json("[100000000000000000000000]")));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(!json(&deep).is_same(&json("[[[]]]")));
    }
}
