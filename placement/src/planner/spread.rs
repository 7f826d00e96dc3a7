//! Gives ranges the voters that their policy wants as stores and sites join, takes surplus voters, and parts voters that share a
//! site.

use std::collections::BTreeSet;

use holdfast_types::{RangeId, ReplicaDescriptor, SiteName, StoreId};

use super::{Planner, swapped};
use crate::layout::Kind;
use crate::operator::Reason;
use crate::policy::SurvivalGoal;
use crate::view::RangeView;

/// One kind of change of a range at a time: grow, shrink, part.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.unsettled() {
        let voters = range.voter_stores();
        let wanted = planner.wanted_voters(range);
        if voters.len() < wanted {
            grow(planner, id, range, wanted);
        } else if voters.len() > wanted {
            let target = shrunk(planner, range, wanted);
            planner.propose_voters(id, Reason::Spread, &target);
        } else if planner.policy(range).goal == SurvivalGoal::Site {
            part(planner, id, range);
        }
    }
}

/// All new voters come in one joint change, so that their number is never even.
fn grow(planner: &mut Planner<'_>, id: RangeId, range: &RangeView, wanted: usize) {
    if !planner.may_copy(id, range, Reason::Spread) {
        return;
    }
    let mut target = range.voter_stores();
    while target.len() < wanted {
        let Some(store) = planner.best_store(id, range, &target, None) else {
            planner.hold(id, Reason::Spread, format!("{} voters of {wanted} have a place", target.len()));
            return;
        };
        target.insert(store);
    }
    planner.propose_voters(id, Reason::Spread, &target);
}

/// Who goes first: voters on lost and silent stores, those that share a site, those on stores that take no replicas, then
/// whoever costs most, but the leader.
fn shrunk(planner: &Planner<'_>, range: &RangeView, wanted: usize) -> BTreeSet<StoreId> {
    let mut target = range.voter_stores();
    let weight = range.replica_weight();
    while target.len() > wanted {
        let left: Vec<&ReplicaDescriptor> = range.descriptor.voters().filter(|r| target.contains(&r.store)).collect();
        let shares = |r: &ReplicaDescriptor| left.iter().filter(|other| other.site == r.site).count() > 1;
        let key = |r: &&&ReplicaDescriptor| {
            (
                !planner.view.is_lost(r.store, planner.limits()),
                planner.view.is_alive(r.store),
                !shares(r),
                planner.takes_replicas(r.store),
                range.leader == Some(r.store),
                -planner.layout.cost(Kind::Replicas, None, r.store, weight),
            )
        };
        let Some(out) = left.iter().min_by_key(key).map(|r| r.store) else { break };
        target.remove(&out);
    }
    target
}

/// Moves one of two voters that share a site, when another site has room. Their shape is reported until then.
fn part(planner: &mut Planner<'_>, id: RangeId, range: &RangeView) {
    let Some(site): Option<SiteName> = range.descriptor.crowded_site().cloned() else { return };
    let voters = range.voter_stores();
    let mut movable = range.descriptor.voters().filter(|r| r.site == site && range.leader != Some(r.store));
    let Some(out) = movable.next() else { return };
    if !planner.may_copy(id, range, Reason::Spread) {
        return;
    }
    let others = voters.iter().copied().filter(|s| *s != out.store).collect();
    match planner.best_store(id, range, &others, None) {
        Some(store) => {
            planner.propose_voters(id, Reason::Spread, &swapped(&voters, out.store, store));
        }
        None => planner.hold(id, Reason::Spread, format!("site {site} has two voters, and no other site has room")),
    }
}
