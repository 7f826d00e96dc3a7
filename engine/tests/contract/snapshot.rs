//! Snapshots: built, sent in pieces, verified, installed.

use std::sync::Arc;

use holdfast_engine::{DataEngine, DataOp, Fault, ReadTier, SnapshotId, SnapshotManifest, Version};
use holdfast_types::{KeyRange, RangeId, Timestamp};

use crate::build::{R, bounds, completion, expiring, key, put, state, value};
use crate::twin::Twin;

const ID: SnapshotId = SnapshotId(42);

both! {
    install_replaces_the_old_span_and_nothing_else, transfer_is_resumed_after_the_process_is_lost,
    corrupted_piece_is_refused_and_forgotten, install_is_persisted_and_repeatable, snapshot_is_of_its_view,
    pieces_out_of_order_are_refused_and_repeated_ones_ignored, dropped_snapshot_is_gone, spoiled_manifest_is_refused,
    range_with_no_keys_can_be_sent, large_range_comes_over_whole, install_hides_writes_made_before_it,
}

fn source(twin: &dyn Twin) -> Box<dyn Twin> {
    let source = twin.another();
    let mut ops = vec![state(R, "applied 9"), completion(R, 1, 1, "done"), completion(R, 2, 5, "done too")];
    ops.extend((0..300).map(|i| put(&format!("k{i:03}"), 10, value("new"))));
    ops.extend([put("k000", 20, Version::Tombstone), put("k001", 20, expiring("short", 99))]);
    ops.extend([put("a", 10, value("outside")), put("z", 10, value("outside")), state(RangeId(8), "outside")]);
    source.data().write(&ops).unwrap();
    source
}

fn build(source: &dyn Twin) -> SnapshotManifest {
    let data = source.data();
    data.build_snapshot(&*data.snapshot(), ID, R, &bounds("b", "y")).unwrap()
}

/// Sends what the target has not yet, in pieces of `piece` bytes; at most `max` pieces.
fn send(source: &dyn DataEngine, target: &dyn DataEngine, manifest: &SnapshotManifest, piece: usize, max: usize) {
    target.begin_install(manifest).unwrap();
    let mut sent = 0;
    for (file, mut offset) in target.received(manifest.id).unwrap().into_iter().enumerate() {
        while sent < max {
            let bytes = source.read_snapshot(manifest.id, file, offset, piece).unwrap();
            if bytes.is_empty() {
                break;
            }
            target.receive(manifest.id, file, offset, &bytes).unwrap();
            offset += bytes.len() as u64;
            sent += 1;
        }
    }
}

fn old_data(twin: &dyn Twin) -> Arc<dyn DataEngine> {
    let data = twin.data();
    let ops = [
        put("a", 5, value("neighbour")),
        put("b", 5, value("old")),
        put("k007", 99, value("newer but gone")),
        put("y", 5, value("neighbour")),
        state(R, "old"),
        completion(R, 7, 7, "old"),
        state(RangeId(6), "neighbour"),
        completion(RangeId(8), 7, 7, "neighbour"),
    ];
    data.write(&ops).unwrap();
    data
}

/// All that a range consists of.
fn contents(data: &dyn DataEngine, bounds: &KeyRange) -> impl PartialEq + std::fmt::Debug + use<> {
    let view = data.snapshot();
    (view.versions(bounds, usize::MAX).unwrap(), view.range_state(R).unwrap(), view.completions(R, None, 99).unwrap())
}

fn assert_installed(source: &dyn Twin, target: &dyn Twin) {
    assert_eq!(contents(&*target.data(), &bounds("b", "y")), contents(&*source.data(), &bounds("b", "y")));
    let view = target.data().snapshot();
    for name in ["a", "y"] {
        let kept = view.get(&key(name), Timestamp::MAX, Timestamp(0)).unwrap();
        assert_eq!(kept.unwrap().value, "neighbour");
    }
    assert_eq!(view.range_state(RangeId(6)).unwrap().unwrap(), "neighbour");
    assert_eq!(view.completions(RangeId(8), None, 9).unwrap().len(), 1);
    assert_eq!(view.range_state(RangeId(8)).unwrap(), None);
}

