//! What a WHERE clause comes to: which keys have to be read, and what has to be asked of each row then. No IO.
//!
//! - [`KeyPlan`]: the plan of a condition
//! - [`KeySet`]: intervals of keys
//! - [`RowView`]: one row, and what a condition says of it

mod key_set;
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
        Filter::And(parts) if !negated => all_of(parts, negated),
        Filter::Or(parts) if negated => all_of(parts, negated),
        Filter::And(parts) | Filter::Or(parts) => one_of(parts, negated),
        Filter::Compare { scalar: Scalar::Key, comparison, literal } => {
            let Some(key) = operand(literal) else { return (KeySet::all(), false) };
            (opposite(compared(*comparison, key), negated), true)
        }
        Filter::In { scalar: Scalar::Key, list } => {
            let points = list.iter().map(|item| operand(item).map(Interval::point));
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

fn all_of(parts: &[Filter], negated: bool) -> (KeySet, bool) {
    parts.iter().fold((KeySet::all(), true), |(keys, exact), part| {
        let (part_keys, part_exact) = bound(part, negated);
        (keys.intersection(&part_keys), exact && part_exact)
    })
}

fn one_of(parts: &[Filter], negated: bool) -> (KeySet, bool) {
    let mut intervals = Vec::new();
    let mut exact = true;
    for part in parts {
        let (part_keys, part_exact) = bound(part, negated);
        exact &= part_exact;
        intervals.extend(part_keys.into_intervals());
    }
    (KeySet::from_intervals(intervals), exact)
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

/// A pattern on keys that begins with a wildcard, if the condition has one: it reads everything.
#[must_use]
pub fn open_pattern(filter: &Filter) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(open_pattern),
        Filter::Not(inner) => open_pattern(inner),
        Filter::Like { scalar: Scalar::Key, pattern } => {
            pattern.parts.len() > 1 && !matches!(pattern.parts.first(), Some(PatternPart::Bytes(_)))
        }
        _ => false,
    }
}
