//! Whole groups of replicas under a script's control: message delivery, persistence, apply, support and time.

pub mod disk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use holdfast_replica::apply::ApplyTask;
use holdfast_replica::evaluate::Unserved;
use holdfast_replica::range_state::RangeState;
use holdfast_replica::{
    AdminRequest, CheckLevel, Effect, EntryRoom, Input, Opening, Outcome, PersistToken, Promise, RaftEnvelope,
    ReadVerdict, Replica, ReplicaConfig, StagedSnapshot, StoreView, Support, SupportView, SurvivalGoal, Ticket,
    replay_page,
};
use holdfast_types::storage::{LogOp, ReplicaRecord, SnapshotId};
use holdfast_types::{
    Generation, Incarnation, Key, KeyRange, LogIndex, Moment, RangeDescriptor, RangeId, RangeRequest, Rejected,
    ReplicaDescriptor, ReplicaId, Request, Response, Role, SiteName, StoreId, Term, Timestamp, limits,
};
use prost011::Message as _;
use raft::eraftpb::{Message, MessageType};

use self::disk::{Data, Log};

pub const RANGE: RangeId = RangeId(7);
const MARGIN: Duration = Duration::from_millis(30);

/// Something of a store that a script may hold back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    Persist,
    Apply,
    Read,
}

/// A request that is open.
struct Asked {
    what: String,
    request: Option<RangeRequest>,
    /// A read must see at least this version.
    floor: Timestamp,
}

/// A read that the store has begun: its snapshot is taken, nothing is checked yet.
struct Reading {
    range: RangeId,
    ticket: Ticket,
    confirmed: bool,
    snapshot: Data,
}

#[allow(dead_code, reason = "each test binary uses its part")]
#[derive(Default)]
pub struct Store {
    pub id: StoreId,
    pub support: SupportView,
    pub abstains: bool,
    pub clock_off: bool,
    pub reluctant: bool,
    pub room: EntryRoom,
    pub alive: bool,
    pub replicas: BTreeMap<RangeId, Replica>,
    pub log: Log,
    pub data: Data,
    pub flushed: Data,
    pub held: BTreeSet<Part>,
    persists: VecDeque<(RangeId, PersistToken, Vec<LogOp>)>,
    applies: VecDeque<(RangeId, ApplyTask)>,
    reads: VecDeque<Reading>,
    installs: BTreeMap<SnapshotId, Data>,
    /// When each other store was last heard, for automatic withdrawal.
    heard: BTreeMap<StoreId, Moment>,
    incarnation: u64,
    generation: u64,
}

pub struct Wire {
    pub from: StoreId,
    pub to: StoreId,
    pub envelope: RaftEnvelope,
    snapshot: Option<(SnapshotId, Data)>,
}

pub struct Group {
    pub now: Moment,
    pub stores: BTreeMap<StoreId, Store>,
    pub wires: VecDeque<Wire>,
    pub cut: BTreeSet<(StoreId, StoreId)>,
    /// Directions in which raft messages are lost and support goes on.
    pub muted: BTreeSet<(StoreId, StoreId)>,
    pub delayed: BTreeSet<(StoreId, StoreId)>,
    pub beats: bool,
    pub trace: bool,
    pub print: bool,
    pub goal: SurvivalGoal,
    pub quorum_reads: bool,
    pub events: Vec<String>,
    tickets: BTreeMap<Ticket, Asked>,
    /// Of each key, the newest version whose write was answered: a read asked for after that must not see less.
    acknowledged: BTreeMap<Key, Timestamp>,
    inbox: VecDeque<(StoreId, RangeId, Input)>,
    busy: bool,
    next_ticket: u64,
    next_snapshot: u128,
    leaders: BTreeMap<(RangeId, u64), ReplicaId>,
    committed: BTreeMap<(RangeId, LogIndex), u64>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            now: Moment(1_000_000),
            stores: BTreeMap::new(),
            wires: VecDeque::new(),
            cut: BTreeSet::new(),
            muted: BTreeSet::new(),
            delayed: BTreeSet::new(),
            beats: true,
            trace: false,
            print: false,
            goal: SurvivalGoal::Site,
            quorum_reads: false,
            events: Vec::new(),
            tickets: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            inbox: VecDeque::new(),
            busy: false,
            next_ticket: 1,
            next_snapshot: 1,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
    }
}

