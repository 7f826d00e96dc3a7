//! Reads the write-ahead log before RocksDB does. RocksDB's point-in-time recovery stops silently at the first bad record; here
//! a bad record with valid ones behind it is damage and refused, and one with nothing behind it is a torn write, which is cut
//! off. After that, whatever RocksDB reads is whole.
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

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use holdfast_types::LogCounter;

use super::files::{io_fault, sync_folder};
use crate::contract::Fault;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
const PREDECESSOR: u8 = 130;
/// RocksDB stores checksums rotated and shifted (`util/crc32c.h`).
const MASK: u32 = 0xa282_ead8;
/// Bytes before the operations of a write batch.
const BATCH_HEADER: usize = 12;

/// How every batch of the log instance begins, behind its header: put, key of 1 B, value of 12 B (counter and checksum).
pub(super) const COUNTER_KEY: &[u8] = &[0];
const COUNTER_PUT: &[u8] = &[1, 1, 0, 12];
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

fn scan(bytes: &[u8]) -> Result<Scanned, String> {
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
            scanned.valid_behind = begins_behind(bytes, at, scanned.counters.map(|(_, last)| last));
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
/// trusted; a false alarm is one in 2^32 a byte. A torn record may carry anything, even a copy of a log: only batches that
/// could follow the one numbered `newest` count.
fn begins_behind(bytes: &[u8], bad: usize, newest: Option<u64>) -> bool {
    let follows = |payload: &[u8]| match (counter_of(payload), newest) {
        (Some(counter), Some(newest)) => counter > newest && counter - newest <= MAX_BATCHES_IN_FILE,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let begins = |at: usize| match fragment(bytes, at) {
        Some(Fragment { kind: FULL, payload, .. }) => follows(payload),
        // At the end of a block there may be no room for the counter in it.
        Some(Fragment { kind: FIRST, payload, .. }) => payload.len() < COUNTER_END || follows(payload),
        _ => false,
    };
    (bad + 1..bytes.len()).any(begins)
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

/// The files of the write-ahead log in `dir`, oldest first.
fn wal_files(dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let doing = "looking for the write-ahead log";
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| io_fault(doing, dir, &error))? {
        let path = entry.map_err(|error| io_fault(doing, dir, &error))?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), Some("log")) = (number, path.extension().and_then(|end| end.to_str())) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Checks the write-ahead log in `dir` and cuts off a torn tail. Gives the counter of the newest batch in it.
pub(super) fn check(dir: &Path) -> Result<Option<LogCounter>, Fault> {
    let doing = "checking the write-ahead log";
    let damage = |path: &Path, detail: &str| Fault::Damage {
        doing: doing.to_owned(),
        detail: format!("{}: {detail}", path.display()),
    };
    let mut newest: Option<u64> = None;
    let mut torn: Option<(PathBuf, usize)> = None;
    for path in wal_files(dir)? {
        let bytes = fs::read(&path).map_err(|error| io_fault(doing, &path, &error))?;
        let scanned = scan(&bytes).map_err(|detail| damage(&path, &detail))?;
        if let (Some((path, at)), Some(_)) = (&torn, scanned.counters) {
            return Err(damage(path, &format!("the record at {at} is bad, and a later file has valid ones")));
        }
        if let Some((first, last)) = scanned.counters {
            if newest.is_some_and(|newest| first <= newest) {
                return Err(damage(&path, &format!("batch {first} is there twice")));
            }
            newest = Some(last);
        }
        if let Some(at) = scanned.bad_at {
            if scanned.valid_behind {
                return Err(damage(&path, &format!("the record at {at} is bad, and valid ones lie behind it")));
            }
            torn.get_or_insert((path, at));
        }
    }
    if let Some((path, at)) = torn {
        cut(&path, at)?;
    }
    Ok(newest.map(LogCounter))
}

fn cut(path: &Path, at: usize) -> Result<(), Fault> {
    let cut = || {
        let file = File::options().write(true).open(path)?;
        file.set_len(at as u64)?;
        file.sync_all()
    };
    cut().map_err(|error| io_fault("cutting off a torn write", path, &error))?;
    path.parent().map_or(Ok(()), sync_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
        let mut body = vec![kind];
        body.extend_from_slice(payload);
        let masked = crc32c::crc32c(&body).rotate_right(15).wrapping_add(MASK);
        out.extend_from_slice(&masked.to_le_bytes());
        out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_le_bytes());
        out.extend_from_slice(&body);
    }

    fn batch(counter: u64, padding: usize) -> Vec<u8> {
        let mut out = vec![0; BATCH_HEADER];
        out.extend_from_slice(COUNTER_PUT);
        out.extend_from_slice(&counter.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.resize(out.len() + padding, 0);
        out
    }

    /// Three batches: the middle one lies in three blocks.
    fn wal() -> (Vec<u8>, usize, usize) {
        let mut out = Vec::new();
        put(&mut out, FULL, &batch(4, 10));
        let second = out.len();
        let long = batch(5, 2 * BLOCK);
        let room = BLOCK - out.len() - HEADER;
        put(&mut out, FIRST, &long[..room]);
        put(&mut out, MIDDLE, &long[room..room + BLOCK - HEADER]);
        put(&mut out, LAST, &long[room + BLOCK - HEADER..]);
        let third = out.len();
        put(&mut out, FULL, &batch(6, 10));
        (out, second, third)
    }

    #[test]
    fn whole_log_is_read_with_its_counters() {
        let (bytes, ..) = wal();
        assert_eq!(scan(&bytes), Ok(Scanned { counters: Some((4, 6)), bad_at: None, valid_behind: false }));
    }

    #[test]
    fn cut_anywhere_is_a_torn_tail_that_begins_with_its_record() {
        let (bytes, second, third) = wal();
        for (at, record) in [(second + 3, second), (BLOCK, second), (2 * BLOCK + 50, second), (third + 9, third)] {
            let scanned = scan(&bytes[..at]).unwrap();
            assert_eq!((scanned.bad_at, scanned.valid_behind), (Some(record), false), "cut at {at}");
        }
    }

    #[test]
    fn flipped_byte_before_a_valid_record_is_damage_and_in_the_last_one_a_tear() {
        let (bytes, second, third) = wal();
        for at in [0, 5, 20, second + 100, BLOCK + 3, 2 * BLOCK + 9, third + 2, third + 20] {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let scanned = scan(&bad).unwrap();
            assert_eq!(scanned.valid_behind, at < third, "flip at {at}");
            assert!(scanned.bad_at.is_some());
        }
    }

    #[test]
    fn lost_page_inside_the_last_batch_is_a_tear() {
        let (bytes, second, third) = wal();
        let mut torn = bytes[..third].to_vec();
        torn[second..BLOCK].fill(0);
        let scanned = scan(&torn).unwrap();
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
        let scanned = scan(&bytes).unwrap();
        assert!(scanned.bad_at.is_some() && !scanned.valid_behind);
    }

    #[test]
    fn missing_batch_is_seen() {
        let mut out = Vec::new();
        put(&mut out, FULL, &batch(4, 0));
        put(&mut out, FULL, &batch(6, 0));
        assert!(scan(&out).is_err());
    }
}
