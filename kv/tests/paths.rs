//! Support follows the path of the data: whatever is cut, a range can be written wherever a majority is connected.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

mod fleet;

use holdfast_types::StoreId;

use self::fleet::{Fleet, REST, put, spread, store};

type Direction = (StoreId, StoreId);

fn others(of: StoreId) -> Vec<StoreId> {
    (1..=3).map(store).filter(|id| *id != of).collect()
}

/// Writes through `at` until one is acknowledged, for 2 s.
fn writes_within_two_seconds(fleet: &mut Fleet, at: StoreId, what: &str) {
    let mut ticket = fleet.ask(at, put("k", what));
    for _ in 0..200 {
        fleet.run(10);
        match fleet.answer(ticket) {
            Some(Ok(_)) => return,
            Some(Err(_)) => ticket = fleet.ask(at, put("k", what)),
            None => {}
        }
    }
    panic!("{at} writes nothing for 2 s: {what}");
}

/// Heartbeats pass everywhere; streams are cut in these directions around the leader.
fn cut_streams(name: &str, cuts: impl Fn(StoreId, &[StoreId]) -> Vec<Direction>) {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    let others = others(leader);
    let cuts = cuts(leader, &others);
    fleet.cut_streams.extend(cuts.iter().copied());
    // Those that are connected with each other in both directions.
    let connected = |a: StoreId, b: StoreId| !cuts.contains(&(a, b)) && !cuts.contains(&(b, a));
    let majority: Vec<StoreId> = (1..=3)
        .map(store)
        .filter(|a| (1..=3).map(store).filter(|b| a != b && connected(*a, *b)).count() == 2)
        .chain(others.iter().copied().filter(|_| connected(others[0], others[1])))
        .collect();
    assert!(!majority.is_empty(), "{name}: nobody could write");
    for at in majority {
        writes_within_two_seconds(&mut fleet, at, name);
    }
    fleet.cut_streams.clear();
    fleet.run(3_000);
    for at in (1..=3).map(store) {
        writes_within_two_seconds(&mut fleet, at, "healed");
    }
}

#[test]
fn streams_of_a_leader_are_cut_while_its_heartbeats_live_and_the_range_is_written_within_two_seconds() {
    cut_streams("it sends and does not hear", |l, o| vec![(o[0], l), (o[1], l)]);
    cut_streams("it hears and does not send", |l, o| vec![(l, o[0]), (l, o[1])]);
    cut_streams("both", |l, o| vec![(l, o[0]), (l, o[1]), (o[0], l), (o[1], l)]);
    cut_streams("it sends to one and hears the other", |l, o| vec![(l, o[0]), (o[1], l)]);
    cut_streams("one link", |l, o| vec![(l, o[0]), (o[0], l)]);
    cut_streams("one link, one way", |l, o| vec![(l, o[1])]);
    cut_streams("a link between followers", |_, o| vec![(o[0], o[1]), (o[1], o[0])]);
}

#[test]
fn store_whose_heartbeats_alone_are_cut_goes_on_being_served_through_the_others() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    let others = others(leader);
    for alone in [leader, others[0]] {
        for other in (1..=3).map(store).filter(|other| *other != alone) {
            fleet.cut_heartbeats.extend([(alone, other), (other, alone)]);
        }
        // Before, while and after the promises run out.
        for _ in 0..10 {
            for at in (1..=3).map(store) {
                writes_within_two_seconds(&mut fleet, at, "heartbeats of one store are cut");
            }
            fleet.run(300);
        }
        fleet.cut_heartbeats.clear();
        fleet.run(3_000);
    }
}
