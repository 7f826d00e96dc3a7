//! Where each range's log begins and ends, and its runs of equal terms: kept in memory by both twins, so that a write that
//! would leave a hole is refused before it reaches the disk, and so that truncation knows which entries to delete.

use std::collections::BTreeMap;

use holdfast_types::{LogIndex, LogSizes, RangeId, Term};

use crate::contract::{Fault, HardState, LoadedLog, LogEntry, LogOp, LogStart, ReplicaRecord};

/// Entries of one range that a write removes, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Removed {
    pub(crate) first: LogIndex,
    pub(crate) last: LogIndex,
}

/// One range's log without its entries.
///
/// Invariants:
/// - `last >= start.index`, equal when the log is empty, and then `terms` is empty
/// - `terms` ascends in both parts and begins at `start.index + 1`
#[derive(Clone, Default, Debug)]
pub(crate) struct LogSpan {
    pub(crate) record: Option<ReplicaRecord>,
    pub(crate) hard_state: HardState,
    pub(crate) start: LogStart,
    pub(crate) terms: Vec<(LogIndex, Term)>,
    pub(crate) last: LogIndex,
}

impl LogSpan {
    /// The term of an entry of the log.
    fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index <= self.start.index || index > self.last {
            return None;
        }
        let run = self.terms.partition_point(|(first, _)| *first <= index);
        self.terms.get(run.checked_sub(1)?).map(|(_, term)| *term)
    }

    /// Notes one entry behind the last; `Err` names what is wrong with it.
    pub(crate) fn push(&mut self, index: LogIndex, term: Term) -> Result<(), String> {
        if index != self.last.next() {
            return Err(format!("entry {index} does not follow {}", self.last));
        }
        match self.terms.last() {
            Some((_, newest)) if *newest > term => return Err(format!("entry {index} has {term} after {newest}")),
            Some((_, newest)) if *newest == term => {}
            _ => self.terms.push((index, term)),
        }
        self.last = index;
        Ok(())
    }

    fn cut_tail(&mut self, from: LogIndex) {
        self.terms.retain(|(first, _)| *first < from);
        self.last = LogIndex(from.0 - 1);
    }

    fn all(&self) -> Option<Removed> {
        (self.last > self.start.index).then(|| Removed { first: self.start.index.next(), last: self.last })
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<Option<Removed>, String> {
        let first = entries.first().ok_or("an append without entries")?.index;
        if first <= self.start.index || first > self.last.next() {
            return Err(format!("entry {first} cannot stand in a log of {} to {}", self.start.index.next(), self.last));
        }
        let old_last = self.last;
        self.cut_tail(first);
        for entry in entries {
            self.push(entry.index, entry.term)?;
        }
        Ok((old_last > self.last).then(|| Removed { first: self.last.next(), last: old_last }))
    }

    fn set_start(&mut self, start: LogStart) -> Result<Option<Removed>, String> {
        let whole = self.all();
        let keeps_tail = match whole {
            None => false,
            Some(_) if start.index < self.start.index => {
                return Err(format!("the start goes back from {} to {}", self.start.index, start.index));
            }
            Some(_) if start.index == self.start.index => start == self.start,
            Some(_) => self.term_at(start.index) == Some(start.term) && start.index < self.last,
        };
        if !keeps_tail {
            (self.start, self.last) = (start, start.index);
            self.terms.clear();
            return Ok(whole);
        }
        let removed =
            (start.index > self.start.index).then(|| Removed { first: self.start.index.next(), last: start.index });
        let next = start.index.next();
        let run = self.terms.partition_point(|(first, _)| *first <= next);
        self.terms.drain(..run.saturating_sub(1));
        if let Some((first, _)) = self.terms.first_mut() {
            *first = (*first).max(next);
        }
        self.start = start;
        Ok(removed)
    }

    fn loaded(&self, range: RangeId, sizes: LogSizes) -> Result<LoadedLog, Fault> {
        let Some(record) = self.record else {
            return Err(damage(range, "has a log but no record of its replica".to_owned()));
        };
        let (hard_state, start, terms, last) = (self.hard_state, self.start, self.terms.clone(), self.last);
        Ok(LoadedLog { range, record, hard_state, start, terms, last, sizes })
    }
}

/// The spans of all ranges of a store.
#[derive(Clone, Default, Debug)]
pub(crate) struct LogSpans {
    ranges: BTreeMap<RangeId, LogSpan>,
    /// Beside the spans, which are copied for every write.
    sizes: BTreeMap<RangeId, LogSizes>,
}

/// A checked write: what it makes of the spans that it touches (`None`: forgotten), and what each operation removes.
pub(crate) struct Planned {
    touched: BTreeMap<RangeId, Option<LogSpan>>,
    /// One a [`LogOp`], in their order.
    pub(crate) removed: Vec<Option<Removed>>,
}

impl LogSpans {
    pub(crate) fn get(&self, range: RangeId) -> Option<&LogSpan> {
        self.ranges.get(&range)
    }

    /// For what is found at opening.
    pub(crate) fn entry(&mut self, range: RangeId) -> &mut LogSpan {
        self.ranges.entry(range).or_default()
    }

    /// An entry found at opening.
    pub(crate) fn measure(&mut self, range: RangeId, index: LogIndex, payload_bytes: usize) {
        self.sizes.entry(range).or_default().push(index, payload_bytes);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RangeId, &LogSpan)> {
        self.ranges.iter()
    }

