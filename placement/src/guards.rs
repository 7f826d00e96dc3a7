//! What every step must pass, whichever concern planned it.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_types::{RangeDescriptor, ReplicaDescriptor, ReplicaId, Role, SiteName, StoreId};

use crate::operator::{Influence, Step};
use crate::policy::{MoveLimits, Policy, SurvivalGoal};
use crate::view::{FleetView, RangeView};

/// Why a step is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The range has no leader with a lease that could carry it out.
    NoLeader,
    /// One half of the configuration would lack a live quorum.
    NoLiveQuorum,
    /// Two voters of one half would be in this site.
    Crowded(SiteName),
    /// The leader would have to stop being a voter, and no other voter can lead.
    LeaderCannotMove,
    /// The step does not fit the range as it is.
    Unfit,
    /// As much is moving already as the limits allow.
    Limit,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader => write!(f, "the range has no leader"),
            Self::NoLiveQuorum => write!(f, "a half would lack a live quorum"),
            Self::Crowded(site) => write!(f, "site {site} would have two voters"),
            Self::LeaderCannotMove => write!(f, "no other voter can lead"),
            Self::Unfit => write!(f, "the step does not fit the range"),
            Self::Limit => write!(f, "the limits of moving are reached"),
        }
    }
}

/// Checks all steps, in the order given, on every configuration that the range would pass through.
pub fn check(view: &FleetView, policy: &Policy, range: &RangeView, steps: &[Step]) -> Result<(), Refusal> {
    // Without a lease it may have been replaced already, and could not commit a change.
    if !range.leader_has_lease || !range.leader.is_some_and(|leader| view.is_alive(leader)) {
        return Err(Refusal::NoLeader);
    }
    let mut before = range.descriptor.clone();
    let mut leader = range.leader;
    for (i, step) in steps.iter().enumerate() {
        // A later step is taken when its learners have caught up, so they count as live if their store is.
        let is_live = |r: &ReplicaDescriptor| {
            let newcomer = i > 0 && range.descriptor.replica(r.replica).is_none_or(|now| now.role == Role::Learner);
            view.is_alive(r.store) && (newcomer || range.is_caught_up(r))
        };
        for shape in shapes(&before, step).ok_or(Refusal::Unfit)? {
            if policy.goal == SurvivalGoal::Site {
                not_more_crowded(&range.descriptor, &shape)?;
            }
            if !shape.is_quorum(is_live) {
                return Err(Refusal::NoLiveQuorum);
            }
            before = shape;
        }
        if let Step::TransferLeader { replica, store } = step {
            if !before.replica(*replica).is_some_and(is_live) {
                return Err(Refusal::Unfit);
            }
            leader = Some(*store);
        }
        let leads = |r: &ReplicaDescriptor| Some(r.store) == leader && r.role == Role::Voter;
        if !before.replicas.iter().any(leads) {
            return Err(Refusal::LeaderCannotMove);
        }
    }
    Ok(())
}

/// The configurations that a step leads through, the last one being where it ends; `None` when it does not fit.
#[must_use]
pub fn shapes(before: &RangeDescriptor, step: &Step) -> Option<Vec<RangeDescriptor>> {
    if before.is_joint() {
        return None;
    }
    let mut after = before.clone();
    match step {
        Step::AddLearner { store, site } => {
            if before.replica_on(*store).is_none() {
                let replica = after.next_replica;
                after.next_replica = replica.next();
                after.replicas.push(ReplicaDescriptor {
                    replica,
                    store: *store,
                    site: site.clone(),
                    role: Role::Learner,
                });
            }
            Some(vec![after])
        }
        Step::RemoveLearner { replica } => {
            (before.replica(*replica)?.role == Role::Learner).then_some(())?;
            after.replicas.retain(|r| r.replica != *replica);
            Some(vec![after])
        }
        Step::TransferLeader { replica, store } => {
            let to = before.replica(*replica)?;
            (to.role == Role::Voter && to.store == *store).then(|| vec![after])
        }
        Step::Split { .. } => Some(vec![after]),
        Step::PromoteAndDemote { promote, demote } => joint_shapes(before, promote, demote),
    }
}

fn joint_shapes(before: &RangeDescriptor, promote: &[ReplicaId], demote: &[ReplicaId]) -> Option<Vec<RangeDescriptor>> {
    let role = |id: &ReplicaId| before.replica(*id).map(|r| r.role);
    let fits = promote.iter().all(|id| role(id) == Some(Role::Learner))
        && demote.iter().all(|id| role(id) == Some(Role::Voter));
    if !fits {
        return None;
    }
    let change = |up: Role, down: Role| {
        let mut after = before.clone();
        for r in &mut after.replicas {
            if promote.contains(&r.replica) {
                r.role = up;
            } else if demote.contains(&r.replica) {
                r.role = down;
            }
        }
        after
    };
    Some(vec![change(Role::IncomingVoter, Role::OutgoingVoter), change(Role::Voter, Role::Learner)])
}

/// docs/replication.md#no-two-voters-in-one-site. A range that is crowded already (its goal was raised) may pass through shapes that are no more so.
fn not_more_crowded(now: &RangeDescriptor, shape: &RangeDescriptor) -> Result<(), Refusal> {
    match shape.crowded_site() {
        Some(site) if shape.surplus_voters() > now.surplus_voters() => Err(Refusal::Crowded(site.clone())),
        _ => Ok(()),
    }
}

/// What one plan may still move.
#[derive(Debug, Default)]
pub struct Budget {
    moves: Counters,
    transfers: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    stores: BTreeMap<StoreId, u32>,
    pairs: BTreeMap<(SiteName, SiteName), u32>,
}

