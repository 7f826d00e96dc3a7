//! How many bytes a log takes, by position: what a bound in bytes is kept by.

use std::collections::VecDeque;

use crate::ids::LogIndex;
use crate::limits;

/// Bytes of a log's entries, in runs of about [`limits::LOG_SIZE_RUN_BYTES`]: a log of any length costs little memory to measure.
///
/// A cut in the middle of a run leaves it the part of its bytes that its entries have on average, so figures are off by less
/// than a run (or one entry, if that is larger) at each end.
///
/// Invariants:
/// - runs are contiguous, ascending and not empty; the newest one ends at `last`
/// - `total_bytes` is the sum of all runs
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogSizes {
    runs: VecDeque<Run>,
    last: LogIndex,
    total_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: LogIndex,
    bytes: u64,
}

impl LogSizes {
    /// An entry stands behind the last one. One that does not follow it begins a new log.
    pub fn push(&mut self, index: LogIndex, payload_bytes: usize) {
        if index != self.last.next() {
            self.clear();
        }
        let bytes = (payload_bytes as u64).saturating_add(limits::LOG_ENTRY_OVERHEAD_BYTES);
        self.total_bytes = self.total_bytes.saturating_add(bytes);
        self.last = index;
        match self.runs.back_mut() {
            Some(run) if run.bytes < limits::LOG_SIZE_RUN_BYTES => run.bytes = run.bytes.saturating_add(bytes),
            _ => self.runs.push_back(Run { first: index, bytes }),
        }
    }

    /// The entries from `from` on are gone.
    pub fn cut_tail(&mut self, from: LogIndex) {
        while self.runs.back().is_some_and(|run| run.first >= from) {
            let run = self.runs.pop_back().expect("just seen");
            self.total_bytes -= run.bytes;
            self.last = LogIndex(run.first.0 - 1);
        }
        if let Some(run) = self.runs.back_mut().filter(|_| self.last >= from) {
            let kept = part(run.bytes, from.0 - run.first.0, self.last.0 + 1 - run.first.0);
            self.total_bytes -= run.bytes - kept;
            run.bytes = kept;
            self.last = LogIndex(from.0 - 1);
        }
        if self.runs.is_empty() {
            self.clear();
        }
    }

    /// The entries up to and including `up_to` are gone.
    pub fn cut_front(&mut self, up_to: LogIndex) {
        while let Some(run) = self.runs.front().copied() {
            let last = self.runs.get(1).map_or(self.last.0, |next| next.first.0 - 1);
            if last > up_to.0 {
                break;
            }
            self.runs.pop_front();
            self.total_bytes -= run.bytes;
        }
        let last = self.runs.get(1).map_or(self.last.0, |next| next.first.0 - 1);
        if let Some(run) = self.runs.front_mut().filter(|run| run.first <= up_to) {
            let kept = part(run.bytes, last - up_to.0, last + 1 - run.first.0);
            self.total_bytes -= run.bytes - kept;
            *run = Run { first: up_to.next(), bytes: kept };
        }
        if self.runs.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    /// All of it.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The earliest position from which the log, to its end, takes at most so many bytes; behind the last one when the newest run
    /// alone takes more.
    #[must_use]
    pub fn first_within(&self, bytes: u64) -> LogIndex {
        let mut taken = 0_u64;
        let mut first = self.last.next();
        for run in self.runs.iter().rev() {
            taken = taken.saturating_add(run.bytes);
            if taken > bytes {
                break;
            }
            first = run.first;
        }
        first
    }
}

/// `bytes` of `whole` entries, for `kept` of them.
fn part(bytes: u64, kept: u64, whole: u64) -> u64 {
    let part = u128::from(bytes) * u128::from(kept) / u128::from(whole.max(1));
    u64::try_from(part).expect("a part is no more than the whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERHEAD: u64 = limits::LOG_ENTRY_OVERHEAD_BYTES;
    const RUN: u64 = limits::LOG_SIZE_RUN_BYTES;

    fn log(first: u64, entries: u64, bytes: usize) -> LogSizes {
        let mut sizes = LogSizes::default();
        (first..first + entries).for_each(|index| sizes.push(LogIndex(index), bytes));
        sizes
    }

    #[test]
    fn a_long_log_is_measured_in_few_runs_and_the_tail_that_fits_is_found() {
        let sizes = log(6, 1_000_000, 100);
        let each = 100 + OVERHEAD;
        assert_eq!(sizes.total_bytes(), 1_000_000 * each);
        assert!(sizes.runs.len() as u64 <= 1_000_000 * each / RUN + 1, "{}", sizes.runs.len());
        let first = sizes.first_within(10 * RUN);
        let kept = (1_000_006 - first.0) * each;
        assert!(kept <= 10 * RUN && kept + 2 * RUN > 10 * RUN, "{kept}");
        assert_eq!(sizes.first_within(u64::MAX), LogIndex(6));
        assert_eq!(sizes.first_within(0), LogIndex(1_000_006));
    }

    #[test]
    fn what_is_cut_is_counted_no_more() {
        let each = 1_000 + OVERHEAD;
        let run = RUN.div_ceil(each);
        let mut sizes = log(1, 10 * run, 1_000);
        sizes.cut_front(LogIndex(run + run / 2));
        assert_eq!(sizes.total_bytes(), (10 * run - run - run / 2) * each);
        sizes.cut_tail(LogIndex(9 * run + 11));
        assert_eq!(sizes.total_bytes(), (8 * run + 10 - run / 2) * each);
        sizes.push(LogIndex(9 * run + 11), 1_000);
        assert_eq!(sizes.total_bytes(), (8 * run + 11 - run / 2) * each);
        sizes.cut_front(LogIndex(100 * run));
        assert_eq!((sizes.total_bytes(), sizes.runs.len()), (0, 0));
        sizes.push(LogIndex(200 * run), 1_000);
        assert_eq!(sizes.total_bytes(), each);
        sizes.cut_tail(LogIndex(1));
        assert_eq!(sizes.total_bytes(), 0);
    }

    #[test]
    fn a_log_that_is_cut_again_and_again_does_not_drift() {
        let mut sizes = LogSizes::default();
        for index in 1..200_000 {
            sizes.push(LogIndex(index), 500);
            sizes.cut_front(LogIndex(index.saturating_sub(1_000)));
        }
        let kept = 1_000 * (500 + OVERHEAD);
        assert!(sizes.total_bytes().abs_diff(kept) < kept / 100, "{}", sizes.total_bytes());
    }
}
