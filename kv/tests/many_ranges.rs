//! A fleet of a hundred thousand small ranges: what its reports take, and that it is planned for. What it costs is printed, not asserted:
//! `cargo test --release -p holdfast-kv --test many_ranges -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "tests; one measures")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_kv::core::effect::PlacementNews;
use holdfast_kv::core::message::{RangeReport, StoreMessage, StoreReport};
use holdfast_kv::core::placement_loop::{PlacementLoop, PlacementTask};
use holdfast_kv::core::records::encode_store;
use holdfast_kv::core::report_parts::{Departing, Ranges};
use holdfast_kv::core::routing::{Page, RangeMap};
use holdfast_placement::{StateKey, StoreRecord};
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

fn report(store: u64, worker: u16, departing: &mut Departing) -> Option<StoreReport> {
    let (part, ranges) = departing.next_part()?;
    Some(StoreReport {
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
        draining: false,
        directory_version: 0,
        ranges: ranges.led,
        damaged: ranges.damaged,
        part,
    })
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
    Response::Scanned { rows, resume: None, at: Timestamp(1), within: None }
}

#[test]
fn a_hundred_thousand_small_ranges_are_reported_in_parts_and_planned_for() {
    let mut departing: BTreeMap<(u64, u16), Departing> = (1..=STORES)
        .flat_map(|store| (0..WORKERS).map(move |worker| ((store, worker), Departing::default())))
        .collect();
    let mut planner = PlacementLoop::new(StoreId(1));
    let mut now = Moment::ZERO.after(Duration::from_secs(1));
    planner.set_leads(true, &BTreeMap::new(), now);
    let (mut bytes, mut parts, mut begun, mut headroom) = (0, 0, Vec::new(), Vec::new());
    let (mut coding, mut taking, mut ticks) = (Duration::ZERO, Duration::ZERO, Vec::new());
    for beat in 0..20 {
        for ((store, worker), departing) in &mut departing {
            if departing.is_done() {
                assert_eq!(departing.begin(all_led(*store, *worker)), 0);
            }
            for _ in 0..limits::REPORT_PARTS_AT_A_TIME {
                let Some(report) = report(*store, *worker, departing) else { break };
                let start = Instant::now();
                let payload = StoreMessage::Report(Box::new(report)).encode().expect("it fits");
                let Ok(StoreMessage::Report(heard)) = StoreMessage::decode(&payload) else { panic!("a report is one") };
                coding += start.elapsed();
                bytes += payload.len();
                parts += 1;
                let start = Instant::now();
                planner.report(*heard, now);
                taking += start.elapsed();
            }
        }
        let mut again = true;
        while std::mem::take(&mut again) {
            let start = Instant::now();
            let tasks = planner.tick(now);
            ticks.push(start.elapsed());
            for task in tasks {
                match task {
                    PlacementTask::Ask { call, request } => planner.answered(call, Ok(answer(&request.request)), now),
                    PlacementTask::Admin { range, request, .. } => begun.push((beat, range, request)),
                    PlacementTask::Tell(PlacementNews::Headroom(told)) => headroom.push(told),
                    PlacementTask::Complain(what) => panic!("{what}"),
                    _ => {}
                }
            }
        }
        now = now.after(limits::REPORT_EVERY);
    }
    let slowest = ticks.iter().max().unwrap();
    println!(
        "20 beats of {:?}: {parts} parts of {} KiB, {} KiB a beat",
        limits::REPORT_EVERY,
        bytes / parts / 1_024,
        bytes / 20 / 1_024
    );
    println!("to write and read them {:?} a beat, to take them in {:?} a beat", coding / 20, taking / 20);
    println!("to plan {:?} at most, of {:?}", slowest, ticks);
    assert!(begun.is_empty(), "a fleet in balance is left alone: {:?}", begun.first());
    assert!(!headroom.is_empty());
    for lost in headroom.iter().flatten() {
        assert_eq!(lost.ranges_without_quorum, 0, "{lost}");
    }
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
