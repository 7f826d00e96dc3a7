//! A store that is a member of its fleet, as the services see it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::addresses::Unreached;
use holdfast_kv::core::message::RangeHint;
use holdfast_kv::core::permit::Authority;
use holdfast_kv::core::rights::Asker;
use holdfast_kv::core::routing::Page;
use holdfast_kv::driver::{Complaint, ComplaintKind, Store};
use holdfast_kv::ports::{AdminReply, Note, PlacementLink, Reply};
use holdfast_kv::{AdminOutcome, Found};
use holdfast_placement::{SiteTrust, StoreRecord};
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1::{QuarantinedRange, RangeNotice};
use holdfast_raft_transport::Transport;
use holdfast_replica::{AdminRequest, Standing};
use holdfast_trust::Trust;
use holdfast_types::{
    FleetId, Incarnation, Key, KeyRange, RangeDescriptor, RangeId, RangeRequest, Rejected, Response, SiteName, StoreId,
    Term, Timestamp, limits,
};
use tokio::sync::{broadcast, oneshot, watch};

use crate::announcing::TELL_UNREACHED_AFTER;
use crate::audit::Audit;
use crate::directory::Directory;
use crate::events::EventLog;
use crate::history::History;
use crate::ports::Ports;
use crate::requests::{Kind, RequestCounters};
use crate::rights::Granted;
use crate::services::fitting::short;
use crate::shunned::Shunned;
use crate::trusting;
use crate::wire::Incoming;

/// Notices of one store that a slow stream may lag behind.
const NOTICES: usize = 1_024;

/// A store that is a member of its fleet.
pub struct Running {
    /// Its fleet.
    pub fleet: FleetId,
    /// Its id.
    pub store_id: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Counts its starts.
    pub incarnation: Incarnation,
    /// The store itself.
    pub store: Arc<Store>,
    /// Streams to other stores.
    pub transport: Arc<Transport>,
    /// What comes from other stores, and which of them are reached.
    pub incoming: Arc<Incoming>,
    /// All stores of the fleet.
    pub directory: Arc<Directory>,
    /// Ranges that changed.
    pub notices: broadcast::Sender<Arc<RangeNotice>>,
    /// Becomes true when the store stops.
    pub stopped: watch::Receiver<bool>,
    /// What clients asked and how it ended.
    pub requests: Arc<RequestCounters>,
    /// What happened here.
    pub events: Arc<EventLog>,
    /// How it is with damaged replicas and headroom.
    pub history: Arc<History>,
    /// Who says that the site of this store is distrusted.
    pub shunned: Shunned,
}

impl Running {
    /// Fleet time as this store has it: its wall clock. Workers give their ranges' own with each answer.
    pub fn fleet_now(&self) -> Timestamp {
        self.store.fleet_now()
    }

    /// What is wrong with this store now.
    pub fn complaints(&self) -> Vec<Complaint> {
        let mut complaints = self.store.complaints();
        if self.store.measured().is_disk_full() {
            let message = "the disk is nearly full, writes are refused: add space or stores".to_owned();
            complaints.push(Complaint { kind: ComplaintKind::Disk, message });
        }
        if let Some(ahead_ms) = self.store.clock_ahead_ms() {
            let message = format!("the wall clock is {ahead_ms} ms ahead of most other stores': set it");
            complaints.push(Complaint { kind: ComplaintKind::Clock, message });
        }
        for (store, silent) in self.store.silent_streams() {
            let message = format!(
                "heartbeats of {store} arrive, but {silent}: neither store counts on the other; look at the ports for store streams"
            );
            complaints.push(Complaint { kind: ComplaintKind::Streams, message });
        }
        complaints
    }

    /// True when a stream between this store and another one is open, or that one was heard a moment ago.
    pub fn hears(&self, store: StoreId) -> bool {
        self.incoming.reaches(store) || self.transport.hears(store, limits::FORGET_AFTER_SILENCE)
    }

    /// The other stores that this one hears.
    pub fn heard(&self) -> Vec<StoreId> {
        let others = self.directory.all();
        others.keys().copied().filter(|store| *store != self.store_id && self.hears(*store)).collect()
    }

