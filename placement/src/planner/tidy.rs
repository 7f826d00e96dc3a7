//! Learners that neither repair nor spread wants: either a balancing move is half done and still good, or they go.

use std::collections::BTreeSet;

use holdfast_types::RangeId;

use super::{Planner, balance_replicas, swapped};
use crate::operator::Reason;
use crate::view::RangeView;

/// Finishes or ends what is half done.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.unsettled() {
        // A learner whose store is away for a moment may be as good as copied, unless that store is to hold none.
        let (view, limits) = (planner.view, planner.limits());
        let away = |s| !view.is_alive(s) && !view.is_lost(s, limits) && !view.is_leaving(s);
        let waits = planner.waiting.contains(&id) || range.learners().any(|r| away(r.store));
        if range.learners().next().is_some() && !waits && !finish(planner, id, range) {
            let voters = range.voter_stores();
            planner.propose_voters(id, Reason::Tidy, &voters);
        }
    }
}

/// A begun move goes on while it gains anything at all: less than what it takes to begin one, so that it is not dropped for noise.
///
/// Only learners that are newer than every voter are arriving. One that is older was a voter and has been replaced: it goes, whatever it
/// would gain to turn back. Ranges are planned as if all of their steps were taken at once, which they are not, and so two of them might
/// take turns in finding each other's last step worth undoing.
fn finish(planner: &mut Planner<'_>, id: RangeId, range: &RangeView) -> bool {
    let newest = range.descriptor.voters().map(|r| r.replica).max();
    let learners: BTreeSet<_> = range.learners().filter(|r| Some(r.replica) > newest).map(|r| r.store).collect();
    let best = balance_replicas::moves(planner, id, range, |_| Some(&learners)).into_iter().min();
    match best {
        Some(best) if best.cost < -4 => {
            let target = swapped(&range.voter_stores(), best.from, best.to);
            planner.propose_voters(id, Reason::BalanceReplicas, &target)
        }
        _ => false,
    }
}
