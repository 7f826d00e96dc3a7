//! Single packets between stores that once ended a store, some of them for good: each is thrown at real processes, which live, start
//! again and serve.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_proto::v1::store_transport_client::StoreTransportClient;
use holdfast_tests::links::{frame, framed, hello};
use holdfast_tests::raw;
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MOST: u64 = u64::MAX;
/// A store that does not exist.
const INVENTED: u64 = 4_242;

/// Says a hello on the support port and then these heartbeats, and reads what is answered until nothing more comes.
async fn support(port: SocketAddr, hello: v1::LinkHello, heartbeats: &[v1::SupportMessage]) {
    let mut stream = TcpStream::connect(port).await.unwrap();
    let mut bytes = framed(&frame(Body::Hello(hello)).encode_to_vec());
    for heartbeat in heartbeats {
        bytes.extend(framed(&heartbeat.encode_to_vec()));
    }
    // A store that refuses the hello may close before it has read the rest.
    let _ = stream.write_all(&bytes).await;
    let mut answer = [0; 8_192];
    let _ = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut answer)).await;
    let _ = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut answer)).await;
}

/// Opens a stream to the store port and sends these messages on it.
async fn stream(port: SocketAddr, hello: v1::LinkHello, bodies: Vec<v1::store_message::Body>) {
    let mut client = StoreTransportClient::new(raw::channel(port).await);
    let messages = bodies.into_iter().map(|body| {
        let payload: Bytes = v1::StoreMessage { version: 1, body: Some(body) }.encode_to_vec().into();
        v1::LinkMessage { payload, cause: 0 }
    });
    let batch = frame(Body::Batch(v1::LinkBatch { messages: messages.collect() }));
    let (frames, outgoing) = tokio::sync::mpsc::channel(4);
    frames.send(frame(Body::Hello(hello))).await.unwrap();
    frames.send(batch).await.unwrap();
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let Ok(answers) = client.open(outgoing).await else { return };
    let mut answers = answers.into_inner();
    let _ = tokio::time::timeout(Duration::from_secs(2), answers.message()).await;
    let _ = tokio::time::timeout(Duration::from_millis(300), answers.message()).await;
}

/// Two ports in a row, of which the second hears heartbeats.
async fn listeners() -> (SocketAddr, TcpListener) {
    loop {
        let streams = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = streams.local_addr().unwrap();
        let Some(next) = address.port().checked_add(1) else { continue };
        if let Ok(heartbeats) = TcpListener::bind(("127.0.0.1", next)).await {
            return (address, heartbeats);
        }
    }
}

/// Answers whoever connects with these refusals, one after the other.
async fn refuse(listener: TcpListener, refusals: Vec<v1::LinkRefused>) {
    for refused in refusals.into_iter().cycle() {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut hello = [0; 4_096];
        let _ = stream.read(&mut hello).await;
        let _ = stream.write_all(&framed(&frame(Body::Refused(refused)).encode_to_vec())).await;
    }
}

fn refused(reason: v1::LinkRefusal, counted: u64) -> v1::LinkRefused {
    v1::LinkRefused { reason: reason.into(), incarnation: counted, counter: counted, ..v1::LinkRefused::default() }
}

fn heartbeat(with: impl FnOnce(&mut v1::SupportMessage)) -> v1::SupportMessage {
    let mut message = v1::SupportMessage { version: 1, incarnation: 1, ..v1::SupportMessage::default() };
    with(&mut message);
    message
}

fn report(descriptor: &v1::RangeDescriptor) -> v1::store_message::Body {
    let range = v1::RangeReport {
        descriptor: Some(descriptor.clone()),
        term: 99,
        size_bytes: MOST,
        reads_per_second: MOST,
        writes_per_second: MOST,
        write_bytes_per_second: MOST,
        caught_up: vec![MOST, 1],
        has_lease: true,
    };
    let again = v1::RangeReport { caught_up: vec![1], ..range.clone() };
    v1::store_message::Body::Report(v1::StoreReport {
        store_id: 2,
        site: "elsewhere".into(),
        incarnation: 1,
        workers: 1,
        disk_total_bytes: MOST,
        disk_free_bytes: MOST,
        cores: u32::MAX,
        replicas: MOST,
        used_millicores: MOST,
        disk_ok: true,
        ranges: vec![again],
        ..v1::StoreReport::default()
    })
}

fn offer(descriptor: &v1::RangeDescriptor, size_bytes: u64) -> v1::store_message::Body {
    let manifest = v1::SnapshotManifest {
        snapshot_id: Some(v1::Id128 { high: 1, low: 1 }),
        range_id: descriptor.range_id,
        bounds: descriptor.bounds.clone(),
        files: vec![v1::SnapshotFile { size_bytes, checksum: 1 }; 2],
        ..v1::SnapshotManifest::default()
    };
    let envelope = v1::RaftMessage {
        range_id: descriptor.range_id,
        from_replica: 2,
        to_replica: 1,
        descriptor: Some(descriptor.clone()),
        ..v1::RaftMessage::default()
    };
    v1::store_message::Body::SnapshotOffer(v1::SnapshotOffer { envelope: Some(envelope), manifest: Some(manifest) })
}

