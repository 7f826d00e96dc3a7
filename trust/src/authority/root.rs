//! The root of a trust domain: used when a site comes, and offline otherwise.

use std::path::Path;
use std::time::Duration;

use holdfast_types::TrustDomain;
use rcgen::{Certificate, PublicKeyData};

use super::issuer::{Issuer, SignedChainPem};
use super::keeping::{self, Kept};
use super::request::{Asked, Request};
use super::{Scope, Validity, not_made, paper};
use crate::error::TrustError;
use crate::party;

const CERTIFICATE: &str = "root.crt";
const KEY: &str = "root.key";

/// A root, with its key.
#[derive(Debug)]
pub struct Root {
    domain: TrustDomain,
    kept: Kept,
}

impl Root {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(domain: &TrustDomain, valid: Duration) -> Result<Self, TrustError> {
        Self::new_within(domain, Validity::from_now(valid))
    }

    /// The same, valid whenever: for tests.
    ///
    /// # Errors
    /// As [`Root::new`].
    pub fn new_within(domain: &TrustDomain, validity: Validity) -> Result<Self, TrustError> {
        let key = paper::new_key()?;
        let certificate = paper::of_root(domain, validity)?.self_signed(&key).map_err(not_made)?;
        Ok(Self { domain: domain.clone(), kept: Kept::new(&certificate, key)? })
    }

    /// Reads what [`Root::write`] has written.
    ///
    /// # Errors
    /// When it cannot be read, others can read its key, or it is no root.
    pub fn read(folder: &Path) -> Result<Self, TrustError> {
        let kept = Kept::read(&folder.join(CERTIFICATE), &folder.join(KEY))?;
        let uris = party::uris(&party::parse(kept.der())?)?;
        let domain = match uris.as_slice() {
            [uri] => uri.strip_prefix("spiffe://").and_then(|domain| TrustDomain::new(domain).ok()),
            _ => None,
        };
        let domain = domain.ok_or_else(|| TrustError::Malformed {
            what: "root",
            why: "its certificate does not say spiffe://DOMAIN: make a root with `holdfast ca init`".to_owned(),
        })?;
        Ok(Self { domain, kept })
    }

    /// Writes it into a folder that nobody else can look into. Nothing is overwritten.
    ///
    /// # Errors
    /// When there is one already, or the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrustError> {
        keeping::begin(folder, &[KEY, CERTIFICATE])?;
        self.kept.write(&folder.join(CERTIFICATE), &folder.join(KEY))
    }

    /// The domain that it speaks for.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// What goes into bundles.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.kept.pem().to_owned()
    }

    /// A new authority below it, with a key that is made here.
    ///
    /// # Errors
    /// When the root has expired.
    pub fn issuer(&self, scope: Scope, valid: Duration) -> Result<Issuer, TrustError> {
        self.issuer_within(scope, &[], Validity::from_now(valid))
    }

    /// The same, which may call hosts by more names than usual: what lies below a name (`svc.example`), or in a network (`10.1.0.0/16`).
    ///
    /// # Errors
    /// When a name is none, or the root has expired.
    pub fn issuer_within(&self, scope: Scope, names: &[String], validity: Validity) -> Result<Issuer, TrustError> {
        let key = paper::new_key()?;
        let certificate = self.sign(&scope, names, validity, &key)?;
        Ok(Issuer::new(self.domain.clone(), scope, Kept::new(&certificate, key)?, self.certificate_pem()))
    }

    /// Signs the request of an authority, whose key was made where it is used.
    ///
    /// # Errors
    /// When it is no such request, or of another domain.
    pub fn sign_issuer(
        &self,
        request: &Request,
        names: &[String],
        valid: Duration,
    ) -> Result<SignedChainPem, TrustError> {
        let scope = match request.asked() {
            Asked::Authority(domain, scope) if *domain == self.domain => scope,
            Asked::Authority(domain, _) => {
                let why = format!("this root speaks for {}, and the request is of {domain}", self.domain);
                return Err(TrustError::BeyondScope(why));
            }
            Asked::Party(principal) => {
                let why = format!(
                    "a root signs authorities, and {principal} is none: let the authority of its site sign it, or that of people"
                );
                return Err(TrustError::BeyondScope(why));
            }
        };
        let certificate = self.sign(scope, names, Validity::from_now(valid), request.key())?;
        Ok(SignedChainPem { certificate_pem: certificate.pem(), bundle_pem: self.certificate_pem() })
    }

    fn sign(
        &self,
        scope: &Scope,
        names: &[String],
        validity: Validity,
        key: &impl PublicKeyData,
    ) -> Result<Certificate, TrustError> {
        let params = paper::of_issuer(&self.domain, scope, names, validity.until_at_most(self.kept.expires_at()))?;
        self.kept.sign(&params, key)
    }
}
