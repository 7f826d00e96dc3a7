//! Conversions for `kv.proto`: the public service speaks of keyspaces and user keys, everything behind it of raw keys.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_types::{
    Condition, Key, KeyRange, KeyspaceId, Located, Mutation, RangeRequest, Request, Response, Row, Term, Timestamp,
    VersionedValue, limits,
};

use super::BadMessage;
use super::common::{optional_timestamp, required};
use crate::v1;
use crate::v1::{condition, key_condition, write_response};

type Converted<T> = Result<T, BadMessage>;

/// The keyspace that a public request means: 0 is the default one.
#[must_use]
pub fn keyspace(raw: u32) -> KeyspaceId {
    if raw == 0 { KeyspaceId::DEFAULT } else { KeyspaceId(raw) }
}

/// The raw bounds of a public interval of user keys.
#[must_use]
pub fn bounds(keyspace: KeyspaceId, start: &[u8], end: Option<&[u8]>) -> KeyRange {
    let end = match end {
        Some(end) => Some(Key::bound(keyspace, end)),
        None => Key::keyspace_end(keyspace),
    };
    KeyRange { start: Key::bound(keyspace, start), end }
}

fn routed(write: Option<v1::WriteAttempt>, request: Request) -> Converted<RangeRequest> {
    Ok(RangeRequest { range: None, write: write.map(TryInto::try_into).transpose()?, request })
}

fn mutation(keyspace: KeyspaceId, mutation: v1::KeyMutation) -> Mutation {
    Mutation {
        key: Key::bound(keyspace, &mutation.key),
        value: mutation.value,
        expires_at: expires_at(mutation.expires_at_ms),
    }
}

fn expires_at(ms: u64) -> Option<Timestamp> {
    (ms != 0).then(|| Timestamp::from_ms(ms))
}

fn wanted(keyspace: KeyspaceId, wanted: v1::KeyCondition) -> Converted<Condition> {
    let expected = match required(wanted.expected, "what a condition expects")? {
        key_condition::Expected::Absent(absent) => condition::Expected::Absent(absent),
        key_condition::Expected::Value(value) => condition::Expected::Value(value),
        key_condition::Expected::Version(version) => condition::Expected::Version(version),
    };
    Ok(Condition { key: Key::bound(keyspace, &wanted.key), expected: expected.try_into()? })
}

impl From<v1::GetRequest> for RangeRequest {
    fn from(get: v1::GetRequest) -> Self {
        let keys = vec![Key::bound(keyspace(get.keyspace), &get.key)];
        Self { range: None, write: None, request: Request::Get { keys, at: optional_timestamp(get.at) } }
    }
}

impl From<v1::BatchGetRequest> for RangeRequest {
    /// May span ranges: to be cut.
    fn from(get: v1::BatchGetRequest) -> Self {
        let keyspace = keyspace(get.keyspace);
        let keys = get.keys.iter().map(|key| Key::bound(keyspace, key)).collect();
        Self { range: None, write: None, request: Request::Get { keys, at: optional_timestamp(get.at) } }
    }
}

impl TryFrom<v1::PutRequest> for RangeRequest {
    type Error = BadMessage;

    fn try_from(put: v1::PutRequest) -> Converted<Self> {
        let key = Key::bound(keyspace(put.keyspace), &put.key);
        let mutation = Mutation { key, value: Some(put.value), expires_at: expires_at(put.expires_at_ms) };
        routed(put.write, Request::Write { conditions: vec![], mutations: vec![mutation] })
    }
}

impl TryFrom<v1::DeleteRequest> for RangeRequest {
    type Error = BadMessage;

    fn try_from(delete: v1::DeleteRequest) -> Converted<Self> {
        let key = Key::bound(keyspace(delete.keyspace), &delete.key);
        let mutation = Mutation { key, value: None, expires_at: None };
        routed(delete.write, Request::Write { conditions: vec![], mutations: vec![mutation] })
    }
}

impl TryFrom<v1::CompareAndSetRequest> for RangeRequest {
    type Error = BadMessage;

