//! What can be said of a request before anything is read: bounds, last moment, which latches it needs.

use holdfast_types::{Key, KeyRange, RangeDescriptor, RangeRequest, Rejected, Request, WriteAttempt, limits};

use super::Now;
use crate::evaluate::clip;
use crate::latches::{Latched, Mode, Span, Wanted};
use crate::range_state::RangeState;

/// Refuses a request, read or write, that does not lie in this range. The epoch that it names does not matter: the bounds do.
pub fn check_bounds(request: &RangeRequest, descriptor: &RangeDescriptor) -> Result<(), Rejected> {
    let wrong_range = || Err(Rejected::WrongRange { known: vec![descriptor.clone()] });
    if request.range.is_some_and(|(range, _)| range != descriptor.range) {
        return wrong_range();
    }
    let mine = &descriptor.bounds;
    let placed = match &request.request {
        Request::Get { keys, .. } => place(keys.iter(), mine),
        Request::Write { conditions, mutations } => {
            place(mutations.iter().map(|m| &m.key).chain(conditions.iter().map(|c| &c.key)), mine)
        }
        Request::DeleteRange { bounds, .. } | Request::Scan { bounds, reverse: false, .. } => {
            place(std::iter::once(&bounds.start), mine)
        }
        Request::Scan { bounds, reverse: true, .. } => place_end(bounds, mine),
    };
    match placed {
        Placed::Inside => Ok(()),
        Placed::Outside => wrong_range(),
        Placed::Across(split_key) => Err(Rejected::SpansRanges { split_key }),
    }
}

/// Refuses a read that does not lie in this range or lies below what may have been removed.
pub fn check_read(request: &RangeRequest, state: &RangeState) -> Result<(), Rejected> {
    check_bounds(request, &state.descriptor)?;
    match &request.request {
        Request::Get { at: Some(at), .. } | Request::Scan { at: Some(at), .. } if *at < state.gc_threshold => {
            Err(Rejected::BelowGcThreshold { threshold: state.gc_threshold })
        }
        _ => Ok(()),
    }
}

/// Refuses an attempt after its last moment, and one whose last moment lies further ahead than records are kept for. The
/// clocks of two leaders may differ by the offset that is tolerated.
pub(super) fn check_last_moment(write: &WriteAttempt, now: Now) -> Result<(), Rejected> {
    if write.last_moment < now.fleet {
        return Err(Rejected::PastLastMoment { now: now.fleet });
    }
    if write.last_moment > now.fleet.after(limits::MAX_LAST_MOMENT_AHEAD).after(limits::MAX_CLOCK_OFFSET) {
        let (last, now, most) = (write.last_moment, now.fleet, limits::MAX_LAST_MOMENT_AHEAD);
        return Err(Rejected::invalid(format!(
            "the last moment {last} lies more than {most:?} ahead of fleet time {now}: use the fleet time of the last answer"
        )));
    }
    Ok(())
}

/// Refuses a write that this range cannot evaluate now.
pub(super) fn check_evaluable(request: &RangeRequest, descriptor: &RangeDescriptor, now: Now) -> Result<(), Rejected> {
    check_bounds(request, descriptor)?;
    request.write.as_ref().map_or(Ok(()), |write| check_last_moment(write, now))?;
    request.request.is_write().then_some(()).ok_or_else(|| Rejected::invalid("a read cannot be written"))
}

/// True when the refusal of a request with an id is said only after its slot's record was looked up: an attempt before it may have
/// written, and who is refused for good never asks again. A range that holds none of the keys is another matter: the
/// one that holds them has the record too.
pub(super) fn record_decides_first(request: &RangeRequest, refusal: &Rejected) -> bool {
    request.write.is_some() && request.request.is_write() && !matches!(refusal, Rejected::WrongRange { .. })
}

/// What a write counts for until it is evaluated: a page of tombstones is larger than the request for it.
pub(super) fn charged_bytes(request: &Request) -> usize {
    const EXPECTED_PAGE_BYTES: usize = 128 << 10;
    let page = matches!(request, Request::DeleteRange { .. });
    request.size_bytes() + if page { EXPECTED_PAGE_BYTES } else { 0 }
}

/// The latch that a look-up of a write's record needs: an attempt on its way is waited for.
pub(super) fn latch_of_slot(request: &RangeRequest) -> Wanted {
    let mut wanted = Wanted::default();
    if let Some(write) = &request.write {
        wanted.add(Latched::Slot(write.id.client, write.id.slot), Mode::Exclusive);
    }
    wanted
}

/// The latches that a write needs.
pub(super) fn latches_of(request: &RangeRequest, bounds: &KeyRange) -> Wanted {
    let mut wanted = latch_of_slot(request);
    match &request.request {
        Request::Write { conditions, mutations } => {
            for condition in conditions {
                wanted.add(Latched::Key(condition.key.clone()), Mode::Read);
            }
            for mutation in mutations {
                wanted.add(Latched::Key(mutation.key.clone()), Mode::Write);
            }
        }
        Request::DeleteRange { bounds: asked, .. } => wanted.set_span(Span::Keys(clip(asked, bounds))),
        Request::Get { .. } | Request::Scan { .. } => {}
    }
    wanted
}

enum Placed {
    Inside,
    Outside,
    /// Some keys are inside, some are not: the ranges meet here.
    Across(Key),
}

fn place<'a>(keys: impl Iterator<Item = &'a Key>, mine: &KeyRange) -> Placed {
    let mut inside = false;
    let mut meeting = None;
    for key in keys {
        if !mine.is_before_end(key) {
            meeting = mine.end.clone();
        } else if *key < mine.start {
            meeting = Some(mine.start.clone());
        } else {
            inside = true;
        }
    }
    match (inside, meeting) {
        (true, None) => Placed::Inside,
        (true, Some(split_key)) => Placed::Across(split_key),
        (false, _) => Placed::Outside,
    }
}

/// A reverse scan begins at its end, which is not part of it.
fn place_end(asked: &KeyRange, mine: &KeyRange) -> Placed {
    let inside = match (&asked.end, &mine.end) {
        (_, None) => asked.end.as_ref().is_none_or(|end| mine.start < *end),
        (None, Some(_)) => false,
        (Some(end), Some(mine_end)) => mine.start < *end && end <= mine_end,
    };
    if inside { Placed::Inside } else { Placed::Outside }
}
