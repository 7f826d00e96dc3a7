//! What stores report, put together to the fleet as the planner sees it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_placement::view::StoreView;
use holdfast_placement::{FleetView, RangeLoad, RangeView, StoreRecord};
use holdfast_types::{Moment, RangeDescriptor, RangeId, ReplicaDescriptor, ReplicaId, StoreId, limits};

use crate::core::load::Load;
use crate::core::message::{RangeReport, StoreReport};
use crate::core::report_parts::{Arriving, Ranges};

/// A store that has not reported for this long counts as silent: three reports, and one more for the way.
const SILENT_AFTER: Duration = limits::REPORT_EVERY.saturating_mul(4);

/// Ranges of which something is remembered: more than a fleet has, so that what is made up of ranges is bounded.
const MAX_RANGES: usize = 1 << 20;

/// Descriptors that are compared with their records at a time, so that a new leader of the system range, to which all are new, is not late
/// with its rounds.
const MAX_COMPARED: usize = 16_384;

/// What stores reported, and what of it is still on its way.
#[derive(Debug)]
pub(super) struct Facts {
    known: Known,
    /// Stores that report and were on no record when they did: all that counts of them is that they are there.
    strangers: BTreeSet<StoreId>,
    /// By store and worker.
    workers: BTreeMap<(StoreId, u16), WorkerFacts>,
    /// Ranges whose descriptors changed since they were compared with their records.
    unwritten: BTreeSet<RangeId>,
}

/// Replicas that their stores found damaged.
type Damaged = BTreeSet<(RangeId, ReplicaId)>;

/// What is known of the fleet. A copy of it costs no more than a count of references for each range.
#[derive(Clone, Debug)]
pub(super) struct Known {
    since: Moment,
    /// Stores that were silent already: a new planner does not wait for them all over again.
    lost: BTreeMap<StoreId, Moment>,
    stores: BTreeMap<StoreId, StoreFacts>,
    ranges: BTreeMap<RangeId, Arc<RangeFacts>>,
    /// By store and worker; none where nothing is damaged.
    damaged: BTreeMap<(StoreId, u16), Arc<Damaged>>,
}

/// What one worker of a store reported.
#[derive(Default, Debug)]
struct WorkerFacts {
    arriving: Arriving,
    /// When the first part came of what is arriving.
    arriving_since: Moment,
    /// A report of it was whole.
    is_known: bool,
}

#[derive(Clone, Debug)]
struct StoreFacts {
    report: StoreReport,
    first_at: Moment,
    last_at: Moment,
}

#[derive(Clone, Debug)]
struct RangeFacts {
    leader: StoreId,
    /// When it was first heard of that leader, if there was another one before.
    led_since: Option<Moment>,
    report: RangeReport,
    /// What is left of the load that was measured before this leadership: a new leader counts from nothing, and a range that
    /// seemed idle would draw others to its store, only for them to be moved away again.
    carried: RangeLoad,
    at: Moment,
}

impl RangeFacts {
    fn load(&self) -> RangeLoad {
        let report = &self.report;
        let requests = (report.reads_per_second + report.writes_per_second) * 1_000;
        RangeLoad {
            requests_millis_per_second: requests + self.carried.requests_millis_per_second,
            write_bytes_per_second: report.write_bytes_per_second + self.carried.write_bytes_per_second,
        }
    }
}

fn faded(load: RangeLoad) -> RangeLoad {
    RangeLoad {
        requests_millis_per_second: Load::fade(load.requests_millis_per_second),
        write_bytes_per_second: Load::fade(load.write_bytes_per_second),
    }
}

impl Facts {
    pub(super) fn new(lost: BTreeMap<StoreId, Moment>, now: Moment) -> Self {
        let (stores, ranges, damaged) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let known = Known { since: now, lost, stores, ranges, damaged };
        Self { known, strangers: BTreeSet::new(), workers: BTreeMap::new(), unwritten: BTreeSet::new() }
    }

    /// All of it, to be looked at elsewhere.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// A store reports that is on no record: it may have joined a moment ago, or somebody has made it up.
    pub(super) fn note_stranger(&mut self, store: StoreId) {
        if self.strangers.len() >= limits::UNPROVED_STORES {
            self.strangers.pop_first();
        }
        self.strangers.insert(store);
    }

