//! One simulated store: a disk, clocks, and at most one process at a time, which runs the real cores.

mod log_writer;
mod maintenance;
mod pools;
mod process;
mod sessions;
mod support;

use std::sync::Arc;

use holdfast_engine::memory::FlushToken;
use holdfast_engine::{DataEngine, DataSnapshot, Fault};
use holdfast_kv::core::event::Event;
use holdfast_kv::core::placement_loop::PlanTask;
use holdfast_kv::core::recovery;
use holdfast_kv::core::worker::Env;
use holdfast_kv::core::{recovery::WorkerSetup, routing::RangeMap};
use holdfast_placement::StoreRecord;
use holdfast_replica::{AdminRequest, ReplicaStatus, Standing};
use holdfast_types::{Moment, RangeId, RangeRequest, SiteName, StoreId};

pub use self::pools::PoolJob;
use self::process::Process;
use crate::clock::StoreClock;
use crate::disk::{Disk, Ending};
use crate::faults::Repair;
use crate::hub::{Happening, Hub};
use crate::network::{Lane, Parcel, Place, Sent};

/// A process that exited is started again after this, as an orchestrator would.
const EXIT_TO_START: std::time::Duration = std::time::Duration::from_millis(700);

/// What happens within a store's process.
#[derive(Clone, Debug)]
pub enum StoreTask {
    /// A worker's round is due.
    Round(u16),
    /// The support table is due.
    Support,
    /// The sync that is out has ended.
    Synced,
    /// The apply task at the head of a lane is done.
    Applied(usize),
    /// A job of the read pool is done.
    Read(Box<PoolJob>),
    /// A plan is made, for this worker.
    Plan(u16, Box<PlanTask>),
    /// The job at the head of the snapshot lane is done.
    Snapshot,
    /// Measurements, flushes, truncation points.
    Maintain,
    /// A flush has ended.
    Flushed(FlushToken),
    /// Clients with open calls are told that the store lives.
    SignOfLife {
        /// Which client.
        client: usize,
        /// On which stream.
        session: u64,
    },
}

/// How the stores of a fleet are built.
#[derive(Clone, Debug)]
pub struct StoreSetup {
    /// How workers are.
    pub workers: WorkerSetup,
    /// Lanes of the apply pool.
    pub appliers: usize,
    /// The data instance is flushed so often.
    pub flush_every: std::time::Duration,
}

/// One simulated store.
pub struct Store {
    /// Its id.
    pub id: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Its clocks.
    pub clock: StoreClock,
    /// Its disk.
    pub disk: Disk,
    setup: StoreSetup,
    life: u64,
    process: Option<Process>,
    /// The machine is off: it does not even refuse connections.
    dark: bool,
    /// What comes while the process is stopped (SIGSTOP); it happens when it goes on.
    frozen: Option<Vec<Happening>>,
}

/// The surroundings of one step of a process.
pub(crate) struct At<'a> {
    pub(crate) me: StoreId,
    pub(crate) life: u64,
    pub(crate) clock: &'a StoreClock,
    pub(crate) disk: &'a mut Disk,
    pub(crate) setup: &'a StoreSetup,
    pub(crate) hub: &'a mut Hub,
}

impl At<'_> {
    pub(crate) fn now(&self) -> Moment {
        self.clock.local(self.hub.now)
    }

    pub(crate) fn task_at(&mut self, at: Moment, task: StoreTask) {
        let (store, life) = (self.me, self.life);
        self.hub.at(at, Happening::Store { store, life, task });
    }

    pub(crate) fn send(&mut self, to: Place, lane: Lane, parcel: Parcel) {
        self.hub.send((Place::Store(self.me), to, lane), parcel);
    }
}

/// The clock and the data as a worker sees them.
pub(crate) struct LocalEnv {
    pub(crate) now: Moment,
    pub(crate) data: Arc<dyn DataEngine>,
}

impl Env for LocalEnv {
    fn now(&self) -> Moment {
        self.now
    }

    fn snapshot(&self) -> Arc<dyn DataSnapshot> {
        self.data.snapshot()
    }
}

impl Store {
    /// A store that does not run yet.
    #[must_use]
    pub fn new(id: StoreId, site: SiteName, clock: StoreClock, disk: Disk, setup: StoreSetup) -> Self {
        Self { id, site, clock, disk, setup, life: 0, process: None, dark: false, frozen: None }
    }

    /// True while its process runs, stopped or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// True while its process is stopped.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Starts the process from what is on the disk. Nothing happens when it runs already.
    pub fn start(&mut self, directory: &Arc<Vec<StoreRecord>>, hub: &mut Hub) -> Result<(), Fault> {
        if self.process.is_some() {
            return Ok(());
        }
        self.life += 1;
        self.dark = false;
        hub.counts.starts += 1;
        hub.note(|| format!("{} starts", self.id));
        let (log, data) = (self.disk.contents.open_log()?, self.disk.contents.open_data()?);
        let engines = holdfast_engine::Engines { log: log.clone(), data: data.clone() };
        let recovered = recovery::recover(&engines)?;
        let mut at =
            At { me: self.id, life: self.life, clock: &self.clock, disk: &mut self.disk, setup: &self.setup, hub };
        let env = LocalEnv { now: at.now(), data: data.clone() };
        at.hub.checks.durable.opened(self.id, &engines)?;
        at.hub.checks.applied.restarted(self.id);
        let mut process = Process::new(recovered, log, data, &env, &at);
        process.begin(directory, &mut at);
        self.process = Some(process);
        self.after_step(hub);
        Ok(())
    }

