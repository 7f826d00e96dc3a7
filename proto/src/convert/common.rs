//! Conversions for `common.proto`: keys, descriptors, requests to one range and their answers.
//!
//! Shapes only: a message that converts may still ask for something illegal, which `holdfast_types::validate` refuses.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{
    ClientId, Condition, Expected, FleetId, Key, KeyRange, LeaderHint, Mutation, RangeDescriptor, RangeEpoch, RangeId,
    RangeRequest, Rejected, ReplicaDescriptor, ReplicaId, Request, RequestId, Response, Role, Row, ScanMode, Sequence,
    SiteName, StoreId, Timestamp, VersionedValue, WriteAttempt, limits,
};

use super::{BadMessage, check_count};
use crate::v1;
use crate::v1::{condition, range_request, range_response, rejection};

type Converted<T> = Result<T, BadMessage>;

/// The content of a field that must be there.
pub fn required<T>(field: Option<T>, what: &'static str) -> Converted<T> {
    field.ok_or_else(|| BadMessage::malformed(format!("{what} is missing")))
}

/// A raw key as sent.
pub fn key(raw: Bytes) -> Converted<Key> {
    Key::from_raw(raw).map_err(|e| BadMessage::malformed(e.to_string()))
}

/// A timestamp in which 0 means "none". It is only compared, so it may be any.
#[must_use]
pub fn optional_timestamp(raw: u64) -> Option<Timestamp> {
    (raw != 0).then_some(Timestamp::compared(raw))
}

/// How long to wait: nobody is kept waiting for longer than a deadline may be.
#[must_use]
pub fn wait(ms: u64) -> Duration {
    Duration::from_millis(ms).min(limits::MAX_DEADLINE)
}

impl From<BadMessage> for Rejected {
    fn from(bad: BadMessage) -> Self {
        Rejected::Invalid(bad.to_string())
    }
}

// ---- ids

impl From<u128> for v1::Id128 {
    fn from(id: u128) -> Self {
        let [high, low] = [id >> 64, id & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(u64::MAX));
        Self { high, low }
    }
}

impl From<v1::Id128> for u128 {
    fn from(id: v1::Id128) -> Self {
        u128::from(id.high) << 64 | u128::from(id.low)
    }
}

impl From<FleetId> for v1::Id128 {
    fn from(id: FleetId) -> Self {
        id.0.into()
    }
}

impl From<v1::Id128> for FleetId {
    fn from(id: v1::Id128) -> Self {
        Self(id.into())
    }
}

impl From<ClientId> for v1::Id128 {
    fn from(id: ClientId) -> Self {
        id.0.into()
    }
}

impl From<v1::Id128> for ClientId {
    fn from(id: v1::Id128) -> Self {
        Self(id.into())
    }
}

impl From<RequestId> for v1::RequestId {
    fn from(id: RequestId) -> Self {
        Self { client: Some(id.client.into()), slot: id.slot.0.into(), sequence: id.sequence.0 }
    }
}

impl TryFrom<v1::RequestId> for RequestId {
    type Error = BadMessage;

    fn try_from(id: v1::RequestId) -> Converted<Self> {
        let client = ClientId::from(required(id.client, "the client of a request id")?);
        if client == ClientId::default() {
            return Err(BadMessage::malformed("the client of a request id is 0: draw 128 random bits"));
        }
        Ok(Self { client, slot: super::storage::slot(id.slot)?, sequence: Sequence::told(id.sequence)? })
    }
}

impl From<WriteAttempt> for v1::WriteAttempt {
    fn from(write: WriteAttempt) -> Self {
        Self { id: Some(write.id.into()), attempt: write.attempt, last_moment: write.last_moment.0 }
    }
}

impl TryFrom<v1::WriteAttempt> for WriteAttempt {
    type Error = BadMessage;

    fn try_from(write: v1::WriteAttempt) -> Converted<Self> {
        let id = required(write.id, "the id of a write attempt")?.try_into()?;
        Ok(Self { id, attempt: write.attempt, last_moment: Timestamp::compared(write.last_moment) })
    }
}

// ---- ranges

impl From<KeyRange> for v1::KeyRange {
    fn from(bounds: KeyRange) -> Self {
        Self { start: bounds.start.into(), end: bounds.end.map(Bytes::from) }
    }
}

impl TryFrom<v1::KeyRange> for KeyRange {
    type Error = BadMessage;

    fn try_from(bounds: v1::KeyRange) -> Converted<Self> {
        Ok(Self { start: key(bounds.start)?, end: bounds.end.map(key).transpose()? })
    }
}

