//! The client against a store of a few lines, over real sockets on loopback.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::{
    Expected, FleetId, Key, KeyRange, LeaderHint, Located, RangeDescriptor, RangeEpoch, RangeId, RangeRequest,
    Rejected, ReplicaDescriptor, ReplicaId, Request, RequestId, Response, Role, Row, SiteName, StoreId, Term,
    Timestamp, VersionedValue,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Response as Answer, Status, Streaming};

use crate::{Batch, Client, ClientError, Options, WriteOutcome, blocking};

/// What the next call is answered instead of being served.
enum Trick {
    Refuse(Rejected),
    /// Serve it, then end the stream without an answer.
    ServeAndBreak,
    Hold,
}

#[derive(Default)]
struct Data {
    rows: BTreeMap<Key, VersionedValue>,
    written: BTreeMap<RequestId, Response>,
    tricks: VecDeque<Trick>,
    time: u64,
    messages: usize,
    calls: usize,
}

#[derive(Clone)]
struct Store {
    id: u64,
    address: String,
    data: Arc<Mutex<Data>>,
    cancelled: mpsc::UnboundedSender<u64>,
}

impl Data {
    fn serve(&mut self, request: RangeRequest) -> Result<Response, Rejected> {
        holdfast_types::validate(&request, holdfast_types::limits::MAX_VALUE_BYTES)?;
        let id = request.write.map(|write| write.id);
        if let Some(done) = id.and_then(|id| self.written.get(&id)) {
            return Ok(done.clone());
        }
        self.time += 1;
        let timestamp = Timestamp::from_ms(1_000_000 + self.time);
        let response = match request.request {
            Request::Get { keys, .. } => {
                Response::Got { values: keys.iter().map(|key| self.rows.get(key).cloned()).collect() }
            }
            Request::Scan { bounds, reverse, max_rows, .. } => self.scan(&bounds, reverse, max_rows, timestamp),
            Request::Write { conditions, mutations } => {
                for (index, condition) in (0..).zip(&conditions) {
                    let actual = self.rows.get(&condition.key).cloned();
                    let holds = match &condition.expected {
                        Expected::Absent => actual.is_none(),
                        Expected::Value(value) => actual.as_ref().is_some_and(|a| a.value == value),
                        Expected::Version(version) => actual.as_ref().is_some_and(|a| a.timestamp == *version),
                    };
                    if !holds {
                        return Ok(Response::ConditionFailed { index, actual });
                    }
                }
                for mutation in mutations {
                    match mutation.value {
                        Some(value) => self.rows.insert(mutation.key, VersionedValue { value, timestamp }),
                        None => self.rows.remove(&mutation.key),
                    };
                }
                Response::Written { timestamp }
            }
            Request::DeleteRange { bounds, max_keys } => {
                let Response::Scanned { rows, resume, .. } = self.scan(&bounds, false, max_keys, timestamp) else {
                    unreachable!()
                };
                rows.iter().for_each(|row| drop(self.rows.remove(&row.key)));
                Response::RangeDeleted { deleted: u32::try_from(rows.len()).unwrap(), resume, timestamp }
            }
        };
        id.and_then(|id| self.written.insert(id, response.clone()));
        Ok(response)
    }

    fn scan(&self, bounds: &KeyRange, reverse: bool, max_rows: u32, at: Timestamp) -> Response {
        let rows = self.rows.iter().filter(|(key, _)| bounds.contains(key));
        let mut rows: Vec<Row> = rows.map(|(key, value)| Row { key: key.clone(), value: value.clone() }).collect();
        if reverse {
            rows.reverse();
        }
        let max_rows = usize::try_from(max_rows).unwrap();
        let more = rows.len() > max_rows;
        rows.truncate(max_rows);
        let last = rows.last().filter(|_| more).map(|row| row.key.clone());
        Response::Scanned { rows, resume: last.map(|key| if reverse { key } else { key.next() }), at }
    }
}

