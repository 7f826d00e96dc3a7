//! The core of whole stores: found a fleet, spread, serve, lose stores, split, restart.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, get, key, put, spread, store};
use holdfast_kv::core::message::StoreMessage;
use holdfast_kv::core::records::encode_policy;
use holdfast_placement::{Policies, Policy, StateKey};
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::{
    KeyspaceId, Mutation, RangeId, RangeRequest, Rejected, ReplicaId, Request, Response, StoreId, Timestamp,
};
use std::time::Duration;

#[test]
fn founded_store_serves_alone() {
    let mut fleet = Fleet::new(1, 2);
    assert!(matches!(fleet.must(store(1), put("a", "1")), Response::Written { .. }));
    assert_eq!(fleet.value(store(1), "a").as_deref(), Some("1"));
    assert_eq!(fleet.value(store(1), "b"), None);
}

/// Adds a learner on store 2 and gives its id.
fn add_learner(fleet: &mut Fleet) -> ReplicaId {
    let site = fleet::site_of(store(2));
    let learner = AdminRequest::ChangeMembership(MembershipChange::AddLearner { store: store(2), site });
    let after = fleet.admin(store(1), REST, learner).unwrap();
    after.descriptor.replica_on(store(2)).unwrap().replica
}

#[test]
fn learner_gets_a_snapshot_and_is_promoted() {
    let mut fleet = Fleet::new(2, 1);
    fleet.must(store(1), put("a", "1"));
    let replica = add_learner(&mut fleet);
    fleet.run_until(5_000, "a snapshot", |f| f.has_data(store(2), REST));
    fleet.run(500);
    let promote = MembershipChange::Reconfigure { promote: vec![replica], demote: Vec::new() };
    fleet.admin(store(1), REST, AdminRequest::ChangeMembership(promote)).unwrap();
    fleet.run_until(5_000, "two voters", |f| f.voters(REST) == 2);
}

#[test]
fn ranges_of_a_fleet_with_one_site_spread_when_it_gets_others() {
    let sites_of = |fleet: &Fleet, range| {
        let leader = fleet.leader(range).and_then(|id| fleet.standing(id, range));
        let voters = leader.iter().filter(|s| !s.descriptor.is_joint()).flat_map(|s| s.descriptor.voters());
        voters.map(|voter| voter.site.to_string()).collect::<Vec<_>>()
    };
    let mut fleet = Fleet::in_sites(&["a", "a", "a"], 1);
    fleet.run_until(60_000, "three voters", |f| f.voters(RangeId::SYSTEM) == 3 && f.voters(REST) == 3);
    fleet.grow(&["b", "c"]);
    for range in [RangeId::SYSTEM, REST] {
        fleet.run_until(120_000, "a voter a site", |f| {
            let mut sites = sites_of(f, range);
            sites.sort();
            sites == ["a", "b", "c"]
        });
    }
}

#[test]
fn snapshot_that_is_cut_off_goes_on_when_the_link_is_back() {
    let mut fleet = Fleet::new(3, 1);
    let large = "x".repeat(900_000);
    for n in 0..40 {
        fleet.must(store(1), put(&format!("k{n}"), &large));
    }
    fleet.run_until(10_000, "a learner", |f| f.standing(store(2), REST).is_some());
    fleet.run(20);
    assert!(!fleet.has_data(store(2), REST), "the transfer is under way");
    fleet.cut.insert((store(1), store(2)));
    fleet.run(3_000);
    assert!(!fleet.has_data(store(2), REST));
    fleet.cut.clear();
    fleet.run_until(3_000, "the rest of the snapshot", |f| f.has_data(store(2), REST));
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3);
    fleet.assert_everything_was_given_back();
}

