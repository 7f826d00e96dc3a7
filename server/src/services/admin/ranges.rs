//! Ranges as the stores of the fleet know them together.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_kv::Found;
use holdfast_kv::core::message::RangeHint;
use holdfast_kv::core::routing::{Page, RangeMap};
use holdfast_proto::convert::common::key;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::list_ranges_request::Which;
use holdfast_types::bounds;
use holdfast_types::{Key, KeyRange, KeyspaceId, LogIndex, RangeDescriptor, RangeId, StoreId, Term, limits};
use tonic::Status;

use super::keyspaces::{self, bounds_of};
use super::{AdminService, Sight};
use crate::running::Running;

/// Ranges of one answer when the caller names no limit, and at most.
const RANGES_DEFAULT: u32 = 100;
const RANGES_MAX: u32 = 1_000;

/// What is asked for, understood.
pub(super) struct Wanted {
    pub(super) bounds: KeyRange,
    pub(super) only: Option<RangeId>,
    pub(super) limit: usize,
}

impl Wanted {
    fn has(&self, descriptor: &RangeDescriptor) -> bool {
        descriptor.bounds.overlaps(&self.bounds) && self.only.is_none_or(|range| range == descriptor.range)
    }

    /// A page of what is known here, and where to go on.
    fn known(&self, running: &Running, which: impl Fn(&Found) -> bool) -> (Vec<Found>, Option<Key>) {
        if let Some(range) = self.only {
            let found = running.store.range(range).filter(|found| which(found) && self.has(&found.descriptor));
            return (found.into_iter().collect(), None);
        }
        let page = Page { reverse: false, limit: self.limit, max_bytes: limits::RANGES_PAGE_BYTES };
        running.store.ranges_within(&self.bounds, page, which)
    }
}

/// Where the first of two pages ends, if any does.
fn earlier(left: Option<Key>, right: Option<Key>) -> Option<Key> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

/// A page of ranges, by the newest that the stores know.
pub(super) struct Merged {
    pub(super) ranges: Vec<v1::RangeStatus>,
    /// Where the next page begins, if there is one.
    pub(super) resume: Option<Key>,
    /// Who was asked and did not answer.
    pub(super) silent: Vec<v1::SilentStore>,
}

/// What the stores that answered say beyond descriptors and leaders.
#[derive(Default)]
struct Details {
    /// Who says of itself that it leads, in which term.
    leads: BTreeMap<RangeId, (Term, StoreId)>,
    /// Bytes, as the leader has them, or else anyone.
    bytes: BTreeMap<RangeId, (bool, u64)>,
    /// How far each replica is, by word of its store.
    progress: BTreeMap<RangeId, BTreeMap<StoreId, u64>>,
}

impl AdminService {
    /// A page of ranges: of those that the caller may look at.
    pub(super) async fn ranges(
        &self,
        running: &Running,
        sight: &Sight,
        request: v1::ListRangesRequest,
    ) -> Result<v1::ListRangesResponse, Status> {
        let only_this_store = request.only_this_store;
        let wanted = wanted(running, request.clone()).await?;
        if only_this_store {
            let (mut ranges, resume) = own(running, &wanted).await;
            ranges.retain(|range| is_seen(sight, range));
            return Ok(v1::ListRangesResponse { ranges, resume: resume.map(Into::into), silent: Vec::new() });
        }
        let everybody = BTreeSet::new();
        let (merged, names) = tokio::join!(self.merged(running, &wanted, &everybody), self.names.by_id(running));
        let Merged { mut ranges, resume, silent } = merged?;
        ranges.retain(|range| is_seen(sight, range));
        for range in &mut ranges {
            let start = range.descriptor.as_ref().and_then(|descriptor| descriptor.bounds.as_ref());
            let keyspace = start.and_then(|bounds| key(bounds.start.clone()).ok()).map(|start| start.keyspace());
            range.keyspace = keyspace.and_then(|id| names.get(&id)).cloned().unwrap_or_default();
        }
        Ok(v1::ListRangesResponse { ranges, resume: resume.map(Into::into), silent })
    }

    /// One range, by the newest that the stores know of it.
    pub(super) async fn range(&self, running: &Running, range: RangeId) -> Result<Option<v1::RangeStatus>, Status> {
        let wanted = Wanted { bounds: KeyRange::all(), only: Some(range), limit: 1 };
        Ok(self.merged(running, &wanted, &BTreeSet::new()).await?.ranges.into_iter().next())
    }

