//! Two kinds of time, never mixed: [`Moment`] measures waiting on one store, [`Timestamp`] orders versions in the fleet.

use std::fmt;
use std::time::Duration;

use crate::bounds::{OutOfBounds, at_most};
use crate::limits;

/// A point on one store's monotonic clock (CLOCK_BOOTTIME, or the simulator's virtual time), in microseconds.
/// Moments of two stores cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Before every other moment.
    pub const ZERO: Moment = Moment(0);
    /// After every other moment.
    pub const MAX: Moment = Moment(u64::MAX);

    /// This moment plus `wait`, at most [`Moment::MAX`].
    #[must_use]
    pub fn after(self, wait: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A hybrid logical timestamp: 48 bits of milliseconds since the Unix epoch, 16 bits of logical counter.
/// Kulkarni et al., "Logical Physical Clocks", 2014.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before every version.
    pub const ZERO: Timestamp = Timestamp(0);
    /// After every version: a read at this timestamp sees the newest.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The stamp that a socket or a disk names, unless it is so late that the clocks which observe it would come to the end of time.
    /// For what is only compared there is [`Timestamp::compared`].
    pub fn bounded(raw: u64) -> Result<Self, OutOfBounds> {
        at_most("a timestamp", raw, Self::from_ms(limits::MAX_WALL_MS).0).map(Self)
    }

    /// The stamp that a socket names; see [`limits::MAX_TOLD_WALL_MS`].
    pub fn told(raw: u64) -> Result<Self, OutOfBounds> {
        at_most("a timestamp", raw, Self::from_ms(limits::MAX_TOLD_WALL_MS).0).map(Self)
    }

    /// A time that somebody named and that is only ever compared: to read at, at which a value ends, the version that a condition wants.
    /// Any will do; no clock may observe it.
    #[must_use]
    pub fn compared(raw: u64) -> Self {
        Self(raw)
    }

    /// The first timestamp of a millisecond. Milliseconds beyond 48 bits are cut to the largest.
    #[must_use]
    pub fn from_ms(ms: u64) -> Self {
        Self(ms.min((1 << 48) - 1) << 16)
    }

    /// The millisecond part.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next timestamp; at the end of time it stays there.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// This timestamp plus `wait`, keeping the logical part.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).min((1 << 48) - 1);
        Self(self.0.saturating_add(ms << 16))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & 0xffff)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hybrid logical clock.
///
/// Invariants:
/// - [`Hlc::next`] never gives the same or a smaller timestamp twice
/// - what it gives lies after every timestamp observed before
#[derive(Clone, Debug, Default)]
pub struct Hlc {
    last: Timestamp,
}

impl Hlc {
    /// A timestamp for a new version, given the wall clock in milliseconds.
    pub fn next(&mut self, wall_ms: u64) -> Timestamp {
        self.last = self.last.next().max(Timestamp::from_ms(wall_ms));
        self.last
    }

    /// Moves past a timestamp seen in an entry or a message.
    pub fn observe(&mut self, seen: Timestamp) {
        self.last = self.last.max(seen);
    }

    /// The newest timestamp given or seen.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_never_goes_back_when_the_wall_does() {
        let mut hlc = Hlc::default();
        let first = hlc.next(1000);
        let second = hlc.next(10);
        assert!(second > first);
        hlc.observe(Timestamp::from_ms(5000));
        assert!(hlc.next(1000) > Timestamp::from_ms(5000));
    }
}