#[test]
fn snapshot_of_a_range_that_was_split_meanwhile_is_built_anew() {
    let mut fleet = Fleet::new(2, 1);
    fleet.must(store(1), put("a", "1"));
    fleet.loses =
        Some(|message| matches!(message, StoreMessage::SnapshotOffer { manifest, .. } if manifest.range == REST));
    add_learner(&mut fleet);
    fleet.run(100);
    let split = AdminRequest::Split { at: key("m"), right: RangeId(0) };
    fleet.admin(store(1), REST, split).unwrap();
    let right = fleet.stores[&store(1)].range_of(&key("m"));
    fleet.run_until(2_000, "a snapshot of the right side", |f| f.has_data(store(2), right));
    assert!(!fleet.has_data(store(2), REST));
    // What was built of both sides would cross the right one, for as long as it is offered.
    fleet.loses = None;
    fleet.run_until(3_000, "a snapshot of the left side", |f| f.has_data(store(2), REST));
    fleet.assert_everything_was_given_back();
}

#[test]
fn placement_spreads_a_new_fleet_over_its_sites() {
    let mut fleet = spread(3, 2);
    for id in 1..=3 {
        assert!(fleet.standing(store(id), REST).is_some());
        assert!(fleet.stores[&store(id)].alarms.is_empty());
    }
    fleet.assert_everything_was_given_back();
}

#[test]
fn any_store_serves_any_request() {
    let mut fleet = spread(3, 2);
    fleet.must(store(2), put("a", "1"));
    for id in 1..=3 {
        assert_eq!(fleet.value(store(id), "a").as_deref(), Some("1"));
    }
}

#[test]
fn store_without_a_replica_finds_and_forwards() {
    let mut fleet = Fleet::new(2, 1);
    fleet.must(store(2), put("a", "1"));
    assert_eq!(fleet.value(store(2), "a").as_deref(), Some("1"));
}

#[test]
fn acknowledged_write_survives_the_loss_of_its_leader_and_another_leads_within_a_second() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    let leader = fleet.leader(REST).unwrap();
    let other = store(if leader == store(1) { 2 } else { 1 });
    fleet.crash(leader);
    let lost_at = fleet.now;
    fleet.run_until(1_000, "another leader", |f| f.leader(REST).is_some());
    assert!(fleet.now.since(lost_at).as_millis() < 1_000);
    assert_eq!(fleet.value(other, "a").as_deref(), Some("1"));
    fleet.must(other, put("b", "2"));
}

#[test]
fn request_that_was_on_its_way_to_a_lost_store_is_answered_when_its_support_is_withdrawn() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    let other = store(if leader == store(1) { 2 } else { 1 });
    // The leader hears nothing more and nothing of it is heard: as if its machine were gone, from here on.
    for id in 1..=3 {
        fleet.cut.insert((leader, store(id)));
        fleet.cut.insert((store(id), leader));
    }
    let write = fleet.ask(other, put("a", "1"));
    let read = fleet.ask(other, get("a"));
    let asked_at = fleet.now;
    fleet.run_until(1_000, "answers", |f| f.answer(write).is_some() && f.answer(read).is_some());
    assert!(fleet.now.since(asked_at).as_millis() <= 800);
    assert!(matches!(fleet.answer(write), Some(Err(Rejected::Ambiguous(_)))));
    assert!(matches!(fleet.answer(read), Some(Ok(_))), "a read goes to the next leader: {:?}", fleet.answer(read));
    fleet.assert_everything_was_given_back();
}

#[test]
fn both_halves_of_a_split_serve_at_once() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    fleet.must(store(1), put("z", "26"));
    let split = AdminRequest::Split { at: key("m"), right: RangeId(0) };
    let left = fleet.admin(store(1), REST, split).unwrap().descriptor;
    assert_eq!(left.range, REST);
    fleet.run(20);
    for id in 1..=3 {
        assert_eq!(fleet.value(store(id), "a").as_deref(), Some("1"));
        assert_eq!(fleet.value(store(id), "z").as_deref(), Some("26"));
        fleet.must(store(id), put("y", "25"));
        fleet.must(store(id), put("b", "2"));
    }
    assert!(fleet.stores.values().all(|s| s.alarms.is_empty()));
}

