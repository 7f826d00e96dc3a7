//! Whom a replica follows, and which votes it refuses because of it.
//!
//! Following is a promise of this replica. When it hears a leader of its own or a later term, and its store supports
//! the leader's store, it follows that leader under the generation of that support, and puts the generation on its
//! acknowledgements as a stamp. While it follows it does not campaign, and refuses votes and pre-votes for replicas of
//! other stores. Leases rest on this (docs/replication.md#follower-is-bound).
//!
//! It stops following for one of four reasons: its store withdrew the generation; the leader, or the leader's store,
//! says that the term is over (a request for votes in a later term says so too); a leader of a later term is heard; the
//! followed leader tells it to campaign. All of them are facts that never turn back. None is read off a clock, so no
//! clock can make a vote wrong. What is remembered of facts outlives the messages that brought them: a withdrawn
//! generation is not followed again though an older picture of the support table still shows it, and a term that was
//! given up is not followed again though its last messages are still under way.
//!
//! Why the state is our own. raft-rs has a `leader_id`, and clears it on every campaign and every new term, which is
//! right for finding a leader and wrong for being bound to one. It also has a check of its own against disruptive votes
//! (check-quorum). That one counts ticks, and where nobody is ticked it drops every vote for ever
//! (docs/replication.md#failure-detection-is-between-stores).
//!
//! Being bound is a danger to liveness: a leader that is gone while its store lives would be followed for ever. Three
//! things end that. A leader says that it is over, again and again, until it is noted. A follower that has a reason for
//! doubt asks (docs/replication.md#doubtful-leader-is-asked). A leader that was only named, by a split, is followed for
//! an interval by the clock, and acknowledged nothing before it speaks, so that nothing counts on it
//! (docs/replication.md#named-leader-is-followed-for-an-interval).
//!
//! What it does not do. It does not judge whether a sender is genuine; `gate` has done that. It does not know how
//! support is promised; it sees generations. `Heard`, the leader of this term that was heard last, is for hints to
//! callers and for patience, and never for safety.
//!
//! Where it is from. The rule that a voter which hears from a leader denies its vote is in chapter 4 of Ongaro's
//! dissertation (2014), by a timeout; here it is bound to a promise with a number instead, as in CockroachDB's leader
//! leases, where followers *fortify* a leader under an epoch.

use std::collections::BTreeMap;

use holdfast_types::limits;
use holdfast_types::{Generation, Incarnation, Moment, ReplicaId, StoreId, Term};
use raft::eraftpb::{Message, MessageType};

use crate::convert;
use crate::effect::Effect;
use crate::input::Stamp;
use crate::replica::Replica;
use crate::view::StoreView;

/// What raft writes into the context of a vote request that a leader asked for.
pub(crate) const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// A leader that is followed under an unbroken promise to its store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Follows {
    pub(crate) leader: ReplicaId,
    pub(crate) store: StoreId,
    pub(crate) term: Term,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: Generation,
}

/// The leader heard last in this term, promise or not: good for hints, and a reason to be patient; never for safety.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) leader: ReplicaId,
    pub(crate) store: StoreId,
    pub(crate) term: Term,
    pub(crate) at: Moment,
}

/// Whom a replica follows. Kept apart from raft's `leader_id`, which campaigns and new terms clear.
#[derive(Default, Debug)]
pub(crate) struct Following {
    pub(crate) follows: Option<Follows>,
    /// A leader that was only named, and has not spoken: it is followed no longer than this.
    pub(crate) provisional_until: Option<Moment>,
    /// When the followed leader's store was last asked whether it leads.
    asked_at: Option<Moment>,
    pub(crate) heard: Option<Heard>,
    /// Put on acknowledgements: decided when the leader's message was stepped.
    pub(crate) stamp: Option<Stamp>,
    /// The newest generation withdrawn from each store: a picture of the support table may still show it.
    withdrawn: BTreeMap<StoreId, Generation>,
    /// Terms that leaders on these stores gave up: their messages may still be under way, and must not be followed again.
    given_up: BTreeMap<StoreId, Term>,
    /// Replicas that passed the gate with a descriptor newer than ours: where to answer them.
    pub(crate) strangers: BTreeMap<ReplicaId, StoreId>,
}

