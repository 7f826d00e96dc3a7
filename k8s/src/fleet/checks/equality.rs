//! Do all sites have the same to lose? The fleet must be built for the loss of its largest.

use crate::fleet::at;
use crate::fleet::explain::bytes;
use crate::fleet::finding::Findings;
use crate::fleet::model::{Fleet, Site};

/// What a site consists of, summed up.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
pub struct Size {
    /// Bytes of all its disks.
    pub disk_bytes: u128,
    /// Thousandths of processors.
    pub cpu_milli: u128,
    /// Stores.
    pub stores: u32,
    /// The site.
    pub site: String,
}

impl Size {
    /// Of one site.
    #[must_use]
    pub fn of(fleet: &Fleet, site: &Site) -> Self {
        let shape = fleet.shape(site);
        let stores = u128::from(shape.stores);
        Self {
            disk_bytes: stores * shape.storage.size.whole(),
            cpu_milli: stores * shape.resources.cpu.milli(),
            stores: shape.stores,
            site: site.name.clone(),
        }
    }

    fn text(&self) -> String {
        let stores = if self.stores == 1 { "store" } else { "stores" };
        let (disks, cpu) = (bytes(self.disk_bytes), cores(self.cpu_milli));
        format!("{} {stores}, {disks} of disk and {cpu} processors", self.stores)
    }
}

/// Processors as text, without decimals that say nothing.
#[must_use]
pub fn cores(milli: u128) -> String {
    let text = format!("{}.{:03}", milli / 1_000, milli % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Sites differ.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum EqualityProblem {
    /// The smallest and the largest.
    #[error(
        "the sites are unequal: {} has {}, {} has {}. When {} is lost, {lost_percent} % of the disks or processors are gone rather than {fair_percent} %",
        .smallest.site, .smallest.text(), .largest.site, .largest.text(), .largest.site
    )]
    Unequal {
        /// The smallest site.
        smallest: Size,
        /// The largest.
        largest: Size,
        /// What is lost with it, of whichever is more.
        lost_percent: u128,
        /// What would be lost if all were equal.
        fair_percent: u128,
    },
}

/// Compares the sites.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let sizes: Vec<_> = fleet.sites.iter().map(|site| Size::of(fleet, site)).collect();
    let (Some(smallest), Some(largest)) = (sizes.iter().min(), sizes.iter().max()) else { return };
    let measure = |size: &Size| (size.disk_bytes, size.cpu_milli, size.stores);
    if measure(smallest) == measure(largest) {
        return;
    }
    let share = |of: fn(&Size) -> u128| {
        let all: u128 = sizes.iter().map(of).sum();
        (100 * of(largest) + all / 2) / all.max(1)
    };
    let lost_percent = share(|size| size.disk_bytes).max(share(|size| size.cpu_milli));
    let count = u128::try_from(sizes.len()).unwrap_or(1);
    let problem = EqualityProblem::Unequal {
        smallest: smallest.clone(),
        largest: largest.clone(),
        lost_percent,
        fair_percent: (100 + count / 2) / count,
    };
    findings.warning(at("sites"), problem);
}
