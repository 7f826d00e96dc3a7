//! How stores of different sites reach each other: one file a mode.
//!
//! A mode decides four things: what kind of Service each store has in its own site, what stands for it in the others, how connections of the others
//! arrive (for the NetworkPolicy), and labels of the namespace. Addresses are in [`names`](crate::fleet::names): one for each store, which all
//! sites use.

mod calico_bgp;
mod cilium_global;
mod flat_dns;
mod flat_mirror;
mod istio;
mod loadbalancer;
mod mcs;
mod skupper;

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::labels::Labels;
use super::network_policy::{End, block};
use super::{Scene, SiteTree};
use crate::fleet::Connectivity;
use crate::fleet::amounts::Cidr;

/// The file with what stands for the stores of other sites.
const FILE: &str = "other-sites.yaml";

/// What kind of Service each store of a site has.
#[derive(Default)]
pub(super) struct PodServices {
    /// A name only, which leads to the pod's own address.
    pub(super) is_headless: bool,
    /// A load balancer of its own.
    pub(super) is_load_balancer: bool,
    /// Annotations of all of them.
    pub(super) annotations: Labels,
    /// Labels of all of them.
    pub(super) labels: Labels,
    /// The annotations that publish the pod's name in a DNS zone, and the zone.
    pub(super) published: Option<([&'static str; 2], String)>,
}

/// How connections from and to other sites look from inside a site.
#[derive(Default)]
pub(super) struct OtherSites {
    /// Where they come from, on the ports of stores.
    pub(super) from: Vec<End>,
    /// Where they go to, on the ports of stores.
    pub(super) to: Vec<End>,
    /// Rules on other ports.
    pub(super) ingress: Vec<NetworkPolicyIngressRule>,
    /// Rules on other ports.
    pub(super) egress: Vec<NetworkPolicyEgressRule>,
}

/// An object of a kind that Kubernetes itself does not have.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Custom<S> {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) metadata: ObjectMeta,
    pub(super) spec: S,
}

/// Adds what stands for the stores of other sites, and what makes those of this one known there.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    match &scene.fleet.connectivity {
        Connectivity::FlatMirror => flat_mirror::add(scene, tree),
        Connectivity::FlatDns => flat_dns::add(scene, tree),
        Connectivity::CiliumGlobal => cilium_global::add(scene, tree),
        Connectivity::Mcs { api_version } => mcs::add(scene, *api_version, tree),
        Connectivity::CalicoBgp => calico_bgp::add(scene, tree),
        Connectivity::Skupper => skupper::add(scene, tree),
        Connectivity::Istio => istio::add(scene, tree),
        // The names are in a DNS zone that all sites ask.
        Connectivity::Loadbalancer { .. } => {}
    }
}

/// Where a store says that it is reached, with `$(POD_NAME)` and `$(POD_IP)` for what differs. Where pods of all sites route to each other and names
/// of other sites stand for mirrored addresses, it is the pod's own address: a store that comes back with another one tells it to the others itself,
/// and needs nobody who mirrors it first.
pub(super) fn advertised_host(scene: &Scene<'_>) -> String {
    if !scene.fleet.is_mirrored() {
        return scene.fleet.host_of(scene.site, "$(POD_NAME)");
    }
    let first = scene.site.pod_cidrs.first().and_then(Cidr::net);
    if first.is_some_and(|net| net.addr().is_ipv6()) { "[$(POD_IP)]".to_owned() } else { "$(POD_IP)".to_owned() }
}

/// What the mode wants the namespace to be labelled with.
pub(super) fn namespace_labels(scene: &Scene<'_>) -> Labels {
    match &scene.fleet.connectivity {
        Connectivity::Istio => istio::namespace_labels(),
        _ => Labels::new(),
    }
}

/// The Services of the site's own stores.
pub(super) fn pod_services(scene: &Scene<'_>) -> PodServices {
    match &scene.fleet.connectivity {
        Connectivity::FlatMirror | Connectivity::FlatDns | Connectivity::Mcs { .. } | Connectivity::CalicoBgp => {
            PodServices { is_headless: true, ..PodServices::default() }
        }
        Connectivity::CiliumGlobal => cilium_global::pod_services(),
        Connectivity::Skupper => PodServices::default(),
        Connectivity::Istio => istio::pod_services(),
        Connectivity::Loadbalancer { zone, annotations, .. } => loadbalancer::pod_services(zone, annotations),
    }
}

/// Connections from and to other sites.
pub(super) fn other_sites(scene: &Scene<'_>) -> OtherSites {
    match &scene.fleet.connectivity {
        Connectivity::FlatMirror | Connectivity::FlatDns | Connectivity::Mcs { .. } | Connectivity::CalicoBgp => {
            flat(scene)
        }
        // Cilium knows pods of other sites by their labels, and its own policy names them.
        Connectivity::CiliumGlobal => OtherSites::default(),
        Connectivity::Skupper => skupper::other_sites(),
        Connectivity::Istio => istio::other_sites(scene),
        Connectivity::Loadbalancer { source_cidrs, .. } => loadbalancer::other_sites(scene, source_cidrs),
    }
}

/// Pods of other sites come with their own addresses.
fn flat(scene: &Scene<'_>) -> OtherSites {
    let others = scene.fleet.sites.iter().filter(|site| site.name != scene.site.name);
    let blocks: Vec<_> = others.flat_map(|site| site.pod_cidrs.iter().map(block)).collect();
    OtherSites { from: blocks.clone(), to: blocks, ..OtherSites::default() }
}
