//! Elections without ticks: who campaigns, when, and again; how leadership is handed over, and given up.
//!
//! Raft lets followers time out at random. That needs a timer and a stream of heartbeats for each range, which a store
//! with a hundred thousand idle ranges cannot pay. Here a follower has no timer. It becomes a possible candidate at the
//! moment at which it stops following: its store withdrew the leader's promise, or the leader said that it leads no
//! more. That moment is about the same on all stores, so candidates need an order. Every replica computes it alike, by
//! a hash of range and term over the voters on supported stores. The first campaigns at once, each next one 60 ms
//! later. A store that stops, or whose disk is full, goes last. A replica that has to refuse a candidate, because its
//! own log is longer, campaigns without waiting for its turn. What fails is tried again after a wait that differs by
//! store, replica, term and attempt (docs/replication.md#one-candidate-at-a-time).
//!
//! Why it is right. Nothing here makes a vote count: raft-rs's terms, logs and pre-votes do. This file decides only
//! when `campaign` is called, and must not call it for a learner (raft-rs would make it leader) or for a replica that
//! could lose what it promises to have (docs/replication.md#fit-to-campaign). Liveness rests on two things: a replica
//! that follows nobody always has a moment at which it campaigns next, and two candidates never have the same waits for
//! long.
//!
//! Transfers use raft-rs's own, with one addition: the lease ends when the message that tells the target to campaign
//! leaves, not when it arrives (docs/replication.md#transfer-ends-lease-first). The lease does not come back in that
//! term, so a transfer that comes to nothing ends in stepping down and campaigning.
//!
//! Stepping down is a change of raft-rs's role *and* a word to the stores of all replicas. Without the word they would
//! keep following a deposed leader, because its store lives and they are bound to it
//! (docs/replication.md#leader-says-that-it-is-over).
//!
//! What it does not do. It does not refuse votes; `follow` does. It does not repeat the last word until it is noted;
//! the store does, which outlives its replicas. It does not choose good places for leaders; placement does.
//!
//! Where it is from. Pre-vote and transfer are chapters 9 and 3 of Ongaro's dissertation (2014). Ranked candidates
//! replace its random timeouts, as in systems that have a failure detector outside of consensus.

use std::time::Duration;

use holdfast_types::limits;
use holdfast_types::{Moment, Rejected, ReplicaDescriptor, ReplicaId, Role, StoreId, Term};
use raft::StateRole;
use raft::eraftpb::Message;

use crate::effect::{Effect, Outcome};
use crate::input::Ticket;
use crate::replica::Replica;
use crate::view::StoreView;

/// When a replica without a leader stands next.
#[derive(Default, Debug)]
pub(crate) struct Election {
    /// Set while there is no leader and this replica may become one.
    pub(crate) stand_at: Option<Moment>,
    attempt: u32,
    /// Another candidate had to be refused since there is no leader: its log lacks what this one has.
    log_is_needed: bool,
    /// The leader that is followed told this replica to stand: it will when its disk has everything.
    told: Option<Message>,
    /// The store is stopping: stand no more.
    pub(crate) retired: bool,
}

/// A leadership that is being handed over.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// Who asked, if anyone waits.
    pub(crate) ticket: Option<Ticket>,
    /// The target was told to stand: the lease is over, whatever comes.
    pub(crate) told: bool,
}

impl Election {
    fn reset(&mut self) {
        self.stand_at = None;
        self.attempt = 0;
        self.log_is_needed = false;
    }

    fn wait_at_least(&mut self, until: Moment) {
        if let Some(at) = &mut self.stand_at {
            *at = (*at).max(until);
        }
    }
}

/// FNV-1a over integers, mixed at the end: spreads ranks and waits, and is the same on every machine.
fn hash(parts: &[u64]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|p| p.to_le_bytes()) {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^ (h >> 33)
}

/// 50 to 150 ms, doubling to 2 s: a moment of the last two thirds of the wait, different for each replica and attempt.
/// The longest wait is spread like the first; candidates that all waited just that long would split the vote for ever.
fn retry_wait(who: &[u64; 3], attempt: u32) -> Duration {
    let longest = (limits::STAND_RETRY_MAX * (1 << attempt.min(6))).min(limits::STAND_RETRY_CEILING);
    let shortest = longest.mul_f64(limits::STAND_RETRY_MIN.div_duration_f64(limits::STAND_RETRY_MAX));
    let spread = longest - shortest;
    let jitter = u128::from(hash(&[who[0], who[1], who[2], u64::from(attempt)])) % spread.as_micros();
    shortest + Duration::from_micros(u64::try_from(jitter).unwrap_or(0))
}

