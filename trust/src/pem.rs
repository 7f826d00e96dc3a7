//! Certificates and keys as text.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::TrustError;

/// All certificates of a text, at least one.
pub(crate) fn certificates(
    text: &[u8],
    what: &'static str,
    most: usize,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|why| TrustError::Malformed { what, why: format!("{why:?}") })?;
    match found.len() {
        0 => Err(TrustError::Malformed { what, why: "it has no line that says BEGIN CERTIFICATE".to_owned() }),
        count if count > most => Err(TrustError::TooMany { what, count, most }),
        _ => Ok(found),
    }
}

/// The key of a text. What is wrong with it is told without its content.
pub(crate) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TrustError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|_| TrustError::Malformed {
        what: "key",
        why: "it has no block that says BEGIN PRIVATE KEY and can be decoded; keys with a passphrase are not read"
            .to_owned(),
    })
}