#[test]
fn everything_acknowledged_is_there_after_all_stores_crashed() {
    let mut fleet = spread(3, 2);
    for n in 0..50 {
        fleet.must(store(1), put(&format!("k{n}"), &format!("v{n}")));
    }
    let split = AdminRequest::Split { at: key("k3"), right: RangeId(0) };
    fleet.admin(store(1), REST, split).unwrap();
    for n in 0..50 {
        fleet.must(store(2), put(&format!("k{n}"), &format!("w{n}")));
    }
    for id in 1..=3 {
        fleet.crash(store(id));
    }
    for id in 1..=3 {
        fleet.start(store(id));
    }
    for n in 0..50 {
        assert_eq!(fleet.value(store(3), &format!("k{n}")), Some(format!("w{n}")), "k{n}");
    }
    assert!(fleet.stores.values().all(|s| s.alarms.is_empty()));
}

/// The left side of a split was removed from a store and had its tombstone synced when the power went, before the data of
/// either side was persisted. The right side has voted and acknowledged: it must come back with everything.
#[test]
fn right_side_of_a_split_survives_the_removal_of_its_left_side_and_a_crash() {
    let mut fleet = spread(3, 2);
    let split = AdminRequest::Split { at: key("m"), right: RangeId(0) };
    fleet.admin(store(1), REST, split).unwrap();
    fleet.must(store(1), put("z", "26"));
    fleet.run(20);
    let right = fleet.stores[&store(2)].range_of(&key("z"));
    assert!(right != REST && fleet.has_data(store(2), right));
    fleet.crash(store(2));
    fleet.remove_replica_on_disk(store(2), REST);
    fleet.start(store(2));
    fleet.run(20);
    assert_eq!(fleet.stores[&store(2)].alarms, Vec::<String>::new());
    assert!(fleet.has_data(store(2), right), "what the data instance lost was replayed from a dead replica's log");
    assert!(fleet.standing(store(2), REST).is_none() && !fleet.has_data(store(2), REST));
}

#[test]
fn lost_store_comes_back_and_catches_up() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    fleet.crash(leader);
    let other = store(if leader == store(1) { 2 } else { 1 });
    fleet.run_until(1_500, "another leader", |f| f.leader(REST).is_some());
    fleet.must(other, put("a", "1"));
    fleet.start(leader);
    fleet.run(3_000);
    let third = store(6 - leader.0 - other.0);
    fleet.crash(third);
    fleet.run(1_500);
    assert_eq!(fleet.value(leader, "a").as_deref(), Some("1"), "two of three are enough again");
}

/// Four stores, three voters of the range of everybody's keys.
fn four_stores(policies: &Policies) -> Fleet {
    let mut fleet = Fleet::new(4, 2);
    fleet.set_policies(policies);
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    fleet
}

fn without_replica(fleet: &Fleet, range: RangeId) -> Option<u64> {
    let leader = fleet.leader(range)?;
    let descriptor = &fleet.standing(leader, range)?.descriptor;
    (1..=4).find(|id| descriptor.replica_on(store(*id)).is_none())
}

#[test]
fn store_without_a_replica_serves_by_forwarding_through_failover() {
    let mut fleet = four_stores(&Policies::default());
    let outside = store(without_replica(&fleet, REST).unwrap());
    fleet.must(outside, put("a", "1"));
    let leader = fleet.leader(REST).unwrap();
    fleet.crash(leader);
    fleet.run_until(1_500, "another leader", |f| f.leader(REST).is_some());
    assert_eq!(fleet.value(outside, "a").as_deref(), Some("1"));
}

