//! The bytes of the write-ahead log, read before RocksDB reads them. RocksDB's point-in-time recovery stops silently at the first bad
//! record; here a bad record with valid ones behind it is damage and refused, and one with nothing behind it is a torn write, which is
//! cut off. After that, whatever RocksDB reads is whole.
//!
//! Format (RocksDB, `db/log_format.h` and the wiki page "Write Ahead Log File Format"): blocks of 32 KiB hold fragments
//!
//! ```text
//! masked crc32c of type and payload (4, LE) | length (2, LE) | type (1) | payload
//! ```
//!
//! of types 1 full, 2 first, 3 middle, 4 last; 130 tells about the log before and stands alone. Fewer than 7 bytes at the end
//! of a block are padding. Recycled logs and compression are off, so other types do not occur. The payload is a write batch
//! (`db/write_batch.cc`): `sequence (8) | count (4) | operations`, of which ours begin with the batch counter.
//!
//! Only one batch at a time is unsynced. So a crash leaves one bad logical record at most, and no record *begins* behind it;
//! fragments of its own may well lie there, because pages reach the disk in any order.

use holdfast_types::LogCounter;

pub(crate) const BLOCK: usize = 32 << 10;
pub(crate) const HEADER: usize = 7;
pub(crate) const FULL: u8 = 1;
pub(crate) const FIRST: u8 = 2;
pub(crate) const MIDDLE: u8 = 3;
pub(crate) const LAST: u8 = 4;
pub(crate) const PREDECESSOR: u8 = 130;
/// RocksDB stores checksums rotated and shifted (`util/crc32c.h`).
const MASK: u32 = 0xa282_ead8;
/// Bytes before the operations of a write batch.
pub(crate) const BATCH_HEADER: usize = 12;

/// How every batch of the log instance begins, behind its header: put, key of 1 B, value of 12 B (counter and checksum).
pub(crate) const COUNTER_KEY: &[u8] = &[0];
pub(crate) const COUNTER_PUT: &[u8] = &[1, 1, 0, 12];
/// Where the counter ends in a batch.
const COUNTER_END: usize = BATCH_HEADER + COUNTER_PUT.len() + 8;
/// More batches than one file can hold.
const MAX_BATCHES_IN_FILE: u64 = 1 << 24;

/// A whole fragment.
struct Fragment<'a> {
    kind: u8,
    payload: &'a [u8],
    end: usize,
}

/// The fragment at `at`, if it is whole and its checksum matches.
fn fragment(bytes: &[u8], at: usize) -> Option<Fragment<'_>> {
    let header: &[u8; HEADER] = bytes.get(at..)?.first_chunk()?;
    let [c0, c1, c2, c3, l0, l1, kind] = *header;
    let end = at + HEADER + usize::from(u16::from_le_bytes([l0, l1]));
    if !matches!(kind, FULL | FIRST | MIDDLE | LAST | PREDECESSOR) || end > (at / BLOCK + 1) * BLOCK {
        return None;
    }
    let crc = crc32c::crc32c(bytes.get(at + HEADER - 1..end)?);
    let masked = crc.rotate_right(15).wrapping_add(MASK);
    (masked == u32::from_le_bytes([c0, c1, c2, c3])).then(|| Fragment { kind, payload: &bytes[at + HEADER..end], end })
}

/// The header of a fragment.
pub(crate) fn header(kind: u8, payload: &[u8]) -> [u8; HEADER] {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
    let [c0, c1, c2, c3] = crc.rotate_right(15).wrapping_add(MASK).to_le_bytes();
    let [l0, l1] = u16::try_from(payload.len()).expect("a fragment is shorter than a block").to_le_bytes();
    [c0, c1, c2, c3, l0, l1, kind]
}

/// What one file of the write-ahead log holds.
#[derive(PartialEq, Eq, Debug, Default)]
struct Scanned {
    /// Counters of its batches: first and last.
    counters: Option<(u64, u64)>,
    /// Where the first logical record that is not whole begins.
    bad_at: Option<usize>,
    /// True when a record begins behind that.
    valid_behind: bool,
}

/// Reads one file; `before` is the counter of the newest batch in the files before it.
fn scan(bytes: &[u8], before: Option<u64>) -> Result<Scanned, String> {
    let mut scanned = Scanned::default();
    let (mut at, mut record_at) = (0, 0);
    let mut record: Option<Vec<u8>> = None;
    while at < bytes.len() {
        if BLOCK - at % BLOCK < HEADER {
            at = (at / BLOCK + 1) * BLOCK;
            continue;
        }
        let found = fragment(bytes, at).filter(|found| record.is_some() == matches!(found.kind, MIDDLE | LAST));
        let Some(found) = found else {
            scanned.bad_at = Some(if record.is_some() { record_at } else { at });
            scanned.valid_behind = begins_behind(bytes, at, scanned.counters.map(|(_, last)| last).or(before));
            return Ok(scanned);
        };
        match found.kind {
            FULL => note(&mut scanned, found.payload)?,
            FIRST => (record, record_at) = (Some(found.payload.to_vec()), at),
            MIDDLE | LAST => {
                let mut whole = record.take().unwrap_or_default();
                whole.extend_from_slice(found.payload);
                if found.kind == LAST {
                    note(&mut scanned, &whole)?;
                } else {
                    record = Some(whole);
                }
            }
            _ => {}
        }
        at = found.end;
    }
    scanned.bad_at = record.map(|_| record_at);
    Ok(scanned)
}

