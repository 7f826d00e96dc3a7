use bytes::Bytes;
use holdfast_engine::{SnapshotFile, SnapshotId};
use holdfast_replica::RaftEnvelope;
use holdfast_types::{Key, KeyRange, KeyspaceId, Moment, RangeId, ReplicaId, StoreId, limits};

use super::*;
use crate::core::message::SnapshotState;

const CHUNK: u64 = limits::SNAPSHOT_CHUNK_BYTES as u64;
const ID: SnapshotId = SnapshotId(9);
const START: Moment = Moment(10_000_000);

fn manifest(id: SnapshotId, start: &[u8], end: &[u8], sizes: &[u64]) -> SnapshotManifest {
    let key = |user| Key::bound(KeyspaceId(1), user);
    SnapshotManifest {
        id,
        range: RangeId(7),
        bounds: KeyRange { start: key(start), end: Some(key(end)) },
        range_state: Bytes::new(),
        files: sizes.iter().map(|size| SnapshotFile { size_bytes: *size, checksum: 0 }).collect(),
        checksum: 0,
    }
}

fn envelope() -> RaftEnvelope {
    RaftEnvelope {
        range: RangeId(7),
        from: ReplicaId(1),
        to: ReplicaId(2),
        descriptor: None,
        stamp: None,
        message: Bytes::new(),
    }
}

fn sending(sizes: &[u64]) -> Sending {
    let mut sending = Sending::default();
    sending.begin(ID, RangeId(7), ReplicaId(2), StoreId(2), START);
    let offer = sending.built(ID, manifest(ID, b"a", b"z", sizes), envelope(), START);
    assert!(matches!(offer[..], [SendTask::Offer(StoreId(2), ..)]));
    sending
}

fn pieces(tasks: &[SendTask]) -> Vec<(usize, u64)> {
    let piece = |task: &SendTask| match task {
        SendTask::Read { file, offset, .. } => Some((*file, *offset)),
        _ => None,
    };
    tasks.iter().filter_map(piece).collect()
}

#[test]
fn pieces_go_out_in_order_across_files_and_no_more_than_the_window() {
    let mut sending = sending(&[CHUNK + 10, 5, 10 * CHUNK]);
    let first = sending.progress(ID, SnapshotState::Receiving, &[0, 0, 0], START);
    assert_eq!(pieces(&first), [(0, 0), (0, CHUNK), (1, 0), (2, 0), (2, CHUNK), (2, 2 * CHUNK)]);
    assert!(sending.progress(ID, SnapshotState::Receiving, &[0, 0, 0], START.after(OFFER)).is_empty());
    let next = sending.progress(ID, SnapshotState::Receiving, &[CHUNK + 10, 5, 0], START);
    assert_eq!(pieces(&next), [(2, 3 * CHUNK)]);
}

const OFFER: std::time::Duration = std::time::Duration::from_secs(2);

#[test]
fn lost_pieces_are_sent_again_after_a_new_offer() {
    let mut sending = sending(&[3 * CHUNK]);
    assert_eq!(pieces(&sending.progress(ID, SnapshotState::Receiving, &[0], START)).len(), 3);
    let later = START.after(OFFER);
    assert!(matches!(sending.tick(later)[..], [SendTask::Offer(..)]));
    let again = sending.progress(ID, SnapshotState::Receiving, &[CHUNK], later);
    assert_eq!(pieces(&again), [], "progress was made: the rest may still be on its way");
    let later = later.after(OFFER);
    sending.tick(later);
    let again = sending.progress(ID, SnapshotState::Receiving, &[CHUNK], later);
    assert_eq!(pieces(&again), [(0, CHUNK), (0, 2 * CHUNK)]);
}

