//! Who proves who he is, who does not, and what neither costs others.

use std::net::IpAddr;

use holdfast_trust::authority::{Issued, Root, Scope, Validity};
use holdfast_trust::{Callee, Material, server_name};
use holdfast_types::principal::Kind;
use holdfast_types::{PrincipalName, SiteName, TrustDomain};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::server::Connected as _;

use super::*;
use crate::gate::{Gate, PortLimits};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);
const LIMITS: PortLimits = PortLimits {
    connections: 1_024,
    per_address: 512,
    first_request_within: None,
    lives_for: None,
    idle_before_making_room: PATIENCE,
    bytes: 8 << 20,
    speaks_http2: true,
    handshake_within: PATIENCE,
    handshakes_per_address: limits::HANDSHAKES_PER_ADDRESS,
};

fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

fn store(of: &str) -> Kind {
    Kind::Store(site(of))
}

fn client(name: &str) -> Kind {
    Kind::Client(PrincipalName::new(name).unwrap())
}

fn root() -> Root {
    Root::new(&TrustDomain::new("f.example").unwrap(), HOUR).unwrap()
}

fn scope_of(kind: &Kind) -> Scope {
    match kind {
        Kind::Store(site) => Scope::Site(site.clone()),
        Kind::Client(_) | Kind::Operator(_) => Scope::People,
    }
}

fn issued(root: &Root, kind: &Kind, validity: Validity) -> Issued {
    root.issuer(scope_of(kind), HOUR).unwrap().leaf_within(kind, &[], validity).unwrap()
}

/// Somebody whose certificate is good for an hour.
fn somebody(root: &Root, kind: &Kind) -> Arc<Trust> {
    Trust::from_material(issued(root, kind, Validity::from_now(HOUR)).material().unwrap())
}

/// Somebody whose certificate expires after so long.
fn mortal(root: &Root, kind: &Kind, after: Duration) -> Arc<Trust> {
    let now = SystemTime::now();
    Trust::from_material(issued(root, kind, Validity::between(now - HOUR, now + after)).material().unwrap())
}

/// A port that serves.
struct Served {
    address: SocketAddr,
    port: Arc<Port>,
    trust: Arc<Trust>,
    sockets: mpsc::UnboundedReceiver<Socket>,
}

impl Served {
    async fn new(root: &Root, callers: Callers, limits: PortLimits) -> Self {
        Self::with(somebody(root, &store("a")), callers, limits).await
    }

    async fn with(trust: Arc<Trust>, callers: Callers, limits: PortLimits) -> Self {
        let port = Port::new("test", limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let security = Security { trust: Arc::clone(&trust), callers };
        let mut gate = Gate::secured(listener, Arc::clone(&port), Some(security));
        let (served, sockets) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let socket = gate.accept().await;
                if served.send(socket).is_err() {
                    return;
                }
            }
        });
        Self { address, port, trust, sockets }
    }

    async fn next(&mut self) -> Socket {
        tokio::time::timeout(PATIENCE, self.sockets.recv()).await.expect("a connection in time").unwrap()
    }

    async fn until_failed(&self, why: Failure) {
        until(|| self.port.handshakes().failed(why) > 0).await;
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "what was awaited has not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A connection from an address of the loopback network.
async fn connect(to: SocketAddr, from: u8) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

async fn shake(trust: &Trust, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(trust.client(Callee::Store)).connect(server_name("127.0.0.1"), stream).await
}

/// What the other end says to whoever it does not let in.
async fn refusal(trust: &Trust, to: SocketAddr) -> String {
    let mut stream = shake(trust, connect(to, 2).await).await.expect("the caller's half of the handshake is over");
    explain_io(&stream.read(&mut [0]).await.unwrap_err()).expect("TLS says it")
}

fn who(socket: &Socket) -> Option<String> {
    socket.connect_info().0.party().map(|party| party.principal.to_string())
}

#[tokio::test]
async fn who_has_proved_who_he_is_is_served_and_known() {
    let root = root();
    let mut served = Served::new(&root, Callers::Anyone, LIMITS).await;
    let caller = somebody(&root, &client("billing"));
    let mut stream = shake(&caller, connect(served.address, 2).await).await.unwrap();
    let mut socket = served.next().await;
    assert_eq!(who(&socket).as_deref(), Some("spiffe://f.example/client/billing"));
    assert_eq!(socket.from().ip(), IpAddr::from([127, 0, 0, 2]));
    let said = vec![7; 100_000];
    let (heard, answered) = (&mut vec![0; said.len()], &mut [0; 3]);
    tokio::join!(async { stream.write_all(&said).await.unwrap() }, async {
        socket.read_exact(heard).await.unwrap();
    });
    assert!(*heard == said);
    socket.write_all(b"yes").await.unwrap();
    socket.flush().await.unwrap();
    stream.read_exact(answered).await.unwrap();
    assert_eq!((&*answered, served.port.handshakes().done()), (b"yes", 1));
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "clients of other makes insist on it");
    drop(socket);
    assert_eq!(served.port.budget.held_bytes(), 0);
}

