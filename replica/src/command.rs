//! What the range's raft log says: evaluated writes, splits, garbage collection, changes of the replicas. Encoded once, by the
//! leader; a follower applies it and decides nothing.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_proto::convert::common::{key, required};
use holdfast_proto::convert::storage::{client_from_halves, client_halves, expect_version, slot, stamp};
use holdfast_proto::convert::{BadMessage, check_count};
use holdfast_proto::v1::{self, stored_command, stored_outcome};
use holdfast_types::{
    ClientId, Key, KeyRange, Mutation, RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor, ReplicaId, Response,
    Sequence, Slot, Timestamp, VersionedValue, limits,
};
use prost::Message;

const COMMAND_VERSION: u32 = 1;
const MEMBERSHIP_VERSION: u32 = 1;

/// An ordinary entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The epoch of the bounds under which it was evaluated: with another one it is dropped at apply.
    pub bounds_epoch: u64,
    /// What to do.
    pub body: CommandBody,
}

/// What an ordinary entry does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandBody {
    /// Writes of clients, in the order of their timestamps.
    Writes(Vec<EvaluatedWrite>),
    /// Cuts the range in two.
    Split(Split),
    /// Raises the threshold of garbage collection; a lower one than in force changes nothing.
    RaiseGcThreshold(Timestamp),
    /// Removes garbage.
    CollectGarbage {
        /// The timestamp of the removal: completion records go only when it lies far enough past their last moment.
        timestamp: Timestamp,
        /// What to remove.
        garbage: Garbage,
    },
    /// Says that the range's time has come so far: a value that ends at or before it has ended, whoever leads. A read that finds
    /// one proposes it before it says so.
    PassTime(Timestamp),
}

/// One request of a client, evaluated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvaluatedWrite {
    /// The version of every key written.
    pub timestamp: Timestamp,
    /// What to write; empty when nothing is written but the outcome recorded.
    pub mutations: Vec<Mutation>,
    /// What the client is answered.
    pub outcome: WriteOutcome,
    /// Present for a request that is applied exactly once.
    pub completion: Option<Completion>,
}

/// What a write came to, without its timestamp.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteOutcome {
    /// It happened.
    Written,
    /// A condition did not hold.
    ConditionFailed {
        /// Which, from 0.
        index: u32,
        /// What the key looked like.
        actual: Option<VersionedValue>,
    },
    /// A page was deleted.
    RangeDeleted {
        /// Keys that existed.
        deleted: u32,
        /// Where to go on.
        resume: Option<Key>,
    },
}

impl WriteOutcome {
    /// The answer to the client.
    #[must_use]
    pub fn response(&self, timestamp: Timestamp) -> Response {
        match self {
            Self::Written => Response::Written { timestamp },
            Self::ConditionFailed { index, actual } => {
                Response::ConditionFailed { index: *index, actual: actual.clone() }
            }
            Self::RangeDeleted { deleted, resume } => {
                Response::RangeDeleted { deleted: *deleted, resume: resume.clone(), timestamp }
            }
        }
    }
}

/// The slot that a write completes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The client.
    pub client: ClientId,
    /// Its slot.
    pub slot: Slot,
    /// The request within the slot.
    pub sequence: Sequence,
    /// The last moment of the attempt that was evaluated.
    pub last_moment: Timestamp,
    /// Hash of the request ([`crate::slots::request_hash`]).
    pub request_hash: u64,
}

/// Cuts a range in two. Both sides follow from it and the descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// The first key of the right side; strictly inside the bounds.
    pub at: Key,
    /// The id of the right side.
    pub right: RangeId,
    /// The replica that leads the right side first: the one on the store that leads the left.
    pub right_leader: ReplicaId,
}

