//! The address book on disk: `directory.json`.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use holdfast_kv::core::addresses::Claim;
use holdfast_placement::StoreRecord;
use holdfast_types::{Incarnation, SiteName, StoreId, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of the file that this program writes. Older programs of this version know one address of a store and no incarnation.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    stores: Vec<FileStore>,
    /// Older programs do not know of it, and take such a store for one that is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<FileForgotten>,
}

/// A store that the fleet has forgotten.
#[derive(Serialize, Deserialize)]
struct FileForgotten {
    store: u64,
    site: String,
    at: u64,
}

/// A store at one of its places.
#[derive(Serialize, Deserialize)]
struct FileStore {
    store: u64,
    site: String,
    #[serde(default)]
    incarnation: u64,
    client: String,
    store_to_store: String,
    /// Not used; older programs want it.
    #[serde(default)]
    http: String,
    /// Older programs take such a store for one that is on record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    hearsay: bool,
}

/// What is written down.
#[derive(Default)]
pub struct Kept {
    /// Where the stores are.
    pub claims: Vec<Claim>,
    /// Of these, stores that were reached, and that the fleet had not on record as far as was heard.
    pub hearsay: BTreeSet<StoreId>,
    /// Stores that were forgotten; of their records only who they were and when it ended.
    pub forgotten: Vec<StoreRecord>,
}

/// What was written down; nothing when there is no file.
pub fn read(path: &Path) -> anyhow::Result<Kept> {
    if !path.exists() {
        return Ok(Kept::default());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let file: File = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    anyhow::ensure!(
        file.version == VERSION,
        "{} has version {}, this program knows {VERSION}",
        path.display(),
        file.version
    );
    let mut forgotten = Vec::new();
    for stored in file.forgotten {
        match stored.into_record() {
            Ok(record) => forgotten.push(record),
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "that a store was forgotten was written down wrongly; the fleet tells of it again"
            ),
        }
    }
    let hearsay =
        file.stores.iter().filter(|store| store.hearsay).filter_map(|store| StoreId::bounded(store.store).ok());
    let hearsay = hearsay.collect();
    let mut claims = Vec::new();
    for stored in file.stores {
        match stored.into_claim() {
            Ok(claim) => claims.push(claim),
            // An earlier version wrote down whatever it was told.
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "where a store is was written down wrongly; others are asked for it"
            ),
        }
    }
    Ok(Kept { claims, hearsay, forgotten })
}

/// Writes the book down, all of it or nothing.
pub fn write(path: &Path, kept: &Kept) -> anyhow::Result<()> {
    // An older program keeps the last place of a store: the one in use.
    let stored = |claim: &Claim| FileStore { hearsay: kept.hearsay.contains(&claim.store), ..FileStore::from(claim) };
    let stores = kept.claims.iter().rev().map(stored).collect();
    let forgotten = kept.forgotten.iter().map(FileForgotten::from).collect();
    let file = File { version: VERSION, stores, forgotten };
    holdfast_files::replace(path, &serde_json::to_vec_pretty(&file)?)?;
    Ok(())
}

impl From<&Claim> for FileStore {
    fn from(claim: &Claim) -> Self {
        Self {
            store: claim.store.0,
            site: claim.site.to_string(),
            incarnation: claim.incarnation.0,
            client: claim.client.clone(),
            store_to_store: claim.store_to_store.clone(),
            http: String::new(),
            hearsay: false,
        }
    }
}

impl From<&StoreRecord> for FileForgotten {
    fn from(record: &StoreRecord) -> Self {
        let at = record.forgotten_at.unwrap_or_default();
        Self { store: record.store.0, site: record.site.to_string(), at: at.0 }
    }
}

impl FileForgotten {
    fn into_record(self) -> anyhow::Result<StoreRecord> {
        Ok(StoreRecord {
            forgotten_at: Some(Timestamp::bounded(self.at)?),
            ..StoreRecord::new(StoreId::bounded(self.store)?, SiteName::new(&self.site).map_err(anyhow::Error::msg)?)
        })
    }
}

impl FileStore {
    fn into_claim(self) -> anyhow::Result<Claim> {
        Ok(Claim {
            store: StoreId::bounded(self.store)?,
            site: SiteName::new(&self.site).map_err(anyhow::Error::msg)?,
            incarnation: Incarnation::bounded(self.incarnation)?,
            client: self.client,
            store_to_store: self.store_to_store,
        })
    }
}
