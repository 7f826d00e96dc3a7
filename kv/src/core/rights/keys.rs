//! A set of keys as intervals, so that a key is looked for by halving, and bounds are walked over from end to end.

use holdfast_types::{Key, KeyRange};

/// Keys, as intervals.
///
/// Invariant: they lie in order, and no two of them overlap or touch.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Keys(Vec<KeyRange>);

impl Keys {
    /// All keys of these intervals.
    pub(super) fn of(ranges: impl IntoIterator<Item = KeyRange>) -> Self {
        let mut ranges: Vec<KeyRange> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        ranges.sort_by(|left, right| left.start.cmp(&right.start));
        let mut merged: Vec<KeyRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| range.start <= *end) => *last = last.hull(&range),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The interval in which a key lies.
    pub(super) fn around(&self, key: &Key) -> Option<&KeyRange> {
        let begun = self.0.partition_point(|range| range.start <= *key);
        let range = self.0.get(begun.checked_sub(1)?)?;
        range.is_before_end(key).then_some(range)
    }

    /// True when some key of the set lies within bounds.
    pub(super) fn overlap(&self, bounds: &KeyRange) -> bool {
        let before = self.0.partition_point(|range| range.end.as_ref().is_some_and(|end| *end <= bounds.start));
        self.0.get(before).is_some_and(|range| range.overlaps(bounds))
    }

    /// True when there is none.
    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::KeyspaceId;

    use super::*;

    fn key(user: &str) -> Key {
        Key::bound(KeyspaceId::DEFAULT, user.as_bytes())
    }

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange { start: key(start), end: Some(key(end)) }
    }

    #[test]
    fn intervals_that_touch_become_one_and_empty_ones_vanish() {
        let keys = Keys::of([range("m", "p"), range("a", "c"), range("c", "d"), range("b", "c"), range("z", "z")]);
        assert_eq!(keys, Keys(vec![range("a", "d"), range("m", "p")]));
        let open = Keys::of([KeyRange { start: key("c"), end: None }, range("a", "d"), range("x", "y")]);
        assert_eq!(open, Keys(vec![KeyRange { start: key("a"), end: None }]));
    }

    #[test]
    fn a_key_is_found_in_its_interval_and_bounds_where_they_overlap() {
        let keys = Keys::of([range("b", "d"), range("m", "p")]);
        let found = |user: &str| keys.around(&key(user)).map(|range| range.start.clone());
        assert_eq!((found("b"), found("c"), found("o")), (Some(key("b")), Some(key("b")), Some(key("m"))));
        assert_eq!((found("a"), found("d"), found("e"), found("z")), (None, None, None, None));
        assert!(keys.overlap(&range("a", "c")) && keys.overlap(&range("c", "n")) && keys.overlap(&range("n", "z")));
        assert!(!keys.overlap(&range("a", "b")) && !keys.overlap(&range("d", "m")) && !keys.overlap(&range("p", "z")));
        assert!(Keys::default().are_none() && !Keys::default().overlap(&KeyRange::all()));
    }
}
