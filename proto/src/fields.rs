//! How many fields a message has, counted before it is decoded.
//!
//! A field of a message takes two bytes on the wire when it is empty, and a hundred in memory: 8 MiB of empty calls would be 700 MB of
//! structures before anybody could count them. So fields are counted first, by the descriptors of the messages, and a message with more
//! than any honest one is refused.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{Message, Name};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// Messages lie within messages at most this deep; prost itself goes no deeper.
const MAX_DEPTH: usize = 100;

/// True when the message in `bytes` has at most so many fields, those of messages within it counted too. What is malformed is within: it is
/// refused when it is decoded.
#[must_use]
pub fn are_within<M: Name>(bytes: &[u8], most: usize) -> bool {
    is_within(types(), M::NAME, bytes, most)
}

/// True of messages that clients and stores send as requests of a service.
#[must_use]
pub fn is_request(name: &str) -> bool {
    types().requests.contains(name)
}

/// True when a message has at most so many fields of its own: for messages of others, whose types are not known here.
#[must_use]
pub fn are_few(mut bytes: &[u8], most: usize) -> bool {
    let mut left = most;
    while bytes.has_remaining() {
        let Some(less) = left.checked_sub(1) else { return false };
        left = less;
        // What is malformed is refused when it is decoded; groups are not, and nothing of ours has any.
        match decode_key(&mut bytes) {
            Ok((_, WireType::StartGroup | WireType::EndGroup)) => return false,
            Ok((_, wire)) => match skipped(wire, &mut bytes).and_then(|skipped| bytes.split_at_checked(skipped)) {
                Some((_, behind)) => bytes = behind,
                None => return true,
            },
            Err(_) => return true,
        }
    }
    true
}

/// Bytes that the rest of a field takes, of which the key was read, and what says how long it is.
fn skipped(wire: WireType, bytes: &mut &[u8]) -> Option<usize> {
    match wire {
        WireType::Varint => decode_varint(bytes).ok().map(|_| 0),
        WireType::SixtyFourBit => Some(8),
        WireType::ThirtyTwoBit => Some(4),
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok(),
        WireType::StartGroup | WireType::EndGroup => None,
    }
}

/// What lies in a field.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Inside {
    /// Bytes or text: one thing, however long.
    One,
    /// Numbers, which may come many in one field.
    Numbers,
    /// A message of this type.
    Message(String),
}

struct Types {
    /// Messages that clients and stores send as requests.
    requests: HashSet<String>,
    fields: HashMap<String, HashMap<u32, Inside>>,
}

fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(|| {
        let files = FileDescriptorSet::decode(crate::v1::DESCRIPTORS).expect("the descriptors that were compiled in");
        let mut types = Types { requests: HashSet::new(), fields: HashMap::new() };
        for file in &files.file {
            file.message_type.iter().for_each(|message| add(&mut types.fields, "", message));
            let methods = file.service.iter().flat_map(|service| &service.method);
            types.requests.extend(methods.map(|method| short(method.input_type()).to_owned()));
        }
        types
    })
}

/// The name of a type without its package.
fn short(name: &str) -> &str {
    name.trim_start_matches(".holdfast.v1.")
}

fn add(fields: &mut HashMap<String, HashMap<u32, Inside>>, outer: &str, message: &DescriptorProto) {
    let name = format!("{outer}{}", message.name());
    let known = message.field.iter().filter_map(|field| {
        let inside = match field.r#type() {
            Type::Message | Type::Group => Inside::Message(short(field.type_name()).to_owned()),
            Type::Bytes | Type::String => Inside::One,
            _ => Inside::Numbers,
        };
        Some((u32::try_from(field.number()).ok()?, inside))
    });
    fields.insert(name.clone(), known.collect());
    message.nested_type.iter().for_each(|nested| add(fields, &format!("{name}."), nested));
}

fn is_within(types: &Types, message: &str, bytes: &[u8], most: usize) -> bool {
    let mut left = most;
    // Malformed: `None`.
    !matches!(count(types, message, bytes, &mut left, MAX_DEPTH), Some(false))
}

