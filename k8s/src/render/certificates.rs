//! The certificate of a site's stores: who issues it, where its files lie in a pod, and how Prometheus knows the stores by it.
//!
//! Certificate, key and roots lie in one folder, which the kubelet replaces in one step whenever one of them changes; the stores see that and take
//! what is new. All stores of a site share one certificate, because who they are is their site. Roots may come from elsewhere than the certificate:
//! an issuer writes the one that it stands on, and while one root replaces another both must be trusted before either is used.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeProjection,
};
use serde::Serialize;

use super::connectivity::Custom;
use super::{Scene, SiteTree};
use crate::fleet::amounts::Lifetime;
use crate::fleet::{Fleet, IssuerKind, Trust};

/// Where the folder is in a pod.
pub(super) const DIR: &str = "/etc/holdfast-tls";
/// The volume.
pub(super) const VOLUME: &str = "tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const ROOTS: &str = "ca.crt";
/// The owner and the group of the pod (`fsGroup`) read, and nobody else.
const FILE_MODE: i32 = 0o440;
const API: &str = "cert-manager.io/v1";

/// What cert-manager is asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateSpec {
    secret_name: String,
    issuer_ref: IssuerRef,
    uris: Vec<String>,
    dns_names: Vec<String>,
    usages: [&'static str; 3],
    duration: String,
    renew_before: String,
    private_key: PrivateKey,
}

#[derive(Serialize)]
struct IssuerRef {
    group: &'static str,
    kind: &'static str,
    name: String,
}

/// A new key with each certificate: one that leaked is worth nothing after the next.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateKey {
    algorithm: &'static str,
    size: u32,
    encoding: &'static str,
    rotation_policy: &'static str,
}

/// Adds the Certificate of the site, where cert-manager is asked for one.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    let Trust::CertManager { issuer, duration, renew_before, .. } = &scene.fleet.trust else { return };
    let spec = CertificateSpec {
        secret_name: scene.fleet.certificate_name(scene.site),
        issuer_ref: IssuerRef {
            group: "cert-manager.io",
            kind: match issuer.kind {
                IssuerKind::Issuer => "Issuer",
                IssuerKind::Everywhere => "ClusterIssuer",
            },
            name: issuer.name.clone(),
        },
        uris: scene.fleet.identity(scene.site).into_iter().collect(),
        dns_names: scene.fleet.certified_host(scene.site).into_iter().collect(),
        usages: ["digital signature", "server auth", "client auth"],
        duration: as_go_writes(duration.span().unwrap_or_default()),
        renew_before: as_go_writes(renewed_before(duration, renew_before.as_ref())),
        private_key: PrivateKey { algorithm: "ECDSA", size: 256, encoding: "PKCS8", rotation_policy: "Always" },
    };
    let metadata = scene.metadata(scene.fleet.certificate_name(scene.site));
    tree.add("certificate.yaml", &Custom { api_version: API, kind: "Certificate", metadata, spec });
}

/// What is left of a certificate's life when somebody is woken: half of what whoever renews it should have left, or a week.
pub(super) fn worth_an_alert(fleet: &Fleet) -> Duration {
    match &fleet.trust {
        Trust::CertManager { duration, renew_before, .. } => renewed_before(duration, renew_before.as_ref()) / 2,
        Trust::Secret { .. } | Trust::Insecure => Duration::from_secs(7 * 86_400),
    }
}

fn renewed_before(duration: &Lifetime, renew_before: Option<&Lifetime>) -> Duration {
    let third = duration.span().unwrap_or_default() / 3;
    renew_before.and_then(Lifetime::span).unwrap_or(third)
}

/// The volume with the folder; `None` where nothing is encrypted.
pub(super) fn volume(scene: &Scene<'_>) -> Option<Volume> {
    if !scene.fleet.trust.is_in_force() {
        return None;
    }
    let bundle = scene.fleet.trust.bundle();
    let own: &[&str] = if bundle.is_some() { &[CERTIFICATE, KEY] } else { &[CERTIFICATE, KEY, ROOTS] };
    let secret = SecretProjection {
        items: Some(own.iter().map(|key| at(key, key)).collect()),
        name: scene.fleet.certificate_name(scene.site),
        optional: None,
    };
    let mut sources = vec![VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }];
    if let Some(bundle) = bundle {
        let roots = ConfigMapProjection {
            items: Some(vec![at(&bundle.key, ROOTS)]),
            name: bundle.config_map.clone(),
            optional: None,
        };
        sources.push(VolumeProjection { config_map: Some(roots), ..VolumeProjection::default() });
    }
    Some(Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(FILE_MODE), sources: Some(sources) }),
        ..Volume::default()
    })
}

fn at(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), mode: None, path: path.to_owned() }
}

/// A duration as Go itself writes it, so that whoever writes it back changes nothing.
fn as_go_writes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}h{minutes}m{seconds}s") } else { format!("{minutes}m{seconds}s") }
}

/// How Prometheus asks the stores of a site: by TLS, with a certificate of its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScrapeTls {
    server_name: String,
    ca: FromSecret,
    cert: FromSecret,
    key_secret: SecretKey,
}

#[derive(Serialize)]
struct FromSecret {
    secret: SecretKey,
}

#[derive(Serialize)]
struct SecretKey {
    name: String,
    key: &'static str,
}

/// What a ServiceMonitor says of TLS; `None` where nothing is encrypted.
pub(super) fn scrape(scene: &Scene<'_>) -> Option<ScrapeTls> {
    let fleet = scene.fleet;
    let server_name = fleet.certified_host(scene.site)?;
    let name = fleet.observability.certificate.clone()?;
    let of = |key| SecretKey { name: name.clone(), key };
    Some(ScrapeTls {
        server_name,
        ca: FromSecret { secret: of(ROOTS) },
        cert: FromSecret { secret: of(CERTIFICATE) },
        key_secret: of(KEY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let written = |seconds| as_go_writes(Duration::from_secs(seconds));
        assert_eq!(written(30 * 24 * 3600), "720h0m0s");
        assert_eq!(written(3600 + 62), "1h1m2s");
        assert_eq!(written(300), "5m0s");
    }
}
