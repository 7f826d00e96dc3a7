//! The accepting side: handshake, then batches to [`Inbound`], one stream of a store and class at a time.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::mem::Discriminant;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_edge::connection::Via;
use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_proto::v1::store_transport_server::StoreTransport;
use holdfast_trust::Party;
use holdfast_types::{Incarnation, StoreId, limits};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::class::{Cause, Class};
use crate::handshake::{self, Caller, Introduction, Refusal};
use crate::traffic::{Counters, Direction};
use crate::transport::Shared;

/// Whether the receiver can take more.
pub enum Intake {
    /// Go on.
    Ready,
    /// The batch was taken, but nothing more is read from this stream until the future is done; so the sender's queue fills,
    /// and the sender learns.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Takes what other stores send, and hears how the streams to them fare. Called on threads of the runtime: must not block.
pub trait Inbound: Send + Sync {
    /// A batch, in order. `from` and `incarnation` are those of the handshake. The payloads share the memory of the frame that
    /// brought them (about `limits::STREAM_BATCH_BYTES`): who keeps a small one for long copies it.
    fn receive(&self, from: StoreId, incarnation: Incarnation, class: Class, payloads: Vec<Bytes>) -> Intake;

    /// A stream has nothing to bring, and lives: comes every [`limits::STORE_STREAM_SIGN`] from a stream that is kept open.
    fn lives(&self, from: StoreId, class: Class);

    /// A store of this fleet called and said where it can be reached, whether its stream is taken or not. Nothing of it is proved but, with TLS,
    /// its site.
    fn called(&self, introduction: &Introduction);

    /// A stream of somebody who says that he is `store` was not taken. Comes now and then, not with every attempt.
    fn turned_away(&self, store: StoreId, from: Option<IpAddr>, refusal: &Refusal);

    /// Messages of a class now reach a store, of which a handshake at `address` proved this incarnation.
    fn connected(&self, store: StoreId, incarnation: Incarnation, class: Class, address: &str);

    /// They do not any more; what was queued or under way may be lost. Comes once for each `connected`.
    fn disconnected(&self, store: StoreId, class: Class);

    /// An attempt to reach a store at `address` led to nothing. Comes with every attempt.
    fn unreached(&self, store: StoreId, class: Class, address: &str, reason: &str);

    /// A store refused a stream from this one, which was meant for `store`. Comes with every attempt, at most every
    /// `limits::STREAM_RECONNECT_MAX` or so for one address.
    fn refused(&self, store: StoreId, class: Class, address: &str, refusal: &Refusal);
}

type Frames = Streaming<v1::LinkFrame>;
type Answers = ReceiverStream<Result<v1::LinkFrame, Status>>;

/// The streams that are being read, by store and class.
#[derive(Default)]
pub(crate) struct Slots {
    stores: Mutex<BTreeMap<StoreId, StoreSlots>>,
}

#[derive(Default)]
struct StoreSlots {
    incarnation: Incarnation,
    /// It was forgotten: none of its streams is read any more.
    is_over: bool,
    /// How many streams it opened.
    calls: watch::Sender<u64>,
    by_class: [Arc<Slot>; Class::ALL.len()],
}

impl StoreSlots {
    fn is_in_use(&self) -> bool {
        let is_read = |slot: &Arc<Slot>| Arc::strong_count(slot) > 1;
        self.is_over || self.calls.receiver_count() > 0 || self.by_class.iter().any(is_read)
    }
}

/// - Only the holder of `turn` delivers.
/// - A stream whose number is not `latest` ends and gives up its turn: a newer connection or start of the store has taken over, or the
///   store was forgotten.
#[derive(Default)]
struct Slot {
    latest: watch::Sender<u64>,
    turn: tokio::sync::Mutex<()>,
}

/// A stream's place in its slot.
pub(crate) struct Place {
    slot: Arc<Slot>,
    number: u64,
}

impl Slots {
    /// Changes whenever the store opens a stream to this one.
    pub(crate) fn calls_of(&self, store: StoreId) -> watch::Receiver<u64> {
        self.stores.lock().entry(store).or_default().calls.subscribe()
    }

