//! Reports to placement, and the placement loop itself where the system range is led.
//!
//! Every worker reports to the worker of its own store that the system range falls to; that one passes reports on to the leader.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_placement::SiteTrust;
use holdfast_replica::StoreView;
use holdfast_types::{LogIndex, Moment, RangeId, StoreId, limits};

use super::{Cx, Held, Worker};
use crate::core::desk::{Asked, Origin};
use crate::core::effect::Effect;
use crate::core::load::Rates;
use crate::core::message::{RangeHint, RangeReport, StoreMessage, StoreReport};
use crate::core::permit::Permitted;
use crate::core::placement_loop::{PlacementTask, Planned};
use crate::core::records::{decode_store, encode_store};
use crate::core::report_parts::{Ranges, ReportPart};
use crate::core::rights::Asker;
use crate::core::routing::worker_of;

/// A follower with fewer entries to go than this has caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;
/// Whoever answers a report does so within this time, or is asked again.
const ANSWERED_WITHIN: Duration = limits::REPORT_EVERY.saturating_mul(20);

impl Held {
    /// What is reported of a range that is led here.
    fn report(&self, range: RangeId, rates: Rates, view: &StoreView<'_>) -> RangeReport {
        let status = self.replica.status(view);
        let near = |matched: LogIndex| matched.0 + CAUGHT_UP_ENTRIES >= status.last.0 && matched.0 > 0;
        let others = status.matched.iter().filter(|(_, matched)| near(*matched)).map(|(id, _)| *id);
        debug_assert_eq!(self.standing.descriptor.range, range);
        RangeReport {
            descriptor: self.standing.descriptor.clone(),
            term: self.standing.term,
            has_lease: status.lease,
            size_bytes: self.size_bytes,
            reads_per_second: rates.reads,
            writes_per_second: rates.writes,
            write_bytes_per_second: rates.write_bytes,
            caught_up: others.chain([self.id]).collect(),
        }
    }
}

impl Worker {
    pub(super) fn report(&mut self, cx: &Cx<'_>) {
        if self.report_at > cx.now {
            return;
        }
        self.report_at = cx.now.after(limits::REPORT_EVERY);
        self.heard.retain(|_, at| cx.now.since(*at) < limits::MAX_DEADLINE);
        self.reported_to.retain(|_, at| cx.now.since(*at) < ANSWERED_WITHIN);
        if self.support.clock_ahead_ms.is_some() {
            // What came back, or could not be handed over before.
            self.yield_all();
        }
        if self.disk_full || self.preparing {
            self.yield_to_willing();
        }
        self.probe_silent(cx);
        self.raise_thresholds(cx);
        self.ask_for_damaged(cx);
        self.install_again();
        let has_placement = worker_of(RangeId::SYSTEM, self.config.workers) == self.config.worker;
        if has_placement {
            let leads = self.held.get(&RangeId::SYSTEM).is_some_and(|held| held.standing.leads);
            self.placement.set_leads(leads, &self.support.lost, cx.now);
        }
        self.begin_report(cx);
        let mut parts: Vec<_> = (0..limits::REPORT_PARTS_AT_A_TIME).map_while(|_| self.departing.next_part()).collect();
        if parts.is_empty() {
            parts.push((self.departing.sign_of_life(), Ranges::default()));
        }
        for (part, ranges) in parts {
            let report = self.make_report(part, ranges);
            if has_placement {
                self.pass_report(report, cx);
            } else {
                self.send(self.config.store, StoreMessage::Report(Box::new(report)));
            }
        }
        if has_placement {
            let tasks = self.placement.tick(cx.now);
            self.do_placement_tasks(tasks, cx);
        }
    }

    /// Begins to look at all ranges, once all of the last look has left, and as much time as it is long is over.
    fn begin_report(&mut self, cx: &Cx<'_>) {
        if self.gathered_up_to.is_none() && self.departing.may_begin(cx.now) {
            self.gathered_up_to = Some(Bound::Unbounded);
            self.gather(cx);
        }
    }