    /// Takes a part of a report of a store on record in. What it says of ranges counts when all parts are there, what it says of the store at once.
    pub(super) fn report(&mut self, mut report: StoreReport, now: Moment) {
        let leader = report.store;
        let stores = &mut self.known.stores;
        if stores.len() >= limits::ADDRESSED_STORES && !stores.contains_key(&leader) {
            return;
        }
        let back = stores.get(&leader).is_none_or(|known| {
            known.report.incarnation != report.incarnation || now.since(known.last_at) >= SILENT_AFTER
        });
        let first_at = if back { now } else { stores[&leader].first_at };
        let (led, damaged) = (std::mem::take(&mut report.ranges), std::mem::take(&mut report.damaged));
        let (name, workers) = ((leader, report.worker), report.workers);
        let worker = self.workers.entry(name).or_default();
        if worker.arriving.bytes() == 0 {
            worker.arriving_since = now;
        }
        if let Some(whole) = worker.arriving.take(report.incarnation, report.part, Ranges { led, damaged }) {
            worker.is_known = true;
            self.known.damaged.remove(&name);
            if !whole.damaged.is_empty() {
                self.known.damaged.insert(name, Arc::new(whole.damaged.into_iter().collect()));
            }
            for range in whole.led {
                self.range_report(leader, range, now);
            }
        }
        self.bound_arriving();
        self.workers.retain(|(store, worker), _| *store != leader || *worker < workers);
        self.known.damaged.retain(|(store, worker), _| *store != leader || *worker < workers);
        self.known.stores.insert(leader, StoreFacts { report, first_at, last_at: now });
    }

    /// Reports that never come to their end do not add up.
    fn bound_arriving(&mut self) {
        while self.workers.values().map(|worker| worker.arriving.bytes()).sum::<usize>()
            > limits::ARRIVING_REPORTS_BYTES
        {
            let arriving = self.workers.values_mut().filter(|worker| worker.arriving.bytes() > 0);
            let Some(oldest) = arriving.min_by_key(|worker| worker.arriving_since) else { return };
            oldest.arriving.drop_parts();
        }
    }

    fn range_report(&mut self, leader: StoreId, report: RangeReport, now: Moment) {
        // Whoever leads a range has a replica of it.
        if report.descriptor.replica_on(leader).is_none() {
            return;
        }
        let (range, is_full) = (report.descriptor.range, self.known.ranges.len() >= MAX_RANGES);
        let mut known = match self.known.ranges.entry(range) {
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(new) => {
                let (led_since, carried) = (None, RangeLoad::default());
                new.insert(Arc::new(RangeFacts { leader, led_since, report, carried, at: now }));
                self.unwritten.insert(range);
                return;
            }
            Entry::Occupied(known) => known,
        };
        let before = known.get();
        let (old, new) = (before.report.descriptor.epoch, report.descriptor.epoch);
        if report.term < before.report.term || new.membership < old.membership || new.bounds < old.bounds {
            return;
        }
        let (carried, led_since) = if before.report.term == report.term {
            (faded(before.carried), before.led_since)
        } else if before.leader == leader {
            (faded(before.load()), before.led_since)
        } else {
            (faded(before.load()), Some(now))
        };
        if before.report.descriptor != report.descriptor {
            self.unwritten.insert(range);
        }
        known.insert(Arc::new(RangeFacts { leader, led_since, report, carried, at: now }));
    }

    /// A range looks different, by word of its leader.
    pub(super) fn changed(&mut self, descriptor: RangeDescriptor) {
        if let Some(known) = self.known.ranges.get_mut(&descriptor.range)
            && descriptor.epoch.is_newer_than(&known.report.descriptor.epoch)
        {
            self.unwritten.insert(descriptor.range);
            Arc::make_mut(known).report.descriptor = descriptor;
        }
    }

    /// How many ranges there are.
    pub(super) fn ranges(&self) -> usize {
        self.known.ranges.len()
    }

