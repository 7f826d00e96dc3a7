//! A store loses its disk and never comes back.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};

#[test]
fn acknowledged_writes_survive_the_loss_of_a_disk_and_the_rest_restarting() {
    for seed in 0..3 {
        let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
        world.boot().unwrap();
        world.set_busy(true);
        world.run_for(Duration::from_secs(2));
        let range = world.ranges().last().unwrap().range;
        let leader = world.leader_of(range).unwrap();
        world.wipe(leader);
        world.wait("every range is led again", Duration::from_secs(1), World::is_led).unwrap();
        world.run_for(Duration::from_secs(2));
        world.settle().unwrap();
        world.judge().unwrap();
    }
}

#[test]
fn lost_store_is_replaced_within_its_site_when_that_has_another_one() {
    let mut world = World::new(3, &Options { clients: 1, ..Options::quiet(Shape::THREE_BY_TWO) });
    world.boot().unwrap();
    let range = world.ranges().last().unwrap().range;
    let lost = world.leader_of(range).unwrap();
    world.wipe(lost);
    let replaced = |world: &World| world.is_placed() && world.ranges().all(|d| d.replica_on(lost).is_none());
    // A store that is silent is replaced after ten minutes.
    world.wait("every range has its voters without it", Duration::from_secs(700), replaced).unwrap();
    world.settle().unwrap();
    world.judge().unwrap();
}
