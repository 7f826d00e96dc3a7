//! A little fleet that carries out operators: what leaders would do, without replication. It keeps its own idea of what is
//! legal and panics when a step breaks it.

#![allow(dead_code)] // Each test binary uses a part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use holdfast_placement::{FleetView, Operator, Policies, RangeView, Step, SurvivalGoal, explain, plan};
use holdfast_types::{RangeDescriptor, RangeId, ReplicaDescriptor, ReplicaId, Role, SiteName, StoreId};

#[derive(Default)]
pub struct Model {
    pub view: FleetView,
    pub policies: Policies,
    /// Rounds that a copy takes.
    pub copy_rounds: usize,
    pub copying: BTreeMap<(RangeId, ReplicaId), usize>,
    /// Voters that live and have caught up, of which each half of a range must have so many after every step.
    pub floor: BTreeMap<RangeId, usize>,
}

impl Model {
    /// Plans, carries out the first step of each operator, and lets joint configurations be left. The operators, as planned.
    pub fn round(&mut self) -> Vec<Operator> {
        self.leave_joint();
        self.copy();
        let operators = plan(&self.view, &self.policies);
        assert_eq!(operators, plan(&self.view, &self.policies), "the same view gives the same plan");
        let ranges: BTreeSet<_> = operators.iter().map(|o| o.range).collect();
        assert_eq!(ranges.len(), operators.len(), "one operator per range");
        for operator in &operators {
            self.apply(operator);
        }
        operators
    }

    /// Rounds until nothing is planned and nothing is joint; the number of rounds, or `None` when it takes more than `most`.
    pub fn settle(&mut self, most: usize) -> Option<usize> {
        let mut rounds = 0;
        while rounds <= most {
            let idle = self.round().is_empty() && !self.view.ranges.values().any(|r| r.descriptor.is_joint());
            if idle && !self.leaders_settle() {
                return Some(rounds);
            }
            rounds += usize::from(!idle);
        }
        None
    }

    /// Copies get on.
    fn copy(&mut self) {
        let ranges = &mut self.view.ranges;
        self.copying.retain(|(range, replica), rounds| {
            *rounds -= 1;
            let Some(known) = ranges.get_mut(range).filter(|_| *rounds == 0) else { return *rounds > 0 };
            known.caught_up.insert(*replica);
            false
        });
    }

    /// Leaders have been where they are for long. False: they had been already.
    fn leaders_settle(&mut self) -> bool {
        let moved = self.view.ranges.values_mut().filter_map(|range| range.led_since.take());
        moved.count() > 0
    }

    pub fn held(&self) -> Vec<String> {
        let held = explain(&self.view, &self.policies).held;
        held.iter().map(|h| format!("{} {:?} held: {}", h.range, h.reason, h.why)).collect()
    }

    fn apply(&mut self, operator: &Operator) {
        let range = self.view.ranges.get_mut(&operator.range).expect("planned for a known range");
        assert_eq!(operator.epoch, range.descriptor.epoch);
        let leader = range.leader.expect("a leader carries out steps");
        assert!(self.view.stores[&leader].alive, "{operator}: the leader is alive");
        let step = &operator.steps[0];
        let allowed = surplus(&range.descriptor);
        match step {
            Step::AddLearner { store, site } => {
                assert!(!self.view.stores[store].distrusted, "{operator}: nothing is copied to who is not believed");
                if let Some(replica) = add_learner(range, *store, site) {
                    if self.copy_rounds == 0 {
                        range.caught_up.insert(replica);
                    } else {
                        self.copying.insert((operator.range, replica), self.copy_rounds);
                    }
                }
            }
            Step::RemoveLearner { replica } => {
                assert_eq!(range.descriptor.replica(*replica).expect("exists").role, Role::Learner, "{operator}");
                range.descriptor.replicas.retain(|r| r.replica != *replica);
                range.descriptor.epoch.membership += 1;
            }
            Step::TransferLeader { replica, store } => {
                let to = range.descriptor.replica(*replica).expect("exists");
                assert!(
                    to.role == Role::Voter && to.store == *store && range.caught_up.contains(replica),
                    "{operator}"
                );
                let seen = &self.view.stores[store];
                assert!(seen.alive && !seen.draining && !seen.leaving, "{operator}");
                range.leader = Some(*store);
                range.led_since = Some(self.view.now);
            }
            Step::PromoteAndDemote { promote, demote } => {
                for r in &mut range.descriptor.replicas {
                    if promote.contains(&r.replica) {
                        assert_eq!(r.role, Role::Learner);
                        assert!(
                            range.caught_up.contains(&r.replica),
                            "{operator}: only what has caught up is promoted"
                        );
                        r.role = Role::IncomingVoter;
                    } else if demote.contains(&r.replica) {
                        assert_eq!(r.role, Role::Voter);
                        assert_ne!(r.store, leader, "{operator}: the leader is never demoted");
                        r.role = Role::OutgoingVoter;
                    }
                }
                range.descriptor.epoch.membership += 1;
            }
            Step::Split { .. } => self.split(operator.range),
        }
        self.check(operator.range, allowed);
    }

