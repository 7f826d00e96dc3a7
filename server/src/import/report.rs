//! What the user hears of an import: the bar, rejected records one by one, and how far it got.

use std::time::{Duration, Instant};

use holdfast_output::{errln, visible};
use holdfast_rows::Progress as ReadProgress;
use holdfast_types::limits;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use super::progress::{Keeper, Progress};
use super::rejects::{Rejected, RejectsFile, Why};

/// How often the bar is drawn anew.
const DRAWN_EVERY: Duration = Duration::from_millis(200);

/// Of so many records one moves the bar.
const WATCHED_EVERY: u64 = 1_024;

/// Tells of an import, and keeps its progress.
pub struct Report {
    /// How far it is.
    pub progress: Progress,
    keeper: Keeper,
    kept_at: Instant,
    rejects: Option<RejectsFile>,
    bar: Bar,
    shown: u64,
    hidden: u64,
    last_words: Option<Rejected>,
}

impl Report {
    /// Of an import that is at `progress`.
    pub fn new(progress: Progress, keeper: Keeper, rejects: Option<RejectsFile>, bar: Bar) -> Self {
        let kept_at = Instant::now();
        Self { progress, keeper, kept_at, rejects, bar, shown: 0, hidden: 0, last_words: None }
    }

    /// Says a sentence above the bar.
    pub fn say(&self, sentence: &str) {
        self.bar.say(sentence);
    }

    /// A record is not stored: in the order of the input.
    pub fn rejected(&mut self, rejected: &Rejected) -> anyhow::Result<()> {
        let said = match &rejected.why {
            Why::Wrong(reason) => {
                self.progress.rejected = self.progress.rejected.saturating_add(1);
                Some(visible(reason).into_owned())
            }
            Why::LeftOut(first) => {
                self.progress.left_out = self.progress.left_out.saturating_add(1);
                Some(format!("left out: the key stands on line {first} already"))
            }
            Why::Piece => None,
        };
        if let Some(said) = said {
            if self.shown < limits::IMPORT_REJECTED_SHOWN {
                self.shown = self.shown.saturating_add(1);
                self.say(&format!("line {}: {said}", rejected.line));
            } else {
                self.hidden = self.hidden.saturating_add(1);
            }
            if self.rejects.is_none() {
                self.progress.unfiled = self.progress.unfiled.saturating_add(1);
            }
        }
        let is_piece = rejected.why == Why::Piece;
        self.rejects.as_mut().map_or(Ok(()), |file| file.add(&rejected.raw, is_piece))
    }

    /// True when whoever comes next goes on where this one is.
    pub fn is_kept(&self) -> bool {
        self.keeper.is_kept()
    }

    /// The record that ends the import is told after all others, and is not passed: mended, it is the first of the next one.
    pub fn last_words(&mut self, rejected: Rejected) {
        self.last_words = Some(rejected);
    }

    /// Moves the progress on, and keeps it now and then.
    pub fn done(&mut self, moves: impl FnOnce(&mut Progress)) -> anyhow::Result<()> {
        moves(&mut self.progress);
        self.bar.show(self.progress.stored);
        if self.kept_at.elapsed() >= limits::IMPORT_KEPT_EVERY { self.keep() } else { Ok(()) }
    }

    /// Keeps the progress now, and the rejected lines before it.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        if let Some(file) = &mut self.rejects {
            file.sync()?;
            self.progress.rejects = Some(file.mark());
        }
        let before = self.keeper.remarks.len();
        self.keeper.keep(&self.progress);
        for remark in self.keeper.remarks.iter().skip(before) {
            self.bar.say(&format!("warning: {remark}"));
        }
        self.kept_at = Instant::now();
        Ok(())
    }

    /// The import is over; `is_whole`: it came to the end of its input, and there is nothing to go on with.
    pub fn end(mut self, is_whole: bool) -> anyhow::Result<Progress> {
        if let Some(rejected) = self.last_words.take() {
            // It counts, and is not passed.
            self.rejected(&rejected)?;
        }
        if let Some(file) = &mut self.rejects {
            file.sync()?;
        }
        self.bar.clear();
        if self.hidden > 0 {
            errln!("... and {} more records that were not stored", HumanCount(self.hidden));
        }
        if is_whole && let Err(error) = self.keeper.end() {
            errln!("warning: the progress of this import, which is over, could not be removed: {error}");
        }
        Ok(self.progress)
    }
}

/// Rows, bytes, rate and time left, where standard error is a terminal.
pub struct Bar {
    bar: ProgressBar,
    read: Option<ReadProgress>,
    before: u64,
    begun: Instant,
}

impl Bar {
    /// For an input of which `read` counts the bytes, and `before` rows were stored by earlier imports.
    pub fn new(read: ReadProgress, before: u64) -> anyhow::Result<Self> {
        let (bar, template) = match read.size_bytes() {
            Some(size) => (ProgressBar::new(size), "{bar:24} {percent:>3}% of {total_bytes}, {msg}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {msg}"),
        };
        bar.set_style(ProgressStyle::with_template(template)?);
        bar.enable_steady_tick(DRAWN_EVERY);
        bar.set_position(read.read_bytes());
        bar.reset_eta();
        let bar = Self { bar, read: Some(read), before, begun: Instant::now() };
        bar.show(before);
        Ok(bar)
    }

    /// One that shows nothing.
    #[cfg(test)]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), read: None, before: 0, begun: Instant::now() }
    }

    fn show(&self, rows: u64) {
        let Some(read) = &self.read else { return };
        self.bar.set_position(read.read_bytes());
        self.bar.set_message(message(rows, self.before, read.read_bytes(), self.begun.elapsed()));
    }

    /// Shows how far a first look at the input is.
    pub fn watch<T>(&self, entries: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        entries.zip(0_u64..).map(|(entry, number)| {
            self.pass(number);
            entry
        })
    }

    /// So many records were read that are not loaded now.
    pub fn pass(&self, records: u64) {
        if records.is_multiple_of(WATCHED_EVERY) {
            self.show(records);
        }
    }

    fn say(&self, sentence: &str) {
        self.bar.suspend(|| errln!("{sentence}"));
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn message(rows: u64, before: u64, bytes: u64, took: Duration) -> String {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = rows.saturating_sub(before).saturating_mul(1_000) / ms;
    format!("{} rows ({} read), {} rows/s", HumanCount(rows), HumanBytes(bytes), HumanCount(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_rows_bytes_and_the_rate_of_this_run() {
        let said = message(1_234_567, 1_000_000, 5 << 20, Duration::from_secs(2));
        assert_eq!(said, "1,234,567 rows (5.00 MiB read), 117,283 rows/s");
        assert_eq!(message(0, 0, 0, Duration::ZERO), "0 rows (0 B read), 0 rows/s");
    }
}
