//! What the stores of a mock hold together: ranges, data, clock. Requests are evaluated and applied by the code of real stores;
//! only raft is left out, so that what is evaluated is committed at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_engine::DataEngine;
use holdfast_engine::memory::MemoryDisk;
use holdfast_replica::apply::{self, AppliedChange, ApplyTask, CommittedEntry, EntryKind};
use holdfast_replica::command::{Command, CommandBody, Completion, EvaluatedWrite, Split};
use holdfast_replica::evaluate::{self, Draft, Evaluation, EvaluationToken, FoundWhat, Unserved, serve_read};
use holdfast_replica::pipeline::{check_bounds, check_read};
use holdfast_replica::range_state::RangeState;
use holdfast_replica::reader::ReadFault;
use holdfast_replica::slots::request_hash;
use holdfast_types::{
    Hlc, Key, KeyRange, KeyspaceId, LeaderHint, Located, LogIndex, RangeDescriptor, RangeEpoch, RangeId, RangeRequest,
    Rejected, ReplicaDescriptor, ReplicaId, Request, Response, Role, SiteName, StoreId, Term, Timestamp, WriteAttempt,
    limits, validate,
};

use super::fault::{Fault, FaultKind, take};
use super::reader::View;

/// One store, as all of them know it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) store: StoreId,
    pub(super) site: SiteName,
    pub(super) address: String,
    /// Where clients are told that it is.
    pub(super) advertised: String,
    pub(super) lives: bool,
}

/// A range.
struct Range {
    state: RangeState,
    leader: StoreId,
    term: Term,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct MockStats {
    /// Attempts that arrived, faults included.
    pub calls: u64,
    /// Messages that carried them.
    pub messages: u64,
    /// Writes that were applied; a retry that found its record is not.
    pub applied: u64,
    /// Attempts that clients took back.
    pub cancelled: u64,
}

/// What is to become of a call.
pub(super) enum Fate {
    Answer(Result<Response, Rejected>),
    /// Serve it after a while.
    Later(Duration),
    /// End the stream.
    Break,
    /// Say nothing.
    Silence,
}

/// All that the stores of a mock share.
pub(super) struct MockData {
    engine: Arc<dyn DataEngine>,
    ranges: BTreeMap<Key, Range>,
    pub(super) members: Vec<Member>,
    pub(super) faults: Vec<Fault>,
    pub(super) stats: MockStats,
    clock: Hlc,
    epoch_ms: u64,
    start: Instant,
    advanced: Duration,
    last_range: u64,
    /// By name.
    pub(super) keyspaces: BTreeMap<String, KeyspaceId>,
}

impl MockData {
    /// One range over everything, led by the first of the members, with a voter on each.
    pub(super) fn new(members: Vec<Member>, epoch_ms: u64) -> Result<Self, String> {
        let engine: Arc<dyn DataEngine> = MemoryDisk::new().open_data().map_err(|fault| fault.to_string())?;
        let replicas = (1..).zip(&members).map(|(id, member)| ReplicaDescriptor {
            replica: ReplicaId(id),
            store: member.store,
            site: member.site.clone(),
            role: Role::Voter,
        });
        let replicas: Vec<ReplicaDescriptor> = replicas.collect();
        let descriptor = RangeDescriptor {
            range: RangeId(1),
            bounds: KeyRange::all(),
            epoch: RangeEpoch { membership: 1, bounds: 1 },
            next_replica: ReplicaId(replicas.len() as u64 + 1),
            replicas,
        };
        let state = RangeState {
            descriptor,
            applied: LogIndex(limits::FIRST_LOG_INDEX),
            applied_term: Term(limits::FIRST_LOG_TERM),
            gc_threshold: Timestamp::ZERO,
            last_timestamp: Timestamp::ZERO,
        };
        let leader = members.first().ok_or("a fleet has a store")?.store;
        let ranges = BTreeMap::from([(Key::MIN, Range { state, leader, term: Term(limits::FIRST_LOG_TERM) })]);
        Ok(Self {
            engine,
            ranges,
            members,
            faults: Vec::new(),
            stats: MockStats::default(),
            clock: Hlc::default(),
            epoch_ms,
            start: Instant::now(),
            advanced: Duration::ZERO,
            last_range: 1,
            keyspaces: BTreeMap::from([("default".to_owned(), KeyspaceId::DEFAULT)]),
        })
    }

