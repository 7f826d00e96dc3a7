//! What becomes of writes when the leadership, the bounds or the time are over.

use std::time::Duration;

use holdfast_replica::command::Split;
use holdfast_replica::evaluate::{Unserved, serve_read};
use holdfast_replica::pipeline::{AdminWrite, check_bounds, check_read};
use holdfast_replica::range_state::RangeState;
use holdfast_replica::{Outcome, Ticket};
use holdfast_types::{
    Condition, Expected, Key, KeyRange, Moment, Mutation, RangeEpoch, RangeId, RangeRequest, Rejected, ReplicaId,
    Request, Response, ScanMode, Timestamp, limits,
};

use crate::model::{Leader, RANGE, attempt, bounds, descriptor, fresh_state, key, mutation, put};

fn to_range(request: Request) -> RangeRequest {
    RangeRequest { range: None, write: None, request }
}

fn swap(name: &str, expected: Expected, value: &str) -> Request {
    let conditions = vec![Condition { key: key(name), expected }];
    Request::Write { conditions, mutations: vec![mutation(name, Some(value))] }
}

fn split_at(at: &str) -> AdminWrite {
    AdminWrite::Split(Split { at: key(at), right: RangeId(8), right_leader: ReplicaId(1) })
}

#[test]
fn many_requests_share_an_entry_and_timestamps_follow_the_log() {
    let mut leader = Leader::new();
    for ticket in 1..=100 {
        leader.request(ticket, None, put("k", &ticket.to_string()));
    }
    assert_eq!(leader.propose(), Some(100));
    assert_eq!(leader.propose(), None);
    leader.settle();
    let stamps: Vec<_> = (1..=100)
        .map(|ticket| match leader.answer(ticket) {
            Some(Ok(Outcome::Response(Response::Written { timestamp }))) => *timestamp,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(stamps.is_sorted_by(|a, b| a < b));
    assert_eq!(leader.state.last_timestamp, stamps[99]);
}

#[test]
fn an_entry_ends_at_its_size_but_takes_one_request() {
    let mut leader = Leader::new();
    let large = "x".repeat(limits::ENTRY_TARGET_BYTES);
    leader.request(1, None, put("k", &large));
    leader.request(2, None, put("k", &large));
    assert_eq!((leader.propose(), leader.propose(), leader.propose()), (Some(1), Some(1), None));
}

#[test]
fn pages_of_tombstones_do_not_pile_up_in_one_entry() {
    let mut leader = Leader::new();
    let name = |page: char, n: u32| format!("{page}{n}{}", "x".repeat(4_000));
    for (page, n) in ['c', 'd', 'e'].into_iter().flat_map(|page| (0..50).map(move |n| (page, n))) {
        leader.request(u64::from(n) + 100 * u64::from(u32::from(page)), None, put(&name(page, n), ""));
    }
    leader.settle();
    for (ticket, (start, end)) in (1..).zip([("c", "d"), ("d", "e"), ("e", "f")]) {
        leader.request(ticket, None, Request::DeleteRange { bounds: bounds(start, end), max_keys: 1_000 });
        leader.evaluate();
    }
    // Each page has 200 KB.
    assert_eq!((leader.propose(), leader.propose(), leader.propose()), (Some(1), Some(1), Some(1)));
    leader.settle();
    assert!((1..=3).all(|ticket| leader.answer(ticket).is_some_and(Result::is_ok)));
}

#[test]
fn stepping_down_refuses_what_is_not_in_the_log_and_keeps_the_rest() {
    let mut leader = Leader::new();
    leader.request(1, None, put("c", "1"));
    leader.propose();
    leader.request(2, None, put("c", "2"));
    leader.request(3, None, swap("c", Expected::Absent, "3"));
    leader.request(4, None, swap("d", Expected::Absent, "4"));
    let outputs = leader.pipeline.step_down(None);
    leader.take(outputs);
    let refused = Err(Rejected::NotLeader { range: RANGE, leader: None });
    for ticket in 2..=4 {
        assert_eq!(leader.answer(ticket), Some(&refused), "{ticket}");
    }
    assert_eq!(leader.answer(1), None);
    leader.request(5, None, put("c", "5"));
    assert_eq!(leader.answer(5), Some(&refused));
    // It was committed before the leader was replaced, and is applied here.
    leader.apply(usize::MAX);
    assert!(matches!(leader.answer(1), Some(Ok(Outcome::Response(Response::Written { .. })))));
    assert!(leader.pipeline.is_idle());
}

#[test]
fn a_write_whose_place_in_the_log_is_taken_never_happened() {
    let mut leader = Leader::new();
    for ticket in 1..=3 {
        leader.request(ticket, None, put("c", "1"));
        leader.propose();
    }
    // The next leader has the first of the three entries.
    leader.elect(1);
    assert!(matches!(leader.answer(1), Some(Ok(_))));
    let refused = Err(Rejected::NotLeader { range: RANGE, leader: None });
    assert_eq!((leader.answer(2), leader.answer(3)), (Some(&refused), Some(&refused)));
    assert_eq!(leader.model.versions.len(), 1);
}

#[test]
fn an_abandoned_pipeline_says_that_it_does_not_know() {
    let mut leader = Leader::new();
    leader.request(1, None, put("c", "1"));
    leader.propose();
    leader.request(2, None, put("c", "2"));
    let outputs = leader.pipeline.abandon("the replica was given a snapshot");
    leader.take(outputs);
    assert!(leader.answer(1).unwrap().as_ref().is_err_and(Rejected::is_ambiguous));
    assert!(matches!(leader.answer(2), Some(Err(Rejected::NotLeader { .. }))));
    assert!(leader.pipeline.is_idle());
}

#[test]
fn a_deadline_is_ambiguous_only_behind_the_proposal() {
    let mut leader = Leader::new();
    leader.request(1, None, put("c", "1"));
    leader.propose();
    leader.request(2, None, swap("c", Expected::Absent, "2"));
    leader.request(3, None, swap("d", Expected::Absent, "3"));
    leader.moment = leader.pipeline.next_deadline().unwrap();
    let outputs = leader.pipeline.expire(leader.now());
    leader.take(outputs);
    assert!(leader.answer(1).unwrap().as_ref().is_err_and(Rejected::is_ambiguous));
    assert_eq!(leader.answer(2), Some(&Err(Rejected::DeadlineExceeded)));
    assert_eq!(leader.answer(3), Some(&Err(Rejected::DeadlineExceeded)));
    // The latches of what is in the log stay until it is applied.
    leader.request(4, None, swap("c", Expected::Absent, "4"));
    assert_eq!(leader.evaluations.iter().filter(|e| e.token.0 > 4).count(), 0);
    leader.settle();
    assert!(matches!(leader.answer(4), Some(Ok(Outcome::Response(Response::ConditionFailed { .. })))));
    assert_eq!(leader.answers.len(), 4, "nobody is answered twice");
    leader.request(5, None, put("c", "5"));
    leader.moment = Moment::MAX;
    leader.request(6, None, put("c", "6"));
    assert_eq!(leader.answer(6), Some(&Err(Rejected::DeadlineExceeded)));
}

#[test]
fn a_failed_condition_is_confirmed_on_the_first_attempt_and_recorded_on_the_second() {
    let mut leader = Leader::new();
    leader.request(1, None, put("c", "old"));
    leader.settle();
    let last_moment = Timestamp::from_ms(leader.wall_ms + 10_000);
    let failing = swap("c", Expected::Absent, "new");
    leader.request(2, Some(attempt(5, 0, 1, 1, last_moment)), failing.clone());
    leader.evaluate();
    assert_eq!(leader.confirming, [Ticket(2)]);
    assert!(leader.answer(2).is_none() && !leader.pipeline.has_batch());
    let outputs = leader.pipeline.unconfirmed(Ticket(2), Rejected::Unavailable("no quorum".into()));
    leader.take(outputs);
    assert!(leader.answer(2).unwrap().is_err());
    leader.confirming.clear();
    leader.request(3, Some(attempt(5, 0, 1, 2, last_moment)), failing.clone());
    leader.settle();
    assert!(matches!(leader.answer(3), Some(Ok(Outcome::Response(Response::ConditionFailed { index: 0, .. })))));
    assert_eq!(leader.model.completions.len(), 1, "the outcome is recorded");
    leader.request(4, None, Request::Write { conditions: Vec::new(), mutations: vec![mutation("c", None)] });
    leader.settle();
    leader.request(5, Some(attempt(5, 0, 1, 1, last_moment)), failing);
    leader.settle();
    assert_eq!(leader.answer(5), leader.answer(3), "the late first attempt finds what the second came to");
}

#[test]
fn a_split_waits_for_writes_before_it_and_later_ones_are_checked_anew() {
    let mut leader = Leader::new();
    leader.request(1, None, put("p", "1"));
    leader.propose();
    leader.admin(2, split_at("m"));
    leader.request(3, None, put("c", "3"));
    leader.request(4, None, put("p", "4"));
    let across = Request::Write { conditions: Vec::new(), mutations: vec![mutation("c", None), mutation("p", None)] };
    leader.request(5, None, across);
    assert!(leader.pipeline.splitting() && !leader.pipeline.has_batch());
    leader.settle();
    assert!(!leader.pipeline.splitting());
    let Some(Ok(Outcome::Changed(left))) = leader.answer(2) else { panic!("the split is applied") };
    assert_eq!(left.bounds, bounds("b", "m"));
    assert!(matches!(leader.answer(3), Some(Ok(_))));
    assert_eq!(leader.answer(4), Some(&Err(Rejected::WrongRange { known: vec![left.clone()] })));
    assert_eq!(leader.answer(5), Some(&Err(Rejected::SpansRanges { split_key: key("m") })));
    leader.admin(6, split_at("b"));
    assert!(matches!(leader.answer(6), Some(Err(Rejected::Invalid(_)))), "it must cut strictly inside");
    assert!(!leader.pipeline.splitting());
}

#[test]
fn delete_range_goes_by_pages_and_blocks_only_its_page() {
    let mut leader = Leader::new();
    for (ticket, name) in (1..).zip(["c", "d", "e", "f"]) {
        leader.request(ticket, None, put(name, "x"));
    }
    leader.settle();
    let page = |start: Key| {
        let bounds = KeyRange { start, end: Some(key("z")) };
        Request::DeleteRange { bounds, max_keys: 3 }
    };
    leader.request(5, None, page(key("c")));
    leader.request(6, None, put("f", "y"));
    leader.request(7, None, put("d", "y"));
    assert!(!leader.pipeline.has_batch(), "both wait for the page");
    leader.evaluate();
    assert_eq!(leader.propose(), Some(2), "the page is known: f lies behind it");
    leader.settle();
    let Some(Ok(Outcome::Response(Response::RangeDeleted { deleted: 3, resume, .. }))) = leader.answer(5) else {
        panic!("{:?}", leader.answer(5))
    };
    assert_eq!(resume.as_ref(), Some(&key("f")));
    leader.request(8, None, page(key("f")));
    leader.settle();
    let Some(Ok(Outcome::Response(Response::RangeDeleted { deleted: 1, resume, .. }))) = leader.answer(8) else {
        panic!("{:?}", leader.answer(8))
    };
    assert_eq!(resume.as_ref(), Some(&key("y")), "the rest lies in the next range");
    leader.request(9, None, page(key("f")));
    leader.evaluate();
    assert_eq!(leader.confirming, [Ticket(9)], "an empty page writes nothing");
}

#[test]
fn bounds_matter_and_the_epoch_does_not() {
    let descriptor = descriptor();
    let wrong_range = Err(Rejected::WrongRange { known: vec![descriptor.clone()] });
    let check = |request: Request| check_bounds(&to_range(request), &descriptor);
    let mut request = to_range(put("c", "1"));
    for epoch in [RangeEpoch::default(), RangeEpoch { membership: 9, bounds: 9 }] {
        request.range = Some((RANGE, epoch));
        assert_eq!(check_bounds(&request, &descriptor), Ok(()));
    }
    request.range = Some((RangeId(8), descriptor.epoch));
    assert_eq!(check_bounds(&request, &descriptor), wrong_range);
    assert_eq!(check(put("a", "1")), wrong_range);
    assert_eq!(check(put("y", "1")), wrong_range);
    let get = |names: [&str; 2]| Request::Get { keys: names.map(key).to_vec(), at: None };
    assert_eq!(check(get(["c", "x"])), Ok(()));
    assert_eq!(check(get(["c", "z"])), Err(Rejected::SpansRanges { split_key: key("y") }));
    assert_eq!(check(get(["a", "c"])), Err(Rejected::SpansRanges { split_key: key("b") }));
    let scan =
        |bounds, reverse| Request::Scan { bounds, reverse, max_rows: 9, max_bytes: 9, at: None, mode: ScanMode::Rows };
    assert_eq!(check(scan(bounds("c", "z"), false)), Ok(()));
    assert_eq!(check(scan(bounds("a", "c"), false)), wrong_range);
    assert_eq!(check(scan(bounds("a", "y"), true)), Ok(()));
    assert_eq!(check(scan(bounds("c", "z"), true)), wrong_range);
    assert_eq!(check(scan(bounds("a", "b"), true)), wrong_range);
}

#[test]
fn a_last_moment_must_lie_ahead_and_not_too_far() {
    let mut leader = Leader::new();
    let now = leader.now().fleet;
    leader.request(1, Some(attempt(5, 0, 1, 1, Timestamp(now.0 - 1))), put("c", "1"));
    leader.request(2, Some(attempt(5, 0, 1, 1, now.after(Duration::from_secs(61)))), put("c", "1"));
    leader.settle();
    assert_eq!(leader.answer(1), Some(&Err(Rejected::PastLastMoment { now })));
    assert!(matches!(leader.answer(2), Some(Err(Rejected::Invalid(_)))));
    leader.request(3, Some(attempt(5, 0, 1, 1, now.after(Duration::from_secs(60)))), put("c", "1"));
    assert_eq!(leader.answer(3), None);
}

#[test]
fn an_attempt_that_waited_past_its_last_moment_is_not_evaluated() {
    let mut leader = Leader::new();
    let last_moment = Timestamp::from_ms(leader.wall_ms + 1_000);
    leader.request(1, None, put("c", "1"));
    leader.propose();
    leader.request(2, Some(attempt(5, 0, 1, 1, last_moment)), swap("c", Expected::Absent, "2"));
    leader.request(3, Some(attempt(5, 1, 1, 1, last_moment)), put("d", "3"));
    leader.wall_ms += 1_001;
    leader.settle();
    assert!(matches!(leader.answer(2), Some(Err(Rejected::PastLastMoment { .. }))), "it waited for latches");
    assert!(matches!(leader.answer(3), Some(Err(Rejected::PastLastMoment { .. }))), "it waited for its look-up");
}

#[test]
fn a_full_pipeline_is_busy() {
    let mut leader = Leader::new();
    let large = "x".repeat(limits::MAX_VALUE_BYTES);
    let fit = u64::try_from(limits::PIPELINE_BYTES / limits::MAX_VALUE_BYTES).unwrap();
    for ticket in 1..=fit {
        leader.request(ticket, None, put("c", &large));
    }
    assert_eq!(leader.answer(fit), Some(&Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER })));
    leader.answers.clear();
    leader.settle();
    leader.request(fit + 1, None, put("c", &large));
    assert_eq!(leader.answer(fit + 1), None);
}

