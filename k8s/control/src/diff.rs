//! Where two objects differ, field by field.
//!
//! Lists of Kubernetes are mostly maps in disguise: containers have names, mounts have paths. An element is compared with the one of the same key,
//! so that one more container at the front is one addition and not a change of all.

use std::fmt;

use serde_json::Value;

/// What the elements of a list are known by, the first that fits.
const KEYS: [&str; 7] = ["name", "mountPath", "containerPort", "port", "topologyKey", "type", "key"];

/// One step down into an object.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// A field.
    Field(String),
    /// An element of a list: how it is shown, and the element itself, by which its owner is found.
    Element {
        /// `name=holdfast`, or its place.
        label: String,
        /// The element.
        element: Value,
    },
}

/// The way to a field.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Path(pub Vec<Step>);

impl Path {
    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                // A name with dots of its own, such as a label.
                Step::Field(name) if name.contains('.') => write!(f, "[{name}]")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Element { label, .. } => write!(f, "[{label}]")?,
            }
        }
        Ok(())
    }
}

/// One field that differs.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Which.
    pub path: Path,
    /// What it is; absent: nothing.
    pub from: Option<Value>,
    /// What it is to be; absent: nothing.
    pub to: Option<Value>,
}

/// Longer values are cut where people read them.
const SHOWN_CHARS: usize = 120;

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None => return "(nothing)".to_owned(),
        Some(Value::String(text)) => format!("{text:?}"),
        Some(value) => value.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.path, shown(self.from.as_ref()), shown(self.to.as_ref()))
    }
}

/// Everything in which `to` differs from `from`.
#[must_use]
pub fn diff(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&Path::default(), Some(from), Some(to), Side::Both, &mut found);
    found
}

/// What of `wanted` the live object lacks or has otherwise; what it has beyond that is left out. For objects that may be looked at and not
/// written, so that no API server can merge the two.
#[must_use]
pub fn lacking(live: &Value, wanted: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&Path::default(), Some(live), Some(wanted), Side::Wanted, &mut found);
    found
}

/// Which fields count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Wanted,
}

fn compare(path: &Path, from: Option<&Value>, to: Option<&Value>, side: Side, found: &mut Vec<Difference>) {
    match (from, to) {
        (Some(from), Some(to)) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            for name in from.keys().chain(to.keys().filter(|name| !from.contains_key(*name))) {
                let path = path.with(Step::Field(name.clone()));
                compare(&path, from.get(name), to.get(name), side, found);
            }
        }
        (Some(Value::Array(from)), Some(Value::Array(to))) => compare_lists(path, from, to, side, found),
        (_, None) if side == Side::Wanted => {}
        // What says nothing is not kept.
        (None, Some(to)) if side == Side::Wanted && is_empty(to) => {}
        _ => found.push(Difference { path: path.clone(), from: from.cloned(), to: to.cloned() }),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_so) => !is_so,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn compare_lists(path: &Path, from: &[Value], to: &[Value], side: Side, found: &mut Vec<Difference>) {
    let Some(key) = key_of(from, to) else {
        for at in 0..from.len().max(to.len()) {
            let element = from.get(at).or(to.get(at)).cloned().unwrap_or_default();
            let path = path.with(Step::Element { label: at.to_string(), element });
            compare(&path, from.get(at), to.get(at), side, found);
        }
        return;
    };
    let in_from = |element: &Value| from.iter().find(|other| other[key] == element[key]);
    let in_to = |element: &Value| to.iter().find(|other| other[key] == element[key]);
    let new = to.iter().filter(|element| in_from(element).is_none());
    for element in from.iter().chain(new) {
        let label = format!("{key}={}", element[key].as_str().map_or_else(|| element[key].to_string(), str::to_owned));
        let path = path.with(Step::Element { label, element: element.clone() });
        compare(&path, in_from(element), in_to(element), side, found);
    }
}

/// A field by which every element of both lists is known.
fn key_of(from: &[Value], to: &[Value]) -> Option<&'static str> {
    let is_unique = |list: &[Value], key: &str| {
        let all_have_one = list.iter().all(|element| element.get(key).is_some_and(|value| !value.is_object()));
        all_have_one && list.iter().enumerate().all(|(at, one)| list[..at].iter().all(|other| other[key] != one[key]))
    };
    KEYS.into_iter().find(|key| is_unique(from, key) && is_unique(to, key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(from: Value, to: Value) -> Vec<String> {
        diff(&from, &to).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_objects_do_not_differ() {
        let object = json!({"spec": {"replicas": 2, "list": [{"name": "a"}]}});
        assert!(lines(object.clone(), object).is_empty());
    }

    #[test]
    fn each_field_is_named_with_what_it_is_and_what_it_becomes() {
        let found = lines(
            json!({"spec": {"replicas": 2, "gone": true}, "metadata": {"labels": {"a.b/c": "x"}}}),
            json!({"spec": {"replicas": 3, "new": {"x": 1}}, "metadata": {"labels": {"a.b/c": "y"}}}),
        );
        let wanted = [
            ".metadata.labels[a.b/c]: \"x\" -> \"y\"",
            ".spec.gone: true -> (nothing)",
            ".spec.replicas: 2 -> 3",
            ".spec.new: (nothing) -> {\"x\":1}",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn elements_are_compared_by_their_key_and_not_by_their_place() {
        let found = lines(
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
            json!({"containers": [{"name": "new"}, {"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}),
        );
        assert_eq!(
            found,
            [".containers[name=b].image: \"1\" -> \"2\"", ".containers[name=new]: (nothing) -> {\"name\":\"new\"}"]
        );
        let ports = lines(json!([{"port": 53, "protocol": "UDP"}]), json!([{"port": 53, "protocol": "TCP"}]));
        assert_eq!(ports, ["[port=53].protocol: \"UDP\" -> \"TCP\""]);
    }

    #[test]
    fn elements_without_a_key_are_compared_by_their_place() {
        assert_eq!(lines(json!({"args": ["a", "b"]}), json!({"args": ["a", "c", "d"]})).len(), 2);
        // Twice the same key is no key.
        let both = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
        assert_eq!(
            lines(json!([]), both),
            [
                "[0]: (nothing) -> {\"port\":53,\"protocol\":\"UDP\"}",
                "[1]: (nothing) -> {\"port\":53,\"protocol\":\"TCP\"}"
            ]
        );
    }

    #[test]
    fn what_a_live_object_has_beyond_what_is_wanted_is_not_lacking() {
        let live = json!({"spec": {"a": 1, "defaulted": true, "list": [{"name": "x", "also": 2}]}});
        assert!(lacking(&live, &json!({"spec": {"a": 1, "list": [{"name": "x"}]}})).is_empty());
        assert!(lacking(&live, &json!({"spec": {"globalDefault": false, "none": {}}})).is_empty());
        assert_eq!(lacking(&live, &json!({"spec": {"a": 2, "more": 1}})).len(), 2);
    }

    #[test]
    fn long_values_are_cut_for_people() {
        let long = Difference { path: Path::default(), from: None, to: Some(json!("x".repeat(1000))) };
        assert!(long.to_string().len() < 200 && long.to_string().ends_with("..."));
    }
}
