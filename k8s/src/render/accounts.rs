//! Who may do what. Stores may do nothing: they never talk to Kubernetes, and get no token.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::connectivity;
use super::{Scene, SiteTree};

const FILE: &str = "service-accounts.yaml";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The account of the stores.
pub(super) fn store(scene: &Scene<'_>) -> String {
    format!("{}-store", scene.name())
}

/// The accounts and their rights.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    tree.add(FILE, &account(scene, store(scene)));
    if connectivity::is_mirrored(scene) {
        let sync = format!("{}-sync", scene.name());
        tree.add(FILE, &account(scene, sync.clone()));
        tree.add(FILE, &may_mirror(scene, &sync));
        tree.add(FILE, &binding(scene, &sync));
    }
}

fn account(scene: &Scene<'_>, name: String) -> ServiceAccount {
    ServiceAccount {
        automount_service_account_token: Some(false),
        metadata: scene.metadata(name),
        ..ServiceAccount::default()
    }
}

/// What `holdfast fleet sync` needs: it reads where the pods of its own site are, and writes where those of the others are. It never deletes: what is
/// deleted in one site must not take anything away in another.
fn may_mirror(scene: &Scene<'_>, name: &str) -> Role {
    let rule = |group: &str, resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    };
    let rules = vec![
        rule("", "pods", &["get", "list", "watch"]),
        rule("discovery.k8s.io", "endpointslices", &["get", "list", "watch", "create", "update", "patch"]),
    ];
    Role { metadata: scene.metadata(name), rules: Some(rules) }
}

fn binding(scene: &Scene<'_>, name: &str) -> RoleBinding {
    RoleBinding {
        metadata: scene.metadata(name),
        role_ref: RoleRef { api_group: RBAC.to_owned(), kind: "Role".to_owned(), name: name.to_owned() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.to_owned(),
            namespace: Some(scene.fleet.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