#[test]
fn reads_are_cut_at_the_bounds_and_refused_below_the_threshold() {
    let mut leader = Leader::new();
    for (ticket, name) in (1..).zip(["c", "d", "e"]) {
        leader.request(ticket, None, put(name, name));
    }
    leader.settle();
    let (at, now) = (leader.state.last_timestamp, leader.now().fleet);
    let read = |request: &Request| serve_read(request, &descriptor().bounds, &leader.model, at, now).unwrap().unwrap();
    let scan = |reverse, max_rows| {
        let bounds = KeyRange { start: key("a"), end: None };
        let request = Request::Scan { bounds, reverse, max_rows, max_bytes: 1_000, at: None, mode: ScanMode::Rows };
        let Response::Scanned { rows, resume, at: seen, within, .. } = read(&request) else { panic!("a scan") };
        assert_eq!((seen, within), (at, Some(Box::new(descriptor().bounds))));
        (rows.len(), resume)
    };
    assert_eq!(scan(false, 9), (3, Some(key("y"))));
    assert_eq!(scan(true, 9), (3, Some(key("b"))));
    assert_eq!(scan(false, 2), (2, Some(key("e"))));
    let get = |at| Request::Get { keys: vec![key("d"), key("x")], at };
    let Response::Got { values } = read(&get(None)) else { panic!("a get") };
    assert_eq!((values[0].as_ref().unwrap().value.as_ref(), &values[1]), (&b"d"[..], &None));
    let state = RangeState { gc_threshold: Timestamp(50), ..fresh_state() };
    let refused = Err(Rejected::BelowGcThreshold { threshold: Timestamp(50) });
    assert_eq!(check_read(&to_range(get(Some(Timestamp(49)))), &state), refused);
    assert_eq!(check_read(&to_range(get(Some(Timestamp(50)))), &state), Ok(()));
    assert_eq!(check_read(&to_range(get(None)), &state), Ok(()));
}

