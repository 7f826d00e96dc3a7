//! Links that are cut and stores that are silent: requests go around them, through a third store, and none waits for an answer
//! that cannot come.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, get, put, spread, store};
use holdfast_kv::core::message::StoreMessage;
use holdfast_placement::StateKey;
use holdfast_replica::AdminRequest;
use holdfast_types::{RangeId, RangeRequest, Rejected, Request, Response, StoreId};

/// The longest that a caller who asks again and again is kept waiting by a cut that leaves a path.
const STALL_MS: u64 = 2_000;

fn cut_both(fleet: &mut Fleet, a: StoreId, b: StoreId) {
    fleet.cut.insert((a, b));
    fleet.cut.insert((b, a));
}

/// Asks a store to write until it says that it did, as a client does that can reach only this one. Gives the milliseconds.
fn write_at(fleet: &mut Fleet, at: StoreId, user: &str) -> u64 {
    let begun = fleet.now;
    loop {
        let ticket = fleet.ask(at, put(user, "x"));
        fleet.run_until(STALL_MS, "an answer", |f| f.answer(ticket).is_some());
        let waited_ms = u64::try_from(fleet.now.since(begun).as_millis()).unwrap();
        match fleet.answer(ticket).unwrap() {
            Ok(_) => return waited_ms,
            Err(rejected) => {
                assert!(rejected.may_retry() && waited_ms < STALL_MS, "{at} after {waited_ms} ms: {rejected}");
                fleet.run(25);
            }
        }
    }
}

/// The store that neither leads everybody's range nor is `not`.
fn another(fleet: &Fleet, not: &[StoreId]) -> StoreId {
    (1..).map(store).find(|id| !not.contains(id) && fleet.leader(REST) != Some(*id)).unwrap()
}

#[test]
fn store_that_cannot_reach_the_leader_is_served_through_a_third() {
    let mut fleet = spread(3, 2);
    // Placement spreads the leaders first.
    fleet.run(15_000);
    let leader = fleet.leader(REST).unwrap();
    let behind = another(&fleet, &[leader]);
    for cuts in [vec![(behind, leader)], vec![(leader, behind)], vec![(behind, leader), (leader, behind)]] {
        fleet.cut.extend(cuts.clone());
        fleet.run(2_000);
        assert_eq!(fleet.leader(REST), Some(leader), "a majority hears it");
        let waited_ms = write_at(&mut fleet, behind, "a");
        assert!(waited_ms <= 300, "{cuts:?}: {waited_ms} ms");
        // The way is known from here on: nothing is waited for.
        for request in [put("b", "2"), get("b")] {
            let ticket = fleet.ask(behind, request);
            assert!(matches!(fleet.answer(ticket), Some(Ok(_))), "{cuts:?}: {:?}", fleet.answer(ticket));
        }
        fleet.cut.clear();
        fleet.run(2_000);
    }
    fleet.assert_everything_was_given_back();
}

#[test]
fn any_cut_of_one_link_leaves_every_store_able_to_write_within_two_seconds() {
    let mut fleet = spread(3, 2);
    for a in 1..=3 {
        for b in (1..=3).filter(|b| *b != a) {
            for cuts in [vec![(a, b)], vec![(a, b), (b, a)]] {
                fleet.cut.extend(cuts.iter().map(|(from, to)| (store(*from), store(*to))));
                for at in 1..=3 {
                    write_at(&mut fleet, store(at), "a");
                }
                fleet.run(1_500);
                for at in 1..=3 {
                    write_at(&mut fleet, store(at), "b");
                }
                fleet.cut.clear();
                fleet.run(1_500);
            }
        }
    }
    fleet.assert_everything_was_given_back();
}