    /// Ends the process at once. What was on its way to it is lost; what it sent may still arrive.
    pub fn end(&mut self, ending: Ending, hub: &mut Hub) {
        if let Some(process) = self.process.take() {
            hub.note(|| format!("{} ends: {ending:?}", self.id));
            if ending == Ending::Killed {
                process.break_sessions(self.id, hub);
            }
        }
        self.dark = ending == Ending::PowerLost;
        self.frozen = None;
        self.life += 1;
        self.disk.end_process(ending);
        hub.network.reset_to(Place::Store(self.id));
    }

    /// Stops the process (SIGSTOP).
    pub fn freeze(&mut self, hub: &mut Hub) {
        if self.process.is_some() && self.frozen.is_none() {
            hub.note(|| format!("{} is stopped", self.id));
            self.frozen = Some(Vec::new());
        }
    }

    /// Lets the process go on (SIGCONT).
    pub fn thaw(&mut self, hub: &mut Hub) {
        if let Some(waiting) = self.frozen.take() {
            hub.note(|| format!("{} goes on", self.id));
            for what in waiting {
                hub.at(hub.now, what);
            }
        }
    }

    /// A task of its process is due.
    pub fn happen(&mut self, life: u64, task: StoreTask, hub: &mut Hub) {
        if life != self.life || self.process.is_none() {
            return;
        }
        if let Some(waiting) = &mut self.frozen {
            waiting.push(Happening::Store { store: self.id, life, task });
            return;
        }
        self.step(hub, |process, at| process.task(task, at));
    }

    /// A message arrives.
    pub fn arrive(&mut self, sent: Sent, hub: &mut Hub) {
        if self.process.is_none() {
            return self.refuse(&sent, hub);
        }
        if let Some(waiting) = &mut self.frozen {
            waiting.push(Happening::Arrive(Box::new(sent)));
            return;
        }
        self.step(hub, |process, at| process.arrive(sent, at));
    }

    /// Nobody listens: a machine that is on says so to clients.
    fn refuse(&self, sent: &Sent, hub: &mut Hub) {
        let (from, to, lane) = sent.stream;
        let answer = match &sent.parcel {
            _ if self.dark => return,
            Parcel::Hello(session) | Parcel::Call { session, .. } | Parcel::Ping(session) => Parcel::Broken(*session),
            Parcel::Locate { locate, .. } => Parcel::NotLocated(*locate),
            _ => return,
        };
        hub.send((to, from, lane), answer);
    }

    /// Hands the leaders over, as before a planned stop.
    pub fn retire(&mut self, hub: &mut Hub) {
        self.step(hub, |process, at| process.tell_all(None, &Event::Retire, at));
    }

    /// Whether this store has heard from placement that another one leaves.
    #[must_use]
    pub fn knows_leaving(&self, store: StoreId) -> bool {
        let told = self.process.iter().flat_map(|process| process.told.iter());
        told.into_iter().any(|record| record.store == store && record.is_leaving())
    }

    /// A server writes into the system range.
    pub fn write(&mut self, request: RangeRequest, hub: &mut Hub) {
        self.step(hub, |process, at| process.write(request, at));
    }

    /// An administrator asks; the answer comes to [`Hub::admin_answers`].
    pub fn admin(&mut self, id: u64, range: RangeId, request: AdminRequest, hub: &mut Hub) {
        self.step(hub, |process, at| process.admin(id, range, request, at));
    }

    /// Everybody is told of the stores of the fleet.
    pub fn tell_directory(&mut self, directory: &Arc<Vec<StoreRecord>>, hub: &mut Hub) {
        let directory = Arc::clone(directory);
        self.step(hub, |process, at| process.tell_all(None, &Event::Directory(directory), at));
    }

    fn step(&mut self, hub: &mut Hub, step: impl FnOnce(&mut Process, &mut At<'_>)) {
        let Some(process) = &mut self.process else { return };
        let mut at =
            At { me: self.id, life: self.life, clock: &self.clock, disk: &mut self.disk, setup: &self.setup, hub };
        step(process, &mut at);
        self.after_step(hub);
    }

    /// A store whose disk failed exits; the machine lives.
    fn after_step(&mut self, hub: &mut Hub) {
        let fault = self.process.as_mut().and_then(|process| process.fault.take());
        if let Some(fault) = fault {
            hub.note(|| format!("{} exits: {fault}", self.id));
            self.end(Ending::Killed, hub);
            hub.after(EXIT_TO_START, Happening::Repair(Repair::Start(self.id)));
        }
    }

    fn env(&self, hub: &Hub) -> Option<LocalEnv> {
        let process = self.process.as_ref()?;
        Some(LocalEnv { now: self.clock.local(hub.now), data: process.data.clone() })
    }

    /// How its replicas are doing; empty when it does not run.
    #[must_use]
    pub fn status(&self, hub: &Hub) -> Vec<(RangeId, ReplicaStatus)> {
        let (Some(process), Some(env)) = (&self.process, self.env(hub)) else { return Vec::new() };
        process.workers().flat_map(|worker| worker.status(&env)).collect()
    }

    /// How the replica of a range looks from outside.
    #[must_use]
    pub fn standing(&self, range: RangeId) -> Option<&Standing> {
        self.process.as_ref()?.workers().find_map(|worker| worker.standing(range))
    }

    /// What its process knows of ranges.
    #[must_use]
    pub fn map(&self) -> Option<&RangeMap> {
        self.process.as_ref().map(|process| &process.map)
    }

    /// A view of its data, while it runs.
    #[must_use]
    pub fn data(&self) -> Option<Arc<dyn DataSnapshot>> {
        self.process.as_ref().map(|process| process.data.snapshot())
    }

    /// Checks the invariants of its workers.
    pub fn check(&self) -> Result<(), String> {
        self.process.iter().flat_map(Process::workers).try_for_each(|worker| worker.check())
    }
}
