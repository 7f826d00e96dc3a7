//! Histories made by hand, each with the verdict that a person would give.

use holdfast_types::Moment;

use super::{
    Answer, Counterexample, History, Operation, Register, RegisterInput, RegisterOutput, Stamp, Verdict, check,
    without_unobserved,
};

type Op = Operation<RegisterInput<u32>, RegisterOutput<u32>>;
const ENOUGH_STEPS: u64 = 100_000;

fn stamp(at: u64) -> Stamp {
    Stamp { at: Moment(at), order: 0 }
}

fn answered(input: RegisterInput<u32>, output: RegisterOutput<u32>, invoked: u64, returned: u64) -> Op {
    Operation { client: 0, input, invoked: stamp(invoked), answer: Some(Answer { returned: stamp(returned), output }) }
}

fn unanswered(input: RegisterInput<u32>, invoked: u64) -> Op {
    Operation { client: 0, input, invoked: stamp(invoked), answer: None }
}

fn put(value: u32, invoked: u64, returned: u64) -> Op {
    answered(RegisterInput::Put(value), RegisterOutput::Written, invoked, returned)
}

fn get(value: Option<u32>, invoked: u64, returned: u64) -> Op {
    answered(RegisterInput::Get, RegisterOutput::Value(value), invoked, returned)
}

fn delete(invoked: u64, returned: u64) -> Op {
    answered(RegisterInput::Delete, RegisterOutput::Written, invoked, returned)
}

fn swap_input(expected: Option<u32>, new: u32) -> RegisterInput<u32> {
    RegisterInput::CompareAndSet { expected, new: Some(new) }
}

fn swap(expected: Option<u32>, new: u32, output: RegisterOutput<u32>, invoked: u64, returned: u64) -> Op {
    answered(swap_input(expected, new), output, invoked, returned)
}

/// Judges with and without leaving out what nobody observed: both must say the same.
fn is_accepted(operations: Vec<Op>) -> bool {
    let verdict = check(&Register::default(), &operations, ENOUGH_STEPS);
    let of_fewer = check(&Register::default(), &without_unobserved(operations), ENOUGH_STEPS);
    assert_ne!(verdict, Verdict::Unknown);
    let accepted = matches!(verdict, Verdict::Linearizable(_));
    assert_eq!(accepted, matches!(of_fewer, Verdict::Linearizable(_)));
    accepted
}

#[test]
fn operations_one_after_another_are_accepted() {
    assert!(is_accepted(vec![get(None, 0, 1), put(1, 2, 3), get(Some(1), 4, 5), delete(6, 7), get(None, 8, 9)]));
    assert!(is_accepted(vec![]));
}

#[test]
fn overlapping_operations_may_take_effect_in_either_order() {
    assert!(is_accepted(vec![put(1, 0, 10), put(2, 1, 9), get(Some(1), 11, 12)]));
    assert!(is_accepted(vec![put(1, 0, 10), put(2, 1, 9), get(Some(2), 11, 12)]));
    assert!(is_accepted(vec![put(1, 0, 10), get(None, 1, 2), get(Some(1), 3, 4)]));
}

#[test]
fn stale_read_is_refused() {
    assert!(!is_accepted(vec![put(1, 0, 1), put(2, 2, 3), get(Some(1), 4, 5)]));
}

#[test]
fn reads_that_go_back_in_time_are_refused() {
    assert!(!is_accepted(vec![put(1, 0, 1), put(2, 2, 20), get(Some(2), 3, 4), get(Some(1), 5, 6)]));
}

#[test]
fn lost_write_is_refused() {
    assert!(!is_accepted(vec![put(1, 0, 1), get(None, 2, 3)]));
}

#[test]
fn read_from_the_future_is_refused() {
    assert!(!is_accepted(vec![get(Some(1), 0, 1), put(1, 2, 3)]));
}

#[test]
fn read_of_a_value_that_nobody_wrote_is_refused() {
    assert!(!is_accepted(vec![put(1, 0, 1), get(Some(7), 2, 3)]));
}

#[test]
fn write_applied_twice_is_refused_when_it_comes_back_over_a_later_one() {
    assert!(!is_accepted(vec![put(1, 0, 1), put(2, 2, 3), get(Some(2), 4, 5), get(Some(1), 6, 7)]));
}

#[test]
fn ambiguous_write_may_be_seen_late_or_never_but_does_not_come_and_go() {
    let late = || unanswered(RegisterInput::Put(2), 2);
    assert!(is_accepted(vec![put(1, 0, 1), late(), get(Some(1), 3, 4), get(Some(2), 5, 6)]));
    assert!(is_accepted(vec![put(1, 0, 1), late(), get(Some(1), 3, 4), get(Some(1), 5, 6)]));
    assert!(!is_accepted(vec![put(1, 0, 1), late(), get(Some(2), 3, 4), get(Some(1), 5, 6)]));
}

