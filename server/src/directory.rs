//! All stores of the fleet: who they are by the system range, where they are by the address book. Kept in memory and in a file, so that
//! a store finds the others after a restart without the system range. The file is a cache: without it, others are asked.
//!
//! What was said of sites that are distrusted is kept beside them, in the same file: a store that starts without a quorum must know it too.
//!
//! A store that was forgotten is told of once more, as one to be let go of, and never again: neither older records nor what is said of
//! it bring it back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use holdfast_kv::core::addresses::{AddressBook, Claim, Kept, Unreached};
use holdfast_kv::ports::Clock;
use holdfast_placement::{SiteTrust, StoreAddresses, StoreRecord};
use holdfast_raft_transport::Incarnations;
use holdfast_types::{Incarnation, LeaderHint, Moment, SiteName, StoreId, Timestamp, limits};
use parking_lot::{Mutex, RwLock};

use crate::trust::doubts::Doubts;

/// In the data directory.
const FILE: &str = "directory.json";

/// Called with the records that are new or changed; a forgotten store is to be let go of.
pub type OnChange = Box<dyn Fn(&[StoreRecord]) + Send + Sync>;

/// Called with the sites that are distrusted, and with what of it is news.
pub type OnDoubt = Box<dyn Fn(BTreeSet<SiteName>, &[SiteTrust]) + Send + Sync>;

/// All stores of the fleet as this store knows them.
pub struct Directory {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    own: StoreRecord,
    incarnation: Incarnation,
    inner: Mutex<Inner>,
    stores: RwLock<Arc<BTreeMap<StoreId, StoreRecord>>>,
    on_change: OnceLock<OnChange>,
    on_doubt: OnceLock<OnDoubt>,
    /// Told of the stores that are on record.
    incarnations: OnceLock<Incarnations>,
    /// Grows with every change.
    version: AtomicU64,
    /// The version in the file. One thread writes it at a time: what is there last is the newest.
    saved: Mutex<u64>,
}

struct Inner {
    book: AddressBook,
    /// What the system range says of each store; made up for those of which only an address was heard.
    members: BTreeMap<StoreId, StoreRecord>,
    /// Stores that the fleet has forgotten. Grows only.
    forgotten: BTreeMap<StoreId, StoreRecord>,
    /// Those of them that nobody was told of.
    untold: Vec<StoreRecord>,
    /// Members whose records were learned or taken away since it was looked what changed.
    touched: BTreeSet<StoreId>,
    /// Of which site each store is on record, also before the system range was heard: with TLS nobody of another site is taken for it.
    sites: BTreeMap<StoreId, SiteName>,
    /// What was said of sites.
    doubts: Doubts,
}

impl Inner {
    fn new(own: &StoreRecord) -> Self {
        Self {
            book: AddressBook::new(own.store),
            members: BTreeMap::from([(own.store, own.clone())]),
            forgotten: BTreeMap::new(),
            untold: Vec::new(),
            touched: BTreeSet::new(),
            sites: BTreeMap::new(),
            doubts: Doubts::default(),
        }
    }

    fn forget(&mut self, record: &StoreRecord, own: StoreId) {
        if self.forgotten.contains_key(&record.store) {
            return;
        }
        self.forgotten.insert(record.store, record.clone());
        self.untold.push(record.clone());
        self.book.forget(record.store);
        self.sites.remove(&record.store);
        // A store that is forgotten itself is about to end.
        if record.store != own {
            self.members.remove(&record.store);
            self.touched.insert(record.store);
        }
    }

    /// The stores that may look different than at the last call: with a thousand members, one event concerns one of them.
    fn take_touched(&mut self) -> BTreeSet<StoreId> {
        for claim in self.book.take_changed() {
            self.touched.insert(claim.store);
            self.members.entry(claim.store).or_insert_with(|| made_up(&claim));
        }
        std::mem::take(&mut self.touched)
    }
}