#[test]
fn lost_store_is_replaced_and_clears_its_replica_when_it_comes_back() {
    let mut policies = Policies::default();
    policies.limits.replace_after = Duration::from_secs(3);
    let mut fleet = four_stores(&policies);
    fleet.must(store(1), put("a", "1"));
    let leader = fleet.leader(REST).unwrap();
    let spare = store(without_replica(&fleet, REST).unwrap());
    let lost =
        (1..=4).map(store).find(|id| *id != leader && *id != spare && Some(*id) != fleet.leader(RangeId::SYSTEM));
    let lost = lost.unwrap();
    let old = fleet.standing(lost, REST).and_then(|s| s.descriptor.replica_on(lost)).unwrap().replica;
    fleet.crash(lost);
    fleet.run_until(30_000, "a replacement", |f| {
        let Some(leader) = f.leader(REST) else { return false };
        let descriptor = &f.standing(leader, REST).unwrap().descriptor;
        f.voters(REST) == 3 && descriptor.replica_on(lost).is_none() && descriptor.replica_on(spare).is_some()
    });
    assert_eq!(fleet.value(spare, "a").as_deref(), Some("1"));
    fleet.start(lost);
    fleet.set_policies(&policies);
    assert!(fleet.has_data(lost, REST));
    fleet.run_until(10_000, "clearing", |f| !f.has_data(lost, REST));
    assert_eq!(fleet.value(lost, "a").as_deref(), Some("1"), "by forwarding");
    fleet.crash(lost);
    fleet.start(lost);
    fleet.run(100);
    // Placement may have come back to the store: under a new id.
    let back = fleet.standing(lost, REST).and_then(|s| s.descriptor.replica_on(lost)).map(|r| r.replica);
    assert!(back.is_none_or(|replica| replica > old), "the tombstone of {old} is remembered, {back:?} came back");
}

#[test]
fn store_that_retires_hands_its_leaders_over_without_a_stall() {
    let mut fleet = spread(3, 2);
    let leader = fleet.leader(REST).unwrap();
    fleet.retire(leader);
    fleet.run_until(300, "hand-over", |f| f.leader(REST).is_some_and(|l| l != leader));
    fleet.must(leader, put("a", "1"));
}

#[test]
fn damaged_replica_is_quarantined_and_the_range_goes_on() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    fleet.must(leader, put("a", "1"));
    fleet.damage(leader, REST);
    assert!(fleet.standing(leader, REST).is_none());
    assert_eq!(fleet.stores[&leader].alarms.len(), 1);
    let other = store(if leader == store(1) { 2 } else { 1 });
    fleet.run_until(2_000, "another leader", |f| f.leader(REST).is_some());
    assert_eq!(fleet.value(other, "a").as_deref(), Some("1"));
    fleet.crash(leader);
    fleet.start(leader);
    fleet.run(50);
    assert!(fleet.standing(leader, REST).is_none(), "a restart does not bring it back");
}

#[test]
fn damaged_replica_is_replaced_under_a_new_id_on_its_own_store() {
    let mut fleet = spread(3, 2);
    let leader = fleet.leader(REST).unwrap();
    fleet.must(leader, put("a", "1"));
    let hurt = store(leader.0 % 3 + 1);
    let old = fleet.standing(hurt, REST).and_then(|s| s.descriptor.replica_on(hurt)).unwrap().replica;
    fleet.damage(hurt, REST);
    fleet.must(leader, put("b", "2"));
    fleet.run_until(30_000, "a new replica", |f| {
        let new = f.standing(hurt, REST).and_then(|s| s.descriptor.replica_on(hurt)).map(|r| r.replica);
        f.voters(REST) == 3 && new.is_some_and(|new| new > old)
    });
    fleet.run(1_000);
    assert_eq!(fleet.versions(hurt), fleet.versions(leader));
    // It counts: with it and one more the range goes on without the leader, and the old id stays dead through a restart.
    fleet.crash(hurt);
    fleet.start(hurt);
    fleet.run(1_000);
    fleet.crash(leader);
    fleet.run_until(2_000, "another leader", |f| f.leader(REST).is_some());
    assert_eq!(fleet.value(hurt, "b").as_deref(), Some("2"));
}

#[test]
fn damaged_replica_that_is_replaced_elsewhere_gives_its_space_back() {
    let mut fleet = Fleet::in_sites(&["a", "b", "c", "c"], 2);
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    fleet.must(store(1), put("a", "1"));
    fleet.run(1_000);
    let descriptor = fleet.standing(store(1), REST).unwrap().descriptor.clone();
    let hurt = store(if descriptor.replica_on(store(3)).is_some() { 3 } else { 4 });
    let other = store(7 - hurt.0);
    if fleet.leader(REST) == Some(hurt) {
        let to = descriptor.replica_on(store(1)).unwrap().replica;
        fleet.admin(store(1), REST, AdminRequest::Transfer { to }).unwrap();
    }
    fleet.damage(hurt, REST);
    fleet.run_until(30_000, "a replica on the other store of the site", |f| {
        let descriptor = &f.standing(store(1), REST).unwrap().descriptor;
        f.voters(REST) == 3 && descriptor.replica_on(other).is_some() && descriptor.replica_on(hurt).is_none()
    });
    fleet.run_until(15_000, "clearing", |f| !f.has_data(hurt, REST));
    assert!(fleet.versions(hurt).is_empty());
    assert_eq!(fleet.value(hurt, "a").as_deref(), Some("1"), "by forwarding");
}

