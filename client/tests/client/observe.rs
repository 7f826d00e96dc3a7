//! What observers and spans tell.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::select;
use holdfast_client::mock::{Fault, Mock};
use holdfast_client::observe::{AttemptRefused, AttemptSent, CallEnded, Observer, Operation, Outcome, Totals};
use holdfast_client::{Batch, Expected, Options, RetryPolicy};
use tracing_subscriber::fmt::format::FmtSpan;

#[tokio::test]
async fn calls_are_counted_by_operation_and_outcome() {
    let mock = Mock::start().unwrap();
    let totals = Arc::new(Totals::default());
    let client = mock.client_with(Options::new().observer(totals.clone())).await.unwrap();
    client.put("key", "value").await.unwrap();
    mock.inject(Fault::busy(Duration::from_millis(1)).times(2));
    assert!(client.get("key").await.unwrap().is_some());
    client.batch_get(["key", "other"]).await.unwrap();
    client.delete("other").await.unwrap();
    assert!(!client.compare_and_set("key", Expected::Absent, None).await.unwrap().is_written());
    client.batch(Batch::new().put("a", "1").put("b", "2")).await.unwrap();
    client.scan(..).collect().await.unwrap();
    client.delete_range("x"..).await.unwrap();
    client.get("").await.unwrap_err();
    let get = |operation, outcome| totals.get(operation, outcome);
    let put = get(Operation::Put, Outcome::Done);
    assert_eq!((put.calls, put.attempts, put.retries, put.request_bytes), (1, 1, 0, 8));
    let read = get(Operation::Get, Outcome::Done);
    assert_eq!((read.calls, read.attempts, read.retries, read.response_bytes), (1, 3, 2, 5));
    assert!(read.longest >= Duration::from_millis(10) && read.latency >= read.longest, "two waits of 5 ms");
    let failed = get(Operation::CompareAndSet, Outcome::ConditionFailed);
    assert_eq!((failed.calls, failed.response_bytes), (1, 5));
    let refused = get(Operation::Get, Outcome::Rejected);
    assert_eq!((refused.calls, refused.attempts), (1, 0), "it was never sent");
    for operation in [Operation::BatchGet, Operation::Delete, Operation::Batch, Operation::Scan, Operation::DeleteRange]
    {
        assert_eq!(get(operation, Outcome::Done).calls, 1, "{operation}");
    }
    assert_eq!(totals.snapshot().len(), 9);
}

#[tokio::test]
async fn a_dropped_call_and_an_ambiguous_one_are_counted_as_such() {
    let mock = Mock::start().unwrap();
    let totals = Arc::new(Totals::default());
    let client = mock.client_with(Options::new().observer(totals.clone()).retry(RetryPolicy::none())).await.unwrap();
    mock.inject(Fault::hold());
    drop(select(pin!(client.put("k", "v")), pin!(mock.until(|stats| stats.calls == 1))).await);
    assert_eq!(totals.get(Operation::Put, Outcome::Cancelled).calls, 1);
    mock.inject(Fault::lose_answer());
    client.put("k", "v").await.unwrap_err();
    assert_eq!(totals.get(Operation::Put, Outcome::Ambiguous).calls, 1);
}

#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Diary {
    fn call_ended(&self, call: &CallEnded) {
        self.note(format!("{} {} after {}", call.operation, call.outcome, call.attempts));
    }

    fn attempt_sent(&self, attempt: &AttemptSent) {
        self.note(format!("attempt {} to {}", attempt.number, attempt.store));
    }

    fn attempt_refused(&self, refused: &AttemptRefused<'_>) {
        self.note(format!("attempt {} refused: {}", refused.number, refused.reason));
    }
}

#[tokio::test]
async fn each_attempt_is_told_with_its_store_and_its_refusal() {
    let mock = Mock::start().unwrap();
    let diary = Arc::new(Diary::default());
    let client = mock.client_with(Options::new().observer(diary.clone())).await.unwrap();
    mock.inject(Fault::busy(Duration::from_millis(7)));
    client.put("k", "v").await.unwrap();
    let told = diary.0.lock().unwrap().join("\n");
    let store = holdfast_types::StoreId(1);
    let expected = format!(
        "attempt 1 to {store}\nattempt 1 refused: busy: try again in 7ms\nattempt 2 to {store}\nput done after 2"
    );
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_span_tells_operation_outcome_and_attempts() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || Shared(Arc::clone(&writer)))
        .finish();
    let _guard = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    mock.inject(Fault::busy(Duration::from_millis(1)));
    client.put("k", "v").await.unwrap();
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let closed = log.lines().find(|line| line.contains("call{") && line.contains(": close")).unwrap();
    for part in ["holdfast_client", "operation=\"put\"", "outcome=\"done\"", "attempts=2", "retries=1", "keyspace=1"] {
        assert!(closed.contains(part), "{part} in {closed}");
    }
    assert!(log.contains("refused"), "{log}");
}

/// A log that a test may read.
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