/// True when a record begins somewhere behind the bad fragment at `bad`. Tries every byte, because its length is not to be
/// trusted; a false alarm is one in 2^32 a byte. A torn record may carry anything, even a copy of a log or what somebody made up as a
/// part of one: only batches that could follow the one numbered `newest` count. Where no batch is known, any does: a log that
/// seems damaged can be looked at, and one that was cut cannot be put together again.
fn begins_behind(bytes: &[u8], bad: usize, newest: Option<u64>) -> bool {
    let follows =
        |counter: u64| newest.is_none_or(|newest| counter > newest && counter - newest <= MAX_BATCHES_IN_FILE);
    (bad + 1..bytes.len()).any(|at| begun_counter(bytes, at).is_some_and(follows))
}

/// The counter of the record that begins at `at`, if one does. At the end of a block there may be no room for the counter in its first
/// fragment: then the record counts when the next fragment completes it.
fn begun_counter(bytes: &[u8], at: usize) -> Option<u64> {
    let found = fragment(bytes, at)?;
    match found.kind {
        FULL => counter_of(found.payload),
        // It is the first of several because its block has no room for more.
        FIRST if found.end % BLOCK == 0 && found.payload.len() < COUNTER_END => {
            let next = fragment(bytes, found.end).filter(|next| matches!(next.kind, MIDDLE | LAST))?;
            let more = next.payload.get(..COUNTER_END - found.payload.len())?;
            counter_of(&[found.payload, more].concat())
        }
        FIRST => counter_of(found.payload),
        _ => None,
    }
}

/// The counter with which a batch begins.
fn counter_of(batch: &[u8]) -> Option<u64> {
    let counter = batch.get(BATCH_HEADER..)?.strip_prefix(COUNTER_PUT)?;
    counter.first_chunk::<8>().map(|raw| u64::from_be_bytes(*raw))
}

/// Notes the counter of a batch; within one file they have no gaps.
fn note(scanned: &mut Scanned, batch: &[u8]) -> Result<(), String> {
    let Some(counter) = counter_of(batch) else {
        return Err("a batch does not begin with its counter".to_owned());
    };
    scanned.counters = match scanned.counters {
        None => Some((counter, counter)),
        Some((first, last)) if last.checked_add(1) == Some(counter) => Some((first, counter)),
        Some((_, last)) => return Err(format!("batch {counter} follows batch {last}")),
    };
    Ok(())
}

/// What is wrong with the write-ahead log.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Damaged {
    /// The number of the file.
    pub(crate) file: usize,
    pub(crate) detail: String,
}

/// A torn write: what is left of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Torn {
    /// The number of the file, counted from 0 at the oldest.
    pub(crate) file: usize,
    /// Where the record begins.
    pub(crate) at: usize,
}

/// The check of all files, the oldest first.
#[derive(Default)]
pub(crate) struct WalCheck {
    files: usize,
    newest: Option<u64>,
    torn: Option<Torn>,
}

