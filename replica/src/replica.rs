//! One copy of a range: raft, the rules around it, and the requests, as one pure state machine.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use holdfast_types::storage::{LogOp, ReplicaRecord};
use holdfast_types::{
    Hlc, LeaderHint, LogIndex, Moment, RangeDescriptor, Rejected, ReplicaId, SiteName, StoreId, Term, Timestamp, limits,
};
use raft::eraftpb::MessageType;
use raft::{RawNode, StateRole};

use crate::applying::Applying;
use crate::effect::{Effect, Outcome, Standing};
use crate::election::{Election, Transfer};
use crate::follow::Following;
use crate::gate::Verdict;
use crate::input::{Input, RaftEnvelope, Ticket};
use crate::lease::Lease;
use crate::membership::PendingChange;
use crate::passing::Passing;
use crate::pipeline::Pipeline;
use crate::raft_log::LogCache;
use crate::range_state::RangeState;
use crate::read::{QuorumReads, WaitingFor};
use crate::ready::{After, Disk};
use crate::serving::WaitingRequest;
use crate::sleep::Rest;
use crate::snapshot::{Arrived, Install};
use crate::view::{EntryRoom, StoreView};

/// What a range must survive; it forbids shapes, see [`RangeDescriptor::crowded_site`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SurvivalGoal {
    /// The loss of a whole site: no two voters share one.
    Site,
    /// The loss of a store: voters may share a site.
    Store,
}

/// How much is checked after every step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CheckLevel {
    /// A few comparisons; for production.
    Cheap,
    /// Everything; for tests and the simulator.
    Full,
}

/// What a replica is told of its surroundings once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaConfig {
    /// The store it lives on.
    pub store: StoreId,
    /// The site of that store.
    pub site: SiteName,
    /// Spreads the waits of candidates; any number, better different on every store.
    pub seed: u64,
    /// Never read with a lease: for platforms that pause machines.
    pub quorum_reads: bool,
    /// How much is checked after every step.
    pub check: CheckLevel,
    /// What the range must survive.
    pub survival: SurvivalGoal,
}

/// What a replica is doing with its life.
#[derive(Debug)]
pub(crate) enum Phase {
    Live,
    /// A snapshot is on its way into the data instance.
    Installing(Box<Install>),
    /// Its tombstone is being written, or stands.
    Destroying,
    /// Damaged: does nothing any more.
    Quarantined,
}

impl Phase {
    pub(crate) fn is_installing(&self) -> bool {
        matches!(self, Phase::Installing(_))
    }
}

/// What exists only while this replica leads, for one term.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) term: Term,
    pub(crate) lease: Lease,
    /// An entry of this term is applied: from then on requests are served.
    pub(crate) leads: bool,
    pub(crate) waiting: VecDeque<WaitingRequest>,
    pub(crate) reads: QuorumReads,
    pub(crate) passing: Passing,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) change: Option<PendingChange>,
    pub(crate) rest: Rest,
}

impl Leading {
    fn new(term: Term, now: Moment) -> Self {
        Self {
            term,
            lease: Lease::new(now),
            leads: false,
            waiting: VecDeque::new(),
            reads: QuorumReads::default(),
            passing: Passing::default(),
            transfer: None,
            change: None,
            rest: Rest::new(now),
        }
    }
}

/// Of the range state, what must be known while the state is out with an apply task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) gc_threshold: Timestamp,
    pub(crate) last_timestamp: Timestamp,
}

impl Summary {
    pub(crate) fn of(state: &RangeState) -> Self {
        Self { gc_threshold: state.gc_threshold, last_timestamp: state.last_timestamp }
    }
}