/// Whoever counts is told of a value that has just expired as whoever reads is: once the range's time says so.
#[test]
fn a_count_waits_for_the_time_of_its_range_as_a_scan_does() {
    let mut leader = Leader::new();
    let end = Timestamp::from_ms(leader.wall_ms + 1_000);
    let mutation = |name, expires_at| Mutation { key: key(name), value: Some(b"v".to_vec().into()), expires_at };
    for (ticket, mutation) in (1..).zip([mutation("c", Some(end)), mutation("d", None)]) {
        leader.request(ticket, None, Request::Write { conditions: Vec::new(), mutations: vec![mutation] });
    }
    leader.settle();
    let at = leader.state.last_timestamp;
    let within = descriptor().bounds;
    let ask = |mode, at, now| {
        let bounds = KeyRange { start: key("a"), end: None };
        let request = Request::Scan { bounds, reverse: false, max_rows: 9, max_bytes: 9_000, at: None, mode };
        serve_read(&request, &within, &leader.model, at, now).unwrap()
    };
    for mode in [ScanMode::Rows, ScanMode::Keys, ScanMode::Count] {
        let Ok(Response::Scanned { rows, counted, .. }) = ask(mode, at, at) else { panic!("a page") };
        assert_eq!(rows.len() + counted as usize, 2);
        assert_eq!(rows.is_empty(), mode == ScanMode::Count);
        assert!(matches!(ask(mode, at, end), Err(Unserved::TimeMustPass { to }) if to == end), "{mode:?}");
        let Ok(Response::Scanned { rows, counted, .. }) = ask(mode, end, end) else { panic!("a page") };
        assert_eq!(rows.len() + counted as usize, 1);
    }
}

