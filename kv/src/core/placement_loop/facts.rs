//! What stores report, put together to the fleet as the planner sees it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_placement::view::StoreView;
use holdfast_placement::{FleetView, RangeLoad, RangeView, SiteTrust, StoreRecord};
use holdfast_types::{Moment, RangeDescriptor, RangeId, ReplicaDescriptor, ReplicaId, SiteName, StoreId, limits};

use crate::core::load::Load;
use crate::core::message::{RangeReport, StoreReport};
use crate::core::report_parts::{Arriving, Ranges};

use super::intake::{Intake, Next, WorkerName};

/// A store that has not reported for this long counts as silent: three reports, and one more for the way.
const SILENT_AFTER: Duration = limits::REPORT_EVERY.saturating_mul(4);

/// Ranges of reports that are taken in in one round.
pub(super) const TAKEN_PER_ROUND: usize = 1_024;

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
    workers: BTreeMap<WorkerName, WorkerFacts>,
    /// Reports of which all parts are there.
    intake: Intake,
    /// Damaged replicas of the report that is taken in.
    damaged: Damaged,
    /// What may still be taken in this round.
    takes: usize,
    /// A plan is due: no other report is begun with before it has begun.
    plan_waits: bool,
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
    /// None where nothing is damaged.
    damaged: BTreeMap<WorkerName, Arc<Damaged>>,
    /// Sites whose stores count as lost, whatever they report.
    distrusted: BTreeSet<SiteName>,
}

/// What one worker of a store reported.
#[derive(Default, Debug)]
struct WorkerFacts {
    arriving: Arriving,
    /// When the first part came of what is arriving.
    arriving_since: Moment,
    /// A report of it was whole, and all of it is taken in.
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
        let known = Known { since: now, lost, stores, ranges, damaged, distrusted: BTreeSet::new() };
        Self {
            known,
            strangers: BTreeSet::new(),
            workers: BTreeMap::new(),
            intake: Intake::default(),
            damaged: Damaged::new(),
            takes: TAKEN_PER_ROUND,
            plan_waits: false,
            unwritten: BTreeSet::new(),
        }
    }

    /// A round begins: goes on with what waits to be taken in. Returns how many ranges that were.
    pub(super) fn begin_round(&mut self) -> usize {
        self.takes = TAKEN_PER_ROUND;
        self.take_in();
        TAKEN_PER_ROUND - self.takes
    }

    /// What was said of sites.
    pub(super) fn distrust(&mut self, sites: &[SiteTrust]) {
        self.known.distrusted = holdfast_placement::trust::distrusted(sites);
    }

    /// True when reports wait to be taken in.
    pub(super) fn has_more(&self) -> bool {
        !self.intake.is_over() && (self.intake.is_in_the_middle() || !self.plan_waits)
    }

    /// A plan is due. False: of some report a part of the ranges is as it says, and the others are as they were before; the plan waits for
    /// its end, and the other reports wait for the plan.
    pub(super) fn may_begin_plan(&mut self) -> bool {
        self.plan_waits = self.intake.is_in_the_middle();
        !self.plan_waits
    }

    /// Takes in whole reports, as far as this round may.
    fn take_in(&mut self) {
        while self.takes > 0
            && self.has_more()
            && let Some(next) = self.intake.next()
        {
            match next {
                Next::Led(leader, report, at) => {
                    self.takes -= 1;
                    self.range_report(leader, report, at);
                }
                Next::Damaged(damaged) => {
                    self.takes -= 1;
                    self.damaged.insert(damaged);
                }
                Next::End(name) => {
                    let damaged = std::mem::take(&mut self.damaged);
                    // A store may have fewer workers by now.
                    let Some(worker) = self.workers.get_mut(&name) else { continue };
                    worker.is_known = true;
                    if damaged.is_empty() {
                        self.known.damaged.remove(&name);
                    } else {
                        self.known.damaged.insert(name, Arc::new(damaged));
                    }
                }
            }
        }
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
            self.intake.add(name, whole, now);
        }
        self.take_in();
        self.bound_arriving();
        self.workers.retain(|(store, worker), _| *store != leader || *worker < workers);
        self.known.damaged.retain(|(store, worker), _| *store != leader || *worker < workers);
        self.known.stores.insert(leader, StoreFacts { report, first_at, last_at: now });
    }

    /// Reports that never come to their end do not add up, with those that wait to be taken in.
    fn bound_arriving(&mut self) {
        while self.workers.values().map(|worker| worker.arriving.bytes()).sum::<usize>() + self.intake.bytes()
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
        let is_heard = |known: &StoreFacts| {
            now.since(known.last_at) < SILENT_AFTER && !self.known.distrusted.contains(&known.report.site)
        };
        let alive = stores.iter().filter(|(_, known)| is_heard(known));
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
        view.distrust(&self.distrusted);
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
            distrusted: false,
        }
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
