//! The support loop: owns the support table and its connections.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_engine::LogEngine;
use holdfast_kv::core::event::Event;
use holdfast_kv::core::support::{Output, Support};
use holdfast_types::{Incarnation, Moment, StoreId, Timestamp, limits};

use super::process::Process;
use super::{At, StoreTask};
use crate::network::{Lane, Parcel, Place};

/// The support table and who is asked.
pub(super) struct SupportLoop {
    table: Support,
    neighbours: BTreeMap<u16, BTreeSet<StoreId>>,
    due: Moment,
    /// Streams say that they live then.
    sign_at: Moment,
    /// When the streams of each store were heard: control and log.
    heard: BTreeMap<StoreId, [Moment; 2]>,
}

impl SupportLoop {
    pub(super) fn new(table: Support) -> Self {
        Self { table, neighbours: BTreeMap::new(), due: Moment::ZERO, sign_at: Moment::ZERO, heard: BTreeMap::new() }
    }

    pub(super) fn note_unwilling(&mut self, unwilling: bool) {
        self.table.note_unwilling(unwilling);
    }

    pub(super) fn set_members(&mut self, stores: BTreeSet<StoreId>) {
        self.table.set_members(stores);
    }

    pub(super) fn set_neighbours(&mut self, worker: u16, stores: BTreeSet<StoreId>) {
        self.neighbours.insert(worker, stores);
        self.table.set_neighbours(self.neighbours.values().flatten().copied().collect());
    }
}

impl Process {
    /// Something came in on a stream of another store.
    pub(super) fn stream_lives(&mut self, from: StoreId, lane: Lane, now: Moment) {
        let index = match lane {
            Lane::Control => 0,
            Lane::Log => 1,
            Lane::Snapshot | Lane::Support | Lane::Client => return,
        };
        let heard = self.support.heard.entry(from).or_insert([Moment::ZERO; 2]);
        heard[index] = now;
        let oldest = heard[0].min(heard[1]);
        if oldest > Moment::ZERO {
            self.support.table.note_streams(from, oldest);
        }
    }

    fn say_that_streams_live(&mut self, at: &mut At<'_>) {
        let now = at.now();
        if now < self.support.sign_at {
            return;
        }
        self.support.sign_at = now.after(limits::STORE_STREAM_SIGN);
        for to in self.support.table.neighbours().clone() {
            for lane in [Lane::Control, Lane::Log] {
                at.send(Place::Store(to), lane, Parcel::SignOfLife);
            }
        }
    }

    /// Fleet time as the store has judged it.
    pub(super) fn fleet_now(&self, at: &At<'_>) -> Timestamp {
        self.support.table.clock().at(at.now()).unwrap_or(Timestamp::ZERO)
    }

    pub(super) fn support_due(&mut self, at: &mut At<'_>) {
        if self.support.due <= at.hub.now {
            self.tick_support(at);
        }
    }

    pub(super) fn support_heard(&mut self, from: StoreId, incarnation: Incarnation, bytes: &Bytes, at: &mut At<'_>) {
        self.support.table.note_wall(at.clock.wall_ms(at.hub.now));
        let output = self.support.table.receive(from, incarnation, bytes, at.now());
        self.carry_out_support(output, at);
        self.tick_support(at);
    }

    fn tick_support(&mut self, at: &mut At<'_>) {
        let now = at.now();
        let healthy = self.is_healthy(now);
        self.support.table.note_counter(self.log.counter().0);
        self.support.table.note_wall(at.clock.wall_ms(at.hub.now));
        self.say_that_streams_live(at);
        let output = self.support.table.tick(now, healthy);
        self.carry_out_support(output, at);
        let due = at.clock.global(self.support.table.next_wake()).max(at.hub.now);
        self.support.due = due;
        at.task_at(due, StoreTask::Support);
    }

    /// Rounds of workers are instants here; what can be late is what waits for the disk.
    fn is_healthy(&self, now: Moment) -> bool {
        let late = |since: Option<Moment>, most| since.is_some_and(|since| now.since(since) > most);
        self.fault.is_none()
            && !late(self.writer.since(), limits::FSYNC_STALLED)
            && !late(self.pools.busy_since(), limits::WORKER_ROUND_LATE)
    }

    fn carry_out_support(&mut self, output: Output, at: &mut At<'_>) {
        for (to, bytes) in output.send {
            at.send(Place::Store(to), Lane::Support, Parcel::Support(self.incarnation, bytes));
        }
        if let Some(seen) = output.seen {
            self.deliver(0, Event::Seen(seen), at);
        }
        if let Some(outdated) = output.outdated {
            self.deliver(0, Event::Outdated(outdated), at);
        }
        if let Some(changed) = output.changed {
            for (store, generation) in &changed.withdrawn {
                at.hub.note(|| format!("{} withdraws {generation} from {store}", at.me));
            }
            self.tell_all(None, &Event::Support(changed), at);
        }
    }
}
