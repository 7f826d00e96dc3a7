//! One row, what is in it, and what a condition says of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;

use holdfast_types::Timestamp;

use super::json::{Json, Kind};
use super::number;
use crate::backend::StoredRow;
use crate::exec::Value;
use crate::lang::ast::{Comparison, Filter, List, Literal, Pattern, PatternPart, Scalar, Step};
use crate::lang::time_ms;
use crate::steps;

/// A row under a condition.
pub struct RowView<'a> {
    row: &'a StoredRow,
    /// When the statement began.
    now: Timestamp,
    json: OnceCell<Option<Json<'a>>>,
}

/// How a thing in a row compares with a constant.
enum Compared {
    Ordered(Ordering),
    /// They differ, and neither is before the other.
    Different,
    /// It cannot be told: it is not there, or of another kind.
    Unknown,
}

impl<'a> RowView<'a> {
    /// A row; `now` is when the statement began.
    #[must_use]
    pub fn new(row: &'a StoredRow, now: Timestamp) -> Self {
        Self { row, now, json: OnceCell::new() }
    }

    /// What is in it.
    #[must_use]
    pub fn value(&self, scalar: &Scalar) -> Value {
        match scalar {
            Scalar::Key => {
                let raw = self.row.key.raw();
                Value::from_bytes(&raw.slice(raw.len() - self.row.key.user_key().len()..))
            }
            Scalar::Value => Value::from_bytes(&self.row.value.value),
            Scalar::Version => Value::Version(self.row.value.timestamp),
            Scalar::Expires => self.row.value.expires_at.map_or(Value::Null, Value::Time),
            Scalar::Field { path, as_text: true } => Value::maybe_text(self.field(path).and_then(Json::text)),
            Scalar::Field { path, as_text: false } => {
                self.field(path).map_or(Value::Null, |field| Value::Json(field.on_one_line()))
            }
        }
    }

    /// True when it is not there.
    #[must_use]
    pub fn is_null(&self, scalar: &Scalar) -> bool {
        match scalar {
            Scalar::Key | Scalar::Value | Scalar::Version => false,
            Scalar::Expires => self.row.value.expires_at.is_none(),
            Scalar::Field { path, as_text: true } => self.field(path).is_none_or(|field| field.kind() == Kind::Null),
            Scalar::Field { path, as_text: false } => self.field(path).is_none(),
        }
    }

