//! Placement as it runs: on the store that leads the system range, fed by the reports of all stores.
//!
//! ```text
//! reports ─▶ facts of stores and ranges ─▶ FleetView ─▶ plan ─▶ first step of each operator ─▶ its range's leader
//!                                          (on a thread of its own)
//! system range ◀── records of stores, policies, descriptors (requests like any client's)
//! ```
//!
//! Without it stores keep serving, electing and splitting. A new leader of the system range begins with nothing but the records,
//! waits until every store had time to report, and finds in the descriptors what its predecessor left half done.

mod facts;
mod intake;
mod planning;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_placement::{FleetView, Operator, Policies, SiteTrust, SplitPoint, Step, StoreRecord};
use holdfast_replica::{AdminRequest, MembershipChange};
use holdfast_types::{Key, Moment, RangeId, RangeRequest, Rejected, Response, StoreId, limits};

use self::facts::Facts;
use self::records::Records;
use super::effect::{AdminOutcome, PlacementNews};
use super::message::StoreReport;

pub use self::planning::{PlanTask, Planned};

/// Administrative steps of operators on their way at a time.
const MAX_STEPS: usize = 64;
/// How often the loss of each site is played through: it looks at every range.
const HEADROOM_EVERY: Duration = Duration::from_secs(2);
/// Reports that every store can send before the first plan of a new leader.
const REPORTS_BEFORE_PLAN: u32 = 3;
/// For each so many ranges a plan is made one report later: it takes the longer the more there are, and so does what it changes.
const RANGES_PER_DELAY: usize = 10_000;

/// What the placement loop asks of its worker.
#[derive(Clone, Debug)]
pub enum PlacementTask {
    /// Ask the system range.
    Ask {
        /// Comes back.
        call: u64,
        /// What.
        request: RangeRequest,
    },
    /// Ask the leader of a range.
    Admin {
        /// Comes back.
        call: u64,
        /// Which range.
        range: RangeId,
        /// What.
        request: AdminRequest,
    },
    /// Make a plan, off the worker; it comes back to [`PlacementLoop::planned`].
    Plan(Box<PlanTask>),
    /// The stores of the fleet are others than before.
    Directory(Arc<Vec<StoreRecord>>),
    /// Other things were said of sites than before.
    Sites(Arc<Vec<SiteTrust>>),
    /// Something is wrong with a record of the system range.
    Complain(String),
    /// Tell whoever looks at the fleet.
    Tell(PlacementNews),
}

/// The placement loop of one worker; asleep on all but the leader of the system range.
#[derive(Debug)]
pub struct PlacementLoop {
    store: StoreId,
    next_call: u64,
    leading: Option<Leading>,
    directory: Arc<Vec<StoreRecord>>,
    directory_version: u64,
    /// What was said of the sites that were distrusted once.
    sites: Arc<Vec<SiteTrust>>,
    policies: Policies,
}

#[derive(Debug)]
struct Leading {
    since: Moment,
    plan_at: Moment,
    /// The plan that is being made. Until it is there, or for ever if its leadership ends, none is begun.
    planning: Option<u64>,
    /// It has begun to plan.
    planned: bool,
    facts: Facts,
    records: Records,
    in_flight: BTreeMap<RangeId, Operator>,
    steps: BTreeMap<u64, RangeId>,
    told: Told,
    headroom_at: Moment,
}

/// What was told of operators: one that is refused and planned again and again is told of once.
#[derive(Default, Debug)]
struct Told {
    last: BTreeMap<RangeId, String>,
    open: BTreeSet<RangeId>,
    news: Vec<PlacementNews>,
}

impl Told {
    fn begun(&mut self, range: RangeId, operator: &Operator) {
        let what = operator.to_string();
        if self.last.get(&range) != Some(&what) {
            self.last.insert(range, what.clone());
            self.open.insert(range);
            self.news.push(PlacementNews::Begun { range, what });
        }
    }

    fn ended(&mut self, range: RangeId, why_not: Option<String>) {
        let what = if why_not.is_none() { self.last.remove(&range) } else { self.last.get(&range).cloned() };
        if self.open.remove(&range) {
            self.news.push(PlacementNews::Ended { range, what: what.unwrap_or_default(), why_not });
        }
    }
}

