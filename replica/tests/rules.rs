//! Rules that scripts do not reach: what the log may lose, what a snapshot must be, what apply refuses.

#![allow(clippy::print_stdout, clippy::too_many_lines, clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "each test binary uses its part")]
mod group;

use std::time::Duration;

use bytes::Bytes;
use holdfast_replica::apply::{self, AppliedChange, ApplyTask, CommittedEntry, EntryKind};
use holdfast_replica::command::{Command, CommandBody, EvaluatedWrite, WriteOutcome};
use holdfast_replica::range_state::RangeState;
use holdfast_replica::reader::ReadFault;
use holdfast_replica::{Input, RaftEnvelope, StagedSnapshot};
use holdfast_types::storage::{DataOp, LogEntry, SnapshotId};
use holdfast_types::{LogIndex, Mutation, RangeDescriptor, ReplicaId, Request, StoreId, Term, Timestamp};

use self::group::{Group, RANGE};

fn led_group(stores: u64) -> Group {
    let mut group = Group::default();
    group.found(stores, stores, 0);
    group.advance(Duration::from_millis(500));
    group
}

fn leader(group: &Group) -> StoreId {
    let leads = |id: &&StoreId| group.status_of(**id, RANGE).is_some_and(|status| status.role == "leader");
    *group.stores.keys().find(leads).unwrap()
}

fn put(group: &mut Group, at: StoreId, user: &str) {
    let mutations = vec![mutation(user)];
    group.request(at, RANGE, format!("put {user}"), Request::Write { conditions: Vec::new(), mutations });
    group.run();
}

fn mutation(user: &str) -> Mutation {
    Mutation { key: Group::key(user), value: Some(Bytes::from_static(b"x")), expires_at: None }
}

fn state(group: &Group, at: StoreId) -> RangeState {
    RangeState::decode(group.stores[&at].data.states[&RANGE].clone()).unwrap()
}

#[test]
fn log_is_cut_only_behind_what_the_data_has_persisted() {
    let mut group = led_group(1);
    let store = StoreId(1);
    put(&mut group, store, "a");
    group.flush(store);
    let persisted = state(&group, store).applied;
    put(&mut group, store, "b");
    put(&mut group, store, "c");
    let applied = state(&group, store).applied;
    assert_eq!(applied, LogIndex(persisted.0 + 2));
    group.step(store, RANGE, Input::AppliedPersisted { index: persisted, keep_bytes: u64::MAX });
    group.run();
    assert_eq!(group.stores[&store].log.ranges[&RANGE].start.index, persisted);

    group.kill(store);
    group.restart(store);
    group.advance(Duration::from_millis(500));
    assert!(state(&group, store).applied > applied, "what the data lost is applied again from the log");
}

#[test]
fn snapshot_whose_data_is_older_than_its_message_is_not_taken() {
    let mut group = led_group(3);
    let from = leader(&group);
    let to = *group.stores.keys().find(|id| **id != from).unwrap();
    let others: Vec<StoreId> = group.stores.keys().copied().filter(|id| *id != to).collect();
    group.cut.extend(others.iter().flat_map(|other| [(to, *other), (*other, to)]));
    put(&mut group, from, "a");
    let older = state(&group, from);
    put(&mut group, from, "b");
    let newer = state(&group, from);

    let before = group.status_of(to, RANGE).unwrap();
    assert!(before.last < older.applied);
    let envelope = group.stores[&from].replicas[&RANGE].snapshot_message(ReplicaId(to.0), &newer).unwrap();
    let staged = StagedSnapshot { snapshot: SnapshotId(9), range_state: older.encode() };
    group.step(to, RANGE, Input::SnapshotStaged { from_store: from, envelope, staged });
    let after = group.status_of(to, RANGE).unwrap();
    assert_eq!((after.role, after.committed, after.last), (before.role, before.committed, before.last));
    assert!(group.events.iter().any(|event| event.ends_with("declines a snapshot")), "{:?}", group.events);
}

/// What is staged takes one of the store's few places for snapshots: whoever does not take it must say so.
#[test]
fn snapshot_of_a_term_that_is_over_is_declined() {
    let mut group = led_group(3);
    let from = leader(&group);
    let to = *group.stores.keys().find(|id| **id != from).unwrap();
    put(&mut group, from, "a");
    let stale = state(&group, from);
    let envelope = group.stores[&from].replicas[&RANGE].snapshot_message(ReplicaId(to.0), &stale).unwrap();
    group.kill(from);
    group.advance(Duration::from_secs(2));
    assert_ne!(leader(&group), from);
    let before = group.status_of(to, RANGE).unwrap();
    group.events.clear();
    let staged = StagedSnapshot { snapshot: SnapshotId(9), range_state: stale.encode() };
    group.step(to, RANGE, Input::SnapshotStaged { from_store: from, envelope, staged });
    assert_eq!(group.events, [format!("{to}: declines a snapshot")]);
    let after = group.status_of(to, RANGE).unwrap();
    assert_eq!((after.role, after.committed, after.last), (before.role, before.committed, before.last));
}

