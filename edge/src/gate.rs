//! The gate of a port: accepts connections up to its limit, and pauses there.
//!
//! At the limit the connection that has been idle for longest makes room: an honest client connects again when it has something to ask. When
//! none is idle, it is one that has a request and over which nothing has moved for long, of the address that has most connections. When all
//! of them move, newcomers wait in the kernel's queue. An address that has as many as it may have makes room for itself in the same way. Being short of descriptors is a pause as well: an accept loop that tries again at
//! once would take a whole core, and the connection that waits would wake it each time.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::Stream;
use holdfast_types::limits;
use parking_lot::Mutex;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::budget::{Account, Budget, stranger};
use crate::connection::{Connection, Socket};

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
            connection.end();
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
    listener: TcpListener,
    port: Arc<Port>,
    said_at: Option<Instant>,
}

impl Gate {
    /// On a listener; within a runtime.
    #[must_use]
    pub fn new(listener: TcpListener, port: Arc<Port>) -> Self {
        tokio::spawn(Port::watch(Arc::downgrade(&port)));
        Self { listener, port, said_at: None }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection. Waits while the port has as many as it may have, or the process as many files.
    pub async fn accept(&mut self) -> Socket {
        loop {
            self.port.room().await;
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    if let Some(socket) = self.admit(stream, from).await {
                        return socket;
                    }
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
    }

    async fn admit(&mut self, stream: TcpStream, from: SocketAddr) -> Option<Socket> {
        let account = Account::new(Arc::clone(&self.port.budget), from.ip());
        let connection = Connection::new(from, account);
        let mut seat = self.port.seat(&connection);
        if seat.is_none() && self.port.make_room(Some(stranger(from.ip())), Instant::now()) {
            // The one that was ended leaves as soon as it is polled.
            let until = tokio::time::Instant::now() + limits::ACCEPT_PAUSE;
            while seat.is_none() && tokio::time::timeout_at(until, self.port.freed.notified()).await.is_ok() {
                seat = self.port.seat(&connection);
            }
        }
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
        Some(Socket::new(stream, connection, &self.port, seat))
    }

    /// Strangers cause these lines: now and then one is enough.
    fn say(&mut self, what: &str) {
        let now = Instant::now();
        if self.said_at.is_none_or(|said| now.duration_since(said) >= limits::TURNED_AWAY_SAID_EVERY) {
            self.said_at = Some(now);
            tracing::warn!(port = self.port.name, connections = self.port.connections(), "{what}");
        }
    }

    /// All connections that will come.
    pub fn incoming(self) -> impl Stream<Item = Result<Socket, Infallible>> + Send {
        futures::stream::unfold(self, async |mut gate| Some((Ok(gate.accept().await), gate)))
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tonic::transport::server::Connected as _;

    use super::*;

    const LIMITS: PortLimits = PortLimits {
        connections: 4,
        per_address: 3,
        first_request_within: None,
        lives_for: None,
        idle_before_making_room: Duration::from_secs(1),
        bytes: 1 << 20,
        speaks_http2: true,
    };

    async fn gate(limits: PortLimits) -> (Gate, SocketAddr, Arc<Port>) {
        let port = Port::new("test", limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Gate::new(listener, Arc::clone(&port)), address, port)
    }

    /// A connection from an address of the loopback network.
    async fn connect(to: SocketAddr, from: u8) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Reads what comes within a moment; returns how much.
    async fn read_for(socket: &mut Socket, within: Duration) -> usize {
        let mut buffer = vec![0; 4 << 10];
        let (mut read, until) = (0, tokio::time::Instant::now() + within);
        while let Ok(more) = tokio::time::timeout_at(until, socket.read(&mut buffer)).await {
            read += more.unwrap();
        }
        read
    }

    #[tokio::test]
    async fn who_sends_frames_and_says_nothing_is_read_later_and_strangers_are_not() {
        let (mut gate, address, port) = gate(LIMITS).await;
        let mut flooding = connect(address, 2).await;
        let mut flooded = gate.accept().await;
        let (preface, burst) = ([0; 24], usize::try_from(limits::FRAMES_BURST).unwrap());
        // Settings without a setting.
        let frames = [0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(burst * 2);
        let flood = tokio::spawn(async move {
            flooding.write_all(&preface).await.unwrap();
            // It may not come to its end.
            let _ = flooding.write_all(&frames).await;
            flooding
        });
        let second = Duration::from_secs(1);
        let read = read_for(&mut flooded, second).await / 9;
        assert!(read >= burst && read < 2 * burst, "{read} frames were read");
        let mut stranger = connect(address, 3).await;
        let mut served = gate.accept().await;
        stranger.write_all(&[0; 24 + 64 * 9]).await.unwrap();
        assert_eq!(read_for(&mut served, second).await, 24 + 64 * 9);
        drop((flood.await, port));
    }

    #[tokio::test]
    async fn one_address_gets_its_share_of_the_connections_and_another_still_gets_in() {
        let (mut gate, address, port) = gate(LIMITS).await;
        let mut seated = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(connect(address, 2).await);
            seated.push(gate.accept().await);
        }
        let requests: Vec<_> = seated.iter().map(|socket| socket.connect_info().0.begin_request()).collect();
        let mut fourth = connect(address, 2).await;
        clients.push(connect(address, 3).await);
        seated.push(gate.accept().await);
        assert_eq!(seated[3].from().ip(), IpAddr::from([127, 0, 0, 3]));
        assert_eq!((port.connections(), port.turned_away()), (4, 1));
        assert_eq!(fourth.read(&mut [0]).await.unwrap(), 0, "the fourth was ended");
        drop((requests, seated));
        assert_eq!(port.connections(), 0);
    }

    #[tokio::test]
    async fn at_the_limit_the_longest_idle_makes_room_and_who_has_a_request_does_not() {
        let limits = PortLimits { connections: 2, per_address: 2, ..LIMITS };
        let (mut gate, address, port) = gate(limits).await;
        let _clients = (connect(address, 2).await, connect(address, 3).await);
        let (busy, mut idle) = (gate.accept().await, gate.accept().await);
        let busy_connection = busy.connect_info().0;
        let _request = busy_connection.begin_request();
        let _third = connect(address, 4).await;
        let end = async {
            let failed = idle.read(&mut [0]).await.unwrap_err();
            drop(idle);
            failed.kind()
        };
        let (third, failed) = tokio::join!(gate.accept(), end);
        assert_eq!((third.from().ip(), failed), (IpAddr::from([127, 0, 0, 4]), io::ErrorKind::ConnectionAborted));
        assert!(busy_connection.idle_for(Instant::now()).is_none());
        assert_eq!((port.connections(), port.turned_away()), (2, 1));
    }

    #[tokio::test]
    async fn who_asks_nothing_in_time_is_ended() {
        let limits = PortLimits { first_request_within: Some(Duration::from_millis(50)), ..LIMITS };
        let (mut gate, address, _) = gate(limits).await;
        let _client = connect(address, 2).await;
        let mut socket = gate.accept().await;
        assert_eq!(socket.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_address_that_is_full_makes_room_for_itself() {
        let limits = PortLimits { per_address: 1, idle_before_making_room: Duration::ZERO, ..LIMITS };
        let (mut gate, address, port) = gate(limits).await;
        let _clients = (connect(address, 3).await, connect(address, 2).await);
        let (_other, mut idle) = (gate.accept().await, gate.accept().await);
        let _newcomer = connect(address, 2).await;
        let end = async {
            let failed = idle.read(&mut [0]).await.unwrap_err();
            drop(idle);
            failed.kind()
        };
        let (newcomer, failed) = tokio::join!(gate.accept(), end);
        assert_eq!((newcomer.from().ip(), failed), (IpAddr::from([127, 0, 0, 2]), io::ErrorKind::ConnectionAborted));
        assert_eq!((port.connections(), port.turned_away()), (2, 1));
    }

    #[tokio::test]
    async fn where_none_is_idle_one_of_the_largest_address_that_moves_nothing_makes_room() {
        let (mut gate, address, port) = gate(LIMITS).await;
        let mut sockets = Vec::new();
        let mut clients = Vec::new();
        for from in [3, 2, 2] {
            clients.push(connect(address, from).await);
            sockets.push(gate.accept().await);
        }
        let connections: Vec<_> = sockets.iter().map(|socket| socket.connect_info().0).collect();
        let _requests: Vec<_> = connections.iter().map(Connection::begin_request).collect();
        let soon = Instant::now() + limits::UNMOVED_BEFORE_MAKING_ROOM / 2;
        assert!(!port.make_room(None, soon), "none has stood still for long");
        let later = Instant::now() + limits::UNMOVED_BEFORE_MAKING_ROOM;
        assert!(port.make_room(None, later) && port.make_room(None, later));
        let is_ended = |connection: &Arc<Connection>| connection.unmoved_for(later).is_none();
        assert_eq!(connections.iter().map(is_ended).collect::<Vec<_>>(), [false, true, true], "the single one stays");
    }

    #[tokio::test]
    async fn a_connection_whose_answer_was_let_go_is_ended() {
        use http_body::Body as _;
        use tonic::body::Body;

        use crate::budget::Charge;
        use crate::ledger::Ledger;
        use crate::paced::{Open, Paced, TakenBy};

        let (mut gate, address, _port) = gate(LIMITS).await;
        let _client = connect(address, 2).await;
        let mut socket = gate.accept().await;
        let connection = socket.connect_info().0;
        let open = Open {
            connection: Arc::clone(&connection),
            open: connection.begin_request(),
            charge: Charge::none(&connection.account),
            conversation: None,
        };
        let now = Instant::now();
        let paced = Paced::new(Body::empty(), Ledger::new(&connection.account), Some(TakenBy(now)), open);
        connection.let_go(now);
        assert_eq!(socket.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(!paced.is_end_stream(), "its body ends with an error");
    }
}