    /// Stores that have not been reached for a while, and what was tried. Says nothing of this store's health.
    pub fn unreached(&self) -> Vec<Unreached> {
        let unreached = self.directory.unreached().into_iter();
        unreached.filter(|(_, since)| *since >= TELL_UNREACHED_AFTER).map(|(unreached, _)| unreached).collect()
    }

    /// The first of the replicas here that are kept but not used, and how many there are.
    pub fn quarantined(&self) -> (Vec<QuarantinedRange>, u64) {
        let quarantined = self.history.quarantined();
        let count = quarantined.len() as u64;
        let told = quarantined.into_iter().take(limits::MAX_SENTENCES);
        let told = told.map(|(range, reason)| QuarantinedRange { range_id: range.0, reason: short(reason) });
        (told.collect(), count)
    }

    /// A page of notices of the ranges that this store holds within some keys, and that are somebody's business; and where the next one begins.
    pub fn notices_within(&self, asker: &Asker, bounds: &KeyRange, limit: usize) -> (Vec<RangeNotice>, Option<Key>) {
        let page = Page { reverse: false, limit, max_bytes: limits::STREAM_NOTICES_BYTES };
        let is_told = |found: &Found| found.own && asker.is_concerned_by(&found.descriptor.bounds);
        let (found, next) = self.store.ranges_within(bounds, page, is_told);
        (found.iter().map(|found| self.notice(found)).collect(), next)
    }

    /// What a client should know of a range.
    pub fn notice(&self, found: &Found) -> RangeNotice {
        RangeNotice {
            descriptor: Some(found.descriptor.clone().into()),
            leader: found.leader.map(|store| self.directory.hint(store)),
            term: found.term.0,
        }
    }

    /// Somebody who asks, and what he may by now.
    pub fn asker(&self, authority: Authority) -> Asker {
        let mut asker = Asker::new(authority);
        self.store.show_rights(&mut asker);
        asker
    }

    /// Asks the store for somebody and waits for the answer.
    pub async fn ask(&self, request: RangeRequest, authority: Authority, wait: Duration) -> Result<Response, Rejected> {
        self.ask_for(None, request, &mut Asker::new(authority), wait).await
    }

    /// Asks the store on behalf of a client, who is charged for the answer, and waits for it.
    pub async fn ask_for(
        &self,
        client: Option<&Arc<Ledger>>,
        request: RangeRequest,
        asker: &mut Asker,
        wait: Duration,
    ) -> Result<Response, Rejected> {
        let (sender, answer) = oneshot::channel();
        let (kind, begun) = (Kind::of(&request.request), Instant::now());
        let reply = OneReply { sender, client: client.cloned() };
        let cancellation = self.store.request(request, asker, wait, Box::new(reply));
        let guard = CancelOnDrop { store: &self.store, cancellation };
        let outcome = answer.await.unwrap_or_else(|_| Err(Rejected::Ambiguous("the store stopped".into())));
        guard.disarm();
        self.requests.ended(kind, begun, &outcome);
        outcome
    }

    /// Asks the leader of a range for an administrative change and waits for the answer.
    pub async fn administer(
        &self,
        range: RangeId,
        request: AdminRequest,
        wait: Duration,
    ) -> Result<AdminOutcome, Rejected> {
        let (sender, answer) = oneshot::channel();
        self.store.admin(range, request, wait, Box::new(OneAdminReply(sender)));
        answer.await.unwrap_or_else(|_| Err(Rejected::Ambiguous("the store stopped".into())))
    }
}

struct OneReply {
    sender: oneshot::Sender<Result<Response, Rejected>>,
    client: Option<Arc<Ledger>>,
}

impl Reply for OneReply {
    fn answer(self: Box<Self>, outcome: Result<Response, Rejected>, _fleet_now: Timestamp) {
        let outcome = match &self.client {
            Some(client) => charged(client, outcome).0,
            None => outcome,
        };
        // The caller may have gone.
        let _ = self.sender.send(outcome);
    }
}

