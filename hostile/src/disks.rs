//! What lies on a disk, byte for byte as it lies there: keys and values of both instances, files of the write-ahead log, and the small files
//! beside them.

use std::collections::BTreeMap;

use holdfast_engine::hostile::{
    FRAGMENTS, batch, check_format, check_wal, log_counter, open_log, put_fragment, put_record, read_data, replayed,
    sound,
};
use holdfast_kv::core::addresses::{AddressBook, Kept};
use holdfast_proto::convert::admin::{decode_events, encode_events};
use holdfast_proto::convert::audit::{decode_waiting, encode_waiting};
use holdfast_types::{LogCounter, Moment, RangeId, StoreId, limits};

use crate::memory;
use crate::pieces::{self, Piece};
use crate::store::{SHARED, Store};

/// The ranges that keys are made for: those that a founded store has, one that it has not, and the last one that there can be.
pub(crate) const RANGES: [RangeId; 4] = [RangeId::SYSTEM, SHARED, RangeId(77), RangeId::MAX];
/// The first byte of the keys of ranges in the log instance, and the kind of their entries.
const OF_A_RANGE: u8 = 1;
const ENTRY: u8 = 3;
/// Batches are numbered from here: a copy of an old log, which any value may hold, has smaller numbers.
const FIRST_BATCH: u64 = 1 << 40;
/// The longest record: it lies in three blocks.
const MAX_RECORD_BYTES: usize = 70_000;

/// Each piece is a key of the log instance with its value, or several entries; the low bits of its tag say what it is, the next ones of
/// which range. The instance is opened, and what was in it is what a store starts with.
pub(crate) fn log_instance(input: &[u8]) {
    let mut rows = BTreeMap::new();
    let mut next = [1_u64; RANGES.len()];
    for Piece { tag, bytes } in pieces::cut(input) {
        let of = usize::from(tag >> 3 & 3);
        let key = |kind, behind: &[u8]| [&[OF_A_RANGE][..], &RANGES[of].0.to_be_bytes(), &[kind], behind].concat();
        let (first, rest) = bytes.split_at(bytes.len().min(8));
        let number = first.try_into().map_or(0, u64::from_be_bytes);
        let mut put_sound = |key: Vec<u8>, value: &[u8]| {
            let value = sound(&key, value.to_vec());
            rows.insert(key, value);
        };
        match tag & 7 {
            kind @ 0..=2 => {
                put_sound(key(kind, b""), &bytes);
                next[of] = if kind == 2 { number.wrapping_add(1) } else { next[of] };
            }
            // An entry with its index, or several that follow the last one.
            3 => put_sound(key(ENTRY, first), rest),
            4 => {
                for _ in 0..1 << (tag >> 5) {
                    put_sound(key(ENTRY, &next[of].to_be_bytes()), &bytes);
                    next[of] = next[of].wrapping_add(1);
                }
            }
            5 => {
                let (key, value) = cut(&bytes);
                put_sound(key.to_vec(), value);
            }
            6 => {
                let (key, value) = cut(&bytes);
                rows.insert(key.to_vec(), value.to_vec());
            }
            _ => {
                let _ = log_counter(&bytes);
                let _ = log_counter(&sound(&[0], bytes.to_vec()));
            }
        }
    }
    let given_bytes = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    if memory::within(32, given_bytes, || open_log(&rows)).is_ok() {
        let mut store = Store::founded();
        // What does not fit to what it has already is refused, and the rest written.
        replayed(&rows).into_iter().for_each(|op| store.write_log(&[op]));
        store.restart();
        store.run(300);
    }
}

/// A piece that is two things: its first byte says how long the first of them is.
fn cut(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return (b"", b"") };
    rest.split_at(usize::from(*length).min(rest.len()))
}

