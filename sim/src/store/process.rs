//! The process of a store: mailboxes and rounds of its workers, and where their effects go. It mirrors `holdfast_kv::driver`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_engine::memory::{MemoryData, MemoryLog};
use holdfast_engine::{DataEngine, Fault};
use holdfast_kv::core::effect::Effect;
use holdfast_kv::core::event::{Event, RequestTicket};
use holdfast_kv::core::message::{Route, StoreMessage};
use holdfast_kv::core::permit::Permitted;
use holdfast_kv::core::recovery::Recovered;
use holdfast_kv::core::rights::Asker;
use holdfast_kv::core::routing::{RangeMap, worker_of};
use holdfast_kv::core::support::Support;
use holdfast_kv::core::worker::Worker;
use holdfast_placement::StoreRecord;
use holdfast_replica::AdminRequest;
use holdfast_types::{Incarnation, Key, Moment, RangeId, RangeRequest, StoreId, limits};

use super::log_writer::LogWriter;
use super::maintenance::Maintenance;
use super::pools::Pools;
use super::sessions::{Sessions, Waiter};
use super::support::SupportLoop;
use super::{At, LocalEnv, StoreTask};
use crate::network::{Lane, Parcel, Place, Sent};

/// An administrative request of the world has this long.
const ADMIN_PATIENCE: Duration = Duration::from_secs(10);

/// One worker with its mailbox.
struct Mailbox {
    worker: Worker,
    events: Vec<Event>,
    /// The round that is due next; others in the queue are old.
    round_at: Moment,
    /// Rounds in a row that nothing but a timer asked for, and that left one in the past.
    vain: u32,
}

/// A worker may need a few rounds for what a timer brings; more than these are a timer that nobody ever turns off.
const MAX_VAIN_ROUNDS: u32 = 2_000;

/// The process of a store.
pub(super) struct Process {
    pub(super) incarnation: Incarnation,
    pub(super) log: Arc<MemoryLog>,
    pub(super) data: Arc<MemoryData>,
    pub(super) map: RangeMap,
    pub(super) writer: LogWriter,
    pub(super) pools: Pools,
    pub(super) support: SupportLoop,
    pub(super) sessions: Sessions,
    pub(super) maintenance: Maintenance,
    /// The stores of the fleet as placement told them last; empty: it has not yet.
    pub(super) told: Arc<Vec<StoreRecord>>,
    /// The disk failed: the process exits after this step.
    pub(super) fault: Option<Fault>,
    mailboxes: Vec<Mailbox>,
}

impl Process {
    pub(super) fn new(
        recovered: Recovered,
        log: Arc<MemoryLog>,
        data: Arc<MemoryData>,
        env: &LocalEnv,
        at: &At<'_>,
    ) -> Self {
        let incarnation = recovered.identity.incarnation;
        let support = SupportLoop::new(Support::new(recovered.support(), env.now));
        let (workers, map) = recovered.into_workers(&at.setup.workers, env);
        let mailbox = |worker| Mailbox { worker, events: Vec::new(), round_at: Moment::MAX, vain: 0 };
        Self {
            incarnation,
            log,
            data,
            map,
            writer: LogWriter::default(),
            pools: Pools::new(at.setup.appliers),
            support,
            sessions: Sessions::default(),
            maintenance: Maintenance::new(env.now),
            told: Arc::default(),
            fault: None,
            mailboxes: workers.into_iter().map(mailbox).collect(),
        }
    }

