//! TLS by hand: a test chooses what its end shows, and learns what the other end makes of it. Whoever answers is believed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_trust::authority::Issued;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::attacker::{PREFACE, connect_from, framed, status_of};

/// How long the other end may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of an answer so much is read.
const READ_BYTES: usize = 64 << 10;

/// Believes whoever answers: it is the other end that is tested.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a connection shows of itself; `None`: no certificate.
fn config(shown: Option<&Issued>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring knows TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let Some(shown) = shown else { return Arc::new(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(shown.certificate_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(shown.key_pem.as_bytes()).expect("a key");
    Arc::new(builder.with_client_auth_cert(chain.expect("certificates"), key).expect("a pair"))
}

/// A connection that shows this.
pub async fn connect(to: SocketAddr, shown: Option<&Issued>) -> io::Result<TlsStream<TcpStream>> {
    // Not where honest clients come from: ports tell strangers apart by their address.
    let stream = connect_from(to, 3).await?;
    let name = ServerName::try_from("store.test").expect("a legal name");
    let connected = TlsConnector::from(config(shown)).connect(name, stream);
    tokio::time::timeout(PATIENCE, connected).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The chain that a port shows, leaf first, as DER.
///
/// # Panics
/// When there is no TLS.
pub async fn chain_of(port: SocketAddr, shown: Option<&Issued>) -> Vec<CertificateDer<'static>> {
    let stream = connect(port, shown).await.expect("the port speaks TLS");
    let chain = stream.get_ref().1.peer_certificates().expect("a store shows its certificate");
    chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

/// What the other end says first, or why it says nothing. `first`: what must be said to it before it speaks.
pub async fn heard(to: SocketAddr, shown: Option<&Issued>, first: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = connect(to, shown).await.map_err(|error| error.to_string())?;
    stream.write_all(first).await.map_err(|error| error.to_string())?;
    let mut buffer = vec![0; READ_BYTES];
    match tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await {
        Err(_) => Err("it is silent".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(0)) => Err("it ended the connection".to_owned()),
        Ok(Ok(length)) => Ok(buffer[..length].to_vec()),
    }
}

/// What a port answers to a GET over HTTP/1, head and body.
pub async fn https_get(to: SocketAddr, shown: Option<&Issued>, path: &str) -> Result<String, String> {
    let said = |error: io::Error| error.to_string();
    let mut stream = connect(to, shown).await.map_err(said)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(said)?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.map_err(|_| "it is silent".to_owned())?.map_err(said)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What is heard first on a port that speaks HTTP/2, where stores begin.
pub async fn heard_http2(to: SocketAddr, shown: Option<&Issued>) -> Result<Vec<u8>, String> {
    heard(to, shown, &[]).await
}

/// A connection over which HTTP/2 was begun on both sides, and nothing is asked.
///
/// # Panics
/// When the store does not take it.
pub async fn idle_http2(to: SocketAddr, shown: Option<&Issued>) -> TlsStream<TcpStream> {
    let mut stream = connect(to, shown).await.expect("the store takes the connection");
    stream.write_all(PREFACE).await.expect("the store reads");
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.expect("the store answers with its settings");
    stream
}

/// Waits until the other end ends the connection, whatever it says until then.
///
/// # Panics
/// When it does not, within `within`.
pub async fn until_ended(stream: &mut TlsStream<TcpStream>, within: Duration, what: &str) {
    let read = async {
        let mut buffer = vec![0; READ_BYTES];
        while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
    };
    tokio::time::timeout(within, read).await.unwrap_or_else(|_| panic!("not within {within:?}: {what}"));
}

/// The versions that a hello of [`hello_of`] offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offers {
    /// TLS 1.2 and nothing newer, with suites that everybody had.
    Tls12,
    /// TLS 1.3, without a share of a key, which the other end asks for then.
    Tls13,
}

/// A ClientHello in its record, by hand: whatever this program's own TLS library was built with.
#[must_use]
pub fn hello_of(offers: Offers) -> Vec<u8> {
    fn counted(width: usize, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("a hello is small").to_be_bytes();
        [&length[4 - width..], bytes].concat()
    }
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &counted(2, body)].concat();
    let mut extensions = vec![
        // Curves: x25519 and P-256; formats of points; signatures: ECDSA and RSA-PSS.
        extension(10, &counted(2, &[0, 0x1d, 0, 0x17])),
        extension(11, &counted(1, &[0])),
        extension(13, &counted(2, &[4, 3, 8, 4, 4, 1])),
    ];
    let suites: &[u8] = match offers {
        // ECDHE with ECDSA and RSA, AES-GCM.
        Offers::Tls12 => &[0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30],
        Offers::Tls13 => {
            extensions.push(extension(43, &counted(1, &[3, 4])));
            extensions.push(extension(51, &counted(2, &[])));
            &[0x13, 0x01, 0x13, 0x02]
        }
    };
    let body = [
        &[3, 3][..],
        &[7; 32],
        // Neither a session nor a compression.
        &counted(1, &[]),
        &counted(2, suites),
        &counted(1, &[0]),
        &counted(2, &extensions.concat()),
    ]
    .concat();
    let message = [&[1][..], &counted(3, &body)].concat();
    [&[0x16, 3, 1][..], &counted(2, &message)].concat()
}

/// What a port answers to these bytes over plain TCP, up to its end or as much as comes at first.
pub async fn raw_answer(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect_from(to, 3).await.expect("the port listens");
    // It may have ended the connection by then; what it said counts.
    let _ = stream.write_all(bytes).await;
    let mut buffer = vec![0; READ_BYTES];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("it answers or ends");
    buffer.truncate(read.unwrap_or(0));
    buffer
}

/// How a unary call over a connection of its own ended: the status that was said, or why nothing was.
///
/// # Panics
/// When the answer is no gRPC.
pub async fn call(
    to: SocketAddr,
    shown: Option<&Issued>,
    path: &str,
    bearer: Option<&str>,
    message: &impl prost::Message,
) -> Result<u32, String> {
    let stream = connect(to, shown).await.map_err(|error| error.to_string())?;
    let (requests, connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let asked = async {
        let mut request = http::Request::post(format!("http://store{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut requests = requests.ready().await?;
        let (answer, mut body) = requests.send_request(request.body(()).expect("a legal request"), false)?;
        // Whoever is refused for what he is hears so before he has said what he wants.
        let _ = body.send_data(framed(message), true);
        Ok::<_, h2::Error>(status_of(answer).await)
    };
    let ended = asked.await;
    driver.abort();
    let status = ended.map_err(|error| error.to_string())?.ok_or_else(|| "no status".to_owned())?;
    Ok(status.parse().expect("a status is a number"))
}

/// Opens a stream with a bearer token, keeps its request open, and says how long it lasted.
pub async fn held_stream(
    to: SocketAddr,
    path: &str,
    token: &str,
    first: &impl prost::Message,
) -> Result<Duration, String> {
    let said = |error: h2::Error| error.to_string();
    let stream = connect(to, None).await.map_err(|error| error.to_string())?;
    let (requests, connection) = h2::client::handshake(stream).await.map_err(said)?;
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://store{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"));
    let mut requests = requests.ready().await.map_err(said)?;
    let (answer, mut body) = requests.send_request(request.body(()).expect("a legal request"), false).map_err(said)?;
    body.send_data(framed(first), false).map_err(said)?;
    let head = answer.await.map_err(said)?;
    if head.headers().contains_key("grpc-status") {
        return Err(format!("refused: {:?}", head.headers()));
    }
    let (begun, mut answers) = (Instant::now(), head.into_body());
    while let Some(Ok(data)) = answers.data().await {
        // What is told of ranges is of no interest.
        let _ = answers.flow_control().release_capacity(data.len());
    }
    driver.abort();
    Ok(begun.elapsed())
}
