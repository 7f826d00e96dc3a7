//! The support table: which stores this one promises its support, and which promise theirs. One thread owns it.
//!
//! ```text
//! asker A ── question { asked_at, echo of B's newest answer } ──▶ B: promises until (receipt + interval), if the echo is fresh
//!         ◀── answer { asked_at, answered_at, generation } ──────    A counts on it until asked_at + interval - margin
//! ```
//!
//! Failure detection is between stores, not between replicas: a store asks each neighbour (a store with which it shares
//! a range) every 75 ms, whether it has ten ranges in common with it or ten thousand. An answer promises, for 600 ms,
//! that no replica here elects another leader against one that it follows there. Leases count on these promises, and
//! elections begin when they end.
//!
//! Why it is right. Both clock readings come back to the store that made them and are never compared with another
//! store's. A counts from when it asked, less 5 %, and B from when it heard, so A's count ends first
//! (docs/replication.md#count-ends-before-promise). B promises only to an asker that shows, by an echo, that it heard B
//! lately; so a cut in either direction ends both (docs/replication.md#support-goes-both-ways). And it promises only
//! while both hear each other's streams: heartbeats have connections of their own, and a cut that spares them would
//! leave a leader that keeps its lease and replicates nothing (docs/replication.md#support-follows-the-data).
//!
//! Invariants:
//! - a generation that was withdrawn is never promised again
//! - a generation belongs to one incarnation of the asker; a new incarnation waits until the old one's promise has run
//!   out
//! - nothing is withdrawn before its time, nor within one heartbeat after this loop ran late
//! - only a neighbour is lost: a promise to a store that shares no range any more runs out because nobody asks for it
//!
//! A promise that is kept too long costs time. One that is withdrawn before it has run out, or extended after it was
//! withdrawn, costs linearizability. So every doubt is resolved towards waiting: a loop that ran late reads its sockets
//! first, and a store that has just started promises nothing until whatever it may have forgotten has run out
//! (docs/replication.md#restart-abstains).
//!
//! Heartbeats carry three things more. How far the asker's log has come, so that a store whose disk is older than what
//! was seen of it is refused (docs/replication.md#restored-disk-is-refused). The sender's wall clock, which `clocks`
//! judges; a store whose clock is off promises and votes, but does not lead. And whether the store wants leaders.
//!
//! What it does not do. It does not say that a range is healthy, only that stores reach each other. It does not detect
//! a slow disk or a late worker; it is told, and then asks for no promise. It proves nobody: anyone who knows the fleet
//! can open a connection under any name, so of names that neither the fleet nor this disk has on record a few are
//! remembered, and nothing of them is written down (docs/replication.md#strangers-change-nothing).
//!
//! Where it is from. Failure detection per store, with epochs that are never extended once withdrawn, is CockroachDB's
//! store liveness. That a detector must take the path of what it vouches for is the lesson of gray failures (Huang et
//! al., HotOS 2017).

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_replica::{Promise, Support as Received, SupportView};
use holdfast_types::{Generation, Incarnation, Moment, StoreId, limits};

use super::clocks::{Clocks, Company, FleetClock};
use super::seen::{Outdated, Seen};

use wire::{Answer, Question, Refusal, Told};

/// What was seen of others is saved at most this often; a new incarnation at once.
const SAVE_SEEN_EVERY: Duration = Duration::from_secs(60);
/// What a log has grown by is worth saving from so many batches on: saving is a batch itself, and two idle stores are not to keep
/// each other writing.
const SAVE_SEEN_BATCHES: u64 = 100;

/// How a support table behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// The counter of the log when this life began; 0: not known.
    pub started_at: u64,
    /// Added to the counter that the log tells.
    pub counter_offset: u64,
    /// What was seen of other stores in earlier lives.
    pub seen: BTreeMap<StoreId, Seen>,
}