#[test]
fn store_without_a_replica_goes_around_a_cut_to_the_leader() {
    let mut fleet = Fleet::new(4, 2);
    fleet.run_until(60_000, "spreading", |f| f.voters(REST) == 3 && f.voters(RangeId::SYSTEM) == 3);
    let leader = fleet.leader(REST).unwrap();
    let outside = (1..=4).map(store).find(|id| fleet.standing(*id, REST).is_none()).unwrap();
    write_at(&mut fleet, outside, "a");
    cut_both(&mut fleet, outside, leader);
    let waited_ms = write_at(&mut fleet, outside, "a");
    assert!(waited_ms <= 1_000, "{waited_ms} ms");
    for round in 0..20 {
        fleet.run(500);
        let ticket = fleet.ask(outside, put("b", "2"));
        assert!(matches!(fleet.answer(ticket), Some(Ok(_))), "{round}: {:?}", fleet.answer(ticket));
    }
    // When the link is whole again, it is used again: the third may go.
    fleet.cut.clear();
    fleet.run(2_000);
    for third in (1..=4).map(store).filter(|id| *id != outside && *id != leader) {
        cut_both(&mut fleet, outside, third);
    }
    fleet.run(2_000);
    write_at(&mut fleet, outside, "c");
    fleet.cut.clear();
    fleet.assert_everything_was_given_back();
}

/// The first store that is asked for the way is behind the same cut: it says so soon, and the next one is asked.
#[test]
fn store_asks_one_after_the_other_until_one_reaches_the_leader() {
    let mut fleet = Fleet::new(5, 1);
    fleet.run_until(60_000, "spreading", |f| f.voters(RangeId::SYSTEM) == 5);
    let leader = fleet.leader(RangeId::SYSTEM).unwrap();
    let mut others = (1..=5).map(store).filter(|id| *id != leader);
    let (first, behind) = (others.next().unwrap(), others.next().unwrap());
    cut_both(&mut fleet, first, leader);
    cut_both(&mut fleet, behind, leader);
    fleet.run(1_500);
    assert_eq!(fleet.leader(RangeId::SYSTEM), Some(leader), "a majority hears it");
    let request = Request::Get { keys: vec![StateKey::Store(store(1)).key()], at: None };
    let request = RangeRequest { range: None, write: None, request };
    let ticket = fleet.ask(behind, request.clone());
    fleet.run_until(500, "an answer", |f| f.answer(ticket).is_some());
    assert!(matches!(fleet.answer(ticket), Some(Ok(_))), "{:?}", fleet.answer(ticket));
    let ticket = fleet.ask(behind, request);
    assert!(matches!(fleet.answer(ticket), Some(Ok(_))), "the way is known: {:?}", fleet.answer(ticket));
}

fn loses_forwards(message: &StoreMessage) -> bool {
    matches!(message, StoreMessage::Forward { .. })
}

#[test]
fn request_whose_leader_was_replaced_is_not_waited_for_until_its_deadline() {
    let mut fleet = spread(3, 2);
    fleet.must(store(1), put("a", "1"));
    let old = fleet.leader(REST).unwrap();
    let asked = another(&fleet, &[old]);
    let next = another(&fleet, &[old, asked]);
    // The leader never gets what is sent to it, though it lives.
    fleet.loses = Some(loses_forwards);
    let (read, write) = (fleet.ask(asked, get("a")), fleet.ask(asked, put("a", "2")));
    let to = fleet.standing(old, REST).unwrap().descriptor.replica_on(next).unwrap().replica;
    fleet.admin(old, REST, AdminRequest::Transfer { to }).unwrap();
    fleet.loses = None;
    let begun = fleet.now;
    fleet.run_until(1_200, "answers", |f| f.answer(read).is_some() && f.answer(write).is_some());
    assert!(fleet.now.since(begun).as_millis() <= 1_200);
    assert!(matches!(fleet.answer(read), Some(Ok(Response::Got { .. }))), "{:?}", fleet.answer(read));
    assert!(matches!(fleet.answer(write), Some(Err(Rejected::Ambiguous(_)))), "{:?}", fleet.answer(write));
    fleet.assert_everything_was_given_back();
}

#[test]
fn request_that_the_old_leader_sends_on_is_answered_by_the_new_one() {
    let mut fleet = spread(3, 2);
    let old = fleet.leader(REST).unwrap();
    let asked = another(&fleet, &[old]);
    let next = another(&fleet, &[old, asked]);
    let to = fleet.standing(old, REST).unwrap().descriptor.replica_on(next).unwrap().replica;
    fleet.admin(old, REST, AdminRequest::Transfer { to }).unwrap();
    // The store that is asked has not heard of it: it asks the one that led.
    let ticket = fleet.ask(asked, put("a", "1"));
    fleet.run_until(200, "an answer", |f| f.answer(ticket).is_some());
    assert!(matches!(fleet.answer(ticket), Some(Ok(_))), "{:?}", fleet.answer(ticket));
}
