//! Snapshots on the disk of the twin: built, staged, verified, installed. A file is a list of raw keys and values, each with
//! its length (4 bytes, big-endian) before it, in the layout of the data instance.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};
use holdfast_types::{ClientId, KeyRange, RangeId, Slot, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::data::MemoryData;
use super::disk::{damage, io};
use crate::contract::{DataOp, DataSnapshot, Fault, SnapshotFile, SnapshotId, SnapshotManifest};
use crate::layout::{self, DataKey};
use crate::manifest::take_bytes;

/// Small, so that tests have snapshots of several files.
const FILE_BYTES: usize = 16 << 10;
/// Records read from a view at a time.
const PAGE: usize = 256;

#[derive(Clone, Default)]
struct Staged {
    manifest: Option<SnapshotManifest>,
    files: Vec<Vec<u8>>,
    synced: bool,
}

/// The folder of snapshots.
#[derive(Clone, Default)]
pub(super) struct Snapshots {
    built: BTreeMap<SnapshotId, Vec<Bytes>>,
    staged: BTreeMap<SnapshotId, Staged>,
}

fn unknown(id: SnapshotId) -> Fault {
    io("using a snapshot", &format!("snapshot {:032x} is not here", id.0))
}

impl Snapshots {
    pub(super) fn lose_unsynced(&mut self) {
        for staged in self.staged.values_mut().filter(|staged| !staged.synced) {
            for file in &mut staged.files {
                file.truncate(file.len() / 2);
            }
        }
    }

    pub(super) fn read(&self, id: SnapshotId, file: usize, offset: u64, max: usize) -> Result<Bytes, Fault> {
        let file = self.built.get(&id).and_then(|files| files.get(file)).ok_or_else(|| unknown(id))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        Ok(file.slice(start..start.saturating_add(max).min(file.len())))
    }

    pub(super) fn begin(&mut self, manifest: &SnapshotManifest, full: bool) -> Result<(), Fault> {
        if !manifest.is_sound() {
            return Err(damage("receiving a snapshot", "the manifest's checksum does not match".to_owned()));
        }
        if full {
            return Err(Fault::Full("receiving a snapshot".to_owned()));
        }
        let staged = self.staged.entry(manifest.id).or_default();
        if staged.manifest.as_ref() != Some(manifest) {
            let files = vec![Vec::new(); manifest.files.len()];
            *staged = Staged { manifest: Some(manifest.clone()), files, synced: false };
        }
        Ok(())
    }

    pub(super) fn manifest(&self, id: SnapshotId) -> Option<SnapshotManifest> {
        self.staged.get(&id).and_then(|staged| staged.manifest.clone())
    }

    pub(super) fn received(&self, id: SnapshotId) -> Result<Vec<u64>, Fault> {
        let staged = self.staged.get(&id).ok_or_else(|| unknown(id))?;
        Ok(staged.files.iter().map(|file| file.len() as u64).collect())
    }

    pub(super) fn receive(
        &mut self,
        id: SnapshotId,
        file: usize,
        offset: u64,
        data: &[u8],
        full: bool,
    ) -> Result<(), Fault> {
        if full {
            return Err(Fault::Full("receiving a snapshot".to_owned()));
        }
        let staged = self.staged.get_mut(&id).ok_or_else(|| unknown(id))?;
        let size = staged.manifest.as_ref().and_then(|manifest| manifest.files.get(file)).map(|file| file.size_bytes);
        let (Some(size), Some(bytes)) = (size, staged.files.get_mut(file)) else { return Err(unknown(id)) };
        let known = bytes.len() as u64;
        if offset > known {
            return Err(io(
                "receiving a snapshot",
                &format!("file {file} has {known} B, the piece begins at {offset}"),
            ));
        }
        if offset.saturating_add(data.len() as u64) > size {
            return Err(damage("receiving a snapshot", format!("file {file} is longer than its {size} B")));
        }
        let repeated = usize::try_from(known.saturating_sub(offset)).unwrap_or(usize::MAX);
        bytes.extend_from_slice(data.get(repeated..).unwrap_or_default());
        Ok(())
    }

    pub(super) fn verify(&mut self, id: SnapshotId) -> Result<(), Fault> {
        let staged = self.staged.get_mut(&id).ok_or_else(|| unknown(id))?;
        let manifest = staged.manifest.as_ref().ok_or_else(|| unknown(id))?;
        let matches = |file: &Vec<u8>, meant: &SnapshotFile| {
            file.len() as u64 == meant.size_bytes && xxh3_64(file) == meant.checksum
        };
        if staged.files.iter().zip(&manifest.files).all(|(file, meant)| matches(file, meant)) {
            staged.synced = true;
            return Ok(());
        }
        self.staged.remove(&id);
        Err(damage("verifying a snapshot", "a file does not match the manifest".to_owned()))
    }

    pub(super) fn forget(&mut self, id: SnapshotId) {
        self.built.remove(&id);
        self.staged.remove(&id);
    }
}

/// Cuts a stream of records into files.
#[derive(Default)]
struct Writer {
    files: Vec<Vec<u8>>,
}

impl Writer {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        let mut file = self.files.pop_if(|file| file.len() < FILE_BYTES).unwrap_or_default();
        for part in [key, value] {
            // What is longer is damage when it is read.
            file.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
            file.put_slice(part);
        }
        self.files.push(file);
    }

    fn completions(&mut self, view: &dyn DataSnapshot, range: RangeId) -> Result<(), Fault> {
        let mut after: Option<(ClientId, Slot)> = None;
        loop {
            let page = view.completions(range, after, PAGE)?;
            for (client, slot, record) in &page {
                self.put(&layout::completion_key(range, *client, *slot), record);
            }
            let Some((client, slot, _)) = page.last() else { return Ok(()) };
            after = Some((*client, *slot));
        }
    }

    fn versions(&mut self, view: &dyn DataSnapshot, bounds: &KeyRange) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let from = after.as_ref().map(|(key, timestamp): &(_, Timestamp)| (key, *timestamp));
            let page = view.versions_after(bounds, from, PAGE, FILE_BYTES)?;
            for (key, timestamp, version) in &page {
                self.put(&layout::version_key(key, *timestamp), &layout::encode_value(version));
            }
            let Some((key, timestamp, _)) = page.into_iter().next_back() else { return Ok(()) };
            after = Some((key, timestamp));
        }
    }
}

