//! The address book: all stores of the fleet, kept in memory and in a file, so that a store finds the others after a restart
//! without the system range.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use holdfast_placement::{StoreAddresses, StoreRecord};
use holdfast_types::{LeaderHint, SiteName, StoreId, Timestamp};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

/// The version of the file that this program writes.
const VERSION: u32 = 1;

/// Called with the records that are new or changed.
pub type OnChange = Box<dyn Fn(&[StoreRecord]) + Send + Sync>;

/// All stores of the fleet as this store knows them.
pub struct Directory {
    path: PathBuf,
    stores: RwLock<Arc<BTreeMap<StoreId, StoreRecord>>>,
    on_change: OnChange,
    /// One thread writes the file at a time: what is there last is the newest.
    saving: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    stores: Vec<FileStore>,
}

#[derive(Serialize, Deserialize)]
struct FileStore {
    store: u64,
    site: String,
    client: String,
    store_to_store: String,
    http: String,
}

impl Directory {
    /// Opens the address book in a data directory; an empty one when there is none yet. `on_change` hears of every record.
    pub fn open(data_dir: &std::path::Path, on_change: OnChange) -> anyhow::Result<Self> {
        let path = data_dir.join("directory.json");
        let mut stores = BTreeMap::new();
        if path.exists() {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let file: File =
                serde_json::from_str(&text).with_context(|| format!("{} is damaged: remove it", path.display()))?;
            anyhow::ensure!(
                file.version == VERSION,
                "{} has version {}, this program knows {VERSION}: start the version that wrote it",
                path.display(),
                file.version
            );
            for record in file.stores {
                let record = record.into_record()?;
                stores.insert(record.store, record);
            }
        }
        let records: Vec<_> = stores.values().cloned().collect();
        on_change(&records);
        Ok(Self { path, stores: RwLock::new(Arc::new(stores)), on_change, saving: Mutex::new(()) })
    }

    /// All stores.
    pub fn all(&self) -> Arc<BTreeMap<StoreId, StoreRecord>> {
        Arc::clone(&self.stores.read())
    }

    /// Takes in what placement says. A failure to keep it is only logged: the next start asks again.
    pub fn learn(&self, records: &[StoreRecord]) {
        let changed = {
            let mut stores = self.stores.write();
            let changed: Vec<_> =
                records.iter().filter(|record| stores.get(&record.store) != Some(record)).cloned().collect();
            if changed.is_empty() {
                return;
            }
            let mut next = (**stores).clone();
            next.extend(changed.iter().map(|record| (record.store, record.clone())));
            *stores = Arc::new(next);
            changed
        };
        (self.on_change)(&changed);
        if let Err(error) = self.save() {
            tracing::warn!(error = format!("{error:#}"), "the address book could not be kept");
        }
    }

    /// Where clients find a store.
    pub fn hint(&self, store: StoreId) -> holdfast_proto::v1::LeaderHint {
        let address = self.stores.read().get(&store).map(|record| record.addresses.client.clone());
        LeaderHint { store, address }.into()
    }

    fn save(&self) -> anyhow::Result<()> {
        let _saving = self.saving.lock();
        let stores = self.all();
        let file = File { version: VERSION, stores: stores.values().map(FileStore::from).collect() };
        let next = self.path.with_extension("json.next");
        std::fs::write(&next, serde_json::to_string_pretty(&file)?)?;
        std::fs::File::open(&next)?.sync_all()?;
        std::fs::rename(&next, &self.path)?;
        Ok(())
    }
}

impl From<&StoreRecord> for FileStore {
    fn from(record: &StoreRecord) -> Self {
        Self {
            store: record.store.0,
            site: record.site.to_string(),
            client: record.addresses.client.clone(),
            store_to_store: record.addresses.store_to_store.clone(),
            http: record.addresses.http.clone(),
        }
    }
}

impl FileStore {
    fn into_record(self) -> anyhow::Result<StoreRecord> {
        Ok(StoreRecord {
            store: StoreId(self.store),
            site: SiteName::new(&self.site).map_err(anyhow::Error::msg)?,
            site_identity: None,
            addresses: StoreAddresses { client: self.client, store_to_store: self.store_to_store, http: self.http },
            joined_at: Timestamp::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_book_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let book = Directory::open(dir.path(), Box::new(|_| ())).unwrap();
        let addresses = StoreAddresses { client: "h:1".into(), store_to_store: "h:2".into(), http: "h:3".into() };
        let site = SiteName::new("a").unwrap();
        let record =
            StoreRecord { store: StoreId(4), site, site_identity: None, addresses, joined_at: Timestamp::ZERO };
        book.learn(std::slice::from_ref(&record));
        let again = Directory::open(dir.path(), Box::new(|_| ())).unwrap();
        assert_eq!(again.all().get(&StoreId(4)), Some(&record));
    }
}
