//! What a WHERE clause selects by its planned key ranges is what it selects row by row.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_shell::backend::StoredRow;
use holdfast_shell::lang::ast::{Comparison, Filter, List, Literal, Pattern, PatternPart, Scalar, Statement, Step};
use holdfast_shell::plan::{KeyPlan, RowView};
use holdfast_shell::{Backend, Cancel, Session, Value, lang};
use holdfast_types::{Key, KeyspaceId, Timestamp, VersionedValue};
use proptest::prelude::*;

use crate::collected::Collected;
use crate::memory::MemoryFleet;

/// Few letters, so that keys meet bounds and prefixes.
fn key_text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "%", "_", "ë"]), 0..4).prop_map(|parts| parts.concat())
}

fn row_key() -> impl Strategy<Value = String> {
    key_text().prop_filter("a key has a letter", |key| !key.is_empty())
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ])
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let part = prop_oneof![
        row_key().prop_map(|text| PatternPart::Bytes(text.into_bytes())),
        Just(PatternPart::One),
        Just(PatternPart::Any),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| {
        // As the parser gives them: neighbours of a kind are one.
        let mut merged: Vec<PatternPart> = Vec::new();
        for part in parts {
            match (merged.last_mut(), part) {
                (Some(PatternPart::Bytes(last)), PatternPart::Bytes(more)) => last.extend(more),
                (Some(PatternPart::Any), PatternPart::Any) => {}
                (_, part) => merged.push(part),
            }
        }
        Pattern { parts: merged }
    })
}

fn scalar() -> impl Strategy<Value = Scalar> {
    let field = Scalar::Field { path: vec![Step::Field("n".into())], as_text: true };
    prop::sample::select(vec![Scalar::Key, Scalar::Key, Scalar::Key, Scalar::Value, field])
}

fn atom() -> impl Strategy<Value = Filter> {
    let literal = || key_text().prop_map(Literal::Text);
    prop_oneof![
        6 => (scalar(), comparison(), literal())
            .prop_map(|(scalar, comparison, literal)| Filter::Compare { scalar, comparison, literal }),
        2 => (scalar(), prop::collection::vec(literal(), 1..4)).prop_map(|(scalar, list)| Filter::In { scalar, list: List::new(list) }),
        3 => (scalar(), pattern()).prop_map(|(scalar, pattern)| Filter::Like { scalar, pattern }),
        1 => scalar().prop_map(Filter::IsNull),
        1 => prop::option::of(any::<bool>()).prop_map(Filter::Constant),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    atom().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

fn rows() -> impl Strategy<Value = Vec<(String, String)>> {
    let json = key_text()
        .prop_map(|text| format!("{{\"n\":{}}}", if text.is_empty() { "null".into() } else { format!("\"{text}\"") }));
    prop::collection::vec((row_key(), prop_oneof![key_text(), json]), 0..20)
}

fn stored(key: &str, value: &str) -> StoredRow {
    let value = VersionedValue {
        value: Bytes::copy_from_slice(value.as_bytes()),
        timestamp: Timestamp::from_ms(1),
        expires_at: None,
    };
    StoredRow { key: Key::bound(KeyspaceId::DEFAULT, key.as_bytes()), value }
}

fn is_true(filter: &Filter, row: &StoredRow) -> bool {
    RowView::new(row, Timestamp::ZERO).fulfils(filter) == Some(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn planned_keys_and_what_is_left_of_the_condition_select_what_the_condition_selects(
        filter in filter(),
        rows in rows(),
    ) {
        let plan = KeyPlan::of(Some(&filter));
        for (key, value) in &rows {
            let row = stored(key, value);
            let by_plan = plan.keys.contains(key.as_bytes()) && plan.residual.as_ref().is_none_or(|left| is_true(left, &row));
            prop_assert_eq!(by_plan, is_true(&filter, &row), "{} on {} = {}: {:?}", filter, key, value, plan);
        }
    }

    #[test]
    fn a_condition_that_is_written_out_and_read_again_selects_the_same(filter in filter(), rows in rows()) {
        let text = format!("SELECT * FROM default WHERE {filter}");
        // What a person would not write is refused: comparing keys with nothing, prefixes of nothing.
        let Ok(Statement::Select(select)) = lang::parse(&text) else {
            return Err(TestCaseError::fail(format!("{text}: {:?}", lang::parse(&text))));
        };
        let read = select.filter.unwrap();
        for (key, value) in &rows {
            let row = stored(key, value);
            prop_assert_eq!(is_true(&read, &row), is_true(&filter, &row), "{} on {} = {}", text, key, value);
        }
    }

    #[test]
    fn select_reads_just_these_rows_in_order_over_pages_and_ranges(
        filter in filter(),
        rows in rows(),
        splits in prop::collection::vec(row_key(), 0..3),
        page in 1_u32..4,
        descending in any::<bool>(),
        limit in prop::option::of(0_u64..6),
        offset in 0_u64..3,
    ) {
        let fleet = Arc::new(MemoryFleet::new().with_pages(page));
        for (key, value) in &rows {
            fleet.put(KeyspaceId::DEFAULT, key, value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for split in &splits {
            runtime.block_on(fleet.split(KeyspaceId::DEFAULT, split.as_bytes())).unwrap();
        }
        let mut wanted: Vec<(String, String)> = std::collections::BTreeMap::from_iter(rows).into_iter().collect();
        wanted.retain(|(key, value)| is_true(&filter, &stored(key, value)));
        if descending {
            wanted.reverse();
        }
        let at_most = limit.unwrap_or(u64::MAX).try_into().unwrap();
        let wanted: Vec<String> = wanted.into_iter().map(|row| row.0).skip(offset.try_into().unwrap()).take(at_most).collect();
        let order = if descending { "DESC" } else { "ASC" };
        let mut text = format!("SELECT key FROM default WHERE {filter} ORDER BY key {order} OFFSET {offset}");
        if let Some(limit) = limit {
            text = format!("{text} LIMIT {limit}");
        }
        let mut sink = Collected::default();
        let backend: Arc<dyn Backend> = fleet;
        let done = runtime.block_on(Session::new(backend).execute(&text, &mut sink, &Cancel::new()));
        prop_assert!(done.is_ok(), "{}: {:?}", text, done);
        let got: Vec<String> = sink.rows.iter().map(|row| match &row[0] {
            Value::Text(key) => key.clone(),
            other => other.to_string(),
        }).collect();
        prop_assert_eq!(got, wanted, "{}", text);
    }
}
