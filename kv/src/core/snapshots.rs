//! Snapshots between stores: bounded in number and rate, in acknowledged pieces, so that a broken transfer goes on where it stopped.
//!
//! ```text
//! sender   build ─▶ offer ─────────▶ receiver: begin ─▶ progress (what is there already)
//!          read piece ─▶ chunk ────▶ store ─▶ progress ... last piece: verify ─▶ progress (complete)
//! ```

mod receiving;
mod sending;

pub use receiving::{Incoming, Receiving, Taken};
pub use sending::{Outgoing, SendTask, Sending};

use holdfast_engine::SnapshotManifest;

/// Where the `position`-th byte of all files, one after the other, lies: (file, offset). Behind the end: `None`.
fn place_of(manifest: &SnapshotManifest, position: u64) -> Option<(usize, u64)> {
    let mut before = 0;
    for (file, piece) in manifest.files.iter().enumerate() {
        if position < before + piece.size_bytes {
            return Some((file, position - before));
        }
        before += piece.size_bytes;
    }
    None
}

/// Bytes of all files.
fn total_bytes(manifest: &SnapshotManifest) -> u64 {
    manifest.files.iter().map(|f| f.size_bytes).sum()
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
