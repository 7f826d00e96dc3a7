//! Snapshots between stores: bounded in number and rate, in acknowledged pieces, so that a broken transfer goes on
//! where it stopped.
//!
//! ```text
//! sender   build ─▶ offer ─────────▶ receiver: begin ─▶ progress (what is there already)
//!          read piece ─▶ chunk ────▶ store ─▶ progress ... last piece: verify ─▶ progress (complete)
//! ```
//!
//! Two machines without IO: `Sending` and `Receiving`. The leader of the range is the sender. It builds the files once,
//! offers them with a manifest (keys, range state, length and checksum of each file, one checksum over all), and sends
//! pieces of 512 KiB, four ahead of the last acknowledgement. The receiver's answers say what lies on its disk, so
//! whoever lost whatever (a piece, an answer, a connection) finds the place again: after a second without progress the
//! offer is repeated, and its answer says where to go on. The receiver checks every file and the whole before it hands
//! the snapshot to its replica.
//!
//! Why it is right. Nothing that arrives touches the range before the last check: files are staged beside the data. Two
//! snapshots with keys in common are never received at a time, so they cannot be mixed; one that stands still gives
//! way. Every transfer ends in exactly one report to the replica that asked for it, delivered or not, because raft-rs
//! waits for that report and for nothing else (docs/replication.md#snapshot-outcome-is-reported). What was built before
//! a split has keys that the range gave away; it is given up and built anew.
//!
//! A store sends four snapshots and receives four at a time, a worker sends 64 MB a second at most. The rest waits in a
//! queue, one entry a follower. Snapshots have a stream of their own between stores, so they delay no vote and no
//! append.
//!
//! What it does not do. It decides nothing about raft (`replica/src/snapshot.rs`), claims no keys (`shared`), and reads
//! and writes no file (the engine, through effects). It does not let a follower send in the leader's place, though one
//! may be nearer.
//!
//! Where it is from. Acknowledged pieces against an offset are plain resumable transfer; sorted files that are
//! verified, then ingested in one step, follow TiKV and CockroachDB.

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