impl SupportConfig {
    /// The defaults, which docs/replication.md#count-ends-before-promise argues with.
    #[must_use]
    pub fn new(store: StoreId, incarnation: Incarnation) -> Self {
        Self {
            store,
            incarnation,
            heartbeat: limits::SUPPORT_HEARTBEAT,
            interval: limits::SUPPORT_INTERVAL,
            margin_percent: limits::SUPPORT_MARGIN_PERCENT,
            started_at: 0,
            counter_offset: 0,
            seen: BTreeMap::new(),
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
    /// Neighbours whose promise was withdrawn and not renewed, and when that was.
    pub lost: BTreeMap<StoreId, Moment>,
    /// Neighbours with whom streams work, whatever their heartbeats do: requests reach them.
    pub streams: BTreeSet<StoreId>,
    /// Neighbours whose heartbeats arrive, but not what streams carry: neither store supports the other.
    pub silent: BTreeMap<StoreId, Silent>,
    /// This store neither votes nor stands for now.
    pub abstains: bool,
    /// This store's wall clock is off by more than the bound: so many milliseconds ahead of the others'.
    pub clock_ahead_ms: Option<i64>,
    /// Fleet time as this store has judged it.
    pub clock: FleetClock,
}

/// What a step of the table asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Output {
    /// Messages to send, best effort.
    pub send: Vec<(StoreId, Bytes)>,
    /// The table as it is now, when it changed.
    pub changed: Option<SupportChange>,
    /// What was seen of other stores, when it should be saved: `Event::Seen` for one worker.
    pub seen: Option<BTreeMap<StoreId, Seen>>,
    /// Another store has seen more of this one than its disk knows: `Event::Outdated` for one worker.
    pub outdated: Option<Outdated>,
    /// A store that is not outdated was heard in this incarnation, and so far has its log come: connections are judged by it.
    pub heard: Option<(StoreId, Incarnation, u64)>,
}

/// What this store knows of another one.
#[derive(Clone, Copy, Debug, Default)]
struct Other {
    /// The highest incarnation seen, lower ones are ghosts; and how far its log had come.
    seen: Seen,
    /// As it was saved last.
    saved: Seen,
    /// The newest generation ever promised to it.
    newest: Generation,
    /// The promise that stands, and when it runs out.
    given: Option<(Promise, Moment)>,
    /// Its clock in its newest answer, to echo; and the incarnation that said it.
    echo: Option<(Incarnation, Moment)>,
    /// What it promised us.
    received: Option<Received>,
    /// It said that its disk takes no writes.
    disk_full: bool,
    /// When it was last heard on that one of its streams that has been silent for longest.
    streams_heard: Option<Moment>,
    /// What its newest question says of our streams, and when that came.
    says_of_ours: Option<(bool, Moment)>,
    /// The fleet has it on record, or did, or an earlier life of this store had.
    is_proved: bool,
    heard_at: Moment,
}

/// Which streams between two stores carry nothing though their heartbeats arrive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Silent {
    /// Those from the other store to this one.
    Theirs,
    /// Those from this store to the other one, as that one says.
    Ours,
    /// Both.
    Both,
}

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Theirs => "its streams to this store are silent",
            Self::Ours => "it does not hear the streams of this store",
            Self::Both => "the streams in both directions are silent",
        })
    }
}

/// The support table of one store.
pub struct Support {
    config: SupportConfig,
    started: Moment,
    neighbours: BTreeSet<StoreId>,
    /// The stores that the fleet has on record.
    members: BTreeSet<StoreId>,
    others: BTreeMap<StoreId, Other>,
    /// When neighbours are asked next.
    ask_at: Moment,
    /// The loop promised to be back by then.
    expected: Moment,
    /// Nothing is withdrawn before.
    hold_until: Moment,
    withdrawn: Vec<(StoreId, Generation)>,
    lost: BTreeMap<StoreId, Moment>,
    counter: u64,
    /// Told to others, and compared with theirs; used for nothing else.
    wall_ms: u64,
    disk_full: bool,
    clocks: Clocks,
    /// What was seen of others is saved then, when there is news.
    save_seen_at: Moment,
    /// The newest generation of those that were forgotten: should one of them come back, it goes on from there.
    forgotten: Generation,
    /// What the workers know.
    published: Option<SupportChange>,
}

impl Support {
    /// A table that promises nothing for one interval: whoever supported a leader before this start may still be bound.
    #[must_use]
    pub fn new(config: SupportConfig, now: Moment) -> Self {
        let other = |seen: &Seen| Other { seen: *seen, saved: *seen, is_proved: true, ..Other::default() };
        Self {
            others: config.seen.iter().map(|(store, seen)| (*store, other(seen))).collect(),
            forgotten: Generation::default(),
            counter: config.started_at,
            wall_ms: 0,
            disk_full: false,
            clocks: Clocks::default(),
            save_seen_at: now,
            config,
            started: now,
            neighbours: BTreeSet::new(),
            members: BTreeSet::new(),
            ask_at: now,
            expected: now,
            hold_until: Moment::ZERO,
            withdrawn: Vec::new(),
            lost: BTreeMap::new(),
            published: None,
        }
    }