/// True of an answer to something that was done: it is owed to whoever asked, since a refusal would say that nothing was.
fn is_done(answer: &Response) -> bool {
    match answer {
        Response::Written { .. } | Response::RangeDeleted { .. } => true,
        Response::Got { .. } | Response::Scanned { .. } | Response::ConditionFailed { .. } => false,
    }
}

/// Charges an answer to the client that it is for, where it comes into being; returns what was charged. Who has not taken what it was
/// answered before is told to come again: what was read is read again then, and a condition that did not hold left nothing behind.
pub fn charged(client: &Ledger, outcome: Result<Response, Rejected>) -> (Result<Response, Rejected>, usize) {
    let bytes = outcome.as_ref().map_or(0, Response::size_bytes);
    // What says little is paid for with the request.
    if bytes <= limits::ANSWER_OVERHEAD_BYTES {
        return (outcome, 0);
    }
    if outcome.as_ref().is_ok_and(is_done) {
        client.owe_anyway(bytes);
        (outcome, bytes)
    } else if client.owe(bytes) {
        (outcome, bytes)
    } else {
        (Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }), 0)
    }
}

struct OneAdminReply(oneshot::Sender<Result<AdminOutcome, Rejected>>);

impl AdminReply for OneAdminReply {
    fn answer(self: Box<Self>, outcome: Result<AdminOutcome, Rejected>) {
        let _ = self.0.send(outcome);
    }
}

/// Tells the store when the caller of a request goes away.
struct CancelOnDrop<'a> {
    store: &'a Store,
    cancellation: Option<holdfast_kv::driver::Cancellation>,
}

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.cancellation = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(cancellation) = self.cancellation.take() {
            self.store.cancel(cancellation);
        }
    }
}

/// What the services share: the store once it is a member, and what can be said before.
pub struct ServerState {
    running: ArcSwapOption<Running>,
    /// Its data belongs to a fleet: it will run in a moment, if it does not yet.
    is_member: AtomicBool,
    /// When the process started.
    pub started: Instant,
    stop: parking_lot::Mutex<Option<watch::Sender<bool>>>,
    standing: parking_lot::Mutex<Readiness>,
    preparations: AtomicU64,
    /// The ports, and who is connected to them.
    pub ports: Ports,
    /// Who was refused, who changed the fleet, what became of trust.
    pub audit: Arc<Audit>,
    /// What proves who this store is; `None`: it was told that it need not.
    trust: Option<Arc<Trust>>,
    /// What callers may.
    pub rights: Arc<Granted>,
}

/// Whether the store is going to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Readiness {
    /// It is not.
    Serving,
    /// It was asked to get ready; the number tells this time from others.
    Preparing(u64),
    /// It is.
    Stopping,
}

impl ServerState {
    /// A process that is no member yet. `trust`: what proves who it is, with TLS.
    pub fn new(ports: Ports, trust: Option<Arc<Trust>>) -> Arc<Self> {
        Arc::new(Self {
            ports,
            audit: Audit::new(),
            rights: Arc::new(Granted::new(trust.as_ref().map(|trust| trust.own().principal.domain.clone()))),
            trust,
            running: ArcSwapOption::empty(),
            is_member: AtomicBool::new(false),
            started: Instant::now(),
            stop: parking_lot::Mutex::default(),
            standing: parking_lot::Mutex::new(Readiness::Serving),
            preparations: AtomicU64::new(0),
        })
    }

    /// The store, once it is a member.
    pub fn running(&self) -> Option<Arc<Running>> {
        self.running.load_full()
    }

    /// What proves who this store is; `None`: there is no TLS, and nobody proves anything.
    pub fn trust(&self) -> Option<&Arc<Trust>> {
        self.trust.as_ref()
    }

    /// The store became a member.
    pub fn set_running(&self, running: Arc<Running>) {
        self.running.store(Some(running));
    }

    /// The disk says that the store is a member of a fleet: it is starting.
    pub fn set_member(&self) {
        self.is_member.store(true, Ordering::Relaxed);
    }

    /// True for a member, also while it is starting.
    pub fn is_member(&self) -> bool {
        self.is_member.load(Ordering::Relaxed) || self.running().is_some()
    }

