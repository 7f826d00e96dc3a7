//! The support table: which stores this one believes alive, and which believe it alive. One thread owns it.
//!
//! ```text
//! asker A ── question { asked_at, echo of B's newest answer } ──▶ B: promises until (receipt + interval), if the echo is fresh
//!         ◀── answer { asked_at, answered_at, generation } ──────    A counts on it until asked_at + interval - margin
//! ```
//!
//! Both clock readings come back to the store that made them and are never compared with another store's. The sender's count
//! therefore ends before the promise does, and a cut in either direction ends both: B gives no promise to an asker that shows
//! no fresh sign of having heard B.
//!
//! Invariants:
//! - a generation that was withdrawn is never promised again
//! - a generation belongs to one incarnation of the asker; a new incarnation waits until the old one's promise has run out
//! - nothing is withdrawn before its time, nor within one heartbeat after this loop ran late

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_replica::{Promise, Support as Received, SupportView};
use holdfast_types::{Generation, Incarnation, Moment, StoreId, limits};
use prost::Message as _;

const VERSION: u32 = 1;

/// How a support table behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SupportConfig {
    /// This store.
    pub store: StoreId,
    /// This start of it.
    pub incarnation: Incarnation,
    /// How often neighbours are asked.
    pub heartbeat: Duration,
    /// How long an answer promises.
    pub interval: Duration,
    /// Of the interval, given away against clocks of different rates.
    pub margin_percent: u32,
}

impl SupportConfig {
    /// The defaults of REPLICATION.md section 1.
    #[must_use]
    pub fn new(store: StoreId, incarnation: Incarnation) -> Self {
        Self {
            store,
            incarnation,
            heartbeat: limits::SUPPORT_HEARTBEAT,
            interval: limits::SUPPORT_INTERVAL,
            margin_percent: limits::SUPPORT_MARGIN_PERCENT,
        }
    }
}

/// A change of the table, for all workers: `Event::Support`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SupportChange {
    /// How it looks now.
    pub view: Arc<SupportView>,
    /// Promises withdrawn since the last change, in order.
    pub withdrawn: Vec<(StoreId, Generation)>,
    /// This store neither votes nor stands for now.
    pub abstains: bool,
}

/// What a step of the table asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Output {
    /// Messages to send, best effort.
    pub send: Vec<(StoreId, Bytes)>,
    /// The table as it is now, when it changed.
    pub changed: Option<SupportChange>,
}

/// What this store knows of another one.
#[derive(Clone, Copy, Debug, Default)]
struct Other {
    /// The highest incarnation seen; lower ones are ghosts.
    incarnation: Incarnation,
    /// The newest generation ever promised to it.
    newest: Generation,
    /// The promise that stands, and when it runs out.
    given: Option<(Promise, Moment)>,
    /// Its clock in its newest answer, to echo; and the incarnation that said it.
    echo: Option<(Incarnation, u64)>,
    /// What it promised us.
    received: Option<Received>,
}

/// The support table of one store.
pub struct Support {
    config: SupportConfig,
    started: Moment,
    neighbours: BTreeSet<StoreId>,
    others: BTreeMap<StoreId, Other>,
    /// When neighbours are asked next.
    ask_at: Moment,
    /// The loop promised to be back by then.
    expected: Moment,
    /// Nothing is withdrawn before.
    hold_until: Moment,
    withdrawn: Vec<(StoreId, Generation)>,
    /// The view that the workers have.
    published: Option<(Arc<SupportView>, bool)>,
}

impl Support {
    /// A table that promises nothing for one interval: whoever supported a leader before this start may still be bound.
    #[must_use]
    pub fn new(config: SupportConfig, now: Moment) -> Self {
        Self {
            config,
            started: now,
            neighbours: BTreeSet::new(),
            others: BTreeMap::new(),
            ask_at: now,
            expected: now,
            hold_until: Moment::ZERO,
            withdrawn: Vec::new(),
            published: None,
        }
    }

    /// The stores to ask from now on: those that share a range with this one.
    pub fn set_neighbours(&mut self, neighbours: BTreeSet<StoreId>) {
        self.neighbours = neighbours;
        self.neighbours.remove(&self.config.store);
    }

    /// A message came in; `incarnation` is the one of the connection's handshake. Sends answers; changes come out of the next
    /// [`Support::tick`].
    pub fn receive(&mut self, from: StoreId, incarnation: Incarnation, bytes: &Bytes, now: Moment) -> Output {
        let mut output = Output::default();
        let Ok(message) = v1::SupportMessage::decode(bytes.clone()) else { return output };
        if message.version != VERSION || message.incarnation != incarnation.0 || from == self.config.store {
            return output;
        }
        let other = self.others.entry(from).or_default();
        if incarnation < other.incarnation {
            return output;
        }
        other.incarnation = incarnation;
        if let Some(answer) = message.answer {
            self.take_answer(from, incarnation, answer);
        }
        if let Some(question) = message.question {
            let answer = self.answer_to(from, incarnation, question, now);
            output.send.push((from, self.encode(None, Some(answer))));
        }
        output
    }

