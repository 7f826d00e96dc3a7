//! A few whole stores in one thread: cores over in-memory disks, a network that delivers at once, one clock that is turned by
//! hand. Just enough to see the core work; the simulator is where it is tormented.

#![allow(dead_code, reason = "each test binary uses a part")]

mod bounds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holdfast_engine::memory::{Crash, MemoryDisk};
use holdfast_engine::{DataOp, DataSnapshot, Engines, Fault, LogOp, ReadTier, ReplicaRecord, SnapshotId};
use holdfast_kv::core::carry::{self, Pool};
use holdfast_kv::core::effect::{AdminOutcome, Effect, PlacementNews};
use holdfast_kv::core::event::{Event, Measurements, RequestTicket};
use holdfast_kv::core::message::{CallId, Route, StoreMessage, StoreReport};
use holdfast_kv::core::permit::{Authority, Permitted};
use holdfast_kv::core::records::{encode_site, encode_store};
use holdfast_kv::core::recovery::{Founding, WorkerSetup, init, join, recover};
use holdfast_kv::core::report_parts::ReportPart;
use holdfast_kv::core::rights::{Asker, Rights};
use holdfast_kv::core::routing::{Found, RangeMap, worker_of};
use holdfast_kv::core::shared::Shared;
use holdfast_kv::core::support::{Output, Support};
use holdfast_kv::core::worker::{Env, RoundWork, Worker};
use holdfast_placement::{Headroom, Policies, SiteRecord, SiteTrust, StateKey, StoreAddresses, StoreRecord};
use holdfast_replica::{AdminRequest, CheckLevel, RangeState, Standing, SurvivalGoal};
use holdfast_types::limits::{MAX_SNAPSHOTS_RECEIVED, MAX_SNAPSHOTS_SENT};
use holdfast_types::{
    FleetId, Incarnation, Key, KeyRange, KeyspaceId, Moment, Mutation, RangeDescriptor, RangeId, RangeRequest,
    Rejected, Request, Response, SiteName, StoreId, Timestamp,
};

#[allow(unused_imports, reason = "each test binary uses a part")]
pub use self::bounds::{at_rest, fill};

pub const FLEET: FleetId = FleetId(7);
/// The range that `init` makes for everything but the system's keyspace.
pub const REST: RangeId = RangeId(1 << 32 | 1);

struct TestEnv {
    now: Moment,
    engines: Engines,
}

impl Env for TestEnv {
    fn now(&self) -> Moment {
        self.now
    }

    fn snapshot(&self) -> Arc<dyn DataSnapshot> {
        self.engines.data.snapshot()
    }
}

/// One running store.
pub struct Store {
    engines: Engines,
    incarnation: Incarnation,
    pub workers: Vec<Worker>,
    mailboxes: Vec<VecDeque<Event>>,
    map: RangeMap,
    shared: Arc<Shared>,
    support: Support,
    neighbours: BTreeMap<usize, BTreeSet<StoreId>>,
    pub alarms: Vec<String>,
    /// The stores of the fleet, as whoever plans told them last.
    pub told: Arc<Vec<StoreRecord>>,
    /// What was said of sites, as whoever plans told it last.
    pub sites: Arc<Vec<SiteTrust>>,
}

/// A few stores, one a site.
pub struct Fleet {
    pub now: Moment,
    disks: BTreeMap<StoreId, MemoryDisk>,
    pub stores: BTreeMap<StoreId, Store>,
    workers: u16,
    directory: Arc<Vec<StoreRecord>>,
    next_ticket: u64,
    answers: BTreeMap<RequestTicket, Result<Response, Rejected>>,
    admin_answers: BTreeMap<RequestTicket, Result<AdminOutcome, Rejected>>,
    /// Directions in which nothing passes.
    pub cut: BTreeSet<(StoreId, StoreId)>,
    /// Directions in which heartbeats pass and nothing else: the port for streams is cut.
    pub cut_streams: BTreeSet<(StoreId, StoreId)>,
    /// Directions in which streams pass and no heartbeat.
    pub cut_heartbeats: BTreeSet<(StoreId, StoreId)>,
    /// Messages that get lost.
    pub loses: Option<fn(&StoreMessage) -> bool>,
    /// Wall clocks that are off.
    pub clock_ahead_ms: BTreeMap<StoreId, i64>,
    /// Lists of stores that were sent from store to store.
    pub directories: usize,
    /// Raft messages that were delivered.
    pub raft_messages: usize,
    /// What was answered to stores that passed requests on.
    pub passed_on: BTreeMap<CallId, Result<Response, Rejected>>,
    /// Rounds in which a replica's timer was due.
    pub ticks: usize,
    /// The most that a round of a worker did of its own accord, and the sum of what all did.
    pub most: RoundWork,
    pub sum: RoundWork,
    /// False: workers are not checked after each round, which takes long where there are many ranges.
    pub is_checked: bool,
    /// Stores whose apply pool stands still, and what waits for it.
    pub holds_applies: BTreeSet<StoreId>,
    held_applies: Vec<(StoreId, usize, Effect)>,
    /// No snapshot is put in place any more; these would have been.
    pub holds_installs: bool,
    pub held_installs: Vec<SnapshotId>,
    /// Stores that found themselves outdated and want to be stopped.
    pub stopped: BTreeSet<StoreId>,
    /// What whoever plans said of the loss of each site, time after time.
    pub headroom: Vec<Vec<Headroom>>,
}

