//! RocksDB in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_engine::rocks::{RocksStore, open_store};
use holdfast_engine::{DataEngine, EngineOptions, Fault, LogEngine, LogOp};
use holdfast_types::{Key, LogIndex, RangeId};

use crate::twin::Twin;

pub struct RocksTwin {
    pub folder: tempfile::TempDir,
    pub store: Option<RocksStore>,
}

pub fn options() -> EngineOptions {
    EngineOptions { memtable_bytes: 64 << 20, block_cache_bytes: 8 << 20, ..EngineOptions::default() }
}

impl RocksTwin {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Some(open_store(folder.path(), &options()).unwrap());
        Self { folder, store }
    }

    pub fn store(&self) -> &RocksStore {
        self.store.as_ref().expect("the store is open")
    }

    /// The file of the write-ahead log that is written now.
    pub fn wal(&self) -> PathBuf {
        files(&self.folder.path().join("log"), "log").pop().unwrap()
    }
}

/// Files of a kind, oldest first.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    found.sort();
    found
}

/// Flips a byte in the first place where `needle` lies; false when it lies nowhere.
pub fn flip(path: &Path, needle: &[u8]) -> bool {
    let mut bytes = fs::read(path).unwrap();
    let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) else { return false };
    bytes[at] ^= 0x01;
    fs::write(path, bytes).unwrap();
    true
}

impl Twin for RocksTwin {
    fn log(&self) -> Arc<dyn LogEngine> {
        self.store().log.clone()
    }

    fn data(&self) -> Arc<dyn DataEngine> {
        self.store().data.clone()
    }

    fn try_reopen(&mut self) -> Result<(), Fault> {
        self.store = None;
        self.store = Some(open_store(self.folder.path(), &options())?);
        Ok(())
    }

    fn compact(&self) {
        self.store().data.compact().unwrap();
    }

    fn write_torn(&mut self, ops: &[LogOp]) {
        self.log().write_synced(ops).unwrap();
        self.store = None;
        let wal = self.wal();
        let bytes = fs::read(&wal).unwrap();
        fs::write(&wal, &bytes[..bytes.len() - 5]).unwrap();
    }

    fn damage_log(&mut self) {
        self.store = None;
        let wal = self.wal();
        let mut bytes = fs::read(&wal).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x01;
        fs::write(&wal, bytes).unwrap();
    }

    fn set_format_version(&mut self, version: u32) {
        self.store = None;
        fs::write(self.folder.path().join("FORMAT"), format!("holdfast {version}\n")).unwrap();
    }

    fn another(&self) -> Box<dyn Twin> {
        Box::new(Self::new())
    }

    fn corrupt_entry(&mut self, _range: RangeId, _index: LogIndex) -> Result<(), Fault> {
        self.store().log.flush().unwrap();
        self.store = None;
        // The first block of a table holds data; it is compressed, so any byte will do.
        let table = files(&self.folder.path().join("log"), "sst").pop().unwrap();
        let mut bytes = fs::read(&table).unwrap();
        bytes[16] ^= 0x01;
        fs::write(table, bytes).unwrap();
        self.try_reopen()
    }

    fn corrupt_key(&mut self, key: &Key) {
        self.store = None;
        let tables = files(&self.folder.path().join("data"), "sst");
        assert!(tables.iter().any(|table| flip(table, key.raw())));
        self.reopen();
    }
}
