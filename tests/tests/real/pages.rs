//! Fleets of which more is to be told than fits into one message, and stores that are made up to make it so.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_client::admin::{Admin, Ranges};
use holdfast_proto::v1;
use holdfast_proto::v1::admin_client::AdminClient;
use holdfast_tests::raw::{self, raw_key, refusal};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_types::{Rejected, limits};
use prost::Message as _;
use tonic::Code;

/// With keys of [`LONG`] bytes a list of these ranges is larger than a message may be.
const RANGES: usize = 1_200;
const LONG: usize = 3_900;

fn long_key(n: usize) -> String {
    format!("{n:05}{}", "k".repeat(LONG))
}

async fn split(scene: &Scene) {
    let mut admin = AdminClient::new(raw::channel(scene.fleet.stores()[0].client).await);
    for n in 0..RANGES {
        let key = raw_key(&long_key(n));
        wait::until("the range is cut", async || {
            admin.split_range(v1::SplitRangeRequest { key: key.clone(), expected_epoch: None }).await.ok()
        })
        .await;
    }
}

/// The ranges that a store tells of unasked, and the largest message in which it does.
async fn told(scene: &Scene, store: usize) -> (BTreeSet<u64>, usize) {
    let mut kv = raw::kv(scene.fleet.stores()[store].client).await.max_decoding_message_size(usize::MAX);
    let (_requests, outgoing) = tokio::sync::mpsc::channel(1);
    let stream = kv.stream(tokio_stream::wrappers::ReceiverStream::new(outgoing)).await.unwrap();
    let mut messages = stream.into_inner();
    let (mut ranges, mut largest) = (BTreeSet::new(), 0);
    while ranges.len() < RANGES {
        let message = tokio::time::timeout(wait::PATIENCE, messages.message()).await.expect("it goes on").unwrap();
        let message = message.expect("the stream lives");
        largest = largest.max(message.encoded_len());
        ranges.extend(message.notices.into_iter().filter_map(|notice| Some(notice.descriptor?.range_id)));
    }
    (ranges, largest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_more_ranges_than_one_message_names_is_served_looked_at_and_planned_for() {
    let Some(scene) = Scene::start(1).await else { return };
    split(&scene).await;
    wait::until("every store knows of the ranges", async || {
        let mut service = scene.fleet.fleet_client(2).await.ok()?;
        let ranges = service.status(v1::StatusRequest {}).await.ok()?.into_inner().ranges;
        (ranges > RANGES as u64).then_some(())
    })
    .await;
    let (ranges, largest) = told(&scene, 1).await;
    assert!(ranges.len() >= RANGES && largest < 2 * limits::STREAM_NOTICES_BYTES, "{largest} bytes");

    let client = scene.client().await;
    for n in [0, RANGES / 2, RANGES - 1] {
        client.put(long_key(n), "v").await.unwrap();
    }
    let rows = client.scan(..).collect().await.unwrap();
    assert_eq!(rows.len(), 3);

    let mut service = scene.fleet.fleet_client(0).await.unwrap();
    let (mut located, mut start) = (0, Bytes::new());
    loop {
        let bounds = Some(v1::KeyRange { start, end: None });
        let request = v1::LocateRequest { bounds, limit: 1_000, ..Default::default() };
        let page = service.locate(request).await.unwrap().into_inner();
        assert!(page.encoded_len() < limits::MAX_MESSAGE_BYTES / 2, "{} bytes", page.encoded_len());
        located += page.ranges.len();
        match page.resume {
            Some(resume) => start = resume,
            None => break,
        }
    }
    assert!(located > RANGES, "{located}");

    let admin = Admin::connect([scene.fleet.stores()[2].client.to_string()]).await.unwrap();
    assert!(admin.all_ranges(Ranges::All).await.unwrap().ranges.len() > RANGES);
    // Placement hears of all that every store leads: nobody is taken for dead, nothing is without a quorum.
    let sites = wait::until("placement says what the fleet can bear", async || {
        let sites = admin.sites().await.ok()?;
        sites.headroom.is_some().then_some(sites)
    })
    .await;
    let said: Vec<_> = sites.warnings.iter().filter(|warning| warning.contains("quorum")).collect();
    assert!(said.is_empty(), "{said:?}");
    for store in scene.fleet.stores() {
        let page = raw::http_get(store.http, "/metrics").await.unwrap();
        assert!(page.contains("holdfast_messages_dropped_total{reason=\"too_large\"} 0\n"), "{page}");
    }
}

fn joining(application: u64) -> v1::JoinRequest {
    v1::JoinRequest {
        site: "site-a".into(),
        client_address: "127.0.0.1:1".into(),
        store_address: "127.0.0.1:2".into(),
        application: Some(v1::Id128 { high: 7, low: application }),
        ..v1::JoinRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_made_up_are_few_and_small_and_can_be_forgotten() {
    let Some(scene) = Scene::start(1).await else { return };
    let mut service = scene.fleet.fleet_client(1).await.unwrap();
    let megabyte = "h".repeat(1 << 20);
    for bad in [
        v1::JoinRequest { client_address: format!("{megabyte}:1"), ..joining(1) },
        v1::JoinRequest { store_address: format!("{megabyte}:1"), ..joining(1) },
        v1::JoinRequest { site_identity: megabyte.clone(), ..joining(1) },
        v1::JoinRequest { store_address: "h\u{1b}[2J:1".into(), ..joining(1) },
    ] {
        assert!(matches!(refusal(service.join(bad).await), Rejected::Invalid(_)));
    }
    let before = scene.describe(1).await.stores.len();

    let (mut made_up, mut refusals) = (BTreeSet::new(), 0);
    for application in 0..300 {
        match service.join(joining(application)).await {
            Ok(answer) => drop(made_up.insert(answer.into_inner().store_id)),
            Err(status) => {
                refusals += 1;
                assert!(matches!(status.code(), Code::ResourceExhausted | Code::Unavailable), "{status:?}");
            }
        }
    }
    assert!(made_up.len() <= limits::MAX_AWAITED_STORES && refusals >= 300 - made_up.len(), "{}", made_up.len());
    // The rest of the bound, at the rate that is served; and then no more.
    for application in 1_000_000.. {
        let answer =
            wait::until("an answer beside the rate", async || match service.join(joining(application)).await {
                Ok(answer) => Some(Ok(answer.into_inner().store_id)),
                Err(status) if status.code() == Code::ResourceExhausted => None,
                Err(status) => Some(Err(status)),
            })
            .await;
        match answer {
            Ok(store) => drop(made_up.insert(store)),
            Err(status) => {
                assert!(status.message().contains("holdfast forget"), "it says what to do: {status:?}");
                break;
            }
        }
    }
    assert_eq!(made_up.len(), limits::MAX_AWAITED_STORES);
    let known = scene.describe(1).await;
    assert_eq!(known.stores.len(), before + limits::MAX_AWAITED_STORES);
    assert!(known.encoded_len() < 64 << 10, "{} bytes", known.encoded_len());

    // One that asks again is the same store, and one that is forgotten makes room.
    let application = 0;
    let again = wait::until("the first is let in again", async || service.join(joining(application)).await.ok()).await;
    let first = again.into_inner().store_id;
    assert!(made_up.contains(&first));
    let output = scene.run(&["forget", &format!("s{first}")]).await;
    assert!(output.status.success(), "{output:?}");
    let new = wait::until("there is room for another", async || service.join(joining(2_000_000)).await.ok()).await;
    assert!(!made_up.contains(&new.into_inner().store_id), "an id is given once only");
    let refused = wait::until("the forgotten one is refused for good", async || {
        let status = service.join(joining(application)).await.err()?;
        (status.code() == Code::InvalidArgument).then_some(status)
    })
    .await;
    assert!(refused.message().contains("forgotten"), "{refused:?}");
    let output = scene.run(&["forget", "--never-started", "--json"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[]", "they may be about to start");
}
