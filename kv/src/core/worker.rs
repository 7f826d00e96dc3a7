//! One worker: owns the replicas whose range id falls to it, and turns events into effects, round by round.
//!
//! ```text
//! events ─▶ requests (desk, routing, forwarding) ─┐
//!           messages ─────────────────────────────┼─▶ inputs ─▶ Replica::step ─▶ effects of replicas
//!           what disks and pools finished ────────┘                              │
//! effects ◀─ one log batch for the whole round, sends, applies, reads, answers ◀─┘
//! ```
//!
//! Invariants:
//! - a range is held here only if its id falls to this worker
//! - of each range at most one apply task is out, and no data of it is cleared while one is
//! - every request taken in is answered exactly once
//! - a message to another store never leaves before the log batch that it speaks of (replicas see to that themselves)

mod absent;
mod bounds;
mod company;
mod forwarding;
mod garbage;
mod lifecycle;
mod log;
mod members;
mod messages;
mod reads;
mod reports;
mod requests;
mod snapshots;
mod splits;
mod stepping;
mod sweeping;
mod walks;
mod ways;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use holdfast_engine::{DataSnapshot, SnapshotId};
use holdfast_placement::{Policies, StoreRecord};
use holdfast_replica::{
    CheckLevel, EntryRoom, Input, Replica, ReplicaConfig, ReplicaStatus, Standing, StoreView, SupportView,
    SurvivalGoal, Ticket,
};
use holdfast_types::{Incarnation, Moment, RangeId, ReplicaId, SiteName, StoreId, Term, Timestamp};

use self::absent::{Absent, Unborn};
use self::company::Company;
use self::garbage::Versions;
use self::log::{LogOut, Then};
use self::requests::Located;
use self::splits::RangeIds;
use self::sweeping::{Sweeper, Swept};
use self::walks::{Errand, TIMERS_PER_ROUND, Walks};
use super::clocks::FleetClock;
use super::desk::Desk;
use super::effect::Effect;
use super::event::{Event, Measurements};
use super::parking::Parking;
use super::placement_loop::PlacementLoop;
use super::report_parts::Departing;
use super::rights::Rights;
use super::routing::RangeMap;
use super::seen;
use super::shared::Shared;
use super::snapshots::{Receiving, Sending};
use super::unled::UnledNotices;

pub use self::walks::RoundWork;

/// Who a worker is.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The store.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// This start of it.
    pub incarnation: Incarnation,
    /// Which worker, from 0,
    pub worker: u16,
    /// of how many; at most [`holdfast_types::limits::MAX_WORKERS`].
    pub workers: u16,
    /// For waits that must differ between stores.
    pub seed: u64,
    /// No leases: every read asks a quorum.
    pub quorum_reads: bool,
    /// How thoroughly invariants are checked while running.
    pub check: CheckLevel,
    /// What ranges must survive.
    pub survival: SurvivalGoal,
}

/// What of the store is no IO: the clock, and the view of the data. There is no wall clock: workers go by the time that the support
/// table has judged (see [`super::clocks`]).
pub trait Env {
    /// The monotonic clock.
    fn now(&self) -> Moment;
    /// A view of the data instance as it is now.
    fn snapshot(&self) -> Arc<dyn DataSnapshot>;
}

/// One round's environment with the clock as read at its start.
#[derive(Clone, Copy)]
struct Cx<'a> {
    env: &'a dyn Env,
    now: Moment,
    /// [`Timestamp::ZERO`] until it is known.
    fleet_now: Timestamp,
}

/// A replica that this worker owns.
struct Held {
    replica: Replica,
    id: ReplicaId,
    standing: Standing,
    /// The newest term that it led.
    led: Option<Term>,
    wake: Option<Moment>,
    /// An apply task is out.
    applying: bool,
    /// False until the record of a new learner is synced: until then it is told nothing.
    recorded: bool,
    load: super::load::Load,
    size_bytes: u64,
    /// What it keeps in memory of entries, as the store counts it.
    entry_bytes: usize,
    versions: Versions,
    swept: Swept,
}

/// What the support table says.
#[derive(Default)]
struct SupportNow {
    view: Arc<SupportView>,
    abstains: bool,
    /// How far this store's wall clock is ahead of the others', when it is off by more than the bound.
    clock_ahead_ms: Option<i64>,
    /// Fleet time, as judged.
    clock: FleetClock,
    /// Stores whose streams are heard.
    streams: BTreeSet<StoreId>,
    /// Stores that share ranges, whose promise was withdrawn and not renewed, and whose streams are silent; and since when.
    lost: BTreeMap<StoreId, Moment>,
}

