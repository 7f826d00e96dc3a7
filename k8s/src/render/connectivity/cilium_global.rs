//! Cilium ClusterMesh: a Service of the same name in every site is one Service over all of them.
//!
//! The Service of a store is rendered alike in all sites. In its own the selector matches the pod; in the others it matches nothing, and Cilium adds
//! the pod behind the local address. A pod of another site has an identity rather than an address, so a policy of Cilium's own lets it in.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde::Serialize;

use super::super::labels::{FLEET, SITE, labels};
use super::super::services::store_ports;
use super::{Custom, FILE, PodServices, Scene, SiteTree};
use crate::fleet::Site;
use crate::fleet::names::Ordinal;

/// The annotation that joins Services of one name.
const GLOBAL: &str = "service.cilium.io/global";
/// The label that Cilium gives to every pod: the name of its mesh member.
const MEMBER: &str = "io.cilium.k8s.policy.cluster";
/// Pods of the same namespace, as Cilium calls it.
const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";

/// The Services of a site's own stores.
pub(super) fn pod_services() -> PodServices {
    PodServices { annotations: labels([(GLOBAL, "true")]), ..PodServices::default() }
}

/// Adds the Services of the other sites' stores, and the policy for them.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    for (site, ordinal) in scene.fleet.remote_pods(scene.site) {
        tree.add(FILE, &of_pod(scene, site, ordinal));
    }
    tree.add(FILE, &policy(scene));
}

fn of_pod(scene: &Scene<'_>, site: &Site, ordinal: Ordinal) -> Service {
    let name = scene.fleet.pod_name(site, ordinal);
    let mut metadata = scene.metadata(&name);
    metadata.annotations = Some(labels([(GLOBAL, "true")]));
    metadata.labels.get_or_insert_default().insert(SITE.to_owned(), site.name.clone());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            ports: Some(store_ports(scene)),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels([("statefulset.kubernetes.io/pod-name", &name)])),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicySpec {
    endpoint_selector: Selector,
    ingress: Vec<Ingress>,
    egress: Vec<Egress>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Expression>,
}

#[derive(Serialize)]
struct Expression {
    key: &'static str,
    operator: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ingress {
    from_endpoints: Vec<Selector>,
    to_ports: Vec<Ports>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Egress {
    to_endpoints: Vec<Selector>,
    to_ports: Vec<Ports>,
}

#[derive(Serialize)]
struct Ports {
    ports: Vec<Port>,
}

#[derive(Serialize)]
struct Port {
    port: String,
    protocol: &'static str,
}

/// Stores of the fleet, in whichever member of the mesh.
fn policy(scene: &Scene<'_>) -> Custom<PolicySpec> {
    let stores = || Selector {
        match_labels: labels([
            ("k8s:app.kubernetes.io/component", "store"),
            (&format!("k8s:{FLEET}"), scene.name()),
            (NAMESPACE, &scene.fleet.namespace),
        ]),
        match_expressions: vec![Expression { key: MEMBER, operator: "Exists" }],
    };
    let ports = || {
        let fleets = scene.fleet.ports;
        let port = |number: u16| Port { port: number.to_string(), protocol: "TCP" };
        vec![Ports { ports: [fleets.clients, fleets.stores, fleets.heartbeats()].map(port).into() }]
    };
    Custom {
        api_version: "cilium.io/v2",
        kind: "CiliumNetworkPolicy",
        metadata: scene.metadata(format!("{}-other-sites", scene.name())),
        spec: PolicySpec {
            endpoint_selector: Selector { match_labels: scene.store_selector(), match_expressions: Vec::new() },
            ingress: vec![Ingress { from_endpoints: vec![stores()], to_ports: ports() }],
            egress: vec![Egress { to_endpoints: vec![stores()], to_ports: ports() }],
        },
    }
}
