//! How large the ranges here are, as far as that was measured: some of them each time, in turn.
//!
//! A store may hold a hundred thousand ranges, and to ask the data instance for the size of one takes microseconds. So a look measures some of
//! them, by key, and the next one goes on from there. Workers are told of what was measured in a look; whoever asks for sizes is told all.

use std::collections::BTreeMap;

use holdfast_types::{Key, KeyRange, RangeId};

use super::shared_map::SharedMap;
use crate::core::routing::Page;

/// Ranges that are measured in one look: a store with no more of them measures all each time.
const MEASURED_AT_A_TIME: usize = 4_096;
/// Ranges that are copied out of the map at a time: workers wait for it meanwhile.
pub const COPIED_AT_A_TIME: usize = 1_024;

/// A page of the ranges that this store holds, from a key on, and where the next one begins.
pub fn ranges_from(map: &SharedMap, from: Key) -> (Vec<(RangeId, KeyRange)>, Option<Key>) {
    let page = Page { reverse: false, limit: COPIED_AT_A_TIME, max_bytes: usize::MAX };
    let (found, next) = map.page(&KeyRange { start: from, end: None }, page, |found| found.own);
    (found.into_iter().map(|found| (found.descriptor.range, found.descriptor.bounds)).collect(), next)
}

/// Sizes of the ranges here.
pub struct Sizes {
    /// Where the next look goes on.
    from: Key,
    /// Counts how often all were measured.
    turn: u64,
    /// With the turn in which they were measured.
    known: BTreeMap<RangeId, (u64, u64)>,
}

impl Sizes {
    /// Nothing is measured yet.
    pub fn new() -> Self {
        Self { from: Key::MIN, turn: 0, known: BTreeMap::new() }
    }

    /// Measures some ranges, and returns these.
    pub fn look(
        &mut self,
        map: &SharedMap,
        mut measure: impl FnMut(RangeId, &KeyRange) -> Option<u64>,
    ) -> Vec<(RangeId, u64)> {
        let mut measured = Vec::new();
        for _ in 0..MEASURED_AT_A_TIME / COPIED_AT_A_TIME {
            let (ranges, next) = ranges_from(map, std::mem::replace(&mut self.from, Key::MIN));
            for (range, bounds) in ranges {
                let Some(bytes) = measure(range, &bounds) else { continue };
                self.known.insert(range, (bytes, self.turn));
                measured.push((range, bytes));
            }
            let Some(next) = next else {
                // What was not met in this turn is no more.
                self.known.retain(|_, (_, turn)| *turn == self.turn);
                self.turn += 1;
                break;
            };
            self.from = next;
        }
        measured
    }

    /// All that is known.
    pub fn all(&self) -> Vec<(RangeId, u64)> {
        self.known.iter().map(|(range, (bytes, _))| (*range, *bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{
        KeyspaceId, RangeDescriptor, RangeEpoch, ReplicaDescriptor, ReplicaId, Role, SiteName, StoreId, Term,
    };

    use super::*;
    use crate::core::message::RangeHint;
    use crate::core::routing::RangeMap;

    fn hint(n: u64, ranges: u64) -> RangeHint {
        let bound = |n: u64| Key::bound(KeyspaceId::DEFAULT, format!("{n:06}").as_bytes());
        let replica = ReplicaDescriptor {
            replica: ReplicaId(1),
            store: StoreId(1),
            site: SiteName::new("a").unwrap(),
            role: Role::Voter,
        };
        let descriptor = RangeDescriptor {
            range: RangeId(n + 1),
            bounds: KeyRange { start: bound(n), end: (n + 1 < ranges).then(|| bound(n + 1)) },
            epoch: RangeEpoch::default(),
            replicas: vec![replica],
            next_replica: ReplicaId(2),
        };
        RangeHint { descriptor, term: Term(1), leader: None }
    }

    fn map_of(ranges: u64) -> SharedMap {
        let mut map = RangeMap::new();
        (0..ranges).for_each(|n| map.learn_own(hint(n, ranges)));
        SharedMap::new(map, 1)
    }

    #[test]
    fn of_many_ranges_a_look_measures_some_and_all_have_their_turn() {
        const RANGES: u64 = 10_000;
        let (map, mut sizes) = (map_of(RANGES), Sizes::new());
        let mut counts = Vec::new();
        for turn in 0..2 {
            for _ in 0..3 {
                let mut count = 0;
                let told = sizes.look(&map, |range, _| {
                    count += 1;
                    Some(range.0 + turn)
                });
                assert_eq!(told.len(), count);
                counts.push(count);
            }
            let all: Vec<_> = (1..=RANGES).map(|id| (RangeId(id), id + turn)).collect();
            assert_eq!(sizes.all(), all);
        }
        assert_eq!(counts, [4_096, 4_096, 1_808, 4_096, 4_096, 1_808]);
    }

    #[test]
    fn few_ranges_are_measured_each_time_and_one_that_is_gone_has_no_size() {
        let (map, mut sizes) = (map_of(3), Sizes::new());
        for _ in 0..2 {
            assert_eq!(sizes.look(&map, |range, _| Some(range.0)).len(), 3);
        }
        map.gone(RangeId(2));
        assert_eq!(sizes.look(&map, |range, _| Some(range.0)).len(), 2);
        assert_eq!(sizes.all(), [(RangeId(1), 1), (RangeId(3), 3)]);
    }
}
