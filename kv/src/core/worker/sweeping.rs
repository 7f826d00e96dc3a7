//! The walk for garbage: the leader of a range looks for what may go, a page at a time, and has every replica remove it.
//!
//! One range of a worker is walked at a time, and one page or proposal is out. A range is walked again only when something can
//! have become garbage since: its threshold rose, or it was written and its completion records have had time to age. So an idle
//! range is woken at most for what its last writes left behind.

use std::time::Duration;

use holdfast_engine::Fault;
use holdfast_replica::AdminRequest;
use holdfast_types::{Moment, RangeId, Timestamp, limits};

use super::garbage::in_turn;
use super::{Cx, Held, Worker};
use crate::core::desk::{Asked, Origin};
use crate::core::effect::Effect;
use crate::core::garbage::{GarbagePage, GarbagePosition, GarbageSearch};

/// After a refusal (a split, a transfer, no space) a page is looked through anew.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Ranges that are looked at for one to walk, in one round.
const LOOKS: usize = 1_024;

/// How far a range was walked.
#[derive(Clone, Debug, Default)]
pub(super) struct Swept {
    /// Nothing below it was garbage when the last walk over versions ended.
    threshold: Timestamp,
    /// The earliest end of a value that was alive then.
    pub(super) expires: Option<Timestamp>,
    /// When the last walk over completion records began, in fleet time.
    records_at: Timestamp,
    /// It left some.
    records_left: bool,
}

/// Which range is walked.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    walk: Option<Walk>,
    /// The range that was walked, or looked at in vain, last: the others have their turn first.
    last: RangeId,
    /// No page before.
    not_before: Moment,
}

#[derive(Debug)]
struct Walk {
    range: RangeId,
    position: GarbagePosition,
    /// The threshold (versions) or fleet time (records) at its beginning.
    began: Timestamp,
    expires: Option<Timestamp>,
    records_left: bool,
    /// What is out; the walk goes on when that comes back.
    out: Out,
}

#[derive(PartialEq, Eq, Debug)]
enum Out {
    Nothing,
    Look,
    /// Its garbage is proposed.
    Removal(Box<GarbagePage>),
}

impl Sweeper {
    /// When the next page is due; between walks the reports' pace will do.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        self.walk.as_ref().filter(|walk| walk.out == Out::Nothing).map(|_| self.not_before)
    }
}

impl Held {
    fn walk(&self, range: RangeId, fleet_now: Timestamp) -> Option<Walk> {
        if !self.standing.leads {
            return None;
        }
        let (versions, swept) = (&self.versions, &self.swept);
        let aged = swept.records_at.after(limits::GC_RECORDS_EVERY) < fleet_now;
        let (position, began) = if versions.threshold > swept.threshold {
            (GarbagePosition::Versions(None), versions.threshold)
        } else if aged && (swept.records_left || versions.newest > swept.records_at) {
            (GarbagePosition::Records(None), fleet_now)
        } else {
            return None;
        };
        Some(Walk { range, position, began, expires: None, records_left: false, out: Out::Nothing })
    }
}

impl Worker {
    /// Looks for garbage, when it is time.
    pub(super) fn sweep(&mut self, cx: &Cx<'_>) {
        if cx.now < self.sweeper.not_before {
            return;
        }
        if self.sweeper.walk.is_none() {
            self.sweeper.walk = self.next_walk(Self::fleet_now(cx));
            if self.sweeper.walk.is_none() {
                self.sweeper.not_before = cx.now.after(limits::REPORT_EVERY);
            }
        }
        let Some(walk) = self.sweeper.walk.as_mut().filter(|walk| walk.out == Out::Nothing) else { return };
        let range = walk.range;
        if !self.held.get(&range).is_some_and(|held| held.standing.leads) {
            self.sweeper.walk = None;
            return;
        }
        walk.out = Out::Look;
        self.sweeper.last = range;
        self.sweeper.not_before = cx.now.after(limits::GC_PAGE_EVERY);
        let search = GarbageSearch { range, position: walk.position.clone(), now: Self::fleet_now(cx) };
        self.out.push(Effect::FindGarbage(search));
    }

    /// The next range, in turn, in which something may have become garbage.
    fn next_walk(&mut self, fleet_now: Timestamp) -> Option<Walk> {
        let mut last = self.sweeper.last;
        let walk = in_turn(&self.held, self.sweeper.last, LOOKS).find_map(|(range, held)| {
            self.round.looks += 1;
            last = range;
            held.walk(range, fleet_now)
        });
        self.sweeper.last = last;
        walk
    }

    pub(super) fn garbage_found(&mut self, search: &GarbageSearch, page: Result<GarbagePage, Fault>, cx: &Cx<'_>) {
        let expected = |walk: &&mut Walk| walk.range == search.range && walk.out == Out::Look;
        let Some(walk) = self.sweeper.walk.as_mut().filter(expected) else { return };
        let page = match page {
            Ok(page) => page,
            Err(fault) => {
                self.sweeper.walk = None;
                return self.damaged(search.range, &fault, cx);
            }
        };
        if page.garbage.keys.is_empty() && page.garbage.records.is_empty() {
            return self.page_done(page, cx);
        }
        let garbage = page.garbage.clone();
        walk.out = Out::Removal(Box::new(page));
        if self.shared.admission.admit(0).is_err() {
            return self.removal_refused(cx);
        }
        let asked = Asked::Admin(search.range, AdminRequest::CollectGarbage(garbage));
        self.open_and_route(Origin::Upkeep, asked, cx.now.after(limits::DEFAULT_DEADLINE), 0, 0, cx);
    }

    /// What the worker asked of itself was answered.
    pub(super) fn upkeep_answered(&mut self, asked: &Asked, done: bool, cx: &Cx<'_>) {
        let Asked::Admin(range, AdminRequest::CollectGarbage(_)) = asked else { return };
        let Some(walk) = self.sweeper.walk.as_mut().filter(|walk| walk.range == *range) else { return };
        let Out::Removal(page) = std::mem::replace(&mut walk.out, Out::Nothing) else { return };
        if done {
            self.page_done(*page, cx);
        } else {
            self.removal_refused(cx);
        }
    }

    fn removal_refused(&mut self, cx: &Cx<'_>) {
        if let Some(walk) = &mut self.sweeper.walk {
            walk.out = Out::Nothing;
        }
        self.sweeper.not_before = cx.now.after(AFTER_REFUSAL);
    }

    /// Nothing of this page is left to be removed.
    fn page_done(&mut self, page: GarbagePage, cx: &Cx<'_>) {
        let Some(walk) = &mut self.sweeper.walk else { return };
        walk.out = Out::Nothing;
        walk.expires = walk.expires.into_iter().chain(page.expires).min();
        walk.records_left |= page.records_left;
        if let Some(next) = page.next {
            walk.position = next;
            return;
        }
        let Some(walk) = self.sweeper.walk.take() else { return };
        if let Some(held) = self.held.get_mut(&walk.range) {
            match walk.position {
                GarbagePosition::Versions(_) => {
                    held.swept.threshold = walk.began;
                    held.swept.expires = walk.expires;
                }
                GarbagePosition::Records(_) => {
                    held.swept.records_at = walk.began;
                    held.swept.records_left = walk.records_left;
                }
            }
        }
        // The next range follows at the same pace, not at the reports'.
        self.sweeper.walk = self.next_walk(Self::fleet_now(cx));
    }
}
