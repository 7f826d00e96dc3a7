//! The handle: start, addresses, send, counters, stop.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_edge::gate::{Gate, Port, PortLimits};
use holdfast_edge::layer::{Bounds, Kind};
use holdfast_proto::v1::store_transport_server::StoreTransportServer;
use holdfast_types::{SiteName, StoreId, limits};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;

use crate::class::{Cause, Class};
use crate::handshake::{Identity, Incarnations};
use crate::inbound::{Acceptor, Inbound, Slots};
use crate::outbound::{Address, Link};
use crate::queue::{Queue, Queued};
use crate::security::Security;
use crate::traffic::{Traffic, TrafficRow};

/// What a transport is started with.
pub struct TransportConfig {
    /// Who this store is.
    pub identity: Identity,
    /// Bound already, so that the caller knows the port and reports a taken one.
    pub listener: TcpListener,
    /// Where the streams live.
    pub runtime: Handle,
    /// How connections are protected.
    pub security: Security,
    /// Bytes queued towards one store, for each of control and log; `limits::SEND_QUEUE_BYTES` by default.
    pub queue_bytes: usize,
    /// Bytes of snapshots queued towards one store; `limits::SNAPSHOT_QUEUE_BYTES` by default.
    pub snapshot_queue_bytes: usize,
    /// Where bytes are counted; shared with the support link.
    pub traffic: Arc<Traffic>,
    /// The newest starts of other stores; shared with the support link.
    pub incarnations: Incarnations,
    /// How many connections are let in, and how many bytes they may hold.
    pub port: Arc<Port>,
}

impl TransportConfig {
    /// With the defaults.
    #[must_use]
    pub fn new(identity: Identity, listener: TcpListener, runtime: Handle) -> Self {
        Self {
            identity,
            listener,
            runtime,
            security: Security::Plain,
            queue_bytes: limits::SEND_QUEUE_BYTES,
            snapshot_queue_bytes: limits::SNAPSHOT_QUEUE_BYTES,
            traffic: Arc::default(),
            incarnations: Incarnations::default(),
            port: Port::new("stores", PORT),
        }
    }
}

/// The port of a store that says nothing else.
const PORT: PortLimits = PortLimits {
    connections: limits::STORE_CONNECTIONS,
    per_address: limits::STORE_CONNECTIONS,
    first_request_within: Some(limits::FIRST_REQUEST_WITHIN),
    lives_for: None,
    idle_before_making_room: limits::IDLE_BEFORE_MAKING_ROOM,
    bytes: limits::STORE_PORT_BYTES,
    speaks_http2: true,
    handshake_within: limits::HANDSHAKE_WITHIN,
    handshakes_per_address: limits::HANDSHAKES_PER_ADDRESS,
};

/// Why a message was not queued. It is gone and counted: whoever sent it sends again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody has said where the store is.
    #[error("the address of {0} is not known")]
    UnknownAddress(StoreId),
    /// Too much is queued towards the store already.
    #[error("the queue to {0} is full")]
    Full(StoreId),
    /// No message is this large.
    #[error("a message of {bytes} bytes is larger than {}", limits::MAX_MESSAGE_BYTES)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Messages that were not sent, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Drops {
    /// To stores without an address.
    pub unknown_address: u64,
    /// For want of room.
    pub queue_full: u64,
    /// Queued when a connection, or an attempt at one, failed.
    pub connection_lost: u64,
    /// Larger than any message may be.
    pub too_large: u64,
}

/// What all streams of a store share.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) inbound: Arc<dyn Inbound>,
    pub(crate) incarnations: Incarnations,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) slots: Slots,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) security: Security,
    /// The generation of trust that was seen last: changes when somebody may be distrusted who was not.
    pub(crate) trust_changes: watch::Sender<u64>,
}

/// The way to one other store. Its streams end when `address` is dropped.
struct Neighbour {
    address: watch::Sender<Address>,
    queues: [Arc<Queue>; Class::ALL.len()],
}

