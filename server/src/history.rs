//! From what the store's threads say to events.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_kv::core::effect::PlacementNews;
use holdfast_kv::ports::Note;
use holdfast_placement::Headroom;
use holdfast_proto::v1::EventKind;
use holdfast_replica::Standing;
use holdfast_types::{RangeDescriptor, RangeEpoch, RangeId, Role, StoreId};
use parking_lot::Mutex;

use crate::events::EventLog;

/// Headroom that is older was left by a placement loop that runs elsewhere now.
const HEADROOM_LASTS: Duration = Duration::from_secs(15);

/// Compares each picture of a range with the one before, and notes what changed.
pub struct History {
    store: StoreId,
    events: Arc<EventLog>,
    ranges: Mutex<BTreeMap<RangeId, Seen>>,
    quarantined: Mutex<BTreeMap<RangeId, String>>,
    headroom: Mutex<Option<(Instant, Vec<Headroom>)>>,
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
        Self { store, events, ranges: Mutex::default(), quarantined: Mutex::default(), headroom: Mutex::default() }
    }

    /// Replicas that are kept but not used, each with its reason.
    pub fn quarantined(&self) -> BTreeMap<RangeId, String> {
        self.quarantined.lock().clone()
    }

    /// What the survivors have to spare, for the loss of each site; empty where no placement loop runs.
    pub fn headroom(&self) -> Vec<Headroom> {
        match &*self.headroom.lock() {
            Some((at, headroom)) if at.elapsed() < HEADROOM_LASTS => headroom.clone(),
            _ => Vec::new(),
        }
    }

    /// Something happened.
    pub fn noted(&self, note: Note) {
        let me = self.store;
        let (kind, range, other, message) = match note {
            Note::Quarantined(range, reason) => return self.quarantine(range, reason),
            Note::Cleared(range) => {
                self.ranges.lock().remove(&range);
                if self.quarantined.lock().remove(&range).is_none() {
                    return;
                }
                let message = format!("the damaged replica of {range} on {me} was replaced and its data deleted");
                (EventKind::ReplicaCleared, Some(range), None, message)
            }
            Note::StoreLost(store) => {
                (EventKind::StoreLost, None, Some(store), format!("{me} hears nothing of {store} any more"))
            }
            Note::StreamsSilent(store, how) => {
                (EventKind::StoreLost, None, Some(store), format!("{me} gets heartbeats of {store}, but {how}"))
            }
            Note::StoreHeard(store) => (EventKind::StoreHeard, None, Some(store), format!("{me} hears {store} again")),
            Note::DiskFull => {
                (EventKind::DiskFull, None, None, format!("the disk of {me} is nearly full: it refuses writes"))
            }
            Note::DiskOk => (EventKind::DiskOk, None, None, format!("there is room on the disk of {me} again")),
            Note::Unfit(why) => (EventKind::Unfit, None, None, format!("{me} is not fit to lead: {why}")),
            Note::Fit => (EventKind::Fit, None, None, format!("{me} is fit to lead again")),
            Note::Alarm(range, what) => (EventKind::Alarm, range, None, what),
            Note::Placement(PlacementNews::Headroom(headroom)) => {
                *self.headroom.lock() = Some((Instant::now(), headroom));
                return;
            }
            Note::Placement(PlacementNews::Begun { range, what }) => {
                (EventKind::OperatorBegun, Some(range), None, format!("placement begins: {what}"))
            }
            Note::Placement(PlacementNews::Ended { range, what, why_not: None }) => {
                (EventKind::OperatorFinished, Some(range), None, format!("placement has done: {what}"))
            }
            Note::Placement(PlacementNews::Ended { range, what, why_not: Some(why) }) => {
                (EventKind::OperatorFinished, Some(range), None, format!("placement has not done: {what} ({why})"))
            }
        };
        self.events.note(kind, range, other, message);
    }

    fn quarantine(&self, range: RangeId, reason: Option<String>) {
        let is_new = reason.is_some();
        let reason = reason.unwrap_or_else(|| "it was found damaged before this start".to_owned());
        if is_new {
            let message = format!("the replica of {range} on {} is damaged: {reason}", self.store);
            self.events.note(EventKind::ReplicaQuarantined, Some(range), None, message);
        }
        self.quarantined.lock().insert(range, reason);
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
    fn a_damaged_replica_is_told_of_until_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let site = SiteName::new("a").unwrap();
        let events = Arc::new(EventLog::open(dir.path(), StoreId(1), site, Incarnation(1), Arc::new(Fixed)));
        let history = History::new(StoreId(1), Arc::clone(&events));
        history.noted(Note::Quarantined(RangeId(7), Some("its data is damaged".into())));
        history.noted(Note::Quarantined(RangeId(8), None));
        assert_eq!(history.quarantined().len(), 2);
        for range in [7, 8, 9] {
            history.noted(Note::Cleared(RangeId(range)));
        }
        assert!(history.quarantined().is_empty() && history.headroom().is_empty());
        let (events, _) = events.newest(99, Timestamp::ZERO);
        let kinds: Vec<_> = events.iter().rev().map(|event| event.kind()).collect();
        let cleared = EventKind::ReplicaCleared;
        assert_eq!(kinds, [EventKind::ReplicaQuarantined, cleared, cleared], "an ordinary removal is no news");
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
