//! The store from outside: start, requests, messages, stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use holdfast_engine::{DataEngine, Engines, Fault, ReadTier};
use holdfast_placement::StoreRecord;
use holdfast_replica::AdminRequest;
use holdfast_replica::range_state::RangeState;
use holdfast_types::{
    Incarnation, Key, KeyRange, LogIndex, RangeId, RangeRequest, Rejected, StoreId, Timestamp, limits,
};
use parking_lot::{Mutex, RwLock};

use super::health::{Complaint, ComplaintKind, Health, Pulse};
use super::log_writer::LogWriter;
use super::maintenance::Maintenance;
use super::pools::{Applier, Mailboxes, PlannerThread, ReaderThread, SnapshotThread};
use super::rights_now::RightsNow;
use super::shared::{FaultSink, Oversized, guarded};
use super::shared_map::SharedMap;
use super::streams::StreamsHeard;
use super::support_thread::{Company, SupportThread};
use super::watched::{note_in, watched};
use super::worker_thread::{Mail, Outlets, Waiting, WorkerThread};
use crate::core::effect::Effect;
use crate::core::event::{Event, Measurements, RequestTicket};
use crate::core::message::{RangeHint, Route, StoreMessage};
use crate::core::permit::{Permitted, check_admin};
use crate::core::placement_loop::PlanTask;
use crate::core::rights::{Asker, Rights};
use crate::core::routing::{Counts, Found, Page, RangeMap};
use crate::core::shared::Shared;
use crate::core::support::{Silent, Support};
use crate::core::worker::Worker;
use crate::ports::{AdminReply, Class, Clock, PlacementLink, RaftSender, Reply, SupportLink};

/// What a worker has a pool do.
type Work = (usize, Effect);

/// What the server gives to a store.
pub struct Ports {
    /// Streams to other stores.
    pub sender: Arc<dyn RaftSender>,
    /// Support heartbeats.
    pub support: Box<dyn SupportLink>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Who hears of leaders and stores.
    pub placement: Arc<dyn PlacementLink>,
    /// Who ends the process when the disk fails.
    pub faults: FaultSink,
}

/// How many threads a store has, and how often it flushes.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Threads of the apply pool.
    pub appliers: usize,
    /// Threads of the read pool.
    pub readers: usize,
    /// How often the data instance is flushed at least.
    pub flush_every: Duration,
    /// Cores of this machine.
    pub cores: u32,
}

/// Lets the caller of a request say that nobody waits any more.
#[derive(Clone, Copy, Debug)]
pub struct Cancellation {
    worker: usize,
    ticket: RequestTicket,
}

/// A running store.
pub struct Store {
    mailboxes: Mailboxes,
    map: Arc<SharedMap>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    tickets: AtomicU64,
    shared: Arc<Shared>,
    /// Nothing new is taken in: the store is about to stop.
    refuses: AtomicBool,
    stop_maintenance: Sender<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    faults: FaultSink,
    measured: Arc<RwLock<Arc<Measurements>>>,
    data: Arc<dyn DataEngine>,
    streams: Arc<StreamsHeard>,
    oversized: Arc<Oversized>,
    rights: RightsNow,
}

impl Store {
    /// Starts the threads of a store whose workers hold their recovered ranges.
    pub fn start(
        options: &StoreOptions,
        engines: Engines,
        workers: Vec<Worker>,
        map: RangeMap,
        support: Support,
        ports: Ports,
    ) -> Result<Arc<Self>, Fault> {
        assert!(!workers.is_empty(), "a store has at least one worker");
        let engines = watched(&engines, &ports.clock);
        let (senders, receivers): (Vec<_>, Vec<Receiver<Mail>>) = workers.iter().map(|_| unbounded()).unzip();
        let mailboxes = Mailboxes::new(senders);
        let count = u16::try_from(workers.len()).expect("at most MAX_WORKERS");
        let map = Arc::new(SharedMap::new(map, count));
        let (stop_maintenance, stopped) = unbounded();
        let store = Arc::new(Self {
            mailboxes,
            map,
            clock: Arc::clone(&ports.clock),
            health: Arc::default(),
            tickets: AtomicU64::new(1),
            shared: Arc::clone(workers[0].shared()),
            refuses: AtomicBool::new(false),
            stop_maintenance,
            threads: Mutex::default(),
            faults: ports.faults.clone(),
            measured: Arc::default(),
            data: Arc::clone(&engines.data),
            streams: Arc::default(),
            oversized: Arc::default(),
            rights: RightsNow::default(),
        });
        let (company, company_news) = unbounded();
        let outlets = store.start_pools(options, &engines, &ports, company)?;
        for (index, (worker, mailbox)) in workers.into_iter().zip(receivers).enumerate() {
            let pulse = store.health.pulse(format!("worker {index}"), ComplaintKind::Workers, &*ports.clock);
            let thread = WorkerThread {
                index,
                worker,
                mailbox,
                outlets: outlets(),
                clock: Arc::clone(&ports.clock),
                pulse: Arc::clone(&pulse),
                waiting: Waiting::default(),
            };
            store.spawn(format!("worker-{index}"), pulse, move || thread.run())?;
        }
        store.start_maintenance(options, &engines, &ports, stopped)?;
        store.start_support(&engines, support, ports, company_news)?;
        Ok(store)
    }