#[test]
fn ambiguous_write_is_not_seen_before_it_was_asked() {
    assert!(!is_accepted(vec![get(Some(2), 0, 1), unanswered(RegisterInput::Put(2), 2)]));
}

#[test]
fn ambiguous_delete_may_explain_an_absence_once() {
    let gone = || unanswered(RegisterInput::Delete, 2);
    assert!(is_accepted(vec![put(1, 0, 1), gone(), get(None, 3, 4)]));
    assert!(!is_accepted(vec![put(1, 0, 1), gone(), get(None, 3, 4), put(2, 5, 6), get(None, 7, 8)]));
}

#[test]
fn read_without_an_answer_says_nothing() {
    assert!(is_accepted(vec![put(1, 0, 1), unanswered(RegisterInput::Get, 0), get(Some(1), 2, 3)]));
}

#[test]
fn two_swaps_from_one_value_cannot_both_succeed() {
    let both = |output: RegisterOutput<u32>| {
        vec![
            put(1, 0, 1),
            swap(Some(1), 2, RegisterOutput::Written, 2, 9),
            swap(Some(1), 3, output, 3, 8),
            get(Some(2), 10, 11),
        ]
    };
    assert!(!is_accepted(both(RegisterOutput::Written)));
    assert!(is_accepted(both(RegisterOutput::Mismatch(Some(2)))));
}

#[test]
fn swap_that_was_refused_although_it_fitted_is_refused() {
    assert!(!is_accepted(vec![put(1, 0, 1), swap(Some(1), 2, RegisterOutput::Mismatch(Some(1)), 2, 3)]));
}

#[test]
fn ambiguous_swap_takes_effect_only_where_it_fits() {
    let swapped = || unanswered(swap_input(Some(1), 5), 2);
    assert!(is_accepted(vec![put(1, 0, 1), swapped(), get(Some(5), 3, 4)]));
    assert!(!is_accepted(vec![put(2, 0, 1), swapped(), get(Some(5), 3, 4)]));
}

#[test]
fn answer_of_another_kind_is_refused() {
    assert!(!is_accepted(vec![answered(RegisterInput::Get, RegisterOutput::Written, 0, 1)]));
}

#[test]
fn search_that_runs_out_of_steps_says_so() {
    let verdict = check(&Register::default(), &[put(1, 0, 1), put(2, 2, 3), get(Some(2), 4, 5)], 2);
    assert_eq!(verdict, Verdict::Unknown);
}

#[test]
fn counterexample_names_the_operation_that_fits_nowhere() {
    let operations = [put(1, 0, 1), put(2, 2, 3), get(Some(1), 4, 5)];
    let Verdict::Violation(found) = check(&Register::default(), &operations, ENOUGH_STEPS) else {
        panic!("a stale read was accepted")
    };
    assert_eq!(found, Counterexample { longest: vec![0, 1], stuck: 2 });
    assert!(found.describe(&operations).ends_with("client 0: Get -> Value(Some(1))  [0.000004s .. 0.000005s]"));
}

#[test]
fn order_that_is_found_is_the_order_that_explains() {
    let operations = [put(1, 0, 10), put(2, 1, 9), get(Some(1), 11, 12)];
    assert_eq!(check(&Register::default(), &operations, ENOUGH_STEPS), Verdict::Linearizable(vec![1, 0, 2]));
}

#[test]
fn many_ambiguous_writes_that_nobody_saw_do_not_slow_the_search_down() {
    let mut operations: Vec<Op> = (0..60).map(|value| unanswered(RegisterInput::Put(100 + value), 0)).collect();
    operations.extend([put(1, 1, 2), get(Some(1), 3, 4), get(Some(2), 5, 6)]);
    let operations = without_unobserved(operations);
    assert_eq!(operations.len(), 3);
    assert!(matches!(check(&Register::default(), &operations, 100), Verdict::Violation(_)));
}

#[test]
fn recorded_history_keeps_the_order_of_events_at_one_moment() {
    let mut history = History::default();
    let now = Moment(5);
    let first = history.invoke(1, "a", RegisterInput::Put(1), now);
    history.complete(first, RegisterOutput::Written, now);
    let other = history.invoke(1, "b", RegisterInput::Put(9), now);
    let read = history.invoke(2, "a", RegisterInput::Get, now);
    history.complete(read, RegisterOutput::Value(None), now);
    history.take_back(other);
    let keys = history.by_key();
    assert_eq!(keys.keys().copied().collect::<Vec<_>>(), ["a"]);
    assert!(!is_accepted(keys["a"].clone()), "the write was over before the read began, at the same moment");
}