pub fn store(n: u64) -> StoreId {
    StoreId(n)
}

pub fn site_of(store: StoreId) -> SiteName {
    SiteName::new(&format!("site-{}", store.0)).unwrap()
}

fn record(store: StoreId, site: SiteName) -> StoreRecord {
    StoreRecord {
        addresses: StoreAddresses { client: format!("host-{}:1", store.0), ..StoreAddresses::default() },
        joined_at: Timestamp::from_ms(1_700_000_000_000),
        ..StoreRecord::new(store, site)
    }
}

fn healthy() -> Measurements {
    Measurements { disk_free_bytes: 90 << 30, disk_total_bytes: 100 << 30, cores: 2, ..Measurements::default() }
}

pub fn key(user: &str) -> Key {
    Key::new(KeyspaceId::DEFAULT, user.as_bytes()).unwrap()
}

pub fn put(user: &str, value: &str) -> RangeRequest {
    let mutation = Mutation { key: key(user), value: Some(value.as_bytes().to_vec().into()), expires_at: None };
    let request = Request::Write { conditions: Vec::new(), mutations: vec![mutation] };
    RangeRequest { range: None, write: None, request }
}

pub fn get(user: &str) -> RangeRequest {
    RangeRequest { range: None, write: None, request: Request::Get { keys: vec![key(user)], at: None } }
}

/// What a store without ranges reports.
pub fn report_of(store: StoreId) -> StoreReport {
    StoreReport {
        store,
        site: site_of(store),
        incarnation: Incarnation(1),
        worker: 0,
        workers: 1,
        disk_total_bytes: 100 << 30,
        disk_free_bytes: 90 << 30,
        disk_ok: true,
        cores: 2,
        used_millicores: 0,
        replicas: 0,
        draining: false,
        directory_version: 0,
        ranges: Vec::new(),
        damaged: Vec::new(),
        part: ReportPart::WHOLE,
    }
}

/// Who writes what: keyspace 0 is the fleet's own.
fn authority_of(request: &RangeRequest) -> Authority {
    let is_record = |mutation: &Mutation| mutation.key.keyspace() == KeyspaceId::SYSTEM;
    match &request.request {
        Request::Write { mutations, .. } if mutations.iter().any(is_record) => Authority::Fleet,
        _ => Authority::Client,
    }
}

/// A fleet whose ranges placement has spread over all of its stores.
pub fn spread(stores: u64, workers: u16) -> Fleet {
    let mut fleet = Fleet::new(stores, workers);
    let voters = usize::try_from(stores).unwrap();
    fleet.run_until(60_000, "spreading", |f| f.voters(RangeId::SYSTEM) == voters && f.voters(REST) == voters);
    fleet
}

impl Fleet {
    /// A fleet of `n` stores, one a site; store 1 founded it and holds everything.
    pub fn new(n: u64, workers: u16) -> Self {
        Self::of((1..=n).map(|id| record(StoreId(id), site_of(StoreId(id)))).collect(), workers)
    }

    /// A fleet with a store in each of these sites, in this order; the first founded it.
    pub fn in_sites(sites: &[&str], workers: u16) -> Self {
        let site = |name: &&str| SiteName::new(name).unwrap();
        Self::of((1..).zip(sites).map(|(id, name)| record(StoreId(id), site(name))).collect(), workers)
    }

