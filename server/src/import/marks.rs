//! That what is read a second time is what the first pass read.
//!
//! Which lines are later ones of a key was found in the first pass. In a file that somebody has written to since, the records with those numbers are
//! others, and what is stored would not be the first line of a key. So the first pass notes the digest of each block of records, and the second
//! one holds a block until its digest is the same: nothing is sent that the first pass has not seen.

use std::collections::VecDeque;
use std::io::{self, Read as _, Seek as _, Write as _};

use bytes::Bytes;
use holdfast_types::limits;
use tempfile::SpooledTempFile;

use super::reading::{DIGEST_BYTES, Digest, Entry, What};

const CHANGED: &str =
    "from here on the file is not what it was when it was looked through for keys that stand in it twice";

/// The end of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    /// Records up to there, from the beginning of the input.
    records: u64,
    /// Their digest.
    digest: Digest,
}

const MARK_BYTES: usize = 8 + DIGEST_BYTES;

/// Notes the blocks of the first pass.
pub struct Marker {
    marks: SpooledTempFile,
    now: Mark,
    /// Of the block that is not noted yet.
    records: u64,
    bytes: usize,
}

impl Marker {
    /// At the beginning of an input, behind its heading.
    pub fn new(heading: Digest) -> Self {
        let marks = SpooledTempFile::new(limits::IMPORT_MARKS_BYTES);
        Self { marks, now: Mark { records: 0, digest: heading }, records: 0, bytes: 0 }
    }

    /// A record was read.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.now = Mark { records: self.now.records.saturating_add(1), digest: self.now.digest.with(entry) };
        self.records = self.records.saturating_add(1);
        self.bytes = self.bytes.saturating_add(cost(entry));
        if self.records >= limits::IMPORT_BLOCK_RECORDS || self.bytes >= limits::IMPORT_BLOCK_BYTES {
            self.note()?;
        }
        Ok(())
    }

    fn note(&mut self) -> io::Result<()> {
        (self.records, self.bytes) = (0, 0);
        self.marks.write_all(&self.now.records.to_be_bytes())?;
        self.marks.write_all(&self.now.digest.bytes())
    }

    /// There are no more records. The last block is there even if it is empty, for the heading.
    pub fn finish(mut self) -> io::Result<Marks> {
        if self.records > 0 || self.now.records == 0 {
            self.note()?;
        }
        self.marks.rewind()?;
        Ok(Marks(self.marks))
    }
}

fn cost(entry: &Entry) -> usize {
    let row = match &entry.what {
        // A row of an export has no bytes of its own.
        What::Row(row) => row.key.len().saturating_add(row.value.len()),
        What::Rejected(_) | What::Piece | What::Broken(_) => 0,
    };
    entry.raw.len().max(row)
}

/// What a first pass noted.
pub struct Marks(SpooledTempFile);

impl Marks {
    fn next(&mut self) -> io::Result<Option<Mark>> {
        let mut bytes = [0; MARK_BYTES];
        match self.0.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let (records, digest) = bytes.split_at(8);
        let mut number = [0; 8];
        number.copy_from_slice(records);
        let mut sum = [0; DIGEST_BYTES];
        sum.copy_from_slice(digest);
        Ok(Some(Mark { records: u64::from_be_bytes(number), digest: Digest::of_bytes(sum) }))
    }
}

/// The second pass.
pub struct Checked {
    marks: Marks,
    /// What was read.
    now: Mark,
    line: u64,
    /// A block that is what it was, each record with the digest up to it.
    held: VecDeque<(Entry, Digest)>,
    is_over: bool,
}

impl Checked {
    /// At the beginning of an input, behind its heading.
    pub fn new(marks: Marks, heading: Digest) -> Self {
        let now = Mark { records: 0, digest: heading };
        Self { marks, now, line: 1, held: VecDeque::new(), is_over: false }
    }

    /// The next record that is what it was, with the digest up to it. Where the input is no longer the same it ends as one that cannot be read.
    pub fn next(&mut self, reading: &mut impl Iterator<Item = Entry>) -> io::Result<Option<(Entry, Digest)>> {
        while self.held.is_empty() && !self.is_over {
            self.read_block(reading)?;
        }
        Ok(self.held.pop_front())
    }

    fn read_block(&mut self, reading: &mut impl Iterator<Item = Entry>) -> io::Result<()> {
        let Some(mark) = self.marks.next()? else {
            // The first pass came to no more than this.
            match reading.next() {
                None => {}
                Some(entry) if matches!(entry.what, What::Broken(_)) => self.end(entry),
                Some(entry) => self.end(broken(entry.line, CHANGED.to_owned())),
            }
            self.is_over = true;
            return Ok(());
        };
        let mut block = VecDeque::new();
        let mut bytes = 0_usize;
        let mut changed = CHANGED.to_owned();
        // A block that would have ended before is another one, and is not held for longer.
        while self.now.records < mark.records && bytes < limits::IMPORT_BLOCK_BYTES {
            let Some(entry) = reading.next() else { break };
            if let What::Broken(reason) = &entry.what {
                changed = format!("{CHANGED}, and cannot be read: {reason}");
                break;
            }
            bytes = bytes.saturating_add(cost(&entry));
            self.now = Mark { records: self.now.records.saturating_add(1), digest: self.now.digest.with(&entry) };
            self.line = entry.line;
            block.push_back((entry, self.now.digest));
        }
        if self.now == mark {
            self.held = block;
        } else {
            let line = block.front().map_or(self.line, |(entry, _)| entry.line);
            self.end(broken(line, changed));
        }
        Ok(())
    }

