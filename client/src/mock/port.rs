//! The port of one store of a mock: plain, or TLS; and what it looks at before a call is served.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_proto::FLEET_HEADER;
use holdfast_trust::connect::Wire;
use holdfast_trust::{Callers, Party, Trust};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Interceptor;
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use super::service::Shared;

/// Connections that are ready and not served yet.
const READY: usize = 16;
/// Who takes longer to prove himself is let go.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// A connection, as tonic's server wants it.
pub(super) struct Served(Wire);

impl Connected for Served {
    /// Who is at the other end, if he proved it.
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller(self.0.party())
    }
}

/// Who calls.
#[derive(Clone)]
pub(super) struct Caller(Option<Party>);

impl AsyncRead for Served {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Served {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// The connections of a port, as they are ready. Handshakes do not wait for each other.
pub(super) fn incoming(listener: TcpListener, trust: Option<Arc<Trust>>) -> ReceiverStream<io::Result<Served>> {
    let (ready, connections) = mpsc::channel(READY);
    tokio::spawn(async move {
        // A connection that is gone before it was accepted is nobody's.
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (ready, trust) = (ready.clone(), trust.clone());
            tokio::spawn(async move {
                // Who proves nothing is not served, and hears why by an alert.
                if let Ok(wire) = shake_hands(stream, trust.as_ref()).await {
                    let _ = ready.send(Ok(Served(wire))).await;
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn shake_hands(stream: TcpStream, trust: Option<&Arc<Trust>>) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    let Some(trust) = trust else { return Ok(Wire::Plain(stream)) };
    tokio::time::timeout(HANDSHAKE_WITHIN, Wire::accept(stream, trust.server(Callers::AnyoneOrNobody))).await?
}

/// Lets calls in that are meant for this fleet, from somebody who proved who he is.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) shared: Arc<Shared>,
    /// There is TLS: whoever has no certificate has a token.
    pub(super) asks: bool,
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let meant_for = request.metadata().get(FLEET_HEADER);
        if meant_for.is_some_and(|fleet| fleet.as_encoded_bytes() != self.shared.fleet.to_string().as_bytes()) {
            return Err(Status::failed_precondition("the call is meant for another fleet than this store's"));
        }
        let party = request.extensions().get::<Caller>().and_then(|caller| caller.0.as_ref());
        let mut access = self.shared.access();
        access.callers.extend(party.map(|party| (party.fingerprint, party.clone())));
        let shown = request.metadata().get("authorization").map(|shown| shown.as_encoded_bytes().to_vec());
        let is_taken = match &access.token {
            Some(token) => shown.is_some_and(|shown| shown == format!("Bearer {token}").into_bytes()),
            None => !self.asks || party.is_some(),
        };
        drop(access);
        if is_taken { Ok(request) } else { Err(Status::unauthenticated("the bearer token is not taken")) }
    }
}