impl Split {
    /// Both sides of `descriptor` after the split; `None` when `at` is not strictly inside its bounds. The right side has the
    /// same replicas under the same ids.
    #[must_use]
    pub fn sides(&self, descriptor: &RangeDescriptor) -> Option<(RangeDescriptor, RangeDescriptor)> {
        if !descriptor.bounds.contains(&self.at) || self.at == descriptor.bounds.start {
            return None;
        }
        let mut left = descriptor.clone();
        left.epoch.bounds = left.epoch.bounds.saturating_add(1);
        let mut right = left.clone();
        right.range = self.right;
        right.bounds.start = self.at.clone();
        left.bounds.end = Some(self.at.clone());
        Some((left, right))
    }
}

/// What a store found to be removable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Garbage {
    /// Versions, by key.
    pub keys: Vec<GarbageKey>,
    /// Completion records.
    pub records: Vec<GarbageRecord>,
}

impl Garbage {
    /// Roughly its size as an entry.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let keys = self.keys.iter().map(GarbageKey::size_bytes).fold(0, usize::saturating_add);
        keys.saturating_add(self.records.len().saturating_mul(40))
    }
}

/// Versions of one key that may go: a tombstone or expired newest version older than the threshold *and everything below
/// it*, or else the removal would bring an older version back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GarbageKey {
    /// The key.
    pub key: Key,
    /// The versions, newest first.
    pub timestamps: Vec<Timestamp>,
}

impl GarbageKey {
    /// Roughly its size within an entry.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let timestamps = self.timestamps.len().saturating_mul(9);
        self.key.raw().len().saturating_add(8).saturating_add(timestamps)
    }
}

/// A completion record that may go, if it is still this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GarbageRecord {
    /// The client.
    pub client: ClientId,
    /// Its slot.
    pub slot: Slot,
    /// The sequence that was found in it.
    pub sequence: Sequence,
}

/// The context of a raft entry that changes the configuration: the replicas as they are afterwards. Bounds are not part of
/// it, so that it commutes with a split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembershipCommand {
    /// The replicas afterwards.
    pub replicas: Vec<ReplicaDescriptor>,
    /// The id of the next new replica, afterwards.
    pub next_replica: ReplicaId,
}

impl MembershipCommand {
    /// The command that gives a range the replicas of `after`.
    #[must_use]
    pub fn to(after: &RangeDescriptor) -> Self {
        Self { replicas: after.replicas.clone(), next_replica: after.next_replica }
    }

    /// Changes a descriptor; every change counts one in the membership epoch.
    pub fn change(self, descriptor: &mut RangeDescriptor) {
        descriptor.replicas = self.replicas;
        descriptor.next_replica = self.next_replica;
        descriptor.epoch.membership = descriptor.epoch.membership.saturating_add(1);
    }

    /// True when its numbers are ones that a socket may say: of what comes in an entry.
    #[must_use]
    pub fn is_told(&self) -> bool {
        ReplicaId::told(self.next_replica.0).is_ok()
    }

    /// The bytes of the entry's context.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let stored = v1::StoredMembership {
            version: MEMBERSHIP_VERSION,
            replicas: self.replicas.iter().cloned().map(Into::into).collect(),
            next_replica_id: self.next_replica.0,
        };
        stored.encode_to_vec().into()
    }

    /// Reads what [`MembershipCommand::encode`] wrote. Refuses replicas that no range can have.
    pub fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        let stored = v1::StoredMembership::decode(bytes)?;
        expect_version("membership command", stored.version, MEMBERSHIP_VERSION)?;
        check_count("replicas of a range", stored.replicas.len(), limits::MAX_REPLICAS)?;
        let replicas = stored.replicas.into_iter().map(ReplicaDescriptor::try_from).collect::<Result<_, _>>()?;
        let command = Self { replicas, next_replica: ReplicaId::bounded(stored.next_replica_id)? };
        let of_any_range = RangeDescriptor {
            range: RangeId::default(),
            bounds: KeyRange::all(),
            epoch: RangeEpoch::default(),
            replicas: command.replicas.clone(),
            next_replica: command.next_replica,
        };
        of_any_range.check().map_err(BadMessage::malformed)?;
        Ok(command)
    }
}

