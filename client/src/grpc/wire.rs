//! Connections to stores, which remember what they failed on before anything was asked.
//!
//! A store looks at our certificate when our half of the handshake is over: what it makes of it comes as the first thing that is read, and by then
//! the connection is HTTP/2's, which keeps little of it, or nothing if it had not begun a call yet. So it is kept here.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use holdfast_trust::connect::{Connector, Wire};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::codegen::Service;
use tonic::transport::Uri;

use super::why::{self, Why};
use crate::untrusted::Doubt;

/// The first byte of an alert of TLS. In HTTP/2 it would begin a frame that is larger than any.
const ALERT: u8 = 21;

/// What became of the connections of one channel.
///
/// - `made` counts all; `doubted` those of them whose ends did not believe each other
/// - `silent` and `live` are those that stand: on which the other end has not spoken yet, and on which it has
#[derive(Debug, Default)]
struct Past {
    made: u64,
    doubted: u64,
    silent: u64,
    live: u64,
    /// Of the last one that was doubted.
    why: Option<Why>,
}

/// What became of the connections of one channel, for its calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Past>>);

/// How things stood when a call began.
pub(super) struct Begun {
    made: u64,
    doubted: u64,
    silent: u64,
    is_live: bool,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Past> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) -> Begun {
        let past = self.lock();
        Begun { made: past.made, doubted: past.doubted, silent: past.silent, is_live: past.live > 0 }
    }

    /// Why a call that began then, and failed, was asked of nobody; `None`: perhaps it was. It was not if every connection that it could go over
    /// was doubted, and there was one.
    pub(super) fn never_asked(&self, begun: &Begun) -> Option<Why> {
        let past = self.lock();
        let ways = past.made.saturating_sub(begun.made).saturating_add(begun.silent);
        let doubted = past.doubted.saturating_sub(begun.doubted);
        past.why.clone().filter(|_| !begun.is_live && doubted > 0 && doubted == ways)
    }
}

/// Connects, and listens to what comes first.
pub(super) struct Listening {
    pub(super) connector: Connector,
    pub(super) connections: Connections,
}

impl Service<Uri> for Listening {
    type Response = TokioIo<Listened>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Listened>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connecting, connections) = (self.connector.call(address), self.connections.clone());
        Box::pin(async move { Ok(TokioIo::new(Listened::new(connecting.await?.into_inner(), connections))) })
    }
}

/// What a connection has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The other end has not spoken yet.
    Silent,
    /// It has.
    Live,
    /// One end did not believe the other.
    Doubted,
}

/// A connection that counts among those of its channel.
pub(super) struct Listened {
    wire: Wire,
    connections: Connections,
    stage: Stage,
}

impl Listened {
    fn new(wire: Wire, connections: Connections) -> Self {
        let mut past = connections.lock();
        past.made = past.made.saturating_add(1);
        past.silent = past.silent.saturating_add(1);
        drop(past);
        Self { wire, connections, stage: Stage::Silent }
    }

    /// Judges what was read while the other end had not spoken: `first` is `None` at the end of the stream.
    fn judge(&mut self, read: io::Result<()>, first: Option<u8>) -> io::Result<()> {
        match (&read, first) {
            (Ok(()), Some(ALERT)) if matches!(self.wire, Wire::Plain(_)) => {
                let why = Why::doubted(Doubt::NoTls, "TLS is spoken there, and plain text here");
                let error = io::Error::new(io::ErrorKind::InvalidData, why.to_string());
                self.doubt(why);
                return Err(error);
            }
            (Ok(()), Some(_)) => {
                self.stage = Stage::Live;
                let mut past = self.connections.lock();
                past.silent = past.silent.saturating_sub(1);
                past.live = past.live.saturating_add(1);
            }
            (Ok(()), None) => {}
            (Err(error), _) => {
                let why = why::of_error(error);
                if why.doubt().is_some() {
                    self.doubt(why);
                }
            }
        }
        read
    }

    fn doubt(&mut self, why: Why) {
        self.stage = Stage::Doubted;
        let mut past = self.connections.lock();
        past.silent = past.silent.saturating_sub(1);
        past.doubted = past.doubted.saturating_add(1);
        past.why = Some(why);
    }
}

impl Drop for Listened {
    fn drop(&mut self) {
        let mut past = self.connections.lock();
        match self.stage {
            Stage::Silent => past.silent = past.silent.saturating_sub(1),
            Stage::Live => past.live = past.live.saturating_sub(1),
            Stage::Doubted => {}
        }
    }
}

impl AsyncRead for Listened {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut this.wire).poll_read(context, into));
        if this.stage != Stage::Silent {
            return Poll::Ready(read);
        }
        let first = into.filled().get(before).copied();
        Poll::Ready(this.judge(read, first))
    }
}

impl AsyncWrite for Listened {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection whose other end has said this.
    async fn connection(said: &[u8], connections: &Connections) -> Listened {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        other.write_all(said).await.unwrap();
        Listened::new(Wire::Plain(stream), connections.clone())
    }

    async fn first_read(said: &[u8], connections: &Connections) -> io::Result<usize> {
        connection(said, connections).await.read(&mut [0; 16]).await
    }

    const REFUSAL: [u8; 7] = [ALERT, 3, 3, 0, 2, 2, 50];
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_call_whose_only_way_was_doubted_was_asked_of_nobody() {
        let connections = Connections::default();
        let begun = connections.begin();
        first_read(&REFUSAL, &connections).await.unwrap_err();
        assert_eq!(connections.never_asked(&begun).unwrap().doubt(), Some(Doubt::NoTls));
        first_read(&REFUSAL, &connections).await.unwrap_err();
        assert!(connections.never_asked(&begun).is_some(), "however often it was tried");
        assert!(connections.never_asked(&connections.begin()).is_none(), "what was before has nothing to do with it");
    }

    #[tokio::test]
    async fn a_call_that_may_have_gone_another_way_may_have_been_asked() {
        let connections = Connections::default();
        // One that ended without a word.
        let begun = connections.begin();
        assert_eq!(first_read(b"", &connections).await.unwrap(), 0);
        first_read(&REFUSAL, &connections).await.unwrap_err();
        assert!(connections.never_asked(&begun).is_none());
        // One that was silent when the call began, and one that was not.
        for said in [&b""[..], &SETTINGS] {
            let mut other = connection(said, &connections).await;
            let read = other.read(&mut [0; 16]).await.unwrap();
            assert_eq!(read, said.len());
            let begun = connections.begin();
            drop(other);
            first_read(&REFUSAL, &connections).await.unwrap_err();
            assert!(connections.never_asked(&begun).is_none(), "{said:?}");
        }
        let past = connections.lock();
        assert_eq!((past.made, past.doubted, past.silent, past.live), (6, 3, 0, 0));
    }
}