#[tokio::test]
async fn who_cannot_prove_it_is_refused_and_counted_by_the_reason() {
    let (root, other, now) = (root(), root(), SystemTime::now());
    let ago = |seconds| now - Duration::from_secs(seconds);
    let expired = issued(&root, &store("b"), Validity::between(ago(240), ago(60)));
    let expired = [&expired.certificate_pem, &expired.key_pem, &expired.bundle_pem];
    let [certificate, key, bundle] = expired.map(|pem| pem.as_bytes());
    let expired = Trust::from_material(Material::from_pem_at(certificate, key, bundle, ago(120)).unwrap());
    // Its own root is another, and it believes ours nevertheless: it is for us to refuse it.
    let stranger = issued(&other, &store("b"), Validity::from_now(HOUR));
    let bundles = stranger.bundle_pem.clone() + &issued(&root, &store("b"), Validity::from_now(HOUR)).bundle_pem;
    let stranger =
        Material::from_pem(stranger.certificate_pem.as_bytes(), stranger.key_pem.as_bytes(), bundles.as_bytes());
    let stranger = Trust::from_material(stranger.unwrap());
    for (caller, why, says) in [
        (stranger, Failure::Untrusted, "leads to no root"),
        (expired, Failure::Expired, "expired"),
        (somebody(&root, &client("billing")), Failure::Unfit, "refuses our certificate"),
        (somebody(&root, &store("d")), Failure::Distrusted, "the fleet distrusts the site of this store"),
    ] {
        let served = Served::new(&root, Callers::Stores, LIMITS).await;
        served.trust.distrust([site("d")].into());
        let refusal = refusal(&caller, served.address).await;
        assert!(refusal.contains(says), "{why:?}: {refusal}");
        served.until_failed(why).await;
        let handshakes = served.port.handshakes();
        assert_eq!((handshakes.done(), handshakes.all_failed()), (0, 1), "{why:?}");
        until(|| served.port.connections() == 0).await;
        assert_eq!(served.port.budget.held_bytes(), 0);
    }
}

/// Whoever has no certificate.
#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn nobody_gets_in_only_where_nobody_may() {
    let root = root();
    let mut nobody = (*somebody(&root, &client("x")).client(Callee::Store)).clone();
    nobody.client_auth_cert_resolver = Arc::new(NoCertificate);
    let connector = TlsConnector::from(Arc::new(nobody));
    let call = async |served: &Served| {
        connector.connect(server_name("127.0.0.1"), connect(served.address, 2).await).await.unwrap()
    };
    for callers in [Callers::Stores, Callers::Anyone] {
        let served = Served::new(&root, callers, LIMITS).await;
        let mut stream = call(&served).await;
        assert!(stream.read(&mut [0]).await.is_err());
        served.until_failed(Failure::NoCertificate).await;
    }
    let mut served = Served::new(&root, Callers::AnyoneOrNobody, LIMITS).await;
    let mut stream = call(&served).await;
    let mut socket = served.next().await;
    assert_eq!(who(&socket), None);
    stream.write_all(b"x").await.unwrap();
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 1);
}

