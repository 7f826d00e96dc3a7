//! Requests for certificates (PKCS #10): made where the key is, read where it is signed.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::principal::Kind;
use holdfast_types::{Fingerprint, Principal, TrustDomain, limits};
use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::names::{self, Name};
use super::{Scope, not_made, paper};
use crate::error::{TrustError, Unfit};
use crate::party;

/// Who asks for a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A party.
    Party(Principal),
    /// An authority below the root.
    Authority(TrustDomain, Scope),
}

/// A request that was read: whoever made it has the key that it names, and nothing else is proved.
#[derive(Debug)]
pub struct Request {
    asked: Asked,
    names: Vec<Name>,
    key: SubjectPublicKeyInfo,
}

impl Request {
    /// Reads a request, and checks that it was signed with the key that it names.
    ///
    /// # Errors
    /// When it is malformed, asks for nothing that there is here, or is not signed by its own key.
    pub fn read(pem: &str) -> Result<Self, TrustError> {
        let bad = |why: &str| TrustError::Malformed { what: "request", why: why.to_owned() };
        if pem.len() > limits::TRUST_REQUEST_BYTES {
            return Err(bad("it is larger than any request"));
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| bad("it has no block that says BEGIN CERTIFICATE REQUEST and can be decoded"))?;
        let Ok(([], request)) = X509CertificationRequest::from_der(&der) else {
            return Err(bad("it is no request for a certificate"));
        };
        request.verify_signature().map_err(|_| bad("it is not signed with the key that it names"))?;
        let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
            .map_err(|_| bad("its key is of a kind that is not signed here: use P-256"))?;
        let names = requested(&request)?;
        let asked = asked(&names)?;
        Ok(Self { asked, names: hosts(&names)?, key })
    }

    /// Who asks.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The hosts that it wants to be called.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(ToString::to_string).collect()
    }

    /// SHA-256 of the key, for whoever compares it with what the other machine shows.
    #[must_use]
    pub fn key_fingerprint(&self) -> Fingerprint {
        crate::fingerprint(&self.key.subject_public_key_info().into())
    }

    pub(super) fn hosts(&self) -> &[Name] {
        &self.names
    }

    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}

/// The names that it asks for. What else it asks for is not given.
fn requested<'a>(request: &'a X509CertificationRequest<'_>) -> Result<Vec<GeneralName<'a>>, TrustError> {
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(asked) => names.extend(asked.general_names.iter().cloned()),
            ParsedExtension::BasicConstraints(asked) if asked.ca => {
                let why = "it asks to be an authority: `holdfast ca request --authority` makes requests of authorities";
                return Err(TrustError::Malformed { what: "request", why: why.to_owned() });
            }
            _ => {}
        }
    }
    Ok(names)
}

/// The URIs of a party are one, those of an authority its scope.
fn asked(names: &[GeneralName<'_>]) -> Result<Asked, TrustError> {
    let uris = party::uris_among(names)?;
    let owned: Vec<_> = uris.iter().map(|uri| (*uri).to_owned()).collect();
    if let Some((domain, scope)) = Scope::of_uris(&owned) {
        return Ok(Asked::Authority(domain, scope));
    }
    match uris.as_slice() {
        [] => Err(Unfit::NoIdentity.into()),
        [uri] => Ok(Asked::Party(uri.parse::<Principal>().map_err(Unfit::NotOurs)?)),
        more => Err(Unfit::ManyIdentities(more.len()).into()),
    }
}

fn hosts(names: &[GeneralName<'_>]) -> Result<Vec<Name>, TrustError> {
    let hosts = names.iter().filter(|name| !matches!(name, GeneralName::URI(_)));
    let hosts = hosts.map(|name| {
        let odd = "it asks for a name that is neither a URI nor of a host: leave it out";
        names::shown(name).ok_or_else(|| TrustError::Malformed { what: "request", why: odd.to_owned() })
    });
    Name::all(&hosts.collect::<Result<Vec<_>, _>>()?)
}

/// A new key, and the request of its certificate: PEM, in this order. The key goes to nobody.
///
/// # Errors
/// When a name is none.
pub fn csr(kind: &Kind, domain: &TrustDomain, names: &[String]) -> Result<(String, String), TrustError> {
    let principal = Principal { domain: domain.clone(), kind: kind.clone() };
    request(&kind.to_string(), &[principal.to_string()], names)
}

/// The same for an authority below the root, whose key is made on its own machine too.
///
/// # Errors
/// When no key can be made.
pub fn csr_of_authority(scope: &Scope, domain: &TrustDomain) -> Result<(String, String), TrustError> {
    request(&scope.to_string(), &scope.uris(domain), &[])
}

fn request(who: &str, uris: &[String], names: &[String]) -> Result<(String, String), TrustError> {
    let key = paper::new_key()?;
    let params = paper::of_request(who, uris, &Name::all(names)?)?;
    let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(not_made)?;
    Ok((key.serialize_pem(), request))
}
