//! Applying is deterministic, and how entries are grouped into tasks does not matter.

use holdfast_replica::apply::{self, AppliedChange, AppliedEntry, ApplyTask, CommittedEntry, EntryKind};
use holdfast_replica::command::{Command, CommandBody, Garbage, GarbageKey, MembershipCommand, Split};
use holdfast_replica::range_state::RangeState;
use holdfast_types::storage::{DataOp, Version};
use holdfast_types::{KeyRange, LogIndex, RangeId, ReplicaId, Role, Term, Timestamp, limits};
use proptest::prelude::*;

use crate::encodings::any_log;
use crate::model::{Leader, Model, RANGE, attempt, fresh_state, key, put};

fn entries(log: Vec<Command>) -> Vec<CommittedEntry> {
    let first = limits::FIRST_LOG_INDEX + 1;
    let entry = |(index, command): (u64, Command)| CommittedEntry {
        index: LogIndex(index),
        term: Term(6),
        kind: EntryKind::Normal(command.encode()),
    };
    (first..).zip(log).map(entry).collect()
}

/// Applies in tasks of `size` entries.
fn apply_all(entries: &[CommittedEntry], size: usize) -> (Model, RangeState, Vec<AppliedEntry>) {
    let (mut model, mut state, mut results) = (Model::default(), fresh_state(), Vec::new());
    for entries in entries.chunks(size) {
        let task = ApplyTask { state, entries: entries.to_vec() };
        let again = apply::run(task.clone(), &model).unwrap();
        let (ops, applied) = apply::run(task, &model).unwrap();
        assert_eq!((&ops, &applied), (&again.0, &again.1), "the same entries give the same operations");
        model.write(ops);
        assert_eq!(RangeState::decode(model.states[&RANGE].clone()).unwrap(), applied.state);
        state = applied.state;
        results.extend(applied.results);
    }
    (model, state, results)
}

proptest! {
    #[test]
    fn one_task_or_many_come_to_the_same(log in any_log(), size in 1usize..6) {
        let entries = entries(log);
        let whole = apply_all(&entries, entries.len().max(1));
        prop_assert_eq!(&apply_all(&entries, 1), &whole);
        prop_assert_eq!(&apply_all(&entries, size), &whole);
    }

    #[test]
    fn commands_of_other_bounds_are_dropped(log in any_log()) {
        let epochs: Vec<_> = log.iter().map(|command| command.bounds_epoch).collect();
        let mut epoch = fresh_state().descriptor.epoch.bounds;
        let (_, _, results) = apply_all(&entries(log), 1);
        for (result, evaluated_under) in results.iter().zip(epochs) {
            if evaluated_under != epoch {
                prop_assert_eq!(&result.change, &AppliedChange::Dropped);
            }
            epoch += u64::from(matches!(result.change, AppliedChange::Split { .. }));
        }
    }
}

#[test]
fn split_gives_both_sides_their_state_and_records() {
    let mut leader = Leader::new();
    let last_moment = Timestamp::from_ms(leader.wall_ms + 5_000);
    leader.request(1, Some(attempt(9, 3, 1, 1, last_moment)), put("c", "left"));
    leader.settle();
    leader.request(2, Some(attempt(9, 4, 1, 1, last_moment)), put("p", "right"));
    leader.evaluate();
    leader.propose();
    // The split is proposed behind a write that is not applied, so that one task copies a record that it wrote itself.
    let split = Split { at: key("m"), right: RangeId(8), right_leader: ReplicaId(2) };
    let command = Command { bounds_epoch: 1, body: CommandBody::Split(split) };
    leader.log.push((leader.term, EntryKind::Normal(command.encode())));
    let applied = leader.apply(usize::MAX).unwrap();
    let AppliedChange::Split { left, right, right_leader } = &applied.results[1].change else { panic!("a split") };
    assert_eq!(left.bounds, KeyRange { start: key("b"), end: Some(key("m")) });
    assert_eq!(right.bounds, KeyRange { start: key("m"), end: Some(key("y")) });
    assert_eq!((left.epoch.bounds, right.epoch.bounds, *right_leader), (2, 2, ReplicaId(2)));
    let right_state = RangeState::decode(leader.model.states[&RangeId(8)].clone()).unwrap();
    assert_eq!(&right_state.descriptor, right);
    assert_eq!(right_state.applied, LogIndex(limits::FIRST_LOG_INDEX));
    assert_eq!(right_state.last_timestamp, leader.state.last_timestamp);
    let records = |range| leader.model.completions.keys().filter(move |(of, _, _)| *of == range).count();
    assert_eq!((records(RANGE), records(RangeId(8))), (2, 2));
}

#[test]
fn membership_changes_count_in_the_epoch_and_keep_the_bounds() {
    let mut after = fresh_state().descriptor;
    after.replicas[2].role = Role::OutgoingVoter;
    let kind = EntryKind::Membership(MembershipCommand::to(&after));
    let entry = CommittedEntry { index: LogIndex(limits::FIRST_LOG_INDEX + 1), term: Term(6), kind };
    let (_, state, results) = apply_all(&[entry], 1);
    assert_eq!(state.descriptor.epoch.membership, 2);
    assert!(state.descriptor.is_joint());
    assert_eq!(state.descriptor.bounds, after.bounds);
    assert_eq!(results[0].change, AppliedChange::Membership(state.descriptor));
}

