//! Latches: what may be evaluated and proposed side by side on one leader.
//!
//! ```text
//! blind writes of a key      share it; log order decides which one is newest
//! reads of conditions        share the key, exclude its writes
//! delete range               excludes everything else in its span
//! a slot of a client         one attempt at a time, from look-up to apply
//! split                      excludes everything
//! ```
//!
//! The leader evaluates writes before it proposes them. A swap reads a value, and what it proposes is right only if
//! nothing changes that value until the proposal is applied. So a write latches what it reads and writes, and keeps
//! that until its entry is applied (docs/replication.md#latched-until-applied). Then whatever a write saw is what stood
//! just before its own place in the log.
//!
//! A request asks for all of its latches at once, and stands in one queue for each of them in the order of arrival. It
//! waits only for requests that arrived before it, so there is no cycle, and nobody is overtaken by one that conflicts
//! with it. Keys and slots have queues of their own. A span stands in every queue that it covers, also in those that
//! come to be while it is there, and waits for earlier spans that overlap it; so a key whose queue exists needs no look
//! at spans, and a span of a million keys costs nothing for those that nobody else wants.
//!
//! Two things are shared more freely than a lock would allow. Blind writes of one key share it: neither reads,
//! timestamps are given in the order of the log, and the later one is the newest for everybody. And a delete range
//! gives up the part of its span that its page did not reach.
//!
//! Why it is enough. There is one leader, and it serves only after everything before its term is applied; so the
//! latches of one leader need to exclude nothing of another. When it steps down they are forgotten: what was proposed
//! is decided by the log, what was not is refused. Latches are in memory only, and nothing of them is replicated.
//!
//! What it does not do. Reads of clients take no latch: they read a view at one timestamp. Latches know nothing of
//! time, deadlines or transactions, and nothing of what is evaluated under them; `pipeline` does.
//!
//! Where it is from. Latches rather than locks, held by the leader for the length of one replicated command, are
//! CockroachDB's (its span latch manager) and TiKV's. Queues in order of arrival are ticket locks. That they do what
//! they should is tested against the plain rule: granted exactly when no earlier conflict is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_types::{ClientId, Key, KeyRange, Slot};

/// Names a request here. Grows with arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LatchId(pub u64);

/// How a latch is shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A write that depends on nothing: shared with its like.
    Write,
    /// A read of a condition: shared with its like.
    Read,
    /// Not shared.
    Exclusive,
}

impl Mode {
    fn shares(self, other: Mode) -> bool {
        self == other && self != Mode::Exclusive
    }
}

/// What can be latched. Keys sort before slots, so that spans of keys and the whole range are intervals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Latched {
    /// A key.
    Key(Key),
    /// A slot of a client.
    Slot(ClientId, Slot),
}

/// Several things at once, latched exclusively.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Span {
    /// All keys within.
    Keys(KeyRange),
    /// Everything, slots too.
    All,
}

impl Span {
    fn covers(&self, latched: &Latched) -> bool {
        match (self, latched) {
            (Span::All, _) => true,
            (Span::Keys(bounds), Latched::Key(key)) => bounds.contains(key),
            (Span::Keys(_), Latched::Slot(..)) => false,
        }
    }

    fn overlaps(&self, other: &Span) -> bool {
        match (self, other) {
            (Span::Keys(mine), Span::Keys(theirs)) => mine.overlaps(theirs),
            (Span::All, _) | (_, Span::All) => true,
        }
    }

    fn first(&self) -> Latched {
        match self {
            Span::Keys(bounds) => Latched::Key(bounds.start.clone()),
            Span::All => Latched::Key(Key::MIN),
        }
    }
}

/// Everything that one request latches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    singles: Vec<(Latched, Mode)>,
    span: Option<Span>,
}

impl Wanted {
    /// Adds a key or slot. One that is wanted in two ways is wanted exclusively.
    pub fn add(&mut self, latched: Latched, mode: Mode) {
        self.singles.push((latched, mode));
    }

    /// Sets the span. Singles within it are part of it.
    pub fn set_span(&mut self, span: Span) {
        self.span = Some(span);
    }

    fn merge_twins(&mut self) {
        if let Some(span) = &self.span {
            self.singles.retain(|(latched, _)| !span.covers(latched));
        }
        if self.singles.len() < 2 {
            return;
        }
        self.singles.sort_by(|a, b| a.0.cmp(&b.0));
        self.singles.dedup_by(|later, kept| {
            let twins = later.0 == kept.0;
            if twins && later.1 != kept.1 {
                kept.1 = Mode::Exclusive;
            }
            twins
        });
    }
}

