//! The thread `support-tls`: accepts and opens the connections of the support link, and has both ends prove who they are.
//!
//! A handshake costs as much as some ten thousand heartbeats, and whoever reaches the port may ask for one. So none is taken part in by the
//! thread that sends heartbeats: what is proved is handed to it, socket and keys, and from there on bytes are sealed and opened. A flood of
//! handshakes costs time of this thread, and makes those wait that connect anew; heartbeats over connections that stand do not feel it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holdfast_edge::budget::stranger;
use holdfast_edge::handshake::{End, Failure, Handshakes};
use holdfast_trust::{Callee, Callers, Speaks, Trust, server_name};
use holdfast_types::{SiteName, limits};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::outgoing::Sockets;
use super::proving::{Failed, Proved, Proving};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_TOKEN: usize = 2;
/// Ready sockets looked at in one go.
const EVENTS: usize = 256;
/// The name of the port in the log.
const PORT: &str = "heartbeats";

/// One attempt to reach a store, among all that there were.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Attempt(u64);

/// A connection to a store of this site is wanted.
struct Order {
    attempt: Attempt,
    address: SocketAddr,
    site: SiteName,
}

/// What it has found out.
pub(crate) enum Found {
    /// A store called, and has proved whose it is.
    Called(Proved, SocketAddr),
    /// A store was reached, and has proved whose it is.
    Reached(Attempt, Proved),
    /// It was not.
    NotReached(Attempt, Failed),
}

/// The thread, as the support thread has it. It ends when this is dropped, and the port is free then.
pub(crate) struct Prover {
    orders: SyncSender<Order>,
    waker: Waker,
    found: Receiver<Found>,
    handshakes: Arc<Handshakes>,
    next_attempt: u64,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Prover {
    /// Starts it. `told`: wakes whoever takes what was found.
    pub(crate) fn start(trust: Arc<Trust>, listener: TcpListener, told: Arc<Waker>) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (orders, ordered) = sync_channel(limits::ADDRESSED_STORES);
        let (finds, found) = sync_channel(limits::SUPPORT_PROVED_WAITING);
        let handshakes = Arc::new(Handshakes::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Ends { orders: ordered, finds, told, is_over: Arc::clone(&is_over) };
        let mut thread = Thread::new(trust, listener, poll, ends, Arc::clone(&handshakes))?;
        let thread = std::thread::Builder::new().name("support-tls".to_owned()).spawn(move || thread.run())?;
        Ok(Self { orders, waker, found, handshakes, next_attempt: 0, is_over, thread: Some(thread) })
    }

    /// Begins an attempt to reach a store of this site. What becomes of it is found sooner or later; nothing, when there is too much else.
    pub(crate) fn reach(&mut self, address: SocketAddr, site: &SiteName) -> std::io::Result<Attempt> {
        let attempt = Attempt(self.next_attempt);
        self.next_attempt += 1;
        let order = Order { attempt, address, site: site.clone() };
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => std::io::Error::new(ErrorKind::ResourceBusy, "too many handshakes wait"),
            TrySendError::Disconnected(_) => {
                std::io::Error::new(ErrorKind::BrokenPipe, "the thread for handshakes has ended")
            }
        })?;
        self.waker.wake()?;
        Ok(attempt)
    }

    /// What was found since; never waits.
    pub(crate) fn next(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }

    /// What became of handshakes.
    pub(crate) fn handshakes(&self) -> &Arc<Handshakes> {
        &self.handshakes
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let thread = self.thread.take().filter(|_| self.waker.wake().is_ok());
        // It waits for nothing but its sockets and this. When it has panicked, that was said already.
        let _ = thread.map(JoinHandle::join);
    }
}

/// How the thread hears and tells.
struct Ends {
    orders: Receiver<Order>,
    finds: SyncSender<Found>,
    told: Arc<Waker>,
    is_over: Arc<AtomicBool>,
}

/// Which side a handshake is on, and with whom.
#[derive(Clone, Copy)]
enum Side {
    Called(SocketAddr),
    Calling(Attempt),
}

