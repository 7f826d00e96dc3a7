//! Who somebody is, as his certificate or his token says it: SPIFFE ids of the three kinds that Holdfast knows.

use std::fmt;
use std::str::FromStr;

use crate::SiteName;

/// As long as SPIFFE lets a trust domain be.
const MAX_DOMAIN_BYTES: usize = 255;
/// Of a client's or an operator's name.
const MAX_NAME_BYTES: usize = 64;
const SCHEME: &str = "spiffe://";

/// What is no identity, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadIdentity(String);

impl BadIdentity {
    fn of(text: &str, why: &str) -> Self {
        // Whoever sent it chose how long it is.
        let shown = text.get(..text.floor_char_boundary(MAX_NAME_BYTES * 2)).unwrap_or_default();
        Self(format!("{shown:?} {why}"))
    }
}

/// Whose word an identity is: the part of a SPIFFE id that is like a host name. One fleet has one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Refuses what SPIFFE does: 1 to 255 lower-case letters, digits, dots, dashes and underscores.
    pub fn new(name: &str) -> Result<Self, BadIdentity> {
        let is_legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > MAX_DOMAIN_BYTES || !name.bytes().all(is_legal) {
            let why = "is no trust domain: use 1 to 255 lower-case letters, digits, dots, dashes and underscores";
            return Err(BadIdentity::of(name, why));
        }
        Ok(Self(name.to_owned()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a client or an operator.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PrincipalName(String);

impl PrincipalName {
    /// 1 to 64 letters, digits, dots, dashes and underscores, and not dots alone: it is a segment of a path.
    pub fn new(name: &str) -> Result<Self, BadIdentity> {
        let is_legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
        let is_dots = name.bytes().all(|c| c == b'.');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || is_dots || !name.bytes().all(is_legal) {
            let why =
                "is no name of a client or an operator: use 1 to 64 letters, digits, dots, dashes and underscores";
            return Err(BadIdentity::of(name, why));
        }
        Ok(Self(name.to_owned()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody is to the fleet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A store of this site.
    Store(SiteName),
    /// A program that reads and writes keys.
    Client(PrincipalName),
    /// Somebody who runs the fleet.
    Operator(PrincipalName),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(site) => write!(f, "site/{site}/store"),
            Self::Client(name) => write!(f, "client/{name}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
        }
    }
}

/// Who somebody is. Written as a SPIFFE id: `spiffe://DOMAIN/site/SITE/store`, `/client/NAME` or `/operator/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Principal {
    /// Whose word it is.
    pub domain: TrustDomain,
    /// What he is.
    pub kind: Kind,
}

impl Principal {
    /// The site of a store; `None` for everybody else.
    #[must_use]
    pub fn site(&self) -> Option<&SiteName> {
        match &self.kind {
            Kind::Store(site) => Some(site),
            Kind::Client(_) | Kind::Operator(_) => None,
        }
    }

    /// True for a store.
    #[must_use]
    pub fn is_store(&self) -> bool {
        self.site().is_some()
    }

    /// True for an operator.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        matches!(self.kind, Kind::Operator(_))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.domain, self.kind)
    }
}

impl FromStr for Principal {
    type Err = BadIdentity;

    fn from_str(uri: &str) -> Result<Self, BadIdentity> {
        let none = || {
            BadIdentity::of(
                uri,
                "is no identity of Holdfast: spiffe://DOMAIN/site/SITE/store, /client/NAME or /operator/NAME",
            )
        };
        let (domain, path) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(none)?;
        let domain = TrustDomain::new(domain)?;
        let mut segments = path.split('/');
        let kind = match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("site"), Some(site), Some("store"), None) => {
                Kind::Store(SiteName::new(site).map_err(|why| BadIdentity::of(uri, &format!("names no site: {why}")))?)
            }
            (Some("client"), Some(name), None, None) => Kind::Client(PrincipalName::new(name)?),
            (Some("operator"), Some(name), None, None) => Kind::Operator(PrincipalName::new(name)?),
            _ => return Err(none()),
        };
        Ok(Self { domain, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_as_it_is_written() {
        for uri in ["spiffe://f.example/site/b/store", "spiffe://f/client/billing", "spiffe://f/operator/Ann.B-1_x"] {
            assert_eq!(uri.parse::<Principal>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn what_is_no_identity_of_ours_is_refused_and_never_shown_whole() {
        let long = format!("spiffe://f/client/{}", "x".repeat(100_000));
        for uri in [
            "",
            "spiffe://",
            "spiffe:///client/x",
            "spiffe://f",
            "spiffe://f/",
            "spiffe://f/client",
            "spiffe://f/client/",
            "spiffe://f/client/x/",
            "spiffe://f/client/..",
            "spiffe://f/client/a/b",
            "spiffe://F/client/x",
            "https://f/client/x",
            "spiffe://f/site/b",
            "spiffe://f/site/b/store/x",
            "spiffe://f/site//store",
            "spiffe://f:80/client/x",
            "spiffe://f/client/x?y",
            "spiffe://f/client/x%2f",
            "spiffe://f//client/x",
            &long,
        ] {
            let bad = uri.parse::<Principal>().unwrap_err().to_string();
            assert!(bad.len() < 400, "{bad}");
        }
    }
}
