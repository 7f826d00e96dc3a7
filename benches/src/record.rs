//! What was acknowledged, and whether the store still has exactly that.
//!
//! Every key has one writer, which waits for each answer before it writes the key again; so what a key may hold is known: the
//! last acknowledged value, or one of the ambiguous writes after it. Versions are counted too: a write that was applied twice
//! has two versions.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

/// How a write ended for its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteEnd {
    /// It was acknowledged.
    Acknowledged,
    /// It may have happened, now or later.
    Ambiguous,
    /// It did not happen and never will.
    Refused,
}

/// What one key may hold.
#[derive(Clone, Debug, Default)]
pub struct KeyRecord {
    /// The last acknowledged value (`None`: deleted or never written), then those of ambiguous writes after it.
    candidates: Vec<Option<Bytes>>,
    acknowledged: u64,
    ambiguous: u64,
}

/// What is wrong with what a key holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// As it should be.
    Right,
    /// An acknowledged write is not there.
    Lost,
    /// More versions than writes.
    Duplicated,
}

impl KeyRecord {
    /// Takes in the end of a write of `value`.
    pub fn wrote(&mut self, value: Option<Bytes>, end: WriteEnd) {
        match end {
            WriteEnd::Acknowledged => {
                self.candidates = vec![value];
                self.acknowledged += 1;
            }
            WriteEnd::Ambiguous => {
                if self.candidates.is_empty() {
                    self.candidates.push(None);
                }
                self.candidates.push(value);
                self.ambiguous += 1;
            }
            WriteEnd::Refused => {}
        }
    }

    /// Writes that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Judges what was read at the end. `versions`: how many the key has, if they were counted.
    #[must_use]
    pub fn judge(&self, found: Option<&Bytes>, versions: Option<u64>) -> Finding {
        let known = self.candidates.is_empty() && found.is_none();
        if !known && !self.candidates.iter().any(|candidate| candidate.as_ref() == found) {
            return Finding::Lost;
        }
        match versions {
            Some(versions) if versions > self.acknowledged + self.ambiguous => Finding::Duplicated,
            Some(versions) if versions < self.acknowledged => Finding::Lost,
            _ => Finding::Right,
        }
    }
}

/// What a set of writers knows; each writer has its own, they are merged at the end.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// By key.
    pub keys: BTreeMap<Bytes, KeyRecord>,
    /// By counter: increments acknowledged and ambiguous. A counter may have several writers.
    pub counters: BTreeMap<Bytes, (u64, u64)>,
}

impl Record {
    /// Takes in what another set of writers knows. Keys are disjoint, counters add up.
    pub fn merge(&mut self, other: Record) {
        for (key, record) in other.keys {
            let twin = self.keys.insert(key, record);
            assert!(twin.is_none(), "a key has one writer");
        }
        for (key, (acknowledged, ambiguous)) in other.counters {
            let counter = self.counters.entry(key).or_default();
            counter.0 += acknowledged;
            counter.1 += ambiguous;
        }
    }

    /// Takes in the end of an increment.
    pub fn counted(&mut self, counter: &Bytes, end: WriteEnd) {
        let slot = self.counters.entry(counter.clone()).or_default();
        match end {
            WriteEnd::Acknowledged => slot.0 += 1,
            WriteEnd::Ambiguous => slot.1 += 1,
            WriteEnd::Refused => {}
        }
    }

    /// Judges what a counter holds at the end.
    #[must_use]
    pub fn judge_counter(&self, counter: &Bytes, found: u64) -> Finding {
        let (acknowledged, ambiguous) = self.counters.get(counter).copied().unwrap_or_default();
        if found < acknowledged {
            Finding::Lost
        } else if found > acknowledged + ambiguous {
            Finding::Duplicated
        } else {
            Finding::Right
        }
    }

    /// Writes and increments that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let writes: u64 = self.keys.values().map(KeyRecord::acknowledged).sum();
        writes + self.counters.values().map(|(acknowledged, _)| acknowledged).sum::<u64>()
    }
}

/// What the read-back found.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged writes not found.
    pub lost: u64,
    /// Operations applied more than once.
    pub duplicated: u64,
}

impl Verdict {
    /// Counts a finding.
    pub fn count(&mut self, finding: Finding) {
        match finding {
            Finding::Right => {}
            Finding::Lost => self.lost += 1,
            Finding::Duplicated => self.duplicated += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_lost_write_a_stale_value_and_an_extra_version_are_found() {
        let mut key = KeyRecord::default();
        key.wrote(value("1"), WriteEnd::Acknowledged);
        key.wrote(value("2"), WriteEnd::Acknowledged);
        assert_eq!(key.judge(value("2").as_ref(), Some(2)), Finding::Right);
        assert_eq!(key.judge(value("1").as_ref(), Some(2)), Finding::Lost);
        assert_eq!(key.judge(None, None), Finding::Lost);
        assert_eq!(key.judge(value("2").as_ref(), Some(3)), Finding::Duplicated);
        assert_eq!(key.judge(value("2").as_ref(), Some(1)), Finding::Lost);
    }

    #[test]
    fn an_ambiguous_write_may_be_there_or_not() {
        let mut key = KeyRecord::default();
        key.wrote(value("1"), WriteEnd::Ambiguous);
        for found in [None, value("1")] {
            assert_eq!(key.judge(found.as_ref(), None), Finding::Right);
        }
        key.wrote(value("2"), WriteEnd::Acknowledged);
        assert_eq!(key.judge(value("1").as_ref(), None), Finding::Lost);
        key.wrote(None, WriteEnd::Ambiguous);
        for found in [None, value("2")] {
            assert_eq!(key.judge(found.as_ref(), Some(2)), Finding::Right);
        }
    }

    #[test]
    fn a_counter_tells_lost_from_repeated_increments() {
        let mut record = Record::default();
        let counter = Bytes::from_static(b"c");
        record.counted(&counter, WriteEnd::Acknowledged);
        record.counted(&counter, WriteEnd::Ambiguous);
        record.counted(&counter, WriteEnd::Refused);
        let findings = [0, 1, 2, 3].map(|found| record.judge_counter(&counter, found));
        assert_eq!(findings, [Finding::Lost, Finding::Right, Finding::Right, Finding::Duplicated]);
    }
}
