//! Attempts that are repeated, delayed and reordered, under leader changes, passing time and removal of records: every request
//! happens at most once, and whoever is answered is answered the truth.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_replica::Outcome;
use holdfast_replica::command::{Garbage, GarbageRecord, Split, WriteOutcome};
use holdfast_replica::pipeline::AdminWrite;
use holdfast_replica::slots::{CompletionRecord, SlotCache};
use holdfast_types::storage::Version;
use holdfast_types::{
    ClientId, Condition, Expected, Moment, RangeId, Rejected, ReplicaId, Request, Response, Sequence, Slot, Timestamp,
    VersionedValue, WriteAttempt, limits,
};
use proptest::prelude::*;

use crate::model::{Leader, START_MS, attempt, key, mutation};

const SLOTS: u16 = 3;
const CLIENT: u128 = 1 << 64 | 5;
/// Clocks of leaders differ by less than is tolerated.
const MOST_AHEAD_MS: u64 = 450;

#[derive(Clone, Debug)]
enum Step {
    /// The client makes a further attempt of its slot's request, with a last moment this far ahead.
    Send(u16, u64),
    /// The client goes on to the next request of the slot.
    Next(u16),
    /// Any attempt ever made arrives, perhaps not for the first time.
    Deliver(prop::sample::Index),
    Evaluate,
    Confirm,
    Propose,
    Apply(usize),
    /// Another term, with this many of the entries that are not applied, and a leader whose clock is ahead by this much.
    Elect(usize, u64),
    Pass(u64),
    Collect,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..SLOTS, 0u64..60_000).prop_map(|(slot, ahead_ms)| Step::Send(slot, ahead_ms)),
        4 => (0..SLOTS).prop_map(Step::Next),
        14 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        8 => Just(Step::Evaluate),
        1 => Just(Step::Confirm),
        8 => Just(Step::Propose),
        6 => (1usize..4).prop_map(Step::Apply),
        2 => (0usize..3, 0..MOST_AHEAD_MS).prop_map(|(kept, ahead_ms)| Step::Elect(kept, ahead_ms)),
        3 => prop_oneof![0u64..2_000, 0u64..60_000].prop_map(Step::Pass),
        2 => Just(Step::Collect),
    ]
}

/// What a client keeps of a slot.
#[derive(Clone, Copy)]
struct Session {
    sequence: u64,
    attempts: u32,
    began: Timestamp,
}

struct World {
    leader: Leader,
    sessions: Vec<Session>,
    sent: Vec<(WriteAttempt, Request)>,
    /// Whose ticket it was.
    tickets: BTreeMap<u64, (Slot, Sequence)>,
    next_ticket: u64,
    /// How far the leader's clock is ahead.
    ahead_ms: u64,
    /// The newest fleet time that the client learned.
    fleet: Timestamp,
}

