//! `Kv.Stream`: many calls at a time on one stream, in both directions in batches.
//!
//! One task reads calls and hands them to the store; one task packs whatever has been answered meanwhile into one message.
//! What a call takes is charged to its connection before it is handed on, and what an answer takes when it comes into being: whoever takes no
//! answers is no longer read from, and is answered busy for what was read already. Bounds: open calls, and the bytes of the connection.
//! What is told of ranges goes in messages of bounded size too, as the client takes them, between the answers.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use holdfast_edge::budget::Charge;
use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::rights::Asker;
use holdfast_kv::driver::Cancellation;
use holdfast_kv::ports::Reply;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1::{RangeNotice, StreamAnswer, StreamCall, StreamRequest, StreamResponse};
use holdfast_types::{Key, KeyRange, RangeRequest, Rejected, Response as Answer, Timestamp, limits};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::requests::{Kind, RequestCounters};
use crate::running::{Running, charged};
use crate::services::allowed::Witness;
use crate::services::telling::Telling;

/// Answers packed into one message.
const MAX_ANSWERS: usize = 1_024;
/// How long a stopping store waits for a client to take its last answers.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_millis(200);
/// Calls that came wait so long for room: a client that takes its answers has made some by then.
const ROOM_WITHIN: Duration = limits::ANSWER_TAKEN_WITHIN;
/// Messages ready for the client's connection.
const READY_MESSAGES: usize = 4;

/// What the reading and the writing task share.
///
/// - A call is in `open` from its arrival until its answer is packed, also when it was cancelled.
struct Session {
    running: Arc<Running>,
    client: Arc<Ledger>,
    witness: Arc<Witness>,
    answers: mpsc::UnboundedSender<Answered>,
    open: Mutex<HashMap<u64, Option<Cancellation>>>,
    /// Calls are open where none were.
    busy: Notify,
    /// The client has said all that it will say.
    said_all: Notify,
}

/// The end of a call. `said` is `None` when nobody waits for an answer.
struct Answered {
    call_id: u64,
    said: Option<(Result<Answer, Rejected>, Timestamp)>,
    charged_bytes: usize,
    /// What the message of the call takes, and all of its calls until they are packed.
    _message: Arc<Charge>,
}

struct StreamReply {
    call_id: u64,
    kind: Kind,
    begun: std::time::Instant,
    requests: Arc<RequestCounters>,
    client: Arc<Ledger>,
    witness: Arc<Witness>,
    message: Arc<Charge>,
    /// `None`: it is answered.
    answers: Option<mpsc::UnboundedSender<Answered>>,
}

impl StreamReply {
    fn end(&mut self, said: Option<(Result<Answer, Rejected>, Timestamp)>, charged_bytes: usize) {
        let Some(answers) = self.answers.take() else { return };
        let (call_id, _message) = (self.call_id, Arc::clone(&self.message));
        // A stream that has ended takes no answers, and nobody waits for them.
        let _ = answers.send(Answered { call_id, said, charged_bytes, _message });
    }
}

impl Reply for StreamReply {
    fn answer(mut self: Box<Self>, outcome: Result<Answer, Rejected>, fleet_now: Timestamp) {
        self.witness.saw(&outcome);
        let (outcome, charged_bytes) = charged(&self.client, outcome);
        self.requests.ended(self.kind, self.begun, &outcome);
        self.end(Some((outcome, fleet_now)), charged_bytes);
    }
}

impl Drop for StreamReply {
    fn drop(&mut self) {
        // A call that was cancelled is let go without an answer.
        self.end(None, 0);
    }
}

