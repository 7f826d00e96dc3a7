//! What each operation does.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use holdfast_client::admin::{AdminError, StoreId};
use holdfast_client::mock::{Fault, Mock};
use holdfast_client::observe::Totals;
use holdfast_client::{
    Batch, ClientError, Expected, KeySpan, KeyspaceId, Options, Rejected, RetryPolicy, WriteOutcome,
};

use crate::{keys, three_sites};

#[tokio::test]
async fn every_operation_does_what_it_says() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let version = client.put("b", "1").await.unwrap();
    let found = client.get("b").await.unwrap().unwrap();
    assert_eq!((&found.value[..], found.timestamp), (&b"1"[..], version));
    assert_eq!(client.get("nothing").await.unwrap(), None);
    let expected = Expected::Version(version);
    let swapped = client.compare_and_set("b", expected, Some(Bytes::from_static(b"2"))).await.unwrap();
    assert!(swapped.is_written());
    client.batch(Batch::new().put("a", "1").put("c", "3").put("d", "4")).await.unwrap();
    client.delete("d").await.unwrap();
    let values = client.batch_get(["c", "x", "a"]).await.unwrap();
    assert_eq!(values.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(keys(&client.scan(..).pages(1, 1_000).collect().await.unwrap()), "a b c");
    assert_eq!(keys(&client.scan(.."c").reverse().collect().await.unwrap()), "b a");
    assert_eq!(keys(&client.scan(..).limit(2).collect().await.unwrap()), "a b");
    assert_eq!(client.delete_range("b"..).await.unwrap(), 2);
    assert_eq!(keys(&client.scan(..).collect().await.unwrap()), "a");
    assert!(client.get("").await.is_err(), "an empty key");
    let elsewhere = client.with_keyspace(KeyspaceId(9));
    assert_eq!(elsewhere.scan(..).collect().await.unwrap(), []);
}

#[tokio::test]
async fn values_that_are_too_many_for_one_answer_are_refused_as_by_stores() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    for key in keys {
        client.put(key, vec![0_u8; 1 << 20]).await.unwrap();
    }
    let refused = client.batch_get(keys).await.unwrap_err();
    assert!(matches!(refused, ClientError::Rejected(Rejected::Invalid(_))), "{refused}");
    // What each range answers is few enough.
    mock.split_at("d");
    assert_eq!(client.batch_get(keys).await.unwrap().iter().flatten().count(), keys.len());
}

#[tokio::test]
async fn values_expire_in_fleet_time() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    client.put_for("k", "v", Duration::from_secs(100)).await.unwrap();
    client.batch(Batch::new().put_for("l", "v", Duration::from_secs(300))).await.unwrap();
    assert!(client.get("k").await.unwrap().unwrap().expires_at.unwrap() > client.fleet_now());
    mock.advance(Duration::from_secs(200));
    assert_eq!(client.get("k").await.unwrap(), None);
    assert_eq!(keys(&client.scan(..).collect().await.unwrap()), "l");
}

#[tokio::test]
async fn the_past_is_read_until_it_is_forgotten() {
    let mock = three_sites().start().unwrap();
    let client = mock.client().await.unwrap();
    client.put("b", "old").await.unwrap();
    let then = client.put("x", "old").await.unwrap();
    client.put("b", "new").await.unwrap();
    client.delete("x").await.unwrap();
    assert_eq!(&client.get_at("b", then).await.unwrap().unwrap().value[..], b"old");
    assert!(client.batch_get_at(["b", "x"], then).await.unwrap().iter().all(Option::is_some));
    assert_eq!(keys(&client.scan(..).at(then).collect().await.unwrap()), "b x");
    mock.forget_before(mock.now());
    let refused = client.get_at("b", then).await;
    assert!(matches!(refused, Err(ClientError::Rejected(Rejected::BelowGcThreshold { .. }))), "{refused:?}");
}

