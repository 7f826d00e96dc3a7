//! Certificate, key and bundle that fit each other.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_types::{Fingerprint, limits};
use ring::digest::{Context, SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use webpki::KeyUsage;

use crate::error::TrustError;
use crate::party::Party;
use crate::pem;
use crate::verify::{NotProved, PROVIDER, Proved, Roots};

/// Of the three files: whether they changed.
pub(crate) type Digest = [u8; 32];

/// Certificate, key and bundle of one party, checked.
///
/// - The key is the certificate's.
/// - The certificate names one identity, is valid, and leads to a root of the bundle: whoever has the same bundle believes it.
pub struct Material {
    pair: Arc<CertifiedKey>,
    own: Party,
    own_root: Fingerprint,
    roots: Roots,
}

impl Material {
    /// Of three texts: the certificate with the authorities that lead to a root, its key, and the roots that are believed.
    ///
    /// # Errors
    /// When they cannot be read, do not fit each other, or are not valid now.
    pub fn from_pem(certificate: &[u8], key: &[u8], bundle: &[u8]) -> Result<Self, TrustError> {
        Self::from_pem_at(certificate, key, bundle, SystemTime::now())
    }

    /// The same at another time: for tests of certificates that have expired.
    ///
    /// # Errors
    /// As [`Material::from_pem`].
    pub fn from_pem_at(certificate: &[u8], key: &[u8], bundle: &[u8], now: SystemTime) -> Result<Self, TrustError> {
        let chain = pem::certificates(certificate, "certificate", limits::TRUST_CHAIN_CERTIFICATES)?;
        let bundle = pem::certificates(bundle, "bundle", limits::TRUST_ROOTS)?;
        Self::from_der(chain, pem::key(key)?, &bundle, now)
    }

    /// The same of certificates and a key that were decoded already.
    ///
    /// # Errors
    /// As [`Material::from_pem`].
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        bundle: &[CertificateDer<'static>],
        now: SystemTime,
    ) -> Result<Self, TrustError> {
        let roots = Roots::of(bundle)?;
        let own = Party::of(&chain)?;
        check_times(&own, now)?;
        let proved = prove(&roots, &chain, &own, now)?;
        let pair = CertifiedKey::from_der(chain, key, &PROVIDER).map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => TrustError::OtherKey,
            other => TrustError::Malformed { what: "key", why: other.to_string() },
        })?;
        let own = Party { expires_at: proved.expires_at, ..own };
        Ok(Self { pair: Arc::new(pair), own, own_root: proved.root, roots })
    }

    /// Who it makes a process.
    #[must_use]
    pub fn own(&self) -> &Party {
        &self.own
    }

    pub(crate) fn own_root(&self) -> Fingerprint {
        self.own_root
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn pair(&self) -> Arc<CertifiedKey> {
        self.pair.clone()
    }
}

/// Without the key.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").field("own", &self.own).field("roots", &self.roots).finish_non_exhaustive()
    }
}

fn check_times(own: &Party, now: SystemTime) -> Result<(), TrustError> {
    let principal = || Box::new((*own.principal).clone());
    if own.expires_at <= now {
        return Err(TrustError::Expired { principal: principal(), expired_at: own.expires_at });
    }
    if own.issued_at > now {
        return Err(TrustError::NotYet { principal: principal(), issued_at: own.issued_at });
    }
    Ok(())
}

/// A store is called and calls, everybody else only calls.
fn prove(roots: &Roots, chain: &[CertificateDer<'static>], own: &Party, now: SystemTime) -> Result<Proved, TrustError> {
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let [leaf, others @ ..] = chain else { return Err(crate::Unfit::Missing.into()) };
    let prove = |usage| {
        roots.prove(leaf, others, now, usage).map_err(|why: NotProved| TrustError::NoPath {
            principal: Box::new((*own.principal).clone()),
            why: why.to_string(),
        })
    };
    if own.principal.is_store() {
        prove(KeyUsage::server_auth())?;
    }
    prove(KeyUsage::client_auth())
}

/// Of the files as they are, with their lengths: nothing moves from one to the next unseen.
pub(crate) fn digest(files: [&[u8]; 3]) -> Digest {
    let mut sum = Context::new(&SHA256);
    for file in files {
        sum.update(&file.len().to_be_bytes());
        sum.update(file);
    }
    let mut digest = Digest::default();
    digest.iter_mut().zip(sum.finish().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}