    /// The stores to ask from now on: those that share a range with this one, [`limits::ADDRESSED_STORES`] of them at most. That proves
    /// nothing of them: a replica is made for whoever says that there is one.
    pub fn set_neighbours(&mut self, neighbours: BTreeSet<StoreId>) {
        self.neighbours = neighbours;
        self.neighbours.remove(&self.config.store);
        while self.neighbours.len() > limits::ADDRESSED_STORES {
            self.neighbours.pop_last();
        }
        self.lost.retain(|store, _| self.neighbours.contains(store));
    }

    /// The stores that the fleet has on record: they are proved.
    pub fn set_members(&mut self, members: BTreeSet<StoreId>) {
        self.members = members;
        for store in &self.members {
            if let Some(other) = self.others.get_mut(store) {
                other.is_proved = true;
            }
        }
    }

    /// Something was heard of a store on each of the streams that carry entries, answers and votes, on the most silent of them at
    /// this moment. To be said before each tick.
    pub fn note_streams(&mut self, store: StoreId, heard_at: Moment) {
        // A store that no heartbeat came from is not remembered for it.
        if let Some(other) = self.others.get_mut(&store) {
            other.streams_heard = other.streams_heard.max(Some(heard_at));
        }
    }

    /// The fleet has forgotten these stores, and nothing of them is taken any more: what was seen of them goes, once no promise to
    /// them stands.
    pub fn forget(&mut self, stores: &BTreeSet<StoreId>) {
        if !stores.is_empty() {
            self.others.retain(|store, other| other.given.is_some() || !stores.contains(store));
            self.lost.retain(|store, _| !stores.contains(store));
        }
    }

    /// The stores to ask: those whose streams matter.
    #[must_use]
    pub fn neighbours(&self) -> &BTreeSet<StoreId> {
        &self.neighbours
    }

    /// The log's counter has come so far: told to others with the next questions.
    pub fn note_counter(&mut self, counter: u64) {
        self.counter = self.counter.max(counter + self.config.counter_offset);
    }

    /// Whether this store is to lead nothing (its disk takes no writes of clients, or it is about to be stopped): told to others with
    /// the next questions, so that they hand nothing over.
    pub fn note_unwilling(&mut self, unwilling: bool) {
        self.disk_full = unwilling;
    }

    /// Fleet time as this store has judged it.
    #[must_use]
    pub fn clock(&self) -> FleetClock {
        self.clocks.fleet()
    }

    /// The wall clock shows this, in milliseconds since the Unix epoch: to be said before each message taken in and each tick. It is told
    /// to others and judged with theirs; what comes out is the only time that the store goes by.
    pub fn note_wall(&mut self, wall_ms: u64) {
        self.wall_ms = wall_ms;
    }