#[tokio::test]
async fn what_spans_ranges_is_put_together_and_what_cannot_be_is_refused() {
    let mock = three_sites().start().unwrap();
    let client = mock.client().await.unwrap();
    for key in ["b", "l", "m", "x"] {
        client.put(key, "v").await.unwrap();
    }
    mock.split_at("c");
    let found = client.batch_get(["x", "b", "nothing", "m"]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true]);
    assert_eq!(keys(&client.scan(..).collect().await.unwrap()), "b l m x");
    assert_eq!(keys(&client.scan("c"..).reverse().pages(1, 1).collect().await.unwrap()), "x m l");
    let both = client.batch(Batch::new().put("l", "1").put("m", "1")).await;
    let Err(ClientError::Rejected(Rejected::SpansRanges { split_key })) = both else { panic!("{both:?}") };
    assert_eq!(split_key.user_key(), b"m");
    assert_eq!(mock.versions("l").len(), 1, "nothing was done");
    assert_eq!(client.delete_range("a".."n").await.unwrap(), 3);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_says_which_and_what_was_there() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    client.put("a", "1").await.unwrap();
    client.put("b", "2").await.unwrap();
    let batch = Batch::new().require_value("a", "1").require_absent("c").require_value("b", "3").put("d", "4");
    let WriteOutcome::ConditionFailed(failed) = client.batch(batch).await.unwrap() else { panic!("b is 2") };
    assert_eq!((failed.index, &failed.key[..]), (2, &b"b"[..]));
    assert_eq!(&failed.actual.unwrap().value[..], b"2");
    assert_eq!(client.get("d").await.unwrap(), None);
}

#[tokio::test]
async fn a_batch_beyond_the_limits_is_never_sent() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let many = (0..4_097).fold(Batch::new(), |batch, i| batch.put(format!("{i}"), ""));
    let large = (0..5).fold(Batch::new(), |batch, i| batch.put(format!("{i}"), vec![0; 1 << 20]));
    let conditions = (0..4_097).fold(Batch::new().delete("k"), |batch, i| batch.require_absent(format!("{i}")));
    let empty_key = Batch::new().put("", "v");
    let twice = Batch::new().put("k", "1").put("k", "2");
    let wrong = [(many, "4096"), (large, "batch"), (conditions, "4096"), (empty_key, "empty"), (twice, "twice")];
    for (batch, word) in wrong.into_iter().chain([(Batch::new(), "mutations")]) {
        let checked = batch.check().unwrap_err();
        assert!(checked.to_string().contains(word), "{checked}");
        assert_eq!(client.batch(batch).await, Err(checked));
    }
    assert_eq!(mock.stats().calls, 0);
}

#[tokio::test]
async fn a_stream_gives_what_pages_give_and_goes_on_after_an_error() {
    let mock = three_sites().start().unwrap();
    let client = mock.client().await.unwrap();
    for i in 0..25 {
        client.put(format!("{}{i:02}", if i % 2 == 0 { "a" } else { "z" }), "v").await.unwrap();
    }
    let all = client.scan(..).collect().await.unwrap();
    let streamed: Vec<_> = client.scan(..).pages(4, 1 << 20).stream().try_collect().await.unwrap();
    assert_eq!((all.len(), &streamed), (25, &all));
    let mut stream = client.with_retry(RetryPolicy::none()).scan(..).pages(10, 1 << 20).stream();
    let mut rows = Vec::new();
    let mut errors = 0;
    while let Some(row) = stream.next().await {
        match row {
            Ok(row) => rows.push(row),
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                errors += 1;
            }
        }
        if rows.len() == 5 && errors == 0 {
            mock.inject(Fault::busy(Duration::from_millis(5)).times(2));
        }
    }
    assert_eq!((rows, errors), (all, 2));
    assert!(stream.next().await.is_none(), "an ended stream stays so");
}

