//! What a certificate of each kind says.

use std::time::SystemTime;

use holdfast_types::principal::Kind;
use holdfast_types::{Principal, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use time::OffsetDateTime;

use super::names::{self, Name};
use super::{Scope, Validity, not_made};
use crate::error::{TrustError, at};

/// Bytes of a serial number: RFC 5280 allows 20.
const SERIAL_BYTES: usize = 16;

/// A new key. P-256, which every program that speaks TLS knows.
pub(super) fn new_key() -> Result<KeyPair, TrustError> {
    KeyPair::generate().map_err(not_made)
}

/// The root speaks for the whole domain.
pub(super) fn of_root(domain: &TrustDomain, validity: Validity) -> Result<CertificateParams, TrustError> {
    let mut params = of_authority(&format!("Holdfast root of {domain}"), validity, BasicConstraints::Constrained(1))?;
    params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))?];
    Ok(params)
}

/// An authority below the root, which signs leaves alone.
pub(super) fn of_issuer(
    domain: &TrustDomain,
    scope: &Scope,
    names: &[String],
    validity: Validity,
) -> Result<CertificateParams, TrustError> {
    let who = match scope {
        Scope::Site(site) => format!("Holdfast site {site} of {domain}"),
        Scope::People => format!("Holdfast people of {domain}"),
    };
    let mut params = of_authority(&who, validity, BasicConstraints::Constrained(0))?;
    params.subject_alt_names = scope.uris(domain).iter().map(|text| uri(text)).collect::<Result<_, _>>()?;
    params.name_constraints = Some(names::constraints(domain, scope, names)?);
    params.use_authority_key_identifier_extension = true;
    if *scope == Scope::People {
        // Whoever only calls needs to be believed by those who are called alone.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }
    Ok(params)
}

fn of_authority(who: &str, validity: Validity, below: BasicConstraints) -> Result<CertificateParams, TrustError> {
    let mut params = plain(validity)?;
    // Of two roots of one domain, people tell the newer one by the day.
    let day = at(validity.from).to_string();
    let day = day.get(..10).unwrap_or_default();
    params.distinguished_name = called(&format!("{who} {day}"));
    params.is_ca = IsCa::Ca(below);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A party: what it is is its URI; its name is for people who look at it.
pub(super) fn of_leaf(
    principal: &Principal,
    names: &[Name],
    validity: Validity,
) -> Result<CertificateParams, TrustError> {
    let mut params = plain(validity)?;
    let (name, uses) = match &principal.kind {
        // A store is called, and calls other stores.
        Kind::Store(site) => {
            (site.as_str(), vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])
        }
        Kind::Client(name) | Kind::Operator(name) => (name.as_str(), vec![ExtendedKeyUsagePurpose::ClientAuth]),
    };
    params.distinguished_name = called(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = uses;
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = sans(&[principal.to_string()], names)?;
    Ok(params)
}

/// A request says who asks, and nothing of times or uses: whoever signs decides these.
pub(super) fn of_request(who: &str, uris: &[String], names: &[Name]) -> Result<CertificateParams, TrustError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = called(who);
    params.subject_alt_names = sans(uris, names)?;
    Ok(params)
}

fn sans(uris: &[String], names: &[Name]) -> Result<Vec<SanType>, TrustError> {
    let uris = uris.iter().map(|text| uri(text));
    uris.chain(names.iter().map(Name::san)).collect()
}

fn uri(text: &str) -> Result<SanType, TrustError> {
    Ok(SanType::URI(text.try_into().map_err(not_made)?))
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// With a serial number that nothing else has: rcgen would make it of the key, and sign two certificates of one key under one number.
fn plain(validity: Validity) -> Result<CertificateParams, TrustError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|_| TrustError::NotMade("no random numbers to be had".to_owned()))?;
    // Positive, and always as long.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = calendar(validity.from)?;
    params.not_after = calendar(validity.until)?;
    Ok(params)
}

fn calendar(time: SystemTime) -> Result<OffsetDateTime, TrustError> {
    let moment = OffsetDateTime::from_unix_timestamp(Validity::seconds(time));
    moment.map_err(|_| TrustError::NotMade("its time lies beyond what certificates can say".to_owned()))
}