    /// The wall clock of all stores.
    fn wall_ms(&self) -> u64 {
        let passed = self.start.elapsed() + self.advanced;
        self.epoch_ms.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Fleet time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.last().max(Timestamp::from_ms(self.wall_ms()))
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.advanced += by;
    }

    // ---- serving

    /// Decides what becomes of a call; serves it if that is to be now.
    pub(super) fn receive(&mut self, request: RangeRequest) -> Fate {
        self.stats.calls += 1;
        match take(&mut self.faults, &request.request) {
            None => Fate::Answer(self.serve(request)),
            Some(FaultKind::Delay(wait)) => Fate::Later(wait),
            Some(FaultKind::Reject(refusal)) => Fate::Answer(Err(refusal)),
            Some(FaultKind::NotLeader) => {
                let range = self.find(&request).map_or(RangeId(1), |range| range.state.descriptor.range);
                Fate::Answer(Err(Rejected::NotLeader { range, leader: None }))
            }
            Some(FaultKind::LoseRequest) => Fate::Break,
            Some(FaultKind::LoseAnswer) => {
                drop(self.serve(request));
                Fate::Break
            }
            Some(FaultKind::Hold) => Fate::Silence,
            Some(FaultKind::HoldAnswer) => {
                drop(self.serve(request));
                Fate::Silence
            }
            Some(FaultKind::Doubt) => Fate::Answer(match self.serve(request) {
                Ok(_) => Err(Rejected::Ambiguous("made so by the test".into())),
                refused => refused,
            }),
        }
    }

    /// Serves a request as the leader of its range would.
    pub(super) fn serve(&mut self, request: RangeRequest) -> Result<Response, Rejected> {
        validate(&request, limits::MAX_VALUE_BYTES)?;
        let now = self.now();
        let range = self.find(&request).ok_or(Rejected::WrongRange { known: Vec::new() })?;
        let descriptor = range.state.descriptor.clone();
        if request.request.is_write() {
            let checked = check_bounds(&request, &descriptor)
                .and_then(|()| request.write.as_ref().map_or(Ok(()), |write| check_last_moment(write, now)));
            return self.write(&descriptor, request, checked.err(), now).map_err(broken)?;
        }
        check_read(&request, &range.state)?;
        let asked = match &request.request {
            Request::Get { at, .. } | Request::Scan { at, .. } => *at,
            Request::Write { .. } | Request::DeleteRange { .. } => None,
        };
        if asked.is_some_and(|at| at > now.after(limits::MAX_CLOCK_OFFSET)) {
            let what = format!("the read's timestamp lies ahead of fleet time, which is {now}: read at an earlier one");
            return Err(Rejected::invalid(what));
        }
        self.read(&descriptor, &request.request, asked, now).map_err(broken)?
    }

