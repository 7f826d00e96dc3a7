//! The gate of a port: accepts connections up to its limit, and pauses there.
//!
//! At the limit the connection that has been idle for longest makes room: an honest client connects again when it has something to ask. When
//! none is idle, it is one that has a request and over which nothing has moved for long, of the address that has most connections. When all
//! of them move, newcomers wait in the kernel's queue. An address that has as many as it may have makes room for itself in the same way. Being short of descriptors is a pause as well: an accept loop that tries again at
//! once would take a whole core, and the connection that waits would wake it each time.
//!
//! With TLS a connection has its seat before its handshake, and counts as idle until that is over. Handshakes run beside accepting.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _};
use holdfast_trust::Party;
use holdfast_types::limits;
use parking_lot::Mutex;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::budget::{Account, Budget, stranger};
use crate::connection::{Connection, Lasts, MADE_ROOM, Socket, UNWANTED};
use crate::handshake::{Handshakes, Keeper, Security};
use crate::stream;
use crate::turns::Turns;

/// What a port lets in.
#[derive(Clone, Copy, Debug)]
pub struct PortLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Of these, from one address.
    pub per_address: usize,
    /// A connection that makes no request within this time is ended. `None`: requests are not seen on this port.
    pub first_request_within: Option<Duration>,
    /// A connection is ended after this, whatever it does. `None`: it may stay.
    pub lives_for: Option<Duration>,
    /// A connection that has been without a request for so long makes room for the next.
    pub idle_before_making_room: Duration,
    /// Bytes held for all connections.
    pub bytes: usize,
    /// Frames of HTTP/2 come, and are paid for.
    pub speaks_http2: bool,
    /// With TLS: a connection that has not proved who it is within this time is ended.
    pub handshake_within: Duration,
    /// With TLS: handshakes under way from one address; more wait for their turn.
    pub handshakes_per_address: usize,
}

/// A port, as its connections and its metrics see it.
pub struct Port {
    /// What it lets in.
    pub limits: PortLimits,
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// The bytes held for its connections.
    pub budget: Arc<Budget>,
    seats: Mutex<Seats>,
    freed: Notify,
    turned_away: AtomicU64,
    pub(crate) turns: Arc<Turns>,
    handshakes: Handshakes,
}

#[derive(Default)]
struct Seats {
    by_number: BTreeMap<u64, Weak<Connection>>,
    by_address: HashMap<IpAddr, usize>,
    next: u64,
}

