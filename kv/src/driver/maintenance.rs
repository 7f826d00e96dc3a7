//! What is done now and then: flushes, the truncation point, free space, sizes.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use holdfast_engine::{DataEngine, ReadTier};
use holdfast_replica::RangeState;
use holdfast_types::{Key, Moment, limits};
use parking_lot::RwLock;

use super::health::{Health, Pulse};
use super::load::ProcessLoad;
use super::pools::Mailboxes;
use super::shared::FaultSink;
use super::shared_map::SharedMap;
use super::sizes::{Sizes, ranges_from};
use crate::core::event::{Event, Measurements};
use crate::ports::{Clock, Note, PlacementLink};

/// How often free space and sizes are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// A disk whose sync stalled is kept free of new replicas and leaders for so long.
const DISTRUST_FOR: Duration = Duration::from_secs(30);

/// The maintenance thread.
pub struct Maintenance {
    /// The data instance.
    pub data: Arc<dyn DataEngine>,
    /// Where measurements go.
    pub workers: Mailboxes,
    /// Which ranges there are.
    pub map: Arc<SharedMap>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where a failed disk is reported.
    pub faults: FaultSink,
    /// How often the data instance is flushed at least.
    pub flush_every: Duration,
    /// Says when to stop.
    pub stop: Receiver<()>,
    /// Cores of this machine.
    pub cores: u32,
    /// Whose syncs stall.
    pub health: Arc<Health>,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
    /// Where the newest measurements are to be seen.
    pub measured: Arc<RwLock<Arc<Measurements>>>,
    /// Who hears of a full disk.
    pub placement: Arc<dyn PlacementLink>,
}

impl Maintenance {
    /// Runs until told to stop; flushes once more then.
    pub fn run(self) {
        let mut last_flush = self.clock.now();
        let mut last_truncation = Moment::ZERO;
        let mut load = ProcessLoad::new(last_flush);
        let mut sizes = Sizes::new();
        let mut stalled_at: Option<Moment> = None;
        while self.stop.recv_timeout(MEASURE_EVERY) == Err(RecvTimeoutError::Timeout) {
            let now = self.clock.now();
            self.pulse.beat(now);
            if self.health.disk_stalls(now) {
                stalled_at = Some(now);
            }
            self.measure(&mut load, &mut sizes, stalled_at.is_some_and(|at| now.since(at) < DISTRUST_FOR), now);
            if now.since(last_flush) >= self.flush_every {
                last_flush = now;
                if let Err(fault) = self.data.flush() {
                    self.faults.report(&fault);
                    return;
                }
            }
            if now.since(last_truncation) >= limits::LOG_TRUNCATE_EVERY {
                last_truncation = now;
                self.look_for_truncation_points();
            }
        }
        if let Err(fault) = self.data.flush() {
            tracing::warn!(%fault, "the last flush failed: the next start replays more of the log");
        }
    }

    fn measure(&self, load: &mut ProcessLoad, sizes: &mut Sizes, disk_stalls: bool, now: Moment) {
        self.data.keep_reserve();
        let Ok(space) = self.data.disk_space() else { return };
        let newly_measured = sizes.look(&self.map, |_, bounds| self.data.approximate_size(bounds).ok());
        let measured = Measurements {
            disk_free_bytes: space.free_bytes,
            disk_total_bytes: space.total_bytes,
            range_bytes: newly_measured,
            cores: self.cores,
            used_millicores: load.used_millicores(now),
            disk_stalls,
        };
        let all = Arc::new(Measurements { range_bytes: sizes.all(), ..measured.clone() });
        let before = std::mem::replace(&mut *self.measured.write(), all);
        match (before.is_disk_full(), measured.is_disk_full()) {
            (false, true) => self.placement.noted(Note::DiskFull),
            (true, false) => self.placement.noted(Note::DiskOk),
            _ => {}
        }
        self.workers.broadcast(None, &Event::Measured(measured));
    }

    fn look_for_truncation_points(&self) {
        let mut by_worker = vec![Vec::new(); self.workers.workers()];
        let mut from = Some(Key::MIN);
        while let Some(start) = from {
            let (ranges, next) = ranges_from(&self.map, start);
            from = next;
            for (range, _) in ranges {
                let persisted = self.data.range_state(range, ReadTier::Persisted).map_err(|fault| fault.to_string());
                let decode = |state| RangeState::decode(state).map_err(|bad| bad.to_string());
                match persisted.and_then(|state| state.map(decode).transpose()) {
                    Ok(Some(state)) => by_worker[self.map.worker_of(range)].push((range, state.applied)),
                    Ok(None) => {}
                    Err(why) => {
                        tracing::error!(%range, why, "its log is not cut: what the data has persisted cannot be read")
                    }
                }
            }
        }
        for (worker, indexes) in by_worker.into_iter().enumerate().filter(|(_, indexes)| !indexes.is_empty()) {
            self.workers.deliver(worker, Event::AppliedPersisted { indexes });
        }
    }
}
