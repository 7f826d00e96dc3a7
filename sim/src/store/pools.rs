//! The pools: apply lanes (a range's tasks stay in order), reads in any order, one lane for snapshots. Work is done when its
//! time is over, with the very functions that the driver's threads call.

use std::collections::VecDeque;
use std::time::Duration;

use holdfast_engine::Engines;
use holdfast_kv::core::carry::{self, Pool};
use holdfast_kv::core::effect::Effect;
use holdfast_kv::core::event::Event;
use holdfast_kv::core::placement_loop::PlanTask;
use holdfast_replica::ApplyTask;
use holdfast_types::{Moment, RangeId};

use super::process::Process;
use super::{At, StoreTask};

/// A plan of a small fleet takes far less; but it takes something, and the fleet changes meanwhile.
const PLAN_TAKES: Duration = Duration::from_millis(20);

struct ApplyWork {
    worker: u16,
    range: RangeId,
    task: Box<ApplyTask>,
    since: Moment,
}

/// A job of the read pool, and whose it is.
#[derive(Clone)]
pub struct PoolJob {
    worker: u16,
    work: Effect,
}

impl std::fmt::Debug for PoolJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match &self.work {
            Effect::Read(_) => "read",
            Effect::Evaluate { .. } => "evaluate",
            Effect::FetchEntries { .. } => "fetch",
            Effect::FindMiddle { .. } => "middle",
            _ => "garbage",
        };
        write!(f, "{what} for worker {}", self.worker)
    }
}

/// What waits in the pools.
pub(super) struct Pools {
    appliers: Vec<VecDeque<ApplyWork>>,
    snapshots: VecDeque<(u16, Effect)>,
}

impl Pools {
    pub(super) fn new(appliers: usize) -> Self {
        Self { appliers: (0..appliers.max(1)).map(|_| VecDeque::new()).collect(), snapshots: VecDeque::new() }
    }

    /// Since when the slowest apply lane is at its work.
    pub(super) fn busy_since(&self) -> Option<Moment> {
        self.appliers.iter().filter_map(|lane| lane.front()).map(|work| work.since).min()
    }
}

impl Process {
    /// Everything that would wait for a disk, or keep a worker busy.
    pub(super) fn hand_to_pool(&mut self, worker: u16, effect: Effect, at: &mut At<'_>) {
        match (Pool::of(&effect), effect) {
            (_, Effect::Apply { range, task }) => self.hand_to_applier(worker, range, task, at),
            (Some(Pool::Read), work) => {
                let ends = at.disk.access_ends(at.hub.now);
                at.task_at(ends, StoreTask::Read(Box::new(PoolJob { worker, work })));
            }
            (_, Effect::Plan(task)) => {
                let ends = at.hub.now.after(PLAN_TAKES);
                at.task_at(ends, StoreTask::Plan(worker, task));
            }
            (_, slow) => {
                self.pools.snapshots.push_back((worker, slow));
                if self.pools.snapshots.len() == 1 {
                    self.begin_snapshot_job(at);
                }
            }
        }
    }

    fn hand_to_applier(&mut self, worker: u16, range: RangeId, task: Box<ApplyTask>, at: &mut At<'_>) {
        let lanes = self.pools.appliers.len() as u64;
        let lane = usize::try_from(range.0 % lanes).expect("a remainder fits");
        let since = at.now();
        self.pools.appliers[lane].push_back(ApplyWork { worker, range, task, since });
        if self.pools.appliers[lane].len() == 1 {
            let ends = at.disk.access_ends(at.hub.now);
            at.task_at(ends, StoreTask::Applied(lane));
        }
    }

    pub(super) fn apply_done(&mut self, lane: usize, at: &mut At<'_>) {
        let Some(ApplyWork { worker, range, task, .. }) = self.pools.appliers[lane].pop_front() else { return };
        at.hub.committed(at.me, &task);
        let applied = carry::apply(range, *task, &*self.data);
        match &applied {
            Ok(applied) => at.hub.applied(at.me, range, applied),
            Err(fault) => self.report(&fault.clone()),
        }
        self.deliver(worker, Event::Applied { range, applied }, at);
        let now = at.now();
        if let Some(next) = self.pools.appliers[lane].front_mut() {
            next.since = now;
            let ends = at.disk.access_ends(at.hub.now);
            at.task_at(ends, StoreTask::Applied(lane));
        }
    }

    pub(super) fn read_done(&mut self, job: PoolJob, at: &mut At<'_>) {
        let engines = Engines { log: self.log.clone(), data: self.data.clone() };
        self.deliver(job.worker, carry::read(job.work, &engines), at);
    }

    pub(super) fn plan_made(&mut self, worker: u16, task: PlanTask, at: &mut At<'_>) {
        self.deliver(worker, carry::plan(task), at);
    }

    fn begin_snapshot_job(&mut self, at: &mut At<'_>) {
        let Some((_, work)) = self.pools.snapshots.front() else { return };
        let ends = match work {
            // Verified files are synced, an install and a clearing flush.
            Effect::StoreSnapshot { last: true, .. } | Effect::InstallSnapshot { .. } | Effect::Clear { .. } => {
                at.disk.sync_ends(at.hub.now).after(Duration::from_millis(1))
            }
            _ => at.disk.access_ends(at.hub.now),
        };
        at.task_at(ends, StoreTask::Snapshot);
    }

    pub(super) fn snapshot_done(&mut self, at: &mut At<'_>) {
        let Some((worker, work)) = self.pools.snapshots.pop_front() else { return };
        let event = carry::snapshot(work, &*self.data);
        if let Some(Event::SnapshotInstalled { range, range_state, .. }) = &event {
            at.hub.counts.snapshots += 1;
            if let Ok(state) = range_state {
                at.hub.installed(at.me, *range, state);
            }
        }
        if let Some(event) = event {
            self.deliver(worker, event, at);
        }
        self.begin_snapshot_job(at);
    }
}
