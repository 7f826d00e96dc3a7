//! The thread that reads: from entries to items of the queue.

use std::io;
use std::iter::Peekable;

use bytes::Bytes;

use super::args::OnDuplicate;
use super::duplicates::{Later, LaterOnes};
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
    later: Option<Peekable<LaterOnes>>,
    on_duplicate: OnDuplicate,
    /// Rejected lines are wanted as they are.
    keeps_raw: bool,
}

impl Feed {
    /// At the beginning of an input.
    pub fn new(reading: Reading, digest: Digest, on_duplicate: OnDuplicate, keeps_raw: bool) -> Self {
        Self { reading, digest, records: 0, later: None, on_duplicate, keeps_raw }
    }

    /// The same, with the records whose key an earlier line has.
    #[must_use]
    pub fn with_later(mut self, later: LaterOnes) -> Self {
        self.later = Some(later.peekable());
        self
    }

    /// Reads up to where an import stopped; false: that is another input.
    pub fn go_to(&mut self, progress: &Progress) -> io::Result<bool> {
        while self.records < progress.records {
            let Some(entry) = self.reading.next() else { return Ok(false) };
            self.step(&entry)?;
        }
        Ok(self.digest.hex() == progress.digest)
    }

    /// Counts an entry; the first line with its key, if it is not the first.
    fn step(&mut self, entry: &Entry) -> io::Result<Option<u64>> {
        let number = self.records;
        self.records = self.records.saturating_add(1);
        self.digest = self.digest.with(entry);
        let Some(later) = &mut self.later else { return Ok(None) };
        let is_this = |next: &io::Result<Later>| next.as_ref().map_or(true, |next| next.number == number);
        later.next_if(is_this).transpose().map(|next| next.map(|next| next.first_line))
    }

    /// Reads to the end, or until nobody loads any more.
    pub fn run(mut self, queue: &Sender) -> io::Result<()> {
        while let Some(item) = self.next_item()? {
            if queue.send(item).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The next record, and what becomes of it.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        let Some(entry) = self.reading.next() else { return Ok(None) };
        let first_line = self.step(&entry)?;
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
