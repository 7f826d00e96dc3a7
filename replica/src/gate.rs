//! The gate before raft-rs: which messages a replica steps, and from whom.
//!
//! raft-rs believes. It takes the sender for whoever the message names, acknowledgements from replicas that sent none,
//! votes from learners, and it panics on some messages that are well formed as bytes. One forged or misdirected
//! acknowledgement commits an entry that nobody has, so who sends is a matter of safety. Each message passes four
//! checks, in this order:
//!
//! - **Who.** The sending store comes from the connection's handshake. Sender and receiver must be named, with these
//!   stores, by this replica's descriptor or by a *newer* one that the envelope carries and that names its sender
//!   (docs/replication.md#sender-is-the-connection).
//! - **Which way.** Under a newer descriptor requests pass and answers do not
//!   (docs/replication.md#newer-descriptor-lets-requests-in). A voter that missed the change which made its leader a
//!   voter must hear that leader. But an acknowledgement or a vote counts towards a quorum, and a quorum is one of this
//!   replica's own configuration.
//! - **What.** The type is on a short list. Entries are contiguous, terms do not fall, terms and indexes are plausible,
//!   every entry is of a kind that apply can read (docs/replication.md#well-formed-before-raft). A word to campaign
//!   counts only from the leader that is followed, in its own term.
//! - **What it says of us.** A heartbeat of the followed leader whose commit index lies beyond our log says that we
//!   acknowledged what we no longer have. Then this replica is damaged (docs/replication.md#lost-log-is-noticed). Of
//!   any other sender that part is left out.
//!
//! A newer descriptor that does not name this replica means that it was removed: it destroys itself. Ids are never used
//! again, so this cannot be a mistake about a newcomer.
//!
//! Why it is right to let a newer descriptor speak for itself. It comes over a connection of a store that the fleet has
//! on record, and it must name that store as its sender's. A store of the fleet that lies about descriptors can remove
//! replicas; Holdfast does not defend itself against that, and says so in docs/replication.md#what-this-does-not-cover.
//!
//! What it does not do. It does not look into commands; bounds were checked where bytes were decoded
//! (docs/replication.md#bounded-where-decoded). It does not know whether a store is a member; the worker does, before.
//! It does not order or drop for load.
//!
//! Where it is from. Descriptors with epochs, checked on every message, are TiKV's way to keep old members out.
//! Checking before the library rather than inside is ours: raft-rs stays as it is released.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::{RangeDescriptor, ReplicaId, Role, StoreId, limits};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use crate::command::MembershipCommand;
use crate::convert;
use crate::input::RaftEnvelope;
use crate::replica::Replica;

/// No term grows by more than this between two messages: a jump is a defect, and the last term must never be reached.
const MAX_TERM_JUMP: u64 = 1 << 32;
/// No index lies further ahead than this.
const MAX_INDEX_JUMP: u64 = 1 << 40;

/// What the gate says of a message.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Step it.
    Pass(MessageType, Box<Message>),
    /// Drop it; the text says why.
    Refuse(&'static str),
    /// A newer descriptor, sent by a replica that it names, does not name this one any more.
    Removed,
    /// The leader knows that we acknowledged what our log does not have.
    Damaged(String),
}

impl Replica {
    /// Judges a message. `from_store` comes from the connection, never from the message.
    pub(crate) fn judge(&self, from_store: StoreId, envelope: &RaftEnvelope) -> Verdict {
        let newer = envelope.descriptor.as_ref().filter(|d| self.is_news(d, from_store, envelope.from));
        // Also when it is meant for a later replica on this store: this one must make room.
        if newer.is_some_and(|d| d.replica(self.id).is_none()) {
            return Verdict::Removed;
        }
        if envelope.range != self.descriptor.range || envelope.to != self.id {
            return Verdict::Refuse("not for this replica");
        }
        let Some(message) = convert::decode_message(&envelope.message) else {
            return Verdict::Refuse("not a raft message");
        };
        let Some(kind) = convert::message_type(&message) else {
            return Verdict::Refuse("unknown type");
        };
        if message.from != envelope.from.0 || message.to != envelope.to.0 || message.from == self.id.0 {
            return Verdict::Refuse("envelope and message disagree");
        }
        let known = names(&self.descriptor, from_store, envelope.from);
        let sender = newer.unwrap_or(&self.descriptor);
        match kind {
            _ if is_response(kind) => {
                if !known {
                    return Verdict::Refuse("a response of a stranger");
                }
            }
            _ if is_request(kind) => {
                if !known && newer.is_none() {
                    return Verdict::Refuse("a stranger");
                }
                let role = sender.replica(envelope.from).map(|r| r.role);
                if role == Some(Role::Learner) || role.is_none() {
                    return Verdict::Refuse("a learner leads nothing and stands for nothing");
                }
            }
            _ => return Verdict::Refuse("type not allowed"),
        }
        match self.shape(kind, &message) {
            Err(why) => Verdict::Refuse(why),
            Ok(()) if self.lost_log(kind, &message) => self.judge_lost_log(kind, message),
            Ok(()) => Verdict::Pass(kind, Box::new(message)),
        }
    }

