//! Keyspaces by name: the one part of the admin API that programs use, too.

use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_types::{KeyspaceId, KeyspaceName, Rejected};
use tonic::{Request, Response, Status};

use super::service::Service;

/// The first id that is given away.
const FIRST_ID: u32 = 256;

fn keyspace(name: &str, id: KeyspaceId) -> v1::Keyspace {
    v1::Keyspace { name: name.to_owned(), id: id.0, created_at: 0, writable: id != KeyspaceId::SYSTEM }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::failed_precondition("a mock has keyspaces, and nothing else to administer"))
}

#[tonic::async_trait]
impl v1::admin_server::Admin for Service {
    async fn list_keyspaces(
        &self,
        _: Request<v1::ListKeyspacesRequest>,
    ) -> Result<Response<v1::ListKeyspacesResponse>, Status> {
        let data = self.shared.lock();
        let keyspaces = data.keyspaces.iter().map(|(name, id)| keyspace(name, *id)).collect();
        Ok(Response::new(v1::ListKeyspacesResponse { keyspaces }))
    }

    async fn create_keyspace(
        &self,
        request: Request<v1::CreateKeyspaceRequest>,
    ) -> Result<Response<v1::CreateKeyspaceResponse>, Status> {
        let name = request.into_inner().name;
        KeyspaceName::new(&name).map_err(|bad| to_status(Rejected::invalid(bad.to_string())))?;
        let mut data = self.shared.lock();
        if let Some(id) = data.keyspaces.get(&name) {
            return Err(Status::already_exists(format!("there is a keyspace {name} already: it has id {}", id.0)));
        }
        let last = data.keyspaces.values().map(|id| id.0).max().unwrap_or_default();
        let id = KeyspaceId((last + 1).max(FIRST_ID));
        data.keyspaces.insert(name.clone(), id);
        Ok(Response::new(v1::CreateKeyspaceResponse { keyspace: Some(keyspace(&name, id)) }))
    }

    async fn list_sites(&self, _: Request<v1::ListSitesRequest>) -> Result<Response<v1::ListSitesResponse>, Status> {
        not_here()
    }

    async fn list_stores(&self, _: Request<v1::ListStoresRequest>) -> Result<Response<v1::ListStoresResponse>, Status> {
        not_here()
    }

    async fn list_ranges(&self, _: Request<v1::ListRangesRequest>) -> Result<Response<v1::ListRangesResponse>, Status> {
        not_here()
    }

    async fn list_events(&self, _: Request<v1::ListEventsRequest>) -> Result<Response<v1::ListEventsResponse>, Status> {
        not_here()
    }

    async fn list_audit(&self, _: Request<v1::ListAuditRequest>) -> Result<Response<v1::ListAuditResponse>, Status> {
        not_here()
    }

    async fn list_settings(
        &self,
        _: Request<v1::ListSettingsRequest>,
    ) -> Result<Response<v1::ListSettingsResponse>, Status> {
        not_here()
    }

    async fn split_range(&self, _: Request<v1::SplitRangeRequest>) -> Result<Response<v1::SplitRangeResponse>, Status> {
        not_here()
    }

    async fn change_replicas(
        &self,
        _: Request<v1::ChangeReplicasRequest>,
    ) -> Result<Response<v1::ChangeReplicasResponse>, Status> {
        not_here()
    }

    async fn transfer_leader(
        &self,
        _: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        not_here()
    }

    async fn forget_store(
        &self,
        _: Request<v1::ForgetStoreRequest>,
    ) -> Result<Response<v1::ForgetStoreResponse>, Status> {
        not_here()
    }

    async fn move_site(&self, _: Request<v1::MoveSiteRequest>) -> Result<Response<v1::MoveSiteResponse>, Status> {
        not_here()
    }

    async fn drain_stores(
        &self,
        _: Request<v1::DrainStoresRequest>,
    ) -> Result<Response<v1::DrainStoresResponse>, Status> {
        not_here()
    }

    async fn prepare_to_stop(
        &self,
        _: Request<v1::PrepareToStopRequest>,
    ) -> Result<Response<v1::PrepareToStopResponse>, Status> {
        not_here()
    }

    async fn list_rights(&self, _: Request<v1::ListRightsRequest>) -> Result<Response<v1::ListRightsResponse>, Status> {
        not_here()
    }

    async fn change_rights(
        &self,
        _: Request<v1::ChangeRightsRequest>,
    ) -> Result<Response<v1::ChangeRightsResponse>, Status> {
        not_here()
    }

    async fn learn_rights(
        &self,
        _: Request<v1::LearnRightsRequest>,
    ) -> Result<Response<v1::LearnRightsResponse>, Status> {
        not_here()
    }

    async fn create_join_token(
        &self,
        _: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        not_here()
    }

    async fn list_join_tokens(
        &self,
        _: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        not_here()
    }

    async fn revoke_join_token(
        &self,
        _: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::RevokeJoinTokenResponse>, Status> {
        not_here()
    }

    async fn show_trust(&self, _: Request<v1::ShowTrustRequest>) -> Result<Response<v1::ShowTrustResponse>, Status> {
        not_here()
    }

    async fn rotate_root(&self, _: Request<v1::RotateRootRequest>) -> Result<Response<v1::RotateRootResponse>, Status> {
        not_here()
    }

    async fn distrust_site(
        &self,
        _: Request<v1::DistrustSiteRequest>,
    ) -> Result<Response<v1::DistrustSiteResponse>, Status> {
        not_here()
    }

    async fn learn_sites(&self, _: Request<v1::LearnSitesRequest>) -> Result<Response<v1::LearnSitesResponse>, Status> {
        not_here()
    }
}
