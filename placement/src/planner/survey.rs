//! The one look at every range with which each plan begins.
//!
//! In a fleet of a hundred thousand ranges next to all of them are as they should be, and a plan is made every few seconds. So this
//! finds those that are not: the concerns up to [`super::tidy`] look at these alone. Loads are added up on the way, and what could be
//! split is noted. Balancing looks at the others once more, and only when stores differ by enough for anything to be worth moving.

use std::collections::BTreeSet;

use holdfast_types::{RangeId, Role, SiteName, StoreId};

use super::{Planner, split};
use crate::operator::SplitPoint;
use crate::policy::{MoveLimits, SurvivalGoal};
use crate::view::{FleetView, RangeView};

/// Where replicas may go, found once for all ranges.
#[derive(Default)]
pub(super) struct Open<'a> {
    pub sites: BTreeSet<&'a SiteName>,
    pub stores: BTreeSet<StoreId>,
}

impl<'a> Open<'a> {
    /// The stores that `takes` lets in.
    pub fn of(view: &'a FleetView, takes: impl Fn(StoreId) -> bool) -> Self {
        let open = view.stores.iter().filter(|(id, _)| takes(**id));
        let (sites, stores) = open.map(|(id, store)| (&store.site, *id)).unzip();
        Self { sites, stores }
    }
}

/// What the survey found.
#[derive(Default)]
pub(super) struct Survey<'a> {
    /// Ranges with which one of the concerns up to [`super::tidy`] may have something to do.
    pub unsettled: Vec<(RangeId, &'a RangeView)>,
    /// Ranges that should be split, and where.
    pub splits: Vec<(RangeId, SplitPoint)>,
}

/// Stores that make work for the ranges on them.
struct Stores {
    /// Voters stay on these: they are members, not lost, and do not leave.
    kept: BTreeSet<StoreId>,
    /// These are to lead nothing.
    shedding: BTreeSet<StoreId>,
}

impl Stores {
    fn of(view: &FleetView, limits: &MoveLimits) -> Self {
        let ids = || view.stores.keys().copied();
        let kept = ids().filter(|id| !view.is_lost(*id, limits) && !view.is_leaving(*id)).collect();
        let sheds = |id: &StoreId| view.stores.get(id).is_some_and(|s| s.alive && (s.draining || s.leaving));
        Self { kept, shedding: ids().filter(sheds).collect() }
    }
}

/// Looks at every range.
pub(super) fn look<'a>(planner: &mut Planner<'a>) -> Survey<'a> {
    let view = planner.view;
    let stores = Stores::of(view, planner.limits());
    let bounds = split::keyspace_bounds(planner.policies);
    let mut survey = Survey::default();
    for (id, range) in &view.ranges {
        planner.looked();
        planner.layout.count(range);
        if !is_settled(planner, &stores, range) {
            survey.unsettled.push((*id, range));
        }
        if let Some(at) = split::split_point(planner.policy(range), &bounds, range) {
            survey.splits.push((*id, at));
        }
    }
    survey
}

/// True when no concern up to [`super::tidy`] would do anything about the range, nor hold it.
fn is_settled(planner: &Planner<'_>, stores: &Stores, range: &RangeView) -> bool {
    let descriptor = &range.descriptor;
    range.pending.is_none()
        && range.damaged.is_empty()
        && descriptor.replicas.iter().all(|r| r.role == Role::Voter && stores.kept.contains(&r.store))
        && !range.leader.is_some_and(|leader| stores.shedding.contains(&leader))
        && descriptor.replicas.len() == planner.wanted_voters(range)
        && (planner.policy(range).goal == SurvivalGoal::Store || descriptor.crowded_site().is_none())
}
