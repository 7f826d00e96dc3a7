//! A report to placement in parts of bounded size, which count together or not at all.
//!
//! A worker may lead a hundred thousand ranges; what it knows of them fits into no message, and to look at all of them takes longer than a
//! round may. It looks at some of them a round, cuts what it finds, and when it has looked at all sends a few parts with each beat
//! ([`Departing`]). Whoever plans keeps the parts until the last one is there ([`Arriving`]), and then takes all of them in: the ranges of
//! a part that got lost would look as if nobody led them. A part that is lost costs the whole report.
//!
//! A report leaves quickly, since whoever begins to plan waits for it, and then the worker rests: it begins the next one when a beat for
//! each part is over. So however many ranges it leads, it sends one part a beat in the long run, and the store that plans hears so much
//! from each worker and no more.
//!
//! What a part says of the store itself needs no others and counts at once: a store of which any part arrives is alive. A worker that
//! rests sends a part of nothing, as a sign of life.

use std::collections::{BTreeMap, VecDeque};

use holdfast_types::{Incarnation, Moment, RangeId, ReplicaId, limits};

use super::message::RangeReport;

/// Counted for each range of a report beyond its keys and replicas: ids, epoch, figures, and what the encoding adds.
const RANGE_OVERHEAD_BYTES: usize = 160;
/// Counted for each replica of a range, and its place among those that have caught up, beyond the name of its site.
const REPLICA_OVERHEAD_BYTES: usize = 56;
/// Counted for a replica that is damaged.
const DAMAGED_BYTES: usize = 24;

/// Which part of which report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportPart {
    /// Counts the reports of one worker within an incarnation of its store.
    pub report: u64,
    /// Which part, from 0; behind the last one: none, it is a sign of life.
    pub part: u32,
    /// of how many.
    pub parts: u32,
}

impl ReportPart {
    /// A report that is one message.
    pub const WHOLE: Self = Self { report: 0, part: 0, parts: 1 };

    /// True for what a worker may have sent.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        (1..=limits::MAX_REPORT_PARTS).contains(&self.parts) && self.part <= self.parts
    }

    /// True when it says nothing of ranges: a worker between two reports lets itself be heard.
    #[must_use]
    pub fn is_sign_of_life(&self) -> bool {
        self.part == self.parts
    }
}

/// What a report says of ranges.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ranges {
    /// Those that the worker leads.
    pub led: Vec<RangeReport>,
    /// Its replicas that are damaged and wait to be replaced.
    pub damaged: Vec<(RangeId, ReplicaId)>,
}

/// The report that a worker is sending.
///
/// Invariants:
/// - no part is larger than [`limits::REPORT_PART_BYTES`], but for one range that is larger by itself
/// - there is at least one part, so that a store that leads nothing is heard too
/// - in the long run there is no more than one part each [`limits::REPORT_EVERY`]
#[derive(Default, Debug)]
pub struct Departing {
    report: u64,
    parts: u32,
    sent: u32,
    waiting: VecDeque<Ranges>,
    next_at: Moment,
    gathered: Cut,
}

impl Departing {
    /// True when nothing of the last report waits, and it is time for the next one.
    #[must_use]
    pub fn may_begin(&self, now: Moment) -> bool {
        self.waiting.is_empty() && self.next_at <= now
    }

    /// A range for the next report.
    pub fn gather(&mut self, range: RangeReport) {
        self.gathered.add(range);
    }

    /// Begins to send what was gathered, and this. Returns how many ranges did not fit into [`limits::MAX_REPORT_PARTS`] parts, and are
    /// left out.
    pub fn begin(&mut self, rest: Ranges, now: Moment) -> usize {
        rest.led.into_iter().for_each(|range| self.gathered.add(range));
        rest.damaged.into_iter().for_each(|damaged| self.gathered.add_damaged(damaged));
        let mut parts = std::mem::take(&mut self.gathered).parts;
        let left_out = parts.split_off(parts.len().min(limits::MAX_REPORT_PARTS as usize));
        self.report += 1;
        self.sent = 0;
        self.parts = u32::try_from(parts.len()).expect("there are at most MAX_REPORT_PARTS");
        self.waiting = parts;
        self.next_at = now.after(limits::REPORT_EVERY * self.parts);
        left_out.iter().map(|part| part.led.len() + part.damaged.len()).sum()
    }