#[test]
fn replica_whose_removal_was_applied_and_its_tombstone_lost_is_destroyed_at_start() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    let leader = fleet.leader(REST).unwrap();
    let gone = (1..=3).map(store).find(|id| *id != leader).unwrap();
    let replica = fleet.standing(gone, REST).and_then(|s| s.descriptor.replica_on(gone)).unwrap().replica;
    fleet.flush(gone);
    fleet.crash(gone);
    for change in [
        MembershipChange::Reconfigure { promote: Vec::new(), demote: vec![replica] },
        MembershipChange::RemoveLearner { replica },
    ] {
        fleet.admin(leader, REST, AdminRequest::ChangeMembership(change)).unwrap();
    }
    let descriptor = fleet.standing(leader, REST).unwrap().descriptor.clone();
    fleet.describe_on_disk(gone, descriptor);
    fleet.start(gone);
    fleet.run_until(5_000, "clearing", |f| !f.has_data(gone, REST));
    assert_eq!(fleet.value(gone, "a").as_deref(), Some("1"), "by forwarding, or from the one that comes next");
    assert_eq!(fleet.stores[&gone].alarms, Vec::<String>::new());
}

#[test]
fn fleet_of_one_site_survives_the_loss_of_a_store() {
    let mut fleet = Fleet::in_sites(&["a", "a", "a"], 1);
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    fleet.must(store(1), put("a", "1"));
    let leader = fleet.leader(REST).unwrap();
    fleet.crash(leader);
    fleet.run_until(1_500, "another leader", |f| f.leader(REST).is_some());
    assert_eq!(fleet.value(store(leader.0 % 3 + 1), "a").as_deref(), Some("1"));
}

#[test]
fn threshold_for_old_versions_rises_on_ranges_that_were_written() {
    let mut fleet = spread(3, 1);
    fleet.must(store(1), put("a", "1"));
    fleet.must(store(1), put("a", "2"));
    fleet.run(1_000);
    let threshold = fleet.gc_threshold(store(2), REST);
    assert!(threshold.ms() > 0 && threshold.ms() < fleet.wall_ms(), "{threshold} stays behind the retention");
    assert_eq!(fleet.value(store(1), "a").as_deref(), Some("2"));
}

#[test]
fn new_ranges_are_found_led_and_moved_wherever_their_worker_is() {
    let mut fleet = four_stores(&Policies::default());
    for at in ["c", "f", "k", "p"] {
        let split = AdminRequest::Split { at: key(at), right: RangeId(0) };
        let range = fleet.stores[&store(1)].range_of(&key(at));
        fleet.admin(store(1), range, split).unwrap();
    }
    for (n, user) in ["a", "d", "g", "l", "q"].iter().enumerate() {
        fleet.must(store(n as u64 % 4 + 1), put(user, user));
    }
    fleet.run(20_000);
    for id in 1..=4 {
        for user in ["a", "d", "g", "l", "q"] {
            assert_eq!(fleet.value(store(id), user).as_deref(), Some(user));
        }
        assert!(fleet.stores[&store(id)].alarms.is_empty());
    }
    fleet.assert_everything_was_given_back();
}

