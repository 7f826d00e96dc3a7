//! What can be made to go wrong.

use std::time::Duration;

use holdfast_types::{Rejected, Request};

use crate::observe::Operation;

/// Something that goes wrong with a call. Give it to [`Mock::inject`](super::Mock::inject): the next call that it fits has it,
/// once, unless [`times`](Fault::times) or [`forever`](Fault::forever) say otherwise.
///
/// ```
/// # use holdfast_client::mock::{Fault, Mock};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use holdfast_client::observe::Operation;
///
/// let mock = Mock::start()?;
/// let client = mock.client().await?;
/// mock.inject(Fault::lose_answer().on(Operation::Put));
/// mock.inject(Fault::busy(Duration::from_millis(5)).times(2));
/// client.put("k", "v").await?;
/// assert_eq!(mock.versions("k").len(), 1, "tried four times, written once");
/// assert_eq!(mock.stats().calls, 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    pub(super) kind: FaultKind,
    operation: Option<Operation>,
    times: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FaultKind {
    Delay(Duration),
    Reject(Rejected),
    NotLeader,
    LoseRequest,
    LoseAnswer,
    Hold,
    HoldAnswer,
    Doubt,
}

impl Fault {
    fn new(kind: FaultKind) -> Self {
        Self { kind, operation: None, times: Some(1) }
    }

    /// The call is served after this long.
    pub fn delay(wait: Duration) -> Self {
        Self::new(FaultKind::Delay(wait))
    }

    /// The call is refused so, and nothing is done.
    pub fn reject(refusal: Rejected) -> Self {
        Self::new(FaultKind::Reject(refusal))
    }

    /// The store is too busy, and asks to wait this long. Nothing is done.
    pub fn busy(retry_after: Duration) -> Self {
        Self::reject(Rejected::Busy { retry_after })
    }

    /// The range has no leader that the store knows of. Nothing is done.
    pub fn not_leader() -> Self {
        Self::new(FaultKind::NotLeader)
    }

    /// The store cannot serve. Nothing is done.
    pub fn unavailable() -> Self {
        Self::reject(Rejected::Unavailable("made so by the test".into()))
    }

    /// The connection breaks before the call is served. The client cannot know that nothing was done.
    pub fn lose_request() -> Self {
        Self::new(FaultKind::LoseRequest)
    }

    /// The call is served, and the connection breaks before the answer. The client cannot know that it was done.
    pub fn lose_answer() -> Self {
        Self::new(FaultKind::LoseAnswer)
    }

    /// The call is never served and never answered, by a store that otherwise lives.
    pub fn hold() -> Self {
        Self::new(FaultKind::Hold)
    }

    /// The call is served, and never answered, by a store that otherwise lives.
    pub fn hold_answer() -> Self {
        Self::new(FaultKind::HoldAnswer)
    }

    /// A write is applied, and the store answers that it does not know what became of it.
    pub fn doubt() -> Self {
        Self::new(FaultKind::Doubt)
    }

    /// Concerns calls of this operation only.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// So many calls have it.
    pub fn times(mut self, calls: u32) -> Self {
        self.times = Some(calls);
        self
    }

    /// Every call has it, until [`Mock::clear_faults`](super::Mock::clear_faults).
    pub fn forever(mut self) -> Self {
        self.times = None;
        self
    }
}

/// Takes the first fault that fits a request.
pub(super) fn take(faults: &mut Vec<Fault>, request: &Request) -> Option<FaultKind> {
    let operation = Operation::of(request);
    let fits = |fault: &Fault| fault.times != Some(0) && fault.operation.is_none_or(|wanted| wanted == operation);
    let at = faults.iter().position(fits)?;
    let kind = faults[at].kind.clone();
    if let Some(times) = &mut faults[at].times {
        *times -= 1;
    }
    faults.retain(|fault| fault.times != Some(0));
    Some(kind)
}
