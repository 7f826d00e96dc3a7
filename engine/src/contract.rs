//! The contract of the two storage instances of a store. Implementations: `rocks` (feature `rocksdb`) and [`crate::memory`].
//! One suite of tests runs over both.
//!
//! - [`LogEngine`], the log instance: raft logs, hard states, replica identities, store records. Every write is one batch
//!   for all ranges, synced before it returns.
//! - [`DataEngine`], the data instance: versions of keys, range states, completion records. No write-ahead log: what was
//!   written since the last flush is lost with the process and comes back from the raft log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use holdfast_types::storage::{DataOp, HardState, LogEntry, LogOp, LogStart, ReplicaRecord, SnapshotId, Version};
use holdfast_types::{
    ClientId, Key, KeyRange, LogCounter, LogIndex, LogSizes, RangeId, Row, ScanMode, Slot, Term, Timestamp,
    VersionedValue,
};

/// A local failure: the disk, damage, a bug. Never an answer to a caller; it stops a replica or the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The operating system refused. After a failed sync nothing is tried again: the store stops.
    #[error("disk failed while {doing}: {detail}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        detail: String,
    },
    /// What was read is not what was written.
    #[error("damage found while {doing}: {detail}")]
    Damage {
        /// What was being done.
        doing: String,
        /// What is wrong.
        detail: String,
    },
    /// A format version that this program does not know.
    #[error("{what} has format version {found}, this program knows {known}: start the version that wrote it")]
    UnknownVersion {
        /// Which format.
        what: &'static str,
        /// What was found.
        found: u32,
        /// The newest one that this program knows.
        known: u32,
    },
    /// The data directory belongs to another process, fleet or store.
    #[error("{0}")]
    Identity(String),
    /// A thread of the store panicked: what it left undone is not known.
    #[error("a bug in Holdfast: {0}")]
    Bug(String),
    /// The system is short of something other than disk space (file descriptors, memory), or was interrupted. Nothing is wrong with
    /// what lies on the disk: what is asked again later, or by a new process, may well succeed.
    #[error("the system could not serve {doing} now: {detail}")]
    Exhausted {
        /// What was being done.
        doing: String,
        /// What the system said.
        detail: String,
    },
    /// No space is left.
    #[error("no space left while {0}")]
    Full(String),
}

impl Fault {
    /// True when what was to be read is damaged or cannot be read: whoever needs it must be rebuilt from others. Everything else is
    /// of the process or of its machine, and says nothing about the data.
    #[must_use]
    pub fn is_of_data(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Damage { .. })
    }
}

/// What is known of one range's log at start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedLog {
    /// The range.
    pub range: RangeId,
    /// What this store remembers of it.
    pub record: ReplicaRecord,
    /// Hard state; the default when none was written.
    pub hard_state: HardState,
    /// The position before the first entry.
    pub start: LogStart,
    /// The runs of equal terms in the log, as (first index of the run, term), ascending; empty when the log is empty.
    pub terms: Vec<(LogIndex, Term)>,
    /// Index of the last entry; `start.index` when the log is empty.
    pub last: LogIndex,
    /// How many bytes the entries take.
    pub sizes: LogSizes,
}

/// The log instance. One thread writes; any may read.
pub trait LogEngine: Send + Sync {
    /// Writes all operations as one batch and syncs it. After an error of the disk every later write fails too. A batch that
    /// would leave a hole is refused as [`Fault::Damage`] and nothing of it is written.
    fn write_synced(&self, ops: &[LogOp]) -> Result<LogCounter, Fault>;
    /// Entries from `first` up to and including `last`, stopping after the one that reaches `max_bytes` (at least one).
    /// A hole is [`Fault::Damage`]. Empty when the log begins behind `first` (it was cut meanwhile) or ends before it.
    fn entries(
        &self,
        range: RangeId,
        first: LogIndex,
        last: LogIndex,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, Fault>;
    /// Everything known at start, by range id. Verifies that every log is contiguous.
    fn load(&self) -> Result<Vec<LoadedLog>, Fault>;
    /// A record of the store.
    fn store_record(&self, name: &str) -> Result<Option<Bytes>, Fault>;
    /// The number of the newest synced batch.
    fn counter(&self) -> LogCounter;
}

/// What a read may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadTier {
    /// Everything written.
    All,
    /// Only what would survive the loss of the process now.
    Persisted,
}

