//! The records that placement reads from and writes to the system range, by requests like any client's.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_placement::{Policies, Policy, SiteTrust, StateKey, StoreRecord};
use holdfast_types::{
    Key, KeyRange, KeyspaceId, Moment, Mutation, RangeDescriptor, RangeId, RangeRequest, Rejected, Request, Response,
    Row, ScanMode, StoreId, limits,
};

use super::PlacementTask;
use super::facts::Facts;
use crate::core::records::{decode_policy, decode_range, decode_site, decode_store, encode_range, encode_store};

/// How often the lists of stores, sites and policies are read again.
const STORES_EVERY: Duration = Duration::from_secs(2);
/// Descriptors written at a time, all in one batch,
const RANGES_PER_WRITE: usize = 1_024;
/// and their bytes: far less than a batch may have, so that others wait little.
const BYTES_PER_WRITE: usize = 512 << 10;

/// What is known of the system range's records, and the questions that are out.
#[derive(Default, Debug)]
pub(super) struct Records {
    stores: Option<BTreeMap<StoreId, StoreRecord>>,
    /// When those that are known were asked for.
    stores_asked_at: Moment,
    read_stores_at: Moment,
    ranges: Option<BTreeMap<RangeId, RangeDescriptor>>,
    /// What was said of sites; `None`: not read yet.
    sites: Option<Vec<SiteTrust>>,
    /// The same, while it was not taken.
    new_sites: Option<Vec<SiteTrust>>,
    read_sites_at: Moment,
    policies: BTreeMap<KeyspaceId, Policy>,
    read_policies_at: Moment,
    /// What is wrong with policies, as last told.
    bad_policies: Vec<String>,
    complaints: Vec<String>,
    calls: BTreeMap<u64, Call>,
    /// Scans of which a page was read, and where they go on.
    pages: Vec<(Call, Key)>,
    told: u64,
}

/// A question, with what the pages before it brought.
#[derive(Debug)]
enum Call {
    Stores(Moment, BTreeMap<StoreId, StoreRecord>),
    Ranges(BTreeMap<RangeId, RangeDescriptor>),
    Sites(Vec<SiteTrust>),
    Policies(Vec<(Key, Bytes)>),
    Write(Vec<RangeDescriptor>),
}

impl Call {
    /// What it reads.
    fn bounds(&self) -> Option<KeyRange> {
        match self {
            Self::Stores(..) => Some(StateKey::all_stores()),
            Self::Ranges(_) => Some(StateKey::all_ranges()),
            Self::Sites(_) => Some(StateKey::all_sites()),
            Self::Policies(_) => Some(StateKey::all_policies()),
            Self::Write(_) => None,
        }
    }

    /// A page of it. Records that cannot be read are left out; of policies that is complained of.
    fn read(&mut self, rows: Vec<Row>) {
        match self {
            Self::Stores(_, stores) => {
                let read = rows.iter().filter_map(|row| decode_store(&row.value.value).ok());
                stores.extend(read.map(|record| (record.store, record)));
            }
            Self::Ranges(ranges) => {
                let read = rows.iter().filter_map(|row| decode_range(&row.value.value).ok());
                ranges.extend(read.map(|descriptor| (descriptor.range, descriptor)));
            }
            Self::Sites(sites) => {
                let read = rows.iter().filter_map(|row| decode_site(&row.value.value).ok());
                sites.extend(read.map(|record| record.trust()).filter(|said| !said.is_untouched()));
            }
            Self::Policies(policies) => policies.extend(rows.into_iter().map(|row| (row.key, row.value.value))),
            Self::Write(_) => {}
        }
    }
}

impl Records {
    /// True when there is enough to plan by: without what was said of sites, something would be copied to who is not believed.
    pub(super) fn are_known(&self) -> bool {
        self.stores.is_some() && self.sites.is_some()
    }

    /// Whether a store is on record; `None` while no records are known.
    pub(super) fn has_store(&self, store: StoreId) -> Option<bool> {
        self.stores.as_ref().map(|stores| stores.contains_key(&store))
    }

    /// When the records of stores were asked for that are known now.
    pub(super) fn stores_asked_at(&self) -> Moment {
        self.stores_asked_at
    }

