//! Scripts that users of other tools fell over; what is large is made here.

use std::path::Path;
use std::sync::Arc;

use holdfast_shell::lang::split_statements;
use holdfast_shell::{Cancel, Session, ShellError, Value};

use crate::collected::Collected;
use crate::memory::MemoryFleet;

/// The statements of a script, each with its cells or its error as people see it.
async fn run(script: &str) -> Vec<Result<Vec<String>, String>> {
    let session = Session::new(Arc::new(MemoryFleet::new()));
    let mut all = Vec::new();
    for piece in split_statements(script) {
        let mut sink = Collected::default();
        let ended = session.execute(piece.text, &mut sink, &Cancel::new()).await;
        let shown = |error: ShellError| error.render(piece.text);
        all.push(ended.map(|_| sink.rows.iter().flatten().map(Value::to_string).collect()).map_err(shown));
    }
    all
}

async fn run_file(name: &str) -> Vec<Result<Vec<String>, String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field").join(name);
    let script = std::fs::read_to_string(file).unwrap();
    // Commands of the shell are no statements.
    run(&script.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")).await
}

fn cells(cells: &[&str]) -> Result<Vec<String>, String> {
    Ok(cells.iter().map(|cell| (*cell).to_owned()).collect())
}

#[tokio::test]
async fn a_number_with_two_minuses_is_that_number() {
    let ended = run_file("b06-double-minus.sql").await;
    assert_eq!(ended, [cells(&[]), cells(&["5"]), cells(&[]), cells(&["5"])]);
}

#[tokio::test]
async fn an_interval_that_reaches_beyond_all_time_is_refused() {
    let ended = run_file("b11-interval-overflow.sql").await;
    assert!(ended[0].as_ref().unwrap_err().starts_with("error: years is no unit of time here\n"), "{ended:?}");
    let ended = run("UPSERT INTO default VALUES ('b11', 'x', NOW() + INTERVAL '99999999999 days')").await;
    assert!(ended[0].as_ref().unwrap_err().starts_with("error: this is not an interval\n"), "{ended:?}");
}

#[tokio::test]
async fn a_time_that_was_written_is_found_again() {
    let ended = run_file("b12b-time-round-trip.sql").await;
    assert_eq!(ended, [cells(&[]), cells(&["2099-11-22 20:00:00.000"])]);
}

#[tokio::test]
async fn months_and_minutes_are_not_mistaken_for_each_other() {
    let ended = run_file("b42-month.sql").await;
    assert_eq!(ended[..2], [cells(&[]), cells(&["b42", "2030-01-31 00:00:00.000"])]);
    for (at, unit) in [(2, "M"), (4, "MONTH")] {
        assert!(ended[at].as_ref().unwrap_err().starts_with(&format!("error: {unit} is no unit of time here\n")));
        assert_eq!(ended[at + 1], cells(&[]), "nothing was written");
    }
    assert!(ended[6].as_ref().unwrap_err().starts_with("error: this is not an interval\n"));
}

#[tokio::test]
async fn many_rows_on_one_line_are_written_and_counted() {
    let rows: Vec<String> = (0..10_000).map(|row| format!("('b44/{row:05}','v')")).collect();
    let script = format!("UPSERT INTO default VALUES {};\nSELECT COUNT(*) FROM default;", rows.join(", "));
    assert_eq!(run(&script).await, [cells(&[]), cells(&["10000"])]);
    let keys: Vec<String> = (0..20_000).map(|key| format!("'b44/{key:05}'")).collect();
    let script = format!("{script}SELECT COUNT(*) FROM default WHERE key IN ({})", keys.join(","));
    assert_eq!(run(&script).await.last(), Some(&cells(&["10000"])));
}

#[tokio::test]
async fn an_error_in_a_long_line_takes_no_more_than_a_screen() {
    let long = "k".repeat(4_097);
    let existing = "k".repeat(4_096);
    let script = format!(
        "UPSERT INTO default VALUES ('{long}', 'over'); INSERT INTO default VALUES ('{existing}', 'v');
         INSERT INTO default VALUES ('{existing}', 'v'), ('a', 'v'); INSERT INTO default VALUES ('{existing}', 'v');
         SELECT {long} FROM default; SELECT * FROM {long}; SELECT * FROM default WHERE {long} = 5; {long};
         SELECT * FROM default WHERE '{long}'; SELECT \"{long}\" FROM default; SELECT key FROM default ORDER BY '{long}';
         SELECT * FROM default WHERE key = \"{long}\"; SELECT * FROM default WHERE value ->> {long} = 5;
         SHOW {long}; UPDATE {long} SET {long} = 'x'; SELECT * FROM default WHERE {long}(key) = '{long}';
         UPSERT INTO default VALUES ('a', {long}, '{long}'); UPSERT INTO default VALUES ('a', 'b', '1 {long}')"
    );
    let ended = run(&script).await;
    assert_eq!((ended.len(), ended[1].is_ok()), (18, true));
    for (at, error) in ended.iter().enumerate().filter(|(at, _)| *at != 1) {
        let error = error.as_ref().unwrap_err();
        assert!(error.lines().all(|line| line.chars().count() <= 250), "{at}: {error}");
        let place = error.lines().skip(2).take(2).map(|line| line.chars().count());
        assert!(place.max() <= Some(80), "{at}: {error}");
    }
}
