//! A write is applied once, whatever happens to its attempts.

use std::time::Duration;

use bytes::Bytes;
use holdfast_client::mock::{Fault, Mock};
use holdfast_client::{Batch, Client, ClientError, Expected};

use crate::three_sites;

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_applied_once() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    mock.inject(Fault::lose_answer());
    let outcome = client.compare_and_set("k", Expected::Absent, Some(Bytes::from_static(b"v"))).await.unwrap();
    assert!(outcome.is_written(), "the second attempt finds what the first one did");
    let stats = mock.stats();
    assert_eq!((stats.calls, stats.applied), (2, 1));
}

#[tokio::test]
async fn a_write_that_was_never_served_is_applied_by_its_retry() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    mock.inject(Fault::lose_request());
    client.put("k", "v").await.unwrap();
    assert_eq!(mock.versions("k").len(), 1);
}

#[tokio::test]
async fn a_deletion_tells_the_count_of_the_attempt_that_deleted() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    client.batch(Batch::new().put("a", "1").put("b", "2")).await.unwrap();
    mock.inject(Fault::lose_answer());
    assert_eq!(client.delete_range(..).await.unwrap(), 2);
}

#[tokio::test]
async fn a_write_whose_record_moved_with_a_split_is_still_applied_once() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    client.put("warm", "up").await.unwrap();
    mock.inject(Fault::hold_answer());
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.put("x", "v").await }
    });
    mock.until(|stats| stats.calls == 2).await;
    mock.split_at("m");
    call.await.unwrap().unwrap();
    assert_eq!(mock.versions("x").len(), 1);
    assert!(mock.stats().calls >= 3, "it was tried again, in the range that was born");
}

#[tokio::test]
async fn what_cannot_be_known_by_the_deadline_is_ambiguous_and_never_twice() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap().with_deadline(Duration::from_millis(300));
    for (fault, versions) in
        [(Fault::lose_answer(), 1), (Fault::lose_request(), 0), (Fault::hold(), 0), (Fault::doubt(), 1)]
    {
        let key = format!("{fault:?}");
        mock.inject(fault.forever());
        let outcome = client.put(&key, "v").await;
        assert!(matches!(outcome, Err(ClientError::Ambiguous(_))), "{key}: {outcome:?}");
        assert_eq!(mock.versions(&key).len(), versions, "{key}");
        mock.clear_faults();
    }
    mock.inject(Fault::hold().forever());
    let outcome = client.get("k").await;
    assert!(matches!(outcome, Err(ClientError::DeadlineExceeded { .. })), "a read is never ambiguous: {outcome:?}");
}

async fn increment(client: &Client) -> Result<bool, ClientError> {
    let found = client.get("count").await?;
    let (expected, next) = match found {
        None => (Expected::Absent, 1),
        Some(old) => {
            let count: u64 = std::str::from_utf8(&old.value).unwrap().parse().unwrap();
            (Expected::Version(old.timestamp), count + 1)
        }
    };
    Ok(client.compare_and_set("count", expected, Some(next.to_string().into())).await?.is_written())
}

#[tokio::test]
async fn a_counter_under_every_kind_of_loss_counts_right() {
    let mock = three_sites().start().unwrap();
    let client = mock.client().await.unwrap();
    let mut counted = 0;
    for round in 0..60 {
        mock.inject(match round % 6 {
            0 => Fault::lose_answer(),
            1 => Fault::lose_request(),
            2 => Fault::doubt(),
            3 => Fault::busy(Duration::from_millis(5)),
            4 => Fault::not_leader(),
            _ => Fault::delay(Duration::from_millis(1)),
        });
        mock.move_leader("count", round % 3);
        counted += u64::from(increment(&client).await.unwrap());
    }
    let count = client.get("count").await.unwrap().unwrap();
    assert_eq!(&count.value[..], counted.to_string().as_bytes());
    assert_eq!((counted, mock.versions("count").len()), (60, 60));
}

#[tokio::test]
async fn writes_go_on_when_a_store_dies_and_when_it_comes_back() {
    let mock = three_sites().start().unwrap();
    let client = mock.client().await.unwrap();
    for round in 0..6_usize {
        let store = round % 3;
        mock.stop_store(store);
        client.put(format!("b{round}"), "v").await.unwrap();
        client.put(format!("x{round}"), "v").await.unwrap();
        mock.start_store(store).unwrap();
    }
    assert_eq!(client.scan(..).collect().await.unwrap().len(), 12);
    assert_eq!(mock.stats().applied, 12);
}