/// What a write is told of a value depends on the time: it hears of it from the log, or a later leader could say otherwise.
#[test]
fn what_time_decides_goes_through_the_log_before_it_is_answered() {
    let mut leader = Leader::new();
    let end = Timestamp::from_ms(leader.wall_ms + 1_000);
    let mutation = Mutation { key: key("c"), value: Some(b"v".to_vec().into()), expires_at: Some(end) };
    leader.request(1, None, Request::Write { conditions: Vec::new(), mutations: vec![mutation] });
    leader.settle();
    let expects = |expected| {
        let conditions = vec![Condition { key: key("c"), expected }];
        Request::Write { conditions, mutations: Vec::new() }
    };
    let deletes = || Request::DeleteRange { bounds: KeyRange { start: key("c"), end: Some(key("d")) }, max_keys: 9 };
    leader.request(2, None, expects(Expected::Value(b"w".to_vec().into())));
    leader.settle();
    let Some(Ok(Outcome::Response(Response::ConditionFailed { actual: Some(_), .. }))) = leader.answer(2) else {
        panic!("{:?}", leader.answer(2))
    };
    assert!(leader.state.last_timestamp < end, "while it lives nothing is written");
    for (ticket, request) in
        [(3, expects(Expected::Value(b"v".to_vec().into()))), (4, expects(Expected::Absent)), (5, deletes())]
    {
        let mut ahead = leader_at(&leader, 1_000);
        ahead.request(ticket, None, request);
        while ahead.evaluate() || ahead.confirm() {}
        assert_eq!(ahead.answer(ticket), None, "nobody may know that before the log does");
        ahead.settle();
        let answer = ahead.answer(ticket).unwrap().clone().unwrap();
        let absent = match answer {
            Outcome::Response(Response::ConditionFailed { actual, .. }) => actual.is_none(),
            Outcome::Response(Response::Written { .. }) => true,
            Outcome::Response(Response::RangeDeleted { deleted, .. }) => deleted == 0,
            other => panic!("{other:?}"),
        };
        assert!(absent && ahead.state.last_timestamp >= end, "a later leader's clock starts past the end of the value");
    }
}

/// A leader of the same range, whose clock is so much ahead.
fn leader_at(leader: &Leader, ahead_ms: u64) -> Leader {
    let mut other = Leader::new();
    other.model = leader.model.clone();
    other.log = leader.log.clone();
    other.term = leader.term;
    other.state = leader.state.clone();
    other.elect(usize::MAX);
    other.wall_ms = leader.wall_ms + ahead_ms;
    other
}
