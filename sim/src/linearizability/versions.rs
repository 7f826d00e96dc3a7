//! The judge that is told how it went: the versions of a key, as they lie on disk at the end.
//!
//! Versions are ordered by timestamp, and every answer names the version that it wrote or saw. So there is nothing to search
//! for: each answered operation has its position, and real time must never contradict positions. Then versions and writes
//! are matched: one version for each acknowledged write, none beside those of unanswered writes.
//!
//! The list must be complete: retention has to cover the whole run. Values should be unique to their write, else a version of an
//! unanswered write may be taken for that of another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use holdfast_types::Timestamp;

use super::history::{Operation, Stamp};

/// One version of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version<V> {
    /// When it was written, in fleet time.
    pub timestamp: Timestamp,
    /// `None`: a tombstone.
    pub value: Option<V>,
}

/// What a compare-and-set expects to find.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expectation<V> {
    /// No value.
    Absent,
    /// This value.
    Value(V),
    /// This very version.
    Version(Timestamp),
}

/// What is asked of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VersionedInput<V> {
    /// Reads the newest version.
    Get,
    /// Writes a version, a tombstone if `None`.
    Write(Option<V>),
    /// Writes a version if the newest one is as expected.
    CompareAndSet {
        /// What the newest version must be.
        expected: Expectation<V>,
        /// What is written then.
        new: Option<V>,
    },
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VersionedOutput<V> {
    /// It is written, with this timestamp.
    Wrote(Timestamp),
    /// A get, or a compare-and-set that found something else than it expected, saw this.
    Saw(Option<(Timestamp, V)>),
}

/// An operation on one key whose answer names a version.
pub type VersionedOperation<V> = Operation<VersionedInput<V>, VersionedOutput<V>>;

/// What was counted while nothing was found wrong.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Acknowledged writes, each with its version.
    pub acknowledged: usize,
    /// Unanswered writes that happened.
    pub unanswered_happened: usize,
    /// Unanswered writes that did not.
    pub unanswered_missing: usize,
    /// Answers that saw a version, or its absence.
    pub reads: usize,
}

/// One thing that cannot be. Operations are named by their index.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// The list of versions itself is broken.
    #[error("versions are not in strict order at {0:?}")]
    Disorder(Timestamp),
    /// An acknowledged write has no version.
    #[error("lost: operation {operation} was acknowledged at {timestamp:?}, and no such version exists")]
    LostWrite {
        /// The write.
        operation: usize,
        /// Its timestamp.
        timestamp: Timestamp,
    },
    /// The version of an acknowledged write has another value.
    #[error("operation {operation} was acknowledged at {timestamp:?}, where another value lies")]
    OtherValue {
        /// The write.
        operation: usize,
        /// Its timestamp.
        timestamp: Timestamp,
    },
    /// Two writes were acknowledged with one timestamp.
    #[error("operation {operation} was acknowledged at {timestamp:?}, as another one was")]
    SharedVersion {
        /// The later write.
        operation: usize,
        /// The timestamp of both.
        timestamp: Timestamp,
    },
    /// A read saw a version that does not exist.
    #[error("operation {operation} saw {timestamp:?}, and no such version exists")]
    SawNothingReal {
        /// The read.
        operation: usize,
        /// What it claims to have seen.
        timestamp: Timestamp,
    },
    /// A read saw less than was known before it was asked, or a write was put before something that was known already.
    #[error("operation {operation} stands at {position:?}, though {known:?} was known before it was asked")]
    Stale {
        /// The operation.
        operation: usize,
        /// Where it stands.
        position: Timestamp,
        /// What must come before it.
        known: Timestamp,
    },
    /// A read saw no value after one was known to be there, and no later tombstone explains it.
    #[error("operation {operation} saw no value, though {known:?} was known before it was asked")]
    StaleAbsence {
        /// The read.
        operation: usize,
        /// What must come before it.
        known: Timestamp,
    },
    /// A compare-and-set succeeded over a version that it did not expect.
    #[error("operation {operation} succeeded at {timestamp:?} over something else than it expected")]
    WrongSwap {
        /// The compare-and-set.
        operation: usize,
        /// Its timestamp.
        timestamp: Timestamp,
    },
    /// A compare-and-set failed though it saw what it expected.
    #[error("operation {operation} was refused though it saw what it expected")]
    WrongRefusal {
        /// The compare-and-set.
        operation: usize,
    },
    /// The answer does not belong to the question.
    #[error("operation {operation} was answered with something that it did not ask")]
    WrongAnswer {
        /// The operation.
        operation: usize,
    },
    /// There are more versions of a value than writes of it.
    #[error("applied twice: {0:?} repeats a write that has its version already")]
    AppliedTwice(Timestamp),
    /// A version that nobody asked for, or not yet when it was seen.
    #[error("nobody can have written {0:?}")]
    NeverWritten(Timestamp),
}

