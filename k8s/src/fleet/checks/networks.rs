//! Networks of the sites: readable, and apart from each other where packets must find their way by address alone.

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Connectivity, Fleet};
use crate::fleet::source::Path;

/// Networks or domains do not fit the mode.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum NetworkProblem {
    /// The text is no network.
    #[error("{text:?} is not a network: write its first address and a length, like 10.1.0.0/16")]
    NotANetwork {
        /// The text.
        text: String,
    },
    /// A site without one.
    #[error("site {site} has no pod network: the others must know where its stores are, list all of them")]
    None {
        /// The site.
        site: String,
    },
    /// Two sites share addresses.
    #[error(
        "{own} of site {site} overlaps {other} of site {other_site}: `mode: {mode}` routes between pods by address, so each site needs \
         networks of its own (skupper, istio and loadbalancer do not)"
    )]
    Overlap {
        /// The later site.
        site: String,
        /// Its network.
        own: String,
        /// The earlier site.
        other_site: String,
        /// Its network.
        other: String,
        /// The mode.
        mode: &'static str,
    },
    /// A site whose names nobody can ask for.
    #[error(
        "site {site} has no `dns`: `mode: flat-dns` has the other sites ask its DNS, so list the addresses at which they reach it"
    )]
    NoDns {
        /// The site.
        site: String,
    },
    /// Two sites with one domain.
    #[error(
        "sites {other_site} and {site} both have the domain {domain}: `mode: flat-dns` finds a site by its domain, so each needs its own"
    )]
    SameDomain {
        /// The later site.
        site: String,
        /// The earlier site.
        other_site: String,
        /// The domain.
        domain: String,
    },
}

impl Connectivity {
    /// The name of the mode in the file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FlatMirror => "flat-mirror",
            Self::FlatDns => "flat-dns",
            Self::CiliumGlobal => "cilium-global",
            Self::Mcs { .. } => "mcs",
            Self::CalicoBgp => "calico-bgp",
            Self::Skupper => "skupper",
            Self::Istio => "istio",
            Self::Loadbalancer { .. } => "loadbalancer",
        }
    }

    /// Whether pods of all sites reach each other by their own addresses.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        match self {
            Self::FlatMirror | Self::FlatDns | Self::CiliumGlobal | Self::Mcs { .. } | Self::CalicoBgp => true,
            Self::Skupper | Self::Istio | Self::Loadbalancer { .. } => false,
        }
    }
}

/// Checks the networks and domains of all sites.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    for (index, site) in fleet.sites.iter().enumerate() {
        let path = at("sites").item(index);
        if site.pod_cidrs.is_empty() {
            findings.error(path.key("podCidrs"), NetworkProblem::None { site: site.name.clone() });
        }
        for (place, cidr) in site.pod_cidrs.iter().enumerate().filter(|(_, cidr)| cidr.net().is_none()) {
            let text = cidr.text().to_owned();
            findings.error(path.key("podCidrs").item(place), NetworkProblem::NotANetwork { text });
        }
        if fleet.connectivity == Connectivity::FlatDns && site.dns.is_empty() {
            findings.error(path.clone(), NetworkProblem::NoDns { site: site.name.clone() });
        }
        compare(fleet, index, &path, findings);
    }
    if let Connectivity::Loadbalancer { source_cidrs, .. } = &fleet.connectivity {
        for (place, cidr) in source_cidrs.iter().enumerate().filter(|(_, cidr)| cidr.net().is_none()) {
            let path = at("connectivity").key("sourceCidrs").item(place);
            findings.error(path, NetworkProblem::NotANetwork { text: cidr.text().to_owned() });
        }
    }
}

/// Compares a site with those before it.
fn compare(fleet: &Fleet, index: usize, path: &Path, findings: &mut Findings<'_>) {
    let site = &fleet.sites[index];
    for other in &fleet.sites[..index] {
        if fleet.connectivity == Connectivity::FlatDns && other.domain == site.domain {
            let problem = NetworkProblem::SameDomain {
                site: site.name.clone(),
                other_site: other.name.clone(),
                domain: site.domain.clone(),
            };
            findings.error(path.key("domain"), problem);
        }
        if !fleet.connectivity.is_flat() {
            continue;
        }
        for (place, own) in site.pod_cidrs.iter().enumerate() {
            for theirs in other.pod_cidrs.iter().filter(|theirs| theirs.overlaps(own)) {
                let problem = NetworkProblem::Overlap {
                    site: site.name.clone(),
                    own: own.to_string(),
                    other_site: other.name.clone(),
                    other: theirs.to_string(),
                    mode: fleet.connectivity.name(),
                };
                findings.error(path.key("podCidrs").item(place), problem);
            }
        }
    }
}
