//! A store leaves the fleet, and things go wrong meanwhile.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_sim::disk::Ending;
use holdfast_sim::network::{Cut, Place};
use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};
use holdfast_types::{RangeId, Role, StoreId};

/// Each copy is small; what takes time is that placement finds out who died.
const EMPTY_WITHIN: Duration = Duration::from_secs(120);

fn busy_world(seed: u64) -> World {
    let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_TWO));
    world.boot().unwrap();
    world.set_busy(true);
    world.run_for(Duration::from_secs(2));
    world
}

/// Of every range each half has as many voters as the policy wants.
fn assert_no_range_is_weaker(world: &World) {
    for range in world.ranges() {
        let (incoming, outgoing) = (range.incoming_voters().count(), range.outgoing_voters().count());
        assert!(incoming >= 3 && outgoing >= 3, "{range:?}");
    }
}

fn is_empty(world: &World, store: StoreId) -> bool {
    world.ranges().all(|range| range.replica_on(store).is_none())
}

fn leads(world: &World, store: StoreId) -> bool {
    world.ranges().any(|range| world.leader_of(range.range) == Some(store))
}

/// What is not acknowledged may be lost with whoever plans: it is asked for until it is on record.
fn mark(world: &mut World, store: StoreId, leaves: bool) {
    let is_known = |world: &World| world.knows_leaving(store) == leaves;
    for _ in 0..5 {
        world.mark_leaving(store, leaves);
        if world.wait("the mark is on record", Duration::from_secs(10), is_known).is_ok() {
            return;
        }
    }
    panic!("the mark does not get on record");
}

/// Waits until the store is empty, sees at every moment that nothing is weaker, and does something in the middle.
fn drain(world: &mut World, store: StoreId, trouble: impl Fn(&mut World)) {
    mark(world, store, true);
    let begun = |world: &World| world.ranges().any(|range| range.replicas.iter().any(|r| r.role == Role::Learner));
    let watched = |world: &World, is_so: &dyn Fn(&World) -> bool| {
        assert_no_range_is_weaker(world);
        is_so(world)
    };
    world.wait("a copy has begun", Duration::from_secs(20), |world| watched(world, &begun)).unwrap();
    trouble(world);
    let empty = |world: &World| is_empty(world, store) && !leads(world, store) && world.is_placed();
    world.wait("the store is empty", EMPTY_WITHIN, |world| watched(world, &empty)).unwrap();
}

/// Its disk is of no use any more: whatever was acknowledged is elsewhere.
fn is_done_without(world: &mut World, store: StoreId) {
    world.wipe(store);
    world.run_for(Duration::from_secs(3));
    world.settle().unwrap();
    world.judge().unwrap();
}

#[test]
fn a_drained_store_is_done_without_and_nothing_acknowledged_was_on_it_alone() {
    for (seed, store) in [(1, 1), (2, 4), (3, 6)] {
        let mut world = busy_world(seed);
        drain(&mut world, StoreId(store), |_| ());
        is_done_without(&mut world, StoreId(store));
    }
}

#[test]
fn a_drain_goes_on_though_whoever_plans_it_dies_and_others_restart() {
    for seed in 0..3 {
        let mut world = busy_world(seed);
        let leaving = StoreId(2);
        drain(&mut world, leaving, |world| {
            // The planner, and the store that leaves: neither remembers anything but what is on record.
            let planner = world.leader_of(RangeId::SYSTEM).unwrap();
            for store in BTreeSet::from([planner, leaving]) {
                world.end_store(store, Ending::PowerLost);
            }
            world.run_for(Duration::from_secs(1));
            for store in [planner, leaving] {
                world.start_store(store);
            }
            world.run_for(Duration::from_secs(2));
            for store in (1..=6).map(StoreId).filter(|store| *store != leaving) {
                world.end_store(store, Ending::Killed);
                world.run_for(Duration::from_millis(300));
                world.start_store(store);
                world.run_for(Duration::from_secs(1));
            }
        });
        is_done_without(&mut world, leaving);
    }
}

#[test]
fn a_store_that_dies_while_it_leaves_is_replaced_long_before_the_grace_time() {
    let mut world = busy_world(5);
    drain(&mut world, StoreId(3), |world| world.wipe(StoreId(3)));
    is_done_without(&mut world, StoreId(3));
}

#[test]
fn a_store_that_is_cut_off_while_it_leaves_is_emptied_all_the_same() {
    let mut world = busy_world(7);
    let leaving = StoreId(5);
    drain(&mut world, leaving, |world| {
        let others = (1..=6).map(StoreId).filter(|store| *store != leaving);
        let cuts = others.flat_map(|other| {
            [(Place::Store(leaving), Place::Store(other)), (Place::Store(other), Place::Store(leaving))]
        });
        let cuts: BTreeSet<_> = cuts.collect();
        world.cut(&cuts, Cut::Loses);
        world.run_for(Duration::from_secs(8));
        world.heal(&cuts);
    });
    is_done_without(&mut world, leaving);
}

#[test]
fn a_store_that_stays_after_all_is_given_replicas_again() {
    let mut world = busy_world(9);
    let store = StoreId(1);
    drain(&mut world, store, |_| ());
    mark(&mut world, store, false);
    world.wait("it holds something", EMPTY_WITHIN, |world| !is_empty(world, store) && world.is_placed()).unwrap();
    world.settle().unwrap();
    world.judge().unwrap();
}
