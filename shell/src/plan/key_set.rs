//! Intervals of keys, as users write them: without their keyspace.

use bytes::Bytes;
use holdfast_types::{Key, KeyRange, KeyspaceId};

use crate::steps;

/// Keys from `start` to before `end`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interval {
    /// The first key.
    pub start: Bytes,
    /// The first key behind it; `None`: there is none.
    pub end: Option<Bytes>,
}

impl Interval {
    /// One key.
    #[must_use]
    pub fn point(key: Bytes) -> Self {
        let end = Some(after(&key));
        Self { start: key, end }
    }

    /// All keys that begin like this.
    #[must_use]
    pub fn prefix(prefix: Bytes) -> Self {
        let last = prefix.iter().rposition(|byte| *byte != 0xff);
        let end = last.map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        });
        Self { start: prefix, end }
    }

    /// The key, if it is a single one.
    #[must_use]
    pub fn as_point(&self) -> Option<&Bytes> {
        let end = self.end.as_ref()?;
        (end.len() == self.start.len() + 1 && end.ends_with(&[0]) && end.starts_with(&self.start))
            .then_some(&self.start)
    }

    /// True when no key lies within.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// True when `key` lies within.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// The same as raw keys of a keyspace.
    #[must_use]
    pub fn within(&self, keyspace: KeyspaceId) -> KeyRange {
        let end = match &self.end {
            Some(end) => Some(Key::bound(keyspace, end)),
            None => Key::keyspace_end(keyspace),
        };
        KeyRange { start: Key::bound(keyspace, &self.start), end }
    }

    fn meets(&self, other: &Self) -> bool {
        self.end.as_ref().is_none_or(|end| other.start <= *end)
    }
}

/// The smallest key behind this one.
#[must_use]
pub(super) fn after(key: &[u8]) -> Bytes {
    let mut after = key.to_vec();
    after.push(0);
    after.into()
}

/// The later of two ends.
fn later(left: Option<Bytes>, right: Option<Bytes>) -> Option<Bytes> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.max(right)),
        _ => None,
    }
}

/// A step of reading a set of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Single keys, in order.
    Keys(Vec<Bytes>),
    /// Everything in an interval.
    Scan(Interval),
}

/// A set of keys.
///
/// Invariant: the intervals are in order, none is empty, and between two of them lies at least one key.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct KeySet {
    intervals: Vec<Interval>,
}

impl KeySet {
    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self { intervals: vec![Interval { start: Bytes::new(), end: None }] }
    }

    /// The keys of any of these.
    #[must_use]
    pub fn from_intervals(mut intervals: Vec<Interval>) -> Self {
        steps::count(intervals.len());
        intervals.retain(|interval| !interval.is_empty());
        intervals.sort_by(|left, right| left.start.cmp(&right.start));
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            match merged.last_mut() {
                Some(last) if last.meets(&interval) => last.end = later(last.end.take(), interval.end),
                _ => merged.push(interval),
            }
        }
        Self { intervals: merged }
    }

    /// The intervals, in order.
    #[must_use]
    pub fn into_intervals(self) -> Vec<Interval> {
        self.intervals
    }

    /// True when there is no key in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// True when every key is in it. No key is empty, so one that begins right behind the empty one counts.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self.intervals.as_slice(), [all] if all.end.is_none() && *all.start <= [0][..])
    }

    /// True when `key` is in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        let behind = self.intervals.partition_point(|interval| *interval.start <= *key);
        behind > 0 && self.intervals[behind - 1].contains(key)
    }

    /// The keys that are not in it.
    #[must_use]
    pub fn complement(&self) -> Self {
        steps::count(self.intervals.len());
        let mut out = Vec::with_capacity(self.intervals.len() + 1);
        let mut start = Some(Bytes::new());
        for interval in &self.intervals {
            if let Some(start) = start.take() {
                out.push(Interval { start, end: Some(interval.start.clone()) });
            }
            start.clone_from(&interval.end);
        }
        if let Some(start) = start {
            out.push(Interval { start, end: None });
        }
        Self::from_intervals(out)
    }

    /// How to read it, in the order of keys or against it. At most `max_keys` single keys are read at a time.
    #[must_use]
    pub fn steps(&self, descending: bool, max_keys: usize) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut intervals: Vec<&Interval> = self.intervals.iter().collect();
        if descending {
            intervals.reverse();
        }
        for interval in intervals {
            match (interval.as_point(), steps.last_mut()) {
                // The empty key is a bound, not a key.
                (Some(key), _) if key.is_empty() => {}
                (Some(key), Some(Step::Keys(keys))) if keys.len() < max_keys => keys.push(key.clone()),
                (Some(key), _) => steps.push(Step::Keys(vec![key.clone()])),
                (None, _) => steps.push(Step::Scan(interval.clone())),
            }
        }
        steps
    }
}
