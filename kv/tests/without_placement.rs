//! With placement gone, stores keep serving, electing and splitting.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, key, put, spread, store};
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::RangeId;

/// Every replica of the system range is lost; there is nobody left to bring one back.
fn lose_placement(fleet: &mut Fleet) {
    for id in 1..=3 {
        fleet.damage(store(id), RangeId::SYSTEM);
    }
    fleet.run(1_000);
    assert_eq!(fleet.leader(RangeId::SYSTEM), None);
    assert!((1..=3).all(|id| fleet.standing(store(id), RangeId::SYSTEM).is_none()));
}

fn split(fleet: &mut Fleet, at: &str) -> RangeId {
    let range = fleet.stores.values().next().unwrap().range_of(&key(at));
    let leader = fleet.leader(range).unwrap();
    fleet.admin(leader, range, AdminRequest::Split { at: key(at), right: RangeId(0) }).unwrap();
    fleet.run(20);
    fleet.stores[&leader].range_of(&key(at))
}

#[test]
fn stores_serve_elect_and_split_without_the_system_range() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    lose_placement(&mut fleet);

    fleet.must(store(2), put("b", "2"));
    let right = split(&mut fleet, "m");
    assert_ne!(right, REST);

    // A store is lost: both ranges are led again, and found from every store that is left.
    let leader = fleet.leader(REST).unwrap();
    fleet.crash(leader);
    fleet.run_until(1_500, "other leaders", |f| f.leader(REST).is_some() && f.leader(right).is_some());
    let left: Vec<_> = (1..=3).map(store).filter(|id| *id != leader).collect();
    for (n, id) in left.iter().enumerate() {
        fleet.must(*id, put("c", &n.to_string()));
        fleet.must(*id, put("z", &n.to_string()));
        assert_eq!(fleet.value(*id, "a").as_deref(), Some("1"));
        assert_eq!(fleet.value(*id, "b").as_deref(), Some("2"));
    }
    let third = split(&mut fleet, "t");
    assert!(third != right && third != REST);

    // It comes back, knowing nothing of the second split, and is a full member again.
    fleet.start(leader);
    fleet.run(3_000);
    assert_eq!(fleet.value(leader, "z").as_deref(), Some("1"));
    fleet.crash(left[0]);
    fleet.run_until(1_500, "leaders", |f| [REST, right, third].iter().all(|range| f.leader(*range).is_some()));
    for (n, user) in ["a", "n", "z"].iter().enumerate() {
        fleet.must(leader, put(user, &n.to_string()));
        assert_eq!(fleet.value(left[1], user), Some(n.to_string()));
    }
}

#[test]
fn whole_fleet_starts_and_serves_without_the_system_range() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    lose_placement(&mut fleet);
    let right = split(&mut fleet, "m");
    for id in 1..=3 {
        fleet.crash(store(id));
    }
    for id in 1..=3 {
        fleet.start(store(id));
    }
    fleet.run_until(3_000, "leaders", |f| f.leader(REST).is_some() && f.leader(right).is_some());
    for id in 1..=3 {
        assert_eq!(fleet.value(store(id), "a").as_deref(), Some("1"));
        fleet.must(store(id), put("z", "26"));
    }
}

#[test]
fn store_that_shares_no_range_any_more_does_not_take_the_others_for_lost() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    lose_placement(&mut fleet);
    let leader = fleet.leader(REST).unwrap();
    let outside = (1..=3).map(store).find(|id| *id != leader).unwrap();
    let replica = fleet.standing(outside, REST).and_then(|s| s.descriptor.replica_on(outside)).unwrap().replica;
    for change in [
        MembershipChange::Reconfigure { promote: Vec::new(), demote: vec![replica] },
        MembershipChange::RemoveLearner { replica },
    ] {
        fleet.admin(leader, REST, AdminRequest::ChangeMembership(change)).unwrap();
    }
    // Nobody asks it for promises any more, nor it them: all of them run out.
    fleet.run(3_000);
    assert!(fleet.standing(outside, REST).is_none());
    assert_eq!(fleet.value(outside, "a").as_deref(), Some("1"));
}
