//! `fleet.yaml`: the one description of a fleet, from which everything that runs in any site follows.
//!
//! The text is read three times, each time for one purpose: as a tree of values with their places ([`source`]), so that a finding can
//! point at what it speaks of; against the schema that the types have (`keys`), so that every unknown or missing key is told
//! at once; and as the types themselves ([`model`]), which refuse unknown keys once more. Then the [`checks`] compare values with each other.
//!
//! A [`Fleet`] that [`validate`] returns has passed all checks. Nothing here reads files, and nothing talks to Kubernetes.

pub mod amounts;
pub mod checks;
pub mod explain;
pub mod finding;
mod keys;
pub mod model;
pub mod names;
pub mod schema;
pub mod source;

pub use explain::explain;
pub use finding::{Finding, Findings, Problem, Report, Severity};
pub use model::*;
pub use schema::schema;

use source::{Path, Places, Tree};

/// Reads a fleet file and checks everything that can be checked without talking to a site.
#[must_use]
pub fn validate(text: &str) -> Report {
    let tree = match Tree::read(text) {
        Ok(tree) => tree,
        Err(problem) => return Report::of(vec![*problem]),
    };
    let places = Places::of(&tree);
    let mut findings = Findings::new(&places);
    // Keys of another version would all be unknown here: one sentence says more than a page of them.
    checks::version::check(&tree, &mut findings);
    if findings.is_empty() {
        keys::check(&tree, &mut findings);
    }
    if !findings.is_empty() {
        return Report::of(findings.into_list());
    }
    let fleet: Fleet = match source::parse(text) {
        Ok(fleet) => fleet,
        Err(error) => return Report::of(vec![Finding::of_parser(&error)]),
    };
    checks::check(&fleet, &mut findings);
    let list = findings.into_list();
    let is_valid = list.iter().all(|finding| finding.severity == Severity::Warning);
    Report { fleet: is_valid.then_some(fleet), findings: list }
}

/// A path that begins at a key of the file's top.
pub(crate) fn at(key: &str) -> Path {
    Path::root().key(key)
}