    /// Time has come: withdraws what ran out, asks neighbours, and says what changed. Call it after everything that waits in the
    /// socket was received, and no later than [`Support::next_wake`].
    ///
    /// `healthy`: every worker, the log writer and the apply pool finished a round within [`limits::WORKER_ROUND_LATE`], and no
    /// fsync has been outstanding for [`limits::FSYNC_STALLED`]. Otherwise the store asks for no promise and so loses its leaders.
    pub fn tick(&mut self, now: Moment, healthy: bool) -> Output {
        if now.since(self.expected) > limits::SUPPORT_LOOP_LATE {
            // Answers and questions may still be on their way through the machine that stopped us.
            self.hold_until = now.after(self.config.heartbeat);
        }
        let mut output = Output::default();
        if now >= self.hold_until {
            self.withdraw(now);
        }
        for other in self.others.values_mut() {
            if other.received.is_some_and(|r| r.until <= now) {
                other.received = None;
            }
        }
        if now >= self.ask_at {
            self.ask_at = now.after(self.config.heartbeat);
            for store in self.neighbours.clone() {
                let question = self.question_to(store, now, healthy);
                output.send.push((store, self.encode(Some(question), None)));
            }
        }
        output.changed = self.change(now);
        self.expected = self.next_wake();
        output
    }

    /// When [`Support::tick`] must be called at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Moment {
        let expiries = self.others.values().filter_map(|o| o.given).map(|(_, until)| until.max(self.hold_until));
        let counted = self.others.values().filter_map(|o| o.received).map(|r| r.until);
        expiries.chain(counted).fold(self.ask_at, Moment::min)
    }

    /// True while this store has just started.
    #[must_use]
    pub fn abstains(&self, now: Moment) -> bool {
        now.since(self.started) < self.config.interval
    }

    fn withdraw(&mut self, now: Moment) {
        for (store, other) in &mut self.others {
            if let Some((promise, until)) = other.given
                && until <= now
            {
                other.given = None;
                self.withdrawn.push((*store, promise.generation));
            }
        }
    }

    fn take_answer(&mut self, from: StoreId, incarnation: Incarnation, answer: v1::SupportAnswer) {
        if answer.asker_incarnation != self.config.incarnation.0 {
            return;
        }
        let other = self.others.entry(from).or_default();
        let newest = other.echo.filter(|(of, _)| *of == incarnation).map_or(0, |(_, at)| at);
        other.echo = Some((incarnation, newest.max(answer.answered_at)));
        if answer.generation == 0 {
            return;
        }
        let margin = self.config.interval * self.config.margin_percent / 100;
        let until = Moment(answer.asked_at).after(self.config.interval.saturating_sub(margin));
        let heard = Received { incarnation, generation: Generation(answer.generation), until };
        let newer = other.received.is_none_or(|known| {
            (heard.incarnation, heard.generation, heard.until) > (known.incarnation, known.generation, known.until)
        });
        if newer {
            other.received = Some(heard);
        }
    }

    fn answer_to(
        &mut self,
        from: StoreId,
        incarnation: Incarnation,
        question: v1::SupportQuestion,
        now: Moment,
    ) -> v1::SupportAnswer {
        let hears_us = question.echo_incarnation == self.config.incarnation.0
            && question.echo_answered_at <= now.0
            && now.since(Moment(question.echo_answered_at)) <= self.config.interval;
        let promises = question.wants_promise && hears_us && !self.abstains(now);
        let generation = if promises { self.promise(from, incarnation, now) } else { None };
        v1::SupportAnswer {
            asker_incarnation: incarnation.0,
            asked_at: question.asked_at,
            answered_at: now.0,
            generation: generation.map_or(0, |g| g.0),
        }
    }

    fn promise(&mut self, to: StoreId, incarnation: Incarnation, now: Moment) -> Option<Generation> {
        let until = now.after(self.config.interval);
        let other = self.others.entry(to).or_default();
        match &mut other.given {
            Some((promise, _)) if promise.incarnation != incarnation => None,
            Some((promise, expiry)) => {
                *expiry = until;
                Some(promise.generation)
            }
            None => {
                other.newest = other.newest.next();
                other.given = Some((Promise { incarnation, generation: other.newest }, until));
                Some(other.newest)
            }
        }
    }

    fn question_to(&self, store: StoreId, now: Moment, healthy: bool) -> v1::SupportQuestion {
        let echo = self.others.get(&store).and_then(|o| o.echo);
        v1::SupportQuestion {
            asked_at: now.0,
            wants_promise: healthy,
            echo_incarnation: echo.map_or(0, |(incarnation, _)| incarnation.0),
            echo_answered_at: echo.map_or(0, |(_, at)| at),
        }
    }

    fn encode(&self, question: Option<v1::SupportQuestion>, answer: Option<v1::SupportAnswer>) -> Bytes {
        let incarnation = self.config.incarnation.0;
        v1::SupportMessage { version: VERSION, incarnation, question, answer }.encode_to_vec().into()
    }

    fn change(&mut self, now: Moment) -> Option<SupportChange> {
        let given = self.others.iter().filter_map(|(s, o)| o.given.map(|(promise, _)| (*s, promise))).collect();
        let received = self.others.iter().filter_map(|(s, o)| o.received.map(|r| (*s, r))).collect();
        let view = SupportView { incarnation: self.config.incarnation, given, received };
        let abstains = self.abstains(now);
        let same = self.published.as_ref().is_some_and(|(old, was)| **old == view && *was == abstains);
        if same && self.withdrawn.is_empty() {
            return None;
        }
        let view = Arc::new(view);
        self.published = Some((Arc::clone(&view), abstains));
        Some(SupportChange { view, withdrawn: std::mem::take(&mut self.withdrawn), abstains })
    }
}

#[cfg(test)]
#[path = "support_tests.rs"]
mod tests;
