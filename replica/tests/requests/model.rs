//! The data instance as a map, and a leader around one pipeline: enough to run requests without raft.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use holdfast_replica::apply::{self, Applied, ApplyTask, CommittedEntry, EntryKind};
use holdfast_replica::evaluate::{self, Evaluation};
use holdfast_replica::pipeline::{AdminWrite, Now, Pipeline, PipelineOutput};
use holdfast_replica::range_state::RangeState;
use holdfast_replica::reader::{Page, ReadFault, Reader, ScanQuery};
use holdfast_replica::{Outcome, Ticket};
use holdfast_types::storage::{DataOp, Version};
use holdfast_types::{
    ClientId, Hlc, Key, KeyRange, KeyspaceId, LogIndex, Moment, Mutation, RangeDescriptor, RangeEpoch, RangeId,
    RangeRequest, Rejected, ReplicaDescriptor, ReplicaId, Request, RequestId, Role, Row, ScanMode, Sequence, SiteName,
    Slot, StoreId, Term, Timestamp, VersionedValue, WriteAttempt, limits,
};

pub const RANGE: RangeId = RangeId(7);
pub const START_MS: u64 = 1_000_000;

pub fn key(name: &str) -> Key {
    Key::bound(KeyspaceId(1), name.as_bytes())
}

pub fn bounds(start: &str, end: &str) -> KeyRange {
    KeyRange { start: key(start), end: Some(key(end)) }
}

pub fn descriptor() -> RangeDescriptor {
    let replicas = ["a", "b", "c"].iter().zip(1..).map(|(site, id)| ReplicaDescriptor {
        replica: ReplicaId(id),
        store: StoreId(id),
        site: SiteName::new(site).unwrap(),
        role: Role::Voter,
    });
    RangeDescriptor {
        range: RANGE,
        bounds: bounds("b", "y"),
        epoch: RangeEpoch { membership: 1, bounds: 1 },
        replicas: replicas.collect(),
        next_replica: ReplicaId(4),
    }
}

pub fn fresh_state() -> RangeState {
    RangeState {
        descriptor: descriptor(),
        applied: LogIndex(limits::FIRST_LOG_INDEX),
        applied_term: Term(limits::FIRST_LOG_TERM),
        gc_threshold: Timestamp::ZERO,
        last_timestamp: Timestamp::ZERO,
    }
}

pub fn mutation(name: &str, value: Option<&str>) -> Mutation {
    Mutation { key: key(name), value: value.map(|v| Bytes::copy_from_slice(v.as_bytes())), expires_at: None }
}

pub fn put(name: &str, value: &str) -> Request {
    Request::Write { conditions: Vec::new(), mutations: vec![mutation(name, Some(value))] }
}

pub fn attempt(client: u128, slot: u16, sequence: u64, attempt: u32, last_moment: Timestamp) -> WriteAttempt {
    let id = RequestId { client: ClientId(client), slot: Slot(slot), sequence: Sequence(sequence) };
    WriteAttempt { id, attempt, last_moment }
}

/// The data instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub versions: BTreeMap<(Key, Reverse<Timestamp>), Version>,
    pub states: BTreeMap<RangeId, Bytes>,
    pub completions: BTreeMap<(RangeId, ClientId, Slot), Bytes>,
}

impl Model {
    pub fn write(&mut self, ops: Vec<DataOp>) {
        for op in ops {
            match op {
                DataOp::PutVersion { key, timestamp, version } => {
                    let twin = self.versions.insert((key, Reverse(timestamp)), version);
                    assert_eq!(twin, None, "a version is written once");
                }
                DataOp::RemoveVersion { key, timestamp } => {
                    self.versions.remove(&(key, Reverse(timestamp)));
                }
                DataOp::SetRangeState { range, state } => {
                    self.states.insert(range, state);
                }
                DataOp::RemoveRangeState { range } => {
                    self.states.remove(&range);
                    self.completions.retain(|(of, _, _), _| *of != range);
                }
                DataOp::PutCompletion { range, client, slot, record } => {
                    self.completions.insert((range, client, slot), record);
                }
                DataOp::RemoveCompletion { range, client, slot } => {
                    self.completions.remove(&(range, client, slot));
                }
                DataOp::ClearKeys { bounds } => self.versions.retain(|(key, _), _| !bounds.contains(key)),
            }
        }
    }
}

