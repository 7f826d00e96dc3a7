//! The ports of a store: who may hold how much of it.

use std::sync::{Arc, OnceLock};

use holdfast_edge::descriptors::Shares;
use holdfast_edge::gate::{Port, PortLimits};
use holdfast_edge::handshake::Handshakes;
use holdfast_edge::layer::{Bounds, Kind};
use holdfast_types::limits;
use tonic::transport::Server;
use tower::layer::util::{Identity, Stack};

/// The ports through which strangers reach a store.
pub struct Ports {
    /// Of clients.
    pub clients: Arc<Port>,
    /// Of streams between stores.
    pub stores: Arc<Port>,
    /// Of probes, and without TLS of scrapers.
    pub http: Arc<Port>,
    /// Of scrapers, with TLS.
    pub metrics: Arc<Port>,
    /// Connections for heartbeats, which have a thread of their own.
    pub heartbeats: usize,
    /// What became of handshakes there, once the store runs and where there is TLS.
    of_heartbeats: OnceLock<Arc<Handshakes>>,
}

impl Ports {
    /// Ports that share the files of the process like this.
    pub fn new(shares: &Shares) -> Self {
        let of = |connections: usize, bytes| PortLimits {
            connections,
            per_address: (connections * limits::ADDRESS_SHARE_PERCENT / 100).max(1),
            first_request_within: Some(limits::FIRST_REQUEST_WITHIN),
            lives_for: None,
            idle_before_making_room: limits::IDLE_BEFORE_MAKING_ROOM,
            bytes,
            speaks_http2: true,
            handshake_within: limits::HANDSHAKE_WITHIN,
            handshakes_per_address: limits::HANDSHAKES_PER_ADDRESS,
        };
        // They come by a port of their own where there is TLS, and not at all elsewhere.
        let scrapers = (shares.probes * limits::METRICS_SHARE_PERCENT / 100).max(1);
        let http = PortLimits {
            first_request_within: None,
            lives_for: Some(limits::HTTP_CONNECTION_LIVES),
            idle_before_making_room: limits::HTTP_IDLE_BEFORE_MAKING_ROOM,
            speaks_http2: false,
            ..of(shares.probes.saturating_sub(scrapers), 0)
        };
        let metrics = PortLimits { connections: scrapers, per_address: scrapers, ..http };
        Self {
            clients: Port::new("clients", of(shares.clients, limits::CLIENT_PORT_BYTES)),
            stores: Port::new("stores", of(shares.stores, limits::STORE_PORT_BYTES)),
            http: Port::new("http", http),
            metrics: Port::new("metrics", metrics),
            heartbeats: shares.heartbeats,
            of_heartbeats: OnceLock::new(),
        }
    }

    /// All of them.
    pub fn all(&self) -> [&Arc<Port>; 4] {
        [&self.clients, &self.stores, &self.http, &self.metrics]
    }

    /// Those that speak TLS, where there is any.
    pub fn secured(&self) -> [&Arc<Port>; 3] {
        [&self.clients, &self.stores, &self.metrics]
    }

    /// Heartbeats are listened for from now on.
    pub fn hear_heartbeats(&self, handshakes: Arc<Handshakes>) {
        // A process runs one store.
        let _ = self.of_heartbeats.set(handshakes);
    }

    /// What became of handshakes, by port.
    pub fn handshakes(&self) -> impl Iterator<Item = (&'static str, &Handshakes)> {
        let secured = self.secured().map(|port| (port.name, port.handshakes()));
        secured.into_iter().chain(self.of_heartbeats.get().map(|handshakes| ("heartbeats", &**handshakes)))
    }

    /// Other stores that there are connections for.
    pub fn stores_carried(&self) -> usize {
        (self.stores.limits.connections / limits::CONNECTIONS_OF_A_STORE).min(self.heartbeats)
    }

    /// Ports of a process that nobody connects to.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self::new(&Shares::of(1_024).expect("enough for a store"))
    }
}

/// The HTTP/2 of the client port: what one connection may ask for, and how long it may be silent.
pub fn client_server() -> Server<Stack<Bounds, Identity>> {
    Server::builder()
        .initial_stream_window_size(limits::CLIENT_WINDOW_BYTES)
        .initial_connection_window_size(limits::CLIENT_CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits::CLIENT_REQUESTS_PER_CONNECTION)
        .http2_max_header_list_size(limits::CLIENT_HEADER_BYTES)
        .http2_keepalive_interval(Some(limits::CLIENT_KEEPALIVE))
        .http2_keepalive_timeout(Some(limits::CLIENT_KEEPALIVE_TIMEOUT))
        .layer(Bounds {
            kind,
            keeps: true,
            window_bytes: limits::CLIENT_WINDOW_BYTES,
            first_bytes: limits::MAX_MESSAGE_BYTES,
            most_bytes: limits::MAX_MESSAGE_BYTES,
        })
}

/// All of our own methods but the stream of calls are one message, and so is what a probe asks; other services may hold conversations.
fn kind(path: &str) -> Kind {
    match path {
        "/holdfast.v1.Kv/Stream" => Kind::Stream,
        "/grpc.health.v1.Health/Check" => Kind::OneMessage,
        _ if path.starts_with("/holdfast.v1.") => Kind::OneMessage,
        _ => Kind::Conversation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_of_calls_and_the_services_of_others_may_fall_silent() {
        for (path, expected) in [
            ("/holdfast.v1.Kv/Get", Kind::OneMessage),
            ("/holdfast.v1.Kv/Scan", Kind::OneMessage),
            ("/holdfast.v1.Kv/Stream", Kind::Stream),
            ("/holdfast.v1.Fleet/Describe", Kind::OneMessage),
            ("/grpc.health.v1.Health/Check", Kind::OneMessage),
            ("/grpc.health.v1.Health/Watch", Kind::Conversation),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Kind::Conversation),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
    }

    #[test]
    fn with_enough_files_a_store_carries_the_largest_fleet_and_with_few_it_says_how_many() {
        let carried = |files| Ports::new(&Shares::of(files).unwrap()).stores_carried();
        assert!(carried(65_536) >= limits::MAX_MEMBERS);
        assert_eq!((carried(256), carried(1_024)), (6, 27));
    }

    #[test]
    fn no_address_has_all_connections_of_a_port() {
        // But that of metrics, where one address reads them for a whole site and nobody is a stranger.
        for port in Ports::for_tests().all().into_iter().filter(|port| port.name != "metrics") {
            assert!(port.limits.per_address < port.limits.connections, "{}", port.name);
        }
    }
}
