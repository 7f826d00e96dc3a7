//! Whole reports on their way into the facts, some ranges a round.
//!
//! A report of tens of thousands of ranges takes longer than a round of the worker that plans may. What it says of each range counts as soon as it
//! is taken in: a range that is still to come is known as it was before. That its worker is known, and which of its replicas are damaged, counts
//! with the end of it, and no plan is begun in the middle.

use std::collections::VecDeque;

use holdfast_types::{Moment, RangeId, ReplicaId, StoreId};

use crate::core::message::RangeReport;
use crate::core::report_parts::{Ranges, Whole};

/// One worker of a store.
pub(super) type WorkerName = (StoreId, u16);

/// What comes next of the reports that are taken in.
#[derive(Debug)]
pub(super) enum Next {
    /// A range that a store leads, as heard then.
    Led(StoreId, RangeReport, Moment),
    /// A damaged replica of the report of a worker; none of an earlier report counts any more after its end.
    Damaged((RangeId, ReplicaId)),
    /// The report of a worker is taken in.
    End(WorkerName),
}

/// Reports that are being taken in.
///
/// Invariant: of one worker there is at most one of which nothing was taken in.
#[derive(Default, Debug)]
pub(super) struct Intake {
    waiting: VecDeque<Report>,
    /// Something was taken in of the first one.
    is_begun: bool,
    bytes: usize,
}

#[derive(Debug)]
struct Report {
    worker: WorkerName,
    at: Moment,
    parts: std::vec::IntoIter<Ranges>,
    led: std::vec::IntoIter<RangeReport>,
    damaged: std::vec::IntoIter<(RangeId, ReplicaId)>,
    bytes: usize,
}

impl Intake {
    /// All parts of a report are there. It takes the place of an older one of the same worker of which nothing was taken in.
    pub(super) fn add(&mut self, worker: WorkerName, whole: Whole, at: Moment) {
        let Whole { parts, bytes } = whole;
        let (parts, led, damaged) = (parts.into_iter(), Vec::new().into_iter(), Vec::new().into_iter());
        let report = Report { worker, at, parts, led, damaged, bytes };
        self.bytes += bytes;
        let mut untouched = self.waiting.iter_mut().skip(usize::from(self.is_begun));
        if let Some(older) = untouched.find(|older| older.worker == worker) {
            self.bytes -= older.bytes;
            *older = report;
        } else {
            self.waiting.push_back(report);
        }
    }

    /// What the reports take, as they are encoded.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True when a report is taken in in part.
    pub(super) fn is_in_the_middle(&self) -> bool {
        self.is_begun
    }

    /// What is to be taken in next.
    pub(super) fn next(&mut self) -> Option<Next> {
        let report = self.waiting.front_mut()?;
        self.is_begun = true;
        loop {
            if let Some(led) = report.led.next() {
                return Some(Next::Led(report.worker.0, led, report.at));
            }
            if let Some(damaged) = report.damaged.next() {
                return Some(Next::Damaged(damaged));
            }
            let Some(part) = report.parts.next() else { break };
            (report.led, report.damaged) = (part.led.into_iter(), part.damaged.into_iter());
        }
        let worker = report.worker;
        self.bytes -= report.bytes;
        self.waiting.pop_front();
        self.is_begun = false;
        Some(Next::End(worker))
    }
}
