//! Amounts: readable, and not nothing.

use crate::fleet::amounts::Quantity;
use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::Fleet;
use crate::fleet::source::Path;

/// Kubernetes keeps priorities from here on for itself.
const MAX_PRIORITY: u32 = 1_000_000_000;

/// An amount is none.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum QuantityProblem {
    /// Not readable.
    #[error(
        "{text:?} is not a quantity: write a number with one of m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or nothing after it, like 200Gi"
    )]
    Unreadable {
        /// The text.
        text: String,
    },
    /// Nothing.
    #[error("{text:?} is nothing: a store needs some")]
    Zero {
        /// The text.
        text: String,
    },
    /// Above what Kubernetes lets anybody have.
    #[error("{priority} is a priority of Kubernetes' own: use {MAX_PRIORITY} at most")]
    Priority {
        /// The value.
        priority: u32,
    },
}

/// Checks all amounts.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    for (path, quantity) in all(fleet) {
        let text = quantity.text().to_owned();
        if !quantity.is_quantity() {
            findings.error(path, QuantityProblem::Unreadable { text });
        } else if quantity.milli() == 0 {
            findings.error(path, QuantityProblem::Zero { text });
        }
    }
    if fleet.priority > MAX_PRIORITY {
        findings.error(at("priority"), QuantityProblem::Priority { priority: fleet.priority });
    }
}

/// Whether all amounts can be compared.
#[must_use]
pub fn are_readable(fleet: &Fleet) -> bool {
    all(fleet).iter().all(|(_, quantity)| quantity.milli() > 0)
}

fn all(fleet: &Fleet) -> Vec<(Path, &Quantity)> {
    let resources = at("resources");
    let mut found = vec![
        (at("storage").key("size"), &fleet.storage.size),
        (resources.key("cpu"), &fleet.resources.cpu),
        (resources.key("memory"), &fleet.resources.memory),
        (resources.key("ephemeralStorage"), &fleet.resources.ephemeral_storage),
    ];
    if let Some(expected) = &fleet.expected {
        found.extend(expected.data.iter().map(|data| (at("expected").key("data"), data)));
        found.extend(expected.cpu.iter().map(|cpu| (at("expected").key("cpu"), cpu)));
    }
    for (index, site) in fleet.sites.iter().enumerate() {
        let path = at("sites").item(index).key("overrides");
        let (storage, resources) = (&site.overrides.storage, &site.overrides.resources);
        let own = [
            ("storage", "size", &storage.size),
            ("resources", "cpu", &resources.cpu),
            ("resources", "memory", &resources.memory),
            ("resources", "ephemeralStorage", &resources.ephemeral_storage),
        ];
        found.extend(
            own.into_iter().filter_map(|(of, key, quantity)| Some((path.key(of).key(key), quantity.as_ref()?))),
        );
    }
    found
}
