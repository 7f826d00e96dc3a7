//! What clients asked and were answered, judged at the end: against the versions that there are, by a search for an order, and
//! batch by batch.

use std::collections::BTreeMap;

use holdfast_types::{Key, Moment, Timestamp};

use crate::linearizability::versions::{
    self, Expectation, Version, VersionedInput, VersionedOperation, VersionedOutput,
};
use crate::linearizability::{
    self, Answer, History, Operation, OperationId, Register, RegisterInput, RegisterOutput, Verdict, without_unobserved,
};

/// What is asked of one key.
pub type Input = VersionedInput<String>;
/// What is answered.
pub type Answered = VersionedOutput<String>;
/// The versions of one key, oldest first.
pub type Versions = Vec<Version<String>>;

/// Steps of the search for an order, for each key.
const SEARCH_STEPS: u64 = 200_000;

/// What clients asked and were answered.
#[derive(Default, Debug)]
pub struct Histories {
    keys: History<Key, Input, Answered>,
    /// Batches by the value that they wrote: it is theirs alone.
    batches: BTreeMap<String, Vec<Key>>,
    /// What scans saw of keys (the version, if any), and as of when: all pages of a range as of one timestamp.
    seen: Vec<(Timestamp, Key, Option<Timestamp>)>,
}

impl Histories {
    /// A client asks.
    pub fn invoke(&mut self, client: u64, key: &Key, input: Input, now: Moment) -> OperationId {
        self.keys.invoke(client, key.clone(), input, now)
    }

    /// It is answered.
    pub fn complete(&mut self, operation: OperationId, answer: Answered, now: Moment) {
        self.keys.complete(operation, answer, now);
    }

    /// It certainly did not happen.
    pub fn take_back(&mut self, operation: OperationId) {
        self.keys.take_back(operation);
    }

    /// A batch writes this value to these keys.
    pub fn batch(&mut self, value: String, keys: Vec<Key>) {
        self.batches.insert(value, keys);
    }

    /// A scan of the range read this version of the key, or none, as of `at`.
    pub fn seen_as_of(&mut self, at: Timestamp, key: &Key, version: Option<Timestamp>) {
        self.seen.push((at, key.clone(), version));
    }

    /// Judges everything against the versions of every key.
    pub fn check(&self, found: &BTreeMap<Key, Versions>) -> Result<(), String> {
        let none = Vec::new();
        for (key, operations) in self.keys.by_key() {
            let versions = found.get(&key).unwrap_or(&none);
            if let Err(violations) = versions::check(versions, &operations) {
                let what: Vec<_> = violations.iter().take(3).map(|v| explain(v, &operations)).collect();
                return Err(format!("{key}: {}", what.join("; ")));
            }
            search(&key, versions, &operations)?;
        }
        self.batches.iter().try_for_each(|(value, keys)| whole(value, keys, found))?;
        self.seen.iter().try_for_each(|(at, key, version)| as_of(*at, key, *version, found.get(key).unwrap_or(&none)))
    }
}

/// What a scan saw as of a timestamp is the newest version up to there. A version that is gone by now was shadowed by a newer one,
/// which may not lie below the timestamp either.
fn as_of(at: Timestamp, key: &Key, version: Option<Timestamp>, versions: &Versions) -> Result<(), String> {
    let Some(newest) = versions.iter().rev().find(|known| known.timestamp <= at) else { return Ok(()) };
    let missed = match version {
        Some(version) => version < newest.timestamp || version > at,
        None => newest.value.is_some(),
    };
    match missed {
        true => Err(format!("a scan as of {at} saw {key} at {version:?}, where {:?} is the newest", newest.timestamp)),
        false => Ok(()),
    }
}

fn explain(violation: &versions::Violation, operations: &[VersionedOperation<String>]) -> String {
    let text = violation.to_string();
    let named = text.split_whitespace().skip_while(|word| *word != "operation").nth(1);
    let index = named.and_then(|word| word.trim_end_matches(',').parse::<usize>().ok());
    match index.and_then(|index| operations.get(index)) {
        Some(operation) => format!("{text} ({operation:?})"),
        None => text,
    }
}

/// All keys of a batch have its value at one timestamp, or none has it.
fn whole(value: &str, keys: &[Key], found: &BTreeMap<Key, Versions>) -> Result<(), String> {
    let at = |key: &Key| -> Option<Timestamp> {
        let versions = found.get(key)?;
        versions.iter().find(|version| version.value.as_deref() == Some(value)).map(|version| version.timestamp)
    };
    let mut stamps = keys.iter().map(at);
    let first = stamps.next().flatten();
    match stamps.all(|stamp| stamp == first) {
        true => Ok(()),
        false => Err(format!("the batch of {value} to {keys:?} was applied in part")),
    }
}

/// Searches for an order of the operations on one key, without looking at versions but for what an expectation names.
fn search(key: &Key, versions: &Versions, operations: &[VersionedOperation<String>]) -> Result<(), String> {
    let value_of = |timestamp: &Timestamp| {
        let version = versions.iter().find(|version| version.timestamp == *timestamp);
        // A version that never was: expected by nobody who could have seen it.
        version.map_or(Some(format!("nothing at {timestamp}")), |version| version.value.clone())
    };
    let operations: Vec<_> = operations.iter().map(|operation| simplify(operation, &value_of)).collect();
    let operations = without_unobserved(operations);
    match linearizability::check(&Register::default(), &operations, SEARCH_STEPS) {
        Verdict::Violation(example) => Err(format!("{key} is not linearizable: {}", example.describe(&operations))),
        Verdict::Linearizable(_) | Verdict::Unknown => Ok(()),
    }
}

fn simplify(
    operation: &VersionedOperation<String>,
    value_of: &dyn Fn(&Timestamp) -> Option<String>,
) -> Operation<RegisterInput<String>, RegisterOutput<String>> {
    let input = match &operation.input {
        VersionedInput::Get => RegisterInput::Get,
        VersionedInput::Write(Some(value)) => RegisterInput::Put(value.clone()),
        VersionedInput::Write(None) => RegisterInput::Delete,
        VersionedInput::CompareAndSet { expected, new } => {
            let expected = match expected {
                Expectation::Absent => None,
                Expectation::Value(value) => Some(value.clone()),
                Expectation::Version(timestamp) => value_of(timestamp),
            };
            RegisterInput::CompareAndSet { expected, new: new.clone() }
        }
    };
    let answer = operation.answer.as_ref().map(|answer| {
        let output = match (&answer.output, &input) {
            (VersionedOutput::Wrote(_), _) => RegisterOutput::Written,
            (VersionedOutput::Saw(found), RegisterInput::Get) => RegisterOutput::Value(value_in(found)),
            (VersionedOutput::Saw(found), _) => RegisterOutput::Mismatch(value_in(found)),
        };
        Answer { returned: answer.returned, output }
    });
    Operation { client: operation.client, input, invoked: operation.invoked, answer }
}

fn value_in(found: &Option<(Timestamp, String)>) -> Option<String> {
    found.as_ref().map(|(_, value)| value.clone())
}