impl PlacementLoop {
    /// A loop that does not lead.
    #[must_use]
    pub fn new(store: StoreId) -> Self {
        Self {
            store,
            next_call: 0,
            leading: None,
            directory: Arc::default(),
            directory_version: 0,
            sites: Arc::default(),
            policies: Policies::default(),
        }
    }

    /// True while it plans.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leading.is_some()
    }

    /// All stores of the fleet, also those that were forgotten, and the version of that list; 0: not known.
    #[must_use]
    pub fn directory(&self) -> (u64, &Arc<Vec<StoreRecord>>) {
        (self.directory_version, &self.directory)
    }

    /// Takes in the directory that the leader of the system range told. True when it is another one.
    pub fn learn_directory(&mut self, version: u64, stores: Vec<StoreRecord>) -> bool {
        let new = version != self.directory_version && !stores.is_empty();
        if new {
            self.directory_version = version;
            self.directory = Arc::new(stores);
        }
        new
    }

    /// What was said of the sites that were distrusted once.
    #[must_use]
    pub fn sites(&self) -> &Arc<Vec<SiteTrust>> {
        &self.sites
    }

    /// Takes in what the leader of the system range told of sites. True when it is something else than before.
    pub fn learn_sites(&mut self, sites: Vec<SiteTrust>) -> bool {
        // Whoever leads it by itself has read the records.
        let new = self.leading.is_none() && !sites.is_empty() && sites != *self.sites;
        if new {
            self.sites = Arc::new(sites);
        }
        new
    }

    /// Whether this worker leads the system range now; `lost`: stores that it knows to be silent, and since when.
    pub fn set_leads(&mut self, leads: bool, lost: &BTreeMap<StoreId, Moment>, now: Moment) {
        if leads && self.leading.is_none() {
            self.leading = Some(Leading {
                since: now,
                plan_at: now.after(limits::REPORT_EVERY * REPORTS_BEFORE_PLAN),
                planning: None,
                planned: false,
                facts: Facts::new(lost.clone(), now),
                records: Records::default(),
                in_flight: BTreeMap::new(),
                steps: BTreeMap::new(),
                told: Told::default(),
                headroom_at: now,
            });
        } else if !leads {
            self.leading = None;
        }
    }

    /// The policies to plan by, when they are others than the defaults.
    pub fn set_policies(&mut self, policies: Policies) {
        self.policies = policies;
    }

    /// Takes in a report.
    pub fn report(&mut self, report: StoreReport, now: Moment) {
        if let Some(leading) = &mut self.leading {
            let is_member = |store: &StoreRecord| store.store == report.store;
            match leading.records.has_store(report.store).unwrap_or_else(|| self.directory.iter().any(is_member)) {
                true => leading.facts.report(report, now),
                false => leading.facts.note_stranger(report.store),
            }
        }
    }

    /// A round of its worker begins: goes on with reports that are not taken in yet. Returns how many ranges of them it took in.
    pub fn begin_round(&mut self) -> usize {
        self.leading.as_mut().map_or(0, |leading| leading.facts.begin_round())
    }

    /// True when reports wait to be taken in, so that another round should follow.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.facts.has_more())
    }

    /// A question to the system range was answered.
    pub fn answered(&mut self, call: u64, outcome: Result<Response, Rejected>, now: Moment) {
        let Some(leading) = &mut self.leading else { return };
        if leading.steps.contains_key(&call) {
            // An administrative step that was refused on its way.
            let refused = outcome.err().unwrap_or_else(|| Rejected::Ambiguous("answered like a read".into()));
            return self.admin_answered(call, Err(refused));
        }
        leading.records.answered(call, outcome, now);
    }

    /// A step was taken, or refused: then it is planned again.
    pub fn admin_answered(&mut self, call: u64, outcome: Result<AdminOutcome, Rejected>) {
        let Some(leading) = &mut self.leading else { return };
        let Some(range) = leading.steps.remove(&call) else { return };
        match outcome {
            Ok(done) => leading.facts.changed(done.descriptor),
            Err(why) => {
                tracing::debug!(%range, %why, "a step of placement was not taken");
                leading.in_flight.remove(&range);
                leading.told.ended(range, Some(why.to_string()));
            }
        }
    }

    /// A plan was made. It counts if it is the one that this leadership waits for.
    pub fn planned(&mut self, planned: Planned) -> Vec<PlacementTask> {
        let Some(leading) = self.leading.as_mut().filter(|leading| leading.planning == Some(planned.call)) else {
            return Vec::new();
        };
        leading.planning = None;
        let mut tasks = leading.carry_out(&mut self.next_call, planned);
        tasks.extend(leading.told.news.drain(..).map(PlacementTask::Tell));
        tasks
    }

    /// Time has come: reads records, writes what changed, and has a plan made.
    pub fn tick(&mut self, now: Moment) -> Vec<PlacementTask> {
        let mut tasks = Vec::new();
        let Some(leading) = &mut self.leading else { return tasks };
        tasks.extend(leading.records.tick(&mut self.next_call, &mut leading.facts, now));
        if let Some((version, stores)) = leading.records.take_directory() {
            self.directory_version = version;
            self.directory = Arc::new(stores);
            tasks.push(PlacementTask::Directory(Arc::clone(&self.directory)));
        }
        if let Some(sites) = leading.records.take_sites() {
            leading.facts.distrust(&sites);
            if *self.sites != sites {
                self.sites = Arc::new(sites);
                tasks.push(PlacementTask::Sites(Arc::clone(&self.sites)));
            }
        }
        let is_due = leading.plan_at <= now && leading.planning.is_none() && leading.facts.may_begin_plan();
        if is_due && leading.records.are_known() && leading.may_plan(now) {
            let delays =
                u32::try_from(leading.facts.ranges() / RANGES_PER_DELAY).expect("there are at most MAX_RANGES");
            leading.plan_at = now.after(limits::REPORT_EVERY * (1 + delays));
            self.next_call += 1;
            leading.planning = Some(self.next_call);
            let policies = leading.records.policies(&self.policies);
            let task = leading.plan(self.next_call, &self.directory, policies, now);
            tasks.push(PlacementTask::Plan(Box::new(task)));
        }
        tasks.extend(leading.records.take_complaints().into_iter().map(PlacementTask::Complain));
        tasks.extend(leading.told.news.drain(..).map(PlacementTask::Tell));
        tasks
    }

    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let Some(leading) = &self.leading else { return format!("{}: does not plan", self.store) };
        let operators: Vec<_> = leading.in_flight.values().map(ToString::to_string).collect();
        format!("{}: plans since {:?}; {}", self.store, leading.since, operators.join("; "))
    }
}