impl Command {
    /// The bytes of the entry. Values are copied once, into it.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let body = match self.body {
            CommandBody::Writes(writes) => {
                let writes = writes.into_iter().map(v1::StoredWrite::from).collect();
                stored_command::Body::Writes(v1::StoredWrites { writes })
            }
            CommandBody::Split(split) => stored_command::Body::Split(v1::StoredSplit {
                at: split.at.into(),
                right_range_id: split.right.0,
                right_leader: split.right_leader.0,
            }),
            CommandBody::RaiseGcThreshold(threshold) => stored_command::Body::GcThreshold(threshold.0),
            CommandBody::CollectGarbage { timestamp, garbage } => {
                stored_command::Body::Garbage(encode_garbage(timestamp, garbage))
            }
            CommandBody::PassTime(timestamp) => stored_command::Body::TimePassed(timestamp.0),
        };
        let stored = v1::StoredCommand { version: COMMAND_VERSION, bounds_epoch: self.bounds_epoch, body: Some(body) };
        stored.encode_to_vec().into()
    }

    /// Reads what [`Command::encode`] wrote; values share memory with `bytes`. Anything else, other versions included, is
    /// refused.
    pub fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        let stored = v1::StoredCommand::decode(bytes)?;
        expect_version("command", stored.version, COMMAND_VERSION)?;
        let body = match required(stored.body, "the body of a command")? {
            stored_command::Body::Writes(stored) => {
                CommandBody::Writes(stored.writes.into_iter().map(EvaluatedWrite::try_from).collect::<Result<_, _>>()?)
            }
            stored_command::Body::Split(split) => CommandBody::Split(Split {
                at: key(split.at)?,
                right: RangeId::bounded(split.right_range_id)?,
                right_leader: ReplicaId::bounded(split.right_leader)?,
            }),
            stored_command::Body::GcThreshold(threshold) => CommandBody::RaiseGcThreshold(stamp(threshold)?),
            stored_command::Body::Garbage(stored) => decode_garbage(stored)?,
            stored_command::Body::TimePassed(timestamp) => CommandBody::PassTime(stamp(timestamp)?),
        };
        let RangeEpoch { bounds: bounds_epoch, .. } = RangeEpoch::bounded(0, stored.bounds_epoch)?;
        Ok(Self { bounds_epoch, body })
    }
}

impl From<EvaluatedWrite> for v1::StoredWrite {
    fn from(write: EvaluatedWrite) -> Self {
        Self {
            timestamp: write.timestamp.0,
            mutations: write.mutations.into_iter().map(Into::into).collect(),
            outcome: encode_outcome(&write.outcome),
            completion: write.completion.map(Into::into),
        }
    }
}

impl TryFrom<v1::StoredWrite> for EvaluatedWrite {
    type Error = BadMessage;

    fn try_from(stored: v1::StoredWrite) -> Result<Self, BadMessage> {
        Ok(Self {
            timestamp: stamp(stored.timestamp)?,
            mutations: stored.mutations.into_iter().map(Mutation::try_from).collect::<Result<_, _>>()?,
            outcome: decode_outcome(stored.outcome)?,
            completion: stored.completion.map(Completion::try_from).transpose()?,
        })
    }
}

impl From<Completion> for v1::StoredCompletion {
    fn from(completion: Completion) -> Self {
        let (client_high, client_low) = client_halves(completion.client);
        Self {
            client_high,
            client_low,
            slot: completion.slot.0.into(),
            sequence: completion.sequence.0,
            last_moment: completion.last_moment.0,
            request_hash: completion.request_hash,
        }
    }
}

impl TryFrom<v1::StoredCompletion> for Completion {
    type Error = BadMessage;

