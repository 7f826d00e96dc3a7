//! The streams between stores are cut while their heartbeats pass: one port of a firewall, one path of several.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_sim::network::{Cut, Lanes, Place};
use holdfast_sim::world::World;
use holdfast_sim::{Options, Shape};
use holdfast_types::StoreId;

/// Cuts streams between the store that leads most and all others; `out`, `back`: in which directions.
fn cut_streams(seed: u64, out: bool, back: bool, how: Cut) {
    let mut world = World::new(seed, &Options::quiet(Shape::THREE_BY_ONE));
    world.boot().unwrap();
    world.set_busy(true);
    world.run_for(Duration::from_secs(2));
    let range = world.ranges().last().unwrap().range;
    let leader = world.leader_of(range).unwrap();
    let others: Vec<StoreId> = world.living().filter(|store| *store != leader).collect();
    let mut cuts = BTreeSet::new();
    for other in others {
        if out {
            cuts.insert((Place::Store(leader), Place::Store(other)));
        }
        if back {
            cuts.insert((Place::Store(other), Place::Store(leader)));
        }
    }
    world.cut_lanes(&cuts, how, Lanes::Streams);
    let replaced = |world: &World| world.ranges().all(|d| world.leader_of(d.range).is_some_and(|now| now != leader));
    world.wait("others lead what it led", Duration::from_secs(2), replaced).unwrap();
    world.run_for(Duration::from_secs(2));
    world.heal(&cuts);
    world.run_for(Duration::from_secs(2));
    world.settle().unwrap();
    world.judge().unwrap();
}

#[test]
fn leader_whose_streams_are_cut_is_replaced_within_two_seconds_though_its_heartbeats_pass() {
    for seed in 0..2 {
        for how in [Cut::Loses, Cut::Holds] {
            cut_streams(seed, true, true, how);
            cut_streams(seed, true, false, how);
            cut_streams(seed, false, true, how);
        }
    }
}
