//! The bytes of a snapshot's manifest: what ties its files together, on disk and on the wire.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::{Buf, BufMut, Bytes};
use holdfast_types::{Key, KeyRange, RangeId, limits};
use xxhash_rust::xxh3::xxh3_64;

use crate::contract::{Fault, SnapshotFile, SnapshotId, SnapshotManifest};

/// The format of manifests and snapshot files that this program writes.
pub const SNAPSHOT_FORMAT: u32 = 1;

impl SnapshotManifest {
    /// A manifest with its checksum.
    #[must_use]
    pub fn sealed(
        id: SnapshotId,
        range: RangeId,
        bounds: KeyRange,
        range_state: Bytes,
        files: Vec<SnapshotFile>,
    ) -> Self {
        let mut manifest = Self { id, range, bounds, range_state, files, checksum: 0 };
        manifest.checksum = xxh3_64(&manifest.body());
        manifest
    }

    /// True when the checksum is that of the rest.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.checksum == xxh3_64(&self.body())
    }

    /// True when its numbers can be counted with: to be asked of whatever comes from outside.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        let whole = self.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size_bytes));
        whole.is_some_and(|bytes| bytes <= limits::MAX_REPORTED_BYTES)
            && self.files.len() <= limits::MAX_SNAPSHOT_FILES as usize
    }

    /// Length of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add)
    }

    /// Format version, everything, checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.body();
        out.put_u64(self.checksum);
        out
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(SNAPSHOT_FORMAT);
        out.put_u128(self.id.0);
        out.put_u64(self.range.0);
        put_bytes(&mut out, self.bounds.start.raw());
        out.put_u8(u8::from(self.bounds.end.is_some()));
        if let Some(end) = &self.bounds.end {
            put_bytes(&mut out, end.raw());
        }
        put_bytes(&mut out, &self.range_state);
        // More than that is refused when it is read.
        out.put_u32(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        for file in &self.files {
            out.put_u64(file.size_bytes);
            out.put_u64(file.checksum);
        }
        out
    }

    /// Reads what [`SnapshotManifest::encode`] wrote; checks version and checksum.
    pub fn decode(raw: &[u8]) -> Result<Self, Fault> {
        let mut rest = Bytes::copy_from_slice(raw);
        let found = rest.try_get_u32().map_err(|_| broken("it is too short"))?;
        if found != SNAPSHOT_FORMAT {
            return Err(Fault::UnknownVersion { what: "snapshot", found, known: SNAPSHOT_FORMAT });
        }
        let manifest = decode_body(&mut rest).ok_or_else(|| broken("it cannot be read"))?;
        if !rest.is_empty() || !manifest.is_sound() {
            return Err(broken("its checksum does not match"));
        }
        Ok(manifest)
    }
}

fn broken(detail: &str) -> Fault {
    Fault::Damage { doing: "reading the manifest of a snapshot".to_owned(), detail: detail.to_owned() }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // What is longer is refused when it is read.
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// Bytes that their length comes before.
pub(crate) fn take_bytes(rest: &mut Bytes) -> Option<Bytes> {
    let len = rest.try_get_u32().ok()? as usize;
    (rest.len() >= len).then(|| rest.split_to(len))
}

fn decode_body(rest: &mut Bytes) -> Option<SnapshotManifest> {
    let id = SnapshotId(rest.try_get_u128().ok()?);
    let range = RangeId::bounded(rest.try_get_u64().ok()?).ok()?;
    let start = Key::from_raw(take_bytes(rest)?).ok()?;
    let end = match rest.try_get_u8().ok()? {
        0 => None,
        _ => Some(Key::from_raw(take_bytes(rest)?).ok()?),
    };
    let range_state = take_bytes(rest)?;
    let count = rest.try_get_u32().ok()?;
    if count > limits::MAX_SNAPSHOT_FILES {
        return None;
    }
    let mut files = Vec::new();
    for _ in 0..count {
        files.push(SnapshotFile { size_bytes: rest.try_get_u64().ok()?, checksum: rest.try_get_u64().ok()? });
    }
    let checksum = rest.try_get_u64().ok()?;
    let manifest = SnapshotManifest { id, range, bounds: KeyRange { start, end }, range_state, files, checksum };
    manifest.is_plausible().then_some(manifest)
}

#[cfg(test)]
mod tests {
    use holdfast_types::KeyspaceId;

    use super::*;

    fn manifest() -> SnapshotManifest {
        let bounds = KeyRange { start: Key::MIN, end: Some(Key::bound(KeyspaceId(1), b"m")) };
        let files = vec![SnapshotFile { size_bytes: 3, checksum: 4 }];
        SnapshotManifest::sealed(SnapshotId(5), RangeId(6), bounds, Bytes::from_static(b"state"), files)
    }

    #[test]
    fn manifest_round_trips() {
        assert_eq!(SnapshotManifest::decode(&manifest().encode()).unwrap(), manifest());
    }

    #[test]
    fn sizes_that_no_disk_has_are_refused() {
        let files =
            vec![SnapshotFile { size_bytes: u64::MAX, checksum: 4 }, SnapshotFile { size_bytes: 2, checksum: 5 }];
        let almost = vec![SnapshotFile { size_bytes: u64::MAX / 2, checksum: 4 }; 2];
        for files in [files, almost] {
            let forged = SnapshotManifest::sealed(SnapshotId(5), RangeId(6), KeyRange::all(), Bytes::new(), files);
            assert!(SnapshotManifest::decode(&forged.encode()).is_err());
        }
    }

    #[test]
    fn every_flipped_byte_of_a_manifest_is_seen() {
        let good = manifest().encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(SnapshotManifest::decode(&bad).is_err(), "byte {at}");
            assert!(SnapshotManifest::decode(&good[..at]).is_err(), "cut at {at}");
        }
    }
}
