//! Connections that ask for nothing, or for too much at once, and files that they take.

use std::time::Duration;

use holdfast_tests::attacker::{PREFACE, connect_from};
use holdfast_tests::load::Background;
use holdfast_tests::raw;
use holdfast_tests::{wait, watched};
use holdfast_types::limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::{Attacked, SMALL};

/// Connections that stay, of which half begin to speak.
async fn idle(to: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for number in 0..count {
        // From four addresses: none of them may have all connections of a port.
        let from = u8::try_from(number % 4).unwrap() + 2;
        let connected = tokio::time::timeout(Duration::from_millis(500), connect_from(to, from)).await;
        // The queue of the kernel is full: the port is at its limit.
        let Ok(Ok(mut connection)) = connected else { continue };
        if number % 2 == 0 {
            let _ = connection.write_all(PREFACE).await;
        }
        connections.push(connection);
    }
    connections
}

/// Idle connections to every port of a store with few files, and then all that needs files.
async fn starve(soft: usize, hard: usize, count: usize) {
    let Some(mut attacked) = Attacked::start(Some((soft, hard))).await else { return };
    let load = Background::start_uncut(&attacked.scene).await;
    attacked
        .by(&format!("{count} idle connections to each port with {hard} files"), async |attacked| {
            let mut connections = Vec::new();
            for port in [attacked.client_port(), attacked.store_port(), attacked.http_port()] {
                connections.push(idle(port, count).await);
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            let files = watched::open_files(attacked.pid());
            assert!(files < hard, "{files} of {hard} files are open");
            let newcomer = raw::kv(attacked.client_port()).await.get(raw::get(SMALL)).await;
            assert!(newcomer.is_ok(), "{newcomer:?}");
            let cpu = watched::cpu_seconds(attacked.pid());
            tokio::time::sleep(Duration::from_secs(2)).await;
            println!("    processor time in 2 s: {:.2} s", watched::cpu_seconds(attacked.pid()) - cpu);
        })
        .await;
    load.progress().await;
    assert_eq!(load.finish().await, 0, "an honest client saw an error");
    // Stopping flushes; what is on disk then is whole.
    let store = attacked.store;
    attacked.scene.fleet.stop(store, wait::PATIENCE).await.unwrap();
    attacked.scene.fleet.start_store(store).unwrap();
    attacked.scene.fleet.wait_listening(store).await.unwrap();
    attacked.scene.fleet.wait_spread(wait::PATIENCE).await.unwrap();
    assert!(!attacked.scene.fleet.log(store).contains("quarantined"), "a replica was taken for damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_starve_no_port_of_a_store_with_256_files() {
    starve(256, 256, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute: `make attack` runs it"]
async fn idle_connections_starve_no_port_of_a_store_with_1024_files() {
    starve(1_024, 1_024, 1_105).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute: `make attack` runs it"]
async fn connections_that_ask_for_nothing_are_ended() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("connections that ask for nothing", async |attacked| {
            let mut connections = idle(attacked.client_port(), 40).await;
            for connection in &mut connections {
                let mut sink = Vec::new();
                let ended = tokio::time::timeout(wait::PATIENCE, connection.read_to_end(&mut sink)).await;
                assert!(ended.is_ok(), "a connection that says nothing stays");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_on_files_is_raised_to_the_hard_one() {
    let Some(attacked) = Attacked::start(Some((128, 700))).await else { return };
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", attacked.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["700", "700"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_four_conversations_and_begins_another_when_one_has_ended() {
    let Some(attacked) = Attacked::start(None).await else { return };
    let mut health = HealthClient::new(raw::channel(attacked.client_port()).await);
    let watch = HealthCheckRequest { service: String::new() };
    let mut watches = Vec::new();
    for _ in 0..limits::CONVERSATIONS_PER_CONNECTION {
        let mut watched = health.watch(watch.clone()).await.unwrap().into_inner();
        assert!(watched.message().await.unwrap().is_some());
        watches.push(watched);
    }
    let refused = health.watch(watch.clone()).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    // Other requests of the connection, and other connections, are not concerned.
    assert!(health.check(watch.clone()).await.is_ok());
    let mut other = HealthClient::new(raw::channel(attacked.client_port()).await);
    assert!(other.watch(watch.clone()).await.is_ok());
    watches.pop();
    wait::until("another conversation may begin", async || health.watch(watch.clone()).await.ok()).await;
}