#[test]
fn store_whose_clock_is_off_hands_its_leaders_over_and_takes_none_until_it_is_right() {
    let mut fleet = spread(3, 2);
    for ahead_ms in [20_000, -20_000] {
        let wrong = fleet.leader(REST).unwrap();
        fleet.clock_ahead_ms.insert(wrong, ahead_ms);
        let led_elsewhere = |f: &Fleet, range| f.leader(range).is_some_and(|leader| leader != wrong);
        let both = |f: &mut Fleet| led_elsewhere(f, REST) && led_elsewhere(f, RangeId::SYSTEM);
        fleet.run_until(500, "hand-over", both);
        fleet.must(wrong, put("a", "1"));
        // It still votes: with it and one more the range outlives the third.
        let leader = fleet.leader(REST).unwrap();
        fleet.crash(leader);
        fleet.run_until(1_500, "the third leads", |f| f.leader(REST).is_some());
        assert_ne!(fleet.leader(REST), Some(wrong));
        fleet.must(wrong, put("a", "2"));
        fleet.start(leader);
        // Placement and everybody else leave it alone; nothing is passed to and fro.
        fleet.run(8_000);
        assert_ne!(fleet.leader(REST), Some(wrong));
        assert_ne!(fleet.leader(RangeId::SYSTEM), Some(wrong));
        fleet.clock_ahead_ms.clear();
        fleet.run(1_000);
        let descriptor = fleet.standing(wrong, REST).unwrap().descriptor.clone();
        let to = descriptor.replica_on(wrong).unwrap().replica;
        fleet.admin(wrong, REST, AdminRequest::Transfer { to }).unwrap();
        fleet.run_until(100, "it leads again", |f| f.leader(REST) == Some(wrong));
    }
    assert!(fleet.stores.values().all(|s| s.alarms.is_empty()));
}

#[test]
fn store_whose_clock_is_off_is_not_asked_for_the_time() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    fleet.clock_ahead_ms.insert(leader, 60_000);
    fleet.run_until(500, "hand-over", |f| f.leader(REST).is_some_and(|l| l != leader));
    fleet.must(leader, put("a", "1"));
    let newest = fleet.versions(leader).last().unwrap().1;
    assert!(newest.ms() <= fleet.wall_ms() + 1, "{newest} was given by a leader that is right");
}

#[test]
fn store_whose_disk_is_full_hands_its_leaders_over_once_and_writes_go_on() {
    let mut fleet = spread(3, 2);
    let full = fleet.leader(REST).unwrap();
    fleet.measure_disk(full, 1 << 20);
    fleet.run_until(500, "hand-over", |f| f.leader(REST).is_some_and(|leader| leader != full));
    let leader = fleet.leader(REST).unwrap();
    fleet.must(leader, put("a", "1"));
    for id in 1..=3 {
        fleet.measure_disk(store(id), 1 << 20);
    }
    fleet.run(3_000);
    let leader = fleet.leader(REST).unwrap();
    for _ in 0..5 {
        for id in 1..=3 {
            fleet.measure_disk(store(id), 1 << 20);
        }
        fleet.run(1_000);
        assert_eq!(fleet.leader(REST), Some(leader), "where all are full nothing is passed round");
    }
    assert_eq!(fleet.value(full, "a").as_deref(), Some("1"), "reads are served");
}

/// Three stores whose leaders placement has spread, too: it moves none any more.
fn settled() -> Fleet {
    let mut fleet = spread(3, 2);
    fleet.run(15_000);
    fleet
}

fn transfer_to(fleet: &mut Fleet, to: StoreId) -> Result<(), Rejected> {
    let leader = fleet.leader(REST).unwrap();
    let to = fleet.standing(leader, REST).unwrap().descriptor.replica_on(to).unwrap().replica;
    fleet.admin(leader, REST, AdminRequest::Transfer { to }).map(|_| ())
}

#[test]
fn store_whose_disk_is_full_passes_on_writes_for_what_others_lead() {
    let mut fleet = settled();
    let leader = fleet.leader(REST).unwrap();
    let full = store(leader.0 % 3 + 1);
    fleet.measure_disk(full, 1 << 20);
    fleet.must(full, put("a", "1"));
    assert_eq!(fleet.value(full, "a").as_deref(), Some("1"));
}

