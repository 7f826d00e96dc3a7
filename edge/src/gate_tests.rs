//! Who gets in, who is turned away, and who makes room.

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
    handshake_within: limits::HANDSHAKE_WITHIN,
    handshakes_per_address: limits::HANDSHAKES_PER_ADDRESS,
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
