//! Can the other sites bear it when one is lost? What N sites did, N-1 must do: N/(N-1) of what each did before.
//!
//! Disks: while as many sites are left as a range has copies, lost copies are made anew, and must find room. With fewer left nothing is
//! made anew, and what is there stays. No site takes two copies of the same byte, so a site counts for no more than all data.
//! Processors: the load of the lost site goes to the others.

use holdfast_types::limits;

use super::equality::{Size, cores};
use crate::fleet::amounts::Quantity;
use crate::fleet::at;
use crate::fleet::explain::bytes;
use crate::fleet::finding::Findings;
use crate::fleet::model::Fleet;

/// Of a disk, what data may take: stores refuse writes when less is free, and logs of ranges that wait for an absent site need room.
const USABLE_PERCENT: u64 = 100 - limits::DISK_FULL_PERCENT - limits::LOG_KEEP_DISK_PERCENT;

/// What is expected does not fit.
#[derive(thiserror::Error, PartialEq, Eq, Debug, Clone)]
pub enum HeadroomProblem {
    /// Not even with all sites up.
    #[error(
        "{} in {copies} copies are {}, and the disks of all sites have {} for data ({USABLE_PERCENT} % of each): {} too little",
        bytes(*.data), bytes(.data * .copies), bytes(*.room), bytes(.data * .copies - .room)
    )]
    Disks {
        /// Bytes, each counted once.
        data: u128,
        /// Copies.
        copies: u128,
        /// Bytes that fit.
        room: u128,
    },
    /// Not with one site lost.
    #[error(
        "with site {site} lost, the other {others} must hold {} ({} each) and have {} for data ({USABLE_PERCENT} % of each disk): {} too little; \
         disks {factor} times as large would do",
        bytes(*.needed), bytes(.needed / .others), bytes(*.room), bytes(.needed - .room)
    )]
    DisksWithOneLost {
        /// The site whose loss is worst.
        site: String,
        /// Sites that are left.
        others: u128,
        /// Bytes that they must hold.
        needed: u128,
        /// Bytes that fit.
        room: u128,
        /// How much larger the disks must be.
        factor: String,
    },
    /// Not with one site lost.
    #[error(
        "with site {site} lost, needs {needs}x, has {has}x: {} processors are busy at the peak and {} are left, {} too few",
        cores(*.busy), cores(*.left), cores(.busy - .left)
    )]
    ProcessorsWithOneLost {
        /// The site whose loss is worst.
        site: String,
        /// What each of the others must do, in terms of what it does now.
        needs: String,
        /// What it can do.
        has: String,
        /// Thousandths of processors that are busy.
        busy: u128,
        /// Thousandths that are left.
        left: u128,
    },
}

/// A quotient as text, rounded up to hundredths.
fn ratio(part: u128, whole: u128) -> String {
    let hundredths = (part * 100).div_ceil(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Bytes of data that a site has room for.
#[must_use]
pub fn usable_bytes(size: &Size) -> u128 {
    size.disk_bytes * u128::from(USABLE_PERCENT) / 100
}

/// Copies of each range that are kept with this many sites up.
#[must_use]
pub fn copies(fleet: &Fleet, sites: usize) -> u128 {
    u128::from(fleet.policy.replicas).min(u128::try_from(sites).unwrap_or(u128::MAX))
}

/// Checks what is expected of the fleet against what is left with the worst site lost.
pub fn check(fleet: &Fleet, findings: &mut Findings<'_>) {
    let Some(expected) = &fleet.expected else { return };
    let sizes: Vec<_> = fleet.sites.iter().map(|site| Size::of(fleet, site)).collect();
    let problem = expected.data.as_ref().and_then(|data| disks(fleet, &sizes, data));
    if let Some(problem) = problem {
        findings.error(at("expected").key("data"), problem);
    }
    let problem = expected.cpu.as_ref().and_then(|busy| processors(&sizes, busy.milli()));
    if let Some(problem) = problem {
        findings.error(at("expected").key("cpu"), problem);
    }
}

fn disks(fleet: &Fleet, sizes: &[Size], data: &Quantity) -> Option<HeadroomProblem> {
    let data = data.whole();
    let rooms = || sizes.iter().map(|size| usable_bytes(size).min(data));
    let all: u128 = rooms().sum();
    let kept = copies(fleet, sizes.len());
    if all < data * kept {
        return Some(HeadroomProblem::Disks { data, copies: kept, room: all });
    }
    let largest = rooms().max()?;
    // Of equals the first.
    let (lost, _) = sizes.iter().zip(rooms()).find(|(_, room)| *room == largest)?;
    let others = sizes.len() - 1;
    let (needed, room) = (data * copies(fleet, others), all - largest);
    (room < needed).then(|| HeadroomProblem::DisksWithOneLost {
        site: lost.site.clone(),
        others: u128::try_from(others).unwrap_or(1),
        needed,
        room,
        factor: ratio(needed, room),
    })
}

fn processors(sizes: &[Size], busy: u128) -> Option<HeadroomProblem> {
    let all: u128 = sizes.iter().map(|size| size.cpu_milli).sum();
    let most = sizes.iter().map(|size| size.cpu_milli).max()?;
    let lost = sizes.iter().find(|size| size.cpu_milli == most)?;
    let left = all - lost.cpu_milli;
    (left < busy).then(|| HeadroomProblem::ProcessorsWithOneLost {
        site: lost.site.clone(),
        needs: ratio(all, left),
        has: ratio(all, busy),
        busy,
        left,
    })
}