pub fn site(store: StoreId) -> SiteName {
    let letter = char::from(b'a' + u8::try_from(store.0 - 1).unwrap());
    SiteName::new(&letter.to_string()).unwrap()
}

impl Group {
    /// Makes `count` stores, one a site; the first `voters` have voters of the range, the next `learners` learners.
    pub fn found(&mut self, count: u64, voters: u64, learners: u64) {
        let replica = |id: u64| ReplicaDescriptor {
            replica: ReplicaId(id),
            store: StoreId(id),
            site: site(StoreId(id)),
            role: if id <= voters { Role::Voter } else { Role::Learner },
        };
        let descriptor = RangeDescriptor {
            range: RANGE,
            bounds: KeyRange::all(),
            epoch: Default::default(),
            replicas: (1..=voters + learners).map(replica).collect(),
            next_replica: ReplicaId(voters + learners + 1),
        };
        for id in 1..=count {
            let mut store = Store { id: StoreId(id), alive: true, incarnation: 1, ..Store::default() };
            store.support.incarnation = Incarnation(1);
            if id <= voters + learners {
                let (log, data) = holdfast_replica::bootstrap(&descriptor, ReplicaId(id));
                store.log.write(&log);
                store.data.write(&data);
                store.flushed = store.data.clone();
            }
            self.stores.insert(StoreId(id), store);
        }
        self.beat();
        for id in 1..=count {
            self.open_all(StoreId(id));
        }
    }

    fn config(&self, store: StoreId) -> ReplicaConfig {
        ReplicaConfig {
            store,
            site: site(store),
            seed: store.0,
            quorum_reads: self.quorum_reads,
            check: CheckLevel::Full,
            survival: self.goal,
        }
    }

    /// Opens what a store has on disk, after replay.
    fn open_all(&mut self, id: StoreId) {
        let config = self.config(id);
        let store = self.stores.get_mut(&id).unwrap();
        let ranges: Vec<RangeId> = store.data.states.keys().copied().collect();
        let mut todo: VecDeque<RangeId> = ranges.into();
        while let Some(range) = todo.pop_front() {
            let Some(mut log) = store.log.ranges.get(&range).cloned() else { continue };
            if let Some(ReplicaRecord::Installing { replica, snapshot }) = log.record {
                self.events.push(format!("{id}: installs a snapshot again"));
                let data = store.installs[&snapshot].clone();
                store.data.install(&data, range);
                store.flushed = store.data.clone();
                let state = RangeState::decode(store.data.states[&range].clone()).unwrap();
                store.log.write(&holdfast_replica::finish_install(&state, replica, log.hard_state));
                log = store.log.ranges[&range].clone();
            }
            let Some(ReplicaRecord::Live { replica }) = log.record else { continue };
            let mut state = RangeState::decode(store.data.states[&range].clone()).unwrap();
            let replayed: Vec<_> = log
                .entries
                .range(state.applied.next()..)
                .map(|(_, e)| e.clone())
                .take_while(|e| e.index <= log.hard_state.commit)
                .collect();
            if !replayed.is_empty() {
                let page = replay_page(state, replica, &replayed, &store.data).unwrap();
                for (right, ops) in page.born {
                    if !store.log.ranges.contains_key(&right) {
                        store.log.write(&ops);
                    }
                    todo.push_back(right);
                }
                store.data.write(&page.ops);
                state = page.state;
            }
            let parts = log.parts();
            let tail = log.entries.range(state.applied.next()..).map(|(_, e)| e.clone()).collect();
            match Replica::open(&config, Opening { replica, log: parts, state, tail }) {
                Ok(opened) => {
                    store.replicas.insert(range, opened);
                }
                Err(fault) if fault.removed => {
                    let record = ReplicaRecord::Tombstone { next: replica.next(), clearing: true };
                    store.log.write(&[LogOp::SetReplica { range, record }]);
                    store.data.states.remove(&range);
                    store.flushed = store.data.clone();
                    self.events.push(format!("{id}: destroyed"));
                }
                Err(fault) => self.events.push(format!("{id}: {fault}")),
            }
        }
        let ranges: Vec<RangeId> = self.stores[&id].replicas.keys().copied().collect();
        for range in ranges {
            self.step(id, range, Input::Tick);
        }
    }

