//! A fleet that is made up: ordered rows in memory, ranges cut where a test says, three sites that lead them in turn. Time stands
//! still unless a test moves it.

mod audit;
mod rights;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_client::ClientError;
use holdfast_client::admin::{
    AdminError, AuditPage, AuditQuery, Event, EventKind, Events, GrantedRights, Keyspace, LeaderGoesTo, RangePage,
    RangeStatus, Ranges, RightsChange, RightsChanged, Setting, SettingSource, Settings, SiteStatus, Sites, Split,
    StoreStatus, Stores, Transferred,
};
use holdfast_types::validate::check_got;
use holdfast_types::{
    Expected, FleetId, Grantee, Incarnation, Key, KeyRange, KeyspaceId, RangeDescriptor, RangeEpoch, RangeId, Rejected,
    ReplicaDescriptor, ReplicaId, Role, ScanMode, SiteName, StoreId, Term, Timestamp, VersionedValue, limits,
};

use holdfast_shell::backend::{Backend, BackendError, Change, Deleted, Page, ScanPage, StoredRow, Written};

/// When a fleet in memory begins: 2026-11-22 20:00:00 UTC.
pub const START_MS: u64 = 1_795_377_600_000;

/// A fleet in memory, with one store in each of three sites.
pub struct MemoryFleet {
    state: Mutex<State>,
    page_rows: u32,
}

struct State {
    rows: BTreeMap<Key, VersionedValue>,
    keyspaces: BTreeMap<String, Keyspace>,
    /// Start of each range, its id, and the site (from 0) that leads it.
    ranges: BTreeMap<Key, (RangeId, usize)>,
    next_range: u64,
    version: u64,
    now_ms: u64,
    events: Vec<(u64, EventKind, RangeId, String)>,
    granted: rights::Granted,
    calls: u64,
    /// What somebody else writes (`None`: deletes) just before the next write of a statement.
    interference: Vec<(Key, Option<String>)>,
    /// Scans are answered by nobody. Set to true when one is dropped.
    stalled: Option<Arc<AtomicBool>>,
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const SITES: [&str; 3] = ["site-a", "site-b", "site-c"];

impl Default for MemoryFleet {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryFleet {
    /// A fleet with the keyspaces `default` and `system` and one range for each.
    #[must_use]
    pub fn new() -> Self {
        let mut ranges = BTreeMap::new();
        ranges.insert(Key::MIN, (RangeId::SYSTEM, 0));
        ranges.insert(Key::bound(KeyspaceId::DEFAULT, b""), (RangeId(2), 1));
        let keyspace = |name: &str, id: KeyspaceId, writable| {
            (name.to_owned(), Keyspace { name: name.to_owned(), id, created_at: None, writable })
        };
        let keyspaces =
            [keyspace("default", KeyspaceId::DEFAULT, true), keyspace("system", KeyspaceId::SYSTEM, false)].into();
        let state = State {
            rows: BTreeMap::new(),
            keyspaces,
            ranges,
            next_range: 3,
            version: 0,
            now_ms: START_MS,
            events: vec![],
            granted: rights::Granted::default(),
            calls: 0,
            interference: vec![],
            stalled: None,
        };
        Self { state: Mutex::new(state), page_rows: limits::MAX_SCAN_ROWS }
    }

    /// The same with smaller pages.
    #[must_use]
    pub fn with_pages(mut self, rows: u32) -> Self {
        self.page_rows = rows.max(1);
        self
    }

    /// Moves fleet time; rows expire.
    pub fn pass(&self, time: Duration) {
        self.lock().now_ms += u64::try_from(time.as_millis()).expect("tests wait for less than ages");
    }

    /// Calls of the trait so far, those of data and of the admin API.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Writes a row.
    pub fn put(&self, keyspace: KeyspaceId, key: &str, value: &str) {
        let mut state = self.lock();
        let version = state.next_version();
        let value = VersionedValue { value: value.to_owned().into(), timestamp: version, expires_at: None };
        state.rows.insert(Key::bound(keyspace, key.as_bytes()), value);
    }

    /// Somebody else writes (`None`: deletes) this row just before the next write of a statement reaches the fleet.
    pub fn interfere(&self, keyspace: KeyspaceId, key: &str, value: Option<&str>) {
        let row = (Key::bound(keyspace, key.as_bytes()), value.map(ToOwned::to_owned));
        self.lock().interference.push(row);
    }