impl From<RangeEpoch> for v1::RangeEpoch {
    fn from(epoch: RangeEpoch) -> Self {
        Self { membership: epoch.membership, bounds: epoch.bounds }
    }
}

impl TryFrom<v1::RangeEpoch> for RangeEpoch {
    type Error = BadMessage;

    fn try_from(epoch: v1::RangeEpoch) -> Converted<Self> {
        Ok(Self::bounded(epoch.membership, epoch.bounds)?)
    }
}

impl From<Role> for v1::ReplicaRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Voter => Self::Voter,
            Role::Learner => Self::Learner,
            Role::IncomingVoter => Self::IncomingVoter,
            Role::OutgoingVoter => Self::OutgoingVoter,
        }
    }
}

impl TryFrom<v1::ReplicaRole> for Role {
    type Error = BadMessage;

    fn try_from(role: v1::ReplicaRole) -> Converted<Self> {
        match role {
            v1::ReplicaRole::Unspecified => Err(BadMessage::malformed("the role of a replica is missing")),
            v1::ReplicaRole::Voter => Ok(Self::Voter),
            v1::ReplicaRole::Learner => Ok(Self::Learner),
            v1::ReplicaRole::IncomingVoter => Ok(Self::IncomingVoter),
            v1::ReplicaRole::OutgoingVoter => Ok(Self::OutgoingVoter),
        }
    }
}

impl From<ReplicaDescriptor> for v1::ReplicaDescriptor {
    fn from(replica: ReplicaDescriptor) -> Self {
        Self {
            replica_id: replica.replica.0,
            store_id: replica.store.0,
            site: replica.site.to_string(),
            role: v1::ReplicaRole::from(replica.role).into(),
        }
    }
}

impl TryFrom<v1::ReplicaDescriptor> for ReplicaDescriptor {
    type Error = BadMessage;

    fn try_from(replica: v1::ReplicaDescriptor) -> Converted<Self> {
        let role = v1::ReplicaRole::try_from(replica.role)
            .map_err(|_| BadMessage::malformed(format!("replica role {} is not known", replica.role)))?;
        Ok(Self {
            replica: ReplicaId::bounded(replica.replica_id)?,
            store: StoreId::bounded(replica.store_id)?,
            site: SiteName::new(&replica.site).map_err(BadMessage::Malformed)?,
            role: role.try_into()?,
        })
    }
}

impl From<RangeDescriptor> for v1::RangeDescriptor {
    fn from(descriptor: RangeDescriptor) -> Self {
        Self {
            range_id: descriptor.range.0,
            bounds: Some(descriptor.bounds.into()),
            epoch: Some(descriptor.epoch.into()),
            replicas: descriptor.replicas.into_iter().map(Into::into).collect(),
            next_replica_id: descriptor.next_replica.0,
        }
    }
}

impl TryFrom<v1::RangeDescriptor> for RangeDescriptor {
    type Error = BadMessage;

    /// Also checks the descriptor's invariants, so that no code behind this line meets a broken one.
    fn try_from(descriptor: v1::RangeDescriptor) -> Converted<Self> {
        // Before they are compared with each other.
        check_count("replicas of a range", descriptor.replicas.len(), limits::MAX_REPLICAS)?;
        let descriptor = Self {
            range: RangeId::bounded(descriptor.range_id)?,
            bounds: required(descriptor.bounds, "the bounds of a range")?.try_into()?,
            epoch: descriptor.epoch.unwrap_or_default().try_into()?,
            replicas: descriptor.replicas.into_iter().map(TryInto::try_into).collect::<Converted<_>>()?,
            next_replica: ReplicaId::bounded(descriptor.next_replica_id)?,
        };
        descriptor.check().map_err(BadMessage::Malformed)?;
        Ok(descriptor)
    }
}

impl From<LeaderHint> for v1::LeaderHint {
    fn from(hint: LeaderHint) -> Self {
        Self { store_id: hint.store.0, address: hint.address.unwrap_or_default() }
    }
}

impl TryFrom<v1::LeaderHint> for LeaderHint {
    type Error = BadMessage;

    fn try_from(hint: v1::LeaderHint) -> Converted<Self> {
        if hint.store_id == StoreId::NONE.0 {
            return Err(BadMessage::malformed("the store of a leader hint is missing"));
        }
        Ok(Self {
            store: StoreId::bounded(hint.store_id)?,
            address: (!hint.address.is_empty()).then_some(hint.address),
        })
    }
}

