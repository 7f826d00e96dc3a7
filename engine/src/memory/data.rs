//! The data instance in memory. What was written since the last flush is lost with the process.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_types::{ClientId, Key, KeyRange, RangeId, Slot, Timestamp, VersionedValue};

use super::disk::{DiskState, Shared, damage, io};
use super::pages::PagedMap;
use super::snapshot::Snapshots;
use crate::contract::{
    DataEngine, DataOp, DataSnapshot, DiskSpace, Fault, ReadTier, ScanOptions, ScanPage, SnapshotId, SnapshotManifest,
    Version,
};
use crate::read::{self, Outline, VersionCursor};

/// Names a flush that was begun.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FlushToken(u64);

type VersionKey = (Key, Reverse<Timestamp>);

/// A version, or what is left of it.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Good(Version),
    Damaged,
}

/// All data at one moment. A clone is three reference counts.
#[derive(Clone, Default)]
pub(super) struct DataImage {
    pub(super) versions: PagedMap<VersionKey, Cell>,
    states: Arc<BTreeMap<RangeId, Bytes>>,
    completions: PagedMap<(RangeId, ClientId, Slot), Bytes>,
}

impl DataImage {
    pub(super) fn apply(&mut self, op: &DataOp) {
        match op {
            DataOp::PutVersion { key, timestamp, version } => {
                self.versions.insert((key.clone(), Reverse(*timestamp)), Cell::Good(version.clone()));
            }
            DataOp::RemoveVersion { key, timestamp } => {
                self.versions.remove(&(key.clone(), Reverse(*timestamp)));
            }
            DataOp::SetRangeState { range, state } => {
                Arc::make_mut(&mut self.states).insert(*range, state.clone());
            }
            DataOp::RemoveRangeState { range } => self.clear_range(*range),
            DataOp::PutCompletion { range, client, slot, record } => {
                self.completions.insert((*range, *client, *slot), record.clone());
            }
            DataOp::RemoveCompletion { range, client, slot } => {
                self.completions.remove(&(*range, *client, *slot));
            }
            DataOp::ClearKeys { bounds } => self.clear_keys(bounds),
        }
    }

    pub(super) fn clear_range(&mut self, range: RangeId) {
        Arc::make_mut(&mut self.states).remove(&range);
        let doomed: Vec<_> = self.completions_of(range, None).map(|(key, _)| *key).collect();
        for key in doomed {
            self.completions.remove(&key);
        }
    }

    pub(super) fn clear_keys(&mut self, bounds: &KeyRange) {
        let doomed: Vec<_> = self.within(bounds).map(|(key, _)| key.clone()).collect();
        for key in doomed {
            self.versions.remove(&key);
        }
    }

    fn completions_of(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
    ) -> impl Iterator<Item = (&(RangeId, ClientId, Slot), &Bytes)> {
        let first = match after {
            None => Bound::Included((range, ClientId(0), Slot(0))),
            Some((client, slot)) => Bound::Excluded((range, client, slot)),
        };
        self.completions.walk(first).take_while(move |((of, _, _), _)| *of == range)
    }

