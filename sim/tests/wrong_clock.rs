//! A wall clock is set beyond the bound, and right again.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};

#[test]
fn store_whose_clock_is_wrong_leads_nothing_until_it_is_right_and_no_client_notices() {
    for (seed, ahead_ms) in (0..6).zip([20_000, -20_000, 1_500, -1_500, 600_000, -600_000]) {
        let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
        world.boot().unwrap();
        world.set_busy(true);
        world.run_for(Duration::from_secs(2));
        let range = world.ranges().last().unwrap().range;
        let store = world.leader_of(range).unwrap();
        world.set_clock_wrong(store, ahead_ms);
        let leads_nothing =
            |world: &World| world.ranges().all(|d| world.leader_of(d.range).is_some_and(|l| l != store));
        world.wait("others lead what it led", Duration::from_secs(1), leads_nothing).unwrap();
        for _ in 0..50 {
            world.run_for(Duration::from_millis(100));
            assert!(world.ranges().all(|d| world.leader_of(d.range) != Some(store)), "seed {seed}: it leads again");
        }
        // Also after it was started with the wrong time.
        world.end_store(store, holdfast_sim::disk::Ending::Killed);
        world.start_store(store);
        for _ in 0..50 {
            world.run_for(Duration::from_millis(100));
            assert!(world.ranges().all(|d| world.leader_of(d.range) != Some(store)), "seed {seed}: it leads again");
        }
        world.settle().unwrap();
        world.judge().unwrap();
    }
}

/// Nobody has noticed yet: what it gave by then would be the time of its ranges until that has come.
#[test]
fn clock_that_is_wrong_for_a_moment_stops_nothing() {
    for (seed, (ahead_ms, wrong_for)) in
        (10..).zip([(600_000, 500), (600_000, 30), (5_000, 60), (-600_000, 500), (7_200_000, 2_000)])
    {
        for all in [false, true] {
            let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
            world.boot().unwrap();
            world.set_busy(true);
            world.run_for(Duration::from_secs(2));
            let range = world.ranges().last().unwrap().range;
            let leader = world.leader_of(range).unwrap();
            let stores: Vec<_> = world.living().filter(|store| all || *store == leader).collect();
            for store in &stores {
                world.set_clock_wrong(*store, ahead_ms);
            }
            world.run_for(Duration::from_millis(wrong_for));
            for store in &stores {
                world.set_clock_wrong(*store, 0);
            }
            world.settle().unwrap();
            world.judge().unwrap();
        }
    }
}
