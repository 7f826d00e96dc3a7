//! Heartbeats to the support table, its verdicts about clocks, and what it has saved of others.

use std::time::Duration;

use holdfast_engine::memory::MemoryDisk;
use holdfast_kv::core::seen::{self, Outdated};
use holdfast_kv::core::support::{Output, Support, SupportConfig};
use holdfast_types::{Incarnation, Moment, StoreId};

use crate::pieces;

/// Each piece is a heartbeat. Its tag says by whom (two neighbours, four strangers) and how much time has passed before.
pub(crate) fn run(input: &[u8]) {
    let disk = MemoryDisk::new();
    let log = disk.open().unwrap().log;
    let mut now = Moment(1_000_000);
    let mut incarnation = Incarnation(1);
    let mut table = start(&*log, incarnation, now);
    for piece in pieces::cut(input) {
        now = now.after(Duration::from_millis(u64::from(piece.tag >> 3) * 40));
        let from = StoreId(2 + u64::from(piece.tag & 7));
        table.note_streams(from, now);
        table.note_wall(1_700_000_000_000 + now.0 / 1_000);
        // Whoever sends it has said in its handshake which start it is.
        let told = incarnation_of(&piece.bytes);
        let output = table.receive(from, told, &piece.bytes, now);
        keep(&*log, output);
        let output = table.tick(now, true);
        keep(&*log, output);
        if piece.tag == u8::MAX {
            // What was written down must never keep the next start from coming up.
            incarnation = incarnation.next();
            table = start(&*log, incarnation, now);
        }
    }
    start(&*log, incarnation.next(), now).tick(now.after(Duration::from_secs(2)), true);
}

fn start(log: &dyn holdfast_engine::LogEngine, incarnation: Incarnation, now: Moment) -> Support {
    let outdated = Outdated::read(log).unwrap();
    let seen = seen::read(log).unwrap();
    // As a start does: it goes on from what others have seen.
    let incarnation = outdated.map_or(incarnation, |outdated| incarnation.max(outdated.incarnation.next()));
    let counter_offset = outdated.map_or(0, |outdated| outdated.counter);
    let started_at = log.counter().0 + counter_offset;
    let mut table = Support::new(
        SupportConfig { seen, counter_offset, started_at, ..SupportConfig::new(StoreId(1), incarnation) },
        now,
    );
    table.set_members([StoreId(2), StoreId(3)].into());
    table.set_neighbours([StoreId(2), StoreId(3)].into());
    table.note_counter(log.counter().0);
    table
}

fn keep(log: &dyn holdfast_engine::LogEngine, output: Output) {
    let ops = output.seen.as_ref().map(seen::save).into_iter().chain(output.outdated.map(|outdated| outdated.op()));
    let ops: Vec<_> = ops.collect();
    if !ops.is_empty() {
        log.write_synced(&ops).unwrap();
    }
}

fn incarnation_of(bytes: &[u8]) -> Incarnation {
    let message = <holdfast_proto::v1::SupportMessage as prost::Message>::decode(bytes).unwrap_or_default();
    Incarnation::bounded(message.incarnation).unwrap_or(Incarnation(1))
}
