//! The log instance.

use bytes::Bytes;
use holdfast_engine::{Fault, HardState, LoadedLog, LogEngine, LogEntry, LogOp, LogStart, ReplicaRecord};
use holdfast_types::{LogIndex, LogSizes, RangeId, ReplicaId, Term, limits};

use crate::build::{R, append, entries, live, start};
use crate::twin::Twin;

both! {
    appended_entries_are_read_back_in_pages, appending_over_a_tail_replaces_it, what_was_written_survives_the_process,
    cutting_keeps_the_rest_and_its_terms, start_behind_the_end_empties_the_log, start_of_another_term_empties_the_log,
    batch_with_a_hole_is_refused_whole, tombstone_takes_the_log_with_it, forgotten_range_is_gone,
    store_records_are_kept_by_name, counter_counts_batches_and_survives, ranges_do_not_mix, damaged_entry_is_a_fault,
    range_without_a_record_is_damage, reading_what_was_cut_gives_nothing, bytes_of_a_log_follow_its_cuts_and_are_found_at_opening,
}

fn load_one(twin: &dyn Twin) -> LoadedLog {
    let loaded = twin.log().load().unwrap();
    assert_eq!(loaded.len(), 1);
    loaded.into_iter().next().unwrap()
}

fn read(log: &dyn LogEngine, first: u64, last: u64) -> Vec<(u64, u64)> {
    let found = log.entries(R, LogIndex(first), LogIndex(last), usize::MAX).unwrap();
    found.iter().map(|entry| (entry.index.0, entry.term.0)).collect()
}

fn appended_entries_are_read_back_in_pages(twin: &mut dyn Twin) {
    let log = twin.log();
    log.write_synced(&[live(R, 1), append(R, 1, &[1, 1, 2, 2])]).unwrap();
    let written = entries(1, &[1, 1, 2, 2]);
    assert_eq!(log.entries(R, LogIndex(1), LogIndex(4), usize::MAX).unwrap(), written);
    assert_eq!(log.entries(R, LogIndex(2), LogIndex(3), usize::MAX).unwrap(), written[1..3]);
    assert_eq!(log.entries(R, LogIndex(2), LogIndex(4), 1).unwrap(), written[1..2], "at least one");
    let two = written[0].data.len() + 1;
    assert_eq!(log.entries(R, LogIndex(1), LogIndex(4), two).unwrap(), written[..2], "the one that reaches the bound");
    assert_eq!(read(&*log, 4, 9), [(4, 2)], "the log ends before");
}

fn appending_over_a_tail_replaces_it(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1, 1, 1, 1, 1])]).unwrap();
    twin.log().write_synced(&[append(R, 3, &[2])]).unwrap();
    for _ in 0..2 {
        assert_eq!(read(&*twin.log(), 1, 9), [(1, 1), (2, 1), (3, 2)]);
        assert_eq!(load_one(twin).terms, [(LogIndex(1), Term(1)), (LogIndex(3), Term(2))]);
        twin.reopen();
    }
    twin.log().write_synced(&[append(R, 4, &[2]), append(R, 2, &[3])]).unwrap();
    assert_eq!(read(&*twin.log(), 1, 9), [(1, 1), (2, 3)], "within one batch too");
    twin.reopen();
    assert_eq!(load_one(twin).last, LogIndex(2));
}

fn what_was_written_survives_the_process(twin: &mut dyn Twin) {
    let state = HardState { term: Term(4), vote: ReplicaId(2), commit: LogIndex(7) };
    let record = ReplicaRecord::Installing { replica: ReplicaId(3), snapshot: holdfast_engine::SnapshotId(1 << 90) };
    let ops = [
        LogOp::SetReplica { range: R, record },
        start(R, 5, 3),
        append(R, 6, &[3, 4]),
        LogOp::SetHardState { range: R, state },
    ];
    twin.log().write_synced(&ops).unwrap();
    twin.reopen();
    let expected = LoadedLog {
        range: R,
        record,
        hard_state: state,
        start: LogStart { index: LogIndex(5), term: Term(3) },
        terms: vec![(LogIndex(6), Term(3)), (LogIndex(7), Term(4))],
        last: LogIndex(7),
        sizes: load_one(twin).sizes,
    };
    assert_eq!(load_one(twin), expected);
    assert_eq!(read(&*twin.log(), 6, 7), [(6, 3), (7, 4)]);
    for record in [ReplicaRecord::Quarantined { replica: ReplicaId(3) }, ReplicaRecord::Live { replica: ReplicaId(9) }]
    {
        twin.log().write_synced(&[LogOp::SetReplica { range: R, record }]).unwrap();
        twin.reopen();
        assert_eq!(load_one(twin), LoadedLog { record, ..expected.clone() });
    }
}

