//! Moves replicas to where the capacity is, within what the survival goal allows.

use std::collections::BTreeSet;

use holdfast_types::{RangeId, SiteName, StoreId};

use super::shortlist::Shortlist;
use super::{Planner, swapped};
use crate::layout::{Kind, Slopes, tie};
use crate::operator::{Reason, Step};
use crate::policy::SurvivalGoal;
use crate::view::RangeView;

/// A plan ends after so many moves that the guards refuse: they are refused for reasons that the next plan may find gone.
const MAX_REFUSED: usize = 16;
/// How often a plan looks among all ranges, because a move made it worth moving something between stores that were level before.
const MAX_SEARCHES: usize = 4;

/// A voter that could move; ordered by what it gains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Move {
    /// Negative when the layout gets better.
    pub cost: i128,
    /// The leader's replica needs a transfer first, so others go before it.
    moves_leader: bool,
    tie: u64,
    range: RangeId,
    /// The voter's store.
    pub from: StoreId,
    /// Where it would go.
    pub to: StoreId,
}

/// Takes the best move again and again, until none is worth its copy or the limits are reached.
pub(super) fn plan(planner: &mut Planner<'_>) {
    let mut shortlist = Shortlist::new(planner.view.stores.len());
    let (mut known, mut searches) = (Slopes::new(), 0);
    let mut refused = BTreeSet::new();
    // Every turn of the loop claims a range or adds to `refused`.
    while refused.len() < MAX_REFUSED {
        let slopes = planner.layout.slopes(Kind::Replicas, planner.limits());
        let unknown = without(&slopes, &known);
        if !unknown.is_empty() && searches < MAX_SEARCHES {
            searches += 1;
            search(planner, &unknown, &mut shortlist);
            unknown.into_iter().for_each(|(from, to)| known.entry(from).or_default().extend(to));
        }
        let Some(best) = best_move(planner, &slopes, &shortlist, &refused) else { break };
        let target = swapped(&planner.view.ranges[&best.range].voter_stores(), best.from, best.to);
        if !planner.propose_voters(best.range, Reason::BalanceReplicas, &target) {
            planner.held.remove(&best.range);
            refused.insert(best.range);
        }
    }
}

fn without(slopes: &Slopes, known: &Slopes) -> Slopes {
    let is_known = |from: &StoreId, to: &StoreId| known.get(from).is_some_and(|known| known.contains(to));
    let left = |(from, to): (&StoreId, &BTreeSet<StoreId>)| {
        (*from, to.iter().copied().filter(|to| !is_known(from, to)).collect::<BTreeSet<_>>())
    };
    slopes.iter().map(left).filter(|(_, to)| !to.is_empty()).collect()
}

/// Looks among all ranges for what could go down these slopes.
fn search(planner: &Planner<'_>, slopes: &Slopes, shortlist: &mut Shortlist<Move>) {
    for (id, range) in planner.free_ranges() {
        let slopes_of = |from| slopes.get(&from);
        let concerned = range.descriptor.voters().any(|r| slopes.contains_key(&r.store));
        if !concerned || !is_healthy(planner, range) || planner.held.contains_key(&id) {
            continue;
        }
        // A leader's replica goes only when another voter takes over.
        let has_heir = planner.possible_leaders(range).next().is_some();
        for found in moves(planner, id, range, slopes_of).into_iter().filter(|m| has_heir || !m.moves_leader) {
            shortlist.offer(found.from, found.to, found);
        }
    }
}

fn best_move(
    planner: &Planner<'_>,
    slopes: &Slopes,
    shortlist: &Shortlist<Move>,
    refused: &BTreeSet<RangeId>,
) -> Option<Move> {
    let mut best: Option<Move> = None;
    let pairs = slopes.iter().flat_map(|(from, to)| to.iter().map(|to| (*from, *to)));
    for found in pairs.flat_map(|(from, to)| shortlist.between(from, to)) {
        planner.looked();
        if planner.claimed.contains(&found.range) || refused.contains(&found.range) {
            continue;
        }
        let weight = planner.view.ranges[&found.range].replica_weight();
        let cost = planner.layout.cost(Kind::Replicas, Some(found.from), found.to, weight);
        let now = Move { cost, ..*found };
        if best.is_none_or(|best| now < best)
            && planner.layout.is_worth(cost, Kind::Replicas, weight, planner.limits())
            && has_room(planner, &now)
        {
            best = Some(now);
        }
    }
    best
}

fn has_room(planner: &Planner<'_>, best: &Move) -> bool {
    let Some(site) = planner.view.stores.get(&best.to).map(|s| s.site.clone()) else { return false };
    let influence = Step::AddLearner { store: best.to, site }.influence(&planner.view.ranges[&best.range]);
    influence.is_none_or(|influence| planner.budget.has_room(&influence, planner.limits()))
}

fn is_healthy(planner: &Planner<'_>, range: &RangeView) -> bool {
    let voters = range.descriptor.voters().count();
    voters == planner.wanted_voters(range)
        && range.leader_has_lease
        && voters > 1
        && range.learners().next().is_none()
        && range.descriptor.voters().all(|r| planner.view.is_alive(r.store) && range.is_caught_up(r))
}

/// All moves of one voter of the range that keep its spread, to stores that `targets` names for the voter's.
pub(super) fn moves<'t>(
    planner: &Planner<'_>,
    id: RangeId,
    range: &RangeView,
    targets: impl Fn(StoreId) -> Option<&'t BTreeSet<StoreId>>,
) -> Vec<Move> {
    let goal = planner.policy(range).goal;
    let weight = range.replica_weight();
    let mut moves = Vec::new();
    for voter in range.descriptor.voters().filter(|r| planner.view.is_alive(r.store)) {
        let beside = |site: &SiteName| {
            range.descriptor.voters().filter(|other| other.store != voter.store && other.site == *site).count()
        };
        for to in targets(voter.store).into_iter().flatten() {
            let Some(seen) = planner.view.stores.get(to) else { continue };
            let spread = match goal {
                SurvivalGoal::Site => beside(&seen.site) == 0,
                SurvivalGoal::Store => beside(&seen.site) <= beside(&voter.site),
            };
            let votes = range.descriptor.voters().any(|r| r.store == *to);
            if spread && !votes && planner.takes_replicas(*to) {
                moves.push(Move {
                    cost: planner.layout.cost(Kind::Replicas, Some(voter.store), *to, weight),
                    moves_leader: range.leader == Some(voter.store),
                    tie: tie(id, *to),
                    range: id,
                    from: voter.store,
                    to: *to,
                });
            }
        }
    }
    moves
}
