//! A certificate authority for those who have none: a root that stays offline, one authority below it for each site and one for people, and
//! the certificates that these sign. `holdfast ca` is its command line.
//!
//! ```text
//! root ── spiffe://DOMAIN
//!  ├─ site b ── spiffe://DOMAIN/site/b ────────────▶ spiffe://DOMAIN/site/b/store
//!  └─ people ── spiffe://DOMAIN/client, /operator ─▶ spiffe://DOMAIN/client/billing
//! ```
//!
//! Whoever steals the authority of a site can pretend to be a store of that site, and nothing else: that is what its URI says, and every
//! verifier of ours holds it to that (`scope`). Programs of others do not know about it. For them the authority is held to names of
//! hosts as well, as X.509 can say it: below `b.DOMAIN`, on the machine itself, and what else was named when it was made.
//!
//! Keys are made where they are used, and stay there: what travels is a request (PKCS #10) and the certificate that answers it. For tests, and
//! where both are on one machine, [`Issuer::leaf`] makes the key too.
//!
//! - `root`, `issuer`: who signs
//! - `request`: what is asked of them
//! - `paper`: what a certificate says
//! - `names`: names of hosts, and which of them an authority may give
//! - `keeping`: the folders that they are kept in
//! - `shown`: certificates for people who look at them

mod issuer;
mod keeping;
mod names;
mod paper;
mod request;
mod root;
mod shown;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_types::principal::Kind;
use holdfast_types::{SiteName, TrustDomain, limits};

use crate::error::TrustError;

pub use issuer::{Issued, Issuer, SignedChainPem};
pub use names::EVERY_ADDRESS;
pub use request::{Asked, Request, csr, csr_of_authority};
pub use root::Root;
pub use shown::Shown;

/// For whom an authority below the root speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The stores of a site.
    Site(SiteName),
    /// Clients and operators.
    People,
}

impl Scope {
    /// True when somebody of this kind may be spoken for.
    #[must_use]
    pub fn allows(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (Self::Site(own), Kind::Store(site)) => own == site,
            (Self::People, Kind::Client(_) | Kind::Operator(_)) => true,
            (Self::Site(_), Kind::Client(_) | Kind::Operator(_)) | (Self::People, Kind::Store(_)) => false,
        }
    }

    /// What the certificate of such an authority carries.
    #[must_use]
    pub fn uris(&self, domain: &TrustDomain) -> Vec<String> {
        match self {
            Self::Site(site) => vec![format!("spiffe://{domain}/site/{site}")],
            Self::People => vec![format!("spiffe://{domain}/client"), format!("spiffe://{domain}/operator")],
        }
    }

    /// The scope and the domain that these URIs say.
    pub(crate) fn of_uris(uris: &[String]) -> Option<(TrustDomain, Self)> {
        let (domain, path) = uris.first()?.strip_prefix("spiffe://")?.split_once('/')?;
        let domain = TrustDomain::new(domain).ok()?;
        let scope = match path.strip_prefix("site/") {
            Some(site) => Self::Site(SiteName::new(site).ok()?),
            None => Self::People,
        };
        (scope.uris(&domain) == uris).then_some((domain, scope))
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Site(site) => write!(f, "the stores of site {site}"),
            Self::People => f.write_str("clients and operators"),
        }
    }
}

/// From when until when a certificate is valid, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    from: SystemTime,
    until: SystemTime,
}

impl Validity {
    /// From a little earlier than now, for clocks that differ, for `valid` from now.
    #[must_use]
    pub fn from_now(valid: Duration) -> Self {
        let now = SystemTime::now();
        Self::between(now - limits::TRUST_BEGINS_EARLIER, now + valid.min(limits::TRUST_LONGEST))
    }

    /// Whatever it is: for tests of certificates that have expired, or are not valid yet.
    #[must_use]
    pub fn between(from: SystemTime, until: SystemTime) -> Self {
        Self { from, until }
    }

    /// Whoever signs does not outlive his own certificate: nothing that he signed would be believed.
    fn until_at_most(self, end: SystemTime) -> Self {
        Self { until: self.until.min(end), ..self }
    }

    fn seconds(time: SystemTime) -> i64 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// What rcgen failed on; it names no keys.
fn not_made(why: rcgen::Error) -> TrustError {
    TrustError::NotMade(why.to_string())
}
