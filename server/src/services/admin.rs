//! The admin service: any store answers for the whole fleet. What another store knows better is asked of it, by the same calls with
//! `only_this_store`.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod changes;
mod drain;
mod forget;
mod keyspaces;
mod looks;
mod moved;
mod prepare;
mod ranges;
mod stores;

use std::sync::Arc;

use holdfast_edge::ledger::Ledger;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::admin_server::Admin;
use holdfast_types::{OutOfBounds, RangeEpoch, Rejected, StoreId};
use tonic::{Request, Response, Status};

use self::keyspaces::KeyspaceNames;
use crate::others::Others;
use crate::running::{Running, ServerState};
use crate::services::fitting::{listed, paid};

/// The admin service of one store.
pub struct AdminService {
    state: Arc<ServerState>,
    others: Others,
    names: KeyspaceNames,
    settings: Vec<v1::Setting>,
    /// Whether stores may leave is judged for one caller at a time.
    judging: tokio::sync::Mutex<()>,
}

impl AdminService {
    /// A service that answers once the store is a member. `settings`: what the store was configured to.
    pub fn new(state: Arc<ServerState>, settings: Vec<v1::Setting>) -> Self {
        Self {
            state,
            others: Others::default(),
            names: KeyspaceNames::default(),
            settings,
            judging: tokio::sync::Mutex::default(),
        }
    }

    fn member(&self) -> Result<Arc<Running>, Status> {
        self.state.member()
    }
}

fn invalid(what: impl Into<String>) -> Status {
    to_status(Rejected::invalid(what))
}

/// The store that another one names in an answer; `None`: none, or no store at all.
fn store_of(raw: u64) -> Option<StoreId> {
    StoreId::bounded(raw).ok().filter(|store| *store != StoreId::NONE)
}

/// A number of a request, unless it is out of bounds.
fn bounded<T>(number: Result<T, OutOfBounds>) -> Result<T, Status> {
    number.map_err(|bad| invalid(bad.to_string()))
}

/// Refuses to act on an old picture.
fn check_epoch(
    range: holdfast_types::RangeId,
    now: RangeEpoch,
    expected: Option<v1::RangeEpoch>,
) -> Result<(), Status> {
    match expected.map(RangeEpoch::try_from).transpose().map_err(|bad| to_status(bad.into()))? {
        Some(expected) if expected != now => {
            Err(Status::failed_precondition(format!("{range} is at epoch {now:?} now, not {expected:?}: look again")))
        }
        _ => Ok(()),
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        let running = self.member()?;
        paid(&Ledger::of(request.extensions()), self.sites(&running).await?)
    }

    async fn list_stores(
        &self,
        request: Request<v1::ListStoresRequest>,
    ) -> Result<Response<v1::ListStoresResponse>, Status> {
        let (running, client) = (self.member()?, Ledger::of(request.extensions()));
        if request.into_inner().only_this_store {
            let stores = vec![self.own_status(&running)];
            return paid(&client, v1::ListStoresResponse { stores, silent: Vec::new() });
        }
        let (stores, silent) = self.stores(&running).await?;
        paid(&client, v1::ListStoresResponse { stores: listed(stores), silent })
    }

    async fn list_ranges(
        &self,
        request: Request<v1::ListRangesRequest>,
    ) -> Result<Response<v1::ListRangesResponse>, Status> {
        let (running, client) = (self.member()?, Ledger::of(request.extensions()));
        paid(&client, self.ranges(&running, request.into_inner()).await?)
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let (running, client) = (self.member()?, Ledger::of(request.extensions()));
        paid(&client, self.events(&running, request.into_inner()).await?)
    }

    async fn list_settings(
        &self,
        request: Request<v1::ListSettingsRequest>,
    ) -> Result<Response<v1::ListSettingsResponse>, Status> {
        let (running, client) = (self.member()?, Ledger::of(request.extensions()));
        paid(&client, self.settings(&running, request.into_inner()).await?)
    }

    async fn list_keyspaces(
        &self,
        request: Request<v1::ListKeyspacesRequest>,
    ) -> Result<Response<v1::ListKeyspacesResponse>, Status> {
        let running = self.member()?;
        let keyspaces = keyspaces::all(&running).await.map_err(to_status)?;
        paid(&Ledger::of(request.extensions()), v1::ListKeyspacesResponse { keyspaces })
    }

    async fn create_keyspace(
        &self,
        request: Request<v1::CreateKeyspaceRequest>,
    ) -> Result<Response<v1::CreateKeyspaceResponse>, Status> {
        let running = self.member()?;
        let keyspace = keyspaces::create(&running, &request.into_inner().name).await?;
        self.names.forget();
        Ok(Response::new(v1::CreateKeyspaceResponse { keyspace: Some(keyspace) }))
    }

    async fn split_range(
        &self,
        request: Request<v1::SplitRangeRequest>,
    ) -> Result<Response<v1::SplitRangeResponse>, Status> {
        let running = self.member()?;
        Ok(Response::new(self.split(&running, request.into_inner()).await?))
    }

    async fn change_replicas(
        &self,
        request: Request<v1::ChangeReplicasRequest>,
    ) -> Result<Response<v1::ChangeReplicasResponse>, Status> {
        let running = self.member()?;
        Ok(Response::new(self.change(&running, request.into_inner()).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let running = self.member()?;
        Ok(Response::new(self.transfer(&running, request.into_inner()).await?))
    }

    async fn forget_store(
        &self,
        request: Request<v1::ForgetStoreRequest>,
    ) -> Result<Response<v1::ForgetStoreResponse>, Status> {
        let running = self.member()?;
        Ok(Response::new(self.forget(&running, request.into_inner()).await?))
    }

    async fn move_site(&self, request: Request<v1::MoveSiteRequest>) -> Result<Response<v1::MoveSiteResponse>, Status> {
        let running = self.member()?;
        Ok(Response::new(self.move_to(&running, request.into_inner()).await?))
    }

    async fn drain_stores(
        &self,
        request: Request<v1::DrainStoresRequest>,
    ) -> Result<Response<v1::DrainStoresResponse>, Status> {
        let running = self.member()?;
        Ok(Response::new(self.drain(&running, request.into_inner()).await?))
    }

    async fn prepare_to_stop(
        &self,
        request: Request<v1::PrepareToStopRequest>,
    ) -> Result<Response<v1::PrepareToStopResponse>, Status> {
        let running = self.member()?;
        Ok(Response::new(self.prepare(&running, request.into_inner()).await))
    }
}