impl Budget {
    /// Counts what is on its way, whatever the limits say.
    pub fn charge(&mut self, influence: &Influence) {
        let counters = if influence.leader_weight > 0 { &mut self.transfers } else { &mut self.moves };
        *counters.stores.entry(influence.to_store).or_default() += 1;
        let pair = (influence.from_site.clone(), influence.to_site.clone());
        *counters.pairs.entry(pair).or_default() += 1;
    }

    /// True when one more fits.
    #[must_use]
    pub fn has_room(&self, influence: &Influence, limits: &MoveLimits) -> bool {
        let (counters, per_store, per_pair) = if influence.leader_weight > 0 {
            (&self.transfers, limits.transfers_per_store, limits.transfers_per_site_pair)
        } else {
            (&self.moves, limits.moves_per_store, limits.moves_per_site_pair)
        };
        let pair = (influence.from_site.clone(), influence.to_site.clone());
        counters.stores.get(&influence.to_store).copied().unwrap_or(0) < per_store
            && counters.pairs.get(&pair).copied().unwrap_or(0) < per_pair
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{KeyRange, Moment, RangeId};

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    /// Stores 1, 2, 3 in sites a, b, c hold the voters; 4 in c and 5 in d have learners that have caught up.
    fn fleet() -> FleetView {
        let mut view = FleetView::new(Moment::ZERO);
        for (id, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "d")] {
            view = view.with_store(StoreId(id), site(name));
        }
        view = view.with_range(RangeId(10), KeyRange::all(), &[StoreId(1), StoreId(2), StoreId(3)]);
        let range = view.ranges.get_mut(&RangeId(10)).unwrap();
        for id in [4, 5] {
            let add = Step::AddLearner { store: StoreId(id), site: view.stores[&StoreId(id)].site.clone() };
            range.descriptor = shapes(&range.descriptor, &add).unwrap().remove(0);
            range.caught_up.insert(ReplicaId(id));
        }
        view
    }

    fn change(promote: &[u64], demote: &[u64]) -> Step {
        let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
        Step::PromoteAndDemote { promote: ids(promote), demote: ids(demote) }
    }

    fn ask(view: &FleetView, steps: &[Step]) -> Result<(), Refusal> {
        check(view, &Policy::default(), &view.ranges[&RangeId(10)], steps)
    }

    #[test]
    fn no_half_has_two_voters_in_a_site() {
        let view = fleet();
        assert_eq!(ask(&view, &[change(&[4], &[3])]), Ok(()), "one in each half");
        assert_eq!(ask(&view, &[change(&[4], &[2])]), Err(Refusal::Crowded(site("c"))));
        assert_eq!(ask(&view, &[change(&[4, 5], &[])]), Err(Refusal::Crowded(site("c"))));
        let store_goal = Policy { goal: SurvivalGoal::Store, ..Policy::default() };
        assert_eq!(check(&view, &store_goal, &view.ranges[&RangeId(10)], &[change(&[4], &[2])]), Ok(()));
    }

    #[test]
    fn no_half_lacks_a_live_quorum() {
        let mut view = fleet();
        view.stores.get_mut(&StoreId(3)).unwrap().alive = false;
        assert_eq!(ask(&view, &[change(&[5], &[3])]), Ok(()));
        assert_eq!(
            ask(&view, &[change(&[5], &[2])]),
            Ok(()),
            "a and d live in the incoming, a and b in the outgoing half"
        );
        view.ranges.get_mut(&RangeId(10)).unwrap().caught_up.remove(&ReplicaId(5));
        assert_eq!(
            ask(&view, &[change(&[5], &[2])]),
            Err(Refusal::NoLiveQuorum),
            "incoming: only a is live and caught up"
        );
        view.stores.get_mut(&StoreId(2)).unwrap().alive = false;
        assert_eq!(ask(&view, &[change(&[5], &[3])]), Err(Refusal::NoLiveQuorum), "outgoing: only a lives");
    }

    #[test]
    fn outgoing_half_needs_a_live_quorum_though_the_incoming_one_has_it() {
        let mut view = fleet();
        assert_eq!(ask(&view, &[change(&[4, 5], &[2, 3])]), Ok(()));
        for id in [2, 3] {
            view.stores.get_mut(&StoreId(id)).unwrap().alive = false;
        }
        assert_eq!(ask(&view, &[change(&[4, 5], &[2, 3])]), Err(Refusal::NoLiveQuorum), "of a, b and c only a lives");
    }

    #[test]
    fn leader_stays_a_voter_and_goes_only_to_one_that_can_lead() {
        let mut view = fleet();
        let transfer = |id| Step::TransferLeader { replica: ReplicaId(id), store: StoreId(id) };
        assert_eq!(ask(&view, &[change(&[5], &[1])]), Err(Refusal::LeaderCannotMove));
        assert_eq!(ask(&view, &[transfer(2), change(&[5], &[1])]), Ok(()));
        assert_eq!(ask(&view, &[transfer(5)]), Err(Refusal::Unfit), "a learner");
        view.ranges.get_mut(&RangeId(10)).unwrap().caught_up.remove(&ReplicaId(2));
        assert_eq!(ask(&view, &[transfer(2)]), Err(Refusal::Unfit), "it lags");
        view.ranges.get_mut(&RangeId(10)).unwrap().leader_has_lease = false;
        assert_eq!(ask(&view, &[transfer(3)]), Err(Refusal::NoLeader));
    }

    #[test]
    fn only_learners_are_removed() {
        let view = fleet();
        assert_eq!(ask(&view, &[Step::RemoveLearner { replica: ReplicaId(4) }]), Ok(()));
        assert_eq!(ask(&view, &[Step::RemoveLearner { replica: ReplicaId(2) }]), Err(Refusal::Unfit));
    }
}