    fn try_from(change: v1::CompareAndSetRequest) -> Converted<Self> {
        let keyspace = keyspace(change.keyspace);
        let conditions = vec![wanted(keyspace, required(change.condition, "the condition")?)?];
        let mutations = vec![mutation(keyspace, required(change.mutation, "the mutation")?)];
        routed(change.write, Request::Write { conditions, mutations })
    }
}

impl TryFrom<v1::AtomicBatchRequest> for RangeRequest {
    type Error = BadMessage;

    fn try_from(batch: v1::AtomicBatchRequest) -> Converted<Self> {
        let keyspace = keyspace(batch.keyspace);
        let conditions = batch.conditions.into_iter().map(|c| wanted(keyspace, c)).collect::<Converted<_>>()?;
        let mutations = batch.mutations.into_iter().map(|m| mutation(keyspace, m)).collect();
        routed(batch.write, Request::Write { conditions, mutations })
    }
}

impl TryFrom<v1::DeleteRangeRequest> for RangeRequest {
    type Error = BadMessage;

    /// May span ranges: the store that holds the first key deletes its part.
    fn try_from(delete: v1::DeleteRangeRequest) -> Converted<Self> {
        let bounds = bounds(keyspace(delete.keyspace), &delete.start, delete.end.as_deref());
        let max_keys = if delete.max_keys == 0 { limits::DELETE_RANGE_PAGE_KEYS } else { delete.max_keys };
        routed(delete.write, Request::DeleteRange { bounds, max_keys })
    }
}

// ---- answers

fn unexpected(what: &str) -> BadMessage {
    BadMessage::malformed(format!("the answer does not fit the request: {what} was expected"))
}

impl TryFrom<Response> for v1::GetResponse {
    type Error = BadMessage;

    fn try_from(response: Response) -> Converted<Self> {
        match response {
            Response::Got { mut values } if values.len() == 1 => {
                Ok(Self { value: values.pop().flatten().map(Into::into) })
            }
            _ => Err(unexpected("one value")),
        }
    }
}

impl TryFrom<Response> for v1::BatchGetResponse {
    type Error = BadMessage;

    fn try_from(response: Response) -> Converted<Self> {
        let Response::Got { values } = response else { return Err(unexpected("values")) };
        let values = values.into_iter().map(|value| v1::MaybeValue { value: value.map(Into::into) }).collect();
        Ok(Self { values })
    }
}

impl TryFrom<Response> for v1::WriteResponse {
    type Error = BadMessage;

    fn try_from(response: Response) -> Converted<Self> {
        let outcome = match response {
            Response::Written { timestamp } => {
                write_response::Outcome::Written(v1::WriteAnswer { timestamp: timestamp.0 })
            }
            Response::ConditionFailed { index, actual } => {
                let actual = actual.map(Into::into);
                write_response::Outcome::ConditionFailed(v1::ConditionFailed { index, actual })
            }
            _ => return Err(unexpected("the outcome of a write")),
        };
        Ok(Self { outcome: Some(outcome) })
    }
}

impl TryFrom<Response> for v1::DeleteRangeResponse {
    type Error = BadMessage;

    fn try_from(response: Response) -> Converted<Self> {
        let Response::RangeDeleted { deleted, resume, timestamp } = response else {
            return Err(unexpected("a deleted page"));
        };
        Ok(Self { deleted, resume: resume.map(|key| user_key(&key)), timestamp: timestamp.0 })
    }
}

impl TryFrom<Response> for v1::ScanResponse {
    type Error = BadMessage;

    fn try_from(response: Response) -> Converted<Self> {
        let Response::Scanned { rows, counted, resume, at, .. } = response else {
            return Err(unexpected("a page of rows"));
        };
        let rows = rows.into_iter().map(Into::into).collect();
        Ok(Self { rows, resume: resume.map(|key| user_key(&key)), at: at.0, part: None, counted: counted.into() })
    }
}

