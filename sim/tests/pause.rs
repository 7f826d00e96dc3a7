//! A process is stopped for longer than its promises last, and goes on as if nothing had been.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};

#[test]
fn store_that_was_stopped_longer_than_its_promise_serves_no_stale_read() {
    for (seed, stopped_ms) in (0..8).zip([300, 560, 590, 610, 650, 900, 1_500, 5_000]) {
        let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
        world.boot().unwrap();
        world.set_busy(true);
        world.run_for(Duration::from_secs(2));
        for _ in 0..3 {
            let range = world.ranges().last().unwrap().range;
            let leader = world.leader_of(range).unwrap();
            world.freeze(leader);
            world.run_for(Duration::from_millis(stopped_ms));
            world.thaw(leader);
            world.run_for(Duration::from_millis(1_500));
        }
        world.settle().unwrap();
        world.judge().unwrap();
    }
}