/// Serves one stream of a client. Each call is judged by the rights that hold then, and so is what is told of ranges.
pub fn serve(
    running: Arc<Running>,
    asker: Asker,
    witness: Witness,
    client: Arc<Ledger>,
    calls: Streaming<StreamRequest>,
) -> ReceiverStream<Result<StreamResponse, Status>> {
    let (answers, mut answered) = mpsc::unbounded_channel();
    let (ready, messages) = mpsc::channel(READY_MESSAGES);
    let session = Arc::new(Session {
        running,
        client,
        witness: Arc::new(witness),
        answers,
        open: Mutex::default(),
        busy: Notify::new(),
        said_all: Notify::new(),
    });
    let mut told = asker.clone();
    let reader = tokio::spawn(read(Arc::clone(&session), asker, calls, ready.clone()));
    tokio::spawn(async move {
        let mut closing = running_closed(&session);
        tokio::select! {
            () = write(&session, &mut told, &mut answered, &ready) => {}
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
    mut asker: Asker,
    mut calls: Streaming<StreamRequest>,
    ready: mpsc::Sender<Result<StreamResponse, Status>>,
) {
    loop {
        match next_calls(&session, &mut asker, &mut calls).await {
            Ok(true) => {}
            // Its open calls are still answered.
            Ok(false) => return session.said_all.notify_one(),
            Err(status) => {
                let _ = ready.send(Err(status)).await;
                session.cancel_everything();
                return;
            }
        }
    }
}

/// Takes in one message of calls; false: it was the last.
async fn next_calls(
    session: &Session,
    asker: &mut Asker,
    calls: &mut Streaming<StreamRequest>,
) -> Result<bool, Status> {
    // However long it takes: who takes too little of them loses his answers, and the stream with them.
    let has_taken = || (session.client.untaken_bytes() <= limits::STREAM_UNTAKEN_BYTES).then_some(());
    room(session, None, has_taken).await?;
    let Some(request) = calls.message().await? else { return Ok(false) };
    if let Some(fleet) = request.hello.and_then(|hello| hello.fleet)
        && (fleet.high, fleet.low) != halves(session.running.fleet.0)
    {
        let other = "this store belongs to another fleet than the one the client named";
        return Err(Status::failed_precondition(other));
    }
    // Beyond this there could never be room for what is counted for its calls.
    if request.calls.len() > limits::CLIENT_MESSAGE_CALLS {
        let (calls, most) = (request.calls.len(), limits::CLIENT_MESSAGE_CALLS);
        let too_many = format!("{calls} calls in one message: it may have {most}");
        return Err(Status::resource_exhausted(too_many));
    }
    if session.open.lock().len().saturating_add(request.calls.len()) > limits::STREAM_MAX_CALLS {
        let most = limits::STREAM_MAX_CALLS;
        let too_many = format!("more than {most} calls are open on this stream: wait for answers");
        return Err(Status::resource_exhausted(too_many));
    }
    let mut message = session.client.take_received();
    let calls_bytes = request.calls.len().saturating_mul(limits::CALL_OVERHEAD_BYTES);
    message.join(room(session, Some(ROOM_WITHIN), || session.client.charge(calls_bytes)).await?);
    session.begin(asker, request.calls, &request.cancel, &Arc::new(message))?;
    Ok(true)
}

/// Waits until there is what `look` looks for, which the client brings about by taking answers. What it may send meanwhile is charged to the
/// port. A client for which there is no room even for that loses its stream, and so does one that waited for so long.
async fn room<T>(session: &Session, within: Option<Duration>, look: impl Fn() -> Option<T>) -> Result<T, Status> {
    let busy = || to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
    let mut unread = None;
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if within.is_some_and(|within| begun.elapsed() >= within) {
            return Err(busy());
        }
        if unread.is_none() {
            unread = Some(session.client.window(limits::CLIENT_WINDOW_BYTES as usize).ok_or_else(busy)?);
        }
        // Others may have made room as well.
        let _ = tokio::time::timeout(limits::BUSY_RETRY_AFTER, session.client.taken()).await;
    }
}

fn halves(id: u128) -> (u64, u64) {
    let low = id & u128::from(u64::MAX);
    (u64::try_from(id >> 64).unwrap_or(u64::MAX), u64::try_from(low).unwrap_or(u64::MAX))
}

impl Session {
    /// Hands calls to the store. The table is locked all the while, so that no answer can look for its call too early.
    fn begin(
        &self,
        asker: &mut Asker,
        calls: Vec<StreamCall>,
        cancel: &[u64],
        message: &Arc<Charge>,
    ) -> Result<(), Status> {
        let mut open = self.open.lock();
        let was_idle = open.is_empty();
        let begun = std::time::Instant::now();
        for call in calls {
            let Entry::Vacant(place) = open.entry(call.call_id) else {
                let id = call.call_id;
                return Err(Status::invalid_argument(format!(
                    "call {id} is open already: every call needs an id of its own"
                )));
            };
            place.insert(self.hand_over(asker, call, begun, message));
        }
        for call_id in cancel {
            if let Some(cancellation) = open.get_mut(call_id).and_then(Option::take) {
                self.running.store.cancel(cancellation);
            }
        }
        if was_idle && !open.is_empty() {
            self.busy.notify_one();
        }
        Ok(())
    }

    /// Hands one call to the store, or answers it; returns what cancels it.
    fn hand_over(
        &self,
        asker: &mut Asker,
        call: StreamCall,
        begun: std::time::Instant,
        message: &Arc<Charge>,
    ) -> Option<Cancellation> {
        let call_id = call.call_id;
        let request = call.request.ok_or_else(|| Rejected::invalid("the call has no request"));
        let request = request
            .and_then(|request| RangeRequest::try_from(request).map_err(|bad| Rejected::invalid(bad.to_string())));
        let request = match request {
            Ok(request) => request,
            Err(rejected) => {
                let (said, _message) = (Some((Err(rejected), self.running.fleet_now())), Arc::clone(message));
                // The receiver lives as long as the session's writer; without it nobody waits.
                let _ = self.answers.send(Answered { call_id, said, charged_bytes: 0, _message });
                return None;
            }
        };
        let wait = match call.timeout_ms {
            0 => limits::DEFAULT_DEADLINE,
            ms => Duration::from_millis(ms.into()),
        };
        let reply = StreamReply {
            call_id,
            kind: Kind::of(&request.request),
            begun,
            requests: Arc::clone(&self.running.requests),
            client: Arc::clone(&self.client),
            witness: Arc::clone(&self.witness),
            message: Arc::clone(message),
            answers: Some(self.answers.clone()),
        };
        self.running.store.request(request, asker, wait, Box::new(reply))
    }

    fn cancel_everything(&self) {
        for cancellation in self.open.lock().drain().filter_map(|(_, cancellation)| cancellation) {
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
    let mut telling = Telling::of(0);
    // A client that takes nothing is not waited for.
    let last = pack(session, response, &mut batch, ready, &mut telling);
    let _ = tokio::time::timeout(LAST_ANSWERS_WITHIN, last).await;
}

/// What was heard of ranges meanwhile and is the client's business, up to what one message may have of it. The rest waits in the channel; what
/// is too much for that is told by a walk through all ranges.
fn news(
    session: &Session,
    told: &mut Asker,
    first: Arc<RangeNotice>,
    notices: &mut broadcast::Receiver<Arc<RangeNotice>>,
) -> Vec<RangeNotice> {
    session.running.store.show_rights(told);
    let (mut bytes, mut news) = (0, Vec::new());
    let mut next = Some(first);
    while let Some(notice) = next {
        if is_told(told, &notice) {
            bytes = usize::saturating_add(bytes, notice.encoded_len());
            news.push((*notice).clone());
        }
        next = if bytes < limits::STREAM_NOTICES_BYTES { notices.try_recv().ok() } else { None };
    }
    news
}

fn is_told(told: &Asker, notice: &RangeNotice) -> bool {
    let bounds = notice.descriptor.as_ref().and_then(|descriptor| descriptor.bounds.clone());
    bounds.and_then(|bounds| KeyRange::try_from(bounds).ok()).is_some_and(|bounds| told.is_concerned_by(&bounds))
}

fn page(session: &Session, told: &mut Asker, bounds: &KeyRange, most: usize) -> (Vec<RangeNotice>, Option<Key>) {
    session.running.store.show_rights(told);
    session.running.notices_within(told, bounds, most)
}

async fn write(
    session: &Session,
    told: &mut Asker,
    answered: &mut mpsc::UnboundedReceiver<Answered>,
    ready: &mpsc::Sender<Result<StreamResponse, Status>>,
) {
    let mut notices = session.running.notices.subscribe();
    let mut telling = Telling::of(limits::STREAM_HELLO_RANGES);
    let hello = StreamResponse {
        now: session.running.fleet_now().0,
        store_id: session.running.store_id.0,
        answers: Vec::new(),
        notices: telling.next(|bounds, most| page(session, told, bounds, most)),
    };
    if !send(session, hello, ready, &mut telling).await {
        return;
    }
    let mut batch = Vec::new();
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
                Ok(notice) => response.notices = news(session, told, notice, &mut notices),
                // Too many at once: what is known from now on says it all.
                Err(RecvError::Lagged(_)) => telling.tell_all(),
                Err(RecvError::Closed) => return,
            },
            // The client takes what it is told: there is room for more.
            () = telling.turn(ready), if !telling.is_over() => {
                response.notices = telling.next(|bounds, most| page(session, told, bounds, most));
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
            send(session, response, ready, &mut telling).await
        } else {
            pack(session, response, &mut batch, ready, &mut telling).await
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
    telling: &mut Telling,
) -> bool {
    {
        let mut open = session.open.lock();
        for answered in batch.iter() {
            open.remove(&answered.call_id);
        }
    }
    let mut size_bytes = 0;
    for answered in batch.drain(..) {
        let Some((outcome, fleet_now)) = answered.said else { continue };
        response.now = response.now.max(fleet_now.0);
        let answer = StreamAnswer { call_id: answered.call_id, response: Some(outcome.into()) };
        let answer_bytes = answer.encoded_len();
        session.client.settle(answered.charged_bytes, answer_bytes);
        size_bytes = usize::saturating_add(size_bytes, answer_bytes);
        response.answers.push(answer);
        if size_bytes >= limits::STREAM_ANSWERS_BYTES {
            let next = StreamResponse { now: response.now, ..StreamResponse::default() };
            let full = std::mem::replace(&mut response, next);
            if !send(session, full, ready, telling).await {
                return false;
            }
            size_bytes = 0;
        }
    }
    let empty = response.answers.is_empty() && response.notices.is_empty();
    empty || send(session, response, ready, telling).await
}

/// Sends one message, whose answers are charged already. What it tells of ranges is left out where there is no room for it, and told later.
/// False: the client is gone.
async fn send(
    session: &Session,
    mut message: StreamResponse,
    ready: &mpsc::Sender<Result<StreamResponse, Status>>,
    telling: &mut Telling,
) -> bool {
    let told_bytes = message.notices.iter().map(prost::Message::encoded_len).fold(0, usize::saturating_add);
    if told_bytes > 0 && !session.client.owe(told_bytes) {
        message.notices.clear();
        telling.tell_all_later();
    }
    ready.send(Ok(message)).await.is_ok()
}
