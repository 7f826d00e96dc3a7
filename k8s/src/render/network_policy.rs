//! Who may talk to whom: nobody, but for the connections that a fleet lives by.
//!
//! | to stores from | ports |
//! |---|---|
//! | stores of this site | clients, stores, heartbeats |
//! | stores of other sites, as the mode has them arrive | clients, stores, heartbeats |
//! | pods with the label `holdfast.dev/client: FLEET`, in any namespace | clients |
//! | the namespace of Prometheus | metrics; http where nothing is encrypted |
//!
//! Stores themselves reach stores, and DNS. The machine that a pod runs on reaches it always, so that probes work.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::connectivity::{self, OtherSites};
use super::labels::{CLIENT, labels};
use super::{Scene, SiteTree};
use crate::fleet::amounts::Cidr;

const FILE: &str = "network-policy.yaml";

/// One end of a connection.
pub(crate) type End = NetworkPolicyPeer;

/// The policies of the namespace.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    tree.add(FILE, &deny_all(scene));
    tree.add(FILE, &stores(scene));
}

fn both() -> Option<Vec<String>> {
    Some(vec!["Ingress".to_owned(), "Egress".to_owned()])
}

fn deny_all(scene: &Scene<'_>) -> NetworkPolicy {
    NetworkPolicy {
        metadata: scene.metadata(format!("{}-default-deny", scene.name())),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: both(),
            ..NetworkPolicySpec::default()
        }),
    }
}

fn stores(scene: &Scene<'_>) -> NetworkPolicy {
    let ports = scene.fleet.ports;
    let between = || tcp(&[ports.clients, ports.stores, ports.heartbeats()]);
    let own = vec![pods(scene.stores())];
    let programs =
        End { namespace_selector: Some(LabelSelector::default()), ..pods(selector([(CLIENT, scene.name())])) };
    let prometheus = namespace(&scene.fleet.observability.namespace);
    let OtherSites { from, to, ingress, egress } = connectivity::other_sites(scene);
    let mut incoming = vec![
        let_in(own.clone(), between()),
        let_in(vec![programs], tcp(&[ports.clients])),
        let_in(vec![prometheus], tcp(&[scene.metrics_port().1])),
    ];
    if !from.is_empty() {
        incoming.push(let_in(from, between()));
    }
    incoming.extend(ingress);
    let mut outgoing = vec![let_out(own, between()), dns()];
    if !to.is_empty() {
        outgoing.push(let_out(to, between()));
    }
    outgoing.extend(egress);
    NetworkPolicy {
        metadata: scene.metadata(format!("{}-stores", scene.name())),
        spec: Some(NetworkPolicySpec {
            egress: Some(outgoing),
            ingress: Some(incoming),
            pod_selector: Some(scene.stores()),
            policy_types: both(),
        }),
    }
}

/// Where DNS answers differs: pods, a cache on the machine, an address of the provider. So the port is what is let through.
fn dns() -> NetworkPolicyEgressRule {
    let port = |protocol: &str| NetworkPolicyPort { protocol: Some(protocol.to_owned()), ..tcp_port(53) };
    NetworkPolicyEgressRule { ports: Some(vec![port("UDP"), port("TCP")]), to: None }
}

/// A rule for what comes in.
pub(crate) fn let_in(from: Vec<End>, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(from), ports: Some(ports) }
}

/// A rule for what goes out.
pub(crate) fn let_out(to: Vec<End>, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { ports: Some(ports), to: Some(to) }
}

/// Ports over TCP.
pub(crate) fn tcp(numbers: &[u16]) -> Vec<NetworkPolicyPort> {
    numbers.iter().copied().map(tcp_port).collect()
}

fn tcp_port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

/// Pods of the same namespace.
pub(crate) fn pods(selector: LabelSelector) -> End {
    End { pod_selector: Some(selector), ..End::default() }
}

/// All pods of a namespace.
pub(crate) fn namespace(name: &str) -> End {
    let selector = selector([("kubernetes.io/metadata.name", name)]);
    End { namespace_selector: Some(selector), ..End::default() }
}

/// Addresses.
pub(crate) fn block(cidr: &Cidr) -> End {
    End { ip_block: Some(IPBlock { cidr: cidr.text().to_owned(), except: None }), ..End::default() }
}

/// A selector by labels.
pub(crate) fn selector<const N: usize>(pairs: [(&str, &str); N]) -> LabelSelector {
    LabelSelector { match_labels: Some(labels(pairs)), ..LabelSelector::default() }
}
