//! The log instance: its keys and values are those of [`crate::log_layout`]. Truncation deletes point by point: range tombstones make
//! every later read slower.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use holdfast_types::{LogCounter, LogIndex, RangeId};
use parking_lot::{Mutex, RwLock};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};

use super::fault;
use super::view::{RocksCursor, scan_options};
use crate::contract::{Fault, LoadedLog, LogEngine, LogEntry, LogOp, ReplicaRecord};
use crate::log_layout::{
    LogRow, Pair, counter_pair, decode_counter, entry_key, open_value, ranges_span, record_key, sealed, state_keys,
    store_key, take_in, unreadable,
};
use crate::spans::{self, LogSpans};
use crate::wal::COUNTER_KEY;

const READAHEAD_BYTES: usize = 2 << 20;

/// The log instance of one store.
///
/// Lock order: `writer`, then `spans`. `spans` is never held over IO, and changes only while `writer` is held.
pub struct RocksLog {
    db: DB,
    /// The fault after which nothing is written any more.
    writer: Mutex<Option<Fault>>,
    spans: RwLock<LogSpans>,
    counter: AtomicU64,
    synced: WriteOptions,
    _lock: Arc<File>,
}

fn put(batch: &mut WriteBatch, (key, value): Pair) {
    batch.put(key, value);
}

/// Adds what one operation writes, but for the entries that it removes.
fn add(batch: &mut WriteBatch, op: &LogOp) {
    match op {
        LogOp::Append { range, entries } => {
            for entry in entries {
                let row = LogRow::Entry { index: entry.index, term: entry.term, payload: &entry.data };
                put(batch, row.encode(*range));
            }
        }
        LogOp::SetHardState { range, state } => put(batch, LogRow::HardState(*state).encode(*range)),
        LogOp::SetStart { range, start } => put(batch, LogRow::Start(*start).encode(*range)),
        LogOp::SetReplica { range, record } => {
            if let ReplicaRecord::Tombstone { clearing: false, .. } = record {
                state_keys(*range).into_iter().for_each(|key| batch.delete(key));
            }
            put(batch, LogRow::Record(*record).encode(*range));
        }
        LogOp::Forget { range } => {
            batch.delete(record_key(*range));
            state_keys(*range).into_iter().for_each(|key| batch.delete(key));
        }
        LogOp::SetStoreRecord { name, value } => {
            let key = store_key(name);
            let value = sealed(&key, value.to_vec());
            put(batch, (key, value));
        }
    }
}

fn range_of(op: &LogOp) -> RangeId {
    match op {
        LogOp::Append { range, .. }
        | LogOp::SetHardState { range, .. }
        | LogOp::SetStart { range, .. }
        | LogOp::SetReplica { range, .. }
        | LogOp::Forget { range } => *range,
        LogOp::SetStoreRecord { .. } => RangeId(0),
    }
}

impl RocksLog {
    /// Opens the instance; `tail` is the counter of the newest batch in its write-ahead log.
    pub(super) fn open(
        dir: &Path,
        options: &Options,
        tail: Option<LogCounter>,
        lock: Arc<File>,
    ) -> Result<Self, Fault> {
        let db = DB::open(options, dir).map_err(|error| fault("opening the log instance", &error))?;
        let found = db.get(COUNTER_KEY).map_err(|error| fault("reading the log", &error))?;
        let counter = found.map(|raw| decode_counter(&raw)).transpose()?.unwrap_or_default();
        if tail.is_some_and(|tail| tail != counter) {
            return Err(unreadable(COUNTER_KEY, &format!("it is {counter}, the write-ahead log ends at {tail:?}")));
        }
        let spans = RwLock::new(load_spans(&db)?);
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db, writer: Mutex::new(None), spans, counter: AtomicU64::new(counter.0), synced, _lock: lock })
    }

    /// Moves what is in memory to files: for tests of the write-ahead log's boundaries.
    pub fn flush(&self) -> Result<(), Fault> {
        self.db.flush().map_err(|error| fault("flushing the log instance", &error))
    }

    /// Entries as the instance holds them; `None` when one is missing.
    fn read_run(
        &self,
        range: RangeId,
        first: LogIndex,
        last: LogIndex,
        max_bytes: usize,
    ) -> Result<Option<Vec<LogEntry>>, Fault> {
        let (start, end) = (entry_key(range, first), entry_key(range, last.next()));
        let mut cursor = RocksCursor::over(self.db.raw_iterator_opt(scan_options((start.clone(), end))));
        cursor.seek_raw(&start)?;
        let (mut found, mut bytes, mut index) = (Vec::new(), 0_usize, first);
        while index <= last {
            let key = entry_key(range, index);
            let Some((_, raw)) = cursor.raw().filter(|(found, _)| *found == key.as_slice()) else { return Ok(None) };
            let (_, LogRow::Entry { term, payload, .. }) = LogRow::decode(&key, raw)? else { return Ok(None) };
            bytes = bytes.saturating_add(payload.len());
            found.push(LogEntry { index, term, data: Bytes::copy_from_slice(payload) });
            if bytes >= max_bytes {
                break;
            }
            index = index.next();
            cursor.next_raw()?;
        }
        Ok(Some(found))
    }

    /// The part of the asked entries that the log has.
    fn available(&self, range: RangeId, first: LogIndex, last: LogIndex) -> Option<LogIndex> {
        let spans = self.spans.read();
        let span = spans.get(range)?;
        (first > span.start.index && first <= span.last).then(|| last.min(span.last)).filter(|last| first <= *last)
    }
}

