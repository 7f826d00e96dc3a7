//! Moves replicas to where the capacity is, within what the survival goal allows.

use std::collections::BTreeSet;

use holdfast_types::{RangeId, SiteName, StoreId};

use super::{Planner, swapped};
use crate::layout::{Kind, tie};
use crate::operator::Reason;
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
    loop {
        let free = ranges.iter().filter(|(id, _)| !planner.claimed.contains(id));
        let worth = |m: &Move, range: &RangeView| {
            planner.layout.is_worth(m.cost, Kind::Replicas, range.replica_weight(), planner.limits())
        };
        let best = free
            .flat_map(|(id, range)| moves(planner, *id, range).filter(move |m| worth(m, range)))
            .filter(|m| !refused.contains(&m.to))
            .min();
        let Some(best) = best else { break };
        let target = swapped(&planner.view.ranges[&best.range].voter_stores(), best.from, best.to);
        if !planner.propose_voters(best.range, Reason::BalanceReplicas, &target) {
            planner.held.remove(&best.range);
            refused.insert(best.to);
        }
    }
}

fn is_healthy(planner: &Planner<'_>, range: &RangeView) -> bool {
    let voters = range.voter_stores();
    voters.len() == planner.wanted_voters(range)
        && voters.len() > 1
        && range.learners().next().is_none()
        && range.descriptor.voters().all(|r| planner.view.is_alive(r.store) && range.is_caught_up(r))
}

/// All moves of one voter of the range that keep its spread.
pub(super) fn moves<'p>(
    planner: &'p Planner<'_>,
    id: RangeId,
    range: &'p RangeView,
) -> impl Iterator<Item = Move> + use<'p> {
    let voters: Vec<(StoreId, &SiteName)> = range.descriptor.voters().map(|r| (r.store, &r.site)).collect();
    let goal = planner.policy(range).goal;
    let weight = range.replica_weight();
    let targets = planner.view.stores.iter().filter(|(store, _)| planner.takes_replicas(**store));
    targets.flat_map(move |(to, seen)| {
        let voters = voters.clone();
        let here = voters.iter().any(|(store, _)| store == to);
        let sources = voters.clone().into_iter().filter(move |(from, from_site)| {
            let beside = |site: &SiteName| voters.iter().filter(|(s, other)| s != from && *other == site).count();
            let spread = match goal {
                SurvivalGoal::Site => beside(&seen.site) == 0,
                SurvivalGoal::Store => beside(&seen.site) <= beside(from_site),
            };
            !here && spread && planner.view.is_alive(*from)
        });
        sources.map(move |(from, _)| Move {
            cost: planner.layout.cost(Kind::Replicas, Some(from), *to, weight),
            moves_leader: range.leader == Some(from),
            tie: tie(id, *to),
            range: id,
            from,
            to: *to,
        })
    })
}