impl Leading {
    /// Ranges of which nothing is known look as if they were not there, and would be left out of every sum: whoever begins to plan waits
    /// for whole reports of the stores that live, though not for ever.
    fn may_plan(&mut self, now: Moment) -> bool {
        let Some(store) = self.facts.awaited(now).filter(|_| !self.planned) else {
            self.planned = true;
            return true;
        };
        self.planned = now.since(self.since) >= limits::PLAN_WITHOUT_REPORTS_AFTER;
        if self.planned {
            let so_long = limits::PLAN_WITHOUT_REPORTS_AFTER.as_secs();
            self.records
                .complain(format!("no report of {store} was whole for {so_long} s: it is planned without its ranges"));
        }
        self.planned
    }

    fn plan(&mut self, call: u64, stores: &Arc<Vec<StoreRecord>>, policies: Policies, now: Moment) -> PlanTask {
        let stores_asked_at = self.records.stores_asked_at();
        let ranges = self.in_flight.keys().copied();
        let view = self.facts.known().view_of(ranges, (stores, stores_asked_at), now);
        self.drop_ended(&view, now);
        let asks_headroom = self.headroom_at <= now;
        if asks_headroom {
            self.headroom_at = now.after(HEADROOM_EVERY);
        }
        PlanTask {
            call,
            known: self.facts.known().clone(),
            stores: Arc::clone(stores),
            stores_asked_at,
            policies,
            in_flight: self.in_flight.clone(),
            asks_headroom,
            now,
        }
    }