// ---- requests

impl From<Condition> for v1::Condition {
    fn from(condition: Condition) -> Self {
        let expected = match condition.expected {
            Expected::Absent => condition::Expected::Absent(true),
            Expected::Value(value) => condition::Expected::Value(value),
            Expected::Version(version) => condition::Expected::Version(version.0),
        };
        Self { key: condition.key.into(), expected: Some(expected) }
    }
}

impl TryFrom<condition::Expected> for Expected {
    type Error = BadMessage;

    fn try_from(expected: condition::Expected) -> Converted<Self> {
        match expected {
            condition::Expected::Absent(true) => Ok(Self::Absent),
            condition::Expected::Absent(false) => {
                Err(BadMessage::malformed("`absent` is false: a condition that a key exists is not known"))
            }
            condition::Expected::Value(value) => Ok(Self::Value(value)),
            condition::Expected::Version(version) => Ok(Self::Version(Timestamp::compared(version))),
        }
    }
}

impl TryFrom<v1::Condition> for Condition {
    type Error = BadMessage;

    fn try_from(condition: v1::Condition) -> Converted<Self> {
        let expected = required(condition.expected, "what a condition expects")?.try_into()?;
        Ok(Self { key: key(condition.key)?, expected })
    }
}

impl From<Mutation> for v1::Mutation {
    fn from(mutation: Mutation) -> Self {
        Self { key: mutation.key.into(), value: mutation.value, expires_at: mutation.expires_at.map_or(0, |at| at.0) }
    }
}

impl TryFrom<v1::Mutation> for Mutation {
    type Error = BadMessage;

    fn try_from(mutation: v1::Mutation) -> Converted<Self> {
        let expires_at = optional_timestamp(mutation.expires_at);
        Ok(Self { key: key(mutation.key)?, value: mutation.value, expires_at })
    }
}

impl From<ScanMode> for v1::ScanMode {
    fn from(mode: ScanMode) -> Self {
        match mode {
            ScanMode::Rows => Self::Rows,
            ScanMode::Keys => Self::Keys,
            ScanMode::Count => Self::Count,
        }
    }
}

/// What a scan is to bring. Whole rows where a newer client asks for what is not known here: it can make anything of them.
#[must_use]
pub fn scan_mode(raw: i32) -> ScanMode {
    match v1::ScanMode::try_from(raw) {
        Ok(v1::ScanMode::Keys) => ScanMode::Keys,
        Ok(v1::ScanMode::Count) => ScanMode::Count,
        Ok(v1::ScanMode::Rows) | Err(_) => ScanMode::Rows,
    }
}

impl From<Request> for range_request::Body {
    fn from(request: Request) -> Self {
        match request {
            Request::Get { keys, at } => Self::Get(v1::RangeGet {
                keys: keys.into_iter().map(Bytes::from).collect(),
                at: at.map_or(0, |at| at.0),
            }),
            Request::Scan { bounds, reverse, max_rows, max_bytes, at, mode } => Self::Scan(v1::RangeScan {
                bounds: Some(bounds.into()),
                reverse,
                max_rows,
                max_bytes,
                at: at.map_or(0, |at| at.0),
                mode: v1::ScanMode::from(mode).into(),
            }),
            Request::Write { conditions, mutations } => Self::Change(v1::RangeWrite {
                conditions: conditions.into_iter().map(Into::into).collect(),
                mutations: mutations.into_iter().map(Into::into).collect(),
            }),
            Request::DeleteRange { bounds, max_keys } => {
                Self::DeleteRange(v1::RangeDelete { bounds: Some(bounds.into()), max_keys })
            }
        }
    }
}

impl TryFrom<range_request::Body> for Request {
    type Error = BadMessage;

    fn try_from(body: range_request::Body) -> Converted<Self> {
        Ok(match body {
            range_request::Body::Get(get) => Self::Get {
                keys: get.keys.into_iter().map(key).collect::<Converted<_>>()?,
                at: optional_timestamp(get.at),
            },
            range_request::Body::Scan(scan) => Self::Scan {
                bounds: required(scan.bounds, "the bounds of a scan")?.try_into()?,
                reverse: scan.reverse,
                max_rows: scan.max_rows,
                max_bytes: scan.max_bytes,
                at: optional_timestamp(scan.at),
                mode: scan_mode(scan.mode),
            },
            range_request::Body::Change(write) => Self::Write {
                conditions: write.conditions.into_iter().map(TryInto::try_into).collect::<Converted<_>>()?,
                mutations: write.mutations.into_iter().map(TryInto::try_into).collect::<Converted<_>>()?,
            },
            range_request::Body::DeleteRange(delete) => Self::DeleteRange {
                bounds: required(delete.bounds, "the bounds of a delete range")?.try_into()?,
                max_keys: delete.max_keys,
            },
        })
    }
}

