//! How a store that does not reach all others finds them: it tells whoever answers where it is, and hears what they know. Neither the
//! system range nor a quorum is needed. What is heard is only where to look; see `holdfast_kv::core::addresses`.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_client::channel::{self, Dialer};
use holdfast_client::{Doubt, Security};
use holdfast_kv::core::addresses::Claim;
use holdfast_kv::core::records;
use holdfast_placement::SiteTrust;
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_client::FleetClient;
use holdfast_types::{Incarnation, SiteName, StoreId, limits};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::Config;
use crate::running::Running;

/// How often the address book is looked at.
const LOOK_EVERY: Duration = limits::ADDRESS_TRY_MIN;
/// First pause between two rounds of announcements; doubles as long as nothing new is heard.
const ANNOUNCE_MIN: Duration = Duration::from_millis(250);
/// Longest such pause: what a dead store costs, and what a lost one waits at most.
const ANNOUNCE_MAX: Duration = Duration::from_secs(4);
/// A store that does not answer in this time is passed over until the next round.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(1);
/// Stores asked in one round; the next round goes on behind them.
const ANNOUNCE_TO: usize = 32;
/// A store that is not reached for this long is told of.
pub const TELL_UNREACHED_AFTER: Duration = Duration::from_secs(2);
/// How long it counts that another store says that the site of this one is distrusted: it is asked again before.
const SHUNNED_FOR: Duration = Duration::from_secs(15);
/// And again this often.
const TELL_UNREACHED_EVERY: Duration = Duration::from_secs(60);

