//! A store whose disk comes back older than it was: it has forgotten what others rely on, and must not act as if it had not.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, put, spread, store};
use holdfast_types::{RangeId, ReplicaId};

const BACK: u64 = 3;

fn replica(fleet: &Fleet, id: u64) -> Option<ReplicaId> {
    fleet.standing(store(id), REST).and_then(|s| s.descriptor.replica_on(store(id))).map(|r| r.replica)
}

/// Starts the store on its restored disk, sees it refused, and starts it once more.
fn comes_back(fleet: &mut Fleet) {
    fleet.start(store(BACK));
    fleet.run_until(500, "a refusal", |f| f.stopped.contains(&store(BACK)));
    assert_eq!(fleet.stopped.len(), 1, "the others go on");
    let led = fleet.leader(REST).unwrap();
    assert_ne!(led, store(BACK), "it was stopped while it abstained");
    fleet.crash(store(BACK));
    fleet.stopped.clear();
    fleet.start(store(BACK));
}

fn is_rebuilt(fleet: &mut Fleet, old: ReplicaId) {
    assert_eq!(replica(fleet, BACK), None, "everything on it is in quarantine");
    fleet.run_until(60_000, "new replicas", |f| {
        f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3 && replica(f, BACK).is_some_and(|new| new > old)
    });
    fleet.run(1_000);
    assert!(fleet.stopped.is_empty(), "it is one of them again");
    for id in 1..=2 {
        assert_eq!(fleet.versions(store(BACK)), fleet.versions(store(id)));
    }
}

#[test]
fn restored_image_of_an_earlier_life_is_refused_and_rebuilt_under_new_ids() {
    let mut fleet = spread(3, 2);
    let old = replica(&fleet, BACK).unwrap();
    let image = fleet.image(store(BACK));
    for _ in 0..3 {
        fleet.crash(store(BACK));
        fleet.start(store(BACK));
        fleet.run(2_000);
    }
    fleet.must(store(1), put("a", "1"));
    fleet.restore(store(BACK), image);
    fleet.run(1_500);
    comes_back(&mut fleet);
    is_rebuilt(&mut fleet, old);
    assert_eq!(fleet.value(store(BACK), "a").as_deref(), Some("1"));
}

#[test]
fn restored_image_of_this_life_is_known_by_its_log() {
    let mut fleet = spread(3, 2);
    let old = replica(&fleet, BACK).unwrap();
    let image = fleet.image(store(BACK));
    for n in 0..20 {
        fleet.must(store(1), put(&format!("k{n}"), "1"));
    }
    fleet.run(200);
    fleet.restore(store(BACK), image);
    fleet.run(1_500);
    comes_back(&mut fleet);
    is_rebuilt(&mut fleet, old);
}

#[test]
fn restored_image_is_known_to_stores_that_were_started_again_meanwhile() {
    let mut fleet = spread(3, 1);
    let old = replica(&fleet, BACK).unwrap();
    let image = fleet.image(store(BACK));
    for _ in 0..3 {
        fleet.crash(store(BACK));
        fleet.start(store(BACK));
        fleet.run(2_000);
    }
    for id in 1..=3 {
        fleet.crash(store(id));
    }
    fleet.start(store(1));
    fleet.start(store(2));
    fleet.run(3_000);
    fleet.restore(store(BACK), image);
    comes_back(&mut fleet);
    is_rebuilt(&mut fleet, old);
}

#[test]
fn store_that_only_crashed_is_not_refused() {
    let mut fleet = spread(3, 1);
    for n in 0..20 {
        fleet.must(store(1), put(&format!("k{n}"), "1"));
        let id = store(n % 3 + 1);
        fleet.crash(id);
        fleet.start(id);
        fleet.run(2_500);
        assert!(fleet.stopped.is_empty());
    }
}
