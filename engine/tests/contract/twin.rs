//! What the tests need of an implementation beside the contract.

use std::sync::Arc;

use holdfast_engine::memory::{Crash, LogTail, MemoryData, MemoryDisk, MemoryLog};
use holdfast_engine::{DataEngine, Fault, LogEngine, LogOp};
use holdfast_types::{Key, LogIndex, RangeId};

/// One store that can lose its process and its bytes.
pub trait Twin {
    fn log(&self) -> Arc<dyn LogEngine>;
    fn data(&self) -> Arc<dyn DataEngine>;
    /// The process is gone; a new one opens the store. Data that was not flushed is lost.
    fn try_reopen(&mut self) -> Result<(), Fault>;
    fn reopen(&mut self) {
        self.try_reopen().unwrap();
    }
    /// Compacts all data.
    fn compact(&self);
    /// Writes a batch that a crash tears; the store is closed afterwards.
    fn write_torn(&mut self, ops: &[LogOp]);
    /// Spoils a record of the log that is not the last one; the store is closed afterwards.
    fn damage_log(&mut self);
    /// Another program wrote the directory; the store is closed afterwards.
    fn set_format_version(&mut self, version: u32);
    /// A store beside this one.
    fn another(&self) -> Box<dyn Twin>;
    /// Spoils an entry inside its log, behind the engine's back, and reopens as far as that goes.
    fn corrupt_entry(&mut self, range: RangeId, index: LogIndex) -> Result<(), Fault>;
    /// Spoils the versions of a key that was flushed.
    fn corrupt_key(&mut self, key: &Key);
}

pub struct MemoryTwin {
    disk: MemoryDisk,
    log: Arc<MemoryLog>,
    data: Arc<MemoryData>,
}

impl MemoryTwin {
    pub fn new() -> Self {
        let disk = MemoryDisk::new();
        let (log, data) = (disk.open_log().unwrap(), disk.open_data().unwrap());
        Self { disk, log, data }
    }
}

impl Twin for MemoryTwin {
    fn log(&self) -> Arc<dyn LogEngine> {
        self.log.clone()
    }

    fn data(&self) -> Arc<dyn DataEngine> {
        self.data.clone()
    }

    fn try_reopen(&mut self) -> Result<(), Fault> {
        self.disk.kill();
        self.log = self.disk.open_log()?;
        self.data = self.disk.open_data()?;
        Ok(())
    }

    fn compact(&self) {
        self.data.compact().unwrap();
    }

    fn write_torn(&mut self, ops: &[LogOp]) {
        self.log.write_unsynced(ops).unwrap();
        self.disk.crash(&Crash { log_tail: LogTail::Torn, ..Crash::default() });
    }

    fn damage_log(&mut self) {
        self.disk.crash(&Crash { log_tail: LogTail::BadInside, ..Crash::default() });
    }

    fn set_format_version(&mut self, version: u32) {
        self.disk.set_format_version(version);
    }

    fn another(&self) -> Box<dyn Twin> {
        Box::new(Self::new())
    }

    fn corrupt_entry(&mut self, range: RangeId, index: LogIndex) -> Result<(), Fault> {
        assert!(self.disk.corrupt_log_entry(range, index));
        self.try_reopen()?;
        self.log.load().map(|_| ())
    }

    fn corrupt_key(&mut self, key: &Key) {
        assert!(self.disk.corrupt_key(key));
    }
}
