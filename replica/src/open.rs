//! How a replica comes to be: opened from disk, created for a snapshot, founded with a new fleet; and the replay at start.

use holdfast_types::limits;
use holdfast_types::storage::{DataOp, HardState, LogEntry, LogOp, LogStart, ReplicaRecord};
use holdfast_types::{Hlc, LogIndex, LogSizes, RangeDescriptor, RangeId, ReplicaId, Term, Timestamp};
use prost011::Message as _;
use raft::eraftpb::Entry;
use raft::{Config, RawNode, ReadOnlyOption};

use crate::apply::{ApplyTask, run};
use crate::applying::{Applying, committed_entry};
use crate::convert;
use crate::election::Election;
use crate::follow::Following;
use crate::input::RaftEnvelope;
use crate::raft_log::LogCache;
use crate::range_state::RangeState;
use crate::reader::{ReadFault, Reader};
use crate::ready::Disk;
use crate::replica::{Incoming, Phase, Replica, ReplicaConfig, Summary};
use crate::split;

/// What the log instance has of one range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedParts {
    /// Hard state.
    pub hard_state: HardState,
    /// The position before the first entry.
    pub start: LogStart,
    /// Runs of equal terms, as (first index, term), ascending.
    pub terms: Vec<(LogIndex, Term)>,
    /// Index of the last entry; `start.index` when there is none.
    pub last: LogIndex,
    /// How many bytes the entries take.
    pub sizes: LogSizes,
}

/// What a replica is opened from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Its id.
    pub replica: ReplicaId,
    /// Its log.
    pub log: LoadedParts,
    /// The state of its range, after replay.
    pub state: RangeState,
    /// Entries from `state.applied + 1` to the last one; earlier ones may come before them.
    pub tail: Vec<LogEntry>,
}

/// A replica that must not be opened. When it was removed from its range, destroy it (tombstone first); else quarantine it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{range} {replica} cannot be opened: {reason}")]
pub struct OpenFault {
    /// The range.
    pub range: RangeId,
    /// The replica.
    pub replica: ReplicaId,
    /// True when the range does not name it any more: the crash came between that and its tombstone.
    pub removed: bool,
    /// What does not fit.
    pub reason: String,
}

/// What one page of replay came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayedPage {
    /// To be written to the data instance as one batch.
    pub ops: Vec<DataOp>,
    /// The state after the page.
    pub state: RangeState,
    /// Right sides of splits in the page: what the log instance must know of each *before* the batch is written, unless it
    /// has a record of that range already.
    pub born: Vec<(RangeId, Vec<LogOp>)>,
}

/// Replays committed entries that the data instance has lost. They go through the same [`run`] as ever; changes of the
/// configuration are in the range state, from which raft's is derived.
pub fn replay_page(
    state: RangeState,
    replica: ReplicaId,
    entries: &[LogEntry],
    reader: &dyn Reader,
) -> Result<ReplayedPage, ReadFault> {
    let mut committed = Vec::with_capacity(entries.len());
    let mut born = Vec::new();
    for entry in entries {
        let raw = convert::from_log_entry(entry)
            .ok_or_else(|| ReadFault::Damaged(format!("entry {} is not readable", entry.index)))?;
        let (entry, split) = committed_entry(&raw)?;
        committed.push(entry);
        born.extend(split.map(|s| (s.right, split::right_log(&s, replica))));
    }
    let (ops, applied) = run(ApplyTask { state, entries: committed }, reader)?;
    Ok(ReplayedPage { ops, state: applied.state, born })
}

/// The first range of a new fleet: what both instances of the founding store must hold for `replica`, its only voter.
#[must_use]
pub fn bootstrap(descriptor: &RangeDescriptor, replica: ReplicaId) -> (Vec<LogOp>, Vec<DataOp>) {
    let range = descriptor.range;
    let start = split::FIRST_START;
    let state = HardState { term: start.term, vote: ReplicaId(0), commit: start.index };
    let log = vec![
        LogOp::SetReplica { range, record: ReplicaRecord::Live { replica } },
        LogOp::SetStart { range, start },
        LogOp::SetHardState { range, state },
    ];
    let state = RangeState {
        descriptor: descriptor.clone(),
        applied: start.index,
        applied_term: start.term,
        gc_threshold: Timestamp::ZERO,
        last_timestamp: Timestamp::ZERO,
    };
    (log, vec![DataOp::SetRangeState { range, state: state.encode() }])
}

