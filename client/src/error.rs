//! What a caller is told when a call did not succeed.

use std::time::Duration;

use holdfast_types::Rejected;

use crate::untrusted::Untrusted;

/// Why a call failed, and what to do.
///
/// ```
/// use holdfast_client::ClientError;
/// # use holdfast_client::mock::{Fault, Mock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mock = Mock::start()?;
/// # let client = mock.client().await?;
/// # mock.inject(Fault::lose_answer().forever());
/// # let client = client.with_deadline(std::time::Duration::from_millis(200));
/// match client.put("k", "v").await {
///     Ok(version) => println!("written as {version}"),
///     // It may have been written: read before deciding.
///     Err(error) if error.is_ambiguous() => println!("perhaps: {error}"),
///     // Nothing was done, and another try may help.
///     Err(error) if error.is_temporary() => println!("later: {error}"),
///     // Nothing was done, and the same call will fail again.
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The fleet refused, or the client did before sending: nothing was done. The refusal says what to do. One that time
    /// could heal comes only when the retry policy ended the call before its deadline, or the fleet was busy until then.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// A write of which it is not known whether it was applied; it was not applied twice. Read it back, or repeat it only if
    /// doing it twice is harmless or a condition guards it.
    #[error("the outcome is not known ({0}): the write was applied once or not at all; read before writing again")]
    Ambiguous(String),
    /// The deadline passed; nothing was done. Try again, or allow more time.
    #[error("the deadline passed and nothing was done{}: try again or allow more time", because(.last.as_deref()))]
    DeadlineExceeded {
        /// The last refusal before it, if any.
        last: Option<Box<Rejected>>,
    },
    /// This client has too many calls in flight; nothing was done. Wait for some of them.
    #[error("too many calls in flight in this client: wait for some of them")]
    TooManyCalls,
    /// The client was closed before the call ended. A write may have been applied.
    #[error("the client is closed")]
    Closed,
    /// No store could be reached or none belongs to a fleet.
    #[error("no store could be reached ({0}): check the addresses and that the fleet was founded by `holdfast init`")]
    Unreachable(String),
    /// Stores answered, and one end of each connection did not believe the other; nothing was done. The text says whose certificate or token
    /// it is, and what to do about it.
    #[error("no store could be trusted, or none trusts this client ({0})")]
    Untrusted(#[from] Untrusted),
    /// A store answered something that this client does not understand.
    #[error("a store gave an answer that does not fit ({0}): client and stores must be of neighbouring versions")]
    Protocol(String),
}

impl ClientError {
    /// True when a write may have been applied although the call failed.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Ambiguous(_) | Self::Closed | Self::Protocol(_))
    }

    /// True when nothing was done and the same call may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Rejected(rejected) => rejected.may_retry() && !rejected.is_ambiguous(),
            Self::DeadlineExceeded { .. } | Self::TooManyCalls | Self::Unreachable(_) => true,
            // Material and tokens are mended by people, and until then every call ends like this one.
            Self::Ambiguous(_) | Self::Closed | Self::Protocol(_) | Self::Untrusted(_) => false,
        }
    }

    /// How long the fleet asked to wait; `None`: it did not say.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(Rejected::Busy { retry_after }) => Some(*retry_after),
            _ => None,
        }
    }
}

fn because(last: Option<&Rejected>) -> String {
    last.map_or_else(String::new, |last| format!(" (last heard: {last})"))
}
