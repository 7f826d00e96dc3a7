//! The backend over the client library.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_client::admin::{
    Admin, AuditPage, AuditQuery, Events, GrantedRights, Keyspace, LeaderGoesTo, RangePage, Ranges, RightsChange,
    RightsChanged, Settings, Sites, Split, Stores, Transferred,
};
use holdfast_client::core::{Misfit, ScanPager};
use holdfast_client::{Client, ClientError};
use holdfast_types::{
    Condition, Grantee, Key, KeyRange, KeyspaceId, Mutation, RangeId, Rejected, Request, Response, StoreId, Timestamp,
    VersionedValue, limits,
};

use super::{Backend, BackendError, Change, Deleted, Page, ScanPage, StoredRow, Written};

/// A fleet, reached through the client library.
#[derive(Clone)]
pub struct FleetBackend {
    client: Client,
    admin: Admin,
}

impl FleetBackend {
    /// Over a client and an admin handle of the same fleet.
    #[must_use]
    pub fn new(client: Client, admin: Admin) -> Self {
        Self { client, admin }
    }
}

fn misfit(what: &str) -> BackendError {
    BackendError::Client(ClientError::Protocol(format!("{what} was expected")))
}

/// What is left of `bounds` behind a page that ended at `resume`.
fn rest(bounds: KeyRange, resume: Option<Key>) -> Result<Option<KeyRange>, BackendError> {
    let Some(resume) = resume else { return Ok(None) };
    if resume <= bounds.start {
        // A page that makes no way would be asked for without end.
        return Err(misfit("a page that goes on"));
    }
    let rest = KeyRange { start: resume, end: bounds.end };
    Ok((!rest.is_empty()).then_some(rest))
}

#[async_trait]
impl Backend for FleetBackend {
    fn fleet_now(&self) -> Timestamp {
        self.client.fleet_now()
    }

    async fn scan_page(&self, page: ScanPage) -> Result<Page, BackendError> {
        let ScanPage { bounds, reverse, max_rows, part, mode } = page;
        let pager = ScanPager::new(bounds, reverse, None, None).with_pages(max_rows, limits::MAX_SCAN_BYTES);
        let mut pager = pager.with_mode(mode).within(part);
        let Some(request) = pager.next_request() else { return Ok(Page::default()) };
        let answer = self.client.call(request).await?;
        let rows = pager.take(answer).map_err(|Misfit(why)| BackendError::Client(ClientError::Protocol(why)))?;
        let rows = rows.into_iter().map(|row| StoredRow { key: row.key, value: row.value }).collect();
        Ok(Page { rows, counted: pager.counted(), rest: pager.rest().cloned(), part: pager.part().cloned() })
    }

    async fn batch_get(&self, keys: Vec<Key>) -> Result<Vec<Option<VersionedValue>>, BackendError> {
        let asked = keys.len();
        match self.client.call(Request::Get { keys, at: None }).await? {
            Response::Got { values } if values.len() == asked => Ok(values),
            _ => Err(misfit("one value a key")),
        }
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Written, BackendError> {
        let mut conditions = Vec::new();
        let mut of_change = Vec::new();
        let mut mutations = Vec::with_capacity(changes.len());
        for (index, change) in changes.into_iter().enumerate() {
            if let Some(expected) = change.expected {
                conditions.push(Condition { key: change.key.clone(), expected });
                of_change.push(index);
            }
            let value: Option<Bytes> = change.value;
            mutations.push(Mutation { key: change.key, value, expires_at: change.expires_at });
        }
        match self.client.call(Request::Write { conditions, mutations }).await {
            Ok(Response::Written { timestamp }) => Ok(Written::Done { version: timestamp }),
            Ok(Response::ConditionFailed { index, .. }) => {
                let index = usize::try_from(index).ok().and_then(|index| of_change.get(index).copied());
                index.map(|index| Written::Unexpected { index }).ok_or_else(|| misfit("a condition of the batch"))
            }
            Ok(_) => Err(misfit("the outcome of a write")),
            Err(ClientError::Rejected(Rejected::SpansRanges { split_key })) => Ok(Written::Spans { split_key }),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_page(&self, bounds: KeyRange) -> Result<Deleted, BackendError> {
        let request = Request::DeleteRange { bounds: bounds.clone(), max_keys: limits::DELETE_RANGE_PAGE_KEYS };
        match self.client.call(request).await? {
            Response::RangeDeleted { deleted, resume, .. } => {
                Ok(Deleted { keys: u64::from(deleted), rest: rest(bounds, resume)? })
            }
            _ => Err(misfit("a deleted page")),
        }
    }

    async fn ranges(&self, which: Ranges, resume: Option<Key>, limit: u32) -> Result<RangePage, BackendError> {
        Ok(self.admin.ranges(which, resume, limit).await?)
    }

    async fn sites(&self) -> Result<Sites, BackendError> {
        Ok(self.admin.sites().await?)
    }

    async fn stores(&self) -> Result<Stores, BackendError> {
        Ok(self.admin.stores().await?)
    }

    async fn events(&self, limit: u32) -> Result<Events, BackendError> {
        Ok(self.admin.events(limit, None).await?)
    }

    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, BackendError> {
        Ok(self.admin.audit(query).await?)
    }

    async fn rights(&self, to: Option<Grantee>) -> Result<GrantedRights, BackendError> {
        Ok(self.admin.rights(to.as_ref()).await?)
    }

    async fn change_rights(&self, change: RightsChange) -> Result<RightsChanged, BackendError> {
        Ok(self.admin.change_rights(change).await?)
    }

    async fn settings(&self, store: Option<StoreId>) -> Result<Settings, BackendError> {
        Ok(self.admin.settings(store).await?)
    }

    async fn keyspaces(&self) -> Result<Vec<Keyspace>, BackendError> {
        Ok(self.admin.keyspaces().await?)
    }

    async fn create_keyspace(&self, name: &str) -> Result<Keyspace, BackendError> {
        Ok(self.admin.create_keyspace(name).await?)
    }

    async fn split(&self, keyspace: KeyspaceId, key: &[u8]) -> Result<Split, BackendError> {
        Ok(self.admin.split(keyspace, key).await?)
    }

    async fn transfer_leader(&self, range: RangeId, to: LeaderGoesTo) -> Result<Transferred, BackendError> {
        Ok(self.admin.transfer_leader(range, None, to).await?)
    }
}