    /// Looks at ranges for the next report, as far as this round may. True when it has looked at all now, and the report may leave.
    pub(super) fn gather(&mut self, cx: &Cx<'_>) -> bool {
        let Some(behind) = self.gathered_up_to else { return false };
        let view = Self::view(&self.support, self.own(), cx);
        for (range, held) in self.held.range_mut((behind, Bound::Unbounded)) {
            if !self.walks.may_look(&mut self.round) {
                return false;
            }
            self.gathered_up_to = Some(Bound::Excluded(*range));
            let rates = held.load.look(cx.now);
            if held.standing.leads {
                self.departing.gather(held.report(*range, rates, &view));
            }
        }
        self.gathered_up_to = None;
        let left_out = self.departing.begin(Ranges { led: Vec::new(), damaged: self.damaged_replicas() }, cx.now);
        if left_out > 0 && !self.reports_cut {
            let most = limits::MAX_REPORT_PARTS;
            let what = format!(
                "{left_out} ranges of this worker are not reported to placement: what it leads does not fit into {most} parts of a report"
            );
            self.out.push(Effect::Alarm { range: None, what });
        }
        self.reports_cut = left_out > 0;
        true
    }

    fn make_report(&self, part: ReportPart, ranges: Ranges) -> StoreReport {
        StoreReport {
            store: self.config.store,
            site: self.config.site.clone(),
            incarnation: self.config.incarnation,
            worker: self.config.worker,
            workers: self.config.workers,
            disk_total_bytes: self.measured.disk_total_bytes,
            disk_free_bytes: self.measured.disk_free_bytes,
            disk_ok: !self.measured.disk_stalls && !self.disk_full && self.support.clock_ahead_ms.is_none(),
            cores: self.measured.cores,
            used_millicores: self.measured.used_millicores,
            replicas: self.held.len() as u64,
            draining: self.retiring || self.preparing,
            directory_version: self.placement.directory().0,
            ranges: ranges.led,
            damaged: ranges.damaged,
            part,
        }
    }

    /// Takes a report in where the system range is led, else sends it there.
    fn pass_report(&mut self, mut report: StoreReport, cx: &Cx<'_>) {
        // The answer comes to this worker, whichever reports: it is told only what is news here.
        report.directory_version = self.placement.directory().0;
        if self.placement.leads() {
            return self.take_facts(report, cx);
        }
        if let Some(to) = self.placement_store(cx.now) {
            self.reported_to.insert(to, cx.now);
            self.send(to, StoreMessage::Report(Box::new(report)));
        }
    }

    /// What leaders report tells placement how they do, and everybody here where they are.
    fn take_facts(&mut self, mut report: StoreReport, cx: &Cx<'_>) {
        if !self.knows(report.store) {
            // Placement looks whether it is on record by now.
            report.ranges.clear();
        }
        let leader = Some(report.store);
        let hint = |r: &RangeReport| RangeHint { descriptor: r.descriptor.clone(), term: r.term, leader };
        let hints = report.ranges.iter().map(hint).collect();
        self.placement.report(report, cx.now);
        self.learn(hints, cx);
    }

    /// The store that leads the system range, or one that may know who does.
    fn placement_store(&mut self, now: Moment) -> Option<StoreId> {
        let me = self.config.store;
        let lives = |store: &StoreId| *store != me && !self.support.lost.contains_key(store);
        let known = self.map.get(RangeId::SYSTEM);
        if let Some(leader) = known.filter(|found| found.own).and_then(|found| found.leader).filter(lives) {
            return Some(leader);
        }
        // Good for one round of reports, of all workers: an answer to any of them says so again, and silence means that another
        // store must be asked.
        match self.placement_at {
            Some((leader, asked_at))
                if lives(&leader) && asked_at.is_none_or(|at| now.since(at) < limits::REPORT_EVERY) =>
            {
                self.placement_at = Some((leader, asked_at.or(Some(now))));
                return Some(leader);
            }
            _ => self.placement_at = None,
        }
        let replicas = known.into_iter().flat_map(|found| &found.descriptor.replicas).map(|r| r.store).filter(lives);
        let mut candidates: Vec<_> = replicas.collect();
        if candidates.is_empty() {
            candidates = self.stores_to_ask();
        }
        self.asked_placement = self.asked_placement.wrapping_add(1);
        (!candidates.is_empty()).then(|| candidates[self.asked_placement % candidates.len()])
    }

