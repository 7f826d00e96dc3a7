//! Names: what Kubernetes and DNS take, once everything that is added to them is added.

use std::collections::BTreeMap;

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Connectivity, Fleet, Trust};
use crate::fleet::source::Path;

/// A label of DNS, and the value of a label of Kubernetes, is at most this long.
const MAX_LABEL: usize = 63;
/// Kubernetes labels the pods of a StatefulSet with its name, a dash and a hash of ten letters.
const MAX_SET_NAME: usize = MAX_LABEL - 11;
/// A name in DNS is at most this long.
pub(super) const MAX_HOST: usize = 253;

/// A name is not one, or is too long once expanded.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum NameProblem {
    /// Not a label.
    #[error("{name:?} is not a name of DNS: use 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends{}", if *.letter_first { ", a letter first" } else { "" })]
    NotALabel {
        /// The name.
        name: String,
        /// Whether it must begin with a letter.
        letter_first: bool,
    },
    /// Not several labels.
    #[error(
        "{name:?} is not a domain of DNS: use labels of a-z, 0-9 and '-' with dots between them, 253 characters at most"
    )]
    NotADomain {
        /// The name.
        name: String,
    },
    /// The StatefulSet's name.
    #[error(
        "the StatefulSet of the site is called {expanded:?}, which has {} characters: {MAX_SET_NAME} at most, since Kubernetes adds a hash \
         of 11 to it in a label. Shorten the name of the fleet or of the site",
        .expanded.len()
    )]
    SetTooLong {
        /// The name once expanded.
        expanded: String,
    },
    /// A host name.
    #[error("the last store of the site is reached by {host:?}, which has {} characters: {MAX_HOST} at most. Shorten the names in it", .host.len())]
    HostTooLong {
        /// The host name.
        host: String,
    },
    /// Two things would have one name.
    #[error("both {left} and {right} are called {name:?}: rename one of the sites")]
    Collision {
        /// The name.
        name: String,
        /// Whose it is.
        left: String,
        /// And whose else.
        right: String,
    },
}

fn is_label(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_LABEL).contains(&name.len())
        && name.chars().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether the text is a name with dots, as DNS and the names of most objects want it.
#[must_use]
pub fn is_domain(name: &str) -> bool {
    name.len() <= MAX_HOST && name.split('.').all(is_label)
}

/// Checks all names.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    // A Service begins with the fleet's name, and its own must begin with a letter.
    label(&fleet.name, true, at("name"), findings);
    label(&fleet.namespace, false, at("namespace"), findings);
    label(&fleet.observability.namespace, false, at("observability").key("namespace"), findings);
    if let Some(class) = &fleet.storage.class {
        domain(class, at("storage").key("class"), findings);
    }
    if let Some(token) = &fleet.fleet_token {
        domain(&token.secret, at("fleetToken").key("secret"), findings);
    }
    if let Connectivity::Loadbalancer { zone, .. } = &fleet.connectivity {
        domain(zone, at("connectivity").key("zone"), findings);
    }
    of_trust(fleet, findings);
    for (index, site) in fleet.sites.iter().enumerate() {
        let path = at("sites").item(index);
        label(&site.name, false, path.key("name"), findings);
        domain(&site.domain, path.key("domain"), findings);
        if let Some(class) = &site.overrides.storage.class {
            domain(class, path.key("overrides").key("storage").key("class"), findings);
        }
        let expanded = fleet.set_name(site);
        if expanded.len() > MAX_SET_NAME {
            findings.error(path.key("name"), NameProblem::SetTooLong { expanded });
        }
        let host = fleet.ordinals(site).last().map(|last| fleet.host(site, last)).unwrap_or_default();
        if host.len() > MAX_HOST {
            findings.error(path.key("name"), NameProblem::HostTooLong { host });
        }
    }
    collisions(fleet, findings);
}

/// What certificates are found by.
fn of_trust(fleet: &Fleet, findings: &mut Findings<'_>) {
    let path = |key: &str| at("trust").key(key);
    if let Some(name) = fleet.trust.domain() {
        domain(name, path("domain"), findings);
    }
    match &fleet.trust {
        Trust::Secret { secret: Some(secret), .. } => domain(secret, path("secret"), findings),
        Trust::CertManager { issuer, .. } => domain(&issuer.name, path("issuer").key("name"), findings),
        Trust::Insecure | Trust::Secret { .. } => {}
    }
    if let Some(bundle) = fleet.trust.bundle() {
        domain(&bundle.config_map, path("bundle").key("configMap"), findings);
    }
    if let Some(certificate) = &fleet.observability.certificate {
        domain(certificate, at("observability").key("certificate"), findings);
    }
}

fn label(name: &str, letter_first: bool, path: Path, findings: &mut Findings<'_>) {
    if !is_label(name) || letter_first && !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        findings.error(path, NameProblem::NotALabel { name: name.to_owned(), letter_first });
    }
}

fn domain(name: &str, path: Path, findings: &mut Findings<'_>) {
    if !is_domain(name) {
        findings.error(path, NameProblem::NotADomain { name: name.to_owned() });
    }
}

/// The Service of store 1 of site `a` and that of a site called `a-1` would have the same name.
fn collisions(fleet: &Fleet, findings: &mut Findings<'_>) {
    let mut sets = BTreeMap::new();
    for (index, site) in fleet.sites.iter().enumerate() {
        sets.entry(fleet.set_name(site)).or_insert(index);
    }
    for site in &fleet.sites {
        for ordinal in fleet.ordinals(site) {
            let name = fleet.pod_name(site, ordinal);
            if let Some(index) = sets.get(&name) {
                let left = format!("store {} of site {}", ordinal.0, site.name);
                let right = format!("the set of site {}", fleet.sites[*index].name);
                findings.error(at("sites").item(*index).key("name"), NameProblem::Collision { name, left, right });
            }
        }
    }
}
