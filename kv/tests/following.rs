//! Nobody is followed for ever who does not say that he leads.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

mod fleet;

use holdfast_kv::core::message::StoreMessage;
use holdfast_types::StoreId;

use self::fleet::{Fleet, REST, key, put, spread, store};

/// The followers of a range whose leader is `leader`, of three stores.
fn others(leader: StoreId) -> Vec<StoreId> {
    (1..=3).map(store).filter(|id| *id != leader).collect()
}

fn is_led_elsewhere(fleet: &Fleet, than: StoreId) -> bool {
    fleet.leader(REST).is_some_and(|leader| leader != than)
}

#[test]
fn range_is_led_again_though_a_link_was_cut_when_its_leader_was_quarantined() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    let follower = others(leader)[0];
    fleet.cut.extend([(leader, follower), (follower, leader)]);
    fleet.damage(leader, REST);
    fleet.run(20);
    fleet.cut.clear();
    fleet.run_until(2_000, "another leader", |f| is_led_elsewhere(f, leader));
    fleet.must(others(leader)[1], put("a", "1"));
}

#[test]
fn range_is_led_again_though_word_of_its_quarantined_leader_is_lost_for_minutes() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    fleet.loses = Some(|message| matches!(message, StoreMessage::Unled { .. }));
    fleet.damage(leader, REST);
    fleet.run(120_000);
    assert!(fleet.leader(REST).is_none(), "its followers have not heard that it is over");
    fleet.loses = None;
    fleet.run_until(2_500, "another leader", |f| is_led_elsewhere(f, leader));
}

/// The notice is gone for good, as if its receiver had noted it and then been born: whoever needs the leader finds out.
#[test]
fn request_that_a_store_refuses_to_lead_frees_its_followers() {
    let mut fleet = spread(3, 1);
    let leader = fleet.leader(REST).unwrap();
    fleet.loses = Some(|message| matches!(message, StoreMessage::Unled { .. }));
    fleet.damage(leader, REST);
    for other in others(leader) {
        let term = fleet.standing(other, REST).unwrap().term;
        fleet.deliver(other, leader, &StoreMessage::UnledNoted { range: REST, term });
    }
    fleet.settle();
    fleet.loses = None;
    fleet.run(3_000);
    assert!(fleet.leader(REST).is_none(), "nothing asks for a leader");
    let other = others(leader)[0];
    let ticket = fleet.ask(other, fleet::get("a"));
    fleet.run_until(2_000, "another leader", |f| is_led_elsewhere(f, leader));
    fleet.run(100);
    assert!(fleet.answer(ticket).is_some(), "who asked for it is answered");
    assert!(fleet.stores[&other].range_of(&key("a")) == REST);
}