    /// Gives a slot to a new stream. The first stream of a new start of a store ends all streams of the start before.
    pub(crate) fn take(&self, caller: &Caller, class: Class) -> Place {
        let mut stores = self.stores.lock();
        if stores.len() >= limits::ADDRESSED_STORES && !stores.contains_key(&caller.store) {
            // Names that nobody uses any more: their streams have ended.
            stores.retain(|_, slots| slots.is_in_use());
        }
        let slots = stores.entry(caller.store).or_default();
        slots.calls.send_modify(|calls| *calls += 1);
        if slots.incarnation < caller.incarnation {
            slots.incarnation = caller.incarnation;
            for slot in &slots.by_class {
                slot.latest.send_modify(|latest| *latest += 1);
            }
        }
        let slot = Arc::clone(&slots.by_class[class.index()]);
        slot.latest.send_modify(|latest| *latest += 1);
        // The store may have been forgotten since its hello was judged.
        let number = slot.latest.borrow().wrapping_sub(u64::from(slots.is_over));
        Place { slot, number }
    }

    /// Ends all streams of a store that was forgotten.
    pub(crate) fn forget(&self, store: StoreId) {
        let mut stores = self.stores.lock();
        let slots = stores.entry(store).or_default();
        slots.is_over = true;
        for slot in &slots.by_class {
            slot.latest.send_modify(|latest| *latest += 1);
        }
    }
}

impl Place {
    /// Done once another stream has taken the slot.
    async fn lost(&self) {
        // An error means that the slot is gone, which is the same.
        let _ = self.slot.latest.subscribe().wait_for(|latest| *latest != self.number).await;
    }
}

/// A store that is refused tries again and again: each reason is told of so often.
const TELL_REFUSAL_EVERY: Duration = Duration::from_secs(30);
/// Callers remembered for that; of more than these nothing is told until some are forgotten.
const TOLD_REFUSALS: usize = 256;

/// Who was refused, as whom, and why.
type Refused = (Option<IpAddr>, StoreId, Discriminant<Refusal>);

/// When each refusal was told of.
#[derive(Default)]
struct Refusals(Mutex<HashMap<Refused, Instant>>);

impl Refusals {
    /// True when this refusal is to be told of now. `store`: who the caller says it is.
    fn is_news(&self, from: Option<IpAddr>, store: StoreId, refusal: &Refusal, now: Instant) -> bool {
        let mut told = self.0.lock();
        told.retain(|_, at| now.duration_since(*at) < TELL_REFUSAL_EVERY);
        let key = (from, store, std::mem::discriminant(refusal));
        if told.len() >= TOLD_REFUSALS || told.contains_key(&key) {
            return false;
        }
        told.insert(key, now);
        true
    }
}

/// The service behind the store-to-store port.
pub(crate) struct Acceptor {
    shared: Arc<Shared>,
    refusals: Refusals,
}

impl Acceptor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, refusals: Refusals::default() }
    }

    /// Judges a caller; an error comes with the store that it says it is.
    async fn greet(&self, frames: &mut Frames, party: Option<&Party>) -> Result<(Caller, Class), (StoreId, Refusal)> {
        let first = self.first_frame(frames).await.map_err(|refusal| (StoreId::NONE, refusal))?;
        let store = handshake::caller_of(&first);
        let (identity, incarnations) = (&self.shared.identity, &self.shared.incarnations);
        if let Some(introduction) = handshake::introduction(identity, incarnations, &first, party) {
            self.shared.inbound.called(&introduction);
        }
        self.judge(first, party).map_err(|refusal| (store, refusal))
    }

    async fn first_frame(&self, frames: &mut Frames) -> Result<v1::LinkFrame, Refusal> {
        match timeout(limits::STREAM_HANDSHAKE_TIMEOUT, frames.message()).await {
            Ok(Ok(Some(first))) => Ok(first),
            Ok(Ok(None)) => Err(Refusal::malformed("the stream ended before its hello")),
            Ok(Err(status)) => Err(Refusal::malformed(status.message())),
            Err(_) => Err(Refusal::malformed("no hello in time")),
        }
    }

    fn judge(&self, first: v1::LinkFrame, party: Option<&Party>) -> Result<(Caller, Class), Refusal> {
        let caller = handshake::judge_hello(&self.shared.identity, &self.shared.incarnations, first, party)?;
        let class =
            Class::from_wire(caller.class).ok_or_else(|| Refusal::malformed("support has a port of its own"))?;
        Ok((caller, class))
    }
}

#[tonic::async_trait]
impl StoreTransport for Acceptor {
    type OpenStream = Answers;

