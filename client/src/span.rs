//! A span of keys, as scans and deletions of ranges take it.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_types::{KeyRange, KeyspaceId};

/// Keys from a first one to before another, within one keyspace, ordered bytewise. Made from Rust's ranges, or from a prefix.
///
/// ```
/// use holdfast_client::KeySpan;
///
/// let span = KeySpan::from("a".."n");
/// assert!(span.contains("apple") && !span.contains("n"));
/// assert!(KeySpan::from("a"..="n").contains("n"));
/// assert!(KeySpan::from(..).contains([0xff, 0xff]));
/// assert!(KeySpan::prefix("user/").contains("user/7") && !KeySpan::prefix("user/").contains("user0"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct KeySpan {
    start: Bytes,
    end: Option<Bytes>,
}

impl KeySpan {
    /// Every key of the keyspace.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Keys from `start` to before `end`; without an end, to the end of the keyspace.
    #[must_use]
    pub fn new(start: impl AsRef<[u8]>, end: Option<&[u8]>) -> Self {
        Self { start: Bytes::copy_from_slice(start.as_ref()), end: end.map(Bytes::copy_from_slice) }
    }

    /// Keys that begin with these bytes.
    #[must_use]
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        let end = prefix.iter().rposition(|byte| *byte != 0xff).map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bytes::from(end)
        });
        Self { start: Bytes::copy_from_slice(prefix), end }
    }

    /// The first key that may be in it.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key behind it; `None`: it reaches to the end of the keyspace.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// True when the key lies in it.
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        let key = key.as_ref();
        *key >= *self.start && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    /// True when no key can lie in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    pub(crate) fn within(&self, keyspace: KeyspaceId) -> KeyRange {
        holdfast_proto::convert::kv::bounds(keyspace, &self.start, self.end.as_deref())
    }
}

/// The smallest key behind this one.
fn behind(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

impl<K: AsRef<[u8]>> From<Range<K>> for KeySpan {
    fn from(range: Range<K>) -> Self {
        Self::new(range.start, Some(range.end.as_ref()))
    }
}

impl<K: AsRef<[u8]>> From<RangeInclusive<K>> for KeySpan {
    fn from(range: RangeInclusive<K>) -> Self {
        Self { end: Some(behind(range.end().as_ref())), ..Self::new(range.start(), None) }
    }
}

impl<K: AsRef<[u8]>> From<RangeFrom<K>> for KeySpan {
    fn from(range: RangeFrom<K>) -> Self {
        Self::new(range.start, None)
    }
}

impl<K: AsRef<[u8]>> From<RangeTo<K>> for KeySpan {
    fn from(range: RangeTo<K>) -> Self {
        Self::new(b"", Some(range.end.as_ref()))
    }
}

impl<K: AsRef<[u8]>> From<RangeToInclusive<K>> for KeySpan {
    fn from(range: RangeToInclusive<K>) -> Self {
        Self { start: Bytes::new(), end: Some(behind(range.end.as_ref())) }
    }
}

impl From<RangeFull> for KeySpan {
    fn from(_: RangeFull) -> Self {
        Self::all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_the_last_bytes_reaches_to_the_end() {
        assert_eq!(KeySpan::prefix([1, 0xff, 0xff]).end(), Some(&[2][..]));
        assert_eq!(KeySpan::prefix([0xff, 0xff]).end(), None);
        assert_eq!(KeySpan::prefix("").end(), None);
    }

    #[test]
    fn every_range_of_rust_becomes_the_same_span() {
        let span = |start: &str, end: Option<&str>| KeySpan::new(start, end.map(str::as_bytes));
        assert_eq!(KeySpan::from("b".."d"), span("b", Some("d")));
        assert_eq!(KeySpan::from("b"..), span("b", None));
        assert_eq!(KeySpan::from(.."d"), span("", Some("d")));
        assert_eq!(KeySpan::from("b"..="d"), span("b", Some("d\0")));
        assert_eq!(KeySpan::from(..="d"), span("", Some("d\0")));
        assert_eq!(KeySpan::from(vec![1u8]..vec![2u8]), KeySpan::new([1], Some(&[2])));
        assert!(KeySpan::from("d".."b").is_empty() && !KeySpan::from(..).is_empty());
    }
}
