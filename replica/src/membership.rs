//! Changes of a range's replicas: by joint consensus, one at a time, never into a shape that is unsafe or cannot live.
//!
//! An operator asks for one of three steps: add a learner, promote and demote in one joint change, remove a learner. A
//! voter is replaced by all three: the newcomer learns, takes the old voter's place in one joint change, and the old
//! voter, a learner by then, is removed. A replacement so never leaves the range with fewer voters than before, or with
//! an even number of them. The leader plans the descriptor that would follow, checks it, and proposes it together with
//! raft-rs's change; apply makes both true at once, and compares them
//! (docs/replication.md#descriptor-is-the-configuration).
//!
//! What is checked before a change is proposed:
//!
//! - no other change, split or transfer is under way (docs/replication.md#joint-consensus-only);
//! - no half has two voters in one site while the goal forbids it (docs/replication.md#no-two-voters-in-one-site);
//! - both halves have a live quorum, so that the change can be committed and left
//!   (docs/replication.md#live-quorum-of-both-halves);
//! - who is promoted has nearly everything (docs/replication.md#promote-what-has-caught-up);
//! - the leader is not demoted (docs/replication.md#demote-before-remove).
//!
//! Why it is right. In a joint configuration entries and elections need a quorum of both halves, so no two leaders can
//! commit side by side, whichever of the configurations a replica knows. That argument needs one more thing, which Raft
//! takes for granted: a configuration that was left must not come back with a restart. A synced commit index before
//! apply sees to that (docs/replication.md#commit-synced-before-change). A leader leaves a joint configuration by
//! itself, also one that an earlier leader entered, so nobody has to come back for it.
//!
//! The other end of a replica's life is here too. A replica that its range does not name any more writes its tombstone
//! first, and acts no more (docs/replication.md#tombstone-before-clearing). One that was down when it was removed is
//! told by whoever hears it: ids are never used again, so any descriptor that has passed its id by proves the removal
//! (docs/replication.md#dead-ids-stay-dead).
//!
//! What it does not do. It does not choose who replaces whom; placement does, and asks for one step at a time. It does
//! not refuse a committed change at apply, since every replica must apply the same.
//!
//! Where it is from. Joint consensus is Raft's (Ongaro and Ousterhout, USENIX ATC 2014). Explicit joint changes with
//! learners follow etcd and TiKV.

use holdfast_types::limits;
use holdfast_types::{RangeDescriptor, Rejected, ReplicaDescriptor, ReplicaId, Role, StoreId};
use raft::ProgressState;
use raft::eraftpb::{Message, MessageType};

use crate::apply::{AppliedChange, AppliedEntry};
use crate::command::MembershipCommand;
use crate::convert;
use crate::effect::{Cause, Effect, Outcome};
use crate::input::{MembershipChange, RaftEnvelope, Ticket};
use crate::ready::After;
use crate::replica::{Phase, Replica, SurvivalGoal};
use crate::view::StoreView;
use holdfast_types::storage::{LogOp, ReplicaRecord};

/// A learner further behind than this many entries is not promoted: as a voter it would hold writes up.
const MAX_PROMOTE_LAG: u64 = 1_000;

/// A change that is on its way through the log.
#[derive(Debug)]
pub(crate) struct PendingChange {
    /// Where its newest entry lies.
    index: u64,
    /// Who waits for the end of it.
    ticket: Option<Ticket>,
}

/// The replicas after a change; refused when the change makes no sense for them.
pub(crate) fn plan(
    before: &RangeDescriptor,
    change: &MembershipChange,
    leader: ReplicaId,
) -> Result<RangeDescriptor, Rejected> {
    let mut after = before.clone();
    let invalid = |what: String| Err(Rejected::invalid(what));
    match change {
        MembershipChange::AddLearner { store, site } => {
            if let Some(there) = before.replica_on(*store) {
                return invalid(format!("{store} has {} already: remove it first", there.replica));
            }
            let (replica, site) = (before.next_replica, site.clone());
            after.replicas.push(ReplicaDescriptor { replica, store: *store, site, role: Role::Learner });
            after.next_replica = replica.next();
        }
        MembershipChange::Reconfigure { promote, demote } => {
            if promote.is_empty() && demote.is_empty() {
                return invalid("nothing to promote or to demote".into());
            }
            if demote.contains(&leader) {
                return invalid(format!("{leader} leads the range: transfer the leadership first"));
            }
            set_roles(&mut after, promote, Role::Learner, Role::IncomingVoter)?;
            set_roles(&mut after, demote, Role::Voter, Role::OutgoingVoter)?;
        }
        MembershipChange::RemoveLearner { replica } => match before.replica(*replica).map(|r| r.role) {
            Some(Role::Learner) => after.replicas.retain(|r| r.replica != *replica),
            Some(_) => return invalid(format!("{replica} is a voter: demote it first")),
            None => return invalid(format!("{replica} is not in the range")),
        },
    }
    after.epoch.membership += 1;
    after.check().map_err(Rejected::Invalid)?;
    Ok(after)
}

