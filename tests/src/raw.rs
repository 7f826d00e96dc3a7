//! Requests as a client would send them that is not ours: straight to one store, by generated stubs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::convert::status::from_status;
use holdfast_proto::v1;
use holdfast_proto::v1::kv_client::KvClient;
use holdfast_types::{Key, KeyspaceId, Rejected, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// A request that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A channel to one store.
///
/// # Panics
/// When it does not listen.
pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a legal address");
    endpoint.timeout(PATIENCE).connect().await.expect("the store listens")
}

/// The public service of one store.
///
/// # Panics
/// When it does not listen.
pub async fn kv(address: SocketAddr) -> KvClient<Channel> {
    KvClient::new(channel(address).await)
}

/// What a store's HTTP port answers, head and body; `None`: nothing.
pub async fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// A raw key of the default keyspace.
#[must_use]
pub fn raw_key(user: &str) -> Bytes {
    Key::bound(KeyspaceId::DEFAULT, user.as_bytes()).raw().clone()
}

/// A write with a request id.
#[must_use]
pub fn attempt(client: u64, slot: u32, sequence: u64, attempt: u32, last_moment: Timestamp) -> v1::WriteAttempt {
    let client = Some(v1::Id128 { high: 0, low: client });
    let id = Some(v1::RequestId { client, slot, sequence });
    v1::WriteAttempt { id, attempt, last_moment: last_moment.0 }
}

/// A put by user key.
#[must_use]
pub fn put(key: &str, value: &str, write: Option<v1::WriteAttempt>) -> v1::PutRequest {
    v1::PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        write,
        ..v1::PutRequest::default()
    }
}

/// A get by user key.
#[must_use]
pub fn get(key: &str) -> v1::GetRequest {
    v1::GetRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..v1::GetRequest::default() }
}

/// The version that a write was given.
///
/// # Panics
/// When a condition did not hold.
#[must_use]
pub fn written(response: v1::WriteResponse) -> Timestamp {
    match response.outcome {
        Some(v1::write_response::Outcome::Written(written)) => Timestamp(written.timestamp),
        other => panic!("{other:?} is no written version"),
    }
}

/// The typed refusal of an answer.
///
/// # Panics
/// When the request was done, or refused without a type.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Rejected {
    let status = answer.expect_err("a refusal was expected");
    from_status(&status).unwrap_or_else(|| panic!("{status:?} bears no typed refusal"))
}
