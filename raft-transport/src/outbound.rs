//! The connecting side: one task for each store and class keeps its stream open and feeds it from its queue.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::future::poll_fn;
use holdfast_proto::careful::careful;
use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_proto::v1::store_transport_client::StoreTransportClient;
use holdfast_trust::Callee;
use holdfast_trust::connect::Connector;
use holdfast_types::{Incarnation, SiteName, StoreId, limits};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, timeout};
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::class::Class;
use crate::handshake::{self, Refusal};
use crate::queue::{Connection, Queue, Queued};
use crate::traffic::{Counters, Direction};
use crate::transport::Shared;

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) site: SiteName,
    /// `host:port`; names are resolved anew with each attempt.
    pub(crate) target: String,
}

/// Why there is no stream.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Failure {
    /// Could not connect, or lost.
    Lost(String),
    /// The other store does not want it.
    Refused(Refusal),
}

impl Failure {
    fn lost(reason: impl ToString) -> Self {
        Self::Lost(reason.to_string())
    }

    /// What a status says; one without words says its code.
    fn ended(status: &tonic::Status) -> Self {
        match status.message() {
            "" => Self::lost(status.code().description()),
            words => Self::lost(words),
        }
    }
}

/// What keeps one stream open.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: StoreId,
    pub(crate) class: Class,
    pub(crate) queue: Arc<Queue>,
    pub(crate) address: watch::Receiver<Address>,
}

impl Link {
    /// Runs until the store is forgotten or the transport stops.
    pub(crate) async fn run(mut self) {
        let mut stop = self.shared.stop.subscribe();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.keep_connected() => {}
        }
        self.queue.fail();
    }

    async fn keep_connected(&mut self) {
        let mut wait = limits::STREAM_RECONNECT_MIN;
        let mut reported: Option<Failure> = None;
        let mut calls = self.shared.slots.calls_of(self.store);
        loop {
            if !self.class.is_eager() {
                let waiting = poll_fn(|context| self.queue.poll_waiting(context));
                tokio::select! {
                    () = waiting => {}
                    changed = self.address.changed() => if changed.is_err() { return } else { continue },
                }
            }
            let address = self.address.borrow_and_update().clone();
            calls.mark_unchanged();
            let (was_connected, failure) = self.use_one_connection(&address).await;
            let Some(failure) = failure else {
                // The address changed, or there is none any more.
                if self.address.has_changed().is_err() {
                    return;
                }
                wait = limits::STREAM_RECONNECT_MIN;
                continue;
            };
            if was_connected {
                wait = limits::STREAM_RECONNECT_MIN;
                reported = None;
            }
            match &failure {
                Failure::Refused(refusal) => {
                    self.shared.inbound.refused(self.store, self.class, &address.target, refusal);
                    wait = limits::STREAM_RECONNECT_MAX;
                }
                Failure::Lost(reason) => {
                    self.shared.inbound.unreached(self.store, self.class, &address.target, reason);
                }
            }
            if reported.as_ref() != Some(&failure) {
                self.report(&address, &failure);
                reported = Some(failure);
            }
            tokio::select! {
                called = pause(wait, &mut calls) => {
                    let longer = (wait * 2).min(limits::STREAM_RECONNECT_MAX);
                    wait = if called { limits::STREAM_RECONNECT_MIN } else { longer };
                }
                changed = self.address.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    wait = limits::STREAM_RECONNECT_MIN;
                }
            }
        }
    }

    fn report(&self, address: &Address, failure: &Failure) {
        let (store, class, target) = (self.store, self.class, &address.target);
        match failure {
            Failure::Lost(reason) => tracing::info!(%store, ?class, target, reason, "no stream to a store"),
            Failure::Refused(refusal) => tracing::warn!(%store, ?class, target, %refusal, "a store refuses our stream"),
        }
    }

    /// Connects, feeds the stream until it ends or the address changes (then without a failure), drops what is still queued.
    /// Also returns whether the stream was welcomed.
    async fn use_one_connection(&mut self, address: &Address) -> (bool, Option<Failure>) {
        let connection = self.queue.begin();
        let mut address_watch = self.address.clone();
        let opened = tokio::select! {
            opened = self.open(address, connection) => opened,
            _ = address_watch.changed() => {
                self.queue.fail();
                return (false, None);
            }
        };
        let (mut answers, incarnation) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                self.queue.fail();
                return (false, Some(failure));
            }
        };
        let connected = Connected::new(&self.shared, self.store, incarnation, self.class, &address.target);
        self.queue.open(connection);
        let failure = tokio::select! {
            failure = until_end(&mut answers) => Some(failure),
            failure = self.until_distrusted(&address.site) => Some(failure),
            _ = address_watch.changed() => None,
        };
        self.queue.fail();
        drop(connected);
        (true, failure)
    }

    async fn open(
        &self,
        address: &Address,
        connection: Connection,
    ) -> Result<(Streaming<v1::LinkFrame>, Incarnation), Failure> {
        let channel = self.connect(address).await?;
        let mut client = StoreTransportClient::new(careful(channel));
        let hello = handshake::hello(&self.shared.identity, self.store, self.class.to_wire());
        let counters = self.shared.traffic.between(Direction::Sent, &self.shared.identity.site, &address.site);
        let signs = self.class.is_eager().then(signs_of_life);
        let frames = Frames { hello: Some(hello), queue: Arc::clone(&self.queue), connection, counters, signs };
        let handshake = async {
            let mut answers = client.open(frames).await.map_err(|status| Failure::ended(&status))?.into_inner();
            let first = answers.message().await.map_err(|status| Failure::ended(&status))?;
            Ok((answers, first))
        };
        let (answers, first) = timeout(limits::STREAM_HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_| Failure::lost("the handshake was not answered in time"))??;
        let first = first.ok_or_else(|| Failure::lost("closed before the handshake was answered"))?;
        let judged = handshake::judge_answer(&self.shared.identity, &self.shared.incarnations, self.store, first);
        Ok((answers, judged.map_err(Failure::Refused)?))
    }

    /// With TLS nobody answers but a store of the site that the address is known by.
    async fn connect(&self, address: &Address) -> Result<Channel, Failure> {
        let endpoint = endpoint(address)?;
        let connected = match self.shared.security.trust() {
            None => endpoint.connect().await,
            Some(_) if self.shared.security.is_distrusted(&address.site) => return Err(distrusted(&address.site)),
            Some(trust) => {
                let callee = Callee::StoreOf(address.site.clone());
                let connector = Connector::new(Some(Arc::clone(trust)), callee, limits::STREAM_CONNECT_TIMEOUT);
                endpoint.connect_with_connector(connector).await
            }
        };
        connected.map_err(|error| Failure::lost(source_of(&error)))
    }

    /// Waits until the stores of this site are not trusted any more.
    async fn until_distrusted(&self, site: &SiteName) -> Failure {
        let mut changes = self.shared.trust_changes.subscribe();
        while !self.shared.security.is_distrusted(site) {
            if changes.changed().await.is_err() {
                // The transport is gone, and this with it.
                std::future::pending::<()>().await;
            }
        }
        distrusted(site)
    }
}