/// One copy of a range.
///
/// Invariants ([`Replica::check`]):
/// - it leads if and only if raft says so, and then follows nobody and is a voter
/// - applied <= min(committed, persisted); the range state, when it is here, is at raft's applied index
/// - what the disk knows of term, vote and commit is never ahead of raft
/// - raft's configuration is the descriptor's
/// - what is not applied is in memory; writes are released in order
pub struct Replica {
    pub(crate) config: ReplicaConfig,
    pub(crate) id: ReplicaId,
    pub(crate) raw: RawNode<LogCache>,
    /// As applied here.
    pub(crate) descriptor: RangeDescriptor,
    /// Out with the apply task while there is one, and while a snapshot is installed.
    pub(crate) state: Option<RangeState>,
    pub(crate) summary: Summary,
    pub(crate) hlc: Hlc,
    pub(crate) disk: Disk,
    pub(crate) applying: Applying,
    pub(crate) following: Following,
    pub(crate) election: Election,
    pub(crate) leading: Option<Leading>,
    pub(crate) pipeline: Pipeline,
    pub(crate) phase: Phase,
    pub(crate) incoming: Incoming,
    pub(crate) shown: Option<Standing>,
    pub(crate) effects: Vec<Effect>,
}

/// Snapshots that came in and are not being installed yet.
#[derive(Default, Debug)]
pub(crate) struct Incoming {
    /// Waits for the apply task.
    pub(crate) arrived: Option<Arrived>,
    /// Is being offered to raft.
    pub(crate) staged: Option<Install>,
}

/// A picture of a replica for status pages and tests. Prints as one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaStatus {
    /// Its id.
    pub replica: ReplicaId,
    /// "leader", "follower", "candidate", "installing", "destroyed" or "quarantined".
    pub role: &'static str,
    /// Its term.
    pub term: Term,
    /// Committed, applied and last index.
    pub committed: LogIndex,
    /// The last entry applied.
    pub applied: LogIndex,
    /// The last entry of the log.
    pub last: LogIndex,
    /// The leader that it follows.
    pub follows: Option<ReplicaId>,
    /// Of a leader: whether it holds its lease now.
    pub lease: bool,
    /// Of a leader: whether it sleeps.
    pub asleep: bool,
    /// Of a leader: what each other replica has.
    pub matched: Vec<(ReplicaId, LogIndex)>,
}

impl std::fmt::Display for ReplicaStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { replica, role, term, committed, applied, last, .. } = self;
        write!(f, "{replica} {role} {term} commit={} applied={} last={}", committed.0, applied.0, last.0)?;
        if let Some(leader) = self.follows {
            write!(f, " follows={leader}")?;
        }
        if self.lease {
            write!(f, " lease")?;
        }
        if self.asleep {
            write!(f, " asleep")?;
        }
        for (replica, matched) in &self.matched {
            write!(f, " {replica}={}", matched.0)?;
        }
        Ok(())
    }
}

