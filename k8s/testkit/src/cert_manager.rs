//! cert-manager in a site, besides its process: the namespace of its ClusterIssuers' Secrets, and what it may do.
//!
//! The rights are those that its controllers for CA and self-signed issuers use, and no more: upstream's chart gives them together with those of
//! ACME and of its shims, which are not built here. Certificates' Secrets lie in any namespace, so it reads and writes all Secrets of its site.

use serde_json::{Value, json};

/// Its user, and the name of the files of its key, its certificate and its kubeconfig.
pub(crate) const USER: &str = "cert-manager";
/// Where the Secrets of ClusterIssuers lie.
pub(crate) const NAMESPACE: &str = "cert-manager";

const GROUP: &str = "cert-manager.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The manifest of the namespace and of the rights.
pub(crate) fn rights() -> String {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let role = json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRole",
        "metadata": { "name": USER },
        "rules": rules(),
    });
    let binding = json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": { "name": USER },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": USER },
        "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": USER }],
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [namespace, role, binding] }).to_string()
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

fn rules() -> Vec<Value> {
    vec![
        rule(GROUP, &["certificates", "certificaterequests", "issuers", "clusterissuers"], &["get", "list", "watch"]),
        rule(GROUP, &["certificaterequests"], &["create", "update", "patch", "delete"]),
        rule(
            GROUP,
            &["certificates/status", "certificaterequests/status", "issuers/status", "clusterissuers/status"],
            &["update", "patch"],
        ),
        rule("", &["secrets"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("", &["events"], &["create", "patch"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cert_manager_may_do_nothing_beyond_certificates_and_secrets() {
        let manifest: Value = serde_json::from_str(&rights()).unwrap();
        let items = manifest["items"].as_array().unwrap();
        let of_kind = |kind: &str| items.iter().filter(move |item| item["kind"] == kind);
        let roles: Vec<_> = of_kind("ClusterRoleBinding").map(|item| &item["roleRef"]["name"]).collect();
        assert_eq!(roles, ["cert-manager"]);
        let rules = of_kind("ClusterRole").flat_map(|role| role["rules"].as_array().unwrap());
        let words = |rule: &Value, key: &str| rule[key].as_array().unwrap().clone();
        for rule in rules {
            let (groups, resources, verbs) = (words(rule, "apiGroups"), words(rule, "resources"), words(rule, "verbs"));
            assert!(!verbs.contains(&json!("*")) && !resources.contains(&json!("*")), "{rule}");
            let core = [json!("secrets"), json!("events")];
            assert!(groups == [GROUP] || resources.iter().all(|resource| core.contains(resource)), "{rule}");
        }
    }
}
