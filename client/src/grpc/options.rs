//! How a client behaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{KeyspaceId, SiteName, limits};

use super::security::Security;
use crate::core::RetryPolicy;
use crate::observe::Observer;

/// How a client behaves. Begin with [`Options::new`] and change what matters.
///
/// ```
/// use std::time::Duration;
/// use holdfast_client::{Options, RetryPolicy, SiteName};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = Options::new()
///     .site(SiteName::new("site-a")?)
///     .deadline(Duration::from_secs(2))
///     .retry(RetryPolicy::new().attempts(20));
/// assert_eq!(options.deadline, Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where the client runs; its stores are preferred. `None`: outside of every site.
    pub site: Option<SiteName>,
    /// Where keys are.
    pub keyspace: KeyspaceId,
    /// How long a call may take, retries included; at most 60 s, what is longer is cut. 10 s by default. Also how long
    /// connecting tries.
    pub deadline: Duration,
    /// How a call is tried again.
    pub retry: RetryPolicy,
    /// Hears what the client does; `None`: nobody.
    pub observer: Option<Arc<dyn Observer>>,
    /// How client and stores prove to each other who they are; plain text by default.
    pub security: Security,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            site: None,
            keyspace: KeyspaceId::DEFAULT,
            deadline: limits::DEFAULT_DEADLINE,
            retry: RetryPolicy::default(),
            observer: None,
            security: Security::Plain,
        }
    }
}

impl Options {
    /// The defaults: no site, the default keyspace, 10 s, retries until the deadline, no observer, plain text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The client runs in this site; `None`: outside of every site.
    #[must_use]
    pub fn site(mut self, site: impl Into<Option<SiteName>>) -> Self {
        self.site = site.into();
        self
    }

    /// Keys are in this keyspace.
    #[must_use]
    pub fn keyspace(mut self, keyspace: KeyspaceId) -> Self {
        self.keyspace = keyspace;
        self
    }

    /// How long a call may take, retries included.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How a call is tried again.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Who hears what the client does.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// How client and stores prove to each other who they are.
    #[must_use]
    pub fn security(mut self, security: impl Into<Security>) -> Self {
        self.security = security.into();
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("site", &self.site)
            .field("keyspace", &self.keyspace)
            .field("deadline", &self.deadline)
            .field("retry", &self.retry)
            .field("observed", &self.observer.is_some())
            .field("security", &self.security)
            .finish()
    }
}