    /// A descriptor of this range that is newer than ours and names its sender.
    fn is_news(&self, descriptor: &RangeDescriptor, from_store: StoreId, from: ReplicaId) -> bool {
        descriptor.range == self.descriptor.range
            && descriptor.epoch.membership > self.descriptor.epoch.membership
            && descriptor.next_replica > self.id
            && descriptor.check().is_ok()
            && names(descriptor, from_store, from)
    }

    /// Everything that raft takes for granted.
    fn shape(&self, kind: MessageType, message: &Message) -> Result<(), &'static str> {
        let log = &self.raw.raft.raft_log;
        let furthest = self.raw.raft.term.saturating_add(MAX_TERM_JUMP).min(limits::MAX_TOLD);
        if message.term == 0 || message.term > furthest {
            return Err("implausible term");
        }
        let far = log.last_index().saturating_add(MAX_INDEX_JUMP).min(limits::MAX_TOLD);
        let last = message.entries.last().map_or(0, |entry| entry.index);
        if message.index.max(message.commit).max(last) > far || message.log_term > message.term {
            return Err("implausible position");
        }
        if kind != MessageType::MsgAppend && !message.entries.is_empty() {
            return Err("entries where none belong");
        }
        if message.request_snapshot != 0 || (message.snapshot.is_some() && kind != MessageType::MsgSnapshot) {
            return Err("a snapshot where none belongs");
        }
        match kind {
            MessageType::MsgAppend => entries_follow(message),
            MessageType::MsgAppendResponse if message.term == self.raw.raft.term => {
                let beyond = message.index > log.last_index() || message.reject_hint > log.last_index();
                if beyond { Err("acknowledges what was never sent") } else { Ok(()) }
            }
            MessageType::MsgTimeoutNow => {
                let followed =
                    self.following.follows.is_some_and(|f| f.leader.0 == message.from && f.term.0 == message.term);
                let own_term = message.term == self.raw.raft.term;
                if followed && own_term { Ok(()) } else { Err("not the leader that is followed") }
            }
            MessageType::MsgSnapshot => {
                let position = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref());
                position
                    .filter(|p| p.index > 0 && p.index <= far && p.term <= message.term)
                    .map(|_| ())
                    .ok_or("a snapshot without position")
            }
            _ => Ok(()),
        }
    }

    /// By one word of a leader a replica is given up; so it must be the one that is followed, in its term. Of one that is not followed (yet:
    /// a replica that has just started follows nobody) the heartbeat counts, and nothing that it says of our log. A true leader is followed
    /// by it, and says it again.
    fn judge_lost_log(&self, kind: MessageType, mut message: Message) -> Verdict {
        let log = &self.raw.raft.raft_log;
        match self.following.follows {
            Some(follows) if follows.leader.0 == message.from && follows.term.0 == message.term => {
                Verdict::Damaged(format!(
                    "the leader of t{} knows us to have i{}, our log ends at i{}",
                    message.term,
                    message.commit,
                    log.last_index()
                ))
            }
            Some(follows) if follows.term.0 >= message.term => Verdict::Refuse("not the leader that is followed"),
            _ => {
                message.commit = log.committed;
                Verdict::Pass(kind, Box::new(message))
            }
        }
    }

    /// A heartbeat's commit is at most what we acknowledged to its sender. Beyond our log it means that the log was lost.
    fn lost_log(&self, kind: MessageType, message: &Message) -> bool {
        kind == MessageType::MsgHeartbeat
            && message.term >= self.raw.raft.term
            && message.commit > self.raw.raft.raft_log.last_index()
    }
}

fn names(descriptor: &RangeDescriptor, store: StoreId, replica: ReplicaId) -> bool {
    descriptor.replica(replica).is_some_and(|r| r.store == store)
}

fn is_request(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgSnapshot
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
            | MessageType::MsgTimeoutNow
    )
}

pub(crate) fn is_response(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse
    )
}

fn entries_follow(message: &Message) -> Result<(), &'static str> {
    let mut index = message.index;
    let mut term = message.log_term;
    for entry in &message.entries {
        if index.checked_add(1) != Some(entry.index) || entry.term < term || entry.term > message.term {
            return Err("entries do not follow each other");
        }
        if !legal_entry(entry) {
            return Err("unknown type of entry");
        }
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

fn legal_entry(entry: &Entry) -> bool {
    match EntryType::from_i32(entry.entry_type) {
        Some(EntryType::EntryNormal) => true,
        Some(EntryType::EntryConfChangeV2) => {
            let known = |change: raft::eraftpb::ConfChangeV2| {
                raft::eraftpb::ConfChangeTransition::from_i32(change.transition).is_some()
                    && change.changes.iter().all(|c| raft::eraftpb::ConfChangeType::from_i32(c.change_type).is_some())
            };
            let command = MembershipCommand::decode(bytes::Bytes::copy_from_slice(&entry.context));
            command.is_ok_and(|command| command.is_told())
                && convert::decode_conf_change(&entry.data).is_some_and(known)
        }
        _ => false,
    }
}