    /// The first tasks.
    pub(super) fn begin(&mut self, directory: &Arc<Vec<StoreRecord>>, at: &mut At<'_>) {
        self.tell_all(None, &Event::Directory(Arc::clone(directory)), at);
        let now = at.hub.now;
        at.task_at(now, StoreTask::Support);
        at.task_at(now, StoreTask::Maintain);
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.mailboxes.iter().map(|mailbox| &mailbox.worker)
    }

    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).expect("few workers")
    }

    /// A task is due.
    pub(super) fn task(&mut self, task: StoreTask, at: &mut At<'_>) {
        match task {
            StoreTask::Round(worker) => self.round(worker, at),
            StoreTask::Support => self.support_due(at),
            StoreTask::Synced => self.synced(at),
            StoreTask::Applied(lane) => self.apply_done(lane, at),
            StoreTask::Read(job) => self.read_done(*job, at),
            StoreTask::Plan(worker, task) => self.plan_made(worker, *task, at),
            StoreTask::Snapshot => self.snapshot_done(at),
            StoreTask::Maintain => self.maintain(at),
            StoreTask::Flushed(token) => self.flushed(token, at),
            StoreTask::SignOfLife { client, session } => self.sign_of_life(client, session, at),
        }
    }

    /// A message arrives.
    pub(super) fn arrive(&mut self, sent: Sent, at: &mut At<'_>) {
        let (from, _, lane) = sent.stream;
        if let Place::Store(from) = from {
            self.stream_lives(from, lane, at.now());
        }
        match (from, sent.parcel) {
            (Place::Store(_), Parcel::SignOfLife) => {}
            (Place::Store(from), Parcel::Message(incarnation, bytes)) => {
                let message = match StoreMessage::decode(&bytes) {
                    Ok(message) => message,
                    Err(bad) => return at.hub.violate(format!("{} cannot read a message of {from}: {bad}", at.me)),
                };
                at.hub.trace.line(at.hub.now, || format!("{from} -> {}: {}", at.me, crate::report::brief(&message)));
                self.deliver_message(from, incarnation, message, at);
            }
            (Place::Store(from), Parcel::Support(incarnation, bytes)) => {
                self.support_heard(from, incarnation, &bytes, at);
            }
            (Place::Client(client), parcel) => self.client_says(client, parcel, at),
            (Place::Store(from), other) => at.hub.violate(format!("{from} sent what only clients send: {other:?}")),
        }
    }

    fn deliver_message(&mut self, from: StoreId, incarnation: Incarnation, message: StoreMessage, at: &mut At<'_>) {
        let worker = match message.route() {
            Route::Range(range) => worker_of(range, self.count()),
            Route::Key(key) => self.worker_for(&key),
            Route::Worker(worker) => worker.min(self.count() - 1),
        };
        self.deliver(worker, Event::Message { from, incarnation, message }, at);
    }

    pub(super) fn worker_for(&self, key: &Key) -> u16 {
        self.map.worker_of_key(key, self.count())
    }

    /// Puts an event into a worker's mailbox; its round comes soon.
    pub(super) fn deliver(&mut self, worker: u16, event: Event, at: &mut At<'_>) {
        let mailbox = &mut self.mailboxes[usize::from(worker)];
        mailbox.events.push(event);
        let soon = at.hub.now.after(Duration::from_micros(at.hub.rng.between(2, 30)));
        if soon < mailbox.round_at {
            mailbox.round_at = soon;
            at.task_at(soon, StoreTask::Round(worker));
        }
    }

    /// The same event for every worker, or all but one.
    pub(super) fn tell_all(&mut self, except: Option<u16>, event: &Event, at: &mut At<'_>) {
        for worker in (0..self.count()).filter(|worker| Some(*worker) != except) {
            self.deliver(worker, event.clone(), at);
        }
    }

    /// An administrator asks.
    pub(super) fn admin(&mut self, id: u64, range: RangeId, request: AdminRequest, at: &mut At<'_>) {
        let ticket = self.sessions.wait(Waiter::World(id));
        let deadline = at.now().after(ADMIN_PATIENCE);
        self.deliver(worker_of(range, self.count()), Event::Admin { ticket, range, request, deadline }, at);
    }

    /// The world writes into the system range; nobody waits to hear how that ends.
    pub(super) fn write(&mut self, request: RangeRequest, at: &mut At<'_>) {
        let ticket = self.sessions.wait(Waiter::World(0));
        let deadline = at.now().after(ADMIN_PATIENCE);
        let request = Permitted::check(request, &Asker::fleet()).expect("the world writes records as stores do");
        self.deliver(worker_of(RangeId::SYSTEM, self.count()), Event::Request { ticket, request, deadline }, at);
    }

    /// A round of a worker. After a pause the one that was due is late, and due still.
    fn round(&mut self, index: u16, at: &mut At<'_>) {
        let now = at.hub.now;
        let mailbox = &mut self.mailboxes[usize::from(index)];
        if mailbox.round_at > now {
            return;
        }
        mailbox.round_at = Moment::MAX;
        let env = LocalEnv { now: at.now(), data: self.data.clone() };
        let rest = mailbox.events.split_off(mailbox.events.len().min(limits::ROUND_MAX_EVENTS));
        let mut events = std::mem::replace(&mut mailbox.events, rest);
        let only_timer = events.is_empty();
        if mailbox.worker.next_wake().is_some_and(|wake| wake <= env.now) {
            events.push(Event::Tick);
        }
        at.hub.trace.mix(now, &[at.me.0, u64::from(index), events.len() as u64]);
        let effects = mailbox.worker.handle(&mut events, &env);
        for effect in effects {
            self.carry_out(index, effect, at);
        }
        let mailbox = &mut self.mailboxes[usize::from(index)];
        let wake = mailbox.worker.next_wake().map_or(Moment::MAX, |wake| at.clock.global(wake));
        mailbox.vain = if only_timer && wake <= now { mailbox.vain + 1 } else { 0 };
        if mailbox.vain == MAX_VAIN_ROUNDS {
            let due =
                mailbox.worker.status(&env).iter().map(|(r, s)| format!("{r} {s}")).collect::<Vec<_>>().join("; ");
            at.hub.violate(format!("worker {index} of {} turns rounds without end: {due}", at.me));
        }
        let wake = if mailbox.events.is_empty() { wake.max(now.after(Duration::from_micros(20))) } else { now };
        if wake < mailbox.round_at {
            mailbox.round_at = wake;
            at.task_at(wake, StoreTask::Round(index));
        }
    }

    fn carry_out(&mut self, worker: u16, effect: Effect, at: &mut At<'_>) {
        match effect {
            Effect::Send { to, class, message, .. } if to == at.me => {
                // What a worker sends to its own store goes by the mailboxes; through the codec all the same.
                let _ = class;
                match message.encode().map(|bytes| StoreMessage::decode(&bytes)) {
                    Ok(Ok(message)) => self.deliver_message(at.me, self.incarnation, message, at),
                    Ok(Err(bad)) => at.hub.violate(format!("{} cannot read what it wrote: {bad}", at.me)),
                    Err(too_large) => at.hub.violate(format!("{}: {too_large}", at.me)),
                }
            }
            Effect::Send { to, class, message, .. } => match message.encode() {
                Ok(bytes) => {
                    at.send(Place::Store(to), Lane::from(class), Parcel::Message(self.incarnation, bytes));
                }
                Err(too_large) => at.hub.violate(format!("{}: {too_large}", at.me)),
            },
            Effect::WriteLog { batch, ops } => self.write_log(worker, batch, ops, at),
            Effect::Answer { ticket, outcome, fleet_now } => self.answer(ticket, outcome, fleet_now, at),
            Effect::AnswerAdmin { ticket, outcome } => {
                if let Some(Waiter::World(id)) = self.sessions.take(ticket) {
                    at.hub.note(|| format!("{} answers request {id} of the world: {outcome:?}", at.me));
                    at.hub.admin_answers.insert(id, outcome);
                }
            }
            Effect::SetGcThreshold { range, threshold } => self.data.set_gc_threshold(range, threshold),
            Effect::Standing(standing) => {
                at.hub.note(|| {
                    format!(
                        "{}: {:?} {} leader {:?} leads {}",
                        at.me, standing.descriptor, standing.term, standing.leader, standing.leads
                    )
                });
                at.hub.stands(at.me, &standing);
                self.map.standing(&standing);
                self.notify(standing.descriptor.range, at);
                self.tell_all(Some(worker), &Event::Standing(standing), at);
            }
            Effect::Gone { range } => self.map.gone(range),
            Effect::Learned(hints) => {
                self.tell_all(Some(worker), &Event::Learned(hints.clone()), at);
                for hint in hints {
                    self.map.learn(hint);
                }
            }
            Effect::Born { worker, newborn } => self.deliver(worker, Event::Born(newborn), at),
            Effect::Neighbours(stores) => self.support.set_neighbours(worker, stores),
            Effect::Members(stores) => self.support.set_members(stores),
            Effect::Directory(stores) => self.told = stores,
            Effect::Outdated(outdated) => {
                at.hub.alarm(at.me, None, &outdated.to_string());
                self.fault.get_or_insert_with(|| Fault::Identity(outdated.to_string()));
            }
            Effect::Fail(fault) => self.report(&fault),
            Effect::Alarm { range, what } => at.hub.alarm(at.me, range, &what),
            Effect::Quarantined { range, reason: Some(what) } => at.hub.alarm(at.me, Some(range), &what),
            Effect::Quarantined { reason: None, .. } | Effect::Cleared { .. } => {}
            Effect::Placement(_) | Effect::Sites(_) => {}
            work => self.hand_to_pool(worker, work, at),
        }
    }

    /// Something that stops the store.
    pub(super) fn report(&mut self, fault: &Fault) {
        if matches!(fault, Fault::Io { .. } | Fault::Full(_) | Fault::Exhausted { .. }) {
            self.fault.get_or_insert_with(|| fault.clone());
        }
    }

    /// Looks for the worker of a client's request.
    pub(super) fn worker_of_request(&self, request: &RangeRequest) -> u16 {
        match (&request.range, request.request.routing_key()) {
            (Some((range, _)), _) => worker_of(*range, self.count()),
            (None, Some(key)) => self.worker_for(key),
            (None, None) => 0,
        }
    }

    /// Lets go of a request that nobody waits for.
    pub(super) fn cancel(&mut self, worker: u16, ticket: RequestTicket, at: &mut At<'_>) {
        self.deliver(worker, Event::Cancel { ticket }, at);
    }

    /// What of the fleet's ranges is held here and where, for others.
    pub(super) fn own_ranges(&self) -> BTreeMap<RangeId, holdfast_types::KeyRange> {
        let own = self.map.iter().filter(|found| found.own);
        own.map(|found| (found.descriptor.range, found.descriptor.bounds.clone())).collect()
    }
}
