//! The certificates of a fleet with TLS: an authority of its own, made in a moment, in the folder of the fleet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use holdfast_client::Security;
use holdfast_trust::authority::{EVERY_ADDRESS, Issuer, Root, Scope, Validity};
use holdfast_trust::{Place, Trust};
use holdfast_types::principal::Kind;
use holdfast_types::{PrincipalName, SiteName, TrustDomain};

/// The trust domain of fleets that run on one machine.
const DOMAIN: &str = "local";
/// Who drives the fleet.
const OPERATOR: &str = "local";
/// As long as anybody goes on with one folder.
const ROOT_VALID: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Certificates are made anew whenever the fleet is.
const LEAF_VALID: Duration = Duration::from_secs(90 * 86_400);

/// An authority, and where the certificates are that it made.
pub(super) struct Certificates {
    folder: PathBuf,
    root: Root,
    people: Issuer,
}

impl Certificates {
    /// The authority below this folder, made if there is none, with a certificate for the stores of each of these sites.
    pub(super) fn of(folder: &Path, sites: &[String]) -> anyhow::Result<Self> {
        let folder = folder.join("trust");
        let root = root(&folder.join("root")).context("making a certificate authority")?;
        let people = root.issuer(Scope::People, LEAF_VALID)?;
        let certificates = Self { folder, root, people };
        for site in sites {
            certificates.store(site)?;
        }
        Ok(certificates)
    }

    /// Makes the certificate of a site's stores.
    fn store(&self, site: &str) -> anyhow::Result<()> {
        let name = SiteName::new(site).map_err(anyhow::Error::msg)?;
        // All sites are at one address: no constraint would tell them apart, and there are clients that could not read it.
        let addresses = EVERY_ADDRESS.map(str::to_owned);
        let issuer = self.root.issuer_within(Scope::Site(name.clone()), &addresses, Validity::from_now(LEAF_VALID))?;
        // For clients of other makes, which look at names.
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), format!("{site}.{DOMAIN}")];
        issuer.leaf(&Kind::Store(name), &names, LEAF_VALID)?.write(&self.folder_of(site))?;
        Ok(())
    }

    /// Where the certificate of a site's stores is.
    pub(super) fn folder_of(&self, site: &str) -> PathBuf {
        self.folder.join(site)
    }

    /// Where the operator's is.
    pub(super) fn operator_folder(&self) -> PathBuf {
        self.folder.join("operator")
    }

    /// Makes the certificate of the operator, and says how he connects.
    pub(super) fn operator(&self) -> anyhow::Result<Security> {
        issue(&self.people, &Kind::Operator(PrincipalName::new(OPERATOR)?), &self.operator_folder())
    }

    /// How a client of this name connects.
    pub(super) fn client(&self, name: &str) -> anyhow::Result<Security> {
        issue(&self.people, &Kind::Client(PrincipalName::new(name)?), &self.client_folder(name))
    }

    /// Where the certificate of a client of this name is, once it is made.
    pub(super) fn client_folder(&self, name: &str) -> PathBuf {
        self.folder.join(format!("client-{name}"))
    }
}

fn root(folder: &Path) -> anyhow::Result<Root> {
    if folder.exists() {
        return Ok(Root::read(folder)?);
    }
    let root = Root::new(&TrustDomain::new(DOMAIN)?, ROOT_VALID)?;
    root.write(folder)?;
    Ok(root)
}

fn issue(issuer: &Issuer, kind: &Kind, folder: &Path) -> anyhow::Result<Security> {
    issuer.leaf(kind, &[], LEAF_VALID)?.write(folder)?;
    Ok(Security::tls(Trust::open(Place::folder(folder))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_starts_again_keeps_its_root() {
        let dir = tempfile::tempdir().unwrap();
        let sites = ["site-a".to_owned(), "site-b".to_owned()];
        let root_of = |certificates: &Certificates| {
            let of_a = Trust::open(Place::folder(certificates.folder_of("site-a"))).unwrap();
            assert_eq!(of_a.own().principal.to_string(), "spiffe://local/site/site-a/store");
            of_a.standing().own_root
        };
        let first = root_of(&Certificates::of(dir.path(), &sites).unwrap());
        let again = Certificates::of(dir.path(), &sites).unwrap();
        assert_eq!(root_of(&again), first);
        let client = again.client("bench").unwrap();
        let own = client.trust().unwrap().own();
        assert_eq!(own.principal.to_string(), "spiffe://local/client/bench");
        assert_eq!(client.trust().unwrap().standing().own_root, first);
    }
}
