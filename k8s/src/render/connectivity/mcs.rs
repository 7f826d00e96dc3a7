//! The MCS API: each site exports the headless Service of its stores, and the others find the pods below `clusterset.local`.
//!
//! The name of a site in the fleet file must be its name in the set that the implementation keeps: it is part of the addresses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{FILE, Scene, SiteTree};
use crate::fleet::McsVersion;

/// An export has a name and nothing else.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceExport {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
}

/// Adds the export.
pub(super) fn add(scene: &Scene<'_>, version: McsVersion, tree: &mut SiteTree) {
    let api_version = match version {
        McsVersion::V1Alpha1 => "multicluster.x-k8s.io/v1alpha1",
        McsVersion::V1Beta1 => "multicluster.x-k8s.io/v1beta1",
        McsVersion::Gke => "net.gke.io/v1",
    };
    let metadata = scene.metadata(scene.set_name());
    tree.add(FILE, &ServiceExport { api_version, kind: "ServiceExport", metadata });
}
