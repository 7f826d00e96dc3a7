//! Bytes of the keys and values of the data instance, format version 1.
//!
//! ```text
//! 0x01 | range id (8) | 0x00                                 -> range state
//! 0x01 | range id (8) | 0x01 | client id (16) | slot (2)     -> completion record
//! 0x02 | version key (see holdfast_types::key)               -> header | value
//!
//! header: kind (1): 0 value, 1 tombstone, 2 reserved for intents; with 0x80 the moment of expiry (8) follows
//! ```
//!
//! Integers are big-endian. Everything local to a range lies in one piece, so that an install replaces it with one tombstone.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_types::key::{decode_version, encode_bound, encode_version};
use holdfast_types::{ClientId, Key, KeyRange, RangeId, Slot, Timestamp};

use crate::contract::Version;
use crate::read::Outline;

const LOCAL: u8 = 1;
const VERSIONS: u8 = 2;
const STATE: u8 = 0;
const COMPLETION: u8 = 1;
const BEHIND_LOCAL: u8 = 2;

const KIND_VALUE: u8 = 0;
const KIND_TOMBSTONE: u8 = 1;
const WITH_EXPIRY: u8 = 0x80;

/// Bytes from `.0` to before `.1`.
pub(crate) type Span = (Vec<u8>, Vec<u8>);

/// A decoded key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DataKey {
    State(RangeId),
    Completion(RangeId, ClientId, Slot),
    Version(Key, Timestamp),
}

fn local(range: RangeId, part: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(28);
    out.put_u8(LOCAL);
    out.put_u64(range.0);
    out.put_u8(part);
    out
}

pub(crate) fn state_key(range: RangeId) -> Vec<u8> {
    local(range, STATE)
}

pub(crate) fn completion_key(range: RangeId, client: ClientId, slot: Slot) -> Vec<u8> {
    let mut out = local(range, COMPLETION);
    out.put_u128(client.0);
    out.put_u16(slot.0);
    out
}

pub(crate) fn version_key(key: &Key, timestamp: Timestamp) -> Vec<u8> {
    let mut out = vec![VERSIONS];
    out.extend_from_slice(&encode_version(key, timestamp));
    out
}

/// State and completion records of a range.
pub(crate) fn local_span(range: RangeId) -> Span {
    (local(range, STATE), local(range, BEHIND_LOCAL))
}

/// Completion records of a range.
pub(crate) fn completion_span(range: RangeId) -> Span {
    (local(range, COMPLETION), local(range, BEHIND_LOCAL))
}

/// Where a bound lies; `None`: behind all versions.
pub(crate) fn bound_key(bound: Option<&Key>) -> Vec<u8> {
    match bound {
        Some(bound) => {
            let mut out = vec![VERSIONS];
            out.extend_from_slice(&encode_bound(bound));
            out
        }
        None => vec![VERSIONS + 1],
    }
}

/// All versions of all keys in bounds.
pub(crate) fn version_span(bounds: &KeyRange) -> Span {
    (bound_key(Some(&bounds.start)), bound_key(bounds.end.as_ref()))
}

/// Reads a key; `None` is damage.
pub(crate) fn decode_key(raw: &[u8]) -> Option<DataKey> {
    let (&kind, rest) = raw.split_first()?;
    if kind == VERSIONS {
        let (key, timestamp) = decode_version(rest)?;
        return Some(DataKey::Version(key, timestamp));
    }
    if kind != LOCAL {
        return None;
    }
    let (range, rest) = rest.split_first_chunk::<8>()?;
    let range = RangeId::bounded(u64::from_be_bytes(*range)).ok()?;
    match rest.split_first()? {
        (&STATE, []) => Some(DataKey::State(range)),
        (&COMPLETION, rest) => {
            let (client, slot) = rest.split_first_chunk::<16>()?;
            let slot = Slot::bounded(u16::from_be_bytes(slot.try_into().ok()?)).ok()?;
            Some(DataKey::Completion(range, ClientId(u128::from_be_bytes(*client)), slot))
        }
        _ => None,
    }
}

/// The part of a version's key without the timestamp, and the timestamp; `None` for other keys.
pub(crate) fn split_version(raw: &[u8]) -> Option<(&[u8], Timestamp)> {
    if !has_bloom(raw) || raw.first() != Some(&VERSIONS) {
        return None;
    }
    let (prefix, timestamp) = raw.split_last_chunk::<8>()?;
    Some((prefix, Timestamp::compared(!u64::from_be_bytes(*timestamp))))
}