/// Streams to and from all other stores. Stops when dropped; [`Transport::stop`] also waits.
///
/// - Messages of one class to one store arrive in the order of `send`, or are lost; none arrives twice.
/// - All of a class that was queued is lost with its connection.
/// - With TLS, nothing goes to or comes from a store whose certificate is of another site than it is known by. Streams to and from a site that
///   is distrusted end within a second, and none begins.
pub struct Transport {
    shared: Arc<Shared>,
    neighbours: RwLock<BTreeMap<StoreId, Neighbour>>,
    queue_bytes: usize,
    snapshot_queue_bytes: usize,
    unknown_address: AtomicU64,
    too_large: AtomicU64,
    /// Drops of stores that were forgotten.
    past_drops: Mutex<(u64, u64)>,
    runtime: Handle,
    local_address: SocketAddr,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl Transport {
    /// Listens, and waits for addresses.
    pub fn start(config: TransportConfig, inbound: Arc<dyn Inbound>) -> std::io::Result<Transport> {
        let local_address = config.listener.local_addr()?;
        config.listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            identity: config.identity,
            inbound,
            incarnations: config.incarnations,
            traffic: config.traffic,
            slots: Slots::default(),
            stop: watch::Sender::new(false),
            trust_changes: watch::Sender::new(config.security.generation()),
            security: config.security,
        });
        let listener = {
            let _context = config.runtime.enter();
            tokio::net::TcpListener::from_std(config.listener)?
        };
        let server = config.runtime.spawn(serve(Arc::clone(&shared), listener, config.port));
        if shared.security.trust().is_some() {
            config.runtime.spawn(watch_trust(Arc::clone(&shared)));
        }
        Ok(Transport {
            shared,
            neighbours: RwLock::default(),
            queue_bytes: config.queue_bytes,
            snapshot_queue_bytes: config.snapshot_queue_bytes,
            unknown_address: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
            past_drops: Mutex::default(),
            runtime: config.runtime,
            local_address,
            server: Mutex::new(Some(server)),
        })
    }

    /// Where this store listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Says where a store is: `host:port`. A changed address is tried at once. An address of this store itself is ignored.
    pub fn set_address(&self, store: StoreId, site: SiteName, target: &str) {
        if store == self.shared.identity.store {
            return;
        }
        let address = Address { site, target: target.to_owned() };
        let mut neighbours = self.neighbours.write();
        if let Some(neighbour) = neighbours.get(&store) {
            neighbour.address.send_if_modified(|known| {
                let is_new = *known != address;
                *known = address;
                is_new
            });
        } else {
            neighbours.insert(store, self.new_neighbour(store, address));
        }
    }

    fn new_neighbour(&self, store: StoreId, address: Address) -> Neighbour {
        let (sender, receiver) = watch::channel(address);
        let queues = Class::ALL.map(|class| {
            let queue = Queue::new(if class == Class::Snapshot { self.snapshot_queue_bytes } else { self.queue_bytes });
            let (shared, address) = (Arc::clone(&self.shared), receiver.clone());
            self.runtime.spawn(Link { shared, store, class, queue: Arc::clone(&queue), address }.run());
            queue
        });
        Neighbour { address: sender, queues }
    }

    /// Closes the streams to and from a store that left the fleet, and takes none from it any more.
    pub fn forget(&self, store: StoreId) {
        self.shared.incarnations.forget(store);
        self.shared.slots.forget(store);
        if let Some(neighbour) = self.neighbours.write().remove(&store) {
            let mut past = self.past_drops.lock();
            for queue in &neighbour.queues {
                queue.fail();
                let (full, lost) = queue.dropped();
                *past = (past.0 + full, past.1 + lost);
            }
        }
    }

    /// Queues one message; never blocks, callable from any thread. `Ok` is no promise that it arrives.
    pub fn send(&self, to: StoreId, class: Class, cause: Cause, payload: Bytes) -> Result<(), SendError> {
        self.check_size(&payload)?;
        let neighbours = self.neighbours.read();
        let Some(neighbour) = neighbours.get(&to) else {
            return Err(self.unknown(to));
        };
        neighbour.queues[class.index()].push(Queued { cause, payload }).map_err(|_| SendError::Full(to))
    }

    /// Queues one message once there is room for it: backpressure for snapshots. Needs no runtime around it, so a thread may
    /// simply block on it.
    pub async fn send_when_room(
        &self,
        to: StoreId,
        class: Class,
        cause: Cause,
        payload: Bytes,
    ) -> Result<(), SendError> {
        self.check_size(&payload)?;
        let queue = self.queue(to, class).ok_or_else(|| self.unknown(to))?;
        queue.push_when_room(Queued { cause, payload }).await;
        Ok(())
    }

    /// Bytes that `send` would take now towards a store; 0 when its address is not known.
    #[must_use]
    pub fn room(&self, to: StoreId, class: Class) -> usize {
        self.queue(to, class).map_or(0, |queue| queue.room())
    }

    fn queue(&self, to: StoreId, class: Class) -> Option<Arc<Queue>> {
        self.neighbours.read().get(&to).map(|neighbour| Arc::clone(&neighbour.queues[class.index()]))
    }

    /// The last net: whoever makes messages knows this bound too.
    fn check_size(&self, payload: &Bytes) -> Result<(), SendError> {
        if payload.len() > limits::MAX_MESSAGE_BYTES {
            self.too_large.fetch_add(1, Ordering::Relaxed);
            return Err(SendError::TooLarge { bytes: payload.len() });
        }
        Ok(())
    }

    fn unknown(&self, to: StoreId) -> SendError {
        self.unknown_address.fetch_add(1, Ordering::Relaxed);
        SendError::UnknownAddress(to)
    }

    /// True when a store has a stream open to this one, or was heard within this time.
    #[must_use]
    pub fn hears(&self, store: StoreId, within: Duration) -> bool {
        self.shared.incarnations.hears(store, within)
    }

    /// Bytes and messages so far, by sites and cause.
    #[must_use]
    pub fn traffic(&self) -> Vec<TrafficRow> {
        self.shared.traffic.rows()
    }

    /// Messages dropped so far.
    #[must_use]
    pub fn drops(&self) -> Drops {
        let (mut queue_full, mut connection_lost) = *self.past_drops.lock();
        for queue in self.neighbours.read().values().flat_map(|neighbour| &neighbour.queues) {
            let (full, lost) = queue.dropped();
            queue_full += full;
            connection_lost += lost;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (unknown_address, too_large) = (count(&self.unknown_address), count(&self.too_large));
        Drops { unknown_address, queue_full, connection_lost, too_large }
    }

    /// Closes everything and waits until the port is free. Messages still queued are lost.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let server = self.server.lock().take();
        if let Some(mut server) = server
            && tokio::time::timeout(limits::STREAM_HANDSHAKE_TIMEOUT, &mut server).await.is_err()
        {
            // A connection that never began to speak HTTP/2 holds up a graceful end.
            server.abort();
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
    }
}

