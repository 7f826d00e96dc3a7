//! Where an export stands: what is kept beside its file, so that another run goes on.
//!
//! Two lines: what was done, as JSON, and the SHA-256 of that line. A place that a disk has damaged would leave rows out.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use anyhow::{Context, bail, ensure};
use holdfast_client::{ScanPlace, ScanPlacePart, Timestamp};
use holdfast_rows::export_file::TextDigest;
use serde::{Deserialize, Serialize};

use crate::oneshot::parse_key;

/// The version of what is kept.
const VERSION: u32 = 1;
/// What it begins with: nobody else's file does.
const MARK: &str = "{\"holdfast_export_place\":";

/// What an export reads, and how it writes it: only the same goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// The fleet, by its id.
    pub fleet: String,
    /// The keyspace, by its number.
    pub keyspace: u32,
    /// The first key, as hexadecimal digits.
    pub start: String,
    /// The first key behind.
    pub end: Option<String>,
    /// The version that all is read at.
    pub at: Option<u64>,
    /// The format.
    pub format: String,
    /// How it is packed.
    pub compression: String,
}

/// How far an export came: the first `part_bytes` of its part hold the first `rows` rows, and unpacked have this digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    holdfast_export_place: u32,
    /// What is exported.
    pub recipe: Recipe,
    /// Rows so far.
    pub rows: u64,
    /// Bytes of the part, packed. 0: nothing is written yet.
    pub part_bytes: u64,
    /// The digest of the text, in hexadecimal digits.
    pub sha256: String,
    /// The earliest and the latest version that something was read at.
    pub read: Option<(u64, u64)>,
    next: Option<String>,
    range: Option<RangeRead>,
}

/// The rest of the range that was being read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct RangeRead {
    at: u64,
    until: Option<String>,
}

impl Recipe {
    /// What is different in another one, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let differs = [
            (self.fleet != other.fleet, "another fleet"),
            (self.keyspace != other.keyspace, "another keyspace"),
            (self.start != other.start || self.end != other.end, "other keys"),
            (self.at != other.at, "another version"),
            (self.format != other.format || self.compression != other.compression, "another format"),
        ];
        let differs: Vec<_> = differs.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what).collect();
        (!differs.is_empty()).then(|| differs.join(", "))
    }
}

impl Place {
    /// The place before the first row.
    pub fn before_all(recipe: Recipe) -> Self {
        let sha256 = TextDigest::default().hex();
        Self {
            holdfast_export_place: VERSION,
            recipe,
            rows: 0,
            part_bytes: 0,
            sha256,
            read: None,
            next: None,
            range: None,
        }
    }

    /// The place between two pages; `read`: the earliest and the latest version that something was read at.
    pub fn between(recipe: Recipe, next: &ScanPlace, read: Option<(u64, u64)>) -> Self {
        let range = next.part.as_ref();
        let range = range.map(|part| RangeRead { at: part.at.0, until: part.until.as_deref().map(to_hex) });
        Self { next: Some(to_hex(&next.next)), range, read, ..Self::before_all(recipe) }
    }

    /// The same place, with what the part has by now.
    pub fn written(self, rows: u64, part_bytes: u64, sha256: String) -> Self {
        Self { rows, part_bytes, sha256, ..self }
    }

    /// Where to go on reading; `None`: at the first row.
    pub fn next(&self) -> anyhow::Result<Option<ScanPlace>> {
        let bytes = |digits: &str| parse_key(digits, true).context("it names a key that is none");
        let Some(next) = &self.next else { return Ok(None) };
        let part = self.range.as_ref().map(|range| {
            let until = range.until.as_deref().map(bytes).transpose()?;
            anyhow::Ok(ScanPlacePart { at: Timestamp::compared(range.at), until })
        });
        Ok(Some(ScanPlace { next: bytes(next)?, part: part.transpose()? }))
    }

    /// As it is kept.
    pub fn encode(&self) -> anyhow::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        let sum = digest(&text);
        text.extend_from_slice(sum.as_bytes());
        text.push(b'\n');
        Ok(text)
    }

    /// True for what an export kept, whole or damaged.
    pub fn is_ours(bytes: &[u8]) -> bool {
        bytes.starts_with(MARK.as_bytes())
    }

    /// What was kept.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        ensure!(Self::is_ours(bytes), "it is not the place of an export");
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { bail!("it is cut off") };
        let (text, sum) = bytes.split_at_checked(end.saturating_add(1)).context("it is cut off")?;
        ensure!(sum.strip_suffix(b"\n") == Some(digest(text).as_bytes()), "it is damaged");
        let place: Self = serde_json::from_slice(text).context("another version of this program wrote it")?;
        let version = place.holdfast_export_place;
        ensure!(version == VERSION, "it has version {version}, this program knows {VERSION}");
        place.next()?;
        Ok(place)
    }
}

/// Bytes as pairs of hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(text: &[u8]) -> String {
    let mut digest = TextDigest::default();
    digest.update(text);
    digest.hex()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            fleet: "f".into(),
            keyspace: 1,
            start: String::new(),
            end: Some("ff".into()),
            at: None,
            format: "csv".into(),
            compression: "none".into(),
        }
    }

    fn place() -> Place {
        let part = Some(ScanPlacePart { at: Timestamp(9), until: Some(Bytes::from_static(b"z")) });
        let next = ScanPlace { next: Bytes::from_static(&[0, 0xff]), part };
        Place::between(recipe(), &next, Some((8, 9))).written(7, 100, "sum".into())
    }

    #[test]
    fn a_place_is_kept_with_the_range_that_it_stands_in() {
        let kept = Place::decode(&place().encode().unwrap()).unwrap();
        assert_eq!(kept, place());
        let next = kept.next().unwrap().unwrap();
        assert_eq!((&next.next[..], next.part.unwrap().at), (&[0, 0xff][..], Timestamp(9)));
        assert_eq!(Place::before_all(recipe()).next().unwrap(), None);
    }

    #[test]
    fn damage_to_it_is_never_another_place() {
        let whole = place().encode().unwrap();
        for damaged in crate::damage::versions_of(&whole) {
            assert!(damaged == whole || Place::decode(&damaged).is_err());
        }
    }

    #[test]
    fn what_is_different_is_named() {
        let of = |change: fn(&mut Recipe)| {
            let mut other = recipe();
            change(&mut other);
            other.difference(&recipe()).unwrap_or_default()
        };
        assert_eq!(of(|_| {}), "");
        assert_eq!(of(|recipe| recipe.keyspace = 2), "another keyspace");
        assert_eq!(of(|recipe| recipe.fleet = "g".into()), "another fleet");
        assert_eq!(of(|recipe| recipe.at = Some(1)), "another version");
        assert_eq!(of(|recipe| recipe.compression = "gzip".into()), "another format");
        assert_eq!(
            of(|recipe| (recipe.start, recipe.format) = ("61".into(), "tsv".into())),
            "other keys, another format"
        );
    }
}