/// One worker of a store.
pub struct Worker {
    config: WorkerConfig,
    replica_config: ReplicaConfig,
    shared: Arc<Shared>,
    support: SupportNow,
    held: BTreeMap<RangeId, Held>,
    absent: BTreeMap<RangeId, Absent>,
    unborn: BTreeMap<RangeId, Unborn>,
    timers: BTreeSet<(Moment, RangeId)>,
    inputs: VecDeque<(RangeId, Input)>,
    walks: Walks,
    /// What the last round did.
    round: RoundWork,
    map: RangeMap,
    /// The members of the fleet.
    directory: Arc<Vec<StoreRecord>>,
    /// Those of them that are on record.
    members: BTreeSet<StoreId>,
    /// Stores that were members, and whose identities are over.
    forgotten: BTreeSet<StoreId>,
    /// What those may for whom other stores pass requests on.
    rights: Arc<Rights>,
    measured: Measurements,
    retiring: bool,
    /// It is about to be told to stop: others are given what it leads.
    preparing: bool,
    /// The disk takes no writes of clients: others should lead.
    disk_full: bool,
    desk: Desk,
    located: Located,
    heard: BTreeMap<StoreId, Moment>,
    /// Stores that were sent a request and said nothing at all, and since when: asked for nothing until they are heard.
    silent: BTreeMap<StoreId, Moment>,
    /// Through whom the leader of a range was reached that this store does not reach itself.
    relays: BTreeMap<RangeId, StoreId>,
    reads: Vec<(RangeId, Ticket, bool)>,
    log: LogOut,
    ids: RangeIds,
    parking: Parking,
    sending: Sending,
    queued_snapshots: VecDeque<(RangeId, ReplicaId, StoreId)>,
    next_snapshot: u64,
    receiving: Receiving,
    /// Snapshots that could not be put in place just now.
    installs_again: Vec<(RangeId, SnapshotId)>,
    unled: UnledNotices,
    sweeper: Sweeper,
    /// The range whose threshold was looked at last.
    thresholds_up_to: RangeId,
    placement: PlacementLoop,
    report_at: Moment,
    departing: Departing,
    /// The next report is being gathered: how far.
    gathered_up_to: Option<Bound<RangeId>>,
    /// Ranges were left out of the last report.
    reports_cut: bool,
    damaged_asked_at: Moment,
    /// When it is asked again about a replica that is in another one's way.
    in_the_way_asked_at: Moment,
    last_round: Moment,
    asked_placement: usize,
    /// The leader of the system range, as the last answer to a report named it, and when it was asked first since then: a
    /// store without a replica of that range has no other way to know.
    placement_at: Option<(StoreId, Option<Moment>)>,
    /// Stores that were sent a report, and when last: their answers are waited for.
    reported_to: BTreeMap<StoreId, Moment>,
    company: Company,
    out: Vec<Effect>,
}

impl Worker {
    /// A worker without ranges. `map` holds what is known of all ranges of the store.
    #[must_use]
    pub fn new(config: WorkerConfig, shared: Arc<Shared>, map: RangeMap, now: Moment) -> Self {
        assert!(config.worker < config.workers && config.workers <= holdfast_types::limits::MAX_WORKERS);
        let replica_config = ReplicaConfig {
            store: config.store,
            site: config.site.clone(),
            seed: config.seed,
            quorum_reads: config.quorum_reads,
            check: config.check,
            survival: config.survival,
        };
        let support = SupportNow {
            view: Arc::new(SupportView { incarnation: config.incarnation, ..SupportView::default() }),
            abstains: true,
            clock_ahead_ms: None,
            streams: BTreeSet::new(),
            clock: FleetClock::default(),
            lost: BTreeMap::new(),
        };
        Self {
            ids: RangeIds::new(config.worker),
            placement: PlacementLoop::new(config.store),
            replica_config,
            shared,
            support,
            held: BTreeMap::new(),
            absent: BTreeMap::new(),
            unborn: BTreeMap::new(),
            timers: BTreeSet::new(),
            inputs: VecDeque::new(),
            walks: Walks::default(),
            round: RoundWork::default(),
            map,
            directory: Arc::default(),
            members: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            rights: Arc::default(),
            measured: Measurements::default(),
            retiring: false,
            preparing: false,
            disk_full: false,
            desk: Desk::of(config.incarnation),
            located: Located::default(),
            heard: BTreeMap::new(),
            silent: BTreeMap::new(),
            relays: BTreeMap::new(),
            reads: Vec::new(),
            log: LogOut::default(),
            parking: Parking::default(),
            sending: Sending::default(),
            queued_snapshots: VecDeque::new(),
            next_snapshot: 0,
            receiving: Receiving::default(),
            installs_again: Vec::new(),
            unled: UnledNotices::default(),
            sweeper: Sweeper::default(),
            thresholds_up_to: RangeId::default(),
            report_at: now,
            departing: Departing::default(),
            gathered_up_to: None,
            reports_cut: false,
            damaged_asked_at: now,
            in_the_way_asked_at: now,
            last_round: now,
            asked_placement: 0,
            placement_at: None,
            reported_to: BTreeMap::new(),
            company: Company::new(),
            out: Vec::new(),
            config,
        }
    }

