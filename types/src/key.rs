//! Keys and the order-preserving encoding of versions.
//!
//! A [`Key`] is a keyspace id (4 bytes, big-endian) and 0 to 4 KiB of user bytes; keys are ordered bytewise. On disk a version
//! of it is
//!
//! ```text
//! keyspace id (4) | user key, 0x00 escaped as 0x00 0xff | 0x00 0x01 | !timestamp (8)
//! ```
//!
//! so that versions sort by key, then newest first. The escape is the one of FoundationDB's tuple layer with an explicit end mark.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::KeyspaceId;
use crate::limits;
use crate::rejected::Rejected;
use crate::time::Timestamp;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

/// A key with its keyspace: `keyspace id (4 bytes, big-endian) | user key`. Also used for range bounds, where the user
/// part may be empty. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Bytes);

impl Key {
    /// The smallest key: the start of keyspace 0.
    pub const MIN: Key = Key(Bytes::new());

    /// A key of a request: the user part must be 1 B to [`limits::MAX_KEY_BYTES`].
    pub fn new(keyspace: KeyspaceId, user_key: &[u8]) -> Result<Self, Rejected> {
        if user_key.is_empty() {
            return Err(Rejected::invalid("key is empty: a key is 1 B to 4 KiB"));
        }
        if user_key.len() > limits::MAX_KEY_BYTES {
            let len = user_key.len();
            return Err(Rejected::invalid(format!("key has {len} B: a key is at most {} B", limits::MAX_KEY_BYTES)));
        }
        Ok(Self::bound(keyspace, user_key))
    }

    /// A bound of a range: the user part may be empty or longer than a key.
    #[must_use]
    pub fn bound(keyspace: KeyspaceId, user_key: &[u8]) -> Self {
        let mut raw = BytesMut::with_capacity(user_key.len().saturating_add(4));
        raw.put_u32(keyspace.0);
        raw.put_slice(user_key);
        Self(raw.freeze())
    }

    /// The first key of the keyspace after `keyspace`; `None` behind the last one.
    #[must_use]
    pub fn keyspace_end(keyspace: KeyspaceId) -> Option<Self> {
        keyspace.0.checked_add(1).map(|next| Self::bound(KeyspaceId(next), b""))
    }

    /// Takes raw bytes as stored or sent: empty, or at least a keyspace id.
    pub fn from_raw(raw: Bytes) -> Result<Self, Rejected> {
        if !raw.is_empty() && raw.len() < 4 {
            return Err(Rejected::invalid("a raw key is empty or begins with 4 bytes of keyspace id"));
        }
        Ok(Self(raw))
    }

    /// The raw bytes: `keyspace id | user key`.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.0
    }

    /// The keyspace; of [`Key::MIN`] it is 0.
    #[must_use]
    pub fn keyspace(&self) -> KeyspaceId {
        KeyspaceId(self.0.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id)))
    }

    /// The user part.
    #[must_use]
    pub fn user_key(&self) -> &[u8] {
        self.0.get(4..).unwrap_or_default()
    }

    /// The whole key as text, escaped, for programs.
    #[must_use]
    pub fn in_full(&self) -> String {
        if self.0.is_empty() {
            return "/min".to_owned();
        }
        format!("/{}/{}", self.keyspace().0, self.user_key().escape_ascii())
    }

    /// The smallest key that is greater than this one.
    #[must_use]
    pub fn next(&self) -> Self {
        let mut raw = BytesMut::with_capacity(self.0.len().saturating_add(5));
        raw.put_slice(&self.0);
        if raw.is_empty() {
            raw.put_u32(0);
        } else {
            raw.put_u8(0);
        }
        Self(raw.freeze())
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Self {
        key.0
    }
}

/// For people: escaped, and cut at [`limits::SHOWN_KEY_BYTES`]. See [`Key::in_full`].
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user_key().get(..limits::SHOWN_KEY_BYTES) {
            Some(shown) if shown.len() < self.user_key().len() => {
                write!(f, "/{}/{}...({} B)", self.keyspace().0, shown.escape_ascii(), self.user_key().len())
            }
            _ => f.write_str(&self.in_full()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What all versions of `key` begin with, and nothing else does: `keyspace | escaped user key | end mark`.
#[must_use]
pub fn encode_prefix(key: &Key) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.user_key().len().saturating_add(4 + 2 + 8 + 4));
    put_prefix(&mut out, key);
    out
}

/// One version of `key`.
#[must_use]
pub fn encode_version(key: &Key, timestamp: Timestamp) -> Vec<u8> {
    let mut out = encode_prefix(key);
    out.put_u64(!timestamp.0);
    out
}