fn install_replaces_the_old_span_and_nothing_else(twin: &mut dyn Twin) {
    let source = source(twin);
    for flushed in [false, true] {
        old_data(twin);
        if flushed {
            twin.data().flush().unwrap();
            twin.compact();
        }
        let manifest = build(&*source);
        assert_eq!((manifest.range, manifest.range_state.as_ref()), (R, b"applied 9".as_slice()));
        send(&*source.data(), &*twin.data(), &manifest, 1_000, usize::MAX);
        twin.data().verify_install(ID).unwrap();
        twin.data().install(ID).unwrap();
        assert_installed(&*source, twin);
        twin.compact();
        assert_installed(&*source, twin);
    }
}

fn transfer_is_resumed_after_the_process_is_lost(twin: &mut dyn Twin) {
    let source = source(twin);
    let manifest = build(&*source);
    old_data(twin).flush().unwrap();
    send(&*source.data(), &*twin.data(), &manifest, 100, 5);
    twin.reopen();
    assert_eq!(twin.data().staged_manifest(ID).unwrap(), Some(manifest.clone()));
    let received: u64 = twin.data().received(ID).unwrap().iter().sum();
    assert_eq!(received, 500, "a killed process loses nothing that it had received");
    send(&*source.data(), &*twin.data(), &manifest, 100, usize::MAX);
    twin.data().verify_install(ID).unwrap();
    twin.reopen();
    twin.data().install(ID).unwrap();
    assert_installed(&*source, twin);
}

fn corrupted_piece_is_refused_and_forgotten(twin: &mut dyn Twin) {
    let source = source(twin);
    let manifest = build(&*source);
    let data = old_data(twin);
    data.begin_install(&manifest).unwrap();
    for file in 0..manifest.files.len() {
        let mut bytes = source.data().read_snapshot(ID, file, 0, usize::MAX).unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= u8::from(file == 0);
        data.receive(ID, file, 0, &bytes).unwrap();
    }
    assert!(matches!(data.verify_install(ID), Err(Fault::Damage { .. })));
    assert_eq!(data.staged_manifest(ID).unwrap(), None);
    assert!(data.install(ID).is_err());
    assert_eq!(data.range_state(R, ReadTier::All).unwrap().unwrap(), "old");
    send(&*source.data(), &*data, &manifest, 4_000, usize::MAX);
    data.install(ID).unwrap();
    assert_installed(&*source, twin);
}

fn install_is_persisted_and_repeatable(twin: &mut dyn Twin) {
    let source = source(twin);
    let manifest = build(&*source);
    old_data(twin).flush().unwrap();
    send(&*source.data(), &*twin.data(), &manifest, 4_000, usize::MAX);
    twin.data().install(ID).unwrap();
    assert_eq!(twin.data().range_state(R, ReadTier::Persisted).unwrap().unwrap(), "applied 9");
    twin.reopen();
    assert_installed(&*source, twin);
    for _ in 0..2 {
        twin.data().install(ID).unwrap();
        assert_installed(&*source, twin);
    }
    twin.data().drop_snapshot(ID).unwrap();
    twin.reopen();
    assert_installed(&*source, twin);
}

fn snapshot_is_of_its_view(twin: &mut dyn Twin) {
    let source = source(twin);
    let view = source.data().snapshot();
    source.data().write(&[DataOp::ClearKeys { bounds: KeyRange::all() }, state(R, "later")]).unwrap();
    let manifest = source.data().build_snapshot(&*view, ID, R, &bounds("b", "y")).unwrap();
    drop(view);
    assert_eq!(manifest.range_state, "applied 9");
    send(&*source.data(), &*twin.data(), &manifest, 4_000, usize::MAX);
    twin.data().install(ID).unwrap();
    assert_eq!(twin.data().snapshot().versions(&KeyRange::all(), usize::MAX).unwrap().len(), 302);
    let data = source.data();
    assert!(
        data.build_snapshot(&*data.snapshot(), ID, RangeId(99), &KeyRange::all()).is_err(),
        "a range without a state"
    );
}

