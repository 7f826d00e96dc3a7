//! How replicas come to this worker, and how they go: opened at start, born of a split, destroyed, quarantined, cleared.

use holdfast_engine::{Fault, LogOp, ReplicaRecord};
use holdfast_replica::{LoadedParts, Opening, RangeState, Replica};
use holdfast_types::{KeyRange, LogSizes, RangeDescriptor, RangeId, Rejected, ReplicaId};

use super::absent::{Absent, Unborn};
use super::garbage::Versions;
use super::log::Then;
use super::walks::Errand;
use super::{Cx, Env, Held, Worker};
use crate::core::effect::Effect;
use crate::core::event::Newborn;
use crate::core::recovery::{Found, FoundRange};
use crate::core::routing::worker_of;

impl Worker {
    /// Takes in what was found of a range at start. A replica that cannot be opened is quarantined, not a reason to stop.
    pub fn open(&mut self, found: FoundRange, env: &dyn Env) {
        let cx = self.cx(env);
        let range = found.range;
        match found.what {
            Found::Live(opening) => self.open_replica(range, *opening, false, &cx),
            Found::Waiting { replica } => {
                // A learner that has nothing yet. It comes back with the next message that names it.
                self.absent.insert(range, Absent::Tombstone { next: replica });
            }
            Found::Unborn { replica, start, hard_state } => {
                self.unborn.insert(range, Unborn { replica, start, hard_state });
            }
            Found::Tombstone { next } => {
                self.absent.insert(range, Absent::Tombstone { next });
            }
            Found::Clearing { next, bounds } => {
                if let Some(bounds) = &bounds {
                    let _ = self.shared.spans.claim(range, bounds);
                }
                self.clear(range, next, bounds, false);
            }
            Found::Quarantined { replica, bounds, reason } => {
                if let Some(bounds) = bounds {
                    let _ = self.shared.spans.claim(range, &bounds);
                }
                if let Some(reason) = reason {
                    let record = ReplicaRecord::Quarantined { replica };
                    self.log.add_aside(LogOp::SetReplica { range, record });
                    self.out.push(Effect::Quarantined { range, reason: Some(reason) });
                } else {
                    self.out.push(Effect::Quarantined { range, reason: None });
                }
                self.absent.insert(range, Absent::Quarantined { replica, applying: false });
            }
        }
    }

    fn open_replica(&mut self, range: RangeId, opening: Opening, newborn: bool, cx: &Cx<'_>) {
        let bounds = opening.state.descriptor.bounds.clone();
        let (id, threshold) = (opening.replica, opening.state.gc_threshold);
        let versions = Versions::of(&opening.state);
        if let Err(other) = self.shared.spans.claim(range, &bounds) {
            let what = format!("{range} is not opened: its keys are held by {other}");
            return self.set_aside(range, id, Some(what));
        }
        let mut replica = match Replica::open(&self.replica_config, opening) {
            Ok(replica) => replica,
            Err(fault) if fault.removed => {
                self.set_aside(range, id, None);
                return self.bury(range, id.next());
            }
            Err(fault) => return self.refuse_to_open(range, id, fault.to_string()),
        };
        self.out.push(Effect::SetGcThreshold { range, threshold: Some((bounds, threshold)) });
        let view = Self::view(&self.support, self.own(), cx);
        // On every store: elsewhere than on its first leader's, the right side so follows that leader and does not stand.
        let effects = if newborn { replica.lead_after_split(&view) } else { Vec::new() };
        let standing = replica.standing();
        self.map.standing(&standing);
        self.out.push(Effect::Standing(Box::new(standing.clone())));
        self.company.join(&standing.descriptor, true);
        let held = Held { versions, ..Held::new(replica, id, standing, true) };
        // The right side of a split that was spoken of before it was born.
        if let Some(awaited) = self.held.insert(range, held) {
            self.company.leave(&awaited.standing.descriptor, awaited.recorded);
        }
        self.carry_all(range, effects, cx);
        // Whether it wants to stand is found out now; at a start with all others.
        if newborn {
            self.push(range, holdfast_replica::Input::SupportChanged);
        } else {
            self.walks.begin(Errand::Support(None));
        }
    }

