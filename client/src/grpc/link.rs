//! The link to one store: connects, keeps one stream open, opens it again when it breaks. Ends when no stream can be opened: where to try next is
//! for [`super::links`] to say.

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
use tonic::{Status, Streaming};

use super::channel::{Dialer, StoreChannel, Unconnected};
use super::driver::Inbound;
use super::outbox::Outbox;
use super::security::Security;
use super::why::{self, Why};

/// How often a connection with an open stream is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(2);
/// A stream is open within this time, its connection included; the same as for a store to describe its fleet.
const OPEN_WITHIN: Duration = limits::CLIENT_CONNECT_TIMEOUT.saturating_mul(2);

/// Names one link of a client for ever: there may be two to one store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkId(pub(super) u64);

/// How far a link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Its first stream is being opened: what is queued meanwhile goes out with the first message.
    Opening,
    /// Its stream is open.
    Open,
    /// It has no stream, and nothing is queued until it has one.
    Closed,
}

/// What the driver holds of a link. Dropping it ends the link.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) address: String,
    pub(super) channel: StoreChannel,
    pub(super) outbox: Arc<Outbox>,
    pub(super) stage: Stage,
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

/// What the task of a link goes by.
pub(super) struct Task {
    pub(super) id: LinkId,
    /// Who is expected, and later who is there.
    pub(super) store: StoreId,
    /// Whoever answers says who it is before anything is asked: others than the one expected may be there.
    pub(super) asks_who: bool,
    /// It begins after this.
    pub(super) wait: Duration,
    /// The store could not be reached before, and that was said.
    pub(super) is_repeated: bool,
    pub(super) hello: v1::StreamHello,
    pub(super) seed: u64,
    pub(super) inbound: mpsc::Sender<Inbound>,
}

impl Link {
    /// Starts to connect.
    pub(super) fn open(address: &str, dialer: &Dialer, stage: Stage, task: Task) -> Result<Self, Why> {
        let channel = dialer.lazily(address).map_err(Unconnected::why)?;
        let outbox = Arc::new(Outbox::default());
        let kv = KvClient::new(channel.clone()).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
        let id = task.id;
        let task = tokio::spawn(task.keep_open(kv, Arc::clone(&outbox)));
        Ok(Self { id, address: address.to_owned(), channel, outbox, stage, task })
    }

    /// True while its stream is open.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// True when what is queued now goes out with the next message.
    pub(super) fn takes_calls(&self) -> bool {
        self.stage != Stage::Closed
    }
}

impl Task {
    /// Ends when a stream could not be opened or was of no use, and with the driver.
    async fn keep_open(mut self, mut kv: KvClient<StoreChannel>, outbox: Arc<Outbox>) {
        if !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
        }
        loop {
            let mut worked = false;
            let ended = self.run_stream(&mut kv, &outbox, &mut worked).await;
            let unsent = outbox.take_unsent();
            let (store, why) = (self.store, ended.err().map(|status| why::of_status(&status)));
            match &why {
                // Waiting does not mend it, and whoever can may look here.
                Some(why) if !self.is_repeated && why.doubt().is_some() => {
                    tracing::warn!(%store, %why, "a connection is not trusted")
                }
                why => tracing::debug!(%store, worked, ?why, "stream ended, will connect again"),
            }
            let down = Inbound::Down { link: self.id, store, unsent, why, worked };
            if self.inbound.send(down).await.is_err() || !worked {
                return;
            }
            self.is_repeated = false;
            tokio::time::sleep(backoff(self.seed ^ store.0, 0)).await;
        }
    }

    async fn run_stream(
        &mut self,
        kv: &mut KvClient<StoreChannel>,
        outbox: &Arc<Outbox>,
        worked: &mut bool,
    ) -> Result<(), Status> {
        let closed = |_| Status::cancelled("the client is closed");
        let opened = tokio::time::timeout(OPEN_WITHIN, self.open_stream(kv, outbox)).await;
        let (mut messages, mut first) = opened.map_err(|_| Status::unavailable("no answer"))??;
        if let Some(first) = &first {
            self.store = StoreId::bounded(first.store_id).map_err(|bad| Status::internal(bad.to_string()))?;
        }
        let (link, store) = (self.id, self.store);
        self.inbound.send(Inbound::Up { link, store }).await.map_err(closed)?;
        loop {
            let message = match first.take() {
                Some(first) => Some(first),
                None => messages.message().await?,
            };
            let Some(message) = message else { return Ok(()) };
            *worked = true;
            self.inbound.send(Inbound::Message { store, message }).await.map_err(closed)?;
        }
    }

    /// A new stream, with its first message if that is to say who is there.
    async fn open_stream(
        &self,
        kv: &mut KvClient<StoreChannel>,
        outbox: &Arc<Outbox>,
    ) -> Result<(Streaming<v1::StreamResponse>, Option<v1::StreamResponse>), Status> {
        let mut messages = kv.stream(outbox.open(self.hello.clone())).await?.into_inner();
        if !self.asks_who {
            return Ok((messages, None));
        }
        let first = messages.message().await?;
        first.map(|first| (messages, Some(first))).ok_or_else(|| Status::unavailable("the stream ended at once"))
    }
}

/// Doubling, and up to half as much again by hash, so that clients do not come back all at once.
pub(super) fn backoff(seed: u64, failures: u32) -> Duration {
    let doubled = limits::CLIENT_RECONNECT_MIN.saturating_mul(2_u32.saturating_pow(failures));
    let wait = doubled.min(limits::CLIENT_RECONNECT_MAX);
    let spread = crate::core::mix(seed.wrapping_add(u64::from(failures))) % 50;
    wait + wait * u32::try_from(spread).unwrap_or_default() / 100
}
