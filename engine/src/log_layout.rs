//! Bytes of the keys and values of the log instance, format version 1.
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
//! Integers are big-endian. Every value ends with crc32c (4) over key and value. A key or a value with bytes left over is damage:
//! nothing of ours wrote it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::{Buf, BufMut};
use holdfast_types::{LogCounter, LogIndex, OutOfBounds, RangeId, ReplicaId, Term};

use crate::contract::{Fault, HardState, LogStart, ReplicaRecord, SnapshotId};
use crate::layout::Span;
use crate::spans::{self, LogSpan, LogSpans};
use crate::wal::COUNTER_KEY;

const RANGE: u8 = 1;
const STORE: u8 = 2;
const RECORD: u8 = 0;
const HARD_STATE: u8 = 1;
const START: u8 = 2;
const ENTRY: u8 = 3;

/// A key and its value, which ends with its checksum.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// What one key of a range holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogRow<'a> {
    Record(ReplicaRecord),
    HardState(HardState),
    Start(LogStart),
    Entry { index: LogIndex, term: Term, payload: &'a [u8] },
}

fn range_key(range: RangeId, kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
    out.put_u8(RANGE);
    out.put_u64(range.0);
    out.put_u8(kind);
    out
}

pub(crate) fn entry_key(range: RangeId, index: LogIndex) -> Vec<u8> {
    let mut out = range_key(range, ENTRY);
    out.put_u64(index.0);
    out
}

/// Where the hard state and the start of a range lie.
pub(crate) fn state_keys(range: RangeId) -> [Vec<u8>; 2] {
    [range_key(range, HARD_STATE), range_key(range, START)]
}

pub(crate) fn record_key(range: RangeId) -> Vec<u8> {
    range_key(range, RECORD)
}

pub(crate) fn store_key(name: &str) -> Vec<u8> {
    let mut out = vec![STORE];
    out.extend_from_slice(name.as_bytes());
    out
}

/// Everything of all ranges.
pub(crate) fn ranges_span() -> Span {
    (vec![RANGE], vec![STORE])
}

fn crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// The value as it is stored under the key.
pub(crate) fn sealed(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let sum = crc(key, &value);
    value.put_u32(sum);
    value
}

/// Checks a value's checksum and takes it off.
pub(crate) fn open_value<'a>(key: &[u8], raw: &'a [u8]) -> Result<&'a [u8], Fault> {
    let sound = raw.split_last_chunk::<4>().filter(|(value, sum)| crc(key, value) == u32::from_be_bytes(**sum));
    sound.map(|(value, _)| value).ok_or_else(|| unreadable(key, "its checksum does not match"))
}

pub(crate) fn unreadable(key: &[u8], detail: &str) -> Fault {
    Fault::Damage { doing: "reading the log".to_owned(), detail: format!("{}: {detail}", key.escape_ascii()) }
}

/// The counter of a batch, as its first operation writes it.
pub(crate) fn counter_pair(counter: LogCounter) -> Pair {
    (COUNTER_KEY.to_vec(), sealed(COUNTER_KEY, numbers(&[counter.0])))
}