    /// What the engine tells at start.
    pub(crate) fn load(&self) -> Result<Vec<LoadedLog>, Fault> {
        let sizes = |range| self.sizes.get(range).cloned().unwrap_or_default();
        self.ranges.iter().map(|(range, span)| span.loaded(*range, sizes(range))).collect()
    }

    /// Checks a batch against the spans, without changing them.
    pub(crate) fn plan(&self, ops: &[LogOp]) -> Result<Planned, Fault> {
        let mut planned = Planned { touched: BTreeMap::new(), removed: Vec::with_capacity(ops.len()) };
        for op in ops {
            let removed = self.plan_op(op, &mut planned.touched)?;
            planned.removed.push(removed);
        }
        Ok(planned)
    }

    fn plan_op(&self, op: &LogOp, touched: &mut BTreeMap<RangeId, Option<LogSpan>>) -> Result<Option<Removed>, Fault> {
        let range = match op {
            LogOp::Append { range, .. }
            | LogOp::SetHardState { range, .. }
            | LogOp::SetStart { range, .. }
            | LogOp::SetReplica { range, .. }
            | LogOp::Forget { range } => *range,
            LogOp::SetStoreRecord { .. } => return Ok(None),
        };
        let slot = touched.entry(range).or_insert_with(|| self.ranges.get(&range).cloned());
        if let LogOp::Forget { .. } = op {
            return Ok(slot.take().and_then(|span| span.all()));
        }
        let span = slot.get_or_insert_default();
        let removed = match op {
            LogOp::Append { entries, .. } => span.append(entries),
            LogOp::SetStart { start, .. } => span.set_start(*start),
            LogOp::SetHardState { state, .. } => {
                span.hard_state = *state;
                Ok(None)
            }
            LogOp::SetReplica { record, .. } => {
                let ends = matches!(record, ReplicaRecord::Tombstone { clearing: false, .. });
                let removed = if ends { std::mem::take(span).all() } else { None };
                span.record = Some(*record);
                Ok(removed)
            }
            LogOp::Forget { .. } | LogOp::SetStoreRecord { .. } => Ok(None),
        };
        removed.map_err(|detail| damage(range, detail))
    }

    /// Takes a checked batch over: the operations, and what [`LogSpans::plan`] made of them.
    pub(crate) fn apply(&mut self, ops: &[LogOp], planned: Planned) {
        for op in ops {
            if let LogOp::Append { range, entries } = op {
                let sizes = self.sizes.entry(*range).or_default();
                sizes.cut_tail(entries.first().map_or(LogIndex(u64::MAX), |first| first.index));
                entries.iter().for_each(|entry| sizes.push(entry.index, entry.data.len()));
            }
        }
        for (range, span) in planned.touched {
            match span {
                Some(span) => {
                    if let Some(sizes) = self.sizes.get_mut(&range) {
                        sizes.cut_front(span.start.index);
                        sizes.cut_tail(span.last.next());
                    }
                    self.ranges.insert(range, span)
                }
                None => {
                    self.sizes.remove(&range);
                    self.ranges.remove(&range)
                }
            };
        }
    }
}

pub(crate) fn damage(range: RangeId, detail: String) -> Fault {
    Fault::Damage { doing: format!("looking at the log of {range}"), detail }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entries(first: u64, terms: &[u64]) -> Vec<LogEntry> {
        let make = |(i, term): (usize, &u64)| LogEntry {
            index: LogIndex(first + i as u64),
            term: Term(*term),
            data: Bytes::new(),
        };
        terms.iter().enumerate().map(make).collect()
    }

    fn span(first: u64, terms: &[u64]) -> LogSpan {
        let mut span = LogSpan::default();
        span.set_start(LogStart { index: LogIndex(first - 1), term: Term(1) }).unwrap();
        span.append(&entries(first, terms)).unwrap();
        span
    }

    #[test]
    fn replaced_tail_is_removed_and_its_terms_forgotten() {
        let mut log = span(6, &[1, 1, 2, 2]);
        let removed = log.append(&entries(7, &[3])).unwrap();
        assert_eq!(removed, Some(Removed { first: LogIndex(8), last: LogIndex(9) }));
        assert_eq!(log.terms, vec![(LogIndex(6), Term(1)), (LogIndex(7), Term(3))]);
        assert_eq!(log.last, LogIndex(7));
    }

    #[test]
    fn cutting_inside_a_run_keeps_its_rest() {
        let mut log = span(6, &[1, 1, 1, 2]);
        log.set_start(LogStart { index: LogIndex(7), term: Term(1) }).unwrap();
        assert_eq!(log.terms, vec![(LogIndex(8), Term(1)), (LogIndex(9), Term(2))]);
    }

    #[test]
    fn start_of_another_term_empties_the_log() {
        let mut log = span(6, &[1, 1, 1]);
        let removed = log.set_start(LogStart { index: LogIndex(7), term: Term(4) }).unwrap();
        assert_eq!(removed, Some(Removed { first: LogIndex(6), last: LogIndex(8) }));
        assert_eq!((log.last, log.terms.len()), (LogIndex(7), 0));
    }

    #[test]
    fn holes_and_falling_terms_are_refused() {
        let mut log = span(6, &[2, 2]);
        assert!(log.clone().append(&entries(9, &[2])).is_err());
        assert!(log.clone().append(&entries(5, &[2])).is_err());
        assert!(log.clone().append(&entries(8, &[1])).is_err());
        assert!(log.set_start(LogStart { index: LogIndex(3), term: Term(1) }).is_err());
    }
}