fn set_roles(after: &mut RangeDescriptor, ids: &[ReplicaId], from: Role, to: Role) -> Result<(), Rejected> {
    for id in ids {
        match after.replicas.iter_mut().find(|r| r.replica == *id) {
            Some(replica) if replica.role == from => replica.role = to,
            Some(replica) => return Err(Rejected::invalid(format!("{id} is {:?}, not {from:?}", replica.role))),
            None => return Err(Rejected::invalid(format!("{id} is not in the range"))),
        }
    }
    Ok(())
}

/// The configuration after a joint one: incoming voters are voters, outgoing ones learners.
pub(crate) fn leave(joint: &RangeDescriptor) -> RangeDescriptor {
    let mut after = joint.clone();
    for replica in &mut after.replicas {
        replica.role = match replica.role {
            Role::IncomingVoter => Role::Voter,
            Role::OutgoingVoter => Role::Learner,
            same => same,
        };
    }
    after.epoch.membership += 1;
    after
}

impl Replica {
    /// What the range must survive from now on: the fleet has got its second site, or has one only.
    pub fn set_survival(&mut self, goal: SurvivalGoal) {
        self.config.survival = goal;
    }

    /// True when a shape is one that the survival goal forbids.
    pub(crate) fn is_crowded(&self, descriptor: &RangeDescriptor) -> bool {
        self.config.survival == SurvivalGoal::Site && descriptor.crowded_site().is_some()
    }

    /// An operator asks for a change.
    pub(crate) fn change_membership(&mut self, ticket: Ticket, change: &MembershipChange, view: &StoreView<'_>) {
        if let Err(rejected) = self.begin_change(ticket, change, view) {
            self.answer(ticket, Err(rejected));
        }
    }

