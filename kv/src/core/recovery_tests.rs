use holdfast_engine::memory::{Crash, MemoryDisk};
use holdfast_engine::{DataOp, LogOp};
use holdfast_placement::{SiteRecord, StoreRecord};
use holdfast_types::{FleetId, LogIndex, RangeId, SiteName, StoreId, Timestamp};

use super::*;

fn record(id: u64) -> StoreRecord {
    StoreRecord { joined_at: Timestamp(1), ..StoreRecord::new(StoreId(id), SiteName::new("a").unwrap()) }
}

fn founded() -> (MemoryDisk, Engines) {
    let disk = MemoryDisk::new();
    let engines = disk.open().unwrap();
    let site = SiteRecord::new(SiteName::new("a").unwrap(), None);
    init(&engines, &Founding { fleet: FleetId(5), store: record(1), site }).unwrap();
    (disk, engines)
}

fn what(recovered: &Recovered, range: RangeId) -> &Found {
    &recovered.found.iter().find(|f| f.range == range).unwrap().what
}

#[test]
fn founded_store_finds_itself_after_a_crash_with_a_new_incarnation() {
    let (disk, _) = founded();
    for start in 1..4 {
        disk.crash(&Crash::default());
        let recovered = recover(&disk.open().unwrap()).unwrap();
        assert_eq!(recovered.identity.incarnation, Incarnation(start));
        assert_eq!((recovered.identity.fleet, recovered.identity.store), (FleetId(5), StoreId(1)));
        assert_eq!(recovered.found.len(), 2);
        assert!(matches!(what(&recovered, RangeId::SYSTEM), Found::Live(_)));
        assert_eq!(
            recovered.shared.range_counter.reserve().map(|block| block.0),
            Some(1),
            "number 1 was used by the founding"
        );
    }
}

#[test]
fn member_neither_founds_nor_joins_again() {
    let (_disk, engines) = founded();
    assert!(matches!(join(&engines, FleetId(6), &record(2)), Err(Fault::Identity(_))));
    let site = SiteRecord::new(SiteName::new("a").unwrap(), None);
    assert!(matches!(init(&engines, &Founding { fleet: FleetId(5), store: record(1), site }), Err(Fault::Identity(_))));
}

#[test]
fn store_without_a_fleet_does_not_start() {
    assert!(matches!(recover(&MemoryDisk::new().open().unwrap()), Err(Fault::Identity(_))));
}

#[test]
fn applied_beyond_the_log_is_kept_for_the_replica_to_refuse() {
    let (_disk, engines) = founded();
    let bytes = engines.data.range_state(RangeId::SYSTEM, holdfast_engine::ReadTier::All).unwrap().unwrap();
    let state = RangeState { applied: LogIndex(100), ..RangeState::decode(bytes).unwrap() };
    engines.data.write(&[DataOp::SetRangeState { range: RangeId::SYSTEM, state: state.encode() }]).unwrap();
    let recovered = recover(&engines).unwrap();
    let Found::Live(opening) = what(&recovered, RangeId::SYSTEM) else { panic!("{:?}", recovered.found) };
    assert!(opening.state.applied > opening.log.last);
}

#[test]
fn data_without_a_log_is_quarantined() {
    let (_disk, engines) = founded();
    engines.log.write_synced(&[LogOp::Forget { range: RangeId::SYSTEM }]).unwrap();
    let recovered = recover(&engines).unwrap();
    assert!(matches!(what(&recovered, RangeId::SYSTEM), Found::Quarantined { reason: Some(_), .. }));
}

#[test]
fn unreadable_state_quarantines_its_range_and_no_other() {
    let (_disk, engines) = founded();
    let garbage = bytes::Bytes::from_static(b"\xff\xff\xff");
    engines.data.write(&[DataOp::SetRangeState { range: RangeId::SYSTEM, state: garbage }]).unwrap();
    let recovered = recover(&engines).unwrap();
    assert!(matches!(what(&recovered, RangeId::SYSTEM), Found::Quarantined { reason: Some(_), .. }));
    assert!(matches!(what(&recovered, RangeId::made_by(StoreId(1), 1)), Found::Live(_)));
}

