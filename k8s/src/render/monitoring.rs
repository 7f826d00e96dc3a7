//! What Prometheus' operator reads: where to find the stores, and what is worth waking somebody for.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::limits;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;

use super::certificates::{self, ScrapeTls};
use super::connectivity::Custom;
use super::labels::{SCRAPED, labels};
use super::{Scene, SiteTree};

const API: &str = "monitoring.coreos.com/v1";
/// A rotation of the root takes days where people take part in it.
const ROOT_ENDS_WITHIN: Duration = Duration::from_secs(30 * 86_400);

#[derive(Serialize)]
struct MonitorSpec {
    selector: LabelSelector,
    endpoints: Vec<Scraped>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scraped {
    port: &'static str,
    path: &'static str,
    interval: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_config: Option<ScrapeTls>,
}

#[derive(Serialize)]
struct RuleSpec {
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    name: String,
    rules: Vec<Alert>,
}

#[derive(Serialize)]
struct Alert {
    alert: &'static str,
    expr: String,
    #[serde(rename = "for")]
    lasting: &'static str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Adds what the fleet file asks for.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    if scene.fleet.observability.service_monitor {
        tree.add("service-monitor.yaml", &monitor(scene));
    }
    if scene.fleet.observability.rules {
        tree.add("prometheus-rule.yaml", &rules(scene));
    }
}

fn monitor(scene: &Scene<'_>) -> Custom<MonitorSpec> {
    let selector = LabelSelector { match_labels: Some(labels([(SCRAPED, scene.name())])), ..LabelSelector::default() };
    let tls_config = certificates::scrape(scene);
    let scheme = tls_config.is_some().then_some("https");
    let endpoints =
        vec![Scraped { port: scene.metrics_port().0, path: "/metrics", interval: "15s", scheme, tls_config }];
    let metadata = scene.metadata(scene.name());
    Custom { api_version: API, kind: "ServiceMonitor", metadata, spec: MonitorSpec { selector, endpoints } }
}

fn rules(scene: &Scene<'_>) -> Custom<RuleSpec> {
    let stores = format!("namespace=\"{}\",job=\"{}\"", scene.fleet.namespace, scene.set_name());
    let mut alerts = vec![
        alert(
            "HoldfastRangesWithoutLeader",
            format!("max(holdfast_replicas_without_leader{{{stores}}}) > 0"),
            "30s",
            "critical",
            "Ranges are led by no store that this site knows of: their keys can be neither read nor written.",
        ),
        alert(
            "HoldfastStoreGone",
            format!("up{{{stores}}} == 0"),
            "1m",
            "critical",
            "A store does not answer: one more loss may be one too many.",
        ),
        alert(
            "HoldfastStoresMissing",
            format!("count(up{{{stores}}}) < {}", scene.shape.stores),
            "5m",
            "warning",
            "The site has fewer stores than the fleet file says.",
        ),
        alert(
            "HoldfastStoreComplains",
            format!("holdfast_complaints{{{stores}}} > 0"),
            "1m",
            "warning",
            "A thread or a disk of a store is late: it is not fit to lead.",
        ),
        alert(
            "HoldfastStoreNoMember",
            format!("holdfast_member{{{stores}}} == 0"),
            "5m",
            "warning",
            "A store does not become a member of the fleet: its log says why.",
        ),
        alert(
            "HoldfastOverload",
            format!("holdfast_mailbox_events{{{stores}}} > 10000"),
            "1m",
            "warning",
            "A store has more to do than it can.",
        ),
    ];
    alerts.extend(alerts_on_certificates(scene, &stores));
    let group = Group { name: format!("holdfast-{}", scene.set_name()), rules: alerts };
    let metadata = scene.metadata(scene.name());
    Custom { api_version: API, kind: "PrometheusRule", metadata, spec: RuleSpec { groups: vec![group] } }
}

fn alert(alert: &'static str, expr: String, lasting: &'static str, severity: &str, summary: &str) -> Alert {
    Alert {
        alert,
        expr,
        lasting,
        labels: labels([("severity", severity)]),
        annotations: labels([("summary", summary)]),
    }
}

fn alerts_on_certificates(scene: &Scene<'_>, stores: &str) -> Vec<Alert> {
    if !scene.fleet.trust.is_in_force() {
        return Vec::new();
    }
    let ends_within = certificates::worth_an_alert(scene.fleet).as_secs();
    vec![
        alert(
            "HoldfastCertificateNotTaken",
            format!("holdfast_trust_reload_refused{{{stores}}} > 0"),
            "10m",
            "warning",
            "A store does not take the certificate that it was given and uses the old one while that lasts: its log says why.",
        ),
        alert(
            "HoldfastCertificateEnds",
            format!("holdfast_certificate_expires_seconds{{{stores}}} - time() < {ends_within}"),
            "10m",
            "critical",
            "The certificate of a store is about to end and nobody has renewed it: without one the store is lost to the fleet.",
        ),
        alert(
            "HoldfastRootEnds",
            format!("holdfast_root_expires_seconds{{{stores}}} - time() < {}", ROOT_ENDS_WITHIN.as_secs()),
            "1h",
            "warning",
            "A root that the stores trust ends soon: whatever it has signed is worth nothing then. Rotate it.",
        ),
        alert(
            "HoldfastRightsStale",
            format!("holdfast_rights_age_seconds{{{stores}}} > {}", limits::RIGHTS_STALE_AFTER.as_secs()),
            "1m",
            "warning",
            "A store cannot look whether rights have changed and goes by what it knew: what was revoked may still be done through it.",
        ),
        alert(
            "HoldfastSiteDistrusted",
            format!("holdfast_distrusted_by_stores{{{stores}}} > 0"),
            "1m",
            "critical",
            "Other stores refuse this one because its site is distrusted: docs/runbooks/distrust-site.md says what to do.",
        ),
    ]
}
