//! The JSON schema of the file, made from its types: for editors, and for the check of keys.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::model::Fleet;

/// The schema as a value.
#[must_use]
pub fn value() -> Value {
    // Draft 7 is the newest that editors' YAML servers read in full.
    SchemaSettings::draft07().into_generator().into_root_schema_for::<Fleet>().to_value()
}

/// The schema as a JSON text that ends with a newline.
#[must_use]
pub fn schema() -> String {
    format!("{:#}\n", value())
}

/// A schema without its references and its alternatives of nothing: what a value that is there must look like.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(schema, |found| resolve(root, found));
    }
    for several in ["anyOf", "allOf"] {
        let Some(parts) = schema.get(several).and_then(Value::as_array) else { continue };
        let is_nothing = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("null");
        if let Some(part) = parts.iter().find(|part| !is_nothing(part)) {
            return resolve(root, part);
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_of_the_schema_refuses_unknown_keys() {
        fn check(value: &Value, open: &mut Vec<String>) {
            if let Some(properties) = value.get("properties")
                && value.get("additionalProperties") != Some(&Value::Bool(false))
            {
                open.push(properties.to_string());
            }
            match value {
                Value::Object(parts) => parts.values().for_each(|part| check(part, open)),
                Value::Array(parts) => parts.iter().for_each(|part| check(part, open)),
                _ => {}
            }
        }
        let mut open = Vec::new();
        check(&value(), &mut open);
        assert!(open.is_empty(), "{open:#?}");
    }

    #[test]
    fn schema_is_json_and_names_the_version() {
        let parsed: Value = serde_json::from_str(&schema()).unwrap();
        assert!(schema().contains(super::super::API_VERSION) && parsed["properties"]["sites"].is_object());
    }
}