/// Who stands for one key or slot. The first `granted` of them have it.
#[derive(Clone, Debug, Default)]
struct Queue {
    line: VecDeque<(LatchId, Mode)>,
    granted: usize,
}

impl Queue {
    /// Grants to as many as may have it together; gives those who got it just now.
    fn advance(&mut self, newly: &mut Vec<LatchId>) {
        while let Some((id, mode)) = self.line.get(self.granted) {
            let first = self.line.front().expect("somebody stands here").1;
            if self.granted > 0 && !first.shares(*mode) {
                return;
            }
            newly.push(*id);
            self.granted += 1;
        }
    }

    fn leave(&mut self, id: LatchId) {
        if let Some(position) = self.line.iter().position(|(other, _)| *other == id) {
            self.line.remove(position);
            if position < self.granted {
                self.granted -= 1;
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Holder {
    wanted: Wanted,
    /// Queues and spans that it does not have yet.
    missing: usize,
}

/// The latches of one range.
///
/// Invariants (see [`Latches::check`]):
/// - in each queue those who have the latch stand in front and share it
/// - a request is granted exactly when nothing is missing
/// - a live span stands in every queue that it covers
#[derive(Clone, Debug, Default)]
pub struct Latches {
    holders: BTreeMap<LatchId, Holder>,
    queues: BTreeMap<Latched, Queue>,
    /// Holders with a span, in order of arrival; few.
    spans: BTreeSet<LatchId>,
    last: u64,
}

impl Latches {
    /// Asks for latches. True: they are granted at once; else the id will be among those that a release gives.
    pub fn acquire(&mut self, mut wanted: Wanted) -> (LatchId, bool) {
        wanted.merge_twins();
        self.last += 1;
        let id = LatchId(self.last);
        let mut missing = wanted.singles.len();
        let mut granted = Vec::new();
        for (latched, mode) in &wanted.singles {
            let queue = Self::queue_for(&mut self.queues, &self.spans, &mut self.holders, latched);
            queue.line.push_back((id, *mode));
            queue.advance(&mut granted);
        }
        missing -= granted.len();
        if let Some(span) = &wanted.span {
            missing += self.enter_span(id, span);
            self.spans.insert(id);
        }
        self.holders.insert(id, Holder { wanted, missing });
        (id, missing == 0)
    }

    /// The queue of `latched`. A new one begins with the live spans that cover it: they came before whoever asks now.
    fn queue_for<'a>(
        queues: &'a mut BTreeMap<Latched, Queue>,
        spans: &BTreeSet<LatchId>,
        holders: &mut BTreeMap<LatchId, Holder>,
        latched: &Latched,
    ) -> &'a mut Queue {
        queues.entry(latched.clone()).or_insert_with(|| {
            let mut queue = Queue::default();
            for id in spans {
                let holder = holders.get_mut(id).expect("a span has a holder");
                if holder.wanted.span.as_ref().is_some_and(|span| span.covers(latched)) {
                    holder.missing += usize::from(!queue.line.is_empty());
                    queue.line.push_back((*id, Mode::Exclusive));
                }
            }
            queue.granted = usize::from(!queue.line.is_empty());
            queue
        })
    }

    /// Stands in all existing queues of the span, and waits for earlier spans that overlap. Gives how much is missing.
    fn enter_span(&mut self, id: LatchId, span: &Span) -> usize {
        let mut missing = 0;
        for (latched, queue) in self.queues.range_mut(span.first()..) {
            if span.covers(latched) {
                queue.line.push_back((id, Mode::Exclusive));
                missing += 1;
            } else {
                break;
            }
        }
        missing + self.earlier_spans(id, span).count()
    }

    fn earlier_spans<'a>(&'a self, id: LatchId, span: &'a Span) -> impl Iterator<Item = LatchId> + 'a {
        self.spans.range(..id).copied().filter(move |other| self.span(*other).is_some_and(|other| other.overlaps(span)))
    }

    fn span(&self, id: LatchId) -> Option<&Span> {
        self.holders.get(&id).and_then(|holder| holder.wanted.span.as_ref())
    }

    /// Gives up all latches of a request, or its place in the queues. Gives the requests that are granted now, in order of arrival.
    pub fn release(&mut self, id: LatchId) -> Vec<LatchId> {
        let Some(Holder { wanted, .. }) = self.holders.remove(&id) else {
            return Vec::new();
        };
        let mut newly = Vec::new();
        for (latched, _) in &wanted.singles {
            self.leave(id, latched, &mut newly);
        }
        if let Some(span) = wanted.span {
            self.spans.remove(&id);
            self.leave_span(id, &span, None, &mut newly);
        }
        self.count_off(newly)
    }

    /// Gives up the part of a granted span of keys that begins at `end`. Gives the requests that are granted now.
    pub fn narrow_end(&mut self, id: LatchId, end: &Key) -> Vec<LatchId> {
        let Some(Holder { wanted: Wanted { span: Some(span), .. }, missing: 0 }) = self.holders.get_mut(&id) else {
            return Vec::new();
        };
        let before = span.clone();
        let Span::Keys(bounds) = span else { return Vec::new() };
        if !bounds.contains(end) {
            return Vec::new();
        }
        bounds.end = Some(end.clone());
        let kept = Span::Keys(bounds.clone());
        let mut newly = Vec::new();
        self.leave_span(id, &before, Some(&kept), &mut newly);
        self.count_off(newly)
    }

    /// Leaves the queues that `before` covers and `kept` does not, and lets later spans pass that `before` held up.
    fn leave_span(&mut self, id: LatchId, before: &Span, kept: Option<&Span>, newly: &mut Vec<LatchId>) {
        let keeps = |latched: &Latched| kept.is_some_and(|kept| kept.covers(latched));
        let covered = self.queues.range(before.first()..).map(|(latched, _)| latched);
        let left: Vec<Latched> =
            covered.take_while(|latched| before.covers(latched)).filter(|latched| !keeps(latched)).cloned().collect();
        for latched in &left {
            self.leave(id, latched, newly);
        }
        let later = self.spans.range((std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded));
        newly.extend(later.copied().filter(|other| {
            let other = self.span(*other).expect("a span has a holder");
            other.overlaps(before) && !kept.is_some_and(|kept| other.overlaps(kept))
        }));
    }

    fn leave(&mut self, id: LatchId, latched: &Latched, newly: &mut Vec<LatchId>) {
        let Some(queue) = self.queues.get_mut(latched) else { return };
        queue.leave(id);
        queue.advance(newly);
        // Spans find their way into new queues by themselves; a queue of spans only is still needed for their order.
        if queue.line.is_empty() {
            self.queues.remove(latched);
        }
    }

    fn count_off(&mut self, newly: Vec<LatchId>) -> Vec<LatchId> {
        let mut granted = Vec::new();
        for id in newly {
            let holder = self.holders.get_mut(&id).expect("who stands in a queue is a holder");
            holder.missing -= 1;
            if holder.missing == 0 {
                granted.push(id);
            }
        }
        granted.sort_unstable();
        granted
    }

    /// Forgets all requests; their ids are not given again.
    pub fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// True when nobody holds or waits for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Checks the invariants; slow.
    pub fn check(&self) -> Result<(), String> {
        let mut missing: BTreeMap<LatchId, usize> = self.holders.keys().map(|id| (*id, 0)).collect();
        for (latched, queue) in &self.queues {
            let granted = queue.line.iter().take(queue.granted);
            let first = queue.line.front().ok_or_else(|| format!("{latched:?}: an empty queue"))?;
            if queue.granted == 0 || granted.skip(1).any(|(_, mode)| !first.1.shares(*mode)) {
                return Err(format!("{latched:?}: granted to {} of {:?}", queue.granted, queue.line));
            }
            if !queue.line.iter().is_sorted_by_key(|(id, _)| *id) {
                return Err(format!("{latched:?}: {:?} is not in order of arrival", queue.line));
            }
            for (id, _) in queue.line.iter().skip(queue.granted) {
                *missing.get_mut(id).ok_or_else(|| format!("{latched:?}: {id:?} is gone"))? += 1;
            }
            let absent = |id: &&LatchId| !queue.line.iter().any(|(other, _)| other == *id);
            if let Some(id) =
                self.spans.iter().filter(absent).find(|id| self.span(**id).is_some_and(|s| s.covers(latched)))
            {
                return Err(format!("{latched:?}: the span of {id:?} does not stand here"));
            }
        }
        for id in &self.spans {
            let span = self.span(*id).ok_or_else(|| format!("{id:?} has no span"))?;
            *missing.entry(*id).or_default() += self.earlier_spans(*id, span).count();
        }
        for (id, holder) in &self.holders {
            if missing[id] != holder.missing {
                return Err(format!("{id:?}: {} are missing, counted {}", missing[id], holder.missing));
            }
        }
        Ok(())
    }
}