    fn refuse_to_open(&mut self, range: RangeId, replica: ReplicaId, what: String) {
        let record = ReplicaRecord::Quarantined { replica };
        self.log.add_aside(LogOp::SetReplica { range, record });
        self.set_aside(range, replica, Some(what));
    }

    /// A replica that lies here does not live: whoever asks for its range is sent elsewhere.
    fn set_aside(&mut self, range: RangeId, replica: ReplicaId, why: Option<String>) {
        if why.is_some() {
            self.out.push(Effect::Quarantined { range, reason: why });
        }
        self.absent.insert(range, Absent::Quarantined { replica, applying: false });
        self.map.gone(range);
        self.out.push(Effect::Gone { range });
    }

    /// A split of a range here was applied: the right side lives now, on the worker that its id falls to.
    pub(super) fn born(&mut self, left: RangeId, right: RangeDescriptor, cx: &Cx<'_>) {
        if let Some(held) = self.held.get(&left) {
            let left_bounds = KeyRange {
                start: held.standing.descriptor.bounds.start.clone(),
                end: Some(right.bounds.start.clone()),
            };
            self.shared.spans.split(left, &left_bounds, right.range, &right.bounds);
        }
        let Some(unborn) = self.unborn.remove(&right.range) else {
            let what = format!("{} was born of {left} without raft state", right.range);
            self.out.push(Effect::Alarm { range: Some(right.range), what });
            return;
        };
        let newborn = Newborn { replica: unborn.replica, start: unborn.start, hard_state: unborn.hard_state, right };
        let worker = worker_of(newborn.right.range, self.config.workers);
        if worker == self.config.worker {
            self.give_birth(newborn, cx);
        } else {
            self.out.push(Effect::Born { worker, newborn: Box::new(newborn) });
        }
    }

    pub(super) fn give_birth(&mut self, newborn: Newborn, cx: &Cx<'_>) {
        let range = newborn.right.range;
        let stored = cx.env.snapshot().range_state(range);
        if let Err(fault) = &stored
            && !fault.is_of_data()
        {
            return self.out.push(Effect::Fail(fault.clone()));
        }
        let state = stored.map_err(|fault| fault.to_string()).and_then(|bytes| {
            let bytes = bytes.ok_or("the data instance does not have it")?;
            RangeState::decode(bytes).map_err(|bad| bad.to_string())
        });
        match state {
            Ok(state) => {
                let log = LoadedParts {
                    hard_state: newborn.hard_state,
                    start: newborn.start,
                    terms: Vec::new(),
                    last: newborn.start.index,
                    sizes: LogSizes::default(),
                };
                let opening = Opening { replica: newborn.replica, log, state, tail: Vec::new() };
                self.open_replica(range, opening, true, cx);
                self.unpark(range, cx);
                self.wake_located(cx);
            }
            Err(why) => self.refuse_to_open(range, newborn.replica, format!("{range} was born, but {why}")),
        }
    }

    /// A replica's tombstone is synced: its data goes, once its last apply task is back.
    pub(super) fn destroyed(&mut self, range: RangeId, cx: &Cx<'_>) {
        let Some(held) = self.remove_held(range) else { return };
        self.fail_requests(range, cx);
        let bounds = self.shared.spans.of(range);
        self.clear(range, held.id.next(), bounds, held.applying);
        self.out.push(Effect::Gone { range });
    }

    pub(super) fn quarantined(&mut self, range: RangeId, reason: String, cx: &Cx<'_>) {
        let Some(held) = self.remove_held(range) else { return };
        self.fail_requests(range, cx);
        self.forget_snapshots(range);
        self.absent.insert(range, Absent::Quarantined { replica: held.id, applying: held.applying });
        self.out.push(Effect::Quarantined { range, reason: Some(reason) });
        self.out.push(Effect::Gone { range });
    }

