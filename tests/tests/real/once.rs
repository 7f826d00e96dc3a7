//! Writes that are sent more than once.

use holdfast_client::Client;
use holdfast_tests::raw::{self, attempt, put, refusal, written};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_types::{Rejected, Timestamp};

/// Client sessions of these tests; nobody else draws such small ones.
const SESSION: u64 = 7;
const AHEAD_MS: u64 = 50_000;

/// How many versions a key has: each read just below the version found before.
async fn versions(client: &Client, key: &str) -> usize {
    let mut count = 0;
    let mut at = Timestamp(u64::MAX >> 1);
    let mut found = client.get(key).await.unwrap();
    while let Some(version) = found {
        assert!(version.timestamp < at, "versions go down");
        at = version.timestamp;
        count += 1;
        found = client.batch_get_at([key], Timestamp(at.0 - 1)).await.unwrap().pop().unwrap();
    }
    count
}

async fn last_moment(scene: &Scene) -> Timestamp {
    let now = Timestamp(scene.describe(0).await.now);
    Timestamp::from_ms(now.ms() + AHEAD_MS)
}

/// Sends a put to one store again and again until it is done.
async fn persist(scene: &Scene, store: usize, request: &holdfast_proto::v1::PutRequest) -> Timestamp {
    wait::until("the write is done", async || {
        let mut kv = raw::kv(scene.fleet.stores()[store].client).await;
        kv.put(request.clone()).await.ok().map(|answer| written(answer.into_inner()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_sent_many_times_over_the_loss_of_its_leader_is_applied_once() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.split_at(&["m"]).await;
    let client = scene.client().await;
    let key = "once";
    let until = last_moment(&scene).await;
    let request = |n| put(key, "first", Some(attempt(SESSION, 3, 1, n, until)));
    let mut sent = Vec::new();
    for n in 0..12u32 {
        let mut kv = raw::kv(scene.fleet.stores()[usize::try_from(n).unwrap() % 3].client).await;
        let request = request(n + 1);
        sent.push(tokio::spawn(async move { kv.put(request).await }));
    }
    let mut given = Vec::new();
    for answer in sent {
        given.push(written(answer.await.unwrap().unwrap().into_inner()));
    }
    assert!(given.iter().all(|version| *version == given[0]), "each attempt hears of the same write: {given:?}");
    assert_eq!(versions(&client, key).await, 1);

    let leader = scene.leader_of(0, key).await;
    scene.fleet.kill(leader).unwrap();
    let other = (leader + 1) % 3;
    assert_eq!(persist(&scene, other, &request(13)).await, given[0], "the next leader knows of it");
    assert_eq!(versions(&client, key).await, 1);

    // The slot goes on; what is older than its newest is over.
    let next = put(key, "second", Some(attempt(SESSION, 3, 2, 1, until)));
    let second = persist(&scene, other, &next).await;
    assert!(second > given[0]);
    let mut kv = raw::kv(scene.fleet.stores()[other].client).await;
    assert_eq!(refusal(kv.put(request(14)).await), Rejected::StaleSequence);
    let reused = put(key, "something else", Some(attempt(SESSION, 3, 2, 2, until)));
    assert_eq!(refusal(kv.put(reused).await), Rejected::RequestReused);
    assert_eq!(versions(&client, key).await, 2);
    assert_eq!(client.get(key).await.unwrap().unwrap().value, "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_known_on_both_sides_of_a_split() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    let until = last_moment(&scene).await;
    let mut given = Vec::new();
    let keys = ["a/split", "z/split"];
    let request = |i: usize, n| put(keys[i], "v", Some(attempt(SESSION + 1, u32::try_from(i).unwrap(), 1, n, until)));
    for i in 0..2 {
        given.push(persist(&scene, 0, &request(i, 1)).await);
    }
    scene.split_at(&["m"]).await;
    for i in 0..2 {
        assert_eq!(persist(&scene, 1, &request(i, 2)).await, given[i]);
        assert_eq!(versions(&client, keys[i]).await, 1);
    }
}
