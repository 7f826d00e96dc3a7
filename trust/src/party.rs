//! Who somebody is, as his certificate says.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_types::{Fingerprint, Principal, limits};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::error::{TrustError, Unfit};

/// The name of a certificate.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let mut sum = [0; SHA256_OUTPUT_LEN];
    // Both are as long as the digest is.
    sum.iter_mut().zip(digest(&SHA256, certificate).as_ref()).for_each(|(to, from)| *to = *from);
    Fingerprint(sum)
}

/// Who is at the other end of a connection, as his certificate proved it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Party {
    /// Who.
    pub principal: Arc<Principal>,
    /// From when on the certificate is valid.
    pub issued_at: SystemTime,
    /// Until when it is.
    pub expires_at: SystemTime,
    /// Of the certificate.
    pub fingerprint: Fingerprint,
}

impl Party {
    /// Reads the first certificate of a chain. Says nothing about who signed it: that was checked when it was shown, in the handshake.
    ///
    /// # Errors
    /// [`TrustError::Unfit`]: when there is none, or it does not name exactly one identity of Holdfast.
    pub fn of(chain: &[CertificateDer<'_>]) -> Result<Self, TrustError> {
        Ok(Self::of_leaf(chain.first().ok_or(Unfit::Missing)?)?)
    }

    /// Who is at the other end; `None` when it showed no certificate, or the handshake is not that far.
    ///
    /// # Errors
    /// As [`Party::of`]; never once the handshake is over.
    pub fn at_other_end(connection: &rustls::CommonState) -> Result<Option<Self>, TrustError> {
        connection.peer_certificates().map(Self::of).transpose()
    }

    pub(crate) fn of_leaf(leaf: &CertificateDer<'_>) -> Result<Self, Unfit> {
        let certificate = parse(leaf)?;
        let principal = identity(&certificate)?;
        Ok(Self {
            principal: Arc::new(principal),
            issued_at: time(certificate.validity().not_before),
            expires_at: time(certificate.validity().not_after),
            fingerprint: fingerprint(leaf),
        })
    }

    /// The part of its life that is left at `now` is less than one of [`limits::TRUST_TOLD_AT_LEFT`] parts.
    #[must_use]
    pub fn is_near_its_end(&self, now: SystemTime) -> bool {
        let life = self.expires_at.duration_since(self.issued_at).unwrap_or_default();
        let left = self.expires_at.duration_since(now).unwrap_or_default();
        left <= life.checked_div(limits::TRUST_TOLD_AT_LEFT).unwrap_or_default()
    }
}

/// The certificate as a tree, and nothing behind it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unfit> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Unfit::Malformed),
    }
}

fn identity(certificate: &X509Certificate<'_>) -> Result<Principal, Unfit> {
    let names = certificate.subject_alternative_name().map_err(|_| Unfit::Malformed)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    identity_among(names)
}

/// The one URI among the names, which is an identity of Holdfast.
pub(crate) fn identity_among(names: &[GeneralName<'_>]) -> Result<Principal, Unfit> {
    match uris_among(names)?.as_slice() {
        [] => Err(Unfit::NoIdentity),
        [uri] => Ok(uri.parse::<Principal>()?),
        more => Err(Unfit::ManyIdentities(more.len())),
    }
}

/// All URIs that a certificate names.
pub(crate) fn uris(certificate: &X509Certificate<'_>) -> Result<Vec<String>, Unfit> {
    let names = certificate.subject_alternative_name().map_err(|_| Unfit::Malformed)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    Ok(uris_among(names)?.into_iter().map(str::to_owned).collect())
}

pub(crate) fn uris_among<'a>(names: &[GeneralName<'a>]) -> Result<Vec<&'a str>, Unfit> {
    /// The tag of a URI among the names.
    const URI: u32 = 6;
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(Ok(*uri)),
        // One that is no text must not hide beside the one that is read.
        GeneralName::Invalid(tag, _) if tag.0 == URI => Some(Err(Unfit::Malformed)),
        _ => None,
    });
    uris.collect()
}

/// Cut to what clocks can say: before 1970 is 1970, and far ahead is the end of what times are here.
pub(crate) fn time(time: ASN1Time) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH).min(latest())
}

/// No time that is told of a certificate lies further ahead.
pub(crate) fn latest() -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(limits::MAX_WALL_MS)).unwrap_or(UNIX_EPOCH)
}

/// A subject as it is shown: cut, and without what terminals obey.
pub(crate) fn subject(certificate: &X509Certificate<'_>) -> String {
    shown(&certificate.subject().to_string())
}

pub(crate) fn shown(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(limits::TRUST_SUBJECT_BYTES)).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
