//! The fleet service: what clients learn the fleet from, and how stores join it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_edge::bucket::Bucket;
use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::routing::Page;
use holdfast_kv::driver::ComplaintKind;
use holdfast_placement::StoreRecord;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_server::Fleet;
use holdfast_types::{KeyRange, Rejected, SiteName, StoreId, limits};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

use crate::announcing;
use crate::membership::{Applicant, join};
use crate::running::{Running, ServerState};
use crate::services::fitting::{paid, short};

/// Ranges of one answer when the caller names no limit, and at most.
const LOCATE_DEFAULT: u32 = 100;
const LOCATE_MAX: u32 = 1_000;

/// Asks the process to found a fleet; answered with the fleet's id.
pub type InitCommand = oneshot::Sender<Result<holdfast_types::FleetId, String>>;

/// The fleet service of one store.
pub struct FleetService {
    /// What the services share.
    pub state: Arc<ServerState>,
    /// Founds the fleet, while the store waits for that.
    pub init: mpsc::Sender<InitCommand>,
    /// The shared secret that a new store must know.
    pub fleet_token: String,
    /// This store's site, before it is a member too.
    pub site: SiteName,
    /// Bounds announcements.
    pub announcements: Mutex<Bucket>,
    /// Bounds joins.
    pub joins: Mutex<Bucket>,
    /// Bounds what members say of where they are.
    pub renewals: Mutex<Bucket>,
}

/// A bucket of which so many may be taken in a second.
fn take(bucket: &Mutex<Bucket>, per_second: u32) -> bool {
    bucket.lock().admits(per_second, Duration::from_secs(1) / per_second, Instant::now())
}

impl FleetService {
    fn check_token(&self, token: &str) -> Result<(), Status> {
        // How long the comparison takes says nothing of where they differ.
        if bool::from(token.as_bytes().ct_eq(self.fleet_token.as_bytes())) {
            return Ok(());
        }
        Err(Status::permission_denied(
            "the fleet token is not this fleet's: start the store with the right --fleet-token",
        ))
    }
}

fn rejected(error: holdfast_proto::convert::BadMessage) -> Status {
    to_status(Rejected::invalid(error.to_string()))
}

fn store_info(running: &Running, record: &StoreRecord) -> v1::StoreInfo {
    v1::StoreInfo {
        store_id: record.store.0,
        site: record.site.to_string(),
        client_address: record.addresses.client.clone(),
        store_address: record.addresses.store_to_store.clone(),
        alive: record.store == running.store_id || running.incoming.reaches(record.store),
    }
}

fn site_infos(stores: &[v1::StoreInfo]) -> Vec<v1::SiteInfo> {
    let mut sites: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for store in stores {
        let (stores, alive) = sites.entry(&store.site).or_default();
        *stores = stores.saturating_add(1);
        *alive = alive.saturating_add(store.alive.into());
    }
    let info = |(name, (stores, alive)): (&str, (u32, u32))| v1::SiteInfo { name: name.to_owned(), stores, alive };
    sites.into_iter().map(info).collect()
}

