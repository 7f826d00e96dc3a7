//! Replaces damaged replicas, and voters on lost stores, where that is safe.
//!
//! A damaged replica will never be of use again, so it is replaced at once: by one on another store that has room, or else by a
//! new one on its own store, which is demoted and removed first. The range does not bear less meanwhile: a dead voter
//! counts for no quorum.
//!
//! A store is lost when it has been silent for the grace time. Nothing is copied while fewer sites (stores, when that is the
//! goal) live than the range has voters: the loss of a site is borne, not healed into a weaker shape.

use std::collections::BTreeSet;

use holdfast_types::RangeId;

use super::{Planner, swapped};
use crate::operator::{Reason, Step};
use crate::policy::SurvivalGoal;
use crate::view::RangeView;

/// One lost voter of a range at a time.
pub(super) fn plan(planner: &mut Planner<'_>) {
    for (id, range) in planner.unsettled() {
        if mend(planner, id, range) {
            continue;
        }
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

/// Gets rid of a damaged replica; false when there is none.
fn mend(planner: &mut Planner<'_>, id: RangeId, range: &RangeView) -> bool {
    if let Some(learner) = range.learners().find(|r| range.is_damaged(r)) {
        planner.propose(id, Reason::Repair, vec![Step::RemoveLearner { replica: learner.replica }]);
        return true;
    }
    let Some(voter) = range.descriptor.voters().find(|r| range.is_damaged(r)) else { return false };
    let voters = range.voter_stores();
    let mut target: BTreeSet<_> = voters.iter().copied().filter(|store| *store != voter.store).collect();
    // One too many needs no successor; and on its own store there can be one only when this one is gone.
    if voters.len() <= planner.policy(range).voters() {
        target.extend(planner.best_store(id, range, &target, Some(&voter.site)));
    }
    planner.propose_voters(id, Reason::Repair, &target);
    true
}

fn replace(planner: &mut Planner<'_>, id: RangeId, range: &RangeView, lost: holdfast_types::StoreId) {
    if !planner.may_copy(id, range, Reason::Repair) {
        return;
    }
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
        SurvivalGoal::Site => (planner.live_sites, "sites"),
        SurvivalGoal::Store => (planner.live_stores, "stores"),
    };
    (live < wanted).then(|| format!("{live} {what} live, {wanted} are needed"))
}
