//! What clients asked, what they were answered, and when.

use std::collections::BTreeMap;

use holdfast_types::Moment;

/// When a client asked or was answered, in the simulator's time.
///
/// `order` tells apart what happened at one moment. Two stamps that are equal in both are taken as simultaneous: nothing is
/// concluded from them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stamp {
    /// The virtual time.
    pub at: Moment,
    /// Which of the events at that time.
    pub order: u64,
}

/// What a client was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<O> {
    /// When the client had it.
    pub returned: Stamp,
    /// What it says.
    pub output: O,
}

/// One operation of one client on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation<I, O> {
    /// Who asked; for the reader of a counterexample.
    pub client: u64,
    /// What was asked.
    pub input: I,
    /// When it was asked.
    pub invoked: Stamp,
    /// `None`: it timed out or failed, and may or may not have happened, at any time after it was asked.
    pub answer: Option<Answer<O>>,
}

/// Names an operation of a history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OperationId(u64);

/// Records operations as they happen.
///
/// Invariants:
/// - stamps are given in the order of the calls, so whoever records events in the order in which they happen needs no
///   distinct moments
/// - an operation is answered at most once
#[derive(Clone, Debug)]
pub struct History<K, I, O> {
    operations: BTreeMap<OperationId, (K, Operation<I, O>)>,
    events: u64,
}

impl<K, I, O> Default for History<K, I, O> {
    fn default() -> Self {
        Self { operations: BTreeMap::new(), events: 0 }
    }
}

impl<K: Clone + Ord, I: Clone, O: Clone> History<K, I, O> {
    /// A client asks. Until it is answered the operation may have happened or not.
    pub fn invoke(&mut self, client: u64, key: K, input: I, now: Moment) -> OperationId {
        let invoked = self.stamp(now);
        let id = OperationId(invoked.order);
        self.operations.insert(id, (key, Operation { client, input, invoked, answer: None }));
        id
    }

    /// The client is answered. An operation that was taken back is ignored.
    ///
    /// # Panics
    ///
    /// When the operation was answered before: the recorder is wrong, and so would be every verdict.
    pub fn complete(&mut self, id: OperationId, output: O, now: Moment) {
        let returned = self.stamp(now);
        if let Some((_, operation)) = self.operations.get_mut(&id) {
            assert!(operation.answer.is_none(), "{id:?} is answered twice");
            operation.answer = Some(Answer { returned, output });
        }
    }

    /// The operation certainly did not happen and never will: it was refused. A failure that leaves a doubt is recorded by
    /// leaving the operation without an answer.
    pub fn take_back(&mut self, id: OperationId) {
        self.operations.remove(&id);
    }

    /// How many operations are recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The operations of each key, in the order in which they were asked.
    #[must_use]
    pub fn by_key(&self) -> BTreeMap<K, Vec<Operation<I, O>>> {
        let mut keys: BTreeMap<K, Vec<Operation<I, O>>> = BTreeMap::new();
        for (key, operation) in self.operations.values() {
            keys.entry(key.clone()).or_default().push(operation.clone());
        }
        keys
    }

    fn stamp(&mut self, at: Moment) -> Stamp {
        self.events += 1;
        Stamp { at, order: self.events }
    }
}
