//! What a retry policy lets a call do, and that none of it changes what is promised of writes.

use std::time::Duration;

use holdfast_types::{Rejected, StoreId};

use super::tests::{Script, busy, get, got, not_leader, put, written};
use super::{Effort, Event, RetryCause, RetryPolicy};
use crate::ClientError;

fn with(retry: RetryPolicy) -> Script {
    let mut script = Script::new();
    script.retry = retry;
    script
}

fn unavailable() -> Rejected {
    Rejected::Unavailable("stopping".into())
}

#[test]
fn without_retries_the_first_refusal_is_the_answer_but_redirections_are_followed() {
    let mut script = with(RetryPolicy::none());
    script.call(get(&["k"]), 1_000);
    let first = script.one();
    script.answer(&first, Err(not_leader(Some(3))));
    let second = script.one();
    assert_eq!(second.store, 3);
    script.answer(&second, Err(unavailable()));
    assert_eq!(script.outcome(), Err(ClientError::Rejected(unavailable())));
    assert_eq!(script.effort, Effort { attempts: 2, retries: 0 });
}

#[test]
fn attempts_are_bounded_and_counted() {
    let mut script = with(RetryPolicy::new().attempts(3));
    script.call(put("k"), 10_000);
    for _ in 0..3 {
        let sent = script.one();
        script.answer(&sent, Err(busy()));
        script.sleep(200);
    }
    assert_eq!(script.outcome(), Err(ClientError::Rejected(busy())));
    assert_eq!(script.effort, Effort { attempts: 3, retries: 2 });
}

#[test]
fn a_cause_that_is_left_out_ends_the_call_and_others_do_not() {
    let mut script = with(RetryPolicy::new().without(RetryCause::Busy));
    script.call(get(&["k"]), 10_000);
    let sent = script.one();
    script.answer(&sent, Err(unavailable()));
    script.sleep(100);
    let sent = script.one();
    script.answer(&sent, Err(busy()));
    assert_eq!(script.outcome(), Err(ClientError::Rejected(busy())));
}

#[test]
fn a_lost_write_that_may_not_be_tried_again_is_ambiguous_and_a_lost_read_is_not() {
    let mut script = with(RetryPolicy::new().without(RetryCause::Lost));
    script.call(put("k"), 10_000);
    let sent = script.one();
    script.event(Event::StreamDown { store: StoreId(sent.store) });
    assert!(matches!(script.outcome(), Err(ClientError::Ambiguous(_))));
    script.call(get(&["k"]), 10_000);
    let sent = script.one();
    script.event(Event::StreamDown { store: StoreId(sent.store) });
    assert!(matches!(script.outcome(), Err(ClientError::Rejected(Rejected::Unavailable(_)))));
}

#[test]
fn a_write_given_up_after_a_lost_attempt_stays_ambiguous_whatever_came_last() {
    let mut script = with(RetryPolicy::new().attempts(2));
    script.call(put("k"), 10_000);
    let sent = script.one();
    script.event(Event::StreamDown { store: StoreId(sent.store) });
    let again = script.one();
    assert_eq!(sent.request.write.unwrap().id, again.request.write.unwrap().id);
    script.answer(&again, Err(busy()));
    assert!(matches!(script.outcome(), Err(ClientError::Ambiguous(_))), "the first attempt may have written");
}

#[test]
fn a_silent_store_may_still_answer_when_no_other_attempt_is_allowed() {
    let mut script = with(RetryPolicy::none());
    script.call(put("k"), 5_000);
    let only = script.one();
    script.sleep(3_000);
    assert!(script.sent.is_empty() && script.finished.is_empty());
    script.answer(&only, Ok(written()));
    assert_eq!(script.outcome(), Ok(written()));
}

#[test]
fn no_attempt_begins_after_the_budget_and_one_under_way_may_end() {
    let mut script = with(RetryPolicy::new().budget(Duration::from_millis(300)));
    script.call(get(&["k"]), 10_000);
    let mut attempts = 0;
    while script.finished.is_empty() {
        for sent in std::mem::take(&mut script.sent) {
            attempts += 1;
            script.answer(&sent, Err(unavailable()));
        }
        script.sleep(10);
    }
    assert!((2..=6).contains(&attempts), "{attempts}");
    assert_eq!(script.outcome(), Err(ClientError::Rejected(unavailable())));
    script.call(get(&["k"]), 10_000);
    let sent = script.one();
    script.sleep(1_000);
    script.answer(&sent, Ok(got(&["v"])));
    assert_eq!(script.outcome(), Ok(got(&["v"])), "it was sent in time");
}

#[test]
fn waits_grow_from_the_first_to_the_longest() {
    let retry = RetryPolicy::new().backoff(Duration::from_millis(10), Duration::from_millis(20));
    let mut script = with(retry);
    script.call(get(&["k"]), 10_000);
    for longest_ms in [15, 30, 30, 30] {
        let sent = script.one();
        script.answer(&sent, Err(unavailable()));
        script.sleep(9);
        assert!(script.sent.is_empty(), "not before the shortest wait");
        script.sleep(longest_ms - 9);
    }
    assert_eq!(script.sent.len(), 1);
}

#[test]
fn a_cut_get_counts_the_attempts_of_its_parts() {
    let mut script = Script::new();
    script.call(get(&["b", "n"]), 1_000);
    let whole = script.one();
    script.answer(&whole, Err(Rejected::SpansRanges { split_key: super::fixture::key("m") }));
    assert!(script.finished.is_empty());
    script.sleep(2_000);
    assert_eq!(script.finished.len(), 1);
    assert!(script.effort.attempts >= 1, "{:?}", script.effort);
}
