//! Keys and choices of the file against the schema: all that are unknown or missing, each at its place, with the name that was meant.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use serde_json::Value as Json;
use serde_saphyr::Spanned;

use super::finding::Findings;
use super::schema;
use super::source::{Path, Place, Tree, Value};

/// A name is meant when it is at least this similar, from 0 to 1: two swapped letters of eight, a plural, another case.
const SIMILAR: f64 = 0.75;

/// What is wrong with a key.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum KeyProblem {
    /// The format has no such key here.
    #[error("unknown key {key:?}{}; the keys here are {}", meant(.key, .known), .known.join(", "))]
    Unknown {
        /// What is written.
        key: String,
        /// What could be.
        known: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("the key {key:?} is missing: {description}")]
    Missing {
        /// Its name.
        key: String,
        /// What it would say.
        description: String,
    },
    /// A value of another type.
    #[error("{found} is not what belongs here: write {wanted}")]
    Type {
        /// What is written.
        found: String,
        /// What could be.
        wanted: String,
    },
    /// The value is none of those that there are.
    #[error("{value:?} is not known{}; use one of {}", meant(.value, .known), .known.join(", "))]
    Choice {
        /// What is written.
        value: String,
        /// What could be.
        known: Vec<String>,
    },
}

fn meant(name: &str, known: &[String]) -> String {
    let plain = name.to_lowercase().replace(['-', '_'], "");
    let similarity = |known: &str| {
        let known = known.to_lowercase().replace(['-', '_'], "");
        if known == plain { 1.0 } else { strsim::jaro_winkler(&known, &plain) }
    };
    let best = known.iter().max_by(|left, right| similarity(left).total_cmp(&similarity(right)));
    match best {
        Some(best) if similarity(best) >= SIMILAR => format!(", did you mean {best:?}?"),
        _ => String::new(),
    }
}

/// Checks the whole file.
pub(crate) fn check(tree: &Tree, findings: &mut Findings<'_>) {
    let root = schema::value();
    let mut walk = Walk { root: &root, findings };
    walk.value(&Path::root(), &root, &tree.0);
}

struct Walk<'a, 'b> {
    root: &'a Json,
    findings: &'a mut Findings<'b>,
}

impl<'a> Walk<'a, '_> {
    fn value(&mut self, path: &Path, schema: &'a Json, value: &Spanned<Value>) {
        let schema = schema::resolve(self.root, schema);
        if let Some(wanted) = wanted_instead(schema, &value.value) {
            let found = match &value.value {
                Value::Scalar(text) => format!("{text:?}"),
                Value::List(_) => "a list".to_owned(),
                Value::Map(_) => "a value with keys".to_owned(),
            };
            return self.findings.error(path.clone(), KeyProblem::Type { found, wanted });
        }
        match &value.value {
            Value::Map(entries) => self.map(path, schema, entries),
            Value::List(items) => {
                let Some(of_items) = schema.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.value(&path.item(index), of_items, item);
                }
            }
            Value::Scalar(text) => {
                let known = choices(schema);
                if !known.is_empty() && !known.contains(text) {
                    self.findings.error(path.clone(), KeyProblem::Choice { value: text.clone(), known });
                }
            }
        }
    }

    fn map(&mut self, path: &Path, schema: &'a Json, entries: &[(Spanned<String>, Spanned<Value>)]) {
        let Some(schema) = self.variant(path, schema, entries) else { return };
        let properties = schema.get("properties").and_then(Json::as_object);
        let is_closed = schema.get("additionalProperties") == Some(&Json::Bool(false));
        for (key, value) in entries {
            match properties.and_then(|properties| properties.get(&key.value)) {
                Some(schema) => self.value(&path.key(&key.value), schema, value),
                None if is_closed => {
                    let known = properties.into_iter().flat_map(|known| known.keys().cloned()).collect();
                    let problem = KeyProblem::Unknown { key: key.value.clone(), known };
                    self.findings.error_at(Place::of(key.referenced), path.clone(), problem);
                }
                None => {}
            }
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        for key in required.filter(|required| entries.iter().all(|(key, _)| key.value != *required)) {
            let about = properties.and_then(|known| known.get(key)?.get("description")?.as_str());
            let description = about.unwrap_or("it has no default").to_owned();
            self.findings.error(path.clone(), KeyProblem::Missing { key: key.to_owned(), description });
        }
    }

    /// The schema of the variant that the key `mode` names; `None` when it names none, which is told.
    fn variant(
        &mut self,
        path: &Path,
        schema: &'a Json,
        entries: &[(Spanned<String>, Spanned<Value>)],
    ) -> Option<&'a Json> {
        let Some(variants) = schema.get("oneOf").and_then(Json::as_array) else { return Some(schema) };
        let mode = |variant: &'a Json| variant.pointer("/properties/mode/const").and_then(Json::as_str);
        let Some((_, written)) = entries.iter().find(|(key, _)| key.value == "mode") else {
            let description = "it says which of the others are there".to_owned();
            self.findings.error(path.clone(), KeyProblem::Missing { key: "mode".to_owned(), description });
            return None;
        };
        let written = if let Value::Scalar(text) = &written.value { text.as_str() } else { "" };
        let found = variants.iter().find(|variant| mode(variant) == Some(written));
        if found.is_none() {
            let known = variants.iter().filter_map(mode).map(ToOwned::to_owned).collect();
            let problem = KeyProblem::Choice { value: written.to_owned(), known };
            self.findings.error(path.key("mode"), problem);
        }
        found
    }
}

/// What should be there, when the value has another type. Nothing at all is left to the types: it may stand for a default.
fn wanted_instead(schema: &Json, value: &Value) -> Option<String> {
    let types = schema.get("type");
    let is = |name: &str| match types {
        Some(Json::String(one)) => one == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    };
    match value {
        Value::Scalar(text) if text.is_empty() => None,
        Value::Scalar(_) if is("object") => Some("keys and values".to_owned()),
        Value::Scalar(_) if is("array") => Some("a list, like [a, b]".to_owned()),
        Value::Scalar(text) if is("boolean") && text != "true" && text != "false" => Some("true or false".to_owned()),
        Value::Scalar(text) if is("integer") => wanted_number(schema, text),
        Value::List(_) if types.is_some() && !is("array") => Some("one value, not several".to_owned()),
        Value::Map(_) if types.is_some() && !is("object") => {
            Some(if is("array") { "a list, like [a, b]" } else { "one value, without keys" }.to_owned())
        }
        _ => None,
    }
}

fn wanted_number(schema: &Json, text: &str) -> Option<String> {
    let bound = |key: &str| schema.get(key).and_then(Json::as_u64);
    let (least, most) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(u32::MAX.into()));
    let fits = text.parse::<u64>().is_ok_and(|number| (least..=most).contains(&number));
    (!fits).then(|| format!("a whole number from {least} to {most}"))
}

/// The texts that a scalar may be, when they are counted.
fn choices(schema: &Json) -> Vec<String> {
    let texts = |value: &Json| value.as_str().map(ToOwned::to_owned);
    if let Some(listed) = schema.get("enum").and_then(Json::as_array) {
        return listed.iter().filter_map(texts).collect();
    }
    let variants = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    variants
        .flat_map(|variant| variant.get("const").and_then(texts).map_or_else(|| choices(variant), |one| vec![one]))
        .collect()
}
