//! The ports on which stores talk to each other.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_tests::attacker::{Attacker, connect_from, framed, status_of};
use holdfast_tests::links;
use holdfast_tests::load::Background;
use prost::Message as _;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::Attacked;

const OPEN: &str = "/holdfast.v1.StoreTransport/Open";

/// A claim of so many bytes, and nothing of them.
fn claim(bytes: u32) -> Bytes {
    let mut claim = BytesMut::new();
    claim.put_u8(0);
    claim.put_u32(bytes);
    claim.freeze()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_never_arrive_stop_no_replication() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let load = Background::start_uncut(&attacked.scene).await;
    attacked
        .by("claims on the port for stores", async |attacked| {
            let mut attackers = Vec::new();
            for _ in 0..60 {
                let Ok(mut attacker) = Attacker::connect(attacked.store_port(), 2, 1 << 20).await else { continue };
                for _ in 0..8 {
                    let Ok(mut begun) = attacker.begin(OPEN, None).await else { break };
                    let _ = begun.body.send_data(claim(16 << 10), false);
                    attackers.push((None, begun));
                }
                if let Some(last) = attackers.last_mut() {
                    last.0 = Some(attacker);
                }
            }
            let mut attacker = Attacker::connect(attacked.store_port(), 3, 1 << 20).await.unwrap();
            let mut begun = attacker.begin(OPEN, None).await.unwrap();
            begun.body.send_data(claim(8 << 20), false).unwrap();
            // It is answered with a refusal, which is a message: the stream itself ends well.
            assert_eq!(status_of(begun.answer).await.as_deref(), Some("0"), "the room of a hello is small");
            load.progress().await;
        })
        .await;
    assert_eq!(load.finish().await, 0, "an honest client saw an error");
}

fn heartbeats(attacked: &Attacked) -> SocketAddr {
    let mut port = attacked.store_port();
    port.set_port(port.port() + 1);
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_port_for_heartbeats_end_no_support() {
    let Some(mut attacked) = Attacked::start(Some((256, 256))).await else { return };
    let load = Background::start_uncut(&attacked.scene).await;
    attacked
        .by("idle connections to the port for heartbeats", async |attacked| {
            let mut connections = Vec::new();
            for number in 0..2_000_u32 {
                let from = u8::try_from(number % 4).unwrap() + 2;
                let connected =
                    tokio::time::timeout(Duration::from_millis(200), connect_from(heartbeats(attacked), from));
                if let Ok(Ok(mut connection)) = connected.await {
                    if number % 2 == 0 {
                        let _ = connection.write_all(&[0, 0, 1]).await;
                    }
                    connections.push(connection);
                }
            }
            load.progress().await;
        })
        .await;
    assert_eq!(load.finish().await, 0, "an honest client saw an error");
}

/// Says who he is, as a store that does not exist, and then sends this, over and over.
async fn flood(to: SocketAddr, hello: Vec<u8>, piece: Vec<u8>) {
    loop {
        if let Ok(mut connection) = connect_from(to, 2).await
            && connection.write_all(&hello).await.is_ok()
        {
            // Until the store ends it.
            while connection.write_all(&piece).await.is_ok() {}
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_heartbeats_ends_no_support() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let load = Background::start_uncut(&attacked.scene).await;
    let described = attacked.scene.describe(attacked.store).await;
    let (fleet, store) = (described.fleet.unwrap(), described.store_id);
    attacked
        .by("heartbeats of stores that do not exist", async |attacked| {
            let mut floods = JoinSet::new();
            for number in 0..128 {
                let hello = links::hello(fleet, 4_242 + number, store, v1::LinkClass::Support);
                let hello = links::framed(&links::frame(Body::Hello(hello)).encode_to_vec());
                floods.spawn(flood(heartbeats(attacked), hello, links::framed(&[]).repeat(4_096)));
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            load.progress().await;
        })
        .await;
    assert_eq!(load.finish().await, 0, "an honest client saw an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_of_strangers_stops_no_replication() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let load = Background::start_uncut(&attacked.scene).await;
    let described = attacked.scene.describe(attacked.store).await;
    let (fleet, store) = (described.fleet.unwrap(), described.store_id);
    attacked
        .by("messages of stores that do not exist", async |attacked| {
            let mut floods = JoinSet::new();
            for number in 0..32 {
                let hello = links::hello(fleet, 4_242 + number, store, v1::LinkClass::Log);
                let to = attacked.store_port();
                floods.spawn(async move {
                    let batch = v1::LinkBatch { messages: vec![v1::LinkMessage::default(); 4_096] };
                    let batch = framed(&links::frame(Body::Batch(batch)));
                    let mut attacker = Attacker::connect(to, 2, 1 << 20).await?;
                    let mut begun = attacker.begin(OPEN, None).await.map_err(std::io::Error::other)?;
                    let hello = framed(&links::frame(Body::Hello(hello)));
                    begun.body.send_data(hello, false).map_err(std::io::Error::other)?;
                    loop {
                        begun.body.reserve_capacity(batch.len());
                        let room = poll_fn(|cx| begun.body.poll_capacity(cx)).await;
                        let Some(Ok(_)) = room else { return Ok::<(), std::io::Error>(()) };
                        begun.body.send_data(batch.clone(), false).map_err(std::io::Error::other)?;
                    }
                });
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            load.progress().await;
        })
        .await;
    assert_eq!(load.finish().await, 0, "an honest client saw an error");
}