impl Replica {
    /// Plans and carries out elections; called at the end of every step.
    pub(crate) fn consider_standing(&mut self, view: &StoreView<'_>) {
        self.following.give_up_on_silent(view.now);
        let bound = self.following.follows.is_some() || self.leading.is_some();
        if bound || self.election.retired || !self.may_ever_stand() {
            self.election.reset();
            return;
        }
        let now = view.now;
        let at = self.election.stand_at.unwrap_or_else(|| {
            let delay = limits::STAND_RANK_DELAY * self.rank(view);
            // A leader that was heard but whose store is not supported yet may be alive: give it an interval.
            self.following.heard.map_or(now, |h| h.at.after(limits::SUPPORT_INTERVAL).max(now)).after(delay)
        });
        self.election.stand_at = Some(at);
        if at > now {
            return;
        }
        // A store whose clock is off leaves it to others, unless they lack what only its log has: a range that nobody leads is worse.
        let unfit = view.clock_off && !self.election.log_is_needed;
        if view.abstains || unfit || !self.is_ready_to_stand() {
            self.election.stand_at = Some(now.after(limits::STAND_RETRY_MIN));
            return;
        }
        self.election.stand_at = Some(now.after(self.retry_wait()));
        self.election.attempt = self.election.attempt.saturating_add(1);
        if self.raw.campaign().is_err() {
            tracing::debug!(range = %self.descriptor.range, "raft refused to campaign");
        }
    }

    /// A learner that campaigns becomes leader, and a non-member panics: raft does not check.
    fn may_ever_stand(&self) -> bool {
        let role = self.descriptor.replica(self.id).map(|r| r.role);
        self.is_live() && self.raw.raft.promotable() && role.is_some_and(|r| r != Role::Learner)
    }

    fn is_ready_to_stand(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        self.disk.is_synced() && log.committed - log.applied < limits::STAND_MAX_UNAPPLIED
    }

    /// The place of this replica among the voters on supported stores: all of them compute the same order.
    fn rank(&self, view: &StoreView<'_>) -> u32 {
        let place =
            |r: &ReplicaDescriptor| (hash(&[self.descriptor.range.0, self.raw.raft.term, r.replica.0]), r.replica);
        let alive = |r: &&ReplicaDescriptor| r.replica == self.id || view.support.supports(r.store);
        let mut order: Vec<_> = self.descriptor.voters().filter(alive).map(place).collect();
        order.sort_unstable();
        let last = order.len();
        let mine = order.iter().position(|(_, replica)| *replica == self.id).unwrap_or(last);
        u32::try_from(if view.reluctant { last } else { mine }).unwrap_or(u32::MAX)
    }

    fn retry_wait(&self) -> Duration {
        retry_wait(&[self.config.seed, self.id.0, self.raw.raft.term], self.election.attempt)
    }

    /// This replica answered a candidate: after a yes it is patient, after a no its own log is the better one.
    /// Of a pre-vote that is refused the log was the only reason.
    pub(crate) fn answered_candidate(&mut self, rejected: bool, in_pre_vote: bool, now: Moment) {
        self.election.log_is_needed |= rejected && in_pre_vote;
        if !rejected {
            self.election.wait_at_least(now.after(limits::STAND_RETRY_MAX));
        } else if self.election.attempt == 0
            && let Some(at) = &mut self.election.stand_at
        {
            *at = (*at).min(now);
        }
    }

    /// The leader that we follow asks us to stand: it has given its lease up, so nobody serves until we do.
    pub(crate) fn step_timeout_now(&mut self, message: Message, view: &StoreView<'_>) {
        if view.abstains || view.clock_off || !self.may_ever_stand() {
            return;
        }
        if !self.disk.is_synced() {
            // It has all that the leader had, but is writing something else: it cuts its log, for one.
            self.election.told = Some(message);
            return;
        }
        self.following.end();
        self.election.stand_at = Some(view.now.after(self.retry_wait()));
        self.step_raft(message);
    }

    /// Stands as it was told to, now that the disk has everything, unless the leader has changed its mind.
    pub(crate) fn stand_as_told(&mut self, view: &StoreView<'_>) {
        if !self.disk.is_synced() {
            return;
        }
        let Some(message) = self.election.told.take() else { return };
        if self.following.follows.is_some_and(|f| (f.leader.0, f.term.0) == (message.from, message.term)) {
            self.step_timeout_now(message, view);
        }
    }