/// - At most [`limits::SUPPORT_HANDSHAKES`] handshakes of those who call, and of one address at most
///   [`limits::SUPPORT_HANDSHAKES_PER_ADDRESS`]. Beyond that one that has taken long makes room, or the newcomer is turned away.
/// - None takes longer than [`limits::SUPPORT_HANDSHAKE_WITHIN`].
/// - Never waits for anything but its sockets.
struct Thread {
    trust: Arc<Trust>,
    config: Arc<ServerConfig>,
    poll: Poll,
    sockets: Sockets,
    listener: TcpListener,
    /// There may be more connections to accept; it will not be reported again.
    may_accept: bool,
    ends: Ends,
    handshakes: Arc<Handshakes>,
    under_way: BTreeMap<Token, (Proving, Side)>,
}

impl Thread {
    fn new(
        trust: Arc<Trust>,
        mut listener: TcpListener,
        poll: Poll,
        ends: Ends,
        handshakes: Arc<Handshakes>,
    ) -> std::io::Result<Self> {
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let sockets = Sockets::new(poll.registry().try_clone()?, FIRST_TOKEN);
        let config = trust.server_for(Callers::Stores, Speaks::Support);
        Ok(Self {
            trust,
            config,
            poll,
            sockets,
            listener,
            may_accept: false,
            ends,
            handshakes,
            under_way: BTreeMap::new(),
        })
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.ends.is_over.load(Ordering::Acquire) {
            while let Ok(Order { attempt, address, site }) = self.ends.orders.try_recv() {
                self.reach(attempt, address, site);
            }
            if let Err(error) = self.poll.poll(&mut events, self.wait()) {
                // The kernel clears nothing on an error, neither may we use what is left of the last time.
                events.clear();
                if error.kind() != ErrorKind::Interrupted {
                    tracing::error!(%error, "sockets of support handshakes cannot be polled");
                    std::thread::sleep(limits::ACCEPT_PAUSE);
                }
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.may_accept = true,
                    WAKER => {}
                    token => self.go_on(token),
                }
            }
            if self.may_accept {
                self.may_accept = self.accept(Instant::now());
            }
            self.expire(Instant::now());
        }
    }

    fn wait(&self) -> Option<Duration> {
        if self.may_accept {
            return Some(Duration::ZERO);
        }
        let first = self.under_way.values().map(|(proving, _)| proving.began).min();
        let deadline = first.map(|began| began + limits::SUPPORT_HANDSHAKE_WITHIN);
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn reach(&mut self, attempt: Attempt, address: SocketAddr, site: SiteName) {
        let begun = self.begin_reaching(address, site);
        match begun {
            Ok(proving) => self.begin(proving, Side::Calling(attempt)),
            Err(why) => self.tell(Found::NotReached(attempt, (Failure::Gone, why))),
        }
    }

    fn begin_reaching(&self, address: SocketAddr, site: SiteName) -> Result<Proving, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let config = self.trust.client_for(Callee::StoreOf(site), Speaks::Support);
        let session = ClientConnection::new(config, server_name(&address.ip().to_string()));
        let session = session.map_err(|error| error.to_string())?;
        Ok(Proving::new(stream, session.into(), self.trust.own(), Instant::now()))
    }

    /// Takes connections that wait; returns whether there may be more.
    fn accept(&mut self, now: Instant) -> bool {
        for _ in 0..limits::SUPPORT_ACCEPT_TURN {
            let (stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) => {
                    // Mostly too many open files. The next one that connects tries again.
                    tracing::warn!(%error, "a support connection could not be accepted");
                    return false;
                }
            };
            if !self.make_room(from.ip(), now) {
                self.handshakes.note_failed(PORT, from, Failure::Crowded, "too many handshakes are under way");
                continue;
            }
            let session = stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())
                .and_then(|()| ServerConnection::new(Arc::clone(&self.config)).map_err(|error| error.to_string()));
            match session {
                Ok(session) => {
                    let proving = Proving::new(stream, session.into(), self.trust.own(), now);
                    self.begin(proving, Side::Called(from));
                }
                Err(why) => self.handshakes.note_failed(PORT, from, Failure::Gone, &why),
            }
        }
        true
    }

    /// Sees to it that one more from this address can begin; false: those who are there have begun only now.
    fn make_room(&mut self, address: IpAddr, now: Instant) -> bool {
        let address = stranger(address);
        let called = self.under_way.iter().filter_map(|(token, (proving, side))| match side {
            Side::Called(from) => Some((*token, proving.began, stranger(from.ip()))),
            Side::Calling(_) => None,
        });
        let mine = called.clone().filter(|(_, _, from)| *from == address);
        let oldest = if mine.clone().count() >= limits::SUPPORT_HANDSHAKES_PER_ADDRESS {
            mine.min_by_key(|(_, began, _)| *began)
        } else if called.clone().count() >= limits::SUPPORT_HANDSHAKES {
            called.min_by_key(|(_, began, _)| *began)
        } else {
            return true;
        };
        let Some((token, began, _)) = oldest else { return false };
        let is_slow = now.saturating_duration_since(began) >= limits::HANDSHAKE_BEFORE_MAKING_ROOM;
        if is_slow {
            self.end(token, (Failure::Crowded, "it made room for another handshake".to_owned()));
        }
        is_slow
    }

    fn begin(&mut self, mut proving: Proving, side: Side) {
        match self.sockets.register(&mut proving.stream) {
            Ok(token) => {
                self.under_way.insert(token, (proving, side));
                // What came before is not reported, and a caller may speak first.
                self.go_on(token);
            }
            Err(error) => self.fail(side, (Failure::Gone, error.to_string())),
        }
    }

    /// The socket of a handshake is ready for something.
    fn go_on(&mut self, token: Token) {
        let Some((proving, _)) = self.under_way.get_mut(&token) else { return };
        match proving.go_on() {
            Ok(false) => {}
            Ok(true) => self.finish(token),
            Err(failed) => self.end(token, failed),
        }
    }

    fn finish(&mut self, token: Token) {
        let Some((mut proving, side)) = self.under_way.remove(&token) else { return };
        if let Err(error) = self.poll.registry().deregister(&mut proving.stream) {
            return self.fail(side, (Failure::Gone, error.to_string()));
        }
        let end = if matches!(side, Side::Called(_)) { End::Called } else { End::Calling };
        match (proving.prove(end, &self.trust, Instant::now()), side) {
            (Ok(proved), Side::Called(from)) => {
                self.handshakes.note_done();
                self.tell(Found::Called(proved, from));
            }
            (Ok(proved), Side::Calling(attempt)) => {
                self.handshakes.note_done();
                self.tell(Found::Reached(attempt, proved));
            }
            (Err(failed), side) => self.fail(side, failed),
        }
    }

    fn end(&mut self, token: Token, failed: Failed) {
        if let Some((_, side)) = self.under_way.remove(&token) {
            self.fail(side, failed);
        }
    }

    fn fail(&self, side: Side, failed: Failed) {
        match side {
            Side::Called(from) => self.handshakes.note_failed(PORT, from, failed.0, &failed.1),
            // The support thread says in the log which store that was.
            Side::Calling(attempt) => self.tell(Found::NotReached(attempt, failed)),
        }
    }

    fn expire(&mut self, now: Instant) {
        let is_late = |proving: &Proving| now >= proving.began + limits::SUPPORT_HANDSHAKE_WITHIN;
        let late = self.under_way.iter().filter(|(_, (proving, _))| is_late(proving)).map(|(token, _)| *token);
        for token in late.collect::<Vec<_>>() {
            self.end(token, (Failure::Late, "the handshake was not over in time".to_owned()));
        }
    }

    /// What cannot be told now is dropped, and its socket closed: the support thread is far behind, and whoever waits tries again.
    fn tell(&self, found: Found) {
        if let Err(TrySendError::Full(_)) = self.ends.finds.try_send(found) {
            tracing::debug!("a support connection was dropped: too many wait for the support thread");
        }
        if let Err(error) = self.ends.told.wake() {
            tracing::warn!(%error, "the support thread could not be woken; it looks by itself within a heartbeat");
        }
    }
}
