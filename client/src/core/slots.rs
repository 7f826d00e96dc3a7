//! The slots of a client: at most 1,024 writes at a time, each under a request id of its own.
//!
//! A slot is free again as soon as its write is finished, given up or cancelled, even while attempts of it may still be on
//! their way: the next write takes the next sequence. A range that has seen the newer sequence answers a late attempt of the
//! older one `StaleSequence`; a range that has not may still apply it, once, because the completion record is under the older
//! sequence there. So a late attempt can change what is unknown anyway, and never the newer write.

use holdfast_types::{Sequence, Slot, limits};

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
