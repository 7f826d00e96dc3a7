//! What is tried again, how often, and what a caller hears in the end.

use std::time::Duration;

use holdfast_client::mock::{Fault, Mock};
use holdfast_client::{Client, ClientError, Options, Rejected, RetryCause, RetryPolicy};
use holdfast_types::{Key, LeaderHint, RangeId, StoreId};

use crate::three_sites;

#[tokio::test]
async fn refusals_are_retried_until_one_is_final() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    mock.inject(Fault::busy(Duration::from_millis(1)));
    mock.inject(Fault::unavailable());
    mock.inject(Fault::not_leader());
    let spans = Rejected::SpansRanges { split_key: Key::MIN };
    mock.inject(Fault::reject(spans.clone()));
    assert_eq!(client.put("k", "v").await, Err(ClientError::Rejected(spans)));
    assert_eq!(mock.stats().calls, 4);
}

#[tokio::test]
async fn without_retries_a_caller_hears_of_the_first_refusal() {
    let mock = Mock::start().unwrap();
    let client = mock.client_with(Options::new().retry(RetryPolicy::none())).await.unwrap();
    mock.inject(Fault::busy(Duration::from_millis(70)));
    let error = client.get("k").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_millis(70)));
    assert!(error.is_temporary() && !error.is_ambiguous());
    mock.inject(Fault::lose_answer());
    let error = client.put("k", "v").await.unwrap_err();
    assert!(error.is_ambiguous() && !error.is_temporary(), "{error}");
    assert_eq!(mock.stats().calls, 2);
}

#[tokio::test]
async fn a_policy_belongs_to_a_handle_and_not_to_the_connection() {
    let mock = Mock::start().unwrap();
    let patient = mock.client().await.unwrap();
    let hasty = patient.with_retry(RetryPolicy::new().without(RetryCause::Unavailable));
    mock.inject(Fault::unavailable());
    assert!(hasty.get("k").await.is_err());
    mock.inject(Fault::unavailable());
    assert_eq!(patient.get("k").await, Ok(None));
}

#[tokio::test]
async fn attempts_end_where_the_policy_says() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let thrice = RetryPolicy::new().attempts(3).backoff(Duration::from_millis(5), Duration::from_millis(5));
    mock.inject(Fault::unavailable().forever());
    let error = client.with_retry(thrice).put("k", "v").await.unwrap_err();
    assert!(matches!(error, ClientError::Rejected(Rejected::Unavailable(_))), "{error}");
    assert_eq!(mock.stats().calls, 3);
}

#[tokio::test]
async fn a_fleet_that_is_busy_until_the_deadline_says_so() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap().with_deadline(Duration::from_millis(100));
    mock.inject(Fault::busy(Duration::from_millis(10)).forever());
    assert!(matches!(client.put("k", "v").await, Err(ClientError::Rejected(Rejected::Busy { .. }))));
    mock.clear_faults();
    mock.inject(Fault::not_leader().forever());
    let Err(ClientError::DeadlineExceeded { last: Some(last) }) = client.put("k", "v").await else {
        panic!("nobody leads")
    };
    assert!(matches!(*last, Rejected::NotLeader { .. }));
}

#[tokio::test]
async fn a_hint_leads_to_a_store_never_heard_of() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let leader = LeaderHint { store: StoreId(99), address: Some(mock.addresses()[0].clone()) };
    mock.inject(Fault::reject(Rejected::NotLeader { range: RangeId(1), leader: Some(leader) }));
    client.put("k", "v").await.unwrap();
    assert_eq!((mock.stats().calls, mock.stats().applied), (2, 1));
}

#[tokio::test]
async fn a_new_leader_is_asked_without_a_refusal() {
    let mock = three_sites().start().unwrap();
    let client = mock.client().await.unwrap();
    client.put("b", "1").await.unwrap();
    mock.inject(Fault::not_leader());
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.put("b", "2").await }
    });
    mock.until(|stats| stats.calls == 2).await;
    mock.move_leader("b", 2);
    call.await.unwrap().unwrap();
    assert_eq!(mock.stats().calls, 3);
}

#[tokio::test]
async fn without_any_store_connecting_says_so() {
    let mock = Mock::start().unwrap();
    let address = mock.addresses().remove(0);
    drop(mock);
    let outcome = Client::connect([address.clone()], Options::new().deadline(Duration::ZERO)).await;
    let error = outcome.err().unwrap();
    assert!(matches!(error, ClientError::Unreachable(_)) && error.is_temporary(), "{error}");
    let said = error.to_string();
    assert!(said.starts_with(&format!("no store could be reached ({address}: Connection refused")), "{said}");
    assert!(said.ends_with("): check the addresses and that the fleet was founded by `holdfast init`"), "{said}");
}