    fn of(records: Vec<StoreRecord>, workers: u16) -> Self {
        let disks: BTreeMap<_, _> = records.iter().map(|record| (record.store, MemoryDisk::new())).collect();
        let first = records[0].clone();
        let site = SiteRecord::new(first.site.clone(), None);
        init(&disks[&first.store].open().unwrap(), &Founding { fleet: FLEET, store: first, site }).unwrap();
        for record in &records[1..] {
            join(&disks[&record.store].open().unwrap(), FLEET, record).unwrap();
        }
        let mut fleet = Self {
            now: Moment(1_000_000),
            disks,
            stores: BTreeMap::new(),
            workers,
            directory: Arc::new(records.clone()),
            next_ticket: 0,
            answers: BTreeMap::new(),
            admin_answers: BTreeMap::new(),
            cut: BTreeSet::new(),
            cut_streams: BTreeSet::new(),
            cut_heartbeats: BTreeSet::new(),
            loses: None,
            clock_ahead_ms: BTreeMap::new(),
            directories: 0,
            raft_messages: 0,
            passed_on: BTreeMap::new(),
            ticks: 0,
            most: RoundWork::default(),
            sum: RoundWork::default(),
            is_checked: true,
            holds_applies: BTreeSet::new(),
            held_applies: Vec::new(),
            holds_installs: false,
            held_installs: Vec::new(),
            stopped: BTreeSet::new(),
            headroom: Vec::new(),
        };
        for record in &records {
            fleet.start(record.store);
        }
        for record in &records[1..] {
            fleet.register(record);
        }
        fleet
    }

    /// A store in each of these sites joins the fleet.
    pub fn grow(&mut self, sites: &[&str]) {
        let next = self.directory.iter().map(|record| record.store.0).max().expect("somebody founded it") + 1;
        let site = |name: &&str| SiteName::new(name).unwrap();
        let records: Vec<_> = (next..).zip(sites).map(|(id, name)| record(StoreId(id), site(name))).collect();
        self.directory = Arc::new(self.directory.iter().chain(&records).cloned().collect());
        for record in &records {
            let disk = MemoryDisk::new();
            join(&disk.open().unwrap(), FLEET, record).unwrap();
            self.disks.insert(record.store, disk);
            self.start(record.store);
            self.register(record);
        }
    }

    /// What the server does when a store joins: its record in the system range.
    fn register(&mut self, record: &StoreRecord) {
        let (key, value) = (StateKey::Store(record.store).key(), Some(encode_store(record)));
        let mutations = vec![Mutation { key, value, expires_at: None }];
        let request = Request::Write { conditions: Vec::new(), mutations };
        let asked = *self.stores.keys().next().expect("some store runs");
        self.must(asked, RangeRequest { range: None, write: None, request });
    }

    /// The record of a store that an operator had the fleet forget.
    fn forgotten(&self, id: StoreId) -> StoreRecord {
        let known = self.directory.iter().find(|record| record.store == id).expect("it is one of the fleet");
        StoreRecord { forgotten_at: Some(Timestamp::from_ms(self.wall_ms())), ..known.clone() }
    }

    /// The list in which a store is forgotten, as whoever plans sends it.
    pub fn list_without(&self, id: StoreId) -> StoreMessage {
        let others = self.directory.iter().filter(|record| record.store != id).cloned();
        let directory = others.chain([self.forgotten(id)]).map(|record| encode_store(&record)).collect();
        StoreMessage::ReportAnswer { leader: None, directory_version: 77, directory, sites: Vec::new() }
    }

    /// What is kept of stores over a restart: where they are, and not since when.
    pub fn only_addresses_are_kept(&mut self) {
        let addresses = self.directory.iter().map(|record| StoreRecord {
            addresses: record.addresses.clone(),
            ..StoreRecord::new(record.store, record.site.clone())
        });
        self.directory = Arc::new(addresses.collect());
    }

    /// A store hears of an address at which somebody says to be another one.
    pub fn hears_of(&mut self, hearer: StoreId, id: StoreId) {
        let made_up = StoreRecord::new(id, site_of(id));
        let stores: Arc<Vec<_>> = Arc::new(self.directory.iter().cloned().chain([made_up]).collect());
        let store = self.stores.get_mut(&hearer).expect("it is running");
        for mailbox in &mut store.mailboxes {
            mailbox.push_back(Event::Directory(Arc::clone(&stores)));
        }
        self.settle();
    }