/// Strangers, and stores that gave a term up, remembered at a time; a range has far fewer replicas.
const MAX_STRANGERS: usize = 32;

impl Following {
    /// The promise to `store` that is unbroken as far as anyone here knows.
    fn promise(&self, store: StoreId, view: &StoreView<'_>) -> Option<Generation> {
        let promise = view.support.given.get(&store)?;
        let broken = self.withdrawn.get(&store).is_some_and(|withdrawn| promise.generation <= *withdrawn);
        (!broken).then_some(promise.generation)
    }

    /// A leader's message of the current term was stepped.
    pub(crate) fn heard_leader(&mut self, leader: ReplicaId, store: StoreId, term: Term, view: &StoreView<'_>) {
        self.stamp = None;
        if self.given_up.get(&store).is_some_and(|over| term <= *over) {
            return;
        }
        self.provisional_until = None;
        self.heard = Some(Heard { leader, store, term, at: view.now });
        let incarnation = view.support.incarnation;
        let promise = self.promise(store, view);
        self.stamp = promise.map(|generation| Stamp { incarnation, generation });
        match promise {
            Some(generation) => self.follows = Some(Follows { leader, store, term, incarnation, generation }),
            // A leader of a later term ends the old follow even when no promise backs the new one.
            None if self.follows.is_some_and(|f| f.term < term) => self.follows = None,
            None => {}
        }
    }

    /// A split named a leader that has not spoken yet. It may never be born, so it is waited for, not trusted: nothing is
    /// acknowledged to it before it speaks, and after an interval of silence anybody may stand.
    pub(crate) fn named_leader(&mut self, leader: ReplicaId, store: StoreId, term: Term, view: &StoreView<'_>) {
        self.heard_leader(leader, store, term, view);
        self.stamp = None;
        self.provisional_until = self.follows.map(|_| view.now.after(limits::SUPPORT_INTERVAL));
    }

    /// Ends the wait for a leader that was named and never spoke.
    pub(crate) fn give_up_on_silent(&mut self, now: Moment) {
        if self.provisional_until.is_some_and(|until| until <= now) {
            self.end();
        }
    }

    /// The store to ask whether it really leads, and in which term; at most once in [`limits::LEADER_ASKED_AGAIN`].
    fn leader_to_ask(&mut self, now: Moment) -> Option<(StoreId, Term)> {
        let follows = self.follows?;
        if self.asked_at.is_some_and(|at| now < at.after(limits::LEADER_ASKED_AGAIN)) {
            return None;
        }
        self.asked_at = Some(now);
        Some((follows.store, follows.term))
    }

    /// `replica` speaks from `store`, as the gate has verified.
    pub(crate) fn remember_stranger(&mut self, replica: ReplicaId, store: StoreId) {
        if self.strangers.len() >= MAX_STRANGERS {
            self.strangers.pop_first();
        }
        self.strangers.insert(replica, store);
    }

    pub(crate) fn withdrawn(&mut self, store: StoreId, generation: Generation) {
        let newest = self.withdrawn.entry(store).or_insert(generation);
        *newest = (*newest).max(generation);
        if self.follows.is_some_and(|f| f.store == store && f.generation <= generation) {
            self.end();
        }
    }

    /// The leader's own word that it leads `term` no more.
    pub(crate) fn unled(&mut self, store: StoreId, term: Term) {
        self.note_given_up(store, term);
        if self.follows.is_some_and(|f| f.store == store && f.term <= term) {
            self.follows = None;
            self.provisional_until = None;
        }
        if self.heard.is_some_and(|h| h.store == store && h.term <= term) {
            self.heard = None;
        }
    }

