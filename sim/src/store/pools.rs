//! The pools: apply lanes (a range's tasks stay in order), reads in any order, one lane for snapshots. Work is done when its
//! time is over, with the very functions that the driver's threads call.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use holdfast_engine::{DataEngine, DataOp, Fault, LogEngine, ReadTier, SnapshotId, SnapshotManifest};
use holdfast_kv::core::effect::{Effect, ReadTask};
use holdfast_kv::core::event::{Event, ReadFailure, ReadTicket};
use holdfast_kv::core::garbage::{self, GarbageSearch};
use holdfast_kv::core::reader::SnapshotReader;
use holdfast_replica::{ApplyTask, Evaluation, RangeState};
use holdfast_types::{KeyRange, LogIndex, Moment, RangeId, ReplicaId};

use super::process::Process;
use super::{At, StoreTask};

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
    work: ReadWork,
}

impl std::fmt::Debug for PoolJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match &self.work {
            ReadWork::Read(_) => "read",
            ReadWork::Evaluate { .. } => "evaluate",
            ReadWork::Fetch { .. } => "fetch",
            ReadWork::Middle { .. } => "middle",
            ReadWork::Garbage(_) => "garbage",
        };
        write!(f, "{what} for worker {}", self.worker)
    }
}

#[derive(Clone)]
enum ReadWork {
    Read(Box<ReadTask>),
    Evaluate { range: RangeId, evaluation: Box<Evaluation> },
    Fetch { range: RangeId, to: ReplicaId, first: LogIndex, last: LogIndex, max_bytes: usize },
    Middle { ticket: ReadTicket, bounds: KeyRange },
    Garbage(GarbageSearch),
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
    /// Everything that would wait for a disk.
    pub(super) fn hand_to_pool(&mut self, worker: u16, effect: Effect, at: &mut At<'_>) {
        let work = match effect {
            Effect::Apply { range, task } => return self.hand_to_applier(worker, range, task, at),
            Effect::Read(task) => ReadWork::Read(Box::new(task)),
            Effect::Evaluate { range, evaluation } => ReadWork::Evaluate { range, evaluation },
            Effect::FetchEntries { range, to, first, last, max_bytes } => {
                ReadWork::Fetch { range, to, first, last, max_bytes }
            }
            Effect::FindMiddle { ticket, bounds } => ReadWork::Middle { ticket, bounds },
            Effect::FindGarbage(search) => ReadWork::Garbage(search),
            slow => {
                self.pools.snapshots.push_back((worker, slow));
                if self.pools.snapshots.len() == 1 {
                    self.begin_snapshot_job(at);
                }
                return;
            }
        };
        let ends = at.disk.access_ends(at.hub.now);
        at.task_at(ends, StoreTask::Read(Box::new(PoolJob { worker, work })));
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
        let applied = {
            let reader = SnapshotReader::lazy(&*self.data);
            match holdfast_replica::apply::run(*task, &reader) {
                Ok((ops, applied)) => self.data.write(&ops).map(|()| Box::new(applied)),
                Err(fault) => {
                    Err(Fault::Damage { doing: format!("applying entries of {range}"), detail: fault.to_string() })
                }
            }
        };
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
        let event = match job.work {
            ReadWork::Read(task) => {
                let task = *task;
                let reader = SnapshotReader::of(task.snapshot);
                let request = &task.request.request;
                let outcome = holdfast_replica::serve_read(request, &task.bounds, &reader, task.at, task.now)
                    .map_err(|fault| {
                        let doing = format!("reading {}", task.range);
                        ReadFailure::Fault(Fault::Damage { doing, detail: fault.to_string() })
                    })
                    .and_then(|answer| answer.map_err(ReadFailure::Rejected));
                Event::ReadDone { ticket: task.ticket, outcome }
            }
            ReadWork::Evaluate { range, evaluation } => {
                let reader = SnapshotReader::of(self.data.snapshot());
                let evaluated = Box::new(holdfast_replica::evaluate::run(*evaluation, &reader));
                Event::Evaluated { range, evaluated }
            }
            ReadWork::Fetch { range, to, first, last, max_bytes } => {
                let entries = self.log.entries(range, first, last, max_bytes);
                Event::EntriesFetched { range, to, entries }
            }
            ReadWork::Garbage(search) => {
                let page = garbage::look(&*self.data.snapshot(), &search);
                Event::GarbageFound { search, page }
            }
            ReadWork::Middle { ticket, bounds } => Event::MiddleFound { ticket, key: self.data.middle_key(&bounds) },
        };
        self.deliver(job.worker, event, at);
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
        if let Some(event) = self.carry_out_snapshot(work, at) {
            self.deliver(worker, event, at);
        }
        self.begin_snapshot_job(at);
    }

