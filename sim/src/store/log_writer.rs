//! The log writer: one sync at a time, which carries everything that the workers asked for meanwhile.

use std::collections::VecDeque;

use holdfast_engine::LogOp;
use holdfast_engine::memory::LogToken;
use holdfast_kv::core::event::{BatchId, Event};
use holdfast_types::Moment;

use super::process::Process;
use super::{At, StoreTask};

/// Batches that one sync may carry.
const MAX_BATCHES_PER_SYNC: usize = 256;

/// A sync that is out.
struct Writing {
    token: LogToken,
    ops: Vec<LogOp>,
    done: Vec<(u16, BatchId)>,
    since: Moment,
}

/// What waits for the disk.
#[derive(Default)]
pub(super) struct LogWriter {
    queue: VecDeque<(u16, BatchId, Vec<LogOp>)>,
    writing: Option<Writing>,
}

impl LogWriter {
    /// Since when a sync is out.
    pub(super) fn since(&self) -> Option<Moment> {
        self.writing.as_ref().map(|writing| writing.since)
    }
}

impl Process {
    pub(super) fn write_log(&mut self, worker: u16, batch: BatchId, ops: Vec<LogOp>, at: &mut At<'_>) {
        self.writer.queue.push_back((worker, batch, ops));
        self.begin_sync(at);
    }

    fn begin_sync(&mut self, at: &mut At<'_>) {
        if self.writer.writing.is_some() || self.writer.queue.is_empty() || self.fault.is_some() {
            return;
        }
        let count = self.writer.queue.len().min(MAX_BATCHES_PER_SYNC);
        let (mut ops, mut done) = (Vec::new(), Vec::with_capacity(count));
        for (worker, batch, more) in self.writer.queue.drain(..count) {
            ops.extend(more);
            done.push((worker, batch));
        }
        match self.log.write_unsynced(&ops) {
            Ok(token) => {
                self.writer.writing = Some(Writing { token, ops, done, since: at.now() });
                let ends = at.disk.sync_ends(at.hub.now);
                at.task_at(ends, StoreTask::Synced);
            }
            Err(fault) => {
                if matches!(fault, holdfast_engine::Fault::Damage { .. }) {
                    at.hub.violate(format!("{} writes a log that does not fit: {fault}", at.me));
                }
                self.report(&fault);
            }
        }
    }

    pub(super) fn synced(&mut self, at: &mut At<'_>) {
        if at.hub.now < at.disk.stalled_until {
            let until = at.disk.stalled_until;
            return at.task_at(until, StoreTask::Synced);
        }
        let Some(writing) = self.writer.writing.take() else { return };
        if let Err(fault) = self.log.sync(writing.token) {
            return self.report(&fault);
        }
        at.hub.trace.mix(at.hub.now, &[at.me.0, writing.token.counter().0]);
        at.hub.checks.durable.synced(at.me, &writing.ops);
        let mut newest: Vec<(u16, BatchId)> = Vec::new();
        for (worker, batch) in writing.done {
            match newest.iter_mut().find(|(known, _)| *known == worker) {
                Some(slot) => slot.1 = batch,
                None => newest.push((worker, batch)),
            }
        }
        for (worker, batch) in newest {
            self.deliver(worker, Event::Persisted { batch }, at);
        }
        self.begin_sync(at);
    }
}
