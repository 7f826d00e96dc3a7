//! No round of a worker steps or looks at all of its replicas, however many there are: such a round would be late, and a late round ends the
//! support of the store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, key, put, spread, store};
use holdfast_kv::core::worker::RoundWork;
use holdfast_replica::AdminRequest;
use holdfast_types::{RangeId, StoreId};

/// More than any round may step or look at.
const RANGES: usize = 1_600;
/// Walks and timers of one round.
const STEPS: usize = 512 + 512;
/// Walks, thresholds of old versions, and garbage.
const LOOKS: usize = 3 * 1_024;

/// Three stores with many idle ranges, all led by one of them; nobody plans.
fn many_ranges() -> (Fleet, StoreId) {
    let mut fleet = spread(3, 1);
    for id in 1..=3 {
        fleet.damage(store(id), RangeId::SYSTEM);
    }
    fleet.is_checked = false;
    fleet.must(store(1), put("a", "1"));
    fleet.run(2_000);
    let leader = fleet.leader(REST).unwrap();
    for n in 0..RANGES {
        let at = key(&format!("k{n:05}"));
        let range = fleet.stores[&leader].range_of(&at);
        fleet.admin(leader, range, AdminRequest::Split { at, right: RangeId(0) }).unwrap();
    }
    fleet.run(4_000);
    (fleet, leader)
}

impl Fleet {
    /// Forgets what rounds did so far.
    fn count_anew(&mut self) {
        (self.most, self.sum) = (RoundWork::default(), RoundWork::default());
    }

    /// Since then every replica had its turn so often in all, and no round did too much.
    fn assert_spread_over_rounds(&self, what: &str, times: usize) {
        let (most, sum) = (self.most, self.sum);
        assert!(sum.steps >= times * RANGES, "{what}: {} replicas were stepped in all", sum.steps);
        assert!(most.steps <= STEPS, "{what}: {} replicas were stepped in one round", most.steps);
        assert!(most.looks <= LOOKS, "{what}: {} replicas were looked at in one round", most.looks);
    }
}

#[test]
fn whatever_concerns_all_replicas_of_a_store_takes_many_rounds() {
    let (mut fleet, leader) = many_ranges();

    fleet.count_anew();
    fleet.persist_at_once(leader);
    fleet.assert_spread_over_rounds("logs are cut", 1);

    fleet.count_anew();
    fleet.run(2_000);
    let (most, sum) = (fleet.most, fleet.sum);
    assert!(sum.looks >= 3 * RANGES, "reports: {} replicas were looked at in all", sum.looks);
    assert!(most.looks <= LOOKS && most.steps <= STEPS, "reports: {most:?} in one round");

    // The disk is full: whatever it leads is handed over.
    fleet.count_anew();
    fleet.measure_disk(leader, 0);
    let other = store(leader.0 % 3 + 1);
    fleet.run_until(20_000, "others lead", |f| f.stores[&other].knows_all_leaders(leader));
    fleet.assert_spread_over_rounds("leaders are handed over", 1);

    // A store is lost: its promises are withdrawn, and the others stand for what it led.
    let lost = fleet.leader(REST).unwrap();
    let left = (1..=3).map(store).find(|id| *id != lost && *id != leader).unwrap();
    fleet.run(2_000);
    fleet.count_anew();
    fleet.crash(lost);
    fleet.run_until(3_000, "every range is led", |f| f.stores[&left].knows_all_leaders(lost));
    fleet.assert_spread_over_rounds("a store is lost", 2);

    // It starts again, and everybody is told that it is supported.
    fleet.count_anew();
    fleet.start(lost);
    fleet.run(3_000);
    fleet.assert_spread_over_rounds("a store starts", 2);

    fleet.count_anew();
    fleet.retire(lost);
    fleet.run(10);
    fleet.assert_spread_over_rounds("a store retires", 1);

    fleet.is_checked = true;
    fleet.run(10);
    fleet.must(left, put("k00007", "on"));
    assert_eq!(fleet.value(left, "k00007").as_deref(), Some("on"));
}
