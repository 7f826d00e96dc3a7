//! What the stores of a fleet say to its control plane: who lives, who holds what, and what speaks against taking anything away now.
//!
//! They are asked at the addresses that are given, or, without any, through the API servers: whoever operates a fleet is seldom in its network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_client::Security;
use holdfast_client::admin::{Admin, RangeStatus, Ranges, Role, StoreId, StoreStatus};
use holdfast_control::connect::Reach;
use holdfast_control::stores::{FleetView, StoreLine, StoreView, Stores, Trouble};
use holdfast_control::tunnel::{self, Tunnel};
use holdfast_control::views::PodView;
use holdfast_control::{link::Link, sync};
use holdfast_k8s::Fleet;
use holdfast_k8s::fleet::Site;
use tokio::time::timeout;

use crate::drain::left_on;
use crate::status::describe_any;

/// Once a way to one store is found, other sites are waited for so long.
const OTHERS_WITHIN: Duration = Duration::from_secs(2);
/// Pods of each site that ways are opened to.
const PODS_OF_SITE: usize = 2;
/// A replica that lacks more entries than this is not counted on yet: a busy range writes as many in a second or less.
const BEHIND_AT_MOST: u64 = 2_000;

/// The stores of a fleet, found by its file.
pub struct FleetStores<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// Its sites.
    pub reaches: &'a [Reach],
    /// Client addresses; empty: through the API servers.
    pub at: Vec<String>,
    /// How they are asked.
    pub security: Security,
}

/// What a site's API server says of its pods.
struct Pods {
    site: String,
    pods: Vec<PodView>,
    /// Addresses of other sites' pods, as they were mirrored there.
    mirrored: Vec<(String, String)>,
    /// Ways to some of them; they close when they are dropped.
    tunnels: Vec<Tunnel>,
}

#[async_trait]
impl Stores for FleetStores<'_> {
    async fn view(&self) -> StoreView {
        let pods = self.pods().await;
        let mut addresses = self.at.clone();
        addresses.extend(pods.iter().flat_map(|site| &site.tunnels).map(|tunnel| tunnel.address.to_string()));
        if addresses.is_empty() {
            return StoreView::Unknown(
                "no pod of a store runs in a site that is reached; name stores with --at".to_owned(),
            );
        }
        self.ask(&addresses, &pods).await.unwrap_or_else(|error| StoreView::Unknown(format!("{error:#}")))
    }
}

impl FleetStores<'_> {
    /// The pods of each site that answers soon, and ways to some of them if no addresses are given.
    async fn pods(&self) -> Vec<Pods> {
        let links = self.reaches.iter().filter_map(|reach| Some((&reach.site, reach.link.as_ref().ok()?)));
        let mut asked: FuturesUnordered<_> = links.map(|(site, link)| self.pods_of(site, link)).collect();
        let mut found: Vec<Pods> = Vec::new();
        while !asked.is_empty() {
            let has_way = found.iter().any(|site| !site.tunnels.is_empty());
            let next = if has_way { timeout(OTHERS_WITHIN, asked.next()).await } else { Ok(asked.next().await) };
            let Ok(Some(site)) = next else { break };
            found.push(site);
        }
        found
    }

    async fn pods_of(&self, site: &Site, link: &Link) -> Pods {
        let pods = sync::pods(self.fleet, site, link).await.unwrap_or_default();
        let mut tunnels = Vec::new();
        let running = pods.iter().filter(|pod| pod.is_started && !pod.is_leaving && self.at.is_empty());
        for pod in running.take(PODS_OF_SITE) {
            tunnels.extend(tunnel::open(link, &self.fleet.namespace, &pod.name, self.fleet.ports.clients).await);
        }
        let mirrored = sync::mirrored(self.fleet, link).await.unwrap_or_default();
        Pods { site: site.name.clone(), pods, mirrored, tunnels }
    }

    async fn ask(&self, addresses: &[String], pods: &[Pods]) -> anyhow::Result<StoreView> {
        let (described, addresses) = describe_any(addresses, &self.security).await?;
        if described.fleet.is_none() {
            return Ok(StoreView::NotFounded);
        }
        let admin = Admin::connect_with(addresses, self.security.clone()).await?;
        let (stores, ranges) = tokio::try_join!(admin.stores(), admin.all_ranges(Ranges::All))?;
        let names = pods_of_stores(self.fleet, &stores.stores, pods);
        Ok(StoreView::Known(fleet_view(self.fleet.policy.replicas, &stores.stores, &ranges.ranges, &names)))
    }
}

