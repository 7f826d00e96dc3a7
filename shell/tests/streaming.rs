//! Results come page by page, and a statement ends when it is told to.

use std::io;
use std::sync::Arc;

use holdfast_shell::{Backend, Cancel, Progress, Session, ShellError, Sink, Value};
use holdfast_types::KeyspaceId;

use crate::collected::Collected;
use crate::memory::MemoryFleet;

const ROWS: u64 = 1_000;
const PAGE_ROWS: u32 = 10;

fn fleet() -> (Arc<MemoryFleet>, Session) {
    let fleet = Arc::new(MemoryFleet::new().with_pages(PAGE_ROWS));
    for row in 0..ROWS {
        fleet.put(KeyspaceId::DEFAULT, &format!("{row:06}"), "value");
    }
    let backend: Arc<dyn Backend> = fleet.clone();
    (fleet, Session::new(backend))
}

/// Does something when the first page comes, and keeps none.
struct AtFirstPage<F> {
    act: F,
    largest_page: usize,
    told: Vec<Progress>,
}

impl<F: FnMut() -> io::Result<()> + Send> Sink for AtFirstPage<F> {
    fn columns(&mut self, _names: &[String]) -> io::Result<()> {
        Ok(())
    }

    fn rows(&mut self, rows: Vec<Vec<Value>>) -> io::Result<()> {
        self.largest_page = self.largest_page.max(rows.len());
        (self.act)()
    }

    fn progress(&mut self, progress: &Progress) {
        self.told.push(*progress);
    }
}

#[tokio::test]
async fn a_long_result_comes_in_pages_with_progress_after_each() {
    let (_fleet, session) = fleet();
    let mut sink = AtFirstPage { act: || Ok(()), largest_page: 0, told: vec![] };
    let done = session.execute("SELECT * FROM default", &mut sink, &Cancel::new()).await.unwrap();
    assert_eq!(done.rows_returned, Some(ROWS));
    assert_eq!(sink.largest_page, usize::try_from(PAGE_ROWS).unwrap());
    assert!(sink.told.is_sorted_by_key(|progress| progress.rows_scanned));
    assert_eq!(sink.told.last().unwrap().rows_scanned, ROWS);
    assert!(sink.told.len() >= 100);
}

#[tokio::test]
async fn a_cancelled_statement_reads_no_further_page() {
    let (fleet, session) = fleet();
    let cancel = Cancel::new();
    let token = cancel.clone();
    let act = move || {
        token.cancel();
        Ok(())
    };
    let mut sink = AtFirstPage { act, largest_page: 0, told: vec![] };
    let before = fleet.calls();
    let ended = session.execute("SELECT * FROM default", &mut sink, &cancel).await;
    assert!(matches!(ended, Err(ShellError::Cancelled { .. })));
    assert_eq!(fleet.calls() - before, 2, "the keyspaces and one page");
    let mut all = Collected::default();
    session.execute("SELECT COUNT(*) FROM default", &mut all, &Cancel::new()).await.unwrap();
    assert_eq!(all.rows, [[Value::Integer(1_000)]], "the session goes on");
}

#[tokio::test]
async fn a_request_in_flight_is_dropped_when_the_statement_is_cancelled() {
    let (fleet, session) = fleet();
    let (is_dropped, cancel, mut sink) = (fleet.stall(), Cancel::new(), Collected::default());
    let statement = session.execute("SELECT * FROM default", &mut sink, &cancel);
    let (ended, ()) = tokio::join!(statement, async { cancel.cancel() });
    assert!(matches!(ended, Err(ShellError::Cancelled { done: None })));
    assert!(is_dropped.load(std::sync::atomic::Ordering::Relaxed));
}

#[tokio::test]
async fn what_nobody_looks_at_is_not_brought() {
    let (_fleet, session) = fleet();
    let bytes = async |text: &str| {
        let mut sink = Collected::default();
        session.execute(text, &mut sink, &Cancel::new()).await.unwrap();
        (sink.progress.rows_scanned, sink.progress.bytes_scanned, sink.rows)
    };
    assert_eq!(bytes("SELECT COUNT(*), COUNT(1) FROM default").await, (ROWS, 0, vec![vec![Value::Integer(1_000); 2]]));
    let keys_only = ROWS * 6;
    for text in [
        "SELECT COUNT(*), MAX(key) FROM default",
        "SELECT COUNT(*) FROM default WHERE key LIKE '%1'",
        "SELECT COUNT(expires) FROM default",
        "SELECT key, version, expires FROM default WHERE NOT expires IS NOT NULL",
    ] {
        let (rows, bytes, _) = bytes(text).await;
        assert_eq!((rows, bytes), (ROWS, keys_only), "{text}");
    }
    for text in [
        "SELECT COUNT(*) FROM default WHERE value = 'value'",
        "SELECT COUNT(value ->> 'a') FROM default",
        "SELECT key FROM default WHERE expires IS NULL OR value IN ('a')",
    ] {
        let (rows, bytes, _) = bytes(text).await;
        assert_eq!((rows, bytes), (ROWS, keys_only + ROWS * 5), "{text}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_statement_quietly() {
    let (fleet, session) = fleet();
    let act = || Err(io::Error::from(io::ErrorKind::BrokenPipe));
    let mut sink = AtFirstPage { act, largest_page: 0, told: vec![] };
    let ended = session.execute("SELECT * FROM default", &mut sink, &Cancel::new()).await.unwrap_err();
    assert!(ended.is_stop());
    assert_eq!(fleet.calls(), 2);
}

#[tokio::test]
async fn limits_and_ends_read_no_more_than_they_need() {
    let (fleet, session) = fleet();
    let calls = async |text: &str| {
        let before = fleet.calls();
        let mut sink = Collected::default();
        session.execute(text, &mut sink, &Cancel::new()).await.unwrap();
        fleet.calls() - before
    };
    calls("SELECT key FROM default LIMIT 1").await;
    assert_eq!(calls("SELECT key FROM default LIMIT 5").await, 1);
    assert_eq!(calls("SELECT MAX(key) FROM default").await, 1);
    assert_eq!(calls("SELECT key FROM default WHERE key IN ('000001', '000007', '000009')").await, 1);
    assert_eq!(calls("SELECT key FROM default ORDER BY key DESC LIMIT 5 OFFSET 5").await, 1);
}
