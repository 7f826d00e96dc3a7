//! Empties stores: of leaders those that are to be stopped (a store that is stopped for an upgrade comes back, so its replicas
//! stay), of everything those that leave the fleet.
//!
//! A replica leaves as any other moves: its replacement is copied and has caught up before it takes its place, in one joint change.
//! Nothing waits here for a store that leaves and falls silent: it is not coming back for good.

use holdfast_types::{RangeId, StoreId};

use super::{Planner, swapped};
use crate::operator::Reason;
use crate::view::RangeView;

/// Leaders first, so that a store that is emptied soon serves nobody. Learners are [`super::tidy`]'s.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.unsettled() {
        if hand_over(planner, id, range) {
            continue;
        }
        if let Some(out) = next_to_leave(planner, range) {
            replace(planner, id, range, out);
        }
    }
}

/// Takes the leadership from a store that is to lead nothing. False: nothing is planned.
fn hand_over(planner: &mut Planner<'_>, id: RangeId, range: &RangeView) -> bool {
    let leads = |leader| planner.view.stores.get(&leader).is_some_and(|s| s.alive && (s.draining || s.leaving));
    if !range.leader.is_some_and(leads) {
        return false;
    }
    match planner.best_leader(id, range, |_| true) {
        Some(to) => planner.propose_leader(id, Reason::Drain, &to),
        None => {
            planner.hold(id, Reason::Drain, "no other voter can lead");
            false
        }
    }
}

/// The store of a voter that is to go, the leader's last.
fn next_to_leave(planner: &Planner<'_>, range: &RangeView) -> Option<StoreId> {
    let leaving = range.descriptor.voters().map(|r| r.store).filter(|store| planner.view.is_leaving(*store));
    leaving.min_by_key(|store| (range.leader == Some(*store), *store))
}

fn replace(planner: &mut Planner<'_>, id: RangeId, range: &RangeView, out: StoreId) {
    if !planner.may_copy(id, range, Reason::Drain) {
        return;
    }
    let voters = range.voter_stores();
    let near = range.descriptor.replica_on(out).map(|r| r.site.clone());
    let alone = voters.len() == 1;
    // The only voter leads, and a leader is not demoted: it gets a second one, which takes over.
    let others = voters.iter().copied().filter(|store| alone || *store != out).collect();
    match planner.best_store(id, range, &others, near.as_ref()) {
        Some(store) if alone => {
            planner.propose_voters(id, Reason::Drain, &voters.iter().copied().chain([store]).collect());
        }
        Some(store) => {
            planner.propose_voters(id, Reason::Drain, &swapped(&voters, out, store));
        }
        None => planner.hold(id, Reason::Drain, format!("no store that stays can take the place of {out}")),
    }
}
