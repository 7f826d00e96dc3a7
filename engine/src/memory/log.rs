//! The log instance in memory. Batches are visible when written and safe when synced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use holdfast_types::{LogCounter, LogIndex, RangeId};

use super::disk::{LogTail, Shared, damage, io};
use crate::contract::{Fault, LoadedLog, LogEngine, LogEntry, LogOp};
use crate::spans::{self, LogSpans};

/// Names a batch that was written and not synced yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LogToken(LogCounter);

impl LogToken {
    /// The number of its batch.
    #[must_use]
    pub fn counter(self) -> LogCounter {
        self.0
    }
}

/// A log as a sequence of batches left it.
#[derive(Clone, Default)]
struct LogImage {
    spans: LogSpans,
    entries: BTreeMap<(RangeId, LogIndex), LogEntry>,
    store: BTreeMap<String, Bytes>,
    counter: LogCounter,
}

impl LogImage {
    fn apply(&mut self, ops: &[LogOp]) -> Result<(), Fault> {
        let planned = self.spans.plan(ops)?;
        for (op, removed) in ops.iter().zip(&planned.removed) {
            let range = match op {
                LogOp::SetStoreRecord { name, value } => {
                    self.store.insert((*name).to_owned(), value.clone());
                    continue;
                }
                LogOp::Append { range, entries } => {
                    self.entries.extend(entries.iter().map(|entry| ((*range, entry.index), entry.clone())));
                    *range
                }
                LogOp::SetHardState { range, .. }
                | LogOp::SetStart { range, .. }
                | LogOp::SetReplica { range, .. }
                | LogOp::Forget { range } => *range,
            };
            if let Some(removed) = removed {
                for index in removed.first.0..=removed.last.0 {
                    self.entries.remove(&(range, LogIndex(index)));
                }
            }
        }
        self.spans.apply(ops, planned);
        self.counter = self.counter.next();
        Ok(())
    }
}

/// The log on disk and in the memory of its process.
#[derive(Clone, Default)]
pub(super) struct LogState {
    /// What readers see: durable and unsynced batches.
    current: LogImage,
    durable: LogImage,
    /// Written, not (really) synced; oldest first.
    pending: VecDeque<Vec<LogOp>>,
    /// What syncs have promised; may lie ahead of `durable.counter`.
    acknowledged: LogCounter,
    failed: Option<Fault>,
    damaged: BTreeSet<(RangeId, LogIndex)>,
    bad_inside: bool,
}

impl LogState {
    pub(super) fn open(&mut self) -> Result<(), Fault> {
        if self.bad_inside {
            return Err(damage("opening the log", "valid records lie behind a bad one".to_owned()));
        }
        Ok(())
    }

    pub(super) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    fn sync_oldest(&mut self, batches: usize) {
        for ops in self.pending.drain(..batches.min(self.pending.len())) {
            self.durable.apply(&ops).expect("the batch was checked when it was written, against the same log");
        }
    }

    pub(super) fn keep_all(&mut self) {
        self.sync_oldest(usize::MAX);
        self.reset();
    }

    pub(super) fn lose_unsynced(&mut self, kept: usize, tail: LogTail) {
        self.sync_oldest(kept);
        self.bad_inside |= tail == LogTail::BadInside;
        self.reset();
    }

    fn reset(&mut self) {
        self.pending.clear();
        self.current = self.durable.clone();
        self.acknowledged = self.durable.counter;
        self.failed = None;
    }

    pub(super) fn corrupt(&mut self, range: RangeId, index: LogIndex) -> bool {
        let known = self.current.entries.contains_key(&(range, index));
        known && self.damaged.insert((range, index))
    }

    pub(super) fn make_hole(&mut self, range: RangeId, index: LogIndex) -> bool {
        self.durable.entries.remove(&(range, index));
        self.current.entries.remove(&(range, index)).is_some()
    }

    fn write(&mut self, ops: &[LogOp], full: bool) -> Result<LogCounter, Fault> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone());
        }
        if full {
            return Err(self.fail(Fault::Full("writing the log".to_owned())));
        }
        self.current.apply(ops)?;
        for op in ops {
            if let LogOp::Append { range, entries } = op {
                for entry in entries {
                    self.damaged.remove(&(*range, entry.index));
                }
            }
        }
        self.pending.push_back(ops.to_vec());
        Ok(self.current.counter)
    }

    fn sync(&mut self, up_to: LogCounter, lying: bool) -> Result<LogCounter, Fault> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone());
        }
        if !lying {
            let batches = up_to.0.saturating_sub(self.durable.counter.0);
            self.sync_oldest(usize::try_from(batches).unwrap_or(usize::MAX));
        }
        self.acknowledged = self.acknowledged.max(up_to);
        Ok(up_to)
    }

    fn fail(&mut self, fault: Fault) -> Fault {
        self.failed = Some(fault.clone());
        fault
    }

    fn entry(&self, range: RangeId, index: LogIndex) -> Result<&LogEntry, Fault> {
        if self.damaged.contains(&(range, index)) {
            return Err(spans::damage(range, format!("the checksum of entry {index} does not match")));
        }
        let entry = self.current.entries.get(&(range, index));
        entry.ok_or_else(|| spans::damage(range, format!("entry {index} is missing")))
    }
}

/// A handle on the log instance of one process.
pub struct MemoryLog {
    shared: Shared,
}

impl MemoryLog {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The first half of [`LogEngine::write_synced`]: the batch can be read at once, but a crash may lose it until
    /// [`MemoryLog::sync`] returns.
    pub fn write_unsynced(&self, ops: &[LogOp]) -> Result<LogToken, Fault> {
        let mut state = self.shared.lock("writing the log")?;
        let full = state.faults.full;
        state.log.write(ops, full).map(LogToken)
    }

    /// The second half: makes this batch and all before it safe.
    pub fn sync(&self, token: LogToken) -> Result<LogCounter, Fault> {
        let mut state = self.shared.lock("syncing the log")?;
        let lying = state.faults.lying_syncs;
        if std::mem::take(&mut state.faults.fail_next_sync) {
            return Err(state.log.fail(io("syncing the log", "planned failure")));
        }
        state.log.sync(token.0, lying)
    }
}

impl LogEngine for MemoryLog {
    fn write_synced(&self, ops: &[LogOp]) -> Result<LogCounter, Fault> {
        self.sync(self.write_unsynced(ops)?)
    }

    fn entries(
        &self,
        range: RangeId,
        first: LogIndex,
        last: LogIndex,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, Fault> {
        let state = self.shared.lock("reading the log")?;
        let Some(span) = state.log.current.spans.get(range) else { return Ok(Vec::new()) };
        if first <= span.start.index {
            return Ok(Vec::new());
        }
        let (mut found, mut bytes) = (Vec::new(), 0_usize);
        for index in first.0..=last.min(span.last).0 {
            let entry = state.log.entry(range, LogIndex(index))?;
            bytes += entry.data.len();
            found.push(entry.clone());
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(found)
    }

    fn load(&self) -> Result<Vec<LoadedLog>, Fault> {
        let state = self.shared.lock("loading the log")?;
        for (range, span) in state.log.current.spans.iter() {
            for index in span.start.index.0 + 1..=span.last.0 {
                state.log.entry(*range, LogIndex(index))?;
            }
        }
        state.log.current.spans.load()
    }

    fn store_record(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        Ok(self.shared.lock("reading a record of the store")?.log.current.store.get(name).cloned())
    }

    fn counter(&self) -> LogCounter {
        self.shared.lock_any().log.acknowledged
    }
}
