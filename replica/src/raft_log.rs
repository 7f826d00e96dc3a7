//! The log as raft sees it: the newest entries in memory, the terms of all, and a note of what must be read from disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_types::limits;
use holdfast_types::storage::{HardState, LogEntry, LogStart};
use holdfast_types::{LogIndex, LogSizes, Term};
use prost011::Message as _;
use raft::eraftpb::{ConfState, Entry, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

use crate::convert;
use crate::view::EntryRoom;

/// The log of one replica.
///
/// Invariants:
/// - `entries` are contiguous and end at `last`; everything after `applied` is among them
/// - `terms` begins at `start.index + 1` and covers every index up to `last`
/// - applied entries beyond the tail budget are not kept in memory
#[derive(Debug)]
pub(crate) struct LogCache {
    initial: RaftState,
    start: LogStart,
    terms: Vec<(u64, u64)>,
    last: u64,
    /// Of the whole log, on disk.
    sizes: LogSizes,
    applied: u64,
    entries: VecDeque<Entry>,
    cached_bytes: usize,
    fetched: BTreeMap<u64, Vec<Entry>>,
    unreadable: BTreeSet<u64>,
    wanted: RefCell<BTreeSet<u64>>,
    snapshot_conf: ConfState,
}

impl LogCache {
    pub(crate) fn new(hard_state: HardState, conf: ConfState, start: LogStart, applied: LogIndex) -> Self {
        Self {
            initial: RaftState { hard_state: convert::from_hard_state(&hard_state), conf_state: conf.clone() },
            start,
            terms: Vec::new(),
            last: start.index.0,
            sizes: LogSizes::default(),
            applied: applied.0,
            entries: VecDeque::new(),
            cached_bytes: 0,
            fetched: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            wanted: RefCell::default(),
            snapshot_conf: conf,
        }
    }

    /// Takes over what the disk has: spans of terms, sizes, and the tail of the log.
    pub(crate) fn load(&mut self, terms: &[(LogIndex, Term)], last: LogIndex, sizes: LogSizes, tail: Vec<Entry>) {
        self.terms = terms.iter().map(|(first, term)| (first.0, term.0)).collect();
        self.last = last.0;
        self.sizes = sizes;
        self.cached_bytes = tail.iter().map(convert::entry_bytes).sum();
        self.entries = tail.into();
    }

    pub(crate) fn start(&self) -> LogStart {
        self.start
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// How many bytes the log takes on disk.
    pub(crate) fn sizes(&self) -> &LogSizes {
        &self.sizes
    }

    /// True when what is not applied yet fills the memory given to it.
    pub(crate) fn is_full(&self) -> bool {
        self.cached_bytes > limits::ENTRY_CACHE_BYTES
    }

    fn first_cached(&self) -> u64 {
        self.last + 1 - self.entries.len() as u64
    }

    /// Appends entries; what stood at or after the first one's index is replaced.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.start.index.0 && first.index <= self.last + 1, "append leaves a hole");
        if first.index < self.first_cached() {
            self.entries.clear();
            self.cached_bytes = 0;
        }
        while self.entries.back().is_some_and(|e| e.index >= first.index) {
            let gone = self.entries.pop_back().expect("just seen");
            self.cached_bytes -= convert::entry_bytes(&gone);
        }
        self.terms.retain(|(begin, _)| *begin < first.index);
        self.sizes.cut_tail(LogIndex(first.index));
        for entry in entries {
            if self.terms.last().is_none_or(|(_, term)| *term != entry.term) {
                self.terms.push((entry.index, entry.term));
            }
            self.cached_bytes += convert::entry_bytes(entry);
            self.sizes.push(LogIndex(entry.index), entry.encoded_len());
            self.entries.push_back(entry.clone());
        }
        self.last = entries.last().expect("not empty").index;
    }

    /// The log begins after `start` from now on; if it ended before it, it is empty.
    pub(crate) fn set_start(&mut self, start: LogStart) {
        if start.index.0 >= self.last {
            self.reset_to(start);
            return;
        }
        while self.entries.front().is_some_and(|e| e.index <= start.index.0) {
            let gone = self.entries.pop_front().expect("just seen");
            self.cached_bytes -= convert::entry_bytes(&gone);
        }
        let keep = self.terms.partition_point(|(begin, _)| *begin <= start.index.0 + 1).saturating_sub(1);
        self.terms.drain(..keep);
        if let Some(first) = self.terms.first_mut() {
            first.0 = first.0.max(start.index.0 + 1);
        }
        self.sizes.cut_front(start.index);
        self.start = start;
    }

    /// The log is empty and begins after `start`.
    pub(crate) fn reset_to(&mut self, start: LogStart) {
        let conf = std::mem::take(&mut self.snapshot_conf);
        *self =
            Self { snapshot_conf: conf, ..Self::new(HardState::default(), ConfState::default(), start, start.index) };
    }

    /// Entries up to here are applied: those beyond the tail budget leave the memory. Also what a snapshot would hold.
    pub(crate) fn applied_to(&mut self, applied: LogIndex, conf: &ConfState, room: EntryRoom) {
        self.applied = applied.0;
        self.snapshot_conf = conf.clone();
        self.drop_applied(room);
    }

    /// Applied entries beyond the tail that there is room for leave the memory.
    pub(crate) fn drop_applied(&mut self, room: EntryRoom) {
        let tail_bytes = if room == EntryRoom::Plenty { limits::ENTRY_CACHE_TAIL_BYTES } else { 0 };
        while self.cached_bytes > tail_bytes && self.entries.front().is_some_and(|e| e.index <= self.applied) {
            let gone = self.entries.pop_front().expect("just seen");
            self.cached_bytes -= convert::entry_bytes(&gone);
        }
    }

    /// Bytes of the entries in memory.
    pub(crate) fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// First indexes that raft asked for and that lie on disk.
    pub(crate) fn take_wanted(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *self.wanted.borrow_mut())
    }

    /// Entries read from disk for a follower, until [`LogCache::drop_fetched`]. None of them: a snapshot must do.
    pub(crate) fn offer_fetched(&mut self, first: u64, entries: &[LogEntry]) {
        let decoded: Option<Vec<Entry>> = entries.iter().map(convert::from_log_entry).collect();
        match decoded {
            Some(decoded) if decoded.first().is_some_and(|e| e.index == first) => {
                self.fetched.insert(first, decoded);
            }
            _ => {
                self.unreadable.insert(first);
            }
        }
    }

    pub(crate) fn drop_fetched(&mut self) {
        self.fetched.clear();
        self.unreadable.clear();
    }

    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.start.index.0 {
            return Some(self.start.term.0);
        }
        if index < self.start.index.0 || index > self.last {
            return None;
        }
        let span = self.terms.partition_point(|(begin, _)| *begin <= index).checked_sub(1)?;
        Some(self.terms[span].1)
    }

    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        if self.entries.back().is_some_and(|e| e.index != self.last) {
            return Err(format!("the cache ends before i{}", self.last));
        }
        if self.first_cached() > self.applied.max(self.start.index.0) + 1 {
            return Err(format!("i{} is neither applied nor cached", self.first_cached() - 1));
        }
        if self.last > self.start.index.0 && self.terms.first().map(|(begin, _)| *begin) != Some(self.start.index.0 + 1)
        {
            return Err(format!("terms {:?} do not begin after {:?}", self.terms.first(), self.start));
        }
        Ok(())
    }
}

