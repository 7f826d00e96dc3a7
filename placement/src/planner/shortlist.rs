//! The best of what could be moved between any two stores.
//!
//! Balancing takes the best move again and again, and each one changes what the others are worth. To look at every range for each
//! would take moves x ranges. So the ranges are looked at once, and of what could go from one store to another the best are kept. Later
//! turns judge these anew and no others: the next plan sees to what is left.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::StoreId;

/// Kept in all, unless there are so many pairs of stores that each has [`KEPT_OF_A_PAIR`]: what a turn looks at.
const KEPT: usize = 16_384;
/// Kept of each pair: a plan moves two or three things to one store.
const KEPT_OF_A_PAIR: usize = 4;

/// Candidates, in their order the best first, by the store that gives and the one that gets.
pub(super) struct Shortlist<T> {
    each: usize,
    pairs: BTreeMap<(StoreId, StoreId), BTreeSet<T>>,
}

impl<T: Ord> Shortlist<T> {
    /// An empty one for a fleet of so many stores.
    pub fn new(stores: usize) -> Self {
        let pairs = (stores * stores).max(1);
        Self { each: (KEPT / pairs).max(KEPT_OF_A_PAIR), pairs: BTreeMap::new() }
    }

    /// Keeps a candidate, unless there are enough better ones.
    pub fn offer(&mut self, from: StoreId, to: StoreId, candidate: T) {
        let kept = self.pairs.entry((from, to)).or_default();
        if kept.len() < self.each {
            kept.insert(candidate);
        } else if kept.last().is_some_and(|worst| candidate < *worst) {
            kept.pop_last();
            kept.insert(candidate);
        }
    }

    /// What could go from one store to another.
    pub fn between(&self, from: StoreId, to: StoreId) -> impl Iterator<Item = &T> {
        self.pairs.get(&(from, to)).into_iter().flatten()
    }

    /// Everything, by pair.
    pub fn pairs(&self) -> impl Iterator<Item = ((StoreId, StoreId), &BTreeSet<T>)> {
        self.pairs.iter().map(|(pair, kept)| (*pair, kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_each_pair_are_kept_and_no_more_than_a_turn_can_look_at() {
        for stores in [2, 9, 100] {
            let mut shortlist = Shortlist::new(stores);
            // Each number once, in no order.
            for n in 0..100_003_u64 {
                shortlist.offer(StoreId(n % 2), StoreId(7), n * 40_009 % 100_003);
            }
            let kept: Vec<u64> = shortlist.pairs().flat_map(|(_, kept)| kept).copied().collect();
            assert_eq!(kept.len(), 2 * (KEPT / (stores * stores)).max(KEPT_OF_A_PAIR));
            let best: Vec<u64> = shortlist.between(StoreId(0), StoreId(7)).take(2).copied().collect();
            let all = (0..100_003_u64).filter(|n| n % 2 == 0).map(|n| n * 40_009 % 100_003);
            let sorted: BTreeSet<u64> = all.collect();
            assert_eq!(best, sorted.into_iter().take(2).collect::<Vec<_>>());
        }
    }
}
