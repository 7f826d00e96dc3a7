use holdfast_types::{
    Key, KeyRange, KeyspaceId, RangeDescriptor, RangeEpoch, ReplicaDescriptor, Role, SiteName, StoreId, Term,
};
use proptest::prelude::*;

use super::*;
use crate::core::message::{StoreMessage, StoreReport};

fn range(id: u64, key_bytes: usize, replicas: u64, site: &str) -> RangeReport {
    let replica = |id| ReplicaDescriptor {
        replica: ReplicaId(u64::MAX - id),
        store: StoreId(u64::MAX - id),
        site: SiteName::new(site).unwrap(),
        role: Role::Voter,
    };
    let bound = |last: u8| Key::bound(KeyspaceId(u32::MAX), &[&vec![255; key_bytes][..], &[last]].concat());
    RangeReport {
        descriptor: RangeDescriptor {
            range: RangeId(id),
            bounds: KeyRange { start: bound(0), end: Some(bound(1)) },
            epoch: RangeEpoch { membership: u64::MAX, bounds: u64::MAX },
            replicas: (1..=replicas).map(replica).collect(),
            next_replica: ReplicaId(u64::MAX),
        },
        term: Term(u64::MAX),
        has_lease: true,
        size_bytes: u64::MAX,
        reads_per_second: u64::MAX,
        writes_per_second: u64::MAX,
        write_bytes_per_second: u64::MAX,
        caught_up: (1..=replicas + 1).map(|id| ReplicaId(u64::MAX - id)).collect(),
    }
}

fn small(count: u64) -> Ranges {
    Ranges { led: (1..=count).map(|id| range(id, 8, 3, "site-a")).collect(), damaged: Vec::new() }
}

fn parts_of(departing: &mut Departing) -> Vec<(ReportPart, Ranges)> {
    std::iter::from_fn(|| departing.next_part()).collect()
}

fn begin(departing: &mut Departing, ranges: Ranges) -> Vec<(ReportPart, Ranges)> {
    assert_eq!(departing.begin(ranges, Moment::ZERO), 0);
    parts_of(departing)
}

fn joined(whole: Whole) -> Ranges {
    let mut ranges = Ranges::default();
    for part in whole.parts {
        ranges.led.extend(part.led);
        ranges.damaged.extend(part.damaged);
    }
    ranges
}

fn encoded_bytes(part: ReportPart, ranges: Ranges) -> usize {
    let report = StoreReport {
        store: StoreId(u64::MAX),
        site: SiteName::new(&"s".repeat(63)).unwrap(),
        incarnation: Incarnation(u64::MAX),
        worker: 15,
        workers: 16,
        disk_total_bytes: u64::MAX,
        disk_free_bytes: u64::MAX,
        disk_ok: true,
        cores: u32::MAX,
        used_millicores: u64::MAX,
        replicas: u64::MAX,
        draining: true,
        directory_version: u64::MAX,
        ranges: ranges.led,
        damaged: ranges.damaged,
        part,
    };
    StoreMessage::Report(Box::new(report)).encode().expect("no message is too large").len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_part_fits_and_in_any_order_they_make_the_report(
        ranges in proptest::collection::vec((0_usize..4_090, 1_u64..8, 1_usize..63), 0..200),
        damaged in 0_u64..20_000,
        turn in 0_usize..50,
    ) {
        let led: Vec<_> =
            (1..).zip(&ranges).map(|(id, (key, replicas, site))| range(id, *key, *replicas, &"s".repeat(*site))).collect();
        let damaged = (1..=damaged).map(|id| (RangeId(u64::MAX - id), ReplicaId(u64::MAX))).collect();
        let told = Ranges { led, damaged };
        let mut parts = begin(&mut Departing::default(), told.clone());
        for (part, ranges) in &parts {
            let bytes = encoded_bytes(*part, ranges.clone());
            prop_assert!(bytes <= limits::REPORT_PART_BYTES + 300, "{bytes} bytes");
        }
        let count = parts.len();
        parts.rotate_left(turn % count);
        let mut arriving = Arriving::default();
        let mut heard = Vec::new();
        for (part, ranges) in parts {
            heard.push(arriving.take(Incarnation(1), part, ranges));
        }
        let whole = heard.pop().unwrap();
        prop_assert!(heard.iter().all(Option::is_none));
        prop_assert_eq!(whole.map(joined), Some(told));
    }
}

