//! One accepted connection: its socket, its account, its open requests, and who ends it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use holdfast_trust::Party;
use holdfast_types::limits;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::budget::Account;
use crate::frames::{self, Frames};
use crate::gate::{Port, Seat};
use crate::paced::Held;
use crate::stream::Stream;

/// Why a connection was ended: for others, who had a better right to its place.
pub(crate) const MADE_ROOM: &str = "ended to make room for others";
/// Why a connection was ended: what it was answered was not taken.
const UNTAKEN: &str = "ended, for an answer was not taken in time";
/// Why a connection was ended: its port was told to.
pub(crate) const UNWANTED: &str = "ended, for whoever is at the other end is not trusted any more";

/// A connection, as its requests and its port see it.
pub struct Connection {
    /// Where it came from.
    pub from: SocketAddr,
    pub(crate) account: Arc<Account>,
    /// Who is at the other end; empty until a handshake proved it.
    party: OnceLock<Party>,
    open_requests: AtomicUsize,
    conversations: AtomicUsize,
    /// It has made a request.
    has_asked: AtomicBool,
    /// When its last request ended, or it was accepted.
    idle_since: Mutex<Instant>,
    /// Why it is ended; empty: it is not.
    ended: OnceLock<&'static str>,
    waker: AtomicWaker,
    /// Responses under way: what a stalled reader is made to let go.
    responses: Mutex<BTreeMap<u64, Weak<Mutex<Held>>>>,
    next_response: AtomicU64,
}

impl Connection {
    pub(crate) fn new(from: SocketAddr, account: Arc<Account>) -> Arc<Self> {
        Arc::new(Self {
            from,
            account,
            party: OnceLock::new(),
            open_requests: AtomicUsize::new(0),
            conversations: AtomicUsize::new(0),
            has_asked: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            ended: OnceLock::new(),
            waker: AtomicWaker::new(),
            responses: Mutex::default(),
            next_response: AtomicU64::new(0),
        })
    }

    /// Who is at the other end; `None` on a plain connection, and when nobody showed a certificate.
    #[must_use]
    pub fn party(&self) -> Option<&Party> {
        self.party.get()
    }

    /// A handshake proved who is at the other end.
    pub(crate) fn prove(&self, party: Party) {
        // There is one handshake.
        let _ = self.party.set(party);
    }

    /// Ends it: its next reading and writing fail.
    pub(crate) fn end(&self, why: &'static str) {
        // The first reason stays.
        let _ = self.ended.set(why);
        self.waker.wake();
    }

    fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Waits until it is ended; returns why. Only before its socket is served.
    pub(crate) async fn ended(&self) -> &'static str {
        std::future::poll_fn(|cx| {
            self.waker.register(cx.waker());
            self.ended.get().map_or(Poll::Pending, |why| Poll::Ready(*why))
        })
        .await
    }

    /// How long it has had no request; `None`: it has one.
    pub(crate) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let is_idle = self.open_requests.load(Ordering::Acquire) == 0 && !self.is_ended();
        is_idle.then(|| now.saturating_duration_since(*self.idle_since.lock()))
    }

    /// A request begins; it ends when what is returned is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> OpenRequest {
        self.open_requests.fetch_add(1, Ordering::AcqRel);
        self.has_asked.store(true, Ordering::Release);
        OpenRequest(Arc::clone(self))
    }

    pub(crate) fn watch(self: &Arc<Self>, held: &Arc<Mutex<Held>>) -> Watched {
        let number = self.next_response.fetch_add(1, Ordering::Relaxed);
        self.responses.lock().insert(number, Arc::downgrade(held));
        Watched { connection: Arc::clone(self), number }
    }

    /// Lets go of answers that nobody takes, and then of the connection: what it was handed of them stays with it for as long as it lives.
    pub(crate) fn let_go(&self, now: Instant) {
        let responses: Vec<_> = self.responses.lock().values().filter_map(Weak::upgrade).collect();
        for response in responses {
            // What was held is dropped behind the lock: dropping a body may wake and drop much else.
            let stale = response.lock().let_go(now);
            if stale.is_some() {
                self.end(UNTAKEN);
            }
            drop(stale);
        }
    }

    /// How long neither a message came over it nor anything of an answer was taken; `None`: it is ended.
    pub(crate) fn unmoved_for(&self, now: Instant) -> Option<Duration> {
        (!self.is_ended()).then(|| self.account.unmoved_for(now))
    }

    /// One more conversation; `None`: there are as many as there may be.
    pub(crate) fn begin_conversation(self: &Arc<Self>) -> Option<Conversation> {
        let begin = |open: usize| (open < limits::CONVERSATIONS_PER_CONNECTION).then_some(open + 1);
        let begun = self.conversations.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin);
        begun.is_ok().then(|| Conversation(Arc::clone(self)))
    }
}

