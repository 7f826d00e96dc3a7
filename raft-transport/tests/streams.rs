//! Streams between stores over loopback.

#![allow(clippy::unwrap_used)]

mod harness;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harness::{Event, Store, identity, listener, runtime, site};
use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_proto::v1::store_transport_client::StoreTransportClient;
use holdfast_proto::v1::store_transport_server::{StoreTransport, StoreTransportServer};
use holdfast_raft_transport::{
    Cause, Class, Direction, Identity, Introduction, Process, Refusal, SendError, TransportConfig,
};
use holdfast_types::{FleetId, Incarnation, StoreId, limits};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tower::util::MapResponseLayer;

const A: StoreId = StoreId(1);
const B: StoreId = StoreId(2);

fn number(at: u32) -> Bytes {
    Bytes::copy_from_slice(&at.to_be_bytes())
}

/// Two stores, of which the first knows the second and has its log stream open.
fn connected_pair(runtime: &Runtime) -> (Store, Store) {
    let (a, b) = (Store::start(runtime, 1), Store::start(runtime, 2));
    a.knows(2, b.transport.local_address());
    a.wait_until(&Event::Connected(B, Class::Log));
    (a, b)
}

/// Says one frame to a store and returns its answer.
fn say(runtime: &Runtime, to: &Store, first: v1::LinkFrame) -> v1::LinkFrame {
    let target = format!("http://{}", to.transport.local_address());
    runtime.block_on(async {
        let mut client = StoreTransportClient::connect(target).await.unwrap();
        let mut answers = client.open(futures::stream::iter([first])).await.unwrap().into_inner();
        answers.message().await.unwrap().expect("an answer")
    })
}

#[test]
fn messages_of_a_class_arrive_in_order() {
    const COUNT: u32 = 20_000;
    let runtime = runtime();
    let (a, b) = (Store::start(&runtime, 1), Store::start(&runtime, 2));
    a.knows(2, b.transport.local_address());
    for at in 0..COUNT {
        for class in [Class::Control, Class::Log] {
            a.transport.send(B, class, Cause::Append, number(at)).unwrap();
        }
    }
    let mut heard: BTreeMap<Class, Vec<Bytes>> = BTreeMap::new();
    while heard.values().map(Vec::len).sum::<usize>() < 2 * COUNT as usize {
        let (class, payloads) = b.wait_for(|event| match event {
            Event::Received(from, incarnation, class, payloads) => {
                assert_eq!((from, incarnation), (A, Incarnation(1)));
                Some((class, payloads))
            }
            _ => None,
        });
        heard.entry(class).or_default().extend(payloads);
    }
    let sent: Vec<Bytes> = (0..COUNT).map(number).collect();
    assert!(heard[&Class::Control] == sent && heard[&Class::Log] == sent);
    assert_eq!(a.transport.drops(), Default::default());
}

#[test]
fn what_waits_travels_as_one_batch() {
    let runtime = runtime();
    let a = Store::start(&runtime, 1);
    // Connections wait in the backlog until the store starts, and the messages in their queue.
    let late = listener();
    a.knows(2, late.local_addr().unwrap());
    for at in 0..100 {
        a.transport.send(B, Class::Snapshot, Cause::Snapshot, number(at)).unwrap();
    }
    let b = Store::start_as(TransportConfig::new(identity(2, 1), late, runtime.handle().clone()), None);
    assert_eq!(b.wait_for_batch(Class::Snapshot), (0..100).map(number).collect::<Vec<_>>());
}

#[test]
fn another_fleet_is_refused() {
    let runtime = runtime();
    let b = Store::start(&runtime, 2);
    let mut stranger = identity(1, 1);
    stranger.fleet = FleetId(8);
    let a = Store::start_as(TransportConfig::new(stranger, listener(), runtime.handle().clone()), None);
    a.knows(2, b.transport.local_address());
    assert_eq!(a.next_event(), Event::Refused(B, Refusal::WrongFleet { fleet: FleetId(7) }));
}

