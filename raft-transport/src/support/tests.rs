//! Support links over loopback, and what else may connect to them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::{FleetId, Incarnation, SiteName, StoreId, limits};
use prost::Message;

use super::{SupportConfig, SupportLink};
use crate::handshake::{self, Addresses, Identity, Process, Refusal};
use crate::{Cause, Direction};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for one poll: what is awaited ends it sooner.
pub(super) const TURN: Duration = Duration::from_millis(5);

pub(super) fn identity(store: u64, incarnation: u64) -> Identity {
    Identity {
        fleet: FleetId(7),
        store: StoreId(store),
        incarnation: Incarnation(incarnation),
        site: SiteName::new(&format!("site-{store}")).unwrap(),
        process: Process::default(),
        addresses: Addresses::default(),
        formats: Vec::new(),
    }
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(super) fn start(identity: Identity) -> SupportLink {
    SupportLink::start(SupportConfig::new(identity), any_port()).unwrap()
}

/// The fleet has that store on record, and this is where it is.
pub(super) fn introduce(link: &SupportLink, store: u64, address: SocketAddr) {
    link.config().incarnations.prove(StoreId(store));
    link.addresses().set(StoreId(store), SiteName::new(&format!("site-{store}")).unwrap(), &address.to_string());
}

/// Calls `step` until it finds something.
pub(super) fn until<T>(mut step: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = step() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "what was awaited has not come");
    }
}

/// Sends from `from` until `to` hears something.
pub(super) fn exchange(from: &mut SupportLink, to: &mut SupportLink, store: u64) -> (StoreId, Incarnation, Bytes) {
    until(|| {
        from.send(StoreId(store), Bytes::from_static(b"beat"));
        from.poll(TURN);
        to.poll(TURN).pop()
    })
}

fn put_frame(stream: &mut TcpStream, payload: &[u8]) {
    stream.write_all(&u32::try_from(payload.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(payload).unwrap();
}

fn take_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut payload).unwrap();
    payload
}

/// Polls until the far end of `stream` has closed it.
pub(super) fn until_closed(link: &mut SupportLink, stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    until(|| {
        link.poll(TURN);
        let mut bytes = [0; 64];
        match stream.read(&mut bytes) {
            Ok(0) => Some(()),
            Ok(_) => None,
            Err(error) => (error.kind() != std::io::ErrorKind::WouldBlock).then_some(()),
        }
    });
}

/// Connects as store 9, is welcomed.
fn welcomed_stranger(link: &mut SupportLink) -> TcpStream {
    let mut stream = TcpStream::connect(link.local_address()).unwrap();
    let hello = handshake::hello(&identity(9, 1), StoreId(2), v1::LinkClass::Support);
    put_frame(&mut stream, &hello.encode_to_vec());
    stream.set_nonblocking(true).unwrap();
    let mut peeked = [0; 1];
    until(|| {
        link.poll(TURN);
        stream.peek(&mut peeked).ok()
    });
    stream.set_nonblocking(false).unwrap();
    let welcome = v1::LinkFrame::decode(&take_frame(&mut stream)[..]).unwrap();
    assert_eq!(welcome, handshake::welcome(&identity(2, 1)));
    stream
}

#[test]
fn heartbeats_travel_both_ways() {
    let (mut a, mut b) = (start(identity(1, 5)), start(identity(2, 6)));
    introduce(&a, 2, b.local_address());
    introduce(&b, 1, a.local_address());
    let beat = Bytes::from_static(b"beat");
    assert_eq!(exchange(&mut a, &mut b, 2), (StoreId(1), Incarnation(5), beat.clone()));
    assert_eq!(exchange(&mut b, &mut a, 1), (StoreId(2), Incarnation(6), beat));
    assert_eq!((a.counters().opened, b.counters().opened), (1, 1));
    let row = &a.config().traffic.rows()[0];
    assert_eq!((row.direction, row.cause, row.from_site.as_str()), (Direction::Sent, Cause::Support, "site-1"));
}

#[test]
fn a_name_is_looked_up() {
    let (mut a, mut b) = (start(identity(1, 1)), start(identity(2, 1)));
    let target = format!("localhost:{}", b.local_address().port());
    a.addresses().set(StoreId(2), SiteName::new("b").unwrap(), &target);
    exchange(&mut a, &mut b, 2);
}