    fn start_maintenance(
        &self,
        options: &StoreOptions,
        engines: &Engines,
        ports: &Ports,
        stop: Receiver<()>,
    ) -> Result<(), Fault> {
        let pulse = self.health.slow_pulse("maintenance", &*ports.clock);
        let maintenance = Maintenance {
            data: Arc::clone(&engines.data),
            workers: self.mailboxes.clone(),
            map: Arc::clone(&self.map),
            clock: Arc::clone(&ports.clock),
            faults: ports.faults.clone(),
            flush_every: options.flush_every,
            stop,
            cores: options.cores,
            health: Arc::clone(&self.health),
            pulse: Arc::clone(&pulse),
            measured: Arc::clone(&self.measured),
            placement: Arc::clone(&ports.placement),
        };
        self.spawn("maintenance".into(), pulse, move || maintenance.run())
    }

    fn start_support(
        &self,
        engines: &Engines,
        support: Support,
        ports: Ports,
        company: Receiver<Company>,
    ) -> Result<(), Fault> {
        let pulse = self.health.slow_pulse("support", &*ports.clock);
        let support = SupportThread {
            support,
            log: Arc::clone(&engines.log),
            link: ports.support,
            company,
            workers: self.mailboxes.clone(),
            health: Arc::clone(&self.health),
            measured: Arc::clone(&self.measured),
            pulse: Arc::clone(&pulse),
            clock: ports.clock,
            faults: ports.faults,
            placement: ports.placement,
            streams: Arc::clone(&self.streams),
            lost: std::collections::BTreeSet::new(),
        };
        self.spawn("support".into(), pulse, move || support.run())
    }

    /// Starts log writer, apply pool, read pool, snapshot thread and the one that plans. Gives a maker of outlets, one for each worker; the
    /// threads end when the last outlet is dropped.
    fn start_pools(
        &self,
        options: &StoreOptions,
        engines: &Engines,
        ports: &Ports,
        company: Sender<Company>,
    ) -> Result<impl Fn() -> Outlets + use<>, Fault> {
        let (log, batches) = unbounded();
        let pulse = self.health.pulse("log writer", ComplaintKind::Threads, &*ports.clock);
        let writer = LogWriter {
            log: Arc::clone(&engines.log),
            batches,
            workers: self.mailboxes.clone(),
            pulse: Arc::clone(&pulse),
            clock: Arc::clone(&ports.clock),
            faults: ports.faults.clone(),
        };
        self.spawn("log-writer".into(), pulse, move || writer.run())?;
        let mut appliers = Vec::new();
        for index in 0..options.appliers.max(1) {
            let (sender, work) = unbounded();
            appliers.push(sender);
            let pulse = self.health.pulse(format!("apply {index}"), ComplaintKind::Threads, &*ports.clock);
            let applier = Applier {
                data: Arc::clone(&engines.data),
                work,
                workers: self.mailboxes.clone(),
                pulse: Arc::clone(&pulse),
                clock: Arc::clone(&ports.clock),
                faults: ports.faults.clone(),
            };
            self.spawn(format!("apply-{index}"), pulse, move || applier.run())?;
        }
        let (readers, snapshots) = self.start_readers(options, engines, ports)?;
        let planner = self.start_planner(&ports.clock)?;
        let (sender, placement) = (Arc::clone(&ports.sender), Arc::clone(&ports.placement));
        let faults = ports.faults.clone();
        let (workers, map, engines) = (self.mailboxes.clone(), Arc::clone(&self.map), engines.clone());
        let (oversized, clock) = (Arc::clone(&self.oversized), Arc::clone(&ports.clock));
        Ok(move || Outlets {
            sender: Arc::clone(&sender),
            placement: Arc::clone(&placement),
            log: log.clone(),
            appliers: appliers.clone(),
            readers: readers.clone(),
            snapshots: snapshots.clone(),
            planner: planner.clone(),
            company: company.clone(),
            workers: workers.clone(),
            map: Arc::clone(&map),
            engines: engines.clone(),
            faults: faults.clone(),
            oversized: Arc::clone(&oversized),
            clock: Arc::clone(&clock),
        })
    }

