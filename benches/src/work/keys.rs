//! Which keys an operation touches: how keys are named, and which of them are popular.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use clap::ValueEnum;
use rand::{Rng, RngExt};
use rand_distr::{Distribution as _, Zipf};
use serde::Serialize;

/// The exponent that YCSB uses: the most popular of 100,000 keys gets one operation in twelve.
const EXPONENT: f64 = 0.99;

/// Which keys are popular.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// All keys alike
    Uniform,
    /// A few keys get most operations; they are scattered over the key space
    Zipfian,
    /// As zipfian, and the newest keys are the popular ones
    Latest,
}

/// The key of a number: the numbers of one run have distinct keys, scattered over the key space.
#[must_use]
pub fn key(number: u64) -> Bytes {
    Bytes::from(format!("user{:016x}", scatter(number)))
}

/// From the key of a number on, an interval that holds about `rows` of `count` keys: where it begins, and before which key it ends.
#[must_use]
pub fn interval(number: u64, rows: u32, count: u64) -> (Bytes, Bytes) {
    let width = u128::from(u64::MAX) * u128::from(rows) / u128::from(count.max(1));
    let end = u128::from(scatter(number)) + width;
    let end = match u64::try_from(end) {
        Ok(end) => format!("user{end:016x}"),
        // Behind every key.
        Err(_) => "uses".to_owned(),
    };
    (key(number), Bytes::from(end))
}

/// Where a key space of [`key`]s is cut into so many ranges of equal size.
#[must_use]
pub fn cuts(ranges: u64) -> Vec<Bytes> {
    let width = u64::MAX / ranges.max(1);
    (1..ranges).map(|cut| Bytes::from(format!("user{:016x}", width * cut))).collect()
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"): one to one.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How many keys there are, shared by all clients of a run.
#[derive(Debug)]
pub struct Population {
    next: AtomicU64,
    there: AtomicU64,
}

impl Population {
    /// So many keys were loaded: the numbers below `keys`.
    #[must_use]
    pub fn new(keys: u64) -> Self {
        Self { next: AtomicU64::new(keys), there: AtomicU64::new(keys) }
    }

    /// The number of a key that is to be inserted; never given twice.
    pub fn claim(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes in that a claimed key is there. Lower ones may still be under way: reading one finds nothing.
    pub fn inserted(&self, number: u64) {
        self.there.fetch_max(number + 1, Ordering::Relaxed);
    }

    /// How many keys are there; at least 1.
    pub fn count(&self) -> u64 {
        self.there.load(Ordering::Relaxed).max(1)
    }
}

/// Chooses the numbers of existing keys.
#[derive(Clone, Debug)]
pub struct Chooser {
    distribution: Distribution,
    /// For the number of keys that it was made for.
    zipf: Option<(u64, Zipf<f64>)>,
}

impl Chooser {
    /// A chooser of one distribution.
    #[must_use]
    pub fn new(distribution: Distribution) -> Self {
        Self { distribution, zipf: None }
    }

    /// A number below `count`, which is at least 1.
    pub fn pick(&mut self, random: &mut impl Rng, count: u64) -> u64 {
        match self.distribution {
            Distribution::Uniform => random.random_range(0..count),
            Distribution::Zipfian => self.rank(random, count),
            Distribution::Latest => count - 1 - self.rank(random, count),
        }
    }

    /// 0 for the most popular.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is between 1 and `count`")]
    fn rank(&mut self, random: &mut impl Rng, count: u64) -> u64 {
        let zipf = match self.zipf {
            Some((made_for, zipf)) if made_for == count => zipf,
            _ => {
                #[expect(clippy::cast_precision_loss, reason = "numbers of keys are far below 2^52")]
                let zipf = Zipf::new(count as f64, EXPONENT).expect("there is a key, and the exponent is positive");
                self.zipf = Some((count, zipf));
                zipf
            }
        };
        (zipf.sample(random) as u64).clamp(1, count) - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const KEYS: u64 = 1_000;
    const DRAWS: u64 = 200_000;

    fn frequencies(distribution: Distribution) -> BTreeMap<u64, u64> {
        let mut random = SmallRng::seed_from_u64(7);
        let mut chooser = Chooser::new(distribution);
        let mut counts = BTreeMap::new();
        for _ in 0..DRAWS {
            *counts.entry(chooser.pick(&mut random, KEYS)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn zipfian_draws_fall_off_with_the_rank_as_the_exponent_says() {
        let counts = frequencies(Distribution::Zipfian);
        assert!(counts.keys().all(|number| *number < KEYS));
        let sum: f64 = (1..=1_000).map(|rank| f64::from(rank).powf(-EXPONENT)).sum();
        for rank in [1u32, 2, 10, 100] {
            let wanted = DRAWS as f64 * f64::from(rank).powf(-EXPONENT) / sum;
            let found = counts[&u64::from(rank - 1)] as f64;
            assert!((found / wanted - 1.0).abs() < 0.15, "rank {rank}: {found} of {wanted}");
        }
    }

    #[test]
    fn popular_keys_are_scattered_over_all_ranges() {
        let cuts = cuts(6);
        let range_of = |number| cuts.iter().filter(|cut| **cut <= key(number)).count();
        let ranges: BTreeSet<_> = (0..32).map(range_of).collect();
        assert_eq!(ranges, (0..6).collect());
    }

    #[test]
    fn uniform_draws_treat_all_keys_alike() {
        let counts = frequencies(Distribution::Uniform);
        assert_eq!(counts.len(), 1_000);
        assert!(counts.values().all(|count| (100..350).contains(count)), "{counts:?}");
    }

    #[test]
    fn latest_draws_follow_the_newest_key() {
        let counts = frequencies(Distribution::Latest);
        let most = counts.iter().max_by_key(|(_, count)| **count).map(|(number, _)| *number);
        assert_eq!(most, Some(KEYS - 1));
        let mut random = SmallRng::seed_from_u64(7);
        let mut chooser = Chooser::new(Distribution::Latest);
        let population = Population::new(KEYS);
        let inserted: Vec<_> = (0..500).map(|_| population.claim()).collect();
        inserted.iter().for_each(|number| population.inserted(*number));
        let picks: Vec<_> = (0..1_000).map(|_| chooser.pick(&mut random, population.count())).collect();
        let new = picks.iter().filter(|number| **number >= KEYS).count();
        assert!(new > 700, "only {new} of 1000 are among the third that is new");
    }

    #[test]
    fn an_interval_holds_about_as_many_keys_as_asked_for() {
        let keys: BTreeSet<_> = (0..10_000).map(key).collect();
        let found: usize = (0..500)
            .map(|number| {
                let (start, end) = interval(number, 20, 10_000);
                assert!(end > start && keys.contains(&start));
                keys.range(start..end).count()
            })
            .sum();
        assert!((18..=22).contains(&(found / 500)), "{found} in 500 intervals");
    }

    #[test]
    fn keys_are_distinct_and_of_one_length() {
        let keys: BTreeSet<_> = (0..10_000).map(key).collect();
        assert_eq!(keys.len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == 20));
    }
}