    pub fn kill(&mut self, id: StoreId) {
        let store = self.stores.get_mut(&id).unwrap();
        store.alive = false;
        store.replicas.clear();
        store.persists.clear();
        store.applies.clear();
        store.reads.clear();
        store.data = store.flushed.clone();
        store.support = SupportView::default();
        store.heard.clear();
        self.wires.retain(|w| w.from != id);
    }

    pub fn restart(&mut self, id: StoreId) {
        let store = self.stores.get_mut(&id).unwrap();
        store.alive = true;
        store.incarnation += 1;
        store.generation = 0;
        store.support.incarnation = Incarnation(store.incarnation);
        self.open_all(id);
    }

    pub fn flush(&mut self, id: StoreId) {
        let store = self.stores.get_mut(&id).unwrap();
        store.flushed = store.data.clone();
        let ranges: Vec<(RangeId, LogIndex)> =
            store.data.states.iter().map(|(r, s)| (*r, RangeState::decode(s.clone()).unwrap().applied)).collect();
        for (range, index) in ranges {
            self.step(id, range, Input::AppliedPersisted { index, keep_bytes: limits::LOG_KEEP_BYTES });
        }
    }

    /// Store `by` withdraws its promise to `of`.
    pub fn withdraw(&mut self, by: StoreId, of: StoreId) {
        let giver = self.stores.get_mut(&by).unwrap();
        let heard = giver.heard.remove(&of);
        assert!(heard.is_none_or(|at| self.now.since(at) >= limits::SUPPORT_INTERVAL), "a promise is kept");
        let Some(promise) = giver.support.given.remove(&of) else { return };
        self.events.push(format!("{by}: withdraws {} from {of}", promise.generation));
        for range in self.ranges_on(by) {
            self.step(by, range, Input::Withdrawn { store: of, generation: promise.generation });
        }
    }

    /// Store `by` promises support to `of`: a new generation if none is open, else the open one for longer.
    pub fn promise(&mut self, by: StoreId, of: StoreId) {
        let incarnation = self.stores[&of].support.incarnation;
        let giver = self.stores.get_mut(&by).unwrap();
        if giver.support.given.get(&of).is_some_and(|p| p.incarnation != incarnation) {
            // The promise to an earlier incarnation is neither extended nor cut short: it runs out.
            return;
        }
        let fresh = !giver.support.given.contains_key(&of);
        if fresh {
            giver.generation += 1;
            giver.support.given.insert(of, Promise { incarnation, generation: Generation(giver.generation) });
        }
        giver.heard.insert(of, self.now);
        let generation = giver.support.given[&of].generation;
        let support = Support {
            incarnation: giver.support.incarnation,
            generation,
            until: self.now.after(limits::SUPPORT_INTERVAL - MARGIN),
        };
        let taker = self.stores.get_mut(&of).unwrap();
        let before = taker.support.received.insert(by, support);
        let changed = before
            .is_none_or(|b| b.generation != generation || b.incarnation != support.incarnation || b.until <= self.now);
        if changed {
            for range in self.ranges_on(of) {
                self.step(of, range, Input::SupportChanged);
            }
        }
        if fresh {
            for range in self.ranges_on(by) {
                self.step(by, range, Input::SupportChanged);
            }
        }
    }

