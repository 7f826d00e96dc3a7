//! The threads that wait for disks, so that workers never do: apply pool, read pool, snapshot thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use holdfast_engine::{DataEngine, DataOp, Engines, Fault, SnapshotId, SnapshotManifest};
use holdfast_replica::{ApplyTask, Evaluation, RangeState};
use holdfast_types::{KeyRange, LogIndex, RangeId, ReplicaId};

use super::health::{IDLE_BEAT, Pulse};
use super::shared::FaultSink;
use super::worker_thread::Mail;
use crate::core::effect::ReadTask;
use crate::core::event::{Event, ReadFailure, ReadTicket};
use crate::core::garbage::{self, GarbageSearch};
use crate::core::reader::SnapshotReader;
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
            let reader = SnapshotReader::lazy(&*self.data);
            let applied = match holdfast_replica::apply::run(*work.task, &reader) {
                Ok((ops, applied)) => self.data.write(&ops).map(|()| Box::new(applied)),
                Err(fault) => Err(Fault::Damage {
                    doing: format!("applying entries of {}", work.range),
                    detail: fault.to_string(),
                }),
            };
            if let Err(fault @ (Fault::Io { .. } | Fault::Full(_))) = &applied {
                self.faults.report(fault);
            }
            self.workers.deliver(work.worker, Event::Applied { range: work.range, applied });
            self.pulse.beat(self.clock.now());
        }
    }
}

/// Work of the read pool.
pub enum ReadWork {
    /// A client's read.
    Read(Box<ReadTask>),
    /// The evaluation of a write.
    Evaluate {
        /// The range.
        range: RangeId,
        /// The work.
        evaluation: Box<Evaluation>,
    },
    /// A key that cuts bounds into halves.
    FindMiddle {
        /// Comes back.
        ticket: ReadTicket,
        /// The bounds.
        bounds: KeyRange,
    },
    /// A page of the walk for garbage.
    FindGarbage(GarbageSearch),
    /// Log entries for a follower that lags.
    Fetch {
        /// The range.
        range: RangeId,
        /// For whom.
        to: ReplicaId,
        /// From here,
        first: LogIndex,
        /// to here,
        last: LogIndex,
        /// about this much.
        max_bytes: usize,
    },
}

/// One thread of the read pool.
pub struct ReaderThread {
    /// Both instances.
    pub engines: Engines,
    /// The work, and whose it is.
    pub work: Receiver<(usize, ReadWork)>,
    /// Where results go.
    pub workers: Mailboxes,
}

impl ReaderThread {
    /// Runs until the workers are gone.
    pub fn run(self) {
        while let Ok((worker, work)) = self.work.recv() {
            let event = match work {
                ReadWork::Read(task) => {
                    let reader = SnapshotReader::of(task.snapshot);
                    let outcome =
                        holdfast_replica::serve_read(&task.request.request, &task.bounds, &reader, task.at, task.now)
                            .map_err(|fault| {
                                let doing = format!("reading {}", task.range);
                                ReadFailure::Fault(Fault::Damage { doing, detail: fault.to_string() })
                            })
                            .and_then(|answer| answer.map_err(ReadFailure::Rejected));
                    Event::ReadDone { ticket: task.ticket, outcome }
                }
                ReadWork::Evaluate { range, evaluation } => {
                    let reader = SnapshotReader::of(self.engines.data.snapshot());
                    let evaluated = Box::new(holdfast_replica::evaluate::run(*evaluation, &reader));
                    Event::Evaluated { range, evaluated }
                }
                ReadWork::FindMiddle { ticket, bounds } => {
                    Event::MiddleFound { ticket, key: self.engines.data.middle_key(&bounds) }
                }
                ReadWork::FindGarbage(search) => {
                    let page = garbage::look(&*self.engines.data.snapshot(), &search);
                    Event::GarbageFound { search, page }
                }
                ReadWork::Fetch { range, to, first, last, max_bytes } => {
                    let entries = self.engines.log.entries(range, first, last, max_bytes);
                    Event::EntriesFetched { range, to, entries }
                }
            };
            self.workers.deliver(worker, event);
        }
    }
}