/// Which store is in which pod: by the address that its pod has, or had when it was mirrored last, by the name that it advertises, or because both are
/// the only ones left in their site.
fn pods_of_stores(fleet: &Fleet, stores: &[StoreStatus], pods: &[Pods]) -> BTreeMap<StoreId, String> {
    let by_address = |address: &str| {
        let host = address.rsplit_once(':')?.0.trim_start_matches('[').trim_end_matches(']');
        let mut live = pods.iter().flat_map(|site| &site.pods);
        let live = live.find(|pod| pod.addresses.iter().any(|own| own == host)).map(|pod| pod.name.clone());
        let mut mirrored = pods.iter().flat_map(|site| &site.mirrored);
        let mirrored = || mirrored.find(|(address, _)| address == host).map(|(_, pod)| pod.clone());
        live.or_else(mirrored).or_else(|| named_pod(fleet, host))
    };
    let found = stores.iter().filter_map(|store| Some((store.store, by_address(&store.client_address)?)));
    let mut known: BTreeMap<StoreId, String> = found.collect();
    // An address that a dead store had may be another pod's by now.
    let living: BTreeSet<_> =
        stores.iter().filter(|store| store.alive).filter_map(|store| known.get(&store.store)).cloned().collect();
    let is_alive = |id: &StoreId| stores.iter().any(|store| store.store == *id && store.alive);
    known.retain(|store, pod| is_alive(store) || !living.contains(pod));
    // A store that was just restarted, or is dead, advertises an address that its pod has no more.
    for Pods { site, pods, .. } in pods {
        let mut lost = stores.iter().filter(|store| store.site.as_str() == *site && !known.contains_key(&store.store));
        let mut free = pods.iter().filter(|pod| known.values().all(|name| *name != pod.name));
        if let (Some(store), None, Some(pod), None) = (lost.next(), lost.next(), free.next(), free.next()) {
            known.insert(store.store, pod.name.clone());
        }
    }
    known
}

/// The pod that a host name leads to, if it is one of the fleet's: also one that the file has no more.
fn named_pod(fleet: &Fleet, host: &str) -> Option<String> {
    const POD: &str = "@";
    let of_site = |site: &Site| {
        let template = fleet.host_of(site, POD);
        let pod = host.strip_suffix(template.strip_prefix(POD)?)?;
        let ordinal = pod.strip_prefix(&fleet.set_name(site))?.strip_prefix('-')?;
        ordinal.parse::<u32>().ok().map(|_| pod.to_owned())
    };
    fleet.sites.iter().find_map(of_site)
}

/// What the answers amount to. `replicas`: voters that every range is to have, once there are as many sites.
fn fleet_view(
    replicas: u32,
    stores: &[StoreStatus],
    ranges: &[RangeStatus],
    pods: &BTreeMap<StoreId, String>,
) -> FleetView {
    let line = |store: &StoreStatus| StoreLine {
        store: store.store.to_string(),
        pod: pods.get(&store.store).cloned(),
        site: store.site.to_string(),
        is_alive: store.alive,
        is_draining: store.draining,
        is_leaving: store.leaving_at.is_some(),
        // By the ranges and not by its own word: a store that does not answer still holds them.
        replicas: left_on(store.store, ranges).0.max(store.replicas),
        leaders: store.leaders,
        version: store.version.clone(),
    };
    let lines: Vec<_> = stores.iter().map(line).collect();
    let names: BTreeMap<StoreId, &StoreLine> = stores.iter().map(|store| store.store).zip(&lines).collect();
    let sites: BTreeSet<_> = stores.iter().map(|store| &store.site).collect();
    // Placement makes three voters of one when there are three sites, and not before.
    let voters = usize::try_from(replicas).ok().filter(|replicas| sites.len() >= *replicas).unwrap_or(1);
    let mut troubles = troubles_of_stores(stores, &names);
    troubles.extend(troubles_of_ranges(voters, ranges, &names));
    let ranges_led = ranges.iter().filter(|range| range.leader.is_some()).count();
    FleetView { stores: lines, troubles, ranges: ranges.len(), ranges_led }
}

fn name(line: &StoreLine) -> String {
    line.pod.as_ref().map_or_else(|| line.store.clone(), |pod| format!("{} ({pod})", line.store))
}

fn troubles_of_stores(stores: &[StoreStatus], names: &BTreeMap<StoreId, &StoreLine>) -> Vec<Trouble> {
    let trouble = |store: &StoreStatus| {
        let line = names[&store.store];
        let what = if line.is_drained() {
            // It is not missed.
            return None;
        } else if !store.alive {
            format!("{} does not answer", name(line))
        } else if let Some(complaint) = store.complaints.first() {
            format!("{} complains: {}", name(line), complaint.message)
        } else {
            return None;
        };
        Some(Trouble { pod: line.pod.clone(), what })
    };
    stores.iter().filter_map(trouble).collect()
}