    fn json(&self) -> Option<&Json<'a>> {
        self.json.get_or_init(|| Json::of(&self.row.value.value)).as_ref()
    }

    fn field(&self, path: &[Step]) -> Option<&Json<'a>> {
        path.iter().try_fold(self.json()?, Json::part)
    }

    /// Whether a condition is true; `None`: it cannot be told.
    #[must_use]
    pub fn fulfils(&self, filter: &Filter) -> Option<bool> {
        match filter {
            Filter::Constant(value) => *value,
            Filter::Not(inner) => self.fulfils(inner).map(|value| !value),
            Filter::And(parts) => self.decide(parts, false),
            Filter::Or(parts) => self.decide(parts, true),
            Filter::Compare { scalar, comparison, literal } => self.compare(scalar, *comparison, literal),
            Filter::In { scalar, list } => self.is_in(scalar, list),
            Filter::Like { scalar, pattern } => match scalar {
                Scalar::Key => Some(matches(pattern, self.row.key.user_key())),
                Scalar::Value => Some(matches(pattern, &self.row.value.value)),
                Scalar::Field { path, .. } => {
                    self.field(path).and_then(Json::text).map(|text| matches(pattern, text.as_bytes()))
                }
                Scalar::Version | Scalar::Expires => None,
            },
            Filter::IsNull(scalar) => Some(self.is_null(scalar)),
        }
    }

    fn is_in(&self, scalar: &Scalar, list: &List) -> Option<bool> {
        let (text, rest) = match scalar {
            Scalar::Key => (Some(Cow::Borrowed(self.row.key.user_key())), list.rest()),
            Scalar::Value => (Some(Cow::Borrowed(&*self.row.value.value)), list.rest()),
            Scalar::Field { path, as_text } => {
                let field = self.field(path).filter(|field| *as_text || field.kind() == Kind::Text);
                (field.and_then(Json::text).map(|text| Cow::Owned(text.into_owned().into_bytes())), list.rest())
            }
            // Texts beside these are times, which may be written in many ways.
            Scalar::Version | Scalar::Expires => (None, list.items()),
        };
        steps::count(1);
        if text.is_some_and(|text| list.has_text(&text)) {
            return Some(true);
        }
        steps::count(rest.len());
        let mut found = Some(false);
        for literal in rest {
            match self.compare(scalar, Comparison::Equal, literal) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => found = None,
            }
        }
        found
    }

    /// AND is decided by the first false part, OR by the first true one; a part that cannot be told leaves the whole untold.
    fn decide(&self, parts: &[Filter], deciding: bool) -> Option<bool> {
        let mut untold = false;
        for part in parts {
            match self.fulfils(part) {
                Some(value) if value == deciding => return Some(deciding),
                Some(_) => {}
                None => untold = true,
            }
        }
        (!untold).then_some(!deciding)
    }

    fn compare(&self, scalar: &Scalar, comparison: Comparison, literal: &Literal) -> Option<bool> {
        let compared = match scalar {
            Scalar::Key => compare_bytes(self.row.key.user_key(), literal),
            Scalar::Value => self.compare_value(literal),
            Scalar::Version => self.compare_time(Some(self.row.value.timestamp), literal),
            Scalar::Expires => self.compare_time(self.row.value.expires_at, literal),
            Scalar::Field { path, as_text } => self.field(path).map_or(Compared::Unknown, |field| {
                if *as_text { compare_text(field, literal) } else { compare_json(field, literal) }
            }),
        };
        match (compared, comparison) {
            (Compared::Unknown, _) => None,
            (Compared::Different, Comparison::Equal) => Some(false),
            (Compared::Different, Comparison::NotEqual) => Some(true),
            (Compared::Different, _) => None,
            (Compared::Ordered(ordering), comparison) => Some(match comparison {
                Comparison::Equal => ordering.is_eq(),
                Comparison::NotEqual => ordering.is_ne(),
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
            }),
        }
    }

    fn compare_value(&self, literal: &Literal) -> Compared {
        match literal {
            Literal::Number(_) | Literal::Bool(_) | Literal::Json(..) => {
                self.json().map_or(Compared::Unknown, |json| compare_json(json, literal))
            }
            _ => compare_bytes(&self.row.value.value, literal),
        }
    }

    /// Times are compared by the millisecond; only a version that is written with its counter is compared as a whole.
    fn compare_time(&self, at: Option<Timestamp>, literal: &Literal) -> Compared {
        let Some(at) = at else { return Compared::Unknown };
        let ms = match literal {
            Literal::Text(text) => time_ms(text),
            Literal::Now(by) => Some(moved(self.now, *by).ms()),
            Literal::Number(digits) => match version_of(digits) {
                Some(version) if digits.contains('.') => return Compared::Ordered(at.cmp(&version)),
                version => version.map(Timestamp::ms),
            },
            Literal::Null | Literal::Bool(_) | Literal::Bytes(_) | Literal::Json(..) => None,
        };
        ms.map_or(Compared::Unknown, |ms| Compared::Ordered(at.ms().cmp(&ms)))
    }
}

/// A point of time moved by milliseconds.
pub(crate) fn moved(at: Timestamp, by_ms: i64) -> Timestamp {
    Timestamp::from_ms(at.ms().saturating_add_signed(by_ms))
}

/// A version as it is shown: milliseconds, and perhaps a dot and a counter.
pub(crate) fn version_of(digits: &str) -> Option<Timestamp> {
    let (ms, counter) = digits.split_once('.').unwrap_or((digits, "0"));
    let (ms, counter): (u64, u16) = (ms.parse().ok()?, counter.parse().ok()?);
    (ms < 1 << 48).then(|| Timestamp(ms << 16 | u64::from(counter)))
}

fn compare_bytes(bytes: &[u8], literal: &Literal) -> Compared {
    match literal {
        Literal::Text(text) => Compared::Ordered(bytes.cmp(text.as_bytes())),
        Literal::Bytes(other) => Compared::Ordered(bytes.cmp(other)),
        _ => Compared::Unknown,
    }
}

