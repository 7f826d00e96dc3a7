//! The data instance: no write-ahead log, one column family.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use holdfast_types::{Key, KeyRange, RangeId, Timestamp};
use parking_lot::Mutex;
use rocksdb::{
    BottommostLevelCompaction, Cache, CompactOptions, DB, Options, Range, ReadOptions, WaitForCompactOptions,
    WriteBatch, WriteOptions,
};

use super::files::{disk_space, make_folder};
use super::gc::{GcFactory, GcState};
use super::open::{data_options, sweep_built};
use super::view::{RocksCursor, RocksView, scan_options};
use super::{fault, reserve};
use crate::contract::{
    DataEngine, DataOp, DataSnapshot, DiskSpace, EngineOptions, Fault, ReadTier, SnapshotId, SnapshotManifest,
};
use crate::layout::{self, DataKey};
use crate::read::VersionCursor;

/// Candidates that the search for the middle key keeps.
const MIDDLE_CANDIDATES: usize = 1_024;

/// The data instance of one store.
pub struct RocksData {
    pub(super) db: Arc<DB>,
    pub(super) snapshots: PathBuf,
    /// Options for files that are ingested.
    pub(super) file_options: Options,
    /// Staged snapshots that were verified by this process.
    pub(super) verified: Mutex<BTreeSet<SnapshotId>>,
    gc: GcState,
    unsynced: WriteOptions,
    _lock: Arc<File>,
}

impl RocksData {
    pub(super) fn open(dir: &Path, options: &EngineOptions, cache: &Cache, lock: Arc<File>) -> Result<Self, Fault> {
        let snapshots = dir.join("snapshots");
        make_folder(&snapshots)?;
        sweep_built(&snapshots)?;
        let gc = GcState::default();
        let db_options = data_options(options, cache, Some(GcFactory(gc.clone())))?;
        let file_options = data_options(options, cache, None)?;
        let db = DB::open(&db_options, dir.join("data")).map_err(|error| fault("opening the data instance", &error))?;
        let mut unsynced = WriteOptions::default();
        unsynced.disable_wal(true);
        let verified = Mutex::new(BTreeSet::new());
        Ok(Self { db: Arc::new(db), snapshots, file_options, verified, gc, unsynced, _lock: lock })
    }

    /// Compacts everything now: for tests and for an administrator's request. A compaction that runs already began under older thresholds:
    /// it is waited for, and what it wrote is compacted again.
    pub fn compact(&self) -> Result<(), Fault> {
        let waited = self.db.wait_for_compact(&WaitForCompactOptions::default());
        waited.map_err(|error| fault("waiting for compactions of the data instance", &error))?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }
}

fn add(batch: &mut WriteBatch, op: &DataOp) {
    match op {
        DataOp::PutVersion { key, timestamp, version } => {
            batch.put(layout::version_key(key, *timestamp), layout::encode_value(version));
        }
        DataOp::RemoveVersion { key, timestamp } => batch.delete(layout::version_key(key, *timestamp)),
        DataOp::SetRangeState { range, state } => batch.put(layout::state_key(*range), state),
        DataOp::RemoveRangeState { range } => {
            batch.delete(layout::state_key(*range));
            let (start, end) = layout::completion_span(*range);
            batch.delete_range(start, end);
        }
        DataOp::PutCompletion { range, client, slot, record } => {
            batch.put(layout::completion_key(*range, *client, *slot), record);
        }
        DataOp::RemoveCompletion { range, client, slot } => {
            batch.delete(layout::completion_key(*range, *client, *slot));
        }
        DataOp::ClearKeys { bounds } if bounds.is_empty() => {}
        DataOp::ClearKeys { bounds } => {
            let (start, end) = layout::version_span(bounds);
            batch.delete_range(start, end);
        }
    }
}

/// Keys of a walk with the bytes before them, thinned out as it grows.
struct Candidates {
    kept: Vec<(Key, u64)>,
    step: u64,
    last: Option<Key>,
    bytes: u64,
}

impl Candidates {
    fn add(&mut self, key: Key, weight: u64) {
        if self.last.as_ref() != Some(&key) {
            let due = self.kept.last().is_none_or(|(_, before)| self.bytes - before >= self.step);
            if due {
                self.kept.push((key.clone(), self.bytes));
            }
            self.last = Some(key);
        }
        self.bytes += weight;
        if self.kept.len() > MIDDLE_CANDIDATES {
            self.thin();
        }
    }

    /// Drops candidates while the next one is no more than a (doubled) step behind the last that stays.
    fn thin(&mut self) {
        while self.kept.len() > MIDDLE_CANDIDATES / 2 {
            self.step = (self.step * 2).max(1);
            let all = std::mem::take(&mut self.kept);
            let mut following = all.iter().skip(1).map(|(_, before)| *before).collect::<Vec<_>>().into_iter();
            for (key, before) in all {
                let next = following.next().unwrap_or(u64::MAX);
                if self.kept.last().is_none_or(|(_, stays)| next - stays > self.step) {
                    self.kept.push((key, before));
                }
            }
        }
    }

