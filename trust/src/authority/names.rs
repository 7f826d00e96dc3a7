//! Names of hosts and addresses in certificates. Holdfast itself asks for none of them: they are for clients of other makes.

use std::fmt;
use std::net::IpAddr;

use holdfast_types::{TrustDomain, limits};
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints, SanType};
use rustls::pki_types::DnsName;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree as Subtree};

use super::Scope;
use crate::error::TrustError;

/// All networks there are.
pub const EVERY_ADDRESS: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// A host as a certificate names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Host(String),
    Address(IpAddr),
}

impl Name {
    pub(super) fn of(text: &str) -> Result<Self, TrustError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        // One star in front stands for one label, as clients read it.
        let host = text.strip_prefix("*.").unwrap_or(text);
        match DnsName::try_from(host) {
            Ok(_) => Ok(Self::Host(text.to_ascii_lowercase())),
            Err(_) => Err(TrustError::BeyondScope(format!("{text:?} is neither the name of a host nor an address"))),
        }
    }

    pub(super) fn all(texts: &[String]) -> Result<Vec<Self>, TrustError> {
        if texts.len() > limits::TRUST_NAMES {
            let (count, most) = (texts.len(), limits::TRUST_NAMES);
            return Err(TrustError::BeyondScope(format!(
                "{count} names of hosts are more than the {most} of one certificate"
            )));
        }
        texts.iter().map(|text| Self::of(text)).collect()
    }

    pub(super) fn san(&self) -> Result<SanType, TrustError> {
        Ok(match self {
            Self::Host(host) => SanType::DnsName(host.as_str().try_into().map_err(super::not_made)?),
            Self::Address(address) => SanType::IpAddress(*address),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What an authority may call hosts, beside `SITE.DOMAIN` and the machine itself: `svc.example`, and all below it, or a network `10.1.0.0/16`.
pub(super) fn subtree(text: &str) -> Result<GeneralSubtree, TrustError> {
    let bad = || TrustError::BeyondScope(format!("{text:?} is neither a name of hosts nor a network like 10.1.0.0/16"));
    if let Some((address, length)) = text.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length: u8 = length.parse().ok().filter(|length| *length <= bits).ok_or_else(bad)?;
        return Ok(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, length)));
    }
    match Name::of(text)? {
        Name::Address(address) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            Ok(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits)))
        }
        Name::Host(host) if host.starts_with('*') => Err(bad()),
        Name::Host(host) => Ok(GeneralSubtree::DnsName(host)),
    }
}

/// As far as X.509 can hold an authority to its scope. Of URIs it sees the host alone, and webpki refuses all URIs below a constraint on any: the
/// SPIFFE ids of an authority say the rest.
pub(super) fn constraints(
    domain: &TrustDomain,
    scope: &Scope,
    names: &[String],
) -> Result<NameConstraints, TrustError> {
    let none = NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: Vec::new() };
    match scope {
        Scope::Site(site) => {
            let own = subtree(&format!("{site}.{domain}")).ok();
            let local = ["localhost", "127.0.0.0/8", "::1"].map(subtree).into_iter();
            let more = names.iter().map(|name| subtree(name));
            let mut permitted = own.into_iter().map(Ok).chain(local).chain(more).collect::<Result<Vec<_>, _>>()?;
            // To permit every address is to constrain none, and is said by saying nothing: BoringSSL, which clients in Python and C++ stand on,
            // knows no constraints on addresses, and below any takes no certificate that names one.
            if EVERY_ADDRESS.iter().all(|network| names.iter().any(|name| name == network)) {
                permitted.retain(|subtree| !matches!(subtree, GeneralSubtree::IpAddress(_)));
            }
            Ok(NameConstraints { permitted_subtrees: permitted, ..none })
        }
        // Nobody calls them, so no host is called what they are called.
        Scope::People => {
            let hosts = GeneralSubtree::DnsName(String::new());
            let networks = EVERY_ADDRESS.map(subtree).into_iter().collect::<Result<Vec<_>, _>>()?;
            let excluded = std::iter::once(hosts).chain(networks).collect();
            Ok(NameConstraints { excluded_subtrees: excluded, ..none })
        }
    }
}

/// What an authority may call hosts, for people; `None` when it may call them anything.
pub(crate) fn permitted(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let constraints = certificate.name_constraints().ok().flatten()?.value;
    let permitted = constraints.permitted_subtrees.as_deref().unwrap_or_default();
    let excluded = constraints.excluded_subtrees.as_deref().unwrap_or_default();
    let is_address = |subtree: &Subtree<'_>| matches!(subtree.base, GeneralName::IPAddress(_));
    let any_address = !permitted.iter().chain(excluded).any(is_address);
    let names = permitted.iter().filter_map(|subtree| shown(&subtree.base));
    Some(names.chain(any_address.then(|| "every address".to_owned())).collect())
}

/// A name, or a network, of a certificate; `None` for URIs and what else there is.
pub(crate) fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(host) => Some(crate::party::shown(host)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 | 16 => address(bytes).map(|address| address.to_string()),
            8 | 32 => {
                let (base, mask) = bytes.split_at_checked(bytes.len() / 2)?;
                let length: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
                Some(format!("{}/{length}", address(base)?))
            }
            _ => None,
        },
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use holdfast_types::SiteName;

    use super::*;

    fn permitted_by(names: &[&str]) -> Vec<GeneralSubtree> {
        let domain = TrustDomain::new("f.example").unwrap();
        let scope = Scope::Site(SiteName::new("b").unwrap());
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        constraints(&domain, &scope, &names).unwrap().permitted_subtrees
    }

    #[test]
    fn who_may_name_every_address_is_bound_by_none_and_to_its_hosts_as_ever() {
        let is_address = |subtree: &GeneralSubtree| matches!(subtree, GeneralSubtree::IpAddress(_));
        for names in [&[][..], &["10.1.0.0/16"], &["0.0.0.0/0"]] {
            assert!(permitted_by(names).iter().any(is_address), "{names:?}");
        }
        let every = permitted_by(&EVERY_ADDRESS);
        assert!(!every.iter().any(is_address));
        assert!(every.contains(&GeneralSubtree::DnsName("b.f.example".into())));
    }
}
