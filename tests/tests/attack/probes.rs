//! The HTTP port: requests that never end, pages that nobody reads, another protocol.

use std::time::Duration;

use holdfast_tests::attacker::{PREFACE, connect_from, http2_field, http2_frame};
use holdfast_tests::{wait, watched};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Attacked;

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_nobody_reads_cost_a_page() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("metrics that nobody reads", async |attacked| {
            let mut connections = Vec::new();
            for number in 0..200 {
                let connected = connect_from(attacked.http_port(), number % 3 + 2).await;
                let Ok(mut connection) = connected else { continue };
                let requests = b"GET /metrics HTTP/1.1\r\nHost: store\r\n\r\n".repeat(200);
                let _ = tokio::time::timeout(Duration::from_millis(50), connection.write_all(&requests)).await;
                connections.push(connection);
            }
            let cpu = watched::cpu_seconds(attacked.pid());
            tokio::time::sleep(Duration::from_secs(2)).await;
            println!("    processor time in 2 s: {:.2} s", watched::cpu_seconds(attacked.pid()) - cpu);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_not_spoken_to_probes() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("HTTP/2 to the HTTP port", async |attacked| {
            let mut connection = connect_from(attacked.http_port(), 2).await.unwrap();
            connection.write_all(PREFACE).await.unwrap();
            let fields: Vec<u8> = [(":method", "GET"), (":scheme", "http"), (":path", "/metrics"), (":authority", "a")]
                .into_iter()
                .flat_map(|(name, value)| http2_field(name, value))
                .collect();
            // The store may have ended it.
            let _ = connection.write_all(&http2_frame(1, 5, 1, &fields)).await;
            let mut said = Vec::new();
            let ended = tokio::time::timeout(wait::PATIENCE, connection.read_to_end(&mut said)).await;
            assert!(ended.is_ok(), "it stays open");
            assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&said));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_never_end_are_given_up() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("headers that never end", async |attacked| {
            let mut connections = Vec::new();
            for number in 0..200 {
                let Ok(mut connection) = connect_from(attacked.http_port(), number % 3 + 2).await else { continue };
                let mut request = b"GET /livez HTTP/1.1\r\nx: ".to_vec();
                request.extend(std::iter::repeat_n(b'y', 400 << 10));
                let _ = tokio::time::timeout(Duration::from_millis(50), connection.write_all(&request)).await;
                connections.push(connection);
            }
            let mut slow = connect_from(attacked.http_port(), 7).await.unwrap();
            slow.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
            let ended = tokio::time::timeout(Duration::from_secs(8), slow.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "unfinished headers are waited for");
        })
        .await;
}