impl World {
    fn new() -> Self {
        let session = Session { sequence: 1, attempts: 0, began: Timestamp::ZERO };
        Self {
            leader: Leader::new(),
            sessions: vec![session; usize::from(SLOTS)],
            sent: Vec::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            ahead_ms: 0,
            fleet: Timestamp::ZERO,
        }
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(slot, ahead_ms) => self.send(slot, ahead_ms),
            Step::Next(slot) => {
                let session = &mut self.sessions[usize::from(slot)];
                session.sequence += u64::from(session.attempts > 0);
                session.attempts = 0;
            }
            Step::Deliver(which) if !self.sent.is_empty() => {
                let (write, request) = which.get(&self.sent).clone();
                self.deliver(write, request);
            }
            Step::Deliver(_) => {}
            Step::Evaluate => drop(self.leader.evaluate()),
            Step::Confirm => drop(self.leader.confirm()),
            Step::Propose => drop(self.leader.propose()),
            Step::Apply(most) => drop(self.leader.apply(most)),
            Step::Elect(kept, ahead_ms) => {
                self.leader.wall_ms = self.leader.wall_ms - self.ahead_ms + ahead_ms;
                self.ahead_ms = ahead_ms;
                self.leader.elect(kept);
            }
            Step::Pass(ms) => {
                self.leader.wall_ms += ms;
                self.leader.moment = Moment(self.leader.moment.0 + ms * 1_000);
                let outputs = self.leader.pipeline.expire(self.leader.now());
                self.leader.take(outputs);
            }
            Step::Collect => self.collect(),
        }
    }

    fn send(&mut self, slot: u16, ahead_ms: u64) {
        self.fleet = self.fleet.max(self.leader.now().fleet);
        let now = self.fleet;
        let session = &mut self.sessions[usize::from(slot)];
        if session.attempts == 0 {
            session.began = now;
        }
        let deadline = session.began.after(limits::MAX_DEADLINE);
        if now > deadline {
            return;
        }
        session.attempts += 1;
        let last_moment = Timestamp::from_ms(now.ms() + ahead_ms).min(deadline).max(now);
        let write = attempt(CLIENT, slot, session.sequence, session.attempts, last_moment);
        self.sent.push((write, request_of(slot, session.sequence)));
    }

    fn deliver(&mut self, write: WriteAttempt, request: Request) {
        let ticket = self.ticket();
        self.tickets.insert(ticket, (write.id.slot, write.id.sequence));
        self.leader.request(ticket, Some(write), request);
    }

    /// All records, whether they may go or not: apply must tell.
    fn collect(&mut self) {
        let found = self.leader.model.completions.iter().map(|((_, client, slot), record)| GarbageRecord {
            client: *client,
            slot: *slot,
            sequence: CompletionRecord::decode(record.clone()).unwrap().sequence,
        });
        let garbage = Garbage { keys: Vec::new(), records: found.collect() };
        let ticket = self.ticket();
        self.leader.admin(ticket, AdminWrite::CollectGarbage(garbage));
    }

    /// Timestamps of the versions that each request wrote.
    fn written(&self) -> BTreeMap<(u16, u64), Vec<Timestamp>> {
        let mut written: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for slot in 0..SLOTS {
            let of_slot = key(&format!("k{slot}"));
            for ((key, at), version) in &self.leader.model.versions {
                let Version::Value { value, .. } = version else { panic!("nothing is deleted here") };
                if *key == of_slot {
                    let sequence = std::str::from_utf8(value).unwrap().parse().unwrap();
                    written.entry((slot, sequence)).or_default().push(at.0);
                }
            }
        }
        written
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let written = self.written();
        let mut newest: BTreeMap<u16, Timestamp> = BTreeMap::new();
        for ((slot, sequence), at) in &written {
            prop_assert_eq!(at.len(), 1, "request {} of slot {} happened more than once", sequence, slot);
            let before = newest.insert(*slot, at[0]);
            prop_assert!(before < Some(at[0]), "request {} of slot {} came after a newer one", sequence, slot);
        }
        for (slot, sequence) in self.tickets.values() {
            let at = written.get(&(slot.0, sequence.0)).map(|at| at[0]);
            let mine = self.tickets.iter().filter(|(_, of)| **of == (*slot, *sequence));
            let answers: Vec<_> = mine.filter_map(|(ticket, _)| self.leader.answer(*ticket)).collect();
            for outcome in answers.iter().filter_map(|answer| answer.as_ref().ok()) {
                let Outcome::Response(Response::Written { timestamp }) = outcome else {
                    return Err(TestCaseError::fail(format!("{outcome:?} of a request that nothing can fail")));
                };
                prop_assert_eq!(Some(*timestamp), at, "the answer is not what happened");
            }
            let nothing_done = |answer: &&Result<Outcome, Rejected>| matches!(answer, Err(rejected) if !rejected.is_ambiguous() && *rejected != Rejected::StaleSequence);
            if answers.iter().all(nothing_done) {
                prop_assert_eq!(at, None, "every attempt was refused, but it happened: {:?}", answers);
            }
        }
        prop_assert_eq!(self.leader.answers.len(), usize::try_from(self.next_ticket).unwrap(), "all are answered");
        Ok(())
    }
}

