//! Replaces voters on lost stores, where that is safe.
//!
//! A store is lost when it has been silent for the grace time. Nothing is copied while fewer sites (stores, when that is the
//! goal) live than the range has voters: the loss of a site is borne, not healed into a weaker shape.

use holdfast_types::RangeId;

use super::{Planner, swapped};
use crate::operator::Reason;
use crate::policy::SurvivalGoal;
use crate::view::RangeView;

/// One lost voter of a range at a time.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.free_ranges() {
        let voters = range.voter_stores();
        let mut lost = range.descriptor.voters().filter(|r| planner.view.is_lost(r.store, planner.limits()));
        let Some(lost) = lost.next() else { continue };
        if voters.len() > planner.policy(range).voters() {
            // It is to have fewer voters anyway; spread takes the lost one first.
            continue;
        }
        if let Some(why) = too_few_places(planner, range) {
            planner.hold(id, Reason::Repair, why);
            planner.waiting.insert(id);
            continue;
        }
        replace(planner, id, range, lost.store);
    }
}

fn replace(planner: &mut Planner<'_>, id: RangeId, range: &RangeView, lost: holdfast_types::StoreId) {
    let voters = range.voter_stores();
    let others = voters.iter().copied().filter(|s| *s != lost).collect();
    let near = range.descriptor.replica_on(lost).map(|r| r.site.clone());
    match planner.best_store(id, range, &others, near.as_ref()) {
        Some(store) => {
            planner.propose_voters(id, Reason::Repair, &swapped(&voters, lost, store));
        }
        None => planner.hold(id, Reason::Repair, format!("no store can take the place of {lost}")),
    }
}

fn too_few_places(planner: &Planner<'_>, range: &RangeView) -> Option<String> {
    let wanted = planner.policy(range).voters().min(range.descriptor.voters().count());
    let (live, what) = match planner.policy(range).goal {
        SurvivalGoal::Site => (planner.view.live_sites().len(), "sites"),
        SurvivalGoal::Store => (planner.view.stores.values().filter(|s| s.alive).count(), "stores"),
    };
    (live < wanted).then(|| format!("{live} {what} live, {wanted} are needed"))
}