/// All the packets, at one store: `other` is the id of one that lives beside it.
async fn attack(scene: &mut Scene, index: usize) {
    let described = scene.describe(index).await;
    let (fleet, to) = (described.fleet.unwrap(), described.store_id);
    let other = if to == 1 { 2 } else { 1 };
    let streams = scene.fleet.stores()[index].store;
    let heartbeats = SocketAddr::new(streams.ip(), streams.port() + 1);
    let by = |from| hello(fleet, from, to, v1::LinkClass::Support);
    support(heartbeats, v1::LinkHello { site: "s".repeat(4_010), ..by(INVENTED) }, &[]).await;
    for from in [INVENTED, other, MOST] {
        support(heartbeats, v1::LinkHello { incarnation: MOST, ..by(from) }, &[]).await;
        support(heartbeats, v1::LinkHello { started_at: MOST, ..by(from) }, &[]).await;
        let refusal = |seen| v1::SupportRefusal { asker_incarnation: 1, seen_incarnation: seen, seen_counter: seen };
        let said = [
            heartbeat(|said| said.counter = MOST),
            heartbeat(|said| said.counter = MOST),
            heartbeat(|said| said.started_at = MOST),
            heartbeat(|said| said.wall_ms = MOST),
            heartbeat(|said| said.refusal = Some(refusal(MOST))),
            heartbeat(|said| said.refusal = Some(refusal(9))),
        ];
        support(heartbeats, by(from), &said).await;
    }
    let range = scene.range_of(index, "k").await.unwrap().descriptor.unwrap();
    for from in [INVENTED, other] {
        let control = hello(fleet, from, to, v1::LinkClass::Control);
        let bodies = vec![report(&range), offer(&range, MOST), offer(&range, MOST / 2), report(&range)];
        stream(streams, control, bodies).await;
    }
    // A store that does not exist is looked for where somebody says it is, and answers.
    let (place, listener) = listeners().await;
    let answers = [v1::LinkRefusal::OldIncarnation, v1::LinkRefusal::PutBack, v1::LinkRefusal::Forgotten]
        .map(|reason| [refused(reason, MOST), refused(reason, 9)]);
    let answering = tokio::spawn(refuse(listener, answers.concat()));
    let lure =
        v1::LinkHello { store_address: place.to_string(), class: v1::LinkClass::Control.into(), ..by(INVENTED + 1) };
    stream(streams, lure, Vec::new()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    answering.abort();
    // Names that somebody makes up.
    for invented in 0..300 {
        let hello = v1::LinkHello { site: format!("made-up-{invented}"), ..by(10_000 + invented) };
        let mut stream = TcpStream::connect(heartbeats).await.unwrap();
        let bytes = [framed(&frame(Body::Hello(hello)).encode_to_vec()), framed(&heartbeat(|_| {}).encode_to_vec())];
        let _ = stream.write_all(&bytes.concat()).await;
        let mut answer = [0; 64];
        let _ = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut answer)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_single_packet_ends_a_store_and_each_starts_again_and_serves() {
    let Some(mut scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    client.put("k", "before").await.unwrap();
    let lines = |metrics: Option<String>| metrics.expect("the store answers").lines().count();
    let before = lines(raw::http_get(scene.fleet.stores()[0].http, "/metrics").await);
    for index in 0..3 {
        attack(&mut scene, index).await;
        for store in 0..3 {
            assert!(scene.fleet.is_running(store), "store {store} ended:\n{}", scene.fleet.log(store));
        }
    }
    let after = lines(raw::http_get(scene.fleet.stores()[0].http, "/metrics").await);
    assert!(after < before + 200, "{before} lines of metrics became {after}");
    client.put("k", "after").await.unwrap();
    // Nothing of it was written down that the next start would fail on.
    for index in 0..3 {
        scene.fleet.kill(index).unwrap();
        scene.fleet.start_store(index).unwrap();
        scene.fleet.wait_listening(index).await.unwrap();
        let fleet = &scene.fleet;
        wait::until("the store is a member again", async || {
            raw::http_get(fleet.stores()[index].http, "/readyz").await.filter(|answer| answer.contains("200"))
        })
        .await;
        client.put("k", format!("start {index}")).await.unwrap();
    }
    for store in 0..3 {
        assert!(!scene.fleet.log(store).contains("panicked"), "store {store} panicked");
        let found = Scene::describe(&scene, store).await;
        assert_eq!(found.stores.iter().filter(|store| store.alive).count(), 3);
    }
    assert_eq!(&client.get("k").await.unwrap().unwrap().value[..], b"start 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_without_a_next_one_is_refused_with_a_sentence() {
    let Some(scene) = Scene::prepare(1, 1).await else { return };
    let dir = scene.path("data").display().to_string();
    let run = ["start", "--insecure", "--site", "a", "--data-dir", &dir, "--listen-store", "127.0.0.1:65535"];
    let output = scene.run(&[&run[..], &["--advertise-store", "127.0.0.1:7400"]].concat()).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("heartbeats") && !said.contains("panicked"), "{said}");
}