/// A learner hears nothing more from its range once it is removed: the store may hear it elsewhere.
#[test]
fn replica_that_missed_its_removal_goes_when_the_store_hears_of_it_and_only_then() {
    let mut group = led_group(3);
    let at = *group.stores.keys().last().unwrap();
    let mut heard = state(&group, at).descriptor;
    let hear = |group: &mut Group, descriptor: &RangeDescriptor| {
        group.step(at, RANGE, Input::Heard { descriptor: Box::new(descriptor.clone()) });
        group.run();
        group.stores[&at].replicas.contains_key(&RANGE)
    };
    assert!(hear(&mut group, &heard), "it is named");
    let mine = heard.replicas.iter().position(|r| r.store == at).unwrap();
    let removed = heard.replicas.remove(mine);
    heard.next_replica = removed.replica;
    assert!(hear(&mut group, &heard), "a descriptor from before it came");
    heard.next_replica = removed.replica.next();
    assert!(!hear(&mut group, &heard), "ids are never used again: it was removed");
}

#[test]
fn leader_that_is_told_to_yield_hands_over_or_stays_where_nobody_else_can_lead() {
    let mut group = led_group(3);
    let first = leader(&group);
    group.step(first, RANGE, Input::Yield);
    group.run();
    let second = leader(&group);
    assert_ne!(second, first);
    let mut alone = led_group(1);
    let only = leader(&alone);
    alone.step(only, RANGE, Input::Yield);
    put(&mut alone, only, "a");
    assert_eq!(leader(&alone), only);
}

#[test]
fn write_that_was_evaluated_under_other_bounds_is_dropped() {
    let group = led_group(1);
    let mut state = state(&group, StoreId(1));
    let evaluated_under = state.descriptor.epoch.bounds;
    state.descriptor.epoch.bounds += 1;
    let write = EvaluatedWrite {
        timestamp: Timestamp(9),
        mutations: vec![mutation("a")],
        outcome: WriteOutcome::Written,
        completion: None,
    };
    let command = Command { bounds_epoch: evaluated_under, body: CommandBody::Writes(vec![write]) };
    let kind = EntryKind::Normal(command.encode());
    let entries = vec![CommittedEntry { index: state.applied.next(), term: Term(6), kind }];
    let (ops, applied) = apply::run(ApplyTask { state, entries }, &group.stores[&StoreId(1)].data).unwrap();
    assert_eq!(applied.results[0].change, AppliedChange::Dropped);
    assert!(ops.iter().all(|op| matches!(op, DataOp::SetRangeState { .. })), "{ops:?}");
}

#[test]
fn entry_of_a_newer_program_is_no_damage() {
    let mut group = led_group(1);
    let store = StoreId(1);
    put(&mut group, store, "a");
    let (state, index) = (state(&group, store), state(&group, store).applied.next());
    let command = holdfast_proto::v1::StoredCommand { version: 9, ..Default::default() };
    let raw = raft::eraftpb::Entry {
        index: index.0,
        term: 6,
        data: prost::Message::encode_to_vec(&command),
        ..Default::default()
    };
    let entry = LogEntry { index, term: Term(6), data: prost011::Message::encode_to_vec(&raw).into() };
    let replayed = holdfast_replica::replay_page(state, ReplicaId(1), &[entry], &group.stores[&store].data);
    assert!(matches!(replayed, Err(ReadFault::UnknownVersion { found: 9, .. })), "{replayed:?}");
}

#[test]
fn descriptor_that_names_nobody_creates_nothing() {
    let group = led_group(2);
    let descriptor = state(&group, StoreId(1)).descriptor;
    let mut replicas = descriptor.replicas.clone();
    replicas[1].replica = ReplicaId(0);
    let envelope = |descriptor: RangeDescriptor, to| RaftEnvelope {
        range: RANGE,
        from: ReplicaId(1),
        to,
        descriptor: Some(descriptor),
        stamp: None,
        message: Bytes::new(),
    };
    let good = envelope(descriptor.clone(), ReplicaId(2));
    assert!(holdfast_replica::may_create(&good, StoreId(1), StoreId(2)));
    let nobody = envelope(RangeDescriptor { replicas, ..descriptor }, ReplicaId(0));
    assert!(!holdfast_replica::may_create(&nobody, StoreId(1), StoreId(2)), "raft knows no replica 0");
}
