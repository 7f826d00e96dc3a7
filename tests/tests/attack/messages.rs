//! Messages that never arrive whole, that say more than they are, and that are many.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_tests::attacker::{Attacker, framed, status_of};
use holdfast_tests::raw;

use crate::{Attacked, SMALL};

/// The header of a message of 8 MiB, and all of it but the end.
fn unfinished() -> Bytes {
    const ALL: usize = 8 << 20;
    let mut bytes = BytesMut::with_capacity(ALL);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(ALL).unwrap());
    bytes.put_bytes(b'x', ALL - 1_024);
    bytes.freeze()
}

async fn unfinished_messages(attacked: &Attacked, path: &str) {
    let message = unfinished();
    let mut attackers = Vec::new();
    for _ in 0..100 {
        let mut attacker = Attacker::connect(attacked.client_port(), 2, 1 << 20).await.unwrap();
        if let Ok(mut begun) = attacker.begin(path, Some("60S")).await {
            // A copy by reference: all attackers send the same bytes. The store may have refused the first of them.
            let _ = begun.body.send_data(message.clone(), false);
            attackers.push((attacker, begun));
        }
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    let refused = attacked.metric("holdfast_port_refused_total").await;
    assert!(refused > 0.0, "the budget was never reached: this test tests nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_take_no_more_than_their_share() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("unfinished requests", async |attacked| unfinished_messages(attacked, "/holdfast.v1.Kv/Put").await)
        .await;
    attacked.until_let_go(1e6).await;
    attacked
        .by("unfinished calls", async |attacked| unfinished_messages(attacked, "/holdfast.v1.Kv/Stream").await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute: `make attack` runs it"]
async fn a_message_that_does_not_arrive_in_time_is_given_up() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("messages in drops", async |attacked| {
            let mut attacker = Attacker::connect(attacked.client_port(), 2, 1 << 20).await.unwrap();
            let mut begun = attacker.begin("/holdfast.v1.Kv/Put", Some("60S")).await.unwrap();
            let message = framed(&raw::put(SMALL, &"v".repeat(1_000), None));
            let drops = tokio::spawn(async move {
                for at in 0..message.len() - 1 {
                    if begun.body.send_data(message.slice(at..=at), false).is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
            assert_eq!(status_of(begun.answer).await.as_deref(), Some("4"), "its time is over");
            drops.abort();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_millions_of_empty_calls_is_refused_before_it_is_decoded() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("millions of empty calls", async |attacked| {
            // Two bytes each: the tag of a call, and its length.
            let empty = holdfast_proto::v1::StreamRequest {
                calls: vec![holdfast_proto::v1::StreamCall::default()],
                ..Default::default()
            };
            let empty = prost::Message::encode_to_vec(&empty);
            let calls = empty.repeat((8 << 20) / empty.len());
            let mut message = BytesMut::with_capacity(calls.len() + 5);
            message.put_u8(0);
            message.put_u32(u32::try_from(calls.len()).unwrap());
            message.put_slice(&calls);
            let message = message.freeze();
            let mut attackers = Vec::new();
            for _ in 0..4 {
                let mut attacker = Attacker::connect(attacked.client_port(), 2, 1 << 20).await.unwrap();
                let mut begun = attacker.begin("/holdfast.v1.Kv/Stream", None).await.unwrap();
                begun.body.send_data(message.clone(), false).unwrap();
                attackers.push((attacker, begun));
            }
            for (_attacker, begun) in attackers {
                assert_eq!(status_of(begun.answer).await.as_deref(), Some("8"), "it has too many fields");
            }
        })
        .await;
}