    /// Gives the leadership up and tells every voter's store, or their replicas would follow a leader that is none.
    pub(crate) fn step_down(&mut self, view: &StoreView<'_>) {
        if self.raw.raft.state == StateRole::Leader {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        self.sync_role(view);
    }

    pub(crate) fn send_unled(&mut self, term: Term) {
        let stores: Vec<StoreId> =
            self.descriptor.replicas.iter().filter(|r| r.replica != self.id).map(|r| r.store).collect();
        if !stores.is_empty() {
            self.effects.push(Effect::Unled { term, stores });
        }
    }

    /// Hands the leadership to `to`, on somebody's behalf or our own.
    pub(crate) fn begin_transfer(
        &mut self,
        to: ReplicaId,
        ticket: Option<Ticket>,
        view: &StoreView<'_>,
    ) -> Result<(), Rejected> {
        let refuse = |why: &str| Err(Rejected::Unavailable(why.into()));
        let target = self.descriptor.replica(to).cloned();
        let Some(leading) = &mut self.leading else { return refuse("this replica does not lead") };
        let Some(target) = target.filter(|t| matches!(t.role, Role::Voter | Role::IncomingVoter)) else {
            return Err(Rejected::invalid(format!("{to} is no voter: promote it first")));
        };
        if to == self.id {
            return Err(Rejected::invalid("this replica leads already"));
        }
        if leading.transfer.is_some() || leading.change.is_some() {
            return Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER });
        }
        if !view.support.supports(target.store) {
            return refuse("the target's store is not supported: it may be down");
        }
        // Of a store that stops others take whatever they can.
        if !self.election.retired && view.support.full.contains(&target.store) {
            return refuse("the target's store wants no leaders: its disk is nearly full, or it stops soon");
        }
        // One that has just started neither promises nor stands: told to, it would do nothing, and the lease would be gone.
        if leading.lease.counted_until(&target, view).is_none() {
            // Of a sleeping range nothing else might ask it for a new promise.
            self.wake(view.now);
            return refuse("the target does not promise its support yet: it may have just started");
        }
        leading.transfer = Some(Transfer { ticket, told: false });
        self.wake(view.now);
        self.raw.transfer_leader(to.0);
        Ok(())
    }

    /// `MsgTimeoutNow` is about to leave: from here on the target may lead, so the lease is over first.
    pub(crate) fn transfer_told(&mut self) {
        if let Some(leading) = &mut self.leading {
            leading.lease.give_up();
            if let Some(transfer) = &mut leading.transfer {
                transfer.told = true;
            }
        }
    }

    /// raft gave a transfer up. If the target was told, this term's lease is gone: a new term must bring a new one.
    pub(crate) fn watch_transfer(&mut self, view: &StoreView<'_>) {
        let aborted = self.raw.raft.lead_transferee.is_none();
        let Some(leading) = &mut self.leading else { return };
        if !aborted || leading.transfer.is_none() {
            return;
        }
        let transfer = leading.transfer.take().expect("just seen");
        if let Some(ticket) = transfer.ticket {
            self.answer(ticket, Err(Rejected::Unavailable("the target did not take the leadership".into())));
        }
        if transfer.told {
            self.step_down(view);
            self.election.stand_at = Some(view.now);
        }
    }

    /// The leadership is gone: whoever asked for that got it.
    pub(crate) fn transfer_done(&mut self, transfer: Option<Transfer>) {
        if let Some(ticket) = transfer.and_then(|t| t.ticket) {
            self.answer(ticket, Ok(Outcome::Changed(self.descriptor.clone())));
        }
    }

    /// The store is stopping: whoever can takes the leadership, whatever made it ours. A transfer or a change that is under way
    /// comes first; where there is nobody to take it, the others are told that nobody leads.
    pub(crate) fn consider_retiring(&mut self, view: &StoreView<'_>) {
        let busy = self.leading.as_ref().is_none_or(|l| l.transfer.is_some() || l.change.is_some());
        if self.election.retired && !busy && !self.transfer_to_best(view) {
            self.step_down(view);
        }
    }

    /// Hands the leadership over if there is somebody to take it; otherwise it stays here, and so does everything else.
    pub(crate) fn yield_leadership(&mut self, view: &StoreView<'_>) {
        if self.leading.is_some() && !self.transfer_to_best(view) {
            tracing::warn!(range = %self.descriptor.range, "no other store can lead: the range stays here");
        }
    }

    /// Begins to hand the leadership to the voter that has most of the log; false when there is none that may live. A store whose
    /// disk is full is given none, unless this one stops and there is no other.
    pub(crate) fn transfer_to_best(&mut self, view: &StoreView<'_>) -> bool {
        let progress = self.raw.raft.prs();
        let matched = |r: &ReplicaDescriptor| progress.get(r.replica.0).map_or(0, |p| p.matched);
        let best = self
            .descriptor
            .incoming_voters()
            .filter(|r| r.replica != self.id && view.support.supports(r.store))
            .filter(|r| self.election.retired || view.support.can_take_over(r.store))
            .filter(|r| self.leading.as_ref().is_some_and(|l| l.lease.counted_until(r, view).is_some()))
            .max_by_key(|r| (view.support.can_take_over(r.store), matched(r), r.replica))
            .map(|r| r.replica);
        best.is_some_and(|to| self.begin_transfer(to, None, view).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two voters of three that stood together must part at the next attempt, at the ceiling as at the first.
    #[test]
    fn waits_differ_between_replicas_at_every_attempt() {
        for attempt in 0..20 {
            let mut close = 0;
            for term in 0..100 {
                let [a, b] = [1, 2].map(|id| retry_wait(&[7, id, term], attempt));
                let longest = (limits::STAND_RETRY_MAX * (1 << attempt.min(6))).min(limits::STAND_RETRY_CEILING);
                assert!(a >= longest / 4 && a <= longest, "{a:?} at attempt {attempt}");
                close += u32::from(a.abs_diff(b) < longest / 20);
            }
            assert!(close < 30, "attempt {attempt}: {close} of 100 pairs stand together again");
        }
    }
}
