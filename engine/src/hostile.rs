//! What a disk may hold, given to whatever reads it: what the crate `holdfast-hostile` feeds. No disk here.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_types::{ClientId, Key, KeyspaceId, LogCounter, LogIndex, RangeId, ReplicaId, Slot, Term, Timestamp};

use crate::contract::{Fault, HardState, LoadedLog, LogEntry, LogOp, LogStart, ReplicaRecord, SnapshotId, Version};
use crate::layout::DataKey;
use crate::log_layout::{self, LogRow, sealed};
use crate::spans::LogSpans;
use crate::wal::{self, WalCheck};
use crate::{format, layout};

/// Kinds of fragments in a file of the write-ahead log.
pub const FRAGMENTS: [u8; 5] = [wal::FULL, wal::FIRST, wal::MIDDLE, wal::LAST, wal::PREDECESSOR];

/// The value with the checksum that makes it sound under this key of the log instance.
#[must_use]
pub fn sound(key: &[u8], value: Vec<u8>) -> Vec<u8> {
    sealed(key, value)
}

/// A key and its value, as a store has them on its disk.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Real keys and values of the log instance: of each kind that a range has, with this number in all places.
#[must_use]
pub fn log_rows(range: RangeId, number: u64) -> Vec<Pair> {
    let (term, index, replica) = (Term(number), LogIndex(number), ReplicaId(number));
    let rows = [
        LogRow::Record(ReplicaRecord::Live { replica }),
        LogRow::Record(ReplicaRecord::Installing { replica, snapshot: SnapshotId(number.into()) }),
        LogRow::Record(ReplicaRecord::Tombstone { next: replica, clearing: false }),
        LogRow::Record(ReplicaRecord::Tombstone { next: replica, clearing: true }),
        LogRow::Record(ReplicaRecord::Quarantined { replica }),
        LogRow::HardState(HardState { term, vote: replica, commit: index }),
        LogRow::Start(LogStart { index, term }),
        LogRow::Entry { index, term, payload: b"" },
    ];
    rows.iter().map(|row| row.encode(range)).collect()
}

/// Real keys and values of the data instance.
#[must_use]
pub fn data_rows(range: RangeId, number: u64) -> Vec<Pair> {
    let slot = Slot(u16::try_from(number).unwrap_or(u16::MAX));
    let key = Key::bound(KeyspaceId(1), b"a\0b");
    let (value, expires_at) = (Bytes::from_static(b"v"), Some(Timestamp(number)));
    vec![
        (layout::state_key(range), layout::encode_value(&Version::Tombstone).into()),
        (layout::completion_key(range, ClientId(number.into()), slot), Vec::new()),
        (
            layout::version_key(&key, Timestamp(number)),
            layout::encode_value(&Version::Value { value: value.clone(), expires_at }).into(),
        ),
        (
            layout::version_key(&Key::MIN, Timestamp(number)),
            layout::encode_value(&Version::Value { value, expires_at: None }).into(),
        ),
    ]
}