    /// What the server does when an operator has a store forgotten.
    pub fn forget(&mut self, id: StoreId) {
        let record = self.forgotten(id);
        self.register(&record);
    }

    /// What the server does when an operator has a site distrusted.
    pub fn distrust(&mut self, site: &SiteName) {
        let record = SiteRecord::new(site.clone(), None);
        let record = SiteRecord { distrusted_at: Some(Timestamp::from_ms(self.wall_ms())), ..record };
        let (key, value) = (StateKey::Site(site.clone()).key(), Some(encode_site(&record)));
        let mutations = vec![Mutation { key, value, expires_at: None }];
        let request = Request::Write { conditions: Vec::new(), mutations };
        let asked = *self.stores.keys().next().expect("some store runs");
        self.must(asked, RangeRequest { range: None, write: None, request });
    }

    /// What the server does when an operator has a store drained, or takes that back.
    pub fn leave(&mut self, id: StoreId, leaves: bool) {
        let known = self.directory.iter().find(|record| record.store == id).expect("it is one of the fleet");
        let leaving_at = leaves.then(|| Timestamp::from_ms(self.wall_ms()));
        let record = StoreRecord { leaving_at, ..known.clone() };
        self.register(&record);
    }

    /// The worker that has a range on one store hears that another one was forgotten. The others do not, nor does placement.
    pub fn hears_forgotten(&mut self, hearer: StoreId, range: RangeId, id: StoreId) {
        let others = self.directory.iter().filter(|record| record.store != id).cloned();
        let stores = Arc::new(others.chain([self.forgotten(id)]).collect());
        self.happens(hearer, range, Event::Directory(stores));
    }

    pub fn start(&mut self, id: StoreId) {
        let engines = self.disks[&id].open().unwrap();
        let recovered = recover(&engines).unwrap();
        let support = Support::new(recovered.support(), self.now);
        let shared = Arc::clone(&recovered.shared);
        let incarnation = recovered.identity.incarnation;
        let setup = WorkerSetup {
            workers: self.workers,
            seed: id.0,
            quorum_reads: false,
            check: CheckLevel::Full,
            survival: SurvivalGoal::Site,
        };
        let env = TestEnv { now: self.now, engines: engines.clone() };
        let (workers, map) = recovered.into_workers(&setup, &env);
        let mut mailboxes: Vec<VecDeque<Event>> = workers.iter().map(|_| VecDeque::new()).collect();
        for mailbox in &mut mailboxes {
            mailbox.push_back(Event::Directory(Arc::clone(&self.directory)));
            mailbox.push_back(Event::Measured(healthy()));
        }
        let neighbours = BTreeMap::new();
        let alarms = Vec::new();
        let (told, sites) = (Arc::default(), Arc::default());
        let store =
            Store { engines, incarnation, workers, mailboxes, map, shared, support, neighbours, alarms, told, sites };
        self.stores.insert(id, store);
    }

    /// The process dies and takes with it what was not synced.
    pub fn crash(&mut self, id: StoreId) {
        self.stores.remove(&id);
        self.disks[&id].crash(&Crash::default());
    }

    /// The tombstone of a removed replica reached the disk of a store that is down, and nothing after it.
    pub fn remove_replica_on_disk(&mut self, id: StoreId, range: RangeId) {
        let engines = self.disks[&id].open().unwrap();
        let log = engines.log.load().unwrap().into_iter().find(|log| log.range == range).expect("it has the range");
        let ReplicaRecord::Live { replica } = log.record else { panic!("{:?}", log.record) };
        let record = ReplicaRecord::Tombstone { next: replica.next(), clearing: true };
        engines.log.write_synced(&[LogOp::SetReplica { range, record }]).unwrap();
    }

    /// The data instance persists what it has.
    pub fn flush(&self, id: StoreId) {
        self.stores[&id].engines.data.flush().unwrap();
    }

    /// What a store that is down has on its disk is told that the range looks like this now, as if it had applied that.
    pub fn describe_on_disk(&self, id: StoreId, descriptor: RangeDescriptor) {
        let engines = self.disks[&id].open().unwrap();
        let range = descriptor.range;
        let known = RangeState::decode(engines.data.range_state(range, ReadTier::All).unwrap().unwrap()).unwrap();
        let state = RangeState { descriptor, ..known }.encode();
        engines.data.write(&[DataOp::SetRangeState { range, state }]).unwrap();
        engines.data.flush().unwrap();
    }

