//! What statements need from a fleet: pages of rows, writes, and the admin API.
//!
//! - [`Backend`]: the trait
//! - [`FleetBackend`]: over the client library

mod fleet;

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_client::ClientError;
use holdfast_client::admin::{
    AdminError, AuditPage, AuditQuery, Events, GrantedRights, Keyspace, LeaderGoesTo, RangePage, Ranges, RightsChange,
    RightsChanged, Settings, Sites, Split, Stores, Transferred,
};
use holdfast_client::core::ScanPart;
use holdfast_types::{
    Expected, Grantee, Key, KeyRange, KeyspaceId, RangeId, Rejected, ScanMode, StoreId, Timestamp, VersionedValue,
};

pub use fleet::FleetBackend;

/// Why the fleet did not do something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BackendError {
    /// A read or a write.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A call of the admin API.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

impl BackendError {
    /// True when the fleet does not take this request, however often it is sent: it asks for too much, say.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Client(ClientError::Rejected(Rejected::Invalid(_))))
    }
}

/// Asks for a page of rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanPage {
    /// Which keys, raw.
    pub bounds: KeyRange,
    /// From the end to the start.
    pub reverse: bool,
    /// At most this many rows.
    pub max_rows: u32,
    /// The part of the scan that the page belongs to, as the page before said; `None`: it begins one.
    pub part: Option<ScanPart>,
    /// What is brought of each row.
    pub mode: ScanMode,
}

/// A row as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRow {
    /// The key, raw.
    pub key: Key,
    /// Its value, version and expiry.
    pub value: VersionedValue,
}

impl StoredRow {
    /// Bytes of key and value.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        u64::try_from(self.key.user_key().len() + self.value.value.len()).unwrap_or(u64::MAX)
    }
}

/// A page of rows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Page {
    /// In the order of the scan. May be empty although more is to come.
    pub rows: Vec<StoredRow>,
    /// Rows that were counted, and are not brought.
    pub counted: u64,
    /// What is still to be read; `None`: nothing.
    pub rest: Option<KeyRange>,
    /// The part that the next page belongs to: it is read at the same timestamp as this one.
    pub part: Option<ScanPart>,
}

/// One change of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The key, raw.
    pub key: Key,
    /// What it must look like; `None`: anything.
    pub expected: Option<Expected>,
    /// The new value; `None` deletes.
    pub value: Option<Bytes>,
    /// From then on it is gone.
    pub expires_at: Option<Timestamp>,
}

/// What a batch of changes came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// All of it happened.
    Done {
        /// The version of every key written.
        version: Timestamp,
    },
    /// A key did not look as expected; nothing happened.
    Unexpected {
        /// Which change, from 0.
        index: usize,
    },
    /// The keys lie in two ranges; nothing happened.
    Spans {
        /// The first key of the second range.
        split_key: Key,
    },
}

/// A page of keys was deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deleted {
    /// Keys that existed.
    pub keys: u64,
    /// What is still to be deleted; `None`: nothing.
    pub rest: Option<KeyRange>,
}

/// What statements need from a fleet. Every call is one request to it, and dropping its future cancels that request.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Fleet time, as far as it is known here.
    fn fleet_now(&self) -> Timestamp;
    /// Reads a page of rows.
    async fn scan_page(&self, page: ScanPage) -> Result<Page, BackendError>;
    /// Reads keys, over any number of ranges; one answer a key, in order. Refused where their values are more than one answer takes.
    async fn batch_get(&self, keys: Vec<Key>) -> Result<Vec<Option<VersionedValue>>, BackendError>;
    /// Changes distinct keys of one range, all or nothing.
    async fn write(&self, changes: Vec<Change>) -> Result<Written, BackendError>;
    /// Deletes a page of keys.
    async fn delete_page(&self, bounds: KeyRange) -> Result<Deleted, BackendError>;
    /// One page of ranges in the order of their keys: at most `limit`, from `resume` of the page before on.
    async fn ranges(&self, which: Ranges, resume: Option<Key>, limit: u32) -> Result<RangePage, BackendError>;
    /// The sites of the fleet.
    async fn sites(&self) -> Result<Sites, BackendError>;
    /// The stores of the fleet.
    async fn stores(&self) -> Result<Stores, BackendError>;
    /// What happened, the newest first: at most `limit`.
    async fn events(&self, limit: u32) -> Result<Events, BackendError>;
    /// A page of what is on record of who did what, the newest first.
    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, BackendError>;
    /// What was granted; with `to` only what that one may by it.
    async fn rights(&self, to: Option<Grantee>) -> Result<GrantedRights, BackendError>;
    /// Changes what somebody may.
    async fn change_rights(&self, change: RightsChange) -> Result<RightsChanged, BackendError>;
    /// The configuration of a store; `None`: of the one that answers.
    async fn settings(&self, store: Option<StoreId>) -> Result<Settings, BackendError>;
    /// The keyspaces that have a name.
    async fn keyspaces(&self) -> Result<Vec<Keyspace>, BackendError>;
    /// Names a new keyspace.
    async fn create_keyspace(&self, name: &str) -> Result<Keyspace, BackendError>;
    /// Cuts the range that holds a key in two.
    async fn split(&self, keyspace: KeyspaceId, key: &[u8]) -> Result<Split, BackendError>;
    /// Hands the leadership of a range over.
    async fn transfer_leader(&self, range: RangeId, to: LeaderGoesTo) -> Result<Transferred, BackendError>;
}
