//! A fleet of a hundred thousand small ranges: what its reports take, and that it is planned for. What it costs is printed, not asserted:
//! `cargo test --release -p holdfast-kv --test many_ranges -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "tests; one measures")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_kv::core::effect::PlacementNews;
use holdfast_kv::core::message::{RangeReport, StoreMessage, StoreReport};
use holdfast_kv::core::placement_loop::{PlacementLoop, PlacementTask, PlanTask};
use holdfast_kv::core::records::encode_store;
use holdfast_kv::core::report_parts::{Departing, Ranges, ReportPart};
use holdfast_kv::core::routing::{Page, RangeMap};
use holdfast_placement::{Headroom, StateKey, StoreRecord};
use holdfast_replica::AdminRequest;
use holdfast_types::{
    Incarnation, Key, KeyRange, KeyspaceId, Moment, RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor, ReplicaId,
    Request, Response, Role, Row, SiteName, StoreId, Term, Timestamp, VersionedValue, limits,
};

const RANGES: u64 = 100_000;
const STORES: u64 = 3;
/// Of each store.
const WORKERS: u16 = 2;

fn site_of(store: u64) -> SiteName {
    SiteName::new(&format!("site-{store}")).unwrap()
}

fn led_by(range: u64) -> u64 {
    range % STORES + 1
}

fn descriptor(range: u64) -> RangeDescriptor {
    let bound = |n: u64| Key::bound(KeyspaceId::DEFAULT, format!("user/{n:012}").as_bytes());
    let replica = |store: u64| ReplicaDescriptor {
        replica: ReplicaId(store),
        store: StoreId(store),
        site: site_of(store),
        role: Role::Voter,
    };
    RangeDescriptor {
        range: RangeId(range + 1),
        bounds: KeyRange { start: bound(range), end: (range + 1 < RANGES).then(|| bound(range + 1)) },
        epoch: RangeEpoch { membership: 5, bounds: 9 },
        replicas: (1..=STORES).map(replica).collect(),
        next_replica: ReplicaId(STORES + 1),
    }
}

fn leads(range: u64) -> RangeReport {
    RangeReport {
        descriptor: descriptor(range),
        term: Term(7),
        has_lease: true,
        size_bytes: 1 << 16,
        reads_per_second: 1,
        writes_per_second: 1,
        write_bytes_per_second: 100,
        caught_up: (1..=STORES).map(ReplicaId).collect(),
    }
}

fn all_led(store: u64, worker: u16) -> Ranges {
    let here = |n: &u64| led_by(*n) == store && (n / STORES) % u64::from(WORKERS) == u64::from(worker);
    Ranges { led: (0..RANGES).filter(here).map(leads).collect(), damaged: Vec::new() }
}

fn report(store: u64, worker: u16, (part, ranges): (ReportPart, Ranges), draining: bool) -> StoreReport {
    StoreReport {
        store: StoreId(store),
        site: site_of(store),
        incarnation: Incarnation(1),
        worker,
        workers: WORKERS,
        disk_total_bytes: 100 << 30,
        disk_free_bytes: 90 << 30,
        disk_ok: true,
        cores: 4,
        used_millicores: 100,
        replicas: RANGES / u64::from(WORKERS),
        draining,
        directory_version: 0,
        ranges: ranges.led,
        damaged: ranges.damaged,
        part,
    }
}

/// The system range: it knows the stores, and takes what is written.
fn answer(request: &Request) -> Response {
    let rows = match request {
        Request::Scan { bounds, .. } if *bounds == StateKey::all_stores() => (1..=STORES)
            .map(|store| {
                let record = StoreRecord::new(StoreId(store), site_of(store));
                let value = VersionedValue { value: encode_store(&record), timestamp: Timestamp(1), expires_at: None };
                Row { key: StateKey::Store(StoreId(store)).key(), value }
            })
            .collect(),
        Request::Scan { .. } => Vec::new(),
        _ => return Response::Written { timestamp: Timestamp(1) },
    };
    Response::Scanned { rows, counted: 0, resume: None, at: Timestamp(1), within: None }
}

