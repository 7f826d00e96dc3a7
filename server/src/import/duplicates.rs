//! Which records have a key that an earlier line has too.
//!
//! The input is read once before it is loaded. Of each key a fingerprint is kept, with the number of its record: these are sorted, and where
//! two neighbours have the same fingerprint, all but the first are later ones. Sorted again by number they come in the order of the input.
//! A [`Sorter`] holds [`limits::IMPORT_SORTED_KEYS`] of them; what is more goes, sorted, to a temporary file, from which it is merged. So any
//! number of keys takes the same memory, and each file is written and read once from its beginning to its end.
//!
//! A fingerprint is half of a SHA-256: that two keys of one file have the same one cannot be brought about by whoever writes the file, and does
//! not happen by chance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use holdfast_types::limits;
use ring::digest::{SHA256, digest};

use super::marks::{Marker, Marks};
use super::reading::{Digest, Entry, What};

/// One record of the sorters: sixteen bytes of a fingerprint, or none, and two numbers.
const ITEM_BYTES: usize = 32;
type Item = [u8; ITEM_BYTES];

/// A record whose key an earlier line has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Later {
    /// Which record it is, from 0.
    pub number: u64,
    /// The first line with its key.
    pub first_line: u64,
}

/// What the first pass over an input found.
pub struct Looked {
    /// Records whose key an earlier line has.
    pub later: LaterOnes,
    /// What it read, for the second pass.
    pub marks: Marks,
}

/// All of those of an input, in its order.
pub struct LaterOnes(Merge);

impl Iterator for LaterOnes {
    type Item = io::Result<Later>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0.next()?;
        Some(item.map(|item| Later { number: number_at(&item, 0), first_line: number_at(&item, 16) }))
    }
}

/// Finds them. The input is behind its heading, of which this is the digest.
pub fn look(entries: impl Iterator<Item = Entry>, heading: Digest) -> io::Result<Looked> {
    look_within(entries, heading, limits::IMPORT_SORTED_KEYS)
}

fn look_within(entries: impl Iterator<Item = Entry>, heading: Digest, most_items: usize) -> io::Result<Looked> {
    let mut keys = Sorter::new(most_items);
    let mut marker = Marker::new(heading);
    for (number, entry) in (0_u64..).zip(entries) {
        match &entry.what {
            What::Row(row) => keys.push(item(&digest(&SHA256, &row.key).as_ref()[..16], number, entry.line))?,
            What::Rejected(_) | What::Piece => {}
            What::Broken(_) => break,
        }
        marker.add(&entry)?;
    }
    let mut found = Sorter::new(most_items);
    let mut first: Option<Item> = None;
    for next in keys.sorted()? {
        let next = next?;
        match &first {
            // By number, so that they come in the order of the input; the first line goes with it.
            Some(first) if first[..16] == next[..16] => found.push(item(&next[16..24], number_at(first, 24), 0))?,
            _ => first = Some(next),
        }
    }
    Ok(Looked { later: LaterOnes(found.sorted()?), marks: marker.finish()? })
}

/// Bytes in front, and two numbers that sort as numbers.
fn item(front: &[u8], first: u64, second: u64) -> Item {
    let mut item = [0; ITEM_BYTES];
    item[..front.len().min(16)].copy_from_slice(&front[..front.len().min(16)]);
    item[16..24].copy_from_slice(&first.to_be_bytes());
    item[24..].copy_from_slice(&second.to_be_bytes());
    item
}

fn number_at(item: &Item, at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&item[at..at + 8]);
    u64::from_be_bytes(bytes)
}

/// Sorts any number of items in bounded memory.
struct Sorter {
    most_items: usize,
    items: Vec<Item>,
    /// What did not fit, in sorted parts one after the other, and how many items each part has.
    file: Option<File>,
    parts: Vec<usize>,
}

impl Sorter {
    fn new(most_items: usize) -> Self {
        Self { most_items, items: Vec::new(), file: None, parts: Vec::new() }
    }

