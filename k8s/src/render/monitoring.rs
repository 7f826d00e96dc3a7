//! What Prometheus' operator reads: where to find the stores, and what is worth waking somebody for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;

use super::connectivity::Custom;
use super::labels::{SCRAPED, labels};
use super::{Scene, SiteTree};

const API: &str = "monitoring.coreos.com/v1";

#[derive(Serialize)]
struct MonitorSpec {
    selector: LabelSelector,
    endpoints: Vec<Scraped>,
}

#[derive(Serialize)]
struct Scraped {
    port: &'static str,
    path: &'static str,
    interval: &'static str,
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
    let endpoints = vec![Scraped { port: "http", path: "/metrics", interval: "15s" }];
    let metadata = scene.metadata(scene.name());
    Custom { api_version: API, kind: "ServiceMonitor", metadata, spec: MonitorSpec { selector, endpoints } }
}

fn rules(scene: &Scene<'_>) -> Custom<RuleSpec> {
    let stores = format!("namespace=\"{}\",job=\"{}\"", scene.fleet.namespace, scene.set_name());
    let alert = |alert, expr: String, lasting, severity: &str, summary: &str| Alert {
        alert,
        expr,
        lasting,
        labels: labels([("severity", severity)]),
        annotations: labels([("summary", summary)]),
    };
    let alerts = vec![
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
    let group = Group { name: format!("holdfast-{}", scene.set_name()), rules: alerts };
    let metadata = scene.metadata(scene.name());
    Custom { api_version: API, kind: "PrometheusRule", metadata, spec: RuleSpec { groups: vec![group] } }
}