    fn try_from(stored: v1::StoredCompletion) -> Result<Self, BadMessage> {
        Ok(Self {
            client: client_from_halves(stored.client_high, stored.client_low),
            slot: slot(stored.slot)?,
            sequence: Sequence::bounded(stored.sequence)?,
            last_moment: Timestamp::compared(stored.last_moment),
            request_hash: stored.request_hash,
        })
    }
}

/// An outcome as stored: nothing stands for "written", by far the most frequent.
pub(crate) fn encode_outcome(outcome: &WriteOutcome) -> Option<v1::StoredOutcome> {
    let outcome = match outcome {
        WriteOutcome::Written => return None,
        WriteOutcome::ConditionFailed { index, actual } => {
            let (value, timestamp) = actual.as_ref().map(|a| (a.value.clone(), a.timestamp.0)).unwrap_or_default();
            stored_outcome::Outcome::ConditionFailed(v1::StoredConditionFailed {
                index: *index,
                existed: actual.is_some(),
                value,
                timestamp,
                expires_at: actual.as_ref().and_then(|a| a.expires_at).map_or(0, |at| at.0),
            })
        }
        WriteOutcome::RangeDeleted { deleted, resume } => {
            let resume = resume.clone().map(Into::into);
            stored_outcome::Outcome::RangeDeleted(v1::StoredRangeDeleted { deleted: *deleted, resume })
        }
    };
    Some(v1::StoredOutcome { outcome: Some(outcome) })
}

/// Reads what [`encode_outcome`] gave.
pub(crate) fn decode_outcome(stored: Option<v1::StoredOutcome>) -> Result<WriteOutcome, BadMessage> {
    let Some(stored) = stored else {
        return Ok(WriteOutcome::Written);
    };
    Ok(match required(stored.outcome, "a stored outcome")? {
        stored_outcome::Outcome::ConditionFailed(failed) => {
            let expires_at = (failed.expires_at != 0).then_some(Timestamp::compared(failed.expires_at));
            let value =
                VersionedValue { value: failed.value, timestamp: Timestamp::compared(failed.timestamp), expires_at };
            WriteOutcome::ConditionFailed { index: failed.index, actual: failed.existed.then_some(value) }
        }
        stored_outcome::Outcome::RangeDeleted(deleted) => {
            WriteOutcome::RangeDeleted { deleted: deleted.deleted, resume: deleted.resume.map(key).transpose()? }
        }
    })
}

fn encode_garbage(timestamp: Timestamp, garbage: Garbage) -> v1::StoredGarbage {
    let keys = garbage.keys.into_iter().map(|found| v1::StoredGarbageKey {
        key: found.key.into(),
        timestamps: found.timestamps.into_iter().map(|t| t.0).collect(),
    });
    let records = garbage.records.into_iter().map(|record| {
        let (client_high, client_low) = client_halves(record.client);
        let (slot, sequence) = (record.slot.0.into(), record.sequence.0);
        v1::StoredGarbageRecord { client_high, client_low, slot, sequence }
    });
    v1::StoredGarbage { timestamp: timestamp.0, keys: keys.collect(), records: records.collect() }
}

fn decode_garbage(stored: v1::StoredGarbage) -> Result<CommandBody, BadMessage> {
    let keys = stored.keys.into_iter().map(|found| {
        let timestamps = found.timestamps.into_iter().map(stamp).collect::<Result<_, BadMessage>>()?;
        Ok(GarbageKey { key: key(found.key)?, timestamps })
    });
    let records = stored.records.into_iter().map(|record| {
        Ok(GarbageRecord {
            client: client_from_halves(record.client_high, record.client_low),
            slot: slot(record.slot)?,
            sequence: Sequence::bounded(record.sequence)?,
        })
    });
    let garbage = Garbage {
        keys: keys.collect::<Result<_, BadMessage>>()?,
        records: records.collect::<Result<_, BadMessage>>()?,
    };
    Ok(CommandBody::CollectGarbage { timestamp: stamp(stored.timestamp)?, garbage })
}
