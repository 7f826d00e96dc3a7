//! What must hold, one invariant a file. Most look at each event as it happens; leases after some steps; the rest at the end.

pub mod applied;
pub mod committed;
pub mod convergence;
pub mod durable;
pub mod history;
pub mod leaders;
pub mod leases;
pub mod placed;
pub mod stamped;
pub mod tiling;

use holdfast_engine::Fault;
use holdfast_replica::apply::{Applied, AppliedChange};
use holdfast_replica::{ApplyTask, RangeState, Standing};
use holdfast_types::{Moment, RangeId, StoreId};

use crate::hub::Hub;

/// Everything that is looked at as it happens.
#[derive(Default, Debug)]
pub struct Checks {
    /// One leader a term.
    pub leaders: leaders::Leaders,
    /// Committed entries never change.
    pub committed: committed::Committed,
    /// What is applied never goes back.
    pub applied: applied::AppliedIndexes,
    /// Ranges tile the key space.
    pub tiling: tiling::Tiling,
    /// What is committed is on the disks of a quorum.
    pub durable: durable::Durable,
    /// What clients were answered.
    pub history: history::Histories,
    violations: Vec<(Moment, String)>,
}

impl Checks {
    /// Notes a violation.
    pub fn violate(&mut self, at: Moment, what: String) {
        self.violations.push((at, what));
    }

    /// What was found, in order.
    #[must_use]
    pub fn violations(&self) -> &[(Moment, String)] {
        &self.violations
    }
}

impl Hub {
    fn judge(&mut self, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            self.violate(what);
        }
    }

    /// A replica says how it looks.
    pub fn stands(&mut self, store: StoreId, standing: &Standing) {
        let outcome = self.checks.leaders.stands(store, standing);
        self.counts.leaderships = self.checks.leaders.count();
        self.judge(outcome);
    }

    /// A replica is about to apply these entries.
    pub fn committed(&mut self, store: StoreId, task: &ApplyTask) {
        let range = task.state.descriptor.range;
        for entry in &task.entries {
            match self.checks.committed.applies(range, entry) {
                Err(what) => self.violate(format!("{store}: {what}")),
                Ok(false) => {}
                Ok(true) => {
                    let before = self.checks.tiling.before(range);
                    let shapes = [Some(&task.state.descriptor), before];
                    let outcome = self.checks.durable.is_on_quorum(entry, shapes.into_iter().flatten());
                    self.judge(outcome);
                }
            }
        }
    }

    /// A replica has applied.
    pub fn applied(&mut self, store: StoreId, range: RangeId, applied: &Applied) {
        let outcome = self.checks.applied.applied(store, range, applied.state.applied);
        self.judge(outcome);
        self.judge(stamped::check(store, range, applied.state.last_timestamp, self.now));
        self.trace.mix(self.now, &[store.0, range.0, applied.state.applied.0]);
        for entry in &applied.results {
            let changed = match &entry.change {
                AppliedChange::Split { left, right, .. } => vec![left, right],
                AppliedChange::Membership(descriptor) => vec![descriptor],
                _ => continue,
            };
            for descriptor in &changed {
                self.judge(placed::check(descriptor));
            }
            let news = changed.iter().map(|descriptor| self.checks.tiling.learn(descriptor)).fold(false, |a, b| a | b);
            if news {
                match changed.len() {
                    2 => self.counts.splits += 1,
                    _ => self.counts.membership_changes += 1,
                }
                self.note(|| format!("{store} is the first to apply {changed:?}"));
                let outcome = self.checks.tiling.check();
                self.judge(outcome);
            }
        }
    }

    /// A replica was replaced by a snapshot.
    pub fn installed(&mut self, store: StoreId, range: RangeId, state: &bytes::Bytes) {
        match RangeState::decode(state.clone()) {
            Ok(state) => {
                let outcome = self.checks.applied.applied(store, range, state.applied);
                self.note(|| format!("{store} installs {range} at {}", state.applied));
                self.judge(outcome);
            }
            Err(bad) => self.violate(format!("{store} installed a snapshot of {range} without sense: {bad}")),
        }
    }

    /// A store says that something is wrong. Nothing in the simulated world damages data, so nothing may be.
    pub fn alarm(&mut self, store: StoreId, range: Option<RangeId>, what: &str) {
        self.violate(format!("{store} raises an alarm about {range:?}: {what}"));
    }

    /// Why a store could not start, if that is anybody's fault but the disk's.
    pub fn start_failed(&mut self, store: StoreId, fault: &Fault) {
        match fault {
            Fault::Full(_) | Fault::Io { .. } => self.note(|| format!("{store} cannot start: {fault}")),
            _ => self.violate(format!("{store} cannot start: {fault}")),
        }
    }
}
