//! What an effect that takes its time comes to: one function for each pool, the same for threads, for simulated lanes and for
//! tests. Whose job it is and when it is done is theirs.

use bytes::Bytes;
use holdfast_engine::{DataEngine, DataOp, Engines, Fault, ReadTier, SnapshotId, SnapshotManifest};
use holdfast_replica::evaluate::Unserved;
use holdfast_replica::{Applied, ApplyTask, RangeState};
use holdfast_types::{KeyRange, RangeId};

use super::effect::{Effect, ReadTask};
use super::event::{Event, ReadFailure};
use super::garbage;
use super::placement_loop::PlanTask;
use super::reader::{SnapshotReader, store_fault, undecodable};

/// Where an effect that takes its time, for a disk or by itself, is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pool {
    /// In the order of its range.
    Apply,
    /// In any order.
    Read,
    /// One after the other: slow and rare.
    Snapshot,
    /// One at a time. It waits for no disk: it takes the processor for longer than a worker's round may.
    Plan,
}

impl Pool {
    /// The pool of an effect; `None`: it is carried out at once.
    #[must_use]
    pub fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Apply { .. } => Some(Self::Apply),
            Effect::Read(_)
            | Effect::Evaluate { .. }
            | Effect::FetchEntries { .. }
            | Effect::FindMiddle { .. }
            | Effect::FindGarbage(_) => Some(Self::Read),
            Effect::BuildSnapshot { .. }
            | Effect::ReadSnapshot { .. }
            | Effect::BeginInstall { .. }
            | Effect::StoreSnapshot { .. }
            | Effect::InstallSnapshot { .. }
            | Effect::DropSnapshot { .. }
            | Effect::Clear { .. } => Some(Self::Snapshot),
            Effect::Plan(_) => Some(Self::Plan),
            _ => None,
        }
    }
}

/// Makes a plan.
#[must_use]
pub fn plan(task: PlanTask) -> Event {
    Event::Planned(Box::new(task.run()))
}

/// Applies committed entries: one batch of the data instance.
pub fn apply(range: RangeId, task: ApplyTask, data: &dyn DataEngine) -> Result<Box<Applied>, Fault> {
    let (ops, applied) = holdfast_replica::apply::run(task, &SnapshotReader::lazy(data))
        .map_err(|fault| store_fault(format!("applying entries of {range}"), fault))?;
    data.write(&ops)?;
    Ok(Box::new(applied))
}

/// Carries out an effect of the read pool.
///
/// # Panics
/// On an effect of another pool.
pub fn read(effect: Effect, engines: &Engines) -> Event {
    let data = &*engines.data;
    match effect {
        Effect::Read(task) => serve(task),
        Effect::Evaluate { range, evaluation } => {
            let reader = SnapshotReader::of(data.snapshot());
            let evaluated = Box::new(holdfast_replica::evaluate::run(*evaluation, &reader));
            Event::Evaluated { range, evaluated }
        }
        Effect::FetchEntries { range, to, first, last, max_bytes } => {
            Event::EntriesFetched { range, to, entries: engines.log.entries(range, first, last, max_bytes) }
        }
        Effect::FindMiddle { ticket, bounds } => Event::MiddleFound { ticket, key: data.middle_key(&bounds) },
        Effect::FindGarbage(search) => {
            let page = garbage::look(&*data.snapshot(), &search);
            Event::GarbageFound { search, page }
        }
        _ => unreachable!("it is for another pool"),
    }
}

fn serve(task: ReadTask) -> Event {
    let reader = SnapshotReader::of(task.snapshot);
    let outcome = holdfast_replica::serve_read(&task.request.request, &task.bounds, &reader, task.at, task.now)
        .map_err(|fault| ReadFailure::Fault(store_fault(format!("reading {}", task.range), fault)))
        .and_then(|answer| {
            answer.map_err(|unserved| match unserved {
                Unserved::Refused(rejected) => ReadFailure::Rejected(rejected),
                Unserved::TimeMustPass { to } => ReadFailure::TimeMustPass { to },
            })
        });
    Event::ReadDone { ticket: task.ticket, outcome }
}

