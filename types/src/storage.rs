//! Plain data that crosses the storage seam: what the log and the data instance of a store hold. The replica crate names
//! changes in these words, the engine carries them out.

use bytes::Bytes;

use crate::ids::{ClientId, LogIndex, RangeId, ReplicaId, Slot, Term};
use crate::key::Key;
use crate::range::KeyRange;
use crate::time::Timestamp;

/// An entry of a raft log; the bytes are the replica's own affair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// Its position.
    pub index: LogIndex,
    /// The term in which it was proposed.
    pub term: Term,
    /// The encoded raft entry.
    pub data: Bytes,
}

/// Raft's hard state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// Who got this replica's vote in that term; `ReplicaId(0)`: nobody.
    pub vote: ReplicaId,
    /// The newest index known to be committed. May be synced late, but never ahead of the log.
    pub commit: LogIndex,
}

/// The position before the first entry of a log: what a snapshot, a split or truncation left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogStart {
    /// Index of the last entry that is not in the log any more.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
}

/// What a store remembers of a range in its log instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplicaRecord {
    /// This replica lives here (or is about to: it is *unborn* until the data instance has its range state).
    Live {
        /// Its id.
        replica: ReplicaId,
    },
    /// A snapshot is being installed for this replica: repeat the install at start.
    Installing {
        /// Its id.
        replica: ReplicaId,
        /// The staged snapshot.
        snapshot: SnapshotId,
    },
    /// Replicas below `next` must never act again; `clearing`: their data is still being deleted. The log goes with the end of
    /// the clearing: until then it is what brings back the right side of a split that the data instance has not persisted.
    Tombstone {
        /// The smallest id that may live here again.
        next: ReplicaId,
        /// True until the deletion is persisted.
        clearing: bool,
    },
    /// Damaged: it neither votes nor acknowledges, and waits to be replaced under a new id.
    Quarantined {
        /// Its id.
        replica: ReplicaId,
    },
}

/// One change of the log instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogOp {
    /// Appends entries; whatever stood at or after the first one's index is replaced. Entries are contiguous and not empty.
    Append {
        /// Whose log.
        range: RangeId,
        /// The entries.
        entries: Vec<LogEntry>,
    },
    /// Sets the hard state.
    SetHardState {
        /// Whose.
        range: RangeId,
        /// The state.
        state: HardState,
    },
    /// Drops entries up to and including `start.index`; the log then begins after it. If the log ended before it (a
    /// snapshot, a new range) or has another term there (it diverged from the snapshot), it is empty afterwards.
    SetStart {
        /// Whose log.
        range: RangeId,
        /// The new start.
        start: LogStart,
    },
    /// Sets the record of a replica. A tombstone removes log, start and hard state in the same step.
    SetReplica {
        /// The range.
        range: RangeId,
        /// The record.
        record: ReplicaRecord,
    },
    /// Forgets a range altogether.
    Forget {
        /// The range.
        range: RangeId,
    },
    /// Sets a record of the store itself (identity, incarnation, counters, neighbours), by name.
    SetStoreRecord {
        /// The name.
        name: &'static str,
        /// Its bytes; the kv crate's affair.
        value: Bytes,
    },
}

/// The kind of one version, as its header on disk says. 2 is reserved for intents of transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Version {
    /// A value, perhaps with an end.
    Value {
        /// The bytes.
        value: Bytes,
        /// It is as if deleted from then on.
        expires_at: Option<Timestamp>,
    },
    /// The key was deleted.
    Tombstone,
}

/// One change of the data instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DataOp {
    /// Writes a version.
    PutVersion {
        /// The key.
        key: Key,
        /// The version.
        timestamp: Timestamp,
        /// What it says.
        version: Version,
    },
    /// Removes one version for good (garbage collection).
    RemoveVersion {
        /// The key.
        key: Key,
        /// The version.
        timestamp: Timestamp,
    },
    /// Sets the state of a range (descriptor, applied index, thresholds); the replica crate's bytes.
    SetRangeState {
        /// The range.
        range: RangeId,
        /// Its state.
        state: Bytes,
    },
    /// Removes the state of a range and all its completion records.
    RemoveRangeState {
        /// The range.
        range: RangeId,
    },
    /// Sets a completion record; the replica crate's bytes.
    PutCompletion {
        /// The range.
        range: RangeId,
        /// The client.
        client: ClientId,
        /// Its slot.
        slot: Slot,
        /// The record.
        record: Bytes,
    },
    /// Removes a completion record.
    RemoveCompletion {
        /// The range.
        range: RangeId,
        /// The client.
        client: ClientId,
        /// Its slot.
        slot: Slot,
    },
    /// Removes all versions of all keys within bounds (a replica was destroyed).
    ClearKeys {
        /// The bounds.
        bounds: KeyRange,
    },
}

/// Names a snapshot of a range while it is built, sent and installed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SnapshotId(pub u128);