#[test]
fn every_end_is_reported_once() {
    for (state, delivered) in [(SnapshotState::Complete, true), (SnapshotState::Refused, false)] {
        let mut sending = sending(&[1]);
        let over = sending.progress(ID, state, &[1], START);
        assert_eq!(over, [SendTask::Over { snapshot: ID, range: RangeId(7), to: ReplicaId(2), delivered }]);
        assert!(sending.progress(ID, state, &[1], START).is_empty());
    }
    let mut idle = sending(&[1]);
    let tasks = idle.tick(START.after(limits::SNAPSHOT_IDLE));
    assert!(tasks.iter().any(|t| matches!(t, SendTask::Over { delivered: false, .. })));
}

#[test]
fn what_was_built_of_other_bounds_is_outdated() {
    let built = manifest(ID, b"a", b"z", &[1]);
    let split = manifest(ID, b"a", b"m", &[1]);
    let sending = sending(&[1]);
    assert!(!sending.is_outdated(ID, Some(&built.bounds)));
    assert!(sending.is_outdated(ID, Some(&split.bounds)));
    assert!(!sending.is_outdated(SnapshotId(10), Some(&split.bounds)), "there is none");
}

#[test]
fn last_piece_says_so() {
    let mut sending = sending(&[10, 20]);
    let chunk = |sending: &mut Sending, file, offset, size: usize| {
        let tasks = sending.read(ID, file, offset, Bytes::from(vec![0; size]));
        matches!(tasks[..], [SendTask::Chunk { last: true, .. }])
    };
    assert!(!chunk(&mut sending, 0, 0, 10));
    assert!(!chunk(&mut sending, 1, 0, 10));
    assert!(chunk(&mut sending, 1, 10, 10));
}

#[test]
fn second_snapshot_for_the_same_keys_is_refused_while_the_first_is_alive() {
    let mut receiving = Receiving::default();
    let first = manifest(ID, b"a", b"m", &[10]);
    let second = manifest(SnapshotId(10), b"k", b"z", &[10]);
    assert_eq!(receiving.offer(StoreId(1), envelope(), &first, START), (Taken::Begin, vec![]));
    assert_eq!(receiving.offer(StoreId(3), envelope(), &second, START), (Taken::Busy, vec![]));
    let later = START.after(std::time::Duration::from_secs(6));
    assert_eq!(receiving.offer(StoreId(3), envelope(), &second, later), (Taken::Begin, vec![ID]));
    assert!(receiving.get(ID).is_none());
}

#[test]
fn transfer_goes_on_where_it_stopped() {
    let mut receiving = Receiving::default();
    let whole = manifest(ID, b"a", b"m", &[10, 10]);
    receiving.offer(StoreId(1), envelope(), &whole, START);
    assert!(receiving.chunk(ID, 0, 0, 10, START));
    assert!(receiving.chunk(ID, 1, 0, 5, START));
    assert!(!receiving.chunk(ID, 1, 7, 3, START), "a gap is not taken");
    receiving.stored(ID, vec![10, 0]);
    // The connection broke; the piece of file 1 never reached the disk.
    assert_eq!(receiving.offer(StoreId(1), envelope(), &whole, START).0, Taken::Known);
    assert!(receiving.chunk(ID, 1, 0, 10, START));
    receiving.stored(ID, vec![10, 10]);
    assert!(!receiving.ask_to_verify(ID), "the last piece asked for it");
}

#[test]
fn snapshot_that_was_whole_before_is_only_verified() {
    let mut receiving = Receiving::default();
    receiving.offer(StoreId(1), envelope(), &manifest(ID, b"a", b"m", &[10]), START);
    receiving.stored(ID, vec![10]);
    assert!(receiving.ask_to_verify(ID));
    assert!(!receiving.ask_to_verify(ID), "once");
}

#[test]
fn idle_transfer_is_forgotten() {
    let mut receiving = Receiving::default();
    receiving.offer(StoreId(1), envelope(), &manifest(ID, b"a", b"m", &[10]), START);
    assert!(receiving.expire(START.after(OFFER)).is_empty());
    assert_eq!(receiving.expire(START.after(limits::SNAPSHOT_IDLE)), [ID]);
}