/// What the log instance needs when a snapshot was found half installed at start, after the install was repeated.
#[must_use]
pub fn finish_install(state: &RangeState, replica: ReplicaId, hard_state: HardState) -> Vec<LogOp> {
    let range = state.descriptor.range;
    let start = LogStart { index: state.applied, term: state.applied_term };
    let hard_state = HardState { commit: start.index, ..hard_state };
    vec![
        // What the snapshot replaced goes: the log's term at its position differs.
        LogOp::SetStart { range, start },
        LogOp::SetReplica { range, record: ReplicaRecord::Live { replica } },
        LogOp::SetHardState { range, state: hard_state },
    ]
}

/// True when an envelope may create a replica on a store that has none: it carries a descriptor that names both ends.
#[must_use]
pub fn may_create(
    envelope: &RaftEnvelope,
    from_store: holdfast_types::StoreId,
    store: holdfast_types::StoreId,
) -> bool {
    let Some(descriptor) = &envelope.descriptor else { return false };
    let names = |replica, on| descriptor.replica(replica).is_some_and(|r| r.store == on);
    descriptor.range == envelope.range
        && descriptor.check().is_ok()
        && names(envelope.from, from_store)
        && names(envelope.to, store)
}

/// The entries' common encoding, for tools that print logs: index, term and size of the payload.
#[must_use]
pub fn describe_entry(entry: &LogEntry) -> String {
    match Entry::decode(entry.data.as_ref()) {
        Ok(raw) => format!("{} {} {} B", entry.index, entry.term, raw.data.len()),
        Err(_) => format!("{} {} not readable", entry.index, entry.term),
    }
}

/// A raft message in a few words, for tools that print what stores say to each other.
#[must_use]
pub fn describe_message(envelope: &RaftEnvelope) -> String {
    // raft's own look at the type panics on one that it does not know.
    let raw = convert::decode_message(&envelope.message).and_then(|raw| Some((convert::message_type(&raw)?, raw)));
    let Some((kind, raw)) = raw else {
        return format!("{} {}->{} not readable", envelope.range, envelope.from, envelope.to);
    };
    format!(
        "{} {}->{} {:?} term={} index={} log_term={} commit={} entries={} reject={} stamp={:?}",
        envelope.range,
        envelope.from,
        envelope.to,
        kind,
        raw.term,
        raw.index,
        raw.log_term,
        raw.commit,
        raw.entries.len(),
        raw.reject,
        envelope.stamp
    )
}

fn raft_config(replica: ReplicaId, applied: LogIndex) -> Config {
    Config {
        id: replica.0,
        // raft's own timeouts only abort transfers: nobody but awake leaders is ticked, one tick each `LEADER_TICK`.
        election_tick: 10,
        heartbeat_tick: 1,
        applied: applied.0,
        max_size_per_msg: limits::RAFT_MAX_MESSAGE_BYTES,
        max_inflight_msgs: limits::RAFT_MAX_INFLIGHT,
        check_quorum: false,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        priority: 0,
        max_uncommitted_size: limits::RAFT_MAX_UNCOMMITTED_BYTES,
        max_committed_size_per_ready: limits::REPLAY_PAGE_BYTES as u64,
        ..Config::default()
    }
}

