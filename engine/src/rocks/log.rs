//! The log instance, format version 1.
//!
//! ```text
//! 0x00                                        -> counter of the newest batch; first operation of every batch
//! 0x01 | range id (8) | 0x00                  -> record of the replica
//! 0x01 | range id (8) | 0x01                  -> hard state
//! 0x01 | range id (8) | 0x02                  -> log start
//! 0x01 | range id (8) | 0x03 | index (8)      -> term (8) | entry
//! 0x02 | name                                 -> record of the store
//! ```
//!
//! Integers are big-endian. Every value ends with crc32c (4) over key and value. Truncation deletes point by point: range
//! tombstones make every later read slower.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes};
use holdfast_types::{LogCounter, LogIndex, OutOfBounds, RangeId, ReplicaId, Term};
use parking_lot::{Mutex, RwLock};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};

use super::fault;
use super::view::{RocksCursor, scan_options};
use super::wal_check::COUNTER_KEY;
use crate::contract::{Fault, HardState, LoadedLog, LogEngine, LogEntry, LogOp, LogStart, ReplicaRecord, SnapshotId};
use crate::spans::{self, LogSpan, LogSpans};

const RANGE: u8 = 1;
const STORE: u8 = 2;
const RECORD: u8 = 0;
const HARD_STATE: u8 = 1;
const START: u8 = 2;
const ENTRY: u8 = 3;
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

fn range_key(range: RangeId, kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
    out.put_u8(RANGE);
    out.put_u64(range.0);
    out.put_u8(kind);
    out
}

fn entry_key(range: RangeId, index: LogIndex) -> Vec<u8> {
    let mut out = range_key(range, ENTRY);
    out.put_u64(index.0);
    out
}

fn store_key(name: &str) -> Vec<u8> {
    let mut out = vec![STORE];
    out.extend_from_slice(name.as_bytes());
    out
}

fn crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn put(batch: &mut WriteBatch, key: &[u8], mut value: Vec<u8>) {
    let sum = crc(key, &value);
    value.put_u32(sum);
    batch.put(key, value);
}

/// Checks a value's checksum and takes it off.
fn open_value<'a>(key: &[u8], raw: &'a [u8]) -> Result<&'a [u8], Fault> {
    let sound = raw.split_last_chunk::<4>().filter(|(value, sum)| crc(key, value) == u32::from_be_bytes(**sum));
    sound.map(|(value, _)| value).ok_or_else(|| unreadable(key, "its checksum does not match"))
}

fn unreadable(key: &[u8], detail: &str) -> Fault {
    Fault::Damage { doing: "reading the log".to_owned(), detail: format!("{}: {detail}", key.escape_ascii()) }
}

fn encode_record(record: &ReplicaRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    match record {
        ReplicaRecord::Live { replica } => {
            out.put_u8(0);
            out.put_u64(replica.0);
        }
        ReplicaRecord::Installing { replica, snapshot } => {
            out.put_u8(1);
            out.put_u64(replica.0);
            out.put_u128(snapshot.0);
        }
        ReplicaRecord::Tombstone { next, clearing } => {
            out.put_u8(if *clearing { 3 } else { 2 });
            out.put_u64(next.0);
        }
        ReplicaRecord::Quarantined { replica } => {
            out.put_u8(4);
            out.put_u64(replica.0);
        }
    }
    out
}