impl From<RangeRequest> for v1::RangeRequest {
    fn from(request: RangeRequest) -> Self {
        Self {
            range_id: request.range.map_or(0, |(range, _)| range.0),
            epoch: request.range.map(|(_, epoch)| epoch.into()),
            write: request.write.map(Into::into),
            body: Some(request.request.into()),
        }
    }
}

impl TryFrom<v1::RangeRequest> for RangeRequest {
    type Error = BadMessage;

    fn try_from(request: v1::RangeRequest) -> Converted<Self> {
        let epoch = request.epoch.unwrap_or_default().try_into()?;
        let range = RangeId::bounded(request.range_id)?;
        Ok(Self {
            range: (request.range_id != 0).then_some((range, epoch)),
            write: request.write.map(TryInto::try_into).transpose()?,
            request: required(request.body, "what is asked")?.try_into()?,
        })
    }
}

// ---- answers

impl From<VersionedValue> for v1::VersionedValue {
    fn from(value: VersionedValue) -> Self {
        let expires_at = value.expires_at.map_or(0, |at| at.0);
        Self { value: value.value, timestamp: value.timestamp.0, expires_at }
    }
}

impl From<v1::VersionedValue> for VersionedValue {
    fn from(value: v1::VersionedValue) -> Self {
        let expires_at = optional_timestamp(value.expires_at);
        Self { value: value.value, timestamp: Timestamp::compared(value.timestamp), expires_at }
    }
}

impl From<Row> for v1::Row {
    fn from(row: Row) -> Self {
        Self { key: row.key.into(), value: Some(row.value.into()) }
    }
}

impl TryFrom<v1::Row> for Row {
    type Error = BadMessage;

    fn try_from(row: v1::Row) -> Converted<Self> {
        Ok(Self { key: key(row.key)?, value: required(row.value, "the value of a row")?.into() })
    }
}

impl From<Response> for range_response::Body {
    fn from(response: Response) -> Self {
        match response {
            Response::Got { values } => Self::Got(v1::GetAnswer {
                values: values.into_iter().map(|value| v1::MaybeValue { value: value.map(Into::into) }).collect(),
            }),
            Response::Scanned { rows, counted, resume, at, within } => Self::Scanned(v1::ScanAnswer {
                rows: rows.into_iter().map(Into::into).collect(),
                resume: resume.map(Bytes::from),
                at: at.0,
                within: within.map(|within| (*within).into()),
                counted,
            }),
            Response::Written { timestamp } => Self::Written(v1::WriteAnswer { timestamp: timestamp.0 }),
            Response::ConditionFailed { index, actual } => {
                Self::ConditionFailed(v1::ConditionFailed { index, actual: actual.map(Into::into) })
            }
            Response::RangeDeleted { deleted, resume, timestamp } => Self::RangeDeleted(v1::DeleteRangeAnswer {
                deleted,
                resume: resume.map(Bytes::from),
                timestamp: timestamp.0,
            }),
        }
    }
}