/// Where a range that starts (or ends) at `bound` starts (or ends) on disk: before every version of every key >= `bound`.
#[must_use]
pub fn encode_bound(bound: &Key) -> Vec<u8> {
    if bound.raw().is_empty() {
        return Vec::new();
    }
    let mut out = Vec::with_capacity(bound.user_key().len().saturating_add(4 + 2));
    put_prefix(&mut out, bound);
    out
}

fn put_prefix(out: &mut Vec<u8>, key: &Key) {
    out.put_u32(key.keyspace().0);
    for &byte in key.user_key() {
        out.push(byte);
        if byte == ESCAPE {
            out.push(ESCAPED_ZERO);
        }
    }
    out.push(ESCAPE);
    out.push(END);
}

/// Reads what [`encode_version`] wrote. Anything else is damage and gives `None`.
#[must_use]
pub fn decode_version(encoded: &[u8]) -> Option<(Key, Timestamp)> {
    let (prefix, timestamp) = encoded.split_last_chunk::<8>()?;
    Some((decode_prefix(prefix)?, Timestamp::compared(!u64::from_be_bytes(*timestamp))))
}

/// Reads what [`encode_prefix`] wrote.
#[must_use]
pub fn decode_prefix(encoded: &[u8]) -> Option<Key> {
    let (keyspace, escaped) = encoded.split_first_chunk::<4>()?;
    let escaped = escaped.strip_suffix(&[ESCAPE, END])?;
    let mut user = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(&byte) = rest.next() {
        user.push(byte);
        if byte == ESCAPE && rest.next() != Some(&ESCAPED_ZERO) {
            return None;
        }
    }
    Some(Key::bound(KeyspaceId(u32::from_be_bytes(*keyspace)), &user))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few byte values, so that prefixes of each other and zeros are common.
    fn key() -> impl Strategy<Value = Key> {
        let byte = prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff), any::<u8>()];
        (0u32..3, proptest::collection::vec(byte, 0..8)).prop_map(|(ks, user)| Key::bound(KeyspaceId(ks), &user))
    }

    proptest! {
        #[test]
        fn encoding_keeps_the_order(a in key(), b in key(), at in any::<u64>(), bt in any::<u64>()) {
            let left = (a.clone(), std::cmp::Reverse(at));
            let right = (b.clone(), std::cmp::Reverse(bt));
            prop_assert_eq!(left.cmp(&right), encode_version(&a, Timestamp(at)).cmp(&encode_version(&b, Timestamp(bt))));
        }

        #[test]
        fn encoding_round_trips(a in key(), t in any::<u64>()) {
            prop_assert_eq!(decode_version(&encode_version(&a, Timestamp(t))), Some((a, Timestamp(t))));
        }

        #[test]
        fn bounds_separate_versions(a in key(), bound in key(), t in any::<u64>()) {
            let below = encode_version(&a, Timestamp(t)) < encode_bound(&bound);
            prop_assert_eq!(below, a < bound);
        }

        #[test]
        fn next_is_the_smallest_greater(a in key(), b in key()) {
            prop_assert!(a.next() > a);
            prop_assert!(b <= a || b >= a.next());
        }

        #[test]
        fn garbage_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..24)) {
            if let Some((key, t)) = decode_version(&raw) {
                prop_assert_eq!(encode_version(&key, t), raw);
            }
        }
    }

    #[test]
    fn a_key_is_shown_escaped_and_not_at_any_length() {
        let shown = |user: &[u8]| Key::bound(KeyspaceId(1), user).to_string();
        assert_eq!((Key::MIN.to_string(), shown(b"a\x1b[2J\xff")), ("/min".to_owned(), r"/1/a\x1b[2J\xff".to_owned()));
        assert_eq!(shown(&[b'k'; limits::SHOWN_KEY_BYTES]), format!("/1/{}", "k".repeat(limits::SHOWN_KEY_BYTES)));
        let longest = shown(&[0xff; limits::MAX_KEY_BYTES]);
        assert_eq!(longest, format!("/1/{}...(4096 B)", r"\xff".repeat(limits::SHOWN_KEY_BYTES)));
        let whole = Key::bound(KeyspaceId(1), &[0xff; limits::MAX_KEY_BYTES]).in_full();
        assert_eq!(whole, format!("/1/{}", r"\xff".repeat(limits::MAX_KEY_BYTES)));
    }

    #[test]
    fn keys_out_of_bounds_are_refused() {
        assert!(Key::new(KeyspaceId(1), b"").is_err());
        assert!(Key::new(KeyspaceId(1), &vec![0; limits::MAX_KEY_BYTES]).is_ok());
        assert!(Key::new(KeyspaceId(1), &vec![0; limits::MAX_KEY_BYTES + 1]).is_err());
        assert!(Key::from_raw(Bytes::from_static(b"abc")).is_err());
    }
}
