//! Rendered objects as the API has them: what they are, where they are, and what of a live one says what was asked for.

use std::fmt;

use holdfast_k8s::SiteTree;
pub use holdfast_k8s::render::labels::{FLEET, MANAGED_BY, MANAGER, SITE};
use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::{self, Kind};

/// Part of the kustomization, not of the site.
const LIST: &str = "Kustomization";

/// Where an object is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    /// Its kind.
    pub kind: &'static Kind,
    /// The version that is asked for.
    pub api_version: String,
    /// Its namespace, if its kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.kind, self.name)
    }
}

impl Address {
    /// An object of a known kind in a namespace.
    #[must_use]
    pub fn within(kind: &'static Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            api_version: kind.api_version.to_owned(),
            namespace: kind.is_namespaced.then(|| namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// Where a live or rendered object is.
    pub fn of(body: &Value) -> Result<Self, Failure> {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let unknown = || Failure::Rendered(format!("{} {}", body["kind"], body["metadata"]["name"]));
        Ok(Self {
            kind: body["kind"].as_str().and_then(kinds::of).ok_or_else(unknown)?,
            api_version: text(&body["apiVersion"]).ok_or_else(unknown)?,
            namespace: text(&body["metadata"]["namespace"]),
            name: text(&body["metadata"]["name"]).ok_or_else(unknown)?,
        })
    }

    /// The path of the collection that it is in.
    #[must_use]
    pub fn collection(&self) -> String {
        self.kind.path(&self.api_version, self.namespace.as_deref())
    }
}

/// An object as it is wanted.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Where.
    pub address: Address,
    /// What.
    pub body: Value,
}

/// The objects of a rendered site, in the order in which they are written.
pub fn of_tree(tree: &SiteTree) -> Result<Vec<Object>, Failure> {
    let mut all = Vec::new();
    for text in tree.files.values() {
        let bodies: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| Failure::Rendered(error.to_string()))?;
        for body in bodies.into_iter().filter(|body| body["kind"] != LIST) {
            all.push(Object { address: Address::of(&body)?, body });
        }
    }
    all.sort_by(|one, other| one.address.cmp(&other.address));
    Ok(all)
}

/// Metadata that the API server writes.
const SERVERS: [&str; 6] = ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];

/// What of an object was asked for by somebody: without its status and what the API server adds.
#[must_use]
pub fn asked(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = body["metadata"].as_object_mut() {
        SERVERS.iter().for_each(|field| drop(metadata.remove(*field)));
    }
    body
}

/// The selector of everything that the fleet owns.
#[must_use]
pub fn owned_by(fleet: &str) -> String {
    format!("{MANAGED_BY}={MANAGER},{FLEET}={fleet}")
}

#[cfg(test)]
mod tests {
    use holdfast_k8s::{render, validate};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_object_of_every_example_has_a_known_kind() {
        for entry in std::fs::read_dir("../examples").unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path().join("fleet.yaml")).unwrap();
            for tree in render(&validate(&text).fleet.unwrap()) {
                let objects = of_tree(&tree).unwrap();
                assert_eq!(objects.first().unwrap().address.kind.kind, "Namespace");
                assert_eq!(objects.last().unwrap().address.kind.kind, "StatefulSet");
                for object in &objects {
                    assert_eq!(object.address.kind.is_namespaced, object.address.namespace.is_some());
                    assert!(object.address.collection().contains(&object.address.api_version));
                }
            }
        }
    }

    #[test]
    fn what_the_api_server_writes_is_not_asked_for() {
        let live = json!({
            "kind": "Service", "status": {"loadBalancer": {}}, "spec": {"ports": []},
            "metadata": {"name": "a", "uid": "u", "generation": 3, "managedFields": [], "labels": {"x": "y"}},
        });
        let asked = asked(&live);
        assert_eq!(
            asked,
            json!({"kind": "Service", "spec": {"ports": []}, "metadata": {"name": "a", "labels": {"x": "y"}}})
        );
    }
}
