//! What this crate needs to read from a consistent view of the data instance. The store adapts its engine's snapshot to it.

use bytes::Bytes;
use holdfast_proto::convert::BadMessage;
use holdfast_types::storage::Version;
use holdfast_types::{ClientId, Key, KeyRange, RangeId, Row, ScanMode, Slot, Timestamp, VersionedValue};

/// Something could not be read. Never an answer to a caller.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadFault {
    /// It is damaged, or the disk cannot read it: the replica is quarantined.
    #[error("{0}")]
    Damaged(String),
    /// The system is short of something (file descriptors, memory): it may be read later.
    #[error("{0}")]
    Exhausted(String),
    /// A newer program wrote it.
    #[error("{what} has version {found}, this program knows up to {known}: start the version that wrote it")]
    UnknownVersion {
        /// Which format.
        what: &'static str,
        /// What was found.
        found: u32,
        /// The newest one known.
        known: u32,
    },
}

impl ReadFault {
    /// What was read cannot be decoded; `place` says what it is.
    pub(crate) fn unreadable(place: impl std::fmt::Display, bad: BadMessage) -> Self {
        match bad {
            BadMessage::UnknownVersion { what, found, known } => Self::UnknownVersion { what, found, known },
            BadMessage::Malformed(detail) => Self::Damaged(format!("{place}: {detail}")),
        }
    }
}

/// One page to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanQuery {
    /// Which keys.
    pub bounds: KeyRange,
    /// From the end to the start.
    pub reverse: bool,
    /// At most this many rows (at least one).
    pub max_rows: u32,
    /// Stops after the row that reaches this many bytes of keys and values.
    pub max_bytes: u32,
    /// Newest versions at or before this.
    pub at: Timestamp,
    /// Fleet time for expiry: values whose end lies at or before it are gone.
    pub now: Timestamp,
    /// What is brought of each row.
    pub mode: ScanMode,
}

/// A page that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Rows in the order of the scan.
    pub rows: Vec<Row>,
    /// Rows that were read beside them and not brought, by [`ScanMode::Count`].
    pub counted: u32,
    /// When the first of the rows that were counted expires; `None`: never.
    pub counted_until: Option<Timestamp>,
    /// Where to go on: forward the next start, reverse the next end. `None`: the bounds are exhausted. A page may be empty and
    /// yet have one, when much was skipped.
    pub resume: Option<Key>,
}

/// A consistent view of the data instance.
pub trait Reader {
    /// The newest value of `key` at or before `at`; `None` when there is none, it is a tombstone, or it expired at `now`.
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, ReadFault>;
    /// The newest version of `key` at or before `at`, tombstones and expired values included.
    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, ReadFault>;
    /// One page of rows.
    fn scan(&self, query: &ScanQuery) -> Result<Page, ReadFault>;
    /// A completion record.
    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, ReadFault>;
    /// Completion records of a range in the order of (client, slot), those after `after`; at most `max`.
    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, ReadFault>;
}