/// Each piece adds to the files of a write-ahead log: a batch, a sound fragment, any bytes, or the beginning of another file. A log that has
/// only batches is whole; with its last one torn anywhere it lacks that batch and nothing else, whatever is in it. (But for the first batch
/// of all: what could follow it nothing says, so that a copy of a log in it counts.)
pub(crate) fn log_files(input: &[u8]) {
    let (mut files, mut counter, mut last, mut is_ours) = (vec![Vec::new()], FIRST_BATCH, None, true);
    for Piece { tag, bytes } in pieces::cut(input) {
        let file = files.len() - 1;
        match tag & 7 {
            0 => files[file].extend_from_slice(&bytes),
            kind @ 1..=5 => put_fragment(&mut files[file], FRAGMENTS[usize::from(kind) - 1], &bytes),
            6 => {
                let mut repeated = bytes.repeat(1 + usize::from(tag >> 3));
                repeated.truncate(MAX_RECORD_BYTES);
                last = Some((file, files[file].len()));
                put_record(&mut files[file], &batch(counter, &repeated));
                counter += 1;
                is_ours &= !names_a_batch(&repeated);
            }
            _ => files.push(bytes.to_vec()),
        }
        is_ours &= tag & 7 == 6 || tag & 7 == 7 && bytes.is_empty();
    }
    let given_bytes = files.iter().map(Vec::len).sum();
    let found = memory::within(8, given_bytes, || check_wal(&files));
    if is_ours && let Some((file, at)) = last {
        let newest = |counter| (counter > FIRST_BATCH).then(|| LogCounter(counter - 1));
        assert_eq!(found, Ok((newest(counter), None)), "what was written whole is whole");
        if counter == FIRST_BATCH + 1 {
            return;
        }
        let whole = files[file].clone();
        let mut torn = |change: &dyn Fn(&mut Vec<u8>)| {
            files[file].clone_from(&whole);
            change(&mut files[file]);
            assert_eq!(check_wal(&files), Ok((newest(counter - 1), Some((file, at)))), "a torn write is no damage");
        };
        let length = whole.len() - at;
        for kept in [1, length / 2, length - 1] {
            torn(&|file| file.truncate(at + kept));
        }
        for lost in [0, length - 1] {
            torn(&|file| file[at + lost] ^= 1);
        }
    }
}

/// True when what a client wrote holds the beginning of a batch with a number that could come next. Whoever knows that number can make a torn
/// write look like damage, so such a value is left out of the rule.
fn names_a_batch(bytes: &[u8]) -> bool {
    let begins = &batch(FIRST_BATCH, b"")[12..12 + 4 + 3];
    bytes.windows(begins.len()).any(|window| window == begins)
}

/// Each piece is a key of the data instance and its value; with an odd tag the key is that of a version.
pub(crate) fn data_instance(input: &[u8]) {
    for Piece { tag, bytes } in pieces::cut(input) {
        let (key, value) = cut(&bytes);
        let key = if tag & 1 == 1 { [&[2], key].concat() } else { key.to_vec() };
        let _ = memory::within(8, bytes.len(), || read_data(&key, value));
    }
}

/// Each piece is a whole file: which version wrote the directory, the address book, the events, or what waits of the audit.
pub(crate) fn small_files(input: &[u8]) {
    for Piece { tag, bytes } in pieces::cut(input) {
        match tag % 4 {
            0 => drop(memory::within(4, bytes.len(), || check_format(&bytes))),
            1 => address_book(&bytes),
            2 => events(&bytes),
            _ => waiting_audit(&bytes),
        }
    }
}

fn address_book(bytes: &[u8]) {
    let Ok((kept, _)) = memory::within(32, bytes.len(), || Kept::decode(bytes)) else { return };
    let (again, left_out) = Kept::decode(&kept.encode()).expect("what was read can be written and read again");
    assert_eq!((&again, left_out), (&kept, Vec::new()));
    let mut book = AddressBook::new(StoreId(1));
    kept.claims.iter().filter(|claim| !kept.hearsay.contains(&claim.store)).for_each(|claim| book.vouch(claim.store));
    for claim in &kept.claims {
        book.hear(claim, Moment(1_000_000));
        book.check();
    }
    for record in &kept.forgotten {
        book.forget(record.store);
    }
    book.turn(Moment(9_000_000));
    book.check();
}

fn events(bytes: &[u8]) {
    // The first question of all reads the descriptors of messages, once.
    let _ = decode_events(b"");
    let Ok(events) = memory::within(160, bytes.len(), || decode_events(bytes)) else { return };
    assert!(events.len() <= limits::EVENTS_KEPT);
    assert_eq!(decode_events(&encode_events(events.clone())), Ok(events));
}

fn waiting_audit(bytes: &[u8]) {
    let _ = decode_waiting(b"");
    let Ok(entries) = memory::within(320, bytes.len(), || decode_waiting(bytes)) else { return };
    assert!(entries.len() <= limits::AUDIT_FILE_ENTRIES);
    assert_eq!(decode_waiting(&encode_waiting(entries.clone())), Ok(entries));
}
