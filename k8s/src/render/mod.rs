//! x
use crate::fleet::Fleet;
/// x
pub struct SiteTree;
/// x
pub fn render(_: &Fleet) -> Vec<SiteTree> { Vec::new() }