    /// The range that holds a key, by the newest that the stores know.
    pub(super) async fn range_of(&self, running: &Running, key: &Key) -> Result<Option<v1::RangeStatus>, Status> {
        let bounds = KeyRange { start: key.clone(), end: Some(key.next()) };
        let wanted = Wanted { bounds, only: None, limit: 1 };
        Ok(self.merged(running, &wanted, &BTreeSet::new()).await?.ranges.into_iter().next())
    }

    /// Asks everybody but those that are to be spared. What nobody that answered holds is told from hearsay.
    pub(super) async fn merged(
        &self,
        running: &Running,
        wanted: &Wanted,
        spared: &BTreeSet<StoreId>,
    ) -> Result<Merged, Status> {
        let asked = v1::ListRangesRequest {
            which: Some(match wanted.only {
                Some(range) => Which::RangeId(range.0),
                None => Which::Bounds(wanted.bounds.clone().into()),
            }),
            limit: u32::try_from(wanted.limit).unwrap_or(RANGES_MAX),
            only_this_store: true,
            ..v1::ListRangesRequest::default()
        };
        let gathered = self.others.ask_all(running, spared, move |mut client| {
            let asked = asked.clone();
            async move { client.list_ranges(asked).await }
        });
        let gathered = gathered.await?;
        let (mine, my_resume) = own(running, wanted).await;
        // Beyond the first place where some store stopped nothing is known for sure.
        let (heard, heard_resume) = wanted.known(running, |_| true);
        let mut resume = earlier(my_resume, heard_resume);
        let mut map = RangeMap::new();
        for found in heard {
            map.learn(found.hint());
        }
        let mut details = Details::default();
        details.take(running.store_id, mine, &mut map);
        for (store, answer) in gathered.answers {
            resume = earlier(resume, answer.resume.and_then(|resume| key(resume).ok()));
            details.take(store, answer.ranges, &mut map);
        }
        let mut all = map.all();
        all.retain(|found| wanted.has(&found.descriptor));
        if let Some(resume) = &resume {
            all.retain(|found| found.descriptor.bounds.start < *resume);
        }
        resume = cut(&mut all, wanted.limit).or(resume);
        let ranges = all.into_iter().map(|found| details.status(found)).collect();
        Ok(Merged { ranges, resume, silent: gathered.silent })
    }
}

impl Details {
    fn take(&mut self, store: StoreId, ranges: Vec<v1::RangeStatus>, map: &mut RangeMap) {
        for range in ranges {
            let Some(Ok(descriptor)) = range.descriptor.map(RangeDescriptor::try_from) else { continue };
            let (id, term) = (descriptor.range, Term::bounded(range.term).unwrap_or_default());
            let leads = range.confirmed && range.leader_store == store.0;
            if leads && self.leads.get(&id).is_none_or(|(known, _)| *known < term) {
                self.leads.insert(id, (term, store));
            }
            let bytes = self.bytes.entry(id).or_default();
            if leads || !bytes.0 {
                let told = bounds::cut(range.approximate_bytes, limits::MAX_REPORTED_RANGE_BYTES);
                *bytes = (leads, told.max(if leads { 0 } else { bytes.1 }));
            }
            let said = range.progress.iter().filter(|progress| progress.store_id == store.0);
            self.progress.entry(id).or_default().extend(said.map(|progress| (store, progress.applied_index)));
            let leader = super::store_of(range.leader_store);
            map.learn(RangeHint { descriptor, term, leader });
        }
    }

    fn status(&self, found: Found) -> v1::RangeStatus {
        let leads = self.leads.get(&found.descriptor.range).copied();
        // A leader's own word counts, unless somebody has heard of a later term.
        let confirmed = leads.filter(|(term, _)| *term >= found.term);
        let (term, leader) = confirmed.map_or((found.term, found.leader), |(term, store)| (term, Some(store)));
        let bytes = self.bytes.get(&found.descriptor.range).map_or(0, |(_, bytes)| *bytes);
        // Stores from which the range has gone may still say how far it was there.
        let progress = self.progress.get(&found.descriptor.range).into_iter().flatten();
        let progress = progress.filter(|(store, _)| found.descriptor.replica_on(**store).is_some());
        v1::RangeStatus {
            progress: progress.map(|(store, applied)| replica_progress(*store, *applied)).collect(),
            ..status(&found.descriptor, leader, term, bytes, confirmed.is_some())
        }
    }
}

