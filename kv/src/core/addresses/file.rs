//! The address book as the bytes of a file, so that a store finds the others after a restart: JSON, which people may have to edit.
//!
//! The file is a cache. What cannot be read of it is told of and left out, and the rest counts: others are asked for what is missing.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;

use holdfast_placement::{SiteTrust, StoreRecord};
use holdfast_types::{Incarnation, SiteName, StoreId, Timestamp, limits};
use serde::{Deserialize, Serialize};

use super::Claim;

/// The version of the file that this program writes. Older programs of this version know one address of a store and no incarnation.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    stores: Vec<FileStore>,
    /// Older programs do not know of it, and take such a store for one that is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<FileForgotten>,
    /// Older programs do not know of it, and leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sites: Vec<FileSite>,
}

/// A site that was distrusted once; a time that is 0 never was.
#[derive(Serialize, Deserialize)]
struct FileSite {
    site: String,
    #[serde(default)]
    distrusted_at: u64,
    #[serde(default)]
    restored_at: u64,
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Where the stores are; of each store its places in the order of the book.
    pub claims: Vec<Claim>,
    /// Of these, stores that were reached, and that the fleet had not on record as far as was heard.
    pub hearsay: BTreeSet<StoreId>,
    /// Stores that were forgotten; of their records only who they were and when it ended.
    pub forgotten: Vec<StoreRecord>,
    /// What was said of sites that were distrusted once: it must hold after a restart, whoever is there to ask.
    pub sites: Vec<SiteTrust>,
}

/// A file that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It is not what any version writes.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("it has version {found}, this program knows {VERSION}")]
    UnknownVersion {
        /// What was found.
        found: u32,
    },
}

/// The version alone: what else is in the file of another one is not known.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Kept {
    /// Reads what [`Kept::encode`] wrote, and returns what had to be left out of it, a sentence each.
    ///
    /// # Errors
    /// When nothing of it can be read.
    pub fn decode(bytes: &[u8]) -> Result<(Self, Vec<String>), BadFile> {
        let Version { version: found } = serde_json::from_slice(bytes)?;
        if found != VERSION {
            return Err(BadFile::UnknownVersion { found });
        }
        let file: File = serde_json::from_slice(bytes)?;
        let (mut kept, mut left_out) = (Self::default(), Vec::new());
        for stored in file.forgotten.into_iter().take(limits::MAX_STORE_RECORDS) {
            match stored.into_record() {
                Ok(record) => kept.forgotten.push(record),
                Err(why) => left_out.push(format!("a store that was forgotten: {why}")),
            }
        }
        for stored in file.sites.into_iter().take(limits::SITES_DOUBTED) {
            match stored.into_trust() {
                Ok(said) => kept.sites.push(said),
                Err(why) => left_out.push(format!("a site that was distrusted: {why}")),
            }
        }
        // The last place of a store is the one in use: see `encode`.
        for stored in file.stores.into_iter().rev().take(limits::ADDRESSED_STORES * limits::ADDRESSES_PER_STORE) {
            let is_hearsay = stored.hearsay;
            match stored.into_claim() {
                Ok(claim) => {
                    if is_hearsay {
                        kept.hearsay.insert(claim.store);
                    }
                    kept.claims.push(claim);
                }
                // An earlier version wrote down whatever it was told.
                Err(why) => left_out.push(format!("where a store is: {why}")),
            }
        }
        Ok((kept, left_out))
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // An older program keeps the last place of a store.
        let stored =
            |claim: &Claim| FileStore { hearsay: self.hearsay.contains(&claim.store), ..FileStore::from(claim) };
        let stores = self.claims.iter().rev().map(stored).collect();
        let forgotten = self.forgotten.iter().map(FileForgotten::from).collect();
        let sites = self.sites.iter().map(FileSite::from).collect();
        let file = File { version: VERSION, stores, forgotten, sites };
        serde_json::to_vec_pretty(&file).expect("texts and numbers under names that are texts")
    }
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

impl From<&SiteTrust> for FileSite {
    fn from(said: &SiteTrust) -> Self {
        let at = |at: Option<Timestamp>| at.unwrap_or_default().0;
        Self { site: said.site.to_string(), distrusted_at: at(said.distrusted_at), restored_at: at(said.restored_at) }
    }
}