#[test]
fn a_report_without_one_of_its_parts_says_nothing_and_the_next_one_does() {
    let (mut departing, mut arriving) = (Departing::default(), Arriving::default());
    let first = begin(&mut departing, small(5_000));
    assert!(first.len() >= 3, "{} parts", first.len());
    for (part, ranges) in first.iter().skip(1) {
        assert_eq!(arriving.take(Incarnation(1), *part, ranges.clone()), None);
    }
    let second = begin(&mut departing, small(2));
    assert_eq!(second.len(), 1);
    assert_eq!(arriving.take(Incarnation(1), second[0].0, second[0].1.clone()).map(joined), Some(small(2)));
    let (late, ranges) = first[0].clone();
    assert_eq!(arriving.take(Incarnation(1), late, ranges), None, "its time is over");
}

#[test]
fn parts_of_two_moments_or_two_incarnations_never_count_together() {
    let (mut departing, mut arriving) = (Departing::default(), Arriving::default());
    let (first, second) = (begin(&mut departing, small(5_000)), begin(&mut departing, small(5_000)));
    let split = first.len() - 1;
    for (part, ranges) in first[..split].iter().chain(&second[split..]).cloned() {
        assert_eq!(arriving.take(Incarnation(1), part, ranges), None);
    }
    // A store that starts again begins to count anew.
    let reborn = begin(&mut Departing::default(), small(5_000));
    assert_eq!(reborn[0].0, first[0].0);
    for (part, ranges) in reborn[..split].iter().cloned() {
        assert_eq!(arriving.take(Incarnation(2), part, ranges), None);
    }
    assert_eq!(arriving.take(Incarnation(1), second[split].0, second[split].1.clone()), None);
    assert_eq!(arriving.take(Incarnation(2), reborn[split].0, reborn[split].1.clone()).map(joined), Some(small(5_000)));
}

#[test]
fn what_does_not_fit_into_the_most_parts_is_counted_and_left_out() {
    let longest = limits::MAX_KEY_BYTES - 1;
    let one = range(1, longest, 3, "site-a");
    let a_part = limits::REPORT_PART_BYTES / cost_of(&one);
    let most = a_part * limits::MAX_REPORT_PARTS as usize;
    let mut departing = Departing::default();
    assert_eq!(departing.begin(Ranges { led: vec![one; most + 7], damaged: Vec::new() }, Moment::ZERO), 7);
    let mut parts = 0;
    while let Some((part, _)) = departing.next_part() {
        assert!(part.is_sound());
        parts += 1;
    }
    assert_eq!(parts, limits::MAX_REPORT_PARTS);
}

#[test]
fn parts_that_nobody_sends_are_not_kept() {
    let mut arriving = Arriving::default();
    for (part, parts) in [(1, 1), (0, 0), (limits::MAX_REPORT_PARTS, limits::MAX_REPORT_PARTS + 1)] {
        assert_eq!(arriving.take(Incarnation(9), ReportPart { report: 1, part, parts }, small(1)), None);
    }
    assert!(arriving.parts.is_empty());
}

#[test]
fn a_long_report_leaves_quickly_and_its_worker_rests_until_it_has_sent_a_part_a_beat() {
    const BEATS: u32 = 1_000;
    for ranges in [0, 1, 700, 3_000, 40_000] {
        let (mut departing, mut now) = (Departing::default(), Moment::ZERO);
        let (mut begun, mut sent, mut quiet) = (0, 0, 0);
        for _ in 0..BEATS {
            now = now.after(limits::REPORT_EVERY);
            if departing.may_begin(now) {
                assert_eq!(departing.begin(small(ranges), now), 0);
                begun += 1;
            }
            let parts = (0..limits::REPORT_PARTS_AT_A_TIME).map_while(|_| departing.next_part()).count();
            quiet += u32::from(parts == 0);
            sent += parts;
        }
        let parts = begin(&mut Departing::default(), small(ranges)).len();
        assert!(sent <= BEATS as usize + parts, "{ranges} ranges: {sent} parts in {BEATS} beats");
        assert_eq!(begun, BEATS.div_ceil(u32::try_from(parts).unwrap()), "{ranges} ranges in {parts} parts");
        assert_eq!(quiet > 0, parts > 1, "{ranges} ranges");
        // Whoever hears a sign of life knows neither more nor less than before.
        let (mut arriving, alive) = (Arriving::default(), departing.sign_of_life());
        assert!(alive.is_sound() && alive.is_sign_of_life());
        assert_eq!(arriving.take(Incarnation(1), alive, Ranges::default()), None);
        departing.begin(small(ranges), now);
        let whole = std::iter::from_fn(|| departing.next_part()).find_map(|(part, ranges)| {
            assert_eq!(arriving.take(Incarnation(1), departing_alive(part), Ranges::default()), None);
            arriving.take(Incarnation(1), part, ranges)
        });
        assert_eq!(whole.map(joined), Some(small(ranges)));
    }
}

fn departing_alive(part: ReportPart) -> ReportPart {
    ReportPart { part: part.parts, ..part }
}