#[test]
fn leadership_is_not_handed_to_a_store_whose_disk_is_full() {
    let mut fleet = settled();
    let leader = fleet.leader(REST).unwrap();
    let full = store(leader.0 % 3 + 1);
    fleet.measure_disk(full, 1 << 20);
    fleet.run(200);
    let refused = transfer_to(&mut fleet, full);
    assert!(matches!(&refused, Err(Rejected::Unavailable(why)) if why.contains("disk")), "{refused:?}");
    // A leader that goes of its own accord does not go there either.
    fleet.measure_disk(leader, 1 << 20);
    fleet.run_until(1_000, "hand-over", |f| f.leader(REST).is_some_and(|l| l != leader));
    assert_ne!(fleet.leader(REST), Some(full));
    fleet.measure_disk(full, 50 << 30);
    fleet.run(200);
    transfer_to(&mut fleet, full).unwrap();
    fleet.run_until(1_000, "it leads again", |f| f.leader(REST) == Some(full));
}

#[test]
fn leadership_that_comes_to_a_store_whose_disk_is_full_leaves_it_again() {
    let mut fleet = settled();
    let leader = fleet.leader(REST).unwrap();
    let full = store(leader.0 % 3 + 1);
    // Nobody has been told yet when the leadership is handed over.
    fleet.measure_disk(full, 1 << 20);
    transfer_to(&mut fleet, full).unwrap();
    fleet.run_until(2_000, "it leads elsewhere", |f| f.leader(REST).is_some_and(|l| l != full));
    let leader = fleet.leader(REST);
    fleet.run(5_000);
    assert_eq!(fleet.leader(REST), leader, "and stays there");
    fleet.must(full, put("a", "1"));
}

#[test]
fn store_whose_disk_is_full_hands_its_leaders_over_as_soon_as_another_has_room() {
    let mut fleet = settled();
    let leader = fleet.leader(REST).unwrap();
    let others: Vec<_> = (1..=3).map(store).filter(|id| *id != leader).collect();
    for id in &others {
        fleet.measure_disk(*id, 1 << 20);
    }
    fleet.run(200);
    fleet.measure_disk(leader, 1 << 20);
    fleet.run(1_000);
    assert_eq!(fleet.leader(REST), Some(leader), "nobody has room");
    fleet.measure_disk(others[0], 50 << 30);
    fleet.run_until(1_000, "hand-over", |f| f.leader(REST) == Some(others[0]));
    fleet.must(leader, put("a", "1"));
}

#[test]
fn read_at_a_timestamp_ahead_of_fleet_time_is_refused() {
    let mut fleet = spread(3, 1);
    fleet.must(store(1), put("a", "1"));
    let mut read_at = |ahead_ms: u64| {
        let at = Timestamp::from_ms(fleet.wall_ms() + ahead_ms);
        let request = Request::Get { keys: vec![key("a")], at: Some(at) };
        let ticket = fleet.ask(store(1), RangeRequest { range: None, write: None, request });
        fleet.run_until(5_000, "an answer", |f| f.answer(ticket).is_some());
        fleet.answer(ticket).unwrap()
    };
    assert!(matches!(read_at(0), Ok(Response::Got { .. })));
    assert!(matches!(read_at(60_000), Err(Rejected::Invalid(_))), "a later write may still land below it");
}

/// A learner that is cut off misses its own removal. The keys that it goes on holding are another range's by now, which is to
/// come to its store.
#[test]
fn replica_that_missed_its_removal_gives_way_to_the_range_that_comes() {
    let mut fleet = four_stores(&Policies::default());
    let spare = store(without_replica(&fleet, REST).unwrap());
    let leader = fleet.leader(REST).unwrap();
    let add = |range| {
        let site = fleet::site_of(spare);
        (range, AdminRequest::ChangeMembership(MembershipChange::AddLearner { store: spare, site }))
    };
    let (range, request) = add(REST);
    let learner = fleet.admin(leader, range, request).unwrap().descriptor.replica_on(spare).unwrap().replica;
    fleet.run_until(1_000, "the learner has its data", |f| f.has_data(spare, REST));
    for id in (1..=4).map(store).filter(|id| *id != spare) {
        fleet.cut.insert((id, spare));
        fleet.cut.insert((spare, id));
    }
    let gone = |f: &Fleet| f.standing(leader, REST).is_some_and(|s| s.descriptor.replica(learner).is_none());
    if !gone(&fleet) {
        let remove = AdminRequest::ChangeMembership(MembershipChange::RemoveLearner { replica: learner });
        let _ = fleet.admin(leader, REST, remove);
    }
    fleet.run_until(5_000, "the removal", |f| gone(f));
    fleet.admin(leader, REST, AdminRequest::Split { at: key("m"), right: RangeId(0) }).unwrap();
    let right = fleet.stores[&leader].range_of(&key("z"));
    fleet.cut.clear();
    fleet.run(1_000);
    assert!(fleet.has_data(spare, REST), "nobody told it");
    let (range, request) = add(right);
    fleet.admin(leader, range, request).unwrap();
    fleet.run_until(8_000, "the new range has come", |f| f.has_data(spare, right));
    assert!(fleet.standing(spare, REST).is_none());
}

