//! The ports of a store: who may hold how much of it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_edge::connection::Socket;
use holdfast_edge::descriptors::Shares;
use holdfast_edge::gate::{Gate, Port, PortLimits};
use holdfast_edge::layer::Bounds;
use holdfast_types::limits;
use tonic::transport::Server;
use tower::layer::util::{Identity, Stack};

/// The ports through which strangers reach a store.
pub struct Ports {
    /// Of clients.
    pub clients: Arc<Port>,
    /// Of streams between stores.
    pub stores: Arc<Port>,
    /// Of probes and scrapers.
    pub http: Arc<Port>,
    /// Connections for heartbeats, which have a thread of their own.
    pub heartbeats: usize,
}

impl Ports {
    /// Ports that share the files of the process like this.
    pub fn new(shares: &Shares) -> Self {
        let of = |connections: usize, bytes| PortLimits {
            connections,
            per_address: (connections * limits::ADDRESS_SHARE_PERCENT / 100).max(1),
            first_request_within: Some(limits::FIRST_REQUEST_WITHIN),
            lives_for: None,
            bytes,
        };
        let http = PortLimits {
            first_request_within: None,
            lives_for: Some(limits::HTTP_CONNECTION_LIVES),
            ..of(shares.probes, 0)
        };
        Self {
            clients: Port::new("clients", of(shares.clients, limits::CLIENT_PORT_BYTES)),
            stores: Port::new("stores", of(shares.stores, limits::STORE_PORT_BYTES)),
            http: Port::new("http", http),
            heartbeats: shares.heartbeats,
        }
    }

    /// All of them.
    pub fn all(&self) -> [&Arc<Port>; 3] {
        [&self.clients, &self.stores, &self.http]
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
        .initial_connection_window_size(limits::CLIENT_WINDOW_BYTES)
        .max_concurrent_streams(limits::CLIENT_REQUESTS_PER_CONNECTION)
        .http2_max_header_list_size(limits::CLIENT_HEADER_BYTES)
        .http2_keepalive_interval(Some(limits::CLIENT_KEEPALIVE))
        .http2_keepalive_timeout(Some(limits::CLIENT_KEEPALIVE_TIMEOUT))
        .layer(Bounds { one_message, keeps: true, window_bytes: limits::CLIENT_WINDOW_BYTES })
}

/// All of our own methods but the stream of calls; those of others may be conversations.
fn one_message(path: &str) -> bool {
    path.starts_with("/holdfast.v1.") && path != "/holdfast.v1.Kv/Stream"
}

/// Accepts the connections of probes.
pub struct Probes(pub Gate);

impl axum::serve::Listener for Probes {
    type Io = Socket;
    type Addr = SocketAddr;

    fn accept(&mut self) -> impl Future<Output = (Socket, SocketAddr)> + Send {
        async {
            let socket = self.0.accept().await;
            let from = socket.from();
            (socket, from)
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_of_calls_and_the_services_of_others_may_fall_silent() {
        for (path, expected) in [
            ("/holdfast.v1.Kv/Get", true),
            ("/holdfast.v1.Kv/Scan", true),
            ("/holdfast.v1.Kv/Stream", false),
            ("/holdfast.v1.Fleet/Describe", true),
            ("/grpc.health.v1.Health/Watch", false),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", false),
        ] {
            assert_eq!(one_message(path), expected, "{path}");
        }
    }

    #[test]
    fn no_address_has_all_connections_of_a_port() {
        for port in Ports::for_tests().all() {
            assert!(port.limits.per_address < port.limits.connections, "{}", port.name);
        }
    }
}