impl Replica {
    /// Takes one input and says what to do about it, in order. Never panics: a defect inside quarantines this replica.
    pub fn step(&mut self, input: Input, view: &StoreView<'_>) -> Vec<Effect> {
        if !self.is_live() {
            self.step_dead(input);
            return std::mem::take(&mut self.effects);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| self.handle(input, view)));
        if let Err(panic) = outcome {
            self.quarantine(panic_text(panic.as_ref()));
        }
        self.settle_guarded(view)
    }

    /// Everything that follows from an input, and what is to be done about all of it.
    pub(crate) fn settle_guarded(&mut self, view: &StoreView<'_>) -> Vec<Effect> {
        let settled = catch_unwind(AssertUnwindSafe(|| {
            self.settle(view);
            self.check()
        }));
        match settled {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => self.quarantine(format!("invariant broken: {broken}")),
            Err(panic) => self.quarantine(panic_text(panic.as_ref())),
        }
        std::mem::take(&mut self.effects)
    }

    fn handle(&mut self, input: Input, view: &StoreView<'_>) {
        match input {
            Input::Request { ticket, request, deadline } => self.request(ticket, request, deadline, view),
            Input::Admin { ticket, request, deadline } => self.admin(ticket, request, deadline, view),
            Input::Message { from_store, envelope } => self.message(from_store, &envelope, view),
            Input::Persisted(token) => self.persisted(token, view),
            Input::Applied(applied) => self.applied(*applied, view),
            Input::Evaluated(evaluated) => self.evaluated(*evaluated, view),
            Input::EntriesFetched { to, entries } => self.entries_fetched(to, entries.as_deref()),
            Input::ConfirmRead { ticket } => self.confirm_again(ticket, view),
            Input::PassTime { ticket, to } => self.pass_time(ticket, to, view),
            Input::Withdrawn { store, generation } => self.following.withdrawn(store, generation),
            Input::SupportChanged => self.support_changed(view),
            Input::Unled { from_store, term } => self.following.unled(from_store, term),
            Input::LeaderDoubted { store } if self.following.follows.is_some_and(|f| f.store == store) => {
                self.doubt_leader(view);
            }
            Input::LeaderDoubted { .. } => {}
            Input::AskedWhetherLeading { from_store, term } => self.asked_whether_it_leads(from_store, term, view),
            Input::Tick => {}
            Input::AppliedPersisted { index, keep_bytes } => {
                self.raw.mut_store().drop_applied(view.room);
                self.truncate_behind(index, keep_bytes);
            }
            Input::SnapshotStaged { from_store, envelope, staged } => {
                self.snapshot_staged(from_store, envelope, staged, view);
            }
            Input::SnapshotInstalled { snapshot } => self.snapshot_installed(snapshot),
            Input::SnapshotSent { to, delivered } => self.snapshot_sent(to, delivered),
            Input::Damaged { reason } => self.quarantine(reason),
            Input::Heard { descriptor } => self.heard_descriptor(&descriptor),
            Input::Yield => self.yield_leadership(view),
            Input::Retire => self.election.retired = true,
        }
    }

    fn message(&mut self, from_store: StoreId, envelope: &RaftEnvelope, view: &StoreView<'_>) {
        let (kind, message) = match self.judge(from_store, envelope) {
            Verdict::Pass(kind, message) => (kind, *message),
            Verdict::Refuse(why) => {
                tracing::debug!(range = %envelope.range, from = %envelope.from, store = %from_store, why, "refused a message");
                if envelope.range == self.descriptor.range {
                    self.tell_if_removed(envelope.from, from_store);
                }
                return;
            }
            Verdict::Removed => return self.destroy(),
            Verdict::Damaged(reason) => return self.quarantine(reason),
        };
        self.following.remember_stranger(envelope.from, from_store);
        match kind {
            // The data of a snapshot comes with `SnapshotStaged`.
            MessageType::MsgSnapshot => {}
            // What cannot be kept in memory until it is applied is not acknowledged, nor what cannot be written before a snapshot
            // is in place: the leader sends it again.
            MessageType::MsgAppend if !message.entries.is_empty() && !self.takes_entries(view) => {}
            MessageType::MsgAppend | MessageType::MsgHeartbeat => self.step_leader_message(from_store, message, view),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                self.step_vote_request(from_store, message, view);
            }
            MessageType::MsgTimeoutNow => self.step_timeout_now(message, view),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
                self.acknowledged(envelope, message.term, view.now);
                self.step_raft(message);
            }
            _ => self.step_raft(message),
        }
    }

    /// Whoever has nothing to apply takes entries whatever the memory: without them it may never learn that those it has are
    /// committed. They are bounded by what leaders admit.
    fn takes_entries(&self, view: &StoreView<'_>) -> bool {
        let backlog = self.applying.backlog_bytes();
        let too_much =
            self.raw.store().is_full() || view.room == EntryRoom::Full && backlog >= limits::ENTRY_BACKLOG_MIN_BYTES;
        !self.phase.is_installing() && (backlog == 0 || !too_much)
    }

    /// An acknowledgement of our term counts for the lease, with the stamp it bears, or stops counting without one.
    fn acknowledged(&mut self, envelope: &RaftEnvelope, term: u64, now: Moment) {
        if let Some(leading) = self.leading.as_mut().filter(|l| l.term.0 == term) {
            leading.lease.acknowledged(envelope.from, envelope.stamp, now);
        }
    }

    fn settle(&mut self, view: &StoreView<'_>) {
        self.drain_raft(view);
        if !self.is_live() {
            return;
        }
        self.tick_leader(view);
        self.watch_transfer(view);
        self.watch_lease(view);
        self.watch_quorum(view);
        self.leave_joint(view);
        self.consider_retiring(view);
        self.pump_requests(view);
        self.pump_passing(view);
        self.pump_reads(view);
        self.stand_as_told(view);
        self.consider_standing(view);
        self.drain_raft(view);
        self.take_arrived(view);
        self.pump_apply();
        self.pump_reads(view);
        self.drain_raft(view);
        self.consider_sleep(view);
        self.show();
    }

    /// Follows raft's role: leadership begins and ends nowhere else.
    pub(crate) fn sync_role(&mut self, view: &StoreView<'_>) {
        let leads = self.raw.raft.state == StateRole::Leader;
        let term = self.term();
        if self.leading.as_ref().is_some_and(|l| !leads || l.term != term) {
            self.lose_leadership();
        }
        if leads && self.leading.is_none() {
            self.following.end();
            self.leading = Some(Leading::new(term, view.now));
        }
    }

    /// Answers everybody who counted on this leadership, and tells the other stores that it is over.
    pub(crate) fn lose_leadership(&mut self) {
        let Some(leading) = self.leading.take() else { return };
        self.applying.fetching.clear();
        self.transfer_done(leading.transfer);
        let rejected = self.not_leader();
        let reads = leading.reads.drain().filter(|r| r.what == WaitingFor::Read).map(|r| r.ticket);
        let reads = reads.chain(leading.passing.drain());
        let waiting = leading.waiting.into_iter().map(WaitingRequest::into_ticket);
        for ticket in reads.chain(waiting).collect::<Vec<_>>() {
            self.answer(ticket, Err(rejected.clone()));
        }
        if let Some(ticket) = leading.change.and_then(PendingChange::into_ticket) {
            self.answer(ticket, Err(Rejected::Ambiguous("the leadership ended during the change".into())));
        }
        self.pipeline_step_down();
        self.send_unled(leading.term);
    }

    /// An entry of the leader's own term is applied: it knows everything that was ever acknowledged.
    pub(crate) fn note_leadership(&mut self, view: &StoreView<'_>) {
        let applied = self.raw.raft.raft_log.applied;
        let own = self.raw.raft.raft_log.term(applied).is_ok_and(|term| term == self.raw.raft.term);
        let Some(leading) = self.leading.as_mut().filter(|l| !l.leads && own) else { return };
        leading.leads = true;
        let waiting = std::mem::take(&mut leading.waiting);
        self.begin_serving(waiting, view);
    }

    /// True when this replica leads and serves.
    pub(crate) fn leads(&self) -> bool {
        self.leading.as_ref().is_some_and(|l| l.leads)
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Installing(_))
    }

    /// Stops for good: what is damaged neither votes nor acknowledges.
    pub(crate) fn quarantine(&mut self, reason: String) {
        if !self.is_live() {
            return;
        }
        tracing::error!(range = %self.descriptor.range, replica = %self.id, reason, "replica quarantined");
        // The state is not to be trusted, not even for saying goodbye.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.lose_leadership();
            self.abandon_pipeline("the replica is quarantined");
        }));
        self.effects.retain(|e| !matches!(e, Effect::Send { .. }));
        self.phase = Phase::Quarantined;
        let record = ReplicaRecord::Quarantined { replica: self.id };
        self.write_aside(vec![LogOp::SetReplica { range: self.descriptor.range, record }], After::Nothing);
        self.effects.push(Effect::Quarantined { reason });
    }

    /// What is left to do for a replica that is destroyed or quarantined.
    fn step_dead(&mut self, input: Input) {
        let gone = || Err(Rejected::Unavailable("the replica is gone".into()));
        match input {
            Input::Request { ticket, .. } | Input::Admin { ticket, .. } | Input::ConfirmRead { ticket } => {
                self.answer(ticket, gone());
            }
            Input::Persisted(token) => self.persisted_dead(token),
            _ => {}
        }
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, outcome: Result<Outcome, Rejected>) {
        self.effects.push(Effect::Answer { ticket, outcome });
    }

    /// The refusal of what only a leader does, with a hint where to go.
    pub(crate) fn not_leader(&self) -> Rejected {
        Rejected::NotLeader { range: self.descriptor.range, leader: self.leader_hint() }
    }

    pub(crate) fn leader_hint(&self) -> Option<LeaderHint> {
        let leader = self.known_leader().filter(|(replica, _)| *replica != self.id);
        leader.map(|(_, store)| LeaderHint { store, address: None })
    }

    fn known_leader(&self) -> Option<(ReplicaId, StoreId)> {
        if self.leading.is_some() {
            return Some((self.id, self.config.store));
        }
        let term = self.term();
        self.following.heard.filter(|h| h.term == term).map(|h| (h.leader, h.store))
    }

    /// What this replica looks like from outside.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            descriptor: self.descriptor.clone(),
            term: self.term(),
            leader: self.known_leader(),
            leads: self.leads(),
        }
    }

    fn show(&mut self) {
        let (leader, leads, term) = (self.known_leader(), self.leads(), self.term());
        let same = |s: &Standing| {
            s.leader == leader && s.leads == leads && s.term == term && s.descriptor.epoch == self.descriptor.epoch
        };
        if !self.shown.as_ref().is_some_and(same) {
            let standing = self.standing();
            self.shown = Some(standing.clone());
            self.effects.push(Effect::Standing(Box::new(standing)));
        }
    }

    /// When this replica wants `Input::Tick` at the latest; nothing when it waits for nobody.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        if !self.is_live() {
            return None;
        }
        let mut wakes = vec![self.election.stand_at, self.following.provisional_until, self.pipeline.next_deadline()];
        if let Some(leading) = &self.leading {
            wakes.push(leading.rest.awake.then_some(leading.rest.next_tick));
            wakes.push(leading.reads.next_wake());
            wakes.push(leading.passing.next_wake());
            wakes.push(leading.waiting.iter().map(WaitingRequest::deadline).min());
        }
        wakes.into_iter().flatten().min()
    }

    /// A picture of this replica.
    #[must_use]
    pub fn status(&self, view: &StoreView<'_>) -> ReplicaStatus {
        let raft = &self.raw.raft;
        let role = match (&self.phase, raft.state) {
            (Phase::Destroying, _) => "destroyed",
            (Phase::Quarantined, _) => "quarantined",
            (Phase::Installing(_), _) => "installing",
            (Phase::Live, StateRole::Leader) => "leader",
            (Phase::Live, StateRole::Follower) => "follower",
            (Phase::Live, StateRole::Candidate | StateRole::PreCandidate) => "candidate",
        };
        let mut matched: Vec<_> = match &self.leading {
            Some(_) => raft.prs().iter().map(|(id, p)| (ReplicaId(*id), LogIndex(p.matched))).collect(),
            None => Vec::new(),
        };
        matched.retain(|(replica, _)| *replica != self.id);
        matched.sort_unstable();
        ReplicaStatus {
            replica: self.id,
            role,
            term: self.term(),
            committed: LogIndex(raft.raft_log.committed),
            applied: LogIndex(raft.raft_log.applied),
            last: LogIndex(raft.raft_log.last_index()),
            follows: self.following.follows.map(|f| f.leader),
            lease: self.is_live() && self.holds_lease(view),
            asleep: self.leading.as_ref().is_some_and(|l| !l.rest.awake),
            matched,
        }
    }

    /// Bytes of entries that it keeps in memory.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        self.raw.store().cached_bytes() + self.applying.backlog_bytes()
    }

    /// Bytes that its log takes on disk.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.raw.store().sizes().total_bytes()
    }

    /// The range.
    #[must_use]
    pub fn descriptor(&self) -> &RangeDescriptor {
        &self.descriptor
    }

    /// This replica's id.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.id
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of {:?}", self.id, self.term(), self.descriptor)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic inside: {}", text.unwrap_or_else(|| "of unknown kind".into()))
}
