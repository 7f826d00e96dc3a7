//! `Kv.Stream`: many calls at a time on one stream, in both directions in batches.
//!
//! One task reads calls and hands them to the store; one task packs whatever has been answered meanwhile into one message.
//! Bounds: open calls, and bytes of answers that the client has not taken yet; beyond the latter no calls are read. What is told of
//! ranges goes in messages of bounded size too, as the client takes them, between the answers.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_kv::core::permit::Authority;
use holdfast_kv::driver::Cancellation;
use holdfast_kv::ports::Reply;
use holdfast_proto::v1::{RangeNotice, StreamAnswer, StreamCall, StreamRequest, StreamResponse};
use holdfast_types::{Key, RangeRequest, Rejected, Response as Answer, Timestamp, limits};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::requests::{Kind, RequestCounters};
use crate::running::Running;

/// Bytes of answers that a client has not taken; beyond it we stop reading its calls.
const MAX_UNTAKEN_BYTES: usize = 32 << 20;
/// Answers packed into one message.
const MAX_ANSWERS: usize = 1_024;
/// How long a stopping store waits for a client to take its last answers.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_millis(200);
/// Messages ready for the client's connection.
const READY_MESSAGES: usize = 4;

/// What the reading and the writing task share.
struct Session {
    running: Arc<Running>,
    answers: mpsc::UnboundedSender<Answered>,
    open: Mutex<HashMap<u64, Cancellation>>,
    untaken_bytes: AtomicUsize,
    taken: Notify,
    /// Calls are open where none were.
    busy: Notify,
    /// The client has said all that it will say.
    said_all: Notify,
}

struct Answered {
    call_id: u64,
    outcome: Result<Answer, Rejected>,
    fleet_now: Timestamp,
}

struct StreamReply {
    call_id: u64,
    kind: Kind,
    begun: std::time::Instant,
    requests: Arc<RequestCounters>,
    answers: mpsc::UnboundedSender<Answered>,
}

impl Reply for StreamReply {
    fn answer(self: Box<Self>, outcome: Result<Answer, Rejected>, fleet_now: Timestamp) {
        self.requests.ended(self.kind, self.begun, &outcome);
        // A stream that has ended takes no answers, and nobody waits for them.
        let _ = self.answers.send(Answered { call_id: self.call_id, outcome, fleet_now });
    }
}

/// Serves one stream.
pub fn serve(running: Arc<Running>, calls: Streaming<StreamRequest>) -> ReceiverStream<Result<StreamResponse, Status>> {
    let (answers, mut answered) = mpsc::unbounded_channel();
    let (ready, messages) = mpsc::channel(READY_MESSAGES);
    let session = Arc::new(Session {
        running,
        answers,
        open: Mutex::default(),
        untaken_bytes: AtomicUsize::new(0),
        taken: Notify::new(),
        busy: Notify::new(),
        said_all: Notify::new(),
    });
    let reader = tokio::spawn(read(Arc::clone(&session), calls, ready.clone()));
    tokio::spawn(async move {
        let mut closing = running_closed(&session);
        tokio::select! {
            () = write(&session, &mut answered, &ready) => {}
            () = &mut closing => last_answers(&session, &mut answered, &ready).await,
        }
        reader.abort();
        session.cancel_everything();
    });
    ReceiverStream::new(messages)
}

