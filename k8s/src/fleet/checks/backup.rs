//! A backup is for the day when sites are lost, so it lies outside all of them.

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Backup, Fleet, Site};

/// The backup would be lost with a site.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum BackupProblem {
    /// The failure domain is a site's.
    #[error("{domain:?} is the {what} of site {site}: a backup that is lost with a site is none, put it elsewhere")]
    InsideDomain {
        /// The failure domain.
        domain: String,
        /// Name, context or region.
        what: &'static str,
        /// The site.
        site: String,
    },
    /// The target is a Service of a site.
    #[error("{target:?} leads into a Kubernetes cluster: a backup that is lost with a site is none, put it elsewhere")]
    InsideTarget {
        /// The URL.
        target: String,
    },
    /// Not a URL.
    #[error("{target:?} is not a URL: write it like s3://BUCKET/PREFIX")]
    NotAUrl {
        /// The text.
        target: String,
    },
    /// No failure domain.
    #[error(
        "the failure domain is empty: name what the target is lost with, such as a provider's region that no site is in"
    )]
    NoDomain,
}

/// Checks the target of backups.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let Some(Backup { target, failure_domain }) = &fleet.backup else { return };
    let path = at("backup").key("failureDomain");
    if failure_domain.is_empty() {
        findings.error(path.clone(), BackupProblem::NoDomain);
    }
    for site in fleet.sites.iter().filter(|_| !failure_domain.is_empty()) {
        if let Some(what) = what_of(site, failure_domain) {
            let (domain, site) = (failure_domain.clone(), site.name.clone());
            findings.error(path.clone(), BackupProblem::InsideDomain { domain, what, site });
        }
    }
    let path = at("backup").key("target");
    match target.split_once("://") {
        Some((_, rest)) if leads_inside(fleet, rest) => {
            findings.error(path, BackupProblem::InsideTarget { target: target.clone() });
        }
        Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => {}
        _ => findings.error(path, BackupProblem::NotAUrl { target: target.clone() }),
    }
}

fn what_of(site: &Site, domain: &str) -> Option<&'static str> {
    let of = [(Some(&site.name), "name"), (Some(&site.context), "context"), (site.region.as_ref(), "region")];
    of.into_iter().find(|(value, _)| value.is_some_and(|value| value == domain)).map(|(_, what)| what)
}

/// Whether the host of a URL is a Service, or an address of a pod.
fn leads_inside(fleet: &Fleet, rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_service = |site: &Site| host.ends_with(".svc") || host.ends_with(&format!(".{}", site.domain));
    let is_pod = |site: &Site| {
        let address = host.trim_matches(['[', ']']).parse().ok();
        let nets = || site.pod_cidrs.iter().filter_map(super::super::amounts::Cidr::net);
        address.is_some_and(|address: std::net::IpAddr| nets().any(|net| net.contains(&address)))
    };
    fleet.sites.iter().any(|site| is_service(site) || is_pod(site))
}
