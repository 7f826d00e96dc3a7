//! Puts leaders where the policy prefers them, then where the capacity is.

use std::collections::BTreeSet;

use holdfast_types::{RangeId, ReplicaDescriptor, StoreId};

use super::Planner;
use crate::layout::{Kind, tie};
use crate::operator::Reason;
use crate::view::RangeView;

/// Preferences first, so that balancing sees what is left to decide.
pub(super) fn plan(planner: &mut Planner<'_>) {
    prefer(planner);
    balance(planner);
}

/// Ranges whose leader may move: settled ones, led by a live store.
fn movable<'a>(planner: &Planner<'a>) -> Vec<(RangeId, &'a RangeView)> {
    let mut ranges = planner.free_ranges();
    ranges.retain(|(_, r)| r.leader.is_some_and(|s| planner.view.is_alive(s)) && r.learners().next().is_none());
    ranges
}

fn prefer(planner: &mut Planner<'_>) {
    for (id, range) in movable(planner) {
        let policy = planner.policy(range);
        let Some(here) = range.leader_site().map(|site| policy.leader_rank(site)) else { continue };
        if let Some(to) = planner.best_leader(id, range, |r| policy.leader_rank(&r.site) < here)
            && !planner.propose_leader(id, Reason::LeaderPreference, &to)
        {
            planner.held.remove(&id);
        }
    }
}

/// Takes the best transfer again and again, until none is worth it or the limits are reached.
fn balance(planner: &mut Planner<'_>) {
    let ranges = movable(planner);
    let mut refused = BTreeSet::new();
    // Every turn of the loop claims a range or adds to `refused`.
    loop {
        let slopes = planner.layout.slopes(Kind::Leaders, planner.limits());
        if slopes.is_empty() {
            break;
        }
        let free = ranges.iter().filter(|(id, _)| !planner.claimed.contains(id));
        let best = free
            .flat_map(|(id, range)| transfers(planner, *id, range, &slopes))
            .filter(|(_, _, id, to)| !refused.contains(&(*id, to.store)))
            .min_by_key(|(cost, tie, ..)| (*cost, *tie));
        let Some((_, _, id, to)) = best else { break };
        if !planner.propose_leader(id, Reason::BalanceLeaders, &to) {
            planner.held.remove(&id);
            refused.insert((id, to.store));
        }
    }
}

type Transfer = (i128, u64, RangeId, ReplicaDescriptor);

/// Transfers that are worth it and that the policy likes no less.
fn transfers(
    planner: &Planner<'_>,
    id: RangeId,
    range: &RangeView,
    slopes: &BTreeSet<(StoreId, StoreId)>,
) -> Vec<Transfer> {
    let policy = planner.policy(range);
    let Some((leader, site)) = range.leader.zip(range.leader_site()) else { return Vec::new() };
    let rank = policy.leader_rank(site);
    let weight = range.leader_weight();
    planner
        .possible_leaders(range)
        .filter(|r| slopes.contains(&(leader, r.store)) && policy.leader_rank(&r.site) <= rank)
        .map(|r| (planner.layout.cost(Kind::Leaders, range.leader, r.store, weight), tie(id, r.store), id, r.clone()))
        .filter(|(cost, ..)| planner.layout.is_worth(*cost, Kind::Leaders, weight, planner.limits()))
        .collect()
}
