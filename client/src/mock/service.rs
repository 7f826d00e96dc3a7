//! The gRPC services of one store of a mock: the protocol of real stores, in front of shared data.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::common::scan_mode;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_trust::Party;
use holdfast_types::{Fingerprint, FleetId, KeyRange, RangeRequest, Rejected, Response as Answer, StoreId, limits};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::data::{Fate, MockData, MockStats};
use crate::core::{ScanPager, ScanPart};

/// Ranges told or listed at a time.
const MAX_RANGES: usize = 1_000;

/// What all stores of a mock share.
pub(super) struct Shared {
    pub(super) fleet: FleetId,
    data: Mutex<MockData>,
    access: Mutex<Access>,
    pub(super) stats: watch::Sender<MockStats>,
    /// Counts the changes of who leads what.
    pub(super) news: watch::Sender<u64>,
}

/// Who may call, and who did.
#[derive(Default)]
pub(super) struct Access {
    /// The one token that is taken; `None`: none is asked for from those with a certificate.
    pub(super) token: Option<String>,
    /// Whoever called with a certificate.
    pub(super) callers: BTreeMap<Fingerprint, Party>,
}

impl Shared {
    pub(super) fn new(fleet: FleetId, data: MockData) -> Self {
        let (data, access) = (Mutex::new(data), Mutex::default());
        Self { fleet, data, access, stats: watch::Sender::default(), news: watch::Sender::default() }
    }

    pub(super) fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, MockData> {
        // A test that panicked has failed already; what is left is whole enough to end it.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the data, and tells who waits for what was counted.
    fn work<T>(&self, work: impl FnOnce(&mut MockData) -> T) -> T {
        let mut data = self.lock();
        let done = work(&mut data);
        self.stats.send_replace(data.stats);
        done
    }

    fn notices(&self) -> Vec<v1::RangeNotice> {
        self.lock().locate(&KeyRange::all(), false, MAX_RANGES).into_iter().map(Into::into).collect()
    }
}

/// One store.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) store: StoreId,
    pub(super) shared: Arc<Shared>,
}

fn malformed(bad: impl ToString) -> Status {
    to_status(Rejected::invalid(bad.to_string()))
}

fn broken() -> Status {
    Status::unavailable("the connection was broken by the test")
}

impl Service {
    /// One request outside of a stream.
    async fn ask(&self, request: RangeRequest) -> Result<Answer, Status> {
        let fate = self.shared.work(|data| data.receive(request.clone()));
        match fate {
            Fate::Answer(outcome) => outcome.map_err(to_status),
            Fate::Later(wait) => {
                sleep(wait).await;
                self.shared.work(|data| data.serve(request)).map_err(to_status)
            }
            Fate::Break => Err(broken()),
            Fate::Silence => std::future::pending().await,
        }
    }

    async fn unary<Q, A>(&self, request: Request<Q>) -> Result<Response<A>, Status>
    where
        RangeRequest: TryFrom<Q, Error: ToString>,
        A: TryFrom<Answer, Error = BadMessage>,
    {
        let request = RangeRequest::try_from(request.into_inner()).map_err(malformed)?;
        let answer = A::try_from(self.ask(request).await?);
        answer.map(Response::new).map_err(|bad| Status::internal(bad.to_string()))
    }

    fn response(&self) -> v1::StreamResponse {
        v1::StreamResponse { now: self.shared.lock().now().0, store_id: self.store.0, ..Default::default() }
    }
}

/// One stream of a client.
struct Conversation {
    service: Service,
    /// Calls that were not answered yet, and what is to be served later.
    open: BTreeMap<u64, Option<RangeRequest>>,
    ripe: mpsc::UnboundedSender<u64>,
}