#[test]
fn records_of_the_dead_are_found_as_they_were() {
    let (_disk, engines) = founded();
    let set = |range, record| LogOp::SetReplica { range: RangeId(range), record };
    let voted = HardState { term: Term(7), vote: ReplicaId(2), commit: LogIndex(5) };
    let ops = [
        set(100, ReplicaRecord::Tombstone { next: ReplicaId(4), clearing: false }),
        set(101, ReplicaRecord::Tombstone { next: ReplicaId(5), clearing: true }),
        set(102, ReplicaRecord::Quarantined { replica: ReplicaId(6) }),
        set(103, ReplicaRecord::Live { replica: ReplicaId(7) }),
        set(104, ReplicaRecord::Live { replica: ReplicaId(8) }),
        LogOp::SetStart { range: RangeId(104), start: LogStart { index: LogIndex(5), term: Term(5) } },
        set(105, ReplicaRecord::Live { replica: ReplicaId(9) }),
        LogOp::SetStart { range: RangeId(105), start: LogStart { index: LogIndex(5), term: Term(5) } },
        LogOp::SetHardState { range: RangeId(105), state: voted },
    ];
    engines.log.write_synced(&ops).unwrap();
    let recovered = recover(&engines).unwrap();
    assert_eq!(*what(&recovered, RangeId(100)), Found::Tombstone { next: ReplicaId(4) });
    assert_eq!(*what(&recovered, RangeId(101)), Found::Clearing { next: ReplicaId(5), bounds: None });
    assert!(matches!(what(&recovered, RangeId(102)), Found::Quarantined { reason: None, .. }));
    assert_eq!(*what(&recovered, RangeId(103)), Found::Waiting { replica: ReplicaId(7) });
    assert!(matches!(what(&recovered, RangeId(104)), Found::Unborn { replica: ReplicaId(8), .. }));
    let lived = what(&recovered, RangeId(105));
    assert!(matches!(lived, Found::Quarantined { reason: Some(_), .. }), "it voted, so it is not unborn: {lived:?}");
}

#[test]
fn what_a_newer_program_wrote_is_left_alone_and_the_start_refused() {
    let (_disk, engines) = founded();
    let known = engines.data.range_state(RangeId::SYSTEM, holdfast_engine::ReadTier::All).unwrap().unwrap();
    let newer = holdfast_proto::v1::StoredRangeState {
        version: 9,
        ..prost::Message::decode(known).expect("it was written by this program")
    };
    let state = prost::Message::encode_to_vec(&newer).into();
    engines.data.write(&[DataOp::SetRangeState { range: RangeId::SYSTEM, state }]).unwrap();
    let refused = recover(&engines).err().expect("this program does not know it");
    assert!(matches!(refused, Fault::UnknownVersion { found: 9, .. }), "{refused}");
    let logs = engines.log.load().unwrap();
    assert!(logs.iter().all(|log| matches!(log.record, ReplicaRecord::Live { .. })), "nothing is given up: {logs:?}");
}

#[test]
fn a_note_that_names_the_last_incarnation_does_not_keep_the_store_from_starting() {
    for told in [u64::MAX, u64::MAX - 1, Incarnation::MAX.0] {
        let (_disk, engines) = founded();
        let outdated = Outdated { seen_by: StoreId(2), incarnation: Incarnation(told), counter: told };
        engines.log.write_synced(&[outdated.op()]).unwrap();
        for start in 1..3 {
            let recovered = recover(&engines).unwrap();
            assert_eq!(recovered.identity.incarnation, Incarnation(start));
            assert!(matches!(what(&recovered, RangeId::SYSTEM), Found::Live(_)), "nobody can have seen that");
        }
    }
    // The most that is believed leaves room to go on counting.
    let (_disk, engines) = founded();
    let most = limits::MAX_HEARSAY;
    let outdated = Outdated { seen_by: StoreId(2), incarnation: Incarnation(most), counter: most };
    engines.log.write_synced(&[outdated.op()]).unwrap();
    for start in 1..3 {
        let recovered = recover(&engines).unwrap();
        assert_eq!(recovered.identity.incarnation, Incarnation(most + start));
        assert!(recovered.started_at >= most && Incarnation::bounded(most + start).is_ok());
    }
}
