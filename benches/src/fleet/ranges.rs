//! The ranges of a fleet as its stores know them, and waiting until they are as they should be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use holdfast_proto::v1;

use super::{LocalFleet, POLL_EVERY, tail};

/// A store that takes longer to say what it knows is passed over.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Lines that are said at most about ranges that are not as they should be.
const SAID_LINES: usize = 20;

impl LocalFleet {
    /// All ranges as store `index` knows them.
    pub async fn ranges(&self, index: usize) -> anyhow::Result<Vec<v1::LocatedRange>> {
        let mut fleet = self.fleet_client(index).await?;
        let request = v1::LocateRequest { limit: 1_000, ..v1::LocateRequest::default() };
        Ok(fleet.locate(request).await?.into_inner().ranges)
    }

    /// All ranges as the running stores know them together: of each range the newest descriptor and the newest leader. A store
    /// that holds no replica of a range, or no more, may know an old one.
    pub async fn newest_ranges(&mut self) -> Vec<v1::LocatedRange> {
        let mut newest: BTreeMap<u64, v1::LocatedRange> = BTreeMap::new();
        for index in 0..self.stores.len() {
            if !self.is_running(index) {
                continue;
            }
            // A store that does not answer knows nothing that counts now.
            let asked = tokio::time::timeout(ANSWER_WITHIN, self.ranges(index)).await;
            for range in asked.ok().and_then(Result::ok).unwrap_or_default() {
                let Some(id) = range.descriptor.as_ref().map(|descriptor| descriptor.range_id) else { continue };
                let known = newest.entry(id).or_insert_with(|| range.clone());
                if epoch(&range) > epoch(known) {
                    known.descriptor.clone_from(&range.descriptor);
                }
                if range.leader.is_some() && (known.leader.is_none() || range.term > known.term) {
                    known.leader.clone_from(&range.leader);
                    known.term = range.term;
                }
            }
        }
        newest.into_values().collect()
    }

    /// Waits until every range has a leader and a voter in each of up to three sites.
    pub async fn wait_spread(&mut self, within: Duration) -> anyhow::Result<()> {
        // Two voters survive no more than one does.
        let wanted = if self.options.sites < 3 { 1 } else { 3 };
        self.wait_ranges(within, "spread over the sites", move |range| {
            let descriptor = range.descriptor.as_ref();
            let voters = descriptor.map_or(0, |d| {
                let voter = v1::ReplicaRole::Voter as i32;
                let all = d.replicas.iter().all(|replica| replica.role == voter);
                if all { d.replicas.len() } else { 0 }
            });
            voters >= wanted && range.leader.is_some()
        })
        .await
    }

    /// Waits until the newest that is known of all ranges looks as wanted.
    pub async fn wait_ranges(
        &mut self,
        within: Duration,
        what: &str,
        is_well: impl Fn(&v1::LocatedRange) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let running = (0..self.stores.len()).find(|index| self.is_running(*index)).context("no store runs")?;
            let ranges = self.newest_ranges().await;
            if !ranges.is_empty() && ranges.iter().all(&is_well) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let odd = ranges.iter().filter(|range| !is_well(range)).map(in_words);
                let mut said = vec![format!("ranges are not {what} after {} s:", within.as_secs())];
                said.extend(odd.chain(self.warnings(running).await).take(SAID_LINES));
                bail!("{}\nthe log of a store ends so:\n{}", said.join("\n  "), tail(&self.log(running)));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// What the fleet warns of, as store `index` knows it.
    async fn warnings(&self, index: usize) -> Vec<String> {
        let Ok(mut admin) = self.admin_client(index).await else { return Vec::new() };
        let sites = admin.list_sites(v1::ListSitesRequest {}).await.map(tonic::Response::into_inner);
        sites.map(|sites| sites.warnings).unwrap_or_default()
    }

    /// Leaders of each site, by the newest that is known.
    pub async fn leaders_by_site(&mut self) -> BTreeMap<String, usize> {
        let mut leaders = BTreeMap::new();
        for range in self.newest_ranges().await {
            let (Some(descriptor), Some(leader)) = (range.descriptor, range.leader) else { continue };
            if let Some(replica) = descriptor.replicas.iter().find(|replica| replica.store_id == leader.store_id) {
                *leaders.entry(replica.site.clone()).or_default() += 1;
            }
        }
        leaders
    }

    /// Waits until every site leads some range, when there are enough of them.
    pub async fn wait_leaders_balanced(&mut self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let leaders = self.leaders_by_site().await;
            if leaders.len() >= self.options.sites {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "some site leads nothing after {within:?}: {leaders:?}");
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// How often a range has changed.
fn epoch(range: &v1::LocatedRange) -> (u64, u64) {
    let epoch = range.descriptor.as_ref().and_then(|descriptor| descriptor.epoch);
    epoch.map_or((0, 0), |epoch| (epoch.bounds, epoch.membership))
}

/// A range in a line.
fn in_words(range: &v1::LocatedRange) -> String {
    let Some(descriptor) = &range.descriptor else { return "a range without a descriptor".to_owned() };
    let leader = range.leader.as_ref().map_or_else(|| "nobody".to_owned(), |leader| format!("s{}", leader.store_id));
    let replicas = descriptor.replicas.iter().map(|replica| {
        let role = if replica.role == v1::ReplicaRole::Voter as i32 { "" } else { ", no voter yet" };
        format!("s{} ({}{role})", replica.store_id, replica.site)
    });
    let replicas: Vec<_> = replicas.collect();
    format!("r{}, led by {leader}, has replicas on {}", descriptor.range_id, replicas.join(", "))
}