impl Conversation {
    /// Takes a message; an error ends the stream.
    fn take(&mut self, message: v1::StreamRequest) -> Result<v1::StreamResponse, Status> {
        let fleet = message.hello.and_then(|hello| hello.fleet).map(FleetId::from);
        if fleet.is_some_and(|fleet| fleet != self.service.shared.fleet) {
            return Err(Status::failed_precondition(
                "this store belongs to another fleet than the one the client named",
            ));
        }
        let mut answers = Vec::with_capacity(message.calls.len());
        let shared = Arc::clone(&self.service.shared);
        shared.work(|data| {
            data.stats.messages += 1;
            data.stats.cancelled += message.cancel.len() as u64;
            for call in message.calls {
                let call_id = call.call_id;
                let request = call.request.ok_or_else(|| BadMessage::malformed("the call has no request"));
                let fate = match request.and_then(RangeRequest::try_from) {
                    Ok(request) => self.keep(call_id, &request, data.receive(request.clone())),
                    Err(bad) => Some(Fate::Answer(Err(Rejected::invalid(bad.to_string())))),
                };
                match fate {
                    Some(Fate::Answer(outcome)) => {
                        answers.push(v1::StreamAnswer { call_id, response: Some(outcome.into()) });
                    }
                    Some(_) => return Err(broken()),
                    None => {}
                }
            }
            Ok(())
        })?;
        for call in message.cancel {
            self.open.remove(&call);
        }
        Ok(v1::StreamResponse { answers, ..self.service.response() })
    }

    /// Keeps what is not answered now; gives back the rest.
    fn keep(&mut self, call_id: u64, request: &RangeRequest, fate: Fate) -> Option<Fate> {
        match fate {
            Fate::Later(wait) => {
                self.open.insert(call_id, Some(request.clone()));
                let ripe = self.ripe.clone();
                tokio::spawn(async move {
                    sleep(wait).await;
                    // A stream that has ended serves nothing any more.
                    let _ = ripe.send(call_id);
                });
                None
            }
            Fate::Silence => {
                self.open.insert(call_id, None);
                None
            }
            fate => Some(fate),
        }
    }

    /// Serves a call that had to wait, unless it was cancelled.
    fn serve(&mut self, call_id: u64) -> v1::StreamResponse {
        let request = self.open.remove(&call_id).flatten();
        let answer = |request| {
            let outcome = self.service.shared.work(|data| data.serve(request));
            v1::StreamAnswer { call_id, response: Some(outcome.into()) }
        };
        let answers = request.map(answer).into_iter().collect();
        v1::StreamResponse { answers, ..self.service.response() }
    }
}

async fn converse(
    service: Service,
    mut calls: Streaming<v1::StreamRequest>,
    out: mpsc::Sender<Result<v1::StreamResponse, Status>>,
) {
    let (ripe, mut due) = mpsc::unbounded_channel();
    let mut news = service.shared.news.subscribe();
    let mut conversation = Conversation { service: service.clone(), open: BTreeMap::new(), ripe };
    let mut is_finished = false;
    let hello = v1::StreamResponse { notices: service.shared.notices(), ..service.response() };
    if out.send(Ok(hello)).await.is_err() {
        return;
    }
    // Who finishes is answered what is open, and nothing more.
    while !is_finished || !conversation.open.is_empty() {
        let message = tokio::select! {
            message = calls.message(), if !is_finished => match message {
                Ok(Some(message)) => conversation.take(message),
                Ok(None) => {
                    is_finished = true;
                    continue;
                }
                Err(_) => return,
            },
            Some(call_id) = due.recv() => Ok(conversation.serve(call_id)),
            Ok(()) = news.changed() => {
                Ok(v1::StreamResponse { notices: service.shared.notices(), ..service.response() })
            }
            () = sleep(limits::STREAM_SIGN_OF_LIFE), if !conversation.open.is_empty() => Ok(service.response()),
        };
        let ends = message.is_err();
        if out.send(message).await.is_err() || ends {
            return;
        }
    }
}