/// One page of a scan over one range.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ScanPage {
    /// Rows in the order of the scan.
    pub rows: Vec<Row>,
    /// Rows that were read beside them and not brought, by [`ScanMode::Count`].
    pub counted: u32,
    /// When the first of the rows that were counted expires; `None`: never.
    pub counted_until: Option<Timestamp>,
    /// Where to go on: forward the next start, reverse the next end. `None`: the bounds are exhausted.
    pub resume: Option<Key>,
}

/// The bounds of one page.
#[derive(Clone, Debug)]
pub struct ScanOptions {
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

/// A consistent view of the data instance.
pub trait DataSnapshot: Send + Sync {
    /// The newest value of `key` at or before `at`; `None` when there is none, it is a tombstone, or it expired at `now`.
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, Fault>;
    /// The newest version of `key` at or before `at`, tombstones and expired values included.
    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, Fault>;
    /// One page of rows. Skipping deleted rows counts against an inner bound, so a page may be empty and yet have a `resume`.
    fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Fault>;
    /// All versions of keys in bounds, key by key and newest first, from `from` on; at most `max` versions. For GC and tests.
    fn versions(&self, bounds: &KeyRange, max: usize) -> Result<Vec<(Key, Timestamp, Version)>, Fault> {
        self.versions_after(bounds, None, max, usize::MAX)
    }
    /// All versions of keys in bounds as [`DataSnapshot::versions`], those behind `after` in that order; at most `max`, and it
    /// stops after the one that reaches `max_bytes`. So a walk may go on in the middle of a key.
    fn versions_after(
        &self,
        bounds: &KeyRange,
        after: Option<(&Key, Timestamp)>,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(Key, Timestamp, Version)>, Fault>;
    /// The state of a range.
    fn range_state(&self, range: RangeId) -> Result<Option<Bytes>, Fault>;
    /// A completion record.
    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, Fault>;
    /// Completion records of a range in the order of (client, slot), those after `after`; at most `max`.
    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, Fault>;
}

/// One file of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotFile {
    /// Its length.
    pub size_bytes: u64,
    /// xxh3-64 of its bytes.
    pub checksum: u64,
}

/// What a snapshot consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotManifest {
    /// Its name.
    pub id: SnapshotId,
    /// The range.
    pub range: RangeId,
    /// The keys that its files hold; what the target had there before is removed by the install.
    pub bounds: KeyRange,
    /// The range state in it, as [`DataSnapshot::range_state`] gave it.
    pub range_state: Bytes,
    /// Its files, in the order of their keys.
    pub files: Vec<SnapshotFile>,
    /// xxh3-64 over everything above, encoded: ties the files together.
    pub checksum: u64,
}

/// Space on the disk of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// All of it.
    pub total_bytes: u64,
    /// What can still be written.
    pub free_bytes: u64,
}

