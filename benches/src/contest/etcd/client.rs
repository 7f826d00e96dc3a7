//! The calls of etcd that the comparison needs.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tonic::transport::{Channel, Endpoint};

use self::wire::compare::{CompareResult, CompareTarget, TargetUnion};
use self::wire::kv_client::KvClient;
use self::wire::maintenance_client::MaintenanceClient;
use self::wire::request_op::Request;
use crate::contest::Session;

/// Package `etcdserverpb`: what `proto/etcd.proto` takes from etcd's public API.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications, rustdoc::all)]
pub mod wire {
    tonic::include_proto!("etcdserverpb");
}

/// As long as a call of Holdfast's client may take at its defaults.
const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to one member, made when it is needed first.
pub fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(1))
        .timeout(DEADLINE)
        .tcp_nodelay(true);
    Ok(endpoint.connect_lazy())
}

/// The leader's id as a member knows it; 0 for none.
pub async fn leader(channel: Channel) -> anyhow::Result<u64> {
    Ok(MaintenanceClient::new(channel).status(wire::StatusRequest {}).await?.into_inner().leader)
}

/// One client of a member; clients of one application share the connection.
pub struct EtcdSession(KvClient<Channel>);

impl EtcdSession {
    /// A client on this connection.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self(KvClient::new(channel))
    }

    /// A linearizable read: what etcd does unless told otherwise.
    async fn range(&self, request: wire::RangeRequest) -> anyhow::Result<Vec<wire::KeyValue>> {
        Ok(self.0.clone().range(request).await.context("etcd range")?.into_inner().kvs)
    }
}

impl Session for EtcdSession {
    fn get(&self, key: Bytes) -> BoxFuture<'_, anyhow::Result<Option<Bytes>>> {
        async move {
            let rows = self.range(wire::RangeRequest { key, ..wire::RangeRequest::default() }).await?;
            Ok(rows.into_iter().next().map(|row| row.value))
        }
        .boxed()
    }

    fn put(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<()>> {
        async move {
            self.0.clone().put(wire::PutRequest { key, value }).await.context("etcd put")?;
            Ok(())
        }
        .boxed()
    }

    fn scan(&self, start: Bytes, end: Bytes, rows: u32) -> BoxFuture<'_, anyhow::Result<usize>> {
        async move {
            Ok(self.range(wire::RangeRequest { key: start, range_end: end, limit: rows.into() }).await?.len())
        }
        .boxed()
    }

    fn replace(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, anyhow::Result<bool>> {
        async move {
            let request = wire::RangeRequest { key: key.clone(), ..wire::RangeRequest::default() };
            // A key that is not there has revision 0, for reads and for comparisons.
            let revision = self.range(request).await?.first().map_or(0, |row| row.mod_revision);
            let unchanged = wire::Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Mod.into(),
                key: key.clone(),
                target_union: Some(TargetUnion::ModRevision(revision)),
            };
            let put = Request::RequestPut(wire::PutRequest { key, value });
            let request =
                wire::TxnRequest { compare: vec![unchanged], success: vec![wire::RequestOp { request: Some(put) }] };
            Ok(self.0.clone().txn(request).await.context("etcd txn")?.into_inner().succeeded)
        }
        .boxed()
    }
}
