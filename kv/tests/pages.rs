//! Nothing that grows with a fleet is one message: what a store leads is reported in parts, and what another store passes on is no more
//! than clients may ask for.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, REST, key, put, spread, store};
use holdfast_kv::core::event::Event;
use holdfast_kv::core::message::{CallId, StoreMessage};
use holdfast_kv::core::permit::Authority;
use holdfast_kv::core::records::encode_store;
use holdfast_placement::{StateKey, StoreRecord};
use holdfast_replica::AdminRequest;
use holdfast_types::{Key, Mutation, RangeId, RangeRequest, Request, Response, StoreId, limits};

/// With keys of [`LONG`] bytes their report is larger than a message may be.
const RANGES: usize = 1_200;
const LONG: usize = 3_900;

fn long_key(n: usize) -> Key {
    key(&format!("{n:05}{}", "k".repeat(LONG)))
}

/// A fleet in which one store leads more than fits into one message.
fn many_ranges() -> Fleet {
    let mut fleet = spread(3, 1);
    fleet.is_checked = false;
    for n in 0..RANGES {
        let at = long_key(n);
        let leader = fleet.leader(REST).unwrap_or(store(1));
        let range = fleet.stores[&leader].range_of(&at);
        fleet.admin(leader, range, AdminRequest::Split { at, right: RangeId(0) }).unwrap();
    }
    fleet
}

#[test]
fn a_store_that_leads_more_than_one_message_holds_is_known_with_all_that_it_leads() {
    let mut fleet = many_ranges();
    const { assert!(RANGES * 2 * LONG > limits::MAX_MESSAGE_BYTES) };
    fleet.run(4_000);
    let planner = fleet.leader(RangeId::SYSTEM).unwrap();
    // Whoever plans next begins with nothing but what is reported.
    let next = (1..=3).map(store).find(|id| *id != planner).unwrap();
    let to = fleet.standing(planner, RangeId::SYSTEM).unwrap().descriptor.replica_on(next).unwrap().replica;
    fleet.admin(planner, RangeId::SYSTEM, AdminRequest::Transfer { to }).unwrap();
    fleet.headroom.clear();
    fleet.run_until(10_000, "headroom", |fleet| fleet.headroom.len() >= 2);
    for headroom in fleet.headroom.iter().flatten() {
        assert_eq!(headroom.ranges_without_quorum, 0, "{headroom}");
    }
    let alarms: Vec<_> = fleet.stores.values().flat_map(|store| &store.alarms).collect();
    assert!(alarms.is_empty(), "{alarms:?}");
    fleet.must(store(2), put("a", "1"));
}

/// Another store says this to the leader of a range, for whoever it is.
fn passes_on(fleet: &mut Fleet, range: RangeId, request: Request, authority: Authority) {
    let request = RangeRequest { range: None, write: None, request };
    let message = StoreMessage::Forward { id: CallId::new(0, 1 << 40), request, authority, timeout_ms: 1_000, hops: 1 };
    let leader = fleet.leader(range).unwrap();
    let (from, incarnation) = (StoreId(leader.0 % 3 + 1), holdfast_types::Incarnation(1));
    fleet.happens(leader, range, Event::Message { from, incarnation, message });
    fleet.run(1_500);
}

fn is_there(fleet: &mut Fleet, key: Key) -> bool {
    let request = Request::Get { keys: vec![key], at: None };
    match fleet.must(store(1), RangeRequest { range: None, write: None, request }) {
        Response::Got { values } => values[0].is_some(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_passes_on_what_clients_may_ask_and_the_records_of_the_fleet_and_nothing_else() {
    let mut fleet = spread(3, 1);
    let record = encode_store(&StoreRecord::new(store(9), fleet::site_of(store(1))));
    let write = |key: Key, value: &[u8]| Request::Write {
        conditions: Vec::new(),
        mutations: vec![Mutation { key, value: Some(value.to_vec().into()), expires_at: None }],
    };
    let name = |n| StateKey::Store(store(n)).key();
    passes_on(&mut fleet, RangeId::SYSTEM, write(name(9), &record), Authority::Client);
    assert!(!is_there(&mut fleet, name(9)), "a client wrote a record");
    passes_on(&mut fleet, RangeId::SYSTEM, write(name(8), &record), Authority::Fleet);
    assert!(!is_there(&mut fleet, name(8)), "a record under another name");
    passes_on(&mut fleet, RangeId::SYSTEM, write(name(9), b"nonsense"), Authority::Fleet);
    assert!(!is_there(&mut fleet, name(9)), "what is no record");
    passes_on(&mut fleet, REST, write(key("large"), &vec![0; limits::MAX_VALUE_BYTES + 1]), Authority::Client);
    assert!(!is_there(&mut fleet, key("large")), "beyond the bounds of a value");
    passes_on(&mut fleet, RangeId::SYSTEM, write(name(9), &record), Authority::Fleet);
    assert!(is_there(&mut fleet, name(9)));
    passes_on(&mut fleet, REST, write(key("small"), b"1"), Authority::Client);
    assert!(is_there(&mut fleet, key("small")));
}