impl Port {
    /// A port without connections.
    #[must_use]
    pub fn new(name: &'static str, limits: PortLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            name,
            budget: Budget::new(limits.bytes),
            seats: Mutex::default(),
            freed: Notify::new(),
            turned_away: AtomicU64::new(0),
            turns: Turns::new(limits.handshakes_per_address),
            handshakes: Handshakes::default(),
        })
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seats.lock().by_number.len()
    }

    /// Connections that were ended at once or to make room, since the start.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// What became of handshakes; on a plain port there are none.
    #[must_use]
    pub fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Ends the connections of these parties, as soon as they are polled; returns how many that were. A handshake that is not over counts for
    /// nobody yet.
    pub fn end_where(&self, is_unwanted: impl Fn(&Party) -> bool) -> usize {
        let all = self.all();
        let unwanted = all.iter().filter(|connection| connection.party().is_some_and(&is_unwanted));
        unwanted.map(|connection| connection.end(UNWANTED)).count()
    }

    /// Gives a connection its seat. `None`: its address has as many as it may have.
    fn seat(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<Seat> {
        let mut seats = self.seats.lock();
        let address = stranger(connection.from.ip());
        let mine = seats.by_address.entry(address).or_default();
        if *mine >= self.limits.per_address {
            return None;
        }
        *mine += 1;
        let number = seats.next;
        seats.next += 1;
        seats.by_number.insert(number, Arc::downgrade(connection));
        Some(Seat { port: Arc::clone(self), number, address })
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        self.seats.lock().by_number.values().filter_map(Weak::upgrade).collect()
    }

    /// The address with most connections.
    fn largest(&self) -> Option<IpAddr> {
        let seats = self.seats.lock();
        seats.by_address.iter().max_by_key(|(_, connections)| **connections).map(|(address, _)| *address)
    }

    /// Ends the connection that has been idle for longest, if one has been for long enough: of all, or of one address. Else one over which
    /// nothing has moved for long. Returns whether there was one.
    fn make_room(&self, of: Option<IpAddr>, now: Instant) -> bool {
        let is_of =
            |connection: &Connection, of: Option<IpAddr>| of.is_none_or(|of| stranger(connection.from.ip()) == of);
        let all = self.all();
        let longest = |of: Option<IpAddr>, least: Duration, since: &dyn Fn(&Connection) -> Option<Duration>| {
            let asked = all.iter().filter(|connection| is_of(connection, of));
            let long = asked.filter_map(|connection| Some((since(connection)?, connection)));
            long.filter(|(since, _)| *since >= least).max_by_key(|(since, _)| *since).map(|(_, connection)| connection)
        };
        let idle = longest(of, self.limits.idle_before_making_room, &|connection| connection.idle_for(now));
        let ended = idle.or_else(|| {
            let of = of.or_else(|| self.largest());
            longest(of, limits::UNMOVED_BEFORE_MAKING_ROOM, &|connection| connection.unmoved_for(now))
        });
        if let Some(connection) = ended {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            connection.end(MADE_ROOM);
        }
        ended.is_some()
    }

    /// Waits until a connection more may come.
    async fn room(&self) {
        while self.connections() >= self.limits.connections {
            self.make_room(None, Instant::now());
            // A connection that becomes idle tells nobody.
            let _ = tokio::time::timeout(limits::ACCEPT_PAUSE, self.freed.notified()).await;
        }
    }

    /// Looks after connections whose clients take nothing, for as long as the port lives.
    async fn watch(port: Weak<Self>) {
        loop {
            tokio::time::sleep(limits::UNTAKEN_LOOKED_AT_EVERY).await;
            let Some(port) = port.upgrade() else { return };
            let now = Instant::now();
            port.all().iter().for_each(|connection| connection.let_go(now));
        }
    }

    /// Looks after handshakes that take long, and connections of those who are not trusted any more, for as long as the port lives.
    async fn watch_trust(port: Weak<Self>, security: Security) {
        let mut seen = 0;
        loop {
            tokio::time::sleep(limits::DISTRUST_LOOKED_AT_EVERY).await;
            let Some(port) = port.upgrade() else { return };
            port.turns.make_room(Instant::now());
            let generation = security.trust.generation();
            if seen != generation {
                seen = generation;
                port.end_where(|party| security.trust.is_distrusted(&party.principal));
            }
        }
    }
}

/// A connection's place at its port, free again when dropped.
pub(crate) struct Seat {
    port: Arc<Port>,
    number: u64,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.port.seats.lock();
        seats.by_number.remove(&self.number);
        if let Some(mine) = seats.by_address.get_mut(&self.address) {
            *mine -= 1;
            if *mine == 0 {
                seats.by_address.remove(&self.address);
            }
        }
        drop(seats);
        self.port.freed.notify_one();
    }
}

/// Accepts the connections of a port.
pub struct Gate {
    door: Door,
    /// `None`: the port is plain.
    keeper: Option<Keeper>,
    proving: FuturesUnordered<Proving>,
}

/// A connection that proves who is there; `None`: it did not.
type Proving = Pin<Box<dyn Future<Output = Option<Socket>> + Send>>;

impl Gate {
    /// On a listener; within a runtime. Connections are plain.
    #[must_use]
    pub fn new(listener: TcpListener, port: Arc<Port>) -> Self {
        Self::secured(listener, port, None)
    }

    /// The same with TLS, unless there is none.
    #[must_use]
    pub fn secured(listener: TcpListener, port: Arc<Port>, security: Option<Security>) -> Self {
        tokio::spawn(Port::watch(Arc::downgrade(&port)));
        let keeper = security.map(|security| {
            tokio::spawn(Port::watch_trust(Arc::downgrade(&port), security.clone()));
            Keeper::new(Arc::clone(&port), security)
        });
        let door = Door { listener, port, newcomer: None, said_at: None };
        Self { door, keeper, proving: FuturesUnordered::new() }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.door.listener.local_addr()
    }

