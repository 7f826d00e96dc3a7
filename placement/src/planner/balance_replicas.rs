//! Moves replicas to where the capacity is, within what the survival goal allows.

use std::collections::BTreeSet;

use holdfast_types::{RangeId, SiteName, StoreId};

use super::{Planner, swapped};
use crate::layout::{Kind, tie};
use crate::operator::{Reason, Step};
use crate::policy::SurvivalGoal;
use crate::view::RangeView;

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
    let mut ranges = planner.free_ranges();
    ranges.retain(|(id, range)| is_healthy(planner, range) && !planner.held.contains_key(id));
    let mut refused = BTreeSet::new();
    // Every turn of the loop claims a range or adds to `refused`.
    while let Some(best) = best_move(planner, &ranges, &refused) {
        let target = swapped(&planner.view.ranges[&best.range].voter_stores(), best.from, best.to);
        if !planner.propose_voters(best.range, Reason::BalanceReplicas, &target) {
            planner.held.remove(&best.range);
            refused.insert(best.range);
        }
    }
}

fn best_move(planner: &Planner<'_>, ranges: &[(RangeId, &RangeView)], refused: &BTreeSet<RangeId>) -> Option<Move> {
    let slopes = planner.layout.slopes(Kind::Replicas, planner.limits());
    if slopes.is_empty() {
        return None;
    }
    let free = ranges.iter().filter(|(id, _)| !planner.claimed.contains(id));
    let moves = free.flat_map(|(id, range)| {
        let weight = range.replica_weight();
        let mut moves = moves(planner, *id, range, |from, to| slopes.contains(&(from, to)));
        moves.retain(|m| planner.layout.is_worth(m.cost, Kind::Replicas, weight, planner.limits()));
        moves
    });
    moves.filter(|m| !refused.contains(&m.range) && has_room(planner, m)).min()
}

fn has_room(planner: &Planner<'_>, best: &Move) -> bool {
    let Some(site) = planner.view.stores.get(&best.to).map(|s| s.site.clone()) else { return false };
    let influence = Step::AddLearner { store: best.to, site }.influence(&planner.view.ranges[&best.range]);
    influence.is_none_or(|influence| planner.budget.has_room(&influence, planner.limits()))
}

fn is_healthy(planner: &Planner<'_>, range: &RangeView) -> bool {
    let voters = range.voter_stores();
    voters.len() == planner.wanted_voters(range)
        && range.leader_has_lease
        && voters.len() > 1
        && range.learners().next().is_none()
        && range.descriptor.voters().all(|r| planner.view.is_alive(r.store) && range.is_caught_up(r))
}

/// All moves of one voter of the range that keep its spread and go `along` the pairs of stores given.
pub(super) fn moves(
    planner: &Planner<'_>,
    id: RangeId,
    range: &RangeView,
    along: impl Fn(StoreId, StoreId) -> bool,
) -> Vec<Move> {
    let goal = planner.policy(range).goal;
    let weight = range.replica_weight();
    let mut moves = Vec::new();
    for voter in range.descriptor.voters().filter(|r| planner.view.is_alive(r.store)) {
        let beside = |site: &SiteName| {
            range.descriptor.voters().filter(|other| other.store != voter.store && other.site == *site).count()
        };
        for (to, seen) in planner.view.stores.iter().filter(|(to, _)| along(voter.store, **to)) {
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
