//! A leader that stands still for longer than its promise.

use holdfast_proto::v1;
use holdfast_tests::raw::{self, get, raw_key};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_types::Timestamp;
use rustix::process::Signal;
use tokio_stream::StreamExt;

const KEYS: usize = 40;
/// Calls on the stream that are open while the store stands still.
const FIRST_CALL: u64 = 1;

fn key(i: usize) -> String {
    format!("paused/{i:02}")
}

/// A read of one key by the stream.
fn call(i: usize) -> v1::StreamCall {
    let read = v1::RangeGet { keys: vec![raw_key(&key(i))], at: 0 };
    let body = Some(v1::range_request::Body::Get(read));
    let request = Some(v1::RangeRequest { body, ..v1::RangeRequest::default() });
    v1::StreamCall { call_id: FIRST_CALL + u64::try_from(i).unwrap(), timeout_ms: 5_000, request }
}

/// Every read that was on its way to the leader while it stood still, and those just after, see what others wrote meanwhile, or
/// are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_beyond_its_promise_gives_no_stale_read() {
    let Some(mut scene) = Scene::start(1).await else { return };
    scene.split_at(&["m", "q"]).await;
    let client = scene.client().await;
    for i in 0..KEYS {
        client.put(key(i), "old").await.unwrap();
    }
    let old = scene.leader_of(0, &key(0)).await;
    let other = (old + 1) % 3;
    let address = scene.fleet.stores()[old].client;
    let mut kv = raw::kv(address).await;
    // The connections and the lease are warm: the store itself answers these.
    assert_eq!(kv.get(get(&key(0))).await.unwrap().into_inner().value.unwrap().value, "old");
    let (calls, outgoing) = tokio::sync::mpsc::channel(8);
    calls.send(v1::StreamRequest::default()).await.unwrap();
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut answers = kv.stream(outgoing).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();

    scene.fleet.signal(old, Signal::STOP).unwrap();
    let elsewhere = [&scene.fleet.addresses()[other], &scene.fleet.addresses()[(old + 2) % 3]].map(Clone::clone);
    let writer = holdfast_client::Client::connect(elsewhere, holdfast_client::Options::default()).await.unwrap();
    let mut newest = Timestamp::ZERO;
    for i in 0..KEYS {
        newest = newest.max(writer.put(key(i), "new").await.unwrap());
    }
    wait::until("another store leads", async || {
        let leader = scene.range_of(other, &key(0)).await?.leader?;
        (leader.address != address.to_string()).then_some(())
    })
    .await;
    // Sent while it stands still: the first that it sees when it goes on, before any word from another store.
    calls
        .send(v1::StreamRequest { calls: (0..KEYS).map(call).collect(), ..v1::StreamRequest::default() })
        .await
        .unwrap();
    let reads: Vec<_> = (0..KEYS)
        .map(|i| {
            let mut kv = kv.clone();
            tokio::spawn(async move { kv.get(get(&key(i))).await })
        })
        .collect();
    // Give the kernel every byte before the store goes on; were one late, the test would only be weaker.
    tokio::task::yield_now().await;
    scene.fleet.signal(old, Signal::CONT).unwrap();

    let mut answered = 0;
    for read in reads {
        if let Ok(found) = read.await.unwrap() {
            assert_eq!(found.into_inner().value.unwrap().value, "new", "a stale read");
            answered += 1;
        }
    }
    let mut open = KEYS;
    while open > 0 {
        let message = answers.next().await.expect("the stream lives").unwrap();
        for answer in message.answers {
            open -= 1;
            let Some(v1::range_response::Body::Got(got)) = answer.response.unwrap().body else { continue };
            assert_eq!(got.values[0].value.as_ref().unwrap().value, "new", "a stale read by the stream");
            answered += 1;
        }
    }
    // The store finds its place again: it answers for everybody, with what is there.
    wait::until("the paused store serves again", async || kv.get(get(&key(0))).await.ok()).await;
    for i in 0..KEYS {
        assert_eq!(kv.get(get(&key(i))).await.unwrap().into_inner().value.unwrap().value, "new");
    }
    println!("{answered} of {} reads across the pause were answered", 2 * KEYS);
}
