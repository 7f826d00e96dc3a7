//! A disk ends no sync for a while, is full, or fails.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};
use holdfast_types::StoreId;

fn busy_world(seed: u64) -> (World, StoreId) {
    let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
    world.boot().unwrap();
    world.set_busy(true);
    world.run_for(Duration::from_secs(2));
    let range = world.ranges().last().unwrap().range;
    let leader = world.leader_of(range).unwrap();
    (world, leader)
}

fn leads_nothing(world: &World, store: StoreId) -> bool {
    world.ranges().all(|d| world.leader_of(d.range).is_some_and(|leader| leader != store))
}

#[test]
fn store_whose_disk_stalls_loses_its_leaders_and_nothing_else_is_lost() {
    for seed in 0..4 {
        let (mut world, store) = busy_world(seed);
        world.stall_disk(store, Duration::from_secs(8));
        let within = Duration::from_secs(5);
        world.wait("others lead what it led", within, |world| leads_nothing(world, store)).unwrap();
        world.run_for(Duration::from_secs(5));
        world.settle().unwrap();
        world.judge().unwrap();
    }
}

#[test]
fn store_whose_sync_fails_exits_and_comes_back() {
    for seed in 0..4 {
        let (mut world, store) = busy_world(seed);
        world.disk(store, |disk| disk.contents.fail_next_sync());
        world.run_for(Duration::from_secs(4));
        world.settle().unwrap();
        world.judge().unwrap();
    }
}

#[test]
fn store_with_a_full_disk_is_away_until_there_is_space() {
    let (mut world, store) = busy_world(5);
    world.disk(store, |disk| disk.set_full(true));
    world.wait("others lead what it led", Duration::from_secs(3), |world| leads_nothing(world, store)).unwrap();
    world.run_for(Duration::from_secs(2));
    world.settle().unwrap();
    world.judge().unwrap();
}