    pub(super) fn tick(&mut self, next_call: &mut u64, facts: &mut Facts, now: Moment) -> Vec<PlacementTask> {
        let mut tasks = Vec::new();
        for (call, resume) in std::mem::take(&mut self.pages) {
            let rest = call.bounds().map(|bounds| KeyRange { start: resume, ..bounds });
            tasks.extend(rest.map(|rest| self.ask(next_call, call, scan(rest))));
        }
        let strangers = self.stores.as_ref().is_some_and(|stores| facts.has_strangers(stores));
        let news = strangers || facts.has_newcomers(self.stores_asked_at);
        let due = self.read_stores_at <= now || (news && self.read_stores_at > now.after(limits::REPORT_EVERY));
        if due && !self.calls.values().any(|call| matches!(call, Call::Stores(..))) {
            self.read_stores_at = now.after(STORES_EVERY);
            tasks.push(self.ask(next_call, Call::Stores(now, BTreeMap::new()), scan(StateKey::all_stores())));
        }
        if self.read_sites_at <= now && !self.calls.values().any(|call| matches!(call, Call::Sites(_))) {
            self.read_sites_at = now.after(STORES_EVERY);
            tasks.push(self.ask(next_call, Call::Sites(Vec::new()), scan(StateKey::all_sites())));
        }
        if self.read_policies_at <= now && !self.calls.values().any(|call| matches!(call, Call::Policies(_))) {
            self.read_policies_at = now.after(STORES_EVERY);
            tasks.push(self.ask(next_call, Call::Policies(Vec::new()), scan(StateKey::all_policies())));
        }
        let asks = self.calls.values().any(|call| matches!(call, Call::Ranges(_) | Call::Write(_)));
        match &self.ranges {
            _ if asks => {}
            None => tasks.push(self.ask(next_call, Call::Ranges(BTreeMap::new()), scan(StateKey::all_ranges()))),
            Some(known) => {
                let new = that_fit(facts.unwritten(known, RANGES_PER_WRITE));
                if !new.is_empty() {
                    let request = write(&new);
                    tasks.push(self.ask(next_call, Call::Write(new), request));
                }
            }
        }
        tasks
    }

    pub(super) fn answered(&mut self, call: u64, outcome: Result<Response, Rejected>, now: Moment) {
        let Some(call) = self.calls.remove(&call) else { return };
        match (call, outcome) {
            (Call::Write(written), Ok(_)) => {
                let known = self.ranges.get_or_insert_default();
                known.extend(written.into_iter().map(|descriptor| (descriptor.range, descriptor)));
            }
            (mut call, Ok(Response::Scanned { rows, resume, .. })) => {
                call.read(rows);
                match resume {
                    Some(resume) => self.pages.push((call, resume)),
                    None => self.take_all(call),
                }
            }
            (Call::Stores(..), _) => self.read_stores_at = now.after(limits::REPORT_EVERY),
            (Call::Sites(_), _) => self.read_sites_at = now.after(limits::REPORT_EVERY),
            // Asked again with the next tick.
            (Call::Ranges(_) | Call::Policies(_) | Call::Write(_), _) => {}
        }
    }

    /// The last page of a scan is there.
    fn take_all(&mut self, call: Call) {
        match call {
            Call::Stores(asked_at, stores) => {
                self.stores = Some(stores);
                self.stores_asked_at = asked_at;
            }
            Call::Ranges(ranges) => self.ranges = Some(ranges),
            Call::Sites(sites) => self.take_all_sites(sites),
            Call::Policies(rows) => self.take_policies(rows.iter().map(|(key, value)| (key, value))),
            Call::Write(_) => {}
        }
    }

    /// More than every store remembers are cut: those of which the last was said first, and whoever is distrusted last.
    fn take_all_sites(&mut self, mut sites: Vec<SiteTrust>) {
        sites.sort_by_key(|said| std::cmp::Reverse((said.is_distrusted(), said.said_at())));
        sites.truncate(limits::SITES_DOUBTED);
        sites.sort();
        if self.sites.as_ref() != Some(&sites) {
            self.new_sites = Some(sites.clone());
            self.sites = Some(sites);
        }
    }

    /// What was said of sites, when it is something else than what was taken last.
    pub(super) fn take_sites(&mut self) -> Option<Vec<SiteTrust>> {
        self.new_sites.take()
    }