impl WalCheck {
    /// Takes in the next file.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let file = self.files;
        self.files += 1;
        let damaged = |detail: String| Damaged { file, detail };
        let scanned = scan(bytes, self.newest).map_err(damaged)?;
        if let (Some(torn), Some(_)) = (self.torn, scanned.counters) {
            let detail = format!("the record at {} is bad, and a later file has valid ones", torn.at);
            return Err(Damaged { file: torn.file, detail });
        }
        if let Some((first, last)) = scanned.counters {
            if self.newest.is_some_and(|newest| first <= newest) {
                return Err(damaged(format!("batch {first} is there twice")));
            }
            self.newest = Some(last);
        }
        if let Some(at) = scanned.bad_at {
            if scanned.valid_behind {
                return Err(damaged(format!("the record at {at} is bad, and valid ones lie behind it")));
            }
            self.torn.get_or_insert(Torn { file, at });
        }
        Ok(())
    }

    /// The counter of the newest batch, and the torn write that is to be cut off.
    pub(crate) fn finish(self) -> (Option<LogCounter>, Option<Torn>) {
        (self.newest.map(LogCounter), self.torn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{self, put_fragment as put, put_record};

    fn batch(counter: u64, padding: usize) -> Vec<u8> {
        hostile::batch(counter, &vec![0; padding])
    }

    /// Three batches: the middle one lies in three blocks.
    fn wal() -> (Vec<u8>, usize, usize) {
        let mut out = Vec::new();
        put_record(&mut out, &batch(4, 10));
        let second = out.len();
        put_record(&mut out, &batch(5, 2 * BLOCK));
        let third = out.len();
        put_record(&mut out, &batch(6, 10));
        (out, second, third)
    }

    #[test]
    fn whole_log_is_read_with_its_counters() {
        let (bytes, ..) = wal();
        assert_eq!(scan(&bytes, None), Ok(Scanned { counters: Some((4, 6)), bad_at: None, valid_behind: false }));
    }

    #[test]
    fn cut_anywhere_is_a_torn_tail_that_begins_with_its_record() {
        let (bytes, second, third) = wal();
        for (at, record) in [(second + 3, second), (BLOCK, second), (2 * BLOCK + 50, second), (third + 9, third)] {
            let scanned = scan(&bytes[..at], None).unwrap();
            assert_eq!((scanned.bad_at, scanned.valid_behind), (Some(record), false), "cut at {at}");
        }
    }

    #[test]
    fn flipped_byte_before_a_valid_record_is_damage_and_in_the_last_one_a_tear() {
        let (bytes, second, third) = wal();
        for at in [0, 5, 20, second + 100, BLOCK + 3, 2 * BLOCK + 9, third + 2, third + 20] {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let scanned = scan(&bad, None).unwrap();
            assert_eq!(scanned.valid_behind, at < third, "flip at {at}");
            assert!(scanned.bad_at.is_some());
        }
    }

    #[test]
    fn lost_page_inside_the_last_batch_is_a_tear() {
        let (bytes, second, third) = wal();
        let mut torn = bytes[..third].to_vec();
        torn[second..BLOCK].fill(0);
        let scanned = scan(&torn, None).unwrap();
        assert_eq!((scanned.bad_at, scanned.valid_behind), (Some(second), false));
    }

    #[test]
    fn copy_of_a_log_inside_a_torn_value_is_no_record() {
        let mut inner = Vec::new();
        put(&mut inner, FULL, &batch(3, 10));
        let mut outer = batch(5, 0);
        outer.extend_from_slice(&inner);
        outer.extend_from_slice(&[0; 50]);
        let mut bytes = Vec::new();
        put(&mut bytes, FULL, &batch(4, 0));
        put(&mut bytes, FULL, &outer);
        bytes.truncate(bytes.len() - 10);
        let scanned = scan(&bytes, None).unwrap();
        assert!(scanned.bad_at.is_some() && !scanned.valid_behind);
    }

    /// What a client wrote may look like the beginning of a record, and lie where the log has a block end.
    #[test]
    fn made_up_beginnings_of_records_inside_a_torn_value_are_none() {
        let mut empty = Vec::new();
        put(&mut empty, FIRST, b"");
        let mut outer = batch(5, 0);
        // 7 bytes each, and a block has one more than a multiple: in one of seven blocks they end where the block does.
        outer.extend(empty.iter().cycle().take(8 * BLOCK));
        let mut bytes = Vec::new();
        put(&mut bytes, FULL, &batch(4, 0));
        let torn = bytes.len();
        put_record(&mut bytes, &outer);
        for lost in [torn..torn + 9, torn + 9..torn + 10, BLOCK - 4_096..BLOCK, 0..0] {
            let mut bytes = bytes[..bytes.len() - 10].to_vec();
            bytes[lost].fill(0);
            let scanned = scan(&bytes, None).unwrap();
            assert_eq!((scanned.bad_at, scanned.valid_behind), (Some(torn), false));
        }
    }

    #[test]
    fn record_with_its_counter_in_the_next_block_is_found_behind_a_bad_one() {
        for room in [0, 1, 20, COUNTER_END - 1] {
            let mut bytes = Vec::new();
            put(&mut bytes, FULL, &batch(4, BLOCK - 2 * HEADER - room - batch(4, 0).len()));
            assert_eq!(BLOCK - bytes.len() - HEADER, room);
            put_record(&mut bytes, &batch(5, 2 * BLOCK));
            bytes[20] ^= 1;
            let scanned = scan(&bytes, Some(3)).unwrap();
            assert_eq!((scanned.bad_at, scanned.valid_behind), (Some(0), true), "room for {room}");
            assert!(!scan(&bytes, Some(5)).unwrap().valid_behind, "an older batch follows no newer one");
        }
    }

    #[test]
    fn torn_tail_is_that_of_the_last_file_and_a_record_behind_it_is_damage() {
        let file = |counter| {
            let mut out = Vec::new();
            put(&mut out, FULL, &batch(counter, 0));
            out
        };
        let (first, second) = (file(4), file(5));
        let torn = &second[..second.len() - 1];
        let mut check = WalCheck::default();
        check.take(&first).unwrap();
        check.take(torn).unwrap();
        check.take(b"").unwrap();
        let third = check.take(&file(6)).unwrap_err();
        assert_eq!(third.file, 1, "{third:?}");
        let mut check = WalCheck::default();
        check.take(&first).unwrap();
        check.take(torn).unwrap();
        assert_eq!(check.finish(), (Some(LogCounter(4)), Some(Torn { file: 1, at: 0 })));
        let mut check = WalCheck::default();
        check.take(&second).unwrap();
        assert!(check.take(&first).unwrap_err().detail.contains("twice"));
    }

    #[test]
    fn missing_batch_is_seen() {
        let mut out = Vec::new();
        put(&mut out, FULL, &batch(4, 0));
        put(&mut out, FULL, &batch(6, 0));
        assert!(scan(&out, None).is_err());
    }
}