    fn end(&mut self, last: Entry) {
        self.is_over = true;
        self.held.push_back((last, self.now.digest));
    }
}

fn broken(line: u64, reason: String) -> Entry {
    Entry { line, raw: Bytes::new(), what: What::Broken(reason) }
}

#[cfg(test)]
mod tests {
    use super::super::recipe::Row;
    use super::*;

    fn entry(line: u64, text: &str) -> Entry {
        let row = Row { key: text.to_owned().into(), value: Bytes::new(), expires: None };
        Entry { line, raw: text.to_owned().into(), what: What::Row(row) }
    }

    fn entries(texts: &[String]) -> Vec<Entry> {
        (2..).zip(texts).map(|(line, text)| entry(line, text)).collect()
    }

    fn marks(entries: &[Entry]) -> Marks {
        let mut marker = Marker::new(Digest::default());
        entries.iter().for_each(|entry| marker.add(entry).unwrap());
        marker.finish().unwrap()
    }

    /// How many records came, and on which line it ended as one that cannot be read.
    fn second(marks: Marks, entries: Vec<Entry>) -> (u64, Option<u64>) {
        let mut checked = Checked::new(marks, Digest::default());
        let mut reading = entries.into_iter();
        let mut records = 0;
        while let Some((entry, _)) = checked.next(&mut reading).unwrap() {
            if matches!(entry.what, What::Broken(_)) {
                assert!(checked.next(&mut reading).unwrap().is_none(), "nothing comes behind that");
                return (records, Some(entry.line));
            }
            records += 1;
        }
        (records, None)
    }

    #[test]
    fn what_is_the_same_comes_and_of_a_block_that_is_not_no_record() {
        let texts: Vec<_> = (0..3_000).map(|number| format!("{number}\n")).collect();
        let first = entries(&texts);
        assert_eq!(second(marks(&first), first.clone()), (3_000, None));
        assert_eq!(second(marks(&[]), Vec::new()), (0, None));

        let mut changed = texts.clone();
        changed[1_500] = "other\n".into();
        assert_eq!(second(marks(&first), entries(&changed)), (1_024, Some(1_026)));
        assert_eq!(second(marks(&first), entries(&texts[..2_900])), (2_048, Some(2_050)), "cut off");
        assert_eq!(second(marks(&first), entries(&texts[..2_048])), (2_048, Some(2_049)), "cut off between blocks");
        let grown = [&texts[..], &["more\n".to_owned()]].concat();
        assert_eq!(second(marks(&first), entries(&grown)), (3_000, Some(3_002)));
        assert_eq!(second(marks(&[]), entries(&texts[..1])), (0, Some(2)), "it was empty");
        let mut other = Checked::new(marks(&first), Digest::default().with(&entry(1, "another heading")));
        let ended = other.next(&mut first.into_iter()).unwrap();
        assert!(matches!(ended, Some((Entry { what: What::Broken(_), .. }, _))));
    }

    #[test]
    fn no_more_is_held_than_a_block_had() {
        let small: Vec<_> = (0..limits::IMPORT_BLOCK_RECORDS).map(|number| format!("{number}\n")).collect();
        let large = vec!["x".repeat(limits::IMPORT_BLOCK_BYTES / 2); small.len()];
        let mut read = 0;
        let mut reading = entries(&large[..8]).into_iter().inspect(|_| read += 1);
        let mut checked = Checked::new(marks(&entries(&small)), Digest::default());
        let first = checked.next(&mut reading).unwrap();
        assert!(matches!(first, Some((Entry { line: 2, what: What::Broken(_), .. }, _))));
        drop(reading);
        assert_eq!(read, 2);
        // A block of large records ends early in both passes.
        let large = entries(&large[..8]);
        assert_eq!(second(marks(&large), large.clone()), (8, None));
    }

    #[test]
    fn an_input_that_could_not_be_read_to_its_end_ends_there_again() {
        let texts: Vec<_> = (0..10).map(|number| format!("{number}\n")).collect();
        let first = entries(&texts);
        let ends = |at: usize| {
            let mut entries = first[..at].to_vec();
            entries.push(broken(99, "the disk fails".into()));
            entries
        };
        assert_eq!(second(marks(&first), ends(10)), (10, Some(99)));
        assert_eq!(second(marks(&first), ends(5)), (0, Some(2)));
    }
}