    /// A message came in; `incarnation` is the one of the connection's handshake. Sends answers; changes come out of the next
    /// [`Support::tick`].
    pub fn receive(&mut self, from: StoreId, incarnation: Incarnation, bytes: &Bytes, now: Moment) -> Output {
        let mut output = Output::default();
        let Ok(message) = Told::decode(from, bytes) else { return output };
        if message.said.incarnation != incarnation || from == self.config.store {
            return output;
        }
        if let Some(Refusal { seen, .. }) = message.refusal.filter(|r| r.asker == self.config.incarnation) {
            let Seen { incarnation, counter, .. } = seen;
            let outdated = Outdated { seen_by: from, incarnation, counter };
            // This store ends by it: no word of somebody who is known by his own word alone.
            output.outdated = self.is_proved(from).then_some(outdated);
            return output;
        }
        let said = message.said;
        self.make_room_for(from);
        let other = self.others.entry(from).or_insert_with(|| Other { newest: self.forgotten, ..Other::default() });
        other.is_proved |= self.members.contains(&from);
        other.heard_at = now;
        if said.is_behind(&other.seen) {
            let seen = other.seen;
            output.send.push((from, self.refuse(incarnation, seen)));
            return output;
        }
        if incarnation > other.seen.incarnation && other.is_proved {
            self.save_seen_at = now;
        }
        other.seen.learn(said);
        output.heard = Some((from, incarnation, other.seen.counter));
        // Nobody answers what was not asked yet: it would count for ever.
        if let Some(answer) = message.answer.filter(|answer| answer.asked_at <= now) {
            if message.wall_ms > 0 && answer.asker == self.config.incarnation {
                self.clocks.read(from, message.wall_ms, answer.asked_at, now);
            }
            self.take_answer(from, incarnation, answer);
        }
        if let Some(question) = message.question {
            if let Some(other) = self.others.get_mut(&from) {
                other.disk_full = question.disk_full;
            }
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
        output.seen = self.seen_to_save(now);
        self.judge_clock(now);
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

    fn is_proved(&self, store: StoreId) -> bool {
        self.members.contains(&store) || self.others.get(&store).is_some_and(|other| other.is_proved)
    }

    /// Of stores that nothing proves only a few are remembered: the one that was silent for longest goes.
    fn make_room_for(&mut self, newcomer: StoreId) {
        if self.others.contains_key(&newcomer) || self.members.contains(&newcomer) {
            return;
        }
        let unproved = self.others.iter().filter(|(_, other)| !other.is_proved && other.given.is_none());
        if unproved.clone().count() < limits::UNPROVED_STORES {
            return;
        }
        if let Some(store) = unproved.min_by_key(|(_, other)| other.heard_at).map(|(store, _)| *store)
            && let Some(gone) = self.others.remove(&store)
        {
            self.forgotten = self.forgotten.max(gone.newest);
        }
    }

    fn seen_to_save(&mut self, now: Moment) -> Option<BTreeMap<StoreId, Seen>> {
        if now < self.save_seen_at {
            return None;
        }
        let news = |other: &Other| other.is_proved && other.seen.is_news(&other.saved, SAVE_SEEN_BATCHES);
        let news = self.others.values().any(news);
        if !news {
            return None;
        }
        self.save_seen_at = now.after(SAVE_SEEN_EVERY);
        for other in self.others.values_mut() {
            other.saved = other.seen;
        }
        let proved = self.others.iter().filter(|(_, other)| other.is_proved);
        Some(proved.map(|(store, other)| (*store, other.seen)).collect())
    }

    fn withdraw(&mut self, now: Moment) {
        for (store, other) in &mut self.others {
            if let Some((promise, until)) = other.given
                && until <= now
            {
                other.given = None;
                self.withdrawn.push((*store, promise.generation));
                if self.neighbours.contains(store) {
                    self.lost.insert(*store, now);
                }
            }
        }
    }

    fn take_answer(&mut self, from: StoreId, incarnation: Incarnation, answer: Answer) {
        if answer.asker != self.config.incarnation {
            return;
        }
        let Some(other) = self.others.get_mut(&from) else { return };
        let newest = other.echo.filter(|(of, _)| *of == incarnation).map_or(Moment::ZERO, |(_, at)| at);
        other.echo = Some((incarnation, newest.max(answer.answered_at)));
        let Some(generation) = answer.generation else { return };
        let margin = self.config.interval * self.config.margin_percent / 100;
        let until = answer.asked_at.after(self.config.interval.saturating_sub(margin));
        let heard = Received { incarnation, generation, until };
        let newer = other.received.is_none_or(|known| {
            (heard.incarnation, heard.generation, heard.until) > (known.incarnation, known.generation, known.until)
        });
        if newer {
            other.received = Some(heard);
        }
    }

    fn answer_to(&mut self, from: StoreId, incarnation: Incarnation, question: Question, now: Moment) -> Answer {
        let (echo_of, echo_at) = question.echo;
        let hears_us =
            echo_of == self.config.incarnation && echo_at <= now && now.since(echo_at) <= self.config.interval;
        if let Some(other) = self.others.get_mut(&from) {
            other.says_of_ours = Some((question.hears_streams, now));
        }
        let has_streams = question.hears_streams && self.hears_streams_of(from, now);
        let promises = question.wants_promise && hears_us && has_streams && !self.abstains(now);
        let generation = if promises { self.promise(from, incarnation, now) } else { None };
        Answer { asker: incarnation, asked_at: question.asked_at, answered_at: now, generation }
    }

    fn hears_streams_of(&self, store: StoreId, now: Moment) -> bool {
        let heard = self.others.get(&store).and_then(|other| other.streams_heard);
        heard.is_some_and(|at| now.since(at) <= limits::STREAMS_SILENT)
    }

    /// As far as is known here streams work both ways: a store that does not ask says nothing of ours.
    fn has_streams_with(&self, store: StoreId, now: Moment) -> bool {
        let says = self.others.get(&store).and_then(|other| other.says_of_ours);
        let says_no = says.is_some_and(|(hears, at)| !hears && now.since(at) <= self.config.interval);
        self.hears_streams_of(store, now) && !says_no
    }

    /// Neighbours that ask, but with whom no stream works.
    fn silent(&self, now: Moment) -> BTreeMap<StoreId, Silent> {
        let silent = |store: &StoreId| {
            let (hears_ours, asked_at) = self.others.get(store)?.says_of_ours?;
            if now.since(asked_at) > self.config.interval {
                return None;
            }
            let silent = match (self.hears_streams_of(*store, now), hears_ours) {
                (true, true) => return None,
                (false, true) => Silent::Theirs,
                (true, false) => Silent::Ours,
                (false, false) => Silent::Both,
            };
            Some((*store, silent))
        };
        self.neighbours.iter().filter_map(silent).collect()
    }

    fn promise(&mut self, to: StoreId, incarnation: Incarnation, now: Moment) -> Option<Generation> {
        let until = now.after(self.config.interval);
        let other = self.others.get_mut(&to)?;
        match &mut other.given {
            Some((promise, _)) if promise.incarnation != incarnation => None,
            Some((promise, expiry)) => {
                *expiry = until;
                Some(promise.generation)
            }
            None => {
                self.lost.remove(&to);
                other.newest = other.newest.next();
                other.given = Some((Promise { incarnation, generation: other.newest }, until));
                Some(other.newest)
            }
        }
    }

    fn question_to(&self, store: StoreId, now: Moment, healthy: bool) -> Question {
        let hears_streams = self.hears_streams_of(store, now);
        let echo = self.others.get(&store).and_then(|o| o.echo);
        Question {
            asked_at: now,
            wants_promise: healthy,
            echo: echo.unwrap_or_default(),
            disk_full: self.disk_full,
            hears_streams,
        }
    }

    fn encode(&self, question: Option<Question>, answer: Option<Answer>) -> Bytes {
        let SupportConfig { incarnation, started_at, .. } = self.config;
        let said = Seen { incarnation, started_at, counter: self.counter };
        Told { said, wall_ms: self.wall_ms, question, answer, refusal: None }.encode()
    }

    fn refuse(&self, incarnation: Incarnation, seen: Seen) -> Bytes {
        let refusal = Some(Refusal { asker: incarnation, seen });
        let said = Seen { incarnation: self.config.incarnation, ..Seen::default() };
        Told { said, wall_ms: 0, question: None, answer: None, refusal }.encode()
    }

    /// Compares the wall clock with the neighbours'.
    fn judge_clock(&mut self, now: Moment) {
        let company =
            Company { neighbours: self.neighbours.len(), is_settled: !self.abstains(now), fresh: self.config.interval };
        self.clocks.judge(self.wall_ms, company, now);
    }

    fn change(&mut self, now: Moment) -> Option<SupportChange> {
        let given = self.others.iter().filter_map(|(s, o)| o.given.map(|(promise, _)| (*s, promise))).collect();
        let received = self.others.iter().filter_map(|(s, o)| o.received.map(|r| (*s, r))).collect();
        let full = self.others.iter().filter(|(_, o)| o.disk_full && o.given.is_some()).map(|(s, _)| *s).collect();
        let view = SupportView { incarnation: self.config.incarnation, given, received, full };
        let news = SupportChange {
            view: Arc::new(view),
            withdrawn: std::mem::take(&mut self.withdrawn),
            lost: self.lost.clone(),
            streams: self.neighbours.iter().filter(|store| self.has_streams_with(**store, now)).copied().collect(),
            silent: if self.abstains(now) { BTreeMap::new() } else { self.silent(now) },
            abstains: self.abstains(now),
            clock_ahead_ms: self.clocks.ahead_ms(),
            clock: self.clocks.fleet(),
        };
        if self.published.as_ref() == Some(&news) {
            return None;
        }
        self.published = Some(SupportChange { withdrawn: Vec::new(), ..news.clone() });
        Some(news)
    }
}

#[cfg(test)]
#[path = "support_tests.rs"]
mod tests;
