//! The support thread: owns the support table and its connection. Nothing else of the store can make it late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use holdfast_engine::LogEngine;
use holdfast_types::{StoreId, limits};
use parking_lot::RwLock;

use super::health::{Health, Pulse};
use super::pools::Mailboxes;
use super::shared::FaultSink;
use super::streams::StreamsHeard;
use crate::core::event::{Event, Measurements};
use crate::core::support::{Output, Silent, Support, SupportChange};
use crate::ports::{Clock, Note, PlacementLink, SupportLink};

/// What a worker says of other stores.
pub enum Company {
    /// They share a range with this one, on the worker of this number.
    Neighbours(usize, BTreeSet<StoreId>),
    /// The fleet has them on record.
    Members(BTreeSet<StoreId>),
}

/// Everything that the support thread needs.
pub struct SupportThread {
    /// The table.
    pub support: Support,
    /// The log, for its counter.
    pub log: Arc<dyn LogEngine>,
    /// Its connection.
    pub link: Box<dyn SupportLink>,
    /// What the workers say of other stores.
    pub company: Receiver<Company>,
    /// Where news go.
    pub workers: Mailboxes,
    /// Who still turns its rounds.
    pub health: Arc<Health>,
    /// Its pulse: without this thread nobody hears that the store is unfit, so that it asks for support no more is all that is seen.
    pub pulse: Arc<Pulse>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What was measured last: others are told of a full disk.
    pub measured: Arc<RwLock<Arc<Measurements>>>,
    /// A store whose disk failed asks for no support.
    pub faults: FaultSink,
    /// Who hears of stores that are lost and heard again.
    pub placement: Arc<dyn PlacementLink>,
    /// When other stores' streams were heard.
    pub streams: Arc<StreamsHeard>,
    /// Stores whose promise was withdrawn and not renewed.
    pub lost: BTreeSet<StoreId>,
}

impl SupportThread {
    /// Runs until the workers are gone.
    pub fn run(mut self) {
        let mut neighbours: BTreeMap<usize, BTreeSet<StoreId>> = BTreeMap::new();
        let (mut complained, mut refused) = (false, false);
        loop {
            loop {
                match self.company.try_recv() {
                    Ok(Company::Members(stores)) => self.support.set_members(stores),
                    Ok(Company::Neighbours(worker, stores)) => {
                        neighbours.insert(worker, stores);
                        let all: BTreeSet<_> = neighbours.values().flatten().copied().collect();
                        self.health.note_neighbours(all.clone());
                        self.support.set_neighbours(all);
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let wait = self.support.next_wake().since(self.clock.now()).min(limits::SUPPORT_HEARTBEAT);
            let heard = self.link.poll(wait.max(Duration::from_millis(1)));
            self.support.note_wall(self.clock.wall_ms());
            self.note_streams();
            for (from, incarnation, payload) in heard {
                let output = self.support.receive(from, incarnation, &payload, self.clock.now());
                self.carry_out(output);
            }
            if let Some(outdated) = self.link.refused().filter(|_| !std::mem::replace(&mut refused, true)) {
                // Connections are refused before a question is heard.
                self.workers.deliver(0, Event::Outdated(outdated));
            }
            let now = self.clock.now();
            self.pulse.beat(now);
            let complaints = self.health.complaints(now);
            let healthy = complaints.is_empty() && !self.faults.is_raised();
            if healthy == complained {
                complained = !healthy;
                if complained {
                    let complaints: Vec<_> = complaints.iter().map(ToString::to_string).collect();
                    let complaints = complaints.join("; ");
                    tracing::warn!(complaints, "this store is not fit to lead and asks for no support");
                    self.placement.noted(Note::Unfit(complaints));
                } else {
                    tracing::info!("this store is fit to lead again");
                    self.placement.noted(Note::Fit);
                }
            }
            self.support.note_counter(self.log.counter().0);
            self.support.note_unwilling(self.measured.read().is_disk_full() || self.health.prepares_to_stop());
            self.support.note_wall(self.clock.wall_ms());
            self.support.forget(&self.link.forgotten());
            let output = self.support.tick(now, healthy);
            self.carry_out(output);
        }
    }

    fn note_clock(&self, ahead_ms: Option<i64>) {
        let before = self.health.note_clock(ahead_ms);
        match (before, ahead_ms) {
            (None, Some(ahead_ms)) => {
                tracing::error!(
                    ahead_ms,
                    "this store's wall clock differs from most other stores' by more than the bound: it does not lead until \
                     the clock is set"
                );
                self.placement.noted(Note::Unfit(format!("the wall clock is {ahead_ms} ms ahead of most others")));
            }
            (Some(_), None) => {
                tracing::info!("this store's wall clock is right again");
                self.placement.noted(Note::Fit);
            }
            _ => {}
        }
    }

    fn note_streams(&mut self) {
        for store in self.support.neighbours().clone() {
            if let Some(heard_at) = self.streams.all_heard_at(store) {
                self.support.note_streams(store, heard_at);
            }
        }
    }

    fn note_silent(&self, silent: &BTreeMap<StoreId, Silent>) {
        let before = self.health.note_silent(silent.clone());
        for (store, how) in silent.iter().filter(|(store, how)| before.get(store) != Some(*how)) {
            tracing::error!(
                %store, %how,
                "heartbeats of a store arrive, but its streams carry nothing: neither store counts on the other until they do; look at \
                 firewalls and routes for the store port"
            );
            self.placement.noted(Note::StreamsSilent(*store, how.to_string()));
        }
        for store in before.keys().filter(|store| !silent.contains_key(store)) {
            tracing::info!(%store, "the streams of a store carry something again, or it is silent altogether");
        }
    }

    fn note_stores(&mut self, changed: &SupportChange) {
        let is_lost = |store: &StoreId| changed.lost.contains_key(store);
        for store in changed.lost.keys().filter(|store| !self.lost.contains(store)) {
            self.placement.noted(Note::StoreLost(*store));
        }
        // One that shares no range any more is neither: nobody asks it.
        for store in self.lost.iter().filter(|store| !is_lost(store) && changed.view.supports(**store)) {
            self.placement.noted(Note::StoreHeard(*store));
        }
        self.lost = changed.lost.keys().copied().collect();
    }

    fn carry_out(&mut self, output: Output) {
        for (to, payload) in output.send {
            self.link.send(to, payload);
        }
        if let Some((store, incarnation, counter)) = output.heard {
            self.link.note(store, incarnation, counter);
        }
        // Any worker will do: its log batches are as good as another's.
        if let Some(seen) = output.seen {
            self.workers.deliver(0, Event::Seen(seen));
        }
        if let Some(outdated) = output.outdated {
            self.workers.deliver(0, Event::Outdated(outdated));
        }
        if let Some(changed) = output.changed {
            self.note_clock(changed.clock_ahead_ms);
            self.note_silent(&changed.silent);
            self.health.note_fleet_clock(changed.clock);
            self.note_stores(&changed);
            self.workers.broadcast(None, &Event::Support(changed));
        }
    }
}