/// True for keys that bloom filters know: versions, and what is local to a range.
pub(crate) fn has_bloom(raw: &[u8]) -> bool {
    match raw.first() {
        // kind, keyspace, end mark, timestamp
        Some(&VERSIONS) => raw.len() >= 1 + 4 + 2 + 8,
        Some(&LOCAL) => true,
        _ => false,
    }
}

/// What a bloom filter knows of a key: of a version the key without its timestamp, else all of it.
pub(crate) fn bloom_prefix(raw: &[u8]) -> &[u8] {
    match raw.first() {
        Some(&VERSIONS) => raw.split_last_chunk::<8>().map_or(raw, |(key, _)| key),
        _ => raw,
    }
}

pub(crate) fn encode_value(version: &Version) -> Bytes {
    let mut out = BytesMut::new();
    match version {
        Version::Value { value, expires_at } => {
            match expires_at {
                Some(end) => {
                    out.put_u8(KIND_VALUE | WITH_EXPIRY);
                    out.put_u64(end.0);
                }
                None => out.put_u8(KIND_VALUE),
            }
            out.put_slice(value);
        }
        Version::Tombstone => out.put_u8(KIND_TOMBSTONE),
    }
    out.freeze()
}

/// Reads what [`encode_value`] wrote; `None` is damage.
pub(crate) fn decode_value(raw: &[u8]) -> Option<Version> {
    Some(match split_value(raw)? {
        Some((value, expires_at)) => Version::Value { value: Bytes::copy_from_slice(value), expires_at },
        None => Version::Tombstone,
    })
}

/// Reads of it what is not the value itself, which is not copied: `Some(None)` is a tombstone, `None` is damage.
pub(crate) fn decode_outline(raw: &[u8]) -> Option<Option<Outline>> {
    Some(split_value(raw)?.map(|(value, expires_at)| Outline { expires_at, bytes: value.len() }))
}

/// The value and its end; `Some(None)` is a tombstone, `None` is damage.
fn split_value(raw: &[u8]) -> Option<Option<(&[u8], Option<Timestamp>)>> {
    let (&kind, rest) = raw.split_first()?;
    match kind {
        KIND_VALUE => Some(Some((rest, None))),
        k if k == KIND_VALUE | WITH_EXPIRY => {
            let (end, rest) = rest.split_first_chunk::<8>()?;
            Some(Some((rest, Some(Timestamp::compared(u64::from_be_bytes(*end))))))
        }
        KIND_TOMBSTONE if rest.is_empty() => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::KeyspaceId;

    use super::*;

    #[test]
    fn keys_and_values_round_trip() {
        let key = Key::bound(KeyspaceId(3), b"a\0b");
        let (range, client, slot) = (RangeId(9), ClientId(1 << 100), Slot(7));
        for (raw, decoded) in [
            (state_key(range), DataKey::State(range)),
            (completion_key(range, client, slot), DataKey::Completion(range, client, slot)),
            (version_key(&key, Timestamp(5)), DataKey::Version(key.clone(), Timestamp(5))),
        ] {
            assert_eq!(decode_key(&raw), Some(decoded));
        }
        for expires_at in [None, Some(Timestamp(77))] {
            let version = Version::Value { value: Bytes::from_static(b"v"), expires_at };
            assert_eq!(decode_value(&encode_value(&version)), Some(version));
        }
        assert_eq!(decode_value(&encode_value(&Version::Tombstone)), Some(Version::Tombstone));
        assert_eq!(decode_value(&[2]), None, "intents are not known yet");
    }

    #[test]
    fn what_belongs_to_a_range_lies_within_its_spans() {
        let (start, end) = local_span(RangeId(9));
        for raw in [state_key(RangeId(9)), completion_key(RangeId(9), ClientId(u128::MAX), Slot(u16::MAX))] {
            assert!(start <= raw && raw < end);
        }
        assert!(state_key(RangeId(10)) >= end && completion_key(RangeId(8), ClientId(u128::MAX), Slot(1)) < start);
        let (start, end) = version_span(&KeyRange::all());
        let last = version_key(&Key::bound(KeyspaceId(u32::MAX), &[0xff; 8]), Timestamp::ZERO);
        assert!(start <= version_key(&Key::MIN, Timestamp::MAX) && last < end);
    }
}
