//! An authority below the root: signs the certificates of a site's stores, or of people.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_types::principal::Kind;
use holdfast_types::{Principal, TrustDomain, limits};
use rcgen::PublicKeyData;
use rustls::pki_types::UnixTime;
use webpki::KeyUsage;

use super::keeping::{self, Kept};
use super::names::{self, Name};
use super::request::{Asked, Request};
use super::{Scope, Validity, paper};
use crate::error::TrustError;
use crate::material::Material;
use crate::verify::Roots;
use crate::{party, pem};

const CERTIFICATE: &str = "issuer.crt";
const KEY: &str = "issuer.key";
const BUNDLE: &str = "ca.crt";

/// An authority, with its key.
#[derive(Debug)]
pub struct Issuer {
    domain: TrustDomain,
    scope: Scope,
    kept: Kept,
    /// The root above it, for those whom it signs.
    bundle_pem: String,
}

/// A certificate that was signed, and what whoever uses it believes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedChainPem {
    /// The certificate, and behind it the authority that signed it.
    pub certificate_pem: String,
    /// The root.
    pub bundle_pem: String,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, and behind it the authority that signed it.
    pub certificate_pem: String,
    /// Its key: a secret.
    pub key_pem: String,
    /// The root.
    pub bundle_pem: String,
}

impl Issuer {
    pub(super) fn new(domain: TrustDomain, scope: Scope, kept: Kept, bundle_pem: String) -> Self {
        Self { domain, scope, kept, bundle_pem }
    }

    /// Reads what [`Issuer::write`] has written, or what was put there of a request that the root has signed.
    ///
    /// # Errors
    /// When it cannot be read, others can read its key, or it is no authority of Holdfast.
    pub fn read(folder: &Path) -> Result<Self, TrustError> {
        let kept = Kept::read(&folder.join(CERTIFICATE), &folder.join(KEY))?;
        let uris = party::uris(&party::parse(kept.der())?)?;
        let (domain, scope) = Scope::of_uris(&uris).ok_or_else(|| TrustError::Malformed {
            what: "authority",
            why: "its certificate names no site and no people: make one with `holdfast ca site` or `ca people`"
                .to_owned(),
        })?;
        let bundle_pem = keeping::read_text(&folder.join(BUNDLE))?;
        Ok(Self::new(domain, scope, kept, bundle_pem))
    }

