//! The engines as the threads of a store see them: each call notes in the pulse of its thread that it waits for the disk. A thread that hangs
//! is told from a disk that does by nothing else, so all calls pass here, from whichever thread.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{
    DataEngine, DataOp, DataSnapshot, DiskSpace, Engines, Fault, LoadedLog, LogEngine, LogEntry, LogOp, ReadTier,
    ScanOptions, ScanPage, SnapshotId, SnapshotManifest, Version,
};
use holdfast_types::{ClientId, Key, KeyRange, LogCounter, LogIndex, RangeId, Slot, Timestamp, VersionedValue};

use super::health::Pulse;
use crate::ports::Clock;

thread_local! {
    /// The pulse of this thread, if it has one.
    static PULSE: RefCell<Option<Arc<Pulse>>> = const { RefCell::new(None) };
}

/// From here on the calls of this thread are noted in `pulse`.
pub fn note_in(pulse: Arc<Pulse>) {
    PULSE.set(Some(pulse));
}

/// Engines whose calls are noted.
pub fn watched(engines: &Engines, clock: &Arc<dyn Clock>) -> Engines {
    let (log, data) = (Arc::clone(&engines.log), Arc::clone(&engines.data));
    Engines {
        log: Arc::new(Watched { inner: log, clock: Arc::clone(clock) }),
        data: Arc::new(Watched { inner: data, clock: Arc::clone(clock) }),
    }
}

struct Watched<T: ?Sized> {
    inner: Arc<T>,
    clock: Arc<dyn Clock>,
}

impl<T: ?Sized> Watched<T> {
    /// Calls the disk, and notes it.
    fn call<R>(&self, call: impl FnOnce(&T) -> R) -> R {
        PULSE.with_borrow(|pulse| {
            // A call within another one belongs to it.
            let Some(pulse) = pulse.as_deref().filter(|pulse| !pulse.disk_begins()) else { return call(&self.inner) };
            let _waiting = Waiting { pulse, clock: &*self.clock };
            call(&self.inner)
        })
    }
}

/// Ends the wait, also when the call panics: a thread that unwinds does not wait for the disk.
struct Waiting<'a> {
    pulse: &'a Pulse,
    clock: &'a dyn Clock,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pulse.disk_ends(self.clock.now());
    }
}

impl LogEngine for Watched<dyn LogEngine> {
    fn write_synced(&self, ops: &[LogOp]) -> Result<LogCounter, Fault> {
        self.call(|log| log.write_synced(ops))
    }

    fn entries(
        &self,
        range: RangeId,
        first: LogIndex,
        last: LogIndex,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, Fault> {
        self.call(|log| log.entries(range, first, last, max_bytes))
    }

    fn load(&self) -> Result<Vec<LoadedLog>, Fault> {
        self.call(LogEngine::load)
    }

    fn store_record(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        self.call(|log| log.store_record(name))
    }

    fn counter(&self) -> LogCounter {
        // It is not asked of the disk.
        self.inner.counter()
    }
}

impl DataEngine for Watched<dyn DataEngine> {
    fn write(&self, ops: &[DataOp]) -> Result<(), Fault> {
        self.call(|data| data.write(ops))
    }

    fn snapshot(&self) -> Arc<dyn DataSnapshot> {
        let inner = self.call(DataEngine::snapshot);
        Arc::new(Watched { inner, clock: Arc::clone(&self.clock) })
    }

    fn range_state(&self, range: RangeId, tier: ReadTier) -> Result<Option<Bytes>, Fault> {
        self.call(|data| data.range_state(range, tier))
    }

    fn range_states(&self) -> Result<Vec<(RangeId, Bytes)>, Fault> {
        self.call(DataEngine::range_states)
    }

    fn flush(&self) -> Result<(), Fault> {
        self.call(DataEngine::flush)
    }

    fn set_gc_threshold(&self, range: RangeId, threshold: Option<(KeyRange, Timestamp)>) {
        self.call(|data| data.set_gc_threshold(range, threshold));
    }

    fn approximate_size(&self, bounds: &KeyRange) -> Result<u64, Fault> {
        self.call(|data| data.approximate_size(bounds))
    }

    fn middle_key(&self, bounds: &KeyRange) -> Result<Option<Key>, Fault> {
        self.call(|data| data.middle_key(bounds))
    }

    fn disk_space(&self) -> Result<DiskSpace, Fault> {
        self.call(DataEngine::disk_space)
    }

    fn keep_reserve(&self) {
        self.call(DataEngine::keep_reserve);
    }

    fn build_snapshot(
        &self,
        view: &dyn DataSnapshot,
        id: SnapshotId,
        range: RangeId,
        bounds: &KeyRange,
    ) -> Result<SnapshotManifest, Fault> {
        self.call(|data| data.build_snapshot(view, id, range, bounds))
    }