impl FileSite {
    fn into_trust(self) -> Result<SiteTrust, String> {
        let at = |raw| {
            let at = Timestamp::bounded(raw).map_err(|bad| bad.to_string())?;
            Ok::<_, String>((at != Timestamp::ZERO).then_some(at))
        };
        Ok(SiteTrust {
            site: SiteName::new(&self.site)?,
            distrusted_at: at(self.distrusted_at)?,
            restored_at: at(self.restored_at)?,
        })
    }
}

/// A store, which has an id.
fn store(raw: u64) -> Result<StoreId, String> {
    let store = StoreId::bounded(raw).map_err(|bad| bad.to_string())?;
    if store == StoreId::NONE { Err("it names no store".to_owned()) } else { Ok(store) }
}

impl FileForgotten {
    fn into_record(self) -> Result<StoreRecord, String> {
        let forgotten_at = Some(Timestamp::bounded(self.at).map_err(|bad| bad.to_string())?);
        Ok(StoreRecord { forgotten_at, ..StoreRecord::new(store(self.store)?, SiteName::new(&self.site)?) })
    }
}

impl FileStore {
    fn into_claim(self) -> Result<Claim, String> {
        let claim = Claim {
            store: store(self.store)?,
            site: SiteName::new(&self.site)?,
            incarnation: Incarnation::bounded(self.incarnation).map_err(|bad| bad.to_string())?,
            client: self.client,
            store_to_store: self.store_to_store,
        };
        if claim.is_sound() { Ok(claim) } else { Err(format!("the address of {} is none", claim.store)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(store: u64, incarnation: u64, host: &str) -> Claim {
        Claim {
            store: StoreId(store),
            site: SiteName::new("a").unwrap(),
            incarnation: Incarnation(incarnation),
            client: format!("{host}:1"),
            store_to_store: format!("{host}:2"),
        }
    }

    fn said(site: &str, distrusted_at: u64, restored_at: u64) -> SiteTrust {
        let at = |at: u64| (at > 0).then_some(Timestamp(at));
        let site = SiteName::new(site).unwrap();
        SiteTrust { site, distrusted_at: at(distrusted_at), restored_at: at(restored_at) }
    }

    #[test]
    fn what_is_written_down_is_read_in_the_order_that_it_had() {
        let gone =
            StoreRecord { forgotten_at: Some(Timestamp(70)), ..StoreRecord::new(StoreId(9), claim(9, 0, "x").site) };
        let kept = Kept {
            claims: vec![claim(2, 7, "in-use"), claim(2, 7, "other"), claim(3, 1, "c")],
            hearsay: [StoreId(3)].into(),
            forgotten: vec![gone],
            sites: vec![said("a", 70, 80), said("b", 90, 0)],
        };
        let (again, left_out) = Kept::decode(&kept.encode()).unwrap();
        assert_eq!((again, left_out), (kept, vec![]));
    }

    #[test]
    fn one_bad_line_is_left_out_and_named_and_the_rest_counts() {
        let largest = u64::MAX;
        let text = format!(
            r#"{{"version":1,"stores":[
                {{"store":{largest},"site":"a","client":"h:1","store_to_store":"h:2"}},
                {{"store":0,"site":"a","client":"h:1","store_to_store":"h:2","hearsay":true}},
                {{"store":2,"site":"a","client":"h:1","store_to_store":""}},
                {{"store":2,"site":"a\u001b","client":"h:1","store_to_store":"h:2"}},
                {{"store":2,"site":"a","incarnation":{largest},"client":"h:1","store_to_store":"h:2"}},
                {{"store":3,"site":"a","client":"h:1","store_to_store":"h:2"}}],
              "forgotten":[{{"store":4,"site":"a","at":{largest}}},{{"store":0,"site":"a","at":1}}],
              "sites":[{{"site":"A b","distrusted_at":1}},{{"site":"c","distrusted_at":{largest}}},{{"site":"b","distrusted_at":7}}]}}"#
        );
        let (kept, left_out) = Kept::decode(text.as_bytes()).unwrap();
        let expected = Kept { claims: vec![claim(3, 0, "h")], sites: vec![said("b", 7, 0)], ..Kept::default() };
        assert_eq!(kept, expected);
        assert_eq!(left_out.len(), 9, "{left_out:?}");
    }

    #[test]
    fn another_version_is_named_whatever_else_is_in_the_file() {
        let refused = Kept::decode(br#"{"version":99,"places":{}}"#).unwrap_err().to_string();
        assert_eq!(refused, "it has version 99, this program knows 1");
        assert!(Kept::decode(b"{}").unwrap_err().to_string().contains("missing field `version`"));
        assert!(Kept::decode(&b"[".repeat(100_000)).is_err());
    }
}
