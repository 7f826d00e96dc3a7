//! Between raft's raw integers and messages and our newtypes: the only place. raft's messages are encoded with its own prost.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_proto::fields;
use holdfast_types::storage::{HardState, LogEntry};
use holdfast_types::{LogIndex, RangeDescriptor, ReplicaId, Role, Term, limits};
use prost011::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, HardState as RawHardState,
    Message, MessageType,
};

use crate::effect::Cause;

/// Bytes that an entry costs in memory beyond its payload.
const ENTRY_OVERHEAD_BYTES: usize = 64;

pub(crate) fn encode_message(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

/// Nothing when the bytes are not a message, or one with more entries than any replica sends: an empty one takes two bytes here and a hundred
/// in memory.
pub(crate) fn decode_message(encoded: &[u8]) -> Option<Message> {
    fields::are_few(encoded, limits::MAX_REQUEST_FIELDS).then(|| Message::decode(encoded).ok())?
}

pub(crate) fn to_log_entry(entry: &Entry) -> LogEntry {
    LogEntry { index: LogIndex(entry.index), term: Term(entry.term), data: entry.encode_to_vec().into() }
}

/// Nothing when the bytes are not an entry, or one for another position than the log says.
pub(crate) fn from_log_entry(entry: &LogEntry) -> Option<Entry> {
    let decoded = Entry::decode(entry.data.as_ref()).ok()?;
    (decoded.index == entry.index.0 && decoded.term == entry.term.0).then_some(decoded)
}

pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len().saturating_add(entry.context.len()).saturating_add(ENTRY_OVERHEAD_BYTES)
}

pub(crate) fn to_hard_state(raw: &RawHardState) -> HardState {
    HardState { term: Term(raw.term), vote: ReplicaId(raw.vote), commit: LogIndex(raw.commit) }
}

pub(crate) fn from_hard_state(state: &HardState) -> RawHardState {
    RawHardState { term: state.term.0, vote: state.vote.0, commit: state.commit.0 }
}

/// The configuration that a descriptor says, in raft's words. `auto_leave` is never set: we leave joint configurations ourselves.
pub(crate) fn conf_state(descriptor: &RangeDescriptor) -> ConfState {
    let ids = |wanted: &[Role]| -> Vec<u64> {
        descriptor.replicas.iter().filter(|r| wanted.contains(&r.role)).map(|r| r.replica.0).collect()
    };
    let joint = descriptor.is_joint();
    ConfState {
        voters: ids(&[Role::Voter, Role::IncomingVoter]),
        learners: ids(&[Role::Learner]),
        voters_outgoing: if joint { ids(&[Role::Voter, Role::OutgoingVoter]) } else { Vec::new() },
        learners_next: ids(&[Role::OutgoingVoter]),
        auto_leave: false,
    }
}

/// True when both say the same configuration, whatever the order.
pub(crate) fn same_configuration(left: &ConfState, right: &ConfState) -> bool {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    sorted(&left.voters) == sorted(&right.voters)
        && sorted(&left.learners) == sorted(&right.learners)
        && sorted(&left.voters_outgoing) == sorted(&right.voters_outgoing)
        && sorted(&left.learners_next) == sorted(&right.learners_next)
        && left.auto_leave == right.auto_leave
}

/// What raft must be told to get from one configuration to the next; nothing when no such step exists.
pub(crate) fn conf_change(before: &RangeDescriptor, after: &RangeDescriptor) -> Option<ConfChangeV2> {
    if before.is_joint() {
        return (!after.is_joint()).then(ConfChangeV2::default);
    }
    let single =
        |kind: ConfChangeType, replica: ReplicaId| ConfChangeSingle { change_type: kind.into(), node_id: replica.0 };
    let mut changes = Vec::new();
    for new in &after.replicas {
        match (before.replica(new.replica).map(|old| old.role), new.role) {
            (None, Role::Learner) => changes.push(single(ConfChangeType::AddLearnerNode, new.replica)),
            (Some(Role::Learner), Role::IncomingVoter) => changes.push(single(ConfChangeType::AddNode, new.replica)),
            (Some(Role::Voter), Role::OutgoingVoter) => {
                changes.push(single(ConfChangeType::AddLearnerNode, new.replica))
            }
            (Some(old), role) if old == role => {}
            _ => return None,
        }
    }
    for old in before.replicas.iter().filter(|old| after.replica(old.replica).is_none()) {
        if old.role != Role::Learner {
            return None;
        }
        changes.push(single(ConfChangeType::RemoveNode, old.replica));
    }
    if changes.is_empty() || (!after.is_joint() && changes.len() != 1) {
        return None;
    }
    let transition = if after.is_joint() { ConfChangeTransition::Explicit } else { ConfChangeTransition::Auto };
    Some(ConfChangeV2 { transition: transition.into(), changes, context: Vec::new() })
}

pub(crate) fn decode_conf_change(encoded: &[u8]) -> Option<ConfChangeV2> {
    ConfChangeV2::decode(encoded).ok()
}

/// The type of a message; unlike raft's own getter it does not panic on an unknown one.
pub(crate) fn message_type(message: &Message) -> Option<MessageType> {
    MessageType::from_i32(message.msg_type)
}

pub(crate) fn cause(kind: MessageType) -> Cause {
    match kind {
        MessageType::MsgAppend | MessageType::MsgAppendResponse | MessageType::MsgSnapshot => Cause::Append,
        MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse => Cause::Heartbeat,
        _ => Cause::Election,
    }
}