fn running_closed(session: &Session) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    let mut stopped = session.running.stopped.clone();
    Box::pin(async move {
        // An error means that the sender is gone, and with it the store.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    })
}

async fn read(
    session: Arc<Session>,
    mut calls: Streaming<StreamRequest>,
    ready: mpsc::Sender<Result<StreamResponse, Status>>,
) {
    loop {
        while session.untaken_bytes.load(Ordering::Acquire) > MAX_UNTAKEN_BYTES {
            session.taken.notified().await;
        }
        let request = match calls.message().await {
            Ok(Some(request)) => request,
            // Its open calls are still answered.
            Ok(None) => return session.said_all.notify_one(),
            Err(status) => {
                let _ = ready.send(Err(status)).await;
                session.cancel_everything();
                return;
            }
        };
        if let Some(fleet) = request.hello.and_then(|hello| hello.fleet)
            && (fleet.high, fleet.low) != halves(session.running.fleet.0)
        {
            let status =
                Status::failed_precondition("this store belongs to another fleet than the one the client named");
            let _ = ready.send(Err(status)).await;
            return;
        }
        if session.open.lock().len() + request.calls.len() > limits::STREAM_MAX_CALLS {
            let most = limits::STREAM_MAX_CALLS;
            let status =
                Status::resource_exhausted(format!("more than {most} calls are open on this stream: wait for answers"));
            let _ = ready.send(Err(status)).await;
            return;
        }
        session.begin(request.calls, &request.cancel);
    }
}

fn halves(id: u128) -> (u64, u64) {
    let low = id & u128::from(u64::MAX);
    (u64::try_from(id >> 64).expect("64 bits are left"), u64::try_from(low).expect("64 bits are kept"))
}

impl Session {
    /// Hands calls to the store. The table is locked all the while, so that no answer can look for its call too early.
    fn begin(&self, calls: Vec<StreamCall>, cancel: &[u64]) {
        let mut open = self.open.lock();
        let was_idle = open.is_empty();
        let begun = std::time::Instant::now();
        for call in calls {
            let call_id = call.call_id;
            let request = call.request.ok_or_else(|| Rejected::invalid("the call has no request"));
            match request
                .and_then(|request| RangeRequest::try_from(request).map_err(|bad| Rejected::invalid(bad.to_string())))
            {
                Ok(request) => {
                    let wait = match call.timeout_ms {
                        0 => limits::DEFAULT_DEADLINE,
                        ms => Duration::from_millis(ms.into()),
                    };
                    let reply = StreamReply {
                        call_id,
                        kind: Kind::of(&request.request),
                        begun,
                        requests: Arc::clone(&self.running.requests),
                        answers: self.answers.clone(),
                    };
                    if let Some(cancellation) =
                        self.running.store.request(request, Authority::Client, wait, Box::new(reply))
                    {
                        open.insert(call_id, cancellation);
                    }
                }
                Err(rejected) => {
                    let fleet_now = self.running.fleet_now();
                    // The receiver lives as long as the session's writer; without it nobody waits.
                    let _ = self.answers.send(Answered { call_id, outcome: Err(rejected), fleet_now });
                }
            }
        }
        for call_id in cancel {
            if let Some(cancellation) = open.remove(call_id) {
                self.running.store.cancel(cancellation);
            }
        }
        if was_idle && !open.is_empty() {
            self.busy.notify_one();
        }
    }

    fn cancel_everything(&self) {
        for (_, cancellation) in self.open.lock().drain() {
            self.running.store.cancel(cancellation);
        }
    }
}

/// What was answered before the store stopped is said before the stream ends.
async fn last_answers(
    session: &Session,
    answered: &mut mpsc::UnboundedReceiver<Answered>,
    ready: &mpsc::Sender<Result<StreamResponse, Status>>,
) {
    let mut batch = Vec::new();
    while let Ok(answer) = answered.try_recv() {
        batch.push(answer);
    }
    let response = StreamResponse { now: session.running.fleet_now().0, ..StreamResponse::default() };
    // A client that takes nothing is not waited for.
    let _ = tokio::time::timeout(LAST_ANSWERS_WITHIN, pack(session, response, &mut batch, ready)).await;
}

/// What of the ranges held here a client is still to be told.
struct Telling {
    /// From this key on.
    from: Option<Key>,
    /// At most so many ranges.
    left: usize,
}

impl Telling {
    /// All ranges, in the order of their keys, as far as `most` goes.
    fn of(most: usize) -> Self {
        Self { from: Some(Key::MIN), left: most }
    }

    fn is_over(&self) -> bool {
        self.from.is_none()
    }

    /// The next message's part of it.
    fn next(&mut self, running: &Running) -> Vec<RangeNotice> {
        let Some(from) = self.from.take() else { return Vec::new() };
        let (notices, next) = running.notices_from(from, self.left);
        self.left = self.left.saturating_sub(notices.len());
        self.from = next.filter(|_| self.left > 0);
        notices
    }
}

/// What was heard of ranges meanwhile, up to what one message may have of it. The rest waits in the channel; what is too much for that is
/// told by a walk through all ranges.
fn news(first: &RangeNotice, notices: &mut broadcast::Receiver<Arc<RangeNotice>>) -> Vec<RangeNotice> {
    let mut bytes = first.encoded_len();
    let mut news = vec![first.clone()];
    while bytes < limits::STREAM_NOTICES_BYTES
        && let Ok(notice) = notices.try_recv()
    {
        bytes += notice.encoded_len();
        news.push((*notice).clone());
    }
    news
}

async fn write(
    session: &Session,
    answered: &mut mpsc::UnboundedReceiver<Answered>,
    ready: &mpsc::Sender<Result<StreamResponse, Status>>,
) {
    let mut notices = session.running.notices.subscribe();
    let mut telling = Telling::of(limits::STREAM_HELLO_RANGES);
    let hello = StreamResponse {
        now: session.running.fleet_now().0,
        store_id: session.running.store_id.0,
        answers: Vec::new(),
        notices: telling.next(&session.running),
    };
    if ready.send(Ok(hello)).await.is_err() {
        return;
    }
    let mut batch = Vec::with_capacity(MAX_ANSWERS);
    let mut silent_since = Instant::now();
    let mut ends = false;
    // Without open calls nobody is owed a sign of life: an idle stream costs nothing.
    let mut idle = false;
    loop {
        let mut response = StreamResponse::default();
        let mut lives = false;
        tokio::select! {
            // The connection broke, or the reader has ended the stream.
            () = ready.closed() => return,
            count = answered.recv_many(&mut batch, MAX_ANSWERS) => if count == 0 { return },
            notice = notices.recv() => match notice {
                Ok(notice) => response.notices = news(&notice, &mut notices),
                // Too many at once: what is known now says it all.
                Err(RecvError::Lagged(_)) => telling = Telling::of(usize::MAX),
                Err(RecvError::Closed) => return,
            },
            // The client takes what it is told: there is room for more.
            room = ready.reserve(), if !telling.is_over() => {
                drop(room);
                response.notices = telling.next(&session.running);
            }
            () = session.said_all.notified() => ends = true,
            () = session.busy.notified(), if idle => idle = false,
            () = sleep_until(silent_since + limits::STREAM_SIGN_OF_LIFE), if !idle => {
                lives = !session.open.lock().is_empty();
                idle = !lives;
            }
        }
        response.now = session.running.fleet_now().0;
        silent_since = Instant::now();
        let well = if lives {
            ready.send(Ok(response)).await.is_ok()
        } else {
            pack(session, response, &mut batch, ready).await
        };
        if !well || (ends && answered.is_empty() && session.open.lock().is_empty()) {
            return;
        }
    }
}

/// Sends answers in messages of bounded size; false: the client is gone.
async fn pack(
    session: &Session,
    mut response: StreamResponse,
    batch: &mut Vec<Answered>,
    ready: &mpsc::Sender<Result<StreamResponse, Status>>,
) -> bool {
    {
        let mut open = session.open.lock();
        for answered in batch.iter() {
            open.remove(&answered.call_id);
        }
    }
    let mut size_bytes = 0;
    for answered in batch.drain(..) {
        response.now = response.now.max(answered.fleet_now.0);
        let answer = StreamAnswer { call_id: answered.call_id, response: Some(answered.outcome.into()) };
        size_bytes += answer.encoded_len();
        response.answers.push(answer);
        if size_bytes >= limits::STREAM_ANSWERS_BYTES {
            let next = StreamResponse { now: response.now, ..StreamResponse::default() };
            let full = std::mem::replace(&mut response, next);
            if !send(session, full, size_bytes, ready).await {
                return false;
            }
            size_bytes = 0;
        }
    }
    let empty = response.answers.is_empty() && response.notices.is_empty();
    empty || send(session, response, size_bytes, ready).await
}

async fn send(
    session: &Session,
    message: StreamResponse,
    size_bytes: usize,
    ready: &mpsc::Sender<Result<StreamResponse, Status>>,
) -> bool {
    session.untaken_bytes.fetch_add(size_bytes, Ordering::AcqRel);
    let sent = ready.send(Ok(message)).await.is_ok();
    session.untaken_bytes.fetch_sub(size_bytes, Ordering::AcqRel);
    session.taken.notify_one();
    sent
}
