//! The one task of a client: it owns the core, carries its actions out and tells it what happens.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_proto::convert::common::outcome;
use holdfast_proto::v1;
use holdfast_types::{
    LeaderHint, Located, Moment, RangeRequest, Rejected, Request, Response, StoreId, Timestamp, limits,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use super::fleet::{self, FleetPicture, Undescribed};
use super::link::LinkId;
use super::links::Links;
use super::why::Why;
use crate::ClientError;
use crate::core::{Action, AttemptId, CallId, ClientCore, Effort, Event, RetryPolicy};
use crate::observe::{AttemptRefused, AttemptSent, Observer};

/// What the handles ask of the driver.
pub(super) enum Command {
    /// A new call.
    Call { call: CallId, request: Request, deadline: Instant, retry: RetryPolicy, reply: oneshot::Sender<Ended> },
    /// The caller went away.
    Cancel { call: CallId },
}

/// How a call ended.
pub(super) struct Ended {
    pub(super) outcome: Result<Response, ClientError>,
    pub(super) effort: Effort,
}

impl Ended {
    /// Before the core heard of it, or after it was gone.
    pub(super) fn early(error: ClientError) -> Self {
        Self { outcome: Err(error), effort: Effort::default() }
    }
}

/// What links and look-ups tell the driver.
pub(super) enum Inbound {
    /// A stream is open, with this store at its other end.
    Up { link: LinkId, store: StoreId },
    /// A stream broke, or could not be opened: then it never `worked`, and the link has ended. These calls never left. `why`: unless the store ended it
    /// in order.
    Down { link: LinkId, store: StoreId, unsent: Vec<u64>, why: Option<Why>, worked: bool },
    /// A message came.
    Message { store: StoreId, message: v1::StreamResponse },
    /// An event, ready for the core, and the addresses in it.
    Event(Event),
    /// The fleet was described anew, or could not be.
    Fleet(Result<FleetPicture, Undescribed>),
}

/// Commands and messages taken at a time.
const TAKE: usize = 512;

/// The one task of a client.
pub(super) struct Driver {
    pub(super) core: ClientCore,
    /// Moments count from here.
    pub(super) start: Instant,
    pub(super) links: Links,
    pub(super) replies: BTreeMap<CallId, oneshot::Sender<Ended>>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    /// How far fleet time is ahead of our moments, for handles.
    pub(super) fleet_ahead_ms: Arc<AtomicU64>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// The fleet is being asked for.
    pub(super) is_asking: bool,
    /// It is to be asked for soon: no store is reached any more.
    pub(super) is_in_a_hurry: bool,
}

impl Driver {
    /// Runs until the last handle is gone.
    pub(super) async fn run(
        mut self,
        picture: FleetPicture,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut inbound: mpsc::Receiver<Inbound>,
    ) {
        let mut timer = Box::pin(tokio::time::sleep_until(self.start + limits::MAX_DEADLINE));
        let mut refresh = Box::pin(tokio::time::sleep(limits::CLIENT_DESCRIBE_EVERY));
        let (mut asked, mut heard) = (Vec::with_capacity(TAKE), Vec::with_capacity(TAKE));
        let mut events = Vec::with_capacity(TAKE);
        self.describe(Ok(picture), &mut events);
        loop {
            self.step(&mut events, timer.as_mut());
            if std::mem::take(&mut self.is_in_a_hurry) {
                let soon = Instant::now() + limits::CLIENT_RECONNECT_MAX;
                if soon < refresh.deadline() {
                    refresh.as_mut().reset(soon);
                }
            }
            tokio::select! {
                _ = inbound.recv_many(&mut heard, TAKE) => {
                    heard.drain(..).for_each(|heard| self.hear(heard, &mut events));
                }
                taken = commands.recv_many(&mut asked, TAKE) => {
                    if taken == 0 {
                        return;
                    }
                    asked.drain(..).for_each(|command| self.command(command, &mut events));
                }
                () = timer.as_mut() => {
                    timer.as_mut().reset(Instant::now() + limits::MAX_DEADLINE);
                    events.push(Event::Timer);
                }
                () = refresh.as_mut() => {
                    refresh.as_mut().reset(Instant::now() + limits::CLIENT_DESCRIBE_EVERY);
                    self.links.tick();
                    self.refresh();
                }
            }
        }
    }

    fn moment(&self, at: Instant) -> Moment {
        Moment::ZERO.after(at.saturating_duration_since(self.start))
    }

    /// Gives the core its events and carries its actions out; some lead to more events at once.
    fn step(&mut self, events: &mut Vec<Event>, mut timer: Pin<&mut Sleep>) {
        let now = self.moment(Instant::now());
        let mut actions = Vec::new();
        let mut flush = BTreeSet::new();
        while !events.is_empty() {
            events.drain(..).for_each(|event| self.core.handle(event, now, &mut actions));
            for action in actions.drain(..) {
                match action {
                    Action::Send { store, attempt, request, timeout } => {
                        flush.insert(store);
                        self.send(store, attempt, request, timeout, events);
                    }
                    Action::Abandon { store, attempt } => {
                        if let Some(link) = self.links.get(store) {
                            link.outbox.cancel(attempt.0);
                            flush.insert(store);
                        }
                    }
                    Action::Locate { locate, via, bounds, reverse } => match self.links.to(via) {
                        Ok(link) => {
                            let (channel, inbound) = (link.channel.clone(), self.inbound.clone());
                            tokio::spawn(async move {
                                let event = match fleet::locate(channel, bounds, reverse).await {
                                    Ok(place) => {
                                        if let Some(why) = place.hidden {
                                            let hidden = Event::Hidden { locate, why };
                                            let _ = inbound.send(Inbound::Event(hidden)).await;
                                        }
                                        Event::Located { locate, found: place.found, fleet_now: place.now }
                                    }
                                    Err(_) => Event::LocateFailed { locate },
                                };
                                let _ = inbound.send(Inbound::Event(event)).await;
                            });
                        }
                        Err(_) => events.push(Event::LocateFailed { locate }),
                    },
                    Action::Finish { call, outcome, effort } => {
                        if let Some(reply) = self.replies.remove(&call) {
                            let _ = reply.send(Ended { outcome, effort });
                        }
                    }
                    Action::SetTimer { at } => timer.as_mut().reset(self.start + Duration::from_micros(at.0)),
                }
            }
        }
        flush.iter().filter_map(|store| self.links.get(*store)).for_each(|link| link.outbox.flush());
        if let Some(fleet_now) = self.core.fleet_now(now) {
            self.fleet_ahead_ms.store(fleet_now.ms().saturating_sub(now.0 / 1_000), Ordering::Relaxed);
        }
    }

    fn command(&mut self, command: Command, events: &mut Vec<Event>) {
        match command {
            Command::Call { call, request, deadline, retry, reply } => {
                self.replies.insert(call, reply);
                events.push(Event::Call { call, request, deadline: self.moment(deadline), retry });
            }
            Command::Cancel { call } => {
                self.replies.remove(&call);
                events.push(Event::Cancel { call });
            }
        }
    }

    // ---- out

    fn send(
        &mut self,
        store: StoreId,
        attempt: AttemptId,
        request: RangeRequest,
        timeout: Duration,
        events: &mut Vec<Event>,
    ) {
        match self.links.to(store) {
            Ok(link) if link.takes_calls() => {
                let number = attempt.number();
                tracing::trace!(target: "holdfast_client", call = attempt.call().0, number, %store, "attempt");
                let size_bytes = request.request.size_bytes();
                let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
                let call = v1::StreamCall { call_id: attempt.0, timeout_ms, request: Some(request.into()) };
                link.outbox.push(call, size_bytes);
                if let Some(observer) = &self.observer {
                    observer.attempt_sent(&AttemptSent { store, number });
                }
            }
            _ => events.push(Event::Unsent { store, attempt }),
        }
    }

    /// Asks for the stores of the fleet, away from this task.
    fn refresh(&mut self) {
        // Nobody answers for a while where all addresses have to be tried.
        if std::mem::replace(&mut self.is_asking, true) {
            return;
        }
        let (addresses, dialer) = (self.links.to_ask(), self.links.dialer().clone());
        let inbound = self.inbound.clone();
        tokio::spawn(async move {
            let _ = inbound.send(Inbound::Fleet(fleet::describe_any(&addresses, &dialer).await)).await;
        });
    }

    // ---- in

    fn hear(&mut self, heard: Inbound, events: &mut Vec<Event>) {
        match heard {
            Inbound::Up { link, store } => {
                if self.links.up(link, store, events) {
                    self.observe(|observer| observer.connected(store));
                }
            }
            Inbound::Down { link, store, unsent: calls, why, worked } => {
                let queued = self.links.down(link, worked);
                if queued.is_some() {
                    self.observe(|observer| observer.disconnected(store));
                    events.extend(why.map(|why| Event::Why { store, why: why.to_string() }));
                }
                unsent(store, calls, events);
                if let Some(queued) = queued {
                    unsent(store, queued, events);
                    events.push(Event::StreamDown { store });
                    if !worked {
                        self.links.go_on(store, events);
                        self.is_in_a_hurry |= self.links.is_cut_off();
                    }
                }
            }
            Inbound::Message { store, message } => self.message(store, message, events),
            Inbound::Event(event) => {
                if let Event::Located { found, .. } = &event {
                    found.iter().for_each(|located| self.learn_address(located.leader.as_ref(), events));
                }
                events.push(event);
            }
            Inbound::Fleet(picture) => self.describe(picture, events),
        }
    }

    fn observe(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.observer {
            tell(&**observer);
        }
    }

    fn message(&mut self, store: StoreId, message: v1::StreamResponse, events: &mut Vec<Event>) {
        let fleet_now = Timestamp::bounded(message.now).unwrap_or_default();
        for notice in message.notices {
            match Located::try_from(notice) {
                Ok(located) => {
                    self.learn_address(located.leader.as_ref(), events);
                    events.push(Event::Notice(located));
                }
                Err(bad) => tracing::warn!(%store, %bad, "a notice was not understood"),
            }
        }
        if message.answers.is_empty() {
            events.push(Event::Heard { store, fleet_now });
        }
        for answer in message.answers {
            let attempt = AttemptId(answer.call_id);
            let outcome = answer.response.ok_or_else(|| "an empty answer".to_owned());
            let outcome = outcome.and_then(outcome_of);
            // What cannot be read may be a success: like an attempt that was lost.
            let outcome = outcome.unwrap_or_else(|bad| Err(Rejected::Ambiguous(bad)));
            if let Err(Rejected::NotLeader { leader, .. }) = &outcome {
                self.learn_address(leader.as_ref(), events);
            }
            if let Err(reason) = &outcome {
                let number = attempt.number();
                tracing::debug!(target: "holdfast_client", call = attempt.call().0, number, %store, %reason, "refused");
                self.observe(|observer| observer.attempt_refused(&AttemptRefused { store, number, reason }));
            }
            events.push(Event::Answer { store, attempt, outcome, fleet_now });
        }
    }

    fn learn_address(&mut self, hint: Option<&LeaderHint>, events: &mut Vec<Event>) {
        if let Some(LeaderHint { store, address: Some(address) }) = hint {
            self.links.advertised_one(*store, address, events);
        }
    }

    fn describe(&mut self, picture: Result<FleetPicture, Undescribed>, events: &mut Vec<Event>) {
        self.is_asking = false;
        match picture {
            Ok(picture) => {
                self.links.advertised(picture.addresses, (&picture.asked_at, picture.store), events);
                events.push(Event::FleetLearned { stores: picture.stores });
                events.push(Event::Heard { store: picture.store, fleet_now: picture.now });
                // The core marks only what it knows.
                self.links.fall_back(events);
            }
            Err(failed) => tracing::warn!(%failed, "no store described the fleet"),
        }
    }
}

fn outcome_of(response: v1::RangeResponse) -> Result<Result<Response, Rejected>, String> {
    outcome(response).map_err(|bad| bad.to_string())
}

/// These calls never left.
pub(super) fn unsent(store: StoreId, calls: Vec<u64>, events: &mut Vec<Event>) {
    events.extend(calls.into_iter().map(|call| Event::Unsent { store, attempt: AttemptId(call) }));
}