    /// The candidate nearest to the half that lies behind `start`.
    fn middle(self, start: &Key) -> Option<Key> {
        let half = self.bytes / 2;
        let inside = self.kept.into_iter().filter(|(key, _)| key > start);
        inside.min_by_key(|(_, before)| before.abs_diff(half)).map(|(key, _)| key)
    }
}

impl DataEngine for RocksData {
    fn write(&self, ops: &[DataOp]) -> Result<(), Fault> {
        let mut batch = WriteBatch::default();
        ops.iter().for_each(|op| add(&mut batch, op));
        self.db.write_opt(batch, &self.unsynced).map_err(|error| fault("writing data", &error))
    }

    fn snapshot(&self) -> Arc<dyn DataSnapshot> {
        Arc::new(RocksView::new(Arc::clone(&self.db), self.gc.guard()))
    }

    fn range_state(&self, range: RangeId, tier: ReadTier) -> Result<Option<Bytes>, Fault> {
        let mut options = ReadOptions::default();
        options.set_read_tier(match tier {
            ReadTier::All => rocksdb::ReadTier::All,
            ReadTier::Persisted => rocksdb::ReadTier::Persisted,
        });
        let found = self.db.get_opt(layout::state_key(range), &options);
        found.map(|state| state.map(Bytes::from)).map_err(|error| fault("reading the state of a range", &error))
    }

    fn range_states(&self) -> Result<Vec<(RangeId, Bytes)>, Fault> {
        let all = (layout::state_key(RangeId(0)), layout::bound_key(Some(&Key::MIN)));
        let mut cursor = RocksCursor::over(self.db.raw_iterator_opt(scan_options(all)));
        cursor.seek_raw(&layout::state_key(RangeId(0)))?;
        let mut found = Vec::new();
        while let Some(key) = cursor.key()? {
            let range = match key {
                DataKey::State(range) => {
                    let state = cursor.raw().map(|(_, state)| Bytes::copy_from_slice(state)).unwrap_or_default();
                    found.push((range, state));
                    range
                }
                DataKey::Completion(range, _, _) => range,
                DataKey::Version(..) => break,
            };
            // Past the completion records of this range.
            cursor.seek_raw(&layout::local_span(range).1)?;
        }
        Ok(found)
    }

    fn flush(&self) -> Result<(), Fault> {
        self.db.flush().map_err(|error| fault("flushing data", &error))
    }

    fn set_gc_threshold(&self, range: RangeId, threshold: Option<(KeyRange, Timestamp)>) {
        self.gc.set(range, threshold);
    }

    fn approximate_size(&self, bounds: &KeyRange) -> Result<u64, Fault> {
        if bounds.is_empty() {
            return Ok(0);
        }
        let (start, end) = layout::version_span(bounds);
        Ok(self.db.get_approximate_sizes(&[Range::new(&start, &end)]).into_iter().sum())
    }

    fn middle_key(&self, bounds: &KeyRange) -> Result<Option<Key>, Fault> {
        if bounds.is_empty() {
            return Ok(None);
        }
        let mut options = scan_options(layout::version_span(bounds));
        options.fill_cache(false);
        let mut cursor = RocksCursor::over(self.db.raw_iterator_opt(options));
        let mut candidates = Candidates { kept: Vec::new(), step: 0, last: None, bytes: 0 };
        cursor.seek(&bounds.start, Timestamp::MAX)?;
        while let Some((key, _)) = cursor.position()? {
            let weight = cursor.raw().map_or(0, |(key, value)| key.len() + value.len());
            candidates.add(key, weight as u64);
            cursor.next()?;
        }
        Ok(candidates.middle(&bounds.start))
    }

    fn disk_space(&self) -> Result<DiskSpace, Fault> {
        disk_space(&self.snapshots)
    }

    fn keep_reserve(&self) {
        // There is room later, or there is none: it is tried again.
        let _ = self.snapshots.parent().map(reserve::keep);
    }

    fn build_snapshot(
        &self,
        view: &dyn DataSnapshot,
        id: SnapshotId,
        range: RangeId,
        bounds: &KeyRange,
    ) -> Result<SnapshotManifest, Fault> {
        self.build(view, id, range, bounds)
    }

    fn read_snapshot(&self, id: SnapshotId, file: usize, offset: u64, max_bytes: usize) -> Result<Bytes, Fault> {
        self.read_built(id, file, offset, max_bytes)
    }

    fn begin_install(&self, manifest: &SnapshotManifest) -> Result<(), Fault> {
        self.begin_staging(manifest)
    }

    fn staged_manifest(&self, id: SnapshotId) -> Result<Option<SnapshotManifest>, Fault> {
        self.staged(id)
    }

    fn received(&self, id: SnapshotId) -> Result<Vec<u64>, Fault> {
        self.staged_lengths(id)
    }

    fn receive(&self, id: SnapshotId, file: usize, offset: u64, data: &[u8]) -> Result<(), Fault> {
        self.stage(id, file, offset, data)
    }

    fn verify_install(&self, id: SnapshotId) -> Result<(), Fault> {
        self.verify_staged(id)
    }

    fn install(&self, id: SnapshotId) -> Result<(), Fault> {
        self.ingest_staged(id)
    }

    fn drop_snapshot(&self, id: SnapshotId) -> Result<(), Fault> {
        self.forget(id)
    }
}