fn cutting_keeps_the_rest_and_its_terms(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1, 1, 1, 2])]).unwrap();
    twin.log().write_synced(&[start(R, 2, 1)]).unwrap();
    for _ in 0..2 {
        let loaded = load_one(twin);
        assert_eq!(loaded.start, LogStart { index: LogIndex(2), term: Term(1) });
        assert_eq!(loaded.terms, [(LogIndex(3), Term(1)), (LogIndex(4), Term(2))]);
        assert_eq!(read(&*twin.log(), 3, 4), [(3, 1), (4, 2)]);
        twin.reopen();
    }
    twin.log().write_synced(&[start(R, 4, 2)]).unwrap();
    twin.reopen();
    let loaded = load_one(twin);
    assert_eq!((loaded.last, loaded.terms.len()), (LogIndex(4), 0), "cut to its end");
    twin.log().write_synced(&[append(R, 5, &[2])]).unwrap();
    assert_eq!(read(&*twin.log(), 5, 5), [(5, 2)]);
}

fn start_behind_the_end_empties_the_log(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1, 1])]).unwrap();
    twin.log().write_synced(&[start(R, 100, 6), append(R, 101, &[7])]).unwrap();
    twin.reopen();
    let loaded = load_one(twin);
    assert_eq!((loaded.start.index, loaded.last), (LogIndex(100), LogIndex(101)));
    assert_eq!(read(&*twin.log(), 101, 101), [(101, 7)]);
}

fn start_of_another_term_empties_the_log(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1, 1, 1, 1])]).unwrap();
    twin.log().write_synced(&[start(R, 2, 5)]).unwrap();
    for _ in 0..2 {
        assert_eq!(load_one(twin).last, LogIndex(2), "what diverged from the snapshot does not stay behind it");
        assert_eq!(read(&*twin.log(), 3, 4), []);
        twin.reopen();
    }
}

fn batch_with_a_hole_is_refused_whole(twin: &mut dyn Twin) {
    let log = twin.log();
    log.write_synced(&[live(R, 1), append(R, 1, &[1])]).unwrap();
    let other = RangeId(8);
    for bad in [append(R, 3, &[1]), append(R, 2, &[]), append(R, 2, &[2, 1]), append(R, 0, &[1])] {
        let refused = log.write_synced(&[live(other, 1), bad]);
        assert!(matches!(refused, Err(Fault::Damage { .. })), "{refused:?}");
    }
    drop(log);
    assert_eq!(load_one(twin).last, LogIndex(1));
    twin.log().write_synced(&[append(R, 2, &[1])]).unwrap();
    twin.reopen();
    assert_eq!(load_one(twin).last, LogIndex(2));
}

fn tombstone_takes_the_log_with_it(twin: &mut dyn Twin) {
    let state = HardState { term: Term(4), vote: ReplicaId(2), commit: LogIndex(1) };
    let ops = [live(R, 1), start(R, 5, 5), append(R, 6, &[5, 5]), LogOp::SetHardState { range: R, state }];
    twin.log().write_synced(&ops).unwrap();
    let record = ReplicaRecord::Tombstone { next: ReplicaId(2), clearing: false };
    twin.log().write_synced(&[LogOp::SetReplica { range: R, record }]).unwrap();
    for _ in 0..2 {
        let (start, hard_state) = (LogStart::default(), HardState::default());
        let (terms, last, sizes) = (vec![], LogIndex(0), LogSizes::default());
        let bare = LoadedLog { range: R, record, hard_state, start, terms, last, sizes };
        assert_eq!(load_one(twin), bare);
        assert_eq!(read(&*twin.log(), 6, 7), []);
        twin.reopen();
    }
}

fn forgotten_range_is_gone(twin: &mut dyn Twin) {
    let ops = [live(R, 1), start(R, 5, 5), append(R, 6, &[5, 5]), live(RangeId(8), 1)];
    twin.log().write_synced(&ops).unwrap();
    twin.log().write_synced(&[LogOp::Forget { range: R }]).unwrap();
    for _ in 0..2 {
        assert_eq!(load_one(twin).range, RangeId(8));
        twin.reopen();
    }
    twin.log().write_synced(&[LogOp::Forget { range: R }, live(R, 2), append(R, 1, &[1])]).unwrap();
    twin.reopen();
    assert_eq!(read(&*twin.log(), 1, 9), [(1, 1)]);
}