    fn push(&mut self, item: Item) -> io::Result<()> {
        self.items.push(item);
        if self.items.len() >= self.most_items { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.items.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all(self.items.as_flattened())?;
        self.parts.push(self.items.len());
        self.items.clear();
        Ok(())
    }

    /// All items in order.
    fn sorted(mut self) -> io::Result<Merge> {
        if let Some(file) = self.file.take() {
            self.file = Some(file);
            if !self.items.is_empty() {
                self.spill()?;
            }
        } else {
            self.items.sort_unstable();
        }
        let held = (limits::IMPORT_MERGE_BYTES / self.parts.len().max(1)).max(limits::IMPORT_MERGE_PART_BYTES);
        let mut parts = Vec::with_capacity(self.parts.len() + 1);
        let mut begin = 0_u64;
        for items in self.parts {
            let bytes = u64::try_from(items * ITEM_BYTES).unwrap_or(u64::MAX);
            parts.push(Part { at: begin, end: begin + bytes, held: Vec::new(), next: 0 });
            begin += bytes;
        }
        // What was never in a file is a part that is held as a whole.
        parts.push(Part { at: begin, end: begin, held: self.items, next: 0 });
        let mut merge = Merge { file: self.file, parts, heads: BinaryHeap::new(), held: held / ITEM_BYTES };
        for part in 0..merge.parts.len() {
            if let Some(item) = merge.next_of(part)? {
                merge.heads.push(Reverse((item, part)));
            }
        }
        Ok(merge)
    }
}

/// A sorted part of what is merged.
struct Part {
    /// What of it is still in the file.
    at: u64,
    end: u64,
    /// What of it is in memory, and which of that comes next.
    held: Vec<Item>,
    next: usize,
}

/// Sorted parts as one.
struct Merge {
    file: Option<File>,
    parts: Vec<Part>,
    heads: BinaryHeap<Reverse<(Item, usize)>>,
    /// Items that are read of a part at a time.
    held: usize,
}

impl Merge {
    fn next_of(&mut self, part: usize) -> io::Result<Option<Item>> {
        let part = &mut self.parts[part];
        if part.next == part.held.len() {
            let left = usize::try_from(part.end - part.at).unwrap_or(usize::MAX) / ITEM_BYTES;
            let Some(file) = self.file.as_ref().filter(|_| left > 0) else { return Ok(None) };
            part.held.resize(left.min(self.held).max(1), [0; ITEM_BYTES]);
            file.read_exact_at(part.held.as_flattened_mut(), part.at)?;
            part.at += u64::try_from(part.held.len() * ITEM_BYTES).unwrap_or(u64::MAX);
            part.next = 0;
        }
        part.next += 1;
        Ok(Some(part.held[part.next - 1]))
    }
}

impl Iterator for Merge {
    type Item = io::Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((item, part)) = *self.heads.peek()?;
        match self.next_of(part) {
            Ok(next) => {
                let head = self.heads.peek_mut()?;
                match next {
                    Some(next) => replace(head, next, part),
                    None => drop(PeekMut::pop(head)),
                }
                Some(Ok(item))
            }
            Err(error) => {
                self.heads.clear();
                Some(Err(error))
            }
        }
    }
}

fn replace(mut head: PeekMut<'_, Reverse<(Item, usize)>>, item: Item, part: usize) {
    *head = Reverse((item, part));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::super::recipe::Row;
    use super::*;

    fn entry(line: u64, key: Option<&str>) -> Entry {
        let what = match key {
            Some(key) => What::Row(Row { key: key.to_owned().into(), value: Bytes::new(), expires: None }),
            None => What::Rejected("bad".into()),
        };
        Entry { line, raw: Bytes::new(), what }
    }

    fn found(entries: &[Entry], most_items: usize) -> Vec<(u64, u64)> {
        let looked = look_within(entries.iter().cloned(), Digest::default(), most_items).unwrap();
        looked.later.map(|later| later.map(|later| (later.number, later.first_line)).unwrap()).collect()
    }

    #[test]
    fn later_records_of_a_key_are_found_with_the_line_of_the_first() {
        let entries = [
            entry(2, Some("a")),
            entry(3, Some("b")),
            entry(4, None),
            entry(5, Some("a")),
            entry(7, Some("a")),
            entry(8, Some("c")),
            entry(9, Some("b")),
        ];
        assert_eq!(found(&entries, 100), [(3, 2), (4, 2), (6, 3)]);
        assert_eq!(found(&entries[..2], 100), []);
        assert_eq!(found(&[], 100), []);
    }

    #[test]
    fn what_does_not_fit_into_memory_is_found_by_files_all_the_same() {
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut entries = Vec::new();
        let mut first = BTreeMap::new();
        let mut expected = Vec::new();
        for number in 0..5_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (key, line) = (format!("key {}", random % 2_000), number * 2 + 2);
            match first.get(&key) {
                Some(first) => expected.push((number, *first)),
                None => drop(first.insert(key.clone(), line)),
            }
            entries.push(entry(line, Some(&key)));
        }
        assert!(expected.len() > 2_000);
        for most_items in [1, 7, 64, 4_999, 5_000, 5_001] {
            assert_eq!(found(&entries, most_items), expected, "{most_items} in memory");
        }
    }

    #[test]
    fn what_is_held_does_not_grow_with_what_is_sorted() {
        let mut sorter = Sorter::new(100);
        for number in 0..10_050_u64 {
            sorter.push(item(&(number * 7_919 % 10_050).to_be_bytes(), number, 0)).unwrap();
            assert!(sorter.items.len() < 100 && sorter.items.capacity() <= 200);
        }
        let sorted: Vec<_> = sorter.sorted().unwrap().map(|item| number_at(&item.unwrap(), 0)).collect();
        assert_eq!(sorted, (0..10_050).collect::<Vec<_>>());
    }
}