/// Ranges that are not led, or short of a replica that can be counted on; counted by the stores that it comes from.
fn troubles_of_ranges(voters: usize, ranges: &[RangeStatus], names: &BTreeMap<StoreId, &StoreLine>) -> Vec<Trouble> {
    let unled = ranges.iter().filter(|range| range.leader.is_none()).count();
    let small = ranges.iter().filter(|range| is_voter_count_below(range, voters)).count();
    let mut weak: BTreeMap<Vec<StoreId>, usize> = BTreeMap::new();
    for range in ranges {
        let missing = not_counted_on(range, names);
        if !missing.is_empty() {
            *weak.entry(missing).or_default() += 1;
        }
    }
    let mut found = Vec::new();
    if unled > 0 {
        found.push(Trouble { pod: None, what: format!("{unled} ranges are led by no store") });
    }
    if small > 0 {
        found.push(Trouble { pod: None, what: format!("{small} ranges have fewer than {voters} voters") });
    }
    for (stores, count) in weak {
        let lines: Vec<_> = stores.iter().filter_map(|store| names.get(store)).collect();
        let said: Vec<_> = lines.iter().map(|line| name(line)).collect();
        let pod = if let [one] = lines.as_slice() { one.pod.clone() } else { None };
        found.push(Trouble { pod, what: format!("{count} ranges are short of their replicas on {}", said.join(", ")) });
    }
    found
}

fn is_voter_count_below(range: &RangeStatus, voters: usize) -> bool {
    let is_voter = |role| matches!(role, Role::Voter | Role::IncomingVoter);
    range.descriptor.replicas.iter().filter(|replica| is_voter(replica.role)).count() < voters
}

