//! The receiving half.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_engine::{SnapshotId, SnapshotManifest};
use holdfast_replica::RaftEnvelope;
use holdfast_types::{KeyRange, Moment, RangeId, StoreId, limits};

use super::{place_of, total_bytes};

/// A transfer without a piece for this long gives way to another one for the same keys.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(5);

/// One snapshot on its way in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Who sends it.
    pub from: StoreId,
    /// The raft message that it belongs to.
    pub envelope: RaftEnvelope,
    /// What it consists of.
    pub manifest: SnapshotManifest,
    /// Bytes of each file that are stored.
    pub received: Vec<u64>,
    /// Handed to the replica.
    pub staged: bool,
    /// The last piece, after which it is verified, was handed to the disk.
    last_seen: bool,
    /// Bytes of all files that were stored or handed to the disk.
    taken: u64,
    heard_at: Moment,
}

/// What became of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// New: begin to receive.
    Begin,
    /// Known: say what is there.
    Known,
    /// It gets in the way of another one that is alive.
    Busy,
}

/// Snapshots that a worker receives.
///
/// Invariants:
/// - no two have keys in common
/// - pieces are taken in order
#[derive(Default, Debug)]
pub struct Receiving {
    incoming: BTreeMap<SnapshotId, Incoming>,
}

impl Receiving {
    /// Takes an offer. Gives the snapshots that gave way to it, too.
    pub fn offer(
        &mut self,
        from: StoreId,
        envelope: RaftEnvelope,
        manifest: &SnapshotManifest,
        now: Moment,
    ) -> (Taken, Vec<SnapshotId>) {
        if let Some(known) = self.incoming.get_mut(&manifest.id) {
            known.from = from;
            known.envelope = envelope;
            // What was on its way when the connection broke comes again.
            known.taken = known.received.iter().sum();
            return (Taken::Known, Vec::new());
        }
        let crossed: Vec<_> = self
            .incoming
            .iter()
            .filter(|(_, i)| i.manifest.range == manifest.range || i.manifest.bounds.overlaps(&manifest.bounds))
            .map(|(id, i)| (*id, !i.staged && now.since(i.heard_at) >= GIVES_WAY_AFTER))
            .collect();
        if crossed.iter().any(|(_, gives_way)| !gives_way) {
            return (Taken::Busy, Vec::new());
        }
        for (id, _) in &crossed {
            self.incoming.remove(id);
        }
        let received = vec![0; manifest.files.len()];
        let incoming = Incoming {
            from,
            envelope,
            manifest: manifest.clone(),
            received,
            staged: false,
            last_seen: false,
            taken: 0,
            heard_at: now,
        };
        self.incoming.insert(manifest.id, incoming);
        (Taken::Begin, crossed.into_iter().map(|(id, _)| id).collect())
    }

    /// True when the piece is the next one: store it. Otherwise say what is there.
    pub fn chunk(&mut self, snapshot: SnapshotId, file: usize, offset: u64, size_bytes: usize, now: Moment) -> bool {
        let Some(incoming) = self.incoming.get_mut(&snapshot) else { return false };
        incoming.heard_at = now;
        let expected = place_of(&incoming.manifest, incoming.taken).unwrap_or((0, 0));
        let fits = expected == (file, offset) && !incoming.staged;
        if fits {
            incoming.taken += size_bytes as u64;
            incoming.last_seen |= incoming.taken >= total_bytes(&incoming.manifest);
        }
        fits
    }

    /// The disk has so much of it.
    pub fn stored(&mut self, snapshot: SnapshotId, received: Vec<u64>) -> Option<&mut Incoming> {
        let incoming = self.incoming.get_mut(&snapshot)?;
        incoming.taken = incoming.taken.max(received.iter().sum());
        incoming.received = received;
        Some(incoming)
    }

    /// True, once, when every byte is stored though its last piece never came in this transfer: it has to be verified.
    pub fn ask_to_verify(&mut self, snapshot: SnapshotId) -> bool {
        let Some(incoming) = self.incoming.get_mut(&snapshot) else { return false };
        let whole = incoming.received.iter().sum::<u64>() >= total_bytes(&incoming.manifest);
        whole && !incoming.last_seen && !std::mem::replace(&mut incoming.last_seen, true)
    }

    /// What is known of one.
    #[must_use]
    pub fn get(&self, snapshot: SnapshotId) -> Option<&Incoming> {
        self.incoming.get(&snapshot)
    }

    /// It is over, well or badly.
    pub fn end(&mut self, snapshot: SnapshotId) -> Option<Incoming> {
        self.incoming.remove(&snapshot)
    }

    /// Snapshots of a range that is gone from here, or all that overlap its keys.
    pub fn forget_range(&mut self, range: RangeId, bounds: Option<&KeyRange>) -> Vec<SnapshotId> {
        let crossed = |i: &Incoming| i.manifest.range == range || bounds.is_some_and(|b| i.manifest.bounds.overlaps(b));
        let gone: Vec<_> = self.incoming.iter().filter(|(_, i)| crossed(i)).map(|(id, _)| *id).collect();
        for id in &gone {
            self.incoming.remove(id);
        }
        gone
    }

    /// Forgets what has been idle for too long.
    pub fn expire(&mut self, now: Moment) -> Vec<SnapshotId> {
        let idle = |i: &Incoming| !i.staged && now.since(i.heard_at) >= limits::SNAPSHOT_IDLE;
        let gone: Vec<_> = self.incoming.iter().filter(|(_, i)| idle(i)).map(|(id, _)| *id).collect();
        for id in &gone {
            self.incoming.remove(id);
        }
        gone
    }

    /// When something has been idle for too long.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        self.incoming.values().filter(|i| !i.staged).map(|i| i.heard_at.after(limits::SNAPSHOT_IDLE)).min()
    }
}
