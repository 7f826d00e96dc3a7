//! What one client does next.

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use super::keys::{Chooser, Population, interval, key};
use super::mix::{Kind, Work};

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Reads a key.
    Read(Bytes),
    /// Writes a key that is there.
    Update(Bytes, Bytes),
    /// Writes the new key of this number.
    Insert(u64, Bytes),
    /// Reads the first rows of an interval: its start, its end, and how many at most.
    Scan(Bytes, Bytes, u32),
    /// Reads a key and writes it if it is still as it was read.
    ReadModifyWrite(Bytes, Bytes),
}

impl Operation {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read(_) => Kind::Read,
            Self::Update(..) => Kind::Update,
            Self::Insert(..) => Kind::Insert,
            Self::Scan(..) => Kind::Scan,
            Self::ReadModifyWrite(..) => Kind::ReadModifyWrite,
        }
    }
}

/// Values that do not compress: pieces of one random block, so that making one costs the clients nothing.
#[derive(Clone, Debug)]
pub struct Values {
    block: Bytes,
    value_bytes: usize,
}

/// More than the compressor of a data file looks at together.
const BLOCK_BYTES: usize = 1 << 20;

impl Values {
    /// Values of one size.
    #[must_use]
    pub fn new(value_bytes: usize, seed: u64) -> Self {
        let mut block = vec![0; BLOCK_BYTES + value_bytes];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut block);
        Self { block: Bytes::from(block), value_bytes }
    }

    /// Any value.
    pub fn next(&self, random: &mut impl Rng) -> Bytes {
        let start = random.random_range(0..BLOCK_BYTES);
        self.block.slice(start..start + self.value_bytes)
    }
}

/// What one client does, without end; the same for the same seed as long as nobody inserts.
#[derive(Debug)]
pub struct Operations {
    work: Work,
    chooser: Chooser,
    random: SmallRng,
    values: Values,
    population: Arc<Population>,
}

impl Operations {
    /// The operations of the client that has this seed.
    #[must_use]
    pub fn new(work: Work, values: Values, population: Arc<Population>, seed: u64) -> Self {
        let chooser = Chooser::new(work.distribution);
        Self { work, chooser, random: SmallRng::seed_from_u64(seed), values, population }
    }

    /// The next one.
    pub fn draw(&mut self) -> Operation {
        let kind = self.work.mix.pick(self.random.random_range(0..100));
        if kind == Kind::Insert {
            return Operation::Insert(self.population.claim(), self.values.next(&mut self.random));
        }
        let count = self.population.count();
        let number = self.chooser.pick(&mut self.random, count);
        let key = key(number);
        match kind {
            Kind::Read | Kind::Insert => Operation::Read(key),
            Kind::Update => Operation::Update(key, self.values.next(&mut self.random)),
            Kind::Scan => {
                let (least, most) = self.work.scan_rows;
                let rows = self.random.random_range(least..=most);
                // Twice as many as are asked for, so that the limit ends most scans and the interval is no longer than need be.
                let (start, end) = interval(number, rows.saturating_mul(2), count);
                Operation::Scan(start, end, rows)
            }
            Kind::ReadModifyWrite => Operation::ReadModifyWrite(key, self.values.next(&mut self.random)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Preset;

    fn operations(preset: Preset, seed: u64) -> Operations {
        Operations::new(preset.work(), Values::new(128, 1), Arc::new(Population::new(1_000)), seed)
    }

    fn count(operations: &mut Operations, kind: Kind) -> usize {
        (0..10_000).filter(|_| operations.draw().kind() == kind).count()
    }

    #[test]
    fn every_ycsb_work_has_its_mix() {
        let wanted = [
            (Preset::YcsbA, Kind::Update, 50),
            (Preset::YcsbB, Kind::Update, 5),
            (Preset::YcsbC, Kind::Read, 100),
            (Preset::YcsbD, Kind::Insert, 5),
            (Preset::YcsbE, Kind::Scan, 95),
            (Preset::YcsbF, Kind::ReadModifyWrite, 50),
        ];
        for (preset, kind, percent) in wanted {
            let found = count(&mut operations(preset, 3), kind);
            assert!(found.abs_diff(percent * 100) < 200, "{preset:?}: {found} of 10000 are {kind:?}");
        }
    }

    #[test]
    fn one_seed_gives_one_sequence_and_another_seed_another() {
        let take = |seed| {
            let mut operations = operations(Preset::YcsbA, seed);
            (0..100).map(|_| operations.draw()).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn values_have_the_size_asked_for() {
        let mut random = SmallRng::seed_from_u64(1);
        for size in [0, 1, 128, 100_000] {
            assert_eq!(Values::new(size, 1).next(&mut random).len(), size);
        }
    }
}
