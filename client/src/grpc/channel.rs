//! Channels to stores. Every one of the tree but those between stores' raft transports is made here (`make verify` sees to that), so that none can be
//! made which proves nothing.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_proto::FLEET_HEADER;
use holdfast_proto::careful::{Careful, careful};
use holdfast_trust::Callee;
use holdfast_trust::connect::Connector;
use holdfast_types::FleetId;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tonic::transport::{Channel, Endpoint};

use super::bearer::BearerFile;
use super::security::Security;
use super::why::{self, Why};
use super::wire::{Connections, Listening};
use crate::untrusted::Doubt;

/// A channel to a store: each connection proves who is at both ends, and each call says whom it is meant for.
#[derive(Clone, Debug)]
pub struct StoreChannel {
    channel: Careful,
    introduction: Introduction,
    connections: Connections,
}

/// What each call says of itself: the fleet that it is meant for, and the bearer token.
#[derive(Clone, Debug, Default)]
struct Introduction {
    fleet: Option<HeaderValue>,
    bearer: Option<Arc<BearerFile>>,
}

impl Introduction {
    fn put_into(&self, headers: &mut HeaderMap) -> Result<(), Status> {
        if let Some(fleet) = &self.fleet {
            headers.insert(FLEET_HEADER, fleet.clone());
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.header().map_err(Status::unauthenticated)?);
        }
        Ok(())
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, StdError>> + Send>>;

impl Service<Request<Body>> for StoreChannel {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.channel.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        if let Err(status) = self.introduction.put_into(request.headers_mut()) {
            return Box::pin(std::future::ready(Err(status.into())));
        }
        let (connections, begun) = (self.connections.clone(), self.connections.begin());
        let answering = self.channel.call(request);
        Box::pin(async move {
            // What one end made of the other is heard by the connection, and not always by the call that waits for it.
            answering.await.map_err(|error| connections.never_asked(&begun).map_or_else(|| error.into(), Into::into))
        })
    }
}

/// Makes channels to stores, all alike.
///
/// ```no_run
/// use std::time::Duration;
/// use holdfast_client::channel::Dialer;
/// use holdfast_client::Security;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let dialer = Dialer::new(Security::open("/etc/holdfast/tls")?, Duration::from_secs(1));
/// let channel = dialer.connect("store-0.site-a:7300").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Dialer {
    security: Security,
    connect_within: Duration,
    answer_within: Option<Duration>,
    ping_every: Option<Duration>,
    window_bytes: Option<u32>,
    fleet: Option<FleetId>,
}

/// Why a call failed, in a clause: the cause at the bottom, and what to do where one end did not believe the other.
#[must_use]
pub fn reason(status: &Status) -> String {
    why::of_status(status).to_string()
}

/// What was doubted, if a call failed because one end did not believe the other; `None`: it failed otherwise.
#[must_use]
pub fn doubt(status: &Status) -> Option<Doubt> {
    why::of_status(status).doubt()
}

/// Why there is no connection to a store.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{address}: {why}")]
pub struct Unconnected {
    address: String,
    why: Why,
}

impl Dialer {
    /// Connections are made within this time, their proofs included.
    #[must_use]
    pub fn new(security: Security, connect_within: Duration) -> Self {
        Self { security, connect_within, answer_within: None, ping_every: None, window_bytes: None, fleet: None }
    }

    /// Each call is answered within this time, or fails.
    #[must_use]
    pub fn answered_within(mut self, within: Duration) -> Self {
        self.answer_within = Some(within);
        self
    }

    /// A connection with calls under way is asked for a sign of life this often, and given up when none comes for as long.
    #[must_use]
    pub fn pinging_every(mut self, every: Duration) -> Self {
        self.ping_every = Some(every);
        self
    }

    /// So many bytes may be on their way to us at a time.
    #[must_use]
    pub fn window_bytes(mut self, bytes: u32) -> Self {
        self.window_bytes = Some(bytes);
        self
    }

    /// Stores of another fleet refuse whatever is asked of them.
    #[must_use]
    pub fn fleet(mut self, fleet: FleetId) -> Self {
        self.fleet = Some(fleet);
        self
    }

    /// The fleet that calls are meant for; `None`: any.
    #[must_use]
    pub fn meant_for(&self) -> Option<FleetId> {
        self.fleet
    }

    /// A channel that connects when it is first used, and again whenever it has to: with the material of that moment.
    ///
    /// # Errors
    /// [`Unconnected`]: it is no address.
    pub fn lazily(&self, address: &str) -> Result<StoreChannel, Unconnected> {
        let connections = Connections::default();
        let channel = self.endpoint(address)?.connect_with_connector_lazy(self.connector(&connections));
        Ok(self.introduced(channel, connections))
    }

    /// A channel that is connected.
    ///
    /// # Errors
    /// [`Unconnected`]: nobody answers there, or one end does not believe the other.
    pub async fn connect(&self, address: &str) -> Result<StoreChannel, Unconnected> {
        let connections = Connections::default();
        let connected = self.endpoint(address)?.connect_with_connector(self.connector(&connections)).await;
        let channel = connected.map_err(|error| self.unconnected(address, why::of_error(&error)))?;
        Ok(self.introduced(channel, connections))
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, Unconnected> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| self.unconnected(address, Why::other("this is no address like 10.0.1.5:7300")))?
            .initial_stream_window_size(self.window_bytes)
            .initial_connection_window_size(self.window_bytes);
        let endpoint = match self.answer_within {
            Some(within) => endpoint.timeout(within),
            None => endpoint,
        };
        Ok(match self.ping_every {
            Some(every) => endpoint.http2_keep_alive_interval(every).keep_alive_timeout(every),
            None => endpoint,
        })
    }

    fn connector(&self, connections: &Connections) -> Listening {
        let connector = Connector::new(self.security.calling(), Callee::Store, self.connect_within);
        Listening { connector, connections: connections.clone() }
    }

    fn introduced(&self, channel: Channel, connections: Connections) -> StoreChannel {
        let fleet = self.fleet.and_then(|fleet| fleet.to_string().parse().ok());
        let introduction = Introduction { fleet, bearer: self.security.bearer().cloned() };
        StoreChannel { channel: careful(channel), introduction, connections }
    }

    fn unconnected(&self, address: &str, why: Why) -> Unconnected {
        Unconnected { address: address.to_owned(), why }
    }
}

impl Unconnected {
    /// What was doubted, if one end did not believe the other; `None`: nobody answered.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        self.why.doubt()
    }

    /// Why, without the address.
    pub(super) fn why(self) -> Why {
        self.why
    }
}