/// Odd requests are blind, even ones conditional on a key that only they write.
fn request_of(slot: u16, sequence: u64) -> Request {
    let mut mutations = vec![mutation(&format!("k{slot}"), Some(&sequence.to_string()))];
    let mut conditions = Vec::new();
    if sequence.is_multiple_of(2) {
        let own = format!("u{slot}-{sequence}");
        conditions.push(Condition { key: key(&own), expected: Expected::Absent });
        mutations.push(mutation(&own, Some("mine")));
    }
    Request::Write { conditions, mutations }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_request_happens_at_most_once(steps in proptest::collection::vec(any_step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.leader.settle();
        world.check()?;
    }
}

#[test]
fn the_check_sees_a_record_that_is_lost_too_early() {
    let mut world = World::new();
    world.step(Step::Send(0, 60_000));
    let (write, request) = world.sent[0].clone();
    world.deliver(write, request.clone());
    world.leader.settle();
    assert!(world.check().is_ok());
    world.leader.model.completions.clear();
    world.leader.elect(0);
    world.deliver(write, request);
    world.leader.settle();
    assert!(world.check().is_err(), "it happened twice");
}

#[test]
fn a_second_attempt_waits_for_the_first_and_finds_its_record() {
    let mut world = World::new();
    world.step(Step::Send(0, 10_000));
    world.step(Step::Send(0, 10_000));
    for (write, request) in world.sent.clone() {
        world.deliver(write, request);
    }
    assert_eq!(world.leader.evaluations.len(), 1, "the second waits for the slot");
    world.leader.settle();
    assert_eq!(world.leader.answer(1), world.leader.answer(2));
    assert!(matches!(world.leader.answer(1), Some(Ok(Outcome::Response(Response::Written { .. })))));
    assert!(world.leader.evaluations.is_empty());
}

#[test]
fn a_late_attempt_behind_a_newer_request_is_stale_before_and_after_a_leader_change() {
    let mut world = World::new();
    world.step(Step::Send(0, 60_000));
    world.step(Step::Next(0));
    world.step(Step::Send(0, 60_000));
    let [first, second] = [world.sent[0].clone(), world.sent[1].clone()];
    world.deliver(second.0, second.1);
    world.leader.settle();
    world.deliver(first.0, first.1.clone());
    world.leader.elect(0);
    world.deliver(first.0, first.1);
    world.leader.settle();
    assert_eq!(world.leader.answer(2), Some(&Err(Rejected::StaleSequence)));
    assert_eq!(world.leader.answer(3), Some(&Err(Rejected::StaleSequence)));
}

#[test]
fn another_request_under_the_same_id_is_refused() {
    let mut world = World::new();
    world.step(Step::Send(0, 60_000));
    let (write, request) = world.sent[0].clone();
    world.deliver(write, request);
    world.leader.settle();
    let other = Request::Write { conditions: Vec::new(), mutations: vec![mutation("k0", Some("9"))] };
    world.deliver(write, other);
    assert_eq!(world.leader.answer(2), Some(&Err(Rejected::RequestReused)));
}

#[test]
fn a_slot_costs_one_look_up_under_each_leader() {
    let mut leader = Leader::new();
    let mut look_ups = Vec::new();
    for sequence in 1..7 {
        if sequence == 4 {
            leader.elect(usize::MAX);
        }
        let last_moment = Timestamp::from_ms(leader.wall_ms + 1_000);
        let write = attempt(CLIENT, 1, sequence, 1, last_moment);
        leader.request(sequence, Some(write), request_of(1, 2 * sequence + 1));
        look_ups.push(leader.evaluations.len());
        leader.settle();
    }
    assert_eq!(look_ups, [1, 0, 0, 1, 0, 0]);
    leader.request(99, None, Request::Write { conditions: Vec::new(), mutations: vec![mutation("k0", None)] });
    assert!(leader.evaluations.is_empty() && leader.pipeline.has_batch(), "without an id there is nothing to look up");
}

#[test]
fn known_slots_are_bounded() {
    let mut cache = SlotCache::default();
    let record = |actual| {
        let (last_moment, timestamp) = (Timestamp::ZERO, Timestamp::ZERO);
        let outcome = WriteOutcome::ConditionFailed { index: 0, actual };
        CompletionRecord { sequence: Sequence(1), last_moment, request_hash: 0, timestamp, outcome }
    };
    for client in 0..40 {
        for slot in (0..limits::MAX_SLOTS).map(Slot) {
            cache.put(ClientId(client), slot, Some(record(None)));
            assert_eq!(cache.get(ClientId(0), Slot(0)), Some(Some(&record(None))), "what is used stays");
        }
    }
    assert!(cache.len() <= limits::SLOT_CACHE_RECORDS);
    let actual = VersionedValue { value: Bytes::from("heavy"), timestamp: Timestamp::ZERO, expires_at: None };
    cache.put(ClientId(0), Slot(0), Some(record(Some(actual))));
    assert_eq!(cache.get(ClientId(0), Slot(0)), None, "a record with a value is looked up");
}

#[test]
fn a_record_goes_only_when_nothing_it_decides_can_arrive() {
    let mut world = World::new();
    world.step(Step::Send(0, 5_000));
    let (write, request) = world.sent[0].clone();
    world.deliver(write, request.clone());
    world.leader.settle();
    let mut kept = Vec::new();
    for _ in 0..8 {
        world.step(Step::Pass(10_000));
        world.step(Step::Collect);
        world.leader.settle();
        kept.push(!world.leader.model.completions.is_empty());
    }
    assert_eq!(kept, [true, true, true, true, true, true, false, false]);
    world.leader.elect(0);
    world.deliver(write, request);
    world.leader.settle();
    let ticket = world.next_ticket;
    assert!(matches!(world.leader.answer(ticket), Some(Err(Rejected::PastLastMoment { .. }))));
    assert_eq!(world.leader.model.versions.len(), 1);
    let value = Version::Value { value: Bytes::from("1"), expires_at: None };
    assert_eq!(world.leader.model.versions.values().next(), Some(&value));
}

/// Where the record of a duplicate is found: the leader that wrote it knows it, a new one looks it up, and so does the right side.
#[test]
fn a_duplicate_of_what_was_written_is_answered_though_a_split_has_cut_it_since() {
    for elected in [false, true] {
        let mut leader = Leader::new();
        let write = |number| attempt(CLIENT, 0, 1, number, Timestamp::from_ms(START_MS + 30_000));
        let batch = Request::Write {
            conditions: Vec::new(),
            mutations: vec![mutation("c", Some("1")), mutation("p", Some("1"))],
        };
        leader.request(1, Some(write(1)), batch.clone());
        leader.settle();
        let split = Split { at: key("m"), right: RangeId(8), right_leader: ReplicaId(1) };
        leader.admin(2, AdminWrite::Split(split));
        leader.request(3, Some(write(2)), batch.clone());
        leader.settle();
        assert_eq!(leader.answer(3), leader.answer(1), "it waited for the split");
        if elected {
            leader.elect(0);
        }
        leader.request(4, Some(write(3)), batch.clone());
        leader.settle();
        assert_eq!(leader.answer(4), leader.answer(1), "the left side has the record");
        leader.wall_ms += 31_000;
        leader.request(5, Some(write(4)), batch.clone());
        leader.settle();
        assert_eq!(leader.answer(5), leader.answer(1), "also past its last moment");
        let other = attempt(CLIENT, 1, 1, 2, Timestamp::from_ms(leader.wall_ms + 30_000));
        leader.request(6, Some(other), batch.clone());
        leader.settle();
        let spans = Err(Rejected::SpansRanges { split_key: key("m") });
        assert_eq!(leader.answer(6), Some(&spans), "what was not written is refused");
        leader.serve_right_side(RangeId(8));
        leader.request(7, Some(write(5)), batch);
        leader.settle();
        assert_eq!(leader.answer(7), leader.answer(1), "the right side has the record too");
    }
}