    fn carry_out(&mut self, next_call: &mut u64, planned: Planned) -> Vec<PlacementTask> {
        let mut tasks = Vec::new();
        for operator in planned.operators {
            let range = operator.range;
            // It was planned for the fleet as it was a moment ago.
            let is_as_planned = self.facts.descriptor(range).is_some_and(|now| now.epoch == operator.epoch);
            if !is_as_planned || self.in_flight.contains_key(&range) || self.steps.len() >= MAX_STEPS {
                continue;
            }
            let Some(request) = operator.steps.first().map(request_of) else { continue };
            *next_call += 1;
            tracing::info!(%range, %operator, "placement acts");
            self.steps.insert(*next_call, range);
            self.told.begun(range, &operator);
            self.in_flight.insert(range, operator);
            tasks.push(PlacementTask::Admin { call: *next_call, range, request });
        }
        self.told.news.extend(planned.headroom.map(PlacementNews::Headroom));
        tasks
    }

    /// Forgets operators whose first step is done or can no longer be expected to be.
    fn drop_ended(&mut self, view: &FleetView, now: Moment) {
        let told = &mut self.told;
        self.in_flight.retain(|range, operator| {
            let known = view.ranges.get(range);
            if known.is_some_and(|r| operator.is_current(r, now)) {
                return true;
            }
            let step = operator.steps.first();
            let done = known.zip(step).is_some_and(|(r, step)| step.is_finished(r, operator.epoch));
            let late = known.is_some_and(|r| operator.is_timed_out(r, now));
            let why_not = if late { "it was not done in time" } else { "the range has changed meanwhile" };
            told.ended(*range, (!done).then(|| why_not.to_owned()));
            false
        });
    }
}

/// A step as the range's leader is asked for it.
fn request_of(step: &Step) -> AdminRequest {
    match step {
        Step::AddLearner { store, site } => {
            AdminRequest::ChangeMembership(MembershipChange::AddLearner { store: *store, site: site.clone() })
        }
        Step::PromoteAndDemote { promote, demote } => AdminRequest::ChangeMembership(MembershipChange::Reconfigure {
            promote: promote.clone(),
            demote: demote.clone(),
        }),
        Step::RemoveLearner { replica } => {
            AdminRequest::ChangeMembership(MembershipChange::RemoveLearner { replica: *replica })
        }
        Step::TransferLeader { replica, .. } => AdminRequest::Transfer { to: *replica },
        Step::Split { at } => {
            let at = match at {
                SplitPoint::Key(key) => key.clone(),
                SplitPoint::Middle => Key::MIN,
            };
            AdminRequest::Split { at, right: RangeId(0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_placement::Reason;
    use holdfast_types::{RangeEpoch, ReplicaId};

    use super::*;

    fn transfer(to: u64) -> Operator {
        let step = Step::TransferLeader { replica: ReplicaId(to), store: StoreId(to) };
        let (range, epoch) = (RangeId(7), RangeEpoch::default());
        Operator { range, epoch, planned_at: Moment(1), reason: Reason::BalanceLeaders, steps: vec![step] }
    }

    fn kinds(told: &mut Told) -> Vec<(bool, bool)> {
        let kind = |news: PlacementNews| match news {
            PlacementNews::Begun { .. } => (true, false),
            PlacementNews::Ended { why_not, .. } => (false, why_not.is_none()),
            PlacementNews::Headroom(_) => panic!("nobody asked for it"),
        };
        told.news.drain(..).map(kind).collect()
    }

    #[test]
    fn an_operator_that_is_refused_again_and_again_is_told_of_once() {
        const BEGUN: (bool, bool) = (true, false);
        const DONE: (bool, bool) = (false, true);
        const NOT_DONE: (bool, bool) = (false, false);
        let (mut told, range) = (Told::default(), RangeId(7));
        for _ in 0..3 {
            told.begun(range, &transfer(2));
            told.ended(range, Some("refused".into()));
        }
        assert_eq!(kinds(&mut told), [BEGUN, NOT_DONE]);
        told.begun(range, &transfer(3));
        told.ended(range, None);
        assert_eq!(kinds(&mut told), [BEGUN, DONE], "another one is news");
        told.begun(range, &transfer(3));
        assert_eq!(kinds(&mut told), [BEGUN], "and so is one that was done before");
    }
}
