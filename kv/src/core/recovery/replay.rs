//! Repeats what the data instance lost.

use std::collections::BTreeMap;

use holdfast_engine::{Engines, Fault, LoadedLog, LogOp, ReplicaRecord};
use holdfast_replica::{LoadedParts, Opening, RangeState, finish_install, replay_page};
use holdfast_types::{LogIndex, LogSizes, RangeId, ReplicaId, limits};

use super::stored_state;
use crate::core::carry;
use crate::core::reader::{SnapshotReader, store_fault};

/// A log and, if it cannot be used, why.
type Replayed = (LoadedLog, Option<String>);

/// An install that was cut short is done again; it is idempotent. Gives what is wrong when it cannot be.
pub(super) fn repeat_install(engines: &Engines, log: &mut LoadedLog) -> Result<Option<String>, Fault> {
    let ReplicaRecord::Installing { replica, snapshot } = log.record else { return Ok(None) };
    let gone = Ok(Some("a snapshot was being installed, and is gone".to_owned()));
    let staged = engines.data.staged_manifest(snapshot)?;
    if staged.is_some() {
        match carry::install_over(log.range, snapshot, &*engines.data) {
            Ok(()) => {}
            Err(Fault::Damage { .. }) => return gone,
            Err(fault) => return Err(fault),
        }
    }
    let Ok(Some(state)) = stored_state(engines, log.range)? else { return gone };
    if staged.is_none() && state.applied < log.last && state.applied > log.start.index {
        // Neither staged nor, as it seems, installed: the old state is still there.
        return gone;
    }
    let hard_state = log.hard_state;
    let ops = finish_install(&state, replica, hard_state);
    engines.log.write_synced(&ops)?;
    engines.data.drop_snapshot(snapshot)?;
    apply_ops(log, &ops);
    Ok(None)
}

/// Replays every log whose range has a state; right sides of splits come to life on the way and take their turn. The logs of
/// the dead, and of those that are being given a snapshot, are replayed too, as far as it goes: the right side of a split may live
/// on, and the data instance have lost it.
pub(super) fn replay_all(engines: &Engines, logs: Vec<LoadedLog>) -> Result<Vec<Replayed>, Fault> {
    let mut waiting: BTreeMap<RangeId, LoadedLog> = logs.into_iter().map(|log| (log.range, log)).collect();
    let mut done = BTreeMap::new();
    loop {
        let mut next = None;
        for (range, log) in &waiting {
            let has_log = match log.record {
                ReplicaRecord::Live { .. } | ReplicaRecord::Quarantined { .. } | ReplicaRecord::Installing { .. } => {
                    true
                }
                ReplicaRecord::Tombstone { clearing, .. } => clearing,
            };
            if has_log && !matches!(stored_state(engines, *range)?, Ok(None)) {
                next = Some(*range);
                break;
            }
        }
        let Some(range) = next else { break };
        let log = waiting.remove(&range).expect("just seen");
        let living = match log.record {
            ReplicaRecord::Live { replica } => Some(replica),
            _ => None,
        };
        let damage = match replay(engines, &log, living, &mut waiting) {
            Ok(()) => None,
            Err(Fault::Damage { .. }) if living.is_none() => None,
            Err(Fault::Damage { doing, detail }) => Some(format!("{doing}: {detail}")),
            Err(fault) => return Err(fault),
        };
        done.insert(range, (log, damage));
    }
    done.extend(waiting.into_iter().map(|(range, log)| (range, (log, None))));
    Ok(done.into_values().collect())
}

fn replay(
    engines: &Engines,
    log: &LoadedLog,
    living: Option<ReplicaId>,
    others: &mut BTreeMap<RangeId, LoadedLog>,
) -> Result<(), Fault> {
    let damage = |detail: String| Fault::Damage { doing: format!("replaying {}", log.range), detail };
    let mut state = match stored_state(engines, log.range)? {
        Ok(Some(state)) => state,
        Ok(None) => return Ok(()),
        Err(reason) => return Err(damage(reason)),
    };
    let committed = log.hard_state.commit.min(log.last);
    while state.applied < committed {
        let first = state.applied.next();
        if first <= log.start.index {
            let newest = super::newest_term(log);
            return Err(damage(format!("{first} is wanted, the log begins after {} ({newest})", log.start.index)));
        }
        // Of the dead one entry at a time: their replay ends at the first one that they had not applied yet.
        let page_bytes = if living.is_some() { limits::REPLAY_PAGE_BYTES } else { 1 };
        let entries = engines.log.entries(log.range, first, committed, page_bytes)?;
        let reader = SnapshotReader::of(engines.data.snapshot());
        let replica = living.unwrap_or(ReplicaId(0));
        let page = replay_page(state, replica, &entries, &reader)
            .map_err(|fault| store_fault(format!("replaying {}", log.range), fault))?;
        for (right, ops) in page.born {
            // A right side that the log instance knows keeps what it has: it may have lived for long.
            if !others.contains_key(&right) && !has_log(engines, right)? {
                if living.is_none() {
                    return Ok(());
                }
                engines.log.write_synced(&ops)?;
                let mut born = empty_log(right);
                apply_ops(&mut born, &ops);
                others.insert(right, born);
            }
        }
        engines.data.write(&page.ops)?;
        state = page.state;
    }
    Ok(())
}

fn has_log(engines: &Engines, range: RangeId) -> Result<bool, Fault> {
    Ok(engines.log.load()?.iter().any(|log| log.range == range))
}

/// What a replica is opened from, after replay.
pub(super) fn opening(
    engines: &Engines,
    log: &LoadedLog,
    replica: ReplicaId,
    state: RangeState,
) -> Result<Opening, Fault> {
    let mut tail = Vec::new();
    let mut first = state.applied.next().max(log.start.index.next());
    while first <= log.last {
        let page = engines.log.entries(log.range, first, log.last, limits::REPLAY_PAGE_BYTES)?;
        first = page.last().map_or(log.last.next(), |entry| entry.index.next());
        tail.extend(page);
    }
    let parts = LoadedParts {
        hard_state: log.hard_state,
        start: log.start,
        terms: log.terms.clone(),
        last: log.last,
        sizes: log.sizes.clone(),
    };
    Ok(Opening { replica, log: parts, state, tail })
}

fn empty_log(range: RangeId) -> LoadedLog {
    LoadedLog {
        range,
        record: ReplicaRecord::Live { replica: ReplicaId(0) },
        hard_state: holdfast_types::storage::HardState::default(),
        start: holdfast_types::storage::LogStart::default(),
        terms: Vec::new(),
        last: LogIndex(0),
        sizes: LogSizes::default(),
    }
}

/// What was just written of one range, seen as if it had been loaded.
fn apply_ops(log: &mut LoadedLog, ops: &[LogOp]) {
    for op in ops {
        match op {
            LogOp::Forget { .. } => *log = empty_log(log.range),
            LogOp::SetReplica { record, .. } => log.record = *record,
            LogOp::SetHardState { state, .. } => log.hard_state = *state,
            LogOp::SetStart { start, .. } => {
                log.start = *start;
                log.last = log.last.max(start.index);
                log.terms.retain(|(first, _)| *first > start.index);
                log.sizes.cut_front(start.index);
            }
            LogOp::Append { .. } | LogOp::SetStoreRecord { .. } => {}
        }
    }
}
