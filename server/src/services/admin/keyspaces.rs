//! Keyspaces by name: records in the system range, ids from a counter, both by compare-and-set.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_kv::core::records;
use holdfast_placement::{KeyspaceRecord, StateKey};
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_types::{Condition, Expected, Key, KeyRange, KeyspaceId, KeyspaceName, Rejected, Timestamp, limits};
use parking_lot::Mutex;
use tonic::Status;

use crate::running::Running;
use crate::system;

/// How often a creation is begun again when another one came first.
const MAX_TRIES: usize = 16;
/// Names that are shown with ranges are read again after this long.
const NAMES_EVERY: Duration = Duration::from_secs(5);
/// For names alone nobody is made to wait longer.
const NAMES_WITHIN: Duration = Duration::from_millis(500);

/// All keyspaces, by name.
pub(super) async fn all(running: &Running) -> Result<Vec<v1::Keyspace>, Rejected> {
    all_within(running, system::PATIENCE).await
}

async fn all_within(running: &Running, patience: Duration) -> Result<Vec<v1::Keyspace>, Rejected> {
    let made = system::all(running, StateKey::all_keyspaces(), patience, records::decode_keyspace).await?;
    let mut keyspaces: Vec<_> = made.iter().map(message).chain(built_in()).collect();
    keyspaces.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(keyspaces)
}

/// The keyspace of a name.
pub(super) async fn find(running: &Running, name: &str) -> Result<Option<v1::Keyspace>, Rejected> {
    if let Some(known) = built_in().into_iter().find(|known| known.name == name) {
        return Ok(Some(known));
    }
    let Ok(name) = KeyspaceName::new(name) else { return Ok(None) };
    let found = system::get(running, &StateKey::Keyspace(name).key()).await?;
    let record = found.map(|found| records::decode_keyspace(&found.value).map_err(system::damaged)).transpose()?;
    Ok(record.as_ref().map(message))
}

/// Names a new keyspace.
pub(super) async fn create(running: &Running, name: &str) -> Result<v1::Keyspace, Status> {
    let parsed = KeyspaceName::new(name).map_err(super::invalid)?;
    for _ in 0..MAX_TRIES {
        if let Some(known) = find(running, name).await.map_err(to_status)? {
            return Err(Status::already_exists(format!("there is a keyspace {name} already: it has id {}", known.id)));
        }
        if let Some(record) = try_create(running, parsed.clone()).await.map_err(to_status)? {
            return Ok(message(&record));
        }
    }
    Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
}

/// `None`: another creation came first.
async fn try_create(running: &Running, name: KeyspaceName) -> Result<Option<KeyspaceRecord>, Rejected> {
    let next_key = StateKey::NextKeyspace.key();
    let found = system::get(running, &next_key).await?;
    let next = match &found {
        None => KeyspaceId::FIRST_NAMED.0.into(),
        Some(found) => records::decode_next_id(&found.value).map_err(system::damaged)?,
    };
    let id = u32::try_from(next).map_err(|_| Rejected::Unavailable("all ids of keyspaces are given away".into()))?;
    let created_at = running.fleet_now().max(Timestamp(1));
    if id.saturating_sub(KeyspaceId::FIRST_NAMED.0) >= limits::MAX_KEYSPACES {
        let most = limits::MAX_KEYSPACES;
        return Err(Rejected::Unavailable(format!("the fleet has {most} keyspaces with a name, the most that it may")));
    }
    let record = KeyspaceRecord { id: KeyspaceId(id), name: name.clone(), created_at };
    let key = StateKey::Keyspace(name).key();
    let conditions = vec![
        Condition {
            key: next_key.clone(),
            expected: found.map_or(Expected::Absent, |found| Expected::Version(found.timestamp)),
        },
        Condition { key: key.clone(), expected: Expected::Absent },
    ];
    let mutations = vec![
        system::put(next_key, records::encode_next_id(next.saturating_add(1))),
        system::put(key, records::encode_keyspace(&record)),
    ];
    Ok(system::write(running, conditions, mutations).await?.then_some(record))
}

/// All keys of a keyspace.
pub(super) fn bounds_of(keyspace: KeyspaceId) -> KeyRange {
    KeyRange { start: Key::bound(keyspace, b""), end: Key::keyspace_end(keyspace) }
}

fn message(record: &KeyspaceRecord) -> v1::Keyspace {
    let (name, id) = (record.name.to_string(), record.id.0);
    v1::Keyspace { name, id, created_at: record.created_at.0, writable: true }
}

fn built_in() -> [v1::Keyspace; 2] {
    let keyspace = |name: &str, id: KeyspaceId, writable| v1::Keyspace {
        name: name.to_owned(),
        id: id.0,
        created_at: 0,
        writable,
    };
    [
        keyspace(KeyspaceName::DEFAULT, KeyspaceId::DEFAULT, true),
        keyspace(KeyspaceName::SYSTEM, KeyspaceId::SYSTEM, false),
    ]
}

type Names = Arc<BTreeMap<KeyspaceId, String>>;

/// Names as they were read last: shown with ranges, and better old than not at all.
#[derive(Default)]
pub(super) struct KeyspaceNames {
    read: Mutex<Option<(Instant, Names)>>,
}

impl KeyspaceNames {
    /// The names of all keyspaces, as far as they can be had in a moment.
    pub(super) async fn by_id(&self, running: &Running) -> Names {
        if let Some((at, names)) = &*self.read.lock()
            && at.elapsed() < NAMES_EVERY
        {
            return Arc::clone(names);
        }
        match all_within(running, NAMES_WITHIN).await {
            Ok(keyspaces) => {
                let names = keyspaces.into_iter().map(|keyspace| (KeyspaceId(keyspace.id), keyspace.name));
                let names: Names = Arc::new(names.collect());
                *self.read.lock() = Some((Instant::now(), Arc::clone(&names)));
                names
            }
            Err(_) => match &*self.read.lock() {
                Some((_, names)) => Arc::clone(names),
                None => Arc::new(built_in().into_iter().map(|known| (KeyspaceId(known.id), known.name)).collect()),
            },
        }
    }

    /// They changed.
    pub(super) fn forget(&self) {
        *self.read.lock() = None;
    }
}