    fn within<'a>(&'a self, bounds: &'a KeyRange) -> impl Iterator<Item = (&'a VersionKey, &'a Cell)> {
        let first = Bound::Included((bounds.start.clone(), Reverse(Timestamp::MAX)));
        self.versions.walk(first).take_while(|((key, _), _)| bounds.is_before_end(key))
    }

    /// Keys in bounds with what they weigh, versions of a key together.
    fn weights(&self, bounds: &KeyRange) -> BTreeMap<Key, u64> {
        let mut weights = BTreeMap::new();
        for ((key, _), cell) in self.within(bounds) {
            let weight = match cell {
                Cell::Good(version) => read::weight(key, version),
                Cell::Damaged => 0,
            };
            *weights.entry(key.clone()).or_default() += weight;
        }
        weights
    }

    fn corrupt(&mut self, key: &Key) -> bool {
        let bounds = KeyRange { start: key.clone(), end: Some(key.next()) };
        let found: Vec<_> = self.within(&bounds).map(|(key, _)| key.clone()).collect();
        for version in &found {
            self.versions.insert(version.clone(), Cell::Damaged);
        }
        !found.is_empty()
    }

    /// Drops versions that a newer one, older than the threshold, shadows: what a compaction may do.
    fn compact(&mut self, bounds: &KeyRange, threshold: Timestamp) {
        let mut doomed = Vec::new();
        let mut shadowed_by: Option<Key> = None;
        for (version, _) in self.within(bounds) {
            let (key, Reverse(timestamp)) = version;
            if shadowed_by.as_ref() == Some(key) {
                doomed.push(version.clone());
            } else if *timestamp < threshold {
                shadowed_by = Some(key.clone());
            }
        }
        for version in doomed {
            self.versions.remove(&version);
        }
    }
}

/// A cursor over an image.
struct ImageCursor<'a> {
    image: &'a DataImage,
    at: Option<(&'a VersionKey, &'a Cell)>,
}

impl VersionCursor for ImageCursor<'_> {
    fn seek(&mut self, key: &Key, at: Timestamp) -> Result<(), Fault> {
        self.at = self.image.versions.first_from(Bound::Included(&(key.clone(), Reverse(at))));
        Ok(())
    }

    fn seek_before(&mut self, key: Option<&Key>) -> Result<(), Fault> {
        let bound = key.map(|key| (key.clone(), Reverse(Timestamp::MAX)));
        self.at = self.image.versions.last_before(bound.as_ref());
        Ok(())
    }

    fn next(&mut self) -> Result<(), Fault> {
        self.at = self.at.and_then(|(here, _)| self.image.versions.first_from(Bound::Excluded(here)));
        Ok(())
    }

    fn position(&self) -> Result<Option<(Key, Timestamp)>, Fault> {
        Ok(self.at.map(|((key, Reverse(timestamp)), _)| (key.clone(), *timestamp)))
    }

    fn version(&self) -> Result<Version, Fault> {
        match self.at {
            Some((_, Cell::Good(version))) => Ok(version.clone()),
            Some(((key, _), Cell::Damaged)) => Err(damage("reading data", format!("a version of {key} is damaged"))),
            None => Err(io("reading data", "the cursor stands nowhere")),
        }
    }

    fn outline(&self) -> Result<Option<Outline>, Fault> {
        Ok(match self.version()? {
            Version::Value { value, expires_at } => Some(Outline { expires_at, bytes: value.len() }),
            Version::Tombstone => None,
        })
    }
}

impl DataImage {
    fn cursor(&self) -> ImageCursor<'_> {
        ImageCursor { image: self, at: None }
    }
}

impl DataSnapshot for DataImage {
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, Fault> {
        let newest = self.newest_version(key, at)?;
        Ok(newest.and_then(|(timestamp, version)| read::visible(timestamp, version, now)))
    }

    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, Fault> {
        read::newest_version(&mut self.cursor(), key, at)
    }

    fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Fault> {
        read::scan(&mut self.cursor(), options)
    }

