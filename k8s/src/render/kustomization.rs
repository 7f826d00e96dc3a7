//! The list of a folder's files, so that `kubectl apply -k` takes them all.

use serde::Serialize;

use super::SiteTree;

/// A Kustomization, as kustomize reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kustomization {
    api_version: &'static str,
    kind: &'static str,
    resources: Vec<String>,
}

/// Adds the list of all files that are there so far.
pub(super) fn add(tree: &mut SiteTree) {
    let resources = tree.files.keys().cloned().collect();
    let list = Kustomization { api_version: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization", resources };
    tree.add("kustomization.yaml", &list);
}
