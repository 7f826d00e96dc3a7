//! Frames of HTTP/2 that cost their author nothing: headers without end, resets, pings, settings.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use holdfast_tests::attacker::{PREFACE, connect_from, http2_field, http2_frame, http2_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Attacked;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// For so long a flood goes on.
const FLOOD: Duration = Duration::from_secs(1);
/// Connections of a flood.
const CONNECTIONS: usize = 16;

/// Floods, and connects again as often as the store ends the connection; true if it did.
async fn flood(to: SocketAddr, next: fn(u32) -> Vec<u8>) -> bool {
    let until = Instant::now() + FLOOD;
    let mut ended = false;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        ended |= flood_once(to, next, left).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ended
}

/// Writes what `next` makes, in larger pieces, and reads nothing; true once the store has ended the connection.
async fn flood_once(to: SocketAddr, next: fn(u32) -> Vec<u8>, within: Duration) -> bool {
    let Ok(mut connection) = connect_from(to, 2).await else { return false };
    let mut number = 0;
    let flooded = async {
        connection.write_all(PREFACE).await?;
        loop {
            let piece: Vec<u8> = (0..64)
                .flat_map(|_| {
                    number += 1;
                    next(number)
                })
                .collect();
            connection.write_all(&piece).await?;
        }
    };
    let ended: Result<std::io::Result<()>, _> = tokio::time::timeout(within, flooded).await;
    ended.is_ok()
}

async fn floods(attacked: &mut Attacked, name: &str, next: fn(u32) -> Vec<u8>) -> usize {
    attacked
        .by(name, async |attacked| {
            let to = attacked.client_port();
            let floods: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(flood(to, next))).collect();
            let mut ended = 0;
            for flood in floods {
                ended += usize::from(flood.await.unwrap());
            }
            println!("    {ended} of {CONNECTIONS} connections were ended");
            ended
        })
        .await
}

/// The stream of request `number`.
fn stream(number: u32) -> u32 {
    2 * number - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_are_ended_or_slowed_and_cost_others_nothing() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    let ended = floods(&mut attacked, "headers without end", |number| {
        let (kind, fields) = match number {
            1 => (HEADERS, http2_request("/holdfast.v1.Kv/Get")),
            _ => (CONTINUATION, http2_field("x", &"y".repeat(100))),
        };
        http2_frame(kind, 0, 1, &fields)
    })
    .await;
    assert_eq!(ended, CONNECTIONS, "headers without end are taken");
    let ended = floods(&mut attacked, "requests that are reset at once", |number| {
        let request = http2_request("/holdfast.v1.Kv/Stream");
        let mut frames = http2_frame(HEADERS, END_HEADERS, stream(number), &request);
        frames.extend(http2_frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8]));
        frames
    })
    .await;
    assert_eq!(ended, CONNECTIONS, "requests may be reset without end");
    floods(&mut attacked, "pings", |number| http2_frame(PING, 0, 0, &u64::from(number).to_be_bytes())).await;
    floods(&mut attacked, "settings", |_| http2_frame(SETTINGS, 0, 0, &[])).await;
    floods(&mut attacked, "empty frames of one request", |number| match number {
        1 => http2_frame(HEADERS, END_HEADERS, 1, &http2_request("/holdfast.v1.Kv/Stream")),
        _ => http2_frame(DATA, 0, 1, &[]),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_headers_are_counted() {
    let Some(mut attacked) = Attacked::start(None).await else { return };
    attacked
        .by("many small headers", async |attacked| {
            let mut connections = Vec::new();
            for _ in 0..100 {
                let mut connection = connect_from(attacked.client_port(), 2).await.unwrap();
                connection.write_all(PREFACE).await.unwrap();
                let mut fields = http2_request("/holdfast.v1.Kv/Stream");
                // As many as may be: each counts 34 bytes for HTTP/2.
                fields.extend((0..200).flat_map(|_| http2_field("x", "y")));
                let requests: Vec<u8> =
                    (1..=128).flat_map(|number| http2_frame(HEADERS, END_HEADERS, stream(number), &fields)).collect();
                // The store may have ended it.
                let _ = connection.write_all(&requests).await;
                connections.push(connection);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(attacked.metric("holdfast_port_refused_total").await > 0.0, "nothing was refused");
            assert!(is_refused(attacked.client_port()).await, "a megabyte of headers is taken");
        })
        .await;
}

/// More headers than a request may have. From another address than that of the attack, which may owe so many frames that it is read much later.
async fn is_refused(to: SocketAddr) -> bool {
    let mut connection: TcpStream = connect_from(to, 3).await.unwrap();
    connection.write_all(PREFACE).await.unwrap();
    let mut fields = http2_request("/holdfast.v1.Kv/Get");
    fields.extend((0..60).flat_map(|_| http2_field("x-large", &"y".repeat(120))));
    fields.extend((0..60).flat_map(|_| http2_field("x-large", &"y".repeat(120))));
    connection.write_all(&http2_frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields[..])).await.unwrap();
    let mut answer = vec![0; 4_096];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(10), connection.read(&mut answer)).await;
        match read {
            Ok(Ok(0) | Err(_)) => return true,
            // A frame with the status 431, or a reset.
            Ok(Ok(length)) => {
                let mut rest = &answer[..length];
                while rest.len() >= 9 {
                    let (size, kind) = (usize::from(rest[1]) << 8 | usize::from(rest[2]), rest[3]);
                    if kind == RST_STREAM || (kind == HEADERS && size > 0) {
                        return true;
                    }
                    rest = rest.get(9 + size..).unwrap_or_default();
                }
            }
            Err(_) => return false,
        }
    }
}