/// Tells the streams to other stores when there is something new to believe, until the transport stops.
async fn watch_trust(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    while tokio::time::timeout(limits::DISTRUST_LOOKED_AT_EVERY, stop.wait_for(|stop| *stop)).await.is_err() {
        let generation = shared.security.generation();
        shared.trust_changes.send_if_modified(|seen| std::mem::replace(seen, generation) != generation);
    }
}

async fn serve(shared: Arc<Shared>, listener: tokio::net::TcpListener, port: Arc<Port>) {
    let mut stop = shared.stop.subscribe();
    let security = shared.security.of_port();
    let stopped = async move {
        // An error means that the transport is gone, which is the same.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    // A frame is a batch, and its last message may be of any legal size.
    let largest_frame = limits::MAX_MESSAGE_BYTES + 2 * limits::STREAM_BATCH_BYTES;
    let service =
        StoreTransportServer::new(Acceptor::new(Arc::clone(&shared))).max_decoding_message_size(largest_frame);
    let served = Server::builder()
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::STREAM_WINDOW_BYTES)
        .max_concurrent_streams(Some(limits::MAX_STREAMS_PER_CONNECTION))
        .http2_keepalive_interval(Some(limits::STREAM_KEEPALIVE))
        .http2_keepalive_timeout(Some(limits::STREAM_KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(limits::CLIENT_HEADER_BYTES)
        .layer(Bounds {
            kind: |_| Kind::Stream,
            keeps: false,
            window_bytes: limits::STREAM_WINDOW_BYTES,
            // Whoever has not said who he is has the room of a hello.
            first_bytes: limits::STORE_HELLO_BYTES,
            most_bytes: largest_frame,
        })
        .add_service(service)
        .serve_with_incoming_shutdown(Gate::secured(listener, port, security).incoming(), stopped)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the port for other stores is closed");
    }
}