impl From<Result<Response, Rejected>> for v1::RangeResponse {
    fn from(outcome: Result<Response, Rejected>) -> Self {
        let body = match outcome {
            Ok(response) => response.into(),
            Err(rejected) => range_response::Body::Rejected(rejected.into()),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<v1::RangeResponse> for Result<Response, Rejected> {
    type Error = BadMessage;

    fn try_from(response: v1::RangeResponse) -> Converted<Self> {
        outcome(response)
    }
}

/// What an answer says: done, or a typed refusal.
pub fn outcome(response: v1::RangeResponse) -> Converted<Result<Response, Rejected>> {
    Ok(Ok(match required(response.body, "the body of an answer")? {
        range_response::Body::Got(got) => {
            Response::Got { values: got.values.into_iter().map(|value| value.value.map(Into::into)).collect() }
        }
        range_response::Body::Scanned(scanned) => Response::Scanned {
            rows: scanned.rows.into_iter().map(TryInto::try_into).collect::<Converted<_>>()?,
            counted: scanned.counted,
            resume: scanned.resume.map(key).transpose()?,
            at: Timestamp::told(scanned.at)?,
            within: scanned.within.map(TryInto::try_into).transpose()?.map(Box::new),
        },
        range_response::Body::Written(written) => Response::Written { timestamp: Timestamp::told(written.timestamp)? },
        range_response::Body::ConditionFailed(failed) => {
            Response::ConditionFailed { index: failed.index, actual: failed.actual.map(Into::into) }
        }
        range_response::Body::RangeDeleted(deleted) => Response::RangeDeleted {
            deleted: deleted.deleted,
            resume: deleted.resume.map(key).transpose()?,
            timestamp: Timestamp::told(deleted.timestamp)?,
        },
        range_response::Body::Rejected(rejection) => return Ok(Err(rejection.try_into()?)),
    }))
}

impl From<Rejected> for v1::Rejection {
    fn from(rejected: Rejected) -> Self {
        use rejection::Reason;
        // The reasons with a text of their own carry it as it is, so that it comes back unchanged.
        let message = match &rejected {
            Rejected::Invalid(text)
            | Rejected::Ambiguous(text)
            | Rejected::Forbidden(text)
            | Rejected::Unavailable(text) => text.clone(),
            other => other.to_string(),
        };
        let reason = match rejected {
            Rejected::Invalid(_) => Reason::Invalid(v1::InvalidRequest {}),
            Rejected::NotLeader { range, leader } => {
                Reason::NotLeader(v1::NotLeader { range_id: range.0, leader: leader.map(Into::into) })
            }
            Rejected::WrongRange { known } => {
                Reason::WrongRange(v1::WrongRange { known: known.into_iter().map(Into::into).collect() })
            }
            Rejected::SpansRanges { split_key } => Reason::SpansRanges(v1::SpansRanges { split_key: split_key.into() }),
            Rejected::Busy { retry_after } => {
                Reason::Busy(v1::Busy { retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX) })
            }
            Rejected::StaleSequence => Reason::StaleSequence(v1::StaleSequence {}),
            Rejected::RequestReused => Reason::RequestReused(v1::RequestReused {}),
            Rejected::PastLastMoment { now } => Reason::PastLastMoment(v1::PastLastMoment { now: now.0 }),
            Rejected::BelowGcThreshold { threshold } => {
                Reason::BelowGcThreshold(v1::BelowGcThreshold { threshold: threshold.0 })
            }
            Rejected::Ambiguous(_) => Reason::Ambiguous(v1::Ambiguous {}),
            Rejected::DeadlineExceeded => Reason::DeadlineExceeded(v1::DeadlineExceeded {}),
            Rejected::Forbidden(_) => Reason::Forbidden(v1::Forbidden {}),
            Rejected::Unavailable(_) => Reason::Unavailable(v1::Unavailable {}),
        };
        Self { message, reason: Some(reason) }
    }
}

impl TryFrom<v1::Rejection> for Rejected {
    type Error = BadMessage;

    fn try_from(rejection: v1::Rejection) -> Converted<Self> {
        use rejection::Reason;
        let message = rejection.message;
        Ok(match required(rejection.reason, "the reason of a rejection")? {
            Reason::Invalid(_) => Self::Invalid(message),
            Reason::NotLeader(not) => {
                let leader = not.leader.map(TryInto::try_into).transpose()?;
                Self::NotLeader { range: RangeId::bounded(not.range_id)?, leader }
            }
            Reason::WrongRange(wrong) => {
                Self::WrongRange { known: wrong.known.into_iter().map(TryInto::try_into).collect::<Converted<_>>()? }
            }
            Reason::SpansRanges(spans) => Self::SpansRanges { split_key: key(spans.split_key)? },
            Reason::Busy(busy) => Self::Busy { retry_after: wait(busy.retry_after_ms) },
            Reason::StaleSequence(_) => Self::StaleSequence,
            Reason::RequestReused(_) => Self::RequestReused,
            Reason::PastLastMoment(past) => Self::PastLastMoment { now: Timestamp::told(past.now)? },
            Reason::BelowGcThreshold(below) => {
                Self::BelowGcThreshold { threshold: Timestamp::compared(below.threshold) }
            }
            Reason::Ambiguous(_) => Self::Ambiguous(message),
            Reason::DeadlineExceeded(_) => Self::DeadlineExceeded,
            Reason::Forbidden(_) => Self::Forbidden(message),
            Reason::Unavailable(_) => Self::Unavailable(message),
        })
    }
}

#[cfg(test)]
#[path = "common_tests.rs"]
mod tests;
