//! The disk of the in-memory twin: what survives a crash, and the failures planned for it.

use std::sync::Arc;

use holdfast_types::{Key, LogIndex, RangeId};
use parking_lot::{Mutex, MutexGuard};

use super::data::{DataState, FlushToken, MemoryData};
use super::log::{LogState, MemoryLog};
use crate::contract::{DiskSpace, Engines, Fault};

/// The format that the twin writes.
const FORMAT: u32 = 1;
const GIB: u64 = 1 << 30;

/// How the log ends after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogTail {
    /// With the last whole batch.
    #[default]
    Clean,
    /// With a part of the first batch that was lost: found and dropped at the next opening.
    Torn,
    /// A bad record with valid ones behind it: the log cannot be opened any more.
    BadInside,
}

/// What a loss of power leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Crash {
    /// How many of the batches that were not really synced survive: always the oldest ones.
    pub log_batches_kept: usize,
    /// How the log ends.
    pub log_tail: LogTail,
    /// A begun flush that had just reached the disk.
    pub flush_kept: Option<FlushToken>,
}

/// Failures that are planned or have happened.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    pub(super) fail_next_sync: bool,
    pub(super) fail_next_flush: bool,
    pub(super) lying_syncs: bool,
    pub(super) stalled: bool,
    pub(super) full: bool,
    pub(super) space: DiskSpace,
    pub(super) format: u32,
}

impl Default for Faults {
    fn default() -> Self {
        let space = DiskSpace { total_bytes: 100 * GIB, free_bytes: 90 * GIB };
        Self {
            fail_next_sync: false,
            fail_next_flush: false,
            lying_syncs: false,
            stalled: false,
            full: false,
            space,
            format: FORMAT,
        }
    }
}

/// Everything on the disk and in the memory of the process that uses it.
#[derive(Clone, Default)]
pub(super) struct DiskState {
    /// Counts the processes: handles of an earlier one are refused.
    pub(super) process: u64,
    pub(super) faults: Faults,
    pub(super) log: LogState,
    pub(super) data: DataState,
}

/// The state, as seen by a handle of one process.
#[derive(Clone)]
pub(super) struct Shared {
    state: Arc<Mutex<DiskState>>,
    process: u64,
}

impl Shared {
    /// The state, unless the process of this handle is gone.
    pub(super) fn lock(&self, doing: &str) -> Result<MutexGuard<'_, DiskState>, Fault> {
        let state = self.state.lock();
        if state.process == self.process {
            return Ok(state);
        }
        Err(io(doing, "this handle belongs to a process that is gone"))
    }

    /// The state, whoever asks.
    pub(super) fn lock_any(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock()
    }
}

pub(super) fn io(doing: &str, detail: &str) -> Fault {
    Fault::Io { doing: doing.to_owned(), detail: detail.to_owned() }
}

pub(super) fn damage(doing: &str, detail: String) -> Fault {
    Fault::Damage { doing: doing.to_owned(), detail }
}

/// The disk of one store, in memory. Clones are the same disk. Deterministic: nothing happens that was not asked for.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<DiskState>>,
}

impl MemoryDisk {
    /// An empty disk of 100 GiB.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Both instances.
    pub fn open(&self) -> Result<Engines, Fault> {
        Ok(Engines { log: self.open_log()?, data: self.open_data()? })
    }

    /// The log instance; damage and unknown formats are refused here.
    pub fn open_log(&self) -> Result<Arc<MemoryLog>, Fault> {
        self.check_format()?;
        let shared = self.shared();
        shared.lock_any().log.open()?;
        Ok(Arc::new(MemoryLog::new(shared)))
    }

    /// The data instance.
    pub fn open_data(&self) -> Result<Arc<MemoryData>, Fault> {
        self.check_format()?;
        Ok(Arc::new(MemoryData::new(self.shared())))
    }

    fn check_format(&self) -> Result<(), Fault> {
        let found = self.state.lock().faults.format;
        if found == FORMAT {
            return Ok(());
        }
        Err(Fault::UnknownVersion { what: "data directory", found, known: FORMAT })
    }

    fn shared(&self) -> Shared {
        Shared { state: Arc::clone(&self.state), process: self.state.lock().process }
    }

    /// Power is lost: the process is gone and, of what was not synced, all but what `crash` keeps. Open again afterwards.
    pub fn crash(&self, crash: &Crash) {
        let mut state = self.state.lock();
        state.log.lose_unsynced(crash.log_batches_kept, crash.log_tail);
        state.data.lose_unflushed(crash.flush_kept);
        state.data.lose_unsynced_files();
        state.end_process();
    }

    /// The process is killed and the machine lives: written batches of the log are kept, unflushed data is lost.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.log.keep_all();
        state.data.lose_unflushed(None);
        state.end_process();
    }

    /// A disk of its own with what this one holds durably, as a backup would: for stores that return in an older state.
    #[must_use]
    pub fn image(&self) -> MemoryDisk {
        let copy = MemoryDisk { state: Arc::new(Mutex::new(self.state.lock().clone())) };
        copy.crash(&Crash::default());
        copy
    }

    /// The next sync of the log fails, and with it every later write of this process.
    pub fn fail_next_sync(&self) {
        self.state.lock().faults.fail_next_sync = true;
    }

    /// The next flush of the data fails, and with it every later write and flush of this process.
    pub fn fail_next_flush(&self) {
        self.state.lock().faults.fail_next_flush = true;
    }

    /// While true, syncs of the log report success and sync nothing; a crash then loses those batches.
    pub fn set_lying_syncs(&self, lying: bool) {
        self.state.lock().faults.lying_syncs = lying;
    }

    /// A mark for callers that model time: no sync ends while it is set. The disk itself ignores it.
    pub fn set_stalled(&self, stalled: bool) {
        self.state.lock().faults.stalled = stalled;
    }

    /// True while the disk is marked as stalled.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.state.lock().faults.stalled
    }

    /// While true, nothing that takes space succeeds. Log and flush stay failed until the next opening.
    pub fn set_full(&self, full: bool) {
        self.state.lock().faults.full = full;
    }

    /// The figures that the data instance reports.
    pub fn set_disk_space(&self, space: DiskSpace) {
        self.state.lock().faults.space = space;
    }

    /// Pretends that another program wrote the directory.
    pub fn set_format_version(&self, version: u32) {
        self.state.lock().faults.format = version;
    }

    /// Spoils the bytes of a log entry; false when there is none.
    pub fn corrupt_log_entry(&self, range: RangeId, index: LogIndex) -> bool {
        self.state.lock().log.corrupt(range, index)
    }

    /// Takes an entry out of the middle of a log; false when there is none.
    pub fn make_log_hole(&self, range: RangeId, index: LogIndex) -> bool {
        self.state.lock().log.make_hole(range, index)
    }

    /// Spoils all versions of a key; false when there is none. Views taken before do not see it.
    pub fn corrupt_key(&self, key: &Key) -> bool {
        self.state.lock().data.corrupt(key)
    }

    /// How many log batches a crash would put at risk now.
    #[must_use]
    pub fn unsynced_log_batches(&self) -> usize {
        self.state.lock().log.unsynced()
    }
}

impl DiskState {
    fn end_process(&mut self) {
        self.process += 1;
        self.faults.fail_next_sync = false;
        self.faults.fail_next_flush = false;
        self.faults.stalled = false;
    }
}
