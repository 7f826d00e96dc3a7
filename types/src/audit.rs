//! The names of what is on record of who did what: rows of [`KeyspaceId::AUDIT`].
//!
//! ```text
//! hybrid timestamp (8) | store (8) | number (8)        all big-endian, so that rows lie in the order of time
//! ```
//!
//! Rows are appended and never changed or deleted by anybody; they expire.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use crate::bounds::at_most;
use crate::ids::{KeyspaceId, StoreId};
use crate::key::Key;
use crate::limits;
use crate::range::KeyRange;
use crate::time::Timestamp;

/// Names an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AuditKey {
    /// Fleet time at the store where it happened.
    pub at: Timestamp,
    /// That store.
    pub store: StoreId,
    /// Counts the entries of the store's process.
    pub number: u64,
}

impl AuditKey {
    /// The key of its row.
    #[must_use]
    pub fn key(&self) -> Key {
        let parts = [self.at.0, self.store.0, self.number].map(u64::to_be_bytes);
        Key::bound(KeyspaceId::AUDIT, parts.as_flattened())
    }

    /// Reads what [`AuditKey::key`] wrote; `None` for every other key.
    #[must_use]
    pub fn parse(key: &Key) -> Option<Self> {
        if key.keyspace() != KeyspaceId::AUDIT {
            return None;
        }
        let (parts, rest) = key.user_key().as_chunks::<8>();
        let [at, store, number] = parts else { return None };
        let [at, store, number] = [at, store, number].map(|part| u64::from_be_bytes(*part));
        let number = at_most("the number of an entry", number, limits::MAX_COUNTED).ok()?;
        let (at, store) = (Timestamp::bounded(at).ok()?, StoreId::bounded(store).ok()?);
        rest.is_empty().then_some(Self { at, store, number })
    }

    /// Where all entries lie that are not older than `since`.
    #[must_use]
    pub fn all_since(since: Timestamp) -> KeyRange {
        let start = Key::bound(KeyspaceId::AUDIT, &since.0.to_be_bytes());
        KeyRange { start, end: Key::keyspace_end(KeyspaceId::AUDIT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(at: u64, store: u64, number: u64) -> AuditKey {
        AuditKey { at: Timestamp(at), store: StoreId(store), number }
    }

    #[test]
    fn entries_lie_in_the_order_of_time_and_read_as_they_were_written() {
        let ordered = [named(1, 9, 9), named(255, 1, 1), named(256, 1, 2), named(256, 2, 1), named(1 << 40, 1, 1)];
        let keys: Vec<_> = ordered.iter().map(AuditKey::key).collect();
        assert!(keys.is_sorted());
        for (name, key) in ordered.iter().zip(&keys) {
            assert_eq!(AuditKey::parse(key), Some(*name));
            assert!(AuditKey::all_since(Timestamp::ZERO).contains(key));
            assert!(AuditKey::all_since(name.at).contains(key) && !AuditKey::all_since(name.at.next()).contains(key));
        }
    }

    #[test]
    fn other_keys_name_no_entry() {
        let whole = named(1, 2, 3).key();
        let user = whole.user_key();
        let of_audit = |user: &[u8]| Key::bound(KeyspaceId::AUDIT, user);
        let longer = [user, b"x"].concat();
        for other in [
            Key::MIN,
            of_audit(b""),
            of_audit(&user[..23]),
            of_audit(&longer),
            Key::bound(KeyspaceId::DEFAULT, user),
            named(u64::MAX, 2, 3).key(),
            named(1, u64::MAX, 3).key(),
            named(1, 2, u64::MAX).key(),
        ] {
            assert_eq!(AuditKey::parse(&other), None, "{other}");
        }
    }
}