/// The data instance.
pub trait DataEngine: Send + Sync {
    /// Applies all operations as one batch, without syncing.
    fn write(&self, ops: &[DataOp]) -> Result<(), Fault>;
    /// A view of now.
    fn snapshot(&self) -> Arc<dyn DataSnapshot>;
    /// The state of a range as the tier sees it. `Persisted` gives the truncation point of the log.
    fn range_state(&self, range: RangeId, tier: ReadTier) -> Result<Option<Bytes>, Fault>;
    /// All range states, by range id.
    fn range_states(&self) -> Result<Vec<(RangeId, Bytes)>, Fault>;
    /// Persists everything written so far.
    fn flush(&self) -> Result<(), Fault>;
    /// Versions shadowed before `threshold` may go in compactions of keys in `bounds`. Kept in memory; set again at start.
    /// Replaces earlier thresholds of the same range; `None` removes them. A version that is not a key's oldest may be removed
    /// by [`DataOp::RemoveVersion`] only together with all older ones of that key: a compaction cannot know that what shadows
    /// is about to go.
    fn set_gc_threshold(&self, range: RangeId, threshold: Option<(KeyRange, Timestamp)>);
    /// Roughly the bytes on disk of keys in bounds; what was not flushed may be missing.
    fn approximate_size(&self, bounds: &KeyRange) -> Result<u64, Fault>;
    /// A key that cuts the bounds into halves of about equal size, if there is one strictly inside. Walks over all of them: slow;
    /// call it off the workers.
    fn middle_key(&self, bounds: &KeyRange) -> Result<Option<Key>, Fault>;
    /// Space on its disk.
    fn disk_space(&self) -> Result<DiskSpace, Fault>;
    /// Takes a reserve of disk space that was given up at an opening, once there is room for it again.
    fn keep_reserve(&self) {}

    /// Builds a snapshot of a range from `view`: files with its keys, its range state and its completion records.
    /// Slow; call it off the workers.
    fn build_snapshot(
        &self,
        view: &dyn DataSnapshot,
        id: SnapshotId,
        range: RangeId,
        bounds: &KeyRange,
    ) -> Result<SnapshotManifest, Fault>;
    /// A piece of a built snapshot's file; empty at its end.
    fn read_snapshot(&self, id: SnapshotId, file: usize, offset: u64, max_bytes: usize) -> Result<Bytes, Fault>;
    /// Begins to receive a snapshot; what was received under the same id stays, so that a transfer can be resumed.
    fn begin_install(&self, manifest: &SnapshotManifest) -> Result<(), Fault>;
    /// The manifest of a staged snapshot, after a restart too.
    fn staged_manifest(&self, id: SnapshotId) -> Result<Option<SnapshotManifest>, Fault>;
    /// How many bytes of each file have been received.
    fn received(&self, id: SnapshotId) -> Result<Vec<u64>, Fault>;
    /// Receives a piece; pieces of one file come in order. One that was received before is ignored.
    fn receive(&self, id: SnapshotId, file: usize, offset: u64, data: &[u8]) -> Result<(), Fault>;
    /// Checks every file against the manifest and syncs them. Damage is an error, and the snapshot is forgotten.
    fn verify_install(&self, id: SnapshotId) -> Result<(), Fault>;
    /// Puts the snapshot in place in one step: what was in its bounds (and the range's state and records) is replaced.
    /// Persisted when it returns. Idempotent.
    fn install(&self, id: SnapshotId) -> Result<(), Fault>;
    /// Forgets a built or staged snapshot.
    fn drop_snapshot(&self, id: SnapshotId) -> Result<(), Fault>;
}

/// Both instances of one store.
#[derive(Clone)]
pub struct Engines {
    /// The log instance.
    pub log: Arc<dyn LogEngine>,
    /// The data instance.
    pub data: Arc<dyn DataEngine>,
}

/// How the RocksDB instances are set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory for writes before they are flushed, data instance.
    pub memtable_bytes: usize,
    /// Files that the instances hold open, both together, beside those that they write.
    pub open_files: usize,
    /// Memory for blocks read, both instances together.
    pub block_cache_bytes: usize,
    /// The caller flushes the data instance at least this often: bounds the replay after a crash.
    pub flush_every: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            open_files: holdfast_types::limits::ENGINE_OPEN_FILES,
            memtable_bytes: 128 << 20,
            block_cache_bytes: 256 << 20,
            flush_every: Duration::from_secs(60),
        }
    }
}
