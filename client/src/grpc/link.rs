//! The link to one store: connects, keeps one stream open, connects again.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::v1;
use holdfast_proto::v1::kv_client::KvClient;
use holdfast_types::{StoreId, limits};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;

use super::channel::{Dialer, StoreChannel, Unconnected};
use super::driver::Inbound;
use super::outbox::Outbox;
use super::security::Security;
use super::why::{self, Why};

/// How often a connection with an open stream is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(2);

/// What the driver holds of a link. Dropping it ends the link.
pub(super) struct Link {
    pub(super) address: String,
    pub(super) channel: StoreChannel,
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

/// How the channels of a client are made.
pub(super) fn dialer(security: Security) -> Dialer {
    let window = u32::try_from(limits::MAX_MESSAGE_BYTES).unwrap_or(u32::MAX);
    Dialer::new(security, limits::CLIENT_CONNECT_TIMEOUT).pinging_every(PING_EVERY).window_bytes(window)
}

impl Link {
    /// Starts to connect.
    pub(super) fn open(
        store: StoreId,
        address: &str,
        dialer: &Dialer,
        hello: v1::StreamHello,
        seed: u64,
        inbound: mpsc::Sender<Inbound>,
    ) -> Result<Self, Why> {
        let channel = dialer.lazily(address).map_err(Unconnected::why)?;
        let outbox = Arc::new(Outbox::default());
        let kv = KvClient::new(channel.clone()).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
        let task = tokio::spawn(keep_open(store, kv, hello, seed, Arc::clone(&outbox), inbound));
        Ok(Self { address: address.to_owned(), channel, outbox, takes_calls: true, task })
    }
}

/// Ends when the driver does.
async fn keep_open(
    store: StoreId,
    mut kv: KvClient<StoreChannel>,
    hello: v1::StreamHello,
    seed: u64,
    outbox: Arc<Outbox>,
    inbound: mpsc::Sender<Inbound>,
) {
    let mut failures: u32 = 0;
    loop {
        let ended = run_stream(store, &mut kv, &hello, &outbox, &inbound, &mut failures).await;
        let unsent = outbox.take_unsent();
        let why = ended.err().map(|status| why::of_status(&status));
        let wait = backoff(seed ^ store.0, failures);
        match &why {
            // Waiting does not mend it, and whoever can may look here.
            Some(why) if failures == 0 && why.doubt().is_some() => {
                tracing::warn!(%store, %why, "a connection is not trusted")
            }
            why => tracing::debug!(%store, failures, ?wait, ?why, "stream ended, will connect again"),
        }
        if inbound.send(Inbound::Down { store, unsent, why }).await.is_err() {
            return;
        }
        failures = failures.saturating_add(1);
        tokio::time::sleep(wait).await;
    }
}

async fn run_stream(
    store: StoreId,
    kv: &mut KvClient<StoreChannel>,
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
