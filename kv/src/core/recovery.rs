//! From what is on disk to workers: a new incarnation, repeated installs, replayed entries, quarantine instead of a panic.
//!
//! The data instance has no log of its own: what it lost with the process is applied again, in pages, from the raft logs. A split
//! among that brings its right side back, whose own entries are then replayed in turn.

mod founding;
mod replay;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_engine::{Engines, Fault, LoadedLog, LogOp, ReplicaRecord};
use holdfast_replica::{CheckLevel, Opening, RangeState, SurvivalGoal};
use holdfast_types::storage::{HardState, LogStart};
use holdfast_types::{Incarnation, KeyRange, RangeId, ReplicaId, StoreId, Term, limits};

use super::identity::{Identity, read_counters};
use super::message::RangeHint;
use super::reader::undecodable;
use super::routing::{RangeMap, worker_of};
use super::seen::{self, Outdated, Seen};
use super::shared::Shared;
use super::support::SupportConfig;
use super::worker::{Env, Worker, WorkerConfig};

pub use founding::{Founding, init, join};

/// What was found of one range.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundRange {
    /// The range.
    pub range: RangeId,
    /// What of it.
    pub what: Found,
}

/// The state in which a range was found.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    /// A replica, replayed and ready to be opened.
    Live(Box<Opening>),
    /// A learner that waits for its first snapshot.
    Waiting {
        /// Its id.
        replica: ReplicaId,
    },
    /// Raft state of a right side whose split has not been applied here.
    Unborn {
        /// Its id.
        replica: ReplicaId,
        /// Where its log begins.
        start: LogStart,
        /// Its hard state.
        hard_state: HardState,
    },
    /// A replica was here and is gone.
    Tombstone {
        /// The smallest id that may live here again.
        next: ReplicaId,
    },
    /// A replica is gone, its data is not yet.
    Clearing {
        /// The smallest id that may live here again.
        next: ReplicaId,
        /// Its keys, if it had any.
        bounds: Option<KeyRange>,
    },
    /// A damaged replica.
    Quarantined {
        /// Its id.
        replica: ReplicaId,
        /// Its keys, if they are known.
        bounds: Option<KeyRange>,
        /// What was found at this start; `None`: it was quarantined before.
        reason: Option<String>,
    },
}

/// Everything that was found at start.
pub struct Recovered {
    /// Who the store is, with its new incarnation.
    pub identity: Identity,
    /// Its ranges.
    pub found: Vec<FoundRange>,
    /// Its ranges as others are told of them.
    pub map: RangeMap,
    /// For all workers.
    pub shared: Arc<Shared>,
    seen: BTreeMap<StoreId, Seen>,
    started_at: u64,
}

/// How workers are to be.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSetup {
    /// How many; at most [`holdfast_types::limits::MAX_WORKERS`].
    pub workers: u16,
    /// For waits that must differ between stores.
    pub seed: u64,
    /// No leases.
    pub quorum_reads: bool,
    /// How thoroughly invariants are checked.
    pub check: CheckLevel,
    /// What ranges must survive.
    pub survival: SurvivalGoal,
}

/// Reads everything, syncs a new incarnation, repeats what was cut short, and replays what the data instance lost.
///
/// A fault here is of the store: its disk fails, its format is unknown, or it belongs to no fleet. What is wrong with one range
/// quarantines that range.
pub fn recover(engines: &Engines) -> Result<Recovered, Fault> {
    let identity = Identity::read(&*engines.log)?
        .ok_or_else(|| Fault::Identity("this store belongs to no fleet yet: found one, or join one".into()))?;
    let identity = begin_incarnation(engines, identity)?;
    let seen = seen::read(&*engines.log)?;
    let started_at = engines.log.counter().0 + identity.counter_offset;
    let shared = Arc::new(Shared::new(read_counters(&*engines.log)?));
    let replayed = replay::replay_all(engines, engines.log.load()?)?;
    let mut found = Vec::new();
    for (mut log, damage) in replayed {
        // Not before everything is replayed: the log that a snapshot replaces may hold a split whose right side the data has lost.
        let damage = replay::repeat_install(engines, &mut log)?.or(damage);
        let range = log.range;
        let what = classify(engines, log, damage)?;
        found.push(FoundRange { range, what });
    }
    add_strays(engines, &identity, &mut found)?;
    let mut map = RangeMap::new();
    for range in &found {
        if let Found::Live(opening) = &range.what {
            let descriptor = opening.state.descriptor.clone();
            map.learn_own(RangeHint { descriptor, term: opening.log.hard_state.term, leader: None });
        }
    }
    Ok(Recovered { identity, found, map, shared, seen, started_at })
}

/// Syncs a new incarnation. If another store has seen more of this one than its disk knows, every replica goes into quarantine
/// with it: what they promised since is forgotten.
fn begin_incarnation(engines: &Engines, known: Identity) -> Result<Identity, Fault> {
    let Some(outdated) = Outdated::read(&*engines.log)? else {
        let identity = Identity { incarnation: Incarnation(known.incarnation.0 + 1), ..known };
        engines.log.write_synced(&[identity.op()])?;
        return Ok(identity);
    };
    let incarnation = Incarnation(known.incarnation.max(outdated.incarnation).0 + 1);
    let counter_offset = known.counter_offset.max(outdated.counter);
    let identity = Identity { incarnation, counter_offset, ..known };
    let mut ops = vec![identity.op(), Outdated::settled()];
    for log in engines.log.load()? {
        if let ReplicaRecord::Live { replica } | ReplicaRecord::Installing { replica, .. } = log.record {
            ops.push(LogOp::SetReplica { range: log.range, record: ReplicaRecord::Quarantined { replica } });
        }
    }
    engines.log.write_synced(&ops)?;
    Ok(identity)
}

