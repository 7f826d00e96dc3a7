//! A whole site is lost on a quiet network at the default settings.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};
use holdfast_types::SiteName;

/// Every range is led again within this; see the README, "What it promises".
const FAILOVER: Duration = Duration::from_secs(1);

fn busy_world(seed: u64, shape: Shape) -> World {
    let mut world = World::new(seed, &Options::quiet(shape));
    world.boot().unwrap();
    world.set_busy(true);
    world.run_for(Duration::from_secs(3));
    world
}

fn lose_and_return(seed: u64, shape: Shape) {
    let mut world = busy_world(seed, shape);
    let sites = shape.sites;
    for n in 0..sites {
        let site = SiteName::new(&format!("site-{n}")).unwrap();
        world.lose_site(&site);
        world.wait("every range is led again", FAILOVER, World::is_led).unwrap();
        world.run_for(Duration::from_secs(2));
        world.return_site(&site);
        world.wait("the site has caught up", Duration::from_secs(10), World::is_led).unwrap();
        world.run_for(Duration::from_secs(4));
    }
    world.settle().unwrap();
    world.judge().unwrap();
}

#[test]
fn every_range_is_led_within_a_second_and_no_acknowledged_write_is_lost() {
    for seed in 0..4 {
        lose_and_return(seed, Shape::THREE_BY_ONE);
    }
}

#[test]
fn the_same_holds_with_two_stores_a_site_and_with_five_sites() {
    lose_and_return(1, Shape::THREE_BY_TWO);
    lose_and_return(2, Shape::FIVE_BY_ONE);
}

#[test]
fn callers_that_let_the_client_retry_see_no_error() {
    let mut world = busy_world(7, Shape::THREE_BY_ONE);
    let before = world.hub.counts;
    world.lose_site(&SiteName::new("site-1").unwrap());
    world.wait("every range is led again", FAILOVER, World::is_led).unwrap();
    // Each must succeed within the deadline: a probe that fails is a violation.
    world.probe(Duration::from_secs(10));
    world.run_for(Duration::from_secs(11));
    assert!(world.hub.checks.violations().is_empty(), "{:?}", world.hub.checks.violations());
    assert!(world.hub.counts.operations > before.operations);
}