    fn carry_out_snapshot(&mut self, work: Effect, at: &mut At<'_>) -> Option<Event> {
        Some(match work {
            Effect::BuildSnapshot { range, to, snapshot, .. } => {
                Event::SnapshotBuilt { range, to, manifest: self.build(range, snapshot) }
            }
            Effect::ReadSnapshot { snapshot, file, offset, max_bytes } => {
                let data = self.data.read_snapshot(snapshot, file, offset, max_bytes);
                Event::SnapshotRead { snapshot, file, offset, data }
            }
            Effect::BeginInstall { manifest } => {
                let snapshot = manifest.id;
                let received = self.data.begin_install(&manifest).and_then(|()| self.data.received(snapshot));
                Event::SnapshotStored { snapshot, received, verified: false }
            }
            Effect::StoreSnapshot { snapshot, file, offset, data, last } => {
                let stored =
                    self.data.receive(snapshot, file, offset, &data).and_then(|()| self.data.received(snapshot));
                let received =
                    if last { stored.and_then(|r| self.data.verify_install(snapshot).map(|()| r)) } else { stored };
                Event::SnapshotStored { snapshot, verified: last && received.is_ok(), received }
            }
            Effect::InstallSnapshot { range, snapshot } => {
                at.hub.counts.snapshots += 1;
                let range_state = self.install(range, snapshot);
                if let Ok(state) = &range_state {
                    at.hub.installed(at.me, range, state);
                }
                Event::SnapshotInstalled { range, snapshot, range_state }
            }
            Effect::DropSnapshot { snapshot } => {
                // What cannot be removed goes at the next start.
                let _ = self.data.drop_snapshot(snapshot);
                return None;
            }
            Effect::Clear { range, bounds } => Event::Cleared { range, outcome: self.clear(range, bounds) },
            _ => unreachable!("every other effect is carried out elsewhere"),
        })
    }

    /// The bounds come from the view itself: a split may have been applied since the snapshot was asked for.
    fn build(&self, range: RangeId, snapshot: SnapshotId) -> Result<SnapshotManifest, Fault> {
        let damage = |detail: String| Fault::Damage { doing: format!("building a snapshot of {range}"), detail };
        let view = self.data.snapshot();
        let state = view.range_state(range)?.ok_or_else(|| damage("no range state".into()))?;
        let state = RangeState::decode(state).map_err(|bad| damage(bad.to_string()))?;
        self.data.build_snapshot(&*view, snapshot, range, &state.descriptor.bounds)
    }

    fn install(&self, range: RangeId, snapshot: SnapshotId) -> Result<Bytes, Fault> {
        self.data.install(snapshot)?;
        let state = self.data.range_state(range, ReadTier::All)?;
        state.ok_or_else(|| Fault::Damage {
            doing: format!("installing a snapshot of {range}"),
            detail: "the snapshot holds no range state".into(),
        })
    }

    fn clear(&self, range: RangeId, bounds: Option<KeyRange>) -> Result<(), Fault> {
        let mut ops = vec![DataOp::RemoveRangeState { range }];
        ops.extend(bounds.map(|bounds| DataOp::ClearKeys { bounds }));
        self.data.write(&ops)?;
        self.data.flush()
    }
}