impl Recovered {
    /// What the support table needs to know.
    #[must_use]
    pub fn support(&self) -> SupportConfig {
        SupportConfig {
            started_at: self.started_at,
            counter_offset: self.identity.counter_offset,
            seen: self.seen.clone(),
            ..SupportConfig::new(self.identity.store, self.identity.incarnation)
        }
    }

    /// Opens all ranges, each on its worker. What a worker wants done about them comes with its first round, which is due at once.
    #[must_use]
    pub fn into_workers(self, setup: &WorkerSetup, env: &dyn Env) -> (Vec<Worker>, RangeMap) {
        let now = env.now();
        let config = |worker| WorkerConfig {
            store: self.identity.store,
            site: self.identity.site.clone(),
            incarnation: self.identity.incarnation,
            worker,
            workers: setup.workers,
            seed: setup.seed,
            quorum_reads: setup.quorum_reads,
            check: setup.check,
            survival: setup.survival,
        };
        let make = |worker| Worker::new(config(worker), Arc::clone(&self.shared), self.map.clone(), now);
        let mut workers: Vec<_> = (0..setup.workers).map(make).collect();
        for found in self.found {
            let worker = usize::from(worker_of(found.range, setup.workers));
            workers[worker].open(found, env);
        }
        (workers, self.map)
    }
}

/// What a log, after replay, is the log of.
fn classify(engines: &Engines, log: LoadedLog, damage: Option<String>) -> Result<Found, Fault> {
    let state = stored_state(engines, log.range)?;
    let bounds = state.as_ref().ok().and_then(|s| s.as_ref()).map(|s| s.descriptor.bounds.clone());
    let replica = match log.record {
        ReplicaRecord::Tombstone { next, clearing: false } => return Ok(Found::Tombstone { next }),
        ReplicaRecord::Tombstone { next, clearing: true } => return Ok(Found::Clearing { next, bounds }),
        ReplicaRecord::Quarantined { replica } => {
            return Ok(Found::Quarantined { replica, bounds, reason: None });
        }
        ReplicaRecord::Live { replica } | ReplicaRecord::Installing { replica, .. } => replica,
    };
    let quarantined = |reason| Found::Quarantined { replica, bounds: bounds.clone(), reason: Some(reason) };
    if let Some(reason) = damage {
        return Ok(quarantined(reason));
    }
    let state = match state {
        Err(reason) => return Ok(quarantined(reason)),
        Ok(None) if log.start.index.0 == 0 => return Ok(Found::Waiting { replica }),
        Ok(None) if has_lived(&log) => return Ok(quarantined("there is a log of the range, and no data".to_owned())),
        Ok(None) => return Ok(Found::Unborn { replica, start: log.start, hard_state: log.hard_state }),
        Ok(Some(state)) => state,
    };
    match replay::opening(engines, &log, replica, state) {
        Ok(opening) => Ok(Found::Live(Box::new(opening))),
        Err(Fault::Damage { doing, detail }) => Ok(quarantined(format!("{doing}: {detail}"))),
        Err(fault) => Err(fault),
    }
}

/// A right side that is not born yet has just what the split wrote beforehand. More than that was promised to somebody.
fn has_lived(log: &LoadedLog) -> bool {
    let unborn = log.start.index.0 == limits::FIRST_LOG_INDEX
        && log.last == log.start.index
        && log.hard_state.term.0 <= limits::FIRST_LOG_TERM + 1;
    !unborn
}

/// Range states without a log: their raft state is lost, so they must not act; their replica is replaced.
fn add_strays(engines: &Engines, identity: &Identity, found: &mut Vec<FoundRange>) -> Result<(), Fault> {
    for (range, bytes) in engines.data.range_states()? {
        let known = found.iter().any(|f| f.range == range);
        if known {
            continue;
        }
        let state =
            match RangeState::decode(bytes).map_err(|bad| undecodable(format!("reading the state of {range}"), bad)) {
                Ok(state) => state,
                Err(Fault::Damage { .. }) => continue,
                Err(fault) => return Err(fault),
            };
        let Some(me) = state.descriptor.replica_on(identity.store) else { continue };
        let reason = Some("there is data of the range, and no log".to_owned());
        let (replica, bounds) = (me.replica, Some(state.descriptor.bounds.clone()));
        found.push(FoundRange { range, what: Found::Quarantined { replica, bounds, reason } });
    }
    Ok(())
}

/// The state of a range in the data instance; the inner error says that it is damaged. One that a newer program wrote is no damage: then
/// this one must not start at all.
fn stored_state(engines: &Engines, range: RangeId) -> Result<Result<Option<RangeState>, String>, Fault> {
    let doing = || format!("reading the state of {range}");
    let decode = |bytes| RangeState::decode(bytes).map_err(|bad| undecodable(doing(), bad));
    let stored = engines.data.range_state(range, holdfast_engine::ReadTier::All);
    match stored.and_then(|bytes| bytes.map(decode).transpose()) {
        Ok(state) => Ok(Ok(state)),
        Err(Fault::Damage { doing, detail }) => Ok(Err(format!("{doing}: {detail}"))),
        Err(fault) => Err(fault),
    }
}

/// A log's newest term, for messages.
fn newest_term(log: &LoadedLog) -> Term {
    log.terms.last().map_or(log.start.term, |(_, term)| *term)
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
