//! What is under way: joint configurations, copies, and transfers and splits that were asked for a moment ago.

use holdfast_types::Role;

use super::Planner;
use crate::layout::Kind;
use crate::operator::{Operator, Step};
use crate::view::RangeView;

/// Claims ranges that are not to be touched, and counts what moves already.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.unsettled() {
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
            let Some(to) = range.descriptor.replica(*replica).filter(|r| r.role == Role::Voter).cloned() else {
                return;
            };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use holdfast_types::{KeyRange, Moment, RangeId, ReplicaId, SiteName, StoreId};

    use crate::operator::{Operator, Reason, SplitPoint, Step};
    use crate::planner::plan;
    use crate::policy::Policies;
    use crate::view::FleetView;

    const RANGE: RangeId = RangeId(10);

    /// One balanced range, with an operator pending.
    fn fleet(step: Step) -> FleetView {
        let mut view = FleetView::new(Moment(5_000_000));
        for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
            view = view.with_store(StoreId(id), SiteName::new(name).unwrap());
        }
        view = view.with_range(RANGE, KeyRange { start: bound(), end: None }, &[StoreId(1), StoreId(2), StoreId(3)]);
        let range = view.ranges.get_mut(&RANGE).unwrap();
        let (epoch, planned_at) = (range.descriptor.epoch, view.now);
        let pending = Operator { range: RANGE, epoch, planned_at, reason: Reason::BalanceLeaders, steps: vec![step] };
        range.pending = Some(pending);
        view
    }

    fn bound() -> holdfast_types::Key {
        holdfast_types::Key::bound(holdfast_types::KeyspaceId::DEFAULT, b"")
    }

    fn transfer() -> Step {
        Step::TransferLeader { replica: ReplicaId(2), store: StoreId(2) }
    }

    #[test]
    fn pending_transfer_is_carried_on_until_it_is_done_or_timed_out() {
        let mut view = fleet(transfer());
        let pending = view.ranges[&RANGE].pending.clone().unwrap();
        view.now = view.now.after(Duration::from_secs(9));
        assert_eq!(plan(&view, &Policies::default()), vec![pending], "with the moment it was planned first");

        let mut done = view.clone();
        done.ranges.get_mut(&RANGE).unwrap().leader = Some(StoreId(2));
        assert_eq!(plan(&done, &Policies::default()), vec![]);

        view.now = view.now.after(Duration::from_secs(2));
        assert_eq!(plan(&view, &Policies::default()), vec![], "there was no reason for it but itself");
    }

    #[test]
    fn pending_transfer_is_dropped_when_its_store_cannot_lead() {
        let mut view = fleet(transfer());
        view.stores.get_mut(&StoreId(2)).unwrap().disk_ok = false;
        assert_eq!(plan(&view, &Policies::default()), vec![]);
    }

    #[test]
    fn pending_split_is_done_when_the_bounds_change() {
        let mut view = fleet(Step::Split { at: SplitPoint::Middle });
        assert_eq!(plan(&view, &Policies::default()).len(), 1);
        view.ranges.get_mut(&RANGE).unwrap().descriptor.epoch.bounds += 1;
        assert_eq!(plan(&view, &Policies::default()), vec![]);
    }
}