/// What comes of one entry, if anything does.
fn apply_one(state: &RangeState, kind: EntryKind) -> Option<RangeState> {
    let entry = CommittedEntry { index: state.applied.next(), term: Term(6), kind };
    let task = ApplyTask { state: state.clone(), entries: vec![entry] };
    let (ops, applied) = apply::run(task, &Model::default()).ok()?;
    for op in ops {
        if let DataOp::SetRangeState { state, .. } = op {
            RangeState::decode(state).expect("what is written can be read again");
        }
    }
    Some(applied.state)
}

#[test]
fn what_could_not_be_read_again_is_a_fault_and_not_written() {
    let state = fresh_state();
    let nobody = MembershipCommand { replicas: Vec::new(), next_replica: ReplicaId(9) };
    assert_eq!(apply_one(&state, EntryKind::Membership(nobody.clone())), None);
    assert!(MembershipCommand::decode(nobody.encode()).is_err(), "nor is it taken in");
    let mut learners = MembershipCommand::to(&state.descriptor);
    learners.replicas.iter_mut().for_each(|replica| replica.role = Role::Learner);
    assert_eq!(apply_one(&state, EntryKind::Membership(learners)), None);
    let after = |state: &RangeState, body| {
        let bounds_epoch = state.descriptor.epoch.bounds;
        apply_one(state, EntryKind::Normal(Command { bounds_epoch, body }.encode()))
    };
    let latest = Timestamp::from_ms(limits::MAX_WALL_MS);
    let late = after(&state, CommandBody::PassTime(latest)).expect("it can be read again");
    assert_eq!(after(&late, CommandBody::PassTime(latest.next())), None);
    let mut old = state.clone();
    old.descriptor.epoch.bounds = limits::MAX_COUNTED;
    let split = Split { at: key("m"), right: RangeId(8), right_leader: ReplicaId(2) };
    assert_eq!(after(&old, CommandBody::Split(split)), None);
    let full = RangeState { applied: LogIndex(limits::MAX_COUNTED), ..state };
    assert_eq!(apply_one(&full, EntryKind::Empty), None);
}

#[test]
fn an_entry_that_cannot_be_read_is_a_fault_not_a_drop() {
    let kind = EntryKind::Normal(vec![0xff; 9].into());
    let entry = CommittedEntry { index: LogIndex(limits::FIRST_LOG_INDEX + 1), term: Term(6), kind };
    let task = ApplyTask { state: fresh_state(), entries: vec![entry] };
    assert!(apply::run(task, &Model::default()).is_err());
}

#[test]
fn versions_that_only_this_replica_still_has_go_with_the_marker_above_them() {
    let deleted = [(10, Some("old")), (20, Some("newer")), (30, None)];
    let all: Vec<_> = deleted.into_iter().chain([(90, Some("alive"))]).collect();
    // Elsewhere a compaction has dropped what the marker shadows, and so the finder saw the marker alone.
    let (mut uncompacted, mut compacted) = (Model::default(), Model::default());
    for (at, value) in all {
        let version = value.map_or(Version::Tombstone, |v| Version::Value { value: v.into(), expires_at: None });
        let put = DataOp::PutVersion { key: key("k"), timestamp: Timestamp(at), version };
        uncompacted.write(vec![put.clone()]);
        if at >= 30 {
            compacted.write(vec![put]);
        }
    }
    let found = GarbageKey { key: key("k"), timestamps: vec![Timestamp(30)] };
    let garbage = Garbage { keys: vec![found], records: Vec::new() };
    let state = RangeState { gc_threshold: Timestamp(50), ..fresh_state() };
    let body = CommandBody::CollectGarbage { timestamp: Timestamp(100), garbage };
    let entries = entries(vec![Command { bounds_epoch: state.descriptor.epoch.bounds, body }]);
    for model in [&mut uncompacted, &mut compacted] {
        let (ops, _) = apply::run(ApplyTask { state: state.clone(), entries: entries.clone() }, model).unwrap();
        model.write(ops);
        assert_eq!(model.versions.keys().map(|(_, at)| at.0).collect::<Vec<_>>(), [Timestamp(90)]);
    }
    assert_eq!(uncompacted, compacted);
}

/// A store that counts on from it and writes that down must start again.
#[test]
fn a_disk_may_hold_what_no_snapshot_may_bring() {
    let state = fresh_state();
    assert!(state.is_told());
    let index = RangeState { applied: LogIndex(limits::MAX_COUNTED), ..state.clone() };
    let time = RangeState { last_timestamp: Timestamp::from_ms(limits::MAX_WALL_MS), ..state.clone() };
    let mut epoch = state.clone();
    epoch.descriptor.epoch.membership = limits::MAX_COUNTED;
    let mut next = state;
    next.descriptor.next_replica = ReplicaId(limits::MAX_COUNTED);
    for far in [index, time, epoch, next] {
        assert_eq!(RangeState::decode(far.encode()), Ok(far.clone()));
        assert!(!far.is_told(), "{far:?}");
    }
}
