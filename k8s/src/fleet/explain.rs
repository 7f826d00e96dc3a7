//! What a fleet survives, what it costs and who is where, in sentences.

use std::fmt::Write as _;

use super::checks::equality::{Size, cores};
use super::checks::headroom::{copies, usable_bytes};
use super::model::{Connectivity, Fleet, IssuerKind, Survive, Trust};

/// Bytes as text: `1.5 TiB`.
#[must_use]
pub fn bytes(bytes: u128) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = bytes * 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    let text = format!("{}.{}", tenths / 10, tenths % 10);
    format!("{} {}", text.trim_end_matches(".0"), UNITS[unit])
}

/// Tells a fleet that has passed [`validate`](super::validate).
#[must_use]
pub fn explain(fleet: &Fleet) -> String {
    let sizes: Vec<_> = fleet.sites.iter().map(|site| Size::of(fleet, site)).collect();
    let sections = [
        ("", title(fleet)),
        ("What it survives", survives(fleet)),
        ("What it costs", costs(fleet, &sizes)),
        ("What it can hold and do", capacity(fleet, &sizes)),
        ("How stores reach each other", addresses(fleet)),
        ("How stores and clients know each other", trust(fleet)),
        ("What is not so yet", not_yet(fleet)),
    ];
    let mut out = String::new();
    for (heading, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        if !heading.is_empty() {
            writeln!(out, "\n{heading}").expect("a string takes everything");
        }
        let indent = if heading.is_empty() { "" } else { "  " };
        for line in lines {
            writeln!(out, "{indent}{line}").expect("a string takes everything");
        }
    }
    out
}