/// Judges the operations on one key against its versions, oldest first.
///
/// # Errors
///
/// Everything that cannot be, in the order in which it was found.
pub fn check<V: Clone + Ord + Debug>(
    versions: &[Version<V>],
    operations: &[VersionedOperation<V>],
) -> Result<Counts, Vec<Violation>> {
    let mut judge = Judge::new(versions, operations);
    judge.claim_acknowledged();
    judge.sweep();
    judge.match_unanswered();
    if judge.violations.is_empty() { Ok(judge.counts) } else { Err(judge.violations) }
}

/// A judgement under way.
struct Judge<'a, V> {
    versions: &'a [Version<V>],
    operations: &'a [VersionedOperation<V>],
    /// Where each version stands in the list.
    index: BTreeMap<Timestamp, usize>,
    /// For each version, the first tombstone from there on.
    next_tombstone: Vec<Option<Timestamp>>,
    /// Versions that belong to acknowledged writes.
    claimed: BTreeSet<Timestamp>,
    /// For each operation, the newest position that was known before it was asked.
    known: Vec<Timestamp>,
    counts: Counts,
    violations: Vec<Violation>,
}

impl<'a, V: Clone + Ord + Debug> Judge<'a, V> {
    fn new(versions: &'a [Version<V>], operations: &'a [VersionedOperation<V>]) -> Self {
        let mut next_tombstone = vec![None; versions.len()];
        let mut next = None;
        for (at, version) in versions.iter().enumerate().rev() {
            if version.value.is_none() {
                next = Some(version.timestamp);
            }
            next_tombstone[at] = next;
        }
        let disorder = versions.windows(2).filter(|pair| pair[0].timestamp >= pair[1].timestamp);
        Self {
            versions,
            operations,
            index: versions.iter().enumerate().map(|(at, version)| (version.timestamp, at)).collect(),
            next_tombstone,
            claimed: BTreeSet::new(),
            known: vec![Timestamp::ZERO; operations.len()],
            counts: Counts::default(),
            violations: disorder.map(|pair| Violation::Disorder(pair[1].timestamp)).collect(),
        }
    }

    /// Each acknowledged write has a version of its own, with its value.
    fn claim_acknowledged(&mut self) {
        for (operation, asked) in self.operations.iter().enumerate() {
            let Some(VersionedOutput::Wrote(timestamp)) = asked.answer.as_ref().map(|answer| &answer.output) else {
                continue;
            };
            let timestamp = *timestamp;
            self.counts.acknowledged += 1;
            let Some(at) = self.index.get(&timestamp) else {
                self.violations.push(Violation::LostWrite { operation, timestamp });
                continue;
            };
            match &asked.input {
                VersionedInput::Get => self.violations.push(Violation::WrongAnswer { operation }),
                VersionedInput::Write(value) | VersionedInput::CompareAndSet { new: value, .. } => {
                    if self.versions[*at].value != *value {
                        self.violations.push(Violation::OtherValue { operation, timestamp });
                    }
                }
            }
            if !self.claimed.insert(timestamp) {
                self.violations.push(Violation::SharedVersion { operation, timestamp });
            }
        }
    }

    /// Walks through time with the newest position known so far. At the same stamp questions come first: what is
    /// simultaneous overlaps.
    fn sweep(&mut self) {
        let mut events: Vec<(Stamp, bool, usize)> = Vec::new();
        for (operation, asked) in self.operations.iter().enumerate() {
            events.push((asked.invoked, false, operation));
            events.extend(asked.answer.as_ref().map(|answer| (answer.returned, true, operation)));
        }
        events.sort();
        let mut newest = Timestamp::ZERO;
        for (_, is_answer, operation) in events {
            if !is_answer {
                self.known[operation] = newest;
            } else {
                match self.position(operation) {
                    Ok(position) => newest = newest.max(position),
                    Err(violation) => self.violations.push(violation),
                }
            }
        }
    }

    /// Where an answered operation stands among the versions.
    fn position(&mut self, operation: usize) -> Result<Timestamp, Violation> {
        let Operation { input, answer, .. } = &self.operations[operation];
        let known = self.known[operation];
        match answer.as_ref().map(|answer| &answer.output).expect("an answer was met") {
            VersionedOutput::Wrote(timestamp) => {
                let timestamp = *timestamp;
                if timestamp <= known {
                    return Err(Violation::Stale { operation, position: timestamp, known });
                }
                if !self.may_write(input, timestamp) {
                    return Err(Violation::WrongSwap { operation, timestamp });
                }
                Ok(timestamp)
            }
            VersionedOutput::Saw(seen) => {
                self.counts.reads += 1;
                match input {
                    VersionedInput::Write(_) => return Err(Violation::WrongAnswer { operation }),
                    VersionedInput::CompareAndSet { expected, .. } if is_expected(expected, seen.as_ref()) => {
                        return Err(Violation::WrongRefusal { operation });
                    }
                    VersionedInput::CompareAndSet { .. } | VersionedInput::Get => {}
                }
                self.position_of_seen(operation, seen.as_ref())
            }
        }
    }

