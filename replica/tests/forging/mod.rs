//! Messages that no replica made, and disks that no store wrote.

use std::error::Error;

use goldenscript::ArgumentConsumer;
use holdfast_replica::range_state::RangeState;
use holdfast_replica::{RaftEnvelope, Stamp};
use holdfast_types::{
    Generation, Incarnation, LogIndex, RangeDescriptor, ReplicaDescriptor, ReplicaId, Role, StoreId, Term,
};
use prost011::Message as _;
use raft::eraftpb::{ConfState, Entry, Message, MessageType, Snapshot};

use crate::group::{Group, RANGE, site};

type Answer<T> = Result<T, Box<dyn Error>>;

pub fn number(args: &mut ArgumentConsumer<'_>, key: &str) -> Answer<Option<u64>> {
    Ok(args.take_key(key).map(str::parse).transpose()?)
}

fn numbers(args: &mut ArgumentConsumer<'_>, key: &str) -> Answer<Vec<u64>> {
    args.take_key(key).unwrap_or("").split(',').filter(|t| !t.is_empty()).map(|t| Ok(t.parse()?)).collect()
}

fn kind(text: &str) -> Answer<MessageType> {
    Ok(match text {
        "append" => MessageType::MsgAppend,
        "append-response" => MessageType::MsgAppendResponse,
        "heartbeat" => MessageType::MsgHeartbeat,
        "heartbeat-response" => MessageType::MsgHeartbeatResponse,
        "vote" => MessageType::MsgRequestVote,
        "vote-response" => MessageType::MsgRequestVoteResponse,
        "pre-vote" => MessageType::MsgRequestPreVote,
        "pre-vote-response" => MessageType::MsgRequestPreVoteResponse,
        "timeout-now" => MessageType::MsgTimeoutNow,
        "transfer" => MessageType::MsgTransferLeader,
        "propose" => MessageType::MsgPropose,
        "read-index" => MessageType::MsgReadIndex,
        "read-index-response" => MessageType::MsgReadIndexResp,
        "snapshot" => MessageType::MsgSnapshot,
        "snapshot-status" => MessageType::MsgSnapStatus,
        "unreachable" => MessageType::MsgUnreachable,
        "beat" => MessageType::MsgBeat,
        "check-quorum" => MessageType::MsgCheckQuorum,
        "hup" => MessageType::MsgHup,
        other => return Err(format!("no message {other}").into()),
    })
}

/// `forge TO KIND store=FROM ...`: the store that it goes to, the one that it comes from, and the message.
pub fn message(group: &Group, to_store: StoreId, args: &mut ArgumentConsumer<'_>) -> Answer<(StoreId, RaftEnvelope)> {
    let kind = kind(args.next_pos().ok_or("what?")?)?;
    let from_store = StoreId(number(args, "store")?.ok_or("from which store?")?);
    let from = number(args, "from")?.unwrap_or(from_store.0);
    let to = number(args, "to")?.unwrap_or(to_store.0);
    let mut message = Message { from, to, ..Message::default() };
    message.set_msg_type(kind);
    message.term = number(args, "term")?.unwrap_or(0);
    message.index = number(args, "index")?.unwrap_or(0);
    message.log_term = number(args, "log-term")?.unwrap_or(0);
    message.commit = number(args, "commit")?.unwrap_or(0);
    message.reject = number(args, "reject")?.is_some();
    message.reject_hint = number(args, "hint")?.unwrap_or(0);
    message.request_snapshot = number(args, "request-snapshot")?.unwrap_or(0);
    if args.take_key("context") == Some("transfer") {
        message.context = b"CampaignTransfer".to_vec();
    }
    if let Some(raw) = number(args, "raw-type")? {
        message.msg_type = i32::try_from(raw)?;
    }
    let term = number(args, "entry-term")?.unwrap_or(message.term);
    let entry_type = i32::try_from(number(args, "entry-type")?.unwrap_or(0))?;
    for index in numbers(args, "entry")? {
        message.entries.push(Entry { index, term, entry_type, ..Entry::default() });
    }
    if let Some(index) = number(args, "snapshot")? {
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = index;
        snapshot.mut_metadata().term = message.term;
        let voters = numbers(args, "voters")?;
        snapshot.mut_metadata().conf_state = Some(ConfState { voters, ..ConfState::default() });
        message.snapshot = Some(snapshot);
    }
    let stamp = number(args, "generation")?.map(|g| Stamp { incarnation: Incarnation(1), generation: Generation(g) });
    let descriptor = args.take_key("descriptor").map(|age| descriptor(group, to_store, from_store, from, age));
    let garbage = args.take_key("garbage").is_some();
    let bytes = if garbage { vec![0xff, 0xff, 0xff] } else { message.encode_to_vec() };
    let envelope = RaftEnvelope {
        range: number(args, "range")?.map_or(RANGE, holdfast_types::RangeId),
        from: ReplicaId(from),
        to: ReplicaId(to),
        descriptor,
        stamp,
        message: bytes.into(),
    };
    Ok((from_store, envelope))
}

/// The receiver's own descriptor, with the sender as one more voter; `newer` by one change, or of the `same` epoch.
fn descriptor(group: &Group, at: StoreId, from_store: StoreId, from: u64, age: &str) -> RangeDescriptor {
    let mut descriptor = group.stores[&at].replicas[&RANGE].descriptor().clone();
    let replica = ReplicaId(from);
    descriptor.replicas.push(ReplicaDescriptor {
        replica,
        store: from_store,
        site: site(from_store),
        role: Role::Voter,
    });
    descriptor.next_replica = descriptor.next_replica.max(replica.next());
    descriptor.epoch.membership += u64::from(age == "newer");
    descriptor
}

/// `damage STORE ...`: changes what a dead store has on disk.
pub fn damage(group: &mut Group, at: StoreId, args: &mut ArgumentConsumer<'_>) -> Answer<()> {
    let store = group.stores.get_mut(&at).ok_or("no such store")?;
    let log = store.log.ranges.get_mut(&RANGE).ok_or("no log")?;
    if let Some(commit) = number(args, "commit")? {
        log.hard_state.commit = LogIndex(commit);
    }
    if let Some(term) = number(args, "term")? {
        log.hard_state.term = Term(term);
    }
    if let Some(index) = number(args, "lose")? {
        log.entries.remove(&LogIndex(index));
    }
    if let Some(first) = number(args, "lose-from")? {
        log.entries.split_off(&LogIndex(first));
    }
    if let Some(index) = number(args, "start")? {
        log.start.index = LogIndex(index);
        log.entries = log.entries.split_off(&LogIndex(index + 1));
    }
    if let Some(index) = number(args, "garble")? {
        log.entries.get_mut(&LogIndex(index)).ok_or("no such entry")?.data = bytes::Bytes::from_static(&[0xff; 7]);
    }
    let mut state = RangeState::decode(store.data.states[&RANGE].clone())?;
    if let Some(applied) = number(args, "applied")? {
        state.applied = LogIndex(applied);
    }
    if let Some(other) = number(args, "moved-to")? {
        let me = state.descriptor.replicas.iter_mut().find(|r| r.store == at).ok_or("not a member")?;
        me.store = StoreId(other);
    }
    if args.take_key("forget").is_some() {
        state.descriptor.replicas.retain(|r| r.store != at);
    }
    store.data.states.insert(RANGE, state.encode());
    Ok(())
}
