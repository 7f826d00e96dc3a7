//! The fleet service: what clients learn the fleet from, and how stores join it.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod proof;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_edge::bucket::Bucket;
use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::rights::Asker;
use holdfast_kv::core::routing::Page;
use holdfast_kv::driver::ComplaintKind;
use holdfast_placement::StoreRecord;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::fleet_server::Fleet;
use holdfast_types::{KeyRange, Rejected, SiteName, StoreId, limits};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

use self::proof::{Asked, Shown};
use crate::announcing;
use crate::audit::Refusal;
use crate::membership::{Applicant, join};
use crate::running::{Running, ServerState};
use crate::services::allowed::{Witness, authority_of};
use crate::services::caller::Caller;
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
    /// What is asked of those who would have a store believed.
    fn asked(&self) -> Asked<'_> {
        Asked { with_tls: self.state.trust().is_some(), secret: &self.fleet_token }
    }

    /// Goes on record when it is a refusal.
    fn on_record(&self, what: &'static str, caller: &Caller, judged: Result<(), Status>) -> Result<(), Status> {
        judged.inspect_err(|refused| {
            self.state.audit.refused(Refusal::new(what, caller.clone(), refused.message()));
        })
    }

    /// Lets a store in, or takes in where it is.
    async fn let_in(&self, caller: &Caller, request: v1::JoinRequest) -> Result<v1::JoinResponse, Status> {
        let running = self.state.member()?;
        let (store, site) = Applicant::named_in(&request).map_err(to_status)?;
        let shown = Shown { caller, secret: &request.fleet_token, token: &request.join_token };
        self.on_record("join", caller, self.asked().of_store(shown, store, &site))?;
        if let Some(fleet) = request.fleet
            && fleet != running.fleet.into()
        {
            return Err(Status::permission_denied(format!(
                "the store belongs to another fleet than {}: point --join at its own fleet, or give it an empty data directory",
                running.fleet
            )));
        }
        let applicant = Applicant::of(&request).map_err(to_status)?;
        // Those who want to become members do not keep members from starting.
        let is_new = store == StoreId::NONE;
        if !take(if is_new { &self.joins } else { &self.renewals }, limits::JOINS_PER_SECOND) {
            return Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
        }
        let token = Some(request.join_token.as_str()).filter(|token| is_new && !token.is_empty());
        let acting = if is_new { Some(self.state.audit.begin_for(caller, &request).await?) } else { None };
        let joined = join(&running, &applicant, token).await.map_err(|refusal| to_status(refusal.into()));
        let (store, records) = match acting {
            Some(acting) => acting.end(joined)?,
            None => joined?,
        };
        let stores = records.iter().map(|record| store_info(&running, record)).collect();
        Ok(v1::JoinResponse { fleet: Some(running.fleet.into()), store_id: store.0, stores })
    }

    /// Has the fleet founded.
    async fn found(&self) -> Result<v1::InitResponse, Status> {
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
        Ok(v1::InitResponse { fleet: Some(fleet.into()), system_stores: vec![1] })
    }
}

impl FleetService {
    /// Why the first range of what was asked for is not told of; empty: it is, or it is not known here. Whoever asks for it has keys there in mind
    /// that he may not read, and would wait for the range in vain.
    fn hidden(&self, running: &Running, asker: &Asker, bounds: &KeyRange, reverse: bool, caller: Caller) -> String {
        let first = Page { reverse, limit: 1, max_bytes: limits::RANGES_PAGE_BYTES };
        let (first, _) = running.store.ranges_within(bounds, first, |_| true);
        let Some(first) = first.first() else { return String::new() };
        match asker.check_told(&first.descriptor.bounds, bounds, reverse) {
            Err(Rejected::Forbidden(why)) => {
                Witness::new(&self.state, caller).saw(&Err(Rejected::Forbidden(why.clone())));
                short(why)
            }
            _ => String::new(),
        }
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
        // Nobody is sent to those whom nobody is to believe.
        let distrusted = running.directory.distrusted();
        let believed = directory.values().filter(|record| !distrusted.contains(&record.site));
        let stores: Vec<_> = believed.map(|record| store_info(&running, record)).collect();
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
        let caller = Caller::of(request.extensions());
        let asker = running.asker(authority_of(&caller));
        let request = request.into_inner();
        let bounds: KeyRange = match request.bounds {
            Some(bounds) => bounds.try_into().map_err(rejected)?,
            None => KeyRange::all(),
        };
        let limit = if request.limit == 0 { LOCATE_DEFAULT } else { request.limit.min(LOCATE_MAX) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = Page { reverse: request.reverse, limit, max_bytes: limits::RANGES_PAGE_BYTES };
        // Ranges begin and end at keys: of those in which the caller has no right he is not told.
        let (found, resume) =
            running.store.ranges_within(&bounds, page, |found| asker.is_concerned_by(&found.descriptor.bounds));
        let ranges = found
            .iter()
            .map(|found| running.notice(found))
            .map(|n| v1::LocatedRange { descriptor: n.descriptor, leader: n.leader, term: n.term })
            .collect();
        let resume = resume.map(|key| key.raw().clone());
        let hidden = self.hidden(&running, &asker, &bounds, request.reverse, caller);
        paid(&client, v1::LocateResponse { ranges, resume, now: running.fleet_now().0, hidden })
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
        let (caller, client) = (Caller::of(request.extensions()), Ledger::of(request.extensions()));
        let answer = self.let_in(&caller, request.into_inner()).await?;
        paid(&client, answer)
    }

    async fn announce(&self, request: Request<v1::AnnounceRequest>) -> Result<Response<v1::AnnounceResponse>, Status> {
        let (running, client) = (self.state.member()?, Ledger::of(request.extensions()));
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let speaks_for = request.speaker.as_ref().and_then(|speaker| SiteName::new(&speaker.site).ok());
        let judged = self.asked().of_speaker(&caller, &request.fleet_token, speaks_for.as_ref());
        self.on_record("announce", &caller, judged)?;
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
        if caller.store_of().is_some() {
            // That a site is trusted again is read of the records, which this store looks at now and then.
            running.directory.hear_sites(&announcing::sites_from_wire(&request.sites));
        }
        let said = request.speaker.into_iter().chain(request.known);
        running.directory.hear(&said.filter_map(announcing::from_wire).collect::<Vec<_>>());
        let answer = v1::AnnounceResponse {
            speaker: Some(announcing::to_wire(&running.directory.own_claim())),
            known: running.directory.claims().iter().map(announcing::to_wire).collect(),
            sites: announcing::sites_to_wire(&running.directory.sites_said()),
        };
        paid(&client, answer)
    }

    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let judged = self.asked().of_founder(&caller, &request.get_ref().fleet_token);
        self.on_record("init", &caller, judged)?;
        let acting = self.state.audit.begin_for(&caller, request.get_ref()).await?;
        acting.end(self.found().await).map(Response::new)
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