#[test]
fn an_address_that_belongs_to_another_store_is_refused() {
    let runtime = runtime();
    let (a, b) = (Store::start(&runtime, 1), Store::start(&runtime, 2));
    a.knows(3, b.transport.local_address());
    assert_eq!(a.next_event(), Event::Refused(StoreId(3), Refusal::WrongStore { store: B }));
    a.knows(2, b.transport.local_address());
    a.wait_until(&Event::Connected(B, Class::Control));
}

#[test]
fn store_that_looks_for_another_one_says_where_it_lives_itself() {
    let runtime = runtime();
    let (a, b) = (Store::start(&runtime, 1), Store::start(&runtime, 2));
    a.knows(3, b.transport.local_address());
    let said =
        Introduction { store: A, incarnation: Incarnation(1), site: site(1), addresses: identity(1, 1).addresses };
    b.wait_until(&Event::Called(said));
    let nobody = listener().local_addr().unwrap();
    a.knows(4, nobody);
    a.wait_until(&Event::Unreached(StoreId(4), nobody.to_string()));
}

#[test]
fn copy_of_a_store_takes_no_stream_from_its_original() {
    let runtime = runtime();
    let b = Store::start(&runtime, 2);
    let start = |incarnation, number| {
        let process = Process { number, started_at: 9 };
        let own = Identity { process, ..identity(1, incarnation) };
        let store = Store::start_as(TransportConfig::new(own, listener(), runtime.handle().clone()), None);
        store.knows(2, b.transport.local_address());
        store
    };
    let original = start(5, 77);
    original.wait_until(&Event::Connected(B, Class::Log));
    original.wait_until(&Event::Connected(B, Class::Control));
    let copy = start(6, 88);
    assert_eq!(copy.wait_for_refusal(), Refusal::RunsElsewhere { alive: Incarnation(5) });
    b.wait_until(&Event::TurnedAway(A, Refusal::RunsElsewhere { alive: Incarnation(5) }));
    original.transport.send(B, Class::Log, Cause::Append, number(1)).unwrap();
    assert_eq!(b.wait_for_batch(Class::Log), [number(1)], "over the same stream");
    // The original goes: whoever comes next with a disk that knows as much is the store.
    drop(original);
    copy.wait_until(&Event::Connected(B, Class::Log));
}

#[test]
fn a_later_start_of_a_store_ends_the_streams_of_the_one_before() {
    let runtime = runtime();
    let (old, b) = connected_pair(&runtime);
    old.transport.send(B, Class::Log, Cause::Append, number(1)).unwrap();
    assert_eq!(b.wait_for_batch(Class::Log), [number(1)]);
    let new = Store::start_as(TransportConfig::new(identity(1, 2), listener(), runtime.handle().clone()), None);
    new.knows(2, b.transport.local_address());
    new.wait_until(&Event::Connected(B, Class::Log));
    old.wait_until(&Event::Disconnected(B, Class::Log));
    assert_eq!(old.wait_for_refusal(), Refusal::OldIncarnation { newest: Incarnation(2) });
    new.transport.send(B, Class::Log, Cause::Append, number(2)).unwrap();
    b.wait_until(&Event::Received(A, Incarnation(2), Class::Log, vec![number(2)]));
}

#[test]
fn an_unknown_protocol_version_is_refused() {
    let runtime = runtime();
    let b = Store::start(&runtime, 2);
    // Nothing else of the hello may matter.
    let hello = v1::LinkHello { protocol_version: 99, ..Default::default() };
    let answer = say(&runtime, &b, v1::LinkFrame { body: Some(Body::Hello(hello)) });
    let Some(Body::Refused(refused)) = answer.body else { panic!("{answer:?}") };
    assert_eq!(refused.reason(), v1::LinkRefusal::UnknownVersion);
    assert_eq!(refused.known.map(|known| (known.oldest, known.newest)), Some((1, 1)));
}