    fn split(&mut self, id: RangeId) {
        let next = RangeId(self.view.ranges.keys().last().expect("one").0 + 1);
        let left = self.view.ranges.get_mut(&id).expect("known");
        left.size_bytes /= 2;
        left.load.requests_millis_per_second /= 2;
        left.descriptor.epoch.bounds += 1;
        let mut right = left.clone();
        right.descriptor.range = next;
        self.view.ranges.insert(next, right);
    }

    pub fn leave_joint(&mut self) {
        let ids: Vec<_> = self.view.ranges.keys().copied().collect();
        for id in ids {
            let range = self.view.ranges.get_mut(&id).expect("known");
            // Leaving takes a leader, and so a quorum of both halves.
            if range.descriptor.is_joint() && range.leader.is_some() {
                let allowed = surplus(&range.descriptor);
                range.descriptor.epoch.membership += 1;
                for r in &mut range.descriptor.replicas {
                    r.role = match r.role {
                        Role::IncomingVoter => Role::Voter,
                        Role::OutgoingVoter => Role::Learner,
                        role => role,
                    };
                }
                self.check(id, allowed);
            }
        }
    }

    /// The shapes that no step may lead to. `allowed`: voters beyond one per site before the step; 0 unless the goal was raised.
    fn check(&self, id: RangeId, allowed: usize) {
        let range = &self.view.ranges[&id];
        range.descriptor.check().expect("a sound descriptor");
        let policies = self.policies.within_sites(self.view.sites().len());
        if policies.of(&range.descriptor).goal == SurvivalGoal::Site {
            assert!(surplus(&range.descriptor) <= allowed, "{:?} is crowded", range.descriptor);
        }
        let live = |r: &ReplicaDescriptor| self.view.stores[&r.store].alive && range.is_caught_up(r);
        assert!(range.descriptor.is_quorum(live), "{:?} has no live quorum", range.descriptor);
        if let Some(floor) = self.floor.get(&id) {
            for half in [
                range.descriptor.incoming_voters().filter(|r| live(r)).count(),
                range.descriptor.outgoing_voters().filter(|r| live(r)).count(),
            ] {
                assert!(half >= *floor, "{:?} has {half} sound voters, {floor} are wanted", range.descriptor);
            }
        }
        let leads = |r: &ReplicaDescriptor| Some(r.store) == range.leader && r.role != Role::Learner;
        assert!(range.descriptor.replicas.iter().any(leads), "{:?} is led by {:?}", range.descriptor, range.leader);
    }