type Unary<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::kv_server::Kv for Service {
    type ScanStream = ReceiverStream<Result<v1::ScanResponse, Status>>;
    type StreamStream = ReceiverStream<Result<v1::StreamResponse, Status>>;

    async fn stream(&self, request: Request<Streaming<v1::StreamRequest>>) -> Unary<Self::StreamStream> {
        let (out, messages) = mpsc::channel(16);
        tokio::spawn(converse(self.clone(), request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Unary<v1::GetResponse> {
        self.unary(request).await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Unary<v1::WriteResponse> {
        self.unary(request).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Unary<v1::WriteResponse> {
        self.unary(request).await
    }

    async fn compare_and_set(&self, request: Request<v1::CompareAndSetRequest>) -> Unary<v1::WriteResponse> {
        self.unary(request).await
    }

    async fn atomic_batch(&self, request: Request<v1::AtomicBatchRequest>) -> Unary<v1::WriteResponse> {
        self.unary(request).await
    }

    async fn batch_get(&self, request: Request<v1::BatchGetRequest>) -> Unary<v1::BatchGetResponse> {
        self.unary(request).await
    }

    async fn delete_range(&self, request: Request<v1::DeleteRangeRequest>) -> Unary<v1::DeleteRangeResponse> {
        self.unary(request).await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Unary<Self::ScanStream> {
        let asked = request.into_inner();
        let keyspace = holdfast_proto::convert::kv::keyspace(asked.keyspace);
        let bounds = holdfast_proto::convert::kv::bounds(keyspace, &asked.start, asked.end.as_deref());
        let at = (asked.at != 0).then_some(holdfast_types::Timestamp(asked.at));
        let part = asked.part.filter(|part| part.at != 0).map(|part| ScanPart {
            at: holdfast_types::Timestamp(part.at),
            until: part.until.map(|until| holdfast_types::Key::bound(keyspace, &until)),
        });
        let mut pager = ScanPager::new(bounds, asked.reverse, at, (asked.max_rows != 0).then_some(asked.max_rows))
            .within(part)
            .with_mode(scan_mode(asked.mode));
        let (out, pages) = mpsc::channel(2);
        let service = self.clone();
        tokio::spawn(async move {
            while let Some(request) = pager.next_request() {
                let request = RangeRequest { range: None, write: None, request };
                let page = service.ask(request).await;
                let page = page.and_then(|answer| {
                    pager.take(answer.clone()).map_err(|misfit| Status::internal(misfit.0))?;
                    let mut page = v1::ScanResponse::try_from(answer).map_err(malformed)?;
                    page.part = pager.part().map(|part| v1::ScanPart {
                        at: part.at.0,
                        until: part.until.as_ref().map(holdfast_proto::convert::kv::user_key),
                    });
                    Ok(page)
                });
                let ends = page.is_err();
                if out.send(page).await.is_err() || ends {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(pages)))
    }
}

#[tonic::async_trait]
impl v1::fleet_server::Fleet for Service {
    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Unary<v1::DescribeResponse> {
        let data = self.shared.lock();
        let mut sites: BTreeMap<String, v1::SiteInfo> = BTreeMap::new();
        for member in &data.members {
            let name = member.site.to_string();
            let site = sites.entry(name.clone()).or_insert_with(|| v1::SiteInfo { name, ..Default::default() });
            site.stores += 1;
            site.alive += u32::from(member.lives);
        }
        let stores = data.members.iter().map(|member| v1::StoreInfo {
            store_id: member.store.0,
            site: member.site.to_string(),
            client_address: member.advertised.clone(),
            alive: member.lives,
            ..Default::default()
        });
        Ok(Response::new(v1::DescribeResponse {
            fleet: Some(self.shared.fleet.into()),
            store_id: self.store.0,
            now: data.now().0,
            sites: sites.into_values().collect(),
            stores: stores.collect(),
        }))
    }

    async fn locate(&self, request: Request<v1::LocateRequest>) -> Unary<v1::LocateResponse> {
        let asked = request.into_inner();
        let bounds = match asked.bounds {
            Some(bounds) => KeyRange::try_from(bounds).map_err(malformed)?,
            None => KeyRange::all(),
        };
        let limit = usize::try_from(asked.limit).unwrap_or(MAX_RANGES).clamp(1, MAX_RANGES);
        let data = self.shared.lock();
        let ranges = data.locate(&bounds, asked.reverse, limit).into_iter().map(Into::into).collect();
        Ok(Response::new(v1::LocateResponse { ranges, now: data.now().0, ..v1::LocateResponse::default() }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Unary<v1::StatusResponse> {
        Ok(Response::new(v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_id: self.store.0,
            fleet: Some(self.shared.fleet.into()),
            ..Default::default()
        }))
    }

    async fn join(&self, _: Request<v1::JoinRequest>) -> Unary<v1::JoinResponse> {
        Err(Status::failed_precondition("a mock takes no stores in"))
    }

    async fn announce(&self, _: Request<v1::AnnounceRequest>) -> Unary<v1::AnnounceResponse> {
        Err(Status::failed_precondition("a mock has no stores that could move"))
    }

    async fn init(&self, _: Request<v1::InitRequest>) -> Unary<v1::InitResponse> {
        Err(Status::already_exists("a mock is founded already"))
    }
}