/// Stores whose voters of the range are away, or far behind its leader.
fn not_counted_on(range: &RangeStatus, names: &BTreeMap<StoreId, &StoreLine>) -> Vec<StoreId> {
    let leader = range.leader.and_then(|leader| range.applied.get(&leader));
    let is_behind = |store: StoreId| match (leader, range.applied.get(&store)) {
        (Some(leader), Some(applied)) => leader.0.saturating_sub(applied.0) > BEHIND_AT_MOST,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let is_away = |store: StoreId| names.get(&store).is_none_or(|line| !line.is_alive);
    let voters = range.descriptor.replicas.iter().filter(|replica| replica.role == Role::Voter);
    let mut missing: Vec<_> =
        voters.map(|replica| replica.store).filter(|store| is_away(*store) || is_behind(*store)).collect();
    missing.sort();
    missing
}

#[cfg(test)]
mod tests {
    use holdfast_client::admin::{LogIndex, Timestamp};

    use super::*;
    use crate::fixtures;

    const SITES: [&str; 3] = ["east", "west", "north"];

    fn site_of(store: u64) -> &'static str {
        SITES[usize::try_from(store - 1).unwrap() % 3]
    }

    fn store(id: u64) -> StoreStatus {
        let site = site_of(id);
        let client_address = format!("prod-{site}-{}.holdfast.svc:7300", (id - 1) / 3);
        StoreStatus { client_address, replicas: 1, ..fixtures::store(id, site) }
    }

    fn range(stores: &[u64]) -> RangeStatus {
        let stores: Vec<_> = stores.iter().map(|id| (*id, site_of(*id))).collect();
        fixtures::range(1, &stores, 0)
    }

    fn fleet() -> Fleet {
        let text = std::fs::read_to_string("../k8s/examples/flat-mirror/fleet.yaml").unwrap();
        holdfast_k8s::validate(&text).fleet.unwrap()
    }

    fn view(stores: &[StoreStatus], ranges: &[RangeStatus]) -> FleetView {
        fleet_view(3, stores, ranges, &pods_of_stores(&fleet(), stores, &[]))
    }

    fn said(view: &FleetView) -> Vec<(Option<&str>, &str)> {
        view.troubles.iter().map(|trouble| (trouble.pod.as_deref(), trouble.what.as_str())).collect()
    }

    #[test]
    fn a_fleet_that_is_well_has_no_troubles_and_each_store_has_its_pod() {
        let view = view(&[store(1), store(2), store(3), store(4)], &[range(&[1, 2, 3])]);
        assert!(view.troubles.is_empty(), "{view:?}");
        let pods: Vec<_> = view.stores.iter().map(|store| store.pod.clone().unwrap()).collect();
        assert_eq!(pods, ["prod-east-0", "prod-west-0", "prod-north-0", "prod-east-1"]);
        assert_eq!((view.ranges, view.ranges_led), (1, 1));
    }

    #[test]
    fn pods_that_the_file_has_no_more_are_known_and_addresses_elsewhere_are_not() {
        let fleet = fleet();
        assert_eq!(named_pod(&fleet, "prod-east-7.holdfast.svc").as_deref(), Some("prod-east-7"));
        for other in ["127.0.0.1", "prod-south-0.holdfast.svc", "prod-east-x.holdfast.svc", "prod-east-0"] {
            assert_eq!(named_pod(&fleet, other), None, "{other}");
        }
    }

    #[test]
    fn stores_that_advertise_addresses_are_found_by_them_or_as_the_only_ones_left() {
        let at = |address: &str, store: StoreStatus| StoreStatus { client_address: format!("{address}:7300"), ..store };
        let pod = |name: &str, address: &str| PodView {
            name: name.into(),
            addresses: vec![address.into()],
            ..PodView::default()
        };
        let east = |pods: Vec<PodView>, mirrored| [Pods { site: "east".into(), pods, mirrored, tunnels: Vec::new() }];
        let both_pods = || vec![pod("prod-east-0", "10.0.0.9"), pod("prod-east-1", "10.0.0.2")];
        // The pod of s1 has come back elsewhere.
        let stores = [at("10.0.0.1", store(1)), at("10.1.0.1", store(2)), at("10.0.0.2", store(4))];
        let found = pods_of_stores(&fleet(), &stores, &east(both_pods(), Vec::new()));
        let wanted = [(StoreId(1), "prod-east-0".to_owned()), (StoreId(4), "prod-east-1".to_owned())];
        assert_eq!(found, wanted.into());
        // Two that are not known are not guessed at.
        let both = [at("10.0.0.1", store(1)), at("10.0.0.3", store(4))];
        assert!(pods_of_stores(&fleet(), &both, &east(both_pods(), Vec::new())).is_empty());
        // Unless it is known where they were.
        let mirrored = vec![("10.0.0.3".to_owned(), "prod-east-1".to_owned())];
        let found = pods_of_stores(&fleet(), &both, &east(both_pods(), mirrored));
        assert_eq!(found[&StoreId(4)], "prod-east-1");
        let by_six = [at("[fd00::1]", store(1)), at("[fd00::2]", store(4))];
        assert_eq!(pods_of_stores(&fleet(), &by_six, &east(vec![pod("prod-east-0", "fd00::1")], Vec::new())).len(), 1);
    }

    #[test]
    fn a_store_that_left_empty_is_not_missed() {
        let gone = StoreStatus { alive: false, replicas: 0, leaving_at: Some(Timestamp(1)), ..store(4) };
        let view = view(&[store(1), store(2), store(3), gone], &[range(&[1, 2, 3])]);
        assert!(view.troubles.is_empty(), "{view:?}");
        assert_eq!(view.may_remove(&["prod-east-1".into()]), Ok(()));
    }

    #[test]
    fn a_dead_store_still_holds_its_replicas_and_the_trouble_is_its_own() {
        let dead = StoreStatus { alive: false, replicas: 0, ..store(2) };
        let mut short = range(&[1, 2, 3]);
        short.applied.remove(&StoreId(2));
        let view = view(&[store(1), dead, store(3)], &[short]);
        assert_eq!(view.stores[1].replicas, 1);
        assert!(view.may_remove(&["prod-west-0".into()]).is_err());
        let pod = Some("prod-west-0");
        let wanted = [
            (pod, "s2 (prod-west-0) does not answer"),
            (pod, "1 ranges are short of their replicas on s2 (prod-west-0)"),
        ];
        assert_eq!(said(&view), wanted);
    }

    #[test]
    fn ranges_that_are_unled_small_or_behind_are_troubles() {
        let unled = RangeStatus { leader: None, ..range(&[1, 2, 3]) };
        let mut behind = range(&[1, 2, 3]);
        behind.applied.insert(StoreId(3), LogIndex(1));
        let view = view(&[store(1), store(2), store(3)], &[unled, range(&[1]), behind]);
        let wanted = [
            (None, "1 ranges are led by no store"),
            (None, "1 ranges have fewer than 3 voters"),
            (Some("prod-north-0"), "1 ranges are short of their replicas on s3 (prod-north-0)"),
        ];
        assert_eq!(said(&view), wanted);
    }

    #[test]
    fn a_fleet_that_has_one_site_so_far_is_not_asked_for_three_voters() {
        assert!(view(&[store(1)], &[range(&[1])]).troubles.is_empty());
    }
}