impl Replica {
    /// Opens a replica whose committed entries were replayed. What raft would panic on is a fault here.
    pub fn open(config: &ReplicaConfig, opening: Opening) -> Result<Replica, OpenFault> {
        let Opening { replica, log, state, tail } = opening;
        let range = state.descriptor.range;
        // One that is yet to be added is not named either: then what lies here is too old, and no reason to destroy it.
        let removed = state.descriptor.next_replica > replica && state.descriptor.replica(replica).is_none();
        let fault = |reason: String| OpenFault { range, replica, removed, reason };
        let mut hard_state = log.hard_state;
        // Data may have been persisted further than the commit index was.
        hard_state.commit = hard_state.commit.max(state.applied);
        preconditions(&log, hard_state, &state, replica, config).map_err(fault)?;
        let mut entries = Vec::with_capacity(tail.len());
        for entry in &tail {
            let decoded = convert::from_log_entry(entry)
                .ok_or_else(|| fault(format!("entry {} is not readable", entry.index)))?;
            entries.push(decoded);
        }
        let contiguous = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| b.index == a.index + 1);
        let reaches = entries.first().map_or(log.last <= state.applied, |e| e.index <= state.applied.0 + 1);
        if !contiguous || !reaches || entries.last().is_some_and(|e| e.index != log.last.0) {
            return Err(fault("the tail of the log does not reach from the applied to the last entry".into()));
        }
        let mut cache = LogCache::new(hard_state, convert::conf_state(&state.descriptor), log.start, state.applied);
        cache.load(&log.terms, log.last, log.sizes, entries);
        Self::build(config, replica, cache, state, log.hard_state).map_err(fault)
    }

    /// Creates a replica on a store that has none, for a range that has just named it. It has nothing, and waits for a
    /// snapshot. The operations must be synced before anything of it is sent.
    #[must_use]
    pub fn create_learner(
        config: &ReplicaConfig,
        descriptor: RangeDescriptor,
        replica: ReplicaId,
    ) -> (Replica, Vec<LogOp>) {
        let range = descriptor.range;
        let state = RangeState {
            descriptor,
            applied: LogIndex(0),
            applied_term: Term(0),
            gc_threshold: Timestamp::ZERO,
            last_timestamp: Timestamp::ZERO,
        };
        let conf = convert::conf_state(&state.descriptor);
        let cache = LogCache::new(HardState::default(), conf, LogStart::default(), LogIndex(0));
        let built = Self::build(config, replica, cache, state, HardState::default());
        let built = built.expect("an empty log meets every condition of raft");
        (built, vec![LogOp::SetReplica { range, record: ReplicaRecord::Live { replica } }])
    }

    fn build(
        config: &ReplicaConfig,
        id: ReplicaId,
        cache: LogCache,
        state: RangeState,
        durable: HardState,
    ) -> Result<Replica, String> {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&raft_config(id, state.applied), cache, &logger).map_err(|e| e.to_string())?;
        let summary = Summary::of(&state);
        let applying = Applying::new(state.applied);
        Ok(Self {
            config: config.clone(),
            id,
            raw,
            descriptor: state.descriptor.clone(),
            pipeline: Self::new_pipeline(&state),
            state: Some(state),
            hlc: Hlc::default(),
            summary,
            disk: Disk::new(durable),
            applying,
            following: Following::default(),
            election: Election::default(),
            leading: None,
            phase: Phase::Live,
            incoming: Incoming::default(),
            shown: None,
            effects: Vec::new(),
        })
    }
}

/// Everything that `RawNode::new` panics on, and what raft takes for granted.
fn preconditions(
    log: &LoadedParts,
    hard_state: HardState,
    state: &RangeState,
    replica: ReplicaId,
    config: &ReplicaConfig,
) -> Result<(), String> {
    if state.applied < log.start.index {
        return Err(format!("the log begins after {}, only {} is applied", log.start.index, state.applied));
    }
    if state.applied > log.last {
        return Err(format!("{} is applied, the log ends at {}", state.applied, log.last));
    }
    if hard_state.commit > log.last {
        return Err(format!("{} is committed, the log ends at {}", hard_state.commit, log.last));
    }
    let newest = log.terms.last().map_or(log.start.term, |(_, term)| *term);
    if newest > hard_state.term {
        return Err(format!("the log speaks of {newest}, the hard state of {}", hard_state.term));
    }
    if log.terms.iter().zip(log.terms.iter().skip(1)).any(|((i, t), (j, u))| i >= j || t >= u) {
        return Err("the terms of the log do not grow".into());
    }
    match state.descriptor.replica(replica) {
        None => Err(format!("{:?} does not name it", state.descriptor)),
        Some(me) if me.store != config.store => Err(format!("it belongs to {}", me.store)),
        Some(_) => state.descriptor.check(),
    }
}
