//! All stores of the fleet: who they are by the system range, where they are by the address book. Kept in memory and in a file, so that
//! a store finds the others after a restart without the system range. The file is a cache: without it, others are asked.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use holdfast_kv::core::addresses::{AddressBook, Claim, Unreached};
use holdfast_kv::ports::Clock;
use holdfast_placement::{StoreAddresses, StoreRecord};
use holdfast_types::{Incarnation, LeaderHint, Moment, StoreId, Timestamp};
use parking_lot::{Mutex, RwLock};

/// Called with the records that are new or changed.
pub type OnChange = Box<dyn Fn(&[StoreRecord]) + Send + Sync>;

/// All stores of the fleet as this store knows them.
pub struct Directory {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    own: StoreRecord,
    incarnation: Incarnation,
    inner: Mutex<Inner>,
    stores: RwLock<Arc<BTreeMap<StoreId, StoreRecord>>>,
    on_change: OnceLock<OnChange>,
    /// Grows with every change.
    version: AtomicU64,
    /// The version in the file. One thread writes it at a time: what is there last is the newest.
    saved: Mutex<u64>,
}

struct Inner {
    book: AddressBook,
    /// What the system range says of each store; made up for those of which only an address was heard.
    members: BTreeMap<StoreId, StoreRecord>,
}

impl Directory {
    /// Opens the directory of the store `own` in a data directory; with a warning an empty one when the file is not there or of no
    /// use. Nobody hears of the stores before [`Directory::begin`].
    pub fn open(data_dir: &std::path::Path, own: StoreRecord, incarnation: Incarnation, clock: Arc<dyn Clock>) -> Self {
        let path = data_dir.join("directory.json");
        let members = BTreeMap::from([(own.store, own.clone())]);
        let directory = Self {
            inner: Mutex::new(Inner { book: AddressBook::new(own.store), members: members.clone() }),
            stores: RwLock::new(Arc::new(members)),
            path,
            clock,
            own,
            incarnation,
            on_change: OnceLock::new(),
            version: AtomicU64::new(0),
            saved: Mutex::new(0),
        };
        match file::read(&directory.path) {
            Ok(claims) => drop(directory.hear(&claims)),
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "the addresses of other stores that were written down are of no use; others are asked for them"
            ),
        }
        directory
    }

    /// `on_change` hears of every record, now and whenever one changes.
    pub fn begin(&self, on_change: OnChange) {
        let _inner = self.inner.lock();
        let records: Vec<_> = self.all().values().cloned().collect();
        on_change(&records);
        assert!(self.on_change.set(on_change).is_ok(), "a directory begins once");
    }

    /// All stores.
    pub fn all(&self) -> Arc<BTreeMap<StoreId, StoreRecord>> {
        Arc::clone(&self.stores.read())
    }

    /// Grows with every change of what [`Directory::all`] gives.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Takes in what the system range says: who the stores are, and where they were when they last told it.
    pub fn learn(&self, records: &[StoreRecord]) {
        self.change(|inner, now| {
            for record in records {
                inner.members.insert(record.store, record.clone());
                inner.book.hear(&claim_of(record, Incarnation::default()), now);
            }
        });
    }

    /// Takes in what is said of where stores are. True when some of it was new.
    pub fn hear(&self, claims: &[Claim]) -> bool {
        self.change(|inner, now| claims.iter().fold(false, |news, claim| inner.book.hear(claim, now) | news))
    }

    /// A handshake proved where a store is.
    pub fn reached(&self, store: StoreId, incarnation: Incarnation, address: &str) {
        self.change(|inner, now| inner.book.reached(store, incarnation, address, now));
    }

    /// The connection to a store ended.
    pub fn lost(&self, store: StoreId) {
        self.change(|inner, now| inner.book.lost(store, now));
    }

    /// A store was not found at an address; `lives_there`: who was.
    pub fn failed(&self, store: StoreId, address: &str, why: &str, lives_there: Option<StoreId>) {
        self.change(|inner, now| {
            inner.book.failed(store, address, why);
            if let Some(other) = lives_there {
                inner.book.lives_at(other, address, now);
            }
        });
    }

    /// Goes on looking for stores that are not reached.
    pub fn turn(&self) {
        self.change(|inner, now| inner.book.turn(now));
    }

    /// Where this store says that it is.
    pub fn own_claim(&self) -> Claim {
        claim_of(&self.own, self.incarnation)
    }

    /// What is known of where the others are.
    pub fn claims(&self) -> Vec<Claim> {
        self.inner.lock().book.claims()
    }

    /// Client addresses of stores to ask what they know.
    pub fn to_ask(&self) -> Vec<String> {
        self.inner.lock().book.to_ask()
    }

    /// The stores that are not reached, and for how long.
    pub fn unreached(&self) -> Vec<(Unreached, std::time::Duration)> {
        let now = self.clock.now();
        let unreached = self.inner.lock().book.unreached();
        unreached.into_iter().map(|unreached| (unreached.clone(), now.since(unreached.since))).collect()
    }

    /// Where clients find a store.
    pub fn hint(&self, store: StoreId) -> holdfast_proto::v1::LeaderHint {
        let address = self.stores.read().get(&store).map(|record| record.addresses.client.clone());
        LeaderHint { store, address }.into()
    }

    /// Writes down what changed since the last time. A failure is only logged: the next start asks others. Waits for the disk.
    pub fn save(&self) {
        let mut saved = self.saved.lock();
        let version = self.version();
        if *saved == version {
            return;
        }
        match file::write(&self.path, &self.claims()) {
            Ok(()) => *saved = version,
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the address book could not be kept"),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner, Moment) -> T) -> T {
        let mut inner = self.inner.lock();
        let outcome = change(&mut inner, self.clock.now());
        let moved = inner.book.take_changed();
        for claim in moved {
            inner.members.entry(claim.store).or_insert_with(|| made_up(&claim));
        }
        let mut next = BTreeMap::new();
        for (store, member) in &inner.members {
            next.insert(*store, self.placed(member, inner.book.place_of(*store)));
        }
        let before = self.all();
        let changed: Vec<_> = next.values().filter(|now| before.get(&now.store) != Some(now)).cloned().collect();
        if !changed.is_empty() {
            *self.stores.write() = Arc::new(next);
            self.version.fetch_add(1, Ordering::Relaxed);
            // Under the lock, so that streams hear of changes in their order. They do not call back from here.
            if let Some(on_change) = self.on_change.get() {
                on_change(&changed);
            }
        }
        outcome
    }

    /// A member where the address book finds it.
    fn placed(&self, member: &StoreRecord, place: Option<Claim>) -> StoreRecord {
        let mut record = member.clone();
        if record.store == self.own.store {
            record.addresses = self.own.addresses.clone();
        }
        if let Some(place) = place {
            if !place.client.is_empty() {
                record.addresses.client = place.client;
            }
            record.addresses.store_to_store = place.store_to_store;
        }
        record
    }
}

