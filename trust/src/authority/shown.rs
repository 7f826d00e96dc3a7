//! What certificates say, for people who look at them.

use std::time::SystemTime;

use holdfast_types::{Fingerprint, limits};
use x509_parser::certificate::X509Certificate;

use super::names;
use crate::error::TrustError;
use crate::party;
use crate::pem;

/// A certificate as it is shown. Nothing of it was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Its name.
    pub subject: String,
    /// The name of whoever signed it.
    pub issuer: String,
    /// It may sign others.
    pub is_authority: bool,
    /// Of a party: who it is. Of an authority: for whom it may speak; none: for whoever its own authority may.
    pub uris: Vec<String>,
    /// Hosts, for clients of other makes.
    pub names: Vec<String>,
    /// Of an authority: the names of hosts that it may give; `None`: any.
    pub may_name: Option<Vec<String>>,
    /// From when on it is valid.
    pub issued_at: SystemTime,
    /// Until when.
    pub expires_at: SystemTime,
    /// SHA-256 of it.
    pub fingerprint: Fingerprint,
}

impl Shown {
    /// All certificates of a text, in their order.
    ///
    /// # Errors
    /// When there are none, or one of them is malformed.
    pub fn of_pem(text: &[u8]) -> Result<Vec<Self>, TrustError> {
        let certificates = pem::certificates(text, "file", limits::TRUST_ROOTS)?;
        certificates.iter().map(|der| Self::of(&party::parse(der)?, party::fingerprint(der))).collect()
    }

    fn of(certificate: &X509Certificate<'_>, fingerprint: Fingerprint) -> Result<Self, TrustError> {
        let named = certificate.subject_alternative_name().ok().flatten();
        let named = named.map(|named| named.value.general_names.as_slice()).unwrap_or_default();
        Ok(Self {
            subject: party::subject(certificate),
            issuer: party::shown(&certificate.issuer().to_string()),
            is_authority: certificate.is_ca(),
            uris: party::uris(certificate)?.iter().map(|uri| party::shown(uri)).collect(),
            names: named.iter().filter_map(names::shown).collect(),
            may_name: names::permitted(certificate),
            issued_at: party::time(certificate.validity().not_before),
            expires_at: party::time(certificate.validity().not_after),
            fingerprint,
        })
    }
}
