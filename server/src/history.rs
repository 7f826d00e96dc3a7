//! From what the store's threads say to events.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_proto::v1::EventKind;
use holdfast_replica::Standing;
use holdfast_types::{RangeDescriptor, RangeEpoch, RangeId, Role, StoreId};
use parking_lot::Mutex;

use crate::events::EventLog;

/// Compares each picture of a range with the one before, and notes what changed.
pub struct History {
    store: StoreId,
    events: Arc<EventLog>,
    ranges: Mutex<BTreeMap<RangeId, Seen>>,
}

/// A range as it was seen last.
struct Seen {
    epoch: RangeEpoch,
    leads: bool,
    /// It led, and who came next is not known yet.
    gave_up: bool,
}

impl History {
    /// The history of a store.
    pub fn new(store: StoreId, events: Arc<EventLog>) -> Self {
        Self { store, events, ranges: Mutex::default() }
    }

    /// A range looks different.
    pub fn standing(&self, standing: &Standing) {
        let (range, term) = (standing.descriptor.range, standing.term.0);
        let now = Seen { epoch: standing.descriptor.epoch, leads: standing.leads, gave_up: false };
        let mut ranges = self.ranges.lock();
        let before = ranges.get(&range);
        let led = before.is_some_and(|before| before.leads);
        let gave_up = !now.leads && (led || before.is_some_and(|before| before.gave_up));
        let epoch = before.map_or(now.epoch, |before| before.epoch);
        let next = standing.leader.map(|(_, store)| store).filter(|store| *store != self.store && gave_up);
        ranges.insert(range, Seen { gave_up: gave_up && next.is_none(), ..now });
        drop(ranges);
        let note = |kind, other, message| self.events.note(kind, Some(range), other, message);
        if standing.leads && !led {
            note(EventKind::LeaderElected, None, format!("{} leads {range} in term {term}", self.store));
        }
        if let Some(next) = next {
            let message = format!("{range} went from {} to {next} in term {term}", self.store);
            note(EventKind::LeaderHandedOver, Some(next), message);
        }
        if !standing.leads {
            return;
        }
        if standing.descriptor.epoch.bounds > epoch.bounds {
            let end = standing.descriptor.bounds.end.as_ref();
            let end = end.map_or_else(|| "the end of all keys".to_owned(), ToString::to_string);
            note(EventKind::RangeSplit, None, format!("{range} was split: it ends before {end} now"));
        }
        if standing.descriptor.epoch.membership > epoch.membership {
            note(EventKind::ReplicasChanged, None, format!("replicas of {range}: {}", replicas(&standing.descriptor)));
        }
    }
}

fn replicas(descriptor: &RangeDescriptor) -> String {
    let role = |role: Role| match role {
        Role::Voter => "",
        Role::Learner => " learner",
        Role::IncomingVoter => " incoming",
        Role::OutgoingVoter => " outgoing",
    };
    let each = descriptor.replicas.iter().map(|r| format!("{} ({}){}", r.store, r.site, role(r.role)));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use holdfast_kv::ports::Clock;
    use holdfast_types::{Incarnation, KeyRange, Moment, ReplicaDescriptor, ReplicaId, SiteName, Term, Timestamp};

    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Moment {
            Moment(1)
        }

        fn wall_ms(&self) -> u64 {
            1
        }
    }

    fn standing(term: u64, leader: Option<u64>, epoch: (u64, u64)) -> Standing {
        let site = SiteName::new("a").unwrap();
        let replica = |id| ReplicaDescriptor {
            replica: ReplicaId(id),
            store: StoreId(id),
            site: site.clone(),
            role: Role::Voter,
        };
        let descriptor = RangeDescriptor {
            range: RangeId(7),
            bounds: KeyRange::all(),
            epoch: RangeEpoch { membership: epoch.0, bounds: epoch.1 },
            replicas: vec![replica(1), replica(2)],
            next_replica: ReplicaId(3),
        };
        let leads = leader == Some(1);
        Standing { descriptor, term: Term(term), leader: leader.map(|id| (ReplicaId(id), StoreId(id))), leads }
    }

    #[test]
    fn a_leadership_a_split_and_new_replicas_are_each_noted_once() {
        let dir = tempfile::tempdir().unwrap();
        let site = SiteName::new("a").unwrap();
        let events = EventLog::open(dir.path(), StoreId(1), site, Incarnation(1), Arc::new(Fixed));
        let events = Arc::new(events);
        let history = History::new(StoreId(1), Arc::clone(&events));
        for seen in [
            standing(1, Some(2), (1, 1)),
            standing(2, Some(1), (1, 1)),
            standing(2, Some(1), (1, 1)),
            standing(2, Some(1), (1, 2)),
            standing(2, Some(1), (2, 2)),
            standing(3, None, (2, 2)),
            standing(3, Some(2), (2, 2)),
            standing(3, Some(2), (3, 2)),
        ] {
            history.standing(&seen);
        }
        let (events, _) = events.newest(99, Timestamp::ZERO);
        let kinds: Vec<_> = events.iter().rev().map(|event| event.kind()).collect();
        let expected =
            [EventKind::LeaderElected, EventKind::RangeSplit, EventKind::ReplicasChanged, EventKind::LeaderHandedOver];
        assert_eq!(kinds, expected);
        assert_eq!(events[0].other_store, 2);
    }
}