/// A request that may last for ever, and say something whenever it likes.
pub(crate) struct Conversation(Arc<Connection>);

impl Drop for Conversation {
    fn drop(&mut self) {
        self.0.conversations.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request that is being served.
pub(crate) struct OpenRequest(Arc<Connection>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        *self.0.idle_since.lock() = Instant::now();
        self.0.open_requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response's place among those that are watched.
pub(crate) struct Watched {
    connection: Arc<Connection>,
    number: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.connection.responses.lock().remove(&self.number);
    }
}

/// The connection behind a request, in its extensions.
#[derive(Clone)]
pub struct Via(pub Arc<Connection>);

/// How long a connection may last, whatever it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasts {
    /// `None`: for as long as it likes.
    within: Option<Duration>,
    /// What is said when that is over.
    says: &'static str,
}

impl Lasts {
    /// As long as connections of this port do.
    pub(crate) fn at(port: &Port) -> Self {
        Self { within: port.limits.lives_for, says: "a connection to this port is ended after a while" }
    }

    /// As long as the certificates that it stands on.
    pub(crate) fn until_expiry(left: Duration) -> Self {
        Self { within: Some(left), says: "a certificate of this connection expires: connect again" }
    }

    /// The shorter of both.
    fn or(self, other: Self) -> Self {
        let is_shorter = other.within.is_some_and(|other| self.within.is_none_or(|within| other < within));
        if is_shorter { other } else { self }
    }
}

/// The socket of a connection. Fails once the connection is ended, and when no request comes in time.
pub struct Socket {
    stream: Stream,
    connection: Arc<Connection>,
    first_request: Option<Pin<Box<Sleep>>>,
    last: Option<Pin<Box<Sleep>>>,
    /// What is said when `last` is over.
    last_says: &'static str,
    /// Read without a pause.
    turn_bytes: usize,
    /// `None`: this port speaks something else than HTTP/2.
    frames: Option<Frames>,
    owed_frames: u64,
    /// It is not read before: it owes frames.
    pause: Option<Pin<Box<Sleep>>>,
    _seat: Seat,
}

impl Socket {
    pub(crate) fn new(stream: Stream, connection: Arc<Connection>, port: &Port, seat: Seat, lasts: Lasts) -> Self {
        let timer = |after: Option<Duration>| after.map(|after| Box::pin(tokio::time::sleep(after)));
        let lasts = lasts.or(Lasts::at(port));
        let (first_request, last) = (timer(port.limits.first_request_within), timer(lasts.within));
        let frames = port.limits.speaks_http2.then(Frames::new);
        if frames.is_some() {
            connection.account.begin_frames(Instant::now());
        }
        Self {
            stream,
            connection,
            first_request,
            last,
            last_says: lasts.says,
            turn_bytes: 0,
            frames,
            owed_frames: 0,
            pause: None,
            _seat: seat,
        }
    }

    /// Waits until what is owed was paid.
    fn poll_paid(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.owed_frames > 0 {
            if let Some(pause) = self.pause.as_mut() {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            self.owed_frames = self.connection.account.pay_frames(self.owed_frames, Instant::now());
            if self.owed_frames > 0 {
                self.pause = Some(Box::pin(tokio::time::sleep(frames::pause(self.owed_frames))));
            }
        }
        Poll::Ready(())
    }

    /// Where it came from.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.connection.from
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.connection.waker.register(cx.waker());
        if let Some(why) = self.connection.ended.get() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, *why));
        }
        let is_over = |timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>| {
            timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
        };
        if self.connection.has_asked.load(Ordering::Acquire) {
            self.first_request = None;
        } else if is_over(&mut self.first_request, cx) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time"));
        }
        if is_over(&mut self.last, cx) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, self.last_says));
        }
        Ok(())
    }

    /// With TLS these wait too, for what is encrypted and not written: whoever takes nothing must not keep his place by that.
    fn check_sealed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(_) => self.check(cx),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        if self.turn_bytes >= limits::READ_TURN_BYTES {
            self.turn_bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        std::task::ready!(self.poll_paid(cx));
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.turn_bytes = if read.is_ready() { self.turn_bytes + buf.filled().len() - before } else { 0 };
        if let Some(frames) = self.frames.as_mut() {
            self.owed_frames = frames.price(&buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_sealed(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_sealed(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Socket {
    type ConnectInfo = Via;

    fn connect_info(&self) -> Via {
        Via(Arc::clone(&self.connection))
    }
}