fn status(
    descriptor: &RangeDescriptor,
    leader: Option<StoreId>,
    term: Term,
    approximate_bytes: u64,
    confirmed: bool,
) -> v1::RangeStatus {
    let site = leader.and_then(|store| descriptor.replica_on(store)).map(|replica| replica.site.to_string());
    v1::RangeStatus {
        descriptor: Some(descriptor.clone().into()),
        leader_store: leader.unwrap_or(StoreId::NONE).0,
        leader_site: site.unwrap_or_default(),
        term: term.0,
        approximate_bytes,
        keyspace: String::new(),
        confirmed,
        progress: Vec::new(),
    }
}

fn replica_progress(store: StoreId, applied_index: u64) -> v1::ReplicaProgress {
    v1::ReplicaProgress { store_id: store.0, applied_index }
}

/// Ranges with a replica here, and where to go on.
async fn own(running: &Running, wanted: &Wanted) -> (Vec<v1::RangeStatus>, Option<Key>) {
    let (found, resume) = wanted.known(running, |found| found.own);
    let sizes = running.store.measured();
    let asked: BTreeSet<_> = found.iter().map(|found| found.descriptor.range).collect();
    let sizes = sizes.range_bytes.iter().copied().filter(|(range, _)| asked.contains(range));
    let sizes: BTreeMap<RangeId, u64> = sizes.collect();
    let applied = applied(running, found.iter().map(|found| found.descriptor.range).collect()).await;
    let ranges = found.iter().map(|found| {
        let range = found.descriptor.range;
        let bytes = sizes.get(&range).copied().unwrap_or(0);
        let progress = applied.get(&range).map(|applied| replica_progress(running.store_id, applied.0));
        v1::RangeStatus {
            progress: progress.into_iter().collect(),
            ..status(&found.descriptor, found.leader, found.term, bytes, found.leader == Some(running.store_id))
        }
    });
    (ranges.collect(), resume)
}

/// How far replicas here are. Read from the data instance, off the threads that serve requests; what cannot be read is left out.
async fn applied(running: &Running, ranges: Vec<RangeId>) -> BTreeMap<RangeId, LogIndex> {
    let store = Arc::clone(&running.store);
    let read = tokio::task::spawn_blocking(move || {
        let of = |range: RangeId| match store.applied(range) {
            Ok(applied) => applied.map(|applied| (range, applied)),
            Err(fault) => {
                tracing::warn!(%range, %fault, "how far a replica is could not be read");
                None
            }
        };
        ranges.into_iter().filter_map(of).collect()
    });
    read.await.unwrap_or_default()
}

/// Cuts a page to what one answer may have; gives where to go on.
fn cut(found: &mut Vec<Found>, limit: usize) -> Option<Key> {
    let mut bytes = 0;
    let fits = found.iter().take(limit).take_while(|found| {
        let before = bytes;
        bytes = usize::saturating_add(bytes, found.told_bytes());
        before < limits::RANGES_PAGE_BYTES
    });
    let count = fits.count();
    let next = found.get(count).map(|next| next.descriptor.bounds.start.clone());
    found.truncate(count);
    next
}

/// Understands a request.
async fn wanted(running: &Running, request: v1::ListRangesRequest) -> Result<Wanted, Status> {
    let bad = |bad: holdfast_proto::convert::BadMessage| super::invalid(bad.to_string());
    let limit = if request.limit == 0 { RANGES_DEFAULT } else { request.limit.min(RANGES_MAX) };
    let mut wanted =
        Wanted { bounds: KeyRange::all(), only: None, limit: usize::try_from(limit).unwrap_or(usize::MAX) };
    match request.which {
        None => {}
        Some(Which::Bounds(bounds)) => {
            wanted.bounds = bounds.try_into().map_err(bad)?;
            if wanted.bounds.is_empty() {
                return Err(super::invalid("no key lies in these bounds: the start must lie before the end"));
            }
        }
        Some(Which::RangeId(range)) => wanted.only = Some(super::bounded(RangeId::bounded(range))?),
        Some(Which::Keyspace(name)) => {
            let keyspace = keyspaces::find(running, &name).await.map_err(to_status)?;
            let keyspace = keyspace.ok_or_else(|| Status::not_found(format!("there is no keyspace {name:?}")))?;
            wanted.bounds = bounds_of(KeyspaceId(keyspace.id));
        }
    }
    if let Some(resume) = request.resume {
        let resume = key(resume).map_err(bad)?;
        wanted.bounds.start = wanted.bounds.start.max(resume);
    }
    Ok(wanted)
}

