//! Changes of many rows: how many requests they take, what large values and other writers do to them.

use std::sync::Arc;

use holdfast_shell::{Backend, Cancel, Session, ShellError, Summary, Value};
use holdfast_types::{KeyspaceId, limits};

use crate::collected::Collected;
use crate::memory::MemoryFleet;

fn fleet() -> (Arc<MemoryFleet>, Session) {
    let fleet = Arc::new(MemoryFleet::new());
    let backend: Arc<dyn Backend> = fleet.clone();
    (fleet, Session::new(backend))
}

fn key(row: usize) -> String {
    format!("k{row:04}")
}

fn list(rows: usize) -> String {
    (0..rows).map(|row| format!("'{}'", key(row))).collect::<Vec<_>>().join(", ")
}

async fn execute(session: &Session, text: &str) -> Result<(Summary, Collected), ShellError> {
    let mut sink = Collected::default();
    let summary = session.execute(text, &mut sink, &Cancel::new()).await?;
    Ok((summary, sink))
}

#[tokio::test]
async fn many_single_keys_of_a_range_are_deleted_with_two_requests_and_only_those_that_were_there_are_counted() {
    let (fleet, session) = fleet();
    for row in (0..400).step_by(2) {
        fleet.put(KeyspaceId::DEFAULT, &key(row), "value");
    }
    execute(&session, "SELECT key FROM default LIMIT 1").await.unwrap();
    let before = fleet.calls();
    let text = format!("DELETE FROM default WHERE key IN ({})", list(400));
    let (summary, _) = execute(&session, &text).await.unwrap();
    assert_eq!((summary.rows_affected, fleet.calls() - before), (Some(200), 2));
}

#[tokio::test]
async fn keys_whose_values_are_more_than_one_answer_takes_are_read_and_deleted_in_parts() {
    let (fleet, session) = fleet();
    let value = "x".repeat(limits::MAX_VALUE_BYTES);
    for row in 0..20 {
        fleet.put(KeyspaceId::DEFAULT, &key(row), &value);
    }
    let keys = list(20);
    let (_, read) = execute(&session, &format!("SELECT key FROM default WHERE key IN ({keys})")).await.unwrap();
    let wanted: Vec<Vec<Value>> = (0..20).map(|row| vec![Value::Text(key(row))]).collect();
    assert_eq!(read.rows, wanted);
    let rows: Vec<String> = (0..20).map(|row| format!("('{}', 'new')", key(row))).collect();
    let insert = format!("INSERT INTO default (key, value) VALUES {}", rows.join(", "));
    let refused = execute(&session, &insert).await.unwrap_err().to_string();
    assert!(refused.starts_with("20 of 20 keys exist already"), "{refused}");
    let (summary, _) = execute(&session, &format!("DELETE FROM default WHERE key IN ({keys})")).await.unwrap();
    assert_eq!(summary.rows_affected, Some(20));
}

#[tokio::test]
async fn rows_that_others_change_meanwhile_do_not_hold_up_each_other() {
    let (fleet, session) = fleet();
    for row in 0..100 {
        fleet.put(KeyspaceId::DEFAULT, &key(row), "old");
    }
    // More than a single row is tried again.
    for row in (0..100).step_by(3) {
        fleet.interfere(KeyspaceId::DEFAULT, &key(row), Some("theirs"));
    }
    let update = "UPDATE default SET value = 'new' WHERE key STARTS WITH 'k' AND value <> 'new'";
    let (summary, _) = execute(&session, update).await.unwrap();
    assert_eq!(summary.rows_affected, Some(100));
    let (_, left) = execute(&session, "SELECT COUNT(*) FROM default WHERE value <> 'new'").await.unwrap();
    assert_eq!(left.rows, [[Value::Integer(0)]]);
}

#[tokio::test]
async fn a_count_and_both_ends_are_read_together() {
    let (fleet, session) = fleet();
    for row in 0..10 {
        fleet.put(KeyspaceId::DEFAULT, &key(row), if row % 3 == 1 { "odd" } else { "even" });
    }
    execute(&session, "SELECT key FROM default LIMIT 1").await.unwrap();
    let before = fleet.calls();
    let text = "SELECT MAX(key), COUNT(*), MIN(key), COUNT(value ->> 'x') FROM default WHERE value = 'odd'";
    let (_, read) = execute(&session, text).await.unwrap();
    let wanted = [Value::Text(key(7)), Value::Integer(3), Value::Text(key(1)), Value::Integer(0)];
    assert_eq!((read.rows.as_slice(), fleet.calls() - before), ([wanted.to_vec()].as_slice(), 1));
}
