//! Reads and deletions of many rows, over several ranges.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_tests::load::{self, Background};
use holdfast_tests::raw::{self, refusal};
use holdfast_tests::scene::Scene;
use holdfast_types::Rejected;
use tokio_stream::StreamExt;

/// All keys by the server-streamed scan of a thin client.
async fn thin_scan(scene: &Scene, store: usize, reverse: bool) -> Vec<Bytes> {
    let mut kv = raw::kv(scene.fleet.stores()[store].client).await;
    let request =
        v1::ScanRequest { start: "row/".into(), end: Some("row0".into()), reverse, ..v1::ScanRequest::default() };
    let mut pages = kv.scan(request).await.unwrap().into_inner();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        keys.extend(page.unwrap().rows.into_iter().map(|row| row.key));
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_in_both_directions_give_every_row_in_order_while_ranges_are_cut_under_load() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let load = Background::start_uncut(&scene).await;
    let expected: Vec<_> = load::rows().into_iter().map(|(key, _)| key).collect();
    let reversed: Vec<_> = expected.iter().rev().cloned().collect();
    let client = scene.client().await;
    let mut ranges = BTreeSet::new();
    for cut in load::cuts(6) {
        scene.fleet.split_at(&[Bytes::from(cut)]).await.unwrap();
        let forward = client.scan_prefix("row/").pages(97, u32::MAX).collect().await.unwrap();
        assert_eq!(forward.into_iter().map(|row| row.key).collect::<Vec<_>>(), expected);
        let backward = client.scan_prefix("row/").reverse().pages(89, u32::MAX).collect().await.unwrap();
        assert_eq!(backward.into_iter().map(|row| row.key).collect::<Vec<_>>(), reversed);
        ranges.insert(scene.fleet.ranges(0).await.unwrap().len());
    }
    assert!(ranges.len() >= 5, "the ranges were cut between the scans: {ranges:?}");
    for store in 0..3 {
        assert_eq!(thin_scan(&scene, store, false).await, expected);
        assert_eq!(thin_scan(&scene, store, true).await, reversed);
    }
    let limited = client.scan_prefix("row/").reverse().limit(7).collect().await.unwrap();
    assert_eq!(limited.into_iter().map(|row| row.key).collect::<Vec<_>>(), reversed[..7]);
    assert_eq!(load.finish().await, 0, "a client saw an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_rows_is_deleted_page_by_page_over_several_ranges() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.split_at(&["del/0800", "del/1600"]).await;
    let client = scene.client().await;
    let key = |i: usize| format!("del/{i:04}");
    for page in (0..2_400).collect::<Vec<_>>().chunks(400) {
        let batch = page.iter().fold(holdfast_client::Batch::new(), |batch, i| batch.put(key(*i), "v"));
        assert!(client.batch(batch).await.unwrap().is_written());
    }
    client.put("del0", "a neighbour").await.unwrap();

    let mut kv = raw::kv(scene.fleet.stores()[1].client).await;
    let request = v1::DeleteRangeRequest {
        start: "del/".into(),
        end: Some("del0".into()),
        max_keys: 10,
        ..v1::DeleteRangeRequest::default()
    };
    let page = kv.delete_range(request.clone()).await.unwrap().into_inner();
    assert_eq!(page.deleted, 10);
    let resume = page.resume.expect("there is more");
    assert!(&resume[..] > key(9).as_bytes() && &resume[..] <= key(10).as_bytes(), "{resume:?}");
    let again = v1::DeleteRangeRequest { start: resume, max_keys: 0, ..request };
    let page = kv.delete_range(again).await.unwrap().into_inner();
    assert!((1..=1_000).contains(&page.deleted), "{}", page.deleted);

    let left = client.scan_prefix("del/").collect().await.unwrap().len();
    assert_eq!(left, 2_400 - 10 - usize::try_from(page.deleted).unwrap());
    let deleted = client.delete_range("del/".."del0").await.unwrap();
    assert_eq!(usize::try_from(deleted).unwrap(), left);
    assert!(client.scan_prefix("del/").collect().await.unwrap().is_empty());
    assert_eq!(client.get("del0").await.unwrap().unwrap().value, "a neighbour");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_two_ranges_is_refused_with_the_key_where_they_meet() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.split_at(&["m"]).await;
    let mutation = |key: &str| v1::KeyMutation {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Some("v".into()),
        ..v1::KeyMutation::default()
    };
    let batch = v1::AtomicBatchRequest { mutations: vec![mutation("a"), mutation("z")], ..Default::default() };
    for store in 0..3 {
        let mut kv = raw::kv(scene.fleet.stores()[store].client).await;
        match refusal(kv.atomic_batch(batch.clone()).await) {
            Rejected::SpansRanges { split_key } => assert_eq!(split_key.user_key(), b"m"),
            other => panic!("{other:?}"),
        }
    }
    let client = scene.client().await;
    assert_eq!(client.batch_get(["a", "z"]).await.unwrap(), [None, None], "nothing was done");
    let read = v1::BatchGetRequest { keys: vec!["z".into(), "a".into(), "m".into()], ..Default::default() };
    client.put("z", "of the right").await.unwrap();
    client.put("a", "of the left").await.unwrap();
    for store in 0..3 {
        let mut kv = raw::kv(scene.fleet.stores()[store].client).await;
        let values = kv.batch_get(read.clone()).await.unwrap().into_inner().values;
        let texts: Vec<_> = values.into_iter().map(|value| value.value.map(|value| value.value)).collect();
        assert_eq!(texts, [Some("of the right".into()), Some("of the left".into()), None]);
    }
}
