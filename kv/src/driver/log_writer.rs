//! The log writer: one thread, one synced batch for everything that the workers asked for meanwhile.

use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use holdfast_engine::{LogEngine, LogOp};

use super::health::{IDLE_BEAT, Pulse};
use super::pools::Mailboxes;
use super::shared::FaultSink;
use crate::core::event::{BatchId, Event};
use crate::ports::Clock;

/// A batch on its way to the disk.
#[derive(Debug)]
pub struct LogBatch {
    /// Whose.
    pub worker: usize,
    /// Comes back.
    pub batch: BatchId,
    /// The operations.
    pub ops: Vec<LogOp>,
}

/// Batches that one fsync may carry.
const MAX_BATCHES_PER_SYNC: usize = 256;

/// Everything that the log writer's thread needs.
pub struct LogWriter {
    /// The log instance.
    pub log: Arc<dyn LogEngine>,
    /// What the workers ask for.
    pub batches: Receiver<LogBatch>,
    /// Where the news go.
    pub workers: Mailboxes,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where a failed disk is reported.
    pub faults: FaultSink,
}

impl LogWriter {
    /// Runs until the workers are gone or the disk fails. After a failed write nothing is tried again: no batch is ever
    /// reported as synced any more, and so nothing is acknowledged.
    pub fn run(self) {
        let mut ops = Vec::new();
        let mut done: Vec<(usize, BatchId)> = Vec::new();
        loop {
            match self.batches.recv_timeout(IDLE_BEAT) {
                Ok(first) => {
                    take(first, &mut ops, &mut done);
                    while done.len() < MAX_BATCHES_PER_SYNC
                        && let Ok(next) = self.batches.try_recv()
                    {
                        take(next, &mut ops, &mut done);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.pulse.beat(self.clock.now());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.pulse.fsync_begins(self.clock.now());
            if let Err(fault) = self.log.write_synced(&ops) {
                self.faults.report(&fault);
                return;
            }
            self.pulse.fsync_ends(self.clock.now());
            ops.clear();
            for (worker, batch) in newest_of_each(&mut done) {
                self.workers.deliver(worker, Event::Persisted { batch });
            }
        }
    }
}

fn take(batch: LogBatch, ops: &mut Vec<LogOp>, done: &mut Vec<(usize, BatchId)>) {
    ops.extend(batch.ops);
    done.push((batch.worker, batch.batch));
}

/// Batches of one worker complete in order, so its newest says it all.
fn newest_of_each(done: &mut Vec<(usize, BatchId)>) -> Vec<(usize, BatchId)> {
    let mut newest: Vec<(usize, BatchId)> = Vec::new();
    for (worker, batch) in done.drain(..) {
        match newest.iter_mut().find(|(known, _)| *known == worker) {
            Some(slot) => slot.1 = batch,
            None => newest.push((worker, batch)),
        }
    }
    newest
}