    fn position_of_seen(&self, operation: usize, seen: Option<&(Timestamp, V)>) -> Result<Timestamp, Violation> {
        let known = self.known[operation];
        let Some((timestamp, value)) = seen else {
            return self.first_absence(known).ok_or(Violation::StaleAbsence { operation, known });
        };
        let timestamp = *timestamp;
        let exists = self.index.get(&timestamp).is_some_and(|at| self.versions[*at].value.as_ref() == Some(value));
        if !exists {
            return Err(Violation::SawNothingReal { operation, timestamp });
        }
        if timestamp < known {
            return Err(Violation::Stale { operation, position: timestamp, known });
        }
        Ok(timestamp)
    }

    /// The first position from `known` on where the key has no value. Taking the first is never wrong: every later
    /// operation that would fit after a later one fits after this one.
    fn first_absence(&self, known: Timestamp) -> Option<Timestamp> {
        if known == Timestamp::ZERO {
            return Some(Timestamp::ZERO);
        }
        let (_, at) = self.index.range(known..).next()?;
        self.next_tombstone[*at]
    }

    /// Whether a write of this kind may follow the version before `timestamp`.
    fn may_write(&self, input: &VersionedInput<V>, timestamp: Timestamp) -> bool {
        let VersionedInput::CompareAndSet { expected, .. } = input else { return true };
        let before = self.index.range(..timestamp).next_back().map(|(_, at)| &self.versions[*at]);
        let seen = before.and_then(|version| version.value.clone().map(|value| (version.timestamp, value)));
        is_expected(expected, seen.as_ref())
    }

    /// Every version that no acknowledged write has claimed belongs to an unanswered one of its own, asked before the version
    /// was known to anybody.
    fn match_unanswered(&mut self) {
        let mut waiting: BTreeMap<Option<V>, Vec<usize>> = BTreeMap::new();
        let mut acknowledged: BTreeSet<&V> = BTreeSet::new();
        for (operation, asked) in self.operations.iter().enumerate() {
            match &asked.input {
                VersionedInput::Get => {}
                VersionedInput::Write(value) | VersionedInput::CompareAndSet { new: value, .. } => {
                    match &asked.answer {
                        None => waiting.entry(value.clone()).or_default().push(operation),
                        Some(_) => acknowledged.extend(value),
                    }
                }
            }
        }
        let mut happened: BTreeSet<Option<V>> = BTreeSet::new();
        for version in self.versions.iter().filter(|version| !self.claimed.contains(&version.timestamp)) {
            let candidates = waiting.entry(version.value.clone()).or_default();
            match self.writer_of(version.timestamp, candidates) {
                Some(at) => {
                    candidates.remove(at);
                    self.counts.unanswered_happened += 1;
                    happened.insert(version.value.clone());
                }
                None => {
                    let repeats = version.value.as_ref().is_some_and(|value| acknowledged.contains(value))
                        || happened.contains(&version.value);
                    let violation = if repeats { Violation::AppliedTwice } else { Violation::NeverWritten };
                    self.violations.push(violation(version.timestamp));
                }
            }
        }
        self.counts.unanswered_missing = waiting.values().map(Vec::len).sum();
    }

    /// Which of the unanswered operations wrote this version. A compare-and-set goes first: fewer versions suit it.
    fn writer_of(&self, timestamp: Timestamp, candidates: &[usize]) -> Option<usize> {
        let suits = |operation: &usize| {
            self.known[*operation] < timestamp && self.may_write(&self.operations[*operation].input, timestamp)
        };
        let is_swap =
            |operation: &usize| matches!(self.operations[*operation].input, VersionedInput::CompareAndSet { .. });
        let swap = candidates.iter().position(|operation| is_swap(operation) && suits(operation));
        swap.or_else(|| candidates.iter().position(suits))
    }
}

fn is_expected<V: PartialEq>(expected: &Expectation<V>, seen: Option<&(Timestamp, V)>) -> bool {
    match expected {
        Expectation::Absent => seen.is_none(),
        Expectation::Value(expected) => seen.is_some_and(|(_, value)| value == expected),
        Expectation::Version(expected) => seen.is_some_and(|(timestamp, _)| timestamp == expected),
    }
}
