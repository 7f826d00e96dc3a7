//! Puts leaders where the policy prefers them, then where the capacity is.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{RangeId, ReplicaDescriptor, StoreId};

use super::Planner;
use crate::layout::{Kind, tie};
use crate::operator::{Reason, Step};
use crate::view::RangeView;

/// Preferences first, so that balancing sees what is left to decide.
pub(super) fn plan(planner: &mut Planner<'_>) {
    prefer(planner);
    balance(planner);
}

/// Ranges whose leader may move: settled ones, with a live quorum.
fn movable<'a>(planner: &Planner<'a>) -> Vec<(RangeId, &'a RangeView)> {
    let mut ranges = planner.free_ranges();
    ranges.retain(|(_, range)| {
        let live = |r: &ReplicaDescriptor| planner.view.is_alive(r.store) && range.is_caught_up(r);
        range.leader.is_some_and(|leader| planner.view.is_alive(leader))
            && range.leader_has_lease
            && range.learners().next().is_none()
            && range.descriptor.is_quorum(live)
    });
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

/// A transfer that the policy likes no less.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Transfer {
    cost: i128,
    tie: u64,
    range: RangeId,
    weight: u64,
    from: StoreId,
    to: ReplicaDescriptor,
}

impl Transfer {
    fn order(&self) -> (i128, u64) {
        (self.cost, self.tie)
    }
}

/// Takes the best transfer again and again, until none is worth it or the limits are reached.
///
/// The system range's leader stays where it is, and the others are balanced around it: the planner runs there and begins anew
/// wherever that leader goes, so a plan that moves it is never carried out to its end, and may be turned back by the next one.
///
/// A leadership that has just moved stays for a while: what it brings along is told by where it came from, and a load that changes
/// faster than it is measured would otherwise be run after.
fn balance(planner: &mut Planner<'_>) {
    let mut ranges = movable(planner);
    let (now, limits) = (planner.view.now, planner.limits());
    ranges.retain(|(id, range)| *id != RangeId::SYSTEM && !range.leader_just_moved(now, limits));
    let mut refused = BTreeSet::new();
    // Every turn of the loop claims a range or adds to `refused`.
    loop {
        let slopes = planner.layout.slopes(Kind::Leaders, planner.limits());
        if slopes.is_empty() {
            break;
        }
        let free = ranges.iter().filter(|(id, _)| !planner.claimed.contains(id));
        let all = free.flat_map(|(id, range)| transfers(planner, *id, range));
        let all: Vec<Transfer> = all.filter(|t| !refused.contains(&t.range) && has_room(planner, t)).collect();
        let worth = |t: &&Transfer| planner.layout.is_worth(t.cost, Kind::Leaders, t.weight, planner.limits());
        let single = all.iter().filter(worth).min_by_key(|t| t.order()).cloned();
        let chosen = match single {
            Some(single) => vec![single],
            None => best_chain(planner, &all, &slopes),
        };
        if chosen.is_empty() {
            break;
        }
        for transfer in chosen {
            if !planner.propose_leader(transfer.range, Reason::BalanceLeaders, &transfer.to) {
                planner.held.remove(&transfer.range);
                refused.insert(transfer.range);
                break;
            }
        }
    }
}

fn has_room(planner: &Planner<'_>, transfer: &Transfer) -> bool {
    let step = Step::TransferLeader { replica: transfer.to.replica, store: transfer.to.store };
    let influence = step.influence(&planner.view.ranges[&transfer.range]);
    influence.is_none_or(|influence| planner.budget.has_room(&influence, planner.limits()))
}

fn transfers<'p>(
    planner: &'p Planner<'_>,
    id: RangeId,
    range: &'p RangeView,
) -> impl Iterator<Item = Transfer> + use<'p> {
    let policy = planner.policy(range);
    let weight = range.leader_weight();
    let here = range.leader.zip(range.leader_site());
    here.into_iter().flat_map(move |(from, site)| {
        let rank = policy.leader_rank(site);
        let likes = move |r: &&ReplicaDescriptor| policy.leader_rank(&r.site) <= rank;
        planner.possible_leaders(range).filter(likes).map(move |to| Transfer {
            cost: planner.layout.cost(Kind::Leaders, Some(from), to.store, weight),
            tie: tie(id, to.store),
            range: id,
            weight,
            from,
            to: to.clone(),
        })
    })
}

/// Two stores of one site share no range when a site holds one voter of each, so leaders get from one to the other only by way
/// of a third store: it takes one and gives one. Should only the first be carried out, the second is worth it by itself.
fn best_chain(planner: &mut Planner<'_>, all: &[Transfer], slopes: &BTreeSet<(StoreId, StoreId)>) -> Vec<Transfer> {
    let mut best: BTreeMap<(StoreId, StoreId), &Transfer> = BTreeMap::new();
    for transfer in all {
        let entry = best.entry((transfer.from, transfer.to.store)).or_insert(transfer);
        if transfer.order() < entry.order() {
            *entry = transfer;
        }
    }
    let limits = planner.limits();
    let mut chains = Vec::new();
    for (source, target) in slopes {
        for middle in planner.view.stores.keys() {
            let Some((first, second)) = best.get(&(*source, *middle)).zip(best.get(&(*middle, *target))) else {
                continue;
            };
            let layout = &mut planner.layout;
            layout.shift(Kind::Leaders, Some(*source), Some(*middle), first.weight);
            let cost = first.cost + layout.cost(Kind::Leaders, Some(*middle), *target, second.weight);
            layout.shift(Kind::Leaders, Some(*middle), Some(*source), first.weight);
            if layout.is_worth(cost, Kind::Leaders, first.weight + second.weight, limits) {
                chains.push((cost, first.tie ^ second.tie, *first, *second));
            }
        }
    }
    let best = chains.into_iter().min_by_key(|(cost, tie, ..)| (*cost, *tie));
    best.map_or_else(Vec::new, |(_, _, first, second)| vec![first.clone(), second.clone()])
}
