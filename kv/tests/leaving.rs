//! Stores that are to leave: they are emptied, they get nothing, and it can be taken back.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, store};
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::{RangeDescriptor, RangeId, Rejected, StoreId};

/// All workers of all stores have heard of a change of the records by then.
const HEARD_MS: u64 = 5_000;

/// Four stores, one a site.
fn four_stores() -> Fleet {
    let mut fleet = Fleet::new(4, 2);
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    fleet
}

fn descriptor(fleet: &Fleet, range: RangeId) -> Option<RangeDescriptor> {
    let leader = fleet.leader(range)?;
    Some(fleet.standing(leader, range)?.descriptor.clone())
}

fn holds(fleet: &Fleet, store: StoreId) -> bool {
    [REST, RangeId::SYSTEM].iter().any(|range| descriptor(fleet, *range).is_none_or(|d| d.replica_on(store).is_some()))
}

fn is_whole(fleet: &Fleet) -> bool {
    [REST, RangeId::SYSTEM].iter().all(|range| {
        descriptor(fleet, *range).is_none_or(|d| d.incoming_voters().count() >= 3 && d.outgoing_voters().count() >= 3)
    })
}

fn add_learner(fleet: &mut Fleet, to: StoreId) -> Result<RangeDescriptor, Rejected> {
    let (site, leader) = (fleet.site(to), fleet.leader(REST).unwrap());
    let change = MembershipChange::AddLearner { store: to, site };
    fleet.admin(leader, REST, AdminRequest::ChangeMembership(change)).map(|done| done.descriptor)
}

#[test]
fn a_store_that_leaves_is_emptied_though_every_store_restarts_meanwhile() {
    let mut fleet = four_stores();
    // It leads what placement stands on.
    let leaving = fleet.leader(RangeId::SYSTEM).unwrap();
    fleet.leave(leaving, true);
    for id in (1..=4).map(store) {
        fleet.run(700);
        assert!(is_whole(&fleet));
        fleet.crash(id);
        fleet.run(1_500);
        fleet.start(id);
    }
    fleet.run_until(60_000, "nothing is left there", |f| {
        assert!(is_whole(f), "a range has fewer voters than it should");
        !holds(f, leaving)
    });
    fleet.run(HEARD_MS);
    assert!(!holds(&fleet, leaving) && fleet.voters(REST) == 3 && fleet.voters(RangeId::SYSTEM) == 3);
}

#[test]
fn a_store_that_leaves_gets_nothing_by_hand_until_that_is_taken_back() {
    let mut fleet = four_stores();
    let spare = (1..=4).map(store).find(|id| descriptor(&fleet, REST).unwrap().replica_on(*id).is_none()).unwrap();
    fleet.leave(spare, true);
    fleet.run(HEARD_MS);
    let refused = add_learner(&mut fleet, spare);
    assert!(matches!(&refused, Err(Rejected::Invalid(why)) if why.contains("--cancel")), "{refused:?}");
    fleet.leave(spare, false);
    fleet.run(HEARD_MS);
    assert!(add_learner(&mut fleet, spare).unwrap().replica_on(spare).is_some());
}