    fn versions_after(
        &self,
        bounds: &KeyRange,
        after: Option<(&Key, Timestamp)>,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(Key, Timestamp, Version)>, Fault> {
        read::versions(&mut self.cursor(), bounds, after, max, max_bytes)
    }

    fn range_state(&self, range: RangeId) -> Result<Option<Bytes>, Fault> {
        Ok(self.states.get(&range).cloned())
    }

    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, Fault> {
        Ok(self.completions.get(&(range, client, slot)).cloned())
    }

    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, Fault> {
        let records = self.completions_of(range, after).take(max);
        Ok(records.map(|((_, client, slot), record)| (*client, *slot, record.clone())).collect())
    }
}

/// The data on disk and in the memory of its process.
#[derive(Clone, Default)]
pub(super) struct DataState {
    pub(super) current: DataImage,
    pub(super) persisted: DataImage,
    flushing: BTreeMap<FlushToken, DataImage>,
    flushes: u64,
    failed: Option<Fault>,
    thresholds: BTreeMap<RangeId, (KeyRange, Timestamp)>,
    pub(super) snapshots: Snapshots,
}

impl DataState {
    pub(super) fn lose_unflushed(&mut self, kept: Option<FlushToken>) {
        if let Some(token) = kept {
            self.finish_flush(token);
        }
        self.current = self.persisted.clone();
        self.flushing.clear();
        self.failed = None;
        self.thresholds.clear();
    }

    pub(super) fn lose_unsynced_files(&mut self) {
        self.snapshots.lose_unsynced();
    }

    pub(super) fn corrupt(&mut self, key: &Key) -> bool {
        self.persisted.corrupt(key);
        self.current.corrupt(key)
    }

    pub(super) fn usable(&self) -> Result<(), Fault> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn begin_flush(&mut self) -> FlushToken {
        self.flushes += 1;
        let token = FlushToken(self.flushes);
        self.flushing.insert(token, self.current.clone());
        token
    }

    /// A flush that was overtaken by a later one changes nothing.
    fn finish_flush(&mut self, token: FlushToken) {
        if let Some(image) = self.flushing.remove(&token) {
            self.persisted = image;
            self.flushing.retain(|other, _| *other > token);
        }
    }

    /// Changes what is there and what is persisted in one step, as an ingest does: what was written before is flushed first.
    pub(super) fn change_persisted(&mut self, change: impl FnOnce(&mut DataImage)) {
        change(&mut self.current);
        self.persisted = self.current.clone();
        self.flushing.clear();
    }
}

/// A handle on the data instance of one process.
pub struct MemoryData {
    pub(super) shared: Shared,
}

impl MemoryData {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The first half of [`DataEngine::flush`]: everything written before is on its way. A crash may keep it or lose it, as a
    /// whole.
    pub fn begin_flush(&self) -> Result<FlushToken, Fault> {
        let mut state = self.shared.lock("flushing data")?;
        state.data.usable()?;
        Ok(state.data.begin_flush())
    }

    /// The second half: it is persisted, and with it what earlier flushes carried.
    pub fn finish_flush(&self, token: FlushToken) -> Result<(), Fault> {
        let mut state = self.shared.lock("flushing data")?;
        state.data.usable()?;
        let planned = std::mem::take(&mut state.faults.fail_next_flush);
        let fault = match (planned, state.faults.full) {
            (true, _) => io("flushing data", "planned failure"),
            (_, true) => Fault::Full("flushing data".to_owned()),
            _ => {
                state.data.finish_flush(token);
                return Ok(());
            }
        };
        state.data.failed = Some(fault.clone());
        Err(fault)
    }

    /// Drops at once what compactions may drop, as the thresholds stand.
    pub fn compact(&self) -> Result<(), Fault> {
        let mut state = self.shared.lock("compacting data")?;
        let DiskState { data, .. } = &mut *state;
        for (bounds, threshold) in data.thresholds.values() {
            data.current.compact(bounds, *threshold);
            data.persisted.compact(bounds, *threshold);
        }
        Ok(())
    }

