//! Whether all sites let in and allow the same.
//!
//! What is rendered may differ from site to site as the fleet file says, so of it only the drift is compared. What somebody else put into the namespace
//! is compared as it is: a NetworkPolicy or a RoleBinding that only one site has adds to what that site allows, and no drift shows it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::diff::Difference;
use crate::objects::{self, Address};

/// Kinds that decide who may do what and who may talk to whom.
pub const GUARDS: [&str; 4] = ["NetworkPolicy", "CiliumNetworkPolicy", "Role", "RoleBinding"];

/// What a site has of one object, for comparison.
#[derive(Clone, PartialEq, Debug)]
pub enum Face {
    /// A rendered one, and how it has drifted.
    Rendered(Vec<String>),
    /// Somebody else's.
    Foreign(Value),
}

/// What a site has of all of them.
pub type Faces = BTreeMap<(String, String), Face>;

/// The face of a rendered object.
#[must_use]
pub fn rendered(differences: &[Difference]) -> Face {
    Face::Rendered(differences.iter().map(ToString::to_string).collect())
}

/// The face of somebody else's object; the name of the site in it is no difference.
#[must_use]
pub fn foreign(body: &Value, site: &str) -> Face {
    let asked = objects::asked(body);
    let rest = ["spec", "rules", "roleRef", "subjects"].map(|field| asked[field].clone());
    Face::Foreign(without(&Value::from(rest.to_vec()), site))
}

fn without(value: &Value, site: &str) -> Value {
    match value {
        Value::String(text) => text.replace(site, "SITE").into(),
        Value::Array(list) => list.iter().map(|value| without(value, site)).collect::<Vec<_>>().into(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), without(value, site))).collect(),
        other => other.clone(),
    }
}

/// The key of an object in [`Faces`].
#[must_use]
pub fn key(address: &Address, site: &str) -> (String, String) {
    (address.kind.kind.to_owned(), address.name.replace(site, "SITE"))
}

/// Objects that not all sites have alike: kind, name, and the sites that stand out, each with what it has.
#[must_use]
pub fn unequal(sites: &[(&str, &Faces)]) -> Vec<String> {
    let mut keys: Vec<_> = sites.iter().flat_map(|(_, faces)| faces.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut found = Vec::new();
    for key in keys {
        let mut groups: Vec<(Option<&Face>, Vec<&str>)> = Vec::new();
        for (site, faces) in sites {
            let face = faces.get(key);
            match groups.iter_mut().find(|(known, _)| *known == face) {
                Some((_, members)) => members.push(site),
                None => groups.push((face, vec![site])),
            }
        }
        if groups.len() > 1 {
            let parts: Vec<_> =
                groups.iter().map(|(face, sites)| format!("{} {}", sites.join(", "), said(*face))).collect();
            found.push(format!("{} {} is not the same in all sites: {}", key.0, key.1, parts.join("; ")));
        }
    }
    found
}

fn said(face: Option<&Face>) -> &'static str {
    match face {
        None => "without it",
        Some(Face::Rendered(drift)) if drift.is_empty() => "as rendered",
        Some(Face::Rendered(_)) => "drifted",
        Some(Face::Foreign(_)) => "with one of somebody else's",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faces(pairs: &[(&str, Face)]) -> Faces {
        pairs.iter().map(|(name, face)| (("NetworkPolicy".to_owned(), (*name).to_owned()), face.clone())).collect()
    }

    #[test]
    fn a_policy_that_one_site_has_beyond_the_others_is_found() {
        let same = faces(&[("prod-stores", rendered(&[]))]);
        let mut more = same.clone();
        more.extend(faces(&[("allow-all", foreign(&json!({"spec": {}}), "b"))]));
        assert!(unequal(&[("a", &same), ("c", &same)]).is_empty());
        let found = unequal(&[("a", &same), ("b", &more), ("c", &same)]);
        assert_eq!(
            found,
            ["NetworkPolicy allow-all is not the same in all sites: a, c without it; b with one of somebody else's"]
        );
    }

    #[test]
    fn the_name_of_the_site_is_no_difference_and_another_rule_is() {
        let policy = |site: &str, port: u16| foreign(&json!({"spec": {"podSelector": site, "port": port}}), site);
        assert_eq!(policy("a", 1), policy("b", 1));
        let (a, b) = (faces(&[("x", policy("a", 1))]), faces(&[("x", policy("b", 2))]));
        assert_eq!(unequal(&[("a", &a), ("b", &b)]).len(), 1);
    }
}
