//! The bytes of a connection as its requests see them: those of its socket, or what TLS makes of them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use holdfast_types::limits;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::budget::{Account, Apart};
use crate::records::Records;

/// What lies in rustls is counted in steps of this size.
const STEP_BYTES: usize = 4 << 10;

/// One end sent more than any hello and its certificates are before it had proved who it is.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("more than {} bytes came before the handshake was over", limits::HANDSHAKE_READ_BYTES)]
pub(crate) struct TooLong;

/// Plain, or with TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<Sealed>),
}

/// The socket below TLS.
struct Below {
    stream: TcpStream,
    records: Records,
    /// The handshake is over.
    is_proved: bool,
}

/// A connection with TLS. What rustls holds of it is counted for its address and for its port.
pub(crate) struct Sealed {
    tls: TlsStream<Below>,
    apart: Apart,
}

impl Sealed {
    /// Takes the accepting side of a handshake. One that fails returns the socket: why it does may still be on its way.
    pub(crate) async fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        account: &Arc<Account>,
    ) -> Result<Self, (io::Error, TcpStream)> {
        let apart = Apart::new(account, limits::HANDSHAKE_BYTES);
        let below = Below { stream, records: Records::default(), is_proved: false };
        let accepting = TlsAcceptor::from(config)
            .accept_with(below, |session| session.set_buffer_limit(Some(limits::TLS_UNSENT_BYTES)));
        let mut tls = accepting.into_fallible().await.map_err(|(error, below)| (error, below.stream))?;
        let below = tls.get_mut().0;
        below.is_proved = true;
        below.records.handed_on();
        let mut sealed = Self { tls, apart };
        sealed.count();
        Ok(sealed)
    }

    /// What was agreed upon, and the certificates of the other end.
    pub(crate) fn session(&self) -> &rustls::ServerConnection {
        self.tls.get_ref().1
    }

    /// Counts what lies in rustls now.
    fn count(&mut self) {
        let (below, session) = self.tls.get_ref();
        // Buffers grow by doubling.
        let held_bytes = 2 * below.records.held_bytes();
        let mut bytes = limits::TLS_SESSION_BYTES + held_bytes.next_multiple_of(STEP_BYTES);
        if !session.wants_read() {
            bytes += limits::TLS_DECRYPTED_BYTES;
        }
        if session.wants_write() {
            bytes += limits::TLS_UNSENT_BYTES;
        }
        self.apart.set(bytes);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.tls).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.tls.get_mut().0.records.handed_on();
        }
        self.count();
        read
    }

    fn writing<T>(&mut self, write: impl FnOnce(Pin<&mut TlsStream<Below>>) -> T) -> T {
        let written = write(Pin::new(&mut self.tls));
        self.count();
        written
    }
}

impl AsyncRead for Below {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.records.follow(&buf.filled()[before..]);
        if !self.is_proved && self.records.held_bytes() > limits::HANDSHAKE_READ_BYTES {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, TooLong)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Below {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(sealed) => sealed.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(sealed) => sealed.writing(|tls| tls.poll_write(cx, bytes)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Tls(sealed) => sealed.writing(|tls| tls.poll_write_vectored(cx, bytes)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(sealed) => sealed.tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(sealed) => sealed.writing(|tls| tls.poll_flush(cx)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(sealed) => sealed.writing(|tls| tls.poll_shutdown(cx)),
        }
    }
}
