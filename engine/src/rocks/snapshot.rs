//! Snapshots as sorted files. The files of a snapshot lie side by side: the first holds what is local to the range, the
//! others its versions. Each begins with a range tombstone over its own stretch, and together the stretches cover the range.
//! A tombstone in a file does not cover keys of the same file: all get one sequence number when they are ingested.
//!
//! ```text
//! built-ID/MANIFEST, 0.sst, 1.sst ...      staged-ID/MANIFEST, 0.sst, 1.sst ...
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_types::{ClientId, Key, KeyRange, RangeId, Slot, Timestamp};
use rocksdb::{IngestExternalFileOptions, SstFileWriter};

use super::data::RocksData;
use super::fault;
use super::files::{io_fault, make_folder, measure, read_whole, sync_folder, write_whole};
use crate::contract::{DataSnapshot, Fault, SnapshotFile, SnapshotId, SnapshotManifest};
use crate::layout::{self, Span};

/// A file is closed when it has this many bytes.
const FILE_BYTES: u64 = 32 << 20;
/// Versions or records taken from a view at a time.
const PAGE_RECORDS: usize = 1_024;
/// Bytes taken from a view at a time.
const PAGE_BYTES: usize = 4 << 20;

fn file_name(file: usize) -> String {
    format!("{file}.sst")
}

fn no_such(id: SnapshotId) -> Fault {
    Fault::Io { doing: "using a snapshot".to_owned(), detail: format!("snapshot {:032x} is not here", id.0) }
}

fn damage(doing: &str, detail: String) -> Fault {
    Fault::Damage { doing: doing.to_owned(), detail }
}

/// Writes the files of one snapshot.
struct Builder<'a> {
    data: &'a RocksData,
    folder: PathBuf,
    files: Vec<SnapshotFile>,
}

/// One file while it is written.
struct OpenFile<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    start: Vec<u8>,
}

const BUILDING: &str = "building a snapshot";

impl<'a> Builder<'a> {
    fn begin(&self, start: Vec<u8>) -> Result<OpenFile<'a>, Fault> {
        let path = self.folder.join(file_name(self.files.len()));
        let writer = SstFileWriter::create(&self.data.file_options);
        writer.open(&path).map_err(|error| fault(BUILDING, &error))?;
        Ok(OpenFile { writer, path, start })
    }

    /// Closes a file whose stretch ends before `end`.
    fn finish(&mut self, mut file: OpenFile<'_>, end: Vec<u8>) -> Result<(), Fault> {
        file.writer.delete_range(file.start, end).map_err(|error| fault(BUILDING, &error))?;
        file.writer.finish().map_err(|error| fault(BUILDING, &error))?;
        let (size_bytes, checksum) = measure(&file.path)?;
        self.files.push(SnapshotFile { size_bytes, checksum });
        Ok(())
    }

    fn local(&mut self, view: &dyn DataSnapshot, range: RangeId, state: &[u8]) -> Result<(), Fault> {
        let (start, end) = layout::local_span(range);
        let mut file = self.begin(start)?;
        file.put(layout::state_key(range), state)?;
        let mut after: Option<(ClientId, Slot)> = None;
        loop {
            let page = view.completions(range, after, PAGE_RECORDS)?;
            for (client, slot, record) in &page {
                file.put(layout::completion_key(range, *client, *slot), record)?;
            }
            let Some((client, slot, _)) = page.last() else { break };
            after = Some((*client, *slot));
        }
        self.finish(file, end)
    }

    fn versions(&mut self, view: &dyn DataSnapshot, bounds: &KeyRange) -> Result<(), Fault> {
        let (start, end): Span = layout::version_span(bounds);
        let mut file = self.begin(start)?;
        let mut after: Option<(Key, Timestamp)> = None;
        loop {
            let from = after.as_ref().map(|(key, timestamp)| (key, *timestamp));
            let page = view.versions_after(bounds, from, PAGE_RECORDS, PAGE_BYTES)?;
            for (key, timestamp, version) in &page {
                let raw = layout::version_key(key, *timestamp);
                if file.writer.file_size() >= FILE_BYTES {
                    self.finish(file, raw.clone())?;
                    file = self.begin(raw.clone())?;
                }
                file.put(raw, &layout::encode_value(version))?;
            }
            let Some((key, timestamp, _)) = page.into_iter().next_back() else { break };
            after = Some((key, timestamp));
        }
        self.finish(file, end)
    }
}

impl OpenFile<'_> {
    fn put(&mut self, key: Vec<u8>, value: &[u8]) -> Result<(), Fault> {
        self.writer.put(key, value).map_err(|error| fault(BUILDING, &error))
    }
}

impl RocksData {
    fn folder(&self, kind: &str, id: SnapshotId) -> PathBuf {
        self.snapshots.join(format!("{kind}-{:032x}", id.0))
    }

