//! Istio, multi-primary, in its ambient form: Services of the same name are one over all sites, through east-west gateways.
//!
//! Host names of pods do not resolve across sites, so each store has a Service with an address of its own. Ambient, because a sidecar wants rights
//! that a restricted namespace refuses. Every byte passes a proxy on each machine and a gateway in each site.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::super::labels::{Labels, SITE, labels};
use super::super::network_policy::{block, let_in, let_out, namespace, pods, tcp};
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

/// Everything between pods of the mesh is in its tunnel, whichever site they are in.
pub(super) fn other_sites(scene: &Scene<'_>) -> OtherSites {
    let tunnel = || tcp(&[TUNNEL_PORT]);
    let any_pod = || vec![pods(LabelSelector::default()), namespace(ISTIO_NAMESPACE)];
    OtherSites {
        ingress: vec![
            let_in(any_pod(), tunnel()),
            let_in(vec![block(&Cidr::new(PROBES))], tcp(&[scene.fleet.ports.http])),
        ],
        egress: vec![let_out(any_pod(), tunnel())],
        ..OtherSites::default()
    }
}