    fn read_snapshot(&self, id: SnapshotId, file: usize, offset: u64, max_bytes: usize) -> Result<Bytes, Fault> {
        self.call(|data| data.read_snapshot(id, file, offset, max_bytes))
    }

    fn begin_install(&self, manifest: &SnapshotManifest) -> Result<(), Fault> {
        self.call(|data| data.begin_install(manifest))
    }

    fn staged_manifest(&self, id: SnapshotId) -> Result<Option<SnapshotManifest>, Fault> {
        self.call(|data| data.staged_manifest(id))
    }

    fn received(&self, id: SnapshotId) -> Result<Vec<u64>, Fault> {
        self.call(|data| data.received(id))
    }

    fn receive(&self, id: SnapshotId, file: usize, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.call(|data| data.receive(id, file, offset, bytes))
    }

    fn verify_install(&self, id: SnapshotId) -> Result<(), Fault> {
        self.call(|data| data.verify_install(id))
    }

    fn install(&self, id: SnapshotId) -> Result<(), Fault> {
        self.call(|data| data.install(id))
    }

    fn drop_snapshot(&self, id: SnapshotId) -> Result<(), Fault> {
        self.call(|data| data.drop_snapshot(id))
    }
}

impl DataSnapshot for Watched<dyn DataSnapshot> {
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, Fault> {
        self.call(|view| view.get(key, at, now))
    }

    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, Fault> {
        self.call(|view| view.newest_version(key, at))
    }

    fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Fault> {
        self.call(|view| view.scan(options))
    }

    fn versions_after(
        &self,
        bounds: &KeyRange,
        after: Option<(&Key, Timestamp)>,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(Key, Timestamp, Version)>, Fault> {
        self.call(|view| view.versions_after(bounds, after, max, max_bytes))
    }

    fn range_state(&self, range: RangeId) -> Result<Option<Bytes>, Fault> {
        self.call(|view| view.range_state(range))
    }

    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, Fault> {
        self.call(|view| view.completion(range, client, slot))
    }

    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, Fault> {
        self.call(|view| view.completions(range, after, max))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use holdfast_engine::memory::MemoryDisk;
    use holdfast_types::{Moment, limits};
    use parking_lot::Mutex;

    use super::*;
    use crate::driver::health::Health;

    /// A clock that goes when it is told to.
    struct Told(AtomicU64);

    impl Clock for Told {
        fn now(&self) -> Moment {
            Moment(self.0.load(Ordering::Acquire))
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    /// A log whose reads begin when they say so and end when they are let.
    struct Stuck {
        begun: mpsc::Sender<()>,
        go: Mutex<mpsc::Receiver<()>>,
    }

    impl LogEngine for Stuck {
        fn write_synced(&self, _: &[LogOp]) -> Result<LogCounter, Fault> {
            panic!("a bug")
        }

        fn entries(&self, _: RangeId, _: LogIndex, _: LogIndex, _: usize) -> Result<Vec<LogEntry>, Fault> {
            self.begun.send(()).unwrap();
            self.go.lock().recv().unwrap();
            Ok(Vec::new())
        }

        fn load(&self) -> Result<Vec<LoadedLog>, Fault> {
            Ok(Vec::new())
        }

        fn store_record(&self, _: &str) -> Result<Option<Bytes>, Fault> {
            Ok(None)
        }

        fn counter(&self) -> LogCounter {
            LogCounter(0)
        }
    }

    #[test]
    fn a_thread_that_waits_for_the_disk_does_not_hang_and_hangs_when_it_stands_still_afterwards() {
        let ((begun, has_begun), (let_go, go), (done, is_done)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let told = Arc::new(Told(AtomicU64::new(1_000_000)));
        let clock: Arc<dyn Clock> = Arc::clone(&told) as _;
        let later = || told.0.fetch_add(u64::try_from(limits::THREAD_HANGS.as_micros()).unwrap() + 1, Ordering::AcqRel);
        let mut engines = MemoryDisk::new().open().unwrap();
        engines.log = Arc::new(Stuck { begun, go: Mutex::new(go) });
        let (engines, health) = (watched(&engines, &clock), Health::default());
        let pulse = health.slow_pulse("read 0", &*clock);
        std::thread::spawn(move || {
            note_in(pulse);
            engines.log.entries(RangeId(1), LogIndex(1), LogIndex(2), 3).unwrap();
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| engines.log.write_synced(&[]))).is_err());
            done.send(()).unwrap();
            // Here it hangs: nobody beats any more.
        });
        has_begun.recv().unwrap();
        later();
        assert_eq!(health.hung(clock.now()), Vec::<String>::new());
        let_go.send(()).unwrap();
        is_done.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(health.hung(clock.now()), Vec::<String>::new(), "it has only just come back");
        later();
        assert_eq!(health.hung(clock.now()).len(), 1);
    }
}