fn counted(number: impl Into<u128>, one: &str) -> String {
    let number = number.into();
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

fn title(fleet: &Fleet) -> Vec<String> {
    let stores: u32 = fleet.sites.iter().map(|site| fleet.shape(site).stores).sum();
    let sites = counted(u32::try_from(fleet.sites.len()).unwrap_or(u32::MAX), "site");
    vec![format!(
        "Fleet {}: {} in {sites}, in the namespace {} of each.",
        fleet.name,
        counted(stores, "store"),
        fleet.namespace
    )]
}

fn survives(fleet: &Fleet) -> Vec<String> {
    let sites = fleet.sites.len();
    let replicas = fleet.policy.replicas;
    let lost = (replicas - 1) / 2;
    let needed = replicas / 2 + 1;
    match fleet.policy.survive {
        Survive::Site => {
            let more = lost + 1;
            let together = if lost == 1 { "Any one site".to_owned() } else { format!("Any {lost} sites at once") };
            let mut lines = vec![
                format!(
                    "{together}: each range has {replicas} copies, never two in one site, and works while {needed} of them do."
                ),
                format!(
                    "Not {more} sites at once: ranges with copies in all of those stop until one of the sites is back. Nothing is lost if their disks come back."
                ),
            ];
            let is_tight = usize::try_from(replicas) == Ok(sites);
            lines.push(if is_tight {
                let then = if lost == 1 {
                    "Until it is back, losing one store of another site stops ranges too.".to_owned()
                } else {
                    format!("Until it is back, {} may follow it.", counted(lost - 1, "site"))
                };
                format!("While a site is gone its copies are not made anew, since no other site may take a second one. {then}")
            } else {
                "A site that stays away is replaced: its copies are made anew in the sites that are left.".to_owned()
            });
            lines
        }
        Survive::Store => vec![format!(
            "Any {}: each range has {replicas} copies in different stores, and works while {needed} of them do. Not the loss of a site, unless by luck.",
            if lost == 1 { "one store".to_owned() } else { format!("{lost} stores at once") }
        )],
    }
}

fn costs(fleet: &Fleet, sizes: &[Size]) -> Vec<String> {
    let mut lines = Vec::new();
    for site in &fleet.sites {
        let shape = fleet.shape(site);
        let class =
            shape.storage.class.map_or_else(|| "the default class".to_owned(), |class| format!("class {class}"));
        let resources = &shape.resources;
        lines.push(format!(
            "{}: {} with {} processors, {} of memory and a volume of {} ({class}).",
            site.name,
            if shape.stores == 1 { "1 store".to_owned() } else { format!("{} stores, each", shape.stores) },
            resources.cpu,
            resources.memory,
            shape.storage.size
        ));
    }
    let cpu: u128 = sizes.iter().map(|size| size.cpu_milli).sum();
    let disk: u128 = sizes.iter().map(|size| size.disk_bytes).sum();
    let memory: u128 = fleet
        .sites
        .iter()
        .map(|site| fleet.shape(site))
        .map(|shape| u128::from(shape.stores) * shape.resources.memory.whole())
        .sum();
    lines.push(format!(
        "In all: {} processors, {} of memory, {} of disk. A write goes to {} and is acknowledged when {} on disk.",
        cores(cpu),
        bytes(memory),
        bytes(disk),
        counted(fleet.policy.replicas - 1, "other store"),
        if fleet.policy.replicas <= 3 {
            "one of them has it".to_owned()
        } else {
            format!("{} of them have it", fleet.policy.replicas / 2)
        }
    ));
    lines
}

/// The most data that fits in so many copies, no two of them in one site.
///
/// When the k largest sites hold everything, the others share the rest of the copies: the least over k is what fits.
fn data_that_fits(mut rooms: Vec<u128>, copies: u128) -> u128 {
    rooms.sort_unstable_by(|left, right| right.cmp(left));
    let largest_full = 0..usize::try_from(copies).unwrap_or(0).min(rooms.len());
    let fits = largest_full.map(|full| {
        let rest: u128 = rooms[full..].iter().sum();
        rest / (copies - u128::try_from(full).unwrap_or(0))
    });
    fits.min().unwrap_or(0)
}

fn capacity(fleet: &Fleet, sizes: &[Size]) -> Vec<String> {
    let rooms: Vec<u128> = sizes.iter().map(usable_bytes).collect();
    let Some(worst) = sizes.iter().max() else { return Vec::new() };
    let are_equal = sizes.iter().all(|size| Size { site: worst.site.clone(), ..size.clone() } == *worst);
    let lost = if are_equal { "any one site" } else { worst.site.as_str() };
    let left: Vec<u128> = sizes.iter().filter(|size| size.site != worst.site).map(usable_bytes).collect();
    let all_copies = copies(fleet, sizes.len());
    let left_copies = copies(fleet, left.len());
    let today = data_that_fits(rooms, all_copies);
    let then = data_that_fits(left, left_copies);
    let cpu: u128 = sizes.iter().map(|size| size.cpu_milli).sum();
    let cpu_left = cpu - sizes.iter().map(|size| size.cpu_milli).max().unwrap_or(0);
    let mut lines = vec![
        format!("Today: {} of data, {}; {} processors.", bytes(today), in_copies(all_copies), cores(cpu)),
        format!(
            "With {lost} lost: {} of data, {}; {} processors.",
            bytes(then),
            in_copies(left_copies),
            cores(cpu_left)
        ),
        format!(
            "So that the loss of a site goes unnoticed: hold no more than {} and keep processors below {} % busy.",
            bytes(today.min(then)),
            100 * cpu_left / cpu.max(1)
        ),
    ];
    if let Some(expected) = &fleet.expected {
        let parts = [
            expected.data.as_ref().map(|data| format!("{data} of data")),
            expected.cpu.as_ref().map(|cpu| format!("{cpu} busy processors")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            lines.push(format!("Expected are {}, which fits with any one site lost.", parts.join(" and ")));
        }
    }
    lines
}

fn in_copies(copies: u128) -> String {
    if copies == 1 { "in one copy".to_owned() } else { format!("in {copies} copies") }
}

fn addresses(fleet: &Fleet) -> Vec<String> {
    let ports = fleet.ports;
    let mut lines = vec![
        format!("{}: {}", fleet.connectivity.name(), mode(&fleet.connectivity)),
        format!(
            "Between the sites, both ways: {} (clients and stores that join), {} (streams), {} (heartbeats). Within a site also {}.",
            ports.clients,
            ports.stores,
            ports.heartbeats(),
            if fleet.trust.is_in_force() {
                format!("{} (probes, in plain text) and {} (Prometheus)", ports.http, ports.metrics)
            } else {
                format!("{} (probes, Prometheus)", ports.http)
            }
        ),
        format!(
            "Programs in any site: {}.{}.svc:{}, which leads to a ready store of their own site.",
            fleet.name, fleet.namespace, ports.clients
        ),
        "Stores, from everywhere:".to_owned(),
    ];
    for site in &fleet.sites {
        for ordinal in fleet.ordinals(site) {
            lines.push(format!("  {:<12} {}:{}", site.name, fleet.host(site, ordinal), ports.clients));
        }
    }
    lines
}

fn mode(connectivity: &Connectivity) -> &'static str {
    match connectivity {
        Connectivity::FlatMirror => {
            "pods of all sites route to each other. Each site has a Service for every store of the others, whose addresses `holdfast fleet sync` writes; they outlive the site that they lead to."
        }
        Connectivity::FlatDns => {
            "pods of all sites route to each other. The DNS of each site forwards the domains of the others, so a site that is gone takes its names with it."
        }
        Connectivity::CiliumGlobal => {
            "Cilium ClusterMesh joins Services of the same name. A store's Service leads to it from every site."
        }
        Connectivity::Mcs { .. } => {
            "each site exports the Service of its stores, and the others find them below clusterset.local."
        }
        Connectivity::CalicoBgp => {
            "Calico announces the pod networks of the sites to each other by BGP. Addresses are mirrored as in flat-mirror."
        }
        Connectivity::Skupper => {
            "Skupper links the sites over one TLS port each, without a flat network. Every byte passes two routers, which cost processors and latency."
        }
        Connectivity::Istio => {
            "Istio joins Services of the same name through its east-west gateways, without a flat network. Every byte passes two proxies."
        }
        Connectivity::Loadbalancer { .. } => {
            "each store has a load balancer and a name that external-dns writes, without a flat network. That is one load balancer for each store."
        }
    }
}

fn trust(fleet: &Fleet) -> Vec<String> {
    let issued = match &fleet.trust {
        Trust::Insecure => {
            return vec![
                "Not at all: nothing is encrypted, and whoever reaches a port reads, writes and owns the fleet."
                    .to_owned(),
            ];
        }
        Trust::Secret { .. } => "You keep them up to date, in a Secret of each site".to_owned(),
        Trust::CertManager { issuer, duration, renew_before, .. } => {
            let kind = match issuer.kind {
                IssuerKind::Issuer => "Issuer",
                IssuerKind::Everywhere => "ClusterIssuer",
            };
            let before = renew_before.as_ref().map_or_else(
                || "when a third of that is left".to_owned(),
                |before| format!("{} before their end", before.text()),
            );
            format!(
                "The {kind} {} of each site issues them for {} and anew {before}, into a Secret of the site",
                issuer.name,
                duration.text()
            )
        }
    };
    let roots = match fleet.trust.bundle() {
        Some(bundle) => format!(
            "Roots that are trusted: {} of the ConfigMap {} of each site. Two of them while one replaces the other.",
            bundle.key, bundle.config_map
        ),
        None => "Roots that are trusted: ca.crt of the Secret. While one root replaces another it must hold both; an issuer may write one only, so \
                 name a ConfigMap with them (`bundle`) before that day."
            .to_owned(),
    };
    let mut lines = vec![
        "By certificates at both ends of every connection, by TLS 1.3. A store takes new ones without a restart."
            .to_owned(),
        format!("{issued}:"),
    ];
    for site in &fleet.sites {
        let identity = fleet.identity(site).unwrap_or_default();
        lines.push(format!("  {:<12} {}: {identity}", site.name, fleet.certificate_name(site)));
    }
    lines.push(roots);
    lines
}

fn not_yet(fleet: &Fleet) -> Vec<String> {
    if fleet.backup.is_none() {
        return Vec::new();
    }
    vec!["Backup: the program makes none yet; the target is checked, and nothing is rendered for it.".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_with_the_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(200 << 30), "200 GiB");
        assert_eq!(bytes(1_536 << 30), "1.5 TiB");
        assert_eq!(cores(4_000), "4");
        assert_eq!(cores(1_500), "1.5");
    }

    #[test]
    fn data_that_fits_takes_no_second_copy_into_a_site() {
        assert_eq!(data_that_fits(vec![100, 100, 100], 3), 100);
        assert_eq!(data_that_fits(vec![100, 100, 100, 100], 3), 133);
        // The large one holds everything once; the others share the second copy.
        assert_eq!(data_that_fits(vec![1_000, 50, 50], 2), 100);
        assert_eq!(data_that_fits(vec![100, 100], 2), 100);
    }
}
