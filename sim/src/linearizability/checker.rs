//! The search for an order that explains a history.
//!
//! All questions and answers stand in one list, by time. Whatever is asked before the first answer in the list may be the next
//! operation in the order, if the model accepts it in the present state; then its question and answer leave the list. When
//! none of them leads on, the last choice is taken back. A set of chosen operations that led to a state once is not tried
//! again with that state.
//!
//! It is done when every answered operation is in the order. An operation without an answer never ends, and is chosen only
//! where that helps. Two things keep the search short: what was answered first is tried first, and an operation that
//! fits now and changes nothing is chosen without an alternative, for whatever can follow later can follow then too.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use super::history::{Operation, Stamp};
use super::model::Model;

/// What the search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There is an order: the indexes of the operations, as it goes. Unanswered ones that did not happen, or need not
    /// have, are absent.
    Linearizable(Vec<usize>),
    /// There is none.
    Violation(Counterexample),
    /// The budget was used up before either was found.
    Unknown,
}

/// How far an explanation could be carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterexample {
    /// The longest order that was found, as indexes of operations.
    pub longest: Vec<usize>,
    /// The answered operation that fits nowhere after it.
    pub stuck: usize,
}

impl Counterexample {
    /// The last steps of the explanation and where it ends, a line each.
    #[must_use]
    pub fn describe<I: fmt::Debug, O: fmt::Debug>(&self, operations: &[Operation<I, O>]) -> String {
        const SHOWN: usize = 10;
        let line = |index: usize| {
            let Operation { client, input, invoked, answer } = &operations[index];
            match answer {
                Some(answer) => {
                    format!(
                        "client {client}: {input:?} -> {:?}  [{:?} .. {:?}]",
                        answer.output, invoked.at, answer.returned.at
                    )
                }
                None => format!("client {client}: {input:?} -> not answered  [{:?} ..]", invoked.at),
            }
        };
        let skipped = self.longest.len().saturating_sub(SHOWN);
        let mut lines = vec![format!("{skipped} operations in order, then")];
        lines.extend(self.longest[skipped..].iter().map(|index| format!("  {}", line(*index))));
        lines.push(format!("and no place for\n  {}", line(self.stuck)));
        lines.join("\n")
    }
}

/// Looks for an order of `operations` that the model accepts, in at most `max_steps` steps.
pub fn check<M: Model>(model: &M, operations: &[Operation<M::Input, M::Output>], max_steps: u64) -> Verdict {
    Search::new(model, operations).run(max_steps)
}

/// A set of operations.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Chosen(Vec<u64>);

impl Chosen {
    fn none_of(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn flip(&mut self, operation: usize) {
        self.0[operation / 64] ^= 1 << (operation % 64);
    }
}

/// What the list of events must know of an operation.
struct Span {
    /// A read without an answer: it says nothing and is left out.
    is_silent: bool,
    invoked: Stamp,
    returned: Option<Stamp>,
}

/// One entry of the list of events.
#[derive(Clone, Copy)]
enum Event {
    /// An operation is asked.
    Question(usize),
    /// One of them is answered.
    Answer,
    /// Before the first or after the last event.
    Border,
}

/// The events by time, as a list from which operations can be lifted and put back.
///
/// Invariants:
/// - position 0 and the last position are borders, always linked
/// - operations are put back in the reverse order of lifting
struct Events {
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    question: Vec<usize>,
    answer: Vec<Option<usize>>,
}

impl Events {
    fn new(spans: &[Span]) -> Self {
        // At the same stamp questions come first: what is simultaneous overlaps.
        let mut order: Vec<(Stamp, bool, usize)> = Vec::new();
        for (index, span) in spans.iter().enumerate().filter(|(_, span)| !span.is_silent) {
            order.push((span.invoked, false, index));
            order.extend(span.returned.map(|returned| (returned, true, index)));
        }
        order.sort();
        let mut events = vec![Event::Border];
        let mut question = vec![0; spans.len()];
        let mut answer = vec![None; spans.len()];
        for (_, is_answer, index) in order {
            if is_answer {
                answer[index] = Some(events.len());
                events.push(Event::Answer);
            } else {
                question[index] = events.len();
                events.push(Event::Question(index));
            }
        }
        events.push(Event::Border);
        let next = (1..=events.len()).collect();
        let previous = (0..events.len()).map(|at| at.saturating_sub(1)).collect();
        Self { events, next, previous, question, answer }
    }

    /// What was asked before the first answer in the list: one of these comes next.
    fn questions(&self) -> Vec<usize> {
        let mut questions = Vec::new();
        let mut at = self.next[0];
        while let Event::Question(operation) = self.events[at] {
            questions.push(operation);
            at = self.next[at];
        }
        questions
    }

    fn lift(&mut self, operation: usize) {
        self.unlink(self.question[operation]);
        if let Some(answer) = self.answer[operation] {
            self.unlink(answer);
        }
    }

    fn put_back(&mut self, operation: usize) {
        if let Some(answer) = self.answer[operation] {
            self.link(answer);
        }
        self.link(self.question[operation]);
    }