/// Keeps the address book going until the process ends. `security`: how the other stores are asked.
pub async fn run(config: Config, running: Arc<Running>, security: Security) {
    let mut announcer = Announcer {
        config,
        running,
        security,
        unanswered: BTreeSet::new(),
        offset: 0,
        pause: ANNOUNCE_MIN,
        next_round: Instant::now(),
        told: BTreeSet::new(),
        told_at: Instant::now(),
        is_shunned: false,
        version: 0,
    };
    announcer.unanswered.extend(announcer.config.join.iter().cloned());
    loop {
        announcer.look().await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Announcer {
    config: Config,
    running: Arc<Running>,
    security: Security,
    /// Addresses of `--join` that have not answered since the start.
    unanswered: BTreeSet<String>,
    /// Where the next round begins, when there are more stores than one round asks.
    offset: usize,
    pause: Duration,
    next_round: Instant,
    /// Stores that are told to be unreached.
    told: BTreeSet<StoreId>,
    told_at: Instant,
    /// It is told that the site of this store is distrusted.
    is_shunned: bool,
    /// The version of the directory that the store and the file know.
    version: u64,
}

impl Announcer {
    async fn look(&mut self) {
        let directory = Arc::clone(&self.running.directory);
        directory.turn();
        self.tell();
        let version = directory.version();
        if version != self.version {
            self.version = version;
            self.running.store.directory(Arc::new(directory.records()));
            let saving = Arc::clone(&directory);
            if tokio::task::spawn_blocking(move || saving.save()).await.is_err() {
                tracing::error!("the address book could not be kept: its thread ended");
            }
            // Something moved: whoever is looked for may be known by now.
            self.pause = ANNOUNCE_MIN;
            self.next_round = self.next_round.min(Instant::now() + ANNOUNCE_MIN);
        }
        let looks_for_some = !directory.unreached().is_empty();
        if (looks_for_some || !self.unanswered.is_empty()) && Instant::now() >= self.next_round {
            let news = self.announce().await;
            self.pause = if news { ANNOUNCE_MIN } else { (self.pause * 2).min(ANNOUNCE_MAX) };
            self.next_round = Instant::now() + self.pause;
        }
    }

    /// One round. True when something new was heard.
    async fn announce(&mut self) -> bool {
        let directory = &self.running.directory;
        let mut targets = self.config.join.clone();
        targets.extend(directory.to_ask());
        let mut seen = BTreeSet::from([directory.own_claim().client]);
        targets.retain(|address| seen.insert(address.clone()));
        let count = targets.len();
        let first = if count > ANNOUNCE_TO { self.offset.checked_rem(count).unwrap_or(0) } else { 0 };
        let in_turn = targets.iter().skip(first).chain(targets.iter().take(first));
        let targets: Vec<_> = in_turn.take(ANNOUNCE_TO).cloned().collect();
        self.offset = self.offset.wrapping_add(ANNOUNCE_TO);
        let request = v1::AnnounceRequest {
            fleet: Some(self.running.fleet.into()),
            fleet_token: self.config.fleet_token.clone(),
            speaker: Some(to_wire(&directory.own_claim())),
            known: directory.claims().iter().map(to_wire).collect(),
            sites: sites_to_wire(&directory.sites_said()),
        };
        let mut asked = JoinSet::new();
        for address in targets {
            let (request, security) = (request.clone(), self.security.clone());
            asked.spawn(async move {
                let answer = tokio::time::timeout(ANNOUNCE_WITHIN, ask(&address, &security, request)).await;
                let late = || Untaken { said: format!("no answer within {ANNOUNCE_WITHIN:?}"), doubt: None };
                (address, answer.unwrap_or_else(|_| Err(late())))
            });
        }
        let mut news = false;
        while let Some(ended) = asked.join_next().await {
            // A task of ours neither panics nor is cancelled.
            let Ok((address, answer)) = ended else { continue };
            match answer {
                Ok(answer) => {
                    self.unanswered.remove(&address);
                    self.running.shunned.is_believed(&address);
                    directory.hear_sites(&sites_from_wire(&answer.sites));
                    let said = answer.speaker.into_iter().chain(answer.known).take(limits::ANNOUNCED_PLACES);
                    news |= directory.hear(&said.filter_map(from_wire).collect::<Vec<_>>());
                }
                Err(untaken) => {
                    if untaken.doubt == Some(Doubt::OwnDistrusted) {
                        self.running.shunned.heard(&address, SHUNNED_FOR);
                    }
                    tracing::debug!(address, error = untaken.said, "an announcement was not taken");
                }
            }
        }
        news
    }

    /// Says which stores are not reached, once for each, and again now and then.
    fn tell(&mut self) {
        let unreached = self.running.unreached();
        let now: BTreeSet<_> = unreached.iter().map(|unreached| unreached.store).collect();
        let again = self.told_at.elapsed() >= TELL_UNREACHED_EVERY;
        if again {
            self.told_at = Instant::now();
        }
        for unreached in unreached.iter().filter(|unreached| again || !self.told.contains(&unreached.store)) {
            tracing::warn!("{unreached}");
        }
        self.told = now;
        let shunned = self.running.shunned.sentence();
        match (&shunned, self.is_shunned) {
            (Some(sentence), told) if again || !told => tracing::warn!("{sentence}"),
            (None, true) => tracing::info!("no store says any more that the site of this one is distrusted"),
            _ => {}
        }
        self.is_shunned = shunned.is_some();
    }
}

/// Why an announcement was not taken.
struct Untaken {
    said: String,
    /// What one end did not believe of the other.
    doubt: Option<Doubt>,
}

async fn ask(
    address: &str,
    security: &Security,
    request: v1::AnnounceRequest,
) -> Result<v1::AnnounceResponse, Untaken> {
    let dialer = Dialer::new(security.clone(), ANNOUNCE_WITHIN).answered_within(ANNOUNCE_WITHIN);
    let connected = dialer.connect(address).await;
    let channel = connected.map_err(|why| Untaken { said: why.to_string(), doubt: why.doubt() })?;
    let mut fleet = FleetClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
    let answer = fleet.announce(request).await;
    let untaken = |status| Untaken { said: channel::reason(&status), doubt: channel::doubt(&status) };
    Ok(answer.map_err(untaken)?.into_inner())
}

/// What was said of sites as it is told.
pub fn sites_to_wire(said: &[SiteTrust]) -> Vec<v1::SiteTrust> {
    said.iter().map(records::site_trust_of).collect()
}

/// The same as it is heard; what cannot be read of it is left out.
pub fn sites_from_wire(said: &[v1::SiteTrust]) -> Vec<SiteTrust> {
    said.iter().take(limits::SITES_DOUBTED).filter_map(|said| records::site_trust(said).ok()).collect()
}

/// A claim as it is told.
pub fn to_wire(claim: &Claim) -> v1::StoreAddress {
    v1::StoreAddress {
        store_id: claim.store.0,
        site: claim.site.to_string(),
        incarnation: claim.incarnation.0,
        client_address: claim.client.clone(),
        store_address: claim.store_to_store.clone(),
    }
}

/// A claim as it is heard; `None`: it is none.
pub fn from_wire(said: v1::StoreAddress) -> Option<Claim> {
    let claim = Claim {
        store: StoreId::bounded(said.store_id).ok()?,
        site: SiteName::new(&said.site).ok()?,
        incarnation: Incarnation::bounded(said.incarnation).ok()?,
        client: said.client_address,
        store_to_store: said.store_address,
    };
    claim.is_sound().then_some(claim)
}