#[tokio::test]
async fn keys_and_counts_bring_no_values() {
    let mock = three_sites().start().unwrap();
    let totals = std::sync::Arc::new(Totals::default());
    let client = mock.client_with(Options::new().observer(totals.clone())).await.unwrap();
    for i in 0..25 {
        client.put(format!("{}{i:02}", if i % 2 == 0 { "a" } else { "z" }), vec![7; 1_000]).await.unwrap();
    }
    client.put_for("expires", "v", Duration::from_secs(100)).await.unwrap();
    let whole = client.scan(..).collect().await.unwrap();
    assert_eq!(client.scan(..).count().await.unwrap(), 26);
    mock.advance(Duration::from_secs(200));
    assert_eq!(client.scan(..).count().await.unwrap(), 25, "what has expired is gone");
    assert_eq!(client.scan("a".."b").limit(7).count().await.unwrap(), 7);
    assert_eq!(client.scan("b".."c").count().await.unwrap(), 0);
    let mut pages = Vec::new();
    let mut counting = client.scan(..).reverse().pages(5, 1);
    while let Some(rows) = counting.next_count().await.unwrap() {
        pages.push(rows);
    }
    assert_eq!((pages.iter().sum::<u64>(), pages.iter().max()), (25, Some(&5)), "a count takes no bytes of a page");

    let bytes = |totals: &Totals| totals.snapshot().values().map(|total| total.response_bytes).sum::<u64>();
    let before = bytes(&totals);
    client.scan(..).count().await.unwrap();
    assert_eq!(bytes(&totals), before, "neither keys nor values");
    let found = client.scan(..).keys_only().pages(4, 1 << 20).collect().await.unwrap();
    assert!(bytes(&totals) - before < 200, "keys alone");
    let bare = whole.iter().filter(|row| row.expires_at.is_none()).cloned().map(|mut row| {
        row.value = Bytes::new();
        row
    });
    assert_eq!(found, bare.collect::<Vec<_>>(), "keys, versions and expiries as ever");
}

#[tokio::test]
async fn a_scan_goes_on_elsewhere_as_of_its_first_page() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        client.put(name, "old").await.unwrap();
    }
    for (reverse, first, rest) in [(false, "a b", "c d e"), (true, "e d", "c b a")] {
        let scan = || if reverse { client.scan(..).reverse() } else { client.scan(..) };
        let mut broken = scan().pages(2, 1 << 20);
        assert_eq!((broken.place(), broken.page_at()), (None, None), "nothing was read yet");
        assert_eq!(keys(&broken.next_page().await.unwrap().unwrap()), first);
        let (place, at) = (broken.place().unwrap(), broken.page_at().unwrap());
        assert_eq!(place.part.as_ref().map(|part| part.at), Some(at));
        client.delete("c").await.unwrap();
        let mut later = scan().go_on(place);
        assert_eq!(keys(&later.next_page().await.unwrap().unwrap()), rest);
        assert_eq!((later.page_at(), later.place()), (Some(at), None), "everything is read");
        client.put("c", "old").await.unwrap();
    }
}

#[tokio::test]
async fn empty_spans_cost_no_request() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    assert_eq!(client.scan("b".."b").collect().await.unwrap(), []);
    assert_eq!(client.scan(KeySpan::from("c".."b")).reverse().collect().await.unwrap(), []);
    assert_eq!(client.delete_range("b".."a").await.unwrap(), 0);
    assert_eq!(mock.stats().calls, 0);
}

#[tokio::test]
async fn calls_in_flight_share_messages() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    client.put("warm", "up").await.unwrap();
    let puts = futures::stream::iter(0..1_000).map(|i| client.put(format!("k{i}"), "v"));
    let written: Vec<_> = puts.buffer_unordered(1_000).try_collect().await.unwrap();
    let stats = mock.stats();
    assert_eq!((written.len(), stats.calls, stats.applied), (1_000, 1_001, 1_001));
    assert!(stats.messages < 100, "{} messages", stats.messages);
}

#[tokio::test]
async fn a_keyspace_is_found_by_its_name() {
    let mock = Mock::start().unwrap();
    let client = mock.client().await.unwrap();
    let missing = client.keyspace("orders").await.unwrap_err();
    assert!(matches!(missing, AdminError::NotFound(_)), "{missing}");
    client.admin().create_keyspace("orders").await.unwrap();
    let orders = client.keyspace("orders").await.unwrap();
    orders.put("k", "v").await.unwrap();
    assert_eq!(client.get("k").await.unwrap(), None);
    assert_eq!(client.keyspace("default").await.unwrap().keyspace_id(), KeyspaceId::DEFAULT);
    assert!(matches!(client.admin().create_keyspace("orders").await, Err(AdminError::AlreadyExists(_))));
    // The stores of a mock are not administered: whoever tries is told so.
    let refused = client.admin().forget_store(StoreId(1)).await;
    assert!(matches!(refused, Err(AdminError::FailedPrecondition(_))), "{refused:?}");
}
