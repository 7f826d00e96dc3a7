//! All stores lose power at once, with unsynced writes on the way.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use holdfast_sim::disk::Ending;
use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};

fn crash_all(seed: u64, ending: Ending) {
    let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
    world.boot().unwrap();
    world.set_busy(true);
    for _ in 0..3 {
        world.run_for(Duration::from_millis(1_700));
        let stores: Vec<_> = world.living().collect();
        stores.iter().for_each(|store| world.end_store(*store, ending));
        world.run_for(Duration::from_millis(300));
        stores.iter().for_each(|store| world.start_store(*store));
        world.wait("every range is led after the start", Duration::from_secs(3), World::is_led).unwrap();
    }
    world.settle().unwrap();
    world.judge().unwrap();
}

#[test]
fn every_acknowledged_write_is_there_after_all_stores_lost_power() {
    (0..6).for_each(|seed| crash_all(seed, Ending::PowerLost));
}

#[test]
fn every_acknowledged_write_is_there_after_all_processes_were_killed() {
    (0..3).for_each(|seed| crash_all(seed, Ending::Killed));
}