    /// Serves a read; where the time decides, the range's time passes first.
    fn read(
        &mut self,
        descriptor: &RangeDescriptor,
        request: &Request,
        asked: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Result<Response, Rejected>, ReadFault> {
        let RangeDescriptor { bounds, .. } = descriptor;
        loop {
            let range = self.ranges.get(&bounds.start).ok_or_else(|| ReadFault::Damaged("the range is gone".into()))?;
            let reached = range.state.last_timestamp;
            let to = match asked.filter(|at| *at > reached) {
                Some(ahead) => ahead,
                None => {
                    let (at, now) = asked.map_or((reached, now), |at| (at, at));
                    match serve_read(request, bounds, &self.view(), at, now)? {
                        Ok(response) => return Ok(Ok(response)),
                        Err(Unserved::Refused(rejected)) => return Ok(Err(rejected)),
                        Err(Unserved::TimeMustPass { to }) => to,
                    }
                }
            };
            self.clock.observe(to);
            self.apply(&bounds.start, CommandBody::PassTime(to))?;
        }
    }

    fn write(
        &mut self,
        descriptor: &RangeDescriptor,
        request: RangeRequest,
        refused: Option<Rejected>,
        now: Timestamp,
    ) -> Result<Result<Response, Rejected>, ReadFault> {
        let RangeRequest { write, request, .. } = request;
        let completion = write.map(|write| Completion {
            client: write.id.client,
            slot: write.id.slot,
            sequence: write.id.sequence,
            last_moment: write.last_moment,
            request_hash: request_hash(&request),
        });
        let evaluation = Evaluation {
            token: EvaluationToken(0),
            range: descriptor.range,
            bounds: descriptor.bounds.clone(),
            now,
            settled: self.ranges.get(&descriptor.bounds.start).map_or(now, |range| range.state.last_timestamp),
            lookup: completion,
            refused,
            request,
        };
        let Draft { mutations, outcome, decided_at } = match evaluate::run(evaluation, &self.view()).found?.what {
            FoundWhat::Known(outcome) => return Ok(outcome),
            FoundWhat::Draft(draft) => draft,
        };
        let first_attempt = write.is_none_or(|write| write.attempt <= 1);
        if mutations.is_empty() && decided_at.is_none() && (completion.is_none() || first_attempt) {
            // Nothing to record: no earlier attempt can have written.
            return Ok(Ok(outcome.response(self.clock.last())));
        }
        self.clock.observe(now);
        let timestamp = self.clock.next(self.wall_ms());
        let write = EvaluatedWrite { timestamp, mutations, outcome, completion };
        let change = self.apply(&descriptor.bounds.start, CommandBody::Writes(vec![write]))?;
        self.stats.applied += 1;
        match change {
            AppliedChange::Writes(mut answers) if answers.len() == 1 => Ok(Ok(answers.remove(0))),
            other => Err(ReadFault::Damaged(format!("a write was applied as {other:?}"))),
        }
    }

    /// Applies a command to the range that starts here, as its next entry.
    fn apply(&mut self, start: &Key, body: CommandBody) -> Result<AppliedChange, ReadFault> {
        let view = self.view();
        let range = self.ranges.get_mut(start).ok_or_else(|| ReadFault::Damaged("the range is gone".into()))?;
        let command = Command { bounds_epoch: range.state.descriptor.epoch.bounds, body };
        let entry = CommittedEntry {
            index: range.state.applied.next(),
            term: range.term,
            kind: EntryKind::Normal(command.encode()),
        };
        let (ops, mut applied) = apply::run(ApplyTask { state: range.state.clone(), entries: vec![entry] }, &view)?;
        self.engine.write(&ops).map_err(|fault| ReadFault::Damaged(fault.to_string()))?;
        range.state = applied.state;
        applied
            .results
            .pop()
            .map(|result| result.change)
            .ok_or_else(|| ReadFault::Damaged("an entry has a result".into()))
    }

    fn view(&self) -> View {
        View(self.engine.snapshot())
    }

    // ---- ranges

    /// The range that a request names, or else the one that it belongs to.
    fn find(&self, request: &RangeRequest) -> Option<&Range> {
        if let Some((wanted, _)) = request.range
            && let Some(range) = self.ranges.values().find(|range| range.state.descriptor.range == wanted)
        {
            return Some(range);
        }
        let before = |key: &Key| self.ranges.range(..key).next_back().map(|(_, range)| range);
        match &request.request {
            Request::Scan { bounds, reverse: true, .. } => match &bounds.end {
                Some(end) => before(end),
                None => self.ranges.values().next_back(),
            },
            other => self.ranges.range(..=other.routing_key()?).next_back().map(|(_, range)| range),
        }
    }

    /// The ranges of `bounds` in order, or from the last one on.
    pub(super) fn locate(&self, bounds: &KeyRange, reverse: bool, limit: usize) -> Vec<Located> {
        let ranges = self.ranges.values().filter(|range| range.state.descriptor.bounds.overlaps(bounds));
        let located = ranges.map(|range| self.located(range));
        match reverse {
            false => located.take(limit).collect(),
            true => located.rev().take(limit).collect(),
        }
    }

    fn located(&self, range: &Range) -> Located {
        let member = self.members.iter().find(|member| member.store == range.leader);
        let leader = member.map(|member| LeaderHint { store: member.store, address: Some(member.advertised.clone()) });
        Located { descriptor: range.state.descriptor.clone(), leader, term: range.term }
    }

    /// Cuts the range of this key in two.
    pub(super) fn split(&mut self, at: Key) -> Result<(), String> {
        let found = self.ranges.range(..=&at).next_back().ok_or("ranges cover all keys")?;
        let (start, leader, term) = (found.0.clone(), found.1.leader, found.1.term);
        if start == at {
            return Ok(());
        }
        self.last_range += 1;
        let right = RangeId(self.last_range);
        let split = Split { at: at.clone(), right, right_leader: ReplicaId(1) };
        match self.apply(&start, CommandBody::Split(split)).map_err(|fault| fault.to_string())? {
            AppliedChange::Split { .. } => {}
            other => return Err(format!("the split came to {other:?}")),
        }
        let state = self.view().0.range_state(right).map_err(|fault| fault.to_string())?;
        let state = RangeState::decode(state.ok_or("the right side has a state")?).map_err(|bad| bad.to_string())?;
        self.ranges.insert(at, Range { state, leader, term });
        Ok(())
    }

    /// Hands ranges over: `chosen` decides which.
    pub(super) fn lead(&mut self, to: StoreId, chosen: impl Fn(&RangeDescriptor, StoreId) -> bool) {
        for range in self.ranges.values_mut() {
            if range.leader != to && chosen(&range.state.descriptor, range.leader) {
                range.leader = to;
                range.term = range.term.next();
            }
        }
    }

    /// Reads below this are refused from now on, as after garbage collection.
    pub(super) fn forget_before(&mut self, threshold: Timestamp) -> Result<(), String> {
        let starts: Vec<Key> = self.ranges.keys().cloned().collect();
        for start in starts {
            self.apply(&start, CommandBody::RaiseGcThreshold(threshold)).map_err(|fault| fault.to_string())?;
        }
        Ok(())
    }

    /// The versions of a key, the oldest first.
    pub(super) fn versions(&self, key: &Key) -> Vec<Timestamp> {
        let bounds = KeyRange { start: key.clone(), end: Some(key.next()) };
        let versions = self.engine.snapshot().versions(&bounds, usize::MAX).unwrap_or_default();
        versions.into_iter().rev().map(|(_, timestamp, _)| timestamp).collect()
    }
}

fn broken(fault: ReadFault) -> Rejected {
    Rejected::Unavailable(format!("the mock is broken: {fault}"))
}

/// As stores do: nothing past its last moment, nothing further ahead than records are kept.
fn check_last_moment(write: &WriteAttempt, now: Timestamp) -> Result<(), Rejected> {
    if write.last_moment < now {
        return Err(Rejected::PastLastMoment { now });
    }
    if write.last_moment > now.after(limits::MAX_LAST_MOMENT_AHEAD).after(limits::MAX_CLOCK_OFFSET) {
        return Err(Rejected::invalid("the last moment lies too far ahead: use the fleet time of the last answer"));
    }
    Ok(())
}
