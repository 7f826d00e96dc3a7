//! Trust: a shape that can be rotated, and a word on what is in force.

use std::collections::BTreeSet;

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Fleet, RootState, Trust};

/// The roots cannot be used, or are not in force.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum TrustProblem {
    /// Not one active root.
    #[error("{active} roots are active: exactly one issues at a time, the others are coming or leaving")]
    Active {
        /// How many are.
        active: usize,
    },
    /// More than one change at a time.
    #[error(
        "{changing} roots are coming or leaving: change one at a time, or a store may trust none that another shows it"
    )]
    Changing {
        /// How many are.
        changing: usize,
    },
    /// The same name twice.
    #[error("two roots are called {id:?}: each needs a name of its own")]
    Duplicate {
        /// The name.
        id: String,
    },
    /// The program does not encrypt.
    #[error(
        "the program does not encrypt yet: nothing of this is rendered, and the network between the sites must be one that you trust"
    )]
    NotInForce,
}

/// Checks the roots.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let Trust::Mtls { roots, .. } = &fleet.trust else { return };
    let path = at("trust").key("roots");
    let active = roots.iter().filter(|root| root.state == RootState::Active).count();
    if active != 1 {
        findings.error(path.clone(), TrustProblem::Active { active });
    }
    if roots.len() - active > 1 {
        findings.error(path.clone(), TrustProblem::Changing { changing: roots.len() - active });
    }
    let mut seen = BTreeSet::new();
    for (index, root) in roots.iter().enumerate().filter(|(_, root)| !seen.insert(root.id.clone())) {
        findings.error(path.item(index).key("id"), TrustProblem::Duplicate { id: root.id.clone() });
    }
    findings.warning(at("trust"), TrustProblem::NotInForce);
}
