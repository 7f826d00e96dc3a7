//! Random schedules over whole groups: cuts, delays, crashes, withdrawals, changes, transfers. Each seed is replayed exactly.
//!
//! After every step: one leader a term (the group asserts it), one entry a committed position (likewise), and no replica holds a lease
//! while another one of a later term leads or has voted itself in. At the end everything heals, one leader a range remains, all
//! replicas have all. The range may split at any moment; keys on both sides are read and written all the time.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::too_many_lines, clippy::unwrap_used, missing_docs)]

mod group;

use std::time::Duration;

use holdfast_replica::{AdminRequest, Input, MembershipChange, RaftEnvelope};
use holdfast_types::{Condition, Expected, Mutation, RangeId, ReplicaId, Request, StoreId};

use prost011::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};

use self::group::{Group, Part, RANGE, site};

/// What a split makes of the upper half of the keys.
const RIGHT: RangeId = RangeId(8);

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn store(&mut self, group: &Group) -> StoreId {
        StoreId(1 + self.below(group.stores.len() as u64))
    }
}

/// A lease and a later leader must never exist at the same moment.
fn no_lease_beside_a_later_leader(group: &Group, seed: u64) {
    for range in [RANGE, RIGHT] {
        let statuses: Vec<_> = group.stores.keys().filter_map(|id| group.status_of(*id, range)).collect();
        for holder in statuses.iter().filter(|s| s.lease) {
            let later = statuses.iter().find(|s| s.role == "leader" && s.term > holder.term);
            assert!(later.is_none(), "seed {seed}: {holder} holds a lease of {range} beside {}", later.unwrap());
        }
    }
}

fn put(group: &mut Group, at: StoreId, (range, key): (RangeId, &str), n: u64) {
    let value = Some(bytes::Bytes::from(n.to_string()));
    let mutations = vec![Mutation { key: Group::key(key), value, expires_at: None }];
    group.request(at, range, format!("put {key} {n}"), Request::Write { conditions: Vec::new(), mutations });
}

/// A range that may hold a key, and the key: one left of where the range splits, or one right of it, asked of either side.
fn place(random: &mut Random, group: &Group) -> (RangeId, &'static str) {
    let is_split = group.stores.values().any(|s| s.replicas.contains_key(&RIGHT));
    match random.below(4) {
        0 | 1 => (RANGE, "k"),
        2 if is_split => (RIGHT, "x"),
        _ => (RANGE, "x"),
    }
}

fn act(group: &mut Group, random: &mut Random, n: u64) {
    let (a, b) = (random.store(group), random.store(group));
    let (range, key) = place(random, group);
    match random.below(31) {
        0..=4 => put(group, a, (range, key), n),
        5 => {
            group.cut.insert((a, b));
        }
        6 => {
            group.cut.remove(&(a, b));
        }
        7 => group.cut.clear(),
        8 => {
            group.delayed.insert((a, b));
        }
        9 | 10 => group.delayed.clear(),
        11 => {
            let part = [Part::Persist, Part::Apply][usize::try_from(random.below(2)).unwrap()];
            group.stores.get_mut(&a).unwrap().held.insert(part);
        }
        12 | 13 => group.stores.get_mut(&a).unwrap().held.clear(),
        14 if group.stores.values().all(|s| s.alive) => {
            group.kill(a);
            group.stores.get_mut(&a).unwrap().abstains = true;
        }
        15 | 16 => revive(group),
        17 => group.flush(a),
        18 => group.admin(a, range, "transfer".into(), AdminRequest::Transfer { to: ReplicaId(b.0) }),
        19 => {
            let change = match random.below(3) {
                0 => MembershipChange::AddLearner { store: b, site: site(b) },
                1 => {
                    let promote = vec![ReplicaId(1 + random.below(9))];
                    MembershipChange::Reconfigure { promote, demote: vec![ReplicaId(1 + random.below(9))] }
                }
                _ => MembershipChange::RemoveLearner { replica: ReplicaId(1 + random.below(9)) },
            };
            group.admin(a, range, "change".into(), AdminRequest::ChangeMembership(change));
        }
        20 => {
            let at = random.below(group.wires.len() as u64 + 1);
            group.wires.remove(usize::try_from(at).unwrap());
        }
        24..=26 => {
            let request = Request::Get { keys: vec![Group::key(key)], at: None };
            group.request(a, range, format!("get {key} {n}"), request);
        }
        27 => {
            let key = Group::key(key);
            let conditions = vec![Condition { key: key.clone(), expected: Expected::Absent }];
            let mutations = vec![Mutation { key, value: Some("x".into()), expires_at: None }];
            group.request(a, range, format!("cas {n}"), Request::Write { conditions, mutations });
        }
        28 => {
            group.stores.get_mut(&a).unwrap().held.insert(Part::Read);
        }
        30 => group.admin(a, RANGE, "split".into(), AdminRequest::Split { at: Group::key("m"), right: RIGHT }),
        21 => {
            // Messages overtake each other on different links only; on one link a whole batch may be late.
            group.delayed.insert((b, a));
        }
        _ => group.advance(Duration::from_millis(1 + random.below(120))),
    }
}