fn is_seen(sight: &Sight, range: &v1::RangeStatus) -> bool {
    let bounds = range.descriptor.as_ref().and_then(|descriptor| descriptor.bounds.clone());
    bounds.and_then(|bounds| KeyRange::try_from(bounds).ok()).is_some_and(|bounds| sight.looks_at(&bounds))
}

#[cfg(test)]
mod tests {
    use holdfast_types::{RangeEpoch, ReplicaDescriptor, ReplicaId, Role, SiteName};

    use super::*;

    fn found(range: u64, start: &[u8], end: &[u8], bounds_epoch: u64) -> Found {
        let bound = |key: &[u8]| Key::bound(KeyspaceId::DEFAULT, key);
        let replica = |id| ReplicaDescriptor {
            replica: ReplicaId(id),
            store: StoreId(id),
            site: SiteName::new("a").unwrap(),
            role: Role::Voter,
        };
        let descriptor = RangeDescriptor {
            range: RangeId(range),
            bounds: KeyRange { start: bound(start), end: Some(bound(end)) },
            epoch: RangeEpoch { membership: 1, bounds: bounds_epoch },
            replicas: vec![replica(1), replica(2)],
            next_replica: ReplicaId(3),
        };
        Found { descriptor, term: Term(5), leader: Some(StoreId(1)), own: true }
    }

    fn answer(found: &Found, leader: u64, term: u64, bytes: u64, confirmed: bool) -> v1::RangeStatus {
        status(&found.descriptor, Some(StoreId(leader)), Term(term), bytes, confirmed)
    }

    #[test]
    fn of_each_range_the_newest_picture_and_the_newest_leader_are_told() {
        let (whole, left, right) = (found(7, b"a", b"z", 1), found(7, b"a", b"m", 2), found(8, b"m", b"z", 2));
        let (mut details, mut map) = (Details::default(), RangeMap::new());
        // An old picture, an old leader that does not know of its successor, and the one who leads.
        details.take(StoreId(3), vec![answer(&whole, 1, 4, 90, false)], &mut map);
        details.take(StoreId(1), vec![answer(&left, 1, 5, 50, true)], &mut map);
        details.take(StoreId(2), vec![answer(&left, 2, 6, 40, true), answer(&right, 1, 5, 30, false)], &mut map);
        let all: Vec<_> = map.all().into_iter().map(|found| details.status(found)).collect();
        let seen: Vec<_> = all.iter().map(|r| (r.leader_store, r.term, r.approximate_bytes, r.confirmed)).collect();
        assert_eq!(seen, [(2, 6, 40, true), (1, 5, 30, false)]);
        assert_eq!(all[0].descriptor, Some(left.descriptor.into()));
    }

    #[test]
    fn each_store_tells_how_far_its_own_replica_is() {
        let range = found(7, b"a", b"z", 1);
        let (mut details, mut map) = (Details::default(), RangeMap::new());
        // Store 2 also repeats what it heard of store 1, and store 3 holds no replica any more.
        for (store, said) in [(1, vec![(1, 50)]), (2, vec![(2, 40), (1, 9)]), (3, vec![(3, 30)])] {
            let progress = said.into_iter().map(|(store, applied)| replica_progress(StoreId(store), applied)).collect();
            let answer = v1::RangeStatus { progress, ..answer(&range, 1, 5, 0, store == 1) };
            details.take(StoreId(store), vec![answer], &mut map);
        }
        let told = details.status(map.all().remove(0)).progress;
        assert_eq!(told, [replica_progress(StoreId(1), 50), replica_progress(StoreId(2), 40)]);
    }

    #[test]
    fn a_page_is_cut_by_count_and_by_bytes() {
        let mut few = vec![found(1, b"a", b"b", 1), found(2, b"b", b"c", 1), found(3, b"c", b"d", 1)];
        assert_eq!(cut(&mut few, 2), Some(Key::bound(KeyspaceId::DEFAULT, b"c")));
        assert_eq!((few.len(), cut(&mut few, 2)), (2, None));
        let long = vec![b'k'; limits::RANGES_PAGE_BYTES];
        let mut heavy = vec![found(1, b"a", &long, 1), found(2, &long, b"z", 1)];
        assert!(cut(&mut heavy, 9).is_some());
        assert_eq!(heavy.len(), 1, "one always fits");
    }
}