impl From<Row> for v1::KeyValue {
    fn from(row: Row) -> Self {
        let VersionedValue { value, timestamp, expires_at } = row.value;
        let expires_at_ms = expires_at.map_or(0, Timestamp::ms);
        Self { key: user_key(&row.key), value, version: timestamp.0, expires_at_ms }
    }
}

/// The key within its keyspace.
#[must_use]
pub fn user_key(key: &Key) -> Bytes {
    key.raw().slice_ref(key.user_key())
}

// ---- the stream

impl From<Located> for v1::RangeNotice {
    fn from(located: Located) -> Self {
        Self {
            descriptor: Some(located.descriptor.into()),
            leader: located.leader.map(Into::into),
            term: located.term.0,
        }
    }
}

impl TryFrom<v1::RangeNotice> for Located {
    type Error = BadMessage;

    fn try_from(notice: v1::RangeNotice) -> Converted<Self> {
        Ok(Self {
            descriptor: required(notice.descriptor, "the descriptor of a notice")?.try_into()?,
            leader: notice.leader.map(TryInto::try_into).transpose()?,
            term: Term::bounded(notice.term)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::Expected;

    use super::*;

    #[test]
    fn keyspace_zero_means_the_default_one() {
        let get = v1::GetRequest { keyspace: 0, key: Bytes::from_static(b"k"), at: 0 };
        let Request::Get { keys, at } = RangeRequest::from(get).request else { panic!("a get") };
        assert_eq!((keys[0].keyspace(), keys[0].user_key(), at), (KeyspaceId::DEFAULT, &b"k"[..], None));
    }

    #[test]
    fn an_open_interval_ends_with_its_keyspace() {
        let bounds = bounds(KeyspaceId(7), b"", None);
        assert!(bounds.contains(&Key::bound(KeyspaceId(7), &[0xff; 9])));
        assert!(!bounds.contains(&Key::bound(KeyspaceId(8), b"")));
        assert!(!bounds.contains(&Key::bound(KeyspaceId(6), &[0xff; 9])));
    }

    #[test]
    fn compare_and_set_becomes_one_condition_and_one_mutation() {
        let key = Bytes::from_static(b"k");
        let condition = v1::KeyCondition { key: key.clone(), expected: Some(key_condition::Expected::Version(9)) };
        let mutation = v1::KeyMutation { key, value: None, expires_at_ms: 0 };
        let change =
            v1::CompareAndSetRequest { keyspace: 3, condition: Some(condition), mutation: Some(mutation), write: None };
        let request = RangeRequest::try_from(change.clone()).expect("well-formed").request;
        let key = Key::bound(KeyspaceId(3), b"k");
        let conditions = vec![Condition { key: key.clone(), expected: Expected::Version(Timestamp(9)) }];
        let mutations = vec![Mutation { key, value: None, expires_at: None }];
        assert_eq!(request, Request::Write { conditions, mutations });
        assert!(RangeRequest::try_from(v1::CompareAndSetRequest { condition: None, ..change }).is_err());
    }

    #[test]
    fn answers_carry_user_keys() {
        let expires_at = Some(Timestamp::from_ms(7));
        let value = VersionedValue { value: Bytes::from_static(b"v"), timestamp: Timestamp(5), expires_at };
        let row = Row { key: Key::bound(KeyspaceId(3), b"k"), value };
        let resume = Some(Key::bound(KeyspaceId(3), b"m"));
        let (rows, counted, at, within) = (vec![row], 4, Timestamp(6), None);
        let page = v1::ScanResponse::try_from(Response::Scanned { rows, counted, resume, at, within });
        let page = page.expect("fits");
        let row = &page.rows[0];
        assert_eq!((&row.key[..], row.version, row.expires_at_ms), (&b"k"[..], 5, 7));
        assert_eq!((page.resume.as_deref(), page.counted), (Some(&b"m"[..]), 4));
        assert!(v1::GetResponse::try_from(Response::Written { timestamp: Timestamp(1) }).is_err());
    }
}
