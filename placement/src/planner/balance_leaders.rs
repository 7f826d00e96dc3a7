//! Puts leaders where the policy prefers them, then where the capacity is.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{RangeId, ReplicaDescriptor, StoreId};

use super::Planner;
use super::shortlist::Shortlist;
use crate::layout::{Kind, Slopes, tie};
use crate::operator::{Reason, Step};
use crate::view::RangeView;

/// A plan ends after so many transfers that the guards refuse: they are refused for reasons that the next plan may find gone.
const MAX_REFUSED: usize = 16;

/// Preferences first, so that balancing sees what is left to decide.
pub(super) fn plan(planner: &mut Planner<'_>) {
    prefer(planner);
    balance(planner);
}

/// True when the range's leader may move: it is settled, with a live quorum.
fn is_movable(planner: &Planner<'_>, range: &RangeView) -> bool {
    let live = |r: &ReplicaDescriptor| planner.view.is_alive(r.store) && range.is_caught_up(r);
    range.leader.is_some_and(|leader| planner.view.is_alive(leader))
        && range.leader_has_lease
        && range.learners().next().is_none()
        && range.descriptor.is_quorum(live)
}

fn prefer(planner: &mut Planner<'_>) {
    let policies = planner.policies;
    let mut all = [&policies.system, &policies.default].into_iter().chain(policies.keyspaces.values());
    if all.all(|policy| policy.leader_preference.is_empty()) {
        return;
    }
    let elsewhere: Vec<_> = planner.free_ranges().filter(|(_, range)| rank_here(planner, range) > Some(0)).collect();
    for (id, range) in elsewhere {
        let policy = planner.policy(range);
        let Some(here) = rank_here(planner, range).filter(|_| is_movable(planner, range)) else { continue };
        if let Some(to) = planner.best_leader(id, range, |r| policy.leader_rank(&r.site) < here)
            && !planner.propose_leader(id, Reason::LeaderPreference, &to)
        {
            planner.held.remove(&id);
        }
    }
}

/// How much the policy likes the leader where it is.
fn rank_here(planner: &Planner<'_>, range: &RangeView) -> Option<usize> {
    range.leader_site().map(|site| planner.policy(range).leader_rank(site))
}

/// A transfer that the policy likes no less; the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Transfer {
    cost: i128,
    tie: u64,
    range: RangeId,
    weight: u64,
    from: StoreId,
    to: StoreId,
}

/// Takes the best transfer again and again, until none is worth it or the limits are reached.
///
/// The system range's leader stays where it is, and the others are balanced around it: the planner runs there and begins anew
/// wherever that leader goes, so a plan that moves it is never carried out to its end, and may be turned back by the next one.
///
/// A leadership that has just moved stays for a while: what it brings along is told by where it came from, and a load that changes
/// faster than it is measured would otherwise be run after.
fn balance(planner: &mut Planner<'_>) {
    let mut slopes = planner.layout.slopes(Kind::Leaders, planner.limits());
    if slopes.is_empty() {
        return;
    }
    let shortlist = search(planner);
    let mut refused = BTreeSet::new();
    // Every turn of the loop claims a range or adds to `refused`.
    while !slopes.is_empty() && refused.len() < MAX_REFUSED {
        let (single, best) = judge(planner, &shortlist, &refused);
        let chosen = match single {
            Some(single) => vec![single],
            None => best_chain(planner, &best, &slopes),
        };
        if chosen.is_empty() {
            break;
        }
        for transfer in chosen {
            if !propose(planner, transfer) {
                planner.held.remove(&transfer.range);
                refused.insert(transfer.range);
                break;
            }
        }
        slopes = planner.layout.slopes(Kind::Leaders, planner.limits());
    }
}

fn propose(planner: &mut Planner<'_>, transfer: Transfer) -> bool {
    let to = planner.view.ranges[&transfer.range].descriptor.replica_on(transfer.to);
    to.is_some_and(|to| planner.propose_leader(transfer.range, Reason::BalanceLeaders, to))
}

