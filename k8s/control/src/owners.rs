//! Who wrote which field of an object, from its `managedFields`.
//!
//! The API server keeps for each manager the set of fields that it wrote last, as a tree (structured-merge-diff, `FieldsV1`): `f:NAME` is a field,
//! `k:{...}` the element of a list with these keys, `v:...` an element of a set, `.` the thing itself. An empty tree is a leaf, which owns
//! everything below it.

use std::fmt;

use serde_json::{Map, Value};

use crate::diff::{Path, Step};
use crate::objects::MANAGER;

/// Who wrote something, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Writer {
    /// The name that it calls itself.
    pub manager: String,
    /// When it wrote last, as the API server says.
    pub time: Option<String>,
    /// The subresource that it wrote through: `scale`, `status`.
    pub subresource: Option<String>,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.manager)?;
        if let Some(subresource) = &self.subresource {
            write!(f, " through {subresource}")?;
        }
        match &self.time {
            Some(time) => write!(f, " at {time}"),
            None => Ok(()),
        }
    }
}

/// One entry of `managedFields`.
struct Entry<'a> {
    writer: Writer,
    fields: &'a Value,
}

fn entries(live: &Value) -> Vec<Entry<'_>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let list = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    let entry = |entry| {
        let entry: &Value = entry;
        let writer = Writer {
            manager: text(&entry["manager"])?,
            time: text(&entry["time"]),
            subresource: text(&entry["subresource"]),
        };
        Some(Entry { writer, fields: &entry["fieldsV1"] })
    };
    list.filter_map(entry).collect()
}

/// Whether we wrote the object by server-side apply before.
#[must_use]
pub fn is_ours(live: &Value) -> bool {
    let list = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    list.into_iter().any(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply")
}

/// Who owns a field of a live object.
#[must_use]
pub fn owners(live: &Value, path: &Path) -> Vec<Writer> {
    entries(live).into_iter().filter(|entry| owns(entry.fields, &path.0)).map(|entry| entry.writer).collect()
}

fn owns(fields: &Value, path: &[Step]) -> bool {
    let Some(tree) = fields.as_object() else { return false };
    let Some((step, rest)) = path.split_first() else { return true };
    // A leaf owns what is below it.
    if tree.is_empty() {
        return true;
    }
    match step {
        Step::Field(name) => tree.get(&format!("f:{name}")).is_some_and(|below| owns(below, rest)),
        Step::Element { element, .. } => tree.iter().any(|(key, below)| is_key_of(key, element) && owns(below, rest)),
    }
}

/// Whether `k:{...}` or `v:...` means this element.
fn is_key_of(key: &str, element: &Value) -> bool {
    if let Some(keys) = key.strip_prefix("k:") {
        let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
        return !keys.is_empty() && keys.iter().all(|(name, value)| element.get(name).is_some_and(|own| own == value));
    }
    let value = key.strip_prefix("v:").and_then(|value| serde_json::from_str::<Value>(value).ok());
    value.is_some_and(|value| value == *element)
}

/// What a manager wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Who.
    pub writer: Writer,
    /// The fields, as paths.
    pub fields: Vec<String>,
}

/// What managers other than ours wrote into an object, without what Kubernetes itself has to write: status, finalizers, the label with the name of
/// a namespace.
#[must_use]
pub fn foreign(live: &Value, ours: &[&str]) -> Vec<Written> {
    let others = entries(live).into_iter().filter(|entry| {
        !ours.contains(&entry.writer.manager.as_str()) && entry.writer.subresource.as_deref() != Some("status")
    });
    let written = others.map(|entry| {
        let mut fields = Vec::new();
        leaves("", entry.fields, &mut fields);
        fields.retain(|field| !is_kubernetes_own(live, field));
        Written { writer: entry.writer, fields }
    });
    written.filter(|written| !written.fields.is_empty()).collect()
}

/// Fields by which controllers of Kubernetes keep books, and the copy that `kubectl apply` leaves. The label with the name of a namespace counts as
/// written by whoever made the namespace, and by nobody's wish: the API server itself sets it at each write, and no other value stays.
fn is_kubernetes_own(live: &Value, field: &str) -> bool {
    field.starts_with(".metadata.finalizers")
        || field.starts_with(".status")
        || field == ".metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"
        || field == ".metadata.labels[kubernetes.io/metadata.name]" && live["kind"] == "Namespace"
}

