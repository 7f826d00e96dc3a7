//! What is written to disk comes back, and nothing else is taken for it.

use bytes::Bytes;
use holdfast_replica::command::{
    Command, CommandBody, Completion, EvaluatedWrite, Garbage, GarbageKey, GarbageRecord, MembershipCommand, Split,
    WriteOutcome,
};
use holdfast_replica::range_state::RangeState;
use holdfast_replica::slots::{CompletionRecord, request_hash};
use holdfast_types::{
    ClientId, Condition, Expected, Key, KeyspaceId, LogIndex, Mutation, RangeId, ReplicaId, Request, Sequence, Slot,
    Term, Timestamp, VersionedValue, limits,
};
use proptest::prelude::*;

use crate::model::{descriptor, fresh_state, key, put};

fn any_bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

pub fn any_key() -> impl Strategy<Value = Key> {
    proptest::collection::vec(b'a'..=b'z', 1..4).prop_map(|user| Key::bound(KeyspaceId(1), &user))
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let expires_at = proptest::option::of((1u64..1 << 60).prop_map(Timestamp));
    (any_key(), proptest::option::of(any_bytes()), expires_at).prop_map(|(key, value, expires_at)| Mutation {
        key,
        value,
        expires_at,
    })
}

fn any_outcome() -> impl Strategy<Value = WriteOutcome> {
    let expires_at = proptest::option::of((1..=u64::MAX).prop_map(Timestamp));
    let actual = (any_bytes(), any::<u64>(), expires_at).prop_map(|(value, timestamp, expires_at)| VersionedValue {
        value,
        timestamp: Timestamp(timestamp),
        expires_at,
    });
    prop_oneof![
        3 => Just(WriteOutcome::Written),
        1 => (0u32..9, proptest::option::of(actual))
            .prop_map(|(index, actual)| WriteOutcome::ConditionFailed { index, actual }),
        1 => (0u32..9, proptest::option::of(any_key()))
            .prop_map(|(deleted, resume)| WriteOutcome::RangeDeleted { deleted, resume }),
    ]
}

fn any_completion() -> impl Strategy<Value = Completion> {
    (1u128..4, 0u16..4, 0u64..5, 0u64..200_000, any::<u64>()).prop_map(|(client, slot, sequence, ms, request_hash)| {
        let (client, slot, sequence) = (ClientId(client << 64 | client), Slot(slot), Sequence(sequence));
        Completion { client, slot, sequence, last_moment: Timestamp::from_ms(ms), request_hash }
    })
}

fn any_write() -> impl Strategy<Value = EvaluatedWrite> {
    let mutations = proptest::collection::vec(any_mutation(), 0..4);
    (mutations, any_outcome(), proptest::option::of(any_completion())).prop_map(
        |(mut mutations, outcome, completion)| {
            mutations.sort_by(|a, b| a.key.cmp(&b.key));
            mutations.dedup_by(|a, b| a.key == b.key);
            EvaluatedWrite { timestamp: Timestamp::ZERO, mutations, outcome, completion }
        },
    )
}

fn any_garbage() -> impl Strategy<Value = Garbage> {
    let times = proptest::collection::vec((0u64..300).prop_map(|n| Timestamp::from_ms(n * 1_000)), 0..3);
    let keys = (any_key(), times).prop_map(|(key, timestamps)| GarbageKey { key, timestamps });
    let records =
        any_completion().prop_map(|Completion { client, slot, sequence, .. }| GarbageRecord { client, slot, sequence });
    (proptest::collection::vec(keys, 0..4), proptest::collection::vec(records, 0..6))
        .prop_map(|(keys, records)| Garbage { keys, records })
}

/// Commands of one log: timestamps grow by a second each; epochs are sometimes wrong.
pub fn any_log() -> impl Strategy<Value = Vec<Command>> {
    let body = prop_oneof![
        8 => proptest::collection::vec(any_write(), 1..4).prop_map(CommandBody::Writes),
        1 => (any_key(), 8u64..20)
            .prop_map(|(at, right)| CommandBody::Split(Split { at, right: RangeId(right), right_leader: ReplicaId(2) })),
        1 => (0u64..200).prop_map(|n| CommandBody::RaiseGcThreshold(Timestamp::from_ms(n * 1_000))),
        2 => any_garbage().prop_map(|garbage| CommandBody::CollectGarbage { timestamp: Timestamp::ZERO, garbage }),
        1 => Just(CommandBody::PassTime(Timestamp::ZERO)),
    ];
    let command = (prop_oneof![6 => Just(1u64), 2 => Just(2), 1 => Just(3)], body);
    proptest::collection::vec(command, 0..24).prop_map(|commands| {
        let mut clock = 0;
        let mut stamp = |to: &mut Timestamp| {
            clock += 1;
            *to = Timestamp::from_ms(clock * 1_000);
        };
        let command = |(bounds_epoch, mut body)| {
            match &mut body {
                CommandBody::Writes(writes) => writes.iter_mut().for_each(|write| stamp(&mut write.timestamp)),
                CommandBody::CollectGarbage { timestamp, .. } | CommandBody::PassTime(timestamp) => stamp(timestamp),
                CommandBody::Split(_) | CommandBody::RaiseGcThreshold(_) => {}
            }
            Command { bounds_epoch, body }
        };
        commands.into_iter().map(command).collect()
    })
}