    /// One exchange of support between all stores that reach each other, and the withdrawals that are due.
    pub fn beat(&mut self) {
        let ids: Vec<StoreId> = self.stores.keys().copied().collect();
        for by in ids.clone() {
            for of in ids.clone() {
                let linked = by != of && !self.cut.contains(&(by, of)) && !self.cut.contains(&(of, by));
                if linked && self.stores[&by].alive && self.stores[&of].alive && !self.stores[&by].abstains {
                    self.promise(by, of);
                }
                let heard = self.stores[&by].heard.get(&of).copied();
                if heard.is_some_and(|at| self.now.since(at) >= limits::SUPPORT_INTERVAL) {
                    self.withdraw(by, of);
                }
            }
        }
    }

    fn ranges_on(&self, store: StoreId) -> Vec<RangeId> {
        self.stores[&store].replicas.keys().copied().collect()
    }

    /// Effects are carried out before the next input is taken, as a store's worker does.
    pub fn step(&mut self, id: StoreId, range: RangeId, input: Input) {
        self.inbox.push_back((id, range, input));
        if self.busy {
            return;
        }
        self.busy = true;
        while let Some((id, range, input)) = self.inbox.pop_front() {
            self.step_one(id, range, input);
        }
        self.busy = false;
    }

    fn step_one(&mut self, id: StoreId, range: RangeId, input: Input) {
        let now = self.now;
        let store = self.stores.get_mut(&id).unwrap();
        let Some(replica) = store.replicas.get_mut(&range) else { return };
        let view = StoreView {
            now,
            fleet_ms: now.0 / 1_000,
            support: &store.support,
            abstains: store.abstains,
            clock_off: store.clock_off,
            room: store.room,
            reluctant: store.reluctant,
        };
        let effects = replica.step(input, &view);
        self.carry_out(id, range, effects);
    }

    pub fn note_leaders(&mut self, id: StoreId, range: RangeId) {
        let status = self.status_of(id, range);
        if let Some(status) = status.filter(|s| s.role == "leader") {
            let known = *self.leaders.entry((range, status.term.0)).or_insert(status.replica);
            assert_eq!(known, status.replica, "two leaders of {range} in {}", status.term);
        }
    }

    pub fn status_of(&self, id: StoreId, range: RangeId) -> Option<holdfast_replica::ReplicaStatus> {
        let store = &self.stores[&id];
        let view = StoreView {
            now: self.now,
            fleet_ms: self.now.0 / 1_000,
            support: &store.support,
            abstains: store.abstains,
            clock_off: store.clock_off,
            room: store.room,
            reluctant: store.reluctant,
        };
        store.replicas.get(&range).map(|r| r.status(&view))
    }

