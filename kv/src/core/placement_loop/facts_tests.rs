use holdfast_placement::MoveLimits;
use holdfast_types::{Incarnation, Key, KeyRange, KeyspaceId, RangeEpoch, Request, Role, SiteName, Term, Timestamp};

use super::*;
use crate::core::report_parts::{Departing, ReportPart};

fn descriptor() -> RangeDescriptor {
    let replica = |id| ReplicaDescriptor {
        replica: ReplicaId(id),
        store: StoreId(id),
        site: SiteName::new("a").unwrap(),
        role: Role::Voter,
    };
    RangeDescriptor {
        range: RangeId(7),
        bounds: KeyRange::all(),
        epoch: RangeEpoch::default(),
        replicas: vec![replica(1), replica(2)],
        next_replica: ReplicaId(3),
    }
}

fn says(store: u64) -> StoreReport {
    StoreReport {
        store: StoreId(store),
        site: SiteName::new("a").unwrap(),
        incarnation: Incarnation(1),
        worker: 0,
        workers: 1,
        disk_total_bytes: 0,
        disk_free_bytes: 0,
        disk_ok: true,
        cores: 1,
        used_millicores: 0,
        replicas: 0,
        draining: false,
        directory_version: 0,
        ranges: Vec::new(),
        damaged: Vec::new(),
        part: ReportPart::WHOLE,
    }
}

fn record(store: u64, forgotten_at: Option<Timestamp>) -> StoreRecord {
    StoreRecord {
        joined_at: Timestamp(1),
        forgotten_at,
        ..StoreRecord::new(StoreId(store), SiteName::new("a").unwrap())
    }
}

#[test]
fn a_store_that_is_heard_again_gets_no_replica_before_its_record_was_read_again() {
    let at = |seconds| Moment::ZERO.after(Duration::from_secs(seconds));
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    let takes_replicas = |facts: &Facts, read_at, now| {
        let view = facts.known.view((&[record(4, None)], read_at), now);
        (view.is_alive(StoreId(4)), view.takes_replicas(StoreId(4), &MoveLimits::default()))
    };
    facts.report(says(4), at(1));
    assert!(!facts.has_newcomers(at(1)));
    assert_eq!(takes_replicas(&facts, at(1), at(2)), (true, true));
    facts.report(says(4), at(20));
    assert!(facts.has_newcomers(at(19)));
    assert_eq!(takes_replicas(&facts, at(19), at(21)), (true, false), "it may have been forgotten in between");
    assert_eq!(takes_replicas(&facts, at(20), at(21)), (true, true));
}

#[test]
fn forgotten_stores_are_no_part_of_the_fleet() {
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    for store in [3, 4] {
        facts.report(says(store), Moment(1));
    }
    let records = [record(3, None), record(4, Some(Timestamp(7)))];
    let view = facts.known.view((&records, Moment(2)), Moment(2));
    assert_eq!(view.stores.keys().map(|store| store.0).collect::<Vec<_>>(), [3]);
    assert!(view.is_lost(StoreId(4), &MoveLimits::default()), "what it holds is replaced without a wait");
}

#[test]
fn of_stores_that_somebody_made_up_a_few_are_remembered() {
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    (100..10_000).for_each(|id| facts.note_stranger(StoreId(id)));
    assert_eq!((facts.strangers.len(), facts.known.stores.len()), (limits::UNPROVED_STORES, 0));
    assert!(facts.has_strangers(&BTreeMap::new()));
    let on_record = facts.strangers.iter().map(|store| (*store, record(store.0, None))).collect();
    assert!(!facts.has_strangers(&on_record), "their records are read by now");
}

