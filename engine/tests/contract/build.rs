//! Short names for what tests write.

use bytes::Bytes;
use holdfast_engine::{DataOp, LogEntry, LogOp, LogStart, ReplicaRecord, ScanOptions, Version};
use holdfast_types::{
    ClientId, Key, KeyRange, KeyspaceId, LogIndex, RangeId, ReplicaId, ScanMode, Slot, Term, Timestamp,
};

pub const R: RangeId = RangeId(7);

pub fn key(name: &str) -> Key {
    Key::bound(KeyspaceId(1), name.as_bytes())
}

pub fn bounds(start: &str, end: &str) -> KeyRange {
    KeyRange { start: key(start), end: Some(key(end)) }
}

pub fn value(text: &str) -> Version {
    Version::Value { value: Bytes::copy_from_slice(text.as_bytes()), expires_at: None }
}

pub fn expiring(text: &str, end: u64) -> Version {
    Version::Value { value: Bytes::copy_from_slice(text.as_bytes()), expires_at: Some(Timestamp(end)) }
}

pub fn put(name: &str, at: u64, version: Version) -> DataOp {
    DataOp::PutVersion { key: key(name), timestamp: Timestamp(at), version }
}

pub fn remove(name: &str, at: u64) -> DataOp {
    DataOp::RemoveVersion { key: key(name), timestamp: Timestamp(at) }
}

pub fn state(range: RangeId, text: &str) -> DataOp {
    DataOp::SetRangeState { range, state: Bytes::copy_from_slice(text.as_bytes()) }
}

pub fn completion(range: RangeId, client: u128, slot: u16, text: &str) -> DataOp {
    let record = Bytes::copy_from_slice(text.as_bytes());
    DataOp::PutCompletion { range, client: ClientId(client), slot: Slot(slot), record }
}

/// Everything in bounds, newest, nothing expired.
pub fn all_of(bounds: KeyRange) -> ScanOptions {
    let at = Timestamp::MAX;
    let (now, mode) = (Timestamp::ZERO, ScanMode::Rows);
    ScanOptions { bounds, reverse: false, max_rows: 1_000, max_bytes: 1 << 20, at, now, mode }
}

pub fn entries(first: u64, terms: &[u64]) -> Vec<LogEntry> {
    let make = |(i, term): (usize, &u64)| {
        let index = LogIndex(first + i as u64);
        LogEntry { index, term: Term(*term), data: Bytes::from(format!("entry {index} of {term}")) }
    };
    terms.iter().enumerate().map(make).collect()
}

pub fn append(range: RangeId, first: u64, terms: &[u64]) -> LogOp {
    LogOp::Append { range, entries: entries(first, terms) }
}

pub fn start(range: RangeId, index: u64, term: u64) -> LogOp {
    LogOp::SetStart { range, start: LogStart { index: LogIndex(index), term: Term(term) } }
}

pub fn live(range: RangeId, replica: u64) -> LogOp {
    LogOp::SetReplica { range, record: ReplicaRecord::Live { replica: ReplicaId(replica) } }
}
