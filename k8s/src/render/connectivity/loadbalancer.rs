//! A load balancer for each store, and a name for it in a DNS zone that external-dns writes. No flat network is needed.
//!
//! It costs one load balancer for each store, and a name that takes as long to change as DNS does. The store's own address stays the source of
//! what it sends, or that of the site's gateway: the fleet file lists those networks.

use super::super::labels::Labels;
use super::super::network_policy::block;
use super::{OtherSites, PodServices, Scene};
use crate::fleet::amounts::Cidr;

/// The annotations that external-dns reads: the first up to its version 0.21, the second from 0.22 on.
const HOSTNAMES: [&str; 2] = ["external-dns.alpha.kubernetes.io/hostname", "external-dns.kubernetes.io/hostname"];
/// Where load balancers of other sites are is not known before they are made.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The Services of a site's own stores.
pub(super) fn pod_services(zone: &str, annotations: &Labels) -> PodServices {
    PodServices {
        is_load_balancer: true,
        annotations: annotations.clone(),
        published: Some((HOSTNAMES, zone.to_owned())),
        ..PodServices::default()
    }
}

/// Connections come from the networks that the file lists, those of this site too: its stores use the same names.
pub(super) fn other_sites(scene: &Scene<'_>, source_cidrs: &[Cidr]) -> OtherSites {
    let own = scene.site.pod_cidrs.iter();
    OtherSites {
        from: source_cidrs.iter().chain(own).map(block).collect(),
        to: EVERYWHERE.map(|cidr| block(&Cidr::new(cidr))).into(),
        ..OtherSites::default()
    }
}
