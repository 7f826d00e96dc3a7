//! Stores that an operator had the fleet forget: they get nothing any more.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use std::time::Duration;

use fleet::{Fleet, REST, store};
use holdfast_placement::{MoveLimits, Policies};
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::{RangeDescriptor, RangeId, Rejected, StoreId};

/// All workers of all stores have heard of a change of the records by then.
const HEARD_MS: u64 = 5_000;

/// Four stores, one a site, whose lost ones are replaced after a time; and the one without a replica of the range.
fn four_stores(replace_after: Duration) -> (Fleet, StoreId) {
    let mut fleet = Fleet::new(4, 2);
    let limits = MoveLimits { replace_after, ..MoveLimits::default() };
    fleet.set_policies(&Policies { limits, ..Policies::default() });
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    let spare = (1..=4).map(store).find(|id| descriptor(&fleet).replica_on(*id).is_none()).unwrap();
    (fleet, spare)
}

fn descriptor(fleet: &Fleet) -> RangeDescriptor {
    let leader = fleet.leader(REST).unwrap();
    fleet.standing(leader, REST).unwrap().descriptor.clone()
}

/// A store with a voter of the range that does not lead it.
fn follower(fleet: &Fleet) -> StoreId {
    let leader = fleet.leader(REST);
    descriptor(fleet).voters().map(|voter| voter.store).find(|id| Some(*id) != leader).unwrap()
}

fn change(fleet: &mut Fleet, change: MembershipChange) -> Result<RangeDescriptor, Rejected> {
    let leader = fleet.leader(REST).unwrap();
    fleet.admin(leader, REST, AdminRequest::ChangeMembership(change)).map(|done| done.descriptor)
}

fn add_learner(fleet: &mut Fleet, to: StoreId) -> Result<RangeDescriptor, Rejected> {
    let site = fleet.site(to);
    change(fleet, MembershipChange::AddLearner { store: to, site })
}

fn assert_refused(outcome: Result<RangeDescriptor, Rejected>) {
    assert!(matches!(&outcome, Err(Rejected::Invalid(why)) if why.contains("forgotten")), "{outcome:?}");
}

#[test]
fn a_forgotten_store_gets_no_replica_though_it_reports() {
    let (mut fleet, spare) = four_stores(Duration::from_secs(3));
    fleet.forget(spare);
    fleet.run(HEARD_MS);
    assert_refused(add_learner(&mut fleet, spare));
    // It alone could take the place of the lost one, and nothing keeps its reports out here.
    let lost = follower(&fleet);
    fleet.crash(lost);
    fleet.run(15_000);
    assert!(descriptor(&fleet).replica_on(spare).is_none());
}

#[test]
fn a_learner_on_a_forgotten_store_is_not_promoted() {
    let (mut fleet, spare) = four_stores(Duration::from_secs(600));
    let learner = add_learner(&mut fleet, spare).unwrap().replica_on(spare).unwrap().replica;
    // Placement leaves a learner alone whose store is away for a moment.
    for id in (1..=4).map(store).filter(|id| *id != spare) {
        fleet.cut.extend([(id, spare), (spare, id)]);
    }
    fleet.hears_forgotten(fleet.leader(REST).unwrap(), REST, spare);
    assert_refused(change(&mut fleet, MembershipChange::Reconfigure { promote: vec![learner], demote: Vec::new() }));
    // It can go.
    let after = change(&mut fleet, MembershipChange::RemoveLearner { replica: learner }).unwrap();
    assert!(after.replica_on(spare).is_none());
    assert_refused(add_learner(&mut fleet, spare));
}

#[test]
fn a_voter_on_a_forgotten_store_is_replaced_at_once() {
    let (mut fleet, spare) = four_stores(Duration::from_secs(600));
    let lost = follower(&fleet);
    fleet.crash(lost);
    fleet.run(1_000);
    // An operator is refused while the store holds replicas; but one may have been on its way there.
    fleet.forget(lost);
    fleet.run_until(20_000, "a replacement", |f| {
        let now = descriptor(f);
        now.replica_on(lost).is_none() && now.replica_on(spare).is_some() && f.voters(REST) == 3
    });
}
