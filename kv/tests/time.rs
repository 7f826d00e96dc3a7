//! What time decides: the end of values, and clocks that are off.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use std::time::Duration;

use fleet::{Fleet, REST, get, key, put, spread, store};
use holdfast_replica::AdminRequest;
use holdfast_types::{
    ClientId, Condition, Expected, KeyRange, Mutation, RangeRequest, Request, RequestId, Response, ScanMode, Sequence,
    Slot, StoreId, Timestamp, WriteAttempt, limits,
};

/// How far every clock may be off when two that are off in opposite directions are still within the bound of each other.
const OFF_MS: i64 = 240;

fn request(request: Request) -> RangeRequest {
    RangeRequest { range: None, write: None, request }
}

fn put_until(user: &str, end: Timestamp) -> RangeRequest {
    let mutation = Mutation { key: key(user), value: Some(b"v".to_vec().into()), expires_at: Some(end) };
    request(Request::Write { conditions: Vec::new(), mutations: vec![mutation] })
}

fn scan(at: Option<Timestamp>) -> RangeRequest {
    let bounds = KeyRange { start: key("a"), end: Some(key("z")) };
    request(Request::Scan {
        bounds,
        reverse: false,
        max_rows: 10,
        max_bytes: limits::MAX_SCAN_BYTES,
        at,
        mode: ScanMode::Rows,
    })
}

/// A fleet whose leaders are where they stay.
fn at_rest(stores: u64) -> Fleet {
    let mut fleet = spread(stores, 1);
    fleet.run(15_000);
    fleet
}

fn hand_over(fleet: &mut Fleet, to: StoreId) {
    let from = fleet.leader(REST).unwrap();
    let to_replica = fleet.standing(from, REST).unwrap().descriptor.replica_on(to).unwrap().replica;
    fleet.admin(from, REST, AdminRequest::Transfer { to: to_replica }).unwrap();
    fleet.run_until(1_000, "hand-over", |f| f.leader(REST) == Some(to));
}

/// A fleet whose range is led by a store that is ahead of the others, a moment in which its clock has passed the end of what
/// is stored under "k" and "l" and theirs have not, and who is to lead next.
fn at_the_end_of_a_value() -> (Fleet, StoreId, StoreId) {
    let mut fleet = at_rest(3);
    let first = fleet.leader(REST).unwrap();
    let next = (1..=3).map(store).find(|id| *id != first).unwrap();
    for id in (1..=3).map(store) {
        fleet.clock_ahead_ms.insert(id, if id == first { OFF_MS } else { -OFF_MS });
    }
    fleet.run(1_000);
    let end = Timestamp::from_ms(fleet.wall_ms() + 2_000);
    fleet.must(first, put_until("k", end));
    fleet.must(first, put_until("l", end));
    fleet.run(1_900);
    assert_eq!(fleet.leader(REST), Some(first));
    (fleet, first, next)
}

/// What a request sees of a value: something that a caller can tell from its absence.
fn sees(response: &Response) -> bool {
    match response {
        Response::Got { values } => values.iter().any(Option::is_some),
        Response::Scanned { rows, .. } => !rows.is_empty(),
        Response::ConditionFailed { actual, .. } => actual.is_some(),
        Response::RangeDeleted { deleted, .. } => *deleted > 0,
        Response::Written { .. } => panic!("nothing was to be written"),
    }
}

#[test]
fn value_that_was_seen_expired_never_comes_back() {
    let any_version = Condition { key: key("k"), expected: Expected::Version(Timestamp(1)) };
    let other_value = Condition { key: key("k"), expected: Expected::Value(b"w".to_vec().into()) };
    let delete = Mutation { key: key("k"), value: None, expires_at: None };
    let conditional =
        |condition| request(Request::Write { conditions: vec![condition], mutations: vec![delete.clone()] });
    let nothing = KeyRange { start: key("k"), end: Some(key("l")) };
    let both = request(Request::Get { keys: vec![key("k"), key("l")], at: None });
    let looks = [
        get("k"),
        both,
        scan(None),
        conditional(any_version),
        conditional(other_value),
        request(Request::DeleteRange { bounds: nothing, max_keys: 10 }),
    ];
    for (seen_by, look) in looks.iter().enumerate() {
        let (mut fleet, first, next) = at_the_end_of_a_value();
        let look = fleet.must(first, look.clone());
        assert!(!sees(&look), "{seen_by}: it is expired for a clock that is ahead: {look:?}");
        hand_over(&mut fleet, next);
        for again in &looks[..3] {
            let again = fleet.must(next, again.clone());
            assert!(!sees(&again), "{seen_by}: it was seen expired and comes back: {again:?}");
        }
    }
}

#[test]
fn read_at_a_timestamp_shows_what_had_not_expired_then() {
    let mut fleet = at_rest(3);
    let leader = fleet.leader(REST).unwrap();
    let end = Timestamp::from_ms(fleet.wall_ms() + 2_000);
    let Response::Written { timestamp } = fleet.must(leader, put_until("k", end)) else { panic!("a write") };
    fleet.run(3_000);
    let mut at = |at| sees(&fleet.must(leader, request(Request::Get { keys: vec![key("k")], at: Some(at) })));
    assert!(at(timestamp), "it lived when it was written");
    assert!(at(Timestamp(end.0 - 1)), "and until its end");
    assert!(!at(end));
    assert!(at(timestamp), "a read at a timestamp can be repeated");
}

