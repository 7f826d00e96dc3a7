//! Stepping replicas and carrying out what they ask for.

use holdfast_engine::Fault;
use holdfast_replica::{Applied, Cause, Effect as Asked, Input, Outcome, Standing, SupportView, Ticket};
use holdfast_types::{RangeId, Rejected, StoreId};

use super::log::Then;
use super::walks::Errand;
use super::{Cx, Worker};
use crate::core::effect::{AdminOutcome, Effect, TrafficCause};
use crate::core::load::Load;
use crate::core::message::StoreMessage;
use crate::core::support::SupportChange;
use crate::ports::Class;

impl Worker {
    /// Queues an input for a replica; what does not live here gets none.
    pub(super) fn push(&mut self, range: RangeId, input: Input) {
        if self.held.contains_key(&range) {
            self.inputs.push_back((range, input));
        }
    }

    /// Steps replicas until none has an input left.
    pub(super) fn run_inputs(&mut self, cx: &Cx<'_>) {
        while let Some((range, input)) = self.inputs.pop_front() {
            self.step(range, input, cx);
        }
    }

    fn step(&mut self, range: RangeId, input: Input, cx: &Cx<'_>) {
        let own = self.own();
        self.round.count(&input);
        let Some(held) = self.held.get_mut(&range) else { return self.refuse_input(input, cx) };
        let view = Self::view(&self.support, own, cx);
        let effects = held.replica.step(input, &view);
        self.carry_all(range, effects, cx);
    }

    /// Carries out what a step of a replica asked for, and notes when it wants to be woken.
    pub(super) fn carry_all(&mut self, range: RangeId, effects: Vec<Asked>, cx: &Cx<'_>) {
        for effect in effects {
            self.carry(range, effect, cx);
        }
        let Some(held) = self.held.get_mut(&range) else { return };
        let entry_bytes = held.replica.entry_bytes();
        self.shared.entries.change(std::mem::replace(&mut held.entry_bytes, entry_bytes), entry_bytes);
        let wake = held.replica.next_wake();
        if wake != held.wake {
            if let Some(old) = held.wake {
                self.timers.remove(&(old, range));
            }
            if let Some(new) = wake {
                self.timers.insert((new, range));
            }
            held.wake = wake;
        }
    }

    /// An input that was queued when the replica died under it.
    fn refuse_input(&mut self, input: Input, cx: &Cx<'_>) {
        if let Input::Request { ticket, .. }
        | Input::Admin { ticket, .. }
        | Input::ConfirmRead { ticket }
        | Input::PassTime { ticket, .. } = input
        {
            self.answer(ticket, Err(Rejected::Unavailable("the replica is gone".into())), cx);
        }
    }

    fn carry(&mut self, range: RangeId, effect: Asked, cx: &Cx<'_>) {
        match effect {
            Asked::Send { to, cause, envelope } => {
                let (class, cause) = class_of(cause);
                self.out.push(Effect::Send { to, class, cause, message: StoreMessage::Raft(envelope) });
            }
            Asked::Persist { token, ops } => {
                for op in &ops {
                    self.note_log_op(range, op);
                }
                let replica = self.held.get(&range).map(|held| held.id).unwrap_or_default();
                self.log.add(ops, Then::Replica(range, replica, token));
            }
            Asked::Apply(task) => {
                if let Some(held) = self.held.get_mut(&range) {
                    held.applying = true;
                }
                self.out.push(Effect::Apply { range, task });
            }
            Asked::Evaluate(evaluation) => self.out.push(Effect::Evaluate { range, evaluation }),
            Asked::Read { ticket, confirmed } => self.reads.push((range, ticket, confirmed)),
            Asked::Answer { ticket, outcome } => self.replica_answered(range, ticket, outcome, cx),
            Asked::FetchEntries { to, first, last, max_bytes } => {
                self.out.push(Effect::FetchEntries { range, to, first, last, max_bytes });
            }
            Asked::SendSnapshot { to_store, to, .. } => self.send_snapshot(range, to, to_store, cx),
            Asked::InstallSnapshot { snapshot } => self.out.push(Effect::InstallSnapshot { range, snapshot }),
            Asked::DeclineSnapshot { snapshot } => self.snapshot_declined(range, snapshot),
            Asked::Unled { term, stores } => self.begin_unled(range, term, &stores, cx),
            Asked::AskLeader { store, term } => self.send(store, StoreMessage::AskLeader { range, term }),
            Asked::Standing(standing) => self.own_standing(*standing, cx),
            Asked::Born { right, leads: _ } => self.born(range, *right, cx),
            Asked::Destroyed => self.destroyed(range, cx),
            Asked::Quarantined { reason } => self.quarantined(range, reason, cx),
        }
    }

    fn replica_answered(&mut self, range: RangeId, ticket: Ticket, outcome: Result<Outcome, Rejected>, cx: &Cx<'_>) {
        // Refused because the leadership moved: nothing was done, so the request goes on to the new leader.
        if let Err(Rejected::NotLeader { .. }) = &outcome
            && !self.retiring_last(range)
            && self.desk.may_reroute(ticket)
        {
            return self.route(ticket, cx);
        }
        match outcome {
            Ok(Outcome::Response(response)) => self.answer(ticket, Ok(response), cx),
            Ok(Outcome::Changed(descriptor)) => self.answer_admin(ticket, Ok(AdminOutcome { descriptor }), cx),
            Err(rejected) => self.answer(ticket, Err(rejected), cx),
        }
    }