    /// A snapshot's view, as a value.
    fn image(&self) -> DataImage {
        self.shared.lock_any().data.current.clone()
    }
}

impl DataEngine for MemoryData {
    fn write(&self, ops: &[DataOp]) -> Result<(), Fault> {
        let mut state = self.shared.lock("writing data")?;
        state.data.usable()?;
        for op in ops {
            state.data.current.apply(op);
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn DataSnapshot> {
        Arc::new(self.image())
    }

    fn range_state(&self, range: RangeId, tier: ReadTier) -> Result<Option<Bytes>, Fault> {
        let state = self.shared.lock("reading the state of a range")?;
        match tier {
            ReadTier::All => state.data.current.range_state(range),
            ReadTier::Persisted => state.data.persisted.range_state(range),
        }
    }

    fn range_states(&self) -> Result<Vec<(RangeId, Bytes)>, Fault> {
        let state = self.shared.lock("reading the states of ranges")?;
        Ok(state.data.current.states.iter().map(|(range, bytes)| (*range, bytes.clone())).collect())
    }

    fn flush(&self) -> Result<(), Fault> {
        self.finish_flush(self.begin_flush()?)
    }

    fn set_gc_threshold(&self, range: RangeId, threshold: Option<(KeyRange, Timestamp)>) {
        let mut state = self.shared.lock_any();
        match threshold {
            Some(threshold) => state.data.thresholds.insert(range, threshold),
            None => state.data.thresholds.remove(&range),
        };
    }

    fn approximate_size(&self, bounds: &KeyRange) -> Result<u64, Fault> {
        Ok(self.image().weights(bounds).values().sum())
    }

    fn middle_key(&self, bounds: &KeyRange) -> Result<Option<Key>, Fault> {
        let weights = self.image().weights(bounds);
        let half = weights.values().sum::<u64>() / 2;
        let mut before = 0;
        for (key, weight) in weights {
            if before >= half && key > bounds.start {
                return Ok(Some(key));
            }
            before += weight;
        }
        Ok(None)
    }

    fn disk_space(&self) -> Result<DiskSpace, Fault> {
        let state = self.shared.lock("asking for space")?;
        let space = state.faults.space;
        Ok(if state.faults.full { DiskSpace { free_bytes: 0, ..space } } else { space })
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
        self.shared.lock("reading a snapshot")?.data.snapshots.read(id, file, offset, max_bytes)
    }

    fn begin_install(&self, manifest: &SnapshotManifest) -> Result<(), Fault> {
        let mut state = self.shared.lock("receiving a snapshot")?;
        let full = state.faults.full;
        state.data.snapshots.begin(manifest, full)
    }

    fn staged_manifest(&self, id: SnapshotId) -> Result<Option<SnapshotManifest>, Fault> {
        Ok(self.shared.lock("looking for a snapshot")?.data.snapshots.manifest(id))
    }

    fn received(&self, id: SnapshotId) -> Result<Vec<u64>, Fault> {
        self.shared.lock("receiving a snapshot")?.data.snapshots.received(id)
    }

    fn receive(&self, id: SnapshotId, file: usize, offset: u64, data: &[u8]) -> Result<(), Fault> {
        let mut state = self.shared.lock("receiving a snapshot")?;
        let full = state.faults.full;
        state.data.snapshots.receive(id, file, offset, data, full)
    }

    fn verify_install(&self, id: SnapshotId) -> Result<(), Fault> {
        self.shared.lock("verifying a snapshot")?.data.snapshots.verify(id)
    }

    fn install(&self, id: SnapshotId) -> Result<(), Fault> {
        self.install_staged(id)
    }

    fn drop_snapshot(&self, id: SnapshotId) -> Result<(), Fault> {
        self.shared.lock("dropping a snapshot")?.data.snapshots.forget(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryDisk;

    #[test]
    fn views_keep_what_they_saw() {
        let data = MemoryDisk::new().open_data().unwrap();
        let put = |state: &'static [u8]| {
            let state = Bytes::from_static(state);
            data.write(&[DataOp::SetRangeState { range: RangeId(1), state }]).unwrap();
        };
        put(b"old");
        let view = data.snapshot();
        put(b"new");
        assert_eq!(view.range_state(RangeId(1)).unwrap().unwrap(), "old");
        assert_eq!(data.snapshot().range_state(RangeId(1)).unwrap().unwrap(), "new");
    }
}