    fn begin_change(
        &mut self,
        ticket: Ticket,
        change: &MembershipChange,
        view: &StoreView<'_>,
    ) -> Result<(), Rejected> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        let leading = self.leading.as_ref().expect("it leads");
        let in_flight = self.pipeline.splitting()
            || leading.change.is_some()
            || leading.transfer.is_some()
            || self.descriptor.is_joint();
        if in_flight || self.raw.raft.has_pending_conf() {
            return Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
        }
        let after = plan(&self.descriptor, change, self.id)?;
        // A range that was in one site when the fleet got its second spreads step by step, through shapes that are no more crowded than it is.
        let is_worse = after.surplus_voters() > self.descriptor.surplus_voters();
        if let (true, true, Some(site)) = (is_worse, self.is_crowded(&after), after.crowded_site()) {
            return Err(Rejected::invalid(format!(
                "two voters would share site {site}, which the survival goal forbids"
            )));
        }
        if let MembershipChange::Reconfigure { promote, .. } = change {
            self.check_caught_up(promote)?;
        }
        let alive = |r: &ReplicaDescriptor| {
            let supports_us = view.support.received.get(&r.store).is_some_and(|s| s.until > view.now);
            r.replica == self.id || (supports_us && view.support.supports(r.store))
        };
        if !after.is_quorum(alive) {
            return Err(Rejected::Unavailable("one half of the configuration would have no live quorum".into()));
        }
        self.propose_change(&after, Some(ticket))
    }

    fn check_caught_up(&self, promote: &[ReplicaId]) -> Result<(), Rejected> {
        let committed = self.raw.raft.raft_log.committed;
        let caught_up = |id: &ReplicaId| {
            let progress = self.raw.raft.prs().get(id.0);
            // Raft may leave a replica in `Probe` after its snapshot until there is another entry: an idle range has none.
            progress.is_some_and(|p| p.state != ProgressState::Snapshot && p.matched + MAX_PROMOTE_LAG >= committed)
        };
        match promote.iter().find(|id| !caught_up(id)) {
            Some(id) => Err(Rejected::Unavailable(format!("{id} is still catching up"))),
            None => Ok(()),
        }
    }

    fn propose_change(&mut self, after: &RangeDescriptor, ticket: Option<Ticket>) -> Result<(), Rejected> {
        let change = convert::conf_change(&self.descriptor, after)
            .ok_or_else(|| Rejected::invalid("no single step leads there"))?;
        let context = MembershipCommand::to(after).encode().to_vec();
        let busy = Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER };
        self.raw.propose_conf_change(context, change).map_err(|_| busy.clone())?;
        let index = self.raw.raft.raft_log.last_index();
        // raft turns a change that it refuses into an empty entry without a word.
        if self.raw.raft.pending_conf_index != index {
            return Err(busy);
        }
        if let Some(leading) = &mut self.leading {
            leading.change = Some(PendingChange { index, ticket });
        }
        Ok(())
    }

    /// A leader leaves a joint configuration by itself, also one that a leader before it entered.
    pub(crate) fn leave_joint(&mut self, view: &StoreView<'_>) {
        if !self.leads() || !self.descriptor.is_joint() || self.raw.raft.has_pending_conf() {
            return;
        }
        if self.leading.as_ref().is_some_and(|l| l.transfer.is_some()) {
            return;
        }
        let outgoing = self.descriptor.replica(self.id).is_some_and(|r| r.role == Role::OutgoingVoter);
        if outgoing && self.transfer_to_best(view) {
            return;
        }
        let Some(leading) = &mut self.leading else { return };
        let ticket = leading.change.take().and_then(|c| c.ticket);
        let after = leave(&self.descriptor);
        if self.propose_change(&after, ticket).is_err()
            && let Some(leading) = &mut self.leading
        {
            // Nothing was appended; the ticket waits for the next attempt.
            leading.change = Some(PendingChange { index: 0, ticket });
        }
    }

    /// What an applied entry means beyond data.
    pub(crate) fn follow_change(&mut self, result: &AppliedEntry, view: &StoreView<'_>) {
        match &result.change {
            AppliedChange::Split { right, right_leader, .. } => self.split_applied(right, *right_leader),
            AppliedChange::Membership(descriptor) => {
                if self.is_crowded(descriptor) {
                    tracing::warn!(range = %descriptor.range, ?descriptor, "two voters share a site: the range may not survive its loss yet");
                }
                self.wake(view.now);
                self.finish_change(result.index.0, descriptor);
                match descriptor.replica(self.id).map(|r| r.role) {
                    None => self.destroy(),
                    // A leader elected in a joint configuration may find that the end of it, begun before, demotes it.
                    Some(Role::Learner) => self.step_down(view),
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }

    fn finish_change(&mut self, index: u64, descriptor: &RangeDescriptor) {
        let Some(leading) = &mut self.leading else { return };
        if leading.change.as_ref().is_none_or(|c| c.index != index) || descriptor.is_joint() {
            return;
        }
        let ticket = leading.change.take().and_then(|c| c.ticket);
        if let Some(ticket) = ticket {
            self.answer(ticket, Ok(Outcome::Changed(descriptor.clone())));
        }
    }

    /// The leader's last word to replicas that it removed.
    pub(crate) fn bid_farewell(&mut self, removed: &[ReplicaDescriptor]) {
        if self.leading.is_some() {
            for replica in removed {
                self.tell_removed(replica.replica, replica.store);
            }
        }
    }

    /// A replica that is not in the range any more still speaks: it is shown the descriptor. Ids are never used again, so one
    /// below the next is not a newcomer.
    pub(crate) fn tell_if_removed(&mut self, replica: ReplicaId, store: StoreId) {
        if replica < self.descriptor.next_replica && self.descriptor.replica(replica).is_none() {
            self.tell_removed(replica, store);
        }
    }

    /// A descriptor that came by way of the store. Ids are never used again, so an old one proves a removal as well as a new one.
    pub(crate) fn heard_descriptor(&mut self, descriptor: &RangeDescriptor) {
        let is_past = descriptor.range == self.descriptor.range && descriptor.next_replica > self.id;
        if is_past && descriptor.replica(self.id).is_none() {
            self.destroy();
        }
    }

    /// What counts is the descriptor; the message itself says nothing that could harm.
    fn tell_removed(&mut self, replica: ReplicaId, store: StoreId) {
        let message = Message {
            msg_type: MessageType::MsgRequestPreVoteResponse.into(),
            to: replica.0,
            from: self.id.0,
            term: self.raw.raft.term,
            reject: true,
            ..Message::default()
        };
        let envelope = RaftEnvelope {
            range: self.descriptor.range,
            from: self.id,
            to: replica,
            descriptor: Some(self.descriptor.clone()),
            stamp: None,
            message: convert::encode_message(&message),
        };
        self.effects.push(Effect::Send { to: store, cause: Cause::Election, envelope });
    }

    /// This replica is not in its range any more. The tombstone comes first: what is dead must not vote again.
    pub(crate) fn destroy(&mut self) {
        if matches!(self.phase, Phase::Destroying) || !self.is_live() {
            return;
        }
        self.lose_leadership();
        self.abandon_pipeline("the replica was removed");
        self.phase = Phase::Destroying;
        let record = ReplicaRecord::Tombstone { next: self.id.next(), clearing: true };
        self.write_aside(vec![LogOp::SetReplica { range: self.descriptor.range, record }], After::Destroyed);
    }
}

impl PendingChange {
    pub(crate) fn into_ticket(self) -> Option<Ticket> {
        self.ticket
    }
}