fn limited<'a>(entries: impl Iterator<Item = &'a Entry>, max_bytes: Option<u64>) -> Vec<Entry> {
    let max_bytes = max_bytes.unwrap_or(u64::MAX);
    let mut bytes = 0;
    let mut out = Vec::new();
    for entry in entries {
        bytes += convert::entry_bytes(entry) as u64;
        if !out.is_empty() && bytes > max_bytes {
            break;
        }
        out.push(entry.clone());
    }
    out
}

impl Storage for LogCache {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.start.index.0 || self.unreadable.contains(&low) {
            return Err(Error::Store(StorageError::Compacted));
        }
        let first_cached = self.first_cached();
        if low >= first_cached {
            let skip = usize::try_from(low - first_cached).expect("an offset into memory");
            let count = usize::try_from(high - low).expect("an offset into memory");
            return Ok(limited(self.entries.iter().skip(skip).take(count), max_size.into()));
        }
        if let Some(fetched) = self.fetched.get(&low) {
            return Ok(limited(fetched.iter().filter(|e| e.index < high), max_size.into()));
        }
        if context.can_async() {
            self.wanted.borrow_mut().insert(low);
            return Err(Error::Store(StorageError::LogTemporarilyUnavailable));
        }
        Err(Error::Store(StorageError::Unavailable))
    }

    fn term(&self, index: u64) -> Result<u64> {
        let missing = if index < self.start.index.0 { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_of(index).ok_or(Error::Store(missing))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.start.index.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last)
    }

    /// Only the position: the store builds the data, and the metadata again from what it built.
    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        let Some(term) = self.term_of(self.applied) else {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.applied;
        metadata.term = term;
        metadata.conf_state = Some(self.snapshot_conf.clone());
        Ok(snapshot)
    }
}