/// `Some(false)`: there are more than `left`; `None`: malformed.
fn count(types: &Types, message: &str, mut bytes: &[u8], left: &mut usize, depth: usize) -> Option<bool> {
    let fields = types.fields.get(message)?;
    let depth = depth.checked_sub(1)?;
    while bytes.has_remaining() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        let Some(less) = left.checked_sub(1) else { return Some(false) };
        *left = less;
        // The decoder would skip one, and what lies in it is not counted: nothing of ours has any.
        if matches!(wire, WireType::StartGroup | WireType::EndGroup) {
            return Some(false);
        }
        let skipped = skipped(wire, &mut bytes)?;
        let (inside, behind) = bytes.split_at_checked(skipped)?;
        bytes = behind;
        match fields.get(&number) {
            Some(Inside::Message(name))
                if wire == WireType::LengthDelimited && !count(types, name, inside, left, depth)? =>
            {
                return Some(false);
            }
            Some(Inside::Numbers) if wire == WireType::LengthDelimited => {
                let Some(less) = left.checked_sub(inside.len()) else { return Some(false) };
                *left = less;
            }
            _ => {}
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use holdfast_types::limits;

    use super::*;
    use crate::v1;

    fn within<M: Message + Name>(message: &M, most: usize) -> bool {
        is_within(types(), M::NAME, &message.encode_to_vec(), most)
    }

    #[test]
    fn fields_are_counted_in_all_depths_and_numbers_that_share_a_field_too() {
        let mutation = v1::KeyMutation { key: "k".into(), value: Some("v".into()), ..Default::default() };
        let batch = v1::AtomicBatchRequest { mutations: vec![mutation; 100], ..Default::default() };
        assert!(within(&batch, 300) && !within(&batch, 299), "a mutation, its key, its value");
        let cancelled = v1::StreamRequest { cancel: vec![1; 100], ..Default::default() };
        assert!(within(&cancelled, 101) && !within(&cancelled, 100));
        let calls = v1::StreamRequest { calls: vec![v1::StreamCall::default(); 1_000], ..Default::default() };
        assert!(within(&calls, 1_000) && !within(&calls, 999));
        let large = v1::PutRequest { key: "k".into(), value: vec![8; 1 << 20].into(), ..Default::default() };
        assert!(within(&large, 2), "a value is one thing");
    }

    #[test]
    fn fields_of_a_message_whose_type_is_not_known_are_counted_too() {
        let calls = v1::StreamRequest { calls: vec![v1::StreamCall::default(); 1_000], ..Default::default() };
        let bytes = calls.encode_to_vec();
        assert!(are_few(&bytes, 1_000) && !are_few(&bytes, 999));
        let put = v1::PutRequest { keyspace: 1, key: "k".into(), value: "v".into(), ..Default::default() };
        assert!(are_few(&put.encode_to_vec(), 3) && !are_few(&put.encode_to_vec(), 2));
        assert!(are_few(&[0x0a, 0xff], 1), "left to the decoder");
    }

    #[test]
    fn every_request_has_a_type_and_the_largest_honest_ones_are_within() {
        let types = types();
        assert!(types.requests.contains("PutRequest") && types.requests.contains("StreamRequest"));
        for request in &types.requests {
            assert!(types.fields.contains_key(request), "{request}");
        }
        let key: bytes::Bytes = vec![b'k'; 20].into();
        let mutation = v1::KeyMutation { key: key.clone(), value: Some(key.clone()), expires_at_ms: u64::MAX };
        let condition = v1::KeyCondition { key, expected: None };
        let batch = v1::AtomicBatchRequest {
            mutations: vec![mutation; limits::MAX_BATCH_KEYS],
            conditions: vec![condition; limits::MAX_BATCH_KEYS],
            ..Default::default()
        };
        assert!(within(&batch, limits::MAX_REQUEST_FIELDS));
    }

    #[test]
    fn a_group_hides_nothing_from_the_count() {
        // A field of no message begins and ends as a group; the decoder skips it.
        let mut bytes = vec![0x9b, 0x06, 0x9c, 0x06];
        assert!(v1::StreamRequest::decode(bytes.as_slice()).is_ok());
        bytes.extend(
            v1::StreamRequest { calls: vec![v1::StreamCall::default(); 1_000], ..Default::default() }.encode_to_vec(),
        );
        assert!(!is_within(types(), "StreamRequest", &bytes, 10) && !are_few(&bytes, 10));
    }

    #[test]
    fn what_is_malformed_is_left_to_the_decoder() {
        for bytes in [&[0x0a][..], &[0x0a, 0xff, 0xff], &[0xff; 20], &[0x0a, 0x02, 0x0a]] {
            assert!(is_within(types(), "StreamRequest", bytes, 10), "{bytes:?}");
        }
    }
}
