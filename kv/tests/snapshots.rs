//! What a snapshot replaces, what it must not touch, and what becomes of it when its replica dies.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, at_rest, fill, key, put, site_of, store};
use holdfast_engine::Fault;
use holdfast_kv::core::event::Event;
use holdfast_kv::core::message::StoreMessage;
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::{RangeId, StoreId};

fn split(fleet: &mut Fleet) -> RangeId {
    let at = fleet.leader_in_reach(REST);
    fleet.admin(at, REST, AdminRequest::Split { at: key("m"), right: RangeId(0) }).unwrap();
    fleet.run(50);
    fleet.stores[&at].range_of(&key("z"))
}

/// A store is cut off until the log that it lacks is gone, and is back then: it is sent a snapshot.
fn outrun(fleet: &mut Fleet, slow: StoreId, meanwhile: impl FnOnce(&mut Fleet)) {
    fleet.isolate(slow);
    fleet.run(1_500);
    meanwhile(fleet);
    fill(fleet, "a", 70);
    for id in (1..=3).map(store).filter(|id| *id != slow) {
        fleet.persist(id);
    }
    fleet.cut.clear();
}

fn catches_up(fleet: &mut Fleet, slow: StoreId) {
    fleet.run_until(60_000, "it has everything", |f| {
        let leader = f.leader(REST);
        leader.is_some_and(|leader| f.standing(slow, REST).is_some() && f.versions(slow) == f.versions(leader))
    });
}

fn no_alarms(fleet: &Fleet) {
    for (id, store) in &fleet.stores {
        assert_eq!(store.alarms, Vec::<String>::new(), "{id}");
    }
}

#[test]
fn staged_snapshot_is_forgotten_with_the_replica_that_it_was_for() {
    let (mut fleet, hurt) = at_rest(1);
    let old = fleet.standing(hurt, REST).unwrap().descriptor.replica_on(hurt).unwrap().replica;
    fleet.holds_applies.insert(hurt);
    fill(&mut fleet, "b", 1);
    fleet.run(50);
    outrun(&mut fleet, hurt, |_| {});
    // It is there as a whole, and waits for the apply task that is out.
    fleet.run(5_000);
    fleet.damage(hurt, REST);
    fleet.release_applies(hurt);
    fleet.run_until(60_000, "a new replica", |f| {
        let new = f.standing(hurt, REST).and_then(|s| s.descriptor.replica_on(hurt)).map(|r| r.replica);
        f.voters(REST) == 3 && new.is_some_and(|new| new > old)
    });
    catches_up(&mut fleet, hurt);
    // Whatever was on its way to the dead one is given up after a while.
    fleet.run(35_000);
    fleet.assert_everything_was_given_back();
}

#[test]
fn keys_stay_with_a_range_until_the_snapshot_that_has_less_of_them_is_in_place() {
    let (mut fleet, slow) = at_rest(1);
    fleet.holds_applies.insert(slow);
    let right = split(&mut fleet);
    outrun(&mut fleet, slow, |_| {});
    // The split is being applied there, and behind it waits a snapshot of the left side as it is since.
    fleet.run(5_000);
    assert!(fleet.standing(slow, right).is_none(), "its keys are the left side's until the split is applied");
    fleet.release_applies(slow);
    catches_up(&mut fleet, slow);
    fleet.run_until(10_000, "the right side", |f| f.has_data(slow, right));
    no_alarms(&fleet);
    fleet.crash(slow);
    fleet.start(slow);
    fleet.run(2_000);
    catches_up(&mut fleet, slow);
    no_alarms(&fleet);
}

#[test]
fn snapshot_from_before_a_split_is_not_taken_where_the_right_side_waits_for_its_own() {
    let mut fleet = Fleet::new(2, 1);
    fleet.must(store(1), put("a", "1"));
    fleet.loses = Some(|message| matches!(message, StoreMessage::SnapshotOffer { .. }));
    let learner =
        AdminRequest::ChangeMembership(MembershipChange::AddLearner { store: store(2), site: site_of(store(2)) });
    fleet.admin(store(1), REST, learner).unwrap();
    fleet.run(100);
    let right = split(&mut fleet);
    fleet.run_until(2_000, "the right side's replica", |f| f.standing(store(2), right).is_some());
    // The snapshot of both sides that was built before the split comes at last, the right side's own does not.
    fleet.loses =
        Some(|message| matches!(message, StoreMessage::SnapshotOffer { manifest, .. } if manifest.range != REST));
    fleet.run_until(5_000, "the left side", |f| f.has_data(store(2), REST));
    fleet.run(100);
    assert!(!fleet.has_data(store(2), right), "a split that is older than this replica made it anew");
    no_alarms(&fleet);
}

#[test]
fn snapshot_removes_the_keys_that_its_range_has_given_away() {
    let (mut fleet, slow) = at_rest(1);
    let leader = fleet.leader(REST).unwrap();
    fleet.must(leader, put("z", "26"));
    fleet.run(1_000);
    assert!(fleet.versions(slow).iter().any(|(key, _)| key == "z"));
    outrun(&mut fleet, slow, |fleet| {
        split(fleet);
    });
    // The right side, which would bring its own keys, does not come.
    fleet.loses =
        Some(|message| matches!(message, StoreMessage::SnapshotOffer { manifest, .. } if manifest.range != REST));
    let end = Some(key("m"));
    fleet.run_until(20_000, "a snapshot", |f| f.standing(slow, REST).is_some_and(|s| s.descriptor.bounds.end == end));
    fleet.run(1_000);
    assert!(fleet.versions(slow).iter().all(|(key, _)| key != "z"), "nobody has them here any more");
    fleet.loses = None;
    catches_up(&mut fleet, slow);
}