    fn unlink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn link(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = at;
        self.previous[next] = at;
    }
}

/// A choice in the order, and what to try when it turns out wrong.
struct Choice<S> {
    operation: usize,
    /// The state before it.
    before: S,
    /// What else could have been chosen instead, the best last.
    instead: Vec<usize>,
}

/// A search under way.
///
/// Invariants:
/// - `chosen` are exactly the operations of `order`, and exactly they are lifted from `events`
/// - `state` is what the model says after `order`
/// - `open` counts the answered operations that are not in `order`
struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [Operation<M::Input, M::Output>],
    events: Events,
    chosen: Chosen,
    order: Vec<Choice<M::State>>,
    state: M::State,
    open: usize,
    seen: BTreeSet<(Chosen, M::State)>,
    longest: Option<Counterexample>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: &'a [Operation<M::Input, M::Output>]) -> Self {
        let spans: Vec<_> = operations
            .iter()
            .map(|operation| {
                let returned = operation.answer.as_ref().map(|answer| answer.returned);
                let is_silent = returned.is_none() && model.changes_nothing(&operation.input, None);
                Span { is_silent, invoked: operation.invoked, returned }
            })
            .collect();
        Self {
            model,
            operations,
            events: Events::new(&spans),
            chosen: Chosen::none_of(operations.len()),
            order: Vec::new(),
            state: model.initial(),
            open: operations.iter().filter(|operation| operation.answer.is_some()).count(),
            seen: BTreeSet::new(),
            longest: None,
        }
    }

    fn run(mut self, max_steps: u64) -> Verdict {
        let mut candidates = self.candidates();
        let mut steps = 0;
        while self.open > 0 {
            steps += 1;
            if steps > max_steps {
                return Verdict::Unknown;
            }
            candidates = match candidates.pop() {
                Some(operation) if !self.fits(operation) => candidates,
                Some(operation) => {
                    self.choose(operation, candidates);
                    self.candidates()
                }
                None => match self.take_back() {
                    Some(instead) => instead,
                    None => return Verdict::Violation(self.longest.expect("an open operation was stuck")),
                },
            };
        }
        Verdict::Linearizable(self.order.into_iter().map(|choice| choice.operation).collect())
    }

    /// What may come next, the best last: what was answered first, at the very end what was never answered.
    fn candidates(&mut self) -> Vec<usize> {
        let mut questions = self.events.questions();
        if let Some(harmless) = questions.iter().copied().find(|operation| self.is_harmless(*operation)) {
            return vec![harmless];
        }
        let answered = |operation: &usize| self.operations[*operation].answer.as_ref().map(|answer| answer.returned);
        questions.sort_by_key(|operation| Reverse(answered(operation).map_or((true, None), |at| (false, Some(at)))));
        if let Some(stuck) = questions.last().copied().filter(|operation| answered(operation).is_some()) {
            self.remember(stuck);
        }
        questions
    }

    /// Whether the operation fits now and changes nothing, here or anywhere.
    fn is_harmless(&self, operation: usize) -> bool {
        let Operation { input, answer, .. } = &self.operations[operation];
        self.model.changes_nothing(input, answer.as_ref().map(|answer| &answer.output))
            && self.after(operation).is_some()
    }

    /// The state after `operation`, if the model accepts it next.
    fn after(&self, operation: usize) -> Option<M::State> {
        let Operation { input, answer, .. } = &self.operations[operation];
        self.model.step(&self.state, input, answer.as_ref().map(|answer| &answer.output))
    }

    /// Whether the model accepts `operation` next, and the same operations did not lead to the same state before.
    fn fits(&mut self, operation: usize) -> bool {
        let Some(after) = self.after(operation) else { return false };
        self.chosen.flip(operation);
        let is_new = self.seen.insert((self.chosen.clone(), after));
        self.chosen.flip(operation);
        is_new
    }

    /// Makes `operation` the next in the order.
    fn choose(&mut self, operation: usize, instead: Vec<usize>) {
        let after = self.after(operation).expect("it fits");
        let before = std::mem::replace(&mut self.state, after);
        self.open -= usize::from(self.operations[operation].answer.is_some());
        self.chosen.flip(operation);
        self.events.lift(operation);
        self.order.push(Choice { operation, before, instead });
    }

    /// Takes the last operation out of the order again, and says what can be tried instead.
    fn take_back(&mut self) -> Option<Vec<usize>> {
        let Choice { operation, before, instead } = self.order.pop()?;
        self.state = before;
        self.open += usize::from(self.operations[operation].answer.is_some());
        self.chosen.flip(operation);
        self.events.put_back(operation);
        Some(instead)
    }

    fn remember(&mut self, stuck: usize) {
        if self.longest.as_ref().is_none_or(|longest| longest.longest.len() <= self.order.len()) {
            let longest = self.order.iter().map(|choice| choice.operation).collect();
            self.longest = Some(Counterexample { longest, stuck });
        }
    }
}
