//! What a client asks of one range, and what it is answered.
//!
//! A [`Request`] always concerns one range; what spans several (a long scan, a batch get) is cut by the client core or by the
//! public service. Writes may carry a [`RequestId`]: then a retry is applied exactly once.

use bytes::Bytes;

use crate::ids::{ClientId, RangeId, Sequence, Slot, StoreId, Term};
use crate::key::Key;
use crate::limits::{ANSWER_OVERHEAD_BYTES, ROW_OVERHEAD_BYTES};
use crate::range::{KeyRange, RangeDescriptor, RangeEpoch};
use crate::time::Timestamp;

/// Names one write for ever, however often it is tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId {
    /// The client session.
    pub client: ClientId,
    /// One of its slots; one request at a time in each.
    pub slot: Slot,
    /// Grows with every new request of the slot.
    pub sequence: Sequence,
}

/// What makes a write exactly-once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WriteAttempt {
    /// The write.
    pub id: RequestId,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// In fleet time: past it this attempt is never evaluated. At most 60 s ahead.
    pub last_moment: Timestamp,
}

/// A stored value with the timestamp of its version.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VersionedValue {
    /// The bytes.
    pub value: Bytes,
    /// When it was written, in fleet time; the version of the key.
    pub timestamp: Timestamp,
    /// From this point of fleet time on it is gone; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// What a key must look like for a conditional write to happen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The key has this value.
    Value(Bytes),
    /// The newest version of the key is this one.
    Version(Timestamp),
}

/// A condition of a batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Condition {
    /// The key that is looked at.
    pub key: Key,
    /// What it must look like.
    pub expected: Expected,
}

/// One change of a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mutation {
    /// The key.
    pub key: Key,
    /// The new value; `None` deletes.
    pub value: Option<Bytes>,
    /// The value vanishes at this point of fleet time.
    pub expires_at: Option<Timestamp>,
}

/// What a scan brings of the rows that it reads.
///
/// A store that does not know a mode brings whole rows, from which the reader makes what was asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ScanMode {
    /// Keys and values.
    #[default]
    Rows,
    /// Keys, with versions and expiries; values are empty.
    Keys,
    /// How many rows there are, and none of them.
    Count,
}

/// What is asked of one range.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// Reads keys of one range at one point. One key is an ordinary get.
    Get {
        /// At least one, at most [`crate::limits::MAX_BATCH_KEYS`].
        keys: Vec<Key>,
        /// Read as of this timestamp; `None` reads the newest.
        at: Option<Timestamp>,
    },
    /// Reads one page of rows.
    Scan {
        /// The bounds asked for; the part within this range is read.
        bounds: KeyRange,
        /// From the end to the start.
        reverse: bool,
        /// At most this many rows.
        max_rows: u32,
        /// Stops after the row that reaches this many bytes.
        max_bytes: u32,
        /// Read as of this timestamp; `None` reads the newest and says at which timestamp that was. The next page of the same range
        /// names it, or the two do not belong together.
        at: Option<Timestamp>,
        /// What is brought of each row.
        mode: ScanMode,
    },
    /// Changes keys of one range, all or nothing: put and delete (one mutation, no condition), compare-and-set (one of
    /// each), atomic batch.
    Write {
        /// All must hold, or nothing is written.
        conditions: Vec<Condition>,
        /// At least one; keys are distinct.
        mutations: Vec<Mutation>,
    },
    /// Deletes one page of a range of keys, atomically.
    DeleteRange {
        /// The bounds asked for; the part within this range is deleted.
        bounds: KeyRange,
        /// At most this many keys; at most [`crate::limits::DELETE_RANGE_PAGE_KEYS`].
        max_keys: u32,
    },
}