/// Workers that report, and the store that plans.
struct Fleet {
    departing: BTreeMap<(u64, u16), Departing>,
    planner: PlacementLoop,
    now: Moment,
    /// A store that is about to be stopped.
    draining: Option<u64>,
    /// The plan that is being made: it is there a beat later.
    planning: Option<PlanTask>,
    begun: Vec<(RangeId, AdminRequest)>,
    headroom: Vec<Headroom>,
    took: Took,
}

/// What it all took.
#[derive(Default)]
struct Took {
    bytes: usize,
    parts: usize,
    coding: Duration,
    /// Of each round of the worker that plans: what it takes to hear reports and take them in,
    hearing: Vec<Duration>,
    /// and how many ranges of waiting reports it takes in at most.
    taken: usize,
    /// The worker's share of planning,
    ticks: Vec<Duration>,
    /// and the other thread's.
    plans: Vec<Duration>,
}

fn timed<T>(job: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = job();
    (done, start.elapsed())
}

impl Fleet {
    fn new() -> Self {
        let workers = (1..=STORES).flat_map(|store| (0..WORKERS).map(move |worker| (store, worker)));
        let now = Moment::ZERO.after(Duration::from_secs(1));
        let mut planner = PlacementLoop::new(StoreId(1));
        planner.set_leads(true, &BTreeMap::new(), now);
        Self {
            departing: workers.map(|worker| (worker, Departing::default())).collect(),
            planner,
            now,
            draining: None,
            planning: None,
            begun: Vec::new(),
            headroom: Vec::new(),
            took: Took::default(),
        }
    }

    fn beat(&mut self) {
        self.now = self.now.after(limits::REPORT_EVERY);
        self.hear();
        while self.planner.has_more() {
            self.round();
        }
        if let Some(task) = self.planning.take() {
            let (planned, took) = timed(|| task.run());
            self.took.plans.push(took);
            let (tasks, took) = timed(|| self.planner.planned(planned));
            self.took.ticks.push(took);
            self.carry_out(tasks);
        }
        let (tasks, took) = timed(|| self.planner.tick(self.now));
        self.took.ticks.push(took);
        self.carry_out(tasks);
    }

    /// A round of the worker that plans, in which it hears of nobody.
    fn round(&mut self) {
        let (taken, took) = timed(|| self.planner.begin_round());
        self.took.taken = self.took.taken.max(taken);
        self.took.hearing.push(took);
    }

    /// What is reported with a beat comes in one round.
    fn hear(&mut self) {
        let mut hearing = timed(|| self.planner.begin_round()).1;
        for ((store, worker), departing) in &mut self.departing {
            if departing.may_begin(self.now) {
                assert_eq!(departing.begin(all_led(*store, *worker), self.now), 0);
            }
            let mut parts: Vec<_> = (0..limits::REPORT_PARTS_AT_A_TIME).map_while(|_| departing.next_part()).collect();
            if parts.is_empty() {
                parts.push((departing.sign_of_life(), Ranges::default()));
            }
            for part in parts {
                let report = report(*store, *worker, part, self.draining == Some(*store));
                let ((heard, bytes), took) = timed(|| {
                    let payload = StoreMessage::Report(Box::new(report)).encode().expect("it fits");
                    let Ok(StoreMessage::Report(heard)) = StoreMessage::decode(&payload) else { panic!("it is one") };
                    (heard, payload.len())
                });
                self.took.coding += took;
                self.took.bytes += bytes;
                self.took.parts += 1;
                hearing += timed(|| self.planner.report(*heard, self.now)).1;
            }
        }
        self.took.hearing.push(hearing);
    }

    fn carry_out(&mut self, tasks: Vec<PlacementTask>) {
        for task in tasks {
            match task {
                PlacementTask::Ask { call, request } => {
                    self.planner.answered(call, Ok(answer(&request.request)), self.now);
                }
                PlacementTask::Admin { range, request, .. } => self.begun.push((range, request)),
                PlacementTask::Plan(task) => {
                    assert!(self.planning.is_none(), "one plan at a time");
                    self.planning = Some(*task);
                }
                PlacementTask::Tell(PlacementNews::Headroom(told)) => self.headroom.extend(told),
                PlacementTask::Complain(what) => panic!("{what}"),
                PlacementTask::Directory(_) | PlacementTask::Sites(_) | PlacementTask::Tell(_) => {}
            }
        }
    }
}

