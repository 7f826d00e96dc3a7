//! One whole store in one thread, on a disk in memory: what it sends to others is lost, unless somebody looks at it.
//!
//! It founded its fleet and leads the system range; placement runs there. The other range has voters on two more stores, which only say
//! what the input says.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::memory::MemoryDisk;
use holdfast_engine::{DataOp, DataSnapshot, Engines, LogOp, ReadTier};
use holdfast_kv::core::carry::{self, Pool};
use holdfast_kv::core::effect::Effect;
use holdfast_kv::core::event::{Event, Measurements, RequestTicket};
use holdfast_kv::core::message::StoreMessage;
use holdfast_kv::core::permit::{Authority, Permitted};
use holdfast_kv::core::reader::SnapshotReader;
use holdfast_kv::core::recovery::{Founding, WorkerSetup, init, recover};
use holdfast_kv::core::rights::{Asker, Rights};
use holdfast_kv::core::support::{Output, Support};
use holdfast_kv::core::worker::{Env, Worker};
use holdfast_placement::{SiteRecord, StoreAddresses, StoreRecord};
use holdfast_replica::{CheckLevel, RangeState, SurvivalGoal};
use holdfast_types::storage::LogEntry;
use holdfast_types::{
    FleetId, Incarnation, LogIndex, Moment, RangeDescriptor, RangeId, RangeRequest, ReplicaDescriptor, ReplicaId, Role,
    SiteName, StoreId, Term, Timestamp,
};
use prost::Message;

/// The fleet.
pub const FLEET: FleetId = FleetId(7);
/// This store.
pub const OWN: StoreId = StoreId(1);
/// The range that it has in common with two others.
pub const SHARED: RangeId = RangeId(1 << 32 | 1);
/// How many rounds it may take until nothing is left to do.
const MOST_ROUNDS: usize = 10_000;

struct At {
    now: Moment,
    engines: Engines,
}

impl Env for At {
    fn now(&self) -> Moment {
        self.now
    }

    fn snapshot(&self) -> Arc<dyn DataSnapshot> {
        self.engines.data.snapshot()
    }
}

/// A running store.
pub struct Store {
    disk: MemoryDisk,
    life: Life,
    now: Moment,
    next_ticket: u64,
    /// What it sent to other stores, oldest first.
    pub sent: Vec<(StoreId, StoreMessage)>,
    /// Heartbeats that it sent.
    pub heartbeats: Vec<Bytes>,
}

/// One start of it, until it ends itself.
struct Life {
    engines: Engines,
    worker: Worker,
    mailbox: VecDeque<Event>,
    support: Support,
    is_over: bool,
}

/// Entry of a raft log, as raft's own messages have it.
#[derive(Clone, PartialEq, Message)]
struct RawEntry {
    #[prost(int32, tag = "1")]
    entry_type: i32,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
    #[prost(bytes = "bytes", tag = "4")]
    data: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    context: Bytes,
}

/// An entry with this payload: a command, or a change of the replicas.
#[must_use]
pub fn entry(index: LogIndex, term: Term, changes_replicas: bool, payload: &Bytes) -> LogEntry {
    let empty = Bytes::new();
    let (entry_type, data, context) =
        if changes_replicas { (2, empty, payload.clone()) } else { (0, payload.clone(), empty) };
    let data = RawEntry { entry_type, term: term.0, index: index.0, data, context }.encode_to_vec().into();
    LogEntry { index, term, data }
}

fn record(store: StoreId) -> StoreRecord {
    StoreRecord {
        addresses: StoreAddresses { client: format!("host-{}:1", store.0), ..StoreAddresses::default() },
        joined_at: Timestamp::from_ms(1_700_000_000_000),
        ..StoreRecord::new(store, site_of(store))
    }
}

fn site_of(store: StoreId) -> SiteName {
    SiteName::new(&format!("site-{}", store.0)).unwrap()
}

/// The disk of a store that founded its fleet a moment ago.
fn founded() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let engines = disk.open().unwrap();
    let site = SiteRecord::new(site_of(OWN), None);
    init(&engines, &Founding { fleet: FLEET, store: record(OWN), site }).unwrap();
    let mut state = state_of(&engines, SHARED);
    state.descriptor = shared(state.descriptor);
    engines.data.write(&[DataOp::SetRangeState { range: SHARED, state: state.encode() }]).unwrap();
    engines.data.flush().unwrap();
    disk
}

