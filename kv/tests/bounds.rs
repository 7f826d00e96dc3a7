//! What a store may keep has bounds: logs for followers that are lost, and entries that wait.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{REST, at_rest, fill, key, put, store};
use holdfast_engine::Fault;
use holdfast_kv::core::event::Event;
use holdfast_replica::AdminRequest;
use holdfast_types::{RangeId, ReplicaId};

const MIB: u64 = 1 << 20;

#[test]
fn log_kept_for_a_lost_follower_is_bounded_by_64_mib_or_the_size_of_its_range() {
    let (mut fleet, lost) = at_rest(1);
    fleet.isolate(lost);
    fleet.run(1_000);
    fill(&mut fleet, "k", 90);
    let leader = fleet.leader_in_reach(REST);
    fleet.measure_range(leader, REST, 200 * MIB);
    fleet.persist(leader);
    assert!(fleet.log_bytes(leader, REST) > 84 * MIB, "a snapshot would cost more");
    fleet.measure_range(leader, REST, MIB);
    fleet.persist(leader);
    let kept = fleet.log_bytes(leader, REST);
    assert!(kept <= 64 * MIB && kept > 60 * MIB, "{kept} B");
    fleet.cut.clear();
    fleet.run_until(10_000, "the follower catches up", |f| f.versions(lost) == f.versions(leader));
    fleet.assert_everything_was_given_back();
}

#[test]
fn logs_of_a_store_take_a_tenth_of_its_disk_at_most_while_a_follower_is_lost() {
    let (mut fleet, lost) = at_rest(2);
    let split = AdminRequest::Split { at: key("m"), right: RangeId(0) };
    fleet.admin(store(1), REST, split).unwrap();
    fleet.run(20);
    let right = fleet.stores[&store(1)].range_of(&key("z"));
    fleet.isolate(lost);
    fleet.run(1_000);
    fill(&mut fleet, "a", 40);
    fill(&mut fleet, "z", 8);
    let leader = fleet.leader_in_reach(REST);
    for id in (1..=3).map(store).filter(|id| *id != lost) {
        fleet.measure_disk_of(id, 300 * MIB);
        fleet.persist(id);
        fleet.persist(id);
        let (of_left, of_right) = (fleet.log_bytes(id, REST), fleet.log_bytes(id, right));
        assert!(of_left + of_right <= 30 * MIB && of_left + of_right > 26 * MIB, "{of_left} + {of_right} B");
        assert!(of_right > 6 * MIB, "the smaller log stays as it is: {of_right} B");
    }
    fleet.cut.clear();
    fleet.run_until(10_000, "the follower catches up", |f| f.versions(lost) == f.versions(leader));
    fleet.assert_everything_was_given_back();
}

#[test]
fn entries_that_a_store_keeps_in_memory_have_one_bound_for_all_of_its_ranges() {
    const MAX: usize = 3 << 20;
    let (mut fleet, slow) = at_rest(2);
    let split = AdminRequest::Split { at: key("m"), right: RangeId(0) };
    fleet.admin(store(1), REST, split).unwrap();
    fleet.run(20);
    fleet.shared(slow).entries.set_max(MAX);
    fleet.holds_applies.insert(slow);
    fill(&mut fleet, "a", 12);
    fill(&mut fleet, "z", 12);
    let kept = fleet.shared(slow).entries.bytes();
    // Beyond the bound each of three ranges takes what it may always have, and one entry more; what is committed is counted twice.
    assert!(kept > MAX && kept < MAX + 3 * 2 * (2 << 20), "{kept} B");
    fleet.release_applies(slow);
    let leader = fleet.leader_in_reach(REST);
    fleet.run_until(5_000, "the follower catches up", |f| f.versions(slow) == f.versions(leader));
    assert!(fleet.shared(slow).entries.bytes() < MAX, "applied entries leave where there is little room");
}

fn exhausted() -> Fault {
    Fault::Exhausted { doing: "reading data".into(), detail: "Too many open files".into() }
}

#[test]
fn store_that_is_out_of_file_descriptors_quarantines_nothing() {
    let (mut fleet, follower) = at_rest(1);
    let leader = fleet.leader_in_reach(REST);
    let full = Fault::Io { doing: "writing data".into(), detail: "of an unknown outcome".into() };
    for fault in [exhausted(), Fault::Full("writing data".into()), full] {
        fleet.happens(follower, REST, Event::Applied { range: REST, applied: Err(fault) });
    }
    fleet.happens(leader, REST, Event::EntriesFetched { range: REST, to: ReplicaId(1), entries: Err(exhausted()) });
    fleet.run(100);
    for id in (1..=3).map(store) {
        assert!(fleet.standing(id, REST).is_some(), "{id} gave a sound replica up");
        assert!(fleet.stores[&id].alarms.is_empty());
    }
    fleet.must(leader, put("a", "1"));
}