fn distrusted(site: &SiteName) -> Failure {
    Failure::lost(format!("site {site} is distrusted"))
}

/// Tells [`crate::Inbound`] of the end of a connection, however it ends.
struct Connected<'a> {
    shared: &'a Shared,
    store: StoreId,
    class: Class,
}

impl<'a> Connected<'a> {
    fn new(shared: &'a Shared, store: StoreId, incarnation: Incarnation, class: Class, address: &str) -> Self {
        tracing::info!(%store, ?class, address, "stream to a store opened");
        shared.inbound.connected(store, incarnation, class, address);
        Self { shared, store, class }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.shared.inbound.disconnected(self.store, self.class);
    }
}

async fn until_end(answers: &mut Streaming<v1::LinkFrame>) -> Failure {
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Failure::lost("closed by the other store"),
            Err(status) => return Failure::ended(&status),
        }
    }
}

/// The whole story of a connection error: tonic's own text is "transport error".
fn source_of(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn endpoint(address: &Address) -> Result<Endpoint, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{}", address.target))
        .map_err(|error| Failure::lost(format!("the address {:?} is not host:port: {error}", address.target)))?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(limits::STREAM_CONNECT_TIMEOUT)
        .http2_keep_alive_interval(limits::STREAM_KEEPALIVE)
        .keep_alive_timeout(limits::STREAM_KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::STREAM_WINDOW_BYTES))
}

/// `wait`, give or take half of it: stores that lost the same store do not come back in step.
fn with_jitter(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait / 2 + wait.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Waits, give or take half of it, but no longer than until the other store opens a stream to this one: then it is there, and its
/// replicas hear of their leaders at once. True when it did.
async fn pause(wait: Duration, calls: &mut watch::Receiver<u64>) -> bool {
    // The sender of calls lives as long as the transport.
    timeout(with_jitter(wait), calls.changed()).await.is_ok()
}

/// What the connecting side sends: a hello, and after the welcome whatever is queued, as one frame for all that waits. It is
/// polled when the connection can take more, so the queue is the only buffer of ours, and under load frames grow by themselves.
/// A stream that has nothing to send sends an empty batch now and then: its other end counts on this store only while it hears it.
struct Frames {
    hello: Option<v1::LinkFrame>,
    queue: Arc<Queue>,
    connection: Connection,
    counters: Arc<Counters>,
    signs: Option<Interval>,
}

/// Due at once: the other end promises nothing before it has heard something.
fn signs_of_life() -> Interval {
    let mut signs = tokio::time::interval(limits::STORE_STREAM_SIGN);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    signs
}

impl Stream for Frames {
    type Item = v1::LinkFrame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::LinkFrame>> {
        let this = self.get_mut();
        if let Some(hello) = this.hello.take() {
            return Poll::Ready(Some(hello));
        }
        let messages = match this.queue.poll_batch(context, this.connection) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(batch)) => {
                if let Some(signs) = &mut this.signs {
                    signs.reset();
                }
                batch.into_iter().map(|message| this.put(message)).collect()
            }
            Poll::Pending => match &mut this.signs {
                Some(signs) => {
                    std::task::ready!(signs.poll_tick(context));
                    Vec::new()
                }
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Some(v1::LinkFrame { body: Some(Body::Batch(v1::LinkBatch { messages })) }))
    }
}

impl Frames {
    fn put(&self, message: Queued) -> v1::LinkMessage {
        self.counters.count(message.cause, message.payload.len());
        v1::LinkMessage { payload: message.payload, cause: message.cause.number().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Caller;
    use crate::inbound::Slots;

    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn a_store_that_opens_a_stream_to_us_is_called_back_at_once() {
        let slots = Slots::default();
        let caller = |store| Caller {
            store: StoreId(store),
            site: SiteName::new("b").expect("a name"),
            incarnation: Incarnation(2),
            process: handshake::Process::default(),
            class: Class::Log.to_wire(),
            party: None,
        };
        let mut calls = slots.calls_of(StoreId(2));
        slots.take(&caller(3), Class::Log);
        assert!(!pause(Duration::from_millis(1), &mut calls).await, "another store's call");
        slots.take(&caller(2), Class::Log);
        assert!(pause(LONG, &mut calls).await);
        assert!(!pause(Duration::from_millis(1), &mut calls).await, "one call, one attempt");
    }
}
