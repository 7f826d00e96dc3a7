//! One key as a model: it has a value or none.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::marker::PhantomData;

use super::history::Operation;
use super::model::Model;

/// What is asked of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterInput<V> {
    /// Reads it.
    Get,
    /// Gives it a value.
    Put(V),
    /// Takes its value away.
    Delete,
    /// Changes it only if it looks as expected.
    CompareAndSet {
        /// The value that it must have; `None`: it must have none.
        expected: Option<V>,
        /// What it gets; `None`: it is deleted.
        new: Option<V>,
    },
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterOutput<V> {
    /// The value that a get found.
    Value(Option<V>),
    /// A put, a delete or a compare-and-set has changed the key.
    Written,
    /// A compare-and-set found this instead of what it expected, and changed nothing.
    Mismatch(Option<V>),
}

/// A key that has no value at the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Register<V>(PhantomData<V>);

impl<V> Default for Register<V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<V: Clone + Ord + Debug> Model for Register<V> {
    type State = Option<V>;
    type Input = RegisterInput<V>;
    type Output = RegisterOutput<V>;

    fn initial(&self) -> Option<V> {
        None
    }

    fn step(
        &self,
        state: &Option<V>,
        input: &RegisterInput<V>,
        output: Option<&RegisterOutput<V>>,
    ) -> Option<Option<V>> {
        let (answer, after) = match input {
            RegisterInput::Get => (RegisterOutput::Value(state.clone()), state.clone()),
            RegisterInput::Put(value) => (RegisterOutput::Written, Some(value.clone())),
            RegisterInput::Delete => (RegisterOutput::Written, None),
            RegisterInput::CompareAndSet { expected, new } if expected == state => {
                (RegisterOutput::Written, new.clone())
            }
            RegisterInput::CompareAndSet { .. } => (RegisterOutput::Mismatch(state.clone()), state.clone()),
        };
        output.is_none_or(|output| *output == answer).then_some(after)
    }

    fn changes_nothing(&self, input: &RegisterInput<V>, output: Option<&RegisterOutput<V>>) -> bool {
        matches!(input, RegisterInput::Get) || matches!(output, Some(RegisterOutput::Mismatch(_)))
    }
}

/// Leaves out unanswered writes of values that nobody ever saw or expected: they cannot help to explain anything, and each
/// would double the search. The verdict stays the same.
#[must_use]
pub fn without_unobserved<V: Clone + Ord>(
    operations: Vec<Operation<RegisterInput<V>, RegisterOutput<V>>>,
) -> Vec<Operation<RegisterInput<V>, RegisterOutput<V>>> {
    let mut kept = operations;
    loop {
        let before = kept.len();
        let observed: BTreeSet<Option<V>> = kept.iter().flat_map(observed_by).collect();
        kept.retain(|operation| {
            operation.answer.is_some()
                || written_by(&operation.input).is_some_and(|written| observed.contains(&written))
        });
        if kept.len() == before {
            return kept;
        }
    }
}

fn observed_by<V: Clone>(operation: &Operation<RegisterInput<V>, RegisterOutput<V>>) -> Vec<Option<V>> {
    let mut observed = Vec::new();
    if let RegisterInput::CompareAndSet { expected, .. } = &operation.input {
        observed.push(expected.clone());
    }
    match operation.answer.as_ref().map(|answer| &answer.output) {
        Some(RegisterOutput::Value(value) | RegisterOutput::Mismatch(value)) => observed.push(value.clone()),
        Some(RegisterOutput::Written) | None => {}
    }
    observed
}

/// What the key looks like after the operation, if it changes anything; `None` for reads.
fn written_by<V: Clone>(input: &RegisterInput<V>) -> Option<Option<V>> {
    match input {
        RegisterInput::Get => None,
        RegisterInput::Put(value) => Some(Some(value.clone())),
        RegisterInput::Delete => Some(None),
        RegisterInput::CompareAndSet { new, .. } => Some(new.clone()),
    }
}
