//! Runs told by their versions, each with what is wrong with it.

use holdfast_types::{Moment, Timestamp};

use super::history::{Answer, Operation, Stamp};
use super::versions::{
    Counts, Expectation, Version, VersionedInput, VersionedOperation, VersionedOutput, Violation, check,
};

type Op = VersionedOperation<u32>;

fn stamp(at: u64) -> Stamp {
    Stamp { at: Moment(at), order: 0 }
}

fn at(timestamp: u64) -> Timestamp {
    Timestamp(timestamp)
}

fn answered(input: VersionedInput<u32>, output: VersionedOutput<u32>, invoked: u64, returned: u64) -> Op {
    Operation { client: 0, input, invoked: stamp(invoked), answer: Some(Answer { returned: stamp(returned), output }) }
}

fn unanswered(input: VersionedInput<u32>, invoked: u64) -> Op {
    Operation { client: 0, input, invoked: stamp(invoked), answer: None }
}

fn write(value: Option<u32>, timestamp: u64, invoked: u64, returned: u64) -> Op {
    answered(VersionedInput::Write(value), VersionedOutput::Wrote(at(timestamp)), invoked, returned)
}

fn read(seen: Option<(u64, u32)>, invoked: u64, returned: u64) -> Op {
    let seen = seen.map(|(timestamp, value)| (at(timestamp), value));
    answered(VersionedInput::Get, VersionedOutput::Saw(seen), invoked, returned)
}

fn swap(expected: Expectation<u32>, new: u32) -> VersionedInput<u32> {
    VersionedInput::CompareAndSet { expected, new: Some(new) }
}

fn versions(list: &[(u64, Option<u32>)]) -> Vec<Version<u32>> {
    list.iter().map(|(timestamp, value)| Version { timestamp: at(*timestamp), value: *value }).collect()
}

fn violations(list: &[(u64, Option<u32>)], operations: &[Op]) -> Vec<Violation> {
    check(&versions(list), operations).err().unwrap_or_default()
}

#[test]
fn run_in_order_is_counted() {
    let operations = [
        read(None, 0, 1),
        write(Some(1), 10, 2, 3),
        read(Some((10, 1)), 4, 5),
        write(None, 20, 6, 7),
        read(None, 8, 9),
        unanswered(VersionedInput::Write(Some(3)), 8),
        unanswered(VersionedInput::Write(Some(4)), 8),
    ];
    let counts = check(&versions(&[(10, Some(1)), (20, None), (30, Some(3))]), &operations).unwrap();
    assert_eq!(counts, Counts { acknowledged: 2, unanswered_happened: 1, unanswered_missing: 1, reads: 3 });
}

#[test]
fn lost_write_is_found() {
    let found = violations(&[(10, Some(1))], &[write(Some(1), 10, 0, 1), write(Some(2), 20, 2, 3)]);
    assert_eq!(found, [Violation::LostWrite { operation: 1, timestamp: at(20) }]);
}

#[test]
fn write_applied_twice_is_found() {
    let found = violations(&[(10, Some(1)), (20, Some(1))], &[write(Some(1), 10, 0, 1)]);
    assert_eq!(found, [Violation::AppliedTwice(at(20))]);
    let found = violations(&[(10, Some(1)), (20, Some(1))], &[unanswered(VersionedInput::Write(Some(1)), 0)]);
    assert_eq!(found, [Violation::AppliedTwice(at(20))]);
    let found =
        violations(&[(10, Some(1)), (20, None), (30, None)], &[write(Some(1), 10, 0, 1), write(None, 20, 2, 3)]);
    assert_eq!(found, [Violation::NeverWritten(at(30))]);
}

#[test]
fn two_acknowledgements_of_one_version_are_found() {
    let found = violations(&[(10, Some(1))], &[write(Some(1), 10, 0, 1), write(Some(1), 10, 0, 1)]);
    assert_eq!(found, [Violation::SharedVersion { operation: 1, timestamp: at(10) }]);
}

#[test]
fn stale_read_is_found() {
    let writes = [write(Some(1), 10, 0, 1), write(Some(2), 20, 2, 3), read(Some((10, 1)), 4, 5)];
    let found = violations(&[(10, Some(1)), (20, Some(2))], &writes);
    assert_eq!(found, [Violation::Stale { operation: 2, position: at(10), known: at(20) }]);
}

#[test]
fn read_that_overlaps_a_write_may_see_either() {
    for seen in [(10, 1), (20, 2)] {
        let operations = [write(Some(1), 10, 0, 1), write(Some(2), 20, 2, 9), read(Some(seen), 3, 4)];
        assert!(violations(&[(10, Some(1)), (20, Some(2))], &operations).is_empty());
    }
}

#[test]
fn reads_that_go_back_in_time_are_found() {
    let operations =
        [write(Some(1), 10, 0, 1), write(Some(2), 20, 2, 9), read(Some((20, 2)), 3, 4), read(Some((10, 1)), 5, 6)];
    assert_eq!(violations(&[(10, Some(1)), (20, Some(2))], &operations).len(), 1);
}

