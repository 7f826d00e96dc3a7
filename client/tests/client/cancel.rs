//! Dropping the future of a call ends it, and leaves the client as it was.

use std::pin::pin;

use futures::future::{Either, select};
use futures::{StreamExt, TryStreamExt};
use holdfast_client::mock::{Fault, Mock};

use crate::keys;

/// Runs a call until so many attempts have arrived, and drops it.
async fn drop_after<F: Future>(mock: &Mock, calls: u64, call: F) {
    let arrived = mock.until(|stats| stats.calls >= calls);
    match select(pin!(call), pin!(arrived)).await {
        Either::Left(_) => panic!("the call was to be held"),
        Either::Right(_) => {}
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_at_the_store() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    mock.inject(Fault::hold());
    drop_after(&mock, 1, client.put("held", "v")).await;
    mock.until(|stats| stats.cancelled == 1).await;
    client.put("next", "v").await.unwrap();
    assert_eq!(mock.versions("held").len(), 0);
    assert!(format!("{client:?}").contains("calls_in_flight: 0"), "{client:?}");
}

#[tokio::test]
async fn a_call_that_is_never_polled_does_nothing() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    drop(client.put("k", "v"));
    client.get("k").await.unwrap();
    assert_eq!(mock.stats().calls, 1);
}

#[tokio::test]
async fn a_dropped_write_that_was_applied_does_not_disturb_the_next_one() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    for round in 1..=20 {
        mock.inject(Fault::hold_answer());
        drop_after(&mock, mock.stats().calls + 1, client.put("dropped", "v")).await;
        client.put("kept", format!("{round}")).await.unwrap();
        assert_eq!(&client.get("kept").await.unwrap().unwrap().value[..], format!("{round}").as_bytes());
    }
    assert_eq!((mock.versions("dropped").len(), mock.versions("kept").len()), (20, 20));
}

#[tokio::test]
async fn a_dropped_page_is_read_again() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    for key in ["a", "b", "c", "d"] {
        client.put(key, "v").await.unwrap();
    }
    let mut scan = client.scan(..).pages(2, 1 << 20);
    let mut rows = scan.next_page().await.unwrap().unwrap();
    mock.inject(Fault::hold());
    drop_after(&mock, mock.stats().calls + 1, scan.next_page()).await;
    while let Some(page) = scan.next_page().await.unwrap() {
        rows.extend(page);
    }
    assert_eq!(keys(&rows), "a b c d");
}

#[tokio::test]
async fn a_stream_loses_no_row_when_the_wait_for_one_is_dropped() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    for key in ["a", "b", "c"] {
        client.put(key, "v").await.unwrap();
    }
    let mut stream = client.scan(..).pages(1, 1 << 20).stream();
    let first = stream.try_next().await.unwrap().unwrap();
    mock.inject(Fault::delay(std::time::Duration::from_millis(20)));
    drop_after(&mock, mock.stats().calls + 1, stream.next()).await;
    let mut rows = vec![first];
    rows.extend(stream.try_collect::<Vec<_>>().await.unwrap());
    assert_eq!(keys(&rows), "a b c");
}

#[tokio::test]
async fn what_is_in_flight_ends_when_the_last_handle_is_dropped() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    mock.inject(Fault::hold().forever());
    let calls: Vec<_> = (0..50)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move { client.put(format!("{i}"), "v").await })
        })
        .collect();
    drop(client);
    mock.until(|stats| stats.calls >= 50).await;
    for call in calls {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    mock.clear_faults();
    let another = mock.client().await.unwrap();
    assert_eq!(another.scan(..).collect().await.unwrap(), []);
}