/// Work of the snapshot thread.
pub enum SnapshotWork {
    /// Build one.
    Build {
        /// The range.
        range: RangeId,
        /// For whom.
        to: ReplicaId,
        /// Its name.
        snapshot: SnapshotId,
    },
    /// Read a piece.
    Read {
        /// Which.
        snapshot: SnapshotId,
        /// The file.
        file: usize,
        /// Where in it.
        offset: u64,
        /// At most this much.
        max_bytes: usize,
    },
    /// Begin to receive.
    Begin(Box<SnapshotManifest>),
    /// Store a piece.
    Store {
        /// Which.
        snapshot: SnapshotId,
        /// The file.
        file: usize,
        /// Where in it.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// The last one of all: verify.
        last: bool,
    },
    /// Put in place.
    Install {
        /// The range.
        range: RangeId,
        /// Which.
        snapshot: SnapshotId,
    },
    /// Forget.
    Drop(SnapshotId),
    /// Delete the data of a destroyed replica.
    Clear {
        /// The range.
        range: RangeId,
        /// Its keys.
        bounds: Option<KeyRange>,
    },
}

/// The snapshot thread: what is slow and rare happens here, in order.
pub struct SnapshotThread {
    /// The data instance.
    pub data: Arc<dyn DataEngine>,
    /// The work, and whose it is.
    pub work: Receiver<(usize, SnapshotWork)>,
    /// Where results go.
    pub workers: Mailboxes,
    /// How much waits, for the status page.
    pub waiting: Arc<AtomicUsize>,
}

impl SnapshotThread {
    /// Runs until the workers are gone.
    pub fn run(self) {
        while let Ok((worker, work)) = self.work.recv() {
            self.waiting.store(self.work.len(), Ordering::Relaxed);
            if let Some(event) = self.carry_out(work) {
                self.workers.deliver(worker, event);
            }
        }
    }

    fn carry_out(&self, work: SnapshotWork) -> Option<Event> {
        Some(match work {
            SnapshotWork::Build { range, to, snapshot } => {
                Event::SnapshotBuilt { range, to, manifest: self.build(range, snapshot) }
            }
            SnapshotWork::Read { snapshot, file, offset, max_bytes } => {
                let data = self.data.read_snapshot(snapshot, file, offset, max_bytes);
                Event::SnapshotRead { snapshot, file, offset, data }
            }
            SnapshotWork::Begin(manifest) => {
                let snapshot = manifest.id;
                let received = self.data.begin_install(&manifest).and_then(|()| self.data.received(snapshot));
                Event::SnapshotStored { snapshot, received, verified: false }
            }
            SnapshotWork::Store { snapshot, file, offset, data, last } => {
                let stored =
                    self.data.receive(snapshot, file, offset, &data).and_then(|()| self.data.received(snapshot));
                let verified =
                    if last { stored.and_then(|r| self.data.verify_install(snapshot).map(|()| r)) } else { stored };
                Event::SnapshotStored { snapshot, verified: last && verified.is_ok(), received: verified }
            }
            SnapshotWork::Install { range, snapshot } => {
                Event::SnapshotInstalled { range, snapshot, range_state: self.install(range, snapshot) }
            }
            SnapshotWork::Drop(snapshot) => {
                if let Err(fault) = self.data.drop_snapshot(snapshot) {
                    tracing::warn!(?snapshot, %fault, "a snapshot's files could not be removed; they go at the next start");
                }
                return None;
            }
            SnapshotWork::Clear { range, bounds } => Event::Cleared { range, outcome: self.clear(range, bounds) },
        })
    }

    /// The bounds come from the view itself: a split may have been applied since the snapshot was asked for.
    fn build(&self, range: RangeId, snapshot: SnapshotId) -> Result<SnapshotManifest, Fault> {
        let view = self.data.snapshot();
        let doing = || format!("building a snapshot of {range}");
        let state = view
            .range_state(range)?
            .ok_or_else(|| Fault::Damage { doing: doing(), detail: "no range state".into() })?;
        let state =
            RangeState::decode(state).map_err(|bad| Fault::Damage { doing: doing(), detail: bad.to_string() })?;
        self.data.build_snapshot(&*view, snapshot, range, &state.descriptor.bounds)
    }

    fn install(&self, range: RangeId, snapshot: SnapshotId) -> Result<Bytes, Fault> {
        self.data.install(snapshot)?;
        let state = self.data.range_state(range, holdfast_engine::ReadTier::All)?;
        state.ok_or_else(|| Fault::Damage {
            doing: format!("installing a snapshot of {range}"),
            detail: "the snapshot holds no range state".into(),
        })
    }

    fn clear(&self, range: RangeId, bounds: Option<KeyRange>) -> Result<(), Fault> {
        let mut ops = vec![DataOp::RemoveRangeState { range }];
        ops.extend(bounds.map(|bounds| DataOp::ClearKeys { bounds }));
        self.data.write(&ops)?;
        self.data.flush()
    }
}
