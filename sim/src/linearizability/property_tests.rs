//! Histories of a real register with random overlaps are accepted; what a mutation or chance makes of them gets the same
//! verdict as from trying out every order.

use holdfast_types::{Moment, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::history::{Answer, Operation, Stamp};
use super::versions::{
    Expectation, Version, VersionedInput, VersionedOperation, VersionedOutput, check as check_versions,
};
use super::{Model, Register, RegisterInput, RegisterOutput, Verdict, check, without_unobserved};

type Op = Operation<RegisterInput<u32>, RegisterOutput<u32>>;
const ENOUGH_STEPS: u64 = 2_000_000;

/// What one client does and when. Times are distances from the instant at which the operation takes effect.
#[derive(Clone, Debug)]
struct Plan {
    kind: Kind,
    gap_us: u64,
    asked_before_us: u64,
    answered_after_us: u64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Get,
    Put,
    Delete,
    /// Expects the present value if true, else one that never was.
    Swap(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Answered,
    HappenedUnanswered,
    NeverHappened,
}

fn plan() -> impl Strategy<Value = Plan> {
    let kind = prop_oneof![
        4 => Just(Kind::Get), 4 => Just(Kind::Put), 1 => Just(Kind::Delete), 2 => any::<bool>().prop_map(Kind::Swap)
    ];
    let fate =
        prop_oneof![8 => Just(Fate::Answered), 1 => Just(Fate::HappenedUnanswered), 1 => Just(Fate::NeverHappened)];
    (kind, 1..10_u64, 0..60_u64, 0..60_u64, fate).prop_map(
        |(kind, gap_us, asked_before_us, answered_after_us, fate)| Plan {
            kind,
            gap_us,
            asked_before_us,
            answered_after_us,
            fate,
        },
    )
}

/// A run of a real register, as both judges want to see it.
#[derive(Default)]
struct Run {
    operations: Vec<Op>,
    versioned: Vec<VersionedOperation<u32>>,
    versions: Vec<Version<u32>>,
}

fn stamp(at: u64) -> Stamp {
    Stamp { at: Moment(at), order: 0 }
}

/// Carries out the plans one after another on one register; each effect lies within the time of its operation.
fn run(plans: &[Plan]) -> Run {
    let mut run = Run::default();
    let mut present: Option<(Timestamp, u32)> = None;
    let mut effect_us = 100;
    for (number, plan) in (1_u32..).zip(plans) {
        effect_us += plan.gap_us;
        let (invoked, returned) = (stamp(effect_us - plan.asked_before_us), stamp(effect_us + plan.answered_after_us));
        let timestamp = Timestamp(effect_us);
        let value = present.map(|(_, value)| value);
        let expected = |fits: bool| if fits { value } else { Some(u32::MAX) };
        let (input, versioned, written) = match plan.kind {
            Kind::Get => (RegisterInput::Get, VersionedInput::Get, None),
            Kind::Put => (RegisterInput::Put(number), VersionedInput::Write(Some(number)), Some(Some(number))),
            Kind::Delete => (RegisterInput::Delete, VersionedInput::Write(None), Some(None)),
            Kind::Swap(fits) => (
                RegisterInput::CompareAndSet { expected: expected(fits), new: Some(number) },
                VersionedInput::CompareAndSet {
                    expected: expected(fits).map_or(Expectation::Absent, Expectation::Value),
                    new: Some(number),
                },
                fits.then_some(Some(number)),
            ),
        };
        let (output, versioned_output) = match (plan.kind, written) {
            (_, Some(_)) => (RegisterOutput::Written, VersionedOutput::Wrote(timestamp)),
            (Kind::Get, None) => (RegisterOutput::Value(value), VersionedOutput::Saw(present)),
            (_, None) => (RegisterOutput::Mismatch(value), VersionedOutput::Saw(present)),
        };
        if let (Some(written), true) = (written, plan.fate != Fate::NeverHappened) {
            run.versions.push(Version { timestamp, value: written });
            present = written.map(|value| (timestamp, value));
        }
        let is_answered = plan.fate == Fate::Answered;
        let client = u64::from(number);
        let answer = is_answered.then_some(Answer { returned, output });
        run.operations.push(Operation { client, input, invoked, answer });
        let answer = is_answered.then_some(Answer { returned, output: versioned_output });
        run.versioned.push(Operation { client, input: versioned, invoked, answer });
    }
    run
}

fn is_accepted(operations: &[Op]) -> bool {
    let verdict = check(&Register::default(), operations, ENOUGH_STEPS);
    assert_ne!(verdict, Verdict::Unknown);
    matches!(verdict, Verdict::Linearizable(_))
}

/// Tries every order of every choice of unanswered operations.
fn is_explained_by_some_order(operations: &[Op], taken: &mut Vec<bool>, state: Option<u32>) -> bool {
    let open = |taken: &[bool]| (0..operations.len()).any(|at| !taken[at] && operations[at].answer.is_some());
    if !open(taken) {
        return true;
    }
    for at in 0..operations.len() {
        let overtaken = |other: usize| {
            !taken[other]
                && operations[other].answer.as_ref().is_some_and(|answer| answer.returned < operations[at].invoked)
        };
        if taken[at] || (0..operations.len()).any(overtaken) {
            continue;
        }
        let output = operations[at].answer.as_ref().map(|answer| &answer.output);
        if let Some(after) = Register::default().step(&state, &operations[at].input, output) {
            taken[at] = true;
            let is_explained = is_explained_by_some_order(operations, taken, after);
            taken[at] = false;
            if is_explained {
                return true;
            }
        }
    }
    false
}

/// An operation with any question, any answer of the right kind or none, at any time.
fn arbitrary_operation() -> impl Strategy<Value = Op> {
    let value = || prop_oneof![Just(None), (0..3_u32).prop_map(Some)];
    let asked = prop_oneof![
        3 => value().prop_map(|seen| (RegisterInput::Get, RegisterOutput::Value(seen))),
        3 => (0..3_u32).prop_map(|new| (RegisterInput::Put(new), RegisterOutput::Written)),
        1 => Just((RegisterInput::Delete, RegisterOutput::Written)),
        2 => (value(), value(), prop::option::of(value())).prop_map(|(expected, new, mismatch)| {
            (RegisterInput::CompareAndSet { expected, new }, mismatch.map_or(RegisterOutput::Written, RegisterOutput::Mismatch))
        }),
    ];
    (asked, 0..12_u64, 1..8_u64, 0..5_u32).prop_map(|((input, output), invoked, span, chance)| Operation {
        client: 0,
        input,
        invoked: stamp(invoked),
        answer: (chance > 0).then_some(Answer { returned: stamp(invoked + span), output }),
    })
}

/// The same cases in every run.
fn fixed_cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(fixed_cases(200))]

    #[test]
    fn history_of_a_real_register_is_accepted_by_both_judges(plans in prop::collection::vec(plan(), 0..60)) {
        let run = run(&plans);
        prop_assert!(is_accepted(&without_unobserved(run.operations)));
        let counts = check_versions(&run.versions, &run.versioned);
        prop_assert!(counts.is_ok(), "{:?}", counts);
        let counts = counts.unwrap();
        prop_assert_eq!(counts.acknowledged + counts.unanswered_happened, run.versions.len());
    }

    #[test]
    fn changed_read_in_a_sequential_history_is_refused_by_both_judges(
        plans in prop::collection::vec(plan(), 1..40), chosen in any::<prop::sample::Index>()
    ) {
        let sequential = |plan: &Plan| Plan { asked_before_us: 0, answered_after_us: 0, fate: Fate::Answered, ..plan.clone() };
        let mut plans: Vec<Plan> = plans.iter().map(sequential).collect();
        let chosen = chosen.index(plans.len());
        plans[chosen].kind = Kind::Get;
        let mut run = run(&plans);
        let before = run.operations[chosen].answer.clone().unwrap().output;
        let changed = if before == RegisterOutput::Value(None) { Some(7_000) } else { None };
        run.operations[chosen].answer.as_mut().unwrap().output = RegisterOutput::Value(changed);
        let seen = changed.map(|value| (Timestamp(1), value));
        run.versioned[chosen].answer.as_mut().unwrap().output = VersionedOutput::Saw(seen);
        prop_assert!(!is_accepted(&run.operations));
        prop_assert!(check_versions(&run.versions, &run.versioned).is_err());
    }

    #[test]
    fn version_taken_away_or_doubled_is_found(
        plans in prop::collection::vec(plan(), 1..40), chosen in any::<prop::sample::Index>()
    ) {
        let answered = |plan: &Plan| Plan { kind: Kind::Put, fate: Fate::Answered, ..plan.clone() };
        let run = run(&plans.iter().map(answered).collect::<Vec<_>>());
        let chosen = chosen.index(run.versions.len());
        let mut fewer = run.versions.clone();
        fewer.remove(chosen);
        prop_assert!(check_versions(&fewer, &run.versioned).is_err());
        let mut more = run.versions.clone();
        let value = more[chosen].value;
        more.push(Version { timestamp: Timestamp(1_000_000), value });
        prop_assert!(check_versions(&more, &run.versioned).is_err());
    }
}

proptest! {
    #![proptest_config(fixed_cases(3_000))]

    #[test]
    fn verdict_is_that_of_trying_every_order(operations in prop::collection::vec(arbitrary_operation(), 0..7)) {
        let expected = is_explained_by_some_order(&operations, &mut vec![false; operations.len()], None);
        prop_assert_eq!(is_accepted(&operations), expected);
        prop_assert_eq!(is_accepted(&without_unobserved(operations)), expected);
    }
}
