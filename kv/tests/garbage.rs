//! Old versions, tombstones, expired values and completion records leave every store in time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use std::time::Duration;

use fleet::{Fleet, REST, key, put, spread, store};
use holdfast_types::limits::GC_RETENTION;
use holdfast_types::{ClientId, Mutation, RangeRequest, Request, RequestId, Sequence, Slot, Timestamp, WriteAttempt};

fn write(fleet: &Fleet, user: &str, value: Option<&str>, expires_in: Option<Duration>) -> RangeRequest {
    let expires_at = expires_in.map(|wait| Timestamp::from_ms(fleet.wall_ms()).after(wait));
    let mutation = Mutation { key: key(user), value: value.map(|v| v.as_bytes().to_vec().into()), expires_at };
    RangeRequest {
        range: None,
        write: None,
        request: Request::Write { conditions: Vec::new(), mutations: vec![mutation] },
    }
}

/// Time passes in which nobody asks anything.
fn pass(fleet: &mut Fleet, wait: Duration) {
    fleet.now = fleet.now.after(wait);
    fleet.run(10_000);
}

fn users(fleet: &Fleet, id: u64) -> Vec<String> {
    fleet.versions(store(id)).into_iter().map(|(user, _)| user).collect()
}

#[test]
fn deleted_and_expired_keys_leave_every_store_and_what_lives_stays() {
    let mut fleet = spread(3, 2);
    for value in ["1", "2"] {
        fleet.must(store(1), put("deleted", value));
        fleet.must(store(1), put("lives", value));
    }
    let soon = write(&fleet, "expires", Some("3"), Some(Duration::from_secs(60)));
    let later = write(&fleet, "expires later", Some("3"), Some(3 * GC_RETENTION));
    let delete = write(&fleet, "deleted", None, None);
    for request in [soon, later, delete] {
        fleet.must(store(1), request);
    }
    fleet.run(5_000);
    assert_eq!(users(&fleet, 2).len(), 7, "everything is young");
    pass(&mut fleet, 2 * GC_RETENTION);
    for id in 1..=3 {
        assert_eq!(users(&fleet, id), ["expires later", "lives", "lives"], "compactions see to the older one");
    }
    pass(&mut fleet, 3 * GC_RETENTION);
    for id in 1..=3 {
        assert_eq!(users(&fleet, id), ["lives", "lives"], "it expired though nothing was written since");
    }
    assert_eq!(fleet.value(store(2), "lives").as_deref(), Some("2"));
    assert_eq!(fleet.value(store(2), "deleted"), None);
}

#[test]
fn completion_records_are_bounded_in_time() {
    let mut fleet = spread(3, 1);
    for n in 1..=2_500 {
        let id = RequestId { client: ClientId(n), slot: Slot(0), sequence: Sequence(1) };
        let last_moment = Timestamp::from_ms(fleet.wall_ms()).after(Duration::from_secs(30));
        let request = RangeRequest { write: Some(WriteAttempt { id, attempt: 1, last_moment }), ..put("a", "1") };
        fleet.must(store(1), request);
    }
    fleet.run(5_000);
    assert_eq!(fleet.completions(store(2), REST), 2_500);
    pass(&mut fleet, Duration::from_secs(300));
    for id in 1..=3 {
        assert_eq!(fleet.completions(store(id), REST), 0);
    }
    fleet.assert_everything_was_given_back();
}

#[test]
fn range_at_rest_is_walked_once_and_then_left_alone() {
    let mut fleet = spread(3, 1);
    fleet.must(store(1), put("a", "1"));
    let delete = write(&fleet, "a", None, None);
    fleet.must(store(1), delete);
    pass(&mut fleet, 2 * GC_RETENTION);
    pass(&mut fleet, 2 * GC_RETENTION);
    let before = fleet.last_index(REST);
    for _ in 0..3 {
        fleet.run(10_000);
        // Leaders that are elected anew after a jump in time would add entries of their own.
        assert_eq!(fleet.last_index(REST), before, "nothing is proposed for a range at rest");
    }
    assert!(users(&fleet, 3).is_empty());
}
