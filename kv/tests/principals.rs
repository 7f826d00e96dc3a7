//! For whom a store passes a request on is looked at anew by the store that gets it, by what that store knows: neither old rights where a
//! request enters nor a name that somebody made up let anything through.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use std::sync::Arc;

use fleet::{Fleet, REST, key, put, spread, store};
use holdfast_kv::core::event::Event;
use holdfast_kv::core::message::{CallId, StoreMessage};
use holdfast_kv::core::permit::Authority;
use holdfast_kv::core::rights::{Asker, Book, Change, Rights};
use holdfast_placement::StateKey;
use holdfast_types::{
    Grant, Grantee, Key, KeyspaceId, Principal, RangeId, RangeRequest, Rejected, Request, Response, Right, Scope,
    StoreId, TrustDomain,
};

fn domain() -> TrustDomain {
    TrustDomain::new("f.example").unwrap()
}

fn named(uri: &str) -> Authority {
    Authority::Principal(Arc::new(uri.parse::<Principal>().unwrap()))
}

/// Everything for a client, or, of `none`, nothing for anybody.
fn rights(client: &str, none: bool) -> Arc<Rights> {
    let scope = Scope::keyspace(KeyspaceId::DEFAULT);
    let grants = [Right::Read, Right::Write].map(|right| Grant::new(right, scope.clone()).unwrap()).to_vec();
    let to = Grantee::Clients(client.parse().unwrap());
    let mut book = Book::default().change(&Change::Grant(grants, to.clone())).unwrap().unwrap().book;
    if none {
        book = book.change(&Change::RevokeAll(to)).unwrap().unwrap().book;
    }
    Arc::new(Rights::compile(domain(), &book))
}

/// A fleet with TLS, whose stores all know this.
fn secured(rights: &Arc<Rights>) -> Fleet {
    let mut fleet = spread(3, 1);
    for id in (1..=3).map(store) {
        fleet.happens(id, REST, Event::Rights(Arc::clone(rights)));
    }
    fleet
}

fn read(key: Key) -> RangeRequest {
    RangeRequest { range: None, write: None, request: Request::Get { keys: vec![key], at: None } }
}

/// What a client of a store that does not lead is answered, where `seen` is what that store knows of him.
fn answered(
    fleet: &mut Fleet,
    by: StoreId,
    who: Authority,
    seen: &Rights,
    request: RangeRequest,
) -> Result<Response, Rejected> {
    let ticket = fleet.ask_for(&Asker::of(who, seen), by, request);
    fleet.run_until(5_000, "an answer", |fleet| fleet.answer(ticket).is_some());
    fleet.answer(ticket).unwrap()
}

fn follower(fleet: &Fleet, range: RangeId) -> StoreId {
    let leader = fleet.leader(range).unwrap();
    (1..=3).map(store).find(|id| *id != leader).unwrap()
}

#[test]
fn who_asks_goes_along_with_his_request_and_is_let_through_by_his_grants() {
    let rights = rights("ann", false);
    let mut fleet = secured(&rights);
    let other = follower(&fleet, REST);
    let ann = named("spiffe://f.example/client/ann");
    assert!(matches!(answered(&mut fleet, other, ann.clone(), &rights, put("a", "1")), Ok(Response::Written { .. })));
    assert!(matches!(answered(&mut fleet, other, ann, &rights, read(key("a"))), Ok(Response::Got { .. })));
    // The fleet's own requests need no rights: placement goes on as ever.
    fleet.run(10_000);
    assert!(fleet.leader(RangeId::SYSTEM).is_some());
}

#[test]
fn old_rights_where_a_request_enters_let_nothing_through_at_the_leader() {
    let mut fleet = secured(&rights("ann", true));
    let other = follower(&fleet, REST);
    let old = rights("ann", false);
    let ann = named("spiffe://f.example/client/ann");
    for request in [put("a", "1"), read(key("a"))] {
        let refused = answered(&mut fleet, other, ann.clone(), &old, request);
        assert!(matches!(&refused, Err(Rejected::Forbidden(why)) if why.contains("client ann")), "{refused:?}");
    }
}

/// What the leader of a range answers to a store that passes a request on.
fn passed_on(
    fleet: &mut Fleet,
    range: RangeId,
    authority: Authority,
    request: &RangeRequest,
) -> Result<Response, Rejected> {
    let (leader, from) = (fleet.leader(range).unwrap(), follower(fleet, range));
    let number = u64::try_from(fleet.passed_on.len()).unwrap();
    let id = CallId::new(0, 1 << 40 | number);
    let message = StoreMessage::Forward { id, request: request.clone(), authority, timeout_ms: 1_000, hops: 1 };
    fleet.is_told(from, leader, &message);
    fleet.run_until(5_000, "an answer", |fleet| fleet.passed_on.contains_key(&id));
    fleet.passed_on[&id].clone()
}

#[test]
fn a_name_that_a_store_made_up_gets_what_the_receiver_knows_of_it_and_no_more() {
    let mut fleet = secured(&rights("ann", false));
    let record = read(StateKey::NextStore.key());
    let forbidden = |outcome: Result<Response, Rejected>| matches!(outcome, Err(Rejected::Forbidden(_)));
    for uri in [
        "spiffe://f.example/client/bob",
        "spiffe://other.example/client/ann",
        "spiffe://other.example/operator/ann",
        "spiffe://f.example/site/site-2/store",
    ] {
        assert!(forbidden(passed_on(&mut fleet, REST, named(uri), &read(key("a")))), "{uri}");
    }
    assert!(forbidden(passed_on(&mut fleet, REST, Authority::Client, &read(key("a")))), "nobody in particular");
    assert!(forbidden(passed_on(&mut fleet, RangeId::SYSTEM, named("spiffe://f.example/client/ann"), &record)));
    for uri in ["spiffe://f.example/operator/ann", "spiffe://f.example/site/site-2/store"] {
        assert!(
            matches!(passed_on(&mut fleet, RangeId::SYSTEM, named(uri), &record), Ok(Response::Got { .. })),
            "{uri}"
        );
    }
    let as_the_fleet = passed_on(&mut fleet, REST, Authority::Fleet, &put("a", "1"));
    assert!(forbidden(as_the_fleet), "who asks for the fleet writes records of the fleet");
}

#[test]
fn a_stranger_is_not_believed_for_whom_he_asks() {
    let mut fleet = secured(&rights("ann", false));
    let (leader, stranger) = (fleet.leader(REST).unwrap(), StoreId(9));
    fleet.hears_of(leader, stranger);
    let authority = named("spiffe://f.example/client/ann");
    let forward =
        StoreMessage::Forward { id: CallId::new(0, 7), request: put("x", "1"), authority, timeout_ms: 1_000, hops: 1 };
    fleet.is_told(stranger, leader, &forward);
    fleet.run(1_000);
    let rights = rights("ann", false);
    let ann = named("spiffe://f.example/client/ann");
    let Ok(Response::Got { values }) = answered(&mut fleet, leader, ann, &rights, read(key("x"))) else {
        panic!("a get")
    };
    assert_eq!(values, [None]);
}