/// What a scan of this mode makes of rows.
fn page(mode: ScanMode, mut rows: Vec<Row>, resume: Option<Key>) -> Page {
    let (mut counted, mut counted_until) = (0, None);
    match mode {
        ScanMode::Rows => {}
        ScanMode::Keys => rows.iter_mut().for_each(|row| row.value.value = Bytes::new()),
        ScanMode::Count => {
            counted = u32::try_from(rows.len()).unwrap();
            counted_until = rows.drain(..).filter_map(|row| row.value.expires_at).min();
        }
    }
    Page { rows, counted, counted_until, resume }
}

impl Reader for Model {
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, ReadFault> {
        Ok(match self.newest_version(key, at)? {
            Some((timestamp, Version::Value { value, expires_at })) if expires_at.is_none_or(|end| end > now) => {
                Some(VersionedValue { value, timestamp, expires_at })
            }
            _ => None,
        })
    }

    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, ReadFault> {
        let newest = self.versions.range((key.clone(), Reverse(at))..).next();
        Ok(newest.filter(|((of, _), _)| of == key).map(|((_, at), version)| (at.0, version.clone())))
    }

    fn scan(&self, query: &ScanQuery) -> Result<Page, ReadFault> {
        let mut keys: Vec<Key> = self.versions.keys().map(|(key, _)| key.clone()).collect();
        keys.dedup();
        keys.retain(|key| query.bounds.contains(key));
        if query.reverse {
            keys.reverse();
        }
        let mut rows = Vec::new();
        let mut last: Option<Key> = None;
        for key in keys {
            if let Some(value) = self.get(&key, query.at, query.now)? {
                if rows.len() == query.max_rows as usize {
                    let resume = if query.reverse { last } else { Some(key) };
                    return Ok(page(query.mode, rows, resume));
                }
                last = Some(key.clone());
                rows.push(Row { key, value });
            }
        }
        Ok(page(query.mode, rows, None))
    }

    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, ReadFault> {
        Ok(self.completions.get(&(range, client, slot)).cloned())
    }

    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, ReadFault> {
        let from = after.map_or(Bound::Included((range, ClientId(0), Slot(0))), |(client, slot)| {
            Bound::Excluded((range, client, slot))
        });
        let all = self.completions.range((from, Bound::Unbounded)).take_while(|((of, _, _), _)| *of == range);
        Ok(all.take(max).map(|((_, client, slot), record)| (*client, *slot, record.clone())).collect())
    }
}

/// A leader: pipeline, clock, log and data. Every entry proposed is committed, unless a new leader cuts it off.
pub struct Leader {
    pub pipeline: Pipeline,
    pub hlc: Hlc,
    pub term: Term,
    pub state: RangeState,
    pub model: Model,
    /// Entries from `limits::FIRST_LOG_INDEX + 1` on.
    pub log: Vec<(Term, EntryKind)>,
    pub evaluations: VecDeque<Evaluation>,
    pub confirming: VecDeque<Ticket>,
    pub answers: Vec<(Ticket, Result<Outcome, Rejected>)>,
    pub moment: Moment,
    pub wall_ms: u64,
}

impl Leader {
    /// Leads an empty range in term 6.
    pub fn new() -> Self {
        let mut leader = Self {
            pipeline: Pipeline::new(RANGE),
            hlc: Hlc::default(),
            term: Term(limits::FIRST_LOG_TERM),
            state: fresh_state(),
            model: Model::default(),
            log: Vec::new(),
            evaluations: VecDeque::new(),
            confirming: VecDeque::new(),
            answers: Vec::new(),
            moment: Moment(1),
            wall_ms: START_MS,
        };
        leader.elect(usize::MAX);
        leader
    }

    pub fn now(&self) -> Now {
        Now { moment: self.moment, fleet: self.hlc.last().max(Timestamp::from_ms(self.wall_ms)) }
    }

    pub fn take(&mut self, outputs: Vec<PipelineOutput>) {
        for output in outputs {
            match output {
                PipelineOutput::Answer { ticket, outcome } => {
                    assert!(self.answers.iter().all(|(other, _)| *other != ticket), "{ticket:?} is answered once");
                    self.answers.push((ticket, outcome));
                }
                PipelineOutput::Evaluate(evaluation) => self.evaluations.push_back(*evaluation),
                PipelineOutput::ConfirmOutcome { ticket } => self.confirming.push_back(ticket),
            }
        }
        self.pipeline.check().unwrap();
    }

