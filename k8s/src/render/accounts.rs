//! Who may do what. Stores may do nothing: they never talk to Kubernetes, and get no token.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::operator;
use super::{Scene, SiteTree};

const FILE: &str = "service-accounts.yaml";
/// The group of rights.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

/// The account of the stores.
pub(super) fn store(scene: &Scene<'_>) -> String {
    format!("{}-store", scene.name())
}

/// The account of whoever mirrors addresses.
pub(super) fn sync(scene: &Scene<'_>) -> String {
    format!("{}-sync", scene.name())
}

/// The accounts and their rights.
pub(super) fn add(scene: &Scene<'_>, tree: &mut SiteTree) {
    tree.add(FILE, &account(scene, store(scene)));
    if scene.fleet.is_mirrored() {
        let sync = sync(scene);
        tree.add(FILE, &account(scene, sync.clone()));
        tree.add(FILE, &may_mirror(scene, &sync));
        tree.add(FILE, &binding(scene, &sync));
    }
    operator::add(scene, tree);
}

/// An account without a token in its pods.
pub(super) fn account(scene: &Scene<'_>, name: String) -> ServiceAccount {
    ServiceAccount {
        automount_service_account_token: Some(false),
        metadata: scene.metadata(name),
        ..ServiceAccount::default()
    }
}

/// A right to resources of a group.
pub(super) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(list(resources)),
        verbs: list(verbs),
        ..PolicyRule::default()
    }
}

/// What `holdfast fleet sync` needs: it reads where the pods of its own site are, and writes where those of the others are, on the server's side. It
/// never deletes: what is deleted in one site must not take anything away in another.
fn may_mirror(scene: &Scene<'_>, name: &str) -> Role {
    let rules = vec![
        rule("", &["pods"], &["get", "list", "watch"]),
        rule("discovery.k8s.io", &["endpointslices"], &["get", "list", "watch", "create", "patch"]),
    ];
    Role { metadata: scene.metadata(name), rules: Some(rules) }
}

/// An account as the subject of a binding.
pub(super) fn subject(scene: &Scene<'_>, name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(scene.fleet.namespace.clone()),
        ..Subject::default()
    }
}

fn binding(scene: &Scene<'_>, name: &str) -> RoleBinding {
    RoleBinding {
        metadata: scene.metadata(name),
        role_ref: RoleRef { api_group: RBAC.to_owned(), kind: "Role".to_owned(), name: name.to_owned() },
        subjects: Some(vec![subject(scene, name)]),
    }
}
