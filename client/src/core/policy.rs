//! How a call is tried again.

use std::time::Duration;

use holdfast_types::limits;

/// Why a call would have to be sent again. Redirections to another store are no retries: they are always followed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum RetryCause {
    /// A store had reached a bound and asked to wait.
    Busy,
    /// Nobody could serve it: the range has no leader, the store was out of reach or is stopping, stores disagree.
    Unavailable,
    /// An attempt was sent and nothing is known of it: the connection broke, the store fell silent or could not say.
    Lost,
}

/// How a call is tried again: how often, at what distance, for how long, and after what.
///
/// The default tries until the deadline of the call, after everything that may pass. All attempts of a write carry one request
/// id, so no policy can have it applied twice; a policy only decides how early a call gives up.
///
/// ```
/// use std::time::Duration;
/// use holdfast_client::{RetryCause, RetryPolicy};
///
/// let patient = RetryPolicy::new();
/// let hasty = RetryPolicy::new().attempts(3).budget(Duration::from_millis(200)).without(RetryCause::Busy);
/// assert!(hasty.retries_after(RetryCause::Lost) && !hasty.retries_after(RetryCause::Busy));
/// assert_eq!(RetryPolicy::none().max_attempts(), Some(1));
/// assert_eq!(patient, RetryPolicy::default());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub struct RetryPolicy {
    max_retries: u32,
    backoff_min: Duration,
    backoff_max: Duration,
    budget: Duration,
    busy: bool,
    unavailable: bool,
    lost: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryPolicy {
    /// Tries until the deadline, after everything that may pass.
    pub const fn new() -> Self {
        Self {
            max_retries: u32::MAX,
            backoff_min: limits::CLIENT_POLL_MIN,
            backoff_max: limits::CLIENT_POLL_MAX,
            budget: Duration::MAX,
            busy: true,
            unavailable: true,
            lost: true,
        }
    }

    /// Tries once. Redirections are followed.
    pub const fn none() -> Self {
        Self { max_retries: 0, ..Self::new() }
    }

    /// At most this many attempts, the first one included and redirections not counted; 0 counts as 1.
    pub const fn attempts(mut self, most: u32) -> Self {
        self.max_retries = most.saturating_sub(1);
        self
    }

    /// The wait before an attempt that nothing calls for earlier: `first`, doubling up to `longest`, and up to half as much again
    /// by chance. A wait is at least 5 ms. News of a new leader end it early; after `Busy` the store says how long to wait.
    pub const fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff_min = longer(first, limits::CLIENT_BUSY_MIN);
        self.backoff_max = longer(longest, self.backoff_min);
        self
    }

    /// No attempt begins later than this after the call began. Unlike the deadline it does not cut short an attempt under way:
    /// what was sent in time may still be answered.
    pub const fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// Does not try again after this.
    pub const fn without(mut self, cause: RetryCause) -> Self {
        match cause {
            RetryCause::Busy => self.busy = false,
            RetryCause::Unavailable => self.unavailable = false,
            RetryCause::Lost => self.lost = false,
        }
        self
    }

    /// True when a call is tried again after this, as long as attempts and time are left.
    #[must_use]
    pub const fn retries_after(&self, cause: RetryCause) -> bool {
        self.max_retries > 0
            && match cause {
                RetryCause::Busy => self.busy,
                RetryCause::Unavailable => self.unavailable,
                RetryCause::Lost => self.lost,
            }
    }

    /// The most attempts of a call; `None`: as many as the deadline allows.
    #[must_use]
    pub const fn max_attempts(&self) -> Option<u32> {
        match self.max_retries {
            u32::MAX => None,
            retries => Some(retries + 1),
        }
    }

    pub(crate) fn allows(&self, cause: RetryCause, retries: u32) -> bool {
        self.retries_after(cause) && retries < self.max_retries
    }

    pub(crate) fn backoff_bounds(&self) -> (Duration, Duration) {
        (self.backoff_min, self.backoff_max)
    }

    pub(crate) fn budget_left_from_start(&self) -> Duration {
        self.budget
    }
}

const fn longer(one: Duration, other: Duration) -> Duration {
    if one.as_nanos() > other.as_nanos() { one } else { other }
}
