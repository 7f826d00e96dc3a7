//! Trust: that nothing is encrypted is said aloud, and certificates are such as can be issued and replaced in time.

use std::time::Duration;

use super::names::{MAX_HOST, is_domain};
use crate::fleet::amounts::Lifetime;
use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Bundle, Fleet, Trust};
use crate::fleet::source::Path;

/// What cert-manager takes at least for a certificate's life.
const MIN_DURATION: Duration = Duration::from_secs(60 * 60);
/// And for the time before its end at which it is replaced.
const MIN_RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// A key of a ConfigMap is at most this long.
const MAX_KEY: usize = 253;

/// Certificates cannot be had like this, or there are none.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum TrustProblem {
    /// Nothing is encrypted.
    #[error(
        "nothing is encrypted and nobody proves anything: whoever reaches a port reads, writes and owns the fleet. Keep all ports within a network \
         that you trust, or use mode cert-manager or secret"
    )]
    Insecure,
    /// Not a duration.
    #[error("{text:?} is not a duration: write a number with one of m, h, d after it, like 30d")]
    NotALifetime {
        /// The text.
        text: String,
    },
    /// Less than cert-manager takes.
    #[error("{text} is shorter than cert-manager issues or renews: use {least} at least")]
    TooShort {
        /// The text.
        text: String,
        /// What would do.
        least: &'static str,
    },
    /// Replaced before it is made.
    #[error(
        "a certificate that lives {duration} cannot be replaced {renew_before} before its end: use a third of its life, or leave it out"
    )]
    NeverFresh {
        /// How long it lives.
        duration: String,
        /// When it is replaced.
        renew_before: String,
    },
    /// Not a key.
    #[error("{key:?} is no key of a ConfigMap: use 1 to {MAX_KEY} letters, digits, dots, dashes and underscores")]
    NotAKey {
        /// The text.
        key: String,
    },
    /// The name in the certificate is none.
    #[error(
        "the certificate of site {site} has the name {host:?}, which is too long for DNS: {MAX_HOST} characters at most. Shorten the trust domain"
    )]
    HostTooLong {
        /// The site.
        site: String,
        /// The name.
        host: String,
    },
    /// Prometheus has nothing to show.
    #[error(
        "metrics are given to those who show a certificate: name a Secret with one for Prometheus, such as \
         {{serviceMonitor: true, certificate: prometheus-tls}}, of spiffe://{domain}/client/prometheus under tls.crt, tls.key and ca.crt"
    )]
    NothingToShow {
        /// The trust domain.
        domain: String,
    },
    /// Prometheus is not asked for anything.
    #[error("nobody asks for it: nothing is encrypted, so metrics are given to whoever reaches the port. Leave it out")]
    NotAsked,
}

/// Checks how stores and clients prove who they are.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    prometheus(fleet, findings);
    if let Some(bundle) = fleet.trust.bundle() {
        key(bundle, findings);
    }
    hosts(fleet, findings);
    match &fleet.trust {
        Trust::Insecure => findings.warning(at("trust"), TrustProblem::Insecure),
        Trust::Secret { .. } => {}
        Trust::CertManager { duration, renew_before, .. } => lifetimes(duration, renew_before.as_ref(), findings),
    }
}

fn prometheus(fleet: &Fleet, findings: &mut Findings<'_>) {
    let (path, observability) = (at("observability"), &fleet.observability);
    match (fleet.trust.domain(), &observability.certificate) {
        (Some(domain), None) if observability.service_monitor => {
            findings.error(path.key("serviceMonitor"), TrustProblem::NothingToShow { domain: domain.to_owned() });
        }
        (None, Some(_)) => findings.error(path.key("certificate"), TrustProblem::NotAsked),
        _ => {}
    }
}

fn key(bundle: &Bundle, findings: &mut Findings<'_>) {
    let key = &bundle.key;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !(1..=MAX_KEY).contains(&key.len()) || !key.chars().all(is_legal) || key.starts_with("..") {
        findings.error(at("trust").key("bundle").key("key"), TrustProblem::NotAKey { key: key.clone() });
    }
}

/// The trust domain is a name of its own; each site's name comes before it.
fn hosts(fleet: &Fleet, findings: &mut Findings<'_>) {
    if !fleet.trust.domain().is_some_and(is_domain) {
        return;
    }
    let hosts = fleet.sites.iter().filter_map(|site| Some((site.name.clone(), fleet.certified_host(site)?)));
    if let Some((site, host)) = hosts.max_by_key(|(_, host)| host.len()).filter(|(_, host)| host.len() > MAX_HOST) {
        findings.error(at("trust").key("domain"), TrustProblem::HostTooLong { site, host });
    }
}

fn lifetimes(duration: &Lifetime, renew_before: Option<&Lifetime>, findings: &mut Findings<'_>) {
    let path = |key: &str| at("trust").key(key);
    let lives = lifetime(duration, MIN_DURATION, "1h", path("duration"), findings);
    let Some(renew_before) = renew_before else { return };
    let replaced = lifetime(renew_before, MIN_RENEW_BEFORE, "5m", path("renewBefore"), findings);
    if let (Some(lives), Some(replaced)) = (lives, replaced)
        && replaced >= lives
    {
        let [duration, renew_before] = [duration, renew_before].map(|lifetime| lifetime.text().to_owned());
        findings.error(path("renewBefore"), TrustProblem::NeverFresh { duration, renew_before });
    }
}

fn lifetime(
    lifetime: &Lifetime,
    least: Duration,
    shown: &'static str,
    path: Path,
    findings: &mut Findings<'_>,
) -> Option<Duration> {
    let text = lifetime.text().to_owned();
    let span = lifetime.span();
    match span {
        None => findings.error(path, TrustProblem::NotALifetime { text }),
        Some(span) if span < least => findings.error(path, TrustProblem::TooShort { text, least: shown }),
        Some(_) => {}
    }
    span
}
