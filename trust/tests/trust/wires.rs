//! Streams over real sockets, and the connector.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holdfast_trust::connect::{Connector, Wire};
use holdfast_trust::{Callee, Callers, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tower_service::Service as _;

use crate::forge::{Fleet, site, trust};

const LONG: Duration = Duration::from_secs(60);

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Accepts one connection, and says a word over it.
fn greet(listener: TcpListener, own: Arc<Trust>, callers: Callers) -> tokio::task::JoinHandle<io::Result<Wire>> {
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        let mut wire = Wire::accept(tcp, own.server(callers)).await?;
        wire.write_all(b"hello").await?;
        wire.flush().await?;
        Ok(wire)
    })
}

#[tokio::test]
async fn a_connection_knows_who_is_at_its_other_end() {
    let fleet = Fleet::new("f.example");
    let (a, b) = (trust(&fleet.store_a()), trust(&fleet.store_b()));
    let (listener, port) = listen().await;
    let accepted = greet(listener, b.clone(), Callers::Stores);
    let mut connector = Connector::new(Some(a.clone()), Callee::StoreOf(site("b")), LONG);
    let uri = format!("http://localhost:{port}").parse().unwrap();
    let mut wire = connector.call(uri).await.unwrap().into_inner();
    let mut word = [0; 5];
    wire.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
    assert_eq!(wire.party().unwrap().fingerprint, b.own().fingerprint);
    assert!(wire.tcp().nodelay().unwrap());
    let accepted = accepted.await.unwrap().unwrap();
    assert_eq!(accepted.party().unwrap().fingerprint, a.own().fingerprint);
    assert_eq!(accepted.tcp().peer_addr().unwrap(), wire.tcp().local_addr().unwrap());
}

#[tokio::test]
async fn without_trust_it_is_plain_tcp_with_nobody_known() {
    let (listener, port) = listen().await;
    let wire = Connector::new(None, Callee::Store, LONG).connect("127.0.0.1", port).await.unwrap();
    assert!(matches!(wire, Wire::Plain(_)) && wire.party().is_none());
    drop(listener);
}

#[tokio::test]
async fn whoever_calls_the_wrong_one_is_told_so() {
    let fleet = Fleet::new("f.example");
    let (listener, port) = listen().await;
    let accepted = greet(listener, trust(&fleet.store_b()), Callers::Stores);
    let connector = Connector::new(Some(trust(&fleet.store_a())), Callee::StoreOf(site("c")), LONG);
    let error = connector.connect("127.0.0.1", port).await.unwrap_err();
    assert!(error.to_string().contains("/site/b/store is not of site c"), "{error}");
    let error = accepted.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("the other end"), "{error}");
}

#[tokio::test]
async fn whoever_is_refused_hears_it_at_the_first_word() {
    let fleet = Fleet::new("f.example");
    let (listener, port) = listen().await;
    let accepted = greet(listener, trust(&fleet.store_b()), Callers::Stores);
    let connector = Connector::new(Some(trust(&fleet.client())), Callee::Store, LONG);
    let mut wire = connector.connect("127.0.0.1", port).await.unwrap();
    let error = wire.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("it refuses our certificate"), "{error}");
    let error = accepted.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("client/billing is no store"), "{error}");
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_and_one_that_says_nothing_are_told_apart() {
    let own = trust(&Fleet::new("f.example").store_a());
    let (listener, port) = listen().await;
    let plain = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        tcp
    });
    let error = Connector::new(Some(own.clone()), Callee::Store, LONG).connect("127.0.0.1", port).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    drop(plain.await.unwrap());
    let (silent, port) = listen().await;
    let impatient = Connector::new(Some(own), Callee::Store, Duration::from_millis(50));
    let error = impatient.connect("127.0.0.1", port).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(silent);
}

#[tokio::test]
async fn an_address_without_a_port_is_refused() {
    let mut connector = Connector::new(None, Callee::Store, LONG);
    for bad in ["http://127.0.0.1", "/path"] {
        let error = connector.call(bad.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}
