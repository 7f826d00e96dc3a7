//! What the types cannot say: values that do not fit each other. One file a concern; none knows of another.

pub mod backup;
pub mod equality;
pub mod headroom;
pub mod identity;
pub mod image;
pub mod names;
pub mod networks;
pub mod policy;
pub mod ports;
pub mod quantities;
pub mod sites;
pub mod trust;
pub mod version;

use super::finding::Findings;
use super::model::Fleet;

/// Runs all checks of a file whose keys and types are right.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    names::check(fleet, findings);
    identity::check(fleet, findings);
    image::check(fleet, findings);
    ports::check(fleet, findings);
    policy::check(fleet, findings);
    sites::check(fleet, findings);
    networks::check(fleet, findings);
    trust::check(fleet, findings);
    backup::check(fleet, findings);
    quantities::check(fleet, findings);
    // What compares amounts needs them to be amounts.
    if !fleet.sites.is_empty() && quantities::are_readable(fleet) {
        equality::check(fleet, findings);
        headroom::check(fleet, findings);
    }
}
