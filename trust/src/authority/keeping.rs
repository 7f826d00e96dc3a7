//! The folders that authorities and certificates are kept in, and a signer's key beside its certificate.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use holdfast_files::{Draft, Readers};
use holdfast_types::limits;
use rcgen::{Certificate, CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;

use super::not_made;
use crate::error::{TrustError, Unfit};
use crate::{party, pem, place};

/// Whoever is not the owner.
const OTHERS: u32 = 0o077;

/// The certificate of somebody who signs, and its key.
pub(super) struct Kept {
    der: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    expires_at: SystemTime,
}

impl Kept {
    pub(super) fn new(certificate: &Certificate, key: KeyPair) -> Result<Self, TrustError> {
        Self::of(certificate.der().clone(), certificate.pem(), key)
    }

    fn of(der: CertificateDer<'static>, pem: String, key: KeyPair) -> Result<Self, TrustError> {
        let parsed = party::parse(&der)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(TrustError::OtherKey);
        }
        let expires_at = party::time(parsed.validity().not_after);
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(not_made)?;
        Ok(Self { der, pem, issuer, expires_at })
    }

    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, TrustError> {
        let text = read_text(certificate)?;
        let der = pem::certificates(text.as_bytes(), "certificate", 1)?.into_iter().next();
        let der = der.ok_or(TrustError::Unfit(Unfit::Missing))?;
        let secret = String::from_utf8(place::read_secret(key, key)?).ok();
        let key = secret.and_then(|text| KeyPair::from_pem(&text).ok()).ok_or_else(|| TrustError::Malformed {
            what: "key",
            why: "it has no block that says BEGIN PRIVATE KEY and can be decoded".to_owned(),
        });
        key.and_then(|key| Self::of(der, text, key)).map_err(|why| why.within(holdfast_files::parent(certificate)))
    }

    pub(super) fn write(&self, certificate: &Path, key: &Path) -> Result<(), TrustError> {
        write_secret(key, &self.issuer.key().serialize_pem())?;
        write_text(certificate, &self.pem)
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    pub(super) fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<Certificate, TrustError> {
        params.signed_by(key, &self.issuer).map_err(not_made)
    }
}

/// Without the key.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Makes a folder for a key, which nobody else can look into. What lies there already under one of `names` is kept: whoever replaces a signer's
/// key loses all that it has signed.
pub(super) fn begin(path: &Path, names: &[&str]) -> Result<(), TrustError> {
    folder(path)?;
    let mode = fs::metadata(path).map_err(|why| TrustError::unreadable(path, &why))?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        let why = format!("others can look into it (mode {mode:04o}), and a signer's key lies there: chmod 0700 it");
        return Err(TrustError::unwritable(path, &why));
    }
    match names.iter().map(|name| path.join(name)).find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(TrustError::Exists { path }),
        None => Ok(()),
    }
}

/// Makes a folder that nobody else can look into. One that is there stays as it is: the keys in it are for their owner in any case.
pub(super) fn folder(path: &Path) -> Result<(), TrustError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|why| TrustError::unwritable(path, &why))
}

/// A file for its owner alone.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), TrustError> {
    holdfast_files::replace(path, text.as_bytes()).map_err(|why| TrustError::unwritable(path, &why))
}

/// A file that holds no secret.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), TrustError> {
    let written = Draft::of(path, Readers::AsUsual).and_then(|mut draft| {
        draft.write_all(text.as_bytes())?;
        draft.place()
    });
    written.map_err(|why| TrustError::unwritable(path, &why))
}

/// A text that is not too long for what it is.
pub(super) fn read_text(path: &Path) -> Result<String, TrustError> {
    let read =
        holdfast_files::read(path, limits::TRUST_FILE_BYTES).map_err(|why| TrustError::unreadable(path, &why))?;
    let bytes = read.ok_or_else(|| TrustError::unreadable(path, &"there is no such file"))?;
    String::from_utf8(bytes).map_err(|_| TrustError::unreadable(path, &"it is no text"))
}