impl Store {
    /// Serves on a port of its own; `leader` is who leads the one range there is.
    async fn start(id: u64) -> (Self, mpsc::UnboundedReceiver<u64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cancelled, cancels) = mpsc::unbounded_channel();
        let store = Store { id, address, data: Arc::default(), cancelled };
        let server = tonic::transport::Server::builder()
            .add_service(v1::kv_server::KvServer::new(store.clone()))
            .add_service(v1::fleet_server::FleetServer::new(store.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (store, cancels)
    }

    fn trick(&self, trick: Trick) {
        self.data.lock().unwrap().tricks.push_back(trick);
    }

    fn range(&self) -> Located {
        let site = SiteName::new("a").unwrap();
        let replica = ReplicaDescriptor { replica: ReplicaId(1), store: StoreId(self.id), site, role: Role::Voter };
        let descriptor = RangeDescriptor {
            range: RangeId(1),
            bounds: KeyRange::all(),
            epoch: RangeEpoch::default(),
            replicas: vec![replica],
            next_replica: ReplicaId(2),
        };
        Located { descriptor, leader: Some(LeaderHint { store: StoreId(self.id), address: None }), term: Term(0) }
    }

    /// Answers one message; an error ends the stream.
    fn message(&self, message: v1::StreamRequest) -> Result<v1::StreamResponse, Status> {
        let mut data = self.data.lock().unwrap();
        data.messages += 1;
        let mut answers = vec![];
        for call in message.calls {
            data.calls += 1;
            let request = RangeRequest::try_from(call.request.unwrap()).unwrap();
            let outcome = match data.tricks.pop_front() {
                Some(Trick::Refuse(rejected)) => Err(rejected),
                Some(Trick::Hold) => continue,
                Some(Trick::ServeAndBreak) => {
                    data.serve(request).unwrap();
                    return Err(Status::unavailable("broken"));
                }
                None => data.serve(request),
            };
            answers.push(v1::StreamAnswer { call_id: call.call_id, response: Some(outcome.into()) });
        }
        for call in message.cancel {
            let _ = self.cancelled.send(call);
        }
        let now = Timestamp::from_ms(1_000_000 + data.time).0;
        Ok(v1::StreamResponse { now, store_id: self.id, answers, notices: vec![] })
    }
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_here<T>() -> Result<Answer<T>, Status> {
    Err(Status::internal("not in this test"))
}

#[tonic::async_trait]
impl v1::kv_server::Kv for Store {
    type ScanStream = Boxed<v1::ScanResponse>;
    type StreamStream = Boxed<v1::StreamResponse>;

    async fn stream(
        &self,
        request: tonic::Request<Streaming<v1::StreamRequest>>,
    ) -> Result<Answer<Self::StreamStream>, Status> {
        let (store, mut messages) = (self.clone(), request.into_inner());
        let (answers, stream) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                let answer = store.message(message);
                let ends = answer.is_err();
                if answers.send(answer).await.is_err() || ends {
                    return;
                }
            }
        });
        Ok(Answer::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn get(&self, _: tonic::Request<v1::GetRequest>) -> Result<Answer<v1::GetResponse>, Status> {
        not_here()
    }
    async fn put(&self, _: tonic::Request<v1::PutRequest>) -> Result<Answer<v1::WriteResponse>, Status> {
        not_here()
    }
    async fn delete(&self, _: tonic::Request<v1::DeleteRequest>) -> Result<Answer<v1::WriteResponse>, Status> {
        not_here()
    }
    async fn compare_and_set(
        &self,
        _: tonic::Request<v1::CompareAndSetRequest>,
    ) -> Result<Answer<v1::WriteResponse>, Status> {
        not_here()
    }
    async fn atomic_batch(
        &self,
        _: tonic::Request<v1::AtomicBatchRequest>,
    ) -> Result<Answer<v1::WriteResponse>, Status> {
        not_here()
    }
    async fn batch_get(&self, _: tonic::Request<v1::BatchGetRequest>) -> Result<Answer<v1::BatchGetResponse>, Status> {
        not_here()
    }
    async fn delete_range(
        &self,
        _: tonic::Request<v1::DeleteRangeRequest>,
    ) -> Result<Answer<v1::DeleteRangeResponse>, Status> {
        not_here()
    }
    async fn scan(&self, _: tonic::Request<v1::ScanRequest>) -> Result<Answer<Self::ScanStream>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl v1::fleet_server::Fleet for Store {
    async fn describe(&self, _: tonic::Request<v1::DescribeRequest>) -> Result<Answer<v1::DescribeResponse>, Status> {
        let store = v1::StoreInfo {
            store_id: self.id,
            site: "a".into(),
            client_address: self.address.clone(),
            ..Default::default()
        };
        Ok(Answer::new(v1::DescribeResponse {
            fleet: Some(FleetId(7).into()),
            store_id: self.id,
            now: Timestamp::from_ms(1_000_000).0,
            stores: vec![store],
            ..Default::default()
        }))
    }

    async fn locate(&self, _: tonic::Request<v1::LocateRequest>) -> Result<Answer<v1::LocateResponse>, Status> {
        let now = Timestamp::from_ms(1_000_000).0;
        Ok(Answer::new(v1::LocateResponse { ranges: vec![self.range().into()], resume: None, now }))
    }

    async fn status(&self, _: tonic::Request<v1::StatusRequest>) -> Result<Answer<v1::StatusResponse>, Status> {
        not_here()
    }
    async fn join(&self, _: tonic::Request<v1::JoinRequest>) -> Result<Answer<v1::JoinResponse>, Status> {
        not_here()
    }
    async fn init(&self, _: tonic::Request<v1::InitRequest>) -> Result<Answer<v1::InitResponse>, Status> {
        not_here()
    }
    async fn split_range(&self, _: tonic::Request<v1::SplitRangeRequest>) -> Result<Answer<v1::RangeChanged>, Status> {
        not_here()
    }
    async fn change_replicas(
        &self,
        _: tonic::Request<v1::ChangeReplicasRequest>,
    ) -> Result<Answer<v1::RangeChanged>, Status> {
        not_here()
    }
    async fn transfer_leader(
        &self,
        _: tonic::Request<v1::TransferLeaderRequest>,
    ) -> Result<Answer<v1::RangeChanged>, Status> {
        not_here()
    }
}

async fn connected() -> (Store, mpsc::UnboundedReceiver<u64>, Client) {
    let (store, cancels) = Store::start(1).await;
    let client = Client::connect([store.address.clone()], Options::default()).await.unwrap();
    (store, cancels, client)
}

#[tokio::test]
async fn every_operation_does_what_it_says() {
    let (_store, _cancels, client) = connected().await;
    let version = client.put("b", "1").await.unwrap();
    assert_eq!(client.get("b").await.unwrap().unwrap().timestamp, version);
    assert_eq!(client.get("nothing").await.unwrap(), None);
    let swapped =
        client.compare_and_set("b", Expected::Version(version), Some(Bytes::from_static(b"2"))).await.unwrap();
    assert!(swapped.is_written());
    let WriteOutcome::ConditionFailed { index: 0, actual: Some(actual) } =
        client.compare_and_set("b", Expected::Absent, None).await.unwrap()
    else {
        panic!("the key exists")
    };
    assert_eq!(&actual.value[..], b"2");
    client.batch(Batch::new().put("a", "1").put_for("c", "3", Duration::from_secs(9)).put("d", "4")).await.unwrap();
    client.delete("d").await.unwrap();
    let values = client.batch_get(["c", "x", "a"]).await.unwrap();
    assert_eq!(values.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let keys = |rows: Vec<crate::KeyValue>| rows.iter().map(|r| r.key[0] as char).collect::<String>();
    assert_eq!(keys(client.scan("", None).pages(1, 1_000).collect().await.unwrap()), "abc");
    assert_eq!(keys(client.scan("", Some("c")).reverse().collect().await.unwrap()), "ba");
    assert_eq!(keys(client.scan("", None).limit(2).collect().await.unwrap()), "ab");
    assert_eq!(client.delete_range("b", None).await.unwrap(), 2);
    assert_eq!(keys(client.scan("", None).collect().await.unwrap()), "a");
    assert!(client.get("").await.is_err(), "an empty key");
}

#[tokio::test]
async fn calls_in_flight_share_messages() {
    let (store, _cancels, client) = connected().await;
    client.put("warm", "up").await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for i in 0..1_000 {
        let client = client.clone();
        calls.spawn(async move { client.put(format!("k{i}"), "v").await });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap();
    }
    let data = store.data.lock().unwrap();
    assert_eq!((data.calls, data.rows.len()), (1_001, 1_001));
    assert!(data.messages < 100, "{} messages", data.messages);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_applied_once() {
    let (store, _cancels, client) = connected().await;
    store.trick(Trick::ServeAndBreak);
    let outcome = client.compare_and_set("k", Expected::Absent, Some(Bytes::from_static(b"v"))).await.unwrap();
    assert!(outcome.is_written(), "the second attempt finds what the first one did");
    let data = store.data.lock().unwrap();
    assert_eq!((data.calls, data.time), (2, 1));
}

#[tokio::test]
async fn refusals_are_retried_until_one_is_final() {
    let (store, _cancels, client) = connected().await;
    store.trick(Trick::Refuse(Rejected::Busy { retry_after: Duration::from_millis(1) }));
    store.trick(Trick::Refuse(Rejected::Unavailable("starting".into())));
    let spans = Rejected::SpansRanges { split_key: Key::MIN };
    store.trick(Trick::Refuse(spans.clone()));
    assert_eq!(client.put("k", "v").await, Err(ClientError::Rejected(spans)));
    assert_eq!(store.data.lock().unwrap().calls, 3);
}

#[tokio::test]
async fn a_hint_leads_to_a_store_never_heard_of() {
    let (first, _cancels, client) = connected().await;
    let (second, _cancels) = Store::start(2).await;
    let leader = LeaderHint { store: StoreId(2), address: Some(second.address.clone()) };
    first.trick(Trick::Refuse(Rejected::NotLeader { range: RangeId(1), leader: Some(leader) }));
    client.put("k", "v").await.unwrap();
    assert_eq!((first.data.lock().unwrap().rows.len(), second.data.lock().unwrap().rows.len()), (0, 1));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_at_the_store() {
    let (store, mut cancels, client) = connected().await;
    store.trick(Trick::Hold);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.put("held", "v").await }
    });
    while store.data.lock().unwrap().calls == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    assert!(cancels.recv().await.is_some());
    client.put("next", "v").await.unwrap();
    assert!(!store.data.lock().unwrap().rows.contains_key(&Key::bound(holdfast_types::KeyspaceId::DEFAULT, b"held")));
}

#[tokio::test]
async fn without_any_store_connecting_says_so() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let options = Options { deadline: Duration::ZERO, ..Options::default() };
    let outcome = Client::connect([unused], options).await;
    assert!(matches!(outcome.err(), Some(ClientError::Unreachable(_))));
}

#[test]
fn the_blocking_client_does_the_same() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (store, _cancels) = runtime.block_on(Store::start(1));
    let client = blocking::Client::connect([store.address.clone()], Options::default()).unwrap();
    client.put("a", "1").unwrap();
    client.put("b", "2").unwrap();
    assert_eq!(&client.get("a").unwrap().unwrap().value[..], b"1");
    let pages: Vec<_> = client.scan("", None, |scan| scan.reverse().pages(1, 100)).collect::<Result<_, _>>().unwrap();
    assert_eq!((pages.len(), &pages[0][0].key[..]), (2, &b"b"[..]));
    assert_eq!(client.delete_range("", None).unwrap(), 2);
}
