//! What is under way: joint configurations, copies, and transfers and splits that were asked for a moment ago.

use holdfast_types::Role;

use super::Planner;
use crate::layout::Kind;
use crate::operator::{Operator, Step};
use crate::view::RangeView;

/// Claims ranges that are not to be touched, and counts what moves already.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.free_ranges() {
        if range.descriptor.is_joint() {
            // The leader leaves a joint configuration by itself.
            planner.claimed.insert(id);
            continue;
        }
        for learner in range.learners().filter(|r| !range.is_caught_up(r) && planner.view.is_alive(r.store)) {
            let copy = Step::AddLearner { store: learner.store, site: learner.site.clone() };
            if let Some(influence) = copy.influence(range) {
                planner.budget.charge(&influence);
            }
        }
        if let Some(pending) = &range.pending {
            carry_on(planner, range, pending);
        }
    }
}

/// A transfer or a split leaves no trace in the descriptor until it is done, so the record of it counts.
fn carry_on(planner: &mut Planner<'_>, range: &RangeView, pending: &Operator) {
    if !pending.is_current(range, planner.view.now) {
        return;
    }
    match pending.steps.first() {
        Some(Step::TransferLeader { replica, store }) => {
            let Some(to) = range.descriptor.replica(*replica).filter(|r| r.role == Role::Voter).cloned() else { return };
            if to.store == *store && planner.view.takes_leaders(to.store, planner.limits()) {
                let weight = range.leader_weight();
                if planner.propose(pending.range, pending.reason, pending.steps.clone()) {
                    planner.layout.shift(Kind::Leaders, range.leader, Some(to.store), weight);
                }
            }
        }
        Some(step @ Step::Split { .. }) => {
            planner.propose(pending.range, pending.reason, vec![step.clone()]);
        }
        _ => {}
    }
}

/// True when the step's cost was counted as under way already.
pub(super) fn is_begun(range: &RangeView, step: &Step) -> bool {
    matches!(step, Step::AddLearner { store, .. } if range.descriptor.replica_on(*store).is_some())
}