    /// The next connection, and with TLS the next that has proved who it is. Waits while the port has as many as it may have, or the process as
    /// many files.
    pub async fn accept(&mut self) -> Socket {
        let Some(keeper) = &self.keeper else {
            let Admitted { stream, connection, seat } = self.door.next().await;
            let port = &self.door.port;
            return Socket::new(stream::Stream::Plain(stream), connection, port, seat, Lasts::at(port));
        };
        loop {
            tokio::select! {
                // Each has a seat: there are no more of them than the port has connections.
                Some(proved) = self.proving.next(), if !self.proving.is_empty() => {
                    if let Some(socket) = proved {
                        return socket;
                    }
                }
                admitted = self.door.next() => self.proving.push(Box::pin(keeper.clone().prove(admitted))),
            }
        }
    }

    /// All connections that will come.
    pub fn incoming(self) -> impl Stream<Item = Result<Socket, Infallible>> + Send {
        futures::stream::unfold(self, async |mut gate| Some((Ok(gate.accept().await), gate)))
    }
}

/// A connection that has a seat, and has not been read from.
pub(crate) struct Admitted {
    pub(crate) stream: TcpStream,
    pub(crate) connection: Arc<Connection>,
    pub(crate) seat: Seat,
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    port: Arc<Port>,
    newcomer: Option<Newcomer>,
    said_at: Option<Instant>,
}

/// A connection that was accepted, and has no seat.
struct Newcomer {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// Another one of its address was ended, which leaves as soon as it is polled.
    waits_until: Option<tokio::time::Instant>,
}

impl Door {
    /// The next connection that has a seat. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Admitted {
        loop {
            if self.newcomer.is_none() {
                self.port.room().await;
                match self.listener.accept().await {
                    Ok((stream, from)) => {
                        let account = Account::new(Arc::clone(&self.port.budget), from.ip());
                        let connection = Connection::new(from, account);
                        self.newcomer = Some(Newcomer { stream, connection, waits_until: None });
                    }
                    Err(error) if is_exhausted(&error) => {
                        self.say(&format!("no connection can be accepted: {error}"));
                        self.port.make_room(None, Instant::now());
                        tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                    }
                    // The connection was gone before it was accepted.
                    Err(error) => tracing::debug!(port = self.port.name, %error, "accepting"),
                }
            }
            if let Some(admitted) = self.admit().await {
                return admitted;
            }
        }
    }

    /// Gives the newcomer a seat. `None`: there is none, or no newcomer.
    async fn admit(&mut self) -> Option<Admitted> {
        let newcomer = self.newcomer.as_mut()?;
        let from = newcomer.connection.from;
        let mut seat = self.port.seat(&newcomer.connection);
        while seat.is_none() {
            if newcomer.waits_until.is_none() && self.port.make_room(Some(stranger(from.ip())), Instant::now()) {
                newcomer.waits_until = Some(tokio::time::Instant::now() + limits::ACCEPT_PAUSE);
            }
            let Some(until) = newcomer.waits_until else { break };
            if tokio::time::timeout_at(until, self.port.freed.notified()).await.is_err() {
                break;
            }
            seat = self.port.seat(&newcomer.connection);
        }
        let Newcomer { stream, connection, .. } = self.newcomer.take()?;
        let Some(seat) = seat else {
            self.port.turned_away.fetch_add(1, Ordering::Relaxed);
            let most = self.port.limits.per_address;
            self.say(&format!("{} has {most} connections, and gets no more", from.ip()));
            return None;
        };
        // With a small part unsent in the kernel, what was written was nearly taken.
        let set =
            SockRef::from(&stream).set_tcp_notsent_lowat(limits::UNSENT_BYTES).and_then(|()| stream.set_nodelay(true));
        if let Err(error) = set {
            tracing::debug!(port = self.port.name, %error, "a connection was gone before it was served");
            return None;
        }
        Some(Admitted { stream, connection, seat })
    }

    /// Strangers cause these lines: now and then one is enough.
    fn say(&mut self, what: &str) {
        let now = Instant::now();
        if self.said_at.is_none_or(|said| now.duration_since(said) >= limits::TURNED_AWAY_SAID_EVERY) {
            self.said_at = Some(now);
            tracing::warn!(port = self.port.name, connections = self.port.connections(), "{what}");
        }
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
