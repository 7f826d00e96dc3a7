//! Clients that do nothing wrong, and much at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_tests::raw::{self, get, put};
use holdfast_tests::watched;
use tokio::task::JoinSet;

use crate::{Attacked, LARGE};

const MIB: usize = 1 << 20;

async fn all_well<T: 'static, E: std::fmt::Debug + 'static>(what: &str, mut calls: JoinSet<Result<T, E>>) {
    let (begun, mut errors) = (Instant::now(), Vec::new());
    while let Some(ended) = calls.join_next().await {
        errors.extend(ended.unwrap().err().map(|error| (begun.elapsed(), error)));
    }
    println!("{what}: {:?}, {} errors", begun.elapsed(), errors.len());
    assert!(errors.is_empty(), "{what}: {} errors, the first is {:?}", errors.len(), errors[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_puts_and_gets_at_once_over_one_connection_see_no_error() {
    let Some(attacked) = Attacked::start(None).await else { return };
    // A slow disk is given its time: what is asked is that nothing ends before it.
    let client = attacked.scene.client().await.with_deadline(Duration::from_secs(60));
    let value = Bytes::from(vec![b'v'; MIB]);
    let mut puts = JoinSet::new();
    for number in 0..256 {
        let (client, value) = (client.clone(), value.clone());
        puts.spawn(async move { client.put(format!("honest/{number}"), value).await });
    }
    all_well("256 puts over a stream", puts).await;
    let mut gets = JoinSet::new();
    for number in 0..64 {
        let client = client.clone();
        gets.spawn(async move { client.get(format!("honest/{number}")).await });
    }
    all_well("64 gets over a stream", gets).await;
    println!("large values over a stream: peak {} MiB", watched::peak_rss_bytes(attacked.pid()) >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_unary_gets_at_once_on_one_channel_see_no_error() {
    let Some(attacked) = Attacked::start(None).await else { return };
    let kv = raw::kv(attacked.client_port()).await.max_decoding_message_size(8 * MIB);
    let mut gets = JoinSet::new();
    for _ in 0..64 {
        let mut kv = kv.clone();
        gets.spawn(async move { kv.get(get(LARGE)).await });
    }
    all_well("64 unary gets", gets).await;
    println!("large unary values: peak {} MiB", watched::peak_rss_bytes(attacked.pid()) >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_unary_puts_at_once_on_one_channel_see_no_error() {
    let Some(attacked) = Attacked::start(None).await else { return };
    let kv = raw::kv(attacked.client_port()).await;
    let value = "v".repeat(MIB);
    let mut puts = JoinSet::new();
    for number in 0..64 {
        let (mut kv, put) = (kv.clone(), put(&format!("honest/{number}"), &value, None));
        puts.spawn(async move { kv.put(put).await });
    }
    all_well("64 unary puts", puts).await;
    println!("large unary puts: peak {} MiB", watched::peak_rss_bytes(attacked.pid()) >> 20);
}
