//! What share of the operations is of which kind: the works that have a name, and mixes of one's own.

use clap::ValueEnum;
use serde::Serialize;

use super::keys::Distribution;

/// The kinds of operations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Reads a key.
    Read,
    /// Writes a key that is there.
    Update,
    /// Writes a new key.
    Insert,
    /// Reads several rows.
    Scan,
    /// Reads a key and sets it if nobody else did.
    ReadModifyWrite,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Update, Self::Insert, Self::Scan, Self::ReadModifyWrite];

    /// Its place in [`Kind::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Read => 0,
            Self::Update => 1,
            Self::Insert => 2,
            Self::Scan => 3,
            Self::ReadModifyWrite => 4,
        }
    }

    /// Its name in tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["read", "update", "insert", "scan", "read_modify_write"][self.index()]
    }
}

/// How many of a hundred operations are of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Mix([u8; 5]);

impl Mix {
    /// Percentages in the order of [`Kind::ALL`]; `None` unless they add up to 100.
    #[must_use]
    pub fn new(percent: [u8; 5]) -> Option<Self> {
        let sum: u32 = percent.iter().map(|percent| u32::from(*percent)).sum();
        (sum == 100).then_some(Self(percent))
    }

    /// The kind of the operation that drew this number below 100.
    #[must_use]
    pub fn pick(&self, drawn: u8) -> Kind {
        let mut up_to = 0;
        for kind in Kind::ALL {
            up_to += self.0[kind.index()];
            if drawn < up_to {
                return kind;
            }
        }
        Kind::Read
    }
}

/// What clients do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Work {
    /// Its name in tables and JSON.
    pub name: String,
    /// Shares of the kinds of operations, in the order of [`Kind::ALL`].
    pub mix: Mix,
    /// Which keys are popular.
    pub distribution: Distribution,
    /// The least and the most rows of a scan.
    pub scan_rows: (u32, u32),
}

/// Works that have a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Preset {
    /// Writes of keys that are there, uniform
    Put,
    /// Reads, uniform
    Get,
    /// Half reads, half writes, zipfian
    Mixed,
    /// Scans of 20 rows, uniform
    Scan,
    /// Update heavy: half reads, half writes, zipfian
    YcsbA,
    /// Read mostly: 5 % writes, zipfian
    YcsbB,
    /// Read only, zipfian
    YcsbC,
    /// Read latest: 5 % inserts
    YcsbD,
    /// Short ranges: 95 % scans of 1 to 100 rows, 5 % inserts, zipfian
    YcsbE,
    /// Half reads, half read-modify-writes by compare-and-set, zipfian
    YcsbF,
}

impl Preset {
    /// The work of this name.
    #[must_use]
    pub fn work(self) -> Work {
        use Distribution::{Latest, Uniform, Zipfian};
        let (percent, distribution, scan_rows) = match self {
            Self::Put => ([0, 100, 0, 0, 0], Uniform, (1, 1)),
            Self::Get => ([100, 0, 0, 0, 0], Uniform, (1, 1)),
            Self::Mixed | Self::YcsbA => ([50, 50, 0, 0, 0], Zipfian, (1, 1)),
            Self::Scan => ([0, 0, 0, 100, 0], Uniform, (20, 20)),
            Self::YcsbB => ([95, 5, 0, 0, 0], Zipfian, (1, 1)),
            Self::YcsbC => ([100, 0, 0, 0, 0], Zipfian, (1, 1)),
            Self::YcsbD => ([95, 0, 5, 0, 0], Latest, (1, 1)),
            Self::YcsbE => ([0, 0, 5, 95, 0], Zipfian, (1, 100)),
            Self::YcsbF => ([50, 0, 0, 0, 50], Zipfian, (1, 1)),
        };
        let name = self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        Work { name, mix: Mix(percent), distribution, scan_rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentages_of_every_work_add_up() {
        for preset in Preset::value_variants() {
            let work = preset.work();
            assert!(Mix::new(work.mix.0).is_some(), "{}", work.name);
        }
        assert_eq!(Mix::new([50, 40, 0, 0, 0]), None);
        assert_eq!(Mix::new([200, 200, 0, 0, 0]), None);
    }

    #[test]
    fn a_kind_is_drawn_as_often_as_its_share_says() {
        let mix = Mix::new([70, 20, 0, 10, 0]).unwrap();
        let drawn = |kind| (0..100).filter(|drawn| mix.pick(*drawn) == kind).count();
        assert_eq!(Kind::ALL.map(drawn), [70, 20, 0, 10, 0]);
    }
}
