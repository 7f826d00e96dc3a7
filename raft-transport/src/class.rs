//! What streams are for, and what messages are sent for.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_proto::v1;

/// The class of a stream between two stores: one ordered stream each, on a connection of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Votes, pings, forwards, look-ups, reports.
    Control,
    /// Entries and their acknowledgements.
    Log,
    /// Chunks of snapshots.
    Snapshot,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 3] = [Class::Control, Class::Log, Class::Snapshot];

    pub(crate) fn index(self) -> usize {
        match self {
            Class::Control => 0,
            Class::Log => 1,
            Class::Snapshot => 2,
        }
    }

    /// Whether the stream is opened as soon as the address is known: the first vote or append after a failure must not wait
    /// for a connection. Snapshots are rare and may.
    pub(crate) fn is_eager(self) -> bool {
        self != Class::Snapshot
    }

    pub(crate) fn to_wire(self) -> v1::LinkClass {
        match self {
            Class::Control => v1::LinkClass::Control,
            Class::Log => v1::LinkClass::Log,
            Class::Snapshot => v1::LinkClass::Snapshot,
        }
    }

    pub(crate) fn from_wire(class: v1::LinkClass) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_wire() == class)
    }
}

/// What a message is sent for: bytes are counted by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// Anything that this program has no name for.
    Other,
    /// Entries and acknowledgements.
    Append,
    /// Heartbeats and pings of ranges.
    Heartbeat,
    /// Votes and transfers.
    Election,
    /// Requests and answers passed on.
    Forward,
    /// Snapshots.
    Snapshot,
    /// Reports, operators, look-ups.
    Placement,
    /// Support heartbeats between stores.
    Support,
}

impl Cause {
    /// All causes, in the order of their numbers on the wire.
    pub const ALL: [Cause; 8] = [
        Cause::Other,
        Cause::Append,
        Cause::Heartbeat,
        Cause::Election,
        Cause::Forward,
        Cause::Snapshot,
        Cause::Placement,
        Cause::Support,
    ];

    /// A short name, as in the label of a metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Other => "other",
            Cause::Append => "append",
            Cause::Heartbeat => "heartbeat",
            Cause::Election => "election",
            Cause::Forward => "forward",
            Cause::Snapshot => "snapshot",
            Cause::Placement => "placement",
            Cause::Support => "support",
        }
    }

    /// The number on the wire; never reused.
    pub(crate) fn number(self) -> u8 {
        match self {
            Cause::Other => 0,
            Cause::Append => 1,
            Cause::Heartbeat => 2,
            Cause::Election => 3,
            Cause::Forward => 4,
            Cause::Snapshot => 5,
            Cause::Placement => 6,
            Cause::Support => 7,
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|cause| u32::from(cause.number()) == number).unwrap_or(Cause::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_listed_by_their_number() {
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(at, usize::from(cause.number()));
            assert_eq!(Cause::from_number(u32::from(cause.number())), cause);
        }
        assert_eq!(Cause::from_number(4_711), Cause::Other);
    }

    #[test]
    fn classes_survive_the_wire_and_support_is_not_one_of_them() {
        for (at, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!((at, Some(class)), (class.index(), Class::from_wire(class.to_wire())));
        }
        assert_eq!(Class::from_wire(v1::LinkClass::Support), None);
    }
}