#[test]
fn a_hundred_thousand_small_ranges_are_reported_in_parts_and_planned_for() {
    const BEATS: usize = 60;
    let mut fleet = Fleet::new();
    (0..BEATS).for_each(|_| fleet.beat());
    let (took, beats) = (&fleet.took, u32::try_from(BEATS).unwrap());
    println!(
        "{BEATS} beats of {:?}: {} parts of {} KiB",
        limits::REPORT_EVERY,
        took.parts,
        took.bytes / took.parts / 1_024
    );
    println!("a beat: {} KiB, {:?} to write and read them", took.bytes / BEATS / 1_024, took.coding / beats);
    println!("to take them in {:?} a round at most, in {} rounds", took.hearing.iter().max(), took.hearing.len());
    assert!((1..=1_024).contains(&took.taken), "{} ranges were taken in in one round", took.taken);
    println!("the worker's share of planning {:?} at most, of {:?}", took.ticks.iter().max(), took.ticks);
    println!("plans {:?}", took.plans);
    assert!(fleet.begun.is_empty(), "a fleet in balance is left alone: {:?}", fleet.begun.first());
    // Ten times 10,000 ranges: a plan every eleven reports, and not before all of them are known.
    assert!((2..=5).contains(&took.plans.len()), "{} plans", took.plans.len());
    assert!(!fleet.headroom.is_empty());
    for lost in &fleet.headroom {
        assert_eq!(lost.ranges_without_quorum, 0, "{lost}");
    }
    // One of them is about to be stopped: others are to lead.
    fleet.draining = Some(3);
    for _ in 0..25 {
        fleet.beat();
        if !fleet.begun.is_empty() {
            break;
        }
    }
    assert!(!fleet.begun.is_empty(), "what it leads is handed over");
    for (range, request) in &fleet.begun {
        assert!(matches!(request, AdminRequest::Transfer { .. }), "{range}: {request:?}");
        assert_eq!(led_by(range.0 - 1), 3, "{range}");
    }
}

#[test]
fn no_plan_is_begun_while_a_report_is_taken_in_in_part() {
    let mut fleet = Fleet::new();
    while fleet.took.plans.is_empty() || fleet.planning.is_some() {
        fleet.beat();
    }
    // Beats of which the worker finds time for nothing but to hear.
    while !fleet.planner.has_more() {
        fleet.now = fleet.now.after(limits::REPORT_EVERY);
        fleet.hear();
    }
    let later = fleet.now.after(Duration::from_secs(60));
    let plans = |tasks: &[PlacementTask]| tasks.iter().any(|task| matches!(task, PlacementTask::Plan(_)));
    let mut rounds = 0;
    while fleet.planner.has_more() {
        let tasks = fleet.planner.tick(later);
        assert!(!plans(&tasks), "after {rounds} rounds");
        fleet.carry_out(tasks);
        fleet.round();
        rounds += 1;
    }
    assert!((2..100).contains(&rounds), "{rounds} rounds");
    assert!(plans(&fleet.planner.tick(later)), "the plan does not wait for the other reports");
    assert!(fleet.planner.has_more(), "which are taken in now");
}

#[test]
fn a_hundred_thousand_ranges_are_paged_through() {
    let mut map = RangeMap::new();
    for range in 0..RANGES {
        let hint = leads(range);
        map.learn_own(holdfast_kv::core::message::RangeHint {
            descriptor: hint.descriptor,
            term: hint.term,
            leader: Some(StoreId(led_by(range))),
        });
    }
    let page = Page { reverse: false, limit: usize::MAX, max_bytes: limits::STREAM_NOTICES_BYTES };
    let (mut bounds, mut count, mut pages) = (KeyRange::all(), 0, 0);
    let start = Instant::now();
    loop {
        let (found, next) = map.page(&bounds, page, |found| found.own);
        count += found.len() as u64;
        pages += 1;
        let Some(next) = next else { break };
        bounds.start = next;
    }
    println!("{pages} pages in {:?}", start.elapsed());
    assert_eq!(count, RANGES);
    assert_eq!(map.counts(StoreId(1)).own as u64, RANGES);
}
