//! Messages of other stores.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_replica::{Input, RaftEnvelope, Replica, may_create};
use holdfast_types::storage::LogOp;
use holdfast_types::{Incarnation, Moment, RangeId, Rejected, StoreId, Term, Timestamp, limits};

use super::absent::Absent;
use super::garbage::Versions;
use super::log::Then;
use super::sweeping::Swept;
use super::{Cx, Held, Worker};
use crate::core::load::Load;
use crate::core::message::StoreMessage;
use crate::core::permit::{Authority, Permitted};
use crate::core::rights::Asker;

impl Worker {
    pub(super) fn take_message(
        &mut self,
        from: StoreId,
        _incarnation: Incarnation,
        message: StoreMessage,
        cx: &Cx<'_>,
    ) {
        self.note_heard(from, cx.now);
        self.silent.remove(&from);
        if !is_for_anybody(&message) && !self.knows(from) {
            return self.take_of_stranger(from, message);
        }
        match message {
            StoreMessage::Raft(envelope) => self.take_raft(from, envelope, cx),
            StoreMessage::Unled { range, term } => self.take_unled(from, range, term),
            StoreMessage::UnledNoted { range, term } => self.unled.noted(from, range, term),
            StoreMessage::AskLeader { range, term } => self.asked_whether_it_leads(from, range, term),
            StoreMessage::Forward { id, request, authority, timeout_ms, hops } => {
                let request = Permitted::check(request, &Asker::of(authority, &self.rights));
                self.take_forward(from, id, request, timeout_ms, hops, cx);
            }
            StoreMessage::ForwardAnswer { id, outcome, hints, .. } => {
                self.forward_answered(from, id, outcome, hints, cx);
            }
            StoreMessage::Locate { id, key } => self.take_locate(from, id, &key),
            StoreMessage::Located { hints, .. } => self.learn(hints, cx),
            StoreMessage::Admin { id, range, request, timeout_ms, hops } => {
                self.take_forwarded_admin(from, id, range, request, timeout_ms, hops, cx);
            }
            StoreMessage::AdminAnswer { id, outcome } => self.admin_answered(from, id, outcome, cx),
            StoreMessage::Report(report) => self.take_report(from, *report, cx),
            StoreMessage::ReportAnswer { leader, directory_version, directory, sites } => {
                self.report_answered(from, leader, directory_version, &directory, sites);
            }
            StoreMessage::SnapshotOffer { envelope, manifest } => self.take_offer(from, envelope, *manifest, cx),
            StoreMessage::SnapshotChunk { range, snapshot, file, offset, data, last } => {
                self.take_chunk(from, range, snapshot, file, offset, data, last, cx);
            }
            StoreMessage::SnapshotProgress { range, snapshot, state, received } => {
                self.take_progress(range, snapshot, state, &received, cx);
            }
        }
    }

    /// What only stores of the fleet may say. Somebody who waits for an answer is told to come again: it may have joined a moment ago.
    fn take_of_stranger(&mut self, from: StoreId, message: StoreMessage) {
        self.shared.of_strangers.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(store = %from, what = message.name(), "dropped: the store is not known here");
        let rejected = || Rejected::Unavailable(format!("{from} is not known here yet as a store of the fleet"));
        match message {
            StoreMessage::Forward { id, .. } => {
                let (outcome, fleet_now, hints) = (Err(rejected()), Timestamp::ZERO, Vec::new());
                self.send(from, StoreMessage::ForwardAnswer { id, outcome, fleet_now, hints });
            }
            StoreMessage::Admin { id, .. } => {
                self.send(from, StoreMessage::AdminAnswer { id, outcome: Err(rejected()) });
            }
            _ => {}
        }
    }

    /// Anybody may call himself a store: the one that was silent for longest makes room.
    fn note_heard(&mut self, from: StoreId, now: Moment) {
        if self.heard.len() >= limits::ADDRESSED_STORES && !self.heard.contains_key(&from) {
            let silent = self.heard.iter().min_by_key(|(_, at)| **at).map(|(store, _)| *store);
            silent.map(|store| self.heard.remove(&store));
        }
        self.heard.insert(from, now);
    }

    fn take_raft(&mut self, from: StoreId, envelope: RaftEnvelope, cx: &Cx<'_>) {
        let range = envelope.range;
        let ready = self.held.get(&range).map(|held| held.recorded);
        match ready {
            Some(true) => self.push(range, Input::Message { from_store: from, envelope }),
            Some(false) => self.parking.park(from, envelope, cx.now),
            None => self.take_stranger(from, envelope, cx),
        }
    }

    /// A message for a range that has no replica here: it may create one, or has come before a split.
    pub(super) fn take_stranger(&mut self, from: StoreId, envelope: RaftEnvelope, cx: &Cx<'_>) {
        let range = envelope.range;
        // A range of whoever is on no record may be one that he made up; company in another range does not make it true.
        if self.knows_members() && !self.is_member(from) && !self.unborn.contains_key(&range) {
            return;
        }
        if let Some(Absent::Quarantined { replica, .. }) = self.absent.get(&range)
            && may_create(&envelope, from, self.config.store)
            && envelope.to > *replica
        {
            // The damaged one was replaced: its remains go first.
            self.bury(range, envelope.to);
        }
        if self
            .absent
            .get(&range)
            .is_some_and(|absent| matches!(absent, Absent::Tombstone { next } if envelope.to < *next))
        {
            return;
        }
        // Created or not, the message waits: for the new replica's record, for a split, or for what is in the way to go.
        self.try_create(from, &envelope, cx.now);
        self.parking.park(from, envelope, cx.now);
    }