    /// Starts read pool and snapshot thread; returns where their work goes.
    fn start_readers(
        &self,
        options: &StoreOptions,
        engines: &Engines,
        ports: &Ports,
    ) -> Result<(Sender<Work>, Sender<Work>), Fault> {
        let (readers, reads) = unbounded();
        for index in 0..options.readers.max(1) {
            let pulse = self.health.slow_pulse(format!("read {index}"), &*ports.clock);
            let reader = ReaderThread {
                engines: engines.clone(),
                work: reads.clone(),
                workers: self.mailboxes.clone(),
                pulse: Arc::clone(&pulse),
                clock: Arc::clone(&ports.clock),
            };
            self.spawn(format!("read-{index}"), pulse, move || reader.run())?;
        }
        let (snapshots, work) = unbounded();
        let waiting = Arc::new(AtomicUsize::new(0));
        let pulse = self.health.slow_pulse("snapshot", &*ports.clock);
        let thread = SnapshotThread {
            data: Arc::clone(&engines.data),
            work,
            workers: self.mailboxes.clone(),
            waiting,
            pulse: Arc::clone(&pulse),
            clock: Arc::clone(&ports.clock),
        };
        self.spawn("snapshot".into(), pulse, move || thread.run())?;
        Ok((readers, snapshots))
    }

    /// Starts the thread that plans; returns where its work goes.
    fn start_planner(&self, clock: &Arc<dyn Clock>) -> Result<Sender<(usize, Box<PlanTask>)>, Fault> {
        let (planner, work) = unbounded();
        let pulse = self.health.slow_pulse("planner", &**clock);
        let (workers, clock) = (self.mailboxes.clone(), Arc::clone(clock));
        let thread = PlannerThread { work, workers, pulse: Arc::clone(&pulse), clock };
        self.spawn("planner".into(), pulse, move || thread.run())?;
        Ok(planner)
    }

