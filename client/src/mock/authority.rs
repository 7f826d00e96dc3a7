//! The certificate authority of a mock with TLS: made in memory, gone with it.

use std::sync::Arc;
use std::time::Duration;

use holdfast_trust::authority::{Issued, Issuer, Root, Scope};
use holdfast_trust::{Trust, TrustError};
use holdfast_types::principal::Kind;
use holdfast_types::{PrincipalName, SiteName, TrustDomain};

/// The trust domain of mocks, each of which has its own root.
const DOMAIN: &str = "mock";
/// Longer than any test.
const VALID: Duration = Duration::from_secs(86_400);

/// A root, and who signs for people below it.
pub(super) struct Authority {
    root: Root,
    people: Issuer,
}

impl Authority {
    pub(super) fn new() -> Result<Self, TrustError> {
        let domain = TrustDomain::new(DOMAIN).map_err(holdfast_trust::Unfit::from)?;
        let root = Root::new(&domain, VALID)?;
        let people = root.issuer(Scope::People, VALID)?;
        Ok(Self { root, people })
    }

    /// What a store of this site shows.
    pub(super) fn store(&self, site: &SiteName) -> Result<Arc<Trust>, TrustError> {
        let issuer = self.root.issuer(Scope::Site(site.clone()), VALID)?;
        Ok(Trust::from_material(issuer.leaf(&Kind::Store(site.clone()), &[], VALID)?.material()?))
    }

    pub(super) fn client(&self, name: &str) -> Result<Issued, TrustError> {
        let name = PrincipalName::new(name).map_err(holdfast_trust::Unfit::from)?;
        self.people.leaf(&Kind::Client(name), &[], VALID)
    }
}