/// Reads the counter of the newest batch.
pub(crate) fn decode_counter(raw: &[u8]) -> Result<LogCounter, Fault> {
    let value = open_value(COUNTER_KEY, raw)?;
    let number = <[u8; 8]>::try_from(value).map_err(|_| unreadable(COUNTER_KEY, "it has another length"))?;
    LogCounter::bounded(u64::from_be_bytes(number)).map_err(|bad| unreadable(COUNTER_KEY, &bad.to_string()))
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

fn decode_record(value: &mut &[u8]) -> Option<ReplicaRecord> {
    let kind = value.try_get_u8().ok()?;
    let replica = ReplicaId::bounded(value.try_get_u64().ok()?).ok()?;
    match kind {
        0 => Some(ReplicaRecord::Live { replica }),
        1 => Some(ReplicaRecord::Installing { replica, snapshot: SnapshotId(value.try_get_u128().ok()?) }),
        2 | 3 => Some(ReplicaRecord::Tombstone { next: replica, clearing: kind == 3 }),
        4 => Some(ReplicaRecord::Quarantined { replica }),
        _ => None,
    }
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    // Room for the checksum too.
    let mut out = Vec::with_capacity(32);
    numbers.iter().for_each(|number| out.put_u64(*number));
    out
}

impl<'a> LogRow<'a> {
    /// What is stored, and under which key.
    pub(crate) fn encode(&self, range: RangeId) -> Pair {
        let (key, value) = match self {
            Self::Record(record) => (range_key(range, RECORD), encode_record(record)),
            Self::HardState(state) => {
                (range_key(range, HARD_STATE), numbers(&[state.term.0, state.vote.0, state.commit.0]))
            }
            Self::Start(start) => (range_key(range, START), numbers(&[start.index.0, start.term.0])),
            Self::Entry { index, term, payload } => {
                let mut value = Vec::with_capacity(payload.len().saturating_add(8 + 4));
                value.put_u64(term.0);
                value.put_slice(payload);
                (entry_key(range, *index), value)
            }
        };
        let value = sealed(&key, value);
        (key, value)
    }

    /// Reads one stored key of a range, and its value.
    pub(crate) fn decode(key: &[u8], raw: &'a [u8]) -> Result<(RangeId, Self), Fault> {
        let mut value = open_value(key, raw)?;
        let broken = || unreadable(key, "it cannot be read");
        let out = |bad: OutOfBounds| unreadable(key, &bad.to_string());
        let rest = key.strip_prefix(&[RANGE]).and_then(<[u8]>::split_first_chunk::<8>);
        let (range, rest) = rest.ok_or_else(broken)?;
        let range = RangeId::bounded(u64::from_be_bytes(*range)).map_err(out)?;
        let (kind, mut rest) = rest.split_first().ok_or_else(broken)?;
        let mut number = || value.try_get_u64().map_err(|_| broken());
        let row = match *kind {
            RECORD => Self::Record(decode_record(&mut value).ok_or_else(broken)?),
            HARD_STATE => Self::HardState(HardState {
                term: Term::bounded(number()?).map_err(out)?,
                vote: ReplicaId::bounded(number()?).map_err(out)?,
                commit: LogIndex::bounded(number()?).map_err(out)?,
            }),
            START => Self::Start(LogStart {
                index: LogIndex::bounded(number()?).map_err(out)?,
                term: Term::bounded(number()?).map_err(out)?,
            }),
            ENTRY => {
                let index = LogIndex::bounded(rest.try_get_u64().map_err(|_| broken())?).map_err(out)?;
                let term = Term::bounded(number()?).map_err(out)?;
                Self::Entry { index, term, payload: std::mem::take(&mut value) }
            }
            _ => return Err(broken()),
        };
        if rest.is_empty() && value.is_empty() { Ok((range, row)) } else { Err(broken()) }
    }
}

/// Takes one stored key of a range into its span. They come in their order: the start before the entries, these by index.
pub(crate) fn take_in(spans: &mut LogSpans, key: &[u8], raw: &[u8]) -> Result<(), Fault> {
    let (range, row) = LogRow::decode(key, raw)?;
    let span: &mut LogSpan = spans.entry(range);
    match row {
        LogRow::Record(record) => span.record = Some(record),
        LogRow::HardState(state) => span.hard_state = state,
        LogRow::Start(start) => (span.start, span.last) = (start, start.index),
        LogRow::Entry { index, term, payload } => {
            span.push(index, term).map_err(|detail| spans::damage(range, detail))?;
            spans.measure(range, index, payload.len());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [LogRow<'static>; 7] = [
        LogRow::Record(ReplicaRecord::Live { replica: ReplicaId(3) }),
        LogRow::Record(ReplicaRecord::Installing { replica: ReplicaId(3), snapshot: SnapshotId(1 << 100) }),
        LogRow::Record(ReplicaRecord::Tombstone { next: ReplicaId(4), clearing: true }),
        LogRow::Record(ReplicaRecord::Quarantined { replica: ReplicaId(4) }),
        LogRow::HardState(HardState { term: Term(5), vote: ReplicaId(1), commit: LogIndex(6) }),
        LogRow::Start(LogStart { index: LogIndex(4), term: Term(2) }),
        LogRow::Entry { index: LogIndex(5), term: Term(2), payload: b"entry" },
    ];

    #[test]
    fn rows_round_trip_and_every_flipped_byte_of_them_is_seen() {
        for row in ROWS {
            let (key, value) = row.encode(RangeId(9));
            assert_eq!(LogRow::decode(&key, &value), Ok((RangeId(9), row)));
            for at in 0..key.len() + value.len() {
                let mut both = [&key[..], &value[..]].concat();
                both[at] ^= 1;
                let (key, value) = both.split_at(key.len());
                assert!(LogRow::decode(key, value).is_err(), "{row:?}, byte {at}");
            }
        }
    }

    #[test]
    fn a_key_or_a_value_with_something_behind_it_is_damage() {
        for row in ROWS {
            let (mut key, value) = row.encode(RangeId(9));
            let plain = open_value(&key, &value).unwrap().to_vec();
            let longer = sealed(&key, [&plain[..], &[0]].concat());
            // An entry may have any length.
            assert_eq!(LogRow::decode(&key, &longer).is_ok(), matches!(row, LogRow::Entry { .. }), "{row:?}");
            key.push(0);
            assert!(LogRow::decode(&key, &sealed(&key, plain)).is_err(), "{row:?}");
        }
    }

    #[test]
    fn the_counter_round_trips_and_has_a_bound() {
        let (_, raw) = counter_pair(LogCounter(7));
        assert_eq!(decode_counter(&raw), Ok(LogCounter(7)));
        let largest = sealed(COUNTER_KEY, numbers(&[u64::MAX]));
        assert!(decode_counter(&largest).unwrap_err().to_string().contains("counter"));
        assert!(decode_counter(&sealed(COUNTER_KEY, numbers(&[7, 7]))).is_err());
    }
}
