//! What others say unasked, and whoever passes for a store: nothing of it ends a store, a replica or the knowledge of the fleet.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, spread, store};
use holdfast_types::{RangeId, StoreId};

/// Somebody of whom the fleet knows nothing.
const STRANGER: StoreId = StoreId(9);

fn takes_for_forgotten(fleet: &Fleet, of: StoreId) -> bool {
    fleet.stores.values().any(|running| running.told.iter().any(|told| told.store == of && told.is_forgotten()))
}

#[test]
fn list_of_stores_counts_only_from_whoever_was_asked_for_it() {
    let mut fleet = spread(3, 2);
    let leader = fleet.leader(RangeId::SYSTEM).unwrap();
    let mut others = (1..=3).map(store).filter(|id| *id != leader);
    let (victim, other) = (others.next().unwrap(), others.next().unwrap());
    let list = fleet.list_without(victim);
    // The third store is asked nothing, since the leader is known.
    fleet.run(15_000);
    for from in [STRANGER, other] {
        for to in 1..=3 {
            if store(to) != from {
                fleet.is_told(from, store(to), &list);
            }
        }
        assert!(!takes_for_forgotten(&fleet, victim), "by word of {from}");
    }
    fleet.is_told(leader, victim, &list);
    assert!(takes_for_forgotten(&fleet, victim), "whoever was asked is believed");
}
