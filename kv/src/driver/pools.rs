//! The threads that wait for disks, so that workers never do: apply pool, read pool, snapshot thread. And the one that plans.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use holdfast_engine::{DataEngine, Engines, Fault};
use holdfast_replica::ApplyTask;
use holdfast_types::RangeId;

use super::health::{IDLE_BEAT, Pulse, SLOW_BEAT};
use super::shared::FaultSink;
use super::worker_thread::Mail;
use crate::core::carry;
use crate::core::effect::Effect;
use crate::core::event::Event;
use crate::core::placement_loop::PlanTask;
use crate::ports::Clock;

/// The mailboxes of all workers.
#[derive(Clone)]
pub struct Mailboxes {
    senders: Arc<[Sender<Mail>]>,
}

/// Mails that wait in one worker's mailbox before what comes from outside is refused. Results of work that the worker
/// itself asked for are always taken: there is only as much of it as was admitted.
const MAILBOX_MAX: usize = 65_536;

impl Mailboxes {
    /// The mailboxes, by worker.
    pub fn new(senders: Vec<Sender<Mail>>) -> Self {
        Self { senders: senders.into() }
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.senders.len()
    }

    /// The result of work that a worker asked for. A worker that is gone (the store stops) needs none.
    pub fn deliver(&self, worker: usize, event: Event) {
        let _ = self.senders[worker].send(Mail::Event(event));
    }

    /// The same event for every worker, or all but one.
    pub fn broadcast(&self, except: Option<usize>, event: &Event) {
        for worker in (0..self.senders.len()).filter(|worker| Some(*worker) != except) {
            self.deliver(worker, event.clone());
        }
    }

    /// Every worker is to stop, however much waits in its mailbox.
    pub fn stop(&self) {
        for sender in self.senders.iter() {
            // One that is gone has stopped.
            let _ = sender.send(Mail::Stop);
        }
    }

    /// Something from outside; given back when the mailbox is full or the store stops.
    #[expect(clippy::result_large_err, reason = "what was refused goes back to its caller, which answers it")]
    pub fn offer(&self, worker: usize, mail: Mail) -> Result<(), Mail> {
        if self.senders[worker].len() >= MAILBOX_MAX {
            return Err(mail);
        }
        self.senders[worker].send(mail).map_err(|refused| refused.0)
    }

    /// Mails that wait, over all workers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.senders.iter().map(Sender::len).sum()
    }
}

/// An apply task on its way.
pub struct ApplyWork {
    /// Whose.
    pub worker: usize,
    /// The range.
    pub range: RangeId,
    /// The work.
    pub task: Box<ApplyTask>,
}

/// One thread of the apply pool; a range belongs to one of them, so its tasks stay in order.
pub struct Applier {
    /// The data instance.
    pub data: Arc<dyn DataEngine>,
    /// The work.
    pub work: Receiver<ApplyWork>,
    /// Where results go.
    pub workers: Mailboxes,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where a failed disk is reported.
    pub faults: FaultSink,
}

impl Applier {
    /// Runs until the workers are gone.
    pub fn run(self) {
        loop {
            let work = match self.work.recv_timeout(IDLE_BEAT) {
                Ok(work) => work,
                Err(RecvTimeoutError::Timeout) => {
                    self.pulse.beat(self.clock.now());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let applied = carry::apply(work.range, *work.task, &*self.data);
            // Damage is the replica's own affair. Else the batch is neither written nor refused: only a new start knows what is there.
            if let Err(fault) = &applied
                && !matches!(fault, Fault::Damage { .. })
            {
                self.faults.report(fault);
            }
            self.workers.deliver(work.worker, Event::Applied { range: work.range, applied });
            self.pulse.beat(self.clock.now());
        }
    }
}

/// One thread of the read pool.
pub struct ReaderThread {
    /// Both instances.
    pub engines: Engines,
    /// The work, and whose it is.
    pub work: Receiver<(usize, Effect)>,
    /// Where results go.
    pub workers: Mailboxes,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl ReaderThread {
    /// Runs until the workers are gone.
    pub fn run(self) {
        loop {
            match self.work.recv_timeout(SLOW_BEAT) {
                Ok((worker, work)) => self.workers.deliver(worker, carry::read(work, &self.engines)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.pulse.beat(self.clock.now());
        }
    }
}

/// The snapshot thread: what is slow and rare happens here, in order.
pub struct SnapshotThread {
    /// The data instance.
    pub data: Arc<dyn DataEngine>,
    /// The work, and whose it is.
    pub work: Receiver<(usize, Effect)>,
    /// Where results go.
    pub workers: Mailboxes,
    /// How much waits, for the status page.
    pub waiting: Arc<AtomicUsize>,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl SnapshotThread {
    /// Runs until the workers are gone.
    pub fn run(self) {
        loop {
            match self.work.recv_timeout(SLOW_BEAT) {
                Ok((worker, work)) => {
                    self.waiting.store(self.work.len(), Ordering::Relaxed);
                    if let Some(event) = carry::snapshot(work, &*self.data) {
                        self.workers.deliver(worker, event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.pulse.beat(self.clock.now());
        }
    }
}

/// The thread that makes plans. They look at every range of the fleet, and nobody waits for them.
pub struct PlannerThread {
    /// The work, and whose it is.
    pub work: Receiver<(usize, Box<PlanTask>)>,
    /// Where results go.
    pub workers: Mailboxes,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl PlannerThread {
    /// Runs until the workers are gone.
    pub fn run(self) {
        loop {
            match self.work.recv_timeout(SLOW_BEAT) {
                Ok((worker, task)) => self.workers.deliver(worker, carry::plan(*task)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.pulse.beat(self.clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_whose_mailbox_is_full_is_told_to_stop_nevertheless() {
        let (sender, mailbox) = crossbeam_channel::unbounded();
        let mailboxes = Mailboxes::new(vec![sender]);
        while mailboxes.offer(0, Mail::Event(Event::Retire)).is_ok() {}
        mailboxes.stop();
        drop(mailboxes);
        assert!(matches!(mailbox.iter().last(), Some(Mail::Stop)));
    }
}