/// `->>`: as text, but as a number beside a number.
fn compare_text(field: &Json<'_>, literal: &Literal) -> Compared {
    let Some(text) = field.text() else { return Compared::Unknown };
    match literal {
        Literal::Number(digits) => numbers(&text, digits),
        Literal::Bool(value) => Compared::Ordered((*text).cmp(if *value { "true" } else { "false" })),
        Literal::Json(..) => compare_json(field, literal),
        _ => compare_bytes(text.as_bytes(), literal),
    }
}

/// `->`: as JSON; a text is compared with JSON's texts.
fn compare_json(field: &Json<'_>, literal: &Literal) -> Compared {
    match (field.kind(), literal) {
        (Kind::Number, Literal::Number(digits)) => numbers(field.written(), digits),
        (Kind::Text, Literal::Text(_) | Literal::Bytes(_)) => compare_text(field, literal),
        (Kind::Bool, Literal::Bool(other)) => Compared::Ordered((field.written() == "true").cmp(other)),
        (kind, Literal::Json(other)) => match Json::of(other.as_bytes()) {
            Some(other) if kind == other.kind() && kind == Kind::Number => numbers(field.written(), other.written()),
            Some(other) if kind == other.kind() && kind == Kind::Text => {
                Compared::Ordered(field.text().cmp(&other.text()))
            }
            Some(other) if field.is_same(&other) => Compared::Ordered(Ordering::Equal),
            _ if kind == Kind::Null => Compared::Unknown,
            _ => Compared::Different,
        },
        (Kind::Null, _) | (_, Literal::Null | Literal::Now(_)) => Compared::Unknown,
        _ => Compared::Different,
    }
}

fn numbers(left: &str, right: &str) -> Compared {
    number::compare(left, right).map_or(Compared::Unknown, Compared::Ordered)
}

/// Whether text is of a pattern. Goes back to the last `%` only, which is enough: what stands before it has matched already.
fn matches(pattern: &Pattern, text: &[u8]) -> bool {
    let parts = &pattern.parts;
    let (mut part, mut at) = (0, 0);
    // Behind the last `%` that was met, and where it stopped taking text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match parts.get(part) {
            Some(PatternPart::Any) => {
                part += 1;
                retry = Some((part, at));
                continue;
            }
            Some(PatternPart::Bytes(bytes)) if text[at..].starts_with(bytes) => {
                (part, at) = (part + 1, at + bytes.len());
                continue;
            }
            Some(PatternPart::One) if at < text.len() => {
                (part, at) = (part + 1, at + letter_len(&text[at..]));
                continue;
            }
            None if at == text.len() => return true,
            _ => {}
        }
        match retry {
            Some((behind, taken)) if taken < text.len() => {
                let taken = taken + 1;
                retry = Some((behind, taken));
                (part, at) = (behind, taken);
            }
            _ => return false,
        }
    }
}

/// Bytes of the first character; one where the text is not UTF-8.
fn letter_len(text: &[u8]) -> usize {
    let len = match text[0] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    if text.get(..len).is_some_and(|letter| std::str::from_utf8(letter).is_ok()) { len } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::like_pattern;

    fn is_like(text: &str, pattern: &str) -> bool {
        matches(&like_pattern(pattern.as_bytes()), text.as_bytes())
    }

    #[test]
    fn patterns_match_whole_texts() {
        assert!(is_like("abc", "abc") && is_like("abc", "a%") && is_like("abc", "%c") && is_like("abc", "%b%"));
        assert!(is_like("abc", "a_c") && is_like("zoë", "zo_") && is_like("", "%") && is_like("", ""));
        assert!(!is_like("abc", "ab") && !is_like("abc", "bc") && !is_like("abc", "a_") && !is_like("", "_"));
        assert!(
            is_like("aXbXc", "a%b%c") && is_like("aab", "%ab") && is_like("a%b", "a\\%b") && !is_like("axb", "a\\%b")
        );
        assert!(is_like("mississippi", "m%iss%ip%i") && !is_like("mississippi", "m%iss%ip%x"));
    }

    #[test]
    fn versions_are_read_as_they_are_shown() {
        let version = Timestamp(1_763_841_600_123 << 16 | 7);
        assert_eq!(version_of(&version.to_string()), Some(version));
        assert_eq!(version_of("5"), Some(Timestamp::from_ms(5)));
        assert_eq!(version_of("-5"), None);
        assert_eq!(version_of("1.99999"), None);
    }
}