#[tonic::async_trait]
impl Fleet for FleetService {
    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let Some(running) = self.state.running() else {
            if self.state.is_member() {
                // What it knows of its fleet is being read.
                self.state.member()?;
            }
            return Ok(Response::new(v1::DescribeResponse::default()));
        };
        let directory = running.directory.all();
        let stores: Vec<_> = directory.values().map(|record| store_info(&running, record)).collect();
        let answer = v1::DescribeResponse {
            fleet: Some(running.fleet.into()),
            store_id: running.store_id.0,
            now: running.fleet_now().0,
            sites: site_infos(&stores),
            stores,
        };
        paid(&Ledger::of(request.extensions()), answer)
    }

    async fn locate(&self, request: Request<v1::LocateRequest>) -> Result<Response<v1::LocateResponse>, Status> {
        let (running, client) = (self.state.member()?, Ledger::of(request.extensions()));
        let request = request.into_inner();
        let bounds: KeyRange = match request.bounds {
            Some(bounds) => bounds.try_into().map_err(rejected)?,
            None => KeyRange::all(),
        };
        let limit = if request.limit == 0 { LOCATE_DEFAULT } else { request.limit.min(LOCATE_MAX) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = Page { reverse: request.reverse, limit, max_bytes: limits::RANGES_PAGE_BYTES };
        let (found, resume) = running.store.ranges_within(&bounds, page, |_| true);
        let ranges = found
            .iter()
            .map(|found| running.notice(found))
            .map(|n| v1::LocatedRange { descriptor: n.descriptor, leader: n.leader, term: n.term })
            .collect();
        let resume = resume.map(|key| key.raw().clone());
        paid(&client, v1::LocateResponse { ranges, resume, now: running.fleet_now().0 })
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let uptime_ms = u64::try_from(self.state.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let Some(running) = self.state.running() else {
            let site = self.site.to_string();
            return Ok(Response::new(v1::StatusResponse { version, site, uptime_ms, ..v1::StatusResponse::default() }));
        };
        let complaints = running.complaints();
        let health = |kind: ComplaintKind| {
            let what = complaints.iter().filter(|complaint| complaint.kind == kind);
            let message =
                short(what.take(limits::MAX_SENTENCES).map(ToString::to_string).collect::<Vec<_>>().join("; "));
            Some(v1::Health { healthy: message.is_empty(), message })
        };
        let ranges = running.store.counts(running.store_id);
        let (quarantined, quarantined_replicas) = running.quarantined();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Response::new(v1::StatusResponse {
            version,
            store_id: running.store_id.0,
            site: running.site.to_string(),
            incarnation: running.incarnation.0,
            fleet: Some(running.fleet.into()),
            disk: health(ComplaintKind::Disk),
            workers: health(ComplaintKind::Workers),
            clock: health(ComplaintKind::Clock),
            threads: health(ComplaintKind::Threads),
            streams: health(ComplaintKind::Streams),
            draining: self.state.is_draining(),
            ranges: count(ranges.own),
            leaders: count(ranges.led),
            quarantined,
            quarantined_replicas,
            uptime_ms,
        }))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let (running, client) = (self.state.member()?, Ledger::of(request.extensions()));
        let request = request.into_inner();
        self.check_token(&request.fleet_token)?;
        if let Some(fleet) = request.fleet
            && fleet != running.fleet.into()
        {
            return Err(Status::permission_denied(format!(
                "the store belongs to another fleet than {}: point --join at its own fleet, or give it an empty data directory",
                running.fleet
            )));
        }
        let applicant = Applicant::of(request).map_err(to_status)?;
        // Those who want to become members do not keep members from starting.
        let budget = if applicant.store == StoreId::NONE { &self.joins } else { &self.renewals };
        if !take(budget, limits::JOINS_PER_SECOND) {
            return Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
        }
        let (store, records) = join(&running, &applicant).await.map_err(|refusal| to_status(refusal.into()))?;
        let stores = records.iter().map(|record| store_info(&running, record)).collect();
        paid(&client, v1::JoinResponse { fleet: Some(running.fleet.into()), store_id: store.0, stores })
    }

    async fn announce(&self, request: Request<v1::AnnounceRequest>) -> Result<Response<v1::AnnounceResponse>, Status> {
        let (running, client) = (self.state.member()?, Ledger::of(request.extensions()));
        let request = request.into_inner();
        self.check_token(&request.fleet_token)?;
        if request.fleet != Some(running.fleet.into()) {
            return Err(Status::permission_denied(format!("this is a store of fleet {}", running.fleet)));
        }
        if request.known.len() > limits::ANNOUNCED_PLACES {
            return Err(Status::invalid_argument(format!(
                "an announcement names at most {} places",
                limits::ANNOUNCED_PLACES
            )));
        }
        if !take(&self.announcements, limits::ANNOUNCEMENTS_PER_SECOND) {
            return Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
        }
        let said = request.speaker.into_iter().chain(request.known);
        running.directory.hear(&said.filter_map(announcing::from_wire).collect::<Vec<_>>());
        let answer = v1::AnnounceResponse {
            speaker: Some(announcing::to_wire(&running.directory.own_claim())),
            known: running.directory.claims().iter().map(announcing::to_wire).collect(),
        };
        paid(&client, answer)
    }

    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitResponse>, Status> {
        self.check_token(&request.into_inner().fleet_token)?;
        if let Some(running) = self.state.running() {
            return Err(Status::already_exists(format!("this store is a member of fleet {} already", running.fleet)));
        }
        if self.state.is_member() {
            return Err(Status::already_exists("this store is a member of a fleet already, and is starting"));
        }
        let (sender, answer) = oneshot::channel();
        let refused = || Status::already_exists("this store is becoming a member of a fleet already");
        self.init.try_send(sender).map_err(|_| refused())?;
        let fleet = answer.await.map_err(|_| refused())?.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::InitResponse { fleet: Some(fleet.into()), system_stores: vec![1] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_bounded() {
        let bucket = Mutex::new(Bucket::new(Instant::now()));
        let taken = (0..10_000).take_while(|_| take(&bucket, 256)).count();
        assert!((256..10_000).contains(&taken), "{taken}");
    }
}