#[test]
fn a_range_is_led_by_one_of_its_replicas() {
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    let later = RangeReport { term: Term(1 << 40), ..leads(7) };
    facts.report(StoreReport { ranges: vec![leads(7)], ..says(1) }, Moment(1));
    facts.report(StoreReport { ranges: vec![later.clone(), leads(8)], ..says(3) }, Moment(2));
    assert_eq!(facts.known.ranges.keys().collect::<Vec<_>>(), [&RangeId(7)]);
    assert_eq!(facts.known.ranges[&RangeId(7)].leader, StoreId(1));
    facts.report(StoreReport { ranges: vec![later], ..says(2) }, Moment(3));
    assert_eq!(facts.known.ranges[&RangeId(7)].leader, StoreId(2));
}

#[test]
fn reports_that_never_come_to_their_end_do_not_add_up() {
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    // Keys that share their bytes: what is counted is what they take in messages.
    let long = Key::bound(KeyspaceId(1), &vec![7; limits::REPORT_PART_BYTES / 2]);
    let bounds = KeyRange { end: Some(long.clone()), start: long };
    let wide = |id| RangeReport {
        descriptor: RangeDescriptor { bounds: bounds.clone(), ..leads(id).descriptor },
        ..leads(id)
    };
    let ranges = vec![wide(1)];
    let parts = limits::MAX_REPORT_PARTS;
    let part = |store, part| StoreReport {
        part: ReportPart { report: 1, part, parts },
        ranges: ranges.clone(),
        ..says(store)
    };
    for store in 1..=4 {
        for number in 0..parts / 2 {
            facts.report(part(store, number), Moment(store));
        }
    }
    let bytes = |store| facts.workers[&(StoreId(store), 0)].arriving.bytes();
    assert!((1..=4).map(bytes).sum::<usize>() <= limits::ARRIVING_REPORTS_BYTES);
    assert!(bytes(4) > 0 && bytes(1) == 0, "what began to come first is given up first");
}

fn leads(id: u64) -> RangeReport {
    RangeReport {
        descriptor: RangeDescriptor { range: RangeId(id), ..descriptor() },
        term: Term(5),
        has_lease: true,
        size_bytes: 0,
        reads_per_second: 0,
        writes_per_second: 0,
        write_bytes_per_second: 0,
        caught_up: vec![ReplicaId(1), ReplicaId(2)],
    }
}

/// Reports of a store whose ranges do not fit into one part, without the part at `lost`.
fn hear(facts: &mut Facts, departing: &mut Departing, ranges: u64, lost: Option<u32>, now: Moment) -> u32 {
    let led = (1..=ranges).map(leads).collect();
    assert_eq!(departing.begin(Ranges { led, damaged: Vec::new() }, now), 0);
    let mut parts = 0;
    while let Some((part, ranges)) = departing.next_part() {
        parts = part.parts;
        if Some(part.part) != lost {
            facts.report(StoreReport { ranges: ranges.led, part, ..says(1) }, now);
        }
    }
    while facts.has_more() {
        facts.begin_round();
    }
    parts
}

#[test]
fn stores_of_a_distrusted_site_are_lost_at_once_whatever_they_report() {
    let (site, limits) = (SiteName::new("b").unwrap(), MoveLimits::default());
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    let records = [record(3, None), StoreRecord { site: site.clone(), ..record(4, None) }];
    let look = |facts: &mut Facts| {
        for store in [3, 4] {
            facts.report(says(store), Moment(1));
        }
        let view = facts.known.view((&records, Moment(2)), Moment(2));
        [3, 4].map(|store| (view.is_alive(StoreId(store)), view.is_lost(StoreId(store), &limits)))
    };
    assert_eq!(look(&mut facts), [(true, false), (true, false)]);
    let said = SiteTrust { distrusted_at: Some(Timestamp(7)), ..SiteTrust::never_doubted(site) };
    facts.distrust(std::slice::from_ref(&said));
    assert_eq!(look(&mut facts), [(true, false), (false, true)]);
    facts.distrust(&[SiteTrust { restored_at: Some(Timestamp(8)), ..said }]);
    assert_eq!(look(&mut facts), [(true, false), (true, false)]);
}

