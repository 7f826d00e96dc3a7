//! One worker's thread: drains its mailbox, turns a round of the core, carries the effects out. It never waits for a disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use holdfast_engine::{DataSnapshot, Engines, Fault};
use holdfast_replica::AdminRequest;
use holdfast_types::{Incarnation, Moment, RangeId, Rejected, StoreId, limits};

use super::health::{IDLE_BEAT, Pulse};
use super::log_writer::LogBatch;
use super::pools::{ApplyWork, Mailboxes};
use super::shared::{FaultSink, Oversized};
use super::shared_map::SharedMap;
use super::support_thread::Company;
use crate::core::carry::Pool;
use crate::core::effect::Effect;
use crate::core::event::{Event, RequestTicket};
use crate::core::message::{Route, StoreMessage, TooLarge};
use crate::core::permit::Permitted;
use crate::core::placement_loop::PlanTask;
use crate::core::worker::{Env, Worker};
use crate::ports::{AdminReply, Clock, Note, PlacementLink, RaftSender, Reply};

/// What lies in a worker's mailbox.
pub enum Mail {
    /// An event of the core.
    Event(Event),
    /// A client's request with the one who waits for it.
    Request {
        /// To answer by.
        ticket: RequestTicket,
        /// What is asked.
        request: Permitted,
        /// When nobody waits for it any more.
        deadline: Moment,
        /// Who waits.
        reply: Box<dyn Reply>,
    },
    /// An administrative request with the one who waits for it.
    Admin {
        /// To answer by.
        ticket: RequestTicket,
        /// Which range.
        range: RangeId,
        /// What.
        request: AdminRequest,
        /// When nobody waits for it any more.
        deadline: Moment,
        /// Who waits.
        reply: Box<dyn AdminReply>,
    },
    /// The store is gone: end the thread.
    Stop,
}

/// Where a worker's effects go.
pub struct Outlets {
    /// To other stores.
    pub sender: Arc<dyn RaftSender>,
    /// To the server.
    pub placement: Arc<dyn PlacementLink>,
    /// To the log writer.
    pub log: Sender<LogBatch>,
    /// To the apply pool, by thread.
    pub appliers: Vec<Sender<ApplyWork>>,
    /// To the read pool.
    pub readers: Sender<(usize, Effect)>,
    /// To the snapshot thread.
    pub snapshots: Sender<(usize, Effect)>,
    /// To the thread that plans.
    pub planner: Sender<(usize, Box<PlanTask>)>,
    /// To the support thread.
    pub company: Sender<Company>,
    /// To the other workers.
    pub workers: Mailboxes,
    /// The range map that request handlers look into.
    pub map: Arc<SharedMap>,
    /// Both instances, for what needs no disk.
    pub engines: Engines,
    /// Who ends the process.
    pub faults: FaultSink,
    /// Counts what was too large to be sent.
    pub oversized: Arc<Oversized>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Everything that one worker's thread needs.
pub struct WorkerThread {
    /// Its number.
    pub index: usize,
    /// The core.
    pub worker: Worker,
    /// Its mailbox.
    pub mailbox: Receiver<Mail>,
    /// Where effects go.
    pub outlets: Outlets,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Its pulse.
    pub pulse: Arc<Pulse>,
    /// Who waits for an answer. Only this thread touches it, so that an answer costs no lock.
    pub waiting: Waiting,
}

/// Who waits for an answer, by ticket.
#[derive(Default)]
pub struct Waiting {
    clients: HashMap<RequestTicket, Box<dyn Reply>>,
    admins: HashMap<RequestTicket, Box<dyn AdminReply>>,
}

/// What of a real store is no IO: its clocks and views of its data.
pub struct StoreEnv<'a> {
    /// The clocks.
    pub clock: &'a dyn Clock,
    /// Both instances.
    pub engines: &'a Engines,
}

impl Env for StoreEnv<'_> {
    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn snapshot(&self) -> Arc<dyn DataSnapshot> {
        self.engines.data.snapshot()
    }
}

