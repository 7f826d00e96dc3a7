//! Calico: the sites announce their pod networks to each other by BGP, and addresses are mirrored as in flat-mirror.
//!
//! Calico must know the networks of the others, or it would hide its pods behind the address of their machine on the way there: a disabled pool for
//! each says so. The BGP sessions themselves belong to whoever runs the network.

use serde::Serialize;

use super::{Custom, FILE, Scene, SiteTree, flat_mirror};

/// An IPPool of Calico's that hands out no addresses.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolSpec {
    cidr: String,
    disabled: bool,
    nat_outgoing: bool,
}

/// Adds the pools and the mirrored Services.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    for site in scene.fleet.sites.iter().filter(|site| site.name != scene.site.name) {
        for (index, cidr) in site.pod_cidrs.iter().enumerate() {
            let pool = Custom {
                api_version: "projectcalico.org/v3",
                kind: "IPPool",
                metadata: scene.metadata_outside(format!("{}-pods-{index}", scene.fleet.set_name(site))),
                spec: PoolSpec { cidr: cidr.text().to_owned(), disabled: true, nat_outgoing: false },
            };
            tree.add(FILE, &pool);
        }
    }
    flat_mirror::add(scene, tree);
}