fn read_value(db: &DB, key: &[u8]) -> Result<Option<Bytes>, Fault> {
    let found = db.get(key).map_err(|error| fault("reading the log", &error))?;
    found.map(|raw| open_value(key, &raw).map(Bytes::copy_from_slice)).transpose()
}

fn load_spans(db: &DB) -> Result<LogSpans, Fault> {
    let (start, end) = ranges_span();
    let mut options = scan_options((start.clone(), end));
    options.fill_cache(false);
    options.set_readahead_size(READAHEAD_BYTES);
    let mut cursor = RocksCursor::over(db.raw_iterator_opt(options));
    let mut spans = LogSpans::default();
    cursor.seek_raw(&start)?;
    while let Some((key, raw)) = cursor.raw() {
        take_in(&mut spans, key, raw)?;
        cursor.next_raw()?;
    }
    Ok(spans)
}

impl LogEngine for RocksLog {
    fn write_synced(&self, ops: &[LogOp]) -> Result<LogCounter, Fault> {
        let mut failed = self.writer.lock();
        if let Some(fault) = &*failed {
            return Err(fault.clone());
        }
        let planned = self.spans.read().plan(ops)?;
        let counter = LogCounter(self.counter.load(Ordering::Acquire)).next();
        let mut batch = WriteBatch::default();
        put(&mut batch, counter_pair(counter));
        for (op, removed) in ops.iter().zip(&planned.removed) {
            add(&mut batch, op);
            for index in removed.iter().flat_map(|removed| removed.first.0..=removed.last.0) {
                batch.delete(entry_key(range_of(op), LogIndex(index)));
            }
        }
        if let Err(error) = self.db.write_opt(batch, &self.synced) {
            let fault = fault("writing the log", &error);
            *failed = Some(fault.clone());
            return Err(fault);
        }
        self.spans.write().apply(ops, planned);
        self.counter.store(counter.0, Ordering::Release);
        Ok(counter)
    }

    fn entries(
        &self,
        range: RangeId,
        first: LogIndex,
        last: LogIndex,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, Fault> {
        let Some(available) = self.available(range, first, last) else { return Ok(Vec::new()) };
        if let Some(found) = self.read_run(range, first, available, max_bytes)? {
            return Ok(found);
        }
        // Perhaps a write cut the log meanwhile. While it is locked out, what is missing is missing.
        let _writer = self.writer.lock();
        let Some(available) = self.available(range, first, last) else { return Ok(Vec::new()) };
        let found = self.read_run(range, first, available, max_bytes)?;
        found.ok_or_else(|| spans::damage(range, format!("an entry from {first} to {available} is missing")))
    }

    fn load(&self) -> Result<Vec<LoadedLog>, Fault> {
        self.spans.read().load()
    }

    fn store_record(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        read_value(&self.db, &store_key(name))
    }

    fn counter(&self) -> LogCounter {
        LogCounter(self.counter.load(Ordering::Acquire))
    }
}
