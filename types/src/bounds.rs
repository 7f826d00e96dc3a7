//! Numbers from outside. A socket or a disk may say anything; arithmetic and assertions are for numbers that were bounded before.
//!
//! ```text
//! bytes ──▶ generated message ──▶ decoder: bounded(), at_most(), cut() ──▶ types of this crate ──▶ everything else
//! ```
//!
//! What a socket says becomes one of them by `told`, which leaves room to count on from it until it is written down and read again.
//!
//! A number is checked once, by whoever turns the message into types, against the bound of its kind: `bounded` of a newtype, [`at_most`] for
//! a plain number, [`cut`] for a figure that is only measured and where the largest plausible one does as well. What passes can be
//! added, multiplied by what the code multiplies it by, and counted on from. Timestamps are [`crate::time`]'s affair.

/// A number that a socket or a disk named, and that is out of the bounds of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} of {found} is more than {most}, which nothing honest reaches: it is forged or damaged")]
pub struct OutOfBounds {
    what: &'static str,
    found: u64,
    most: u64,
}

/// The number, unless it is larger than the largest of its kind.
pub fn at_most(what: &'static str, found: u64, most: u64) -> Result<u64, OutOfBounds> {
    if found <= most { Ok(found) } else { Err(OutOfBounds { what, found, most }) }
}

/// A figure that somebody measured, cut to the largest plausible one.
#[must_use]
pub fn cut(found: u64, most: u64) -> u64 {
    found.min(most)
}

#[cfg(test)]
mod tests {
    use crate::{Incarnation, KeyspaceId, LogCounter, RangeEpoch, RangeId, Slot, StoreId, Term, Timestamp, limits};

    #[test]
    fn what_is_taken_can_be_counted_on_from() {
        assert_eq!(Term::bounded(Term::MAX.0).map(Term::next), Ok(Term(Term::MAX.0 + 1)));
        assert!(Term::bounded(Term::MAX.0 + 1).is_err());
        assert!(Term::bounded(u64::MAX).is_err());
        assert_eq!(KeyspaceId::bounded(u32::MAX), Ok(KeyspaceId(u32::MAX)));
        assert!(Slot::bounded(limits::MAX_SLOTS).is_err());
        let largest = RangeId::made_by(StoreId::MAX, limits::MAX_RANGES_MADE);
        assert_eq!(RangeId::bounded(largest.0), Ok(RangeId::MAX));
        assert!(RangeEpoch::bounded(0, u64::MAX).is_err() && RangeEpoch::bounded(u64::MAX, 0).is_err());
        assert!(Timestamp::bounded(u64::MAX).is_err());
        assert!(Timestamp::bounded(Timestamp::from_ms(limits::MAX_WALL_MS).0).is_ok());
    }

    #[test]
    fn who_believes_what_he_hears_of_himself_is_believed_by_others() {
        let next = Incarnation::hearsay(limits::MAX_HEARSAY).unwrap().next();
        assert_eq!(Incarnation::bounded(next.0), Ok(next));
        assert!(Incarnation::hearsay(next.0).is_err(), "and cannot be made to believe more");
        let counter = LogCounter::hearsay(limits::MAX_HEARSAY).unwrap();
        assert!(LogCounter::bounded(counter.0 * 2).is_ok());
    }

    #[test]
    fn what_is_told_is_far_from_what_can_be_read() {
        assert_eq!(Term::told(limits::MAX_TOLD), Ok(Term(limits::MAX_TOLD)));
        assert!(Term::told(limits::MAX_TOLD + 1).is_err() && RangeEpoch::told(0, limits::MAX_TOLD + 1).is_err());
        assert!(Term::bounded(limits::MAX_TOLD + (1 << 60)).is_ok(), "a term a nanosecond, for 36 years");
        let latest = Timestamp::from_ms(limits::MAX_TOLD_WALL_MS);
        assert_eq!(Timestamp::told(latest.0), Ok(latest));
        assert!(Timestamp::told(latest.0 + 1).is_err() && Timestamp::bounded(latest.next().0).is_ok());
    }

    #[test]
    fn a_refusal_names_the_number_and_its_bound() {
        let words = StoreId::bounded(u64::MAX).unwrap_err().to_string();
        assert!(words.contains("store id") && words.contains(&u64::MAX.to_string()), "{words}");
    }
}