#[test]
fn what_is_no_hello_is_refused() {
    let runtime = runtime();
    let b = Store::start(&runtime, 2);
    let answer = say(&runtime, &b, v1::LinkFrame { body: Some(Body::Batch(v1::LinkBatch::default())) });
    let Some(Body::Refused(refused)) = answer.body else { panic!("{answer:?}") };
    assert_eq!(refused.reason(), v1::LinkRefusal::Malformed);
}

#[test]
fn garbage_on_the_port_harms_nobody() {
    let runtime = runtime();
    let b = Store::start(&runtime, 2);
    let mut garbage = TcpStream::connect(b.transport.local_address()).unwrap();
    garbage.write_all(&[0xA5; 4096]).unwrap();
    // Closed or reset, either will do.
    let _ = garbage.read_to_end(&mut Vec::new());
    let a = Store::start(&runtime, 1);
    a.knows(2, b.transport.local_address());
    a.wait_until(&Event::Connected(B, Class::Log));
}

#[test]
fn after_a_restart_on_the_same_port_only_new_messages_arrive() {
    let runtime = runtime();
    let (a, b) = connected_pair(&runtime);
    let address = b.transport.local_address();
    runtime.block_on(b.transport.stop());
    a.wait_until(&Event::Disconnected(B, Class::Log));
    drop(b);
    // Queued for an attempt, which fails.
    a.transport.send(B, Class::Log, Cause::Append, number(1)).unwrap();
    while a.transport.drops().connection_lost == 0 {
        std::thread::yield_now();
    }
    let again = std::net::TcpListener::bind(address).unwrap();
    let b = Store::start_as(TransportConfig::new(identity(2, 2), again, runtime.handle().clone()), None);
    a.wait_until(&Event::Connected(B, Class::Log));
    a.transport.send(B, Class::Log, Cause::Append, number(2)).unwrap();
    assert_eq!(b.wait_for_batch(Class::Log), [number(2)]);
    assert_eq!(a.transport.drops().connection_lost, 1);
}

#[test]
fn a_changed_address_is_followed_at_once() {
    let runtime = runtime();
    let (a, _b) = connected_pair(&runtime);
    let moved = Store::start_as(TransportConfig::new(identity(2, 2), listener(), runtime.handle().clone()), None);
    a.knows(2, moved.transport.local_address());
    a.wait_until(&Event::Disconnected(B, Class::Log));
    a.wait_until(&Event::Connected(B, Class::Log));
    a.transport.send(B, Class::Log, Cause::Append, number(1)).unwrap();
    assert_eq!(moved.wait_for_batch(Class::Log), [number(1)]);
}

/// Welcomes every stream, never ends one by itself, and says when one was ended by the other side.
struct Patient {
    ended: std::sync::mpsc::Sender<()>,
}