fn revive(group: &mut Group) {
    let dead: Vec<StoreId> = group.stores.values().filter(|s| !s.alive).map(|s| s.id).collect();
    for id in dead {
        group.restart(id);
    }
}

/// A restarted store abstains for one interval.
fn wake_up(group: &mut Group) {
    let alive: Vec<StoreId> = group.stores.values().filter(|s| s.alive && s.abstains).map(|s| s.id).collect();
    for id in alive {
        group.stores.get_mut(&id).unwrap().abstains = false;
    }
}

/// Print what happens; for looking at one seed.
fn show() -> bool {
    std::env::var("HOLDFAST_SHOW").is_ok()
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut group = Group::default();
    group.trace = show();
    group.print = show();
    group.quorum_reads = seed.is_multiple_of(5);
    group.found(4, 3, 1);
    group.advance(Duration::from_millis(500));
    let mut restarted_at = group.now;
    for n in 0..250 {
        let before: Vec<bool> = group.stores.values().map(|s| s.alive).collect();
        if show() {
            println!("-- {n}");
        }
        act(&mut group, &mut random, n);
        if group.stores.values().map(|s| s.alive).collect::<Vec<_>>() != before {
            restarted_at = group.now;
        }
        if group.now.since(restarted_at) > Duration::from_millis(600) {
            wake_up(&mut group);
        }
        if random.below(3) > 0 {
            group.run();
        }
        no_lease_beside_a_later_leader(&group, seed);
        if show() {
            group.events.iter().for_each(|e| println!("{n}: {e}"));
        }
        let quarantined = group.events.iter().find(|e| e.contains("quarantined") || e.contains("cannot be opened"));
        assert!(quarantined.is_none(), "seed {seed}: {}", quarantined.unwrap());
        group.events.clear();
    }
    heal(&mut group, seed);
}

fn heal(group: &mut Group, seed: u64) {
    group.cut.clear();
    group.delayed.clear();
    group.stores.values_mut().for_each(|s| s.held.clear());
    revive(group);
    group.advance(Duration::from_millis(700));
    wake_up(group);
    group.advance(Duration::from_secs(2));
    everybody_speaks(group);
    group.advance(Duration::from_secs(5));
    if show() {
        group.events.iter().for_each(|e| println!("heal: {e}"));
    }
    let fault = group.events.iter().find(|e| e.contains("quarantined") || e.contains("cannot be opened"));
    assert!(fault.is_none(), "seed {seed}: {}", fault.unwrap());
    led_and_complete(group, (RANGE, "k"), seed);
    if group.stores.values().any(|s| s.replicas.contains_key(&RIGHT)) {
        led_and_complete(group, (RIGHT, "x"), seed);
    }
}

