//! The slots of a client: at most 1,024 writes at a time, each under a request id of its own.
//!
//! A slot is free again as soon as its write is finished, given up or cancelled, even while attempts of it may still be on
//! their way: the next write takes the next sequence. A range that has seen the newer sequence answers a late attempt of the
//! older one `StaleSequence`; a range that has not may still apply it, once, because the completion record is under the older
//! sequence there. So a late attempt can change what is unknown anyway, and never the newer write.

use holdfast_types::{ClientId, Sequence, Slot, Timestamp, limits};

use super::stores::mix;

/// Under which client id writes are named.
///
/// A store keeps a record for so long that no attempt of its request, or of an earlier one in its slot, can still come within its
/// last moment; it counts on last moments that hardly go back (`MAX_LAST_MOMENT_AHEAD`). When fleet time turns out to have been
/// taken from a clock that was far ahead, they do: then writes go on under another id, which has no records yet.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client: ClientId,
    /// The furthest last moment given out under the id.
    furthest: Timestamp,
}

impl Session {
    pub(crate) fn new(client: ClientId) -> Self {
        Self { client, furthest: Timestamp::ZERO }
    }

    /// The id for a write with this last moment.
    pub(crate) fn name(&mut self, last_moment: Timestamp) -> ClientId {
        if last_moment.after(limits::MAX_LAST_MOMENT_AHEAD) < self.furthest {
            *self = Self::new(successor(self.client));
        }
        self.furthest = self.furthest.max(last_moment);
        self.client
    }
}

/// An id that is as much of a draw as the one it comes from.
fn successor(client: ClientId) -> ClientId {
    let half = |shift: u32| u64::try_from((client.0 >> shift) & u128::from(u64::MAX)).expect("masked to 64 bits");
    let high = mix(half(64) ^ mix(half(0)));
    let low = mix(half(0) ^ mix(high));
    ClientId((u128::from(high) << 64 | u128::from(low)).max(1))
}

/// The slots of one client.
///
/// Invariants:
/// - a slot is given to one write at a time
/// - the sequences given out in a slot grow
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    /// The last sequence of each slot used so far.
    last: Vec<Sequence>,
    /// Free ones, the one freed last on top: few clients need many, and each leaves a record in every range.
    free: Vec<Slot>,
}

impl Slots {
    /// A free slot and its next sequence; `None` while all are in use.
    pub(crate) fn take(&mut self) -> Option<(Slot, Sequence)> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.last.len()).ok().filter(|slot| *slot < limits::MAX_SLOTS)?;
                self.last.push(Sequence(0));
                Slot(slot)
            }
        };
        let last = &mut self.last[usize::from(slot.0)];
        *last = last.next();
        Some((slot, *last))
    }

    /// True when [`Slots::take`] would give one.
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty() || self.last.len() < usize::from(limits::MAX_SLOTS)
    }

    /// The write in `slot` is over for this client.
    pub(crate) fn give_back(&mut self, slot: Slot) {
        assert!(self.free.len() < self.last.len(), "more slots given back than taken");
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_never_gives_the_same_sequence_twice() {
        let mut slots = Slots::default();
        let first = slots.take().unwrap();
        assert_eq!(first, (Slot(0), Sequence(1)));
        assert_eq!(slots.take(), Some((Slot(1), Sequence(1))));
        slots.give_back(first.0);
        assert_eq!(slots.take(), Some((Slot(0), Sequence(2))));
    }

    #[test]
    fn last_moments_that_go_far_back_begin_another_session() {
        let first = ClientId(7 << 64 | 9);
        let mut session = Session::new(first);
        let at = |s: u64| Timestamp::from_ms(s * 1_000);
        assert_eq!(session.name(at(1_000)), first);
        assert_eq!(session.name(at(941)), first, "records are kept for as long as this");
        let second = session.name(at(939));
        assert_ne!(second, first);
        assert_eq!(session.name(at(939)), second);
        assert_eq!(session.name(at(2_000)), second);
        assert!(![first, second].contains(&session.name(at(939))));
    }

    #[test]
    fn slots_end_at_the_limit() {
        let mut slots = Slots::default();
        for _ in 0..limits::MAX_SLOTS {
            assert!(slots.take().is_some());
        }
        assert_eq!(slots.take(), None);
        slots.give_back(Slot(9));
        assert_eq!(slots.take(), Some((Slot(9), Sequence(2))));
    }
}