    /// Creates an empty learner when the envelope names it, no dead replica forbids it and no living one is in its way.
    fn try_create(&mut self, from: StoreId, envelope: &RaftEnvelope, now: Moment) {
        let range = envelope.range;
        if !may_create(envelope, from, self.config.store) {
            return;
        }
        if self.absent.get(&range).is_some_and(|absent| !absent.admits(envelope.to)) {
            return;
        }
        let Some(descriptor) = envelope.descriptor.clone() else { return };
        if self.shared.spans.awaited() >= limits::MAX_EMPTY_REPLICAS {
            return;
        }
        if let Err(other) = self.shared.spans.wait_for(range, &descriptor.bounds) {
            return self.ask_about_what_is_in_the_way(from, other, now);
        }
        let (replica, mut ops) = Replica::create_learner(&self.replica_config, descriptor, envelope.to);
        if self.unborn.remove(&range).is_some() {
            // The left side is gone from here without having applied the split: nothing else will give birth to the right one.
            // What was prepared for it has neither voted nor acknowledged.
            ops.insert(0, LogOp::Forget { range });
        }
        let (id, standing) = (replica.id(), replica.standing());
        self.absent.remove(&range);
        self.log.add(ops, Then::Recorded(range, id));
        self.map.standing(&standing);
        self.company.join(&standing.descriptor, false);
        self.held.insert(range, Held::new(replica, id, standing, false));
    }

    /// Gives a range what waited for it.
    pub(super) fn unpark(&mut self, range: RangeId, cx: &Cx<'_>) {
        for (from, envelope) in self.parking.leave(range) {
            self.take_raft(from, envelope, cx);
        }
    }

    /// Something that was in the way is gone: looks again at what is parked.
    pub(super) fn unpark_all(&mut self, cx: &Cx<'_>) {
        for range in self.parking.ranges() {
            self.unpark(range, cx);
        }
    }

    fn take_unled(&mut self, from: StoreId, range: RangeId, term: Term) {
        self.push(range, Input::Unled { from_store: from, term });
        self.map.forget_leader(range, from);
        self.send(from, StoreMessage::UnledNoted { range, term });
    }

    /// A follower's store has a doubt. Where no replica lives, nobody leads; but a right side that is not born yet may come to.
    fn asked_whether_it_leads(&mut self, from: StoreId, range: RangeId, term: Term) {
        if self.held.contains_key(&range) {
            self.push(range, Input::AskedWhetherLeading { from_store: from, term });
        } else if !self.unborn.contains_key(&range) {
            self.send(from, StoreMessage::Unled { range, term });
        }
    }

    pub(super) fn begin_unled(&mut self, range: RangeId, term: Term, stores: &[StoreId], cx: &Cx<'_>) {
        let me = self.config.store;
        for store in stores.iter().filter(|store| **store != me) {
            self.unled.begin(*store, range, term, cx.now);
            self.send(*store, StoreMessage::Unled { range, term });
        }
    }

    pub(super) fn repeat_unled(&mut self, cx: &Cx<'_>) {
        let support = Arc::clone(&self.support.view);
        for (store, range, term) in self.unled.due(cx.now, |store| support.received.contains_key(&store)) {
            // Somebody leads a newer term: everyone will hear of that. A range that has no replica here any more is spoken for by
            // the store.
            let over =
                self.held.get(&range).is_some_and(|held| held.standing.term > term && held.standing.leader.is_some());
            if over {
                self.unled.noted(store, range, term);
            } else {
                self.send(store, StoreMessage::Unled { range, term });
            }
        }
    }
}

/// Questions, and requests of clients whom nobody knows, which do no harm; reports, by which placement finds stores that it does not know; and
/// answers, which count only where they were waited for. Who in particular asks, only a store of the fleet is believed.
fn is_for_anybody(message: &StoreMessage) -> bool {
    match message {
        StoreMessage::Forward { authority, .. } => *authority == Authority::Client,
        StoreMessage::AskLeader { .. }
        | StoreMessage::Locate { .. }
        | StoreMessage::Report(_)
        | StoreMessage::ReportAnswer { .. }
        | StoreMessage::ForwardAnswer { .. }
        | StoreMessage::AdminAnswer { .. } => true,
        StoreMessage::Raft(_)
        | StoreMessage::Unled { .. }
        | StoreMessage::UnledNoted { .. }
        | StoreMessage::Located { .. }
        | StoreMessage::Admin { .. }
        | StoreMessage::SnapshotOffer { .. }
        | StoreMessage::SnapshotChunk { .. }
        | StoreMessage::SnapshotProgress { .. } => false,
    }
}

impl Held {
    pub(super) fn new(
        replica: Replica,
        id: holdfast_types::ReplicaId,
        standing: holdfast_replica::Standing,
        recorded: bool,
    ) -> Self {
        Self {
            replica,
            id,
            standing,
            led: None,
            wake: None,
            applying: false,
            recorded,
            load: Load::default(),
            size_bytes: 0,
            entry_bytes: 0,
            versions: Versions::default(),
            swept: Swept::default(),
        }
    }
}
