//! One direction of the links of a leader is cut: it sends and does not hear, or hears and is not heard.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_sim::network::{Cut, Place};
use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};
use holdfast_types::StoreId;

fn cut_leader(seed: u64, deaf: bool, how: Cut) {
    let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
    world.boot().unwrap();
    world.set_busy(true);
    world.run_for(Duration::from_secs(2));
    let range = world.ranges().last().unwrap().range;
    let leader = world.leader_of(range).unwrap();
    let others: Vec<StoreId> = world.living().filter(|store| *store != leader).collect();
    let pair = |other: &StoreId| {
        let (from, to) = if deaf { (*other, leader) } else { (leader, *other) };
        (Place::Store(from), Place::Store(to))
    };
    let cuts: BTreeSet<_> = others.iter().map(pair).collect();
    world.cut(&cuts, how);
    let replaced = |world: &World| world.ranges().all(|d| world.leader_of(d.range).is_some_and(|now| now != leader));
    world.wait("others lead what it led", Duration::from_millis(2_500), replaced).unwrap();
    world.run_for(Duration::from_secs(2));
    world.heal(&cuts);
    world.run_for(Duration::from_secs(2));
    world.settle().unwrap();
    world.judge().unwrap();
}

#[test]
fn leader_that_sends_and_does_not_hear_is_replaced() {
    for seed in 0..3 {
        cut_leader(seed, true, Cut::Loses);
        cut_leader(seed, true, Cut::Holds);
    }
}

#[test]
fn leader_that_hears_and_is_not_heard_is_replaced() {
    for seed in 0..3 {
        cut_leader(seed, false, Cut::Loses);
        cut_leader(seed, false, Cut::Holds);
    }
}