    /// Starts a thread; a panic in it is reported as a fault. Every thread of a store has a pulse: what waits for the disk in it is noted there.
    fn spawn(&self, name: String, pulse: Arc<Pulse>, run: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        let faults = self.faults.clone();
        let thread_name = name.clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                note_in(Arc::clone(&pulse));
                guarded(&thread_name, &faults, run);
                pulse.ends();
            })
            .map_err(|error| Fault::Io { doing: format!("starting thread {name}"), detail: error.to_string() })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// From here on requests are judged by these rights: those that come in, and those that other stores pass on. Before the first call
    /// nothing is taken in from anybody but the fleet itself.
    pub fn set_rights(&self, rights: &Arc<Rights>) {
        self.rights.set(Arc::clone(rights));
        self.mailboxes.broadcast(None, &Event::Rights(Arc::clone(rights)));
    }

    /// The rights by which requests are judged.
    #[must_use]
    pub fn rights(&self) -> Arc<Rights> {
        self.rights.get()
    }

    /// Shows these rights to somebody who asks, if they have changed since he looked.
    pub fn show_rights(&self, asker: &mut Asker) {
        self.rights.show(asker);
    }

    /// Serves a request for somebody, here or by forwarding it. Refused at once when it is malformed or not for them to ask, or when the
    /// mailbox is full.
    pub fn request(
        &self,
        request: RangeRequest,
        asker: &mut Asker,
        wait: Duration,
        reply: Box<dyn Reply>,
    ) -> Option<Cancellation> {
        self.rights.show(asker);
        let permitted = match Permitted::check(request, asker) {
            Ok(permitted) => permitted,
            Err(rejected) => {
                reply.answer(Err(rejected), self.fleet_now());
                return None;
            }
        };
        if self.refuses.load(Ordering::Relaxed) {
            reply.answer(Err(stopping()), self.fleet_now());
            return None;
        }
        let request = permitted.request();
        let worker = match (&request.range, request.request.routing_key()) {
            (Some((range, _)), _) => self.map.worker_of(*range),
            (None, Some(key)) => self.map.worker_for(key),
            (None, None) => 0,
        };
        let ticket = RequestTicket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let deadline = self.clock.now().after(wait.min(limits::MAX_DEADLINE));
        match self.mailboxes.offer(worker, Mail::Request { ticket, request: permitted, deadline, reply }) {
            Ok(()) => Some(Cancellation { worker, ticket }),
            Err(Mail::Request { reply, .. }) => {
                reply.answer(Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }), self.fleet_now());
                None
            }
            Err(_) => unreachable!("a mailbox gives back what it was offered"),
        }
    }

    /// Nobody waits for that request any more. A write that was already proposed goes on.
    pub fn cancel(&self, request: Cancellation) {
        self.mailboxes.deliver(request.worker, Event::Cancel { ticket: request.ticket });
    }

    /// Carries an administrative request to the leader of its range.
    pub fn admin(&self, range: RangeId, request: AdminRequest, wait: Duration, reply: Box<dyn AdminReply>) {
        if self.refuses.load(Ordering::Relaxed) {
            return reply.answer(Err(stopping()));
        }
        if let Err(rejected) = check_admin(&request) {
            return reply.answer(Err(rejected));
        }
        let ticket = RequestTicket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let deadline = self.clock.now().after(wait.min(limits::MAX_DEADLINE));
        let mail = Mail::Admin { ticket, range, request, deadline, reply };
        if let Err(Mail::Admin { reply, .. }) = self.mailboxes.offer(self.map.worker_of(range), mail) {
            reply.answer(Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
        }
    }

    /// Takes a message from another store. What does not fit is dropped (every protocol sends again); a message that is
    /// not well-formed is logged and dropped.
    pub fn receive(&self, from: StoreId, incarnation: Incarnation, payload: &Bytes) {
        let message = match StoreMessage::decode(payload) {
            Ok(message) => message,
            Err(bad) => {
                tracing::warn!(store = %from, %bad, "dropped a malformed message of a store");
                return;
            }
        };
        let worker = match message.route() {
            Route::Range(range) => self.map.worker_of(range),
            Route::Key(key) => self.map.worker_for(&key),
            Route::Worker(worker) => usize::from(worker).min(self.mailboxes.workers() - 1),
        };
        let _ = self.mailboxes.offer(worker, Mail::Event(Event::Message { from, incarnation, message }));
    }

    /// Something came in on a stream of another store, if only a sign of life; or it waits until this store can take it.
    pub fn stream_lives(&self, from: StoreId, class: Class) {
        self.streams.note(from, class, self.clock.now());
    }

    /// True for a store that replicas here have for company: its word counts, whether the fleet is known to have it on record or not.
    #[must_use]
    pub fn is_neighbour(&self, store: StoreId) -> bool {
        self.health.is_neighbour(store)
    }

    /// Neighbours whose heartbeats arrive, but not what streams carry.
    #[must_use]
    pub fn silent_streams(&self) -> std::collections::BTreeMap<StoreId, Silent> {
        self.health.silent()
    }

    /// True while so much waits that the transport should stop reading.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.waiting() > 32_768
    }

    /// Events that wait for the workers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.mailboxes.waiting()
    }

    /// The stores of the fleet became known, and which of those that it had are forgotten.
    pub fn directory(&self, stores: Arc<Vec<StoreRecord>>) {
        self.mailboxes.broadcast(None, &Event::Directory(stores));
    }

    /// What this store knows of the range that holds `key`.
    #[must_use]
    pub fn locate(&self, key: &Key) -> Option<Found> {
        self.map.find(key)
    }

    /// What this store knows of one range.
    #[must_use]
    pub fn range(&self, range: RangeId) -> Option<Found> {
        self.map.get(range)
    }

    /// A page of what this store knows of the ranges that hold keys within bounds and are wanted; and from where the next page goes on:
    /// its start, or in reverse its end.
    #[must_use]
    pub fn ranges_within(
        &self,
        bounds: &KeyRange,
        page: Page,
        wanted: impl Fn(&Found) -> bool,
    ) -> (Vec<Found>, Option<Key>) {
        self.map.page(bounds, page, wanted)
    }

    /// How many ranges there are here, and how many of them `store`, which is this one, leads.
    #[must_use]
    pub fn counts(&self, store: StoreId) -> Counts {
        self.map.counts(store)
    }

    /// What this store knows of all ranges, in the order of their keys. There may be a hundred thousand: for what is done once, not for
    /// what is done for a caller.
    #[must_use]
    pub fn ranges(&self) -> Vec<Found> {
        self.map.all()
    }

    /// Up to where the replica of a range here has applied its log; `None`: there is none. Reads the data instance.
    pub fn applied(&self, range: RangeId) -> Result<Option<LogIndex>, Fault> {
        let state = self.data.range_state(range, ReadTier::All)?;
        Ok(state.and_then(|state| RangeState::decode(state).ok()).map(|state| state.applied))
    }

    /// What is wrong with this store's threads and disks; nothing: it is fit to lead.
    #[must_use]
    pub fn complaints(&self) -> Vec<Complaint> {
        self.health.complaints(self.clock.now())
    }

    /// The threads that hang, one sentence each: only a new start of the process helps. None does for a slow disk.
    #[must_use]
    pub fn hung(&self) -> Vec<String> {
        self.health.hung(self.clock.now())
    }

    /// A pulse for something that is not the store's own, and without which it is of no use. It must beat every [`super::SLOW_BEAT`].
    pub fn watch(&self, name: &str) -> Arc<Pulse> {
        self.health.slow_pulse(name, &*self.clock)
    }

    /// What was measured last: disk, processors, bytes by range.
    #[must_use]
    pub fn measured(&self) -> Arc<Measurements> {
        Arc::clone(&self.measured.read())
    }

    /// Something was heard of ranges elsewhere: requests go by it from here on.
    pub fn learn(&self, hints: Vec<RangeHint>) {
        self.mailboxes.broadcast(None, &Event::Learned(hints.clone()));
        self.map.learned(hints);
    }

    /// How far this store's wall clock is ahead of the other stores' (behind: negative), when it is off by more than the bound. The
    /// store is ready all the same: it votes, serves what it can and passes the rest on; but it does not lead.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        self.health.clock_ahead_ms()
    }

    /// Fleet time as this store has judged it; told along with answers that no worker gave. [`Timestamp::ZERO`]: it is not known yet.
    #[must_use]
    pub fn fleet_now(&self) -> Timestamp {
        self.health.fleet_clock().at(self.clock.now()).unwrap_or(Timestamp::ZERO)
    }

    /// Messages that were dropped because their senders are not known here as stores of the fleet, since the start.
    #[must_use]
    pub fn messages_of_strangers(&self) -> u64 {
        self.shared.of_strangers.load(Ordering::Relaxed)
    }

    /// Messages to other stores that were too large to be sent, since the start: each is a defect of this program, and was told.
    #[must_use]
    pub fn oversized_messages(&self) -> u64 {
        self.oversized.messages()
    }

    /// Hands leaders over; [`Store::ranges`] shows when none is left here.
    pub fn retire(&self) {
        self.mailboxes.broadcast(None, &Event::Retire);
    }

    /// Hands over the leaders that others can take, and takes none, until [`Store::retire`], or until it is told otherwise.
    pub fn prepare_to_stop(&self, prepares: bool) {
        self.health.set_prepares_to_stop(prepares);
        self.mailboxes.broadcast(None, &Event::Prepare(prepares));
    }

    /// From here on nothing new is taken in from clients: it is refused before anything is done. What is open goes on.
    pub fn refuse_new(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// Requests that were taken in, of clients and of other stores, and are not answered yet.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.shared.admission.in_use().0
    }

    /// True when all that was taken in is answered, and nothing waits to be taken in.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.mailboxes.waiting() == 0 && self.open_requests() == 0
    }

    /// Ends all threads; the data instance is flushed.
    pub fn stop(&self) {
        self.mailboxes.stop();
        let _ = self.stop_maintenance.send(());
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn stopping() -> Rejected {
    Rejected::Unavailable("this store is stopping: ask another one".into())
}