    /// The store stops.
    pub fn set_stopping(&self) {
        *self.standing.lock() = Readiness::Stopping;
    }

    /// The store gets ready to be stopped, by `act`; returns the number of this preparation, for [`ServerState::end_preparing`]. `None`: it
    /// stops already.
    pub fn begin_preparing(&self, act: impl FnOnce()) -> Option<u64> {
        let mut standing = self.standing.lock();
        if *standing == Readiness::Stopping {
            return None;
        }
        let number = self.preparations.fetch_add(1, Ordering::Relaxed);
        *standing = Readiness::Preparing(number);
        act();
        Some(number)
    }

    /// The store is not stopped after all and goes on, by `act`; `only`: unless it was asked to get ready once more since. False: it serves
    /// already, or stops.
    pub fn end_preparing(&self, only: Option<u64>, act: impl FnOnce()) -> bool {
        let mut standing = self.standing.lock();
        let ends = matches!(*standing, Readiness::Preparing(number) if only.is_none_or(|only| only == number));
        if ends {
            *standing = Readiness::Serving;
            // Under the lock: what was asked last is what the store does.
            act();
        }
        ends
    }

    /// True while the store hands its leaders over, to be stopped.
    pub fn is_draining(&self) -> bool {
        *self.standing.lock() != Readiness::Serving
    }

    /// Keeps what ends the streams of clients.
    pub fn keep(&self, stop: watch::Sender<bool>) {
        *self.stop.lock() = Some(stop);
    }

    /// Ends the streams of clients: they go elsewhere.
    pub fn stop_streams(&self) {
        if let Some(stop) = self.stop.lock().take() {
            // Streams that have ended need not be told.
            let _ = stop.send(true);
        }
    }

    /// The store, or the refusal that says why there is none; nothing was done then.
    pub fn member(&self) -> Result<Arc<Running>, tonic::Status> {
        self.running().ok_or_else(|| to_status(self.why_none()))
    }

    /// Whether clients are to be sent here, as `/readyz` and gRPC's health say it, and what is to be said of it. Health is local: it does not
    /// depend on a quorum.
    pub fn readiness(&self) -> Result<String, String> {
        let running = match self.running() {
            None if self.is_draining() => return Err("stopping\n".to_owned()),
            None if self.is_member() => return Err("starting\n".to_owned()),
            None => return Err("not a member of a fleet yet\n".to_owned()),
            Some(running) => running,
        };
        if *running.stopped.borrow() {
            return Err("stopping\n".to_owned());
        }
        if self.is_draining() {
            return Err("preparing to stop: its leaders go to other stores\n".to_owned());
        }
        let complaints = running.store.complaints();
        if !complaints.is_empty() {
            return Err(complaints.iter().map(|complaint| format!("{complaint}\n")).collect());
        }
        // That others are not reached takes no store out of service, else no quorum would take out all; but a probe's log should say
        // why nothing works.
        let unreached = running.unreached();
        // What it quotes, others said.
        let unreached: String =
            unreached.iter().map(|one| format!("{}\n", holdfast_output::visible(&one.to_string()))).collect();
        let trust = self.trust().map(|trust| trusting::lines(&trust.standing(), SystemTime::now()));
        let shunned = running.shunned.sentence().map(|said| format!("{}\n", holdfast_output::visible(&said)));
        Ok(format!("ok\n{}{unreached}{}", shunned.unwrap_or_default(), trust.unwrap_or_default()))
    }

    fn why_none(&self) -> Rejected {
        let why = if self.is_member() {
            "this store is starting: try again in a moment, or ask another store"
        } else {
            "this store is not a member of a fleet yet: run `holdfast init` once, or start it with --join"
        };
        Rejected::Unavailable(why.into())
    }
}

/// Hears of ranges and stores from the workers' threads.
pub struct Link {
    /// All stores of the fleet.
    pub directory: Arc<Directory>,
    /// Who hears of ranges.
    pub notices: broadcast::Sender<Arc<RangeNotice>>,
    /// What becomes events.
    pub history: Arc<History>,
}

