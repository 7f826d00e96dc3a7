//! What a WHERE clause comes to: which keys have to be read, and what has to be asked of each row then. No IO.
//!
//! - [`KeyPlan`]: the plan of a condition
//! - [`KeySet`]: intervals of keys
//! - [`RowView`]: one row, and what a condition says of it

mod json;
mod key_set;
mod number;
mod row;

use bytes::Bytes;

use crate::lang::ast::{Comparison, Filter, Literal, Pattern, PatternPart, Scalar};

pub use key_set::{Interval, KeySet, Step};
pub use row::RowView;
pub(crate) use row::{moved, version_of};

/// What a condition comes to.
///
/// Invariants:
/// - a row for which the condition is true has its key in `keys`
/// - a row with its key in `keys`, for which `residual` (if any) is true, fulfils the condition
#[derive(Clone, PartialEq, Debug)]
pub struct KeyPlan {
    /// The keys that have to be read.
    pub keys: KeySet,
    /// What is asked of each row; `None`: nothing.
    pub residual: Option<Filter>,
}

impl KeyPlan {
    /// The plan of a condition; without one, everything.
    #[must_use]
    pub fn of(filter: Option<&Filter>) -> Self {
        let Some(filter) = filter else { return Self { keys: KeySet::all(), residual: None } };
        let (keys, exact) = bound(filter, false);
        if exact || keys.is_empty() {
            return Self { keys, residual: None };
        }
        let residual = match filter {
            Filter::And(parts) => {
                let mut open: Vec<Filter> = parts.iter().filter(|part| !bound(part, false).1).cloned().collect();
                if open.len() == 1 { open.remove(0) } else { Filter::And(open) }
            }
            other => other.clone(),
        };
        Self { keys, residual: Some(residual) }
    }

    /// True when every row of the keyspace has to be read.
    #[must_use]
    pub fn is_full_scan(&self) -> bool {
        self.keys.is_all()
    }
}

/// True when the statement says itself that it means all rows: `WHERE true`, `WHERE true AND ...`.
#[must_use]
pub fn asks_for_all(filter: &Filter) -> bool {
    match filter {
        Filter::Constant(Some(true)) => true,
        Filter::And(parts) => parts.iter().any(asks_for_all),
        _ => false,
    }
}

/// The keys of the rows for which a condition (`negated`: its opposite) can be true, and whether it is true for all of these. The
/// opposite of a condition that cannot be told cannot be told either, so it is carried down to the parts.
fn bound(filter: &Filter, negated: bool) -> (KeySet, bool) {
    match filter {
        Filter::Constant(Some(value)) if *value != negated => (KeySet::all(), true),
        Filter::Constant(_) => (KeySet::default(), true),
        Filter::Not(inner) => bound(inner, !negated),
        // All of them hold where the opposite of none does.
        Filter::And(parts) => joined(parts, negated, !negated),
        Filter::Or(parts) => joined(parts, negated, negated),
        Filter::Compare { scalar: Scalar::Key, comparison, literal } => {
            let Some(key) = operand(literal) else { return (KeySet::all(), false) };
            (opposite(compared(*comparison, key), negated), true)
        }
        Filter::In { scalar: Scalar::Key, list } => {
            let points = list.items().iter().map(|item| operand(item).map(Interval::point));
            let Some(points) = points.collect::<Option<Vec<_>>>() else { return (KeySet::all(), false) };
            (opposite(KeySet::from_intervals(points), negated), true)
        }
        Filter::Like { scalar: Scalar::Key, pattern } => {
            let (keys, exact) = like(pattern);
            match (exact, negated) {
                (true, _) => (opposite(keys, negated), true),
                (false, false) => (keys, false),
                (false, true) => (KeySet::all(), false),
            }
        }
        Filter::IsNull(Scalar::Key | Scalar::Value | Scalar::Version) => {
            (if negated { KeySet::all() } else { KeySet::default() }, true)
        }
        Filter::Compare { .. } | Filter::In { .. } | Filter::Like { .. } | Filter::IsNull(_) => (KeySet::all(), false),
    }
}