impl Directory {
    /// Opens the directory of the store `own` in a data directory; with a warning an empty one when the file is not there or of no
    /// use. Nobody hears of the stores before [`Directory::begin`].
    pub fn open(data_dir: &Path, own: StoreRecord, incarnation: Incarnation, clock: Arc<dyn Clock>) -> Self {
        let path = data_dir.join(FILE);
        let inner = Inner::new(&own);
        let directory = Self {
            stores: RwLock::new(Arc::new(inner.members.clone())),
            inner: Mutex::new(inner),
            path,
            clock,
            own,
            incarnation,
            on_change: OnceLock::new(),
            on_doubt: OnceLock::new(),
            incarnations: OnceLock::new(),
            version: AtomicU64::new(0),
            saved: Mutex::new(0),
        };
        match read(&directory.path) {
            Ok(kept) => {
                directory.learn(&kept.forgotten);
                let mut inner = directory.inner.lock();
                let on_record = kept.claims.iter().filter(|claim| !kept.hearsay.contains(&claim.store));
                for claim in on_record {
                    inner.book.vouch(claim.store);
                    inner.sites.insert(claim.store, claim.site.clone());
                }
                inner.doubts.remember(&kept.sites, directory.clock.now());
                drop(inner);
                directory.hear(&kept.claims);
            }
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "the addresses of other stores that were written down are of no use; others are asked for them"
            ),
        }
        directory
    }

    /// Client addresses of other stores that a data directory remembers, for a store that does not run yet.
    pub fn remembered(data_dir: &Path) -> Vec<String> {
        // Without the file there is still what the configuration names.
        let claims = read(&data_dir.join(FILE)).map(|kept| kept.claims).unwrap_or_default();
        claims.into_iter().map(|claim| claim.client).filter(|client| !client.is_empty()).collect()
    }

    /// `on_change` hears of every record, now and whenever one changes.
    pub fn begin(&self, on_change: OnChange) {
        let inner = self.inner.lock();
        on_change(&self.records_with(&inner));
        assert!(self.on_change.set(on_change).is_ok(), "a directory begins once");
    }

    /// The sites that a data directory remembers as distrusted, for a store that does not run yet.
    pub fn remembered_doubts(data_dir: &Path) -> BTreeSet<SiteName> {
        // That it cannot be read is said when the store runs.
        let said = read(&data_dir.join(FILE)).map(|kept| kept.sites).unwrap_or_default();
        holdfast_placement::trust::distrusted(&said)
    }

    /// `on_doubt` hears which sites are distrusted, now and whenever that changes.
    pub fn begin_doubting(&self, on_doubt: OnDoubt) {
        let inner = self.inner.lock();
        on_doubt(inner.doubts.distrusted(), &[]);
        assert!(self.on_doubt.set(on_doubt).is_ok(), "a directory begins once");
    }

    /// Takes in what another store says of sites: what is against one holds at once. True: the records should be looked at.
    pub fn hear_sites(&self, said: &[SiteTrust]) -> bool {
        let heard = self.doubt(|doubts, now| {
            let heard = doubts.hear(said, now);
            (heard.news.clone(), heard)
        });
        heard.wants_look
    }

    /// Takes in the records of all sites, which were asked for at that moment.
    pub fn learn_sites(&self, records: &[SiteTrust], asked_at: Moment) {
        self.doubt(|doubts, _| (doubts.learn(records, asked_at), ()));
    }

    /// Takes in the record of one site, which was written or read now.
    pub fn confirm_site(&self, record: &SiteTrust) {
        self.doubt(|doubts, now| (doubts.confirm(record, now).into_iter().collect(), ()));
    }

    /// Now, for [`Directory::learn_sites`].
    pub fn moment(&self) -> Moment {
        self.clock.now()
    }

    /// `change` returns what is news.
    fn doubt<T>(&self, change: impl FnOnce(&mut Doubts, Moment) -> (Vec<SiteTrust>, T)) -> T {
        let mut inner = self.inner.lock();
        let before = inner.doubts.said();
        let (news, outcome) = change(&mut inner.doubts, self.clock.now());
        if inner.doubts.said() != before {
            self.version.fetch_add(1, Ordering::Relaxed);
        }
        // Under the lock, so that the last word is the last that is heard. It does not call back from here.
        if let Some(on_doubt) = self.on_doubt.get().filter(|_| !news.is_empty()) {
            on_doubt(inner.doubts.distrusted(), &news);
        }
        outcome
    }

    /// What was said of the sites that were distrusted once.
    pub fn sites_said(&self) -> Vec<SiteTrust> {
        self.inner.lock().doubts.said()
    }

    /// The sites that are distrusted.
    pub fn distrusted(&self) -> BTreeSet<SiteName> {
        self.inner.lock().doubts.distrusted()
    }

    /// `incarnations` hears of every store that is on record from now on.
    pub fn prove_to(&self, incarnations: Incarnations) {
        let inner = self.inner.lock();
        for store in inner.book.on_record() {
            match inner.sites.get(store) {
                Some(site) => incarnations.prove_of(*store, site),
                None => incarnations.prove(*store),
            }
        }
        assert!(self.incarnations.set(incarnations).is_ok(), "a directory begins once");
    }

    /// True for a store that the fleet has on record, as far as was heard: anybody can say that he is one of the others.
    pub fn is_on_record(&self, store: StoreId) -> bool {
        self.incarnations.get().is_some_and(|incarnations| incarnations.is_proved(store))
    }

    /// All stores.
    pub fn all(&self) -> Arc<BTreeMap<StoreId, StoreRecord>> {
        Arc::clone(&self.stores.read())
    }

    /// All stores, and those that were forgotten.
    pub fn records(&self) -> Vec<StoreRecord> {
        self.records_with(&self.inner.lock())
    }

    fn records_with(&self, inner: &Inner) -> Vec<StoreRecord> {
        let all = self.all();
        let members = all.values().filter(|record| !inner.forgotten.contains_key(&record.store));
        members.chain(inner.forgotten.values()).cloned().collect()
    }

    /// Grows with every change of what [`Directory::records`] and [`Directory::sites_said`] return.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Takes in what the system range says: who the stores are, and where they were when they last told it; and which were forgotten.
    pub fn learn(&self, records: &[StoreRecord]) {
        self.change(|inner, now| {
            for record in records {
                if record.is_forgotten() {
                    inner.forget(record, self.own.store);
                } else if !inner.forgotten.contains_key(&record.store) {
                    inner.members.insert(record.store, record.clone());
                    inner.touched.insert(record.store);
                    inner.book.vouch(record.store);
                    inner.sites.insert(record.store, record.site.clone());
                    if let Some(incarnations) = self.incarnations.get() {
                        incarnations.prove_of(record.store, &record.site);
                    }
                    inner.book.hear(&claim_of(record, Incarnation::default()), now);
                }
            }
        });
    }

    /// True when the fleet has forgotten this store itself.
    pub fn is_over(&self) -> bool {
        self.inner.lock().forgotten.contains_key(&self.own.store)
    }

    /// Another store refuses this one, because the fleet has forgotten it.
    pub fn learn_own_end(&self) {
        // When that was, the system range knows.
        let heard_at = Timestamp::from_ms(self.clock.wall_ms()).max(Timestamp(1));
        self.learn(&[StoreRecord { forgotten_at: Some(heard_at), ..self.own.clone() }]);
    }

    /// Takes in what is said of where stores are. True when some of it was new.
    pub fn hear(&self, claims: &[Claim]) -> bool {
        self.change(|inner, now| {
            let members = claims.iter().filter(|claim| !inner.forgotten.contains_key(&claim.store));
            members.fold(false, |news, claim| inner.book.hear(claim, now) | news)
        })
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
        let kept = {
            let inner = self.inner.lock();
            let mut claims = inner.book.claims_to_keep();
            // What is on record counts, whoever claimed something else before.
            for claim in &mut claims {
                if let Some(site) = inner.sites.get(&claim.store) {
                    claim.site.clone_from(site);
                }
            }
            let is_hearsay = |store: &StoreId| !inner.book.on_record().contains(store);
            let hearsay = claims.iter().map(|claim| claim.store).filter(is_hearsay).collect();
            let (forgotten, sites) = (inner.forgotten.values().cloned().collect(), inner.doubts.said());
            Kept { claims, hearsay, forgotten, sites }
        };
        match holdfast_files::replace(&self.path, &kept.encode()) {
            Ok(()) => *saved = version,
            Err(error) => tracing::warn!(%error, "the address book could not be kept in {}", self.path.display()),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner, Moment) -> T) -> T {
        let mut inner = self.inner.lock();
        let outcome = change(&mut inner, self.clock.now());
        let touched = inner.take_touched();
        let mut moved: Vec<_> = touched.iter().filter_map(|store| self.placed(&inner, *store)).collect();
        {
            let before = self.stores.read();
            moved.retain(|now| before.get(&now.store) != Some(now));
        }
        let untold = std::mem::take(&mut inner.untold);
        if !moved.is_empty() || !untold.is_empty() {
            let mut stores = self.stores.write();
            // Copied only while somebody looks at them.
            let stores_now = Arc::make_mut(&mut *stores);
            stores_now.extend(moved.iter().map(|record| (record.store, record.clone())));
            let gone = touched.iter().filter(|store| !inner.members.contains_key(store));
            gone.for_each(|store| drop(stores_now.remove(store)));
            drop(stores);
            let changed: Vec<_> = moved.into_iter().chain(untold).collect();
            self.version.fetch_add(1, Ordering::Relaxed);
            // Under the lock, so that streams hear of changes in their order. They do not call back from here.
            if let Some(on_change) = self.on_change.get() {
                on_change(&changed);
            }
        }
        outcome
    }

    /// A member where the address book finds it; `None` for a store that is no member.
    fn placed(&self, inner: &Inner, store: StoreId) -> Option<StoreRecord> {
        let mut record = inner.members.get(&store)?.clone();
        if record.store == self.own.store {
            record.addresses = self.own.addresses.clone();
        }
        if let Some(place) = inner.book.place_of(store) {
            if !place.client.is_empty() {
                record.addresses.client = place.client;
            }
            record.addresses.store_to_store = place.store_to_store;
        }
        Some(record)
    }
}