#[test]
fn read_from_the_future_is_found() {
    let operations = [read(Some((10, 1)), 0, 1), write(Some(1), 10, 2, 3)];
    let found = violations(&[(10, Some(1))], &operations);
    assert_eq!(found, [Violation::Stale { operation: 1, position: at(10), known: at(10) }]);
    let operations = [read(Some((10, 1)), 0, 1), unanswered(VersionedInput::Write(Some(1)), 2)];
    assert_eq!(violations(&[(10, Some(1))], &operations), [Violation::NeverWritten(at(10))]);
}

#[test]
fn read_of_a_version_that_never_was_is_found() {
    let found = violations(&[(10, Some(1))], &[write(Some(1), 10, 0, 1), read(Some((15, 7)), 2, 3)]);
    assert_eq!(found, [Violation::SawNothingReal { operation: 1, timestamp: at(15) }]);
}

#[test]
fn absence_needs_a_tombstone_that_is_not_older_than_what_was_known() {
    let first = write(Some(1), 10, 0, 1);
    let found = violations(&[(10, Some(1))], &[first.clone(), read(None, 2, 3)]);
    assert_eq!(found, [Violation::StaleAbsence { operation: 1, known: at(10) }]);
    let gone = unanswered(VersionedInput::Write(None), 2);
    assert!(violations(&[(10, Some(1)), (20, None)], &[first.clone(), gone.clone(), read(None, 2, 3)]).is_empty());
    let operations = [first, gone, read(None, 2, 3), read(Some((10, 1)), 4, 5)];
    assert_eq!(violations(&[(10, Some(1)), (20, None)], &operations).len(), 1, "what is gone stays gone");
}

#[test]
fn ambiguous_write_seen_later_is_accepted() {
    let operations = [
        write(Some(1), 10, 0, 1),
        unanswered(VersionedInput::Write(Some(2)), 2),
        read(Some((10, 1)), 3, 4),
        read(Some((20, 2)), 5, 6),
    ];
    assert!(violations(&[(10, Some(1)), (20, Some(2))], &operations).is_empty());
}

#[test]
fn write_stamped_before_what_was_known_is_found() {
    let operations = [write(Some(2), 20, 0, 1), write(Some(1), 10, 2, 3)];
    let found = violations(&[(10, Some(1)), (20, Some(2))], &operations);
    assert_eq!(found, [Violation::Stale { operation: 1, position: at(10), known: at(20) }]);
}

#[test]
fn two_swaps_from_one_value_cannot_both_succeed() {
    let one = answered(swap(Expectation::Value(1), 2), VersionedOutput::Wrote(at(20)), 2, 9);
    let other = answered(swap(Expectation::Value(1), 3), VersionedOutput::Wrote(at(30)), 2, 9);
    let list = [(10, Some(1)), (20, Some(2)), (30, Some(3))];
    let found = violations(&list, &[write(Some(1), 10, 0, 1), one.clone(), other]);
    assert_eq!(found, [Violation::WrongSwap { operation: 2, timestamp: at(30) }]);
    let refused = answered(swap(Expectation::Value(1), 3), VersionedOutput::Saw(Some((at(20), 2))), 2, 9);
    assert!(violations(&list[..2], &[write(Some(1), 10, 0, 1), one, refused]).is_empty());
}

#[test]
fn swap_by_version_or_absence_looks_at_the_version_before() {
    let first = answered(swap(Expectation::Absent, 1), VersionedOutput::Wrote(at(10)), 0, 1);
    let second = answered(swap(Expectation::Version(at(10)), 2), VersionedOutput::Wrote(at(20)), 2, 3);
    let list = [(10, Some(1)), (20, Some(2))];
    assert!(violations(&list, &[first.clone(), second]).is_empty());
    let wrong = answered(swap(Expectation::Version(at(9)), 2), VersionedOutput::Wrote(at(20)), 2, 3);
    assert_eq!(violations(&list, &[first, wrong]), [Violation::WrongSwap { operation: 1, timestamp: at(20) }]);
}

#[test]
fn swap_that_was_refused_although_it_fitted_is_found() {
    let refused = answered(swap(Expectation::Value(1), 3), VersionedOutput::Saw(Some((at(10), 1))), 2, 3);
    let found = violations(&[(10, Some(1))], &[write(Some(1), 10, 0, 1), refused]);
    assert_eq!(found, [Violation::WrongRefusal { operation: 1 }]);
}

#[test]
fn ambiguous_swap_explains_a_version_only_over_what_it_expected() {
    let pending = unanswered(swap(Expectation::Value(1), 2), 2);
    let list = [(10, Some(1)), (20, Some(2))];
    assert!(violations(&list, &[write(Some(1), 10, 0, 1), pending]).is_empty());
    let pending = unanswered(swap(Expectation::Value(7), 2), 2);
    assert_eq!(violations(&list, &[write(Some(1), 10, 0, 1), pending]), [Violation::NeverWritten(at(20))]);
}

#[test]
fn versions_out_of_order_are_found() {
    assert!(violations(&[(20, None), (10, None)], &[]).contains(&Violation::Disorder(at(10))));
}
