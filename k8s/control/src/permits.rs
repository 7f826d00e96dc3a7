//! What must be allowed and what must not: questions to the API server, which alone knows what all roles of a site add up to.

use holdfast_k8s::Fleet;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::link::Link;
use crate::objects::Object;

const REVIEWS: &str = "authorization.k8s.io/v1";

/// Something that somebody may do or may not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deed {
    /// `get`, `create`, `*`.
    pub verb: String,
    /// The group; empty for the core, `*` for all.
    pub group: String,
    /// `pods`, `pods/exec`, `*`.
    pub resource: String,
    /// One object; empty: any.
    pub name: String,
    /// In this namespace; `None`: everywhere.
    pub namespace: Option<String>,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() && self.group != "*" {
            write!(f, ".{}", self.group)?;
        }
        if !self.name.is_empty() {
            write!(f, "/{}", self.name)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => write!(f, " everywhere"),
        }
    }
}

/// What the account of the stores is asked about: what an intruder in a store would try, and everything.
const TEMPTING: [(&str, &str, &str); 10] = [
    ("*", "*", "*"),
    ("get", "", "secrets"),
    ("list", "", "pods"),
    ("create", "", "pods"),
    ("create", "", "pods/exec"),
    ("create", "", "serviceaccounts/token"),
    ("patch", "apps", "statefulsets"),
    ("patch", "discovery.k8s.io", "endpointslices"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("delete", "", "persistentvolumeclaims"),
];

/// What the stores may not do, in their namespace and everywhere.
#[must_use]
pub fn forbidden(fleet: &Fleet) -> Vec<Deed> {
    let deed = |(verb, group, resource): (&str, &str, &str), namespace: Option<&str>| Deed {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        name: String::new(),
        namespace: namespace.map(ToOwned::to_owned),
    };
    let places = [Some(fleet.namespace.as_str()), None];
    places.into_iter().flat_map(|place| TEMPTING.map(|tempting| deed(tempting, place))).collect()
}

/// What whoever operates the fleet needs: the rendered rights of the operator's account.
#[must_use]
pub fn needed(rendered: &[Object], account: &str) -> Vec<Deed> {
    let mut all = Vec::new();
    for object in rendered.iter().filter(|object| object.address.name == account) {
        let rules = object.body["rules"].as_array().into_iter().flatten();
        all.extend(rules.flat_map(|rule| deeds(rule, object.address.namespace.as_deref())));
    }
    all.sort();
    all.dedup();
    all
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

/// Each single deed of a rule.
fn deeds(rule: &Value, namespace: Option<&str>) -> Vec<Deed> {
    let mut names = texts(&rule["resourceNames"]);
    if names.is_empty() {
        names.push(String::new());
    }
    let mut all = Vec::new();
    for group in texts(&rule["apiGroups"]) {
        for resource in texts(&rule["resources"]) {
            for verb in texts(&rule["verbs"]) {
                all.extend(names.iter().map(|name| Deed {
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                    namespace: namespace.map(ToOwned::to_owned),
                }));
            }
        }
    }
    all
}

/// The question, of an account or of whoever asks.
fn review(deed: &Deed, account: Option<(&str, &str)>) -> (&'static str, Value) {
    let (resource, subresource) = deed.resource.split_once('/').unwrap_or((&deed.resource, ""));
    let attributes = json!({
        "verb": deed.verb, "group": deed.group, "resource": resource, "subresource": subresource, "name": deed.name,
        "namespace": deed.namespace.as_deref().unwrap_or_default(),
    });
    match account {
        None => {
            let spec = json!({"resourceAttributes": attributes});
            (
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                json!({"apiVersion": REVIEWS, "kind": "SelfSubjectAccessReview", "spec": spec}),
            )
        }
        Some((namespace, name)) => {
            let groups = json!([
                "system:serviceaccounts",
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated"
            ]);
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let spec = json!({"resourceAttributes": attributes, "user": user, "groups": groups});
            (
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                json!({"apiVersion": REVIEWS, "kind": "SubjectAccessReview", "spec": spec}),
            )
        }
    }
}

/// Whether an account, or whoever asks, may do it.
pub(crate) async fn may(link: &Link, deed: &Deed, account: Option<(&str, &str)>) -> Result<bool, Failure> {
    let (path, question) = review(deed, account);
    let answer = link.ask(path, &question).await?;
    let allowed = answer["status"]["allowed"].as_bool();
    allowed
        .ok_or_else(|| Failure::Answer { what: format!("may it {deed}"), why: "it says neither yes nor no".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::slices::tests::fleet;

    #[test]
    fn what_is_needed_is_what_is_rendered() {
        let rendered = plan::rendered(&fleet(), "east").unwrap();
        let needed = needed(&rendered, "prod-operator");
        let said: Vec<_> = needed.iter().map(ToString::to_string).collect();
        for deed in [
            "patch statefulsets.apps in holdfast",
            "create pods/portforward in holdfast",
            "get namespaces/kube-system everywhere",
        ] {
            assert!(said.iter().any(|said| said == deed), "{deed}: {said:#?}");
        }
        let deletes: Vec<_> = said.iter().filter(|said| said.starts_with("delete")).collect();
        assert_eq!(deletes, ["delete configmaps in holdfast"]);
        assert!(
            said.iter().all(|said| !said.contains("secrets") && !said.contains("token") && !said.contains('*')),
            "{said:#?}"
        );
    }

    #[test]
    fn reviews_are_what_kubernetes_has() {
        use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SubjectAccessReview};
        let deed = &forbidden(&fleet())[4];
        let (_, own) = review(deed, None);
        let typed: SelfSubjectAccessReview = serde_json::from_value(own).unwrap();
        assert_eq!(typed.spec.resource_attributes.unwrap().subresource.as_deref(), Some("exec"));
        let (_, others) = review(deed, Some(("holdfast", "prod-store")));
        let typed: SubjectAccessReview = serde_json::from_value(others).unwrap();
        assert_eq!(typed.spec.user.as_deref(), Some("system:serviceaccount:holdfast:prod-store"));
    }
}