#[test]
fn list_of_stores_is_sent_only_when_it_is_another_one() {
    let mut fleet = spread(3, 2);
    fleet.run(3_000);
    fleet.directories = 0;
    fleet.run(10_000);
    assert_eq!(fleet.directories, 0, "nothing has changed");
}

/// Writes a record of the system range as an administrator would.
fn write_record(fleet: &mut Fleet, record: &StateKey, value: Vec<u8>) {
    let mutations = vec![Mutation { key: record.key(), value: Some(value.into()), expires_at: None }];
    let request = Request::Write { conditions: Vec::new(), mutations };
    fleet.must(store(1), RangeRequest { range: None, write: None, request });
}

#[test]
fn policy_of_a_keyspace_is_read_from_the_system_range_and_a_bad_one_is_told_once() {
    let mut fleet = spread(3, 2);
    let record = StateKey::Policy(KeyspaceId::DEFAULT);
    for wanted in [2, 3, 1] {
        let policy = Policy { leader_preference: vec![fleet::site_of(store(wanted))], ..Policy::default() };
        write_record(&mut fleet, &record, encode_policy(&policy).to_vec());
        fleet.run_until(20_000, "the leader is where it is wanted", |f| f.leader(REST) == Some(store(wanted)));
    }
    // What a newer program wrote.
    let newer = holdfast_proto::v1::PolicyRecord { version: 2, ..Default::default() };
    write_record(&mut fleet, &record, prost::Message::encode_to_vec(&newer));
    fleet.run(10_000);
    let alarms: Vec<_> = fleet.stores.values().flat_map(|store| &store.alarms).collect();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains("policy of keyspace"), "{alarms:?}");
    assert_eq!(fleet.leader(REST), Some(store(1)), "the policy of before holds on");
    fleet.must(store(2), put("a", "1"));
}

#[test]
fn silent_store_is_replaced_in_time_though_the_system_range_changes_its_leader() {
    let mut policies = Policies::default();
    policies.limits.replace_after = Duration::from_secs(8);
    let mut fleet = four_stores(&policies);
    let planner = fleet.leader(RangeId::SYSTEM).unwrap();
    let next = (1..=4).map(store).find(|id| *id != planner && fleet.standing(*id, RangeId::SYSTEM).is_some()).unwrap();
    let lost = (1..=4).map(store).find(|id| {
        *id != planner && *id != next && [REST, RangeId::SYSTEM].iter().any(|r| fleet.standing(*id, *r).is_some())
    });
    let lost = lost.unwrap();
    fleet.crash(lost);
    let lost_at = fleet.now;
    fleet.run(6_000);
    let to = fleet.standing(planner, RangeId::SYSTEM).unwrap().descriptor.replica_on(next).unwrap().replica;
    fleet.admin(planner, RangeId::SYSTEM, AdminRequest::Transfer { to }).unwrap();
    fleet.run_until(6_000, "a replacement", |f| {
        [REST, RangeId::SYSTEM].iter().all(|range| {
            let leader = f.leader(*range).and_then(|leader| f.standing(leader, *range));
            leader.is_some_and(|s| s.descriptor.replica_on(lost).is_none())
        })
    });
    assert!(fleet.now.since(lost_at) >= Duration::from_secs(8), "not too early");
}