    /// From here on scans wait for ever. Says whether one was dropped.
    pub fn stall(&self) -> Arc<AtomicBool> {
        Arc::clone(self.lock().stalled.insert(Arc::default()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    fn call(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.calls += 1;
        state
    }
}

impl State {
    fn next_version(&mut self) -> Timestamp {
        self.version += 1;
        Timestamp(Timestamp::from_ms(self.now_ms).0 + self.version)
    }

    fn is_alive(&self, value: &VersionedValue) -> bool {
        value.expires_at.is_none_or(|at| at > Timestamp::from_ms(self.now_ms))
    }

    fn get(&self, key: &Key) -> Option<&VersionedValue> {
        self.rows.get(key).filter(|value| self.is_alive(value))
    }

    fn rows_in(&self, bounds: &KeyRange) -> impl DoubleEndedIterator<Item = (&Key, &VersionedValue)> {
        let end = bounds.end.clone();
        // A bound before the start would panic in the map.
        let end =
            end.map_or(std::ops::Bound::Unbounded, |end| std::ops::Bound::Excluded(end.max(bounds.start.clone())));
        let start = std::ops::Bound::Included(bounds.start.clone());
        let empty = bounds.is_empty();
        self.rows
            .range((start, if empty { std::ops::Bound::Unbounded } else { end }))
            .filter(move |(_, value)| !empty && self.is_alive(value))
    }

    fn bounds_of(&self, start: &Key) -> KeyRange {
        let next = self.ranges.range((std::ops::Bound::Excluded(start.clone()), std::ops::Bound::Unbounded)).next();
        KeyRange { start: start.clone(), end: next.map(|(key, _)| key.clone()) }
    }

    fn range_with(&self, key: &Key) -> KeyRange {
        let start = self.ranges.range(..=key.clone()).next_back().map_or(Key::MIN, |(start, _)| start.clone());
        self.bounds_of(&start)
    }

    fn descriptor(&self, start: &Key, range: RangeId) -> RangeDescriptor {
        let replica = |at: usize| ReplicaDescriptor {
            replica: ReplicaId(at as u64 + 1),
            store: StoreId(at as u64 + 1),
            site: site(at),
            role: Role::Voter,
        };
        RangeDescriptor {
            range,
            bounds: self.bounds_of(start),
            epoch: RangeEpoch { membership: 1, bounds: 1 },
            replicas: (0..SITES.len()).map(replica).collect(),
            next_replica: ReplicaId(4),
        }
    }

    fn status(&self, start: &Key) -> RangeStatus {
        let (range, leader) = self.ranges[start];
        let descriptor = self.descriptor(start, range);
        let size = |(key, value): (&Key, &VersionedValue)| key.user_key().len() + value.value.len();
        let bytes: usize = self.rows_in(&descriptor.bounds).map(size).sum();
        let keyspace = self.keyspaces.values().find(|keyspace| keyspace.id == start.keyspace());
        RangeStatus {
            leader: Some(StoreId(leader as u64 + 1)),
            leader_site: Some(site(leader)),
            term: Term(6),
            approximate_bytes: Some(bytes as u64),
            keyspace: keyspace.map(|keyspace| keyspace.name.clone()),
            confirmed: true,
            applied: BTreeMap::new(),
            descriptor,
        }
    }
}

fn site(at: usize) -> SiteName {
    SiteName::new(SITES[at]).expect("a name of a site")
}

/// The part of `bounds` that lies in one range with `at`, and what is left behind it.
fn cut(bounds: &KeyRange, range: &KeyRange, reverse: bool) -> (KeyRange, Option<KeyRange>) {
    let start = bounds.start.clone().max(range.start.clone());
    let end = match (&bounds.end, &range.end) {
        (Some(one), Some(two)) => Some(one.min(two).clone()),
        (one, two) => one.as_ref().or(two.as_ref()).cloned(),
    };
    let rest = if reverse {
        (bounds.start < start).then(|| KeyRange { start: bounds.start.clone(), end: Some(start.clone()) })
    } else {
        end.clone()
            .filter(|end| bounds.end.as_ref() != Some(end))
            .map(|end| KeyRange { start: end, end: bounds.end.clone() })
    };
    (KeyRange { start, end }, rest)
}

fn refused(why: &str) -> BackendError {
    BackendError::Client(Rejected::invalid(why).into())
}

#[async_trait]
impl Backend for MemoryFleet {
    fn fleet_now(&self) -> Timestamp {
        Timestamp::from_ms(self.lock().now_ms)
    }

    async fn scan_page(&self, page: ScanPage) -> Result<Page, BackendError> {
        let stalled = self.lock().stalled.clone();
        if let Some(is_dropped) = stalled {
            let _dropped = Dropped(is_dropped);
            return std::future::pending().await;
        }
        let state = self.call();
        let ScanPage { bounds, reverse, max_rows, mode, .. } = page;
        let at_most = usize::try_from(max_rows.min(self.page_rows)).expect("fits");
        let range = if reverse {
            let last = state.ranges.keys().rev().find(|start| bounds.is_before_end(start));
            state.bounds_of(last.unwrap_or(&Key::MIN))
        } else {
            state.range_with(&bounds.start)
        };
        let (part, mut rest) = cut(&bounds, &range, reverse);
        let stored = |(key, value): (&Key, &VersionedValue)| StoredRow { key: key.clone(), value: value.clone() };
        let mut rows: Vec<StoredRow> = if reverse {
            state.rows_in(&part).rev().take(at_most).map(stored).collect()
        } else {
            state.rows_in(&part).take(at_most).map(stored).collect()
        };
        if let Some(last) = rows.last().filter(|_| rows.len() == at_most) {
            let left = if reverse {
                KeyRange { start: bounds.start, end: Some(last.key.clone()) }
            } else {
                KeyRange { start: last.key.next(), end: bounds.end }
            };
            rest = (!left.is_empty()).then_some(left);
        }
        let mut counted = 0;
        match mode {
            ScanMode::Rows => {}
            ScanMode::Keys => rows.iter_mut().for_each(|row| row.value.value = bytes::Bytes::new()),
            ScanMode::Count => counted = std::mem::take(&mut rows).len() as u64,
        }
        Ok(Page { rows, counted, rest, part: None })
    }

    async fn batch_get(&self, keys: Vec<Key>) -> Result<Vec<Option<VersionedValue>>, BackendError> {
        let state = self.call();
        if keys.is_empty() || keys.len() > limits::MAX_BATCH_KEYS {
            return Err(refused("the number of keys is out of bounds"));
        }
        let values: Vec<_> = keys.iter().map(|key| state.get(key).cloned()).collect();
        check_got(values.iter().flatten().map(|value| value.value.len()).sum()).map_err(ClientError::from)?;
        Ok(values)
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Written, BackendError> {
        let mut state = self.call();
        for (key, value) in std::mem::take(&mut state.interference) {
            let version = state.next_version();
            match value {
                Some(value) => {
                    let value = VersionedValue { value: value.into(), timestamp: version, expires_at: None };
                    state.rows.insert(key, value);
                }
                None => drop(state.rows.remove(&key)),
            }
        }
        let first = changes.first().ok_or_else(|| refused("a batch has at least one change"))?;
        let range = state.range_with(&first.key);
        if let Some(other) = changes.iter().find(|change| !range.contains(&change.key)) {
            let split_key = if other.key < range.start { Some(range.start) } else { range.end };
            return Ok(Written::Spans { split_key: split_key.expect("a key behind the range") });
        }
        for (index, change) in changes.iter().enumerate() {
            let actual = state.get(&change.key);
            let holds = match &change.expected {
                None => true,
                Some(Expected::Absent) => actual.is_none(),
                Some(Expected::Value(value)) => actual.is_some_and(|actual| actual.value == *value),
                Some(Expected::Version(version)) => actual.is_some_and(|actual| actual.timestamp == *version),
            };
            if !holds {
                return Ok(Written::Unexpected { index });
            }
        }
        let version = state.next_version();
        for change in changes {
            match change.value {
                Some(value) => {
                    let value = VersionedValue { value, timestamp: version, expires_at: change.expires_at };
                    state.rows.insert(change.key, value);
                }
                None => drop(state.rows.remove(&change.key)),
            }
        }
        Ok(Written::Done { version })
    }

    async fn delete_page(&self, bounds: KeyRange) -> Result<Deleted, BackendError> {
        let mut state = self.call();
        let range = state.range_with(&bounds.start);
        let (part, mut rest) = cut(&bounds, &range, false);
        let at_most = usize::try_from(self.page_rows.min(limits::DELETE_RANGE_PAGE_KEYS)).expect("fits");
        let keys: Vec<Key> = state.rows_in(&part).take(at_most).map(|(key, _)| key.clone()).collect();
        if let Some(last) = keys.last().filter(|_| keys.len() == at_most) {
            let left = KeyRange { start: last.next(), end: bounds.end };
            rest = (!left.is_empty()).then_some(left);
        }
        for key in &keys {
            state.rows.remove(key);
        }
        Ok(Deleted { keys: keys.len() as u64, rest })
    }

    async fn ranges(&self, which: Ranges, resume: Option<Key>, limit: u32) -> Result<RangePage, BackendError> {
        let state = self.call();
        let bounds = match which {
            Ranges::All => KeyRange::all(),
            Ranges::Within(bounds) => bounds,
            Ranges::Keyspace(name) => {
                let found = state.keyspaces.get(&name);
                let id = found.ok_or_else(|| AdminError::NotFound(format!("there is no keyspace {name}")))?.id;
                KeyRange { start: Key::bound(id, b""), end: Key::keyspace_end(id) }
            }
            Ranges::One(range) => {
                let start = state.ranges.iter().find(|(_, (id, _))| *id == range).map(|(start, _)| start);
                let ranges = start.map(|start| state.status(start)).into_iter().collect();
                return Ok(RangePage { ranges, resume: None, silent: vec![] });
            }
        };
        let from = resume.unwrap_or(Key::MIN);
        let mut starts =
            state.ranges.keys().filter(|start| **start >= from && state.bounds_of(start).overlaps(&bounds));
        let limit = usize::try_from(limit).expect("fits");
        let ranges = starts.by_ref().take(limit).map(|start| state.status(start)).collect();
        Ok(RangePage { ranges, resume: starts.next().cloned(), silent: vec![] })
    }

    async fn sites(&self) -> Result<Sites, BackendError> {
        let state = self.call();
        let replicas = state.ranges.len() as u64;
        let status = |at: usize| SiteStatus {
            name: site(at),
            identity: None,
            former: Vec::new(),
            distrusted_since: None,
            stores: 1,
            alive: 1,
            draining: false,
            replicas,
            leaders: state.ranges.values().filter(|(_, leader)| *leader == at).count() as u64,
            headroom: None,
        };
        Ok(Sites {
            sites: (0..SITES.len()).map(status).collect(),
            fleet: FleetId::default(),
            store: StoreId(1),
            now: Timestamp::from_ms(state.now_ms),
            headroom: None,
            warnings: vec![],
            silent: vec![],
        })
    }

    async fn stores(&self) -> Result<Stores, BackendError> {
        let state = self.call();
        let status = |at: usize| StoreStatus {
            store: StoreId(at as u64 + 1),
            site: site(at),
            client_address: format!("127.0.0.1:730{at}"),
            store_address: format!("127.0.0.1:731{at}"),
            http_address: format!("127.0.0.1:732{at}"),
            alive: true,
            version: "0.1.0".into(),
            incarnation: Incarnation(1),
            uptime: Duration::from_secs(60),
            replicas: state.ranges.len() as u64,
            leaders: state.ranges.values().filter(|(_, leader)| *leader == at).count() as u64,
            draining: false,
            disk_total_bytes: 100 << 30,
            disk_free_bytes: 60 << 30,
            cores: 4,
            used_millicores: 250,
            quarantined: vec![],
            quarantined_replicas: 0,
            complaints: vec![],
            headroom: vec![],
            leaving_at: None,
            zone: None,
            awaited_since: None,
        };
        Ok(Stores { stores: (0..SITES.len()).map(status).collect(), silent: vec![] })
    }

    async fn events(&self, limit: u32) -> Result<Events, BackendError> {
        let state = self.call();
        let limit = usize::try_from(limit).expect("fits");
        let event = |(sequence, (at_ms, kind, range, message)): (usize, &(u64, EventKind, RangeId, String))| Event {
            kind: *kind,
            at: Timestamp::from_ms(*at_ms),
            store: StoreId(1),
            site: site(0),
            range: Some(*range),
            other_store: None,
            message: message.clone(),
            incarnation: Incarnation(1),
            sequence: sequence as u64,
        };
        let events = state.events.iter().enumerate().rev().take(limit).map(event).collect();
        Ok(Events { events, more: state.events.len() > limit, silent: vec![] })
    }

    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, BackendError> {
        Ok(audit::page(&self.call().events, &query))
    }

    async fn rights(&self, to: Option<Grantee>) -> Result<GrantedRights, BackendError> {
        let state = self.call();
        Ok(state.granted.shown(&state.keyspaces, to.as_ref()))
    }

    async fn change_rights(&self, change: RightsChange) -> Result<RightsChanged, BackendError> {
        let state = &mut *self.call();
        state.granted.change(&state.keyspaces, change)
    }

    async fn settings(&self, store: Option<StoreId>) -> Result<Settings, BackendError> {
        drop(self.call());
        let store = store.unwrap_or(StoreId(1));
        let at = usize::try_from(store.0).ok().and_then(|id| id.checked_sub(1)).filter(|at| *at < SITES.len());
        let at = at.ok_or_else(|| AdminError::NotFound(format!("no store has the id {}", store.0)))?;
        let setting = Setting {
            name: "reads".into(),
            value: "lease".into(),
            default: Some("lease".into()),
            source: SettingSource::Default,
            description: "How a leader makes sure that a read is fresh.".into(),
        };
        Ok(Settings { settings: vec![setting], store, site: site(at) })
    }

    async fn keyspaces(&self) -> Result<Vec<Keyspace>, BackendError> {
        Ok(self.call().keyspaces.values().cloned().collect())
    }

    async fn create_keyspace(&self, name: &str) -> Result<Keyspace, BackendError> {
        let mut state = self.call();
        if state.keyspaces.contains_key(name) {
            return Err(AdminError::AlreadyExists(format!("there is a keyspace {name}")).into());
        }
        let id = KeyspaceId(256 + u32::try_from(state.keyspaces.len()).expect("few") - 2);
        let created_at = Some(Timestamp::from_ms(state.now_ms));
        let keyspace = Keyspace { name: name.to_owned(), id, created_at, writable: true };
        state.keyspaces.insert(name.to_owned(), keyspace.clone());
        Ok(keyspace)
    }

    async fn split(&self, keyspace: KeyspaceId, key: &[u8]) -> Result<Split, BackendError> {
        let mut state = self.call();
        let at = Key::bound(keyspace, key);
        if let Some((range, _)) = state.ranges.get(&at) {
            let right = Some(state.descriptor(&at, *range));
            return Ok(Split { left: None, right, changed: false });
        }
        let left = state.range_with(&at).start;
        let range = RangeId(state.next_range);
        state.next_range += 1;
        let leader = usize::try_from(range.0).expect("few") % SITES.len();
        state.ranges.insert(at.clone(), (range, leader));
        let left_range = state.ranges[&left].0;
        let now = state.now_ms;
        state.events.push((now, EventKind::RangeSplit, left_range, format!("{range} was cut off {left_range}")));
        let (left, right) = (state.descriptor(&left, left_range), state.descriptor(&at, range));
        Ok(Split { left: Some(left), right: Some(right), changed: true })
    }

    async fn transfer_leader(&self, range: RangeId, to: LeaderGoesTo) -> Result<Transferred, BackendError> {
        let mut state = self.call();
        let found = state.ranges.iter().find(|(_, (id, _))| *id == range).map(|(start, _)| start.clone());
        let start = found.ok_or_else(|| AdminError::NotFound(format!("no range has the id {}", range.0)))?;
        let to = match to {
            LeaderGoesTo::Site(name) => (0..SITES.len()).find(|at| site(*at) == name),
            LeaderGoesTo::Store(store) => usize::try_from(store.0).ok().and_then(|id| id.checked_sub(1)),
        };
        let to = to.filter(|at| *at < SITES.len());
        let to = to.ok_or_else(|| AdminError::FailedPrecondition("no live voter lies there".into()))?;
        let changed = state.ranges[&start].1 != to;
        state.ranges.insert(start.clone(), (range, to));
        Ok(Transferred { range: state.status(&start), changed })
    }
}
