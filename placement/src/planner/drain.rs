//! Takes the leaders from stores that are to be stopped. Their replicas stay: a store that is stopped for an upgrade comes back.

use super::Planner;
use crate::operator::Reason;

/// Every range that a draining store leads.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.free_ranges() {
        let Some(leader) = range.leader else { continue };
        if !planner.view.stores.get(&leader).is_some_and(|s| s.alive && s.draining) {
            continue;
        }
        match planner.best_leader(id, range, |_| true) {
            Some(to) => {
                planner.propose_leader(id, Reason::Drain, &to);
            }
            None => planner.hold(id, Reason::Drain, "no other voter can lead"),
        }
    }
}