    /// True when the range has nobody else to go to.
    fn retiring_last(&self, range: RangeId) -> bool {
        self.held.get(&range).is_some_and(|held| held.standing.descriptor.replicas.len() < 2)
    }

    pub(super) fn applied(&mut self, range: RangeId, applied: Result<Box<Applied>, Fault>, cx: &Cx<'_>) {
        if self.absent.contains_key(&range) {
            return self.no_longer_applying(range);
        }
        let Some(held) = self.held.get_mut(&range) else { return };
        if let Err(fault) = &applied
            && !matches!(fault, Fault::Damage { .. })
        {
            // What became of the batch is not known, and the store is about to stop: the replica waits for its next start.
            return tracing::error!(%range, %fault, "entries could not be applied");
        }
        held.applying = false;
        match applied {
            Ok(applied) => {
                self.note_versions(range, &applied.state);
                self.push(range, Input::Applied(applied));
            }
            Err(fault) => self.damaged(range, &fault, cx),
        }
    }

    /// A fault of the data stops the replica that met it. What the system could not do just now says nothing about the data.
    pub(super) fn damaged(&mut self, range: RangeId, fault: &Fault, cx: &Cx<'_>) {
        if !fault.is_of_data() {
            return tracing::warn!(%range, %fault, "a read failed; nothing is wrong with the data");
        }
        self.push(range, Input::Damaged { reason: fault.to_string() });
        self.run_inputs(cx);
    }

    /// A replica here looks different.
    pub(super) fn own_standing(&mut self, standing: Standing, cx: &Cx<'_>) {
        let range = standing.descriptor.range;
        let Some(held) = self.held.get_mut(&range) else { return };
        let moved = held.standing.descriptor.replicas != standing.descriptor.replicas;
        if standing.leads && held.led != Some(standing.term) {
            held.led = Some(standing.term);
            held.load = Load::since(cx.now);
        }
        if moved {
            self.company.join(&standing.descriptor, held.recorded);
            self.company.leave(&held.standing.descriptor, held.recorded);
        }
        held.standing = standing.clone();
        self.map.standing(&standing);
        self.wake_waiting(range, cx);
        self.out.push(Effect::Standing(Box::new(standing)));
    }

    /// A range of another worker of this store looks different.
    pub(super) fn learn_standing(&mut self, standing: &Standing, cx: &Cx<'_>) {
        self.map.standing(standing);
        self.wake_located(cx);
    }

    pub(super) fn take_support(&mut self, change: SupportChange, cx: &Cx<'_>) {
        let SupportChange { view, withdrawn, lost, streams, silent: _, abstains, clock_ahead_ms, clock } = change;
        let changed = changed_stores(&self.support.view, &view);
        let began = self.support.abstains && !abstains;
        self.support.view = view;
        self.support.abstains = abstains;
        self.support.streams = streams;
        // Heartbeats alone are lost where streams go on: such a store promises nothing, and answers requests all the same.
        let lost = lost.into_iter().filter(|(store, _)| !self.support.streams.contains(store)).collect();
        self.support.clock = clock;
        let before = std::mem::replace(&mut self.support.lost, lost);
        let some_came_back = before.keys().any(|store| !self.support.lost.contains_key(store));
        let newly_lost: Vec<_> = self.support.lost.keys().filter(|s| !before.contains_key(s)).copied().collect();
        for (store, generation) in withdrawn {
            self.walks.begin(Errand::Withdrawn(store, generation));
        }
        let was_off = std::mem::replace(&mut self.support.clock_ahead_ms, clock_ahead_ms).is_some();
        if clock_ahead_ms.is_some() && !was_off {
            self.yield_all();
        }
        self.walk_on(cx);
        for store in newly_lost {
            self.store_lost(store, cx);
        }
        if some_came_back {
            for range in self.desk.ranges_waited_for() {
                self.wake_waiting(range, cx);
            }
        }
        if !changed.is_empty() || began {
            self.walks.begin(Errand::Support((!began).then_some(changed)));
        }
    }
}

/// Stores whose support, in either direction, is another one than before; promises that only last longer do not count.
fn changed_stores(old: &SupportView, new: &SupportView) -> std::collections::BTreeSet<StoreId> {
    let stores = old.given.keys().chain(new.given.keys()).chain(old.received.keys()).chain(new.received.keys());
    let differs = |store: &&StoreId| {
        let received = |view: &SupportView| view.received.get(*store).map(|r| (r.incarnation, r.generation));
        old.given.get(*store) != new.given.get(*store) || received(old) != received(new)
    };
    stores.filter(differs).copied().collect()
}

fn class_of(cause: Cause) -> (Class, TrafficCause) {
    match cause {
        Cause::Append => (Class::Log, TrafficCause::Append),
        // Heartbeats keep their order with entries: a read is confirmed by them.
        Cause::Heartbeat => (Class::Log, TrafficCause::Heartbeat),
        Cause::Election => (Class::Control, TrafficCause::Election),
    }
}
