//! A Grafana dashboard, in a ConfigMap with the label that Grafana's loader looks for.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::Scene;
use super::labels::labels;

/// Panels stand two beside each other on a grid of 24 columns.
const PANEL_WIDTH: u32 = 12;
const PANEL_HEIGHT: u32 = 8;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dashboard {
    title: String,
    uid: String,
    tags: [&'static str; 1],
    schema_version: u32,
    refresh: &'static str,
    time: Times,
    templating: Templating,
    panels: Vec<Panel>,
}

#[derive(Serialize)]
struct Times {
    from: &'static str,
    to: &'static str,
}

#[derive(Serialize)]
struct Templating {
    list: Vec<Variable>,
}

#[derive(Serialize)]
struct Variable {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    query: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    description: &'static str,
    datasource: Source,
    grid_pos: Position,
    field_config: FieldConfig,
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Source {
    #[serde(rename = "type")]
    kind: &'static str,
    uid: &'static str,
}

#[derive(Serialize)]
struct Position {
    h: u32,
    w: u32,
    x: u32,
    y: u32,
}

#[derive(Serialize)]
struct FieldConfig {
    defaults: Defaults,
}

#[derive(Serialize)]
struct Defaults {
    unit: &'static str,
    min: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: &'static str,
    expr: String,
    legend_format: &'static str,
}

/// What one panel shows.
struct Shown {
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    expr: String,
    legend: &'static str,
}

/// The ConfigMap with the dashboard.
pub(super) fn config_map(scene: &Scene<'_>) -> ConfigMap {
    let mut metadata = scene.metadata(format!("{}-dashboard", scene.name()));
    metadata.labels.get_or_insert_default().insert("grafana_dashboard".to_owned(), "1".to_owned());
    let text = serde_json::to_string_pretty(&dashboard(scene)).expect("texts and numbers");
    let file = format!("holdfast-{}.json", scene.name());
    ConfigMap { data: Some(labels([(&file, &text)])), metadata, ..ConfigMap::default() }
}

fn dashboard(scene: &Scene<'_>) -> Dashboard {
    let panels = (0..).zip(shown(&scene.fleet.namespace)).map(|(place, shown)| panel(place, shown)).collect();
    Dashboard {
        title: format!("Holdfast {}", scene.name()),
        uid: format!("holdfast-{}", scene.name()),
        tags: ["holdfast"],
        schema_version: 39,
        refresh: "10s",
        time: Times { from: "now-1h", to: "now" },
        templating: Templating { list: vec![Variable { name: "datasource", kind: "datasource", query: "prometheus" }] },
        panels,
    }
}

fn shown(namespace: &str) -> Vec<Shown> {
    let of = format!("namespace=\"{namespace}\"");
    let shown = |title, description, unit, expr, legend| Shown { title, description, unit, expr, legend };
    vec![
        shown(
            "Replicas without a leader",
            "Above 0 for longer than an election: keys that can be neither read nor written",
            "short",
            format!("sum by (site, store) (holdfast_replicas_without_leader{{{of}}})"),
            "{{site}} {{store}}",
        ),
        shown(
            "Stores",
            "Members of the fleet that answer",
            "short",
            format!("sum by (site) (holdfast_member{{{of}}})"),
            "{{site}}",
        ),
        shown(
            "Requests",
            "Answered in a second, by kind",
            "reqps",
            format!("sum by (kind) (rate(holdfast_requests_total{{{of}}}[1m]))"),
            "{{kind}}",
        ),
        shown(
            "Requests that did not succeed",
            "By how they ended",
            "reqps",
            format!("sum by (ending) (rate(holdfast_requests_total{{{of},ending!=\"ok\"}}[1m]))"),
            "{{ending}}",
        ),
        shown(
            "Latency, 99th percentile",
            "In the store that answered, by kind",
            "s",
            format!("histogram_quantile(0.99, sum by (kind, le) (rate(holdfast_request_seconds_bucket{{{of}}}[1m])))"),
            "{{kind}}",
        ),
        shown(
            "Leaders",
            "Ranges that each store leads",
            "short",
            format!("sum by (site, store) (holdfast_leaders{{{of}}})"),
            "{{site}} {{store}}",
        ),
        shown(
            "Traffic between sites",
            "Bytes sent in a second",
            "Bps",
            format!("sum by (from_site, to_site) (rate(holdfast_traffic_bytes_total{{{of},direction=\"sent\"}}[1m]))"),
            "{{from_site}} to {{to_site}}",
        ),
        shown(
            "Complaints",
            "Threads and disks that are late",
            "short",
            format!("sum by (site, store) (holdfast_complaints{{{of}}})"),
            "{{site}} {{store}}",
        ),
    ]
}

fn panel(place: u32, shown: Shown) -> Panel {
    Panel {
        id: place + 1,
        kind: "timeseries",
        title: shown.title,
        description: shown.description,
        datasource: Source { kind: "prometheus", uid: "${datasource}" },
        grid_pos: Position { h: PANEL_HEIGHT, w: PANEL_WIDTH, x: place % 2 * PANEL_WIDTH, y: place / 2 * PANEL_HEIGHT },
        field_config: FieldConfig { defaults: Defaults { unit: shown.unit, min: 0 } },
        targets: vec![Target { ref_id: "A", expr: shown.expr, legend_format: shown.legend }],
    }
}
