//! Answers that nobody takes.

use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use holdfast_proto::v1;
use holdfast_proto::v1::range_request::Body;
use holdfast_tests::attacker::{Attacker, Begun, framed, status_of};
use holdfast_tests::raw::{self, raw_key};
use holdfast_tests::wait;

use crate::{Attacked, LARGE};

const STREAM: &str = "/holdfast.v1.Kv/Stream";

fn reads(ids: std::ops::Range<u64>) -> Bytes {
    let call = |call_id| {
        let body = Some(Body::Get(v1::RangeGet { keys: vec![raw_key(LARGE)], at: 0 }));
        let request = Some(v1::RangeRequest { body, ..Default::default() });
        v1::StreamCall { call_id, timeout_ms: 30_000, request }
    };
    framed(&v1::StreamRequest { calls: ids.map(call).collect(), ..Default::default() })
}

/// A stream that asks for `calls` values of 1 MiB, in messages of 64, and takes none.
async fn unread_stream(attacked: &Attacked, calls: u64, id: impl Fn(u64) -> u64) -> (Attacker, Begun) {
    let mut attacker = Attacker::connect(attacked.client_port(), 2, 0).await.unwrap();
    let mut begun = attacker.begin(STREAM, None).await.unwrap();
    for first in (0..calls).step_by(64) {
        // The store may have ended the stream.
        if begun.body.send_data(reads(id(first)..id(first) + 64), false).is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (attacker, begun)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_answers_nobody_reads_is_no_longer_read_and_then_ended() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let streams = attacked
        .by("unread answers of a stream", async |attacked| {
            let one = unread_stream(attacked, 1_280, |id| id).await;
            let mut more = Vec::new();
            for _ in 0..20 {
                more.push(unread_stream(attacked, 256, |id| id).await);
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            (one, more)
        })
        .await;
    assert!(
        attacked.metric("holdfast_port_refused_total").await > 0.0,
        "the budget was never reached: this test tests nothing"
    );
    attacked.until_let_go(1e6).await;
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_id_that_is_open_already_ends_the_stream() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("calls under one id", async |attacked| {
            let mut attackers = Vec::new();
            for _ in 0..20 {
                // All messages name the same 64 calls.
                attackers.push(unread_stream(attacked, 1_280, |_| 0).await);
            }
            let mut reading = Attacker::connect(attacked.client_port(), 2, 1 << 20).await.unwrap();
            let mut begun = reading.begin(STREAM, None).await.unwrap();
            let twice = framed(&v1::StreamRequest {
                calls: vec![v1::StreamCall { call_id: 7, ..Default::default() }; 2],
                ..Default::default()
            });
            begun.body.send_data(twice, false).unwrap();
            assert_eq!(status_of(begun.answer).await.as_deref(), Some("3"), "an invalid argument");
            tokio::time::sleep(Duration::from_secs(2)).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unary_answers_that_nobody_reads_are_bounded_and_let_go() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let attackers = attacked
        .by("unread unary answers", async |attacked| {
            let mut attackers = Vec::new();
            for _ in 0..15 {
                let mut attacker = Attacker::connect(attacked.client_port(), 2, 0).await.unwrap();
                let mut begun = Vec::new();
                for _ in 0..100 {
                    begun.push(attacker.ask("/holdfast.v1.Kv/Get", Some("60S"), framed(&raw::get(LARGE))).await);
                }
                attackers.push((attacker, begun));
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            attackers
        })
        .await;
    assert!(
        attacked.metric("holdfast_port_refused_total").await > 0.0,
        "the budget was never reached: this test tests nothing"
    );
    // The requests are still open: their buffers count, their answers are gone.
    let open = attackers.iter().map(|(_, begun)| begun.len()).sum::<usize>();
    attacked.until_let_go(open as f64 * 40e3).await;
    drop(attackers);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_past_their_deadline_hold_nothing_though_nobody_reads_them() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let attackers = attacked
        .by("unread scans", async |attacked| {
            let scan = || framed(&v1::ScanRequest { start: Bytes::from_static(b"attack/"), ..Default::default() });
            let mut attackers = Vec::new();
            for _ in 0..40 {
                let mut attacker = Attacker::connect(attacked.client_port(), 2, 0).await.unwrap();
                let mut begun = Vec::new();
                for _ in 0..10 {
                    begun.push(attacker.ask("/holdfast.v1.Kv/Scan", Some("4S"), scan()).await);
                }
                attackers.push((attacker, begun));
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            let held = attacked.metric("holdfast_port_held_bytes").await;
            assert!(held > 30e6, "{held} bytes are held: this test tests nothing");
            attackers
        })
        .await;
    attacked.until_let_go(400.0 * 40e3).await;
    drop(attackers);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_the_fleet_is_counted_like_any_answer() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let attackers = attacked
        .by("unread answers of Fleet and Admin", async |attacked| {
            let mut attackers = Vec::new();
            let asked = [
                ("/holdfast.v1.Fleet/Describe", framed(&v1::DescribeRequest {})),
                ("/holdfast.v1.Fleet/Locate", framed(&v1::LocateRequest { limit: 1_000, ..Default::default() })),
                ("/holdfast.v1.Admin/ListEvents", framed(&v1::ListEventsRequest::default())),
            ];
            for _ in 0..30 {
                let mut attacker = Attacker::connect(attacked.client_port(), 2, 0).await.unwrap();
                let mut begun = Vec::new();
                for (path, message) in asked.iter().cycle().take(99) {
                    begun.push(attacker.ask(path, Some("60S"), message.clone()).await);
                }
                attackers.push((attacker, begun));
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            attackers
        })
        .await;
    attacked.until_let_go(1e6).await;
    drop(attackers);
}

/// Takes an answer by and by: 16 KiB each second.
async fn drip(answer: ResponseFuture) {
    let Ok(head) = answer.await else { return };
    let mut body = head.into_body();
    while let Some(Ok(data)) = body.data().await {
        for part in data.chunks(DRIP_BYTES) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if body.flow_control().release_capacity(part.len()).is_err() {
                return;
            }
        }
    }
}

/// What is taken by the drop in a second.
const DRIP_BYTES: usize = 16 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_his_answers_by_the_drop_is_ended() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let streams = attacked
        .by("answers taken by the drop", async |attacked| {
            let mut streams = Vec::new();
            for _ in 0..8 {
                let mut attacker =
                    Attacker::connect(attacked.client_port(), 2, u32::try_from(DRIP_BYTES).unwrap()).await.unwrap();
                let mut begun = attacker.begin(STREAM, None).await.unwrap();
                // Together less than the share of their address: none is refused.
                begun.body.send_data(reads(0..2), false).unwrap();
                streams.push((attacker, begun.body, tokio::spawn(drip(begun.answer))));
            }
            tokio::time::sleep(Duration::from_secs(4)).await;
            let held = attacked.metric("holdfast_port_held_bytes").await;
            assert!(held > 12e6, "{held} bytes are held: this test tests nothing");
            streams
        })
        .await;
    // Though something of each is taken every second.
    attacked.until_let_go(1e6).await;
    wait::until("the connections are ended", async || {
        streams.iter().all(|(attacker, _, _)| attacker.is_ended()).then_some(())
    })
    .await;
}
