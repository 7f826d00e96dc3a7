//! Nothing is committed before it is on the disks of a quorum: what each store has synced is followed batch by batch, and looked
//! up when an entry is applied for the first time anywhere.

use std::collections::BTreeMap;

use holdfast_engine::{Engines, Fault, LogEntry, LogOp, LogStart};
use holdfast_replica::apply::CommittedEntry;
use holdfast_types::{LogIndex, RangeDescriptor, RangeId, StoreId, Term};

/// The synced log of one replica, as runs of terms.
#[derive(Clone, Default, Debug)]
struct SyncedLog {
    start: LogIndex,
    start_term: Term,
    runs: BTreeMap<LogIndex, Term>,
    last: LogIndex,
}

/// What every store has synced.
#[derive(Default, Debug)]
pub struct Durable(BTreeMap<(StoreId, RangeId), SyncedLog>);

impl Durable {
    /// A store starts with what its disk kept.
    pub fn opened(&mut self, store: StoreId, engines: &Engines) -> Result<(), Fault> {
        for log in engines.log.load()? {
            let synced = SyncedLog {
                start: log.start.index,
                start_term: log.start.term,
                runs: log.terms.iter().copied().collect(),
                last: log.last,
            };
            self.0.insert((store, log.range), synced);
        }
        Ok(())
    }

    /// A batch is synced.
    pub fn synced(&mut self, store: StoreId, ops: &[LogOp]) {
        for op in ops {
            match op {
                LogOp::Append { range, entries } => self.0.entry((store, *range)).or_default().append(entries),
                LogOp::SetStart { range, start } => self.0.entry((store, *range)).or_default().cut(*start),
                // What was once synced stays known: a replica that is gone counted while it was there.
                _ => {}
            }
        }
    }

    /// Checks an entry that is applied for the first time, against the shapes under which it may have been committed.
    pub fn is_on_quorum<'a>(
        &self,
        entry: &CommittedEntry,
        shapes: impl Iterator<Item = &'a RangeDescriptor>,
    ) -> Result<(), String> {
        let mut seen = Vec::new();
        for shape in shapes {
            let has = |store| self.0.get(&(store, shape.range)).is_some_and(|log| log.has(entry.index, entry.term));
            if shape.is_quorum(|replica| has(replica.store)) {
                return Ok(());
            }
            seen.push(format!("{shape:?}"));
        }
        Err(format!("{} of {} is applied and not synced by a quorum of {}", entry.index, entry.term, seen.join(" or ")))
    }
}

impl SyncedLog {
    fn append(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        self.runs.retain(|index, _| *index < first.index);
        for entry in entries {
            if self.runs.last_key_value().map(|(_, term)| *term) != Some(entry.term) {
                self.runs.insert(entry.index, entry.term);
            }
            self.last = entry.index;
        }
    }

    fn cut(&mut self, start: LogStart) {
        if self.term_at(start.index) == Some(start.term) {
            let term = self.term_at(start.index.next());
            self.runs.retain(|index, _| *index > start.index);
            if let Some(term) = term {
                self.runs.insert(start.index.next(), term);
            }
        } else {
            self.runs.clear();
            self.last = start.index;
        }
        (self.start, self.start_term) = (start.index, start.term);
    }

    fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.start {
            return Some(self.start_term);
        }
        if index > self.last {
            return None;
        }
        self.runs.range(..=index).next_back().map(|(_, term)| *term)
    }

    fn has(&self, index: LogIndex, term: Term) -> bool {
        index < self.start || self.term_at(index) == Some(term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> LogEntry {
        LogEntry { index: LogIndex(index), term: Term(term), data: bytes::Bytes::new() }
    }

    #[test]
    fn replaced_and_cut_entries_are_not_taken_for_present_ones() {
        let mut log = SyncedLog::default();
        log.append(&[entry(1, 1), entry(2, 1), entry(3, 2)]);
        assert!(log.has(LogIndex(2), Term(1)) && log.has(LogIndex(3), Term(2)));
        log.append(&[entry(3, 3)]);
        assert!(!log.has(LogIndex(3), Term(2)) && log.has(LogIndex(3), Term(3)));
        log.cut(LogStart { index: LogIndex(2), term: Term(1) });
        assert!(log.has(LogIndex(1), Term(1)) && log.has(LogIndex(3), Term(3)) && !log.has(LogIndex(4), Term(3)));
        log.cut(LogStart { index: LogIndex(9), term: Term(4) });
        assert!(log.has(LogIndex(9), Term(4)) && !log.has(LogIndex(10), Term(4)));
    }
}