fn shared(founded: RangeDescriptor) -> RangeDescriptor {
    let voter = |id| ReplicaDescriptor {
        replica: ReplicaId(id),
        store: StoreId(id),
        site: site_of(StoreId(id)),
        role: Role::Voter,
    };
    let mut descriptor = RangeDescriptor { replicas: (1..=3).map(voter).collect(), ..founded };
    descriptor.next_replica = ReplicaId(4);
    descriptor.epoch.membership += 1;
    descriptor.check().unwrap();
    descriptor
}

fn state_of(engines: &Engines, range: RangeId) -> RangeState {
    RangeState::decode(engines.data.range_state(range, ReadTier::All).unwrap().unwrap()).unwrap()
}

impl Life {
    fn start(disk: &MemoryDisk, now: Moment) -> Option<Self> {
        let engines = disk.open().unwrap();
        // A record that is damaged, or that no version writes, is a reason not to start; a panic is not.
        let recovered = recover(&engines).ok()?;
        let support = Support::new(recovered.support(), now);
        let setup = WorkerSetup {
            workers: 1,
            seed: 1,
            quorum_reads: false,
            check: CheckLevel::Full,
            survival: SurvivalGoal::Site,
        };
        let env = At { now, engines: engines.clone() };
        let worker = recovered.into_workers(&setup, &env).0.pop().expect("one was asked for");
        let healthy = Measurements {
            disk_free_bytes: 90 << 30,
            disk_total_bytes: 100 << 30,
            cores: 2,
            ..Measurements::default()
        };
        let directory = (1..=3).map(|id| record(StoreId(id))).collect();
        let mailbox = VecDeque::from([Event::Directory(Arc::new(directory)), Event::Measured(healthy)]);
        Some(Self { engines, worker, mailbox, support, is_over: false })
    }
}

