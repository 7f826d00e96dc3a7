//! The link to one store: connects, keeps one stream open, connects again.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::careful::{Careful, careful};
use holdfast_proto::v1;
use holdfast_proto::v1::kv_client::KvClient;
use holdfast_types::{StoreId, limits};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Endpoint;

use super::driver::Inbound;
use super::outbox::Outbox;

/// What the driver holds of a link. Dropping it ends the link.
pub(super) struct Link {
    pub(super) address: String,
    pub(super) channel: Careful,
    pub(super) outbox: Arc<Outbox>,
    /// False after the stream broke, until it is open again: then nothing is queued.
    pub(super) takes_calls: bool,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A channel that connects when it is first used.
pub(super) fn channel(address: &str) -> Result<Careful, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| "this is no address like 10.0.1.5:7300".to_owned())?;
    let window = u32::try_from(limits::MAX_MESSAGE_BYTES).unwrap_or(u32::MAX);
    let channel = endpoint
        .connect_timeout(limits::CLIENT_CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .connect_lazy();
    Ok(careful(channel))
}

/// Why a call failed, in a clause: the cause at the bottom, not each layer that it came up through.
pub(super) fn reason(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

impl Link {
    /// Starts to connect.
    pub(super) fn open(
        store: StoreId,
        address: &str,
        hello: v1::StreamHello,
        seed: u64,
        inbound: mpsc::Sender<Inbound>,
    ) -> Result<Self, String> {
        let channel = channel(address)?;
        let outbox = Arc::new(Outbox::default());
        let kv = KvClient::new(channel.clone()).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
        let task = tokio::spawn(keep_open(store, kv, hello, seed, Arc::clone(&outbox), inbound));
        Ok(Self { address: address.to_owned(), channel, outbox, takes_calls: true, task })
    }
}

/// Ends when the driver does.
async fn keep_open(
    store: StoreId,
    mut kv: KvClient<Careful>,
    hello: v1::StreamHello,
    seed: u64,
    outbox: Arc<Outbox>,
    inbound: mpsc::Sender<Inbound>,
) {
    let mut failures: u32 = 0;
    loop {
        let ended = run_stream(store, &mut kv, &hello, &outbox, &inbound, &mut failures).await;
        let unsent = outbox.take_unsent();
        if inbound.send(Inbound::Down { store, unsent }).await.is_err() {
            return;
        }
        let wait = backoff(seed ^ store.0, failures);
        tracing::debug!(%store, failures, ?wait, status = ?ended.err(), "stream ended, will connect again");
        failures = failures.saturating_add(1);
        tokio::time::sleep(wait).await;
    }
}

async fn run_stream(
    store: StoreId,
    kv: &mut KvClient<Careful>,
    hello: &v1::StreamHello,
    outbox: &Arc<Outbox>,
    inbound: &mpsc::Sender<Inbound>,
    failures: &mut u32,
) -> Result<(), Status> {
    let closed = |_| Status::cancelled("the client is closed");
    let mut messages = kv.stream(outbox.open(hello.clone())).await?.into_inner();
    inbound.send(Inbound::Up { store }).await.map_err(closed)?;
    while let Some(message) = messages.message().await? {
        *failures = 0;
        inbound.send(Inbound::Message { store, message }).await.map_err(closed)?;
    }
    Ok(())
}

/// Doubling, and up to half as much again by hash, so that clients do not come back all at once.
pub(super) fn backoff(seed: u64, failures: u32) -> Duration {
    let doubled = limits::CLIENT_RECONNECT_MIN.saturating_mul(2_u32.saturating_pow(failures));
    let wait = doubled.min(limits::CLIENT_RECONNECT_MAX);
    let spread = crate::core::mix(seed.wrapping_add(u64::from(failures))) % 50;
    wait + wait * u32::try_from(spread).unwrap_or_default() / 100
}