/// A hello that offers nothing newer than TLS 1.2.
fn hello_of_tls12() -> Vec<u8> {
    let mut hello = vec![0x03, 0x03];
    hello.extend([0x42; 32]);
    // No session, one suite, no compression, and the groups and signatures without which nobody could answer.
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend([0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let handshake = [vec![1, 0, 0, length], hello].concat();
    [vec![22, 3, 1, 0, length + 4], handshake].concat()
}

#[tokio::test]
async fn what_is_no_tls_of_today_is_refused_and_counted_by_the_reason() {
    let root = root();
    let long = [vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0], vec![0; 0x4000 - 4]].concat();
    let longer = [long, [vec![22, 3, 3, 0x40, 0], vec![0; 0x4000]].concat().repeat(2)].concat();
    for (sent, why) in [
        (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], Failure::Protocol),
        (&hello_of_tls12()[..], Failure::Protocol),
        (&longer[..], Failure::TooLong),
        (&b""[..], Failure::Gone),
    ] {
        let served = Served::new(&root, Callers::Anyone, LIMITS).await;
        let mut stream = connect(served.address, 2).await;
        // It may be over before the end of it.
        let _ = stream.write_all(sent).await;
        if sent.is_empty() {
            drop(stream);
        }
        served.until_failed(why).await;
        assert_eq!(served.port.handshakes().all_failed(), 1, "{why:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_over_in_time_is_ended() {
    let root = root();
    let limits = PortLimits { handshake_within: Duration::from_millis(50), ..LIMITS };
    let served = Served::new(&root, Callers::Anyone, limits).await;
    let mut silent = connect(served.address, 2).await;
    served.until_failed(Failure::Late).await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    until(|| served.port.connections() == 0).await;
}

#[tokio::test]
async fn who_begins_handshakes_and_never_ends_them_keeps_nobody_else_out() {
    let root = root();
    let limits = PortLimits { handshakes_per_address: 4, ..LIMITS };
    let mut served = Served::new(&root, Callers::Anyone, limits).await;
    let caller = somebody(&root, &client("billing"));
    let mut idle = Vec::new();
    // They come in before it does, and begin before it does.
    for _ in 0..8 {
        idle.push(connect(served.address, 2).await);
    }
    let _stream = shake(&caller, connect(served.address, 3).await).await.unwrap();
    assert_eq!(served.next().await.from().ip(), IpAddr::from([127, 0, 0, 3]));
    // One from the same address has its turn too: those who are slow make room.
    let _stream = shake(&caller, connect(served.address, 2).await).await.unwrap();
    assert_eq!(served.next().await.from().ip(), IpAddr::from([127, 0, 0, 2]));
    assert!(served.port.handshakes().failed(Failure::Crowded) > 0);
}

#[tokio::test]
async fn where_all_turns_are_taken_the_slow_make_room() {
    let root = root();
    let mut served = Served::new(&root, Callers::Anyone, LIMITS).await;
    let mut idle = Vec::new();
    // More than there are turns, and of no address as many as it may have.
    let of_one = limits::HANDSHAKES_PER_ADDRESS - 1;
    for at in 0..limits::HANDSHAKES + 8 {
        idle.push(connect(served.address, 10 + u8::try_from(at / of_one).unwrap()).await);
    }
    let caller = somebody(&root, &client("billing"));
    let _stream = shake(&caller, connect(served.address, 3).await).await.unwrap();
    served.next().await;
    assert!(served.port.handshakes().failed(Failure::Crowded) > 0);
}

#[tokio::test]
async fn what_tls_holds_is_counted_for_the_port_as_long_as_it_holds_it() {
    let root = root();
    let mut served = Served::new(&root, Callers::Anyone, LIMITS).await;
    let budget = Arc::clone(&served.port.budget);
    let silent = connect(served.address, 2).await;
    until(|| budget.held_bytes() == limits::HANDSHAKE_BYTES).await;
    drop(silent);
    until(|| budget.held_bytes() == 0).await;
    let caller = somebody(&root, &client("billing"));
    let stream = shake(&caller, connect(served.address, 2).await).await.unwrap();
    let mut socket = served.next().await;
    assert_eq!(budget.held_bytes(), limits::TLS_SESSION_BYTES);
    // The beginning of a record, of which nothing can be handed on.
    let (mut below, _) = stream.into_inner();
    below.write_all(&[23, 3, 3, 0x40, 0]).await.unwrap();
    below.write_all(&[0; 9_000]).await.unwrap();
    let mut buffer = [0; 8];
    let reading = socket.read(&mut buffer);
    assert!(tokio::time::timeout(Duration::from_millis(200), reading).await.is_err(), "there is nothing to read");
    let begun = budget.held_bytes() - limits::TLS_SESSION_BYTES;
    assert!((2 * 9_005..24 << 10).contains(&begun), "{begun}");
    // What nobody takes waits in the kernel, and some of it before.
    let writing = async { while socket.write(&[0; 32 << 10]).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(1), writing).await.is_err(), "nobody takes anything");
    assert_eq!(budget.held_bytes(), limits::TLS_SESSION_BYTES + begun + limits::TLS_UNSENT_BYTES);
    drop(socket);
    assert_eq!(budget.held_bytes(), 0);
}

/// Reads what comes within a moment; returns how much.
async fn read_for(socket: &mut (impl tokio::io::AsyncRead + Unpin), within: Duration) -> usize {
    let mut buffer = vec![0; 16 << 10];
    let (mut read, until) = (0, tokio::time::Instant::now() + within);
    while let Ok(more) = tokio::time::timeout_at(until, socket.read(&mut buffer)).await {
        read += more.unwrap();
    }
    read
}

#[tokio::test]
async fn what_counts_as_taken_is_as_near_to_being_taken_as_without_tls() {
    let root = root();
    let mut served = Served::new(&root, Callers::Anyone, LIMITS).await;
    let caller = somebody(&root, &client("billing"));
    let mut stream = shake(&caller, connect(served.address, 2).await).await.unwrap();
    let mut socket = served.next().await;
    let mut written = 0;
    let writing = async {
        loop {
            written += socket.write(&[0; 16 << 10]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), writing).await.is_err(), "nobody takes anything");
    // What the kernel has arrives; what was not given to it lies in TLS, and there is little of it. A record that it has in part cannot be read.
    let (taken, record) = (read_for(&mut stream, Duration::from_secs(1)).await, 16 << 10);
    assert!(taken > 0 && written - taken <= limits::TLS_UNSENT_BYTES + record, "{taken} of {written}");
}

#[tokio::test]
async fn frames_are_counted_in_what_was_decrypted() {
    let root = root();
    let mut served = Served::new(&root, Callers::Anyone, LIMITS).await;
    let caller = somebody(&root, &client("billing"));
    let mut stream = shake(&caller, connect(served.address, 2).await).await.unwrap();
    let mut socket = served.next().await;
    let burst = usize::try_from(limits::FRAMES_BURST).unwrap();
    // Settings without a setting.
    let frames = [0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(burst * 2);
    let flood = tokio::spawn(async move {
        stream.write_all(&[0; 24]).await.unwrap();
        // It may not come to its end.
        let _ = stream.write_all(&frames).await;
        stream
    });
    let read = read_for(&mut socket, Duration::from_secs(1)).await / 9;
    assert!(read >= burst && read < 2 * burst, "{read} frames were read");
    drop(flood);
}

#[tokio::test]
async fn connections_of_a_site_that_is_distrusted_end_and_others_stay() {
    let root = root();
    let mut served = Served::new(&root, Callers::Stores, LIMITS).await;
    let (b, c) = (somebody(&root, &store("b")), somebody(&root, &store("c")));
    let mut to_b = shake(&b, connect(served.address, 2).await).await.unwrap();
    let mut from_b = served.next().await;
    let mut to_c = shake(&c, connect(served.address, 3).await).await.unwrap();
    let mut from_c = served.next().await;
    served.trust.distrust([site("b")].into());
    let ended = tokio::time::timeout(PATIENCE, from_b.read(&mut [0])).await.expect("it is ended").unwrap_err();
    assert_eq!(
        (ended.kind(), ended.to_string().as_str()),
        (io::ErrorKind::ConnectionAborted, crate::connection::UNWANTED)
    );
    drop(from_b);
    assert!(to_b.read(&mut [0]).await.is_err(), "nobody said that it would be closed");
    to_c.write_all(b"x").await.unwrap();
    assert_eq!(from_c.read(&mut [0; 8]).await.unwrap(), 1);
    assert!(refusal(&b, served.address).await.contains("distrusts the site of this store"));
    assert_eq!(served.port.end_where(|party| party.principal.site() == Some(&site("c"))), 1);
    assert_eq!(from_c.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn a_connection_ends_when_either_certificate_expires() {
    let (root, soon) = (root(), Duration::from_secs(3));
    for is_called in [true, false] {
        let (own, caller) = if is_called {
            (mortal(&root, &store("a"), soon), somebody(&root, &client("billing")))
        } else {
            (somebody(&root, &store("a")), mortal(&root, &client("billing"), soon))
        };
        let mut served = Served::with(own, Callers::Anyone, LIMITS).await;
        let _stream = shake(&caller, connect(served.address, 2).await).await.unwrap();
        let ended = served.next().await.read(&mut [0]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(ended.to_string().contains("expires"), "{ended}");
    }
}

#[test]
fn a_connection_lasts_until_a_while_before_the_first_certificate_expires_and_ends_where_it_was_called_from_first() {
    let party = |lives: Duration, left: Duration| {
        let now = SystemTime::UNIX_EPOCH + HOUR * 1_000;
        Party {
            principal: Arc::new("spiffe://f.example/client/x".parse().unwrap()),
            issued_at: now + left - lives,
            expires_at: now + left,
            fingerprint: holdfast_types::Fingerprint([0; 32]),
        }
    };
    let now = SystemTime::UNIX_EPOCH + HOUR * 1_000;
    let (day, margin) = (HOUR * 24, limits::END_BEFORE_EXPIRY);
    let (own, other) = (party(day, HOUR * 2), party(day, HOUR));
    for _ in 0..100 {
        let called = time_left(&own, Some(&other), End::Called, now);
        let calling = time_left(&other, Some(&own), End::Calling, now);
        assert!(called <= HOUR - margin && called >= HOUR - 2 * margin, "{called:?}");
        assert!(calling <= HOUR - 2 * margin && calling >= HOUR - 3 * margin, "{calling:?}");
    }
    assert!(time_left(&own, None, End::Called, now) > HOUR);
    let short = Duration::from_secs(100);
    let left = time_left(&party(short, short), None, End::Called, now);
    assert!(left >= short * 8 / 10 && left <= short * 9 / 10, "a short life is not spent on margins: {left:?}");
    let last = Duration::from_secs(15);
    assert_eq!(time_left(&party(short, last), None, End::Called, now), last, "whoever comes late has all that is left");
    let over = Party { expires_at: now - HOUR, ..own };
    assert_eq!(time_left(&over, None, End::Called, now), Duration::ZERO);
}

#[test]
fn reasons_are_listed_by_their_place_and_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = Failure::ALL.into_iter().map(Failure::as_str).collect();
    assert_eq!(names.len(), Failure::ALL.len());
    assert!(Failure::ALL.into_iter().enumerate().all(|(at, why)| why as usize == at));
}