    /// Writes it into a folder that nobody else can look into. Nothing is overwritten.
    ///
    /// # Errors
    /// When there is one already, or the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrustError> {
        keeping::begin(folder, &[KEY, CERTIFICATE])?;
        keeping::write_text(&folder.join(BUNDLE), &self.bundle_pem)?;
        self.kept.write(&folder.join(CERTIFICATE), &folder.join(KEY))
    }

    /// The domain that it belongs to.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// For whom it speaks.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A certificate with a key that is made here. `names` are those of hosts, for clients of other makes; it may have none.
    ///
    /// # Errors
    /// When it is not for this authority to sign.
    pub fn leaf(&self, kind: &Kind, names: &[String], valid: Duration) -> Result<Issued, TrustError> {
        self.leaf_within(kind, names, Validity::from_now(valid))
    }

    /// The same, valid whenever: for tests.
    ///
    /// # Errors
    /// As [`Issuer::leaf`].
    pub fn leaf_within(&self, kind: &Kind, names: &[String], validity: Validity) -> Result<Issued, TrustError> {
        let key = paper::new_key()?;
        let SignedChainPem { certificate_pem, bundle_pem } = self.sign_key(kind, &Name::all(names)?, validity, &key)?;
        Ok(Issued { certificate_pem, key_pem: key.serialize_pem(), bundle_pem })
    }

    /// Signs the request of somebody of this kind, whose key was made where it is used.
    ///
    /// # Errors
    /// When the request is of somebody else, or it is not for this authority to sign.
    pub fn sign(&self, csr_pem: &str, kind: &Kind, valid: Duration) -> Result<SignedChainPem, TrustError> {
        let request = Request::read(csr_pem)?;
        match request.asked() {
            Asked::Party(asked) if asked.kind == *kind => self.sign_request(&request, valid),
            other => Err(TrustError::BeyondScope(format!("the request is not of {kind}: {other:?}"))),
        }
    }

    /// Signs a request that was read, whoever it is of, if this authority may.
    ///
    /// # Errors
    /// When it may not.
    pub fn sign_request(&self, request: &Request, valid: Duration) -> Result<SignedChainPem, TrustError> {
        match request.asked() {
            Asked::Party(asked) if asked.domain == self.domain => {
                self.sign_key(&asked.kind, request.hosts(), Validity::from_now(valid), request.key())
            }
            Asked::Party(asked) => Err(TrustError::BeyondScope(format!(
                "this authority belongs to {}, and the request is of {asked}",
                self.domain
            ))),
            Asked::Authority(..) => Err(TrustError::BeyondScope(
                "the request is of an authority: the root signs it (`holdfast ca site` or `ca people`, with --csr)"
                    .to_owned(),
            )),
        }
    }

    fn sign_key(
        &self,
        kind: &Kind,
        names: &[Name],
        validity: Validity,
        key: &impl PublicKeyData,
    ) -> Result<SignedChainPem, TrustError> {
        let principal = Principal { domain: self.domain.clone(), kind: kind.clone() };
        if !self.scope.allows(kind) {
            return Err(TrustError::BeyondScope(format!(
                "this authority speaks for {}, and not for {principal}",
                self.scope
            )));
        }
        let params = paper::of_leaf(&principal, names, validity.until_at_most(self.kept.expires_at()))?;
        let leaf = self.kept.sign(&params, key)?;
        let certificate_pem = format!("{}{}", leaf.pem(), self.kept.pem());
        let signed = SignedChainPem { certificate_pem, bundle_pem: self.bundle_pem.clone() };
        self.check(&signed, &principal, validity)?;
        Ok(signed)
    }

    /// Nothing leaves this authority that others would refuse: names that it may not give, a root in the bundle that is not its own. What is
    /// not meant to be valid now is not looked at.
    fn check(&self, signed: &SignedChainPem, principal: &Principal, validity: Validity) -> Result<(), TrustError> {
        let now = SystemTime::now();
        if !(validity.from..validity.until).contains(&now) {
            return Ok(());
        }
        let chain =
            pem::certificates(signed.certificate_pem.as_bytes(), "certificate", limits::TRUST_CHAIN_CERTIFICATES)?;
        let roots = Roots::of(&pem::certificates(self.bundle_pem.as_bytes(), "bundle", limits::TRUST_ROOTS)?)?;
        let [leaf, others @ ..] = chain.as_slice() else { return Err(crate::Unfit::Missing.into()) };
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        match roots.prove(leaf, others, now, KeyUsage::client_auth()) {
            Ok(_) => Ok(()),
            Err(why) => Err(TrustError::BeyondScope(self.refusal(principal, &why.to_string()))),
        }
    }

    fn refusal(&self, principal: &Principal, why: &str) -> String {
        let permitted = party::parse(self.kept.der()).ok().and_then(|own| names::permitted(&own)).unwrap_or_default();
        let permitted = if permitted.is_empty() { "none".to_owned() } else { permitted.join(", ") };
        format!(
            "a certificate of {principal} signed by this authority would not be believed: {why} (names of hosts that it may give: {permitted})"
        )
    }
}

impl Issued {
    /// Writes tls.crt, tls.key and ca.crt, as cert-manager would, into a folder that is made if there is none. Each is replaced in one step, the
    /// certificate last.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrustError> {
        keeping::folder(folder)?;
        keeping::write_secret(&folder.join("tls.key"), &self.key_pem)?;
        keeping::write_text(&folder.join("ca.crt"), &self.bundle_pem)?;
        keeping::write_text(&folder.join("tls.crt"), &self.certificate_pem)
    }

    /// As a process uses it.
    ///
    /// # Errors
    /// When it is not valid now.
    pub fn material(&self) -> Result<Material, TrustError> {
        Material::from_pem(self.certificate_pem.as_bytes(), self.key_pem.as_bytes(), self.bundle_pem.as_bytes())
    }
}

/// Without the key.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}