    async fn open(&self, request: Request<Frames>) -> Result<Response<Answers>, Status> {
        let from = request.remote_addr();
        let party = request.extensions().get::<Via>().and_then(|via| via.0.party().cloned());
        let mut frames = request.into_inner();
        let (answers, stream) = mpsc::channel(1);
        let greeted = self.greet(&mut frames, party.as_ref()).await;
        let first = match &greeted {
            Ok(_) => handshake::welcome(&self.shared.identity),
            Err((_, refusal)) => handshake::refused(refusal),
        };
        answers.try_send(Ok(first)).expect("the channel is new and holds one frame");
        match greeted {
            Ok((caller, class)) => {
                let proved = caller.party.as_ref().map(|party| tracing::field::display(&party.principal));
                tracing::debug!(store = %caller.store, incarnation = %caller.incarnation, ?class, proved, "stream accepted");
                let place = self.shared.slots.take(&caller, class);
                let received = Direction::Received;
                let counters = self.shared.traffic.between(received, &caller.site, &self.shared.identity.site);
                let presence = self.shared.incarnations.presence(caller.store, caller.process);
                let reader = Reader { shared: Arc::clone(&self.shared), caller, class, counters };
                tokio::spawn(async move {
                    reader.run(&place, frames).await;
                    drop(presence);
                    // The answers end with the reading: by that the connecting store learns that the stream is over.
                    drop(answers);
                });
            }
            Err((store, refusal)) => {
                if self.refusals.is_news(from.map(|from| from.ip()), store, &refusal, Instant::now()) {
                    tracing::warn!(?from, claimed = %store, %refusal, "stream refused; said again in 30 s at the earliest");
                    self.shared.inbound.turned_away(store, from.map(|from| from.ip()), &refusal);
                }
            }
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Reads one accepted stream.
struct Reader {
    shared: Arc<Shared>,
    caller: Caller,
    class: Class,
    counters: Arc<Counters>,
}

impl Reader {
    async fn run(self, place: &Place, mut frames: Frames) {
        let mut stop = self.shared.stop.subscribe();
        let _turn = place.slot.turn.lock().await;
        let reason = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => "this store stops".to_owned(),
            () = place.lost() => "a newer one has taken over, or the store was forgotten".to_owned(),
            reason = self.read(&mut frames) => reason,
        };
        tracing::debug!(store = %self.caller.store, class = ?self.class, reason, "stream from a store ended");
    }

    async fn read(&self, frames: &mut Frames) -> String {
        loop {
            let frame = match frames.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return "closed by the sender".to_owned(),
                Err(status) => return status.to_string(),
            };
            let Some(Body::Batch(batch)) = frame.body else { continue };
            if let Intake::Wait(room) = self.deliver(batch) {
                room.await;
            }
        }
    }

    fn deliver(&self, batch: v1::LinkBatch) -> Intake {
        if batch.messages.is_empty() {
            self.shared.inbound.lives(self.caller.store, self.class);
            return Intake::Ready;
        }
        let mut payloads = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            self.counters.count(Cause::from_number(message.cause), message.payload.len());
            payloads.push(message.payload);
        }
        self.shared.inbound.receive(self.caller.store, self.caller.incarnation, self.class, payloads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_in_a_while_for_each_store_and_reason() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let old = Refusal::OldIncarnation { newest: Incarnation(3) };
        let from = Some(IpAddr::from([127, 0, 0, 1]));
        assert!(refusals.is_news(from, StoreId(1), &old, start));
        assert!(!refusals.is_news(from, StoreId(1), &Refusal::OldIncarnation { newest: Incarnation(4) }, start));
        assert!(refusals.is_news(from, StoreId(2), &old, start), "another store");
        assert!(refusals.is_news(from, StoreId(1), &Refusal::Malformed("x".into()), start), "another reason");
        assert!(!refusals.is_news(from, StoreId(1), &old, start + Duration::from_secs(29)));
        assert!(refusals.is_news(from, StoreId(1), &old, start + Duration::from_secs(31)));
    }

    #[test]
    fn refusals_remembered_are_bounded() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let told = (0..10_000)
            .map(StoreId)
            .filter(|store| refusals.is_news(None, *store, &Refusal::Malformed("x".into()), start));
        assert_eq!(told.count(), TOLD_REFUSALS);
    }
}