    pub(super) fn build(
        &self,
        view: &dyn DataSnapshot,
        id: SnapshotId,
        range: RangeId,
        bounds: &KeyRange,
    ) -> Result<SnapshotManifest, Fault> {
        let Some(range_state) = view.range_state(range)? else {
            return Err(Fault::Io { doing: BUILDING.to_owned(), detail: format!("{range} has no state in this view") });
        };
        let folder = self.folder("built", id);
        remove_folder(&folder)?;
        make_folder(&folder)?;
        let mut builder = Builder { data: self, folder: folder.clone(), files: Vec::new() };
        builder.local(view, range, &range_state)?;
        if !bounds.is_empty() {
            builder.versions(view, bounds)?;
        }
        let manifest = SnapshotManifest::sealed(id, range, bounds.clone(), range_state, builder.files);
        write_whole(&folder.join("MANIFEST"), &manifest.encode())?;
        Ok(manifest)
    }

    pub(super) fn read_built(&self, id: SnapshotId, file: usize, offset: u64, max: usize) -> Result<Bytes, Fault> {
        let path = self.folder("built", id).join(file_name(file));
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut piece = Vec::new();
            file.take(max as u64).read_to_end(&mut piece)?;
            Ok(Bytes::from(piece))
        };
        read().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => no_such(id),
            _ => io_fault("reading a snapshot", &path, &error),
        })
    }

    pub(super) fn begin_staging(&self, manifest: &SnapshotManifest) -> Result<(), Fault> {
        if !manifest.is_sound() {
            return Err(damage("receiving a snapshot", "the manifest's checksum does not match".to_owned()));
        }
        let folder = self.folder("staged", manifest.id);
        if self.staged(manifest.id)?.as_ref() == Some(manifest) {
            return Ok(());
        }
        self.verified.lock().remove(&manifest.id);
        remove_folder(&folder)?;
        make_folder(&folder)?;
        write_whole(&folder.join("MANIFEST"), &manifest.encode())
    }

    pub(super) fn staged(&self, id: SnapshotId) -> Result<Option<SnapshotManifest>, Fault> {
        let raw = read_whole(&self.folder("staged", id).join("MANIFEST"))?;
        raw.map(|raw| SnapshotManifest::decode(&raw)).transpose()
    }

    pub(super) fn staged_lengths(&self, id: SnapshotId) -> Result<Vec<u64>, Fault> {
        let manifest = self.staged(id)?.ok_or_else(|| no_such(id))?;
        let folder = self.folder("staged", id);
        (0..manifest.files.len()).map(|file| length(&folder.join(file_name(file)))).collect()
    }

    pub(super) fn stage(&self, id: SnapshotId, file: usize, offset: u64, data: &[u8]) -> Result<(), Fault> {
        let doing = "receiving a snapshot";
        let manifest = self.staged(id)?.ok_or_else(|| no_such(id))?;
        let size = manifest.files.get(file).ok_or_else(|| no_such(id))?.size_bytes;
        let path = self.folder("staged", id).join(file_name(file));
        let known = length(&path)?;
        if offset > known {
            let detail = format!("file {file} has {known} B, the piece begins at {offset}");
            return Err(Fault::Io { doing: doing.to_owned(), detail });
        }
        if offset.saturating_add(data.len() as u64) > size {
            return Err(damage(doing, format!("file {file} is longer than its {size} B")));
        }
        let repeated = usize::try_from(known - offset).unwrap_or(usize::MAX).min(data.len());
        let append = || File::options().create(true).append(true).open(&path)?.write_all(&data[repeated..]);
        append().map_err(|error| io_fault(doing, &path, &error))
    }

    pub(super) fn verify_staged(&self, id: SnapshotId) -> Result<(), Fault> {
        let manifest = self.staged(id)?.ok_or_else(|| no_such(id))?;
        let folder = self.folder("staged", id);
        for (file, meant) in manifest.files.iter().enumerate() {
            let path = folder.join(file_name(file));
            if length(&path)? != meant.size_bytes || measure(&path)? != (meant.size_bytes, meant.checksum) {
                self.forget(id)?;
                return Err(damage("verifying a snapshot", format!("file {file} does not match the manifest")));
            }
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|error| io_fault("verifying a snapshot", &path, &error))?;
        }
        sync_folder(&folder)?;
        self.verified.lock().insert(id);
        Ok(())
    }

    pub(super) fn ingest_staged(&self, id: SnapshotId) -> Result<(), Fault> {
        let manifest = self.staged(id)?.ok_or_else(|| no_such(id))?;
        if !self.verified.lock().contains(&id) {
            self.verify_staged(id)?;
        }
        let folder = self.folder("staged", id);
        let paths: Vec<_> = (0..manifest.files.len()).map(|file| folder.join(file_name(file))).collect();
        // Copies: the install may have to be repeated after a crash.
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(false);
        options.set_snapshot_consistency(true);
        options.set_allow_global_seqno(true);
        options.set_allow_blocking_flush(true);
        let ingested = self.db.ingest_external_file_opts(&options, paths);
        ingested.map_err(|error| fault("installing a snapshot", &error))
    }

    pub(super) fn forget(&self, id: SnapshotId) -> Result<(), Fault> {
        self.verified.lock().remove(&id);
        remove_folder(&self.folder("built", id))?;
        remove_folder(&self.folder("staged", id))
    }
}

/// The length of a file; 0 when there is none yet.
fn length(path: &Path) -> Result<u64, Fault> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(io_fault("looking at a file", path, &error)),
    }
}

fn remove_folder(folder: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_fault("removing a snapshot", folder, &error)),
    }
}