proptest! {
    #[test]
    fn commands_round_trip(log in any_log()) {
        for command in log {
            prop_assert_eq!(Command::decode(command.clone().encode()), Ok(command));
        }
    }

    #[test]
    fn completion_records_round_trip(outcome in any_outcome(), completion in any_completion(), at in any::<u64>()) {
        let at = at.min(Timestamp::from_ms(limits::MAX_WALL_MS).0);
        let write = EvaluatedWrite { timestamp: Timestamp(at), mutations: vec![], outcome, completion: Some(completion) };
        let (_, record) = CompletionRecord::of(&write).unwrap();
        prop_assert_eq!(CompletionRecord::decode(record.encode()), Ok(record));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
        let raw = Bytes::from(raw);
        let _ = Command::decode(raw.clone());
        let _ = CompletionRecord::decode(raw.clone());
        let _ = MembershipCommand::decode(raw.clone());
        let _ = RangeState::decode(raw);
    }

    #[test]
    fn damaged_commands_are_refused_or_another_command(log in any_log(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        for command in log {
            let mut raw = command.encode().to_vec();
            let at = at.index(raw.len());
            raw[at] ^= 1 << bit;
            let _ = Command::decode(raw.into());
        }
    }
}

#[test]
fn range_state_round_trips() {
    let state = RangeState {
        applied: LogIndex(99),
        applied_term: Term(8),
        gc_threshold: Timestamp(5),
        last_timestamp: Timestamp(77),
        ..fresh_state()
    };
    assert_eq!(RangeState::decode(state.encode()), Ok(state));
    let membership = MembershipCommand::to(&descriptor());
    assert_eq!(MembershipCommand::decode(membership.encode()), Ok(membership));
}

#[test]
fn versions_that_are_not_known_are_refused() {
    let record = CompletionRecord {
        sequence: Sequence(1),
        last_moment: Timestamp(1),
        request_hash: 1,
        timestamp: Timestamp(1),
        outcome: WriteOutcome::Written,
    };
    let command = Command { bounds_epoch: 1, body: CommandBody::RaiseGcThreshold(Timestamp(1)) };
    let refused = |raw: Bytes, decode: &dyn Fn(Bytes) -> Option<String>| {
        let mut raw = raw.to_vec();
        assert_eq!(raw[..2], [8, 1], "the version comes first");
        raw[1] = 2;
        let found = decode(raw.clone().into()).expect("version 2 is not known");
        assert!(found.contains("version 2"), "{found}");
        assert!(decode(raw.split_off(2).into()).is_some(), "without a version it is damaged");
    };
    refused(fresh_state().encode(), &|raw| RangeState::decode(raw).err().map(|e| e.to_string()));
    refused(record.encode(), &|raw| CompletionRecord::decode(raw).err().map(|e| e.to_string()));
    refused(command.encode(), &|raw| Command::decode(raw).err().map(|e| e.to_string()));
    refused(MembershipCommand::to(&descriptor()).encode(), &|raw| {
        MembershipCommand::decode(raw).err().map(|e| e.to_string())
    });
}

#[test]
fn a_decoded_command_shares_the_memory_of_its_entry() {
    let value = Bytes::from(vec![7; 4_096]);
    let mutations = vec![Mutation { key: key("c"), value: Some(value), expires_at: None }];
    let write = EvaluatedWrite { timestamp: Timestamp(1), mutations, outcome: WriteOutcome::Written, completion: None };
    let entry = Command { bounds_epoch: 1, body: CommandBody::Writes(vec![write]) }.encode();
    let CommandBody::Writes(writes) = Command::decode(entry.clone()).unwrap().body else { panic!("writes") };
    let value = writes[0].mutations[0].value.as_ref().unwrap();
    assert!(entry.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn request_hash_tells_requests_apart_and_does_not_change() {
    let absent = Condition { key: key("a"), expected: Expected::Absent };
    let conditional = Request::Write { conditions: vec![absent], mutations: vec![] };
    let requests = [put("a", "1"), put("a", "2"), put("b", "1"), put("ab", ""), put("a", "b"), conditional];
    for (i, one) in requests.iter().enumerate() {
        for other in &requests[..i] {
            assert_ne!(request_hash(one), request_hash(other));
        }
    }
    assert_eq!(request_hash(&put("a", "1")), request_hash(&put("a", "1")));
    assert_eq!(request_hash(&put("key", "value")), STORED_HASH, "it is stored: its definition must not change");
}

/// Of a put of "value" to "key" in keyspace 1.
const STORED_HASH: u64 = 11_052_445_169_940_206_832;

#[test]
fn records_outlive_every_attempt_of_their_slot() {
    let last_moment = Timestamp::from_ms(100_000);
    let (sequence, timestamp, outcome) = (Sequence(1), Timestamp(1), WriteOutcome::Written);
    let record = CompletionRecord { sequence, last_moment, request_hash: 1, timestamp, outcome };
    assert!(!record.may_go(last_moment.after(limits::MAX_LAST_MOMENT_AHEAD)));
    assert!(record.may_go(last_moment.after(limits::MAX_LAST_MOMENT_AHEAD * 2)));
}