    /// What a dead store causes: leaders elsewhere, where a quorum is left.
    pub fn set_alive(&mut self, store: StoreId, alive: bool) {
        let now = self.view.now;
        let seen = self.view.stores.get_mut(&store).expect("known");
        seen.alive = alive;
        seen.silent_since = (!alive).then_some(now);
        seen.alive_since = alive.then_some(now);
        let stores = &self.view.stores;
        for range in self.view.ranges.values_mut() {
            let live = |r: &ReplicaDescriptor| stores[&r.store].alive;
            let led = range.leader.is_some_and(|s| stores[&s].alive) && range.descriptor.is_quorum(live);
            if !led {
                let heir = range.descriptor.incoming_voters().find(|r| live(r)).map(|r| r.store);
                range.leader = heir.filter(|_| range.descriptor.is_quorum(live));
                range.leader_has_lease = range.leader.is_some();
            }
        }
    }

    /// What an operator causes who distrusts a site: its stores are cut off, and others lead.
    pub fn distrust(&mut self, site: &SiteName) {
        let there = self.view.stores.iter().filter(|(_, store)| store.site == *site);
        let there: Vec<_> = there.map(|(id, _)| *id).collect();
        for store in there {
            self.set_alive(store, false);
        }
        self.view.distrust(&BTreeSet::from([site.clone()]));
    }

    /// Takes it back: the stores are reached again.
    pub fn restore(&mut self, site: &SiteName) {
        let there = self.view.stores.iter().filter(|(_, store)| store.site == *site);
        let there: Vec<_> = there.map(|(id, _)| *id).collect();
        for store in there {
            self.view.stores.get_mut(&store).expect("known").distrusted = false;
            self.set_alive(store, true);
        }
    }

    pub fn show(&self) -> String {
        let mut out = String::new();
        for (id, range) in &self.view.ranges {
            let leader = range.leader.map_or("nobody".to_owned(), |s| s.to_string());
            writeln!(out, "{id} {} led by {leader}", show_replicas(&range.descriptor)).expect("a string");
        }
        out
    }

    /// Voters and leaders per store, and how many ranges use each combination of sites.
    pub fn counts(&self) -> String {
        let mut out = String::new();
        for (id, store) in &self.view.stores {
            let voters = self.view.ranges.values().filter(|r| r.voter_stores().contains(id)).count();
            let leaders = self.view.ranges.values().filter(|r| r.leader == Some(*id)).count();
            writeln!(out, "{id} ({}) voters={voters} leaders={leaders}", store.site).expect("a string");
        }
        let mut combinations: BTreeMap<Vec<&SiteName>, usize> = BTreeMap::new();
        for range in self.view.ranges.values() {
            let mut sites: Vec<_> = range.descriptor.voters().map(|r| &r.site).collect();
            sites.sort();
            *combinations.entry(sites).or_default() += 1;
        }
        for (sites, ranges) in combinations {
            writeln!(out, "{sites:?} ranges={ranges}").expect("a string");
        }
        out
    }
}

/// By how many voters the fuller half exceeds one per site.
fn surplus(descriptor: &RangeDescriptor) -> usize {
    let count = |half: Vec<&SiteName>| half.len() - half.iter().collect::<BTreeSet<_>>().len();
    let incoming = count(descriptor.incoming_voters().map(|r| &r.site).collect());
    incoming.max(count(descriptor.outgoing_voters().map(|r| &r.site).collect()))
}

/// The new replica; `None`: it was there before.
fn add_learner(range: &mut RangeView, store: StoreId, site: &SiteName) -> Option<ReplicaId> {
    if range.descriptor.replica_on(store).is_some() {
        return None;
    }
    let replica = range.descriptor.next_replica;
    range.descriptor.next_replica = replica.next();
    range.descriptor.epoch.membership += 1;
    range.descriptor.replicas.push(ReplicaDescriptor { replica, store, site: site.clone(), role: Role::Learner });
    Some(replica)
}

fn show_replicas(descriptor: &RangeDescriptor) -> String {
    let show = |r: &ReplicaDescriptor| {
        let role = match r.role {
            Role::Voter => "",
            Role::Learner => " learner",
            Role::IncomingVoter => " incoming",
            Role::OutgoingVoter => " outgoing",
        };
        format!("{}@{}({}){role}", r.replica, r.store, r.site)
    };
    let shown: Vec<_> = descriptor.replicas.iter().map(show).collect();
    shown.join(" ")
}