    /// A copy of a store's disk as it is now.
    pub fn image(&self, id: StoreId) -> MemoryDisk {
        self.disks[&id].image()
    }

    /// The process dies, and its disk is replaced by an image taken before.
    pub fn restore(&mut self, id: StoreId, image: MemoryDisk) {
        self.crash(id);
        self.disks.insert(id, image);
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now.after(Duration::from_millis(1));
            for id in self.ids() {
                self.tick_support(id);
            }
            self.settle();
        }
    }

    /// What placement plans by, wherever it comes to run.
    pub fn set_policies(&mut self, policies: &Policies) {
        for worker in self.stores.values_mut().flat_map(|store| &mut store.workers) {
            worker.set_policies(policies.clone());
        }
    }

    /// The store begins to stop.
    pub fn retire(&mut self, id: StoreId) {
        let store = self.stores.get_mut(&id).expect("it is running");
        for mailbox in &mut store.mailboxes {
            mailbox.push_back(Event::Retire);
        }
    }

    /// The store measures that its disk has so many bytes left of 100 GiB.
    pub fn measure_disk(&mut self, id: StoreId, free_bytes: u64) {
        self.measured(id, &Measurements { disk_free_bytes: free_bytes, ..healthy() });
    }

    /// An apply task of a range ends with a fault of the disk.
    pub fn damage(&mut self, id: StoreId, range: RangeId) {
        let fault = Fault::Damage { doing: "applying".into(), detail: "a checksum does not fit".into() };
        let worker = usize::from(worker_of(range, self.workers));
        let store = self.stores.get_mut(&id).expect("it is running");
        store.mailboxes[worker].push_back(Event::Applied { range, applied: Err(fault) });
        self.settle();
    }

    /// The threshold that a store's range state holds.
    pub fn gc_threshold(&self, id: StoreId, range: RangeId) -> Timestamp {
        let state = self.stores[&id].engines.data.range_state(range, ReadTier::All).unwrap().unwrap();
        RangeState::decode(state).unwrap().gc_threshold
    }

    /// Every version of everybody's keys on a store's disk, with the key as its user wrote it.
    pub fn versions(&self, id: StoreId) -> Vec<(String, Timestamp)> {
        let bounds =
            KeyRange { start: Key::bound(KeyspaceId::DEFAULT, &[]), end: Key::keyspace_end(KeyspaceId::DEFAULT) };
        let rows = self.stores[&id].engines.data.snapshot().versions(&bounds, 10_000).unwrap();
        let user = |key: &Key| String::from_utf8_lossy(key.user_key()).into_owned();
        rows.iter().map(|(key, timestamp, _)| (user(key), *timestamp)).collect()
    }

    /// How many completion records a store has for a range.
    pub fn completions(&self, id: StoreId, range: RangeId) -> usize {
        self.stores[&id].engines.data.snapshot().completions(range, None, 10_000).unwrap().len()
    }

    /// The last index of a range's log at its leader.
    pub fn last_index(&self, range: RangeId) -> u64 {
        let store = &self.stores[&self.leader(range).expect("somebody leads")];
        let env = TestEnv { now: self.now, engines: store.engines.clone() };
        let statuses = store.workers.iter().flat_map(|w| w.status(&env));
        statuses.filter(|(of, _)| *of == range).map(|(_, status)| status.last.0).max().unwrap()
    }

    /// What the wall clock of a store shows.
    fn wall_of(&self, id: StoreId) -> u64 {
        self.wall_ms().saturating_add_signed(self.clock_ahead_ms.get(&id).copied().unwrap_or(0))
    }

    pub fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.now.0 / 1_000
    }

    /// Lets everything come to an end; then nothing may be left in the budgets.
    pub fn assert_everything_was_given_back(&mut self) {
        self.run(12_000);
        for (id, store) in &self.stores {
            assert_eq!(store.shared.admission.in_use(), (0, 0), "{id} keeps requests in its budget");
            for _ in 0..MAX_SNAPSHOTS_SENT {
                assert!(store.shared.sending.take(), "{id} keeps a snapshot that it sends");
            }
            for _ in 0..MAX_SNAPSHOTS_RECEIVED {
                assert!(store.shared.receiving.take(), "{id} keeps a snapshot that it receives");
            }
        }
    }

    /// Keys and range states on a store's disk, for what should be gone.
    pub fn has_data(&self, id: StoreId, range: RangeId) -> bool {
        let engines = &self.stores[&id].engines;
        engines.data.range_state(range, ReadTier::All).unwrap().is_some()
    }

    /// Runs until `done` holds, at most so long.
    pub fn run_until(&mut self, ms: u64, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ms {
            if done(self) {
                return;
            }
            self.run(1);
        }
        let state: Vec<_> = self.ids().into_iter().flat_map(|id| self.describe(id)).collect();
        panic!("{what} did not happen within {ms} ms:\n{}", state.join("\n"));
    }

    pub fn describe(&self, id: StoreId) -> Vec<String> {
        let store = &self.stores[&id];
        let env = TestEnv { now: self.now, engines: store.engines.clone() };
        let statuses = store.workers.iter().flat_map(|w| w.status(&env));
        let lines = statuses.map(|(range, status)| format!("{id} {range} {status}"));
        let plans = store.workers.iter().map(Worker::placement_status);
        lines.chain(plans).chain(store.alarms.iter().map(|a| format!("{id} ALARM {a}"))).collect()
    }

    fn ids(&self) -> Vec<StoreId> {
        self.stores.keys().copied().collect()
    }

    fn tick_support(&mut self, id: StoreId) {
        let (now, wall_ms) = (self.now, self.wall_of(id));
        let heard: Vec<_> = self.ids().into_iter().filter(|other| self.passes(*other, id)).collect();
        let Some(store) = self.stores.get_mut(&id) else { return };
        if store.support.next_wake() <= now {
            for other in heard {
                store.support.note_streams(other, now);
            }
            store.support.note_wall(wall_ms);
            store.support.note_counter(store.engines.log.counter().0);
            store.support.note_unwilling(store.shared.admission.is_disk_full());
            let output = store.support.tick(now, true);
            self.carry_support(id, output);
        }
    }

    /// True when streams carry something in that direction.
    fn passes(&self, from: StoreId, to: StoreId) -> bool {
        !self.cut.contains(&(from, to)) && !self.cut_streams.contains(&(from, to))
    }

    fn carry_support(&mut self, id: StoreId, output: Output) {
        let Some(store) = self.stores.get_mut(&id) else { return };
        let incarnation = store.incarnation;
        if let Some(seen) = output.seen {
            store.mailboxes[0].push_back(Event::Seen(seen));
        }
        if let Some(outdated) = output.outdated {
            store.mailboxes[0].push_back(Event::Outdated(outdated));
        }
        if let Some(change) = output.changed {
            for mailbox in &mut store.mailboxes {
                mailbox.push_back(Event::Support(change.clone()));
            }
        }
        for (to, bytes) in output.send {
            if self.cut.contains(&(id, to)) || self.cut_heartbeats.contains(&(id, to)) {
                continue;
            }
            let wall_ms = self.wall_of(to);
            let Some(other) = self.stores.get_mut(&to) else { continue };
            other.support.note_wall(wall_ms);
            let answer = other.support.receive(id, incarnation, &bytes, self.now);
            self.carry_support(to, answer);
        }
    }

    /// Rounds until nothing is left to do at this moment.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut idle = true;
            for id in self.ids() {
                for worker in 0..usize::from(self.workers) {
                    idle &= !self.round(id, worker);
                }
            }
            if idle {
                return;
            }
        }
        panic!("the fleet never comes to rest");
    }

    fn round(&mut self, id: StoreId, worker: usize) -> bool {
        let now = self.now;
        let Some(store) = self.stores.get_mut(&id) else { return false };
        let due = store.workers[worker].next_wake().is_some_and(|at| at <= now);
        if store.mailboxes[worker].is_empty() && !due {
            return false;
        }
        let mut events: Vec<_> = store.mailboxes[worker].drain(..).collect();
        self.ticks += usize::from(store.workers[worker].next_replica_timer().is_some_and(|at| at <= now));
        let env = TestEnv { now, engines: store.engines.clone() };
        let effects = store.workers[worker].handle(&mut events, &env);
        let work = store.workers[worker].round_work();
        self.most.looks = self.most.looks.max(work.looks);
        self.most.steps = self.most.steps.max(work.steps);
        self.sum.looks += work.looks;
        self.sum.steps += work.steps;
        if self.is_checked {
            store.workers[worker].check().unwrap();
        }
        for effect in effects {
            self.carry(id, worker, effect);
        }
        true
    }

    fn carry(&mut self, id: StoreId, worker: usize, effect: Effect) {
        match effect {
            Effect::Apply { .. } if self.holds_applies.contains(&id) => {
                return self.held_applies.push((id, worker, effect));
            }
            Effect::InstallSnapshot { snapshot, .. } if self.holds_installs => {
                return self.held_installs.push(snapshot);
            }
            Effect::Send { to, message, .. } => return self.deliver(id, to, &message),
            Effect::Answer { ticket, outcome, .. } => {
                assert!(self.answers.insert(ticket, outcome).is_none(), "{ticket:?} was answered twice");
                return;
            }
            Effect::AnswerAdmin { ticket, outcome } => {
                assert!(self.admin_answers.insert(ticket, outcome).is_none(), "{ticket:?} was answered twice");
                return;
            }
            Effect::Placement(PlacementNews::Headroom(headroom)) => return self.headroom.push(headroom),
            Effect::Outdated(_) | Effect::Fail(_) => {
                self.stopped.insert(id);
                return;
            }
            _ => {}
        }
        let store = self.stores.get_mut(&id).expect("it is running");
        store.carry(worker, effect);
    }

    /// Somebody who calls himself `from`, and whom nothing keeps away, says something to a store.
    pub fn is_told(&mut self, from: StoreId, to: StoreId, message: &StoreMessage) {
        self.deliver(from, to, message);
        self.settle();
    }

    pub fn deliver(&mut self, from: StoreId, to: StoreId, message: &StoreMessage) {
        if !self.passes(from, to) || self.loses.is_some_and(|loses| loses(message)) {
            return;
        }
        let incarnation = self.stores.get(&from).map_or(Incarnation(1), |store| store.incarnation);
        self.raft_messages += usize::from(matches!(message, StoreMessage::Raft(_)));
        if let StoreMessage::ForwardAnswer { id, outcome, .. } = message {
            self.passed_on.insert(*id, outcome.clone());
        }
        let news = matches!(message, StoreMessage::ReportAnswer { directory, .. } if !directory.is_empty());
        self.directories += usize::from(news);
        let Some(store) = self.stores.get_mut(&to) else { return };
        let message = StoreMessage::decode(&message.encode().expect("no message is too large"))
            .expect("what we encode is well-formed");
        let worker = match message.route() {
            Route::Range(range) => worker_of(range, self.workers),
            Route::Key(key) => store.map.worker_of_key(&key, self.workers),
            Route::Worker(worker) => worker,
        };
        store.mailboxes[usize::from(worker)].push_back(Event::Message { from, incarnation, message });
    }

    /// Sends a client's request to a store; its answer comes with [`Fleet::answer`].
    pub fn ask(&mut self, id: StoreId, request: RangeRequest) -> RequestTicket {
        let asker = Asker::of(authority_of(&request), &Rights::insecure());
        self.ask_for(&asker, id, request)
    }

    /// The same for somebody in particular, by what the store that is asked knows of him.
    pub fn ask_for(&mut self, asker: &Asker, id: StoreId, request: RangeRequest) -> RequestTicket {
        self.next_ticket += 1;
        let ticket = RequestTicket(self.next_ticket);
        let deadline = self.now.after(Duration::from_secs(10));
        let store = self.stores.get_mut(&id).expect("it is running");
        let worker = request.request.routing_key().map_or(0, |key| store.map.worker_of_key(key, self.workers));
        match Permitted::check(request, asker) {
            Ok(request) => {
                store.mailboxes[usize::from(worker)].push_back(Event::Request { ticket, request, deadline });
            }
            Err(rejected) => drop(self.answers.insert(ticket, Err(rejected))),
        }
        self.settle();
        ticket
    }

    pub fn answer(&mut self, ticket: RequestTicket) -> Option<Result<Response, Rejected>> {
        self.answers.get(&ticket).cloned()
    }

    /// Asks, waits, and wants success.
    pub fn must(&mut self, id: StoreId, request: RangeRequest) -> Response {
        let ticket = self.ask(id, request);
        self.run_until(5_000, "an answer", |fleet| fleet.answers.contains_key(&ticket));
        self.answers[&ticket].clone().unwrap_or_else(|rejected| panic!("rejected: {rejected}"))
    }

    pub fn value(&mut self, id: StoreId, user: &str) -> Option<String> {
        let Response::Got { values } = self.must(id, get(user)) else { panic!("a get is answered by values") };
        values[0].as_ref().map(|v| String::from_utf8(v.value.to_vec()).unwrap())
    }

    pub fn admin(&mut self, id: StoreId, range: RangeId, request: AdminRequest) -> Result<AdminOutcome, Rejected> {
        self.next_ticket += 1;
        let ticket = RequestTicket(self.next_ticket);
        let deadline = self.now.after(Duration::from_secs(10));
        let worker = usize::from(worker_of(range, self.workers));
        let store = self.stores.get_mut(&id).expect("it is running");
        store.mailboxes[worker].push_back(Event::Admin { ticket, range, request, deadline });
        self.run_until(5_000, "an administrative answer", |fleet| fleet.admin_answers.contains_key(&ticket));
        self.admin_answers[&ticket].clone()
    }

    /// The store that leads a range and serves, if one does.
    pub fn leader(&self, range: RangeId) -> Option<StoreId> {
        let worker = usize::from(worker_of(range, self.workers));
        let leads = |store: &Store| store.workers[worker].standing(range).is_some_and(|s| s.leads);
        self.stores.iter().find(|(_, store)| leads(store)).map(|(id, _)| *id)
    }

    pub fn standing(&self, id: StoreId, range: RangeId) -> Option<&Standing> {
        self.stores.get(&id)?.workers[usize::from(worker_of(range, self.workers))].standing(range)
    }

    pub fn voters(&self, range: RangeId) -> usize {
        let leader = self.leader(range).and_then(|id| self.standing(id, range));
        leader.map_or(0, |s| if s.descriptor.is_joint() { 0 } else { s.descriptor.voters().count() })
    }
}

