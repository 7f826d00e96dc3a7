//! Conversions for `storage.proto`: the parts of stored messages that are types of `holdfast-types`. What a whole record means
//! is the replica crate's affair.

use bytes::Bytes;
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
    u16::try_from(raw)
        .ok()
        .filter(|slot| *slot < limits::MAX_SLOTS)
        .map(Slot)
        .ok_or_else(|| BadMessage::malformed(format!("slot {raw} is not below {}", limits::MAX_SLOTS)))
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
        let v1::StoredMutation { key: raw, value, expires_at } = stored;
        let key: Result<_, BadMessage> = key(raw);
        let value: Option<Bytes> = value;
        Ok(Self { key: key?, value, expires_at: optional_timestamp(expires_at) })
    }
}
