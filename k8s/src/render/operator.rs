//! The account of whoever operates the fleet: what `holdfast fleet` needs after the first apply, and nothing more.
//!
//! It writes what lies in the namespace. What lies outside, it may only look at, so that a change there asks for an administrator again; and it may
//! ask what others may do, which changes nothing. It deletes configurations that nobody uses and nothing else. It hands out no tokens, not even its own:
//! `holdfast fleet access` is for somebody who may.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::accounts::{RBAC, account, rule, subject};
use super::{Scene, SiteTree, admission, priority};
use crate::fleet::{Connectivity, Trust};

const FILE: &str = "operator.yaml";
/// To see what is there.
const LOOK: [&str; 3] = ["get", "list", "watch"];
/// To apply it: on the server's side a patch, and a creation when it is new.
const APPLY: [&str; 5] = ["get", "list", "watch", "create", "patch"];
/// The namespace whose UID proves the site.
const IDENTITY: &str = "kube-system";

/// The account, in the namespace of the fleet; what it may do outside has the same name.
pub(super) fn name(scene: &Scene<'_>) -> String {
    format!("{}-operator", scene.name())
}

/// The account and its rights.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    let name = name(scene);
    let namespaced = |metadata: ObjectMeta| ObjectMeta { namespace: Some(scene.fleet.namespace.clone()), ..metadata };
    let metadata = || scene.metadata_outside(&name);
    tree.add(FILE, &account(scene, name.clone()));
    tree.add(FILE, &Role { metadata: namespaced(metadata()), rules: Some(inside(scene)) });
    let role_ref = |kind: &str| RoleRef { api_group: RBAC.to_owned(), kind: kind.to_owned(), name: name.clone() };
    tree.add(
        FILE,
        &RoleBinding {
            metadata: namespaced(metadata()),
            role_ref: role_ref("Role"),
            subjects: Some(vec![subject(scene, &name)]),
        },
    );
    tree.add(FILE, &ClusterRole { metadata: metadata(), rules: Some(outside(scene)), ..ClusterRole::default() });
    let mut subjects = vec![subject(scene, &name)];
    // Whoever mirrors addresses must know the site too.
    if scene.fleet.is_mirrored() {
        subjects.push(subject(scene, &super::accounts::sync(scene)));
    }
    tree.add(
        FILE,
        &ClusterRoleBinding { metadata: metadata(), role_ref: role_ref("ClusterRole"), subjects: Some(subjects) },
    );
}

/// Rights in the namespace of the fleet.
fn inside(scene: &Scene<'_>) -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", &["pods"], &LOOK),
        // The way to the stores, which are asked before anything is taken away.
        rule("", &["pods/portforward"], &["get", "create"]),
        rule("", &["services", "configmaps", "serviceaccounts"], &APPLY),
        rule("", &["configmaps"], &["delete"]),
        rule("apps", &["statefulsets"], &APPLY),
        rule("policy", &["poddisruptionbudgets"], &APPLY),
        rule("networking.k8s.io", &["networkpolicies"], &APPLY),
        rule(RBAC, &["roles", "rolebindings"], &APPLY),
        rule("discovery.k8s.io", &["endpointslices"], &APPLY),
    ];
    for (group, resources, is_rendered) in optional(scene) {
        // What is rendered no more must still be found.
        rules.push(rule(group, resources, if is_rendered { &APPLY } else { &LOOK }));
    }
    rules
}

/// Kinds that not every fleet has, and whether this one does.
fn optional(scene: &Scene<'_>) -> [(&'static str, &'static [&'static str], bool); 6] {
    let (mode, observability) = (&scene.fleet.connectivity, &scene.fleet.observability);
    let is_mcs = |is_gke: bool| {
        let Connectivity::Mcs { api_version } = mode else { return false };
        (*api_version == crate::fleet::McsVersion::Gke) == is_gke
    };
    [
        (
            "monitoring.coreos.com",
            &["servicemonitors", "prometheusrules"],
            observability.service_monitor || observability.rules,
        ),
        ("cert-manager.io", &["certificates"], matches!(scene.fleet.trust, Trust::CertManager { .. })),
        ("cilium.io", &["ciliumnetworkpolicies"], *mode == Connectivity::CiliumGlobal),
        ("multicluster.x-k8s.io", &["serviceexports"], is_mcs(false)),
        ("net.gke.io", &["serviceexports"], is_mcs(true)),
        ("skupper.io", &["sites", "connectors", "listeners"], *mode == Connectivity::Skupper),
    ]
}

/// Rights outside of it.
fn outside(scene: &Scene<'_>) -> Vec<PolicyRule> {
    let get = |group: &str, resources: &[&str], names: &[&str]| PolicyRule {
        resource_names: Some(names.iter().map(ToString::to_string).collect()),
        ..rule(group, resources, &["get"])
    };
    let policies = admission::names(scene);
    let policies: Vec<_> = policies.iter().map(String::as_str).collect();
    let mut rules = vec![
        get("", &["namespaces"], &[IDENTITY, &scene.fleet.namespace]),
        get("scheduling.k8s.io", &["priorityclasses"], &[&priority::name(scene)]),
        get(RBAC, &["clusterroles", "clusterrolebindings"], &[&name(scene)]),
        get(
            "admissionregistration.k8s.io",
            &["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
            &policies,
        ),
        rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
    ];
    if scene.fleet.connectivity == Connectivity::CalicoBgp {
        rules.push(rule("projectcalico.org", &["ippools"], &["get", "list"]));
    }
    rules
}
