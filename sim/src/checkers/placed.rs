//! No two voters of a range in one site, in either half of its configuration.

use holdfast_types::RangeDescriptor;

/// Checks a shape that was applied.
pub fn check(descriptor: &RangeDescriptor) -> Result<(), String> {
    descriptor.check()?;
    match descriptor.crowded_site() {
        Some(site) => Err(format!("two voters of one half are in {site}: {descriptor:?}")),
        None => Ok(()),
    }
}
