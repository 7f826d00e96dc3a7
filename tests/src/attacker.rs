//! A connection that does what no honest client does: HTTP/2 by hand, from an address of the attacker's own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// How long an attacker waits for what an honest store does at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects from 127.0.0.`from`: attackers and honest clients are strangers to each other.
pub async fn connect_from(to: SocketAddr, from: u8) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, from], 0)))?;
    tokio::time::timeout(PATIENCE, socket.connect(to)).await?
}

/// One connection. Pings are answered, windows are not opened: what arrives beyond the first window is not read.
pub struct Attacker {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

/// A request of an attacker.
pub struct Begun {
    /// The head of the answer.
    pub answer: ResponseFuture,
    /// Takes more of the request.
    pub body: SendStream<Bytes>,
}

impl Attacker {
    /// `window`: how many bytes of an answer are read.
    pub async fn connect(to: SocketAddr, from: u8, window: u32) -> io::Result<Self> {
        let stream = connect_from(to, from).await?;
        let mut builder = Builder::new();
        builder.initial_window_size(window).max_send_buffer_size(64 << 20);
        let (requests, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, driver })
    }

    /// Begins a request.
    pub async fn begin(&mut self, path: &str, timeout: Option<&str>) -> Result<Begun, h2::Error> {
        let mut request = http::Request::post(format!("http://store{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let ready = tokio::time::timeout(PATIENCE, self.requests.clone().ready()).await;
        self.requests = ready.map_err(|_| h2::Error::from(h2::Reason::CANCEL))??;
        let (answer, body) = self.requests.send_request(request.body(()).expect("a legal request"), false)?;
        Ok(Begun { answer, body })
    }

    /// Asks, and reads nothing of the answer.
    pub async fn ask(&mut self, path: &str, timeout: Option<&str>, message: Bytes) -> Result<Begun, h2::Error> {
        let mut begun = self.begin(path, timeout).await?;
        begun.body.send_data(message, true)?;
        Ok(begun)
    }

    /// True once the store has ended the connection.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.driver.is_finished()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The beginning of an HTTP/2 connection: preface and empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame of HTTP/2, whatever it says.
#[must_use]
pub fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame of a test is small").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header field, not compressed.
#[must_use]
pub fn http2_field(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
    let mut field = vec![0, short(name)];
    field.extend(name.bytes());
    field.push(short(value));
    field.extend(value.bytes());
    field
}

/// The headers of a gRPC request.
#[must_use]
pub fn http2_request(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "store"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.into_iter().flat_map(|(name, value)| http2_field(name, value)).collect()
}

/// A message as gRPC sends it.
#[must_use]
pub fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(encoded.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(encoded.len()).expect("a message of a test is small"));
    framed.put_slice(&encoded);
    framed.freeze()
}

/// How a request ended: the status in its trailers or its head, if the store said one.
pub async fn status_of(answer: ResponseFuture) -> Option<String> {
    let status = |headers: &http::HeaderMap| Some(headers.get("grpc-status")?.to_str().ok()?.to_owned());
    let head = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()?;
    if let Some(said) = status(head.headers()) {
        return Some(said);
    }
    let mut body: RecvStream = head.into_body();
    while let Some(data) = tokio::time::timeout(PATIENCE, body.data()).await.ok()? {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
    }
    status(&tokio::time::timeout(PATIENCE, body.trailers()).await.ok()?.ok()??)
}
