//! Are there enough sites, and is their number a good one?

use crate::fleet::at;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Fleet, Survive};

/// The number of sites does not fit the goal.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum SitesProblem {
    /// Not one site for each copy.
    #[error(
        "`survive: site` needs a site for each of the {replicas} copies of a range, and there {}: add {}, or say `survive: store`",
        number(*.sites, "is", "are"), count(.replicas - .sites)
    )]
    TooFew {
        /// Copies of a range.
        replicas: usize,
        /// Sites of the fleet.
        sites: usize,
    },
    /// Not one store for each copy.
    #[error("`replicas: {replicas}` needs as many stores, and the fleet has {stores}: add stores or sites")]
    TooFewStores {
        /// Copies of a range.
        replicas: u64,
        /// Stores of the fleet.
        stores: u64,
    },
    /// An even number.
    #[error(
        "{sites} sites bear the loss of {} at once, as {} would: a majority of {sites} is {}. An odd number bears more for each site",
        (.sites - 1) / 2, .sites - 1, .sites / 2 + 1
    )]
    Even {
        /// Sites of the fleet.
        sites: usize,
    },
}

fn number(sites: usize, one: &str, more: &str) -> String {
    if sites == 1 { format!("{one} 1") } else { format!("{more} {sites}") }
}

fn count(sites: usize) -> String {
    if sites == 1 { "1 site".to_owned() } else { format!("{sites} sites") }
}

/// Checks the number of sites.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let sites = fleet.sites.len();
    let replicas = usize::try_from(fleet.policy.replicas).unwrap_or(usize::MAX);
    let stores: u64 = fleet.sites.iter().map(|site| u64::from(fleet.shape(site).stores)).sum();
    if fleet.policy.survive == Survive::Site && sites < replicas {
        return findings.error(at("sites"), SitesProblem::TooFew { replicas, sites });
    }
    if stores < u64::from(fleet.policy.replicas) {
        let replicas = fleet.policy.replicas.into();
        return findings.error(at("sites"), SitesProblem::TooFewStores { replicas, stores });
    }
    if sites > 0 && sites.is_multiple_of(2) {
        findings.warning(at("sites"), SitesProblem::Even { sites });
    }
}