fn leaves(path: &str, fields: &Value, found: &mut Vec<String>) {
    let Some(tree) = fields.as_object().filter(|tree| !tree.is_empty()) else {
        found.push(path.to_owned());
        return;
    };
    for (key, below) in tree.iter().filter(|(key, _)| *key != ".") {
        let step = match key.split_once(':') {
            Some(("f", name)) if name.contains('.') => format!("[{name}]"),
            Some(("f", name)) => format!(".{name}"),
            Some((_, rest)) => format!("[{rest}]"),
            None => continue,
        };
        leaves(&format!("{path}{step}"), below, found);
    }
    // A map that is owned as such and in which nothing is: `{".": {}}`.
    if tree.len() == 1 && tree.contains_key(".") {
        found.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diff::diff;

    fn entry(manager: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn live() -> Value {
        json!({
            "metadata": {"managedFields": [
                {"manager": "holdfast", "operation": "Apply", "fieldsV1": {"f:spec": {
                    "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"holdfast\"}": {".": {}, "f:name": {}, "f:args": {}}}}},
                    "f:selector": {},
                }}},
                entry("kubectl-edit", json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"holdfast\"}": {"f:image": {}}}}}}})),
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {"f:replicas": {}}}},
                entry("kube-controller-manager", json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x\"": {}}}})),
            ]},
            "spec": {
                "replicas": 5, "selector": {"matchLabels": {"a": "b"}},
                "template": {"spec": {"containers": [{"name": "holdfast", "image": "evil", "args": ["start"]}]}},
            },
        })
    }

    fn owner_of(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let live = live();
        let mut wanted = live.clone();
        change(&mut wanted);
        let found = diff(&live, &wanted);
        assert_eq!(found.len(), 1, "{found:?}");
        owners(&live, &found[0].path).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_owner_of_a_field_is_found_with_the_time() {
        let wanted = ["kubectl-edit at 2026-01-02T03:04:05Z"];
        assert_eq!(owner_of(|object| object["spec"]["replicas"] = json!(2)), wanted);
        let containers =
            |object: &mut Value| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("good");
        assert_eq!(owner_of(containers), wanted);
    }

    #[test]
    fn a_leaf_owns_what_is_below_it_and_nobody_owns_what_is_not_listed() {
        assert_eq!(owner_of(|object| object["spec"]["selector"]["matchLabels"]["a"] = json!("c")), ["holdfast"]);
        let container = |object: &mut Value| object["spec"]["template"]["spec"]["containers"][0]["args"] = json!([]);
        assert_eq!(owner_of(container), ["holdfast"]);
        assert!(owner_of(|object| object["spec"]["other"] = json!(1)).is_empty());
    }

    #[test]
    fn foreign_writers_are_named_and_kubernetes_own_books_are_not() {
        let found = foreign(&live(), &[MANAGER]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].writer.manager, "kubectl-edit");
        assert_eq!(
            found[0].fields,
            [".spec.replicas", ".spec.template.spec.containers[{\"name\":\"holdfast\"}].image"]
        );
    }

    #[test]
    fn the_name_of_a_namespace_is_the_api_servers_whoever_made_the_namespace() {
        let mut live = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": "holdfast",
                "labels": {"kubernetes.io/metadata.name": "holdfast", "pod-security.kubernetes.io/enforce": "restricted"},
                "managedFields": [
                    {"manager": "holdfast", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-02T03:05:06Z", "fieldsType": "FieldsV1",
                        "fieldsV1": {"f:metadata": {"f:labels": {"f:pod-security.kubernetes.io/enforce": {}}}}},
                    entry("kubectl-create", json!({"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}})),
                ],
            },
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        assert_eq!(foreign(&live, &[MANAGER]), []);

        let labelled = json!({"f:metadata": {"f:labels": {"f:kubernetes.io/metadata.name": {}, "f:team": {}}}});
        live["metadata"]["managedFields"].as_array_mut().unwrap().push(entry("kubectl-label", labelled));
        let found = foreign(&live, &[MANAGER]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].writer.manager, "kubectl-label");
        assert_eq!(found[0].fields, [".metadata.labels.team"]);

        // On anything else it is a label like others, which somebody wrote.
        live["kind"] = json!("Service");
        let found = foreign(&live, &[MANAGER]);
        assert_eq!(found[0].writer.manager, "kubectl-create");
        assert_eq!(found[0].fields, [".metadata.labels[kubernetes.io/metadata.name]"]);
    }

    #[test]
    fn only_an_apply_of_ours_makes_an_object_ours() {
        assert!(is_ours(&live()));
        assert!(!is_ours(&json!({"metadata": {"managedFields": [{"manager": "holdfast", "operation": "Update"}]}})));
        assert!(!is_ours(&json!({"metadata": {}})));
    }
}
