//! Messages that never arrive whole, that say more than they are, and that are many.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_proto::v1;
use holdfast_tests::attacker::{Attacker, framed, status_of};
use holdfast_tests::raw;
use prost::Message as _;

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
            let empty = v1::StreamRequest { calls: vec![v1::StreamCall::default()], ..Default::default() };
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

/// The header of a message, and what follows it.
fn lie(flag: u8, length: u32, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(flag);
    message.put_u32(length);
    message.put_slice(bytes);
    message.freeze()
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_large_messages_take_little_from_others() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("claims of 8 MiB", async |attacked| {
            let mut attackers = Vec::new();
            for _ in 0..40 {
                let mut attacker = Attacker::connect(attacked.client_port(), 2, 1 << 20).await.unwrap();
                for number in 0..100 {
                    let path = if number % 2 == 0 { "/holdfast.v1.Kv/Put" } else { "/holdfast.v1.Kv/Stream" };
                    let Ok(mut begun) = attacker.begin(path, Some("60S")).await else { break };
                    let _ = begun.body.send_data(lie(0, 8 << 20, &[]), false);
                    attackers.push((None, begun));
                }
                if let Some(last) = attackers.last_mut() {
                    last.0 = Some(attacker);
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let held = attacked.metric("holdfast_port_held_bytes").await;
            let mut honest = raw::kv(attacked.client_port()).await;
            let value = "v".repeat(1 << 20);
            for number in 0..4 {
                let put = honest.put(raw::put(&format!("attack/beside/{number}"), &value, None)).await;
                assert!(put.is_ok(), "beside {held} bytes: {put:?}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_not_what_they_say_are_refused_each_in_its_way() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("messages that lie", async |attacked| {
            let mut attacker = Attacker::connect(attacked.client_port(), 2, 1 << 20).await.unwrap();
            let call = |call_id| v1::StreamCall { call_id, ..Default::default() };
            let calls = v1::StreamRequest { calls: (0..40_000).map(call).collect(), ..Default::default() };
            let put = raw::put(SMALL, "lies", None).encode_to_vec();
            let length = u32::try_from(put.len()).unwrap();
            for (what, path, message, ends, expected) in [
                ("40,000 calls", "/holdfast.v1.Kv/Stream", framed(&calls), false, "8"),
                ("less than it says", "/holdfast.v1.Kv/Put", lie(0, length + 1, &put), true, "13"),
                ("more than it says", "/holdfast.v1.Kv/Put", lie(0, length - 1, &put), true, "13"),
                ("more than there may be", "/holdfast.v1.Kv/Put", lie(0, u32::MAX, &put), false, "11"),
                ("said to be compressed", "/holdfast.v1.Kv/Put", lie(1, length, &put), true, "13"),
                // Groups that are never closed.
                ("groups", "/holdfast.v1.Kv/Put", lie(0, 50_000, &[0x0B; 50_000]), true, "8 or 13"),
                ("groups in a stream", "/holdfast.v1.Kv/Stream", lie(0, 50_000, &[0x0B; 50_000]), false, "8 or 13"),
            ] {
                let mut begun = attacker.begin(path, None).await.unwrap();
                begun.body.send_data(message, ends).unwrap();
                let said = status_of(begun.answer).await.unwrap_or_default();
                assert!(expected.split(" or ").any(|expected| said == expected), "{what}: {said}, not {expected}");
            }
        })
        .await;
}
