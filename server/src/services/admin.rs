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
mod rights;
mod stores;
mod tokens;
mod trust;

use std::sync::Arc;

use holdfast_client::Security;
use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::rights::Asker;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::admin_server::Admin;
use holdfast_types::{KeyRange, KeyspaceId, OutOfBounds, RangeEpoch, Rejected, StoreId};
use tonic::{Request, Response, Status};

use self::keyspaces::KeyspaceNames;
use crate::audit::{Refusal, listing};
use crate::others::Others;
use crate::running::{Running, ServerState};
use crate::services::allowed::authority_of;
use crate::services::caller::Caller;
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
    /// `security`: how it asks the other stores.
    pub fn new(state: Arc<ServerState>, settings: Vec<v1::Setting>, security: Security) -> Self {
        Self {
            state,
            others: Others::new(security),
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

/// What of the fleet's keyspaces and ranges a caller is told of.
struct Sight {
    asker: Asker,
    /// Stores are told all: they ask for those who asked them, and tell on what these may see.
    is_store: bool,
}

impl Sight {
    fn of(running: &Running, caller: &Caller) -> Self {
        Self { asker: running.asker(authority_of(caller)), is_store: caller.store_of().is_some() }
    }

    /// A keyspace in which he has a right.
    fn is_concerned_by(&self, keys: &KeyRange) -> bool {
        self.is_store || self.asker.is_concerned_by(keys)
    }

    /// A range that he may look at.
    fn looks_at(&self, keys: &KeyRange) -> bool {
        self.is_store || self.asker.looks_at(keys)
    }
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
        let sight = Sight::of(&running, &Caller::of(request.extensions()));
        paid(&client, self.ranges(&running, &sight, request.into_inner()).await?)
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let (running, client) = (self.member()?, Ledger::of(request.extensions()));
        paid(&client, self.events(&running, request.into_inner()).await?)
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let (running, client) = (self.member()?, Ledger::of(request.extensions()));
        paid(&client, listing::list(&running, request.into_inner()).await?)
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
        let sight = Sight::of(&running, &Caller::of(request.extensions()));
        let mut keyspaces = keyspaces::all(&running).await.map_err(to_status)?;
        keyspaces.retain(|keyspace| sight.is_concerned_by(&keyspaces::bounds_of(KeyspaceId(keyspace.id))));
        paid(&Ledger::of(request.extensions()), v1::ListKeyspacesResponse { keyspaces })
    }

    async fn create_keyspace(
        &self,
        request: Request<v1::CreateKeyspaceRequest>,
    ) -> Result<Response<v1::CreateKeyspaceResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        let keyspace = acting.end(keyspaces::create(&running, &request.name).await)?;
        self.names.forget();
        Ok(Response::new(v1::CreateKeyspaceResponse { keyspace: Some(keyspace) }))
    }

    async fn list_rights(
        &self,
        request: Request<v1::ListRightsRequest>,
    ) -> Result<Response<v1::ListRightsResponse>, Status> {
        let (running, client) = (self.member()?, Ledger::of(request.extensions()));
        let caller = Caller::of(request.extensions());
        paid(&client, self.granted(&running, &caller, request.into_inner()).await?)
    }

    async fn change_rights(
        &self,
        request: Request<v1::ChangeRightsRequest>,
    ) -> Result<Response<v1::ChangeRightsResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.change_grants(&running, request).await).map(Response::new)
    }

    async fn learn_rights(
        &self,
        request: Request<v1::LearnRightsRequest>,
    ) -> Result<Response<v1::LearnRightsResponse>, Status> {
        let running = self.member()?;
        let number = self.state.rights.look(&running, request.into_inner().number).await.map_err(to_status)?;
        Ok(Response::new(v1::LearnRightsResponse { number }))
    }

    async fn split_range(
        &self,
        request: Request<v1::SplitRangeRequest>,
    ) -> Result<Response<v1::SplitRangeResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.split(&running, request).await).map(Response::new)
    }

    async fn change_replicas(
        &self,
        request: Request<v1::ChangeReplicasRequest>,
    ) -> Result<Response<v1::ChangeReplicasResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.change(&running, request).await).map(Response::new)
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.transfer(&running, request).await).map(Response::new)
    }

    async fn forget_store(
        &self,
        request: Request<v1::ForgetStoreRequest>,
    ) -> Result<Response<v1::ForgetStoreResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.forget(&running, request).await).map(Response::new)
    }

    async fn move_site(&self, request: Request<v1::MoveSiteRequest>) -> Result<Response<v1::MoveSiteResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.move_to(&running, request).await).map(Response::new)
    }

    async fn drain_stores(
        &self,
        request: Request<v1::DrainStoresRequest>,
    ) -> Result<Response<v1::DrainStoresResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.drain(&running, request).await).map(Response::new)
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let (running, caller) = (self.member()?, Caller::of(request.extensions()));
        let acting = self.state.audit.begin_for(&caller, request.get_ref()).await?;
        acting.end(tokens::create(&running, &caller, request.into_inner()).await).map(Response::new)
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        let running = self.member()?;
        paid(&Ledger::of(request.extensions()), tokens::list(&running).await?)
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::RevokeJoinTokenResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(tokens::revoke(&running, request.id).await).map(Response::new)
    }

    async fn show_trust(
        &self,
        request: Request<v1::ShowTrustRequest>,
    ) -> Result<Response<v1::ShowTrustResponse>, Status> {
        let running = self.member()?;
        paid(&Ledger::of(request.extensions()), self.trust_of_all(&running).await?)
    }

    async fn rotate_root(
        &self,
        request: Request<v1::RotateRootRequest>,
    ) -> Result<Response<v1::RotateRootResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.rotate(&running, request).await).map(Response::new)
    }

    async fn distrust_site(
        &self,
        request: Request<v1::DistrustSiteRequest>,
    ) -> Result<Response<v1::DistrustSiteResponse>, Status> {
        let running = self.member()?;
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(self.distrust(&running, request).await).map(Response::new)
    }

    async fn learn_sites(
        &self,
        request: Request<v1::LearnSitesRequest>,
    ) -> Result<Response<v1::LearnSitesResponse>, Status> {
        let (running, caller) = (self.member()?, Caller::of(request.extensions()));
        Ok(Response::new(self.take_sites(&running, &caller, request.into_inner()).await?))
    }

    async fn prepare_to_stop(
        &self,
        request: Request<v1::PrepareToStopRequest>,
    ) -> Result<Response<v1::PrepareToStopResponse>, Status> {
        let running = self.member()?;
        // In a pod it is asked with the certificate that all stores of the site have; those of other sites have no business here.
        let caller = Caller::of(request.extensions());
        if caller.store_of().is_some_and(|site| *site != running.site) {
            let why = format!("this store is of site {}: its own site has it stopped", running.site);
            self.state.audit.refused(Refusal::new("right", caller, why.as_str()));
            return Err(Status::permission_denied(why));
        }
        let (acting, request) = self.state.audit.begin(request).await?;
        acting.end(Ok(self.prepare(&running, request).await)).map(Response::new)
    }
}