    fn carry_out(&mut self, id: StoreId, range: RangeId, effects: Vec<Effect>) {
        if self.stores[&id].replicas.contains_key(&range) {
            self.note_leaders(id, range);
        }
        let name = if range == RANGE { format!("{id}") } else { format!("{id}/{range}") };
        for effect in effects {
            if self.print && !matches!(effect, Effect::Standing(_)) {
                println!("{name}: {effect:?}");
            }
            match effect {
                Effect::Send { to, envelope, .. } => self.send(id, to, envelope, None),
                Effect::Persist { token, ops } => {
                    self.stores.get_mut(&id).unwrap().persists.push_back((range, token, ops));
                }
                Effect::Apply(task) => self.stores.get_mut(&id).unwrap().applies.push_back((range, *task)),
                Effect::Evaluate(evaluation) => {
                    let evaluated = holdfast_replica::evaluate::run(*evaluation, &self.stores[&id].data);
                    self.step(id, range, Input::Evaluated(Box::new(evaluated)));
                }
                Effect::Read { ticket, confirmed } => {
                    let store = self.stores.get_mut(&id).unwrap();
                    let snapshot = store.data.clone();
                    store.reads.push_back(Reading { range, ticket, confirmed, snapshot });
                }
                Effect::Answer { ticket, outcome } => self.answered(&name, ticket, outcome),
                Effect::FetchEntries { to, first, last, .. } => {
                    self.events.push(format!("{name}: fetches {first} to {last} for {to}"));
                    let log = &self.stores[&id].log.ranges[&range];
                    let entries = log.entries.range(first..=last).map(|(_, e)| e.clone()).take(2).collect();
                    self.step(id, range, Input::EntriesFetched { to, entries: Some(entries) });
                }
                Effect::SendSnapshot { to_store, to, at_least } => {
                    self.send_snapshot(id, range, to_store, to, at_least)
                }
                Effect::InstallSnapshot { snapshot } => {
                    self.events.push(format!("{name}: installs a snapshot"));
                    let store = self.stores.get_mut(&id).unwrap();
                    let data = store.installs[&snapshot].clone();
                    store.data.install(&data, range);
                    store.flushed = store.data.clone();
                    self.step(id, range, Input::SnapshotInstalled { snapshot });
                }
                Effect::DeclineSnapshot { .. } => self.events.push(format!("{name}: declines a snapshot")),
                Effect::Unled { term, stores } => {
                    self.events.push(format!("{name}: leads {term} no more"));
                    for to in stores {
                        let linked = !self.cut.contains(&(id, to)) && self.stores.get(&to).is_some_and(|s| s.alive);
                        if linked {
                            self.step(to, range, Input::Unled { from_store: id, term });
                        }
                    }
                }
                Effect::AskLeader { store, term } => self.ask_leader(id, store, range, term),
                Effect::Standing(standing) => {
                    if standing.leads {
                        self.events.push(format!(
                            "{name}: {} leads {}",
                            self.stores[&id].replicas[&range].id(),
                            standing.term
                        ));
                    }
                }
                Effect::Born { right, leads } => self.born(id, &right, leads),
                Effect::Destroyed => {
                    self.events.push(format!("{name}: destroyed"));
                    let store = self.stores.get_mut(&id).unwrap();
                    store.replicas.remove(&range);
                    // What was begun for it must not be reported to a later replica of the same range.
                    store.applies.retain(|(of, _)| *of != range);
                    store.persists.retain(|(of, _, _)| *of != range);
                    store.data.states.remove(&range);
                    store.flushed = store.data.clone();
                }
                Effect::Quarantined { reason } => self.events.push(format!("{name}: quarantined: {reason}")),
            }
        }
    }

    /// The store answers for a replica that is none.
    fn ask_leader(&mut self, id: StoreId, store: StoreId, range: RangeId, term: Term) {
        self.events.push(format!("{id}: asks whether {store} leads {term}"));
        if self.cut.contains(&(id, store)) || !self.stores.get(&store).is_some_and(|s| s.alive) {
            return;
        }
        if self.status_of(store, range).is_some_and(|status| status.role != "quarantined") {
            self.step(store, range, Input::AskedWhetherLeading { from_store: id, term });
        } else {
            self.step(id, range, Input::Unled { from_store: store, term });
        }
    }

    fn born(&mut self, id: StoreId, right: &RangeDescriptor, leads: bool) {
        self.events.push(format!("{id}: {} is born{}", right.range, if leads { ", and leads" } else { "" }));
        let config = self.config(id);
        let store = &self.stores[&id];
        let log = store.log.ranges[&right.range].clone();
        let Some(ReplicaRecord::Live { replica }) = log.record else { panic!("the right side has no record") };
        let state = RangeState::decode(store.data.states[&right.range].clone()).unwrap();
        let parts = log.parts();
        let mut opened = Replica::open(&config, Opening { replica, log: parts, state, tail: Vec::new() }).unwrap();
        let view = StoreView {
            now: self.now,
            fleet_ms: self.now.0 / 1_000,
            support: &store.support,
            abstains: store.abstains,
            clock_off: store.clock_off,
            room: store.room,
            reluctant: store.reluctant,
        };
        let effects = opened.lead_after_split(&view);
        self.stores.get_mut(&id).unwrap().replicas.insert(right.range, opened);
        self.carry_out(id, right.range, effects);
    }

    fn send(&mut self, from: StoreId, to: StoreId, envelope: RaftEnvelope, snapshot: Option<(SnapshotId, Data)>) {
        let dropped = self.cut.contains(&(from, to)) || self.muted.contains(&(from, to));
        if self.trace {
            let mark = if dropped { " (lost)" } else { "" };
            self.events.push(format!("{from}→{to} {}{mark}", show_message(&envelope)));
        }
        if !dropped {
            self.wires.push_back(Wire { from, to, envelope, snapshot });
        }
    }

