//! Streams of tokio that are plain or TLS, and a connector for tonic.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_types::limits;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tower_service::Service;

use crate::bundle::Bundle;
use crate::explain::explain;
use crate::party::Party;
use crate::trust::{Callee, Trust, server_name};

/// A stream over TCP, plain or TLS, that knows who is at the other end.
#[derive(Debug)]
pub enum Wire {
    /// Nothing is proved, and everybody on the way reads along.
    Plain(TcpStream),
    /// We called.
    Client(Box<client::TlsStream<TcpStream>>),
    /// We were called.
    Server(Box<server::TlsStream<TcpStream>>),
}

impl Wire {
    /// Makes the handshake of the side that was called. Whoever calls this bounds how long it may take.
    ///
    /// # Errors
    /// When it fails; the text says what on. The other end has been told then, and has had a moment to hear it.
    pub async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        match TlsAcceptor::from(config).accept(tcp).into_fallible().await {
            Ok(stream) => Ok(Self::Server(Box::new(stream))),
            Err((error, tcp)) => {
                take_leave(tcp).await;
                Err(told(error))
            }
        }
    }

    /// Who is at the other end, as his certificate proved it; `None` when the stream is plain, or he showed none.
    #[must_use]
    pub fn party(&self) -> Option<Party> {
        let tls: &CommonState = match self {
            Self::Plain(_) => return None,
            Self::Client(stream) => stream.get_ref().1,
            Self::Server(stream) => stream.get_ref().1,
        };
        // The handshake has read it before: there is one, or none was shown.
        Party::at_other_end(tls).ok().flatten()
    }

    /// The socket below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Client(stream) => stream.get_ref().0,
            Self::Server(stream) => stream.get_ref().0,
        }
    }
}

/// A failure of TLS: the reason in words, and as rustls has it. Found within the [`io::Error`]s of this module.
#[derive(Debug)]
pub struct TlsFailure {
    said: String,
    /// What it was.
    pub cause: rustls::Error,
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for TlsFailure {}

/// A failure of TLS with its reason in words; any other as it is.
fn told(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(cause) => io::Error::new(error.kind(), TlsFailure { said: explain(cause), cause: cause.clone() }),
        None => error,
    }
}

/// Closes in order after a handshake that failed. A client of TLS 1.3 has spoken before it hears that it is refused; if that were left unread,
/// the system would break the connection off, and the reason with it.
async fn take_leave(mut tcp: TcpStream) {
    let mut unread = [0; 1 << 10];
    let leave = async {
        tcp.shutdown().await?;
        let mut left = limits::HANDSHAKE_READ_BYTES;
        while left > 0 {
            match tcp.read(&mut unread).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // However it ends, the connection is closed now.
    let _ = timeout(limits::HANDSHAKE_LINGER, leave).await;
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = match self.get_mut() {
            Self::Plain(stream) => return Pin::new(stream).poll_read(cx, buffer),
            Self::Client(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Server(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        // A server refuses a certificate after the client has finished its half of the handshake: it is here that the client hears of it.
        polled.map_err(told)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Client(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Server(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Client(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Server(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Client(stream) => stream.is_write_vectored(),
            Self::Server(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Client(stream) => Pin::new(stream).poll_flush(cx),
            Self::Server(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Client(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Server(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// How somebody calls: what he shows, and whom he believes.
#[derive(Clone, Debug)]
pub enum Calling {
    /// In plain text.
    Plain,
    /// By TLS, with a certificate.
    Proving(Arc<Trust>),
    /// By TLS without one: who he is he says within.
    Unnamed(Arc<Bundle>),
}

impl From<Option<Arc<Trust>>> for Calling {
    fn from(trust: Option<Arc<Trust>>) -> Self {
        trust.map_or(Self::Plain, Self::Proving)
    }
}

/// Connects tonic's endpoints: TCP without delay, and then TLS to whoever must be there.
#[derive(Clone, Debug)]
pub struct Connector {
    calling: Calling,
    callee: Callee,
    timeout: Duration,
}

impl Connector {
    /// TLS with what there is at each connection, plain TCP without anything. Name, TCP and handshake have `timeout` together.
    #[must_use]
    pub fn new(calling: impl Into<Calling>, callee: Callee, timeout: Duration) -> Self {
        Self { calling: calling.into(), callee, timeout }
    }

    /// A stream to `host` and `port`.
    ///
    /// # Errors
    /// When there is none in time, or the other end is not who it must be; the text says why.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<Wire> {
        let deadline = Instant::now() + self.timeout;
        let tcp = tcp(host, port, deadline).await?;
        tcp.set_nodelay(true)?;
        let config = match &self.calling {
            Calling::Plain => return Ok(Wire::Plain(tcp)),
            Calling::Proving(trust) => trust.client(self.callee.clone()),
            Calling::Unnamed(bundle) => bundle.client(self.callee.clone()),
        };
        let handshake = TlsConnector::from(config).connect(server_name(host), tcp);
        let stream = timeout_at(deadline, handshake).await.map_err(|_| late("the TLS handshake"))?.map_err(told)?;
        Ok(Wire::Client(Box::new(stream)))
    }
}

/// A name may stand for several addresses. One that swallows everything must not use up the time of the others.
async fn tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = tokio::net::lookup_host((bare, port));
    let addresses: Vec<_> = timeout_at(deadline, found).await.map_err(|_| late("its name"))??.collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name stands for no address");
    for (at, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len().saturating_sub(at)).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()).checked_div(left).unwrap_or_default();
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = late("TCP"),
        }
    }
    Err(failed)
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let host = uri.host().ok_or_else(|| bad(&uri, "names no host"))?;
            let port = uri.port_u16().ok_or_else(|| bad(&uri, "names no port"))?;
            connector.connect(host, port).await.map(TokioIo::new)
        })
    }
}

fn bad(uri: &Uri, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} {why}"))
}
