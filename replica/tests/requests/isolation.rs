//! Writes side by side: whatever depends on a key saw it as it was just before its own place in the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_replica::{Outcome, Ticket};
use holdfast_types::storage::Version;
use holdfast_types::{Condition, Expected, Key, KeyRange, Mutation, Request, Response, Timestamp};
use proptest::prelude::*;

use crate::model::{Leader, key};

const NAMES: [&str; 4] = ["c", "d", "e", "f"];

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Delete(usize),
    /// Writes the second key if the first is what it was last seen to be.
    Swap(usize, usize),
    DeleteRange(usize, usize, u32),
    Evaluate,
    Confirm,
    Propose,
    Apply(usize),
    Elect(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    prop_oneof![
        6 => name().prop_map(Step::Put),
        2 => name().prop_map(Step::Delete),
        6 => (name(), name()).prop_map(|(one, other)| Step::Swap(one, other)),
        2 => (name(), name(), 1u32..4).prop_map(|(start, end, max)| Step::DeleteRange(start, end, max)),
        8 => Just(Step::Evaluate),
        2 => Just(Step::Confirm),
        8 => Just(Step::Propose),
        6 => (1usize..4).prop_map(Step::Apply),
        1 => (0usize..3).prop_map(Step::Elect),
    ]
}

/// What the newest version of a key before `at` says, if it is a value.
fn before(leader: &Leader, key: &Key, at: Timestamp) -> Option<(Timestamp, Bytes)> {
    let earlier = std::cmp::Reverse(Timestamp(at.0 - 1));
    let ((of, at), version) = leader.model.versions.range((key.clone(), earlier)..).next()?;
    match version {
        Version::Value { value, .. } if of == key => Some((at.0, value.clone())),
        _ => None,
    }
}

fn check(leader: &Leader, asked: &BTreeMap<u64, Request>) -> Result<(), TestCaseError> {
    for (Ticket(ticket), answer) in &leader.answers {
        let Ok(Outcome::Response(response)) = answer else { continue };
        match (&asked[ticket], response) {
            (Request::Write { conditions, .. }, Response::Written { timestamp }) => {
                for Condition { key, expected } in conditions {
                    let found = before(leader, key, *timestamp);
                    let expected = match expected {
                        Expected::Version(version) => Some(*version),
                        _ => None,
                    };
                    prop_assert_eq!(found.map(|(at, _)| at), expected, "{} was not as {} expected", key, ticket);
                }
            }
            (Request::DeleteRange { bounds, .. }, Response::RangeDeleted { deleted, resume, timestamp }) => {
                let page = KeyRange { start: bounds.start.clone(), end: resume.clone().or(bounds.end.clone()) };
                let names = NAMES.map(key);
                let in_page = names.iter().filter(|key| page.contains(key));
                let existed = in_page.filter(|key| before(leader, key, *timestamp).is_some());
                // An empty page has no place in the log.
                if *deleted > 0 {
                    prop_assert_eq!(existed.count(), *deleted as usize, "the page of {}", ticket);
                }
            }
            (_, Response::ConditionFailed { .. }) => {}
            (request, response) => return Err(TestCaseError::fail(format!("{request:?}: {response:?}"))),
        }
    }
    prop_assert_eq!(leader.answers.len(), asked.len(), "all are answered");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_depends_on_a_key_saw_it_just_before_its_own_place(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut leader = Leader::new();
        let mut asked = BTreeMap::new();
        for (step, ticket) in steps.into_iter().zip(1u64..) {
            let write = |key, value: Option<u64>, conditions| {
                let value = value.map(|value| Bytes::from(value.to_string()));
                Request::Write { conditions, mutations: vec![Mutation { key, value, expires_at: None }] }
            };
            let request = match step {
                Step::Put(name) => write(key(NAMES[name]), Some(ticket), Vec::new()),
                Step::Delete(name) => write(key(NAMES[name]), None, Vec::new()),
                Step::Swap(one, other) => {
                    let one = key(NAMES[one]);
                    let seen = before(&leader, &one, Timestamp::MAX).map(|(at, _)| at);
                    let condition = Condition { key: one, expected: seen.map_or(Expected::Absent, Expected::Version) };
                    write(key(NAMES[other]), Some(ticket), vec![condition])
                }
                Step::DeleteRange(start, end, max_keys) => {
                    let bounds = KeyRange { start: key(NAMES[start]), end: Some(key(NAMES[end])) };
                    Request::DeleteRange { bounds, max_keys }
                }
                Step::Evaluate => { leader.evaluate(); continue }
                Step::Confirm => { leader.confirm(); continue }
                Step::Propose => { leader.propose(); continue }
                Step::Apply(most) => { leader.apply(most); continue }
                Step::Elect(kept) => { leader.elect(kept); continue }
            };
            asked.insert(ticket, request.clone());
            leader.request(ticket, None, request);
        }
        leader.settle();
        check(&leader, &asked)?;
    }
}