/// A learner that was removed while it could not be told never says anything by itself; whoever hears it tells it. While it lives it
/// is in the way of what a split made of its keys.
fn everybody_speaks(group: &mut Group) {
    let speakers: Vec<_> = group.stores.values().flat_map(|s| s.replicas.values().map(|r| (s.id, r.id()))).collect();
    for (to_store, to) in speakers.clone() {
        for (from_store, from) in speakers.iter().copied().filter(|(store, _)| *store != to_store) {
            let mut message = Message { from: from.0, to: to.0, term: 1, reject: true, ..Message::default() };
            message.set_msg_type(MessageType::MsgRequestPreVoteResponse);
            let message = message.encode_to_vec().into();
            let envelope = RaftEnvelope { range: RANGE, from, to, descriptor: None, stamp: None, message };
            group.step(to_store, RANGE, Input::Message { from_store, envelope });
        }
    }
}

/// One leader with a lease, all replicas have everything, and it takes a write.
fn led_and_complete(group: &mut Group, place: (RangeId, &str), seed: u64) {
    let range = place.0;
    let statuses: Vec<_> = group.stores.keys().filter_map(|id| group.status_of(*id, range)).collect();
    let leaders: Vec<_> = statuses.iter().filter(|s| s.role == "leader").collect();
    let all = statuses.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(leaders.len(), 1, "seed {seed}, {range}:\n{all}");
    let leader = leaders[0];
    assert!(leader.lease, "seed {seed}, {range}:\n{all}");
    assert!(leader.matched.iter().all(|(_, matched)| *matched == leader.last), "seed {seed}, {range}:\n{all}");
    let leads = |s: &&group::Store| s.replicas.get(&range).is_some_and(|r| r.id() == leader.replica);
    let at = group.stores.values().find(leads).unwrap().id;
    group.events.clear();
    put(group, at, place, 9_999);
    group.run();
    assert!(group.events.iter().any(|e| e.contains("written")), "seed {seed}: {:?}\n{all}", group.events);
}

#[test]
fn random_schedules_keep_the_invariants_and_heal() {
    let (first, count) = match std::env::var("HOLDFAST_SEED") {
        Ok(seed) => (seed.parse().unwrap(), 1),
        Err(_) => (0, std::env::var("HOLDFAST_SEEDS").map_or(150, |n| n.parse().unwrap())),
    };
    for seed in first..first + count {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            println!("failed at seed {seed}: HOLDFAST_SEED={seed} HOLDFAST_SHOW=1 shows it");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Messages that nobody sent, from members and strangers alike: whatever they say, no replica panics, and none is quarantined but
/// for a heartbeat that speaks of what it lost.
#[test]
fn arbitrary_messages_never_panic() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let mut group = Group::default();
        group.found(3, 3, 0);
        group.advance(Duration::from_millis(500));
        put(&mut group, StoreId(3), (RANGE, "k"), seed);
        group.run();
        for _ in 0..60 {
            let mut small = || if random.below(8) == 0 { random.next() } else { random.below(12) };
            let mut message = Message {
                msg_type: i32::try_from(small() % 21).unwrap(),
                from: 1 + small() % 4,
                to: 1 + small() % 3,
                term: small(),
                log_term: small(),
                index: small(),
                commit: small() % 8,
                commit_term: small(),
                reject: small() % 2 == 0,
                reject_hint: small(),
                request_snapshot: if small() == 0 { small() } else { 0 },
                ..Message::default()
            };
            for _ in 0..small() % 3 {
                let (index, term) = (small(), small());
                message.entries.push(Entry {
                    index,
                    term,
                    entry_type: i32::try_from(small() % 4).unwrap(),
                    ..Entry::default()
                });
            }
            let (from, to) = (ReplicaId(message.from), ReplicaId(message.to));
            let envelope = RaftEnvelope {
                range: RANGE,
                from,
                to,
                descriptor: None,
                stamp: None,
                message: message.encode_to_vec().into(),
            };
            group.step(StoreId(to.0), RANGE, Input::Message { from_store: StoreId(from.0), envelope });
            let bad = group.events.iter().find(|e| e.contains("panic") || e.contains("invariant"));
            assert!(bad.is_none(), "seed {seed}: {} after {message:?}", bad.unwrap());
        }
    }
}