    pub fn request(&mut self, ticket: u64, write: Option<WriteAttempt>, request: Request) {
        let deadline = self.moment.after(limits::DEFAULT_DEADLINE);
        let range = Some((self.state.descriptor.range, self.state.descriptor.epoch));
        let request = RangeRequest { range, write, request };
        let outputs = self.pipeline.admit(Ticket(ticket), request, deadline, self.now());
        self.take(outputs);
    }

    pub fn admin(&mut self, ticket: u64, write: AdminWrite) {
        let deadline = self.moment.after(limits::DEFAULT_DEADLINE);
        let outputs = self.pipeline.admit_admin(Ticket(ticket), write, deadline, self.now());
        self.take(outputs);
    }

    /// Runs the oldest evaluation. False: there is none.
    pub fn evaluate(&mut self) -> bool {
        let Some(evaluation) = self.evaluations.pop_front() else { return false };
        let evaluated = evaluate::run(evaluation, &self.model);
        let outputs = self.pipeline.evaluated(evaluated, self.now()).unwrap();
        self.take(outputs);
        true
    }

    /// Confirms the oldest outcome that waits for it. False: there is none.
    pub fn confirm(&mut self) -> bool {
        let Some(ticket) = self.confirming.pop_front() else { return false };
        let outputs = self.pipeline.confirmed(ticket);
        self.take(outputs);
        true
    }

    /// Proposes one batch; gives the number of its requests.
    pub fn propose(&mut self) -> Option<usize> {
        let batch = self.pipeline.take_batch(&mut self.hlc, self.wall_ms, limits::ENTRY_TARGET_BYTES)?;
        let (requests, index) = (batch.len(), self.last().next());
        self.log.push((self.term, EntryKind::Normal(batch.command.clone())));
        self.pipeline.proposed(batch, index, self.term);
        Some(requests)
    }

    pub fn last(&self) -> LogIndex {
        LogIndex(limits::FIRST_LOG_INDEX + self.log.len() as u64)
    }

    /// Applies up to `most` entries as one task.
    pub fn apply(&mut self, most: usize) -> Option<Applied> {
        let done = usize::try_from(self.state.applied.0 - limits::FIRST_LOG_INDEX).unwrap();
        let entries: Vec<_> = self.log.iter().zip(1..).skip(done).take(most).collect();
        if entries.is_empty() {
            return None;
        }
        let entries = entries.into_iter().map(|((term, kind), position)| CommittedEntry {
            index: LogIndex(limits::FIRST_LOG_INDEX + position),
            term: *term,
            kind: kind.clone(),
        });
        let task = ApplyTask { state: self.state.clone(), entries: entries.collect() };
        let (ops, applied) = apply::run(task, &self.model).unwrap();
        self.model.write(ops);
        self.state = applied.state.clone();
        let outputs = self.pipeline.applied(&applied, self.now());
        self.take(outputs);
        Some(applied)
    }

    /// Steps down, keeps at most `kept` of the entries that are not applied, and leads again in the next term.
    pub fn elect(&mut self, kept: usize) {
        let outputs = self.pipeline.step_down(None);
        self.evaluations.clear();
        self.confirming.clear();
        self.take(outputs);
        let done = usize::try_from(self.state.applied.0 - limits::FIRST_LOG_INDEX).unwrap();
        self.log.truncate(done.saturating_add(kept));
        self.term = self.term.next();
        self.log.push((self.term, EntryKind::Empty));
        self.apply(usize::MAX);
        self.hlc = Hlc::default();
        self.hlc.observe(self.state.last_timestamp);
        self.pipeline.lead(&self.state);
    }

    /// Goes on as the leader of the right side of a split that was applied: with nothing known but what is stored.
    pub fn serve_right_side(&mut self, right: RangeId) {
        self.settle();
        self.state = RangeState::decode(self.model.states[&right].clone()).unwrap();
        self.pipeline = Pipeline::new(right);
        self.log.clear();
        self.pipeline.lead(&self.state);
    }

    /// Runs everything to its end.
    pub fn settle(&mut self) {
        while self.evaluate() || self.confirm() || self.propose().is_some() || self.apply(usize::MAX).is_some() {}
    }

    /// The answer to a ticket.
    pub fn answer(&self, ticket: u64) -> Option<&Result<Outcome, Rejected>> {
        self.answers.iter().find(|(of, _)| *of == Ticket(ticket)).map(|(_, answer)| answer)
    }
}