fn pieces_out_of_order_are_refused_and_repeated_ones_ignored(twin: &mut dyn Twin) {
    let source = source(twin);
    let manifest = build(&*source);
    let data = twin.data();
    assert!(data.receive(ID, 0, 0, b"x").is_err(), "nothing was begun");
    data.begin_install(&manifest).unwrap();
    let file = source.data().read_snapshot(ID, 0, 0, usize::MAX).unwrap();
    assert!(data.receive(ID, 0, 10, &file[10..20]).is_err(), "a gap");
    data.receive(ID, 0, 0, &file[..20]).unwrap();
    data.receive(ID, 0, 0, &file[..20]).unwrap();
    data.receive(ID, 0, 10, &file[10..30]).unwrap();
    assert_eq!(data.received(ID).unwrap()[0], 30);
    let size = manifest.files[0].size_bytes;
    data.receive(ID, 0, 30, &file[30..]).unwrap();
    assert!(matches!(data.receive(ID, 0, size, b"x"), Err(Fault::Damage { .. })), "longer than announced");
    assert!(data.receive(ID, manifest.files.len(), 0, b"x").is_err(), "no such file");
}

fn dropped_snapshot_is_gone(twin: &mut dyn Twin) {
    let source = source(twin);
    let manifest = build(&*source);
    twin.data().begin_install(&manifest).unwrap();
    twin.data().drop_snapshot(ID).unwrap();
    twin.data().drop_snapshot(ID).unwrap();
    assert_eq!(twin.data().staged_manifest(ID).unwrap(), None);
    assert!(twin.data().received(ID).is_err());
    source.data().drop_snapshot(ID).unwrap();
    assert!(source.data().read_snapshot(ID, 0, 0, 10).is_err());
}

fn spoiled_manifest_is_refused(twin: &mut dyn Twin) {
    let source = source(twin);
    let mut manifest = build(&*source);
    manifest.bounds = KeyRange::all();
    assert!(matches!(twin.data().begin_install(&manifest), Err(Fault::Damage { .. })));
}

fn range_with_no_keys_can_be_sent(twin: &mut dyn Twin) {
    let source = twin.another();
    source.data().write(&[state(R, "empty")]).unwrap();
    let manifest = build(&*source);
    old_data(twin);
    send(&*source.data(), &*twin.data(), &manifest, 4_000, usize::MAX);
    twin.data().install(ID).unwrap();
    assert_installed(&*source, twin);
}

fn large_range_comes_over_whole(twin: &mut dyn Twin) {
    let source = twin.another();
    source.data().write(&[state(R, "large")]).unwrap();
    for i in 0..40_u64 {
        // Bytes that do not compress, so that there are several files.
        let noise: Vec<u8> =
            (0..1_u64 << 17).flat_map(|j| ((i << 20 | j).wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes()).collect();
        let version = Version::Value { value: noise.into(), expires_at: None };
        source.data().write(&[put("k", i, version)]).unwrap();
    }
    let manifest = build(&*source);
    assert!(manifest.files.len() > 2, "{} files", manifest.files.len());
    old_data(twin);
    send(&*source.data(), &*twin.data(), &manifest, 512 << 10, usize::MAX);
    twin.data().install(ID).unwrap();
    assert_installed(&*source, twin);
    twin.data().install(ID).unwrap();
    twin.compact();
    assert_installed(&*source, twin);
}

fn install_hides_writes_made_before_it(twin: &mut dyn Twin) {
    let source = source(twin);
    let manifest = build(&*source);
    send(&*source.data(), &*twin.data(), &manifest, 4_000, usize::MAX);
    old_data(twin);
    let view = twin.data().snapshot();
    twin.data().install(ID).unwrap();
    twin.data().write(&[put("k299", 50, value("later"))]).unwrap();
    assert_eq!(view.range_state(R).unwrap().unwrap(), "old", "an older view does not see the install");
    assert!(view.get(&key("b"), Timestamp::MAX, Timestamp(0)).unwrap().is_some());
    assert_eq!(twin.data().snapshot().get(&key("b"), Timestamp::MAX, Timestamp(0)).unwrap(), None);
    let later = twin.data().snapshot().get(&key("k299"), Timestamp::MAX, Timestamp(0)).unwrap();
    assert_eq!(later.unwrap().value, "later");
}