/// The writes that a file stands for; `None` is damage.
fn decode(file: &[u8]) -> Option<Vec<DataOp>> {
    let mut rest = Bytes::copy_from_slice(file);
    let mut ops = Vec::new();
    while !rest.is_empty() {
        let (key, value) = (take_bytes(&mut rest)?, take_bytes(&mut rest)?);
        ops.push(match layout::decode_key(&key)? {
            DataKey::State(range) => DataOp::SetRangeState { range, state: value },
            DataKey::Completion(range, client, slot) => DataOp::PutCompletion { range, client, slot, record: value },
            DataKey::Version(key, timestamp) => {
                DataOp::PutVersion { key, timestamp, version: layout::decode_value(&value)? }
            }
        });
    }
    Some(ops)
}

impl MemoryData {
    pub(super) fn build(
        &self,
        view: &dyn DataSnapshot,
        id: SnapshotId,
        range: RangeId,
        bounds: &KeyRange,
    ) -> Result<SnapshotManifest, Fault> {
        let Some(range_state) = view.range_state(range)? else {
            return Err(io("building a snapshot", &format!("{range} has no state in this view")));
        };
        let mut writer = Writer::default();
        writer.put(&layout::state_key(range), &range_state);
        writer.completions(view, range)?;
        writer.versions(view, bounds)?;
        let mut state = self.shared.lock("building a snapshot")?;
        if state.faults.full {
            return Err(Fault::Full("building a snapshot".to_owned()));
        }
        let describe = |file: &Vec<u8>| SnapshotFile { size_bytes: file.len() as u64, checksum: xxh3_64(file) };
        let files = writer.files.iter().map(describe).collect();
        state.data.snapshots.built.insert(id, writer.files.into_iter().map(Bytes::from).collect());
        Ok(SnapshotManifest::sealed(id, range, bounds.clone(), range_state, files))
    }

    pub(super) fn install_staged(&self, id: SnapshotId) -> Result<(), Fault> {
        let mut state = self.shared.lock("installing a snapshot")?;
        state.data.usable()?;
        state.data.snapshots.verify(id)?;
        let staged = state.data.snapshots.staged.get(&id).cloned().ok_or_else(|| unknown(id))?;
        let manifest = staged.manifest.ok_or_else(|| unknown(id))?;
        let mut ops = Vec::new();
        for file in &staged.files {
            let decoded = decode(file);
            ops.extend(decoded.ok_or_else(|| damage("installing a snapshot", "a file cannot be read".to_owned()))?);
        }
        state.data.change_persisted(|image| {
            image.clear_keys(&manifest.bounds);
            image.clear_range(manifest.range);
            ops.iter().for_each(|op| image.apply(op));
        });
        Ok(())
    }
}
