//! The thread that reads: from entries to items of the queue.

use std::io;
use std::iter::Peekable;

use bytes::Bytes;

use super::args::OnDuplicate;
use super::duplicates::{Later, LaterOnes, Looked};
use super::marks::Checked;
use super::progress::Progress;
use super::queue::{Fate, Item, Sender};
use super::reading::{Digest, Entry, Reading, What};
use super::rejects::Why;

/// Where in the input it is read.
pub struct Feed {
    reading: Reading,
    /// The digest of what was read.
    digest: Digest,
    /// How many records that are.
    records: u64,
    looked: Option<(Peekable<LaterOnes>, Checked)>,
    on_duplicate: OnDuplicate,
    /// Rejected lines are wanted as they are.
    keeps_raw: bool,
}

impl Feed {
    /// At the beginning of an input.
    pub fn new(reading: Reading, digest: Digest, on_duplicate: OnDuplicate, keeps_raw: bool) -> Self {
        Self { reading, digest, records: 0, looked: None, on_duplicate, keeps_raw }
    }

    /// The same, with what a first pass over the input found.
    #[must_use]
    pub fn with_looked(mut self, looked: Looked) -> Self {
        self.looked = Some((looked.later.peekable(), Checked::new(looked.marks, self.digest)));
        self
    }

    /// Reads up to where an import stopped, and tells `watch` after each record how many that are; false: that is another input.
    pub fn go_to(&mut self, progress: &Progress, mut watch: impl FnMut(u64)) -> io::Result<bool> {
        while self.records < progress.records {
            match self.step()? {
                None | Some((Entry { what: What::Broken(_), .. }, _)) => return Ok(false),
                Some(_) => watch(self.records),
            }
        }
        Ok(self.digest.hex() == progress.digest)
    }

    /// The next entry; the first line with its key, if it is not the first.
    fn step(&mut self) -> io::Result<Option<(Entry, Option<u64>)>> {
        let number = self.records;
        let (entry, first_line) = match &mut self.looked {
            None => {
                let Some(entry) = self.reading.next() else { return Ok(None) };
                self.digest = self.digest.with(&entry);
                (entry, None)
            }
            Some((later, checked)) => {
                let Some((entry, digest)) = checked.next(&mut self.reading)? else { return Ok(None) };
                self.digest = digest;
                let is_this = |next: &io::Result<Later>| next.as_ref().map_or(true, |next| next.number == number);
                (entry, later.next_if(is_this).transpose()?.map(|next| next.first_line))
            }
        };
        self.records = self.records.saturating_add(1);
        Ok(Some((entry, first_line)))
    }

    /// Reads to the end, or until nobody loads any more. What the whole of the input turned out to lack.
    pub fn run(mut self, queue: &Sender) -> io::Result<Option<String>> {
        while let Some(item) = self.next_item()? {
            if queue.send(item).is_err() {
                return Ok(None);
            }
        }
        Ok(self.lack())
    }

    /// What the input lacks as far as it was read, as a sentence.
    pub fn lack(&self) -> Option<String> {
        self.reading.lack()
    }

    /// The next record, and what becomes of it.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        let Some((entry, first_line)) = self.step()? else { return Ok(None) };
        let Entry { line, raw, what } = entry;
        let what = match (what, first_line) {
            (What::Row(_), Some(first)) if self.on_duplicate == OnDuplicate::First => {
                Fate::Rejected(Why::LeftOut(first))
            }
            (What::Row(_), Some(first)) if self.on_duplicate == OnDuplicate::Error => {
                Fate::Rejected(Why::Wrong(format!("the key stands on line {first} already")))
            }
            (What::Row(row), _) => Fate::Row(row),
            (What::Rejected(reason), _) => Fate::Rejected(Why::Wrong(reason)),
            (What::Piece, _) => Fate::Rejected(Why::Piece),
            (What::Broken(reason), _) => Fate::Broken(reason),
        };
        let raw = if self.keeps_raw { raw } else { Bytes::new() };
        Ok(Some(Item { line, digest: self.digest, raw, what }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::duplicates;
    use super::super::progress::Binding;
    use super::super::reading::{Input, Manner};
    use super::super::tests::{args, file};
    use super::*;

    /// The lines of rows and those of other records, after the file was looked through and then changed; and where it ended, if that was too early.
    fn read(path: &Path, change: impl FnOnce(&Path)) -> (Vec<u64>, Vec<u64>, Option<u64>) {
        let manner = Manner::of(&args(&[path.to_str().unwrap(), "--on-duplicate", "first"]));
        let open = || {
            let opened = manner.open(&Input::of(path).unwrap()).unwrap();
            (Digest::of_heading(&opened.kind), opened.reading)
        };
        let (heading, reading) = open();
        let looked = duplicates::look(reading, heading).unwrap();
        change(path);
        let (heading, reading) = open();
        let mut feed = Feed::new(reading, heading, OnDuplicate::First, false).with_looked(looked);
        let (mut rows, mut others) = (Vec::new(), Vec::new());
        while let Some(item) = feed.next_item().unwrap() {
            match item.what {
                Fate::Row(_) => rows.push(item.line),
                Fate::Rejected(_) => others.push(item.line),
                Fate::Broken(reason) => {
                    assert!(reason.contains("not what it was"), "{reason}");
                    return (rows, others, Some(item.line));
                }
            }
        }
        (rows, others, None)
    }

    #[test]
    fn a_file_that_changes_between_two_passes_overwrites_no_first_line() {
        let text = "id,n\na,1\nb,2\na,3\n";
        let (_dir, path) = file("a.csv", text);
        assert_eq!(read(&path, |_| {}), (vec![2, 3], vec![4], None));
        let (nothing, end) = (Vec::new(), Some(2));
        for other in ["id,n\nb,0\na,1\nb,2\na,3\n", "id,n\na,1\n", "id,m\na,1\nb,2\na,3\n", "id,n\na,1\nb,2\na,4\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(
                read(&path, |path| std::fs::write(path, other).unwrap()),
                (nothing.clone(), nothing.clone(), end)
            );
        }
        std::fs::write(&path, text).unwrap();
        let grown = format!("{text}a,5\n");
        assert_eq!(read(&path, |path| std::fs::write(path, grown).unwrap()), (vec![2, 3], vec![4], Some(5)));
    }

    #[test]
    fn what_was_loaded_before_is_shown_while_it_is_read_again() {
        let (_dir, path) = file("a.csv", "id,n\na,1\nb,2\nc,3\n");
        let opened = Manner::of(&args(&[path.to_str().unwrap()])).open(&Input::of(&path).unwrap()).unwrap();
        let mut feed = Feed::new(opened.reading, Digest::of_heading(&opened.kind), OnDuplicate::Last, false);
        let binding = Binding { fleet: String::new(), keyspace: 0, options: BTreeMap::new() };
        let earlier = Progress { records: 2, ..Progress::begin("a".into(), binding, 0, "of another file".into()) };
        let mut shown = Vec::new();
        assert!(!feed.go_to(&earlier, |records| shown.push(records)).unwrap());
        assert_eq!(shown, [1, 2]);
    }
}