    fn send_snapshot(&mut self, id: StoreId, range: RangeId, to_store: StoreId, to: ReplicaId, at_least: LogIndex) {
        let store = &self.stores[&id];
        let state = RangeState::decode(store.data.states[&range].clone()).unwrap();
        assert!(state.applied >= at_least, "the snapshot is too old");
        let Ok(envelope) = store.replicas[&range].snapshot_message(to, &state) else { return };
        self.events.push(format!("{id}: sends {to} a snapshot of {}", state.applied));
        let snapshot = SnapshotId(self.next_snapshot);
        self.next_snapshot += 1;
        let data = store.data.clone();
        let delivered = !self.cut.contains(&(id, to_store)) && self.stores[&to_store].alive;
        self.send(id, to_store, envelope, Some((snapshot, data)));
        self.step(id, range, Input::SnapshotSent { to, delivered });
    }

    fn answered(&mut self, name: &str, ticket: Ticket, outcome: Result<Outcome, Rejected>) {
        let Asked { what, request, floor } = self.tickets.remove(&ticket).expect("a ticket is answered once");
        self.check_answer(&what, request.as_ref(), floor, &outcome);
        let said = match outcome {
            Ok(Outcome::Response(Response::Written { .. })) => "written".into(),
            Ok(Outcome::Response(Response::ConditionFailed { .. })) => "condition failed".into(),
            Ok(Outcome::Response(Response::Got { values })) => {
                let show = |v: &Option<holdfast_types::VersionedValue>| {
                    v.as_ref().map_or("nothing".into(), |v| String::from_utf8_lossy(&v.value).into_owned())
                };
                values.iter().map(show).collect::<Vec<_>>().join(",")
            }
            Ok(Outcome::Response(other)) => format!("{other:?}"),
            Ok(Outcome::Changed(descriptor)) => format!("{descriptor:?}"),
            Err(rejected) => match rejected {
                Rejected::NotLeader { leader, .. } => {
                    format!("not leader{}", leader.map_or(String::new(), |l| format!(", {} is", l.store)))
                }
                other => other.to_string(),
            },
        };
        self.events.push(format!("{name}: {what} → {said}"));
    }

    fn ticket(&mut self, what: String, request: Option<RangeRequest>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let key = request.as_ref().and_then(|r| r.request.routing_key());
        let floor = key.and_then(|k| self.acknowledged.get(k)).copied().unwrap_or_default();
        self.tickets.insert(ticket, Asked { what, request, floor });
        ticket
    }

    /// Linearizable for reads of one key: timestamps are in the order of the log.
    fn check_answer(
        &mut self,
        what: &str,
        request: Option<&RangeRequest>,
        floor: Timestamp,
        outcome: &Result<Outcome, Rejected>,
    ) {
        let Some(key) = request.and_then(|r| r.request.routing_key()) else { return };
        match outcome {
            Ok(Outcome::Response(Response::Written { timestamp })) => {
                let newest = self.acknowledged.entry(key.clone()).or_default();
                *newest = (*newest).max(*timestamp);
            }
            Ok(Outcome::Response(Response::Got { values })) => {
                let seen = values[0].as_ref().map_or(Timestamp::ZERO, |v| v.timestamp);
                assert!(seen >= floor, "stale read: {what} saw {seen}, {floor} was acknowledged before it was asked");
            }
            Ok(Outcome::Response(Response::ConditionFailed { actual, .. })) => {
                let seen = actual.as_ref().map_or(Timestamp::ZERO, |v| v.timestamp);
                assert!(
                    seen >= floor,
                    "stale condition: {what} saw {seen}, {floor} was acknowledged before it was asked"
                );
            }
            _ => {}
        }
    }