#[tonic::async_trait]
impl StoreTransport for Patient {
    type OpenStream = ReceiverStream<Result<v1::LinkFrame, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<v1::LinkFrame>>,
    ) -> Result<Response<ReceiverStream<Result<v1::LinkFrame, Status>>>, Status> {
        let mut frames = request.into_inner();
        frames.message().await?;
        let welcome = v1::LinkWelcome { protocol_version: 1, store_id: B.0, incarnation: 1, ..Default::default() };
        let (answers, stream) = tokio::sync::mpsc::channel(1);
        answers.send(Ok(v1::LinkFrame { body: Some(Body::Welcome(welcome)) })).await.unwrap();
        let ended = self.ended.clone();
        tokio::spawn(async move {
            while let Ok(Some(_)) = frames.message().await {}
            ended.send(()).unwrap();
            drop(answers);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[test]
fn the_streams_to_an_old_address_are_ended() {
    let runtime = runtime();
    let (ended, endings) = std::sync::mpsc::channel();
    let incoming = runtime.block_on(async { TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap() });
    let old_address = incoming.local_addr().unwrap();
    let service = StoreTransportServer::new(Patient { ended });
    runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let a = Store::start(&runtime, 1);
    a.knows(2, old_address);
    a.wait_until(&Event::Connected(B, Class::Log));
    let b = Store::start(&runtime, 2);
    a.knows(2, b.transport.local_address());
    endings.recv_timeout(harness::PATIENCE).expect("the first stream ends");
    endings.recv_timeout(harness::PATIENCE).expect("the second stream ends");
}

/// Answers with details that are no base64, which no gRPC library sends.
fn defaced(mut response: http::Response<tonic::body::Body>) -> http::Response<tonic::body::Body> {
    response.headers_mut().insert("grpc-status", "14".parse().unwrap());
    response.headers_mut().insert("grpc-status-details-bin", "!".parse().unwrap());
    response
}

#[test]
fn an_answer_that_is_no_grpc_does_not_end_the_way_to_a_store() {
    let runtime = runtime();
    let (ended, _endings) = std::sync::mpsc::channel();
    let incoming = runtime.block_on(async { TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap() });
    let strange = incoming.local_addr().unwrap();
    let mut server = Server::builder().layer(MapResponseLayer::new(defaced));
    let service = StoreTransportServer::new(Patient { ended });
    runtime.spawn(server.add_service(service).serve_with_incoming(incoming));
    let a = Store::start(&runtime, 1);
    a.knows(2, strange);
    a.wait_until(&Event::Unreached(B, strange.to_string()));
    let b = Store::start(&runtime, 2);
    a.knows(2, b.transport.local_address());
    a.wait_until(&Event::Connected(B, Class::Control));
}

#[test]
fn a_full_queue_drops_and_counts() {
    let runtime = runtime();
    let mut config = TransportConfig::new(identity(1, 1), listener(), runtime.handle().clone());
    config.queue_bytes = 3 * (4 + limits::QUEUED_MESSAGE_OVERHEAD_BYTES);
    let a = Store::start_as(config, None);
    // Connects into the backlog, is never answered.
    let silent = listener();
    a.knows(2, silent.local_addr().unwrap());
    let sent: Vec<_> = (0..5).map(|at| a.transport.send(B, Class::Log, Cause::Append, number(at))).collect();
    assert_eq!(sent, [Ok(()), Ok(()), Ok(()), Err(SendError::Full(B)), Err(SendError::Full(B))]);
    assert_eq!(a.transport.drops().queue_full, 2);
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let runtime = runtime();
    let a = Store::start(&runtime, 1);
    let sent = a.transport.send(B, Class::Log, Cause::Append, number(1));
    assert_eq!(sent, Err(SendError::UnknownAddress(B)));
    assert_eq!(a.transport.drops().unknown_address, 1);
    let huge = Bytes::from(vec![0; limits::MAX_MESSAGE_BYTES + 1]);
    assert!(matches!(a.transport.send(B, Class::Log, Cause::Append, huge), Err(SendError::TooLarge { .. })));
    assert_eq!(a.transport.drops().too_large, 1);
}

#[test]
fn the_largest_message_arrives() {
    let runtime = runtime();
    let (a, b) = connected_pair(&runtime);
    let largest = Bytes::from(vec![7; limits::MAX_MESSAGE_BYTES]);
    a.transport.send(B, Class::Log, Cause::Append, largest.clone()).unwrap();
    assert!(b.wait_for_batch(Class::Log) == [largest]);
}

#[test]
fn a_receiver_that_takes_no_more_is_felt_by_the_sender() {
    let runtime = runtime();
    let gate = Arc::new(Notify::new());
    let config = TransportConfig::new(identity(2, 1), listener(), runtime.handle().clone());
    let (a, b) = (Store::start(&runtime, 1), Store::start_as(config, Some(Arc::clone(&gate))));
    a.knows(2, b.transport.local_address());
    let chunk = |at: u32| {
        let mut chunk = vec![0; limits::SNAPSHOT_CHUNK_BYTES];
        chunk[..4].copy_from_slice(&at.to_be_bytes());
        Bytes::from(chunk)
    };
    let mut sent = 0;
    while a.transport.send(B, Class::Snapshot, Cause::Snapshot, chunk(sent)).is_ok() {
        sent += 1;
        // The first opens the stream; what it brings closes the gate.
        if sent == 1 {
            assert_eq!(b.wait_for_batch(Class::Snapshot).len(), 1);
        }
    }
    let in_between = 3 * (limits::SNAPSHOT_QUEUE_BYTES + limits::STREAM_WINDOW_BYTES as usize);
    assert!((sent as usize) * limits::SNAPSHOT_CHUNK_BYTES < in_between, "{sent} chunks went somewhere");
    // The gate opens for good: everything arrives, also what had to wait for room.
    let opener = std::thread::spawn(move || {
        while Arc::strong_count(&gate) > 1 {
            gate.notify_one();
            std::thread::yield_now();
        }
    });
    let last = sent;
    runtime.block_on(a.transport.send_when_room(B, Class::Snapshot, Cause::Snapshot, chunk(last))).unwrap();
    let mut heard = 1;
    while heard <= last {
        for payload in b.wait_for_batch(Class::Snapshot) {
            assert_eq!(payload[..4], heard.to_be_bytes());
            heard += 1;
        }
    }
    runtime.block_on(b.transport.stop());
    drop((a, b, runtime));
    opener.join().unwrap();
}

#[test]
fn bytes_are_counted_by_sites_and_cause() {
    let runtime = runtime();
    let (a, b) = connected_pair(&runtime);
    for (cause, length) in [(Cause::Append, 10), (Cause::Append, 5), (Cause::Election, 3)] {
        a.transport.send(B, Class::Log, cause, vec![0; length].into()).unwrap();
    }
    let mut messages = 0;
    while messages < 3 {
        messages += b.wait_for_batch(Class::Log).len();
    }
    let expected = |direction| {
        [(direction, site(1), site(2), Cause::Append, 15, 2), (direction, site(1), site(2), Cause::Election, 3, 1)]
    };
    let rows = |store: &Store| -> Vec<_> {
        let rows = store.transport.traffic().into_iter();
        rows.map(|row| (row.direction, row.from_site, row.to_site, row.cause, row.bytes, row.messages)).collect()
    };
    assert_eq!(rows(&a), expected(Direction::Sent));
    assert_eq!(rows(&b), expected(Direction::Received));
}

#[test]
fn a_forgotten_store_is_disconnected() {
    let runtime = runtime();
    let (a, _b) = connected_pair(&runtime);
    a.transport.forget(B);
    a.wait_until(&Event::Disconnected(B, Class::Log));
    assert_eq!(a.transport.send(B, Class::Log, Cause::Append, number(1)), Err(SendError::UnknownAddress(B)));
}

#[test]
fn a_store_that_was_forgotten_loses_its_streams_and_is_told_why() {
    let runtime = runtime();
    let (a, b) = connected_pair(&runtime);
    assert!(b.transport.hears(A, Duration::ZERO) && !b.transport.hears(StoreId(3), Duration::MAX));
    b.transport.forget(A);
    a.wait_until(&Event::Disconnected(B, Class::Log));
    assert_eq!(a.wait_for_refusal(), Refusal::Forgotten);
    b.wait_until(&Event::TurnedAway(A, Refusal::Forgotten));
    assert!(!b.transport.hears(A, Duration::MAX));
}

#[test]
fn streams_that_are_kept_open_say_that_they_live_and_go_on_saying_so() {
    let runtime = runtime();
    let (_a, b) = connected_pair(&runtime);
    for class in [Class::Control, Class::Log, Class::Control, Class::Log] {
        b.wait_until(&Event::Lives(A, class));
    }
}