    /// The descriptor of a range as last reported.
    pub(super) fn descriptor(&self, range: RangeId) -> Option<&RangeDescriptor> {
        self.known.ranges.get(&range).map(|known| &known.report.descriptor)
    }

    /// Descriptors that differ from what is `written`, at most so many. What does not differ is not looked at again until it changes.
    pub(super) fn unwritten(
        &mut self,
        written: &BTreeMap<RangeId, RangeDescriptor>,
        most: usize,
    ) -> Vec<RangeDescriptor> {
        let (mut new, mut same) = (Vec::new(), Vec::new());
        for range in self.unwritten.iter().take(MAX_COMPARED) {
            if new.len() >= most {
                break;
            }
            match self.known.ranges.get(range).map(|known| &known.report.descriptor) {
                Some(descriptor) if written.get(range) != Some(descriptor) => new.push(descriptor.clone()),
                _ => same.push(*range),
            }
        }
        for range in same {
            self.unwritten.remove(&range);
        }
        new
    }

    /// A store that is alive, and of whose ranges it is not known yet what it leads: nobody else reports those.
    pub(super) fn awaited(&self, now: Moment) -> Option<StoreId> {
        let is_known = |store: StoreId, worker| self.workers.get(&(store, worker)).is_some_and(|known| known.is_known);
        let stores = &self.known.stores;
        let alive = stores.iter().filter(|(_, known)| now.since(known.last_at) < SILENT_AFTER);
        let mut awaited = alive.filter(|(store, known)| (0..known.report.workers).any(|w| !is_known(**store, w)));
        awaited.next().map(|(store, _)| *store)
    }

    /// Stores that report and are not among `stores`.
    pub(super) fn has_strangers(&self, stores: &BTreeMap<StoreId, StoreRecord>) -> bool {
        self.known.stores.keys().chain(&self.strangers).any(|store| !stores.contains_key(store))
    }

    /// Stores that are heard, and were not when the records were asked for last: since then they may have been forgotten.
    pub(super) fn has_newcomers(&self, asked_at: Moment) -> bool {
        self.known.stores.values().any(|known| known.first_at > asked_at)
    }
}

impl Known {
    /// The fleet without the stores that were forgotten; `read`: the records, and when they were asked for.
    pub(super) fn view(&self, read: (&[StoreRecord], Moment), now: Moment) -> FleetView {
        let mut view = self.view_of_stores(read, now);
        let ranges = self.ranges.iter().map(|(id, known)| (*id, self.range_view(known, &view)));
        view.ranges = ranges.collect();
        view
    }

    /// The same with these ranges only.
    pub(super) fn view_of(
        &self,
        ranges: impl Iterator<Item = RangeId>,
        read: (&[StoreRecord], Moment),
        now: Moment,
    ) -> FleetView {
        let mut view = self.view_of_stores(read, now);
        let known = ranges.filter_map(|id| Some((id, self.ranges.get(&id)?)));
        view.ranges = known.map(|(id, known)| (id, self.range_view(known, &view))).collect();
        view
    }

    fn view_of_stores(&self, (stores, asked_at): (&[StoreRecord], Moment), now: Moment) -> FleetView {
        let mut view = FleetView::new(now);
        for record in stores.iter().filter(|record| !record.is_forgotten()) {
            view.stores.insert(record.store, self.store_view(record, asked_at, now));
        }
        view
    }

    fn range_view(&self, known: &RangeFacts, view: &FleetView) -> RangeView {
        let alive = view.is_alive(known.leader);
        let report = &known.report;
        RangeView {
            descriptor: report.descriptor.clone(),
            leader: alive.then_some(known.leader),
            led_since: known.led_since,
            leader_has_lease: alive && report.has_lease,
            caught_up: report.caught_up.iter().copied().collect(),
            damaged: self.damaged_of(&report.descriptor),
            size_bytes: report.size_bytes,
            load: known.load(),
            pending: None,
            reported_at: known.at,
        }
    }