    /// A message of a later term from the followed leader itself, which is no message of a leader: it gave its term up.
    pub(crate) fn speaks_of_later_term(&mut self, from: ReplicaId, term: Term) {
        if let Some(follows) = self.follows.filter(|f| f.leader == from && f.term < term) {
            self.note_given_up(follows.store, follows.term);
            self.end();
        }
    }

    fn note_given_up(&mut self, store: StoreId, term: Term) {
        if self.given_up.len() >= MAX_STRANGERS {
            self.given_up.pop_first();
        }
        let newest = self.given_up.entry(store).or_insert(term);
        *newest = (*newest).max(term);
    }

    pub(crate) fn end(&mut self) {
        self.follows = None;
        self.provisional_until = None;
        self.heard = None;
    }
}

impl Replica {
    /// Steps a message of a leader, and follows it if raft took it as the leader of its term.
    pub(crate) fn step_leader_message(&mut self, from_store: StoreId, message: Message, view: &StoreView<'_>) {
        let (from, term) = (message.from, message.term);
        self.following.stamp = None;
        let mine = self.raw.raft.term;
        if term > mine || (term == mine && self.leading.is_none()) {
            // Before raft answers, so that the answer bears the stamp of this very moment.
            self.following.heard_leader(ReplicaId(from), from_store, Term(term), view);
        }
        self.step_raft(message);
    }

    /// A vote or pre-vote request: refused while another leader is followed or a lease is held, else raft decides.
    pub(crate) fn step_vote_request(&mut self, from_store: StoreId, message: Message, view: &StoreView<'_>) {
        let transfer = message.context == CAMPAIGN_TRANSFER;
        self.following.speaks_of_later_term(ReplicaId(message.from), Term(message.term));
        let bound = self.following.follows.is_some_and(|f| f.store != from_store);
        let leads = self.leading.is_some() && self.holds_lease(view);
        if leads && !transfer {
            self.wake(view.now);
            self.raw.ping();
        }
        if bound && !transfer {
            self.doubt_leader(view);
        }
        let empty = self.raw.raft.raft_log.last_index() == 0;
        if view.abstains || empty || (!transfer && (bound || leads)) {
            self.refuse_vote(from_store, &message);
            return;
        }
        self.step_raft(message);
    }

    /// Something speaks against the leader that is followed: a candidate, or a request that its store refused. Its store is asked.
    /// Otherwise a word that got lost would leave this replica bound to a leader that is none for as long as that store lives.
    pub(crate) fn doubt_leader(&mut self, view: &StoreView<'_>) {
        if let Some((store, term)) = self.following.leader_to_ask(view.now) {
            self.effects.push(Effect::AskLeader { store, term });
        }
    }

    /// A follower asks whether this replica leads `term`: if so all hear it, if not the asker is told.
    pub(crate) fn asked_whether_it_leads(&mut self, from_store: StoreId, term: Term, view: &StoreView<'_>) {
        if self.leading.as_ref().is_some_and(|leading| leading.term == term) {
            self.wake(view.now);
            self.raw.ping();
        } else {
            self.effects.push(Effect::Unled { term, stores: vec![from_store] });
        }
    }

    /// A rejection in raft's words, in our own term. Silence would leave the candidate guessing.
    fn refuse_vote(&mut self, to_store: StoreId, request: &Message) {
        let kind = match convert::message_type(request) {
            Some(MessageType::MsgRequestPreVote) => MessageType::MsgRequestPreVoteResponse,
            _ => MessageType::MsgRequestVoteResponse,
        };
        let rejection = Message {
            msg_type: kind.into(),
            to: request.from,
            from: self.id.0,
            term: self.raw.raft.term,
            reject: true,
            ..Message::default()
        };
        self.send_to_store(to_store, &rejection);
    }
}