    /// One round: takes the events in, steps replicas, and says what is to be done. `events` is empty afterwards.
    pub fn handle(&mut self, events: &mut Vec<Event>, env: &dyn Env) -> Vec<Effect> {
        let cx = self.cx(env);
        self.last_round = cx.now;
        self.round = RoundWork::default();
        self.walks.begin_round();
        self.placement.begin_round();
        for event in events.drain(..) {
            self.take(event, &cx);
            self.run_inputs(&cx);
        }
        self.pass_time(&cx);
        self.run_inputs(&cx);
        self.finish_reads(&cx);
        self.finish_log();
        self.tell_neighbours();
        std::mem::take(&mut self.out)
    }

    /// What placement plans by, when this worker comes to lead the system range.
    pub fn set_policies(&mut self, policies: Policies) {
        self.placement.set_policies(policies);
    }

    /// When the next round is due though nothing happens.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        let goes_on = !self.walks.are_over() || self.gathered_up_to.is_some() || self.placement.has_more();
        let soon = goes_on.then_some(Moment::ZERO);
        let times = [
            soon,
            self.next_replica_timer(),
            self.desk.next_wake(),
            self.parking.next_wake(),
            self.sending.next_wake(self.last_round),
            self.receiving.next_wake(),
            self.unled.next_wake(),
            self.sweeper.next_wake(),
            Some(self.report_at),
        ];
        times.into_iter().flatten().min()
    }

    /// When the first replica wants to be woken: `None` while all of them rest.
    #[must_use]
    pub fn next_replica_timer(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How every replica here is doing.
    #[must_use]
    pub fn status(&self, env: &dyn Env) -> Vec<(RangeId, ReplicaStatus)> {
        let cx = self.cx(env);
        let view = Self::view(&self.support, self.own(), &cx);
        self.held.iter().map(|(range, held)| (*range, held.replica.status(&view))).collect()
    }

    /// How the replica of a range looks from outside.
    #[must_use]
    pub fn standing(&self, range: RangeId) -> Option<&Standing> {
        self.held.get(&range).map(|held| &held.standing)
    }

    /// What it shares with the other workers of its store.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The store that it is of, and which start of it.
    #[must_use]
    pub fn identity(&self) -> (StoreId, Incarnation) {
        (self.config.store, self.config.incarnation)
    }

    /// What the last round did with replicas of its own accord: bounded, however many there are.
    #[must_use]
    pub fn round_work(&self) -> RoundWork {
        self.round
    }

    /// One line on what the placement loop of this worker does.
    #[must_use]
    pub fn placement_status(&self) -> String {
        self.placement.describe()
    }

    /// What this worker knows of ranges.
    #[must_use]
    pub fn map(&self) -> &RangeMap {
        &self.map
    }

    /// Checks the invariants of the worker and of every replica; the error names the one that is broken.
    pub fn check(&self) -> Result<(), String> {
        for (range, held) in &self.held {
            if super::routing::worker_of(*range, self.config.workers) != self.config.worker {
                return Err(format!("{range} is held by the wrong worker"));
            }
            if held.wake.is_some_and(|at| !self.timers.contains(&(at, *range))) {
                return Err(format!("{range} wants to be woken and is not in the timers"));
            }
            if held.entry_bytes != held.replica.entry_bytes() {
                return Err(format!(
                    "{range} keeps {} B of entries, not {}",
                    held.replica.entry_bytes(),
                    held.entry_bytes
                ));
            }
            held.replica.check()?;
        }
        self.company.check(self.held.values())
    }

    fn take(&mut self, event: Event, cx: &Cx<'_>) {
        match event {
            Event::Request { ticket, request, deadline } => self.take_request(ticket, request, deadline, cx),
            Event::Cancel { ticket } => self.cancel(ticket),
            Event::Admin { ticket, range, request, deadline } => self.take_admin(ticket, range, request, deadline, cx),
            Event::Message { from, incarnation, message } => self.take_message(from, incarnation, message, cx),
            Event::Persisted { batch } => self.persisted(batch, cx),
            Event::Applied { range, applied } => self.applied(range, applied, cx),
            Event::Evaluated { range, evaluated } => self.push(range, Input::Evaluated(evaluated)),
            Event::ReadDone { ticket, outcome } => self.read_done(ticket, outcome, cx),
            Event::EntriesFetched { range, to, entries } => self.entries_fetched(range, to, entries, cx),
            Event::Support(change) => self.take_support(change, cx),
            Event::Seen(seen) => self.log.add_aside(seen::save(&seen)),
            Event::Outdated(outdated) => self.log.add(vec![outdated.op()], Then::Outdated(outdated)),
            Event::Born(newborn) => self.give_birth(*newborn, cx),
            Event::MiddleFound { ticket, key } => self.middle_found(ticket, key, cx),
            Event::GarbageFound { search, page } => self.garbage_found(&search, page, cx),
            Event::Planned(planned) => self.planned(*planned, cx),
            Event::Standing(standing) => self.learn_standing(&standing, cx),
            Event::Learned(hints) => self.learn_quietly(hints, cx),
            Event::SnapshotBuilt { range, to, manifest } => self.snapshot_built(range, to, manifest, cx),
            Event::SnapshotRead { snapshot, file, offset, data } => {
                self.snapshot_read(snapshot, file, offset, data, cx);
            }
            Event::SnapshotStored { snapshot, received, verified } => {
                self.snapshot_stored(snapshot, received, verified, cx);
            }
            Event::SnapshotInstalled { range, snapshot, range_state } => {
                self.snapshot_installed(range, snapshot, range_state, cx);
            }
            Event::Cleared { range, outcome } => self.cleared(range, outcome, cx),
            Event::AppliedPersisted { indexes } => self.cut_logs(indexes, cx),
            Event::Measured(measured) => self.measure(measured),
            Event::Directory(stores) => self.set_directory(stores),
            Event::Rights(rights) => self.rights = rights,
            Event::Retire => self.retire(),
            Event::Prepare(prepares) => self.prepare(prepares),
            Event::Tick => {}
        }
    }

    /// Whatever a moment that has come asks for. What is due beyond the bounds of a round is due in the next one.
    fn pass_time(&mut self, cx: &Cx<'_>) {
        for _ in 0..TIMERS_PER_ROUND {
            let Some(&(at, range)) = self.timers.first().filter(|(at, _)| *at <= cx.now) else { break };
            self.timers.remove(&(at, range));
            if let Some(held) = self.held.get_mut(&range) {
                held.wake = None;
            }
            self.push(range, Input::Tick);
        }
        self.walk_on(cx);
        self.requests_due(cx);
        self.parking.expire(cx.now);
        self.snapshots_due(cx);
        self.repeat_unled(cx);
        self.sweep(cx);
        if self.gather(cx) {
            // It leaves as soon as it would have left if one round had been enough.
            self.report_at = cx.now;
        }
        self.report(cx);
    }

    fn retire(&mut self) {
        self.retiring = true;
        self.walks.begin(Errand::Retire);
    }

    fn prepare(&mut self, prepares: bool) {
        self.preparing = prepares;
        if prepares {
            self.yield_to_willing();
        }
    }

    fn measure(&mut self, measured: Measurements) {
        self.shared.admission.measure(&measured);
        self.shared.logs.measure(&measured);
        let full = self.shared.admission.is_disk_full();
        if full && !std::mem::replace(&mut self.disk_full, full) {
            self.yield_to_willing();
        }
        self.disk_full = full;
        for (range, bytes) in &measured.range_bytes {
            if let Some(held) = self.held.get_mut(range) {
                held.size_bytes = *bytes;
            }
        }
        self.measured = measured;
    }

    /// Hands over whatever is led here, where there is somebody to take it.
    fn yield_all(&mut self) {
        self.walks.begin(Errand::Yield);
    }

    /// Hands over what is led where it should not be (the disk is full, the store is about to stop), again and again as long as that
    /// is so: leaders may still come.
    fn yield_to_willing(&mut self) {
        self.walks.begin(Errand::YieldToWilling);
    }

    fn is_reluctant(&self) -> bool {
        self.retiring || self.preparing || self.disk_full
    }

    /// What replicas are told of this store beside support and time.
    fn own(&self) -> (bool, EntryRoom) {
        (self.is_reluctant(), self.shared.entries.room())
    }

    fn view<'a>(support: &'a SupportNow, (reluctant, room): (bool, EntryRoom), cx: &Cx<'_>) -> StoreView<'a> {
        StoreView {
            now: cx.now,
            fleet_ms: cx.fleet_now.ms(),
            support: &support.view,
            abstains: support.abstains,
            clock_off: support.clock_ahead_ms.is_some() || !support.clock.is_known(),
            room,
            reluctant,
        }
    }

    fn cx<'a>(&self, env: &'a dyn Env) -> Cx<'a> {
        let now = env.now();
        Cx { env, now, fleet_now: self.support.clock.at(now).unwrap_or(Timestamp::ZERO) }
    }

    fn fleet_now(cx: &Cx<'_>) -> Timestamp {
        cx.fleet_now
    }
}