/// Carries out an effect of the snapshot lane, in the order in which they come. `None`: nobody waits for it.
///
/// # Panics
/// On an effect of another pool.
pub fn snapshot(effect: Effect, data: &dyn DataEngine) -> Option<Event> {
    Some(match effect {
        Effect::BuildSnapshot { range, to, snapshot, .. } => {
            Event::SnapshotBuilt { range, to, manifest: build(range, snapshot, data) }
        }
        Effect::ReadSnapshot { snapshot, file, offset, max_bytes } => {
            let data = data.read_snapshot(snapshot, file, offset, max_bytes);
            Event::SnapshotRead { snapshot, file, offset, data }
        }
        Effect::BeginInstall { manifest } => {
            let snapshot = manifest.id;
            let received = data.begin_install(&manifest).and_then(|()| data.received(snapshot));
            Event::SnapshotStored { snapshot, received, verified: false }
        }
        Effect::StoreSnapshot { snapshot, file, offset, data: bytes, last } => {
            let stored = data.receive(snapshot, file, offset, &bytes).and_then(|()| data.received(snapshot));
            let received = if last { stored.and_then(|r| data.verify_install(snapshot).map(|()| r)) } else { stored };
            Event::SnapshotStored { snapshot, verified: last && received.is_ok(), received }
        }
        Effect::InstallSnapshot { range, snapshot } => {
            Event::SnapshotInstalled { range, snapshot, range_state: install(range, snapshot, data) }
        }
        Effect::DropSnapshot { snapshot } => {
            if let Err(fault) = data.drop_snapshot(snapshot) {
                tracing::warn!(?snapshot, %fault, "a snapshot's files could not be removed; they go at the next start");
            }
            return None;
        }
        Effect::Clear { range, bounds } => Event::Cleared { range, outcome: clear(range, bounds, data) },
        _ => unreachable!("it is for another pool"),
    })
}

/// The bounds come from the view itself: a split may have been applied since the snapshot was asked for.
fn build(range: RangeId, snapshot: SnapshotId, data: &dyn DataEngine) -> Result<SnapshotManifest, Fault> {
    let damage = |detail: String| damage(format!("building a snapshot of {range}"), detail);
    let view = data.snapshot();
    let state = view.range_state(range)?.ok_or_else(|| damage("no range state".into()))?;
    let doing = format!("building a snapshot of {range}");
    let state = RangeState::decode(state).map_err(|bad| undecodable(doing, bad))?;
    data.build_snapshot(&*view, snapshot, range, &state.descriptor.bounds)
}

/// Puts a staged snapshot in place of everything that the range had. The range may have held keys that the snapshot does not bring:
/// a split that it missed gave them away. They go first, for good, while the old state still says which they are.
pub(super) fn install_over(range: RangeId, snapshot: SnapshotId, data: &dyn DataEngine) -> Result<(), Fault> {
    let (manifest, state) = (data.staged_manifest(snapshot)?, data.range_state(range, ReadTier::All)?);
    if let (Some(manifest), Some(Ok(state))) = (manifest, state.map(RangeState::decode)) {
        let rest = state.descriptor.bounds.without(&manifest.bounds);
        if !rest.is_empty() {
            let ops: Vec<_> = rest.into_iter().map(|bounds| DataOp::ClearKeys { bounds }).collect();
            data.write(&ops)?;
            data.flush()?;
        }
    }
    data.install(snapshot)
}

fn install(range: RangeId, snapshot: SnapshotId, data: &dyn DataEngine) -> Result<Bytes, Fault> {
    install_over(range, snapshot, data)?;
    let state = data.range_state(range, ReadTier::All)?;
    let doing = format!("installing a snapshot of {range}");
    state.ok_or_else(|| damage(doing, "the snapshot holds no range state".into()))
}

fn clear(range: RangeId, bounds: Option<KeyRange>, data: &dyn DataEngine) -> Result<(), Fault> {
    let mut ops = vec![DataOp::RemoveRangeState { range }];
    ops.extend(bounds.map(|bounds| DataOp::ClearKeys { bounds }));
    data.write(&ops)?;
    data.flush()
}

fn damage(doing: String, detail: String) -> Fault {
    Fault::Damage { doing, detail }
}
