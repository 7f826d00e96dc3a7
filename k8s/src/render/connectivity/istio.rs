//! Istio, multi-primary, in its ambient form: Services of the same name are one over all sites, through east-west gateways.
//!
//! Host names of pods do not resolve across sites, so each store has a Service with an address of its own. Ambient, because a sidecar wants rights
//! that a restricted namespace refuses. Every byte passes a proxy on each machine and a gateway in each site.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::super::labels::{CLIENT, Labels, SITE, labels};
use super::super::network_policy::{End, block, let_in, namespace, pods, selector, tcp};
use super::super::services::store_ports;
use super::{FILE, OtherSites, PodServices, Scene, SiteTree};
use crate::fleet::amounts::Cidr;

/// The label that joins Services of one name.
const GLOBAL: (&str, &str) = ("istio.io/global", "true");
/// Where Istio itself runs.
const ISTIO_NAMESPACE: &str = "istio-system";
/// The port of the tunnel between machines.
const TUNNEL_PORT: u16 = 15_008;
/// Where probes come from when the mesh is between them and the pod.
const PROBES: &str = "169.254.7.127/32";

/// The namespace is in the mesh.
pub(super) fn namespace_labels() -> Labels {
    labels([("istio.io/dataplane-mode", "ambient")])
}

/// The Services of a site's own stores.
pub(super) fn pod_services() -> PodServices {
    PodServices { labels: labels([GLOBAL]), ..PodServices::default() }
}

/// Adds the Services of the other sites' stores: they select nothing here.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    for (site, ordinal) in scene.fleet.remote_pods(scene.site) {
        let name = scene.fleet.pod_name(site, ordinal);
        let mut metadata = scene.metadata(&name);
        metadata.labels.get_or_insert_default().extend(labels([GLOBAL, (SITE, &site.name)]));
        let service = Service {
            metadata,
            spec: Some(ServiceSpec {
                ports: Some(store_ports(scene)),
                publish_not_ready_addresses: Some(true),
                selector: Some(labels([("statefulset.kubernetes.io/pod-name", &name)])),
                ..ServiceSpec::default()
            }),
            status: None,
        };
        tree.add(FILE, &service);
    }
}

/// Everything between pods of the mesh is in its tunnel, whichever site they are in: also what programs in the mesh send. What goes to another site
/// goes to the address of its gateway, which nobody knows when this is rendered; the mesh itself decides who may use the tunnel.
pub(super) fn other_sites(scene: &Scene<'_>) -> OtherSites {
    let tunnel = || tcp(&[TUNNEL_PORT]);
    let programs = pods(selector([(CLIENT, scene.name())]));
    let programs = End { namespace_selector: Some(LabelSelector::default()), ..programs };
    let any_pod = vec![pods(LabelSelector::default()), namespace(ISTIO_NAMESPACE), programs];
    OtherSites {
        ingress: vec![
            let_in(any_pod, tunnel()),
            let_in(vec![block(&Cidr::new(PROBES))], tcp(&[scene.fleet.ports.http])),
        ],
        egress: vec![NetworkPolicyEgressRule { ports: Some(tunnel()), to: None }],
        ..OtherSites::default()
    }
}
