//! Skupper v2: routers in each site, linked over one TLS port, carry the connections. No flat network is needed.
//!
//! A Connector offers the stores of this site, by the names of their pods; a Listener for each other site makes Services of the same names. Links
//! between the sites are made once, by tokens, and are not rendered: a token is a secret. Every byte passes two routers.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;

use super::super::labels::{FLEET, SITE};
use super::super::network_policy::{End, pods, selector, tcp};
use super::{Custom, FILE, OtherSites, Scene, SiteTree};

const API: &str = "skupper.io/v2alpha1";
/// Where a router takes links from other routers.
const LINK_PORTS: [u16; 2] = [55_671, 45_671];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SiteSpec {
    link_access: &'static str,
    ha: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectorSpec {
    routing_key: String,
    selector: String,
    port: u16,
    expose_pods_by_name: bool,
    include_not_ready_pods: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListenerSpec {
    routing_key: String,
    host: String,
    port: u16,
    expose_pods_by_name: bool,
}

/// Adds the site of Skupper, the Connectors of this site and the Listeners for the others.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    let fleet = scene.fleet;
    let ports =
        [("clients", fleet.ports.clients), ("stores", fleet.ports.stores), ("heartbeats", fleet.ports.heartbeats())];
    let site = Custom {
        api_version: API,
        kind: "Site",
        metadata: scene.metadata(scene.set_name()),
        spec: SiteSpec { link_access: "default", ha: true },
    };
    tree.add(FILE, &site);
    tree.add(FILE, &router_policy(scene));
    for (purpose, port) in ports {
        let key = format!("{}-{purpose}", scene.set_name());
        let spec = ConnectorSpec {
            routing_key: key.clone(),
            selector: format!("app.kubernetes.io/component=store,{FLEET}={},{SITE}={}", fleet.name, scene.site.name),
            port,
            expose_pods_by_name: true,
            include_not_ready_pods: true,
        };
        tree.add(FILE, &Custom { api_version: API, kind: "Connector", metadata: scene.metadata(key), spec });
    }
    for other in fleet.sites.iter().filter(|site| site.name != scene.site.name) {
        for (purpose, port) in ports {
            let host = fleet.set_name(other);
            let key = format!("{host}-{purpose}");
            let spec = ListenerSpec { routing_key: key.clone(), host, port, expose_pods_by_name: true };
            tree.add(FILE, &Custom { api_version: API, kind: "Listener", metadata: scene.metadata(key), spec });
        }
    }
}

/// Connections of other sites come from the router in the same namespace, and go to it: on ports that it chooses itself.
pub(super) fn other_sites() -> OtherSites {
    let egress = NetworkPolicyEgressRule { ports: None, to: Some(routers()) };
    OtherSites { from: routers(), egress: vec![egress], ..OtherSites::default() }
}

fn router() -> LabelSelector {
    selector([("skupper.io/component", "router")])
}

fn routers() -> Vec<End> {
    vec![pods(router())]
}

/// The router works in the namespace of the fleet, which denies everything: it takes links from anywhere and what stores send, and reaches other
/// routers wherever they are.
fn router_policy(scene: &Scene<'_>) -> NetworkPolicy {
    let from_stores = NetworkPolicyIngressRule { from: Some(vec![pods(scene.stores())]), ports: None };
    let links = NetworkPolicyIngressRule { from: None, ports: Some(tcp(&LINK_PORTS)) };
    NetworkPolicy {
        metadata: scene.metadata(format!("{}-router", scene.name())),
        spec: Some(NetworkPolicySpec {
            egress: Some(vec![NetworkPolicyEgressRule::default()]),
            ingress: Some(vec![from_stores, links]),
            pod_selector: Some(router()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        }),
    }
}