impl Store {
    /// The range that holds a key, as this store knows.
    pub fn range_of(&self, key: &Key) -> RangeId {
        self.map.find(key).unwrap().descriptor.range
    }

    /// True when it knows a leader of every range, and none of them is `gone`.
    pub fn knows_all_leaders(&self, gone: StoreId) -> bool {
        let led = |found: &Found| found.leader.is_some_and(|leader| leader != gone);
        self.map.all().iter().filter(|found| found.own).all(led)
    }

    fn carry(&mut self, worker: usize, effect: Effect) {
        let data = &self.engines.data;
        let event = match effect {
            Effect::WriteLog { batch, ops } => {
                self.engines.log.write_synced(&ops).unwrap();
                Event::Persisted { batch }
            }
            Effect::Apply { range, task } => {
                Event::Applied { range, applied: Ok(carry::apply(range, *task, &**data).unwrap()) }
            }
            Effect::Neighbours(stores) => {
                self.neighbours.insert(worker, stores);
                self.support.set_neighbours(self.neighbours.values().flatten().copied().collect());
                return;
            }
            Effect::Standing(standing) => {
                self.map.standing(&standing);
                return self.broadcast(worker, &Event::Standing(standing));
            }
            Effect::Members(stores) => return self.support.set_members(stores),
            Effect::Learned(hints) => {
                for hint in &hints {
                    self.map.learn(hint.clone());
                }
                return self.broadcast(worker, &Event::Learned(hints));
            }
            Effect::Gone { range } => return self.map.gone(range),
            Effect::Directory(stores) => {
                self.told.clone_from(&stores);
                return self.broadcast(worker, &Event::Directory(stores));
            }
            Effect::Sites(sites) => {
                self.sites = sites;
                return;
            }
            Effect::Born { worker, newborn } => {
                return self.mailboxes[usize::from(worker)].push_back(Event::Born(newborn));
            }
            Effect::SetGcThreshold { range, threshold } => return data.set_gc_threshold(range, threshold),
            Effect::Alarm { range, what } => return self.alarms.push(format!("{range:?}: {what}")),
            Effect::Quarantined { range, reason: Some(what) } => return self.alarms.push(format!("{range:?}: {what}")),
            Effect::Quarantined { reason: None, .. } | Effect::Cleared { .. } | Effect::Placement(_) => return,
            Effect::Plan(task) => carry::plan(*task),
            work if Pool::of(&work) == Some(Pool::Read) => carry::read(work, &self.engines),
            slow => match carry::snapshot(slow, &**data) {
                Some(event) => event,
                None => return,
            },
        };
        self.mailboxes[worker].push_back(event);
    }

    fn broadcast(&mut self, except: usize, event: &Event) {
        for (index, mailbox) in self.mailboxes.iter_mut().enumerate() {
            if index != except {
                mailbox.push_back(event.clone());
            }
        }
    }
}
