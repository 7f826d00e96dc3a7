//! What the checker must know of the thing under test.

/// A sequential specification: how one copy of the data behaves when operations come one after another.
pub trait Model {
    /// Everything that later answers can depend on.
    type State: Clone + Ord;
    /// What is asked.
    type Input;
    /// What is answered.
    type Output;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after the operation, or `None` when `output` is not what this state would have answered. An operation whose
    /// answer is not known has no `output` and fits every state.
    fn step(&self, state: &Self::State, input: &Self::Input, output: Option<&Self::Output>) -> Option<Self::State>;

    /// Whether an operation with this answer changes nothing, in whatever state it came: a read, a refusal.
    fn changes_nothing(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool;
}