impl WorkerThread {
    /// Runs until the store is gone.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(limits::ROUND_MAX_EVENTS);
        loop {
            match self.mailbox.recv_timeout(self.patience()) {
                Ok(Mail::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(mail) => events.push(self.open(mail)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let mut stopping = false;
            while events.len() < limits::ROUND_MAX_EVENTS
                && let Ok(mail) = self.mailbox.try_recv()
            {
                if matches!(mail, Mail::Stop) {
                    stopping = true;
                    break;
                }
                let event = self.open(mail);
                events.push(event);
            }
            self.round(&mut events);
            if stopping {
                break;
            }
        }
        self.refuse_everyone();
    }

    fn patience(&self) -> Duration {
        let now = self.clock.now();
        self.worker.next_wake().map_or(IDLE_BEAT, |wake| wake.since(now).min(IDLE_BEAT))
    }

    fn open(&mut self, mail: Mail) -> Event {
        match mail {
            Mail::Event(event) => event,
            Mail::Request { ticket, request, deadline, reply } => {
                self.waiting.clients.insert(ticket, reply);
                Event::Request { ticket, request, deadline }
            }
            Mail::Admin { ticket, range, request, deadline, reply } => {
                self.waiting.admins.insert(ticket, reply);
                Event::Admin { ticket, range, request, deadline }
            }
            Mail::Stop => Event::Retire,
        }
    }

    fn round(&mut self, events: &mut Vec<Event>) {
        let now = self.clock.now();
        if self.worker.next_wake().is_some_and(|wake| wake <= now) {
            events.push(Event::Tick);
        }
        if !events.is_empty() {
            for event in events.iter() {
                if let Event::Cancel { ticket } = event {
                    self.waiting.clients.remove(ticket);
                }
            }
            let env = StoreEnv { clock: &*self.clock, engines: &self.outlets.engines };
            let effects = self.worker.handle(events, &env);
            events.clear();
            let (me, incarnation) = self.worker.identity();
            for effect in effects {
                match effect {
                    Effect::Send { to, message, .. } if to == me => self.outlets.loop_back(me, incarnation, message),
                    effect => self.outlets.carry_out(self.index, effect, &mut self.waiting),
                }
            }
        }
        self.pulse.beat(self.clock.now());
    }

    /// The store stops: whoever still waits is told that the outcome is open.
    fn refuse_everyone(&mut self) {
        for (_, reply) in self.waiting.clients.drain() {
            reply.answer(Err(Rejected::Ambiguous("the store stopped".into())), holdfast_types::Timestamp::ZERO);
        }
        for (_, reply) in self.waiting.admins.drain() {
            reply.answer(Err(Rejected::Ambiguous("the store stopped".into())));
        }
    }
}

impl Outlets {
    /// Sends an effect on its way. A channel whose receiver is gone means that the store stops; its work is not needed.
    fn carry_out(&self, worker: usize, effect: Effect, waiting: &mut Waiting) {
        match effect {
            Effect::Send { to, class, cause, message } => match message.encode() {
                Ok(payload) => self.sender.send(to, class, cause, payload),
                Err(too_large) => self.tell_too_large(to, too_large),
            },
            Effect::WriteLog { batch, ops } => drop(self.log.send(LogBatch { worker, batch, ops })),
            Effect::Apply { range, task } => {
                let thread = usize::try_from(range.0 % self.appliers.len() as u64).expect("a remainder fits");
                drop(self.appliers[thread].send(ApplyWork { worker, range, task }));
            }
            Effect::Answer { ticket, outcome, fleet_now } => {
                if let Some(reply) = waiting.clients.remove(&ticket) {
                    reply.answer(outcome, fleet_now);
                }
            }
            Effect::AnswerAdmin { ticket, outcome } => {
                if let Some(reply) = waiting.admins.remove(&ticket) {
                    reply.answer(outcome);
                }
            }
            Effect::SetGcThreshold { range, threshold } => self.engines.data.set_gc_threshold(range, threshold),
            Effect::Standing(standing) => {
                self.map.standing(&standing);
                self.placement.standing(&standing);
                self.workers.broadcast(Some(worker), &Event::Standing(standing));
            }
            Effect::Gone { range } => self.map.gone(range),
            Effect::Neighbours(stores) => drop(self.company.send(Company::Neighbours(worker, stores))),
            Effect::Members(stores) => drop(self.company.send(Company::Members(stores))),
            Effect::Directory(stores) => {
                self.placement.directory(&stores);
                self.workers.broadcast(Some(worker), &Event::Directory(stores));
            }
            Effect::Sites(sites) => self.placement.sites(&sites),
            Effect::Outdated(outdated) => self.faults.report(&Fault::Identity(outdated.to_string())),
            Effect::Fail(fault) => self.faults.report(&fault),
            Effect::Alarm { range, what } => {
                tracing::error!(range = range.map(|range| range.to_string()).unwrap_or_default(), "{what}");
                self.placement.noted(Note::Alarm(range, what));
            }
            Effect::Quarantined { range, reason } => {
                if let Some(reason) = &reason {
                    tracing::error!(%range, "quarantined: {reason}");
                }
                self.placement.noted(Note::Quarantined(range, reason));
            }
            Effect::Cleared { range } => self.placement.noted(Note::Cleared(range)),
            Effect::Plan(task) => drop(self.planner.send((worker, task))),
            Effect::Placement(news) => self.placement.noted(Note::Placement(news)),
            Effect::Born { worker, newborn } => self.workers.deliver(worker.into(), Event::Born(newborn)),
            Effect::Learned(hints) => {
                self.placement.learned(&hints);
                self.workers.broadcast(Some(worker), &Event::Learned(hints.clone()));
                self.map.learned(hints);
            }
            work => match Pool::of(&work) {
                Some(Pool::Read) => drop(self.readers.send((worker, work))),
                Some(Pool::Snapshot) => drop(self.snapshots.send((worker, work))),
                Some(Pool::Apply | Pool::Plan) | None => unreachable!("it has an arm of its own"),
            },
        }
    }

    /// Each is counted; of each kind one a minute is told, since whoever made it makes it again.
    fn tell_too_large(&self, to: StoreId, too_large: TooLarge) {
        if self.oversized.count(too_large.what, self.clock.now()) {
            let what = format!("to {to}: {too_large}");
            tracing::error!("{what}");
            self.placement.noted(Note::Alarm(None, what));
        }
    }

    /// What a worker sends to its own store is for another of its workers.
    fn loop_back(&self, me: StoreId, incarnation: Incarnation, message: StoreMessage) {
        let worker = match message.route() {
            Route::Range(range) => self.map.worker_of(range),
            Route::Key(key) => self.map.worker_for(&key),
            Route::Worker(worker) => usize::from(worker).min(self.workers.workers() - 1),
        };
        self.workers.deliver(worker, Event::Message { from: me, incarnation, message });
    }
}