#[test]
fn right_side_lives_on_though_the_power_goes_while_its_left_side_is_given_a_snapshot() {
    let (mut fleet, slow) = at_rest(1);
    fleet.flush(slow);
    let right = split(&mut fleet);
    let leader = fleet.leader(right).unwrap();
    fleet.must(leader, put("z", "26"));
    fleet.run(500);
    assert!(fleet.has_data(slow, right));
    fleet.holds_installs = true;
    outrun(&mut fleet, slow, |_| {});
    fleet.run_until(20_000, "the mark that a snapshot is being installed", |f| !f.held_installs.is_empty());
    fleet.crash(slow);
    fleet.holds_installs = false;
    fleet.start(slow);
    fleet.run(50);
    no_alarms(&fleet);
    assert!(fleet.has_data(slow, right), "it has voted and acknowledged");
    catches_up(&mut fleet, slow);
}

#[test]
fn damaged_log_is_not_taken_for_an_empty_one() {
    let (mut fleet, lost) = at_rest(1);
    fleet.isolate(lost);
    fleet.run(1_000);
    let first = fleet.last_index(REST) + 1;
    fill(&mut fleet, "k", 8);
    let leader = fleet.leader_in_reach(REST);
    assert!(fleet.damage_log(leader, REST, first));
    fleet.cut.clear();
    fleet.run_until(5_000, "quarantine", |f| f.standing(leader, REST).is_none());
    let alarms = &fleet.stores[&leader].alarms;
    assert!(alarms.len() == 1 && alarms[0].contains("checksum"), "{alarms:?}");
    fleet.run_until(5_000, "another leader", |f| f.leader(REST).is_some());
    let other = fleet.leader(REST).unwrap();
    assert_eq!(fleet.value(other, "k0").map(|value| value.len()), Some(1_000_000));
}

/// A tombstone is kept for ever: a leader that was cut off before the removal may come back at any time and take the dead for its
/// voters. But it is one record a range, however often replicas of it came and went.
#[test]
fn tombstones_of_a_range_are_one_record_however_often_it_came_and_went() {
    let mut sizes = Vec::new();
    let mut fleet = Fleet::in_sites(&["a", "b", "c", "c"], 1);
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    fleet.run(10_000);
    let leader = fleet.leader(REST).unwrap();
    let spare = (1..=4).map(store).find(|id| fleet.standing(*id, REST).is_none()).unwrap();
    for _ in 0..4 {
        let site = fleet.site(spare);
        let add = AdminRequest::ChangeMembership(MembershipChange::AddLearner { store: spare, site });
        let learner = fleet.admin(leader, REST, add).unwrap().descriptor.replica_on(spare).unwrap().replica;
        fleet.run_until(2_000, "a replica", |f| f.has_data(spare, REST));
        let remove = AdminRequest::ChangeMembership(MembershipChange::RemoveLearner { replica: learner });
        fleet.admin(leader, REST, remove).unwrap();
        fleet.run_until(5_000, "its end", |f| !f.has_data(spare, REST) && f.standing(spare, REST).is_none());
        fleet.run(100);
        sizes.push(fleet.log_records(spare));
    }
    assert!(sizes.windows(2).all(|pair| pair[0] == pair[1]), "{sizes:?}");
}

#[test]
fn snapshot_for_which_there_is_no_room_is_put_in_place_when_there_is() {
    let (mut fleet, slow) = at_rest(1);
    fleet.holds_installs = true;
    outrun(&mut fleet, slow, |_| {});
    fleet.run_until(20_000, "an install", |f| !f.held_installs.is_empty());
    let (snapshot, full) = (fleet.held_installs[0], Fault::Full("installing a snapshot".into()));
    let failed = Event::SnapshotInstalled { range: REST, snapshot, range_state: Err(full) };
    fleet.happens(slow, REST, failed);
    fleet.holds_installs = false;
    catches_up(&mut fleet, slow);
    no_alarms(&fleet);
    assert!(fleet.standing(slow, REST).is_some(), "a full disk is no damage");
    fleet.run(35_000);
    fleet.assert_everything_was_given_back();
}

/// A data instance that could not flush takes no more writes: only another start can clear what a destroyed replica has left.
#[test]
fn store_that_cannot_clear_a_destroyed_replica_ends_and_clears_it_at_its_next_start() {
    let mut fleet = Fleet::in_sites(&["a", "b", "c", "c"], 1);
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    fleet.run(10_000);
    let leader = fleet.leader(REST).unwrap();
    let spare = (1..=4).map(store).find(|id| fleet.standing(*id, REST).is_none()).unwrap();
    let add = AdminRequest::ChangeMembership(MembershipChange::AddLearner { store: spare, site: fleet.site(spare) });
    let learner = fleet.admin(leader, REST, add).unwrap().descriptor.replica_on(spare).unwrap().replica;
    fleet.run_until(2_000, "a replica", |f| f.has_data(spare, REST));
    fleet.fail_next_flush(spare);
    let remove = AdminRequest::ChangeMembership(MembershipChange::RemoveLearner { replica: learner });
    fleet.admin(leader, REST, remove).unwrap();
    fleet.run_until(5_000, "the store's end", |f| f.stopped.contains(&spare));
    no_alarms(&fleet);
    fleet.stopped.clear();
    fleet.crash(spare);
    fleet.start(spare);
    fleet.run_until(5_000, "its end", |f| !f.has_data(spare, REST) && f.standing(spare, REST).is_none());
    assert!(fleet.stopped.is_empty());
    no_alarms(&fleet);
}