impl Store {
    /// A store that has run for a while.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn founded() -> Self {
        static FOUNDED: OnceLock<MemoryDisk> = OnceLock::new();
        let disk = FOUNDED.get_or_init(founded).image();
        let now = Moment(1_000_000);
        let life = Life::start(&disk, now).expect("it was just founded");
        let mut store = Self { disk, life, now, next_ticket: 0, sent: Vec::new(), heartbeats: Vec::new() };
        store.run(1_500);
        store
    }

    /// The state of one of its ranges.
    #[must_use]
    pub fn state(&self, range: RangeId) -> RangeState {
        state_of(&self.life.engines, range)
    }

    /// What lies on its disk.
    #[must_use]
    pub fn reader(&self) -> SnapshotReader<'_> {
        SnapshotReader::of(self.life.engines.data.snapshot())
    }

    /// The range in common, as all three know it.
    #[must_use]
    pub fn shared_descriptor(&self) -> RangeDescriptor {
        let leads = self.life.worker.standing(SHARED).map(|standing| standing.descriptor.clone());
        leads.unwrap_or_else(|| shared(self.state(SHARED).descriptor))
    }

    /// Dies and starts again with what was synced. One that cannot read its own disk stays down: then it goes on as it was founded.
    pub fn restart(&mut self) {
        self.disk.kill();
        match Life::start(&self.disk, self.now) {
            Some(life) => self.life = life,
            None => *self = Self::founded(),
        }
    }

    /// Writes to its log what an earlier version may have left there.
    pub fn write_log(&self, ops: &[LogOp]) {
        let _ = self.life.engines.log.write_synced(ops);
    }

    /// The same for its data.
    pub fn write_data(&self, ops: &[DataOp]) {
        self.life.engines.data.write(ops).unwrap();
        self.life.engines.data.flush().unwrap();
    }

    /// Something came on the stream of a store.
    pub fn receive(&mut self, from: StoreId, bytes: &Bytes) {
        let Ok(message) = StoreMessage::decode(bytes) else { return };
        let again = message.encode().expect("what was taken can be sent on");
        assert_eq!(StoreMessage::decode(&again).as_ref(), Ok(&message), "and is taken as the same");
        let _ = message.route();
        let incarnation = Incarnation(1);
        self.life.mailbox.push_back(Event::Message { from, incarnation, message });
        self.settle();
    }

    /// A client asks something.
    pub fn ask(&mut self, request: RangeRequest, timeout_ms: u64) {
        let asker = Asker::of(Authority::Client, &Rights::insecure());
        let Ok(request) = Permitted::check(request, &asker) else { return };
        self.next_ticket += 1;
        let ticket = RequestTicket(self.next_ticket);
        let deadline = self.now.after(Duration::from_millis(timeout_ms));
        self.life.mailbox.push_back(Event::Request { ticket, request, deadline });
        self.settle();
    }

    /// Time passes: from one thing that is due to the next.
    pub fn run(&mut self, ms: u64) {
        let end = self.now.after(Duration::from_millis(ms));
        loop {
            self.tick();
            self.settle();
            if self.now >= end {
                return;
            }
            let due = [Some(self.life.support.next_wake()), self.life.worker.next_wake(), Some(end)];
            let next = due.into_iter().flatten().min().expect("there is an end");
            self.now = next.max(self.now.after(Duration::from_millis(1))).min(end);
        }
    }

    fn tick(&mut self) {
        let (now, wall_ms) = (self.now, 1_700_000_000_000 + self.now.0 / 1_000);
        let support = &mut self.life.support;
        if support.next_wake() <= now {
            support.note_wall(wall_ms);
            support.note_counter(self.life.engines.log.counter().0);
            let output = support.tick(now, true);
            self.carry_support(output);
        }
    }

    fn carry_support(&mut self, output: Output) {
        let mailbox = &mut self.life.mailbox;
        mailbox.extend(output.seen.map(Event::Seen));
        mailbox.extend(output.outdated.map(Event::Outdated));
        mailbox.extend(output.changed.map(Event::Support));
        self.heartbeats.extend(output.send.into_iter().map(|(_, bytes)| bytes));
    }

    fn settle(&mut self) {
        for _ in 0..MOST_ROUNDS {
            let due = self.life.worker.next_wake().is_some_and(|at| at <= self.now);
            if self.life.is_over || (self.life.mailbox.is_empty() && !due) {
                return;
            }
            let mut events: Vec<_> = self.life.mailbox.drain(..).collect();
            let env = At { now: self.now, engines: self.life.engines.clone() };
            let effects = self.life.worker.handle(&mut events, &env);
            self.life.worker.check().unwrap();
            for effect in effects {
                self.carry(effect);
            }
        }
        panic!("the store never comes to rest");
    }

    fn carry(&mut self, effect: Effect) {
        let life = &mut self.life;
        let data = &life.engines.data;
        let event = match effect {
            Effect::WriteLog { batch, ops } => {
                life.engines.log.write_synced(&ops).unwrap();
                Event::Persisted { batch }
            }
            Effect::Apply { range, task } => Event::Applied { range, applied: carry::apply(range, *task, &**data) },
            Effect::Send { to, message, .. } => return self.sent.push((to, message)),
            Effect::Neighbours(stores) => return life.support.set_neighbours(stores),
            Effect::Members(stores) => return life.support.set_members(stores),
            Effect::Born { newborn, .. } => Event::Born(newborn),
            Effect::SetGcThreshold { range, threshold } => return data.set_gc_threshold(range, threshold),
            // A panic in a replica is caught there, and so is a broken invariant: here either is what is looked for.
            Effect::Quarantined { reason: Some(reason), .. } => {
                let is_a_bug = reason.contains("panic inside") || reason.contains("invariant broken");
                return assert!(!is_a_bug, "{reason}");
            }
            // It ends in order: what waits is not done any more.
            Effect::Outdated(_) | Effect::Fail(_) => {
                life.is_over = true;
                return;
            }
            Effect::Plan(task) => carry::plan(*task),
            work if Pool::of(&work) == Some(Pool::Read) => carry::read(work, &life.engines),
            work if Pool::of(&work) == Some(Pool::Snapshot) => match carry::snapshot(work, &**data) {
                Some(event) => event,
                None => return,
            },
            _ => return,
        };
        life.mailbox.push_back(event);
    }
}