    pub(super) fn take_report(&mut self, from: StoreId, report: StoreReport, cx: &Cx<'_>) {
        if from == self.config.store {
            return self.pass_report(report, cx);
        }
        // A store reports of itself; who it is its connection has said.
        if report.store != from {
            return;
        }
        // One part asks for all: what is lost is asked for again with the next report.
        let asks = report.part.part == 0 || report.part.is_sign_of_life();
        let known = report.directory_version;
        let leads = self.placement.leads();
        if leads {
            self.take_facts(report, cx);
        }
        let me = self.config.store;
        let heard = || self.map.get(RangeId::SYSTEM).and_then(|found| found.leader);
        let told = || self.placement_at.map(|(leader, _)| leader);
        let leader = if leads { Some(me) } else { heard().or_else(told) };
        let (version, stores) = self.placement.directory();
        let directory = if version == known || !asks {
            Vec::new()
        } else {
            stores.iter().map(|record| encode_store(&record.told())).collect()
        };
        let sites = if asks { self.placement.sites().to_vec() } else { Vec::new() };
        let message = StoreMessage::ReportAnswer { leader, directory_version: version, directory, sites };
        self.send(from, message);
    }

    /// A list of stores says which of them are no more, and what it says of this store ends it for good: nobody's word counts who was
    /// not asked.
    pub(super) fn report_answered(
        &mut self,
        from: StoreId,
        leader: Option<StoreId>,
        version: u64,
        directory: &[Bytes],
        sites: Vec<SiteTrust>,
    ) {
        if !self.reported_to.contains_key(&from) {
            return;
        }
        if let Some(leader) = leader {
            self.map.note_leader(RangeId::SYSTEM, leader);
            self.placement_at = Some((leader, None));
        }
        let stores: Vec<_> = directory.iter().filter_map(|bytes| decode_store(bytes).ok()).collect();
        if stores.len() == directory.len() && self.placement.learn_directory(version, stores) {
            self.tell_directory();
        }
        if self.placement.learn_sites(sites) {
            self.out.push(Effect::Sites(Arc::clone(self.placement.sites())));
        }
    }

    fn tell_directory(&mut self) {
        let stores = Arc::clone(self.placement.directory().1);
        self.set_directory(Arc::clone(&stores));
        self.out.push(Effect::Directory(stores));
    }

    pub(super) fn planned(&mut self, planned: Planned, cx: &Cx<'_>) {
        let tasks = self.placement.planned(planned);
        self.do_placement_tasks(tasks, cx);
    }

    fn do_placement_tasks(&mut self, tasks: Vec<PlacementTask>, cx: &Cx<'_>) {
        let deadline = cx.now.after(limits::DEFAULT_DEADLINE);
        for task in tasks {
            let (call, asked) = match task {
                PlacementTask::Ask { call, request } => match Permitted::check(request, &Asker::fleet()) {
                    Ok(request) => (call, Asked::Data(request)),
                    Err(rejected) => {
                        self.placement.answered(call, Err(rejected), cx.now);
                        continue;
                    }
                },
                PlacementTask::Admin { call, range, request } => (call, Asked::Admin(range, request)),
                PlacementTask::Plan(task) => {
                    self.out.push(Effect::Plan(task));
                    continue;
                }
                PlacementTask::Directory(_) => {
                    self.tell_directory();
                    continue;
                }
                PlacementTask::Sites(sites) => {
                    self.out.push(Effect::Sites(sites));
                    continue;
                }
                PlacementTask::Complain(what) => {
                    self.out.push(Effect::Alarm { range: Some(RangeId::SYSTEM), what });
                    continue;
                }
                PlacementTask::Tell(news) => {
                    self.out.push(Effect::Placement(news));
                    continue;
                }
            };
            match self.shared.admission.admit(0) {
                Ok(()) => self.open_and_route(Origin::Placement(call), asked, deadline, 0, 0, cx),
                Err(rejected) => self.placement.answered(call, Err(rejected), cx.now),
            }
        }
    }
}
