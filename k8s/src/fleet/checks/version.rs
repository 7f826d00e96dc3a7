//! A file of another version or kind is refused before anything else of it is looked at.

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{API_VERSION, KIND};
use crate::fleet::source::{Path, Tree};

/// The file is not of a version that this program knows.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum VersionProblem {
    /// It says none.
    #[error("the file does not say its {key}: begin it with `apiVersion: {API_VERSION}` and `kind: {KIND}`")]
    Absent {
        /// The key.
        key: &'static str,
    },
    /// It says another.
    #[error("{found:?} is not known: this program reads {known}; a file of a later version needs a later program")]
    Unknown {
        /// What the file says.
        found: String,
        /// What is known.
        known: &'static str,
    },
}

/// Checks `apiVersion` and `kind`.
pub(crate) fn check(tree: &Tree, findings: &mut Findings<'_>) {
    for (key, known) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match tree.top(key) {
            Some(found) if found == known => {}
            Some(found) => findings.error(at(key), VersionProblem::Unknown { found: found.to_owned(), known }),
            None => return findings.error(Path::root(), VersionProblem::Absent { key }),
        }
    }
}