fn claim_of(record: &StoreRecord, incarnation: Incarnation) -> Claim {
    Claim {
        store: record.store,
        site: record.site.clone(),
        incarnation,
        client: record.addresses.client.clone(),
        store_to_store: record.addresses.store_to_store.clone(),
    }
}

/// A store of which nothing is known but its address.
fn made_up(claim: &Claim) -> StoreRecord {
    StoreRecord {
        store: claim.store,
        site: claim.site.clone(),
        site_identity: None,
        addresses: StoreAddresses {
            client: claim.client.clone(),
            store_to_store: claim.store_to_store.clone(),
            http: String::new(),
        },
        joined_at: Timestamp::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_kv::driver::SystemClock;
    use holdfast_types::SiteName;

    use super::*;

    fn record(store: u64, host: &str) -> StoreRecord {
        made_up(&Claim {
            store: StoreId(store),
            site: SiteName::new("a").unwrap(),
            incarnation: Incarnation(0),
            client: format!("{host}:1"),
            store_to_store: format!("{host}:2"),
        })
    }

    fn open(dir: &std::path::Path) -> Directory {
        Directory::open(dir, record(1, "own"), Incarnation(3), Arc::new(SystemClock))
    }

    #[test]
    fn the_address_book_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        book.learn(&[record(4, "h"), record(1, "where-it-was")]);
        let newer = Claim { incarnation: Incarnation(9), ..claim_of(&record(4, "g"), Incarnation(9)) };
        assert!(book.hear(&[newer]));
        book.save();
        let again = open(dir.path());
        assert_eq!(again.all().get(&StoreId(1)), Some(&record(1, "own")), "a store knows best where it is itself");
        let known: Vec<_> =
            again.claims().into_iter().map(|claim| (claim.incarnation.0, claim.store_to_store)).collect();
        assert_eq!(known, [(9, "g:2".to_owned()), (0, "h:2".to_owned())]);
    }

    #[test]
    fn a_file_of_no_use_is_no_reason_not_to_start() {
        for text in ["", "{", "[]", r#"{"version":99,"stores":[]}"#, r#"{"version":1,"stores":[{"store":"x"}]}"#] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("directory.json"), text).unwrap();
            let book = open(dir.path());
            assert_eq!(book.all().len(), 1, "{text}");
            book.learn(&[record(4, "h")]);
            book.save();
            assert_eq!(open(dir.path()).all().len(), 2, "{text}");
        }
    }

    #[test]
    fn what_the_system_range_remembers_does_not_move_a_store_that_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        book.begin(Box::new(move |records| {
            hears.lock().extend(records.iter().map(|record| record.addresses.store_to_store.clone()));
        }));
        book.hear(&[claim_of(&record(4, "new"), Incarnation(7))]);
        book.reached(StoreId(4), Incarnation(7), "new:2");
        book.learn(&[record(4, "old")]);
        assert_eq!(*heard.lock(), ["own:2", "new:2"]);
        assert_eq!(book.all()[&StoreId(4)].addresses.client, "new:1");
    }
}
