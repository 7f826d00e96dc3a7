//! The disk of one store: the engine's memory twin, and how long it takes.

use std::time::Duration;

use holdfast_engine::DiskSpace;
use holdfast_engine::memory::{Crash, LogTail, MemoryDisk};
use holdfast_types::Moment;

use crate::rng::Rng;

/// How a disk ends with its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The process is killed; the machine lives, and with it what was written.
    Killed,
    /// Power is lost: unsynced batches are lost from some point on, the log may end torn.
    PowerLost,
}

/// The disk of one store.
pub struct Disk {
    /// What is on it.
    pub contents: MemoryDisk,
    /// The mean time of a sync.
    pub sync: Duration,
    /// Everything takes this many times as long.
    pub slowness: u32,
    /// Nothing ends before.
    pub stalled_until: Moment,
    rng: Rng,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(sync: Duration, rng: Rng) -> Self {
        Self { contents: MemoryDisk::new(), sync, slowness: 1, stalled_until: Moment::ZERO, rng }
    }

    /// When a sync that begins now will end, as things stand.
    pub fn sync_ends(&mut self, now: Moment) -> Moment {
        let wait = self.rng.around(self.sync) * self.slowness;
        now.after(wait).max(self.stalled_until)
    }

    /// When a read or a write to the page cache that begins now will end.
    pub fn access_ends(&mut self, now: Moment) -> Moment {
        let wait = self.rng.around(Duration::from_micros(80)) * self.slowness;
        now.after(wait)
    }

    /// The process using it is gone.
    pub fn end_process(&mut self, ending: Ending) {
        match ending {
            Ending::Killed => self.contents.kill(),
            Ending::PowerLost => {
                let unsynced = self.contents.unsynced_log_batches();
                let log_tail = if self.rng.coin() { LogTail::Clean } else { LogTail::Torn };
                let log_batches_kept = self.rng.index(unsynced + 1);
                self.contents.crash(&Crash { log_batches_kept, log_tail, flush_kept: None });
            }
        }
        self.stalled_until = Moment::ZERO;
    }

    /// A new, empty disk takes its place.
    pub fn wipe(&mut self) {
        self.contents = MemoryDisk::new();
    }

    /// Fills it up, or frees space again.
    pub fn set_full(&mut self, full: bool) {
        self.contents.set_full(full);
    }

    /// Leaves so little space that writes of clients are refused, or frees it again.
    pub fn set_nearly_full(&mut self, nearly_full: bool) {
        let total_bytes = 100 << 30;
        let free_bytes = if nearly_full { 1 << 30 } else { 90 << 30 };
        self.contents.set_disk_space(DiskSpace { total_bytes, free_bytes });
    }
}
