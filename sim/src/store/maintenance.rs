//! What is done now and then: flushes, the truncation point, free space, sizes.

use std::time::Duration;

use holdfast_engine::memory::FlushToken;
use holdfast_engine::{DataEngine, ReadTier};
use holdfast_kv::core::event::{Event, Measurements};
use holdfast_kv::core::routing::worker_of;
use holdfast_replica::RangeState;
use holdfast_types::{Moment, limits};

use super::process::Process;
use super::{At, StoreTask};

/// How often free space and sizes are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// When what was done last.
pub(super) struct Maintenance {
    last_flush: Moment,
    last_truncation: Moment,
}

impl Maintenance {
    pub(super) fn new(now: Moment) -> Self {
        Self { last_flush: now, last_truncation: now }
    }
}

impl Process {
    pub(super) fn maintain(&mut self, at: &mut At<'_>) {
        let now = at.now();
        self.measure(at);
        if now.since(self.maintenance.last_flush) >= at.setup.flush_every {
            self.maintenance.last_flush = now;
            match self.data.begin_flush() {
                Ok(token) => {
                    let ends = at.disk.sync_ends(at.hub.now);
                    at.task_at(ends, StoreTask::Flushed(token));
                }
                Err(fault) => self.report(&fault),
            }
        }
        if now.since(self.maintenance.last_truncation) >= limits::LOG_TRUNCATE_EVERY {
            self.maintenance.last_truncation = now;
            self.look_for_truncation_points(at);
        }
        let next = at.clock.global(now.after(MEASURE_EVERY));
        at.task_at(next, StoreTask::Maintain);
    }

    pub(super) fn flushed(&mut self, token: FlushToken, _at: &mut At<'_>) {
        if let Err(fault) = self.data.finish_flush(token) {
            self.report(&fault);
        }
    }

    fn measure(&mut self, at: &mut At<'_>) {
        let Ok(space) = self.data.disk_space() else { return };
        let ranges = self.own_ranges().into_iter();
        let range_bytes =
            ranges.filter_map(|(range, bounds)| Some((range, self.data.approximate_size(&bounds).ok()?))).collect();
        let measured = Measurements {
            disk_free_bytes: space.free_bytes,
            disk_total_bytes: space.total_bytes,
            range_bytes,
            cores: 2,
            used_millicores: 0,
            disk_stalls: false,
        };
        self.support.note_unwilling(measured.is_disk_full());
        self.tell_all(None, &Event::Measured(measured), at);
    }

    fn look_for_truncation_points(&mut self, at: &mut At<'_>) {
        let mut by_worker = vec![Vec::new(); usize::from(self.count())];
        for range in self.own_ranges().into_keys() {
            if let Ok(Some(state)) = self.data.range_state(range, ReadTier::Persisted)
                && let Ok(state) = RangeState::decode(state)
            {
                by_worker[usize::from(worker_of(range, self.count()))].push((range, state.applied));
            }
        }
        for (worker, indexes) in (0_u16..).zip(by_worker).filter(|(_, indexes)| !indexes.is_empty()) {
            self.deliver(worker, Event::AppliedPersisted { indexes }, at);
        }
    }
}