#[test]
fn a_report_that_lost_a_part_is_a_sign_of_life_and_says_nothing_of_ranges() {
    let at = |seconds| Moment::ZERO.after(Duration::from_secs(seconds));
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    let mut departing = Departing::default();
    let records = [record(1, None), record(2, None)];
    facts.report(says(2), at(1));
    let parts = hear(&mut facts, &mut departing, 3_000, Some(1), at(1));
    assert!(parts >= 3, "{parts} parts");
    assert_eq!(facts.awaited(at(1)), Some(StoreId(1)), "nobody knows what it leads");
    let view = facts.known.view((&records, at(1)), at(1));
    assert!(view.is_alive(StoreId(1)) && view.ranges.is_empty());

    hear(&mut facts, &mut departing, 3_000, None, at(2));
    assert_eq!(facts.awaited(at(2)), None);
    for second in 3..60 {
        facts.report(says(2), at(second));
        hear(&mut facts, &mut departing, 3_000, Some(parts - 1), at(second));
        let view = facts.known.view((&records, at(second)), at(second));
        let led = view.ranges.values().filter(|range| range.leader == Some(StoreId(1))).count();
        assert_eq!((led, view.is_alive(StoreId(1))), (3_000, true), "at {second} s");
    }
}

#[test]
fn the_largest_figures_that_a_report_can_have_are_added_up() {
    let most = limits::MAX_REPORTED_RATE;
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    for term in 1..200 {
        let report = RangeReport {
            descriptor: descriptor(),
            term: Term(term),
            has_lease: true,
            size_bytes: limits::MAX_REPORTED_RANGE_BYTES,
            reads_per_second: most,
            writes_per_second: most,
            write_bytes_per_second: most,
            caught_up: vec![ReplicaId(1)],
        };
        facts.range_report(StoreId(1 + term % 2), report, Moment(term));
    }
    // What is left of former leaders adds to it, and a fleet has a million ranges.
    let RangeLoad { requests_millis_per_second, write_bytes_per_second } = facts.known.ranges[&RangeId(7)].load();
    for figure in [requests_millis_per_second, write_bytes_per_second, limits::MAX_REPORTED_RANGE_BYTES] {
        assert!(figure.checked_mul(1 << 20).is_some(), "{figure}");
    }
}

/// A range is read 1,000 times a second, whoever leads it.
#[test]
fn a_leadership_that_moves_brings_its_load_along() {
    let every = limits::REPORT_EVERY;
    let per_report = 1_000 * u64::try_from(every.as_millis()).unwrap() / 1_000;
    let (mut facts, mut now) = (Facts::new(BTreeMap::new(), Moment::ZERO), Moment::ZERO);
    let mut load = Load::since(now);
    let mut seen = Vec::new();
    // It moves when nobody has measured its load to the end yet, and back again soon.
    for (term, leader, reports) in [(5, 1, 40), (6, 2, 3), (7, 1, 40)] {
        if term > 5 {
            load = Load::since(now);
        }
        for _ in 0..reports {
            (0..per_report).for_each(|_| load.count(&Request::Get { keys: Vec::new(), at: None }));
            now = now.after(every);
            let rates = load.look(now);
            let report = RangeReport {
                descriptor: descriptor(),
                term: Term(term),
                has_lease: true,
                size_bytes: 0,
                reads_per_second: rates.reads,
                writes_per_second: 0,
                write_bytes_per_second: 0,
                caught_up: vec![ReplicaId(1)],
            };
            facts.range_report(StoreId(leader), report, now);
            let known = &facts.known.ranges[&RangeId(7)];
            seen.push((known.load().requests_millis_per_second / 1_000, known.led_since));
        }
    }
    let measured = &seen[20..];
    let steady = measured.iter().all(|(load, _)| (980..=1_020).contains(load));
    assert!(steady, "{measured:?}");
    assert_eq!(seen[39].1, None, "for as long as anyone remembers");
    let moved = |at: usize| Some(Moment::ZERO.after(every * u32::try_from(at + 1).unwrap()));
    assert_eq!((seen[42].1, seen[82].1), (moved(40), moved(43)));
}