/// Only a read that meets a value whose end has come writes anything, and only the first.
#[test]
fn reads_that_time_does_not_decide_write_nothing() {
    let mut fleet = at_rest(3);
    let leader = fleet.leader(REST).unwrap();
    let end = Timestamp::from_ms(fleet.wall_ms() + 2_000);
    fleet.must(leader, put_until("k", end));
    fleet.run(100);
    let before = fleet.last_index(REST);
    for _ in 0..5 {
        assert!(sees(&fleet.must(leader, get("k"))));
        assert!(sees(&fleet.must(leader, scan(None))));
        assert!(!sees(&fleet.must(leader, get("nothing"))));
    }
    assert_eq!(fleet.last_index(REST), before);
    fleet.run_until(3_000, "the end of the value", |f| f.wall_ms() > end.ms());
    for _ in 0..5 {
        assert!(!sees(&fleet.must(leader, get("k"))));
        assert!(!sees(&fleet.must(leader, scan(None))));
    }
    assert_eq!(fleet.last_index(REST), before + 1);
    fleet.run(Duration::from_secs(1).as_millis().try_into().unwrap());
}

/// A write that must be evaluated within ten seconds of what is fleet time for everybody whose clock is right.
fn put_once(fleet: &Fleet, sequence: u64) -> RangeRequest {
    let id = RequestId { client: ClientId(7), slot: Slot(0), sequence: Sequence(sequence) };
    let last_moment = Timestamp::from_ms(fleet.wall_ms()).after(Duration::from_secs(10));
    RangeRequest { write: Some(WriteAttempt { id, attempt: 1, last_moment }), ..put("once", "x") }
}

/// What a clock gives before it is judged cannot be taken back: every stamp of the range lies behind it, and requests are past
/// their last moment, for as long as the jump was.
#[test]
fn clock_that_is_wrong_for_a_moment_stamps_nothing_and_stops_no_write() {
    for (stores, ahead_ms) in [(3, 600_000), (1, 600_000), (3, 5_000), (3, -600_000), (1, -600_000)] {
        let mut fleet = at_rest(stores);
        fleet.run(1_000);
        let leader = fleet.leader(REST).unwrap();
        fleet.clock_ahead_ms.insert(leader, ahead_ms);
        for n in 0..20 {
            fleet.ask(leader, put(&format!("k{n}"), "x"));
            fleet.run(25);
        }
        fleet.clock_ahead_ms.clear();
        fleet.run_until(2_000, "a leader", |f| f.leader(REST).is_some());
        for sequence in 1..=20 {
            let request = put_once(&fleet, sequence);
            let written = fleet.must(leader, request);
            assert!(matches!(written, Response::Written { .. }), "{stores} stores, {ahead_ms} ms: {written:?}");
            fleet.run(50);
        }
        let newest = fleet.versions(leader).into_iter().map(|(_, timestamp)| timestamp).max().unwrap();
        let bound = Timestamp::from_ms(fleet.wall_ms()).after(limits::MAX_CLOCK_OFFSET);
        assert!(
            newest <= bound,
            "{stores} stores, {ahead_ms} ms: {newest} was stamped by a clock that nobody had compared"
        );
    }
}

#[test]
fn clock_that_is_wrong_for_a_moment_ends_no_value_and_collects_no_garbage() {
    let mut fleet = at_rest(3);
    let leader = fleet.leader(REST).unwrap();
    let end = Timestamp::from_ms(fleet.wall_ms()).after(Duration::from_secs(3_600));
    fleet.must(leader, put_until("k", end));
    for n in 0..50 {
        fleet.must(leader, put("other", &n.to_string()));
        let leader = fleet.leader(REST).unwrap();
        fleet.clock_ahead_ms.insert(leader, 7_200_000);
        for _ in 0..20 {
            let seen = fleet.ask(leader, get("k"));
            fleet.run(1);
            if let Some(Ok(seen)) = fleet.answer(seen) {
                assert!(sees(&seen), "it lives for an hour");
            }
        }
        fleet.clock_ahead_ms.clear();
        fleet.run(100);
        let oldest = fleet.wall_ms() - u64::try_from(limits::GC_RETENTION.as_millis()).unwrap();
        let threshold = fleet.gc_threshold(leader, REST);
        assert!(threshold <= Timestamp::from_ms(oldest).after(limits::MAX_CLOCK_OFFSET), "{threshold} is too late");
    }
    assert!(sees(&fleet.must(leader, get("k"))));
}

/// A store that starts has compared its clock with nobody.
#[test]
fn store_that_starts_with_a_wrong_clock_stamps_nothing_with_it() {
    let mut fleet = at_rest(3);
    for (sequence, ahead_ms) in (1..).zip([600_000, -600_000, 3_000]) {
        let wrong = fleet.leader(REST).unwrap();
        fleet.clock_ahead_ms.insert(wrong, ahead_ms);
        fleet.crash(wrong);
        fleet.start(wrong);
        for _ in 0..200 {
            let request = put_once(&fleet, 100 * sequence);
            fleet.ask(wrong, request);
            fleet.run(10);
        }
        let newest = fleet.versions(wrong).into_iter().map(|(_, timestamp)| timestamp).max().unwrap();
        assert!(newest <= Timestamp::from_ms(fleet.wall_ms()).after(limits::MAX_CLOCK_OFFSET), "{newest}");
        fleet.clock_ahead_ms.clear();
        fleet.run(2_000);
        let request = put_once(&fleet, 100 * sequence + 1);
        fleet.must(wrong, request);
    }
}
