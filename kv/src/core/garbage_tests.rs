use bytes::Bytes;
use holdfast_engine::memory::MemoryDisk;
use holdfast_engine::{DataOp, Engines};
use holdfast_replica::command::WriteOutcome;
use holdfast_types::{
    KeyRange, KeyspaceId, LogIndex, RangeDescriptor, RangeEpoch, ReplicaDescriptor, ReplicaId, Role, Sequence,
    SiteName, StoreId, Term,
};

use super::*;

const RANGE: RangeId = RangeId(7);
const THRESHOLD: Timestamp = Timestamp(100);

fn key(user: &str) -> Key {
    Key::new(KeyspaceId::DEFAULT, user.as_bytes()).unwrap()
}

fn data() -> Engines {
    let engines = MemoryDisk::new().open().unwrap();
    let replica = ReplicaDescriptor {
        replica: ReplicaId(1),
        store: StoreId(1),
        site: SiteName::new("a").unwrap(),
        role: Role::Voter,
    };
    let descriptor = RangeDescriptor {
        range: RANGE,
        bounds: KeyRange { start: Key::MIN, end: Some(key("z")) },
        epoch: RangeEpoch { membership: 1, bounds: 1 },
        replicas: vec![replica],
        next_replica: ReplicaId(2),
    };
    let state = RangeState {
        descriptor,
        applied: LogIndex(5),
        applied_term: Term(5),
        gc_threshold: THRESHOLD,
        last_timestamp: Timestamp(1_000),
    };
    engines.data.write(&[DataOp::SetRangeState { range: RANGE, state: state.encode() }]).unwrap();
    engines
}

fn put(engines: &Engines, user: &str, at: u64, version: Version) {
    engines.data.write(&[DataOp::PutVersion { key: key(user), timestamp: Timestamp(at), version }]).unwrap();
}

fn value(expires_at: Option<u64>) -> Version {
    Version::Value { value: Bytes::from_static(b"v"), expires_at: expires_at.map(Timestamp) }
}

/// Everything found, page by page, and how many pages it took.
fn walk(engines: &Engines, mut position: GarbagePosition, now: u64) -> (GarbagePage, usize) {
    let mut all = GarbagePage::default();
    for pages in 1.. {
        let search = GarbageSearch { range: RANGE, position, now: Timestamp(now) };
        let page = look(&*engines.data.snapshot(), &search).unwrap();
        all.garbage.keys.extend(page.garbage.keys);
        all.garbage.records.extend(page.garbage.records);
        all.expires = all.expires.into_iter().chain(page.expires).min();
        all.records_left |= page.records_left;
        match page.next {
            Some(next) => position = next,
            None => return (all, pages),
        }
    }
    unreachable!("every walk ends")
}

fn found(engines: &Engines) -> Vec<(Key, Vec<u64>)> {
    let (page, _) = walk(engines, GarbagePosition::Versions(None), 0);
    page.garbage.keys.into_iter().map(|k| (k.key, k.timestamps.iter().map(|at| at.0).collect())).collect()
}

#[test]
fn marker_goes_with_everything_below_it_and_nothing_above() {
    let engines = data();
    for at in [10, 20] {
        put(&engines, "deleted", at, value(None));
    }
    put(&engines, "deleted", 30, Version::Tombstone);
    put(&engines, "written again", 30, Version::Tombstone);
    put(&engines, "written again", 40, value(None));
    put(&engines, "written again late", 30, Version::Tombstone);
    put(&engines, "written again late", 200, value(None));
    put(&engines, "young marker", 30, value(None));
    put(&engines, "young marker", 150, Version::Tombstone);
    put(&engines, "zz, outside", 30, Version::Tombstone);
    let expected = [(key("deleted"), vec![30, 20, 10]), (key("written again late"), vec![30])];
    assert_eq!(found(&engines), expected, "a younger value above the threshold hides no marker below it");
}

#[test]
fn expired_value_goes_with_what_it_hid_and_the_next_end_is_told() {
    let engines = data();
    put(&engines, "a", 10, value(None));
    put(&engines, "a", 20, value(Some(90)));
    put(&engines, "b", 20, value(Some(500)));
    put(&engines, "c", 20, value(Some(300)));
    assert_eq!(found(&engines), [(key("a"), vec![20, 10])]);
    let (page, _) = walk(&engines, GarbagePosition::Versions(None), 0);
    assert_eq!(page.expires, Some(Timestamp(300)));
}

#[test]
fn walk_over_many_pages_finds_every_marker_once() {
    let engines = data();
    let users: Vec<_> = (0..3 * PAGE_VERSIONS).map(|n| format!("k{n:06}")).collect();
    for user in &users {
        put(&engines, user, 10, value(None));
        put(&engines, user, 20, Version::Tombstone);
    }
    let (page, pages) = walk(&engines, GarbagePosition::Versions(None), 0);
    assert!(pages >= 6, "{pages} pages");
    let keys: Vec<_> = page.garbage.keys.iter().map(|found| found.key.clone()).collect();
    assert_eq!(keys, users.iter().map(|user| key(user)).collect::<Vec<_>>());
    assert!(page.garbage.keys.iter().all(|found| found.timestamps == [Timestamp(20), Timestamp(10)]));
}

#[test]
fn key_with_more_versions_than_a_page_gives_its_oldest_away_first() {
    let engines = data();
    let raised = |threshold| {
        let state = engines.data.snapshot().range_state(RANGE).unwrap().unwrap();
        let state = RangeState { gc_threshold: Timestamp(threshold), ..RangeState::decode(state).unwrap() };
        engines.data.write(&[DataOp::SetRangeState { range: RANGE, state: state.encode() }]).unwrap();
    };
    let count = PAGE_VERSIONS as u64 + 10;
    for at in 1..=count {
        put(&engines, "k", at, value(None));
    }
    put(&engines, "k", count + 1, Version::Tombstone);
    raised(count + 2);
    let (_, first) = &found(&engines)[0];
    assert_eq!((first.len(), first.first(), first.last()), (PAGE_VERSIONS, Some(&(count - 10)), Some(&1)));
    for at in first {
        engines.data.write(&[DataOp::RemoveVersion { key: key("k"), timestamp: Timestamp(*at) }]).unwrap();
    }
    let (_, rest) = &found(&engines)[0];
    assert_eq!((rest.len(), rest.first()), (11, Some(&(count + 1))), "the marker goes last");
}

#[test]
fn completion_records_go_when_nobody_may_ask_for_them_any_more() {
    let engines = data();
    let last_moment = Timestamp::from_ms(1_000_000);
    let record = |sequence| CompletionRecord {
        sequence: Sequence(sequence),
        last_moment,
        request_hash: 1,
        timestamp: Timestamp(50),
        outcome: WriteOutcome::Written,
    };
    for n in 0..=u16::try_from(limits::COMPLETIONS_PAGE).unwrap() {
        let (client, record) = (ClientId(u128::from(n)), record(3).encode());
        engines.data.write(&[DataOp::PutCompletion { range: RANGE, client, slot: Slot(0), record }]).unwrap();
    }
    let early = last_moment.after(limits::MAX_LAST_MOMENT_AHEAD).0;
    let (page, pages) = walk(&engines, GarbagePosition::Records(None), early);
    assert_eq!((page.garbage.records.len(), page.records_left, pages), (0, true, 2));
    let late = last_moment.after(2 * limits::MAX_LAST_MOMENT_AHEAD).0;
    let (page, _) = walk(&engines, GarbagePosition::Records(None), late);
    assert_eq!((page.garbage.records.len(), page.records_left), (limits::COMPLETIONS_PAGE + 1, false));
}