fn store_records_are_kept_by_name(twin: &mut dyn Twin) {
    let set = |name, value: &'static [u8]| LogOp::SetStoreRecord { name, value: Bytes::from_static(value) };
    twin.log().write_synced(&[set("identity", b"s1"), set("incarnation", b"1")]).unwrap();
    twin.log().write_synced(&[set("incarnation", b"2")]).unwrap();
    twin.reopen();
    assert_eq!(twin.log().store_record("identity").unwrap().unwrap(), "s1");
    assert_eq!(twin.log().store_record("incarnation").unwrap().unwrap(), "2");
    assert_eq!(twin.log().store_record("other").unwrap(), None);
}

fn counter_counts_batches_and_survives(twin: &mut dyn Twin) {
    assert_eq!(twin.log().counter().0, 0);
    assert_eq!(twin.log().write_synced(&[live(R, 1)]).unwrap().0, 1);
    assert_eq!(twin.log().write_synced(&[append(R, 1, &[1])]).unwrap().0, 2);
    twin.reopen();
    assert_eq!(twin.log().counter().0, 2);
    assert_eq!(twin.log().write_synced(&[]).unwrap().0, 3);
}

fn ranges_do_not_mix(twin: &mut dyn Twin) {
    let ops: Vec<_> = (1..=3).flat_map(|r| [live(RangeId(r), 1), append(RangeId(r), 1, &[r; 3])]).collect();
    twin.log().write_synced(&ops).unwrap();
    twin.reopen();
    for r in 1..=3 {
        let found = twin.log().entries(RangeId(r), LogIndex(1), LogIndex(9), usize::MAX).unwrap();
        assert_eq!(found, entries(1, &[r; 3]));
    }
    assert_eq!(twin.log().load().unwrap().iter().map(|l| l.range.0).collect::<Vec<_>>(), [1, 2, 3]);
}

fn damaged_entry_is_a_fault(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1, 1, 1])]).unwrap();
    assert!(matches!(twin.corrupt_entry(R, LogIndex(2)), Err(Fault::Damage { .. })));
}

fn range_without_a_record_is_damage(twin: &mut dyn Twin) {
    twin.log().write_synced(&[append(R, 1, &[1])]).unwrap();
    assert!(matches!(twin.log().load(), Err(Fault::Damage { .. })));
}

fn reading_what_was_cut_gives_nothing(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1, 1, 1]), start(R, 2, 1)]).unwrap();
    assert_eq!(read(&*twin.log(), 1, 3), [], "the log begins behind it: a snapshot is needed");
    assert_eq!(read(&*twin.log(), 4, 9), []);
    let unknown = twin.log().entries(RangeId(99), LogIndex(1), LogIndex(2), 1).unwrap();
    assert!(unknown.is_empty());
}

fn bytes_of_a_log_follow_its_cuts_and_are_found_at_opening(twin: &mut dyn Twin) {
    const PAYLOAD: usize = 100_000;
    let entry = |index| LogEntry { index: LogIndex(index), term: Term(1), data: Bytes::from(vec![7; PAYLOAD]) };
    let large =
        |first: u64, count: u64| LogOp::Append { range: R, entries: (first..first + count).map(entry).collect() };
    let near = |twin: &dyn Twin, entries: u64| {
        let told = load_one(twin).sizes.total_bytes();
        let written = entries * (PAYLOAD as u64 + limits::LOG_ENTRY_OVERHEAD_BYTES);
        assert!(told.abs_diff(written) <= limits::LOG_SIZE_RUN_BYTES, "{told} B are told, {written} B written");
    };
    twin.log().write_synced(&[live(R, 1), large(1, 60)]).unwrap();
    near(twin, 60);
    twin.log().write_synced(&[start(R, 25, 1), large(51, 1)]).unwrap();
    for _ in 0..2 {
        near(twin, 26);
        twin.reopen();
    }
    twin.log().write_synced(&[start(R, 100, 1), large(101, 15)]).unwrap();
    near(twin, 15);
    let record = ReplicaRecord::Tombstone { next: ReplicaId(2), clearing: false };
    twin.log().write_synced(&[LogOp::SetReplica { range: R, record }]).unwrap();
    near(twin, 0);
}