/// What was written down; nothing when there is no file.
fn read(path: &Path) -> anyhow::Result<Kept> {
    let shown = || format!("reading {}", path.display());
    let Some(bytes) = holdfast_files::read(path, limits::ADDRESS_FILE_BYTES).with_context(shown)? else {
        return Ok(Kept::default());
    };
    let (kept, left_out) = Kept::decode(&bytes).with_context(shown)?;
    for why in left_out {
        tracing::warn!("{} is wrong in a line, and others are asked instead: {why}", path.display());
    }
    Ok(kept)
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
        addresses: StoreAddresses {
            client: claim.client.clone(),
            store_to_store: claim.store_to_store.clone(),
            http: String::new(),
        },
        ..StoreRecord::new(claim.store, claim.site.clone())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_kv::driver::SystemClock;

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

    fn open(dir: &Path) -> Directory {
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
    fn a_store_is_of_the_site_that_it_is_on_record_with_whatever_was_claimed_and_after_a_restart_too() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        let site = |name| SiteName::new(name).unwrap();
        let claimed = Claim { site: site("liar"), ..claim_of(&record(4, "h"), Incarnation(7)) };
        assert!(book.hear(std::slice::from_ref(&claimed)));
        assert_eq!(book.inner.lock().sites.get(&StoreId(4)), None, "a claim is no record");
        book.learn(&[record(4, "h")]);
        book.hear(&[claimed]);
        book.save();
        let again = open(dir.path());
        assert_eq!(again.inner.lock().sites.get(&StoreId(4)), Some(&site("a")));
        again.learn(&[StoreRecord { forgotten_at: Some(Timestamp(9)), ..record(4, "h") }]);
        assert_eq!(again.inner.lock().sites.get(&StoreId(4)), None);
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
    fn with_a_thousand_members_one_event_concerns_one() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        let all: Vec<_> = (1..=1_000).map(|store| record(store, "h")).collect();
        book.learn(&all);
        let told = begin(&book);
        told.lock().clear();
        let touched = |change: &dyn Fn(&mut AddressBook)| {
            let mut inner = book.inner.lock();
            change(&mut inner.book);
            inner.take_touched().into_iter().map(|store| store.0).collect::<Vec<_>>()
        };
        let newer = Claim { incarnation: Incarnation(9), ..claim_of(&record(7, "g"), Incarnation(9)) };
        assert_eq!(touched(&|book| assert!(book.hear(&newer, Moment(1)))), [7]);
        assert_eq!(touched(&|book| book.reached(StoreId(8), Incarnation(3), "h:2", Moment(1))), [8]);
        assert!(touched(&|book| book.lost(StoreId(8), Moment(2))).is_empty());
        book.learn(&all[..1]);
        book.learn(&[record(1_001, "h"), forgotten(6, "h")]);
        assert_eq!(*told.lock(), [(1_001, false), (6, true)], "what is as it was is no news");
        assert_eq!(book.all().len(), 1_000);
    }

    fn forgotten(store: u64, host: &str) -> StoreRecord {
        StoreRecord { forgotten_at: Some(Timestamp(70)), ..record(store, host) }
    }

    /// What the streams were told: the store, and whether it is to be let go of.
    fn begin(book: &Directory) -> Arc<Mutex<Vec<(u64, bool)>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        book.begin(Box::new(move |records| {
            hears.lock().extend(records.iter().map(|record| (record.store.0, record.is_forgotten())));
        }));
        told
    }

    #[test]
    fn a_forgotten_store_is_told_of_once_and_nothing_brings_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        let told = begin(&book);
        book.learn(&[record(4, "h"), record(5, "i")]);
        book.learn(&[forgotten(4, "h")]);
        for _ in 0..2 {
            book.learn(&[record(4, "h"), forgotten(4, "h"), record(4, "elsewhere")]);
            assert!(!book.hear(&[claim_of(&record(4, "g"), Incarnation(9))]), "what is said of it is no news");
            book.reached(StoreId(4), Incarnation(9), "h:2");
            book.failed(StoreId(5), "i:2", "another store", Some(StoreId(4)));
            book.lost(StoreId(4));
        }
        assert_eq!(*told.lock(), [(1, false), (4, false), (5, false), (4, true)]);
        assert_eq!(book.all().keys().map(|store| store.0).collect::<Vec<_>>(), [1, 5]);
        assert!(book.claims().iter().all(|claim| claim.store != StoreId(4)), "nobody else hears of it from here");
        let known: Vec<_> = book.records().iter().map(|record| (record.store.0, record.forgotten_at)).collect();
        assert_eq!(known, [(1, None), (5, None), (4, Some(Timestamp(70)))]);
    }

    #[test]
    fn a_restart_remembers_who_was_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        book.learn(&[record(4, "h"), record(5, "i"), forgotten(4, "h")]);
        book.save();
        let again = open(dir.path());
        again.hear(&[claim_of(&record(4, "h"), Incarnation(9))]);
        assert_eq!(again.all().keys().map(|store| store.0).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(*begin(&again).lock(), [(1, false), (5, false), (4, true)], "streams are told at the start");
    }

    #[test]
    fn a_store_that_hears_of_its_own_end_tells_so_now_and_at_its_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        let told = begin(&book);
        book.learn_own_end();
        book.learn_own_end();
        assert_eq!(*told.lock(), [(1, false), (1, true)]);
        assert!(book.all().contains_key(&StoreId(1)), "it still answers for itself while it ends");
        book.save();
        assert_eq!(*begin(&open(dir.path())).lock(), [(1, true)]);
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

    fn doubted(site: &str, at: u64) -> SiteTrust {
        let site = SiteName::new(site).unwrap();
        SiteTrust { distrusted_at: Some(Timestamp(at)), ..SiteTrust::never_doubted(site) }
    }

    #[test]
    fn a_restart_remembers_who_is_not_to_be_believed_before_anybody_can_be_asked() {
        let dir = tempfile::tempdir().unwrap();
        let book = open(dir.path());
        book.hear_sites(&[doubted("b", 70)]);
        book.save();
        let site = SiteName::new("b").unwrap();
        assert_eq!(Directory::remembered_doubts(dir.path()), BTreeSet::from([site.clone()]));
        let again = open(dir.path());
        assert_eq!(again.distrusted(), BTreeSet::from([site]));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        again.begin_doubting(Box::new(move |sites, news| hears.lock().push((sites.len(), news.len()))));
        let restored = SiteTrust { restored_at: Some(Timestamp(80)), ..doubted("b", 70) };
        assert!(again.hear_sites(std::slice::from_ref(&restored)), "the record is to be looked at");
        again.confirm_site(&restored);
        assert!(!again.hear_sites(&[doubted("b", 75)]), "that was before it was trusted again");
        assert_eq!(*heard.lock(), [(1, 0), (0, 1)]);
        again.save();
        let third = open(dir.path());
        third.hear_sites(&[doubted("b", 75)]);
        assert!(third.distrusted().is_empty(), "that it was taken back is remembered too");
        assert!(Directory::remembered_doubts(Path::new("/nowhere")).is_empty());
    }
}