fn decode_record(mut raw: &[u8]) -> Option<ReplicaRecord> {
    let kind = raw.try_get_u8().ok()?;
    let replica = ReplicaId::bounded(raw.try_get_u64().ok()?).ok()?;
    let record = match kind {
        0 => ReplicaRecord::Live { replica },
        1 => ReplicaRecord::Installing { replica, snapshot: SnapshotId(raw.try_get_u128().ok()?) },
        2 | 3 => ReplicaRecord::Tombstone { next: replica, clearing: kind == 3 },
        4 => ReplicaRecord::Quarantined { replica },
        _ => return None,
    };
    raw.is_empty().then_some(record)
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Adds what one operation writes, but for the entries that it removes.
fn add(batch: &mut WriteBatch, op: &LogOp) {
    match op {
        LogOp::Append { range, entries } => {
            for entry in entries {
                let mut value = Vec::with_capacity(entry.data.len().saturating_add(8 + 4));
                value.put_u64(entry.term.0);
                value.put_slice(&entry.data);
                put(batch, &entry_key(*range, entry.index), value);
            }
        }
        LogOp::SetHardState { range, state } => {
            let value = numbers(&[state.term.0, state.vote.0, state.commit.0]);
            put(batch, &range_key(*range, HARD_STATE), value);
        }
        LogOp::SetStart { range, start } => {
            put(batch, &range_key(*range, START), numbers(&[start.index.0, start.term.0]));
        }
        LogOp::SetReplica { range, record } => {
            if let ReplicaRecord::Tombstone { clearing: false, .. } = record {
                batch.delete(range_key(*range, HARD_STATE));
                batch.delete(range_key(*range, START));
            }
            put(batch, &range_key(*range, RECORD), encode_record(record));
        }
        LogOp::Forget { range } => {
            [RECORD, HARD_STATE, START].iter().for_each(|kind| batch.delete(range_key(*range, *kind)));
        }
        LogOp::SetStoreRecord { name, value } => put(batch, &store_key(name), value.to_vec()),
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

/// Takes one stored key of a range into its span.
fn take_in(spans: &mut LogSpans, key: &[u8], raw: &[u8]) -> Result<(), Fault> {
    let mut value = open_value(key, raw)?;
    let broken = || unreadable(key, "it cannot be read");
    let (range, rest) = key.get(1..).and_then(<[u8]>::split_first_chunk::<8>).ok_or_else(broken)?;
    let out = |bad: OutOfBounds| unreadable(key, &bad.to_string());
    let range = RangeId::bounded(u64::from_be_bytes(*range)).map_err(out)?;
    let (kind, mut rest) = rest.split_first().ok_or_else(broken)?;
    let span: &mut LogSpan = spans.entry(range);
    let mut number = || value.try_get_u64().map_err(|_| broken());
    match *kind {
        RECORD => span.record = Some(decode_record(value).ok_or_else(broken)?),
        HARD_STATE => {
            span.hard_state = HardState {
                term: Term::bounded(number()?).map_err(out)?,
                vote: ReplicaId::bounded(number()?).map_err(out)?,
                commit: LogIndex::bounded(number()?).map_err(out)?,
            };
        }
        START => {
            span.start = LogStart {
                index: LogIndex::bounded(number()?).map_err(out)?,
                term: Term::bounded(number()?).map_err(out)?,
            };
            span.last = span.start.index;
        }
        ENTRY => {
            let index = LogIndex::bounded(rest.try_get_u64().map_err(|_| broken())?).map_err(out)?;
            let term = Term::bounded(number()?).map_err(out)?;
            span.push(index, term).map_err(|detail| spans::damage(range, detail))?;
            spans.measure(range, index, value.len());
        }
        _ => return Err(broken()),
    }
    Ok(())
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
        let counter = match read_value(&db, COUNTER_KEY)? {
            Some(mut raw) => {
                let raw = raw.try_get_u64().map_err(|_| unreadable(COUNTER_KEY, "it is too short"))?;
                LogCounter::bounded(raw).map_err(|bad| unreadable(COUNTER_KEY, &bad.to_string()))?.0
            }
            None => 0,
        };
        if tail.is_some_and(|tail| tail.0 != counter) {
            return Err(unreadable(COUNTER_KEY, &format!("it is {counter}, the write-ahead log ends at {tail:?}")));
        }
        let spans = RwLock::new(load_spans(&db)?);
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db, writer: Mutex::new(None), spans, counter: AtomicU64::new(counter), synced, _lock: lock })
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
            let mut value = open_value(&key, raw)?;
            let term = value.try_get_u64().map_err(|_| unreadable(&key, "it is too short"))?;
            bytes = bytes.saturating_add(value.len());
            let term = Term::bounded(term).map_err(|bad| unreadable(&key, &bad.to_string()))?;
            found.push(LogEntry { index, term, data: Bytes::copy_from_slice(value) });
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
    let mut options = scan_options((vec![RANGE], vec![RANGE + 1]));
    options.fill_cache(false);
    options.set_readahead_size(READAHEAD_BYTES);
    let mut cursor = RocksCursor::over(db.raw_iterator_opt(options));
    let mut spans = LogSpans::default();
    cursor.seek_raw(&[RANGE])?;
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
        put(&mut batch, COUNTER_KEY, numbers(&[counter.0]));
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
