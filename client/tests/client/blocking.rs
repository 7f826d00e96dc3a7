//! The blocking client does what the other one does.

use std::time::Duration;

use bytes::Bytes;
use holdfast_client::mock::{Fault, Mock};
use holdfast_client::{Batch, Expected, KeyspaceId, RetryPolicy, WriteOutcome};

use crate::{keys, three_sites};

#[test]
fn every_operation_does_what_it_says() {
    let mock = three_sites().start().unwrap();
    let client = mock.blocking_client().unwrap();
    let version = client.put("b", "1").unwrap();
    assert_eq!(client.get("b").unwrap().unwrap().timestamp, version);
    client.put("b", "2").unwrap();
    assert_eq!(&client.get_at("b", version).unwrap().unwrap().value[..], b"1");
    client.put_for("x", "1", Duration::from_secs(60)).unwrap();
    assert!(client.batch_get(["x", "b"]).unwrap().iter().all(Option::is_some));
    assert!(client.batch_get_at(["x"], version).unwrap()[0].is_none());
    let swapped = client.compare_and_set("b", Expected::Absent, Some(Bytes::new())).unwrap();
    assert!(matches!(swapped, WriteOutcome::ConditionFailed(failed) if failed.index == 0));
    client.batch(Batch::new().put("c", "1").put("d", "1")).unwrap().into_result().unwrap();
    client.delete("d").unwrap();
    assert_eq!(keys(&client.scan(..).collect().unwrap()), "b c x");
    let backwards: Vec<_> = client.scan(..).reverse().pages(1, 9).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(keys(&backwards), "x c b");
    let mut pages = client.scan("b"..).limit(2).at(version).pages(1, 9);
    assert_eq!(keys(&pages.next_page().unwrap().unwrap()), "b");
    assert_eq!(pages.next_page().unwrap(), None);
    assert_eq!(keys(&client.scan_prefix("x").collect().unwrap()), "x");
    assert_eq!(client.delete_range("c"..).unwrap(), 2);
    assert_eq!(client.with_keyspace(KeyspaceId(9)).scan(..).collect().unwrap(), []);
    assert!(client.fleet_now().ms().abs_diff(version.ms()) < 60_000, "an estimate");
}

#[test]
fn threads_share_a_client() {
    let mock = Mock::start().unwrap();
    let client = mock.blocking_client().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let client = client.clone();
            scope.spawn(move || {
                for i in 0..50 {
                    client.put(format!("{thread}/{i}"), "v").unwrap();
                }
            });
        }
    });
    assert_eq!(client.scan(..).into_iter().count(), 400);
    assert_eq!(mock.stats().applied, 400);
}

#[test]
fn deadlines_policies_and_lost_answers_are_the_same() {
    let mock = Mock::start().unwrap();
    let client = mock.blocking_client().unwrap();
    mock.inject(Fault::lose_answer());
    client.put("k", "v").unwrap();
    assert_eq!(mock.versions("k").len(), 1);
    mock.inject(Fault::unavailable());
    assert!(client.with_retry(RetryPolicy::none()).get("k").unwrap_err().is_temporary());
    mock.inject(Fault::hold().forever());
    assert!(client.with_deadline(Duration::from_millis(50)).put("k", "v").unwrap_err().is_ambiguous());
    mock.clear_faults();
    mock.inject(Fault::busy(Duration::from_millis(1)));
    let mut rows = client.with_retry(RetryPolicy::none()).scan(..).into_iter();
    assert!(rows.next().unwrap().is_err());
    assert_eq!(&rows.next().unwrap().unwrap().key[..], b"k", "the same page, asked for again");
    assert!(rows.next().is_none());
}

#[test]
fn within_a_runtime_it_says_what_to_use_and_may_be_dropped() {
    let mock = Mock::start().unwrap();
    let client = mock.blocking_client().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let panic = runtime.block_on(async {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.get("k")));
        outcome.unwrap_err().downcast::<&str>().unwrap()
    });
    assert!(panic.contains("use holdfast_client::Client"), "{panic}");
    runtime.block_on(async {
        client.as_async().put("k", "v").await.unwrap();
        drop(client);
    });
}