    fn damaged_of(&self, descriptor: &RangeDescriptor) -> BTreeSet<ReplicaId> {
        let is_damaged = |r: &&ReplicaDescriptor| {
            let mut workers = self.damaged.range((r.store, 0)..=(r.store, u16::MAX));
            workers.any(|(_, damaged)| damaged.contains(&(descriptor.range, r.replica)))
        };
        descriptor.replicas.iter().filter(is_damaged).map(|r| r.replica).collect()
    }

    fn store_view(&self, record: &StoreRecord, asked_at: Moment, now: Moment) -> StoreView {
        let silent_since = Some(self.lost.get(&record.store).copied().unwrap_or(self.since));
        let leaving = record.is_leaving();
        let silent = StoreView { alive: false, silent_since, leaving, ..StoreView::alive_at(record.site.clone()) };
        let Some(known) = self.stores.get(&record.store) else { return silent };
        let report = &known.report;
        let alive = now.since(known.last_at) < SILENT_AFTER;
        // Stores that were there from the beginning need not settle again because the planner changed.
        let old = known.first_at <= self.since.after(SILENT_AFTER);
        StoreView {
            site: record.site.clone(),
            alive,
            is_confirmed: known.first_at <= asked_at,
            silent_since: (!alive).then_some(known.last_at),
            alive_since: (alive && !old).then_some(known.first_at),
            draining: report.draining,
            leaving,
            capacity_millicores: u64::from(report.cores.max(1)) * 1_000,
            used_millicores: report.used_millicores,
            disk_total_bytes: report.disk_total_bytes,
            disk_free_bytes: report.disk_free_bytes,
            disk_ok: report.disk_ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_placement::MoveLimits;
    use holdfast_types::{
        Incarnation, Key, KeyRange, KeyspaceId, RangeEpoch, Request, Role, SiteName, Term, Timestamp,
    };

    use super::*;
    use crate::core::report_parts::{Departing, ReportPart};

    fn descriptor() -> RangeDescriptor {
        let replica = |id| ReplicaDescriptor {
            replica: ReplicaId(id),
            store: StoreId(id),
            site: SiteName::new("a").unwrap(),
            role: Role::Voter,
        };
        RangeDescriptor {
            range: RangeId(7),
            bounds: KeyRange::all(),
            epoch: RangeEpoch::default(),
            replicas: vec![replica(1), replica(2)],
            next_replica: ReplicaId(3),
        }
    }

    fn says(store: u64) -> StoreReport {
        StoreReport {
            store: StoreId(store),
            site: SiteName::new("a").unwrap(),
            incarnation: Incarnation(1),
            worker: 0,
            workers: 1,
            disk_total_bytes: 0,
            disk_free_bytes: 0,
            disk_ok: true,
            cores: 1,
            used_millicores: 0,
            replicas: 0,
            draining: false,
            directory_version: 0,
            ranges: Vec::new(),
            damaged: Vec::new(),
            part: ReportPart::WHOLE,
        }
    }

    fn record(store: u64, forgotten_at: Option<Timestamp>) -> StoreRecord {
        StoreRecord {
            joined_at: Timestamp(1),
            forgotten_at,
            ..StoreRecord::new(StoreId(store), SiteName::new("a").unwrap())
        }
    }

    #[test]
    fn a_store_that_is_heard_again_gets_no_replica_before_its_record_was_read_again() {
        let at = |seconds| Moment::ZERO.after(Duration::from_secs(seconds));
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        let takes_replicas = |facts: &Facts, read_at, now| {
            let view = facts.known.view((&[record(4, None)], read_at), now);
            (view.is_alive(StoreId(4)), view.takes_replicas(StoreId(4), &MoveLimits::default()))
        };
        facts.report(says(4), at(1));
        assert!(!facts.has_newcomers(at(1)));
        assert_eq!(takes_replicas(&facts, at(1), at(2)), (true, true));
        facts.report(says(4), at(20));
        assert!(facts.has_newcomers(at(19)));
        assert_eq!(takes_replicas(&facts, at(19), at(21)), (true, false), "it may have been forgotten in between");
        assert_eq!(takes_replicas(&facts, at(20), at(21)), (true, true));
    }

    #[test]
    fn forgotten_stores_are_no_part_of_the_fleet() {
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        for store in [3, 4] {
            facts.report(says(store), Moment(1));
        }
        let records = [record(3, None), record(4, Some(Timestamp(7)))];
        let view = facts.known.view((&records, Moment(2)), Moment(2));
        assert_eq!(view.stores.keys().map(|store| store.0).collect::<Vec<_>>(), [3]);
        assert!(view.is_lost(StoreId(4), &MoveLimits::default()), "what it holds is replaced without a wait");
    }

    #[test]
    fn of_stores_that_somebody_made_up_a_few_are_remembered() {
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        (100..10_000).for_each(|id| facts.note_stranger(StoreId(id)));
        assert_eq!((facts.strangers.len(), facts.known.stores.len()), (limits::UNPROVED_STORES, 0));
        assert!(facts.has_strangers(&BTreeMap::new()));
        let on_record = facts.strangers.iter().map(|store| (*store, record(store.0, None))).collect();
        assert!(!facts.has_strangers(&on_record), "their records are read by now");
    }

    #[test]
    fn a_range_is_led_by_one_of_its_replicas() {
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        let later = RangeReport { term: Term(1 << 40), ..leads(7) };
        facts.report(StoreReport { ranges: vec![leads(7)], ..says(1) }, Moment(1));
        facts.report(StoreReport { ranges: vec![later.clone(), leads(8)], ..says(3) }, Moment(2));
        assert_eq!(facts.known.ranges.keys().collect::<Vec<_>>(), [&RangeId(7)]);
        assert_eq!(facts.known.ranges[&RangeId(7)].leader, StoreId(1));
        facts.report(StoreReport { ranges: vec![later], ..says(2) }, Moment(3));
        assert_eq!(facts.known.ranges[&RangeId(7)].leader, StoreId(2));
    }

    #[test]
    fn reports_that_never_come_to_their_end_do_not_add_up() {
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        // Keys that share their bytes: what is counted is what they take in messages.
        let long = Key::bound(KeyspaceId(1), &vec![7; limits::REPORT_PART_BYTES / 2]);
        let bounds = KeyRange { end: Some(long.clone()), start: long };
        let wide = |id| RangeReport {
            descriptor: RangeDescriptor { bounds: bounds.clone(), ..leads(id).descriptor },
            ..leads(id)
        };
        let ranges = vec![wide(1)];
        let parts = limits::MAX_REPORT_PARTS;
        let part = |store, part| StoreReport {
            part: ReportPart { report: 1, part, parts },
            ranges: ranges.clone(),
            ..says(store)
        };
        for store in 1..=4 {
            for number in 0..parts / 2 {
                facts.report(part(store, number), Moment(store));
            }
        }
        let bytes = |store| facts.workers[&(StoreId(store), 0)].arriving.bytes();
        assert!((1..=4).map(bytes).sum::<usize>() <= limits::ARRIVING_REPORTS_BYTES);
        assert!(bytes(4) > 0 && bytes(1) == 0, "what began to come first is given up first");
    }

    fn leads(id: u64) -> RangeReport {
        RangeReport {
            descriptor: RangeDescriptor { range: RangeId(id), ..descriptor() },
            term: Term(5),
            has_lease: true,
            size_bytes: 0,
            reads_per_second: 0,
            writes_per_second: 0,
            write_bytes_per_second: 0,
            caught_up: vec![ReplicaId(1), ReplicaId(2)],
        }
    }

    /// Reports of a store whose ranges do not fit into one part, without the part at `lost`.
    fn hear(facts: &mut Facts, departing: &mut Departing, ranges: u64, lost: Option<u32>, now: Moment) -> u32 {
        let led = (1..=ranges).map(leads).collect();
        assert_eq!(departing.begin(Ranges { led, damaged: Vec::new() }, now), 0);
        let mut parts = 0;
        while let Some((part, ranges)) = departing.next_part() {
            parts = part.parts;
            if Some(part.part) != lost {
                facts.report(StoreReport { ranges: ranges.led, part, ..says(1) }, now);
            }
        }
        parts
    }

    #[test]
    fn a_report_that_lost_a_part_is_a_sign_of_life_and_says_nothing_of_ranges() {
        let at = |seconds| Moment::ZERO.after(Duration::from_secs(seconds));
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        let mut departing = Departing::default();
        let records = [record(1, None), record(2, None)];
        facts.report(says(2), at(1));
        let parts = hear(&mut facts, &mut departing, 3_000, Some(1), at(1));
        assert!(parts >= 3, "{parts} parts");
        assert_eq!(facts.awaited(at(1)), Some(StoreId(1)), "nobody knows what it leads");
        let view = facts.known.view((&records, at(1)), at(1));
        assert!(view.is_alive(StoreId(1)) && view.ranges.is_empty());

        hear(&mut facts, &mut departing, 3_000, None, at(2));
        assert_eq!(facts.awaited(at(2)), None);
        for second in 3..60 {
            facts.report(says(2), at(second));
            hear(&mut facts, &mut departing, 3_000, Some(parts - 1), at(second));
            let view = facts.known.view((&records, at(second)), at(second));
            let led = view.ranges.values().filter(|range| range.leader == Some(StoreId(1))).count();
            assert_eq!((led, view.is_alive(StoreId(1))), (3_000, true), "at {second} s");
        }
    }

    #[test]
    fn the_largest_figures_that_a_report_can_have_are_added_up() {
        let most = limits::MAX_REPORTED_RATE;
        let mut facts = Facts::new(BTreeMap::new(), Moment::ZERO);
        for term in 1..200 {
            let report = RangeReport {
                descriptor: descriptor(),
                term: Term(term),
                has_lease: true,
                size_bytes: limits::MAX_REPORTED_RANGE_BYTES,
                reads_per_second: most,
                writes_per_second: most,
                write_bytes_per_second: most,
                caught_up: vec![ReplicaId(1)],
            };
            facts.range_report(StoreId(1 + term % 2), report, Moment(term));
        }
        // What is left of former leaders adds to it, and a fleet has a million ranges.
        let RangeLoad { requests_millis_per_second, write_bytes_per_second } = facts.known.ranges[&RangeId(7)].load();
        for figure in [requests_millis_per_second, write_bytes_per_second, limits::MAX_REPORTED_RANGE_BYTES] {
            assert!(figure.checked_mul(1 << 20).is_some(), "{figure}");
        }
    }

    /// A range is read 1,000 times a second, whoever leads it.
    #[test]
    fn a_leadership_that_moves_brings_its_load_along() {
        let every = limits::REPORT_EVERY;
        let per_report = 1_000 * u64::try_from(every.as_millis()).unwrap() / 1_000;
        let (mut facts, mut now) = (Facts::new(BTreeMap::new(), Moment::ZERO), Moment::ZERO);
        let mut load = Load::since(now);
        let mut seen = Vec::new();
        // It moves when nobody has measured its load to the end yet, and back again soon.
        for (term, leader, reports) in [(5, 1, 40), (6, 2, 3), (7, 1, 40)] {
            if term > 5 {
                load = Load::since(now);
            }
            for _ in 0..reports {
                (0..per_report).for_each(|_| load.count(&Request::Get { keys: Vec::new(), at: None }));
                now = now.after(every);
                let rates = load.look(now);
                let report = RangeReport {
                    descriptor: descriptor(),
                    term: Term(term),
                    has_lease: true,
                    size_bytes: 0,
                    reads_per_second: rates.reads,
                    writes_per_second: 0,
                    write_bytes_per_second: 0,
                    caught_up: vec![ReplicaId(1)],
                };
                facts.range_report(StoreId(leader), report, now);
                let known = &facts.known.ranges[&RangeId(7)];
                seen.push((known.load().requests_millis_per_second / 1_000, known.led_since));
            }
        }
        let measured = &seen[20..];
        let steady = measured.iter().all(|(load, _)| (980..=1_020).contains(load));
        assert!(steady, "{measured:?}");
        assert_eq!(seen[39].1, None, "for as long as anyone remembers");
        let moved = |at: usize| Some(Moment::ZERO.after(every * u32::try_from(at + 1).unwrap()));
        assert_eq!((seen[42].1, seen[82].1), (moved(40), moved(43)));
    }
}