    /// A record that cannot be read, or makes no sense, is complained of once, and the keyspace keeps what it had.
    fn take_policies<'a>(&mut self, rows: impl Iterator<Item = (&'a Key, &'a Bytes)>) {
        let (mut policies, mut bad) = (BTreeMap::new(), Vec::new());
        for (key, value) in rows {
            let Some(StateKey::Policy(keyspace)) = StateKey::parse(key) else { continue };
            match decode_policy(value) {
                Ok(policy) => drop(policies.insert(keyspace, policy)),
                Err(why) => {
                    policies.extend(self.policies.remove(&keyspace).map(|old| (keyspace, old)));
                    bad.push(format!("the policy of keyspace {} is not used: {why}", keyspace.0));
                }
            }
        }
        self.complaints.extend(bad.iter().filter(|what| !self.bad_policies.contains(what)).cloned());
        (self.policies, self.bad_policies) = (policies, bad);
    }

    /// Something is wrong that an operator should see.
    pub(super) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// What was found to be wrong since the last call.
    pub(super) fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// What the system range says over what the store was given.
    pub(super) fn policies(&self, given: &Policies) -> Policies {
        given.overlaid(&self.policies)
    }

    /// The list of stores, when it is another one than the last one taken.
    pub(super) fn take_directory(&mut self) -> Option<(u64, Vec<StoreRecord>)> {
        let stores: Vec<_> = self.stores.as_ref()?.values().cloned().collect();
        let version = version_of(&stores);
        (version != self.told).then(|| {
            self.told = version;
            (version, stores)
        })
    }

    fn ask(&mut self, next_call: &mut u64, call: Call, request: Request) -> PlacementTask {
        *next_call += 1;
        self.calls.insert(*next_call, call);
        PlacementTask::Ask { call: *next_call, request: RangeRequest { range: None, write: None, request } }
    }
}

fn scan(bounds: KeyRange) -> Request {
    let (max_rows, max_bytes) = (limits::MAX_SCAN_ROWS, limits::MAX_SCAN_BYTES);
    Request::Scan { bounds, reverse: false, max_rows, max_bytes, at: None, mode: ScanMode::Rows }
}

/// As many of these as one write takes: one at least.
fn that_fit(descriptors: Vec<RangeDescriptor>) -> Vec<RangeDescriptor> {
    let mut bytes = 0;
    let fitting = descriptors.into_iter().take_while(|descriptor| {
        let before = bytes;
        bytes += encode_range(descriptor).len();
        before == 0 || bytes <= BYTES_PER_WRITE
    });
    fitting.collect()
}

fn write(descriptors: &[RangeDescriptor]) -> Request {
    let put = |d: &RangeDescriptor| Mutation {
        key: StateKey::Range(d.range).key(),
        value: Some(encode_range(d)),
        expires_at: None,
    };
    Request::Write { conditions: Vec::new(), mutations: descriptors.iter().map(put).collect() }
}

/// Equal lists have equal versions, on every leader (FNV-1a, 64 bits).
fn version_of(stores: &[StoreRecord]) -> u64 {
    let bytes = stores.iter().flat_map(encode_store);
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use holdfast_types::{SiteName, Timestamp, VersionedValue};

    use super::*;

    fn page(stores: std::ops::RangeInclusive<u64>, resume: Option<u64>) -> Result<Response, Rejected> {
        let row = |store| {
            let record = StoreRecord::new(StoreId(store), SiteName::new("a").unwrap());
            let value = VersionedValue { value: encode_store(&record), timestamp: Timestamp(1), expires_at: None };
            Row { key: StateKey::Store(StoreId(store)).key(), value }
        };
        let resume = resume.map(|store| StateKey::Store(StoreId(store)).key());
        Ok(Response::Scanned { rows: stores.map(row).collect(), counted: 0, resume, at: Timestamp(1), within: None })
    }

    /// The question for stores among these tasks, and from which key on.
    fn asked(tasks: &[PlacementTask]) -> Option<(u64, Key)> {
        tasks.iter().find_map(|task| match task {
            PlacementTask::Ask { call, request } => match &request.request {
                Request::Scan { bounds, .. } if bounds.end == StateKey::all_stores().end => {
                    Some((*call, bounds.start.clone()))
                }
                _ => None,
            },
            _ => None,
        })
    }

    #[test]
    fn lists_of_more_than_one_page_are_read_to_their_end() {
        let (mut records, mut next_call) = (Records::default(), 0);
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        let at = |ms| Moment::ZERO.after(Duration::from_millis(ms));
        let (first, from) = asked(&records.tick(&mut next_call, &mut facts, at(0))).unwrap();
        assert_eq!(from, StateKey::all_stores().start);
        records.answered(first, page(1..=700, Some(701)), at(1));
        assert!(!records.are_known(), "it would be planned without the rest of the fleet");
        let (second, from) = asked(&records.tick(&mut next_call, &mut facts, at(500))).unwrap();
        assert_eq!(from, StateKey::Store(StoreId(701)).key());
        records.answered(second, page(701..=1_000, None), at(501));
        assert_eq!(records.take_directory().map(|(_, stores)| stores.len()), Some(1_000));
        assert_eq!(records.stores_asked_at(), at(0), "what was forgotten since then is not known");
    }
}
