//! Requests that no honest client sends, and bytes that are no requests. Others are served all the while.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_proto::v1::range_request::Body;
use holdfast_tests::load::Background;
use holdfast_tests::raw::{self, attempt, put, raw_key, refusal};
use holdfast_tests::scene::Scene;
use holdfast_tests::wait;
use holdfast_types::{Rejected, Timestamp, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::Code;

/// What was refused because the request itself is wrong.
#[track_caller]
fn invalid<T: std::fmt::Debug>(answer: Result<T, tonic::Status>, word: &str) {
    match refusal(answer) {
        Rejected::Invalid(text) => assert!(text.contains(word), "{text:?} does not speak of {word:?}"),
        other => panic!("{other:?} is no refusal about {word:?}"),
    }
}

/// Runs `attack` beside a small load, which must not notice, on a fleet that must be whole at the end.
async fn beside_others(attack: impl AsyncFnOnce(&mut Scene)) {
    let Some(mut scene) = Scene::start(1).await else { return };
    let load = Background::start(&mut scene, 3).await;
    attack(&mut scene).await;
    load.progress().await;
    assert_eq!(load.finish().await, 0, "an honest client saw an error");
    for store in 0..3 {
        assert!(scene.fleet.is_running(store), "store {store} ended");
        let log = scene.fleet.log(store);
        assert!(!log.contains("panicked"), "store {store} panicked");
        assert_eq!(log.matches("the store runs").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_single_requests_get_typed_refusals() {
    beside_others(async |scene| {
        let mut kv = raw::kv(scene.fleet.stores()[1].client).await;
        let long = "k".repeat(limits::MAX_KEY_BYTES + 1);
        let large = "v".repeat(limits::MAX_VALUE_BYTES + 1);
        invalid(kv.get(raw::get("")).await, "empty");
        invalid(kv.put(put("", "v", None)).await, "empty");
        invalid(kv.put(put(&long, "v", None)).await, "key");
        invalid(kv.get(raw::get(&long)).await, "key");
        invalid(kv.put(put("k", &large, None)).await, "value");
        invalid(kv.batch_get(v1::BatchGetRequest::default()).await, "keys");
        let many = v1::BatchGetRequest { keys: vec!["k".into(); limits::MAX_BATCH_KEYS + 1], ..Default::default() };
        invalid(kv.batch_get(many).await, "keys");
        invalid(kv.atomic_batch(v1::AtomicBatchRequest::default()).await, "mutations");
        let twice = v1::KeyMutation { key: "k".into(), value: Some("v".into()), expires_at_ms: 0 };
        let twice = v1::AtomicBatchRequest { mutations: vec![twice.clone(), twice], ..Default::default() };
        invalid(kv.atomic_batch(twice).await, "twice");
        invalid(kv.compare_and_set(v1::CompareAndSetRequest::default()).await, "condition");
        let nothing_expected = v1::CompareAndSetRequest {
            condition: Some(v1::KeyCondition { key: "k".into(), expected: None }),
            mutation: Some(v1::KeyMutation { key: "k".into(), ..Default::default() }),
            ..Default::default()
        };
        invalid(kv.compare_and_set(nothing_expected).await, "expects");
        let reversed = v1::DeleteRangeRequest { start: "b".into(), end: Some("a".into()), ..Default::default() };
        invalid(kv.delete_range(reversed).await, "start");
        let page = v1::DeleteRangeRequest { max_keys: u32::MAX, ..Default::default() };
        invalid(kv.delete_range(page).await, "max_keys");
        let reversed = v1::ScanRequest { start: "b".into(), end: Some("a".into()), ..Default::default() };
        let mut pages = kv.scan(reversed).await.unwrap().into_inner();
        match pages.next().await {
            Some(Err(status)) => invalid::<()>(Err(status), "start"),
            // An interval without keys may as well be an empty scan.
            None => {}
            Some(Ok(page)) => assert!(page.rows.is_empty() && page.resume.is_none(), "{page:?}"),
        }
        // Reads at the beginning and at the end of time are answered or refused, and move no clock.
        for at in [1, u64::MAX] {
            let answer = kv.get(v1::GetRequest { at, ..raw::get("k") }).await;
            if let Err(status) = answer {
                assert!(matches!(refusal::<()>(Err(status)), Rejected::Invalid(_) | Rejected::BelowGcThreshold { .. }));
            }
        }
        let now = Timestamp(scene.describe(1).await.now);
        let version = raw::written(kv.put(put("k", "v", None)).await.unwrap().into_inner());
        assert!(version < now.after(Duration::from_secs(60)), "{version} is not about {now}");
        // Beyond what a message may have: refused before it is decoded.
        let huge = kv.put(put("k", &"v".repeat(limits::MAX_MESSAGE_BYTES + 1), None)).await.unwrap_err();
        assert!(matches!(huge.code(), Code::OutOfRange | Code::ResourceExhausted), "{huge:?}");
        assert!(kv.put(put("k", "v", None)).await.is_ok(), "the connection is still good");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_request_ids_get_typed_refusals() {
    beside_others(async |scene| {
        let mut kv = raw::kv(scene.fleet.stores()[2].client).await;
        let now = Timestamp(scene.describe(2).await.now);
        let soon = Timestamp::from_ms(now.ms() + 30_000);
        let with = |write| put("id", "v", Some(write));
        invalid(kv.put(with(attempt(0, 1, 1, 1, soon))).await, "client");
        invalid(kv.put(with(attempt(5, 1_024, 1, 1, soon))).await, "slot");
        // No slot at all: not even 16 bits hold it.
        invalid(kv.put(with(attempt(5, u32::MAX, 1, 1, soon))).await, "slot");
        invalid(kv.put(with(attempt(5, 1, 0, 1, soon))).await, "sequence");
        invalid(kv.put(with(attempt(5, 1, 1, 0, soon))).await, "attempt");
        invalid(kv.put(with(attempt(5, 1, 1, 1, Timestamp::ZERO))).await, "last moment");
        let far = Timestamp::from_ms(now.ms() + 3_600_000);
        invalid(kv.put(with(attempt(5, 1, 1, 1, far))).await, "last moment");
        invalid(kv.put(with(attempt(5, 1, 1, 1, Timestamp(u64::MAX)))).await, "last moment");
        let past = Timestamp::from_ms(now.ms() - 30_000);
        match refusal(kv.put(with(attempt(5, 1, 1, 1, past))).await) {
            Rejected::PastLastMoment { now: told } => assert!(told > past),
            other => panic!("{other:?}"),
        }
        let nobody = v1::WriteAttempt { id: None, attempt: 1, last_moment: soon.0 };
        invalid(kv.put(with(nobody)).await, "id");
        assert!(kv.put(with(attempt(5, 1, 9, 1, soon))).await.is_ok());
        assert_eq!(refusal(kv.put(with(attempt(5, 1, 8, 1, soon))).await), Rejected::StaleSequence);
        let reused = put("id", "another value", Some(attempt(5, 1, 9, 2, soon)));
        assert_eq!(refusal(kv.put(reused).await), Rejected::RequestReused);
        let elsewhere = put("another key", "v", Some(attempt(5, 1, 9, 3, soon)));
        assert_eq!(refusal(kv.put(elsewhere).await), Rejected::RequestReused);
    })
    .await;
}

/// A stream of raw calls to one store.
struct Calls {
    requests: tokio::sync::mpsc::Sender<v1::StreamRequest>,
    answers: tonic::Streaming<v1::StreamResponse>,
}

impl Calls {
    async fn open(address: SocketAddr) -> Self {
        let (requests, outgoing) = tokio::sync::mpsc::channel(4);
        let mut kv = raw::kv(address).await.max_encoding_message_size(usize::MAX);
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let answers = kv.stream(outgoing).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn answer(&mut self, call: v1::StreamCall) -> Result<v1::range_response::Body, Rejected> {
        let call_id = call.call_id;
        self.requests.send(v1::StreamRequest { calls: vec![call], ..Default::default() }).await.unwrap();
        loop {
            let message = self.answers.next().await.expect("the stream lives").unwrap();
            let Some(answer) = message.answers.into_iter().find(|answer| answer.call_id == call_id) else { continue };
            return match answer.response.unwrap().body.unwrap() {
                v1::range_response::Body::Rejected(rejection) => Err(rejection.try_into().unwrap()),
                body => Ok(body),
            };
        }
    }
}

fn call(call_id: u64, timeout_ms: u32, body: Option<Body>) -> v1::StreamCall {
    let request = Some(v1::RangeRequest { body, ..Default::default() });
    v1::StreamCall { call_id, timeout_ms, request }
}

fn read(keys: Vec<Bytes>) -> Option<Body> {
    Some(Body::Get(v1::RangeGet { keys, at: 0 }))
}

fn change(mutations: Vec<v1::Mutation>) -> Option<Body> {
    Some(Body::Change(v1::RangeWrite { conditions: vec![], mutations }))
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_on_a_stream_are_each_refused_and_the_stream_goes_on() {
    beside_others(async |scene| {
        let mut calls = Calls::open(scene.fleet.stores()[0].client).await;
        let raw = |bytes: &'static [u8]| Bytes::from_static(bytes);
        let bounds = |start, end| Some(v1::KeyRange { start, end: Some(end) });
        let scan = |bounds| v1::RangeScan { bounds, max_rows: 1, max_bytes: 1, ..Default::default() };
        let write = v1::Mutation { key: raw_key("k"), value: Some("v".into()), expires_at: 0 };
        let expiring = v1::Mutation { value: None, expires_at: 1, ..write.clone() };
        let bodies = vec![
            None,
            read(vec![]),
            read(vec![Bytes::new()]),
            read(vec![raw(b"\0\0")]),
            read(vec![raw_key("")]),
            read(vec![raw_key(&"k".repeat(limits::MAX_KEY_BYTES + 1))]),
            change(vec![]),
            change(vec![write.clone(), write.clone()]),
            change(vec![expiring]),
            change(vec![v1::Mutation { value: Some(vec![0; limits::MAX_VALUE_BYTES + 1].into()), ..write.clone() }]),
            Some(Body::Scan(v1::RangeScan::default())),
            Some(Body::Scan(scan(bounds(raw_key("b"), raw_key("a"))))),
            Some(Body::Scan(scan(bounds(raw_key("a"), raw_key("a"))))),
            Some(Body::Scan(v1::RangeScan { max_rows: u32::MAX, ..scan(bounds(raw_key("a"), raw_key("b"))) })),
            Some(Body::DeleteRange(v1::RangeDelete { bounds: bounds(raw_key("b"), raw_key("a")), max_keys: 1 })),
            Some(Body::DeleteRange(v1::RangeDelete { bounds: None, max_keys: u32::MAX })),
        ];
        for (id, body) in (1..).zip(bodies) {
            let shown = format!("{body:?}").chars().take(120).collect::<String>();
            match calls.answer(call(id, 0, body)).await {
                Err(Rejected::Invalid(_)) => {}
                other => panic!("{other:?} to {shown}"),
            }
        }
        let empty = v1::StreamCall { call_id: 100, timeout_ms: 0, request: None };
        assert!(matches!(calls.answer(empty).await, Err(Rejected::Invalid(_))));
        // The system range is not written by clients' guesses of its bounds: a batch from there to here spans ranges.
        let both = change(vec![v1::Mutation { key: raw(b"\0\0\0\0x"), ..write.clone() }, write]);
        assert!(calls.answer(call(101, 0, both)).await.is_err());
        let unknown = v1::RangeRequest { range_id: 0xdead, ..call(0, 0, read(vec![raw_key("k")])).request.unwrap() };
        let unknown = v1::StreamCall { call_id: 102, timeout_ms: 2_000, request: Some(unknown) };
        assert!(matches!(calls.answer(unknown).await, Err(Rejected::WrongRange { .. })));
        // Deadlines of no time and of all time, and cancellations of what is not there.
        let hurried = calls.answer(call(103, 1, read(vec![raw_key("k")]))).await;
        assert!(matches!(hurried, Ok(_) | Err(Rejected::DeadlineExceeded)), "{hurried:?}");
        calls.requests.send(v1::StreamRequest { cancel: vec![0, 103, u64::MAX], ..Default::default() }).await.unwrap();
        assert!(calls.answer(call(104, u32::MAX, read(vec![raw_key("k")]))).await.is_ok());
        assert!(calls.answer(call(106, 0, read(vec![raw_key("k")]))).await.is_ok());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_end_the_stream_that_bears_them_and_no_other() {
    beside_others(async |scene| {
        let address = scene.fleet.stores()[0].client;
        let mut greedy = Calls::open(address).await;
        let mut modest = Calls::open(address).await;
        let count = u64::try_from(limits::STREAM_MAX_CALLS + 1).unwrap();
        let flood = (0..count).map(|id| call(id, 0, read(vec![raw_key("k")]))).collect();
        greedy.requests.send(v1::StreamRequest { calls: flood, ..Default::default() }).await.unwrap();
        let ended = loop {
            match greedy.answers.message().await {
                Ok(message) => assert!(message.is_some(), "the stream ends with a refusal"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::ResourceExhausted, "{ended:?}");
        assert!(modest.answer(call(1, 0, read(vec![raw_key("k")]))).await.is_ok());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_deadlines_neither_hang_nor_hurt() {
    beside_others(async |scene| {
        let mut kv = raw::kv(scene.fleet.stores()[0].client).await;
        for deadline in ["99999999H", "0n", "1n", "0S", "-1S", "123456789S", "soon", "", "5", "5x"] {
            let mut request = tonic::Request::new(raw::get("k"));
            request.metadata_mut().insert("grpc-timeout", deadline.parse().unwrap());
            let answer = tokio::time::timeout(wait::PATIENCE, kv.get(request)).await.expect("an answer");
            if let Err(status) = answer {
                let fits = matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled | Code::InvalidArgument);
                assert!(fits, "{deadline:?}: {status:?}");
            }
        }
        assert!(kv.get(raw::get("k")).await.is_ok());
    })
    .await;
}

/// The beginnings of attacks on a port: nothing, noise, other protocols, half a frame, a frame of absurd length.
fn noise() -> Vec<Vec<u8>> {
    let mut random = 1u32;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.to_be_bytes()[0]
    };
    let noise: Vec<u8> = (0..65_536).map(|_| byte()).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frames = preface.clone();
    // A settings frame of the full length that a frame may claim, cut short; then what is no frame.
    frames.extend_from_slice(&[0xff, 0xff, 0xff, 0x04, 0xff, 0xff, 0xff, 0xff, 0xff]);
    frames.extend_from_slice(&noise[..4_096]);
    vec![
        Vec::new(),
        vec![0],
        vec![0; 65_536],
        vec![0xff; 65_536],
        noise,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)).into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        preface,
        frames,
    ]
}

/// Sends bytes to a port, reads what comes, hangs up. Errors are the port's way to say no.
async fn throw(address: SocketAddr, bytes: Vec<u8>) {
    let Ok(mut stream) = TcpStream::connect(address).await else { panic!("nobody listens on {address}") };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    // Some ports answer with silence: that is an answer too.
    let _ = tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut answer)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_any_port_hurts_nobody() {
    beside_others(async |scene| {
        let mut thrown = tokio::task::JoinSet::new();
        for store in scene.fleet.stores() {
            let heartbeats = SocketAddr::new(store.store.ip(), store.store.port() + 1);
            for port in [store.client, store.store, heartbeats, store.http] {
                for bytes in noise() {
                    thrown.spawn(throw(port, bytes));
                }
            }
        }
        while let Some(ended) = thrown.join_next().await {
            ended.unwrap();
        }
        // A message of another shape under a name that is known.
        let mut grpc = tonic::client::Grpc::new(raw::channel(scene.fleet.stores()[0].client).await);
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Bytes, ()>::default();
        let path = "/holdfast.v1.Kv/Get".parse().unwrap();
        let garbage = tonic::Request::new(Bytes::from_static(b"bytes where a number belongs"));
        let refused = grpc.unary(garbage, path, codec).await.unwrap_err();
        assert!(matches!(refused.code(), Code::Internal | Code::InvalidArgument), "{refused:?}");
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let path = "/holdfast.v1.Kv/NoSuchCall".parse().unwrap();
        assert_eq!(grpc.unary(tonic::Request::new(()), path, codec).await.unwrap_err().code(), Code::Unimplemented);
        for store in 0..3 {
            assert_eq!(scene.describe(store).await.stores.iter().filter(|store| store.alive).count(), 3);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_changes_of_the_fleet_get_refusals() {
    beside_others(async |scene| {
        let mut fleet = scene.fleet.fleet_client(1).await.unwrap();
        let mut admin = scene.fleet.admin_client(1).await.unwrap();
        let range = scene.range_of(1, "row/00001").await.unwrap().descriptor.unwrap();
        let (range_id, expected_epoch) = (range.range_id, range.epoch);
        let split = |key| v1::SplitRangeRequest { key, expected_epoch: None };
        let transfer = |range_id, to| v1::TransferLeaderRequest { range_id, expected_epoch: None, to };
        let change = |range_id, change| v1::ChangeReplicasRequest { range_id, expected_epoch, change };
        let forget = |store_id| v1::ForgetStoreRequest { store_id };
        let to_store = |store| Some(v1::transfer_leader_request::To::StoreId(store));
        let to_site = |site: &str| Some(v1::transfer_leader_request::To::Site(site.into()));
        let stranger = v1::change_replicas_request::Change::AddLearner(v1::AddLearner { store_id: 0xdead });
        let too_long = [&raw_key("")[..], &[b'k'; 5_000]].concat();
        for (place, code) in [
            admin.split_range(split(Bytes::new())).await.err(),
            admin.split_range(split(Bytes::from_static(b"\0\0"))).await.err(),
            admin.split_range(split(Bytes::from_static(b"\0\0\0\0in the system range"))).await.err(),
            admin.split_range(split(too_long.into())).await.err(),
            admin.change_replicas(change(range_id, None)).await.err(),
            admin.change_replicas(change(range_id, Some(stranger))).await.err(),
            admin.transfer_leader(transfer(range_id, None)).await.err(),
            admin.transfer_leader(transfer(range_id, to_site("No such name!"))).await.err(),
            admin.forget_store(forget(0)).await.err(),
            admin.forget_store(forget(u64::MAX)).await.err(),
            admin.transfer_leader(transfer(u64::MAX, to_store(1))).await.err(),
        ]
        .into_iter()
        .enumerate()
        {
            let status = code.unwrap_or_else(|| panic!("malformed change {place} was made"));
            assert!(matches!(refusal::<()>(Err(status)), Rejected::Invalid(_)), "{place}");
        }
        let remove = v1::change_replicas_request::Change::RemoveLearner(v1::RemoveLearner { replica_id: 1 });
        for (code, refused) in [
            (Code::NotFound, admin.change_replicas(change(0xdead, Some(remove))).await.err()),
            (Code::NotFound, admin.transfer_leader(transfer(0xdead, to_store(1))).await.err()),
            (Code::NotFound, admin.forget_store(forget(0xdead)).await.err()),
            // All of them live, and one of them answers the call.
            (Code::FailedPrecondition, admin.forget_store(forget(1)).await.err()),
            (Code::FailedPrecondition, admin.forget_store(forget(2)).await.err()),
            (Code::FailedPrecondition, admin.forget_store(forget(3)).await.err()),
            (Code::FailedPrecondition, admin.transfer_leader(transfer(range_id, to_store(0xdead))).await.err()),
            (Code::FailedPrecondition, admin.transfer_leader(transfer(range_id, to_site("elsewhere"))).await.err()),
        ] {
            let status = refused.expect("a refusal");
            assert_eq!(status.code(), code, "{status:?}");
            assert!(!status.message().is_empty(), "{status:?}");
        }
        // All voters away: refused.
        let all: Vec<_> = range.replicas.iter().map(|replica| replica.replica_id).collect();
        let none_left =
            v1::change_replicas_request::Change::Reconfigure(v1::Reconfigure { promote: vec![], demote: all });
        assert!(admin.change_replicas(change(range_id, Some(none_left))).await.is_err());
        let stale = Some(v1::RangeEpoch { membership: 0, bounds: 1 << 40 });
        let stale = v1::SplitRangeRequest { key: raw_key("row/00002"), expected_epoch: stale };
        let refused = admin.split_range(stale).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        let bounds = Some(v1::KeyRange { start: raw_key("b"), end: Some(raw_key("a")) });
        let none = fleet.locate(v1::LocateRequest { bounds, ..Default::default() }).await;
        assert!(none.map_or(true, |found| found.into_inner().ranges.is_empty()));
        let unchanged = scene.range_of(1, "row/00001").await.unwrap().descriptor.unwrap();
        assert_eq!(unchanged.bounds, range.bounds);
        assert_eq!(unchanged.replicas.len(), 3);
        assert_eq!(scene.describe(1).await.stores.len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_grpc_tool_can_list_the_services_and_ask_for_their_health() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1 as reflection;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let Some(scene) = Scene::start(1).await else { return };
    let channel = raw::channel(scene.fleet.stores()[0].client).await;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "holdfast.v1.Kv"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel);
    let ask = |what| reflection::ServerReflectionRequest { host: String::new(), message_request: Some(what) };
    let questions =
        [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol("holdfast.v1.Kv".into())];
    let mut answers = client.server_reflection_info(tokio_stream::iter(questions.map(ask))).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services was expected")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["holdfast.v1.Kv", "holdfast.v1.Fleet", "holdfast.v1.Admin", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
    let described = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(described, Some(MessageResponse::FileDescriptorResponse(_))), "{described:?}");
}