#[test]
fn an_unknown_store_is_counted() {
    let mut a = start(identity(1, 1));
    a.send(StoreId(2), Bytes::from_static(b"beat"));
    assert_eq!(a.counters().dropped, 1);
    assert!(a.poll(Duration::ZERO).is_empty());
}

#[test]
fn a_restarted_store_is_reached_again() {
    let (mut a, mut b) = (start(identity(1, 1)), start(identity(2, 1)));
    let address = b.local_address();
    introduce(&a, 2, address);
    exchange(&mut a, &mut b, 2);
    drop(b);
    until(|| {
        a.send(StoreId(2), Bytes::from_static(b"lost"));
        a.poll(TURN);
        (a.counters().dropped > 0).then_some(())
    });
    let mut b = SupportLink::start(SupportConfig::new(identity(2, 2)), address).unwrap();
    exchange(&mut a, &mut b, 2);
    assert_eq!(a.counters().opened, 2);
}

#[test]
fn another_fleet_is_refused_with_the_reason() {
    let mut stranger = identity(1, 1);
    stranger.fleet = FleetId(8);
    let (mut a, mut b) = (start(stranger), start(identity(2, 1)));
    introduce(&a, 2, b.local_address());
    let refusal = until(|| {
        a.send(StoreId(2), Bytes::from_static(b"beat"));
        a.poll(TURN);
        assert!(b.poll(TURN).is_empty());
        a.refusal(StoreId(2)).cloned()
    });
    assert_eq!(refusal, Refusal::WrongFleet { fleet: FleetId(7) });
}

#[test]
fn garbage_is_refused_and_others_are_served() {
    let (mut a, mut b) = (start(identity(1, 1)), start(identity(2, 1)));
    introduce(&a, 2, b.local_address());
    let mut oversized = TcpStream::connect(b.local_address()).unwrap();
    oversized.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut nonsense = TcpStream::connect(b.local_address()).unwrap();
    put_frame(&mut nonsense, &[0xFF; 100]);
    let mut batch = TcpStream::connect(b.local_address()).unwrap();
    put_frame(&mut batch, b"");
    exchange(&mut a, &mut b, 2);
    for stream in [&mut oversized, &mut nonsense, &mut batch] {
        until_closed(&mut b, stream);
    }
    assert_eq!(b.counters().refused, 3);
}

#[test]
fn an_oversized_heartbeat_ends_its_connection() {
    let mut b = start(identity(2, 1));
    let mut stranger = welcomed_stranger(&mut b);
    put_frame(&mut stranger, &vec![1; limits::SUPPORT_FRAME_BYTES]);
    assert_eq!(until(|| b.poll(TURN).pop()).2.len(), limits::SUPPORT_FRAME_BYTES);
    stranger.write_all(&[0, 0, 0x10, 1]).unwrap();
    until_closed(&mut b, &mut stranger);
    assert!(b.poll(Duration::ZERO).is_empty());
}

#[test]
fn who_says_no_hello_is_closed() {
    let mut config = SupportConfig::new(identity(2, 1));
    config.interval = Duration::from_millis(20);
    let mut b = SupportLink::start(config, any_port()).unwrap();
    let mut silent = TcpStream::connect(b.local_address()).unwrap();
    until_closed(&mut b, &mut silent);
}

#[test]
fn a_newer_connection_of_a_store_takes_over() {
    let mut b = start(identity(2, 1));
    let mut first = welcomed_stranger(&mut b);
    let mut second = welcomed_stranger(&mut b);
    until_closed(&mut b, &mut first);
    put_frame(&mut second, b"beat");
    assert_eq!(until(|| b.poll(TURN).pop()), (StoreId(9), Incarnation(1), Bytes::from_static(b"beat")));
}