impl Request {
    /// True for what changes data.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self, Request::Write { .. } | Request::DeleteRange { .. })
    }

    /// The key by which the request finds its range. Not of a reverse scan over several ranges: that begins in the range of its last
    /// key, so its sender names the range.
    #[must_use]
    pub fn routing_key(&self) -> Option<&Key> {
        match self {
            Request::Get { keys, .. } => keys.first(),
            Request::Scan { bounds, .. } | Request::DeleteRange { bounds, .. } => Some(&bounds.start),
            Request::Write { mutations, .. } => mutations.first().map(|m| &m.key),
        }
    }

    /// Bytes of keys and values carried, for budgets.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 64;
        let body = match self {
            Request::Get { keys, .. } => keys.iter().map(|k| k.raw().len()).sum(),
            Request::Scan { bounds, .. } | Request::DeleteRange { bounds, .. } => bounds.start.raw().len(),
            Request::Write { conditions, mutations } => {
                let expected = |c: &Condition| match &c.expected {
                    Expected::Value(value) => value.len(),
                    Expected::Absent | Expected::Version(_) => 0,
                };
                conditions.iter().map(|c| c.key.raw().len() + expected(c)).sum::<usize>()
                    + mutations
                        .iter()
                        .map(|m| m.key.raw().len() + m.value.as_ref().map_or(0, Bytes::len))
                        .sum::<usize>()
            }
        };
        OVERHEAD_BYTES + body
    }
}

impl Response {
    /// What the answer takes in memory, for budgets.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let of = |value: &VersionedValue| value.value.len();
        let beyond = match self {
            Response::Got { values } => {
                values.len() * ROW_OVERHEAD_BYTES + values.iter().flatten().map(of).sum::<usize>()
            }
            Response::Scanned { rows, .. } => {
                let row = |row: &Row| row.key.raw().len() + of(&row.value) + ROW_OVERHEAD_BYTES;
                rows.iter().map(row).sum()
            }
            Response::ConditionFailed { actual, .. } => actual.as_ref().map_or(0, of),
            Response::Written { .. } | Response::RangeDeleted { .. } => 0,
        };
        ANSWER_OVERHEAD_BYTES + beyond
    }
}

/// A row of a scan.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// Its newest value at the scan's timestamp.
    pub value: VersionedValue,
}

/// What a request is answered when it succeeded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Response {
    /// One answer a key, in the order of the request.
    Got {
        /// `None`: the key does not exist.
        values: Vec<Option<VersionedValue>>,
    },
    /// A page of rows.
    Scanned {
        /// In the order of the scan.
        rows: Vec<Row>,
        /// Rows that were read beside `rows` and not brought, by [`ScanMode::Count`].
        counted: u32,
        /// Where to go on; `None`: everything asked for has been read. Forward: the next page starts here. Reverse: it ends here.
        resume: Option<Key>,
        /// What the scan saw: everything up to here.
        at: Timestamp,
        /// The part of the bounds asked for that the range holds: all of it can be read at `at`, page by page, also when the range is
        /// split meanwhile. `None` from a store that does not say.
        within: Option<Box<KeyRange>>,
    },
    /// The write happened.
    Written {
        /// The version of every key that it wrote.
        timestamp: Timestamp,
    },
    /// A condition did not hold; nothing was written.
    ConditionFailed {
        /// Which of the conditions, from 0.
        index: u32,
        /// What the key looked like.
        actual: Option<VersionedValue>,
    },
    /// A page was deleted.
    RangeDeleted {
        /// Keys that existed and were deleted.
        deleted: u32,
        /// Where to go on; `None`: everything asked for has been deleted.
        resume: Option<Key>,
        /// The version of the tombstones.
        timestamp: Timestamp,
    },
}

/// A request on its way to its range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeRequest {
    /// The range that the sender believes responsible, and the epoch under which it believes that. `None`: any store
    /// that gets it looks the key up.
    pub range: Option<(RangeId, RangeEpoch)>,
    /// Present when the write must be applied exactly once over retries.
    pub write: Option<WriteAttempt>,
    /// What is asked.
    pub request: Request,
}

/// Who leads a range, as far as the answering store knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LeaderHint {
    /// The store of the leader.
    pub store: StoreId,
    /// The client address of that store, when known.
    pub address: Option<String>,
}

/// A range and who leads it, as the answering store knows it: a hint, perhaps old.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// The newest descriptor known.
    pub descriptor: RangeDescriptor,
    /// Who leads; `None`: not known.
    pub leader: Option<LeaderHint>,
    /// The term of that leader, 0 when not known: of two leaders the one with the higher term is newer.
    pub term: Term,
}
