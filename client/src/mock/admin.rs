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
}