impl Link {
    /// A link to `directory`, for a store whose events go to `events`.
    pub fn new(directory: Arc<Directory>, store: StoreId, events: Arc<EventLog>) -> Self {
        Self { directory, notices: broadcast::channel(NOTICES).0, history: Arc::new(History::new(store, events)) }
    }
}

impl Link {
    fn notify(&self, descriptor: &RangeDescriptor, leader: Option<StoreId>, term: Term) {
        if self.notices.receiver_count() == 0 {
            return;
        }
        let leader = leader.map(|store| self.directory.hint(store));
        let notice = RangeNotice { descriptor: Some(descriptor.clone().into()), leader, term: term.0 };
        // The last listener may have gone meanwhile.
        let _ = self.notices.send(Arc::new(notice));
    }
}

impl PlacementLink for Link {
    fn directory(&self, stores: &[StoreRecord]) {
        self.directory.learn(stores);
    }

    fn sites(&self, sites: &[SiteTrust]) {
        // That a site is trusted again is read of the records, which this store looks at now and then.
        self.directory.hear_sites(sites);
    }

    fn learned(&self, hints: &[RangeHint]) {
        for hint in hints {
            self.notify(&hint.descriptor, hint.leader, hint.term);
        }
    }

    fn standing(&self, standing: &Standing) {
        self.notify(&standing.descriptor, standing.leader.map(|(_, store)| store), standing.term);
        self.history.standing(standing);
    }

    fn noted(&self, note: Note) {
        self.history.noted(note);
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::convert::status::from_status;

    use super::*;

    #[test]
    fn an_old_preparation_does_not_end_a_newer_one_and_a_stop_is_final() {
        let state = ServerState::new(Ports::for_tests(), None);
        let (begin, end) = (|| state.begin_preparing(|| ()), |only| state.end_preparing(only, || ()));
        let first = begin().unwrap();
        let second = begin().unwrap();
        assert!(state.is_draining() && !end(Some(first)), "it was asked again since");
        assert!(state.is_draining() && end(Some(second)) && !state.is_draining());
        assert!(!end(None), "there is nothing to end");
        let third = begin();
        state.set_stopping();
        assert!(!end(third) && !end(None) && state.is_draining());
        assert_eq!(begin(), None);
    }

    #[test]
    fn what_was_done_is_never_answered_as_if_nothing_was() {
        // It came by no gate, and has a budget to itself.
        let client = Ledger::of(&http::Extensions::new());
        while client.owe(1 << 20) {}
        let timestamp = Timestamp(7);
        for done in
            [Response::Written { timestamp }, Response::RangeDeleted { deleted: 3, resume: Some(Key::MIN), timestamp }]
        {
            assert!(is_done(&done));
            assert_eq!(charged(&client, Ok(done.clone())).0, Ok(done));
        }
        let value = holdfast_types::VersionedValue { value: vec![b'v'; 1 << 20].into(), timestamp, expires_at: None };
        for read in [
            Response::Got { values: vec![Some(value.clone())] },
            Response::ConditionFailed { index: 0, actual: Some(value) },
        ] {
            assert!(matches!(charged(&client, Ok(read)).0, Err(Rejected::Busy { .. })));
        }
    }

    #[test]
    fn a_store_that_does_not_run_yet_says_for_certain_that_nothing_was_done_and_a_member_is_not_told_to_found_a_fleet()
    {
        let refusal = |state: &ServerState| match state.member().map(|_| ()).map_err(|status| from_status(&status)) {
            Err(Some(Rejected::Unavailable(why))) => why,
            other => panic!("a refusal with its details was expected: {other:?}"),
        };
        let state = ServerState::new(Ports::for_tests(), None);
        assert!(refusal(&state).contains("holdfast init"));
        assert_eq!(state.readiness(), Err("not a member of a fleet yet\n".to_owned()));
        state.set_member();
        assert_eq!(state.readiness(), Err("starting\n".to_owned()));
        let why = refusal(&state);
        assert!(why.contains("starting") && !why.contains("init"), "{why}");
    }
}