#[test]
fn a_store_that_was_forgotten_is_heard_no_more() {
    let mut b = start(identity(2, 1));
    let mut stranger = welcomed_stranger(&mut b);
    b.config().incarnations.forget(StoreId(9));
    b.addresses().forget(StoreId(9));
    until_closed(&mut b, &mut stranger);
    let mut a = start(identity(9, 1));
    introduce(&a, 2, b.local_address());
    let refusal = until(|| {
        a.send(StoreId(2), Bytes::from_static(b"beat"));
        a.poll(TURN);
        assert_eq!(b.poll(TURN), []);
        a.refusal(StoreId(2)).cloned()
    });
    assert_eq!(refusal, Refusal::Forgotten);
}

#[test]
fn a_store_that_never_reads_delays_nobody_and_is_tried_anew() {
    let mut config = SupportConfig::new(identity(1, 1));
    config.interval = Duration::from_millis(500);
    let (mut a, mut b) = (SupportLink::start(config, any_port()).unwrap(), start(identity(2, 1)));
    let stuck = TcpListener::bind(any_port()).unwrap();
    stuck.set_nonblocking(true).unwrap();
    introduce(&a, 3, stuck.local_addr().unwrap());
    introduce(&a, 2, b.local_address());
    let welcome = |a: &mut SupportLink| {
        let mut stream = until(|| {
            a.send(StoreId(3), Bytes::from_static(b"beat"));
            a.poll(TURN);
            stuck.accept().ok()
        })
        .0;
        let opened = a.counters().opened;
        stream.set_nonblocking(false).unwrap();
        put_frame(&mut stream, &handshake::welcome(&identity(3, 1)).encode_to_vec());
        until(|| {
            a.poll(TURN);
            (a.counters().opened > opened).then_some(())
        });
        stream
    };
    let first = welcome(&mut a);
    let dropped = a.counters().dropped;
    let beat = Bytes::from(vec![1; limits::SUPPORT_FRAME_BYTES]);
    until(|| {
        a.send(StoreId(3), beat.clone());
        (a.counters().dropped > dropped).then_some(())
    });
    exchange(&mut a, &mut b, 2);
    // Nothing was answered, so that a new connection comes.
    let second = welcome(&mut a);
    drop((first, second));
}

#[test]
fn strangers_on_all_seats_keep_no_store_out_that_the_fleet_knows() {
    let mut config = SupportConfig::new(identity(2, 1));
    // Idle strangers stay for as long as the test.
    (config.max_incoming, config.interval) = (4, Duration::from_secs(600));
    config.incarnations.prove(StoreId(1));
    let mut b = SupportLink::start(config, any_port()).unwrap();
    let (mut a, beat) = (start(identity(1, 5)), Bytes::from_static(b"beat"));
    introduce(&a, 2, b.local_address());
    let mut invented = welcomed_stranger(&mut b);
    let mut idle: Vec<_> = (0..20).map(|_| TcpStream::connect(b.local_address()).unwrap()).collect();
    assert_eq!(exchange(&mut a, &mut b, 2), (StoreId(1), Incarnation(5), beat.clone()));
    let opened = a.counters().opened;
    // The first of them made room, and the last are still there.
    until_closed(&mut b, &mut idle[0]);
    idle.extend((0..20).map(|_| TcpStream::connect(b.local_address()).unwrap()));
    until_closed(&mut b, &mut idle[20]);
    put_frame(&mut invented, b"");
    assert_eq!(exchange(&mut a, &mut b, 2), (StoreId(1), Incarnation(5), beat));
    assert_eq!(a.counters().opened, opened, "its connection stayed");
}

#[test]
fn who_brings_more_heartbeats_than_any_store_sends_is_closed_and_a_store_that_catches_up_is_not() {
    let mut link = start(identity(2, 1));
    let mut stranger = welcomed_stranger(&mut link);
    let empty = [0; 4].repeat(limits::SUPPORT_STRANGER_FRAMES_BURST as usize * 4);
    stranger.write_all(&empty).unwrap();
    until_closed(&mut link, &mut stranger);
    // The same store once it is on record, after a stall.
    link.config().incarnations.prove(StoreId(9));
    let mut member = welcomed_stranger(&mut link);
    member.write_all(&empty).unwrap();
    let mut heard = 0;
    until(|| {
        heard += link.poll(TURN).len();
        (heard == empty.len() / 4).then_some(())
    });
}
