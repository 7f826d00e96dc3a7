//! Conversions for `storage.proto`: the parts of stored messages that are types of `holdfast-types`. What a whole record means
//! is the replica crate's affair.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::{ClientId, Mutation, Slot, Timestamp, limits};

use super::BadMessage;
use super::common::{key, optional_timestamp};
use crate::v1;

/// Refuses a stored message whose version is not `known`, the only one there is so far.
pub fn expect_version(what: &'static str, found: u32, known: u32) -> Result<(), BadMessage> {
    if found == known {
        return Ok(());
    }
    if found == 0 {
        return Err(BadMessage::malformed(format!("{what} has no version: it is damaged or not what it should be")));
    }
    Err(BadMessage::UnknownVersion { what, found, known })
}

/// A stored timestamp, which clocks observe.
pub fn stamp(raw: u64) -> Result<Timestamp, BadMessage> {
    Ok(Timestamp::bounded(raw)?)
}

/// The two halves of a client id, as stored.
#[must_use]
pub fn client_halves(client: ClientId) -> (u64, u64) {
    let v1::Id128 { high, low } = client.into();
    (high, low)
}

/// A client id from its stored halves.
#[must_use]
pub fn client_from_halves(high: u64, low: u64) -> ClientId {
    v1::Id128 { high, low }.into()
}

/// A slot as stored.
pub fn slot(raw: u32) -> Result<Slot, BadMessage> {
    let slot = u16::try_from(raw).ok().and_then(|raw| Slot::bounded(raw).ok());
    slot.ok_or_else(|| BadMessage::malformed(format!("slot {raw} is not below {}", limits::MAX_SLOTS)))
}

impl From<Mutation> for v1::StoredMutation {
    fn from(mutation: Mutation) -> Self {
        Self {
            key: mutation.key.into(),
            value: mutation.value,
            expires_at: mutation.expires_at.unwrap_or(Timestamp::ZERO).0,
        }
    }
}

impl TryFrom<v1::StoredMutation> for Mutation {
    type Error = BadMessage;

    fn try_from(stored: v1::StoredMutation) -> Result<Self, BadMessage> {
        Ok(Self { key: key(stored.key)?, value: stored.value, expires_at: optional_timestamp(stored.expires_at) })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_types::{Key, KeyspaceId};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn mutations_round_trip(user in any::<Vec<u8>>(), value in proptest::option::of(any::<Vec<u8>>()), end in any::<u64>()) {
            let mutation = Mutation {
                key: Key::bound(KeyspaceId(7), &user),
                value: value.map(Bytes::from),
                expires_at: optional_timestamp(end),
            };
            prop_assert_eq!(Mutation::try_from(v1::StoredMutation::from(mutation.clone())), Ok(mutation));
        }

        #[test]
        fn client_ids_round_trip(id in any::<u128>()) {
            let (high, low) = client_halves(ClientId(id));
            prop_assert_eq!(client_from_halves(high, low), ClientId(id));
        }
    }

    #[test]
    fn only_the_known_version_is_taken() {
        assert_eq!(expect_version("record", 1, 1), Ok(()));
        assert!(matches!(expect_version("record", 0, 1), Err(BadMessage::Malformed(_))));
        assert_eq!(
            expect_version("record", 2, 1),
            Err(BadMessage::UnknownVersion { what: "record", found: 2, known: 1 })
        );
    }

    #[test]
    fn slots_have_a_bound() {
        assert_eq!(slot(u32::from(limits::MAX_SLOTS) - 1), Ok(Slot(limits::MAX_SLOTS - 1)));
        assert!(slot(limits::MAX_SLOTS.into()).is_err());
        assert!(slot(1 << 16).is_err());
    }
}