    pub fn request(&mut self, id: StoreId, range: RangeId, what: String, request: Request) {
        let request = RangeRequest { range: None, write: None, request };
        let ticket = self.ticket(what, Some(request.clone()));
        let deadline = self.now.after(limits::DEFAULT_DEADLINE);
        self.step(id, range, Input::Request { ticket, request, deadline });
    }

    pub fn admin(&mut self, id: StoreId, range: RangeId, what: String, request: AdminRequest) {
        let ticket = self.ticket(what, None);
        let deadline = self.now.after(limits::DEFAULT_DEADLINE);
        self.step(id, range, Input::Admin { ticket, request, deadline });
    }

    /// Delivers, persists, applies and reads until nothing is left that is not held back.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.run_once() {
                return;
            }
        }
        panic!("the group does not come to rest");
    }

    fn run_once(&mut self) -> bool {
        let mut worked = false;
        for id in self.stores.keys().copied().collect::<Vec<_>>() {
            worked |= self.persist_one(id, false) | self.apply_one(id, false) | self.read_one(id, false);
        }
        let next = self.wires.iter().position(|w| !self.delayed.contains(&(w.from, w.to)));
        if let Some(wire) = next.and_then(|at| self.wires.remove(at)) {
            self.deliver(wire);
            worked = true;
        }
        worked
    }

    pub fn persist_one(&mut self, id: StoreId, even_held: bool) -> bool {
        let store = self.stores.get_mut(&id).unwrap();
        if store.held.contains(&Part::Persist) && !even_held {
            return false;
        }
        let Some((range, token, ops)) = store.persists.pop_front() else { return false };
        store.log.write(&ops);
        self.step(id, range, Input::Persisted(token));
        true
    }

    pub fn apply_one(&mut self, id: StoreId, even_held: bool) -> bool {
        let store = self.stores.get_mut(&id).unwrap();
        if store.held.contains(&Part::Apply) && !even_held {
            return false;
        }
        let Some((range, task)) = store.applies.pop_front() else { return false };
        for entry in &task.entries {
            let known = *self.committed.entry((range, entry.index)).or_insert(entry.term.0);
            assert_eq!(known, entry.term.0, "two entries committed at {} of {range}", entry.index);
        }
        let (ops, applied) = holdfast_replica::apply::run(task, &store.data).unwrap();
        store.data.write(&ops);
        self.step(id, range, Input::Applied(Box::new(applied)));
        true
    }

    pub fn read_one(&mut self, id: StoreId, even_held: bool) -> bool {
        let store = self.stores.get_mut(&id).unwrap();
        if store.held.contains(&Part::Read) && !even_held {
            return false;
        }
        let Some(reading) = store.reads.pop_front() else { return false };
        let request = self.tickets[&reading.ticket].request.clone().unwrap();
        let store = &self.stores[&id];
        let view = StoreView {
            now: self.now,
            fleet_ms: self.now.0 / 1_000,
            support: &store.support,
            abstains: store.abstains,
            clock_off: store.clock_off,
            room: store.room,
            reluctant: store.reluctant,
        };
        let Some(replica) = store.replicas.get(&reading.range) else { return true };
        let bounds = replica.descriptor().bounds.clone();
        match replica.may_read(&request, reading.confirmed, &view) {
            ReadVerdict::Serve { at, now } => {
                let served =
                    holdfast_replica::evaluate::serve_read(&request.request, &bounds, &reading.snapshot, at, now)
                        .unwrap();
                match served {
                    Ok(response) => self.answered(&id.to_string(), reading.ticket, Ok(Outcome::Response(response))),
                    Err(Unserved::Refused(rejected)) => self.answered(&id.to_string(), reading.ticket, Err(rejected)),
                    Err(Unserved::TimeMustPass { to }) => {
                        self.step(id, reading.range, Input::PassTime { ticket: reading.ticket, to });
                    }
                }
            }
            ReadVerdict::PassTime { to } => {
                self.step(id, reading.range, Input::PassTime { ticket: reading.ticket, to });
            }
            ReadVerdict::Confirm => self.step(id, reading.range, Input::ConfirmRead { ticket: reading.ticket }),
            ReadVerdict::Refuse(rejected) => self.answered(&id.to_string(), reading.ticket, Err(rejected)),
        }
        true
    }

    pub fn deliver(&mut self, wire: Wire) {
        let Wire { from, to, envelope, snapshot } = wire;
        if !self.stores[&to].alive {
            return;
        }
        let range = envelope.range;
        let dead = matches!(
            self.stores[&to].log.ranges.get(&range).and_then(|l| l.record),
            Some(ReplicaRecord::Tombstone { next, .. }) if envelope.to < next
        );
        let absent = !self.stores[&to].replicas.contains_key(&range) && !dead && !self.is_taken(to, &envelope);
        if absent && holdfast_replica::may_create(&envelope, from, to) {
            let config = self.config(to);
            let descriptor = envelope.descriptor.clone().unwrap();
            let (created, ops) = Replica::create_learner(&config, descriptor, envelope.to);
            let store = self.stores.get_mut(&to).unwrap();
            // What a split prepared here that was never applied goes.
            store.log.write(&[LogOp::Forget { range }]);
            store.log.write(&ops);
            store.replicas.insert(range, created);
        }
        let input = match snapshot {
            None => Input::Message { from_store: from, envelope },
            Some((snapshot, data)) => {
                let range_state = data.states[&range].clone();
                self.stores.get_mut(&to).unwrap().installs.insert(snapshot, data);
                Input::SnapshotStaged { from_store: from, envelope, staged: StagedSnapshot { snapshot, range_state } }
            }
        };
        self.step(to, range, input);
    }

    /// True when the keys of a replica to be created are another range's here: the split that gives them away is not applied yet.
    fn is_taken(&self, id: StoreId, envelope: &RaftEnvelope) -> bool {
        let bounds = envelope.descriptor.as_ref().map(|d| &d.bounds);
        let held = |r: &Replica| bounds.is_some_and(|b| r.descriptor().bounds.overlaps(b));
        self.stores[&id].replicas.values().any(held)
    }

    /// Lets time pass; every replica is ticked when it wants to be, support is exchanged every heartbeat interval.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        let mut beat = self.now.after(limits::SUPPORT_HEARTBEAT);
        loop {
            let mut next = end.min(beat);
            for store in self.stores.values() {
                for replica in store.replicas.values() {
                    next = replica.next_wake().map_or(next, |at| next.min(at));
                }
            }
            self.now = next.max(Moment(self.now.0 + 1)).min(end);
            if self.now >= beat {
                beat = self.now.after(limits::SUPPORT_HEARTBEAT);
                if self.beats {
                    self.beat();
                }
            }
            for id in self.stores.keys().copied().collect::<Vec<_>>() {
                for range in self.ranges_on(id) {
                    let due = self.stores[&id].replicas[&range].next_wake().is_some_and(|at| at <= self.now);
                    if due {
                        self.step(id, range, Input::Tick);
                    }
                }
            }
            self.run();
            if self.now >= end {
                return;
            }
        }
    }

    pub fn key(user: &str) -> Key {
        Key::bound(holdfast_types::KeyspaceId(1), user.as_bytes())
    }
}

pub fn show_message(envelope: &RaftEnvelope) -> String {
    let message = Message::decode(envelope.message.as_ref()).unwrap();
    let kind = MessageType::from_i32(message.msg_type).map_or("?".into(), |t| format!("{t:?}"));
    let mut out = format!("{} t{}", kind.trim_start_matches("Msg"), message.term);
    if message.index > 0 {
        out += &format!(" i{}", message.index);
    }
    if let (Some(first), Some(last)) = (message.entries.first(), message.entries.last()) {
        out += &format!(" [{}..{}]", first.index, last.index);
    }
    if message.reject {
        out += " reject";
    }
    if let Some(stamp) = envelope.stamp {
        out += &format!(" {}{}", stamp.incarnation, stamp.generation);
    }
    if !message.context.is_empty() {
        let tail: Vec<String> = message.context.iter().rev().take(1).map(|b| format!("{b}")).collect();
        out += &format!(" ctx={}", tail.join(""));
    }
    out
}