    /// A quarantined replica was replaced under a new id: what is left of it goes, once its last apply task is back.
    pub(super) fn bury(&mut self, range: RangeId, next: ReplicaId) {
        let Some(Absent::Quarantined { applying: false, .. }) = self.absent.get(&range) else { return };
        let record = ReplicaRecord::Tombstone { next, clearing: true };
        self.log.add(vec![LogOp::SetReplica { range, record }], Then::Buried(range));
        let bounds = self.shared.spans.of(range);
        // Nothing is cleared before the tombstone is synced: until then it counts as busy.
        self.absent.insert(range, Absent::Clearing { next, bounds, applying: true });
    }

    /// The tombstone of a buried replica is synced, or the last apply task of a dead one is back.
    pub(super) fn no_longer_applying(&mut self, range: RangeId) {
        let Some(absent) = self.absent.get_mut(&range) else { return };
        if let Absent::Clearing { applying, .. } | Absent::Quarantined { applying, .. } = absent {
            *applying = false;
        }
        self.go_on_clearing(range);
    }

    fn clear(&mut self, range: RangeId, next: ReplicaId, bounds: Option<KeyRange>, applying: bool) {
        self.forget_snapshots(range);
        self.absent.insert(range, Absent::Clearing { next, bounds, applying });
        self.go_on_clearing(range);
    }

    /// Whatever was received for a replica that is dead goes with it: it would be in the way of what its successor is sent.
    fn forget_snapshots(&mut self, range: RangeId) {
        for snapshot in self.receiving.forget_range(range, None) {
            self.end_receiving(snapshot);
        }
    }

    /// Clears a range whose last apply task is back.
    pub(super) fn go_on_clearing(&mut self, range: RangeId) {
        if let Some(Absent::Clearing { bounds, applying: false, .. }) = self.absent.get(&range) {
            let bounds = bounds.clone();
            self.out.push(Effect::SetGcThreshold { range, threshold: None });
            self.out.push(Effect::Clear { range, bounds });
        }
    }

    pub(super) fn cleared(&mut self, range: RangeId, outcome: Result<(), Fault>, cx: &Cx<'_>) {
        let Some(Absent::Clearing { next, .. }) = self.absent.get(&range) else { return };
        let next = *next;
        // A data instance that has failed once takes no more writes: the next start clears what is left.
        if let Err(fault) = outcome {
            return self.out.push(Effect::Fail(fault));
        }
        let record = ReplicaRecord::Tombstone { next, clearing: false };
        self.log.add_aside(LogOp::SetReplica { range, record });
        self.absent.insert(range, Absent::Tombstone { next });
        self.out.push(Effect::Cleared { range });
        self.shared.spans.release(range);
        self.unpark_all(cx);
    }

    fn remove_held(&mut self, range: RangeId) -> Option<Held> {
        let held = self.held.remove(&range)?;
        if let Some(at) = held.wake {
            self.timers.remove(&(at, range));
        }
        self.shared.logs.forget(range);
        self.shared.entries.change(held.entry_bytes, 0);
        self.map.gone(range);
        self.company.leave(&held.standing.descriptor, held.recorded);
        Some(held)
    }

    /// The replica that had these requests is gone.
    fn fail_requests(&mut self, range: RangeId, cx: &Cx<'_>) {
        let tasks = self.sending.forget_range(range);
        self.do_send_tasks(tasks, cx);
        for ticket in self.desk.with_replica(range) {
            let changes = self.desk.get(ticket).is_some_and(|open| open.asked.changes());
            let why = "the replica that had it is gone";
            let rejected = if changes { Rejected::Ambiguous(why.into()) } else { Rejected::Unavailable(why.into()) };
            self.answer(ticket, Err(rejected), cx);
        }
    }
}
