//! What `holdfast status --ranges --json` and `holdfast trust status --json` say.

use std::collections::BTreeSet;

use serde::Deserialize;

/// How many sites hold each range.
const COPIES: usize = 3;

/// The fleet, as one of its stores sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Its sites.
    pub sites: Vec<SiteStatus>,
    /// Its stores.
    pub stores: Vec<StoreStatus>,
    /// Its ranges.
    pub range_list: Vec<RangeStatus>,
}

/// A site.
#[derive(Clone, Debug, Deserialize)]
pub struct SiteStatus {
    /// Its name.
    pub site: String,
    /// Ranges that it leads.
    pub leaders: u64,
}

/// A store.
#[derive(Clone, Debug, Deserialize)]
pub struct StoreStatus {
    /// Its number.
    pub store: u64,
    /// Its site.
    pub site: String,
    /// Whether it answers.
    pub alive: bool,
    /// How many replicas it has.
    pub replicas: u64,
    /// Ranges that it leads.
    pub leaders: u64,
    /// Where clients reach it.
    pub client_address: String,
}

/// A range.
#[derive(Clone, Debug, Deserialize)]
pub struct RangeStatus {
    /// Its number.
    pub range: u64,
    /// The store that leads it.
    pub leader: Option<u64>,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
}

/// A replica.
#[derive(Clone, Debug, Deserialize)]
pub struct ReplicaStatus {
    /// The store that holds it.
    pub store: u64,
    /// The site of that.
    pub site: String,
    /// Entries that it has yet to apply.
    pub behind: Option<u64>,
}

impl Status {
    /// How many stores answer.
    pub fn alive(&self) -> usize {
        self.stores.iter().filter(|store| store.alive).count()
    }

    /// Every range is led, and has a replica that answers in three sites.
    pub fn is_whole(&self) -> bool {
        !self.range_list.is_empty() && self.range_list.iter().all(RangeStatus::is_whole)
    }

    /// The stores of a site that answer.
    pub fn stores_of<'a>(&'a self, site: &'a str) -> impl Iterator<Item = &'a StoreStatus> {
        self.stores.iter().filter(move |store| store.site == site && store.alive)
    }
}

impl RangeStatus {
    fn is_whole(&self) -> bool {
        let answering = self.replicas.iter().filter(|replica| replica.behind.is_some());
        let sites: BTreeSet<_> = answering.map(|replica| &replica.site).collect();
        self.leader.is_some() && sites.len() >= COPIES
    }
}

/// The certificates of the fleet.
#[derive(Clone, Debug, Deserialize)]
pub struct TrustStatus {
    /// Its stores.
    pub stores: Vec<StoreTrust>,
}

/// What a store shows.
#[derive(Clone, Debug, Deserialize)]
pub struct StoreTrust {
    /// Its site.
    pub site: String,
    /// `None`: it does not answer, or has nothing to show.
    pub trust: Option<ShownTrust>,
}

/// A store's certificate.
#[derive(Clone, Debug, Deserialize)]
pub struct ShownTrust {
    /// Its fingerprint.
    pub certificate: Option<String>,
}

impl StoreTrust {
    fn shows(&self, fingerprint: &str) -> bool {
        self.trust.as_ref().and_then(|trust| trust.certificate.as_deref()) == Some(fingerprint)
    }
}

impl TrustStatus {
    /// Whether a site has stores, and all of them show this certificate.
    pub fn is_shown_by(&self, site: &str, fingerprint: &str) -> bool {
        let of_site: Vec<_> = self.stores.iter().filter(|store| store.site == site).collect();
        !of_site.is_empty() && of_site.iter().all(|store| store.shows(fingerprint))
    }
}