/// Opens a log instance that holds these keys and values.
///
/// # Errors
/// Damage, as an opening finds it.
///
/// # Panics
/// When what was read is written otherwise, or the logs cannot be gone on with.
pub fn open_log(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<LoadedLog>, Fault> {
    let mut spans = LogSpans::default();
    for (key, value) in rows {
        if let Ok((range, row)) = LogRow::decode(key, value) {
            assert_eq!(row.encode(range), (key.clone(), value.clone()), "what was read is written as it was");
        }
        log_layout::take_in(&mut spans, key, value)?;
    }
    let logs = spans.load()?;
    logs.iter().for_each(|log| go_on(&mut spans.clone(), log));
    Ok(logs)
}

/// What a store would have written to have these keys and values, in their order; those that cannot be read are left out.
#[must_use]
pub fn replayed(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<LogOp> {
    let readable = rows.iter().filter_map(|(key, value)| LogRow::decode(key, value).ok());
    let op = |(range, row)| match row {
        LogRow::Record(record) => LogOp::SetReplica { range, record },
        LogRow::HardState(state) => LogOp::SetHardState { range, state },
        LogRow::Start(start) => LogOp::SetStart { range, start },
        LogRow::Entry { index, term, payload } => {
            let data = Bytes::copy_from_slice(payload);
            LogOp::Append { range, entries: vec![LogEntry { index, term, data }] }
        }
    };
    readable.map(op).collect()
}

/// An entry more, all of it cut off, and the end of the replica.
fn go_on(spans: &mut LogSpans, log: &LoadedLog) {
    assert!(log.last >= log.start.index && log.terms.is_empty() == (log.last == log.start.index));
    let (range, term) = (log.range, log.terms.last().map_or(log.start.term, |(_, term)| *term));
    let entries = vec![LogEntry { index: log.last.next(), term, data: Bytes::new() }];
    let tombstone = ReplicaRecord::Tombstone { next: ReplicaId::MAX, clearing: false };
    for op in [
        LogOp::Append { range, entries },
        LogOp::SetStart { range, start: LogStart { index: log.last.next(), term } },
        LogOp::SetReplica { range, record: tombstone },
    ] {
        let planned = spans.plan(std::slice::from_ref(&op)).expect("a log that was read can be written to");
        spans.apply(&[op], planned);
    }
}

/// Reads the counter of a log instance.
///
/// # Errors
/// Damage.
///
/// # Panics
/// When it is written otherwise than it was read.
pub fn log_counter(raw: &[u8]) -> Result<LogCounter, Fault> {
    let counter = log_layout::decode_counter(raw)?;
    assert_eq!(log_layout::counter_pair(counter).1, raw);
    Ok(counter)
}

/// Where a torn write begins: the number of its file, and the place in it.
pub type TornAt = (usize, usize);

/// Checks the files of a write-ahead log, the oldest first. Returns the counter of the newest batch, and where a torn write begins.
///
/// # Errors
/// Damage, in words.
///
/// # Panics
/// When the log is another one once what is torn has been cut off.
pub fn check_wal(files: &[Vec<u8>]) -> Result<(Option<LogCounter>, Option<TornAt>), String> {
    let (newest, torn) = check_once(files)?;
    let (mut files, mut next) = (files.to_vec(), torn);
    while let Some((file, at)) = next {
        assert!(at < files[file].len(), "there is something to cut off");
        files[file].truncate(at);
        let (again, then) = check_once(&files).expect("without what is torn it is whole");
        assert_eq!(again, newest, "nothing but what is torn was cut off");
        assert!(then.is_none_or(|(then, _)| then > file), "it was cut off once");
        next = then;
    }
    Ok((newest, torn))
}

fn check_once(files: &[Vec<u8>]) -> Result<(Option<LogCounter>, Option<TornAt>), String> {
    let mut check = WalCheck::default();
    for file in files {
        check.take(file).map_err(|damaged| damaged.detail)?;
    }
    let (newest, torn) = check.finish();
    Ok((newest, torn.map(|torn| (torn.file, torn.at))))
}

/// Appends one fragment to a file of the write-ahead log: sound, but as long as it is, and wherever it may lie.
pub fn put_fragment(file: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    file.extend_from_slice(&wal::header(kind, payload));
    file.extend_from_slice(payload);
}

/// Appends one record, in as many fragments as RocksDB would write.
pub fn put_record(file: &mut Vec<u8>, mut payload: &[u8]) {
    let mut is_first = true;
    loop {
        let room = wal::BLOCK - file.len() % wal::BLOCK;
        if room < wal::HEADER {
            file.resize(file.len() + room, 0);
            continue;
        }
        let (part, rest) = payload.split_at(payload.len().min(room - wal::HEADER));
        let kind = match (is_first, rest.is_empty()) {
            (true, true) => wal::FULL,
            (true, false) => wal::FIRST,
            (false, true) => wal::LAST,
            (false, false) => wal::MIDDLE,
        };
        put_fragment(file, kind, part);
        if rest.is_empty() {
            return;
        }
        (payload, is_first) = (rest, false);
    }
}

/// A batch of the log instance: its counter, and whatever operations follow.
#[must_use]
pub fn batch(counter: u64, operations: &[u8]) -> Vec<u8> {
    let (_, value) = log_layout::counter_pair(LogCounter(counter));
    [&[0; wal::BATCH_HEADER][..], wal::COUNTER_PUT, &value, operations].concat()
}

/// Reads a key of the data instance and its value. True when both can be read.
///
/// # Panics
/// When what was read is written otherwise, or what filters see of it is something else.
#[must_use]
pub fn read_data(key: &[u8], value: &[u8]) -> bool {
    let bloom = layout::has_bloom(key).then(|| layout::bloom_prefix(key));
    let split = layout::split_version(key);
    assert!(split.is_none_or(|(prefix, _)| bloom == Some(prefix)), "a version is in the filter by its key");
    let is_key = match layout::decode_key(key) {
        None => false,
        Some(DataKey::State(range)) => layout::state_key(range) == key,
        Some(DataKey::Completion(range, client, slot)) => layout::completion_key(range, client, slot) == key,
        Some(DataKey::Version(of, at)) => {
            assert_eq!(split.map(|(_, at)| at), Some(at), "compactions see the timestamp that reads see");
            layout::version_key(&of, at) == key
        }
    };
    assert_eq!(is_key, layout::decode_key(key).is_some(), "a key that was read is written as it was");
    assert!(!is_key || bloom.is_some(), "what can be read is in the filter");
    let version = layout::decode_value(value);
    if let Some(version) = &version {
        assert_eq!(layout::encode_value(version), value, "a value that was read is written as it was");
    }
    is_key && version.is_some()
}

/// Reads the file that says which version wrote a store's directory.
///
/// # Errors
/// When that was another one, or it is damaged.
pub fn check_format(raw: &[u8]) -> Result<(), Fault> {
    format::check(raw)
}

/// What is in that file.
#[must_use]
pub fn current_format() -> Vec<u8> {
    format::encode().into_bytes()
}