/// The keys of any of the parts; `of_all`: those that are in the keys of each.
fn joined(parts: &[Filter], negated: bool, of_all: bool) -> (KeySet, bool) {
    let mut intervals = Vec::new();
    let mut exact = true;
    for part in parts {
        let (keys, part_exact) = bound(part, negated);
        exact &= part_exact;
        intervals.extend(opposite(keys, of_all).into_intervals());
    }
    (opposite(KeySet::from_intervals(intervals), of_all), exact)
}

fn opposite(keys: KeySet, negated: bool) -> KeySet {
    if negated { keys.complement() } else { keys }
}

fn operand(literal: &Literal) -> Option<Bytes> {
    match literal {
        Literal::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        Literal::Bytes(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

fn compared(comparison: Comparison, key: Bytes) -> KeySet {
    let after = key_set::after(&key);
    let one = |start: Bytes, end: Option<Bytes>| KeySet::from_intervals(vec![Interval { start, end }]);
    match comparison {
        Comparison::Equal => one(key, Some(after)),
        Comparison::NotEqual => one(key, Some(after)).complement(),
        Comparison::Less => one(Bytes::new(), Some(key)),
        Comparison::LessOrEqual => one(Bytes::new(), Some(after)),
        Comparison::Greater => one(after, None),
        Comparison::GreaterOrEqual => one(key, None),
    }
}

/// The keys with the fixed beginning of a pattern, and whether these are all.
fn like(pattern: &Pattern) -> (KeySet, bool) {
    let prefix = |bytes: &[u8]| KeySet::from_intervals(vec![Interval::prefix(Bytes::copy_from_slice(bytes))]);
    match pattern.parts.as_slice() {
        [] => (KeySet::from_intervals(vec![Interval::point(Bytes::new())]), true),
        [PatternPart::Any] => (KeySet::all(), true),
        [PatternPart::Bytes(bytes)] => (KeySet::from_intervals(vec![Interval::point(bytes.clone().into())]), true),
        [PatternPart::Bytes(bytes), PatternPart::Any] => (prefix(bytes), true),
        [PatternPart::Bytes(bytes), ..] => (prefix(bytes), false),
        _ => (KeySet::all(), false),
    }
}

/// True when a condition looks at values.
#[must_use]
pub(crate) fn reads_values(filter: &Filter) -> bool {
    match filter {
        Filter::Constant(_) => false,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(reads_values),
        Filter::Not(inner) => reads_values(inner),
        Filter::Compare { scalar, .. }
        | Filter::In { scalar, .. }
        | Filter::Like { scalar, .. }
        | Filter::IsNull(scalar) => is_of_value(scalar),
    }
}

/// True when it is the value, or a part of it.
#[must_use]
pub(crate) fn is_of_value(scalar: &Scalar) -> bool {
    matches!(scalar, Scalar::Value | Scalar::Field { .. })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_types::{Key, KeyspaceId, Timestamp, VersionedValue};

    use super::*;
    use crate::backend::StoredRow;
    use crate::lang::ast::{List, Statement};
    use crate::lang::parse;
    use crate::steps;

    fn in_list(scalar: Scalar, items: usize) -> Filter {
        Filter::In { scalar, list: List::new((0..items).map(|item| Literal::Text(format!("{item:09}"))).collect()) }
    }

    fn rows(count: usize) -> Vec<StoredRow> {
        let row = |row: usize| StoredRow {
            key: Key::bound(KeyspaceId::DEFAULT, format!("{row:09}").as_bytes()),
            value: VersionedValue {
                value: Bytes::from(format!(r#"{{"n": "{row:09}"}}"#)),
                timestamp: Timestamp::ZERO,
                expires_at: None,
            },
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn a_plan_takes_steps_that_grow_with_its_condition() {
        let plan = |filter: Filter| drop(KeyPlan::of(Some(&filter)));
        steps::grows_linearly("a list", |items| in_list(Scalar::Key, items), plan);
        let unlike = |item: usize| Filter::Compare {
            scalar: Scalar::Key,
            comparison: Comparison::NotEqual,
            literal: Literal::Text(format!("{item:09}")),
        };
        steps::grows_linearly("many that are not", |parts| Filter::And((0..parts).map(unlike).collect()), plan);
        steps::grows_linearly(
            "none of many",
            |parts| {
                let parts = (0..parts).map(|part| Filter::Not(Box::new(unlike(part))));
                Filter::Not(Box::new(Filter::Or(parts.collect())))
            },
            plan,
        );
    }

    #[test]
    fn rows_are_looked_for_in_a_list_in_steps_that_grow_with_their_number() {
        let field = Scalar::Field { path: vec![crate::lang::ast::Step::Field("n".into())], as_text: true };
        for scalar in [Scalar::Key, field] {
            let input = |size| (rows(size), in_list(scalar.clone(), size));
            steps::grows_linearly("rows and a list", input, |(rows, filter)| {
                assert!(rows.iter().all(|row| RowView::new(row, Timestamp::ZERO).fulfils(&filter) == Some(true)));
                let absent = StoredRow { key: Key::bound(KeyspaceId::DEFAULT, b"x"), ..rows[0].clone() };
                let is_there = RowView::new(&absent, Timestamp::ZERO).fulfils(&filter);
                assert_eq!(is_there, Some(scalar != Scalar::Key));
            });
        }
    }

    #[test]
    fn a_value_is_taken_apart_once_however_many_of_its_fields_are_looked_at() {
        let value = |fields| {
            let fields: Vec<String> = (0..fields).map(|field| format!(r#""n{field:09}":{field}"#)).collect();
            StoredRow {
                value: VersionedValue { value: format!("{{{}}}", fields.join(",")).into(), ..rows(1)[0].value.clone() },
                ..rows(1)[0].clone()
            }
        };
        steps::grows_linearly(
            "fields of a value",
            |size| (value(size), size),
            |(row, size)| {
                let view = RowView::new(&row, Timestamp::ZERO);
                for field in 0..size {
                    let path = vec![crate::lang::ast::Step::Field(format!("n{field:09}"))];
                    let shown = view.value(&Scalar::Field { path, as_text: true }).to_string();
                    assert_eq!(shown, field.to_string());
                }
            },
        );
    }

    #[test]
    fn a_list_holds_what_is_equal_to_one_of_its_items() {
        let row = StoredRow {
            value: VersionedValue {
                value: Bytes::from_static(br#"{"text": "41", "number": 41.0, "null": null}"#),
                timestamp: Timestamp::from_ms(1_795_377_600_000),
                expires_at: None,
            },
            key: Key::bound(KeyspaceId::DEFAULT, b"k"),
        };
        for (condition, wanted) in [
            ("key IN ('a', x'6b')", Some(true)),
            ("key IN ('a', 'b')", Some(false)),
            ("value ->> 'text' IN (7, '41')", Some(true)),
            ("value ->> 'text' IN ('7', 41)", Some(true)),
            ("value ->> 'text' IN (x'3431')", Some(true)),
            ("value ->> 'number' IN ('41')", Some(false)),
            ("value ->> 'number' IN ('a', 'b', 41)", Some(true)),
            ("value -> 'text' IN ('41')", Some(true)),
            ("value -> 'number' IN ('41.0')", Some(false)),
            ("value -> 'number' IN ('a', JSON '4.1e1')", Some(true)),
            ("value ->> 'null' IN ('a')", None),
            ("value ->> 'absent' IN ('a', 1)", None),
            ("version IN ('2026-11-22', '2026-11-22T20:00:00Z')", Some(true)),
            ("expires IN ('2026-11-22', '2026-11-22T20:00:00Z')", None),
        ] {
            let Ok(Statement::Select(select)) = parse(&format!("SELECT * FROM default WHERE {condition}")) else {
                panic!("{condition} is not understood")
            };
            let view = RowView::new(&row, Timestamp::ZERO);
            assert_eq!(view.fulfils(&select.filter.unwrap()), wanted, "{condition}");
        }
    }
}