    /// Names no part of the report, where there is none to send.
    #[must_use]
    pub fn sign_of_life(&self) -> ReportPart {
        ReportPart { report: self.report, part: self.parts, parts: self.parts }
    }

    /// The next part to send.
    pub fn next_part(&mut self) -> Option<(ReportPart, Ranges)> {
        let ranges = self.waiting.pop_front()?;
        let part = ReportPart { report: self.report, part: self.sent, parts: self.parts };
        self.sent += 1;
        Some((part, ranges))
    }
}

/// The parts of a report that is being gathered. There is one at least.
#[derive(Debug)]
struct Cut {
    parts: VecDeque<Ranges>,
    /// In the last one.
    bytes: usize,
}

impl Default for Cut {
    fn default() -> Self {
        Self { parts: VecDeque::from([Ranges::default()]), bytes: 0 }
    }
}

impl Cut {
    /// The part that has room for so many bytes.
    fn part_for(&mut self, bytes: usize) -> &mut Ranges {
        if self.bytes > 0 && self.bytes + bytes > limits::REPORT_PART_BYTES {
            self.parts.push_back(Ranges::default());
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.parts.back_mut().expect("there is one")
    }

    fn add(&mut self, range: RangeReport) {
        self.part_for(cost_of(&range)).led.push(range);
    }

    fn add_damaged(&mut self, damaged: (RangeId, ReplicaId)) {
        self.part_for(DAMAGED_BYTES).damaged.push(damaged);
    }
}

fn bytes_of(ranges: &Ranges) -> usize {
    ranges.led.iter().map(cost_of).sum::<usize>() + ranges.damaged.len() * DAMAGED_BYTES
}

/// No less than what a range takes in a message.
fn cost_of(range: &RangeReport) -> usize {
    let bounds = &range.descriptor.bounds;
    let keys = bounds.start.raw().len() + bounds.end.as_ref().map_or(0, |end| end.raw().len());
    let replicas = &range.descriptor.replicas;
    let sites: usize = replicas.iter().map(|replica| replica.site.as_str().len()).sum();
    let caught_up = range.caught_up.len().saturating_sub(replicas.len());
    RANGE_OVERHEAD_BYTES + keys + sites + (replicas.len() + caught_up) * REPLICA_OVERHEAD_BYTES
}

/// A report of which all parts are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whole {
    /// Its parts, in their order.
    pub parts: Vec<Ranges>,
    /// What they take, as they are encoded.
    pub bytes: usize,
}

/// The parts of one worker's report that are there while others are missing.
///
/// Invariant: all of them are of one report of one incarnation, the newest that was heard of.
#[derive(Default, Debug)]
pub struct Arriving {
    from: (Incarnation, u64),
    parts: BTreeMap<u32, Ranges>,
    bytes: usize,
}

impl Arriving {
    /// What the parts that wait take, as they are encoded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives up the parts that wait: the report counts for nothing, and the next one comes.
    pub fn drop_parts(&mut self) {
        self.parts.clear();
        self.bytes = 0;
    }

    /// Takes a part in; returns the whole report with its last one. Parts of an older report than the newest one heard of count for
    /// nothing any more.
    pub fn take(&mut self, incarnation: Incarnation, part: ReportPart, ranges: Ranges) -> Option<Whole> {
        let from = (incarnation, part.report);
        if from < self.from || !part.is_sound() || part.is_sign_of_life() {
            return None;
        }
        if from > self.from {
            *self = Self { from, ..Self::default() };
        }
        self.bytes += bytes_of(&ranges);
        if let Some(before) = self.parts.insert(part.part, ranges) {
            self.bytes -= bytes_of(&before);
        }
        if self.parts.len() < part.parts as usize {
            return None;
        }
        let parts = std::mem::take(&mut self.parts).into_values().collect();
        Some(Whole { parts, bytes: std::mem::take(&mut self.bytes) })
    }
}

#[cfg(test)]
#[path = "report_parts_tests.rs"]
mod tests;