#[test]
fn a_long_report_takes_many_rounds_and_counts_with_its_end() {
    const RANGES: u64 = 5_000;
    let at = |seconds| Moment::ZERO.after(Duration::from_secs(seconds));
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    let records = [record(1, None), record(2, None)];
    let led = |facts: &Facts, now| {
        let view = facts.known.view((&records, now), now);
        view.ranges.values().filter(|range| range.leader == Some(StoreId(1))).count()
    };
    let mut departing = Departing::default();
    let mut all_parts = |reported: &[RangeReport], damaged: Vec<_>, now| {
        assert_eq!(departing.begin(Ranges { led: reported.to_vec(), damaged }, now), 0);
        std::iter::from_fn(|| departing.next_part()).collect::<Vec<_>>()
    };
    let hear = |facts: &mut Facts, parts: Vec<(ReportPart, Ranges)>, now| {
        for (part, Ranges { led, damaged }) in parts {
            facts.report(StoreReport { ranges: led, damaged, part, ..says(1) }, now);
        }
    };
    let damaged = |facts: &Facts| facts.known.damaged.values().map(|damaged| damaged.len()).sum::<usize>();

    let reported: Vec<_> = (1..=RANGES).map(leads).collect();
    let parts = all_parts(&reported, vec![(RangeId(7), ReplicaId(1))], at(1));
    facts.begin_round();
    hear(&mut facts, parts, at(1));
    let mut before = 0;
    loop {
        let known = facts.known.ranges.len();
        assert!(known - before <= TAKEN_PER_ROUND, "{} ranges were taken in in one round", known - before);
        before = known;
        assert_eq!(facts.intake.is_in_the_middle(), facts.has_more());
        if !facts.has_more() {
            break;
        }
        assert_eq!(facts.awaited(at(1)), Some(StoreId(1)), "{known} of {RANGES} ranges are known");
        assert_eq!(damaged(&facts), 0);
        assert!(facts.begin_round() <= TAKEN_PER_ROUND);
    }
    assert_eq!((before, facts.awaited(at(1)), damaged(&facts)), (5_000, None, 1));

    // The next one: until a range is taken in, what was known of it holds, in the middle too.
    let next: Vec<_> = reported.into_iter().map(|range| RangeReport { term: Term(6), ..range }).collect();
    let parts = all_parts(&next, Vec::new(), at(2));
    hear(&mut facts, parts, at(2));
    let mut rounds = 0;
    while facts.has_more() {
        assert_eq!((led(&facts, at(2)), facts.awaited(at(2)), damaged(&facts)), (5_000, None, 1));
        facts.begin_round();
        rounds += 1;
    }
    assert!(rounds > 3, "{rounds} rounds");
    assert_eq!((led(&facts, at(2)), damaged(&facts)), (5_000, 0));
    assert!(facts.known.ranges.values().all(|range| range.report.term == Term(6)));
}

#[test]
fn of_reports_that_come_faster_than_they_are_taken_in_two_of_a_worker_wait_at_most() {
    let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
    let reported: Vec<_> = (1..=3_000).map(leads).collect();
    let mut departing = Departing::default();
    for moment in 1..10 {
        departing.begin(Ranges { led: reported.clone(), damaged: Vec::new() }, Moment(moment));
        while let Some((part, ranges)) = departing.next_part() {
            facts.report(StoreReport { ranges: ranges.led, part, ..says(1) }, Moment(moment));
        }
    }
    let mut rounds = 0;
    while facts.has_more() {
        assert!(facts.begin_round() > 0);
        rounds += 1;
    }
    assert!((3..=6).contains(&rounds), "{rounds} rounds for two reports");
    let newest = facts.known.ranges.values().map(|range| range.at).min();
    assert_eq!((newest, facts.intake.bytes()), (Some(Moment(9)), 0), "the newest report counts in the end");
}
