//! What others say unasked, and whoever passes for a store: nothing of it ends a store, a replica or the knowledge of the fleet.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use std::sync::atomic::Ordering;

use fleet::{Fleet, REST, key, put, site_of, spread, store};
use holdfast_kv::core::message::{CallId, RangeHint, StoreMessage};
use holdfast_replica::RaftEnvelope;
use holdfast_types::limits::MAX_EMPTY_REPLICAS;
use holdfast_types::{
    KeyRange, RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor, ReplicaId, Role, StoreId, Term,
};

/// Somebody of whom the fleet knows nothing.
const STRANGER: StoreId = StoreId(9);

fn takes_for_forgotten(fleet: &Fleet, of: StoreId) -> bool {
    fleet.stores.values().any(|running| running.told.iter().any(|told| told.store == of && told.is_forgotten()))
}

#[test]
fn list_of_stores_counts_only_from_the_store_that_was_asked() {
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

/// The range as if all of its replicas were on one store that has taken it over.
fn taken_over(fleet: &Fleet, by: StoreId) -> RangeDescriptor {
    let leader = fleet.leader(REST).unwrap();
    let known = fleet.standing(leader, REST).unwrap().descriptor.clone();
    let replica = known.next_replica;
    let replicas = vec![ReplicaDescriptor { replica, store: by, site: site_of(by), role: Role::Voter }];
    let epoch = RangeEpoch { membership: known.epoch.membership + 1, ..known.epoch };
    RangeDescriptor { replicas, next_replica: replica.next(), epoch, ..known }
}

fn envelope(descriptor: RangeDescriptor, from: ReplicaId, to: ReplicaId) -> StoreMessage {
    let range = descriptor.range;
    let message = bytes::Bytes::new();
    StoreMessage::Raft(RaftEnvelope { range, from, to, descriptor: Some(descriptor), stamp: None, message })
}

#[test]
fn replica_is_not_removed_by_word_of_a_stranger() {
    let mut fleet = spread(3, 2);
    let descriptor = taken_over(&fleet, STRANGER);
    let from = descriptor.replicas[0].replica;
    let hint = || vec![RangeHint { descriptor: descriptor.clone(), term: Term(99), leader: Some(STRANGER) }];
    let id = CallId::new(0, 1);
    for to in (1..=3).map(store) {
        fleet.hears_of(to, STRANGER);
        let own = fleet.standing(to, REST).unwrap().descriptor.replica_on(to).unwrap().replica;
        fleet.is_told(STRANGER, to, &StoreMessage::Located { id, hints: hint() });
        let answer = StoreMessage::ForwardAnswer {
            id,
            outcome: Err(holdfast_types::Rejected::NotLeader { range: REST, leader: None }),
            fleet_now: holdfast_types::Timestamp::ZERO,
            hints: hint(),
        };
        fleet.is_told(STRANGER, to, &answer);
        fleet.is_told(STRANGER, to, &envelope(descriptor.clone(), from, own));
        fleet.run(100);
        assert!(fleet.standing(to, REST).is_some(), "{to} has lost its replica");
    }
    fleet.must(store(2), put("a", "1"));
}

#[test]
fn replica_is_removed_by_word_of_the_fleet() {
    let mut fleet = spread(3, 2);
    let hints = vec![RangeHint { descriptor: taken_over(&fleet, store(2)), term: Term(99), leader: None }];
    fleet.is_told(store(2), store(1), &StoreMessage::Located { id: CallId::new(0, 1), hints });
    fleet.run(100);
    assert!(fleet.standing(store(1), REST).is_none(), "as those that were removed while they were away are told");
}

/// A range that there is not, with a replica for this store.
fn invented(number: u64, by: StoreId, on: StoreId) -> StoreMessage {
    let replica = |replica, store| ReplicaDescriptor {
        replica: ReplicaId(replica),
        store,
        site: site_of(store),
        role: Role::Voter,
    };
    let start = key(&format!("r{number:06}"));
    let descriptor = RangeDescriptor {
        range: RangeId::made_by(by, number),
        bounds: KeyRange { end: Some(key(&format!("r{number:06}x"))), start },
        epoch: RangeEpoch { membership: 9, bounds: 9 },
        replicas: vec![replica(1, by), replica(2, on)],
        next_replica: ReplicaId(3),
    };
    envelope(descriptor, ReplicaId(1), ReplicaId(2))
}

#[test]
fn nobody_makes_replicas_without_end_and_a_stranger_none() {
    let mut empty = Fleet::new(4, 1);
    for number in 0..50 {
        empty.deliver(STRANGER, store(4), &invented(number, STRANGER, store(4)));
    }
    empty.settle();
    assert_eq!(empty.shared(store(4)).spans.awaited(), 0);
    assert!(empty.shared(store(4)).of_strangers.load(Ordering::Relaxed) >= 50);
    for number in 0..2 * u64::try_from(MAX_EMPTY_REPLICAS).unwrap() {
        empty.deliver(store(2), store(4), &invented(number, store(2), store(4)));
    }
    empty.settle();
    assert_eq!(empty.shared(store(4)).spans.awaited(), MAX_EMPTY_REPLICAS);
}

#[test]
fn reports_of_strangers_keep_no_store_out_of_the_plans() {
    let mut fleet = Fleet::new(3, 1);
    let report = |id| StoreMessage::Report(Box::new(fleet::report_of(StoreId(id))));
    for round in 0..20 {
        for id in 100..2_100 {
            fleet.deliver(StoreId(id), store(1), &report(id));
        }
        fleet.run(if round < 10 { 10 } else { 500 });
    }
    fleet.run_until(60_000, "spreading", |f| f.voters(RangeId::SYSTEM) == 3 && f.voters(REST) == 3);
}

#[test]
fn stores_that_all_start_again_know_each_other_by_their_ranges() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    fleet.only_addresses_are_kept();
    for id in (1..=3).map(store) {
        fleet.crash(id);
    }
    for id in (1..=3).map(store) {
        fleet.start(id);
    }
    fleet.run_until(5_000, "leaders", |f| f.leader(REST).is_some() && f.leader(RangeId::SYSTEM).is_some());
    assert_eq!(fleet.value(store(3), "a").as_deref(), Some("1"));
    // One with nothing on its disk is told by those that know it.
    fleet.run_until(5_000, "the list", |f| f.stores.values().all(|running| running.told.len() == 3));
}
