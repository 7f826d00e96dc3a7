//! What lies on a disk: entries of a log, the state of ranges, and the records of a store.

use bytes::Bytes;
use holdfast_engine::{DataOp, LogOp};
use holdfast_kv::core::records::{
    decode_keyspace, decode_next_id, decode_policy, decode_range, decode_rotation, decode_site, decode_store,
    decode_token, encode_keyspace, encode_next_id, encode_range, encode_rotation, encode_site, encode_store,
    encode_token,
};
use holdfast_kv::core::rights::{Book, Rights};
use holdfast_proto::convert::audit::{decode_entry, encode_entry};
use holdfast_proto::convert::rights::decode_rights;
use holdfast_replica::command::{Command, MembershipCommand};
use holdfast_replica::slots::CompletionRecord;
use holdfast_replica::{RangeState, replay_page};
use holdfast_types::storage::{HardState, LogStart};
use holdfast_types::{Key, KeyspaceId, LogIndex, RangeId, ReplicaId, Term, TrustDomain};

use crate::pieces;
use crate::store::{SHARED, Store, entry};

/// Each piece is the payload of an entry (with an odd tag: of a change of the replicas), replayed over a range as after a restart.
pub(crate) fn log_entries(input: &[u8]) {
    let store = Store::founded();
    let mut state = store.state(RangeId::SYSTEM);
    for piece in pieces::cut(input) {
        let decoded = Command::decode(piece.bytes.clone());
        if let Ok(command) = &decoded {
            assert_eq!(Command::decode(command.clone().encode()).as_ref(), Ok(command));
        }
        if let Ok(membership) = MembershipCommand::decode(piece.bytes.clone()) {
            membership.change(&mut state.descriptor.clone());
        }
        let term = state.applied_term;
        let entry = entry(state.applied.next(), term, piece.tag & 1 == 1, &piece.bytes);
        if let Ok(page) = replay_page(state.clone(), ReplicaId(1), &[entry], &store.reader()) {
            state = page.state;
            assert_eq!(RangeState::decode(state.encode()), Ok(state.clone()), "what was applied can be read again");
        }
    }
}

/// Each piece is a record of the kind that its tag says. Those of a start are put on a disk, and the store starts.
pub(crate) fn storage_records(input: &[u8]) {
    let mut store = Store::founded();
    for piece in pieces::cut(input) {
        let bytes = piece.bytes;
        let named = |name| vec![LogOp::SetStoreRecord { name, value: bytes.clone() }];
        let ops = match piece.tag % 19 {
            0 => named("seen-stores"),
            1 => named("outdated"),
            2 => named("identity"),
            3 => named("range-counter-00"),
            4 => {
                store.write_data(&[DataOp::SetRangeState { range: SHARED, state: bytes.clone() }]);
                Vec::new()
            }
            5 => {
                let numbers = numbers(&bytes);
                let state = HardState {
                    term: Term::bounded(numbers[0]).unwrap_or_default(),
                    vote: ReplicaId::bounded(numbers[1]).unwrap_or_default(),
                    commit: LogIndex::bounded(numbers[2]).unwrap_or_default(),
                };
                vec![LogOp::SetHardState { range: SHARED, state }]
            }
            6 => {
                let numbers = numbers(&bytes);
                let start = LogStart {
                    index: LogIndex::bounded(numbers[0]).unwrap_or_default(),
                    term: Term::bounded(numbers[1]).unwrap_or_default(),
                };
                vec![LogOp::SetStart { range: SHARED, start }]
            }
            kind => {
                record_of_the_system_range(kind, &bytes);
                Vec::new()
            }
        };
        if !ops.is_empty() {
            store.write_log(&ops);
        }
        store.restart();
        store.run(200);
    }
}

/// A record of rights, under each of the names that one may have: what can be read makes rights.
fn rights(bytes: &Bytes) {
    let domain = TrustDomain::new("f").expect("a name");
    let names = ["rights/version", "rights/role/r", "rights/client/*", "rights/client/c"];
    for name in names.map(|name| Key::bound(KeyspaceId::SYSTEM, name.as_bytes())) {
        if let Ok(book) = Book::read(&[(name, bytes.clone())]) {
            drop(Rights::compile(domain.clone(), &book));
        }
    }
    if let Ok(Ok(book)) = decode_rights(bytes.clone()).map(|rows| Book::read(&rows)) {
        book.check().expect("it was read");
    }
}

/// What can be read can be written and read again.
fn record_of_the_system_range(kind: u8, bytes: &Bytes) {
    match kind {
        7 => again(bytes, decode_store, encode_store),
        8 => again(bytes, decode_site, encode_site),
        9 => again(bytes, decode_range, encode_range),
        10 => drop(decode_policy(bytes)),
        11 => again(bytes, decode_keyspace, encode_keyspace),
        12 => again(bytes, decode_next_id, |next| encode_next_id(*next)),
        13 => drop(CompletionRecord::decode(bytes.clone()).map(|record| record.may_go(record.timestamp))),
        14 => again(bytes, decode_rotation, encode_rotation),
        15 => again(bytes, decode_entry, encode_entry),
        16 => rights(bytes),
        17 => again(bytes, decode_token, encode_token),
        _ => drop(RangeState::decode(bytes.clone())),
    }
}

fn again<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    bytes: &Bytes,
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Bytes,
) {
    if let Ok(record) = decode(bytes) {
        assert_eq!(decode(&encode(&record)).expect("it was read before"), record);
    }
}

fn numbers(bytes: &[u8]) -> [u64; 3] {
    let mut numbers = [0; 3];
    for (number, raw) in numbers.iter_mut().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..raw.len()].copy_from_slice(raw);
        *number = u64::from_be_bytes(padded);
    }
    numbers
}