/// Looks among all ranges for leaders that could go elsewhere.
fn search(planner: &Planner<'_>) -> Shortlist<Transfer> {
    let mut shortlist = Shortlist::new(planner.view.stores.len());
    let (now, limits) = (planner.view.now, planner.limits());
    for (id, range) in planner.free_ranges() {
        if id != RangeId::SYSTEM && !range.leader_just_moved(now, limits) && is_movable(planner, range) {
            transfers(planner, id, range).for_each(|found| shortlist.offer(found.from, found.to, found));
        }
    }
    shortlist
}

/// By the store that gives, then by the one that gets: the best transfer for which there is room.
type BestOfPairs = BTreeMap<StoreId, BTreeMap<StoreId, Transfer>>;

/// What the shortlist is worth now: the best transfer that is worth making by itself, and the best of each pair of stores.
fn judge(
    planner: &Planner<'_>,
    shortlist: &Shortlist<Transfer>,
    refused: &BTreeSet<RangeId>,
) -> (Option<Transfer>, BestOfPairs) {
    let (mut single, mut best): (Option<Transfer>, _) = (None, BestOfPairs::new());
    for ((from, to), kept) in shortlist.pairs() {
        let mut of_pair: Option<Transfer> = None;
        for known in kept {
            planner.looked();
            if planner.claimed.contains(&known.range) || refused.contains(&known.range) {
                continue;
            }
            let cost = planner.layout.cost(Kind::Leaders, Some(from), to, known.weight);
            let now = Transfer { cost, ..*known };
            let is_best = of_pair.is_none_or(|best| now < best);
            let is_single = single.is_none_or(|best| now < best)
                && planner.layout.is_worth(cost, Kind::Leaders, now.weight, planner.limits());
            if (is_best || is_single) && has_room(planner, &now) {
                of_pair = if is_best { Some(now) } else { of_pair };
                single = if is_single { Some(now) } else { single };
            }
        }
        if let Some(found) = of_pair {
            best.entry(from).or_default().insert(to, found);
        }
    }
    (single, best)
}

fn has_room(planner: &Planner<'_>, transfer: &Transfer) -> bool {
    let range = &planner.view.ranges[&transfer.range];
    let Some(to) = range.descriptor.replica_on(transfer.to) else { return false };
    let step = Step::TransferLeader { replica: to.replica, store: to.store };
    step.influence(range).is_none_or(|influence| planner.budget.has_room(&influence, planner.limits()))
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
            to: to.store,
        })
    })
}

/// Two stores of one site share no range when a site holds one voter of each, so leaders get from one to the other only by way
/// of a third store: it takes one and gives one. Should only the first be carried out, the second is worth it by itself.
fn best_chain(planner: &mut Planner<'_>, best: &BestOfPairs, slopes: &Slopes) -> Vec<Transfer> {
    let limits = planner.limits();
    let mut chains = Vec::new();
    for (source, targets) in slopes {
        for (middle, first) in best.get(source).into_iter().flatten() {
            let layout = &mut planner.layout;
            layout.shift(Kind::Leaders, Some(*source), Some(*middle), first.weight);
            for second in best.get(middle).into_iter().flat_map(|to| to.values()).filter(|t| targets.contains(&t.to)) {
                let cost = first.cost + layout.cost(Kind::Leaders, Some(*middle), second.to, second.weight);
                if layout.is_worth(cost, Kind::Leaders, first.weight + second.weight, limits) {
                    chains.push((cost, first.tie ^ second.tie, *source, second.to, *middle, *first, *second));
                }
            }
            layout.shift(Kind::Leaders, Some(*middle), Some(*source), first.weight);
        }
    }
    let best = chains.into_iter().min();
    best.map_or_else(Vec::new, |(.., first, second)| vec![first, second])
}
