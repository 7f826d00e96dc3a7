//! What everything in the world shares: time, the queue of what will happen, the network, the trace, the checkers.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_kv::AdminOutcome;
use holdfast_types::{Moment, Rejected, StoreId};

use crate::checkers::Checks;
use crate::client::ClientTask;
use crate::faults::Repair;
use crate::network::{Network, Parcel, Sent, Stream};
use crate::rng::Rng;
use crate::store::StoreTask;
use crate::trace::{Trace, hash_on};

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A message arrives, if its connection still stands.
    Arrive(Box<Sent>),
    /// Within a store's process; ignored when that process is gone.
    Store {
        /// Which store.
        store: StoreId,
        /// Which of its processes.
        life: u64,
        /// What.
        task: StoreTask,
    },
    /// Within a client.
    Client {
        /// Which.
        client: usize,
        /// What.
        task: ClientTask,
    },
    /// A fault begins.
    Fault,
    /// A fault ends.
    Repair(Repair),
}

/// What was counted in a run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Events of the world.
    pub steps: u64,
    /// Operations of clients that were answered.
    pub operations: u64,
    /// Operations whose outcome stayed open.
    pub ambiguous: u64,
    /// Faults that were made.
    pub faults: u64,
    /// Messages sent.
    pub messages: u64,
    /// Processes started.
    pub starts: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Ranges split.
    pub splits: u64,
    /// Changes of replicas applied.
    pub membership_changes: u64,
    /// Terms in which somebody led.
    pub leaderships: u64,
}

/// What everything in the world shares.
pub struct Hub {
    /// True time.
    pub now: Moment,
    /// Chance.
    pub rng: Rng,
    /// The links.
    pub network: Network,
    /// What happened.
    pub trace: Trace,
    /// What must hold.
    pub checks: Checks,
    /// What was counted.
    pub counts: Counts,
    /// Answers to administrative requests of the world itself.
    pub admin_answers: BTreeMap<u64, Result<AdminOutcome, Rejected>>,
    queue: BTreeMap<(Moment, u64), Happening>,
    sequence: u64,
}

impl Hub {
    /// The beginning of time.
    #[must_use]
    pub fn new(rng: Rng, network: Network) -> Self {
        Self {
            now: Moment::ZERO,
            rng,
            network,
            trace: Trace::default(),
            checks: Checks::default(),
            counts: Counts::default(),
            admin_answers: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// That will happen at `at`, or now if that is past.
    pub fn at(&mut self, at: Moment, what: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), what);
    }

    /// That will happen after a wait.
    pub fn after(&mut self, wait: Duration, what: Happening) {
        self.at(self.now.after(wait), what);
    }

    /// The next thing that happens, if it does so until `until`; time goes on to it, or to `until`.
    pub fn next(&mut self, until: Moment) -> Option<Happening> {
        let first = self.queue.first_key_value().map(|((at, _), _)| *at);
        if first.is_none_or(|at| at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let ((at, _), what) = self.queue.pop_first()?;
        self.now = at;
        self.counts.steps += 1;
        Some(what)
    }

    /// Sends a message.
    pub fn send(&mut self, stream: Stream, parcel: Parcel) {
        self.counts.messages += 1;
        match &parcel {
            Parcel::Message(_, bytes) | Parcel::Support(_, bytes) => self.trace.bytes(bytes),
            other => {
                let text = format!("{other:?}");
                self.trace.bytes(text.as_bytes());
            }
        }
        let (sent, arrivals) = self.network.send(stream, parcel, self.now);
        for at in arrivals {
            self.at(at, Happening::Arrive(Box::new(sent.clone())));
        }
    }

    /// A violation of an invariant; the run ends with it.
    pub fn violate(&mut self, what: String) {
        self.trace.line(self.now, || format!("VIOLATION {what}"));
        self.checks.violate(self.now, what);
    }

    /// Mixes something printable into the trace, and shows it to whoever reads along.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let line = what();
        let hash = hash_on(0, line.as_bytes());
        self.trace.mix(self.now, &[hash]);
        self.trace.line(self.now, || line);
    }
}
