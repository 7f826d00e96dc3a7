//! What stores say to each other on streams, to a whole store.

use bytes::Bytes;
use holdfast_engine::SnapshotManifest;
use holdfast_kv::core::message::StoreMessage;
use holdfast_kv::core::snapshots::{Receiving, Sending};
use holdfast_replica::RaftEnvelope;
use holdfast_types::{Moment, ReplicaId, StoreId, limits};

use crate::pieces;
use crate::store::{SHARED, Store};

/// Each piece is a message. Its tag says from which store, and how much time passes afterwards.
pub(crate) fn store_messages(input: &[u8]) {
    let mut store = Store::founded();
    for piece in pieces::cut(input) {
        store.receive(StoreId(2 + u64::from(piece.tag & 3)), &piece.bytes);
        store.run(u64::from(piece.tag >> 5) * 300);
    }
    store.run(3_000);
    store.restart();
}

/// Each piece is a raft message to the replica of a range that this store has in common with two others, in an envelope that is right.
pub(crate) fn raft_messages(input: &[u8]) {
    let mut store = Store::founded();
    for piece in pieces::cut(input) {
        let from = 2 + u64::from(piece.tag & 1);
        let envelope = RaftEnvelope {
            range: SHARED,
            from: ReplicaId(from),
            to: ReplicaId(1),
            descriptor: (piece.tag & 2 != 0).then(|| store.shared_descriptor()),
            stamp: None,
            message: addressed(&piece.bytes, from),
        };
        store.receive(StoreId(from), &StoreMessage::Raft(envelope).encode().unwrap());
        store.run(u64::from(piece.tag >> 5) * 100);
    }
    store.run(1_000);
    store.restart();
}

/// A raft message ends with the addresses that its envelope says: of a field that is there twice the last one counts.
fn addressed(message: &Bytes, from: u64) -> Bytes {
    // Fields 2 and 3 of eraftpb.Message: to and from, as varints.
    let mut addressed = message.to_vec();
    addressed.extend([2 << 3, 1, 3 << 3, u8::try_from(from).expect("2 or 3")]);
    addressed.into()
}

/// A manifest as it lies on a disk, then as it is offered, with chunks and progress: tag 0 is a manifest, 1 a chunk, 2 an answer.
pub(crate) fn manifests(input: &[u8]) {
    let (mut receiving, mut sending) = (Receiving::default(), Sending::default());
    let mut now = Moment(1_000_000);
    let mut known = None;
    for piece in pieces::cut(input) {
        now = now.after(limits::REPORT_EVERY);
        let message = StoreMessage::decode(&piece.bytes);
        let manifest = match (piece.tag, &message) {
            (0, _) => SnapshotManifest::decode(&piece.bytes).ok(),
            (_, Ok(StoreMessage::SnapshotOffer { manifest, .. })) => Some((**manifest).clone()),
            _ => None,
        };
        if let Some(manifest) = manifest {
            assert_eq!(SnapshotManifest::decode(&manifest.clone().encode()).is_ok(), manifest.is_sound());
            offer(&mut receiving, &mut sending, &manifest, now);
            known = Some(manifest);
        }
        match message {
            Ok(StoreMessage::SnapshotChunk { snapshot, file, offset, data, .. }) => {
                let snapshot = known.as_ref().map_or(snapshot, |known| known.id);
                receiving.chunk(snapshot, file, offset, data.len(), now);
                receiving.ask_to_verify(snapshot);
                sending.read(snapshot, file, offset, data);
            }
            Ok(StoreMessage::SnapshotProgress { snapshot, state, received, .. }) => {
                let snapshot = known.as_ref().map_or(snapshot, |known| known.id);
                sending.progress(snapshot, state, &received, now);
            }
            _ => {}
        }
        sending.tick(now);
        receiving.expire(now);
    }
}

fn offer(receiving: &mut Receiving, sending: &mut Sending, manifest: &SnapshotManifest, now: Moment) {
    let envelope = RaftEnvelope {
        range: manifest.range,
        from: ReplicaId(2),
        to: ReplicaId(1),
        descriptor: None,
        stamp: None,
        message: Bytes::new(),
    };
    receiving.offer(StoreId(2), envelope.clone(), manifest, now);
    sending.begin(manifest.id, manifest.range, ReplicaId(2), StoreId(2), now);
    sending.built(manifest.id, manifest.clone(), envelope, now);
}
